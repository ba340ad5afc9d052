"""Numbers that matter: recorded in the notebook, shown beside the paper's, checked by `reproduce`."""

import json
import tomllib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from IPython.display import Markdown, display

from modnet_lib import paths

MIME = "application/vnd.modnet.record+json"
EXPECTED = paths.REPOSITORY / "tests" / "expected.toml"
_records: dict[str, tuple[float, float | None, str]] = {}


def record(name: str, value: float, *, paper: float | None = None, unit: str = "") -> None:
    """Put a number into the notebook's output, unseen, where `reproduce` finds it, and into its `ResultsTable`.

    `name` is unique within a notebook, such as ``"easpp_weights"``; `paper` is what the paper says, if it does; `unit`
    is for the table.
    """
    _records[name] = float(value), paper, unit
    display({MIME: {"name": name, "value": float(value)}}, raw=True)


def read_records(notebook: str | Path) -> dict[str, float]:
    """Return the numbers that an executed notebook recorded."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return {one[MIME]["name"]: one[MIME]["value"] for one in data if MIME in one}


def check_records(stem: str, records: dict[str, float]) -> list[str]:
    """Compare a smoke run's numbers with ``tests/expected.toml``; one line for each disagreement.

    Every recorded number must have an entry there, with a value and a relative tolerance, and every entry a number.
    """
    table = tomllib.loads(EXPECTED.read_text(encoding="utf-8")).get(stem, {})
    problems = []
    for name in sorted({*table, *records}):
        if name not in records:
            problems.append(f"{stem}: {name} was expected but not recorded")
        elif name not in table:
            problems.append(f"{stem}: {name} = {records[name]:.6g} has no entry in {EXPECTED.name}")
        else:
            value, target, tolerance = records[name], table[name]["value"], table[name]["rel"]
            if not abs(value - target) <= tolerance * abs(target):  # NaN fails, too
                within = f"within {tolerance:g} relative"
                problems.append(f"{stem}: {name} is {value:.6g}, expected {target:.6g} {within}")
    return problems


def recorded_run(stem: str) -> dict[str, Any] | None:
    """Return the largest recorded run of a notebook, ``data/results/STEM.json``, or ``None``.

    It has ``profile``, ``provenance`` (data, device, commit, date) and ``values`` by name.
    """
    file = paths.RESULTS / f"{stem}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


class ResultsTable(Markdown):
    """The numbers of this notebook beside the paper's and those of the largest recorded run.

    `stem` names the notebook and its run in ``data/results``, `profile` the profile that is running now.
    """

    def __init__(self, stem: str, profile: str):
        run = recorded_run(stem)
        head = ["", "paper", *([f"recorded ({run['profile']})"] if run else []), f"this run ({profile})"]
        rows = []
        for name, (value, paper, unit) in _records.items():
            numbers = [paper, *([run["values"].get(name)] if run else []), value]
            rows.append([name.replace("_", " "), *(_number(number, unit) for number in numbers)])
        # a column in which nothing is known says nothing
        kept = [k for k, _ in enumerate(head) if any(row[k] != "–" for row in rows)]
        table = markdown_table([head[k] for k in kept], [[row[k] for k in kept] for row in rows])
        note = f"\n\nRecorded run: {escape(run['provenance'])}" if run and 2 in kept else ""
        super().__init__(table.data + note)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table for the notebook: the first column to the left, the others, numbers as a rule, to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return Markdown("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{value:{',.0f' if abs(value) >= 1000 else '.4g'}} {unit}".strip()
