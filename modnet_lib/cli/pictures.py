"""Commands that cut people out: ``matte``, ``video`` and ``export``."""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from typer import Argument, Option

from modnet_lib import paths
from modnet_lib.cli import common
from modnet_lib.cli.common import bar, errors, open_matter, say


def matte(
    places: Annotated[list[str], Argument(metavar="IN... OUT", help="Pictures, folders or patterns; - for a pipe.")],
    alpha_only: Annotated[bool, Option("--alpha", help="Write the matte, not a cut-out.")] = False,
    background: Annotated[str, Option(help="A colour (white, #00b140), a picture, or blur.")] = "transparent",
    parts: Annotated[bool, Option("--parts", help="Also write NAME_matte.png and NAME_foreground.png.")] = False,
    refine: common.Refine = False,
    drop_specks: common.Specks = 0.0,
    format: Annotated[str, Option(help="File format in an output folder: png, webp, jpg or tif.")] = "png",
    model: common.Model = paths.PRETRAINED,
    short_side: common.ShortSide = None,
    device: common.Device = None,
    backend: common.Backend = "auto",
    dtype: common.Dtype = "float32",
    workers: Annotated[int, Option(min=1, help="Threads that read and write files.")] = 2,
    max_megapixels: Annotated[int, Option(min=1, help="Refuse pictures larger than this.")] = 250,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Cut people out of pictures, folders or a pipe. Files that exist in the output folder are skipped.

    modnet matte me.jpg me.png · modnet matte photos/ cutouts/ · modnet matte --background blur 'photos/*.jpg' out/

    Exit codes: 0 success, 1 wrong usage, 3 some pictures failed (listed at the end).
    """
    from PIL import Image

    from modnet_lib.inference import bulk

    *given, target = places
    if not given:
        raise ValueError(f"say where to: modnet matte {target} OUT")
    if "-" in places and len(places) != 2:
        raise ValueError("a pipe takes one picture: modnet matte - OUT, or modnet matte IN -")
    Image.MAX_IMAGE_PIXELS = max_megapixels * 1_000_000
    sources, to_pipe = [file for name in given for file in bulk.expand(name)], target == "-"
    suffix = f".{format.lower().removeprefix('.')}"
    with TemporaryDirectory() as folder:
        if given == ["-"]:
            sources = [Path(folder, "standard input")]
            sources[0].write_bytes(sys.stdin.buffer.read())
        target = str(Path(folder, f"out{suffix}")) if to_pipe else target
        jobs, rest = bulk.plan(sources, target, suffix), bulk.passed_over(sources, target)
        background = "matte" if alpha_only else background
        options = {"device": device, "short_side": short_side, "refine": refine, "specks": drop_specks}
        matter = open_matter(model, backend, dtype, **options)
        overwrite = overwrite or [str(job.target) for job in jobs] == [target]
        running = bulk.run(matter, jobs, background, parts=parts, overwrite=overwrite, workers=workers)
        results = list(bar("matting", errors)(running, len(jobs)) if len(jobs) > 1 else running)
        failed, skipped = [one.error for one in results if one.error], sum(one.skipped for one in results)
        if to_pipe and not failed:
            sys.stdout.buffer.write(Path(target).read_bytes())
    for note in filter(None, (one.note for one in results)):
        say(note, "yellow", errors)
    if rest:
        names = ", ".join(file.name for file in rest[:20])
        say(f"{len(rest)} files skipped, no pictures: {names}", "yellow", errors)
    for reason in failed:
        say(reason, "red", errors)
    written = len(jobs) - skipped - len(failed)
    say(f"{written} written, {skipped} already there, {len(failed)} failed", to=errors)
    if failed:
        raise typer.Exit(3)


def video(
    source: Annotated[Path, Argument(help="Clip, animation or folder of frames.")],
    target: Annotated[Path, Argument(help=".mp4, .mov, .mkv (H.264), .webm (VP9), or a new folder of PNGs.")],
    background: Annotated[str | None, Option(help="Colour, picture, blur, matte or transparent.")] = None,
    ofd: Annotated[bool, Option(help="One-frame delay against flicker.")] = True,
    threshold: Annotated[float, Option(help="Threshold of the one-frame delay.")] = 0.1,
    frames: Annotated[int | None, Option(min=1, help="Maximum number of frames.")] = None,
    rate: Annotated[int, Option(min=1, help="Frame rate of a folder without timecodes.txt.")] = 24,
    parts: Annotated[bool, Option("--parts", help="Also write NAME_matte and NAME_foreground.")] = False,
    refine: common.Refine = False,
    drop_specks: common.Specks = 0.0,
    batch_size: Annotated[int, Option(min=1, help="Frames per forward pass.")] = 1,
    short_side: common.ShortSide = None,
    device: common.Device = None,
    backend: common.Backend = "auto",
    dtype: common.Dtype = "float32",
    strict: Annotated[bool, Option("--strict", help="Refuse a damaged clip instead of keeping a part.")] = False,
    model: common.Model = paths.PRETRAINED,
) -> None:
    """Cut people out of a clip, or give them another background.

    Exit codes: 0 success, 1 nothing was written, 3 parts of the clip could not be read (listed at the end).
    """
    from modnet_lib.inference.video import matte_video

    settings = {"background": background, "batch_size": batch_size, "limit": frames, "resume": True, "parts": parts}
    settings |= {"threshold": threshold if ofd else 1.0, "track": bar(target.name), "strict": strict, "rate": rate}
    options = {"device": device, "short_side": short_side, "refine": refine, "specks": drop_specks}
    matter, start = open_matter(model, backend, dtype, **options), time.perf_counter()
    repaired, damage = matte_video(matter, source, target, **settings)
    say(f"{target}: {len(repaired)} frames, {len(repaired) / (time.perf_counter() - start):.1f} a second")
    if ofd:
        say(f"the one-frame delay repaired {100 * sum(repaired) / len(repaired):.2f} % of the pixels")
    for problem in damage:
        say(f"{source}: {problem}", "red", errors)
    if damage:
        raise typer.Exit(3)


def export(
    target: Annotated[Path, Argument(help="FILE.onnx")],
    model: common.Model = paths.PRETRAINED,
    image: Annotated[list[Path] | None, Option(help="Compare on this picture as well; may be repeated.")] = None,
    size: Annotated[int | None, Option(help="Fixed height and width, such as 512.")] = None,
) -> None:
    """Export the network to ONNX. The copy is compared with the network before it is written.

    The file takes `image`, (batch, 3, height, width) float32, RGB from 0 to 1, height and width multiples of 32, and
    gives `alpha`, (batch, 1, height, width). The file's metadata say the same.
    """
    from modnet_lib.inference.deploy import export_onnx
    from modnet_lib.network import load_checkpoint

    difference = export_onnx(load_checkpoint(model), target, image or (), (size, size) if size else None)
    say(f"{target}: the largest difference of alpha is {difference:.1e}")
