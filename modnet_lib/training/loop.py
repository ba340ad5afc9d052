"""One training loop for everything: mixed precision, clipping, averaged weights, atomic files, exact resume."""

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from tqdm.auto import tqdm

from modnet_lib.baselines import Baseline
from modnet_lib.data.assemble import MattingBatch, assemble, collate
from modnet_lib.data.dataset import staged_batches
from modnet_lib.data.workers import data_loader
from modnet_lib.devices import Device, choose_device
from modnet_lib.files import write_json
from modnet_lib.images import read_out
from modnet_lib.network import MODNet, Segmenter
from modnet_lib.objectives import OBJECTIVES
from modnet_lib.profiles import TrainingConfig
from modnet_lib.provenance import read_json, require_same
from modnet_lib.training import state
from modnet_lib.training.state import learning_rate

STATE, METRICS, IDENTITY = "state.pt", "metrics.jsonl", "identity.json"
Network = MODNet | Segmenter | Baseline
Validate = Callable[[Any, int], dict[str, Any]]


class Trainer:
    """Train a network in place; another trainer with the same folder resumes.

    Started by ``accelerate launch`` it shares each batch among the processes: gradients and metrics are those of
    the whole batch, and batch norms see it whole on GPUs. The first process writes the files.

    Another objective is a subclass: its `batches`, what it does with one of them (`pieces`, `terms`), and when a run
    has failed (`collapse`).

    Parameters
    ----------
    network
        What to train; its weights are replaced by those in `folder` if there are any.
    dataset, config
        Where samples come from; schedule, objective, precision.
    folder
        Gets ``state.pt`` (everything that resuming needs), ``identity.json`` and ``metrics.jsonl`` (a line a step).
    validate
        Called with the network that would be kept (the averaged one, if there is one) and the step, every
        ``validate_every`` steps and at the end; what it returns is written to the metrics. ``stopped`` in it, a
        reason, ends the run.
    identity
        Everything that determines the result; by default `identify` of the arguments.
    device
        See `modnet_lib.devices.choose_device`.

    Raises
    ------
    ValueError
        If `folder` holds another run (the message names the first difference), or the processes do not share `device`.
    """

    #: A run ends after this many failing steps in a row; see `collapse`.
    window = 100

    def __init__(
        self,
        network: Network,
        dataset: Any,
        config: TrainingConfig,
        folder: str | Path,
        *,
        validate: Validate | None = None,
        identity: dict[str, Any] | None = None,
        device: Device = None,
    ):
        self.network, self.dataset, self.config, self.validate = network, dataset, config, validate
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.accelerator, self.device = state.all_processes(), choose_device(device)
        self.processes, self.is_first = self.accelerator.num_processes, self.accelerator.is_main_process
        if self.processes > 1 and self.device.type != self.accelerator.device.type:
            found = f"{self.processes} processes cannot train on {self.device}: they share {self.accelerator.device}"
            raise ValueError(f"{found}; for CPUs, set ACCELERATE_USE_CPU=1")
        default = 0 if self.device.type == "cpu" else min(8, (os.cpu_count() or 1) // self.processes)
        self.workers = default if config.workers is None else config.workers
        self.identity = identity or state.identify(network, dataset, config)
        if (self.folder / IDENTITY).is_file():
            require_same(read_json(self.folder / IDENTITY), self.identity, folder)
        network.to(self.device)
        if config.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = self.create_optimizer()
        self.averaged = state.AveragedWeights(network, config.ema) if config.ema else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.mixed_precision == "fp16")
        number = self.accelerator.process_index
        self.step = state.load_state(self.folder / STATE, self.identity, self.kept(), number, self.device)
        self.accelerator.wait_for_everyone()  # before the first process drops lines that belong to no checkpoint
        self.history = state.read_metrics(self.folder / METRICS, self.step, rewrite=self.is_first)
        self.upcoming: list[tuple[Any, float]] = []
        if self.is_first:
            write_json(self.folder / IDENTITY, self.identity)

    def create_optimizer(self) -> torch.optim.Optimizer:
        """Each of its groups has a factor ``scale`` on the learning rate."""
        return state.create_optimizer(self.network, self.config)

    def kept(self) -> dict[str, Any]:
        """What changes with the steps, by its name in ``state.pt``."""
        return {name: getattr(self, name) for name in ("network", "optimizer", "averaged", "scaler")}

    def run(self, stop_after: int | None = None, show_progress: bool = True) -> list[dict[str, Any]]:
        """Train to the end, or stop (with a checkpoint) when `stop_after` steps are done in all, as if interrupted.

        Returns
        -------
        The metrics of every step so far: ``step``, ``loss``, its terms, ``learning_rate``, ``seconds`` (waiting
        for data included), and what `validate` returned.

        Raises
        ------
        ValueError
            If a batch cannot be shared out equally.
        FloatingPointError
            If a loss or a gradient is not finite (the weights stay as they were), or the matte has collapsed. It names
            the step and its samples, which the dataset returns by their numbers.
        """
        config, end = self.config, min(self.config.steps, stop_after or self.config.steps)
        pieces = self.pieces(iter(self.batches() if self.step < end else ()))  # a finished run starts no workers
        self.upcoming = []
        hidden = not (self.is_first and show_progress)
        with (
            state.same_norms(self.network),
            tqdm(total=config.steps, initial=self.step, desc="training", unit="step", disable=hidden) as bar,
            (self.folder / METRICS).open("a", 1, encoding="utf-8") if self.is_first else nullcontext() as log,
        ):
            model = self.wrapped()
            while self.step < end and not self.stopped:
                record = self._advance(model, pieces)
                if log:
                    log.write(json.dumps(record) + "\n")  # line by line
                bar.update()
                bar.set_postfix(loss=f"{record['loss']:.3f}")
                due = config.checkpoint_every and self.step % config.checkpoint_every == 0
                if due or self.step == end or self.stopped:
                    random = gather_object([state.random_state(self.device)])
                    if self.is_first:
                        state.save_state(self.folder / STATE, self.step, self.identity, self.kept(), random)
        if self.averaged and self.step == config.steps:
            self.network.load_state_dict(self.averaged.module.state_dict())
        self.network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        return self.history

    @property
    def stopped(self) -> str:
        """Why `validate` ended the run, or ""."""
        return self.history[-1].get("stopped", "") if self.history else ""

    def wrapped(self) -> Any:
        """The network as it is trained, with norms over all processes, or compiled; its weights are shared."""
        model: Any = self.network
        if self.processes > 1 and self.device.type == "cuda" and not self.config.freeze_norm:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return torch.compile(model) if self.config.compile else model

    def _advance(self, model: nn.Module, pieces: Iterator[list]) -> dict[str, Any]:
        """One step with its learning rate, averaging and validation; its metrics."""
        started, config = time.perf_counter(), self.config
        rate = self.begin(model)
        for group in self.optimizer.param_groups:
            group["lr"] = group["scale"] * rate
        record = self.update(model, pieces)
        if problem := self._problem(record):
            raise FloatingPointError(f"{self.where()}: {problem}")
        self.step += 1
        if self.averaged:
            self.averaged.update_parameters(self.network)
        record |= {"step": self.step, "learning_rate": rate, "seconds": time.perf_counter() - started}
        self.history.append(record)
        due = config.validate_every and (self.step % config.validate_every == 0 or self.step == config.steps)
        if self.validate and due:
            kept = self.averaged.module if self.averaged else self.network
            found = [self.validate(kept.eval(), self.step) if self.is_first else {}]
            record |= broadcast_object_list(found)[0]
        return record

    def update(self, model: nn.Module, pieces: Iterator[list]) -> dict[str, float]:
        """Forward, loss and backward for each piece of the batch, then the update; the terms of the whole batch."""
        total = torch.zeros((), device=self.device)
        for piece, share in self.upcoming or next(pieces):
            terms = self.terms(model, piece)
            self.scaler.scale(terms["total"] * share).backward()
            total = total + torch.stack([*terms.values()]).detach() * share
        if self.processes > 1:  # the mean; what is frozen or has no part in the loss has no gradient in any of them
            parts = [total, *(one.grad for one in model.parameters() if one.grad is not None)]
            flat: Any = self.accelerator.reduce(torch.cat([one.flatten() for one in parts]), "mean")
            for one, mean in zip(parts, flat.split([one.numel() for one in parts]), strict=True):
                one.copy_(mean.view(one.shape))
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(model.parameters(), self.config.gradient_clip or math.inf)
        self.upcoming = next(pieces, [])  # made while the device computes; nothing else waits for it
        *numbers, norm = read_out(torch.cat([total, norm[None]])).tolist()
        record = dict(zip(terms, numbers, strict=True))  # type: ignore[possibly-undefined]
        record |= {"loss": record.pop("total"), "gradient_norm": norm}
        # otherwise keep the weights, for debugging
        if math.isfinite(record["loss"]) and math.isfinite(norm):
            self.optimizer.step()  # the scaler's `step` would ask the device again
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return record

    def _problem(self, record: dict[str, float]) -> str:
        """Why training cannot continue, or "". In fp16 the scaler lowers its factor after infinite gradients."""
        loss, norm = record["loss"], record["gradient_norm"]
        if not (math.isfinite(loss) and (math.isfinite(norm) or self.scaler.is_enabled())):
            found = f"the loss is {loss}, the norm of the gradient {norm} ({record}), not finite"
            return f"{found}; lower the learning rate, and look at these samples"
        recent = [*self.history[1 - self.window :], record]
        return self.collapse(recent) if len(recent) == self.window else ""

    def batches(self) -> Iterable[Any]:
        """Pieces of batches from the next step on, as the data set has them."""
        share = {"rank": self.accelerator.process_index, "processes": self.processes, "pieces": self.config.accumulate}
        how: dict[str, Any] = {"workers": self.workers, "pin": self.device.type == "cuda"}
        return data_loader(self.dataset, staged_batches(self.config.sizes, self.step, **share), collate, **how)

    def pieces(self, batches: Iterator[Any]) -> Iterator[list[tuple[Any, float]]]:
        """The pieces of each batch on the device, each with its share of the loss."""
        count = self.config.accumulate
        while batch := [(assemble(raw, self.device), 1 / count) for raw in islice(batches, count)]:
            yield batch

    def begin(self, model: nn.Module) -> float:
        """Make the network ready for a step, and return its learning rate."""
        model.train()
        step, end = self.step, self.config.steps
        if isinstance(self.network, Baseline):  # each stage has a schedule of its own
            step = round(self.network.begin(step / end) * end)
        if self.config.freeze_norm:
            state.freeze_norms(model)
        return learning_rate(self.config, step)

    def terms(self, model: nn.Module, batch: MattingBatch) -> dict[str, Tensor]:
        """The terms of the loss by name, ``total``, and ``spread``, how far a matte varies; float32 scalars."""
        network, config, image = self.network, self.config, batch.image
        if config.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        given: dict[str, Any] = {"auxiliary": True}
        if isinstance(network, Baseline):
            given = network.training_inputs(batch)
        elif network.config["trimap_input"]:
            given["trimap"] = batch.trimap
        with state.autocast(self.device, config.mixed_precision):
            output = model(image, **given)
        if isinstance(network, Baseline):
            parts = {name: part.float() for name, part in output.parts.items()}
            output = output._replace(alpha=output.alpha.float(), parts=parts)
            terms = network.losses(output, batch)
            terms |= {"total": torch.stack(list(terms.values())).sum()}
        else:
            output = output._make(None if part is None else part.float() for part in output)
            terms = OBJECTIVES[config.objective](output, batch, config.loss_weights)._asdict()
        return terms | {"spread": output.alpha.std(dim=(1, 2, 3)).mean()}

    def collapse(self, recent: list[dict[str, float]]) -> str:
        """Why the last `window` steps are a failure, or ""."""
        if any(one["spread"] >= 1e-3 and math.isfinite(one["gradient_norm"]) for one in recent):
            return ""
        found = f"the matte has been the same everywhere for {len(recent)} steps: it has collapsed"
        return f"{found}; lower the learning rate, start from a pre-trained backbone, or check alpha"

    def where(self) -> str:
        """The step that is being taken, and its samples, in words."""
        samples = next(staged_batches(self.config.sizes, self.step))
        (lowest, size), (highest, _) = samples[0], samples[-1]
        return f"step {self.step + 1} (samples {lowest} to {highest} at {size} pixels)"
