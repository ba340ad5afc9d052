"""Fig. 9 drawn: a person before a street, filmed by a camera that stands still, and a car that drives by."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from drawn_animation import animate
from drawn_canvas import SHIFT
from drawn_files import make_all, write_matte, write_picture
from drawn_scenes import render_background

WIDTH = 0.62  # of the car, in sides of the picture
GROUND = 0.9  # where its wheels stand
CAMERA_SEEDS = (8_000_305, 8_000_306)  # like all clips of SPM, unseen in training
GRAIN = 1.5  # noise of the camera, of 255


class CameraFrame(NamedTuple):
    """A frame of a fixed camera.

    Attributes
    ----------
    image
        (size, size, 3) uint8.
    alpha
        (size, size) float32, exact matte of the person.
    car
        (size, size) bool, where the car is seen.
    """

    image: np.ndarray
    alpha: np.ndarray
    car: np.ndarray


def clean_plate(seed: int, size: int) -> np.ndarray:
    """The street without anybody, as the same camera took it before: (size, size, 3) uint8, with its own grain."""
    return _with_grain(_street(seed, size), np.random.default_rng([seed, 0]))


def passing_car(seed: int, size: int = 512, frames: int = 48) -> Iterator[CameraFrame]:
    """A person who talks; in the middle third of the clip a car crosses the street behind.

    Parameters
    ----------
    seed, size, frames
        As `drawn_animation.animate`; the clean plate of the same seed and size belongs to it.

    Raises
    ------
    ValueError
        As `animate`.
    """
    street = _street(seed, size)
    person = animate(seed, size, motion="talking", frames=frames, body="half")
    for number, frame in enumerate(person):
        way = 3 * (number + 0.5) / frames - 1  # from 0 to 1 in the middle third
        scene = draw_car(street, way * (1 + WIDTH) - WIDTH) if 0 <= way < 1 else street
        weight = frame.alpha[..., None]
        image = weight * frame.foreground + (1 - weight) * scene
        car = (scene != street).any(axis=2) & (frame.alpha < 1)
        rng = np.random.default_rng([seed, number + 1])
        yield CameraFrame(_with_grain(image, rng), frame.alpha, car)


def draw_car(scene: np.ndarray, left: float) -> np.ndarray:
    """A scene (size, size, 3) uint8 with a car whose left end is at `left`, in sides of the picture."""
    size, result = len(scene), scene.copy()

    def at(*points: tuple[float, float]) -> np.ndarray:
        """Points of the car, in its widths, on the picture."""
        place = np.array([left, GROUND]) + np.array(points) * (WIDTH, -WIDTH)
        return np.round(place * size * 2**SHIFT).astype(np.int32)

    def fill(colour: tuple[int, int, int], *points: tuple[float, float]) -> None:
        cv2.fillPoly(result, [at(*points)], colour, cv2.LINE_AA, SHIFT)

    fill((176, 38, 30), (0.01, 0.1), (0, 0.24), (0.06, 0.29), (0.97, 0.27), (1, 0.2), (0.99, 0.1))
    fill((150, 30, 24), (0.16, 0.28), (0.29, 0.46), (0.64, 0.46), (0.8, 0.28))
    fill((196, 214, 226), (0.22, 0.29), (0.31, 0.43), (0.45, 0.43), (0.45, 0.29))
    fill((196, 214, 226), (0.48, 0.29), (0.48, 0.43), (0.62, 0.43), (0.73, 0.29))
    fill((250, 236, 170), (0.95, 0.2), (0.95, 0.25), (1, 0.24), (1, 0.2))
    for x in (0.22, 0.78):
        for radius, colour in ((0.095, (24, 24, 26)), (0.045, (150, 152, 156))):
            centre = at((x, 0.095))[0].tolist()
            cv2.circle(result, centre, round(radius * WIDTH * size * 2**SHIFT), colour, -1, cv2.LINE_AA, SHIFT)
    return result


def _street(seed: int, size: int) -> np.ndarray:
    return render_background(seed, size, bokeh=False, kind="street")


def _with_grain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.round(image + rng.normal(0, GRAIN, image.shape)), 0, 255).astype(np.uint8)


def write_passing_car(folder: Path, size: int = 512, frames: int = 24, seeds: Sequence[int] = CAMERA_SEEDS) -> None:
    """Write a clip for each seed; clips that are there are kept.

    Parameters
    ----------
    folder
        Gets ``image/CLIP/0000.jpg``, ``matte/CLIP/0000.png`` and ``car/CLIP/0000.png`` (where the car is seen) a
        frame, and ``plate/CLIP.jpg``.
    size
        Side of the frames, pixels.
    frames
        Frames a clip, 24 a second.
    seeds
        Of the clips.
    """
    make_all(partial(_write_clip, folder, size=size, frames=frames), seeds, "passing car")


def _write_clip(folder: Path, seed: int, size: int, frames: int) -> None:
    name = f"car_{seed}"
    if (folder / "matte" / name / f"{frames - 1:04d}.png").is_file():
        return
    write_picture(folder / "plate" / f"{name}.jpg", clean_plate(seed, size))
    for number, frame in enumerate(passing_car(seed, size, frames)):
        write_picture(folder / "image" / name / f"{number:04d}.jpg", frame.image)
        write_picture(folder / "car" / name / f"{number:04d}.png", frame.car)
        write_matte(folder / "matte" / name / f"{number:04d}.png", frame.alpha)  # last: the frame is complete
