"""Labelling photographs with an ONNX network: what is kept, what is dropped and why, resuming."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from modnet_lib import paths
from modnet_lib.data.items import read_matte
from modnet_lib.data.manifest import training_items
from modnet_lib.inference import Matter
from modnet_lib.inference.deploy import export_onnx
from teacher_labels import Teacher, label_photographs, places_for, read_labels


def write_teacher(path: Path, size: int | str = 32, gain: float = 1.0, dtype: int = TensorProto.FLOAT) -> Path:
    """A network whose matte is `gain` times the red channel of its input."""
    image = helper.make_tensor_value_info("pixels", dtype, [1, 3, size, size])
    matte = helper.make_tensor_value_info("matte", dtype, [1, 1, size, size])
    kind = np.float16 if dtype == TensorProto.FLOAT16 else np.float32
    constants = [
        helper.make_tensor("start", TensorProto.INT64, [1], [0]),
        helper.make_tensor("end", TensorProto.INT64, [1], [1]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        onnx.numpy_helper.from_array(np.array(gain, kind), "gain"),
    ]
    nodes = [
        helper.make_node("Slice", ["pixels", "start", "end", "axis"], ["red"]),
        helper.make_node("Mul", ["red", "gain"], ["matte"]),
    ]
    graph = helper.make_graph(nodes, "teacher", [image], [matte], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def write_photograph(path: Path, red: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.dstack([red, np.full_like(red, 40), np.full_like(red, 90)])
    Image.fromarray(pixels).save(path)


def square(fill: int = 255, soft: int = 0) -> np.ndarray:
    """(64, 48) with a bright square, 24 pixels a side, and `soft` rows below it at one half."""
    red = np.zeros((64, 48), np.uint8)
    red[20:44, 12:36] = fill
    red[44 : 44 + soft, 12:36] = 128
    return red


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_the_matte_has_the_photographs_size_and_undoes_the_normalisation(tmp_path, dtype) -> None:
    # (red - 0.25) / 0.5, brought back by the network's gain alone: 0.5 * (x / 0.5) = x - 0.25
    teacher = Teacher(write_teacher(tmp_path / "t.onnx", gain=0.5, dtype=dtype), mean=0.25, std=0.5)
    smooth = np.tile(np.linspace(80, 240, 48).astype(np.uint8), (64, 1))
    matte = teacher(np.dstack([smooth, smooth, smooth]))
    assert (matte.shape, matte.dtype) == ((64, 48), np.float32)
    np.testing.assert_allclose(matte[:, 4:-4], smooth[:, 4:-4] / 255 - 0.25, atol=0.01)


def test_activations(tmp_path) -> None:
    red = np.dstack([square()] * 3)
    file = write_teacher(tmp_path / "t.onnx", gain=8.0)
    with pytest.raises(ValueError, match=r"lies in \[-8, 8\], expected one map.*; try the activation sigmoid"):
        Teacher(file)(red)
    sigmoid, stretched = (Teacher(file, activation=name)(red) for name in ("sigmoid", "minmax"))
    assert (sigmoid.max(), sigmoid.min()) == pytest.approx((1 / (1 + np.exp(-8)), 1 / (1 + np.exp(8))), abs=1e-5)
    assert (stretched.max(), stretched.min()) == pytest.approx((1, 0), abs=1e-5)


def test_wrong_networks_are_named(tmp_path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    for name in ("gone", "text"):
        with pytest.raises(ValueError, match=rf"{name}\.onnx is no ONNX network"):
            Teacher(tmp_path / f"{name}.onnx")
    free, fixed = write_teacher(tmp_path / "free.onnx", "side"), write_teacher(tmp_path / "fixed.onnx")
    with pytest.raises(ValueError, match="takes any size"):
        Teacher(free)
    assert Teacher(free, size=64, mean=0, std=1)(np.dstack([square()] * 3)).max() == 1
    with pytest.raises(ValueError, match="takes 32 x 32 pixels, not 64 x 64"):
        Teacher(fixed, size=64)
    with pytest.raises(ValueError, match="activation must be one of none, sigmoid, minmax, got 'softmax'"):
        Teacher(fixed, activation="softmax")


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Five photographs in a folder, one with a mask that agrees, one with a mask that does not."""
    folder = tmp_path / "mine"
    for name in ("agreed", "disputed", "model_agrees", "model_disagrees"):
        write_photograph(folder / "image" / f"{name}.png", square())
    write_photograph(folder / "image" / "soft.png", square(soft=12))
    (folder / "image" / "torn.png").write_bytes(b"torn")
    (folder / "mask").mkdir()
    for name, mask in (("agreed", square()), ("disputed", np.roll(square(), 12, axis=0))):
        Image.fromarray(mask).save(folder / "mask" / f"{name}.png")
    return folder


