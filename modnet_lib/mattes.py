"""Mattes from files of any kind."""

from pathlib import Path

import numpy as np

from modnet_lib.images import open_picture, unit
from modnet_lib.images16 import has_16_bits, read_channels


def read_matte(file: str | Path) -> np.ndarray:
    """Read a matte as (H, W) float32 in [0, 1], at the full bit depth of the file.

    The matte is the transparency if that varies, else the grey values: one channel, or three that differ only by JPEG
    noise. 8- and 16-bit integers are divided by the largest value of their type, but a picture without values above 1
    is a label: 0 is background and 1 is foreground. Floating-point values lie in [0, 1], or in [0, 255] or
    [0, 65535] as in `read_image`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or coloured, holds two different mattes, or has an ambiguous range.
    """
    channels = _channels(Path(file))
    has_alpha = channels.shape[2] in (2, 4)
    try:
        colours = _matte_values(channels[..., : channels.shape[2] - has_alpha])
        alpha = _matte_values(channels[..., -1]) if has_alpha else None
    except ValueError as error:
        raise ValueError(f"{file} is no matte: {error}") from error
    spread = np.ptp(colours, axis=2)
    grey = np.median(colours, axis=2) if spread.any() else colours[..., 0]
    # a small person on black has few coloured pixels
    is_coloured = spread.mean() > 0.03 or (spread > 0.12).mean() > 0.01
    if alpha is not None and np.ptp(alpha) > 0:
        is_plain = np.ptp(grey[alpha > 0]) < 0.03  # one colour wherever it is visible
        if is_coloured or is_plain or np.abs(grey - alpha).mean() < 0.004:
            return alpha
        raise ValueError(
            f"{file} holds two mattes: its grey values and its transparency differ; save only one of them"
        )
    if alpha is not None and not alpha.any() and (is_coloured or np.ptp(grey) == 0):
        return alpha  # fully transparent
    if is_coloured:
        plain = (colours.max(axis=2) < 0.02) | (colours.min(axis=2) > 0.98)
        looks = "it looks like a colour cut-out, not a matte; save its transparency"
        expected = "expected grey values or a transparency that varies"
        raise ValueError(
            f"{file} is coloured (channels differ by {255 * spread.mean():.0f} of 255 on average): "
            f"{looks if plain.mean() > 0.05 else expected}"
        )
    return grey


def _channels(file: Path) -> np.ndarray:
    """(H, W, C) of the file's own type: grey, grey and alpha, RGB, or RGBA."""
    image = open_picture(file)
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] > 4:
            raise ValueError(f"{file} is no matte: expected 1 to 4 channels, got the shape {image.shape}")
        return image
    if image.mode in ("RGB", "RGBA", "LA") and has_16_bits(file):
        pixels, _ = read_channels(file)  # Pillow keeps 8 bits of each
        if pixels is not None:
            return np.atleast_3d(pixels)
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("RGBa", "PA") or ("transparency" in image.info and image.mode in ("L", "P", "RGB")):
        image = image.convert("RGBA")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "F") and not image.mode.startswith("I"):
        image = image.convert("RGB")
    return np.atleast_3d(np.asarray(image))


def _matte_values(values: np.ndarray) -> np.ndarray:
    """`unit` in float32; integers up to 1 are a label."""
    low, high = values.min(), values.max()
    if high > 65535 or (low < 0 and values.dtype.kind == "i"):
        raise ValueError(f"expected values in [0, 255] or [0, 65535], got [{low:g}, {high:g}]")
    if values.dtype.kind in "iu" and high <= 1:
        return np.clip(values, 0, 1).astype(np.float32)
    if values.dtype.kind == "f" and 1 < high < 2:
        raise ValueError(f"expected values in [0, 1] or [0, 255], got [{low:g}, {high:g}]")
    return unit(values).astype(np.float32)


def refuse_cutout(matte: np.ndarray, image: np.ndarray, file: str | Path) -> None:
    """Refuse a grey cut-out that was given as a matte.

    Parameters
    ----------
    matte
        (H, W) in [0, 1].
    image
        Its photograph, (H, W, 3) uint8.
    file
        Where the matte comes from, for the message.

    Raises
    ------
    ValueError
        If most of the person is neither 0 nor 1 but as bright as in the photograph.
    """
    between = (matte > 0.03) & (matte < 0.97)
    person = min(int((matte > 0.03).sum()), int((matte < 0.97).sum()))  # on black, or on white
    if between.sum() <= person / 2:
        return
    brightness = image[between] @ np.array([0.299, 0.587, 0.114]) / 255
    if (np.abs(matte[between] - brightness) < 0.03).mean() > 0.8:
        raise ValueError(
            f"{file} looks like a grey cut-out of its photograph, not a matte; save its transparency"
        )
