"""The recorded run of notebook 08: flicker on SPM-video, a fixed camera, real clips. Resumable.

modnet data make spm_video --root FOLDER
python benchmarks/flicker.py spm-video FOLDER     # flicker, OFD against threshold and against plain filters
python benchmarks/flicker.py fixed-camera         # Fig. 9: background matting and MODNet, a car drives by
python benchmarks/flicker.py real-clips           # Fig. 7 on the clips below $MODNET_DATA/videos; numbers only

Each adds its part to ``data/results/08_ofd_video_demo.json``. Mattes of the network are kept in ``runs/flicker``.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
import typer
from PIL import Image
from shipped import made_by

from modnet_lib import paths
from modnet_lib.data.fixed_camera import CAMERA_SEED, background_difference, clean_plate, passing_car
from modnet_lib.evaluation import flicker
from modnet_lib.images import read_image, to_tensor
from modnet_lib.inference import Matter
from modnet_lib.inference.media import Clip
from modnet_lib.network.checkpoints import write_atomically

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
    result[part] = {
        "provenance": made_by(f"{what}; benchmarks/flicker.py {part.replace('_', '-')}")
    } | rounded(content)
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
    """Frames and exact mattes of a clip of SPM-video."""
    images = [read_image(file) for file in sorted((folder / "image" / name).glob("*.jpg"))]
    truth = [read_image(file)[..., 0] for file in sorted((folder / "matte" / name).glob("*.png"))]
    return images, np.stack(truth).astype(np.float32) / 255


@app.command()
def spm_video(folder: Path, short_side: int = 512) -> None:
    """Natural and injected flicker of every clip, before and after each filter."""
    matter, clips = Matter.from_pretrained(short_side=short_side), {}
    filters = flicker.FILTERS | {f"OFD {t:g}": flicker.with_threshold(t) for t in THRESHOLDS}
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
def fixed_camera(bm: Path | None = None, frames: int = 48, size: int = 512) -> None:
    """Error over time while a car drives by, of MODNet, of background matting and of the plain difference."""
    plate = clean_plate(CAMERA_SEED, size)
    shots = list(passing_car(CAMERA_SEED, size, frames))
    images, truth = [shot.image for shot in shots], np.stack([shot.alpha for shot in shots])
    matter = Matter.from_pretrained(short_side=size)
    found = {
        "MODNet": mattes(matter, images, f"camera_modnet_{size}_{frames}"),
        "difference": np.stack([background_difference(image, plate) for image in images]),
    }
    if bm:
        found["BM"] = mattes(behind_plate(bm, plate), images, f"camera_{bm.stem}_{size}_{frames}")
    error = {name: np.abs(alphas - truth) for name, alphas in found.items()}
    car = np.stack([shot.car for shot in shots])
    there = car.any(axis=(1, 2))
    content: dict[str, Any] = {
        "car": [float(one.mean()) for one in car],
        "mad": {name: [float(one.mean()) for one in each] for name, each in error.items()},
        "taken_for_person": {
            name: float((alphas > 0.5)[car & (truth < 0.5)].mean()) for name, alphas in found.items()
        },
        "values": {
            f"mad_{name}_{when}".lower(): float(each[where].mean())
            for name, each in error.items()
            for when, where in (("without_car", ~there), ("with_car", there))
        },
    }
    shown = [frames // 6, int(np.argmax(car.mean(axis=(1, 2)))), 5 * frames // 6]
    rows = [images, *found.values(), truth]
    strip(rows, shown, "08_fixed_camera")
    content["rows"] = ["input", *found, "truth"]
    content["shown"] = shown
    what = f"a drawn person before a drawn street, {frames} frames at {size} pixels"
    add("fixed_camera", what + (f", {bm.name}" if bm else ""), content)


def behind_plate(weights: Path, plate: np.ndarray) -> Any:
    """Background matting with a clean plate, called as a `Matter` is."""

    @torch.inference_mode()
    def alpha(image: np.ndarray) -> np.ndarray:
        from modnet_lib.baselines import load_network  # type: ignore[import-not-found]

        network, behind = load_network(weights), to_tensor(plate)
        return network(to_tensor(image), background=behind).alpha[0, 0].clamp(0, 1).numpy()

    return SimpleNamespace(alpha=alpha)


def strip(rows: list[Any], shown: list[int], name: str, side: int = 224) -> None:
    """Rows of pictures or mattes at some frames as one JPEG."""
    sheet = []
    for row in rows:
        cells = [
            row[at] if row[at].ndim == 3 else np.repeat(np.round(row[at] * 255)[..., None], 3, 2)
            for at in shown
        ]
        height = round(side * cells[0].shape[0] / cells[0].shape[1])
        sheet.append(
            np.hstack(
                [cv2.resize(c.astype(np.uint8), (side, height), interpolation=cv2.INTER_AREA) for c in cells]
            )
        )
    Image.fromarray(np.vstack(sheet)).save(paths.RESULTS / f"{name}.jpg", quality=85)


@app.command()
def real_clips(adapted: Path | None = None, frames: int = 96, short_side: int = 512) -> None:
    """Flicker of real clips, which have no truth: what the rule finds, and how unsteady mattes are before and after."""
    root = paths.external_data()
    if root is None:
        raise typer.BadParameter("set MODNET_DATA to a folder with videos")
    clips: dict[str, Any] = {}
    for file in sorted((root / "videos").glob("*.mp4")):
        own = adapted / f"{file.stem}.safetensors" if adapted else None
        networks = {"MODNet": paths.PRETRAINED} | ({"MODNet + SOC": own} if own and own.is_file() else {})
        images = [frame.image for frame in Clip(file, limit=frames)]
        for title, path in networks.items():
            name = f"{file.stem}_{path.parent.name}_{path.stem}_{short_side}_{len(images)}"
            alphas = mattes(Matter.from_pretrained(path, short_side=short_side), images, name)
            repaired = flicker.delayed(alphas)
            clips.setdefault(file.stem, {})[title] = {
                "repaired_share": float((repaired != alphas).mean()),
                "repaired_share_of_frames": float((repaired != alphas).any(axis=(1, 2)).mean()),
                "unsteady_before": unsteadiness(alphas),
                "unsteady_after": unsteadiness(repaired),
                "mixed_share": float(((alphas > 0.1) & (alphas < 0.9)).mean()),
            }
        print(file.stem, clips[file.stem], flush=True)
    what = f"{', '.join(clips)}, first {frames} frames, short side {short_side}, no truth"
    add("real_clips", what + (", weights adapted to each clip by SOC" if adapted else ""), {"clips": clips})


def unsteadiness(alphas: np.ndarray) -> float:
    """Mean distance of a value from the mean of its neighbours in time: steady motion has little of it."""
    return float(np.abs(alphas[1:-1] - (alphas[:-2] + alphas[2:]) / 2).mean())


if __name__ == "__main__":
    app()
