"""MatteInspector: look at every answer of the network, compare models, and disturb the picture until one breaks."""

import asyncio
import html
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import ipywidgets as widgets
import numpy as np
from IPython import get_ipython
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from modnet_lib.data.readers import Labelled
from modnet_lib.evaluation.robustness import degrade
from modnet_lib.images import ImageLike, cover, read_image
from modnet_lib.inference.matter import Matter, Prediction
from modnet_lib.notebook.drawings import BLUE, ORANGE
from modnet_lib.notebook.figures import checkerboard, error_map, image_row, over_colour
from modnet_lib.notebook.inspection import (
    Answers,
    Errors,
    answers_of_truth,
    crop,
    region,
    sub_objective_errors,
)
from modnet_lib.notebook.live import WithStaticForm, image_view, show

STAGES = ("input", "semantic", "detail", "alpha", "cutout")  # on the contact sheet
BACKGROUNDS = ("checkerboard", "white", "black", "green", "colour", "picture")
SHEET_ROWS = 3  # pictures on the contact sheet
LONGEST = 2048  # pixels of an uploaded picture's longer side
PREDICTIONS = 40  # kept; the oldest go first
BROKEN = 0.1  # a sub-objective breaks where its error has grown by a tenth of an empty answer's
# mild to strong; units as in `modnet_lib.evaluation.robustness`, where resolution is the scale of the picture
DISTURBANCES: dict[str, tuple[float, ...]] = {
    "none": (),
    "blur": (1, 2, 4, 8, 16),
    "noise": (5, 10, 25, 50, 100),
    "jpeg": (80, 50, 20, 10, 5),
    "brightness": (0.7, 0.5, 0.35, 0.2, 0.1),
    "resolution": (0.5, 0.25, 0.125, 0.0625, 0.03125),
}
NAMES = {"semantic": "semantics s_p", "detail": "details d_p", "alpha": "matte α_p"}


class Question(NamedTuple):
    """One forward pass: which model sees which picture, and what was done to it before."""

    model: str
    picture: str
    kind: str = "none"
    level: float = 0.0

    def __str__(self) -> str:
        return self.picture if self.kind == "none" else f"{self.picture}, {self.kind} {self.level:g}"


