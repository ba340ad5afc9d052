"""Training samples: each is a pure function of (seed, number).

Nothing here keeps a random state, so sample 17,000 is the same whether or not the first 16,999 were drawn: that is what
makes resuming exact.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from modnet_lib import paths
from modnet_lib.data import compositing
from modnet_lib.data.assemble import GOOD, camera_settings, collate
from modnet_lib.data.compositing import Foreground, chain, colour_jitter
from modnet_lib.data.hard_cases import add_distractors, change_person
from modnet_lib.data.workers import data_loader
from modnet_lib.profiles import DataConfig
from modnet_lib.provenance import code_version


class Contents(NamedTuple):
    """What one data set or folder contributes to training."""

    name: str  # as in the profile
    split: str
    readers: Sequence[Callable[[], Any]]  # one for each picture
    files: dict[str, Any]  # what they read: name, size and checksum
    left_out: dict[str, str]  # every picture that is not used, with the reason

    def __str__(self) -> str:
        head = f"{self.name}:{self.split}" if self.split else self.name
        lines = [f"{head}: {len(self.readers):,} pictures, {len(self.left_out):,} left out"]
        return "\n".join([*lines, *(f"  {key}: {reason}" for key, reason in self.left_out.items())])


class CompositionDataset(Dataset):
    """The paper's recipe: per foreground 5 natural crops and 10 composites an epoch, in shuffled order.

    Foregrounds and backgrounds are `Contents`, or functions that each read one picture; they are kept and cut on
    `device`. `config` has proportions and augmentation, and `seed` decides everything else.
    """

    def __init__(
        self,
        foregrounds: Sequence[Any],
        backgrounds: Sequence[Any],
        seed: int,
        config: DataConfig | None = None,
        device: torch.device | str = "cpu",
    ):
        self.config, self.seed, self.device = config or DataConfig(), seed, torch.device(device)
        self.contents = {"foregrounds": _as_contents(foregrounds), "backgrounds": _as_contents(backgrounds)}
        self.foregrounds, self.backgrounds = (
            [reader for part in parts for reader in part.readers] for parts in self.contents.values()
        )
        if not self.foregrounds or (self.config.composites and not self.backgrounds):
            raise ValueError(f"got {len(self.foregrounds)} foregrounds and {len(self.backgrounds)} backgrounds")
        self.per_foreground = self.config.natural + self.config.composites
        self.counts = _counts(self.contents["foregrounds"], self.config.shares, self.per_foreground)
        self.kept: dict[Callable[[], Any], Any] = {}
        self.kept_bytes = 0

    def identity(self) -> dict[str, Any]:
        """Everything that decides the samples: pictures with their checksums, settings, seed, and code."""
        sets = {
            kind: {f"{number} {part.name}": {"files": part.files} for number, part in enumerate(parts)}
            for kind, parts in self.contents.items()
        }
        settings = asdict(self.config) | {"memory": None, "on_device": None}
        files = (paths.PACKAGE / f"{name}.py" for name in ("devices", "images", "regions"))
        code = code_version(paths.PACKAGE / "data", *files)
        return {"seed": self.seed, "settings": settings, **sets, "code": code}

    def describe(self) -> str:
        """List what is used and what is left out, one set after another."""
        return "\n".join(f"{kind}: {part}" for kind, parts in self.contents.items() for part in parts if part.readers)

    def __len__(self) -> int:
        """Samples an epoch."""
        return sum(taken for _, taken in self.counts)

    def foreground(self, number: int) -> Foreground:
        """A foreground on the dataset's device, from memory if it is kept."""
        return self._keep(self.foregrounds[number], Foreground.of)

    def background(self, number: int) -> Tensor:
        """A background, (H, W, 3) uint8, likewise."""
        return self._keep(self.backgrounds[number], compositing.as_tensor)

    def _keep(self, read: Callable[[], Any], put_on: Callable[..., Any], decoded: Any = None) -> Any:
        if read in self.kept:
            return self.kept[read]
        value = put_on(read() if decoded is None else decoded, self.device)
        tensors = filter(torch.is_tensor, value if isinstance(value, tuple) else [value])
        size, worker = sum(tensor.nbytes for tensor in tensors), torch.utils.data.get_worker_info()
        if (self.kept_bytes + size) * (worker.num_workers if worker else 1) <= self.config.memory * 2**30:
            self.kept[read], self.kept_bytes = value, self.kept_bytes + size
        return value

    def fill(self) -> None:
        """Read, with a thread a core, until all pictures are kept or the memory for them is full."""
        todo: list[Any] = [(read, Foreground.of) for read in self.foregrounds]
        todo += [(read, compositing.as_tensor) for read in self.backgrounds]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(todo), 64):  # no more than these wait in main memory
                part = todo[start : start + 64]
                for (read, put_on), decoded in zip(part, pool.map(lambda one: one[0](), part), strict=True):
                    self._keep(read, put_on, decoded)
                    if read not in self.kept:
                        return

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"kept": {}, "kept_bytes": 0}  # every worker process keeps its own

    def __getitem__(self, key: tuple[int, int]) -> tuple:
        """Sample number `key[0]` (counted over all epochs) at `key[1]` pixels a side; see `RawBatch`."""
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
        # drawn last: without cameras, samples stay those of recipes that knew none
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
    """True with this probability; 0 draws no number, so that what is switched off changes no sample."""
    return bool(share) and rng.random() < share


