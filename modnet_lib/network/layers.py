"""Building blocks of the three branches: convolution blocks, IBNorm, ASPP, e-ASPP, squeeze-and-excite."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The paper names no dilation rates. At 512 x 512 the map that e-ASPP sees is 16 x 16, at 256 x 256 it is
# 8 x 8: a rate of 8 or more leaves only the centre tap alive in training at 256. Hence rates below 8 (ours).
EASPP_DILATIONS = (1, 2, 3, 5, 7)


class Block(nn.Sequential):
    """Convolution, norm and ReLU of one map, or of several concatenated."""

    def forward(self, input: Tensor, *others: Tensor) -> Tensor:
        """Map (N, C_i, H, W), whose channels add up to those of the convolution."""
        return super().forward(concat(input, *others) if others else input)


class Chain(nn.Sequential):
    """Modules in a row, the first of which takes several maps."""

    def forward(self, input: Tensor, *others: Tensor) -> Tensor:
        first, *rest = self
        x = first(input, *others)
        for module in rest:
            x = module(x)
        return x


class ConvBlock(Block):
    """Convolution, batch norm, ReLU: the block of the paper variant; the padding keeps the size at stride 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1):
        padding = dilation * (kernel - 1) // 2
        # the normalisation that follows has its own shift, so the convolution needs no bias
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class IBNorm(nn.Module):
    """Batch norm on the first half of the channels, instance norm on the second half; (N, channels, H, W).

    Part of the released network, not of the paper. The instance norm has no affine parameters.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.split = [channels // 2, channels - channels // 2]
        self.batch_norm = nn.BatchNorm2d(self.split[0])
        self.instance_norm = nn.InstanceNorm2d(self.split[1], affine=False)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.split(self.split, dim=1)
        return torch.cat((self.batch_norm(first), self.instance_norm(second)), dim=1)


class IBConvBlock(Block):
    """Convolution with bias, IBNorm, ReLU: the block of the released network."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        super().__init__(convolution, IBNorm(outputs), nn.ReLU(inplace=True))


class SqueezeExcite(nn.Module):
    """Channel attention of the released network, which has it instead of the paper's e-ASPP."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // 4, bias=False)
        self.excite = nn.Linear(channels // 4, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel of `x` (N, C, H, W) by a weight in (0, 1)."""
        weight = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * weight[:, :, None, None]


class ASPP(nn.Module):
    """Standard atrous spatial pyramid pooling as Appendix A counts it (Eq. 11 and 12).

    `m` full atrous convolutions side by side, one for each of the `dilations`, concatenated, then one point-wise
    convolution. Its weights, without norms: ``m * c**2 * (k**2 + 1)`` with k = 3.
    """

    def __init__(self, channels: int, dilations: Sequence[int] = EASPP_DILATIONS):
        super().__init__()
        self.scales = nn.ModuleList(ConvBlock(channels, channels, dilation=rate) for rate in dilations)
        self.fuse = ConvBlock(channels * len(self.scales), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(*(scale(x) for scale in self.scales))


class EfficientASPP(nn.Module):
    """e-ASPP of Fig. 3 and Appendix A (Eq. 13 and 14).

    Four steps: reduce the channels, one depth-wise atrous convolution per scale, fuse the scales depth-wise
    (channel j of the result sees only channel j of each scale), then one point-wise convolution that both
    fuses the channels and recovers their number. Its weights, without norms, at ``reduction=4``:
    ``(2 * c**2 + (k**2 + 1) * m * c) / 4``, which is 835,200 for c = 1280, k = 3, m = 5.

    Parameters
    ----------
    channels
        c, channels of the input and the output.
    reduction
        4 in the paper. 1 leaves the reduction out, which is Appendix A's variant with 2 % of ASPP's weights.
    dilations
        One rate per scale (ours, the paper names none).
    """

    def __init__(self, channels: int, reduction: int = 4, dilations: Sequence[int] = EASPP_DILATIONS):
        super().__init__()
        inner = channels // reduction
        self.reduce = ConvBlock(channels, inner, 1) if reduction > 1 else nn.Identity()
        self.scales = nn.ModuleList(ConvBlock(inner, inner, dilation=rate, groups=inner) for rate in dilations)
        self.fuse_scales = ConvBlock(inner * len(self.scales), inner, 1, groups=inner)
        self.fuse_channels = ConvBlock(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        # stack + flatten interleaves the scales, so that group j of the fusion holds channel j of every scale
        x = torch.stack([scale(x) for scale in self.scales], dim=2).flatten(1, 2)
        return self.fuse_channels(self.fuse_scales(x))


def upsample(x: Tensor, scale: int) -> Tensor:
    """Enlarge (N, C, H, W) bilinearly by an integer factor (pixel centres aligned, not corners)."""
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


def concat(x: Tensor, *others: Tensor) -> Tensor:
    """Concatenate along the channels in the type of `x`.

    Under autocast the image is float32 and the features are not; a mixed `torch.cat` would go through float32.
    """
    return torch.cat((x, *(other.to(x.dtype) for other in others)), dim=1) if others else x
