"""Identity and provenance of runs."""

import subprocess

import numpy as np
import pytest

from modnet_lib import paths
from modnet_lib.provenance import (
    code_version,
    file_contents,
    fingerprint,
    first_difference,
    read_json,
    recorded,
    require_same,
)


def test_fingerprint_depends_on_values_and_not_on_the_order_of_keys():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})
    flat = np.arange(6, dtype=np.uint8)
    assert fingerprint(flat) == fingerprint(flat.copy(), None)
    assert len({fingerprint(flat), fingerprint(flat[::-1]), fingerprint(flat.reshape(2, 3))}) == 3


def test_first_difference_names_the_place():
    before = {"seed": 1, "data": {"files": {"a.jpg": 10, "b.jpg": 20}, "camera": 0.5}}
    assert first_difference(before, before) == ""
    changed = {"seed": 1, "data": {"files": {"a.jpg": 10, "b.jpg": 21}, "camera": 0.1}}
    assert first_difference(before, changed) == "data.files.b.jpg was 20, now it is 21"
    fewer = {"seed": 1, "data": {"files": {"a.jpg": 10}, "camera": 0.5}}
    assert "data.files.b.jpg was 20, now it is missing" in first_difference(before, fewer)
    assert "data.files.b.jpg was missing, now it is 20" in first_difference(fewer, before)


def test_require_same_ignores_what_json_cannot_tell_apart_and_names_the_file(tmp_path):
    require_same({"stages": [[64, 4]]}, {"stages": ((64, 4),)}, tmp_path)
    with pytest.raises(ValueError, match=r"state\.pt belongs to another run: seed was 1, now it is 2"):
        require_same({"seed": 1}, {"seed": 2}, tmp_path / "state.pt")


def test_contents_tell_files_of_one_size_apart(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    before = file_contents([tmp_path / "a"], tmp_path.parent)
    assert before == {f"{tmp_path.name}/a": "3 bytes, CRC-32 884863d2"}
    (tmp_path / "a").write_bytes(b"124")
    assert file_contents([tmp_path / "a", tmp_path / "gone"], tmp_path).keys() == {"a"}
    assert file_contents([tmp_path / "a"], tmp_path.parent) != before


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "identity.json").write_text('{"seed"')
    with pytest.raises(ValueError, match=r"identity\.json is damaged"):
        read_json(tmp_path / "identity.json")


def test_code_version_covers_every_module_of_a_folder():
    versions = code_version(paths.PACKAGE / "data", paths.PACKAGE / "images.py")
    expected = {f"data/{file.name}" for file in (paths.PACKAGE / "data").glob("*.py")} | {"images.py"}
    assert versions.keys() == expected


def test_commit_says_when_tracked_files_have_changed(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    def commit():
        return recorded("a test", device="cpu", precision="float32")["origin"]["commit"]

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    clean = commit()
    assert len(clean) >= 7
    assert "dirty" not in clean
    (tmp_path / "file").write_text("two")
    assert commit() == f"{clean}-dirty"


def test_provenance_names_no_folder_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/modnet", "train", "smoke", "--folder", str(tmp_path)])
    result = recorded("a test", device="cpu", precision="float32", seed=3)
    found = result["origin"]
    assert found["command"] == f"modnet train smoke --folder {tmp_path.name}"
    assert (found["precision"], found["seed"]) == ("float32", 3)
    assert found["device"].startswith("cpu")
