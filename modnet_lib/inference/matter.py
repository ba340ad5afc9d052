"""Matter: a picture of any kind and size in, its matte out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from modnet_lib import paths
from modnet_lib.baselines import Baseline, BaselineOutput, load_network
from modnet_lib.images import ImageLike, read_image, to_tensor
from modnet_lib.network import MattingOutput, MODNet, Segmenter

SHORT_SIDE = 512  # the authors' protocol
MAX_PIXELS = 2_000_000  # of the network's input


class Prediction(NamedTuple):
    """The three answers of MODNet for one picture, as arrays.

    Attributes
    ----------
    image
        The picture as it was read, (H, W, 3) uint8, upright.
    semantic
        s_p, float32 in [0, 1], 1/16 of the network's input.
    detail
        d_p, (H, W) float32 in [0, 1].
    alpha
        alpha_p, (H, W) float32 in [0, 1].
    """

    image: np.ndarray
    semantic: np.ndarray
    detail: np.ndarray
    alpha: np.ndarray


class Matter:
    """Cut people out of pictures.

    Parameters
    ----------
    network
        A trained MODNet or another method; it is moved to `device` and set to evaluation mode. A `Segmenter` will
        do for masks.
    short_side
        Length the picture's short side is brought to before the network sees it; ``None`` takes what the
        checkpoint names (the size it was trained up to), or else the authors' 512.
    device
        Where to compute; a GPU if there is one and nothing is given.

    squash
        Bring every picture to `short_side` x `short_side`, whatever its proportions, as many repositories do.

    Raises
    ------
    ValueError
        If `short_side` is smaller than 32.
    """

    def __init__(
        self,
        network: MODNet | Segmenter | Baseline,
        *,
        short_side: int | None = None,
        device: str | torch.device | None = None,
        squash: bool = False,
    ):
        if short_side is None:
            short_side = int(network.metadata.get("short_side", SHORT_SIDE))
        if short_side < 32:
            raise ValueError(f"short_side must be at least 32 pixels, got {short_side}")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).eval()
        self.short_side = short_side
        self.squash = squash

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path = paths.PRETRAINED,
        *,
        short_side: int | None = None,
        device: str | torch.device | None = None,
    ) -> "Matter":
        """Read a checkpoint: ours (by default the one that ships), of any method, or the authors' ``.ckpt``.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged or is no MODNet.
        """
        return cls(load_network(path), short_side=short_side, device=device)

    def alpha(
        self,
        image: ImageLike,
        trimap: np.ndarray | None = None,
        *,
        background: ImageLike | None = None,
        clip: Sequence[tuple[ImageLike, np.ndarray]] | None = None,
    ) -> np.ndarray:
        """The matte of a picture.

        Parameters
        ----------
        image
            Path, PIL image or array; see `modnet_lib.images.read_image`.
        trimap
            For a network with ``trimap_input``: (H, W) of {0, 0.5, 1}, the size of the upright picture.
        background
            For background matting: the same view without the person.
        clip
            For video matting: the frames before and after, and their trimaps.

        Returns
        -------
        (H, W) float32 in [0, 1], the size of the upright picture.

        Raises
        ------
        ValueError
            If the trimap is missing or unexpected, or of another size or other values.
        """
        pixels = read_image(image)
        output = self._forward([pixels], auxiliary=False, trimap=trimap, background=background, clip=clip)
        return self._full_size(output.alpha, pixels)

    def estimates(
        self, image: ImageLike, trimap: np.ndarray | None = None, *, background: ImageLike | None = None
    ) -> dict[str, np.ndarray]:
        """The mattes of all stages of another method by name, the last one as ``alpha``; arguments as for `alpha`."""
        pixels = read_image(image)
        output = self._forward([pixels], auxiliary=False, trimap=trimap, background=background)
        found = {"alpha": output.alpha}
        if isinstance(self.network, Baseline) and isinstance(output, BaselineOutput):
            found = {name: output.parts[name] for name in self.network.estimates} | found
        return {name: self._full_size(matte, pixels) for name, matte in found.items()}

    def alphas(self, images: Sequence[ImageLike]) -> list[np.ndarray]:
        """The mattes of several pictures; those of the same size go through the network together.

        Arguments and results as for `alpha`; a network with ``trimap_input`` is refused.
        """
        pixels = [read_image(image) for image in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(pixels):
            groups.setdefault(picture.shape, []).append(number)
        mattes: dict[int, np.ndarray] = {}
        for numbers in groups.values():
            output = self._forward([pixels[number] for number in numbers], auxiliary=False).alpha
            for number, matte in zip(numbers, output, strict=True):
                mattes[number] = self._full_size(matte[None], pixels[number])
        return [mattes[number] for number in range(len(pixels))]

    def resized(self, short_side: int, *, squash: bool = False) -> "Matter":
        """The same network at another input size."""
        return Matter(self.network, short_side=short_side, device=self.device, squash=squash)

    def predict(self, image: ImageLike) -> Prediction:
        """Semantic, detail and matte of a picture; argument as for `alpha`."""
        pixels = read_image(image)
        output = self._forward([pixels], auxiliary=True)
        if output.semantic is None or output.detail is None:
            raise ValueError("only MODNet answers semantic and detail; use `alpha`")
        return Prediction(
            pixels,
            output.semantic[0, 0].float().cpu().numpy(),
            self._full_size(output.detail, pixels),
            self._full_size(output.alpha, pixels),
        )

    def cutout(self, image: ImageLike) -> Image.Image:
        """The person as a PIL RGBA picture of the same size, straight alpha, the picture's own colours."""
        pixels = read_image(image)
        alpha = (self.alpha(pixels) * 255).round().astype(np.uint8)
        return Image.fromarray(np.dstack((pixels, alpha)))

    @torch.inference_mode()
    def _forward(
        self,
        pictures: Sequence[np.ndarray],
        auxiliary: bool,
        trimap: np.ndarray | None = None,
        background: ImageLike | None = None,
        clip: Sequence[tuple[ImageLike, np.ndarray]] | None = None,
    ) -> MattingOutput | BaselineOutput:
        """Pictures of one size; anything else only with a single one."""
        shape = pictures[0].shape[:2]
        height, width = network_size(shape[0], shape[1], self.short_side)
        if self.squash:
            height = width = max(32, self.short_side // 32 * 32)
        tensor = torch.cat([to_tensor(pixels) for pixels in pictures]).to(self.device)
        tensor = resize(tensor, height, width)
        given: dict[str, Tensor] = {}
        if background is not None:
            given["background"] = resize(to_tensor(read_image(background)).to(tensor), height, width)
        if clip is not None:
            frames = [
                torch.cat(
                    (resize(to_tensor(read_image(frame)).to(tensor), height, width), _small(map_, tensor)), 1
                )
                for frame, map_ in clip
            ]
            given["clip"] = torch.stack(frames, dim=1)
        other = isinstance(self.network, Baseline)
        if trimap is None and other:  # says itself what it misses
            return self.network(tensor, **given)
        if not other and not self.network.config["trimap_input"]:
            if trimap is not None:
                raise ValueError("this network was built without trimap_input, so it takes no trimap")
            return self.network(tensor, auxiliary=auxiliary)
        if trimap is None or trimap.shape != shape or not np.isin(trimap, (0, 0.5, 1)).all():
            raise ValueError(
                f"this network needs a trimap of {{0, 0.5, 1}} and shape {shape}, "
                f"got {None if trimap is None else (trimap.shape, np.unique(trimap)[:4])}"
            )
        given["trimap"] = _small(trimap, tensor)
        return self.network(tensor, **given, **({} if other else {"auxiliary": auxiliary}))

    @staticmethod
    def _full_size(matte: Tensor, pixels: np.ndarray) -> np.ndarray:
        return resize(matte.float(), *pixels.shape[:2])[0, 0].clamp(0, 1).cpu().numpy()


def _small(trimap: np.ndarray, tensor: Tensor) -> Tensor:
    """A trimap (H, W) in the size, type and place of a tensor (1, C, h, w)."""
    small = torch.from_numpy(trimap).to(tensor)[None, None]
    return F.interpolate(small, tensor.shape[-2:], mode="nearest-exact")


def network_size(height: int, width: int, short_side: int = SHORT_SIDE) -> tuple[int, int]:
    """The network's input for a picture: short side to `short_side`, floor to multiples of 32, at most 2 MP.

    Very long pictures lose proportion rather than being refused: each side is at least 32.
    """
    scale = short_side / min(height, width)
    scale = min(scale, math.sqrt(MAX_PIXELS / (height * width)))
    height, width = (max(32, int(side * scale + 1e-6) // 32 * 32) for side in (height, width))
    # a side that was raised to 32 can break the cap again
    longest = MAX_PIXELS // 32 // 32 * 32
    return min(height, longest), min(width, longest)


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, with antialiasing when it shrinks; (N, C, H, W) in and out."""
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)
