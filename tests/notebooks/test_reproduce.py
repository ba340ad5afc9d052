"""The series through papermill: order, resuming, failures that are readable, the index, the exit status."""

import shutil
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

import reproduce
from modnet_lib import paths


def write_notebook(folder: Path, stem: str, *cells: str) -> None:
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    tags = {"tags": ["parameters"]}
    notebook.cells.append(nbformat.v4.new_code_cell('PROFILE = "smoke"', metadata=tags))
    notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, folder / f"{stem}.ipynb")


RECORD = "from modnet_lib.notebook.results import record\nrecord('answer', {value})"


@pytest.fixture
def series(tmp_path, monkeypatch, capsys):
    """A folder of notebooks, a folder for results, and a function that runs them and returns what it printed."""
    for name in ("NOTEBOOKS", "RUNS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
        getattr(paths, name).mkdir()
    monkeypatch.setattr(reproduce, "EXPECTED", tmp_path / "expected.toml")
    reproduce.EXPECTED.write_text("[01_second]\nanswer = { value = 42.0, rel = 0.01 }\n")

    def run(*arguments, **options):
        return reproduce.reproduce(*arguments, **options), capsys.readouterr().out

    return paths.NOTEBOOKS, paths.RUNS / "smoke", run


def test_runs_in_order_checks_numbers_and_resumes(series) -> None:
    notebooks, out, run = series
    write_notebook(notebooks, "01_second", RECORD.format(value=42.1))
    write_notebook(notebooks, "00_first", "print(PROFILE)")
    runs, text = run()
    assert [(r.stem, r.status) for r in runs] == [("00_first", "passed"), ("01_second", "passed")]
    assert runs[1].records == {"answer": 42.1} == reproduce.read_records(out / "01_second.ipynb")
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
    expected = reproduce.EXPECTED.read_text()
    reproduce.EXPECTED.write_text(expected.replace("42.0", "41.0"))
    runs, _ = run(only=["01"])
    assert [r.status for r in runs] == ["failed"]
    reproduce.EXPECTED.write_text(expected)

    # a result that was lost is made again
    (out / "01_second.ipynb").unlink()
    runs, _ = run(only=["01"])
    assert [(r.stem, r.status) for r in runs] == [("01_second", "passed")]

    # a run that fails leaves nothing to resume from, also when the cells are as they were before
    write_notebook(notebooks, "00_first", "raise ValueError")
    assert run(only=["00"])[0][0].status == "failed"
    write_notebook(notebooks, "00_first", "print(PROFILE, 2)")
    assert run(only=["00"])[0][0].status == "passed"


@pytest.mark.parametrize(("place", "name"), [("PROFILES", "grids/table.yaml"), ("SAMPLES", "drawn/1.png")])
def test_other_inputs_of_the_notebooks_make_them_run_again(series, monkeypatch, tmp_path, place, name) -> None:
    notebooks, _, run = series
    file = tmp_path / place.lower() / name
    file.parent.mkdir(parents=True)
    shutil.copy(paths.PROFILES / "smoke.yaml", tmp_path / place.lower())
    monkeypatch.setattr(paths, place, tmp_path / place.lower())
    write_notebook(notebooks, "00_first")
    statuses = []
    for content in ("one", "one", "two"):
        file.write_text(content)
        statuses += [one.status for one in run()[0]]
    assert statuses == ["passed", "unchanged", "passed"]


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
    write_notebook(notebooks, "02_third", "print('fine')")
    runs, text = run()
    assert [r.status for r in runs] == ["failed", "failed", "passed"]
    assert "cell 4 (raise ValueError('the dog ate it') …): ValueError: the dog ate it" in text
    assert "answer is 43, expected 42 within 0.01 relative" in text
    assert "the dog ate it" in (out / "index.html").read_text()

    # what failed is tried again, what passed is not
    runs, _ = run()
    assert [r.status for r in runs] == ["failed", "failed", "unchanged"]


def test_the_profile_reaches_the_notebook(series) -> None:
    notebooks, out, run = series
    write_notebook(notebooks, "00_first", "print('profile', PROFILE)")
    run("laptop")
    notebook = nbformat.read(out.with_name("laptop") / "00_first.ipynb", 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [o.text for o in outputs] == ["profile laptop\n"]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ({"a": 2.19, "exact": 835200.0}, []),
        ({"a": 2.21, "exact": 835200.0}, ["a is 2.21, expected 2"]),
        ({"a": 2.0, "exact": 835201.0}, ["exact is 835201"]),
        ({"a": 2.0}, ["exact was expected but not recorded"]),
        ({"a": 2.0, "exact": 835200.0, "b": 1.0}, ["b = 1 has no entry"]),
        ({"a": float("nan"), "exact": 835200.0}, ["a is nan"]),
    ],
)
def test_disagreements_are_named(series, records, words) -> None:
    reproduce.EXPECTED.write_text("[nb]\na = { value = 2.0, rel = 0.1 }\nexact = { value = 835200, rel = 0 }\n")
    problems = reproduce.check_records("nb", records)
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


def test_a_dead_kernel_is_a_failure(series) -> None:
    notebooks, _, run = series
    write_notebook(notebooks, "00_first", "import os; os._exit(1)")
    (result,), _ = run()
    assert result.status == "failed"
    assert "DeadKernelError" in result.problems[0]


def test_unknown_profile_and_empty_choice(series) -> None:
    notebooks, _, run = series
    write_notebook(notebooks, "00_first", "print(1)")
    with pytest.raises(FileNotFoundError, match=r"no profile 'smok'.*smoke"):
        run("smok")
    with pytest.raises(FileNotFoundError, match="07"):
        run(only=["07"])


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("unchanged", 0), ("failed", 1)])
def test_exit_status_of_the_command(monkeypatch, status: str, code: int) -> None:
    runs = [reproduce.Run("00_first", status, 1.0, [], {})]
    monkeypatch.setattr(reproduce, "reproduce", lambda *arguments, **options: runs)
    assert CliRunner().invoke(reproduce.app, []).exit_code == code
