"""Small widgets, one question each: how far e-ASPP sees, how wide a trimap is, what one frame of delay repairs."""

from collections.abc import Sequence

import cv2
import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from modnet_lib.data.trimaps import trimap_from_alpha
from modnet_lib.images import ImageLike, read_image
from modnet_lib.inference.video import THRESHOLD, flickers
from modnet_lib.network.layers import EASPP_DILATIONS
from modnet_lib.notebook.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, image_row, tint_trimap
from modnet_lib.notebook.live import WithStaticForm, image_view, show

WIDE = widgets.Layout(width="420px")
LABEL = {"description_width": "130px"}
COLOURS = tuple((np.array(to_rgb(c)) * 255).astype(np.uint8) for c in (ORANGE, SKY, GREEN, PURPLE, BLUE))


class ReceptiveFieldExplorer(WithStaticForm):
    """Which cells of its map one cell of e-ASPP sees, for any rates and map size, and how many taps are dead.

    Parameters
    ----------
    dilations
        Rates of the branches, up to five; each is a 3 x 3 kernel.

    Attributes
    ----------
    rates, side, row, column
        The controls: text such as ``"1 2 3"``, side of the map in cells (1/32 of the picture), the cell that looks.
    view, caption
        The map, each tap in its branch's colour; live taps of all in words.

    Raises
    ------
    ValueError
        If there are no rates, more than five, or one is smaller than 1.
    """

    def __init__(self, dilations: Sequence[int] = EASPP_DILATIONS):
        self._dilations = _checked(dilations)
        self.rates = widgets.Text(
            " ".join(map(str, dilations)), description="dilation rates", layout=WIDE, style=LABEL
        )
        self.side = widgets.SelectionSlider(
            options=[4, 8, 12, 16, 24, 32], value=16, description="map side", layout=WIDE, style=LABEL
        )
        centre = {"min": 0, "max": 15, "layout": WIDE, "style": LABEL}
        self.row = widgets.IntSlider(8, description="row of the cell", **centre)
        self.column = widgets.IntSlider(8, description="column", **centre)
        self.view, self.caption = image_view(), widgets.HTML()
        super().__init__([self.rates, self.side, self.row, self.column, self.caption, self.view])
        for control in (self.rates, self.side, self.row, self.column):
            control.observe(lambda change: self._show(), names="value")
        self._show()

    def __repr__(self) -> str:
        return f"ReceptiveFieldExplorer(rates {self.rates.value}, map {self.side.value} x {self.side.value})"

    def taps(self) -> dict[int, list[tuple[int, int]]]:
        """Rows and columns of the live taps of each rate, the centre included."""
        side, row, column = self.side.value, self.row.value, self.column.value
        steps = (-1, 0, 1)
        return {
            rate: [
                (row + i * rate, column + j * rate)
                for i in steps
                for j in steps
                if 0 <= row + i * rate < side and 0 <= column + j * rate < side
            ]
            for rate in self._dilations
        }

    def picture(self) -> np.ndarray:
        """The map, (H, W, 3) uint8: grey cells, taps in the colours of their branches, the looking cell black."""
        side = self.side.value
        cells = np.full((side, side, 3), 235, np.uint8)
        for (_, places), colour in zip(self.taps().items(), COLOURS, strict=False):
            for place in places:
                cells[place] = colour
        cells[self.row.value, self.column.value] = 30
        pixel = max(8, 384 // side)
        grid = cells.repeat(pixel, 0).repeat(pixel, 1)
        grid[::pixel] = grid[:, ::pixel] = 255
        return grid

    def static_figure(self) -> Figure:
        return image_row([self.picture()], [self._words().replace(". ", ".\n")], height=3.2)

    def _words(self) -> str:
        taps = self.taps()
        live = ", ".join(f"rate {rate}: {len(places)} of 9" for rate, places in taps.items())
        seen = len({place for places in taps.values() for place in places})
        return f"Live taps: {live}. {seen} of {self.side.value**2} cells are seen in one step."

    def _show(self) -> None:
        self.row.max = self.column.max = self.side.value - 1
        try:
            self._dilations = _checked([int(rate) for rate in self.rates.value.replace(",", " ").split()])
        except ValueError as error:
            self.caption.value = (
                f"<b>{error}</b>"
                if "rates" in str(error)
                else "<b>Rates are whole numbers with spaces between them.</b>"
            )
            return
        self.caption.value = self._words()
        show(self.view, self.picture(), self._words())


def _checked(dilations: Sequence[int]) -> tuple[int, ...]:
    rates = tuple(dict.fromkeys(dilations))
    if not 1 <= len(rates) <= len(COLOURS) or min(rates) < 1:
        raise ValueError(
            f"the rates must be one to {len(COLOURS)} whole numbers of at least 1, got {list(rates)}"
        )
    return rates


class TrimapSlider(WithStaticForm):
    """How much of a picture is unknown, for every width of the trimap.

    Parameters
    ----------
    image
        See `modnet_lib.images.read_image`.
    alpha
        Its true matte, (H, W), uint8 or float in [0, 1].

    Attributes
    ----------
    width
        Slider: side of the square of the dilation and erosion, in pixels.
    view, caption
        The picture with its unknown band in orange; shares of the three regions.

    Raises
    ------
    ValueError
        If the sizes differ.
    """

    def __init__(self, image: ImageLike, alpha: np.ndarray):
        self._image = read_image(image)
        scale = 255 if alpha.dtype == np.uint8 else 1
        self._alpha = torch.from_numpy(alpha.astype(np.float32) / scale)[None, None]
        if alpha.shape != self._image.shape[:2]:
            raise ValueError(
                f"the picture is {self._image.shape[:2]}, the matte {alpha.shape}: sizes must agree"
            )
        self.width = widgets.IntSlider(30, 1, 120, description="trimap width", layout=WIDE, style=LABEL)
        self.view, self.caption = image_view(), widgets.HTML()
        super().__init__([self.width, self.caption, self.view])
        self.width.observe(lambda change: self._show(), names="value")
        self._show()

    def __repr__(self) -> str:
        return f"TrimapSlider(width {self.width.value})"

    def trimap(self, width: int) -> np.ndarray:
        """The trimap at a width, (H, W) float32 of {0, 0.5, 1}."""
        return trimap_from_alpha(self._alpha, width)[0, 0].numpy()

    def static_figure(self) -> Figure:
        tinted = tint_trimap(self._image, self.trimap(self.width.value))
        return image_row([tinted], [f"{self.width.value} pixels: {self.caption.value}"])

    def _show(self) -> None:
        trimap = self.trimap(self.width.value)
        shares = [
            f"{100 * (trimap == level).mean():.1f} % {name}"
            for level, name in ((1, "person"), (0.5, "unknown (orange)"), (0, "background"))
        ]
        self.caption.value = words = ", ".join(shares)
        show(self.view, (tint_trimap(self._image, trimap) * 255).round().astype(np.uint8), words)


class OFDTimeline(WithStaticForm):
    """One-frame delay on a stack of mattes: which pixels flicker at each time, and what is put in their place.

    Parameters
    ----------
    alphas
        (T, H, W) float in [0, 1] or uint8, at least three frames of one shot.
    threshold
        A pixel flickers if its neighbours in time differ by at most this and it from both by more.

    Attributes
    ----------
    time, threshold
        Sliders: the frame (not the first nor the last, which have one neighbour only; at first the one that flickers
        most), and the threshold.
    view, timeline, caption
        The frame and its neighbours; share of flicker at each time; both in words.

    Raises
    ------
    ValueError
        If there are fewer than three frames.
    """

    def __init__(self, alphas: Sequence[np.ndarray] | np.ndarray, *, threshold: float = THRESHOLD):
        stack = np.asarray(alphas)
        if stack.ndim != 3 or len(stack) < 3:
            raise ValueError(f"alphas must be (T, H, W) with at least three frames, got {stack.shape}")
        self._alphas = stack.astype(np.float32) / (255 if stack.dtype == np.uint8 else 1)
        self.threshold = widgets.FloatSlider(
            threshold, min=0, max=0.6, step=0.01, description="threshold", layout=WIDE, style=LABEL
        )
        self.time = widgets.IntSlider(1, 1, len(stack) - 2, description="frame", layout=WIDE, style=LABEL)
        self.time.value = 1 + int(self.shares().argmax())
        self.view, self.timeline, self.caption = image_view(), image_view(), widgets.HTML()
        super().__init__([self.threshold, self.time, self.caption, self.view, self.timeline])
        for control in (self.time, self.threshold):
            control.observe(lambda change: self._show(), names="value")
        self._show()

    def __repr__(self) -> str:
        return f"OFDTimeline({len(self._alphas)} frames)"

    def flicker(self, time: int, threshold: float | None = None) -> np.ndarray:
        """Where frame `time` flickers, (H, W) bool; by the slider's threshold unless one is given."""
        threshold = self.threshold.value if threshold is None else threshold
        return flickers(*self._alphas[time - 1 : time + 2], threshold)

    def shares(self) -> np.ndarray:
        """Share of flickering pixels in each frame but the first and the last, (T - 2,) in [0, 1]."""
        return np.array([self.flicker(time).mean() for time in range(1, len(self._alphas) - 1)])

    def panels(self, time: int, threshold: float | None = None) -> list[np.ndarray]:
        """Before, now, after, now with the flicker in orange, and repaired; (H, W, 3) uint8 each."""
        before, now, after = self._alphas[time - 1 : time + 2]
        found = self.flicker(time, threshold)
        mattes = (before, now, after, now, np.where(found, (before + after) / 2, now))
        panels = [np.repeat((255 * matte).round().astype(np.uint8)[..., None], 3, 2) for matte in mattes]
        panels[3][found] = COLOURS[0]
        return panels

    def static_figure(self) -> Figure:
        sheet, (title, *rest) = np.hstack(self.panels(self.time.value)), self._words().split(". ")
        bars = cv2.resize(self._bars(), sheet.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return image_row([sheet, bars], [title, ""], caption=". ".join(rest), columns=1)

    def _bars(self) -> np.ndarray:
        """A bar for the share of flicker at each time, the chosen one orange; (H, W, 3) uint8."""
        shares = self.shares()
        width, height = max(4, 880 // len(shares)), 60
        bars = np.full((height, width * len(shares), 3), 245, np.uint8)
        for number, share in enumerate(shares):
            length = max(1, round((height - 2) * share / max(shares.max(), 1e-9)))
            colour = COLOURS[0] if number + 1 == self.time.value else COLOURS[4]
            bars[height - length :, number * width : (number + 1) * width - 1] = colour
        return bars

    def _words(self) -> str:
        shares, time = 100 * self.shares(), self.time.value
        return (
            f"Frames {time - 1}, {time} and {time + 1}, what flickers in {time} (orange), and its repair. "
            f"{shares[time - 1]:.2f} % of its pixels flicker, in all frames {shares.mean():.2f} %. "
            "The bars: how much flickers at each time"
        )

    def _show(self) -> None:
        self.caption.value = words = self._words()
        sheet = np.hstack(self.panels(self.time.value))
        scale = min(1.0, 960 / sheet.shape[1])
        show(self.view, cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), words)
        show(self.timeline, self._bars(), f"share of flicker at each time, most {self.shares().max():.2%}")
