"""A profile's pictures as one small file, for a machine that downloads nothing; it unpacks to a ``MODNET_DATA``."""

import io
import json
import zipfile
from bisect import bisect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
from PIL import Image

from modnet_lib import paths
from modnet_lib.data.items import Track
from modnet_lib.data.manifest import PACKED, PARTS, Item, find_items, find_source, manifest, training_items
from modnet_lib.data.sets import foreground_items, prepared_readers
from modnet_lib.files import write_atomically
from modnet_lib.images import read_image
from modnet_lib.profiles import Profile
from modnet_lib.provenance import file_contents, fingerprint, recorded

SIDE = 512  # of a picture, pixels, at most
ALPHA_QUALITY = 95  # of WebP; colours have less
Picture = tuple[PurePosixPath, str | Path, Callable[[], Any]]  # a folder of the pack, a name, and how to read it


def pack(
    profile: Profile, file: str | Path, size: float = 24, track: Track = lambda jobs, _count: jobs
) -> dict[str, Any]:
    """Write the pictures that a profile trains and validates on as a zip of at most `size` MiB.

    Unpacked, it is a folder for ``MODNET_DATA``: the same ids in the same splits, foregrounds as F, alpha and, for a
    photograph (which Eq. 1 gives back), B; and the backbone's weights. Drawn people and scenes are not in it: their
    program draws the same pixels anywhere.

    Parameters
    ----------
    profile
        Names data sets of the manifest. What training prepares is prepared first; an interrupted call resumes that.
    file
        Where to. The file is written whole or not at all.
    size
        Colours get the highest quality that fits.
    track
        Shows progress.

    Returns
    -------
    What the pack holds as ``index.json``: ids by set and split, what was left out, quality, and provenance.

    Raises
    ------
    FileNotFoundError, ValueError
        If data is missing or cannot be used, the profile uses none, or it does not fit.
    """
    if not profile.data.real:
        raise ValueError(f"the profile {profile.name!r} trains on drawn people only: there is nothing to pack")
    index, pictures = {"profile": profile.name, "sets": {}, "left out": {}}, list[Picture]()
    for name, split, items, scenes in _sets(profile):
        source = find_source(name.partition(":")[0])
        folder, key = PurePosixPath(source.folder), f"{source.name}:{split}"
        if scenes:
            readers = {item.id: partial(read_image, item.files["background"]) for item in items}
            files = {item.id: item.files["background"].relative_to(source.root()) for item in items}
            pictures += [(folder, files[key].with_suffix(".webp"), read) for key, read in readers.items()]
        else:
            readers, index["left out"][key] = prepared_readers(items, name)
            pictures += [(folder / PACKED / split, f"{key}.webp", read) for key, read in readers.items()]
        used = [file for item in items if item.id in readers for file in item.files.values()]
        made_from = fingerprint(file_contents(used, source.root()))
        index["sets"][key] = {"ids": [*readers], "made from": made_from}
    index |= recorded("modnet data pack", device="cpu", precision="uint8")
    write_atomically(file, lambda temporary: _write(temporary, index, pictures, size * 2**20, track))
    return index


def _sets(profile: Profile) -> Iterator[tuple[str, str, list[Item], bool]]:
    """Name, split and items of everything that is trained or validated on, and whether they are backgrounds."""
    config = profile.data
    people = dict.fromkeys(name for name in (*config.foregrounds, *config.masks) if name != "drawn")
    for name, scenes in [*((name, False) for name in people), *((name, True) for name in config.backgrounds)]:
        split, _, items = training_items(name) if scenes else foreground_items(name, config.teacher)
        yield name, split, items if scenes else items[: config.photographs], scenes
        source = find_source(name.partition(":")[0])
        if "validation" in source.splits:
            held_out = find_items(source.name, split="validation")
            yield source.name, "validation", held_out if scenes else held_out[: profile.validation], scenes


def _write(file: Path, index: dict[str, Any], pictures: list[Picture], limit: float, track: Track) -> None:
    """Write a pack, with the highest quality of colours with which it fits."""
    weights = manifest()["mobilenet_v2"]["file"]
    source = (paths.external_data() or Path()) / weights
    with ThreadPoolExecutor() as pool:  # encoding runs outside of Python's lock
        some = pictures[:: max(1, len(pictures) // 100)]

        def expected(quality: int) -> float:
            encoded = pool.map(partial(_encode, quality=quality), some)
            return len(pictures) / len(some) * sum(len(one) + 200 for parts in encoded for one in parts.values())

        room = limit - (source.stat().st_size if source.is_file() else 0)
        for quality in range(max(1, bisect(range(1, 96), room, key=expected)), 0, -2):
            with zipfile.ZipFile(file, "w") as archive:
                for parts in track(pool.map(partial(_encode, quality=quality), pictures), len(pictures)):
                    for name, content in parts.items():
                        archive.writestr(name, content)
                if source.is_file():
                    archive.write(source, weights)
                archive.writestr("index.json", json.dumps(index | {"quality": quality}, indent=1))
            index["quality"] = quality
            if file.stat().st_size <= limit:
                return
    raise ValueError(f"{len(pictures)} pictures do not fit into {limit / 2**20:g} MiB; give more with --size")


def _encode(picture: Picture, quality: int) -> dict[str, bytes]:
    """The files of one picture."""
    folder, name, read = picture
    sample, files = read(), {}
    parts = {role: getattr(sample, role) for role in PARTS if hasattr(sample, role)} or {"": sample}
    for role, part in parts.items():
        scale = min(1, SIDE / max(part.shape[:2]))
        small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else part
        content = io.BytesIO()
        Image.fromarray(small).save(content, "WEBP", quality=ALPHA_QUALITY if role == "alpha" else quality)
        files[(folder / role / name).as_posix()] = content.getvalue()
    return files
