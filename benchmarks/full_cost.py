"""What the profile `full` costs on one GPU: an estimate from operations, bytes and processor times, not a measurement.

.venv/bin/python benchmarks/full_cost.py [--peak 989] [--bandwidth 3.35] [--share 0.3]

A step costs three forward passes. It takes as long as the slowest of: its operations at a share of the GPU's peak
(TFLOP/s in bf16; 989 and 3.35 TB/s are an H100's), its activations in bf16 at that share of the bandwidth, the start of
its kernels (four a layer, 10 us each), and its samples from the workers, measured here. Evaluation is left out.
"""

import time
from functools import cache

import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from modnet_lib.baselines import create_baseline
from modnet_lib.data.sets import training_data
from modnet_lib.evaluation.efficiency import random_inputs
from modnet_lib.network import MODNet
from modnet_lib.profiles import DataConfig, Profile
from modnet_lib.training.grid import Grid, recipe
from modnet_lib.training.run import pretraining, supervised, with_trimap


@cache
def forward(baseline: str | None, trimap: bool, context: str, size: int) -> tuple[float, list[int]]:
    """FLOPs of a forward pass, and how many values each of its layers writes."""
    with torch.device("meta"):  # shapes without numbers
        network = create_baseline(baseline) if baseline else MODNet(trimap_input=trimap, context=context)  # type: ignore
    written: list[int] = []
    for module in (one for one in network.modules() if not list(one.children())):
        module.register_forward_hook(lambda _module, _inputs, output: written.append(output.numel()))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(**random_inputs(network, size))
    return counter.get_total_flops(), written


@cache
def sample_seconds(size: int) -> float:
    """Of one core, for a sample of pictures that are in memory."""
    dataset = training_data(DataConfig(framing="person", memory=1), seed=0)
    _ = [dataset.foreground(n) for n in range(24)], [dataset.background(n) for n in range(24)]
    start = time.thread_time()
    _ = [dataset[number, size] for number in range(40)]
    return (time.thread_time() - start) / 40


def main(peak: float = 989, bandwidth: float = 3.35, share: float = 0.3) -> None:
    """Print the table, in Markdown."""
    full = Profile.load("full")
    runs = {"03: training, twice": [supervised(full)] * 2, "03: pre-training": [pretraining(full)]}
    for title, name in (("04: ablation", "ablation"), ("06: comparison", "comparison")):
        grid, seeds = Grid.load(name), range(full.seeds)
        rows = [recipe(grid, full, row, seed) for row in grid.rows for seed in seeds]
        runs[f"{title}, {len(rows)} runs"] = [*rows, *(pretraining(full) for _ in seeds)]
    runs |= {"`--recipe trimap`": [with_trimap(full)], "`train paper`": [supervised(Profile.load("paper"))]}
    print(
        "| run | samples | PFLOP | operations, s | bytes, s | starts, s | data, s | minutes |",
        "|---" * 8 + "|",
        sep="\n",
    )
    for title, recipes in runs.items():
        samples, petaflops, seconds, slowest = 0, 0.0, [0.0] * 4, 0.0
        for run, (size, batch, steps) in ((each, stage) for each in recipes for stage in each.training.sizes):
            flops, written = forward(run.baseline, run.trimap_input, run.context, size)
            cost = [3 * batch * flops / peak / share / 1e12, 12 * batch * sum(written) / bandwidth / share / 1e12]
            cost += [4 * len(written) * 1e-5, batch * sample_seconds(size) / (run.training.workers or 8)]
            samples, petaflops = samples + steps * batch, petaflops + 3e-15 * steps * batch * flops
            seconds, slowest = [a + steps * b for a, b in zip(seconds, cost, strict=True)], slowest + steps * max(cost)
        parts = " | ".join(f"{part:,.0f}" for part in seconds)
        print(f"| {title} | {samples:,} | {petaflops:,.1f} | {parts} | {slowest / 60:.1f} |")


if __name__ == "__main__":
    typer.run(main)
