"""Recorded numbers: what the table says."""

import json

import numpy as np
import pytest

from modnet_lib import paths
from modnet_lib.notebook import results
from modnet_lib.profiles import Profile


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Recorded runs of the test's own."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


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


def test_a_written_run_is_what_notebooks_read(monkeypatch, tmp_path) -> None:
    folder = tmp_path / "notebooks" / "08" / "overnight"
    profile = Profile(name="overnight", seed=7, device="cpu")
    results.write_run(folder, "two clips", profile, errors={"OFD": [np.float32(1 / 3), 2e-7 / 3]}, clips=np.int64(2))
    (folder / "result.json").rename(tmp_path / "nb.json")
    found = results.recorded_run("nb")
    assert found["errors"] == {"OFD": [0.33333, 6.6667e-08]}
    assert (found["profile"], found["clips"], found["origin"]["seed"]) == ("overnight", 2, 7)
    assert found["provenance"].startswith("two clips; notebooks/reproduce.py --profile overnight --only 08; cpu")
