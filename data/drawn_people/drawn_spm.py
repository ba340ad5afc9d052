"""Benchmarks with exact mattes: SPM-100, SPM-shift and SPM-video (synthetic portrait matting).

PPM-100 is the paper's benchmark: 100 photographs, balanced over three factors, with mattes made by hand. SPM-100 is
our stand-in, built to the same factors out of procedural portraits, whose mattes are exact. SPM-shift shows the same
people through another camera, for domain adaptation. SPM-video are clips with a matte for every frame.

The folders are those of PPM-100, ``image/NAME.jpg`` and ``matte/NAME``, but mattes are PNG: JPEG would make an exact
matte inexact.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from drawn_animation import MOTIONS, animate
from drawn_files import make_all, through_jpeg, write_matte, write_picture
from drawn_portraits import AGES, HAIR_KINDS, HELD, render_composite
from drawn_scenes import render_background

COUNT = 100
FIRST_SEED = 8_000_000  # training and validation portraits have other seeds


class Subject(NamedTuple):
    """One picture of SPM-100 and its strata.

    Attributes
    ----------
    id
        File name without extension.
    seed
        Of the portrait and of its scene.
    whole_body, blurred_background, held_object
        The three factors of PPM-100.
    held, hair, age
        What was asked of the generator.
    """

    id: str
    seed: int
    whole_body: bool
    blurred_background: bool
    held_object: bool
    held: str
    hair: str
    age: str


def subjects(count: int = COUNT) -> list[Subject]:
    """The first `count` pictures of SPM-100; any eight in a row hold each combination of the factors once.

    Raises
    ------
    ValueError
        If `count` is not in [1, 100].
    """
    if not 1 <= count <= COUNT:
        raise ValueError(f"SPM-100 has 1 to {COUNT} pictures, asked for {count}")
    things = [name for name in HELD if name != "none"]
    chosen = []
    for number in range(count):
        whole, blurred, held = (bool(number >> bit & 1) for bit in (2, 1, 0))
        rng = np.random.default_rng([FIRST_SEED, number])
        age = str(rng.choice(AGES, p=(0.1, 0.7, 0.2)))
        hair = HAIR_KINDS[(number + number // 8) % len(HAIR_KINDS)]
        hair = "short" if (hair, age) == ("beard", "child") else hair
        thing = things[(number // 8 + 3 * (number // 2 % 4)) % len(things)] if held else "none"
        chosen.append(Subject(f"spm_{number:03d}", FIRST_SEED + number, whole, blurred, held, thing, hair, age))
    return chosen


def photograph(subject: Subject, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A subject as SPM-100 shows it, (size, size, 3) uint8, and its matte, (size, size) float32 in [0, 1]."""
    image, alpha, _, _ = render_composite(
        subject.seed,
        size,
        bokeh=subject.blurred_background,
        body="full" if subject.whole_body else "half",
        hair=subject.hair,
        age=subject.age,
        held=subject.held,
    )
    rng = np.random.default_rng([subject.seed, 5])
    grain = rng.normal(0, rng.uniform(0.5, 2.5), image.shape)  # one sensor sees the person and the scene
    return np.clip(np.round(image + grain), 0, 255).astype(np.uint8), alpha


