"""What the other methods share: the interface, two decoders, an index block, and parts of losses."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.network.backbones import Backbone
from modnet_lib.network.layers import ConvBlock, concat
from modnet_lib.network.modnet import STRIDE

INPUTS = {
    "trimap": "a trimap (N, 1, H, W) of {0, 0.5, 1}",
    "background": "a picture of the background alone (N, 3, H, W), from the same camera position",
    "clip": "the neighbouring frames (N, T, 4, H, W), each RGB and its trimap, of the middle frame `image`",
}


Batch = Any  # modnet_lib.data.assemble.MattingBatch, which this part must not know


class BaselineOutput(NamedTuple):
    """What another method predicts; it has the fields of `MattingOutput`, without auxiliary heads.

    Attributes
    ----------
    semantic, detail
        Always ``None``.
    alpha
        (N, 1, H, W) in [0, 1]. In training, the estimate of the stage that is being trained.
    parts
        What losses need, and the estimates of earlier stages by name.
    """

    semantic: None
    detail: None
    alpha: Tensor
    parts: dict[str, Tensor]


class Stage(NamedTuple):
    """A stretch of training.

    Attributes
    ----------
    name
        Of the stage.
    share
        Of all steps, in (0, 1].
    trains
        The submodules that learn, the others are frozen; all of them if empty.
    """

    name: str
    share: float
    trains: tuple[str, ...] = ()


class Baseline(nn.Module):
    """A matting method that MODNet is compared with, on the same backbone and behind the same call.

    A subclass implements `predict` and `losses`; stages, frozen parts and wrong inputs are dealt with here.

    Parameters
    ----------
    backbone
        A feature pyramid; used in place.

    Attributes
    ----------
    title, paper
        Name in tables, and where the method is from.
    required, optional
        Inputs beside the image that must, and that may be given: keys of `INPUTS`.
    stages
        How it is trained, one after another.
    modules_of
        What runs in which part of a multi-stage method: names of submodules by part. Empty for one stage.
    estimates
        Which of the output's `parts` are mattes of earlier stages, (N, 1, H, W).
    config, metadata
        As `MODNet` has them.
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    required: tuple[str, ...] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    stages: ClassVar[tuple[Stage, ...]] = (Stage("all", 1.0),)
    modules_of: ClassVar[dict[str, tuple[str, ...]]] = {}
    estimates: ClassVar[tuple[str, ...]] = ()

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone
        self.stage = self.stages[-1]
        self.config: dict[str, object] = {"backbone": backbone.name}
        self.metadata: dict[str, str] = {}

    def begin(self, progress: float) -> float:
        """Enter the stage that training is in after the share `progress` of its steps; call it after `train`.

        Returns
        -------
        How much of the stage is over, in [0, 1).
        """
        start, within = 0.0, 0.0
        for stage in self.stages:
            self.stage, within = stage, max(0.0, (progress - start) / stage.share)
            start += stage.share
            if progress < start - 1e-9:
                break
        for name, module in self.named_children():
            learns = not self.stage.trains or name in self.stage.trains
            module.requires_grad_(learns)
            if not learns:
                module.eval()  # what is frozen keeps its statistics too
        return within

    def forward(
        self,
        image: Tensor,
        trimap: Tensor | None = None,
        background: Tensor | None = None,
        clip: Tensor | None = None,
    ) -> BaselineOutput:
        """Predict the matte of each image.

        Parameters
        ----------
        image
            (N, 3, H, W), RGB in [0, 1]; H and W multiples of 32.
        trimap, background, clip
            See `INPUTS`; each is refused by a method that has no use for it.

        Raises
        ------
        ValueError
            If an input is missing, unexpected, or of another shape.
        """
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % STRIDE or image.shape[3] % STRIDE:
            raise ValueError(
                f"image must have shape (N, 3, H, W) with H and W multiples of {STRIDE}, got {tuple(image.shape)}; "
                "modnet_lib.inference.Matter takes any size"
            )
        given = {"trimap": trimap, "background": background, "clip": clip}
        count, _, *size = image.shape
        shapes = {"trimap": (count, 1, *size), "background": (count, 3, *size)}
        for name, value in given.items():
            if value is None:
                if name in self.required:
                    raise ValueError(f"{self.title} needs {INPUTS[name]}: pass {name}=")
                continue
            if name not in self.required + self.optional:
                raise ValueError(f"{self.title} takes no {name}")
            shape = shapes.get(name) or (count, max(1, value.shape[1] if value.ndim > 1 else 1), 4, *size)
            if tuple(value.shape) != shape:
                raise ValueError(
                    f"{self.title}: {name} must be {INPUTS[name]}, like the image {tuple(image.shape)}, "
                    f"got {tuple(value.shape)}"
                )
        return self.predict(image, **{name: value for name, value in given.items() if value is not None})

    def predict(self, *inputs: Any, **given: Any) -> BaselineOutput:
        """`forward` with checked inputs."""
        raise NotImplementedError

    def training_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """What is given beside the image in training, from what is known of a batch."""
        return {"trimap": batch.trimap} if "trimap" in self.required else {}

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms, scalars, of the present stage; their sum is minimised."""
        raise NotImplementedError


def answer(alpha: Tensor, **parts: Tensor) -> BaselineOutput:
    """A `BaselineOutput` of a matte."""
    return BaselineOutput(None, None, alpha, parts)


def resize_like(x: Tensor, other: Tensor) -> Tensor:
    """Bilinear, to the height and width of `other`; also for sides that halving had rounded up."""
    if x.shape[-2:] == other.shape[-2:]:
        return x
    return F.interpolate(x, other.shape[-2:], mode="bilinear", align_corners=False)


class PyramidDecoder(nn.Module):
    """A U-Net's decoder over a feature pyramid, down to the size of the image.

    Parameters
    ----------
    channels
        Of the five maps of the pyramid, from 1/2 to 1/32.
    widths
        Channels at 1/32, 1/16, 1/8, 1/4, 1/2 and 1/1; a shorter list stops earlier.
    in_channels
        Of the image, which is concatenated at 1/1.
    kernel_size
        Of all convolutions but the first, which is 1 x 1.
    """

    def __init__(
        self, channels: Sequence[int], widths: Sequence[int], in_channels: int = 3, kernel_size: int = 3
    ):
        super().__init__()
        skips = [*channels[-2::-1], in_channels]
        self.reduce = ConvBlock(channels[-1], widths[0], 1)
        self.blocks = nn.ModuleList(
            ConvBlock(before + skip, after, kernel_size)
            for before, skip, after in zip(widths, skips, widths[1:], strict=False)
        )

    def forward(self, maps: Sequence[Tensor], image: Tensor) -> Tensor:
        """Map the pyramid and the normalised image to (N, widths[-1], h, w)."""
        x = self.reduce(maps[-1])
        for block, skip in zip(self.blocks, [*maps[-2::-1], image], strict=False):
            x = block(concat(resize_like(x, skip), skip))
        return x


class UNet(nn.Module):
    """A small U-Net without a backbone.

    Parameters
    ----------
    in_channels, out_channels
        Of the input and of the result, which has no activation.
    widths
        Channels at 1/1, 1/2, 1/4, ...
    """

    def __init__(self, in_channels: int, out_channels: int, widths: Sequence[int] = (16, 32, 64, 128)):
        super().__init__()
        pairs = list(zip([in_channels, *widths], widths, strict=False))
        self.encode = nn.ModuleList(
            ConvBlock(i, o, stride=1 if k == 0 else 2) for k, (i, o) in enumerate(pairs)
        )
        self.decode = nn.ModuleList(
            ConvBlock(high + low, low) for high, low in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        maps = []
        for block in self.encode:
            x = block(x)
            maps.append(x)
        for block, skip in zip(self.decode, maps[-2::-1], strict=True):
            x = block(concat(resize_like(x, skip), skip))
        return self.head(x)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` (N, C, H, W) where `mask` (N, 1, H, W) is 1; zero if that is nowhere."""
    return (x * mask).sum() / (mask.sum() * x.shape[1]).clamp(min=1)


