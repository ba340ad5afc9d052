"""Training: the released network in a plain loop, then what each of our changes adds.

.venv/bin/python benchmarks/training.py [--size 256] [--batch 8] [--compile] [--output training_benchmark]

Every line has a process of its own, so that its peak memory is its own. The first lines time the step alone (forward,
losses, backward, SGD) on one ready batch; the last two time the whole loop, samples included: Pillow, NumPy and float32
beside `modnet_lib.training.loop.Trainer`.
"""

import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import typer
from _timing import DEVICE, NAME, medians, people, save, show
from compositing import our_data, plain_batch

from modnet_lib.data.assemble import MattingBatch
from modnet_lib.network import MODNet
from modnet_lib.network.modnet import Variant
from modnet_lib.objectives import paper_objective
from modnet_lib.profiles import Stage, TrainingConfig
from modnet_lib.training.loop import Trainer


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
    steps = [Way("released network, plain float32"), Way("+ bf16", dtype=torch.bfloat16)]
    changes = [
        ("+ the paper's network", {"variant": "paper"}),
        ("+ channels last", {"channels_last": True}),  # on a CPU the released network is slower with it
    ]
    changes = changes[::-1] if DEVICE.type == "cuda" else changes
    for label, change in changes + [("+ torch.compile", {"compile": True})] * compiled:
        steps.append(replace(steps[-1], label=label, **change))
    plain = replace(steps[0], label="plain loop with Pillow and NumPy", whole_loop=True)
    return [*steps, plain, replace(steps[-1], label="modnet_lib's loop", whole_loop=True)]


def run_step(network: Any, optimizer: torch.optim.Optimizer, batch: MattingBatch, way: Way) -> None:
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    image = batch.image.contiguous(memory_format=layout)
    with torch.autocast(DEVICE.type, way.dtype, enabled=way.dtype != torch.float32):
        output = network(image, auxiliary=True)
    paper_objective(output._make(part.float() for part in output), batch).total.backward()
    optimizer.step()
    optimizer.zero_grad()


def measure(way: Way, size: int, batch: int, repeats: int) -> dict[str, float]:
    """Images a second (median over steps), peak GiB over what stood before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    layout: Any = torch.channels_last if way.channels_last else torch.contiguous_format
    network: Any = MODNet(way.variant).train()
    network = network.to(DEVICE, memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)
    if way.whole_loop and way.variant == "paper":
        taken = our_loop(way, size, batch, repeats)
    else:
        torch.manual_seed(0)
        image, foreground, background = (torch.rand(batch, 3, size, size, device=DEVICE) for _ in range(3))
        alpha = torch.rand(batch, 1, size, size, device=DEVICE)  # the arithmetic is the same whatever is in it
        data = MattingBatch(image, alpha, (alpha * 2).round() / 2, foreground, background)
        network = torch.compile(network) if way.compile else network
        samples, rng = people(4, 512) if way.whole_loop else [], np.random.default_rng(0)

        def step() -> None:
            made = MattingBatch(*plain_batch(samples, size, batch, rng)) if samples else data
            run_step(network, optimizer, made, way)

        taken = medians({"": step}, repeats, 2)[""] / 1000
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    peak = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else most / 2**20
    return {"rate": batch / taken, "peak": peak}


def our_loop(way: Way, size: int, batch: int, repeats: int) -> float:
    """Seconds a step of `Trainer`, with its metrics, clipping and averaged weights."""
    config = TrainingConfig(
        stages=(Stage(size, batch, repeats + 2),), gradient_clip=5.0, mixed_precision="bf16",
        channels_last=True, compile=way.compile, ema=0.99, checkpoint_every=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        history = Trainer(MODNet(), our_data(people(4, 512)), config, Path(folder)).run(show_progress=False)
    return median(record["seconds"] for record in history[2:])


def main(size: int = 256, batch: int = 8, repeats: int = 6, compile: bool = False, output: str = "") -> None:
    """Print the tables, and write ``data/results/OUTPUT.json``."""
    lines = list[dict[str, Any]]()
    for way in ways(compile):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            lines.append({"label": way.label} | pool.submit(measure, way, size, batch, repeats).result())
    for some in (lines[:-2], lines[-2:]):
        rows = {line["label"]: {"images/s": line["rate"], "peak GiB": line["peak"]} for line in some}
        show(f"{size} x {size}, batch {batch}, {NAME}, torch {torch.__version__}", rows)
    if output:
        content = {"device": NAME, "torch": torch.__version__, "size": size, "batch": batch, "lines": lines}
        content["date"] = str(date.today())
        save(output, "benchmarks/training.py", content, precision="see lines")


if __name__ == "__main__":
    typer.run(main)
