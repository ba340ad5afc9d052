"""What the model card shows: a checkpoint beside the one before, on the same pictures. Set ``MODNET_DATA``.

.venv/bin/python benchmarks/model_card.py measure NEW.safetensors [--old OLD.safetensors] [--name NAME] [--quick]
.venv/bin/python benchmarks/model_card.py masks RUN                     # of a finished pre-training
.venv/bin/python benchmarks/model_card.py worst NEW.safetensors OUT.jpg [--count 20]    # to look at; never committed
.venv/bin/python benchmarks/model_card.py backgrounds                   # notebook 01, section 7

`measure` writes ``data/results/NAME.json``: IoU at one half, MAD, and MAD in a band around the outline, with paired
95 % intervals over pictures.
"""

import csv
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, cast

import cv2
import numpy as np
import torch
import typer
from _timing import save
from PIL import Image
from safetensors import safe_open

from modnet_lib import paths
from modnet_lib.data.compositing import background_versions
from modnet_lib.data.manifest import find_source, held_out_backgrounds
from modnet_lib.data.readers import Labelled, benchmark
from modnet_lib.devices import resize
from modnet_lib.evaluation.metrics import iou, mad, unit
from modnet_lib.evaluation.protocol import evaluate
from modnet_lib.evaluation.records import mean_errors
from modnet_lib.evaluation.robustness import degrade
from modnet_lib.evaluation.statistics import paired_difference
from modnet_lib.images import read_image, to_tensor
from modnet_lib.inference import Matter
from modnet_lib.inference.matter import enlarge, network_size
from modnet_lib.network import MODNet, Segmenter, create_backbone
from modnet_lib.objectives.supervised import semantic_target
from modnet_lib.profiles import DataConfig
from modnet_lib.training.validation import validation_data

app = typer.Typer(help=__doc__)
SIDE, PEOPLE, WORSE_CAMERAS = 384, "people:validation", (("noise", 25), ("blur", 8), ("jpeg", 10))
Pictures = Iterable[tuple[str, Labelled]]
File = Annotated[Path, typer.Argument(help="A checkpoint.")]


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
    new: File,
    old: Annotated[Path, typer.Option(help="The checkpoint to compare with.")] = paths.PRETRAINED,
    name: Annotated[str, typer.Option(help="Of the file in data/results.")] = "model_card",
    quick: Annotated[bool, typer.Option(help="Without 512 pixels and worse cameras.")] = False,
    count: Annotated[int, typer.Option(help="Pictures of each set.")] = 100,
) -> None:
    """Measure two checkpoints on every held-out set."""
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
@torch.no_grad()
def masks(
    run: Annotated[Path, typer.Argument(help="The folder of a pre-training.")],
    side: int = 256,
    name: str = "overnight_pretraining",
    count: int | None = None,
) -> None:
    """IoU of the masks of a pre-training's averaged network, and its curve: data/results/NAME.json."""
    network = Segmenter(create_backbone("mobilenet_v2")).eval()
    averaged = torch.load(run / "state.pt", weights_only=True)["averaged"]
    averaged.pop("n_averaged", None)
    network.load_state_dict({key.removeprefix("module."): value for key, value in averaged.items()})
    found: dict[str, list[float]] = {}
    for picture, (image, truth, _) in labelled(PEOPLE, count):
        small = resize(to_tensor(image), *network_size(truth.shape[0], truth.shape[1], side))
        for group in ("all", *kinds(picture)):
            found.setdefault(group, []).append(iou(enlarge(network(small).alpha, truth.shape), unit(truth)))
    with safe_open(run / "backbone.safetensors", "pt") as file:
        trained = file.metadata()
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    what = f"masks of the averaged network at a short side of {side}, cut at one half, on {len(found['all'])} held-out "
    content = {
        "training": json.loads(trained["provenance"]) | {"identity": trained["identity"]},
        "iou": {
            group: {"pictures": len(ones), "mean": np.mean(ones), "median": np.median(ones)}
            for group, ones in found.items()
        },
        "curve": {
            str(steps[end - 1]["step"]): np.mean([step["loss"] for step in steps[end - 100 : end]])
            for end in range(100, len(steps) + 1, 100)
        },
    }
    save(name, what + "people; benchmarks/model_card.py masks", content)


@app.command()
def worst(new: File, output: Path, count: int = 20, source: str = PEOPLE) -> None:
    """Draw the worst mattes beside picture and truth."""
    matter, width, height, tiles = Matter.from_pretrained(new, short_side=SIDE), 3 * 360, 260, []
    for _, (image, truth, _) in labelled(source, 100):
        matte = matter.alpha(image)
        greys = (np.repeat((one * 255).astype(np.uint8)[..., None], 3, 2) for one in (matte, unit(truth)))
        tile = Image.fromarray(np.hstack([image, *greys]))
        tile = tile.resize((tile.width * height // tile.height, height))
        tiles.append((errors(matte, truth)["mad"], tile.crop((0, 0, min(tile.width, width), height))))
    chosen = sorted(tiles, key=lambda pair: -pair[0])[:count]
    sheet = Image.new("RGB", (2 * width, height * -(-len(chosen) // 2)))
    for number, (_, tile) in enumerate(chosen):
        sheet.paste(tile, (number % 2 * width, number // 2 * height))
    sheet.save(output, quality=88)


@app.command()
def backgrounds(count: int = 100, output: str = "01_dataset_compositing") -> None:
    """Errors of the same people before five kinds of background, and the changes with 95 % intervals."""
    samples = validation_data(DataConfig(real=True), count)
    scenes = [read_image(file) for file in held_out_backgrounds()]
    matter, found = Matter.from_pretrained(), dict[str, list[dict[str, float]]]()
    for number, (name, sample) in enumerate(samples):
        others = [scenes[(2 * number + k) % len(scenes)] for k in (0, 1)]
        for way, images in background_versions(sample, others).items():
            records = evaluate(matter.alpha, [(name, image, sample.alpha) for image in images])
            found.setdefault(way, []).append(mean_errors(records))
    values = {
        f"{way.replace(' ', '_')}_{metric}": np.mean([one[metric] for one in each])
        for way, each in found.items()
        for metric in each[0]
    }
    squared = {way: np.array([[one["mse"] for one in each]]) for way, each in found.items()}
    steps = {"natural": ["own scene"], "own scene": ["other scenes", "own scene blurred"]}
    steps |= {"other scenes": ["other scenes blurred"]}
    changes = [
        {"from": before, "to": after, **paired_difference(squared[before], squared[after])._asdict()}
        | {"photographs_with_more_error": int((squared[after] > squared[before]).sum())}
        for before, afters in steps.items()
        for after in afters
    ]
    what = f"section 7: {len(samples)} validation photographs of Clothing-Co-Parsing (pseudo-mattes), {len(scenes)} "
    what += "people-free photographs as other scenes, the shipped checkpoint at its short side of "
    what += f"{matter.short_side}, resampling seed 0; benchmarks/model_card.py backgrounds"
    save(output, what, {"squared_error_changes": changes}, values=values)


if __name__ == "__main__":
    app()
