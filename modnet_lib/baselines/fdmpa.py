"""FDMPA, Fast Deep Matting for Portrait Animation (Zhu et al.; ACM MM 2017): segment, then feather."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.base import Baseline, BaselineOutput, Batch, Stage
from modnet_lib.baselines.blocks import charbonnier, matte_losses, resize_like, stack
from modnet_lib.network import Backbone, ConvBlock, concat


class FDMPA(Baseline):
    """A light dense network predicts foreground and background, a feathering block turns them into a matte.

    The feathering block predicts three numbers a pixel, and alpha = sigmoid(a fg + b bg + c): a locally linear
    function of the segmentation, as in a guided filter.

    Simplified: the dense network reads MobileNetV2's maps at 1/4 and 1/32 instead of its own first layers, because the
    paper gives all trimap-free methods this backbone; it works at 1/4, not at 1/2. The feathering block begins as the
    identity (ours).
    """

    title, paper = "FDMPA", "Zhu et al. 2017"
    stages = (
        Stage("segmentation", 0.6, ("backbone", "lateral", "dense", "segment")),
        Stage("feathering", 0.4, ("feather",)),
    )

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        self.lateral = nn.ModuleList(ConvBlock(backbone.channels[level], 8, 1) for level in (1, 4))
        self.dense = nn.ModuleList(ConvBlock(8 * rate, 16, dilation=rate) for rate in (2, 4, 6, 8))
        self.segment = nn.Conv2d(64, 2, 3, padding=1)
        self.feather = stack(11, 8, 3)
        # begin with the segmentation, slightly softer
        nn.init.normal_(self.feather[1].weight, std=0.01)  # type: ignore[arg-type]
        self.feather[1].bias = nn.Parameter(torch.tensor([6.0, 0.0, -3.0]))

    def predict(self, image: Tensor) -> BaselineOutput:
        maps = self.backbone(image * 2 - 1)
        low = self.lateral[0](maps[1])
        found = [concat(low, resize_like(self.lateral[1](maps[4]), low))]
        for block in self.dense:
            found.append(block(torch.cat(found, dim=1)))
        logits = resize_like(self.segment(torch.cat(found[1:], dim=1)), image).float()
        both, parts = torch.softmax(logits, dim=1), {"logits": logits}
        person, rest = both.split(1, dim=1)
        if self.training and self.stage.name == "segmentation":
            return BaselineOutput(person, parts)
        guide = torch.cat((image, both, image.square(), image * person), dim=1)
        a, b, c = self.feather(guide).chunk(3, dim=1)
        return BaselineOutput(torch.sigmoid(a * person + b * rest + c), parts)

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the segmentation; then alpha and composition, each as sqrt(x**2 + 1e-6)."""
        if self.stage.name == "segmentation":
            target = torch.cat((batch.true_alpha, 1 - batch.true_alpha), dim=1)
            return {"segmentation": F.cross_entropy(output.parts["logits"], target)}
        return matte_losses(output.alpha, batch, 1.0, partial(charbonnier, epsilon=1e-3))
