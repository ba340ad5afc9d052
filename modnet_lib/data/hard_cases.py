"""What a model trained on clean composites gets wrong: other people, posters and statues, patterns, held things.

As in `modnet_lib.data.compositing`, pictures are (S, S, C) uint8 tensors on any device, random choices come from
NumPy generators, and no choice looks at a pixel. Only F, alpha and B change, so Eq. 1 holds exactly.
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
    """Put one to three things into a scene (S, S, 3) that are *not* the portrait.

    Small people out of focus (but not if the scene is `empty`, without a portrait), posters of people, statues, dark
    streaks such as trunks and poles, bright shapes. `other` returns some labelled person for each thing that shows one.
    """
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.choice([*DISTRACTORS], p=[*DISTRACTORS.values()])
        if kind in EXTENT:
            kind = "poster" if kind == "person" and empty else kind
            scene = _place(scene, _figure(kind, other(), scene.shape[0], rng), rng)
        elif kind == "streak":
            mask = _streak(scene, rng)
            scene = _blend(scene, _colour(scene, rng, 0, 90), mask)
        else:
            mask = _shape(scene, rng, (0.05, 0.3))
            scene = _blend(scene, _colour(scene, rng, 150), mask)
    return scene


def change_person(cutout: Tensor, texture: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur a part of a person (S, S, 4), print a pattern on them, or give them something to hold.

    What a person holds is foreground (the rule of PPM-100), so it enters F and alpha. Its surface is plain, or
    `texture`, (S, S, 3).
    """
    (colours, alpha), size = cutout.split((3, 1), dim=2), cutout.shape[0]
    kind = rng.choice([*CHANGES], p=[*CHANGES.values()])
    if kind == "blur":
        sigma = size * rng.uniform(0.01, 0.04)
        above = gaussian_blur(colours.permute(2, 0, 1), [2 * int(2 * sigma) + 1] * 2, [sigma] * 2)
        above, mask = above.permute(1, 2, 0), _shape(cutout, rng, (0.06, 0.25))
    elif kind == "pattern":
        mask = _pattern(cutout, rng) * rng.uniform(0.3, 1)
        above = _colour(cutout, rng)
    else:
        y, x = rng.uniform(0.35, 0.9), rng.normal(0.5, 0.18)
        mask = _shape(cutout, rng, (0.04, 0.16), (y, x))
        # half of the things are plain, such as cups and phones
        above = _colour(cutout, rng) if rng.random() < 0.5 else texture
        # nothing floats: a thing is only there where its middle lies on the person
        row, column = (int(np.clip(at, 0, 0.999) * size) for at in (y, x))
        mask = mask * (alpha[row, column] > 127)
        alpha = _blend(alpha, torch.tensor(255), mask)
    return torch.cat([_blend(colours, above, mask), alpha], 2)


def _colour(like: Tensor, rng: np.random.Generator, low: int = 0, high: int = 256) -> Tensor:
    return torch.tensor(rng.integers(low, high, 3), device=like.device)


def _blend(below: Tensor, above: Tensor, mask: Tensor) -> Tensor:
    """`above` over `below`, (H, W, C) each, with a mask of (H, W) in [0, 1]; uint8."""
    above = above.to(below.device, torch.float32).expand(below.shape)
    return torch.lerp(below.float(), above, mask[..., None]).round_().byte()


def _axes(like: Tensor, turn: float = 0.0, y: float = 0.0, x: float = 0.0) -> tuple[Tensor, Tensor]:
    """Coordinates to the right and down from a point, turned; the picture is a unit square."""
    steps = (torch.arange(like.shape[0], device=like.device) + 0.5) / like.shape[0]
    rows, columns = steps[:, None] - y, steps[None] - x
    return columns * np.cos(turn) + rows * np.sin(turn), rows * np.cos(turn) - columns * np.sin(turn)


def _soft(distance: Tensor, softness: float = 1.0) -> Tensor:
    """A mask from a signed distance, positive inside, with an edge of `softness` pixels."""
    return (distance * distance.shape[0] / softness + 0.5).clamp(0, 1)


def _shape(
    like: Tensor, rng: np.random.Generator, extent: tuple[float, float], centre: tuple[float, float] | None = None
) -> Tensor:
    """An ellipse or a rectangle, turned, anywhere or around `centre` (row, column); half axes lie in `extent`."""
    y, x = centre or rng.uniform(0, 1, 2)
    turn, axes = rng.uniform(0, np.pi), rng.uniform(*extent, 2)
    u, v = (along / axis for along, axis in zip(_axes(like, turn, y, x), axes, strict=True))
    radius = torch.hypot(u, v) if rng.random() < 0.5 else torch.maximum(u.abs(), v.abs())
    return _soft((1 - radius) * min(axes), rng.uniform(1, 3))


def _streak(like: Tensor, rng: np.random.Generator) -> Tensor:
    """An upright bar, slightly leaning, from the lower edge of the picture to any height."""
    x, lean, top = rng.uniform(0, 1), rng.normal(0, 0.08), rng.uniform(-0.6, 0.6)
    right, down = _axes(like, x=x)
    across = rng.uniform(0.005, 0.06) - (right - lean * (down - 0.5)).abs()
    return _soft(torch.minimum(across, down - top), rng.uniform(1, 6))


def _pattern(like: Tensor, rng: np.random.Generator) -> Tensor:
    """Stripes, checks or dots below some row, as on clothes."""
    turn, waves = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]), 2 * np.pi * rng.uniform(4, 30)
    u, v = (torch.sin(waves * along) for along in _axes(like, turn))
    kind = rng.integers(3)  # a wave of w periods rises by 2 pi w a side, so an edge of a pixel is that steep
    height = (u, u * v, torch.minimum(u, v) - 0.5)[kind] / waves
    return _soft(torch.minimum(height, _axes(like)[1] - rng.uniform(0.35, 0.8)))


def _figure(kind: str, someone: Foreground, size: int, rng: np.random.Generator) -> Tensor:
    """A person as a bystander or a statue, or on a poster: (H, W, 4) uint8 with alpha."""
    side = max(8, int(size * rng.uniform(*EXTENT[kind])))
    box = frame_person(someone.person, rng)
    figure = crop(someone.cutout, box, side)
    if kind == "person":
        return resize(resize(figure, max(4, int(side / rng.uniform(1, 8)))), side)
    colours, alpha = figure.split((3, 1), dim=2)
    if kind == "statue":  # one material, lit from one side
        grey = (colours.float() @ torch.tensor(LUMA, dtype=torch.float32, device=figure.device))[..., None]
        stone = torch.tensor(rng.uniform(0.6, 1.1, 3), dtype=torch.float32, device=figure.device)
        return torch.cat([(grey.mul(0.7) + 60).mul(stone).clamp(0, 255).byte(), alpha], 2)
    paper = _colour(figure, rng).byte()
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
    """Paste (h, w, 4) somewhere into a scene, perhaps cut by its border."""
    size, (height, width) = scene.shape[0], figure.shape[:2]
    top = int(rng.integers(-height // 3, size - height // 2))
    left = int(rng.integers(-width // 2, size - width // 2))
    into = slice(max(0, top), top + height), slice(max(0, left), left + width)
    scene, figure = scene.clone(), figure[max(0, -top) : size - top, max(0, -left) : size - left]
    scene[into] = _blend(scene[into], figure[..., :3], figure[..., 3] / 255)
    return scene
