"""What the model card shows: a checkpoint beside the one before, on the same pictures. Set ``MODNET_DATA``.

.venv/bin/python benchmarks/model_card.py measure NEW.safetensors [--old OLD.safetensors] [--name NAME] [--quick]
.venv/bin/python benchmarks/model_card.py picture                       # README's; needs no MODNET_DATA

`measure` writes ``data/results/NAME.json``: IoU at one half, MAD, and MAD in a band around the outline, with paired
95 % intervals over pictures.
"""

import csv
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
import typer
from _timing import save
from PIL import Image

from modnet_lib import paths
from modnet_lib.data.manifest import find_source, held_out_backgrounds
from modnet_lib.data.readers import Labelled, benchmark
from modnet_lib.devices import resize
from modnet_lib.evaluation.metrics import iou, mad, unit
from modnet_lib.evaluation.robustness import degrade
from modnet_lib.evaluation.statistics import paired_difference
from modnet_lib.images import read_image, to_bytes, to_tensor
from modnet_lib.inference import Matter
from modnet_lib.network import MODNet
from modnet_lib.notebook.portraits import portraits
from modnet_lib.objectives.supervised import semantic_target
from modnet_lib.profiles import DataConfig

app = typer.Typer(help=__doc__)
SIDE, PEOPLE, WORSE_CAMERAS = 384, "people:validation", (("noise", 25), ("blur", 8), ("jpeg", 10))
Pictures = Iterable[tuple[str, Labelled]]


def errors(matte: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """IoU at one half, MAD, and MAD in the band around the outline: 25 pixels wide at the picture's own size."""
    kernel, truth = np.ones((25, 25), np.uint8), unit(truth)
    outer = cv2.dilate((truth > 0.05).astype(np.uint8), kernel)
    band = (outer - cv2.erode((truth > 0.95).astype(np.uint8), kernel)) == 1
    return {"iou": iou(matte, truth), "mad": mad(matte, truth), "band": mad(matte, truth, band) if band.any() else 0.0}


@cache
def index() -> dict[str, dict[str, str]]:
    """What ``people`` says of each picture."""
    with (find_source("people").root() / "index.csv").open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def kinds(name: str) -> list[str]:
    """Groups that a picture of ``people`` is in: its second opinion, its framing, and ``grey``."""
    row = index()[name]
    return [f"mask: {row['mask'] or 'none'}", row["kind"], *["grey"] * (row["grey"] == "1")]


def labelled(name: str, count: int | None = None) -> list[tuple[str, Labelled]]:
    """Pictures of a benchmark, the first `count`."""
    return [(key, read()) for key, read in benchmark(name, count=count).items()]


def beside(
    matters: list[Matter], pictures: Pictures, groups: Callable[[str], list[str]] = lambda _: []
) -> dict[str, Any]:
    """Errors of both checkpoints on the same pictures, all and by group."""
    rows = {name: [errors(matter.alpha(one.image), one.alpha) for matter in matters] for name, one in pictures}
    members: dict[str, list[str]] = {"all": list(rows)}
    for name in rows:
        for group in groups(name):
            members.setdefault(group, []).append(name)
    result: dict[str, Any] = {}
    for group, names in members.items():
        result[group] = {"pictures": len(names)}
        for metric in ("iou", "mad", "band"):
            old, new = np.array([[rows[name][m][metric] for name in names] for m in (0, -1)])
            result[group][metric] = {
                "old": [old.mean(), np.median(old)],
                "new": [new.mean(), np.median(new)],
                "change": list(paired_difference(old[None], new[None])),
            }
    worst = sorted(rows, key=lambda name: -rows[name][-1]["mad"])[:20]
    return result | {"worst": {name: rows[name][-1]["mad"] for name in worst}}


@torch.no_grad()
def semantic_error(network: MODNet, pictures: Pictures, side: int = 256) -> float:
    """Mean squared error of s_p against G(alpha_g) of Eq. 2, without a refitted head."""
    found = []
    for _, one in pictures:
        small, truth = (resize(to_tensor(part), side, side) for part in (one.image, one.alpha))
        semantic = network.eval()(small, auxiliary=True).semantic
        found.append(float((semantic - semantic_target(truth)).square().mean()))
    return float(np.mean(found))


@app.command()
def measure(
    new: Path, old: Path = paths.PRETRAINED, name: str = "model_card", quick: bool = False, count: int = 100
) -> None:
    """Measure two checkpoints on `count` pictures of every held-out set; `quick` leaves out 512 and worse cameras."""
    matters = [Matter.from_pretrained(path, short_side=SIDE) for path in (old, new)]
    larger = [matter.resized(512) for matter in matters]
    people = labelled(PEOPLE, count)
    result: dict[str, Any] = {"people": beside(matters, people, kinds)}
    for source in ("ccp", "spm100"):
        pictures = labelled(source, count)
        result[source] = beside(matters, pictures)
        for kind, level in () if quick else WORSE_CAMERAS:
            worse = ((key, degrade(one, kind, level)) for key, one in pictures[:40])
            result[f"{source}, {kind} {level}"] = beside(matters, worse)
    result["semantic"] = [semantic_error(cast(MODNet, matter.network), pictures) for matter in matters]
    if not quick:
        result["spm100 at 512"], result["people at 512"] = (beside(larger, some) for some in (pictures, people))
    nobody = [[float(m.alpha(read_image(file)).mean()) for m in matters] for file in held_out_backgrounds()[:count]]
    result["nobody"] = {"mean": np.mean(nobody, axis=0).tolist(), "most": np.max(nobody, axis=0).tolist()}
    what = f"{new.name} against {old.name}, short side {SIDE}: {len(people)} people, {count} photographs of CCP, "
    what += f"SPM-100, {len(nobody)} backgrounds; benchmarks/model_card.py measure"
    save(name, what, result)


@app.command()
def picture(output: Path = paths.NOTEBOOKS / "figures" / "astronaut.jpg") -> None:
    """Photograph, matte and cut-out side by side, by the checkpoint that ships."""
    photograph = portraits(DataConfig())["astronaut"][:360, :360]
    matter = Matter.from_pretrained(device="cpu")
    matte = np.repeat(to_bytes(matter.alpha(photograph))[..., None], 3, axis=2)
    row = np.hstack([photograph, matte, np.asarray(matter.composite(photograph, "#3b5b7a"))])
    Image.fromarray(row).save(output, quality=88, optimize=True)


if __name__ == "__main__":
    app()
