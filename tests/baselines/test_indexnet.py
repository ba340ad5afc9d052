"""Index blocks against slow loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modnet_lib.baselines import create_baseline
from modnet_lib.baselines.indexnet import IndexBlock, index_pool, index_unpool


def test_indices_of_a_block_come_from_its_four_branches(randomise) -> None:
    block, x = randomise(IndexBlock(3)).eval(), torch.randn(2, 3, 6, 8)
    with torch.no_grad():
        encoder, decoder = block(x)
        logits = [branch(x) for branch in block.branches]
    for c in range(3):
        for i in range(6):
            for j in range(8):
                four = torch.sigmoid(torch.stack([logit[1, c, i // 2, j // 2] for logit in logits]))
                which = 2 * (i % 2) + j % 2
                assert decoder[1, c, i, j] == pytest.approx(four[which].item(), abs=1e-6)
                assert encoder[1, c, i, j] == pytest.approx(four.softmax(0)[which].item(), abs=1e-6)


def test_encoder_indices_sum_to_one(randomise) -> None:
    encoder, _ = randomise(IndexBlock(2)).eval()(torch.randn(1, 2, 8, 8))
    torch.testing.assert_close(4 * F.avg_pool2d(encoder, 2), torch.ones(1, 2, 4, 4))


def test_pooling_and_its_inverse_against_loops() -> None:
    x, indices, small = torch.randn(1, 2, 4, 6), torch.rand(1, 2, 4, 6), torch.randn(1, 2, 2, 3)
    pooled, spread = index_pool(x, indices), index_unpool(small, indices)
    for c in range(2):
        for i in range(2):
            for j in range(3):
                cells = [(2 * i + a, 2 * j + b) for a in range(2) for b in range(2)]
                expected = sum(x[0, c, p, q] * indices[0, c, p, q] for p, q in cells)
                assert pooled[0, c, i, j] == pytest.approx(float(expected), abs=1e-5)
                for p, q in cells:
                    assert spread[0, c, p, q] == pytest.approx(float(small[0, c, i, j] * indices[0, c, p, q]))


def test_max_pooling_is_a_special_case() -> None:
    x = torch.rand(1, 3, 8, 8)
    pooled, where = F.max_pool2d(x, 2, return_indices=True)
    indices = F.max_unpool2d(torch.ones_like(pooled), where, 2)
    torch.testing.assert_close(index_pool(x, indices), pooled)
    torch.testing.assert_close(index_unpool(pooled, indices), F.max_unpool2d(pooled, where, 2))


def test_the_backbone_keeps_its_weights_and_loses_its_strides() -> None:
    network = create_baseline("indexnet")
    strides = [m.stride for m in network.backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert set(strides) == {(1, 1)}
    top, skips = network.eval().encode(torch.rand(1, 4, 64, 96))
    assert top.shape == (1, 160, 2, 3)
    assert [tuple(skip.shape[1:]) for skip, _ in skips] == [
        (32, 64, 96),
        (24, 32, 48),
        (32, 16, 24),
        (64, 8, 12),
        (160, 4, 6),
    ]
