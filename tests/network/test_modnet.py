"""The three branches of MODNet: shapes, the paper's numbers, heads, trimaps, errors, backbones."""

from __future__ import annotations

import copy
import socket
import urllib.request

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modnet_lib.network import MODNet, create_backbone
from modnet_lib.network.backbones import widen_first_convolution
from modnet_lib.network.layers import IBNorm

IMAGE = (2, 3, 64, 96)


def test_outputs_have_the_shapes_and_ranges_of_the_paper(paper_network, released_network) -> None:
    image = torch.rand(IMAGE)
    for network in (paper_network, released_network):
        with torch.no_grad():
            output = network(image, auxiliary=True)
        assert output.semantic.shape == (2, 1, 4, 6)  # 1/16
        assert output.detail.shape == output.alpha.shape == (2, 1, 64, 96)
        for part in output:
            assert part.dtype == torch.float32
            assert 0 <= part.min() < part.max() <= 1


def test_heads_are_computed_in_training_or_on_request(released_network, paper_network) -> None:
    image = torch.rand(IMAGE)
    for network in (paper_network, released_network):
        with torch.no_grad():
            bare, whole = network(image), network(image, auxiliary=True)
        assert bare.semantic is None
        assert bare.detail is None
        torch.testing.assert_close(bare.alpha, whole.alpha, rtol=0, atol=0)
    training = MODNet().train()
    assert None not in training(image)
    assert training(image, auxiliary=False)[:2] == (None, None)


def test_detail_branch_has_twelve_convolutions_and_at_most_64_channels(paper_network) -> None:
    branch = paper_network.detail_branch
    convolutions = [m for n, m in branch.named_modules() if isinstance(m, nn.Conv2d) and not n.startswith("head")]
    assert len(convolutions) == 12
    assert max(m.out_channels for m in convolutions) == 64
    assert convolutions[0].stride == (4, 4)
    sizes = []
    handles = [m.register_forward_hook(lambda _m, _i, y: sizes.append(tuple(y.shape[2:]))) for m in convolutions]
    with torch.no_grad():
        paper_network(torch.rand(1, 3, 64, 96))
    for handle in handles:
        handle.remove()
    # no convolution works above 1/4 except the last two, which restore 1/2 and 1/1
    assert sizes[0] == (16, 24)
    assert all(height <= 16 and width <= 24 for height, width in sizes[:-2])
    assert sizes[-2:] == [(32, 48), (64, 96)]


@torch.no_grad()
def test_skip_link_brings_the_image_to_the_last_layer_of_d(paper_network) -> None:
    image, seen = torch.rand(1, 3, 64, 64), []
    handle = paper_network.detail_branch.restore1[0].register_forward_pre_hook(lambda _m, x: seen.append(x[0]))
    paper_network(image)
    handle.remove()
    torch.testing.assert_close(seen[0][:, -3:], (image - 0.5) / 0.5)
    weights = paper_network.detail_branch.restore1[0].weight
    assert weights[:, -3:].abs().min() > 0


