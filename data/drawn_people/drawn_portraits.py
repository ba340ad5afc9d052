"""Procedural portraits with exact mattes.

Every picture is a pure function of an integer seed. Shapes live in two coordinate systems, both with y
pointing down: *frame* units, where the picture is the unit square, and *head* units, where the origin is the
middle of the head and the distance from chin to crown is one. Colours are RGB in [0, 255].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from drawn_canvas import (
    Array,
    Box,
    Canvas,
    Color,
    Place,
    blur,
    check_arguments,
    drape,
    ellipse,
    limb,
    mirror,
    normals,
    pts,
    spline,
    warm,
)
from drawn_scenes import render_background

SAMPLES = 16384  # coverage samples across the frame, at least
HAIR_KINDS = ("straight_long", "wavy", "curly", "coils", "short", "bob", "braid", "bun", "bald", "beard")
BODY_KINDS = ("head", "half", "full")
AGES = ("child", "adult", "old")


def _colors(text: str) -> dict[str, tuple[float, ...]]:
    rows = (row.split() for row in text.split(","))
    return {" ".join(row[:-3]): tuple(float(v) for v in row[-3:]) for row in rows}


_SKINS = _colors(
    "porcelain 247 217 196, fair 238 196 168, olive 215 168 128, tan 193 139 99, brown 150 99 67, dark 117 77 55,"
    "deep 92 60 45"
)
_HAIRS = _colors(
    "black 34 28 30, dark brown 62 42 32, brown 98 66 43, auburn 124 58 34, ginger 178 92 42, blond 205 165 102,"
    "grey 158 156 154, white 214 211 205"
)
_CLOTHES = ((158, 52, 50), (38, 52, 84), (232, 228, 218), (52, 54, 60), (206, 160, 78), (74, 104, 86))
_CLOTHES += ((112, 84, 122), (128, 158, 182), (200, 138, 124), (98, 102, 74), (138, 104, 78), (46, 90, 98))
_CLOTHES += ((148, 148, 150), (92, 40, 52), (84, 112, 148), (216, 196, 168), (30, 32, 38), (186, 104, 66))
_LOCK: dict[str, Any] = {"wave": 0.0, "curl": 0.0, "turns": 3.0, "clump": 0.02, "stray": 0.009, "cut": 0.08}
_LOCK |= {"mass": 0.94, "shine": 0.4, "shadow": 0.25, "shade": 1.0, "body": False}
# Drawings are tables of pieces "verb half-widths: points: colour: options", in hundredths of a head.
# A verb with "2" is mirrored, one with "~" only tints what is there. Colours are "name*factor" or RGB.
_JACKET = """
poly: 0 220, 20 135, 27 72, -27 72, -20 135: white: depth=.5 | ~poly: 0 108, 22 70, -22 70: skin*.86: soft=1
poly: -7 98, 7 98, 5 110, 11 210, -11 210, -5 110: accent*.8: depth=.6 shadow=.2
poly2: 19 62, 31 74, 22 102, 2 102: white: depth=.25 shadow=.3
poly2: 25 64, 44 80, 54 112, 41 116, 46 124, 0 225, 17 130: cloth*.92: depth=.4 shadow=.35 fabric=1
oval: 6 232, 3 3: cloth*.4 | oval: 6 262, 3 3: cloth*.4
"""
_SHIRT = """
~poly: 0 110, 17 72, -17 72: skin*.9: soft=1 | ~tube .7 .7: 4.5 110, 4.5 340: cloth*.6: opacity=.6
oval: 0 125, 2.2 2.2: white: shadow=.2 | oval: 0 155, 2.2 2.2: white: shadow=.2
oval: 0 185, 2.2 2.2: white: shadow=.2 | oval: 0 215, 2.2 2.2: white: shadow=.2
oval: 0 245, 2.2 2.2: white: shadow=.2
poly2: 17 58, 33 74, 25 106, 0 110, 10 85: cloth*1.03: depth=.3 shadow=.35 fabric=1
"""
_HOODIE = """
tube2 6 12 11 5: 36 45, 46 72, 24 98, 3 110: cloth: depth=.8 shadow=.35
tube2 1.8 1.8: 12 102, 15 130, 13 160: white: shadow=.3
poly: -40 220, 40 220, 58 275, -58 275: cloth: depth=.2 shadow=.3
"""
_SKULL = """
blob2: 33 -4, 39 -8, 43 -3, 42 8, 38.5 17, 34 18: skin*.97 .9 .88: depth=.7
~tube2 1 1.3 .8: 37 11, 40 2, 38.5 -4, 36.5 -1: skin*.6: soft=.6 opacity=.7
"""
_FACE = """
~oval2: 22 16, 10 7: skin*1 .7 .68: soft=5 opacity=.4 | ~oval: 0 18, 5 4: skin*1 .74 .7: soft=3 opacity=.35
~tube2 .2 .7 .2: 8.5 20, 13 25.5, 15 31.5: skin*.6: soft=.6 opacity=.3
~tube2 .3 1.2 .3: 3 22.3, 5 21.4, 6.6 22.6: skin*.38: soft=.4 opacity=.8
~tube2 .1 .5 .1: 7.2 17, 9 20, 7.8 22.8: skin*.58: soft=.4 opacity=.55
~tube .2 .7 .2: -5 23.2, 0 24.3, 5 23.2: skin*.55: soft=.6 opacity=.6
"""
_EYE = """
~oval: 15.5 -3.5, 10 4: skin*.62: soft=2 opacity=.4
~blob: 8.2 1.2, 11 -2.4, 15.5 -3.5, 20 -2.2, 22.9 -.2, 20 2, 15 2.7, 11 2: 240 235 230
~oval: IRIS, 4 4: iris*.4: clip=1 | ~oval: IRIS, 3.5 3.5: iris: clip=1 | ~oval: IRIS, 1.8 1.8: 14 11 12: clip=1
~oval: IRIS, 2.4 1: iris*1.7: clip=1 soft=.7 opacity=.4
~oval: 15.5 -3.5, 8.5 1.8: 60 44 42: clip=1 soft=.8 opacity=.6
~tube .2 LASH .3: 8 1.4, 11 -2.4, 15.5 -3.6, 20 -2.3, 23.2 0: skin*.22
~tube .1 .4 .1: 11 -5, 15.5 -6.2, 20 -4.9, 23.5 -2.4: skin*.5: opacity=.7
~tube .1 .3 .1: 11 2.5, 15 3.2, 20 2.4: skin*.5: opacity=.6
"""
_GAP = "~blob: -11 30.9, 0 30.6, 11 30.9, 6 33.2, 0 34, -6 33.2: 58 26 28"
_LOWER = """
~poly: -11.8 30.8, 0 31.2, 11.8 30.8, 8 33.5, 4 35.4, 0 35.9, -4 35.4, -8 33.5: lips: soft=.3
~oval: 0 33.6, 4 .9: lips*1.35: soft=.8 opacity=.5
"""
_LIPS = """
~poly: -11.8 30.8, 0 31.3, 11.8 30.8, 6 28.7, 2 27.5, 0 28.1, -2 27.5, -6 28.7: lips*.82: soft=.3
~tube .15 .6 .15: -11.8 30.8, -5 30.9, 0 31.4, 5 30.9, 11.8 30.8: lips*.32
"""
_TEETH = """
~blob: -8 31.2, 0 30.9, 8 31.2, 4.5 32.8, 0 33.2, -4.5 32.8: 238 232 224
~tube .1 .4 .1: -9 31, -4.5 32.9, 0 33.3, 4.5 32.9, 9 31: lips*.45
"""
_AGE = """
~tube2 .1 .3 .1: 24.5 0, 27 -1.2, 30 -2: skin*.6: opacity=.6 soft=.2
~tube2 .1 .3 .1: 24.5 1.5, 27 1.3, 30 1.5: skin*.6: opacity=.6 soft=.2
~tube2 .1 .4 .1: 10 5.5, 15 7.5, 20 6.2: skin*.6: opacity=.55 soft=.3
~tube2 .2 .7 .2: 8.5 20, 13.5 25.5, 15.5 32.5: skin*.55: opacity=.7 soft=.6
~tube .1 .4 .1: -17 -22.8, 0 -24, 17 -22.8: skin*.62: opacity=.55 soft=.4
~tube .1 .4 .1: -16 -19, 0 -20, 16 -19: skin*.62: opacity=.55 soft=.4
~tube .1 .4 .1: -13 -15.5, 0 -16.3, 13 -15.5: skin*.62: opacity=.5 soft=.4
~tube2 .1 .4 .1: 2.2 -10, 2.6 -7, 2.4 -5: skin*.6: opacity=.5 soft=.3
"""
_ROUND = "~oval2 : 15.8 1.2, 11.2 10 : 210 228 240 : opacity=.15\n~ring2 1.1 : 15.8 1.2, 11.2 10 : accent*.3"
_SQUARE = """
~blob2: 5 -6, 16 -7, 26.5 -6, 25 7, 16 9, 6.5 7: 210 228 240: opacity=.15
~tube2 1.2 1.2: 5 -6, 16 -7, 26.5 -6, 25 7, 16 9, 6.5 7, 4.6 -2, 5 -6.4: accent*.3
"""
_GLASSES = """
~poly2: 11 -6, 16 -6, 11 8, 7 7: 255 255 255: opacity=.16 | ~tube2 1.2 1: 26 -3, 38.5 -2: accent*.3
~tube 1 .8 1: -5.2 -.5, 0 -2.2, 5.2 -.5: accent*.3
"""
_BEANIE = """
blob: -45 -20, -43 -42, -26 -64, 0 -70, 26 -64, 43 -42, 45 -20, 0 -27: accent: depth=.8 shadow=.4 knit=1
tube 7.5 8 7.5: -43 -20, -20 -27, 0 -28.5, 20 -27, 43 -20: accent*.85: depth=.7 shadow=.45 knit=1
"""
_BRIM = """
blob: -40 -30, -38 -55, -20 -72, 20 -72, 38 -55, 40 -30: straw: depth=.8 knit=1
tube 5 5: -40 -34, 0 -36, 40 -34: accent*.7: depth=.4
blob: -80 -20, -45 -33, 0 -36, 45 -33, 80 -20, 45 -20, 0 -22, -45 -20: straw*1.05: depth=.6 shadow=.55 knit=1
"""
_CAP = """
blob: -43 -20, -44 -42, -28 -61, 0 -67, 28 -61, 44 -42, 43 -20, 0 -28: accent: depth=.7 shadow=.35
~tube .4 .4: 0 -66, 0 -30: accent*.7 | ~tube2 .4 .4: 4 -66, 24 -48, 26 -28: accent*.7
blob: -40 -26, 0 -36, 40 -26, 47 -12, 22 -16, 0 -17, -22 -16, -47 -12: accent*.72: depth=.5 shadow=.55
"""
_HELMET = """
blob: -47 -12, -49 -40, -32 -67, 0 -75, 32 -67, 49 -40, 47 -12, 24 -25, 0 -28, -24 -25: accent: depth=1 shadow=.4
~tube2 1.4 3 1.6: 13 -70, 17 -54, 17 -36: 30 32 36: soft=.5
~tube 1.4 3 1.6: 0 -72, 0 -54, 0 -37: 30 32 36: soft=.5
~tube2 1.2 2.4 1.4: 27 -65, 33 -50, 34 -34: 30 32 36: soft=.5 | ~tube2 .7 .7: 41 -12, 34 22, 12 46: 44 46 52
"""
_SCARF = """
tube 11 14 11: -36 70, -20 84, 0 88, 20 84, 36 70: lower: depth=.9 shadow=.35 knit=1
tube 10 12 10: -36 56, -20 70, 0 74, 20 70, 36 56: lower: depth=.9 shadow=.35 knit=1
tube 10 14 15: 14 80, 20 120, 17 175: lower*.95: depth=.8 shadow=.35 knit=1
"""
_HELD = {
    "cup": """
