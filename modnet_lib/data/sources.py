"""Data sets in their publishers' own layouts: what there is, reading it, checking it.

The layouts are a table, ``data/manifest.toml``; its head explains the patterns.
"""

import base64
import functools
import io
import json
import os
import re
import tomllib
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from modnet_lib import paths
from modnet_lib.images import PICTURES, open_picture, read_image, to_bytes
from modnet_lib.mattes import read_matte, refuse_cutout

HAIR = 19  # Clothing-Co-Parsing's class for hair; 0 is background, everything else is worn, held or skin
ROLES = ("image", "cutout", "foreground", "alpha", "mask", "label", "trimap", "background")
# shows how far a loop is: takes what it goes over and how many there are
Track = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class Layout:
    """Where the files of one split lie: patterns per role, see the head of ``data/manifest.toml``."""

    files: dict[str, list[str]]
    count: int | None = None
    list: str | None = None
    by: str | None = None
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One data set of the manifest; what is not known is empty."""

    name: str
    title: str
    folder: str
    use: str
    licence: str
    access: Literal["open", "gated", "request", "own", "made"]
    get: str
    splits: dict[str, Layout]
    url: str = ""
    note: str = ""
    archives: list[dict[str, Any]] = field(default_factory=list)

    def root(self) -> Path:
        """The set's folder below ``MODNET_DATA``; a FileNotFoundError if that is not set."""
        if (data := paths.external_data()) is None:
            raise FileNotFoundError(
                f"set MODNET_DATA to the folder that holds, or is to hold, {self.folder}: {self.get}"
            )
        return data / self.folder


class Item(NamedTuple):
    """One sample: its id and a file per role. A frame's id is ``clip/frame``."""

    id: str
    files: dict[str, Path]

    @property
    def clip(self) -> str:
        """The part of the id before the last slash: what frames of one video have in common."""
        return self.id.rpartition("/")[0]


class Report(NamedTuple):
    """What `check` found: how many items are whole, what is wrong, and the splits that are not there."""

    fine: int
    problems: list[str]
    absent: list[str]


@functools.cache
def manifest() -> dict:
    """What ``data/manifest.toml`` says of every source."""
    return tomllib.loads(paths.MANIFEST.read_text(encoding="utf-8"))


@functools.cache
def sources() -> dict[str, Source]:
    """Every data set of the manifest by its name."""
    found = {}
    for name, entry in manifest().items():
        if "splits" not in entry:  # weights
            continue
        splits = {}
        for split, keys in entry["splits"].items():
            files = {role: [p] if isinstance(p, str) else p for role, p in keys.items() if role in ROLES}
            splits[split] = Layout(files, **{key: keys[key] for key in keys if key not in ROLES})
        known = {key: entry[key] for key in Source.__annotations__ if key in entry}
        found[name] = Source(**known | {"name": name, "splits": splits})
    return found


def find_source(name: str) -> Source:
    """The source of that name; a ValueError if there is none."""
    if name not in sources():
        raise ValueError(f"there is no source {name!r}; there are {', '.join(sources())}")
    return sources()[name]


def find_items(name: str, root: str | Path | None = None, split: str | None = None) -> list[Item]:
    """The items of one split that are present, in order of their ids.

    An item of which a file is missing is among them, so that reading it names the file. Ids of
    Clothing-Co-Parsing that are held out come from the manifest, so that no copy, partial or whole, lets
    them into training.

    Parameters
    ----------
    name
        The source.
    root
        The data set's folder; the one below ``MODNET_DATA`` if ``None``.
    split
        One of the source's splits; may be left out if it has only one.

    Raises
    ------
    FileNotFoundError
        If nothing of the layout is in the folder, or the list that the split is cut down to is missing.
    ValueError
        For an unknown source or split.
    """
    source = find_source(name)
    split = split or (next(iter(source.splits)) if len(source.splits) == 1 else None)
    if split not in source.splits:
        raise ValueError(f"split must be one of {', '.join(source.splits)} for {name}, got {split!r}")
    layout, root = source.splits[split], Path(root) if root else source.root()
    anchors = [layout.by] if layout.by else [role for role in layout.files if role not in layout.optional]
    fields: dict[str, dict[str, str]] = {}
    for pattern in (pattern for role in anchors for pattern in layout.files[role]):
        for values in _matches(root, pattern):
            if not fields or values.keys() == next(iter(fields.values())).keys():
                fields.setdefault("/".join(values.values()), values)
    if not fields:
        expected = layout.files[anchors[0]][0]
        raise FileNotFoundError(f"{root} is no copy of {source.title}: no {expected} in it. {source.get}")
    if layout.list:
        file = root / layout.list
        if not file.is_file():
            raise FileNotFoundError(f"the list {file} is missing. {source.get}")
        listed = {Path(line.strip()).stem for line in file.read_text(encoding="utf-8").splitlines()}
        fields = {key: values for key, values in fields.items() if key.rpartition("/")[2] in listed}
    items = []
    for key, values in sorted(fields.items()):
        files = {role: _locate(root, patterns, values) for role, patterns in layout.files.items()}
        kept = {r: file for r, file in files.items() if r not in layout.optional or file.is_file()}
        items.append(Item(key, kept))
    splits = [_split_of(name, item) for item in items]
    if name == "backgrounds" and set(splits) == {"train"}:
        return _hold_out_some(items, split)
    return [item for item, known in zip(items, splits, strict=True) if known in (split, "")]


