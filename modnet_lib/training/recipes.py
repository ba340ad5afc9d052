"""What to train, in terms of the loop: a recipe file in, a checkpoint and its measurements out."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from modnet_lib import paths
from modnet_lib.data.loaders import ccp_readers, portrait_readers, training_data
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.data.sources import manifest, training_sources
from modnet_lib.evaluation.benchmark import evaluate, mean_errors
from modnet_lib.inference import Matter
from modnet_lib.network import MODNet, load_backbone, load_checkpoint, load_imagenet_backbone, save_checkpoint
from modnet_lib.profiles import DataConfig, Profile
from modnet_lib.training.loop import Validate, train

CHECKPOINT = "modnet.safetensors"
VALIDATION_SEED = 9_000_000  # of procedural validation portraits; training seeds are far below


def build_network(profile: Profile) -> MODNet:
    """The untrained network of a profile, its backbone pre-trained if the profile says so."""
    torch.manual_seed(profile.seed)
    if profile.initial is not None:
        return load_checkpoint(profile.initial)
    weights = profile.backbone_weights
    if weights is None:
        return MODNet(profile.variant, profile.backbone)
    root = paths.external_data() or Path()
    file = root / (manifest()["mobilenet_v2"]["file"] if weights == "imagenet" else weights)
    if weights == "imagenet" and not file.is_file():
        return MODNet(profile.variant, load_imagenet_backbone())
    return MODNet(profile.variant, load_backbone(file, profile.backbone))


def validation_data(config: DataConfig, count: int) -> list[tuple[str, MattingSample]]:
    """Held-out samples: CCP's validation photographs if they are at hand, else procedural portraits."""
    sources = training_sources() if config.real else {}
    if "ccp" in sources:
        return [(name, read()) for name, read in ccp_readers(sources["ccp"], "validation", count).items()]
    numbers = range(VALIDATION_SEED, VALIDATION_SEED + count)
    return [(name, read()) for name, read in portrait_readers(numbers, config.portrait_size).items()]


def validator(samples: list[tuple[str, MattingSample]], folder: Path, short_side: int = 512) -> Validate:
    """A function for `train` that measures a network on `samples` and keeps a picture of four mattes."""

    def validate(network: MODNet, step: int) -> dict[str, float]:
        matter = Matter(network, short_side=short_side, device=next(network.parameters()).device)
        records = evaluate(matter.alpha, ((name, s.image, s.alpha) for name, s in samples))
        rows = []
        for _, sample in samples[:4]:
            matte = np.repeat((matter.alpha(sample.image) * 255).astype(np.uint8)[..., None], 3, axis=2)
            parts = (sample.image, matte, np.repeat(sample.alpha[..., None], 3, axis=2))
            rows.append(np.hstack([np.asarray(Image.fromarray(part).resize((192, 256))) for part in parts]))
        Image.fromarray(np.vstack(rows)).save(folder / "validation.png")
        return {f"validation_{name}": value for name, value in mean_errors(records).items()}

    return validate


def measure(matter: Matter, count: int = 100) -> dict[str, Any]:
    """Errors on the held-out photographs of CCP (or procedural portraits without ``MODNET_DATA``).

    Returns
    -------
    ``data``, ``pictures``, ``short_side``, ``mean`` (metric to value), ``per_picture``, ``commit``.
    """
    real = "ccp" in training_sources()
    samples = validation_data(DataConfig(real=True, portrait_size=512), count)
    records = evaluate(matter.alpha, ((name, s.image, s.alpha) for name, s in samples))
    return {
        "data": "CCP validation, pseudo-mattes" if real else "procedural portraits",
        "pictures": len(records),
        "short_side": matter.short_side,
        "mean": mean_errors(records),
        "per_picture": {record.name: record.errors for record in records},
        "commit": current_commit(),
    }


def supervised(profile: Profile, folder: str | Path, *, stop_after: int | None = None) -> MODNet:
    """Supervised training of Eq. 5 as a profile describes it; resumes what it finds in `folder`.

    Parameters
    ----------
    profile
        Data, network, schedule.
    folder
        Gets ``recipe.yaml`` (starts the same run again), ``metrics.jsonl``, ``state.pt``, ``validation.png``
        and, when the run is complete, ``modnet.safetensors``.
    stop_after
        As for `train`.

    Returns
    -------
    The trained network in evaluation mode.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(profile.to_yaml(), encoding="utf-8")
    network = build_network(profile)
    dataset = training_data(profile.data, profile.seed)
    samples = validation_data(profile.data, profile.validation)
    last = profile.training.stages[-1].image_size
    validate = validator(samples, folder, short_side=min(512, last)) if samples else None
    history = train(network, dataset, profile.training, folder, validate=validate, stop_after=stop_after)
    steps = profile.training.steps
    if history and history[-1]["step"] == steps:  # earlier lines of the metrics may be lost
        metadata = {
            "short_side": str(min(512, last)),
            "recipe": profile.name,
            "steps": str(steps),
            "commit": current_commit(),
        }
        metadata["final"] = json.dumps({k: v for k, v in history[-1].items() if k.startswith("validation_")})
        save_checkpoint(network, folder / CHECKPOINT, metadata=metadata)
    return network


def current_commit() -> str:
    """The repository's commit, or "unknown" outside a checkout."""
    command = ["git", "-C", str(paths.REPOSITORY), "rev-parse", "--short", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
