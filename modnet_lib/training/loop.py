"""One training loop for everything: mixed precision, clipping, averaged weights, atomic files, exact resume."""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm.auto import tqdm

from modnet_lib.baselines import Baseline
from modnet_lib.data.assemble import MattingBatch, assemble
from modnet_lib.data.dataset import CompositionDataset, StagedSampler, training_loader
from modnet_lib.files import write_json
from modnet_lib.images import read_out
from modnet_lib.network import MODNet, Segmenter
from modnet_lib.objectives import OBJECTIVES
from modnet_lib.profiles import TrainingConfig
from modnet_lib.provenance import read_json, require_same
from modnet_lib.training.state import (
    BATCH_NORM,
    averaged_weights,
    create_optimizer,
    freeze_norms,
    learning_rate,
    load_state,
    read_metrics,
    save_state,
)

STATE, METRICS, IDENTITY = "state.pt", "metrics.jsonl", "identity.json"
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
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
    cpu
        Stay on the CPU even if there is a GPU.

    Raises
    ------
    ValueError
        If `folder` holds another run (the message names the first difference).
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
        cpu: bool = False,
    ):
        self.network, self.dataset, self.config, self.validate = network, dataset, config, validate
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # precision is explicit (autocast around the forward pass, a gradient scaler), so the network stays plain;
        # accelerate keeps one device for the whole process, so `cpu` is not for it to know
        self.accelerator = Accelerator(mixed_precision="no")
        self.device = torch.device("cpu") if cpu else self.accelerator.device
        self.processes, self.is_first = self.accelerator.num_processes, self.accelerator.is_main_process
        if self.processes > 1 and isinstance(network, Baseline):
            raise ValueError("other methods freeze parts of themselves, so they are trained in one process")
        self.identity = identity or identify(network, dataset, config)
        if (self.folder / IDENTITY).is_file():
            require_same(read_json(self.folder / IDENTITY), self.identity, folder)
        network.to(self.device)
        if config.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = self.create_optimizer()
        self.averaged = averaged_weights(network, config.ema) if config.ema else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.mixed_precision == "fp16")
        self.step = load_state(self.folder / STATE, self.identity, self.kept())
        self.accelerator.wait_for_everyone()  # before the first process drops lines that belong to no checkpoint
        self.history = read_metrics(self.folder / METRICS, self.step, rewrite=self.is_first)
        if self.is_first:
            write_json(self.folder / IDENTITY, self.identity)

    def create_optimizer(self) -> torch.optim.Optimizer:
        """Each of its groups has a factor ``scale`` on the learning rate."""
        return create_optimizer(self.network, self.config)

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
        norms = {n: m for n, m in self.network.named_modules() if isinstance(m, BATCH_NORM)}
        model = self.wrapped()
        batches = iter(self.batches() if self.step < end else ())  # a finished run starts no workers
        hidden = not (self.is_first and show_progress)
        with (
            tqdm(total=config.steps, initial=self.step, desc="training", unit="step", disable=hidden) as bar,
            (self.folder / METRICS).open("a", encoding="utf-8") if self.is_first else nullcontext() as log,
        ):
            while self.step < end and not self.stopped:
                record = self._advance(model, batches)
                if log:
                    log.write(json.dumps(record) + "\n")
                    log.flush()
                bar.update()
                bar.set_postfix(loss=f"{record['loss']:.3f}")
                due = config.checkpoint_every and self.step % config.checkpoint_every == 0
                if due or self.step == end or self.stopped:
                    self.accelerator.wait_for_everyone()
                    if self.is_first:
                        save_state(self.folder / STATE, self.step, self.identity, self.kept())
        if self.averaged and self.step == config.steps:
            self.network.load_state_dict(self.averaged.module.state_dict())
        for name, norm in norms.items():  # SyncBatchNorm replaced them; it shares weights and statistics
            self.network.set_submodule(name, norm)
        self.network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        return self.history

    @property
    def stopped(self) -> str:
        """Why `validate` ended the run, or ""."""
        return self.history[-1].get("stopped", "") if self.history else ""

    def wrapped(self) -> nn.Module:
        """The network in the wrappers that it is trained in; they share its weights."""
        config = self.config
        model: nn.Module = self.network
        if self.processes > 1 and self.device.type == "cuda" and not config.freeze_norm:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if config.compile:
            model = torch.compile(model)  # type: ignore[assignment]
        return nn.parallel.DistributedDataParallel(model) if self.processes > 1 else model

    def _advance(self, model: nn.Module, batches: Iterator[Any]) -> dict[str, Any]:
        """One step with its learning rate, averaging and validation; its metrics."""
        started, config = time.perf_counter(), self.config
        rate = self.begin(model)
        for group in self.optimizer.param_groups:
            group["lr"] = group["scale"] * rate
        record = self.update(model, self.pieces(batches))
        if problem := self._problem(record):
            raise FloatingPointError(f"{self.where()}: {problem}")
        self.step += 1
        if self.averaged:
            self.averaged.update_parameters(self.network)
        record |= {"step": self.step, "learning_rate": rate, "seconds": time.perf_counter() - started}
        self.history.append(record)
        due = config.validate_every and (self.step % config.validate_every == 0 or self.step == config.steps)
        if self.validate and due and self.is_first:
            kept = self.averaged.module if self.averaged else self.network
            record |= self.validate(kept.eval(), self.step)
        return record

    def update(self, model: nn.Module, pieces: Iterable[tuple[Any, float]]) -> dict[str, float]:
        """Forward, loss and backward for each piece of the batch, then the update; the terms of the whole batch."""
        config, total = self.config, torch.zeros((), device=self.device)
        for number, (piece, share) in enumerate(pieces, 1):
            # processes exchange gradients once, with the last piece
            with self.accelerator.no_sync(model) if number < config.accumulate else nullcontext():
                terms = self.terms(model, piece)
                self.scaler.scale(terms["total"] * share).backward()
            total = total + torch.stack([*terms.values()]).detach() * share
        numbers = read_out(self.accelerator.reduce(total, "mean")).tolist()  # type: ignore[arg-type]
        record = dict(zip(terms, numbers, strict=True))  # type: ignore[possibly-undefined]
        record["loss"] = record.pop("total")
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip or math.inf)
        record["gradient_norm"] = float(read_out(norm))
        # otherwise keep the weights, for debugging
        if math.isfinite(record["loss"]) and math.isfinite(record["gradient_norm"]):
            self.scaler.step(self.optimizer)
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
        """Batches from the next step on, as the data set has them."""
        share = {"rank": self.accelerator.process_index, "processes": self.processes}
        share |= {"pieces": self.config.accumulate, "workers": self.config.workers}
        return training_loader(self.dataset, self.config.sizes, start=self.step, **share)

    def pieces(self, batches: Iterator[Any]) -> Iterator[tuple[Any, float]]:
        """The pieces of the next batch on the device, each with its share of the loss."""
        for _ in range(self.config.accumulate):
            yield assemble(next(batches), self.device), 1 / self.config.accumulate

    def begin(self, model: nn.Module) -> float:
        """Make the network ready for a step, and return its learning rate."""
        model.train()
        step = self.step
        if isinstance(self.network, Baseline):  # each stage has a schedule of its own
            step = round(self.network.begin(step / self.config.steps) * self.config.steps)
        if self.config.freeze_norm:
            freeze_norms(model)
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
        precision = {"dtype": DTYPES[config.mixed_precision], "enabled": config.mixed_precision != "no"}
        with torch.autocast(self.device.type, **precision):
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
        samples = next(iter(StagedSampler(self.config.sizes, self.step)))
        (lowest, size), (highest, _) = samples[0], samples[-1]
        return f"step {self.step + 1} (samples {lowest} to {highest} at {size} pixels)"


def identify(network: Network, dataset: CompositionDataset, config: TrainingConfig) -> dict[str, Any]:
    """Everything that determines the result of a run, except the initial weights: ``network``, ``training``, ``data``.

    How often files are written and how many processes read data are not part of it.
    """
    free = ("checkpoint_every", "validate_every", "workers")
    training = {key: value for key, value in dataclasses.asdict(config).items() if key not in free}
    built = {"kind": type(network).__name__, "config": network.config}
    return json.loads(json.dumps({"network": built, "training": training, "data": dataset.identity()}))