tube 3 3: 14 -20, 30 -16, 28 4, 13 8: accent*.9: depth=.8 shadow=.2
poly: -20 -32, 20 -32, 15 20, -15 20: accent: depth=.9 shadow=.4 | oval: 0 -32, 20 4.5: 92 60 40
""",
    "phone": """
blob: -15 -40, 0 -41, 15 -40, 16 0, 15 24, 0 25, -15 24, -16 0: 32 34 40: depth=.3 shadow=.4
~poly: -13 -36, 13 -36, 13 20, -13 20: 58 62 72: soft=.6 | ~oval: -7 -30, 3.5 3.5: 12 12 16
""",
    "book": """
poly: -36 -52, 36 -50, 36 34, -36 34: lower: depth=.15 shadow=.45
~poly: -31 -52, -29 -52, -29 34, -31 34: lower*.6: soft=.5
~poly: -20 -36, 24 -35, 24 -20, -20 -20: white: opacity=.8
""",
    "flower": """
tube 2.2 1.8: 0 30, 3 -10, 0 -45: 74 122 62: depth=.6 | oval2: 13 -47, 12 6: petal: depth=.7 shadow=.2
oval: 0 -61, 6 12: petal: depth=.7 shadow=.2 | oval: 0 -33, 6 12: petal: depth=.7 shadow=.2
oval2: 9 -57, 8 8: petal*.95: depth=.7 shadow=.2 | oval2: 9 -37, 8 8: petal*.95: depth=.7 shadow=.2
oval: 0 -47, 7 7: 236 188 70: depth=.9 shadow=.2
""",
    "bag": """
tube 1.6 1.6: -20 48, -18 16, 0 2, 18 16, 20 48: lower*.6: depth=.6
poly: -34 46, 34 46, 40 118, -40 118: lower: depth=.5 shadow=.4 | ~tube .7 .7: -35 60, 35 60: lower*.6
""",
    "umbrella": """
blob: -118 -152, -100 -204, 0 -250, 100 -204, 118 -152, 80 -163, 40 -154, 0 -164, -40 -154, -80 -163: accent: depth=.6
~tube2 .5 .5: 0 -250, 30 -215, 40 -154: accent*.6 | ~tube2 .5 .5: 0 -250, 68 -212, 80 -163: accent*.6
---
tube 1.7 1.7: 0 -160, 0 26: 70 66 66: depth=.6 | tube 2.4 2.4: 0 -14, 0 26, 6 34, 12 28: 60 44 36: depth=.6
""",
    "balloon": """
tube .5 .5: 0 0, 40 -80, 74 -150: 220 220 216 | poly: 70 -156, 78 -156, 74 -164: accent*.8
blob: 74 -162, 104 -194, 108 -232, 74 -260, 40 -232, 44 -194: accent: depth=1.2
~oval: 62 -232, 6 9: 255 255 255: soft=3 opacity=.5
---
tube .5 .5: 0 0, 2 40: 220 220 216
""",
    "ball": """
oval: -6 -20, 36 36: 200 112 56: depth=1.2 shadow=.45 | ~tube .8 .8: -42 -20, -6 -12, 30 -20: 70 40 28
~tube .8 .8: -6 -56, 2 -20, -6 16: 70 40 28 | ~tube2 .8 .8: 22 -46, 10 -20, 22 6: 70 40 28: opacity=.6
""",
    "plant": """
tube2 1 7 1: 3 -18, 12 -50, 34 -74: 84 122 74: depth=.7 | tube2 1 6 1: 3 -18, 18 -40, 44 -46: 98 136 82: depth=.7
tube 1 7 1: 0 -18, -3 -60, 4 -94: 76 112 70: depth=.7 shadow=.2
poly: -24 -22, 24 -22, 17 26, -17 26: 176 104 74: depth=.8 shadow=.35
poly: -26 -24, 26 -24, 26 -14, -26 -14: 186 114 82: depth=.5
""",
    "guitar": """
