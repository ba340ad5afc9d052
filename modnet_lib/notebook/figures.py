"""Static figures of the notebooks: rows of pictures, curves, costs; with those of `drawings` in one place.

Colours are Okabe and Ito's, so that no figure depends on telling red from green. Every function returns a
figure that pyplot has already let go of: as the last line of a cell it is shown once.
"""

from collections.abc import Mapping, Sequence

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from modnet_lib.inference.matter import Prediction
from modnet_lib.notebook.drawings import (
    BLACK,
    BLUE,
    ORANGE,
    STYLE,
    WIDTH,
    compact_png,
    draw_architecture,
    draw_easpp,
    draw_fig1,
    make_figure,
    use_style,
)
from modnet_lib.objectives.supervised import PAPER_WEIGHTS

__all__ = [
    "as_pixels",
    "checkerboard",
    "compact_png",
    "cost_bars",
    "draw_architecture",
    "draw_easpp",
    "draw_fig1",
    "efficiency_plot",
    "image_row",
    "loss_map_figure",
    "motion_colours",
    "over_colour",
    "show_prediction",
    "tint_trimap",
    "training_curves",
    "trimap_overlay",
    "use_style",
]

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
    gap, title = (
        0.12,
        0.08 + 0.17 * max(text.count("\n") + 1 for text in titles if text) if any(titles) else 0.08,
    )
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


