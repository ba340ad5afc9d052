"""Shared by all tests: small pictures, small networks, and the real data for those who have it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import ImageCms
from torch import nn

from modnet_lib import images, paths
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.data.sets import drawn_people
from modnet_lib.network import MODNet

images.keep_threads()  # before a test imports pymatting
# torch.compile imports setuptools, which refuses a distutils that was imported in another way before (Python 3.11)
os.environ.setdefault("SETUPTOOLS_USE_DISTUTILS", "stdlib")

CLIP_RATE = 25  # frames a second
TINY_BACKBONE = "mobilenetv3_small_050"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def without_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data from outside, and a cache of the test's own."""
    monkeypatch.delenv("MODNET_DATA", raising=False)
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    return tmp_path


@pytest.fixture
def real_data() -> Path:
    """The user's data folder; without one the test is skipped."""
    folder = paths.external_data()
    if folder is None:
        pytest.skip("set MODNET_DATA")
    return folder


def _randomise(module: nn.Module) -> nn.Module:
    """Give every batch norm statistics and weights as if it had been trained, so that nothing cancels."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.6, 1.4)
            nn.init.normal_(part.bias, 0, 0.2)
    return module


@pytest.fixture
def randomise() -> Callable[[nn.Module], nn.Module]:
    return _randomise


@pytest.fixture(scope="session")
def paper_network() -> MODNet:
    """The default network with random weights, in evaluation mode; tests must not change it."""
    torch.manual_seed(1)
    return _randomise(MODNet()).eval()


@pytest.fixture(scope="session")
def released_network() -> MODNet:
    torch.manual_seed(2)
    return _randomise(MODNet("released")).eval()


@pytest.fixture
def tiny_network() -> MODNet:
    """A paper variant of 0.3 million parameters, fit to be trained in a test."""
    torch.manual_seed(3)
    return MODNet(backbone=TINY_BACKBONE)


@pytest.fixture(scope="session")
def linear_profile() -> bytes:
    """An ICC profile with sRGB's primaries and linear values."""
    linear = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    curve = b"curv" + bytes(4) + (0).to_bytes(4, "big")  # no entries: the identity
    for number in range(int.from_bytes(linear[128:132], "big")):
        place = 132 + 12 * number
        start = int.from_bytes(linear[place + 4 : place + 8], "big")
        if linear[place : place + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            linear[start : start + 12] = curve
            linear[place + 8 : place + 12] = (12).to_bytes(4, "big")
    return bytes(linear).replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be"))


def _smooth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A colour gradient between random corners, (H, W, 3) in [0, 1]."""
    corners = rng.random((2, 2, 3))
    y = np.linspace(0, 1, height)[:, None, None]
    x = np.linspace(0, 1, width)[None, :, None]
    top = corners[0, 0] * (1 - x) + corners[0, 1] * x
    bottom = corners[1, 0] * (1 - x) + corners[1, 1] * x
    return top * (1 - y) + bottom * y


def _make_sample(seed: int = 0, height: int = 96, width: int = 96) -> MattingSample:
    """An ellipse with a soft edge before a gradient; I follows from Eq. 1, rounded to bytes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    cy, cx = rng.uniform(0.4, 0.6, 2) * (height, width)
    ry, rx = rng.uniform(0.2, 0.35, 2) * (height, width)
    radius = np.hypot((y - cy) / ry, (x - cx) / rx)
    alpha = np.clip((1.15 - radius) / 0.3, 0, 1)
    alpha8 = (alpha * 255).round().astype(np.uint8)
    foreground, background = ((_smooth(rng, height, width) * 255).round().astype(np.uint8) for _ in range(2))
    weight = alpha8[..., None] / 255
    image = (weight * foreground + (1 - weight) * background).round().astype(np.uint8)
    return MattingSample(image, alpha8, foreground, background)


def _drawn_samples(count: int, size: int) -> list[MattingSample]:
    """The first drawn people that ship, made smaller."""
    samples = [read() for read in drawn_people(count).readers]
    return [
        MattingSample(*(cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA) for part in sample))
        for sample in samples
    ]


@pytest.fixture(scope="session")
def drawn_samples() -> Callable[[int, int], list[MattingSample]]:
    return _drawn_samples


@pytest.fixture
def make_sample() -> Callable[..., MattingSample]:
    return _make_sample


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    times: Sequence[int] | None = None,
    codec: str = "libx264rgb",
    audio: str | None = None,
    rotation: int = 0,
) -> Path:
    """A clip, lossless unless the codec says otherwise; times in 1/1000 s; audio is a tone."""
    import av

    with av.open(str(path), "w") as container:
        options = {"qp": "0"} if codec == "libx264rgb" else {"crf": "10"}
        stream = container.add_stream(codec, rate=CLIP_RATE, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb24" if codec == "libx264rgb" else "yuv444p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        tone = container.add_stream(audio, rate=48000, layout="mono") if audio else None
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts = times[number] if times else 1000 * number // CLIP_RATE
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        if tone is not None:
            samples = np.arange(48000 * len(frames) // CLIP_RATE)
            wave = np.sin(2 * np.pi * 440 * samples / 48000).astype(np.float32)[None]
            sound = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            sound.sample_rate = 48000
            container.mux(tone.encode(sound))
            container.mux(tone.encode(None))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """`write_clip` into this test's folder."""
    return lambda name, frames, **options: write_clip(tmp_path / name, frames, **options)
