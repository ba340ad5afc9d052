"""MODNet: three branches S, D and F (Fig. 2), in the paper's form and in the released one."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from modnet_lib.network.backbones import Backbone, create_backbone, widen_first_convolution
from modnet_lib.network.layers import ASPP, ConvBlock, EfficientASPP, upsample
from modnet_lib.network.released import ReleasedDetail, ReleasedFusion, ReleasedSemantic

Variant = Literal["paper", "released"]
Context = Literal["easpp", "aspp", "none"]
CONTEXTS = {"easpp": EfficientASPP, "aspp": ASPP, "none": nn.Identity}
DETAIL = 16  # channels of D(I, S(I))
STRIDE = 32  # the deepest map is at 1/32, so height and width must be multiples of it


class MattingOutput(NamedTuple):
    """What MODNet predicts, in [0, 1]; heads that were not asked for are ``None``."""

    #: s_p, coarse portrait semantics, (N, 1, H/16, W/16) (Eq. 2).
    semantic: Tensor | None
    #: d_p, boundary detail matte, (N, 1, H, W); meaningful in the transition region only (Eq. 3).
    detail: Tensor | None
    #: alpha_p, the matte, (N, 1, H, W) (Eq. 4).
    alpha: Tensor


def check_image(image: Tensor) -> None:
    """Raise a ValueError unless an image is (N, 3, H, W) with sides that are multiples of `STRIDE`."""
    fits = image.ndim == 4 and image.shape[1] == 3 and image.numel()
    if not fits or image.shape[2] % STRIDE or image.shape[3] % STRIDE:
        raise ValueError(
            f"image must have shape (N, 3, H, W) with H and W multiples of {STRIDE}, got {tuple(image.shape)}; "
            "modnet_lib.inference.Matter takes any size"
        )


class SemanticBranch(nn.Module):
    """S: the backbone, e-ASPP on its top map, and the head for s_p (section "Semantic Estimation").

    s_p = sigmoid(conv(up2(S(I)))). The doubling is ours: MobileNetV2 ends at 1/32, Eq. 2 wants 1/16. A 1 x 1
    convolution and bilinear enlargement commute, so the code enlarges the one channel instead of all.

    `context` processes the top map: ``"easpp"`` (the paper), ``"aspp"`` (what it replaces), ``"none"``.
    """

    def __init__(self, backbone: Backbone, context: Context = "easpp"):
        super().__init__()
        if context not in CONTEXTS:
            raise ValueError(f"context must be one of {', '.join(CONTEXTS)}, got {context!r}")
        self.backbone, top = backbone, backbone.channels[-1]
        self.context = CONTEXTS[context](top)
        self.head = nn.Conv2d(top, 1, 1)

    def forward(self, image: Tensor, auxiliary: bool) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Return S(I) at 1/32, the lower maps of the pyramid, and s_p if `auxiliary`."""
        *low, top = self.backbone(image)
        top = self.context(top)
        semantic = torch.sigmoid(upsample(self.head(top), 2)) if auxiliary else None
        return top, low, semantic


class DetailBranch(nn.Module):
    """D: twelve convolutions, at most 64 channels, most of them at 1/4 (section "Detail Prediction").

    The first layer goes to 1/4 at once, the last two restore 1/2 and 1/1, and the skip link brings the image
    (and the backbone's first map) past the reduction. Which low-level features enter is ours to choose: all
    maps below the top. They are summed after a 1 x 1 convolution each, so that no layer is wider than 64.
    `in_channels` are those of the network's input, `channels` those of the pyramid.
    """

    def __init__(self, in_channels: int, channels: list[int]):
        super().__init__()
        self.reduce = ConvBlock(in_channels, 64, 7, stride=4)  # 1
        self.lateral = nn.ModuleList(ConvBlock(c, 64, 1) for c in channels[1:])  # 2-5: 1/4, 1/8, 1/16, S(I)
        body = [ConvBlock(64, 64) for _ in range(4)]
        self.process = nn.Sequential(*body, ConvBlock(64, 32))  # 6-10
        self.restore2 = ConvBlock(32 + channels[0] + in_channels, DETAIL)  # 11
        self.restore1 = ConvBlock(DETAIL + in_channels, DETAIL)  # 12
        self.head = nn.Conv2d(DETAIL, 1, 1)

    def forward(self, image: Tensor, low: list[Tensor], top: Tensor, auxiliary: bool) -> tuple[Tensor, Tensor | None]:
        """Return D(I, S(I)) of shape (N, 16, H, W), and d_p if `auxiliary`."""
        x = self.reduce(image)
        for level, (lateral, features) in enumerate(zip(self.lateral, [*low[1:], top], strict=True)):
            features = lateral(features)
            x = x + (upsample(features, 2**level) if level else features)
        x = upsample(self.process(x), 2)
        image2 = nn.functional.avg_pool2d(image, 2)
        x = upsample(self.restore2(x, low[0], image2), 2)
        x = self.restore1(x, image)
        return x, torch.sigmoid(self.head(x)) if auxiliary else None


