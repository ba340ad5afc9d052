"""Eq. 1, framing (crops) and colour: how one labelled portrait becomes many training images."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from modnet_lib.data.pseudo_mattes import MattingSample

LUMA = np.array([0.299, 0.587, 0.114])
TO_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


def composite(foreground: Tensor, background: Tensor, alpha: Tensor) -> Tensor:
    """Eq. 1: I = alpha F + (1 - alpha) B, with (N, 3, H, W) colours and (N, 1, H, W) alpha in [0, 1]."""
    return alpha * foreground + (1 - alpha) * background


class Box(NamedTuple):
    """A square of a picture: top left corner and side, pixels; it may reach over the border."""

    top: int
    left: int
    side: int


def frame_person(alpha: np.ndarray, rng: np.random.Generator) -> Box:
    """Choose a square crop of a portrait: whole body, half body, head, or anything.

    Street photographs show whole bodies, users' pictures mostly heads and half bodies; so a tall person is
    cropped to each of these.

    Parameters
    ----------
    alpha
        (H, W) uint8.
    rng
        Where the choice comes from.
    """
    height, width = alpha.shape
    rows, columns = _occupied(alpha)
    if not len(rows):
        side = int(min(height, width) * rng.uniform(0.5, 1))
        return Box(int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    tall = bottom - top
    if tall > 1.7 * (columns[-1] + 1 - columns[0]):
        low, high = [(0.16, 0.3), (0.35, 0.65), (0.9, 1.1), (0.3, 1.0)][
            rng.choice(4, p=[0.3, 0.35, 0.25, 0.1])
        ]
    else:
        low, high = [(0.45, 0.8), (0.8, 1.1)][rng.choice(2)]
    visible = tall * rng.uniform(low, high)
    side = max(32, int(visible * rng.uniform(1.02, 1.45)))
    # mostly head room above, sometimes the crop begins inside the person
    start = top - (side - visible) * rng.uniform(0.1, 0.9)
    if rng.random() < 0.2:
        start = top + (tall - visible) * rng.uniform(0, 0.8)
    if bottom >= height - 2:  # a person cut by the photograph must stay cut by the frame
        start = min(start, height - side)
    shown = alpha[max(0, int(start)) : max(1, int(start) + side)]
    weight = shown.sum(axis=0, dtype=np.float64)
    centre = np.average(np.arange(width), weights=weight) if weight.any() else width / 2
    left = centre - side / 2 + side * rng.normal(0, 0.12)
    return Box(int(start), int(left), side)


def _occupied(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns in which a matte of (H, W) uint8 is more foreground than not."""
    return np.flatnonzero(alpha.max(axis=1) > 127), np.flatnonzero(alpha.max(axis=0) > 127)


