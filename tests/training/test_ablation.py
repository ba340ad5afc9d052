"""The ablation grid: each row adds one thing, rows are paired, an interrupted grid goes on."""

from __future__ import annotations

import dataclasses
import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.evaluation.protocol import evaluate
from modnet_lib.inference import Matter
from modnet_lib.network import load_backbone, load_checkpoint
from modnet_lib.profiles import DataConfig, Profile, Stage, TrainingConfig
from modnet_lib.training import ablation
from modnet_lib.training.loop import train
from modnet_lib.training.recipes import build_network, validation_data

CUMULATIVE = ["none", "semantic", "detail", "easpp", "pretrained"]
TRAINING = TrainingConfig(stages=(Stage(64, 2, 2),), learning_rate=1e-3)
PROFILE = Profile(
    name="micro",
    seed=3,
    seeds=2,
    backbone="mobilenetv3_small_050",
    validation=2,
    timing_repeats=2,
    data=DataConfig(portraits=2, portrait_size=64, scenes=2),
    training=TRAINING,
    ablation=TRAINING,
    pretraining=dataclasses.replace(TRAINING, stages=(Stage(64, 2, 3),), objective="segmentation"),
)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MODNET_DATA", raising=False)
        return folder, ablation.run_grid(PROFILE, folder, rows=["none", "semantic", "pretrained"])


def test_each_row_of_table_3_adds_exactly_one_thing(tmp_path) -> None:
    recipes = [ablation.recipe(PROFILE, row, 3, tmp_path) for row in CUMULATIVE]

    def settings(recipe: Profile) -> dict:
        chosen = {
            **dataclasses.asdict(recipe.training),
            "context": recipe.context,
            "backbone": recipe.backbone_weights,
        }
        for number, weight in enumerate(chosen.pop("loss_weights")):
            chosen[f"weight {number}"] = weight
        return chosen

    for before, after in pairwise(map(settings, recipes)):
        assert sum(before[key] != after[key] for key in before) == 1
    assert recipes[0].training.loss_weights == (0, 0, 1)
    assert recipes[3].training.loss_weights == (1, 10, 1)
    assert {recipe.seed for recipe in recipes} == {3}, "rows see the same samples in the same order"


def test_the_control_trains_as_many_steps_without_masks(tmp_path) -> None:
    longer, pretrained = (ablation.recipe(PROFILE, row, 3, tmp_path) for row in ("longer", "pretrained"))
    assert longer.training.steps == pretrained.training.steps + PROFILE.pretraining.steps
    assert longer.backbone_weights == PROFILE.backbone_weights


def test_the_result_is_what_the_networks_do(grid) -> None:
    folder, result = grid
    assert json.loads((folder / ablation.RESULT).read_text()) == result
    assert result["seeds"] == [3, 4]
    for row in ("none", "semantic", "pretrained"):
        errors = {metric: np.array(values) for metric, values in result["errors"][row].items()}
        assert {values.shape for values in errors.values()} == {(2, len(result["pictures"]))}
        parts = errors["inside"] + errors["band"] + errors["outside"]
        np.testing.assert_allclose(parts, errors["mad"], rtol=1e-3)
        assert result["values"][f"mad_{row}"] == pytest.approx(errors["mad"].mean(), rel=1e-4)
    assert not np.array_equal(*result["errors"]["none"]["mad"]), "seeds must differ"
    assert result["cost"]["none"]["parameters"] < result["cost"]["pretrained"]["parameters"]
    # three rows between the photographs and the truth
    assert Image.open(folder / ablation.MATTES).size == (
        5 * ablation.TILE[0],
        ablation.SHOWN * ablation.TILE[1],
    )


def test_an_unused_term_trains_nothing(grid) -> None:
    folder, _ = grid
    start = build_network(ablation.recipe(PROFILE, "none", 3, folder)).semantic_branch.head.weight
    none, semantic = (
        load_checkpoint(folder / f"{row}-3" / "modnet.safetensors").semantic_branch.head.weight
        for row in ("none", "semantic")
    )
    assert torch.equal(none, start)
    assert not torch.equal(semantic, start)


def test_the_pretrained_row_begins_with_its_own_seeds_backbone(grid) -> None:
    folder, _ = grid
    recipe = Profile.load(folder / "pretrained-4" / "recipe.yaml")
    network = build_network(recipe)
    backbone = network.semantic_branch.backbone.state_dict()
    expected = load_backbone(folder / "pretraining-4" / "backbone.safetensors", PROFILE.backbone).state_dict()
    assert all(torch.equal(value, backbone[key]) for key, value in expected.items())


def test_an_interrupted_grid_trains_only_what_is_missing(grid, monkeypatch, without_data) -> None:
    folder, result = grid
    (folder / "none-4" / "errors.json").unlink()  # trained, not measured
    shutil.rmtree(folder / "semantic-4")
    calls = []

    def counted(*arguments, **options):
        calls.append(arguments[3].name)
        return train(*arguments, **options)

    monkeypatch.setattr("modnet_lib.training.recipes.train", counted)
    again = ablation.run_grid(PROFILE, folder, rows=["none", "semantic", "pretrained"])
    assert calls == ["semantic-4"]
    assert again["errors"] == result["errors"], "a repeated run repeats"


