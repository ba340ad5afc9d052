"""Sub-objectives consistency (SOC): Eq. 6 to 8 of the paper, and the form of the released code.

Eq. 6 is a forward pass without labels, s~, d~, alpha~ = M(I~); the objectives below take its three outputs and those
of M', the copy made before. Norms are means over the whole image, as in `modnet_lib.objectives.supervised`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from modnet_lib.objectives.supervised import Output, Weights, released_semantic_target, semantic_target, weigh
from modnet_lib.regions import dilate, transition_region

ConsistencyPreset = Literal["paper", "released"]
RELEASED_BAND = 0.05
MAYBE = 0.1  # a sigmoid is never 0: from here on a pixel may be the person
PAPER_WEIGHTS = (1.0, 1.0, 1.0)
RELEASED_WEIGHTS = (100.0, 1.0, 1.0)


class ConsistencyLosses(NamedTuple):
    """Unweighted terms and their weighted sum, scalars each."""

    #: First term of Eq. 7: G(alpha~) against s~.
    semantic: Tensor
    #: Second term of Eq. 7: alpha~ against d~ in the transition region; as released, against alpha~' of M'.
    detail: Tensor
    #: L_dd of Eq. 8: d~ against d~' of M', in the transition region.
    preserve: Tensor
    total: Tensor


def released_transition_region(semantic: Tensor, alpha: Tensor) -> Tensor:
    """The released code's band: where (alpha > 0.1) * (s > 0.1, enlarged) is not the same all around.

    s is (N, 1, H/16, W/16), alpha (N, 1, H, W), in [0, 1].
    """
    coarse = F.interpolate((semantic.detach() > MAYBE).to(alpha.dtype), scale_factor=16, mode="bilinear")
    person = (alpha.detach() > MAYBE).to(alpha.dtype) * coarse
    size = max(1, int((alpha.shape[2] + alpha.shape[3]) / 2 * RELEASED_BAND))
    # a square of even size has no middle: scipy's erosion leans the other way than its dilation
    dilated = dilate(person.flip(2, 3), size).flip(2, 3)
    return (dilated != -dilate(-person, size)).to(alpha.dtype)


def paper_consistency(output: Output, frozen: Output, weights: Weights | None = None) -> ConsistencyLosses:
    """L_cons of Eq. 7 plus L_dd of Eq. 8.

    Nothing but M' is detached: each sub-objective moves towards the other, and L_dd holds d~. Without people there is
    no transition region, and its two terms are 0.

    Parameters
    ----------
    output
        A `MattingOutput` of M (Eq. 6): (N, 1, H/16, W/16), (N, 1, H, W), (N, 1, H, W) in [0, 1].
    frozen
        That of M' for the same images.
    weights
        Of the three terms; the paper has 1, 1, 1, and (1, 1, 0) leaves L_dd out.
    """
    transition = transition_region(output.alpha, maybe=MAYBE)
    terms = (
        F.mse_loss(semantic_target(output.alpha), output.semantic) / 2,
        (transition * (output.alpha - output.detail).abs()).mean(),
        (transition * (frozen.detail.detach() - output.detail).abs()).mean(),
    )
    return weigh(ConsistencyLosses, terms, weights or PAPER_WEIGHTS)


def released_consistency(output: Output, frozen: Output, weights: Weights | None = None) -> ConsistencyLosses:
    """The released code's SOC losses, weighted 100, 1, 1; arguments as `paper_consistency`.

    It differs from Eq. 7 and 8: each half of the semantic term has its target detached (its gradient is that of
    the squared difference) and cleared below 0.01; in the transition region d~ and alpha~ are both held to
    M', and never to each other; that region's errors are averaged over the region of each picture.
    An empty region, where the released code divides by zero, gives 0.
    """
    blurred = released_semantic_target(output.alpha)
    transition = released_transition_region(output.semantic, output.alpha)

    def cleared(target: Tensor) -> Tensor:
        return target.detach() * (target.detach() > 0.01)

    def held(prediction: Tensor, target: Tensor) -> Tensor:
        error = (transition * (prediction - target.detach()).abs()).sum(dim=(1, 2, 3))
        return (error / transition.sum(dim=(1, 2, 3)).clamp(min=1)).mean()

    terms = (
        F.mse_loss(output.semantic, cleared(blurred)) + F.mse_loss(blurred, cleared(output.semantic)),
        held(output.alpha, frozen.alpha),
        held(output.detail, frozen.detail),
    )
    return weigh(ConsistencyLosses, terms, weights or RELEASED_WEIGHTS)


CONSISTENCY: dict[ConsistencyPreset, Callable[..., ConsistencyLosses]] = {
    "paper": paper_consistency,
    "released": released_consistency,
}


def disagreement(semantic: Tensor, alpha: Tensor) -> Tensor:
    """|G(alpha~) - s~|, (N, 1, H/16, W/16) in [0, 1]: where the sub-objectives contradict each other."""
    return (semantic_target(alpha) - semantic).abs()
