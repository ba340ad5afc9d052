"""One training loop for everything: mixed precision, clipping, averaged weights, atomic files, exact resume."""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm.auto import tqdm

from modnet_lib.baselines import Baseline, BaselineOutput
from modnet_lib.data.assemble import MattingBatch, RawBatch, assemble
from modnet_lib.data.dataset import CompositionDataset, StagedSampler, training_loader
from modnet_lib.files import write_json
from modnet_lib.network import MattingOutput, MODNet, Segmenter
from modnet_lib.objectives import OBJECTIVES
from modnet_lib.profiles import TrainingConfig
from modnet_lib.provenance import read_json, require_same
from modnet_lib.training.state import (
    RunState,
    averaged_weights,
    batch_norms,
    create_optimizer,
    freeze_norms,
    learning_rate,
    open_tensorboard,
    read_metrics,
    restore_norms,
)

STATE = "state.pt"
METRICS = "metrics.jsonl"
IDENTITY = "identity.json"
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

COLLAPSE = 100  # steps in a row with the same matte everywhere, or without a finite gradient in fp16
Network = MODNet | Segmenter | Baseline
Validate = Callable[[Any, int], dict[str, float]]


class Trainer:
    """Train a network in place; another trainer with the same folder resumes.

    Started by ``accelerate launch`` it shares each batch among the processes: gradients and metrics are those of
    the whole batch, and batch norms see it whole on GPUs. The first process writes the files.

    Parameters
    ----------
    network
        What to train; its weights are replaced by those in `folder` if there are any.
    dataset
        Where samples come from.
    config
        Schedule, objective, precision.
    folder
        Where ``state.pt`` (everything that resuming needs), ``identity.json`` (see `identify`), ``metrics.jsonl``
        (a line a step) and, if asked for, ``tensorboard`` go.
    validate
        Called with the network that would be kept (the averaged one, if there is one) and the step, every
        ``validate_every`` steps and at the end; what it returns is written to the metrics.
    identity
        Everything that determines the result. By default `identify` of the arguments, without the initial weights.
    cpu
        Stay on the CPU even if there is a GPU.

    Raises
    ------
    ValueError
        If `folder` holds another run (the message names the first difference), or a batch cannot be shared out equally.
    """

    def __init__(
        self,
        network: Network,
        dataset: CompositionDataset,
        config: TrainingConfig,
        folder: str | Path,
        *,
        validate: Validate | None = None,
        identity: dict[str, Any] | None = None,
        cpu: bool = False,
    ):
        self.network, self.config, self.folder, self.validate = network, config, Path(folder), validate
        self.folder.mkdir(parents=True, exist_ok=True)
        # precision is explicit (autocast around the forward pass, a gradient scaler), so the network stays plain;
        # accelerate keeps one device for the whole process, so `cpu` is not for it to know
        self.accelerator = Accelerator(mixed_precision="no")
        self.device = torch.device("cpu") if cpu else self.accelerator.device
        self.processes, self.is_first = self.accelerator.num_processes, self.accelerator.is_main_process
        if self.processes > 1 and isinstance(network, Baseline):
            raise ValueError("other methods freeze parts of themselves, so they are trained in one process")
        identity = identity or identify(network, dataset, config)
        if (self.folder / IDENTITY).is_file():
            require_same(read_json(self.folder / IDENTITY), identity, folder)
        network.to(self.device)
        if config.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.state = RunState(
            network,
            create_optimizer(network, config),
            averaged_weights(network, config.ema) if config.ema else None,
            torch.amp.GradScaler(self.device.type, enabled=config.mixed_precision == "fp16"),
            identity,
        )
        self.step = self.state.load(self.folder / STATE) if (self.folder / STATE).is_file() else 0
        self.accelerator.wait_for_everyone()  # before the first process drops lines that belong to no checkpoint
        self.history = read_metrics(self.folder / METRICS, self.step, rewrite=self.is_first)
        if self.is_first:
            write_json(self.folder / IDENTITY, identity)
        self.stages = [(stage.image_size, stage.batch_size, stage.steps) for stage in config.stages]
        share = {
            "pieces": config.accumulate,
            "rank": self.accelerator.process_index,
            "processes": self.processes,
        }
        self.loader = training_loader(dataset, self.stages, start=self.step, workers=config.workers, **share)
        self.same = 0  # steps in a row without a matte

    def run(self, stop_after: int | None = None, show_progress: bool = True) -> list[dict[str, Any]]:
        """Train to the end.

        Parameters
        ----------
        stop_after
            Stop (with a checkpoint) after this many steps in all, as if interrupted.
        show_progress
            Show a bar.

        Returns
        -------
        The metrics of every step so far: ``step``, ``loss``, its terms, ``learning_rate``, ``seconds`` (waiting
        for data included), and what `validate` returned.

        Raises
        ------
        FloatingPointError
            If a loss or a gradient is not finite (the weights stay as they were), or the matte has collapsed: the same
            value everywhere for `COLLAPSE` steps. It names the step and its samples, which the dataset returns by
            their numbers.
        """
        config, averaged = self.config, self.state.averaged
        end = min(config.steps, stop_after or config.steps)
        norms, model = batch_norms(self.network), self._wrapped()
        batches = iter(self.loader if self.step < end else ())  # a finished run starts no workers
        board = open_tensorboard(self.folder, self.step) if config.tensorboard and self.is_first else None
        bar = tqdm(
            total=config.steps,
            initial=self.step,
            desc="training",
            unit="step",
            disable=not (self.is_first and show_progress),
        )
        with (
            bar,
            (self.folder / METRICS).open("a", encoding="utf-8") if self.is_first else nullcontext() as log,
        ):
            while self.step < end:
                record = self._advance(model, batches)
                self.history.append(record)
                if log:
                    log.write(json.dumps(record) + "\n")
                    log.flush()
                if board:
                    for name, value in record.items():
                        board.add_scalar(name, value, self.step)
                bar.update()
                bar.set_postfix(loss=f"{record['loss']:.3f}")
                if self.step == end or (config.checkpoint_every and self.step % config.checkpoint_every == 0):
                    self.accelerator.wait_for_everyone()
                    if self.is_first:
                        self.state.save(self.folder / STATE, self.step)
        if board:
            board.close()
        if averaged and self.step == config.steps:
            self.network.load_state_dict(averaged.module.state_dict())
        restore_norms(self.network, norms)
        self.network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        return self.history

    def _wrapped(self) -> nn.Module:
        """The network in the wrappers that it is trained in; they share its weights."""
        config = self.config
        model: nn.Module = self.network
        if self.processes > 1 and self.device.type == "cuda" and not config.freeze_norm:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if config.compile:
            model = torch.compile(model)  # type: ignore[assignment]
        return nn.parallel.DistributedDataParallel(model) if self.processes > 1 else model

    def _advance(self, model: nn.Module, batches: Iterator[RawBatch]) -> dict[str, float]:
        """One step with its learning rate, averaging and validation; its metrics."""
        started, config, network = time.perf_counter(), self.config, self.network
        model.train()
        rate = learning_rate(config, self.step)
        if isinstance(network, Baseline):  # each stage has a schedule of its own
            rate = learning_rate(config, round(network.begin(self.step / config.steps) * config.steps))
        for group in self.state.optimizer.param_groups:
            group["lr"] = group["scale"] * rate
        if config.freeze_norm:
            freeze_norms(model)
        record, spread = self.update(model, batches)
        lost = spread < 1e-3 or not math.isfinite(record["gradient_norm"])
        self.same = self.same + 1 if lost else 0
        _stop_if_hopeless(record, self.same, self.step, self.stages, scaled=self.state.scaler.is_enabled())
        self.step += 1
        averaged = self.state.averaged
        if averaged:
            averaged.update_parameters(network)
        record |= {"step": self.step, "learning_rate": rate, "seconds": time.perf_counter() - started}
        due = config.validate_every and (self.step % config.validate_every == 0 or self.step == config.steps)
        if self.validate and due and self.is_first:
            record |= self.validate((averaged.module if averaged else network).eval(), self.step)
        return record

    def update(self, model: nn.Module, batches: Iterator[RawBatch]) -> tuple[dict[str, float], float]:
        """Forward, loss and backward for each piece of the batch, then the update.

        Returns
        -------
        The losses of the whole batch as numbers, and how far the matte varies (its standard deviation).
        """
        config, state, total = self.config, self.state, torch.zeros((), device=self.device)
        precision = {"dtype": DTYPES[config.mixed_precision], "enabled": config.mixed_precision != "no"}
        for piece in range(config.accumulate):
            batch = assemble(next(batches), self.device)
            image = batch.image
            if config.channels_last:
                image = image.contiguous(memory_format=torch.channels_last)
            given, objective = _objective(self.network, batch, config)
            last = piece == config.accumulate - 1
            # processes exchange gradients once, with the last piece
            with nullcontext() if last else self.accelerator.no_sync(model):
                with torch.autocast(self.device.type, **precision):
                    output = model(image, **given)
                losses = objective(output)
                state.scaler.scale(losses["total"] / config.accumulate).backward()
            values = torch.stack([*losses.values(), output.alpha.float().std()]).detach() / config.accumulate
            total = total + values
        numbers = self.accelerator.reduce(total, "mean").tolist()  # type: ignore[union-attr]
        record = dict(zip((*losses, "spread"), numbers, strict=True))  # type: ignore[possibly-undefined]
        record["loss"], spread = record.pop("total"), record.pop("spread")
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip or math.inf)
        record["gradient_norm"] = float(norm)
        # otherwise keep the weights, for debugging
        if math.isfinite(record["loss"]) and math.isfinite(record["gradient_norm"]):
            state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        return record, spread


