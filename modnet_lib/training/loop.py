"""One training loop for everything: mixed precision, clipping, averaged weights, atomic files, exact resume."""

import copy
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
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from tqdm.auto import tqdm

from modnet_lib.baselines import Baseline, BaselineOutput
from modnet_lib.data.loaders import (
    CompositionDataset,
    MattingBatch,
    RawBatch,
    StagedSampler,
    assemble,
    training_loader,
)
from modnet_lib.network import MattingOutput, MODNet, Segmenter
from modnet_lib.network.checkpoints import write_atomically
from modnet_lib.objectives import OBJECTIVES
from modnet_lib.profiles import TrainingConfig

STATE = "state.pt"
METRICS = "metrics.jsonl"

COLLAPSE = 100  # steps in a row with the same matte everywhere
Network = MODNet | Segmenter | Baseline
Validate = Callable[[Any, int], dict[str, float]]


def train(
    network: Network,
    dataset: CompositionDataset,
    config: TrainingConfig,
    folder: str | Path,
    *,
    validate: Validate | None = None,
    stop_after: int | None = None,
    cpu: bool = False,
    show_progress: bool = True,
) -> list[dict[str, Any]]:
    """Train a network in place; call it again with the same folder to go on where it stopped.

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
        Where ``state.pt`` (everything that resuming needs), ``metrics.jsonl`` (a line a step) and, if asked for,
        ``tensorboard`` go.
    validate
        Called with the network that would be kept (the averaged one, if there is one) and the step, every
        ``validate_every`` steps and at the end; what it returns is written to the metrics.
    stop_after
        Stop (with a checkpoint) after this many steps in all, as if the run had been cut there.
    cpu
        Stay on the CPU even if there is a GPU.
    show_progress
        Show a bar.

    Returns
    -------
    The metrics of every step so far: ``step``, ``loss``, its terms, ``learning_rate``, ``seconds`` (waiting
    for data included), and what `validate` returned.

    Raises
    ------
    FloatingPointError
        If a loss is not finite, or the matte has collapsed: the same value everywhere for `COLLAPSE` steps. It
        names the step and its samples, which the dataset returns by their numbers.
    ValueError
        If `folder` holds another run, or a batch cannot be shared out equally.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    AcceleratorState._reset_state()  # else a process could only ever train in one precision
    accelerator = Accelerator(mixed_precision=config.mixed_precision, cpu=cpu)
    processes, first = accelerator.num_processes, accelerator.is_main_process
    if processes > 1 and isinstance(network, Baseline):
        raise ValueError("other methods freeze parts of themselves, so they are trained in one process")
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = create_optimizer(network, config)
    averaged = AveragedWeights(network, config.ema) if config.ema else None
    step = _resume(folder / STATE, config, network, optimizer, averaged) if (folder / STATE).is_file() else 0
    accelerator.wait_for_everyone()  # before the first process drops lines that belong to no checkpoint
    history = _read_metrics(folder / METRICS, step, rewrite=first)
    trained: nn.Module = network
    if processes > 1 and accelerator.device.type == "cuda" and not config.freeze_norm:
        trained = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if config.compile:
        trained = torch.compile(trained)  # type: ignore[assignment]
    model, optimizer = accelerator.prepare(trained, optimizer)
    if averaged:
        averaged.network.to(accelerator.device)
    stages = [(stage.image_size, stage.batch_size, stage.steps) for stage in config.stages]
    share = {"pieces": config.accumulate, "rank": accelerator.process_index, "processes": processes}
    loader = training_loader(dataset, stages, start=step, workers=config.workers, **share)
    end = min(config.steps, stop_after or config.steps)
    batches = iter(loader if step < end else ())  # a finished run starts no workers
    same = 0

    # `network` itself shares its weights with whatever it is wrapped in
    kept = averaged.network if averaged else network
    board = _tensorboard(folder, step) if config.tensorboard and first else None
    bar = tqdm(
        total=config.steps, initial=step, desc="training", unit="step", disable=not (first and show_progress)
    )
    with (folder / METRICS).open("a", encoding="utf-8") if first else nullcontext() as log:
        while step < end:
            started = time.perf_counter()
            model.train()
            rate = learning_rate(config, step)
            if isinstance(network, Baseline):  # each stage has a schedule of its own
                rate = learning_rate(config, round(network.begin(step / config.steps) * config.steps))
            for group in optimizer.param_groups:
                group["lr"] = group["scale"] * rate
            if config.freeze_norm:
                freeze_norms(model)
            record, spread = _step(accelerator, model, network, optimizer, batches, config)
            same = same + 1 if spread < 1e-3 else 0
            _stop_if_hopeless(record, same, step, stages)
            step += 1
            if averaged:
                averaged.update(network, step)
            record |= {"step": step, "learning_rate": rate}
            record["seconds"] = time.perf_counter() - started
            due = config.validate_every and (step % config.validate_every == 0 or step == config.steps)
            if validate and due and first:
                record |= validate(kept.eval(), step)
            history.append(record)
            if log:
                log.write(json.dumps(record) + "\n")
                log.flush()
            if board:
                for name, value in record.items():
                    board.add_scalar(name, value, step)
            bar.update()
            bar.set_postfix(loss=f"{record['loss']:.3f}")
            if step == end or (config.checkpoint_every and step % config.checkpoint_every == 0):
                accelerator.wait_for_everyone()
                if first:
                    _save(folder / STATE, config, network, optimizer, averaged, step)
    bar.close()
    if board:
        board.close()
    if averaged and step == config.steps:
        network.load_state_dict(averaged.network.state_dict())
    network.eval()
    return history


def _step(
    accelerator: Accelerator,
    model: nn.Module,
    network: Network,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[RawBatch],
    config: TrainingConfig,
) -> tuple[dict[str, float], float]:
    """Forward, loss and backward for each piece of the batch, then the update.

    Returns
    -------
    The losses of the whole batch as numbers, and how far the matte varies (its standard deviation).
    """
    total: Tensor | None = None
    for piece in range(config.accumulate):
        batch = assemble(next(batches), accelerator.device)
        image = batch.image
        if config.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        given, objective = _objective(network, batch, config)
        last = piece == config.accumulate - 1
        # processes exchange gradients once, with the last piece
        with nullcontext() if last else accelerator.no_sync(model):
            with accelerator.autocast():
                output = model(image, **given)
            losses = objective(output)
            accelerator.backward(losses["total"] / config.accumulate)
        values = torch.stack([*losses.values(), output.alpha.float().std()]).detach() / config.accumulate
        total = values if total is None else total + values
    numbers = accelerator.reduce(total, "mean").tolist()  # type: ignore[union-attr]
    record = dict(zip((*losses, "spread"), numbers, strict=True))  # type: ignore[possibly-undefined]
    record["loss"], spread = record.pop("total"), record.pop("spread")
    if config.gradient_clip:
        norm: Any = accelerator.clip_grad_norm_(model.parameters(), config.gradient_clip)
        record["gradient_norm"] = float(norm)
    if math.isfinite(record["loss"]):  # else the weights stay as they were, for whoever looks into it
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return record, spread


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
    record: dict[str, float], same: int, step: int, stages: Sequence[tuple[int, int, int]]
) -> None:
    """Raise `FloatingPointError`, naming the step and its samples, if training cannot go on."""
    if math.isfinite(record["loss"]) and same < COLLAPSE:
        return
    samples = next(iter(StagedSampler(stages, step)))
    (lowest, size), (highest, _) = samples[0], samples[-1]
    where = f"step {step + 1} (samples {lowest} to {highest} at {size} pixels)"
    if not math.isfinite(record["loss"]):
        raise FloatingPointError(
            f"{where}: the loss is {record['loss']} ({record}); lower the learning rate, and look at these samples"
        )
    raise FloatingPointError(
        f"{where}: the matte has been the same everywhere for {same} steps: it has collapsed; lower the learning "
        "rate, start from a pre-trained backbone, or check that alpha is in [0, 1]"
    )


def freeze_norms(model: nn.Module) -> None:
    """Let batch norms use the statistics they have, until the next ``train()``; their weights still learn."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


