"""The methods that the paper compares MODNet with, each on the same backbone and behind the same call."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from modnet_lib.baselines.base import Baseline, BaselineOutput
from modnet_lib.baselines.bm import BM
from modnet_lib.baselines.bshm import BSHM
from modnet_lib.baselines.crgnn import CRGNN
from modnet_lib.baselines.dim import DIM
from modnet_lib.baselines.fdmpa import FDMPA
from modnet_lib.baselines.hatt import HAtt
from modnet_lib.baselines.indexnet import IndexNet
from modnet_lib.baselines.lfm import LFM
from modnet_lib.baselines.shm import SHM
from modnet_lib.network import Backbone, MODNet, create_backbone
from modnet_lib.network.checkpoints import read_network

BASELINES: dict[str, Callable[[Backbone], Baseline]] = {
    "dim": DIM,
    "dim_trimap": partial(DIM, with_trimap=True),
    **{method.__name__.lower(): method for method in (IndexNet, FDMPA, LFM, SHM, HAtt, BSHM, BM, CRGNN)},
}


def create_baseline(name: str, backbone: str | Backbone = "mobilenet_v2") -> Baseline:
    """Build one of `BASELINES` on a backbone or the name of one; nothing is downloaded.

    A ValueError if either name is unknown, or the method does not work on the backbone.
    """
    if name not in BASELINES:
        raise ValueError(f"baseline must be one of {', '.join(BASELINES)}, got {name!r}")
    network = BASELINES[name](create_backbone(backbone) if isinstance(backbone, str) else backbone)
    network.config |= {"baseline": name, "trimap_input": "trimap" in network.required}
    return network


def load_network(path: str | Path) -> MODNet | Baseline:
    """Read a MODNet or a baseline from a checkpoint, in evaluation mode; see `load_checkpoint`."""

    def build(baseline: str | None = None, **config: Any) -> MODNet | Baseline:
        return create_baseline(baseline, config["backbone"]) if baseline else MODNet(**config)

    return read_network(path, build)


def needs(network: Any) -> tuple[str, ...]:
    """What a network needs beside the picture: keys of `modnet_lib.baselines.base.INPUTS`."""
    if isinstance(network, Baseline):
        return network.required
    return ("trimap",) if network.config["trimap_input"] else ()


__all__ = ["BASELINES", "Baseline", "BaselineOutput", "create_baseline", "load_network", "needs"]