def crop(picture: np.ndarray, box: Box, size: int, border: int) -> np.ndarray:
    """Cut a square and bring it to `size`; `border` is OpenCV's way to continue outside the picture."""
    height, width = picture.shape[:2]
    top, left = max(0, box.top), max(0, box.left)
    bottom, right = min(height, box.top + box.side), min(width, box.left + box.side)
    inside = picture[top:bottom, left:right]
    scale = size / box.side
    shape = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    small = cv2.resize(inside, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    before = (round((top - box.top) * scale), round((left - box.left) * scale))
    padded = cv2.copyMakeBorder(
        small,
        before[0],
        max(0, size - before[0] - shape[1]),
        before[1],
        max(0, size - before[1] - shape[0]),
        border,
    )
    return padded[:size, :size]


def natural_crop(sample: MattingSample, size: int, rng: np.random.Generator) -> MattingSample:
    """A crop of the photograph as it is, with its own estimated F and B (5 of the paper's 15 samples)."""
    height, width = sample.alpha.shape
    box = frame_person(sample.alpha, rng)
    # keep to the photograph where the crop fits in; continue by reflection where it does not
    left = min(max(box.left, 0), width - box.side) if box.side <= width else (width - box.side) // 2
    top = min(max(box.top, 0), height - box.side) if box.side <= height else (height - box.side) // 2
    box = Box(top, left, box.side)
    return MattingSample(*(crop(part, box, size, cv2.BORDER_REFLECT_101) for part in sample))


def composite_crop(
    sample: MattingSample,
    background: np.ndarray,
    size: int,
    rng: np.random.Generator,
    *,
    textiles: float = 0.0,
    caps: float = 0.0,
) -> MattingSample:
    """The person before another background (10 of the paper's 15 samples); `image` is left zero.

    Eq. 1 itself is computed on the device, batched; see `modnet_lib.data.loaders.assemble`. A share of
    `textiles` gets flags or curtains behind the person, a share of `caps` a drawn cap.
    """
    if rng.random() < caps:
        sample = wear_cap(sample, rng)
    box = frame_person(sample.alpha, rng)
    foreground = crop(sample.foreground, box, size, cv2.BORDER_REPLICATE)
    alpha = crop(sample.alpha, box, size, cv2.BORDER_CONSTANT)
    scene = background_crop(background, size, rng)
    if rng.random() < textiles:
        scene = hang_textile(scene, rng)
    return MattingSample(np.zeros_like(scene), alpha, foreground, scene)


def background_crop(background: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random square of a background, sometimes out of focus; (size, size, 3) uint8."""
    height, width = background.shape[:2]
    side = max(16, int(min(height, width) * rng.uniform(0.45, 1)))
    side = min(side, height, width)
    box = Box(int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side)
    scene = crop(background, box, size, cv2.BORDER_REFLECT_101)
    if rng.random() < 0.35:
        scene = cv2.GaussianBlur(scene, (0, 0), sigmaX=float(rng.uniform(0.5, 6) * size / 512))
    return scene


def wear_cap(sample: MattingSample, rng: np.random.Generator) -> MattingSample:
    """Put a drawn cap on the head of a standing person; it belongs to the foreground.

    Caps and helmets are rare in street photographs, so a network takes them for background. Where the head is
    follows from the proportions of a whole body; other pictures come back unchanged.
    """
    rows, columns = _occupied(sample.alpha)
    if not len(rows) or rows[-1] - rows[0] < 1.7 * (columns[-1] - columns[0]):
        return sample
    head = (rows[-1] - rows[0]) / 7.3
    top = rows[0]
    crown = sample.alpha[top : top + int(0.6 * head)].sum(axis=0, dtype=np.float64)
    middle, half = float(np.average(np.arange(len(crown)), weights=crown)), 0.42 * head
    wide, high = rng.uniform(1.0, 1.35), rng.uniform(0.05, 0.3)
    band = top + rng.uniform(0.25, 0.4) * head
    dome = [
        (-1, 0),
        (-1, 0.35),
        (-wide, 0.6),
        (-0.7 * wide, 1),
        (0.7 * wide, 1),
        (wide, 0.6),
        (1, 0.35),
        (1, 0),
    ]
    height = band - top + high * head
    outline = np.array([(middle + half * x, band - height * y) for x, y in dome])
    colour, trim, badge = rng.uniform(0, 255, (3, 3)) * rng.choice([0.15, 1.0], (3, 1))
    shapes = [(outline, colour), (outline[[0, 1, -2, -1]], trim)]
    if rng.random() < 0.7:
        peak = np.linspace(0, np.pi, 12)
        curve = np.stack((middle + half * np.cos(peak), band + 0.16 * head * np.sin(peak)), axis=1)
        shapes.append((curve, trim))
    if rng.random() < 0.6:
        turn = np.linspace(0, 2 * np.pi, 11)[:-1]
        spikes = 0.25 * height * rng.uniform(0.4, 1, 10)
        centre = (middle, band - 0.5 * height)
        shapes.append((np.stack((np.cos(turn), np.sin(turn)), axis=1) * spikes[:, None] + centre, badge))
    alpha, foreground = sample.alpha.copy(), sample.foreground.copy()
    shade = 0.75 + 0.5 * np.mgrid[: alpha.shape[1]][None, :, None] / alpha.shape[1]
    for points, paint in shapes:
        fixed = np.round(points * 16).astype(np.int32)
        mask = cv2.fillPoly(np.zeros_like(alpha), [fixed], 255, cv2.LINE_AA, shift=4)
        weight = mask[..., None] / 255.0
        foreground = (weight * np.clip(paint * shade, 0, 255) + (1 - weight) * foreground).astype(np.uint8)
        alpha = np.maximum(alpha, mask)
    return sample._replace(alpha=alpha, foreground=foreground)


def hang_textile(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hang one or two folded, patterned pieces of cloth into a background; (size, size, 3) uint8.

    Flags and curtains look like clothes to a network that has seen cloth on people only.
    """
    size = len(scene)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    result = scene.astype(np.float32)
    for _ in range(rng.integers(1, 3)):
        width, phase, folds = rng.uniform(0.15, 0.6), rng.uniform(0, 2 * np.pi), rng.uniform(2, 7)
        left = rng.choice([0.0, 1.0 - width, rng.uniform(-0.1, 1.0 - width / 2)])
        lean = rng.normal(0, 0.2)
        u = (x - left - lean * (y - 0.5)) / width
        fold = 2 * np.pi * folds * u + phase + 1.5 * np.sin(3 * y + phase)
        v = y + rng.uniform(0, 0.04) * np.sin(fold)
        cloth = _pattern(u + 0.03 * np.cos(fold), v, rng) * (1 + 0.3 * np.sin(fold))[..., None]
        top, bottom = rng.choice([-0.1, rng.uniform(0, 0.3)]), rng.choice([1.1, rng.uniform(0.5, 1)])
        inside = (u > 0) & (u < 1) & (v > top) & (v < bottom)
        mask = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), max(0.6, size / 500))[..., None]
        result = mask * cloth + (1 - mask) * result
    return result.clip(0, 255).astype(np.uint8)


