"""Two processes with half of the batch each are one process with all of it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from resume_run import dataset, network
from safetensors.torch import load_file
from shared_recipe import everything
from shared_run import CONFIG
from train_once import train

from modnet_lib.data.dataset import staged_batches


def launch(script: str, *arguments: object) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(Path(__file__).with_name(script)), *map(str, arguments)]
    # two processes on a CPU, also where there is a GPU
    env = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    return subprocess.run(command, check=True, timeout=900, env=env, stdout=subprocess.PIPE, text=True).stdout


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
    launch("shared_run.py", folder)
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
    launch("shared_run.py", tmp_path, 3)
    assert len(measured(tmp_path)) == 3
    drawn = sorted(map(float, launch("shared_run.py", tmp_path).split()))
    assert measured(tmp_path) == measured(together)
    # every process has its own generator back, seeded before the cut
    generators = [torch.Generator().manual_seed(seed) for seed in (6, 7)]
    assert drawn == sorted(float(torch.rand((), generator=one)) for one in generators)
    for part in ("network", "averaged"):
        first, second = state(tmp_path)[part], state(together)[part]
        assert all(torch.equal(first[name], second[name]) for name in second)


@pytest.mark.slow
def test_two_processes_run_recipes_and_grids_like_one(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("MODNET_DATA", raising=False)
    together, alone = tmp_path / "together", tmp_path / "alone"
    printed = launch("shared_recipe.py", together)
    assert printed.count("validation: drawn people: 1 pictures") == 4, "two for the pre-training, one a round"
    everything(alone)
    files = [sorted(file.relative_to(one).as_posix() for file in one.rglob("*")) for one in (together, alone)]
    assert files[0] == files[1]
    assert "rounds/modnet.safetensors" in files[0]
    for name in (one for one in files[0] if one.endswith(".safetensors")):
        first, second = load_file(together / name), load_file(alone / name)
        for key, value in second.items():
            torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-4, msg=f"{name}: {key}")
    for name in (one for one in files[0] if one.endswith("metrics.jsonl")):
        first, second = (measured((one / name).parent) for one in (together, alone))
        assert_close(first, second, 1e-3)
        assert [line["step"] for line in first if "validation_mad" in line] == ([2, 4] if "rounds" in name else [])
    results = [json.loads((one / "grid" / "result.json").read_text())["errors"]["natural"] for one in (together, alone)]
    for row in ("alpha", "shm"):
        for metric, values in results[1][row].items():
            np.testing.assert_allclose(results[0][row][metric], values, rtol=1e-3, err_msg=f"{row} {metric}")


def test_processes_share_one_kind_of_device(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 2)
    with pytest.raises(ValueError, match=r"2 processes cannot train on meta: they share cpu; .*ACCELERATE_USE_CPU"):
        train(network(), dataset(), CONFIG, tmp_path, device="meta")


@pytest.mark.parametrize("pieces", [2, 4])
def test_a_batch_in_pieces_gives_the_same_curve(tmp_path, pieces) -> None:
    train(network(), dataset(), CONFIG, tmp_path / "whole", device="cpu")
    settings = dataclasses.replace(CONFIG, accumulate=pieces)
    train(network(), dataset(), settings, tmp_path / "pieces", device="cpu")
    assert_close(measured(tmp_path / "pieces"), measured(tmp_path / "whole"), 1e-4)


def test_pieces_and_processes_share_every_batch_out() -> None:
    stages = [(64, 8, 3), (96, 4, 2)]
    whole = list(staged_batches(stages))
    for pieces, processes in ((2, 2), (1, 4), (4, 1)):
        parts = [
            list(staged_batches(stages, 1, pieces=pieces, rank=rank, processes=processes)) for rank in range(processes)
        ]
        assert {len(part) for part in parts} == {4 * pieces}
        for step in range(4):
            drawn = [key for part in parts for piece in part[step * pieces : (step + 1) * pieces] for key in piece]
            assert sorted(drawn) == whole[step + 1]
    with pytest.raises(ValueError, match="a batch of 8 cannot be divided among 3 processes"):
        next(staged_batches(stages, processes=3))
