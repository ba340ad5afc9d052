"""The stored notebooks are clean, and the check that says so notices every fault it is meant to notice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat
import pytest

import build
from modnet_lib import paths
from modnet_lib.notebook.results import MIME

SERIES = [source.stem for source in build.sources()]
STEM = "00_example"
CHECKED = "nbval-check-output"
MAX_BYTES, MAX_TOTAL = 1_500_000, 10_000_000
SCRIPT = f"""# %% [markdown]
# # Example

# %% tags=["parameters"]
PROFILE = "smoke"

# %% tags=["{CHECKED}"]
print(0)

# %% tags=["{CHECKED}"]
print(1)
"""
Change = Callable[[nbformat.NotebookNode], None]


@pytest.mark.parametrize("stem", SERIES)
def test_stored_notebook_is_clean(stem: str) -> None:
    assert problems(stem) == []


def test_the_series_is_small() -> None:
    assert sum(path.stat().st_size for path in paths.NOTEBOOKS.glob("*.ipynb")) <= MAX_TOTAL


def test_every_stored_notebook_has_a_source() -> None:
    assert {path.stem for path in paths.NOTEBOOKS.glob("*.ipynb")} <= set(SERIES)


def problems(stem: str) -> list[str]:
    """What is wrong with a stored notebook; an empty list if nothing is."""
    source, path = build.SOURCES / f"{stem}.py", paths.NOTEBOOKS / f"{stem}.ipynb"
    if not path.is_file():
        return ["not built; run `make notebooks`"]
    notebook = nbformat.read(path, as_version=4)
    expected = build.read_source(source)
    found = []
    if [(c.cell_type, c.source) for c in notebook.cells] != [(c.cell_type, c.source) for c in expected.cells]:
        found.append("differs from its source; run `make notebooks`")
    if [c.metadata.get("tags") for c in notebook.cells] != [c.metadata.get("tags") for c in expected.cells]:
        found.append("tags differ from the source's")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel must be python3")
    if set(notebook.metadata) - {"kernelspec", "language_info"}:
        found.append(f"left-over metadata {sorted(set(notebook.metadata))}")
    if path.stat().st_size > MAX_BYTES:
        found.append(f"{path.stat().st_size:,} bytes, more than {MAX_BYTES:,}")
    text = path.read_text(encoding="utf-8")
    if str(paths.REPOSITORY) in text or "/home/" in text:
        found.append("a path of the machine that built it is in the file")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found += [f"cell {cell.id}: {problem}" for problem in cell_problems(cell)]
    return found


def cell_problems(cell: nbformat.NotebookNode) -> Iterable[str]:
    tags = cell.metadata.get("tags", [])
    if "injected-parameters" in tags:
        yield "was injected by papermill"
    if cell.source.strip() and cell.execution_count is None:
        yield "was not executed"
    if any(output.output_type == "error" for output in cell.outputs):
        yield "holds an error"
    if any(output.get("name") == "stderr" for output in cell.outputs):
        yield "holds text on stderr"
    if any(build.WIDGET_VIEW in output.get("data", {}) for output in cell.outputs):
        yield "holds a live widget's view"
    for output in cell.outputs:
        for kind in output.get("data", {}):
            if kind.startswith("image/") and not output.metadata.get(kind, {}).get("alt"):
                yield "holds a picture without a description"
    if CHECKED in tags and not cell.outputs:
        yield "is checked but has no output"
    records = [output.data[MIME]["value"] for output in cell.outputs if MIME in output.get("data", {})]
    if CHECKED in tags and any(float(f"{value:.12g}") != value for value in records):
        yield "is checked but records a measured number, whose last digits depend on the machine"
    if set(cell.metadata) - {"tags"}:
        yield f"left-over metadata {sorted(cell.metadata)}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A series of one notebook, stored as if it had been executed."""
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(build, "SOURCES", tmp_path / "src")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / f"{STEM}.py").write_text(SCRIPT, encoding="utf-8")
    store(tmp_path)
    return tmp_path


def store(folder: Path) -> None:
    """What `build.build` would write, without a kernel."""
    notebook = build.read_source(folder / "src" / f"{STEM}.py")
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"{count}\n")]
    nbformat.write(build.normalise(notebook), folder / f"{STEM}.ipynb")


