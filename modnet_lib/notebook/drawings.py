"""The house style of the figures, and the paper's Fig. 1 to 3 drawn anew, with shapes read off a network."""

import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython import get_ipython
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from matplotlib.path import Path
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import nn

from modnet_lib.network import MODNet
from modnet_lib.network.layers import EASPP_DILATIONS, EfficientASPP

BLACK, GREY = "#222222", "#777777"
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
Thumbnail = Literal["image", "background", "trimap", "semantic", "detail", "alpha"]
S_FILL, D_FILL, F_FILL = "#E3F1FA", "#FDF1D8", "#DDF2EA"


def use_style() -> None:
    """Give the notebook's own plots the look of these figures, and store figures small.

    Photographs become JPEG, drawings PNG with a palette.

    Nothing changes before it is called. Outside a notebook it only sets matplotlib's parameters.
    """
    plt.rcParams.update(STYLE)
    shell = get_ipython()
    if shell is not None:
        make_figure(
            1, 1
        )  # wakes the notebook's backend, which would otherwise put its own formatter back later
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


def compact_png(figure: Figure) -> bytes:
    """Draw a figure as a PNG of at most 256 colours: a third of the size where there are photographs."""
    buffer = io.BytesIO()
    _draw(figure).quantize(256).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _draw(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=STYLE["figure.dpi"], bbox_inches="tight", pad_inches=0.08)
    return Image.open(buffer).convert("RGB")


def _has_colour(figure: Figure) -> bool:
    return any(np.ndim(image.get_array()) == 3 for axes in figure.axes for image in axes.images)


def _png_of_drawing(figure: Figure) -> bytes | None:
    return None if _has_colour(figure) else compact_png(figure)


def _jpeg_of_photographs(figure: Figure) -> bytes | None:
    """A palette would turn soft gradients into contour lines."""
    if not _has_colour(figure):
        return None
    buffer = io.BytesIO()
    _draw(figure).save(buffer, format="jpeg", quality=85, optimize=True)
    return buffer.getvalue()


ENCODERS = {"image/png": _png_of_drawing, "image/jpeg": _jpeg_of_photographs}  # one of them answers


def make_figure(width: float, height: float, **kwargs: Any) -> Figure:
    """Make a figure that the notebook shows only where a cell ends with it."""
    figure = plt.figure(figsize=(width, height), **kwargs)
    plt.close(figure)
    return figure


