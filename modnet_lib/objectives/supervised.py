"""The supervised objectives: Eq. 2 to 5 of the paper, the form of the released code, and pre-training.

All norms are means (over pixels, images and channels), so a loss does not depend on size or batch.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Preset = Literal["paper", "released", "segmentation"]
PAPER_WEIGHTS = (1.0, 10.0, 1.0)  # lambda_s, lambda_d, lambda_alpha of Eq. 5
RELEASED_WEIGHTS = (10.0, 10.0, 1.0)
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

    The paper names neither the filter nor its width; these are ours, close to the released code's.

    Parameters
    ----------
    alpha
        (N, 1, H, W) in [0, 1]; H and W multiples of 16.

    Returns
    -------
    (N, 1, H/16, W/16) in [0, 1].
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
    kernel = torch.outer(taps, taps).to(x)[None, None]
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=padding), kernel)


def semantic_loss(semantic: Tensor, true_alpha: Tensor) -> Tensor:
    """L_s of Eq. 2: half the mean squared error of s_p (N, 1, H/16, W/16) against G(alpha_g)."""
    return F.mse_loss(semantic, semantic_target(true_alpha)) / 2


def detail_loss(detail: Tensor, true_alpha: Tensor, transition: Tensor) -> Tensor:
    """L_d of Eq. 3: the absolute error of d_p inside m_d, averaged over the whole image.

    All three are (N, 1, H, W); `transition` is m_d of {0, 1}.
    """
    return (transition * (detail - true_alpha).abs()).mean()


def compositional_loss(alpha: Tensor, image: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """L_c of Eq. 4 (Xu et al. 2017): the image composed with alpha_p and the true F and B, against I.

    `alpha` is (N, 1, H, W), the others (N, 3, H, W) in [0, 1].
    """
    return (alpha * foreground + (1 - alpha) * background - image).abs().mean()


def matte_loss(
    alpha: Tensor, true_alpha: Tensor, image: Tensor, foreground: Tensor, background: Tensor
) -> Tensor:
    """L_alpha of Eq. 4: mean absolute error of alpha_p plus L_c."""
    return F.l1_loss(alpha, true_alpha) + compositional_loss(alpha, image, foreground, background)


def paper_objective(
    semantic: Tensor,
    detail: Tensor,
    alpha: Tensor,
    *,
    true_alpha: Tensor,
    trimap: Tensor,
    image: Tensor,
    foreground: Tensor,
    background: Tensor,
    weights: tuple[float, float, float] | None = None,
) -> Losses:
    """Eq. 5: the sum of Eq. 2 to 4, weighted 1, 10, 1 by default.

    Parameters
    ----------
    semantic, detail, alpha
        Predictions: s_p (N, 1, H/16, W/16), d_p and alpha_p (N, 1, H, W), in [0, 1].
    true_alpha
        alpha_g, (N, 1, H, W) in [0, 1].
    trimap
        (N, 1, H, W) of {0, 0.5, 1}; m_d is where it is 0.5.
    image
        Unused; kept for the common signature.
    foreground, background
        F and B of Eq. 1, (N, 3, H, W) in [0, 1]. L_c compares with their composite, not with `image`, which a
        simulated camera may have degraded.
    weights
        lambda_s, lambda_d and lambda_alpha.
    """
    transition = (trimap == 0.5).to(detail.dtype)
    composed = true_alpha * foreground + (1 - true_alpha) * background
    terms = (
        semantic_loss(semantic, true_alpha),
        detail_loss(detail, true_alpha, transition),
        matte_loss(alpha, true_alpha, composed, foreground, background),
    )
    return _weigh(terms, weights or PAPER_WEIGHTS)


def released_objective(
    semantic: Tensor,
    detail: Tensor,
    alpha: Tensor,
    *,
    true_alpha: Tensor,
    trimap: Tensor,
    image: Tensor,
    foreground: Tensor,
    background: Tensor,
    weights: tuple[float, float, float] | None = None,
) -> Losses:
    """The released code's losses, weighted 10, 10, 1 by default; arguments as `paper_objective`.

    It differs in the semantic target and its missing half, in known pixels of d_p and alpha_p that are
    replaced by the trimap, in a fourfold boundary term, and in a compositional term that multiplies the
    normalised image by alpha instead of composing with F and B (which are not used).
    """
    known = trimap != 0.5
    normalised = image * 2 - 1
    boundary_alpha = torch.where(known, trimap, alpha)
    matte = F.l1_loss(alpha, true_alpha) + 4 * F.l1_loss(boundary_alpha, true_alpha)
    composed = F.l1_loss(normalised * alpha, normalised * true_alpha) + 4 * F.l1_loss(
        normalised * boundary_alpha, normalised * true_alpha
    )
    terms = (
        F.mse_loss(semantic, released_semantic_target(true_alpha)),
        F.l1_loss(torch.where(known, trimap, detail), torch.where(known, trimap, true_alpha)),
        matte + composed,
    )
    return _weigh(terms, weights or RELEASED_WEIGHTS)


def segmentation_objective(
    semantic: Tensor, detail: None, alpha: Tensor, *, true_alpha: Tensor, **unused: Any
) -> SegmentationLosses:
    """Cross-entropy of a `Segmenter`, for pre-training the backbone (the paper's SPS step; its loss is ours).

    Parameters
    ----------
    semantic
        Logits, (N, 1, H/s, W/s) for a whole s.
    true_alpha
        The person's mask or matte, (N, 1, H, W) in [0, 1]; its mean over each s x s block is the target.
    detail, alpha, unused
        Unused; kept for the common signature.
    """
    target = F.avg_pool2d(true_alpha, true_alpha.shape[-1] // semantic.shape[-1])
    return SegmentationLosses(F.binary_cross_entropy_with_logits(semantic, target))


# one signature, that of `paper_objective`
OBJECTIVES: dict[Preset, Callable[..., Losses | SegmentationLosses]] = {
    "paper": paper_objective,
    "released": released_objective,
    "segmentation": segmentation_objective,
}


def _weigh(terms: tuple[Tensor, Tensor, Tensor], weights: tuple[float, float, float]) -> Losses:
    return Losses(*terms, torch.stack([w * t for w, t in zip(weights, terms, strict=True)]).sum())
