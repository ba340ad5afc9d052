"""Everything that the model card shows: a checkpoint beside the one before, on the same pictures. Set ``MODNET_DATA``.

.venv/bin/python benchmarks/model_card.py measure NEW.safetensors [--old OLD.safetensors] [--name NAME] [--quick]
.venv/bin/python benchmarks/model_card.py masks RUN                     # of a finished pre-training
.venv/bin/python benchmarks/model_card.py worst NEW.safetensors OUT.jpg [--count 20]    # to look at; never committed

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
from PIL import Image
from safetensors import safe_open

from modnet_lib import paths
from modnet_lib.data.manifest import find_source, held_out_backgrounds
from modnet_lib.data.readers import benchmark
from modnet_lib.evaluation.robustness import KINDS
from modnet_lib.evaluation.statistics import paired_difference
from modnet_lib.files import write_json
from modnet_lib.images import read_image, to_tensor
from modnet_lib.inference import Matter
from modnet_lib.inference.matter import enlarge, network_size, resize
from modnet_lib.network import MODNet, Segmenter, create_backbone
from modnet_lib.objectives.supervised import semantic_target
from modnet_lib.provenance import recorded

app = typer.Typer(help=__doc__)
SIDE, PEOPLE, WORSE_CAMERAS = 384, "people:validation", (("noise", 25), ("blur", 8), ("jpeg", 10))
Labelled = tuple[str, np.ndarray, np.ndarray]  # name, (H, W, 3) uint8, alpha (H, W) in [0, 1]
File = Annotated[Path, typer.Argument(help="A checkpoint.")]


def errors(matte: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """IoU at one half, MAD, and MAD in the band around the outline: 25 pixels wide at the picture's own size."""
    kernel = np.ones((25, 25), np.uint8)
    outer, inner = (
        op((truth > level).astype(np.uint8), kernel) for op, level in ((cv2.dilate, 0.05), (cv2.erode, 0.95))
    )
    band, apart = (outer > 0) & (inner == 0), np.abs(matte - truth)
    found, person = matte > 0.5, truth > 0.5
    union = (found | person).sum()
    return {
        "iou": float((found & person).sum() / union) if union else 1.0,
        "mad": float(apart.mean()),
        "band": float(apart[band].mean()) if band.any() else 0.0,
    }


@cache
def index() -> dict[str, dict[str, str]]:
    """What ``people`` says of each picture."""
    with (find_source("people").root() / "index.csv").open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def kinds(name: str) -> list[str]:
    """Groups that a picture of ``people`` is in: its second opinion, its framing, and ``grey``."""
    row = index()[name]
    return [f"mask: {row['mask'] or 'none'}", row["kind"], *["grey"] * (row["grey"] == "1")]


def labelled(name: str, count: int | None = None) -> list[Labelled]:
    """Pictures of a benchmark, the first `count`."""
    found = ((key, read()) for key, read in benchmark(name, count=count).items())
    return [
        (key, one.image, one.alpha / 255 if one.alpha.dtype == np.uint8 else one.alpha) for key, one in found
    ]


def beside(
    matters: list[Matter], pictures: Iterable[Labelled], groups: Callable[[str], list[str]] = lambda _: []
) -> dict[str, Any]:
    """Errors of both checkpoints on the same pictures, all and by group."""
    rows = [
        (name, [errors(matter.alpha(image), truth) for matter in matters]) for name, image, truth in pictures
    ]
    members: dict[str, list[int]] = {"all": list(range(len(rows)))}
    for number, (name, _) in enumerate(rows):
        for group in groups(name):
            members.setdefault(group, []).append(number)
    result: dict[str, Any] = {}
    for group, numbers in members.items():
        result[group] = {"pictures": len(numbers)}
        for metric in ("iou", "mad", "band"):
            old, new = np.array([[rows[k][1][m][metric] for k in numbers] for m in (0, -1)])
            change = paired_difference(old[None], new[None])
            result[group][metric] = {
                "old": [old.mean(), np.median(old)],
                "new": [new.mean(), np.median(new)],
                "change": [change.mean, change.low, change.high],
            }
    worst = sorted(rows, key=lambda row: -row[1][-1]["mad"])[:20]
    return result | {"worst": {name: ones[-1]["mad"] for name, ones in worst}}


@torch.no_grad()
def semantic_error(network: MODNet, pictures: Iterable[Labelled], side: int = 256) -> float:
    """Mean squared error of s_p against G(alpha_g) of Eq. 2, without a refitted head."""
    found = []
    for _, image, truth in pictures:
        small = resize(to_tensor(image), side, side)
        target = semantic_target(resize(to_tensor((truth * 255).astype(np.uint8)), side, side))
        semantic = network.eval()(small, auxiliary=True).semantic
        found.append(float((semantic - target).square().mean()))
    return float(np.mean(found))


