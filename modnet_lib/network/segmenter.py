"""Person segmentation on a backbone: what S is pre-trained on (the paper's SPS step)."""

import torch
from torch import Tensor, nn

from modnet_lib.network.backbones import Backbone
from modnet_lib.network.layers import upsample
from modnet_lib.network.modnet import MattingOutput, check_image


class Segmenter(nn.Module):
    """A backbone with one 1 x 1 convolution on each map from 1/32 to 1/4, whose answers are added up.

    The paper says only that MobileNetV2 was pre-trained on person segmentation. The head is ours and as small as
    possible, so that the backbone, which is used in place, has to learn the task at every scale that MODNet reads.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in backbone.channels[1:])
        for head in self.heads:
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]
            nn.init.normal_(head.weight, std=0.01)  # type: ignore[arg-type]
        self.config = {"trimap_input": False}
        self.metadata: dict[str, str] = {}

    def forward(self, image: Tensor, auxiliary: bool | None = None) -> MattingOutput:
        """Predict the person's mask of each image, as `MODNet.forward`.

        The matte is the probability (N, 1, H, W) in [0, 1], s_p its logits (N, 1, H/4, W/4).
        """
        check_image(image)
        maps = self.backbone(image * 2 - 1)[1:]
        *finer, logits = (head(features) for head, features in zip(self.heads, maps, strict=True))
        for answer in reversed(finer):
            logits = answer + upsample(logits, 2)
        return MattingOutput(logits, None, torch.sigmoid(upsample(logits, 4)))
