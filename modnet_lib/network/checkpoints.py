"""Checkpoints in and out: ours as safetensors, the authors' ``.ckpt`` read strictly."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from modnet_lib.files import write_atomically
from modnet_lib.images import read_out
from modnet_lib.network.backbones import fill, read_state, torchvision_names
from modnet_lib.network.modnet import MODNet

RELEASED = {  # what is replaced in the authors' names, one after another
    r"^(lr_branch\.)?backbone\.model": "semantic_branch.backbone",
    r"^lr_branch": "semantic_branch",
    r"^hr_branch": "detail_branch",
    r"^f_branch": "fusion_branch",
    r"se_block\.fc\.0": "context.squeeze",
    r"se_block\.fc\.2": "context.excite",
    r"conv_lr(16|8)x": r"decode\1",
    r"tohr_enc(\d)x": r"lateral\1",
    r"conv_enc(\d)x": r"merge\1",
    r"conv_hr(\d)x": r"process\1",
    r"conv_lr4x": "project",
    r"conv_f2x": "fuse",
    r"conv_lr\.layers\.0": "head",
    r"conv_(hr|f)\.0": "head.0",
    r"conv_(hr|f)\.1\.layers\.0": "head.1",
    r"\.layers\.": ".",
    r"\.bnorm\.": ".batch_norm.",
}


def weights_fingerprint(network: nn.Module) -> str:
    """16 hexadecimal digits of SHA-256 of a network's weights and buffers, with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        # NumPy has no bfloat16
        digest.update(read_out(value.contiguous().flatten().view(torch.uint8)).data)
    return digest.hexdigest()[:16]


def save_checkpoint(network: Any, path: str | Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write a network as safetensors, atomically, with what is needed to build it again.

    Parameters
    ----------
    network
        A MODNet, or another module with attributes ``config`` and ``metadata``.
    path
        Must end in ``.safetensors``.
    metadata
        Added to the network's own in the header.
    """
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path}")
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    header = {**network.metadata, **(metadata or {}), "modnet": json.dumps(network.config)}
    write_atomically(path, lambda temporary: save_file(state, temporary, header))


def load_checkpoint(path: str | Path) -> MODNet:
    """Read a network in evaluation mode and float32; what to build is read off the file.

    Parameters
    ----------
    path
        Our ``.safetensors``, or one of the authors' ``.ckpt`` files, which cannot run code.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is no MODNet, or a name or shape does not fit.
    """
    return read_network(path, MODNet)


def read_network(path: str | Path, build: Callable[..., Any]) -> Any:
    """`load_checkpoint` for networks of any kind: `build` makes one from the ``config`` in the file."""
    path, header = Path(path), dict[str, str]()
    state = read_state(path)
    if any(key.startswith("lr_branch.") for key in state):
        state, header = _from_released(state, path), {"modnet": '{"variant": "released"}'}
    elif path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
    if "modnet" not in header and any(key.startswith("fusion_branch.") for key in state):  # saved by torch.save
        released = any(".context.squeeze." in key for key in state)
        header["modnet"] = json.dumps({"variant": "released" if released else "paper"})
    if "modnet" not in header:
        expected = "expected a file of save_checkpoint or of the authors; load_backbone reads a backbone alone"
        raise ValueError(f"{path} does not say what network it holds; {expected}")
    config = header.pop("modnet")
    try:
        network = build(**json.loads(config))
    except (TypeError, ValueError) as error:  # a header of another version, or of something else
        raise ValueError(f"{path} describes a network that cannot be built, {config}: {error}") from error
    fill(network, state, path, config)
    network.metadata = header
    return network.eval()


def _from_released(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Translate the authors' names; the backbone, which they store twice, must agree with itself."""
    translated: dict[str, Tensor] = {}
    for name, value in state.items():
        for pattern, ours in RELEASED.items():
            name = re.sub(pattern, ours, name)
        if name in translated and not torch.equal(translated[name], value):
            raise ValueError(f"{path}: the two copies of {name!r} differ")
        translated[name] = value
    return torchvision_names(translated)
