"""Commands that cut people out: ``matte``, ``video`` and ``export``."""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from typer import Argument, Option

from modnet_lib import paths
from modnet_lib.cli.common import BatchSize, Device, Dtype, Model, ShortSide, bar, dtype_of, errors, say


def matte(
    places: Annotated[
        list[Path], Argument(metavar="IN... OUT", help="Pictures or folders, then a file or folder; - for a pipe.")
    ],
    alpha_only: Annotated[bool, Option("--alpha", help="Write the matte, not a cut-out.")] = False,
    background: Annotated[str | None, Option(help="A colour (white, #00b140), a picture, or blur.")] = None,
    refine: Annotated[bool, Option("--refine", help="Sharpen edges of large pictures.")] = False,
    keep_colours: Annotated[bool, Option("--keep-colours", help="Do not clean colours at edges.")] = False,
    format: Annotated[str, Option(help="Format in an output folder: png, webp, jpg or tif.")] = "png",
    model: Model = paths.PRETRAINED,
    short_side: ShortSide = None,
    device: Device = None,
    backend: Annotated[str, Option(help="eager, fused, compiled, cudagraphs or onnxruntime.")] = "auto",
    dtype: Dtype = "float32",
    batch_size: BatchSize = 1,
    workers: Annotated[int, Option(min=1, help="Threads that read and write.")] = 2,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Cut people out of pictures, folders or a pipe. Files that exist in the output folder are skipped.

    modnet matte me.jpg me.png · modnet matte photos/ cutouts/ · modnet matte --background blur a.jpg b.jpg out/

    Exit codes: 0 success, 1 wrong usage, 3 some pictures failed (listed at the end).
    """
    from modnet_lib.inference import Matter, bulk

    *sources, target = places
    if not sources:
        raise ValueError(f"say where to: modnet matte {target} OUT")
    if "-" in map(str, places) and len(places) != 2:
        raise ValueError("a pipe takes one picture: modnet matte - OUT, or modnet matte IN -")
    output, to_pipe = bulk.Output(alpha_only, background, clean=not keep_colours), str(target) == "-"
    suffix = f".{format.lower().removeprefix('.')}"
    with TemporaryDirectory() as folder:
        if str(sources[0]) == "-":
            sources = [Path(folder, "standard input")]
            sources[0].write_bytes(sys.stdin.buffer.read())
        target = Path(folder, f"out{suffix}") if to_pipe else target
        jobs = bulk.plan(sources, target, suffix)
        for ending in {job.target.suffix.lower() for job in jobs}:
            output.check(ending)
        options = {"device": device, "backend": backend, "dtype": dtype_of(dtype), "refine": refine}
        matter = Matter.from_pretrained(model, short_side=short_side, **options)
        overwrite = overwrite or [job.target for job in jobs] == [target]
        how = {"overwrite": overwrite, "batch_size": batch_size, "workers": workers}
        running = bulk.run(matter, jobs, output, **how)
        results = list(bar("matting", errors)(running, len(jobs)) if len(jobs) > 1 else running)
        failed, skipped = [one.error for one in results if one.error], sum(one.skipped for one in results)
        if to_pipe and not failed:
            sys.stdout.buffer.write(target.read_bytes())
    for reason in failed:
        say(reason, "red", errors)
    written = len(jobs) - skipped - len(failed)
    say(f"{written} written, {skipped} already there, {len(failed)} failed", to=errors)
    if failed:
        raise typer.Exit(3)


def video(
    source: Annotated[str, Argument(help="Clip; - for standard input.")],
    target: Annotated[Path, Argument(help=".mp4, .mov, .mkv (H.264), .webm (VP9), or a new folder of PNGs.")],
    background: Annotated[
        str | None, Option(help="Colour, picture, clip, blur, matte, or transparent (default of .webm and folders).")
    ] = None,
    ofd: Annotated[bool, Option(help="One-frame delay against flicker.")] = True,
    threshold: Annotated[float, Option(help="Threshold of the one-frame delay.")] = 0.1,
    frames: Annotated[int | None, Option(min=1, help="Maximum number of frames.")] = None,
    batch_size: BatchSize = 1,
    short_side: ShortSide = None,
    device: Device = None,
    dtype: Dtype = "float32",
    resume: Annotated[bool, Option(help="Store mattes, to resume an interrupted run.")] = True,
    model: Model = paths.PRETRAINED,
) -> None:
    """Cut people out of a clip, or give them another background."""
    from modnet_lib.inference import Matter
    from modnet_lib.inference.video import matte_video

    settings = {"background": background, "batch_size": batch_size, "limit": frames, "resume": resume}
    settings |= {"threshold": threshold if ofd else 1.0, "track": bar(target.name)}
    matter = Matter.from_pretrained(model, short_side=short_side, device=device, dtype=dtype_of(dtype))
    start, clip = time.perf_counter(), sys.stdin.buffer if source == "-" else source
    repaired = matte_video(matter, clip, target, **settings)
    say(f"{target}: {len(repaired)} frames, {len(repaired) / (time.perf_counter() - start):.1f} a second")
    if ofd:
        say(f"the one-frame delay repaired {100 * sum(repaired) / len(repaired):.2f} % of the pixels")


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
