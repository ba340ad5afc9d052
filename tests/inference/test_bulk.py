"""Folders of pictures: what becomes of which file, bad files, resuming, several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from modnet_lib.inference import Matter
from modnet_lib.inference.bulk import Job, plan, run
from modnet_lib.network import save_checkpoint


@pytest.fixture
def matter(tiny_network) -> Matter:
    return Matter(tiny_network, short_side=32, device="cpu")


def make(folder, *names) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 256, (40, 40 + 4 * number, 3), dtype=np.uint8)).save(folder / name)


def test_a_folder_is_mirrored_with_everything_in_it(tmp_path) -> None:
    make(tmp_path / "in", "b.JPG", "a.png", "deep/er/c.webp", ".hidden.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    jobs = plan([tmp_path / "in"], tmp_path / "out", ".webp")
    targets = {job.target.relative_to(tmp_path / "out").as_posix() for job in jobs}
    assert targets == {"b.webp", "a.webp", "deep/er/c.webp"}
    assert jobs == plan([tmp_path / "in"], tmp_path / "out", ".webp")


def test_names_that_differ_in_their_ending_only_keep_it(tmp_path) -> None:
    make(tmp_path / "in", "a.png", "a.jpg", "b.png")
    targets = {job.target.name for job in plan([tmp_path / "in"], tmp_path / "out")}
    assert targets == {"a.png.png", "a.jpg.png", "b.png"}


def test_an_output_folder_inside_is_no_input(tmp_path) -> None:
    make(tmp_path, "a.png", "out/old.png")
    assert [job.source.name for job in plan([tmp_path], tmp_path / "out")] == ["a.png"]


def test_a_single_picture_becomes_the_file_or_goes_into_the_folder(tmp_path) -> None:
    make(tmp_path, "a.png")
    source = tmp_path / "a.png"
    assert plan([source], tmp_path / "x.webp") == [Job(source, tmp_path / "x.webp")]
    assert plan([source], tmp_path / "new") == [Job(source, tmp_path / "new" / "a.png")]


def test_plans_that_cannot_be(tmp_path) -> None:
    make(tmp_path, "a.png", "b/a.png", "c/a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="gone"):
        plan([tmp_path / "gone"], tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no pictures"):
        plan([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(ValueError, match="source itself"):
        plan([tmp_path / "b"], tmp_path / "b")
    with pytest.raises(ValueError, match="is a file"):
        plan([tmp_path / "b"], tmp_path / "a.png")
    with pytest.raises(ValueError, match="2 pictures would become"):
        plan([tmp_path / "b", tmp_path / "c"], tmp_path / "out")


def test_a_bad_picture_costs_nothing_else_and_a_second_run_does_nothing(matter, tmp_path) -> None:
    make(tmp_path / "in", *(f"{n}.png" for n in range(5)))
    (tmp_path / "in" / "2.png").write_bytes(b"broken")
    jobs = plan([tmp_path / "in"], tmp_path / "out")
    results = list(run(matter, jobs))
    assert {r.job.source.name: bool(r.error) for r in results} == {f"{n}.png": n == 2 for n in range(5)}
    assert "2.png" in next(r.error for r in results if r.error)
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"0.png", "1.png", "3.png", "4.png"}
    for job in jobs[3:]:
        expected = np.asarray(matter.cutout(job.source)).astype(int)
        np.testing.assert_allclose(np.asarray(Image.open(job.target)), expected, atol=1)
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").iterdir()}
    again = list(run(matter, jobs))
    assert [r.skipped for r in sorted(again)] == [True, True, False, True, True]
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "out").iterdir()} == before
    assert sum(not r.error for r in run(matter, jobs, "matte", overwrite=True)) == 4
    assert Image.open(tmp_path / "out" / "0.png").mode == "L"


def test_a_target_that_cannot_be_written_is_reported(matter, tmp_path) -> None:
    make(tmp_path, "a.png", "b.png")
    (tmp_path / "file").write_text("in the way")
    jobs = [Job(tmp_path / "a.png", tmp_path / "file" / "a.png"), Job(tmp_path / "b.png", tmp_path / "b2.png")]
    results = {r.job.source.name: r.error for r in run(matter, jobs, "matte")}
    assert results["a.png"]
    assert not results["b.png"]


def test_formats(matter, tmp_path) -> None:
    make(tmp_path, "a.png")
    jobs = [Job(tmp_path / "a.png", tmp_path / name) for name in ("o.webp", "o.tif", "o.png")]
    assert not [r.error for r in run(matter, jobs) if r.error]
    modes = {name: Image.open(tmp_path / name).mode for name in ("o.webp", "o.tif", "o.png")}
    assert set(modes.values()) == {"RGBA"}
    job = [Job(tmp_path / "a.png", tmp_path / "o.jpg")]
    assert not [r.error for r in run(matter, job, "white") if r.error]
    assert Image.open(tmp_path / "o.jpg").mode == "RGB"
    for suffix in (".jpg", ".gif", ""):
        with pytest.raises(ValueError, match="take"):
            next(run(matter, [Job(tmp_path / "a.png", tmp_path / f"p{suffix}")]))


def test_every_job_belongs_to_one_process(monkeypatch, tmp_path) -> None:
    make(tmp_path / "in", *(f"{n}.png" for n in range(11)))
    jobs, parts = plan([tmp_path / "in"], tmp_path / "out"), []
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        parts.append(plan([tmp_path / "in"], tmp_path / "out"))
    assert sorted(job for part in parts for job in part) == sorted(jobs) and len(jobs) == 11
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


LAUNCHED = """
import os, sys, time
from modnet_lib.cli import app
from modnet_lib.inference import bulk
write, log = bulk.write_atomically, os.open(sys.argv.pop(1), os.O_APPEND | os.O_CREAT | os.O_WRONLY)
def logged(target, writer):
    write(target, writer)
    os.write(log, f"{os.environ['RANK']} {os.getpid()} {target.name}\\n".encode())
    time.sleep(0.2)
