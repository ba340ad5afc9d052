"""BM, Background Matting (Sengupta et al.; CVPR 2020): a second picture, without the person."""

from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.blocks import (
    Baseline,
    BaselineOutput,
    Batch,
    Stage,
    answer,
    resize_like,
)
from modnet_lib.network.backbones import Backbone
from modnet_lib.network.layers import ConvBlock, concat


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a link past them."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            ConvBlock(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        return torch.relu(x + self.body(x))


class BM(Baseline):
    """Matting by comparing the picture with its background, guided by a rough segmentation.

    Each prior (background, segmentation) is combined with the image's features by a switching block, and all of
    them are combined again; residual blocks, then one decoder for alpha and one for F.

    Simplified: the image's features and the segmentation, DeepLab's in the original, come from MobileNetV2 (stage 1);
    64 channels at 1/4 in the place of 256, 4 residual blocks in the place of 10; no motion frames, and no adversarial
    training on real video.
    """

    title: ClassVar[str] = "BM"
    paper: ClassVar[str] = "Sengupta et al. 2020"
    required: tuple[str, ...] = ("background",)
    stages: ClassVar[tuple[Stage, ...]] = (Stage("segment", 0.3, ("backbone", "segment")), Stage("all", 0.7))
    modules_of: ClassVar[dict[str, tuple[str, ...]]] = {
        "segmentation": ("backbone", "segment"),
        "matting": ("encode", "lift", "switch", "merge", "shared", "matte", "colour"),
    }
    estimates: ClassVar[tuple[str, ...]] = ("segmentation",)

    def __init__(self, backbone: Backbone, width: int = 64):
        super().__init__(backbone)
        self.segment = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in backbone.channels[1:])
        self.encode = nn.ModuleDict(
            {
                name: nn.Sequential(ConvBlock(channels, 32, 7, stride=2), ConvBlock(32, width, stride=2))
                for name, channels in (("image", 3), ("background", 3), ("segmentation", 1))
            }
        )
        self.lift = ConvBlock(backbone.channels[1], width, 1)
        self.switch = nn.ModuleDict(
            {name: ConvBlock(2 * width, width, 1) for name in ("background", "segmentation")}
        )
        self.merge = ConvBlock(3 * width, width, 1)
        self.shared = nn.Sequential(*(Residual(width) for _ in range(4)))
        self.matte = nn.ModuleList(
            [ConvBlock(width + 16, 32), ConvBlock(32 + 6, 16), nn.Conv2d(16, 1, 3, 1, 1)]
        )
        self.colour = nn.ModuleList(
            [ConvBlock(width + 16, 32), ConvBlock(32 + 6, 16), nn.Conv2d(16, 3, 3, 1, 1)]
        )

    def predict(self, image: Tensor, background: Tensor) -> BaselineOutput:
        """See `Baseline.forward`."""
        x, behind = image * 2 - 1, background * 2 - 1
        maps = self.backbone(x)
        logits = self.segment[-1](maps[-1]).float()
        for head, features in zip(reversed(self.segment[:-1]), maps[-2:0:-1], strict=True):  # type: ignore[arg-type]
            answer_here = head(features).float()
            logits = answer_here + resize_like(logits, answer_here)
        mask = torch.sigmoid(resize_like(logits, image))
        if self.training and self.stage.name == "segment":
            return answer(mask, segmentation=mask)
        own = self.encode["image"](x) + self.lift(maps[1])
        priors = {"background": behind, "segmentation": mask.detach()}
        switched = [
            self.switch[name](concat(own, self.encode[name](prior))) for name, prior in priors.items()
        ]
        shared = self.shared(self.merge(concat(own, *switched)))
        alpha, colour = (
            torch.sigmoid(_decode(blocks, shared, maps[0], concat(x, behind)).float())
            for blocks in (self.matte, self.colour)
        )
        # where the picture is all person, its own colour is F
        foreground = torch.where(alpha.detach() < 0.95, colour, image)
        return answer(alpha, segmentation=mask, foreground=foreground)

    def training_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The background as a second shot would show it: a little brighter or darker, with noise."""
        shape = (len(batch.image), 1, 1, 1)
        gamma = torch.empty(shape, device=batch.image.device).uniform_(0.9, 1.1)
        shot = batch.background.clamp(1e-4, 1) ** gamma
        return {"background": (shot + 0.02 * torch.randn_like(shot)).clamp(0, 1)}

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """L1 of alpha and its gradient, twice L1 of F inside the person, L1 of the composition with both."""
        mask = output.parts["segmentation"]
        with torch.autocast(mask.device.type, enabled=False):
            terms = {"segmentation": F.binary_cross_entropy(mask.float(), batch.true_alpha)}
        if self.stage.name == "segment":
            return terms
        from kornia.filters import spatial_gradient

        alpha, colour, truth = output.alpha, output.parts["foreground"], batch.true_alpha
        composed = alpha * colour + (1 - alpha) * batch.background
        true = truth * batch.foreground + (1 - truth) * batch.background
        inside = (truth > 0).to(truth.dtype)
        return terms | {
            "alpha": F.l1_loss(alpha, truth),
            "gradient": (spatial_gradient(alpha) - spatial_gradient(truth)).abs().mean(),
            "foreground": 2 * (inside * (colour - batch.foreground).abs()).mean(),
            "composition": (composed - true).abs().mean(),
        }


def _decode(blocks: nn.ModuleList, x: Tensor, half: Tensor, full: Tensor) -> Tensor:
    x = blocks[0](concat(resize_like(x, half), half))
    x = blocks[1](concat(resize_like(x, full), full))
    return blocks[2](x)


def background_difference(
    image: np.ndarray, plate: np.ndarray, low: float = 12, high: float = 40
) -> np.ndarray:
    """The oldest matte: how far a pixel is from the clean plate, 0 up to `low`, 1 from `high` (of 255).

    Parameters
    ----------
    image, plate
        (H, W, 3) uint8.
    low, high
        Largest difference of a colour channel, after a median over 3 x 3 pixels.

    Returns
    -------
    (H, W) float32 in [0, 1].
    """
    difference = cv2.medianBlur(cv2.absdiff(image, plate), 3).max(axis=2).astype(np.float32)
    return np.clip((difference - low) / (high - low), 0, 1)
