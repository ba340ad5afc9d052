"""People-free procedural backgrounds: rooms, streets, parks, walls, lights, textures."""

from __future__ import annotations

import cv2
import numpy as np

from drawn_canvas import SHIFT, Array, Rng, check_arguments, ellipse, noise

KINDS = {"room": 0.22, "street": 0.16, "park": 0.18, "studio": 0.16, "lights": 0.1, "brick": 0.08, "texture": 0.1}


def _scene(rng: Rng, size: int, kind: str) -> Array:
    """Sharp people-free picture (size, size, 3) float32 RGB of one kind."""
    # One mood a picture: greys around a common tint, and a few quiet colours.
    mood = rng.normal(0, 9, 3) + rng.normal(0, 9) * np.array((1, 0, -1))
    quiet = rng.uniform(75, 175, (8, 1)) + rng.normal(0, 20, (8, 3)) + mood
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None].repeat(size, 1)
    img = np.zeros((size, size, 3), np.uint8)  # eight bits, because only these are drawn without jagged edges

    def put(color: Array) -> None:
        img[:] = np.clip(color, 0, 255)

    put(quiet[0] * 0.5 + 60 + ramp * (quiet[1] - quiet[0]) * 0.5)

    def fill(points: object, color: Array) -> None:
        p = np.round(np.asarray(points) * size * 16).astype(np.int32)
        cv2.fillPoly(img, [p], [float(v) for v in color], cv2.LINE_AA, SHIFT)

    def box(x: float, y: float, w: float, h: float, color: Array) -> None:
        fill([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], color)

    def tree(x: float, y: float, r: float, color: Array) -> None:
        box(x - r * 0.07, y - r, r * 0.14, 2.2 * r, color * 0.6)
        for px, py, k in rng.normal((x, y - 1.6 * r, 0.9), (0.5 * r, 0.42 * r, 0.1), (60, 3)):
            fill(ellipse(px, py, 0.24 * r, 0.2 * r, n=9), color * (k - 0.25 * (py - y + 1.6 * r) / r))

    if kind == "room":
        floor, x, y, wide = rng.uniform((0.68, 0.02, 0.06, 0.26), (0.84, 0.45, 0.14, 0.4))
        wood = np.array((150, 118, 88)) + rng.uniform(-30, 20) + 0.5 * mood
        put((quiet[0] * 0.25 + 150) * (1.05 - 0.25 * ramp))
        box(0, floor, 1, 1, wood)
        for a in np.linspace(-0.6, 1.6, 16):
            fill([(a, floor), (a + 0.002, floor), (2 * a - 0.5, 1), (2 * a - 0.508, 1)], wood * 0.85)
        box(0, floor - 0.025, 1, 0.025, quiet[0] * 0.2 + 180)
        box(x - 0.012, y - 0.012, wide + 0.024, 0.474, np.array((232, 230, 224)))
        for a, b in ((0, 0), (1, 0), (0, 1), (1, 1)):
            sky = np.array((214, 226, 236)) - b * np.array((50, 34, 52)) + 0.5 * mood
            box(x + a * wide / 2 + 0.004, y + 0.226 * b + 0.004, wide / 2 - 0.008, 0.218, sky)
        for a in (x - 0.1, x + wide + 0.015):
            for k in range(6):
                box(a + 0.014 * k, y - 0.05, 0.0145, 0.62, (quiet[2] * 0.4 + 110) * (0.9 + 0.1 * (k % 2)))
        x = (x + wide + 0.14) % 1
        for y in np.arange(0.24, 0.62, 0.13) if rng.random() < 0.6 else ():
            for k, h in enumerate(rng.uniform(0.035, 0.08, 13)):
                box(x + 0.012 + 0.02 * k, y - h, 0.018, h, quiet[k % 8] * rng.uniform(0.5, 1.1))
            box(x, y, 0.29, 0.014, wood * 0.8)
        box(x - 0.3, floor - 0.16, 0.5, 0.2, quiet[3] * 0.8)
        box(x - 0.3, floor - 0.02, 0.5, 0.06, quiet[3] * 0.6)
        if rng.random() < 0.6:
            tree(float(rng.uniform(0.05, 0.95)), floor + 0.02, 0.09, np.array((82, 110, 74)) + 0.5 * mood)
    elif kind == "street":
        sky = np.array((188, 200, 212)) + 1.5 * mood
        put(sky * (0.85 + 0.2 * ramp))
        for depth in (0.55, 0.25, 0.0):  # far rows of houses fade into the sky
            x = -0.2 * rng.random()
            while x < 1:
                w, h = rng.uniform(0.16, 0.3), rng.uniform(0.3, 0.6) + 0.4 * depth
                wall = quiet[rng.integers(8)] * 0.6 + np.array((62, 54, 48))
                wall = wall + depth * (sky - wall)
                box(x, 0.82 - h, w, h, wall)
                box(x, 0.82 - h, w, 0.012, wall * 0.85)
                for wy in np.arange(0.85 - h, 0.74, 0.085):
                    for wx in np.arange(x + 0.025, x + w - 0.04, 0.06):
                        glass = wall * 0.55 + 0.2 * sky if rng.random() < 0.85 else np.array((226, 206, 166))
                        box(wx, wy, 0.03, 0.052, glass + depth * 0.6 * (sky - glass))
                x += w
        box(0, 0.82, 1, 0.18, np.array((112, 110, 108)) + mood)
        box(0, 0.82, 1, 0.022, np.array((150, 147, 142)) + mood)
        for x in rng.uniform(-0.1, 1.1, 3):
            tree(x, 0.78, rng.uniform(0.07, 0.12), np.array((104, 122, 84)) + 0.6 * mood)
    elif kind == "park":
        sky = np.array((150, 180, 210)) + ramp * np.array((84, 52, 20)) + mood
        put(sky + np.clip(noise(rng, size, 3) * 3 - 1.7, 0, 1) * 0.6 * (246 - sky))
        for k in range(5):
            xs, haze = np.linspace(0, 1, 60), 1 - k / 5
            wave = rng.uniform(2, 5) * xs + rng.uniform(0, 6)
            ys = 0.4 + 0.1 * k + 0.05 * np.sin(wave) + 0.02 * np.sin(3.3 * wave)
            color = np.array((104, 120, 76)) + rng.uniform(-12, 12, 3) + 0.5 * mood
            color = color + 0.75 * haze**1.5 * (np.array((196, 206, 214)) - color)
            fill([(0, 1), *zip(xs, ys, strict=True), (1, 1)], color)
            for x in rng.uniform(-0.05, 1.05, 7) if k else ():
                tree(x, float(np.interp(x, xs, ys)), (0.02 + 0.02 * k) * rng.uniform(0.7, 1.2), color * 0.92)
        put(img * (1 + 0.28 * (noise(rng, size, 24, 4) - 0.5) * np.clip(ramp * 3 - 1.2, 0, 1)))
    elif kind == "lights":
        put(img * (0.3 - 0.12 * ramp))
        hues = np.array((255, 206, 140)) + rng.normal(0, 34, (4, 3))
        for x, y, r in rng.uniform((0, 0.1, 0.012), (1, 0.85, 0.05), (int(rng.integers(20, 55)), 3)):
            top, low = (int(np.clip((y + a * r) * size + 2 * a, 0, size)) for a in (-1, 1))
            disc = np.zeros((low - top, size), np.uint8)
            p = np.round((ellipse(x, y, r, r) * size - (0, top)) * 16).astype(np.int32)
            cv2.fillPoly(disc, [p], 255, cv2.LINE_AA, SHIFT)
            glow = disc[..., None] * hues[rng.integers(4)] * rng.uniform(0.15, 0.6) / 255
            img[top:low] = np.clip(img[top:low] + glow, 0, 255)
    elif kind == "brick":
        wall = np.array((160, 122, 104)) + rng.uniform(-30, 40) + 0.6 * mood
        put(wall * 0.5 + 92 + 0 * ramp)
        for row, y in enumerate(np.arange(0, 1, 0.042)):
            for x in np.arange(-0.06 * (row % 2), 1, 0.12):
                box(x, y, 0.114, 0.036, wall * rng.uniform(0.8, 1.08) + rng.normal(0, 4, 3))
        put(img * (0.9 + 0.2 * noise(rng, size, 12, 4)))
    elif kind == "texture":
        grain = noise(rng, size, int(rng.integers(2, 6)), 6)
        put(img + 40 * (grain - 0.5) + rng.uniform(0, 10) * np.sin(grain * rng.uniform(8, 30)))
    else:
        x, y = rng.uniform(0.2, 0.8, 2)
        far = np.hypot(ramp - y, ramp.transpose(1, 0, 2) - x)
        put(quiet[0] * rng.uniform(0.6, 1.3) * np.clip(1.2 - 0.8 * far, 0.25, 1.2) + 10 * noise(rng, size, 3))
    return img.astype(np.float32)


