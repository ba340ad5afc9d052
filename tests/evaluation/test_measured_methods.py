"""A method is given what it needs at the network's size, and its mattes come back at the picture's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modnet_lib.baselines import create_baseline
from modnet_lib.evaluation.methods import Method, open_model, trimap_of
from modnet_lib.inference import Matter
from modnet_lib.network import MODNet, save_checkpoint

TINY = "mobilenetv3_small_050"


def build(name: str) -> Method:
    torch.manual_seed(0)
    return Method(create_baseline(name, "mobilenet_v2" if name == "crgnn" else TINY).eval(), 64)


def test_methods_are_given_what_they_need(make_sample) -> None:
    sample = make_sample(0, 80, 70)
    trimap = (sample.alpha > 127) * 1.0
    bm = build("bm")
    assert bm.alpha(sample.image, background=sample.background).shape == (80, 70)
    with pytest.raises(ValueError, match="BM needs"):
        bm.alpha(sample.image)
    # a trimap without anything unknown is the answer
    alpha = build("crgnn").alpha(sample.image, trimap, clip=[(sample.image, trimap)] * 2)
    assert abs(alpha - trimap).max() <= 1
    assert ((alpha > 0.5) == (trimap > 0.5)).mean() > 0.95


def test_trimaps_are_checked(make_sample, tiny_network) -> None:
    sample = make_sample(0, 80, 70)
    trimap = trimap_of(sample.alpha / 255)
    assert set(np.unique(trimap)) == {0, 0.5, 1}
    network = MODNet(backbone=TINY, trimap_input=True).eval()
    for wrong in (None, trimap[:-1], trimap + 0.25):
        with pytest.raises(ValueError, match="needs a trimap"):
            Method(network, 64).alpha(sample.image, wrong)
    with pytest.raises(ValueError, match="without trimap_input"):
        Method(tiny_network.eval(), 64).alpha(sample.image, trimap)


def test_a_picture_alone_gives_what_matter_gives(make_sample, tiny_network) -> None:
    image = make_sample(1, 75, 90).image
    expected = Matter(tiny_network, short_side=64, device="cpu").alpha(image)
    np.testing.assert_array_equal(Method(tiny_network.eval(), 64).alpha(image), expected)


def test_a_path_is_a_folder_or_a_checkpoint(tmp_path, tiny_network) -> None:
    assert open_model(tmp_path) == tmp_path
    save_checkpoint(tiny_network, tmp_path / "n.safetensors")
    assert isinstance(open_model(tmp_path / "n.safetensors"), Matter)
    save_checkpoint(MODNet(backbone=TINY, trimap_input=True), tmp_path / "t.safetensors")
    assert isinstance(open_model(tmp_path / "t.safetensors"), Method)
