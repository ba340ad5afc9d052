"""Small widgets, one question each: how far e-ASPP sees, how wide a trimap is, what one frame of delay repairs."""

from collections.abc import Sequence

import cv2
import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.colors import to_rgb

from modnet_lib.data.trimaps import band_size, trimap_from_alpha
from modnet_lib.images import ImageLike, read_image
from modnet_lib.inference.video import THRESHOLD, flickers
from modnet_lib.network.layers import EASPP_DILATIONS
from modnet_lib.notebook.drawings import BLUE, GREEN, ORANGE, PURPLE, SKY, compact_png
from modnet_lib.notebook.figures import image_row, tint_trimap
from modnet_lib.notebook.live import WithStaticForm, encode_png, image_view

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

    def static_png(self) -> bytes:
        return compact_png(image_row([self.picture()], [self._words().replace(". ", ".\n")], height=3.2))

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
        self.view.value = encode_png(self.picture())


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
        Slider: side of the square of the dilation and erosion, in pixels if the person spans 512.
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
        return trimap_from_alpha(self._alpha, band_size(self._alpha, width))[0, 0].numpy()

    def static_png(self) -> bytes:
        widths = (10, 30, 60, 120)
        pictures = [tint_trimap(self._image, self.trimap(width)) for width in widths]
        return compact_png(image_row(pictures, [f"width {width}" for width in widths]))

    def _show(self) -> None:
        trimap = self.trimap(self.width.value)
        shares = [
            f"{100 * (trimap == level).mean():.1f} % {name}"
            for level, name in ((1, "person"), (0.5, "unknown (orange)"), (0, "background"))
        ]
        self.caption.value = ", ".join(shares) + "."
        self.view.value = encode_png((tint_trimap(self._image, trimap) * 255).round().astype(np.uint8))


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
        Sliders: the frame (first and last have only one neighbour and pass as they are), and the threshold.
    view, timeline, caption
        Frame before, frame (flicker orange), frame after, repaired frame; share of flicker at each time.

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
        self.time = widgets.IntSlider(1, 0, len(stack) - 1, description="frame", layout=WIDE, style=LABEL)
        self.threshold = widgets.FloatSlider(
            threshold, min=0, max=0.5, step=0.01, description="threshold", layout=WIDE, style=LABEL
        )
        self.view, self.timeline, self.caption = image_view(), image_view(), widgets.HTML()
        super().__init__([self.time, self.threshold, self.caption, self.view, self.timeline])
        self.time.observe(lambda change: self._show(), names="value")
        self.threshold.observe(lambda change: self._count(), names="value")
        self._count()

    def __repr__(self) -> str:
        return f"OFDTimeline({len(self._alphas)} frames)"

    def flicker(self, time: int) -> np.ndarray:
        """Where frame `time` flickers, (H, W) bool; nowhere in the first and the last."""
        if not 0 < time < len(self._alphas) - 1:
            return np.zeros(self._alphas.shape[1:], bool)
        return flickers(*self._alphas[time - 1 : time + 2], self.threshold.value)

    def repaired(self, time: int) -> np.ndarray:
        """Frame `time` as it leaves the delay, (H, W) float32."""
        now = self._alphas[time]
        if not 0 < time < len(self._alphas) - 1:
            return now
        return np.where(self.flicker(time), (self._alphas[time - 1] + self._alphas[time + 1]) / 2, now)

    def static_png(self) -> bytes:
        return compact_png(image_row([self._frames(), self._bars()], ["", ""], columns=1, height=2.4))

    def _frames(self) -> np.ndarray:
        time, last = self.time.value, len(self._alphas) - 1
        grey = [
            np.repeat(self._alphas[t][..., None], 3, axis=2)
            for t in (max(0, time - 1), time, min(last, time + 1))
        ]
        marked = np.where(self.flicker(time)[..., None], COLOURS[0] / 255, grey[1])
        fixed = np.repeat(self.repaired(time)[..., None], 3, axis=2)
        gap = np.ones((self._alphas.shape[1], 6, 3))
        row = np.concatenate([grey[0], gap, marked, gap, grey[2], gap, fixed], axis=1)
        return (row * 255).round().astype(np.uint8)

    def _bars(self) -> np.ndarray:
        """A bar for the share of flicker at each time, the chosen one orange."""
        width, height = max(4, 720 // len(self._shares)), 60
        bars = np.full((height, width * len(self._shares), 3), 245, np.uint8)
        top = max(self._shares.max(), 1e-9)
        for time, share in enumerate(self._shares):
            length = max(1, round((height - 2) * share / top))
            bars[height - length :, time * width : (time + 1) * width - 1] = COLOURS[4]
            if time == self.time.value:
                bars[height - length :, time * width : (time + 1) * width - 1] = COLOURS[0]
        return bars

    def _count(self) -> None:
        self._shares = np.array([self.flicker(time).mean() for time in range(len(self._alphas))])
        self._show()

    def _show(self) -> None:
        time = self.time.value
        self.caption.value = (
            f"Frame {time}: {100 * self._shares[time]:.2f} % of the pixels flicker (orange). "
            f"In all frames {100 * self._shares.mean():.2f} %. "
            "From left to right: before, this, after, repaired. Below: flicker at each time."
        )
        frames = self._frames()
        scale = min(1.0, 960 / frames.shape[1])
        size = (round(frames.shape[1] * scale), max(1, round(frames.shape[0] * scale)))
        self.view.value = encode_png(cv2.resize(frames, size, interpolation=cv2.INTER_AREA))
        self.timeline.value = encode_png(self._bars())
