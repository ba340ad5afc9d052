"""Both variants side by side in one run: parameters, GFLOPs, forward time. Training is timed by training.py.

.venv/bin/python benchmarks/network.py [--size 512]
"""

from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.utils.benchmark import Timer

from modnet_lib.network import MODNet
from modnet_lib.network.cost import count_flops, count_parameters


def milliseconds(network: MODNet, image: torch.Tensor) -> float:
    """The median of at least 5 seconds of forward passes."""
    names = {"network": network, "image": image}
    timer = Timer("network(image)", globals=names, num_threads=torch.get_num_threads())
    return 1000 * timer.blocked_autorange(min_run_time=5).median


def main(
    size: Annotated[int, typer.Option(help="Side of the picture for the forward pass.")] = 512,
) -> None:
    """Print the table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    table = Table("", "released", "paper", "ratio", title=f"{name}, torch {torch.__version__}")
    networks = {variant: MODNet(variant).to(device).eval() for variant in ("released", "paper")}
    image = torch.rand(1, 3, size, size, device=device)

    def row(label: str, values: list[float], digits: int = 2) -> None:
        table.add_row(label, *(f"{value:,.{digits}f}" for value in values), f"{values[1] / values[0]:.2f}")

    row("parameters", [count_parameters(n) for n in networks.values()], 0)
    row(f"GFLOPs at {size}", [count_flops(n, image) / 1e9 for n in networks.values()])
    with torch.inference_mode():
        row(f"forward at {size}, ms", [milliseconds(n, image) for n in networks.values()], 1)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
