"""The program that draws people: its commands, and that what ships is what it draws."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drawn_set import write_portraits, write_scenes
from drawn_spm import write_spm100, write_spm_video
from modnet_lib import paths
from modnet_lib.data.items import check
from modnet_lib.data.manifest import find_items
from modnet_lib.images import read_image


def draw(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", paths.DATA / "drawn_people", *arguments]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_people_and_scenes_are_drawn_where_the_library_looks_for_them(tmp_path) -> None:
    for arguments in (
        ("portraits", 2, tmp_path, "--size", 32),
        ("portraits", 1, tmp_path, "--size", 32, "--split", "validation"),
        ("scenes", 3, tmp_path, "--size", 32),
    ):
        done = draw(*arguments)
        assert done.returncode == 0, done.stderr
    assert len(names(tmp_path)) == 3 * 3 + 3
    report = check("drawn", tmp_path)
    assert (report.fine, report.problems, report.absent) == (6, [], [])
    (tmp_path / "train" / "alpha" / "100001.png").unlink()  # cut while it was drawn
    kept = tmp_path / "train" / "alpha" / "100000.png"
    before = kept.stat().st_mtime_ns
    write_portraits(tmp_path, 2, 32)
    assert len(find_items("drawn", tmp_path, "train")) == 2
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("spm100", "--size", 32, "--count", 2), 2 * 2 + 1),
        (("spm_shift", "--size", 32, "--count", 2), 2 * 2 + 1),
        (("spm_video", "--size", 32, "--clips", 1, "--frames", 2), 2 * 2),
        (("passing_car", "--size", 32, "--frames", 3), 2 * (3 * 3 + 1)),
    ],
)
def test_benchmarks_are_drawn(arguments, count, tmp_path) -> None:
    done = draw(arguments[0], tmp_path / "out", *arguments[1:])
    assert done.returncode == 0, done.stderr
    assert len(names(tmp_path / "out")) == count


def test_mistakes_are_told_in_words(tmp_path) -> None:
    for arguments, told in (
        (("portraits", 0, tmp_path), "1 to 1,000,000 pictures"),
        (("scenes", 1, tmp_path, "--size", 8), "at least 16"),
        (("spm100", tmp_path, "--count", 101), "asked for 101"),
        (("castles", tmp_path), "invalid choice"),
    ):
        done = draw(*arguments)
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    assert names(tmp_path) == []


def test_what_ships_is_what_is_drawn(tmp_path) -> None:
    write_spm100(tmp_path / "spm", 512, 3)
    write_spm_video(tmp_path / "clips", 192, clips=1, frames=3)
    write_portraits(tmp_path / "drawn", 2, 320)
    write_portraits(tmp_path / "drawn", 1, 384, "validation")
    write_scenes(tmp_path / "drawn", 2, 320)
    different = total = 0
    made = [name for name in names(tmp_path) if not name.endswith(".csv")]
    assert len(made) == 6 + 6 + 9 + 2
    for name in made:  # processors may round differently
        gap = np.abs(read_image(tmp_path / name).astype(int) - read_image(paths.SAMPLES / name))
        different, total = different + int((gap > 1).sum()), total + gap.size
    assert different <= 1e-4 * total


def test_samples_are_small() -> None:
    files = [file for file in paths.SAMPLES.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 6e6
    clips = find_items("spm_video", paths.SAMPLES / "clips", "test")
    assert {item.id.partition("/")[0] for item in clips} == {"00_head_turn", "02_walk_in", "car_8000305"}
    assert all(file.is_file() for item in clips for file in item.files.values())


def test_the_library_does_not_know_the_program() -> None:
    program = {file.stem for file in (paths.DATA / "drawn_people").glob("drawn_*.py")}
    assert len(program) >= 7
    for file in paths.PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not [name for name in program if f"import {name}" in text or f"from {name}" in text], file
