"""How far a matte is from the truth. Errors are means over all pixels of one picture (the paper's protocol)."""

import numpy as np


def mse(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared error of two (H, W) mattes in [0, 1]; raises `ValueError` if the shapes differ."""
    return float(np.square(_difference(alpha, truth)).mean())


def mad(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute difference of two (H, W) mattes in [0, 1]; raises `ValueError` if the shapes differ."""
    return float(np.abs(_difference(alpha, truth)).mean())


def iou(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of the two mattes cut at 0.5; 1 if both are empty."""
    _difference(alpha, truth)
    first, second = alpha > 0.5, truth > 0.5
    union = np.logical_or(first, second).sum()
    return float(np.logical_and(first, second).sum() / union) if union else 1.0


def errors_by_region(alpha: np.ndarray, truth: np.ndarray, trimap: np.ndarray) -> dict[str, float]:
    """Mean absolute error inside the person, in the unknown band, and outside; parts that add up to `mad`.

    Parameters
    ----------
    alpha, truth
        (H, W) mattes in [0, 1].
    trimap
        (H, W) of {0, 0.5, 1}.

    Returns
    -------
    ``inside``, ``band``, ``outside``: the sum of errors over each region, divided by all pixels.
    """
    error = np.abs(_difference(alpha, truth))
    regions = {"inside": 1.0, "band": 0.5, "outside": 0.0}
    return {name: float(error[trimap == value].sum() / error.size) for name, value in regions.items()}


def _difference(alpha: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if alpha.shape != truth.shape:
        raise ValueError(f"the matte is {alpha.shape}, the ground truth {truth.shape}")
    return alpha.astype(np.float64) - truth.astype(np.float64)


METRICS = {"mse": mse, "mad": mad, "iou": iou}
