"""Matter: a picture of any kind and size in, its matte out."""

import copy
import os
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
from modnet_lib.inference.backends import Backend, make_backend
from modnet_lib.inference.edges import clean_foreground, compose, sharpen
from modnet_lib.inference.sizes import SHORT_SIDE, network_size, resize, shrink
from modnet_lib.network import MattingOutput, MODNet, Segmenter


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
        A trained MODNet, or another method of `modnet_lib.baselines`; it is moved to `device` and set to evaluation
        mode. A `Segmenter` will do for masks.
    short_side
        Length the picture's short side is brought to before the network sees it; ``None`` takes what the
        checkpoint names (the size it was trained up to), or else the authors' 512.
    device
        Where to compute; a GPU if there is one and nothing is given. Under ``torchrun`` and ``accelerate launch`` each
        process takes a GPU of its own, also of plain ``"cuda"``.
    squash
        Bring every picture to `short_side` x `short_side`, whatever its proportions, as many repositories do.
    backend
        How to run the network, see `modnet_lib.inference.backends.make_backend`. The default sees what training does to
        the network later; all others work on a copy.
    dtype
        ``torch.float32``, or half precision: ``torch.bfloat16``, ``torch.float16``.
    bucket
        Round the long side of the network's input to a multiple of this, itself a multiple of 32: with 128 there are a
        few sizes to compile for, and more pictures share a batch; proportions change by a few per cent.
    refine
        Let the picture guide the matte's enlargement, see `modnet_lib.inference.edges.sharpen`: for pictures much
        larger than `short_side`. Off, the matte is enlarged bilinearly, as the paper's protocol has it.

    Raises
    ------
    ValueError
        If `short_side` is smaller than 32, `bucket` is no multiple of it, or the backend does not fit.
    """

    def __init__(
        self,
        network: MODNet | Segmenter | Baseline,
        *,
        short_side: int | None = None,
        device: str | torch.device | None = None,
        squash: bool = False,
        backend: Backend = "eager",
        dtype: torch.dtype = torch.float32,
        bucket: int = 32,
        refine: bool = False,
    ):
        if short_side is None:
            short_side = int(network.metadata.get("short_side", SHORT_SIDE))
        if short_side < 32:
            raise ValueError(f"short_side must be at least 32 pixels, got {short_side}")
        if bucket < 32 or bucket % 32:
            raise ValueError(f"bucket must be a multiple of 32, got {bucket}")
        self.device = _choose(device)
        self.network = network.to(self.device).eval()
        self.short_side, self.squash, self.bucket = short_side, squash, bucket
        self.backend: Backend = backend
        self.dtype, self.refine = dtype, refine
        if isinstance(self.network, Baseline):
            if backend not in ("eager", "auto") or dtype != torch.float32:
                raise ValueError(
                    f"only MODNet runs on {backend} in {dtype}; other methods take eager, float32"
                )
        else:
            self._module, self._answer = make_backend(self.network, backend, self.device, dtype)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path = paths.PRETRAINED,
        *,
        short_side: int | None = None,
        device: str | torch.device | None = None,
        backend: Backend = "auto",
        dtype: torch.dtype = torch.float32,
        bucket: int = 32,
        refine: bool = False,
    ) -> "Matter":
        """Read a checkpoint: ours (by default the one that ships), of any method, or the authors' ``.ckpt``.

        Other arguments are those of the class; the backend is chosen if none is given.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged or is no MODNet, or an argument does not fit.
        """
        return cls(
            load_network(path),
            short_side=short_side,
            device=device,
            backend=backend,
            dtype=dtype,
            bucket=bucket,
            refine=refine,
        )

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

        Returns
        -------
        (H, W) float32 in [0, 1], the size of the upright picture.

        Raises
        ------
        ValueError
            If the trimap is missing or unexpected, or of another size or other values.
        """
        pixels = read_image(image)
        if isinstance(self.network, Baseline):
            return self._full_size(self._other(pixels, trimap, background, clip).alpha, pixels)
        if background is not None or clip is not None:
            raise ValueError("MODNet takes neither a background nor a clip")
        small = self._shrink(pixels)
        if trimap is None and not self.network.config["trimap_input"]:
            return self._full_size(self._mattes(small), pixels)
        return self._full_size(self._all(small, self._trimap(trimap, pixels, small)).alpha, pixels)

    def estimates(
        self, image: ImageLike, trimap: np.ndarray | None = None, *, background: ImageLike | None = None
    ) -> dict[str, np.ndarray]:
        """The mattes of all stages of another method by name, the last one as ``alpha``; arguments as for `alpha`."""
        if not isinstance(self.network, Baseline):
            return {"alpha": self.alpha(image, trimap)}
        pixels = read_image(image)
        output = self._other(pixels, trimap, background, None)
        found = {name: output.parts[name] for name in self.network.estimates} | {"alpha": output.alpha}
        return {name: self._full_size(matte, pixels) for name, matte in found.items()}

    def alphas(self, images: Sequence[ImageLike], batch_size: int = 8) -> list[np.ndarray]:
        """The mattes of several pictures; those that the network sees at the same size go through it together.

        Arguments and results as for `alpha`; at most `batch_size` at once. A network with ``trimap_input`` is refused.
        """
        if isinstance(self.network, Baseline):
            return [self.alpha(image) for image in images]
        if self.network.config["trimap_input"]:
            raise ValueError("this network needs a trimap: use alpha, picture by picture")
        pixels = [read_image(image) for image in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(pixels):
            groups.setdefault(self._size(picture), []).append(number)
        mattes: dict[int, np.ndarray] = {}
        for group in groups.values():
            for start in range(0, len(group), batch_size):
                numbers = group[start : start + batch_size]
                output = self._mattes(torch.cat([self._shrink(pixels[number]) for number in numbers]))
                for number, matte in zip(numbers, output, strict=True):
                    mattes[number] = self._full_size(matte[None], pixels[number])
        return [mattes[number] for number in range(len(pixels))]

    def resized(self, short_side: int, *, squash: bool = False) -> "Matter":
        """The same network at another input size."""
        result = copy.copy(self)
        result.short_side, result.squash = short_side, squash
        return result

    def predict(self, image: ImageLike) -> Prediction:
        """Semantic, detail and matte of a picture; argument as for `alpha`."""
        if isinstance(self.network, Baseline):
            raise ValueError("only MODNet answers semantic and detail; use `alpha`")
        pixels = read_image(image)
        small = self._shrink(pixels)
        output = self._all(small, self._trimap(None, pixels, small))
        assert output.semantic is not None
        assert output.detail is not None
        return Prediction(
            pixels,
            output.semantic[0, 0].float().cpu().numpy(),
            self._full_size(output.detail, pixels),
            self._full_size(output.alpha, pixels),
        )

    def cutout(self, image: ImageLike, *, clean: bool = True) -> Image.Image:
        """The person as a PIL RGBA picture of the same size, straight alpha.

        Parameters
        ----------
        image
            See `alpha`.
        clean
            Estimate the person's own colours where the background shows through. Otherwise the picture's colours stay,
            and a fringe of the old background with them.
        """
        pixels = read_image(image)
        alpha = self.alpha(pixels)
        colours = clean_foreground(pixels, alpha) if clean else pixels
        return Image.fromarray(np.dstack((colours, (alpha * 255).round().astype(np.uint8))))

    def composite(self, image: ImageLike, background: ImageLike) -> Image.Image:
        """The person before a colour, a picture, or the own background out of focus (``"blur"``); see `compose`."""
        pixels = read_image(image)
        alpha = self.alpha(pixels)
        return Image.fromarray(compose(clean_foreground(pixels, alpha), alpha, background, pixels))

    def _size(self, pixels: np.ndarray) -> tuple[int, int]:
        if self.squash:
            side = max(32, self.short_side // 32 * 32)
            return side, side
        return network_size(pixels.shape[0], pixels.shape[1], self.short_side, self.bucket)

    def _shrink(self, pixels: np.ndarray) -> Tensor:
        return shrink(pixels, *self._size(pixels)).to(self.device)

    @torch.inference_mode()
    def _mattes(self, small: Tensor) -> Tensor:
        return self._answer(small)

    @torch.inference_mode()
    def _all(self, small: Tensor, trimap: Tensor | None) -> MattingOutput:
        given = {} if trimap is None else {"trimap": trimap.to(self.dtype)}
        return self._module(small.to(self.dtype), auxiliary=True, **given)

    @torch.inference_mode()
    def _other(
        self,
        pixels: np.ndarray,
        trimap: np.ndarray | None,
        background: ImageLike | None,
        clip: Sequence[tuple[ImageLike, np.ndarray]] | None,
    ) -> BaselineOutput:
        """Another method's answer; it says itself what it misses."""
        small, given = self._shrink(pixels), dict[str, Tensor]()
        if trimap is not None:
            checked = self._trimap(trimap, pixels, small)
            assert checked is not None
            given["trimap"] = checked
        if background is not None:
            given["background"] = self._like(background, small)
        if clip is not None:
            frames = [torch.cat((self._like(frame, small), _nearest(map_, small)), 1) for frame, map_ in clip]
            given["clip"] = torch.stack(frames, dim=1)
        return self.network(small, **given)  # type: ignore[return-value]

    def _like(self, image: ImageLike, small: Tensor) -> Tensor:
        return resize(to_tensor(read_image(image)).to(small), *small.shape[-2:])

    def _trimap(self, trimap: np.ndarray | None, pixels: np.ndarray, small: Tensor) -> Tensor | None:
        """The trimap as the network wants it, or ``None`` if it wants none."""
        if not isinstance(self.network, Baseline) and not self.network.config["trimap_input"]:
            if trimap is not None:
                raise ValueError("this network was built without trimap_input, so it takes no trimap")
            return None
        shape = pixels.shape[:2]
        if trimap is None or trimap.shape != shape or not np.isin(trimap, (0, 0.5, 1)).all():
            raise ValueError(
                f"this network needs a trimap of {{0, 0.5, 1}} and shape {shape}, "
                f"got {None if trimap is None else (trimap.shape, np.unique(trimap)[:4])}"
            )
        return _nearest(trimap, small)

    @torch.inference_mode()
    def _full_size(self, matte: Tensor, pixels: np.ndarray) -> np.ndarray:
        full = resize(matte.float(), *pixels.shape[:2])[0, 0].clamp_(0, 1).cpu().numpy()
        return sharpen(full, pixels, pixels.shape[0] / matte.shape[-2]) if self.refine else full


def _choose(device: str | torch.device | None) -> torch.device:
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if chosen == torch.device("cuda") and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % max(torch.cuda.device_count(), 1))
    return chosen


def _nearest(trimap: np.ndarray, small: Tensor) -> Tensor:
    """A trimap (H, W) in the size, type and place of a tensor (1, C, h, w)."""
    return F.interpolate(
        torch.from_numpy(trimap).to(small)[None, None], small.shape[-2:], mode="nearest-exact"
    )
