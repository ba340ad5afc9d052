"""Grids: every row differs as its table says, all are trained and measured alike, an interrupted grid continues."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from modnet_lib.baselines import BASELINES, load_network
from modnet_lib.cli import app
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.evaluation.methods import Method, trimap_of
from modnet_lib.evaluation.metrics import mad
from modnet_lib.inference import Matter
from modnet_lib.network import load_backbone, load_checkpoint
from modnet_lib.profiles import DataConfig, Profile, Stage, TrainingConfig
from modnet_lib.training import grid as grids
from modnet_lib.training.grid import Grid, collect, compare, recipe, run_grid, run_row
from modnet_lib.training.loop import Trainer
from modnet_lib.training.run import build_network, run
from modnet_lib.training.validation import measured_sets, validation_data

ABLATION, COMPARISON = Grid.load("ablation"), Grid.load("comparison")
CUMULATIVE = ["none", "semantic", "detail", "easpp", "pretrained"]
TRAINING = TrainingConfig(stages=(Stage(64, 2, 2),), learning_rate=1e-3)
PROFILE = Profile(
    name="micro",
    seed=3,
    seeds=2,
    backbone="mobilenetv3_small_050",
    device="cpu",
    validation=2,
    data=DataConfig(portraits=2, scenes=2),
    training=TRAINING,
    ablation=TRAINING,
    pretraining=dataclasses.replace(TRAINING, stages=(Stage(64, 2, 3),), objective="segmentation"),
)
ROWS = ["none", "semantic", "pretrained"]
SOME = ["dim_trimap", "modnet_trimap", "dim_plain", "shm", "modnet", "bm"]


def trained(chosen: Grid, folder: Path, rows: list[str]) -> tuple[Path, dict]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MODNET_DATA", raising=False)
        return folder, run_grid(chosen, PROFILE, folder, rows=rows)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return trained(ABLATION, tmp_path_factory.mktemp("ablation"), ROWS)


@pytest.fixture(scope="module")
def methods(tmp_path_factory):
    return trained(COMPARISON, tmp_path_factory.mktemp("comparison"), SOME)


@pytest.mark.parametrize("name", ["ablation", "comparison", "rates", "recipes"])
def test_every_row_is_a_valid_recipe_that_differs_from_the_others(name) -> None:
    chosen, overnight = Grid.load(name), Profile.load("overnight")
    recipes = [dataclasses.replace(recipe(chosen, overnight, row, 1), name="").to_yaml() for row in chosen.rows]
    assert len(set(recipes)) == len(recipes)
    assert {key for pair in chosen.compare for key in pair} | set(chosen.gallery) <= set(chosen.rows)


def test_a_wrong_grid_is_named(tmp_path) -> None:
    file, good = tmp_path / "mine.yaml", "rows: {a: {label: A}}\nsets: {natural: photographs}\n"
    for text, told in (
        (good + "compare: [[a", r"mine\.yaml is not valid YAML"),
        ("compare: []\nsets: {}", r"mine\.yaml: rows: Field required"),
        (good.replace("label", "title") + "compare: []", r"mine\.yaml: rows\.a\.label: Field required"),
        (good + "compare: []\nsquish: true", r"mine\.yaml: squish: Extra inputs are not permitted"),
        (good + "compare: [[a, b]]", r"mine\.yaml: .*its rows are a, not b"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=told):
            Grid.load(file)
    file.write_text(good.replace("label: A", "label: A, contxt: aspp") + "compare: []")
    with pytest.raises(ValueError, match=r"row a of mine: contxt: unknown key; known are .*context"):
        recipe(Grid.load(file), PROFILE, "a", 1)
    with pytest.raises(FileNotFoundError, match="one of ablation, comparison, rates, recipes"):
        Grid.load("nothing")


def test_each_row_of_table_3_adds_exactly_one_thing(tmp_path) -> None:
    recipes = [recipe(ABLATION, PROFILE, row, 3, tmp_path) for row in CUMULATIVE]

    def settings(chosen_by: Profile) -> dict:
        chosen = {
            **dataclasses.asdict(chosen_by.training),
            "context": chosen_by.context,
            "backbone": chosen_by.backbone_weights,
        }
        for number, weight in enumerate(chosen.pop("loss_weights")):
            chosen[f"weight {number}"] = weight
        return chosen

    for before, after in pairwise(map(settings, recipes)):
        assert sum(before[key] != after[key] for key in before) == 1
    assert recipes[0].training.loss_weights == (0, 0, 1)
    assert recipes[3].training.loss_weights == (1, 10, 1)
    assert {one.seed for one in recipes} == {3}, "rows see the same samples in the same order"


def test_the_control_trains_as_many_steps_without_masks(tmp_path) -> None:
    longer, pretrained = (recipe(ABLATION, PROFILE, row, 3, tmp_path) for row in ("longer", "pretrained"))
    assert longer.training.steps == pretrained.training.steps + PROFILE.pretraining.steps
    assert longer.backbone_weights == PROFILE.backbone_weights


def test_the_result_is_what_the_networks_do(grid) -> None:
    folder, result = grid
    assert json.loads((folder / "result.json").read_text()) == result
    assert list(result["errors"]["natural"]) == ROWS
    for row in ROWS:
        errors = {metric: np.array(values) for metric, values in result["errors"]["natural"][row].items()}
        assert {values.shape for values in errors.values()} == {(2, len(result["pictures"]["natural"]))}
        parts = errors["inside"] + errors["band"] + errors["outside"]
        np.testing.assert_allclose(parts, errors["mad"], rtol=1e-3)
    assert not np.array_equal(*result["errors"]["natural"]["none"]["mad"]), "seeds must differ"
    files = (folder / f"{row}-{seed}" / "metrics.jsonl" for row in ROWS for seed in (3, 4))
    spent = sum(json.loads(line)["seconds"] for file in files for line in file.read_text().splitlines())
    assert result["hours"] == pytest.approx(spent / 3600, rel=1e-4)


def test_an_unused_term_trains_nothing(grid) -> None:
    folder, _ = grid
    start = build_network(recipe(ABLATION, PROFILE, "none", 3, folder)).semantic_branch.head.weight
    none, semantic = (
        load_checkpoint(folder / f"{row}-3" / "modnet.safetensors").semantic_branch.head.weight
        for row in ("none", "semantic")
    )
    assert torch.equal(none, start)
    assert not torch.equal(semantic, start)


def test_the_pretrained_row_begins_with_the_pretrained_backbone(grid) -> None:
    folder, _ = grid
    network = build_network(Profile.load(folder / "pretrained-4" / "recipe.yaml"))
    backbone = network.semantic_branch.backbone.state_dict()
    expected = load_backbone(folder / "pretraining" / "backbone.safetensors", PROFILE.backbone).state_dict()
    assert all(torch.equal(value, backbone[key]) for key, value in expected.items())


def test_an_interrupted_grid_trains_only_what_is_missing(grid, monkeypatch, without_data) -> None:
    folder, result = grid
    (folder / "none-4" / "errors.json").unlink()  # trained, not measured
    shutil.rmtree(folder / "semantic-4")
    calls = []

    class Counted(Trainer):
        def __init__(self, *arguments, **options):
            calls.append(arguments[3].name)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(sys.modules["modnet_lib.training.run"], "Trainer", Counted)
    again = run_grid(ABLATION, PROFILE, folder, rows=ROWS)
    assert calls == ["semantic-4"]
    assert again["errors"] == result["errors"], "a repeated run repeats"


def test_errors_on_pictures_that_were_replaced_are_refused(grid, without_data, monkeypatch) -> None:
    folder, _ = grid
    name, sample = validation_data(PROFILE.data, 1)[0]
    changed = [(name, sample._replace(alpha=255 - sample.alpha)), *validation_data(PROFILE.data, 2)[1:]]
    monkeypatch.setattr(sys.modules["modnet_lib.training.validation"], "validation_data", lambda *_: changed)
    with pytest.raises(ValueError, match=r"errors\.json belongs to another run: pictures\.natural\.drawn"):
        run_row(ABLATION, PROFILE, folder, "none", 3)


def test_a_grid_of_another_profile_is_refused(grid, without_data) -> None:
    folder, _ = grid
    for other, named in (
        ({"data": dataclasses.replace(PROFILE.data, portraits=3)}, r"data\.portraits was 2, now it is 3"),
        ({"seed": 4}, "seed was 3, now it is 4"),
        ({"validation": 1}, "validation was 2, now it is 1"),
    ):
        with pytest.raises(ValueError, match=named):
            run_grid(ABLATION, dataclasses.replace(PROFILE, **other), folder, rows=["none"])
    # the same in a single run, and for errors that belong to other weights
    other = dataclasses.replace(PROFILE, data=dataclasses.replace(PROFILE.data, portraits=3))
    with pytest.raises(ValueError, match=r"data\.settings\.portraits"):
        run_row(ABLATION, other, folder, "none", 3)
    file = folder / "none-3" / "errors.json"
    kept = file.read_text()
    file.write_text((folder / "semantic-3" / "errors.json").read_text())
    with pytest.raises(ValueError, match=r"errors\.json belongs to another run: run was"):
        run_row(ABLATION, PROFILE, folder, "none", 3)
    file.write_text(kept)


def test_the_recorded_numbers_are_float32_ones_of_the_checkpoint(tmp_path, without_data) -> None:
    bf16 = dataclasses.replace(TRAINING, mixed_precision="bf16", channels_last=True, ema=0.5)
    profile = dataclasses.replace(PROFILE, seeds=1, ablation=bf16, pretraining=None)
    result = run_grid(ABLATION, profile, tmp_path, rows=["none"])
    matter = Matter(load_checkpoint(tmp_path / "none-3" / "modnet.safetensors"), short_side=64)
    samples = validation_data(profile.data, profile.validation)
    expected = [mad(matter.alpha(sample.image), sample.alpha / 255) for _, sample in samples]
    np.testing.assert_allclose(result["errors"]["natural"]["none"]["mad"], [expected], rtol=1e-4)
    assert result["origin"]["precision"] == "float32"


def test_compare_is_paired_after_minus_before() -> None:
    before = np.array([[0.10, 0.50, 0.90], [0.12, 0.52, 0.92]])
    errors = {"none": {"mad": before.tolist()}, "semantic": {"mad": (before - 0.04).tolist()}}
    (one,) = compare(ABLATION, {"errors": {"natural": errors}}, "mad")
    assert (one.before, one.after) == ("none", "semantic")
    # the pictures differ by 0.8, but each changed by the same: the interval has no width
    assert one.change == pytest.approx((-0.04, -0.04, -0.04))
    assert one.values == pytest.approx((before.mean(), before.mean() - 0.04))


def test_methods_differ_in_nothing_but_the_method() -> None:
    recipes = {key: recipe(COMPARISON, PROFILE, key, 3) for key in COMPARISON.rows}
    alike = [
        dataclasses.replace(one, name="", baseline=None, trimap_input=False, backbone_weights=None)
        for one in recipes.values()
    ]
    assert all(one == alike[0] for one in alike)
    assert {one.baseline for one in recipes.values()} - {None} == set(BASELINES) - {"crgnn"}


def test_every_row_of_the_paper_s_tables_is_there() -> None:
    rows = {name: [row for row in COMPARISON.rows.values() if name in row.paper] for name in COMPARISON.sets}
    assert [len(each) for each in rows.values()] == [11, 11, 3]
    with_trimap = {"dim_trimap", "indexnet", "modnet_trimap"}
    for key, row in COMPARISON.rows.items():
        assert key.endswith("_plain") or key in with_trimap or row.pretrained
    # the order that Table 1 claims: from top to bottom the error falls
    falling = [COMPARISON.rows[key].paper["natural"] for key in ("dim_plain", *COMPARISON.gallery)]
    assert falling == sorted(falling, reverse=True)


def test_all_methods_start_from_the_same_backbone(methods) -> None:
    folder, _ = methods
    expected = load_backbone(folder / "pretraining" / "backbone.safetensors", PROFILE.backbone).state_dict()
    for system in ("shm", "bm", "modnet"):
        network = build_network(Profile.load(folder / f"{system}-4" / "recipe.yaml"))
        backbone = network.backbone if system != "modnet" else network.semantic_branch.backbone
        assert all(torch.equal(value, backbone.state_dict()[key]) for key, value in expected.items())


def test_a_pretrained_method_is_never_trained_without_pretraining(tmp_path) -> None:
    with pytest.raises(ValueError, match="no part `pretraining`"):
        run_row(COMPARISON, dataclasses.replace(PROFILE, pretraining=None), tmp_path, "dim", 3)


def test_methods_are_measured_with_what_they_are_given(methods) -> None:
    folder, result = methods
    assert json.loads((folder / "result.json").read_text()) == result
    pictures = measured_sets(PROFILE, ["composed"])
    for system in ("shm", "dim_trimap", "modnet_trimap"):
        method = Method(load_network(folder / f"{system}-4" / "modnet.safetensors"), 64)
        for number, sample in enumerate(pictures["composed"].values()):
            matte, trimap = method.labelled(sample.image, sample.alpha), trimap_of(sample.alpha)
            if system != "shm":
                matte = np.where(trimap == 0.5, matte, trimap)
            measured = result["errors"]["composed"][system]["mad"][1][number]
            assert measured == pytest.approx(mad(matte, sample.alpha / 255), rel=1e-3)
    assert "bm" in result["errors"]["natural"]
    assert "bm" not in result["errors"]["drawn"], "the background of these is not known"


def test_methods_are_measured_on_squares(tmp_path, without_data, monkeypatch) -> None:
    rng = np.random.default_rng(2)
    image, alpha = rng.integers(0, 256, (90, 60, 3), np.uint8), np.zeros((90, 60), np.uint8)
    alpha[30:, 20:50] = 255
    sets = {name: {"tall": MattingSample(image, alpha, image, image)} for name in COMPARISON.sets}
    monkeypatch.setattr(grids, "measured_sets", lambda *_: sets)
    run_row(COMPARISON, PROFILE, tmp_path, "modnet_plain", 3)
    network = load_network(tmp_path / "modnet_plain-3" / "modnet.safetensors")
    errors = json.loads((tmp_path / "modnet_plain-3" / "errors.json").read_text())["errors"]["natural"]
    square, proportions = (
        mad(Method(network, 64, squash=squash).alpha(image), alpha / 255) for squash in (True, False)
    )
    assert errors["mad"] == pytest.approx([square], rel=1e-5)
    assert abs(square - proportions) > 1e-4 * square


def test_composed_pictures_are_the_same_people_before_known_scenes() -> None:
    sets = measured_sets(PROFILE, ["composed"])
    assert sets["natural"].keys() == sets["composed"].keys()
    for name, (image, alpha, _, background) in sets["composed"].items():
        assert np.array_equal(alpha, sets["natural"][name].alpha)
        nobody = alpha == 0
        assert np.array_equal(image[nobody], background[nobody])
        assert not np.array_equal(background, sets["natural"][name].background)


def test_a_table_has_what_is_measured(methods, tmp_path) -> None:
    folder, result = methods
    with pytest.raises(FileNotFoundError, match=r"no row in .* has been measured with seed 3"):
        collect(COMPARISON, PROFILE, tmp_path)
    # another seed of two rows; a seed that does not follow on the first is not counted
    for run_of in [f"{row}-3" for row in SOME[:5]] + ["shm-4", "modnet-4", "bm-4"]:
        (tmp_path / run_of).mkdir()
        stored = json.loads((folder / run_of / "errors.json").read_text())
        stored["origin"]["device"] = "another card" if run_of == "shm-4" else "a card"  # where it was measured
        (tmp_path / run_of / "errors.json").write_text(json.dumps(stored))
    part = collect(COMPARISON, PROFILE, tmp_path)
    for name in ("natural", "drawn"):
        errors, expected = part["errors"][name], result["errors"][name]
        assert list(errors) == [row for row in COMPARISON.rows if row in SOME[:5]]
        for row in errors:
            assert errors[row]["mad"] == expected[row]["mad"][: 2 if row in ("shm", "modnet") else 1]
    assert "5 rows, 1 or 2 seeds each from 3" in part["provenance"]
    assert part["origin"]["device"] == "a card and another card"
    assert result["origin"]["device"].startswith("cpu, ")
    # comparisons use the seeds that both rows have
    changes = {(one.before, one.after): one for one in compare(COMPARISON, part, "mad")}
    errors = {row: np.array(each["mad"]) for row, each in part["errors"]["natural"].items()}
    assert changes["shm", "modnet"].change.mean == pytest.approx((errors["modnet"] - errors["shm"]).mean())
    alone = errors["modnet_trimap"] - errors["modnet"][:1]
    assert changes["modnet", "modnet_trimap"].change.mean == pytest.approx(alone.mean())


def test_comparisons_are_paired(methods) -> None:
    _, result = methods
    found = {(one.before, one.after): one for one in compare(COMPARISON, result, "mad")}
    assert set(found) == {("shm", "modnet"), ("modnet", "modnet_trimap"), ("dim_plain", "dim_trimap")}
    one = found["shm", "modnet"]
    errors = result["errors"]["natural"]
    expected = np.mean(np.array(errors["modnet"]["mad"]) - np.array(errors["shm"]["mad"]))
    assert one.change.mean == pytest.approx(expected)


def test_staged_training_resumes_with_the_same_bits(without_data) -> None:
    chosen = dataclasses.replace(
        PROFILE,
        baseline="shm",
        pretraining=None,
        ablation=None,
        training=dataclasses.replace(TRAINING, stages=(Stage(64, 2, 6),), ema=0.9),
    )
    whole = run(chosen, without_data / "whole", show_progress=False)
    run(chosen, without_data / "cut", stop_after=3, show_progress=False)  # in the stage of M-Net
    cut = run(chosen, without_data / "cut", show_progress=False)
    assert all(torch.equal(value, cut.state_dict()[key]) for key, value in whole.state_dict().items())


def test_validation_gives_each_method_what_it_needs(without_data) -> None:
    for name in ("bm", "dim_trimap"):
        training = dataclasses.replace(TRAINING, validate_every=1)
        chosen = dataclasses.replace(PROFILE, baseline=name, pretraining=None, ablation=None, training=training)
        run(chosen, without_data / name, show_progress=False)
        lines = (without_data / name / "metrics.jsonl").read_text().splitlines()
        assert all("validation_mad" in json.loads(line) for line in lines)


def test_commands(without_data) -> None:
    file = without_data / "micro.yaml"
    chosen = dataclasses.replace(PROFILE, seeds=1, validation=1, backbone="mobilenet_v2")
    file.write_text(chosen.to_yaml())

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
    code, output = call("train", file, "--baseline", "dim", "--recipe", "trimap", "--folder", without_data / "none")
    assert code == 1


@pytest.mark.slow
def test_the_whole_grid_by_command(without_data) -> None:
    file = without_data / "micro.yaml"
    file.write_text(dataclasses.replace(PROFILE, seeds=1, validation=1, backbone="mobilenet_v2").to_yaml())
    result = CliRunner().invoke(app, ["grid", "comparison", str(file), "--folder", str(without_data / "grid")])
    assert result.exit_code == 0, result.output
    assert "BSHM †" in result.output
    found = json.loads((without_data / "grid" / "result.json").read_text())
    assert set(found["errors"]["natural"]) == set(COMPARISON.rows)


def test_rows_measured_on_different_pictures_make_no_table(methods, tmp_path) -> None:
    folder, _ = methods
    for run_of in ("shm-3", "modnet-3"):
        (tmp_path / run_of).mkdir()
        stored = json.loads((folder / run_of / "errors.json").read_text())
        if run_of == "modnet-3":
            stored["identity"]["pictures"]["drawn"] = {"another": "0123"}
        (tmp_path / run_of / "errors.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"belongs to another run: drawn\."):
        collect(COMPARISON, PROFILE, tmp_path)
