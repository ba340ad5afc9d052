"""Recorded numbers: what is stored, what is checked, what the table says."""

import json

import pytest

from modnet_lib import paths
from modnet_lib.notebook import results


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Recorded runs and expected numbers of the test's own."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "EXPECTED", tmp_path / "expected.toml")
    results.EXPECTED.write_text("[nb]\na = { value = 2.0, rel = 0.1 }\nexact = { value = 835200, rel = 0 }\n")
    return tmp_path


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
def test_disagreements_are_named(records, words) -> None:
    problems = results.check_records("nb", records)
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


def test_table_keeps_paper_recorded_and_live_apart(folder) -> None:
    results.record("table_weights", 835200, paper=835200)
    results.record("table_error", 0.0123, unit="MAD")

    def rows() -> list[str]:
        head, _, *body = results.ResultsTable("nb", "smoke").data.splitlines()
        return [head, *(row for row in body if not row.startswith("| ") or row.startswith("| table"))]

    assert rows() == [
        "|  | paper | this run (smoke) |",
        "| table weights | 835,200 | 835,200 |",
        "| table error | – | 0.0123 MAD |",
    ]
    file = {"profile": "laptop", "values": {"table_error": 0.01}, "provenance": "CPU, <commit>"}
    (folder / "nb.json").write_text(json.dumps(file))
    assert rows() == [
        "|  | paper | recorded (laptop) | this run (smoke) |",
        "| table weights | 835,200 | – | 835,200 |",
        "| table error | – | 0.01 MAD | 0.0123 MAD |",
        "",
        "Recorded run: CPU, &lt;commit&gt;",
    ]


def test_a_column_without_numbers_is_left_out(monkeypatch) -> None:
    monkeypatch.setattr(results, "_records", {})
    results.record("table_error", 0.0123)
    head, *_ = results.ResultsTable("no such notebook", "smoke").data.splitlines()
    assert head == "|  | this run (smoke) |"


def test_a_recorded_run_without_these_numbers_is_not_mentioned(monkeypatch, folder) -> None:
    monkeypatch.setattr(results, "_records", {})
    results.record("table_error", 0.0123)
    (folder / "nb.json").write_text(json.dumps({"profile": "laptop", "values": {"other": 1}, "provenance": "CPU"}))
    assert results.ResultsTable("nb", "smoke").data.splitlines()[-1] == "| table error | 0.0123 |"


def test_numbers_stand_to_the_right() -> None:
    table = results.markdown_table(["", "given", "MAD"], [["a 1", "trimap", 0.5], ["b", "nothing", "–"]])
    assert table.data.splitlines() == [
        "|  | given | MAD |",
        "| --- | --- | ---: |",
        "| a 1 | trimap | 0.5 |",
        "| b | nothing | – |",
    ]
