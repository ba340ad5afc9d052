"""The one-frame delay equals its definition; a clip comes out whole or not at all."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.inference import Matter, video
from modnet_lib.inference.encode import write_clip
from modnet_lib.inference.media import Clip, Frame
from modnet_lib.inference.video import matte_video, one_frame_delay
from modnet_lib.network import MODNet


def slow_delay(alphas: list[np.ndarray], threshold: float) -> list[np.ndarray]:
    """The rule, pixel by pixel."""
    result = [alpha.copy() for alpha in alphas]
    for t in range(1, len(alphas) - 1):
        for at in np.ndindex(alphas[t].shape):
            before, now, after = (alphas[k][at] for k in (t - 1, t, t + 1))
            close = abs(before - after) <= threshold
            if close and abs(now - before) > threshold and abs(now - after) > threshold:
                result[t][at] = (before + after) / 2
    return result


@pytest.mark.parametrize("length", range(11))
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.35, 1.0])
def test_delay_is_the_rule_pixel_by_pixel(length, threshold):
    rng = np.random.default_rng(length)
    alphas = [np.round(rng.random((5, 6)) * 8).astype(np.float32) / 8 for _ in range(length)]
    np.testing.assert_array_equal(list(one_frame_delay(alphas, threshold)), slow_delay(alphas, threshold))


def test_neighbours_are_the_mattes_as_they_came():
    alphas = [np.full((1, 1), value) for value in (0.0, 1.0, 0.0, 1.0, 0.0)]
    assert [float(a[0, 0]) for a in one_frame_delay(alphas)] == [0, 0, 1, 0, 0]


def test_delay_waits_for_one_frame_and_keeps_three():
    taken, alive = 0, weakref.WeakSet()

    class Matte(np.ndarray):
        __hash__ = object.__hash__  # so that a set of weak references takes it

    def mattes() -> Iterator[np.ndarray]:
        nonlocal taken
        for _ in range(50):
            taken += 1
            matte = np.random.default_rng(taken).random((4, 4)).view(Matte)
            alive.add(matte)
            yield matte
            del matte

    for number, _ in enumerate(one_frame_delay(mattes())):
        assert taken == min(number + 2, 50)
        assert len(alive) <= 4  # three, and the one that is looked at here


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_a_threshold_is_not_negative(threshold):
    with pytest.raises(ValueError, match="at least 0"):
        list(one_frame_delay([], threshold))


def person_clip(count: int = 12, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Red squares that move, before a scene without red; red says where the person is."""
    frames = []
    for number in range(count):
        frame = np.zeros((height, width, 3), np.uint8)
        frame[..., 1] = np.linspace(40, 200, width)
        frame[10:40, 5 + number : 30 + number, 0] = 255
        frames.append(frame)
    return frames


def alphas_of(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file))[..., 3] for file in sorted(folder.glob("*.png"))])


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_delay_starts_anew_at_a_cut(make_clip, red_matter, tmp_path):
    frames = []
    for shot in (0, 1):
        frames += [np.full((48, 64, 3), (0, 220 * shot, 200 * (1 - shot)), np.uint8) for _ in range(3)]
    frames[1][5, 5, 0] = frames[2][9, 9, 0] = 255  # a flicker inside a shot; one on the last frame before the cut
    path = make_clip("a.mkv", frames)
    repaired, _ = matte_video(red_matter, path, tmp_path / "out")
    alphas = alphas_of(tmp_path / "out")
    assert alphas[1].max() == 0, "repaired"
    assert alphas[2, 9, 9] == 255, "a neighbour beyond the cut says nothing"
    assert repaired == pytest.approx([0, 1 / alphas[0].size, 0, 0, 0, 0])
    matte_video(red_matter, path, tmp_path / "plain", threshold=1)
    np.testing.assert_array_equal(alphas_of(tmp_path / "plain"), [frame[..., 0] for frame in frames])


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_folder_has_colours_and_exact_mattes(make_clip, red_matter, tmp_path, batch_size):
    frames = person_clip()
    counts = []

    def track(ready: Iterable, count: int | None) -> Iterable:
        counts.append(count)
        return ready

    source, target = make_clip("a.mp4", frames), tmp_path / "deep" / "out"
    repaired, _ = matte_video(red_matter, source, target, batch_size=batch_size, track=track)
    np.testing.assert_array_equal(alphas_of(tmp_path / "deep" / "out"), [frame[..., 0] for frame in frames])
    assert len(repaired) == 12 and counts == [12]
    assert len((tmp_path / "deep" / "out" / "timecodes.txt").read_text().splitlines()) == 13
    assert left_in(tmp_path / "deep") == {"out"}