def trimap_overlay(image: Picture, trimap: Picture) -> Figure:
    """Show a picture, its trimap, and the trimap laid over the picture."""
    regions = as_pixels(trimap)
    shares = [100 * float(part.mean()) for part in (regions > 0.75, np.abs(regions - 0.5) <= 0.25)]
    return image_row(
        [image, trimap, tint_trimap(image, trimap)],
        ["image", f"trimap, {shares[0]:.1f} % foreground", f"{shares[1]:.1f} % unknown (orange)"],
        caption="White: alpha is 1. Black: alpha is 0. Grey, and orange on the right: unknown.",
    )


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
        What `modnet_lib.training.loop.train` returns (or the lines of ``metrics.jsonl``): ``step``, the loss
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
    aside = {"step", "learning_rate", "seconds", "gradient_norm"}
    terms = [key for key in history[0] if key not in aside and not key.startswith("validation_")]
    checked = sorted({key for record in history for key in record if key.startswith("validation_")})
    window = smoothing or max(1, len(steps) // 20)
    with plt.rc_context(STYLE):
        figure = make_figure(WIDTH, 3.6, layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.7, 1))
        losses = figure.add_subplot(grid[:, 0])
        for key in terms:
            values = np.array([record[key] for record in history])
            (line,) = losses.plot(steps, values, linewidth=0.6, alpha=0.35)
            losses.plot(steps, _smooth(values, window), color=line.get_color(), linewidth=2, label=key)
        losses.set(yscale="log", xlabel="step", ylabel="loss")
        losses.set_title(
            f"training losses; thick: mean of {window} steps" if window > 1 else "training losses"
        )
        losses.legend(ncols=2)
        rate = figure.add_subplot(grid[0, 1], sharex=losses)
        rate.plot(steps, [record["learning_rate"] for record in history], color=BLACK)
        rate.set(title="learning rate", ylim=(0, None))
        rate.tick_params(labelbottom=False)
        checks = figure.add_subplot(grid[1, 1], sharex=losses)
        for key, marker in zip(checked, "osD^vP" * len(checked), strict=False):
            points = [(record["step"], record[key]) for record in history if key in record]
            name = key.removeprefix("validation_")
            checks.plot(
                *zip(*points, strict=True), marker=marker, markersize=5, label=f"{name}: {points[-1][1]:.3g}"
            )
        checks.set(xlabel="step", ylabel="validation", yscale="log")
        if checked:
            checks.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(3, len(checked)), fontsize=8)
        else:
            checks.set_yscale("linear")
            checks.set(yticks=[])
            checks.text(0.5, 0.5, "not validated", ha="center", va="center", transform=checks.transAxes)
        for axes in (losses, rate, checks):
            axes.grid(axis="y")
            if (
                axes.get_yscale() == "log"
            ):  # labels at 1 and 3 of each decade, also where there is less than one
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter(NullFormatter())
    return figure


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last `window` values (fewer at the start)."""
    sums = np.cumsum(np.insert(values.astype(np.float64), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def cost_bars(
    formula: Mapping[str, tuple[float, float]], measured: Mapping[str, tuple[float, float]]
) -> Figure:
    """Draw weights and FLOPs of several modules on a logarithmic axis, by formula and as measured.

    Parameters
    ----------
    formula, measured
        Name of the module to (parameters, FLOPs); the same names in both. The first is the reference of the
        percentages.

    Raises
    ------
    ValueError
        If the names differ.
    """
    names = list(formula)
    if not names or names != list(measured):
        raise ValueError(f"formula and measured must name the same modules, got {names} and {list(measured)}")
    with plt.rc_context(STYLE):
        figure = make_figure(WIDTH, 0.9 + 0.62 * len(names), layout="constrained")
        for index, title in enumerate(("weights", "FLOPs of one pass")):
            axes = figure.add_subplot(1, 2, index + 1)
            rows = np.arange(len(names))[::-1]
            kinds = (("closed form", formula, BLUE, 0.17, ""), ("measured", measured, ORANGE, -0.17, "//"))
            for label, costs, colour, offset, hatch in kinds:
                values = [costs[name][index] for name in names]
                axes.barh(
                    rows + offset, values, 0.32, color=colour, label=label, hatch=hatch, edgecolor="white"
                )
                for row, value in zip(rows, values, strict=True):
                    share = "" if row == rows[0] else f"  ({100 * value / values[0]:.2f} %)"
                    axes.text(value * 1.15, row + offset, f"{value:,.0f}{share}", va="center", fontsize=8)
            everything = [cost[name][index] for cost in (formula, measured) for name in names]
            axes.set(xscale="log", xlim=(min(everything) / 4, max(everything) * 60), title=title)
            axes.set_yticks(rows, names if index == 0 else [""] * len(names))
            axes.grid(axis="x")
            axes.set_axisbelow(True)
        figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def efficiency_plot(methods: Mapping[str, Mapping[str, float]], labels: Mapping[str, str]) -> Figure:
    """Fig. 6: size against time, both logarithmic, a labelled dot for each method.

    Parameters
    ----------
    methods
        By method ``parameters``, ``milliseconds`` and ``gflops`` (the area of its dot), as `efficiency` returns them.
    labels
        Of the methods to draw; one whose label starts with MODNet is drawn in another colour.
    """
    with plt.rc_context(STYLE):
        figure = make_figure(WIDTH * 0.75, 3.6, layout="constrained")
        axes = figure.add_subplot()
        for number, (name, label) in enumerate(
            sorted(labels.items(), key=lambda pair: methods[pair[0]]["parameters"])
        ):
            x, y = methods[name]["milliseconds"], methods[name]["parameters"] / 1e6
            colour = ORANGE if label.startswith("MODNet") else BLUE
            axes.scatter(x, y, s=4 * methods[name]["gflops"], color=colour, alpha=0.6, linewidth=0)
            axes.plot(x, y, ".", color=colour, markersize=4)
            # neighbours in size are labelled on different sides
            above = number % 2 == 0
            axes.annotate(
                label,
                (x, y),
                (0, 9 if above else -9),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=8,
            )
        axes.set(xscale="log", yscale="log", xlabel="milliseconds a picture", ylabel="million parameters")
        times = [methods[name]["milliseconds"] for name in labels]
        axes.set_xlim(min(times) / 1.5, max(times) * 1.5)
        axes.margins(y=0.15)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.grid()
        axes.set_axisbelow(True)
    return figure


def loss_map_figure(
    alpha: Picture,
    semantic_target: Picture,
    transition: Picture,
    *,
    weights: tuple[float, float, float] = PAPER_WEIGHTS,
) -> Figure:
    """Show what the three losses look at: alpha_g, G(alpha_g), m_d, and how much an error counts where.

    Parameters
    ----------
    alpha
        alpha_g at full size.
    semantic_target
        G(alpha_g) of Eq. 2.
    transition
        m_d of Eq. 3, the size of `alpha`.
    weights
        lambda_s, lambda_d, lambda_alpha of Eq. 5.
    """
    region = as_pixels(transition)
    names = [
        "matte $\\alpha_g$\ntarget of $\\mathcal{L}_\\alpha$",
        "$G(\\alpha_g)$, 1/16\ntarget of $\\mathcal{L}_s$",
    ]
    names += [f"$m_d$: {100 * region.mean():.1f} % of pixels\nwhere $\\mathcal{{L}}_d$ looks"]
    names += ["weight of an error of $d_p$ and $\\alpha_p$\n$\\lambda_\\alpha + \\lambda_d\\, m_d$"]
    figure = image_row([alpha, semantic_target, region, region], names, height=2.1)
    _, detail, matte = weights
    wide, high = figure.get_size_inches()
    figure.set_size_inches(wide + 0.5, high)  # room for the scale
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0 * wide / (wide + 0.5), box.y0, box.width * wide / (wide + 0.5), box.height))
    with plt.rc_context(STYLE):
        last = figure.axes[-1]
        last.images[0].remove()
        shown = last.imshow(matte + detail * region, cmap="viridis", vmin=0, vmax=matte + detail)
        box = last.get_position()
        bar = figure.colorbar(shown, cax=figure.add_axes((box.x1 + 0.008, box.y0, 0.012, box.height)))
        bar.set_ticks([0, matte, matte + detail])
        bar.ax.tick_params(labelsize=8)
    return figure
