"""A small rasteriser for procedural pictures: shapes and strokes in, colour and exact coverage out.

Coordinates are in frame units (the picture is the unit square), y pointing down. Colours are RGB in [0, 255].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

Array = np.ndarray
Box = tuple[int, int, int, int]
Color = Sequence[float] | Array
Place = Callable[[Array], Array]
Rng = np.random.Generator

SHIFT = 4  # fractional bits of the coordinates handed to the rasteriser
# Defaults of `Canvas.paint`, which says what they mean.
PAINT: dict[str, Any] = dict.fromkeys(("depth", "soft", "shadow"), 0.0)
PAINT |= {"opacity": 1.0, "solid": True, "tone": None, "clip": None, "folds": ()}


def check_arguments(seed: int, size: int) -> None:
    """Raise ValueError for a negative seed or a picture too small to hold a person."""
    if seed < 0 or size < 16:
        raise ValueError(f"expected seed >= 0 and size >= 16 pixels, got seed {seed} and size {size}")


def spline(points: object, n: int = 8, closed: bool = False) -> Array:
    """Catmull-Rom curve through (..., P, 2) points with ``n`` samples a span, shape (..., M, 2)."""
    p = np.asarray(points, np.float64)
    if closed:
        p = np.concatenate([p[..., -1:, :], p, p[..., :2, :]], axis=-2)
    else:
        head, tail = 2 * p[..., :1, :] - p[..., 1:2, :], 2 * p[..., -1:, :] - p[..., -2:-1, :]
        p = np.concatenate([head, p, tail], axis=-2)
    t = (np.arange(n) / n)[:, None]
    a, b, c, d = (p[..., i : p.shape[-2] - 3 + i, None, :] for i in range(4))
    curve = b + 0.5 * ((c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(*curve.shape[:-3], -1, 2)
    return curve if closed else np.concatenate([curve, p[..., -2:-1, :]], axis=-2)


def normals(curve: Array) -> Array:
    """Return unit left normals of (..., M, 2) curves, same shape."""
    d = np.gradient(curve, axis=-2)
    return d[..., ::-1] * (-1, 1) / np.maximum(np.linalg.norm(d, axis=-1, keepdims=True), 1e-12)


def limb(spine: object, widths: Color, n: int = 8, cap: bool = True) -> Array:
    """Outline (M, 2) of a tapered tube: ``widths`` are half-widths spread evenly along the spine."""
    c = spline(spine, n)
    w = np.interp(np.linspace(0, 1, len(c)), np.linspace(0, 1, len(widths)), widths)[:, None]
    nrm = normals(c)
    left, right = c + nrm * w, (c - nrm * w)[::-1]
    a = np.linspace(0, np.pi, 9)[1:-1, None]
    ends = []
    for i, s in ((-1, 1), (0, -1)) if cap else ():
        ends.append(c[i] + w[i] * s * (nrm[i] * np.cos(a) + nrm[i, ::-1] * (1, -1) * np.sin(a)))
    return np.concatenate([left, ends[0], right, ends[1]] if cap else [left, right])


def ellipse(x: float, y: float, rx: float, ry: float, n: int = 40) -> Array:
    """Outline (n, 2) of an ellipse."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([x + rx * np.cos(a), y + ry * np.sin(a)], -1)


def pts(text: str) -> Array:
    """Points (P, 2) in head units from "x y, x y" in hundredths."""
    return np.array([[float(v) for v in p.split()] for p in text.split(",")]) / 100


def mirror(points: object, side: float = -1) -> Array:
    """Points with x multiplied by ``side`` (+1 keeps, -1 mirrors)."""
    return np.asarray(points, np.float64) * (side, 1)


def noise(rng: Rng, size: int, cells: int, octaves: int = 4) -> Array:
    """Smooth value noise (size, size, 1) float32 in [0, 1] whose coarsest grid has ``cells`` cells a side."""
    out = np.zeros((size, size), np.float32)
    for k in range(octaves):
        grid = rng.random((cells * 2**k + 2, cells * 2**k + 2), np.float32)
        out += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) * 0.5**k
    return np.clip(out / (2 - 2 * 0.5**octaves), 0, 1)[..., None]


