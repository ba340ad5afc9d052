"""The figures of the notebooks: rows of pictures and training curves, and what a picture looks like in them.

Colours are Okabe and Ito's, so that no figure depends on telling red from green. A figure is shown once, where it
is the last line of a cell: pyplot does not keep it.
"""

from collections.abc import Mapping, Sequence

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image
from torch import Tensor

from modnet_lib.images import to_bytes
from modnet_lib.inference.matter import Prediction
from modnet_lib.notebook.style import BLACK, ORANGE, STYLE, WIDTH, make_figure
from modnet_lib.notebook.style import use_style as use_style

Picture = np.ndarray | Tensor


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
    lines = max(text.count("\n") + 1 if text else 0 for text in titles)
    height = min(height, (WIDTH - 0.12 * columns) / sum(widths))
    size = sum(widths) * height + 0.12 * columns, rows * (height + 0.12 + 0.18 * lines) + 0.3 * bool(caption)
    with plt.rc_context(STYLE):
        figure = make_figure(max(size[0], 3.0), size[1])
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


def part(
    picture: np.ndarray, size: tuple[int, int], zoom: float = 1.0, x: float = 0.5, y: float = 0.5
) -> np.ndarray:
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
    return np.asarray(
        Image.fromarray(picture).resize(size, Image.Resampling.NEAREST, (left, top, right, bottom))
    )


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
    return to_bytes(weight * foreground + (1 - weight) * background)


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


def training_curves(history: Sequence[Mapping[str, float]], *, smoothing: int | None = None) -> Figure:
    """Draw losses, learning rate and validation over the steps of a run.

    Parameters
    ----------
    history
        What `modnet_lib.training.loop.Trainer.run` returns (or the lines of ``metrics.jsonl``): ``step``, the loss
        and its terms, ``learning_rate``; keys that begin with ``validation_`` where the run validated.
    smoothing
        Steps in the moving average of the thick lines; a twentieth of the run if ``None``.

    Raises
    ------
    ValueError
        If there are no steps.
    """
    if not history:
        raise ValueError("history is empty: nothing was trained yet")
    steps = np.array([record["step"] for record in history])
    checks = sorted({key for record in history for key in record if key.startswith("validation_")})
    aside = {"step", "learning_rate", "seconds", "gradient_norm", "spread", *checks}
    window = smoothing or max(1, len(steps) // 20)
    with plt.rc_context(STYLE | {"axes.grid": True, "axes.grid.axis": "y"}):
        figure = make_figure(WIDTH, 3.6, layout="constrained")
        panels = figure.subplot_mosaic([["losses", "rate"], ["losses", "checks"]], width_ratios=(1.7, 1))
        for key in [key for key in history[0] if key not in aside]:
            values = np.array([record[key] for record in history])
            (line,) = panels["losses"].plot(steps, values, linewidth=0.6, alpha=0.35)
            means = [values[max(0, end - window) : end].mean() for end in range(1, len(values) + 1)]
            panels["losses"].plot(steps, means, color=line.get_color(), linewidth=2, label=key)
        title = f"training losses; thick: mean of {window} steps" if window > 1 else "training losses"
        panels["losses"].set(yscale="log", xlabel="step", ylabel="loss", title=title)
        panels["losses"].legend(ncols=2)
        panels["rate"].plot(steps, [record["learning_rate"] for record in history], color=BLACK)
        panels["rate"].set(title="learning rate", ylim=(0, None))
        panels["checks"].set(xlabel="step", ylabel="validation" if checks else "not validated")
        for key, marker in zip(checks, "osD^vP" * len(checks), strict=False):
            points = [(record["step"], record[key]) for record in history if key in record]
            label = f"{key.removeprefix('validation_')}: {points[-1][1]:.3g}"
            panels["checks"].semilogy(*zip(*points, strict=True), marker=marker, markersize=5, label=label)
        if checks:
            panels["checks"].legend(fontsize=8)
        for axes in (panels["losses"], *([panels["checks"]] if checks else [])):
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))  # also where there is less than a decade
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
    return figure
