"""LFM, A Late Fusion CNN for Digital Matting (Zhang et al.; CVPR 2019): two segmentations, blended."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.base import Baseline, BaselineOutput, Batch, Stage
from modnet_lib.baselines.blocks import PyramidDecoder, stack, unknown
from modnet_lib.network import Backbone, ConvBlock, concat


def fuse(foreground: Tensor, background: Tensor, weight: Tensor | float) -> Tensor:
    """Blend (N, 1, H, W) in [0, 1]: alpha = beta F + (1 - beta) (1 - B); where F + B = 1, beta does not matter."""
    return weight * foreground + (1 - weight) * (1 - background)


class LFM(Baseline):
    """One decoder predicts what is surely foreground, one what is surely background, a third network blends them.

    Trained in three steps: both segmentations, fusion with them frozen, everything.

    Simplified: decoders of 64 channels at 1/32 instead of 256, without side outputs; the sparsity exponent of the
    segmentation loss is left out; no rotation in training.
    """

    title, paper = "LFM", "Zhang et al. 2019"
    stages = (
        Stage("segmentations", 0.5, ("backbone", "foreground", "background", "heads")),
        Stage("fusion", 0.2, ("image", "fusion")),
        Stage("all", 0.3),
    )

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        self.foreground = PyramidDecoder(backbone.channels, (64, 64, 48, 32, 24, 16))
        self.background = PyramidDecoder(backbone.channels, (64, 64, 48, 32, 24, 16))
        self.heads = nn.ModuleList(nn.Conv2d(16, 1, 1) for _ in range(2))
        self.image = ConvBlock(3, 16)
        self.fusion = stack(48, 32, 16, 16, 1, kernel=1)

    def predict(self, image: Tensor) -> BaselineOutput:
        x = image * 2 - 1
        maps = self.backbone(x)
        features = self.foreground(maps, x), self.background(maps, x)
        first, second = (head(f).float().sigmoid() for head, f in zip(self.heads, features, strict=True))
        parts = {"foreground": first, "background": second}
        if self.training and self.stage.name == "segmentations":
            return BaselineOutput(fuse(first, second, 0.5), parts)
        weight = torch.sigmoid(self.fusion(concat(*features, self.image(x))).float())
        return BaselineOutput(fuse(first, second, weight), parts)

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """Segmentation: weighted cross-entropy, L2 where known and L1 where unknown, L1 of gradients. Fusion: L1."""
        band, truth, terms = unknown(batch.trimap), batch.true_alpha, dict[str, Tensor]()
        if self.stage.name != "fusion":
            foreground = _segmentation_loss(output.parts["foreground"], truth, band)
            background = _segmentation_loss(output.parts["background"], 1 - truth, band)
            terms["segmentation"] = foreground + background
        if self.stage.name != "segmentations":
            terms["fusion"] = ((0.1 + 0.9 * band) * (output.alpha - truth).abs()).mean()
        return terms


def _segmentation_loss(probability: Tensor, target: Tensor, band: Tensor) -> Tensor:
    share = target.mean().clamp(0.1, 0.9)
    balance = target / share + (1 - target) / (1 - share)
    with torch.autocast(probability.device.type, enabled=False):
        cross = F.binary_cross_entropy(probability, target, 0.5 * balance)
    error = (probability - target).abs()
    slopes = sum((probability.diff(dim=d) - target.diff(dim=d)).abs().mean() for d in (2, 3))
    return cross + ((1 - band) * error.square() + band * error).mean() + slopes