def _matches(root: Path, pattern: str) -> Iterator[dict[str, str]]:
    """What the names in braces stand for, for every file that fits."""
    parts = re.split(r"(\{\w+\}|\.\*$)", pattern)
    named = {"{path}": "(?P<path>.+)", ".*": rf"(?i:{'|'.join(map(re.escape, PICTURES))})"}
    any_name = {part: f"(?P<{part[1:-1]}>[^/]+)" for part in parts if part.startswith("{")}
    regex = "".join((any_name | named).get(part, re.escape(part)) for part in parts)
    for file in root.glob(re.sub(r"\{\w+\}", "*", pattern.replace("{path}", "**/*"))):
        name = file.relative_to(root)
        if (match := re.fullmatch(regex, name.as_posix())) and not _is_hidden(name) and file.is_file():
            yield match.groupdict()


def _is_hidden(name: Path) -> bool:
    """Leftovers of a download that was cut, or of another system's file manager."""
    return any(part.startswith(".") for part in name.parts)


def _locate(root: Path, patterns: list[str], values: dict[str, str]) -> Path:
    """The first existing file, else the expected one."""
    candidates, stems = list[Path](), list[Path]()
    for pattern in patterns:
        names = {name: values.get(name) for name in re.findall(r"\{(\w+)\}", pattern)}
        if None in names.values():
            continue
        stem, any_suffix = pattern.removesuffix(".*").format(**names), pattern.endswith(".*")
        suffixes = [s for suffix in PICTURES for s in (suffix, suffix.upper())] if any_suffix else [""]
        candidates += [root / f"{stem}{suffix}" for suffix in suffixes]
        stems += [root / stem] if any_suffix else []
    if found := next((file for file in candidates if file.is_file()), None):
        return found
    for stem in stems:  # list the folder only for rare suffixes such as .Png
        for file in sorted(stem.parent.iterdir()) if stem.parent.is_dir() else ():
            if file.stem == stem.name and file.suffix.lower() in PICTURES and file.is_file():
                return file
    return candidates[0]


def _split_of(name: str, item: Item) -> str:
    """The split that the manifest's lists of ids put an item in; empty for a set without such lists."""
    if not (listed := _listed(name)):
        return ""
    if name == "ccp" and "label" not in item.files:
        return "unlabelled"
    return listed.get(_outer_folder_and_name(item.id), "train")


@functools.cache
def _listed(name: str) -> dict[tuple[str, str], str]:
    """The split of every id in the manifest's lists."""
    lists = {key.removesuffix("_ids"): ids for key, ids in manifest()[name].items() if key.endswith("_ids")}
    return {_outer_folder_and_name(key): split for split, ids in lists.items() for key in ids}


def _hold_out_some(items: list[Item], split: str) -> list[Item]:
    """Hold out one in eight backgrounds, chosen by name: the manifest does not list custom pictures."""
    return [item for item in items if (zlib.crc32(item.id.encode()) % 8 == 0) == (split == "validation")]


def _outer_folder_and_name(key: str) -> tuple[str, str]:
    """Archives add folders in between."""
    return key.partition("/")[0], key.rpartition("/")[2]


def training_items(name: str) -> tuple[str, Path, list[Item]]:
    """The training items of a data set or custom folder.

    Parameters
    ----------
    name
        A data set of the manifest, ``NAME:SPLIT``, or a custom folder: pairs in ``image`` and ``alpha``, or
        cut-outs.

    Returns
    -------
    The split, the root of its files, and the items, without the ids that the manifest holds out.

    Raises
    ------
    FileNotFoundError
        If the set or the folder is missing; the message says how to get it.
    ValueError
        If the split is held out, or a custom folder shares files with a data set that holds out pictures.
    """
    name, _, split = (name, "", "") if Path(name).is_dir() else name.partition(":")
    if name in sources():
        allowed, root = _training_splits(find_source(name)), find_source(name).root()
        split = split or next(iter(allowed), "")
        if split not in allowed:
            known = ", ".join(allowed) or "none"
            raise ValueError(f"{name}:{split} is held out for tests; splits of {name} for training: {known}")
        return split, root, find_items(name, split=split)
    root = custom_folder(name)
    layout = "pairs" if (root / "image").is_dir() else "cutouts"
    items = find_items(layout, root)
    refuse_copies(root, [item.id for item in items])
    return "all", root, items


