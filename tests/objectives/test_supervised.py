"""Eq. 2 to 5 against loops over single pixels."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from modnet_lib.objectives import OBJECTIVES, paper_objective
from modnet_lib.objectives.supervised import (
    detail_loss,
    matte_loss,
    released_semantic_target,
    semantic_loss,
    semantic_target,
)

N, H, W = 2, 32, 48


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Predictions and ground truth whose image obeys Eq. 1, with all three values in the trimap."""
    alpha = torch.rand(N, 1, H, W)
    foreground, background = torch.rand(N, 3, H, W), torch.rand(N, 3, H, W)
    return {
        "semantic": torch.rand(N, 1, H // 16, W // 16),
        "detail": torch.rand(N, 1, H, W),
        "alpha": torch.rand(N, 1, H, W),
        "true_alpha": alpha,
        "trimap": torch.randint(0, 3, (N, 1, H, W)) / 2,
        "image": alpha * foreground + (1 - alpha) * background,
        "foreground": foreground,
        "background": background,
    }


def both(values: dict[str, Tensor]) -> tuple[SimpleNamespace, SimpleNamespace]:
    """A `MattingOutput` and a `MattingBatch` of the same names."""
    heads = ("semantic", "detail", "alpha")
    parts = {key: value for key, value in values.items() if key not in heads}
    return SimpleNamespace(**{key: values[key] for key in heads}), SimpleNamespace(**parts)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def pixels(*tensors: Tensor):
    """Tuples of numbers, pixel after pixel; one channel meets three."""
    channels = max(t.shape[1] for t in tensors)
    arrays = [t.detach().double().expand(-1, channels, -1, -1).numpy() for t in tensors]
    return zip(*(array.ravel().tolist() for array in arrays), strict=True)


def blur(small: np.ndarray, taps: list[float], mode: str) -> np.ndarray:
    """Two loops over pixels and two over the kernel; `mode` says what lies outside."""
    height, width = small.shape
    out = np.zeros_like(small)
    for y, x, dy, dx in itertools.product(range(height), range(width), (-1, 0, 1), (-1, 0, 1)):
        v, u = y + dy, x + dx
        if mode == "replicate":
            v, u = min(max(v, 0), height - 1), min(max(u, 0), width - 1)
        else:  # reflection about the border pixel's centre
            v, u = height - 1 - abs(height - 1 - abs(v)), width - 1 - abs(width - 1 - abs(u))
        out[y, x] += taps[dy + 1] * taps[dx + 1] * small[v, u]
    return out


def slow_target(alpha: Tensor) -> np.ndarray:
    side = math.exp(-1 / (2 * 0.8**2))
    taps = [side / (1 + 2 * side), 1 / (1 + 2 * side), side / (1 + 2 * side)]
    result = []
    for picture in alpha[:, 0].double().numpy():
        small = np.zeros((H // 16, W // 16))
        for y, x in itertools.product(range(H), range(W)):
            small[y // 16, x // 16] += picture[y, x] / 256
        result.append(blur(small, taps, "replicate"))
    return np.stack(result)[:, None]


def slow_released_target(alpha: Tensor) -> np.ndarray:
    # scipy's Gaussian of a single one in 3 x 3 is the released kernel
    delta = np.zeros((3, 3))
    delta[1, 1] = 1
    kernel = gaussian_filter(delta, sigma=0.8)
    taps = (kernel[1] / math.sqrt(kernel[1, 1])).tolist()
    np.testing.assert_allclose(np.outer(taps, taps), kernel, atol=1e-12)
    result = []
    for picture in alpha[:, 0].double().numpy():
        # bilinear at the middle of a block of 16: the mean of its four middle pixels
        small = np.array(
            [
                [picture[16 * y + 7 : 16 * y + 9, 16 * x + 7 : 16 * x + 9].mean() for x in range(W // 16)]
                for y in range(H // 16)
            ]
        )
        result.append(blur(small, taps, "reflect"))
    return np.stack(result)[:, None]


def slow_paper(b: dict[str, Tensor]) -> tuple[float, float, float]:
    target = slow_target(b["true_alpha"])
    semantic = mean([(s - t) ** 2 for s, t in pixels(b["semantic"], torch.from_numpy(target))]) / 2
    detail = mean([abs(d - a) if t == 0.5 else 0.0 for d, a, t in pixels(b["detail"], b["true_alpha"], b["trimap"])])
    absolute = mean([abs(p - a) for p, a in pixels(b["alpha"], b["true_alpha"])])
    composed = mean(
        [
            abs(p * f + (1 - p) * g - i)
            for p, f, g, i in pixels(b["alpha"], b["foreground"], b["background"], b["image"])
        ]
    )
    return semantic, detail, absolute + composed


def test_every_term_equals_its_loops(batch) -> None:
    losses = paper_objective(*both(batch))
    expected = slow_paper(batch)
    for term, value in zip(losses[:3], expected, strict=True):
        assert float(term) == pytest.approx(value, rel=1e-5)
    weighted = paper_objective(*both(batch), (3.0, 0.5, 7.0))
    assert weighted[:3] == losses[:3]
    for found, weights in ((losses, (1, 10, 1)), (weighted, (3.0, 0.5, 7.0))):
        total = sum(w * t for w, t in zip(weights, expected, strict=True))
        assert float(found.total) == pytest.approx(total, rel=1e-5)


def test_targets_equal_their_loops_and_keep_constants() -> None:
    alpha = torch.rand(N, 1, H, W)
    torch.testing.assert_close(semantic_target(alpha).double(), torch.from_numpy(slow_target(alpha)), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        released_semantic_target(alpha).double(), torch.from_numpy(slow_released_target(alpha)), atol=1e-6, rtol=0
    )
    for target in (semantic_target, released_semantic_target):
        constant = target(torch.full((1, 1, 64, 64), 0.3))
        assert constant.shape == (1, 1, 4, 4)
        torch.testing.assert_close(constant, torch.full_like(constant, 0.3), rtol=0, atol=1e-5)


def test_losses_do_not_depend_on_size_or_batch(batch) -> None:
    once = paper_objective(*both(batch))
    twice = paper_objective(*both({k: torch.cat((v, v)) for k, v in batch.items()}))
    torch.testing.assert_close(torch.stack(once), torch.stack(twice), rtol=1e-5, atol=1e-7)


def test_perfect_answers_cost_nothing(batch) -> None:
    alpha, trimap = batch["true_alpha"], torch.full_like(batch["true_alpha"], 0.5)
    perfect = batch | {"detail": alpha, "alpha": alpha, "trimap": trimap, "semantic": semantic_target(alpha)}
    assert float(paper_objective(*both(perfect)).total) == pytest.approx(0, abs=1e-7)


def test_compositional_loss_vanishes_only_at_the_truth(batch) -> None:
    _, truth = both(batch)
    assert float(matte_loss(truth.true_alpha, truth)) == pytest.approx(0, abs=1e-7)
    # |0.1 (F - B)|: what L_c adds to the absolute error is how far the colours are apart
    expected = 0.1 + 0.1 * (truth.foreground - truth.background).abs().mean()
    torch.testing.assert_close(matte_loss(truth.true_alpha + 0.1, truth), expected, rtol=1e-4, atol=1e-6)


def test_detail_loss_trains_nothing_outside_the_transition_region(batch) -> None:
    transition = (batch["trimap"] == 0.5).float()
    detail = batch["detail"].requires_grad_()
    detail_loss(detail, batch["true_alpha"], transition).backward()
    inside = transition.bool()
    assert not detail.grad[~inside].any()
    # averaged over the whole image, not over the region
    torch.testing.assert_close(detail.grad[inside].abs(), torch.full_like(detail.grad[inside], 1 / detail.numel()))


def test_gradients_reach_every_prediction_and_no_truth(batch) -> None:
    for name, objective in OBJECTIVES.items():
        heads = ("semantic",) if name == "segmentation" else ("semantic", "detail", "alpha")
        values = {k: v.clone().requires_grad_() for k, v in batch.items() if k in heads}
        objective(*both(batch | values)).total.backward()
        assert all(v.grad.abs().sum() > 0 for v in values.values())


def test_semantic_loss_has_the_half_of_eq_2() -> None:
    zeros, ones = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 32, 32)
    assert float(semantic_loss(zeros, ones)) == pytest.approx(0.5)
