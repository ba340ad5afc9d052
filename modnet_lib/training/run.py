"""What to train, in terms of the loop: a recipe file in, a checkpoint and its measurements out.

A recipe is a `Profile` to train. `RECIPES` derives them from the profile of a whole series: supervised training
(Eq. 5, in several rounds if the profile has them), pre-training of the backbone (SPS), and MODNet with a trimap. `run`
trains any of them.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from safetensors.torch import save_file

from modnet_lib import paths
from modnet_lib.baselines import create_baseline, load_network
from modnet_lib.data.manifest import manifest
from modnet_lib.data.sets import mask_data, training_data
from modnet_lib.devices import Device, choose_device
from modnet_lib.files import write_atomically, write_text
from modnet_lib.network import Backbone, MODNet, Segmenter, backbones, save_checkpoint
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.profiles import Profile
from modnet_lib.provenance import fingerprint, read_json, recorded, require_same
from modnet_lib.training.loop import IDENTITY, Network, Trainer
from modnet_lib.training.state import all_processes, identify
from modnet_lib.training.validation import held_out_sets, validation_data, validator

CHECKPOINT = "modnet.safetensors"
BACKBONE = "backbone.safetensors"
RECIPE = "recipe.yaml"


def supervised(profile: Profile) -> Profile:
    """The recipe of one run of supervised training by Eq. 5."""
    return replace(profile, pretraining=None, ablation=None, rounds=())


def whole(profile: Profile) -> Profile:
    """All of a profile's `rounds`, after its pre-training; without rounds, one run."""
    return replace(profile, ablation=None) if profile.rounds else supervised(profile)


def pretraining(profile: Profile) -> Profile:
    """The recipe that pre-trains the backbone on person segmentation, the paper's SPS step.

    A ValueError says that the profile has no part ``pretraining``.
    """
    if profile.pretraining is None:
        raise ValueError(f"the profile {profile.name!r} has no part `pretraining`")
    training = replace(profile.pretraining, objective="segmentation")
    return replace(supervised(profile), name=f"{profile.name}-pretraining", training=training)


def with_trimap(profile: Profile) -> Profile:
    """The recipe of MODNet that is also given a trimap (a row of Tables 1 and 2)."""
    return replace(supervised(profile), name=f"{profile.name}-trimap", trimap_input=True)


RECIPES: dict[str, Callable[[Profile], Profile]] = {
    "supervised": whole,
    "pretraining": pretraining,
    "trimap": with_trimap,
}


def build_network(profile: Profile) -> Network:
    """The network of a recipe, its backbone pre-trained if the recipe says so."""
    set_seed(profile.seed)  # Python, NumPy and PyTorch on every device
    if profile.initial is not None:
        return load_network(paths.PRETRAINED if profile.initial == "shipped" else profile.initial)
    backbone = _backbone(profile)
    if profile.training.objective == "segmentation":
        return Segmenter(backbone if isinstance(backbone, Backbone) else backbones.create_backbone(backbone))
    if profile.baseline is not None:
        return create_baseline(profile.baseline, backbone)
    return MODNet(profile.variant, backbone, profile.trimap_input, profile.context)


def _backbone(profile: Profile) -> str | Backbone:
    """Its name, if it starts from random weights."""
    weights, name = profile.backbone_weights, profile.backbone
    if weights is None:
        return name
    root = paths.external_data() or Path()
    if weights != "imagenet":
        return backbones.load_backbone(root / weights, name)
    if name != "mobilenet_v2":
        raise ValueError(f"backbone_weights: there are none of {name} from imagenet; give a file, or use mobilenet_v2")
    file = root / manifest()["mobilenet_v2"]["file"]
    return backbones.load_backbone(file, name) if file.is_file() else backbones.load_imagenet_backbone()


