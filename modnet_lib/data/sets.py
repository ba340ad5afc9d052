"""What is trained on: drawn people, data sets of the manifest and folders of one's own."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modnet_lib import paths
from modnet_lib.data import pseudo_mattes
from modnet_lib.data.dataset import CompositionDataset, Contents
from modnet_lib.data.items import read_item
from modnet_lib.data.manifest import Item, find_items, training_items
from modnet_lib.data.pseudo_mattes import MattingSample, has_all_parts, read_parts
from modnet_lib.images import is_picture, read_image
from modnet_lib.profiles import DataConfig
from modnet_lib.provenance import file_contents


def training_data(config: DataConfig, seed: int, device: torch.device | str = "cpu") -> CompositionDataset:
    """The training set that a profile asks for; `seed` decides the order, crops and augmentation.

    Pictures are kept and cut on `device` if `config.on_device` says so. A FileNotFoundError or ValueError says that a
    data set is missing, unknown, held out, or has nothing to train on.
    """
    names, places = (config.foregrounds, config.backgrounds) if config.real else ((), ())
    # these first: if they are missing, that is known before anything is prepared
    foregrounds = [drawn_people(config.portraits)] if config.portraits else []
    backgrounds = [drawn_scenes(config.scenes)] if config.scenes else []
    backgrounds += [background_set(name) for name in places]
    foregrounds += [foreground_set(name, config.photographs, config.teacher) for name in names]
    return CompositionDataset(foregrounds, backgrounds, seed, config, device if config.on_device else "cpu")


def mask_data(config: DataConfig, seed: int, device: torch.device | str = "cpu") -> CompositionDataset:
    """What the backbone is pre-trained on: crops of photographs with masks, one per photograph and epoch.

    The arguments, and what is raised, are as in `training_data`; `config.masks` names the data sets.
    """
    sets = [
        drawn_people(config.portraits) if name == "drawn" else mask_set(name, config.photographs)
        for name in (config.masks if config.real else ("drawn",))
    ]
    settings = replace(config, natural=1, composites=0)
    return CompositionDataset(sets, [], seed, settings, device if config.on_device else "cpu")


def drawn_people(count: int, split: str = "train") -> Contents:
    """Drawn people of ``"train"`` or ``"validation"``, with their own colours, mattes and backgrounds.

    They are those in ``data/samples``, or if these do not suffice, those of the data set ``drawn``. A FileNotFoundError
    names the command that draws what is missing.
    """
    return _drawn(count, split, f"portraits {{}} {{}} --split {split}")


def drawn_scenes(count: int) -> Contents:
    """Drawn backgrounds; see `drawn_people`."""
    return _drawn(count, "train-scenes", "scenes {} {}")


def _drawn(count: int, split: str, command: str) -> Contents:
    root, place, hint = paths.SAMPLES / "drawn", "$MODNET_DATA/drawn", "set MODNET_DATA to a folder for data, then "
    items = find_items("drawn", root, split)
    if len(items) < count and (data := paths.external_data()):
        root, hint, items = data / "drawn", "", []
        place = str(root)
        with suppress(FileNotFoundError):
            items = find_items("drawn", root, split)
    if len(items) < count:
        raise FileNotFoundError(
            f"{root} has {len(items)} of the {count:,} drawn pictures needed (split {split}): "
            f"{hint}run python data/drawn_people {command.format(count, place)}"
        )
    items = items[:count]
    readers = {item.id: _reader(item) or partial(read_image, item.files["background"]) for item in items}
    return _contents("drawn", (split, root, items), readers)


def _reader(item: Item) -> Any:
    """How to read a person who needs no preparation; ``None`` for any other item."""
    return partial(read_parts, item) if has_all_parts(item) else None


def foreground_set(name: str, count: int, teacher: bool = False) -> Contents:
    """The first `count` foregrounds of a data set or custom folder, prepared; see `foreground_items`."""
    split, root, items = foreground_items(name, teacher)
    return _contents(name, (split, root, items), *prepared_readers(items[:count], name))


def foreground_items(name: str, teacher: bool = False) -> tuple[str, Path, list[Item]]:
    """What `training_items` gives; with `teacher`, with the mattes in ``$MODNET_DATA/teacher/NAME``."""
    split, root, items = training_items(name)
    mattes = {item.id: root.parent / "teacher" / name.partition(":")[0] / f"{item.id}.png" for item in items}
    taught = {key: {"teacher": file} for key, file in mattes.items() if teacher and file.is_file()}
    return split, root, [item._replace(files=item.files | taught.get(item.id, {})) for item in items]


def prepared_readers(items: Sequence[Item], name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Id and reader of every item, prepared where necessary, and the reason for every one that is left out."""
    folder, todo = pseudo_mattes.prepared_folder(name), [item for item in items if not has_all_parts(item)]
    _, failures = pseudo_mattes.prepare(todo, folder)
    readers = {item.id: _reader(item) or partial(pseudo_mattes.read_prepared, item, folder) for item in items}
    return {key: read for key, read in readers.items() if key not in failures}, failures


def usable_readers(items: Sequence[Item], name: str) -> dict[str, Any]:
    """`prepared_readers` of pictures that are measured: a ValueError if one of them cannot be used."""
    readers, failures = prepared_readers(items, name)
    if failures:
        raise ValueError(f"pictures of {name} cannot be used: {failures}")
    return readers


def background_set(name: str) -> Contents:
    """The backgrounds of a data set or custom folder, without the held-out ones."""
    split, root, items = training_items(name, backgrounds=True)
    if any("background" not in item.files for item in items):
        raise ValueError(f"{name} has no backgrounds")
    readers = {item.id: partial(read_image, item.files["background"]) for item in items}
    return _contents(name, (split, root, items), readers)


def mask_set(name: str, count: int) -> Contents:
    """The first `count` photographs with masks or mattes of a data set or folder."""
    split, root, items = training_items(name)
    readers, left_out = {}, {}
    for item in items[:count]:
        present = {role for role, file in item.files.items() if file.is_file()}
        # a photograph, or what Eq. 1 makes one of
        known = present >= {"foreground", "alpha", "background"} or (
            "image" in present and present & {"mask", "alpha", "label"}
        )
        if present == item.files.keys() and known:
            readers[item.id] = partial(read_mask, item)
        else:
            left_out[item.id] = f"no photograph with a mask: of {', '.join(item.files)}, {len(present)} are there"
    return _contents(name, (split, root, items), readers, left_out)


def read_mask(item: Item) -> MattingSample:
    """A photograph with a mask (or a matte, cut at one half) as a sample without estimated colours."""
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