def other_camera(image: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The same person in another light, through a shaking, noisy camera with a colour cast and small files.

    Light and colour leave the matte alone. Shake does not: a pixel that saw the person for half of the exposure
    is half foreground, so the exact matte is blurred by the same kernel.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    alpha
        (H, W) float32 in [0, 1].
    rng
        Where the camera comes from.

    Returns
    -------
    Image and matte of the same shapes and types.
    """
    height, width = alpha.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    lamp = (x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle)
    light = (image.astype(np.float32) / 255) ** 2.2  # light adds up linearly, stored values do not
    light *= (1 + rng.uniform(0.4, 0.9) * lamp)[..., None] * rng.uniform(0.45, 1.1)
    light *= np.array([1, 1, 1]) + rng.uniform(0.08, 0.3) * rng.choice([-1, 1]) * np.array([1, 0.1, -1])
    kernel = _shake(rng, max(height, width))
    light = cv2.filter2D(light, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    alpha = cv2.filter2D(alpha, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    light = light + rng.normal(0, 1, light.shape) * np.sqrt(np.clip(light, 0, 1) * 4e-4 + 2e-5)
    shot = np.clip(np.clip(light, 0, 1) ** (1 / 2.2) * 255 + 0.5, 0, 255).astype(np.uint8)
    return through_jpeg(shot, int(rng.integers(25, 60))), np.clip(alpha, 0, 1)


def _shake(rng: np.random.Generator, side: int) -> np.ndarray:
    """Kernel of a straight shake of up to 2 % of the picture."""
    length = side * rng.uniform(0.002, 0.02)
    reach = max(1, int(np.ceil(length / 2)))
    angle = rng.uniform(0, np.pi)
    step = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    ends = [tuple(int(v) for v in np.round((reach + sign * step) * 256)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 255, 1, cv2.LINE_AA, 8)
    return kernel.astype(np.float32) / kernel.sum()


def _photograph(subject: Subject, size: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    yield subject.id, *photograph(subject, size)


def _shifted(subject: Subject, size: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng([subject.seed, 6])
    yield subject.id, *other_camera(*photograph(subject, size), rng)


def _frame(number: int, index: int) -> str:
    return f"{number:02d}_{MOTIONS[number % len(MOTIONS)]}/{index:04d}"


def _clip(number: int, size: int, frames: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Frames of a clip, before a scene that stands still."""
    seed, motion = FIRST_SEED + COUNT + number, MOTIONS[number % len(MOTIONS)]
    scene = render_background(seed, size).astype(np.float32)
    for index, frame in enumerate(animate(seed, size, motion=motion, frames=frames, body="half")):
        weight = frame.alpha[..., None]
        grain = np.random.default_rng([seed, index]).normal(0, 1.5, scene.shape)
        image = weight * frame.foreground + (1 - weight) * scene + grain
        image = np.clip(np.round(image), 0, 255).astype(np.uint8)
        yield _frame(number, index), image, frame.alpha


def write_spm100(folder: str | Path, size: int = 1024, count: int = COUNT) -> list[Path]:
    """Write SPM-100 (or its first `count` pictures) and ``strata.csv``.

    Parameters
    ----------
    folder
        Gets ``image/NAME.jpg``, ``matte/NAME.png`` and ``strata.csv``; pictures that are there are kept.
    size
        Side of the pictures, pixels.
    count
        1 to 100.

    Returns
    -------
    The images.
    """
    return _write_subjects(_photograph, Path(folder), size, count)


def write_spm_shift(folder: str | Path, size: int = 1024, count: int = COUNT) -> list[Path]:
    """Write SPM-shift: the people of SPM-100 through `other_camera`. Arguments as `write_spm100`."""
    return _write_subjects(_shifted, Path(folder), size, count)


def write_spm_video(folder: str | Path, size: int = 512, clips: int = 8, frames: int = 48) -> list[Path]:
    """Write SPM-video: clips of every motion, ``image/CLIP/0000.jpg`` and ``matte/CLIP/0000.png`` a frame.

    Parameters
    ----------
    folder
        Where to; clips that are there are kept.
    size
        Side of the frames, pixels.
    clips
        Their number; motions take turns.
    frames
        Frames a clip, 24 a second.

    Returns
    -------
    The images.
    """
    make, last = partial(_clip, size=size, frames=frames), partial(_frame, index=frames - 1)
    return _write(make, range(clips), Path(folder), last)


def _write_subjects(make: Callable, folder: Path, size: int, count: int) -> list[Path]:
    chosen = subjects(count)
    images = _write(partial(make, size=size), chosen, folder, lambda subject: subject.id)
    # include the pictures of an earlier, larger call
    there = [subject for subject in subjects(COUNT) if _matte(folder, subject.id).is_file()]
    with (folder / "strata.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines)
        table.writerow(Subject._fields)
        table.writerows([int(v) if isinstance(v, bool) else v for v in subject] for subject in there)
    return images


def _write(make: Callable, what: Iterable, folder: Path, last: Callable[[Any], str]) -> list[Path]:
    """Make what is not there; `last` names the last picture of each."""
    todo = [one for one in what if not _matte(folder, last(one)).is_file()]
    make_all(partial(_write_one, make, folder), todo, folder.name)
    return sorted((folder / "image").rglob("*.jpg"))


def _matte(folder: Path, name: str) -> Path:
    return folder / "matte" / f"{name}.png"


def _write_one(make: Callable, folder: Path, one: object) -> None:
    for name, image, alpha in make(one):
        write_picture(folder / "image" / f"{name}.jpg", image)
        # last: it says that the pair is whole
        write_matte(_matte(folder, name), alpha)
