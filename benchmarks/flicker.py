"""The recorded run of notebook 08: flicker on SPM-video, a fixed camera, real clips. Resumable.

python data/drawn_people spm_video FOLDER
python benchmarks/flicker.py spm-video FOLDER     # flicker, OFD against threshold and against plain filters
modnet train data/results/08_fixed_camera_bm.yaml --folder runs/bm
python benchmarks/flicker.py fixed-camera --bm runs/bm/modnet.safetensors  # Fig. 9: a car drives by
python benchmarks/flicker.py real-clips           # Fig. 7 on the clips below $MODNET_DATA/videos; numbers only

Each adds its part to ``data/results/08_ofd_video_demo.json``. Mattes of the network are kept in ``runs/flicker``.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import typer
from _timing import draw, save
from PIL import Image

from modnet_lib import paths
from modnet_lib.baselines import load_network
from modnet_lib.baselines.bm import background_difference
from modnet_lib.evaluation import flicker
from modnet_lib.evaluation.methods import Method
from modnet_lib.images import read_image, to_bytes
from modnet_lib.inference import Matter
from modnet_lib.inference.media import Clip
from modnet_lib.network import load_checkpoint
from modnet_lib.notebook.figures import as_pixels
from modnet_lib.training.adaptation import PRESETS, adapt
from modnet_lib.training.frames import find_frames
from modnet_lib.training.semantic_head import with_semantic_head

app = typer.Typer(help=__doc__)
STEM, SEED, STRIDES = "08_ofd_video_demo", 8, (1, 2, 4, 8)
THRESHOLDS = (0.01, 0.02, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


def mattes(alpha: Callable[[np.ndarray], np.ndarray], images: Sequence[np.ndarray], name: str) -> np.ndarray:
    """Mattes of a clip's frames, (T, H, W) float32, from `runs` if they are there."""
    file = paths.RUNS / "flicker" / f"{name}.npy"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.stack([alpha(image) for image in images]).astype(np.float16))
    return np.load(file).astype(np.float32)


