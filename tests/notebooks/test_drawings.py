"""The drawings of Fig. 1 to 3: what they print is what the network has, and readers without sight get words."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from modnet_lib import paths
from modnet_lib.network import MODNet

FIGURES = sorted((paths.NOTEBOOKS / "figures").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
SIDE = 512


def texts(name: str) -> dict[str, str]:
    """What a drawing prints, by the id of the text."""
    root = ElementTree.parse(paths.NOTEBOOKS / "figures" / f"{name}.svg").getroot()
    return {text.get("id", ""): "".join(text.itertext()) for text in root.iter(f"{SVG}text")}


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.replace(",", "")))


def measured(network: MODNet) -> dict[str, tuple[int, ...]]:
    """The shape (C, H, W) that each module, each map of the backbone and the network itself gives."""
    shapes: dict[str, tuple[int, ...]] = {"image": (3, SIDE, SIDE)}

    def note(name: str):
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            for suffix, tensor in [("", output)] if torch.is_tensor(output) else enumerate(output):
                if torch.is_tensor(tensor):
                    shapes[f"{name}.{suffix}".rstrip(".")] = tuple(tensor.shape[1:])

        return hook

    for name, module in network.named_modules():
        module.register_forward_hook(note(name or "output"))
    with torch.device("meta"), torch.inference_mode():
        network(torch.zeros(1, 3, SIDE, SIDE), auxiliary=True)
    return shapes | {name: shapes[f"output.{index}"] for index, name in enumerate(("s_p", "d_p", "alpha_p"))}


@pytest.fixture(scope="module")
def network() -> MODNet:
    with torch.device("meta"):  # shapes without memory
        return MODNet().eval()


def test_every_shape_of_fig_2_is_the_networks(network: MODNet) -> None:
    printed, shapes = texts("fig2"), measured(network)
    for name, text in printed.items():
        if name in shapes:
            assert numbers(text) == shapes[name], name
    known = shapes.keys() & printed.keys()
    assert len(known) == 16 and {"s_p", "d_p", "alpha_p", "semantic_branch.context"} <= known
    shaped = {name for name, text in printed.items() if re.search(r"\d×\d+×\d", text)}
    assert shaped == known, "a shape without the id of its module is not compared"


def test_every_convolution_of_fig_2_is_the_networks(network: MODNet) -> None:
    printed, shapes = texts("fig2"), measured(network)
    words = {"four": 4, "five": 5}
    kernels = {name: text for name, text in printed.items() if re.search(r"\b\d×\d\b(?!×)", text)}
    assert len(kernels) == 10
    for name, text in kernels.items():
        module = network.get_submodule(name.removesuffix(".label"))
        convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
        assert len(convolutions) == words.get(text.split()[0], 1), name
        (kernel,) = set(re.findall(r"(\d)×\1", text))
        assert {part.kernel_size for part in convolutions} == {(int(kernel), int(kernel))}, name
    lateral = [block[0].out_channels for block in network.detail_branch.lateral]
    assert f"to {lateral[0]} channels" in printed["detail_branch.lateral"] and len(set(lateral)) == 1
    for level in range(5):
        scale = SIDE // shapes[f"semantic_branch.backbone.{level}"][1]
        assert printed[f"semantic_branch.backbone.{level}.label"] == f"1/{scale}"


def test_every_number_of_fig_3_is_the_modules(network: MODNet) -> None:
    printed, module = texts("fig3"), network.semantic_branch.context
    count = {"weights": 0}
    for name in ["reduce", *(f"scales.{index}" for index in range(len(module.scales))), "fuse_scales", "fuse_channels"]:
        convolution = module.get_submodule(name)[0]
        out_channels, in_channels, kernel, _ = convolution.weight.shape
        groups = convolution.groups
        expected = (out_channels // groups, in_channels, kernel, *([groups] if groups > 1 else []))
        assert numbers(printed[name]) == expected, name
        if name.startswith("scales"):
            assert numbers(printed[f"{name}.rate"]) == convolution.dilation[:1]
        for key in ("weights", f"{name.partition('.')[0]}.weights"):
            count[key] = count.get(key, 0) + convolution.weight.numel()
        for key, channels in (("input", convolution.in_channels), ("output", convolution.out_channels)):
            assert printed.get(f"{name}.{key}", f"{channels}×h×w") == f"{channels}×h×w"
    for name, weights in count.items():
        assert printed[name].startswith(f"{weights:,} weights"), name
    counted = {name for name, text in printed.items() if "weights" in text}
    scales = {name for name in printed if re.fullmatch(r"scales\.\d+", name)}
    assert counted == count.keys() and len(scales) == len(module.scales)


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_a_drawing_stands_alone_and_says_what_it_shows(path) -> None:
    root = ElementTree.parse(path).getroot()
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("role") == "img" and root.get("aria-labelledby") == "title desc"
    assert title is not None and title.text and description is not None and len(description.text or "") > 200
    assert not re.search(r"""(href|src)="(?!#)|url\((?!#)|@import|<script|<image""", path.read_text("utf-8"))


def test_notebooks_show_every_drawing_with_words() -> None:
    shown = {
        target: words
        for source in sorted((paths.NOTEBOOKS / "src").glob("*.py"))
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", source.read_text("utf-8"))
    }
    assert {f"figures/{path.name}" for path in FIGURES} <= shown.keys()
    for target, words in shown.items():
        assert (paths.NOTEBOOKS / target).is_file() and len(words) > 50, target
