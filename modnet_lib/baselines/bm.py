"""BM, Background Matting (Sengupta et al.; CVPR 2020): a second picture, without the person."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.baselines.base import Baseline, BaselineOutput, Batch, Stage
from modnet_lib.baselines.blocks import decode, resize_like
from modnet_lib.network import Backbone, ConvBlock, concat


class Residual(nn.Module):
    """Two 3 x 3 convolutions with a skip link, (N, C, H, W) to (N, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        first, second = ConvBlock(channels, channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.body = nn.Sequential(first, second, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class BM(Baseline):
    """Matting by comparing the picture with its background, guided by a rough segmentation.

    Each prior (background, segmentation) is combined with the image's features by a switching block, and all of
    them are combined again; residual blocks, then one decoder for alpha and one for F.

    Simplified: the image's features and the segmentation, DeepLab's in the original, come from MobileNetV2 (stage 1);
    64 channels at 1/4 instead of 256, 4 residual blocks instead of 10; no motion frames, and no adversarial training
    on real video.
    """

    title, paper = "BM", "Sengupta et al. 2020"
    required = ("background",)
    stages = (Stage("segmentation", 0.3, ("backbone", "segment")), Stage("matting", 0.7))

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        self.segment = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in backbone.channels[1:])
        self.encode = nn.ModuleDict()
        for name, channels in {"image": 3, "background": 3, "segmentation": 1}.items():
            first = ConvBlock(channels, 32, 7, stride=2)
            self.encode[name] = nn.Sequential(first, ConvBlock(32, 64, stride=2))
        self.lift = ConvBlock(backbone.channels[1], 64, 1)
        self.switch = nn.ModuleDict({name: ConvBlock(128, 64, 1) for name in ("background", "segmentation")})
        self.merge = ConvBlock(192, 64, 1)
        self.shared = nn.Sequential(*(Residual(64) for _ in range(4)))
        half, full = (64 + backbone.channels[0], 32 + 6)  # with the backbone's first map, and with both pictures
        heads = [[ConvBlock(half, 32), ConvBlock(full, 16), nn.Conv2d(16, n, 3, padding=1)] for n in (1, 3)]
        self.matte, self.colour = (nn.ModuleList(head) for head in heads)

    def predict(self, image: Tensor, background: Tensor) -> BaselineOutput:
        x, behind = image * 2 - 1, background * 2 - 1
        maps = self.backbone(x)
        *finer, logits = (head(f).float() for head, f in zip(self.segment, maps[1:], strict=True))
        for scale in reversed(finer):
            logits = scale + resize_like(logits, scale)
        mask = torch.sigmoid(resize_like(logits, image))
        parts = {"segmentation": mask}
        if self.training and self.stage.name == "segmentation":
            return BaselineOutput(mask, parts)
        own = self.encode["image"](x) + self.lift(maps[1])
        priors = {"background": behind, "segmentation": mask.detach()}
        switched = [self.switch[name](own, self.encode[name](prior)) for name, prior in priors.items()]
        shared = self.shared(self.merge(own, *switched))
        alpha, colour = (
            last(decode(blocks, shared, (maps[0], concat(x, behind)))).float().sigmoid()
            for *blocks, last in (self.matte, self.colour)
        )
        # where the picture is all person, its own colour is F
        parts["foreground"] = torch.where(alpha.detach() < 0.95, colour, image)
        return BaselineOutput(alpha, parts)

    def training_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The background as a second shot would show it: a little brighter or darker, with noise."""
        gamma = torch.empty((len(batch.image), 1, 1, 1), device=batch.image.device).uniform_(0.9, 1.1)
        shot = batch.background.clamp(1e-4, 1) ** gamma
        return {"background": (shot + 0.02 * torch.randn_like(shot)).clamp(0, 1)}

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """L1 of alpha and its gradient, twice L1 of F inside the person, L1 of the composition with both."""
        from kornia.filters import spatial_gradient

        mask, alpha, truth = output.parts["segmentation"], output.alpha, batch.true_alpha
        with torch.autocast(mask.device.type, enabled=False):
            terms = {"segmentation": F.binary_cross_entropy(mask.float(), truth)}
        if self.stage.name == "segmentation":
            return terms
        colour = output.parts["foreground"]
        composed = alpha * colour + (1 - alpha) * batch.background
        true = truth * batch.foreground + (1 - truth) * batch.background
        inside = (truth > 0).to(truth.dtype)
        return terms | {
            "alpha": F.l1_loss(alpha, truth),
            "gradient": (spatial_gradient(alpha) - spatial_gradient(truth)).abs().mean(),
            "foreground": 2 * (inside * (colour - batch.foreground).abs()).mean(),
            "composition": (composed - true).abs().mean(),
        }
