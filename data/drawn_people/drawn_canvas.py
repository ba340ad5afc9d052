"""A small rasteriser for procedural pictures: shapes and strokes in, colour and exact coverage out.

Coordinates are in frame units (the picture is the unit square), y pointing down. Colours are RGB in [0, 255].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

Array = np.ndarray
Box = tuple[int, int, int, int]
Color = Sequence[float] | Array
Place = Callable[[Array], Array]
Rng = np.random.Generator

QUADS = np.array([[0, 1, 4, 5], [1, 2, 3, 4], *([k, k + 1, 8 - k, 9 - k] for k in range(4))])
TILES, STEP = 16, 4  # coverage is counted in tiles, so many a side, with a margin in pixels
SHIFT = 4  # fractional bits of the coordinates handed to the rasteriser
# Defaults of `Canvas.paint`, which says what they mean.
PAINT: dict[str, Any] = dict.fromkeys(("depth", "soft", "shadow"), 0.0)
PAINT |= {"opacity": 1.0, "solid": True, "tone": None, "clip": None, "mesh": None}


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


@cache
def creases() -> Array:
    """Light (512, 512) float32, about -1 to 1, on creased cloth that is lit from the upper left."""
    rng = np.random.default_rng(7)
    ys, xs = np.mgrid[:512, :512].astype(np.float32)
    a, b, c = (noise(rng, 512, n, 3)[..., 0] for n in (4, 4, 6))
    folds = cv2.remap(c, xs + 90 * (a - 0.5), 0.55 * ys + 90 * (b - 0.5), cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)
    height = blur((1 - np.abs(2 * folds - 1)) ** 3, 2.5)
    light = height - cv2.warpAffine(height, np.array([[1, 0, 3], [0, 1, 4]], np.float32), (512, 512))
    return blur(np.clip(light / light[8:, 8:].std() / 2, -1, 1), 1.2)


def drape(x: Array, y: Array, origin: Array, axis: Array, unit: float) -> Array:
    """Light of `creases` at the samples x (1, w) and y (h, 1), on cloth with a given origin, axis and scale."""
    step, k = float(x[0, 1] - x[0, 0]) if x.size > 1 else 1.0, 110 / unit
    turn = k * np.array([[axis[1], -axis[0]], [axis[0], axis[1]]])
    start = turn @ (np.array([x[0, 0], y[0, 0]]) - origin) + 256
    where = np.concatenate([turn * step, start[:, None]], 1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(creases(), where, (x.size, y.size), None, flags, cv2.BORDER_REFLECT)


def warm(light: Array, color: Array) -> Array:
    """Colour (h, w, 3) float32 under light (h, w) of 0 to 1.4, whose shade is warmer."""
    t = np.arange(256, dtype=np.float32)[:, None] / 180
    table = (t ** np.array((0.85, 1, 1.08)) * color).astype(np.float32)
    steps = cv2.convertScaleAbs(light, alpha=180)
    return cv2.LUT(cv2.merge([steps, steps, steps]), table[None])


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


def solid(poly: Array, sample: float, step: float) -> Array:
    """Outline of a shape for a rasteriser with samples ``sample`` apart; edges are at most ``step`` long."""
    # The rasteriser also sets the samples its outline runs through, half a sample to each side along the axis it
    # steps across: pull the outline in by as much.
    ring = np.concatenate([poly[-1:], poly, poly[:1]])
    d = ring[2:] - ring[:-2]
    n = d[:, ::-1] * (-1, 1) / np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-12)[:, None]
    turn = np.sign(poly[:, 0] @ ring[2:, 1] - poly[:, 1] @ ring[2:, 0])
    inset = poly + n * np.abs(n).max(-1, keepdims=True) * turn * 0.5 * sample
    ring = np.concatenate([inset, inset[:1]])
    count = np.ceil(np.abs(np.diff(ring, axis=0)).max(-1) / step).astype(int).clip(1)
    start = np.repeat(np.arange(len(poly)), count)
    f = (np.arange(len(start)) - np.repeat(np.cumsum(count) - count, count)) / np.repeat(count, count)
    return ring[start] + (ring[start + 1] - ring[start]) * f[:, None]


class Canvas:
    """Premultiplied colour at two samples a pixel and side, and the shapes and strands that cover the picture.

    Colour varies little inside a pixel; coverage is what the matte is made of, so it is sampled finely, at the
    end, from all shapes at once. Pieces with depth fall off towards their edges over ``edge`` frame units.
    """

    def __init__(self, size: int, light: Array, edge: float = 0.1) -> None:
        self.size, self.light, self.round = size, light, max(edge * size, 1.0)
        self.rgb = np.zeros((2 * size, 2 * size, 3), np.float32)
        self.cov = np.zeros((2 * size, 2 * size), np.float32)
        self.inside = np.zeros((size, size), bool)  # pixels that a shape covers with all their neighbours
        self.shapes: list[Array] = []
        self.pieces: list[tuple[list[Array], Array | None]] = []  # what moves: outlines or strands, and their cut
        self.strands: list[tuple[Array, Array, Array]] = []

    def window(self, points: Array, pad: float) -> Box:
        """Whole-pixel box (x0, y0, x1, y1) around frame points; it is empty out of the frame."""
        lo = np.clip(np.floor((points.min(0) - pad) * self.size).astype(int) - 1, 0, self.size)
        hi = np.clip(np.ceil((points.max(0) + pad) * self.size).astype(int) + 1, 0, self.size)
        return int(lo[0]), int(lo[1]), int(hi[0]), int(hi[1])

    def fixed(self, points: Array, scale: int, box: Box) -> Array:
        """Fixed-point sample coordinates of frame points at ``scale`` samples a pixel."""
        return np.round(((points * self.size - box[:2]) * scale - 0.5) * 2**SHIFT).astype(np.int32)

    def cover(self, polys: list[Array], box: Box, reach: int) -> Array:
        """Add shapes to the coverage; True (h, w) where they cover a pixel and all within ``reach`` of it."""
        core = np.zeros((box[3] - box[1], box[2] - box[0]), np.uint8)
        for p in polys:
            cv2.fillPoly(core, [self.fixed(p, 1, box)], 1, cv2.LINE_8, SHIFT)
        core = cv2.erode(core, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
        self.inside[box[1] : box[3], box[0] : box[2]] |= core
        self.shapes += polys
        return core

    def relief(self, cov: Array, depth: float) -> Array:
        """Light (h, w) float32, about 0.5 to 1.2, on a piece blown up like a cushion."""
        h, w = cov.shape
        small = (cv2.resize(cov, (w // 2, h // 2), interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
        d = cv2.distanceTransform(cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 3)
        r = min(max(float(d[d < 1e4].max(initial=1.0)), 1.0), self.round)
        height = np.sqrt(np.clip(1 - (1 - np.clip(d / r, 0, 1)) ** 2, 0, 1)) * (r * depth)
        height = blur(height, max(0.22 * r, 0.6))
        gx, gy = (cv2.Sobel(height, cv2.CV_32F, i, 1 - i, scale=0.125) for i in (1, 0))
        lx, ly, lz = (float(v) for v in self.light)
        lambert = np.clip((lz - lx * gx - ly * gy) / np.sqrt(1 + gx**2 + gy**2), 0, 1)[1:-1, 1:-1]
        return cv2.resize(0.52 + 0.66 * lambert, (w, h), interpolation=cv2.INTER_LINEAR)

    def paint(self, polys: Array | list[Array], color: Color, **style: Any) -> None:
        """Paint polygons (frame units) with the options of ``PAINT``.

        ``depth`` is the strength of the cushion shading, ``tone(x, y)`` a colour factor from frame
        coordinates, ``clip`` cuts the piece, ``mesh`` (N, 4, 2) are parts that
        move on their own, ``soft`` blurs its edge (frame units) and
        ``shadow`` darkens what lies behind. Pieces that are not ``solid`` only tint what is already there.
        """
        s = SimpleNamespace(**(PAINT | style))
        polys = polys if isinstance(polys, list) else [polys]
        if s.solid or (s.opacity >= 0.5 and s.soft * self.size < 1):
            self.pieces.append((polys, s.clip))
        if s.mesh is not None:
            self.pieces.append((list(s.mesh), polys[0]))
        box = x0, y0, x1, y1 = self.window(np.concatenate(polys), 2.5 * s.soft + 0.05 * bool(s.shadow))
        if x1 <= x0 or y1 <= y0:
            return
        view = np.s_[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
        raw = np.zeros((2 * (y1 - y0), 2 * (x1 - x0)), np.uint8)
        for p in polys:
            cv2.fillPoly(raw, [self.fixed(p, 2, box)], 255, cv2.LINE_AA, SHIFT)
        if s.solid:
            self.cover(polys, box, 2)
        cov = raw * np.float32(1 / 255)
        if s.clip is not None:
            raw[:] = 0
            cv2.fillPoly(raw, [self.fixed(s.clip, 2, box)], 255, cv2.LINE_AA, SHIFT)
            cov *= raw * np.float32(1 / 255)
        cov = blur(cov, s.soft * 2 * self.size) if s.soft else cov
        layer = np.asarray(color, np.float32)
        if s.depth:
            light = self.relief(cov, s.depth)
            layer = warm(light, layer)
        if s.tone is not None:
            ys, xs = np.ogrid[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
            factor = s.tone(*(np.float32(v / (2 * self.size)) for v in (xs, ys)))
            layer = layer * (factor if factor.ndim == 3 else factor[..., None])
        if s.shadow:
            k = max(int(0.035 * self.size), 1) | 1
            self.rgb[view] *= (1 - s.shadow * cv2.blur(cv2.blur(cov, (k, k)), (k, k)) * (1 - cov))[..., None]
        self.blend(view, cov * np.float32(s.opacity), layer, s.solid)

    def blend(self, view: tuple[slice, slice], cov: Array, layer: Array, solid: bool) -> None:
        """Put a layer of straight colour over the canvas; without ``solid`` coverage stays as it is."""
        target, c = self.rgb[view], cov[..., None]
        step = np.subtract(layer if solid else layer * self.cov[view][..., None], target)
        step *= c
        target += step
        if solid:
            self.cov[view] += cov * (1 - self.cov[view])

    def hair(self, rng: Rng, strands: Array, color: Color, width: float, mass: list[Array], s: Any) -> None:
        """Draw strands (N, M, 2) in frame units, ``width`` wide at the root, over an opaque ``mass``."""
        self.pieces += [(mass, None), ([strands], None)]
        rng = np.random.default_rng(rng.integers(2**32))  # what is drawn later must not hang on what is in view
        box = x0, y0, x1, y1 = self.window(np.concatenate([strands.reshape(-1, 2), *mass]), 0.03)
        if x1 <= x0 or y1 <= y0:
            return
        h, w = y1 - y0, x1 - x0
        raw = np.zeros((2 * h, 2 * w), np.uint8)
        for p in mass:
            cv2.fillPoly(raw, [self.fixed(p, 2, box)], 255, cv2.LINE_AA, SHIFT)
        core = self.cover(mass, box, 2)
        # Coverage: short runs of each strand, thinner towards the tip. Runs deep inside the mass add nothing.
        count, points = strands.shape[:2]
        step = 2 if s.curl or np.ptp(strands[:, :5], 1).max() * TILES > 1 else 4
        starts, t = np.arange(0, points - 1, step), np.linspace(0, 1, points)
        wide = width * (1 - 0.85 * t**1.5) * rng.uniform(0.7, 1.25, (count, 1)) * self.size
        self.strands.append((strands, wide, rng.random((count, len(starts)))))
        runs = strands[:, starts[:, None] + np.arange(step + 1)]
        at = np.clip((runs * self.size - (x0, y0)).astype(int), 0, (w - 1, h - 1))
        outside = ~core[at[..., 1], at[..., 0]].all(-1)
        level = np.ceil(np.clip(wide[:, starts] * 2, 0, 1) * 5)
        for k in range(1, 6):
            lines = list(self.fixed(runs[outside & (level == k)], 2, box))
            cv2.polylines(raw, lines, False, 51 * k, 1, cv2.LINE_AA, SHIFT)
        cov = raw * np.float32(1 / 255)
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

    def runs(self, ss: int) -> Array:
        """Outlines (N, 10, 2) in frame units of the strands' runs that are not deep inside the person."""
        found = [np.empty((0, 10, 2))]
        for strands, wide, pick in self.strands:
            step = (strands.shape[1] - 1) // pick.shape[1]
            starts = np.arange(0, strands.shape[1] - 1, step)
            part = starts[:, None] + np.arange(step + 1)
            at = np.clip((strands[:, part] * self.size).astype(int), 0, self.size - 1)
            # As in `solid`, half a sample on each side comes from the outline; below that, leave out some runs.
            # The ends of a run are pulled in likewise, so that runs touch without overlapping.
            normal = normals(strands)
            line, fine = np.abs(normal).max(-1), wide * ss
            keep = ~self.inside[at[..., 1], at[..., 0]].all(-1) & (fine[:, starts] > line[:, starts] * pick)
            rows, cols = np.nonzero(keep)
            part = part[cols]
            rows = rows[:, None]
            half = normal[rows, part] * (np.maximum(fine - line, 0) / (2 * self.size * ss))[rows, part][..., None]
            pull = normal[rows, part][..., ::-1] * np.array([0.5, -0.5]) / (self.size * ss)
            ends = np.zeros((step + 1, 1))
            ends[0], ends[-1] = 1, -1
            curve = strands[rows, part] + pull * ends
            ring = np.concatenate([curve + half, (curve - half)[:, ::-1]], 1)
            found.append(np.concatenate([ring, ring[:, -1:].repeat(10 - ring.shape[1], 1)], 1))
        return np.concatenate(found)

    def coverage(self, ss: int, box: Box) -> Array:
        """Share (h, w) float32 of each pixel in ``box`` that the union of all shapes covers."""
        hidden = [self.inside[y0:y1, x0:x1].all() for x0, y0, x1, y1 in (self.window(p, 0) for p in self.shapes)]
        shapes = [p for p, deep in zip(self.shapes, hidden, strict=True) if not deep]
        inset = [solid(p, 1 / (self.size * ss), STEP / self.size) for p in shapes]
        bounds = np.array([(*p.min(0), *p.max(0)) for p in inset]).reshape(-1, 2, 2) * self.size
        runs = self.runs(ss)
        # The quick fill needs outlines that every row meets at most twice.
        turns = np.sign(np.diff(runs[..., 1], axis=1, append=runs[:, :1, 1]))
        for k in range(1, 10):
            turns[:, k] += (turns[:, k] == 0) * turns[:, k - 1]
        plain = (turns * np.roll(turns, 1, 1) < 0).sum(1) == 2
        # Sort runs into tiles.
        side = -(-self.size // TILES)
        low, high = (np.floor(f(runs * self.size, 1) / side).astype(int) for f in (np.min, np.max))
        reach = (high - low).max(0, initial=0) + 1
        cells = np.stack([low + np.array((i, j)) for i in range(reach[0]) for j in range(reach[1])])
        names = np.where(
            ((cells >= 0) & (cells < TILES) & (cells <= high)).all(-1), cells[..., 1] * TILES + cells[..., 0], -1
        )
        order = np.argsort(names, axis=None, kind="stable")
        edges = np.searchsorted(names.ravel()[order], np.arange(TILES**2 + 1))
        grid = np.arange(TILES) * side
        xs, ys = ((bounds[:, 0, i] < grid[:, None] + side) & (bounds[:, 1, i] > grid[:, None]) for i in (0, 1))
        touch = ys[:, None] & xs[None]
        alpha, buffer = self.inside.astype(np.float32), np.empty((side * ss, side * ss + 64), np.uint8)
        for tile in range(TILES**2):
            x0, y0 = side * (tile % TILES), side * (tile // TILES)
            x1, y1 = min(x0 + side, self.size), min(y0 + side, self.size)
            if min(x1, box[2]) <= max(x0, box[0]) or min(y1, box[3]) <= max(y0, box[1]):
                continue
            some = order[edges[tile] : edges[tile + 1]] % len(runs) if len(runs) else order
            near = np.nonzero(touch[tile // TILES, tile % TILES])[0]
            if not len(some) + len(near) or self.inside[y0:y1, x0:x1].all():
                continue
            mask = buffer[: (y1 - y0) * ss, : (x1 - x0) * ss]
            mask[:] = 0
            cut = np.array([(x0 - STEP, y0 - STEP), (x1 + STEP, y1 + STEP)]) / self.size
            for k in near:
                # An outline without long edges is cut to the tile by clipping its points.
                ring = self.fixed(np.clip(inset[k], *cut), ss, (x0, y0, x1, y1))
                ring = ring[(ring != np.roll(ring, 1, 0)).any(-1)]
                if len(ring):
                    cv2.fillPoly(mask, [ring], 1, cv2.LINE_8, SHIFT)
            for outline, quick in zip(self.fixed(runs[some], ss, (x0, y0, x1, y1)), plain[some], strict=True):
                if quick:
                    cv2.fillConvexPoly(mask, outline, 1, cv2.LINE_8, SHIFT)
                else:
                    quads = QUADS[:2] if (outline[5] == outline[9]).all() else QUADS[2:]
                    for quad in quads:
                        cv2.fillConvexPoly(mask, outline[quad], 1, cv2.LINE_8, SHIFT)
            # Count samples eight at a time: the product gathers the eight bytes of a word in its top byte.
            words = mask.view(np.uint64).reshape(y1 - y0, ss // 8, 8, x1 - x0, ss // 8).sum(2)
            count = ((words * np.uint64(0x0101010101010101)) >> np.uint64(56)).sum((1, 3))
            alpha[y0:y1, x0:x1] = count / np.float32(ss * ss)
        return alpha[box[1] : box[3], box[0] : box[2]]

    def finish(self, ss: int, box: Box) -> tuple[Array, Array]:
        """Foreground (h, w, 3) uint8 and alpha (h, w) float32 of a box, from ``ss`` samples a pixel and side."""
        rgb, cov = (cv2.resize(a, (self.size, self.size), interpolation=cv2.INTER_AREA) for a in (self.rgb, self.cov))
        color = extend(rgb, cov)[box[1] : box[3], box[0] : box[2]]
        return np.clip(np.round(color), 0, 255).astype(np.uint8), self.coverage(ss, box)
