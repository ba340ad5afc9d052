"""The folded network answers as the network does, and does less."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modnet_lib.inference.deploy import AlphaOnly, EnlargingConvolution, FusedBlock, deploy
from modnet_lib.network import MODNet, Segmenter, create_backbone
from modnet_lib.network.cost import count_flops
from modnet_lib.network.layers import ConvBlock, IBConvBlock, IBNorm, upsample


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 4)])
def test_convolution_before_enlargement_is_the_same_also_at_the_borders(kernel, size) -> None:
    convolution = nn.Conv2d(7, 3, kernel, padding=kernel // 2).double()
    x = torch.randn(2, 7, *size, dtype=torch.float64)
    with torch.no_grad():
        result = EnlargingConvolution(convolution).double()(x)
        torch.testing.assert_close(result, convolution(upsample(x, 2)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [ConvBlock, IBConvBlock])
@pytest.mark.parametrize("channels", [(11,), (8, 3), (3, 16), (8, 8, 4)])
def test_fused_blocks_equal_the_blocks(kind, channels, randomise) -> None:
    block = randomise(kind(sum(channels), 6, 3, stride=2)).double().eval()
    parts = [torch.randn(2, c, 9, 8, dtype=torch.float64) * 3 + 1 for c in channels]
    fused = FusedBlock(block).double()
    with torch.no_grad():
        # the statistics are float32 on purpose
        torch.testing.assert_close(fused(*parts), block(*parts), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, (nn.BatchNorm2d, IBNorm)) for m in fused.modules())


def test_in_half_precision_one_picture_and_several_are_rounded_alike(randomise) -> None:
    block = randomise(IBConvBlock(8, 16)).eval()
    x = torch.randn(3, 8, 20, 20) * 3 + 1
    fused = FusedBlock(block).bfloat16()
    with torch.no_grad():
        exact, together = block(x), fused(x.bfloat16()).float()
        alone = torch.cat([fused(one[None].bfloat16()).float() for one in x])
    for rounded in (alone, together):
        assert (rounded - exact).abs().mean() < 2**-8 * exact.abs().mean()
        torch.testing.assert_close(rounded, exact, rtol=2**-6, atol=2**-5)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_folded_network_gives_all_three_answers(variant, paper_network, released_network) -> None:
    network = paper_network if variant == "paper" else released_network
    before = {k: v.clone() for k, v in network.state_dict().items()}
    folded = deploy(network)
    assert not any(isinstance(m, (nn.BatchNorm2d, IBNorm)) for m in folded.modules())
    assert not any(p.requires_grad for p in folded.parameters())
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected, result = network(image, auxiliary=True), folded(image, auxiliary=True)
        for mine, theirs in zip(result, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)
        assert torch.equal(AlphaOnly(folded)(image), folded(image, auxiliary=False).alpha)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert folded(image, auxiliary=False).detail is None


def test_the_released_network_gets_a_seventh_lighter(released_network) -> None:
    image = torch.rand(1, 3, 64, 64)
    ratio = count_flops(AlphaOnly(deploy(released_network)), image) / count_flops(AlphaOnly(released_network), image)
    assert 0.82 < ratio < 0.87


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
