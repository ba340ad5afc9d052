"""Many pictures to many files: find, read, matte, write; a bad file is reported and stops nothing."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from modnet_lib.files import write_atomically
from modnet_lib.images import PICTURES, read_image
from modnet_lib.images16 import Deep, has_16_bits, read_deep, write_deep
from modnet_lib.inference.edges import clean_foreground, compose, cutout
from modnet_lib.inference.matter import Matter

# What is written, with Pillow's options; WebP keeps the colours under transparency too
JPEG = {"quality": 92}
FORMATS: dict[str, dict[str, int]] = {
    ".png": {},
    ".webp": {"quality": 92, "exact": True},
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".tif": {},
    ".tiff": {},
}


class Job(NamedTuple):
    """A picture and the file it becomes."""

    source: Path
    target: Path


class Result(NamedTuple):
    """What became of a job: ``error`` is empty if the target was written, ``skipped`` if it was there."""

    job: Job
    error: str = ""
    skipped: bool = False


@dataclass(frozen=True)
class Output:
    """What is written for a picture; with 16 bits and its ICC profile if it has 16 bits and the file is a PNG or TIFF.

    Attributes
    ----------
    alpha
        The matte alone.
    background
        Instead of a cut-out, the person before this; see `modnet_lib.inference.edges.compose`.
    clean
        Estimate the person's colours where the old background shows through.
    """

    alpha: bool = False
    background: str | None = None
    clean: bool = True

    def check(self, suffix: str) -> None:
        """Raise `ValueError` if a format cannot hold this, and as `compose` does if this is no background."""
        if suffix not in FORMATS:
            raise ValueError(f"{suffix or 'no ending'} is no format to write; take .png, .webp, .jpg or .tif")
        if FORMATS[suffix] is JPEG and not self.alpha and self.background is None:
            raise ValueError(f"{suffix} has no transparency; take .png or .webp, or give a background")
        if self.background is not None:
            compose(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1)), self.background)

    def write(self, job: Job, pixels: np.ndarray, alpha: np.ndarray) -> None:
        """Write the target of a job, atomically, in the format of its suffix."""
        suffix = job.target.suffix.lower()
        deep = suffix in (".png", ".tif", ".tiff") and has_16_bits(job.source)
        wide = read_deep(job.source) if deep and not self.alpha else None
        image, profile = wide or Deep(pixels)
        if self.alpha:
            kind = np.uint16 if deep else np.uint8
            result = (alpha * np.iinfo(kind).max).round().astype(kind)
        elif self.background is None:
            result = cutout(image, alpha, clean=self.clean)
        else:
            colours = clean_foreground(image, alpha) if self.clean else image
            result = compose(colours, alpha, self.background, image, profile)
        if wide:
            save: Callable[[Path], None] = partial(write_deep, Deep(result, profile), suffix=suffix)
        else:
            kind = Image.registered_extensions()[suffix]
            save = partial(Image.fromarray(result).save, format=kind, **FORMATS[suffix])
        write_atomically(job.target, save)


def plan(sources: Sequence[Path], target: Path, suffix: str = ".png") -> list[Job]:
    """Which file every picture becomes.

    One picture becomes `target`, unless that is a folder. Several, or those of a folder and the folders in it, go into
    the folder `target` under their own names; two that differ in their ending only keep it: ``a.jpg.png``.

    Under ``accelerate launch`` or ``torchrun``, every process takes each world-size-th of the whole plan, whatever is
    written already. So no picture is done twice, and a process that starts again finds its own part.

    Raises
    ------
    FileNotFoundError
        If a source does not exist, or a folder holds no pictures.
    ValueError
        If the target is one of the sources, or a file where a folder is needed, or of several pictures.
    """
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(f"there is no {source}")
        if source.resolve() == target.resolve():
            raise ValueError(f"{target} is the source itself; write to another place")
    single = len(sources) == 1 and sources[0].is_file()
    if target.is_file() and not single:
        raise ValueError(f"{target} is a file; several pictures need a folder")
    names = dict[Path, Path]()
    for source in sources:
        inside = [source] if source.is_file() else _pictures(source, target.resolve())
        if not inside:
            raise FileNotFoundError(f"{source} holds no pictures ({' '.join(PICTURES)})")
        names |= {file: file.relative_to(source if source.is_dir() else source.parent) for file in inside}
    alike = Counter(name.with_suffix("") for name in names.values())
    jobs = [
        Job(
            source,
            target / name.with_name((name.name if alike[name.with_suffix("")] > 1 else name.stem) + suffix),
        )
        for source, name in names.items()
    ]
    if single and target.suffix and not target.is_dir():
        jobs = [Job(sources[0], target)]
    twice = [str(path) for path, count in Counter(job.target for job in jobs).items() if count > 1]
    if twice:
        raise ValueError(
            f"several pictures would become {', '.join(twice[:3])}; matte their folders separately"
        )
    return jobs[int(os.environ.get("RANK", "0")) :: int(os.environ.get("WORLD_SIZE", "1"))]


def _pictures(folder: Path, output: Path) -> list[Path]:
    """The pictures of a folder and the folders in it, without hidden ones and those of the output folder."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in PICTURES and not file.name.startswith(".") and file.is_file()
        if output not in file.resolve().parents
    ]


def run(
    matter: Matter,
    jobs: Sequence[Job],
    output: Output,
    *,
    overwrite: bool = False,
    batch_size: int = 1,
    workers: int = 2,
) -> Iterator[Result]:
    """Matte pictures; existing targets are skipped, so an interrupted run continues.

    Parameters
    ----------
    matter
        What predicts.
    jobs
        See `plan`.
    output
        What to write. Files appear whole or not at all.
    overwrite
        Also do what is there.
    batch_size
        Pictures that the network is given at once; those of the same size are one batch.
    workers
        Threads that read, estimate colours and write beside the network, a batch each.

    Yields
    ------
    A result for every job.
    """
    there = {job for job in jobs if job.target.exists() and not overwrite}
    yield from (Result(job, skipped=True) for job in jobs if job in there)
    todo = [job for job in jobs if job not in there]
    batches = (todo[start : start + batch_size] for start in range(0, len(todo), batch_size))
    # CUDA graphs belong to the thread that recorded them
    with ThreadPoolExecutor(1) as network, ThreadPoolExecutor(workers) as pool:

        def predict(pictures: list[np.ndarray]) -> list[np.ndarray]:
            return network.submit(matter.alphas, pictures, batch_size).result()

        for results in pool.map(lambda batch: list(_run(batch, predict, output)), batches):
            yield from results


def _run(
    jobs: list[Job], predict: Callable[[list[np.ndarray]], list[np.ndarray]], output: Output
) -> Iterator[Result]:
    pictures = dict[Job, np.ndarray]()
    for job in jobs:
        try:
            pictures[job] = read_image(job.source)
        except (OSError, ValueError) as error:
            yield Result(job, str(error))
    try:
        mattes = predict(list(pictures.values()))
    except (RuntimeError, MemoryError) as error:  # out of memory, for instance
        yield from (Result(job, f"{job.source}: {error}") for job in pictures)
        return
    for (job, pixels), alpha in zip(pictures.items(), mattes, strict=True):
        try:
            output.write(job, pixels, alpha)
            yield Result(job)
        except (OSError, ValueError, MemoryError) as error:
            yield Result(job, f"{job.target}: {error}")
