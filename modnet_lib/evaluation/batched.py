"""The metrics of many mattes at once, on the device where they are; `metrics` is the reference."""

import torch
import torch.nn.functional as F
from torch import Tensor

from modnet_lib.evaluation.metrics import gaussian_derivative


def batched_errors(prediction: Tensor, truth: Tensor, region: Tensor | None = None) -> dict[str, Tensor]:
    """``mse``, ``mad``, ``sad`` and ``grad`` of each matte of a batch.

    Parameters
    ----------
    prediction, truth
        (N, 1, H, W) in [0, 1]; computed in float64.
    region
        (N, 1, H, W) bool; the whole picture if ``None``.

    Returns
    -------
    Metric to (N,) float64.

    Raises
    ------
    ValueError
        If shapes differ, values leave [0, 1] or are not finite, or a region is empty.
    """
    if prediction.shape != truth.shape or truth.ndim != 4 or truth.shape[1] != 1:
        raise ValueError(f"expected two (N, 1, H, W), got {tuple(prediction.shape)} and {tuple(truth.shape)}")
    prediction, truth = prediction.double(), truth.double()
    for name, values in (("prediction", prediction), ("truth", truth)):
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise ValueError(f"the {name} must be finite and in [0, 1]")
    region = torch.ones_like(truth, dtype=torch.bool) if region is None else region.expand_as(truth)
    pixels = region.sum(dim=(1, 2, 3))
    if not bool(pixels.all()):
        raise ValueError("a region is empty")

    def total(values: Tensor) -> Tensor:
        return (values * region).sum(dim=(1, 2, 3))

    absolute = total((prediction - truth).abs())
    return {
        "mse": total((prediction - truth) ** 2) / pixels,
        "mad": absolute / pixels,
        "sad": absolute / 1000,
        "grad": total((_gradient(prediction) - _gradient(truth)) ** 2) / 1000,
    }


def _gradient(matte: Tensor) -> Tensor:
    low, high = matte.amin((2, 3), keepdim=True), matte.amax((2, 3), keepdim=True)
    stretched = torch.where(high > low, (matte - low) / (high - low).clamp(min=1e-300), 0.0)
    kernel = torch.from_numpy(gaussian_derivative()).to(matte)
    padded = F.pad(stretched, [kernel.shape[0] // 2] * 4, mode="replicate")
    along = F.conv2d(padded, torch.stack([kernel, kernel.T])[:, None])
    return along.square().sum(dim=1, keepdim=True).sqrt()