def _as_contents(parts: Sequence[Any]) -> list[Contents]:
    if all(isinstance(part, Contents) for part in parts):
        return list(parts)
    return [Contents("unnamed", "", parts, {"count": len(parts)}, {})]


def _counts(parts: list[Contents], shares: dict[str, float] | None, each: int) -> tuple[tuple[int, int], ...]:
    """How many samples the foregrounds of each set have, and how many of them an epoch takes; all without shares."""
    sizes = [len(part.readers) * each for part in parts]
    if shares is None:
        return ((sum(sizes), sum(sizes)),)
    names = [part.name for part in parts]
    if sorted(shares) != sorted(names):  # a set named twice is refused, too
        raise ValueError(f"data.shares names {', '.join(shares)}; the sets are {', '.join(names)}")
    part_of_all = {name: share * sum(sizes) / sum(shares.values()) for name, share in shares.items()}
    return tuple((size, round(part_of_all[name])) for size, name in zip(sizes, names, strict=True))


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, counts: tuple[tuple[int, int], ...]) -> np.ndarray:
    """A shuffled epoch; each set repeats or leaves out samples to reach its count."""
    rng, start, chosen = np.random.default_rng([seed, epoch]), 0, []
    for size, taken in counts:
        rounds = [rng.permutation(size) for _ in range(0, taken, size)] or [np.arange(0)]
        chosen.append(start + np.concatenate(rounds)[:taken])
        start += size
    return chosen[0] if len(counts) == 1 else rng.permutation(np.concatenate(chosen))


@dataclass
class StagedSampler:
    """Batches of (sample number, size); sizes and batch sizes change with the stages."""

    #: Image size, batch size (of all processes together) and steps, one stage after another.
    stages: Sequence[tuple[int, int, int]]
    #: The first step to draw.
    start: int = 0
    #: A step's batch comes in this many equal pieces, one after another (gradient accumulation).
    pieces: int = 1
    #: This process's part of each piece is every `processes`-th sample from `rank` on.
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        for _, batch, _ in self.stages:
            if batch % (self.pieces * self.processes):
                raise ValueError(
                    f"a batch of {batch} cannot be divided among {self.processes} processes "
                    f"in {self.pieces} pieces each"
                )

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = number = 0
        for size, batch, steps in self.stages:
            length = batch // self.pieces
            for _ in range(steps):
                for first in range(number, number + batch, length) if step >= self.start else ():
                    yield [(i, size) for i in range(first + self.rank, first + length, self.processes)]
                step, number = step + 1, number + batch


def training_loader(
    dataset: Any, stages: Sequence[tuple[int, int, int]], *, workers: int = 0, pin: bool = False, **sampling: int
) -> DataLoader:
    """A loader of `RawBatch`, in the order of `StagedSampler`, whatever the number of workers; `sampling` goes there.

    A dataset on a GPU is filled, then read without workers.
    """
    if on_gpu := dataset.device.type != "cpu":
        dataset.fill()
    options = {"workers": 0 if on_gpu else workers, "pin": pin and not on_gpu}
    return data_loader(dataset, StagedSampler(stages, **sampling), collate, **options)
