"""FDMPA, Fast Deep Matting for Portrait Animation (Zhu et al.; ACM MM 2017): segment, then feather."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.blocks import (
    Baseline,
    BaselineOutput,
    Batch,
    Stage,
    answer,
    composition_error,
    resize_like,
)
from modnet_lib.network.backbones import Backbone
from modnet_lib.network.layers import ConvBlock, concat


class FDMPA(Baseline):
    """A light dense network predicts foreground and background, a feathering block turns them into a matte.

    The feathering block answers three numbers a pixel, and alpha = sigmoid(a fg + b bg + c): a locally linear
    function of the segmentation, as in a guided filter.

    Simplified: the dense network reads MobileNetV2's maps at 1/4 and 1/32 in the place of its own first layers,
    because the paper gives all trimap-free methods this backbone; it works at 1/4, not at 1/2. The feathering block
    begins as the identity (ours).
    """

    title: ClassVar[str] = "FDMPA"
    paper: ClassVar[str] = "Zhu et al. 2017"
    optional: ClassVar[tuple[str, ...]] = ("trimap",)
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("segment", 0.6, ("backbone", "lateral", "dense", "segment")),
        Stage("feather", 0.4, ("feather",)),
    )
    modules_of: ClassVar[dict[str, tuple[str, ...]]] = {
        "segmentation": ("backbone", "lateral", "dense", "segment"),
        "feathering": ("feather",),
    }
    estimates: ClassVar[tuple[str, ...]] = ("segmentation",)

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        self.lateral = nn.ModuleList(ConvBlock(backbone.channels[level], 8, 1) for level in (1, 4))
        self.dense = nn.ModuleList(
            ConvBlock(16 * (number + 1), 16, dilation=rate) for number, rate in enumerate((2, 4, 6, 8))
        )
        self.segment = nn.Conv2d(64, 2, 3, padding=1)
        self.feather = nn.Sequential(ConvBlock(11, 8), last := nn.Conv2d(8, 3, 3, padding=1))
        nn.init.normal_(last.weight, std=0.01)  # begin with the segmentation, slightly softer
        last.bias = nn.Parameter(torch.tensor([6.0, 0.0, -3.0]))

    def predict(self, image: Tensor, trimap: Tensor | None = None) -> BaselineOutput:
        """See `Baseline.forward`; a trimap takes the place of the segmentation."""
        maps = self.backbone(image * 2 - 1)
        low = self.lateral[0](maps[1])
        x = concat(low, resize_like(self.lateral[1](maps[4]), low))
        answers: list[Tensor] = []
        for block in self.dense:
            answers.append(block(torch.cat([x, *answers], dim=1)))
        logits = resize_like(self.segment(torch.cat(answers, dim=1)), image).float()
        both = torch.softmax(logits, dim=1) if trimap is None else torch.cat((trimap, 1 - trimap), dim=1)
        if self.training and self.stage.name == "segment":
            return answer(both[:, :1], logits=logits)
        guide = torch.cat((image, both, image.square(), image * both[:, :1]), dim=1)
        a, b, c = self.feather(guide).chunk(3, dim=1)
        alpha = torch.sigmoid(a * both[:, :1] + b * both[:, 1:] + c)
        return answer(alpha, logits=logits, segmentation=both[:, :1])

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the segmentation; then alpha and composition, each as sqrt(x**2 + epsilon)."""
        if self.stage.name == "segment":
            target = torch.cat((batch.true_alpha, 1 - batch.true_alpha), dim=1)
            return {"segmentation": F.cross_entropy(output.parts["logits"], target)}
        error = output.alpha - batch.true_alpha
        return {
            "alpha": (error.square() + 1e-6).sqrt().mean(),
            "composition": (composition_error(output.alpha, batch).square() + 1e-6).sqrt().mean(),
        }
