"""Training samples: each is a pure function of (seed, number).

No random state is kept, so sample 17,000 is the same whether or not the first 16,999 were drawn. Resuming is therefore
exact.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from modnet_lib import paths
from modnet_lib.data import compositing
from modnet_lib.data.assemble import GOOD, camera_settings
from modnet_lib.data.compositing import Foreground, chain, colour_jitter
from modnet_lib.data.hard_cases import add_distractors, change_person
from modnet_lib.profiles import DataConfig
from modnet_lib.provenance import code_version


class Contents(NamedTuple):
    """What a data set or folder contributes to training."""

    name: str  # as in the profile
    split: str
    readers: Sequence[Callable[[], Any]]  # one for each picture
    files: dict[str, Any]  # name, size and checksum of what they read
    left_out: dict[str, str]  # the reason for every picture that is not used

    def __str__(self) -> str:
        head = f"{self.name}:{self.split}" if self.split else self.name
        lines = [f"{head}: {len(self.readers):,} pictures, {len(self.left_out):,} left out"]
        return "\n".join([*lines, *(f"  {key}: {reason}" for key, reason in self.left_out.items())])


class CompositionDataset(Dataset):
    """The paper's recipe: per foreground 5 natural crops and 10 composites an epoch, in shuffled order.

    Foregrounds and backgrounds are `Contents`, or functions that each read one picture. `config` has proportions and
    augmentation; `seed` decides everything else.
    """

    def __init__(
        self, foregrounds: Sequence[Any], backgrounds: Sequence[Any], seed: int, config: DataConfig | None = None
    ):
        self.config, self.seed = config or DataConfig(), seed
        self.contents = {"foregrounds": _as_contents(foregrounds), "backgrounds": _as_contents(backgrounds)}
        self.foregrounds, self.backgrounds = (
            [reader for part in parts for reader in part.readers] for parts in self.contents.values()
        )
        if not self.foregrounds or (self.config.composites and not self.backgrounds):
            raise ValueError(f"got {len(self.foregrounds)} foregrounds and {len(self.backgrounds)} backgrounds")
        self.per_foreground = self.config.natural + self.config.composites
        self.counts = _counts(self.contents["foregrounds"], self.config.shares, self.per_foreground)
        self.kept, self.kept_bytes = dict[Callable[[], Any], Any](), 0

    def identity(self) -> dict[str, Any]:
        """Everything that decides the samples: pictures with their checksums, settings, seed, and code."""
        sets = {
            kind: {f"{number} {part.name}": {"files": part.files} for number, part in enumerate(parts)}
            for kind, parts in self.contents.items()
        }
        settings = asdict(self.config) | {"memory": None}
        code = code_version(*(paths.PACKAGE / name for name in ("data", "devices.py", "images.py", "regions.py")))
        return {"seed": self.seed, "settings": settings, **sets, "code": code}

    def describe(self) -> str:
        """What is used and what is left out, one set after another."""
        return "\n".join(f"{kind}: {part}" for kind, parts in self.contents.items() for part in parts if part.readers)

    def __len__(self) -> int:
        """Samples per epoch."""
        return sum(taken for _, taken in self.counts)

    def foreground(self, number: int) -> Foreground:
        """A foreground, from memory if it is kept there."""
        return self._keep(self.foregrounds[number], Foreground.of)

    def background(self, number: int) -> Tensor:
        """A background (H, W, 3) uint8, likewise."""
        return self._keep(self.backgrounds[number], compositing.as_tensor)

    def _keep(self, read: Callable[[], Any], convert: Callable[..., Any]) -> Any:
        if read in self.kept:
            return self.kept[read]
        value = convert(read())
        tensors = filter(torch.is_tensor, value if isinstance(value, tuple) else [value])
        size, worker = sum(tensor.nbytes for tensor in tensors), torch.utils.data.get_worker_info()
        if (self.kept_bytes + size) * (worker.num_workers if worker else 1) <= self.config.memory * 2**30:
            self.kept[read], self.kept_bytes = value, self.kept_bytes + size
        return value

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"kept": {}, "kept_bytes": 0}  # each worker process keeps its own

    def __getitem__(self, key: tuple[int, int]) -> tuple:
        """The sample of a number (counted over all epochs) and a size (pixels a side); see `RawBatch`."""
        number, size = key
        epoch, position = divmod(number, len(self))
        which, kind = divmod(int(_order(self.seed, epoch, self.counts)[position]), self.per_foreground)
        config, rng = self.config, np.random.default_rng([self.seed, number, 1])
        foreground, move = self.foreground(which), 0.0
        natural = kind < config.natural and foreground.image is not None
        if natural:
            parts, extent = compositing.portrait_crop(foreground, size, rng, config.framing, natural=True)
            # I, F and B of a photograph change together
            colours = np.stack([colour_jitter(rng, 0.6 * config.colour)] * 2)
        else:
            parts, extent = self._composite(foreground, size, rng)
            # F and B were taken by two cameras, what comes out by a third
            own = np.stack([colour_jitter(rng, 0.8 * config.colour) for _ in range(2)])
            colours = chain(colour_jitter(rng, 0.3 * config.colour), own)
            move = rng.uniform(0.3, 1) if rng.random() < config.harmonise else 0.0
        if _chance(config.graded, rng):  # the whole picture, I, F and B alike
            colours = chain(compositing.GREYED if rng.random() < 0.5 else colour_jitter(rng, 2), colours)
        if _chance(config.turned, rng):
            quarters = int(rng.integers(1, 4))
            parts = [part.rot90(quarters) for part in parts]
        if rng.random() < config.flip:
            parts = [part.flip(1) for part in parts]
        band = max(3, round(rng.uniform(20, 40) * (extent or size) / 512))
        camera = camera_settings(rng, size) if _chance(config.camera, rng) else GOOD
        image = parts.pop(0)[None] if natural else parts[1].new_empty((0, size, size, 3))
        return (image, *parts, natural, colours, np.float32(move), camera, band)

    def _composite(self, foreground: Foreground, size: int, rng: np.random.Generator) -> tuple[list[Tensor], float]:
        """Crops of a person and of a scene, changed as `DataConfig` says, and the person's visible height."""
        if not self.backgrounds:
            raise ValueError("a cut-out has no photograph of its own and needs backgrounds")
        config = self.config

        def another(read: Callable[[int], Any], of: Sequence[Any]) -> Any:
            return read(int(rng.integers(len(of))))

        scene = another(self.background, self.backgrounds)
        (cutout,), extent = compositing.portrait_crop(foreground, size, rng, config.framing)
        background = compositing.background_crop(scene, size, rng, config.defocus)
        if rng.random() < config.empty:
            cutout, extent = F.pad(cutout[..., :3], (0, 1)), 0.0
        if _chance(config.distractors, rng):
            someone = functools.partial(another, self.foreground, self.foregrounds)
            background = add_distractors(background, someone, rng, empty=not extent)
        if extent and _chance(config.changes, rng):
            texture = compositing.background_crop(another(self.background, self.backgrounds), size, rng)
            cutout = change_person(cutout, texture, rng)
        return [cutout, background], extent


