"""Costs: parts add up, memory against a count by hand, wrong names."""

from __future__ import annotations

import itertools
import time

import pytest
import torch
from torch import nn

from modnet_lib.baselines import create_baseline
from modnet_lib.evaluation.efficiency import METHODS, create_method, efficiency, peak_memory, random_inputs
from modnet_lib.network.cost import count_parameters


@pytest.fixture(scope="module")
def measured() -> dict:
    return efficiency(["modnet", "shm", "fdmpa"], size=64, repeats=2)


def test_a_method_is_the_sum_of_its_parts(measured) -> None:
    for name in ("shm", "fdmpa"):
        cost = measured[name]
        assert sum(part["parameters"] for part in cost["parts"].values()) == cost["parameters"]
        assert sum(part["gflops"] for part in cost["parts"].values()) == pytest.approx(cost["gflops"], rel=1e-9)
        assert all(part["milliseconds"] > 0 for part in cost["parts"].values())
    assert measured["modnet"]["parts"] == {}
    assert measured["modnet"]["parameters"] == 3_370_867


def test_measuring_leaves_no_hooks() -> None:
    network = create_method("shm")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_peak_memory_of_a_chain_is_its_two_largest_neighbours() -> None:
    class Chain(nn.Module):
        def forward(self, x):
            x = x.repeat(4)  # 4 units
            x = x.repeat(2)  # 8 while 4 are still held
            return x[:10].clone()

    unit = 1 << 20
    peak = peak_memory(Chain(), x=torch.zeros(unit, dtype=torch.uint8))
    assert 12 * unit <= peak < 12.5 * unit


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gets_what_it_needs(name) -> None:
    network = create_method(name)
    with torch.no_grad():
        assert network(**random_inputs(network, 64, 2)).alpha.shape == (2, 1, 64, 64)


def test_trimaps_are_trimaps() -> None:
    trimap = random_inputs(create_baseline("indexnet"), 64)["trimap"]
    assert set(trimap.unique().tolist()) == {0, 0.5, 1}


def test_unknown_methods_are_named() -> None:
    with pytest.raises(ValueError, match="gca"):
        efficiency(["gca"])
    assert count_parameters(create_method("modnet_trimap")) > count_parameters(create_method("modnet"))


def test_the_time_of_a_part_is_that_of_all_its_modules(monkeypatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))  # one second a look at the clock
    parts = efficiency(["shm"], size=64, repeats=2)["shm"]["parts"]
    modules = create_method("shm").modules_of
    assert len(modules["T-Net"]) == 3
    assert {name: part["milliseconds"] for name, part in parts.items()} == {
        name: 1000 * len(names) for name, names in modules.items()
    }
