"""What SOC gains and what it harms, measured with exact mattes: the recorded run of notebook 07.

.venv/bin/python benchmarks/adaptation.py head            # data/checkpoints/semantic_head.safetensors
.venv/bin/python benchmarks/adaptation.py measure         # data/results/07_soc_domain_adaptation.json
.venv/bin/python benchmarks/adaptation.py real            # CCP without labels and two clips; needs MODNET_DATA

`measure` and `real` resume in ``runs/adaptation``. A CPU core needs about an hour.
"""

import dataclasses
import itertools
import json
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import typer
from _timing import people, save
from safetensors.torch import save_file

from modnet_lib import paths
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.data.readers import Labelled, benchmark
from modnet_lib.devices import resize
from modnet_lib.evaluation.metrics import METRICS, dtssd
from modnet_lib.evaluation.robustness import degrade
from modnet_lib.evaluation.statistics import paired_difference
from modnet_lib.files import write_atomically, write_json
from modnet_lib.images import read_image, to_array, to_tensor
from modnet_lib.network import MODNet, load_checkpoint
from modnet_lib.notebook.portraits import draw
from modnet_lib.provenance import read_json
from modnet_lib.training.adaptation import PRESETS, AdaptationConfig, adapt
from modnet_lib.training.frames import find_frames
from modnet_lib.training.loop import STATE
from modnet_lib.training.semantic_head import SOURCE, SOURCE_SIDE, fit_semantic_head, with_semantic_head

app = typer.Typer(help=__doc__)
Pair = tuple[np.ndarray, np.ndarray]  # image (H, W, 3) uint8, matte (H, W) in [0, 1]
STEM, FOLDER = "07_soc_domain_adaptation", paths.RUNS / "adaptation"
DRAWN, SIZE, PICTURES, TEST, MAIN = 256, 192, 40, 20, "out of focus"
KEPT = ("mad", "loss", "semantic", "preserve", "disagreement", "flip", "drift", "person")
# one camera each: kind of shift, level
SHIFTS: dict[str, tuple[str, float]] = {"none": ("none", 0), "SPM-shift camera": ("camera", 0), "dark": ("dark", 0.03)}
SHIFTS |= {
    "noise 50": ("noise", 50),
    "noise 80": ("noise", 80),
    "slightly out of focus": ("blur", 8),
    MAIN: ("blur", 16),
}
# what differs from the paper's preset on eight frames out of focus
EXPERIMENTS: dict[str, dict[str, Any]] = {
    **{name: {"shift": name} for name in (MAIN, "none", "dark", "noise 80")},
    "without L_dd": {"weights": (1.0, 1.0, 0.0)},
    "shipped head": {"fitted": False},
    "rate 1e-5": {"learning_rate": 1e-5},
    "video, dark": {"shift": "dark", "video": True},
    **{name: {"shift": name} for name in ("noise 50", "SPM-shift camera")},
    "none, rate 1e-5": {"shift": "none", "learning_rate": 1e-5},
    "video": {"shift": "none", "video": True},
    "batch 4": {"batch_size": 4},
    "2 frames": {"frames": 2, "epochs": 8},
    "20 frames": {"frames": 20, "epochs": 1},
    "slightly out of focus": {"shift": "slightly out of focus"},
    "released": {"preset": "released"},
    "without the semantic term": {"weights": (0.0, 1.0, 1.0)},
    "without the detail term": {"weights": (1.0, 0.0, 1.0)},
}


def preset(name: str, **changes: Any) -> AdaptationConfig:
    return dataclasses.replace(PRESETS[name], **({"epochs": 2, "until": 0, "short_side": SIZE} | changes))


