"""From high dynamic range to that of a photograph: the colours of HLG and PQ clips in BT.709."""

import functools

import cv2
import numpy as np

PQ, HLG = 16, 18  # transfer characteristics, as ITU-T H.273 numbers them
# linear BT.2020 to linear BT.709 (ITU-R BT.2087)
PRIMARIES = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
KNEE = 0.8  # of white; darker colours stay as they are, brighter ones are compressed


@functools.cache
def _linear(transfer: int) -> np.ndarray:
    """Light of 65,536 code values, where 1 is the reference white of BT.2408."""
    code = np.linspace(0, 1, 65536)
    if transfer == HLG:  # BT.2100: scene light; white is the signal 0.75
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32) / 0.26496256
    m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
    root = code ** (1 / m2)  # SMPTE ST 2084: display light, up to 10,000 cd/m2; white is 203
    return ((np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * 10_000 / 203).astype(np.float32)


@functools.cache
def _encoded(transfer: int) -> np.ndarray:
    """8-bit code values of light from 0 to 1 in 65,536 steps: BT.709's curve for scene light, BT.1886's for display."""
    light = np.linspace(0, 1, 65536)
    scene = np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)
    return (255 * (scene if transfer == HLG else light ** (1 / 2.4))).round().astype(np.uint8)


def to_standard_range(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """Tone-map a frame, (H, W, 3) uint16 of BT.2020, to (H, W, 3) uint8 of BT.709.

    Up to 0.8 of the reference white every colour stays itself. Above, the largest of R, G and B is compressed towards
    1 (Reinhard et al. 2002, with a white point of 1,000 cd/m2 or the HLG peak) and takes the others with it, which
    keeps the hue. The pixels have full range, and `transfer` is `PQ` or `HLG`.
    """
    light = cv2.transform(_linear(transfer)[pixels], PRIMARIES).clip(min=0)
    peak = light.max(axis=2, keepdims=True)
    most = 1 / 0.26496256 if transfer == HLG else 1000 / 203
    over, white = ((value - KNEE) / (1 - KNEE) for value in (np.maximum(peak, KNEE), most))
    mapped = KNEE + (1 - KNEE) * over * (1 + over / white**2) / (1 + over)
    light *= np.where(peak > KNEE, mapped / np.maximum(peak, KNEE), 1)
    return _encoded(transfer)[(light.clip(max=1) * 65535).round().astype(np.uint16)]
