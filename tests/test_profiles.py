"""Profiles: strict reading, helpful messages, exact round trips."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from modnet_lib import paths
from modnet_lib.network import MODNet
from modnet_lib.profiles import DataConfig, Profile, Stage, TrainingConfig

FILES = sorted(paths.PROFILES.glob("*.yaml"))


@pytest.fixture
def load(tmp_path):
    def read(text: str) -> Profile:
        (tmp_path / "mine.yaml").write_text(text)
        return Profile.load(tmp_path / "mine.yaml")

    return read


def test_what_is_not_said_is_the_default(load) -> None:
    assert load("name: x") == Profile("x")
    assert load("{name: x, data: {scenes: 3}}") == Profile("x", data=DataConfig(scenes=3))
    assert Profile("x").training == TrainingConfig()


def test_the_papers_hyper_parameters_are_the_defaults() -> None:
    training, data = TrainingConfig(), DataConfig()
    assert (training.optimizer, training.learning_rate, training.schedule) == ("sgd", 0.01, "step")
    assert [(s.image_size, s.batch_size) for s in training.stages] == [(512, 16)]
    # 40 epochs of 15 samples for each of about 3,000 foregrounds
    assert training.steps == 40 * 3000 * (data.natural + data.composites) // 16
    assert (data.natural, data.composites) == (5, 10)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("{name: x, sead: 1}", ["unknown key sead", "seed"]),
        ("{name: x, data: {portrait: 1}}", ["data", "unknown key portrait", "portraits"]),
        ("{name: x, seed: 1.5}", ["seed", "expected int", "1.5"]),
        ("{name: x, seed: '1'}", ["seed", "expected int", "'1'"]),
        ("{name: x, seed: true}", ["seed", "expected int", "True"]),
        ("{name: x, data: {real: 1}}", ["data: real", "expected bool", "1"]),
        ("{name: 7}", ["name", "expected str", "7"]),
        ("{name: x, variant: papre}", ["variant", "'paper', 'released'", "'papre'"]),
        ("{name: x, backbone_weights: 3}", ["backbone_weights", "str or none", "3"]),
        ("{name: x, training: {learning_rate: 1e-3}}", ["learning_rate", "expected float", "write 1.0e-3"]),
        ("{name: x, training: {ema: false}}", ["ema", "expected float", "False"]),
        ("{name: x, training: {stages: 3}}", ["stages", "expected a list", "3"]),
        ("{name: x, training: {stages: []}}", ["stages", "expected a list"]),
        ("{name: x, training: {stages: [3]}}", ["stages[0]", "names and values", "3"]),
        (
            "{name: x, training: {stages: [{image_size: 64, batch_size: 1, steps: 1}, {image_size: 100, "
            "batch_size: 1, steps: 1}]}}",
            ["stages[1]", "image_size", "multiple of 32", "100"],
        ),
        (
            "{name: x, training: {stages: [{image_size: 32, batch_size: 1, steps: 1}]}}",
            ["stages[0]", "at least 64"],
        ),
        (
            "{name: x, training: {stages: [{image_size: 64, batch_size: 0, steps: 1}]}}",
            ["stages[0]", "positive"],
        ),
        ("{name: x, training: {stages: [{image_size: 64, batch_size: 1}]}}", ["stages[0]", "steps"]),
        (
            "{name: x, training: {stages: [{image_size: 64, batch_size: 1, steps: 1, epochs: 2}]}}",
            ["unknown key epochs"],
        ),
        ("{name: x, data: {foregrounds: [mine]}}", ["data", "foregrounds would not be used", "data.real"]),
        ("{name: x, data: {natural: 0, composites: 0}}", ["data", "nor both 0"]),
        ("{name: x, data: {natural: -1}}", ["data", "must not be negative"]),
        ("{name: x, data: {photographs: -1}}", ["data", "photographs must be at least 1"]),
        ("{name: x, data: {shares: {drawn: 0}}}", ["data", "shares must not be negative, nor all 0"]),
        ("{name: x, data: {shares: {drawn: 1, a: -1}}}", ["data", "shares must not be negative"]),
        ("{name: x, data: {shares: {drawn: .nan}}}", ["data", "shares must not be negative"]),
        ("{name: x, training: {accumulate: 0}}", ["training", "accumulate must be at least 1"]),
        ("{name: x, training: {ema: 1.5}}", ["training", "ema in [0, 1)"]),
        ("{seed: 1}", ["name"]),
        ("", ["expected names and values"]),
        ("[1, 2]", ["expected names and values"]),
        ("{name: x", ["not valid YAML"]),
    ],
)
def test_mistakes_are_named_with_key_and_file(load, text, messages) -> None:
    with pytest.raises(ValueError, match=r"mine\.yaml") as caught:
        load(text)
    for message in messages:
        assert message in str(caught.value)


def test_whole_numbers_are_floats_where_a_float_is_wanted(load) -> None:
    rate = load("{name: x, training: {learning_rate: 1}}").training.learning_rate
    assert rate == 1.0
    assert isinstance(rate, float)


def test_profiles_that_do_not_exist_are_named_with_those_that_do(tmp_path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Profile.load("smok")
    assert "'smok'" in str(caught.value)
    assert "smoke" in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"gone\.yaml"):
        Profile.load(tmp_path / "gone.yaml")


def test_stages_are_checked_in_code_too() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        Stage(65, 1, 1)
    assert TrainingConfig(stages=(Stage(64, 1, 3), Stage(96, 1, 4))).steps == 7


def test_the_four_sizes_exist() -> None:
    assert {"smoke", "laptop", "full", "paper"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_profile_is_valid(path) -> None:
    profile = Profile.load(path.stem)
    assert profile.name == path.stem
    assert profile == Profile.load(path)
    MODNet(profile.variant, profile.backbone)


def test_smoke_needs_nothing_from_outside() -> None:
    smoke = Profile.load("smoke")
    assert not smoke.data.real
    assert smoke.backbone_weights is None
    assert smoke.training.workers == 0


@pytest.mark.parametrize(
    "profile",
    [
        *(Profile.load(path) for path in FILES),
        Profile("defaults"),
        Profile(
            "everything",
            seed=9,
            variant="released",
            backbone="resnet18",
            backbone_weights="w.pth",
            data=DataConfig(real=True, memory=2.5, composites=0),
            training=TrainingConfig(
                stages=(Stage(64, 1, 2), Stage(128, 3, 4)), mixed_precision="no", ema=0.5, learning_rate=1e-5
            ),
            pretraining=TrainingConfig(objective="segmentation"),
            ablation=TrainingConfig(loss_weights=(1.0, 0.0, 1.0)),
        ),
    ],
    ids=lambda profile: profile.name,
)
def test_yaml_round_trip(profile, tmp_path) -> None:
    text = profile.to_yaml()
    (tmp_path / "again.yaml").write_text(text)
    assert Profile.load(tmp_path / "again.yaml") == profile
    # defaults are written out, so that a recipe outlives a change of defaults
    written = yaml.safe_load(text)
    parts = {part for part in ("pretraining", "ablation") if getattr(profile, part) is None}
    assert set(written) == {field.name for field in dataclasses.fields(Profile)} - parts
    assert set(written["training"]) == {field.name for field in dataclasses.fields(TrainingConfig)}


def test_profiles_cannot_be_changed_by_accident() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Profile("x").seed = 3


def test_the_paper_profile_uses_only_what_the_paper_states() -> None:
    profile, plain = Profile.load("paper"), DataConfig()
    amounts = {"real", "masks", "portraits", "scenes"}
    chosen, default = dataclasses.asdict(profile.data), dataclasses.asdict(plain)
    assert {key for key in default if chosen[key] != default[key]} <= amounts
    assert (plain.natural, plain.composites, plain.framing) == (5, 10, "random")
    ours = ("flip", "colour", "empty", "defocus", "harmonise", "camera")
    assert {name: getattr(plain, name) for name in ours} == dict.fromkeys(ours, 0.0)
    training = dataclasses.replace(profile.training, checkpoint_every=500, validate_every=0, workers=0)
    assert training == TrainingConfig()
    assert training.stages == (Stage(512, 16, 112_500),)


def test_shares_are_read_by_name(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\ndata: {real: true, foregrounds: [people, ccp], shares: {people: 1, ccp: 0.5, drawn: 2}}\n"
    )
    assert Profile.load(file).data.shares == {"people": 1.0, "ccp": 0.5, "drawn": 2.0}
    assert Profile.load(file).data.foregrounds == ("people", "ccp")
    file.write_text("name: mine\ndata: {shares: [people]}\n")
    with pytest.raises(ValueError, match="data: shares: expected names and values"):
        Profile.load(file)
