"""Every network, in training and in use, computes where its weights and inputs are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from second_device import FAKE, batch, build, check, fake, second_device

from modnet_lib.baselines import BASELINES, create_baseline
from modnet_lib.evaluation.efficiency import random_inputs
from modnet_lib.inference.deploy import AlphaOnly, deploy
from modnet_lib.network import ASPP, EfficientASPP, MODNet, Segmenter, create_backbone
from modnet_lib.network.released import SqueezeExcite

TINY = "mobilenetv3_small_050"
NETWORKS = {
    "paper": MODNet,
    "released": lambda: MODNet("released"),
    "trimap": lambda: MODNet(backbone=TINY, trimap_input=True),
    "aspp": lambda: MODNet(backbone=TINY, context="aspp"),
    "segmenter": lambda: Segmenter(create_backbone(TINY)),
}


def inputs(network: Any, count: int = 2) -> dict[str, torch.Tensor]:
    with FAKE:
        return random_inputs(network, 64, count)


@pytest.mark.parametrize("name", NETWORKS)
def test_modnet_and_segmenter(name) -> None:
    network = build(NETWORKS[name])
    for mode in (True, False):
        given = inputs(network)
        with second_device():
            check(network.train(mode)(**given))
            check(network(**given, auxiliary=True))


@pytest.mark.parametrize("name", BASELINES)
def test_baselines(name) -> None:
    network = build(lambda: create_baseline(name, "mobilenet_v2" if name in ("indexnet", "crgnn") else TINY))
    given = inputs(network)
    with second_device():
        check(network.eval()(**given))
    for progress in torch.tensor([0.0, *(stage.share for stage in network.stages[:-1])]).cumsum(0).tolist():
        network.train().begin(progress)
        moved = inputs(network)
        # kornia's kernels and the ratio of LFM are made on the CPU. So is the motion of CRGNN, see test_steps.py
        with second_device(uploads=True):
            beside = moved if name == "crgnn" else network.training_inputs(batch())
            check(network.losses(network(**beside | {"image": batch().image}), batch()))


@pytest.mark.filterwarnings("ignore:Accessing the data pointer")  # by deep copies
@pytest.mark.parametrize("name", ["released", "trimap", "segmenter"])
def test_deployed_forms(name) -> None:
    network = build(NETWORKS[name]).eval()
    given = inputs(network)
    with second_device():
        deployed = deploy(network)
        check(deployed(**given, auxiliary=True))
        if name != "trimap":
            check(AlphaOnly(deployed)(**given))


@pytest.mark.parametrize("layer", [ASPP, EfficientASPP, SqueezeExcite])
def test_layers(layer) -> None:
    network = build(lambda: layer(64))
    with second_device():
        check(network(fake(2, 64, 8, 8)))