blob: 52 44, 34 74, 0 70, -18 52, -44 48, -56 22, -42 0, -14 2, 8 -2, 40 8: 172 110 60: depth=.7 shadow=.5
~oval: -14 28, 11 11: 40 26 20 | tube 4.6 4: -26 22, -158 -44: 74 48 34: depth=.6 shadow=.3
~poly: 14 28, 20 46, 24 44, 18 26: 50 32 24 | poly: -152 -34, -160 -52, -186 -62, -182 -46: 60 40 30: depth=.5
~tube .3 .3: 16 38, -168 -50: 236 226 206: opacity=.7
""",
    "none": "",
}
HELD = tuple(_HELD)
# Elbow, wrist and direction of the hand in hundredths of a head for the right arm; the hand; in front of the chest?
_POSES = {
    "hanging": ("97 222, 96 316, -5 100", "relaxed", False),
    "hip": ("150 196, 86 258, -75 50", "relaxed", True),
    "crossed": ("90 212, -36 185, -100 -12", "relaxed", True),
    "raised": ("130 186, 146 98, 12 -100", "open", False),
    "stretch": ("122 24, 96 -76, -15 -100", "open", False),
    "head": ("150 14, 56 -10, -100 10", "", False),
    "chin": ("84 206, 38 96, -50 -75", "grip", True),
    "behind": ("116 206, 40 270, -100 0", "", False),
    "pocket": ("124 214, 82 292, -30 100", "", True),
    "holding": ("92 214, 44 176, -35 -100", "grip", True),
    "carry": ("104 222, 106 312, 0 100", "grip", True),
}


@dataclass(frozen=True)
class Pose:
    """How an animated person differs from the person of the seed; the default changes nothing.

    Attributes
    ----------
    shift : tuple of float
        Displacement of the whole person in frame units (x, y).
    yaw, tilt : float
        Turn of the head, about -1 to 1, and its lean in radians, added to the person's own.
    sway : float
        Sideways swing of loose hair, in head units at its tips.
    jaw, blink : float
        How far the mouth is open and the eyes are shut, 0 to 1.
    stride : float
        Phase of the steps, -1 to 1; moves arms and legs of a full figure.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    yaw: float = 0.0
    tilt: float = 0.0
    sway: float = 0.0
    jaw: float = 0.0
    blink: float = 0.0
    stride: float = 0.0


NEUTRAL = Pose()


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


