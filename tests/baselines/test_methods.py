"""What is particular to each method: fusion rules, attention, comparison with a background, frames."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modnet_lib.baselines import create_baseline, lfm, shm
from modnet_lib.baselines.bshm import coarsen
from modnet_lib.baselines.crgnn import Align, FrameGraph, neighbours
from modnet_lib.baselines.hatt import ChannelAttention, SpatialAttention
from modnet_lib.regions import dilate

TINY = "mobilenetv3_small_050"


def batch_of(alpha: torch.Tensor, trimap: torch.Tensor | None = None) -> SimpleNamespace:
    foreground, background = (torch.rand(len(alpha), 3, *alpha.shape[2:]), torch.rand(len(alpha), 3, *alpha.shape[2:]))
    return SimpleNamespace(
        image=alpha * foreground + (1 - alpha) * background,
        true_alpha=alpha,
        trimap=torch.full_like(alpha, 0.5) if trimap is None else trimap,
        foreground=foreground,
        background=background,
    )


def test_dim_without_a_trimap_is_supervised_everywhere_and_with_one_in_its_band() -> None:
    alpha, trimap = torch.rand(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    trimap[..., :32] = 0.5
    batch = batch_of(alpha, trimap)
    wrong = alpha.clone()
    wrong[..., 32:] = 1 - wrong[..., 32:]
    for name, expected in (("dim", True), ("dim_trimap", False)):
        network = create_baseline(name, TINY)
        output = network(batch.image, **network.training_inputs(batch))._replace(alpha=wrong)
        losses = network.losses(output, batch)
        assert (losses["alpha"].item() > 1e-3) == expected
        assert (losses["composition"].item() > 1e-3) == expected


def test_fdmpa_is_locally_linear_in_its_segmentation() -> None:
    network = create_baseline("fdmpa", TINY).eval()
    a, b, c = 3.0, -2.0, 0.5
    nn.init.zeros_(network.feather[1].weight)
    network.feather[1].bias.data = torch.tensor([a, b, c])
    with torch.no_grad():
        alpha, parts = network(torch.rand(1, 3, 64, 64))
    person, rest = parts["logits"].softmax(dim=1).split(1, dim=1)
    torch.testing.assert_close(alpha, torch.sigmoid(a * person + b * rest + c))


def test_lfm_needs_its_weight_only_where_the_segmentations_disagree() -> None:
    truth, weight = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(lfm.fuse(truth, 1 - truth, weight), truth)
    foreground, background = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    ones = torch.ones_like(weight)
    torch.testing.assert_close(lfm.fuse(foreground, background, ones), foreground)
    torch.testing.assert_close(lfm.fuse(foreground, background, 0 * ones), 1 - background)


def test_shm_takes_from_m_net_only_what_t_net_is_unsure_of() -> None:
    classes, raw = torch.eye(3).reshape(1, 3, 1, 3), torch.full((1, 1, 1, 3), 0.3)
    assert shm.fuse(classes, raw).flatten().tolist() == pytest.approx([0, 0.3, 1])
    network = create_baseline("shm", TINY).eval()
    trimap = torch.randint(0, 3, (1, 1, 64, 64)) / 2
    with torch.no_grad():
        alpha = network(torch.rand(1, 3, 64, 64), trimap=trimap).alpha
    assert torch.equal(alpha[trimap != 0.5], trimap[trimap != 0.5])


def test_bshm_s_coarse_masks_cover_the_fine_ones() -> None:
    alpha = torch.rand(2, 1, 20, 20)
    assert torch.equal(coarsen(alpha), dilate((alpha > 0.5).float(), 5))


def test_bshm_s_quality_network_is_asked_to_leave_good_masks_alone() -> None:
    network = create_baseline("bshm", TINY).train()
    network.begin(0.6)
    batch = batch_of((torch.rand(1, 1, 64, 64) > 0.5).float())
    network.unify = lambda small, mask: mask  # type: ignore[method-assign]
    losses = network.losses(network(batch.image), batch)
    assert losses["identity"] == 0
    truth = F.avg_pool2d(batch.true_alpha, 2)
    expected = F.l1_loss(coarsen(truth), truth)
    assert losses["consistency"].item() > expected.item() * 0.999


def test_attention_scales_channels_alike_everywhere_and_places_alike_in_all_channels() -> None:
    x = torch.rand(1, 6, 5, 7) + 0.1
    ratio = ChannelAttention(6)(x) / x
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))
    assert ((ratio > 0) & (ratio < 1)).all()
    places = SpatialAttention(6).eval()(x)
    assert places.shape == (1, 1, 5, 7)
    assert ((places > 0) & (places < 1)).all()


def test_bm_s_foreground_is_the_picture_where_it_is_all_person() -> None:
    network = create_baseline("bm", TINY).eval()
    nn.init.constant_(network.matte[-1].bias, 20)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(image, background=image).parts["foreground"], image)


def test_bm_is_trained_with_backgrounds_that_are_nearly_right() -> None:
    batch = batch_of(torch.rand(2, 1, 64, 64))
    shot = create_baseline("bm", TINY).training_inputs(batch)["background"]
    difference = (shot - batch.background).abs().mean().item()
    assert 0.005 < difference < 0.08
    assert 0 <= shot.min() <= shot.max() <= 1


def test_alignment_begins_as_an_ordinary_convolution_and_can_undo_a_shift() -> None:
    align, neighbour = Align(4), torch.rand(1, 4, 10, 10)
    with torch.no_grad():
        plain = F.conv2d(neighbour, align.weight.weight, align.weight.bias, padding=1)
        torch.testing.assert_close(align(neighbour, neighbour), plain)
        align.offset.bias.copy_(torch.tensor([0.0, 1.0] * 9))  # look one pixel to the right, (y, x) each
        moved = align(neighbour.roll(1, 3), neighbour)
    torch.testing.assert_close(moved[..., 1:-1, 2:-2], plain[..., 1:-1, 2:-2])


def test_alignment_runs_in_mixed_precision() -> None:
    align, neighbour, middle = (Align(4), torch.rand(1, 4, 10, 10).bfloat16(), torch.rand(1, 4, 10, 10).bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        moved = align(neighbour, middle)
    assert moved.dtype == torch.bfloat16
    torch.testing.assert_close(moved.float(), align(neighbour.float(), middle.float()), rtol=0, atol=0.02)


def test_messages_do_not_depend_on_the_order_of_the_other_frames() -> None:
    graph, nodes = FrameGraph(4), [torch.rand(1, 4, 6, 6) for _ in range(3)]
    first, second = graph(nodes)[0], graph([nodes[0], nodes[2], nodes[1]])[0]
    torch.testing.assert_close(first, second)
    nn.init.constant_(graph.gates.bias[:4], -50)  # the update gate stays shut
    nn.init.zeros_(graph.gates.weight)
    torch.testing.assert_close(graph(nodes)[0], nodes[0])


def test_neighbours_are_the_still_moved_there_and_back() -> None:
    image, trimap = torch.rand(2, 3, 64, 64), torch.randint(0, 3, (2, 1, 64, 64)) / 2
    clip = neighbours(image, trimap)
    assert clip.shape == (2, 2, 4, 64, 64)
    dy, dx = next(
        (dy, dx)
        for dy in range(-6, 7)
        for dx in range(-6, 7)
        if torch.equal(clip[:, 0, :3], image.roll((-dy, -dx), (2, 3)))
    )
    assert torch.equal(clip[:, 1], torch.cat((image, trimap), 1).roll((dy, dx), (2, 3)))
