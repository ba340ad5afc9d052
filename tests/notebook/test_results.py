"""Recorded numbers: what is stored, what is checked, what the table says."""

import json

import pytest

from modnet_lib import paths
from modnet_lib.notebook import results


@pytest.fixture(autouse=True)
def empty(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "_records", {})
    monkeypatch.setattr(paths, "RESULTS", tmp_path)


@pytest.fixture
def expected(tmp_path):
    file = tmp_path / "expected.toml"
    file.write_text("[nb]\na = { value = 2.0, rel = 0.1 }\nexact = { value = 835200, rel = 0 }\n")
    return file


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
def test_disagreements_are_named(expected, records, words) -> None:
    problems = results.check_records("nb", records, expected)
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


def test_table_keeps_paper_recorded_and_live_apart(tmp_path, capsys) -> None:
    results.record("weights", 835200, paper=835200)
    results.record("error", 0.0123, unit="MAD")
    table = results.ResultsTable("nb", "smoke")
    assert repr(table).splitlines()[0].split("  ")[-1].strip() == "this run (smoke)"
    assert "835,200" in repr(table)
    assert "recorded" not in table._repr_html_()

    file = {"profile": "laptop", "values": {"error": 0.01}, "provenance": "CPU, <commit>"}
    (tmp_path / "nb.json").write_text(json.dumps(file))
    table = results.ResultsTable("nb", "smoke")
    assert table.rows == [
        ["", "paper", "recorded (laptop)", "this run (smoke)"],
        ["weights", "835,200", "–", "835,200"],
        ["error", "–", "0.01 MAD", "0.0123 MAD"],
    ]
    assert "<th>paper</th>" in table._repr_html_() and "&lt;commit&gt;" in table._repr_html_()
