"""Any CNN as a five-level feature pyramid at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

REDUCTIONS = (2, 4, 8, 16, 32)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A feature pyramid; its input is normalised with mean = std = 0.5.

    Attributes
    ----------
    name
        The name that `create_backbone` takes.
    channels
        Channels of the five maps, from 1/2 to 1/32 of the input.
    """

    name: str
    channels: list[int]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (N, C, H, W) to five maps (N, channels[i], H / 2**(i+1), W / 2**(i+1))."""
        raise NotImplementedError


class MobileNetV2Backbone(Backbone):
    """torchvision's MobileNetV2 without its classifier (Sandler et al. 2018), the paper's S."""

    ends = (2, 4, 7, 14, 19)  # one past the last block of each resolution

    def __init__(self, in_channels: int = 3):
        super().__init__()
        from torchvision.models import mobilenet_v2

        self.name = "mobilenet_v2"
        self.channels = [16, 24, 32, 96, 1280]
        self.features = mobilenet_v2(weights=None).features
        if in_channels != 3:
            widen_first_convolution(self, in_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, block in enumerate(self.features, start=1):
            x = block(x)
            if index in self.ends:
                maps.append(x)
        return maps


class TimmBackbone(Backbone):
    """A timm model with ``features_only`` whose reductions include 2, 4, 8, 16 and 32.

    Raises
    ------
    ValueError
        If timm does not know the name, or the model has no map at one of the five scales.
    """

    def __init__(self, name: str, in_channels: int = 3):
        super().__init__()
        import timm

        if ":" in name:  # timm reads "hf-hub:..." from the network
            raise ValueError(f"backbone {name!r}: a hub address would download; give a plain timm name")
        try:
            probe: Any = timm.create_model(name, pretrained=False, features_only=True, in_chans=in_channels)
        except (RuntimeError, AttributeError, TypeError, AssertionError, ValueError) as error:
            raise ValueError(
                f"backbone {name!r}: neither 'mobilenet_v2' nor a timm model with features_only ({error})"
            ) from error
        reductions = list(probe.feature_info.reduction())
        if not set(REDUCTIONS) <= set(reductions):
            raise ValueError(
                f"backbone {name!r} has feature maps at 1/{reductions}; MODNet needs all of 1/{list(REDUCTIONS)}"
            )
        self.name = name
        # where two maps share a scale, the last one has seen more layers
        self.indices = [len(reductions) - 1 - reductions[::-1].index(scale) for scale in REDUCTIONS]
        self.channels = [probe.feature_info.channels()[i] for i in self.indices]
        self.features = probe

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.features(x)
        return [maps[i] for i in self.indices]


def create_backbone(name: str = "mobilenet_v2", in_channels: int = 3) -> Backbone:
    """Build an untrained backbone by name; nothing is downloaded.

    Parameters
    ----------
    name
        ``"mobilenet_v2"`` (torchvision) or the name of a timm model.
    in_channels
        3 for an image, 4 for an image and its trimap.

    Raises
    ------
    ValueError
        If the name is unknown or the model lacks one of the five scales.
    """
    if name == "mobilenet_v2":
        return MobileNetV2Backbone(in_channels)
    return TimmBackbone(name, in_channels)


def first_convolution(module: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the convolution that sees the image."""
    return next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))


def widen_first_convolution(module: nn.Module, in_channels: int) -> None:
    """Give the first convolution more input channels, the new ones with zero weights.

    With zero weights a pre-trained backbone still computes what it did before it learns to use them.
    """
    _, conv = first_convolution(module)
    # the module stays: timm's own kinds of convolution pad or standardise in their own ways
    weight = torch.zeros(conv.out_channels, in_channels, *conv.kernel_size)
    weight[:, : conv.in_channels] = conv.weight.detach()
    conv.weight, conv.in_channels = nn.Parameter(weight), in_channels


