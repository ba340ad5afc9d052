"""HAtt, Attention-Guided Hierarchical Structure Aggregation (Qiao et al.; CVPR 2020)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.blocks import Baseline, BaselineOutput, Batch, answer, resize_like
from modnet_lib.network.backbones import Backbone
from modnet_lib.network.layers import ASPP, ConvBlock, concat


class ChannelAttention(nn.Module):
    """Weight channels by what is in the whole picture: which semantics belong to the person.

    Its logits depend on global means only, so a channel is scaled alike everywhere.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.shared = nn.Sequential(
            nn.Linear(channels, channels // 2), nn.ReLU(inplace=True), nn.Linear(channels // 2, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `x` (N, C, H, W), each by a number in (0, 1)."""
        return x * torch.sigmoid(self.shared(x.mean(dim=(2, 3))))[:, :, None, None]


class SpatialAttention(nn.Module):
    """One weight for each place, from the deep features: which low-level details belong to the border."""

    def __init__(self, channels: int, inner: int = 32):
        super().__init__()
        shapes = ((1, 7), (7, 1))
        self.ways = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, inner, first, padding=(first[0] // 2, first[1] // 2)),
                nn.BatchNorm2d(inner),
                nn.ReLU(inplace=True),
                nn.Conv2d(inner, 1, second, padding=(second[0] // 2, second[1] // 2)),
            )
            for first, second in (shapes, shapes[::-1])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 1, H, W) in (0, 1)."""
        return torch.sigmoid(torch.stack([way(x) for way in self.ways]).sum(dim=0))


class HAtt(Baseline):
    """ASPP on the deep features, channel attention; then spatial attention picks from the low-level features at 1/4.

    Simplified: 128 channels in the place of 256; the adversarial term (weight 0.05) is left out.
    """

    title: ClassVar[str] = "HAtt"
    paper: ClassVar[str] = "Qiao et al. 2020"

    def __init__(self, backbone: Backbone, width: int = 128):
        super().__init__(backbone)
        self.pyramid = nn.Sequential(ConvBlock(backbone.channels[-1], width, 1), ASPP(width, (1, 2, 4, 6)))
        self.channels = ChannelAttention(width)
        self.low = ConvBlock(backbone.channels[1], 32)
        self.places = SpatialAttention(width)
        self.decode = nn.Sequential(
            ConvBlock(width + 32, 64), ConvBlock(64, 32), nn.Conv2d(32, 1, 3, padding=1)
        )

    def predict(self, image: Tensor) -> BaselineOutput:
        """See `Baseline.forward`."""
        maps = self.backbone(image * 2 - 1)
        low = self.low(maps[1])
        deep = resize_like(self.channels(self.pyramid(maps[-1])), low)
        logits = self.decode(concat(deep, low * self.places(deep)))
        return answer(torch.sigmoid(resize_like(logits, image)))

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error and 0.1 of the structural dissimilarity."""
        from kornia.losses import ssim_loss

        return {
            "alpha": F.mse_loss(output.alpha, batch.true_alpha),
            # kornia halves it
            "structure": 0.1 * 2 * ssim_loss(output.alpha, batch.true_alpha, 11),
        }