class Figure:
    """One person: where the head and body are, what they look like, and how each part is drawn."""

    def __init__(self, seed: int, size: int, pose: Pose, forced: dict[str, str | None]) -> None:
        rng = np.random.default_rng([seed, 1])
        forced = dict.fromkeys(("hair", "body", "age", "held")) | forced
        drawn = {
            "hair": rng.choice(HAIR_KINDS),
            "body": rng.choice(BODY_KINDS, p=(0.2, 2 / 3, 2 / 15)),
            "age": rng.choice(AGES, p=(0.16, 0.64, 0.2)),
        }
        if (forced["age"] or drawn["age"]) == "child":  # children have hair, and no beard
            drawn["hair"] = {"bald": "short", "beard": "bob"}.get(str(drawn["hair"]), drawn["hair"])
            drawn["age"] = "adult" if forced["hair"] in ("bald", "beard") else drawn["age"]
        self.hair, self.body, self.age = (str(forced[k] or v) for k, v in drawn.items())
        self.motion, self.child, self.old = pose, self.age == "child", self.age == "old"
        self.small = 0.74 if self.child else 1.0  # size of the body against the head
        self.rng, self.hair_rng = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3])
        light = np.array([rng.choice([-1, 1]) * rng.uniform(0.25, 0.65), -rng.uniform(0.3, 0.6), 0.75])
        low, high = {"head": (0.6, 0.74), "half": (0.255, 0.31), "full": (0.118, 0.127)}[self.body]
        self.unit = rng.uniform(low, high) * (1.2 if self.child and self.body == "full" else 1.0)
        self.canvas = Canvas(size, light / np.linalg.norm(light), 0.2 * self.unit)
        top = {"head": 0.1, "half": rng.uniform(0.08, 0.13), "full": rng.uniform(0.07, 0.09)}[self.body]
        self.head = np.array([0.5 + rng.uniform(-0.05, 0.05), top + self.unit * 0.58])
        self.head = self.head + pose.shift
        self.tilt = rng.normal(0, 0.055) + pose.tilt
        self.yaw = float(np.clip(rng.normal(0, 0.5), -0.95, 0.95))
        # Stance: the chest leans over the hips, one shoulder is higher, the body turns a little.
        self.lean, self.drop = rng.normal(0, (0.035, 0.05))
        self.turned, self.yaw = 1 - 0.06 * abs(self.yaw), self.yaw + pose.yaw
        self.skin_name = str(rng.choice(list(_SKINS)))
        self.skin = np.array(_SKINS[self.skin_name], float) * rng.uniform(0.97, 1.03, 3)
        names = ["grey", "white"] if self.old else list(_HAIRS)[: 6 if self.skin.mean() > 150 else 3]
        self.hair_name = str(rng.choice(names))
        self.hair_color = np.array(_HAIRS[self.hair_name], float) * rng.uniform(0.9, 1.1)
        self.jaw, self.cheek = rng.uniform(0.82, 1.1), rng.uniform(0.94, 1.04)
        self.soft_face = self.jaw < 0.95 and self.hair != "beard"
        self.jaw = 0.97 if self.child else self.jaw
        self.broad = rng.uniform(0.8, 0.9) if self.soft_face else rng.uniform(0.9, 1.04)
        garments = ["tshirt", "shirt", "jacket", "hoodie", "sweater", "dress"]
        self.clothing = str(rng.choice(garments[: 6 if self.soft_face else 5]))
        picks = rng.permutation(len(_CLOTHES))[:3]
        self.cloth, self.accent, self.lower = np.array(_CLOTHES, float)[picks]
        self.fabric = str(rng.choice(["plain", "stripes", "plaid", "dots", "knit"], p=(0.5, 0.15, 0.1, 0.07, 0.18)))
        self.fabric = "plain" if self.clothing in ("jacket", "hoodie") else self.fabric
        self.pitch = rng.uniform(14, 34)
        self.glasses = str(rng.choice(["none", "round", "square"], p=(0.7, 0.15, 0.15)))
        self.hat = str(rng.choice(["none", "beanie", "brim", "cap", "helmet"], p=(0.78, 0.06, 0.05, 0.07, 0.04)))
        self.hat = "none" if self.hair in ("curly", "coils", "bun") else self.hat
        self.scarf, self.rings = bool(rng.random() < 0.1), bool(self.soft_face and rng.random() < 0.4)
        chances = (0.12, 0.14, 0.1, 0.08, 0.04, 0.07, 0.09, 0.06, 0.1, 0.2)
        self.pose, thing = str(rng.choice(list(_POSES)[:-1], p=chances)), str(rng.choice(HELD[:-1]))
        # A person who is told to hold something does; one who is told not to keeps the arm where it was.
        # In a close-up only a part of the thing would show, such as an umbrella's shaft across the face.
        drawn = thing if self.pose == "holding" and self.body != "head" else "none"
        wanted = forced["held"] or drawn
        self.held = wanted
        thing = thing if wanted == "none" else wanted
        if wanted != "none" or self.pose == "holding":
            self.pose = "carry" if thing == "bag" and self.body == "full" else "holding"
        both = self.pose in ("crossed", "hanging", "behind", "stretch")
        both |= bool(self.pose in ("hip", "pocket") and rng.random() < 0.5)
        side, free = int(rng.choice([-1, 1])), str(rng.choice(["hanging", "hip", "pocket"]))
        self.arm_poses = ((-side, self.pose if both else free), (side, self.pose))
        self.elbow_shift, self.stance = rng.normal(0, 0.045, (2, 2)), rng.uniform(0.3, 0.44)
        self.part, self.smile = rng.uniform(-0.14, 0.14), rng.uniform(-0.004, 0.026)

    def place(self, points: object) -> Array:
        """Head units to frame units, for the body: it scales, leans and turns about the neck."""
        p = np.asarray(points, np.float64)
        x, y = p[..., 0] * self.turned, p[..., 1] - 0.6
        y = y + self.drop * x * np.exp(-(((y - 0.4) / 0.9) ** 2))
        x = x + self.lean * np.sin(np.clip(y / 5.9, 0, 1) * np.pi) * 3
        return self.head + self.unit * (np.stack([x, y], -1) * self.small + (0, 0.6))

    def face(self, points: object, turn: float | Array = 1.0) -> Array:
        """Head units to frame units on the tilted head, which leans about the chin; yaw rolls its front."""
        p = np.asarray(points, np.float64)
        at, angle = np.clip(p[..., 0] / 0.46, -1, 1), 0.27 * self.yaw
        # Sine of a sum: the front of the head is a cylinder.
        x = p[..., 0] + turn * 0.46 * (at * (np.cos(angle) - 1) + np.sqrt(1 - at**2) * np.sin(angle))
        y = p[..., 1] - 0.5
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return self.head + self.unit * np.stack([c * x - s * y, s * x + c * y + 0.5], -1)

    def feature(self, points: object) -> Array:
        """As `face`, for eyes, nose and mouth: they sit lower and closer together in a child."""
        p = np.asarray(points, np.float64)
        return self.face(p * (0.98, 0.84) + (0, 0.06) if self.child else p)

    def weave(self, kind: str, a: object = (0, 1), b: object = (0, 2), c: object = None) -> Any:
        """Colour factor of creased cloth along a-b and, beyond b, along b-c (head units)."""
        ratio = (self.accent / np.maximum(self.cloth, 20)).clip(0.4, 2.2).astype(np.float32)
        joints = self.place([v for v in (a, b, c) if v is not None])
        ways = np.diff(joints, axis=0)
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        k, deep = np.float32(1 / (self.unit * self.small)), 0.1 if kind == "knit" else 0.17

        def local(x: Array, y: Array, i: int) -> tuple[Array, Array]:
            (ox, oy), (wx, wy) = joints[i].astype(np.float32), ways[i].astype(np.float32) * k
            return (x - ox) * wy - (y - oy) * wx, (x - ox) * wx + (y - oy) * wy

        def tone(x: Array, y: Array) -> Array:
            light = 1 + deep * drape(x, y, joints[0], ways[0], self.unit * self.small)
            if c is None:
                light *= 1 + 0.12 * np.sign(self.canvas.light[0]) * np.clip(local(x, y, 0)[0], -1, 1)
            if kind in ("plain", "denim"):
                return light
            u, v = local(x, y, 0)
            if c is not None:
                (mx, my), (u2, v2) = (ways[0] + ways[1]).astype(np.float32), local(x, y, 1)
                far = (x - np.float32(joints[1, 0])) * mx + (y - np.float32(joints[1, 1])) * my > 0
                u, v = np.where(far, u2, u), np.where(far, v2, v + np.float32(0.05))
            f = np.float32(self.pitch)
            if kind == "knit":
                return light + 0.06 * np.sin(v * 110 + 2 * np.abs(np.sin(u * 55))) * np.sin(u * 110)
            across, along = np.sin(f * u), np.sin(f * v)
            hit = np.clip(along * 6, 0, 1) if kind != "dots" else np.clip((across * along - 0.6) * 8, 0, 1)
            hit = 0.4 * (hit + np.clip(across * 6, 0, 1)) if kind == "plaid" else 0.85 * hit
            return light[..., None] * (1 + hit[..., None] * (ratio - 1))

        return tone

    def cloth_piece(self, *polys: Array, **more: Any) -> None:
        """Paint garment pieces given in head units."""
        style = {"depth": 0.7, "shadow": 0.3, "tone": self.weave(self.fabric), "color": self.cloth} | more
        self.canvas.paint([self.place(p) for p in polys], **style)

    def script(self, text: str, place: Place, clip: Array | None = None, **names: Color) -> None:
        """Draw a table of pieces; ``place`` takes head units to the frame and ``names`` adds colours.

        "2" after a verb mirrors the piece, "~" before it only tints; a colour is "name*factor" or RGB.
        """
        palette = vars(self) | {"white": (238, 235, 228), "straw": (206, 176, 122)} | names
        palette["petal"] = self.accent * 0.5 + (120, 70, 80)
        for row in filter(str.strip, text.replace("|", "\n").splitlines()):
            head, where, paint, *rest = (part.strip() for part in row.split(":"))
            verb, *widths = head.split()
            base, _, factor = paint.partition("*")
            color = np.array(palette[base] if base[0].isalpha() else base.split(), float)
            color = np.clip(color * [float(v) for v in factor.split() or "1"], 0, 255)
            opts = {k: float(v) for k, v in (o.split("=") for o in " ".join(rest).split())}
            opts["soft"] = opts.get("soft", 0) * self.unit / 100
            fabric = self.fabric if opts.pop("fabric", 0) else "knit" if opts.pop("knit", 0) else ""
            tone = self.weave(fabric) if fabric else None
            cut = clip if opts.pop("clip", 0) else None
            p = pts(where)
            p = ellipse(*p[0], *p[1]) if "oval" in verb or "ring" in verb else p
            p = np.concatenate([p, p[:2]]) if "ring" in verb else spline(p, 8, True) if "blob" in verb else p
            if widths:
                p = limb(p, [float(v) / 100 for v in widths * 2][: max(len(widths), 2)], 6 if len(p) < 20 else 2)
            for s in (1, -1) if "2" in verb else (1,):
                self.canvas.paint(place(p * (s, 1)), color, tone=tone, clip=cut, solid=verb[0] != "~", **opts)

    def legs(self) -> None:
        """Trousers or bare legs, and shoes; a step lifts one foot."""
        for s in (-1, 1):
            up, a = 22 * max(0.0, s * self.motion.stride), 100 * self.stance + 6 * s * np.sign(self.lean)

            def leg(p: Array, s: int = s) -> Array:
                return self.place(mirror(p, s))

            def shoe(p: Array, s: int = s, up: float = up) -> Array:
                return self.place(mirror(p - (0, up / 100), s))

            sole = f"{a - 6} 612, {a + 16} 612, {a + 21} 630, {a + 38} 642, {a + 40} 652, {a - 10} 652"
            self.script(f"blob: {sole}: accent*.45: depth=.9", shoe)
            self.script(f"tube 3 3: {a - 10} 652, {a + 40} 652: white", shoe)
            knee = 475 - 0.6 * up
            spine = pts(f"36 285, 39 370, {a + 3} {knee}, {a + 3} {550 - up}, {a + 4} {625 - up}")
            if self.clothing == "dress":
                self.canvas.paint(leg(limb(spine, (0.34, 0.3, 0.19, 0.18, 0.1))), self.skin, depth=0.9)
                continue
            tone = self.weave("denim", mirror(spine[0], s), mirror(spine[2], s), mirror(spine[4], s))
            piece = leg(limb(spine, (0.4, 0.35, 0.25, 0.215, 0.19)))
            self.canvas.paint(piece, self.lower, depth=0.8, shadow=0.25, tone=tone)

    def torso(self) -> None:
        """Neck, chest and garment."""
        b, kind = self.broad, self.clothing
        paint, place = self.canvas.paint, self.place
        neck = (0.2 if self.soft_face else 0.225) / self.small ** (0.2 if self.child else 0)
        side = np.array([(neck, 0.1), (neck, 0.55), (0.32, 0.76), (0.55 * b, 0.87), (0.55, 1.15), (0.0, 1.5)])
        throat = place(spline(np.concatenate([side, mirror(side[-2::-1])]), 8, True))
        paint(throat, self.skin, depth=0.6)
        chin = ellipse(0.04 * self.yaw, 0.36, 0.32, 0.34)
        shade = self.skin * (0.55, 0.47, 0.45)
        paint(place(chin), shade, soft=0.035 * self.unit, opacity=0.75, clip=throat, solid=False)
        self.script("~tube2 1.2 1.6 .5 : 7 89, 25 86, 44 81 : skin*.72 : soft=1.2 opacity=.6", place)
        ease = 0.05 if kind in ("hoodie", "sweater", "jacket") else 0.0
        waist = 0.66 * b if self.soft_face else 0.76 * b
        half = [(0.25, 0.68), (0.48 * b, 0.8), (0.76 * b, 0.9), (0.94 * b, 1.05), (0.93 * b, 1.3)]
        half += [(0.84 * b, 1.62), (waist, 2.1), (0.74 * b, 2.6), (0.8 * b, 3.0), (0.78 * b, 3.4)]
        half[-1] = (0.78 * b, 3.4 if self.body == "full" else 5.0)
        half = np.add(half, (ease, 0))
        deep = {"shirt": 0.98, "jacket": 1.0, "dress": 1.24, "sweater": 0.74}.get(kind, 0.84)
        collar = np.array([(0.0, deep), (0.1, deep - 0.02), (0.2, deep - 0.08)])
        if kind == "dress":
            half = np.concatenate([[(0.56 * b, 0.86), (0.76 * b, 1.2)], half[4:]])
            collar = np.array([(0.0, deep), (0.22, deep - 0.04), (0.42 * b, 1.06), (0.48 * b, 0.84)])
            if self.body == "full":
                half = np.concatenate([half[:-1], [(1.0, 3.6), (1.2, 4.5)]])
        right = spline(np.concatenate([collar, half]), 8)
        self.cloth_piece(np.concatenate([right, mirror(right[::-1])]))
        if kind in ("tshirt", "sweater", "hoodie"):
            band = 0.035 if kind == "tshirt" else 0.06
            rim = np.concatenate([mirror(collar[:0:-1]), collar])
            self.cloth_piece(limb(rim, (band, band)), color=self.cloth * 0.86, depth=0.5, shadow=0.2)
        self.script({"jacket": _JACKET, "shirt": _SHIRT, "hoodie": _HOODIE}.get(kind, ""), place)

    def hand(self, wrist: Array, way: Array, side: float, kind: str) -> None:
        """Hand of length 0.45 from the wrist along ``way``: open, relaxed or a grip."""
        way = way / np.linalg.norm(way)
        across = np.array([-way[1], way[0]]) * side
        paint = self.canvas.paint

        def at(points: Array) -> Array:
            return self.place(wrist + points[..., :1] * across + points[..., 1:] * way)

        long, spread = {"open": (0.22, 0.07), "relaxed": (0.17, 0.012), "grip": (0.08, 0.0)}[kind]
        tip = {"open": (-0.27, 0.2), "relaxed": (-0.13, 0.27), "grip": (-0.12, 0.22)}[kind]
        thumb = at(limb([(-0.08, 0.05), (-0.14, 0.12), tip], (0.055, 0.046, 0.035)))
        if kind != "grip":
            paint(thumb, self.skin, depth=0.5)
        for i, reach in enumerate((0.9, 1.05, 1.0, 0.78)):
            x, end = -0.082 + 0.055 * i, 0.22 + long * reach
            bend = spread * (i - 1.4)
            finger = limb([(x, 0.18), (x + bend / 2 + 0.008, 0.1 + end / 2), (x + bend, end)], (0.034, 0.031, 0.024))
            paint(at(finger), self.skin * (0.98 - 0.015 * i), depth=0.5, shadow=0.2)
        palm = spline(pts("-8.5 -3, 8.5 -3, 12 12, 11 24, -11 24, -11 10"), 6, True)
        paint(at(palm), self.skin, depth=0.35)
        if kind == "grip":
            paint(thumb, self.skin * 1.02, depth=0.5, shadow=0.3)

    def arm(self, side: int, pose: str, front: bool) -> None:
        """One arm with its sleeve; with ``front`` only what is nearer than the chest. -1 is the left side."""
        b, (joints, grip, fore) = self.broad, _POSES[pose]
        start = np.array([0.78 * b, 1.1])
        elbow, wrist, way = pts(joints) * (b, 1)
        swing = 0.16 * side * self.motion.stride * (pose == "hanging")
        elbow, wrist = np.array([elbow, wrist - np.array((0, abs(swing)))]) + self.elbow_shift * (1, 0.5)
        start, elbow, wrist, way = (v * (side, 1) for v in (start, elbow, wrist, way))
        bend = elbow - 0.03 * (elbow - start) - 0.03 * (wrist - elbow)
        spine = np.array([start, start * 0.45 + elbow * 0.55, bend, bend * 0.65 + wrist * 0.35, wrist])
        wide = np.array([0.185, 0.165, 0.14, 0.145, 0.088]) * (0.85 + 0.4 * (b - 0.8))
        sleeve = {"tshirt": 1, "dress": 0}.get(self.clothing, 4)
        spine, wide = (spine[2:], wide[2:]) if front else (spine, wide)
        tone = self.weave(self.fabric, start, bend, wrist)
        if front and pose in ("holding", "carry"):
            self.hold(side, wrist, way, 1)
        if sleeve < 4:
            self.canvas.paint(self.place(limb(spine, wide, 12)), self.skin, depth=0.75, shadow=0.3)
        if grip and front == fore:
            self.hand(wrist, way, side, grip)
        if sleeve == 1 and not front:
            end = elbow - (elbow - start) * 0.4
            tube = limb([start, (start + end) / 2, end], (0.2, 0.21, 0.225), cap=False)
            self.cloth_piece(tube, ellipse(start[0], start[1], 0.2, 0.2), tone=tone)
        elif sleeve == 4:
            self.cloth_piece(limb(spine, wide * 1.16 + 0.025, 12), tone=tone)
            d = (wrist - bend) / np.linalg.norm(wrist - bend)
            cuff = limb([wrist - d * 0.05, wrist + d * 0.05], (0.128, 0.122), cap=False)
            if grip and front == fore:
                self.cloth_piece(cuff, color=self.cloth * 0.82, depth=0.4, shadow=0.2, tone=None)

    def hold(self, side: int, wrist: Array, way: Array, part: int) -> None:
        """Draw what is in the hand: the first part lies behind the person, the last one in front."""
        grip = wrist + way / np.linalg.norm(way) * 0.24 - (side * 0.04, 0)
        parts = _HELD[self.held].split("---")
        if part or len(parts) > 1:
            self.script(parts[-1 if part else 0], lambda p: self.place(mirror(p, side) + grip))

    def face_light(self) -> Array:
        """Light on the face, (192, 160) float32 over head units x in [-0.5, 0.5], y in [-0.6, 0.6]."""
        xs, ys = np.linspace(-0.5, 0.5, 160, dtype=np.float32), np.linspace(-0.6, 0.6, 192, dtype=np.float32)
        h = 0.4 * np.sqrt(np.clip(1.02 - (ys[:, None] / 0.62) ** 2 - (xs[None] / 0.43) ** 2, 0, 1))
        # Bumps and hollows: x, y, width, height and rise, in hundredths and thousandths of a head.
        relief = "0 -3 4.5 7.5 18, 0 5 4.5 7.5 30, 0 12 4.5 7.5 45, 0 19 5.5 5 60, 5.8 20.5 3 3.2 28, 0 45 9 5 22,"
        relief += "15.5 .5 8.5 6 -34, 15 -10 11 4.5 16, 21 14 9 8 20, 0 28.5 7.5 2.2 14, 0 33.5 7 2.5 18,"
        for x, y, sx, sy, rise in pts(relief + "0 38.5 8 2.2 -14"):
            y = 0.06 + 0.84 * y if self.child else y
            for s in (-1, 1) if x else (1,):
                cx = s * x + 0.124 * self.yaw * (1 - (x / 0.46) ** 2) ** 0.5
                h += rise / 10 * np.outer(np.exp(-(((ys - y) / sy) ** 2)), np.exp(-(((xs - cx) / sx) ** 2)))
        gy, gx = np.gradient(h, ys, xs)
        norm = np.sqrt(1 + gx**2 + gy**2)
        lx, ly, lz = light = self.canvas.light
        lambert = np.clip((lz - lx * gx - ly * gy) / norm, 0, 1)
        hollow = np.clip(cv2.GaussianBlur(h, (0, 0), 7) - h, 0, None)
        gloss = np.clip((lz + 1 - lx * gx - ly * gy) / norm / np.linalg.norm(np.add(light, (0, 0, 1))), 0, 1) ** 40
        lit = 0.57 + 0.55 * lambert - 4 * hollow + 0.1 * (200 / self.skin.mean()) ** 1.3 * gloss
        return cv2.GaussianBlur(lit.astype(np.float32), (0, 0), 1.2)

    def skull(self) -> None:
        """Ears and the shaded face."""

        def ear(p: Array) -> Array:
            far = np.maximum(np.sign(p[..., 0]) * self.yaw, -0.3)
            return self.face(p - np.stack([np.sign(p[..., 0]) * 0.1 * far, 0 * far], -1), 0)

        self.script(_SKULL, ear)
        self.script("oval2: 39.5 20.5, 1.5 2.2: accent: depth=.9" if self.rings else "", ear)
        light, u = self.face_light(), np.float32(self.unit)
        c, s = np.float32(np.cos(self.tilt)), np.float32(np.sin(self.tilt))
        px, py = (self.head + self.unit * np.array([0, 0.5])).astype(np.float32)

        def tone(x: Array, y: Array) -> Array:
            dx, dy = (x - px) / u, (y - py) / u
            fx, fy = c * dx + s * dy + np.float32(0.5), c * dy - s * dx + np.float32(1.1)
            lit = cv2.remap(light, fx * 159, fy * (191 / 1.2), cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
            return warm(lit, np.ones(3))

        j, w = self.jaw, self.cheek
        right = [(0.2, -0.45), (0.325, -0.3), (0.365 * w, -0.08), (0.36 * w, 0.1), (0.325 * j * w, 0.27)]
        right += [(0.25 * j, 0.39), (0.13 * j, 0.475)]
        full = 1.05 if self.child else 1.0
        right = [(x * (full if y > 0 else 1), y + 0.05 * self.motion.jaw * (y > 0.35)) for x, y in right]
        outline = spline([(0, -0.49), *right, (0, 0.5 + 0.05 * self.motion.jaw), *mirror(right[::-1])], 8, True)
        outline += np.stack([0.05 * self.yaw * np.clip(outline[:, 1] + 0.1, 0, 0.6), 0 * outline[:, 0]], -1)
        grid = np.stack(np.meshgrid(np.linspace(-0.46, 0.46, 15), np.linspace(-0.55, 0.6, 15)), -1)
        # Skin of this mesh only tells its motion; it comes to rest at the outline, which does not turn.
        rest, roll = (1 - np.minimum(np.abs(grid[..., 0]) / r, 1) ** 2 for r in (0.37 * w, 0.47))
        grid = self.face(grid, np.sqrt(rest / roll))
        mesh = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], 2).reshape(-1, 4, 2)
        self.canvas.paint(self.face(outline, 0), self.skin, tone=tone, shadow=0.3, mesh=mesh)

    def features(self) -> None:
        """Eyes, brows, nose, lips and the marks of age."""
        rng, skin, lit = self.rng, self.skin, float(np.sign(self.canvas.light[0]))
        self.script(_FACE, self.feature)
        bridge = f"{-3 * lit} -5, {-4 * lit} 7, {-5.5 * lit} 17"
        self.script(f"~tube .5 1.4 .3 : {bridge} : skin*.68 : soft=1.4 opacity=.5", self.feature)
        shades = ((92, 60, 36), (62, 42, 30), (84, 112, 132), (96, 118, 84), (120, 88, 50))
        iris = np.array(shades[rng.integers(5 if skin.mean() > 150 else 2)], float)
        lid, gaze = rng.uniform(0.9, 1.2), rng.uniform(-1.3, 1.3)
        grown = self.soft_face and not self.child
        thick, lash = (1.2, ".6") if self.child else (1.9, ".9") if grown else (2.6, ".6")
        for s in (-1, 1):
            table = _EYE.replace("IRIS", f"{15.6 + s * gaze} -.3").replace("LASH", lash)
            almond = spline(pts(_EYE.split(":")[4]), 8, True)

            def eye(p: Array, s: int = s) -> Array:
                large = 1.28 if self.child else 1.0
                open_ = lid * large * (1 - 0.88 * self.motion.blink)
                return self.feature(((p - (0.155, 0)) * (large, open_) + (0.155, 0)) * (s, 1))

            self.script(table, eye, clip=eye(almond), iris=iris)
            self.script(f"~oval : {15.6 * s + gaze + 1.2 * lit} -1.6, 1 1 : 255 255 255", self.feature)
            if grown:
                self.script("~tube .3 .7 .1 : 20.5 -2.2, 23 -.6, 25.2 -2.4 : skin*.22", eye)
            # Brows are short hairs that lean outwards along an arch.
            t = rng.random(90)
            wide = thick * (1 - 0.65 * t) * rng.uniform(-0.6, 0.8, 90)
            root = np.stack([6 + 20 * t, -8.8 - 3.6 * np.sin(2.1 * t) + wide], -1)
            tip = root + np.stack([2.4 + 1.2 * t, -2.4 + 3.3 * t], -1) * rng.uniform(0.6, 1.2, (90, 1))
            hairs = self.feature(mirror(np.stack([root, (root + tip) / 2 + (0.2, -0.3), tip], 1), s) / 100)
            hairs = np.concatenate([hairs, hairs[:, 1::-1] + (0, 0.006 * self.unit)], 1)
            for part, k in ((hairs[::2], 0.6), (hairs[1::2], 0.85)):
                self.canvas.paint(list(part), self.hair_color * k, opacity=0.85, solid=False)
        k = self.smile
        red = np.array((190, 78, 78)) if grown else skin * (0.95, 0.7, 0.66)
        lips = 0.55 * red + 0.45 * skin * (0.92, 0.68, 0.66)

        def mouth(p: Array, top: float = 0.312) -> Array:
            rise = k * np.clip(np.abs(p[..., 0]) / 0.118, 0, 1) ** 1.6
            fall = 0.06 * self.motion.jaw * np.clip(1 - (p[..., 0] / 0.12) ** 2, 0, 1) * (p[..., 1] > top)
            wide = p[..., 0] * (1 + 4 * k) * (0.82 if self.child else 1.0)
            return self.feature(np.stack([wide, p[..., 1] - rise + fall], -1))

        self.script(_GAP, mouth)
        self.script(_LOWER, partial(mouth, top=0), lips=lips)
        self.script(_LIPS + (_TEETH if k > 0.016 else ""), partial(mouth, top=1), lips=lips)
        self.script(_AGE if self.old else "", self.face)

    def lock(self, guides: object, count: int, **style: Any) -> None:
        """Draw one sheet of hair: strands between neighbouring ``guides`` (G, P, 2) in head units.

        Of the options in ``_LOCK``, ``wave`` and ``curl`` are amplitudes, ``turns`` their periods a strand,
        ``clump`` and ``stray`` the wandering of locks and of single hairs, ``cut`` the spread of lengths,
        ``mass`` the share of the length that is opaque; ``body`` hangs the sheet from the body, not the head.
        """
        o = SimpleNamespace(**(_LOCK | style))
        rng = self.hair_rng
        span = 32 if o.curl else 16
        g = spline(guides, span)
        g = g[:, np.linspace(0, g.shape[1] - 1, span + 1).round().astype(int)]

        def sway(u: Array, phase: Array, amount: Array) -> Array:
            i = np.minimum(u.astype(int), len(g) - 2)
            f = (u - i)[:, None, None]
            curve = g[i] * (1 - f) + g[i + 1] * f
            t = np.linspace(0, 1, span + 1)[None]
            a, w = amount[:, None] * np.sqrt(t), 2 * np.pi * o.turns * t + phase[:, None]
            n = normals(curve)
            out = curve + n * (np.sin(w) * a * (o.wave + o.curl))[..., None]
            return out + n[..., ::-1] * (1, -1) * (np.cos(w) * a * o.curl)[..., None]

        def place(p: Array) -> Array:
            swing = self.motion.sway * np.clip((p[..., 1] + 0.2) / 1.3, 0, 1.3) ** 1.5
            return (self.place if o.body else partial(self.face, turn=0.35))(p + np.stack([swing, 0 * swing], -1))

        count = 5 * count // 6
        extra = count // 8
        total, clumps = count + extra, 9 * (len(g) - 1) + 1
        u = rng.uniform(0, len(g) - 1, total)
        which = np.round(u / (len(g) - 1) * (clumps - 1)).astype(int)
        offset = rng.normal(0, o.clump, (clumps, 2))[which] + rng.normal(0, o.stray, (total, 2))
        offset[count:] *= rng.uniform(1.5, 4, (extra, 1))
        phases = np.linspace(0, 2.5, clumps) + rng.normal(0, 1.6 if o.curl else 0.5, clumps)
        curve = sway(u, phases[which] + rng.normal(0, 0.35, total), rng.uniform(0.6, 1.2, total))
        length = 1 - np.abs(rng.normal(0, o.cut, (total, 1))).clip(0, 0.6)
        t = np.linspace(0, 1, span + 1)
        pos = t * length * span
        i = np.minimum(pos.astype(int), span - 1)
        f, rows = (pos - i)[..., None], np.arange(total)[:, None]
        strands = curve[rows, i] * (1 - f) + curve[rows, i + 1] * f + offset[:, None] * t[:, None] ** 1.3
        ribs = sway(np.linspace(0, len(g) - 1, clumps), phases, np.full(clumps, 0.7))
        keep = max(int(o.mass * span), 2) + 1
        solid = [place(np.concatenate([a[:keep], b[:keep][::-1]])) for a, b in pairwise(ribs)]
        width = 0.00115 * (self.unit / 0.28) ** 0.45
        self.canvas.hair(rng, place(strands), self.hair_color * o.shade, width, solid, o)

    def sides(self, end: str, count: int, wide: float = 0.0, lift: float = 0.0, **style: float) -> None:
        """Both sides of parted hair: from the parting over the skull and on through the points ``end``."""
        tips = pts(end)
        for s in (-1, 1):
            x, w = self.part * s, wide / 2
            rows = [[(x, -0.33), (0.2, -0.285), (0.325, -0.13), (0.37, 0.06), *(tips - (0.05 + w, 0))]]
            rows += [[(x, -0.46 - lift), (0.25, -0.4 - lift), (0.4 + w, -0.16), (0.41 + w, 0.1), *tips]]
            outer = [(x, -0.565 - lift), (0.27 + w, -0.49 - lift), (0.43 + wide, -0.22), (0.46 + wide, 0.1)]
            self.lock(mirror([*rows, [*outer, *np.add(tips, (0.05 + w, 0))]], s), count, **style)

    def hair_behind(self) -> None:
        """Draw the sheet that hangs behind the neck and shoulders."""
        style = {"wavy": {"wave": 0.035}, "curly": {"curl": 0.05, "turns": 6.0}}.get(self.hair, {})
        coils = {"curl": 0.028, "clump": 0.03, "stray": 0.012, "cut": 0.12, "mass": 0.9, "shine": 0.15}
        if self.hair == "coils":
            a = np.linspace(-0.25 * np.pi, 1.25 * np.pi, 13)
            ray, reach = np.stack([np.cos(a), -np.sin(a)], -1), 0.6 + abs(self.part)
            guides = [ray * (0.2, 0.24) - (0, 0.1), ray * reach * 0.6 - (0, 0.13), ray * reach - (0, 0.14)]
            self.lock(np.stack(guides, 1), 1800, turns=5.5, shadow=0, **coils)
        length = {"straight_long": 1.4, "wavy": 1.3, "curly": 0.95, "bob": 0.42}.get(self.hair)
        if length is None:
            return
        w = 0.12 if self.hair == "curly" else 0.02
        xs = np.linspace(-1, 1, 7)
        guides = [[(0.3 * x, -0.3), (0.43 * x, 0), ((w + 0.47) * x, 0.4), ((w + 0.5) * x, length)] for x in xs]
        self.lock(guides, 900, shade=0.72, shine=0.15, **style)

    def hair_front(self) -> None:
        """Hair over the skull and around the face."""
        kind, rng, lock = self.hair, self.hair_rng, self.lock
        if kind == "straight_long":
            self.sides("46 50, 50 95, 48 140", 1100, cut=0.1)
        elif kind == "wavy":
            style = {"wave": 0.035, "turns": rng.uniform(2.5, 4), "clump": 0.03, "cut": 0.12}
            self.sides("49 50, 54 90, 50 130", 1000, 0.03, 0.02, **style)
        elif kind == "curly":
            style = {"turns": rng.uniform(6, 8), "clump": 0.035, "stray": 0.012, "cut": 0.14, "mass": 0.88}
            self.sides("53 40, 56 65, 54 95", 900, 0.09, 0.05, curl=0.035, **style)
        elif kind == "bob":
            self.sides("44 30, 38 45", 1000, 0.03, 0.01, clump=0.012, cut=0.04)
            if rng.random() < 0.5:
                x = np.linspace(-0.31, 0.31, 6)
                rows = [np.stack([x * k, 0 * x + y], -1) for k, y in ((0.5, -0.5), (0.85, -0.36), (1, -0.12))]
                lock(np.stack(rows, 1), 500, cut=0.06, clump=0.012)
        elif kind in ("short", "beard"):
            self.crop()
        elif kind != "bald":
            # Along the hairline: coils grow out of it, a braid or bun is pulled back to a knot on the crown.
            a = np.linspace(-0.08 * np.pi, 1.08 * np.pi, 11)
            root = np.stack([0.365 * np.cos(a), -0.31 * np.sin(a)], -1)
            if kind == "coils":
                out = [root * (1, 0.98), root * 1.2 - (0, 0.06), root * 1.6 - (0, 0.15)]
                lock(np.stack(out, 1), 1100, curl=0.026, turns=3, stray=0.01, cut=0.12, mass=0.85, shine=0.15)
                return
            over = 0.45 * root + 0.55 * np.stack([0.37 * np.cos(a), -0.1 - 0.4 * np.sin(a)], -1) - (0, 0.06)
            knot = np.stack([0.1 * np.cos(a), -0.47 - 0.06 * np.sin(a)], -1)
            lock(np.stack([root, over, knot], 1), 1300, clump=0.006, cut=0.03, mass=1.0)
            for r, n in ((0.17, 700), (0.1, 350)) if kind == "bun" else ():
                q, v = np.array([0.0, r * 0.7, r]), np.linspace(0, 2 * np.pi, 14)[:, None] + [0, 0.9, 1.8]
                ring = np.stack([q * np.cos(v), -0.6 + q * 0.85 * np.sin(v)], -1)
                lock(ring, n, clump=0.01, stray=0.008, cut=0.06, mass=0.97)

    def crop(self) -> None:
        """Short hair: sides combed down and a top swept back and up."""
        rng, lock, xs = self.hair_rng, self.lock, np.linspace(-1, 1, 9)
        rows = [pts(p) for p in ("31 -30, 35 -16, 36 2", "31 -42, 40 -20, 39 3", "28 -46, 42 -24, 40.5 0")]
        for s in (-1, 1):
            lock(mirror(rows, s), 450, clump=0.006, cut=0.12, shine=0.2)
        up, lean = rng.uniform(0.05, 0.17), rng.uniform(-0.12, 0.12)
        cap = [pts(f"{36 * x} -30, {37 * x} {3 * x * x - 42}, {30 * x} {6 * x * x - 51}") for x in xs]
        lock(cap, 300, cut=0.05, mass=1.0)
        top = "{} {}, {} {}, {} {}"
        rows = [(32 * x, 7 * x * x - 30, 37 * x + 30 * lean, 6 * x * x - 41 - 40 * up) for x in xs]
        ends = [(34 * x + 100 * lean, 12 * x * x - 50 - 100 * up) for x in xs]
        guides = [pts(top.format(*r, *e)) for r, e in zip(rows, ends, strict=True)]
        wave = 0.012 if rng.random() < 0.5 else 0.0
        lock(guides, 1100, wave=wave, turns=1.5, clump=0.024, stray=0.01, cut=0.12, mass=0.88, shadow=0.35)

    def beard(self) -> None:
        """Beard along the jaw and a moustache."""
        long, a = self.hair_rng.uniform(0.03, 0.16), np.linspace(-1, 1, 13)
        x = np.sign(a) * np.abs(a) ** 0.7
        root = np.stack([0.34 * x * (0.9 + 0.1 * self.jaw), 0.385 - 0.33 * np.abs(a) ** 2.6], -1)
        away = np.stack([x * 0.055, 0.1 + long * (1 - a**2)], -1)
        guides = np.stack([root, root + away * (0.7, 0.5), root + away], 1)
        self.lock(guides, 1500, wave=0.006, clump=0.014, stray=0.01, shine=0.2)
        rows = [pts("1 25, 8 25.5, 14 31"), pts("1 27.2, 7 28.5, 13.5 35")]
        for s in (-1, 1):
            self.lock(mirror(rows, s), 260, clump=0.004, cut=0.1, shine=0.2, mass=0.9, shadow=0.1)

    def braid(self) -> None:
        """Draw a plait of crossing lobes over one shoulder."""
        s = 1.0 if self.part >= 0 else -1.0
        path = spline(mirror(pts("41 8, 47 55, 52 95, 48 150, 46 195"), s), 4)
        for i in range(len(path) - 1):
            a, d = path[i], (path[i + 1] - path[i]) * 1.9
            n = np.array([-d[1], d[0]]) / np.linalg.norm(d) * (0.115 - 0.003 * i) * (1 if i % 2 else -1)
            b, e = a - n * 0.5 - d * 0.1, a + d - n * 0.25
            rows = [[b, a + n * k, a + d * 0.6 + n * k * 0.9, e] for k in (-0.1, 0.55, 1.15)]
            self.lock(rows, 120, clump=0.006, stray=0.007, cut=0.03, body=True, shadow=0.3)
        a = path[-1]
        rows = [
            [np.add(a, (x * 0.4, -0.05)), np.add(a, (x * 1.2, 0.15)), np.add(a, (x, 0.4))] for x in (-0.07, 0.0, 0.07)
        ]
        self.canvas.paint(self.place(ellipse(a[0], a[1], 0.075, 0.04)), self.accent, depth=0.6, shadow=0.3)
        self.lock(rows, 160, clump=0.012, body=True, mass=0.8)

    def draw(self, ss: int, box: Box) -> Portrait:
        """Everything from back to front."""
        side, pose = self.arm_poses[1]
        if pose == "holding":
            _, wrist, way = pts(_POSES[pose][0]) * (self.broad * side, 1)
            self.hold(side, wrist + self.elbow_shift[1] * (0.5 * side, 0.5), way, 0)
        self.hair_behind()
        if self.body == "full":
            self.legs()
        if self.clothing == "hoodie":
            hood = spline(pts("-42 35, 42 35, 62 72, 40 100, -40 100, -62 72"), 8, True)
            self.cloth_piece(hood, color=self.cloth * 0.8)
        for side, pose in self.arm_poses:
            self.arm(side, pose, False)
        self.torso()
        self.skull()
        self.features()
        if self.hair == "beard":
            self.beard()
        self.hair_front()
        if self.glasses != "none":
            self.script((_ROUND if self.glasses == "round" else _SQUARE) + "\n" + _GLASSES, self.feature)
        hats = {"beanie": _BEANIE, "brim": _BRIM, "cap": _CAP, "helmet": _HELMET}
        self.script(hats.get(self.hat, ""), partial(self.face, turn=0.4))
        self.script(_SCARF if self.scarf else "", self.place)
        if self.hair == "braid":
            self.braid()
        for side, pose in self.arm_poses:
            if _POSES[pose][2]:
                self.arm(side, pose, True)
        names = {"hair": self.hair, "hair_color": self.hair_name, "body": self.body, "skin": self.skin_name}
        names |= {"age": self.age, "clothing": self.clothing, "fabric": self.fabric}
        names |= {"pose": self.pose, "glasses": self.glasses, "hat": self.hat, "held": self.held}
        return Portrait(*self.canvas.finish(ss, box), names | {"scarf": "yes" if self.scarf else "none"})


