"""Table 3: what each part of MODNet earns.

Every row is trained with several seeds; with one seed, all rows see the same samples in the same order.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from modnet_lib.data.loaders import portrait_readers
from modnet_lib.data.workers import worker_pool
from modnet_lib.evaluation.protocol import evaluate
from modnet_lib.evaluation.statistics import Difference, paired_difference
from modnet_lib.files import write_atomically, write_json, write_text
from modnet_lib.inference import Matter
from modnet_lib.network import load_checkpoint
from modnet_lib.network.cost import count_flops, count_parameters, measure_latency
from modnet_lib.network.modnet import Context, MODNet
from modnet_lib.profiles import Profile
from modnet_lib.provenance import fingerprint, pixels_fingerprint, read_json, recorded, require_same
from modnet_lib.training.loop import STATE
from modnet_lib.training.recipes import (
    BACKBONE,
    CHECKPOINT,
    RECIPE,
    VALIDATION_SEED,
    held_out_sets,
    pretraining,
    run,
    supervised,
    validation_data,
)

RESULT, ERRORS, MATTES = "result.json", "errors.json", "mattes.jpg"
SHOWN = 5  # drawn people in MATTES
TILE = (144, 144)


@dataclass(frozen=True)
class Row:
    """A row of Table 3, or a control of ours.

    Attributes
    ----------
    label
        As in the table.
    weights
        lambda_s, lambda_d and lambda_alpha of Eq. 5.
    context
        The module on the top map.
    pretrained, longer
        Whether the backbone is pre-trained on masks; whether as many steps are added to training instead.
    paper
        MSE and MAD on PPM-100 in Table 3.
    """

    label: str
    weights: tuple[float, float, float] = (1.0, 10.0, 1.0)
    context: Context = "easpp"
    pretrained: bool = False
    longer: bool = False
    paper: tuple[float, float] | None = None


# The marks of Table 3 as they must be read: five rows, each adds one thing.
ROWS = {
    "none": Row("none", (0.0, 0.0, 1.0), "none", paper=(0.0162, 0.0235)),
    "semantic": Row("+ L_s", (1.0, 0.0, 1.0), "none", paper=(0.0097, 0.0158)),
    "detail": Row("+ L_d", context="none", paper=(0.0083, 0.0142)),
    "easpp": Row("+ e-ASPP", paper=(0.0057, 0.0109)),
    "pretrained": Row("+ SPS", pretrained=True, paper=(0.0044, 0.0086)),
    "longer": Row("longer instead of SPS", longer=True),
    "aspp": Row("ASPP instead of e-ASPP", context="aspp"),
}
# what is compared: from the first to the second
COMPARISONS = (
    ("none", "semantic"),
    ("semantic", "detail"),
    ("detail", "easpp"),
    ("easpp", "pretrained"),
    ("longer", "pretrained"),
    ("aspp", "easpp"),
)


def recipe(profile: Profile, row: str, seed: int, folder: Path, start: Path | None = None) -> Profile:
    """How one row is trained with one seed; the pre-trained backbone lies in `folder`, or all weights in `start`."""
    which, training = ROWS[row], profile.ablation or profile.training
    if which.longer and profile.pretraining and not start:
        first, *rest = training.stages
        training = replace(
            training, stages=(replace(first, steps=first.steps + profile.pretraining.steps), *rest)
        )
    return replace(
        supervised(profile),
        name=f"{profile.name}-{row}",
        seed=seed,
        context=which.context,
        backbone_weights=str(pretraining_folder(folder, seed) / BACKBONE)
        if which.pretrained and not start
        else profile.backbone_weights,
        initial=str(start.resolve() / f"{row}-{seed}" / CHECKPOINT) if start else None,
        training=replace(training, loss_weights=which.weights, validate_every=0),
    )


def pretraining_folder(folder: Path, seed: int) -> Path:
    """Where the backbone of a seed is pre-trained, once for all rows of a grid."""
    return folder.resolve() / f"pretraining-{seed}"


def run_one(
    profile: Profile, folder: Path, start: Path | None, row: str, seed: int, show_progress: bool = False
) -> None:
    """Train and measure one row with one seed, into ``<folder>/<row>-<seed>``; existing results are kept."""
    target = folder / f"{row}-{seed}"
    if ROWS[row].pretrained and not start:
        pretrain(profile, folder, seed, show_progress)
    chosen = recipe(profile, row, seed, folder, start)
    network = run(chosen, target, show_progress=show_progress)
    samples = validation_data(profile.data, profile.validation)
    seen = {name: pixels_fingerprint(sample.image, sample.alpha) for name, sample in samples}
    what = {"run": network.metadata["identity"], "pictures": seen}
    if is_measured(target, what):
        return
    matter = Matter(network, short_side=short_side(chosen))
    records = evaluate(matter.alpha, ((name, s.image, s.alpha) for name, s in samples), regions=True)
    errors = {metric: [record.errors[metric] for record in records] for metric in records[0].errors}
    write_json(target / ERRORS, {"identity": what, "pictures": list(seen), "errors": errors}, indent=None)
    (target / STATE).unlink(missing_ok=True)  # a gigabyte with ASPP


def is_measured(folder: Path, what: dict[str, Any]) -> bool:
    """Whether a run has been measured; a ValueError if its errors belong to another run or other pictures."""
    if not (folder / ERRORS).is_file():
        return False
    require_same(read_json(folder / ERRORS)["identity"], what, folder / ERRORS)
    return True


def claim(folder: Path, profile: Profile) -> None:
    """Make a grid's folder; a ValueError if it holds the grid of another profile."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RECIPE).is_file():
        free = {"seeds": 0, "timing_repeats": 0}  # a grid may grow by seeds
        require_same(asdict(Profile.load(folder / RECIPE)) | free, asdict(profile) | free, folder)
    write_text(folder / RECIPE, profile.to_yaml())


