"""Clips in and out, through PyAV: frames at their times, with the sound between them."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, NamedTuple

import av
import cv2
import numpy as np
from av.error import FFmpegError
from PIL import Image

from modnet_lib.files import write_atomically

Source = str | Path | IO[bytes]
# container, picture codec, sound codec, and what sound is copied
FORMATS = {
    ".mp4": ("mp4", "libx264", "aac", {"aac", "mp3", "ac3"}),
    ".mov": ("mov", "libx264", "aac", {"aac", "mp3"}),
    ".mkv": ("matroska", "libx264", "aac", {"aac", "mp3", "ac3", "opus", "vorbis", "flac"}),
    ".webm": ("webm", "libvpx-vp9", "libopus", {"opus", "vorbis"}),
}
# libvpx cannot hide frames that have alpha
VP9 = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "5", "row-mt": "1", "auto-alt-ref": "0"}
MISSING = 0.25  # a file that ends so many seconds before it says it does was cut
CUT = 0.12  # mean change of small grey pictures; measured in tests on clips with and without cuts
NO_CLIPS = ("tty", "image2", "_pipe")  # demuxers that make a "video" of a text or of a single picture


class Frame(NamedTuple):
    """One picture of a clip.

    Attributes
    ----------
    image
        (H, W, 3) uint8 RGB, upright.
    time
        Seconds from the start; exact.
    shot
        Number of the shot, from 0: it grows at every cut.
    """

    image: np.ndarray
    time: Fraction
    shot: int


class Clip:
    """The frames of a clip, which are read once, from the start.

    Parameters
    ----------
    source
        A file, or a binary file object, which need not seek.
    limit
        Stop after this many frames.
    sound
        Also read the audio.

    Attributes
    ----------
    rate, time_base, aspect
        Frames a second on average; the unit of times in seconds; width of a pixel by its height, if known.
    count
        How many frames there are; ``None`` if the file does not say.
    audio, packets
        The audio stream, and its packets up to the last frame that was read. Who uses them takes them out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or no video; while reading, if it was cut short.
    """

    def __init__(self, source: Source, *, limit: int | None = None, sound: bool = False):
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1 frame, got {limit}")
        if isinstance(source, (str, Path)) and not Path(source).exists():
            raise FileNotFoundError(f"no clip at {source}")
        self.source, self.limit, self.packets = source, limit, deque[Any]()
        try:
            self._container: Any = av.open(str(source) if isinstance(source, Path) else source)
        except (FFmpegError, EOFError) as error:
            raise ValueError(f"{source} is empty, damaged, cut short or no video: {error}") from error
        streams, kind = self._container.streams, self._container.format.name
        if not streams.video or any(name in kind for name in NO_CLIPS):
            self.close()
            raise ValueError(f"{source} holds no video ({kind}); for single pictures use `modnet matte`")
        self._video = video = streams.video[0]
        video.thread_type = "AUTO"
        self.audio = streams.audio[0] if sound and streams.audio else None
        self.rate: Fraction = video.average_rate or video.guessed_rate or Fraction(30)
        self.time_base, self.aspect = video.time_base, video.sample_aspect_ratio
        self.count: int | None = min(filter(None, (video.frames, limit)), default=None)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        taken, shot, before = 0, 0, None
        for image, moment in self._decoded():
            small = cv2.cvtColor(
                cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
            )
            grey = small.astype(np.float32) / 255
            shot += before is not None and float(np.abs(grey - before).mean()) > CUT
            before = grey
            yield Frame(image, moment, shot)
            taken += 1
            if taken == self.limit:
                return
        if not taken:
            raise ValueError(f"{self.source} holds no frames")

    def _decoded(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        video, start = self._video, (self._video.start_time or 0) * self.time_base
        last, end = -1 / self.rate, Fraction(0)
        try:
            for packet in self._container.demux():
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream is self.audio and packet.dts is not None:
                    shift = round(start / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    self.packets.append(packet)
                for frame in packet.decode() if packet.stream is video else ():
                    moment = last if frame.pts is None else frame.pts * frame.time_base - start
                    # a frame without a time, or whose time runs backwards
                    last = moment if moment > last else last + 1 / self.rate
                    if (frame.height, frame.width) != (video.height, video.width):
                        raise ValueError(f"{self.source} changes its size at {float(last):.2f} s")
                    yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90), last
        except FFmpegError as error:
            raise ValueError(
                f"{self.source} is damaged or cut short at {float(end):.2f} s: {error}"
            ) from error
        begins, lasts = (
            Fraction(getattr(self._container, name) or 0, av.time_base) for name in ("start_time", "duration")
        )
        if lasts - (end - begins) > MISSING:
            ends = f"ends after {float(end - begins):.2f} s of {float(lasts):.2f} s"
            raise ValueError(f"{self.source} is cut short: it {ends}")


def repeated(path: Path) -> Generator[np.ndarray, Fraction, None]:
    """Send it ascending times; it yields what a clip, repeated for ever, shows then."""
    image, begins, last, moment = None, Fraction(0), Fraction(0), (yield np.empty(0))
    while True:
        with closing(Clip(path)) as clip:
            for frame in clip:
                while image is not None and moment < begins + frame.time:
                    moment = yield image
                image, last = frame.image, frame.time
        begins += last + 1 / clip.rate


def encode(
    path: Path,
    suffix: str,
    frames: Iterable[tuple[np.ndarray, Fraction]],
    rate: Fraction,
    time_base: Fraction,
    clip: Clip | None = None,
) -> None:
    """Write H.264 or VP9, with the sound of a clip.

    Parameters
    ----------
    path
        The file; its name does not matter.
    suffix
        One of `FORMATS`.
    frames
        (H, W, 3) uint8 RGB, or (H, W, 4) with straight alpha for VP9, and their times in seconds.
    rate, time_base
        See `Clip`.
    clip
        The frames are made from it: its sound and its aspect are kept.
    """
    form, codec, sound, copied = FORMATS[suffix]
    options, stream = {"movflags": "+faststart"} if form in ("mp4", "mov") else {}, None
    with av.open(str(path), "w", format=form, options=options) as container:
        write_sound = _sound(container, clip, sound, copied)
        for image, moment in frames:
            if form != "webm":  # H.264 wants even sizes: an odd last row or column is shown twice
                image = np.pad(image, [*((0, side % 2) for side in image.shape[:2]), (0, 0)], "edge")
            if stream is None:
                stream = _video(container, codec, image, rate, time_base)
                stream.codec_context.sample_aspect_ratio = (clip and clip.aspect) or Fraction(1)
            layout = "rgba" if image.shape[2] == 4 else "rgb24"
            frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), layout)
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace="ITU709")
            frame.time_base, frame.pts = time_base, round(moment / time_base)
            container.mux(stream.encode(frame))
            write_sound(False)
        write_sound(True)  # it may outlast the pictures
        if stream is not None:
            container.mux(stream.encode(None))


def _video(container: Any, codec: str, image: np.ndarray, rate: Fraction, time_base: Fraction) -> Any:
    stream = container.add_stream(codec, rate=rate, options={"crf": "18"} if codec == "libx264" else VP9)
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt = "yuva420p" if image.shape[2] == 4 else "yuv420p"
    context = stream.codec_context
    stream.time_base = context.time_base = time_base
    context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1  # BT.709
    return stream


def _sound(container: Any, clip: Clip | None, codec: str, copied: set[str]) -> Callable[[bool], None]:
    """Add a stream for the sound of a clip. What is returned writes the packets that were read since its last call."""
    if clip is None or clip.audio is None:
        return lambda end: None
    copy = clip.audio.codec.canonical_name in copied
    track: Any = (
        container.add_stream_from_template(clip.audio)
        if copy
        else container.add_stream(codec, rate=48000, layout="stereo")
    )

    def write(end: bool) -> None:
        while clip.packets:
            packet = clip.packets.popleft()
            if copy:
                packet.stream = track
                container.mux(packet)
            else:
                container.mux([new for frame in packet.decode() for new in track.encode(frame)])
        if end and not copy:
            container.mux(track.encode(None))

    return write


def write_pictures(folder: Path, frames: Iterable[tuple[np.ndarray, Fraction]]) -> None:
    """Write a PNG for every frame, and ``timecodes.txt`` with their times in milliseconds; frames as for `encode`."""
    times = ["# timecode format v2"]
    for image, moment in frames:
        Image.fromarray(image).save(folder / f"{len(times) - 1:06d}.png", compress_level=3)
        times.append(f"{float(moment * 1000):.3f}")
    (folder / "timecodes.txt").write_text("\n".join(times) + "\n", encoding="utf-8")


def write_clip(path: str | Path, images: Iterable[np.ndarray], rate: int = 24) -> None:
    """Write (H, W, 3) uint8 pictures of one size as a clip, atomically; the suffix is one of `FORMATS`."""
    frames = ((image, Fraction(number, rate)) for number, image in enumerate(images))
    pace = Fraction(rate), Fraction(1, 1000 * rate)
    write_atomically(path, lambda file: encode(file, Path(path).suffix, frames, *pace))
