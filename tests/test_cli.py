"""The command line: results in files, mistakes in words and exit codes."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import sys
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from modnet_lib import paths
from modnet_lib.cli import app
from modnet_lib.cli.common import console
from modnet_lib.evaluation.records import read_records
from modnet_lib.inference import Matter
from modnet_lib.inference.media import Clip
from modnet_lib.network import load_checkpoint, save_checkpoint
from modnet_lib.notebook.inspector import MatteInspector
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
    code, output = call("matte", *pictures, folder, "--model", checkpoint)
    assert code == 0
    assert "2 written" in output
    matter = Matter.from_pretrained(checkpoint)
    assert {p.name for p in folder.iterdir()} == {"first.png", "second.png"}
    for picture in pictures:
        written = Image.open(folder / f"{picture.stem}.png")
        assert written.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(written), np.asarray(matter.cutout(picture)))
    code, output = call("matte", *pictures, folder, "--model", checkpoint)
    assert (code, "0 written, 2 already there" in output) == (0, True)


def test_a_file_becomes_a_file_and_is_replaced(call, checkpoint, pictures, tmp_path) -> None:
    target, matter = tmp_path / "new" / "x.png", Matter.from_pretrained(checkpoint)
    for background in ("white", str(pictures[0]), "blur"):
        code, output = call("matte", pictures[1], target, "--background", background, "--model", checkpoint)
        assert code == 0, output
        expected = np.asarray(matter.composite(pictures[1], background))
        np.testing.assert_array_equal(np.asarray(Image.open(target)), expected)


def test_three_entry_points_give_the_same_matte(call, checkpoint, pictures, tmp_path) -> None:
    code, _ = call("matte", pictures[1], tmp_path / "m.png", "--alpha", "--model", checkpoint)
    assert code == 0
    written = Image.open(tmp_path / "m.png")
    matter = Matter.from_pretrained(checkpoint)
    alpha = matter.alpha(pictures[1])
    assert written.mode == "L"
    np.testing.assert_array_equal(np.asarray(written), np.round(alpha * 255).astype(np.uint8))
    content, now = pictures[1].read_bytes(), datetime.datetime.now(datetime.UTC)
    upload = {"name": "second.png", "type": "image/png", "size": len(content), "content": content}
    upload["last_modified"] = now
    inspector = MatteInspector(matter, {"first": pictures[0]})
    inspector.upload.value = (upload,)
    np.testing.assert_array_equal(inspector.prediction("second.png").alpha, alpha)


def test_pipes(checkpoint, pictures, tmp_path) -> None:
    run = partial(CliRunner().invoke, app, input=pictures[1].read_bytes())
    model = ["--model", str(checkpoint)]
    result = run(["matte", "-", "-", "--alpha", *model])
    assert result.exit_code == 0, result.output
    expected = np.round(Matter.from_pretrained(checkpoint).alpha(pictures[1]) * 255).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(result.stdout_bytes))), expected)
    assert run(["matte", "-", str(tmp_path / "o.png"), "--alpha", *model]).exit_code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "o.png")), expected)
    for arguments, message in ((["-"], "say where to"), (["-", "a.png", "b"], "one picture")):
        result = run(["matte", *arguments, *model])
        assert result.exit_code == 1
        assert message in result.stderr
    result = CliRunner().invoke(app, ["matte", "-", "-", *model], input=b"nothing")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no picture" in result.stderr


def test_a_folder_with_a_bad_file_ends_with_3_and_names_it(call, checkpoint, pictures, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    for picture in pictures:
        picture.rename(tmp_path / "in" / picture.name)
    (tmp_path / "in" / "broken.jpg").write_text("no picture")
    code, output = call("matte", tmp_path / "in", tmp_path / "out", "--format", "webp", "--model", checkpoint)
    assert code == 3
    assert "broken.jpg is damaged" in output
    assert "2 written, 0 already there, 1 failed" in output
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"first.webp", "second.webp"}


def test_help_fits_a_screen_and_shells_complete(call) -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"})
    assert len(result.output.splitlines()) <= 40
    result = CliRunner().invoke(app, ["matte", "--help"], env={"COLUMNS": "120"})
    assert len(result.output.splitlines()) <= 60
    result = CliRunner().invoke(
        app,
        [],
        env={"_MODNET_COMPLETE": "complete_bash", "COMP_WORDS": "modnet ma", "COMP_CWORD": "1"},
        prog_name="modnet",
    )
    assert result.output.split() == ["matte"]


def test_export_names_the_difference(call, checkpoint, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("modnet_lib.inference.deploy.export_onnx", lambda network, path, images, size: 3e-6)
    code, output = call("export", tmp_path / "n.onnx", "--model", checkpoint)
    assert (code, "3.0e-06" in output) == (0, True)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it was not installed
    code, output = call("export", tmp_path / "n.onnx", "--model", checkpoint)
    assert code == 1 and "onnxruntime" in output and "extras train, export" in output
    code, output = call("export", tmp_path / "n.bin", "--model", checkpoint)
    assert (code, "must end in .onnx" in output) == (1, True)


def test_adapt_writes_a_network_of_the_domain(call, checkpoint, pictures, without_data) -> None:
    tmp_path, frames = without_data, without_data / "frames"
    frames.mkdir()
    for picture in pictures:
        picture.rename(frames / picture.name)
    output = tmp_path / "adapted.safetensors"
    arguments = ("adapt", checkpoint, frames, "--output", output, "--epochs", 1, "--short-side", 64, "--fit", 4)
    code, text = call(*arguments)
    assert code == 0
    assert "2 pictures" in " ".join(text.split())
    assert "weights of epoch 1" in text
    before, after = load_checkpoint(checkpoint), load_checkpoint(output)
    assert after.metadata["adapted"] == "SOC, paper, epoch 1"
    names = {k for k, v in before.state_dict().items() if not torch.equal(v, after.state_dict()[k])}
    assert any("head" in name for name in names)
    assert not any("running" in name for name in names)
    for wrong, message in (
        (("adapt", checkpoint, tmp_path / "gone", "--output", output), "no video, no folder"),
        (("adapt", checkpoint, frames, "--output", tmp_path / "x.ckpt"), "safetensors"),
        ((*arguments, "--preset", "mine"), "paper, released"),
        ((*arguments, "--preset", "released"), "another run"),
    ):
        code, text = call(*wrong)
        assert (code, message in text) == (1, True), text


@pytest.mark.parametrize(("options", "until"), [((), 1.1), (("--until", 0), 0), (("--preset", "released"), 1.1)])
def test_adapt_stops_early_unless_told_otherwise(
    call, checkpoint, pictures, tmp_path, monkeypatch, options, until
) -> None:
    seen = []

    def adapt(network, frames, config, folder, **options):
        seen.append(config.until)
        raise ValueError("seen")

    monkeypatch.setattr("modnet_lib.training.adaptation.adapt", adapt)
    output = tmp_path / "adapted.safetensors"
    code, _ = call("adapt", checkpoint, pictures[0].parent, "--output", output, "--fit", 0, *options)
    assert (code, seen) == (1, [until])


def test_video_end_to_end(call, checkpoint, make_clip, tmp_path) -> None:
    rng = np.random.default_rng(0)
    clip = make_clip("in.mp4", [rng.integers(0, 256, (40, 64, 3), dtype=np.uint8) for _ in range(4)])
    options = ("--model", checkpoint, "--background", "#102030", "--frames", 3, "--batch-size", 2)
    code, output = call("video", clip, tmp_path / "out.mp4", "--ofd", *options)
    assert code == 0 and "3 frames" in output and "repaired" in output
    code, output = call("video", clip, tmp_path / "half.mp4", "--dtype", "bfloat16", *options)
    assert code == 0 and "3 frames" in output
    code, output = call("video", clip, tmp_path / "half.mp4", "--dtype", "int8", *options)
    assert code == 1 and "dtype must be one of" in output
    code, output = call("video", clip, tmp_path / "frames", "--no-ofd", "--model", checkpoint)
    assert code == 0 and "repaired" not in output
    matter = Matter(load_checkpoint(checkpoint))
    for file, frame in zip(sorted((tmp_path / "frames").glob("*.png")), Clip(clip), strict=True):
        expected = np.round(matter.alpha(frame.image) * 255)
        assert np.abs(np.asarray(Image.open(file))[..., 3] - expected).max() <= 1
    code, output = call("video", tmp_path / "none.mp4", tmp_path / "o.mp4", "--model", checkpoint)
    assert code == 1 and "no clip at" in output


def test_mistakes_end_with_a_message_and_1(call, checkpoint, pictures, tmp_path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture")
    for arguments, message in (
        (("matte", tmp_path / "gone.jpg", tmp_path / "out", "--model", checkpoint), "gone.jpg"),
        (("matte", pictures[0], tmp_path / "out", "--model", tmp_path / "gone.safetensors"), "gone.safetensors"),
        (("matte", pictures[0], tmp_path / "out", "--model", broken), "broken.jpg"),
        (("matte", pictures[0], tmp_path / "out.jpg", "--model", checkpoint), "transparency"),
        (("matte", pictures[0], tmp_path / "out", "--dtype", "int8"), "int8"),
        (("matte", pictures[0], tmp_path / "out", "--background", "whiet", "--model", checkpoint), "whiet"),
        (("evaluate", "--model", tmp_path / "gone.safetensors"), "gone.safetensors"),
        (("train", "no_such_profile", "--folder", tmp_path / "run"), "no_such_profile"),
        (("train", tmp_path / "gone.yaml", "--folder", tmp_path / "run"), "gone.yaml"),
        (("train", "smoke", "--folder", broken), "broken.jpg"),
    ):
        code, output = call(*arguments)
        assert code == 1, arguments
        assert message in output
        assert "Traceback" not in output


def test_train(call, without_data, tmp_path) -> None:
    profile = Profile(
        name="micro",
        backbone="mobilenetv3_small_050",
        validation=0,
        data=DataConfig(portraits=1, scenes=1),
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
    assert "training.stages was" in output


def test_evaluate_measures_and_goes_on(call, checkpoint, without_data, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    report = tmp_path / "reports" / "r.csv"
    arguments = ("evaluate", "--model", checkpoint, "--short-side", 64, "--output", report)
    assert call(*arguments, "--count", 2)[0] == 0
    code, output = call(*arguments)
    assert code == 0
    records = read_records(report)
    assert [record.name for record in records] == [f"spm_{number:03d}" for number in range(24)]
    assert {record.strata["held_object"] for record in records} == {"0", "1"}
    assert f"{np.mean([record.errors['mad'] for record in records]):.4f}" in output
    folder = paths.SAMPLES / "spm"
    truth = np.asarray(Image.open(folder / "matte" / "spm_001.png")) / 255
    alpha = Matter(load_checkpoint(checkpoint), short_side=64).alpha(folder / "image" / "spm_001.jpg")
    assert records[1].errors["mad"] == pytest.approx(np.abs(alpha - truth).mean(), rel=1e-4)
    for wrong, told in (
        (("--benchmark", "imagenet"), "ppm100"),
        (("--benchmark", "ppm100"), "PPM-100"),
        (("--benchmark", "spm100"), "python data/drawn_people spm100"),
        (("--protocol", "mine"), "squash"),
    ):
        code, output = call("evaluate", "--model", checkpoint, *wrong)
        assert code == 1
        assert told in output


def test_evaluate_measures_a_folder_of_pairs_with_another_tools_mattes(call, without_data, tmp_path) -> None:
    alpha = np.zeros((40, 50), np.uint8)
    alpha[8:30, 10:40] = 255
    photograph = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for folder, values in (
        ("set/image", photograph),
        ("set/alpha", alpha // 255),
        ("theirs", np.dstack([photograph, alpha])),
    ):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / folder / "me.png")
    arguments = ("evaluate", "--benchmark", tmp_path / "set", "--model", tmp_path / "theirs")
    code, output = call(*arguments, "--output", tmp_path / "out.csv")
    assert code == 0, output
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert float(dict(zip(header.split(","), row.split(","), strict=True))["mad"]) == 0
    Image.fromarray(np.where(alpha[..., None] > 0, photograph, 0).astype(np.uint8)).save(tmp_path / "theirs/me.png")
    code, output = call(*arguments)
    assert code == 1
    assert "looks like a colour cut-out" in output


def test_masks_first_then_mattes(call, without_data, tmp_path) -> None:
    steps = TrainingConfig(stages=(Stage(64, 2, 1),), learning_rate=1e-3)
    profile = Profile(
        name="micro",
        backbone="mobilenetv3_small_050",
        validation=0,
        data=DataConfig(portraits=1, scenes=1),
        training=steps,
        pretraining=dataclasses.replace(steps, objective="segmentation"),
    )
    (tmp_path / "recipe.yaml").write_text(profile.to_yaml())
    common = ("train", tmp_path / "recipe.yaml", "--folder")
    assert call(*common, tmp_path / "masks", "--recipe", "pretraining")[0] == 0
    backbone = tmp_path / "masks" / "backbone.safetensors"
    code, output = call(*common, tmp_path / "mattes", "--backbone-weights", backbone)
    assert code == 0, output
    assert Profile.load(tmp_path / "mattes" / "recipe.yaml").backbone_weights == str(backbone)
    code, output = call(*common, tmp_path / "none", "--recipe", "magic")
    assert code == 1
    assert "pretraining" in output
    # rounds begin with their own pre-training, unless a backbone is given
    (tmp_path / "recipe.yaml").write_text(dataclasses.replace(profile, rounds=({},)).to_yaml())
    for options, folders in (((), {"pretraining", "round1"}), (("--backbone-weights", backbone), {"round1"})):
        folder = tmp_path / f"rounds{len(options)}"
        code, output = call(*common, folder, *options)
        assert code == 0, output
        assert {path.name for path in folder.iterdir() if path.is_dir()} == folders
    assert Profile.load(folder / "round1" / "recipe.yaml").backbone_weights == str(backbone)


def test_grid_prints_the_table(call, monkeypatch, tmp_path) -> None:
    errors = {
        "none": {"mad": [[0.2, 0.3], [0.2, 0.3]], "mse": [[0.0251]]},
        "semantic": {"mad": [[0.1, 0.2]], "mse": [[0.01]]},
    }
    result = {"errors": {"natural": errors}, "provenance": "two pictures"}
    asked = {}

    def run_grid(grid, profile, folder, rows, device):
        asked.update(grid=grid.name, profile=profile.name, folder=folder, rows=rows, device=device)
        asked["seeds"] = profile.seeds
        return result

    monkeypatch.setattr("modnet_lib.training.grid.run_grid", run_grid)
    common = ("grid", "ablation", "smoke", "--folder", tmp_path, "--row", "none")
    code, output = call(*common, "--row", "semantic", "--seeds", "5")
    assert code == 0
    expected = {"profile": "smoke", "folder": tmp_path, "rows": ["none", "semantic"], "device": None, "seeds": 5}
    assert asked == expected | {"grid": "ablation"}
    for expected in ("0.0251", "0.1500", "+ L_s", "two pictures"):
        assert expected in output
    code, output = call(*common, "--row", "magic")
    assert code == 1
    assert "row must be one of none, semantic" in output


def test_pictures_of_the_same_name_do_not_overwrite_each_other(call, pictures, tmp_path) -> None:
    (tmp_path / "b").mkdir()
    other = pictures[0].rename(tmp_path / "b" / "second.png")
    code, text = call("matte", pictures[1], other, tmp_path / "out")
    assert code == 1
    assert "second.png" in text
    assert not (tmp_path / "out").exists()


# --- modnet data --------------------------------------------------------------------------------------


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """Two of a user's own pairs below MODNET_DATA."""
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    for folder in ("image", "alpha"):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        for name in ("a", "[b]"):  # brackets are markup to rich
            shade = 9 if folder == "image" else 200
            Image.fromarray(np.full((8, 8), shade, np.uint8)).save(tmp_path / "pairs" / folder / f"{name}.png")
    return tmp_path / "pairs"


