"""The interface of all methods: shapes, ranges, stages, wrong inputs, files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from modnet_lib.baselines import BASELINES, create_baseline, load_network
from modnet_lib.data.dataset import CompositionDataset
from modnet_lib.evaluation.methods import open_model
from modnet_lib.network import load_checkpoint, save_checkpoint
from modnet_lib.network.cost import count_parameters
from modnet_lib.profiles import DataConfig, Stage, TrainingConfig
from modnet_lib.training.loop import Trainer

TINY = "mobilenetv3_small_050"
STRIDED = ("indexnet", "crgnn")  # need MobileNetV2 itself


def build(name: str):
    return create_baseline(name, "mobilenet_v2" if name in STRIDED else TINY)


def random_batch(size: int = 64, count: int = 2) -> SimpleNamespace:
    return SimpleNamespace(
        image=torch.rand(count, 3, size, size),
        true_alpha=torch.rand(count, 1, size, size),
        trimap=torch.randint(0, 3, (count, 1, size, size)) / 2,
        foreground=torch.rand(count, 3, size, size),
        background=torch.rand(count, 3, size, size),
    )


def needed(network, batch) -> dict:
    every = {"trimap": batch.trimap, "background": batch.background, "clip": torch.rand(2, 2, 4, 64, 64)}
    return {name: every[name] for name in network.required}


@pytest.mark.parametrize("name", BASELINES)
def test_alpha_has_the_images_size_and_a_matte_s_range(name, randomise) -> None:
    network, batch = randomise(build(name)).eval(), random_batch()
    with torch.no_grad():
        output = network(batch.image, **needed(network, batch))
    assert output.alpha.shape == (2, 1, 64, 64)
    assert output.alpha.min() >= 0
    assert output.alpha.max() <= 1
    assert output.alpha.std() > 0


@pytest.mark.parametrize("name", [name for name in BASELINES if name not in STRIDED])
def test_a_backbone_with_other_widths_serves(name) -> None:
    network, batch = create_baseline(name, "resnet18").eval(), random_batch()
    with torch.no_grad():
        assert network(batch.image, **needed(network, batch)).alpha.shape == (2, 1, 64, 64)


@pytest.mark.parametrize("name", BASELINES)
def test_a_stage_trains_its_own_part_and_nothing_else(name) -> None:
    network, batch = build(name), random_batch()
    assert sum(stage.share for stage in network.stages) == pytest.approx(1)
    reached, start = set(), 0.0
    for stage in network.stages:
        assert network.train().begin(start + stage.share / 2) == pytest.approx(0.5)
        assert network.begin(start) == pytest.approx(0)
        assert network.stage is stage
        start += stage.share
        network.zero_grad(set_to_none=True)
        frozen = {
            child: {key: value.clone() for key, value in module.state_dict().items()}
            for child, module in network.named_children()
            if stage.trains and child not in stage.trains
        }
        losses = network.losses(network(batch.image, **network.training_inputs(batch)), batch)
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        moved = {
            child
            for child, module in network.named_children()
            if any(w.grad is not None and w.grad.abs().sum() > 0 for w in module.parameters())
        }
        assert moved == set(stage.trains) if stage.trains else moved
        reached |= moved
        for child, before in frozen.items():  # the statistics of frozen norms too
            after = network.get_submodule(child).state_dict()
            assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert reached == {child for child, _ in network.named_children()}


@pytest.mark.parametrize("name", BASELINES)
def test_parts_of_a_method_are_all_of_it(name) -> None:
    network = build(name)
    named = [child for part in network.modules_of.values() for child in part]
    assert sorted(named) == sorted(child for child, _ in network.named_children() if network.modules_of)
    assert bool(named) == (len(network.stages) > 1)


def test_missing_inputs_are_named() -> None:
    image = torch.rand(1, 3, 64, 64)
    for name, missing in {"dim_trimap": "trimap", "indexnet": "trimap", "bm": "background"}.items():
        with pytest.raises(ValueError, match=rf"needs a .*: pass {missing}="):
            build(name)(image)
    with pytest.raises(ValueError, match=r"neighbouring frames.*pass clip="):
        build("crgnn")(image, trimap=torch.zeros(1, 1, 64, 64))


def test_unexpected_inputs_are_refused() -> None:
    image = torch.rand(1, 3, 64, 64)
    with pytest.raises(TypeError, match="unexpected keyword argument 'trimap'"):
        build("hatt")(image, trimap=torch.zeros(1, 1, 64, 64))
    with pytest.raises(ValueError, match="multiples of 32"):
        build("dim")(torch.rand(1, 3, 64, 70))
    with pytest.raises(ValueError, match="baseline must be one of dim"):
        create_baseline("closed-form")
    with pytest.raises(ValueError, match="built on mobilenet_v2"):
        create_baseline("indexnet", TINY)


@pytest.mark.parametrize("name", ["dim_trimap", "shm"])
def test_a_checkpoint_makes_the_same_network_again(name, tmp_path, randomise) -> None:
    network, batch, file = randomise(build(name)).eval(), random_batch(), tmp_path / "n.safetensors"
    save_checkpoint(network, file, metadata={"short_side": "64"})
    again = load_network(file)
    assert again.title == network.title
    model = open_model(file)
    assert not isinstance(model, Path)
    assert model.short_side == 64
    given = needed(network, batch)
    with torch.no_grad():
        assert torch.equal(again(batch.image, **given).alpha, network(batch.image, **given).alpha)
    with pytest.raises(ValueError, match="cannot be built"):
        load_checkpoint(file)


def test_load_network_reads_a_modnet_too(tiny_network, tmp_path) -> None:
    save_checkpoint(tiny_network, tmp_path / "n.safetensors")
    assert load_network(tmp_path / "n.safetensors").config == tiny_network.config


def test_parameters() -> None:
    """On MobileNetV2, whose features alone have 2,223,872."""
    counted = {name: count_parameters(create_baseline(name)) for name in BASELINES}
    assert counted == {
        "dim": 3_379_122,
        "dim_trimap": 3_379_810,
        "indexnet": 5_020_812,
        "fdmpa": 2_259_685,
        "lfm": 2_747_331,
        "shm": 2_883_012,
        "hatt": 3_237_219,
        "bshm": 2_808_083,
        "bm": 2_676_608,
        "crgnn": 5_918_270,
    }


# enough for each; methods of several stages share theirs among them
STEPS = dict.fromkeys(("dim", "dim_trimap", "bm"), 160) | {
    "indexnet": 160, "crgnn": 140, "fdmpa": 360, "bshm": 340, "hatt": 260, "lfm": 220, "shm": 200,
}  # fmt: skip

AUGMENTED = DataConfig(framing="person", flip=0.5, colour=1.0, defocus=0.35)


class FixedDataset(CompositionDataset):
    """The same four samples in every batch."""

    def __getitem__(self, key):
        return super().__getitem__((key[0] % 4, key[1]))


# HAtt answers at a quarter of the size: at 64 pixels enlarging alone costs nearly 0.02
SIZES = {"hatt": 128}


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES)
def test_each_method_learns_four_pictures(name, make_sample, tmp_path) -> None:
    backgrounds = [lambda: make_sample(7).background, lambda: make_sample(8).background]
    people = [lambda: make_sample(0), lambda: make_sample(1)]
    dataset = FixedDataset(people, backgrounds, 0, AUGMENTED)
    network, size = build(name), SIZES.get(name, 64)
    config = TrainingConfig(
        stages=(Stage(size, 4, STEPS[name]),),
        optimizer="adamw",
        learning_rate=1e-2 if name in (*STRIDED, "fdmpa") else 5e-3,
        schedule="cosine",
        checkpoint_every=0,
    )
    Trainer(network, dataset, config, tmp_path, device="cpu").run(show_progress=False)
    errors = four_errors(network, dataset, size)
    assert sum(errors) / 4 < 0.02, errors


def four_errors(network, dataset, size: int) -> list[float]:
    from modnet_lib.data.assemble import assemble, collate

    batch = assemble(collate([dataset[number, size] for number in range(4)]))
    given = {"trimap": batch.trimap, "background": batch.background}
    if "clip" in network.required:
        frame = torch.cat((batch.image, batch.trimap), dim=1)
        given["clip"] = torch.stack((frame, frame), dim=1)
    with torch.no_grad():
        alpha = network.eval()(batch.image, **{key: given[key] for key in network.required}).alpha
    return (alpha - batch.true_alpha).abs().mean(dim=(1, 2, 3)).tolist()