def render_portrait(
    seed: int,
    size: int = 512,
    *,
    hair: str | None = None,
    body: str | None = None,
    age: str | None = None,
    held: str | None = None,
    supersample: int = 8,
    pose: Pose = NEUTRAL,
    window: tuple[int, int, int] | None = None,
) -> Portrait:
    """Render a person with an exact matte.

    Parameters
    ----------
    seed : int
        Non-negative; the same seed gives the same person at every size.
    size : int
        Side of the square picture in pixels, at least 16.
    hair, body, age, held : str, optional
        One of ``HAIR_KINDS``, ``BODY_KINDS``, ``AGES`` and ``HELD``; drawn from the seed when left out. To ask
        for a held object, or for "none", changes as little else as possible.
    supersample : int
        Coverage samples a pixel and side; rounded up to a multiple of eight, and raised for small pictures so
        that at least ``SAMPLES`` samples span the frame.
    pose : Pose
        Departure of an animated person from the person of the seed.
    window : tuple of int, optional
        Left, top and side in pixels of the only part to return. It makes a high ``supersample`` cheap.

    Returns
    -------
    Portrait
        Foreground (size, size, 3) uint8 RGB, alpha (size, size) float32 in [0, 1], and attributes. With a
        ``window`` the arrays have its side.

    Raises
    ------
    ValueError
        For a negative seed, a size below 16, an unknown name, a window out of the frame, or a ``supersample``
        below one or so high that more than 16384 samples span the frame or window.
    """
    forced = {"hair": hair, "body": body, "age": age, "held": held}
    return trace_portrait(seed, size, supersample=supersample, pose=pose, window=window, **forced)[0]


