"""Grids of runs, trained alike and measured alike: Tables 1, 2, 3 and 5, and our own comparisons.

A grid is a YAML file, ``notebooks/profiles/grids/NAME.yaml``; its rows say what changes in a profile. With one seed,
all rows see the same samples in the same order.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image
from tqdm.auto import tqdm

from modnet_lib import paths
from modnet_lib.baselines import load_network
from modnet_lib.data.readers import benchmark
from modnet_lib.data.sets import drawn_people
from modnet_lib.data.workers import worker_pool
from modnet_lib.evaluation.methods import Method
from modnet_lib.evaluation.statistics import Difference, paired_difference
from modnet_lib.files import write_atomically, write_json, write_text
from modnet_lib.inference import Matter
from modnet_lib.profiles import Profile
from modnet_lib.provenance import fingerprint, read_json, recorded, require_same
from modnet_lib.training.loop import STATE
from modnet_lib.training.run import BACKBONE, CHECKPOINT, RECIPE, pretraining, run, supervised
from modnet_lib.training.validation import (
    held_out_sets,
    measure,
    measured_sets,
    stage_errors,
)

RESULT, ERRORS, MATTES = "result.json", "errors.json", "mattes.jpg"
SHOWN, TILE = 5, (144, 144)  # drawn people in MATTES, and the size of each tile, pixels


class Row(NamedTuple):
    """A row of a table.

    Attributes
    ----------
    label
        As in the table.
    changes
        What changes in the profile, nested as in its file.
    pretrained, longer
        Whether the backbone is pre-trained on masks; whether as many steps are added to training instead.
    paper
        MSE and MAD in the paper, by set.
    """

    label: str
    changes: dict[str, Any]
    pretrained: bool = False
    longer: bool = False
    paper: dict[str, tuple[float, float]] = {}  # noqa: RUF012


class Grid(NamedTuple):
    """What is trained, what it is measured on, and what is compared.

    Attributes
    ----------
    name
        Of the file.
    rows
        By key.
    compare
        Pairs of keys: the second is claimed to be better.
    sets
        Title of each set of pictures; see `measured_sets`.
    squash
        Measure on squares, as in training: with other proportions, methods would also be measured on how well they
        extrapolate.
    gallery
        Rows in the picture of mattes.
    """

    name: str
    rows: dict[str, Row]
    compare: list[tuple[str, str]]
    sets: dict[str, str]
    squash: bool = False
    gallery: list[str] = []  # noqa: RUF012

    @classmethod
    def load(cls, name: str | Path) -> "Grid":
        """Read a grid by name, or any YAML file.

        Raises
        ------
        FileNotFoundError
            If there is no such grid.
        ValueError
            If the file is damaged, a key is missing or unknown, or a comparison names no row.
        """
        file = Path(name) if Path(name).suffix == ".yaml" else paths.PROFILES / "grids" / f"{name}.yaml"
        if not file.is_file():
            known = ", ".join(sorted(one.stem for one in (paths.PROFILES / "grids").glob("*.yaml")))
            raise FileNotFoundError(f"no grid {str(name)!r}: give a YAML file or one of {known}")
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
            rows = {key: _row(row) for key, row in values.pop("rows").items()}
            pairs = [(before, after) for before, after in values.pop("compare")]
            grid = cls(file.stem, rows, pairs, gallery=values.pop("gallery", list(rows)), **values)
        except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file} is no grid ({error}): it needs sets, compare, and rows with a label each"
            ) from error
        if unknown := sorted({*grid.gallery, *(key for pair in pairs for key in pair)} - {*rows}):
            raise ValueError(
                f"{file} compares or shows {', '.join(unknown)}, but its rows are {', '.join(rows)}"
            )
        return grid


def _row(values: dict[str, Any]) -> Row:
    own = {key: values.pop(key) for key in ("label", "pretrained", "longer", "paper") if key in values}
    return Row(changes=values, **own)


def recipe(grid: Grid, profile: Profile, row: str, seed: int, folder: str | Path = "") -> Profile:
    """How one row is trained with one seed; pre-trained backbones lie in `folder`."""
    which, training = grid.rows[row], profile.ablation or profile.training
    if which.longer and profile.pretraining:
        first, *rest = training.stages
        stages = (replace(first, steps=first.steps + profile.pretraining.steps), *rest)
        training = replace(training, stages=stages)
    backbone = Path(folder).resolve() / f"pretraining-{seed}" / BACKBONE
    return replace(
        supervised(profile),
        name=f"{profile.name}-{row}",
        seed=seed,
        backbone_weights=str(backbone) if which.pretrained else profile.backbone_weights,
        training=replace(training, validate_every=0),
    ).changed(which.changes, f"row {row} of {grid.name}")


def pretrain(profile: Profile, folder: Path, seed: int) -> None:
    """Pre-train the backbone of a seed, once for all rows of a grid."""
    first = pretraining(replace(profile, seed=seed))
    first = replace(first, training=replace(first.training, validate_every=0))
    run(first, folder / f"pretraining-{seed}", show_progress=False)


def run_row(grid: Grid, profile: Profile, folder: Path, row: str, seed: int) -> None:
    """Train and measure one row with one seed, into ``<folder>/<row>-<seed>``; existing results are kept.

    Raises
    ------
    ValueError
        If the folder holds another run, or errors of other pictures.
    """
    target = folder / f"{row}-{seed}"
    if grid.rows[row].pretrained:
        pretrain(profile, folder, seed)
    chosen = recipe(grid, profile, row, seed, folder)
    network = run(chosen, target, show_progress=False)
    side = min(512, chosen.training.stages[-1].image_size)
    matter = Method(network.eval(), side, squash=grid.squash)
    sets = measured_sets(profile, list(grid.sets))
    seen = {
        name: {key: fingerprint(*one) for key, one in pictures.items()} for name, pictures in sets.items()
    }
    what = {"run": network.metadata["identity"], "pictures": seen}
    if (target / ERRORS).is_file():
        require_same(read_json(target / ERRORS)["identity"], what, target / ERRORS)
        return
    result = {
        "identity": what,
        "errors": {name: measure(matter, pictures) for name, pictures in sets.items()},
        "stages": stage_errors(matter, sets["natural"]),
    }
    write_json(target / ERRORS, result, indent=None)
    (target / STATE).unlink(missing_ok=True)  # up to a gigabyte


def run_grid(
    grid: Grid, profile: Profile, folder: str | Path, *, jobs: int = 1, rows: Sequence[str] = ()
) -> dict[str, Any]:
    """Train and measure every row with every seed, seed after seed; an interrupted grid continues.

    Parameters
    ----------
    grid
        Rows and what they are measured on.
    profile
        Its part ``ablation`` (else ``training``) says how a row is trained, ``pretraining`` how the backbone is,
        ``seeds`` how often, ``validation`` on how many pictures of each set it is measured.
    folder
        Gets ``recipe.yaml``, a folder a run, ``result.json`` and ``mattes.jpg`` (drawn people, a column a row).
    jobs
        Runs side by side, each in a process with one thread; 1 runs them here, with all threads or a GPU.
    rows
        Keys of the grid's rows; all of them if empty.

    Returns
    -------
    See `collect`.

    Raises
    ------
    ValueError
        If `folder` holds the grid of another profile; the message names the first difference.
    """
    folder, rows = Path(folder), list(rows or grid.rows)
    if profile.data.real and "drawn" in grid.sets:  # measured after training: if it is missing, say so first
        benchmark("spm100", count=profile.validation)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RECIPE).is_file():
        free = {"name": "", "seeds": 1, "timing_repeats": 1}  # a grid may grow by seeds
        stored = Profile.load(folder / RECIPE)
        require_same(asdict(stored.changed(free)), asdict(profile.changed(free)), folder)
    write_text(folder / RECIPE, profile.to_yaml())
    seeds = range(profile.seed, profile.seed + profile.seeds)
    # here, as parallel processes would do it twice
    for seed in seeds if any(grid.rows[row].pretrained for row in rows) else ():
        pretrain(profile, folder, seed)
    work, todo = partial(run_row, grid, profile, folder), [(row, seed) for seed in seeds for row in rows]
    if jobs > 1:
        with worker_pool(jobs) as pool:
            list(tqdm(pool.map(work, *zip(*todo, strict=True)), "runs", len(todo), disable=None))
    else:
        for row, seed in tqdm(todo, "runs", disable=None):
            work(row, seed)
    draw_mattes(folder, [row for row in grid.gallery if row in rows], profile.seed)
    return collect(grid, profile, folder, rows)


def draw_mattes(folder: Path, rows: Sequence[str], seed: int) -> Path:
    """Fig. 5 and 8: drawn people, their mattes by each row of one seed, and the truth; a person a line."""
    samples = [read() for read in drawn_people(SHOWN, "validation").readers]
    columns = [[sample.image for sample in samples]]
    for row in rows:
        matter = Matter(load_network(folder / f"{row}-{seed}" / CHECKPOINT))
        columns.append([(matter.alpha(sample.image) * 255).round().astype(np.uint8) for sample in samples])
    columns.append([sample.alpha for sample in samples])
    tiles = [
        np.vstack([np.asarray(Image.fromarray(tile).convert("RGB").resize(TILE)) for tile in column])
        for column in columns
    ]
    picture = Image.fromarray(np.hstack(tiles))
    write_atomically(folder / MATTES, lambda temporary: picture.save(temporary, "JPEG", quality=88))
    return folder / MATTES


def collect(grid: Grid, profile: Profile, folder: Path, rows: Sequence[str]) -> dict[str, Any]:
    """Write ``result.json`` of the seeds with which every row has been measured.

    Returns
    -------
    ``errors`` by set, row and metric as (seeds, pictures), their means as ``values`` (``"natural_mad_shm"``),
    ``stages`` by row, ``pictures`` by set, ``seeds``, ``profile``, ``provenance``.

    Raises
    ------
    FileNotFoundError
        If no seed is complete.
    """
    files = {
        seed: [folder / f"{row}-{seed}" / ERRORS for row in rows]
        for seed in range(profile.seed, profile.seed + profile.seeds)
    }
    seeds = [seed for seed, each in files.items() if all(file.is_file() for file in each)]
    if not seeds:
        raise FileNotFoundError(
            f"{folder} has no seed with all of {', '.join(rows)}; run the same command again"
        )
    runs = {row: [read_json(folder / f"{row}-{seed}" / ERRORS) for seed in seeds] for row in rows}
    pictures = {name: [*seen] for name, seen in runs[rows[0]][0]["identity"]["pictures"].items()}
    errors = {name: _by_row(runs, lambda one, name=name: one["errors"][name]) for name in grid.sets}
    result = {
        "profile": profile.name,
        "identity": fingerprint([one["identity"] for each in runs.values() for one in each]),
        **recorded(
            _protocol(grid, profile, len(seeds), pictures),
            device="cuda" if torch.cuda.is_available() else "cpu",
            precision="float32",
            seed=profile.seed,
        ),
        "seeds": seeds,
        "pictures": pictures,
        "values": {
            f"{name}_{metric}_{row}": float(np.mean(values))
            for name, by_row in errors.items()
            for row, by_metric in by_row.items()
            for metric, values in by_metric.items()
        },
        "errors": errors,
        "stages": _by_row(runs, lambda one: one["stages"]),
    }
    write_json(folder / RESULT, rounded(result), indent=None)
    return read_json(folder / RESULT)


def _by_row(runs: dict[str, list[dict]], part: Any) -> dict[str, dict[str, list[Any]]]:
    """Numbers of every row by metric, over its runs; rows without any are left out."""
    return {
        row: {metric: [part(one)[metric] for one in each] for metric in part(each[0])}
        for row, each in runs.items()
        if part(each[0])
    }


def _protocol(grid: Grid, profile: Profile, seeds: int, pictures: dict[str, list[str]]) -> str:
    """How a grid is trained and measured, in words."""
    stages = (profile.ablation or profile.training).stages
    trained = ", ".join(
        f"{s.steps} steps of {s.batch_size} pictures at {s.image_size} pixels" for s in stages
    )
    before = f", pre-training {profile.pretraining.steps} steps" if profile.pretraining else ""
    people = " and ".join(held_out_sets(profile.data)) or "drawn people"
    counts = ", ".join(f"{len(names)} {name}" for name, names in pictures.items())
    seen = f"as a square of {stages[-1].image_size} pixels" if grid.squash else "with its proportions"
    return (
        f"{trained}{before}; {seeds} seeds from {profile.seed}; errors on validation pictures "
        f"({people}; {counts}), each seen {seen}"
    )


def rounded(value: Any) -> Any:
    """Five digits of every number: the file is committed."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) and math.isfinite(value) else value


class Summary(NamedTuple):
    """One comparison: a metric before and after, and the paired change with its interval."""

    before: str
    after: str
    values: tuple[float, float]
    change: Difference


def compare(grid: Grid, result: dict[str, Any], metric: str, name: str = "natural") -> list[Summary]:
    """Every comparison of a grid whose rows were run, in one metric on one set.

    Parameters
    ----------
    grid
        Says what is compared.
    result
        Of `run_grid`.
    metric
        ``mse``, ``mad``, ``iou``, or ``inside``, ``band``, ``outside``, which add up to ``mad``.
    name
        Key of the grid's sets.
    """
    errors = {row: np.array(by_metric[metric]) for row, by_metric in result["errors"][name].items()}
    return [
        Summary(
            before,
            after,
            (float(errors[before].mean()), float(errors[after].mean())),
            paired_difference(errors[before], errors[after]),
        )
        for before, after in grid.compare
        if before in errors and after in errors
    ]
