"""Training: the released network and losses in a plain loop, then what each of our changes adds, in one run.

.venv/bin/python benchmarks/training.py [--size 256] [--batch 8] [--compile] [--output FILE.json]

Every line has a process of its own, so that its peak memory is its own. The first lines time the step alone (forward,
losses, backward, SGD) on one ready batch; the last two time the whole loop, samples included: Pillow, NumPy and float32
beside `modnet_lib.training.loop.Trainer`. Below stands what the fastest step takes beside the floor that its arithmetic
and its memory traffic set on this machine, and what the paper's schedule costs at the measured rate on one device and
on several.
"""

import json
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import drawn_data
import numpy as np
import torch
import typer
from compositing import plain_sample
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from modnet_lib.data.loaders import CompositionDataset, MattingBatch
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.network import MODNet
from modnet_lib.network.cost import count_parameters
from modnet_lib.network.modnet import Variant
from modnet_lib.objectives import OBJECTIVES
from modnet_lib.profiles import DataConfig, Profile, Stage, TrainingConfig
from modnet_lib.provenance import recorded
from modnet_lib.training.loop import Trainer

console = Console()
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Way:
    """One way to train."""

    label: str
    variant: Variant = "released"
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    compile: bool = False
    whole_loop: bool = False


def ways(compiled: bool) -> list[Way]:
    """Each adds one change to the one before; the last two are whole loops."""
    plain = Way("released network, plain float32")
    steps = [plain, replace(plain, label="+ bf16", dtype=torch.bfloat16)]
    if DEVICE.type == "cuda":
        steps.append(replace(steps[-1], label="+ channels last", channels_last=True))
    steps.append(replace(steps[-1], label="+ the paper's network and losses", variant="paper"))
    if DEVICE.type == "cpu":  # there the released network is slower with it
        steps.append(replace(steps[-1], label="+ channels last", channels_last=True))
    if compiled:
        steps.append(replace(steps[-1], label="+ torch.compile", compile=True))
    loops = [
        replace(plain, label="plain loop with Pillow and NumPy"),
        replace(steps[-1], label="modnet_lib's loop"),
    ]
    return steps + [replace(loop, whole_loop=True) for loop in loops]


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def random_batch(size: int, batch: int) -> MattingBatch:
    """A ready batch; the arithmetic does not depend on what is in it."""
    torch.manual_seed(0)
    image, foreground, background = (torch.rand(batch, 3, size, size, device=DEVICE) for _ in range(3))
    alpha = torch.rand(batch, 1, size, size, device=DEVICE)
    return MattingBatch(image, alpha, (alpha * 2).round() / 2, foreground, background)


def run_step(network: nn.Module, optimizer: torch.optim.Optimizer, batch: MattingBatch, way: Way) -> None:
    image = batch.image
    if way.channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    with torch.autocast(DEVICE.type, way.dtype, enabled=way.dtype != torch.float32):
        output = network(image, auxiliary=True)
    OBJECTIVES[way.variant](output._make(part.float() for part in output), batch).total.backward()
    optimizer.step()
    optimizer.zero_grad()


