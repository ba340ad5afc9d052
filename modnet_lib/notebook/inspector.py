"""MatteInspector: look at every output of the network, compare models, and disturb the picture until one breaks."""

from collections.abc import Mapping
from functools import lru_cache, partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cv2
import ipywidgets as widgets
import numpy as np
import torch
from traitlets import Unicode

from modnet_lib.data.trimaps import band_size
from modnet_lib.evaluation.robustness import KINDS
from modnet_lib.images import ImageLike, read_image, read_out, to_bytes
from modnet_lib.inference.matter import Matter, Prediction
from modnet_lib.notebook.figures import as_pixels, checkerboard, error_map, fitting, over_colour, part
from modnet_lib.regions import transition_region

STAGES = ("input", "semantic", "detail", "alpha", "cutout")
BACKGROUNDS = {"checkerboard": "", "white": "white", "black": "black", "green": "#00B140"}
LONGEST = 2048  # pixels of the longer side of an uploaded picture
BROKEN = 0.1  # of the distance between the undisturbed answer and an empty one
UNSURE = 0.1  # from here on a matte that a network answered may be the person (Eq. 7)
DISTURBANCES: dict[str, tuple[float, ...]] = {
    "none": (0,) * 5,  # the others from mild to strong, in the units of `modnet_lib.evaluation.robustness`
    "blur": (1, 2, 4, 8, 16),
    "noise": (5, 10, 25, 50, 100),
    "jpeg": (80, 50, 20, 10, 5),
    "brightness": (0.7, 0.5, 0.35, 0.2, 0.1),
    "resolution": (0.5, 0.25, 0.125, 0.0625, 0.03125),
}
CONTROLS = "picture model stage zoom background x y beside disturbance strength"
NAMES = {"semantic": "semantics s_p", "detail": "details d_p", "alpha": "matte α_p"}


class Question(NamedTuple):
    """One forward pass: which model sees which picture, and how it is disturbed; `clean` is the same undisturbed."""

    model: str
    picture: str
    kind: str = "none"
    level: float = 0.0

    def __str__(self) -> str:
        return self.picture if self.kind == "none" else f"{self.picture}, {self.kind} {self.level:g}"

    @property
    def clean(self) -> "Question":
        return Question(self.model, self.picture)


class DescribedImage(widgets.Image):
    """An image whose tooltip reaches the browser, where screen readers use it as the alternative text."""

    description = Unicode("").tag(sync=True)

    def show(self, pixels: np.ndarray, words: str) -> None:
        """Show (H, W) or (H, W, 3) uint8, and say in words what it is."""
        ordered = pixels if pixels.ndim == 2 else pixels[..., ::-1]
        png = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]  # fast rather than small
        with self.hold_sync():
            self.value, self.tooltip = png.tobytes(), words


