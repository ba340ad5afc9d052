"""What a run keeps between steps, in files from which it resumes exactly, and the parts of a step."""

import dataclasses
import json
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from modnet_lib.files import write_atomically, write_text
from modnet_lib.profiles import TrainingConfig
from modnet_lib.provenance import require_same

BATCH_NORM = nn.modules.batchnorm._BatchNorm
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def create_optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """SGD with momentum 0.9 (the paper) or AdamW; no weight decay on norms and biases."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        scale = config.backbone_rate if ".backbone." in f".{name}" else 1.0
        groups.setdefault((scale, config.weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    settings = [{"params": each, "scale": scale, "weight_decay": decay} for (scale, decay), each in groups.items()]
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


def all_processes() -> Accelerator:
    """Those that train together; precision is explicit (autocast, a gradient scaler), so the networks stay plain."""
    return Accelerator(mixed_precision="no")


class AveragedWeights(AveragedModel):
    """An exponential moving average of weights and batch statistics; early on it averages over fewer steps.

    Step n keeps the share `decay` of the old average, at most (1 + n) / (10 + n).
    """

    def __init__(self, network: nn.Module, decay: float):
        super().__init__(network)
        self.decay = decay
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Add the weights of a step, without waiting for a GPU as the parent does."""
        steps = int(self.n_averaged)  # on the CPU
        share = 1 - min(self.decay, (1 + steps) / (10 + steps)) if steps else 1.0
        for old, new in zip(self.module.state_dict().values(), model.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, share)
            else:  # counters
                old.copy_(new)
        self.n_averaged += 1


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context of a forward pass in one of `DTYPES`."""
    return nullcontext() if precision == "no" else torch.autocast(device.type, DTYPES[precision])


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of PyTorch's random generators of a process; nothing here draws from those of Python and NumPy."""
    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state()} | cuda


def identify(network: Any, dataset: Any, config: TrainingConfig) -> dict[str, Any]:
    """Everything that determines the result of a run, except the initial weights: ``network``, ``training``, ``data``.

    How often files are written and how many processes read data are not part of it.
    """
    free = ("checkpoint_every", "validate_every", "workers")
    training = {key: value for key, value in dataclasses.asdict(config).items() if key not in free}
    built = {"kind": type(network).__name__, "config": network.config}
    return json.loads(json.dumps({"network": built, "training": training, "data": dataset.identity()}))


def save_state(path: Path, step: int, identity: dict[str, Any], kept: dict[str, Any], random: list) -> None:
    """Write what resuming needs: the states of all in `kept` (``None`` is skipped), and `random_state` by process."""
    states = {name: None if one is None else one.state_dict() for name, one in kept.items()}
    state = {"step": step, "identity": identity, "random": random} | states
    write_atomically(path, lambda temporary: torch.save(state, temporary))


def load_state(path: Path, identity: dict[str, Any], kept: dict[str, Any], process: int, device: torch.device) -> int:
    """Load what `save_state` wrote, for the process of this number; the number of steps done, 0 without a file.

    A ValueError says that the file is damaged or that of another run.
    """
    if not path.is_file():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise half a dozen unrelated types
        raise ValueError(f"{path} is damaged ({error}); delete it to start again") from error
    require_same(state["identity"], identity, path)
    for name, one in kept.items():
        if one is not None:
            one.load_state_dict(state[name])
    for random in state["random"][process : process + 1]:  # empty if there were fewer processes
        torch.set_rng_state(random["cpu"])
        if device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], device)
    return state["step"]


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
        if isinstance(module, BATCH_NORM):
            module.eval()


@contextmanager
def same_norms(network: nn.Module) -> Iterator[None]:
    """Put the batch norms back that SyncBatchNorm replaces inside; it shares their weights and statistics."""
    norms = {name: module for name, module in network.named_modules() if isinstance(module, BATCH_NORM)}
    try:
        yield
    finally:
        for name, norm in norms.items():
            network.set_submodule(name, norm)
