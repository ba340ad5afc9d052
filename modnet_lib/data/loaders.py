"""Training batches: a sample is a pure function of (seed, number), composed on the device.

Nothing here keeps a random state, so sample 17,000 is the same whether or not the first 16,999 were drawn:
that is what makes resuming exact.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from modnet_lib import paths
from modnet_lib.data.cameras import GOOD, camera_settings, through_camera
from modnet_lib.data.compositing import (
    GREYED,
    Crop,
    Foreground,
    apply_colour,
    as_tensor,
    background_crop,
    chain,
    colour_jitter,
    composite,
    composite_crop,
    harmony,
    natural_crop,
)
from modnet_lib.data.hard_cases import add_distractors, change_person
from modnet_lib.data.items import read_item
from modnet_lib.data.manifest import (
    Item,
    background_files,
    custom_folder,
    find_items,
    find_source,
    refuse_copies,
    sources,
    training_items,
)
from modnet_lib.data.pseudo_mattes import (
    Cutout,
    MattingSample,
    has_all_parts,
    prepare,
    prepared_folder,
    read_parts,
    read_prepared,
)
from modnet_lib.data.trimaps import trimap_from_alpha
from modnet_lib.images import PICTURES, read_image
from modnet_lib.profiles import DataConfig
from modnet_lib.provenance import code_version, file_contents

ForegroundReader = Callable[[], MattingSample | Cutout]
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


class Contents(NamedTuple):
    """What one data set or folder contributes to training.

    Attributes
    ----------
    name, split
        As in the profile and the manifest.
    readers
        A function for each picture.
    files
        What the readers read: name, size and checksum.
    left_out
        Every picture that is not used, with the reason.
    sources
        The numbers of readers that come from one source after another; all are of one source if it is empty.
    """

    name: str
    split: str
    readers: Sequence[Callable[[], Any]]
    files: dict[str, Any]
    left_out: dict[str, str]
    sources: tuple[int, ...] = ()

    def __str__(self) -> str:
        head = f"{self.name}:{self.split}" if self.split else self.name
        lines = [f"{head}: {len(self.readers):,} pictures, {len(self.left_out):,} left out"]
        return "\n".join([*lines, *(f"  {key}: {reason}" for key, reason in self.left_out.items())])


class CompositionDataset(Dataset):
    """The paper's recipe: per foreground 5 natural crops and 10 composites an epoch, in shuffled order.

    Parameters
    ----------
    foregrounds, backgrounds
        What is composited; sequences of functions that each read one picture are also accepted.
    seed
        Decides everything.
    config
        Proportions and augmentation.
    device
        Where pictures are kept and cut. On a GPU the whole pipeline runs there, and workers are of no use.
    """

    def __init__(
        self,
        foregrounds: Sequence[Contents] | Sequence[ForegroundReader],
        backgrounds: Sequence[Contents] | Sequence[BackgroundReader],
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
            raise ValueError(
                f"got {len(self.foregrounds)} foregrounds and {len(self.backgrounds)} backgrounds"
            )
        self.per_foreground = self.config.natural + self.config.composites
        self.counts = self._counts()
        self.memory = self.config.memory * 2**30
        self.kept: dict[tuple[str, int], Any] = {}
        self.kept_bytes = 0

    def _counts(self) -> tuple[tuple[int, int], ...]:
        """For each source: how many samples its foregrounds have, and how many of them an epoch takes."""
        parts, config = self.contents["foregrounds"], self.config
        sizes = [len(part.readers) * self.per_foreground for part in parts]
        taken: list[float] = [*sizes]
        if (shares := config.shares) is not None:
            names = [part.name for part in parts]
            if sorted(shares) != sorted(names):  # also of a set that is named twice
                raise ValueError(f"data.shares names {', '.join(shares)}; the sets are {', '.join(names)}")
            taken = [shares[name] * sum(sizes) / sum(shares.values()) for name in names]
        elif not config.balance:
            return ((sum(sizes), sum(sizes)),)
        counts = []
        for part, size, whole in zip(parts, sizes, taken, strict=True):
            numbers = part.sources if config.balance and part.sources else (len(part.readers),)
            weights = [number ** (1 - config.balance) for number in numbers]
            counts += [
                (size * number // sum(numbers), round(whole * weight / sum(weights)))
                for number, weight in zip(numbers, weights, strict=True)
                if number
            ]
        return tuple(counts)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the samples: pictures with their checksums, settings, seed, and code."""
        folder = paths.PACKAGE / "data"
        settings = asdict(self.config) | {"memory": None, "on_device": None}
        sets = {
            kind: {
                f"{number} {part.name}": {
                    "split": part.split,
                    "files": part.files,
                    "left out": sorted(part.left_out),
                }
                for number, part in enumerate(parts)
            }
            for kind, parts in self.contents.items()
        }
        code = code_version(folder, paths.PACKAGE / "images.py")
        return {"seed": self.seed, "settings": settings, **sets, "code": code}

    def describe(self) -> str:
        """List what is used and what is left out, one set after another."""
        return "\n".join(
            f"{kind}: {part}" for kind, parts in self.contents.items() for part in parts if part.readers
        )

    def __len__(self) -> int:
        """Samples an epoch."""
        return sum(taken for _, taken in self.counts)

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
        size = sum(part.nbytes for part in (value[:3] if key[0] == "F" else (value,)) if part is not None)
        worker = torch.utils.data.get_worker_info()
        if self.kept_bytes + size <= self.memory / (worker.num_workers if worker else 1):
            self.kept[key], self.kept_bytes = value, self.kept_bytes + size
        return value

    def __getitem__(self, key: tuple[int, int]) -> tuple:
        """Sample number `key[0]` (counted over all epochs) at `key[1]` pixels a side."""
        number, size = key
        epoch, position = divmod(number, len(self))
        which, kind = divmod(int(_order(self.seed, epoch, self.counts)[position]), self.per_foreground)
        config, rng = self.config, np.random.default_rng([self.seed, number, 1])
        foreground = self.foreground(which)
        natural, move = kind < config.natural and foreground.image is not None, 0.0
        if natural:
            part = natural_crop(foreground, size, rng, config.framing)
            # I, F and B of a photograph change together
            colours = np.stack([colour_jitter(rng, 0.6 * config.colour)] * 2)
        else:
            if not self.backgrounds:
                raise ValueError("a cut-out has no photograph of its own and needs backgrounds")
            scene = self._random_background(rng)
            part = composite_crop(foreground, scene, size, rng, config.defocus, config.framing)
            if rng.random() < config.empty:
                part = part._replace(cutout=F.pad(part.cutout[..., :3], (0, 1)), extent=0.0)
            part = self._harden(part, size, rng)
            # F and B were taken by two cameras, what comes out by a third
            own = np.stack([colour_jitter(rng, 0.8 * config.colour) for _ in range(2)])
            colours = chain(colour_jitter(rng, 0.3 * config.colour), own)
            move = rng.uniform(0.3, 1) if rng.random() < config.harmonise else 0.0
        if config.graded and rng.random() < config.graded:  # the whole picture, I, F and B alike
            colours = chain(GREYED if rng.random() < 0.5 else colour_jitter(rng, 2), colours)
        if config.turned and rng.random() < config.turned:
            quarters = int(rng.integers(1, 4))
            image, cutout, background = (None if x is None else x.rot90(quarters) for x in part[:3])
            part = Crop(image, cutout, background, part.extent)  # type: ignore[arg-type]
        if rng.random() < config.flip:
            image, cutout, background = (None if x is None else x.flip(1) for x in part[:3])
            part = Crop(image, cutout, background, part.extent)  # type: ignore[arg-type]
        band = max(3, round(rng.uniform(20, 40) * (part.extent or size) / 512))
        # drawn last: without cameras, samples stay those of recipes that knew none
        camera = camera_settings(rng, size) if config.camera and rng.random() < config.camera else GOOD
        return (*part[:3], natural, colours, np.float32(move), camera, band)

    def _random_background(self, rng: np.random.Generator) -> Tensor:
        return self.background(int(rng.integers(len(self.backgrounds))))

    def _harden(self, part: Crop, size: int, rng: np.random.Generator) -> Crop:
        """Change the person and the background of a composite, as `DataConfig` says."""
        config, (_, cutout, background, extent) = self.config, part
        if config.distractors and rng.random() < config.distractors:
            other = partial(self._random_foreground, rng)
            background = add_distractors(background, other, rng, empty=not extent)
        if extent and config.changes and rng.random() < config.changes:
            texture = background_crop(self._random_background(rng), size, rng)
            cutout = change_person(cutout, texture, rng)
        return part._replace(cutout=cutout, background=background)

    def _random_foreground(self, rng: np.random.Generator) -> Foreground:
        return self.foreground(int(rng.integers(len(self.foregrounds))))