def trace_portrait(
    seed: int,
    size: int = 512,
    *,
    supersample: int = 8,
    pose: Pose = NEUTRAL,
    window: tuple[int, int, int] | None = None,
    **choices: str | None,
) -> tuple[Portrait, Canvas]:
    """Portrait as by `render_portrait`, and the canvas that knows what was drawn where."""
    check_arguments(seed, size)
    forced = dict.fromkeys(("hair", "body", "age", "held")) | choices
    for (name, value), allowed in zip(forced.items(), (HAIR_KINDS, BODY_KINDS, AGES, HELD), strict=True):
        if value is not None and value not in allowed:
            raise ValueError(f"unknown {name} {value!r}: expected one of {', '.join(allowed)}")
    x, y, side = window or (0, 0, size)
    if min(x, y, side - 1) < 0 or max(x, y) + side > size:
        raise ValueError(f"expected a window (x, y, side) inside of {size} pixels, got {window}")
    if supersample < 1 or side * supersample > 16384:
        raise ValueError(f"supersample must be in [1, {16384 // side}] at size {side}, got {supersample}")
    ss = 8 * int(np.ceil(max(supersample, SAMPLES / size) / 8))
    figure = Figure(seed, size, pose, forced)
    return figure.draw(ss, (x, y, x + side, y + side)), figure.canvas


