"""IndexNet, Indices Matter (Lu, Dai, Shen, Xu; ICCV 2019): pooling and its inverse with learnt indices."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.blocks import (
    Baseline,
    BaselineOutput,
    Batch,
    alpha_and_composition,
    answer,
    keep_known,
    unknown,
)
from modnet_lib.network.backbones import Backbone, MobileNetV2Backbone, widen_first_convolution
from modnet_lib.network.layers import ConvBlock, concat


class IndexBlock(nn.Module):
    """The depth-wise "many to one" index block: for each channel, which of four pixels counts.

    Four parallel 4 x 4 convolutions of stride 2, one for each pixel of a 2 x 2 block.

    Parameters
    ----------
    channels
        Channels of the map that is pooled.
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
        logits = torch.stack([branch(x) for branch in self.branches], dim=2)
        decoder = torch.sigmoid(logits)
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

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.reduce = ConvBlock(channels, out_channels, 1)
        self.scales = nn.ModuleList(
            nn.Sequential(
                ConvBlock(out_channels, out_channels, dilation=rate, groups=out_channels),
                ConvBlock(out_channels, out_channels, 1),
            )
            for rate in (1, 2, 4, 8)
        )
        self.fuse = ConvBlock(4 * out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, out_channels, H, W)."""
        x = self.reduce(x)
        return self.fuse(torch.cat([scale(x) for scale in self.scales], dim=1))


class IndexNet(Baseline):
    """A U-Net on MobileNetV2 whose strides are replaced by pooling with learnt indices, undone with their twins.

    Simplified: batch norms are not frozen, and the backbone's learning rate is that of every other method.

    Raises
    ------
    ValueError
        For another backbone than MobileNetV2, whose strides it has to find.
    """

    title: ClassVar[str] = "IndexNet"
    paper: ClassVar[str] = "Lu et al. 2019"
    required: tuple[str, ...] = ("trimap",)
    widths: ClassVar[tuple[int, ...]] = (
        64,
        32,
        24,
        32,
        32,
    )  # each fits the indices it is multiplied with next

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        if not isinstance(backbone, MobileNetV2Backbone):
            raise ValueError(f"IndexNet is built on mobilenet_v2, got {backbone.name!r}")
        widen_first_convolution(backbone, 4)
        backbone.features = backbone.features[:18]  # without the 1 x 1 convolution to 1280 channels
        self.pooled = []  # blocks behind which the map is halved, and their channels
        pooled_channels = []
        for number, block in enumerate(backbone.features):
            for module in block.modules():
                if isinstance(module, nn.Conv2d):
                    if module.stride == (2, 2):
                        module.stride = (1, 1)
                        self.pooled.append(number)
                    width = module.out_channels
            if number in self.pooled:
                pooled_channels.append(width)  # type: ignore[possibly-undefined]
        self.index = nn.ModuleList(IndexBlock(channels) for channels in pooled_channels)
        self.context = SeparableASPP(320, pooled_channels[-1])
        deep = pooled_channels[::-1]
        self.blocks = nn.ModuleList(
            ConvBlock(2 * skip, width, 5) for skip, width in zip(deep, self.widths, strict=True)
        )
        self.head = nn.Sequential(ConvBlock(self.widths[-1], 1, 5), nn.Conv2d(1, 1, 5, padding=2))

    def encode(self, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Top map (N, 160, H/32, W/32); and map and indices from before each pooling, the first at H x W."""
        skips = []
        for number, block in enumerate(self.backbone.features):  # type: ignore[arg-type]
            x = block(x)
            if number in self.pooled:
                pool, unpool = self.index[len(skips)](x)
                skips.append((x, unpool))
                x = index_pool(x, pool)
        return self.context(x), skips

    def decode(self, x: Tensor, skips: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The matte (N, 1, H, W) of what `encode` returned."""
        for block, (skip, indices) in zip(self.blocks, reversed(skips), strict=True):
            x = block(concat(index_unpool(x, indices), skip))
        return torch.sigmoid(self.head(x))

    def predict(self, image: Tensor, trimap: Tensor) -> BaselineOutput:
        """See `Baseline.forward`."""
        alpha = self.decode(*self.encode(torch.cat((image, trimap), dim=1) * 2 - 1))
        return answer(keep_known(alpha, trimap))

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """See `Baseline.losses`."""
        return alpha_and_composition(output.alpha, batch, unknown(batch.trimap))
