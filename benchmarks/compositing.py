"""Training samples at 512 pixels, ours beside a plain Pillow/NumPy pipeline.

.venv/bin/python benchmarks/compositing.py [--size 512]

Both crop, flip, jitter colours, compose by Eq. 1 and make a trimap from the same decoded pictures, on one thread.
"""

from typing import Any

import cv2
import numpy as np
import torch
import typer
from _timing import DEVICE, NAME, medians, people, show
from PIL import Image, ImageEnhance

from modnet_lib.data.assemble import assemble, collate
from modnet_lib.data.compositing import frame_person, outline
from modnet_lib.data.dataset import CompositionDataset
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.profiles import DataConfig


def plain_sample(sample: MattingSample, scene: np.ndarray, size: int, rng: np.random.Generator) -> list:
    """One composite the usual way: Pillow for geometry and colour, NumPy for Eq. 1, OpenCV for the trimap."""
    box = frame_person(outline(sample.alpha), rng)
    side = int(min(scene.shape[:2]) * rng.uniform(0.45, 1))
    person = (box.left, box.top, box.left + box.side, box.top + box.side)
    crops = ((sample.foreground, person), (sample.alpha, person), (scene, (0, 0, side, side)))
    parts = [Image.fromarray(p).crop(c).resize((size, size), Image.Resampling.BILINEAR) for p, c in crops]
    if rng.random() < 0.5:
        parts = [part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in parts]
    for number in (0, 2):
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            parts[number] = enhance(parts[number]).enhance(rng.uniform(0.7, 1.3))
    foreground, alpha, background = (np.asarray(part, np.float32) / 255 for part in parts)
    image = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    square = np.ones((30, 30), np.uint8)
    maybe, surely = (alpha > 0).astype(np.uint8), (alpha >= 0.9).astype(np.uint8)
    trimap = (cv2.dilate(maybe, square) + cv2.erode(surely, square)).astype(np.float32) / 2
    arrays = [image, alpha[..., None], trimap[..., None], foreground, background]
    return [np.ascontiguousarray(part.transpose(2, 0, 1)) for part in arrays]


def plain_batch(samples: list[MattingSample], size: int, batch: int, rng: np.random.Generator) -> list[torch.Tensor]:
    """Person and background by chance, one sample after another."""
    chosen = [(samples[rng.integers(len(samples))], samples[rng.integers(len(samples))]) for _ in range(batch)]
    made = [plain_sample(person, other.background, size, rng) for person, other in chosen]
    return [torch.from_numpy(np.stack(part)).to(DEVICE) for part in zip(*made, strict=True)]


def our_data(samples: list[MattingSample], **options: Any) -> CompositionDataset:
    """The same people before the same backgrounds, through the library."""
    scenes = [sample.background for sample in samples]
    readers = ([lambda p=p: p for p in samples], [lambda s=s: s for s in scenes])
    return CompositionDataset(*readers, 0, DataConfig(memory=1, **options))


def main(size: int = 512, batch: int = 16, repeats: int = 10) -> None:
    """Print the comparison."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    samples, rng, numbers = people(8, 640), np.random.default_rng(0), iter(range(10**9))
    dataset = our_data(samples, natural=0, composites=15)
    ways = {
        "Pillow, NumPy, OpenCV": lambda: plain_batch(samples, size, batch, rng),
        "modnet_lib": lambda: assemble(collate([dataset[next(numbers), size] for _ in range(batch)]), DEVICE),
    }
    rows = {name: {"samples/s": 1000 * batch / each} for name, each in medians(ways, repeats, 2).items()}
    show(f"{size} x {size}, batches of {batch}, {NAME.split(',')[0]}, one thread", rows)


if __name__ == "__main__":
    typer.run(main)
