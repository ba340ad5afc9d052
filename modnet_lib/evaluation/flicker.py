"""Flicker of a sequence of mattes: made on purpose, found by comparing with the truth, and filtered.

Sequences are (T, H, W) float32 in [0, 1].
"""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from scipy.ndimage import median_filter

from modnet_lib.evaluation.metrics import dtssd, mad
from modnet_lib.inference.video import THRESHOLD, one_frame_delay

TOLERANCE = 0.1  # a larger error is seen as flicker if it lasts for one frame
CHANGED = 0.02  # a filter that moves a value by more has touched the pixel


def true_flicker(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels that are wrong by more than `TOLERANCE` in one frame and right in the frames around it; bool."""
    wrong = np.abs(prediction - truth) > TOLERANCE
    found = np.zeros(wrong.shape, bool)
    found[1:-1] = wrong[1:-1] & ~wrong[:-2] & ~wrong[2:]
    return found


def inject_flicker(
    alphas: np.ndarray, seed: int, *, spots: int = 3, radius: float = 0.06, frames: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Spots where a matte is wrong for a moment, as real flicker is: along the border, in patches.

    Parameters
    ----------
    alphas, seed
        At least three frames; the seed of the spots' places, sizes and strengths (a change of 0.15 to 1, towards the
        other side).
    spots, radius, frames
        How many in each frame but the first and the last, the largest as a share of the height, how long each lasts.

    Returns
    -------
    The mattes with flicker, and where it is, (T, H, W) bool.
    """
    rng, result = np.random.default_rng(seed), alphas.copy()
    for t in range(1, len(alphas) - frames):
        inside = alphas[t] > 0.5
        border = np.argwhere(inside != cv2.erode(inside.astype(np.uint8), np.ones((3, 3))).astype(bool))
        for _ in range(spots if len(border) else 0):
            y, x = border[rng.integers(len(border))]
            axes = np.maximum(rng.uniform(0.2, 1, 2) * radius * alphas.shape[1], 1).astype(int)
            spot = np.zeros(inside.shape, np.uint8)
            cv2.ellipse(spot, (int(x), int(y)), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1, -1)
            strength = rng.uniform(0.15, 1)
            for k in range(t, t + frames):
                other = np.where(alphas[k] > 0.5, alphas[k] - strength, alphas[k] + strength)
                result[k] = np.where(spot > 0, np.clip(other, 0, 1), result[k])
    return result, np.abs(result - alphas) > TOLERANCE


def delayed(alphas: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """`one_frame_delay` of a whole sequence."""
    return np.stack(list(one_frame_delay(alphas, threshold)))


def smoothed(alphas: np.ndarray, weight: float = 0.5) -> np.ndarray:
    """Exponential smoothing: `weight` of the new matte, the rest of the last result; no frame late."""
    result = alphas.copy()
    for t in range(1, len(alphas)):
        result[t] = weight * alphas[t] + (1 - weight) * result[t - 1]
    return result


FILTERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": np.copy,
    "OFD": delayed,
    "median of 3": partial(median_filter, size=(3, 1, 1), mode="nearest"),  # one frame late, as OFD
    "smoothing": smoothed,
}


def measure(filtered: np.ndarray, before: np.ndarray, truth: np.ndarray, flicker: np.ndarray) -> dict[str, float]:
    """What a filter did to a sequence: after it, before it, as it should be, and where there was flicker (bool).

    ``mad`` and ``dtssd``; ``precision`` and ``recall`` of the pixels that the filter touched; ``left``: the mean
    error that remains where there was flicker; ``harm``: the share of all pixels that are worse by more than 0.02.
    """
    touched, error = np.abs(filtered - before) > CHANGED, np.abs(filtered - truth)
    hit = int((touched & flicker).sum())
    return {
        "mad": mad(filtered.reshape(-1, filtered.shape[2]), truth.reshape(-1, truth.shape[2])),
        "dtssd": dtssd(filtered, truth),
        "precision": hit / max(int(touched.sum()), 1),
        "recall": hit / max(int(flicker.sum()), 1),
        "left": float(error[flicker].mean()) if flicker.any() else 0.0,
        "harm": float((error > np.abs(before - truth) + CHANGED).mean()),
    }
