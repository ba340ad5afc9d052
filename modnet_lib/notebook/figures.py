"""The figures of the notebooks: one style, rows of pictures, and pictures prepared for them.

Colours are Okabe and Ito's, so no figure depends on telling red from green. A figure is shown once, where it is the
last line of a cell: pyplot does not keep it.
"""

import io
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from modnet_lib.images import read_out, to_bytes

Picture = np.ndarray | Tensor
BLACK = "#222222"
ORANGE, SKY, GREEN, BLUE, RED, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
STYLE: dict[str, Any] = {
    "figure.dpi": 90,
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK]),
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
}
WIDTH = 10.0  # inches; 900 pixels of a drawing
PHOTOGRAPH_DPI = 150  # a row of photographs is 1,500 pixels wide


def use_style() -> None:
    """Give plots the look of these figures. In a notebook, also store figures small and with alternative text."""
    plt.rcParams.update(STYLE)
    if (shell := get_ipython()) is not None:
        make_figure(1, 1)  # loads the notebook's backend, which would otherwise replace the formatters later
        for kind in ("png", "jpeg"):
            formatter = shell.display_formatter.formatters[f"image/{kind}"]
            formatter.for_type(Figure, partial(encode, kind=kind))


def make_figure(width: float, height: float, **options: Any) -> Figure:
    """Make a figure, sizes in inches, that the notebook shows only where a cell ends with it."""
    figure = plt.figure(figsize=(width, height), **options)
    plt.close(figure)
    return figure


def describe(figure: Figure) -> str:
    """Say in words what a figure shows, for those who cannot see it: caption, titles, axes, legends."""
    parts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        labels, legend = [axes.get_ylabel(), axes.get_xlabel()], axes.get_legend()
        words = [axes.get_title(), " against ".join(labels) if all(labels) else ""]
        words += [text.get_text() for text in (legend.get_texts() if legend else axes.texts)]
        parts.append(", ".join(word.strip() for word in words if word.strip()))
    text = " ".join("; ".join(part for part in parts if part).split())
    return re.sub(r"\\mathcal|[$\\{}]", "", text)[:600] or "figure"


def encode(figure: Figure, kind: str) -> tuple[bytes, dict[str, str]] | None:
    """Encode photographs as ``"jpeg"``, drawings as ``"png"`` of at most 256 colours; ``None`` for the other kind.

    A palette would turn the soft gradients of a photograph into contour lines.
    """
    photographs = any(np.ndim(image.get_array()) == 3 for axes in figure.axes for image in axes.images)
    if photographs != (kind == "jpeg"):
        return None
    drawn, stored = io.BytesIO(), io.BytesIO()
    dpi = PHOTOGRAPH_DPI if photographs else STYLE["figure.dpi"]
    figure.savefig(drawn, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.08)
    picture = Image.open(drawn).convert("RGB")
    (picture if photographs else picture.quantize(256)).save(stored, kind, quality=80, optimize=True)
    return stored.getvalue(), {"alt": describe(figure)}


def as_pixels(image: Picture) -> np.ndarray:
    """Return a picture as matplotlib draws it: (H, W) or (H, W, 3) float32 in [0, 1].

    Takes an (H, W), (H, W, 1) or (H, W, 3) array, or an (H, W), (C, H, W) or (1, C, H, W) tensor with C = 1 or 3; uint8
    in [0, 255], bool, or floating point in [0, 1], which is clipped.
    """
    pixels = image
    if isinstance(pixels, Tensor):
        pixels = read_out(pixels.float() if pixels.is_floating_point() else pixels)
        pixels = pixels[0] if pixels.ndim == 4 and len(pixels) == 1 else pixels
        pixels = np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    return (pixels.astype(np.float32) / np.float32(255 if pixels.dtype == np.uint8 else 1)).clip(0, 1)


def image_row(
    images: Sequence[Picture],
    titles: Sequence[str],
    *,
    caption: str | None = None,
    columns: int | None = None,
    height: float = 3.4,
) -> Figure:
    """Show pictures side by side, each under its title.

    Parameters
    ----------
    images
        What `as_pixels` takes; grey maps are drawn with 0 black and 1 white.
    titles
        One for each picture; may be empty.
    caption
        A sentence below: what to look at.
    columns
        Pictures in a row, at least 1; up to four if ``None``.
    height
        Of a row, in inches of 150 pixels; less if the row would be wider than the page.

    Raises
    ------
    ValueError
        If there are no pictures, or the titles do not match.
    """
    pictures = [as_pixels(image) for image in images]
    if not pictures or len(pictures) != len(titles):
        raise ValueError(f"need one title for each picture, got {len(pictures)} and {len(titles)}")
    columns = min(columns or 4, len(pictures))
    rows = -(-len(pictures) // columns)
    aspects = [p.shape[1] / p.shape[0] for p in pictures]
    widths = [max(aspects[column::columns]) for column in range(columns)]
    gaps, lines = 0.12 * columns, max(text.count("\n") + bool(text) for text in titles)
    height = min(height, (WIDTH - gaps) / sum(widths))
    width = max(sum(widths) * height + gaps, 3.0)
    with plt.rc_context(STYLE):
        figure = make_figure(width, rows * (height + 0.12 + 0.18 * lines) + 0.3 * bool(caption))
        figure.set_layout_engine("compressed", w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
        grid = figure.subplots(rows, columns, squeeze=False, width_ratios=widths).ravel()
        for axes, picture, text in zip(grid, pictures, titles, strict=False):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axes.set_title(text, pad=3)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="#BBBBBB", linewidth=0.6)
        for axes in grid[len(pictures) :]:
            axes.remove()
        if caption:
            figure.supxlabel(caption, fontsize="medium", color="#444444")
    return figure


def fitting(image: np.ndarray, longest: int) -> tuple[int, int]:
    """Width and height of a picture (H, W, ...), shrunk if a side exceeds `longest` pixels."""
    scale = min(1.0, longest / max(image.shape[:2]))
    return max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))