class MatteInspector(WithStaticForm):
    """Look closely at each answer of the network, over any background, also for your own picture.

    Parameters
    ----------
    matter
        What predicts, or several by name: they can be compared.
    images
        Name to picture, at least one; see `modnet_lib.images.read_image`.
    truths
        Name to true matte of some of the pictures: (H, W), uint8 or float in [0, 1]. They add the stage ``"error"``.
    width
        Longest displayed side in pixels.

    Attributes
    ----------
    picture, upload, model, stage
        What is shown. A region (stage) is orange where Eq. 3 has it (by the true matte), blue where Eq. 7 has it (by
        the answer), both mixed where they agree.
    background, colour, backdrop
        What the cut-out lies over: a name, a colour for ``"colour"``, an uploaded picture for ``"picture"``.
    zoom, x, y, loupe
        Which part is shown, and which other stage beside it (``"off"`` for none).
    compare, wipe
        What is right of the line (``"off"`` for nothing), and where the line is.
    disturbance, strength, sweep
        What is done to the picture before the network sees it; the button tries every strength.
    trimap_width, soc_band
        Width of the transition region in pixels of 512, and the alpha from which SOC calls a pixel perhaps person.
    view, loupe_view, overview
        The image widgets; their ``value`` is a PNG.
    status, message, scores
        HTML: what is going on, what went wrong, and the error of each sub-objective.

    Setting a control's ``value`` has the same effect as using it in a browser, only at once: in a browser a forward
    pass runs beside the kernel's main thread, so the other controls still answer.

    Raises
    ------
    ValueError
        If there are no pictures or models, a picture cannot be read, a truth does not fit, or `width` is smaller
        than 64.
    FileNotFoundError
        If a picture is a path and there is no such file.
    """

    def __init__(
        self,
        matter: Matter | Mapping[str, Matter],
        images: Mapping[str, ImageLike],
        *,
        truths: Mapping[str, np.ndarray] | None = None,
        width: int = 720,
    ):
        if not images:
            raise ValueError("images is empty: give at least one, for instance {'portrait': 'portrait.jpg'}")
        if width < 64:
            raise ValueError(f"width must be at least 64 pixels, got {width}")
        self._matters = dict(matter) if isinstance(matter, Mapping) else {"model": matter}
        if not self._matters:
            raise ValueError("matter is empty: give one Matter, or at least one by name")
        self._width = width
        self._images = {str(name): read_image(image) for name, image in images.items()}
        self._truths = {str(name): self._truth(str(name), alpha) for name, alpha in (truths or {}).items()}
        self._predictions: dict[Question, Prediction] = {}
        self._kept: dict[tuple[Any, ...], Any] = {}  # regions, targets, errors, backgrounds
        self._failures: dict[Question, str] = {}
        self._backdrop: np.ndarray | None = None
        self._job: asyncio.Future[None] | None = None
        self._pool = ThreadPoolExecutor(1)
        self._make_controls()
        self.prediction()  # a model that cannot answer says so where it was given
        for control in self._controls:
            control.observe(self._show, names="value")
        self.disturbance.observe(self._set_strengths, names="value")
        self.upload.observe(self._take_upload, names="value")
        self.backdrop.observe(self._take_backdrop, names="value")
        self.sweep.on_click(lambda button: self._show(sweep=True))
        self._show()

    def _truth(self, name: str, alpha: np.ndarray) -> np.ndarray:
        if name not in self._images:
            raise ValueError(f"truths has {name!r}, but images has only {', '.join(self._images)}")
        truth = np.asarray(alpha)
        truth = truth.astype(np.float32) / (255 if truth.dtype == np.uint8 else 1)
        if truth.shape != self._images[name].shape[:2] or not (truth.min() >= 0 and truth.max() <= 1):
            raise ValueError(
                f"the truth of {name!r} must be {self._images[name].shape[:2]} in [0, 1], got {truth.shape} "
                f"in [{truth.min():g}, {truth.max():g}]"
            )
        return truth

    def _make_controls(self) -> None:
        models = list(self._matters)
        several = len(models) > 1
        name = {"description_width": "100px"}

        def wide() -> widgets.Layout:  # one for each: hiding one must not hide all
            return widgets.Layout(width="340px")

        def dropdown(label: str, options: Any, **more: Any) -> widgets.Dropdown:
            return widgets.Dropdown(options=options, description=label, layout=wide(), style=name, **more)

        def slider(label: str, value: float, low: float, high: float, step: float, **more: Any) -> Any:
            kind = widgets.IntSlider if isinstance(step, int) else widgets.FloatSlider
            more = {"layout": wide(), "style": name} | more
            return kind(value, min=low, max=high, step=step, description=label, **more)

        self.picture = dropdown("picture", list(self._images))
        self.upload = widgets.FileUpload(
            accept="image/*", description="your own picture", layout=widgets.Layout(width="190px")
        )
        self.model = dropdown("model", models)
        self.model.layout.display = "" if several else "none"
        stages = [*STAGES, "region", *(["error"] if self._truths else [])]
        self.stage = widgets.ToggleButtons(options=stages, value="alpha", style={"button_width": "90px"})
        self.background = dropdown("background", BACKGROUNDS)
        self.colour = widgets.ColorPicker(value="#0072B2", description="colour", layout=wide(), style=name)
        self.backdrop = widgets.FileUpload(
            accept="image/*", description="background picture", layout=widgets.Layout(width="190px")
        )
        self.zoom = slider("zoom", 1, 1, 8, 0.5, readout_format=".1f")
        self.x = slider("centre x", 0.5, 0, 1, 0.01)
        self.y = slider("centre y", 0.5, 0, 1, 0.01)
        self.loupe = dropdown("loupe shows", ["off", *stages])
        self.compare = dropdown("compare with", [("off", "off"), ("the undisturbed picture", "undisturbed")])
        if several:
            self.compare.options = [*self.compare.options, *((model, model) for model in models)]
        self.wipe = slider("wipe", 0.5, 0, 1, 0.01)
        self.disturbance = dropdown("disturb by", list(DISTURBANCES))
        self.strength = widgets.SelectionSlider(
            options=[("–", 0.0)], description="strength", layout=wide(), style=name, continuous_update=False
        )
        self.sweep = widgets.Button(
            description="every strength", tooltip="Tries each and says what breaks first"
        )
        self.trimap_width = slider("trimap width", 30, 3, 80, 1)
        self.soc_band = slider("SOC band", 0.1, 0.01, 0.45, 0.01)
        self.view, self.loupe_view, self.overview = image_view(), image_view(), image_view()
        self.status, self.message, self.scores = (widgets.HTML() for _ in range(3))
        for part in ("view", "loupe_view", "overview", "status", "message", "scores"):
            getattr(self, part).add_class(f"inspector-{part}")  # for who looks from outside
        self._controls = (
            self.picture, self.model, self.stage, self.background, self.colour, self.zoom, self.x, self.y, self.loupe,
            self.compare, self.wipe, self.strength, self.trimap_width, self.soc_band,
        )  # fmt: skip
        row = widgets.HBox

        def column(parts: list[Any]) -> widgets.VBox:
            return widgets.VBox(parts, layout=widgets.Layout(flex="0 0 auto"))

        tabs = {
            "look": row([column([self.zoom, self.loupe]), column([self.x, self.y]), self.overview]),
            "background": row([column([self.background, self.colour]), self.backdrop]),
            "compare": row([self.compare, self.wipe]),
            "disturb": row([column([self.disturbance, self.strength, self.sweep]), self.scores]),
            "thresholds": row([self.trimap_width, self.soc_band]),
        }
        panel = widgets.Tab(list(tabs.values()), titles=list(tabs))
        pictures = row(
            [self.view, self.loupe_view], layout=widgets.Layout(flex_flow="row wrap", grid_gap="8px")
        )
        super().__init__(
            [
                row([self.picture, self.upload, self.model]),
                self.stage,
                panel,
                self.message,
                self.status,
                pictures,
            ]
        )

    def __repr__(self) -> str:
        count = len(self._images)
        return f"MatteInspector({count} image{'s' if count != 1 else ''}: {', '.join(self._images)})"

    @property
    def _matter(self) -> Matter:
        return self._matters[self.model.value]

    @property
    def _question(self) -> Question:
        return Question(self.model.value, self.picture.value, self.disturbance.value, self.strength.value)

    def prediction(self, name: str | None = None) -> Prediction:
        """Return the network's answers for a picture, undisturbed, or for what is shown if ``None``; computed once."""
        return self._answer(Question(self.model.value, name) if name else self._question)

    def static_figure(self) -> Figure:
        """Return the contact sheet: input, semantics, details, matte and cut-out of the first pictures."""
        names = list(self._images)[:SHEET_ROWS]
        stages = [*STAGES, *(["error"] if self._truths else [])]
        questions = [Question(self.model.value, name) for name in names]
        pictures = [self._part(question, stage, whole=True) for question in questions for stage in stages]
        titles = [
            f"{name}: {stages[0]}" if stage == stages[0] else stage for name in names for stage in stages
        ]
        return image_row(pictures, titles, columns=len(stages), height=2.0)

    # -- forward passes

    def _input(self, question: Question) -> np.ndarray:
        image = self._images[question.picture]
        if question.kind == "none":
            return image
        return self._keep(
            ("input", question.picture, question.kind, question.level),
            lambda: (
                degrade(Labelled(image, np.empty((0, 0), np.uint8), {}), question.kind, question.level).image
            ),
        )

    def _answer(self, question: Question) -> Prediction:
        if question not in self._predictions:
            while len(self._predictions) >= PREDICTIONS:
                self._predictions.pop(next(iter(self._predictions)))
            matter = self._matters[question.model]
            self._predictions[question] = matter.predict(self._input(question))
        return self._predictions[question]

    def _keep(self, key: tuple[Any, ...], compute: Any) -> Any:
        if key not in self._kept:
            while len(self._kept) >= 2 * PREDICTIONS:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = compute()
        return self._kept[key]

    def _needed(self, sweep: bool) -> list[Question]:
        """The forward passes that the present choice needs and that have not been made."""
        question = self._question
        clean = question._replace(kind="none", level=0.0)
        needed = []
        if sweep:
            needed = [question._replace(level=level) for level in DISTURBANCES[question.kind]]
        if self.stage.value != "input" or self.loupe.value not in ("off", "input"):
            needed += [question, *([self._other] if self._other else [])]
        if question.kind != "none":
            needed += [clean, question]
        return [q for q in dict.fromkeys(needed) if q not in self._predictions and q not in self._failures]

    @property
    def _other(self) -> Question | None:
        """What is right of the wipe's line."""
        question, chosen = self._question, self.compare.value
        if chosen == "off":
            return None
        if chosen == "undisturbed":
            return question._replace(kind="none", level=0.0)
        return question._replace(model=chosen)

    def _try(self, question: Question) -> None:
        try:
            self._answer(question)
        except Exception as error:  # whatever a model raises is said in the widget, not lost in a log
            self._failures[question] = (
                f"{question.model} failed on {question}: {type(error).__name__}: {error}"
            )

    def _compute(self, questions: list[Question], loop: asyncio.AbstractEventLoop | None) -> None:
        for number, question in enumerate(questions, start=1):
            text = f"computing {html.escape(str(question))} ({number} of {len(questions)}) …"
            if loop is None:
                self._try(question)
                continue
            loop.call_soon_threadsafe(setattr, self.status, "value", text)
            self._try(question)

    def _show(self, change: Any = None, *, sweep: bool = False, loop: Any = None) -> None:
        if self._job is not None:  # when it is done it calls again
            return
        self._enable()
        loop = loop or _event_loop()
        questions = self._needed(sweep)
        if questions and loop is not None:
            self.status.value = f"computing {html.escape(str(questions[0]))} …"
            job = self._job = loop.run_in_executor(self._pool, self._compute, questions, loop)
            job.add_done_callback(lambda done: self._done(loop))
            return
        self._compute(questions, None)
        self._draw()

    def _done(self, loop: asyncio.AbstractEventLoop) -> None:
        self._job = None
        self._show(loop=loop)

    # -- drawing

    def _enable(self) -> None:
        cutout = "cutout" in (self.stage.value, self.loupe.value)
        self.background.disabled = not cutout
        self.colour.disabled = not cutout or self.background.value != "colour"
        self.x.disabled = self.y.disabled = self.zoom.value == 1
        self.wipe.disabled = self.compare.value == "off"
        self.strength.disabled = self.sweep.disabled = self.disturbance.value == "none"
        self.loupe_view.layout.display = "none" if self.loupe.value == "off" else ""
        self.overview.layout.display = "none" if self.zoom.value == 1 else ""

    def _draw(self) -> None:
        question, other, stage = self._question, self._other, self.stage.value
        self.status.value = self._remark(stage)
        failed = [self._failures[q] for q in (question, other) if q in self._failures]
        if failed:
            self.message.value = f"<b>{html.escape(failed[0])}</b>"
            return
        self.message.value = "" if " failed on " in self.message.value else self.message.value
        shown = self._part(question, stage)
        if other is not None:
            right, line = self._part(other, stage), round(self.wipe.value * shown.shape[1])
            shown = shown.copy() if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)
            shown[:, line:] = right[:, line:] if right.ndim == 3 else right[:, line:, None]
            shown[:, max(0, line - 1) : line + 1] = _rgb(ORANGE)
        part = f", enlarged {self.zoom.value:g} times" if self.zoom.value > 1 else ""
        beside = f"; right of the line {other.model}, {other}" if other else ""
        show(self.view, shown, f"{stage} of {question}{part}{beside}")
        if self.loupe.value != "off":
            loupe = self._part(question, self.loupe.value)
            show(self.loupe_view, loupe, f"loupe: {self.loupe.value} of {question}{part}")
        if self.zoom.value > 1:
            framed = self._framed(self._images[question.picture])
            show(self.overview, framed, f"where the enlarged part of {question.picture} lies")
        self.scores.value = self._table()

    def _part(self, question: Question, stage: str, *, whole: bool = False) -> np.ndarray:
        """The visible part of a stage at its displayed size (or the whole at its own), uint8, (h, w) or (h, w, 3)."""
        image = self._images[question.picture]
        zoom = 1.0 if whole else self.zoom.value
        scale = 1.0 if whole else min(1.0, self._width / max(image.shape[:2]))
        size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])

        def part(of: np.ndarray) -> np.ndarray:
            if of.shape[:2] != image.shape[:2]:  # the 1/16 map; nearest, so that its cells stay visible
                of = cv2.resize(of, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            cut = crop(of, zoom, self.x.value, self.y.value)
            smaller = size[0] < cut.shape[1]
            return cv2.resize(cut, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_NEAREST)

        truth = self._truths.get(question.picture)
        if stage == "input" or (stage == "error" and truth is None):
            return part(self._input(question))
        prediction = self._answer(question)
        if stage == "error":
            return _bytes(error_map(part(prediction.alpha), part(truth)))
        if stage == "region":
            return self._tinted(question, part)
        if stage == "cutout":
            return self._composite(part(prediction.image), part(prediction.alpha), part)
        return part(_bytes(getattr(prediction, stage)))

    def _composite(self, image: np.ndarray, alpha: np.ndarray, part: Any) -> np.ndarray:
        chosen = self.background.value
        if chosen == "picture" and self._backdrop is not None:
            height, width = self._images[self.picture.value].shape[:2]
            key = ("backdrop", id(self._backdrop), height, width)
            whole = self._keep(key, lambda: cover(self._backdrop, height, width))
            if alpha.shape != (height, width):
                whole = part(whole)
            return over_colour(image, alpha, whole.astype(np.float32) / 255)
        if chosen in ("checkerboard", "picture"):
            return checkerboard(image, alpha)
        return over_colour(
            image, alpha, {"green": "#00B140", "colour": self.colour.value}.get(chosen, chosen)
        )

    def _region(self, question: Question, *, of_truth: bool) -> np.ndarray:
        width, maybe = self.trimap_width.value, 0.0 if of_truth else self.soc_band.value
        key = ("region", question.picture if of_truth else question, width, maybe)
        alpha = self._truths[question.picture] if of_truth else self._answer(question).alpha
        return self._keep(key, lambda: region(alpha, width, maybe))

    def _tinted(self, question: Question, part: Any) -> np.ndarray:
        picture = part(self._input(question)).astype(np.float32)
        masks = [(self._region(question, of_truth=False), BLUE)]
        if question.picture in self._truths:
            masks.append((self._region(question, of_truth=True), ORANGE))
        for mask, colour in masks:
            inside = part(mask.astype(np.uint8)) > 0
            picture[inside] = 0.5 * picture[inside] + 0.5 * _rgb(colour)
        return picture.round().astype(np.uint8)

    def _framed(self, image: np.ndarray) -> np.ndarray:
        """A small picture with a frame around the visible part."""
        height, width = image.shape[:2]
        scale = 120 / max(height, width)
        small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
        rows, columns = small.shape[0] / self.zoom.value, small.shape[1] / self.zoom.value
        top, left = (small.shape[0] - rows) * self.y.value, (small.shape[1] - columns) * self.x.value
        corners = (round(left), round(top)), (round(left + columns) - 1, round(top + rows) - 1)
        return cv2.rectangle(small, *corners, _rgb(ORANGE).tolist(), 2)

    # -- words and numbers

    def _remark(self, stage: str) -> str:
        name = self.picture.value
        if "error" in (stage, self.loupe.value):
            if name not in self._truths:
                return f"The true matte of {html.escape(name)} is not known; this is the picture."
            mad = float(np.abs(self._answer(self._question).alpha - self._truths[name]).mean())
            return f"Red: too little person, blue: too much. Mean absolute difference {mad:.4f}."
        if stage == "region":
            known = "orange: transition region of the truth (Eq. 3), " if name in self._truths else ""
            return f"Tinted {known}blue: transition region of the answer (Eq. 7, SOC)."
        if self.background.value == "picture" and self._backdrop is None and stage == "cutout":
            return "Upload a background picture first; until then there are squares."
        return ""

    def _errors(self, question: Question) -> Errors:
        """Against the truth if there is one, or else against the answer for the undisturbed picture."""
        truth = self._truths.get(question.picture)
        clean = question._replace(kind="none", level=0.0)

        def compute() -> Errors:
            prediction = self._answer(question)
            right = Answers(*self._answer(clean)[1:])
            if truth is not None:
                right = answers_of_truth(truth, prediction.semantic)
            return sub_objective_errors(prediction, right, self._region(clean, of_truth=truth is not None))

        limits = () if truth is not None else (self.soc_band.value,)
        return self._keep(("errors", question, self.trimap_width.value, *limits), compute)

    def _table(self) -> str:
        """The errors at each strength tried so far, and which sub-objective broke first."""
        question = self._question
        if question.kind == "none":
            return ""
        clean = self._errors(question._replace(kind="none", level=0.0))
        tried = [question._replace(level=level) for level in DISTURBANCES[question.kind]]
        tried = [one for one in tried if one in self._predictions]
        rows, broken = [], ""
        for one in tried:
            errors = self._errors(one)
            growth = {
                stage: now - before for stage, now, before in zip(Errors._fields, errors, clean, strict=True)
            }
            worst = max(growth, key=growth.__getitem__)
            if not broken and growth[worst] > BROKEN:
                broken = f"First to break: <b>{NAMES[worst]}</b>, at {question.kind} {one.level:g}."
            cells = "".join(f"<td>{_bar(error)}</td>" for error in errors)
            mark = "▸" if one.level == question.level else ""
            rows.append(f"<tr><td>{mark} {one.level:g}</td>{cells}</tr>")
        head = "".join(f"<th>{name}</th>" for name in NAMES.values())
        known = question.picture in self._truths
        against = "the truth" if known else "the undisturbed answer"
        return (
            f"<table><tr><th>{question.kind}</th>{head}</tr>{''.join(rows)}</table>"
            f"{broken or 'None has broken so far.'} Errors against {against}, 100 % is that of an empty answer."
        )

    # -- uploads

    def _set_strengths(self, change: Any) -> None:
        levels = DISTURBANCES[self.disturbance.value]
        self.strength.unobserve(self._show, names="value")  # it would draw twice
        self.strength.options = [(f"{level:g}", level) for level in levels] or [("–", 0.0)]
        self.strength.observe(self._show, names="value")
        self._show()

    def _read(self, file: Mapping[str, Any]) -> np.ndarray | None:
        """An uploaded picture, or ``None`` and a message."""
        try:
            with Image.open(io.BytesIO(bytes(file["content"]))) as opened:
                opened.load()
                pixels = read_image(opened)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            self.message.value = (
                f"<b>{html.escape(str(file['name']))}</b> cannot be read: it is damaged or no picture "
                "that Pillow knows. Try a JPEG, PNG or WebP file."
            )
            return None
        scale = LONGEST / max(pixels.shape[:2])
        if scale >= 1:
            return pixels
        size = tuple(max(1, round(side * scale)) for side in pixels.shape[1::-1])
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)

    def _take_upload(self, change: Any) -> None:
        if not self.upload.value:
            return
        self.message.value = ""
        for file in self.upload.value:
            pixels, name = self._read(file), str(file["name"])
            if pixels is None:
                continue
            self._images[name] = pixels
            self._truths.pop(name, None)
            self._predictions = {q: p for q, p in self._predictions.items() if q.picture != name}
            self._failures = {q: text for q, text in self._failures.items() if q.picture != name}
            self._kept.clear()
            if self.picture.value == name:
                self._show()
            else:
                self.picture.options = list(self._images)  # keeps the choice, or goes to the first
                self.picture.value = name

    def _take_backdrop(self, change: Any) -> None:
        for file in self.backdrop.value:
            self.message.value = ""
            pixels = self._read(file)
            if pixels is not None:
                self._backdrop = pixels
                self.background.value = "picture"
                self._show()


def _event_loop() -> asyncio.AbstractEventLoop | None:
    """The kernel's loop while it answers a control in a browser; ``None`` in a cell, a script or a test."""
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or kernel.get_parent().get("header", {}).get("msg_type") != "comm_msg":
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _bytes(values: np.ndarray) -> np.ndarray:
    return (values * 255).round().astype(np.uint8)


def _rgb(colour: str) -> np.ndarray:
    return _bytes(np.array(to_rgb(colour)))


def _bar(share: float) -> str:
    """A number and a bar; the number first, so that nothing hangs on seeing the bar."""
    length = round(60 * min(share, 1))
    colour = ORANGE if share > BROKEN else BLUE
    return (
        f'{100 * share:.1f} % <span style="display:inline-block;height:9px;width:{length}px;background:{colour}">'
        "</span>"
    )
