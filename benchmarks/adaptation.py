"""What SOC gains and what it harms, measured with exact mattes: the recorded run of notebook 07.

.venv/bin/python benchmarks/adaptation.py head            # data/checkpoints/semantic_head.safetensors
.venv/bin/python benchmarks/adaptation.py measure         # data/results/07_soc_domain_adaptation.json
.venv/bin/python benchmarks/adaptation.py real            # CCP without labels and two clips; needs MODNET_DATA

`measure` and `real` go on where they were cut; `--folder` keeps what they have. A CPU core needs about an hour.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import drawn_data
import numpy as np
import torch
import typer
from safetensors.torch import save_file

from modnet_lib import paths
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.data.readers import Labelled, benchmark
from modnet_lib.evaluation.metrics import dtssd
from modnet_lib.evaluation.robustness import degrade
from modnet_lib.evaluation.statistics import paired_difference
from modnet_lib.files import write_atomically
from modnet_lib.images import read_image, to_array, to_tensor
from modnet_lib.inference.matter import resize
from modnet_lib.network import MODNet, load_checkpoint, save_checkpoint
from modnet_lib.provenance import recorded
from modnet_lib.training.adaptation import PRESETS, AdaptationConfig, adapt
from modnet_lib.training.frames import find_frames
from modnet_lib.training.semantic_head import SOURCE, SOURCE_SIDE, fit_semantic_head, with_semantic_head

app = typer.Typer(help=__doc__)
DRAWN, SIZE, SOURCES, TRAIN, TEST, SEEDS = 256, 192, 128, 8, 20, 3
REAL_SIZE, REAL_FRAMES = 256, 12
STEM = "07_soc_domain_adaptation"
CLIPS, CLIP_FRAMES = 4, 8
METRICS = ("mad", "mse", "iou", "hair", "detail", "dtssd")
Folder = Annotated[Path, typer.Option(help="Where pictures and partial results are kept.")]
FOLDER = paths.RUNS / "adaptation"
PAPER = dataclasses.replace(PRESETS["paper"], epochs=2, until=0, short_side=SIZE)

# one camera each, mild to strong: kind of shift, level
SHIFTS: dict[str, tuple[str, float]] = {
    "none": ("none", 0),
    "SPM-shift camera": ("camera", 0),
    "noise 50": ("noise", 50),
    "dark": ("dark", 0.03),
    "slightly out of focus": ("blur", 8),
    "out of focus": ("blur", 16),
    "noise 80": ("noise", 80),
}


@dataclass(frozen=True)
class Experiment:
    """A shift, a start and a way to adapt."""

    name: str
    shift: str
    config: AdaptationConfig = PAPER
    fitted: bool = True
    frames: int = TRAIN
    video: bool = False
    change: dict[str, Any] = field(default_factory=dict)

    def settings(self, seed: int) -> AdaptationConfig:
        return dataclasses.replace(self.config, seed=seed, **self.change)


MAIN = "out of focus"
EXPERIMENTS = [
    Experiment("out of focus", MAIN),
    Experiment("none", "none"),
    Experiment("dark", "dark"),
    Experiment("noise 80", "noise 80"),
    Experiment("without L_dd", MAIN, change={"weights": (1.0, 1.0, 0.0)}),
    Experiment("shipped head", MAIN, fitted=False),
    Experiment("rate 1e-5", MAIN, change={"learning_rate": 1e-5}),
    Experiment("video, dark", "dark", video=True),
    Experiment("noise 50", "noise 50"),
    Experiment("SPM-shift camera", "SPM-shift camera"),
    Experiment("none, rate 1e-5", "none", change={"learning_rate": 1e-5}),
    Experiment("video", "none", video=True),
    Experiment("batch 4", MAIN, change={"batch_size": 4}),
    Experiment("2 frames", MAIN, frames=2, change={"epochs": 8}),
    Experiment("20 frames", MAIN, frames=20, change={"epochs": 1}),
    Experiment("slightly out of focus", "slightly out of focus"),
    Experiment(
        "released", MAIN, dataclasses.replace(PRESETS["released"], epochs=2, until=0, short_side=SIZE)
    ),
    Experiment("without the semantic term", MAIN, change={"weights": (0.0, 1.0, 1.0)}),
    Experiment("without the detail term", MAIN, change={"weights": (1.0, 0.0, 1.0)}),
]
FIRST, ONCE = EXPERIMENTS[:2], EXPERIMENTS[2:8]  # with every seed, and with one, before all others


def shifted(image: np.ndarray, alpha: np.ndarray, shift: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) uint8 and its matte (H, W) in [0, 1] through the camera of that name.

    Those of SPM-shift went through theirs when they were drawn.
    """
    kind, level = SHIFTS[shift]
    rng = np.random.default_rng([seed, 6])
    if kind in ("none", "camera"):
        return image, alpha
    if kind == "dark":  # a share of the light, then the sensor's own noise
        light = (image / 255) ** 2.2 * level
        light += rng.normal(0, 1, light.shape) * np.sqrt(light * 1e-3 + 1e-5)
        return (np.clip(light, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8), alpha
    return degrade(Labelled(image, (alpha * 255).astype(np.uint8), {}), kind, level).image, alpha


def drawn(what: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures and mattes (uint8) at `SIZE`, drawn at `DRAWN`: ``portraits``, as in training, or a benchmark."""
    if what == "portraits":
        made = [(sample.image, sample.alpha) for sample in drawn_data.people(count, DRAWN, "train")]
    else:
        folder = drawn_data.draw(what, f"{what}_{DRAWN}_{count}", "--size", DRAWN, "--count", count)
        made = [read()[:2] for read in benchmark(what, folder).values()]
    return [(shrunk(image), shrunk(alpha)) for image, alpha in made]


def shrunk(picture: np.ndarray) -> np.ndarray:
    """(H, W[, 3]) uint8 at `SIZE`."""
    return to_array(resize(to_tensor(picture), SIZE, SIZE))


def clips() -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Neighbouring frames of the first clips of SPM-video, at `SIZE`."""
    root = drawn_data.draw("spm_video", "spm_video", "--clips", CLIPS)
    names = sorted(file.name for file in (root / "image").iterdir())[:CLIPS]
    result = []
    for name in names:
        images = sorted((root / "image" / name).iterdir())[8:32]
        pairs = [(read_image(f), read_image(root / "matte" / name / f"{f.stem}.png")[..., 0]) for f in images]
        result.append([(shrunk(image), shrunk(alpha)) for image, alpha in pairs])
    return result


@cache
def start(fitted: bool) -> MODNet:
    network = load_checkpoint(paths.PRETRAINED)
    return with_semantic_head(network) if fitted else network


def pictures(
    one: Experiment, seed: int
) -> tuple[list[np.ndarray], list[list[tuple[np.ndarray, np.ndarray]]]]:
    """Frames to adapt to, and labelled sequences to measure on (single pictures are sequences of one)."""
    if one.video:
        moving = [
            [shifted(i, a / 255, one.shift, 100 * c + k) for k, (i, a) in enumerate(clip)]
            for c, clip in enumerate(clips())
        ]
        spread = [clip[k + seed][0] for clip in moving for k in (9, 15)]
        return spread, [clip[:CLIP_FRAMES] for clip in moving]
    what = "spm_shift" if SHIFTS[one.shift][0] == "camera" else "spm100"
    still = [shifted(i, a / 255, one.shift, k) for k, (i, a) in enumerate(drawn(what, 40))]
    chosen = np.random.default_rng(seed).permutation(40 - TEST)[: one.frames]
    return [still[k][0] for k in chosen], [[pair] for pair in still[40 - TEST :]]


@torch.no_grad()
def errors(network: MODNet, sequences: list[list[tuple[np.ndarray, np.ndarray]]]) -> dict[str, list[float]]:
    """Errors of every sequence: MAD, MSE, IoU, and where the truth is soft (hair) those of alpha~ and of d~."""
    rows: dict[str, list[float]] = {}
    for sequence in sequences:
        truth = np.stack([alpha for _, alpha in sequence])
        found = [network(to_tensor(image), auxiliary=True) for image, _ in sequence]
        alpha, detail = (
            np.stack([getattr(o, part)[0, 0].numpy() for o in found]) for part in ("alpha", "detail")
        )
        soft, error = (truth > 0.02) & (truth < 0.98), np.abs(alpha - truth)
        cut = alpha > 0.5, truth > 0.5
        row = {
            "mad": error.mean(),
            "mse": np.square(error).mean(),
            "iou": np.logical_and(*cut).sum() / max(1, np.logical_or(*cut).sum()),
            "hair": error[soft].mean(),
            "detail": np.abs(detail - truth)[soft].mean(),
        }
        if len(sequence) > 1:
            row["dtssd"] = dtssd(alpha.clip(0, 1), truth.clip(0, 1))
        for name, value in row.items():
            rows.setdefault(name, []).append(round(float(value), 6))
    return rows


@app.command()
def head() -> None:
    """Fit the semantic head of the shipped checkpoint to drawn people (see `fit_semantic_head`)."""
    samples = [MattingSample(i, a, i, i) for i, a in drawn("portraits", SOURCES)]
    network = fit_semantic_head(load_checkpoint(paths.PRETRAINED), samples, SIZE)
    state = {name: value.contiguous() for name, value in network.semantic_branch.head.state_dict().items()}
    told = {key: network.metadata[key] for key in (SOURCE, SOURCE_SIDE)} | {"samples": str(SOURCES)}
    write_atomically(paths.SEMANTIC_HEAD, lambda temporary: save_file(state, temporary, told))
    print(told)


@app.command()
def measure(
    folder: Folder = FOLDER, seeds: int = SEEDS, only: Annotated[list[str] | None, typer.Option()] = None
) -> None:
    """Run every experiment with every seed and write what they found."""
    torch.set_num_threads(1)
    kept = folder / "runs.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    for one, seed in _todo(seeds, only):
        if any((run["experiment"], run["seed"]) == (one.name, seed) for run in done):
            continue
        frames, sequences = pictures(one, seed)
        place = folder / "states" / f"{one.name} {seed}".replace(" ", "_")
        # before adaptation alpha~ and d~ are the same with every seed and either head
        same = (r["history"][0] for r in done if _measured(r["experiment"]) == _measured(one.name))
        known = iter([] if place.exists() else [next(same, None)])
        validate = partial(_first_or, known, sequences=sequences)
        result = adapt(
            start(one.fitted), frames, one.settings(seed), place, validate=validate, show_progress=False
        )
        done.append(
            {"experiment": one.name, "seed": seed, "stopped": result.stopped, "history": result.history}
        )
        with kept.open("a") as lines:
            lines.write(json.dumps(done[-1]) + "\n")
        mads = [f"{np.mean(record['mad']):.4f}" for record in result.history]
        print(one.name, seed, *mads, result.stopped, flush=True)
        (place / "state.pt").unlink()
        _write(done)
    _write(done)


def _measured(name: str) -> tuple[str, bool]:
    return next((one.shift, one.video) for one in EXPERIMENTS if one.name == name)


def _first_or(known: Iterator[dict[str, Any] | None], network: MODNet, sequences: Any) -> dict[str, Any]:
    first = next(known, None)
    return {key: first[key] for key in METRICS if key in first} if first else errors(network, sequences)


def _todo(seeds: int, only: list[str] | None) -> Iterator[tuple[Experiment, int]]:
    """What matters most first: a run that is cut has something of all."""
    plan = [(FIRST, range(1, seeds + 1)), (ONCE, [1]), (EXPERIMENTS, range(1, seeds + 1))]
    for part, numbers in plan:
        yield from ((one, seed) for seed in numbers for one in part if not only or one.name in only)


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one experiment: means before and after, paired differences over seeds and pictures, and the curves."""
    last = [run["history"][-1] for run in runs]
    first = [run["history"][0] for run in runs]
    told: dict[str, Any] = {"seeds": len(runs), "stopped": [run["stopped"] for run in runs]}
    for metric in METRICS:
        if metric in first[0]:
            before, after = (np.array([record[metric] for record in records]) for records in (first, last))
            change = paired_difference(before, after)._asdict()
            told[metric] = {"before": float(before.mean()), "after": float(after.mean())} | change
    told["after_by_seed"] = {
        str(run["seed"]): {m: float(np.mean(run["history"][-1][m])) for m in ("mad", "hair", "detail")}
        for run in runs
    }
    epochs = min(len(run["history"]) for run in runs)
    for key in ("mad", "loss", "semantic", "preserve", "disagreement", "flip", "drift", "person"):
        curve = [[np.mean(run["history"][k].get(key, np.nan)) for run in runs] for k in range(epochs)]
        told.setdefault("curves", {})[key] = [
            None if np.isnan(c).any() else round(float(np.mean(c)), 6) for c in curve
        ]
    return told


def _write(done: list[dict[str, Any]]) -> None:
    found = {
        one.name: summary(runs)
        for one in EXPERIMENTS
        if (runs := [run for run in done if run["experiment"] == one.name])
    }
    for one in EXPERIMENTS:
        if one.shift == MAIN != one.name and one.name in found:
            found[one.name]["against_ordinary"] = _against(done, one.name)
    file = paths.RESULTS / f"{STEM}.json"
    old = json.loads(file.read_text()) if file.is_file() else {}
    what = (
        f"the shipped checkpoint with its fitted semantic head, {TRAIN} unlabelled drawn people to adapt to, {TEST} "
        f"others of SPM-100 to measure on, drawn at {DRAWN} pixels, seen and measured at {SIZE}, "
        f"2 epochs, batch 1, up to {SEEDS} seeds; benchmarks/adaptation.py"
    )
    source = float(start(True).metadata[SOURCE])
    values = {
        f"{metric}_{when}_out_of_focus": found[MAIN][metric][when]
        for metric in ("mad", "mse")
        for when in ("before", "after")
        if MAIN in found
    }
    result = {
        "profile": "laptop",
        **recorded(what, device="cpu", precision="float32"),
        "values": values,
        "source_disagreement": source,
    }
    _save(old | result | {"experiments": found})


def _against(done: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Paired differences to the ordinary run, over the seeds that both have and the pictures."""
    last = {(run["experiment"], run["seed"]): run["history"][-1] for run in done}
    seeds = [seed for known, seed in last if known == name and (MAIN, seed) in last]
    return {
        metric: paired_difference(
            *(np.array([last[which, seed][metric] for seed in seeds]) for which in (MAIN, name))
        )._asdict()
        for metric in ("mad", "hair", "detail")
    }


def _save(result: dict[str, Any]) -> None:
    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.5g}")
        if isinstance(value, dict):
            return {key: rounded(one) for key, one in value.items()}
        return [rounded(one) for one in value] if isinstance(value, list) else value

    text = json.dumps(rounded(result), indent=1) + "\n"
    write_atomically(paths.RESULTS / f"{STEM}.json", lambda temporary: temporary.write_text(text))


@app.command()
def real(
    folder: Folder = FOLDER,
    weights: Annotated[Path | None, typer.Option(help="Where the adapted networks go.")] = None,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-5,
    only: Annotated[list[str] | None, typer.Option(help="Of the clips and ccp.")] = None,
) -> None:
    """Photographs of CCP without labels, and the clips of MODNET_DATA: what can be said without mattes."""
    torch.set_num_threads(1)
    root = paths.external_data()
    if root is None:
        raise typer.BadParameter("set MODNET_DATA")
    domains: dict[str, Any] = {p.stem: p for p in sorted((root / "videos").glob("*.mp4"))}
    domains["ccp"] = "ccp:unlabelled"
    config = dataclasses.replace(PAPER, learning_rate=rate, short_side=REAL_SIZE)
    file = paths.RESULTS / f"{STEM}.json"
    old = json.loads(file.read_text()) if file.is_file() else {}
    rows = old.get("real", {})
    for name, source in domains.items():
        if only and name not in only:
            continue
        frames = find_frames(source, folder / "frames" / name, REAL_SIZE, REAL_FRAMES)
        result = adapt(start(True), frames, config, folder / "real" / name, show_progress=False)
        keys = ("disagreement", "flip", "drift", "person", "loss")
        rows[name] = [{key: record.get(key) for key in keys} for record in result.history]
        print(name, rows[name], result.stopped, flush=True)
        if weights:
            save_checkpoint(result.network, weights / f"{name}.safetensors")
    _save(old | {"real": rows})


if __name__ == "__main__":
    app()
