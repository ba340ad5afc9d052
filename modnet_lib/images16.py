"""PNG and TIFF with 16 bits per channel, for which Pillow has no mode, and their colour profiles."""

import io
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms

from modnet_lib.images import decode, orientation_of, profile_of, read_header, read_tiff, turn


class Deep(NamedTuple):
    """A picture with 16 bits a channel, and the ICC profile that says what its values mean."""

    pixels: np.ndarray  # (H, W, 3) or (H, W, 4) uint16, RGB or RGBA with straight alpha
    profile: bytes = b""  # empty for sRGB


def read_channels(file: Path) -> tuple[np.ndarray | None, bytes]:
    """The file's own 1 to 4 channels, (H, W, C) uint16, upright, and its profile; ``None`` if it has fewer bits."""
    if not read_header(file).deep:
        return None, b""
    pixels = None
    with Image.open(file) as opened:
        profile = opened.info["icc_profile"] if profile_of(opened) else b""
        if opened.format == "TIFF" and opened.mode != "CMYK":
            pixels = read_tiff(file)
        elif opened.format == "PNG":
            pixels = turn(np.atleast_3d(decode(file.read_bytes())), orientation_of(opened))
    return (None, b"") if pixels is None or pixels.dtype != np.uint16 else (pixels, profile)


def read_deep(file: Path) -> Deep | None:
    """All 16 bits of a PNG or TIFF, upright and over white as in `read_image`; ``None`` if it has fewer.

    Values are kept, and the profile that says what they mean: Pillow's colour management computes with 8 bits.
    """
    pixels, profile = read_channels(file)
    if pixels is None:
        return None
    colours = pixels[..., : 1 if pixels.shape[2] < 3 else 3]
    if pixels.shape[2] in (2, 4):
        weight = pixels[..., -1:] / np.float32(65535)
        colours = (colours * weight + 65535 * (1 - weight)).round().astype(np.uint16)
    colours = np.ascontiguousarray(np.broadcast_to(colours, (*pixels.shape[:2], 3)))
    # bytes 16 to 20 name the colours; a grey picture's profile does not fit the three channels here
    return Deep(colours, profile if profile[16:20] == b"RGB " else b"")


def write_deep(picture: Deep, file: Path, suffix: str) -> None:
    """Write all 16 bits as ``.png``, ``.tif`` or ``.tiff``, with the profile."""
    pixels, profile = picture
    has_alpha = pixels.shape[2] == 4
    if suffix != ".png":
        import tifffile

        extra = ["unassalpha"] if has_alpha else None
        options = {"photometric": "rgb", "compression": "zlib", "iccprofile": profile or None}
        tifffile.imwrite(file, pixels, extrasamples=extra, **options)
        return
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if has_alpha else cv2.COLOR_RGB2BGR)
    types, values = ([cv2.IMAGE_METADATA_ICCP], [np.frombuffer(profile, np.uint8)]) if profile else ([], [])
    file.write_bytes(cv2.imencodeWithMetadata(".png", ordered, types, values)[1].tobytes())


def from_srgb(colours: np.ndarray, profile: bytes) -> np.ndarray:
    """(H, W, 3) uint8 of sRGB in the terms of another profile."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    picture = Image.fromarray(colours)
    return np.asarray(ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), target))