def test_data_list_says_what_is_at_hand(call, pairs, monkeypatch) -> None:
    monkeypatch.setattr(console, "_width", 200)
    code, text = call("data", "list")
    assert code == 0
    rows = {cells[1].strip(): cells for line in text.split("││") if len(cells := ["", *line.split("│")]) > 4}
    assert "9,421" in text and str(pairs.parent) in text
    assert "yes" in rows["pairs"][4] and "no" in rows["cutouts"][4]
    monkeypatch.setenv("MODNET_DATA", str(pairs / "gone"))
    code, text = call("data", "list")
    assert code == 1 and "MODNET_DATA" in text


def test_data_check_counts_and_fails(call, pairs) -> None:
    code, text = call("data", "check", "pairs")
    assert code == 0 and "pairs: 2 fine, 0 wrong" in text
    (pairs / "alpha" / "[b].png").unlink()
    code, text = call("data", "check", "pairs", "--root", pairs)
    assert code == 1 and "1 fine, 1 wrong" in text
    assert "alpha/[b].jpg" in text or "alpha/[b]." in text
    for name, words in (("cutouts", "no copy of Your cut-outs"), ("imagenet", "no source 'imagenet'")):
        code, text = call("data", "check", name)
        assert code == 1 and words in text and "Traceback" not in text