def refuse_copies(root: Path, ids: Iterable[str]) -> None:
    """Raise a ValueError if a folder holds copies of pictures that ``people`` or ``backgrounds`` hold out.

    `ids` are the names of its pictures below `root`, without suffixes.
    """
    for name in ("people", "backgrounds"):
        known = set(map(_outer_folder_and_name, manifest()[name]["validation_ids"]))
        if found := [key for key in ids if known & {_outer_folder_and_name(key), (Path(key).name,) * 2}]:
            raise ValueError(
                f"{root} holds {len(found)} pictures that {name} holds out for tests, for instance {found[0]}; "
                "give the name of the data set instead, or remove them"
            )


def custom_folder(name: str) -> Path:
    """The path of a custom folder to train on.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it shares files with a data set that holds out pictures: under its path, they would enter training.
    """
    root = Path(name).expanduser().resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"{name!r} is neither a data set ({', '.join(sources())}) nor a folder")
    for source in sources().values() if paths.external_data() else ():
        known, held_out = source.root().resolve(), len(_training_splits(source)) < len(source.splits)
        if held_out and known.is_dir() and (root.is_relative_to(known) or known.is_relative_to(root)):
            raise ValueError(
                f"{root} shares files with the data set {source.name}, which holds out pictures; give its name instead"
            )
    return root


def _training_splits(source: Source) -> list[str]:
    return [split for split in source.splits if split.startswith("train") or split == "all"]


def read_item(item: Item, *, exact: bool = False) -> dict[str, np.ndarray]:
    """Read every file of an item.

    Parameters
    ----------
    item
        See `find_items`.
    exact
        Keep a matte that does not fit into 8 bits as (H, W) float32 in [0, 1] instead of rounding it.

    Returns
    -------
    By role: ``image``, ``foreground``, ``background`` (H, W, 3) uint8 RGB; ``alpha``, ``trimap`` (H, W) uint8;
    ``mask``, ``hair`` (H, W) bool. A cut-out becomes ``foreground`` and ``alpha``, or ``alpha`` alone if there
    is an image; a label becomes ``mask`` and, if it knows hair, ``hair``.

    Raises
    ------
    FileNotFoundError, ValueError
        Naming the file that is missing or damaged, or the files whose sizes differ.
    """
    arrays, errors = _read_parts(item)
    if errors:
        raise errors[0]
    if "alpha" in arrays and arrays["alpha"].dtype != np.uint8:
        rounded = to_bytes(arrays["alpha"])
        if not exact or np.array_equal(rounded / np.float32(255), arrays["alpha"]):
            arrays["alpha"] = rounded
    return arrays


def _read_parts(item: Item) -> tuple[dict[str, np.ndarray], list[Exception]]:
    arrays: dict[str, np.ndarray] = {}
    errors: list[Exception] = []
    sizes: dict[Path, tuple[int, ...]] = {}
    for role, file in item.files.items():
        try:
            parts = _read_file(role, file)
        except (ValueError, FileNotFoundError) as error:
            errors.append(error)
            continue
        if role == "cutout" and "image" in item.files:
            del parts["foreground"]
        if role != "background":
            sizes[file] = next(iter(parts.values())).shape[:2]
        arrays |= parts
    if len(set(sizes.values())) > 1:
        stated = ", ".join(f"{file} {size}" for file, size in sizes.items())
        errors.append(ValueError(f"the files of {item.id} differ in size: {stated}"))
    elif "alpha" in item.files and {"image", "alpha"} <= arrays.keys():
        try:
            refuse_cutout(arrays["alpha"], arrays["image"], item.files["alpha"])
        except ValueError as error:
            errors.append(error)
    return arrays, errors


def _read_file(role: str, file: Path) -> dict[str, np.ndarray]:
    if role == "alpha":
        return {role: read_matte(file)}
    if role in ("trimap", "teacher"):
        return {role: to_bytes(read_matte(file))}
    if role == "mask":
        return {role: read_matte(file) >= 0.5}
    if role == "label":
        return read_label(file)
    if role == "cutout":
        opened = open_picture(file)
        mode = (
            opened.mode
            if isinstance(opened, Image.Image)
            else f"{opened.shape[2]} channels of {opened.dtype}"
        )
        if not isinstance(opened, Image.Image) or not ("A" in mode or "transparency" in opened.info):
            raise ValueError(f"{file} has no transparency: expected RGBA, got {mode}")
        rgba = np.asarray(opened.convert("RGBA"))
        return {"foreground": rgba[..., :3].copy(), "alpha": rgba[..., 3].copy()}
    return {role: read_image(file)}


