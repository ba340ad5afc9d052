"""Recipes: from a profile to a checkpoint, with nothing from outside."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from modnet_lib.inference import Matter
from modnet_lib.network import create_backbone, load_checkpoint, save_checkpoint
from modnet_lib.profiles import DataConfig, Profile, Stage, TrainingConfig
from modnet_lib.training.recipes import build_network, measure, supervised, validation_data

PROFILE = Profile(
    name="micro",
    seed=3,
    backbone="mobilenetv3_small_050",
    validation=1,
    data=DataConfig(portraits=2, portrait_size=64, scenes=2),
    training=TrainingConfig(
        stages=(Stage(64, 2, 2),), learning_rate=1e-3, validate_every=1, checkpoint_every=1
    ),
)


def same(first, second) -> bool:
    return all(torch.equal(value.cpu(), second[key].cpu()) for key, value in first.items())


def test_supervised_training_end_to_end(without_data) -> None:
    folder = without_data / "run"
    network = supervised(PROFILE, folder)
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
    assert same(supervised(PROFILE, folder).state_dict(), network.state_dict())
    assert (folder / "state.pt").stat().st_mtime_ns == written


def test_an_interrupted_recipe_has_no_checkpoint_until_it_is_complete(without_data) -> None:
    folder = without_data / "run"
    supervised(PROFILE, folder, stop_after=1)
    assert (folder / "state.pt").is_file()
    assert not (folder / "modnet.safetensors").exists()
    (folder / "metrics.jsonl").unlink()  # the measurements may be lost, the training is not
    supervised(PROFILE, folder)
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


def test_measuring_without_data_uses_procedural_portraits(without_data, tiny_network) -> None:
    result = measure(Matter(tiny_network, short_side=64, device="cpu"), count=1)
    assert result["data"] == "procedural portraits"
    assert result["pictures"] == 1
    assert result["short_side"] == 64
    ((_, errors),) = result["per_picture"].items()
    assert errors == result["mean"]
    assert 0 < errors["mad"] < 1
    json.dumps(result)