def test_data_fetch_says_where_to_ask_and_then_checks(call, pairs) -> None:
    code, text = call("data", "fetch", "amd")
    assert code == 1
    assert "bprice@adobe.com" in text and str(pairs.parent / "Combined_Dataset") in text
    assert not (pairs.parent / "Combined_Dataset").exists()
    code, text = call("data", "fetch", "pairs")  # there already
    assert code == 0 and "2 fine" in text


def test_data_fetch_downloads_what_is_open_and_missing(call, pairs, monkeypatch) -> None:
    asked = []

    def fetch(url, target, **options):
        asked.append((url, target, options))
        target.mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(target / "x.png")
        return "f" * 64

    monkeypatch.setattr("modnet_lib.data.downloads.fetch", fetch)
    root = pairs.parent / "backgrounds"
    (root / "office").mkdir(parents=True)
    code, text = call("data", "fetch", "backgrounds")
    assert code == 0 and "3 fine, 0 wrong" in text
    assert {target for _, target, _ in asked} == {root / name for name in ("landscape", "home", "city")}
    assert "f" * 64 in text and "pin it" in text
    city = next(options for _, target, options in asked if target.name == "city")
    assert city["keep"] and "sha256" not in city

    def fail(*_arguments, **_options):
        raise ValueError("the server answered with a web page")

    monkeypatch.setattr("modnet_lib.data.downloads.fetch", fail)
    code, text = call("data", "fetch", "ccp")
    assert code == 1 and "web page" in text and "Traceback" not in text