def read_label(file: str | Path) -> dict[str, np.ndarray]:
    """Read ``mask`` (the person) and, if the label tells it apart, ``hair``: (H, W) bool.

    Parameters
    ----------
    file
        A ``.mat`` of Clothing-Co-Parsing or a ``.json`` of Supervisely.

    Raises
    ------
    ValueError
        If the label is missing, unreadable or empty.
    """
    from scipy.io import loadmat

    file = Path(file)
    try:
        if file.suffix == ".json":
            label = {"mask": _supervisely_mask(json.loads(file.read_text(encoding="utf-8")))}
        else:
            classes = loadmat(file)["groundtruth"]
            label = {"mask": classes > 0, "hair": classes == HAIR}
    except Exception as error:  # the parsers raise many types on damaged files
        raise ValueError(f"{file} is no readable label: {type(error).__name__}: {error}") from error
    if not label["mask"].any():
        raise ValueError(f"the label {file} is empty: no person in it")
    return label


def _supervisely_mask(annotation: dict) -> np.ndarray:
    """All objects whose class starts with ``person``: bitmaps (zlib, base64, PNG) and polygons with holes."""
    height, width = int(annotation["size"]["height"]), int(annotation["size"]["width"])
    mask = np.zeros((height, width), bool)
    for shape in annotation["objects"]:
        if not shape["classTitle"].lower().startswith("person"):
            continue
        if bitmap := shape.get("bitmap"):
            packed = zlib.decompressobj().decompress(base64.b64decode(bitmap["data"]), 1 << 26)
            picture = Image.open(io.BytesIO(packed))
            coded = picture.mode in ("RGBA", "P")  # in the transparency
            part = np.asarray(picture.convert("RGBA").getchannel("A") if coded else picture)
            x, y = (int(value) for value in bitmap["origin"])
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(f"a bitmap starts at {(x, y)}, outside of {(width, height)}")
            mask[y : y + part.shape[0], x : x + part.shape[1]] |= part[: height - y, : width - x] > 0
        else:
            canvas = Image.new("1", (width, height))
            draw = ImageDraw.Draw(canvas)
            points = shape["points"]
            for outline, fill in ((points["exterior"], 1), *((hole, 0) for hole in points["interior"])):
                draw.polygon([tuple(point) for point in outline], fill=fill)
            mask |= np.asarray(canvas)
    return mask


def check(name: str, root: str | Path | None = None, track: Track = lambda jobs, _count: jobs) -> Report:
    """Decode every file of a source and compare counts and sizes.

    Parameters
    ----------
    name, root
        As for `find_items`.
    track
        Shows progress over the items.

    Raises
    ------
    FileNotFoundError
        If no split is there.
    ValueError
        For an unknown source.
    """
    source, items, problems, absent = find_source(name), {}, [], {}
    root = Path(root) if root else source.root()
    for split, layout in source.splits.items():
        try:
            found = find_items(name, root, split)
        except FileNotFoundError as error:
            absent[split] = error
            continue
        if not found:
            absent[split] = FileNotFoundError(f"nothing of the split {split} is in {root}")
        elif layout.count not in (None, len(found)):
            problems.append(f"{split}: {len(found)} items, {layout.count} are published")
        items |= {tuple(item.files.values()): item for item in found}  # a split may be a part of another
    if not items:
        raise next(iter(absent.values()))
    fine = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for errors in track(pool.map(lambda item: _read_parts(item)[1], items.values()), len(items)):
            problems += [str(error) for error in errors]
            fine += not errors
    return Report(fine, problems, list(absent))


def held_out_backgrounds() -> list[Path]:
    """Backgrounds that training never sees, for composited tests.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    files = [item.files["background"] for item in find_items("backgrounds", split="validation")]
    if not files:
        raise FileNotFoundError(
            f"{find_source('backgrounds').root()} has no pictures that training leaves out"
        )
    return files


def background_files(root: str | Path) -> list[Path]:
    """Every picture below a folder, sorted: a background source is any folder of people-free pictures.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or has no pictures.
    """
    found = (path for path in Path(root).rglob("*") if path.suffix.lower() in PICTURES)
    files = sorted(path for path in found if not _is_hidden(path.relative_to(root)))
    if not files:
        raise FileNotFoundError(f"no pictures below {root}")
    return files
