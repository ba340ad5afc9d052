"""The branches of the network that the authors released, layer for layer.

It is an earlier version of the paper's: squeeze-and-excite instead of e-ASPP, a decoder inside S with S(I) at 1/8,
thirteen convolutions in D, instance-batch normalisation everywhere outside the backbone.
"""

import torch
from torch import Tensor, nn

from modnet_lib.network.backbones import Backbone
from modnet_lib.network.layers import Chain, IBConvBlock, SqueezeExcite, upsample

WIDTH = 32  # of the high-resolution maps


def shrink(x: Tensor, factor: int) -> Tensor:
    """Shrink (N, C, H, W) bilinearly without antialiasing, as the release does."""
    return nn.functional.interpolate(x, scale_factor=1 / factor, mode="bilinear", align_corners=False)


class ReleasedSemantic(nn.Module):
    """S of the release: S(I) has ``channels[2]`` channels at 1/8; s_p comes from it at stride 2."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        *_, eighth, sixteenth, top = backbone.channels
        self.backbone = backbone
        self.context = SqueezeExcite(top)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
        self.decode16 = IBConvBlock(top, sixteenth, 5)
        self.decode8 = IBConvBlock(sixteenth, eighth, 5)
        self.head = nn.Conv2d(eighth, 1, 3, stride=2, padding=1)

    def forward(self, image: Tensor, auxiliary: bool) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Return S(I) at 1/8, the lower maps of the pyramid, and s_p if `auxiliary`."""
        *low, top = self.backbone(image)
        x = self.decode16(self.enlarge(self.context(top)))
        x = self.decode8(upsample(x, 2))
        return x, low, torch.sigmoid(self.head(x)) if auxiliary else None


class ReleasedDetail(nn.Module):
    """D of the release: D(I, S(I)) has 32 channels at 1/2; only the head of d_p works at full size."""

    def __init__(self, in_channels: int, channels: list[int]):
        super().__init__()
        width, double = WIDTH, 2 * WIDTH
        self.lateral2 = IBConvBlock(channels[0], width, 1)
        self.merge2 = IBConvBlock(width + in_channels, width, stride=2)
        self.lateral4 = IBConvBlock(channels[1], width, 1)
        self.merge4 = IBConvBlock(double, double)
        widths = [(double + channels[2] + in_channels, double), (double, double), (double, width)]
        self.process4 = Chain(*(IBConvBlock(*pair) for pair in widths))
        widths = [(double, double), (double, width), (width, width), (width, width)]
        self.process2 = Chain(*(IBConvBlock(*pair) for pair in widths))
        self.head = Chain(IBConvBlock(width + in_channels, width), nn.Conv2d(width, 1, 1))

    def forward(self, image: Tensor, low: list[Tensor], top: Tensor, auxiliary: bool) -> tuple[Tensor, Tensor | None]:
        """Return D(I, S(I)) of shape (N, 32, H/2, W/2), and d_p if `auxiliary`."""
        low2 = self.lateral2(low[0])
        x = self.merge2(shrink(image, 2).to(low2.dtype), low2)
        x = self.merge4(x, self.lateral4(low[1]))
        x = self.process4(x, upsample(top, 2), shrink(image, 4))
        x = self.process2(upsample(x, 2), low2)
        return x, torch.sigmoid(self.head(upsample(x, 2), image)) if auxiliary else None


class ReleasedFusion(nn.Module):
    """F of the release: fuses at 1/2, enlarges, and looks at the image once more."""

    def __init__(self, in_channels: int, channels: list[int]):
        super().__init__()
        self.project = IBConvBlock(channels[2], WIDTH, 5)
        self.fuse = IBConvBlock(2 * WIDTH, WIDTH)
        self.head = Chain(IBConvBlock(WIDTH + in_channels, WIDTH // 2), nn.Conv2d(WIDTH // 2, 1, 1))

    def forward(self, top: Tensor, features: Tensor, image: Tensor) -> Tensor:
        """Return alpha_p, (N, 1, H, W)."""
        x = upsample(self.project(upsample(top, 2)), 2)
        x = upsample(self.fuse(x, features), 2)
        return torch.sigmoid(self.head(x, image))
