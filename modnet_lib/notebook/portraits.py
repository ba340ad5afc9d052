"""The photographs of the notebooks, and photographs set in motion."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from matplotlib.cbook import get_sample_data
from PIL import Image

from modnet_lib import paths
from modnet_lib.baselines import load_network
from modnet_lib.data.manifest import find_items
from modnet_lib.data.sets import drawn_people
from modnet_lib.files import write_atomically
from modnet_lib.images import cover, read_image, to_bytes
from modnet_lib.inference import Matter
from modnet_lib.profiles import DataConfig
from modnet_lib.training.validation import held_out_sets


def portraits(config: DataConfig) -> dict[str, np.ndarray]:
    """Three photographs of people by name, (H, W, 3) uint8.

    Without real data in `config`: Grace Hopper (512 pixels wide, 600 high), the astronaut and the camera man
    (512 x 512, grey), which ship inside matplotlib and scikit-image. Otherwise the first held-out photographs of its
    first data set that has any.
    """
    if names := held_out_sets(config):
        items = find_items(names[0], split="validation")[:3]
        return {item.id: read_image(item.files["image"]) for item in items}
    hopper = read_image(get_sample_data("grace_hopper.jpg", asfileobj=False))
    return {
        "Grace Hopper": hopper,
        "astronaut": skimage.data.astronaut(),
        "camera man": read_image(skimage.data.camera()),
    }


def draw(command: str, folder: Path, *options: object) -> Path:
    """The folder, with what a command of ``data/drawn_people`` draws into it; what is there already is kept."""
    words = [sys.executable, paths.DATA / "drawn_people", *command.split(), folder, *options]
    subprocess.run([str(word) for word in words], check=True)
    return folder


def draw_gallery(file: Path, checkpoints: Sequence[Path], device: str | None = None, tile: int = 320) -> None:
    """Draw Fig. 5 and 8 as JPEG: the shipped photographs and two drawn people, a line each, and their mattes.

    The columns are the picture, its matte by each network, and the truth, which is grey where nobody knows it. Tiles
    have `tile` pixels a side; other pictures than squares lose their borders.
    """
    drawn = [read() for read in drawn_people(2, "validation").readers]
    pictures = [*portraits(DataConfig()).values(), *(one.image for one in drawn)]
    columns: list[Sequence[np.ndarray]] = [pictures]
    for checkpoint in checkpoints:
        matter = Matter(load_network(checkpoint), device=device)
        columns.append([to_bytes(matter.alpha(picture)) for picture in pictures])
    columns.append([*(np.full((1, 1), 127, np.uint8) for _ in pictures[len(drawn) :]), *(one.alpha for one in drawn)])
    tiles = [[cover(np.dstack([one] * 3)[..., :3], tile, tile) for one in column] for column in columns]
    sheet = Image.fromarray(np.hstack([np.vstack(column) for column in tiles]))
    write_atomically(file, lambda temporary: sheet.save(temporary, "JPEG", quality=88))


def set_in_motion(
    image: np.ndarray, alpha: np.ndarray, frames: int = 24, *, seed: int = 0, speed: float = 1.0, grain: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Film a photograph by hand: the camera pans, zooms and shakes, the light changes, the sensor adds grain.

    Parameters
    ----------
    image, alpha
        (H, W, 3) uint8, and its matte, (H, W) float32 in [0, 1], which moves with it.
    frames
        At least 2.
    seed
        Of the path, the light and the grain.
    speed
        How far the camera moves; 1 pans over about a twentieth of the picture.
    grain
        Standard deviation, of 255.

    Returns
    -------
    (frames, H, W, 3) uint8 and (frames, H, W) float32. A border of the picture stays out of view.
    """
    rng, (height, width) = np.random.default_rng(seed), alpha.shape
    time = np.linspace(0, 1, frames)
    waves = rng.uniform([0.1, 2, 0], [0.5, 8, 1], (3, 3, 3))  # amplitude, frequency and phase; three for each axis
    shake = sum(a * np.sin(2 * np.pi * (f * time[:, None] + p)) for a, f, p in waves.transpose(0, 2, 1))
    heading, phase = 2 * np.pi * rng.random(), rng.random()
    pan = 0.025 * speed * np.cos(np.pi * time)[:, None] * [np.cos(heading), np.sin(heading)]
    film, mattes = [], []
    for now, (across, down), (right, low, turn) in zip(time, pan, shake, strict=True):
        zoom, light = 1.12 + 0.03 * np.sin(np.pi * (now + phase)), 1 + 0.12 * np.sin(2 * np.pi * (now + phase))
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0.4 * turn, zoom)
        matrix[:, 2] += (across + 0.003 * right) * width, (down + 0.003 * low) * height
        frame, matte = (
            cv2.warpAffine(part, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
            for part in (image, alpha.astype(np.float32))
        )
        noise = rng.normal(0, grain, (height, width, 1))
        film.append(np.clip(frame * light + noise, 0, 255).round().astype(np.uint8))
        mattes.append(matte)
    return np.stack(film), np.stack(mattes)
