"""Matter: a picture of any kind and size in, its matte out."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modnet_lib import paths
from modnet_lib.baselines import Baseline, load_network, needs
from modnet_lib.devices import Device, choose_device, resize
from modnet_lib.images import ImageLike, read_image, read_out, to_tensor
from modnet_lib.inference.deploy import Backend, make_backend
from modnet_lib.inference.edges import drop_specks, render, sharpen
from modnet_lib.network import MODNet, Segmenter

SHORT_SIDE = 512  # the authors' protocol
MAX_PIXELS = 2_000_000  # of the network's input
BLOCK = 4_000_000  # pixels of a picture that are floating-point numbers at the same time


class Prediction(NamedTuple):
    """A picture and MODNet's three answers, float32 in [0, 1]."""

    image: np.ndarray  # as it was read, (H, W, 3) uint8, upright
    semantic: np.ndarray  # s_p, 1/16 of the network's input
    detail: np.ndarray  # d_p, (H, W)
    alpha: np.ndarray  # alpha_p, (H, W)


class Matter:
    """Cut people out of pictures: read, resize, network, resize back, sharpen.

    Parameters
    ----------
    network
        A trained network that needs nothing but the picture: MODNet, a method of `modnet_lib.baselines`, or a
        `Segmenter` for masks. It stays as it is; its weights are shared if they are on `device`, else copied.
    short_side
        What the network sees, pixels; by default what the checkpoint names (the size it was trained up to), or 512.
    device
        By default a GPU if there is one. Under ``torchrun`` and ``accelerate launch``, each process takes its own.
    backend, dtype
        See `modnet_lib.inference.deploy.make_backend`. ``"eager"`` follows a shared network that is trained further;
        all others work on a copy.
    refine
        Enlarge the matte with `modnet_lib.inference.edges.sharpen`, for pictures much larger than `short_side`;
        otherwise bilinearly, as in the paper's protocol.
    specks
        Clear parts of the matte that are smaller than this share of the picture; see `drop_specks`.
    """

    def __init__(
        self,
        network: MODNet | Segmenter | Baseline,
        *,
        short_side: int | None = None,
        device: Device = None,
        backend: Backend = "eager",
        dtype: torch.dtype = torch.float32,
        refine: bool = False,
        specks: float = 0.0,
    ):
        if needed := " and ".join(needs(network)):
            raise ValueError(f"this network needs {needed} beside the picture: use evaluation.methods.Method")
        self.short_side = short_side or int(network.metadata.get("short_side", SHORT_SIDE))
        if self.short_side < 32:
            raise ValueError(f"short_side must be at least 32 pixels, got {short_side}")
        self.device, self.squash = choose_device(device), False
        self.backend, self.dtype, self.refine, self.specks = backend, dtype, refine, specks
        if next(network.parameters()).device == self.device:
            # modules of our own, for evaluation mode, around the same weights
            network = copy.deepcopy(network, {id(one): one for one in (*network.parameters(), *network.buffers())})
        else:
            network = copy.deepcopy(network).to(self.device)
        self.network = network.eval()
        self._module, self._answer = make_backend(self.network, backend, self.device, dtype)

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None, **options: Any) -> "Matter":
        """Read a checkpoint: ours, of any method (by default the one that ships), or the authors' ``.ckpt``.

        `options` are the other arguments of the class; the default backend is ``"auto"``. Errors are those of
        `load_checkpoint`.
        """
        return cls(load_network(path or paths.PRETRAINED), **{"backend": "auto", **options})

    def resized(self, short_side: int, *, squash: bool = False) -> "Matter":
        """The same network at another input size; `squash` brings every picture to a square of that side."""
        result = copy.copy(self)
        result.short_side, result.squash = short_side, squash
        return result

    def alpha(self, image: ImageLike) -> np.ndarray:
        """The matte of a picture (see `read_image`), (H, W) float32 in [0, 1], the size of the upright picture."""
        return self.alphas([image])[0]

    @torch.inference_mode()
    def alphas(self, images: Sequence[ImageLike], batch_size: int = 8) -> list[np.ndarray]:
        """`alpha` of several pictures; those that the network sees at one size go through it `batch_size` at once."""
        pixels = [read_image(image) for image in images]
        sizes, mattes = [self._size(picture) for picture in pixels], dict[int, np.ndarray]()
        for size in dict.fromkeys(sizes):
            group = [number for number, other in enumerate(sizes) if other == size]
            for start in range(0, len(group), batch_size):
                numbers = group[start : start + batch_size]
                batch = torch.cat([shrink(pixels[number], *size) for number in numbers]).to(self.device)
                for number, matte in zip(numbers, self._answer(batch), strict=True):
                    mattes[number] = self._enlarge(matte[None], pixels[number])
        return [mattes[number] for number in range(len(pixels))]

    @torch.inference_mode()
    def predict(self, image: ImageLike) -> Prediction:
        """Semantic, detail and matte of a picture; a ValueError if the network is not a MODNet."""
        if not isinstance(self.network, MODNet):
            raise ValueError("only MODNet answers semantic and detail; use `alpha`")
        pixels = read_image(image)
        small = shrink(pixels, *self._size(pixels)).to(self.device, self.dtype)
        semantic, *large = self._module(small, auxiliary=True)
        coarse = read_out(semantic[0, 0].float())
        return Prediction(pixels, coarse, *(self._enlarge(answer, pixels) for answer in large))

    def cutout(self, image: ImageLike) -> Image.Image:
        """The person as a PIL RGBA picture of the same size: straight alpha, colours by `clean_foreground`."""
        return self.composite(image, "transparent")

    def composite(self, image: ImageLike, background: ImageLike) -> Image.Image:
        """The person in front of a colour, a picture, or its own blurred background (``"blur"``); see `compose`."""
        pixels = read_image(image)
        return Image.fromarray(render(pixels, self.alpha(pixels), background)[0])

    def _size(self, pixels: np.ndarray) -> tuple[int, int]:
        return network_size(pixels.shape[0], pixels.shape[1], self.short_side, self.squash)

    def _enlarge(self, matte: Tensor, pixels: np.ndarray) -> np.ndarray:
        full = enlarge(matte, pixels.shape[:2])
        if self.refine:
            full = sharpen(full, pixels, pixels.shape[0] / matte.shape[-2])
        return drop_specks(full, self.specks) if self.specks else full


