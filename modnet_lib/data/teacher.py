"""Mattes for photographs that have none: a strong network labels them, a second opinion decides which are kept."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from modnet_lib.data.pseudo_mattes import write_picture
from modnet_lib.data.sources import Item, Track, background_files, find_items, find_source, read_item, sources
from modnet_lib.files import read_whole_lines, write_json
from modnet_lib.images import read_image, to_bytes
from modnet_lib.provenance import read_json, require_same

Activation = Literal["none", "sigmoid", "minmax"]
INDEX, IDENTITY, SHEET = "index.csv", "teacher.json", "dropped.jpg"
THUMBNAIL, COLUMNS, SHOWN = 150, 5, 60


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
        What turns the output into alpha: nothing, a sigmoid, or stretching it to [0, 1].

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or is no such network, or its size is free and `size` is ``None``.
    """

    def __init__(
        self,
        file: str | Path,
        *,
        size: int | None = None,
        mean: float = 0.5,
        std: float = 0.5,
        activation: Activation = "none",
    ):
        import onnxruntime

        if not Path(file).is_file():
            raise FileNotFoundError(f"no network at {file}")
        try:
            self.session = onnxruntime.InferenceSession(file, providers=onnxruntime.get_available_providers())
        except Exception as error:  # ONNX Runtime's own exceptions have no common public base
            raise ValueError(f"{file} is no ONNX network that ONNX Runtime can run: {error}") from error
        entry = self.session.get_inputs()[0]
        fixed = entry.shape[-1] if isinstance(entry.shape[-1], int) else None
        side = size or fixed
        if side is None:
            raise ValueError(f"{file} takes any size: say which one to use")
        if fixed and side != fixed:
            raise ValueError(f"{file} takes {fixed} x {fixed} pixels, not {side} x {side}")
        self.name, self.size = entry.name, side
        self.dtype = np.float16 if "float16" in entry.type else np.float32
        self.mean, self.std, self.activation = mean, std, activation

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The matte of a photograph: (H, W, 3) uint8 to (H, W) float32 in [0, 1].

        Raises
        ------
        ValueError
            If the output has another shape, or values outside of [0, 1].
        """
        small = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)
        pixels = ((small / 255.0 - self.mean) / self.std).transpose(2, 0, 1)[None].astype(self.dtype)
        output = np.asarray(self.session.run(None, {self.name: pixels})[0], np.float32)
        if output.size != output.shape[-1] * output.shape[-2]:
            raise ValueError(f"the teacher's output has the shape {output.shape}; expected one map")
        matte = output.reshape(output.shape[-2:])
        if self.activation == "sigmoid":
            matte = 1 / (1 + np.exp(-matte))
        elif self.activation == "minmax":
            matte = (matte - matte.min()) / max(float(np.ptp(matte)), 1e-6)
        if not (matte.min() >= -0.01 and matte.max() <= 1.01):
            raise ValueError(
                f"the teacher's output lies in [{matte.min():.3g}, {matte.max():.3g}], expected [0, 1]; "
                "try the activation sigmoid or minmax"
            )
        height, width = image.shape[:2]
        return cv2.resize(matte, (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)


class Label(NamedTuple):
    """What became of one photograph.

    Attributes
    ----------
    id
        Of the item.
    agreement
        Intersection over union with the second opinion, both cut at one half.
    against
        ``"mask"`` or ``"model"``: the second opinion.
    reason
        Why it was dropped; empty if it was kept.
    """

    id: str
    agreement: float
    against: str
    reason: str


def places_for(name: str, root: Path | None, split: str | None) -> tuple[list[Item], tuple[Path, Path]]:
    """What a teacher labels, and where to: the photographs, the folder for mattes, and the one for notes.

    Parameters
    ----------
    name
        A data set, or a folder with photographs in ``image`` and perhaps masks of the same names in ``mask``.
    root
        The data set's folder; the one below ``MODNET_DATA`` if ``None``.
    split
        Of the data set; its first if ``None``.

    Raises
    ------
    FileNotFoundError
        If there are no photographs.
    ValueError
        For an unknown set or split.
    """
    if name in sources():
        source = find_source(name)
        root = root or source.root()
        items = find_items(name, root, split or next(iter(source.splits)))
        folder = root.parent / "teacher" / name
        return [item for item in items if "image" in item.files], (folder, folder)
    folder = Path(name)
    photographs = {file.stem: file for file in background_files(folder / "image")}
    masks = (
        {file.stem: file for file in background_files(folder / "mask")} if (folder / "mask").is_dir() else {}
    )
    items = [
        Item(key, {"image": file, **({"mask": masks[key]} if key in masks else {})})
        for key, file in photographs.items()
    ]
    return items, (folder / "alpha", folder)


def label_photographs(
    items: Sequence[Item],
    teacher: Teacher,
    places: tuple[Path, Path],
    model: Callable[[np.ndarray], np.ndarray],
    *,
    settings: dict[str, Any],
    threshold: float = 0.86,
    softest: float = 0.3,
    track: Track = lambda jobs, _count: jobs,
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
        A picture to its matte, for instance the shipped network's.
    settings
        What decides the mattes besides `threshold` and `softest`; another call must have the same.
    threshold
        Least agreement.
    softest
        Largest share of the person that may be half transparent.
    track
        Shows progress.

    Returns
    -------
    A label for each photograph, in order.

    Raises
    ------
    ValueError
        If `folder` was begun with other settings.
    """
    kept, folder = places
    settings = settings | {"threshold": threshold, "softest": softest}
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / IDENTITY).is_file():
        require_same(read_json(folder / IDENTITY), settings, folder)
    write_json(folder / IDENTITY, settings)
    done = {label.id: label for label in read_labels(folder / INDEX)}
    with (folder / INDEX).open("a", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        for item in track([item for item in items if item.id not in done], len(items) - len(done)):
            label, matte = _label(item, teacher, model, threshold, softest)
            if matte is not None:
                target = (folder / "dropped" if label.reason else kept) / f"{item.id}.png"
                write_picture(target, to_bytes(matte))
            done[item.id] = label
            table.writerow(done[item.id])
            file.flush()
    labels = [done[item.id] for item in items]
    draw_dropped(items, labels, folder)
    return labels


def _label(
    item: Item, teacher: Teacher, model: Callable, threshold: float, softest: float
) -> tuple[Label, np.ndarray | None]:
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
    elif soft > softest:
        reason = f"{100 * soft:.0f} % of the person is half transparent"
    return Label(item.id, round(agreement, 4), against, reason), matte


def read_labels(file: Path) -> list[Label]:
    """The labels that `label_photographs` wrote; a last line that was cut is left out, and out of the file."""
    if not file.is_file():
        return []
    rows = csv.reader(read_whole_lines(file))
    return [Label(key, float(agreement), *rest) for key, agreement, *rest in rows]


def draw_dropped(items: Iterable[Item], labels: Iterable[Label], folder: Path) -> Path | None:
    """A contact sheet of dropped photographs beside their mattes, the least agreement first."""
    dropped = [(label, item) for label, item in zip(labels, items, strict=True) if label.reason]
    shown = [(label, item) for label, item in dropped if (folder / "dropped" / f"{item.id}.png").is_file()]
    shown = sorted(shown, key=lambda pair: pair[0].agreement)[:SHOWN]
    if not shown:
        return None
    rows, cell = -(-len(shown) // COLUMNS), THUMBNAIL + 14
    sheet = Image.new("RGB", (COLUMNS * 2 * THUMBNAIL, rows * cell), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (label, item) in enumerate(shown):
        x, y = number % COLUMNS * 2 * THUMBNAIL, number // COLUMNS * cell
        for k, file in enumerate((item.files["image"], folder / "dropped" / f"{item.id}.png")):
            picture = Image.fromarray(read_image(file))
            picture.thumbnail((THUMBNAIL, THUMBNAIL))
            sheet.paste(picture, (x + k * THUMBNAIL, y))
        draw.text((x + 2, y + THUMBNAIL + 1), f"{label.agreement:.2f} {item.id}"[:40], fill="black")
    sheet.save(folder / SHEET, quality=88)
    return folder / SHEET
