"""BSHM, Boosting Semantic Human Matting with Coarse Annotations (Liu et al.; CVPR 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.base import Baseline, BaselineOutput, Batch, Stage
from modnet_lib.baselines.blocks import PyramidDecoder, UNet, matte_losses, resize_like
from modnet_lib.network import Backbone, concat


def coarsen(alpha: Tensor) -> Tensor:
    """Imitate a hasty annotator: a mask of alpha (N, 1, H, W) above one half, grown by two pixels."""
    return F.max_pool2d((alpha > 0.5).to(alpha.dtype), 5, stride=1, padding=2)


class BSHM(Baseline):
    """Coarse mask (MPN), mask of even quality (QUN), matte (MRN): three networks, trained one after another.

    MPN and QUN see the picture at half its size, MRN at its own. QUN learns to keep a good mask as it is, and to give
    the same answer for a coarse one.

    Simplified: half size instead of a quarter, because training pictures are small here; the coarse annotations are
    made from the fine ones (`coarsen`), as all methods get the same data; MRN predicts no F.
    """

    title, paper = "BSHM", "Liu et al. 2020"
    stages = (
        Stage("MPN", 0.5, ("backbone", "mpn", "mpn_head")),
        Stage("QUN", 0.15, ("qun",)),
        Stage("MRN", 0.35, ("mrn",)),
    )

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        self.mpn = PyramidDecoder(backbone.channels, (96, 64, 32, 24, 16, 16))
        self.mpn_head = nn.Conv2d(16, 1, 1)
        self.qun = UNet(4, (16, 32, 64))
        self.mrn = UNet(4)

    def unify(self, small: Tensor, mask: Tensor) -> Tensor:
        """QUN's answer to a mask (N, 1, h, w) of the normalised image of the same size."""
        return torch.sigmoid(self.qun(concat(small, mask)).float())

    def predict(self, image: Tensor) -> BaselineOutput:
        x = image * 2 - 1
        small = F.avg_pool2d(x, 2)
        mask = torch.sigmoid(self.mpn_head(self.mpn(self.backbone(small), small)).float())
        if self.training and self.stage.name == "MPN":
            return BaselineOutput(resize_like(mask, image), {"small": mask})
        even = self.unify(small, mask)
        guess = resize_like(even, image)
        if self.training and self.stage.name == "QUN":
            return BaselineOutput(guess, {"small": even})
        alpha = torch.sigmoid(self.mrn(concat(x, guess)).float())
        return BaselineOutput(alpha, {})

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """MPN: L1. QUN: identity for good masks, consistency for coarse ones. MRN: L1 and composition."""
        if self.stage.name == "MRN":
            return matte_losses(output.alpha, batch, 1.0)
        answer, truth = output.parts["small"], F.avg_pool2d(batch.true_alpha, 2)
        if self.stage.name == "MPN":
            return {"mask": F.l1_loss(answer, truth)}
        small = F.avg_pool2d(batch.image * 2 - 1, 2)
        kept = self.unify(small, truth)
        coarse = F.l1_loss(self.unify(small, coarsen(truth)), kept.detach())
        return {"identity": F.l1_loss(kept, truth), "consistency": coarse + F.l1_loss(answer, kept.detach())}
