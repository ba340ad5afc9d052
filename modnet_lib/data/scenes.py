"""People-free procedural backgrounds: rooms, streets, landscapes, walls, lights, textures."""

from __future__ import annotations

import cv2
import numpy as np

from modnet_lib.data.drawing import (
    SHIFT,
    Array,
    Rng,
    blur,
    check_arguments,
    ellipse,
    noise,
)


def _scene(rng: Rng, size: int, kind: str) -> Array:
    """Sharp people-free picture (size, size, 3) float32 RGB of one kind."""
    tint = rng.uniform(60, 200) + rng.uniform(-45, 45, (8, 3)) + rng.uniform(-35, 35, (8, 1))
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None].repeat(size, 1)
    img = np.ascontiguousarray(tint[0] + ramp * (tint[1] - tint[0]), np.float32)

    def fill(points: object, color: Array) -> None:
        p = np.round(np.asarray(points) * size * 16).astype(np.int32)
        cv2.fillPoly(img, [p], [float(v) for v in color], cv2.LINE_AA, SHIFT)

    def box(x: float, y: float, w: float, h: float, color: Array) -> None:
        fill([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], color)

    if kind == "room":
        floor, x, y = rng.uniform((0.64, 0, 0.05), (0.8, 0.55, 0.15))
        img[:] = tint[0] * 0.4 + 120
        box(0, floor, 1, 1, tint[1] * 0.8)
        for a in rng.uniform(0, 1, 9):
            fill([(a, floor), (a + 0.004, floor), (2.2 * a - 0.6, 1), (2.2 * a - 0.61, 1)], tint[1] * 0.6)
        box(0, floor - 0.03, 1, 0.03, tint[0] * 0.3 + 150)
        box(x - 0.015, y - 0.015, 0.38, 0.43, np.array((238, 236, 230)))
        for i in range(4):
            box(
                x + 0.18 * (i % 2),
                y + 0.205 * (i // 2),
                0.17,
                0.195,
                np.array((205, 222, 236)) - 18 * (i // 2),
            )
        box(x - 0.1, y - 0.05, 0.09, 0.6, tint[2])
        box(x + 0.36, y - 0.05, 0.09, 0.6, tint[2])
        x = (x + 0.5) % 1 - 0.05
        for y in np.arange(0.22, 0.65, 0.14):
            box(x, y, 0.36, 0.02, np.array((112, 78, 52)))
            for k, h in enumerate(rng.uniform(0.04, 0.1, 14)):
                box(x + 0.012 + 0.024 * k, y - h, 0.02, h, tint[k % 8] * rng.uniform(0.6, 1.1))
        box(x - 0.5 * rng.random(), floor - 0.14, 0.5, 0.26, tint[3])
    elif kind == "street":
        img[:] = img * 0.3 + np.array((150, 165, 185))
        box(0, 0.8, 1, 0.2, np.array((96, 96, 100)))
        x = -0.05
        while x < 1:
            w, h, color = rng.uniform(0.14, 0.3), rng.uniform(0.35, 0.75), tint[rng.integers(8)]
            box(x, 0.8 - h, w, h, color)
            for wy in np.arange(0.83 - h, 0.72, 0.075):
                for wx in np.arange(x + 0.02, x + w - 0.03, 0.05):
                    box(
                        wx,
                        wy,
                        0.028,
                        0.045,
                        color * 0.45 if rng.random() < 0.7 else np.array((240, 220, 160)),
                    )
            box(x + w / 2, 0.9, 0.09, 0.02, np.array((225, 222, 205)))
            x += w
    elif kind == "landscape":
        img[:] = np.array((110, 160, 215)) + ramp * np.array((125, 72, 7))
        img += np.clip(noise(rng, size, 3) * 3 - 1.6, 0, 1) * 0.7 * (250 - img)
        for k in range(4):
            xs = np.linspace(0, 1, 60)
            wave = rng.uniform(2, 5) * xs + rng.uniform(0, 6)
            ys = 0.42 + 0.13 * k + 0.06 * np.sin(wave) + 0.025 * np.sin(3.3 * wave)
            color = np.array((96, 128, 88)) * (1.25 - 0.2 * k) + (30 - 8 * k) + rng.uniform(-18, 18, 3)
            fill([(0, 1), *zip(xs, ys, strict=True), (1, 1)], color)
            for x in rng.uniform(0, 1, 5 + 2 * k):
                y, r = float(np.interp(x, xs, ys)), 0.015 + 0.013 * k
                box(x - r * 0.12, y - r, r * 0.24, 1.6 * r, np.array((84, 62, 46)))
                for p in rng.normal((x, y - 1.8 * r), 0.5 * r, (14, 2)):
                    fill(ellipse(p[0], p[1], 0.55 * r, 0.5 * r, n=12), color * rng.uniform(0.55, 0.9))
    elif kind == "bokeh":
        img *= 0.35
        for x, y, r in rng.uniform((0, 0, 0.015), (1, 1, 0.07), (60, 3)):
            before = img.copy()
            fill(ellipse(x, y, r, r), rng.uniform(90, 255, 3))
            img += 0.5 * (before - img)
    elif kind == "texture":
        grain = noise(rng, size, int(rng.integers(3, 12)), 6)
        img += 60 * (grain - 0.5) + 30 * np.sin(grain * rng.uniform(8, 40))
    else:
        far = np.hypot(ramp - rng.uniform(0.2, 0.8), ramp.transpose(1, 0, 2) - rng.uniform(0.2, 0.8))
        img = tint[0] * np.clip(1.25 - far, 0.25, 1.2) + 12 * noise(rng, size, 5)
    return img.astype(np.float32)


def render_background(seed: int, size: int = 512, *, bokeh: bool | None = None) -> Array:
    """Render a people-free scene, (size, size, 3) uint8 RGB.

    ``bokeh`` puts it out of focus; left to the seed, about half of the scenes are. Rooms, streets, landscapes,
    studio walls, lights, textures. Raises ValueError as `render_portrait` does.
    """
    check_arguments(seed, size)
    rng = np.random.default_rng([seed, 4])
    kinds = ("room", "street", "landscape", "studio", "bokeh", "texture")
    img = _scene(rng, size, str(rng.choice(kinds, p=(0.26, 0.2, 0.22, 0.12, 0.1, 0.1))))
    amount, drawn = rng.uniform(0.004, 0.02), rng.random() < 0.5
    img = blur(img, size * amount) if (drawn if bokeh is None else bokeh) else img
    img = img * (0.82 + 0.36 * noise(rng, size, 2, 1)) + rng.normal(0, rng.uniform(0.5, 5), img.shape)
    return np.clip(np.round(img), 0, 255).astype(np.uint8)
