"""Where a matte is uncertain: dilation with a square, and the transition region m_d of Eq. 3."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SURE = 0.9  # alpha from here on is foreground, as the authors disclosed
BAND = 30 / 512  # side of the square in training, of the mean side of the picture


def dilate(mask: Tensor, size: int) -> Tensor:
    """Grey dilation of (N, C, H, W) with a square of `size` pixels; outside the picture counts as smallest."""
    outside = float("-inf") if mask.is_floating_point() else 0
    before, after = size // 2, (size - 1) // 2
    for axis, pad in ((-1, (before, after)), (-2, (0, 0, before, after))):
        mask, reach = F.pad(mask, pad, value=outside), 1
        while reach < size:  # the maximum over 2 r is the maximum of two maxima over r
            step = min(reach, size - reach)
            length = mask.shape[axis] - step
            mask = torch.maximum(mask.narrow(axis, 0, length), mask.narrow(axis, step, length))
            reach += step
    return mask


def grow(alpha: Tensor, size: int | Sequence[int], maybe: float = 0.0) -> Tensor:
    """Dilate what may be a person (alpha > 0, or >= `maybe`) and what may not be one (alpha < 0.9).

    From alpha (N, 1, H, W) in [0, 1] to (N, 2, H, W) uint8 of {0, 1}. `size` is the side of the square in pixels, for
    all pictures or for each; raises `ValueError` if it is smaller than 1.
    """
    sizes = [size] if isinstance(size, int) else size
    if min(sizes) < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    # bytes are fast; dilating what is unsure erodes what is sure
    masks = torch.cat((alpha >= maybe if maybe else alpha > 0, alpha < SURE), dim=1).byte()
    parts = masks.split(1 if len(sizes) > 1 else len(masks))
    return torch.cat([dilate(part, side) for part, side in zip(parts, sizes, strict=True)])


def transition_region(alpha: Tensor, size: int | None = None, *, maybe: float = 0.0) -> Tensor:
    """m_d of Eq. 3, (N, 1, H, W) of {0, 1}: dilate(alpha > 0) - erode(alpha >= 0.9), without gradient.

    `alpha` is (N, 1, H, W) in [0, 1]. `size` is the side of the square in pixels; by default the one of training, 30 at
    512. With `maybe`, the first region is alpha >= `maybe`: a predicted matte is never 0, so Eq. 7 needs it.
    """
    if size is None:
        size = max(3, round(BAND * (alpha.shape[2] + alpha.shape[3]) / 2))
    possible, unsure = grow(alpha.detach(), size, maybe).chunk(2, dim=1)
    return (possible * unsure).to(alpha.dtype)