def test_data_prepare_makes_mattes_and_names_failures(call, tmp_path, without_data) -> None:
    root, folder = tmp_path / "sps", tmp_path / "cache" / "prepared" / "sps"
    square = [[10, 10], [30, 10], [30, 30], [10, 30]]
    person = {"classTitle": "person_poly", "points": {"exterior": square, "interior": []}}
    rng = np.random.default_rng(0)
    for name, objects in (("a", [person]), ("b", [])):
        for part in ("img", "ann"):
            (root / "ds1" / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(root / f"ds1/img/{name}.png")
        annotation = {"size": {"height": 40, "width": 40}, "objects": objects}
        (root / f"ds1/ann/{name}.png.json").write_text(json.dumps(annotation))
    arguments = ("data", "prepare", "sps", "--root", root, "--workers", 1)
    code, text = call(*arguments)
    assert code == 1 and "1 ready, 1 failed" in text and "empty: no person in it" in text
    made = sorted(p.name.rpartition("_")[2] for p in (folder / "ds1").glob("a_*"))
    assert made == ["alpha.png", "background.jpg", "foreground.jpg"]
    (root / "ds1/ann/b.png.json").write_text((root / "ds1/ann/a.png.json").read_text())
    code, text = call(*arguments)
    assert code == 0 and "2 ready, 0 failed" in text
    code, text = call("data", "prepare", "ppm100", "--root", root)
    assert code == 1 and "no masks" in text
