"""What all live widgets share, and the picture that follows a training run.

They push PNG bytes into an image widget from `observe`, so they behave the same in a browser, under papermill
and in a test. Where no kernel runs, a stored PNG of the same content takes their place.
"""

import base64
import html
from typing import Any

import cv2
import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from traitlets import Unicode

from modnet_lib.notebook.figures import ENCODERS, Picture, as_pixels, describe, image_row

STRIP = 6  # pictures of a run in the static form


class WithStaticForm(widgets.VBox):
    """A box that a notebook stores as described picture and text beside the live widget, which JupyterLab prefers."""

    def static_figure(self) -> Figure | None:
        """Return the figure for readers without a kernel, or ``None`` if there is nothing to show yet."""
        raise NotImplementedError

    # IPython also takes data with metadata; ipywidgets' annotation knows data alone.
    def _repr_mimebundle_(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        bundle["text/plain"] = repr(self)
        figure = self.static_figure()
        if figure is None:
            return bundle, {}
        pictures = {mime: data for mime, encode in ENCODERS.items() if (data := encode(figure)) is not None}
        bundle |= {mime: base64.b64encode(data).decode("ascii") for mime, data in pictures.items()}
        return bundle, {mime: {"alt": f"{self!r}: {describe(figure)}"} for mime in pictures}


class DescribedImage(widgets.Image):
    """An image whose tooltip the browser shows and screen readers say; ipywidgets sets it beside a description only."""

    description = Unicode("").tag(sync=True)


def image_view() -> DescribedImage:
    """An image widget at its own size, smaller where the page is narrow."""
    return DescribedImage(format="png", layout=widgets.Layout(max_width="100%", align_self="flex-start"))


def show(view: widgets.Image, pixels: np.ndarray, words: str) -> None:
    """Put a picture into an image widget, and what it shows in words, which a screen reader says.

    (H, W) or (H, W, 3) uint8 RGB, packed lightly: a browser on this machine waits for time, not bytes. The words are
    the picture's tooltip: ipywidgets has no alternative text, and browsers take the tooltip where there is none.
    """
    ordered = pixels if pixels.ndim == 2 else pixels[..., ::-1]
    png = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    with view.hold_sync():
        view.value, view.tooltip = png, words


class LivePicture(WithStaticForm):
    """The newest picture of a run, for instance the matte of a validation picture while training goes on.

    Show it before the run starts and call `update` from the run. Show it once more after the run, so that
    readers without a kernel see a strip of up to six pictures from the first to the last.
    """

    def __init__(self) -> None:
        self._frames: list[tuple[np.ndarray, str]] = []
        self.view = image_view()
        self.caption = widgets.HTML("waiting for the first picture")
        super().__init__([self.view, self.caption])

    def __repr__(self) -> str:
        return "LivePicture()"

    def update(self, image: Picture, caption: str) -> None:
        """Show a picture.

        Parameters
        ----------
        image
            Picture or matte; see `modnet_lib.notebook.figures.as_pixels`.
        caption
            Plain text below it, for instance the step.
        """
        pixels = (as_pixels(image) * 255).round().astype(np.uint8)
        self._frames.append((pixels, caption))
        show(self.view, pixels, caption)
        self.caption.value = html.escape(caption)

    def static_figure(self) -> Figure | None:
        """Return the strip of up to six pictures, evenly spaced, the last one included."""
        if not self._frames:
            return None
        chosen = np.unique(np.linspace(0, len(self._frames) - 1, STRIP).round().astype(int))
        return image_row(*zip(*(self._frames[index] for index in chosen), strict=True))
