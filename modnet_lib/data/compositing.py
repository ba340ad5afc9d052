"""Eq. 1, crops and colour: how one labelled portrait becomes many training images.

Pictures are (H, W, C) uint8 tensors. Random choices come from NumPy generators and do not depend on pixels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from modnet_lib import devices
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.images import cover

LUMA = np.array([0.299, 0.587, 0.114])
TO_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
FROM_YIQ = np.linalg.inv(TO_YIQ)
GREY = np.outer(np.ones(3), LUMA)
GREYED = np.hstack([GREY, np.zeros((3, 1))]).astype(np.float32)  # as a colour map, see `colour_jitter`


def composite(foreground: Tensor, background: Tensor, alpha: Tensor) -> Tensor:
    """Eq. 1: I = alpha F + (1 - alpha) B, with (N, 3, H, W) colours and (N, 1, H, W) alpha in [0, 1]."""
    return torch.lerp(background, foreground, alpha)  # B + alpha (F - B), in one pass over memory


class Box(NamedTuple):
    """A square in pixels; it may extend beyond the picture."""

    top: int
    left: int
    side: int


class Outline(NamedTuple):
    """What `frame_person` uses of a matte."""

    shape: tuple[int, int]  # (H, W) of the picture
    rows: tuple[int, int]  # first row of the person, and one past the last; (0, 0) without a person
    columns: tuple[int, int]
    mass: np.ndarray  # (H,) float64, sum of alpha over each row
    moment: np.ndarray  # (H,) float64, sum of alpha times the column


def outline(alpha: np.ndarray) -> Outline:
    """The outline of a matte of (H, W) uint8; the person is where alpha exceeds a half."""
    found = (np.flatnonzero(alpha.max(axis=axis) > 127) for axis in (1, 0))
    rows, columns = ((int(each[0]), int(each[-1]) + 1) if len(each) else (0, 0) for each in found)
    mass, moment = alpha.sum(axis=1, dtype=np.float64), alpha @ np.arange(alpha.shape[1], dtype=np.float64)
    return Outline(alpha.shape, rows, columns, mass, moment)


def random_square(shape: Sequence[int], rng: np.random.Generator, smallest: float = 0.5, least: int = 1) -> Box:
    """The paper's random crop: a square inside a picture of (height, width, ...).

    Its side is `smallest` to 1 times the shorter side, and at least `least` pixels if that fits.
    """
    height, width = shape[:2]
    side = min(max(least, int(min(height, width) * rng.uniform(smallest, 1))), height, width)
    return Box(int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side)


def frame_person(person: Outline, rng: np.random.Generator) -> Box:
    """Choose a square crop of a portrait: head, half body, whole body, or a small person far away.

    Street photographs show whole bodies, users' pictures mostly heads and half bodies.
    """
    (height, width), (top, bottom), (left, right) = person[:3]
    if bottom == top:
        return random_square(person.shape, rng)
    tall = bottom - top
    if tall > 1.7 * (right - left):
        kind = rng.choice(4, p=[0.3, 0.35, 0.25, 0.1])
        low, high = ((0.16, 0.3), (0.35, 0.65), (0.9, 1.1), (1.0, 1.0))[kind]
    else:
        low, high = ((0.45, 0.8), (0.8, 1.1))[rng.choice(2)]
    visible = tall * rng.uniform(low, high)
    side = max(32, int(visible * rng.uniform(*((1.5, 3.0) if low == 1.0 else (1.02, 1.45)))))
    # mostly head room above, sometimes the crop begins inside the person
    start = top - (side - visible) * rng.uniform(0.1, 0.9)
    if rng.random() < 0.2:
        start = top + (tall - visible) * rng.uniform(0, 0.8)
    if bottom >= height - 2:  # a person cut off by the photograph stays cut off by the crop
        start = min(start, height - side)
    shown = slice(max(0, int(start)), max(1, int(start) + side))
    mass = person.mass[shown].sum()
    centre = person.moment[shown].sum() / mass if mass else width / 2
    return Box(int(start), int(centre - side / 2 + side * rng.normal(0, 0.12)), side)


def crop(picture: Tensor, box: Box, size: int, reflect: bool = False) -> Tensor:
    """Crop a square from a picture (H, W, C) uint8 and resize it to (size, size, C).

    Outside, the picture continues by reflection (`reflect`), or with its edge and an alpha (the last of four channels)
    of zero.
    """
    (height, width), (top, left, side) = picture.shape[:2], box
    if min(top, left) >= 0 and top + side <= height and left + side <= width:
        return resize(picture[top : top + side, left : left + side], size)
    inside = []
    for axis, start in enumerate((top, left)):
        length, at = picture.shape[axis], torch.arange(start, start + side)
        inside.append((at >= 0) & (at < length))
        if reflect and length > 1:
            at = ((at + length - 1) % (2 * length - 2) - length + 1).abs()
        picture = picture.index_select(axis, at.clamp(0, length - 1))
    if not reflect and picture.shape[2] == 4:
        picture[..., 3] *= inside[0][:, None] & inside[1]
    return resize(picture, size)


def resize(picture: Tensor, size: int) -> Tensor:
    """Resize a square (S, S, C) uint8 to (size, size, C) uint8; shrinking averages, as Pillow's ``BILINEAR`` does."""
    if picture.shape[0] == size:
        return picture
    return devices.resize(picture.permute(2, 0, 1)[None], size, size)[0].permute(1, 2, 0)


