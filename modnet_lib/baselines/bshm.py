"""BSHM, Boosting Semantic Human Matting with Coarse Annotations (Liu et al.; CVPR 2020)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.blocks import (
    Baseline,
    BaselineOutput,
    Batch,
    PyramidDecoder,
    Stage,
    UNet,
    answer,
    composition_error,
    resize_like,
)
from modnet_lib.network.backbones import Backbone
from modnet_lib.network.layers import concat


def coarsen(alpha: Tensor, size: int = 5) -> Tensor:
    """A mask as a hurried annotator would draw it: alpha (N, 1, H, W) cut at one half and grown by `size` // 2."""
    return F.max_pool2d((alpha > 0.5).to(alpha.dtype), size, stride=1, padding=size // 2)


class BSHM(Baseline):
    """Coarse mask (MPN), mask of even quality (QUN), matte (MRN): three networks, trained one after another.

    MPN and QUN see the picture at half its size, MRN at its own. QUN learns to leave a good mask as it is, and to
    answer the same for a coarse one.

    Simplified: half size in the place of a quarter, because training pictures are small here; the coarse
    annotations are made from the fine ones (`coarsen`), as all methods get the same data; MRN answers no F.
    """

    title: ClassVar[str] = "BSHM"
    paper: ClassVar[str] = "Liu et al. 2020"
    optional: ClassVar[tuple[str, ...]] = ("trimap",)
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("MPN", 0.5, ("backbone", "mpn", "mpn_head")),
        Stage("QUN", 0.15, ("qun",)),
        Stage("MRN", 0.35, ("mrn",)),
    )
    modules_of: ClassVar[dict[str, tuple[str, ...]]] = {
        "MPN": ("backbone", "mpn", "mpn_head"),
        "QUN": ("qun",),
        "MRN": ("mrn",),
    }
    estimates: ClassVar[tuple[str, ...]] = ("mask", "even")

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        self.mpn = PyramidDecoder(backbone.channels, (96, 64, 32, 24, 16, 16))
        self.mpn_head = nn.Conv2d(16, 1, 1)
        self.qun = UNet(4, 1, (16, 32, 64))
        self.mrn = UNet(4, 1)

    def unify(self, small: Tensor, mask: Tensor) -> Tensor:
        """QUN's answer to a mask (N, 1, h, w) of the normalised image of the same size."""
        return torch.sigmoid(self.qun(concat(small, mask)).float())

    def predict(self, image: Tensor, trimap: Tensor | None = None) -> BaselineOutput:
        """See `Baseline.forward`; a trimap takes the place of MPN's mask, to see what MRN would do with a right one."""
        x = image * 2 - 1
        small = F.avg_pool2d(x, 2)
        if trimap is None:
            mask = torch.sigmoid(self.mpn_head(self.mpn(self.backbone(small), small)).float())
        else:
            mask = F.avg_pool2d(trimap, 2)
        if self.training and self.stage.name == "MPN":
            return answer(resize_like(mask, image), mask=mask)
        even = self.unify(small, mask)
        if self.training and self.stage.name == "QUN":
            return answer(resize_like(even, image), even=even)
        guess = resize_like(even, image)
        alpha = torch.sigmoid(self.mrn(concat(x, guess)).float())
        return answer(alpha, mask=resize_like(mask, image), even=guess)

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """MPN: L1. QUN: identity for good masks, consistency for coarse ones. MRN: L1 and composition."""
        truth = F.avg_pool2d(batch.true_alpha, 2)
        if self.stage.name == "MPN":
            return {"mask": F.l1_loss(output.parts["mask"], truth)}
        if self.stage.name == "QUN":
            small = F.avg_pool2d(batch.image * 2 - 1, 2)
            kept = self.unify(small, truth)
            pairs = (self.unify(small, coarsen(truth)), kept), (output.parts["even"], kept)
            return {
                "identity": F.l1_loss(kept, truth),
                "consistency": torch.stack([F.l1_loss(one, other.detach()) for one, other in pairs]).sum(),
            }
        return {
            "alpha": F.l1_loss(output.alpha, batch.true_alpha),
            "composition": composition_error(output.alpha, batch).abs().mean(),
        }