bulk.write_atomically = logged
app()
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torch.distributed.run", "accelerate.commands.launch"])
def test_a_launched_run_that_lost_a_process_goes_on_where_it_was(tiny_network, tmp_path, launcher) -> None:
    names = [f"{n:02}.png" for n in range(40)]
    make(tmp_path / "in", *names)
    save_checkpoint(tiny_network, tmp_path / "n.safetensors", metadata={"short_side": "64"})
    (tmp_path / "launched.py").write_text(LAUNCHED)
    log, out = tmp_path / "log", tmp_path / "out"
    log.touch()
    count, port = (
        ("--nproc_per_node", "--master_port") if "torch" in launcher else ("--num_processes", "--main_process_port")
    )
    command = [sys.executable, "-m", launcher, count, "2", port, "0"]
    command += [] if "torch" in launcher else ["--multi_gpu"]  # what starts several processes, also without a GPU
    command += [tmp_path / "launched.py", log, "matte", tmp_path / "in", out, "--device", "cpu"]
    command += ["--workers", "1", "--model", tmp_path / "n.safetensors"]

    def start() -> subprocess.Popen:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*map(str, command)], env=environment, stderr=subprocess.PIPE, text=True)

    def work() -> list[list[str]]:
        return [line.split() for line in log.read_text().splitlines()]

    first, deadline = start(), time.monotonic() + 120
    while len(second := [pid for rank, pid, _ in work() if rank == "1"]) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(int(second[0]), signal.SIGKILL)
    first.communicate(timeout=120)
    assert first.returncode != 0
    before = {file.name: file.stat().st_mtime_ns for file in out.glob("*.png")}
    assert 4 <= len(before) < len(names)
    assert all(Image.open(out / name).load() for name in before), "a file is whole or not there"

    again = start()
    said = again.communicate(timeout=180)[1]
    assert again.returncode == 0, said
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("*.png")}
    assert sorted(after) == names
    assert all(after[name] == when for name, when in before.items()), "nothing is written again"
    done = [name for *_, name in work()]
    assert len(set(done)) == len(done), "no picture is done twice"
    assert {rank for rank, *_ in work()} == {"0", "1"}