def pretrain(profile: Profile, folder: Path, seed: int, show_progress: bool = False) -> Path:
    """Pre-train the backbone of a seed, if that has not been done; its file."""
    first = pretraining(replace(profile, seed=seed))
    first = replace(first, training=replace(first.training, validate_every=0))
    run(first, pretraining_folder(folder, seed), show_progress=show_progress)
    return pretraining_folder(folder, seed) / BACKBONE


def short_side(chosen: Profile) -> int:
    """The size that a grid measures at: that of its last stage of training."""
    return min(512, chosen.training.stages[-1].image_size)


def run_grid(
    profile: Profile,
    folder: str | Path,
    *,
    start: str | Path | None = None,
    jobs: int = 1,
    rows: Sequence[str] = (),
) -> dict[str, Any]:
    """Train and measure every row with every seed; an interrupted grid continues.

    Parameters
    ----------
    profile
        Its part ``ablation`` (else ``training``) says how a row is trained, ``pretraining`` how the backbone is,
        ``seeds`` how often.
    folder
        Gets ``recipe.yaml``, a folder a run, ``result.json`` and ``mattes.jpg`` (drawn people, a column a row).
    start
        The folder of another grid: every network continues from there, for instance at a larger size.
    jobs
        Runs side by side, each in a process with one thread; 1 runs them here, with all threads or a GPU.
    rows
        Keys of `ROWS`; all of them if empty.

    Returns
    -------
    What ``result.json`` holds: ``errors`` by row and metric as (seeds, pictures), their means as ``values``
    (``"mse_easpp"``), ``cost`` by row, ``pictures``, ``seeds``, ``profile``, ``provenance``.
    """
    folder, start, rows = Path(folder), Path(start) if start else None, list(rows or ROWS)
    claim(folder, profile)
    seeds = list(range(profile.seed, profile.seed + profile.seeds))
    # the costly ones first, so that no core waits for the last of them
    todo = [(row, seed) for row in sorted(rows, key=lambda row: row != "aspp") for seed in seeds]
    work = partial(run_one, profile, folder, start)
    run_all(work, todo, jobs)
    measured = {row: [read_json(folder / f"{row}-{seed}" / ERRORS) for seed in seeds] for row in rows}
    metrics, pictures = measured[rows[0]][0]["errors"], measured[rows[0]][0]["pictures"]
    errors = {
        row: {metric: [one["errors"][metric] for one in runs] for metric in metrics}
        for row, runs in measured.items()
    }
    contexts: set[Context] = {ROWS[row].context for row in rows}
    costs = {context: cost(profile, context) for context in contexts}
    result = {
        "profile": profile.name,
        "identity": fingerprint([one["identity"] for runs in measured.values() for one in runs]),
        **recorded(
            _protocol(profile, start, len(pictures)), device=device(), precision="float32", seed=profile.seed
        ),
        "seeds": seeds,
        "pictures": pictures,
        "values": {
            f"{metric}_{row}": float(np.mean(errors[row][metric])) for row in rows for metric in metrics
        },
        "errors": errors,
        "cost": {row: costs[ROWS[row].context] for row in rows},
    }
    write_json(folder / RESULT, rounded(result), indent=None)
    draw_mattes(folder, rows, seeds[0])
    return read_json(folder / RESULT)