def shifted(image: np.ndarray, alpha: np.ndarray, shift: str, seed: int) -> Pair:
    """Image and matte, uint8, through the camera of that name; SPM-shift went through its own when it was drawn."""
    kind, level = SHIFTS[shift]
    if kind == "dark":  # a share of the light, then the sensor's own noise
        light = (image / 255) ** 2.2 * level
        light += np.random.default_rng([seed, 6]).normal(0, 1, light.shape) * np.sqrt(light * 1e-3 + 1e-5)
        image = (np.clip(light, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    elif kind not in ("none", "camera"):
        image = degrade(Labelled(image, alpha, {}), kind, level).image
    return image, alpha / 255


def shrunk(image: np.ndarray, alpha: np.ndarray) -> Pair:
    """Image and matte, uint8, at `SIZE`."""
    small = (to_array(resize(to_tensor(picture), SIZE, SIZE)) for picture in (image, alpha))
    return next(small), next(small)


@cache
def drawn(what: str) -> list[Pair]:
    """The first pictures and mattes of a drawn benchmark."""
    folder = draw(what, paths.RUNS / f"drawn/{what}_{DRAWN}_{PICTURES}", "--size", DRAWN, "--count", PICTURES)
    return [shrunk(*read()[:2]) for read in benchmark(what, folder).values()]


@cache
def clips() -> list[list[Pair]]:
    """Neighbouring frames of the first four clips of SPM-video."""
    root, found = draw("spm_video", paths.RUNS / "drawn" / "spm_video", "--clips", 4), []
    for clip in sorted((root / "image").iterdir())[:4]:
        files = [(file, root / "matte" / clip.name / f"{file.stem}.png") for file in sorted(clip.iterdir())[8:32]]
        found.append([shrunk(read_image(image), read_image(matte)[..., 0]) for image, matte in files])
    return found


def pictures(shift: str, frames: int, video: bool, seed: int) -> tuple[list[np.ndarray], list[list[Pair]]]:
    """Frames to adapt to, and labelled sequences to measure on (single pictures are sequences of one)."""
    if video:
        moving = [[shifted(*p, shift, 100 * c + k) for k, p in enumerate(clip)] for c, clip in enumerate(clips())]
        return [clip[k + seed][0] for clip in moving for k in (9, 15)], [clip[:8] for clip in moving]
    found = drawn("spm_shift" if SHIFTS[shift][0] == "camera" else "spm100")
    still = [shifted(*pair, shift, k) for k, pair in enumerate(found)]
    chosen = np.random.default_rng(seed).permutation(PICTURES - TEST)[:frames]
    return [still[k][0] for k in chosen], [[pair] for pair in still[PICTURES - TEST :]]


@torch.no_grad()
def errors(network: MODNet, sequences: list[list[Pair]]) -> dict[str, list[float]]:
    """MAD, MSE, IoU of every sequence, and where the truth is soft (hair) the MAD of alpha~ and of d~."""
    rows: dict[str, list[float]] = {}
    for sequence in sequences:
        truth = np.concatenate([alpha for _, alpha in sequence])
        found = [network(to_tensor(image), auxiliary=True) for image, _ in sequence]
        parts = [[getattr(one, part)[0, 0].clamp(0, 1).numpy() for one in found] for part in ("alpha", "detail")]
        alpha, detail = map(np.concatenate, parts)
        soft = (truth > 0.02) & (truth < 0.98)
        row = {name: METRICS[name](alpha, truth) for name in ("mad", "mse", "iou")}
        row |= {"hair": METRICS["mad"](alpha, truth, soft), "detail": METRICS["mad"](detail, truth, soft)}
        if len(sequence) > 1:
            row["dtssd"] = dtssd(*(np.stack(np.split(part, len(sequence))) for part in (alpha, truth)))
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    return rows


@cache
def start(fitted: bool) -> MODNet:
    network = load_checkpoint(paths.PRETRAINED)
    return with_semantic_head(network) if fitted else network


@app.command()
def head(count: int = 128) -> None:
    """Fit the semantic head of the shipped checkpoint to drawn people (see `fit_semantic_head`)."""
    made = [shrunk(sample.image, sample.alpha) for sample in people(count, DRAWN, "train")]
    samples = [MattingSample(image, alpha, image, image) for image, alpha in made]
    network = fit_semantic_head(load_checkpoint(paths.PRETRAINED), samples, SIZE)
    state = {name: value.contiguous() for name, value in network.semantic_branch.head.state_dict().items()}
    told = {key: network.metadata[key] for key in (SOURCE, SOURCE_SIDE)} | {"samples": str(count)}
    write_atomically(paths.SEMANTIC_HEAD, lambda temporary: save_file(state, temporary, told))
    print(told)


def run(name: str, seed: int) -> dict[str, Any]:
    """One experiment."""
    change = {"shift": MAIN, "frames": 8, "video": False, "fitted": True, "preset": "paper"} | EXPERIMENTS[name]
    frames, sequences = pictures(change.pop("shift"), change.pop("frames"), change.pop("video"), seed)
    network, place = start(change.pop("fitted")), FOLDER / "states" / f"{name} {seed}".replace(" ", "_")
    config, validate = preset(change.pop("preset"), seed=seed, **change), partial(errors, sequences=sequences)
    result = adapt(network, frames, config, place, validate=validate, show_progress=False)
    (place / STATE).unlink()
    print(name, seed, *(f"{np.mean(record['mad']):.4f}" for record in result.history), flush=True)
    return {"experiment": name, "seed": seed, "stopped": result.stopped, "history": result.history}


@app.command()
def measure(seeds: int = 3, output: str = STEM) -> None:
    """Run every experiment with every seed and write what they found."""
    torch.set_num_threads(1)
    kept, file = FOLDER / "runs.jsonl", paths.RESULTS / f"{output}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    known = {(one["experiment"], one["seed"]) for one in done}
    for seed, name in itertools.product(range(1, seeds + 1), EXPERIMENTS):
        if (name, seed) not in known:
            done.append(run(name, seed))
            with kept.open("a") as lines:
                lines.write(json.dumps(done[-1]) + "\n")
    runs = {name: {one["seed"]: one for one in done if one["experiment"] == name} for name in EXPERIMENTS}
    found = {name: summary(some) for name, some in runs.items() if some}
    for name in found:
        if EXPERIMENTS[name].get("shift", MAIN) == MAIN != name:
            both = [{seed: runs[one][seed] for seed in runs[name].keys() & runs[MAIN].keys()} for one in (MAIN, name)]
            pairs = {metric: [table(some, metric, -1) for some in both] for metric in ("mad", "hair", "detail")}
            found[name]["against_ordinary"] = {metric: paired(*pair) for metric, pair in pairs.items()}
    main = {metric: found.get(MAIN, {}).get(metric, {}) for metric in ("mad", "mse")}
    values = {f"{key}_{when}_out_of_focus": one.get(when) for key, one in main.items() for when in ("before", "after")}
    what = f"the shipped checkpoint with its fitted semantic head, 8 unlabelled drawn people to adapt to, {TEST} "
    what += f"others of SPM-100, drawn at {DRAWN} pixels, seen and measured at {SIZE}; benchmarks/adaptation.py"
    content = {"source_disagreement": float(start(True).metadata[SOURCE]), "experiments": found}
    content["real"] = read_json(file).get("real", {}) if file.is_file() else {}
    save(output, what, content, values=values)


def table(runs: dict[int, dict], metric: str, epoch: int) -> np.ndarray:
    """(seeds, pictures) errors."""
    return np.array([runs[seed]["history"][epoch][metric] for seed in sorted(runs)])


def paired(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    return paired_difference(before, after)._asdict() if before.size else {}


def summary(runs: dict[int, dict]) -> dict[str, Any]:
    """Of one experiment: means before and after, paired differences over seeds and pictures, and the curves."""
    histories, last = [one["history"] for one in runs.values()], ("mad", "hair", "detail")
    told: dict[str, Any] = {"seeds": len(runs), "stopped": [one["stopped"] for one in runs.values()], "curves": {}}
    for metric in ("mad", "mse", "iou", "hair", "detail", "dtssd"):
        if metric in histories[0][0]:
            before, after = (table(runs, metric, epoch) for epoch in (0, -1))
            told[metric] = {"before": before.mean(), "after": after.mean()} | paired(before, after)
    told["after_by_seed"] = {
        str(seed): {metric: np.mean(one["history"][-1][metric]) for metric in last} for seed, one in runs.items()
    }
    for key, epoch in itertools.product(KEPT, zip(*histories, strict=False)):
        value = np.mean([np.mean(record[key]) for record in epoch]) if key in epoch[0] else None
        told["curves"].setdefault(key, []).append(value)
    return told


@app.command()
def real(output: str = STEM) -> None:
    """Photographs of CCP without labels, and the clips of MODNET_DATA: what can be said without mattes."""
    torch.set_num_threads(1)
    root, file = paths.external_data(), paths.RESULTS / f"{output}.json"
    if root is None:
        raise typer.BadParameter("set MODNET_DATA")
    domains: dict[str, Any] = {clip.stem: clip for clip in sorted((root / "videos").glob("*.mp4"))}
    rows, config = {}, preset("paper", learning_rate=1e-5, short_side=256)
    for name, source in (domains | {"ccp": "ccp:unlabelled"}).items():
        frames = find_frames(source, FOLDER / "frames" / name, 256, 12)
        history = adapt(start(True), frames, config, FOLDER / "real" / name, show_progress=False).history
        keys = ("disagreement", "flip", "drift", "person", "loss")
        rows[name] = [{key: record.get(key) for key in keys} for record in history]
    write_json(file, (read_json(file) if file.is_file() else {}) | {"real": rows})


if __name__ == "__main__":
    app()