def clip_of(folder: Path, name: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames and exact mattes of a drawn clip."""
    images = [read_image(file) for file in sorted((folder / "image" / name).glob("*.jpg"))]
    truth = [read_image(file)[..., 0] for file in sorted((folder / "matte" / name).glob("*.png"))]
    return images, np.stack(truth).astype(np.float32) / 255


@app.command()
def spm_video(folder: Path, short_side: int = 512, output: str = STEM) -> None:
    """Natural and injected flicker of every clip, before and after each filter."""
    matter = Matter.from_pretrained(short_side=short_side)
    filters = flicker.FILTERS | {f"OFD {t:g}": partial(flicker.delayed, threshold=t) for t in THRESHOLDS}
    clips, harm, shape = dict[str, Any](), dict[str, list[float]](), (0, 0, 0)
    rows: dict[str, dict[str, dict[str, list[float]]]] = {}
    names = sorted(path.name for path in (folder / "image").iterdir())
    for number, name in enumerate(names):
        images, truth = clip_of(folder, name)
        shape = truth.shape
        prediction = mattes(matter.alpha, images, f"{name}_{shape[1]}_{short_side}")
        found = flicker.true_flicker(prediction, truth)
        clips[name] = {"flicker_share": float(found.mean())}
        cases = {"natural": (prediction, found)}
        for kind, frames in (("injected", 1), ("two frames", 2)):
            cases[kind] = flicker.inject_flicker(truth, SEED + number, frames=frames)
        for (kind, (before, where)), (title, use) in product(cases.items(), filters.items()):
            for key, value in flicker.measure(use(before), before, truth, where).items():
                rows.setdefault(kind, {}).setdefault(title, {}).setdefault(key, []).append(value)
        # exact mattes: whatever the filter changes is harm
        fast = [truth[::stride] for stride in STRIDES]
        harm[name] = [float(np.abs(flicker.delayed(each) - each).mean()) for each in fast]
    cells = product(("natural", "injected"), ("dtssd", "mad"), (("before", "as it is"), ("after", "OFD")))
    values = {
        f"{metric}_{kind}_{when}": float(np.mean(rows[kind][title][metric])) for kind, metric, (when, title) in cells
    }
    content = {"clips": clips, "strides": STRIDES, "harm_by_speed": harm, "errors": rows, "values": values}
    what = f"SPM-video, {len(names)} clips of {shape[0]} frames at {shape[1]} pixels, the shipped checkpoint at a "
    what += f"short side of {short_side}, seed {SEED}; benchmarks/flicker.py spm-video"
    save(output, what, content, part="spm_video", values=values)


@app.command()
def fixed_camera(bm: Path | None = None, frames: int = 24, size: int = 512, output: str = STEM) -> None:
    """Error over time while a car drives by, of MODNet, of background matting and of the plain difference."""
    matter, scenes, sheets, found = Matter.from_pretrained(short_side=size), [], [], dict[str, np.ndarray]()
    folder = draw("passing_car", f"passing_car_{size}_{frames}", "--size", size, "--frames", frames)
    for file in sorted((folder / "plate").iterdir()):
        plate, name, tail = read_image(file), file.stem.removeprefix("car_"), f"{size}_{frames}"
        images, truth = clip_of(folder, file.stem)
        found = {"MODNet": mattes(matter.alpha, images, f"camera_{name}_modnet_{tail}")}
        found["difference"] = np.stack([background_difference(image, plate) for image in images])
        if bm:
            alpha = partial(Method(load_network(bm), size).alpha, background=plate)
            found["BM"] = mattes(alpha, images, f"camera_{name}_{bm.parent.name}_{tail}")
        car = np.stack([read_image(f)[..., 0] > 0 for f in sorted((folder / "car" / file.stem).iterdir())])
        share = car.mean(axis=(1, 2))
        error = {key: np.abs(alphas - truth).mean(axis=(1, 2)) for key, alphas in found.items()}
        wrong = {key: (alphas > 0.5)[car & (truth < 0.5)].mean() for key, alphas in found.items()}
        shown = [frames // 6, int(np.argmax(share)), 5 * frames // 6]
        scene: dict[str, Any] = {"seed": int(name), "car": share.tolist(), "shown": shown}
        scene["mad"] = {key: each.tolist() for key, each in error.items()}
        for when, frames_of in (("without_car", share == 0), ("with_car", share > 0)):
            scene[when] = {key: float(each[frames_of].mean()) for key, each in error.items()}
        scenes.append(scene | {"taken_for_person": {key: float(each) for key, each in wrong.items()}})
        sheets.append(strip([images, *found.values(), truth], shown))
    Image.fromarray(np.hstack(sheets)).save(paths.RESULTS / "08_fixed_camera.jpg", quality=85)
    cells = product(found, ("without_car", "with_car"))
    values = {f"mad_{key}_{when}".lower(): float(np.mean([one[when][key] for one in scenes])) for key, when in cells}
    what = f"drawn people before drawn streets, {len(scenes)} scenes of {frames} frames at {size} pixels"
    if bm:
        made = load_network(bm).metadata
        what += f", {bm.name} of recipe {made['recipe']}, {made['steps']} steps, run {made['identity']}"
    content = {"scenes": scenes, "rows": ["input", *found, "truth"], "values": values}
    save(output, f"{what}; benchmarks/flicker.py fixed-camera", content, part="fixed_camera", values=values)


def strip(rows: list[Any], shown: list[int], side: int = 160) -> np.ndarray:
    """Rows of pictures or mattes at some frames as one picture."""

    def small(picture: np.ndarray) -> np.ndarray:
        pixels = cv2.resize(as_pixels(picture), (side, side), interpolation=cv2.INTER_AREA)
        return to_bytes(pixels if pixels.ndim == 3 else np.dstack([pixels] * 3))

    return np.vstack([np.hstack([small(row[at]) for at in shown]) for row in rows])


@app.command()
def real_clips(frames: int = 96, short_side: int = 384, count: int = 12, epochs: int = 2, output: str = STEM) -> None:
    """Fig. 7 on real clips, in numbers; without truth: how mattes change in time, and how far SOC moved them."""
    root = paths.external_data()
    if root is None:
        raise typer.BadParameter("set MODNET_DATA to a folder with videos")
    # the rate of notebook 07: at the paper's, a real clip's disagreement rose there
    config = replace(PRESETS["paper"], epochs=epochs, learning_rate=1e-5, until=0, short_side=short_side)
    clips: dict[str, Any] = {}
    for file in sorted((root / "videos").glob("*.mp4")):
        name = f"{file.stem}_{short_side}_{count}_{epochs}"
        folder = paths.RUNS / "flicker" / f"soc_{name}"
        shipped = with_semantic_head(load_checkpoint(paths.PRETRAINED))
        adapted = adapt(shipped, find_frames(file, folder / "frames", short_side, count), config, folder)
        images = [frame.image for frame in islice(Clip(file), frames)]
        plain, soc = (
            mattes(Matter(network, short_side=short_side).alpha, images, f"{kind}_{name}_{len(images)}")
            for kind, network in (("shipped", shipped), ("soc", adapted.network))
        )
        rows = {"MODNet": plain, "+ OFD": flicker.delayed(plain)}
        rows |= {"+ SOC": soc, "+ SOC + OFD": flicker.delayed(soc)}
        clips[file.stem] = {"disagreement": [record["disagreement"] for record in adapted.history], "rows": {}}
        for title, alphas in rows.items():
            clips[file.stem]["rows"][title] = {
                "change": float(np.abs(np.diff(alphas, axis=0)).mean()),
                # steady motion has little distance from the mean of the neighbours in time
                "unsteady": float(np.abs(alphas[1:-1] - (alphas[:-2] + alphas[2:]) / 2).mean()),
                "flicker_share": float((flicker.delayed(alphas) != alphas).mean()),
                "moved": float(np.abs(alphas - plain).mean()),
                "person": float(alphas.mean()),
            }
    what = f"{', '.join(clips)}: first {frames} frames, short side {short_side}, no truth; SOC on {count} frames, "
    what += f"{epochs} epochs at a rate of {config.learning_rate:g}; benchmarks/flicker.py real-clips"
    save(output, what, {"clips": clips}, part="real_clips")


if __name__ == "__main__":
    app()
