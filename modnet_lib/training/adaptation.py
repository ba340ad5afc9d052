"""Adapting MODNet to unlabelled pictures by SOC: frames in, adapted weights out, stopped before it does harm.

Eq. 6 to 8 and the section "SOC for Real-World Data". Stopping a run needs no labels: see `adapt`.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from modnet_lib.data.workers import data_loader
from modnet_lib.devices import Device, choose_device
from modnet_lib.images import ImageLike
from modnet_lib.network import MODNet
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.objectives.consistency import CONSISTENCY, ConsistencyPreset
from modnet_lib.profiles import STRICT, Positive, Stage, TrainingConfig
from modnet_lib.training.frames import Frames, by_size, has_collapsed, spread, watch
from modnet_lib.training.loop import Trainer
from modnet_lib.training.semantic_head import SOURCE, SOURCE_SIDE, input_side
from modnet_lib.training.state import autocast

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
WATCHED = 4  # frames that are looked at after every epoch
Validate = Callable[[MODNet], dict[str, float]]


@dataclass(frozen=True, config=STRICT)
class AdaptationConfig:
    """How SOC is run; the defaults are the paper's, which does not give `betas` and `batch_size`."""

    preset: ConsistencyPreset = "paper"
    epochs: Positive = 15
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    batch_size: Positive = 1
    #: Of the three terms; ``None`` takes the objective's own.
    weights: tuple[float, float, float] | None = None
    #: M' becomes the latest M after every epoch (the released code); the paper fixes it.
    refresh: bool = False
    #: Normalisation layers keep their weights and biases too, not only their statistics.
    freeze_affine: bool = True
    #: Of the network's input, pixels; ``None`` takes what the checkpoint names.
    short_side: int | None = None
    #: Early stopping, which is ours: at this multiple of the source domain's disagreement, if that is known for this
    #: size (see `fit_semantic_head`). With 0 all epochs run, as in the paper.
    until: float = 0.0
    #: Of the forward passes, as in `TrainingConfig`.
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    #: Of the order of the frames.
    seed: int = 0


PRESETS: dict[str, AdaptationConfig] = {
    "paper": AdaptationConfig(),
    "released": AdaptationConfig(
        "released", epochs=10, learning_rate=1e-5, betas=(0.9, 0.99), refresh=True, freeze_affine=False
    ),
}


class Adaptation(NamedTuple):
    """What `adapt` did, and why it ended early (or "").

    The history has a record for every epoch, the first of the untouched network; `epoch` is the one whose weights were
    kept.
    """

    network: MODNet
    history: list[dict[str, Any]]
    epoch: int
    stopped: str


def trainable(network: nn.Module, freeze_affine: bool = True) -> list[nn.Parameter]:
    """What SOC changes; the weights and biases of normalisation only if they are not frozen."""
    norms = [module for module in network.modules() if isinstance(module, NORMS) and freeze_affine]
    frozen = {id(parameter) for module in norms for parameter in module.parameters()}
    return [parameter for parameter in network.parameters() if id(parameter) not in frozen]


def soc_terms(network: nn.Module, frozen: MODNet, images: Tensor, config: AdaptationConfig) -> dict[str, Tensor]:
    """The objective of SOC for images (N, 3, H, W); M and M' are in evaluation mode, which keeps normalisation.

    Returns the terms, their weighted sum ``total``, and the means of alpha~ and alpha~', ``person`` and
    ``frozen_person``.
    """
    with autocast(images.device, config.mixed_precision):
        with torch.no_grad():
            held = frozen(images, auxiliary=True)
        output = network(images, auxiliary=True)
    held, output = (one._make(part.to(images.dtype) for part in one) for one in (held, output))
    losses = CONSISTENCY[config.preset](output, held, config.weights)
    return losses._asdict() | {"person": output.alpha.mean(), "frozen_person": held.alpha.mean()}


