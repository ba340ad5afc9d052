"""The whole series through papermill: in order, resuming what is unchanged, with a summary and an index.

``modnet reproduce --profile smoke`` (what ``make reproduce`` calls) leaves ``runs/<profile>/index.html``. The same is
``python -m modnet_lib.reproduce --profile smoke``, where no command is installed.
"""

import hashlib
import json
import os
import runpy
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from html import escape
from pathlib import Path

import nbformat
import papermill
from nbconvert import HTMLExporter
from rich.console import Console
from rich.table import Table

from modnet_lib import paths
from modnet_lib.files import write_text
from modnet_lib.notebook.results import EXPECTED, check_records, read_records
from modnet_lib.profiles import Profile

CELL_TIMEOUT = 3600  # seconds; a dead kernel would otherwise wait for ever


@dataclass
class Run:
    """How one notebook went.

    Attributes
    ----------
    stem
        Its name, e.g. ``"01_dataset_compositing"``.
    status
        ``"passed"``, ``"failed"`` or ``"unchanged"`` (passed before, and nothing it depends on has changed).
    seconds
        Of the execution, kernel start included.
    fingerprint
        Of everything the result depends on.
    problems
        What went wrong, readable.
    records
        What it recorded.
    """

    stem: str
    status: str
    seconds: float
    fingerprint: str
    problems: list[str] = field(default_factory=list)
    records: dict[str, float] = field(default_factory=dict)


def reproduce(
    profile: str = "smoke",
    *,
    only: Sequence[str] = (),
    force: bool = False,
    notebooks: Path | None = None,
    folder: Path | None = None,
    expected: Path | None = None,
    console: Console | None = None,
) -> list[Run]:
    """Run the notebooks one after another; a failure does not stop the others.

    Parameters
    ----------
    profile
        Name of the profile, given to each notebook as the parameter ``PROFILE``.
    only
        Numbers of the notebooks to run, such as ``["01", "03"]``; all if empty.
    force
        Also run what is unchanged.
    notebooks
        Folder of the stored notebooks.
    folder
        Where results go; ``runs/<profile>`` by default.
    expected
        The file of expected numbers, checked in the smoke profile.
    console
        Where progress is printed.

    Returns
    -------
    One `Run` for each notebook, in order.

    Raises
    ------
    FileNotFoundError
        If the profile does not exist or no notebook is chosen.
    """
    Profile.load(profile)  # an error here is cheaper than in every notebook
    notebooks = notebooks or paths.NOTEBOOKS
    folder = folder or paths.RUNS / profile
    console = console or Console()
    chosen = [
        path for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")) if not only or path.stem[:2] in only
    ]
    if not chosen:
        raise FileNotFoundError(f"no notebook in {notebooks} matches {list(only) or 'NN_*.ipynb'}")
    folder.mkdir(parents=True, exist_ok=True)
    if (notebooks / "figures").is_dir():  # the notebooks show these drawings by a relative link
        shutil.copytree(notebooks / "figures", folder / "figures", dirs_exist_ok=True)
    # names, paths and errors may contain brackets, which rich reads as markup
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    runs = []
    for number, path in enumerate(chosen, start=1):
        say(f"[{number}/{len(chosen)}] {path.stem} …")
        run = _run_one(path, folder, profile, force, expected)
        runs.append(run)
        say(f"      {run.status} ({run.seconds:.0f} s)")
        for problem in run.problems:
            say(f"      {problem}", style="red")
    _write_index(folder, profile, runs)
    console.print(_summary(profile, runs))
    say(f"index: {folder / 'index.html'}")
    return runs


