"""LFM, A Late Fusion CNN for Digital Matting (Zhang et al.; CVPR 2019): two segmentations, blended."""

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
    answer,
    unknown,
)
from modnet_lib.network.backbones import Backbone
from modnet_lib.network.layers import ConvBlock, concat


def fuse(foreground: Tensor, background: Tensor, weight: Tensor) -> Tensor:
    """Blend: alpha = beta F + (1 - beta) (1 - B), all (N, 1, H, W) in [0, 1]; where F + B = 1, beta is no matter."""
    return weight * foreground + (1 - weight) * (1 - background)


class LFM(Baseline):
    """One decoder answers what is surely foreground, one what is surely background, a third network blends them.

    Trained in three steps: both segmentations, fusion with them frozen, everything.

    Simplified: decoders of 64 channels at 1/32 in the place of 256, without side outputs; the sparsity exponent of
    the segmentation loss is left out; no rotation in training.
    """

    title: ClassVar[str] = "LFM"
    paper: ClassVar[str] = "Zhang et al. 2019"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("segment", 0.5, ("backbone", "foreground", "background", "heads")),
        Stage("fuse", 0.2, ("image", "fusion")),
        Stage("all", 0.3),
    )
    modules_of: ClassVar[dict[str, tuple[str, ...]]] = {
        "segmentations": ("backbone", "foreground", "background", "heads"),
        "fusion": ("image", "fusion"),
    }
    estimates: ClassVar[tuple[str, ...]] = ("average",)

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        widths = (64, 64, 48, 32, 24, 16)
        self.foreground = PyramidDecoder(backbone.channels, widths)
        self.background = PyramidDecoder(backbone.channels, widths)
        self.heads = nn.ModuleList(nn.Conv2d(widths[-1], 1, 1) for _ in range(2))
        self.image = ConvBlock(3, 16)
        self.fusion = nn.Sequential(
            ConvBlock(2 * widths[-1] + 16, 32), ConvBlock(32, 16), ConvBlock(16, 16), nn.Conv2d(16, 1, 1)
        )

    def predict(self, image: Tensor) -> BaselineOutput:
        """See `Baseline.forward`."""
        x = image * 2 - 1
        maps = self.backbone(x)
        features = [decoder(maps, x) for decoder in (self.foreground, self.background)]
        logits = [head(part).float() for head, part in zip(self.heads, features, strict=True)]
        first, second = (torch.sigmoid(part) for part in logits)
        average = fuse(first, second, torch.full_like(first, 0.5))
        if self.training and self.stage.name == "segment":
            return answer(average, foreground=first, background=second)
        weight = torch.sigmoid(self.fusion(concat(*features, self.image(x))).float())
        alpha = fuse(first, second, weight)
        return answer(alpha, foreground=first, background=second, average=average)

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """Segmentation: weighted cross-entropy, L2 where known and L1 where unknown, L1 of gradients. Fusion: L1."""
        band = unknown(batch.trimap)
        terms: dict[str, Tensor] = {}
        if self.stage.name != "fuse":
            pairs = (
                (output.parts["foreground"], batch.true_alpha),
                (output.parts["background"], 1 - batch.true_alpha),
            )
            terms["segmentation"] = torch.stack([_segmentation_loss(p, t, band) for p, t in pairs]).sum()
        if self.stage.name != "segment":
            error = (output.alpha - batch.true_alpha).abs()
            terms["fusion"] = ((0.1 + 0.9 * band) * error).mean()
        return terms


def _segmentation_loss(probability: Tensor, target: Tensor, band: Tensor) -> Tensor:
    share = target.mean().clamp(0.1, 0.9)
    balance = target / share + (1 - target) / (1 - share)
    with torch.autocast(probability.device.type, enabled=False):
        cross = F.binary_cross_entropy(probability, target, 0.5 * balance)
    error = (probability - target).abs()
    slopes = sum((probability.diff(dim=d) - target.diff(dim=d)).abs().mean() for d in (2, 3))
    return cross + ((1 - band) * error.square() + band * error).mean() + slopes
