"""Eq. 7 and 8 and the released losses: loops over pixels, finite differences, and which way gradients flow."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import grey_dilation, grey_erosion, maximum_filter
from test_supervised import mean, slow_released_target, slow_target
from torch import Tensor

from modnet_lib.objectives.consistency import (
    CONSISTENCY,
    disagreement,
    paper_consistency,
    released_consistency,
    released_transition_region,
)
from modnet_lib.objectives.supervised import semantic_target
from modnet_lib.regions import transition_region

N, H, W = 2, 32, 48


@pytest.fixture
def outputs() -> dict[str, Tensor]:
    """M and M' on two pictures: a person on the left, with a soft edge, known on both sides."""
    ramp = torch.linspace(1.6, -0.6, W).expand(N, 1, H, W)
    alpha = (ramp + 0.05 * torch.rand(N, 1, H, W)).clamp(0, 1)
    return {
        "semantic": torch.rand(N, 1, H // 16, W // 16),
        "detail": torch.rand(N, 1, H, W),
        "alpha": alpha,
        "frozen_detail": torch.rand(N, 1, H, W),
        "frozen_alpha": torch.rand(N, 1, H, W),
    }


def both(outputs: dict[str, Tensor]) -> tuple[SimpleNamespace, SimpleNamespace]:
    """The outputs of M and of M'."""
    own = {key: value for key, value in outputs.items() if not key.startswith("frozen_")}
    held = {key.removeprefix("frozen_"): value for key, value in outputs.items() if key not in own}
    return SimpleNamespace(**own), SimpleNamespace(**held)


def people(seed: int, size: tuple[int, int] = (40, 56)) -> Tensor:
    """Random blobs with values over all of [0, 1], some at the border of the picture."""
    coarse = torch.rand(3, 1, 5, 7, generator=torch.Generator().manual_seed(seed)) * 3 - 1
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_transition_region_is_grey_morphology_picture_by_picture(size: int) -> None:
    alpha = people(size)
    region = transition_region(alpha, size, maybe=0.1)
    for picture, found in zip(alpha[:, 0].numpy(), region[:, 0].numpy(), strict=True):
        maybe, unsure = (part.astype(np.uint8) for part in (picture >= 0.1, picture < 0.9))
        # beyond the border nothing counts, for the person and for what is not
        wide, narrow = (maximum_filter(part, size=size, mode="constant") for part in (maybe, unsure))
        np.testing.assert_array_equal(found, wide * narrow)
    assert 0 < region.mean() < 1


def test_released_band_is_the_released_morphology() -> None:
    alpha = people(1, (64, 96))
    semantic = semantic_target(people(2, (64, 96)))
    found = released_transition_region(semantic, alpha)
    coarse = torch.nn.functional.interpolate((semantic > 0.1).float(), scale_factor=16, mode="bilinear")
    side = int((64 + 96) / 2 * 0.05)
    for picture, band in zip(((alpha > 0.1) * coarse)[:, 0].numpy(), found[:, 0].numpy(), strict=True):
        dilated, eroded = (op(picture, size=(side, side)) for op in (grey_dilation, grey_erosion))
        np.testing.assert_array_equal(band, dilated - eroded != 0)
    assert 0 < found.mean() < 1


def test_paper_terms_equal_loops_over_pixels(outputs) -> None:
    losses = paper_consistency(*both(outputs))
    region = transition_region(outputs["alpha"], maybe=0.1).double()
    assert 0 < region.mean() < 1
    a, d, f, m = (t.double().flatten().tolist() for t in (
        outputs["alpha"], outputs["detail"], outputs["frozen_detail"], region
    ))  # fmt: skip
    target = slow_target(outputs["alpha"])
    semantic = mean([(t - s) ** 2 for t, s in zip(target.flat, outputs["semantic"].flatten().tolist(), strict=True)])
    expected = [
        semantic / 2,
        mean([k * abs(x - y) for x, y, k in zip(a, d, m, strict=True)]),
        mean([k * abs(x - y) for x, y, k in zip(f, d, m, strict=True)]),
    ]
    np.testing.assert_allclose([t.item() for t in losses[:3]], expected, rtol=1e-5)
    assert losses.total.item() == pytest.approx(sum(expected), rel=1e-5)
    weighed = paper_consistency(*both(outputs), (1.0, 1.0, 0.0))
    assert weighed.total.item() == pytest.approx(sum(expected[:2]), rel=1e-5)


def test_released_terms_equal_loops_over_pictures(outputs) -> None:
    outputs["semantic"][0, 0, 0, 0] = 0.005  # below what counts
    losses = released_consistency(*both(outputs))
    band = released_transition_region(outputs["semantic"], outputs["alpha"])
    blurred, s = slow_released_target(outputs["alpha"]), outputs["semantic"].double().numpy()
    pairs = list(zip(s.flat, blurred.flat, strict=True))
    semantic = mean([(x - (y if y > 0.01 else 0)) ** 2 for x, y in pairs])
    semantic += mean([(y - (x if x > 0.01 else 0)) ** 2 for x, y in pairs])

    def held(name: str) -> float:
        errors = (outputs[name] - outputs[f"frozen_{name}"]).abs()
        return mean([float(e[b > 0].mean()) for e, b in zip(errors.double(), band, strict=True)])

    expected = [semantic, held("alpha"), held("detail")]
    np.testing.assert_allclose([t.item() for t in losses[:3]], expected, rtol=1e-5)
    assert losses.total.item() == pytest.approx(100 * semantic + sum(expected[1:]), rel=1e-5)


TERMS = [(preset, number) for preset in CONSISTENCY for number in range(3)]


@pytest.mark.parametrize(("preset", "number"), TERMS)
def test_gradients_equal_finite_differences(outputs, preset: str, number: int) -> None:
    outputs = {name: value.double() for name, value in outputs.items()}
    outputs["semantic"] = 0.1 + 0.8 * outputs["semantic"]  # away from the thresholds
    names = ("semantic", "detail", "alpha")
    inputs = {name: outputs[name].clone().requires_grad_() for name in names}
    CONSISTENCY[preset](*both(outputs | inputs))[number].backward()
    # differences see both halves of the released semantic term move; a detached target moves in neither
    halves = 0.5 if (preset, number) == ("released", 0) else 1.0
    rng = np.random.default_rng(number)
    moved = 0
    for name in names:
        gradient = inputs[name].grad
        gradient = torch.zeros_like(outputs[name]) if gradient is None else gradient
        # half of the places where the gradient lives, half anywhere
        live = torch.nonzero(gradient.flatten())[:, 0].numpy()
        places = [*rng.choice(live, min(6, len(live)), replace=False), *rng.choice(gradient.numel(), 6)]
        for place in places:
            ends = []
            for sign in (1, -1):
                shifted = outputs[name].clone()
                shifted.view(-1)[place] += sign * 1e-6
                ends.append(CONSISTENCY[preset](*both(outputs | {name: shifted}))[number].item())
            difference = halves * (ends[0] - ends[1]) / 2e-6
            assert gradient.view(-1)[place].item() == pytest.approx(difference, rel=1e-3, abs=1e-9)
            moved += difference != 0
    assert moved >= 6


def gradients(preset: str, number: int, outputs) -> set[str]:
    inputs = {name: value.clone().requires_grad_() for name, value in outputs.items()}
    CONSISTENCY[preset](*both(inputs))[number].backward()
    return {name for name, value in inputs.items() if value.grad is not None and value.grad.abs().sum() > 0}


def test_which_sub_objective_each_term_moves(outputs) -> None:
    assert gradients("paper", 0, outputs) == {"semantic", "alpha"}
    assert gradients("paper", 1, outputs) == {"alpha", "detail"}
    assert gradients("paper", 2, outputs) == {"detail"}, "M' is never moved"
    assert gradients("released", 0, outputs) == {"semantic", "alpha"}
    assert gradients("released", 1, outputs) == {"alpha"}, "alpha and d never meet in the released code"
    assert gradients("released", 2, outputs) == {"detail"}


@pytest.mark.parametrize("preset", CONSISTENCY)
@pytest.mark.parametrize("everything", [0.0, 1.0])
def test_an_empty_transition_region_costs_nothing(outputs, preset: str, everything: float) -> None:
    alpha = torch.full((N, 1, H, W), everything, requires_grad=True)
    outputs["semantic"] = torch.full_like(outputs["semantic"], everything)
    losses = CONSISTENCY[preset](*both(outputs | {"alpha": alpha}))
    losses.total.backward()
    assert losses.detail == losses.preserve == 0
    assert math.isfinite(losses.total.item())
    assert alpha.grad.isfinite().all()


def test_the_released_gradient_is_that_of_the_undetached_square(outputs) -> None:
    """What the author answered: two detached halves, one direction each, are the L2 term of the paper."""
    s, a = (outputs[name].clone().requires_grad_() for name in ("semantic", "alpha"))
    target = semantic_target(a)
    halves = (s - target.detach()).square().mean() + (target - s.detach()).square().mean()
    first = torch.autograd.grad(halves, (s, a), retain_graph=True)
    losses = paper_consistency(*both(outputs | {"semantic": s, "alpha": a}))
    second = torch.autograd.grad(2 * losses.semantic, (s, a))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other)


def test_disagreement_is_zero_where_semantics_agree() -> None:
    alpha = people(3, (64, 96))
    assert disagreement(semantic_target(alpha), alpha).max() == 0
    assert disagreement(1 - semantic_target(alpha), alpha).max() > 0.5


@pytest.mark.parametrize("preset", CONSISTENCY)
def test_one_picture_is_enough(outputs, preset: str) -> None:
    whole = CONSISTENCY[preset](*both(outputs))
    single = [CONSISTENCY[preset](*both({k: v[n : n + 1] for k, v in outputs.items()})) for n in range(N)]
    for term, parts in zip(whole, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(term, torch.stack(parts).mean())
