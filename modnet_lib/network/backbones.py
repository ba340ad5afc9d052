"""Any CNN as a five-level feature pyramid at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from modnet_lib.files import kind_of

REDUCTIONS = (2, 4, 8, 16, 32)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation


class Backbone(nn.Module):
    """A feature pyramid; its input is normalised with mean = std = 0.5."""

    #: What `create_backbone` takes.
    name: str
    #: Of the five maps, from 1/2 to 1/32 of the input.
    channels: list[int]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (N, C, H, W) to five maps (N, channels[i], H / 2**(i+1), W / 2**(i+1))."""
        raise NotImplementedError


class MobileNetV2Backbone(Backbone):
    """torchvision's MobileNetV2 without its classifier (Sandler et al. 2018), the paper's S."""

    ends = (1, 3, 6, 13, 18)  # the last block of each resolution

    def __init__(self, in_channels: int = 3):
        super().__init__()
        from torchvision.models import mobilenet_v2

        self.name, self.channels = "mobilenet_v2", [16, 24, 32, 96, 1280]
        self.features = mobilenet_v2(weights=None).features
        if in_channels != 3:
            widen_first_convolution(self, in_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in self.ends:
                maps.append(x)
        return maps


class TimmBackbone(Backbone):
    """A timm model with ``features_only``; see `create_backbone`."""

    def __init__(self, name: str, in_channels: int = 3):
        super().__init__()
        import timm

        if ":" in name:  # timm reads "hf-hub:..." from the network
            raise ValueError(f"backbone {name!r}: a hub address would download; give a plain timm name")
        try:
            probe: Any = timm.create_model(name, pretrained=False, features_only=True, in_chans=in_channels)
        except (RuntimeError, AttributeError, TypeError, AssertionError, ValueError) as error:
            known = "neither 'mobilenet_v2' nor a timm model with features_only"
            raise ValueError(f"backbone {name!r}: {known} ({error})") from error
        # where two maps share a scale, the last one has seen more layers
        last = {scale: index for index, scale in enumerate(probe.feature_info.reduction())}
        if not set(REDUCTIONS) <= set(last):
            raise ValueError(f"backbone {name!r} has maps at 1/{[*last]}; MODNet needs all of 1/{[*REDUCTIONS]}")
        self.name, self.features, self.indices = name, probe, [last[scale] for scale in REDUCTIONS]
        self.channels = [probe.feature_info.channels()[i] for i in self.indices]

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.features(x)
        return [maps[i] for i in self.indices]


def create_backbone(name: str = "mobilenet_v2", in_channels: int = 3) -> Backbone:
    """Build an untrained backbone by name; nothing is downloaded.

    Parameters
    ----------
    name
        ``"mobilenet_v2"`` (torchvision) or the name of a timm model with maps at 1/2, 1/4, 1/8, 1/16 and 1/32; a
        ValueError for any other.
    in_channels
        3 for an image, 4 for an image and its trimap.
    """
    return MobileNetV2Backbone(in_channels) if name == "mobilenet_v2" else TimmBackbone(name, in_channels)


def widen_first_convolution(module: nn.Module, in_channels: int) -> None:
    """Give the first convolution more input channels, the new ones with zero weights.

    With zero weights a pre-trained backbone still computes what it did before it learns to use them.
    """
    conv = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
    # the module stays: timm's own kinds of convolution pad or standardise in their own ways
    weight = torch.zeros(conv.out_channels, in_channels, *conv.kernel_size)
    weight[:, : conv.in_channels] = conv.weight.detach()
    conv.weight, conv.in_channels = nn.Parameter(weight), in_channels


def torchvision_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename MobileNetV2 weights with flat blocks (``conv.3``) to torchvision's nested names (``conv.1.0``)."""
    if not any(".conv.4." in key for key in state):
        return state

    def nested(match: re.Match[str]) -> str:
        index = int(match[2])
        # convolutions with norm and activation, of three layers each; the last has no activation and is not nested
        last = 3 if match[1] == "1" else 6  # the first block does not expand
        place = f"{index // 3}.{index % 3}" if index < last else str(index - last + last // 3)
        return f"features.{match[1]}.conv.{place}."

    return {re.sub(r"features\.(\d+)\.conv\.(\d+)\.", nested, key): value for key, value in state.items()}


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or a ``torch.save`` file, without running code from it."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise half a dozen unrelated types
        # torch's own message advises to run code from the file
        found = kind_of(path) or f"damaged, or more than tensors ({type(error).__name__})"
        expected = "expected .safetensors or a state dict of torch.save"
        raise ValueError(f"{path} is not a readable checkpoint but {found}; {expected}") from error
    while isinstance(state, dict) and (inner := state.keys() & {"state_dict", "model", "network"}):
        state = state[inner.pop()]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} does not hold a state dict (names and tensors)")
    return {re.sub(r"^(module\.|_orig_mod\.)+", "", key): value for key, value in state.items()}


def fill(network: nn.Module, state: dict[str, Tensor], source: object, what: object) -> None:
    """Load `state` strictly, in float32; a ValueError names `source` and `what` it does not fit."""
    try:
        network.load_state_dict({key: value.float() for key, value in state.items()})
    except RuntimeError as error:
        raise ValueError(f"{source} does not fit {what}: {error}") from error


def load_backbone(path: str | Path, name: str = "mobilenet_v2") -> Backbone:
    """Read a backbone-only file, strictly; pass the result to ``MODNet(backbone=...)``.

    Parameters
    ----------
    path
        A ``.safetensors`` file or a ``torch.save`` state dict: torchvision's names, with or without the
        classifier, or the flat names of ``mobilenetv2_human_seg.ckpt``; a ValueError if names or shapes do not fit.
    name
        See `create_backbone`.
    """
    backbone, state = create_backbone(name), torchvision_names(read_state(path))
    if isinstance(backbone, TimmBackbone) and not any(key.startswith("features.") for key in state):
        state = {f"features.{key}": value for key, value in state.items()}
    head = re.compile(r"(features\.)?(classifier|fc|head)\.")
    fill(backbone, {k: v for k, v in state.items() if not head.match(k)}, path, f"backbone {name!r}")
    return backbone


def load_imagenet_backbone() -> Backbone:
    """MobileNetV2 with torchvision's ImageNet weights; the one call here that may download (14 MB, cached).

    They were trained on (x - mean) / std = z * 0.5 / std + (0.5 - mean) / std, with z our input. The factor goes into
    the first weights, the constant into the running mean of the batch norm behind them. Exact except in the first row
    and column, where the zeros of the padding mean mid-grey now.
    """
    from torchvision.models import MobileNet_V2_Weights

    backbone = MobileNetV2Backbone()
    state = MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    backbone.load_state_dict({k: v for k, v in state.items() if k.startswith("features.")})
    conv, norm, _ = backbone.features[0]  # type: ignore[misc]
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in IMAGENET)
    with torch.no_grad():
        norm.running_mean.sub_(((0.5 - mean) / std * conv.weight).sum(dim=(1, 2, 3)))
        conv.weight.mul_(0.5 / std)
    return backbone
