"""Both variants side by side in one run: parameters, GFLOPs, forward time, training throughput.

.venv/bin/python benchmarks/network.py [--size 512] [--batch 8] [--train-size 256]
"""

import statistics
import time
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from modnet_lib.network import MODNet
from modnet_lib.network.cost import count_flops, count_parameters, measure_latency


def training_throughput(
    network: MODNet, size: int, batch: int, dtype: torch.dtype, channels_last: bool
) -> float:
    """Images a second of forward, backward and an SGD step; the median of five steps."""
    device = next(network.parameters()).device
    order = torch.channels_last if channels_last else torch.contiguous_format
    network = network.train().to(memory_format=order)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    image = torch.rand(batch, 3, size, size, device=device).contiguous(memory_format=order)
    times = []
    for number in range(7):
        start = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            output = network(image)
        sum(part.float().mean() for part in output if part is not None).backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number > 1:
            times.append(time.perf_counter() - start)
    return batch / statistics.median(times)


def main(
    size: Annotated[int, typer.Option(help="Side of the picture for the forward pass.")] = 512,
    batch: Annotated[int, typer.Option(help="Images a training step.")] = 8,
    train_size: Annotated[int, typer.Option(help="Side of the training images.")] = 256,
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
    row(f"forward at {size}, ms", [measure_latency(n, image).median for n in networks.values()], 1)
    for dtype in (torch.float32, torch.bfloat16):
        for channels_last in (False, True):
            label = (
                f"training at {train_size}, {str(dtype)[6:]}, {'NHWC' if channels_last else 'NCHW'}, images/s"
            )
            row(
                label,
                [training_throughput(n, train_size, batch, dtype, channels_last) for n in networks.values()],
            )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
