"""The command line: results in files, mistakes in words and exit codes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from modnet_lib.cli import app
from modnet_lib.inference import Matter
from modnet_lib.network import load_checkpoint, save_checkpoint
from modnet_lib.profiles import DataConfig, Profile, Stage, TrainingConfig


@pytest.fixture
def call():
    def run(*arguments) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, "".join(result.output.split("\n"))  # the console breaks long lines

    return run


@pytest.fixture
def checkpoint(tiny_network, tmp_path):
    save_checkpoint(tiny_network, tmp_path / "n.safetensors")
    return tmp_path / "n.safetensors"


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    files = [tmp_path / "first.jpg", tmp_path / "second.png"]
    for file, size in zip(files, [(40, 64), (64, 64)], strict=True):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file)
    return files


def test_matte_writes_a_cutout_for_each_picture(call, checkpoint, pictures, tmp_path) -> None:
    folder = tmp_path / "out" / "deep"
    code, _ = call("matte", *pictures, "--folder", folder, "--checkpoint", checkpoint)
    assert code == 0
    matter = Matter(load_checkpoint(checkpoint))
    assert {p.name for p in folder.iterdir()} == {"first.png", "second.png"}
    for picture in pictures:
        written = Image.open(folder / f"{picture.stem}.png")
        assert written.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(written), np.asarray(matter.cutout(picture)))


def test_matte_alone(call, checkpoint, pictures, tmp_path) -> None:
    code, _ = call("matte", pictures[1], "--alpha", "--folder", tmp_path / "out", "--checkpoint", checkpoint)
    assert code == 0
    written = Image.open(tmp_path / "out" / "second.png")
    expected = Matter(load_checkpoint(checkpoint)).alpha(pictures[1])
    assert written.mode == "L"
    np.testing.assert_array_equal(np.asarray(written), np.round(expected * 255).astype(np.uint8))


def test_mistakes_end_with_a_message_and_1(call, checkpoint, pictures, tmp_path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture")
    for arguments, message in (
        (("matte", tmp_path / "gone.jpg", "--checkpoint", checkpoint), "gone.jpg"),
        (("matte", broken, "--checkpoint", checkpoint), "broken.jpg"),
        (("matte", pictures[0], "--checkpoint", tmp_path / "gone.safetensors"), "gone.safetensors"),
        (("matte", pictures[0], "--checkpoint", broken), "broken.jpg"),
        (("evaluate", "--checkpoint", tmp_path / "gone.safetensors"), "gone.safetensors"),
        (("train", "no_such_profile", "--folder", tmp_path / "run"), "no_such_profile"),
        (("train", tmp_path / "gone.yaml", "--folder", tmp_path / "run"), "gone.yaml"),
    ):
        options = ("--folder", tmp_path / "out") if arguments[0] == "matte" else ()
        code, output = call(*arguments, *options)
        assert code == 1, arguments
        assert message in output
        assert "Traceback" not in output


def test_train_and_evaluate(call, without_data, tmp_path) -> None:
    profile = Profile(
        name="micro",
        backbone="mobilenetv3_small_050",
        validation=0,
        data=DataConfig(portraits=1, portrait_size=64, scenes=1),
        training=TrainingConfig(stages=(Stage(64, 2, 2),), learning_rate=1e-3),
    )
    (tmp_path / "recipe.yaml").write_text(profile.to_yaml())
    code, output = call("train", tmp_path / "recipe.yaml", "--folder", tmp_path / "run")
    assert code == 0, output
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    # the same folder with another schedule is a mistake
    other = dataclasses.replace(profile, training=TrainingConfig(stages=(Stage(64, 2, 3),)))
    (tmp_path / "recipe.yaml").write_text(other.to_yaml())
    code, output = call("train", tmp_path / "recipe.yaml", "--folder", tmp_path / "run")
    assert code == 1
    assert "another schedule" in output

    report = tmp_path / "reports" / "r.json"
    arguments = ("--count", 1, "--short-side", 64, "--output", report)
    code, output = call("evaluate", "--checkpoint", tmp_path / "run" / "modnet.safetensors", *arguments)
    assert code == 0
    assert "procedural" in output
    result = json.loads(report.read_text())
    assert result["pictures"] == 1
    assert f"{result['mean']['mad']:.4f}" in output


def test_pictures_of_the_same_name_do_not_overwrite_each_other(call, checkpoint, tmp_path) -> None:
    code, text = call("matte", "a/x.jpg", "b/x.png", "--folder", tmp_path / "out", "--checkpoint", checkpoint)
    assert code == 1
    assert "x.png" in text
    assert not (tmp_path / "out").exists()
