"""One small run for several processes: ``torchrun --nproc_per_node 2 shared_run.py FOLDER [STOP_AFTER]``."""

from __future__ import annotations

import os
import sys

import torch
from resume_run import dataset, network
from train_once import train

from modnet_lib.profiles import Stage, TrainingConfig

CONFIG = TrainingConfig(
    stages=(Stage(64, 4, 5), Stage(96, 4, 3)),
    learning_rate=0.02,
    gradient_clip=5.0,
    freeze_norm=True,
    ema=0.9,
    checkpoint_every=2,
)

if __name__ == "__main__":
    torch.set_num_threads(1)
    stop = int(sys.argv[2]) if len(sys.argv) > 2 else None
    trained = network()
    torch.manual_seed(int(os.environ["RANK"]) + 2 * (stop or 0))  # every process its own
    train(trained, dataset(), CONFIG, sys.argv[1], device="cpu", stop_after=stop)
    print(float(torch.rand(())))
