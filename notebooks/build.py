"""Execute ``src/NN_*.py`` into notebooks that are the same from run to run.

python notebooks/build.py [NN ...]   # all without numbers
"""

import re
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

from modnet_lib import paths
from modnet_lib.files import write_atomically

SOURCES = paths.NOTEBOOKS / "src"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def sources() -> list[Path]:
    """Return the percent scripts, in order."""
    return sorted(SOURCES.glob("[0-9][0-9]_*.py"))


def read_source(source: Path) -> nbformat.NotebookNode:
    """Read a percent script as a notebook without outputs, with stable cell ids."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem[:2]}-{index:02d}"
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
    return normalise(notebook)


def build(source: Path) -> Path:
    """Execute a source in its default (smoke) profile and write the notebook beside the others.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails; nothing is written then.
    """
    notebook = read_source(source)
    options = {"timeout": 600, "record_timing": False, "coalesce_streams": True}
    NotebookClient(notebook, resources={"metadata": {"path": str(paths.NOTEBOOKS)}}, **options).execute()
    target = paths.NOTEBOOKS / f"{source.stem}.ipynb"
    write_atomically(target, lambda temporary: nbformat.write(normalise(notebook), temporary))
    return target


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what differs from run to run: Python's version, widgets, progress bars."""
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook.metadata = nbformat.from_dict(metadata)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _keep(output)]
    return notebook


def _keep(output: Any) -> bool:
    """Whether an output still says something once its live widget is gone."""
    if output.get("data", {}).pop(WIDGET_VIEW, None) is not None:
        return any(key.startswith("image/") for key in output.data)
    return not (output.get("name") == "stderr" and re.search(r"\d+%\|", output.text))


if __name__ == "__main__":
    for path in sources():
        if path.stem[:2] in (sys.argv[1:] or path.stem):
            print(f"building {build(path).name}", flush=True)