def as_tensor(picture: np.ndarray) -> Tensor:
    """An 8-bit picture as a tensor of the same shape; read-only arrays, such as Pillow's, are copied."""
    return torch.from_numpy(np.require(picture, requirements="W"))


class Foreground(NamedTuple):
    """A labelled portrait, ready to be cropped: uint8 tensors and the person's outline."""

    image: Any  # (H, W, 3); None for a cut-out
    cutout: Any  # (H, W, 4): F and alpha
    background: Any  # (H, W, 3); None for a cut-out
    person: Outline

    @classmethod
    def of(cls, sample: MattingSample) -> "Foreground":
        """Convert a sample."""
        parts = (sample.image, np.dstack((sample.foreground, sample.alpha)), sample.background)
        image, cutout, background = (None if part is None else as_tensor(part) for part in parts)
        return cls(image, cutout, background, outline(sample.alpha))


def portrait_crop(
    foreground: Foreground, size: int, rng: np.random.Generator, framing: str = "person", natural: bool = False
) -> tuple[list[Tensor], float]:
    """A random square crop of a portrait for a composite, or, if `natural`, of the photograph.

    Returns [F and alpha], or [I, F and alpha, B], (S, S, C) uint8, and the visible height of the person in pixels.
    """
    person = foreground.person
    box = frame_person(person, rng) if framing == "person" else random_square(person.shape, rng)
    if natural:
        top, left, side = box
        spans = [*zip(person.shape, (person.rows, person.columns), strict=True)]
        if any(max(0, side - length) / 2 > min(low, length - high) for length, (low, high) in spans):
            # reflection at the picture's border would show the person twice
            side = min(side, *person.shape)
            top, left = (start + (box.side - side) // 2 for start in (top, left))
        # stay inside the photograph if the crop fits; otherwise continue it by reflection
        top, left = (
            min(max(start, 0), length - side) if side <= length else (length - side) // 2
            for start, length in zip((top, left), person.shape, strict=True)
        )
        box = Box(top, left, side)
    parts = foreground[:3] if natural else (foreground.cutout,)
    visible = min(person.rows[1], box.top + box.side) - max(person.rows[0], box.top)
    crops = [crop(part, box, size, natural) for part in parts if part is not None]
    return crops, max(0, visible) * size / box.side


def background_crop(scene: Tensor, size: int, rng: np.random.Generator, defocus: float = 0.0) -> Tensor:
    """A random square of a scene, (size, size, 3) uint8, out of focus with probability `defocus`."""
    box = random_square(scene.shape, rng, 0.45, 16)
    sigma = rng.uniform(0.5, 6) * size / 512 if rng.random() < defocus else 0.0
    # shrinking by f and enlarging again blurs twice with a triangle of variance f^2 / 6
    factor = max(1.0, sigma * np.sqrt(3))
    return resize(crop(scene, box, max(4, round(size / factor))), size)


def paste(sample: MattingSample, scene: np.ndarray) -> np.ndarray:
    """A labelled person over another scene (h, w, 3) uint8, scaled to cover the picture; (H, W, 3) uint8."""
    alpha = sample.alpha[..., None] / np.float32(255)
    behind = cover(scene, *sample.alpha.shape)
    return np.round(alpha * sample.foreground + (1 - alpha) * behind).astype(np.uint8)


def background_versions(sample: MattingSample, others: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """A portrait as it is, and over its own and other scenes, sharp and blurred: Fig. 4 as an experiment.

    Lists of images (H, W, 3) uint8 by name: ``natural``, ``own scene``, ``other scenes`` (one for each of `others`),
    ``own scene blurred`` and ``other scenes blurred``.
    """
    scenes, ways = [sample.background, *others], {"natural": [sample.image]}
    for blurred in ("", " blurred"):
        made = [paste(sample, cv2.GaussianBlur(each, (0, 0), 6) if blurred else each) for each in scenes]
        ways |= {f"own scene{blurred}": made[:1], f"other scenes{blurred}": made[1:]}
    return ways


def colour_jitter(rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """A random affine map of colours: brightness, contrast, saturation, hue, tint, sometimes grey.

    Affine maps commute with Eq. 1, so I, F and B stay consistent for L_c. The map is (3, 4) float32, a 3 x 3 matrix on
    RGB in [0, 1] and an offset; a strength of 0 gives the identity.
    """
    contrast = 1 + strength * rng.uniform(-0.35, 0.35)
    brightness = strength * rng.uniform(-0.18, 0.18)
    saturation = 1 + strength * rng.uniform(-0.5, 0.4)
    if rng.random() < 0.08 * strength:
        saturation = 0.0
    hue = strength * rng.normal(0, 0.12)
    tint = 1 + strength * rng.uniform(-0.12, 0.12, size=(3, 1))
    rotation = TO_YIQ.copy()
    rotation[1:] = np.array([[np.cos(hue), -np.sin(hue)], [np.sin(hue), np.cos(hue)]]) @ TO_YIQ[1:]
    # the three rows of GREY are equal, so greying after the rotation of hue is greying before it
    colour = contrast * tint * (saturation * (FROM_YIQ @ rotation) + (1 - saturation) * GREY)
    return np.hstack([colour, np.full((3, 1), 0.5 - contrast * 0.5 + brightness)]).astype(np.float32)


def chain(after: Any, before: Any) -> Any:
    """Compose two affine colour maps, (..., 3, 4) arrays or tensors each: first `before`, then `after`."""
    matrix = after[..., :3] @ before
    matrix[..., 3] += after[..., 3]
    return matrix


def harmony(foreground: Tensor, background: Tensor, alpha: Tensor, strength: Tensor) -> Tensor:
    """Affine colour maps, (N, 3, 4), that move the mean and spread of F's channels towards those of B.

    The colour transfer of Reinhard et al. (2001), in RGB: a pasted person is lit by another scene, and a network may
    learn to find people by that. F and B are (N, 3, H, W), alpha (N, 1, H, W) and the strength (N,), all in [0, 1]. A
    strength of 0 gives the identity, 1 the scene's mean and spread.
    """
    foreground, background, alpha = (part[..., ::8, ::8].flatten(2) for part in (foreground, background, alpha))
    weight = alpha / alpha.sum(2, keepdim=True).clamp(min=1e-3)
    mean = (foreground * weight).sum(2)
    spread = ((foreground - mean[..., None]).square() * weight).sum(2).sqrt()
    share = strength[:, None]
    gain = ((background.std(2) + 0.05) / (spread + 0.05)).clamp(0.5, 2) ** share
    offset = (1 - share) * mean + share * background.mean(2) - gain * mean
    return torch.cat((torch.diag_embed(gain), offset[..., None]), dim=2)


def apply_colour(images: Tensor, maps: Tensor) -> Tensor:
    """Apply one affine colour map each: (N, 3, H, W) in [0, 1] and (N, 3, 4) to (N, 3, H, W) in [0, 1]."""
    mixed = torch.bmm(maps[:, :, :3], images.flatten(2))
    return mixed.add_(maps[:, :, 3:]).clamp_(0, 1).view_as(images)
