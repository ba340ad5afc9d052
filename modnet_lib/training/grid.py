"""Grids of runs, trained alike and measured alike: Tables 1, 2, 3 and 5, and our own comparisons.

A grid is a YAML file, ``notebooks/profiles/grids/NAME.yaml``; its rows say what changes in a profile. With one seed,
all rows see the same samples in the same order.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator
from tqdm.auto import tqdm

from modnet_lib import paths
from modnet_lib.devices import Device
from modnet_lib.evaluation.methods import Method
from modnet_lib.evaluation.statistics import Difference, paired_difference
from modnet_lib.files import write_json, write_text
from modnet_lib.profiles import Profile, read_yaml, validated
from modnet_lib.provenance import fingerprint, read_json, recorded, require_same
from modnet_lib.training.loop import METRICS, STATE
from modnet_lib.training.run import BACKBONE, RECIPE, pretraining, run, supervised
from modnet_lib.training.state import all_processes, read_metrics
from modnet_lib.training.validation import held_out_sets, measure, measured_sets

RESULT, ERRORS = "result.json", "errors.json"


class Row(BaseModel):
    """A row of a table; every other key is a change in the profile, nested as in its file."""

    model_config = ConfigDict(extra="allow")
    label: str
    #: Whether the backbone is pre-trained on masks; whether as many steps are added to training instead.
    pretrained: bool = False
    longer: bool = False
    #: MSE and MAD in the paper by set.
    paper: dict[str, tuple[float, float]] = {}


class Grid(BaseModel):
    """What is trained, what it is measured on, and what is compared."""

    model_config = ConfigDict(extra="forbid")
    name: str = ""
    rows: dict[str, Row]
    #: Pairs of keys: the second is claimed to be better.
    compare: list[tuple[str, str]]
    #: Title of each set of pictures; see `measured_sets`.
    sets: dict[str, str]
    #: Measure on squares, as in training, so that how well a method extrapolates to other shapes does not count.
    squash: bool = False
    #: Rows in the picture of mattes; all by default.
    gallery: list[str] = []

    @model_validator(mode="after")
    def _names_rows(self) -> "Grid":
        if unknown := {*self.gallery, *sum(self.compare, ())} - {*self.rows}:
            raise ValueError(f"its rows are {', '.join(self.rows)}, not {', '.join(sorted(unknown))}")
        return self

    @classmethod
    def load(cls, name: str | Path) -> "Grid":
        """Read a grid by name, or any YAML file; the errors are those of `Profile.load`."""
        file, values = read_yaml(name, paths.PROFILES / "grids")
        grid = validated(cls, values, str(file))
        return grid.model_copy(update={"name": file.stem, "gallery": grid.gallery or [*grid.rows]})


def recipe(grid: Grid, profile: Profile, row: str, seed: int, folder: str | Path = "") -> Profile:
    """How one row is trained with one seed; the backbone that is pre-trained for all of them lies in `folder`."""
    which, training = grid.rows[row], profile.ablation or profile.training
    first, *rest = training.stages
    if which.longer and profile.pretraining:
        first = replace(first, steps=first.steps + profile.pretraining.steps)
    backbone = Path(folder).resolve() / "pretraining" / BACKBONE
    return replace(
        supervised(profile),
        name=f"{profile.name}-{row}",
        seed=seed,
        backbone_weights=str(backbone) if which.pretrained else profile.backbone_weights,
        training=replace(training, stages=(first, *rest), validate_every=0),
    ).changed(which.model_extra or {}, f"row {row} of {grid.name}")


def run_row(grid: Grid, profile: Profile, folder: Path, row: str, seed: int) -> None:
    """Train and measure one row with one seed, into ``<folder>/<row>-<seed>``; existing results are kept."""
    target = folder / f"{row}-{seed}"
    if grid.rows[row].pretrained:  # once for all rows and seeds
        first = pretraining(profile)
        first = replace(first, training=replace(first.training, validate_every=0))
        run(first, folder / "pretraining", show_progress=False)
    chosen = recipe(grid, profile, row, seed, folder)
    network = run(chosen, target, show_progress=False)
    if not all_processes().is_main_process:  # they share the training
        return
    method = Method(network.eval(), min(512, chosen.training.stages[-1].image_size), squash=grid.squash)
    sets = measured_sets(profile, list(grid.sets))
    seen = {name: {key: fingerprint(*one) for key, one in pictures.items()} for name, pictures in sets.items()}
    what = {"run": network.metadata["identity"], "pictures": seen}
    if (target / ERRORS).is_file():
        require_same(read_json(target / ERRORS)["identity"], what, target / ERRORS)
        return
    errors = {name: measure(method, pictures) for name, pictures in sets.items()}
    made = recorded("errors", device=next(network.parameters()).device, precision="float32", seed=seed)
    spent = sum(step["seconds"] for step in read_metrics(target / METRICS, chosen.training.steps, rewrite=False))
    content = {"identity": what, "errors": errors, "hours": spent / 3600, "origin": made["origin"]}
    write_json(target / ERRORS, content, indent=None)
    (target / STATE).unlink(missing_ok=True)  # up to a gigabyte


def run_grid(
    grid: Grid, profile: Profile, folder: str | Path, *, device: Device = None, rows: Sequence[str] = ()
) -> dict[str, Any]:
    """Train and measure every row with every seed, seed after seed; an interrupted grid continues.

    Processes of a launcher share each run. The result is that of `collect`.

    Parameters
    ----------
    grid, rows
        What is trained, and the keys of the rows; all of them if empty.
    profile
        Its part ``ablation`` (else ``training``) says how a row is trained, ``pretraining`` how the backbone is,
        ``seeds`` how often, ``validation`` on how many pictures of each set it is measured.
    folder
        Gets ``recipe.yaml``, a folder a run, and ``result.json``. Raises `ValueError` if it holds another profile's
        grid, other runs or errors of other pictures.
    device
        Instead of the profile's; see `choose_device`.
    """
    folder, processes = Path(folder), all_processes()
    profile = replace(profile, device=str(device)) if device else profile
    if (folder / RECIPE).is_file():
        free = {"name": "", "seeds": 1, "timing_repeats": 1, "device": None}  # a grid may grow by rows and seeds
        stored = Profile.load(folder / RECIPE)
        require_same(asdict(stored.changed(free)), asdict(profile.changed(free)), folder)
    with processes.main_process_first():
        measured_sets(profile, list(grid.sets))  # what is missing is said before hours of training
        if processes.is_main_process:
            write_text(folder / RECIPE, profile.to_yaml())
    seeds = range(profile.seed, profile.seed + profile.seeds)
    for row, seed in tqdm([(row, seed) for seed in seeds for row in rows or grid.rows], "runs", disable=None):
        run_row(grid, profile, folder, row, seed)
    with processes.main_process_first():
        if processes.is_main_process:
            collect(grid, profile, folder)
    return read_json(folder / RESULT)


def collect(grid: Grid, profile: Profile, folder: Path) -> dict[str, Any]:
    """Write ``result.json`` of everything that has been measured; a `FileNotFoundError` if nothing has.

    It has ``errors`` by set, row and metric as (seeds, pictures), ``pictures`` by set, ``hours`` of training,
    ``profile`` and ``provenance``, with five digits. A row's seeds count from the profile's on; rows may have different
    numbers of them. Raises `ValueError` if rows were measured on different pictures.
    """
    runs = dict[str, list[dict[str, Any]]]()
    for row in grid.rows:
        files = (folder / f"{row}-{profile.seed + number}" / ERRORS for number in range(profile.seeds))
        if measured := [read_json(file) for file in takewhile(Path.is_file, files)]:
            runs[row] = measured
    if not runs:
        raise FileNotFoundError(f"no row in {folder} has been measured with seed {profile.seed}; repeat the command")
    every = [one for each in runs.values() for one in each]
    seen = every[0]["identity"]["pictures"]
    for one in every:
        require_same(seen, one["identity"]["pictures"], folder)
    pictures = {name: [*each] for name, each in seen.items()}
    errors = {
        name: {
            row: {metric: [one["errors"][name][metric] for one in each] for metric in each[0]["errors"][name]}
            for row, each in runs.items()
            if each[0]["errors"][name]  # some methods need a background, which is not always known
        }
        for name in grid.sets
    }
    what, hours = _what(grid, profile, runs, pictures), sum(one["hours"] for one in every)
    device = " and ".join(sorted({one["origin"]["device"] for one in every}))
    result = {
        "profile": profile.name,
        "identity": fingerprint([one["identity"] for one in every]),
        **recorded(f"{what}; {hours:.2g} hours", device=device, precision="float32", seed=profile.seed),
        "hours": hours,
        "pictures": pictures,
        "errors": errors,
    }
    write_json(folder / RESULT, result, indent=None, digits=5)
    return read_json(folder / RESULT)


def _what(grid: Grid, profile: Profile, runs: dict[str, list], pictures: dict[str, list[str]]) -> str:
    """How the rows were trained and measured, in words."""
    sizes = (profile.ablation or profile.training).sizes
    steps = ", ".join(f"{steps} of {batch} at {size} pixels" for size, batch, steps in sizes)
    masks = f" after {profile.pretraining.steps} on masks" if profile.pretraining else ""
    seeds = " or ".join(sorted({str(len(each)) for each in runs.values()}))
    people = " and ".join(held_out_sets(profile.data)) or "drawn people"
    numbers = ", ".join(f"{len(names)} {name}" for name, names in pictures.items())
    seen = "as squares" if grid.squash else "with their proportions"
    trained = f"steps: {steps}{masks}; {len(runs)} rows, {seeds} seeds each from {profile.seed}"
    return f"{trained}; errors on validation pictures ({people}; {numbers}), seen {seen}"


class Summary(NamedTuple):
    """One comparison: a metric before and after, and the paired change with its interval."""

    before: str
    after: str
    values: tuple[float, float]
    change: Difference


def compare(grid: Grid, result: dict[str, Any], metric: str, name: str = "natural") -> list[Summary]:
    """Every comparison of a grid whose rows were run, in one metric (``mad``) on one of its sets (``natural``).

    It is made over the seeds that both rows have.
    """
    errors, found = result["errors"][name], list[Summary]()
    for before, after in grid.compare:
        if before in errors and after in errors:
            pairs = zip(errors[before][metric], errors[after][metric], strict=False)
            first, second = (np.array(each) for each in zip(*pairs, strict=True))
            found.append(Summary(before, after, (first.mean(), second.mean()), paired_difference(first, second)))
    return found
