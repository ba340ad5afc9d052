"""Rounds with pre-training, cut and resumed, and a grid: ``torchrun --nproc_per_node 2 shared_recipe.py FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from modnet_lib.profiles import DataConfig, Profile, Stage, TrainingConfig
from modnet_lib.training import run
from modnet_lib.training.grid import Grid, run_grid

TRAINING = TrainingConfig(
    stages=(Stage(64, 4, 4),), learning_rate=1e-3, freeze_norm=True, ema=0.5, validate_every=2, checkpoint_every=1
)
PROFILE = Profile(
    name="shared",
    seed=3,
    device="cpu",
    backbone="mobilenetv3_small_050",
    validation=1,
    seeds=1,
    data=DataConfig(portraits=2, scenes=2),
    training=TRAINING,
    pretraining=TRAINING,
    ablation=TRAINING,
    rounds=({}, {"training": {"learning_rate": 2e-3}}),
)
# heads without a part in the loss; parts that are frozen for a while
ROWS = {
    "alpha": {"label": "alpha alone", "training": {"loss_weights": [0.0, 0.0, 1.0]}},
    "shm": {"label": "SHM", "baseline": "shm"},
}
GRID = Grid(rows=ROWS, compare=[("shm", "alpha")], sets={"natural": "photographs"}, gallery=["shm"])


def everything(folder: Path) -> None:
    run(PROFILE, folder / "rounds", stop_after=3)  # in the middle of the pre-training
    run(PROFILE, folder / "rounds")
    run_grid(GRID, PROFILE, folder / "grid")


if __name__ == "__main__":
    torch.set_num_threads(1)
    everything(Path(sys.argv[1]))
