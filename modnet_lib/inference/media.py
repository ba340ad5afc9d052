"""Clips of any kind, read through PyAV and Pillow: frames at their times, with the sound between them."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from av.error import FFmpegError
from PIL import Image, ImageSequence

from modnet_lib.files import kind_of
from modnet_lib.images import count_frames, is_picture, read_image
from modnet_lib.inference.tone_mapping import HLG, PQ, to_standard_range

MISSING = 0.25  # seconds; a file that ends earlier than it declares, by more than this, was cut short
THUMBNAIL, CUT = (32, 24), 0.12 * 255  # mean change at a cut; measured in tests on clips with and without
UNSPECIFIED = 2  # colour space, as ITU-T H.273 numbers it
NO_CLIPS = ("tty", "image2", "_pipe")  # demuxers that make a "video" of a text or of a single picture


class Frame(NamedTuple):
    """(H, W, 3) uint8 RGB, upright; exact seconds from the start; number of the shot, which grows at every cut."""

    image: np.ndarray
    time: Fraction
    shot: int


class Clip:
    """The frames of a clip, which are read once, from the start.

    Transparent parts are laid over white. Untagged HD is BT.709; HDR is mapped to the range of a photograph.

    Parameters
    ----------
    source
        A video, an animated GIF, WebP or PNG, or a folder of pictures, which are frames in the order of their names
        (with ``timecodes.txt``, at these times).
    strict
        Raise a ValueError at the first damage instead of noting it in `damage`: what could not be read and where.
    rate
        Frame rate of a folder without times.
    """

    _container: Any

    def __init__(self, source: str | Path, *, strict: bool = False, rate: int = 24):
        self.source, self.strict, self._container = Path(source), strict, None
        # packets of sound, up to those of the last frame that was read, for the encoder to take out
        self.packets, self.damage, self.audio = deque[Any](), list[str](), None
        self.rate, self.time_base, self.aspect = Fraction(rate), Fraction(1, 1000 * rate), None
        if not self.source.exists():
            raise FileNotFoundError(f"no clip at {source}")
        if self.source.is_dir():
            files = sorted(one for one in self.source.iterdir() if is_picture(one) and not one.name.startswith("."))
            self._frames, self.count = self._pictures(files), len(files)
        elif is_picture(source) and "tif" not in self.source.suffix.lower() and (found := count_frames(source)) > 1:
            self._frames, self.count = self._animation(), found  # a TIFF has pages
        else:
            self.count, self._frames = self._open() or None, self._film()

    def _open(self) -> int:
        try:
            self._container = av.open(str(self.source))
        except (FFmpegError, EOFError) as error:
            kind = kind_of(self.source)
            kind = kind if kind and "clip" not in kind else "empty, damaged, cut short or no video"
            raise ValueError(f"{self.source} is {kind}: {error}") from error
        streams, kind = self._container.streams, self._container.format.name
        # there is no context for a codec that nobody knows
        if not streams.video or not streams.video[0].codec_context or any(name in kind for name in NO_CLIPS):
            self.close()
            raise ValueError(f"{self.source} holds no video ({kind}); for single pictures use `modnet matte`")
        self._video, self.audio = streams.video[0], streams.audio[0] if streams.audio else None
        self._video.thread_type = "AUTO"
        self._decoder: Any = self._video.codec_context
        if self._video.metadata.get("alpha_mode") == "1":  # FFmpeg's own decoders of WebM leave out alpha
            self._decoder = av.CodecContext.create({"vp8": "libvpx"}.get(self._decoder.name, "libvpx-vp9"), "r")
        self.rate = self._video.average_rate or self._video.guessed_rate or Fraction(30)
        self.time_base, self.aspect = self._video.time_base, self._video.sample_aspect_ratio
        return self._video.frames

    def close(self) -> None:
        """Close the file."""
        if self._container:
            self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        shot, before, last = 0, None, -1 / self.rate
        for image, moment in self._frames:
            # a damaged clip may have no times, negative ones, or such that run backwards
            after = Fraction(-1) if moment is None else max(moment, Fraction(0))
            last = after if after > last else last + 1 / self.rate
            grey = cv2.cvtColor(cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
            shot += before is not None and cv2.absdiff(grey, before).mean() > CUT
            yield Frame(image, last, shot)
            before = grey
        if before is None:
            raise ValueError(f"{self.source} holds no frames that can be read. {' '.join(self.damage)}")

    def note(self, problem: str) -> None:
        """Add to `damage`; with `strict` a ValueError."""
        if self.strict:
            raise ValueError(f"{self.source}: {problem}")
        if problem not in self.damage:
            self.damage.append(problem)

    def _film(self) -> Iterator[tuple[np.ndarray, Fraction | None]]:
        video, start, end = self._video, (self._video.start_time or 0) * self._video.time_base, 0.0
        packets, size = self._container.demux(), (video.width, video.height)
        try:
            for packet in packets:
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream is self.audio and packet.dts is not None:
                    shift = round(start / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    self.packets.append(packet)
                if packet.stream is not video:
                    continue
                try:
                    frames = self._decoder.decode(packet)
                except FFmpegError as error:
                    self.note(f"damaged at {end - float(start):.2f} s ({error.strerror})")
                    continue
                for frame in frames:
                    moment = None if frame.pts is None else frame.pts * (frame.time_base or video.time_base) - start
                    yield np.rot90(to_rgb(frame, size), frame.rotation // 90), moment
        except FFmpegError as error:
            self.note(f"unreadable from {end - float(start):.2f} s on ({error.strerror})")
        # Matroska counts its duration from time 0, other containers from their first packet
        first = 0 if "matroska" in self._container.format.name else self._container.start_time or 0
        end, lasts = end - first / 1e6, (self._container.duration or 0) / 1e6
        if lasts - end > max(MISSING, 1.5 / float(self.rate)):  # the last frame may not say how long it lasts
            self.note(f"cut short: it ends after {end:.2f} s of {lasts:.2f} s")

    def _pictures(self, files: list[Path]) -> Iterator[tuple[np.ndarray, Fraction | None]]:
        times, size, table = list[Any](), None, self.source / "timecodes.txt"
        if table.is_file():
            lines = table.read_text(encoding="utf-8").splitlines()
            times = [Fraction(line) / 1000 for line in lines if line[:1].isdigit()]
        for file, moment in zip(files, chain(times, repeat(None)), strict=False):
            try:
                image = read_image(file)
                if image.shape != (size := size or image.shape):
                    raise ValueError(f"{file} is {image.shape[1]} x {image.shape[0]}, the first {size[1]} x {size[0]}")
            except ValueError as error:
                self.note(str(error))
                continue
            yield image, moment

    def _animation(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        moment = Fraction(0)
        with Image.open(self.source) as opened:
            try:
                for frame in ImageSequence.Iterator(opened):
                    yield read_image(frame), moment
                    moment += Fraction(round(frame.info.get("duration") or 100), 1000)  # as browsers do
            except (OSError, SyntaxError, ValueError) as error:
                self.note(f"damaged at {float(moment):.2f} s ({error})")


def to_rgb(frame: Any, size: tuple[int, int] | None = None) -> np.ndarray:
    """A decoded frame as (H, W, 3) uint8 in BT.709: over white if it is transparent, tone-mapped if it is HDR.

    It is scaled to `size`, (width, height), if it has another one, as players do.
    """
    options: dict[str, Any] = dict(zip(("width", "height"), size or (frame.width, frame.height), strict=True))
    if frame.colorspace == UNSPECIFIED and max(frame.width / 1280, frame.height / 720) >= 1:
        options["src_colorspace"] = "ITU709"
    if frame.color_trc in (HLG, PQ):
        return to_standard_range(frame.reformat(format="rgb48le", **options).to_ndarray(), frame.color_trc)
    if not any(component.is_alpha for component in frame.format.components):
        return frame.reformat(format="rgb24", **options).to_ndarray()
    return read_image(frame.reformat(format="rgba", **options).to_ndarray())
