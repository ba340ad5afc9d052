"""Backbone files: torchvision's names, flat names, timm's; normalisation folded into the first convolution."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from modnet_lib.network import load_backbone, load_imagenet_backbone
from modnet_lib.network.backbones import IMAGENET

ENDS = {1: 16, 3: 24, 6: 32, 13: 96, 18: 1280}  # torchvision's block and its channels at each scale


@pytest.fixture(scope="module")
def torchvision_model():
    torch.manual_seed(4)
    model = mobilenet_v2(weights=None)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.bias, 0, 0.2)
    return model.eval()


def pyramid(model, x: Tensor) -> list[Tensor]:
    maps = []
    for number, block in enumerate(model.features):
        x = block(x)
        if number in ENDS:
            assert x.shape[1] == ENDS[number]
            maps.append(x)
    return maps


def assert_same_maps(ours: list[Tensor], expected: list[Tensor], **tolerance: float) -> None:
    assert len(ours) == len(expected) == 5
    for first, second in zip(ours, expected, strict=True):
        torch.testing.assert_close(first, second, **tolerance)


@torch.no_grad()
@pytest.mark.parametrize("classifier", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_names(torchvision_model, tmp_path, classifier, suffix) -> None:
    state = torchvision_model.state_dict()
    if not classifier:
        state = {k: v for k, v in state.items() if not k.startswith("classifier")}
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    image = torch.rand(1, 3, 64, 64)
    assert_same_maps(load_backbone(path).eval()(image), pyramid(torchvision_model, image))


@torch.no_grad()
def test_flat_names(torchvision_model, tmp_path) -> None:
    # in the flat layout every layer of a block, activations too, has one index
    state = {}
    for number, block in enumerate(torchvision_model.features):
        if number in (0, 18):
            layers = {f"features.{number}.{i}": layer for i, layer in enumerate(block)}
        else:
            leaves = [layer for layer in block.conv.modules() if not list(layer.children())]
            layers = {f"features.{number}.conv.{i}": layer for i, layer in enumerate(leaves)}
        for name, layer in layers.items():
            state |= {f"{name}.{key}": value for key, value in layer.state_dict().items()}
    assert "features.1.conv.4.running_mean" in state
    assert "features.2.conv.7.weight" in state
    torch.save(state, tmp_path / "human_seg.ckpt")
    image = torch.rand(1, 3, 64, 64)
    assert_same_maps(load_backbone(tmp_path / "human_seg.ckpt").eval()(image), pyramid(torchvision_model, image))


@torch.no_grad()
def test_imagenet_weights_are_torchvisions_with_their_normalisation(torchvision_model, monkeypatch) -> None:
    state = torchvision_model.state_dict()
    monkeypatch.setattr(MobileNet_V2_Weights, "get_state_dict", lambda *_args, **_options: state)
    backbone, image = load_imagenet_backbone().eval(), torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in IMAGENET)
    ours = backbone.features[0](image * 2 - 1)
    expected = torchvision_model.features[0]((image - mean) / std)
    # the kernel of 3 at stride 2 meets the padding in the first row and column only
    torch.testing.assert_close(ours[:, :, 1:, 1:], expected[:, :, 1:, 1:], rtol=1e-4, atol=1e-5)
    assert (ours - torchvision_model.features[0](image * 2 - 1)).abs().max() > 0.1
    for key, value in backbone.state_dict().items():  # everything behind the first layer is as it was
        if not key.startswith("features.0."):
            assert torch.equal(value, state[key])


@torch.no_grad()
def test_timm_files(tmp_path, randomise) -> None:
    model = randomise(timm.create_model("resnet18", pretrained=False)).eval()
    torch.save(model.state_dict(), tmp_path / "resnet18.pth")
    image = torch.rand(1, 3, 64, 64)
    backbone = load_backbone(tmp_path / "resnet18.pth", "resnet18").eval()
    top = model.forward_features(image)
    torch.testing.assert_close(backbone(image)[-1], top, rtol=1e-4, atol=1e-4)
    assert [m.shape[1] for m in backbone(image)] == backbone.channels == [64, 64, 128, 256, 512]


def test_files_that_do_not_fit_are_refused(torchvision_model, tmp_path) -> None:
    state = torchvision_model.state_dict()
    name = "features.3.conv.2.weight"
    for label, changed in {
        "missing": {k: v for k, v in state.items() if k != name},
        "extra": state | {"features.19.0.weight": torch.zeros(1)},
        "shape": state | {name: torch.zeros(1)},
    }.items():
        torch.save(changed, tmp_path / f"{label}.pth")
        with pytest.raises(ValueError, match=rf"{label}\.pth does not fit backbone 'mobilenet_v2'"):
            load_backbone(tmp_path / f"{label}.pth")
    torch.save(state, tmp_path / "mobilenet.pth")
    with pytest.raises(ValueError, match="resnet18"):
        load_backbone(tmp_path / "mobilenet.pth", "resnet18")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        load_backbone(tmp_path / "nowhere.pth")
