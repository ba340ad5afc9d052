"""Many pictures to many files: find, read, matte, write; a bad file is reported and does not stop the rest."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from glob import glob
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from modnet_lib.files import write_atomically
from modnet_lib.images import count_frames, is_picture, read_image
from modnet_lib.inference.edges import read_background, render
from modnet_lib.inference.matter import Matter

JPEG = (".jpg", ".jpeg")
# what can be written, with Pillow's options; WebP keeps the colours under transparency too
FORMATS: dict[str, dict[str, int]] = {".png": {}, ".tif": {}, ".tiff": {}, ".webp": {"quality": 92, "exact": True}}
FORMATS |= {suffix: {"quality": 92} for suffix in JPEG}


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


def expand(name: str) -> list[Path]:
    """The files that a pattern names, such as ``photos/*.jpg`` where no shell expands it, or else the file itself."""
    found = [] if Path(name).exists() else sorted(glob(name))
    return [Path(file) for file in found or [name]]


def beside(job: Job) -> list[Path]:
    """The files of the matte and of the person's colours."""
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
    matter: Matter,
    jobs: Sequence[Job],
    background: str = "transparent",
    *,
    parts: bool = False,
    overwrite: bool = False,
    workers: int = 2,
) -> Iterator[Result]:
    """Matte pictures; existing targets are skipped unless `overwrite`, so an interrupted run continues.

    Parameters
    ----------
    matter, jobs
        What predicts, and what of (see `plan`). Files appear whole or not at all.
    background
        As for `modnet_lib.inference.edges.compose`.
    parts
        Also write the matte and the person's colours to ``NAME_matte.png`` and ``NAME_foreground.png``.
    workers
        Threads that read, estimate colours and write; the network has one of its own.

    Raises
    ------
    FileNotFoundError, ValueError
        Before the first picture, if this is no background, if a format is unknown or cannot hold the result, or if a
        part of one picture would overwrite the result of another.
    """
    behind = read_background(background)
    for suffix in {job.target.suffix.lower() for job in jobs}:
        if suffix not in FORMATS:
            formats = "take .png, .webp, .jpg or .tif; the name of a folder ends in /"
            raise ValueError(f"{suffix or 'no ending'} is no format to write; {formats}")
        if suffix in JPEG and background == "transparent":
            raise ValueError(f"{suffix} has no transparency; take .png or .webp, or give a background")
    if parts and (shared := {job.target for job in jobs} & {file for job in jobs for file in beside(job)}):
        raise ValueError(f"{min(shared)} would be a picture's own result and a part of another's; leave out parts")

    def matte(job: Job) -> Result:
        try:
            if job.target.exists() and not overwrite:
                return Result(job, skipped=True)
            count, pixels = count_frames(job.source), read_image(job.source)
            alpha = network.submit(matter.alpha, pixels).result()
            files = [job.target, *(beside(job) if parts else ())]
            for file, picture in zip(files, render(pixels, alpha, behind, parts), strict=True):
                suffix = file.suffix.lower()
                options = {"format": Image.registered_extensions()[suffix], **FORMATS[suffix]}
                write_atomically(file, partial(Image.fromarray(picture).save, **options))
        except Exception as error:  # whatever it is, it is this picture's
            named = str(job.source) in str(error)
            told = str(error) if named else f"{job.source} to {job.target}: {type(error).__name__}: {error}"
            return Result(job, told)
        note = f"{job.source}: the first of {count} frames or pages; `modnet video` takes animations"
        return Result(job, note=note if count > 1 else "")

    with ThreadPoolExecutor(1) as network, ThreadPoolExecutor(workers) as pool:
        yield from pool.map(matte, jobs)
