"""The recorded run of notebook 08: flicker on SPM-video, a fixed camera, real clips. Resumable.

python data/drawn_people spm_video FOLDER
python benchmarks/flicker.py spm-video FOLDER     # flicker, OFD against threshold and against plain filters
modnet train data/results/08_fixed_camera_bm.yaml --folder runs/bm
python benchmarks/flicker.py fixed-camera --bm runs/bm/modnet.safetensors  # Fig. 9: a car drives by
python benchmarks/flicker.py real-clips           # Fig. 7 on the clips below $MODNET_DATA/videos; numbers only

Each adds its part to ``data/results/08_ofd_video_demo.json``. Mattes of the network are kept in ``runs/flicker``.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import drawn_data
import numpy as np
import torch
import typer
from PIL import Image
from shipped import made_by

from modnet_lib import paths
from modnet_lib.baselines import load_network
from modnet_lib.baselines.bm import background_difference
from modnet_lib.evaluation import flicker
from modnet_lib.files import write_atomically
from modnet_lib.images import read_image, to_bytes, to_tensor
from modnet_lib.inference import Matter
from modnet_lib.inference.media import Clip
from modnet_lib.network import load_checkpoint
from modnet_lib.notebook.figures import as_pixels
from modnet_lib.training.adaptation import PRESETS, adapt
from modnet_lib.training.frames import find_frames
from modnet_lib.training.semantic_head import with_semantic_head

app = typer.Typer(help=__doc__)
RESULT = paths.RESULTS / "08_ofd_video_demo.json"
THRESHOLDS = (0.01, 0.02, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
STRIDES = (1, 2, 4, 8)
SEED = 8


def add(part: str, what: str, content: dict[str, Any]) -> None:
    """Write a part of the file of results and show it."""
    result = (
        json.loads(RESULT.read_text(encoding="utf-8"))
        if RESULT.is_file()
        else {"profile": "laptop", "values": {}}
    )
    result[part] = {**made_by(f"{what}; benchmarks/flicker.py {part.replace('_', '-')}")} | rounded(content)
    result["values"] |= rounded(content.get("values", {}))
    result["provenance"] = "; ".join(result[key]["provenance"] for key in PARTS if key in result)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result[part], indent=1)[:4000])


PARTS = ("spm_video", "fixed_camera", "real_clips")


def rounded(value: Any) -> Any:
    """Five digits of every number."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def mattes(matter: Any, images: list[np.ndarray], name: str) -> np.ndarray:
    """Mattes of a clip's frames, (T, H, W) float32, from `runs` if they are there."""
    file = paths.RUNS / "flicker" / f"{name}.npy"
    if not file.is_file():
        found = np.stack([matter.alpha(image) for image in images]).astype(np.float16)

        def write(path: Path) -> None:
            with path.open("wb") as opened:
                np.save(opened, found)

        write_atomically(file, write)
        print(file, flush=True)
    return np.load(file).astype(np.float32)


