"""Eq. 1, framing (crops) and colour: how one labelled portrait becomes many training images.

Pictures are (H, W, C) uint8 tensors on any device; what is cut stays there. Random choices come from NumPy
generators and never look at pixels, so a GPU need not wait for the processor.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from modnet_lib.data.pseudo_mattes import Cutout, MattingSample
from modnet_lib.images import cover

LUMA = np.array([0.299, 0.587, 0.114])
TO_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
FROM_YIQ = np.linalg.inv(TO_YIQ)
GREY = np.outer(np.ones(3), LUMA)
GREYED = np.hstack([GREY, np.zeros((3, 1))]).astype(np.float32)  # as a colour map, see `colour_jitter`
Border = Literal["reflect", "edge", "transparent"]
Framing = Literal["random", "person"]


def composite(foreground: Tensor, background: Tensor, alpha: Tensor) -> Tensor:
    """Eq. 1: I = alpha F + (1 - alpha) B, with (N, 3, H, W) colours and (N, 1, H, W) alpha in [0, 1]."""
    return torch.lerp(background, foreground, alpha)  # B + alpha (F - B), in one pass over memory


class Box(NamedTuple):
    """A square of a picture: top left corner and side, pixels; it may reach over the border."""

    top: int
    left: int
    side: int


class Outline(NamedTuple):
    """What framing needs to know of a matte.

    Attributes
    ----------
    height, width
        Of the picture, pixels.
    top, bottom, left, right
        The person's bounding box; the ends are exclusive. All zero if nobody is there.
    mass, moment
        (H,) float64: sum of alpha over each row, and of alpha times the column.
    """

    height: int
    width: int
    top: int
    bottom: int
    left: int
    right: int
    mass: np.ndarray
    moment: np.ndarray


def outline(alpha: np.ndarray) -> Outline:
    """The outline of a matte of (H, W) uint8; the person is where alpha exceeds a half."""
    height, width = alpha.shape
    top = bottom = left = right = 0
    rows, columns = (np.flatnonzero(alpha.max(axis=axis) > 127) for axis in (1, 0))
    if len(rows):
        top, bottom, left, right = (int(v) for v in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    mass, moment = alpha.sum(axis=1, dtype=np.float64), alpha @ np.arange(width, dtype=np.float64)
    return Outline(height, width, top, bottom, left, right, mass, moment)


def random_square(person: Outline, rng: np.random.Generator) -> Box:
    """A square of half to all of the shorter side, anywhere in the picture: the paper's random cropping."""
    height, width = person[:2]
    side = int(min(height, width) * rng.uniform(0.5, 1))
    return Box(int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side)


def frame_person(person: Outline, rng: np.random.Generator) -> Box:
    """Choose a square crop of a portrait: head, half body, whole body, or a small person far away.

    Street photographs show whole bodies, users' pictures mostly heads and half bodies; so a tall person is
    cropped to each of these.

    Parameters
    ----------
    person
        Where the person is.
    rng
        Where the choice comes from.
    """
    height, width, top, bottom = person[:4]
    if bottom == top:
        return random_square(person, rng)
    tall = bottom - top
    if tall > 1.7 * (person.right - person.left):
        low, high = [(0.16, 0.3), (0.35, 0.65), (0.9, 1.1), (1.0, 1.0)][
            rng.choice(4, p=[0.3, 0.35, 0.25, 0.1])
        ]
    else:
        low, high = [(0.45, 0.8), (0.8, 1.1)][rng.choice(2)]
    visible = tall * rng.uniform(low, high)
    far = low == 1.0
    side = max(32, int(visible * rng.uniform(*((1.5, 3.0) if far else (1.02, 1.45)))))
    # mostly head room above, sometimes the crop begins inside the person
    start = top - (side - visible) * rng.uniform(0.1, 0.9)
    if rng.random() < 0.2:
        start = top + (tall - visible) * rng.uniform(0, 0.8)
    if bottom >= height - 2:  # a person cut by the photograph must stay cut by the frame
        start = min(start, height - side)
    shown = slice(max(0, int(start)), max(1, int(start) + side))
    mass = person.mass[shown].sum()
    centre = person.moment[shown].sum() / mass if mass else width / 2
    left = centre - side / 2 + side * rng.normal(0, 0.12)
    return Box(int(start), int(left), side)


FRAMINGS = {"random": random_square, "person": frame_person}


def crop(picture: Tensor, box: Box, size: int, border: Border) -> Tensor:
    """Cut a square out of a picture and bring it to `size`.

    Parameters
    ----------
    picture
        (H, W, C) uint8.
    box
        The square.
    size
        Side of the result, pixels; shrinking averages (as Pillow's ``BILINEAR`` does).
    border
        Outside of the picture it goes on by ``"reflect"``-ion or with its ``"edge"``; ``"transparent"`` is the
        edge with the last channel, alpha, at zero.

    Returns
    -------
    (size, size, C) uint8 on the picture's device.
    """
    (height, width), device = picture.shape[:2], picture.device
    bottom, right = box.top + box.side, box.left + box.side
    if min(box.top, box.left) >= 0 and bottom <= height and right <= width:
        return resize(picture[box.top : bottom, box.left : right], size)
    rows, columns = (torch.arange(a, b, device=device) for a, b in ((box.top, bottom), (box.left, right)))
    part = picture.index_select(0, _inside(rows, height, border))
    part = part.index_select(1, _inside(columns, width, border))
    if border == "transparent":
        shown = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
        part[..., -1] *= shown
    return resize(part, size)