class FusionBranch(nn.Module):
    """F: S(I), enlarged to the size of D(I, S(I)), beside it, to alpha_p (section "Semantic-Detail Fusion").

    A 1 x 1 convolution and bilinear enlargement commute, so the channels are cut before the enlargement:
    the same function as the paper's order, without a map of 1280 channels at full resolution.
    The paper's F does not look at the image, the released one does.
    """

    def __init__(self, in_channels: int, channels: list[int]):
        super().__init__()
        self.project = nn.Conv2d(channels[-1], DETAIL, 1)
        self.fuse = ConvBlock(2 * DETAIL, DETAIL)
        self.head = nn.Conv2d(DETAIL, 1, 1)

    def forward(self, top: Tensor, detail: Tensor, image: Tensor) -> Tensor:
        """Return alpha_p, (N, 1, H, W)."""
        top = upsample(self.project(top), STRIDE)
        return torch.sigmoid(self.head(self.fuse(detail, top)))


class MODNet(nn.Module):
    """M = (S, D, F): a portrait's matte from a single image (Fig. 2).

    Constructing a model never downloads; for trained weights see `load_checkpoint`, for a trained backbone
    `load_backbone` and `load_imagenet_backbone`.

    Parameters
    ----------
    variant
        ``"paper"``: e-ASPP, D with 12 convolutions, batch norm. ``"released"``: the network that the authors
        published (squeeze-and-excite, a decoder in S, IBNorm), 6,487,075 parameters on MobileNetV2.
    backbone
        ``"mobilenet_v2"``, the name of a timm model, or a `Backbone`.
    trimap_input
        Also take a trimap. It enters as a fourth channel of the input (ours, the paper does not say how).
    context
        The paper variant's module on the top map, for the ablation; see `SemanticBranch`. The released variant has its
        own module and accepts only the default.

    Attributes
    ----------
    config
        The arguments that build the same network again.
    metadata
        What its checkpoint says of it, e.g. ``short_side``, the size of picture it works best at.
    """

    def __init__(
        self,
        variant: Variant = "paper",
        backbone: str | Backbone = "mobilenet_v2",
        trimap_input: bool = False,
        context: Context = "easpp",
    ):
        super().__init__()
        if variant not in ("paper", "released"):
            raise ValueError(f"variant must be 'paper' or 'released', got {variant!r}")
        if variant == "released" and context != "easpp":
            raise ValueError(f"context applies to the paper variant only, got {context!r} with variant 'released'")
        in_channels, given = 4 if trimap_input else 3, set[nn.Module]()
        if isinstance(backbone, str):
            backbone = create_backbone(backbone, in_channels)
        else:
            given = set(backbone.modules())
            if trimap_input:
                widen_first_convolution(backbone, in_channels)
        self.metadata: dict[str, str] = {}
        self.config = {"variant": variant, "backbone": backbone.name}
        self.config |= {"trimap_input": trimap_input, "context": context}
        paper = variant == "paper"
        self.semantic_branch = SemanticBranch(backbone, context) if paper else ReleasedSemantic(backbone)
        self.detail_branch = (DetailBranch if paper else ReleasedDetail)(in_channels, backbone.channels)
        self.fusion_branch = (FusionBranch if paper else ReleasedFusion)(in_channels, backbone.channels)
        for module in self.modules():  # as in the released code; a given backbone keeps its weights
            if isinstance(module, nn.Conv2d) and module not in given:
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor, auxiliary: bool | None = None, trimap: Tensor | None = None) -> MattingOutput:
        """Predict the matte of each image.

        Parameters
        ----------
        image
            (N, 3, H, W), RGB in [0, 1]; H and W multiples of 32. Normalised here with mean = std = 0.5.
        auxiliary
            Also compute the semantic and the detail head; ``None`` means in training only.
        trimap
            (N, 1, H, W) of {0, 0.5, 1}; required with ``trimap_input``, refused without.
        """
        check_image(image)
        x = image * 2 - 1
        if (trimap is not None) != self.config["trimap_input"]:
            raise ValueError("trimap is missing" if trimap is None else "this network was built without trimap_input")
        if trimap is not None:
            x = torch.cat((x, trimap * 2 - 1), dim=1)
        auxiliary = self.training if auxiliary is None else auxiliary
        top, low, semantic = self.semantic_branch(x, auxiliary)
        features, detail = self.detail_branch(x, low, top, auxiliary)
        return MattingOutput(semantic, detail, self.fusion_branch(top, features, x))
