"""Mattes for photographs that have none: a strong network labels them, a second opinion decides which are kept."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageOps
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image
from torchvision.utils import make_grid
from tqdm.auto import tqdm

from modnet_lib.data.items import read_item
from modnet_lib.data.manifest import Item, background_files, find_items, sources
from modnet_lib.data.pseudo_mattes import write_picture
from modnet_lib.files import read_whole_lines, write_json
from modnet_lib.images import is_picture, read_image, to_bytes
from modnet_lib.provenance import checksum, read_json, require_same

ACTIVATIONS = {
    "none": lambda output: output,
    "sigmoid": lambda output: 1 / (1 + np.exp(-output)),
    "minmax": lambda output: (output - output.min()) / max(float(np.ptp(output)), 1e-6),
}
SOFTEST = 0.3  # largest share of the person that may be half transparent
THUMBNAIL, COLUMNS, SHOWN = 150, 5, 60  # pixels, pictures a row, pictures
Model = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 to (H, W) in [0, 1]


class Teacher:
    """A salient-object or matting network in ONNX.

    Parameters
    ----------
    file
        Takes (1, 3, S, S), float32 or float16; its first output is the matte, (1, 1, S, S) or (1, S, S).
    size
        S, pixels; read from the file if ``None``.
    mean, std
        The input is (RGB in [0, 1] - mean) / std.
    activation
        What turns the output into alpha, of `ACTIVATIONS`: nothing, a sigmoid, or stretching it to [0, 1].

    Raises
    ------
    ValueError
        If the file is missing or is no such network, its size is free and `size` is ``None``, or they differ.
    """

    def __init__(self, file: Path, size: int | None = None, mean=0.5, std=0.5, activation: str = "none"):
        import onnxruntime

        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        try:
            self.session = onnxruntime.InferenceSession(file, providers=onnxruntime.get_available_providers())
        except Exception as error:  # ONNX Runtime's own exceptions have no common public base
            raise ValueError(f"{file} is no ONNX network that ONNX Runtime can run: {error}") from error
        entry = self.session.get_inputs()[0]
        fixed = entry.shape[-1] if isinstance(entry.shape[-1], int) else None
        if not (side := size or fixed):
            raise ValueError(f"{file} takes any size: say which one to use")
        if side != (fixed or side):
            raise ValueError(f"{file} takes {fixed} x {fixed} pixels, not {side} x {side}")
        self.name, self.size, self.mean, self.std, self.activation = entry.name, side, mean, std, activation
        self.dtype = np.float16 if "float16" in entry.type else np.float32
        options = {"size": size, "mean": mean, "std": std, "activation": activation}
        self.settings = options | {"teacher": checksum(file)}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The matte of a photograph: (H, W, 3) uint8 to (H, W) float32 in [0, 1].

        A ValueError says that the output has another shape, or values outside of [0, 1].
        """
        small = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)
        pixels = ((small / 255.0 - self.mean) / self.std).transpose(2, 0, 1)[None].astype(self.dtype)
        output = np.asarray(self.session.run(None, {self.name: pixels})[0], np.float32).squeeze()
        matte = ACTIVATIONS[self.activation](output)
        if matte.ndim != 2 or not (matte.min() >= -0.01 and matte.max() <= 1.01):
            raise ValueError(
                f"the teacher's output, {matte.shape}, lies in [{matte.min():.3g}, {matte.max():.3g}], expected one "
                "map in [0, 1]; try the activation sigmoid or minmax"
            )
        return cv2.resize(matte, image.shape[1::-1], interpolation=cv2.INTER_LINEAR).clip(0, 1)


class Label(NamedTuple):
    """What became of one photograph: the IoU with the second opinion, a mask or a model, and why it was dropped."""

    id: str
    agreement: float
    against: str
    reason: str


def places_for(name: str, root: Path | None, split: str | None) -> tuple[list[Item], tuple[Path, Path]]:
    """What a teacher labels, and where to: the photographs, the folder for mattes, and the one for notes.

    `name` is a data set, with its folder `root` and its `split` (the first if ``None``), or a folder with photographs
    in ``image`` and perhaps masks of the same names in ``mask``.
    """
    if name in sources():
        source = sources()[name]
        root = root or source.root()
        items = find_items(name, root, split or next(iter(source.splits)))
        folder = root.parent / "teacher" / name
        return [item for item in items if "image" in item.files], (folder, folder)
    folder = Path(name)
    masks = {file.stem: {"mask": file} for file in folder.glob("mask/*") if is_picture(file)}
    photographs = background_files(folder / "image")
    items = [Item(file.stem, {"image": file} | masks.get(file.stem, {})) for file in photographs]
    return items, (folder / "alpha", folder)