@app.command()
def measure(
    new: File,
    old: Annotated[Path, typer.Option(help="The checkpoint to compare with.")] = paths.PRETRAINED,
    name: Annotated[str, typer.Option(help="Of the file in data/results.")] = "model_card",
    quick: Annotated[bool, typer.Option(help="Without 512 pixels and worse cameras.")] = False,
) -> None:
    """Measure two checkpoints on every held-out set."""
    matters = [Matter.from_pretrained(path, short_side=SIDE) for path in (old, new)]
    result: dict[str, Any] = {"people": beside(matters, labelled(PEOPLE), kinds)}
    print(json.dumps(result["people"]["all"], indent=1), flush=True)
    for source, count in (("ccp", 100), ("spm100", 100)):
        pictures = labelled(source, count)
        result[source] = beside(matters, pictures)
        print(source, json.dumps(result[source]["all"]["mad"]), flush=True)
        for kind, level in () if quick else WORSE_CAMERAS:
            worse = ((key, KINDS[kind](image, level), truth) for key, image, truth in pictures[:40])
            result[f"{source}, {kind} {level}"] = beside(matters, worse)
        if source == "spm100":
            result["semantic"] = [
                semantic_error(cast(MODNet, matter.network), pictures) for matter in matters
            ]
            if not quick:
                larger = [matter.resized(512) for matter in matters]
                result["spm100 at 512"] = beside(larger, pictures)
                result["people at 512"] = beside(larger, labelled(PEOPLE))
    nobody = [[float(m.alpha(read_image(file)).mean()) for m in matters] for file in held_out_backgrounds()]
    result["nobody"] = {"mean": np.mean(nobody, axis=0).tolist(), "most": np.max(nobody, axis=0).tolist()}
    what = (
        f"{new.name} against {old.name}, short side {SIDE}: 99 people, 100 photographs of CCP, SPM-100, "
        f"{len(nobody)} backgrounds; benchmarks/model_card.py measure"
    )
    write_json(
        paths.RESULTS / f"{name}.json",
        recorded(what, device=str(next(matters[1].network.parameters()).device), precision="float32", seed=0)
        | json.loads(json.dumps(result), parse_float=lambda text: round(float(text), 5)),
        indent=1,
    )
    print(json.dumps({key: result[key] for key in ("semantic", "nobody")}))


@app.command()
@torch.no_grad()
def masks(
    run: Annotated[Path, typer.Argument(help="The folder of a pre-training.")], side: int = 256
) -> None:
    """IoU of the masks of a pre-training's averaged network, and its curve: data/results/overnight_pretraining.json."""
    network = Segmenter(create_backbone("mobilenet_v2")).eval()
    averaged = torch.load(run / "state.pt", weights_only=True)["averaged"]
    averaged = {key.removeprefix("module."): value for key, value in averaged.items()}
    averaged.pop("n_averaged", None)
    network.load_state_dict(averaged)
    found: dict[str, list[float]] = {}
    for name, image, truth in labelled(PEOPLE):
        small = resize(to_tensor(image), *network_size(truth.shape[0], truth.shape[1], side))
        iou = errors(enlarge(network(small).alpha, truth.shape), truth)["iou"]
        for group in ("all", *kinds(name)):
            found.setdefault(group, []).append(iou)
    with safe_open(run / "backbone.safetensors", "pt") as file:
        trained = file.metadata()
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    result = recorded(
        f"masks of the averaged network at a short side of {side}, cut at one half, on {len(found['all'])} held-out "
        "people; benchmarks/model_card.py masks",
        device="cpu",
        precision="float32",
        seed=0,
    ) | {
        "training": json.loads(trained["provenance"]) | {"identity": trained["identity"]},
        "iou": {
            group: {
                "pictures": len(ones),
                "mean": round(np.mean(ones), 4),
                "median": round(np.median(ones), 4),
            }
            for group, ones in found.items()
        },
        "curve": {
            str(steps[end - 1]["step"]): round(np.mean([step["loss"] for step in steps[end - 100 : end]]), 5)
            for end in range(100, len(steps) + 1, 100)
        },
    }
    write_json(paths.RESULTS / "overnight_pretraining.json", result, indent=1)


@app.command()
def worst(new: File, output: Path, count: int = 20, source: str = PEOPLE) -> None:
    """Draw the worst mattes beside picture and truth."""
    matter, height, tiles = Matter.from_pretrained(new, short_side=SIDE), 260, []
    for _, image, truth in labelled(source, 100):
        matte = matter.alpha(image)
        parts = (image, *(np.repeat((one * 255).astype(np.uint8)[..., None], 3, 2) for one in (matte, truth)))
        tile = Image.fromarray(np.hstack(parts))
        tiles.append((errors(matte, truth)["mad"], tile.resize((tile.width * height // tile.height, height))))
    tiles.sort(key=lambda pair: -pair[0])
    chosen = [tile for _, tile in tiles[:count]]
    width = 3 * 360
    sheet = Image.new("RGB", (2 * width, height * -(-len(chosen) // 2)))
    for number, tile in enumerate(chosen):
        sheet.paste(
            tile.crop((0, 0, min(tile.width, width), height)), (number % 2 * width, number // 2 * height)
        )
    sheet.save(output, quality=88)


if __name__ == "__main__":
    app()
