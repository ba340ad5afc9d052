"""Checkpoints in and out: ours as safetensors, the authors' ``.ckpt`` read strictly."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from modnet_lib.files import write_atomically
from modnet_lib.network.backbones import read_state, torchvision_names
from modnet_lib.network.modnet import MODNet

# the authors' module names -> ours; the longest match wins
RELEASED_NAMES = {
    "lr_branch.backbone.model.features": "semantic_branch.backbone.features",
    "backbone.model.features": "semantic_branch.backbone.features",
    "lr_branch.se_block.fc.0": "semantic_branch.context.squeeze",
    "lr_branch.se_block.fc.2": "semantic_branch.context.excite",
    "lr_branch.conv_lr16x": "semantic_branch.decode16",
    "lr_branch.conv_lr8x": "semantic_branch.decode8",
    "lr_branch.conv_lr.layers.0": "semantic_branch.head",
    "hr_branch.tohr_enc2x": "detail_branch.lateral2",
    "hr_branch.conv_enc2x": "detail_branch.merge2",
    "hr_branch.tohr_enc4x": "detail_branch.lateral4",
    "hr_branch.conv_enc4x": "detail_branch.merge4",
    "hr_branch.conv_hr4x": "detail_branch.process4",
    "hr_branch.conv_hr2x": "detail_branch.process2",
    "hr_branch.conv_hr.0": "detail_branch.head.0",
    "hr_branch.conv_hr.1.layers.0": "detail_branch.head.1",
    "f_branch.conv_lr4x": "fusion_branch.project",
    "f_branch.conv_f2x": "fusion_branch.fuse",
    "f_branch.conv_f.0": "fusion_branch.head.0",
    "f_branch.conv_f.1.layers.0": "fusion_branch.head.1",
}


def weights_fingerprint(network: nn.Module) -> str:
    """16 hexadecimal digits of SHA-256 of a network's weights and buffers, with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        # NumPy has no bfloat16
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def save_checkpoint(
    network: Any,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a network as safetensors, atomically, with what is needed to build it again.

    Parameters
    ----------
    network
        What to write: a MODNet, or another module with its attributes ``config`` and ``metadata``.
    path
        Where to; must end in ``.safetensors``.
    dtype
        Store floating-point tensors in this type, e.g. ``torch.float16``; ``None`` keeps theirs.
    metadata
        Names and values for the header, beside the network's own ``metadata``.

    Raises
    ------
    ValueError
        If the suffix is another one.
    """
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path}")
    state = {
        key: (value.to(dtype) if dtype and value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
    }
    header = {**network.metadata, **(metadata or {}), "modnet": json.dumps(network.config)}
    write_atomically(path, lambda temporary: save_file(state, temporary, header))


def load_checkpoint(path: str | Path) -> MODNet:
    """Read a network in evaluation mode and float32; what to build is read off the file.

    Parameters
    ----------
    path
        Our ``.safetensors``, or one of the authors' ``.ckpt`` files (with or without the prefix of
        DataParallel). A ``.ckpt`` is read with ``weights_only=True``, so it cannot run code.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is no MODNet, or a name or shape does not fit.
    """
    path = Path(path)
    state = read_state(path)
    config: dict[str, Any]
    metadata: dict[str, str] = {}
    if any(key.startswith("lr_branch.") for key in state):
        state, config = _from_released(state, path), {"variant": "released"}
    elif path.suffix == ".safetensors":
        config, metadata = read_header(path)
    else:
        raise ValueError(f"{path} is neither a MODNet of this library nor one of the authors' checkpoints")
    try:
        network = MODNet(**config)
    except (TypeError, ValueError) as error:  # a header of another version, or of something else
        raise ValueError(f"{path} describes a network that cannot be built, {config}: {error}") from error
    try:
        network.load_state_dict({key: value.float() for key, value in state.items()})
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit MODNet({config}): {error}") from error
    network.metadata = metadata
    return network.eval()


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """How to build the network, and what else the file says of it."""
    with safe_open(path, "pt") as file:
        header = dict(file.metadata() or {})
    if "modnet" not in header:
        raise ValueError(
            f"{path} has no MODNet header; a backbone-only file is read with modnet_lib.network.load_backbone"
        )
    try:
        return json.loads(header.pop("modnet")), header
    except ValueError as error:
        raise ValueError(f"{path} has a damaged MODNet header: {error}") from error


def _from_released(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Translate the authors' names; the backbone, which they store twice, must agree with itself."""
    translated: dict[str, Tensor] = {}
    for key, value in state.items():
        prefix = max((p for p in RELEASED_NAMES if key.startswith(f"{p}.")), key=len, default=None)
        if prefix is None:
            raise ValueError(f"{path}: unexpected entry {key!r} in a released MODNet checkpoint")
        name = RELEASED_NAMES[prefix] + key[len(prefix) :]
        name = name.replace(".layers.", ".").replace(".bnorm.", ".batch_norm.")
        if name in translated and not torch.equal(translated[name], value):
            raise ValueError(f"{path}: the two copies of {name!r} differ")
        translated[name] = value
    return torchvision_names(translated)
