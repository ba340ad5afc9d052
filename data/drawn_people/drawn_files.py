"""Pictures that are whole or absent, made side by side by processes of one thread each."""

import io
import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm


def write_picture(path: Path, array: np.ndarray) -> None:
    """Write an 8-bit picture, PNG or JPEG of quality 95, under a temporary name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(array).save(partial, Image.registered_extensions()[path.suffix], quality=95)
    partial.replace(path)


def write_matte(path: Path, alpha: np.ndarray) -> None:
    """Write a matte (H, W) in [0, 1] with 8 bits."""
    write_picture(path, (alpha * 255).round().astype(np.uint8))


def through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG file of a quality of 1 to 100 keeps of a picture (H, W, 3) uint8."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def make_all(make: Callable[[Any], None], jobs: Iterable[Any], title: str) -> None:
    """Call `make` for every job, in as many processes as there are cores."""
    jobs = list(jobs)
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")  # OpenCV's threads do not survive a fork
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), context, cv2.setNumThreads, (1,)) as pool:
        list(tqdm(pool.map(make, jobs), title, len(jobs)))
