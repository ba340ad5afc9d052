"""Small clips to read, and a matter that is no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from modnet_lib.inference import Matter
from modnet_lib.network import MODNet

RATE = 25


class RedMatter(Matter):
    """The matte is the red channel, so that a clip says which mattes it has."""

    def __init__(self) -> None:
        super().__init__(MODNet(backbone="mobilenetv3_small_050"), short_side=64, device="cpu")
        self.seen = 0

    def alphas(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.seen += len(images)
        return [image[..., 0].astype(np.float32) / 255 for image in images]


@pytest.fixture
def red_matter() -> RedMatter:
    return RedMatter()


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
    with av.open(str(path), "w") as container:
        options = {"qp": "0"} if codec == "libx264rgb" else {"crf": "10"}
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb24" if codec == "libx264rgb" else "yuv444p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        tone = container.add_stream(audio, rate=48000, layout="mono") if audio else None
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts = times[number] if times else 1000 * number // RATE
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        if tone is not None:
            samples = np.arange(48000 * len(frames) // RATE)
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
