"""Edges at the picture's own size: a sharper matte, colours without the old background, and Eq. 1."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import cv2
import numpy as np
import torch
from PIL import ImageColor

from modnet_lib.images import ImageLike, cover, keep_threads, read_image, read_out, to_bytes, to_tensor

BLOCK, MARGIN = 2048, 128  # pixels of a block's side, and of what it sees around it
GREEN = "#00B140"  # of a studio


def clean_foreground(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """F of Eq. 1: the picture's colours where only the person is seen, estimated ones at mixed pixels and outside.

    The multi-level method of Germer et al. (2020), block by block, so that large pictures fit in memory. The image is
    (H, W, 3) uint8, and so is the result; alpha is (H, W) in [0, 1].
    """
    if image.shape[:2] != alpha.shape:
        raise ValueError(f"image and alpha must have one size, got {image.shape[:2]} and {alpha.shape}")
    keep_threads()
    from pymatting import estimate_foreground_ml  # slow to import: it compiles

    result = image.copy()
    for inner, outer, place, _ in blocks(alpha, 0, 1, MARGIN):
        colours: Any = estimate_foreground_ml(image[outer] / 255, alpha[outer].astype(np.float64))
        estimate = (colours[place] * 255).round().clip(0, 255).astype(np.uint8)
        result[inner] = np.where((alpha[inner] < 1)[..., None], estimate, image[inner])
    return result


def sharpen(alpha: np.ndarray, image: np.ndarray, scale: float) -> np.ndarray:
    """Bring the soft edges of a matte (H, W) to where the picture (H, W, 3) uint8 has its edges.

    The matte was enlarged bilinearly by `scale`; up to 1.5 nothing is done. A guided filter (He et al. 2010, in its
    fast form of 2015) explains alpha as a linear function of colour in windows of four pixels of the network's. Only
    where alpha is between 0.05 and 0.95: elsewhere the network is sure, and textures would only disturb it. Block by
    block, in bounded memory.
    """
    step = round(scale)
    if step < 2:
        return alpha
    from kornia.filters import guided_blur  # optional, and slow to import

    result = alpha.copy()
    for inner, outer, place, mixed in blocks(alpha, 0.05, 0.95, 8 * step):
        coarse, guide = torch.from_numpy(alpha[outer])[None, None], to_tensor(image[outer])
        filtered = guided_blur(guide, coarse, 4 * step + 1, 1e-5, "replicate", subsample=step)
        result[inner][mixed] = read_out(filtered[0, 0].clamp_(0, 1))[place][mixed]
    return result


def drop_specks(alpha: np.ndarray, share: float) -> np.ndarray:
    """Clear the connected parts of a matte (H, W) above 0.05 that are smaller than this share of the picture."""
    labels: Any
    _, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.05).astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] < share * alpha.size
    small[0] = False  # the background
    return np.where(small[labels], np.float32(0), alpha)


def blocks(alpha: np.ndarray, low: float, high: float, margin: int) -> Iterator[tuple[Any, Any, Any, np.ndarray]]:
    """The blocks of a matte (H, W) that are mixed somewhere: above `low` and below `high`.

    Of each: where it lies, what it sees around it, where it lies in what it sees, and which of its pixels are mixed.
    """
    height, width = alpha.shape
    for top, left in product(range(0, height, BLOCK), range(0, width, BLOCK)):
        inner = np.s_[top : top + BLOCK, left : left + BLOCK]
        part = alpha[inner]
        mixed = (part > low) & (part < high)
        if mixed.any():
            above, before = max(top - margin, 0), max(left - margin, 0)
            outer = np.s_[above : top + BLOCK + margin, before : left + BLOCK + margin]
            below, after = top - above + part.shape[0], left - before + part.shape[1]
            yield inner, outer, np.s_[top - above : below, left - before : after], mixed


def render(image: np.ndarray, alpha: np.ndarray, background: ImageLike, parts: bool = False) -> list[np.ndarray]:
    """The person of a picture (H, W, 3) uint8 in front of a background by `compose`, with the colours F of Eq. 1.

    With `parts` also the matte, (H, W) uint8, and F.
    """
    is_matte = isinstance(background, str) and background == "matte"
    colours = image if is_matte and not parts else clean_foreground(image, alpha)
    return [compose(colours, alpha, background, image), *([to_bytes(alpha), colours] if parts else ())]


def compose(
    foreground: np.ndarray, alpha: np.ndarray, background: ImageLike, image: np.ndarray | None = None
) -> np.ndarray:
    """Eq. 1 with a new background: (H, W, 3) uint8, or (H, W, 4) with straight alpha, or (H, W) for the matte.

    Parameters
    ----------
    foreground
        (H, W, 3) uint8, such as `clean_foreground` gives.
    alpha
        (H, W) in [0, 1].
    background
        ``"transparent"``; ``"matte"`` for the matte instead; a colour's name or ``"#rrggbb"``; ``"blur"``, the
        picture's own background out of focus; or a picture, which is scaled to cover and cropped to the middle.
        ``"green"`` is that of a studio.
    image
        The picture, for ``"blur"``; the foreground if ``None``.
    """
    name = background if isinstance(background, str) else ""
    if name == "matte":
        return to_bytes(alpha)
    if name == "transparent":
        return np.dstack((foreground, to_bytes(alpha)))
    if name == "blur":
        behind = out_of_focus(foreground if image is None else image, alpha)
    else:
        is_colour = name and "." not in name
        behind = _colour(name) if is_colour else cover(read_image(background), *alpha.shape)
    weight = alpha[..., None].astype(np.float32)
    return (weight * foreground + (1 - weight) * behind).round().astype(np.uint8)


def read_background(given: str) -> str | np.ndarray:
    """A background for many calls of `compose`, read once; raises `ValueError` or `FileNotFoundError` if it is none."""
    background = read_image(given) if "." in given else given
    compose(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1)), background)
    return background


def _colour(name: str) -> np.ndarray:
    try:
        return np.array(ImageColor.getrgb(GREEN if name == "green" else name)[:3], np.uint8)
    except ValueError as error:
        expected = "a colour such as white or #00b140, blur, or a file's name with its ending"
        raise ValueError(f"background must be {expected}; got {name!r}") from error


def out_of_focus(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The background blurred by 3 % of the short side, (H, W, 3) float32.

    Pixels count by how much background they hold, so that the person leaves no halo.
    """
    weight = (1.001 - alpha).astype(np.float32)[..., None]  # a little everywhere: nothing is divided by 0
    small = tuple(max(1, side // 4) for side in alpha.shape[::-1])  # a blurred picture has no detail to lose
    both = cv2.resize(np.dstack((image * weight, weight)), small, interpolation=cv2.INTER_AREA)
    both = cv2.GaussianBlur(both, (0, 0), max(0.03 * min(small), 0.5))
    colours = np.asarray(both[..., :3] / both[..., 3:], np.float32)
    return cv2.resize(colours, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
