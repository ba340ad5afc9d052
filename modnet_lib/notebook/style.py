"""The look of the notebooks' figures: colours, sizes, how they are stored, and what they say to those who cannot see.

Colours are Okabe and Ito's, so that no figure depends on telling red from green.
"""

import io
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from matplotlib.figure import Figure
from PIL import Image

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