class _Sheet:
    """Paper of 100 x `height` units, a tenth of an inch each, and the few things one draws on it."""

    def __init__(self, height: float):
        self.figure = make_figure(WIDTH, height / 10)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, 100), ylim=(0, height))
        self.axes.axis("off")

    def text(self, x: float, y: float, text: str, size: float = 8, gid: str = "", **kwargs: Any) -> None:
        kwargs = {"ha": "center", "va": "center", "color": BLACK, "linespacing": 1.25} | kwargs
        self.axes.text(x, y, text, fontsize=size, gid=gid or None, zorder=5, **kwargs)

    def box(
        self,
        x: float,
        y: float,
        text: str,
        *,
        width: float = 9.4,
        height: float = 6.4,
        fill: str = "white",
        edge: str = BLACK,
        gid: str = "",
        **kwargs: Any,
    ) -> None:
        """Draw a box with text, centred at (x, y)."""
        corner = (x - width / 2, y - height / 2)
        style = "round,pad=0,rounding_size=0.7"
        patch = FancyBboxPatch(corner, width, height, style, facecolor=fill, edgecolor=edge, zorder=3)
        self.axes.add_patch(patch)
        self.text(x, y, text, gid=gid, **kwargs)

    def region(self, corners: Sequence[tuple[float, float]], fill: str) -> None:
        self.axes.add_patch(Polygon(corners, closed=True, facecolor=fill, edgecolor="none", zorder=0))

    def arrow(
        self,
        *points: tuple[float, float],
        colour: str = BLACK,
        style: str = "-",
        head: str = "-|>",
        width: float = 1.3,
    ) -> None:
        """Draw a line through points with a head at the end (the head's outline is always solid)."""
        pieces = [(points, head, style)]
        if style != "-":
            (x0, y0), (x1, y1) = points[-2:]
            share = min(1.0, 1.4 / (abs(x1 - x0) + abs(y1 - y0)))
            near = (x1 + (x0 - x1) * share, y1 + (y0 - y1) * share)
            pieces = [((*points[:-1], near), "-", style), ((near, points[-1]), head, "-")]
        look: dict[str, Any] = {"color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0, "zorder": 2}
        look |= {"mutation_scale": 9, "capstyle": "butt", "joinstyle": "miter"}
        for path, arrowstyle, linestyle in pieces:
            line = {"arrowstyle": arrowstyle, "linestyle": linestyle}
            self.axes.add_patch(FancyArrowPatch(path=Path(list(path)), **line, **look))

    def circle(self, x: float, y: float, sign: str) -> None:
        """Draw an operation: + for a sum, c for a concatenation."""
        self.axes.plot(x, y, "o", markersize=15, markerfacecolor="white", markeredgecolor=BLACK, zorder=3)
        self.text(x, y, sign, size=10)

    def thumbnail(self, x: float, y: float, kind: Thumbnail, side: float = 7.0, edge: str = BLACK) -> None:
        """Draw what a picture of this kind looks like, centred at (x, y)."""
        extent = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
        self.axes.imshow(portrait(kind), extent=extent, cmap="gray", vmin=0, vmax=1, zorder=3, aspect="auto")
        frame = Rectangle(
            (extent[0], extent[2]), side, side, fill=False, edgecolor=edge, linewidth=1, zorder=4
        )
        self.axes.add_patch(frame)


def portrait(kind: Thumbnail, side: int = 96) -> np.ndarray:
    """Draw a stylised person before a landscape, or one of its mattes: (side, side[, 3]) in [0, 1]."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    head = (x / 0.17) ** 2 + ((y + 0.14) / 0.2) ** 2 < 1
    hair = (x / 0.22) ** 2 + ((y + 0.17) / 0.24) ** 2 < 1 + 0.12 * np.sin(24 * np.arctan2(y + 0.17, x))
    hair &= y < 0.08
    body = ((x / 0.38) ** 2 + ((y - 0.5) / 0.38) ** 2 < 1) | ((np.abs(x) < 0.07) & (y > 0) & (y < 0.3))
    person = (head | hair | body).astype(float)
    alpha = gaussian_filter(person, side / 96)
    band = (gaussian_filter(person, side / 22) > 0.06) & (gaussian_filter(person, side / 22) < 0.94)
    if kind == "alpha":
        return alpha
    if kind == "trimap":
        return np.where(band, 0.5, person)
    if kind == "detail":
        return np.where(band, alpha, 0.0)
    if kind == "semantic":
        cells = gaussian_filter(person, side / 24)[side // 24 :: side // 12, side // 24 :: side // 12]
        return cells.clip(0, 1).repeat(side // 12, 0).repeat(side // 12, 1)
    colours = np.empty((side, side, 3))
    colours[:] = np.array([0.72, 0.86, 0.96])
    colours[y > 0.18 + 0.05 * np.sin(9 * x)] = (0.55, 0.72, 0.55)
    if kind == "image":
        for mask, colour in (
            (hair, (0.35, 0.22, 0.13)),
            (body, (0.2, 0.33, 0.55)),
            (head & (y > -0.22), (0.93, 0.76, 0.62)),
        ):
            colours[mask] = colour
    return colours


def draw_fig1() -> Figure:
    """Draw Fig. 1: a network with an auxiliary input, several stages, and MODNet's one stage."""
    with plt.rc_context(STYLE):
        sheet = _Sheet(53)
        rows = (44.0, 27.0, 9.0)
        names = ("(a) auxiliary input", "(b) several stages", "(c) MODNet: one stage")
        texts = (
            "someone draws a trimap,\nor takes a second photo",
            "trained one after another;\nerrors add up",
            "three objectives,\noptimised at once",
        )
        for y, name, text in zip(rows, names, texts, strict=True):
            sheet.text(1.5, y + 2.2, name, 10, ha="left", weight="bold")
            sheet.text(1.5, y - 2.2, text, 8.5, ha="left", color="#444444")
        for y in (35.5, 18.5):
            sheet.axes.plot((1, 99), (y, y), color="#CCCCCC", linewidth=0.8)
        y = rows[0]
        sheet.thumbnail(31, y, "image")
        sheet.text(31, y - 5, "image")
        sheet.text(35.9, y, "+", 12)
        sheet.thumbnail(41, y, "trimap", edge=RED)
        sheet.text(41, y - 5, "trimap or background", color=RED)
        sheet.arrow((45, y), (56, y))
        sheet.box(63, y, "matting\nnetwork", width=14, height=8, fill=F_FILL)
        sheet.arrow((70, y), (87.5, y))
        _supervised(sheet, 91.5, y, "alpha", "one loss: $\\mathcal{L}_\\alpha$", "matte")
        y = rows[1]
        sheet.thumbnail(31, y, "image")
        sheet.text(31, y - 5, "image")
        sheet.arrow((34.5, y), (41, y))
        sheet.box(46, y, "network 1", width=10, height=8, fill=S_FILL)
        sheet.arrow((51, y), (58, y))
        _supervised(sheet, 61.5, y, "trimap", "loss of stage 1", "pseudo trimap or mask")
        sheet.arrow((65, y), (71.5, y))
        sheet.box(76.5, y, "network 2", width=10, height=8, fill=F_FILL)
        sheet.arrow((81.5, y), (87.5, y))
        _supervised(sheet, 91.5, y, "alpha", "loss of stage 2", "matte")
        sheet.arrow((31, y + 3.5), (31, y + 7), (76.5, y + 7), (76.5, y + 4))
        y = rows[2]
        sheet.thumbnail(31, y, "image")
        sheet.text(31, y - 5, "image")
        sheet.region([(40, y - 8.5), (40, y + 8.5), (76, y + 8.5), (76, y - 8.5)], "#F0F0F0")
        sheet.arrow((34.5, y), (43, y), (43, y + 5.5), (46, y + 5.5))
        sheet.arrow((34.5, y), (43, y), (43, y - 5.5), (46, y - 5.5))
        sheet.box(52, y + 5.5, "S: semantics", width=12, height=4.4, fill=S_FILL)
        sheet.box(52, y - 5.5, "D: details", width=12, height=4.4, fill=D_FILL)
        sheet.box(69, y, "F: fusion", width=10, height=4.4, fill=F_FILL)
        sheet.arrow((50, y + 3.3), (50, y - 3.3))
        sheet.arrow((55, y + 3.3), (55, y + 0.8), (64, y + 0.8))
        sheet.arrow((55, y - 3.3), (55, y - 0.8), (64, y - 0.8))
        outputs = (("semantic", "s", 58, 5.5), ("alpha", "\\alpha", 74, 0), ("detail", "d", 58, -5.5))
        for kind, letter, start, up in outputs:
            sheet.arrow((start, y + up), (81.5, y + up))
            sheet.thumbnail(84, y + up, kind, side=5)
            name = "\\alpha_p" if kind == "alpha" else f"{letter}_p"
            sheet.text(88.5, y + up, f"${name}$", 9)
            sheet.text(93, y + up, f"$\\mathcal{{L}}_{letter}$", 9, color=RED)
    return sheet.figure


def _supervised(sheet: _Sheet, x: float, y: float, kind: Thumbnail, loss: str, name: str) -> None:
    sheet.thumbnail(x, y, kind)
    sheet.text(x, y - 5, name)
    sheet.text(x, y + 5.2, loss, 9, color=RED)


def measure_shapes(network: MODNet, side: int = 512) -> dict[str, tuple[int, ...]]:
    """Run a network once and note what each module gives.

    Parameters
    ----------
    network
        Any MODNet; it stays in the mode and on the device it is in.
    side
        Height and width of the input, a multiple of 32.

    Returns
    -------
    Dotted name of the module to (C, H, W); the maps of the backbone are
    ``semantic_branch.backbone.0`` to ``.4``.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str):
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                shapes[name] = tuple(output.shape[1:])
            elif module is network.semantic_branch.backbone:
                shapes.update({f"{name}.{level}": tuple(m.shape[1:]) for level, m in enumerate(output)})

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in network.named_modules() if name]
    training, device = network.training, next(network.parameters()).device
    trimap = torch.zeros(1, 1, side, side, device=device) if network.config["trimap_input"] else None
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, side, side, device=device), auxiliary=True, trimap=trimap)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return shapes


def draw_architecture(network: MODNet) -> Figure:
    """Draw Fig. 2: the branches S, D and F of a network with the shapes it has for a 512 x 512 picture.

    Parameters
    ----------
    network
        In the paper's variant, with any backbone.

    Raises
    ------
    ValueError
        If the network is of another variant.
    """
    if network.config["variant"] != "paper":
        raise ValueError(
            f"only variant 'paper' has the branches of Fig. 2, got {network.config['variant']!r}"
        )
    shapes = measure_shapes(network)
    with plt.rc_context(STYLE):
        sheet = _Sheet(63)

        def module(
            x: float, y: float, name: str, label: str, fill: str = "white", width: float = 8.6
        ) -> None:
            shape = "×".join(map(str, shapes[name]))
            sheet.box(x, y, f"{label}\n{shape}", fill=fill, gid=name, size=7.6, width=width)

        low = (17.0, 27.8, 38.6, 49.4, 60.2)  # columns
        end, fused, out = 73.0, 80.5, 89.6
        s, f, d = 52.0, 28.5, 14.0  # rows
        sheet.region([(11.6, 46), (11.6, 59.5), (79.5, 59.5), (79.5, 46)], S_FILL)
        sheet.region([(22, 6.5), (22, 38), (65.7, 38), (65.7, 21), (79.5, 21), (79.5, 6.5)], D_FILL)
        sheet.region([(67.3, 23), (67.3, 44), (85.6, 44), (85.6, 23)], F_FILL)
        title: dict[str, Any] = {"size": 9.5, "weight": "bold", "ha": "left"}
        sheet.text(12.4, 57.7, "S: semantic estimation, low resolution", **title)
        sheet.text(22.8, 8.1, "D: detail prediction, high resolution", **title)
        sheet.text(76.3, 42.3, "F: fusion", **title)
        note = "channels×height×width for a picture of 512×512.  Red: losses and their targets."
        sheet.text(1.2, 61.4, note, 8, ha="left", color=GREY)
        # S
        module(end, s, "semantic_branch.context", _context_name(network), "#BFE0F5", 11)
        sheet.thumbnail(5.4, 32, "image", side=7.4)
        channels = 4 if network.config["trimap_input"] else 3
        sheet.text(5.2, 25.8, f"$I$\n{channels}×512×512", 7.6)
        sheet.arrow((9.1, 32), (10.6, 32), (10.6, s), (low[0] - 4.3, s))
        for level, x in enumerate(low):
            module(x, s, f"semantic_branch.backbone.{level}", f"1/{2 ** (level + 1)}")
            sheet.arrow((x + 4.3, s), (low[level + 1] - 4.3 if level < 4 else end - 5.5, s))
        # low-level features and S(I) into D, S(I) and D(I, S(I)) into F
        width = shapes["detail_branch.lateral.0"][0]
        text = f"laterals: four 1×1 convolutions to {width} channels, enlarged to 1/4"
        sheet.box(43.85, 33, text, width=41, height=4.4, size=7.6)
        for x in low[1:4]:
            sheet.arrow((x, s - 3.2), (x, 35.2), colour=BLUE)
        sheet.text(22.4, 41.6, "low-level\nfeatures", 7.6, color=BLUE)
        sheet.arrow((low[1] + 10.8, 30.8), (low[2], d + 1.1))
        sheet.arrow((low[2], 24.3), (low[2], 25.7), head="-", colour=D_FILL, width=4)
        sheet.arrow((low[0], s - 3.2), (low[0], 25), (low[4], 25), (low[4], d + 3.2), colour=BLUE)
        sheet.arrow((end, s - 3.2), (end, 40.2))
        sheet.arrow((end, 45), (low[4], 45), (low[4], 35.2))
        sheet.text(low[4] + 2.6, 41.6, "$S(I)$")
        # D
        for x, name, label in (
            (low[1], "reduce", "7×7, to 1/4"),
            (low[3], "process", "five 3×3"),
            (low[4], "restore2", "×2, 3×3"),
            (end, "restore1", "×2, 3×3"),
        ):
            module(x, d, f"detail_branch.{name}", label)
        sheet.circle(low[2], d, "+")
        sheet.arrow((10.6, 32), (10.6, d), (low[1] - 4.3, d))
        sheet.arrow((low[1] + 4.3, d), (low[2] - 1.1, d))
        sheet.arrow((low[2] + 1.1, d), (low[3] - 4.3, d))
        sheet.arrow((low[3] + 4.3, d), (low[4] - 4.3, d))
        sheet.arrow((low[4] + 4.3, d), (end - 4.3, d))
        sheet.arrow((10.6, d), (10.6, 4), (low[4], 4), (low[4], d - 3.2), colour=GREEN)
        sheet.arrow((low[4], 4), (end, 4), (end, d - 3.2), colour=GREEN)
        sheet.text(12, 2.3, "skip link: the image itself, also at 1/2", 7.6, ha="left", color=GREEN)
        sheet.arrow((end, d + 3.2), (end, f - 1.1))
        sheet.text(end - 1, 21.95, "$D(I,\\,S(I))$", ha="right")
        # F
        module(end, 37, "fusion_branch.project", "1×1")
        sheet.arrow((end, 33.8), (end, f + 1.1))
        sheet.text(end - 2.4, 31.9, "×32")
        sheet.circle(end, f, "c")
        sheet.arrow((end + 1.1, f), (fused - 4.3, f))
        module(fused, f, "fusion_branch.fuse", "3×3")
        # heads, losses, targets
        for y, start, kind, gid, symbol, loss, target, shown, below in (
            (s, end + 5.5, "semantic", "semantic_branch.head", "s_p", "s", "G(\\alpha_g)", "semantic", 1),
            (
                f,
                fused + 4.3,
                "alpha",
                "fusion_branch.head",
                "\\alpha_p",
                "\\alpha",
                "\\alpha_g$\n$I$ for $\\mathcal{L}_c",
                "alpha",
                -1,
            ),
            (d, end + 4.3, "detail", "detail_branch.head", "d_p", "d", "m_d,\\ \\alpha_g", "detail", 1),
        ):
            sheet.arrow((start, y), (out - 2.5, y))
            sheet.thumbnail(out, y, kind, side=5)
            size = [side * (2 if gid.startswith("semantic") else 1) for side in shapes[gid][1:]]
            sheet.text(92.8, y, f"${symbol}$\n1×{size[0]}×{size[1]}", 7.4, ha="left", gid=symbol)
            sheet.thumbnail(out, y - 8.5 * below, shown, side=5, edge=RED)
            sheet.text(92.8, y - 8.5 * below, f"${target}$", 9, ha="left", color=RED)
            middle = y - 4.25 * below
            sheet.arrow((out, middle - 1.7), (out, middle + 1.7), colour=RED, head="<|-|>")
            sheet.text(92.8, middle, f"$\\mathcal{{L}}_{loss}$", 9.5, ha="left", color=RED)
        sheet.text((end + 5.5 + out - 2.5) / 2, s + 1.2, "1×1, ×2, $\\sigma$", 7.6)
        sheet.text((end + 4.3 + out - 2.5) / 2, d + 1.2, "1×1, $\\sigma$", 7.6)
    return sheet.figure


def _context_name(network: MODNet) -> str:
    names = {"easpp": "e-ASPP: $S(I)$", "aspp": "ASPP: $S(I)$", "none": "$S(I)$"}
    return names[network.config["context"]]


def draw_easpp(module: EfficientASPP | int, dilations: Sequence[int] | None = None) -> Figure:
    """Draw Fig. 3: e-ASPP with (output channels, input channels, kernel size) in every convolution.

    Parameters
    ----------
    module
        What to draw; or c, for the default module with that many channels.
    dilations
        With a number: one rate per scale, the library's choice if ``None``.

    Raises
    ------
    ValueError
        If `dilations` comes with a module, which has its own, or c is not divisible by 4.
    """
    if isinstance(module, int):
        with torch.device("meta"):  # shapes without memory
            module = EfficientASPP(module, dilations=EASPP_DILATIONS if dilations is None else dilations)
    elif dilations is not None:
        raise ValueError("give dilations with a number of channels only; a module has its own")
    scales = [scale[0] for scale in module.scales]
    reduced = isinstance(module.reduce, nn.Sequential)
    outer, inner, count = module.fuse_channels[0].out_channels, scales[0].out_channels, len(scales)
    step = 7.6
    rows = [8 + step * (count - index - 0.5) for index in range(count)]
    centre, top = 8 + step * count / 2, 8 + step * count
    wide, narrow = (
        plt.get_cmap("cividis")(np.linspace(0.1, 0.9, 8)),
        plt.get_cmap("viridis")((0.2, 0.45, 0.7, 0.95)),
    )
    with plt.rc_context(STYLE):
        sheet = _Sheet(top + 9)

        def tensor(x: float, y: float, colours: np.ndarray, tall: float, label: str = "") -> None:
            for index, colour in enumerate(colours):
                corner = (x + (index / len(colours) - 0.5) * 4.8, y - tall / 2)
                slab = Rectangle(
                    corner, 4.8 / len(colours), tall, facecolor=colour, edgecolor="white", zorder=3
                )
                sheet.axes.add_patch(slab)
            sheet.text(x, y - tall / 2 - 1.5, label, 7.6)

        heads = (
            (14.6, module.reduce[0] if reduced else None, "1 channel reduction"),
            (37.3, scales, "2 multi-scale\nfeature extraction"),
            (62.4, module.fuse_scales[0], "3 multi-scale\nfeature fusion"),
            (83.7, module.fuse_channels[0], "4 inter-channel\nfeature fusion"),
        )
        total = 0
        for x, layers, name in heads:
            layers = layers if isinstance(layers, list) else [layers] if layers is not None else []
            weights = sum(layer.weight.numel() for layer in layers)
            total += weights
            sheet.text(x, top + 2.8, name, 9, weight="bold")
            sheet.text(x, 4.6, f"{weights:,} weights", 8, color=GREY)
        text = f"{total:,} weights in all.  In the boxes: (output channels, input channels, kernel size)"
        text += ", per group where the convolution is depth-wise."
        sheet.text(50, 1.6, text, 8, color=GREY)
        note = (
            "Steps 2 and 3 are depth-wise: a colour of the result comes from the same colour of every scale."
        )
        sheet.text(50, top + 7, note, 8.5, color="#444444")
        tensor(4.2, centre, wide, 9, f"{outer}×h×w")
        sheet.arrow((6.6, centre), (9, centre))
        sheet.box(
            14.6,
            centre,
            _tuple(module.reduce[0]) if reduced else "left out",
            width=11.2,
            gid="reduce",
            size=7.6,
        )
        sheet.arrow((20.2, centre), (22.4, centre))
        tensor(24.8, centre, narrow, 9, f"{inner}×h×w")
        for index, (y, scale) in enumerate(zip(rows, scales, strict=True)):
            style = "-" if index == count // 2 else ":"
            label = f"rate {scale.dilation[0]}\n{_tuple(scale)}"
            sheet.arrow((27.2, centre), (29.4, centre), (29.4, y), (31.7, y), style=style)
            sheet.box(37.3, y, label, width=11.2, height=5.4, fill=S_FILL, gid=f"scales.{index}", size=7.6)
            sheet.arrow((42.9, y), (45.8, y), style=style)
            tensor(48.2, y, narrow, 5.4)
            sheet.arrow((50.6, y), (53.7, y), (53.7, centre), (56.8, centre), style=style)
        sheet.box(
            62.4, centre, _tuple(module.fuse_scales[0]), width=11.2, fill=D_FILL, gid="fuse_scales", size=7.6
        )
        sheet.arrow((68, centre), (70.2, centre))
        tensor(72.6, centre, narrow, 9, f"{inner}×h×w")
        sheet.arrow((75, centre), (78.1, centre))
        sheet.box(83.7, centre, _tuple(module.fuse_channels[0]), width=11.2, gid="fuse_channels", size=7.6)
        sheet.arrow((89.3, centre), (92.4, centre))
        tensor(94.8, centre, wide, 9, f"{outer}×h×w")
    return sheet.figure


def _tuple(convolution: nn.Conv2d) -> str:
    """Write the tuple of Fig. 3, for one group, and the number of groups if there are several."""
    out_channels, in_channels, kernel = convolution.weight.shape[:3]
    groups = convolution.groups
    text = f"({out_channels // groups}, {in_channels}, {kernel})"
    return f"{text}×{groups}" if groups > 1 else text