def _defocus(img: Array, radius: float) -> Array:
    """Blur with a disc, in which highlights keep more weight, as out-of-focus lenses do."""
    k = int(np.ceil(radius)) * 2 + 1
    d = np.hypot(*np.mgrid[-(k // 2) : k // 2 + 1, -(k // 2) : k // 2 + 1])
    disc = np.clip(radius + 0.5 - d, 0, 1)
    weight = np.clip(img, 0, 255) ** 2 + 400
    kernel = (disc / disc.sum()).astype(np.float32)
    top, low = (cv2.filter2D(a, -1, kernel, borderType=cv2.BORDER_REFLECT) for a in (img * weight, weight))
    return top / low


def render_background(seed: int, size: int = 512, *, bokeh: bool | None = None, kind: str | None = None) -> Array:
    """Render a people-free scene, (size, size, 3) uint8 RGB.

    ``bokeh`` puts it out of focus; left to the seed, about half of the scenes are. ``kind`` is one of ``KINDS``:
    rooms, streets, parks, studio and brick walls, lights, textures; the seed chooses if it is ``None``. Raises
    ValueError for another kind, and as `render_portrait` does.
    """
    check_arguments(seed, size)
    rng = np.random.default_rng([seed, 4])
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: expected one of {', '.join(KINDS)}")
    chosen = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    img = _scene(rng, size, kind or chosen)
    amount, drawn = rng.uniform(0.008, 0.022), rng.random() < 0.5
    img = _defocus(img, size * amount) if (drawn if bokeh is None else bokeh) else img
    x, y = np.linspace(-1, 1, size, dtype=np.float32)[None, :, None], np.linspace(-1, 1, size)[:, None, None]
    img = img * (1.04 - rng.uniform(0.05, 0.2) * (x**2 + y**2)) * (0.88 + 0.24 * noise(rng, size, 2, 1))
    img = img + rng.normal(0, rng.uniform(0.5, 4), img.shape)
    return np.clip(np.round(img), 0, 255).astype(np.uint8)
