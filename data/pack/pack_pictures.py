"""A profile's pictures as one zip file, at most 512 pixels a side, in WebP."""

import io
import json
import zipfile
from bisect import bisect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from modnet_lib import paths
from modnet_lib.data.manifest import PACKED, PARTS, find_items, find_source, manifest
from modnet_lib.data.pseudo_mattes import prepare, prepared_folder
from modnet_lib.data.sets import foreground_items
from modnet_lib.files import write_atomically
from modnet_lib.images import read_image
from modnet_lib.profiles import Profile
from modnet_lib.provenance import file_contents, fingerprint, recorded

SIDE = 512  # of a picture, pixels, at most
ALPHA_QUALITY = 95  # of WebP; colours have less
Picture = tuple[str, Callable[[], Any]]  # its place in the pack, and how to read it


def pack(profile: Profile, file: str | Path, size: float = 24) -> dict[str, Any]:
    """Write the pictures that a profile trains and validates on as a zip of at most `size` MiB.

    Unpacked, it is a folder for ``MODNET_DATA``: the same ids in the same splits, foregrounds as F, alpha and, of a
    photograph (which Eq. 1 gives back), B; and the backbone's weights. Drawn people and scenes are not in it: their
    program draws the same pixels anywhere.

    The profile names data sets of the manifest; what training prepares is prepared first, and an interrupted call
    resumes that. Colours get the highest quality that fits. `file` is written whole or not at all: a FileNotFoundError
    or ValueError says that data is missing or cannot be used, that the profile uses none, or that it does not fit.

    Returns
    -------
    The pack's ``index.json``: ids, what is left out and a hash of the files by set and split; quality; provenance.
    """
    config, index, pictures = profile.data, {"profile": profile.name, "sets": {}}, list[Picture]()
    if not config.real:
        raise ValueError(f"the profile {profile.name!r} trains on drawn people only: there is nothing to pack")
    for name in sorted({*config.foregrounds, *config.masks, *config.backgrounds} - {"drawn"}):
        source, (split, root, items) = find_source(name.partition(":")[0]), foreground_items(name, config.teacher)
        scenes, splits = name in config.backgrounds, {split: (items, config.photographs)}
        if "validation" in source.splits:
            splits["validation"] = find_items(source.name, split="validation"), profile.validation
        for split, (items, count) in splits.items():
            if scenes:
                names = {item.id: item.files["background"].relative_to(root).with_suffix("") for item in items}
                readers, left_out = {item.id: partial(read_image, item.files["background"]) for item in items}, {}
            else:
                readers, left_out = prepare(items[:count], prepared_folder(name))
                names = {key: f"{PACKED}/{split}/*/{key}" for key in readers}
            contents = file_contents((f for item in items if item.id in readers for f in item.files.values()), root)
            about = {"ids": [*readers], "left out": left_out, "made from": fingerprint(contents)}
            index["sets"][f"{source.name}:{split}"] = about
            pictures += [(f"{source.folder}/{names[key]}.webp", read) for key, read in readers.items()]
    index |= recorded("python data/pack", device="cpu", precision="uint8")
    write_atomically(file, lambda temporary: _write(temporary, index, pictures, size * 2**20))
    return index


def _write(file: Path, index: dict[str, Any], pictures: list[Picture], limit: float) -> None:
    """Write a pack, with the highest quality of colours with which it fits."""
    weights = manifest()["mobilenet_v2"]["file"]
    source = (paths.external_data() or Path()) / weights
    room = limit - (source.stat().st_size if source.is_file() else 0)
    some = pictures[:: max(1, len(pictures) // 100)]

    def expected(quality: int) -> float:
        sizes = (len(content) + 200 for picture in some for content in _encode(picture, quality).values())
        return sum(sizes) * len(pictures) / len(some)

    for index["quality"] in range(max(1, bisect(range(1, 96), room, key=expected)), 0, -2):
        with zipfile.ZipFile(file, "w") as archive, ThreadPoolExecutor() as pool:  # encoding leaves Python's lock
            encoded = pool.map(partial(_encode, quality=index["quality"]), pictures)
            for name, content in (
                part for parts in tqdm(encoded, "pictures", len(pictures), disable=None) for part in parts.items()
            ):
                archive.writestr(name, content)
            if source.is_file():
                archive.write(source, weights)
            archive.writestr("index.json", json.dumps(index, indent=1))
        if file.stat().st_size <= limit:
            return
    raise ValueError(f"{len(pictures)} pictures do not fit into {limit / 2**20:g} MiB; give more with --size")


def _encode(picture: Picture, quality: int) -> dict[str, bytes]:
    """The files of one picture."""
    (name, read), files = picture, {}
    sample = read()
    parts = {"": sample} if isinstance(sample, np.ndarray) else {role: getattr(sample, role) for role in PARTS}
    for role in (role for role in parts if parts[role] is not None):
        height, width = (round(side * min(1, SIDE / max(parts[role].shape[:2]))) for side in parts[role].shape[:2])
        small, content = cv2.resize(parts[role], (width, height), interpolation=cv2.INTER_AREA), io.BytesIO()
        Image.fromarray(small).save(content, "WEBP", quality=ALPHA_QUALITY if role == "alpha" else quality)
        files[name.replace("*", role)] = content.getvalue()
    return files
