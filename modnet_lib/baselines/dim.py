"""DIM, Deep Image Matting (Xu, Price, Cohen, Huang; CVPR 2017), with a trimap and without."""

import torch
from torch import Tensor, nn

from modnet_lib.baselines.base import Baseline, BaselineOutput, Batch, Stage
from modnet_lib.baselines.blocks import PyramidDecoder, charbonnier, keep_known, matte_losses, stack, unknown
from modnet_lib.network import Backbone, concat
from modnet_lib.network.backbones import widen_first_convolution


class DIM(Baseline):
    """An encoder-decoder from image (and trimap) to alpha, then a small network that sharpens it.

    Trained in the paper's three stages by alpha prediction plus compositional loss in the unknown region; without a
    trimap over the whole image (MODNet's authors, their issue 87).

    Simplified: MobileNetV2 with skip links instead of VGG16 with pooling indices; narrower decoder and refinement;
    crops as for every other method, not around an unknown pixel.
    """

    title, paper = "DIM", "Xu et al. 2017"
    stages = (
        Stage("encoder-decoder", 0.6, ("backbone", "decoder", "head")),
        Stage("refinement", 0.2, ("refine",)),
        Stage("all", 0.2),
    )

    def __init__(self, backbone: Backbone, with_trimap: bool = False):
        super().__init__(backbone)
        self.required = ("trimap",) if with_trimap else ()
        if with_trimap:
            widen_first_convolution(backbone, 4)
        self.decoder = PyramidDecoder(backbone.channels, (160, 96, 64, 32, 24, 16), 3 + with_trimap, 5)
        self.head = nn.Conv2d(16, 1, 5, padding=2)
        self.refine = stack(4, 32, 32, 32, 1)

    def predict(self, image: Tensor, trimap: Tensor | None = None) -> BaselineOutput:
        x = (image if trimap is None else torch.cat((image, trimap), dim=1)) * 2 - 1
        logits = self.head(self.decoder(self.backbone(x), x))
        if not (self.training and self.stage.name == "encoder-decoder"):
            logits = logits + self.refine(concat(torch.sigmoid(logits), image))
        alpha = torch.sigmoid(logits)
        return BaselineOutput(alpha if trimap is None else keep_known(alpha, trimap), {})

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        region = unknown(batch.trimap) if self.required else None
        return matte_losses(output.alpha, batch, distance=charbonnier, region=region)
