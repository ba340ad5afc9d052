"""Clips in: files, pipes and cameras become frames with their times."""

import sys
import time
from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, NamedTuple

import cv2
import numpy as np

Source = str | Path | int | IO[bytes]

MISSING = 0.25  # a file that ends so many seconds before it says it does was cut
CUT = 0.12  # mean change of small grey pictures; measured in tests on clips with and without cuts
THUMBNAIL = (32, 24)
NO_CLIPS = ("tty", "image2", "_pipe")  # demuxers that make a "video" of a text or of a single picture


class Frame(NamedTuple):
    """One picture of a clip.

    Attributes
    ----------
    image
        (H, W, 3) uint8 RGB, upright.
    time
        When it is shown, seconds from the start; exact.
    shot
        Number of the shot, from 0: it grows at every cut.
    """

    image: np.ndarray
    time: Fraction
    shot: int


class Pace(NamedTuple):
    """What a new file takes over from a clip besides its pictures.

    Attributes
    ----------
    rate
        Frames a second, on average; frames have times of their own.
    time_base
        Times of frames are multiples of it, seconds.
    start
        When the first frame is shown by the file's clock, to which audio packets refer, seconds.
    aspect
        Width of a pixel by its height; ``None`` if the file does not say.
    audio
        The audio stream (of PyAV), or ``None``.
    """

    rate: Fraction
    time_base: Fraction
    start: Fraction = Fraction(0)
    aspect: Fraction | None = None
    audio: Any = None


class Clip:
    """A clip that is read once, from its start.

    Parameters
    ----------
    source
        A file; ``"-"`` (standard input) or a binary file object, which need not seek; a camera's number.
    limit
        Stop after so many frames. A camera needs one, as it has no end.
    sound
        Read the audio as well.

    Attributes
    ----------
    pace
        Rate, time base, audio and so on.
    count
        How many frames the file says it has; ``None`` if it does not say.
    packets
        What was read of it while frames were, first to last; whoever uses it takes it out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is empty, damaged or no video, or the camera does not answer; while reading, if the file was cut
        short.
    """

    def __init__(self, source: Source, *, limit: int | None = None, sound: bool = False):
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1 frame, got {limit}")
        self.name, self.limit = str(getattr(source, "name", source)), limit
        self.count = limit
        self.packets: deque[Any] = deque()  # of av.Packet
        self._container: Any = None
        if isinstance(source, int):
            self._open_camera(source)
            return
        import av
        from av.error import FFmpegError

        if source == "-":
            source = sys.stdin.buffer
        if isinstance(source, (str, Path)):
            if not Path(source).is_file():
                raise FileNotFoundError(f"no clip at {source}")
            if Path(source).stat().st_size == 0:
                raise ValueError(f"{source} is empty (0 bytes)")
        try:
            self._container = av.open(str(source) if isinstance(source, Path) else source)
        except (FFmpegError, EOFError) as error:
            raise ValueError(f"{self.name} is damaged, cut short or no video: {error}") from error
        videos = self._container.streams.video
        if not videos or any(name in self._container.format.name for name in NO_CLIPS):
            kind = self._container.format.name
            self.close()
            raise ValueError(f"{self.name} holds no video ({kind}); of single pictures use `modnet matte`")
        self._video: Any = videos[0]
        self._video.thread_type = "AUTO"
        base, aspect = self._video.time_base, self._video.sample_aspect_ratio
        self.pace = Pace(
            self._video.average_rate or self._video.guessed_rate or Fraction(30),
            base,
            (self._video.start_time or 0) * base,
            aspect,
            next(iter(self._container.streams.audio), None) if sound else None,
        )
        self.count = min(filter(None, (self._video.frames, limit)), default=None)

    def _open_camera(self, number: int) -> None:
        if self.limit is None:
            raise ValueError("a camera has no end: say how many frames to take (limit)")
        self._camera = cv2.VideoCapture(number)
        if not self._camera.isOpened():
            raise ValueError(f"camera {number} does not answer; is it plugged in, and used by nothing else?")
        rate = Fraction(self._camera.get(cv2.CAP_PROP_FPS) or 30).limit_denominator(1001)
        self.pace = Pace(rate, Fraction(1, 1_000_000))

    def close(self) -> None:
        """Let go of the file or the camera."""
        self._camera.release() if self._container is None else self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        taken, shot, before = 0, 0, None
        for image, moment in self._taken() if self._container is None else self._decoded():
            small = thumbnail(image)
            shot += before is not None and float(np.abs(small - before).mean()) > CUT
            before = small
            yield Frame(image, moment, shot)
            taken += 1
            if taken == self.limit:
                return
        if not taken:
            raise ValueError(f"{self.name} holds no frames")

    def _taken(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        start = time.monotonic_ns() // 1000
        while (shot := self._camera.read())[0]:
            yield (
                cv2.cvtColor(shot[1], cv2.COLOR_BGR2RGB),
                Fraction(time.monotonic_ns() // 1000 - start, 1_000_000),
            )

    def _decoded(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        import av
        from av.error import FFmpegError

        last, end = Fraction(-1), Fraction(0)
        try:
            for packet in self._container.demux():
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream is self.pace.audio and packet.dts is not None:
                    self.packets.append(packet)
                for frame in packet.decode() if packet.stream is self._video else ():
                    moment = last if frame.pts is None else frame.pts * frame.time_base - self.pace.start
                    if moment <= last:  # no time, or one that runs backwards
                        moment = last + 1 / self.pace.rate
                    last = moment
                    if (frame.height, frame.width) != (self._video.height, self._video.width):
                        raise ValueError(f"{self.name} changes its size at {float(moment):.2f} s")
                    yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90), moment
        except FFmpegError as error:
            raise ValueError(f"{self.name} is damaged or cut short at {float(end):.2f} s: {error}") from error
        begins = Fraction(self._container.start_time or 0, av.time_base)
        lasts = Fraction(self._container.duration or 0, av.time_base)
        if lasts - (end - begins) > MISSING:
            raise ValueError(
                f"{self.name} is cut short: it says it lasts {float(lasts):.2f} s, "
                f"but ends after {float(end - begins):.2f} s"
            )


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A picture as (24, 32) grey values in [0, 1], which only change much at a cut."""
    grey = cv2.cvtColor(cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float32) / 255


def repeated(path: Path) -> Generator[np.ndarray, Fraction, None]:
    """Send it ascending times; it yields what a clip, repeated for ever, shows then."""
    image, begins, last, moment = None, Fraction(0), Fraction(0), (yield np.empty(0))
    while True:
        clip = Clip(path)
        for frame in clip:
            while image is not None and moment < begins + frame.time:
                moment = yield image
            image, last = frame.image, frame.time
        begins += last + 1 / clip.pace.rate
        clip.close()
