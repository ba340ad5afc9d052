"""Moving pictures in a notebook: a player that needs no kernel, and the threshold of the one-frame delay by hand."""

import base64
import tempfile
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import cv2
import ipywidgets as widgets
import numpy as np

from modnet_lib.inference.media import write_clip
from modnet_lib.inference.video import THRESHOLD, flickers, one_frame_delay
from modnet_lib.notebook.figures import compact_png, image_row
from modnet_lib.notebook.live import WithStaticForm, encode_png

ORANGE = (230, 159, 0)
GAP = 4  # pixels between two panels


class ClipPlayer:
    """Clips side by side, in step: one H.264 film inside the output, so that a page without a kernel plays it.

    Parameters
    ----------
    panels
        Title to (T, H, W) mattes in [0, 1] or (T, H, W, 3) uint8 pictures, all of one size.
    rate
        Frames a second.
    height
        Of a panel on the screen, pixels.

    Raises
    ------
    ValueError
        If there are no panels or their lengths or sizes differ.
    """

    def __init__(self, panels: Mapping[str, np.ndarray], *, rate: int = 12, height: int = 192):
        shapes = {np.shape(panel)[:3] for panel in panels.values()}
        if len(shapes) != 1:
            raise ValueError(f"expected panels of one length and size, got {sorted(shapes)}")
        self.titles, self.rate = list(panels), rate
        frames, rows, columns = shapes.pop()
        size = (round(columns * height / rows), height)
        gap = np.full((height, GAP, 3), 255, np.uint8)
        self.frames = []
        for number in range(frames):
            strip = [gap]
            for panel in panels.values():
                strip += [cv2.resize(as_rgb(panel[number]), size, interpolation=cv2.INTER_LINEAR), gap]
            self.frames.append(np.hstack(strip))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "clip.mp4"
            write_clip(file, self.frames, rate)
            self.film = file.read_bytes()

    def __repr__(self) -> str:
        return f"ClipPlayer({len(self.frames)} frames: {', '.join(self.titles)})"

    def _repr_html_(self) -> str:
        width = self.frames[0].shape[1]
        titles = "".join(
            f"<span style='flex:1;text-align:center'>{escape(title)}</span>" for title in self.titles
        )
        source = base64.b64encode(self.film).decode("ascii")
        return (
            f"<div style='max-width:{width}px'><div style='display:flex'>{titles}</div>"
            f"<video style='width:100%' controls loop muted autoplay playsinline src='data:video/mp4;base64,{source}'>"
            "Your browser plays no H.264.</video></div>"
        )


class DelayInspector(WithStaticForm):
    """One frame of a clip, what the rule takes for flicker there, and its repair, for any threshold.

    Parameters
    ----------
    alphas
        (T, H, W) mattes in [0, 1], T at least 3.
    width
        Of the picture on the screen, pixels.

    Attributes
    ----------
    threshold, frame
        The controls; setting ``value`` has the same effect as moving them in a browser.
    view
        The image widget; its ``value`` is a PNG.
    message
        How many pixels are repaired, HTML.

    Raises
    ------
    ValueError
        If there are fewer than three mattes.
    """

    def __init__(self, alphas: np.ndarray, *, width: int = 880):
        if len(alphas) < 3:
            raise ValueError(
                f"the delay needs a frame before and a frame after: at least 3 mattes, got {len(alphas)}"
            )
        self._alphas, self._width = np.asarray(alphas, np.float32), width
        style = {"description_width": "80px"}
        wide = widgets.Layout(width="420px")
        self.threshold = widgets.FloatSlider(
            THRESHOLD, min=0, max=0.6, step=0.01, description="threshold", layout=wide, style=style
        )
        most = int(np.argmax([self._found(t, THRESHOLD).sum() for t in range(1, len(alphas) - 1)])) + 1
        self.frame = widgets.IntSlider(
            most, min=1, max=len(alphas) - 2, description="frame t", layout=wide, style=style
        )
        self.view = widgets.Image(
            format="png", layout=widgets.Layout(max_width="100%", align_self="flex-start")
        )
        self.message = widgets.HTML()
        super().__init__([self.threshold, self.frame, self.message, self.view])
        for control in (self.threshold, self.frame):
            control.observe(self._show, names="value")
        self._show()

    def __repr__(self) -> str:
        return f"DelayInspector({len(self._alphas)} mattes)"

    def _found(self, frame: int, threshold: float) -> np.ndarray:
        return flickers(*self._alphas[frame - 1 : frame + 2], threshold)

    def panels(self, frame: int, threshold: float) -> list[np.ndarray]:
        """Before, now, after, now with what the rule finds in orange, and repaired; (H, W, 3) uint8 each."""
        before, now, after = self._alphas[frame - 1 : frame + 2]
        marked = as_rgb(now)
        marked[self._found(frame, threshold)] = ORANGE
        repaired = list(one_frame_delay([before, now, after], threshold))[1]
        return [as_rgb(before), as_rgb(now), as_rgb(after), marked, as_rgb(repaired)]

    def _show(self, change: Any = None) -> None:
        frame, threshold = self.frame.value, self.threshold.value
        sheet = np.hstack(self.panels(frame, threshold))
        scale = self._width / sheet.shape[1]
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
        self.view.value = encode_png(cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=method))
        share = 100 * float(self._found(frame, threshold).mean())
        self.message.value = f"t − 1, t, t + 1, found (orange), repaired: <b>{share:.2f} %</b> of the pixels"

    def static_png(self) -> bytes:
        """Return the chosen frame at three thresholds."""
        return compact_png(delay_figure(self, self.frame.value))


def delay_figure(
    inspector: DelayInspector, frame: int, thresholds: tuple[float, ...] = (0.02, 0.1, 0.3)
) -> Any:
    """What the rule finds in a frame, a row for each threshold."""
    pictures = [panel for threshold in thresholds for panel in inspector.panels(frame, threshold)]
    names = ("$\\alpha_{t-1}$", "$\\alpha_t$", "$\\alpha_{t+1}$", "found", "repaired")
    titles = [f"{name}, threshold {t:g}" if name == "found" else name for t in thresholds for name in names]
    return image_row(pictures, titles, columns=len(names), height=1.9)


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] or (H, W, 3) uint8 as (H, W, 3) uint8."""
    if picture.ndim == 3:
        return picture
    return np.repeat(np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
