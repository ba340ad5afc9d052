"""What to train, in terms of the loop: a recipe file in, a checkpoint and its measurements out.

A recipe is a `Profile` for one run. `RECIPES` derives them from the profile of a whole series: supervised
training (Eq. 5), pre-training of the backbone (SPS), and MODNet with a trimap. `run` trains any of them.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import set_seed
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from modnet_lib import paths
from modnet_lib.baselines import create_baseline, load_network, needs
from modnet_lib.data.loaders import mask_data, portrait_readers, prepared_readers, training_data
from modnet_lib.data.pseudo_mattes import MattingSample, write_picture
from modnet_lib.data.sources import find_items, manifest, sources
from modnet_lib.evaluation.methods import Method, trimap_of
from modnet_lib.evaluation.protocol import evaluate
from modnet_lib.evaluation.records import Record, mean_errors
from modnet_lib.files import write_atomically, write_text
from modnet_lib.network import (
    Backbone,
    MODNet,
    Segmenter,
    create_backbone,
    load_backbone,
    load_imagenet_backbone,
    save_checkpoint,
)
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.profiles import DataConfig, Profile
from modnet_lib.provenance import fingerprint, provenance, read_json, require_same
from modnet_lib.training.loop import IDENTITY, Network, Validate, identify, train

CHECKPOINT = "modnet.safetensors"
BACKBONE = "backbone.safetensors"
RECIPE = "recipe.yaml"
VALIDATION_SEED = 9_000_000  # of procedural validation portraits; training seeds are far below


def supervised(profile: Profile) -> Profile:
    """The recipe of supervised training by Eq. 5."""
    return replace(profile, pretraining=None, ablation=None)


def pretraining(profile: Profile) -> Profile:
    """The recipe that pre-trains the backbone on person segmentation, the paper's SPS step.

    Raises
    ------
    ValueError
        If the profile does not say how (its part ``pretraining``).
    """
    if profile.pretraining is None:
        raise ValueError(f"the profile {profile.name!r} has no part `pretraining`")
    training = replace(profile.pretraining, objective="segmentation")
    return replace(supervised(profile), name=f"{profile.name}-pretraining", training=training)


def with_trimap(profile: Profile) -> Profile:
    """The recipe of MODNet that is also given a trimap (a row of Tables 1 and 2)."""
    return replace(supervised(profile), name=f"{profile.name}-trimap", trimap_input=True)


RECIPES: dict[str, Callable[[Profile], Profile]] = {
    "supervised": supervised,
    "pretraining": pretraining,
    "trimap": with_trimap,
}


def build_network(profile: Profile) -> Network:
    """The network of a recipe, its backbone pre-trained if the recipe says so."""
    set_seed(profile.seed)  # Python, NumPy and PyTorch on every device
    if profile.initial is not None:
        return load_network(profile.initial)
    backbone = _backbone(profile)
    if profile.training.objective == "segmentation":
        return Segmenter(backbone if isinstance(backbone, Backbone) else create_backbone(backbone))
    if profile.baseline is not None:
        return create_baseline(profile.baseline, backbone)
    return MODNet(profile.variant, backbone, profile.trimap_input, profile.context)


def _backbone(profile: Profile) -> str | Backbone:
    """Its name, if it starts from random weights."""
    weights = profile.backbone_weights
    if weights is None:
        return profile.backbone
    root = paths.external_data() or Path()
    if weights != "imagenet":
        return load_backbone(root / weights, profile.backbone)
    if profile.backbone != "mobilenet_v2":
        raise ValueError(
            f"backbone_weights: imagenet is known for mobilenet_v2 only; give a file with weights of {profile.backbone}"
        )
    file = root / manifest()["mobilenet_v2"]["file"]
    return load_backbone(file, profile.backbone) if file.is_file() else load_imagenet_backbone()


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
        numbers = range(VALIDATION_SEED, VALIDATION_SEED + count)
        return [(name, read()) for name, read in portrait_readers(numbers, config.portrait_size).items()]
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
    """A function for `train` that measures a network on `samples` and keeps a picture of four mattes."""

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


def run(
    recipe: Profile,
    folder: str | Path,
    *,
    stop_after: int | None = None,
    validate: Validate | None = None,
    show_progress: bool = True,
) -> Network:
    """Train a recipe: start, resume what `folder` holds, or only load a finished result.

    The data that is used and left out is printed before the first step, and stored with the run.

    Parameters
    ----------
    recipe
        Data, network, schedule: one of `RECIPES`, or what ``recipe.yaml`` of another run says.
    folder
        Gets ``recipe.yaml`` (starts the same run again), ``identity.json`` (everything that decides the result, with
        every file that is read), ``metrics.jsonl``, ``state.pt``, ``validation.png``
        and, when the run is complete, ``modnet.safetensors``, or ``backbone.safetensors`` from pre-training.
    stop_after
        As for `train`.
    validate
        Replaces the measurement on held-out pictures.
    show_progress
        Show a bar.

    Returns
    -------
    The trained network in evaluation mode: plain float32, whatever the precision of training.

    Raises
    ------
    FileNotFoundError, ValueError
        If data is missing or cannot be used, or `folder` holds another run: the message names the first difference.
    """
    folder, config = Path(folder), recipe.training
    network = build_network(recipe)
    dataset = (mask_data if isinstance(network, Segmenter) else training_data)(recipe.data, recipe.seed)
    identity = identify(network, dataset, config) | {"initial weights": weights_fingerprint(network)}
    result = folder / (BACKBONE if isinstance(network, Segmenter) else CHECKPOINT)
    first = PartialState().is_main_process  # only this process writes
    if (folder / IDENTITY).is_file():
        require_same(read_json(folder / IDENTITY), identity, folder)
    elif (folder / RECIPE).is_file():  # of a run without a first step, or of a grid
        require_same(asdict(Profile.load(folder / RECIPE)), asdict(recipe), folder)
    if result.is_file():
        return _read_result(network, result, fingerprint(identity))
    if first and not (folder / RECIPE).is_file():
        write_text(folder / RECIPE, recipe.to_yaml())
    samples = validation_data(recipe.data, recipe.validation) if config.validate_every else []
    if first and show_progress:
        print(dataset.describe())
        if samples:
            sets = " and ".join(held_out_sets(recipe.data)) or "drawn people"
            print(f"validation: {sets}: {len(samples):,} pictures")
    side = min(512, config.stages[-1].image_size)
    if validate is None and samples:
        validate = validator(samples, folder, short_side=side)
    history = train(
        network,
        dataset,
        config,
        folder,
        validate=validate,
        identity=identity,
        stop_after=stop_after,
        show_progress=show_progress,
    )
    # earlier lines of the metrics may be missing
    if not first or not history or history[-1]["step"] != config.steps:
        return network
    final = {name: value for name, value in history[-1].items() if name.startswith("validation_")}
    metadata = {"short_side": str(side), "recipe": recipe.name, "steps": str(config.steps)}
    metadata |= {"identity": fingerprint(identity), "final": json.dumps(final)}
    where = provenance(
        device=next(network.parameters()).device, precision=config.mixed_precision, seed=recipe.seed
    )
    metadata["provenance"] = json.dumps(where)
    if isinstance(network, Segmenter):
        state = {name: value.contiguous() for name, value in network.backbone.state_dict().items()}
        write_atomically(result, lambda temporary: save_file(state, temporary, metadata))
        return network
    network.metadata = network.metadata | metadata
    save_checkpoint(network, result)
    return network


def _read_result(network: Network, file: Path, identity: str) -> Network:
    """Load the result of a finished run; a ValueError if it belongs to another."""
    try:
        with safe_open(file, "pt") as opened:
            stored = (opened.metadata() or {}).get("identity")
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}); delete it to start again") from error
    require_same({"identity": stored}, {"identity": identity}, file)
    if isinstance(network, Segmenter):
        network.backbone.load_state_dict(load_file(file))
        return network.eval()
    return load_network(file)