def _as_contents(parts: Sequence[Any]) -> list[Contents]:
    if all(isinstance(part, Contents) for part in parts):
        return list(parts)
    return [Contents("unnamed", "", list(parts), {"count": len(parts)}, {})]


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, counts: tuple[tuple[int, int], ...]) -> np.ndarray:
    """A shuffled epoch; each set repeats or leaves out samples to reach its count."""
    rng, start, chosen = np.random.default_rng([seed, epoch]), 0, []
    for size, taken in counts:
        rounds = [rng.permutation(size) for _ in range(-(-taken // size) if size else 0)]
        chosen += [start + order for order in rounds[:-1]] + [
            start + order[: (taken - 1) % size + 1] for order in rounds[-1:]
        ]
        start += size
    return chosen[0] if len(counts) == 1 else rng.permutation(np.concatenate(chosen))


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


def drawn_people(count: int, split: str = "train") -> Contents:
    """Drawn people with their own colours, mattes and backgrounds: those in ``data/samples`` if they suffice.

    Otherwise all of them are those of the data set ``drawn``.

    Parameters
    ----------
    count
        How many.
    split
        ``"train"`` or ``"validation"``.

    Raises
    ------
    FileNotFoundError
        If neither has that many; the message names the command that draws them.
    """
    root, items = _drawn(count, split, f"portraits {{}} {{}} --split {split}")
    readers = {item.id: partial(read_parts, item) for item in items}
    return _contents("drawn", split, root, items, count, readers, {})


def drawn_scenes(count: int) -> Contents:
    """Drawn backgrounds; see `drawn_people`."""
    root, items = _drawn(count, "train-scenes", "scenes {} {}")
    readers = {item.id: partial(read_image, item.files["background"]) for item in items}
    return _contents("drawn", "train-scenes", root, items, count, readers, {})


def _drawn(count: int, split: str, command: str) -> tuple[Path, list[Item]]:
    root = paths.SAMPLES / "drawn"
    if len(items := find_items("drawn", root, split)) >= count:
        return root, items[:count]
    place, first = "$MODNET_DATA/drawn", "set MODNET_DATA to a folder for data, then "
    if data := paths.external_data():
        root, first = data / find_source("drawn").folder, ""
        place = str(root)
        with suppress(FileNotFoundError):
            items = []
            items = find_items("drawn", root, split)
        if len(items) >= count:
            return root, items[:count]
    raise FileNotFoundError(
        f"{root} has {len(items)} of the {count:,} drawn pictures needed (split {split}): "
        f"{first}run python data/drawn_people {command.format(count, place)}"
    )


def foreground_set(name: str, count: int, teacher: bool = False) -> Contents:
    """The first `count` foregrounds of a data set or custom folder, prepared; see `training_items`.

    With `teacher`, a matte in ``$MODNET_DATA/teacher/NAME`` is one of an item's files; see `DataConfig`.
    """
    split, root, items = training_items(name)
    if teacher:
        folder = root.parent / "teacher" / name.partition(":")[0]
        mattes = [folder / f"{item.id}.png" for item in items]
        items = [
            Item(item.id, item.files | ({"teacher": file} if file.is_file() else {}))
            for item, file in zip(items, mattes, strict=True)
        ]
    return _contents(name, split, root, items, count, *prepared_readers(items[:count], name))


def prepared_readers(items: Sequence[Item], name: str) -> tuple[dict[str, ForegroundReader], dict[str, str]]:
    """Id and reader of every item, prepared where necessary, and the reason for every one that is left out."""
    folder = prepared_folder(name)
    ready, failures = prepare([item for item in items if not has_all_parts(item)], folder)
    usable = set(ready)
    readers: dict[str, ForegroundReader] = {
        i.id: partial(read_parts, i) if has_all_parts(i) else partial(read_prepared, i, folder)
        for i in items
        if has_all_parts(i) or i.id in usable
    }
    return readers, failures


def _contents(
    name: str,
    split: str,
    root: Path,
    items: Sequence[Item],
    count: int,
    readers: dict[str, Any],
    failures: dict[str, str],
) -> Contents:
    used = [item for item in items if item.id in readers]
    files = file_contents((file for item in used for file in item.files.values()), root)
    failures = failures | _twins(items, root)
    if len(items) > count:
        failures = failures | {"the rest": f"{len(items) - count:,} pictures beyond the first {count:,}"}
    if not readers:
        raise ValueError(f"nothing of {name} can be used: {failures}")
    runs = itertools.groupby(re.split(r"[^A-Za-z]", key, maxsplit=1)[0] for key in readers)
    return Contents(
        name, split, list(readers.values()), files, failures, tuple(len([*run]) for _, run in runs)
    )


def _twins(items: Sequence[Item], root: Path) -> dict[str, str]:
    """Pictures that differ from those of `items` in nothing but the suffix; only one of them can be used."""
    used = {file for item in items for file in item.files.values()}
    names = {(file.parent, file.stem): file.name for file in used}
    found = (file for folder in {f.parent for f in used} if folder.is_dir() for file in folder.iterdir())
    return {
        file.relative_to(root).as_posix(): f"{names[file.parent, file.stem]} has the same name"
        for file in sorted(found)
        if file not in used and (file.parent, file.stem) in names and file.suffix.lower() in PICTURES
    }


def background_set(name: str) -> Contents:
    """The backgrounds of a data set or custom folder, without the held-out ones."""
    if name.partition(":")[0] in sources():
        split, root, items = training_items(name)
        if any("background" not in item.files for item in items):
            raise ValueError(f"{name} has no backgrounds")
    else:
        split, root = "all", custom_folder(name)
        files = background_files(root)
        refuse_copies(root, [file.relative_to(root).with_suffix("").as_posix() for file in files])
        items = [Item(file.relative_to(root).as_posix(), {"background": file}) for file in files]
    readers = {item.id: partial(read_image, item.files["background"]) for item in items}
    return _contents(name, split, root, items, len(items), readers, {})


def read_mask(item: Item) -> MattingSample:
    """A photograph with a mask (or a matte, cut at one half) as a sample without estimated colours."""
    parts = read_item(item)
    mask = parts["mask"] if "mask" in parts else parts["alpha"] >= 128
    return MattingSample(parts["image"], mask.astype(np.uint8) * 255, parts["image"], parts["image"])


def mask_set(name: str, count: int) -> Contents:
    """The first `count` photographs with masks or mattes of a data set or folder."""
    split, root, items = training_items(name)
    failures, usable = {}, []
    for item in items[:count]:
        absent = [role for role, file in item.files.items() if not file.is_file()]
        if "image" not in item.files or not item.files.keys() & {"mask", "alpha", "label"}:
            failures[item.id] = f"no photograph with a mask: it has {', '.join(item.files)}"
        elif absent:
            failures[item.id] = f"no {', '.join(absent)}"
        else:
            usable.append(item)
    readers = {item.id: partial(read_mask, item) for item in usable}
    return _contents(name, split, root, items, count, readers, failures)


def _device(config: DataConfig) -> str:
    return "cuda" if config.on_device and torch.cuda.is_available() else "cpu"


def mask_data(config: DataConfig, seed: int) -> CompositionDataset:
    """What the backbone is pre-trained on: crops of photographs with masks, one per photograph and epoch.

    Parameters
    ----------
    config
        `masks` names the data sets (or ``"drawn"``); without `real` only drawn people are used.
    seed
        Decides the order.

    Raises
    ------
    FileNotFoundError, ValueError
        If a data set is missing, unknown, or has nothing to train on.
    """
    names = config.masks if config.real else ("drawn",)
    sets = [
        drawn_people(config.portraits) if name == "drawn" else mask_set(name, config.photographs)
        for name in names
    ]
    return CompositionDataset(sets, [], seed, replace(config, natural=1, composites=0), _device(config))


def training_data(config: DataConfig, seed: int) -> CompositionDataset:
    """The training set that a profile asks for.

    Parameters
    ----------
    config
        What to use and how much of it.
    seed
        Decides the order, crops and augmentation.

    Raises
    ------
    FileNotFoundError, ValueError
        If a data set is missing, unknown, held out, or has nothing to train on.
    """
    names, places = (config.foregrounds, config.backgrounds) if config.real else ((), ())
    # these first: if they are missing, that is known before anything is prepared
    foregrounds = [drawn_people(config.portraits)] if config.portraits else []
    backgrounds = [drawn_scenes(config.scenes)] if config.scenes else []
    backgrounds += [background_set(name) for name in places]
    foregrounds += [foreground_set(name, config.photographs, config.teacher) for name in names]
    return CompositionDataset(foregrounds, backgrounds, seed, config, _device(config))