def blur(img: Array, sigma: float) -> Array:
    """Gaussian blur, by way of a smaller picture where that makes no visible difference."""
    if sigma < 4:
        return cv2.GaussianBlur(img, (0, 0), max(sigma, 0.3))
    h, w = img.shape[:2]
    small = cv2.resize(img, (max(w // 2, 1), max(h // 2, 1)), interpolation=cv2.INTER_AREA)
    return cv2.resize(blur(small, sigma / 2), (w, h), interpolation=cv2.INTER_LINEAR)


def extend(premultiplied: Array, alpha: Array) -> Array:
    """Straight colour on every pixel: known where alpha is positive, pulled from coarser scales elsewhere."""
    h, w = alpha.shape
    straight = premultiplied / np.maximum(alpha, 1e-6)[..., None]
    if min(h, w) <= 2:
        return straight
    half = ((w + 1) // 2, (h + 1) // 2)
    small = [cv2.resize(a, half, interpolation=cv2.INTER_AREA) for a in (premultiplied, alpha)]
    known = np.clip(alpha * 25, 0, 1)[..., None]
    return known * straight + (1 - known) * cv2.resize(extend(*small), (w, h), interpolation=cv2.INTER_LINEAR)


class Canvas:
    """Binary coverage at ``ss`` samples a pixel and side, and premultiplied colour at two.

    Colour varies little inside a pixel; coverage is what the matte is made of, so it is sampled finely.
    """

    def __init__(self, size: int, ss: int, light: Array, probe: tuple[int, Box] | None = None) -> None:
        self.size, self.ss, self.light = size, ss, light
        self.mask = np.zeros((size * ss, size * ss), np.uint8)
        # Coverage targets: samples, samples a pixel, box. A probe samples one window more finely.
        self.targets: list[tuple[Array, int, Box]] = [(self.mask, ss, (0, 0, size, size))]
        if probe is not None:
            side = (probe[1][2] - probe[1][0]) * probe[0]
            self.targets.append((np.zeros((side, side), np.uint8), *probe))
        self.rgb = np.zeros((2 * size, 2 * size, 3), np.float32)
        self.cov = np.zeros((2 * size, 2 * size), np.float32)

    def window(self, points: Array, pad: float) -> Box:
        """Whole-pixel box (x0, y0, x1, y1) around frame points; it is empty out of the frame."""
        lo = np.clip(np.floor((points.min(0) - pad) * self.size).astype(int) - 1, 0, self.size)
        hi = np.clip(np.ceil((points.max(0) + pad) * self.size).astype(int) + 1, 0, self.size)
        return int(lo[0]), int(lo[1]), int(hi[0]), int(hi[1])

    def fixed(self, points: Array, scale: int, box: Box) -> Array:
        """Fixed-point sample coordinates of frame points at ``scale`` samples a pixel."""
        return np.round(((points * self.size - box[:2]) * scale - 0.5) * 2**SHIFT).astype(np.int32)

    def solid(self, mask: Array, poly: Array, ss: int, box: Box) -> None:
        """Fill a polygon into a coverage mask of ``ss`` samples a pixel."""
        # The rasteriser also sets the samples its outline runs through: pull the outline in by half a sample.
        ring = np.concatenate([poly[-1:], poly, poly[:1]])
        d = ring[2:] - ring[:-2]
        n = d[:, ::-1] * (-1, 1) / np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-12)[:, None]
        turn = np.sign(ring[:-1, 0] @ ring[1:, 1] - ring[:-1, 1] @ ring[1:, 0])
        inset = poly + n * turn * 0.5 / (self.size * ss)
        cv2.fillPoly(mask, [self.fixed(inset, ss, box)], 255, cv2.LINE_8, SHIFT)

    def relief(self, cov: Array, depth: float) -> Array:
        """Light (h, w) float32, about 0.5 to 1.2, on a piece blown up like a cushion."""
        h, w = cov.shape
        small = (cv2.resize(cov, (w // 2, h // 2), interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
        d = cv2.distanceTransform(cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 3)
        r = max(float(d[d < 1e4].max(initial=1.0)), 1.0)
        height = np.sqrt(np.clip(1 - (1 - np.clip(d / r, 0, 1)) ** 2, 0, 1)) * (r * depth)
        height = blur(height, max(0.22 * r, 0.6))
        gx, gy = (cv2.Sobel(height, cv2.CV_32F, i, 1 - i, scale=0.125) for i in (1, 0))
        lx, ly, lz = (float(v) for v in self.light)
        lambert = np.clip((lz - lx * gx - ly * gy) / np.sqrt(1 + gx**2 + gy**2), 0, 1)[1:-1, 1:-1]
        return cv2.resize(0.52 + 0.66 * lambert, (w, h), interpolation=cv2.INTER_LINEAR)

    def paint(self, polys: Array | list[Array], color: Color, **style: Any) -> None:
        """Paint polygons (frame units) with the options of ``PAINT``.

        ``depth`` is the strength of the cushion shading, ``tone(x, y)`` a colour factor from frame
        coordinates, ``folds`` are creases, ``clip`` cuts the piece, ``soft`` blurs its edge (frame units) and
        ``shadow`` darkens what lies behind. Pieces that are not ``solid`` only tint what is already there.
        """
        s = SimpleNamespace(**(PAINT | style))
        polys = polys if isinstance(polys, list) else [polys]
        box = x0, y0, x1, y1 = self.window(np.concatenate(polys), 2.5 * s.soft + 0.05 * bool(s.shadow))
        if x1 <= x0 or y1 <= y0:
            return
        view = np.s_[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
        raw = np.zeros((2 * (y1 - y0), 2 * (x1 - x0)), np.uint8)
        for p in polys:
            cv2.fillPoly(raw, [self.fixed(p, 2, box)], 255, cv2.LINE_AA, SHIFT)
            for target in self.targets if s.solid else ():
                self.solid(target[0], p, *target[1:])
        cov = raw * np.float32(1 / 255)
        if s.clip is not None:
            raw[:] = 0
            cv2.fillPoly(raw, [self.fixed(s.clip, 2, box)], 255, cv2.LINE_AA, SHIFT)
            cov *= raw * np.float32(1 / 255)
        cov = blur(cov, s.soft * 2 * self.size) if s.soft else cov
        layer = np.asarray(color, np.float32)
        if s.depth:
            light = self.relief(cov, s.depth)
            for crease in s.folds:
                self.crease(light, crease, box)
            layer = layer * np.stack([np.sqrt(light) * light**0.35, light, light**1.08], -1)
        if s.tone is not None:
            ys, xs = np.ogrid[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
            factor = s.tone(*(np.float32(v / (2 * self.size)) for v in (xs, ys)))
            layer = layer * (factor if factor.ndim == 3 else factor[..., None])
        if s.shadow:
            k = max(int(0.035 * self.size), 1) | 1
            self.rgb[view] *= (1 - s.shadow * cv2.blur(cv2.blur(cov, (k, k)), (k, k)) * (1 - cov))[..., None]
        self.blend(view, cov * np.float32(s.opacity), layer, s.solid)

    def crease(self, light: Array, line: Array, box: Box) -> None:
        """Press a fold into ``light``: dark on one side of the line and bright on the other."""
        x0, y0, x1, y1 = (max(v - o, 0) for v, o in zip(self.window(line, 0.05), box[:2] * 2, strict=True))
        part = light[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
        if part.size == 0:
            return
        img = np.zeros(part.shape, np.float32)
        where = self.fixed(line, 2, (x0 + box[0], y0 + box[1], 0, 0))
        cv2.polylines(img, [where], False, 0.8, max(int(0.024 * self.size), 1), cv2.LINE_AA, SHIFT)
        img = blur(img, 0.014 * self.size)
        shift = np.array([[1, 0, -0.024 * self.size * self.light[0]], [0, 1, 0.024 * self.size]], np.float32)
        part *= 1 - 0.26 * (img - cv2.warpAffine(img, shift, img.shape[::-1]))

    def blend(self, view: tuple[slice, slice], cov: Array, layer: Array, solid: bool) -> None:
        """Put a layer of straight colour over the canvas; without ``solid`` coverage stays as it is."""
        target, c = self.rgb[view], cov[..., None]
        if solid:
            target += c * (layer - target)
            self.cov[view] += cov * (1 - self.cov[view])
        else:
            target += c * (layer * self.cov[view][..., None] - target)

    def hair(self, rng: Rng, strands: Array, color: Color, width: float, mass: list[Array], s: Any) -> None:
        """Draw strands (N, M, 2) in frame units, ``width`` wide at the root, over an opaque ``mass``."""
        box = x0, y0, x1, y1 = self.window(np.concatenate([strands.reshape(-1, 2), *mass]), 0.03)
        if x1 <= x0 or y1 <= y0:
            return
        h, w, ss = y1 - y0, x1 - x0, self.ss
        mask = np.zeros((h * ss, w * ss), np.uint8)
        for p in mass:
            for target in ((mask, ss, box), *self.targets[1:]):
                self.solid(target[0], p, *target[1:])
        # Coverage: short runs of each strand, thinner towards the tip. Runs deep inside the mass add nothing.
        count, points = strands.shape[:2]
        starts, t = np.arange(0, points - 1, 2), np.linspace(0, 1, points)
        wide = width * (1 - 0.85 * t**1.5) * rng.uniform(0.7, 1.25, (count, 1)) * self.size
        pick = rng.random((count, len(starts)))
        core = cv2.resize(mask, (w, h), interpolation=cv2.INTER_AREA)
        reach = 2 * max(int(0.012 * self.size), 1) + 1
        core = cv2.erode(core, np.ones((reach, reach), np.uint8), borderValue=255) == 255
        runs = strands[:, np.minimum(starts[:, None] + np.arange(3), points - 1)]
        at = np.clip((runs * self.size - (x0, y0)).astype(int), 0, (w - 1, h - 1))
        outside = ~core[at[..., 1], at[..., 0]].all(-1)
        for target in ((mask, ss, box), *self.targets[1:]):
            self.runs(strands, starts, wide, pick, outside, *target)
        whole = self.mask[y0 * ss : y1 * ss, x0 * ss : x1 * ss]
        np.maximum(whole, mask, out=whole)
        cov = cv2.resize(mask, (2 * w, 2 * h), interpolation=cv2.INTER_AREA) * np.float32(1 / 255)
        # Colour: each strand has its own tone, dark at the root and bright in a band across the lock.
        base, t = np.asarray(color, np.float32), t[starts]
        layer = np.empty((2 * h, 2 * w, 3), np.uint8)
        layer[:] = np.clip(base * 0.62, 0, 255)
        glow = np.exp(-(((t - 0.3 - 0.05 * rng.standard_normal((count, 1))) / 0.13) ** 2))
        own = rng.normal(0.92, 0.17, (count, 1)) * (0.8 + 0.22 * t)
        own = own + s.shine * (1 - base.mean() / 320) * glow * rng.uniform(0.3, 1.3, (count, 1))
        tones = np.clip(np.round(own * 12), 5, 19).astype(int)
        warm, heavy = rng.normal(0, 0.03, 20), max(round(width * 2.4 * self.size), 1)
        for part in np.array_split(np.arange(count), 3):
            for k in range(5, 20):
                lines = list(self.fixed(runs[part][tones[part] == k], 2, box))
                tint = base * (k / 12) * (1 + warm[k], 1, 1 - warm[k]) + max(k - 12, 0) * 3.0
                cv2.polylines(layer, lines, False, np.clip(tint, 0, 255).tolist(), heavy, cv2.LINE_AA, SHIFT)
        view = np.s_[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
        if s.shadow:
            k = max(int(0.04 * self.size), 1) | 1
            self.rgb[view] *= (1 - s.shadow * cv2.blur(cv2.blur(cov, (k, k)), (k, k)))[..., None]
        self.blend(view, cov, layer.astype(np.float32), True)

    def runs(
        self,
        strands: Array,
        starts: Array,
        wide: Array,
        pick: Array,
        keep: Array,
        mask: Array,
        ss: int,
        box: Box,
    ) -> None:
        """Fill the runs to ``keep`` of strands that are ``wide`` pixels into a coverage mask."""
        # As in `solid`, half a sample on each side comes from the outline; below that, leave out some runs.
        # The ends of a run are pulled in likewise, so that runs touch without overlapping.
        fine, points = wide * ss, strands.shape[1]
        normal = normals(strands)
        pull = normal[..., ::-1] * np.array([0.5, -0.5]) / (self.size * ss)
        half = normal * (np.maximum(fine - 1, 0) / (2 * self.size * ss))[..., None]
        left, right = (
            np.stack([(c + (1 - k) * pull)[:, np.minimum(starts + k, points - 1)] for k in range(3)], 2)
            for c in (strands + half, strands - half)
        )
        keep = keep & (fine[:, starts] > 0.9 * pick)
        outlines = np.concatenate([left[keep], right[keep][:, ::-1]], 1)
        low, high = np.array(box[:2]) / self.size, np.array(box[2:]) / self.size
        inside = (outlines < high).all(-1).any(-1) & (outlines > low).all(-1).any(-1)
        for outline in self.fixed(outlines[inside], ss, box):
            cv2.fillPoly(mask, [outline], 255, cv2.LINE_8, SHIFT)

    def finish(self) -> tuple[Array, Array]:
        """Foreground (H, W, 3) uint8 and alpha (H, W) float32, of the probe's window if there is one."""
        mask, _, (x0, y0, x1, y1) = self.targets[-1]
        # Averages of 8 x 8 binary samples survive eight bits: 64 steps fit in 255, so they can be recovered.
        eighth = cv2.resize(mask, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
        alpha = np.round(eighth.astype(np.float32) * (64 / 255)) / 64
        alpha = cv2.resize(alpha, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        half = (self.size, self.size)
        rgb, cov = (cv2.resize(a, half, interpolation=cv2.INTER_AREA) for a in (self.rgb, self.cov))
        color = extend(rgb, cov)[y0:y1, x0:x1]
        return np.clip(np.round(color), 0, 255).astype(np.uint8), np.clip(alpha, 0, 1)