def run(
    recipe: Profile,
    folder: str | Path,
    *,
    device: Device = None,
    stop_after: int | None = None,
    show_progress: bool = True,
) -> Network:
    """Train a recipe: start, resume what `folder` holds, or only load a finished result.

    The data that is used and left out is printed before the first step, and stored with the run. Of several processes,
    the first downloads, prepares, validates and writes.

    Parameters
    ----------
    recipe
        One of `RECIPES`, or what ``recipe.yaml`` of another run says.
    folder
        Gets ``recipe.yaml`` (starts the same run again), ``identity.json`` (everything that decides the result, with
        every file that is read), ``metrics.jsonl``, ``state.pt``, ``validation.png``
        and, when the run is complete, ``modnet.safetensors``, or ``backbone.safetensors`` from pre-training. With
        `Profile.rounds` it gets a folder for the pre-training and for each round, and the last one's result.
    device
        Instead of the recipe's; see `choose_device`.
    stop_after, show_progress
        As for `Trainer.run`; the first also ends the rounds.

    Returns
    -------
    The trained network in evaluation mode, on the device: plain float32, whatever the precision of training.

    Raises
    ------
    FileNotFoundError, ValueError
        If data is missing or cannot be used, or `folder` holds another run: the message names the first difference.
    """
    if recipe.rounds:
        return _run_rounds(recipe, Path(folder), device=device, stop_after=stop_after, show_progress=show_progress)
    folder, device, processes = Path(folder), choose_device(device or recipe.device), all_processes()
    with processes.main_process_first():  # the others find everything prepared
        network = build_network(recipe)
        masks = isinstance(network, Segmenter)
        dataset = (mask_data if masks else training_data)(recipe.data, recipe.seed)
    identity = identify(network, dataset, recipe.training) | {"initial weights": weights_fingerprint(network)}
    if (folder / IDENTITY).is_file():
        require_same(read_json(folder / IDENTITY), identity, folder)
    elif (folder / RECIPE).is_file():  # of a run without a first step, or of a grid
        stored = replace(Profile.load(folder / RECIPE), device=recipe.device)  # may change
        require_same(asdict(stored), asdict(recipe), folder)
    result = folder / (BACKBONE if masks else CHECKPOINT)
    if result.is_file():
        trained = Segmenter(backbones.load_backbone(result, recipe.backbone)).eval() if masks else load_network(result)
        return trained.to(device)
    trainer = Trainer(network, dataset, recipe.training, folder, identity=identity, device=device)
    _train(trainer, recipe, stop_after, show_progress)
    processes.wait_for_everyone()
    return network


def _train(trainer: Trainer, recipe: Profile, stop_after: int | None, show_progress: bool) -> None:
    """What `run` does until there is a result."""
    folder, config, first = trainer.folder, recipe.training, trainer.is_first
    if first and not (folder / RECIPE).is_file():
        write_text(folder / RECIPE, recipe.to_yaml())
    with trainer.accelerator.main_process_first():
        samples = validation_data(recipe.data, recipe.validation) if config.validate_every else []
    if first and show_progress:
        sets = " and ".join(held_out_sets(recipe.data)) or "drawn people"
        print(trainer.dataset.describe(), f"validation: {sets}: {len(samples):,} pictures", sep="\n")
    side = min(512, config.stages[-1].image_size)
    trainer.validate = validator(samples, folder, short_side=side) if samples else None
    trainer.run(stop_after, show_progress)
    if first and trainer.step == config.steps:
        _write_result(trainer, recipe, folder, side)


def _write_result(trainer: Trainer, recipe: Profile, folder: Path, side: int) -> None:
    """The network, or its backbone, with what it is and what its last validation said."""
    # the history is empty if the metrics were lost
    network, last = trainer.network, trainer.history[-1] if trainer.history else {}
    final = {name: value for name, value in last.items() if name.startswith("validation_")}
    precision = recipe.training.mixed_precision
    where = recorded("training", device=trainer.device, precision=precision, seed=recipe.seed)
    metadata = {"short_side": str(side), "recipe": recipe.name, "steps": str(trainer.step)}
    metadata |= {"identity": fingerprint(trainer.identity), "final": json.dumps(final)}
    metadata["provenance"] = json.dumps(where["origin"])
    if isinstance(network, Segmenter):
        state = {name: value.contiguous() for name, value in network.backbone.state_dict().items()}
        write_atomically(folder / BACKBONE, lambda temporary: save_file(state, temporary, metadata))
    else:
        network.metadata = network.metadata | metadata
        save_checkpoint(network, folder / CHECKPOINT)


def _run_rounds(recipe: Profile, folder: Path, **options: Any) -> Network:
    """Run the pre-training and each round of a recipe in a folder of its own, until one of them is stopped."""
    part = replace(recipe, pretraining=None, rounds=())
    if recipe.pretraining:
        place = folder / "pretraining"
        network, result = run(pretraining(recipe), place, **options), place / BACKBONE
        if not result.is_file():
            return network
        part = replace(part, backbone_weights=str(result.resolve()))
    for number, changes in enumerate(recipe.rounds, 1):
        name = f"round{number}"
        chosen = replace(part.changed(changes), name=f"{recipe.name}-{name}", seed=recipe.seed + number)
        network, result = run(chosen, folder / name, **options), folder / name / CHECKPOINT
        if not result.is_file():
            return network
        part = replace(part, initial=str(result.resolve()))
    if (processes := all_processes()).is_main_process:
        write_atomically(folder / CHECKPOINT, lambda temporary: shutil.copyfile(result, temporary))  # type: ignore
    processes.wait_for_everyone()
    return network  # type: ignore[possibly-undefined]
