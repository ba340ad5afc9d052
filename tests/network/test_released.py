"""The released network against an independent, functional one that works on a state dict in the authors' names."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modnet_lib.network import load_checkpoint

# MobileNetV2: expansion, channels, repeats, stride of the first (Sandler et al. 2018, table 2)
ROWS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
HR = 32


def blocks() -> list[tuple[int, int, int, int]]:
    """(input channels, expansion, output channels, stride) of features.1 to features.17."""
    result, channels = [], 32
    for expansion, out, repeats, stride in ROWS:
        for i in range(repeats):
            result.append((channels, expansion, out, stride if i == 0 else 1))
            channels = out
    return result


def authors_state() -> dict[str, Tensor]:
    """A random state dict as the authors' files hold it: DataParallel's prefix, the backbone twice."""
    generator = torch.Generator().manual_seed(5)
    state: dict[str, Tensor] = {}

    def conv(name: str, c_in: int, c_out: int, k: int, bias: bool, groups: int = 1) -> None:
        shape = (c_out, c_in // groups, k, k)
        bound = math.sqrt(3 / (c_in // groups * k * k))
        state[f"{name}.weight"] = (torch.rand(shape, generator=generator) * 2 - 1) * bound
        if bias:
            state[f"{name}.bias"] = torch.randn(c_out, generator=generator) * 0.1

    def norm(name: str, channels: int) -> None:
        state[f"{name}.weight"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{name}.bias"] = torch.randn(channels, generator=generator) * 0.2
        state[f"{name}.running_mean"] = torch.randn(channels, generator=generator) * 0.2
        state[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def ib(name: str, c_in: int, c_out: int, k: int) -> None:
        conv(f"{name}.layers.0", c_in, c_out, k, bias=True)
        norm(f"{name}.layers.1.bnorm", c_out // 2)

    features = "backbone.model.features"
    conv(f"{features}.0.0", 3, 32, 3, bias=False)
    norm(f"{features}.0.1", 32)
    for number, (c_in, expansion, c_out, _) in enumerate(blocks(), start=1):
        inner, name, index = c_in * expansion, f"{features}.{number}.conv", 0
        if expansion > 1:
            conv(f"{name}.0", c_in, inner, 1, bias=False)
            norm(f"{name}.1", inner)
            index = 3
        conv(f"{name}.{index}", inner, inner, 3, bias=False, groups=inner)
        norm(f"{name}.{index + 1}", inner)
        conv(f"{name}.{index + 3}", inner, c_out, 1, bias=False)
        norm(f"{name}.{index + 4}", c_out)
    conv(f"{features}.18.0", 320, 1280, 1, bias=False)
    norm(f"{features}.18.1", 1280)
    state |= {f"lr_branch.{key}": value for key, value in state.items()}

    state["lr_branch.se_block.fc.0.weight"] = torch.randn(320, 1280, generator=generator) / 36
    state["lr_branch.se_block.fc.2.weight"] = torch.randn(1280, 320, generator=generator) / 18
    ib("lr_branch.conv_lr16x", 1280, 96, 5)
    ib("lr_branch.conv_lr8x", 96, 32, 5)
    conv("lr_branch.conv_lr.layers.0", 32, 1, 3, bias=True)
    ib("hr_branch.tohr_enc2x", 16, HR, 1)
    ib("hr_branch.conv_enc2x", HR + 3, HR, 3)
    ib("hr_branch.tohr_enc4x", 24, HR, 1)
    ib("hr_branch.conv_enc4x", 2 * HR, 2 * HR, 3)
    for i, (c_in, c_out) in enumerate([(3 * HR + 3, 2 * HR), (2 * HR, 2 * HR), (2 * HR, HR)]):
        ib(f"hr_branch.conv_hr4x.{i}", c_in, c_out, 3)
    for i, (c_in, c_out) in enumerate([(2 * HR, 2 * HR), (2 * HR, HR), (HR, HR), (HR, HR)]):
        ib(f"hr_branch.conv_hr2x.{i}", c_in, c_out, 3)
    ib("hr_branch.conv_hr.0", HR + 3, HR, 3)
    conv("hr_branch.conv_hr.1.layers.0", HR, 1, 1, bias=True)
    ib("f_branch.conv_lr4x", 32, HR, 5)
    ib("f_branch.conv_f2x", 2 * HR, HR, 3)
    ib("f_branch.conv_f.0", HR + 3, HR // 2, 3)
    conv("f_branch.conv_f.1.layers.0", HR // 2, 1, 1, bias=True)
    return {f"module.{key}": value for key, value in state.items()}


def authors_network(state: dict[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The released forward pass in evaluation mode, of functions only."""

    def conv(name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"module.{name}.weight"]
        bias = state.get(f"module.{name}.bias")
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (
            state[f"module.{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    def ib(name: str, x: Tensor, stride: int = 1) -> Tensor:
        x = conv(f"{name}.layers.0", x, stride)
        half = x.shape[1] // 2
        first, second = norm(f"{name}.layers.1.bnorm", x[:, :half]), F.instance_norm(x[:, half:])
        return F.relu(torch.cat((first, second), 1))

    def zoom(x: Tensor, factor: float) -> Tensor:
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    image = image * 2 - 1
    features = "backbone.model.features"
    x = F.relu6(norm(f"{features}.0.1", conv(f"{features}.0.0", image, 2)))
    maps = {}
    for number, (c_in, expansion, c_out, stride) in enumerate(blocks(), start=1):
        name, y, index = f"{features}.{number}.conv", x, 0
        if expansion > 1:
            y, index = F.relu6(norm(f"{name}.1", conv(f"{name}.0", y))), 3
        y = conv(f"{name}.{index}", y, stride, groups=c_in * expansion)
        y = F.relu6(norm(f"{name}.{index + 1}", y))
        y = norm(f"{name}.{index + 4}", conv(f"{name}.{index + 3}", y))
        x = x + y if stride == 1 and c_in == c_out else y
        maps[number] = x
    enc2x, enc4x = maps[1], maps[3]
    enc32x = F.relu6(norm(f"{features}.18.1", conv(f"{features}.18.0", x)))

    squeezed = F.relu(F.linear(enc32x.mean((2, 3)), state["module.lr_branch.se_block.fc.0.weight"]))
    excited = torch.sigmoid(F.linear(squeezed, state["module.lr_branch.se_block.fc.2.weight"]))
    lr16x = ib("lr_branch.conv_lr16x", zoom(enc32x * excited[..., None, None], 2))
    lr8x = ib("lr_branch.conv_lr8x", zoom(lr16x, 2))
    semantic = torch.sigmoid(conv("lr_branch.conv_lr.layers.0", lr8x, stride=2))

    enc2x = ib("hr_branch.tohr_enc2x", enc2x)
    hr4x = ib("hr_branch.conv_enc2x", torch.cat((zoom(image, 0.5), enc2x), 1), stride=2)
    hr4x = ib("hr_branch.conv_enc4x", torch.cat((hr4x, ib("hr_branch.tohr_enc4x", enc4x)), 1))
    hr4x = torch.cat((hr4x, zoom(lr8x, 2), zoom(image, 0.25)), 1)
    for i in range(3):
        hr4x = ib(f"hr_branch.conv_hr4x.{i}", hr4x)
    hr2x = torch.cat((zoom(hr4x, 2), enc2x), 1)
    for i in range(4):
        hr2x = ib(f"hr_branch.conv_hr2x.{i}", hr2x)
    hr = ib("hr_branch.conv_hr.0", torch.cat((zoom(hr2x, 2), image), 1))
    detail = torch.sigmoid(conv("hr_branch.conv_hr.1.layers.0", hr))

    lr2x = zoom(ib("f_branch.conv_lr4x", zoom(lr8x, 2)), 2)
    fused = zoom(ib("f_branch.conv_f2x", torch.cat((lr2x, hr2x), 1)), 2)
    fused = ib("f_branch.conv_f.0", torch.cat((fused, image), 1))
    return semantic, detail, torch.sigmoid(conv("f_branch.conv_f.1.layers.0", fused))


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return authors_state()


def save(state: dict[str, Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


@torch.no_grad()
def test_loaded_network_equals_the_authors(state, tmp_path) -> None:
    network = load_checkpoint(save(state, tmp_path / "modnet_photographic_portrait_matting.ckpt"))
    assert network.config["variant"] == "released"
    assert not network.training
    image = torch.rand(2, 3, 64, 96)
    expected = authors_network(state, image)
    for ours, theirs in zip(network(image, auxiliary=True), expected, strict=True):
        assert theirs.std() > 1e-2  # the comparison means something
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_prefix_and_wrapping_make_no_difference(state, tmp_path) -> None:
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    first = load_checkpoint(save(state, tmp_path / "a.ckpt")).state_dict()
    second = load_checkpoint(save({"state_dict": bare, "epoch": 40}, tmp_path / "b.pth")).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_files_that_do_not_fit_are_refused(state, tmp_path) -> None:
    def without(key: str) -> dict[str, Tensor]:
        return {k: v for k, v in state.items() if k != key}

    twice = "module.lr_branch.backbone.model.features.4.conv.3.weight"
    head = "module.f_branch.conv_f.1.layers.0.bias"
    cases = {
        "missing": (without(head), "fusion_branch.head.1.bias"),
        "extra": (state | {"module.f_branch.conv_new.weight": torch.zeros(1)}, "conv_new"),
        "extra_leaf": (state | {"module.f_branch.conv_lr4x.layers.0.scale": torch.zeros(1)}, "scale"),
        "shape": (state | {head: torch.zeros(2)}, "fusion_branch.head.1.bias"),
        "copies": (state | {twice: state[twice] + 1}, "two copies"),
    }
    for name, (content, message) in cases.items():
        path = save(content, tmp_path / f"{name}.ckpt")
        with pytest.raises(ValueError, match=message) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)
