"""Unlabelled frames: finding them, storing them at the network's size, reading them, and a network's view of them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modnet_lib.data.manifest import background_files, find_items, sources
from modnet_lib.devices import resize
from modnet_lib.files import atomic_folder
from modnet_lib.images import ImageLike, read_image, read_out, to_tensor
from modnet_lib.inference.matter import network_size
from modnet_lib.inference.media import Clip
from modnet_lib.network import MODNet
from modnet_lib.objectives.consistency import disagreement
from modnet_lib.provenance import file_contents, fingerprint

COLLAPSE = 0.8  # a share of the person (or of the background) that is gone


def find_frames(source: str | Path, folder: str | Path, side: int, count: int | None = None) -> list[Path]:
    """The pictures of a video, of a folder, or of a data set (``NAME:SPLIT``); `count` of them, evenly spaced.

    A video's frames are stored once, in a folder of their own below `folder`, for a network whose input has the short
    side `side`: reading them in any order is cheap then.

    Raises `FileNotFoundError` or `ValueError` if there is nothing, no picture in it, or no frame of a video that can be
    read. Of a damaged one, the whole frames are used, with a warning.
    """
    source = Path(source)
    name, _, split = str(source).partition(":")
    if source.is_file():
        place = Path(folder) / fingerprint([str(source.resolve()), source.stat().st_size, side])
        if not place.is_dir():
            with atomic_folder(place) as new:
                _write_frames(source, side, new)
        source = place
    if source.is_dir():
        files = background_files(source)
    elif name in sources():
        files = [file for item in find_items(name, split=split or None) if (file := item.files.get("image"))]
        if not files:
            raise FileNotFoundError(f"{source} has no photographs")
    else:
        raise FileNotFoundError(f"{source} is no video, no folder and no data set (NAME:SPLIT)")
    return [files[k] for k in spread(len(files), len(files) if count is None else count)]


def _write_frames(video: Path, side: int, place: Path) -> None:
    clip = Clip(video)
    for number, frame in enumerate(clip):
        height, width = network_size(frame.image.shape[0], frame.image.shape[1], side)
        small = Image.fromarray(frame.image).resize((width, height), Image.Resampling.BILINEAR)
        small.save(place / f"{number:06d}.jpg", quality=95, subsampling=0)
    for problem in clip.damage:
        warnings.warn(f"{video}: {problem}", stacklevel=3)


def spread(length: int, count: int) -> list[int]:
    """At most `count` places below `length`, evenly spaced."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()


@dataclass(frozen=True)
class Frames:
    """Frames (paths, PIL images or arrays), each read as (1, 3, H, W) at the size that the network sees."""

    pictures: Sequence[ImageLike]
    side: int

    def __getitem__(self, number: int) -> Tensor:
        tensor = to_tensor(read_image(self.pictures[number]))
        return resize(tensor, *network_size(tensor.shape[2], tensor.shape[3], self.side))

    def identity(self) -> dict[str, Any]:
        """Name and checksum of each file, a hash of each other picture."""
        return {
            str(number): file_contents([Path(one)], Path(one).parent)
            if isinstance(one, (str, Path))
            else fingerprint(read_image(one))
            for number, one in enumerate(self.pictures)
        }


def by_size(frames: Sequence[Tensor]) -> list[Tensor]:
    """A batch, (n, 3, H, W) for each size of frame."""
    sizes: dict[torch.Size, list[Tensor]] = {}
    for frame in frames:
        sizes.setdefault(frame.shape, []).append(frame)
    return [torch.cat(group) for group in sizes.values()]


@torch.no_grad()
def watch(network: MODNet, images: Sequence[Tensor], before: Sequence[Tensor] | None = None) -> dict[str, float]:
    """What can be said without labels of a network in evaluation mode, on frames of (1, 3, H, W).

    Means over the frames: ``disagreement``, |G(alpha~) - s~|; ``flip``, |alpha~ - alpha~ of the mirrored frame|;
    ``person``, alpha~; and if `before` has their alpha~ at the start, ``drift``, |alpha~ - before|, and
    ``person_before``.
    """
    rows = []
    for image, old in zip(images, before or [None] * len(images), strict=True):
        semantic, _, alpha = network(image, auxiliary=True)
        mirrored = network(image.flip(3), auxiliary=False).alpha.flip(3)
        old = alpha if old is None else old
        parts = (disagreement(semantic, alpha), (alpha - mirrored).abs(), alpha, (alpha - old).abs(), old)
        rows.append(torch.stack([part.mean() for part in parts]))
    names = ("disagreement", "flip", "person", "drift", "person_before")
    return dict(zip(names, read_out(torch.stack(rows).mean(dim=0)).tolist(), strict=True))


def has_collapsed(person: float, before: float) -> bool:
    """Whether most of what was the person, or of what was background, is gone (mean alphas in [0, 1])."""
    lost, gained = before - person, person - before
    return (lost > COLLAPSE * before and before > 0.02) or (gained > COLLAPSE * (1 - before) and before < 0.98)
