"""Numbers in prose are those that the stored notebook recorded: ``0.0123<!-- validation_mad -->``."""

import re

import nbformat
import pytest

import build
import reproduce
from modnet_lib import paths

MARKED = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)( ?%)?<!-- (\w+) -->")


def wrong_numbers(text: str, records: dict[str, float]) -> list[str]:
    """Marked numbers that are not the recorded value, rounded to the digits that are printed; or not recorded."""
    found = []
    for printed, percent, name in MARKED.findall(text):
        if name not in records:
            found.append(f"{name} was not recorded")
            continue
        digits = len(printed.partition(".")[2])
        # a value that is recorded in per cent is printed as it is
        values = (records[name], 100 * records[name]) if percent else (records[name],)
        if all(abs(float(printed.replace(",", "")) - value) > 0.5001 * 10**-digits for value in values):
            found.append(f"{name} is {records[name]:g}, the text says {printed}{percent}")
    return found


@pytest.mark.parametrize("stem", [source.stem for source in build.sources()])
def test_numbers_in_prose_are_the_recorded_ones(stem: str) -> None:
    path = paths.NOTEBOOKS / f"{stem}.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert len(MARKED.findall(text)) == text.count("<!--"), "a comment marks a number"
    assert wrong_numbers(text, reproduce.read_records(path)) == []


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("an error of 0.012<!-- error -->", 0),
        ("an error of 0.013<!-- error -->", 1),
        ("1.2 %<!-- error --> of it", 0),
        ("45,000<!-- samples --> samples", 0),
        ("44,999<!-- samples --> samples", 1),
        ("3<!-- nothing --> things", 1),
        ("-2.5<!-- change --> and 2.5<!-- change -->", 1),
    ],
)
def test_wrong_numbers_are_noticed(text: str, problems: int) -> None:
    assert len(wrong_numbers(text, {"error": 0.0123, "samples": 45_000.0, "change": -2.5})) == problems
