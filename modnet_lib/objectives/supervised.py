"""The supervised objectives: Eq. 2 to 5 of the paper, and pre-training.

All norms are means (over pixels, images and channels), so a loss does not depend on size or batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = tuple[float, float, float]
Output = Any  # MattingOutput and MattingBatch, whose modules this part must not know
Batch = Any
PAPER_WEIGHTS = (1.0, 10.0, 1.0)  # lambda_s, lambda_d, lambda_alpha of Eq. 5
SEMANTIC_SCALE = 16


class Losses(NamedTuple):
    """Unweighted terms and their weighted sum, scalars each."""

    semantic: Tensor
    detail: Tensor
    matte: Tensor
    total: Tensor


class SegmentationLosses(NamedTuple):
    """The one term of pre-training, a scalar."""

    total: Tensor


def semantic_target(alpha: Tensor) -> Tensor:
    """G(alpha) of Eq. 2: 16-fold reduction (area mean), then a 3 x 3 Gaussian with sigma 0.8.

    The paper names neither the filter nor its width; these are ours, close to the released code's. From alpha
    (N, 1, H, W), H and W multiples of 16, to (N, 1, H/16, W/16), both in [0, 1].
    """
    taps = torch.exp(-torch.tensor([1.0, 0.0, 1.0]) / (2 * 0.8**2))
    return _blur(F.avg_pool2d(alpha, SEMANTIC_SCALE), taps / taps.sum(), "replicate")


def released_semantic_target(alpha: Tensor) -> Tensor:
    """G(alpha) as released: bilinear without antialiasing, so only the four middle pixels of a block count.

    Its kernel is scipy's Gaussian (sigma 0.8, seven taps) folded back into three by reflection.
    """
    taps = torch.exp(-(torch.arange(4.0) ** 2) / (2 * 0.8**2))
    taps = taps / (taps[0] + 2 * taps[1:].sum())
    side = taps[1] + taps[2]
    small = F.interpolate(alpha, scale_factor=1 / SEMANTIC_SCALE, mode="bilinear", align_corners=False)
    return _blur(small, torch.stack((side, taps[0] + 2 * taps[3], side)), "reflect")


def _blur(x: Tensor, taps: Tensor, padding: str) -> Tensor:
    kernel = torch.outer(taps, taps).to(x, non_blocking=True)[None, None]
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=padding), kernel)


def semantic_loss(semantic: Tensor, true_alpha: Tensor) -> Tensor:
    """L_s of Eq. 2: half the mean squared error of s_p (N, 1, H/16, W/16) against G(alpha_g)."""
    return F.mse_loss(semantic, semantic_target(true_alpha)) / 2


def detail_loss(detail: Tensor, true_alpha: Tensor, transition: Tensor) -> Tensor:
    """L_d of Eq. 3: the absolute error of d_p inside m_d, averaged over the whole image.

    All three are (N, 1, H, W); `transition` is m_d of {0, 1}.
    """
    return (transition * (detail - true_alpha).abs()).mean()


def matte_loss(alpha: Tensor, batch: Batch) -> Tensor:
    """L_alpha of Eq. 4: mean absolute error of alpha_p (N, 1, H, W) plus L_c (Xu et al. 2017).

    L_c is the error of Eq. 1 with alpha_p and the true F and B. It compares with the composite of the batch's F and B,
    not with its image, which a simulated camera may have degraded.
    """
    truth, foreground, background = batch.true_alpha, batch.foreground, batch.background
    composed = truth * foreground + (1 - truth) * background
    return F.l1_loss(alpha, truth) + (alpha * foreground + (1 - alpha) * background - composed).abs().mean()


def paper_objective(output: Output, batch: Batch, weights: Weights | None = None) -> Losses:
    """Eq. 5: the sum of Eq. 2 to 4, weighted 1, 10, 1 by default.

    Parameters
    ----------
    output
        A `MattingOutput`: s_p (N, 1, H/16, W/16), d_p and alpha_p (N, 1, H, W), in [0, 1].
    batch
        A `MattingBatch`; m_d is where its trimap is 0.5.
    weights
        lambda_s, lambda_d and lambda_alpha.
    """
    terms = (
        semantic_loss(output.semantic, batch.true_alpha),
        detail_loss(output.detail, batch.true_alpha, (batch.trimap == 0.5).to(output.detail.dtype)),
        matte_loss(output.alpha, batch),
    )
    return weigh(Losses, terms, weights or PAPER_WEIGHTS)


def segmentation_objective(output: Output, batch: Batch, weights: Weights | None = None) -> SegmentationLosses:
    """Cross-entropy of a `Segmenter`, for pre-training the backbone (the paper's SPS step; its loss is ours).

    The output's semantic part has logits, (N, 1, H/s, W/s) for a whole s; the target is the mean of the batch's masks
    or mattes over each s x s block. There is nothing to weigh.
    """
    target = F.avg_pool2d(batch.true_alpha, batch.true_alpha.shape[-1] // output.semantic.shape[-1])
    return SegmentationLosses(F.binary_cross_entropy_with_logits(output.semantic, target))


OBJECTIVES: dict[str, Callable[..., Losses | SegmentationLosses]] = {
    "paper": paper_objective,
    "segmentation": segmentation_objective,
}


def weigh(kind: Any, terms: tuple[Tensor, ...], weights: Weights) -> Any:
    """Losses of a kind: the terms, and their weighted sum."""
    return kind(*terms, torch.stack([w * t for w, t in zip(weights, terms, strict=True)]).sum())
