"""Training batches: a sample is a pure function of (seed, number), composed on the device.

Nothing here keeps a random state, so sample 17,000 is the same whether or not the first 16,999 were drawn:
that is what makes resuming exact.
"""

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from modnet_lib import paths
from modnet_lib.data import drawing, portraits, scenes
from modnet_lib.data.cameras import GOOD, camera_settings, through_camera
from modnet_lib.data.compositing import (
    Crop,
    Foreground,
    apply_colour,
    as_tensor,
    chain,
    colour_jitter,
    composite,
    composite_crop,
    harmony,
    natural_crop,
)
from modnet_lib.data.portraits import render_composite
from modnet_lib.data.pseudo_mattes import MattingSample, prepare, read_prepared, write_picture
from modnet_lib.data.scenes import render_background
from modnet_lib.data.sources import (
    Item,
    Split,
    background_files,
    ccp_items,
    find_items,
    find_source,
    read_item,
    training_sources,
)
from modnet_lib.data.trimaps import trimap_from_alpha
from modnet_lib.data.workers import worker_pool
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
    """Crops of one size and the numbers for what is still to be done to them."""

    image: Tensor  # (K, H, W, 3) uint8, the natural crops only
    cutout: Tensor  # (N, H, W, 4) uint8: F and alpha
    background: Tensor  # (N, H, W, 3) uint8
    natural: Tensor  # (N,) bool, true K times; never on a GPU
    colours: Tensor  # (N, 2, 3, 4): colour maps of F and of B
    harmony: Tensor  # (N,) how far F's colours move towards B's, in [0, 1]
    camera: Tensor  # (N, 5) settings of `modnet_lib.data.cameras`; never on a GPU
    band: Tensor  # (N,) side of the trimap's square, pixels; never on a GPU


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
    defocus
        Share of composites whose background is blurred.
    harmonise
        Share of composites in which the person's colours are moved towards the scene's; see `harmony`.
    camera
        Share of samples that went through a worse camera; see `modnet_lib.data.cameras`.
    memory
        GiB of decoded pictures that are kept (10 bytes a pixel of a photograph), over all workers; others are
        read again each time.
    device
        Where pictures are kept and cut. On a GPU the whole pipeline runs there, and workers are of no use.
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
        defocus: float = 0.35,
        harmonise: float = 0.0,
        camera: float = 0.0,
        memory: float = 0.0,
        device: torch.device | str = "cpu",
    ):
        if not foregrounds or (composites and not backgrounds):
            raise ValueError(f"got {len(foregrounds)} foregrounds and {len(backgrounds)} backgrounds")
        self.foregrounds, self.backgrounds = list(foregrounds), list(backgrounds)
        self.seed, self.natural, self.per_foreground = seed, natural, natural + composites
        self.empty, self.defocus, self.harmonise, self.camera = empty, defocus, harmonise, camera
        self.memory, self.device = memory * 2**30, torch.device(device)
        self.kept: dict[tuple[str, int], Any] = {}
        self.kept_bytes = 0

    def __len__(self) -> int:
        """Samples an epoch."""
        return len(self.foregrounds) * self.per_foreground

    def foreground(self, number: int) -> Foreground:
        """A foreground on the dataset's device, from memory if it is kept."""
        return self._keep(("F", number), lambda: Foreground.of(self.foregrounds[number](), self.device))

    def background(self, number: int) -> Tensor:
        """A background, (H, W, 3) uint8 on the dataset's device, from memory if it is kept."""
        return self._keep(("B", number), lambda: as_tensor(self.backgrounds[number](), self.device))

    def _keep(self, key: tuple[str, int], read: Callable[[], Any]) -> Any:
        if key in self.kept:
            return self.kept[key]
        value = read()
        size = sum(part.nbytes for part in (value[:3] if key[0] == "F" else (value,)))
        worker = torch.utils.data.get_worker_info()
        if self.kept_bytes + size <= self.memory / (worker.num_workers if worker else 1):
            self.kept[key], self.kept_bytes = value, self.kept_bytes + size
        return value

    def __getitem__(self, key: tuple[int, int]) -> tuple:
        """Sample number `key[0]` (counted over all epochs) at `key[1]` pixels a side."""
        number, size = key
        epoch, position = divmod(number, len(self))
        which, kind = divmod(int(_order(self.seed, epoch, len(self))[position]), self.per_foreground)
        rng = np.random.default_rng([self.seed, number, 1])
        foreground = self.foreground(which)
        natural, move = kind < self.natural, 0.0
        if natural:
            part = natural_crop(foreground, size, rng)
            # I, F and B of a photograph change together
            colours = np.stack([colour_jitter(rng, 0.6)] * 2)
        else:
            scene = self.background(int(rng.integers(len(self.backgrounds))))
            part = composite_crop(foreground, scene, size, rng, self.defocus)
            if rng.random() < self.empty:
                part = part._replace(cutout=F.pad(part.cutout[..., :3], (0, 1)), extent=0.0)
            # F and B were taken by two cameras, what comes out by a third
            own, both = np.stack([colour_jitter(rng, 0.8) for _ in range(2)]), colour_jitter(rng, 0.3)
            colours = chain(both, own)
            move = rng.uniform(0.3, 1) if rng.random() < self.harmonise else 0.0
        if rng.random() < 0.5:
            image, cutout, background = (None if x is None else x.flip(1) for x in part[:3])
            part = Crop(image, cutout, background, part.extent)  # type: ignore[arg-type]
        band = max(3, round(rng.uniform(20, 40) * (part.extent or size) / 512))
        # drawn last: without cameras, samples stay those of recipes that knew none
        camera = camera_settings(rng, size) if self.camera and rng.random() < self.camera else GOOD
        return (*part[:3], natural, colours, np.float32(move), camera, band)


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(length)


