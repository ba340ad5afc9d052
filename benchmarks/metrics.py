"""What measuring costs: pictures of 1080p with the five still-image metrics, the model's time apart.

.venv/bin/python benchmarks/metrics.py [--count 100] [--workers 2]

Pictures are the drawn samples, enlarged and cut to 1920 x 1080; reading is not counted.
"""

import cv2
import typer
from _timing import medians, seconds, show

from modnet_lib.data.readers import Labelled, benchmark
from modnet_lib.evaluation.metrics import METRICS
from modnet_lib.evaluation.protocol import STILL, run_benchmark
from modnet_lib.inference import Matter

WIDTH, HEIGHT = 1920, 1080


def main(count: int = 100, workers: int = 2) -> None:
    """Print both."""
    wide = [
        [cv2.resize(part, (WIDTH, WIDTH))[:HEIGHT] for part in read()[:2]]
        for read in benchmark("samples", count=10).values()
    ]
    readers = {f"{k:03d}": (lambda k=k: Labelled(wide[k % 10][0], wide[k % 10][1], {})) for k in range(count)}
    matter, records = Matter.from_pretrained(short_side=512), []
    total = seconds(lambda: records.extend(run_benchmark(matter, readers, workers=workers, show_progress=False)))
    model = sum(record.seconds for record in records)
    print(f"{count} pictures of {WIDTH} x {HEIGHT}: {total:.0f} s in all, of these {model:.0f} s are the model's")
    matte, truth = matter.alpha(wide[0][0]), wide[0][1] / 255
    times = medians({name: lambda name=name: METRICS[name](matte, truth) for name in STILL}, 7)
    show("one picture", {name: {"ms": value} for name, value in times.items()})


if __name__ == "__main__":
    typer.run(main)
