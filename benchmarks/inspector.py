"""How fast the inspector answers a control that needs no forward pass; 150 ms is the limit.

``.venv/bin/python benchmarks/inspector.py [--repeats 7]``, on a drawn person of 512 x 512 and on the same enlarged to
2,048 pixels, the largest upload. Writes ``data/results/inspector_benchmark.json``.
"""

import json
import statistics
import time
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from PIL import Image
from shipped import made_by

from modnet_lib import paths
from modnet_lib.inference import Matter
from modnet_lib.notebook.inspector import MatteInspector

LIMIT = 150  # milliseconds


def main(repeats: Annotated[int, typer.Option(help="Times each control is used.")] = 7) -> None:
    """Write the file."""
    folder = paths.REPOSITORY / "data" / "samples" / "spm"
    picture = np.asarray(Image.open(folder / "image" / "spm_000.jpg").convert("RGB"))
    truth = np.asarray(Image.open(folder / "matte" / "spm_000.png").convert("L"))
    matter, milliseconds = Matter.from_pretrained(), dict[str, dict[str, float]]()
    for side in (512, 2048):
        images = [cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) for one in (picture, truth)]
        inspector = MatteInspector(
            {"384": matter, "192": matter.resized(192)},
            {"a": images[0], "b": images[0][:, ::-1].copy()},
            truths={"a": images[1]},
        )
        milliseconds[f"{side} x {side}"] = measured(inspector, repeats)
    worst = max(value for times in milliseconds.values() for value in times.values())
    what = f"median of {repeats}, milliseconds from a control's change to the new picture; limit {LIMIT}"
    result = {**made_by(what), "limit": LIMIT, "worst": worst, "milliseconds": milliseconds}
    (paths.RESULTS / "inspector_benchmark.json").write_text(
        json.dumps(result, indent=1) + "\n", encoding="utf-8"
    )
    print(json.dumps(result, indent=1))


def measured(inspector: MatteInspector, repeats: int) -> dict[str, float]:
    """Median milliseconds of each control; every forward pass has been made before."""
    i, times = inspector, dict[str, float]()

    def use(name: str, control: Any, first: Any, second: Any) -> None:
        taken = []
        for turn in range(repeats + 1):  # the first computes what is missing
            control.value = first
            started = time.perf_counter()
            control.value = second
            if turn:
                taken.append(1000 * (time.perf_counter() - started))
        times[name] = round(statistics.median(taken), 1)

    use("picture", i.picture, "b", "a")
    for stage in ("input", "semantic", "detail", "cutout", "error"):
        use(f"stage: {stage}", i.stage, "alpha", stage)
    i.stage.value = "cutout"
    use("background", i.background, "white", "green")
    use("zoom", i.zoom, 3, 4)
    use("centre x", i.x, 0.3, 0.6)
    use("beside: input", i.beside, "alpha", "input")
    i.zoom.value = 1
    use("beside: the other model", i.beside, "off", "192")
    i.beside.value = "off"
    use("model", i.model, "192", "384")
    use("disturbance", i.disturbance, "none", "blur")
    use("strength", i.strength, 1, 2)
    return times


if __name__ == "__main__":
    typer.run(main)
