"""The data sets of ``data/manifest.toml``, and the files of a copy."""

import functools
import re
import tomllib
import unicodedata
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from modnet_lib import paths
from modnet_lib.images import is_picture, suffixes

ROLES = ("image", "cutout", "foreground", "alpha", "mask", "label", "background")
PACKED = "packed"  # the folder that ``data/pack`` adds to a data set
PARTS = ("alpha", "foreground", "background")  # the folders in it


@dataclass(frozen=True)
class Layout:
    """Where the files of one split lie: patterns by role, as the head of the manifest explains."""

    files: dict[str, list[str]]
    count: int | None = None
    by: str | None = None
    optional: tuple[str, ...] = ()
    list: str | None = None


@dataclass(frozen=True)
class Source:
    """One data set of the manifest."""

    name: str
    title: str
    folder: str
    licence: str
    access: str
    get: str
    splits: dict[str, Layout]
    held_out: dict[tuple[str, str], str]  # the split of each id that the manifest lists
    url: str = ""
    note: str = ""
    archives: list[dict[str, Any]] = field(default_factory=list)

    def root(self) -> Path:
        """The set's folder below ``MODNET_DATA``; a FileNotFoundError if that is not set."""
        if (data := paths.external_data()) is None:
            raise FileNotFoundError(f"set MODNET_DATA to the folder that is to hold {self.folder}: {self.get}")
        return data / self.folder

    def training_splits(self) -> list[str]:
        """The splits that training may use; all others are held out."""
        return [split for split in self.splits if split.startswith("train") or split == "all"]


class Item(NamedTuple):
    """One sample: its id and a file per role. A frame's id is ``clip/frame``."""

    id: str
    files: dict[str, Path]
    packed: bool = False


@functools.cache
def manifest() -> dict[str, Any]:
    """The parsed manifest."""
    return tomllib.loads(paths.MANIFEST.read_text(encoding="utf-8"))


@functools.cache
def sources() -> dict[str, Source]:
    """Every data set of the manifest by its name."""
    return {name: _source(name, entry) for name, entry in manifest().items() if "splits" in entry}


def _source(name: str, entry: dict[str, Any]) -> Source:
    splits = {}
    for split, keys in entry["splits"].items():
        files = {role: [p] if isinstance(p, str) else p for role, p in keys.items() if role in ROLES}
        splits[split] = Layout(files, **{key: keys[key] for key in keys if key not in ROLES})
    lists = {key.removesuffix("_ids"): ids for key, ids in entry.items() if key.endswith("_ids")}
    held_out = {_short(key): split for split, ids in lists.items() for key in ids}
    known = {key: entry[key] for key in Source.__annotations__ if key in entry}
    return Source(**known | {"name": name, "splits": splits, "held_out": held_out})


def find_source(name: str) -> Source:
    """The source of that name; a ValueError if there is none."""
    if name not in sources():
        raise ValueError(f"there is no source {name!r}; there are {', '.join(sources())}")
    return sources()[name]


def find_items(name: str, root: str | Path | None = None, split: str | None = None) -> list[Item]:
    """The items of one split of a data set, in order of their ids; if ``data/pack`` has packed it, the packed ones.

    An item of which a file is missing is included, and reading it names the file. Held-out ids never appear in a split
    for training, even if the copy is incomplete.

    Parameters
    ----------
    name, split
        A data set and one of its splits, which may be omitted if there is only one. Raises `ValueError` if unknown.
    root
        The folder; by default the one below ``MODNET_DATA``. Raises `FileNotFoundError` if it has nothing of the split,
        or lacks the list that defines the split.
    """
    source = find_source(name)
    split = split or (next(iter(source.splits)) if len(source.splits) == 1 else None)
    if split not in source.splits:
        raise ValueError(f"split must be one of {', '.join(source.splits)} for {name}, got {split!r}")
    layout, root = source.splits[split], Path(root) if root else source.root()
    if packed := (root / PACKED / split).is_dir():
        layout = Layout({r: [f"{PACKED}/{split}/{r}/{{path}}.webp"] for r in PARTS}, by="alpha", optional=PARTS[2:])
    found = {role: _match(root, patterns) for role, patterns in layout.files.items()}
    anchors = [layout.by] if layout.by else [role for role in layout.files if role not in layout.optional]
    values = {"/".join(value for _, value in key): dict(key) for role in anchors for key in found[role]}
    if not values:
        expected = layout.files[anchors[0]][0]
        raise FileNotFoundError(f"{root} is no copy of {source.title}: no {expected} in it. {source.get}")
    if layout.list:
        if not (file := root / layout.list).is_file():
            raise FileNotFoundError(f"the list {file} is missing. {source.get}")
        listed = {Path(line.strip()).stem for line in file.read_text(encoding="utf-8").splitlines()}
        values = {key: names for key, names in values.items() if _short(key)[1] in listed}
    items = [Item(key, _files(root, layout, found, names), packed) for key, names in sorted(values.items())]
    splits = [_split_of(source, item) for item in items]
    if name == "backgrounds" and set(splits) == {"train"}:  # not the listed ones: hold out one in eight by its name
        splits = ["train" if zlib.crc32(item.id.encode()) % 8 else "validation" for item in items]
    chosen = [item for item, known in zip(items, splits, strict=True) if known in (split, "")]
    if not chosen:
        raise FileNotFoundError(f"{root} has no pictures of the split {split} of {source.title}")
    return chosen


