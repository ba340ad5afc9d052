"""What only a card can show; each test waits in benchmarks/GPU_TODO.md with its command."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib import images
from modnet_lib.data.sets import drawn_people, training_data
from modnet_lib.devices import resize
from modnet_lib.inference import Matter, bulk
from modnet_lib.inference.video import matte_video
from modnet_lib.network import MODNet
from modnet_lib.profiles import DataConfig, Stage, TrainingConfig
from modnet_lib.training import loop
from modnet_lib.training.adaptation import AdaptationConfig, adapt
from modnet_lib.training.loop import Trainer

TRAINING = TrainingConfig(
    stages=(Stage(64, 4, 6), Stage(96, 4, 2)), optimizer="adamw", learning_rate=1e-3, channels_last=True, ema=0.9
)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [read().image for read in drawn_people(4).readers]


@pytest.mark.gpu
def test_float32_mattes_are_those_of_the_cpu(pictures) -> None:
    here, there = (Matter.from_pretrained(device=device) for device in ("cpu", "cuda"))
    for picture in pictures:
        assert np.abs(here.alpha(picture) - there.alpha(picture)).max() < 1e-4  # TF32 differs by 1e-3


@pytest.mark.gpu
def test_a_hundredfold_shrink_is_that_of_the_cpu() -> None:
    x = torch.rand(1, 3, 3000, 3200)
    torch.testing.assert_close(resize(x.cuda(), 30, 32).cpu(), resize(x, 30, 32), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["fused", "compiled"])
def test_every_backend_answers_in_bulk_and_video(pictures, make_clip, tmp_path, backend) -> None:
    plain = Matter.from_pretrained(short_side=256, device="cuda", backend="eager")
    matter = Matter.from_pretrained(short_side=256, device="cuda", backend=backend)
    files = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    jobs = bulk.plan(files, tmp_path / "out")
    assert [one.error for one in bulk.run(matter, jobs, "matte", workers=3)] == [""] * len(files)
    for job, picture in zip(jobs, pictures, strict=True):
        found = np.asarray(Image.open(job.target)) / 255
        assert np.abs(found - plain.alpha(picture)).max() < 0.01
    clip = make_clip("in.mp4", [pictures[0]] * 5)
    assert len(matte_video(matter, clip, tmp_path / "out.mp4", background="green", batch_size=2).repaired) == 5


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_cut_run_resumes(tmp_path, precision) -> None:
    settings = dataclasses.replace(TRAINING, mixed_precision=precision)
    data = DataConfig(portraits=4, scenes=4, camera=0.5, memory=1)
    histories = []
    for stops in ((None,), (5, None)):
        for stop in stops:
            torch.manual_seed(0)
            network, folder = MODNet(), tmp_path / str(len(stops))
            trainer = Trainer(network, training_data(data, 0), settings, folder, device="cuda")
            history = trainer.run(stop, show_progress=False)
        assert next(network.parameters()).is_cuda
        histories.append([record["loss"] for record in history])
    assert histories[0] == pytest.approx(histories[1], rel=1e-3 if precision == "no" else 2e-2)


class Strict(Trainer):
    """Waiting for the card is an error, but where the numbers of a step are read."""

    def _advance(self, *arguments):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return super()._advance(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def read_out(numbers):
    torch.cuda.set_sync_debug_mode("default")
    values = images.read_out(numbers)
    torch.cuda.set_sync_debug_mode("error")
    return values


@pytest.mark.gpu
def test_a_step_waits_for_the_card_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "read_out", read_out)
    data = training_data(DataConfig(portraits=4, scenes=4, memory=1), 0)
    settings = dataclasses.replace(TRAINING, mixed_precision="bf16", gradient_clip=1.0)
    assert len(Strict(MODNet(), data, settings, tmp_path, device="cuda").run(show_progress=False)) == 8


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_soc_runs_in_every_precision(pictures, tmp_path, precision) -> None:
    config = AdaptationConfig(epochs=2, short_side=256, mixed_precision=precision)
    result = adapt(MODNet().eval(), pictures, config, tmp_path, device="cuda", show_progress=False)
    assert next(result.network.parameters()).is_cuda
    assert all(np.isfinite(record["disagreement"]) for record in result.history)