def label_photographs(
    items: Sequence[Item], teacher: Teacher, places: tuple[Path, Path], model: Model, threshold: float = 0.86
) -> list[Label]:
    """Label photographs with a teacher; an interrupted call continues.

    Parameters
    ----------
    items
        Photographs; those with a mask or a label are compared with it, the others with `model`.
    teacher
        Makes the mattes.
    places
        See `places_for`. The first gets ``<id>.png`` for every kept matte; the second ``dropped/<id>.png`` for the
        others, ``index.csv`` (a line a photograph), ``teacher.json`` (the settings) and ``dropped.jpg``, a contact
        sheet of the dropped ones that agree least.
    model
        The second opinion where there is no mask, for instance the shipped network's.
    threshold
        Least agreement.

    Returns
    -------
    A label for each photograph, in order.

    Raises
    ------
    ValueError
        If the folder was begun with another teacher or threshold.
    """
    kept, folder = places
    settings = teacher.settings | {"threshold": threshold, "softest": SOFTEST}
    folder.mkdir(parents=True, exist_ok=True)
    if (identity := folder / "teacher.json").is_file():
        require_same(read_json(identity), settings, folder)
    write_json(identity, settings)
    done = {label.id: label for label in read_labels(folder / "index.csv")}
    with (folder / "index.csv").open("a", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        for item in tqdm([item for item in items if item.id not in done], "photographs", disable=None):
            label, matte = _label(item, teacher, model, threshold)
            if matte is not None:
                place = folder / "dropped" if label.reason else kept
                write_picture(place / f"{item.id}.png", to_bytes(matte))
            done[item.id] = label
            table.writerow(label)
            file.flush()
    labels = [done[item.id] for item in items]
    _draw_dropped(items, labels, folder)
    return labels


def _label(item: Item, teacher: Teacher, model: Model, threshold: float) -> tuple[Label, np.ndarray | None]:
    try:
        parts = read_item(item)
        matte = teacher(parts["image"])
        against = "mask" if "mask" in parts else "model"
        opinion = parts["mask"] if "mask" in parts else model(parts["image"]) > 0.5
    except Exception as error:  # one photograph must not end a run over thousands
        return Label(item.id, 0.0, "", str(error) or type(error).__name__), None
    person = matte > 0.5
    agreement = float((person & opinion).sum() / max(1, (person | opinion).sum()))
    soft = float(((matte > 0.1) & (matte < 0.9)).sum() / max(1, person.sum()))
    reason = ""
    if agreement < threshold:
        reason = f"agrees with the {against} by {agreement:.2f} only"
    elif soft > SOFTEST:
        reason = f"{100 * soft:.0f} % of the person is half transparent"
    return Label(item.id, round(agreement, 4), against, reason), matte


def read_labels(file: Path) -> list[Label]:
    """The labels that `label_photographs` wrote; a last line that was cut is left out, and out of the file."""
    rows = csv.reader(read_whole_lines(file) if file.is_file() else [])
    return [Label(key, float(agreement), *rest) for key, agreement, *rest in rows]


def _draw_dropped(items: Sequence[Item], labels: Sequence[Label], folder: Path) -> None:
    """Write ``dropped.jpg``, a contact sheet of dropped photographs beside their mattes, the least agreement first."""
    pairs = {
        label: (item.files["image"], matte)
        for item, label in zip(items, labels, strict=True)
        if label.reason and (matte := folder / "dropped" / f"{label.id}.png").is_file()
    }
    tiles: list[Image.Image] = []
    for label in sorted(pairs, key=lambda label: label.agreement)[:SHOWN]:
        pictures = [Image.fromarray(read_image(file)) for file in pairs[label]]
        tiles += [ImageOps.pad(picture, (THUMBNAIL, THUMBNAIL), color="white") for picture in pictures]
        ImageDraw.Draw(tiles[-2]).text((2, 2), f"{label.agreement:.2f} {label.id}"[:24], "red")
    if tiles:
        sheet = make_grid([pil_to_tensor(tile) for tile in tiles], 2 * COLUMNS, padding=0, pad_value=255)
        to_pil_image(sheet).save(folder / "dropped.jpg", quality=88)
