"""Training batches: a sample is a pure function of (seed, number), composed on the device.

Nothing here keeps a random state, so sample 17,000 is the same whether or not the first 16,999 were drawn:
that is what makes resuming exact.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from modnet_lib import paths
from modnet_lib.data.compositing import (
    apply_colour,
    colour_jitter,
    composite,
    composite_crop,
    natural_crop,
)
from modnet_lib.data.portraits import render_composite
from modnet_lib.data.pseudo_mattes import MattingSample, prepare_ccp, read_prepared, write_picture
from modnet_lib.data.scenes import render_background
from modnet_lib.data.sources import Split, background_files, ccp_items, training_sources
from modnet_lib.data.trimaps import trimap_from_alpha
from modnet_lib.images import read_image
from modnet_lib.profiles import DataConfig

ForegroundReader = Callable[[], MattingSample]
BackgroundReader = Callable[[], np.ndarray]


class MattingBatch(NamedTuple):
    """Everything the objectives need, float32 on one device.

    Attributes
    ----------
    image, foreground, background
        I, F, B of Eq. 1, (N, 3, H, W) in [0, 1].
    true_alpha
        (N, 1, H, W) in [0, 1].
    trimap
        (N, 1, H, W) of {0, 0.5, 1}.
    """

    image: Tensor
    true_alpha: Tensor
    trimap: Tensor
    foreground: Tensor
    background: Tensor


class RawBatch(NamedTuple):
    """What the workers hand over: bytes and the parameters of what the device still has to do."""

    image: Tensor  # (N, H, W, 3) uint8, zero where it has to be composed
    alpha: Tensor  # (N, H, W) uint8
    foreground: Tensor  # (N, H, W, 3) uint8
    background: Tensor  # (N, H, W, 3) uint8
    natural: Tensor  # (N,) bool
    colours: Tensor  # (N, 3, 3, 4): colour maps of F, of B, and of the whole
    band: Tensor  # (N,) side of the trimap's square, pixels


class CompositionDataset(Dataset):
    """The paper's recipe: per foreground 5 natural crops and 10 composites an epoch, in shuffled order.

    Parameters
    ----------
    foregrounds, backgrounds
        Functions that read one picture each.
    seed
        Decides everything.
    natural, composites
        Samples of either kind per foreground and epoch.
    empty
        Share of composites without a person, so that the network learns to answer "nobody".
    textiles
        Share of composites with flags or curtains behind the person.
    caps
        Share of composites in which a standing person wears a drawn cap.
    in_memory
        Keep every picture once it is decoded (about 5 MB a photograph of Clothing-Co-Parsing).
    """

    def __init__(
        self,
        foregrounds: Sequence[ForegroundReader],
        backgrounds: Sequence[BackgroundReader],
        seed: int,
        *,
        natural: int = 5,
        composites: int = 10,
        empty: float = 0.02,
        textiles: float = 0.0,
        caps: float = 0.0,
        in_memory: bool = False,
    ):
        if not foregrounds or not backgrounds:
            raise ValueError(f"got {len(foregrounds)} foregrounds and {len(backgrounds)} backgrounds")
        keep = functools.cache if in_memory else lambda reader: reader
        self.foregrounds = [keep(reader) for reader in foregrounds]
        self.backgrounds = [keep(reader) for reader in backgrounds]
        self.seed, self.natural, self.per_foreground = seed, natural, natural + composites
        self.empty, self.textiles, self.caps = empty, textiles, caps

    def __len__(self) -> int:
        """Samples an epoch."""
        return len(self.foregrounds) * self.per_foreground

    def __getitem__(self, key: tuple[int, int]) -> tuple:
        """Sample number `key[0]` (counted over all epochs) at `key[1]` pixels a side."""
        number, size = key
        epoch, position = divmod(number, len(self))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self))
        which, kind = divmod(int(order[position]), self.per_foreground)
        rng = np.random.default_rng([self.seed, number, 1])
        sample = self.foregrounds[which]()
        natural = kind < self.natural
        if natural:
            parts = natural_crop(sample, size, rng)
        else:
            scene = self.backgrounds[rng.integers(len(self.backgrounds))]()
            parts = composite_crop(sample, scene, size, rng, textiles=self.textiles, caps=self.caps)
            if rng.random() < self.empty:
                parts = parts._replace(alpha=np.zeros_like(parts.alpha))
        if rng.random() < 0.5:
            parts = MattingSample(*(np.ascontiguousarray(part[:, ::-1]) for part in parts))
        own = [colour_jitter(rng, 0.0 if natural else 0.8) for _ in range(2)]
        colours = np.stack([*own, colour_jitter(rng, 0.6 if natural else 0.3)])
        rows = np.flatnonzero(parts.alpha.max(axis=1) > 127)
        extent = len(rows) and int(rows[-1] - rows[0]) + 1
        band = max(3, round(rng.uniform(20, 40) * (extent or size) / 512))
        return (*parts, natural, colours, band)


class StagedSampler:
    """Batches of (sample number, size), from a given step on; sizes and batch sizes change with the stages.

    Parameters
    ----------
    stages
        (image size, batch size, steps) one after another.
    start
        The first step to draw.
    """

    def __init__(self, stages: Sequence[tuple[int, int, int]], start: int = 0):
        self.stages, self.start = list(stages), start

    def __len__(self) -> int:
        """Steps left."""
        return sum(steps for _, _, steps in self.stages) - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = number = 0
        for size, batch, steps in self.stages:
            for _ in range(steps):
                if step >= self.start:
                    yield [(number + i, size) for i in range(batch)]
                step, number = step + 1, number + batch


def collate(samples: list[tuple]) -> RawBatch:
    """Stack samples of one size."""
    columns = list(zip(*samples, strict=True))
    return RawBatch(*(torch.from_numpy(np.stack([np.asarray(x) for x in column])) for column in columns))


def assemble(raw: RawBatch, device: torch.device | str = "cpu") -> MattingBatch:
    """Colour, Eq. 1 and trimap of a batch, on the device."""
    raw = RawBatch(*(part.to(device, non_blocking=True) for part in raw))

    def unit(pixels: Tensor) -> Tensor:
        return pixels.permute(0, 3, 1, 2).float().div(255)

    alpha = raw.alpha[:, None].float().div(255)
    foreground = apply_colour(unit(raw.foreground), raw.colours[:, 0])
    background = apply_colour(unit(raw.background), raw.colours[:, 1])
    composed = composite(foreground, background, alpha)
    image = torch.where(raw.natural[:, None, None, None], unit(raw.image), composed)
    image, foreground, background = (
        apply_colour(part, raw.colours[:, 2]) for part in (image, foreground, background)
    )
    trimap = torch.empty_like(alpha)
    for band in raw.band.unique().tolist():
        chosen = raw.band == band
        trimap[chosen] = trimap_from_alpha(alpha[chosen], int(band))
    return MattingBatch(image, alpha, trimap, foreground, background)


def training_loader(
    dataset: CompositionDataset,
    stages: Sequence[tuple[int, int, int]],
    *,
    start: int = 0,
    workers: int = 0,
) -> DataLoader:
    """A loader of `RawBatch`, from step `start` on; the order does not depend on the number of workers."""
    return DataLoader(
        dataset,
        batch_sampler=StagedSampler(stages, start),  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        # a loader draws a seed when it starts; from the global generator, a resumed run would draw one more
        generator=torch.Generator(),
    )


def read_portrait(seed: int, size: int, folder: Path) -> MattingSample:
    """A procedural portrait before its own procedural background, rendered once and kept in `folder`."""
    names = [
        folder / f"{size}_{seed:06d}_{part}" for part in ("alpha.png", "foreground.jpg", "background.jpg")
    ]
    if not names[0].is_file():
        _, _, portrait, background = render_composite(seed, size)
        folder.mkdir(parents=True, exist_ok=True)
        write_picture(names[1], portrait.foreground)
        write_picture(names[2], background)
        write_picture(names[0], (portrait.alpha * 255).round().astype(np.uint8))
    alpha, foreground, background = (read_image(name) for name in names)
    weight = alpha[..., :1] / 255.0
    image = (foreground * weight + background * (1 - weight)).round().astype(np.uint8)
    return MattingSample(image, alpha[..., 0], foreground, background)


def ccp_readers(root: Path, split: Split, count: int) -> dict[str, ForegroundReader]:
    """Id and reader of the first `count` photographs of a split, their pseudo-mattes made where missing.

    A photograph whose label is unusable is left out.
    """
    items, folder = ccp_items(root, split)[:count], paths.CACHE / "ccp"
    ready, _ = prepare_ccp(items, folder)
    return {item.id: partial(read_prepared, item, folder) for item in items if item.id in set(ready)}


def training_data(config: DataConfig, seed: int) -> CompositionDataset:
    """The training set that a profile asks for: procedural portraits, and CCP and backgrounds if at hand.

    Parameters
    ----------
    config
        What to use and how much of it.
    seed
        Decides which portraits, and the dataset's order.
    """
    folder = paths.CACHE / "portraits"
    foregrounds: list[ForegroundReader] = [
        partial(read_portrait, seed * 100_000 + i, config.portrait_size, folder)
        for i in range(config.portraits)
    ]
    backgrounds: list[BackgroundReader] = [
        partial(render_background, seed * 100_000 + i, config.portrait_size) for i in range(config.scenes)
    ]
    sources = training_sources() if config.real else {}
    if "ccp" in sources:
        foregrounds += ccp_readers(sources["ccp"], "train", config.photographs).values()
    if "backgrounds" in sources:
        backgrounds += [partial(read_image, file) for file in background_files(sources["backgrounds"])]
    return CompositionDataset(
        foregrounds,
        backgrounds,
        seed,
        natural=config.natural,
        composites=config.composites,
        textiles=config.textiles,
        caps=config.caps,
        in_memory=config.in_memory,
    )