def clip_of(folder: Path, name: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames and exact mattes of a drawn clip."""
    images = [read_image(file) for file in sorted((folder / "image" / name).glob("*.jpg"))]
    truth = [read_image(file)[..., 0] for file in sorted((folder / "matte" / name).glob("*.png"))]
    return images, np.stack(truth).astype(np.float32) / 255


@app.command()
def spm_video(folder: Path, short_side: int = 512) -> None:
    """Natural and injected flicker of every clip, before and after each filter."""
    matter, clips = Matter.from_pretrained(short_side=short_side), {}
    filters = flicker.FILTERS | {f"OFD {t:g}": partial(flicker.delayed, threshold=t) for t in THRESHOLDS}
    rows: dict[str, dict[str, list[dict[str, float]]]] = {
        kind: {} for kind in ("natural", "injected", "two frames")
    }
    speed: dict[str, list[float]] = {}
    names, length, size = sorted(path.name for path in (folder / "image").iterdir()), 0, 0
    for number, name in enumerate(names):
        images, truth = clip_of(folder, name)
        length, size = truth.shape[:2]
        prediction = mattes(matter, images, f"{name}_{images[0].shape[0]}_{short_side}")
        found = flicker.true_flicker(prediction, truth)
        clips[name] = {"flicker_share": float(found.mean())}
        cases = {"natural": (prediction, found)}
        for kind, frames in (("injected", 1), ("two frames", 2)):
            cases[kind] = flicker.inject_flicker(truth, SEED + number, frames=frames)
        for kind, (before, where) in cases.items():
            for title, filtering in filters.items():
                rows[kind].setdefault(title, []).append(
                    flicker.measure(filtering(before), before, truth, where)
                )
        for stride in STRIDES:  # exact mattes: whatever the filter changes is harm
            fast = truth[::stride]
            harm = np.abs(flicker.delayed(fast) - fast).mean()
            speed.setdefault(name, []).append(float(harm))
        print(name, clips[name], flush=True)
    content: dict[str, Any] = {"clips": clips, "strides": list(STRIDES), "harm_by_speed": speed}
    content["errors"] = {
        kind: {title: {key: [one[key] for one in each] for key in each[0]} for title, each in table.items()}
        for kind, table in rows.items()
    }
    content["values"] = {
        f"{metric}_{kind}_{when}": float(np.mean([one[metric] for one in rows[kind][title]]))
        for kind in ("natural", "injected")
        for metric in ("dtssd", "mad")
        for when, title in (("before", "as it is"), ("after", "OFD"))
    }
    what = f"SPM-video, {len(names)} clips of {length} frames at {size} pixels, the shipped checkpoint "
    add("spm_video", what + f"at a short side of {short_side}, seed {SEED}", content)


@app.command()
def fixed_camera(bm: Path | None = None, frames: int = 24, size: int = 512) -> None:
    """Error over time while a car drives by, of MODNet, of background matting and of the plain difference."""
    matter = Matter.from_pretrained(short_side=size)
    scenes: list[dict[str, Any]] = []
    sheets, found = [], dict[str, np.ndarray]()
    options = ("--size", size, "--frames", frames)
    folder = drawn_data.draw("passing_car", f"passing_car_{size}_{frames}", *options)
    for file in sorted((folder / "plate").iterdir()):
        plate, seed = read_image(file), int(file.stem.removeprefix("car_"))
        images, truth = clip_of(folder, file.stem)
        found = {
            "MODNet": mattes(matter, images, f"camera_{seed}_modnet_{size}_{frames}"),
            "difference": np.stack([background_difference(image, plate) for image in images]),
        }
        if bm:
            found["BM"] = mattes(
                behind_plate(bm, plate), images, f"camera_{seed}_{bm.parent.name}_{size}_{frames}"
            )
        car = np.stack([read_image(f)[..., 0] > 0 for f in sorted((folder / "car" / file.stem).iterdir())])
        there = car.any(axis=(1, 2))
        error = {name: np.abs(alphas - truth).mean(axis=(1, 2)) for name, alphas in found.items()}
        shown = [frames // 6, int(np.argmax(car.mean(axis=(1, 2)))), 5 * frames // 6]
        scenes.append(
            {
                "seed": seed,
                "car": car.mean(axis=(1, 2)).tolist(),
                "mad": {name: each.tolist() for name, each in error.items()},
                "without_car": {name: float(each[~there].mean()) for name, each in error.items()},
                "with_car": {name: float(each[there].mean()) for name, each in error.items()},
                "taken_for_person": {
                    name: float((alphas > 0.5)[car & (truth < 0.5)].mean()) for name, alphas in found.items()
                },
                "shown": shown,
            }
        )
        sheets.append(strip([images, *found.values(), truth], shown))
        print(json.dumps(rounded(scenes[-1])), flush=True)
    Image.fromarray(np.hstack(sheets)).save(paths.RESULTS / "08_fixed_camera.jpg", quality=85)
    content: dict[str, Any] = {
        "scenes": scenes,
        "rows": ["input", *found, "truth"],
        "values": {
            f"mad_{name}_{when}".lower(): float(np.mean([scene[when][name] for scene in scenes]))
            for name in found
            for when in ("without_car", "with_car")
        },
    }
    what = f"drawn people before drawn streets, {len(scenes)} scenes of {frames} frames at {size} pixels"
    if bm:
        recipe = load_network(bm).metadata
        what += (
            f", {bm.name} of recipe {recipe['recipe']}, {recipe['steps']} steps, commit {recipe['commit']}"
        )
    add("fixed_camera", what, content)


def behind_plate(weights: Path, plate: np.ndarray) -> Any:
    """Background matting with a clean plate, called as a `Matter` is."""

    @torch.inference_mode()
    def alpha(image: np.ndarray) -> np.ndarray:
        network, behind = load_network(weights), to_tensor(plate)
        return network(to_tensor(image), background=behind).alpha[0, 0].clamp(0, 1).numpy()

    return SimpleNamespace(alpha=alpha)


def strip(rows: list[Any], shown: list[int], side: int = 160) -> np.ndarray:
    """Rows of pictures or mattes at some frames as one picture."""

    def small(picture: np.ndarray) -> np.ndarray:
        pixels = cv2.resize(as_pixels(picture), (side, side), interpolation=cv2.INTER_AREA)
        return to_bytes(pixels if pixels.ndim == 3 else np.dstack([pixels] * 3))

    return np.vstack([np.hstack([small(row[at]) for at in shown]) for row in rows])


@app.command()
def real_clips(frames: int = 96, short_side: int = 384, count: int = 12, epochs: int = 2) -> None:
    """Fig. 7 on real clips, in numbers; without truth: how mattes change in time, and how far SOC moved them."""
    root = paths.external_data()
    if root is None:
        raise typer.BadParameter("set MODNET_DATA to a folder with videos")
    # the rate of notebook 07: at the paper's, a real clip's disagreement rose there
    config = replace(PRESETS["paper"], epochs=epochs, learning_rate=1e-5, until=0, short_side=short_side)
    clips: dict[str, Any] = {}
    for file in sorted((root / "videos").glob("*.mp4")):
        folder = paths.RUNS / "flicker" / f"soc_{file.stem}_{short_side}_{count}_{epochs}"
        shipped = with_semantic_head(load_checkpoint(paths.PRETRAINED))
        adapted = adapt(shipped, find_frames(file, folder / "frames", short_side, count), config, folder)
        images = [frame.image for frame in Clip(file, limit=frames)]
        plain, soc = (
            mattes(
                Matter(network, short_side=short_side),
                images,
                f"{file.stem}_{name}_{short_side}_{len(images)}",
            )
            for name, network in (("shipped", shipped), (folder.name, adapted.network))
        )
        rows = {
            "MODNet": plain,
            "+ OFD": flicker.delayed(plain),
            "+ SOC": soc,
            "+ SOC + OFD": flicker.delayed(soc),
        }
        clips[file.stem] = {
            "disagreement": [record["disagreement"] for record in adapted.history],
            "rows": {
                title: {
                    "change": float(np.abs(np.diff(alphas, axis=0)).mean()),
                    "unsteady": unsteadiness(alphas),
                    "flicker_share": float((flicker.delayed(alphas) != alphas).mean()),
                    "moved": float(np.abs(alphas - plain).mean()),
                    "mixed_share": float(((alphas > 0.1) & (alphas < 0.9)).mean()),
                    "person": float(alphas.mean()),
                }
                for title, alphas in rows.items()
            },
        }
        print(file.stem, json.dumps(rounded(clips[file.stem])), flush=True)
    what = (
        f"{', '.join(clips)}: first {frames} frames, short side {short_side}, no truth; "
        f"SOC on {count} frames, {epochs} epochs at a rate of {config.learning_rate:g}"
    )
    add("real_clips", what, {"clips": clips})


def unsteadiness(alphas: np.ndarray) -> float:
    """Mean distance of a value from the mean of its neighbours in time: steady motion has little of it."""
    return float(np.abs(alphas[1:-1] - (alphas[:-2] + alphas[2:]) / 2).mean())


if __name__ == "__main__":
    app()
