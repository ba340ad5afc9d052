"""Grids of runs, trained alike and measured alike: Tables 1, 2, 3 and 5, and our own comparisons.

A grid is a YAML file, ``notebooks/profiles/grids/NAME.yaml``; its rows say what changes in a profile. With one seed,
all rows see the same samples in the same order.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, model_validator
from tqdm.auto import tqdm

from modnet_lib import paths
from modnet_lib.baselines import load_network
from modnet_lib.data.sets import drawn_people
from modnet_lib.devices import Device
from modnet_lib.evaluation.methods import Method
from modnet_lib.evaluation.statistics import Difference, paired_difference
from modnet_lib.files import write_atomically, write_json, write_text
from modnet_lib.inference import Matter
from modnet_lib.profiles import Profile, read_yaml, validated
from modnet_lib.provenance import fingerprint, read_json, recorded, require_same
from modnet_lib.training.loop import STATE
from modnet_lib.training.run import BACKBONE, CHECKPOINT, RECIPE, pretraining, run, supervised
from modnet_lib.training.state import all_processes
from modnet_lib.training.validation import held_out_sets, measure, measured_sets

RESULT, ERRORS, MATTES = "result.json", "errors.json", "mattes.jpg"
SHOWN, TILE = 5, (320, 320)  # drawn people in MATTES, and the size of each tile, pixels


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
    #: Measure on squares, as in training: with other proportions, methods would also be measured on how well they
    #: extrapolate.
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
    """How one row is trained with one seed; pre-trained backbones lie in `folder`."""
    which, training = grid.rows[row], profile.ablation or profile.training
    first, *rest = training.stages
    if which.longer and profile.pretraining:
        first = replace(first, steps=first.steps + profile.pretraining.steps)
    backbone = Path(folder).resolve() / f"pretraining-{seed}" / BACKBONE
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
    if grid.rows[row].pretrained:  # once for all rows
        first = pretraining(replace(profile, seed=seed))
        first = replace(first, training=replace(first.training, validate_every=0))
        run(first, folder / f"pretraining-{seed}", show_progress=False)
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
    write_json(target / ERRORS, {"identity": what, "errors": errors, "origin": made["origin"]}, indent=None)
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
        Gets ``recipe.yaml``, a folder a run, ``result.json`` and ``mattes.jpg`` (drawn people, a column a row). Raises
        `ValueError` if it holds another profile's grid, other runs or errors of other pictures.
    device
        Instead of the profile's; see `choose_device`.
    """
    folder, rows, processes = Path(folder), list(rows or grid.rows), all_processes()
    profile = replace(profile, device=str(device)) if device else profile
    if (folder / RECIPE).is_file():
        free = {"name": "", "seeds": 1, "timing_repeats": 1, "device": None}  # a grid may grow by seeds
        stored = Profile.load(folder / RECIPE)
        require_same(asdict(stored.changed(free)), asdict(profile.changed(free)), folder)
    with processes.main_process_first():
        measured_sets(profile, list(grid.sets))  # what is missing is said before hours of training
        if processes.is_main_process:
            write_text(folder / RECIPE, profile.to_yaml())
    seeds = range(profile.seed, profile.seed + profile.seeds)
    for row, seed in tqdm([(row, seed) for seed in seeds for row in rows], "runs", disable=None):
        run_row(grid, profile, folder, row, seed)
    with processes.main_process_first():
        if processes.is_main_process:
            draw_mattes(folder, [row for row in grid.gallery if row in rows], profile.seed, profile.device)
            collect(grid, profile, folder, rows)
    return read_json(folder / RESULT)


