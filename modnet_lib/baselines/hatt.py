"""HAtt, Attention-Guided Hierarchical Structure Aggregation (Qiao et al.; CVPR 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.base import Baseline, BaselineOutput, Batch
from modnet_lib.baselines.blocks import resize_like, stack
from modnet_lib.network import ASPP, Backbone, ConvBlock, concat


class ChannelAttention(nn.Module):
    """Scale each channel of (N, C, H, W) by a number in (0, 1), from its global mean."""

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.shared = nn.Sequential(nn.Linear(channels, half), nn.ReLU(), nn.Linear(half, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.shared(x.mean(dim=(2, 3))))[:, :, None, None]


class SpatialAttention(nn.Module):
    """Map deep features (N, C, H, W) to one weight for each place, (N, 1, H, W) in (0, 1)."""

    def __init__(self, channels: int):
        super().__init__()
        self.ways = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, 32, kernel, padding="same"),
                nn.BatchNorm2d(32),
                nn.ReLU(inplace=True),
                nn.Conv2d(32, 1, other, padding="same"),
            )
            for kernel, other in (((1, 7), (7, 1)), ((7, 1), (1, 7)))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(torch.stack([way(x) for way in self.ways]).sum(dim=0))


class HAtt(Baseline):
    """ASPP on the deep features, channel attention; then spatial attention picks from the low-level features at 1/4.

    Simplified: 128 channels instead of 256; without the adversarial term (weight 0.05).
    """

    title, paper = "HAtt", "Qiao et al. 2020"

    def __init__(self, backbone: Backbone, width: int = 128):
        super().__init__(backbone)
        self.pyramid = nn.Sequential(ConvBlock(backbone.channels[-1], width, 1), ASPP(width, (1, 2, 4, 6)))
        self.channels = ChannelAttention(width)
        self.low = ConvBlock(backbone.channels[1], 32)
        self.places = SpatialAttention(width)
        self.decode = stack(width + 32, 64, 32, 1)

    def predict(self, image: Tensor) -> BaselineOutput:
        maps = self.backbone(image * 2 - 1)
        low = self.low(maps[1])
        deep = resize_like(self.channels(self.pyramid(maps[-1])), low)
        logits = self.decode(concat(deep, low * self.places(deep)))
        return BaselineOutput(torch.sigmoid(resize_like(logits, image)), {})

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error and 0.1 of the structural dissimilarity, which kornia halves."""
        from kornia.losses import ssim_loss

        alpha, truth = output.alpha, batch.true_alpha
        return {"alpha": F.mse_loss(alpha, truth), "structure": 0.1 * 2 * ssim_loss(alpha, truth, 11)}