class SOC(Trainer):
    """The training loop with SOC as its objective: M learns, and its frozen copy M' holds it; see `adapt`."""

    window = 20

    def __init__(
        self,
        network: MODNet,
        frames: Sequence[ImageLike],
        config: AdaptationConfig,
        folder: str | Path,
        *,
        validate: Validate | None = None,
        device: Device = None,
    ):
        if not frames:
            raise ValueError("there are no frames to adapt to")
        if network.config["trimap_input"]:
            raise ValueError("SOC adapts a MODNet without trimap_input: new pictures have no trimaps")
        data = Frames(frames, input_side(network, config.short_side))
        known = network.metadata.get(SOURCE_SIDE) == str(data.side)
        self.soc, self.measure = config, validate
        self.source = float(network.metadata[SOURCE]) if known else 0.0
        identity = {
            "config": dataclasses.asdict(config) | {"short_side": data.side},
            "network": network.config,
            "weights": weights_fingerprint(network),
            SOURCE: self.source,
            "frames": data.identity(),
        }
        device = choose_device(device)
        live, self.frozen, self.best = (
            copy.deepcopy(network).eval().requires_grad_(False).to(device) for _ in range(3)
        )
        self.watched = [data[k].to(device) for k in spread(len(frames), WATCHED)]
        with torch.no_grad():
            self.before = [self.frozen(image, auxiliary=False).alpha for image in self.watched]
        self.first = self.look(0, self.frozen)
        for parameter in trainable(live, config.freeze_affine):
            parameter.requires_grad_(True)
        self.epoch_steps = math.ceil(len(frames) / config.batch_size)
        training = TrainingConfig(
            (Stage(64, config.batch_size, config.epochs * self.epoch_steps),),
            checkpoint_every=min(500, self.epoch_steps),
            validate_every=self.epoch_steps,
            mixed_precision=config.mixed_precision,
        )
        super().__init__(live, data, training, folder, validate=self.close_epoch, identity=identity, device=device)
        if self.processes > 1:
            raise ValueError("SOC adapts a network in one process")

    def create_optimizer(self) -> torch.optim.Optimizer:
        group = {"params": trainable(self.network, self.soc.freeze_affine), "scale": 1.0}
        return torch.optim.Adam([group], self.soc.learning_rate, self.soc.betas)

    def kept(self) -> dict[str, Any]:
        return super().kept() | {"frozen": self.frozen, "best": self.best}

    def batches(self) -> Iterable[list[Tensor]]:
        order: list[Tensor] = []
        for epoch in range(self.soc.epochs):
            seed = int(np.random.default_rng([self.soc.seed, epoch]).integers(2**31))
            whole = torch.randperm(len(self.dataset.pictures), generator=torch.Generator().manual_seed(seed))
            order += whole.split(self.soc.batch_size)
        left = [part.tolist() for part in order[self.step :]]
        return data_loader(self.dataset, left, by_size, workers=self.workers, pin=self.device.type == "cuda")

    def pieces(self, batches: Iterator[list[Tensor]]) -> Iterator[list[tuple[Tensor, float]]]:
        for groups in batches:
            count = sum(map(len, groups))
            yield [(group.to(self.device, non_blocking=True), len(group) / count) for group in groups]

    def begin(self, model: nn.Module) -> float:
        model.eval()
        return self.soc.learning_rate

    def terms(self, model: nn.Module, batch: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return soc_terms(model, self.frozen, batch, self.soc)

    def collapse(self, recent: list[dict[str, float]]) -> str:
        return _collapse(*(float(np.mean([one[key] for one in recent])) for key in ("person", "frozen_person")))

    def where(self) -> str:
        return f"step {self.step % self.epoch_steps + 1} of epoch {self.step // self.epoch_steps + 1}"

    def look(self, epoch: int, network: MODNet) -> dict[str, Any]:
        """The record of an epoch: `watch`, and what `validate` says."""
        seen = watch(network, self.watched, self.before)
        return {"epoch": epoch} | seen | (self.measure(network) if self.measure else {})

    def reason(self, record: dict[str, Any]) -> str:
        """Why an epoch with this record is the last, or ""."""
        found = _collapse(record["person"], record["person_before"])
        if not found and self.soc.until and record["disagreement"] <= self.soc.until * self.source:
            found = f"the disagreement is that of the source domain, {self.source:.4f}"
        return found

    def close_epoch(self, network: MODNet, step: int) -> dict[str, Any]:
        """Record an epoch with the means of its steps, and keep its weights if they are good."""
        rows = self.history[-self.epoch_steps :]
        names = ("semantic", "detail", "preserve", "loss", "gradient_norm")
        means = {name: float(np.mean([row[name] for row in rows])) for name in names}
        record = means | self.look(step // self.epoch_steps, network)
        if not has_collapsed(record["person"], record["person_before"]):
            self.best.load_state_dict(network.state_dict())
            if self.soc.refresh:
                self.frozen.load_state_dict(network.state_dict())
        reason = self.reason(record)
        return {"epoch": record} | ({"stopped": reason} if reason else {})


def _collapse(person: float, before: float) -> str:
    found = f"collapse: the mean alpha of the frames went from {before:.3f} to {person:.3f}"
    return found if has_collapsed(person, before) else ""


def adapt(
    network: MODNet,
    frames: Sequence[ImageLike],
    config: AdaptationConfig,
    folder: str | Path,
    *,
    stop_after: int | None = None,
    show_progress: bool = True,
    **options: Any,
) -> Adaptation:
    """Adapt a trained network to unlabelled frames; call it again with the same folder to resume.

    After every epoch it looks at up to 4 of the frames (`watch`). Three things end a run, and none needs a label: a
    loss or gradient that is not finite; a collapse, the person or the background gone, also within an epoch; and, with
    ``until``, a disagreement as low as in the source domain, where SOC has nothing left to learn.
    The last good weights are kept, which may be the original ones.

    Parameters
    ----------
    network
        A trained MODNet without trimap input; it is not changed.
    frames
        Paths, PIL images or arrays, of the target domain only.
    config
        See there, and `PRESETS`.
    folder, stop_after, show_progress
        As for `Trainer`. Raises `ValueError` if the folder holds a run with other frames, another network or another
        configuration.
    options
        ``device``, as for `Trainer`; ``validate``, for experiments with labels: what it says of a network goes into the
        history, whose records have the means of `soc_terms` over the epoch and `watch`, and affects nothing else.
    """
    trainer = SOC(network, frames, config, folder, **options)
    reason = trainer.reason(trainer.first)
    try:
        if not reason:
            trainer.run(stop_after, show_progress)
            reason = trainer.stopped
    except FloatingPointError as error:
        reason = str(error)
    epochs = [trainer.first, *(one["epoch"] for one in trainer.history if "epoch" in one)]
    kept = [one["epoch"] for one in epochs if not has_collapsed(one["person"], one["person_before"])][-1]
    adapted = trainer.best.requires_grad_(True)
    adapted.metadata = network.metadata | {"adapted": f"SOC, {config.preset}, epoch {kept}"}
    return Adaptation(adapted, epochs, kept, reason)