def draw_mattes(folder: Path, rows: Sequence[str], seed: int, device: str | None) -> None:
    """Fig. 5 and 8: drawn people, their mattes by each row of one seed, and the truth; a person a line."""
    samples = [read() for read in drawn_people(SHOWN, "validation").readers]
    columns = [[sample.image for sample in samples]]
    for row in rows:
        matter = Matter(load_network(folder / f"{row}-{seed}" / CHECKPOINT), device=device)
        columns.append([(matter.alpha(sample.image) * 255).round().astype(np.uint8) for sample in samples])
    columns.append([sample.alpha for sample in samples])
    tiles = [[np.asarray(Image.fromarray(one).convert("RGB").resize(TILE)) for one in each] for each in columns]
    picture = Image.fromarray(np.hstack([np.vstack(column) for column in tiles]))
    write_atomically(folder / MATTES, lambda temporary: picture.save(temporary, "JPEG", quality=88))


def collect(grid: Grid, profile: Profile, folder: Path, rows: Sequence[str]) -> dict[str, Any]:
    """Write ``result.json`` of the seeds with which every row has been measured; a FileNotFoundError if there is none.

    It has ``errors`` by set, row and metric as (seeds, pictures), their means as ``values`` (``"natural_mad_shm"``),
    ``pictures`` by set, ``seeds``, ``profile``, ``provenance``. Numbers have five digits.
    """
    files = {
        seed: {row: folder / f"{row}-{seed}" / ERRORS for row in rows}
        for seed in range(profile.seed, profile.seed + profile.seeds)
    }
    seeds = [seed for seed, each in files.items() if all(file.is_file() for file in each.values())]
    if not seeds:
        raise FileNotFoundError(f"{folder} has no seed with all of {', '.join(rows)}; repeat the command")
    runs = {row: [read_json(files[seed][row]) for seed in seeds] for row in rows}
    every = [one for each in runs.values() for one in each]
    pictures = {name: [*seen] for name, seen in every[0]["identity"]["pictures"].items()}
    errors = {
        name: {
            row: {metric: [one["errors"][name][metric] for one in each] for metric in each[0]["errors"][name]}
            for row, each in runs.items()
            if each[0]["errors"][name]  # some methods need a background, which is not always known
        }
        for name in grid.sets
    }
    steps = ", ".join(
        f"{n} of {batch} at {size} pixels" for size, batch, n in (profile.ablation or profile.training).sizes
    )
    masks = f" after {profile.pretraining.steps} on masks" if profile.pretraining else ""
    people = " and ".join(held_out_sets(profile.data)) or "drawn people"
    counts = ", ".join(f"{len(names)} {name}" for name, names in pictures.items())
    seen = "as squares" if grid.squash else "with their proportions"
    what = f"steps: {steps}{masks}; {len(seeds)} seeds from {profile.seed}; "
    what += f"errors on validation pictures ({people}; {counts}), seen {seen}"
    device = " and ".join(sorted({one["origin"]["device"] for one in every}))
    result = {
        "profile": profile.name,
        "identity": fingerprint([one["identity"] for one in every]),
        **recorded(what, device=device, precision="float32", seed=profile.seed),
        "seeds": seeds,
        "pictures": pictures,
        "values": {
            f"{name}_{metric}_{row}": float(np.mean(numbers))
            for name, by_row in errors.items()
            for row, by_metric in by_row.items()
            for metric, numbers in by_metric.items()
        },
        "errors": errors,
    }
    result = json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.5g}"))
    write_json(folder / RESULT, result, indent=None)
    return result


class Summary(NamedTuple):
    """One comparison: a metric before and after, and the paired change with its interval."""

    before: str
    after: str
    values: tuple[float, float]
    change: Difference


def compare(grid: Grid, result: dict[str, Any], metric: str, name: str = "natural") -> list[Summary]:
    """Every comparison of a grid whose rows were run, in one metric (``mad``) on one of its sets (``natural``)."""
    errors = {row: np.array(by_metric[metric]) for row, by_metric in result["errors"][name].items()}
    pairs = [pair for pair in grid.compare if {*pair} <= {*errors}]
    return [
        Summary(one, other, (first.mean(), second.mean()), paired_difference(first, second))
        for one, other in pairs
        for first, second in [(errors[one], errors[other])]
    ]
