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
EXTENT = {
    "person": (0.12, 0.4),
    "poster": (0.15, 0.55),
    "statue": (0.12, 0.4),
}  # shares of the picture's side
CHANGES = {"blur": 0.35, "pattern": 0.35, "object": 0.3}


def add_distractors(
    scene: Tensor, other: Callable[[], Foreground], rng: np.random.Generator, empty: bool = False
) -> Tensor:
    """Put one to three things into a scene that are *not* the portrait.

    Small people out of focus (only if the picture has a portrait: `empty` says that it has none), posters of people,
    statues, dark streaks such as trunks and poles, bright shapes.

    Parameters
    ----------
    scene
        (S, S, 3) uint8.
    other
        Returns some labelled person; called once for each thing that shows one.
    rng
        Where the choice comes from.
    empty
        Whether nobody will stand in front of the scene.

    Returns
    -------
    (S, S, 3) uint8.
    """
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.choice([*DISTRACTORS], p=[*DISTRACTORS.values()])
        if kind == "person" and empty:
            kind = "poster"
        if kind in ("person", "poster", "statue"):
            scene = _place(scene, _figure(kind, other(), scene.shape[0], rng), rng)
        else:
            mask = _streak(scene, rng) if kind == "streak" else _shape(scene, rng, (0.05, 0.3))
            low, high = (0, 90) if kind == "streak" else (150, 256)
            colour = torch.tensor(rng.integers(low, high, 3), device=scene.device)
            scene = _blend(scene, colour, mask)
    return scene


def change_person(cutout: Tensor, texture: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur a part of a person, print a pattern on them, or give them something to hold.

    What a person holds is foreground (the rule of PPM-100), so it enters F and alpha.

    Parameters
    ----------
    cutout
        (S, S, 4) uint8: F and alpha.
    texture
        (S, S, 3) uint8, the surface of what is held.
    rng
        Where the choice comes from.

    Returns
    -------
    (S, S, 4) uint8.
    """
    colours, alpha = cutout[..., :3], cutout[..., 3:]
    kind = rng.choice([*CHANGES], p=[*CHANGES.values()])
    if kind == "blur":
        planes = colours.permute(2, 0, 1)
        sigma = cutout.shape[0] * rng.uniform(0.01, 0.04)
        side = 2 * int(2 * sigma) + 1
        blurred = gaussian_blur(planes, [side, side], [sigma, sigma]).permute(1, 2, 0)
        return torch.cat([_blend(colours, blurred, _shape(cutout, rng, (0.06, 0.25))), alpha], 2)
    if kind == "pattern":
        mask = _pattern(cutout, rng) * rng.uniform(0.3, 1)
        colour = torch.tensor(rng.integers(0, 256, 3), device=cutout.device)
        return torch.cat([_blend(colours, colour, mask), alpha], 2)
    y, x = rng.uniform(0.35, 0.9), rng.normal(0.5, 0.18)
    mask = _shape(cutout, rng, (0.04, 0.16), (y, x))
    if rng.random() < 0.5:  # plain things, such as cups and phones
        texture = torch.tensor(rng.integers(0, 256, 3), device=cutout.device)
    # nothing floats: a thing is only there where its middle lies on the person
    row, column = (int(np.clip(at, 0, 0.999) * cutout.shape[0]) for at in (y, x))
    mask = mask * (alpha[row, column] > 127)
    return torch.cat([_blend(colours, texture, mask), _blend(alpha, torch.tensor(255), mask)], 2)


def _grid(like: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns, (S, 1) and (1, S) in [0, 1]."""
    size = like.shape[0]
    steps = (torch.arange(size, device=like.device) + 0.5) / size
    return steps[:, None], steps[None]


def _blend(below: Tensor, above: Tensor, mask: Tensor) -> Tensor:
    """`above` over `below`, (H, W, C) uint8 each, with a mask of (H, W) in [0, 1]."""
    above = above.to(below.device, torch.float32).expand(below.shape)
    return torch.lerp(below.float(), above, mask[..., None]).round_().byte()


def _soft(distance: Tensor, size: int, softness: float = 1.0) -> Tensor:
    """A mask from a signed distance, positive inside, with an edge of `softness` pixels."""
    return (distance * size / softness + 0.5).clamp(0, 1)


def _shape(
    like: Tensor,
    rng: np.random.Generator,
    extent: tuple[float, float],
    centre: tuple[float, float] | None = None,
) -> Tensor:
    """An ellipse or a rectangle, turned, anywhere or around `centre` (row, column); half axes lie in `extent`."""
    rows, columns = _grid(like)
    y, x = centre or rng.uniform(0, 1, 2)
    turn, axes = rng.uniform(0, np.pi), rng.uniform(*extent, 2)
    u = ((columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)) / axes[0]
    v = ((rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)) / axes[1]
    radius = torch.hypot(u, v) if rng.random() < 0.5 else torch.maximum(u.abs(), v.abs())
    return _soft((1 - radius) * min(axes), like.shape[0], rng.uniform(1, 3))


def _streak(like: Tensor, rng: np.random.Generator) -> Tensor:
    """An upright bar, slightly leaning, from the lower edge of the picture to any height."""
    rows, columns = _grid(like)
    x, lean, top = rng.uniform(0, 1), rng.normal(0, 0.08), rng.uniform(-0.6, 0.6)
    across = rng.uniform(0.005, 0.06) - (columns - x - lean * (rows - 0.5)).abs()
    return _soft(torch.minimum(across, rows - top), like.shape[0], rng.uniform(1, 6))


def _pattern(like: Tensor, rng: np.random.Generator) -> Tensor:
    """Stripes, checks or dots below some row, as on clothes."""
    rows, columns = _grid(like)
    turn, waves = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]), 2 * np.pi * rng.uniform(4, 30)
    u = torch.sin(waves * (columns * np.cos(turn) + rows * np.sin(turn)))
    v = torch.sin(waves * (rows * np.cos(turn) - columns * np.sin(turn)))
    kind = rng.integers(3)  # a wave of w periods rises by 2 pi w a side, so an edge of a pixel is that steep
    height = (u + 0 * v, u * v, torch.minimum(u, v) - 0.5)[kind] / waves
    return _soft(torch.minimum(height, rows - rng.uniform(0.35, 0.8)), like.shape[0])


