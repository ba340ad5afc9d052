"""A matter that is no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from modnet_lib.inference import Matter
from modnet_lib.network import MODNet


class RedMatter(Matter):
    """The matte is the red channel, so that a clip says which mattes it has."""

    def __init__(self) -> None:
        super().__init__(MODNet(backbone="mobilenetv3_small_050"), short_side=64, device="cpu")
        self.seen = 0

    def alphas(self, images: Sequence[Any], batch_size: int = 8) -> list[np.ndarray]:
        self.seen += len(images)
        return [image[..., 0].astype(np.float32) / 255 for image in images]


@pytest.fixture
def red_matter() -> RedMatter:
    return RedMatter()
