"""The whole series through papermill: in order, resuming what is unchanged, with an index.

python notebooks/reproduce.py [--profile smoke] [--only 03 ...]    # leaves runs/<profile>/index.html
"""

import hashlib
import json
import os
import shutil
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import nbformat
import papermill
import typer
from nbconvert import HTMLExporter

from modnet_lib import paths
from modnet_lib.cli.common import add_commands
from modnet_lib.files import write_text
from modnet_lib.notebook.results import MIME
from modnet_lib.profiles import Profile

EXPECTED = paths.REPOSITORY / "tests" / "expected.toml"


class Run(NamedTuple):
    """How one notebook went."""

    stem: str
    status: str  # "passed", "failed", or "unchanged": passed before, and nothing it depends on has changed
    seconds: float
    problems: list[str]  # what went wrong, readable
    records: dict[str, float]  # the numbers that it recorded


def reproduce(profile: str = "smoke", *, only: Sequence[str] = ()) -> list[Run]:
    """Run the notebooks, or those of these numbers, one after another; a failure does not stop the others.

    The profile's name is given to each as the parameter ``PROFILE``.
    """
    Profile.load(profile)  # an error here is cheaper than in every notebook
    found = sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    chosen = [path for path in found if not only or path.stem[:2] in only]
    if not chosen:
        raise FileNotFoundError(f"no notebook in {paths.NOTEBOOKS} matches {list(only) or 'NN_*.ipynb'}")
    folder, runs = paths.RUNS / profile, list[Run]()
    folder.mkdir(parents=True, exist_ok=True)
    if (paths.NOTEBOOKS / "figures").is_dir():  # the notebooks show these drawings by a relative link
        shutil.copytree(paths.NOTEBOOKS / "figures", folder / "figures", dirs_exist_ok=True)
    for path in chosen:
        print(f"[{len(runs) + 1}/{len(chosen)}] {path.stem} …", flush=True)
        run = _run_one(path, folder / path.name, profile)
        print(f"      {run.status} ({run.seconds:.0f} s)", *run.problems, sep="\n      ", flush=True)
        runs.append(run)
    write_text(folder / "index.html", _index(profile, runs))
    print(f"index: {folder / 'index.html'}")
    return runs


def _run_one(path: Path, output: Path, profile: str) -> Run:
    def disagreements() -> list[str]:
        return check_records(path.stem, read_records(output)) if profile == "smoke" else []

    notebook, note = nbformat.read(path, as_version=4), output.with_suffix(".sha256")
    fingerprint, started = _fingerprint(notebook, profile), time.perf_counter()
    finished = output.is_file() and note.is_file() and note.read_text() == fingerprint
    if finished and not disagreements():
        return Run(path.stem, "unchanged", 0.0, [], read_records(output))
    note.unlink(missing_ok=True)  # it says that the output is whole
    problems = _execute(notebook, output, profile) or disagreements()
    page, _ = HTMLExporter().from_filename(str(output))
    write_text(output.with_suffix(".html"), page)
    if not problems:
        write_text(note, fingerprint)
    seconds, status = time.perf_counter() - started, "failed" if problems else "passed"
    return Run(path.stem, status, seconds, problems, read_records(output))


def read_records(notebook: Path) -> dict[str, float]:
    """The numbers that an executed notebook recorded."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
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


def _execute(notebook: nbformat.NotebookNode, output: Path, profile: str) -> list[str]:
    """Run a notebook and write it; what went wrong in words, an empty list if nothing did."""
    options = {"kernel_name": "python3", "progress_bar": False, "cwd": paths.NOTEBOOKS}
    nbformat.write(notebook, output)
    try:
        papermill.execute_notebook(output, output, parameters={"PROFILE": profile}, **options)
    except papermill.exceptions.PapermillExecutionError as error:
        start = error.source.strip().partition("\n")[0]
        return [f"cell {error.exec_count} ({start} …): {error.ename}: {error.evalue}"]
    except Exception as error:  # a kernel that dies raises nbclient's own types
        return [f"{type(error).__name__}: {error}"]
    return []


def _fingerprint(notebook: nbformat.NotebookNode, profile: str) -> str:
    """Hash of all that decides the outcome: cells, library, profile, grids, what ships in data, the data folder."""
    digest = hashlib.sha256(json.dumps([cell.source for cell in notebook.cells]).encode())
    places = [(paths.PACKAGE, "*.py"), (paths.PROFILES, f"{profile}.yaml"), (paths.PROFILES / "grids", "*.yaml")]
    places += [(paths.CHECKPOINTS, "*.safetensors"), (paths.RESULTS, "*.json"), (paths.SAMPLES, "*.*")]
    places += [(paths.DATA / "drawn_people", "*.py"), (paths.DATA, paths.MANIFEST.name)]
    for file in (file for folder, pattern in places for file in sorted(folder.rglob(pattern))):
        digest.update(file.name.encode() + file.read_bytes())
    digest.update(os.environ.get("MODNET_DATA", "").encode())
    return digest.hexdigest()


def _index(profile: str, runs: Sequence[Run]) -> str:
    """Return the page that links to the notebooks and says how each went and what it recorded."""
    title = f"MODNet in notebooks: the {profile} run"
    sections = [f"# {title}"]
    for run in runs:
        numbers = "".join(f"\n| {name} | {value:.6g} |" for name, value in run.records.items())
        table = f"\n\n| number | value |\n|---|---|{numbers}" if numbers else ""
        problems = "".join(f"\n\n```\n{problem}\n```" for problem in run.problems)
        head = f"## [{run.stem.replace('_', ' ')}]({run.stem}.html)"
        sections.append(f"{head}\n\n**{run.status}**, {run.seconds:.0f} s{problems}{table}")
    cells = [nbformat.v4.new_markdown_cell(section) for section in sections]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"title": title})
    page, _ = HTMLExporter().from_notebook_node(notebook)
    return page


def main(
    profile: Annotated[str, typer.Option(help="smoke, laptop, overnight, full or paper.")] = "smoke",
    only: Annotated[list[str] | None, typer.Option(help="Number of a notebook; may be repeated.")] = None,
) -> None:
    """Run the notebooks with papermill and write an index of the results."""
    if any(run.status == "failed" for run in reproduce(profile, only=only or ())):
        raise typer.Exit(1)


app = typer.Typer()
add_commands(app, main)

if __name__ == "__main__":
    app()