@torch.no_grad()
def test_cheap_orders_of_convolution_and_enlargement_equal_the_papers(paper_network) -> None:
    image = torch.rand(1, 3, 64, 96)
    output = paper_network(image, auxiliary=True)
    semantic, detail_branch, fusion = (
        paper_network.semantic_branch,
        paper_network.detail_branch,
        paper_network.fusion_branch,
    )
    x = image * 2 - 1
    top, low, _ = semantic(x, False)
    enlarged = F.interpolate(top, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(output.semantic, torch.sigmoid(semantic.head(enlarged)), rtol=1e-5, atol=1e-5)
    detail, _ = detail_branch(x, low, top, False)
    full = F.interpolate(top, size=(64, 96), mode="bilinear", align_corners=False)  # 1280 channels
    both = torch.cat((detail, fusion.project(full)), dim=1)
    torch.testing.assert_close(output.alpha, torch.sigmoid(fusion.head(fusion.fuse(both))), rtol=1e-5, atol=1e-5)


def test_norms_of_the_variants(paper_network, released_network) -> None:
    def kinds(network: nn.Module) -> set[type]:
        return {type(m) for m in network.modules() if type(m).__name__.endswith(("Norm", "Norm2d"))}

    assert kinds(paper_network) == {nn.BatchNorm2d}
    assert kinds(released_network) == {nn.BatchNorm2d, nn.InstanceNorm2d, IBNorm}
    outside = [m for n, m in released_network.named_modules() if isinstance(m, IBNorm) and "backbone" in n]
    assert not outside


def test_released_network_has_6_487_075_parameters(released_network) -> None:
    assert sum(p.numel() for p in released_network.parameters()) == 6_487_075
    backbone = sum(p.numel() for p in released_network.semantic_branch.backbone.parameters())
    assert backbone == 2_223_872
    assert sum(p.numel() for p in released_network.detail_branch.parameters()) == 245_409
    assert sum(p.numel() for p in released_network.fusion_branch.parameters()) == 49_249


def test_context_can_be_exchanged_for_the_ablation() -> None:
    with torch.device("meta"):
        sizes = {
            name: sum(m.weight.numel() for m in MODNet(context=name).modules() if isinstance(m, nn.Conv2d))
            for name in ("none", "easpp", "aspp")
        }
    assert sizes["easpp"] - sizes["none"] == 835_200
    assert sizes["aspp"] - sizes["none"] == 81_920_000


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 64, 80), "multiples of 32"),
        ((1, 3, 33, 64), "multiples of 32"),
        ((1, 3, 0, 64), "multiples of 32"),
        ((0, 3, 64, 64), "multiples of 32"),
        ((1, 4, 64, 64), r"\(N, 3, H, W\)"),
        ((1, 1, 64, 64), r"\(N, 3, H, W\)"),
        ((3, 64, 64), r"\(N, 3, H, W\)"),
    ],
)
def test_images_of_another_shape_are_refused(paper_network, shape, message) -> None:
    with pytest.raises(ValueError, match=message):
        paper_network(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "other"}, "variant"),
        ({"context": "psp"}, "context"),
        ({"variant": "released", "context": "aspp"}, "context applies to the paper variant only, got 'aspp'"),
        ({"variant": "released", "context": "none"}, "context applies to the paper variant only, got 'none'"),
        ({"variant": "released", "context": "psp"}, "context"),
        ({"backbone": "no_such_network"}, "no_such_network"),
        ({"backbone": "vit_tiny_patch16_224"}, r"1/\["),
        ({"backbone": "convnext_atto"}, r"1/\["),
        ({"backbone": "hf-hub:timm/resnet18.a1_in1k"}, "download"),
        ({"backbone": "hf_hub:timm/resnet18.a1_in1k"}, "download"),
        ({"backbone": "local-dir:/tmp"}, "hub|download"),
    ],
)
def test_unknown_and_ignored_options_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        MODNet(**arguments)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a_trimap_counts_where_it_is_asked_for(variant, randomise) -> None:
    network = randomise(MODNet(variant, trimap_input=True)).eval()
    image, trimap = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    with torch.no_grad():
        first, second = network(image, trimap=trimap), network(image, trimap=trimap + 1)
    assert (first.alpha - second.alpha).abs().max() > 1e-4
    with pytest.raises(ValueError, match="trimap is missing"):
        network(image)


def test_an_unexpected_trimap_is_refused(paper_network) -> None:
    with pytest.raises(ValueError, match="trimap_input"):
        paper_network(torch.zeros(1, 3, 64, 64), trimap=torch.zeros(1, 1, 64, 64))


@torch.no_grad()
def test_a_given_backbone_computes_the_same_until_it_learns_to_use_the_trimap(randomise) -> None:
    plain = randomise(create_backbone()).eval()
    network = MODNet(backbone=copy.deepcopy(plain), trimap_input=True).eval()
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    for trimap in (torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)):
        features = network.semantic_branch.backbone(torch.cat((image, trimap), 1))
        for ours, expected in zip(features, plain(image), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_widening_keeps_the_kind_of_convolution() -> None:
    plain = create_backbone("tf_mobilenetv3_small_minimal_100").eval()
    wide = copy.deepcopy(plain)
    widen_first_convolution(wide, 4)
    image = torch.rand(1, 3, 64, 64)
    for ours, expected in zip(wide(torch.cat((image, image[:, :1]), 1)), plain(image), strict=True):
        torch.testing.assert_close(ours, expected)


def test_a_given_backbone_keeps_its_weights(randomise) -> None:
    backbone = randomise(create_backbone())
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    network = MODNet(backbone=backbone)
    after = network.semantic_branch.backbone.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_constructing_never_touches_the_network(monkeypatch) -> None:
    def refuse(*_args, **_kwargs):
        raise AssertionError("a model tried to download")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for name in ("load_state_dict_from_url", "download_url_to_file", "load"):
        monkeypatch.setattr(torch.hub, name, refuse)
    MODNet()
    MODNet("released")
    MODNet(backbone="resnet18", trimap_input=True)


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv3_small_050", "mobilenet_v2"])
def test_backbones_learn(variant, backbone) -> None:
    network = MODNet(variant, backbone).train()
    output = network(torch.rand(2, 3, 64, 64))
    assert output.semantic.shape == (2, 1, 4, 4)
    assert output.alpha.shape == (2, 1, 64, 64)
    sum((part * torch.randn_like(part)).sum() for part in output).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "mobilenet_v2"])
def test_pyramids_have_the_announced_channels_at_five_scales(name) -> None:
    backbone = create_backbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (channels, 64 // scale, 96 // scale)
        for channels, scale in zip(backbone.channels, (2, 4, 8, 16, 32), strict=True)
    ]