def part(picture: np.ndarray, size: tuple[int, int], zoom: float = 1.0, x: float = 0.5, y: float = 0.5) -> np.ndarray:
    """Cut out the part of a picture that a zoom shows and bring it to a size; pixels are averaged or repeated.

    Parameters
    ----------
    picture
        (H, W) uint8 or float32, or (H, W, 3) uint8.
    size
        Width and height of the result in pixels.
    zoom
        The part is 1 / `zoom` of the picture's width and height.
    x, y
        Where it lies: 0 at the left or top border, 1 at the right or bottom border.
    """
    height, width = picture.shape[:2]
    left, top = width * (1 - 1 / zoom) * x, height * (1 - 1 / zoom) * y
    right, bottom = min(left + width / zoom, width), min(top + height / zoom, height)
    if size[0] < width / zoom:
        cut = picture[round(top) : max(round(bottom), 1), round(left) : max(round(right), 1)]
        return cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
    # Pillow also takes a window that begins within a pixel, as it does in small maps
    image = Image.fromarray(picture).resize(size, Image.Resampling.NEAREST, (left, top, right, bottom))
    return np.asarray(image)


def over_colour(image: Picture, alpha: Picture, colour: str | np.ndarray) -> np.ndarray:
    """Eq. 1 with F = I: an RGB picture, weighted by its matte, over one colour; (H, W, 3) uint8.

    Parameters
    ----------
    image, alpha
        Of one size; see `as_pixels`.
    colour
        A name that matplotlib knows, or a background that broadcasts to (H, W, 3), in [0, 1].
    """
    foreground, weight = as_pixels(image), as_pixels(alpha)[..., None]
    background = np.array(to_rgb(colour), np.float32) if isinstance(colour, str) else colour
    return to_bytes(weight * foreground + (1 - weight) * background)


def checkerboard(image: Picture, alpha: Picture, *, square: int = 16) -> np.ndarray:
    """Eq. 1 over a grey checkerboard with squares of that many pixels, the lighter grey first; see `over_colour`."""
    height, width = as_pixels(image).shape[:2]
    board = (np.arange(height)[:, None] // square + np.arange(width) // square) % 2
    return over_colour(image, alpha, np.where(board, 0.6, 0.85)[..., None].astype(np.float32))


def error_map(alpha: Picture, truth: Picture) -> np.ndarray:
    """Where a matte is wrong: red where it is too small, blue where it is too large, white where it is right.

    Mattes as for `as_pixels`, of one size; (H, W, 3) float32 in [0, 1], where full colour is an error of 1.
    """
    first, second = as_pixels(alpha), as_pixels(truth)
    missing, extra = np.clip(second - first, 0, 1), np.clip(first - second, 0, 1)
    return np.stack([1 - extra, 1 - missing - extra, 1 - missing], axis=-1)


def tint_trimap(image: Picture, trimap: Picture) -> np.ndarray:
    """Darken the background and paint the unknown band (0.5) orange; (H, W, 3) float32 in [0, 1]."""
    picture, regions = as_pixels(image), as_pixels(trimap)[..., None]
    tinted = np.where(regions < 0.25, 0.3 * picture, picture)
    unknown = 0.35 * picture + 0.65 * np.array(to_rgb(ORANGE), np.float32)
    return np.where(np.abs(regions - 0.5) < 0.25, unknown, tinted)


def finest(alpha: Picture, size: int = 160) -> tuple[slice, slice]:
    """Rows and columns of the square of that many pixels in which most of a matte (H, W) is mixed: usually hair."""
    values = as_pixels(alpha)
    size = min(size, *values.shape)
    mixed = cv2.boxFilter(values * (1 - values), -1, (size, size), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inside = mixed[: values.shape[0] - size + 1, : values.shape[1] - size + 1]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return slice(int(top), int(top) + size), slice(int(left), int(left) + size)
