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
        ("{name: x, sead: 1}", ["sead: unknown key", "known are", "seed"]),
        ("{name: x, data: {portrait: 1}}", ["data.portrait: unknown key", "portraits"]),
        ("{name: x, seed: 1.5}", ["seed: Input should be a valid integer", "got 1.5"]),
        ("{name: x, seed: '1'}", ["seed: Input should be a valid integer", "got '1'"]),
        ("{name: x, seed: true}", ["seed: Input should be a valid integer", "got True"]),
        ("{name: x, seed: 2024-01-01}", ["seed: Input should be a valid integer", "got '2024-01-01'"]),
        ("{name: x, data: {real: 1}}", ["data.real: Input should be a valid boolean", "got 1"]),
        ("{name: 7}", ["name: Input should be a valid string", "got 7"]),
        ("{name: x, variant: papre}", ["variant", "'paper' or 'released'", "got 'papre'"]),
        ("{name: x, backbone_weights: 3}", ["backbone_weights: Input should be a valid string", "got 3"]),
        (
            "{name: x, training: {learning_rate: 1e-3}}",
            ["training.learning_rate: Input should be a valid number", "got '1e-3'", "write 1.0e-3"],
        ),
        ("{name: x, training: {ema: false}}", ["ema: Input should be a valid number", "got False"]),
        ("{name: x, training: {stages: 3}}", ["stages: Input should be a valid array", "got 3"]),
        ("{name: x, training: {stages: []}}", ["stages", "at least 1 item"]),
        ("{name: x, training: {stages: [3]}}", ["stages.0: Input should be an object", "got 3"]),
        (
            "{name: x, training: {stages: [{image_size: 64, batch_size: 1, steps: 1}, {image_size: 100, "
            "batch_size: 1, steps: 1}]}}",
            ["stages.1.image_size: Input should be a multiple of 32", "got 100"],
        ),
        (
            "{name: x, training: {stages: [{image_size: 32, batch_size: 1, steps: 1}]}}",
            ["stages.0.image_size: Input should be greater than or equal to 64", "got 32"],
        ),
        (
            "{name: x, training: {stages: [{image_size: 64, batch_size: 0, steps: 1}]}}",
            ["stages.0.batch_size: Input should be greater than or equal to 1", "got 0"],
        ),
        ("{name: x, training: {stages: [{image_size: 64, batch_size: 1}]}}", ["stages.0.steps: Field required"]),
        (
            "{name: x, training: {stages: [{image_size: 64, batch_size: 1, steps: 1, epochs: 2}]}}",
            ["stages.0.epochs: unknown key; known are batch_size, image_size, steps"],
        ),
        (
            "{name: x, pretraining: {stages: 3, epochs: 2}}",
            ["pretraining.stages: ", "pretraining.epochs: unknown key", "learning_rate"],
        ),
        ("{name: x, data: {foregrounds: [mine]}}", ["data: Value error, foregrounds would not be used", "data.real"]),
        (
            "{name: x, data: {natural: 0, composites: 0}}",
            ["data: Value error, natural and composites must not both be 0"],
        ),
        ("{name: x, data: {natural: -1}}", ["data.natural", "greater than or equal to 0", "got -1"]),
        ("{name: x, data: {photographs: -1}}", ["data.photographs", "greater than or equal to 1", "got -1"]),
        ("{name: x, data: {shares: {drawn: 0}}}", ["data: Value error, shares must not all be 0"]),
        ("{name: x, data: {shares: {drawn: 1, a: -1}}}", ["data.shares.a", "equal to 0", "got -1"]),
        ("{name: x, data: {shares: {drawn: .nan}}}", ["data.shares.drawn", "finite number", "got nan"]),
        ("{name: x, training: {accumulate: 0}}", ["training.accumulate", "equal to 1", "got 0"]),
        ("{name: x, training: {ema: 1.5}}", ["training.ema", "less than 1", "got 1.5"]),
        ("{name: x, training: {loss_weights: [1, 2]}}", ["training.loss_weights.2: Field required"]),
        ("{seed: 1}", ["name: Field required"]),
        ("", ["mine.yaml: Input should be an object", "got None"]),
        ("[1, 2]", ["mine.yaml: Input should be an object", "got [1, 2]"]),
        ("{name: x", ["not valid YAML"]),
        ("{name: x, ? [1, 2] : 3}", ["not valid YAML"]),
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


def test_values_are_checked_in_code_too() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        Stage(65, 1, 1)
    with pytest.raises(ValueError, match="unexpected_keyword_argument"):
        DataConfig(portrait=1)
    with pytest.raises(ValueError, match="less than 1"):
        dataclasses.replace(TrainingConfig(), ema=1.5)
    with pytest.raises(ValueError, match="would not be used"):
        dataclasses.replace(DataConfig(), foregrounds=("people",))
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
    assert smoke.device == "cpu", "also where there is a GPU"
    assert smoke.training.workers is None


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
    parts = {part for part in ("pretraining", "ablation", "rounds") if not getattr(profile, part)}
    assert set(written) == {field.name for field in dataclasses.fields(Profile)} - parts
    assert set(written["training"]) == {field.name for field in dataclasses.fields(TrainingConfig)}


def test_what_identifies_a_run_is_made_of_plain_values() -> None:
    """So that a stored identity does not depend on the library that checks profiles."""
    values = dataclasses.asdict(Profile("x", data=DataConfig(real=True, shares={"people": 1, "ccp": 0.5})))
    assert values["data"]["shares"] == {"people": 1.0, "ccp": 0.5}
    assert values["training"]["stages"] == ({"image_size": 512, "batch_size": 16, "steps": 112_500},)
    kinds = {type(value) for part in ("data", "training") for value in values[part].values()}
    assert kinds <= {bool, int, float, str, tuple, dict, type(None)}


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
    training = dataclasses.replace(profile.training, checkpoint_every=500, validate_every=0, workers=None)
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
    with pytest.raises(ValueError, match=r"data\.shares: Input should be an object, got \['people'\]"):
        Profile.load(file)


def test_changes_are_merged_and_validated() -> None:
    profile = Profile(name="one", data=DataConfig(flip=0.5, camera=0.25))
    changed = profile.changed({"seed": 4, "data": {"flip": 0.0}, "training": {"loss_weights": [1.0, 2.0, 3.0]}})
    assert changed.data == DataConfig(flip=0.0, camera=0.25)
    assert changed.training.loss_weights == (1.0, 2.0, 3.0)
    assert (changed.seed, changed.name) == (4, "one")
    with pytest.raises(ValueError, match=r"row 3: data\.flop: unknown key; known are .*flip"):
        profile.changed({"data": {"flop": 1.0}}, "row 3")
    with pytest.raises(ValueError, match=r"rounds\[1\]: training\.ema"):
        profile.changed({"rounds": [{"seed": 2}, {"training": {"ema": 2.0}}]})