class AveragedWeights:
    """Exponential moving average of the weights; early on it averages over fewer steps.

    Parameters
    ----------
    network
        What is averaged.
    decay
        Share of the old average that a step keeps, in (0, 1).
    """

    def __init__(self, network: Network, decay: float):
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps; counters and batch statistics are averaged likewise."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(
            self.network.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if mine.is_floating_point():
                mine.lerp_(theirs.to(mine.device), 1 - decay)
            else:
                mine.copy_(theirs)


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


def _identity(config: TrainingConfig) -> str:
    """Every setting that changes the weights; how often files are written and who reads data do not."""
    return repr(
        dataclasses.replace(config, checkpoint_every=0, validate_every=0, workers=0, tensorboard=False)
    )


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer for TensorBoard; what an interrupted run wrote after its last checkpoint is hidden."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("tensorboard: true needs the package: pip install tensorboard") from error
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)


def _save(
    path: Path,
    config: TrainingConfig,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    averaged: AveragedWeights | None,
    step: int,
) -> None:
    state = {
        "step": step,
        "config": _identity(config),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "averaged": averaged.network.state_dict() if averaged else None,
        "random": torch.get_rng_state(),
    }
    write_atomically(path, lambda temporary: torch.save(state, temporary))


def _resume(
    path: Path,
    config: TrainingConfig,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    averaged: AveragedWeights | None,
) -> int:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise half a dozen unrelated types
        raise ValueError(f"{path} is damaged ({error}); delete it to start again") from error
    if state["config"] != _identity(config):
        raise ValueError(
            f"{path} belongs to a run with another schedule or other settings; give another folder or delete it"
        )
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    if averaged and state["averaged"]:
        averaged.network.load_state_dict(state["averaged"])
    torch.set_rng_state(state["random"])
    return state["step"]


def _read_metrics(path: Path, step: int, rewrite: bool = True) -> list[dict[str, Any]]:
    """The lines up to `step`; later ones belong to a run that was cut before its checkpoint and are dropped."""
    if not path.is_file():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    history = [record for record in map(json.loads, lines) if record["step"] <= step]
    text = "".join(json.dumps(record) + "\n" for record in history)
    if rewrite:
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return history
