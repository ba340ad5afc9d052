"""Numbers that matter: recorded in the notebook, shown beside the paper's, checked by `reproduce`."""

import json
import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from IPython.display import display

from modnet_lib import paths

MIME = "application/vnd.modnet.record+json"
EXPECTED = paths.REPOSITORY / "tests" / "expected.toml"


@dataclass(frozen=True)
class Recorded:
    """A number with its name, the paper's value if it has one, and a unit."""

    name: str
    value: float
    paper: float | None = None
    unit: str = ""


_records: dict[str, Recorded] = {}


def record(name: str, value: float, *, paper: float | None = None, unit: str = "") -> None:
    """Keep a number: it goes into the notebook's output, where `reproduce` finds and checks it.

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
    entry = Recorded(name, float(value), paper, unit)
    _records[name] = entry
    shown = f"{name} = {entry.value:g}{unit and ' ' + unit}"
    display({MIME: {"name": name, "value": entry.value}, "text/plain": shown}, raw=True)


def read_records(notebook: str | Path) -> dict[str, float]:
    """The numbers that an executed notebook recorded."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    found = {}
    for cell in cells:
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                entry = output["data"][MIME]
                found[entry["name"]] = entry["value"]
    return found


def check_records(stem: str, records: dict[str, float], expected: Path = EXPECTED) -> list[str]:
    """Compare what a smoke run recorded with ``tests/expected.toml``; a line for each disagreement.

    Every recorded number must be expected there, with a value and a relative tolerance, and the other way
    round.
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
    """The largest recorded run of a notebook, ``data/results/STEM.json``, if there is one.

    It has ``profile``, ``provenance`` (data, device, commit, date) and ``values`` by name.
    """
    file = paths.RESULTS / f"{stem}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


class ResultsTable:
    """This notebook's numbers beside the paper's and those of the largest recorded run.

    Parameters
    ----------
    stem
        Name of the notebook, which names the recorded run in ``data/results``.
    profile
        Name of the profile that is running now.
    """

    def __init__(self, stem: str, profile: str):
        self.profile = profile
        self.recorded = recorded_run(stem)
        self.rows = list(_records.values())

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        header = ["", "paper", f"this run ({self.profile})"]
        if self.recorded:
            header.insert(2, f"recorded ({self.recorded['profile']})")
        body = []
        for row in self.rows:
            cells = [row.name.replace("_", " "), _number(row.paper, row.unit), _number(row.value, row.unit)]
            if self.recorded:
                cells.insert(2, _number(self.recorded["values"].get(row.name), row.unit))
            body.append(cells)
        return header, body

    def _repr_html_(self) -> str:
        header, body = self._cells()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in body)
        note = ""
        if self.recorded:
            note = f"<p>Recorded run: {escape(self.recorded['provenance'])}</p>"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"

    def __repr__(self) -> str:
        header, body = self._cells()
        widths = [max(len(row[i]) for row in [header, *body]) for i in range(len(header))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, *body]
        )


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text} {unit}".strip()
