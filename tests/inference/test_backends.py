"""Backends that do not fit are refused; compiled code and ONNX Runtime answer alike."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from modnet_lib import paths
from modnet_lib.inference import Matter
from modnet_lib.network import Segmenter, create_backbone


@pytest.mark.parametrize(
    ("options", "message"),
    [({"backend": "turbo"}, "turbo"), ({"backend": "onnxruntime", "dtype": torch.float16}, "float32")],
)
def test_what_does_not_fit_is_refused(tiny_network, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Matter(tiny_network, device="cpu", **options)


def test_onnx_wants_a_modnet() -> None:
    with pytest.raises(ValueError, match="MODNet"):
        Matter(Segmenter(create_backbone()), device="cpu", backend="onnxruntime")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "compiled"])
def test_other_engines_answer_alike(tiny_network, backend, without_data, monkeypatch) -> None:
    if backend == "compiled" and not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler")
    picture = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    expected = Matter(tiny_network, short_side=64, device="cpu").alpha(picture)
    matter = Matter(tiny_network, short_side=64, device="cpu", backend=backend)
    np.testing.assert_allclose(matter.alpha(picture), expected, atol=1e-4)
    if backend == "onnxruntime":  # exported once, then read from the cache
        assert len(list((paths.CACHE / "onnx").glob("*.onnx"))) == 1
        monkeypatch.setattr("modnet_lib.inference.deploy.export_onnx", None)
        again = Matter(tiny_network, short_side=64, device="cpu", backend=backend)
        np.testing.assert_array_equal(again.alpha(picture), matter.alpha(picture))
