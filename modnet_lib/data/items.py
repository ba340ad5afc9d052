"""Read the files of an item: photographs, mattes of any kind, masks and labels; check a whole copy."""

import base64
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from modnet_lib.data.manifest import Item, find_items, find_source
from modnet_lib.images import open_picture, read_channels, read_image, to_bytes, unit

HAIR = 19  # Clothing-Co-Parsing's class for hair; 0 is background, everything else is worn, held or skin


def read_item(item: Item, *, exact: bool = False) -> dict[str, np.ndarray]:
    """Read every file of an item.

    With `exact`, a matte that does not fit into 8 bits stays (H, W) float32 in [0, 1].

    Returns
    -------
    By role: ``image``, ``foreground``, ``background`` (H, W, 3) uint8 RGB; ``alpha``, ``teacher`` (H, W) uint8;
    ``mask`` (H, W) bool. A cut-out becomes ``foreground`` and ``alpha``, or ``alpha`` alone beside an image; a label
    becomes what `read_label` returns.

    Raises
    ------
    FileNotFoundError, ValueError
        Names every file that is missing or damaged, and files whose sizes differ.
    """
    arrays, sizes, problems = dict[str, np.ndarray](), dict[Path, tuple[int, ...]](), list[Exception]()
    for role, file in item.files.items():
        try:
            parts = _read_file(role, file)
        except (ValueError, FileNotFoundError) as error:
            problems.append(error)
            continue
        if role == "cutout" and "image" in item.files:
            del parts["foreground"]
        if role != "background":
            sizes[file] = next(iter(parts.values())).shape[:2]
        arrays |= parts
    if len(set(sizes.values())) > 1:
        stated = ", ".join(f"{file} {size}" for file, size in sizes.items())
        problems.append(ValueError(f"the files of {item.id} differ in size: {stated}"))
    if problems:
        raise type(problems[0])("\n".join(map(str, problems)))
    if "alpha" in item.files:
        if "image" in arrays:
            refuse_cutout(arrays["alpha"], arrays["image"], item.files["alpha"])
        rounded = to_bytes(arrays["alpha"])
        if not exact or np.array_equal(rounded / np.float32(255), arrays["alpha"]):
            arrays["alpha"] = rounded
    return arrays


def _read_file(role: str, file: Path) -> dict[str, np.ndarray]:
    if role == "label":
        return read_label(file)
    if role == "cutout":
        opened = open_picture(file)
        if not isinstance(opened, Image.Image) or not opened.has_transparency_data:
            raise ValueError(f"{file} has no transparency: expected RGBA")
        rgba = np.asarray(opened.convert("RGBA"))
        return {"foreground": rgba[..., :3].copy(), "alpha": rgba[..., 3].copy()}
    if role == "alpha":
        return {role: read_matte(file)}
    if role == "mask":
        return {role: read_matte(file) >= 0.5}
    return {role: to_bytes(read_matte(file)) if role == "teacher" else read_image(file)}


def read_matte(file: str | Path) -> np.ndarray:
    """Read a matte as (H, W) float32 in [0, 1], at the full bit depth of the file.

    The matte is the transparency if that varies, else the grey values: one channel, or three that differ only by JPEG
    noise. Integers are divided by the largest value of their type, but a file with values 0 and 1 only is a label.
    Floating-point values lie in [0, 1], [0, 255] or [0, 65535].

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, damaged or coloured, holds two different mattes, or has an ambiguous range.
    """
    channels = _channels(Path(file))
    count = channels.shape[-1]
    try:
        if channels.ndim != 3 or count > 4:
            raise ValueError(f"expected 1 to 4 channels, got the shape {channels.shape}")
        colours = _unit(channels[..., : 3 if count > 2 else 1])
        alpha = _unit(channels[..., -1]) if count in (2, 4) else None
    except ValueError as error:
        raise ValueError(f"{file} is no matte: {error}") from error
    spread = np.ptp(colours, axis=2)
    grey = np.median(colours, axis=2) if spread.any() else colours[..., 0]
    # a small person on black has few coloured pixels
    is_coloured = spread.mean() > 0.03 or (spread > 0.12).mean() > 0.01
    if alpha is not None and np.ptp(alpha) > 0:
        is_plain = np.ptp(grey[alpha > 0]) < 0.03  # one colour wherever it is visible
        if is_coloured or is_plain or np.abs(grey - alpha).mean() < 0.004:
            return alpha
        raise ValueError(f"{file} holds two mattes: its grey values and its transparency differ; save only one of them")
    if alpha is not None and not alpha.any() and (is_coloured or np.ptp(grey) == 0):
        return alpha  # fully transparent
    if is_coloured:
        plain = (colours.max(axis=2) < 0.02) | (colours.min(axis=2) > 0.98)
        fault = "expected grey values or a transparency that varies"
        if plain.mean() > 0.05:
            fault = "it looks like a colour cut-out, not a matte; save its transparency"
        raise ValueError(f"{file} is coloured: {fault}")
    return grey


