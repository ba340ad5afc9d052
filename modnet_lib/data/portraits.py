"""Procedural portraits with exact mattes, and people-free procedural backgrounds.

Every picture is a pure function of an integer seed. Shapes live in two coordinate systems, both with y
pointing down: *frame* units, where the picture is the unit square, and *head* units, where the origin is the
middle of the head and the distance from chin to crown is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Array = np.ndarray
Color = Sequence[float]
Rng = np.random.Generator

HAIR_KINDS = (
    "straight_long",
    "wavy",
    "curly",
    "coils",
    "short",
    "bob",
    "braid",
    "bun",
    "bald",
    "beard",
)
BODY_KINDS = ("head", "half", "full")

_SHIFT = 4  # fractional bits of the coordinates handed to the rasteriser
_SKINS = {
    "porcelain": (247, 217, 196),
    "fair": (238, 196, 168),
    "olive": (215, 168, 128),
    "tan": (193, 139, 99),
    "brown": (150, 99, 67),
    "dark": (106, 69, 48),
    "deep": (76, 49, 37),
}
_HAIRS = {
    "black": (34, 28, 30),
    "dark brown": (62, 42, 32),
    "brown": (98, 66, 43),
    "auburn": (124, 58, 34),
    "ginger": (178, 92, 42),
    "blond": (205, 165, 102),
    "grey": (158, 156, 154),
    "white": (214, 211, 205),
}
_CLOTHES = (
    *((196, 62, 58), (44, 74, 120), (238, 234, 224), (52, 56, 62), (226, 170, 60), (70, 122, 92)),
    *((136, 92, 148), (120, 168, 196), (222, 142, 128), (92, 104, 64), (150, 108, 76), (32, 92, 104)),
)


@dataclass(frozen=True)
class Portrait:
    """A rendered person, ready to be placed on any background.

    Attributes
    ----------
    foreground : ndarray, shape (H, W, 3), uint8
        Straight (unassociated) RGB colour of the person, continued smoothly outside of it.
    alpha : ndarray, shape (H, W), float32
        Exact pixel coverage in [0, 1].
    attributes : dict of str to str
        What was drawn: ``hair``, ``body``, ``skin``, ``clothing``, ``glasses``, ``hat``, ``held`` and more.
    """

    foreground: Array
    alpha: Array
    attributes: dict[str, str]


def _spline(points: object, n: int = 8, closed: bool = False) -> Array:
    """Catmull-Rom curve through (..., P, 2) points with ``n`` samples a span, shape (..., M, 2)."""
    p = np.asarray(points, np.float64)
    if closed:
        p = np.concatenate([p[..., -1:, :], p, p[..., :2, :]], axis=-2)
    else:
        head, tail = 2 * p[..., :1, :] - p[..., 1:2, :], 2 * p[..., -1:, :] - p[..., -2:-1, :]
        p = np.concatenate([head, p, tail], axis=-2)
    t = (np.arange(n) / n)[:, None]
    a, b, c, d = (p[..., i : p.shape[-2] - 3 + i, None, :] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(*curve.shape[:-3], -1, 2)
    return curve if closed else np.concatenate([curve, p[..., -2:-1, :]], axis=-2)


def _normals(curve: Array) -> Array:
    """Unit left normals of (..., M, 2) curves, same shape."""
    d = np.gradient(curve, axis=-2)
    return np.stack([-d[..., 1], d[..., 0]], -1) / np.maximum(np.linalg.norm(d, axis=-1, keepdims=True), 1e-9)


def _limb(spine: object, widths: Sequence[float], n: int = 8, cap: bool = True) -> Array:
    """Outline (M, 2) of a tapered tube: ``widths`` are the half-widths at the spine's control points."""
    c = _spline(spine, n)
    w = np.interp(np.linspace(0, 1, len(c)), np.linspace(0, 1, len(widths)), widths)[:, None]
    nrm = _normals(c)
    left, right = c + nrm * w, (c - nrm * w)[::-1]
    if not cap:
        return np.concatenate([left, right])
    a = np.linspace(0, np.pi, 9)[1:-1, None]
    ends = []
    for i, s in ((-1, 1), (0, -1)):
        tangent = np.array([nrm[i, 1], -nrm[i, 0]]) * s
        ends.append(c[i] + w[i] * (s * nrm[i] * np.cos(a) + tangent * np.sin(a)))
    return np.concatenate([left, ends[0], right, ends[1]])


