"""Speed of `matte_video`, end to end and stage by stage, beside the paper's 67 frames a second.

.venv/bin/python benchmarks/video.py [--frames 96] [--run float32:1] [--run bfloat16:4] [--clip FILE]

Without `--clip` it draws a person of 512 x 512 pixels, the paper's size. A part of ``data/results/OUTPUT.json``; the
other, ``memory``, was recorded at commit 9f22d37.
"""

import tempfile
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from _timing import NAME, save, seconds

from modnet_lib import paths
from modnet_lib.images import read_image
from modnet_lib.inference import Matter
from modnet_lib.inference.deploy import DTYPES
from modnet_lib.inference.edges import clean_foreground
from modnet_lib.inference.encode import write_clip
from modnet_lib.inference.media import Clip
from modnet_lib.inference.video import matte_video, one_frame_delay
from modnet_lib.notebook.portraits import draw

PAPER = 67.0  # frames a second at 512 x 512 on a GTX 1080 Ti, "including data loading"
RUNS = ["float32:1", "float32:4", "bfloat16:1", "bfloat16:4"]


def whole_run(
    matter: Matter, size: int, source: Path, target: Path, pictures: list[np.ndarray]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Frames a second of the network alone and of `matte_video`, latency of single frames; and the mattes."""
    count, mattes = len(pictures), list[np.ndarray]()
    batches = [pictures[at : at + size] for at in range(0, count, size)]
    for batch in batches[:4]:
        matter.alphas(batch)
    times = [seconds(lambda batch=batch: mattes.extend(matter.alphas(batch))) for batch in batches]
    rates = {}
    for name, behind in (("on green, clean colours", "green"), ("matte", "matte")):
        whole = partial(matte_video, matter, source, target, batch_size=size, limit=count, background=behind)
        rates[name] = count / seconds(whole)
    row = {"network": count / sum(times), "end_to_end": rates, "of_the_papers": rates["matte"] / PAPER}
    if size == 1:
        row["latency_ms"] = {f"p{p}": 1000 * float(np.percentile(times, p)) for p in (50, 95, 99)}
    return row, mattes


def main(
    frames: int = 96,
    runs: Annotated[list[str], typer.Option("--run", help="Type and batch.")] = RUNS,
    short_side: int = 512,
    clip: Path | None = None,
    output: str = "video_benchmark",
) -> None:
    """Frames a second of every stage alone and of all together, and the latency of single frames."""
    rows, exact = dict[str, dict[str, Any]](), list[np.ndarray]()
    with tempfile.TemporaryDirectory() as folder:
        source, target = clip or Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        if clip is None:
            drawn = draw("spm_video", paths.RUNS / "drawn" / "clip_512_12", "--size", 512, "--clips", 1, "--frames", 12)
            files = sorted(drawn.rglob("*.jpg"))
            write_clip(source, islice(cycle([read_image(file) for file in files]), frames))
        pictures = [frame.image for frame in islice(Clip(source), frames)]
        for name in runs:
            kind, size = name.split(":")
            matter = Matter.from_pretrained(short_side=short_side, dtype=DTYPES[kind])
            row, mattes = whole_run(matter, int(size), source, target, pictures)
            exact = exact or mattes
            difference = float(np.abs(np.subtract(mattes, exact)).mean())  # from the mattes of the first run
            rows[f"{kind}, batches of {size}"] = row | {"mean_difference": difference}
        pairs = list(zip(pictures, exact, strict=True))
        stages = {
            "decode": lambda: list(islice(Clip(source), frames)),
            "one-frame delay": lambda: list(one_frame_delay(exact)),
            "foreground colours": lambda: [clean_foreground(image, alpha) for image, alpha in pairs],
            "encode": lambda: write_clip(target, iter(pictures)),
        }
        rates = {name: len(pictures) / seconds(work) for name, work in stages.items()}
    content = {"frames": len(pictures), "size": list(pictures[0].shape[:2])}
    content |= {"stages_frames_per_second": rates, "runs": rows, "paper_frames_per_second": PAPER}
    what = f"{len(pictures)} frames, the shipped checkpoint at a short side of {short_side}, {NAME}, "
    what += f"{torch.backends.cpu.get_cpu_capability()}; benchmarks/video.py"
    save(output, what, content, part="speed")


if __name__ == "__main__":
    typer.run(main)
