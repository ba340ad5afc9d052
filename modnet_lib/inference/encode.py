"""Clips written through PyAV: frames at their times, with the sound of the clip that they come from."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from PIL import Image

from modnet_lib.files import atomic, atomic_folder
from modnet_lib.inference.media import Clip

# container, picture codec and its options, sound codec, sound that is copied
H264 = ("libx264", {"crf": "18"})
VP9 = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "5", "row-mt": "1"}
VP9["auto-alt-ref"] = "0"  # libvpx cannot hide frames that have alpha
FORMATS = {
    ".mp4": ("mp4", *H264, "aac", {"aac", "mp3", "ac3"}),
    ".mov": ("mov", *H264, "aac", {"aac", "mp3"}),
    ".mkv": ("matroska", *H264, "aac", {"aac", "mp3", "ac3", "opus", "vorbis", "flac"}),
    ".webm": ("webm", "libvpx-vp9", VP9, "libopus", {"opus", "vorbis"}),
}

Write = Callable[[np.ndarray, Fraction], None]  # takes a matte (H, W) or RGB or RGBA, uint8, and seconds


@contextmanager
def writer(target: Path, clip: Clip | None = None, *, sound: bool = True, rate: int = 24) -> Iterator[Write]:
    """Write a clip or a folder of PNG files, which gets its name when all is written without an error.

    Yields a function that takes the pictures, all of one size, one after another.

    Parameters
    ----------
    target
        Ends as one of `FORMATS`, or in nothing for a new folder; alpha is for ``.webm`` and folders.
    clip, sound
        Keep the pace of this one and its sound, and with H.264 the shape of its pixels, which become square in WebM.
    rate
        Frames a second, without a clip.
    """
    suffix, opened = target.suffix.lower(), atomic if target.suffix else atomic_folder
    filling = partial(_encoder, suffix=suffix, clip=clip, sound=sound, rate=rate) if suffix else _pictures
    try:
        with opened(target) as path, filling(path) as write:
            yield lambda image, moment: write(image if image.ndim == 3 else np.dstack([image] * 3), moment)
    except FFmpegError as error:  # which names the temporary file
        name = clip.source if clip else "a clip"
        raise ValueError(f"{name} cannot be written to {target}: {error.strerror}") from error


@contextmanager
def _encoder(path: Path, suffix: str, clip: Clip | None, sound: bool, rate: int) -> Iterator[Write]:
    fps, unit = (clip.rate, clip.time_base) if clip else (Fraction(rate), Fraction(1, 1000 * rate))
    aspect = (clip and clip.aspect) or Fraction(1)
    form, codec, quality, sound_codec, copied = FORMATS[suffix]
    options, stream = {"movflags": "+faststart"} if codec == "libx264" and form != "matroska" else {}, list[Any]()
    with av.open(str(path), "w", format=form, options=options) as container:
        write_sound = _sound(container, clip if sound else None, sound_codec, copied)

        def write(image: np.ndarray, moment: Fraction) -> None:
            if codec == "libx264":  # it wants even sizes: an odd last row or column is shown twice
                image = np.pad(image, [*((0, side % 2) for side in image.shape[:2]), (0, 0)], "edge")
            elif aspect != 1:  # PyAV cannot put it into WebM
                image = cv2.resize(image, (round(image.shape[1] * aspect), image.shape[0]))
            alpha = image.shape[2] == 4
            if not stream:
                stream.append(container.add_stream(codec, rate=fps, options=quality))
                stream[0].height, stream[0].width = image.shape[:2]
                stream[0].pix_fmt, context = "yuva420p" if alpha else "yuv420p", stream[0].codec_context
                stream[0].time_base = context.time_base = unit
                context.sample_aspect_ratio = aspect
                context.colorspace = context.color_primaries = 1  # BT.709
                context.color_trc = context.color_range = 1
            frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgba" if alpha else "rgb24")
            frame = frame.reformat(format=stream[0].pix_fmt, dst_colorspace="ITU709")
            frame.time_base, frame.pts = unit, round(moment / unit)
            container.mux(stream[0].encode(frame))
            write_sound(False)

        yield write
        write_sound(True)  # it may outlast the pictures
        for one in stream:
            container.mux(one.encode(None))


def _sound(container: Any, clip: Clip | None, codec: str, copied: set[str]) -> Callable[[bool], None]:
    """Add a stream for the sound of a clip. What is returned writes the packets that were read since its last call."""
    if clip is None or clip.audio is None:
        return lambda end: None
    copy = clip.audio.codec.canonical_name in copied
    new = {"codec_name": codec, "rate": 48000, "layout": "stereo"}
    track = container.add_stream_from_template(clip.audio) if copy else container.add_stream(**new)

    def write(end: bool) -> None:
        while clip.packets:
            packet = clip.packets.popleft()
            try:
                if copy:
                    packet.stream = track
                    container.mux(packet)
                else:
                    container.mux([made for frame in packet.decode() for made in track.encode(frame)])
            except FFmpegError as error:
                clip.note(f"damaged sound, left out ({error.strerror})")
        if end and not copy:
            container.mux(track.encode(None))

    return write


@contextmanager
def _pictures(folder: Path) -> Iterator[Write]:
    """A PNG for every picture, and ``timecodes.txt`` with their times in milliseconds."""
    times = ["# timecode format v2"]

    def write(image: np.ndarray, moment: Fraction) -> None:
        Image.fromarray(image).save(folder / f"{len(times) - 1:06d}.png", compress_level=3)
        times.append(f"{float(moment * 1000):.3f}")

    yield write
    (folder / "timecodes.txt").write_text("\n".join(times) + "\n", encoding="utf-8")


def write_clip(path: str | Path, images: Iterable[np.ndarray], rate: int = 24) -> None:
    """Write pictures of one size as a clip, atomically; see `writer`."""
    with writer(Path(path), rate=rate) as write:
        for number, image in enumerate(images):
            write(image, Fraction(number, rate))
