"""M = (S, D, F): the network, its checkpoints and its cost."""

from modnet_lib.network.backbones import Backbone, create_backbone, load_backbone, load_imagenet_backbone
from modnet_lib.network.checkpoints import load_checkpoint, save_checkpoint
from modnet_lib.network.layers import ASPP, ConvBlock, EfficientASPP, concat
from modnet_lib.network.modnet import MattingOutput, MODNet
from modnet_lib.network.segmenter import Segmenter

__all__ = [
    "ASPP", "Backbone", "ConvBlock", "EfficientASPP", "MODNet", "MattingOutput", "Segmenter", "concat",
    "create_backbone", "load_backbone", "load_checkpoint", "load_imagenet_backbone", "save_checkpoint",
]  # fmt: skip
