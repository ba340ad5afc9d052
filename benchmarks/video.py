"""Speed of `matte_video`, end to end and stage by stage, beside the paper's 67 frames a second; memory of a long run.

python benchmarks/video.py speed [--frames 96] [--run float32:1] [--run bfloat16:4] [--clip FILE]
python benchmarks/video.py memory [--frames 10000]

`speed` runs on a GPU if there is one. Without `--clip` it draws a person of 512 x 512 pixels, the paper's size.
`memory` runs 10,000 frames with a stub in the network's place: it is about what decoding, the delay and encoding
hold, not about the network. Both write their part of ``data/results/video_benchmark.json``.
"""

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import drawn_data
import numpy as np
import torch
import typer
from shipped import made_by

from modnet_lib import paths
from modnet_lib.images import read_image
from modnet_lib.inference import Matter
from modnet_lib.inference.deploy import DTYPES
from modnet_lib.inference.edges import clean_foreground
from modnet_lib.inference.media import Clip, write_clip
from modnet_lib.inference.video import matte_video, one_frame_delay
from modnet_lib.network import MODNet

app = typer.Typer(help=__doc__)
RESULT = paths.RESULTS / "video_benchmark.json"
PAPER = 67.0  # frames a second at 512 x 512 on a GTX 1080 Ti, "including data loading"
WARM_UP = 4
RUNS = ["float32:1", "float32:4", "bfloat16:1", "bfloat16:4"]
SAMPLES = 100  # of resident memory in a run


def add(part: str, content: dict[str, Any], what: str, result: Path) -> None:
    """Write a part of the file of results and show it."""
    everything = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    everything[part] = made_by(what + f"; benchmarks/video.py {part}") | content
    result.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(everything[part], indent=1))


def drawn(size: int, count: int) -> list[np.ndarray]:
    """Frames of a person who turns the head."""
    options = ("--size", size, "--clips", 1, "--frames", count)
    folder = drawn_data.draw("spm_video", f"clip_{size}_{count}", *options)
    return [read_image(file) for file in sorted(folder.rglob("*.jpg"))]


def timed(what: Callable[[], object]) -> float:
    """Seconds of one call; a GPU is waited for."""
    start = time.perf_counter()
    what()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def whole_run(
    matter: Matter, batch_size: int, source: Path, target: Path, pictures: list[np.ndarray]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Frames a second of the network alone and of `matte_video`, latency of single frames; and the mattes."""
    count, mattes = len(pictures), list[np.ndarray]()
    batches = [pictures[at : at + batch_size] for at in range(0, count, batch_size)]
    for batch in batches[:WARM_UP]:
        matter.alphas(batch)
    seconds = [timed(lambda batch=batch: mattes.extend(matter.alphas(batch))) for batch in batches]
    whole = partial(matte_video, matter, source, target, batch_size=batch_size, limit=count)
    rates = {
        name: count / timed(partial(whole, background=behind))
        for name, behind in (("on green, clean colours", "green"), ("matte", "matte"))
    }
    row: dict[str, Any] = {"network": count / sum(seconds)}
    row["end_to_end"] = rates
    row["of_the_papers"] = row["end_to_end"]["matte"] / PAPER
    if batch_size == 1:
        row["latency_ms"] = {f"p{p}": 1000 * float(np.percentile(seconds, p)) for p in (50, 95, 99)}
    return row, mattes


@app.command()
def speed(
    frames: int = 96,
    runs: Annotated[list[str], typer.Option("--run", help="Type and batch.")] = RUNS,
    short_side: int = 512,
    clip: Path | None = None,
    output: Path = RESULT,
) -> None:
    """Frames a second of every stage alone and of all together, and the latency of single frames."""
    rows: dict[str, dict[str, Any]] = {}
    exact: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = clip or Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        if clip is None:
            write_clip(source, islice(cycle(drawn(512, 12)), frames))
        pictures = [frame.image for frame in Clip(source, limit=frames)]
        for name in runs:
            kind, size = name.split(":")
            matter = Matter.from_pretrained(short_side=short_side, dtype=DTYPES[kind])
            rows[f"{kind}, batches of {size}"], mattes = whole_run(
                matter, int(size), source, target, pictures
            )
            exact = exact or mattes
            difference = np.abs(np.subtract(mattes, exact)).mean()  # from the mattes of the first run
            rows[f"{kind}, batches of {size}"]["mean_difference"] = float(difference)
        seconds = {
            "decode": timed(lambda: list(Clip(source, limit=frames))),
            "one-frame delay": timed(lambda: list(one_frame_delay(exact))),
            "foreground colours": timed(
                lambda: [clean_foreground(image, alpha) for image, alpha in zip(pictures, exact, strict=True)]
            ),
            "encode": timed(lambda: write_clip(target, iter(pictures))),
        }
    count = len(pictures)
    content: dict[str, Any] = {
        "frames": count,
        "size": list(pictures[0].shape[:2]),
        "stages_frames_per_second": {name: count / value for name, value in seconds.items()},
        "runs": rows,
        "paper_frames_per_second": PAPER,
    }
    what = f"{count} frames, the shipped checkpoint at a short side of {short_side}, "
    capability = torch.backends.cpu.get_cpu_capability()
    add("speed", content, what + f"{torch.get_num_threads()} threads of torch, {capability}", output)


class Stub(Matter):
    """The red channel in the network's place."""

    def __init__(self) -> None:
        super().__init__(MODNet(backbone="mobilenetv3_small_050"), short_side=32, device="cpu")

    def alphas(self, images: Sequence[Any], batch_size: int = 8) -> list[np.ndarray]:
        return [image[..., 0].astype(np.float32) / 255 for image in images]


@app.command()
def memory(frames: int = 10_000, size: int = 256, output: Path = RESULT) -> None:
    """Resident memory while a long clip goes through: it must not grow."""
    scene = np.random.default_rng(0).integers(0, 160, (size, size, 3), dtype=np.uint8)
    scene = cv2.GaussianBlur(scene, (0, 0), 3)  # noise would make the encoder the whole run
    samples: list[tuple[int, float]] = []

    def pictures() -> Iterator[np.ndarray]:
        for number in range(frames):
            picture = scene.copy()
            at = number % (size // 2)
            picture[size // 4 :, at : at + size // 3, 0] = 255
            yield picture

    def noted(ready: Iterable[Any], total: int | None) -> Iterator[Any]:
        for done, each in enumerate(ready, 1):
            if done % max(1, frames // SAMPLES) == 0:
                with open("/proc/self/statm", encoding="ascii") as file:
                    samples.append((done, int(file.read().split()[1]) * resource.getpagesize() / 2**20))
            yield each

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.mp4"
        write_clip(source, pictures(), rate=25)
        repaired = matte_video(Stub(), source, Path(folder) / "out.mp4", batch_size=4, track=noted)
    tenth = len(samples) // 10
    mib = np.array([each for _, each in samples])
    content = {
        "frames": len(repaired),
        "all_frames_mib": frames * size * size * 3 / 2**20,  # what would be held if nothing were let go
        "first_tenth_mib": float(mib[:tenth].mean()),
        "second_tenth_mib": float(mib[tenth : 2 * tenth].mean()),
        "last_tenth_mib": float(mib[-tenth:].mean()),
        "resident_mib": [[done, round(each, 1)] for done, each in samples],
    }
    add(
        "memory",
        content,
        f"{frames} frames of {size} x {size}, a stub in the network's place, on green",
        output,
    )


if __name__ == "__main__":
    app()
