"""Speed of `matte_video`, end to end and stage by stage, beside the paper's 67 frames a second; memory of a long run.

.venv/bin/python benchmarks/video.py speed [--frames 96] [--run float32:1] [--run bfloat16:4] [--clip FILE]
.venv/bin/python benchmarks/video.py memory [--frames 10000]

Without `--clip`, `speed` draws a person of 512 x 512 pixels, the paper's size. `memory` uses a stub instead of the
network: it measures what decoding, the delay and encoding hold. Both write their part of ``data/results/OUTPUT.json``.
"""

import resource
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import typer
from _timing import NAME, draw, save, seconds

from modnet_lib.images import read_image
from modnet_lib.inference import Matter
from modnet_lib.inference.deploy import DTYPES
from modnet_lib.inference.edges import clean_foreground
from modnet_lib.inference.encode import write_clip
from modnet_lib.inference.media import Clip
from modnet_lib.inference.video import matte_video, one_frame_delay
from modnet_lib.network import MODNet

app = typer.Typer(help=__doc__)
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


@app.command()
def speed(
    frames: int = 96,
    runs: Annotated[list[str], typer.Option("--run", help="Type and batch.")] = RUNS,
    short_side: int = 512,
    clip: Path | None = None,
    output: str = "video_benchmark",
) -> None:
    """Frames a second of every stage alone and of all together, and the latency of single frames."""
    rows: dict[str, dict[str, Any]] = {}
    exact: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = clip or Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        if clip is None:
            drawn = draw("spm_video", "clip_512_12", "--size", 512, "--clips", 1, "--frames", 12)
            files = sorted(drawn.rglob("*.jpg"))
            write_clip(source, islice(cycle([read_image(file) for file in files]), frames))
        pictures = [frame.image for frame in Clip(source, limit=frames)]
        for name in runs:
            kind, size = name.split(":")
            matter = Matter.from_pretrained(short_side=short_side, dtype=DTYPES[kind])
            row, mattes = whole_run(matter, int(size), source, target, pictures)
            exact = exact or mattes
            difference = float(np.abs(np.subtract(mattes, exact)).mean())  # from the mattes of the first run
            rows[f"{kind}, batches of {size}"] = row | {"mean_difference": difference}
        pairs = list(zip(pictures, exact, strict=True))
        stages = {
            "decode": lambda: list(Clip(source, limit=frames)),
            "one-frame delay": lambda: list(one_frame_delay(exact)),
            "foreground colours": lambda: [clean_foreground(image, alpha) for image, alpha in pairs],
            "encode": lambda: write_clip(target, iter(pictures)),
        }
        rates = {name: len(pictures) / seconds(work) for name, work in stages.items()}
    content = {"frames": len(pictures), "size": list(pictures[0].shape[:2])}
    content |= {"stages_frames_per_second": rates, "runs": rows, "paper_frames_per_second": PAPER}
    what = f"{len(pictures)} frames, the shipped checkpoint at a short side of {short_side}, {NAME}, "
    what += f"{torch.backends.cpu.get_cpu_capability()}; benchmarks/video.py speed"
    save(output, what, content, part="speed")


class Stub(Matter):
    """The red channel instead of a network."""

    def __init__(self) -> None:
        super().__init__(MODNet(backbone="mobilenetv3_small_050"), short_side=32, device="cpu")

    def alphas(self, images: Sequence[Any], batch_size: int = 8) -> list[np.ndarray]:
        return [image[..., 0].astype(np.float32) / 255 for image in images]


@app.command()
def memory(frames: int = 10_000, size: int = 256, output: str = "video_benchmark") -> None:
    """Resident memory while a long clip goes through: it must not grow."""
    scene = np.random.default_rng(0).integers(0, 160, (size, size, 3), dtype=np.uint8)
    scene = cv2.GaussianBlur(scene, (0, 0), 3)  # noise would make the encoder the whole run
    samples: list[tuple[int, float]] = []

    def pictures() -> Iterator[np.ndarray]:
        for number in range(frames):
            picture, at = scene.copy(), number % (size // 2)
            picture[size // 4 :, at : at + size // 3, 0] = 255
            yield picture

    def noted(ready: Iterable[Any], total: int | None) -> Iterator[Any]:
        for done, each in enumerate(ready, 1):
            if done % max(1, frames // 100) == 0:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                samples.append((done, round(pages * resource.getpagesize() / 2**20, 1)))
            yield each

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.mp4"
        write_clip(source, pictures(), rate=25)
        repaired, _ = matte_video(Stub(), source, Path(folder) / "out.mp4", batch_size=4, track=noted)
    tenth, mib = len(samples) // 10, np.array([each for _, each in samples])
    parts = {"first": mib[:tenth], "second": mib[tenth : 2 * tenth], "last": mib[-tenth:]}
    content = {"frames": len(repaired), "all_frames_mib": frames * size * size * 3 / 2**20}
    content |= {f"{name}_tenth_mib": float(part.mean()) for name, part in parts.items()}
    what = f"{frames} frames of {size} x {size}, a stub instead of the network, on green; benchmarks/video.py memory"
    save(output, what, content | {"resident_mib": samples}, part="memory")


if __name__ == "__main__":
    app()
