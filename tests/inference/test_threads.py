"""Who makes and calls a compiled network: one thread, whichever asks, as CUDA graphs want it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.inference import Matter, bulk
from modnet_lib.inference.deploy import make_backend
from modnet_lib.inference.video import matte_video


class Compiled:
    """What `torch.compile` returns here; it overwrites its answer, as a graph does."""

    def __init__(self, module: torch.nn.Module, **_options):
        self.module, self.threads, self.answer = module, [threading.get_ident()], torch.empty(0)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.threads.append(threading.get_ident())
        assert torch.is_inference_mode_enabled()
        answer = self.module(image)
        if self.answer.shape != answer.shape:
            self.answer = torch.empty_like(answer)
        return self.answer.copy_(answer)


@pytest.fixture
def compiled(monkeypatch, tiny_network) -> tuple[Matter, Compiled]:
    made = []
    monkeypatch.setattr(torch, "compile", lambda *given, **options: made.append(Compiled(*given, **options)) or made[0])
    matter = Matter(tiny_network, short_side=64, device="cpu", backend="compiled")
    return matter, made[0]


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(tmp_path / "in" / f"{number}.png")
    return sorted((tmp_path / "in").iterdir())


def test_one_thread_makes_it_and_calls_it_for_all(compiled, pictures, make_clip, tmp_path) -> None:
    matter, made = compiled
    warm_up = matter.alpha(pictures[0])
    results = list(bulk.run(matter, bulk.plan(pictures, tmp_path / "out"), bulk.Output(alpha=True), workers=3))
    assert [one.error for one in results] == [""] * 6
    clip = make_clip("in.mp4", [np.asarray(Image.open(file)) for file in pictures])
    assert len(matte_video(matter, clip, tmp_path / "out.mp4", background="green", batch_size=2).repaired) == 6
    made.module.to("meta")
    with pytest.raises(RuntimeError):  # errors come back, too
        matter.alpha(pictures[0])
    assert len(made.threads) == 1 + 1 + 6 + 3 + 1
    assert set(made.threads) == {made.threads[0]}
    assert made.threads[0] != threading.get_ident()
    assert warm_up.shape == (64, 96)


def test_an_answer_outlives_the_next_one(tiny_network, monkeypatch) -> None:
    monkeypatch.setattr(torch, "compile", Compiled)
    _, answer = make_backend(tiny_network.eval(), "compiled", torch.device("cpu"), torch.float32)
    assert not torch.equal(answer(torch.zeros(1, 3, 64, 64)), answer(torch.ones(1, 3, 64, 64)))


def test_it_answers_as_the_plain_network_does(compiled, pictures, tiny_network) -> None:
    matter, _ = compiled
    plain = Matter(tiny_network, short_side=64, device="cpu", backend="fused")
    for file in pictures:
        assert np.array_equal(matter.alpha(file), plain.alpha(file))
