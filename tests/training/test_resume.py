"""A run that was cut, anywhere, ends with the same bits as one that was not."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate.utils import set_seed
from resume_run import AUGMENTED, CONFIG, SlowDataset, dataset, network
from train_once import train

from modnet_lib.profiles import Stage


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(folder: Path, config=CONFIG, **options):
    trained = network()
    history = train(trained, dataset(), config, folder, device="cpu", **options)
    return trained.state_dict(), history


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return (*run(folder), folder)


def assert_same(first, second) -> None:
    """Nested dictionaries, lists and tensors, bit for bit."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    else:
        assert first == second


def measured(folder: Path) -> list[dict]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def assert_same_run(folder: Path, state, history, uninterrupted) -> None:
    expected_state, expected_history, expected_folder = uninterrupted
    assert_same(dict(state), dict(expected_state))
    # weights, averaged weights, optimiser, generator
    files = [torch.load(f / "state.pt", weights_only=True) for f in (folder, expected_folder)]
    assert_same(*files)
    assert measured(folder) == measured(expected_folder)
    assert [r["step"] for r in history] == [r["step"] for r in expected_history] == list(range(1, 13))


def test_a_killed_run_resumes_to_the_same_bits(uninterrupted, tmp_path) -> None:
    lines = random.randint(1, 9)
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("resume_run.py")), str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    metrics, deadline = folder / "metrics.jsonl", time.monotonic() + 600
    while not metrics.is_file() or metrics.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.1))  # anywhere in the next step
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, f"the run was over before it was killed, after line {lines}"
    process.stderr.close()
    assert metrics.read_bytes().count(b"\n") < 12
    state, history = run(folder)
    assert_same_run(folder, state, history, uninterrupted)
    # a temporary file of a cut write may remain; nothing reads it
    assert {p.name for p in folder.iterdir() if not p.name.startswith(".")} == {
        "state.pt",
        "identity.json",
        "metrics.jsonl",
    }


def test_a_stopped_run_resumes_to_the_same_bits(uninterrupted, tmp_path) -> None:
    _, history = run(tmp_path, stop_after=3)  # between two checkpoints
    assert [r["step"] for r in history] == [1, 2, 3]
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 3
    run(tmp_path, stop_after=9)  # in the second stage
    # what a power cut may leave behind
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"semantic": 0.1, "step": 10}\n{"semantic": 0.1, "st')
    state, history = run(tmp_path)
    assert_same_run(tmp_path, state, history, uninterrupted)


def test_a_finished_run_is_only_read(uninterrupted) -> None:
    state, history, folder = uninterrupted
    before = (folder / "state.pt").read_bytes()
    again, same = run(folder)
    assert_same(dict(again), dict(state))
    assert same == history
    assert (folder / "state.pt").read_bytes() == before


def test_the_result_is_the_averaged_network(uninterrupted) -> None:
    state, _, folder = uninterrupted
    saved = torch.load(folder / "state.pt", weights_only=True)
    kept = {key.removeprefix("module."): value for key, value in saved["averaged"].items()}
    assert kept.pop("n_averaged") == 12
    assert_same(dict(state), kept)
    assert any(not torch.equal(state[k], saved["network"][k]) for k in state)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stages": (Stage(64, 2, 9), Stage(96, 2, 4))}, r"training\.stages was .*\"steps\": 8"),
        ({"optimizer": "sgd"}, r'training\.optimizer was "adamw", now it is "sgd"'),
        ({"objective": "segmentation"}, r"training\.objective"),
        ({"schedule": "step"}, r"training\.schedule"),
        ({"mixed_precision": "bf16"}, r"training\.mixed_precision"),
    ],
)
def test_a_folder_of_another_schedule_is_refused(uninterrupted, change, named) -> None:
    *_, folder = uninterrupted
    with pytest.raises(ValueError, match=rf"belongs to another run: {named}"):
        run(folder, dataclasses.replace(CONFIG, **change))


def test_a_folder_of_other_data_or_another_seed_is_refused(uninterrupted) -> None:
    *_, folder = uninterrupted
    first = dataset()
    for other, named in (
        (SlowDataset(first.foregrounds, first.backgrounds, 4, AUGMENTED), r"data\.seed was 3, now it is 4"),
        (
            SlowDataset(first.foregrounds * 2, first.backgrounds, 3, AUGMENTED),
            r"data\.foregrounds.*files\.count was 1, now it is 2",
        ),
        (
            SlowDataset(first.foregrounds, first.backgrounds, 3, dataclasses.replace(AUGMENTED, flip=0.25)),
            r"data\.settings\.flip was 0\.5, now it is 0\.25",
        ),
    ):
        with pytest.raises(ValueError, match=named):
            train(network(), other, CONFIG, folder, device="cpu")


def test_a_folder_without_a_state_still_belongs_to_its_run(tmp_path) -> None:
    run(tmp_path, stop_after=1)
    (tmp_path / "state.pt").unlink()
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    first = dataset()
    other = SlowDataset(first.foregrounds, first.backgrounds, 4, AUGMENTED)
    with pytest.raises(ValueError, match=r"data\.seed was 3, now it is 4"):
        train(network(), other, CONFIG, tmp_path, device="cpu")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == kept


def test_the_random_state_is_restored(tmp_path) -> None:
    run(tmp_path, stop_after=3)
    expected = float(torch.rand(1))
    set_seed(99)
    run(tmp_path, stop_after=3)
    assert float(torch.rand(1)) == expected
