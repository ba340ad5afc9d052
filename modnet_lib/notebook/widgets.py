"""Live widgets: the inspector of mattes, and the picture that follows a training run.

Both push PNG bytes into an image widget from `observe`, so they behave the same in a browser, under papermill
and in a test. Where no kernel runs, a stored PNG of the same content takes their place.
"""

import base64
import html
import io
from collections.abc import Mapping
from typing import Any

import cv2
import ipywidgets as widgets
import numpy as np
from PIL import Image

from modnet_lib.images import ImageLike, read_image
from modnet_lib.inference.matter import Matter, Prediction
from modnet_lib.notebook.figures import Picture, as_pixels, checkerboard, compact_png, image_row, over_colour

STAGES = ("input", "semantic", "detail", "alpha", "cutout")
BACKGROUNDS = ("checkerboard", "white", "black", "green")
SHEET_ROWS = 3  # pictures on the contact sheet
STRIP = 6  # pictures of a run in the static form


class WithStaticForm(widgets.VBox):
    """A box that a notebook stores as PNG and text beside the live widget, which JupyterLab prefers."""

    def static_png(self) -> bytes | None:
        """Return the picture for readers without a kernel, or ``None`` if there is nothing to show yet."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        bundle["text/plain"] = repr(self)
        png = self.static_png()
        if png is not None:
            bundle["image/png"] = base64.b64encode(png).decode("ascii")
        return bundle


class MatteInspector(WithStaticForm):
    """Look closely at each answer of the network, over any background, also for your own picture.

    Parameters
    ----------
    matter
        What predicts.
    images
        Name to picture, at least one; see `modnet_lib.images.read_image`.
    width
        Longest displayed side in pixels.

    Attributes
    ----------
    picture, stage, background, zoom, x, y, upload
        The controls; setting their ``value`` has the same effect as using them in a browser.
    view
        The image widget; its ``value`` is what is displayed, a PNG.
    message
        What went wrong with an upload, HTML; empty if nothing did.

    Raises
    ------
    ValueError
        If there are no pictures, one cannot be read, or `width` is smaller than 64.
    FileNotFoundError
        If a picture is a path and there is no such file.
    """

    def __init__(self, matter: Matter, images: Mapping[str, ImageLike], *, width: int = 720):
        if not images:
            raise ValueError("images is empty: give at least one, for instance {'portrait': 'portrait.jpg'}")
        if width < 64:
            raise ValueError(f"width must be at least 64 pixels, got {width}")
        self._matter = matter
        self._width = width
        self._images = {str(name): read_image(image) for name, image in images.items()}
        self._predictions: dict[str, Prediction] = {}
        name = {"description_width": "90px"}
        wide = widgets.Layout(width="340px")
        self.picture = widgets.Dropdown(
            options=list(self._images), description="picture", layout=wide, style=name
        )
        self.upload = widgets.FileUpload(
            accept="image/*", description="your own picture", layout=widgets.Layout(width="190px")
        )
        self.stage = widgets.ToggleButtons(options=STAGES, value="alpha", style={"button_width": "90px"})
        self.background = widgets.Dropdown(
            options=BACKGROUNDS, description="background", layout=wide, style=name, disabled=True
        )
        self.zoom = widgets.FloatSlider(
            1, min=1, max=8, step=0.5, description="zoom", layout=wide, style=name, readout_format=".1f"
        )
        centre = {"min": 0, "max": 1, "step": 0.01, "layout": wide, "style": name, "disabled": True}
        self.x = widgets.FloatSlider(0.5, description="centre x", **centre)
        self.y = widgets.FloatSlider(0.5, description="centre y", **centre)
        self.view = widgets.Image(
            format="png", layout=widgets.Layout(max_width="100%", align_self="flex-start")
        )
        self.message = widgets.HTML()
        super().__init__(
            [
                widgets.HBox([self.picture, self.upload]),
                self.stage,
                widgets.HBox([widgets.VBox([self.background, self.zoom]), widgets.VBox([self.x, self.y])]),
                self.message,
                self.view,
            ]
        )
        for control in (self.picture, self.stage, self.background, self.zoom, self.x, self.y):
            control.observe(self._show, names="value")
        self.upload.observe(self._take_upload, names="value")
        self._show()

    def __repr__(self) -> str:
        count = len(self._images)
        return f"MatteInspector({count} image{'s' if count != 1 else ''}: {', '.join(self._images)})"

    def prediction(self, name: str | None = None) -> Prediction:
        """Return the network's answers for a picture, the chosen one if ``None``; computed once."""
        name = name or self.picture.value
        if name not in self._predictions:
            self._predictions[name] = self._matter.predict(self._images[name])
        return self._predictions[name]

    def static_png(self) -> bytes:
        """Return the contact sheet: input, semantics, details, matte and cut-out of the first pictures."""
        names = list(self._images)[:SHEET_ROWS]
        pictures = [self._whole(name, stage) for name in names for stage in STAGES]
        titles = [
            f"{name}: {STAGES[0]}" if stage == STAGES[0] else stage for name in names for stage in STAGES
        ]
        return compact_png(image_row(pictures, titles, columns=len(STAGES), height=2.0))

    def _whole(self, name: str, stage: str) -> np.ndarray:
        """Return a stage of a picture at the picture's size, uint8, (H, W) or (H, W, 3)."""
        if stage == "input":
            return self._images[name]
        prediction = self.prediction(name)
        if stage == "cutout":
            if self.background.value == "checkerboard":
                return checkerboard(prediction.image, prediction.alpha)
            colour = "#00B140" if self.background.value == "green" else self.background.value
            return over_colour(prediction.image, prediction.alpha, colour)
        matte = (getattr(prediction, stage) * 255).round().astype(np.uint8)
        height, width = prediction.image.shape[:2]
        # nearest, so that the cells of the 1/16 map stay visible
        return cv2.resize(matte, (width, height), interpolation=cv2.INTER_NEAREST)

    def _show(self, change: Any = None) -> None:
        self.background.disabled = self.stage.value != "cutout"
        self.x.disabled = self.y.disabled = self.zoom.value == 1
        whole = self._whole(self.picture.value, self.stage.value)
        part = crop(whole, self.zoom.value, self.x.value, self.y.value)
        scale = min(1.0, self._width / max(whole.shape[:2]))
        size = tuple(max(1, round(side * scale)) for side in whole.shape[1::-1])
        smaller = size[0] < part.shape[1]
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_NEAREST)
        self.view.value = png_bytes(part)

    def _take_upload(self, change: Any) -> None:
        if not self.upload.value:
            return
        self.message.value = ""
        for file in self.upload.value:
            try:
                with Image.open(io.BytesIO(bytes(file["content"]))) as opened:
                    opened.load()
                    pixels = read_image(opened)
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
                self.message.value = (
                    f"<b>{html.escape(str(file['name']))}</b> cannot be read: it is damaged or no picture "
                    "that Pillow knows. Try a JPEG, PNG or WebP file."
                )
                continue
            name = str(file["name"])
            self._images[name] = pixels
            self._predictions.pop(name, None)
            if self.picture.value == name:
                self._show()
            else:
                self.picture.options = list(self._images)  # keeps the choice, or goes to the first
                self.picture.value = name


