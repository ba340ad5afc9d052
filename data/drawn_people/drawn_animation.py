"""Moving procedural portraits: every frame with its exact matte and the exact motion to the next frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from drawn_canvas import SHIFT, Array, Canvas
from drawn_portraits import Pose, trace_portrait

MOTIONS = ("head_turn", "hair_sway", "walk_in", "talking")


@dataclass(frozen=True)
class Frame:
    """One frame of a moving person.

    Attributes
    ----------
    foreground : ndarray, shape (H, W, 3), uint8
        Straight RGB colour of the person, continued smoothly outside of it.
    alpha : ndarray, shape (H, W), float32
        Exact pixel coverage in [0, 1].
    motion : ndarray, shape (H, W, 2), float32
        Displacement (x, y) in pixels, to the next frame, of what is visible at each pixel; zero where there is
        nobody and in the last frame.
    """

    foreground: Array
    alpha: Array
    motion: Array


def pose_at(motion: str, frame: int, frames: int, rate: float, size: int) -> Pose:
    """Pose of a moving person; a person who walks in moves by whole pixels."""
    t = frame / rate
    wave = float(np.sin(np.pi * t))
    if motion == "head_turn":
        return Pose(yaw=0.9 * wave, tilt=0.05 * float(np.sin(2 * np.pi * t)), sway=-0.03 * float(np.cos(np.pi * t)))
    if motion == "hair_sway":
        return Pose(sway=0.11 * float(np.sin(1.7 * np.pi * t)) + 0.03 * float(np.sin(4.1 * np.pi * t)))
    if motion == "walk_in":
        left = max(1 - frame / max(0.8 * (frames - 1), 1), 0.0)
        step = float(np.sin(2 * np.pi * 1.8 * t)) * (left > 0)
        return Pose(shift=(-round(0.8 * left * size) / size, -round(0.008 * abs(step) * size) / size), stride=step)
    speech = np.sin(2 * np.pi * 2.9 * t) * np.sin(2 * np.pi * 1.1 * t + 0.4) + 0.3 * np.sin(2 * np.pi * 5.3 * t)
    blink = max(0.0, 1 - abs(t % 2.5 - 0.9) / 0.12)
    return Pose(jaw=float(np.clip(speech, 0, 1)), blink=blink, yaw=0.12 * wave, tilt=0.02 * float(np.sin(5 * t)))


def _outline_motion(out: Array, a: Array, b: Array, clip: Array | None) -> None:
    """Paint the displacement of an outline (P, 2) that moves from ``a`` to ``b``, both in pixels."""
    lo = np.clip(np.floor(a.min(0)).astype(int), 0, out.shape[0])
    hi = np.clip(np.ceil(a.max(0)).astype(int) + 1, 0, out.shape[0])
    if (hi <= lo).any():
        return
    mask = np.zeros((hi[1] - lo[1], hi[0] - lo[0]), np.uint8)
    cv2.fillPoly(mask, [_fixed(a - lo)], 1, cv2.LINE_8, SHIFT)
    if clip is not None:
        cut = np.zeros_like(mask)
        cv2.fillPoly(cut, [_fixed(clip - lo)], 1, cv2.LINE_8, SHIFT)
        mask &= cut
    ys, xs = np.nonzero(mask)
    moved, at = b - a, np.stack([xs, ys], -1) + lo
    # An affine map where that is all; else what it leaves at the vertices is spread by inverse distance.
    if not moved.any():
        out[ys + lo[1], xs + lo[0]] = 0, 0, 1
        return
    middle = a.mean(0)
    fit = np.linalg.lstsq(np.c_[a - middle, np.ones(len(a))], moved, rcond=None)[0]
    field = np.c_[at - middle, np.ones(len(at))] @ fit
    rest = moved - np.c_[a - middle, np.ones(len(a))] @ fit
    if np.abs(rest).max() > 0.02:
        weight = 1 / (((at[:, None] - a) ** 2).sum(-1) + 0.25) ** 2
        field += weight @ rest / weight.sum(1, keepdims=True)
    out[ys + lo[1], xs + lo[0]] = np.c_[field, np.ones(len(at))]


def _fixed(points: Array) -> Array:
    return np.round(points * 2**SHIFT).astype(np.int32)


def motion_between(a: Canvas, b: Canvas) -> Array:
    """Displacement (size, size, 2) float32 in pixels of what is visible on ``a`` to where it is on ``b``.

    Both canvases show the same person, so they were drawn piece by piece in the same order.
    """
    out = np.zeros((a.size, a.size, 3), np.float32)  # displacement, and one where something was painted
    for (before, clip), (after, _) in zip(a.pieces, b.pieces, strict=True):
        for p, q in zip(before, after, strict=True):
            # The centre of the first pixel is at zero.
            p, q = p * a.size - 0.5, q * a.size - 0.5
            if p.ndim == 2:
                _outline_motion(out, p, q, None if clip is None else clip * a.size - 0.5)
                continue
            moved = np.stack([(q - p)[:, k : k + 3].mean(1) for k in range(0, p.shape[1] - 1, 2)], 1)
            for strand, steps in zip(_fixed(p), moved.tolist(), strict=True):
                for k, step in enumerate(steps):
                    cv2.polylines(out, [strand[2 * k : 2 * k + 3]], False, (*step, 1), 1, cv2.LINE_8, SHIFT)
    # Pixels that are touched only at a corner move as their neighbours do.
    near = cv2.blur(out, (5, 5))
    return np.where(out[..., 2:] > 0, out[..., :2], near[..., :2] / np.maximum(near[..., 2:], 1e-6))


def animate(
    seed: int, size: int = 512, *, motion: str, frames: int = 48, rate: float = 24.0, **options: Any
) -> Iterator[Frame]:
    """Frames of a moving person, each with its exact matte and motion.

    Parameters
    ----------
    seed, size : int
        As in `render_portrait`; the person is the same.
    motion : str
        One of ``MOTIONS``.
    frames : int
        How many, at least one.
    rate : float
        Frames a second, positive.
    **options
        Further options of `render_portrait`, except ``pose`` and ``window``.

    Yields
    ------
    Frame
        Colour, alpha and the motion to the next frame.

    Raises
    ------
    ValueError
        For an unknown motion, fewer than one frame, a rate that is not positive, and as `render_portrait`.
    """
    if motion not in MOTIONS:
        raise ValueError(f"unknown motion {motion!r}: expected one of {', '.join(MOTIONS)}")
    if frames < 1 or rate <= 0 or {"pose", "window"} & options.keys():
        raise ValueError(f"expected frames >= 1, rate > 0, no pose and no window, got {frames}, {rate}, {options}")
    now = trace_portrait(seed, size, pose=pose_at(motion, 0, frames, rate, size), **options)
    for i in range(1, frames + 1):
        (portrait, canvas), following = now, now
        if i < frames:
            following = trace_portrait(seed, size, pose=pose_at(motion, i, frames, rate, size), **options)
        yield Frame(portrait.foreground, portrait.alpha, _visible(canvas, following[1], portrait.alpha))
        now = following


def _visible(a: Canvas, b: Canvas, alpha: Array) -> Array:
    if a is b:
        return np.zeros((a.size, a.size, 2), np.float32)
    return motion_between(a, b) * (alpha > 0)[..., None]