def _match(root: Path, patterns: list[str]) -> dict[tuple[tuple[str, str], ...], Path]:
    """The first file for each combination of values of the names in braces; earlier patterns take precedence."""
    found: dict[tuple[tuple[str, str], ...], Path] = {}
    for pattern in patterns:
        stem, _, ending = pattern.rpartition(".")
        fields = re.split(r"\{(\w+)\}", stem)  # text and names by turns
        fields[::2], names = map(re.escape, fields[::2]), fields[1::2]
        fields[1::2] = [f"(?P<{name}>{'.+' if name == 'path' else '[^/]+'})" for name in names]
        endings = map(re.escape, sorted(suffixes()) if ending == "*" else [f".{ending}"])
        regex = re.compile(f"{''.join(fields)}(?i:{'|'.join(endings)})")
        for file in sorted(root.glob(re.sub(r"\{\w+\}", "*", stem.replace("{path}", "**/*")) + ".*")):
            name = unicodedata.normalize("NFC", file.relative_to(root).as_posix())  # macOS writes NFD
            if (match := regex.fullmatch(name)) and not _is_hidden(name) and file.is_file():
                found.setdefault(tuple(match.groupdict().items()), file)
    return found


def _files(root: Path, layout: Layout, found: dict[str, dict], names: dict[str, str]) -> dict[str, Path]:
    """An item's file for every role; if it is missing and not optional, the expected one."""
    files = {}
    for role, patterns in layout.files.items():
        keys = [tuple((n, names[n]) for n in re.findall(r"\{(\w+)\}", pattern)) for pattern in patterns]
        file = next((found[role][key] for key in keys if key in found[role]), None)
        if file or role not in layout.optional:
            files[role] = file or root / patterns[0].format(**names)
    return files


def _is_hidden(name: str) -> bool:
    """Whether a file is left over from an interrupted download or a file manager."""
    return name.startswith(".") or "/." in name


def _split_of(source: Source, item: Item) -> str:
    """The split of an item by the lists of ids; empty for a data set without lists."""
    if "unlabelled" in source.splits and not (item.packed or "label" in item.files):
        return "unlabelled"
    return source.held_out.get(_short(item.id), "train") if source.held_out else ""


def _short(key: str) -> tuple[str, str]:
    """The outermost folder and the name: archives add folders in between."""
    return key.partition("/")[0], key.rpartition("/")[2]


def training_items(name: str, backgrounds: bool = False) -> tuple[str, Path, list[Item]]:
    """The split, root and items that training uses from a data set or custom folder, without held-out ids.

    `name` is a data set, ``NAME:SPLIT``, or a custom folder: pairs in ``image`` and ``alpha``, cut-outs, or, with
    `backgrounds`, any pictures.

    Raises
    ------
    FileNotFoundError
        If the data set or folder is missing; the message says how to get it.
    ValueError
        If the split is held out for tests, or a custom folder contains held-out pictures or overlaps a data set that
        has some.
    """
    name, _, split = (name, "", "") if Path(name).is_dir() else name.partition(":")
    if name in sources():
        allowed = sources()[name].training_splits()
        split = split or next(iter(allowed), "")
        if split not in allowed:
            known = ", ".join(allowed) or "none"
            raise ValueError(f"{name}:{split} is held out for tests; splits of {name} for training: {known}")
        return split, sources()[name].root(), find_items(name, split=split)
    root = Path(name).expanduser().resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"{name!r} is neither a data set ({', '.join(sources())}) nor a folder")
    for source in sources().values() if paths.external_data() else ():
        known, held_out = source.root().resolve(), len(source.training_splits()) < len(source.splits)
        if held_out and known.is_dir() and (root.is_relative_to(known) or known.is_relative_to(root)):
            raise ValueError(
                f"{root} shares files with the data set {source.name}, which holds out pictures; give its name instead"
            )
    if backgrounds:
        items = [Item(file.relative_to(root).as_posix(), {"background": file}) for file in background_files(root)]
    else:
        items = find_items("pairs" if (root / "image").is_dir() else "cutouts", root)
    _refuse_copies(root, items)
    return "all", root, items


def _refuse_copies(root: Path, items: list[Item]) -> None:
    """Raise a ValueError if a folder contains pictures, by name, that ``people`` or ``backgrounds`` hold out."""
    ids = [item.id.removesuffix(next(iter(item.files.values())).suffix) for item in items]
    for name in ("people", "backgrounds"):
        known = sources()[name].held_out.keys()
        if found := [key for key in ids if known & {_short(key), (Path(key).name,) * 2}]:
            raise ValueError(
                f"{root} holds {len(found)} pictures that {name} holds out for tests, for instance {found[0]}; "
                "give the name of the data set instead, or remove them"
            )


def held_out_backgrounds() -> list[Path]:
    """Backgrounds for composited tests, which training never sees."""
    return [item.files["background"] for item in find_items("backgrounds", split="validation")]


def background_files(root: str | Path) -> list[Path]:
    """Every picture below a folder, sorted; a FileNotFoundError if there are none."""
    found = (file for file in Path(root).rglob("*") if is_picture(file))
    files = sorted(file for file in found if not _is_hidden(file.relative_to(root).as_posix()))
    if not files:
        raise FileNotFoundError(f"no pictures below {root}")
    return files
