"""The command that measures: ``evaluate``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Option

from modnet_lib import paths
from modnet_lib.cli.common import BatchSize, Count, Device, choice, console


def evaluate(
    model: Annotated[Path, Option(help="Checkpoint, or folder of mattes.", show_default="shipped")] = paths.PRETRAINED,
    benchmark: Annotated[str, Option(help="One of these; samples are 24 drawn pictures that ship.")] = "samples",
    protocol: Annotated[str, Option(help="paper; squash: 512 x 512; unknown: the trimap's band.")] = "paper",
    short_side: Annotated[int | None, Option(help="Instead of the protocol's 512.")] = None,
    count: Count = None,
    output: Annotated[Path | None, Option(help="CSV, one row per picture; also resumes a run.")] = None,
    workers: Annotated[int, Option(help="Threads that compute metrics beside the model.")] = 0,
    batch_size: BatchSize = 1,
    device: Device = None,
) -> None:
    """Measure a checkpoint, or another tool's mattes named like the pictures, on a benchmark.

    Benchmarks: ppm100, amd, d646, p3m500p, p3m500np, crgnn_r, ccp, spm100, spm_shift, samples; a data set with mattes,
    NAME or NAME:SPLIT; or a folder with photographs in image/ and mattes in alpha/.
    """
    from modnet_lib.data.readers import benchmark as read_benchmark
    from modnet_lib.evaluation.methods import open_model
    from modnet_lib.evaluation.protocol import PROTOCOLS, run_benchmark
    from modnet_lib.evaluation.records import mean_errors

    chosen = PROTOCOLS[choice("protocol", protocol, PROTOCOLS)]
    chosen = replace(chosen, side=short_side or chosen.side)
    readers, how = read_benchmark(benchmark, count=count), {"workers": workers, "batch_size": batch_size}
    records = run_benchmark(open_model(model, device), readers, protocol=chosen, output=output, **how)
    means = Table("metric", "mean", title=f"{benchmark}, {len(records)} pictures, protocol {protocol}")
    for name, value in mean_errors(records).items():
        means.add_row(name.upper(), f"{value:.4f}")
    seconds = sum(record.seconds for record in records)
    console.print(means, f"{1000 * seconds / len(records):.0f} ms per picture for the model")