def _pattern(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stripes, checks or plain cloth with a field of stars or dots, (H, W, 3) in [0, 255]."""
    first, second, third = rng.uniform(0, 255, (3, 3)) * rng.uniform(0.4, 1, (3, 1))
    number = rng.uniform(3, 12)
    kind = rng.choice(["stripes", "slanted", "checks", "plain"], p=[0.4, 0.25, 0.15, 0.2])
    along = v + (rng.normal(0, 0.6) * u if kind == "slanted" else 0)
    odd = (number * along).astype(int) % 2 == 1
    if kind == "checks":
        odd ^= (number * u).astype(int) % 2 == 1
    if kind == "plain":
        odd[:] = False
    cloth = np.where(odd[..., None], first, second)
    field = (u < rng.uniform(0.3, 1.1)) & (v < rng.uniform(0.3, 1.1))
    if rng.random() < 0.6:
        cells = rng.uniform(4, 10)
        a, b = (cells * u) % 1 - 0.5, (cells * v) % 1 - 0.5
        radius = 0.3 * (0.7 + 0.3 * np.cos(5 * np.arctan2(a, b)))  # five points
        stars = np.hypot(a, b) < radius
        cloth = np.where(field[..., None], np.where(stars[..., None], 245.0, third), cloth)
    return cloth.astype(np.float32)


def colour_jitter(rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """A random affine map of colours: brightness, contrast, saturation, hue, tint, sometimes grey.

    Affine maps commute with Eq. 1: jittering I equals composing jittered F and B. So I, F and B stay one
    consistent triple for L_c.

    Parameters
    ----------
    rng
        Where the choice comes from.
    strength
        0 gives the identity.

    Returns
    -------
    (3, 4) float32: a 3 x 3 matrix on RGB in [0, 1] and an offset.
    """
    contrast = 1 + strength * rng.uniform(-0.35, 0.35)
    brightness = strength * rng.uniform(-0.18, 0.18)
    saturation = 1 + strength * rng.uniform(-0.5, 0.4)
    if rng.random() < 0.08 * strength:
        saturation = 0.0
    hue = strength * rng.normal(0, 0.12)
    tint = 1 + strength * rng.uniform(-0.12, 0.12, size=3)
    rotation = np.array([[1, 0, 0], [0, np.cos(hue), -np.sin(hue)], [0, np.sin(hue), np.cos(hue)]])
    matrix = np.linalg.inv(TO_YIQ) @ rotation @ TO_YIQ
    matrix = (saturation * np.eye(3) + (1 - saturation) * np.outer(np.ones(3), LUMA)) @ matrix
    matrix = contrast * tint[:, None] * matrix
    offset = 0.5 - contrast * 0.5 + brightness
    return np.concatenate((matrix, np.full((3, 1), offset)), axis=1).astype(np.float32)


def apply_colour(images: Tensor, maps: Tensor) -> Tensor:
    """Apply one affine colour map each: (N, 3, H, W) in [0, 1] and (N, 3, 4) to (N, 3, H, W) in [0, 1]."""
    mixed = torch.einsum("nij,njhw->nihw", maps[:, :, :3], images)
    return (mixed + maps[:, :, 3, None, None]).clamp(0, 1)