class LivePicture(WithStaticForm):
    """The newest picture of a run, for instance the matte of a validation picture while training goes on.

    Show it before the run starts and call `update` from the run. Show it once more after the run, so that
    readers without a kernel see a strip of up to six pictures from the first to the last.
    """

    def __init__(self) -> None:
        self._frames: list[tuple[bytes, str]] = []
        self.view = widgets.Image(
            format="png", layout=widgets.Layout(max_width="100%", align_self="flex-start")
        )
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
        png = png_bytes((as_pixels(image) * 255).round().astype(np.uint8))
        self._frames.append((png, caption))
        self.view.value = png
        self.caption.value = html.escape(caption)

    def static_png(self) -> bytes | None:
        """Return the strip of up to six pictures, evenly spaced, the last one included."""
        if not self._frames:
            return None
        chosen = np.unique(np.linspace(0, len(self._frames) - 1, STRIP).round().astype(int))
        frames = [self._frames[index] for index in chosen]
        pictures = [np.asarray(Image.open(io.BytesIO(png))) for png, _ in frames]
        return compact_png(image_row(pictures, [caption for _, caption in frames]))


def crop(picture: np.ndarray, zoom: float, x: float, y: float) -> np.ndarray:
    """Cut the part of a picture that a zoom shows.

    Parameters
    ----------
    picture
        (H, W) or (H, W, 3).
    zoom
        The part is 1 / `zoom` of the picture's height and width, at least one pixel.
    x, y
        Where the part lies: 0 at the left or top border, 0.5 centred, 1 at the right or bottom border.
    """
    height, width = picture.shape[:2]
    rows, columns = max(1, round(height / zoom)), max(1, round(width / zoom))
    top, left = round((height - rows) * y), round((width - columns) * x)
    return picture[top : top + rows, left : left + columns]


def png_bytes(pixels: np.ndarray) -> bytes:
    """A picture, uint8 (H, W) or (H, W, 3), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()
