"""Commands that cut people out: ``matte``, ``video`` and ``export``."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich import progress
from typer import Argument, Option

from modnet_lib import paths
from modnet_lib.cli.common import BatchSize, Dtype, Model, ShortSide, console, dtype_of, errors, say


def matte(
    places: Annotated[
        list[Path],
        Argument(
            metavar="IN... OUT", help="Pictures, folders or patterns, then a file or folder; - for a pipe."
        ),
    ],
    alpha_only: Annotated[bool, Option("--alpha", help="Write the matte, not a cut-out.")] = False,
    background: Annotated[str | None, Option(help="A colour (white, #00b140), a picture, or blur.")] = None,
    refine: Annotated[bool, Option("--refine", help="Sharpen edges of large pictures.")] = False,
    keep_colours: Annotated[bool, Option("--keep-colours", help="Do not clean colours at edges.")] = False,
    format: Annotated[str, Option(help="Format in an output folder: png, webp, jpg or tif.")] = "png",
    model: Model = paths.PRETRAINED,
    short_side: ShortSide = None,
    device: Annotated[str | None, Option(help="cpu, cuda or cuda:1; a GPU by default.")] = None,
    backend: Annotated[str, Option(help="eager, fused, compiled, cudagraphs or onnxruntime.")] = "auto",
    dtype: Dtype = "float32",
    batch_size: BatchSize = 1,
    workers: Annotated[int, Option(help="Threads that read and write.")] = 2,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Cut people out of pictures, folders or a pipe. Files that exist in the output folder are skipped.

    modnet matte me.jpg me.png · modnet matte photos/ cutouts/ · modnet matte --background blur a.jpg b.jpg out/

    Exit codes: 0 success, 1 wrong usage, 3 some pictures failed (listed at the end).
    """
    from modnet_lib.inference import Matter, bulk

    if len(places) < 2:
        raise ValueError(f"say where to: modnet matte {places[0]} OUT")
    *sources, target = places
    output = bulk.Output(alpha_only, background, clean=not keep_colours)
    piped = "-" in map(str, places)
    if piped and len(places) != 2:
        raise ValueError("a pipe takes one picture: modnet matte - OUT, or modnet matte IN -")
    to_file = piped and str(target) != "-"
    suffix = target.suffix.lower() if to_file else f".{format.lower().removeprefix('.')}"
    jobs = [] if piped else bulk.plan(sources, target, suffix)
    for ending in {suffix} if piped else {job.target.suffix.lower() for job in jobs}:
        output.check(ending)
    settings: dict[str, Any] = {"backend": backend, "dtype": dtype_of(dtype)}
    matter = Matter.from_pretrained(model, device=device, short_side=short_side, refine=refine, **settings)
    if piped:
        _pipe(matter, str(sources[0]), str(target), suffix, output)
        return
    if background is not None:  # wrong usage, rather than a failure of every picture
        bulk.check_background(background)
    jobs, failed, skipped = bulk.share(jobs), list[str](), 0
    overwrite = overwrite or (len(jobs) == 1 and jobs[0].target == target)
    results = bulk.run(matter, jobs, output, overwrite=overwrite, batch_size=batch_size, workers=workers)
    for result in progress.track(results, "matting", len(jobs), console=errors, disable=len(jobs) < 2):
        failed += [result.error] * bool(result.error)
        skipped += result.skipped
    for reason in failed:
        say(reason, "red", errors)
    written = len(jobs) - skipped - len(failed)
    say(f"{written} written, {skipped} already there, {len(failed)} failed", to=errors)
    if failed:
        raise typer.Exit(3)


def _pipe(matter: Any, source: str, target: str, suffix: str, output: Any) -> None:
    """One picture through standard input, standard output or both."""
    from modnet_lib.inference.bulk import Job, run

    with TemporaryDirectory() as folder:
        file = Path(folder, "standard input") if source == "-" else Path(source)
        if source == "-":
            file.write_bytes(sys.stdin.buffer.read())
        written = Path(folder, f"out{suffix}") if target == "-" else Path(target)
        (result,) = run(matter, [Job(file, written)], output, overwrite=True)
        if result.error:
            raise ValueError(result.error.replace(f"{folder}/", ""))
        if target == "-":
            sys.stdout.buffer.write(written.read_bytes())


def video(
    source: Annotated[str, Argument(help="Clip, - for standard input, or the number of a camera, e.g. 0.")],
    target: Annotated[Path, Argument(help=".mp4, .mov, .mkv (H.264), .webm (VP9), or a new folder of PNGs.")],
    background: Annotated[
        str | None,
        Option(help="Colour, picture, clip, blur, matte, or transparent (default of .webm and folders)."),
    ] = None,
    ofd: Annotated[bool, Option(help="One-frame delay against flicker.")] = True,
    threshold: Annotated[float, Option(help="Threshold of the one-frame delay.")] = 0.1,
    frames: Annotated[int | None, Option(help="Number of frames; required for a camera.")] = None,
    batch_size: BatchSize = 1,
    short_side: ShortSide = None,
    dtype: Dtype = "float32",
    resume: Annotated[bool, Option(help="Store mattes, to resume an interrupted run.")] = True,
    model: Model = paths.PRETRAINED,
) -> None:
    """Cut people out of a clip, or give them another background."""
    from modnet_lib.inference import Matter
    from modnet_lib.inference.video import matte_video

    with progress.Progress(console=console) as bar:
        task = bar.add_task(target.name, total=None)
        report = matte_video(
            Matter.from_pretrained(model, short_side=short_side, dtype=dtype_of(dtype)),
            int(source) if source.isdecimal() else source,
            target,
            background=background,
            threshold=threshold if ofd else None,
            batch_size=batch_size,
            limit=frames,
            resume=resume,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    say(f"{target}: {report.frames} frames, {report.frames / report.seconds:.1f} a second")
    if ofd:
        say(f"the one-frame delay repaired {100 * report.repaired:.2f} % of the pixels")


def export(
    target: Annotated[Path, Argument(help="FILE.onnx")],
    model: Model = paths.PRETRAINED,
    image: Annotated[list[Path] | None, Option(help="Also compare on this picture; may be repeated.")] = None,
) -> None:
    """Export the network to ONNX, and compare the copy with it before it is written."""
    from modnet_lib.inference.export import export_onnx
    from modnet_lib.network import load_checkpoint

    difference = export_onnx(load_checkpoint(model), target, image or ())
    say(f"{target}: the largest difference of alpha is {difference:.1e}")
