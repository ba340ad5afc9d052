"""Static figures of the notebooks: their look, rows of pictures, and colours for mattes.

Colours are Okabe and Ito's, so that no figure depends on telling red from green. Every function returns a
figure that pyplot has already let go of: as the last line of a cell it is shown once.
"""

import io
import re
from collections.abc import Callable, Sequence
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

from modnet_lib.inference.matter import Prediction

BLACK = "#222222"
ORANGE, SKY, GREEN, BLUE, RED, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
STYLE: dict[str, Any] = {
    "figure.dpi": 90,
    "figure.facecolor": "white",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK]),
    "axes.grid": False,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "image.cmap": "viridis",
}
WIDTH = 10.0  # inches; 900 pixels
Picture = np.ndarray | Tensor


def use_style() -> None:
    """Give the notebook's own plots the look of these figures, and store figures small.

    Photographs become JPEG, drawings PNG with a palette.

    Nothing changes before it is called. Outside a notebook it only sets matplotlib's parameters.
    """
    plt.rcParams.update(STYLE)
    shell = get_ipython()
    if shell is not None:
        make_figure(1, 1)  # wakes the notebook's backend, which would put its own formatter back later
        for mime, encode in ENCODERS.items():
            shell.display_formatter.formatters[mime].for_type(Figure, partial(_with_description, encode))


def describe(figure: Figure) -> str:
    """What a figure says in words, for those who cannot see it: titles, axes, legends, caption."""
    parts = [" ".join(text.get_text().split()) for text in figure.texts]
    for axes in figure.axes:
        labels = [axes.get_xlabel(), axes.get_ylabel()]
        legend = axes.get_legend()
        words = [axes.get_title(), " against ".join(reversed(labels)) if all(labels) else ""]
        words += [text.get_text() for text in (legend.get_texts() if legend else axes.texts)]
        parts.append(", ".join(" ".join(word.split()) for word in words if word.strip()))
    text = "; ".join(part for part in parts if part)
    return re.sub(r"\\mathcal|[$\\{}]", "", text)[:600] or "figure"


def _with_description(encode: Callable[[Figure], bytes | None], figure: Figure) -> Any:
    data = encode(figure)
    return None if data is None else (data, {"alt": describe(figure)})


def _encode(figure: Figure, kind: str) -> bytes | None:
    """Photographs as JPEG, drawings as PNG of at most 256 colours; ``None`` for the other kind.

    A palette would turn the soft gradients of a photograph into contour lines.
    """
    photographs = any(np.ndim(image.get_array()) == 3 for axes in figure.axes for image in axes.images)
    if photographs != (kind == "jpeg"):
        return None
    drawn, stored = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=STYLE["figure.dpi"], bbox_inches="tight", pad_inches=0.08)
    picture = Image.open(drawn).convert("RGB")
    (picture if photographs else picture.quantize(256)).save(stored, kind, quality=85, optimize=True)
    return stored.getvalue()


ENCODERS = {f"image/{kind}": partial(_encode, kind=kind) for kind in ("png", "jpeg")}  # one of them answers


def make_figure(width: float, height: float, **kwargs: Any) -> Figure:
    """Make a figure that the notebook shows only where a cell ends with it."""
    figure = plt.figure(figsize=(width, height), **kwargs)
    plt.close(figure)
    return figure


def as_pixels(image: Picture) -> np.ndarray:
    """Bring a picture to what matplotlib draws.

    Parameters
    ----------
    image
        (H, W), (H, W, 1) or (H, W, 3) array, or (H, W), (C, H, W) or (1, C, H, W) tensor with C = 1 or 3;
        uint8 in [0, 255], bool, or floating point in [0, 1], which is clipped.

    Returns
    -------
    (H, W) or (H, W, 3) float32 in [0, 1].

    Raises
    ------
    ValueError
        If the shape is another.
    """
    shape = tuple(image.shape)
    if isinstance(image, Tensor):
        tensor = image.detach().cpu()
        pixels = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        if pixels.ndim == 4 and len(pixels) == 1:
            pixels = pixels[0]
        if pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
    else:
        pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)) or 0 in pixels.shape:
        raise ValueError(f"a picture is an (H, W[, 1 | 3]) array or a ([1,] 1 | 3, H, W) tensor, got {shape}")
    scale = np.float32(255 if pixels.dtype == np.uint8 else 1)
    return (pixels.astype(np.float32) / scale).clip(0, 1)


def image_row(
    images: Sequence[Picture],
    titles: Sequence[str],
    *,
    caption: str | None = None,
    columns: int | None = None,
    height: float = 2.6,
) -> Figure:
    """Show pictures side by side, each under its title.

    Parameters
    ----------
    images
        What `as_pixels` takes; grey maps are drawn with 0 black and 1 white.
    titles
        One for each picture; may be empty strings.
    caption
        A sentence below: what to look at.
    columns
        Pictures in a row, all if ``None``.
    height
        Height of a row in inches; less if the row would be wider than the page.

    Raises
    ------
    ValueError
        If there are no pictures, the titles do not match, or a shape is none of a picture's.
    """
    pictures = [as_pixels(image) for image in images]
    if not pictures or len(pictures) != len(titles):
        raise ValueError(f"need one title for each picture, got {len(pictures)} and {len(titles)}")
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    columns = min(columns or len(pictures), len(pictures))
    rows = -(-len(pictures) // columns)
    aspects = [p.shape[1] / p.shape[0] for p in pictures]
    widths = [max(aspects[column::columns]) for column in range(columns)]
    gap, title = 0.12, 0.08 + 0.17 * max(text.count("\n") + 1 if text else 0 for text in titles)
    height = min(height, (WIDTH - gap * (columns - 1)) / sum(widths))
    foot = 0.32 if caption else 0.02
    size = (max(sum(widths) * height + gap * (columns - 1), 3.0), rows * (height + title) + foot)
    with plt.rc_context(STYLE):
        figure = make_figure(*size)
        left = (size[0] - sum(widths) * height - gap * (columns - 1)) / 2
        for number, (picture, text) in enumerate(zip(pictures, titles, strict=True)):
            row, column = divmod(number, columns)
            x = left + sum(widths[:column]) * height + gap * column
            y = foot + (rows - 1 - row) * (height + title)
            axes = figure.add_axes(
                (x / size[0], y / size[1], widths[column] * height / size[0], height / size[1])
            )
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axes.set_title(text, pad=3)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="#BBBBBB", linewidth=0.6)
        if caption:
            figure.text(0.5, 0.07 / size[1], caption, ha="center", va="bottom", color="#444444")
    return figure