def test_webm_is_transparent(make_clip, red_matter, tmp_path):
    frames = person_clip(5, 47, 63)
    matte_video(red_matter, make_clip("a.mkv", frames), tmp_path / "out.webm")
    with av.open(str(tmp_path / "out.webm")) as container:
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # the usual decoder leaves alpha out
        read = [f for packet in container.demux(video=0) for f in decoder.decode(packet)]
    assert [f.format.name for f in read] == ["yuva420p"] * 5
    for frame, image in zip(read, frames, strict=True):
        alpha = frame.to_ndarray(format="rgba")[..., 3]
        assert np.abs(alpha.astype(float) - image[..., 0]).mean() < 2


def test_times_and_sound_are_the_clips_own(make_clip, red_matter, tmp_path):
    times = [0, 40, 80, 300, 310, 500, 520, 700, 740, 800, 900, 1000]
    source = make_clip("a.mkv", person_clip(), times=times, audio="aac")
    for name in ("out.mp4", "out.webm"):
        matte_video(red_matter, source, tmp_path / name)
        clip = Clip(tmp_path / name)
        assert [frame.time for frame in clip] == [Fraction(time, 1000) for time in times]
        assert clip.audio is not None and len(clip.packets) > 10


@pytest.mark.parametrize("threshold", [1, 0.1])
def test_sound_that_outlasts_the_pictures_is_kept(make_clip, red_matter, tmp_path, threshold):
    source = make_clip("a.mkv", person_clip(), times=range(0, 60, 5), audio="aac")
    matte_video(red_matter, source, tmp_path / "out.mkv", threshold=threshold)
    whole, kept = (Clip(path) for path in (source, tmp_path / "out.mkv"))
    assert len(list(whole)) == len(list(kept)) == 12
    assert [bytes(packet) for packet in kept.packets] == [bytes(packet) for packet in whole.packets]
    assert len(whole.packets) > 20


