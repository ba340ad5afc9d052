"""Moving pictures in a notebook: a player that needs no kernel."""

import base64
import tempfile
from collections.abc import Mapping
from html import escape
from pathlib import Path

import cv2
import numpy as np

from modnet_lib.inference.writers import write_clip

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


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] or (H, W, 3) uint8 as (H, W, 3) uint8."""
    if picture.ndim == 3:
        return picture
    return np.repeat(np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
