"""Clips in and out: files, pipes and cameras become frames with their times; frames become files that play."""

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, NamedTuple

import cv2
import numpy as np

from modnet_lib.files import write_atomically

Source = str | Path | int | IO[bytes]

MISSING = 0.25  # a file that ends so many seconds before it says it does was cut
CUT = 0.12  # mean change of small grey pictures; measured in tests on clips with and without cuts
THUMBNAIL = (32, 24)
CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
AUDIO = {".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "libopus"}
COPIED = {".mp4": {"aac", "mp3", "ac3"}, ".mov": {"aac", "mp3"}, ".webm": {"opus", "vorbis"}}
NO_CLIPS = ("tty", "image2", "_pipe")  # demuxers that make a "video" of a text or of a single picture
TIMES = "timecodes.txt"


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


class FileWriter:
    """H.264 (``.mp4``, ``.mov``, ``.mkv``) or VP9 (``.webm``) at the clip's times, with its sound.

    Parameters
    ----------
    path
        The file; its name says nothing.
    suffix
        One of `CODECS`.
    pace
        Of the clip that the frames come from.
    """

    def __init__(self, path: Path, suffix: str, pace: Pace):
        import av

        form = {".mkv": "matroska"}.get(suffix, suffix[1:])
        options = {"movflags": "+faststart"} if suffix in (".mp4", ".mov") else {}
        self._container = av.open(str(path), "w", format=form, options=options)
        self._suffix, self._pace = suffix, pace
        self._stream: Any = None
        self._audio: Any = None
        self._resampler: Any = None
        if pace.audio is None:
            return
        if suffix == ".mkv" or pace.audio.codec_context.name in COPIED[suffix]:
            self._audio = self._container.add_stream_from_template(pace.audio)
        else:
            self._audio = self._container.add_stream(AUDIO[suffix], rate=48000, layout="stereo")
            sample = self._audio.codec_context.format or "fltp"
            self._resampler = av.AudioResampler(sample, "stereo", 48000)

    def write(self, image: np.ndarray, moment: Fraction) -> None:
        """Add a frame, (H, W, 3) uint8 RGB or for VP9 (H, W, 4) with straight alpha; `moment` in seconds.

        H.264 halves the colours' resolution, so it wants even sizes: an odd last row or column is shown twice.
        """
        import av

        if self._suffix != ".webm":
            bottom, right = (side % 2 for side in image.shape[:2])
            image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        if self._stream is None:
            self._stream = self._start(image)
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image), "rgba" if image.shape[2] == 4 else "rgb24"
        )
        frame = frame.reformat(format=self._stream.pix_fmt, dst_colorspace="ITU709")
        frame.time_base = self._pace.time_base
        frame.pts = round(moment / self._pace.time_base)
        self._container.mux(self._stream.encode(frame))

    def _start(self, image: np.ndarray) -> Any:
        quality = {"crf": "18"}
        if self._suffix == ".webm":
            quality = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "5", "row-mt": "1"}
            quality |= {"auto-alt-ref": "0"}  # libvpx knows no hidden frames with alpha
        stream: Any = self._container.add_stream(CODECS[self._suffix], rate=self._pace.rate, options=quality)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuva420p" if image.shape[2] == 4 else "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._pace.time_base
        stream.codec_context.colorspace = stream.codec_context.color_primaries = 1  # BT.709, and say so
        stream.codec_context.color_trc = stream.codec_context.color_range = 1
        if self._pace.aspect:
            stream.codec_context.sample_aspect_ratio = self._pace.aspect
        return stream

    def write_audio(self, packet: Any) -> None:
        """Add a packet of the clip's audio."""
        if self._resampler is None:
            shift = round(self._pace.start / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, self._audio
            self._container.mux(packet)
            return
        for frame in packet.decode():
            frame.pts -= round(self._pace.start / frame.time_base)
            for piece in self._resampler.resample(frame):
                self._container.mux(self._audio.encode(piece))

    def close(self) -> None:
        """Write what the encoders still hold, and the file's end."""
        if self._resampler is not None:
            for piece in self._resampler.resample(None):
                self._container.mux(self._audio.encode(piece))
            self._container.mux(self._audio.encode(None))
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


class FolderWriter:
    """A PNG for every frame, and ``timecodes.txt`` with their times in milliseconds."""

    def __init__(self, folder: Path):
        self._folder, self._times = folder, ["# timecode format v2"]

    def write(self, image: np.ndarray, moment: Fraction) -> None:
        """Add a frame; as `FileWriter.write`, any size."""
        code = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
        file = self._folder / f"{len(self._times) - 1:06d}.png"
        if not cv2.imwrite(str(file), cv2.cvtColor(image, code), [cv2.IMWRITE_PNG_COMPRESSION, 3]):
            raise OSError(f"{file} could not be written; is the disk full?")
        self._times.append(f"{float(moment * 1000):.3f}")

    def write_audio(self, packet: Any) -> None:
        """Pictures have no sound."""

    def close(self) -> None:
        """Write the times."""
        (self._folder / TIMES).write_text("\n".join(self._times) + "\n", encoding="utf-8")


def write_clip(path: str | Path, images: Iterable[np.ndarray], rate: int = 24) -> None:
    """Pictures as a clip, atomically; the suffix chooses the codec.

    Parameters
    ----------
    path
        Ends in one of `CODECS`.
    images
        (H, W, 3) uint8 of one size; for ``.webm`` also (H, W, 4).
    rate
        Frames a second.
    """

    def write(file: Path) -> None:
        writer = FileWriter(file, Path(path).suffix, Pace(Fraction(rate), Fraction(1, 1000 * rate)))
        for number, image in enumerate(images):
            writer.write(image, Fraction(number, rate))
        writer.close()

    write_atomically(path, write)
