"""Trimaps, from mattes and from masks."""

import cv2
import numpy as np
import torch
from torch import Tensor

from modnet_lib.regions import SURE, dilate


def erode(mask: Tensor, size: int) -> Tensor:
    """Grey erosion of floating-point (N, C, H, W) with a square; outside the picture counts as largest."""
    return -dilate(-mask, size)


def trimap_from_alpha(alpha: Tensor, size: int, erosion: int | None = None) -> Tensor:
    """Trimap of a matte: dilate(alpha > 0) - erode(alpha >= 0.9) is unknown.

    Parameters
    ----------
    alpha
        (N, 1, H, W) in [0, 1].
    size
        Side of the square for the dilation in pixels; the authors draw 20 to 40 at 512 x 512. Small people
        need a smaller one (their issue 110); see `band_size`.
    erosion
        Side for the erosion, `size` if ``None``.

    Returns
    -------
    (N, 1, H, W) of {0, 0.5, 1}: background, unknown, foreground.

    Raises
    ------
    ValueError
        If `size` is smaller than one pixel.
    """
    if size < 1 or (erosion is not None and erosion < 1):
        raise ValueError(f"size and erosion must be at least 1 pixel, got {size}, {erosion}")
    # bytes are fast; eroding the foreground is dilating what is not foreground
    maybe, unsure = (alpha > 0).byte(), (alpha < SURE).byte()
    if erosion is None or erosion == size:
        maybe, unsure = dilate(torch.cat((maybe, unsure), dim=1), size).chunk(2, dim=1)
    else:
        maybe, unsure = dilate(maybe, size), dilate(unsure, erosion)
    return (1 + maybe.to(alpha.dtype) - unsure) / 2


def band_size(alpha: Tensor, at_512: int = 30) -> int:
    """Side of the square for a picture: `at_512` pixels at 512, in proportion, smaller for small people.

    Parameters
    ----------
    alpha
        (1, 1, H, W) or (N, 1, H, W); the extent of the largest person counts.
    at_512
        Side if the person spans 512 pixels.
    """
    rows, columns = (alpha > 0.5).flatten(0, 1).any(0).nonzero(as_tuple=True)
    if not len(rows):
        return max(3, round(at_512 * min(alpha.shape[-2:]) / 512))
    extent = max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1
    return max(3, round(at_512 * min(extent, *alpha.shape[-2:]) / 512))


def trimap_from_mask(
    mask: np.ndarray, hair: np.ndarray | None = None, *, band: int = 5, hair_band: int = 20
) -> np.ndarray:
    """Trimap of a binary segmentation: narrow along bodies, wide along hair.

    Parameters
    ----------
    mask
        (H, W) bool, the person.
    hair
        (H, W) bool, where the person is hair; ``None`` if not labelled.
    band
        Radius of the unknown band along the mask's border, pixels.
    hair_band
        Radius along the part of the border that is hair, pixels.

    Returns
    -------
    (H, W) float64 of {0, 0.5, 1}, what pymatting takes.

    Raises
    ------
    ValueError
        If the shapes differ or a radius is smaller than 1.
    """
    if hair is not None and hair.shape != mask.shape:
        raise ValueError(f"mask is {mask.shape}, hair is {hair.shape}")
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