def measure(way: Way, size: int, batch: int, repeats: int) -> dict[str, float]:
    """Images a second (median over steps), peak GiB over what stood before, FLOPs and bytes of a step."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if way.whole_loop:
        with tempfile.TemporaryDirectory() as folder:
            seconds = (our_loop if way.variant == "paper" else plain_loop)(
                way, size, batch, repeats, Path(folder)
            )
        return {"rate": batch / seconds, "peak": peak(before)}
    network = MODNet(way.variant).to(DEVICE).train()
    if way.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)
    data = random_batch(size, batch)
    trained = torch.compile(network) if way.compile else network
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        run_step(trained, optimizer, data, way)  # type: ignore[arg-type]
        synchronize()
        times.append(time.perf_counter() - start)
    result = {"rate": batch / statistics.median(times[2:]), "peak": peak(before)}
    with FlopCounterMode(display=False) as counter:
        run_step(network, optimizer, data, way)
    flops, moved = counter.get_total_flops(), traffic(network, optimizer, data, way)
    return result | {"flops": float(flops), "bytes": float(moved)}


def peak(before: int) -> float:
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20


def traffic(network: nn.Module, optimizer: torch.optim.Optimizer, data: MattingBatch, way: Way) -> int:
    """The least that a step moves through memory if no two layers are fused, bytes.

    What a layer answers is written and read going forward; going backward it is read once more, and its gradient
    written and read. Weights are read twice; their gradient, momentum and value are written and read in float32.
    """
    total = 0

    def count(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += 5 * output.nbytes

    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [module.register_forward_hook(count) for module in leaves]
    run_step(network, optimizer, data, way)
    for handle in handles:
        handle.remove()
    return total + 8 * sum(parameter.nbytes for parameter in network.parameters())


def people() -> tuple[list[MattingSample], list[np.ndarray]]:
    samples = drawn_data.people(4, 512)
    return samples, [sample.background for sample in samples]


def plain_loop(way: Way, size: int, batch: int, repeats: int, folder: Path) -> float:
    """Seconds a step: samples one after another, then the step."""
    samples, scenes = people()
    network = MODNet(way.variant).to(DEVICE).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    times = []
    for number in range(repeats + 2):
        start = time.perf_counter()
        rng = np.random.default_rng(number)
        made = [plain_sample(samples[i % 4], scenes[(i + number) % 4], size, rng) for i in range(batch)]
        image, alpha, trimap, foreground, background = (
            torch.from_numpy(np.stack(part)).to(DEVICE) for part in zip(*made, strict=True)
        )
        run_step(network, optimizer, MattingBatch(image, alpha, trimap, foreground, background), way)
        synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def our_loop(way: Way, size: int, batch: int, repeats: int, folder: Path) -> float:
    """Seconds a step of `train`, with its metrics, clipping and averaged weights."""
    samples, scenes = people()
    dataset = CompositionDataset(
        [lambda s=s: s for s in samples], [lambda s=s: s for s in scenes], 0, DataConfig(memory=1), DEVICE
    )
    config = TrainingConfig(
        stages=(Stage(size, batch, repeats + 2),),
        gradient_clip=5.0,
        mixed_precision="bf16",
        channels_last=True,
        compile=way.compile,
        ema=0.99,
        checkpoint_every=0,
    )
    history = Trainer(MODNet(), dataset, config, folder).run(show_progress=False)
    return statistics.median(record["seconds"] for record in history[2:])


def limits() -> dict[str, float]:
    """What this machine reaches: FLOP/s of a large bf16 product, bytes/s of a copy."""
    side = 8192 if DEVICE.type == "cuda" else 2048
    a = torch.rand(side, side, device=DEVICE, dtype=torch.bfloat16)
    long = torch.rand(2**26, device=DEVICE)
    copy = torch.empty_like(long)
    best = [0.0, 0.0]
    for _ in range(5):
        for which, work in enumerate((lambda: a @ a, lambda: copy.copy_(long))):
            synchronize()
            start = time.perf_counter()
            work()
            synchronize()
            amount = 2 * side**3 if which == 0 else 2 * long.nbytes
            best[which] = max(best[which], amount / (time.perf_counter() - start))
    return {"flops": best[0], "bytes": best[1]}


def schedule(rate: float, size: int) -> Table:
    """What the paper's schedule takes on several devices like this one, from the measured images a second.

    Each device has the paper's batch to itself, and there are fewer steps. Between two steps the gradients (float32)
    travel once around a ring of the devices; that the exchange overlaps with the backward pass is not counted on.
    """
    paper = Profile.load("paper").training.stages[0]
    step = paper.batch_size / rate * (paper.image_size / size) ** 2
    gradients = 4 * count_parameters(MODNet())
    table = Table("devices", "link, GB/s", "step, ms", "exchange, ms", "efficiency", "hours")
    table.title = f"The paper's schedule, {paper.steps * paper.batch_size:,} images at {paper.image_size}"
    for devices, link in ((1, None), (4, 25.0), (8, 25.0), (16, 1.25)):
        exchange = 2 * (devices - 1) / devices * gradients / (link * 1e9) if link else 0.0
        hours = paper.steps / devices * (step + exchange) / 3600
        numbers = (1000 * step, 1000 * exchange)
        table.add_row(
            str(devices),
            f"{link:g}" if link else "–",
            *(f"{number:,.1f}" for number in numbers),
            f"{step / (step + exchange):.1%}",
            f"{hours:,.1f}",
        )
    return table


def alone(work: Any, *arguments: Any) -> Any:
    """Run in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main(
    size: Annotated[int, typer.Option(help="Side of the training images.")] = 256,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 8,
    repeats: Annotated[int, typer.Option(help="Steps that are timed.")] = 6,
    compile: Annotated[bool, typer.Option(help="Also with torch.compile.")] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the numbers as JSON.")] = None,
) -> None:
    """Print the tables."""
    device = (
        torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    )
    table = Table("", "images/s", "x the first", "x the one before", "peak GiB")
    table.title = f"{size} x {size}, batch {batch}, {device}, torch {torch.__version__}"
    chosen = ways(compile)
    results = [alone(measure, way, size, batch, repeats) for way in chosen]
    first = 0
    for number, (way, result) in enumerate(zip(chosen, results, strict=True)):
        if way.whole_loop and not chosen[number - 1].whole_loop:
            table.add_section()
            first = number
        against = [result["rate"] / results[other]["rate"] for other in (first, max(first, number - 1))]
        numbers = (result["rate"], *against, result["peak"])
        table.add_row(way.label, *(f"{number:.2f}" for number in numbers))
    console.print(table)
    most, fastest = alone(limits), max((r for r in results if "flops" in r), key=lambda r: r["rate"])
    floors = {kind: fastest[kind] / most[kind] for kind in ("flops", "bytes")}
    taken = batch / fastest["rate"]
    console.print(
        f"A step of the fastest takes {1000 * taken:.0f} ms. Its {fastest['flops'] / 1e9:.0f} GFLOPs take at least "
        f"{1000 * floors['flops']:.0f} ms at this machine's {most['flops'] / 1e12:.2f} TFLOP/s (bf16), its "
        f"{fastest['bytes'] / 1e9:.1f} GB at least {1000 * floors['bytes']:.0f} ms at {most['bytes'] / 1e9:.0f} GB/s: "
        f"{taken / max(floors.values()):.1f} times the larger of the two."
    )
    console.print(schedule(results[-1]["rate"], size))
    if output:
        lines = [{"label": w.label, **r} for w, r in zip(chosen, results, strict=True)]
        content = {"device": device, "torch": torch.__version__, "size": size, "batch": batch, "lines": lines}
        content |= {
            "limits": most,
            **recorded("benchmarks/training.py", device=DEVICE, precision="see lines"),
        }
        output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
