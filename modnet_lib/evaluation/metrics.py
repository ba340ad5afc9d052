"""How far a matte is from the truth: the usual metrics of matting, all in float64.

Prediction and truth are (H, W) arrays in [0, 1]. `region` is a bool (H, W) mask that restricts a metric, for instance
to a trimap's unknown band; without it the whole picture counts, which is the paper's protocol.
All raise `ValueError` if shapes differ, values leave [0, 1] or are not finite, or the region is empty.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

# First derivative of a Gaussian, cut where it falls below EPSILON (Rhemann et al., CVPR 2009)
SIGMA, EPSILON = 1.4, 1e-2
# Steps of the thresholds, and what distance from a component counts
CONN_STEP, CONN_THETA = 0.1, 0.15


def unit(matte: np.ndarray) -> np.ndarray:
    """Scale a uint8 matte to [0, 1]; return any other unchanged."""
    return matte / 255.0 if matte.dtype == np.uint8 else matte


def mse(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Mean squared error."""
    prediction, truth, region = _checked(prediction, truth, region)
    return float(np.square(prediction - truth)[region].mean())


def mad(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Mean absolute difference."""
    prediction, truth, region = _checked(prediction, truth, region)
    return float(np.abs(prediction - truth)[region].mean())


def sad(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Sum of absolute differences, in thousands of pixels: it grows with the picture."""
    prediction, truth, region = _checked(prediction, truth, region)
    return float(np.abs(prediction - truth)[region].sum() / 1000)


def iou(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Intersection over union of the two mattes cut at 0.5; 1 if both are empty."""
    prediction, truth, region = _checked(prediction, truth, region)
    first, second = (prediction > 0.5)[region], (truth > 0.5)[region]
    union = np.logical_or(first, second).sum()
    return float(np.logical_and(first, second).sum() / union) if union else 1.0


def grad(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Squared difference of gradient magnitudes, summed, in thousands.

    Both mattes are stretched to [0, 1] first (a constant one becomes 0), then filtered with the derivatives of a
    Gaussian of sigma 1.4, 9 x 9, of unit L2 norm, border pixels repeated.
    """
    prediction, truth, region = _checked(prediction, truth, region)
    difference = _gradient(prediction) - _gradient(truth)
    return float(np.square(difference)[region].sum() / 1000)


def _gradient(matte: np.ndarray) -> np.ndarray:
    low, high = matte.min(), matte.max()
    stretched = (matte - low) / (high - low) if high > low else np.zeros_like(matte)
    half = math.ceil(SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * SIGMA * EPSILON)))
    x = np.arange(-half, half + 1)
    gauss = np.exp(-(x**2) / (2 * SIGMA**2)) / (SIGMA * math.sqrt(2 * math.pi))
    kernel = np.outer(gauss, -x * gauss / SIGMA**2)
    kernel /= np.linalg.norm(kernel)
    border = cv2.BORDER_REPLICATE
    return np.hypot(*(cv2.filter2D(stretched, cv2.CV_64F, k, borderType=border) for k in (kernel, kernel.T)))


def conn(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Difference of the degrees of connectedness, summed, in thousands (Rhemann et al., CVPR 2009).

    At each threshold 0, 0.1, … 1 the source is the largest 4-connected component of the pixels that reach it in both
    mattes. A pixel's level l is the last threshold at which it belonged to the source; its connectedness is 1,
    less alpha - l where that is at least 0.15. An empty source is a component without pixels, so that a black
    matte is not perfect (some implementations skip it, and give 0).
    """
    prediction, truth, region = _checked(prediction, truth, region)
    # sums of steps, as the original has them: the sixth is a little more than 0.6
    thresholds = np.arange(0, 1 + CONN_STEP / 2, CONN_STEP)
    level = np.full(truth.shape, -1.0)
    for previous, threshold in pairwise(thresholds):
        source = _largest_component((prediction >= threshold) & (truth >= threshold))
        level[(level < 0) & ~source] = previous
    level[level < 0] = 1.0
    degrees = (1 - (matte - level) * (matte - level >= CONN_THETA) for matte in (prediction, truth))
    return float(np.abs(np.subtract(*degrees))[region].sum() / 1000)


def _largest_component(mask: np.ndarray) -> np.ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    return labels == 1 + int(sizes.argmax()) if len(sizes) else np.zeros_like(mask)


def dtssd(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """How differently two (T, H, W) sequences change from frame to frame, times 100 (Erofeev et al., BMVC 2015).

    The root of the mean squared difference of the changes, averaged over the T - 1 pairs of frames. A region is
    (T, H, W) or (H, W); a pair counts where its second frame's region is. Fewer than two frames are an error as well.
    """
    prediction, truth, region = _checked(prediction, truth, region, dimensions=3)
    if len(truth) < 2:
        raise ValueError(f"dtssd compares neighbouring frames, got {len(truth)}")
    changes = np.square(np.diff(prediction, axis=0) - np.diff(truth, axis=0))
    pairs = [math.sqrt(change[inside].mean()) for change, inside in zip(changes, region[1:], strict=True)]
    return 100 * float(np.mean(pairs))


def errors_by_region(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray) -> dict[str, float]:
    """Mean absolute error inside the person, in the unknown band, and outside; parts that add up to `mad`.

    `trimap` is (H, W) of {0, 0.5, 1}. Returns ``inside``, ``band``, ``outside``: the sum of errors over each region,
    divided by all pixels.
    """
    prediction, truth, _ = _checked(prediction, truth, None)
    error = np.abs(prediction - truth)
    regions = {"inside": 1.0, "band": 0.5, "outside": 0.0}
    return {name: float(error[trimap == value].sum() / error.size) for name, value in regions.items()}


def _checked(
    prediction: np.ndarray, truth: np.ndarray, region: np.ndarray | None, dimensions: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both in float64, and a mask of the same shape."""
    prediction, truth = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    if prediction.shape != truth.shape or truth.ndim != dimensions or not truth.size:
        found = f"the matte is {prediction.shape}, the ground truth {truth.shape}"
        raise ValueError(f"{found}; expected one shape of {dimensions} dimensions and at least one pixel")
    for name, values in (("matte", prediction), ("ground truth", truth)):
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # a NaN is neither
            raise ValueError(f"the {name} must be finite and in [0, 1], got {low:g} to {high:g}")
    if region is None:
        return prediction, truth, np.ones(truth.shape, bool)
    region = np.asarray(region)
    if region.dtype != bool or region.shape not in (truth.shape, truth.shape[1:]):
        raise ValueError(f"the region must be a mask of bool and {truth.shape}, got {region.dtype} and {region.shape}")
    if not region.any():
        raise ValueError("the region is empty")
    return prediction, truth, np.broadcast_to(region, truth.shape)


METRICS: dict[str, Callable[..., float]] = {"mse": mse, "mad": mad, "sad": sad, "grad": grad, "conn": conn, "iou": iou}
