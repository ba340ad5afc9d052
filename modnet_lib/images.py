"""Pictures in and out: any file, PIL image or array becomes 8-bit sRGB, upright; and a filter that all parts share."""

import io
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

ImageLike = str | Path | Image.Image | np.ndarray


def read_image(image: ImageLike) -> np.ndarray:
    """Bring a picture of any kind to (H, W, 3) uint8 RGB.

    Parameters
    ----------
    image
        A file name, a PIL image of any mode, or an array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), RGB
        order; uint8, uint16, bool, or float in [0, 1]. EXIF orientation is applied. Transparent pictures are
        laid over white, as a viewer shows them. 16-bit values are scaled, not cut. Colours of another space, such as
        Adobe RGB or CMYK with a profile, become those of sRGB.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, damaged or no picture, or the array has another shape, type or range.
    TypeError
        For anything else than the three kinds.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if not isinstance(image, (str, Path)):
        raise TypeError(f"image must be a path, a PIL image or an array, got {type(image).__name__}")
    path = Path(image)
    if not path.is_file():
        raise FileNotFoundError(f"no picture at {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # 100 MP are no bomb
            with Image.open(path) as opened:
                opened.load()
                return _from_pil(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is damaged or no picture: {error}") from error


def _from_pil(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if 0 in image.size:
        raise ValueError(f"the image has no pixels: {image.size}")
    image = _to_srgb(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float64)
        # what 32-bit values mean only their range can tell; 16-bit ones may well be dark
        deep = image.mode.startswith("I;16") or values.max() > 255
        top = 65535.0 if deep else 255.0
        grey = np.clip(values / top * 255, 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "La":  # Pillow has no direct way from premultiplied grey to colour
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _to_srgb(image: Image.Image) -> Image.Image:
    """Follow an embedded profile, unless it is sRGB's or damaged."""
    source = _profile(image)
    if source is None or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    try:
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        image, target = image.convert("RGB") if alpha else image, ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    if converted is None:
        return image
    if alpha:
        converted.putalpha(alpha)
    return converted


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The embedded profile, if there is one that can be read and is not sRGB's."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return None if "srgb" in ImageCms.getProfileDescription(profile).lower() else profile
    except (KeyError, ImageCms.PyCMSError, OSError, TypeError):
        return None


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
    """All 16 bits of a PNG or TIFF, upright and over white as in `read_image`; ``None`` if it has not so many.

    Values are kept, and the profile that says what they mean: Pillow's colour management computes with 8 bits.
    """
    if not has_16_bits(file):
        return None
    content = file.read_bytes()
    with Image.open(file) as opened:
        orientation = int(opened.getexif().get(0x0112, 1))
        profile = opened.info["icc_profile"] if _profile(opened) else b""
        known = opened.mode in ("RGB", "RGBA", "LA") or opened.mode.startswith("I")
        if opened.format == "TIFF" and orientation != 1:
            content = _not_turned(content)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if known else None
    if pixels is None or pixels.dtype != np.uint16:
        return None
    if 5 <= orientation <= 8:
        pixels = pixels.swapaxes(0, 1)
    if 1 <= orientation <= 8:
        down, right = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
        pixels = pixels[::down, ::right]
    if pixels.ndim == 2:
        pixels = np.dstack([pixels] * 3)
    colours = pixels[..., 2::-1]
    if pixels.shape[2] == 4:
        weight = pixels[..., 3:] / np.float32(65535)
        colours = (colours * weight + 65535 * (1 - weight)).round().astype(np.uint16)
    # bytes 16 to 20 name the colours; a grey picture's profile does not fit the three channels here
    return Deep(np.ascontiguousarray(colours), profile if profile[16:20] == b"RGB " else b"")


def _not_turned(content: bytes) -> bytes:
    """A TIFF without orientation: OpenCV turns some depths and not others."""
    import tifffile

    with io.BytesIO(content) as file, tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages.first.tags[0x0112].overwrite(1)
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
    with Image.open(image) as opened:
        return opened.mode.startswith("I") or 16 in np.atleast_1d(getattr(opened, "tag_v2", {}).get(258, 8))


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"an image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"the image has no pixels: {array.shape}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = (array / 257.0).round().astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"a floating-point image must lie in [0, 1], got [{low:g}, {high:g}]")
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ValueError(f"an image array must be uint8, uint16, bool or float, got {array.dtype}")
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    if array.shape[2] == 4:
        alpha = array[..., 3:] / 255.0
        return (array[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
    return np.ascontiguousarray(array)


def to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) or (H, W) uint8 or float array to a (1, C, H, W) float32 tensor in [0, 1]."""
    array = image[..., None] if image.ndim == 2 else image
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).float().div_(scale)[None]


def to_array(tensor: Tensor) -> np.ndarray:
    """(1, C, H, W) or (C, H, W) tensor in [0, 1] to (H, W, C) uint8, or (H, W) for one channel."""
    tensor = tensor[0] if tensor.ndim == 4 else tensor
    array = tensor.detach().float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    return array[..., 0] if array.shape[2] == 1 else array


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) uint8 through a JPEG file of a quality of 1 to 100."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def dilate(mask: Tensor, size: int) -> Tensor:
    """Grey dilation of (N, C, H, W) with a square of `size` pixels; outside the picture counts as smallest."""
    outside = float("-inf") if mask.is_floating_point() else 0
    before, after = size // 2, size - 1 - size // 2
    for axis, pad in ((-1, (before, after)), (-2, (0, 0, before, after))):
        mask = F.pad(mask, pad, value=outside)
        reach = 1
        while reach < size:  # the maximum over 2 r is the maximum of two maxima over r
            step = min(reach, size - reach)
            length = mask.shape[axis] - step
            mask = torch.maximum(mask.narrow(axis, 0, length), mask.narrow(axis, step, length))
            reach += step
    return mask


def keep_threads() -> None:
    """Call before the first import of pymatting: its numba would give torch, too, a thread for every core.

    With several processes on one machine, threads would then wait for each other.
    """
    os.environ.setdefault("NUMBA_NUM_THREADS", str(torch.get_num_threads()))