class StagedSampler:
    """Batches of (sample number, size), from a given step on; sizes and batch sizes change with the stages.

    Parameters
    ----------
    stages
        (image size, batch size, steps) one after another; the batch of a step is that of all processes together.
    start
        The first step to draw.
    pieces
        A step's batch comes in this many equal pieces, one after another (gradient accumulation).
    rank, processes
        Which part of each piece is this process's: every `processes`-th sample from `rank` on.

    Raises
    ------
    ValueError
        If a batch cannot be divided equally.
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int, int]],
        start: int = 0,
        *,
        pieces: int = 1,
        rank: int = 0,
        processes: int = 1,
    ):
        for _, batch, _ in stages:
            if batch % (pieces * processes):
                raise ValueError(
                    f"a batch of {batch} cannot be divided among {processes} processes in {pieces} pieces each"
                )
        self.stages, self.start, self.pieces = list(stages), start, pieces
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        """Pieces left."""
        return (sum(steps for _, _, steps in self.stages) - self.start) * self.pieces

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = number = 0
        for size, batch, steps in self.stages:
            for _ in range(steps):
                if step >= self.start:
                    whole = [(number + i, size) for i in range(batch)]
                    length = batch // self.pieces
                    for piece in range(self.pieces):
                        yield whole[piece * length + self.rank : (piece + 1) * length : self.processes]
                step, number = step + 1, number + batch


def collate(samples: list[tuple]) -> RawBatch:
    """Stack samples of one size."""
    image, cutout, background, *numbers = zip(*samples, strict=True)
    shots = [shot for shot in image if shot is not None]
    photographs = torch.stack(shots) if shots else cutout[0].new_empty((0, *background[0].shape))
    rest = (torch.from_numpy(np.stack(column)) for column in numbers)
    return RawBatch(photographs, torch.stack(cutout), torch.stack(background), *rest)


def assemble(raw: RawBatch, device: torch.device | str = "cpu") -> MattingBatch:
    """Colour, Eq. 1 and trimap of a batch, on the device."""
    image, cutout, background, _, colours, move, *_ = (part.to(device, non_blocking=True) for part in raw)
    foreground, alpha, background, image = (  # reordering bytes is cheaper than reordering floats
        part.permute(0, 3, 1, 2).contiguous().float().div_(255)
        for part in (cutout[..., :3], cutout[..., 3:], background, image)
    )
    if bool((raw.harmony > 0).any()):
        maps = chain(colours[:, 0], harmony(foreground, background, alpha, move))
    else:
        maps = colours[:, 0]
    foreground, background = apply_colour(foreground, maps), apply_colour(background, colours[:, 1])
    composed = composite(foreground, background, alpha)
    if len(image):
        where = raw.natural.nonzero()[:, 0].to(device)
        composed[where] = apply_colour(image, maps[where])
    trimap = torch.cat(
        [trimap_from_alpha(a, int(b)) for a, b in zip(alpha.split(1), raw.band.tolist(), strict=True)]
    )
    return MattingBatch(through_camera(composed, raw.camera), alpha, trimap, foreground, background)


def training_loader(
    dataset: CompositionDataset,
    stages: Sequence[tuple[int, int, int]],
    *,
    start: int = 0,
    workers: int = 0,
    pieces: int = 1,
    rank: int = 0,
    processes: int = 1,
) -> DataLoader:
    """A loader of `RawBatch`, from step `start` on; the order does not depend on the number of workers.

    A dataset on a GPU is read without workers. See `StagedSampler` for the other arguments.
    """
    workers = workers if dataset.device.type == "cpu" else 0
    return DataLoader(
        dataset,
        batch_sampler=StagedSampler(  # type: ignore[arg-type]
            stages, start, pieces=pieces, rank=rank, processes=processes
        ),
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available() and dataset.device.type == "cpu",
        # a loader draws a seed when it starts; from the global generator, a resumed run would draw one more
        generator=torch.Generator(),
    )


def portrait_folder() -> Path:
    """Where rendered portraits are kept: another folder for each state of the generator."""
    return paths.CACHE / "portraits" / _generator()


@functools.cache
def _generator() -> str:
    sources = [Path(inspect.getfile(module)).read_bytes() for module in (drawing, portraits, scenes)]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:8]


def read_portrait(seed: int, size: int) -> MattingSample:
    """A procedural portrait before its own procedural background, rendered once and kept."""
    folder = portrait_folder()
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


def portrait_readers(seeds: Sequence[int], size: int) -> dict[str, ForegroundReader]:
    """Name and reader of procedural portraits; many missing ones are rendered in parallel first."""
    missing = [seed for seed in seeds if not (portrait_folder() / f"{size}_{seed:06d}_alpha.png").is_file()]
    if len(missing) > 32:
        with worker_pool() as pool:
            list(tqdm(pool.map(partial(read_portrait, size=size), missing), "portraits", len(missing)))
    return {f"procedural {seed}": partial(read_portrait, seed, size) for seed in seeds}


def ccp_readers(root: Path, split: Split, count: int) -> dict[str, ForegroundReader]:
    """Id and reader of the first `count` photographs of a split, their pseudo-mattes made where missing.

    A photograph whose label is unusable is left out.
    """
    items, folder = ccp_items(root, split)[:count], paths.CACHE / "ccp"
    ready, _ = prepare(items, folder)
    return {item.id: partial(read_prepared, item, folder) for item in items if item.id in set(ready)}


def read_mask(item: Item) -> MattingSample:
    """A photograph with a mask (or a matte, cut at one half) as a sample without estimated colours."""
    parts = read_item(item)
    if "image" not in parts or not parts.keys() & {"mask", "alpha"}:
        raise ValueError(f"{item.id} is no photograph with a mask: it has {', '.join(parts) or 'nothing'}")
    mask = parts["mask"] if "mask" in parts else parts["alpha"] >= 128
    return MattingSample(parts["image"], mask.astype(np.uint8) * 255, parts["image"], parts["image"])


def mask_data(config: DataConfig, seed: int) -> CompositionDataset:
    """What the backbone is pre-trained on: crops of photographs with masks, one per photograph and epoch.

    Parameters
    ----------
    config
        `masks` names a data set of the manifest; its split ``train`` is read, or its first one. Without one,
        or with `real` unset or no ``MODNET_DATA``, drawn people are used.
    seed
        Decides the order.

    Raises
    ------
    FileNotFoundError, ValueError
        If the data set is not at hand or unknown.
    """
    if config.real and config.masks and paths.external_data() is not None:
        splits = find_source(config.masks).splits
        items = find_items(config.masks, split="train" if "train" in splits else next(iter(splits)))
        readers: list[ForegroundReader] = [partial(read_mask, item) for item in items]
    else:
        numbers = range(seed * 100_000, seed * 100_000 + config.portraits)
        readers = [*portrait_readers(numbers, config.portrait_size).values()]
    device = "cuda" if config.on_device and torch.cuda.is_available() else "cpu"
    return CompositionDataset(readers, [], seed, natural=1, composites=0, memory=config.memory, device=device)


def training_data(config: DataConfig, seed: int) -> CompositionDataset:
    """The training set that a profile asks for: procedural portraits, and CCP and backgrounds if at hand.

    Parameters
    ----------
    config
        What to use and how much of it.
    seed
        Decides which portraits, and the dataset's order.
    """
    numbers = range(seed * 100_000, seed * 100_000 + config.portraits)
    foregrounds: list[ForegroundReader] = [*portrait_readers(numbers, config.portrait_size).values()]
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
        defocus=config.defocus,
        harmonise=config.harmonise,
        camera=config.camera,
        memory=config.memory,
        device="cuda" if config.on_device and torch.cuda.is_available() else "cpu",
    )
