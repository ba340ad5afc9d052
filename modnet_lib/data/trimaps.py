"""Trimaps, from mattes and from masks."""

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from modnet_lib.regions import grow


def trimap_from_alpha(alpha: Tensor, size: int | Sequence[int]) -> Tensor:
    """Trimap of mattes (N, 1, H, W) in [0, 1]: dilate(alpha > 0) - erode(alpha >= 0.9) is unknown.

    `size` is the side of the square in pixels, for all pictures or for each. The authors draw 20 to 40 at 512 x 512;
    small people need a smaller one (their issue 110), see `band_size`.

    Returns
    -------
    (N, 1, H, W) of {0, 0.5, 1}: background, unknown, foreground.
    """
    maybe, unsure = grow(alpha, size).to(alpha.dtype).chunk(2, dim=1)
    return (1 + maybe - unsure) / 2


def band_size(alpha: Tensor, at_512: int = 30) -> int:
    """Side of the square: `at_512` pixels for a person who spans 512, in proportion for others.

    The extent of the largest person in `alpha`, (N, 1, H, W), counts.
    """
    rows, columns = (alpha > 0.5).flatten(0, 1).any(0).nonzero(as_tuple=True)
    extent = min(alpha.shape[-2:])
    if len(rows):
        extent = min(max(int(each.max() - each.min()) + 1 for each in (rows, columns)), extent)
    return max(3, round(at_512 * extent / 512))


def trimap_from_mask(
    mask: np.ndarray, hair: np.ndarray | None = None, *, band: int = 5, hair_band: int = 20
) -> np.ndarray:
    """Trimap of a binary segmentation: narrow along bodies, wide along hair.

    Parameters
    ----------
    mask, hair
        (H, W) bool: the person, and where the person is hair, if that is labelled.
    band, hair_band
        Radius of the unknown band along the mask's border, and where that is hair; pixels. Raises `ValueError` if one
        is smaller than 1.

    Returns
    -------
    (H, W) float64 of {0, 0.5, 1}, which pymatting takes.
    """
    if min(band, hair_band) < 1:
        raise ValueError(f"band and hair_band must be at least 1 pixel, got {band}, {hair_band}")
    person = mask.astype(np.uint8)
    unknown = _near_border(person, band)
    if hair is not None and hair.any():
        # only hair that meets the background: a fringe over the forehead is inside the person
        border = _near_border(person, 2) & (cv2.dilate(hair.astype(np.uint8), _disc(3)) > 0)
        unknown |= cv2.dilate(border.astype(np.uint8), _disc(hair_band)) > 0
        # inside the person the wide band stays within hair, and half as wide: hair of the background's colour
        # would be lost otherwise
        deep = cv2.erode(person, _disc(max(1, hair_band // 2))) > 0
        unknown &= ~((person > 0) & (~hair | deep) & ~_near_border(person, band))
    return np.where(unknown, 0.5, person.astype(np.float64))


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _near_border(person: np.ndarray, radius: int) -> np.ndarray:
    disc = _disc(radius)
    return (cv2.dilate(person, disc) > 0) & (cv2.erode(person, disc) == 0)