def network_size(height: int, width: int, short_side: int = SHORT_SIDE, squash: bool = False) -> tuple[int, int]:
    """The network's input for a picture: short side to `short_side`, floor to multiples of 32, at most 2 MP.

    Very long pictures lose proportion: each side is at least 32. With `squash`, both sides become `short_side`.
    """
    if squash:
        side = max(32, short_side // 32 * 32)
        return side, side
    scale = min(short_side / min(height, width), math.sqrt(MAX_PIXELS / (height * width)))
    height, width = (max(32, int(side * scale + 1e-6) // 32 * 32) for side in (height, width))
    # a side that was raised to 32 can break the cap again
    longest = MAX_PIXELS // 32 // 32 * 32
    return min(height, longest), min(width, longest)


def shrink(pixels: np.ndarray, height: int, width: int) -> Tensor:
    """A picture (H, W, 3) uint8 as (1, 3, height, width) in [0, 1]; like `resize`, but in bounded memory."""
    # one axis is filtered after the other, so rows can be narrowed block by block
    rows = max(1, BLOCK // pixels.shape[1])
    blocks = [pixels[top : top + rows] for top in range(0, pixels.shape[0], rows)]
    if len(blocks) == 1:
        return resize(to_tensor(pixels), height, width)
    return resize(torch.cat([resize(to_tensor(b), b.shape[0], width) for b in blocks], dim=2), height, width)


def enlarge(matte: Tensor, shape: Sequence[int]) -> np.ndarray:
    """A matte (1, 1, h, w) of any device and type as (H, W) float32 in [0, 1]."""
    return read_out(resize(matte.float(), *shape)[0, 0].clamp_(0, 1))
