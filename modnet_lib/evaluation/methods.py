"""Networks to measure, and those that need more than a picture: a trimap, a clean plate or neighbouring frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modnet_lib.baselines import Baseline, load_network, needs
from modnet_lib.data.trimaps import band_size, trimap_from_alpha
from modnet_lib.devices import Device, choose_device
from modnet_lib.evaluation.metrics import unit
from modnet_lib.images import read_out
from modnet_lib.inference.matter import SHORT_SIDE, Matter, enlarge, network_size, shrink
from modnet_lib.network import MODNet, Segmenter


def trimap_of(truth: np.ndarray) -> np.ndarray:
    """The trimap of a matte, (H, W) uint8 or in [0, 1], that methods are given: 30 pixels wide for a person of 512."""
    alpha = torch.from_numpy(unit(truth)).float()[None, None]
    return read_out(trimap_from_alpha(alpha, band_size(alpha))[0, 0])


class Method(NamedTuple):
    """A network of any method in evaluation mode behind one call; see `network_size` for `short_side` and `squash`."""

    network: MODNet | Segmenter | Baseline
    short_side: int = SHORT_SIDE
    squash: bool = False

    def labelled(self, image: np.ndarray, truth: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
        """The matte of a picture whose truth, (H, W) uint8 or in [0, 1], is known.

        What the network needs beside the picture is made from the truth: its trimap, and the picture itself as the
        frames before and after.
        """
        trimap = trimap_of(truth)
        given = {"background": background, "trimap": trimap, "clip": [(image, trimap)] * 2}
        return self.alpha(image, **{name: given[name] for name in needs(self.network)})

    @torch.inference_mode()
    def alpha(
        self,
        image: np.ndarray,
        trimap: np.ndarray | None = None,
        *,
        background: np.ndarray | None = None,
        clip: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    ) -> np.ndarray:
        """The matte of a picture, (H, W) float32 in [0, 1].

        The image and the background, the scene without the person, are (H, W, 3) uint8; the trimap is (H, W) of
        {0, 0.5, 1}; a clip is the frames before and after, each with its trimap. Raises `ValueError` if something that
        the network needs is missing or does not fit, or is of no use to it.
        """
        if self.network.training:
            raise ValueError("the network is in training mode, in which norms change; call its eval() first")
        height, width = shape = image.shape[:2]
        size = network_size(height, width, self.short_side, self.squash)
        given = {"image": shrink(image, *size)}
        if trimap is not None or "trimap" in needs(self.network):
            if trimap is None or trimap.shape != shape or not np.isin(trimap, (0, 0.5, 1)).all():
                found = None if trimap is None else (trimap.shape, np.unique(trimap)[:4])
                raise ValueError(f"this network needs a trimap of {{0, 0.5, 1}} and shape {shape}, got {found}")
            given["trimap"] = _nearest(trimap, size)
        if background is not None:
            given["background"] = shrink(background, *size)
        if clip:
            frames = [torch.cat((shrink(frame, *size), _nearest(one, size)), 1) for frame, one in clip]
            given["clip"] = torch.stack(frames, dim=1)
        device = next(self.network.parameters()).device
        output = self.network(**{name: tensor.to(device) for name, tensor in given.items()})
        return enlarge(output.alpha, shape)


def _nearest(trimap: np.ndarray, size: tuple[int, int]) -> Tensor:
    """A trimap (H, W) as (1, 1, h, w)."""
    return interpolate(torch.from_numpy(trimap).float()[None, None], size, mode="nearest-exact")


def open_model(path: Path, device: Device = None) -> Matter | Method | Path:
    """What a path names for `run_benchmark`: a folder of mattes, or a checkpoint of any method on a device."""
    if path.is_dir():
        return path
    network = load_network(path)
    if not needs(network):
        return Matter(network, backend="auto", device=device)
    return Method(network.to(choose_device(device)), int(network.metadata.get("short_side", SHORT_SIDE)))
