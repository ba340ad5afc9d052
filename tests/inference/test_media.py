"""Every kind of file is read upright, whole and at its times, or refused with a reason."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from modnet_lib.inference.encode import writer
from modnet_lib.inference.media import Clip


def picture(red: float, green: float, blue: float, height: int = 48, width: int = 64) -> np.ndarray:
    """One colour, each part in [0, 1]."""
    return np.full((height, width, 3), np.round(np.array([red, green, blue]) * 255), np.uint8)


def noisy(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_frames_and_times_are_those_that_were_written(make_clip, name):
    frames, times = noisy(7), [0, 40, 55, 200, 203, 500, 520]
    clip = Clip(make_clip(name, frames, times=times))
    read = list(clip)
    assert [frame.time for frame in read] == [Fraction(time, 1000) for time in times]
    for frame, image in zip(read, frames, strict=True):
        np.testing.assert_array_equal(frame.image, image)
    assert clip.count in (7, None)  # Matroska does not say


@pytest.mark.parametrize("angle", [90, -90, 180])
def test_rotated_clips_stand_upright(make_clip, angle):
    image = noisy(1)[0]
    (frame,) = Clip(make_clip("a.mp4", [image], rotation=angle))
    np.testing.assert_array_equal(frame.image, np.rot90(image, angle // 90))


def test_odd_sizes_are_read_whole(make_clip):
    frames = noisy(2, 47, 63)
    for frame, image in zip(Clip(make_clip("a.mkv", frames)), frames, strict=True):
        np.testing.assert_array_equal(frame.image, image)


def test_cuts_number_the_shots_and_motion_does_not(make_clip):
    rng = np.random.default_rng(1)
    scenes = [cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (64, 48)) for _ in range(3)]
    frames = [np.roll(scene, 2 * step, axis=1) for scene in scenes for step in range(4)]
    shots = [frame.shot for frame in Clip(make_clip("a.mp4", frames))]
    assert shots == [0] * 4 + [1] * 4 + [2] * 4


def truncated(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "front.mp4"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
def test_of_a_truncated_file_the_whole_part_is_kept(make_clip, tmp_path, name, share):
    path = make_clip(name, noisy(100))
    if name == "front.mp4":  # the index at the front survives a cut
        with (
            av.open(str(path)) as source,
            av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as target,
        ):
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        path = tmp_path / "b.mp4"
    path = truncated(path, share)
    with pytest.raises(ValueError, match=r"cut short|unreadable from|damaged at"):
        list(Clip(path, strict=True))
    if name == "a.mp4":  # its index is gone
        return
    clip = Clip(path)
    assert max(0, 100 * share - 20) < len(list(clip)) < 100 * share + 20
    assert any("cut short" in one or "unreadable" in one for one in clip.damage)


def test_what_is_no_clip_is_refused(tmp_path, make_clip):
    empty, text, still = tmp_path / "empty.mp4", tmp_path / "notes.txt", tmp_path / "still.png"
    empty.touch()
    text.write_text("no clip at all\n" * 200)
    Image.fromarray(picture(0.5, 0.5, 0.5)).save(still)
    sound = tmp_path / "sound.m4a"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    for path, reason in (
        (empty, "is empty"), (text, "no video"), (still, "no video"), (sound, "no video"), (noise, "no video"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            list(Clip(path))
    with pytest.raises(FileNotFoundError, match="no clip at"):
        Clip(tmp_path / "nothing.mp4")


def rewrite(clip: Clip, path: Path) -> None:
    """Write a clip's own frames and sound."""
    with writer(path, clip) as write:
        for frame in clip:
            write(frame.image, frame.time)


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mkv", "aac"), (".webm", "libopus")])
def test_sound_is_copied_where_the_file_can_hold_it(make_clip, tmp_path, suffix, codec):
    source = make_clip("a.mkv", noisy(25), audio=codec)
    rewrite(Clip(source), tmp_path / f"out{suffix}")
    assert sound_of(tmp_path / f"out{suffix}") == sound_of(source)
    assert len(sound_of(source)) > 20


