"""DIM, Deep Image Matting (Xu, Price, Cohen, Huang; CVPR 2017), with a trimap and without."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from modnet_lib.baselines.blocks import (
    Baseline,
    BaselineOutput,
    Batch,
    PyramidDecoder,
    Stage,
    alpha_and_composition,
    answer,
    keep_known,
    unknown,
)
from modnet_lib.network.backbones import Backbone, widen_first_convolution
from modnet_lib.network.layers import ConvBlock, concat


class DIM(Baseline):
    """An encoder-decoder from image (and trimap) to alpha, then a small network that sharpens it.

    Trained in the paper's three stages: encoder-decoder, refinement, both; by alpha prediction plus compositional
    loss in the unknown region. Without a trimap there is none, so the whole image counts (MODNet's authors, their
    issue 87).

    Simplified: MobileNetV2 in the place of VGG16, with skip links in the place of its pooling indices; decoder and
    refinement are narrower; crops are those of every other method, not around an unknown pixel.
    """

    title: ClassVar[str] = "DIM"
    paper: ClassVar[str] = "Xu et al. 2017"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("matte", 0.6, ("backbone", "decoder", "head")),
        Stage("refine", 0.2, ("refine",)),
        Stage("all", 0.2),
    )
    modules_of: ClassVar[dict[str, tuple[str, ...]]] = {
        "encoder-decoder": ("backbone", "decoder", "head"),
        "refinement": ("refine",),
    }
    estimates: ClassVar[tuple[str, ...]] = ("coarse",)

    def __init__(self, backbone: Backbone, with_trimap: bool = False):
        super().__init__(backbone)
        self.required = ("trimap",) if with_trimap else ()
        inputs = 4 if with_trimap else 3
        if with_trimap:
            widen_first_convolution(backbone, inputs)
        self.decoder = PyramidDecoder(backbone.channels, (160, 96, 64, 32, 24, 16), inputs, kernel_size=5)
        self.head = nn.Conv2d(16, 1, 5, padding=2)
        self.refine = nn.Sequential(
            ConvBlock(4, 32), ConvBlock(32, 32), ConvBlock(32, 32), nn.Conv2d(32, 1, 3, padding=1)
        )

    def predict(self, image: Tensor, trimap: Tensor | None = None) -> BaselineOutput:
        """See `Baseline.forward`."""
        x = image * 2 - 1
        if trimap is not None:
            x = torch.cat((x, trimap * 2 - 1), dim=1)
        raw = self.head(self.decoder(self.backbone(x), x))
        coarse = torch.sigmoid(raw)
        alpha = coarse
        if not (self.training and self.stage.name == "matte"):
            alpha = torch.sigmoid(raw + self.refine(concat(coarse, image)))
        if trimap is None:
            return answer(alpha, coarse=coarse)
        return answer(keep_known(alpha, trimap), coarse=keep_known(coarse, trimap))

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """See `Baseline.losses`."""
        return alpha_and_composition(output.alpha, batch, unknown(batch.trimap) if self.required else None)
