"""The folded network answers as the network does, and does less."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modnet_lib.inference.deploy import AlphaOnly, FusedBlock, deploy
from modnet_lib.network import MODNet, Segmenter, create_backbone
from modnet_lib.network.layers import ConvBlock, IBNorm


@pytest.mark.parametrize("channels", [(11,), (8, 3), (3, 16), (8, 8, 4)])
def test_fused_blocks_equal_the_blocks(channels, randomise) -> None:
    block = randomise(ConvBlock(sum(channels), 6, 3, stride=2)).double().eval()
    parts = [torch.randn(2, c, 9, 8, dtype=torch.float64) * 3 + 1 for c in channels]
    fused = FusedBlock(block).double()
    with torch.no_grad():
        torch.testing.assert_close(fused(*parts), block(*parts), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_folded_network_gives_all_three_answers(variant, paper_network, released_network) -> None:
    network = paper_network if variant == "paper" else released_network
    before = {k: v.clone() for k, v in network.state_dict().items()}
    folded = deploy(network)
    norms = {type(m) for m in folded.modules() if isinstance(m, (nn.BatchNorm2d, IBNorm))}
    assert norms <= ({IBNorm, nn.BatchNorm2d} if variant == "released" else set())
    assert not any(p.requires_grad for p in folded.parameters())
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected, result = network(image, auxiliary=True), folded(image, auxiliary=True)
        for mine, theirs in zip(result, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)
        assert torch.equal(AlphaOnly(folded)(image), folded(image, auxiliary=False).alpha)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert folded(image, auxiliary=False).detail is None


def test_timm_backbones_trimaps_and_segmenters_fold_too(tiny_network, randomise) -> None:
    image, trimap = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64) / 2
    with torch.no_grad():
        network = randomise(tiny_network).eval()
        torch.testing.assert_close(deploy(network)(image).alpha, network(image).alpha, rtol=0, atol=1e-4)
        given = randomise(MODNet(backbone="mobilenetv3_small_050", trimap_input=True)).eval()
        result = deploy(given)(image, trimap=trimap).alpha
        torch.testing.assert_close(result, given(image, trimap=trimap).alpha, rtol=0, atol=1e-4)
        segmenter = randomise(Segmenter(create_backbone())).eval()
        torch.testing.assert_close(deploy(segmenter)(image).alpha, segmenter(image).alpha, rtol=0, atol=1e-4)