def _channels(file: Path) -> np.ndarray:
    """(H, W, C) of the file's own type: grey, grey and alpha, RGB, or RGBA."""
    image = open_picture(file)
    if isinstance(image, Image.Image):
        deep = read_channels(file)  # Pillow keeps 8 bits of several channels
        if deep is not None:
            return deep
        kept = image.mode[0] in "IF" or image.mode in ("L", "LA", "RGB", "RGBA")
        if not kept or "transparency" in image.info:
            colours = "RGBA" if image.has_transparency_data else "RGB"
            image = image.convert({"1": "L", "La": "LA"}.get(image.mode, colours))
    return np.atleast_3d(np.asarray(image))


def _unit(values: np.ndarray) -> np.ndarray:
    """`unit` in float32; integers up to 1 are a label."""
    low, high, kind = values.min(), values.max(), values.dtype.kind
    if high > 65535 or (low < 0 and kind == "i") or (kind == "f" and 1 < high < 2):
        raise ValueError(f"expected values in [0, 1], [0, 255] or [0, 65535], got [{low:g}, {high:g}]")
    is_label = kind in "iub" and high <= 1
    return (values if is_label else unit(values)).astype(np.float32)


def refuse_cutout(matte: np.ndarray, image: np.ndarray, file: str | Path) -> None:
    """Raise a ValueError that names `file` if its matte is a grey cut-out of the photograph.

    In a grey cut-out, most of the matte (H, W) in [0, 1] lies between 0 and 1 and is as bright as `image` (H, W, 3)
    uint8.
    """
    between = (matte > 0.03) & (matte < 0.97)
    person = min(int((matte > 0.03).sum()), int((matte < 0.97).sum()))  # on black, or on white
    if between.sum() <= person / 2:
        return
    brightness = image[between] @ np.array([0.299, 0.587, 0.114]) / 255
    if (np.abs(matte[between] - brightness) < 0.03).mean() > 0.8:
        raise ValueError(f"{file} looks like a grey cut-out of its photograph, not a matte; save its transparency")


def read_label(file: str | Path) -> dict[str, np.ndarray]:
    """Read a ``.mat`` of Clothing-Co-Parsing or a ``.json`` of Supervisely.

    Returns ``mask`` (the person) and, from Clothing-Co-Parsing, ``hair``, (H, W) bool. A ValueError names a file that
    is missing, damaged or empty.
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


def _supervisely_mask(annotation: dict[str, Any]) -> np.ndarray:
    """All objects whose class starts with ``person``: bitmaps (base64, zlib, PNG) and polygons with holes."""
    height, width = annotation["size"]["height"], annotation["size"]["width"]
    mask = np.zeros((height, width), bool)
    for shape in annotation["objects"]:
        if not shape["classTitle"].lower().startswith("person"):
            continue
        if bitmap := shape.get("bitmap"):
            packed = zlib.decompressobj().decompress(base64.b64decode(bitmap["data"]), 1 << 26)
            decoded: Any = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_UNCHANGED)
            part = np.atleast_3d(decoded)[..., -1]  # the transparency, if there is one
            x, y = bitmap["origin"]
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(f"a bitmap starts at {(x, y)}, outside of {(width, height)}")
            mask[y : y + part.shape[0], x : x + part.shape[1]] |= part[: height - y, : width - x] > 0
        else:
            canvas = Image.new("1", (width, height))
            points = shape["points"]
            for outline, fill in ((points["exterior"], 1), *((hole, 0) for hole in points["interior"])):
                ImageDraw.Draw(canvas).polygon([tuple(point) for point in outline], fill=fill)
            mask |= np.asarray(canvas)
    return mask


class Report(NamedTuple):
    """The number of intact items, what is wrong with the others, and the splits that are absent."""

    fine: int
    problems: list[str]
    absent: list[str]


def check(name: str, root: str | Path | None = None) -> Report:
    """Decode every file of a data set, with a progress bar, and compare counts and sizes.

    `name` and `root` are as for `find_items`, whose error is raised if all splits are absent.
    """
    source, items, problems, absent = find_source(name), {}, [], {}
    root = Path(root) if root else source.root()
    for split, layout in source.splits.items():
        try:
            found = find_items(name, root, split)
        except FileNotFoundError as error:
            absent[split] = error
            continue
        if layout.count not in (None, len(found)):
            problems.append(f"{split}: {len(found)} items, {layout.count} are published")
        items |= {tuple(item.files.values()): item for item in found}  # a split may be a part of another
    if not items:
        raise next(iter(absent.values()))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [*tqdm(pool.map(_fault, items.values()), "checking", len(items), disable=None)]
    problems += [line for text in wrong for line in text.splitlines()]
    return Report(wrong.count(""), problems, list(absent))


def _fault(item: Item) -> str:
    try:
        read_item(item)
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return ""
