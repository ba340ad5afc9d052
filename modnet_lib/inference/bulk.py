"""Many pictures to many files: find, read ahead, matte, write; a bad file is reported and stops nothing."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from modnet_lib.files import write_atomically
from modnet_lib.images import PICTURES, read_image
from modnet_lib.images16 import Deep, has_16_bits, read_deep, write_deep
from modnet_lib.inference.edges import clean_foreground, compose, cutout
from modnet_lib.inference.matter import Matter


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

    def render(self, source: Path, pixels: np.ndarray, alpha: np.ndarray, suffix: str) -> Image.Image | Deep:
        """The picture to save in a format, by its suffix."""
        deep = suffix in (".png", ".tif", ".tiff") and has_16_bits(source)
        if self.alpha:
            kind = np.uint16 if deep else np.uint8
            return Image.fromarray((alpha * np.iinfo(kind).max).round().astype(kind))
        wide = read_deep(source) if deep else None
        image, profile = wide or Deep(pixels)
        if self.background is None:
            result = cutout(image, alpha, clean=self.clean)
        else:
            colours = clean_foreground(image, alpha) if self.clean else image
            result = compose(colours, alpha, self.background, image, profile)
        return Deep(result, profile) if wide else Image.fromarray(result)

    def check(self, suffix: str) -> None:
        """Raise `ValueError` if a format cannot hold this."""
        if suffix not in PICTURES or suffix in (".gif", ".jfif"):
            raise ValueError(f"{suffix or 'no ending'} is no format to write; take .png, .webp, .jpg or .tif")
        if suffix in (".jpg", ".jpeg", ".bmp", ".ppm") and not self.alpha and self.background is None:
            raise ValueError(f"{suffix} has no transparency; take .png or .webp, or give a background")


def check_background(background: str) -> None:
    """Raise as `compose` does if a background is no colour, picture or ``"blur"``."""
    compose(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1)), background)


def plan(sources: Sequence[Path], target: Path, suffix: str = ".png") -> list[Job]:
    """Which file every picture becomes.

    A source that does not exist may be a pattern, such as ``photos/**/*.jpg`` in quotes.

    One picture becomes `target`, unless that is a folder. Several, or those of a folder and the folders in it, go into
    the folder `target` under their own names; two that differ in their ending only keep it: ``a.jpg.png``.

    Raises
    ------
    FileNotFoundError
        If a source does not exist, or a folder holds no pictures.
    ValueError
        If the target is one of the sources or a file where a folder is needed.
    """
    folder, found = target.resolve(), dict[Path, Path]()
    sources = [file for source in sources for file in _expand(source)]
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(f"there is no {source}")
        if source.resolve() == folder:
            raise ValueError(f"{target} is the source itself; write to another place")
    if len(sources) == 1 and sources[0].is_file() and not target.is_dir() and target.suffix:
        return [Job(sources[0], target)]
    if target.is_file():
        raise ValueError(f"{target} is a file; several pictures need a folder")
    for source in sources:
        inside = [source] if source.is_file() else list(_pictures(source, folder))
        if not inside:
            raise FileNotFoundError(f"{source} holds no pictures ({' '.join(PICTURES)})")
        found |= {file: Path(file.name) if file == source else file.relative_to(source) for file in inside}
    stems = Counter(name.with_suffix("") for name in found.values())
    jobs = []
    for source, name in found.items():
        alone = stems[name.with_suffix("")] == 1
        jobs.append(Job(source, target / name.with_name((name.stem if alone else name.name) + suffix)))
    twice = [str(path) for path, count in Counter(job.target for job in jobs).items() if count > 1]
    if twice:
        raise ValueError(
            f"several pictures would become {', '.join(twice[:3])}; matte their folders separately"
        )
    return jobs


def _expand(source: Path) -> list[Path]:
    if source.exists():
        return [source]
    return [Path(file) for file in sorted(glob(str(source), recursive=True))] or [source]


def _pictures(folder: Path, output: Path) -> Iterator[Path]:
    """The pictures of a folder and the folders in it, without hidden ones and those of the output folder."""
    for file in sorted(folder.rglob("*")):
        is_picture = file.suffix.lower() in PICTURES and not file.name.startswith(".") and file.is_file()
        if is_picture and output not in file.resolve().parents:
            yield file


def share(jobs: Sequence[Job]) -> list[Job]:
    """This process's part of the jobs, under ``accelerate launch`` or ``torchrun``; all of them otherwise.

    Every process plans the same list and takes each world-size-th, whatever is written already. So no picture is done
    twice, and a process that starts again finds its own part.
    """
    return list(jobs[int(os.environ.get("RANK", "0")) :: int(os.environ.get("WORLD_SIZE", "1"))])


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
        See `plan` and `share`.
    output
        What to write. Files appear whole or not at all.
    overwrite
        Also do what is there.
    batch_size
        Pictures the network is given at once; those of the same size are one batch.
    workers
        Threads that read, estimate colours and write beside the network.

    Yields
    ------
    A result for every job, as they are finished.
    """
    todo = []
    for job in jobs:
        if job.target.exists() and not overwrite:
            yield Result(job, skipped=True)
        else:
            todo.append(job)
    window = 2 * max(workers, batch_size)  # pictures in memory
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(workers) as writers:
        reading = _ahead(readers, _read, todo, window)
        writing: deque[Future[Result]] = deque()
        while batch := list(islice(reading, batch_size)):
            yield from (Result(job, str(pixels)) for job, pixels in batch if isinstance(pixels, Exception))
            good = [(job, pixels) for job, pixels in batch if isinstance(pixels, np.ndarray)]
            try:
                mattes = matter.alphas([pixels for _, pixels in good], batch_size)
            except (RuntimeError, MemoryError) as error:  # out of memory, for instance
                yield from (Result(job, f"{job.source}: {error}") for job, _ in good)
                continue
            for (job, pixels), alpha in zip(good, mattes, strict=True):
                writing.append(writers.submit(_write, job, pixels, alpha, output))
            while len(writing) > window or (writing and writing[0].done()):
                yield writing.popleft().result()
        for future in writing:
            yield future.result()


def _ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable, count: int) -> Iterator:
    """Map in order, at most `count` ahead."""
    waiting: deque[Future] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= count:
            yield waiting.popleft().result()
    yield from (future.result() for future in waiting)


def _read(job: Job) -> tuple[Job, np.ndarray | Exception]:
    try:
        return job, read_image(job.source)
    except (OSError, ValueError) as error:
        return job, error


def _write(job: Job, pixels: np.ndarray, alpha: np.ndarray, output: Output) -> Result:
    suffix = job.target.suffix.lower()
    try:
        picture = output.render(job.source, pixels, alpha, suffix)
        write_atomically(job.target, lambda file: _save(picture, file, suffix))
    except (OSError, ValueError, MemoryError) as error:
        return Result(job, f"{job.target}: {error}")
    return Result(job)


def _save(picture: Image.Image | Deep, file: Path, suffix: str) -> None:
    """Write a picture in the format of a suffix; WebP keeps the colours under transparency too."""
    if isinstance(picture, Deep):
        write_deep(picture, file, suffix)
        return
    formats = {".jpg": "JPEG", ".tif": "TIFF"}
    options = {".webp": {"quality": 92, "exact": True}, ".jpg": {"quality": 92}, ".jpeg": {"quality": 92}}
    picture.save(file, formats.get(suffix, suffix[1:].upper()), **options.get(suffix, {}))  # type: ignore[arg-type]