def _inside(at: Tensor, size: int, border: Border) -> Tensor:
    """Indices of pixels in place of those that lie outside."""
    if border == "reflect" and size > 1:
        at = ((at + size - 1) % (2 * size - 2) - size + 1).abs()
    return at.clamp(0, size - 1)


def resize(picture: Tensor, size: int) -> Tensor:
    """Bring a square (S, S, C) uint8 to (size, size, C) uint8; the resizing of `crop`."""
    if picture.shape[0] == size:
        return picture
    planes = picture.permute(2, 0, 1)[None]
    planes = planes.float() if planes.is_cuda else planes  # only processors resize bytes
    planes = F.interpolate(planes, (size, size), mode="bilinear", antialias=True)
    planes = planes if planes.dtype == torch.uint8 else planes.round_().byte()
    return planes[0].permute(1, 2, 0)


def as_tensor(picture: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """An 8-bit picture as a tensor of the same shape; Pillow's arrays are read-only, which PyTorch dislikes."""
    return torch.from_numpy(np.require(picture, requirements="W")).to(device)


class Foreground(NamedTuple):
    """A labelled portrait, ready to be cut: uint8 tensors on one device and the person's outline."""

    image: Tensor | None  # (H, W, 3); None for a cut-out
    cutout: Tensor  # (H, W, 4): F and alpha
    background: Tensor | None  # (H, W, 3); None for a cut-out
    person: Outline

    @classmethod
    def of(cls, sample: MattingSample | Cutout, device: torch.device | str = "cpu") -> "Foreground":
        """Put a sample on a device."""
        cutout = as_tensor(np.dstack((sample.foreground, sample.alpha)), device)
        if isinstance(sample, Cutout):
            return cls(None, cutout, None, outline(sample.alpha))
        image, background = (as_tensor(part, device) for part in (sample.image, sample.background))
        return cls(image, cutout, background, outline(sample.alpha))


class Crop(NamedTuple):
    """One training sample before colour and Eq. 1.

    Attributes
    ----------
    image
        (S, S, 3) uint8, or ``None`` for composites: the device computes them.
    cutout
        (S, S, 4) uint8, F and alpha.
    background
        (S, S, 3) uint8.
    extent
        Visible height of the person, pixels; 0 if nobody is there.
    """

    image: Tensor | None
    cutout: Tensor
    background: Tensor
    extent: float


def natural_crop(
    foreground: Foreground, size: int, rng: np.random.Generator, framing: Framing = "person"
) -> Crop:
    """A crop of the photograph as it is, with its own estimated F and B (5 of the paper's 15 samples)."""
    if foreground.image is None or foreground.background is None:
        raise ValueError("a cut-out has no photograph to crop: it can only be composited")
    person = foreground.person
    box = _without_twins(FRAMINGS[framing](person, rng), person)
    # keep to the photograph where the crop fits in; continue by reflection where it does not
    top, left = (
        min(max(start, 0), end - box.side) if box.side <= end else (end - box.side) // 2
        for start, end in ((box.top, person.height), (box.left, person.width))
    )
    box = Box(top, left, box.side)
    parts = (foreground.image, foreground.cutout, foreground.background)
    image, cutout, background = (crop(part, box, size, "reflect") for part in parts)
    return Crop(image, cutout, background, _extent(person, box, size))


def _without_twins(box: Box, person: Outline) -> Box:
    """Shrink the square if reflection at the picture's border would show the person twice."""
    spans = ((person.height, person.top, person.bottom), (person.width, person.left, person.right))
    if all(max(0, box.side - length) / 2 <= min(low, length - high) for length, low, high in spans):
        return box
    side = min(box.side, person.height, person.width)
    return Box(box.top + (box.side - side) // 2, box.left + (box.side - side) // 2, side)


def composite_crop(
    foreground: Foreground,
    scene: Tensor,
    size: int,
    rng: np.random.Generator,
    defocus: float = 0.0,
    framing: Framing = "person",
) -> Crop:
    """The person in front of another scene (10 of the paper's 15 samples).

    Eq. 1 itself is computed on the device, batched; see `modnet_lib.data.loaders.assemble`. A share `defocus`
    of the scenes, (H, W, 3) uint8, is blurred.
    """
    box = FRAMINGS[framing](foreground.person, rng)
    cutout = crop(foreground.cutout, box, size, "transparent")
    return Crop(
        None, cutout, background_crop(scene, size, rng, defocus), _extent(foreground.person, box, size)
    )


def _extent(person: Outline, box: Box, size: int) -> float:
    visible = min(person.bottom, box.top + box.side) - max(person.top, box.top)
    return max(0, visible) * size / box.side


def background_crop(scene: Tensor, size: int, rng: np.random.Generator, defocus: float = 0.0) -> Tensor:
    """A random square of a scene, with probability `defocus` out of focus; (size, size, 3) uint8."""
    height, width = scene.shape[:2]
    side = min(max(16, int(min(height, width) * rng.uniform(0.45, 1))), height, width)
    box = Box(int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side)
    sigma = rng.uniform(0.5, 6) * size / 512 if rng.random() < defocus else 0.0
    # shrinking by f and enlarging again blurs twice with a triangle of variance f^2 / 6
    factor = max(1.0, sigma * np.sqrt(3))
    return resize(crop(scene, box, max(4, round(size / factor)), "reflect"), size)


def paste(sample: MattingSample, scene: np.ndarray) -> np.ndarray:
    """A labelled person before another scene at full size, as composited benchmarks are made.

    Parameters
    ----------
    sample
        The person.
    scene
        (h, w, 3) uint8; its middle is scaled to cover the picture.

    Returns
    -------
    (H, W, 3) uint8; its exact matte is the sample's.
    """
    alpha = sample.alpha[..., None] / np.float32(255)
    behind = cover(scene, *sample.alpha.shape)
    return np.round(alpha * sample.foreground + (1 - alpha) * behind).astype(np.uint8)


def background_versions(sample: MattingSample, others: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """One portrait as it is, and before its own and other scenes, sharp and blurred: Fig. 4 as an experiment.

    Parameters
    ----------
    sample
        The portrait; all versions have its matte.
    others
        Scenes, (h, w, 3) uint8 each.

    Returns
    -------
    Images (H, W, 3) uint8: ``natural``, ``own scene``, ``other scenes``, ``own scene blurred`` and
    ``other scenes blurred``; one for each of the others, else one.
    """
    places = [sample.background, *others]
    sharp = [paste(sample, place) for place in places]
    soft = [paste(sample, cv2.GaussianBlur(place, (0, 0), 6)) for place in places]
    ways = {"natural": [sample.image], "own scene": sharp[:1], "other scenes": sharp[1:]}
    return ways | {"own scene blurred": soft[:1], "other scenes blurred": soft[1:]}


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
    tint = 1 + strength * rng.uniform(-0.12, 0.12, size=(3, 1))
    rotation = TO_YIQ.copy()
    rotation[1:] = np.array([[np.cos(hue), -np.sin(hue)], [np.sin(hue), np.cos(hue)]]) @ TO_YIQ[1:]
    # the three rows of GREY are equal, so greying after the rotation of hue is greying before it
    colour = saturation * (FROM_YIQ @ rotation) + (1 - saturation) * GREY
    maps = np.empty((3, 4), np.float32)
    maps[:, :3] = contrast * tint * colour
    maps[:, 3] = 0.5 - contrast * 0.5 + brightness
    return maps


def chain(after: Any, before: Any) -> Any:
    """One affine colour map in place of two, (..., 3, 4) arrays or tensors each: `after` of `before`."""
    matrix = after[..., :3] @ before
    matrix[..., 3] += after[..., 3]
    return matrix


def harmony(foreground: Tensor, background: Tensor, alpha: Tensor, strength: Tensor) -> Tensor:
    """Affine colour maps that bring people's colours nearer to their scenes' (mean and spread a channel).

    The colour transfer of Reinhard et al. (2001), in RGB. Real people are lit by the scene they stand in;
    people pasted into another one are not, and a network may learn to find them by that.

    Parameters
    ----------
    foreground, background
        (N, 3, H, W) in [0, 1].
    alpha
        (N, 1, H, W) in [0, 1].
    strength
        (N,) in [0, 1]: 0 gives the identity, 1 the scene's own mean and spread.

    Returns
    -------
    (N, 3, 4), for `apply_colour` on the foreground.
    """
    foreground, background, alpha = (
        part[..., ::8, ::8].flatten(2) for part in (foreground, background, alpha)
    )
    weight = alpha / alpha.sum(2, keepdim=True).clamp(min=1e-3)
    mean = (foreground * weight).sum(2)
    spread = ((foreground - mean[..., None]).square() * weight).sum(2).sqrt()
    goal, width = background.mean(2), background.std(2)
    share = strength[:, None]
    gain = ((width + 0.05) / (spread + 0.05)).clamp(0.5, 2) ** share
    offset = (1 - share) * mean + share * goal - gain * mean
    return torch.cat((torch.diag_embed(gain), offset[..., None]), dim=2)


def apply_colour(images: Tensor, maps: Tensor) -> Tensor:
    """Apply one affine colour map each: (N, 3, H, W) in [0, 1] and (N, 3, 4) to (N, 3, H, W) in [0, 1]."""
    mixed = torch.bmm(maps[:, :, :3], images.flatten(2))
    return mixed.add_(maps[:, :, 3:]).clamp_(0, 1).view_as(images)
