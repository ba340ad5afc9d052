"""Faults that the tests of this folder have to find, and the rule that values leave a device in one function only."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest
import torch
from second_device import Guard, WrongDevice, build, check, fake, second_device
from torch import Tensor, nn

import modnet_lib
from modnet_lib import paths
from modnet_lib.network import MODNet
from modnet_lib.network.layers import ConvBlock, EfficientASPP

LEAVES = ("cpu", "numpy", "item")


class Faulty(EfficientASPP):
    """e-ASPP with one line more."""

    def __init__(self, line: Callable[[Tensor], Tensor]):
        super().__init__(64)
        self.line = line

    def forward(self, x: Tensor) -> Tensor:
        return self.line(super().forward(x))


class Loose(ConvBlock):
    """A block with a tensor that `Module.to` does not move."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.scale = torch.ones(1, 3, 1, 1)


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "made without a device": lambda x: x * torch.ones(x.shape[1:]),
    "a kernel without a device": lambda x: nn.functional.conv2d(x, torch.ones(1, 64, 3, 3)),
    "a matrix without a device": lambda x: x @ torch.ones(8, 8),
    "a mask without a device": lambda x: torch.where(torch.ones(8, 8) > 0, x, 0),
    "numpy": lambda x: x + torch.from_numpy(x.detach().numpy()),
    "numpy of the CPU's copy": lambda x: x + torch.from_numpy(x.detach().cpu().numpy()).to(x.device),
    "there and back": lambda x: x.cpu().to(x.device),
    "item": lambda x: x / x.max().item(),
    "tolist": lambda x: x * x.mean((0, 2, 3)).tolist()[0],
    "bool": lambda x: x if (x > 0).all() else -x,
    "a boolean mask": lambda x: x - x[x > 0].mean(),
    "a blocking copy": lambda x: x * torch.ones(8, 8).to(x.device),
    "left on the CPU": lambda x: torch.zeros(x.shape),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_a_forward_pass_are_found_on_the_fake_device(fault) -> None:
    network = build(lambda: Faulty(FAULTS[fault]))
    with pytest.raises((RuntimeError, WrongDevice)), second_device():
        check(network(fake(2, 64, 8, 8)))
    network.line = lambda x: 2 * x
    with second_device():
        check(network(fake(2, 64, 8, 8)))


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "a boolean mask"])
def test_faults_in_a_step_are_found_on_meta(fault) -> None:
    network, x = Faulty(FAULTS[fault]).to("meta"), torch.empty(2, 64, 8, 8, device="meta")

    def step() -> None:
        with Guard():
            result = network(x)
            result.sum().backward()
        check(result, "meta")

    with pytest.raises((RuntimeError, TypeError, WrongDevice)):
        step()
    network.line = lambda x: 2 * x
    step()


def test_tensors_that_would_stay_behind_are_found() -> None:
    with pytest.raises(WrongDevice, match="neither parameter nor buffer"):
        build(Loose)


def test_a_faulty_layer_of_modnet_is_found() -> None:
    def make() -> MODNet:
        network = MODNet(backbone="mobilenetv3_small_050")
        network.detail_branch.restore1.register_forward_hook(lambda _, given, out: out + torch.zeros(out.shape))
        return network

    network = build(make)
    with pytest.raises((RuntimeError, WrongDevice)), second_device():
        check(network(fake(1, 3, 64, 64)))


def leaving(text: str) -> list[str]:
    """Functions that call `cpu`, `numpy` or `item` of something."""
    return [
        function.name
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEAVES
    ]


def test_values_leave_a_device_in_one_function() -> None:
    assert leaving("def f(x):\n    return x.mean().item()\ndef g(x):\n    return item(x)") == ["f"]
    files = sorted(paths.PACKAGE.rglob("*.py"))
    found = {name for file in files for name in leaving(file.read_text(encoding="utf-8"))}
    assert found == {"read_out"}, modnet_lib.images.read_out.__doc__
