"""Exported files answer like the network, with any batch and size, or are not written."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib import paths
from modnet_lib.inference import Matter, deploy
from modnet_lib.network import MODNet, load_checkpoint

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def picture(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    small.resize((90, 70), Image.Resampling.BICUBIC).save(tmp_path / "p.png")
    return tmp_path / "p.png"


def test_what_does_not_fit_is_refused(tiny_network, tmp_path) -> None:
    with pytest.raises(ValueError, match="must end in"):
        deploy.export_onnx(tiny_network, tmp_path / "n.bin")
    given = MODNet(backbone="mobilenetv3_small_050", trimap_input=True)
    with pytest.raises(ValueError, match="trimap"):
        deploy.export_onnx(given, tmp_path / "n.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_copy_that_answers_otherwise_is_not_written(tiny_network, tmp_path, picture, monkeypatch) -> None:
    with torch.no_grad():
        tiny_network.fusion_branch.head.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"not written.* nan"):
        deploy.export_onnx(tiny_network, tmp_path / "n.onnx", [picture])
    with torch.no_grad():
        tiny_network.fusion_branch.head.bias.fill_(0)
    monkeypatch.setattr(deploy, "TOLERANCE", 0)  # less than rounding
    with pytest.raises(ValueError, match="not written"):
        deploy.export_onnx(tiny_network, tmp_path / "n.onnx", [picture])
    assert {f.name for f in tmp_path.iterdir()} == {"p.png"}


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_onnx(variant, paper_network, released_network, tmp_path, picture) -> None:
    network = paper_network if variant == "paper" else released_network
    assert deploy.export_onnx(network, tmp_path / "n.onnx", [picture]) <= deploy.TOLERANCE
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx")
    for shape in ((1, 3, 64, 256), (3, 3, 96, 64)):
        image = torch.rand(shape)
        (alpha,) = session.run(None, {"image": image.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(alpha, network(image).alpha, atol=1e-4)
    told = session.get_modelmeta().custom_metadata_map
    assert "RGB from 0 to 1; height and width multiples of 32" in told["image"]
    assert told["short_side"] == network.metadata.get("short_side", "512")
    # every convolution has its weights as one constant, which is what quantisation asks for
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(tmp_path / "n.onnx", tmp_path / "q.onnx", weight_type=QuantType.QUInt8)
    assert (tmp_path / "q.onnx").stat().st_size < 0.4 * (tmp_path / "n.onnx").stat().st_size
    (coarse,) = onnxruntime.InferenceSession(tmp_path / "q.onnx").run(None, {"image": image.numpy()})
    assert np.abs(coarse - alpha).mean() < 0.1


@pytest.mark.slow
def test_a_fixed_size_is_the_only_one(tiny_network, tmp_path, picture) -> None:
    assert deploy.export_onnx(tiny_network, tmp_path / "n.onnx", [picture], size=(64, 96)) <= deploy.TOLERANCE
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx")
    assert session.get_inputs()[0].shape[1:] == [3, 64, 96]
    assert "64 x 96" in session.get_modelmeta().custom_metadata_map["image"]
    with pytest.raises(Exception, match=r"(?i)invalid dimensions"):
        session.run(None, {"image": np.zeros((1, 3, 96, 64), np.float32)})
    with pytest.raises(ValueError, match="32"):
        deploy.export_onnx(tiny_network, tmp_path / "m.onnx", size=(64, 100))


@pytest.mark.slow
def test_the_example_needs_no_torch(tmp_path) -> None:
    deploy.export_onnx(load_checkpoint(paths.PRETRAINED), tmp_path / "n.onnx")
    source = paths.DATA / "samples" / "spm" / "image" / "spm_001.jpg"
    hook = "import sys\nfor name in ('torch', 'modnet_lib', 'torchvision'): sys.modules[name] = None\n"
    run = "import runpy\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    example = paths.REPOSITORY / "examples" / "onnx_without_torch.py"
    command = [sys.executable, "-I", "-c", hook + run, example, tmp_path / "n.onnx", source, tmp_path / "out.png"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    alpha = np.asarray(Image.open(tmp_path / "out.png"))[..., 3] / 255
    np.testing.assert_allclose(alpha, Matter.from_pretrained().alpha(source), atol=2e-3)
    assert len(example.read_text().splitlines()) <= 32