def _ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0, n: int = 40) -> Array:
    """Outline (n, 2) of an ellipse turned by ``turn`` radians."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    p = np.stack([rx * np.cos(a), ry * np.sin(a)], -1)
    c, s = np.cos(turn), np.sin(turn)
    return p @ np.array([[c, s], [-s, c]]) + (x, y)


def _mirror(points: object, side: float = -1) -> Array:
    """Points with x multiplied by ``side`` (+1 keeps, -1 mirrors)."""
    return np.asarray(points, np.float64) * (side, 1)


def _noise(rng: Rng, shape: tuple[int, int], cells: int, octaves: int = 4) -> Array:
    """Smooth value noise (H, W) float32 in [0, 1] whose coarsest grid has ``cells`` cells a side."""
    out, total = np.zeros(shape, np.float32), 0.0
    for k in range(octaves):
        grid = rng.random((cells * 2**k + 2, cells * 2**k + 2), np.float32)
        out += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.5**k
        total += 0.5**k
    return np.clip(out / total, 0, 1)


def _extend(premultiplied: Array, alpha: Array) -> Array:
    """Straight colour on every pixel: known where alpha is positive, pulled from coarser scales elsewhere."""
    h, w = alpha.shape
    straight = premultiplied / np.maximum(alpha, 1e-6)[..., None]
    if min(h, w) <= 2:
        return straight if alpha.max() > 1e-3 else np.zeros_like(straight)
    half = ((w + 1) // 2, (h + 1) // 2)
    coarse = _extend(cv2.resize(premultiplied, half, interpolation=cv2.INTER_AREA),
                     cv2.resize(alpha, half, interpolation=cv2.INTER_AREA))
    known = np.clip(alpha * 25, 0, 1)[..., None]
    return known * straight + (1 - known) * cv2.resize(coarse, (w, h), interpolation=cv2.INTER_LINEAR)


class _Canvas:
    """Binary coverage at ``ss`` samples a pixel and side, and premultiplied colour at two.

    Colour needs no more than two samples because it varies little inside a pixel; coverage is what the
    matte is made of, so it is sampled finely and averaged exactly.
    """

    def __init__(self, size: int, ss: int, light: Array) -> None:
        self.size, self.ss, self.light = size, ss, light
        self.mask = np.zeros((size * ss, size * ss), np.uint8)
        self.rgb = np.zeros((2 * size, 2 * size, 3), np.float32)
        self.cov = np.zeros((2 * size, 2 * size), np.float32)

    def window(self, points: Array, pad: float = 0.0) -> tuple[int, int, int, int] | None:
        """Whole-pixel box (x0, y0, x1, y1) around frame points, or None when it is out of the frame."""
        lo = np.floor((points.min(0) - pad) * self.size).astype(int) - 1
        hi = np.ceil((points.max(0) + pad) * self.size).astype(int) + 1
        lo, hi = np.clip(lo, 0, self.size), np.clip(hi, 0, self.size)
        return (lo[0], lo[1], hi[0], hi[1]) if (hi > lo).all() else None

    def fixed(self, points: Array, scale: int, box: tuple[int, int, int, int] | None = None) -> Array:
        """Fixed-point sample coordinates of frame points at ``scale`` samples a pixel."""
        origin = np.array(box[:2] if box else (0, 0))
        return np.round(((points * self.size - origin) * scale - 0.5) * 2**_SHIFT).astype(np.int32)

    def solid(self, mask: Array, poly: Array, box: tuple[int, int, int, int] | None = None) -> None:
        """Fill a polygon into a coverage mask."""
        # The rasteriser also sets the samples its outline runs through: pull the outline in by half a sample.
        d = np.roll(poly, -1, 0) - np.roll(poly, 1, 0)
        n = np.stack([-d[:, 1], d[:, 0]], -1) / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-12)
        x, y = poly.T
        turn = np.sign(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
        inset = poly + n * turn * 0.5 / (self.size * self.ss)
        cv2.fillPoly(mask, [self.fixed(inset, self.ss, box)], 255, cv2.LINE_8, _SHIFT)

    def relief(self, cov: Array, depth: float) -> Array:
        """Light (h, w) float32, about 0.5 to 1.2, on a piece blown up like a cushion."""
        h, w = cov.shape
        small = (cv2.resize(cov, (w // 2, h // 2), interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
        d = cv2.distanceTransform(cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 3)
        r = max(float(d[d < 1e4].max(initial=1.0)), 1.0)
        height = np.sqrt(np.clip(1 - (1 - np.clip(d / r, 0, 1)) ** 2, 0, 1)) * (r * depth)
        height = cv2.GaussianBlur(height, (0, 0), max(0.22 * r, 0.6))
        gx, gy = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.125)
        lx, ly, lz = self.light
        lambert = np.clip((lz - lx * gx - ly * gy) / np.sqrt(1 + gx**2 + gy**2), 0, 1)[1:-1, 1:-1]
        return cv2.resize(0.52 + 0.66 * lambert, (w, h), interpolation=cv2.INTER_LINEAR)

    def paint(
        self,
        polys: Array | list[Array],
        color: Color,
        *,
        depth: float = 0.0,
        tone: Callable[[Array, Array], Array] | None = None,
        folds: list[Array] | None = None,
        clip: Array | None = None,
        soft: float = 0.0,
        opacity: float = 1.0,
        shadow: float = 0.0,
        solid: bool = True,
    ) -> None:
        """Paint polygons (frame units).

        ``depth`` sets the strength of the cushion shading, ``tone(x, y)`` gives a colour factor from frame
        coordinates, ``folds`` are creases, ``clip`` cuts the piece, ``soft`` blurs its edge (frame units) and
        ``shadow`` darkens what lies behind. Pieces that are not ``solid`` only tint what is already there.
        """
        polys = polys if isinstance(polys, list) else [polys]
        pad = 2.5 * soft + (0.05 if shadow else 0.0)
        box = self.window(np.concatenate(polys), pad)
        if box is None:
            return
        x0, y0, x1, y1 = box
        view = np.s_[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
        raw = np.zeros((2 * (y1 - y0), 2 * (x1 - x0)), np.uint8)
        for p in polys:
            cv2.fillPoly(raw, [self.fixed(p, 2, box)], 255, cv2.LINE_AA, _SHIFT)
            if solid:
                self.solid(self.mask, p)
        cov = raw.astype(np.float32) / 255
        if clip is not None:
            other = np.zeros_like(raw)
            cv2.fillPoly(other, [self.fixed(clip, 2, box)], 255, cv2.LINE_AA, _SHIFT)
            cov *= other.astype(np.float32) / 255
        if soft:
            cov = cv2.GaussianBlur(cov, (0, 0), max(soft * 2 * self.size, 0.3))
        layer = np.empty((*cov.shape, 3), np.float32)
        layer[:] = np.asarray(color, np.float32)
        if depth:
            light = self.relief(cov, depth)
            for crease in folds or []:
                light = light * self.crease(crease, box)
            layer *= light[..., None] ** np.array([0.85, 1.0, 1.08], np.float32)
        if tone is not None:
            ys, xs = np.mgrid[2 * y0 : 2 * y1, 2 * x0 : 2 * x1].astype(np.float32) / (2 * self.size)
            factor = tone(xs, ys)
            layer *= factor if factor.ndim == 3 else factor[..., None]
        if shadow:
            k = max(int(0.035 * self.size), 1) | 1
            drop = cv2.blur(cv2.blur(cov, (k, k)), (k, k)) * (1 - cov)
            self.rgb[view] *= (1 - shadow * drop)[..., None]
        self.blend(view, cov * opacity, layer, solid)

    def crease(self, line: Array, box: tuple[int, int, int, int]) -> Array:
        """Factor about 0.8 to 1.1 of a fold: dark on one side of the line and light on the other."""
        h, w = box[3] - box[1], box[2] - box[0]
        img = np.zeros((h, w), np.uint8)
        thick = max(int(0.012 * self.size), 1)
        cv2.polylines(img, [self.fixed(line, 1, box)], False, 200, thick, cv2.LINE_AA, _SHIFT)
        soft = cv2.GaussianBlur(img, (0, 0), max(0.007 * self.size, 0.5)).astype(np.float32) / 255
        shift = np.array([[1, 0, -0.012 * self.size * self.light[0]], [0, 1, 0.012 * self.size]], np.float32)
        lit = soft - cv2.warpAffine(soft, shift, (w, h))
        return cv2.resize(1 - 0.26 * lit, (2 * w, 2 * h), interpolation=cv2.INTER_LINEAR)

    def blend(self, view: tuple[slice, slice], cov: Array, layer: Array, solid: bool) -> None:
        """Put a layer of straight colour over the canvas; without ``solid`` coverage stays as it is."""
        c = cov[..., None]
        target = self.rgb[view]
        if solid:
            target *= 1 - c
            target += c * layer
            self.cov[view] += cov * (1 - self.cov[view])
        else:
            target += c * (layer * self.cov[view][..., None] - target)

    def hair(
        self,
        rng: Rng,
        strands: Array,
        color: Color,
        width: float,
        mass: list[Array] | None = None,
        shine: float = 0.4,
        shadow: float = 0.0,
    ) -> None:
        """Draw strands (N, M, 2) in frame units, ``width`` wide at the root, over an opaque ``mass``."""
        every = strands.reshape(-1, 2)
        box = self.window(np.concatenate([every, *(mass or [])]), 0.03)
        if box is None:
            return
        x0, y0, x1, y1 = box
        h, w, ss = y1 - y0, x1 - x0, self.ss
        mask = np.zeros((h * ss, w * ss), np.uint8)
        for p in mass or []:
            self.solid(mask, p, box)
        count, points = strands.shape[:2]
        # Coverage: short runs of each strand, thinner towards the tip. A run deep inside the mass adds nothing.
        starts = np.arange(0, points - 1, 2)
        runs = np.stack([strands[:, starts], strands[:, starts + 1], strands[:, np.minimum(starts + 2, points - 1)]], 2)
        taper = 1.0 - 0.8 * (starts / (points - 1)) ** 1.5
        fine = width * taper[None] * rng.uniform(0.7, 1.25, (count, 1)) * self.size * ss
        pick = rng.random(fine.shape)
        core = cv2.resize(mask, (w, h), interpolation=cv2.INTER_AREA)
        reach = 2 * max(int(0.012 * self.size), 1) + 1
        core = cv2.erode(core, np.ones((reach, reach), np.uint8), borderValue=255) == 255
        at = np.clip((runs * self.size - (x0, y0)).astype(int), 0, (w - 1, h - 1))
        keep = ~core[at[..., 1], at[..., 0]].all(-1)
        # Whole sample widths only: dither between the two nearest so that the mean width is right.
        table = np.array([0, 0.91, 2.99, *range(5, 300, 2)])
        low = np.clip(np.searchsorted(table, fine, side="right") - 1, 0, len(table) - 2)
        up = (fine - table[low]) / (table[low + 1] - table[low]) > pick
        level = np.where(keep, low + up, 0)
        for k in range(1, int(level.max(initial=0)) + 1):
            lines = self.fixed(runs[level == k], ss, box)
            if len(lines):
                cv2.polylines(mask, list(lines), False, 255, k if k < 3 else 2 * k - 3, cv2.LINE_8, _SHIFT)
        whole = self.mask[y0 * ss : y1 * ss, x0 * ss : x1 * ss]
        np.maximum(whole, mask, out=whole)
        cov = cv2.resize(mask, (2 * w, 2 * h), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        # Colour: each strand has its own tone, dark at the root and bright in a band across the lock.
        base = np.asarray(color, np.float32)
        layer = np.empty((2 * h, 2 * w, 3), np.uint8)
        layer[:] = np.clip(base * 0.62, 0, 255)
        t = starts / (points - 1)
        glow = np.exp(-(((t - 0.3 - 0.05 * rng.standard_normal((count, 1))) / 0.13) ** 2))
        own = rng.normal(0.92, 0.17, (count, 1)) * (0.74 + 0.3 * np.sqrt(t)) + shine * glow * rng.uniform(0.3, 1.3, (count, 1))
        tones = np.clip(np.round(own * 12), 5, 19).astype(int)
        warm = rng.normal(0, 0.03, 20)
        heavy = max(int(round(width * 2 * self.size * 1.2)), 1)
        for part in np.array_split(np.arange(count), 3):
            for k in range(5, 20):
                lines = self.fixed(runs[part][tones[part] == k], 2, box)
                tint = np.clip(base * (k / 12) * (1 + warm[k], 1, 1 - warm[k]) + max(k - 12, 0) * 3.0, 0, 255)
                if len(lines):
                    cv2.polylines(layer, list(lines), False, tint.tolist(), heavy, cv2.LINE_AA, _SHIFT)
        view = np.s_[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
        if shadow:
            k = max(int(0.04 * self.size), 1) | 1
            self.rgb[view] *= (1 - shadow * cv2.blur(cv2.blur(cov, (k, k)), (k, k)))[..., None]
        self.blend(view, cov, layer.astype(np.float32), True)

    def finish(self) -> tuple[Array, Array]:
        """Foreground (size, size, 3) uint8 and alpha (size, size) float32."""
        # Averages of 8 x 8 binary samples survive eight bits: 64 steps fit in 255, so they can be recovered.
        eighth = cv2.resize(self.mask, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
        alpha = np.round(eighth.astype(np.float32) * (64 / 255)) / 64
        shape = (self.size, self.size)
        alpha = alpha if alpha.shape == shape else cv2.resize(alpha, shape, interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(self.rgb, shape, interpolation=cv2.INTER_AREA)
        cov = cv2.resize(self.cov, shape, interpolation=cv2.INTER_AREA)
        return np.clip(np.round(_extend(rgb, cov)), 0, 255).astype(np.uint8), np.clip(alpha, 0, 1)


class _Figure:
    """One person: where the head and body are, what they look like, and how each part is drawn."""

    def __init__(self, seed: int, size: int, ss: int, hair: str | None, body: str | None) -> None:
        rng = np.random.default_rng([seed, 1])
        drawn_hair, drawn_body = rng.choice(HAIR_KINDS), rng.choice(BODY_KINDS, p=(0.25, 0.6, 0.15))
        self.hair, self.body = str(hair or drawn_hair), str(body or drawn_body)
        self.rng, self.hair_rng = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3])
        light = np.array([rng.choice([-1, 1]) * rng.uniform(0.25, 0.65), -rng.uniform(0.3, 0.6), 0.75])
        self.light = light / np.linalg.norm(light)
        self.canvas = _Canvas(size, ss, self.light)
        low, high = {"head": (0.6, 0.74), "half": (0.245, 0.31), "full": (0.118, 0.127)}[self.body]
        self.unit = rng.uniform(low, high)
        top = {"head": 0.09, "half": rng.uniform(0.08, 0.13), "full": rng.uniform(0.07, 0.09)}[self.body]
        self.head = np.array([0.5 + rng.uniform(-0.05, 0.05), top + self.unit * 0.58])
        self.tilt, self.yaw = rng.normal(0, 0.055), float(np.clip(rng.normal(0, 0.4), -0.8, 0.8))
        self.skin_name = str(rng.choice(list(_SKINS)))
        self.skin = np.array(_SKINS[self.skin_name], float) * rng.uniform(0.95, 1.04, 3)
        self.old = bool(rng.random() < 0.22)
        names = ["grey", "white"] if self.old else list(_HAIRS)[: 6 if self.skin.mean() > 150 else 3]
        self.hair_name = str(rng.choice(names))
        self.hair_color = np.array(_HAIRS[self.hair_name], float) * rng.uniform(0.9, 1.1, 3)
        self.jaw, self.cheek = rng.uniform(0.82, 1.1), rng.uniform(0.94, 1.04)
        self.broad = rng.uniform(0.86, 1.06) if self.jaw > 0.95 else rng.uniform(0.78, 0.92)
        self.clothing = str(rng.choice(["tshirt", "shirt", "jacket", "dress", "hoodie", "sweater"]))
        picks = rng.permutation(len(_CLOTHES))[:3]
        self.cloth, self.accent, self.lower = (np.array(_CLOTHES[i], float) for i in picks)
        self.fabric = str(rng.choice(["plain", "stripes", "plaid", "dots", "knit"], p=(0.4, 0.2, 0.15, 0.1, 0.15)))
        self.glasses = str(rng.choice(["none", "round", "square"], p=(0.7, 0.15, 0.15)))
        hats = self.hair in ("straight_long", "wavy", "short", "bob", "braid", "bald", "beard")
        self.hat = str(rng.choice(["none", "beanie", "brim"], p=(0.84, 0.09, 0.07))) if hats else "none"
        self.scarf = bool(rng.random() < 0.1)
        poses = ["hanging", "hip", "crossed", "raised", "holding"]
        self.pose = str(rng.choice(poses, p=(0.2, 0.25, 0.15, 0.15, 0.25)))
        self.held = str(rng.choice(["cup", "phone", "flower", "book"])) if self.pose == "holding" else "none"
        self.part = rng.uniform(-0.14, 0.14)
        self.smile = rng.uniform(-0.004, 0.026)

    def place(self, points: object) -> Array:
        """Head units to frame units, for the body."""
        return self.head + self.unit * np.asarray(points, np.float64)

    def face(self, points: object, turn: float = 0.0) -> Array:
        """Head units to frame units, for the tilted head; ``turn`` shares of the yaw move features sideways."""
        p = np.asarray(points, np.float64)
        x = p[..., 0] + turn * self.yaw * 0.1 * np.clip(1 - (p[..., 0] / 0.42) ** 2, 0, 1)
        y = p[..., 1] - 0.5
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        # The head turns about the chin, where the neck holds it.
        return self.head + self.unit * np.stack([c * x - s * y, s * x + c * y + 0.5], -1)

    def weave(self, kind: str) -> Callable[[Array, Array], Array] | None:
        """Colour factor of the fabric pattern in frame coordinates."""
        ratio = (self.accent / np.maximum(self.cloth, 20)).clip(0.3, 3).astype(np.float32)
        ox, oy, k = self.head[0], self.head[1], np.float32(1 / self.unit)

        def tone(x: Array, y: Array) -> Array:
            u, v = (x - ox) * k, (y - oy) * k
            bend = 0.03 * np.sin(3 * u + 2 * v)
            if kind == "knit":
                return 1 + 0.07 * np.sin(v * 150 + 2 * np.abs(np.sin(u * 75))) * np.sin(u * 150)
            if kind == "stripes":
                a = np.clip(np.sin((v + bend) * 24) * 6, 0, 1)
            elif kind == "plaid":
                a = 0.4 * np.clip(np.sin((v + bend) * 18) * 6, 0, 1) + 0.4 * np.clip(np.sin((u + bend) * 18) * 6, 0, 1)
            elif kind == "dots":
                a = np.clip((np.sin((v + bend) * 24) * np.sin((u + bend) * 24) - 0.72) * 10, 0, 1)
            else:
                return 1 + 0.025 * np.sin(u * 210 + 2 * np.sin(v * 90)) * np.sin(v * 230)
            return 1 + a[..., None] * (ratio - 1)

        return tone

    def cloth_piece(self, polys: Array | list[Array], folds: list[object] | None = None, **more: object) -> None:
        """Paint a garment piece given in head units."""
        options: dict = {"depth": 0.9, "shadow": 0.35, "tone": self.weave(self.fabric), "color": self.cloth} | more
        polys = polys if isinstance(polys, list) else [polys]
        creases = [self.place(_spline(f)) for f in folds or []]
        self.canvas.paint([self.place(p) for p in polys], folds=creases, **options)

    # ------------------------------------------------------------------ body

    def torso_outline(self, ease: float) -> Array:
        """Half outline points of the torso in head units, right side, from neck to hips."""
        b = self.broad
        waist = 0.66 * b if self.jaw < 0.95 else 0.74 * b
        side = [(0.2, 0.56), (0.27, 0.67), (0.55 * b, 0.76), (0.86 * b, 0.86), (0.95 * b, 1.03), (0.86 * b, 1.35)]
        side += [(0.8 * b, 1.6), (waist, 2.1), (0.76 * b, 2.6), (0.84 * b, 3.0), (0.82 * b, 3.4)]
        return np.array(side) + np.array([1, 0]) * ease

    def legs(self) -> None:
        """Trousers or bare legs with a skirt, and shoes."""
        bare = self.clothing == "dress"
        stance = self.rng.uniform(0.3, 0.42)
        for s in (-1, 1):
            spine = _mirror([(0.38, 2.9), (0.4, 3.7), (stance + 0.02, 4.75), (stance + 0.03, 5.5), (stance + 0.04, 6.25)], s)
            shoe = _spline(_mirror(np.array([(-0.1, 6.12), (0.12, 6.12), (0.17, 6.3), (0.34, 6.42), (0.36, 6.52),
                                             (-0.14, 6.52)]) + (stance + 0.04, 0), s), 6, True)
            self.canvas.paint(self.place(shoe), self.accent * 0.4 + 25, depth=0.9)
            sole = _limb(_mirror([(stance - 0.1, 6.52), (stance + 0.4, 6.52)], s), (0.03, 0.03))
            self.canvas.paint(self.place(sole), (226, 222, 214))
            if bare:
                self.canvas.paint(self.place(_limb(spine, (0.34, 0.3, 0.2, 0.19, 0.1))), self.skin, depth=0.9)
                continue
            folds = [_mirror([(0.2, 3.5), (0.42, 3.65)], s), _mirror([(0.2, 4.7), (0.5, 4.85)], s),
                     _mirror([(0.22, 4.95), (0.48, 4.85)], s), _mirror([(0.25, 6.0), (0.5, 6.1)], s)]
            leg = _limb(spine, (0.42, 0.38, 0.27, 0.235, 0.2))
            self.cloth_piece(leg, folds, color=self.lower, tone=self.weave("denim"), shadow=0.25)

    def torso(self) -> None:
        """Neck, chest and garment with collar, buttons, lapels, hood or pocket."""
        rng, b, kind = self.rng, self.broad, self.clothing
        paint, place = self.canvas.paint, self.place
        if self.body == "full":
            self.legs()
        if kind == "hoodie":
            self.cloth_piece(_spline([(-0.42, 0.35), (0.42, 0.35), (0.62, 0.72), (0.4, 1.0), (-0.4, 1.0), (-0.62, 0.72)], 8, True))
        neck = 0.205 + 0.04 * (self.jaw - 0.8)
        throat = _spline([(-neck, 0.1), (neck, 0.1), (neck, 0.55), (0.34, 0.74), (0.6 * b, 0.86), (0.55, 1.15), (0.0, 1.5),
                          (-0.55, 1.15), (-0.6 * b, 0.86), (-0.34, 0.74), (-neck, 0.55)], 8, True)
        paint(place(throat), self.skin, depth=0.6)
        chin = _ellipse(0.04 * self.yaw, 0.36, 0.32, 0.34)
        paint(place(chin), self.skin * (0.55, 0.47, 0.45), soft=0.035 * self.unit, opacity=0.75, clip=place(throat), solid=False)
        for s in (-1, 1):
            bone = _limb(_mirror([(0.07, 0.86), (0.25, 0.83), (0.5 * b, 0.8)], s), (0.012, 0.016, 0.005))
            paint(place(bone), self.skin * 0.72, soft=0.012 * self.unit, opacity=0.7, solid=False)
        half = self.torso_outline(0.05 if kind in ("hoodie", "sweater", "jacket") else 0.0)
        depth = {"tshirt": 0.82, "shirt": 0.98, "jacket": 1.0, "dress": 1.12, "hoodie": 0.86, "sweater": 0.74}[kind]
        if kind == "dress":
            half = half[3:] * np.where(np.arange(len(half) - 3) == 0, 0.93, 1.0)[:, None]
            half = half if self.body != "full" else np.concatenate([half[:-1], [(1.05, 3.6), (1.25, 4.5)]])
            neckline = np.array([(0.52, 0.9), (0.4, depth + 0.06), (0.18, depth + 0.14)])
        else:
            half = half[1:]
            neckline = np.array([(0.2, depth - 0.08), (0.1, depth - 0.02)])
        side = np.concatenate([[(0.0, depth + 0.16 if kind == "dress" else depth)], neckline[::-1], half])
        right = _spline(side, 8)
        body = np.concatenate([right, _mirror(right[::-1])])
        folds: list[object] = []
        for s in (-1, 1):
            for _ in range(3):
                a = rng.uniform((0.5, 1.3), (0.75, 1.5))
                folds.append(_mirror([a, a + rng.uniform((-0.35, 0.05), (-0.15, 0.3)), a + rng.uniform((-0.5, 0.2), (-0.3, 0.5))], s))
            for _ in range(4):
                a = rng.uniform((0.4, 1.7), (0.72, 2.6))
                folds.append(_mirror([a, a + rng.uniform((-0.3, -0.15), (-0.15, 0.1)), a + rng.uniform((-0.5, 0), (-0.35, 0.2))], s))
        if kind == "dress":
            folds += [[(x, 2.2), (x * 1.2, 2.9), (x * 1.6, 4.4)] for x in rng.uniform(-0.6, 0.6, 7)]
        self.cloth_piece(body, folds, depth=0.75)
        rim = _spline(np.concatenate([_mirror(side[:3][::-1]), side[1:3]]), 8)
        dark = self.cloth * 0.62
        if kind == "jacket":
            inner = np.array([(0.0, 2.2), (0.2, 1.35), (0.27, 0.72), (-0.27, 0.72), (-0.2, 1.35)])
            white = self.accent * 0.25 + 180
            paint(place(inner), white, depth=0.5)
            paint(place([(0.0, 1.08), (0.22, 0.7), (-0.22, 0.7)]), self.skin * 0.86, soft=0.01 * self.unit, solid=False)
            if rng.random() < 0.5:
                tie = [(-0.07, 0.98), (0.07, 0.98), (0.05, 1.1), (0.11, 2.1), (-0.11, 2.1), (-0.05, 1.1)]
                paint(place(tie), self.accent * 0.8, depth=0.6, shadow=0.2)
            for s in (-1, 1):
                collar = _mirror([(0.19, 0.62), (0.31, 0.74), (0.22, 1.02), (0.02, 1.02)], s)
                paint(place(collar), white * 1.02, depth=0.25, shadow=0.3)
                lapel = _mirror([(0.25, 0.64), (0.44, 0.8), (0.54, 1.12), (0.41, 1.16), (0.46, 1.24), (0.0, 2.25), (0.17, 1.3)], s)
                self.cloth_piece(lapel, depth=0.35, color=self.cloth * 0.92)
            for y in (2.32, 2.62):
                paint(place(_ellipse(0.06, y, 0.03, 0.03)), dark * 0.6)
        elif kind == "shirt":
            paint(place([(0.0, 1.1), (0.17, 0.72), (-0.17, 0.72)]), self.skin * 0.9, soft=0.01 * self.unit, solid=False)
            paint(place(_limb([(0.045, 1.1), (0.045, 3.4)], (0.007, 0.007))), dark, opacity=0.6, solid=False)
            for y in np.arange(1.25, 3.2, 0.3):
                paint(place(_ellipse(0.0, y, 0.022, 0.022, n=14)), (240, 236, 228), shadow=0.2)
            for s in (-1, 1):
                collar = _mirror([(0.17, 0.58), (0.33, 0.74), (0.25, 1.06), (0.0, 1.1), (0.1, 0.85)], s)
                self.cloth_piece(collar, depth=0.3, color=self.cloth * 1.03)
        elif kind in ("tshirt", "sweater", "hoodie"):
            band = 0.035 if kind == "tshirt" else 0.06
            self.cloth_piece(_limb(rim, (band, band), 2), color=self.cloth * 0.86, depth=0.5, shadow=0.2)
        if kind == "hoodie":
            for s in (-1, 1):
                self.cloth_piece(_limb(_mirror([(0.36, 0.45), (0.46, 0.72), (0.24, 0.98), (0.03, 1.1)], s), (0.06, 0.12, 0.11, 0.05)))
                cord = _limb(_mirror([(0.12, 1.02), (0.15, 1.3), (0.13, 1.6)], s), (0.018, 0.018))
                paint(place(cord), (236, 232, 224), shadow=0.3)
            pocket = [(-0.4, 2.2), (0.4, 2.2), (0.58, 2.75), (-0.58, 2.75)]
            self.cloth_piece(np.array(pocket), depth=0.2)
        elif kind == "tshirt" and rng.random() < 0.45:
            logo = _ellipse(0, 1.55, 0.3, 0.3) if rng.random() < 0.5 else _spline([(-0.3, 1.4), (0, 1.3), (0.3, 1.4), (0.2, 1.8), (-0.2, 1.8)], 6, True)
            paint(place(logo), self.accent, opacity=0.85, solid=False)
        if kind != "dress" and self.body != "head":
            hem = _limb([(-0.84 * b, 3.36), (0, 3.42), (0.84 * b, 3.36)], (0.02, 0.02))
            paint(place(hem), dark, opacity=0.6, solid=False)

    def hand(self, wrist: Array, way: Array, side: float, kind: str) -> None:
        """Hand of length 0.45 from the wrist along ``way``: open, relaxed or a grip."""
        way = way / np.linalg.norm(way)
        across = np.array([-way[1], way[0]]) * side

        def at(points: object) -> Array:
            p = np.asarray(points, np.float64)
            return self.place(wrist + p[..., :1] * across + p[..., 1:] * way)

        palm = at(_spline([(-0.085, -0.03), (0.085, -0.03), (0.12, 0.12), (0.11, 0.24), (-0.11, 0.24), (-0.11, 0.1)], 6, True))
        long, spread = {"open": (0.22, 0.07), "relaxed": (0.17, 0.012), "grip": (0.08, 0.0)}[kind]
        thumb_to = {"open": (-0.27, 0.2), "relaxed": (-0.13, 0.27), "grip": (-0.12, 0.22)}[kind]
        thumb = at(_limb([(-0.08, 0.05), (-0.15 if kind != "relaxed" else -0.12, 0.12), thumb_to], (0.055, 0.046, 0.035)))
        paint = self.canvas.paint
        if kind != "grip":
            paint(thumb, self.skin, depth=0.5)
        for i, reach in enumerate((0.9, 1.05, 1.0, 0.78)):
            x = -0.082 + 0.055 * i
            tip = (x + spread * (i - 1.4), 0.22 + long * reach)
            finger = at(_limb([(x, 0.18), ((x + tip[0]) / 2 + 0.008, 0.2 + long * reach * 0.5), tip], (0.034, 0.031, 0.024)))
            paint(finger, self.skin * (0.98 - 0.015 * i), depth=0.5, shadow=0.2)
            nail = at(_ellipse(tip[0], tip[1] - 0.0, 0.016, 0.022, n=12))
            if kind == "relaxed" and self.unit > 0.2:
                paint(nail, self.skin * 0.55 + (110, 92, 90), opacity=0.5, solid=False)
        paint(palm, self.skin, depth=0.35)
        if kind == "grip":
            paint(thumb, self.skin * 1.02, depth=0.5, shadow=0.3)

    def arm(self, side: float, pose: str) -> None:
        """One arm with its sleeve; ``side`` is -1 for the viewer's left."""
        rng, b = self.rng, self.broad
        x = 0.79 * b
        table = {
            "hanging": ((x + 0.2, 2.1), (x + 0.22, 3.1), (0.0, 1.0)),
            "hip": ((x + 0.72, 1.95), (0.86 * b, 2.62), (-0.75, 0.5)),
            "crossed": ((x + 0.1, 2.1), (-0.36, 1.82), (-1.0, -0.12)),
            "raised": ((x + 0.62, 1.45), (x + 0.42, 0.5), (0.0, -1.0)),
            "holding": ((x + 0.17, 2.12), (0.42, 1.75), (-0.35, -1.0)),
        }
        elbow, wrist, way = (np.array(v) for v in table[pose])
        elbow, wrist = elbow + rng.normal(0, 0.04, 2), wrist + rng.normal(0, 0.03, 2)
        start = np.array([x, 1.02])
        bend = 0.12 * (elbow - start) + 0.12 * (wrist - elbow)
        spine = np.array([start, (start + elbow) / 2, elbow - bend * 0.2, (elbow + wrist) / 2, wrist]) * (side, 1)
        wide = np.array([0.2, 0.19, 0.155, 0.15, 0.095]) * (0.85 + 0.3 * (b - 0.8))
        bare = {"tshirt": 2, "dress": 0}.get(self.clothing, 5)
        if pose == "holding":
            self.hold(wrist * (side, 1))
        if bare < 5:
            self.canvas.paint(self.place(_limb(spine, wide, 12)), self.skin, depth=0.75, shadow=0.3)
        self.hand(wrist * (side, 1), way * (side, 1), side, {"hanging": "relaxed", "raised": "open", "holding": "grip"}.get(pose, "relaxed"))
        ease = 1.3 if bare < 5 else 1.18
        sleeve = spine[: bare + 1] if bare < 5 else spine
        if bare == 0:
            return
        if bare == 2:
            sleeve = spine[:2] + np.array([[0.0], [0.12]]) * (spine[2] - spine[1])
            piece = _limb(sleeve, (0.2 * ease * 0.92, 0.19 * ease * 1.05), 12, cap=False)
            piece = [piece, _ellipse(*sleeve[0], 0.22, 0.22)]
            folds = [sleeve + (0.05, 0.0)]
        else:
            piece = [_limb(spine, wide * ease + (0, 0, 0.01, 0.01, 0.025), 12)]
            e, f = spine[2], (spine[3] - spine[2]) * 0.3
            n = np.array([-f[1], f[0]]) / np.linalg.norm(f) * 0.17
            folds = [[e - n, e + n * 0.6 + f * 0.4], [e - n + f, e + n * 0.5 + f * 0.8], [e - n - f * 0.6, e + n * 0.8]]
            folds += [[spine[1] - (0.12, 0.05), spine[1] + (0.1, 0.1)], [spine[3] - n * 0.8, spine[3] + n * 0.5 + f]]
        self.cloth_piece(piece, folds, depth=0.85)
        if bare == 5:
            d = (spine[4] - spine[3]) / np.linalg.norm(spine[4] - spine[3])
            cuff = _limb([spine[4] - d * 0.04, spine[4] + d * 0.05], (0.135, 0.13), cap=False)
            self.cloth_piece(cuff, color=self.cloth * (0.8 if self.clothing != "jacket" else 1.0), depth=0.4, shadow=0.2)

    def hold(self, at: Array) -> None:
        """The held object, just above the wrist at ``at`` (head units)."""
        rng, paint = self.rng, self.canvas.paint
        x, y = at + np.array([-np.sign(at[0]) * 0.09, -0.24])
        if self.held == "cup":
            handle = _limb(_spline([(x + 0.15, y - 0.2), (x + 0.3, y - 0.15), (x + 0.28, y + 0.05), (x + 0.13, y + 0.08)], 6), (0.03, 0.03), 2)
            paint(self.place(handle), self.accent * 0.9, depth=0.8, shadow=0.2)
            paint(self.place([(x - 0.2, y - 0.32), (x + 0.2, y - 0.32), (x + 0.15, y + 0.2), (x - 0.15, y + 0.2)]), self.accent, depth=0.9, shadow=0.4)
            paint(self.place(_ellipse(x, y - 0.32, 0.2, 0.045)), (92, 60, 40), shadow=0.1)
        elif self.held == "phone":
            p = _spline([(x - 0.15, y - 0.4), (x + 0.15, y - 0.4), (x + 0.15, y + 0.24), (x - 0.15, y + 0.24)], 8, True)
            box = np.array([x, y - 0.08]) + (p - (x, y - 0.08)) * np.array([0.92, 0.97])
            paint(self.place(p), (32, 34, 40), depth=0.3, shadow=0.4)
            paint(self.place(box), (58, 62, 72), soft=0.004, solid=False)
            paint(self.place(_ellipse(x - 0.07, y - 0.3, 0.035, 0.035)), (12, 12, 16), solid=False)
        elif self.held == "book":
            paint(self.place(np.array([(x - 0.36, y - 0.52), (x + 0.36, y - 0.5), (x + 0.36, y + 0.34), (x - 0.36, y + 0.34)])), self.lower, depth=0.15, shadow=0.45)
            paint(self.place(np.array([(x - 0.2, y - 0.36), (x + 0.2, y - 0.36), (x + 0.2, y - 0.2), (x - 0.2, y - 0.2)])), self.accent * 0.5 + 110, solid=False)
        elif self.held == "flower":
            paint(self.place(_limb([(x, y + 0.3), (x + 0.03, y - 0.1), (x, y - 0.45)], (0.022, 0.018))), (74, 122, 62), depth=0.6)
            for a in rng.uniform(-0.2, 0.2) + np.arange(9) * 0.7:
                petal = _ellipse(x + 0.13 * np.cos(a), y - 0.47 + 0.13 * np.sin(a), 0.12, 0.055, a)
                paint(self.place(petal), self.accent * 0.5 + (120, 70, 80), depth=0.7, shadow=0.2)
            paint(self.place(_ellipse(x, y - 0.47, 0.07, 0.07)), (236, 188, 70), depth=0.9, shadow=0.2)

    def arms(self) -> None:
        """Both arms in the drawn pose."""
        free = str(self.rng.choice(["hanging", "hip"]))
        side = float(self.rng.choice([-1, 1]))
        both = self.pose in ("crossed", "hanging") or (self.pose == "hip" and self.rng.random() < 0.6)
        other = self.pose if both else ("hanging" if self.pose == "hip" else free)
        self.arm(-side, other)
        self.arm(side, self.pose)
