"""Tables 1, 2 and 5: the methods of the paper, trained alike and measured alike.

With one seed, all of them start from the same backbone and see the same samples in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modnet_lib.baselines import Baseline, load_network, needs
from modnet_lib.data.compositing import paste
from modnet_lib.data.loaders import portrait_readers
from modnet_lib.data.readers import benchmark
from modnet_lib.data.scenes import render_background
from modnet_lib.data.sources import held_out_backgrounds
from modnet_lib.evaluation.methods import Method, trimap_of
from modnet_lib.evaluation.metrics import mad
from modnet_lib.evaluation.protocol import evaluate
from modnet_lib.evaluation.statistics import paired_difference
from modnet_lib.files import write_json
from modnet_lib.images import read_image
from modnet_lib.inference import Matter
from modnet_lib.profiles import Profile
from modnet_lib.provenance import fingerprint, pixels_fingerprint, read_json, recorded
from modnet_lib.training.ablation import (
    ERRORS,
    MATTES,
    RESULT,
    SHOWN,
    Summary,
    claim,
    device,
    is_measured,
    pretrain,
    rounded,
    run_all,
    save_tiles,
    schedule,
    short_side,
)
from modnet_lib.training.loop import STATE
from modnet_lib.training.recipes import (
    CHECKPOINT,
    VALIDATION_SEED,
    given_with,
    held_out_sets,
    run,
    supervised,
    validation_data,
)

# our place for each table: what is measured there
SETS = {
    "natural": "Table 1: photographs as they are",
    "composed": "Table 2: the same people in front of other scenes",
    "drawn": "Table 5: drawn people, exact mattes",
}


@dataclass(frozen=True)
class System:
    """A row of Tables 1, 2 and 5, or BM.

    Attributes
    ----------
    label
        As in the tables; a dagger marks a pre-trained backbone.
    baseline
        Key of `modnet_lib.baselines.BASELINES`; ``None`` is MODNet.
    trimap
        Whether a trimap is given.
    pretrained
        Whether the backbone is pre-trained on masks.
    paper
        MSE and MAD of the paper by key of `SETS`: PPM-100, AMD, D646.
    """

    label: str
    baseline: str | None = None
    trimap: bool = False
    pretrained: bool = True
    paper: dict[str, tuple[float, float]] = field(default_factory=dict)


def _paper(*values: float) -> dict[str, tuple[float, float]]:
    pairs = zip(values[::2], values[1::2], strict=True)
    return dict(zip(SETS, pairs, strict=False))


SYSTEMS = {
    "dim_trimap": System(
        "DIM, trimap", "dim_trimap", True, False, _paper(0.0016, 0.0067, 0.0014, 0.0069, 0.0025, 0.0081)
    ),
    "indexnet": System("IndexNet, trimap", "indexnet", True, False, _paper(0.0015, 0.0064, 0.0013, 0.0066)),
    "modnet_trimap": System("MODNet, trimap", None, True, False, _paper(0.0013, 0.0054, 0.0011, 0.0063)),
    "dim_plain": System("DIM", "dim", False, False, _paper(0.0221, 0.0327, 0.0075, 0.0159)),
    "dim": System("DIM †", "dim", paper=_paper(0.0115, 0.0178, 0.0048, 0.0116)),
    "fdmpa": System("FDMPA †", "fdmpa", paper=_paper(0.0101, 0.0160, 0.0047, 0.0115)),
    "lfm": System("LFM †", "lfm", paper=_paper(0.0094, 0.0158, 0.0043, 0.0101)),
    "shm": System("SHM †", "shm", paper=_paper(0.0072, 0.0152, 0.0031, 0.0092)),
    "hatt": System("HAtt †", "hatt", paper=_paper(0.0067, 0.0137, 0.0034, 0.0094, 0.0054, 0.0126)),
    "bshm": System("BSHM †", "bshm", paper=_paper(0.0063, 0.0114, 0.0029, 0.0088)),
    "modnet": System("MODNet †", paper=_paper(0.0044, 0.0086, 0.0023, 0.0077, 0.0037, 0.0098)),
    "bm": System("BM †, background", "bm"),
    # the other methods without pre-training, which the paper leaves out
    "modnet_plain": System("MODNet", pretrained=False),
    "fdmpa_plain": System("FDMPA", "fdmpa", pretrained=False),
    "lfm_plain": System("LFM", "lfm", pretrained=False),
    "shm_plain": System("SHM", "shm", pretrained=False),
    "hatt_plain": System("HAtt", "hatt", pretrained=False),
    "bshm_plain": System("BSHM", "bshm", pretrained=False),
}
TRIMAP_FREE = (
    "dim_plain",
    "dim",
    "fdmpa",
    "lfm",
    "shm",
    "hatt",
    "bshm",
    "modnet",
)  # Table 1, from top to bottom
GALLERY = ("dim", "fdmpa", "lfm", "shm", "hatt", "bshm", "modnet")  # the columns of Fig. 8
# what the paper claims: the second is better
COMPARISONS = (
    *pairwise(TRIMAP_FREE),
    *((key, "modnet") for key in TRIMAP_FREE[1:-2]),
    ("dim_trimap", "indexnet"),
    ("indexnet", "modnet_trimap"),
    ("modnet", "modnet_trimap"),
    ("dim_plain", "dim_trimap"),
    ("fdmpa_plain", "fdmpa"),
    ("lfm_plain", "lfm"),
    ("shm_plain", "shm"),
    ("hatt_plain", "hatt"),
    ("bshm_plain", "bshm"),
    ("modnet_plain", "modnet"),
)


class Picture(NamedTuple):
    """A labelled picture (H, W, 3) with its matte (H, W), uint8, and its background if that is known."""

    image: np.ndarray
    alpha: np.ndarray
    background: np.ndarray | None


def recipe(profile: Profile, system: str, seed: int, backbone: Path | None = None) -> Profile:
    """How one method is trained with one seed, from a pre-trained backbone if there is one."""
    which = SYSTEMS[system]
    return replace(
        supervised(profile),
        name=f"{profile.name}-{system}",
        seed=seed,
        baseline=which.baseline,
        trimap_input=which.trimap and which.baseline is None,
        backbone_weights=str(backbone) if backbone else profile.backbone_weights,
        training=replace(profile.ablation or profile.training, validate_every=0),
    )


def measured_sets(profile: Profile) -> dict[str, dict[str, Picture]]:
    """The pictures of each key of `SETS` by name, `profile.validation` of each."""
    samples, size = validation_data(profile.data, profile.validation), profile.data.portrait_size
    files = held_out_backgrounds() if profile.data.real else []
    sets: dict[str, dict[str, Picture]] = {"natural": {}, "composed": {}, "drawn": {}}
    for number, (name, sample) in enumerate(samples):
        scene = (
            read_image(files[number % len(files)])
            if files
            else render_background(VALIDATION_SEED + number, size)
        )
        behind = paste(sample._replace(alpha=np.zeros_like(sample.alpha)), scene)
        sets["natural"][name] = Picture(sample.image, sample.alpha, sample.background)
        sets["composed"][name] = Picture(paste(sample, scene), sample.alpha, behind)
    if profile.data.real:
        sets["drawn"] = {
            name: Picture(one.image, one.alpha, None)
            for name, read in benchmark("spm100", count=profile.validation).items()
            for one in (read(),)
        }
    else:  # SPM-100 takes minutes to draw
        numbers = range(VALIDATION_SEED + 1000, VALIDATION_SEED + 1000 + profile.validation)
        for name, read in portrait_readers(numbers, size).items():
            sets["drawn"][name] = Picture(*read()[:2], None)
    return sets


def measure(matter: Method, pictures: dict[str, Picture]) -> dict[str, list[float]] | None:
    """Errors of a method on a set by metric, a number a picture; ``None`` if it needs backgrounds and has none."""
    network, records = matter.network, []
    needed = needs(network)
    for name, (image, truth, background) in pictures.items():
        if background is None and "background" in needed:
            return None
        given = given_with(network, image, truth, image if background is None else background)
        matte = matter.alpha(image, **given)
        if (
            "trimap" in given
        ):  # the other trimap-based methods keep what it is sure of, so MODNet does as well
            matte = np.where(given["trimap"] == 0.5, matte, given["trimap"])
        records += evaluate(lambda _, matte=matte: matte, [(name, image, truth)], regions=True)
    return {metric: [record.errors[metric] for record in records] for metric in records[0].errors}


def stage_errors(matter: Method, pictures: dict[str, Picture]) -> dict[str, list[float]]:
    """MAD of every stage of a multi-stage method, a number a picture.

    Where a method accepts a trimap instead of its first stage, ``true first stage`` is the error of its
    last stage with the true one.
    """
    network, found = matter.network, dict[str, list[float]]()
    if not isinstance(network, Baseline) or not network.estimates or network.required:
        return {}
    for picture in pictures.values():
        truth = picture.alpha / 255.0
        mattes = matter.estimates(picture.image)
        if "trimap" in network.optional:
            mattes["true first stage"] = matter.alpha(picture.image, trimap_of(truth))
        for name, matte in mattes.items():
            found.setdefault(name, []).append(mad(matte, truth))
    return found


def run_one(profile: Profile, folder: Path, system: str, seed: int) -> None:
    """Train and measure one method with one seed, into ``<folder>/<system>-<seed>``; existing results are kept."""
    target = folder / f"{system}-{seed}"
    which = SYSTEMS[system]
    backbone = pretrain(profile, folder, seed) if which.pretrained else None
    chosen = recipe(profile, system, seed, backbone)
    # the square that all were trained on: with other proportions, a network would also be measured on how well it
    # extrapolates (notebook 04, section 8)
    network = run(chosen, target, show_progress=False)
    matter = Method(network.eval(), short_side(chosen), squash=True)
    sets = measured_sets(profile)
    names = {name: list(pictures) for name, pictures in sets.items()}
    seen = {
        name: {key: pixels_fingerprint(*one) for key, one in pictures.items()}
        for name, pictures in sets.items()
    }
    what = {"run": network.metadata["identity"], "pictures": seen}
    if is_measured(target, what):
        return
    result = {
        "identity": what,
        "pictures": names,
        "errors": {name: measure(matter, pictures) for name, pictures in sets.items()},
        "stages": stage_errors(matter, sets["natural"]),
    }
    write_json(target / ERRORS, result, indent=None)
    (target / STATE).unlink(missing_ok=True)


def run_grid(
    profile: Profile, folder: str | Path, *, jobs: int = 1, systems: Sequence[str] = ()
) -> dict[str, Any]:
    """Train and measure every method with every seed, seed after seed; an interrupted grid continues.

    Parameters
    ----------
    profile
        Its part ``ablation`` (else ``training``) says how a method is trained, ``pretraining`` how the backbone is,
        ``seeds`` how often, ``validation`` on how many pictures of each set it is measured.
    folder
        Gets ``recipe.yaml``, a folder a run, ``result.json`` and ``mattes.jpg`` (`draw_gallery`).
    jobs
        Runs side by side; see `modnet_lib.training.ablation.run_grid`.
    systems
        Keys of `SYSTEMS`; all of them if empty.

    Returns
    -------
    See `collect`.
    """
    folder, systems = Path(folder), list(systems or SYSTEMS)
    claim(folder, profile)
    seeds = range(profile.seed, profile.seed + profile.seeds)
    # here, as parallel processes would do it twice
    for seed in seeds if any(SYSTEMS[system].pretrained for system in systems) else ():
        pretrain(profile, folder, seed)
    todo = [(system, seed) for seed in seeds for system in systems]
    run_all(partial(run_one, profile, folder), todo, jobs)
    draw_gallery(folder, [system for system in GALLERY if system in systems], profile.seed)
    return collect(profile, folder, systems)


def draw_gallery(folder: Path, systems: Sequence[str], seed: int) -> Path:
    """Fig. 5 and 8: drawn people, their mattes by each method of one seed, and the truth; a person a line."""
    samples = [
        read() for read in portrait_readers(range(VALIDATION_SEED, VALIDATION_SEED + SHOWN), 384).values()
    ]
    columns = [[sample.image for sample in samples]]
    for system in systems:
        matter = Matter(load_network(folder / f"{system}-{seed}" / CHECKPOINT))
        columns.append([(matter.alpha(sample.image) * 255).round().astype(np.uint8) for sample in samples])
    return save_tiles([*columns, [sample.alpha for sample in samples]], folder / MATTES)


def collect(profile: Profile, folder: Path, systems: Sequence[str]) -> dict[str, Any]:
    """Write ``result.json`` of the seeds with which every method has been measured.

    Returns
    -------
    ``errors`` by set, method and metric as (seeds, pictures), their means as ``values`` (``"natural_mad_shm"``),
    ``stages`` by method, ``pictures`` by set, ``seeds``, ``profile``, ``provenance``.

    Raises
    ------
    FileNotFoundError
        If no seed is complete.
    """
    files = {
        seed: [folder / f"{system}-{seed}" / ERRORS for system in systems]
        for seed in range(profile.seed, profile.seed + profile.seeds)
    }
    seeds = [seed for seed, each in files.items() if all(file.is_file() for file in each)]
    if not seeds:
        raise FileNotFoundError(
            f"{folder} has no seed with all of {', '.join(systems)}; run the same command again"
        )
    runs = {system: [read_json(folder / f"{system}-{seed}" / ERRORS) for seed in seeds] for system in systems}
    pictures = runs[systems[0]][0]["pictures"]
    errors: dict[str, Any] = {}
    for name in SETS:
        errors[name] = {
            system: {
                metric: [run["errors"][name][metric] for run in one] for metric in one[0]["errors"][name]
            }
            for system, one in runs.items()
            if one[0]["errors"][name]
        }
    result = {
        "profile": profile.name,
        "identity": fingerprint([one["identity"] for one_system in runs.values() for one in one_system]),
        **recorded(
            _protocol(profile, len(seeds), pictures),
            device=device(),
            precision="float32",
            seed=profile.seed,
        ),
        "seeds": seeds,
        "pictures": pictures,
        "values": {
            f"{name}_{metric}_{system}": float(np.mean(values))
            for name, by_system in errors.items()
            for system, by_metric in by_system.items()
            for metric, values in by_metric.items()
        },
        "errors": errors,
        "stages": {
            system: {stage: [run["stages"][stage] for run in one] for stage in one[0]["stages"]}
            for system, one in runs.items()
            if one[0]["stages"]
        },
    }
    write_json(folder / RESULT, rounded(result), indent=None)
    return read_json(folder / RESULT)


def _protocol(profile: Profile, seeds: int, pictures: dict[str, list[str]]) -> str:
    """How a grid is trained and measured, in words."""
    people = " and ".join(held_out_sets(profile.data)) or "drawn people"
    drawn = "pictures of SPM-100" if profile.data.real else "drawn people"
    side = short_side(recipe(profile, "modnet", profile.seed))
    return (
        f"{schedule(profile)}; {seeds} seeds from {profile.seed}; errors on {len(pictures['natural'])} "
        f"validation pictures ({people}), the same in front of other scenes, and {len(pictures['drawn'])} {drawn}, "
        f"each seen as a square of {side} pixels"
    )


def compare(result: dict[str, Any], metric: str, name: str = "natural") -> list[Summary]:
    """Every comparison of `COMPARISONS` whose methods were run, in one metric on one set; see `paired_difference`."""
    errors = result["errors"][name]
    return [
        Summary(
            before,
            after,
            metric,
            (float(np.mean(errors[before][metric])), float(np.mean(errors[after][metric]))),
            paired_difference(np.array(errors[before][metric]), np.array(errors[after][metric])),
        )
        for before, after in COMPARISONS
        if before in errors and after in errors
    ]
