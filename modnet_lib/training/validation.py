"""What a run is measured on, and how: held-out pictures, and what each kind of network is given beside them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from modnet_lib.baselines import Baseline, needs
from modnet_lib.data.compositing import paste
from modnet_lib.data.manifest import find_items, held_out_backgrounds, sources
from modnet_lib.data.pseudo_mattes import MattingSample, write_picture
from modnet_lib.data.readers import benchmark
from modnet_lib.data.sets import drawn_people, prepared_readers
from modnet_lib.evaluation.methods import Method, trimap_of
from modnet_lib.evaluation.metrics import mad
from modnet_lib.evaluation.protocol import evaluate
from modnet_lib.evaluation.records import Record, mean_errors
from modnet_lib.images import read_image
from modnet_lib.profiles import DataConfig, Profile
from modnet_lib.training.loop import Network, Validate


class Picture(NamedTuple):
    """A labelled picture (H, W, 3) with its matte (H, W), uint8, and its background if that is known."""

    image: np.ndarray
    alpha: np.ndarray
    background: np.ndarray | None


def held_out_sets(config: DataConfig) -> list[str]:
    """The data sets in `config.foregrounds` that have a split ``validation``."""
    names = dict.fromkeys(name.partition(":")[0] for name in config.foregrounds if config.real)
    return [name for name in names if name in sources() and "validation" in sources()[name].splits]


def validation_data(config: DataConfig, count: int) -> list[tuple[str, MattingSample]]:
    """Held-out samples, equally many of each data set in `config.foregrounds` that has a split ``validation``.

    Without real data, or if no data set has such a split, they are drawn people.

    Raises
    ------
    FileNotFoundError, ValueError
        If a data set is missing, or a picture cannot be prepared.
    """
    if count < 1:
        raise ValueError(f"validation must be at least 1 picture, got {count}")
    known = held_out_sets(config)
    if not known:
        people = drawn_people(count, "validation").readers
        return [(f"drawn {number}", read()) for number, read in enumerate(people)]
    samples: list[tuple[str, Any]] = []
    for number, name in enumerate(known):
        share = (count - len(samples)) // (len(known) - number)
        readers, failures = prepared_readers(find_items(name, split="validation")[:share], name)
        if failures:
            raise ValueError(f"validation pictures of {name} cannot be used: {failures}")
        samples += [(key, read()) for key, read in readers.items()]
    return samples


def given_with(
    network: Network, image: np.ndarray, alpha: np.ndarray, background: np.ndarray
) -> dict[str, Any]:
    """What a network is given beside a labelled picture, as `Method.alpha` takes it.

    That is the trimap of the truth, the background, the picture itself as the frames before and after: whatever it
    needs of these. Arrays are (H, W, 3) uint8, `alpha` (H, W) uint8.
    """
    needed = needs(network)
    given: dict[str, Any] = {"background": background} if "background" in needed else {}
    if "trimap" in needed:
        given["trimap"] = trimap_of(alpha / 255)
    if "clip" in needed:
        given["clip"] = [(image, given["trimap"])] * 2
    return given


def validator(samples: list[tuple[str, MattingSample]], folder: Path, short_side: int = 512) -> Validate:
    """A function for `Trainer` that measures a network on `samples` and keeps a picture of four mattes."""

    def validate(network: Network, step: int) -> dict[str, float]:
        method, records, rows = Method(network.eval(), short_side), list[Record](), []
        for name, s in samples:
            alpha = method.alpha(s.image, **given_with(network, s.image, s.alpha, s.background))
            records += evaluate(lambda _, alpha=alpha: alpha, [(name, s.image, s.alpha)])
            if len(rows) < 4:
                matte = np.repeat((alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
                parts = (s.image, matte, np.repeat(s.alpha[..., None], 3, axis=2))
                rows.append(
                    np.hstack([np.asarray(Image.fromarray(part).resize((192, 256))) for part in parts])
                )
        write_picture(folder / "validation.png", np.vstack(rows))
        return {f"validation_{name}": value for name, value in mean_errors(records).items()}

    return validate


def measured_sets(profile: Profile, names: Sequence[str]) -> dict[str, dict[str, Picture]]:
    """Sets of pictures by name, `profile.validation` of each.

    Parameters
    ----------
    profile
        Says which data is held out.
    names
        Of ``natural`` (photographs as they are), ``composed`` (the same people in front of other scenes) and ``drawn``
        (drawn people, exact mattes: SPM-100 with real data).
    """
    samples, real = validation_data(profile.data, profile.validation), profile.data.real
    sets: dict[str, dict[str, Picture]] = {
        "natural": {name: Picture(one.image, one.alpha, one.background) for name, one in samples}
    }
    if "composed" in names:
        if real:
            scenes = [partial(read_image, file) for file in held_out_backgrounds()]
        else:  # of the next person
            others = drawn_people(profile.validation + 1, "validation").readers[1:]
            scenes = [lambda other=other: other().background for other in others]
        sets["composed"] = {}
        for number, (name, sample) in enumerate(samples):
            scene = scenes[number % len(scenes)]()
            behind = paste(sample._replace(alpha=np.zeros_like(sample.alpha)), scene)
            sets["composed"][name] = Picture(paste(sample, scene), sample.alpha, behind)
    if "drawn" in names:
        readers = benchmark("spm100" if real else "samples", count=profile.validation)
        sets["drawn"] = {name: Picture(*read()[:2], None) for name, read in readers.items()}
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
