"""Pictures of any kind, file, PIL image or array, to an RGB array, upright; arrays to tensors and back."""

import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

ImageLike = str | Path | Image.Image | np.ndarray
ORIENTATION = 0x0112  # the EXIF tag
PICTURES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".jfif",
    ".ppm",
)  # what is read
# what undoes EXIF orientations 2 to 8
TURNS = [
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_270",
    "TRANSVERSE",
    "ROTATE_90",
]
# Phones take 200 megapixels. Pillow warns above its limit and refuses twice as much; a warnings filter would affect
# all threads.
if Image.MAX_IMAGE_PIXELS:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, 250_000_000)


def read_image(image: ImageLike) -> np.ndarray:
    """Bring a picture of any kind to (H, W, 3) uint8 RGB.

    Parameters
    ----------
    image
        A file name, a PIL image of any mode, or an array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), RGB
        order; uint8, uint16, bool, or float in [0, 1]. EXIF orientation is applied. Transparent pictures are
        laid over white, as a viewer shows them. 16-bit values are scaled, not clipped. So are floating-point TIFFs,
        from [0, 1], [0, 255] or [0, 65535], whichever is the first that holds the largest value. Colours of another
        space, such as Adobe RGB or CMYK with a profile, are converted to sRGB.

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
        return _from_pil(_upright(image))
    if not isinstance(image, (str, Path)):
        raise TypeError(f"image must be a path, a PIL image or an array, got {type(image).__name__}")
    opened = open_picture(image)
    try:
        if isinstance(opened, Image.Image):
            return _from_pil(opened)
        return _from_array(unit(opened) if opened.dtype.kind == "f" else opened)
    except (OSError, ValueError) as error:
        raise ValueError(f"{image}: {error}") from error


def open_picture(file: str | Path) -> Image.Image | np.ndarray:
    """Decode a picture, upright, in its own mode; an array (H, W, C) if it is a TIFF that Pillow has no mode for.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, damaged or no picture, or has more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"no picture at {file}")
    if file.stat().st_size == 0:
        raise ValueError(f"{file} is empty (0 bytes)")
    try:
        with Image.open(file) as opened:
            opened.load()
            return _upright(opened)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{file} is too large: {error}. Raise PIL.Image.MAX_IMAGE_PIXELS to read it"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        pixels = _read_tiff(file) if isinstance(error, UnidentifiedImageError) else None
        if pixels is None:
            raise ValueError(f"{file} is damaged or no picture: {error}") from error
        return pixels


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation without rewriting EXIF as Pillow does, which fails on malformed tags."""
    orientation = orientation_of(image)
    if not 2 <= orientation <= 8:
        return image
    return image.transpose(Image.Transpose[TURNS[orientation - 2]])


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none that can be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # malformed EXIF raises many types; the pixels are intact
        return 1


def _read_tiff(file: Path) -> np.ndarray | None:
    """(H, W, C), upright, of the first page of a TIFF, for instance of several floating-point channels."""
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages.first
            tag = page.tags.get(ORIENTATION)
            try:
                pixels = page.asarray()
                if page.axes.startswith("S"):  # one plane after the other
                    pixels = np.moveaxis(pixels, 0, -1)
            except ValueError:  # a compression that OpenCV may know
                pixels = rgb_first(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
    except Exception:  # damaged files raise half a dozen unrelated types
        return None
    return turn(np.atleast_3d(pixels), int(tag.value) if tag else 1)


def rgb_first(pixels: Any) -> np.ndarray:
    """OpenCV's BGR or BGRA as RGB or RGBA; grey stays."""
    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation to an array."""
    if 5 <= orientation <= 8:
        pixels = pixels.swapaxes(0, 1)
    if 1 <= orientation <= 8:
        down, right = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
        pixels = pixels[::down, ::right]
    return pixels


def unit(values: np.ndarray) -> np.ndarray:
    """Scale values of any type to [0, 1]; floating-point and 32-bit values by their range."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")
    if values.dtype.kind == "u":
        top = np.iinfo(values.dtype).max
    else:
        high = values.max()
        top = 1 if high <= 1 and values.dtype.kind == "f" else 255 if high <= 255 else 65535
    return np.clip(values / np.float64(top), 0, 1)


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


def _from_pil(image: Image.Image) -> np.ndarray:
    if 0 in image.size:
        raise ValueError(f"the image has no pixels: {image.size}")
    image = _to_srgb(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_array(unit(np.asarray(image)))
    if image.mode == "La":  # Pillow has no direct way from premultiplied grey to colour
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _to_srgb(image: Image.Image) -> Image.Image:
    """Follow an embedded profile, unless it is sRGB's or damaged."""
    source = profile_of(image)
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


def profile_of(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The embedded profile, if there is one that can be read and is not sRGB's."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        return None if "srgb" in ImageCms.getProfileDescription(profile).lower() else profile
    except (KeyError, ImageCms.PyCMSError, OSError, TypeError):
        return None


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


def to_bytes(matte: np.ndarray) -> np.ndarray:
    """A matte in [0, 1] as uint8, rounded."""
    return (matte * 255).round().astype(np.uint8)


def cover(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale a picture (h, w, 3) uint8 until it covers (height, width), and cut out its middle."""
    return np.asarray(ImageOps.fit(Image.fromarray(picture), (width, height), Image.Resampling.BILINEAR))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) uint8 through a JPEG file of a quality of 1 to 100."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def keep_threads() -> None:
    """Call before the first import of pymatting: its numba would give torch, too, a thread for every core.

    With several processes on one machine, threads would then wait for each other.
    """
    os.environ.setdefault("NUMBA_NUM_THREADS", str(torch.get_num_threads()))
