"""Two processes with half of the batch each are one process with all of it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from resume_run import dataset, network
from shared_run import CONFIG
from train_once import train

from modnet_lib.data.dataset import StagedSampler


def launch(folder: Path, *arguments: object) -> list[dict]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(Path(__file__).with_name("shared_run.py")), str(folder), *map(str, arguments)]
    # two processes on a CPU, also where there is a GPU
    env = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    subprocess.run(command, check=True, timeout=300, env=env)
    return measured(folder)


def measured(folder: Path) -> list[dict]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def state(folder: Path) -> dict:
    return torch.load(folder / "state.pt", weights_only=True)


def assert_close(first: list[dict], second: list[dict], rel: float) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, rel=rel)


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    launch(folder)
    return folder


def test_two_processes_have_the_curve_of_one(together, tmp_path) -> None:
    alone = network()
    train(alone, dataset(), CONFIG, tmp_path, device="cpu")
    assert_close(measured(together), measured(tmp_path), 1e-4)
    for name, value in state(together)["network"].items():
        torch.testing.assert_close(value, alone.state_dict()[name], rtol=1e-3, atol=1e-4)
    before, after = network().state_dict(), state(together)["network"]
    kept = {name for name in before if torch.equal(before[name], after[name])}
    statistics = {name for name in before if "running" in name or "num_batches" in name}
    assert statistics <= kept  # frozen
    assert len(kept - statistics) < 0.1 * len(before)


def test_two_processes_resume_to_the_same_bits(together, tmp_path) -> None:
    launch(tmp_path, 3)
    assert len(measured(tmp_path)) == 3
    assert launch(tmp_path) == measured(together)
    for part in ("network", "averaged"):
        first, second = state(tmp_path)[part], state(together)[part]
        assert all(torch.equal(first[name], second[name]) for name in second)


@pytest.mark.parametrize("pieces", [2, 4])
def test_a_batch_in_pieces_gives_the_same_curve(tmp_path, pieces) -> None:
    train(network(), dataset(), CONFIG, tmp_path / "whole", device="cpu")
    settings = dataclasses.replace(CONFIG, accumulate=pieces)
    train(network(), dataset(), settings, tmp_path / "pieces", device="cpu")
    assert_close(measured(tmp_path / "pieces"), measured(tmp_path / "whole"), 1e-4)


def test_pieces_and_processes_share_every_batch_out() -> None:
    stages = [(64, 8, 3), (96, 4, 2)]
    whole = list(StagedSampler(stages))
    for pieces, processes in ((2, 2), (1, 4), (4, 1)):
        parts = [
            list(StagedSampler(stages, 1, pieces=pieces, rank=rank, processes=processes)) for rank in range(processes)
        ]
        assert {len(part) for part in parts} == {4 * pieces}
        for step in range(4):
            drawn = [key for part in parts for piece in part[step * pieces : (step + 1) * pieces] for key in piece]
            assert sorted(drawn) == whole[step + 1]
    with pytest.raises(ValueError, match="a batch of 4 cannot be divided among 3 processes"):
        StagedSampler(stages[1:], processes=3)
