"""From pictures to mattes: shrink on the CPU, one upload a batch, the network on its device, one read-out a matte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from second_device import build, second_device
from torch import nn

from modnet_lib.baselines import create_baseline, needs
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.data.readers import Labelled
from modnet_lib.evaluation.methods import Method
from modnet_lib.evaluation.protocol import Protocol, run_benchmark
from modnet_lib.inference import Matter
from modnet_lib.inference.bulk import Job
from modnet_lib.inference.bulk import run as matte_files
from modnet_lib.inference.deploy import deploy, export_onnx
from modnet_lib.inference.media import Clip
from modnet_lib.inference.video import matte_video
from modnet_lib.network import MODNet, Segmenter, create_backbone
from modnet_lib.training.semantic_head import fit_semantic_head, with_semantic_head

# deep copies of fake tensors look for their data, and there is nothing to load into `meta`
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer", "ignore:.*copying from a non-meta")
TINY = "mobilenetv3_small_050"
SIZES = [(90, 70), (90, 70), (64, 200)]
PICTURES = [np.zeros((*size, 3), np.uint8) for size in SIZES]
MADE = {
    "paper": lambda: MODNet(backbone=TINY),
    "released": lambda: MODNet("released", TINY),
    "segmenter": lambda: Segmenter(create_backbone(TINY)),
    "hatt": lambda: create_baseline("hatt", TINY),
}


def state(network: nn.Module) -> dict[str, Any]:
    """What a caller sees of a network: which tensors it has, where, which of them learn; the mode of every module."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    kept = {name: (id(one), one.device, one.dtype, one.requires_grad, one._version) for name, one in tensors.items()}
    return kept | {f"{name}.training": module.training for name, module in network.named_modules()}


@pytest.mark.parametrize("name", MADE)
def test_matter_uploads_batches_and_reads_mattes(name, read) -> None:
    network = build(MADE[name])
    with second_device(uploads=True):
        matter = Matter(network, short_side=64, device="cuda", refine=True)
        assert matter.device == torch.device("cuda:0")
        mattes = matter.alphas(PICTURES)
    assert [matte.shape for matte in mattes] == read == SIZES
    read.clear()
    if name in ("paper", "released"):
        with second_device(uploads=True):
            prediction = matter.predict(PICTURES[0])
        assert read == [(4, 4), (90, 70), (90, 70)]
        assert prediction.semantic.shape == (4, 4)


@pytest.mark.parametrize("name", ["dim_trimap", "bm", "crgnn", "lfm"])  # all needs
def test_methods_are_given_what_they_need_on_their_device(name, read) -> None:
    network = build(lambda: create_baseline(name, "mobilenet_v2" if name == "crgnn" else TINY)).eval()
    image, trimap = PICTURES[0], np.full(SIZES[0], 0.5)
    given = {"trimap": trimap, "background": image, "clip": [(image, trimap)] * 2}
    with second_device(uploads=True):
        matte = Method(network, 64).alpha(image, **{key: given[key] for key in needs(network)})
    assert [matte.shape] == read == [SIZES[0]]


@pytest.mark.parametrize(("backend", "dtype"), [("eager", torch.float32), ("fused", torch.bfloat16)])
def test_clips_files_and_benchmarks(backend, dtype, meta, tmp_path, make_clip) -> None:
    matter = Matter(MADE["released"](), short_side=64, device="meta", backend=backend, dtype=dtype)
    size = (64, 96)
    pictures = [np.full((*size, 3), value, np.uint8) for value in range(5)]
    clip = make_clip("in.mkv", pictures)
    report = matte_video(matter, clip, tmp_path / "out.mkv", batch_size=2, background="matte")
    assert len(report.repaired) == 5
    assert len(list(Clip(tmp_path / "out.mkv"))) == 5
    Image.fromarray(pictures[0]).save(tmp_path / "in.png")
    (done,) = matte_files(matter, [Job(tmp_path / "in.png", tmp_path / "out.png")], "matte")
    assert not done.error
    readers = {str(k): lambda one=one: Labelled(one, one[..., 0], {}) for k, one in enumerate(pictures[:3])}
    (record, *_) = run_benchmark(matter, readers, protocol=Protocol(side=64, metrics=("mad",)), batch_size=2)
    assert record.errors["mad"] == pytest.approx(0.5)
    assert meta == [size] * (5 + 1 + 3)


USES = {
    "Matter": lambda network, place: Matter(network, short_side=64, device=place).predict(PICTURES[0]),
    "fused": lambda network, place: Matter(network, short_side=64, device=place, backend="fused").alpha(PICTURES[0]),
    "deploy": lambda network, _: deploy(network),
    "fit_semantic_head": lambda network, _: fit_semantic_head(network, SAMPLES, 64, steps=1),
    "with_semantic_head": lambda network, _: with_semantic_head(network),
}
SAMPLES = [MattingSample(one[:64, :64], one[:64, :64, 0], one, one) for one in PICTURES * 2]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(("at", "place"), [("cpu", "cpu"), ("cpu", "meta"), ("meta", "meta")])
def test_nothing_moves_or_changes_the_network_it_is_given(use, at, place, meta) -> None:
    network = MODNet() if use == "with_semantic_head" else MODNet(backbone=TINY)
    network.detail_branch.eval().requires_grad_(False)  # no two parts are alike
    network.to(at)
    before = state(network)
    USES[use](network, place)
    assert state(network) == before


@pytest.mark.slow
def test_export_does_not_change_the_network(tmp_path) -> None:
    network = MODNet(backbone=TINY)
    before = state(network)
    assert export_onnx(network, tmp_path / "network.onnx") < 1e-4
    assert state(network) == before


def test_methods_refuse_a_network_in_training_mode() -> None:
    with pytest.raises(ValueError, match=r"call its eval\(\) first"):
        Method(MODNet(backbone=TINY), 64).alpha(PICTURES[0])
