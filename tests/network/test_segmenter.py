"""The network that pre-trains a backbone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from modnet_lib.network import MattingOutput, Segmenter, create_backbone
from modnet_lib.objectives.supervised import segmentation_objective


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(create_backbone("mobilenetv3_small_050")).eval()


def test_the_answers_of_all_scales_are_added(segmenter) -> None:
    image = torch.rand(2, 3, 96, 64)
    output = segmenter(image)
    assert output.semantic.shape == (2, 1, 24, 16)
    assert output.detail is None
    maps = segmenter.backbone(image * 2 - 1)[1:]
    expected = 0
    for head, features in zip(segmenter.heads, maps, strict=True):
        answer = torch.einsum("nchw,c->nhw", features, head.weight[0, :, 0, 0])[:, None] + head.bias[0]
        while answer.shape[-1] < 16:  # twofold steps are not one large one
            answer = F.interpolate(answer, scale_factor=2, mode="bilinear", align_corners=False)
        expected = expected + answer
    torch.testing.assert_close(output.semantic, expected, rtol=1e-4, atol=1e-5)
    full = F.interpolate(expected, scale_factor=4, mode="bilinear", align_corners=False).sigmoid()
    torch.testing.assert_close(output.alpha, full, rtol=1e-4, atol=1e-5)


def test_sizes_that_do_not_fit_are_refused(segmenter) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        segmenter(torch.rand(1, 3, 64, 50))


def test_cross_entropy_of_block_means() -> None:
    logits, mask = torch.randn(2, 1, 4, 4), (torch.rand(2, 1, 16, 16) > 0.5).float()
    expected = 0.0
    for n in range(2):
        for i in range(4):
            for j in range(4):
                p = logits[n, 0, i, j].sigmoid()
                t = mask[n, 0, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean()
                expected -= t * p.log() + (1 - t) * (1 - p).log()
    output = MattingOutput(logits, None, None)
    (total,) = segmentation_objective(output, SimpleNamespace(true_alpha=mask))
    assert total == pytest.approx(float(expected) / 32, rel=1e-5)


def test_it_learns_a_mask(segmenter) -> None:
    segmenter.train()
    image = torch.rand(2, 3, 64, 64) * 0.2
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 16:48, 16:48] = 1
    image = image + 0.8 * mask
    optimizer = torch.optim.AdamW(segmenter.parameters(), 3e-3)
    for _ in range(30):
        (loss,) = segmentation_objective(segmenter(image), SimpleNamespace(true_alpha=mask))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.25  # answering nothing costs 0.69
    assert ((segmenter(image).alpha > 0.5) == (mask > 0.5)).float().mean() > 0.9
