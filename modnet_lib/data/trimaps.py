"""Trimaps, from mattes and from masks."""

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from modnet_lib.regions import grow


def trimap_from_alpha(alpha: Tensor, size: int | Sequence[int]) -> Tensor:
    """Trimap, (N, 1, H, W) of {0, 0.5, 1}, of mattes in [0, 1]; dilate(alpha > 0) - erode(alpha >= 0.9) is unknown.

    `size` is the side of the square in pixels, for all pictures or for each. The authors draw 20 to 40 at 512 x 512;
    small people need less (their issue 110), see `band_size`.
    """
    maybe, unsure = grow(alpha, size).to(alpha.dtype).chunk(2, dim=1)
    return (1 + maybe - unsure) / 2


def band_size(alpha: Tensor) -> int:
    """Side of the square in proportion to the largest person in `alpha`, (N, 1, H, W): 30 pixels for one of 512."""
    rows, columns = (alpha > 0.5).flatten(0, 1).any(0).nonzero(as_tuple=True)
    extent = min(alpha.shape[-2:])
    if len(rows):
        extent = min(max(int(each.max() - each.min()) + 1 for each in (rows, columns)), extent)
    return max(3, round(30 * extent / 512))


def trimap_from_mask(
    mask: np.ndarray, hair: np.ndarray | None = None, *, band: int = 5, hair_band: int = 20
) -> np.ndarray:
    """Trimap of a binary segmentation, (H, W) float64 of {0, 0.5, 1}: narrow along bodies, wide along hair.

    `mask` is the person and `hair` the labelled hair, (H, W) bool. `band` and `hair_band` are the radius in pixels of
    the unknown band along the mask's border, and where the border is hair.
    """
    person = mask.astype(np.uint8)
    unknown = _near_border(person, band)
    if hair is not None and hair.any():
        # only hair at the border of the person: a fringe over the forehead does not count
        border = _near_border(person, 2) & (cv2.dilate(hair.astype(np.uint8), _disc(3)) > 0)
        unknown |= cv2.dilate(border.astype(np.uint8), _disc(hair_band)) > 0
        # inside the person the wide band stays within hair and half as wide, or hair of the background's colour is lost
        deep = cv2.erode(person, _disc(max(1, hair_band // 2))) > 0
        unknown &= ~((person > 0) & (~hair | deep) & ~_near_border(person, band))
    return np.where(unknown, 0.5, person.astype(np.float64))


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _near_border(person: np.ndarray, radius: int) -> np.ndarray:
    disc = _disc(radius)
    return (cv2.dilate(person, disc) > 0) & (cv2.erode(person, disc) == 0)
