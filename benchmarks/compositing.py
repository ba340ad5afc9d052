"""Training samples at 512 pixels, ours beside a plain Pillow/NumPy pipeline; and whether training waits for them.

.venv/bin/python benchmarks/compositing.py [--size 512] [--train full]

Both pipelines crop, flip, jitter colours, compose by Eq. 1 and make a trimap from the same decoded pictures. On a
processor they have one thread, so the numbers are for each core. `--train PROFILE` trains MODNet on that profile's data
and says which share of the time the training step waited for it, and how much memory the loader held.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Annotated

import cv2
import drawn_data
import numpy as np
import torch
import typer
from PIL import Image, ImageEnhance
from rich.console import Console
from rich.table import Table

from modnet_lib.data.compositing import frame_person, outline
from modnet_lib.data.loaders import CompositionDataset, assemble, collate, training_data, training_loader
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.network import MODNet
from modnet_lib.objectives import paper_objective
from modnet_lib.profiles import DataConfig, Profile

console = Console()


def plain_sample(sample: MattingSample, scene: np.ndarray, size: int, rng: np.random.Generator) -> list:
    """One composite the usual way: Pillow for geometry and colour, NumPy for Eq. 1, OpenCV for the trimap."""
    box = frame_person(outline(sample.alpha), rng)
    corners = (box.left, box.top, box.left + box.side, box.top + box.side)
    resize = {"size": (size, size), "resample": Image.Resampling.BILINEAR}
    parts = [
        Image.fromarray(part).crop(corners).resize(**resize) for part in (sample.foreground, sample.alpha)
    ]
    side = int(min(scene.shape[:2]) * rng.uniform(0.45, 1))
    parts.append(Image.fromarray(scene).crop((0, 0, side, side)).resize(**resize))
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
    arrays = [image.transpose(2, 0, 1), alpha[None], trimap[None]]
    arrays += [foreground.transpose(2, 0, 1), background.transpose(2, 0, 1)]
    return [np.ascontiguousarray(part) for part in arrays]


def rate(work: Callable[[int], object], batch: int, repeats: int, device: str) -> float:
    """Samples a second, the median over batches."""
    times = []
    for number in range(repeats + 2):
        start = time.perf_counter()
        work(number)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return batch / statistics.median(times[2:])


def held() -> float:
    """GiB that this process and its workers hold on their own or share (proportional set size)."""
    pages = 0
    for process in [os.getpid(), *_children(os.getpid())]:
        try:
            with open(f"/proc/{process}/smaps_rollup") as file:
                pages += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            continue
    return pages / 2**20


def _children(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children") as file:
        direct = [int(number) for number in file.read().split()]
    return direct + [below for child in direct for below in _children(child)]


def idle_fraction(dataset: CompositionDataset, size: int, batch: int, steps: int, workers: int) -> None:
    """Train, and print which share of the time went by without a batch to train on."""
    device = (
        dataset.device
        if dataset.device.type == "cuda"
        else torch.device("cuda" if torch.cuda.is_available() else "cpu")
    )
    before = held()
    network = MODNet().to(device).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    waiting, busy, most, counted = 0.0, 0.0, 0.0, steps - min(10, steps // 3)
    asked = time.perf_counter()
    for step, raw in enumerate(training_loader(dataset, [(size, batch, steps)], workers=workers)):
        data = assemble(raw, device)
        if device.type == "cuda":
            torch.cuda.synchronize()
        got = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16):
            output = network(data.image.contiguous(memory_format=torch.channels_last))
        paper_objective(output._make(part.float() for part in output), data).total.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        done = time.perf_counter()
        if step >= steps - counted:  # the first steps fill caches and choose kernels
            waiting, busy = waiting + got - asked, busy + done - got
        if step % 10 == 9:
            most = max(most, held() - before)
        asked = done
    console.print(
        f"training at {size}, batch {batch}, on {device}: {batch * counted / (waiting + busy):.1f} images/s, idle "
        f"{100 * waiting / (waiting + busy):.1f} % of the time; loader and network hold {most:.2f} GiB"
    )


def main(
    size: Annotated[int, typer.Option(help="Side of the samples, pixels.")] = 512,
    batch: Annotated[int, typer.Option(help="Samples a batch.")] = 16,
    repeats: Annotated[int, typer.Option(help="Batches that are timed.")] = 10,
    train: Annotated[str, typer.Option(help="Profile to train on, to measure the idle fraction.")] = "",
    steps: Annotated[int, typer.Option(help="Training steps.")] = 200,
    workers: Annotated[int, typer.Option(help="Processes that read, if pictures stay on the processor.")] = 0,
) -> None:
    """Print the comparison."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    people = drawn_data.people(8, 640)
    scenes = [person.background for person in people]
    readers = ([lambda p=p: p for p in people], [lambda s=s: s for s in scenes])
    dataset = CompositionDataset(*readers, 0, DataConfig(natural=0, composites=15, memory=1), device)

    def ours(number: int) -> object:
        return assemble(collate([dataset[number * batch + i, size] for i in range(batch)]), device)

    def plain(number: int) -> object:
        made = []
        for i in range(batch):
            rng = np.random.default_rng([number, i])
            made.append(plain_sample(people[rng.integers(8)], scenes[rng.integers(8)], size, rng))
        return [torch.from_numpy(np.stack(part)).to(device) for part in zip(*made, strict=True)]

    rates = [rate(work, batch, repeats, device) for work in (plain, ours)]
    name = torch.cuda.get_device_name() if device == "cuda" else "one CPU core"
    table = Table("pipeline", "samples/s", "ratio", title=f"{size} x {size}, batches of {batch}, {name}")
    for label, value in zip(("Pillow, NumPy, OpenCV", "modnet_lib"), rates, strict=True):
        table.add_row(label, f"{value:.1f}", f"{value / rates[0]:.2f}")
    console.print(table)
    if train:
        torch.set_num_threads(threads)
        idle_fraction(training_data(Profile.load(train).data, 1), size, batch, steps, workers)


if __name__ == "__main__":
    typer.run(main)