def identify(network: Network, dataset: CompositionDataset, config: TrainingConfig) -> dict[str, Any]:
    """Everything that determines the result of a run, except the initial weights.

    How often files are written and how many processes read data are not part of it.

    Returns
    -------
    ``network`` (its kind and configuration), ``training`` (schedule, objective, precision) and ``data`` (see
    `CompositionDataset.identity`).
    """
    training = dataclasses.asdict(config)
    for key in ("checkpoint_every", "validate_every", "workers", "tensorboard"):
        del training[key]
    built = {"kind": type(network).__name__, "config": network.config}
    return json.loads(json.dumps({"network": built, "training": training, "data": dataset.identity()}))


def _objective(
    network: Network, batch: MattingBatch, config: TrainingConfig
) -> tuple[dict[str, Any], Callable[[Any], dict[str, Tensor]]]:
    """What a network is given beside the image, and the terms of its loss by name, ``total`` among them."""
    if isinstance(network, Baseline):

        def own(output: BaselineOutput) -> dict[str, Tensor]:
            parts = {name: part.float() for name, part in output.parts.items()}
            terms = network.losses(output._replace(alpha=output.alpha.float(), parts=parts), batch)
            return terms | {"total": torch.stack(list(terms.values())).sum()}

        return network.training_inputs(batch), own

    def decomposed(output: MattingOutput) -> dict[str, Tensor]:
        heads = (None if part is None else part.float() for part in output)
        losses = OBJECTIVES[config.objective](*heads, **batch._asdict(), weights=config.loss_weights)
        return losses._asdict()

    trimap = {"trimap": batch.trimap} if network.config["trimap_input"] else {}
    return {"auxiliary": True, **trimap}, decomposed


def _stop_if_hopeless(
    record: dict[str, float], same: int, step: int, stages: Sequence[tuple[int, int, int]], scaled: bool
) -> None:
    """Raise `FloatingPointError`, naming the step and its samples, if training cannot continue.

    In fp16 (`scaled`) the scaler lowers its factor after gradients that are not finite, so some of them are normal.
    """
    finite = math.isfinite(record["gradient_norm"]) or scaled
    if math.isfinite(record["loss"]) and finite and same < COLLAPSE:
        return
    samples = next(iter(StagedSampler(stages, step)))
    (lowest, size), (highest, _) = samples[0], samples[-1]
    where = f"step {step + 1} (samples {lowest} to {highest} at {size} pixels)"
    if not (math.isfinite(record["loss"]) and finite):
        raise FloatingPointError(
            f"{where}: the loss is {record['loss']}, the norm of the gradient {record['gradient_norm']} ({record}); "
            "lower the learning rate, and look at these samples"
        )
    raise FloatingPointError(
        f"{where}: the matte has been the same everywhere for {same} steps: it has collapsed; lower the learning "
        "rate, start from a pre-trained backbone, or check that alpha is in [0, 1]"
    )
