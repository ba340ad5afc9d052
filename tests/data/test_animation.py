"""Moving portraits: exact mattes and motion, coherent in time."""

from __future__ import annotations

from itertools import islice, pairwise

import cv2
import numpy as np
import pytest

from drawn_animation import MOTIONS, Frame, animate
from drawn_portraits import render_portrait

SIZE = 192


def pulled(picture: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The next frame's picture, fetched from where each pixel moves to."""
    ys, xs = np.mgrid[: motion.shape[0], : motion.shape[1]].astype(np.float32)
    return cv2.remap(picture, xs + motion[..., 0], ys + motion[..., 1], cv2.INTER_LINEAR)


def clip(motion: str, frames: int = 5, rate: float = 24.0, **options) -> list[Frame]:
    return list(animate(3, SIZE, motion=motion, frames=frames, rate=rate, **options))


@pytest.mark.parametrize("motion", MOTIONS)
def test_motion_predicts_the_next_frame(motion: str) -> None:
    frames = clip(motion, frames=7, rate=16, hair="wavy", body="half", held="none")
    errors = np.zeros((2, 2))
    for a, b in pairwise(frames[:-1]):
        person, moving = a.alpha > 0, (a.alpha > 0.99) & (np.abs(a.motion).max(-1) > 0.3)
        for i, m in enumerate((a.motion, np.zeros_like(a.motion))):
            # What comes out from behind something else cannot be predicted: leave out the worst tenth of colours.
            color = np.sort(np.abs(pulled(b.foreground, m).astype(float) - a.foreground).mean(-1)[moving])
            errors[i] += (np.abs(pulled(b.alpha, m) - a.alpha)[person].mean(), color[: int(0.9 * len(color))].sum())
    gain = {"walk_in": 0.25, "head_turn": 0.8, "hair_sway": 0.8, "talking": 0.95}[motion]
    assert (errors[0] < gain * errors[1]).all(), errors[0] / errors[1]


def test_walking_moves_everything_alike() -> None:
    frames = clip("walk_in", frames=24, rate=24, hair="bob", body="half", held="none")
    for a, b in pairwise(frames[14:18]):
        person = a.alpha > 0
        dx, dy = np.round(np.median(a.motion[person], 0)).astype(int)
        assert dx > 0
        np.testing.assert_allclose(a.motion[person], [(dx, dy)] * person.sum(), atol=1e-3)
        inner = np.s_[16:-16, 48:-48]
        shifted = np.roll(a.alpha, (dy, dx), (0, 1))
        error = np.abs(b.alpha - shifted)[inner]
        assert error.max() <= 8 / 255  # tiles cut shapes elsewhere, and single samples flip
        assert error.mean() < 1e-4


def test_static_parts_have_no_motion() -> None:
    frame = clip("talking", frames=2, rate=8, hair="bald", body="half", held="none")[0]
    assert np.abs(frame.motion[: SIZE // 2]).max() > 0.1
    assert not frame.motion[SIZE // 2 :].any()
    assert not frame.motion[frame.alpha == 0].any()


def test_hair_sways_and_the_body_does_not() -> None:
    a, b = clip("hair_sway", frames=3, rate=6, hair="straight_long", body="half")[:2]
    assert np.abs(a.motion).max() > 1
    assert not a.motion[-SIZE // 8 :].any()
    np.testing.assert_array_equal(a.alpha[-SIZE // 8 :], b.alpha[-SIZE // 8 :])


def test_the_last_frame_is_still_and_the_person_is_the_same() -> None:
    frames = clip("walk_in", frames=3, body="full")
    assert len(frames) == 3
    assert not frames[-1].motion.any()
    assert frames[0].motion.shape == (SIZE, SIZE, 2)
    assert frames[0].motion.dtype == np.float32
    # The walk ends at the neutral pose.
    np.testing.assert_array_equal(frames[-1].alpha, render_portrait(3, SIZE, body="full").alpha)


@pytest.mark.parametrize("motion", MOTIONS)
def test_frames_do_not_flicker(motion: str) -> None:
    frames = list(islice(animate(3, SIZE, motion=motion, frames=240, rate=240, hair="coils", body="half"), 4))
    steps = [np.abs(a.alpha - b.alpha).mean() for a, b in pairwise(frames)]
    assert max(steps) < (0.02 if motion == "walk_in" else 0.004)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"motion": "fly"}, "head_turn"),
        ({"frames": 0}, "frames"),
        ({"rate": 0}, "rate"),
        ({"window": (0, 0, 8)}, "window"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(animate(**({"seed": 0, "size": 32, "motion": "talking"} | options)))
