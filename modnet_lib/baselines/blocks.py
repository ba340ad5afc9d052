"""Decoders and parts of losses that several methods share."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.base import Batch
from modnet_lib.network.layers import ConvBlock


def resize_like(x: Tensor, other: Tensor) -> Tensor:
    """Bilinear, to the height and width of `other`."""
    return F.interpolate(x, other.shape[-2:], mode="bilinear", align_corners=False)


def decode(blocks: Iterable[nn.Module], x: Tensor, skips: Iterable[Tensor]) -> Tensor:
    """Climb a pyramid: at each level enlarge `x` to its skip link and pass both to a block."""
    for block, skip in zip(blocks, skips, strict=False):
        x = block(resize_like(x, skip), skip)
    return x


def stack(*channels: int, kernel: int = 3) -> nn.Sequential:
    """`ConvBlock` after `ConvBlock`; the last layer is a plain convolution of size `kernel`."""
    *body, last = pairwise(channels)
    return nn.Sequential(*(ConvBlock(*pair) for pair in body), nn.Conv2d(*last, kernel, padding=kernel // 2))


class PyramidDecoder(nn.Module):
    """A U-Net's decoder over the five maps of a pyramid and the image; a 1 x 1 convolution, then `kernel`.

    `widths` are the channels at 1/32, 1/16, 1/8, 1/4, 1/2 and 1/1; the image has `inputs` channels.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], inputs: int = 3, kernel: int = 3):
        super().__init__()
        pairs, skips = pairwise(widths), [*channels[-2::-1], inputs]
        self.reduce = ConvBlock(channels[-1], widths[0], 1)
        self.blocks = nn.ModuleList(
            ConvBlock(low + skip, high, kernel) for (low, high), skip in zip(pairs, skips, strict=True)
        )

    def forward(self, maps: Sequence[Tensor], image: Tensor) -> Tensor:
        """Map the pyramid and the normalised image to (N, widths[-1], H, W)."""
        return decode(self.blocks, self.reduce(maps[-1]), [*maps[-2::-1], image])


class UNet(nn.Module):
    """A small U-Net without a backbone, (N, inputs, H, W) to (N, 1, H, W), no activation; `widths` from 1/1 down."""

    def __init__(self, inputs: int, widths: Sequence[int] = (16, 32, 64, 128)):
        super().__init__()
        pairs = list(pairwise(widths))
        self.encode = nn.ModuleList([ConvBlock(inputs, widths[0])])
        self.encode.extend(ConvBlock(fine, coarse, stride=2) for fine, coarse in pairs)
        self.decode = nn.ModuleList(ConvBlock(coarse + fine, fine) for fine, coarse in reversed(pairs))
        self.head = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x := block(x) for block in self.encode]
        return self.head(decode(self.decode, x, maps[-2::-1]))


def charbonnier(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """sqrt(x**2 + epsilon**2), the smooth absolute value of DIM."""
    return (x.square() + epsilon**2).sqrt()


def matte_losses(
    alpha: Tensor,
    batch: Batch,
    weight: float = 0.5,
    distance: Callable[[Tensor], Tensor] = torch.abs,
    region: Tensor | None = None,
) -> dict[str, Tensor]:
    """DIM's losses, alpha prediction and compositional: `weight` times the mean distance, within a region if given.

    The composition is Eq. 1 with the true F and B. It is compared with the one that has the true matte, not with the
    image, which a simulated camera may have degraded.
    """
    mask, error = torch.ones_like(alpha) if region is None else region, alpha - batch.true_alpha

    def mean(error: Tensor) -> Tensor:
        return (distance(error) * mask).sum() / (mask.sum() * error.shape[1]).clamp(min=1)

    composition = error * (batch.foreground - batch.background)
    return {"alpha": weight * mean(error), "composition": weight * mean(composition)}


def unknown(trimap: Tensor) -> Tensor:
    """1 where a trimap is 0.5, else 0."""
    return (trimap == 0.5).to(trimap.dtype)


def keep_known(alpha: Tensor, trimap: Tensor) -> Tensor:
    """The matte, with the trimap's own values wherever it is certain."""
    return torch.where(trimap == 0.5, alpha, trimap.to(alpha.dtype))
