"""Exported files answer like the network, with any batch and size, or are not written."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib import paths
from modnet_lib.inference import Matter, export
from modnet_lib.network import MODNet, load_checkpoint

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def picture(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    small.resize((90, 70), Image.Resampling.BICUBIC).save(tmp_path / "p.png")
    return tmp_path / "p.png"


@pytest.mark.parametrize("write", [export.export_onnx, export.export_program])
def test_what_does_not_fit_is_refused(write, tiny_network, tmp_path) -> None:
    with pytest.raises(ValueError, match="must end in"):
        write(tiny_network, tmp_path / "n.bin")
    suffix = ".onnx" if write is export.export_onnx else ".pt2"
    given = MODNet(backbone="mobilenetv3_small_050", trimap_input=True)
    with pytest.raises(ValueError, match="trimap"):
        write(given, tmp_path / f"n{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_copy_that_answers_otherwise_is_not_written(tiny_network, tmp_path, picture) -> None:
    def write(module, file):
        file.write_bytes(b"something")
        return lambda image: module(image) + 2e-4 * (image.shape[-1] == 96)  # wrong at one size only

    with pytest.raises(ValueError, match="not written"):
        export._export(tiny_network.eval(), tmp_path / "n.onnx", ".onnx", write, [picture])
    with pytest.raises(ValueError, match="nan"):
        export._export(
            tiny_network, tmp_path / "n.onnx", ".onnx", lambda m, f: lambda i: m(i) * float("nan"), []
        )
    assert {f.name for f in tmp_path.iterdir()} == {"p.png"}


@pytest.mark.slow
def test_torch_export(tiny_network, tmp_path, picture) -> None:
    network = tiny_network.eval()
    assert export.export_program(network, tmp_path / "n.pt2", [picture]) <= export.TOLERANCE
    module = torch.export.load(tmp_path / "n.pt2").module()
    for shape in ((1, 3, 64, 256), (5, 3, 96, 64)):
        image = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(module(image), network(image).alpha, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_onnx(variant, paper_network, released_network, tmp_path, picture) -> None:
    network = paper_network if variant == "paper" else released_network
    assert export.export_onnx(network, tmp_path / "n.onnx", [picture]) <= export.TOLERANCE
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx")
    for shape in ((1, 3, 64, 256), (3, 3, 96, 64)):
        image = torch.rand(shape)
        (alpha,) = session.run(None, {"image": image.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(alpha, network(image).alpha, atol=1e-4)


@pytest.mark.slow
def test_the_example_needs_no_torch(tmp_path) -> None:
    export.export_onnx(load_checkpoint(paths.PRETRAINED), tmp_path / "n.onnx")
    source = paths.DATA / "samples" / "spm" / "image" / "spm_001.jpg"
    hook = "import sys\nfor name in ('torch', 'modnet_lib', 'torchvision'): sys.modules[name] = None\n"
    run = "import runpy\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    example = paths.REPOSITORY / "examples" / "onnx_without_torch.py"
    command = [
        sys.executable,
        "-I",
        "-c",
        hook + run,
        example,
        tmp_path / "n.onnx",
        source,
        tmp_path / "out.png",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    alpha = np.asarray(Image.open(tmp_path / "out.png"))[..., 3] / 255
    np.testing.assert_allclose(alpha, Matter.from_pretrained().alpha(source), atol=2e-3)
    assert len(example.read_text().splitlines()) <= 32
