"""Numbers that matter: recorded in the notebook, shown beside the paper's."""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from IPython.display import Markdown, display

from modnet_lib import paths
from modnet_lib.devices import choose_device
from modnet_lib.files import write_json
from modnet_lib.profiles import Profile
from modnet_lib.provenance import recorded

MIME = "application/vnd.modnet.record+json"
_records: dict[str, tuple[float, float | None, str]] = {}


def record(name: str, value: float, *, paper: float | None = None, unit: str = "") -> None:
    """Put a number into the notebook's output, unseen, where ``notebooks/reproduce.py`` finds it, and into its table.

    `name` is unique within a notebook, such as ``"easpp_weights"``; `paper` is what the paper says, if it does; `unit`
    is for the table.
    """
    _records[name] = float(value), paper, unit
    display({MIME: {"name": name, "value": float(value)}}, raw=True)


def recorded_run(stem: str) -> dict[str, Any] | None:
    """Return the largest recorded run of a notebook, ``data/results/STEM.json``, or ``None``.

    It has ``profile``, ``provenance`` (data, device, commit, date) and often ``values``, the numbers that it recorded.
    """
    file = paths.RESULTS / f"{stem}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def write_run(folder: Path, what: str, profile: Profile, **content: Any) -> None:
    """Write ``result.json``: `content` and where it comes from, as `recorded_run` reads them in ``data/results``.

    `what` is data and protocol in words; `folder` ends in the notebook's number and the profile. Numbers have 5 digits.
    """
    command = f"notebooks/reproduce.py --profile {profile.name} --only {folder.parent.name}"
    made = recorded(f"{what}; {command}", device=choose_device(profile.device), precision="float32", seed=profile.seed)
    write_json(folder / "result.json", {"profile": profile.name, **made, **content}, digits=5)


class ResultsTable(Markdown):
    """The numbers of this notebook beside the paper's and those of the largest recorded run.

    `stem` names the notebook and its run in ``data/results``, `profile` the profile that is running now.
    """

    def __init__(self, stem: str, profile: str):
        run = recorded_run(stem)
        head = ["", "paper", *([f"recorded ({run['profile']})"] if run else []), f"this run ({profile})"]
        rows = []
        for name, (value, paper, unit) in _records.items():
            numbers = [paper, *([run.get("values", {}).get(name)] if run else []), value]
            rows.append([name.replace("_", " "), *(_number(number, unit) for number in numbers)])
        # a column in which nothing is known says nothing
        kept = [k for k, _ in enumerate(head) if any(row[k] != "–" for row in rows)]
        table = markdown_table([head[k] for k in kept], [[row[k] for k in kept] for row in rows])
        note = f"\n\nRecorded run: {escape(run['provenance'])}" if run and 2 in kept else ""
        super().__init__(f"{table.data}{note}")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table for the notebook: the first column and words to the left, numbers to the right."""
    body = [list(map(str, row)) for row in rows]
    numbers = [number and re.search(r"\d", " ".join(column)) for number, column in enumerate(zip(*body, strict=True))]
    lines = [head, ["---:" if number else "---" for number in numbers], *body]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{value:{',.0f' if abs(value) >= 1000 else '.4g'}} {unit}".strip()
