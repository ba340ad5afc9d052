"""IndexNet, Indices Matter (Lu, Dai, Shen, Xu; ICCV 2019): pooling and its inverse with learnt indices."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.base import Baseline, BaselineOutput, Batch
from modnet_lib.baselines.blocks import charbonnier, keep_known, matte_losses, unknown
from modnet_lib.network.backbones import Backbone, MobileNetV2Backbone, widen_first_convolution
from modnet_lib.network.layers import ConvBlock

POOLED = {0: 32, 2: 24, 4: 32, 7: 64, 14: 160}  # MobileNetV2's blocks of stride 2 and their channels
WIDTHS = (64, 32, 24, 32, 32)  # of the decoder; each fits the indices it is multiplied with next


class IndexBlock(nn.Module):
    """The depth-wise "many to one" index block: for each channel, which of four pixels counts.

    Four parallel 4 x 4 convolutions of stride 2, one for each pixel of a 2 x 2 block.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU6(inplace=True),
                nn.Conv2d(channels, channels, 1, bias=False),
            )
            for _ in range(4)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Indices for pooling (they sum to 1 over a 2 x 2 block) and for its inverse, both like `x` (N, C, H, W)."""
        decoder = torch.sigmoid(torch.stack([branch(x) for branch in self.branches], dim=2))
        encoder = torch.softmax(decoder, dim=2)
        # pixel_shuffle takes the four values of channel c from the channels 4 c to 4 c + 3
        return F.pixel_shuffle(encoder.flatten(1, 2), 2), F.pixel_shuffle(decoder.flatten(1, 2), 2)


def index_pool(x: Tensor, indices: Tensor) -> Tensor:
    """Sum of every 2 x 2 block of `x`, weighted by its indices."""
    return 4 * F.avg_pool2d(x * indices, 2)


def index_unpool(x: Tensor, indices: Tensor) -> Tensor:
    """Spread every pixel of `x` over 2 x 2 pixels, weighted by their indices."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest") * indices


class SeparableASPP(nn.Module):
    """Four depth-wise separable branches (rates 1, 2, 4, 8) and their fusion."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.reduce = ConvBlock(channels, width, 1)
        self.scales = nn.ModuleList(
            nn.Sequential(ConvBlock(width, width, dilation=rate, groups=width), ConvBlock(width, width, 1))
            for rate in (1, 2, 4, 8)
        )
        self.fuse = ConvBlock(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        return self.fuse(*(scale(x) for scale in self.scales))


class IndexNet(Baseline):
    """A U-Net on MobileNetV2 whose strides are replaced by pooling with learnt indices, undone with their twins.

    Simplified: batch norms are not frozen, and the backbone's learning rate is that of every other method.
    """

    title, paper = "IndexNet", "Lu et al. 2019"
    required = ("trimap",)

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        if not isinstance(backbone, MobileNetV2Backbone):
            raise ValueError(f"IndexNet is built on mobilenet_v2, got {backbone.name!r}")
        widen_first_convolution(backbone, 4)
        backbone.features = backbone.features[:18]  # without the 1 x 1 convolution to 1280 channels
        for module in backbone.features.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
        channels = list(POOLED.values())
        self.index = nn.ModuleList(IndexBlock(width) for width in channels)
        self.context = SeparableASPP(320, channels[-1])
        pairs = zip(reversed(channels), WIDTHS, strict=True)
        self.blocks = nn.ModuleList(ConvBlock(2 * skip, width, 5) for skip, width in pairs)
        self.head = nn.Sequential(ConvBlock(WIDTHS[-1], 1, 5), nn.Conv2d(1, 1, 5, padding=2))

    def encode(self, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Top map (N, 160, H/32, W/32); and map and indices from before each pooling, the first at H x W."""
        skips = []
        for number, block in enumerate(self.backbone.features):  # type: ignore[arg-type]
            x = block(x)
            if number in POOLED:
                pool, unpool = self.index[len(skips)](x)
                skips.append((x, unpool))
                x = index_pool(x, pool)
        return self.context(x), skips

    def decode(self, x: Tensor, skips: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The matte (N, 1, H, W) of what `encode` returned."""
        for block, (skip, indices) in zip(self.blocks, reversed(skips), strict=True):
            x = block(index_unpool(x, indices), skip)
        return torch.sigmoid(self.head(x))

    def predict(self, image: Tensor, trimap: Tensor) -> BaselineOutput:
        alpha = self.decode(*self.encode(torch.cat((image, trimap), dim=1) * 2 - 1))
        return BaselineOutput(keep_known(alpha, trimap), {})

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        return matte_losses(output.alpha, batch, distance=charbonnier, region=unknown(batch.trimap))
