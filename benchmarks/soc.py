"""One SOC step: ours beside the released function's way.

.venv/bin/python benchmarks/soc.py [--size 512] [--batch 1] [--repeats 3] [--output soc_benchmark]

The released way, written anew from its description: the released network, both passes in full, the band by scipy's
grey morphology on the CPU, picture by picture, and the masks copied to the device.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
import typer
from _timing import DEVICE, NAME, medians, save, show
from scipy.ndimage import grey_dilation, grey_erosion
from torch import Tensor

from modnet_lib.network import MODNet
from modnet_lib.network.modnet import Variant
from modnet_lib.objectives.consistency import released_transition_region
from modnet_lib.objectives.supervised import released_semantic_target
from modnet_lib.regions import transition_region
from modnet_lib.training.adaptation import PRESETS, soc_terms, trainable


def scipy_band(semantic: Tensor, alpha: Tensor) -> Tensor:
    """The released code's band, as it computes it."""
    coarse = F.interpolate((semantic.detach() > 0.1).float(), scale_factor=16, mode="bilinear")
    person = ((alpha.detach() > 0.1).float() * coarse).cpu().numpy()
    bands, side = np.zeros(person.shape), int(sum(person.shape[2:]) / 2 * 0.05)
    for number, (picture,) in enumerate(person):
        dilated, eroded = (op(picture, size=(side, side)) for op in (grey_dilation, grey_erosion))
        bands[number, 0][dilated - eroded != 0] = 1
    return torch.tensor(bands).float().to(alpha.device)


def released_step(network: MODNet, backup: MODNet, optimizer: torch.optim.Optimizer, image: Tensor) -> None:
    """One update the released way."""
    optimizer.zero_grad()
    semantic, detail, alpha = network(image, auxiliary=True)
    with torch.no_grad():
        _, backup_detail, backup_alpha = backup(image, auxiliary=True)
    band = scipy_band(semantic, alpha)
    blurred = released_semantic_target(alpha)
    targets = [(t * (t > 0.01).float()).detach() for t in (blurred, semantic)]
    loss = 100 * (F.mse_loss(semantic, targets[0]) + F.mse_loss(blurred, targets[1]))
    for live, held in ((detail, backup_detail), (alpha, backup_alpha)):
        error = band * F.l1_loss(live, held, reduction="none")
        loss = loss + (error.sum(dim=(1, 2, 3)) / band.sum(dim=(1, 2, 3))).mean()
    loss.backward()
    optimizer.step()


def ours(variant: Variant, image: Tensor) -> Callable[[], object]:
    """A step with the network and the preset of that name."""
    network, config = MODNet(variant).to(DEVICE).eval(), PRESETS[variant]
    frozen = copy.deepcopy(network).requires_grad_(False)
    learning = trainable(network.requires_grad_(False), config.freeze_affine)
    for parameter in learning:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(learning, config.learning_rate, config.betas)

    def step() -> None:
        optimizer.zero_grad()
        soc_terms(network, frozen, image, config)["total"].backward()
        optimizer.step()

    return step


def main(size: int = 512, batch: int = 1, repeats: int = 3, threads: int = 1, output: str = "") -> None:
    """Print the medians, and write ``data/results/OUTPUT.json``."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    image = F.interpolate(torch.rand(batch, 3, 12, 12), (size, size), mode="bicubic").clamp(0, 1).to(DEVICE)
    network = MODNet("released").to(DEVICE).eval()
    backup = copy.deepcopy(network).requires_grad_(False)
    adam = torch.optim.Adam(network.parameters(), 1e-5, (0.9, 0.99))
    with torch.no_grad():
        semantic, _, alpha = network(image, auxiliary=True)
    steps: dict[str, Callable[[], object]] = {
        "step, the released way, released network": lambda: released_step(network, backup, adam, image),
        "step, ours, released network and preset": ours("released", image),
        "step, ours, paper network and preset": ours("paper", image),
    }
    bands: dict[str, Callable[[], object]] = {
        "band alone, scipy picture by picture": lambda: scipy_band(semantic, alpha),
        "band alone, ours, released form": lambda: released_transition_region(semantic, alpha),
        "band alone, ours, paper form": lambda: transition_region(alpha, maybe=0.1),
    }
    what, rows = f"{size} x {size}, batch {batch}, median of {repeats}, random weights; {NAME}; benchmarks/soc.py", {}
    for times in (medians(ways, repeats) for ways in (steps, bands)):
        first = next(iter(times.values()))
        rows |= {name: {"milliseconds": each, "ratio": first / each} for name, each in times.items()}
    show(what, rows)
    if output:
        save(output, what, {"rows": rows})


if __name__ == "__main__":
    typer.run(main)
