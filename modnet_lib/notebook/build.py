"""From ``notebooks/src/NN_*.py`` to executed, normalised notebooks; and the check that they are clean."""

import argparse
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from IPython.display import Code
from nbclient import NotebookClient

from modnet_lib import paths
from modnet_lib.files import write_atomically

SOURCES = paths.NOTEBOOKS / "src"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
CHECKED = "nbval-check-output"
MAX_BYTES = 1_000_000
MAX_LINES = 40
MIN_CHECKED = 5


def sources() -> list[Path]:
    """The percent scripts, in order."""
    return sorted(SOURCES.glob("[0-9][0-9]_*.py"))


def read_source(source: Path) -> nbformat.NotebookNode:
    """A percent script as a notebook without outputs, with stable cell ids."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"name": "python3", "display_name": "Python 3", "language": "python"},
        language_info={"name": "python"},
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem[:2]}-{index:02d}"
        cell.metadata = nbformat.NotebookNode(
            {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        )
    return notebook


def build(source: Path) -> Path:
    """Execute a source in its default (smoke) profile and write the notebook beside the others.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails; nothing is written then.
    """
    notebook = read_source(source)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(paths.NOTEBOOKS)}}
    )
    client.execute()
    target = paths.NOTEBOOKS / f"{source.stem}.ipynb"
    write_atomically(target, lambda temporary: nbformat.write(normalise(notebook), temporary))
    return target


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what differs from run to run: times, widget state, view ids, addresses of objects."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = nbformat.NotebookNode(name="python")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if _keep(output)]
    return notebook


def _keep(output: Any) -> bool:
    """Whether an output still says something once its live widget is gone."""
    data = output.get("data")
    if data is None:
        return not (output.get("name") == "stderr" and _is_progress(output.text))
    if WIDGET_VIEW in data:
        del data[WIDGET_VIEW]
        return any(key.startswith("image/") for key in data)
    return True


def _is_progress(text: str) -> bool:
    return bool(re.search(r"\d+%\|", text))


def problems(stem: str) -> list[str]:
    """What is wrong with a stored notebook; an empty list if nothing is."""
    source, path = SOURCES / f"{stem}.py", paths.NOTEBOOKS / f"{stem}.ipynb"
    if not path.is_file():
        return [f"{stem}: not built; run `make notebooks`"]
    notebook = nbformat.read(path, as_version=4)
    expected = read_source(source)
    found = []
    if [(c.cell_type, c.source) for c in notebook.cells] != [(c.cell_type, c.source) for c in expected.cells]:
        found.append(f"{stem}: differs from its source; run `make notebooks`")
    if [c.metadata.get("tags") for c in notebook.cells] != [c.metadata.get("tags") for c in expected.cells]:
        found.append(f"{stem}: tags differ from the source's")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append(f"{stem}: the kernel must be python3")
    if set(notebook.metadata) - {"kernelspec", "language_info"}:
        found.append(f"{stem}: left-over metadata {sorted(set(notebook.metadata))}")
    if path.stat().st_size > MAX_BYTES:
        found.append(f"{stem}: {path.stat().st_size:,} bytes, more than {MAX_BYTES:,}")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    checked = [cell for cell in code if CHECKED in cell.metadata.get("tags", [])]
    if len(checked) < MIN_CHECKED:
        found.append(f"{stem}: {len(checked)} checked cells, at least {MIN_CHECKED} are needed")
    if not any("parameters" in cell.metadata.get("tags", []) for cell in code):
        found.append(f"{stem}: no cell tagged parameters")
    text = path.read_text(encoding="utf-8")
    if str(paths.REPOSITORY) in text or "/home/" in text:
        found.append(f"{stem}: a path of the machine that built it is in the file")
    for cell in code:
        found += [f"{stem}, cell {cell.id}: {problem}" for problem in _cell_problems(cell)]
    return found


def _cell_problems(cell: Any) -> Iterable[str]:
    tags = cell.metadata.get("tags", [])
    if "injected-parameters" in tags:
        yield "was injected by papermill"
    if cell.source.strip() and cell.execution_count is None:
        yield "was not executed"
    if any(output.output_type == "error" for output in cell.outputs):
        yield "holds an error"
    if any(output.get("name") == "stderr" for output in cell.outputs):
        yield "holds text on stderr"
    if any(WIDGET_VIEW in output.get("data", {}) for output in cell.outputs):
        yield "holds a live widget's view"
    for output in cell.outputs:
        for kind in output.get("data", {}):
            if kind.startswith("image/") and not output.metadata.get(kind, {}).get("alt"):
                yield "holds a picture without a description"
    if CHECKED in tags and not cell.outputs:
        yield "is checked but has no output"
    if set(cell.metadata) - {"tags"}:
        yield f"left-over metadata {sorted(cell.metadata)}"
    if len(cell.source.splitlines()) > MAX_LINES:
        yield f"is longer than {MAX_LINES} lines"


def show_source(thing: Any) -> Code:
    """The live source of a function or class, highlighted: definitions are shown, never copied."""
    return Code(inspect.getsource(thing), language="python")


def main() -> int:
    """``python -m modnet_lib.notebook.build [--check] [NN …]``: build (or check) all or some notebooks."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("numbers", nargs="*", help="such as 00 02; all if none is given")
    parser.add_argument("--check", action="store_true", help="check the stored notebooks, build nothing")
    arguments = parser.parse_args()
    chosen = [s for s in sources() if not arguments.numbers or s.stem[:2] in arguments.numbers]
    if not arguments.check:
        for source in chosen:
            print(f"building {build(source).name}", flush=True)
    found = [problem for source in chosen for problem in problems(source.stem)]
    print("\n".join(found) or f"{len(chosen)} notebooks are clean")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