class MatteInspector(widgets.VBox):
    """Inspect every answer of the network, also for a picture of your own.

    Parameters
    ----------
    matter
        The model, or several by name to compare.
    images
        Name to picture, at least one; see `modnet_lib.images.read_image`.
    truths
        Name to true matte of some of the pictures, of the same size; see `as_pixels`. Adds the stage ``"error"``.
    width
        Longest displayed side in pixels.

    Attributes
    ----------
    upload, sweep, and those named in `CONTROLS`
        The controls. Setting their ``value`` has the same effect as using them in a browser.
    view, second_view, status, scores
        What is shown: pictures, whose ``value`` is a PNG, and HTML.
    """

    def __init__(
        self,
        matter: Matter | Mapping[str, Matter],
        images: Mapping[str, ImageLike],
        *,
        truths: Mapping[str, np.ndarray] | None = None,
        width: int = 720,
    ):
        self._matters = dict(matter) if isinstance(matter, Mapping) else {"model": matter}
        self._images = {name: read_image(image) for name, image in images.items()}
        self._truths = {name: as_pixels(alpha) for name, alpha in (truths or {}).items()}
        self._width = width
        self._predict = lru_cache(30)(self._ask)
        super().__init__(self._make_controls())
        self.prediction()  # a model that fails raises its error here
        self._show()

    def _make_controls(self) -> list[widgets.Widget]:
        """Make every control and arrange them in the order in which the Tab key reaches them."""
        look: dict[str, Any] = {"layout": {"width": "340px"}, "style": {"description_width": "100px"}}
        dropdown, slider = partial(widgets.Dropdown, **look), partial(widgets.FloatSlider, **look)
        share, whole = partial(slider, 0.5, min=0, max=1, step=0.01), partial(widgets.IntSlider, **look)
        models, stages = list(self._matters), [*STAGES, *(["error"] if self._truths else [])]
        beside = ["off", *stages, "undisturbed", *(models if len(models) > 1 else [])]
        self.picture = dropdown(options=list(self._images), description="picture")
        self.model = dropdown(options=models, description="model")
        self.stage = widgets.ToggleButtons(options=stages, value="alpha", style={"button_width": "90px"})
        self.zoom = slider(1, min=1, max=8, step=0.5, readout_format=".1f", description="zoom")
        self.beside = dropdown(options=beside, description="beside it")
        self.background = dropdown(options=list(BACKGROUNDS), description="background")
        self.x, self.y = share(description="centre x"), share(description="centre y")
        self.disturbance = dropdown(options=list(DISTURBANCES), description="disturb by")
        self.strength = whole(1, min=1, max=5, continuous_update=False, description="strength")
        for name in CONTROLS.split():
            getattr(self, name).observe(self._show, names="value")
        self.model.layout.display = "none" if len(models) == 1 else ""
        self.upload = widgets.FileUpload(accept="image/*", description="your own picture")
        self.upload.layout.width = "190px"
        self.upload.observe(self._take_upload, names="value")
        self.sweep = widgets.Button(description="every strength", tooltip="Which answer breaks first?")
        self.sweep.on_click(self._show)
        self.view = DescribedImage(layout={"max_width": "100%"}).add_class("inspector-view")
        self.second_view = DescribedImage(layout={"max_width": "100%"}).add_class("inspector-second")
        self.status, self.scores = widgets.HTML(), widgets.HTML().add_class("inspector-scores")
        row, column = widgets.HBox, partial(widgets.VBox, layout={"flex": "0 0 auto"})
        tabs = {
            "look": row([column([self.zoom, self.beside, self.background]), column([self.x, self.y])]),
            "disturb": row([column([self.disturbance, self.strength, self.sweep]), self.scores]),
        }
        panel = widgets.Tab(list(tabs.values()), titles=list(tabs))
        flow = {"flex_flow": "row wrap", "grid_gap": "8px", "align_items": "flex-start"}
        pictures = row([self.view, self.second_view], layout=flow)
        return [row([self.picture, self.upload, self.model]), self.stage, panel, self.status, pictures]

    def prediction(self, name: str | None = None) -> Prediction:
        """Return the answers for a picture, undisturbed, or for what is shown if ``None``; computed once."""
        return self._predict(Question(self.model.value, name) if name else self._question)

    @property
    def _question(self) -> Question:
        kind, strength = self.disturbance.value, self.strength.value
        return Question(self.model.value, self.picture.value, kind, DISTURBANCES[kind][strength - 1])

    def _ask(self, question: Question) -> Prediction:
        self.status.value = f"computing {escape(str(question))} …"
        image = self._images[question.picture]
        if question.kind != "none":
            image = KINDS[question.kind](image, question.level)
        return self._matters[question.model].predict(image)

    def _errors(self, question: Question) -> list[float]:
        """Mean distances from the undisturbed answers, divided by those of zeros. d_p counts in m_d."""
        given, wanted = self._predict(question)[1:], self._predict(question.clean)[1:]
        matte = torch.tensor(wanted[2])[None, None]
        inside = read_out(transition_region(matte, band_size(matte), maybe=UNSURE)[0, 0])
        errors = []
        for answer, target, weight in zip(given, wanted, (1, inside, 1), strict=True):
            errors.append((weight * abs(answer - target)).sum() / max((weight * target).sum(), 1e-3))
        return errors

    def _score(self, question: Question) -> str:
        """The errors at every strength, and the answer that breaks first, as HTML."""
        kind, levels, names = question.kind, DISTURBANCES[question.kind], list(NAMES.values())
        errors = np.array([self._errors(question._replace(level=level)) for level in levels])
        rows, words = [[kind, *names]], "None has broken."
        for level, row in zip(levels, errors, strict=True):
            bars = [f"{e:.1%} <meter low={BROKEN} high=0.5 optimum=0 value={e}></meter>" for e in row]
            rows.append([f"{level:g}", *bars])
        if errors.max() > BROKEN:
            first = (errors > BROKEN).any(axis=1).argmax()
            words = f"First to break: <b>{names[errors[first].argmax()]}</b>, at {kind} {levels[first]:g}."
        table = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
        return f"<table>{table}</table>{words} 0 % is the undisturbed answer, 100 % is as far from it as an empty one."

    def _show(self, change: Any = None) -> None:
        """Draw what the controls say, and disable those without effect."""
        self.background.disabled = "cutout" not in (self.stage.value, self.beside.value)
        self.x.disabled = self.y.disabled = self.zoom.value == 1
        self.strength.disabled = self.sweep.disabled = self.disturbance.value == "none"
        self.second_view.layout.display = "none" if self.beside.value == "off" else ""
        try:
            if change is self.sweep:
                self.scores.value = self._score(self._question)
            elif change and change.owner in (self.picture, self.model, self.disturbance):
                self.scores.value = ""  # they are of something else
            self._draw(self._question, self.stage.value, self.beside.value)
        except Exception as error:  # the page shows whatever a model raises
            self.status.value = f"<b>This failed: {escape(f'{type(error).__name__}: {error}')}</b>"

    def _draw(self, question: Question, stage: str, beside: str) -> None:
        zoomed = f", enlarged {self.zoom.value:g} times" * (self.zoom.value > 1)
        self.view.show(self._render(question, stage), f"{stage} of {question}{zoomed}")
        if beside in (*STAGES, "error"):
            self.second_view.show(self._render(question, beside), f"{beside} of {question}{zoomed}")
        elif beside != "off":
            other = question.clean if beside == "undisturbed" else question._replace(model=beside)
            self.second_view.show(self._render(other, stage), f"{stage} of {other} by {other.model}{zoomed}")
        remark = "Red: too little person, blue: too much. Without a true matte this is the picture. "
        self.status.value = remark * (stage == "error")
        if (truth := self._truths.get(question.picture)) is not None:
            mad = cv2.norm(self._predict(question).alpha, truth, cv2.NORM_L1) / truth.size
            self.status.value += f"Mean absolute difference of the matte: {mad:.4f}."

    def _render(self, question: Question, stage: str) -> np.ndarray:
        """The visible part of a stage as it is displayed: uint8, (h, w) or (h, w, 3)."""
        answer, truth = self._predict(question), self._truths.get(question.picture)
        place = {"zoom": self.zoom.value, "x": self.x.value, "y": self.y.value}
        visible = partial(part, size=fitting(answer.image, self._width), **place)
        if stage in NAMES:
            return to_bytes(visible(getattr(answer, stage)))
        if stage == "error" and truth is not None:
            return to_bytes(error_map(visible(answer.alpha), visible(truth)))
        image = visible(answer.image)
        if stage != "cutout":
            return image
        alpha, colour = visible(answer.alpha), BACKGROUNDS[self.background.value]
        return over_colour(image, alpha, colour) if colour else checkerboard(image, alpha)

    def _take_upload(self, change: Any) -> None:
        for file in change.new:
            name = str(file["name"])
            try:
                with TemporaryDirectory() as folder:
                    place = Path(folder, f"picture{Path(name).suffix}")
                    place.write_bytes(bytes(file["content"]))
                    pixels = read_image(place)
            except (OSError, ValueError):
                self.status.value = f"<b>{escape(name)}</b> cannot be read; try another JPEG or PNG file."
                return
            self._images[name] = part(pixels, fitting(pixels, LONGEST))
            self._truths.pop(name, None)
            self._predict.cache_clear()
            with self.picture.hold_sync():  # the browser gets the list together with the choice
                self.picture.options = list(self._images)
                self.picture.value = name
            self._show()  # also where the choice is the same as before