def run_all(work: Callable[[str, int], None], todo: Sequence[tuple[str, int]], jobs: int) -> None:
    """Do the runs of a grid, (row, seed) each: here, or side by side in processes of one thread."""
    if jobs > 1:
        with worker_pool(jobs) as pool:
            list(tqdm(pool.map(work, *zip(*todo, strict=True)), "runs", len(todo), disable=None))
    else:
        for row, seed in tqdm(todo, "runs", disable=None):
            work(row, seed)


def _protocol(profile: Profile, start: Path | None, pictures: int) -> str:
    """How a grid is trained and measured, in words."""
    measured = " and ".join(held_out_sets(profile.data)) or "drawn people"
    chosen = recipe(profile, "none", profile.seed, Path())
    return (
        f"{schedule(Profile.load(start / RECIPE)) + ', then ' if start else ''}{schedule(profile)}; "
        f"{profile.seeds} seeds from {profile.seed}; errors on {pictures} validation pictures "
        f"({measured}), short side {short_side(chosen)}"
    )


def device() -> str:
    """Where a grid runs."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def schedule(profile: Profile) -> str:
    """How a grid is trained, in words."""
    training = profile.ablation or profile.training
    stages = [f"{s.steps} steps of {s.batch_size} pictures at {s.image_size} pixels" for s in training.stages]
    before = [f"pre-training {profile.pretraining.steps} steps"] if profile.pretraining else []
    return ", ".join(stages + before)


def cost(profile: Profile, context: Context, size: int = 512) -> dict[str, float]:
    """Parameters, GFLOPs and milliseconds (CPU) of a row's network at `size` pixels."""
    network = MODNet(profile.variant, profile.backbone, context=context).eval()
    image = torch.rand(1, 3, size, size)
    latency = measure_latency(network, image, repeats=max(2, profile.timing_repeats))
    return {
        "parameters": count_parameters(network),
        "gflops": count_flops(network, image) / 1e9,
        "milliseconds": latency.median,
    }


def rounded(value: Any) -> Any:
    """Five digits of every number: the file is committed."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) and math.isfinite(value) else value


def draw_mattes(folder: Path, rows: Sequence[str], seed: int) -> Path:
    """Drawn people, their mattes by every row's network of one seed, and the truth: one picture, a person a line."""
    numbers = range(VALIDATION_SEED, VALIDATION_SEED + SHOWN)
    samples = [read() for read in portrait_readers(numbers, 384).values()]
    columns = [[sample.image for sample in samples]]
    for row in rows:
        matter = Matter(load_checkpoint(folder / f"{row}-{seed}" / CHECKPOINT))
        columns.append([(matter.alpha(sample.image) * 255).round().astype(np.uint8) for sample in samples])
    columns.append([sample.alpha for sample in samples])
    return save_tiles(columns, folder / MATTES)


def save_tiles(columns: Sequence[Sequence[np.ndarray]], file: Path) -> Path:
    """Write columns of square pictures (grey or RGB, uint8) as one picture of tiles of the size `TILE`."""
    tiles = [
        np.vstack([np.asarray(Image.fromarray(tile).convert("RGB").resize(TILE)) for tile in column])
        for column in columns
    ]
    picture = Image.fromarray(np.hstack(tiles))
    write_atomically(file, lambda temporary: picture.save(temporary, "JPEG", quality=88))
    return file


class Summary(NamedTuple):
    """One comparison: a metric before and after, and the paired change with its interval."""

    before: str
    after: str
    metric: str
    values: tuple[float, float]
    change: Difference


def compare(result: dict[str, Any], metric: str) -> list[Summary]:
    """Every comparison of `COMPARISONS` whose rows were run, in one metric.

    Parameters
    ----------
    result
        Of `run_grid`.
    metric
        ``mse``, ``mad``, ``iou``, or ``inside``, ``band``, ``outside``, which add up to ``mad``.
    """
    errors = result["errors"]
    return [
        Summary(
            before,
            after,
            metric,
            (result["values"][f"{metric}_{before}"], result["values"][f"{metric}_{after}"]),
            paired_difference(np.array(errors[before][metric]), np.array(errors[after][metric])),
        )
        for before, after in COMPARISONS
        if before in errors and after in errors
    ]
