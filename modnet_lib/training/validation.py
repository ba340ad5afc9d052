"""What a run is measured on, and how: held-out pictures, and what else each kind of network is given."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modnet_lib.baselines import needs
from modnet_lib.data.compositing import paste
from modnet_lib.data.manifest import find_items, held_out_backgrounds, sources
from modnet_lib.data.pseudo_mattes import MattingSample, write_picture
from modnet_lib.data.readers import benchmark
from modnet_lib.data.sets import drawn_people, usable_readers
from modnet_lib.evaluation.methods import Method, trimap_of
from modnet_lib.evaluation.protocol import matte_errors
from modnet_lib.images import read_image
from modnet_lib.profiles import DataConfig, Profile
from modnet_lib.training.loop import Network, Validate


def held_out_sets(config: DataConfig) -> list[str]:
    """The data sets in `config.foregrounds` that have a split ``validation``."""
    names = dict.fromkeys(name.partition(":")[0] for name in config.foregrounds if config.real)
    return [name for name in names if name in sources() and "validation" in sources()[name].splits]


def validation_data(config: DataConfig, count: int) -> list[tuple[str, MattingSample]]:
    """Names and held-out samples, equally many of each of the `held_out_sets`; of drawn people without any.

    Raises `FileNotFoundError` or `ValueError` if a data set is missing or a picture cannot be prepared.
    """
    if count < 1:
        raise ValueError(f"validation must be at least 1 picture, got {count}")
    known, samples = held_out_sets(config), list[tuple[str, Any]]()
    if not known:
        readers = drawn_people(count, "validation").readers
        return [(f"drawn {number}", read()) for number, read in enumerate(readers)]
    for number, name in enumerate(known):
        share = (count - len(samples)) // (len(known) - number)
        ready = usable_readers(find_items(name, split="validation")[:share], name)
        samples += [(key, read()) for key, read in ready.items()]
    return samples


def validator(samples: list[tuple[str, MattingSample]], folder: Path, short_side: int = 512) -> Validate:
    """A function for `Trainer` that measures a network on `samples` and keeps a picture of four mattes."""

    def validate(network: Network, step: int) -> dict[str, float]:
        method, errors, rows = Method(network, short_side), [], []
        for name, sample in samples:
            alpha = method.labelled(sample.image, sample.alpha, sample.background)
            errors.append(matte_errors(name, alpha, sample.alpha))
            parts = [Image.fromarray(part) for part in (sample.image, (alpha * 255).astype(np.uint8), sample.alpha)]
            rows.append(np.hstack([np.asarray(part.convert("RGB").resize((192, 256))) for part in parts]))
        write_picture(folder / "validation.png", np.vstack(rows[:4]))
        return {f"validation_{metric}": float(np.mean([one[metric] for one in errors])) for metric in errors[0]}

    return validate


def measured_sets(profile: Profile, names: Sequence[str]) -> dict[str, dict[str, MattingSample]]:
    """Sets by name, `profile.validation` of each; what is not known of a picture is ``None``.

    They are ``natural`` (photographs as they are), ``composed`` (the same people in front of other scenes) and
    ``drawn`` (drawn people, exact mattes: SPM-100 with real data).
    """
    samples, real = dict(validation_data(profile.data, profile.validation)), profile.data.real
    sets = {"natural": samples}
    if "composed" in names:
        if real:
            scenes = [partial(read_image, file) for file in held_out_backgrounds()]
        else:  # of the next person
            others = drawn_people(profile.validation + 1, "validation").readers[1:]
            scenes = [lambda other=other: other().background for other in others]
        sets["composed"] = {}
        for number, (name, sample) in enumerate(samples.items()):
            scene = scenes[number % len(scenes)]()
            behind = paste(sample._replace(alpha=np.zeros_like(sample.alpha)), scene)
            sets["composed"][name] = sample._replace(image=paste(sample, scene), background=behind)
    if "drawn" in names:
        readers = benchmark("spm100" if real else "samples", count=profile.validation)
        sets["drawn"] = {name: MattingSample(*read()[:2], None, None) for name, read in readers.items()}
    return sets


def measure(method: Method, pictures: dict[str, MattingSample]) -> dict[str, list[float]] | None:
    """Errors of a method on a set by metric, a number a picture; ``None`` if it needs backgrounds and has none."""
    errors = []
    for name, sample in pictures.items():
        if sample.background is None and "background" in needs(method.network):
            return None
        matte = method.labelled(sample.image, sample.alpha, sample.background)
        if "trimap" in needs(method.network):  # other methods keep what it is sure of, so MODNet does as well
            trimap = trimap_of(sample.alpha)
            matte = np.where(trimap == 0.5, matte, trimap)
        errors.append(matte_errors(name, matte, sample.alpha, regions=True))
    return {metric: [one[metric] for one in errors] for metric in errors[0]}
