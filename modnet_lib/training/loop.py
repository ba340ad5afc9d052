"""One training loop for everything: mixed precision, clipping, averaged weights, atomic files, exact resume."""

import copy
import dataclasses
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
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
from modnet_lib.files import write_atomically, write_json, write_text
from modnet_lib.network import MattingOutput, MODNet, Segmenter
from modnet_lib.objectives import OBJECTIVES
from modnet_lib.profiles import TrainingConfig
from modnet_lib.provenance import read_json, require_same

STATE = "state.pt"
METRICS = "metrics.jsonl"
IDENTITY = "identity.json"
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

COLLAPSE = 100  # steps in a row with the same matte everywhere, or without a finite gradient in fp16
Network = MODNet | Segmenter | Baseline
Validate = Callable[[Any, int], dict[str, float]]


def train(
    network: Network,
    dataset: CompositionDataset,
    config: TrainingConfig,
    folder: str | Path,
    *,
    validate: Validate | None = None,
    identity: dict[str, Any] | None = None,
    stop_after: int | None = None,
    cpu: bool = False,
    show_progress: bool = True,
) -> list[dict[str, Any]]:
    """Train a network in place; call it again with the same folder to resume.

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
    stop_after
        Stop (with a checkpoint) after this many steps in all, as if interrupted.
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
        If a loss or a gradient is not finite (the weights stay as they were), or the matte has collapsed: the same
        value everywhere for `COLLAPSE` steps. It names the step and its samples, which the dataset returns by
        their numbers.
    ValueError
        If `folder` holds another run (the message names the first difference), or a batch cannot be shared out equally.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # precision is explicit: autocast around the forward pass and a gradient scaler, so that the network stays plain
    # accelerate keeps one device for the whole process, so `cpu` is not for it to know
    accelerator = Accelerator(mixed_precision="no")
    device = torch.device("cpu") if cpu else accelerator.device
    processes, first = accelerator.num_processes, accelerator.is_main_process
    if processes > 1 and isinstance(network, Baseline):
        raise ValueError("other methods freeze parts of themselves, so they are trained in one process")
    identity = identity or identify(network, dataset, config)
    if (folder / IDENTITY).is_file():
        require_same(read_json(folder / IDENTITY), identity, folder)
    network.to(device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = _State(
        network,
        create_optimizer(network, config),
        AveragedWeights(network, config.ema) if config.ema else None,
        torch.amp.GradScaler(device.type, enabled=config.mixed_precision == "fp16"),
        identity,
    )
    optimizer, averaged = run.optimizer, run.averaged
    step = run.load(folder / STATE) if (folder / STATE).is_file() else 0
    accelerator.wait_for_everyone()  # before the first process drops lines that belong to no checkpoint
    history = _read_metrics(folder / METRICS, step, rewrite=first)
    if first:
        write_json(folder / IDENTITY, identity)
    norms = _batch_norms(network)
    model: nn.Module = network
    if processes > 1 and device.type == "cuda" and not config.freeze_norm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if config.compile:
        model = torch.compile(model)  # type: ignore[assignment]
    if processes > 1:
        model = nn.parallel.DistributedDataParallel(model)
    stages = [(stage.image_size, stage.batch_size, stage.steps) for stage in config.stages]
    share = {"pieces": config.accumulate, "rank": accelerator.process_index, "processes": processes}
    loader = training_loader(dataset, stages, start=step, workers=config.workers, **share)
    end = min(config.steps, stop_after or config.steps)
    batches = iter(loader if step < end else ())  # a finished run starts no workers
    same = 0

    # `network` shares its weights with its wrappers
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
            record, spread = _step(accelerator, model, run, batches, config)
            same = same + 1 if spread < 1e-3 or not math.isfinite(record["gradient_norm"]) else 0
            _stop_if_hopeless(record, same, step, stages, scaled=run.scaler.is_enabled())
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
                    run.save(folder / STATE, step)
    bar.close()
    if board:
        board.close()
    if averaged and step == config.steps:
        network.load_state_dict(averaged.network.state_dict())
    _restore(network, norms)
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return history


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


def _step(
    accelerator: Accelerator,
    model: nn.Module,
    run: "_State",
    batches: Iterator[RawBatch],
    config: TrainingConfig,
) -> tuple[dict[str, float], float]:
    """Forward, loss and backward for each piece of the batch, then the update.

    Returns
    -------
    The losses of the whole batch as numbers, and how far the matte varies (its standard deviation).
    """
    total: Tensor | None = None
    device, dtype = next(run.network.parameters()).device, DTYPES[config.mixed_precision]
    for piece in range(config.accumulate):
        batch = assemble(next(batches), device)
        image = batch.image
        if config.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        given, objective = _objective(run.network, batch, config)
        last = piece == config.accumulate - 1
        # processes exchange gradients once, with the last piece
        with nullcontext() if last else accelerator.no_sync(model):
            with torch.autocast(device.type, dtype, enabled=config.mixed_precision != "no"):
                output = model(image, **given)
            losses = objective(output)
            run.scaler.scale(losses["total"] / config.accumulate).backward()
        values = torch.stack([*losses.values(), output.alpha.float().std()]).detach() / config.accumulate
        total = values if total is None else total + values
    numbers = accelerator.reduce(total, "mean").tolist()  # type: ignore[union-attr]
    record = dict(zip((*losses, "spread"), numbers, strict=True))  # type: ignore[possibly-undefined]
    record["loss"], spread = record.pop("total"), record.pop("spread")
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip or math.inf)
    record["gradient_norm"] = float(norm)
    # otherwise keep the weights, for debugging
    if math.isfinite(record["loss"]) and math.isfinite(record["gradient_norm"]):
        run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
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


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer for TensorBoard; what an interrupted run wrote after its last checkpoint is hidden."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("tensorboard: true needs the package: pip install tensorboard") from error
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)


@dataclasses.dataclass
class _State:
    """The state of a run between steps, and its identity."""

    network: Network
    optimizer: torch.optim.Optimizer
    averaged: AveragedWeights | None
    scaler: torch.amp.GradScaler
    identity: dict[str, Any]

    def save(self, path: Path, step: int) -> None:
        state = {
            "step": step,
            "identity": self.identity,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged.network.state_dict() if self.averaged else None,
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
            self.averaged.network.load_state_dict(state["averaged"])
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


def _batch_norms(network: nn.Module) -> dict[str, nn.Module]:
    norm = nn.modules.batchnorm._BatchNorm
    return {name: module for name, module in network.named_modules() if isinstance(module, norm)}


def _restore(network: nn.Module, norms: dict[str, nn.Module]) -> None:
    """Undo SyncBatchNorm, whose modules share weights and statistics with those that they replaced."""
    for name, norm in norms.items():
        network.set_submodule(name, norm)


def _read_metrics(path: Path, step: int, rewrite: bool = True) -> list[dict[str, Any]]:
    """The lines up to `step`; later ones belong to a run that was cut before its checkpoint and are dropped."""
    if not path.is_file():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    history = [record for record in map(json.loads, lines) if record["step"] <= step]
    if rewrite:
        write_text(path, "".join(json.dumps(record) + "\n" for record in history))
    return history