def test_errors_on_pictures_that_were_replaced_are_refused(grid, without_data, monkeypatch) -> None:
    folder, _ = grid
    name, sample = validation_data(PROFILE.data, 1)[0]
    changed = [(name, sample._replace(alpha=255 - sample.alpha)), *validation_data(PROFILE.data, 2)[1:]]
    monkeypatch.setattr(ablation, "validation_data", lambda *_: changed)
    with pytest.raises(ValueError, match=r"errors\.json belongs to another run: pictures\.procedural"):
        ablation.run_one(PROFILE, folder, None, "none", 3)


def test_a_grid_of_another_profile_is_refused(grid, without_data) -> None:
    folder, _ = grid
    for other, named in (
        ({"data": dataclasses.replace(PROFILE.data, portraits=3)}, r"data\.portraits was 2, now it is 3"),
        ({"seed": 4}, "seed was 3, now it is 4"),
        ({"validation": 1}, "validation was 2, now it is 1"),
    ):
        with pytest.raises(ValueError, match=named):
            ablation.run_grid(dataclasses.replace(PROFILE, **other), folder, rows=["none"])
    # the same in a single run, and for errors that belong to other weights
    other = dataclasses.replace(PROFILE, data=dataclasses.replace(PROFILE.data, portraits=3))
    with pytest.raises(ValueError, match=r"data\.settings\.portraits"):
        ablation.run_one(other, folder, None, "none", 3)
    file = folder / "none-3" / "errors.json"
    kept = file.read_text()
    file.write_text((folder / "semantic-3" / "errors.json").read_text())
    with pytest.raises(ValueError, match=r"errors\.json belongs to another run: run was"):
        ablation.run_one(PROFILE, folder, None, "none", 3)
    file.write_text(kept)


def test_errors_of_pictures_that_have_changed_are_refused(grid, without_data, monkeypatch) -> None:
    folder, _ = grid
    samples = [(name, s._replace(alpha=255 - s.alpha)) for name, s in validation_data(PROFILE.data, 2)]
    monkeypatch.setattr(ablation, "validation_data", lambda *_: samples)
    with pytest.raises(ValueError, match=r"errors\.json belongs to another run: pictures\."):
        ablation.run_one(PROFILE, folder, None, "none", 3)


def test_the_recorded_numbers_are_float32_ones_of_the_checkpoint(tmp_path, without_data) -> None:
    bf16 = dataclasses.replace(TRAINING, mixed_precision="bf16", channels_last=True, ema=0.5)
    profile = dataclasses.replace(PROFILE, seeds=1, ablation=bf16, pretraining=None)
    result = ablation.run_grid(profile, tmp_path, rows=["none"])
    matter = Matter(load_checkpoint(tmp_path / "none-3" / "modnet.safetensors"), short_side=64)
    samples = validation_data(profile.data, profile.validation)
    records = evaluate(matter.alpha, ((name, s.image, s.alpha) for name, s in samples))
    expected = [record.errors["mad"] for record in records]
    np.testing.assert_allclose(result["errors"]["none"]["mad"], [expected], rtol=1e-4)
    assert result["origin"]["precision"] == "float32"


def test_a_grid_goes_on_from_another_at_a_larger_size(grid, tmp_path, without_data) -> None:
    folder, _ = grid
    larger = dataclasses.replace(PROFILE, ablation=dataclasses.replace(TRAINING, stages=(Stage(96, 2, 1),)))
    result = ablation.run_grid(larger, tmp_path, start=folder, rows=["none", "pretrained"])
    assert "2 pictures at 64 pixels" in result["provenance"]
    assert "then 1 steps of 2 pictures at 96 pixels" in result["provenance"]
    assert not list(tmp_path.glob("pretraining-*")), "masks were the first grid's"
    for run in ("none-3", "pretrained-4"):
        started = build_network(Profile.load(tmp_path / run / "recipe.yaml")).state_dict()
        before = load_checkpoint(folder / run / "modnet.safetensors").state_dict()
        assert all(torch.equal(value, before[key]) for key, value in started.items())


def test_compare_is_paired_after_minus_before() -> None:
    before = np.array([[0.10, 0.50, 0.90], [0.12, 0.52, 0.92]])
    errors = {"none": {"mad": before.tolist()}, "semantic": {"mad": (before - 0.04).tolist()}}
    values = {"mad_none": before.mean(), "mad_semantic": before.mean() - 0.04}
    (one,) = ablation.compare({"errors": errors, "values": values}, "mad")
    assert (one.before, one.after) == ("none", "semantic")
    # the pictures differ by 0.8, but each changed by the same: the interval has no width
    assert one.change == pytest.approx((-0.04, -0.04, -0.04))
    assert one.values == pytest.approx((before.mean(), before.mean() - 0.04))


@pytest.mark.slow
def test_side_by_side_runs_equal_those_one_after_another(grid, tmp_path, without_data) -> None:
    _, result = grid
    side_by_side = ablation.run_grid(PROFILE, tmp_path, jobs=2, rows=["none", "semantic"])
    for row in ("none", "semantic"):
        first, second = (np.array(r["errors"][row]["mad"]) for r in (result, side_by_side))
        np.testing.assert_allclose(first, second, rtol=1e-3)  # another number of threads rounds differently