def rescale_first_convolution(backbone: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Make weights trained on (x - mean) / std work on our input (x - 0.5) / 0.5.

    With z our input, (x - mean) / std = z * 0.5 / std + (0.5 - mean) / std: the first factor goes into the
    weights, the constant into the convolution's bias or the running mean of the batch norm behind it. Exact
    except within the first kernel's radius of the border, where the zeros of the padding mean mid-grey now.

    Raises
    ------
    ValueError
        If the constant has nowhere to go (no bias, no batch norm of that width).
    """
    _, conv = first_convolution(backbone)
    with torch.no_grad():
        colour = conv.weight[:, : len(mean)]
        scale = torch.tensor(std).reshape(1, -1, 1, 1)
        shift = ((0.5 - torch.tensor(mean).reshape(1, -1, 1, 1)) / scale * colour).sum(dim=(1, 2, 3))
        colour.mul_(0.5 / scale)
        if conv.bias is not None:
            conv.bias.add_(shift)
            return
        norms = (m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
        norm = next(norms, None)
        if norm is None or norm.num_features != conv.out_channels or norm.running_mean is None:
            raise ValueError("the first convolution has neither a bias nor a batch norm to take the shift")
        norm.running_mean.sub_(shift)


def torchvision_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename MobileNetV2 weights with flat blocks (``conv.3``) to torchvision's nested names (``conv.1.0``)."""
    flat = any(".conv.4." in key for key in state)
    if not flat:
        return dict(state)
    # an inverted residual without expansion (the first) is two convolutions long, the others three
    short = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}
    long = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}
    renamed = {}
    for key, value in state.items():
        head, conv, tail = key.partition(".conv.")
        if conv:
            index, _, leaf = tail.partition(".")
            table = short if head.endswith("features.1") else long
            key = f"{head}.conv.{table[index]}.{leaf}"
        renamed[key] = value
    return renamed


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or a ``torch.save`` file, without running code from it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or holds something other than named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise half a dozen unrelated types
        raise ValueError(f"{path} is not a readable checkpoint: {error}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} does not hold a state dict (names and tensors)")
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_backbone(
    path: str | Path,
    backbone: str | Backbone = "mobilenet_v2",
    *,
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    std: tuple[float, float, float] = (0.5, 0.5, 0.5),
) -> Backbone:
    """Read a backbone-only file into a backbone, strictly; pass the result to ``MODNet(backbone=...)``.

    Parameters
    ----------
    path
        A ``.safetensors`` file or a ``torch.save`` state dict: torchvision's names, with or without the
        classifier, or the flat names of ``mobilenetv2_human_seg.ckpt``.
    backbone
        A name for `create_backbone`, or a backbone to fill (one with more than three input channels keeps
        zero weights on the others).
    mean, std
        The normalisation that the weights expect, on values in [0, 1]. torchvision's ImageNet weights want
        `IMAGENET_MEAN` and `IMAGENET_STD`; the first convolution is rescaled to ours.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If names or shapes do not fit.
    """
    if isinstance(backbone, str):
        backbone = create_backbone(backbone)
    state = torchvision_names(read_state(path))
    if isinstance(backbone, TimmBackbone) and not any(k.startswith("features.") for k in state):
        state = {f"features.{key}": value for key, value in state.items()}
    dropped = ("classifier.", "fc.", "head.", "features.classifier.", "features.fc.", "features.head.")
    state = {key: value.float() for key, value in state.items() if not key.startswith(dropped)}
    _fill(backbone, state, str(path))
    if (tuple(mean), tuple(std)) != ((0.5,) * 3, (0.5,) * 3):
        rescale_first_convolution(backbone, mean, std)
    return backbone


def load_imagenet_backbone(in_channels: int = 3) -> Backbone:
    """MobileNetV2 with torchvision's ImageNet weights; the one call here that may download (14 MB, cached)."""
    from torchvision.models import MobileNet_V2_Weights

    state = MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    backbone = create_backbone("mobilenet_v2", in_channels)
    _fill(backbone, {k: v for k, v in state.items() if k.startswith("features.")}, "torchvision's weights")
    rescale_first_convolution(backbone, IMAGENET_MEAN, IMAGENET_STD)
    return backbone


def _fill(backbone: Backbone, state: dict[str, Tensor], source: str) -> None:
    """Load `state` strictly; three-channel weights fill the image channels of a wider first convolution."""
    name, conv = first_convolution(backbone)
    weight = state.get(f"{name}.weight")
    if weight is not None and weight.ndim == 4 and weight.shape[1] < conv.in_channels:
        widened = torch.zeros_like(conv.weight)
        widened[:, : weight.shape[1]] = weight
        state = {**state, f"{name}.weight": widened}
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{source} does not fit backbone {backbone.name!r}: {error}") from error