def opinion(image: np.ndarray) -> np.ndarray:
    """A model that finds the square, but not in the photograph whose blue has been changed."""
    return (image[..., 0] > 100) * (1.0 if image[0, 0, 2] == 90 else 0.0)


def run(folder: Path, teacher: Teacher, **options):
    items, places = places_for(str(folder), None, None)
    return label_photographs(items, teacher, places, opinion, **options)


def test_agreement_with_a_mask_or_a_model_decides(photographs, tmp_path) -> None:
    pixels = np.asarray(Image.open(photographs / "image" / "model_disagrees.png")).copy()
    pixels[..., 2] = 7
    Image.fromarray(pixels).save(photographs / "image" / "model_disagrees.png")
    teacher = Teacher(write_teacher(tmp_path / "t.onnx", 48), mean=0, std=1)
    labels = {label.id: label for label in run(photographs, teacher)}
    assert {key for key, label in labels.items() if not label.reason} == {"agreed", "model_agrees"}
    assert labels["agreed"].agreement > 0.9
    assert (labels["agreed"].against, labels["model_agrees"].against) == ("mask", "model")
    assert labels["disputed"].agreement == pytest.approx(1 / 3, abs=0.03)  # half of the square overlaps
    assert "agrees with the mask by 0.3" in labels["disputed"].reason
    assert labels["model_disagrees"].reason == "agrees with the model by 0.00 only"
    assert "half transparent" in labels["soft"].reason
    assert "torn.png" in labels["torn"].reason
    kept, dropped = (sorted(f.stem for f in (photographs / part).glob("*.png")) for part in ("alpha", "dropped"))
    assert kept == ["agreed", "model_agrees"]
    assert dropped == ["disputed", "model_disagrees", "soft"]
    np.testing.assert_allclose(read_matte(photographs / "alpha" / "agreed.png"), square() / 255, atol=0.6)
    assert Image.open(photographs / "dropped.jpg").size == (900, 150)  # three pairs
    # the folder can be trained on as it is
    assert [item.id for item in training_items(str(photographs))[2] if len(item.files) > 1]


def test_an_interrupted_call_continues_and_other_settings_are_refused(photographs, tmp_path) -> None:
    calls = []

    class Counting(Teacher):
        def __call__(self, image):
            calls.append(image.shape)
            return super().__call__(image)

    teacher = Counting(write_teacher(tmp_path / "t.onnx", 48), mean=0, std=1)
    first = run(photographs, teacher)
    assert len(calls) == 5  # the torn one is never shown
    lines = (photographs / "index.csv").read_text().splitlines(keepends=True)
    (photographs / "index.csv").write_text("".join(lines[:3]) + "disputed,0.3")  # cut within a line
    again = run(photographs, teacher)
    assert again == first
    assert 5 < len(calls) <= 8
    assert read_labels(photographs / "index.csv") == sorted(first)
    with pytest.raises(ValueError, match=r"threshold was 0\.86, now it is 0\.5"):
        run(photographs, teacher, threshold=0.5)


@pytest.mark.slow
def test_our_own_exported_network_as_the_teacher(tmp_path) -> None:
    import skimage.data

    folder = tmp_path / "mine"
    (folder / "image").mkdir(parents=True)
    astronaut = skimage.data.astronaut()
    Image.fromarray(astronaut).save(folder / "image" / "astronaut.png")
    Image.fromarray(skimage.data.coffee()).save(folder / "image" / "coffee.png")
    matter = Matter.from_pretrained(device="cpu")
    export_onnx(matter.network, tmp_path / "modnet.onnx")
    program = [sys.executable, paths.REPOSITORY / "data" / "teacher", tmp_path / "modnet.onnx", folder]
    result = subprocess.run(
        [*program, "--size", "512", "--mean", "0", "--std", "1"], capture_output=True, text=True, check=True
    )
    assert "mattes in" in result.stdout
    labels = {label.id: label for label in read_labels(folder / "index.csv")}
    assert not labels["astronaut"].reason
    expected = matter.resized(512, squash=True).alpha(astronaut)
    assert np.abs(read_matte(folder / "alpha" / "astronaut.png") - expected).mean() < 0.01
    settings = json.loads((folder / "teacher.json").read_text())
    assert (settings["size"], settings["mean"], settings["threshold"]) == (512, 0.0, 0.86)