def over_colour(image: Picture, alpha: Picture, colour: str | Sequence[float] | np.ndarray) -> np.ndarray:
    """Eq. 1 with F = I: the picture, weighted by its matte, over one colour.

    Parameters
    ----------
    image, alpha
        RGB picture and matte of the same size; see `as_pixels`.
    colour
        A name or RGB in [0, 1] that matplotlib knows, or a background of shape (H, W, 3) in [0, 1].

    Returns
    -------
    (H, W, 3) uint8.

    Raises
    ------
    ValueError
        If the sizes differ or the colour is unknown.
    """
    foreground, weight = as_pixels(image), as_pixels(alpha)
    if foreground.ndim != 3 or weight.shape != foreground.shape[:2]:
        raise ValueError(f"the picture is {foreground.shape}, the matte {weight.shape}: sizes must agree")
    background = colour if isinstance(colour, np.ndarray) else np.array(to_rgb(colour), np.float32)
    weight = weight[..., None]
    return ((weight * foreground + (1 - weight) * background) * 255).round().astype(np.uint8)


def checkerboard(image: Picture, alpha: Picture, *, square: int = 16) -> np.ndarray:
    """Eq. 1 over a grey checkerboard, the usual sign for transparency; see `over_colour`.

    `square` is the side of a square in pixels; the board begins with the lighter grey in the top left corner.
    """
    height, width = as_pixels(image).shape[:2]
    board = (np.arange(height)[:, None] // square + np.arange(width) // square) % 2
    return over_colour(image, alpha, np.where(board, 0.6, 0.85)[..., None].astype(np.float32))


def error_map(alpha: Picture, truth: Picture) -> np.ndarray:
    """Where a matte is wrong: red where it is too small, blue where it is too large, white where it is right.

    Parameters
    ----------
    alpha, truth
        Mattes of the same size; see `as_pixels`.

    Returns
    -------
    (H, W, 3) float32 in [0, 1]; full colour is an error of 1.

    Raises
    ------
    ValueError
        If the sizes differ.
    """
    first, second = as_pixels(alpha), as_pixels(truth)
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"the matte is {first.shape}, the truth {second.shape}: sizes must agree")
    missing, extra = np.clip(second - first, 0, 1), np.clip(first - second, 0, 1)
    return np.stack([1 - extra, 1 - missing - extra, 1 - missing], axis=-1)


def tint_trimap(image: Picture, trimap: Picture) -> np.ndarray:
    """Darken the background and paint the unknown band (0.5) orange; (H, W, 3) float in [0, 1]."""
    picture, regions = as_pixels(image), as_pixels(trimap)
    if picture.ndim != 3 or regions.shape != picture.shape[:2]:
        raise ValueError(f"the picture is {picture.shape}, the trimap {regions.shape}: sizes must agree")
    orange = np.array(to_rgb(ORANGE), dtype=np.float32)
    unknown = np.abs(regions - 0.5) < 0.25  # 128 / 255 is meant as 0.5
    tinted = np.where(regions[..., None] < 0.25, 0.3 * picture, picture)
    return np.where(unknown[..., None], 0.35 * picture + 0.65 * orange, tinted)


def motion_colours(motion: np.ndarray) -> np.ndarray:
    """Motion of (H, W, 2) pixels as colours (H, W, 3) uint8: hue is the direction, brightness the length."""
    length = np.linalg.norm(motion, axis=2)
    angle = np.degrees(np.arctan2(motion[..., 1], motion[..., 0])) % 360
    value = np.clip(length / max(float(np.percentile(length, 99.5)), 1e-6), 0, 1)
    hsv = np.stack([angle, np.ones_like(value), value], axis=2).astype(np.float32)
    return (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).round().astype(np.uint8)


def show_prediction(prediction: Prediction) -> Figure:
    """Show the three answers of MODNet for one picture, and the cut-out that the matte gives.

    Parameters
    ----------
    prediction
        From `modnet_lib.inference.Matter.predict`.
    """
    image, semantic, detail, alpha = prediction
    return image_row(
        [image, semantic, detail, alpha, checkerboard(image, alpha, square=max(8, image.shape[1] // 32))],
        [
            "input $I$\nas it was read",
            "semantics $s_p$ (1/16)\nthe whole person? holes?",
            "details $d_p$\nonly the border counts",
            "matte $\\alpha_p$\nhair, gaps, soft edges",
            "cut-out over squares\ncolours left from behind?",
        ],
    )
