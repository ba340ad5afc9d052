"""SHM, Semantic Human Matting (Chen et al.; ACM MM 2018): a trimap first, then a matte."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.base import Baseline, BaselineOutput, Batch, Stage
from modnet_lib.baselines.blocks import PyramidDecoder, UNet, matte_losses
from modnet_lib.network import Backbone


def fuse(trimap: Tensor, raw: Tensor | float) -> Tensor:
    """Combine probabilities B_s, U_s, F_s (N, 3, H, W) and alpha_r (N, 1, H, W): alpha = F_s + U_s alpha_r."""
    return trimap[:, 2:] + trimap[:, 1:2] * raw


class SHM(Baseline):
    """T-Net predicts a trimap of three classes, M-Net a matte from image and trimap; both are fused to alpha.

    Trained in three steps: T-Net, M-Net with the true trimap, both together with 0.01 of the trimap's loss.

    Simplified: T-Net is a U-Net on MobileNetV2 instead of PSPNet-50; M-Net is a U-Net of 16 to 128 channels instead of
    VGG16's layers.
    """

    title, paper = "SHM", "Chen et al. 2018"
    stages = (Stage("T-Net", 0.4, ("backbone", "t_net", "t_head")), Stage("M-Net", 0.3, ("m_net",)), Stage("both", 0.3))

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        self.t_net = PyramidDecoder(backbone.channels, (128, 96, 32, 24, 16, 16))
        self.t_head = nn.Conv2d(16, 3, 1)
        self.m_net = UNet(6)

    def predict(self, image: Tensor, trimap: Tensor | None = None) -> BaselineOutput:
        """See `Baseline.forward`; a trimap replaces T-Net's while M-Net is trained."""
        x, parts = image * 2 - 1, dict[str, Tensor]()
        if trimap is None:
            parts["logits"] = self.t_head(self.t_net(self.backbone(x), x)).float()
            classes = torch.softmax(parts["logits"], dim=1)
        else:
            classes = torch.cat([(trimap == value).to(x.dtype) for value in (0, 0.5, 1)], dim=1)
        if self.training and self.stage.name == "T-Net":
            return BaselineOutput(fuse(classes, 0.5), parts)
        raw = torch.sigmoid(self.m_net(torch.cat((x, classes), dim=1)).float())
        return BaselineOutput(fuse(classes, raw), parts)

    def training_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The true trimap while M-Net is trained alone."""
        return {"trimap": batch.trimap} if self.stage.name == "M-Net" else {}

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the trimap; half alpha and half composition, L1 each; both, with 0.01 of the first."""
        terms = {}
        if self.stage.name != "M-Net":
            weight = 1.0 if self.stage.name == "T-Net" else 0.01
            target = (batch.trimap[:, 0] * 2).long()
            terms["trimap"] = weight * F.cross_entropy(output.parts["logits"], target)
        return terms if self.stage.name == "T-Net" else terms | matte_losses(output.alpha, batch)
