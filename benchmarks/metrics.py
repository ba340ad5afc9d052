"""What measuring costs: 100 pictures of 1080p with the five still-image metrics, the model's time apart.

.venv/bin/python benchmarks/metrics.py [--count 100] [--processes 2]

Pictures are the first of SPM-100, enlarged and cut to 1920 x 1080; reading is not counted. Also: each metric on one
picture, in one process, and the four that have a batched version on the device, if there is a GPU.
"""

import statistics
import time
from typing import Annotated

import cv2
import torch
import typer
from rich.console import Console
from rich.table import Table

from modnet_lib.data.benchmarks import Labelled, benchmark
from modnet_lib.evaluation import metrics
from modnet_lib.evaluation.batched import batched_errors
from modnet_lib.evaluation.benchmark import STILL, run_benchmark
from modnet_lib.inference import Matter

WIDTH, HEIGHT, DISTINCT = 1920, 1080, 10


def wide(picture: Labelled) -> Labelled:
    """The picture at 1920 x 1080: as wide, the rest of its height cut off below."""
    parts = [
        cv2.resize(part, (WIDTH, WIDTH), interpolation=cv2.INTER_LINEAR)[:HEIGHT]
        for part in (picture.image, picture.alpha)
    ]
    return Labelled(parts[0], parts[1], picture.strata)


def milliseconds(work, repeats: int = 7) -> float:
    """Median of repeats, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times[1:])


def main(
    count: Annotated[int, typer.Option(help="Pictures.")] = 100,
    processes: Annotated[int, typer.Option(help="That compute metrics beside the model.")] = 2,
) -> None:
    """Print both tables."""
    distinct = [wide(read()) for read in benchmark("samples", count=DISTINCT).values()]
    readers = {f"{k:03d}": (lambda k=k: distinct[k % DISTINCT]) for k in range(count)}
    matter = Matter.from_pretrained().resized(512)
    begin = time.perf_counter()
    records = run_benchmark(matter, readers, processes=processes, show_progress=False)
    total, model = time.perf_counter() - begin, sum(record.seconds for record in records)
    print(
        f"{count} pictures of {WIDTH} x {HEIGHT}: {total:.0f} s in all, of these {model:.0f} s are the model's"
    )

    truth = distinct[0].alpha / 255
    matte = matter.alpha(distinct[0].image)
    table = Table("metric", "one picture, ms")
    for name in STILL:
        table.add_row(name, f"{milliseconds(lambda name=name: metrics.METRICS[name](matte, truth)):.0f}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pair = [torch.from_numpy(part)[None, None].double().to(device) for part in (matte, truth)]
    together = milliseconds(lambda: {k: v.cpu() for k, v in batched_errors(*pair).items()})
    table.add_row(f"mse, mad, sad and grad, batched, {device.type}", f"{together:.0f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