def render_composite(
    seed: int, size: int = 512, *, bokeh: bool | None = None, **options: Any
) -> tuple[Array, Array, Portrait, Array]:
    """Image by I = alpha F + (1 - alpha) B, alpha, portrait and background of a seed.

    Image and background are (size, size, 3) uint8 RGB and alpha is (size, size) float32 in [0, 1]. ``bokeh``
    goes to `render_background` and ``options`` to `render_portrait`. Raises ValueError as they do.
    """
    portrait, background = render_portrait(seed, size, **options), render_background(seed, size, bokeh=bokeh)
    x, y, side = options.get("window") or (0, 0, size)
    background = background[y : y + side, x : x + side]
    portrait = _match(portrait, background)
    a = portrait.alpha[..., None]
    image = np.round(a * portrait.foreground + (1 - a) * background).astype(np.uint8)
    return image, portrait.alpha, portrait, background


def _match(portrait: Portrait, background: Array) -> Portrait:
    """Portrait whose colours take on some of the scene's tint and brightness, and its light at the edges."""
    scene, front = cv2.resize(background, (32, 32), interpolation=cv2.INTER_AREA), portrait.foreground
    mean = scene.reshape(-1, 3).mean(0) + 25
    tint = (mean / mean.mean()) ** 0.3 * np.clip((mean.mean() / 140) ** 0.3, 0.9, 1.1)
    size = front.shape[1::-1]
    edge = np.clip(1.15 - blur(portrait.alpha, max(size[0] * 0.012, 0.5)), 0, 1)[..., None] * np.float32(0.22)
    glow = cv2.resize(cv2.GaussianBlur(scene, (0, 0), 1.5), size, interpolation=cv2.INTER_LINEAR)
    color = front * tint.astype(np.float32)
    color += edge * (glow - color)
    return replace(portrait, foreground=np.clip(np.round(color), 0, 255).astype(np.uint8))
