"""Many pictures to many files: find, read, matte, write; a bad file is reported and does not stop the rest."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from glob import glob
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from modnet_lib.files import write_atomically
from modnet_lib.images import is_picture, read_header, read_image, to_bytes
from modnet_lib.images16 import Deep, read_deep, write_deep
from modnet_lib.inference.edges import clean_foreground, compose
from modnet_lib.inference.matter import Matter

# what can be written, with Pillow's options; WebP keeps the colours under transparency too
FORMATS: dict[str, dict[str, int]] = {suffix: {"quality": 92} for suffix in (".jpg", ".jpeg")}
FORMATS |= {".png": {}, ".tif": {}, ".tiff": {}, ".webp": {"quality": 92, "exact": True}}


class Job(NamedTuple):
    """A picture and the file it becomes."""

    source: Path
    target: Path


class Result(NamedTuple):
    """What became of a job."""

    job: Job
    error: str = ""  # why it failed, if it did
    skipped: bool = False  # its target was there already
    note: str = ""  # what was left out


@dataclass(frozen=True)
class Output:
    """What is written for a picture: 16 bits and its ICC profile if it has 16 bits and the file is a PNG or TIFF."""

    #: The matte alone.
    alpha: bool = False
    #: The person is in front of this; see `modnet_lib.inference.edges.compose`.
    background: str = "transparent"
    #: Estimate the person's colours where the old background shows through.
    clean: bool = True
    #: Also write the matte and the person's colours to ``NAME_matte.png`` and ``NAME_foreground.png``.
    parts: bool = False

    def check(self, suffix: str) -> None:
        """Raise `ValueError` if a format cannot hold this, and as `compose` does if this is no background."""
        if suffix not in FORMATS:
            formats = "take .png, .webp, .jpg or .tif; the name of a folder ends in /"
            raise ValueError(f"{suffix or 'no ending'} is no format to write; {formats}")
        if suffix in (".jpg", ".jpeg") and not self.alpha and self.background == "transparent":
            raise ValueError(f"{suffix} has no transparency; take .png or .webp, or give a background")
        compose(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1)), self.background)

    def write(self, job: Job, alpha: np.ndarray, pixels: np.ndarray, deep: bool) -> None:
        """Write the target of a job, atomically; `deep` says that the source has 16 bits."""
        deep = deep and job.target.suffix.lower() in (".png", ".tif", ".tiff")
        wide = read_deep(job.source) if deep and not self.alpha else None
        image, profile = wide or Deep(pixels)
        clean = self.clean and (self.parts or not self.alpha)
        colours = clean_foreground(image, alpha) if clean else image
        matte = to_bytes(alpha, np.uint16 if deep else np.uint8)
        _save(job.target, matte if self.alpha else compose(colours, alpha, self.background, image, profile), profile)
        if self.parts:
            for place, part in zip(beside(job), (matte, colours), strict=True):
                _save(place, part, profile)


def _save(file: Path, pixels: np.ndarray, profile: bytes) -> None:
    suffix = file.suffix.lower()
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        write_atomically(file, partial(write_deep, Deep(pixels, profile), suffix=suffix))
    else:
        options = {"format": Image.registered_extensions()[suffix], **FORMATS[suffix]}
        write_atomically(file, partial(Image.fromarray(pixels).save, **options))


def expand(name: str) -> list[Path]:
    """The files that a pattern names, such as ``photos/*.jpg`` where no shell expands it, or else the file itself."""
    found = [] if Path(name).exists() else sorted(glob(name))
    return [Path(file) for file in found or [name]]


def beside(job: Job) -> list[Path]:
    """The files of `Output.parts`."""
    return [job.target.with_name(f"{job.target.stem}_{name}.png") for name in ("matte", "foreground")]


def plan(sources: Sequence[Path], target: str | Path, suffix: str = ".png") -> list[Job]:
    """Which file every picture becomes.

    One picture becomes `target`, unless that is a folder or ends in ``/``. Several, or those of a folder and the
    folders in it, go into the folder `target` under their own names; two that differ in their ending only keep it:
    ``a.jpg.png``. Under ``torchrun`` or ``accelerate launch``, every process takes each world-size-th of the whole
    plan, whatever is written already: no picture is done twice, and a process that starts again finds its own part.
    """
    into, target = str(target).endswith(("/", os.sep)), Path(target)
    output, single = target.resolve(), len(sources) == 1 and sources[0].is_file()
    if target.is_file() and not single:
        raise ValueError(f"{target} is a file; several pictures need a folder")
    names = dict[Path, Path]()
    for source in sources:
        if source.resolve() == output:
            raise ValueError(f"{target} is the source itself; write to another place")
        if not source.exists():
            raise FileNotFoundError(f"there is no {source}")
        if source.is_fifo():
            raise ValueError(f"{source} is a pipe; send one picture to `modnet matte - {target}`")
        inside = [source] if source.is_file() else [f for f in _files(source, output) if is_picture(f)]
        if not inside:
            raise FileNotFoundError(f"there are no pictures in {source}")
        names |= {file: file.relative_to(source.parent if file == source else source) for file in inside}
    alike, jobs = Counter(name.with_suffix("") for name in names.values()), list[Job]()
    for source, name in names.items():
        kept = name.name if alike[name.with_suffix("")] > 1 else name.stem
        jobs.append(Job(source, target / name.with_name(kept + suffix)))
    if single and target.suffix and not (into or target.is_dir()):
        jobs = [Job(sources[0], target)]
    ((most, count),) = Counter(job.target for job in jobs).most_common(1)
    if count > 1:
        raise ValueError(f"{count} pictures would become {most}; matte their folders separately")
    return jobs[int(os.environ.get("RANK", "0")) :: int(os.environ.get("WORLD_SIZE", "1"))]


def passed_over(sources: Sequence[Path], target: str | Path) -> list[Path]:
    """The files in folders of `sources` that `plan` does not take for pictures, by their names."""
    found = (file for source in sources for file in _files(source, Path(target).resolve()))
    return [file for file in found if not is_picture(file)]


def _files(folder: Path, output: Path) -> list[Path]:
    """The files of a folder and the folders in it, without hidden ones and those of the output folder."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith("."))
    return [file for file in files if output not in file.resolve().parents]


def run(
    matter: Matter, jobs: Sequence[Job], output: Output, overwrite: bool = False, batch_size: int = 1, workers: int = 2
) -> Iterator[Result]:
    """Matte pictures; existing targets are skipped unless `overwrite`, so an interrupted run continues.

    Parameters
    ----------
    matter, jobs, output
        What predicts, what of (see `plan`), and what to write. Files appear whole or not at all; a ValueError says if
        a part of one picture would overwrite the result of another.
    batch_size
        Pictures that are read together; those of one size go through the network together.
    workers
        Threads that read, estimate colours and write, a batch each; the network has one of its own.
    """

    def matte(batch: list[Job]) -> list[Result]:
        errors, notes, pictures = dict[Job, str](), dict[Job, str](), dict[Job, tuple[np.ndarray, bool]]()
        for job in batch:
            with _noting(errors, job):
                count, deep = read_header(job.source)
                pictures[job] = read_image(job.source), deep
                if count > 1:
                    notes[job] = f"{job.source}: the first of {count} frames or pages; `modnet video` takes animations"
        with _noting(errors, *pictures):
            alphas = network.submit(matter.alphas, [pixels for pixels, _ in pictures.values()], batch_size).result()
            for (job, picture), alpha in zip(pictures.items(), alphas, strict=True):
                with _noting(errors, job):
                    output.write(job, alpha, *picture)
        return [Result(job, errors.get(job, ""), note=notes.get(job, "")) for job in batch]

    if output.parts and (shared := {job.target for job in jobs} & {file for job in jobs for file in beside(job)}):
        raise ValueError(f"{min(shared)} would be a picture's own result and a part of another's; leave out parts")
    todo = [job for job in jobs if overwrite or not job.target.exists()]
    yield from (Result(job, skipped=True) for job in sorted({*jobs} - {*todo}))
    batches = (todo[start : start + batch_size] for start in range(0, len(todo), batch_size))
    with ThreadPoolExecutor(1) as network, ThreadPoolExecutor(workers) as pool:
        yield from chain.from_iterable(pool.map(matte, batches))


@contextmanager
def _noting(errors: dict[Job, str], *jobs: Job) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever it is, it is this picture's
        for job in jobs:
            named = str(job.source) in str(error)
            errors[job] = str(error) if named else f"{job.source} to {job.target}: {type(error).__name__}: {error}"
