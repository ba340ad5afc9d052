"""Pictures with 16 bits a channel, which Pillow has no mode for, and the profiles that say what their values mean."""

import io
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from modnet_lib.images import ORIENTATION, orientation_of, profile_of, rgb_first, turn


class Deep(NamedTuple):
    """A picture with 16 bits a channel, which Pillow has no mode for.

    Attributes
    ----------
    pixels
        (H, W, 3) or (H, W, 4) uint16, RGB or RGBA with straight alpha.
    profile
        The ICC profile that says what the values mean; empty for sRGB.
    """

    pixels: np.ndarray
    profile: bytes = b""


def read_deep(file: Path) -> Deep | None:
    """All 16 bits of a PNG or TIFF, upright and over white as in `read_image`; ``None`` if it has fewer.

    Values are kept, and the profile that says what they mean: Pillow's colour management computes with 8 bits.
    """
    pixels, profile = read_channels(file)
    if pixels is None:
        return None
    if pixels.ndim == 2:
        pixels = np.dstack([pixels] * 3)
    colours = pixels[..., :3]
    if pixels.shape[2] == 4:
        weight = pixels[..., 3:] / np.float32(65535)
        colours = (colours * weight + 65535 * (1 - weight)).round().astype(np.uint16)
    # bytes 16 to 20 name the colours; a grey picture's profile does not fit the three channels here
    return Deep(np.ascontiguousarray(colours), profile if profile[16:20] == b"RGB " else b"")


def read_channels(file: Path) -> tuple[np.ndarray | None, bytes]:
    """The file's own channels in uint16, (H, W), (H, W, 3) or (H, W, 4), upright, and its profile."""
    if not has_16_bits(file):
        return None, b""
    content = file.read_bytes()
    with Image.open(file) as opened:
        orientation = orientation_of(opened)
        profile = opened.info["icc_profile"] if profile_of(opened) else b""
        known = opened.mode in ("RGB", "RGBA", "LA") or opened.mode.startswith("I")
        if opened.format == "TIFF" and orientation != 1:
            content = _not_turned(content)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if known else None
    if pixels is None or pixels.dtype != np.uint16:
        return None, b""
    return turn(rgb_first(pixels), orientation), profile


def _not_turned(content: bytes) -> bytes:
    """A TIFF without orientation: OpenCV turns some depths and not others."""
    import tifffile

    with io.BytesIO(content) as file, tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages.first.tags[ORIENTATION].overwrite(1)
        return file.getvalue()


def write_deep(picture: Deep, file: Path, suffix: str) -> None:
    """Write all 16 bits as ``.png``, ``.tif`` or ``.tiff``, with the profile."""
    pixels, profile = picture
    if suffix != ".png":
        import tifffile

        tifffile.imwrite(
            file,
            pixels,
            photometric="rgb",
            extrasamples=["unassalpha"] if pixels.shape[2] == 4 else None,
            compression="zlib",
            iccprofile=profile or None,
        )
        return
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    types, values = ([cv2.IMAGE_METADATA_ICCP], [np.frombuffer(profile, np.uint8)]) if profile else ([], [])
    _, content = cv2.imencodeWithMetadata(".png", ordered, types, values)
    file.write_bytes(content.tobytes())


def from_srgb(colours: np.ndarray, profile: bytes) -> np.ndarray:
    """(H, W, 3) uint8 of sRGB in the terms of another profile."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    picture = Image.fromarray(colours)
    return np.asarray(ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), target))


def has_16_bits(image: str | Path | Image.Image) -> bool:
    """Whether a picture has 16 bits a channel."""
    if isinstance(image, Image.Image):
        return image.mode.startswith("I")
    with open(image, "rb") as file:
        head = file.read(32)
    if head.startswith(b"\x89PNG"):
        return head[24] == 16  # the header's bit depth; of a colour picture Pillow keeps 8
    try:
        opened = Image.open(image)
    except UnidentifiedImageError:  # floating-point colours, for instance
        return False
    with opened:
        return opened.mode.startswith("I") or 16 in np.atleast_1d(getattr(opened, "tag_v2", {}).get(258, 8))
