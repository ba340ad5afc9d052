"""Augmentation with what confuses models trained on clean composites: bystanders, posters, statues, held objects.

Pictures are (S, S, C) uint8 tensors. Random choices come from NumPy generators and do not depend on pixels. Only F,
alpha and B change, so Eq. 1 holds exactly.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from modnet_lib.data.compositing import LUMA, Foreground, crop, frame_person, resize

DISTRACTORS = {"person": 0.45, "poster": 0.15, "statue": 0.15, "streak": 0.15, "shape": 0.1}
# shares of the picture's side
EXTENT = {"person": (0.12, 0.4), "poster": (0.15, 0.55), "statue": (0.12, 0.4)}
CHANGES = {"blur": 0.35, "pattern": 0.35, "object": 0.3}


def add_distractors(
    scene: Tensor, other: Callable[[], Foreground], rng: np.random.Generator, empty: bool = False
) -> Tensor:
    """Add one to three things to a scene (S, S, 3) that are *not* the portrait.

    They are small people out of focus (not if the scene is `empty`, without a portrait), posters of people, statues,
    dark streaks such as trunks and poles, and bright shapes. `other` returns a labelled person to show.
    """
    size = scene.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.choice([*DISTRACTORS], p=[*DISTRACTORS.values()])
        if kind in EXTENT:
            kind = "poster" if kind == "person" and empty else kind
            scene = _place(scene, _figure(kind, other(), size, rng), rng)
        elif kind == "streak":
            mask = _streak(size, rng)
            scene = _blend(scene, _colour(rng, 0, 90), mask)
        else:
            mask = _shape(size, rng, (0.05, 0.3))
            scene = _blend(scene, _colour(rng, 150), mask)
    return scene


def change_person(cutout: Tensor, texture: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur a part of a person (S, S, 4), print a pattern on their clothes, or put an object into their hands.

    A held object is foreground (the rule of PPM-100), so it enters F and alpha. Its surface is plain, or `texture`
    (S, S, 3).
    """
    (colours, alpha), size = cutout.split((3, 1), dim=2), cutout.shape[0]
    kind = rng.choice([*CHANGES], p=[*CHANGES.values()])
    if kind == "blur":
        sigma = size * rng.uniform(0.01, 0.04)
        above = gaussian_blur(colours.permute(2, 0, 1), [2 * int(2 * sigma) + 1] * 2, [sigma] * 2)
        above, mask = above.permute(1, 2, 0), _shape(size, rng, (0.06, 0.25))
    elif kind == "pattern":
        mask = _pattern(size, rng) * rng.uniform(0.3, 1)
        above = _colour(rng)
    else:
        y, x = rng.uniform(0.35, 0.9), rng.normal(0.5, 0.18)
        mask = _shape(size, rng, (0.04, 0.16), (y, x))
        # half of the objects are plain, such as cups and phones
        above = _colour(rng) if rng.random() < 0.5 else texture
        # an object appears only if its centre lies on the person
        row, column = (int(np.clip(at, 0, 0.999) * size) for at in (y, x))
        mask = mask * (alpha[row, column] > 127)
        alpha = _blend(alpha, torch.tensor(255), mask)
    return torch.cat([_blend(colours, above, mask), alpha], 2)


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> Tensor:
    return torch.tensor(rng.integers(low, high, 3))


def _blend(below: Tensor, above: Tensor, mask: Tensor) -> Tensor:
    """`above` over `below`, (H, W, C) each, with a mask of (H, W) in [0, 1]; uint8."""
    return torch.lerp(below.float(), above.float().expand(below.shape), mask[..., None]).round_().byte()


def _axes(size: int, turn: float = 0.0, y: float = 0.0, x: float = 0.0) -> tuple[Tensor, Tensor]:
    """Coordinates to the right of and below a point, rotated; the picture is a unit square."""
    steps = (torch.arange(size) + 0.5) / size
    rows, columns = steps[:, None] - y, steps[None] - x
    return columns * np.cos(turn) + rows * np.sin(turn), rows * np.cos(turn) - columns * np.sin(turn)