def test_sound_is_encoded_again_where_it_must_be(make_clip, tmp_path):
    clip = Clip(make_clip("a.mp4", noisy(50), audio="aac"))
    rewrite(clip, tmp_path / "out.webm")
    with av.open(str(tmp_path / "out.webm")) as written:
        assert written.streams.audio[0].codec_context.name.endswith("opus")
        wave = np.concatenate([frame.to_ndarray()[0] for frame in written.decode(audio=0)])
    assert abs(len(wave) / 48000 - 2) < 0.1
    spectrum = np.abs(np.fft.rfft(wave[24000:72000]))
    assert spectrum.argmax() == 440


def first_times(path: Path) -> list[float]:
    """Seconds at which the pictures and the sound begin."""
    with av.open(str(path)) as container:
        return [
            min(float(p.pts * p.time_base) for p in container.demux(stream) if p.pts is not None)
            for stream in (container.streams.video[0], container.streams.audio[0])
            if container.seek(0) is None
        ]


@pytest.mark.parametrize("suffix", [".mkv", ".webm"], ids=["copied", "encoded again"])
def test_a_clip_that_begins_late_begins_at_once_with_its_sound(make_clip, tmp_path, suffix):
    source, late = make_clip("a.mkv", noisy(25), audio="aac"), tmp_path / "late.mkv"
    with av.open(str(source)) as read, av.open(str(late), "w") as written:
        tracks = {stream.index: written.add_stream_from_template(stream) for stream in read.streams}
        for packet in (packet for packet in read.demux() if packet.dts is not None):
            shift = round(2 / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = tracks[packet.stream.index]
            written.mux(packet)
    assert min(first_times(late)) > 1.9
    rewrite(Clip(late), tmp_path / f"out{suffix}")
    assert first_times(tmp_path / f"out{suffix}") == pytest.approx([0, 0], abs=0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_pixels_that_are_not_square_keep_their_shape(tmp_path, suffix):
    wide, out = tmp_path / "wide.mkv", tmp_path / f"out{suffix}"
    with av.open(str(wide), "w") as written:
        stream = written.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for image in noisy(5):
            written.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        written.mux(stream.encode(None))
    rewrite(Clip(wide), out)
    assert Clip(wide).aspect == Fraction(4, 3)
    clip = Clip(out)
    if suffix == ".webm":  # the same shape in square pixels
        assert clip.aspect in (None, 1) and {frame.image.shape for frame in clip} == {(48, 85, 3)}
    else:
        assert clip.aspect == Fraction(4, 3)


def test_a_clip_without_sound_stays_silent(make_clip, tmp_path):
    rewrite(Clip(make_clip("a.mp4", noisy(5))), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as written:
        assert not written.streams.audio


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_colours_and_times_survive(make_clip, tmp_path, suffix):
    colours = [(0.9, 0.2, 0.1), (0.1, 0.7, 0.2), (0.2, 0.3, 0.8)]
    times = [0, 100, 130]
    rewrite(Clip(make_clip("a.mkv", [picture(*c) for c in colours], times=times)), tmp_path / f"out{suffix}")
    for frame, colour, time in zip(Clip(tmp_path / f"out{suffix}"), colours, times, strict=True):
        assert frame.time == Fraction(time, 1000)
        np.testing.assert_allclose(frame.image[24, 32] / 255, colour, atol=0.02)


def test_h264_repeats_an_odd_border_and_vp9_does_not(make_clip, tmp_path):
    path = make_clip("a.mkv", [picture(0.2, 0.4, 0.6, 47, 63)])
    for suffix, size in ((".mp4", (48, 64, 3)), (".webm", (47, 63, 3))):
        rewrite(Clip(path), tmp_path / f"out{suffix}")
        (frame,) = Clip(tmp_path / f"out{suffix}")
        assert frame.image.shape == size
        np.testing.assert_allclose(frame.image[-1, -1] / 255, (0.2, 0.4, 0.6), atol=0.02)


def test_a_folder_holds_every_frame_and_its_time(tmp_path):
    images = [np.dstack((f, f[..., 0])) for f in noisy(2, 5, 7)]
    with writer(tmp_path / "out") as write:
        for number, image in enumerate(images):
            write(image, Fraction(number, 3))
    for number, image in enumerate(images):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / f"{number:06d}.png")), image)
    assert (tmp_path / "out" / "timecodes.txt").read_text().splitlines()[1:] == ["0.000", "333.333"]
