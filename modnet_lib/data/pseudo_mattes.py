"""From a segmentation to a matte: trimap, closed-form alpha, foreground and background colours.

The result is *pseudo* ground truth: good along bodies, softer than real hair, wrong where the label is wrong.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from modnet_lib.data.sources import Item, Track, read_item
from modnet_lib.data.trimaps import trimap_from_mask
from modnet_lib.data.workers import worker_pool
from modnet_lib.images import keep_threads, read_image


class MattingSample(NamedTuple):
    """One labelled portrait, all parts of the same height and width.

    Attributes
    ----------
    image
        The photograph I, (H, W, 3) uint8.
    alpha
        (H, W) uint8, 255 is foreground.
    foreground, background
        F and B, (H, W, 3) uint8, such that Eq. 1 gives the photograph back.
    """

    image: np.ndarray
    alpha: np.ndarray
    foreground: np.ndarray
    background: np.ndarray


def pseudo_matte(
    image: np.ndarray, mask: np.ndarray, hair: np.ndarray | None = None, *, trimap: np.ndarray | None = None
) -> MattingSample:
    """Matte and colours of a photograph from its segmentation (closed-form matting, Levin et al. 2008).

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    mask
        (H, W) bool, the person.
    hair
        (H, W) bool; widens the unknown band along hair.
    trimap
        (H, W) of {0, 0.5, 1} to use in the place of the one made from the mask.

    Raises
    ------
    ValueError
        If sizes differ, or the mask is empty or full.
    """
    keep_threads()
    from pymatting import estimate_alpha_cf, estimate_foreground_ml  # slow to import: it compiles

    if mask.shape != image.shape[:2]:
        raise ValueError(f"the mask is {mask.shape}, the image {image.shape[:2]}")
    if mask.all() or not mask.any():
        raise ValueError("the mask is empty or full: there is no border to matte")
    if trimap is None:
        scale = max(image.shape[:2]) / 832  # the radii suit Clothing-Co-Parsing's photographs
        band, hair_band = max(2, round(5 * scale)), max(4, round(14 * scale))
        trimap = trimap_from_mask(mask, hair, band=band, hair_band=hair_band)
    pixels = image / 255.0
    alpha = estimate_alpha_cf(pixels, trimap)
    # the solver leaves a haze of a few per cent on either side
    alpha = np.clip((alpha - 0.04) / 0.92, 0, 1)
    foreground, background = estimate_foreground_ml(pixels, alpha, return_background=True)
    to_bytes = [np.clip(x * 255, 0, 255).round().astype(np.uint8) for x in (alpha, foreground, background)]
    return MattingSample(image, *to_bytes)


def _track(jobs: Iterable[Any], count: int) -> Iterable[Any]:
    return tqdm(jobs, total=count, desc="pseudo-mattes")


def prepare(
    items: Sequence[Item], folder: Path, workers: int | None = None, track: Track = _track
) -> tuple[list[str], dict[str, str]]:
    """Make the pseudo-matte of every item that has none yet; a second call goes on where one was cut.

    Parameters
    ----------
    items
        Photographs with a label or a mask, of any source.
    folder
        Where the results go: ``<id>_alpha.png``, ``<id>_foreground.jpg``, ``<id>_background.jpg``.
    workers
        Processes of one thread each; as many as there are cores if ``None``.
    track
        Shows progress.

    Returns
    -------
    The ids that are ready, and for every other one the reason why not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ready = [item.id for item in items if all(file.is_file() for file in _files(item, folder))]
    todo = [item for item in items if item.id not in set(ready)]
    failures: dict[str, str] = {}
    if todo:
        with worker_pool(workers) as pool:
            jobs = {pool.submit(_prepare_one, item, folder): item.id for item in todo}
            for job in track(as_completed(jobs), len(jobs)):
                try:
                    error = job.result()
                except BrokenProcessPool:
                    error = "a worker process died, perhaps for want of memory; go on with fewer workers"
                if error:
                    failures[jobs[job]] = error
                else:
                    ready.append(jobs[job])
    return sorted(ready), failures


def _files(item: Item, folder: Path) -> list[Path]:
    return [folder / f"{item.id}_{part}" for part in ("alpha.png", "foreground.jpg", "background.jpg")]


def _prepare_one(item: Item, folder: Path) -> str:
    try:
        parts = read_item(item)
        if "image" not in parts or "mask" not in parts:
            return f"{item.id} has no mask or no image to make a matte from: {', '.join(parts)}"
        sample = pseudo_matte(parts["image"], parts["mask"], parts.get("hair"))
        for file, array in zip(
            _files(item, folder), (sample.alpha, sample.foreground, sample.background), strict=True
        ):
            write_picture(file, array)
    except Exception as error:  # one picture must not end a run over thousands
        return str(error) or type(error).__name__
    return ""


def write_picture(path: Path, array: np.ndarray) -> None:
    """Write an 8-bit picture; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}_{path.name}")
    try:
        Image.fromarray(array).save(temporary, quality=95)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_prepared(item: Item, folder: Path) -> MattingSample:
    """Read what `prepare` wrote.

    Raises
    ------
    FileNotFoundError
        If the sample has not been prepared.
    """
    paths = _files(item, folder)
    if not all(path.is_file() for path in paths):
        raise FileNotFoundError(f"no pseudo-matte for {item.id} in {folder}; run prepare first")
    alpha, foreground, background = (read_image(path) for path in paths)
    return MattingSample(read_image(item.files["image"]), alpha[..., 0], foreground, background)
