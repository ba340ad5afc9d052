"""Numbers that matter: recorded in the notebook, shown beside the paper's, checked by `reproduce`."""

import json
import tomllib
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from IPython.display import display

from modnet_lib import paths

MIME = "application/vnd.modnet.record+json"
EXPECTED = paths.REPOSITORY / "tests" / "expected.toml"


class Recorded(NamedTuple):
    """A number, the paper's value if it has one, and a unit."""

    value: float
    paper: float | None = None
    unit: str = ""


_records: dict[str, Recorded] = {}


def record(name: str, value: float, *, paper: float | None = None, unit: str = "") -> None:
    """Keep a number: it goes into the output of the notebook, where `reproduce` finds and checks it.

    Parameters
    ----------
    name
        Unique within a notebook, e.g. ``"easpp_weights"``.
    value
        The number.
    paper
        What the paper says, if it does.
    unit
        For the table.
    """
    _records[name] = Recorded(float(value), paper, unit)
    text = f"{name} = {float(value):g}{unit and ' ' + unit}"
    display({MIME: {"name": name, "value": float(value)}, "text/plain": text}, raw=True)


def read_records(notebook: str | Path) -> dict[str, float]:
    """Return the numbers that an executed notebook recorded."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return {one[MIME]["name"]: one[MIME]["value"] for one in data if MIME in one}


def check_records(stem: str, records: dict[str, float], expected: Path = EXPECTED) -> list[str]:
    """Compare what a smoke run recorded with ``tests/expected.toml`` and return a line for each disagreement.

    Every recorded number must have an entry there, with a value and a relative tolerance, and every entry a number.
    """
    table: dict[str, Any] = tomllib.loads(expected.read_text(encoding="utf-8")).get(stem, {})
    problems = [f"{stem}: {name} was expected but not recorded" for name in table if name not in records]
    for name, value in records.items():
        if name not in table:
            problems.append(f"{stem}: {name} = {value:g} has no entry in {expected.name}")
            continue
        target, tolerance = table[name]["value"], table[name]["rel"]
        # not "abs(...) > ...", which a NaN would pass
        if not abs(value - target) <= tolerance * abs(target):
            problems.append(
                f"{stem}: {name} is {value:.6g}, expected {target:.6g} within {tolerance:g} relative"
            )
    return problems


def recorded_run(stem: str) -> dict[str, Any] | None:
    """Return the largest recorded run of a notebook, ``data/results/STEM.json``, or ``None``.

    It has ``profile``, ``provenance`` (data, device, commit, date) and ``values`` by name.
    """
    file = paths.RESULTS / f"{stem}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


class ResultsTable:
    """The numbers of this notebook beside those of the paper and of the largest recorded run.

    Parameters
    ----------
    stem
        Name of the notebook, which names the recorded run in ``data/results``.
    profile
        Name of the profile that is running now.
    """

    def __init__(self, stem: str, profile: str):
        run = recorded_run(stem)
        self.note = f"Recorded run: {run['provenance']}" if run else ""
        self.rows = [
            ["", "paper", *([f"recorded ({run['profile']})"] if run else []), f"this run ({profile})"]
        ]
        for name, (value, paper, unit) in _records.items():
            numbers = [paper, *([run["values"].get(name)] if run else []), value]
            self.rows.append([name.replace("_", " "), *(_number(number, unit) for number in numbers)])

    def _repr_html_(self) -> str:
        cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in self.rows]
        head, *body = (f"<tr>{row}</tr>" for row in cells)
        head = head.replace("td>", "th>")
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>{note}"

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in self.rows]
        return "\n".join(lines)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text} {unit}".strip()