def charbonnier(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """sqrt(x**2 + epsilon**2), the smooth absolute value of DIM."""
    return (x.square() + epsilon**2).sqrt()


def composition_error(alpha: Tensor, batch: Batch) -> Tensor:
    """Eq. 1 with the predicted matte minus Eq. 1 with the true one, both with the true F and B.

    The image is not used, because a simulated camera may have degraded it.
    """
    return (alpha - batch.true_alpha) * (batch.foreground - batch.background)


def alpha_and_composition(alpha: Tensor, batch: Batch, region: Tensor | None = None) -> dict[str, Tensor]:
    """DIM's overall loss: half alpha prediction, half compositional, averaged over a region."""
    mask = torch.ones_like(alpha) if region is None else region
    return {
        "alpha": 0.5 * masked_mean(charbonnier(alpha - batch.true_alpha), mask),
        "composition": 0.5 * masked_mean(charbonnier(composition_error(alpha, batch)), mask),
    }


def unknown(trimap: Tensor) -> Tensor:
    """1 where a trimap is 0.5, else 0."""
    return (trimap == 0.5).to(trimap.dtype)


def keep_known(alpha: Tensor, trimap: Tensor) -> Tensor:
    """The matte, with the trimap's own values wherever it is certain."""
    return torch.where(trimap == 0.5, alpha, trimap.to(alpha.dtype))
