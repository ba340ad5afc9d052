"""One small run, in a process of its own that can be killed: ``python resume_run.py FOLDER``."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from accelerate.utils import set_seed
from train_once import train

from modnet_lib.data.dataset import CompositionDataset
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.network import MODNet
from modnet_lib.profiles import DataConfig, Stage, TrainingConfig

AUGMENTED = DataConfig(framing="person", flip=0.5, colour=1.0, empty=0.02, defocus=0.35)
CONFIG = TrainingConfig(
    stages=(Stage(64, 2, 8), Stage(96, 2, 4)),
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    weight_decay=0.01,
    backbone_rate=0.5,
    gradient_clip=5.0,
    ema=0.9,
    checkpoint_every=2,
)


class SlowDataset(CompositionDataset):
    """Leaves time to be killed in."""

    pause = 0.0

    def __getitem__(self, key):
        time.sleep(self.pause)
        return super().__getitem__(key)


def dataset() -> SlowDataset:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    alpha = (np.clip((35 - np.hypot(y - 48, x - 48)) / 8, 0, 1) * 255).astype(np.uint8)
    foreground, background = (np.full((96, 96, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(2))
    weight = alpha[..., None] / 255
    image = (weight * foreground + (1 - weight) * background).round().astype(np.uint8)
    noise = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    return SlowDataset([lambda: MattingSample(image, alpha, foreground, background)], [lambda: noise], 3, AUGMENTED)


def network() -> MODNet:
    set_seed(11)
    return MODNet(backbone="mobilenetv3_small_050")


if __name__ == "__main__":
    torch.set_num_threads(1)
    data = dataset()
    data.pause = 0.05
    train(network(), data, CONFIG, sys.argv[1], device="cpu")