def test_an_interrupted_build_leaves_the_stored_notebook(folder, monkeypatch) -> None:
    path = folder / f"{STEM}.ipynb"
    old = path.read_bytes()

    def fail(_notebook, target) -> None:
        Path(target).write_text("{", encoding="utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr(build.NotebookClient, "execute", lambda _: None)
    monkeypatch.setattr(nbformat, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        build.build(folder / "src" / f"{STEM}.py")
    assert path.read_bytes() == old


def edit(folder: Path, change: Change) -> list[str]:
    """Change the stored notebook and return what the check says of it."""
    path = folder / f"{STEM}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)
    return problems(STEM)


def test_the_example_is_clean(folder: Path) -> None:
    assert problems(STEM) == []


def remove_output(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].outputs = []


def remove_count(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].execution_count = None


def inject(notebook: nbformat.NotebookNode) -> None:
    cell = nbformat.v4.new_code_cell('PROFILE = "full"', metadata={"tags": ["injected-parameters"]})
    cell.execution_count = 1
    notebook.cells.insert(2, cell)


def fail(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]


def warn(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="careful"))


def keep_widget(notebook: nbformat.NotebookNode) -> None:
    data = {build.WIDGET_VIEW: {"model_id": "1"}, "text/plain": "Box()"}
    notebook.cells[-1].outputs.append(nbformat.v4.new_output("display_data", data=data))


def leave_undescribed(notebook: nbformat.NotebookNode) -> None:
    metadata = {"image/jpeg": {"alt": "a person"}, "image/png": {"width": 9}}
    for kind in metadata:
        output = nbformat.v4.new_output("display_data", data={kind: "AA=="}, metadata=metadata)
        notebook.cells[-1].outputs.append(output)


def keep_widget_state(notebook: nbformat.NotebookNode) -> None:
    notebook.metadata["widgets"] = {"state": {}}


def keep_times(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].metadata["execution"] = {"iopub.execute_input": "2022-02-22T00:00:00Z"}


def swell(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].outputs[0].text = "x" * MAX_BYTES


def leak(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].outputs[0].text = f"{paths.REPOSITORY}/data"


def record_a_measurement(notebook: nbformat.NotebookNode) -> None:
    data = {MIME: {"name": "error", "value": 0.1 + 0.2}}
    notebook.cells[-1].outputs.append(nbformat.v4.new_output("display_data", data=data))


def other_kernel(notebook: nbformat.NotebookNode) -> None:
    notebook.metadata.kernelspec.name = "conda-env-modnet-py"


def edit_by_hand(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[0].source += "\nA correction that the source does not have."


def drop_tag(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].metadata = nbformat.NotebookNode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_output, "is checked but has no output"),
        (remove_count, "was not executed"),
        (inject, "was injected by papermill"),
        (fail, "holds an error"),
        (warn, "holds text on stderr"),
        (keep_widget, "holds a live widget's view"),
        (leave_undescribed, "a picture without a description"),
        (keep_widget_state, "left-over metadata"),
        (keep_times, "left-over metadata"),
        (swell, "bytes, more than"),
        (record_a_measurement, "records a measured number"),
        (leak, "a path of the machine"),
        (other_kernel, "the kernel must be python3"),
        (edit_by_hand, "differs from its source"),
        (drop_tag, "tags differ"),
    ],
)
def test_a_fault_in_the_stored_notebook_is_noticed(folder: Path, change: Change, message: str) -> None:
    assert any(message in problem for problem in edit(folder, change))


def test_a_changed_source_is_noticed(folder: Path) -> None:
    source = folder / "src" / f"{STEM}.py"
    source.write_text(source.read_text(encoding="utf-8").replace("print(0)", "print(7)"), encoding="utf-8")
    assert any("differs from its source" in problem for problem in problems(STEM))


def test_a_notebook_that_was_never_built_is_noticed(folder: Path) -> None:
    (folder / f"{STEM}.ipynb").unlink()
    assert any("not built" in problem for problem in problems(STEM))


def test_normalising_keeps_pictures_and_drops_widgets_and_progress_bars() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x")])
    view = {build.WIDGET_VIEW: {"model_id": "1"}}
    notebook.cells[0].outputs = [
        nbformat.v4.new_output("display_data", data={**view, "image/png": "AA==", "text/plain": "Box()"}),
        nbformat.v4.new_output("display_data", data={**view, "text/plain": "Box()"}),
        nbformat.v4.new_output("stream", name="stderr", text=" 50%|#####     | 1/2"),
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
    ]
    outputs = build.normalise(notebook).cells[0].outputs
    assert [sorted(output.get("data", {})) for output in outputs] == [["image/png", "text/plain"], []]
    assert outputs[1].text == "a warning", "a warning stays, so that the check can complain"


def test_building_twice_gives_the_same_bytes(folder: Path) -> None:
    slider = "\n# %%\nimport ipywidgets\n\nipywidgets.IntSlider()\n"
    (folder / "src" / f"{STEM}.py").write_text(SCRIPT + slider, encoding="utf-8")
    first = build.build(folder / "src" / f"{STEM}.py").read_bytes()
    assert problems(STEM) == []
    assert build.build(folder / "src" / f"{STEM}.py").read_bytes() == first
