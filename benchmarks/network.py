"""Both variants side by side: parameters, GFLOPs, forward time.

.venv/bin/python benchmarks/network.py [--size 512]
"""

import torch
import typer
from _timing import DEVICE, NAME, medians, show

from modnet_lib.network import MODNet
from modnet_lib.network.cost import count_flops, count_parameters


@torch.inference_mode()
def main(size: int = 512, repeats: int = 10) -> None:
    """Print the table."""
    networks = {"released": MODNet("released").to(DEVICE).eval(), "paper": MODNet().to(DEVICE).eval()}
    image = torch.rand(1, 3, size, size, device=DEVICE)
    times = medians({name: lambda n=network: n(image) for name, network in networks.items()}, repeats)
    rows = {
        name: {
            "parameters": count_parameters(network),
            "GFLOPs": count_flops(network, image) / 1e9,
            "forward, ms": times[name],
        }
        for name, network in networks.items()
    }
    show(f"{size} x {size}, {NAME}, torch {torch.__version__}", rows)


if __name__ == "__main__":
    typer.run(main)
