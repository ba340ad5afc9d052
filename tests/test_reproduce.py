"""The series through papermill: order, resuming, failures that are readable, the index, the exit status."""

import io
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from rich.console import Console
from typer.testing import CliRunner

from modnet_lib import cli, reproduce
from modnet_lib.notebook.results import read_records


def write_notebook(folder, stem: str, *cells: str, parameters: str | None = 'PROFILE = "smoke"') -> None:
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    if parameters:
        notebook.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, folder / f"{stem}.ipynb")


RECORD = "from modnet_lib.notebook.results import record\nrecord('answer', {value})"


@pytest.fixture
def series(tmp_path):
    """A folder of notebooks, a folder for results, a file of expected numbers, and a function to run them."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    expected = tmp_path / "expected.toml"
    expected.write_text("[01_second]\nanswer = { value = 42.0, rel = 0.01 }\n")

    def run(**options):
        console = Console(file=io.StringIO(), width=200)
        runs = reproduce.reproduce(
            notebooks=notebooks, folder=tmp_path / "out", expected=expected, console=console, **options
        )
        return runs, console.file.getvalue()

    return notebooks, tmp_path / "out", run


def test_runs_in_order_checks_numbers_and_resumes(series) -> None:
    notebooks, out, run = series
    write_notebook(notebooks, "01_second", RECORD.format(value=42.1))
    write_notebook(notebooks, "00_first", "print(PROFILE)")
    runs, text = run()
    assert [(r.stem, r.status) for r in runs] == [("00_first", "passed"), ("01_second", "passed")]
    assert runs[1].records == {"answer": 42.1} == read_records(out / "01_second.ipynb")
    assert text.index("00_first") < text.index("01_second")
    page = (out / "index.html").read_text()
    assert 'href="00_first.html"' in page
    assert (out / "00_first.html").is_file()

    # nothing has changed: nothing runs, the numbers stay known
    runs, _ = run()
    assert [r.status for r in runs] == ["unchanged", "unchanged"]
    assert runs[1].records == {"answer": 42.1}

    # only what changed runs again
    write_notebook(notebooks, "00_first", "print(PROFILE, 2)")
    runs, _ = run()
    assert [r.status for r in runs] == ["passed", "unchanged"]

    # a changed expectation is checked again
    expected = out.parent / "expected.toml"
    expected.write_text(expected.read_text().replace("42.0", "41.0"))
    runs, _ = run(only=["01"])
    assert [r.status for r in runs] == ["failed"]
    expected.write_text(expected.read_text().replace("41.0", "42.0"))

    # a result that was lost is made again
    (out / "01_second.ipynb").unlink()
    runs, _ = run(only=["01"])
    assert [(r.stem, r.status) for r in runs] == [("01_second", "passed")]


def test_drawings_are_where_the_results_look_for_them(series) -> None:
    notebooks, out, run = series
    write_notebook(notebooks, "00_first")
    (notebooks / "figures").mkdir()
    (notebooks / "figures" / "fig.svg").write_text("<svg/>")
    for _ in range(2):  # a second run finds them there
        run()
        assert (out / "figures" / "fig.svg").read_text() == "<svg/>"


def test_failures_are_readable_and_do_not_stop_the_others(series) -> None:
    notebooks, out, run = series
    write_notebook(notebooks, "00_first", "x = 1", "raise ValueError('the dog ate it')")
    write_notebook(notebooks, "01_second", RECORD.format(value=43))
    write_notebook(notebooks, "02_third", "print('fine')", parameters=None)
    write_notebook(notebooks, "03_fourth", "print('fine')")
    runs, text = run()
    assert [r.status for r in runs] == ["failed", "failed", "failed", "passed"]
    assert "cell 4 (raise ValueError('the dog ate it') …): ValueError: the dog ate it" in text
    assert "answer is 43, expected 42 within 0.01 relative" in text
    assert "has no parameter PROFILE" in text
    assert "the dog ate it" in (out / "index.html").read_text()

    # what failed is tried again, what passed is not
    runs, _ = run()
    assert [r.status for r in runs] == ["failed", "failed", "failed", "unchanged"]


def test_brackets_in_an_error_are_not_markup(series) -> None:
    notebooks, out, run = series
    write_notebook(notebooks, "00_first", "raise ValueError('shape [red], [/bold] and [link=x] of [3]')")
    _, text = run()
    assert "ValueError: shape [red], [/bold] and [link=x] of [3]" in text
    terminal = Console(file=io.StringIO(), width=40, force_terminal=True)
    reproduce.reproduce(notebooks=notebooks, folder=out, console=terminal)
    assert "ValueError: shape [red], [/bold] and [link=x] of [3]" in terminal.file.getvalue()


def test_a_page_that_cannot_be_written_leaves_the_old_one(series, monkeypatch) -> None:
    notebooks, out, run = series
    write_notebook(notebooks, "00_first", "print(1)")
    run()
    old, write_text = (out / "00_first.html").read_bytes(), Path.write_text

    def fail(path: Path, text: str, **options) -> int:
        write_text(path, text[:9], **options)
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        run(force=True)
    assert (out / "00_first.html").read_bytes() == old


def test_the_profile_reaches_the_notebook(series) -> None:
    notebooks, out, run = series
    write_notebook(notebooks, "00_first", "print('profile', PROFILE)")
    run(profile="laptop")
    outputs = [o for c in nbformat.read(out / "00_first.ipynb", 4).cells for o in c.get("outputs", [])]
    assert [o.text for o in outputs] == ["profile laptop\n"]


def test_a_dead_kernel_is_a_failure(series) -> None:
    notebooks, _, run = series
    write_notebook(notebooks, "00_first", "import os; os._exit(1)")
    (result,), _ = run()
    assert result.status == "failed"
    assert "DeadKernelError" in result.problems[0]


def test_a_damaged_note_is_no_reason_to_stop(series) -> None:
    notebooks, out, run = series
    write_notebook(notebooks, "00_first", "print(1)")
    run()
    (out / "00_first.json").write_text("{ half a ")
    (result,), _ = run()
    assert result.status == "passed"
    assert json.loads((out / "00_first.json").read_text())["status"] == "passed"


def test_unknown_profile_and_empty_choice(series) -> None:
    notebooks, _, run = series
    write_notebook(notebooks, "00_first", "print(1)")
    with pytest.raises(FileNotFoundError, match=r"no profile 'smok'.*smoke"):
        run(profile="smok")
    with pytest.raises(FileNotFoundError, match="07"):
        run(only=["07"])


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("unchanged", 0), ("failed", 1)])
def test_exit_status_of_the_command(monkeypatch, status: str, code: int) -> None:
    runs = [reproduce.Run("00_first", status, 1.0, "")]
    monkeypatch.setattr(reproduce, "reproduce", lambda *arguments, **options: runs)
    assert CliRunner().invoke(cli.app, ["reproduce"]).exit_code == code


def test_the_module_is_the_command() -> None:
    called = [sys.executable, "-m", "modnet_lib.reproduce", "--profile", "smok"]
    result = subprocess.run(called, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "no profile 'smok'" in result.stderr
