"""Steps with backward and optimiser on `meta`, where every number that is read out is one half."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from second_device import Guard, WrongDevice, check, devices

from modnet_lib.baselines import BASELINES, create_baseline
from modnet_lib.data.assemble import assemble, collate, through_camera
from modnet_lib.data.dataset import CompositionDataset
from modnet_lib.network import MODNet, Segmenter, create_backbone
from modnet_lib.profiles import DataConfig, Stage, TrainingConfig
from modnet_lib.training.adaptation import PRESETS, adapt, soc_terms, trainable
from modnet_lib.training.frames import watch
from modnet_lib.training.loop import Trainer
from modnet_lib.training.state import freeze_norms
from modnet_lib.training.validation import validator

TINY = "mobilenetv3_small_050"
CONFIG = TrainingConfig(stages=(Stage(64, 2, 2),), checkpoint_every=1, validate_every=1, workers=0)


@pytest.fixture
def dataset(make_sample) -> CompositionDataset:
    config = DataConfig(framing="person", colour=1.0, harmonise=0.5, composites=5)
    return CompositionDataset([lambda: make_sample(0)], [lambda: make_sample(7).background], 0, config)


def test_batches_are_assembled_on_the_device(dataset, read) -> None:
    raw = collate([dataset[number, 64] for number in range(len(dataset))])
    assert raw.natural.any()
    assert raw.harmony.any()
    cameras = torch.zeros(len(dataset), 5)
    cameras[1:4] = torch.tensor([[1.0, 0, 1, 50, 0], [2.0, 0, 1, 0, 0], [0, 0, 1, 20, 0]])
    # what stays on the CPU decides: which crops are natural, the cameras, the sides of the trimaps' squares
    with Guard(uploads=True):
        check(assemble(raw, "meta"), "meta")
        assert read == []
        check(assemble(raw._replace(camera=cameras), "meta"), "meta")
    assert read == [(2 * 64, 64, 3)], "two pictures become JPEG files and leave the device at once"


def test_noise_is_drawn_on_the_device(read, monkeypatch) -> None:
    asked = []

    class Generator:
        def __new__(cls, device: torch.device) -> Any:
            asked.append(device.type)
            return cls

        @staticmethod
        def manual_seed(seed: int) -> None:
            assert seed == 7

    monkeypatch.setattr(torch, "Generator", Generator)  # there is none for `meta`
    with Guard():
        check(through_camera(torch.empty(1, 3, 64, 64, device="meta"), torch.tensor([[0, 0.1, 2, 0, 7]])), "meta")
    assert asked == ["meta"]


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (lambda: MODNet(backbone=TINY), {"optimizer": "adamw", "ema": 0.9}),
        (lambda: MODNet("released", TINY), {"freeze_norm": True}),
        (lambda: MODNet(backbone=TINY, trimap_input=True), {"accumulate": 2, "channels_last": True}),
        (lambda: Segmenter(create_backbone(TINY)), {"objective": "segmentation"}),
    ],
    ids=["paper", "released", "trimap", "segmentation"],
)
def test_steps_validation_and_resume(make, changes, dataset, make_sample, meta, tmp_path) -> None:
    config, samples = replace(CONFIG, **changes), [("one", make_sample(3, 64, 96))]
    todo = (1, 2) if "ema" in changes else (1,)
    for steps in todo:  # the second one resumes
        trainer = Trainer(make(), dataset, config, tmp_path, validate=validator(samples, tmp_path, 64), device="meta")
        assert devices(trainer.network) == {"meta"}
        with Guard(uploads=True):
            history = trainer.run(stop_after=steps, show_progress=False)
    assert [line["loss"] for line in history] == [0.5 for _ in todo]
    assert all("validation_mad" in line for line in history)
    assert meta.count((64, 96)) == len(todo)
    assert len(meta) <= 3 * len(todo), "the terms, the gradient's norm and a matte in each step"


@pytest.mark.parametrize("name", BASELINES)
def test_every_stage_of_every_baseline(name, dataset, meta, tmp_path) -> None:
    network = create_baseline(name, "mobilenet_v2" if name in ("indexnet", "crgnn") else TINY)
    trainer, shares = (
        Trainer(network, dataset, CONFIG, tmp_path, device="meta"),
        [stage.share for stage in network.stages],
    )
    batches = iter([next(iter(trainer.batches()))] * len(shares))
    for number, stage in enumerate(network.stages):
        network.train().begin(sum(shares[:number]))
        assert network.stage == stage
        with Guard(uploads=True):
            assert trainer.update(network, trainer.pieces(batches))["loss"] == 0.5
    assert len(meta) <= 2 * len(shares), "the terms and the gradient's norm"


def test_adaptation(drawn_samples, meta, tmp_path) -> None:
    frames = [sample.image for sample in drawn_samples(2, 64)]
    config = replace(PRESETS["released"], epochs=1, short_side=64)
    network = MODNet(backbone=TINY)
    with Guard(uploads=True):
        result = adapt(network, frames, config, tmp_path, show_progress=False, device="meta")
    assert result.stopped == ""
    assert result.epoch == 1
    assert devices(result.network) == {"meta"}
    assert devices(network) == {"cpu"}
    assert meta.count((5,)) == 2, "before the first step and after the epoch"
    assert len(meta) <= 2 + 2 * 2, "the terms and the gradient's norm in each step"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_of_soc_as_notebook_07_takes_it(preset, meta) -> None:
    network, frozen = (MODNet(backbone=TINY).to("meta").eval() for _ in range(2))
    freeze_norms(network)
    optimizer = torch.optim.Adam(trainable(network))
    with Guard():
        terms = soc_terms(network, frozen, torch.empty(1, 3, 64, 64, device="meta"), PRESETS[preset])
        terms["total"].backward()
        optimizer.step()
    check(terms, "meta")
    assert meta == [], "nothing is read out"


def test_a_frame_on_the_cpu_is_noticed(meta) -> None:
    network = MODNet(backbone=TINY).to("meta").eval()
    with pytest.raises((WrongDevice, RuntimeError), match=r"device|given tensors on"), Guard():
        watch(network, [torch.rand(1, 3, 64, 64)])
