"""How large the network sees a picture, and how it gets there."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from modnet_lib.images import to_tensor

SHORT_SIDE = 512  # the authors' protocol
MAX_PIXELS = 2_000_000  # of the network's input
BLOCK = 4_000_000  # pixels of a picture that are floating-point numbers at the same time


def network_size(height: int, width: int, short_side: int = SHORT_SIDE, bucket: int = 32) -> tuple[int, int]:
    """The network's input for a picture: short side to `short_side`, floor to multiples of 32, at most 2 MP.

    A larger `bucket`, a multiple of 32, rounds the long side to the nearest multiple of it: fewer different sizes.

    Very long pictures lose proportion rather than being refused: each side is at least 32.
    """
    scale = short_side / min(height, width)
    scale = min(scale, math.sqrt(MAX_PIXELS / (height * width)))
    height, width = (max(32, int(side * scale + 1e-6) // 32 * 32) for side in (height, width))
    if bucket > 32:
        height, width = (
            side if side <= short_side else max(1, round(side / bucket)) * bucket for side in (height, width)
        )
    # a side that was raised to 32 can break the cap again
    longest = MAX_PIXELS // 32 // 32 * 32
    return min(height, longest), min(width, longest)


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, with antialiasing when it shrinks; (N, C, H, W) in and out."""
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)


def shrink(pixels: np.ndarray, height: int, width: int) -> Tensor:
    """A picture (H, W, 3) uint8 as (1, 3, height, width) in [0, 1]; like `resize`, but in bounded memory.

    Bilinear filtering with antialiasing works along one axis after the other, so rows can be narrowed block by block.
    """
    rows = max(1, BLOCK // pixels.shape[1])
    if rows >= pixels.shape[0]:
        return resize(to_tensor(pixels), height, width)
    blocks = (pixels[top : top + rows] for top in range(0, pixels.shape[0], rows))
    return resize(torch.cat([resize(to_tensor(b), b.shape[0], width) for b in blocks], dim=2), height, width)
