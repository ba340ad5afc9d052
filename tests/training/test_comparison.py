"""The grid of Tables 1, 2 and 5: trained alike, measured alike, a cut grid is a smaller table."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from modnet_lib.baselines import BASELINES, load_network
from modnet_lib.cli import app
from modnet_lib.data.loaders import portrait_readers
from modnet_lib.evaluation.methods import Method
from modnet_lib.evaluation.metrics import mad
from modnet_lib.inference import Matter
from modnet_lib.network import load_backbone, load_checkpoint
from modnet_lib.profiles import DataConfig, Profile, Stage, TrainingConfig
from modnet_lib.training import ablation, comparison
from modnet_lib.training.loop import train
from modnet_lib.training.recipes import VALIDATION_SEED, build_network, given_with, run

TRAINING = TrainingConfig(stages=(Stage(64, 2, 2),), learning_rate=1e-3)
PROFILE = Profile(
    name="micro",
    seed=3,
    seeds=2,
    backbone="mobilenetv3_small_050",
    validation=2,
    data=DataConfig(portraits=2, portrait_size=64, scenes=2),
    training=TRAINING,
    ablation=TRAINING,
    pretraining=dataclasses.replace(TRAINING, objective="segmentation"),
)
SOME = ["dim_trimap", "modnet_trimap", "dim_plain", "shm", "modnet", "bm"]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MODNET_DATA", raising=False)
        return folder, comparison.run_grid(PROFILE, folder, systems=SOME)


def test_methods_differ_in_nothing_but_the_method() -> None:
    recipes = {key: comparison.recipe(PROFILE, key, 3) for key in comparison.SYSTEMS}
    alike = [
        dataclasses.replace(recipe, name="", baseline=None, trimap_input=False) for recipe in recipes.values()
    ]
    assert all(recipe == alike[0] for recipe in alike)
    assert {recipe.baseline for recipe in recipes.values()} - {None} == set(BASELINES) - {"crgnn"}


def test_every_row_of_the_paper_s_tables_is_there() -> None:
    rows = {name: [s for s in comparison.SYSTEMS.values() if name in s.paper] for name in comparison.SETS}
    assert [len(each) for each in rows.values()] == [11, 11, 3]
    for key in comparison.SYSTEMS:
        assert key.endswith("_plain") or comparison.SYSTEMS[key].trimap or comparison.SYSTEMS[key].pretrained
    # the order that Table 1 claims: from top to bottom the error falls
    falling = [comparison.SYSTEMS[key].paper["natural"] for key in comparison.TRIMAP_FREE]
    assert falling == sorted(falling, reverse=True)


def test_all_methods_of_a_seed_start_from_its_backbone(grid) -> None:
    folder, _ = grid
    expected = load_backbone(folder / "pretraining-4" / "backbone.safetensors", PROFILE.backbone).state_dict()
    for system in ("shm", "bm", "modnet"):
        network = build_network(Profile.load(folder / f"{system}-4" / "recipe.yaml"))
        backbone = network.backbone if system != "modnet" else network.semantic_branch.backbone
        assert all(torch.equal(value, backbone.state_dict()[key]) for key, value in expected.items())


def test_a_pretrained_method_is_never_trained_without_pretraining(tmp_path) -> None:
    with pytest.raises(ValueError, match="no part `pretraining`"):
        comparison.run_one(dataclasses.replace(PROFILE, pretraining=None), tmp_path, "dim", 3)


def test_the_result_is_what_the_networks_do(grid) -> None:
    folder, result = grid
    assert json.loads((folder / "result.json").read_text()) == result
    assert result["seeds"] == [3, 4]
    pictures = comparison.measured_sets(PROFILE)
    for system in ("shm", "dim_trimap", "modnet_trimap"):
        method = Method(load_network(folder / f"{system}-4" / "modnet.safetensors"), 64)
        for number, (image, alpha, _) in enumerate(pictures["composed"].values()):
            given = given_with(method.network, image, alpha, image)
            matte = method.alpha(image, **given)
            if given:
                matte = np.where(given["trimap"] == 0.5, matte, given["trimap"])
            measured = result["errors"]["composed"][system]["mad"][1][number]
            assert measured == pytest.approx(mad(matte, alpha / 255), rel=1e-3)
    assert "bm" in result["errors"]["natural"]
    assert "bm" not in result["errors"]["drawn"], "the background of these is not known"


def test_composed_pictures_are_the_same_people_before_known_scenes() -> None:
    sets = comparison.measured_sets(PROFILE)
    assert sets["natural"].keys() == sets["composed"].keys()
    for name, (image, alpha, background) in sets["composed"].items():
        assert np.array_equal(alpha, sets["natural"][name].alpha)
        nobody = alpha == 0
        assert np.array_equal(image[nobody], background[nobody])
        assert not np.array_equal(background, sets["natural"][name].background)


def test_errors_of_stages_end_with_those_of_the_matte(grid) -> None:
    _, result = grid
    stages = result["stages"]["shm"]
    assert list(stages) == ["guess", "alpha", "true first stage"]
    np.testing.assert_allclose(stages["alpha"], result["errors"]["natural"]["shm"]["mad"], rtol=1e-3)
    assert np.mean(stages["true first stage"]) < np.mean(stages["alpha"])


def test_the_gallery_has_a_column_for_each_method(grid) -> None:
    folder, _ = grid
    width, height = ablation.TILE
    picture = Image.open(folder / "mattes.jpg")
    assert picture.size == (4 * width, ablation.SHOWN * height)  # photograph, SHM, MODNet, truth
    matter = Matter(load_network(folder / "shm-3" / "modnet.safetensors"))
    sample = portrait_readers([VALIDATION_SEED], 384)["procedural 9000000"]()
    expected = Image.fromarray((matter.alpha(sample.image) * 255).astype(np.uint8)).resize(ablation.TILE)
    tile = np.asarray(picture)[:height, width : 2 * width].mean(axis=2)
    assert abs(tile - np.asarray(expected, float)).mean() < 8


def test_a_cut_grid_is_a_table_of_fewer_seeds(grid, tmp_path) -> None:
    folder, result = grid
    for system in SOME:
        (tmp_path / f"{system}-3").mkdir()
        (tmp_path / f"{system}-3" / "errors.json").write_text(
            (folder / f"{system}-3" / "errors.json").read_text()
        )
    with pytest.raises(FileNotFoundError, match="no seed with all of"):
        comparison.collect(PROFILE, tmp_path, ["hatt"])
    part = comparison.collect(PROFILE, tmp_path, SOME)
    assert part["seeds"] == [3]
    assert part["errors"]["drawn"]["shm"]["mad"] == result["errors"]["drawn"]["shm"]["mad"][:1]
    assert "1 seeds from 3" in part["provenance"]


def test_comparisons_are_paired(grid) -> None:
    _, result = grid
    found = {(one.before, one.after): one for one in comparison.compare(result, "mad")}
    assert set(found) == {
        ("shm", "modnet"),
        ("modnet", "modnet_trimap"),
        ("dim_plain", "dim_trimap"),
    }
    one = found["shm", "modnet"]
    errors = result["errors"]["natural"]
    expected = np.mean(np.array(errors["modnet"]["mad"]) - np.array(errors["shm"]["mad"]))
    assert one.change.mean == pytest.approx(expected)


def test_staged_training_resumes_with_the_same_bits(without_data) -> None:
    recipe = dataclasses.replace(
        PROFILE,
        baseline="shm",
        pretraining=None,
        ablation=None,
        training=dataclasses.replace(TRAINING, stages=(Stage(64, 2, 6),), ema=0.9),
    )
    whole = run(recipe, without_data / "whole", show_progress=False)
    run(recipe, without_data / "cut", stop_after=3, show_progress=False)  # in the stage of M-Net
    cut = run(recipe, without_data / "cut", show_progress=False)
    assert all(torch.equal(value, cut.state_dict()[key]) for key, value in whole.state_dict().items())


def test_validation_gives_each_method_what_it_needs(without_data) -> None:
    for name in ("bm", "dim_trimap"):
        training = dataclasses.replace(TRAINING, validate_every=1)
        recipe = dataclasses.replace(
            PROFILE, baseline=name, pretraining=None, ablation=None, training=training
        )
        run(recipe, without_data / name, show_progress=False)
        lines = (without_data / name / "metrics.jsonl").read_text().splitlines()
        assert all("validation_mad" in json.loads(line) for line in lines)


def test_other_methods_are_refused_by_several_processes(without_data, monkeypatch) -> None:
    recipe = dataclasses.replace(PROFILE, baseline="hatt")
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 2)
    with pytest.raises(ValueError, match="trained in one process"):
        train(build_network(recipe), None, TRAINING, without_data)  # type: ignore[arg-type]


def test_commands(without_data) -> None:
    file = without_data / "micro.yaml"
    recipe = dataclasses.replace(PROFILE, seeds=1, validation=1, backbone="mobilenet_v2")
    file.write_text(recipe.to_yaml())

    def call(*arguments) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        return result.exit_code, "".join(result.output.split("\n"))

    code, _ = call("train", file, "--baseline", "fdmpa", "--folder", without_data / "one")
    assert code == 0
    assert load_network(without_data / "one" / "modnet.safetensors").title == "FDMPA"
    with pytest.raises(ValueError, match="cannot be built"):
        load_checkpoint(without_data / "one" / "modnet.safetensors")
    code, output = call("train", file, "--baseline", "nobody", "--folder", without_data / "none")
    assert code == 1
    assert "baseline must be one of dim, dim_trimap" in output
    code, output = call(
        "train", file, "--baseline", "dim", "--recipe", "trimap", "--folder", without_data / "none"
    )
    assert code == 1


@pytest.mark.slow
def test_the_whole_grid_by_command(without_data) -> None:
    file = without_data / "micro.yaml"
    file.write_text(dataclasses.replace(PROFILE, seeds=1, validation=1, backbone="mobilenet_v2").to_yaml())
    result = CliRunner().invoke(app, ["compare", str(file), "--folder", str(without_data / "grid")])
    assert result.exit_code == 0, result.output
    assert "BSHM †" in result.output
    found = json.loads((without_data / "grid" / "result.json").read_text())
    assert set(found["errors"]["natural"]) == set(comparison.SYSTEMS)
