"""Readers for data sets in their publishers' own layouts, and the splits that training respects."""

import functools
import tomllib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from modnet_lib import paths

Split = Literal["train", "validation", "reserved", "unlabelled"]
HAIR = 19  # Clothing-Co-Parsing's class for hair; 0 is background, everything else is worn, held or skin
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class CCPItem(NamedTuple):
    """A photograph of Clothing-Co-Parsing; `label` is ``None`` for those that have none."""

    id: str
    photo: Path
    label: Path | None


class CCPLabel(NamedTuple):
    """Person and hair, (H, W) bool each."""

    person: np.ndarray
    hair: np.ndarray


@functools.cache
def manifest() -> dict:
    """What ``data/manifest.toml`` says of every source."""
    return tomllib.loads(paths.MANIFEST.read_text(encoding="utf-8"))


def ccp_items(root: str | Path, split: Split) -> list[CCPItem]:
    """The photographs of one split of Clothing-Co-Parsing that are present, in order of their ids.

    Validation and reserved ids come from the manifest, so that no copy, partial or whole, lets them into
    training.

    Parameters
    ----------
    root
        The data set's folder: ``photos/NNNN.jpg``, ``annotations/pixel-level/NNNN.mat``.
    split
        ``"train"``, ``"validation"``, ``"reserved"`` (the final test) or ``"unlabelled"``.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or has no photographs.
    ValueError
        For an unknown split.
    """
    root = Path(root)
    photos = sorted((root / "photos").glob("[0-9][0-9][0-9][0-9].jpg"))
    if not photos:
        raise FileNotFoundError(f"{root} is no copy of Clothing-Co-Parsing: no photos/NNNN.jpg in it")
    entry = manifest()["ccp"]
    held_out = {"validation": set(entry["validation_ids"]), "reserved": set(entry["reserved_ids"])}
    unusable = set(entry["unusable_ids"])
    items = []
    for photo in photos:
        label = root / "annotations" / "pixel-level" / f"{photo.stem}.mat"
        items.append(CCPItem(photo.stem, photo, label if label.is_file() else None))
    labelled = [item for item in items if item.label and item.id not in unusable]
    if split == "unlabelled":
        return [item for item in items if item.label is None]
    if split == "train":
        return [item for item in labelled if not any(item.id in ids for ids in held_out.values())]
    if split in held_out:
        return [item for item in labelled if item.id in held_out[split]]
    raise ValueError(f"split must be train, validation, reserved or unlabelled, got {split!r}")


def read_ccp_label(item: CCPItem, size: tuple[int, int] | None = None) -> CCPLabel:
    """Person and hair masks of one photograph.

    Parameters
    ----------
    item
        An item with a label.
    size
        (height, width) of the photograph, to be checked against.

    Raises
    ------
    ValueError
        If the label is missing, unreadable, empty, or of another size than the photograph.
    """
    from scipy.io import loadmat

    if item.label is None:
        raise ValueError(f"{item.id} has no pixel-level label")
    try:
        classes = loadmat(item.label)["groundtruth"]
    except Exception as error:  # scipy raises many types on damaged files
        raise ValueError(f"{item.label} is no readable label: {error}") from error
    if size is not None and classes.shape != tuple(size):
        raise ValueError(f"the label {item.label} is {classes.shape}, its photograph {tuple(size)}")
    if not classes.any():
        raise ValueError(f"the label {item.label} is empty")
    return CCPLabel(classes > 0, classes == HAIR)


def background_files(root: str | Path) -> list[Path]:
    """Every picture below a folder, sorted: a background source is any folder of people-free pictures.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or has no pictures.
    """
    files = sorted(path for path in Path(root).rglob("*") if path.suffix.lower() in PICTURES)
    if not files:
        raise FileNotFoundError(f"no pictures below {root}")
    return files


def training_sources() -> dict[str, Path]:
    """Which sources of real training data are at hand: ``ccp`` and ``backgrounds`` below ``MODNET_DATA``."""
    root = paths.external_data()
    if root is None:
        return {}
    folders = {"ccp": root / "clothing-co-parsing", "backgrounds": root / "backgrounds"}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}