def _chance(share: float, rng: np.random.Generator) -> bool:
    """True with this probability; 0 draws no number, so a feature that is off does not change the samples."""
    return bool(share) and rng.random() < share


def _as_contents(parts: Sequence[Any]) -> list[Contents]:
    if all(isinstance(part, Contents) for part in parts):
        return list(parts)
    return [Contents("unnamed", "", parts, {"count": len(parts)}, {})]


def _counts(parts: list[Contents], shares: dict[str, float] | None, each: int) -> tuple[tuple[int, int], ...]:
    """The number of samples of each set, and how many of them an epoch takes: without shares, all."""
    sizes = [len(part.readers) * each for part in parts]
    if shares is None:
        return ((sum(sizes), sum(sizes)),)
    names = [part.name for part in parts]
    if sorted(shares) != sorted(names):
        raise ValueError(f"data.shares names {', '.join(shares)}; the sets are {', '.join(names)}")
    part_of_all = {name: share * sum(sizes) / sum(shares.values()) for name, share in shares.items()}
    return tuple((size, round(part_of_all[name])) for size, name in zip(sizes, names, strict=True))


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, counts: tuple[tuple[int, int], ...]) -> np.ndarray:
    """A shuffled epoch, in which each set repeats or leaves out samples to reach its count."""
    rng, start, chosen = np.random.default_rng([seed, epoch]), 0, []
    for size, taken in counts:
        rounds = [rng.permutation(size) for _ in range(0, taken, size)] or [np.arange(0)]
        chosen.append(start + np.concatenate(rounds)[:taken])
        start += size
    return chosen[0] if len(counts) == 1 else rng.permutation(np.concatenate(chosen))


def staged_batches(
    stages: Sequence[tuple[int, int, int]], start: int = 0, *, pieces: int = 1, rank: int = 0, processes: int = 1
) -> Iterator[list[tuple[int, int]]]:
    """Yield batches of keys, (sample number, size), for a dataset.

    Parameters
    ----------
    stages
        Image size, batch size (of all processes together) and steps, one stage after another.
    start
        The first step to yield.
    pieces
        Each step's batch is yielded in this many equal pieces (gradient accumulation).
    rank, processes
        This process gets every `processes`-th sample of each piece, from `rank` on. Raises `ValueError` if a batch
        cannot be divided equally.
    """
    for _, batch, _ in stages:
        if batch % (pieces * processes):
            raise ValueError(
                f"a batch of {batch} cannot be divided among {processes} processes in {pieces} pieces each"
            )
    step = number = 0
    for size, batch, steps in stages:
        length = batch // pieces
        for _ in range(steps):
            for first in range(number, number + batch, length) if step >= start else ():
                yield [(i, size) for i in range(first + rank, first + length, processes)]
            step, number = step + 1, number + batch
