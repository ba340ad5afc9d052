"""Training sets: drawn people, data sets of the manifest, and custom folders."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modnet_lib import paths
from modnet_lib.data.dataset import CompositionDataset, Contents
from modnet_lib.data.items import read_item
from modnet_lib.data.manifest import PARTS, Item, find_items, training_items
from modnet_lib.data.pseudo_mattes import MattingSample, has_all_parts, prepare, prepared_folder, read_parts
from modnet_lib.images import is_picture, read_image
from modnet_lib.profiles import DataConfig
from modnet_lib.provenance import file_contents


def training_data(config: DataConfig, seed: int) -> CompositionDataset:
    """The training set of a profile; `seed` decides the order, crops and augmentation.

    Raises FileNotFoundError or ValueError if a data set is missing, unknown, held out, or has nothing to train on.
    """
    names, places = (config.foregrounds, config.backgrounds) if config.real else ((), ())
    # these first: if they are missing, that is known before anything is prepared
    foregrounds = [drawn_people(config.portraits)] if config.portraits else []
    backgrounds = [drawn_scenes(config.scenes)] if config.scenes else []
    backgrounds += [background_set(name) for name in places]
    foregrounds += [foreground_set(name, config.photographs, config.teacher) for name in names]
    return CompositionDataset(foregrounds, backgrounds, seed, config)


def mask_data(config: DataConfig, seed: int) -> CompositionDataset:
    """The set that pre-trains the backbone, `config.masks`: one crop per photograph and epoch; see `training_data`."""
    sets = [
        drawn_people(config.portraits) if name == "drawn" else mask_set(name, config.photographs)
        for name in (config.masks if config.real else ("drawn",))
    ]
    return CompositionDataset(sets, [], seed, replace(config, natural=1, composites=0))


def drawn_people(count: int, split: str = "train") -> Contents:
    """Drawn people of ``"train"`` or ``"validation"``, with exact colours, mattes and backgrounds.

    They come from ``data/samples`` or, if these do not suffice, from the data set ``drawn``. Raises FileNotFoundError
    with the command that draws what is missing.
    """
    return _drawn(count, split, f"portraits {count} $MODNET_DATA/drawn --split {split}")


def drawn_scenes(count: int) -> Contents:
    """Drawn backgrounds; see `drawn_people`."""
    return _drawn(count, "train-scenes", f"scenes {count} $MODNET_DATA/drawn")


def _drawn(count: int, split: str, command: str) -> Contents:
    root = paths.SAMPLES / "drawn"
    items = find_items("drawn", root, split)
    if len(items) < count and (data := paths.external_data()):
        root, items = data / "drawn", []
        with suppress(FileNotFoundError):
            items = find_items("drawn", root, split)
    if len(items) < count:
        raise FileNotFoundError(
            f"{root} has {len(items)} of the {count:,} drawn pictures needed (split {split}): "
            f"set MODNET_DATA to a folder for data, then run python data/drawn_people {command}"
        )
    items = items[:count]
    readers = {item.id: partial(read_parts, item) if "alpha" in item.files else _scene(item) for item in items}
    return _contents("drawn", (split, root, items), readers)


def _scene(item: Item) -> Any:
    return partial(read_image, item.files["background"])


def foreground_set(name: str, count: int, teacher: bool = False) -> Contents:
    """The first `count` foregrounds of a data set or custom folder, prepared; see `foreground_items`."""
    split, root, items = foreground_items(name, teacher)
    return _contents(name, (split, root, items), *prepare(items[:count], prepared_folder(name)))


def foreground_items(name: str, teacher: bool = False) -> tuple[str, Path, list[Item]]:
    """`training_items`, with the mattes in ``$MODNET_DATA/teacher/NAME`` if `teacher` is set."""
    split, root, items = training_items(name)
    mattes = {item.id: root.parent / "teacher" / name.partition(":")[0] / f"{item.id}.png" for item in items}
    taught = {key: {"teacher": file} for key, file in mattes.items() if teacher and file.is_file()}
    return split, root, [item._replace(files=item.files | taught.get(item.id, {})) for item in items]


def usable_readers(items: Sequence[Item], name: str) -> dict[str, Any]:
    """Readers of pictures to measure on, prepared; raises ValueError if one of them cannot be used."""
    readers, failures = prepare(items, prepared_folder(name))
    if failures:
        raise ValueError(f"pictures of {name} cannot be used: {failures}")
    return readers


def background_set(name: str) -> Contents:
    """The backgrounds of a data set or custom folder, without the held-out ones."""
    split, root, items = training_items(name, backgrounds=True)
    if any("background" not in item.files for item in items):
        raise ValueError(f"{name} has no backgrounds")
    return _contents(name, (split, root, items), {item.id: _scene(item) for item in items})


def mask_set(name: str, count: int) -> Contents:
    """The first `count` photographs with masks or mattes of a data set or folder."""
    split, root, items = training_items(name)
    readers, left_out = {}, {}
    for item in items[:count]:
        roles = {role for role, file in item.files.items() if file.is_file()}
        labelled = "image" in roles and roles & {"mask", "alpha", "label"}
        if roles == item.files.keys() and (labelled or roles >= {*PARTS}):
            readers[item.id] = partial(read_mask, item)
        else:
            left_out[item.id] = f"no photograph with a mask: of {', '.join(item.files)}, {len(roles)} are there"
    return _contents(name, (split, root, items), readers, left_out)


def read_mask(item: Item) -> MattingSample:
    """A photograph with its mask, or a matte cut at one half, as alpha; F and B are the photograph itself."""
    parts = read_parts(item)._asdict() if has_all_parts(item) else read_item(item)
    mask = parts["mask"] if "mask" in parts else parts["alpha"] >= 128
    return MattingSample(parts["image"], mask.astype(np.uint8) * 255, parts["image"], parts["image"])


def _contents(
    name: str, where: tuple[str, Path, list[Item]], readers: dict[str, Any], failures: dict[str, str] | None = None
) -> Contents:
    (split, root, items), left_out = where, dict(failures or {})
    if rest := len(items) - len(readers) - len(left_out):
        left_out["the rest"] = f"{rest:,} pictures beyond the first {len(items) - rest:,}"
    if not readers:
        raise ValueError(f"nothing of {name} can be used: {left_out}")
    files = [file for item in items if item.id in readers for file in item.files.values()]
    used = {file.with_suffix(""): file for item in items for file in item.files.values()}
    beside = {file for folder in {f.parent for f in used} if folder.is_dir() for file in folder.iterdir()}
    for file in sorted(beside - {*used.values()}):
        if (twin := used.get(file.with_suffix(""))) and is_picture(file):
            left_out[file.relative_to(root).as_posix()] = f"{twin.name} has the same name"
    return Contents(name, split, [*readers.values()], file_contents(files, root), left_out)
