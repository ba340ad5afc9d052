"""Eq. 9 to 16 against convolutions that are counted one by one, and against torch's own counter."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from modnet_lib.network import ASPP, EfficientASPP, cost

SIZES = [(1280, 3, 5), (64, 3, 5), (32, 5, 3), (16, 1, 4), (8, 3, 1)]


@pytest.mark.parametrize(("c_out", "c_in", "k", "h", "w"), [(7, 5, 3, 6, 9), (4, 4, 1, 3, 3), (2, 3, 5, 4, 2)])
def test_eq_9_and_10_are_one_convolution(c_out, c_in, k, h, w) -> None:
    conv = nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=False)
    assert cost.convolution_parameters(c_out, c_in, k) == conv.weight.numel()
    multiply_adds = sum(1 for _ in range(c_out) for _ in range(c_in * k * k)) * h * w
    assert cost.convolution_flops(c_out, c_in, k, h, w) == 2 * multiply_adds
    assert cost.count_flops(conv, torch.zeros(1, c_in, h, w)) == 2 * multiply_adds


@pytest.mark.parametrize(("c", "k", "m"), SIZES)
def test_closed_forms_are_sums_over_their_convolutions(c: int, k: int, m: int) -> None:
    h, w = 5, 7
    aspp = [(c, c, k)] * m + [(c, m * c, 1)]
    assert cost.aspp_parameters(c, k, m) == sum(cost.convolution_parameters(*conv) for conv in aspp)
    assert cost.aspp_flops(c, h, w, k, m) == sum(cost.convolution_flops(*conv, h, w) for conv in aspp)
    inner = c // 4
    # a depth-wise convolution has one input channel per output channel
    easpp = [(inner, c, 1), *[(inner, 1, k)] * m, (inner, m, 1), (c, inner, 1)]
    assert cost.easpp_parameters(c, k, m) == sum(cost.convolution_parameters(*conv) for conv in easpp)
    assert cost.easpp_flops(c, h, w, k, m) == sum(cost.convolution_flops(*conv, h, w) for conv in easpp)
    # the right-hand sides that the paper prints
    assert cost.aspp_parameters(c, k, m) == m * c**2 * (k**2 + 1)
    assert cost.aspp_flops(c, h, w, k, m) == (2 * k**2 + 2) * m * c * (h * w * c)
    assert cost.easpp_parameters(c, k, m) == Fraction(2 * c**2 + (k**2 + 1) * m * c, 4)
    assert cost.easpp_flops(c, h, w, k, m) == (c + Fraction((k**2 + 1) * m, 2)) * (h * w * c)


@pytest.mark.parametrize(("c", "m"), [(32, 5), (16, 2)])
@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_closed_forms_are_what_the_modules_do(c: int, m: int, reduction: int) -> None:
    rates, x, e = range(1, m + 1), torch.randn(1, c, 6, 9), {"m": m, "reduction": reduction}
    for module, parameters, flops in (
        (ASPP(c, rates), cost.aspp_parameters(c, m=m), cost.aspp_flops(c, 6, 9, m=m)),
        (EfficientASPP(c, reduction, rates), cost.easpp_parameters(c, **e), cost.easpp_flops(c, 6, 9, **e)),
    ):
        assert cost.count_parameters(module, nn.Conv2d) == parameters
        assert cost.count_flops(module, x) == flops


def test_ratios_of_eq_15_and_16_are_about_one_per_cent() -> None:
    assert cost.parameter_ratio(1280) == Fraction(835_200, 81_920_000)
    assert round(float(cost.parameter_ratio(1280)), 2) == 0.01
    assert cost.flop_ratio(1280) == cost.parameter_ratio(1280)
    assert cost.flop_ratio(64) == Fraction(cost.easpp_flops(64, 9, 4), cost.aspp_flops(64, 9, 4))
    assert round(float(cost.parameter_ratio(1280, reduction=1)), 2) == 0.02


def test_parameters_of_a_whole_module_include_biases_and_norms() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 4))
    assert cost.count_parameters(module) == 2 * 3 * 9 + 3 + 6 + 16
    assert cost.count_parameters(module, nn.Conv2d) == 54
    assert cost.count_parameters(module, (nn.Conv2d, nn.Linear)) == 54 + 12
