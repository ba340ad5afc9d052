"""Recipes: from a profile to a checkpoint, with nothing from outside."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from modnet_lib.data.assemble import assemble, collate
from modnet_lib.data.sets import mask_data
from modnet_lib.evaluation.methods import Method, trimap_of
from modnet_lib.inference import Matter
from modnet_lib.network import Segmenter, create_backbone, load_backbone, load_checkpoint, save_checkpoint
from modnet_lib.profiles import DataConfig, Profile, Stage, TrainingConfig
from modnet_lib.provenance import fingerprint
from modnet_lib.training.run import RECIPES, build_network, pretraining, run, with_trimap
from modnet_lib.training.validation import validation_data

PROFILE = Profile(
    name="micro",
    seed=3,
    backbone="mobilenetv3_small_050",
    validation=1,
    data=DataConfig(portraits=2, scenes=2),
    training=TrainingConfig(stages=(Stage(64, 2, 2),), learning_rate=1e-3, validate_every=1, checkpoint_every=1),
)


def same(first, second) -> bool:
    return all(torch.equal(value.cpu(), second[key].cpu()) for key, value in first.items())


def test_supervised_training_end_to_end(without_data) -> None:
    folder = without_data / "run"
    network = run(PROFILE, folder)
    assert Profile.load(folder / "recipe.yaml") == PROFILE
    loaded = load_checkpoint(folder / "modnet.safetensors")
    assert same(loaded.state_dict(), network.state_dict())
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [1, 2]
    with safe_open(folder / "modnet.safetensors", "pt") as file:
        header = file.metadata()
    assert header["recipe"] == "micro"
    assert header["steps"] == "2"
    final = json.loads(header["final"])
    assert set(final) == {"validation_mse", "validation_mad", "validation_iou"}
    # what the header says is what the file does
    ((_, sample),) = validation_data(PROFILE.data, 1)
    alpha = Matter(loaded, short_side=64, device="cpu").alpha(sample.image)
    assert final["validation_mad"] == pytest.approx(np.abs(alpha - sample.alpha / 255).mean(), rel=1e-3)
    assert Image.open(folder / "validation.png").size == (3 * 192, 256)
    # a second call finds everything done
    written = (folder / "state.pt").stat().st_mtime_ns
    assert same(run(PROFILE, folder).state_dict(), network.state_dict())
    assert (folder / "state.pt").stat().st_mtime_ns == written


def test_an_interrupted_recipe_has_no_checkpoint_until_it_is_complete(without_data) -> None:
    folder = without_data / "run"
    run(PROFILE, folder, stop_after=1)
    assert (folder / "state.pt").is_file()
    assert not (folder / "modnet.safetensors").exists()
    (folder / "metrics.jsonl").unlink()  # the measurements may be lost, the training is not
    run(PROFILE, folder)
    assert (folder / "modnet.safetensors").is_file()


def test_the_seed_decides_the_network() -> None:
    first, second = build_network(PROFILE), build_network(PROFILE)
    other = build_network(dataclasses.replace(PROFILE, seed=4))
    assert same(first.state_dict(), second.state_dict())
    assert not same(first.state_dict(), other.state_dict())


def test_backbone_weights_come_from_a_file(tmp_path, monkeypatch) -> None:
    backbone = create_backbone(PROFILE.backbone)
    torch.save(backbone.state_dict(), tmp_path / "weights.pth")
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    for name in ("weights.pth", str(tmp_path / "weights.pth")):  # relative ones lie below MODNET_DATA
        network = build_network(dataclasses.replace(PROFILE, backbone_weights=name))
        assert same(backbone.state_dict(), network.semantic_branch.backbone.state_dict())
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        build_network(dataclasses.replace(PROFILE, backbone_weights="gone.pth"))


def test_a_recipe_can_start_from_a_checkpoint(tmp_path) -> None:
    first = build_network(dataclasses.replace(PROFILE, seed=4))
    save_checkpoint(first, tmp_path / "first.safetensors")
    again = build_network(dataclasses.replace(PROFILE, initial=str(tmp_path / "first.safetensors")))
    assert same(first.state_dict(), again.state_dict())


MASKS = TrainingConfig(stages=(Stage(64, 2, 4),), learning_rate=1e-3, checkpoint_every=2)


def test_pretraining_changes_the_backbone_that_matting_starts_from(without_data) -> None:
    recipe = pretraining(dataclasses.replace(PROFILE, pretraining=MASKS))
    assert recipe.training.objective == "segmentation"
    network = run(recipe, without_data / "masks")
    assert isinstance(network, Segmenter)
    assert not same(network.backbone.state_dict(), build_network(recipe).backbone.state_dict())
    file = without_data / "masks" / "backbone.safetensors"
    assert same(load_backbone(file, PROFILE.backbone).state_dict(), network.backbone.state_dict())
    start = build_network(dataclasses.replace(PROFILE, backbone_weights=str(file)))
    assert same(network.backbone.state_dict(), start.semantic_branch.backbone.state_dict())
    with pytest.raises(ValueError, match="'micro' has no part `pretraining`"):
        pretraining(PROFILE)


def test_a_run_is_started_again_by_its_own_file(without_data) -> None:
    for name, derive in RECIPES.items():
        recipe = derive(dataclasses.replace(PROFILE, pretraining=MASKS))
        first, again = without_data / name, without_data / f"{name} again"
        run(recipe, first)
        assert "ablation" not in (first / "recipe.yaml").read_text()
        run(Profile.load(first / "recipe.yaml"), again)
        records = [
            [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in file.open()]
            for file in (first / "metrics.jsonl", again / "metrics.jsonl")
        ]
        assert records[0] == records[1]
        assert records[0][-1]["step"] == recipe.training.steps


def test_masks_come_from_any_data_set_of_the_manifest(without_data, monkeypatch, make_sample) -> None:
    folder = without_data / "pairs"
    for part in ("image", "alpha"):
        (folder / part).mkdir(parents=True)
    for number in range(2):
        sample = make_sample(number)
        Image.fromarray(sample.image).save(folder / "image" / f"{number}.jpg", quality=95)
        Image.fromarray(sample.alpha).save(folder / "alpha" / f"{number}.jpg", quality=95)
    monkeypatch.setenv("MODNET_DATA", str(without_data))
    config = DataConfig(real=True, masks=("pairs",), flip=0.0)
    dataset = mask_data(config, seed=0)
    assert len(dataset) == 2
    batch = assemble(collate([dataset[number, 64] for number in range(2)]))
    assert set(batch.true_alpha.unique().tolist()) > {0.0, 1.0}
    whole = dataset.foreground(0).cutout[..., 3]
    assert set(whole.unique().tolist()) == {0, 255}  # a mask, cut at one half
    assert (whole > 0).float().mean() == pytest.approx((make_sample(0).alpha >= 128).mean(), abs=0.01)
    with pytest.raises(FileNotFoundError, match="Supervisely"):
        mask_data(DataConfig(real=True, masks=("sps",)), seed=0)
    both = mask_data(DataConfig(real=True, masks=("pairs", "drawn"), portraits=3), 0)
    assert [len(part.readers) for part in both.contents["foregrounds"]] == [2, 3]


def test_imagenet_weights_of_another_backbone_are_an_error(without_data) -> None:
    with pytest.raises(ValueError, match="none of resnet18 from imagenet; give a file"):
        build_network(dataclasses.replace(PROFILE, backbone="resnet18", backbone_weights="imagenet"))


def test_a_folder_of_another_recipe_is_refused_and_left_as_it_is(without_data) -> None:
    folder = without_data / "run"
    run(PROFILE, folder, stop_after=1)
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    larger = dataclasses.replace(PROFILE.data, portraits=3)
    for other, named in (
        (dataclasses.replace(PROFILE, seed=4), r"data\.seed was 3, now it is 4"),
        (dataclasses.replace(PROFILE, data=larger), r"data\.settings\.portraits was 2, now it is 3"),
        (dataclasses.replace(PROFILE, context="none"), r"network\.config\.context was \"easpp\", now it is \"none\""),
        (
            dataclasses.replace(PROFILE, training=dataclasses.replace(PROFILE.training, learning_rate=2e-3)),
            r"training\.learning_rate was 0\.001, now it is 0\.002",
        ),
    ):
        with pytest.raises(ValueError, match=named):
            run(other, folder)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == kept
    # a finished run is refused as well, also after its state is gone
    network = run(PROFILE, folder)
    (folder / "state.pt").unlink()
    with pytest.raises(ValueError, match=r"data\.seed was 3, now it is 4"):
        run(dataclasses.replace(PROFILE, seed=4), folder)
    assert same(run(PROFILE, folder).state_dict(), network.state_dict())


def test_other_initial_weights_are_another_run(without_data) -> None:
    for number in range(2):
        torch.manual_seed(number)
        torch.save(create_backbone(PROFILE.backbone).state_dict(), without_data / f"{number}.pth")
    first, second = (dataclasses.replace(PROFILE, backbone_weights=str(without_data / f"{n}.pth")) for n in range(2))
    run(first, without_data / "run", stop_after=1)
    with pytest.raises(ValueError, match="another run: initial weights was"):
        run(second, without_data / "run")


def test_a_damaged_result_is_named(without_data) -> None:
    run(PROFILE, without_data / "run")
    (without_data / "run" / "modnet.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"modnet\.safetensors is not a readable checkpoint"):
        run(PROFILE, without_data / "run")


def test_validation_without_pictures_is_an_error(without_data) -> None:
    with pytest.raises(ValueError, match="validation must be at least 1"):
        validation_data(PROFILE.data, 0)


def test_the_data_is_described_before_the_first_step(without_data, capsys) -> None:
    run(PROFILE, without_data / "run")
    printed = capsys.readouterr().out
    assert "foregrounds: drawn:train: 2 pictures, 0 left out" in printed
    assert "backgrounds: drawn:train-scenes: 2 pictures, 0 left out" in printed
    assert "validation: drawn people: 1 pictures" in printed
    identity = json.loads((without_data / "run" / "identity.json").read_text())
    files = identity["data"]["foregrounds"]["0 drawn"]["files"]
    assert [name for name in files if "/alpha/" in name] == [f"train/alpha/{100_000 + n}.png" for n in (0, 1)]
    assert all("CRC-32" in content for content in files.values())
    with safe_open(without_data / "run" / "modnet.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["identity"] == fingerprint(identity)
    made = json.loads(metadata["provenance"])
    assert (made["precision"], made["seed"]) == ("no", 3)
    assert made["commit"]


def test_a_recipe_file_is_never_replaced_by_another(without_data) -> None:
    folder = without_data / "grid"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(dataclasses.replace(PROFILE, seeds=2).to_yaml())
    kept = (folder / "recipe.yaml").read_bytes()
    with pytest.raises(ValueError, match="another run: seeds was 2, now it is 3"):
        run(PROFILE, folder)
    assert [file.name for file in folder.iterdir()] == ["recipe.yaml"]
    # the same run with other settings of saving continues, and keeps its first recipe
    run(dataclasses.replace(PROFILE, seeds=2), folder, stop_after=1)
    often = dataclasses.replace(PROFILE.training, checkpoint_every=2)
    run(dataclasses.replace(PROFILE, seeds=2, training=often), folder)
    assert (folder / "recipe.yaml").read_bytes() == kept


def test_a_run_is_where_it_is_told(without_data) -> None:
    fixed = dataclasses.replace(PROFILE, device="meta", training=dataclasses.replace(PROFILE.training, workers=0))
    with pytest.raises(RuntimeError, match="meta"):  # it cannot say its numbers
        run(fixed, without_data / "run")
    network = run(fixed, without_data / "run", device="cpu", show_progress=False)  # instead of the recipe's
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    loaded = run(fixed, without_data / "run")  # finished
    assert {p.device.type for p in loaded.parameters()} == {"meta"}


def test_the_trimap_is_used_in_training_and_at_test(without_data) -> None:
    network = run(with_trimap(PROFILE), without_data / "run")
    assert network.config["trimap_input"]
    method = Method(network, 64)
    ((_, sample),) = validation_data(PROFILE.data, 1)
    trimap = trimap_of(sample.alpha / 255)
    first, second = method.alpha(sample.image, trimap), method.alpha(sample.image, 1 - trimap)
    assert np.abs(first - second).max() > 1e-3
    measured = json.loads((without_data / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert measured["validation_mad"] == pytest.approx(np.abs(first - sample.alpha / 255).mean(), rel=1e-5)


def test_rounds_follow_each_other_from_the_averaged_weights(without_data) -> None:
    plain = dataclasses.replace(PROFILE.training, validate_every=0, ema=0.5)
    recipe = dataclasses.replace(
        PROFILE,
        training=plain,
        pretraining=plain,
        rounds=({"training": {"learning_rate": 1e-2}}, {"data": {"flip": 1.0}}),
    )
    folder = without_data / "rounds"
    network = run(recipe, folder, show_progress=False)
    first, second = (Profile.load(folder / name / "recipe.yaml") for name in ("round1", "round2"))
    assert (first.training.learning_rate, second.training.learning_rate) == (1e-2, 1e-3)
    assert (first.data.flip, second.data.flip) == (0.0, 1.0)
    assert {PROFILE.seed, first.seed, second.seed} == {3, 4, 5}, "no round sees another's samples"
    begun = build_network(first).semantic_branch.backbone.state_dict()
    masks = load_backbone(folder / "pretraining" / "backbone.safetensors", PROFILE.backbone).state_dict()
    assert all(torch.equal(value, begun[key]) for key, value in masks.items())
    before = load_checkpoint(folder / "round1" / "modnet.safetensors").state_dict()
    assert all(torch.equal(value, before[key]) for key, value in build_network(second).state_dict().items())
    for file in (folder / "modnet.safetensors", folder / "round2" / "modnet.safetensors"):
        last = load_checkpoint(file).state_dict()
        assert all(torch.equal(value, last[key]) for key, value in network.state_dict().items())
    # an interrupted round resumes to the same bits
    again = without_data / "again"
    run(recipe, again, stop_after=1, show_progress=False)
    assert not (again / "modnet.safetensors").is_file()
    resumed = run(recipe, again, show_progress=False).state_dict()
    assert all(torch.equal(value, resumed[key]) for key, value in network.state_dict().items())
