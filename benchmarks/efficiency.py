"""Fig. 6: every method's parameters, FLOPs, memory and latency, side by side in one run.

.venv/bin/python benchmarks/efficiency.py [--size 512] [--batch 1] [--repeats 5] [--output efficiency.json]

Writes a file in ``data/results`` and prints the table; notebook 06 draws the figure from it.
"""

import json
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from modnet_lib import paths
from modnet_lib.evaluation.efficiency import METHODS, efficiency
from modnet_lib.provenance import recorded


def main(
    size: Annotated[int, typer.Option(help="Side of the input.")] = 512,
    batch: Annotated[int, typer.Option(help="Pictures at once.")] = 1,
    repeats: Annotated[int, typer.Option(help="Rounds over all methods.")] = 5,
    output: Annotated[str, typer.Option(help="Name of the file in data/results.")] = "efficiency.json",
) -> None:
    """Measure all methods."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    methods = efficiency(METHODS, size=size, batch=batch, repeats=repeats, device=device)
    what = f"{name}, batch {batch}, {size} x {size}, median of {repeats} rounds"
    result = recorded(what, device=device, precision="float32")
    text = json.dumps(result | {"methods": methods}, indent=1)
    (paths.RESULTS / output).write_text(text + "\n", encoding="utf-8")
    table = Table("", "parameters", "GFLOPs", "MiB", "ms", "ms / MODNet's", title=result["provenance"])
    base = methods["modnet"]["milliseconds"]
    for key, cost in sorted(methods.items(), key=lambda pair: pair[1]["milliseconds"]):
        ratio = f"{cost['milliseconds'] / base:.2f}"
        numbers = (f"{cost[column]:,.1f}" for column in ("gflops", "megabytes", "milliseconds"))
        table.add_row(key, f"{cost['parameters']:,}", *numbers, ratio)
        for part, one in cost["parts"].items():
            table.add_row(
                f"  {part}",
                f"{one['parameters']:,}",
                f"{one['gflops']:.1f}",
                "",
                f"{one['milliseconds']:.1f}",
                "",
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
