"""The recorded run of notebook 08: flicker on SPM-video, a fixed camera, real clips. Resumable.

modnet data make spm_video --root FOLDER
python benchmarks/flicker.py spm-video FOLDER     # flicker, OFD against threshold and against plain filters
python benchmarks/flicker.py fixed-camera         # Fig. 9: background matting and MODNet, a car drives by
python benchmarks/flicker.py real-clips           # Fig. 7 on the clips below $MODNET_DATA/videos; numbers only

Each adds its part to ``data/results/08_ofd_video_demo.json``. Mattes of the network are kept in ``runs/flicker``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import typer
from shipped import made_by

from modnet_lib import paths
from modnet_lib.evaluation import flicker
from modnet_lib.images import read_image
from modnet_lib.inference import Matter
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


def mattes(matter: Matter, images: list[np.ndarray], name: str) -> np.ndarray:
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
    names = sorted(path.name for path in (folder / "image").iterdir())
    for number, name in enumerate(names):
        images, truth = clip_of(folder, name)
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
    what = f"SPM-video, {len(names)} clips of {len(truth)} frames at {truth.shape[1]} pixels, the shipped checkpoint "
    add("spm_video", what + f"at a short side of {short_side}, seed {SEED}", content)


if __name__ == "__main__":
    app()
