"""What measuring costs: 100 pictures of 1080p with the five still-image metrics, the model's time apart.

.venv/bin/python benchmarks/metrics.py [--count 100] [--workers 2]

Pictures are the first of SPM-100, enlarged and cut to 1920 x 1080; reading is not counted. Also: each metric on one
picture.
"""

import statistics
import time
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.table import Table

from modnet_lib.data.readers import Labelled, benchmark
from modnet_lib.evaluation import metrics
from modnet_lib.evaluation.protocol import STILL, run_benchmark
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
    workers: Annotated[int, typer.Option(help="Threads that compute metrics beside the model.")] = 2,
) -> None:
    """Print both tables."""
    distinct = [wide(read()) for read in benchmark("samples", count=DISTINCT).values()]
    readers = {f"{k:03d}": (lambda k=k: distinct[k % DISTINCT]) for k in range(count)}
    matter = Matter.from_pretrained().resized(512)
    begin = time.perf_counter()
    records = run_benchmark(matter, readers, workers=workers, show_progress=False)
    total, model = time.perf_counter() - begin, sum(record.seconds for record in records)
    print(
        f"{count} pictures of {WIDTH} x {HEIGHT}: {total:.0f} s in all, of these {model:.0f} s are the model's"
    )

    truth = distinct[0].alpha / 255
    matte = matter.alpha(distinct[0].image)
    table = Table("metric", "one picture, ms")
    for name in STILL:
        table.add_row(name, f"{milliseconds(lambda name=name: metrics.METRICS[name](matte, truth)):.0f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
