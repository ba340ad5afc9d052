"""What a run keeps between steps: optimiser, averaged weights, random states, in files that resume it exactly."""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from modnet_lib.files import write_atomically, write_text
from modnet_lib.profiles import TrainingConfig
from modnet_lib.provenance import require_same


def create_optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """SGD with momentum 0.9 (the paper) or AdamW; no weight decay on norms and biases."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        in_backbone = ".backbone." in f".{name}"
        groups.setdefault((in_backbone, parameter.ndim > 1), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "scale": config.backbone_rate if in_backbone else 1.0,
            "weight_decay": config.weight_decay if is_weight else 0.0,
        }
        for (in_backbone, is_weight), parameters in groups.items()
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(settings, lr=config.learning_rate)
    return torch.optim.SGD(settings, lr=config.learning_rate, momentum=0.9)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The rate of step `step` (from 0): the paper's steps of 0.1, or a cosine after a short warm-up."""
    progress = step / config.steps
    if config.schedule == "step":
        return config.learning_rate * 0.1 ** int(4 * progress)
    warm_up = max(1, round(0.02 * config.steps))
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def averaged_weights(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and batch statistics; early on it averages over fewer steps.

    Parameters
    ----------
    network
        What is averaged.
    decay
        Share of the old average that step n keeps, at most (1 + n) / (10 + n).
    """

    def average(mine: Sequence[Tensor], theirs: Sequence[Tensor], steps: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
        for old, new in zip(mine, theirs, strict=True):
            if old.is_floating_point():
                old.lerp_(new, share)
            else:  # counters
                old.copy_(new)

    return AveragedModel(network, multi_avg_fn=average, use_buffers=True).eval().requires_grad_(False)


@dataclass
class RunState:
    """The state of a run between steps.

    Attributes
    ----------
    network, optimizer, averaged, scaler
        What changes with every step; `averaged` is ``None`` without averaging.
    identity
        Of the run; see `identify`.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    averaged: AveragedModel | None
    scaler: torch.amp.GradScaler
    identity: dict[str, Any]

    def save(self, path: Path, step: int) -> None:
        """Write everything that resuming needs, with the states of all random generators."""
        state = {
            "step": step,
            "identity": self.identity,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "scaler": self.scaler.state_dict(),
            "random": _random_states(),
        }
        write_atomically(path, lambda temporary: torch.save(state, temporary))

    def load(self, path: Path) -> int:
        """Load a file and return the number of steps done."""
        state = load_state(path, self.identity)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        self.scaler.load_state_dict(state["scaler"])
        _restore_random_states(state["random"])
        return state["step"]


def load_state(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Load the state of a run onto the CPU; a ValueError if it is damaged or that of another run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise half a dozen unrelated types
        raise ValueError(f"{path} is damaged ({error}); delete it to start again") from error
    require_same(state["identity"], identity, path)
    return state


def _random_states() -> dict[str, Any]:
    """The state of every global random generator."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),  # type: ignore[union-attr]
        "python": random.getstate(),
    }


def _restore_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(states["python"])


def read_metrics(path: Path, step: int, rewrite: bool = True) -> list[dict[str, Any]]:
    """The lines up to `step`; later ones belong to a run that was cut before its checkpoint and are dropped."""
    if not path.is_file():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    history = [record for record in map(json.loads, lines) if record["step"] <= step]
    if rewrite:
        write_text(path, "".join(json.dumps(record) + "\n" for record in history))
    return history


def freeze_norms(model: nn.Module) -> None:
    """Let batch norms use the statistics they have, until the next ``train()``; their weights still learn."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def open_tensorboard(folder: Path, step: int) -> Any:
    """A writer for TensorBoard; what an interrupted run wrote after its last checkpoint is hidden."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("tensorboard: true needs the package: pip install tensorboard") from error
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)


def batch_norms(network: nn.Module) -> dict[str, nn.Module]:
    """Every batch norm by name, for `restore_norms`."""
    norm = nn.modules.batchnorm._BatchNorm
    return {name: module for name, module in network.named_modules() if isinstance(module, norm)}


def restore_norms(network: nn.Module, norms: dict[str, nn.Module]) -> None:
    """Undo SyncBatchNorm, whose modules share weights and statistics with those that they replaced."""
    for name, norm in norms.items():
        network.set_submodule(name, norm)