def _figure(kind: str, someone: Foreground, size: int, rng: np.random.Generator) -> Tensor:
    """A person as a bystander or a statue, or on a poster: (H, H, 4) uint8 with alpha."""
    side = max(8, int(size * (rng.uniform(*EXTENT[kind]))))
    box = frame_person(someone.person, rng)
    figure = crop(someone.cutout, box, side, "transparent")
    colours, alpha = figure[..., :3], figure[..., 3:]
    if kind == "person":
        blurred = resize(figure, max(4, int(side / rng.uniform(1, 8))))
        return resize(blurred, side)
    if kind == "statue":  # one material, lit from one side
        grey = (colours.float() @ torch.tensor(LUMA, dtype=torch.float32, device=figure.device))[..., None]
        stone = torch.tensor(rng.uniform(0.6, 1.1, 3), dtype=torch.float32, device=figure.device)
        return torch.cat([(grey.mul(0.7) + 60).mul(stone).clamp(0, 255).byte(), alpha], 2)
    paper = torch.tensor(rng.integers(0, 256, 3), device=figure.device, dtype=torch.float32)
    if someone.image is not None and rng.random() < 0.5:
        picture = crop(someone.image, box, side, "edge")
    else:
        picture = _blend(paper.expand(colours.shape), colours, alpha[..., 0] / 255)
    frame, shown = int(side * rng.uniform(0, 0.06)), int(side * rng.uniform(0.6, 1))
    sheet = paper.byte().expand(side, shown, 3).clone()
    left = (side - shown) // 2
    inner = slice(frame, side - frame), slice(frame, shown - frame)
    sheet[inner] = picture[:, left : left + shown][inner]
    return torch.cat([sheet, torch.full_like(sheet[..., :1], 255)], 2)


def _place(scene: Tensor, figure: Tensor, rng: np.random.Generator) -> Tensor:
    """Paste (h, w, 4) somewhere into a scene, perhaps cut by its border."""
    size, (height, width) = scene.shape[0], figure.shape[:2]
    top, left = (
        int(rng.integers(-height // 3, size - height // 2)),
        int(rng.integers(-width // 2, size - width // 2)),
    )
    into = slice(max(0, top), min(size, top + height)), slice(max(0, left), min(size, left + width))
    part = figure[into[0].start - top : into[0].stop - top, into[1].start - left : into[1].stop - left]
    scene = scene.clone()
    scene[into] = _blend(scene[into], part[..., :3], part[..., 3] / 255)
    return scene
