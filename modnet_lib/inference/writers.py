"""Clips out: frames become files that play, with the sound of the clip they come from, or a folder of PNG files."""

from collections import deque
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from modnet_lib.files import write_atomically
from modnet_lib.inference.media import Pace

CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
AUDIO = {".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "libopus"}
COPIED = {".mp4": {"aac", "mp3", "ac3"}, ".mov": {"aac", "mp3"}, ".webm": {"opus", "vorbis"}}
TIMES = "timecodes.txt"


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

    def write_audio(self, packets: deque[Any]) -> None:
        """Take the clip's audio out of `packets` and add it."""
        while packets:
            packet = packets.popleft()
            if self._resampler is None:
                shift = round(self._pace.start / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, self._audio
                self._container.mux(packet)
                continue
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

    def write_audio(self, packets: deque[Any]) -> None:
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