def _soft(distance: Tensor, softness: float = 1.0) -> Tensor:
    """A mask from a signed distance, positive inside, with an edge of `softness` pixels."""
    return (distance * distance.shape[0] / softness + 0.5).clamp(0, 1)


def _shape(
    size: int, rng: np.random.Generator, extent: tuple[float, float], centre: tuple[float, float] | None = None
) -> Tensor:
    """A rotated ellipse or rectangle, anywhere or around `centre` (row, column), with half axes in `extent`."""
    y, x = centre or rng.uniform(0, 1, 2)
    turn, axes = rng.uniform(0, np.pi), rng.uniform(*extent, 2)
    u, v = (along / axis for along, axis in zip(_axes(size, turn, y, x), axes, strict=True))
    radius = torch.hypot(u, v) if rng.random() < 0.5 else torch.maximum(u.abs(), v.abs())
    return _soft((1 - radius) * min(axes), rng.uniform(1, 3))


def _streak(size: int, rng: np.random.Generator) -> Tensor:
    """A slightly leaning bar from the lower edge of the picture to any height."""
    x, lean, top = rng.uniform(0, 1), rng.normal(0, 0.08), rng.uniform(-0.6, 0.6)
    right, down = _axes(size, x=x)
    across = rng.uniform(0.005, 0.06) - (right - lean * (down - 0.5)).abs()
    return _soft(torch.minimum(across, down - top), rng.uniform(1, 6))


def _pattern(size: int, rng: np.random.Generator) -> Tensor:
    """Stripes, checks or dots below a random row."""
    turn, waves = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]), 2 * np.pi * rng.uniform(4, 30)
    u, v = (torch.sin(waves * along) for along in _axes(size, turn))
    kind = rng.integers(3)  # dividing by the steepness of the waves makes the edges one pixel wide
    height = (u, u * v, torch.minimum(u, v) - 0.5)[kind] / waves
    return _soft(torch.minimum(height, _axes(size)[1] - rng.uniform(0.35, 0.8)))


def _figure(kind: str, someone: Foreground, size: int, rng: np.random.Generator) -> Tensor:
    """A person as a bystander, as a statue, or on a poster: (H, W, 4) uint8 with alpha."""
    side = max(8, int(size * rng.uniform(*EXTENT[kind])))
    box = frame_person(someone.person, rng)
    figure = crop(someone.cutout, box, side)
    if kind == "person":
        return resize(resize(figure, max(4, int(side / rng.uniform(1, 8)))), side)
    colours, alpha = figure.split((3, 1), dim=2)
    if kind == "statue":  # one material, lit from one side
        grey = (colours.float() @ torch.tensor(LUMA, dtype=torch.float32))[..., None]
        stone = torch.tensor(rng.uniform(0.6, 1.1, 3), dtype=torch.float32)
        return torch.cat([(grey.mul(0.7) + 60).mul(stone).clamp(0, 255).byte(), alpha], 2)
    paper = _colour(rng).byte()
    if someone.image is not None and rng.random() < 0.5:
        picture = crop(someone.image, box, side)
    else:
        picture = _blend(paper.expand(colours.shape), colours, alpha[..., 0] / 255)
    frame, width = int(side * rng.uniform(0, 0.06)), int(side * rng.uniform(0.6, 1))
    first, last = (side - width) // 2 + frame, (side - width) // 2 + width - frame
    sheet = torch.cat([paper, paper.new_tensor([255])]).repeat(side, width, 1)
    sheet[frame : side - frame, frame : width - frame, :3] = picture[frame : side - frame, first:last]
    return sheet


def _place(scene: Tensor, figure: Tensor, rng: np.random.Generator) -> Tensor:
    """Paste (h, w, 4) at a random place of a scene, perhaps cut off by its border."""
    size, (height, width) = scene.shape[0], figure.shape[:2]
    top = int(rng.integers(-height // 3, size - height // 2))
    left = int(rng.integers(-width // 2, size - width // 2))
    into = slice(max(0, top), top + height), slice(max(0, left), left + width)
    scene, figure = scene.clone(), figure[max(0, -top) : size - top, max(0, -left) : size - left]
    scene[into] = _blend(scene[into], figure[..., :3], figure[..., 3] / 255)
    return scene