def _run_one(path: Path, folder: Path, profile: str, force: bool, expected: Path | None) -> Run:
    output, note = folder / path.name, folder / f"{path.stem}.json"
    fingerprint = _fingerprint(path, profile, expected or EXPECTED)
    previous = _previous(note)
    usable = previous is not None and previous.status != "failed" and output.is_file()
    if not force and previous and usable and previous.fingerprint == fingerprint:
        return Run(path.stem, "unchanged", 0.0, fingerprint, records=previous.records)
    started = time.perf_counter()
    problems = _execute(path, output, profile)
    records = read_records(output) if output.is_file() else {}
    if profile == "smoke" and not problems:
        problems = check_records(path.stem, records, expected or EXPECTED)
    run = Run(
        path.stem,
        "failed" if problems else "passed",
        time.perf_counter() - started,
        fingerprint,
        problems,
        records,
    )
    if output.is_file():
        page, _ = HTMLExporter().from_filename(str(output))
        write_text(output.with_suffix(".html"), page)
    write_text(note, json.dumps(asdict(run), indent=1))
    return run


def _execute(path: Path, output: Path, profile: str) -> list[str]:
    """Run one notebook; what went wrong in words, an empty list if nothing did."""
    # papermill only warns about a parameter that the notebook does not have
    if "PROFILE" not in papermill.inspect_notebook(str(path)):
        return [f"{path.name} has no parameter PROFILE in a cell tagged 'parameters'"]
    try:
        papermill.execute_notebook(
            str(path),
            str(output),
            parameters={"PROFILE": profile},
            kernel_name="python3",
            progress_bar=False,
            cwd=str(paths.NOTEBOOKS),
            execution_timeout=CELL_TIMEOUT,
        )
    except papermill.exceptions.PapermillExecutionError as error:
        source = error.source.strip().splitlines()
        start = source[0] if source else ""
        return [f"cell {error.exec_count} ({start} …): {error.ename}: {error.evalue}"]
    except Exception as error:  # a kernel that dies raises nbclient's own types
        return [f"{type(error).__name__}: {error}"]
    return []


def _previous(note: Path) -> Run | None:
    try:
        return Run(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _fingerprint(path: Path, profile: str, expected: Path) -> str:
    """Hash of all that decides the outcome: cells, library, profile, checkpoint, expectations, data folder."""
    notebook = nbformat.read(path, as_version=4)
    digest = hashlib.sha256(json.dumps([cell.source for cell in notebook.cells]).encode())
    files = sorted((paths.REPOSITORY / "modnet_lib").rglob("*.py"))
    files += sorted(paths.PROFILES.glob(f"{profile}.yaml")) + sorted(paths.CHECKPOINTS.glob("*.safetensors"))
    for file in [*files, *sorted(paths.RESULTS.glob("*.json")), expected]:
        digest.update(file.name.encode() + file.read_bytes())
    digest.update(os.environ.get("MODNET_DATA", "").encode())
    return digest.hexdigest()


def _summary(profile: str, runs: Iterable[Run]) -> Table:
    table = Table("notebook", "status", "seconds", "numbers", title=f"profile {profile}")
    for run in runs:
        table.add_row(run.stem, run.status, f"{run.seconds:.0f}", str(len(run.records)))
    return table


def _write_index(folder: Path, profile: str, runs: Sequence[Run]) -> None:
    rows = []
    for run in runs:
        numbers = "".join(
            f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{value:.6g}</td></tr>"
            for name, value in run.records.items()
        )
        problems = "".join(f"<pre>{escape(problem)}</pre>" for problem in run.problems)
        rows.append(
            f'<section class="{run.status}"><h2><a href="{run.stem}.html">{run.stem.replace("_", " ")}</a></h2>'
            f"<p><b>{run.status}</b>, {run.seconds:.0f} s</p>{problems}<table>{numbers}</table></section>"
        )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>MODNet in notebooks</title><style>'
        "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "section{border-left:6px solid #009e73;padding:.2rem 1rem;margin:1.5rem 0}"
        "section.failed{border-color:#d55e00}pre{white-space:pre-wrap;background:#fbeee6;padding:.5rem}"
        "td{padding:.1rem 1rem .1rem 0}</style>"
        f"<h1>MODNet in notebooks: the {escape(profile)} run</h1>{''.join(rows)}</html>"
    )
    write_text(folder / "index.html", page)


if __name__ == "__main__":  # the command is written once, in `modnet_lib.cli`, which stands above this module
    sys.argv.insert(1, "reproduce")
    runpy.run_module("modnet_lib.cli", run_name="__main__")