@pytest.mark.parametrize("angle", [90, 180])
def test_rotated_clips_come_out_upright(make_clip, red_matter, tmp_path, angle):
    frames = person_clip(3)
    matte_video(red_matter, make_clip("a.mp4", frames, rotation=angle), tmp_path / "out.mp4", background="matte")
    for frame, image in zip(Clip(tmp_path / "out.mp4"), frames, strict=True):
        expected = np.rot90(image[..., :1].repeat(3, 2), angle // 90)
        assert np.abs(frame.image.astype(float) - expected).mean() < 3


def first_frame(matter, source, target: Path, **options) -> np.ndarray:
    matte_video(matter, source, target, limit=1, **options)
    return next(iter(Clip(target))).image.astype(float)


def test_backgrounds(make_clip, red_matter, tmp_path):
    source = make_clip("a.mkv", person_clip())
    green = first_frame(red_matter, source, tmp_path / "green.mp4")
    np.testing.assert_allclose(green[2, 2], (0, 177, 64), atol=4)
    np.testing.assert_allclose(green[25, 17], person_clip()[0][25, 17], atol=4)
    colour = first_frame(red_matter, source, tmp_path / "colour.webm", background="#204060")
    np.testing.assert_allclose(colour[2, 2], (32, 64, 96), atol=4)
    Image.new("RGB", (300, 90), (200, 180, 20)).save(tmp_path / "wide.png")
    still = first_frame(red_matter, source, tmp_path / "still.mp4", background=tmp_path / "wide.png")
    np.testing.assert_allclose(still[2, 2], (200, 180, 20), atol=4)
    matte = first_frame(red_matter, source, tmp_path / "matte.mp4", background="matte")
    np.testing.assert_allclose(matte[..., 0], person_clip()[0][..., 0], atol=20)


def test_what_cannot_be_written_is_refused_before_work(make_clip, red_matter, tmp_path):
    source = make_clip("a.mp4", person_clip(2))
    (tmp_path / "there").mkdir()
    before = left_in(tmp_path)
    for target, options, reason in (
        ("out.avi", {}, "must end in .mp4"),
        ("there", {}, "exists"),
        ("a.mp4", {}, "the clip itself"),
        ("out.mp4", {"background": "transparent"}, "no transparency"),
        ("out.mp4", {"background": "no such colour"}, "must be a colour .* got 'no such colour'"),
    ):
        with pytest.raises(ValueError, match=reason):
            matte_video(red_matter, source, tmp_path / target, **options)
    assert left_in(tmp_path) == before and red_matter.seen == 0


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out"])
def test_a_broken_clip_leaves_nothing(make_clip, red_matter, tmp_path, name):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    source = make_clip("a.mkv", frames)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    if name == "out.mp4":
        (tmp_path / name).write_bytes(b"an older result")
    before = left_in(tmp_path)
    with pytest.raises(ValueError, match=r"cut short|unreadable|damaged"):
        matte_video(red_matter, source, tmp_path / name, strict=True)
    assert left_in(tmp_path) == before and red_matter.seen > 0
    assert name != "out.mp4" or (tmp_path / name).read_bytes() == b"an older result"


@pytest.mark.parametrize("name", ["out.mp4", "out"])
def test_what_is_no_clip_leaves_nothing(red_matter, tmp_path, name):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.mp4").write_text("no clip at all\n" * 200)
    with av.open(str(tmp_path / "nothing.mkv"), "w") as container:  # a whole file of no frames
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = 48, 64
        container.mux(stream.encode(None))
    before = left_in(tmp_path)
    for source in sorted(before):
        with pytest.raises(ValueError, match=r"is empty|no video|no frames"):
            matte_video(red_matter, tmp_path / source, tmp_path / name)
        assert left_in(tmp_path) == before


def test_a_cut_run_goes_on_to_the_same_clip(make_clip, red_matter, tmp_path):
    source = make_clip("a.mp4", person_clip(), audio="aac")
    matte_video(red_matter, source, tmp_path / "whole.mp4", batch_size=3, resume=True)
    assert red_matter.seen == 12

    cut(red_matter, source, tmp_path / "out.mp4", batch_size=3)
    assert not (tmp_path / "out.mp4").exists()
    matte_video(red_matter, source, tmp_path / "out.mp4", batch_size=3, resume=True)
    assert red_matter.seen < 6
    clips = [Clip(tmp_path / name) for name in ("out.mp4", "whole.mp4")]
    # x264 packs the same pictures differently in one of thirty runs, so pictures are compared, not bytes
    for frame, whole in zip(*clips, strict=True):
        assert frame.time == whole.time
        np.testing.assert_array_equal(frame.image, whole.image)
    sounds = [[bytes(packet) for packet in clip.packets] for clip in clips]
    assert sounds[0] == sounds[1] and len(sounds[0]) > 10
    assert left_in(tmp_path) == {"a.mp4", "out.mp4", "whole.mp4"}


def cut(matter, source, target: Path, **options) -> None:
    """Interrupt a run after its seventh frame, and forget what the network has seen."""

    def tired(ready: Iterable, count: int | None) -> Iterable:
        yield from islice(ready, 7)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matte_video(matter, source, target, resume=True, track=tired, **options)
    matter.seen = 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("short_side", 96), ("squash", True), ("backend", "fused"), ("dtype", torch.bfloat16), ("refine", True)],
)
def test_another_setting_does_not_resume_from_old_mattes(make_clip, red_matter, tmp_path, name, value):
    source, target = make_clip("a.mp4", person_clip()), tmp_path / "out.mp4"
    cut(red_matter, source, target)
    setattr(red_matter, name, value)
    matte_video(red_matter, source, target, resume=True)
    assert red_matter.seen == 12
    assert left_in(tmp_path) == {"a.mp4", "out.mp4"}


def test_another_limit_resumes_and_another_batch_size_does_not(make_clip, red_matter, tmp_path):
    source, target = make_clip("a.mp4", person_clip()), tmp_path / "out"
    cut(red_matter, source, target, batch_size=4, limit=11)  # three mattes of the last four may be there
    assert len(matte_video(red_matter, source, target, resume=True, batch_size=4).repaired) == 12
    assert red_matter.seen <= 4
    np.testing.assert_array_equal(alphas_of(target), [frame[..., 0] for frame in person_clip()])
    cut(red_matter, source, tmp_path / "again", batch_size=4)
    matte_video(red_matter, source, tmp_path / "again", resume=True, batch_size=3)
    assert red_matter.seen == 12
    np.testing.assert_array_equal(alphas_of(tmp_path / "again"), alphas_of(target))


