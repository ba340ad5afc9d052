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
MISSING = 0.25  # seconds; a file that ends earlier than it declares, by more than this, was cut short
THUMBNAIL, CUT = (32, 24), 0.12 * 255  # mean change at a cut; measured in tests on clips with and without
NO_CLIPS = ("tty", "image2", "_pipe")  # demuxers that make a "video" of a text or of a single picture


class Frame(NamedTuple):
    """(H, W, 3) uint8 RGB, upright; exact seconds from the start; number of the shot, which grows at every cut."""

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
        Stop after this many frames, at least 1.
    sound
        Also read the audio: packets that were read up to the last frame are in `packets`; who uses them takes them out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or no video; while reading, if it was cut short.
    """

    def __init__(self, source: str | Path | IO[bytes], *, limit: int | None = None, sound: bool = False):
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
        self._video, self.audio = streams.video[0], streams.audio[0] if sound and streams.audio else None
        self._video.thread_type = "AUTO"
        self.rate: Fraction = self._video.average_rate or self._video.guessed_rate or Fraction(30)
        self.time_base, self.aspect = self._video.time_base, self._video.sample_aspect_ratio
        self.count: int | None = min(filter(None, (self._video.frames, limit)), default=None)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        video, start = self._video, (self._video.start_time or 0) * self.time_base
        taken, shot, before, last, end = 0, 0, None, -1 / self.rate, 0.0
        try:
            for packet in self._container.demux():
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream is self.audio and packet.dts is not None:
                    shift = round(start / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    self.packets.append(packet)
                for frame in packet.decode() if packet.stream is video else ():
                    moment = last if frame.pts is None else frame.pts * frame.time_base - start
                    last = moment if moment > last else last + 1 / self.rate  # no time, or it runs backwards
                    if (frame.height, frame.width) != (video.height, video.width):
                        raise ValueError(f"{self.source} changes its size at {float(last):.2f} s")
                    image = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                    small = cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA)
                    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
                    shot += before is not None and cv2.absdiff(grey, before).mean() > CUT
                    yield Frame(image, last, shot)
                    taken, before = taken + 1, grey
                    if taken == self.limit:
                        return
        except FFmpegError as error:
            raise ValueError(f"{self.source} is damaged or cut short at {end:.2f} s: {error}") from error
        if not taken:
            raise ValueError(f"{self.source} holds no frames")
        # Matroska counts its duration from time 0, other containers from their first packet
        first = 0 if "matroska" in self._container.format.name else self._container.start_time or 0
        end, lasts = end - first / 1e6, (self._container.duration or 0) / 1e6
        if lasts - end > MISSING:
            raise ValueError(f"{self.source} is cut short: it ends after {end:.2f} s of {lasts:.2f} s")


def repeated(path: Path) -> Generator[np.ndarray, Fraction, None]:
    """Send it ascending times; it yields what the clip shows then, played in a loop."""
    image, begins, last, moment = None, Fraction(0), Fraction(0), (yield np.empty(0))
    while True:
        with closing(Clip(path)) as clip:
            for frame in clip:
                while image is not None and moment < begins + frame.time:
                    moment = yield image
                image, last = frame.image, frame.time
        begins += last + 1 / clip.rate


Pictures = Iterable[tuple[np.ndarray, Fraction]]  # (H, W, 3) uint8 RGB, or with straight alpha, and seconds


def encode(path: Path, suffix: str, pictures: Pictures, clip: Clip | None = None, rate: int = 24) -> None:
    """Write a file that plays.

    Parameters
    ----------
    path, suffix
        The file, whose own name does not matter, and one of `FORMATS`; alpha is for ``.webm``.
    pictures
        All of one size.
    clip
        Keep the sound and the pace of this one, and with H.264 the shape of its pixels (PyAV cannot put it into WebM).
    rate
        Frames a second, without a clip.
    """
    fps, unit = (clip.rate, clip.time_base) if clip else (Fraction(rate), Fraction(1, 1000 * rate))
    form, codec, quality, sound, copied = FORMATS[suffix]
    options, stream = {"movflags": "+faststart"} if codec == "libx264" and form != "matroska" else {}, None
    with av.open(str(path), "w", format=form, options=options) as container:
        write_sound = _sound(container, clip, sound, copied)
        for image, moment in pictures:
            if codec == "libx264":  # it wants even sizes: an odd last row or column is shown twice
                image = np.pad(image, [*((0, side % 2) for side in image.shape[:2]), (0, 0)], "edge")
            alpha = image.shape[2] == 4
            if stream is None:
                stream: Any = container.add_stream(codec, rate=fps, options=quality)
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt, context = "yuva420p" if alpha else "yuv420p", stream.codec_context
                stream.time_base = context.time_base = unit
                context.sample_aspect_ratio = (clip and clip.aspect) or Fraction(1)
                context.colorspace = context.color_primaries = 1  # BT.709
                context.color_trc = context.color_range = 1
            frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgba" if alpha else "rgb24")
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace="ITU709")
            frame.time_base, frame.pts = unit, round(moment / unit)
            container.mux(stream.encode(frame))
            write_sound(False)
        write_sound(True)  # it may outlast the pictures
        if stream is not None:
            container.mux(stream.encode(None))


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
            if copy:
                packet.stream = track
                container.mux(packet)
            else:
                container.mux([made for frame in packet.decode() for made in track.encode(frame)])
        if end and not copy:
            container.mux(track.encode(None))

    return write


def write_pictures(folder: Path, pictures: Pictures) -> None:
    """Write a PNG for every picture, and ``timecodes.txt`` with their times in milliseconds."""
    times = ["# timecode format v2"]
    for number, (image, moment) in enumerate(pictures):
        Image.fromarray(image).save(folder / f"{number:06d}.png", compress_level=3)
        times.append(f"{float(moment * 1000):.3f}")
    (folder / "timecodes.txt").write_text("\n".join(times) + "\n", encoding="utf-8")


def write_clip(path: str | Path, images: Iterable[np.ndarray], rate: int = 24) -> None:
    """Write pictures of one size as a clip, atomically; the suffix is one of `FORMATS`."""
    pictures = ((image, Fraction(number, rate)) for number, image in enumerate(images))
    write_atomically(path, lambda file: encode(file, Path(path).suffix, pictures, rate=rate))