def test_other_weights_or_another_clip_do_not_resume_from_old_mattes(make_clip, red_matter, tmp_path):
    source, target = make_clip("a.mp4", person_clip()), tmp_path / "out.mp4"
    cut(red_matter, source, target)
    with torch.no_grad():
        next(red_matter.network.parameters()).add_(1)
    cut(red_matter, source, target)
    source = source.rename(tmp_path / "b.mp4")
    cut(red_matter, source, target)
    with source.open("ab") as file:
        file.write(b"longer")
    matte_video(red_matter, source, target, resume=True)
    assert red_matter.seen == 12
    assert left_in(tmp_path) == {"b.mp4", "out.mp4"}


def test_kept_mattes_serve_another_background_and_threshold(make_clip, red_matter, tmp_path):
    source, target = make_clip("a.mp4", person_clip()), tmp_path / "out"
    cut(red_matter, source, target)
    matte_video(red_matter, source, target, resume=True, background="matte", threshold=1)
    assert red_matter.seen < 6
    shown = [np.asarray(Image.open(file))[..., 0] for file in sorted(target.glob("*.png"))]
    np.testing.assert_array_equal(shown, [frame[..., 0] for frame in person_clip()])


def test_batches_are_as_large_as_asked(make_clip, tmp_path):
    network, sizes = MODNet(backbone="mobilenetv3_small_050"), []
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    matter = Matter(network, short_side=32, device="cpu")
    matte_video(matter, make_clip("a.mp4", person_clip(14)), tmp_path / "out", batch_size=12)
    assert sizes == [12, 2]


@pytest.mark.slow
def test_ten_minutes_hold_a_bounded_number_of_frames(red_matter, tmp_path, monkeypatch):
    length, batch, side = 15_000, 4, 16  # ten minutes at 25 frames a second
    counts = {"frames": Count(), "mattes": Count()}

    def pictures() -> Iterator[np.ndarray]:
        for number in range(length):
            picture = np.full((side, side, 3), 90, np.uint8)
            picture[4:, number % side :, 0] = 255
            yield picture

    class CountedClip(Clip):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                counts["frames"].add(frame.image)
                yield frame

    def alphas(images: list[np.ndarray], batch_size: int) -> list[np.ndarray]:
        found = type(red_matter).alphas(red_matter, images, batch_size)
        for alpha in found:
            counts["mattes"].add(alpha)
        return found

    write_clip(tmp_path / "in.mp4", pictures(), rate=25)
    monkeypatch.setattr(video, "Clip", CountedClip)
    monkeypatch.setattr(red_matter, "alphas", alphas)
    repaired, _ = matte_video(
        red_matter, tmp_path / "in.mp4", tmp_path / "out.mp4", background="matte", batch_size=batch
    )
    assert len(repaired) == counts["frames"].seen == counts["mattes"].seen == length
    # read ahead, in the network, in the delay, ready to be written, and the one being written
    assert counts["frames"].most <= 2 * batch + batch + 3 + 2 * batch + 1
    assert counts["mattes"].most <= batch + 4 + 2 * batch + 1
    assert not counts["frames"].alive | counts["mattes"].alive, "at the end"


class Count:
    """How many arrays there were, are, and were at the same time at most."""

    def __init__(self) -> None:
        self.seen = self.most = 0
        self.alive = set[object]()

    def add(self, array: np.ndarray) -> None:
        token = object()
        self.alive.add(token)
        weakref.finalize(array, self.alive.discard, token)
        self.seen, self.most = self.seen + 1, max(self.most, len(self.alive))


def test_a_failing_network_is_reported(make_clip, red_matter, tmp_path, monkeypatch):
    def fail(images: list[np.ndarray], batch_size: int) -> list[np.ndarray]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(red_matter, "alphas", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        matte_video(red_matter, make_clip("a.mp4", person_clip()), tmp_path / "out.mp4")
    assert left_in(tmp_path) == {"a.mp4"}
