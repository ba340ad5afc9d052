"""Pictures of any kind, file, PIL image or array, to an RGB array, upright; arrays to tensors and back."""

import contextlib
import functools
import io
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from modnet_lib.files import kind_of

ImageLike = str | Path | Image.Image | np.ndarray
ORIENTATION = 0x0112  # the EXIF tag
TURNS = (0, 3, 1, 5, 4, 6, 2)  # the values of PIL.Image.Transpose that undo orientations 2 to 8
# Pillow opens these, but decodes them with other programs or not at all
UNDECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# a phone takes 200 million; Pillow's limit holds for the whole process
Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS and max(Image.MAX_IMAGE_PIXELS, 250_000_000)


@functools.cache
def suffixes() -> frozenset[str]:
    """The suffixes of all formats that are read, in lower case: those of Pillow, and HEIF."""
    from pillow_heif import register_heif_opener

    register_heif_opener()
    Image.init()
    decoded = {*Image.OPEN, "MPO"} - UNDECODED
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in decoded)


def is_picture(file: str | Path) -> bool:
    """Whether the name of a file ends like a picture's."""
    return Path(file).suffix.lower() in suffixes()


def count_frames(file: str | Path) -> int:
    """Frames of an animation, or pages; 1 for a photograph, whatever a camera stores beside it, and for no picture."""
    suffixes()  # registers HEIF
    try:
        with Image.open(file) as opened:
            return 1 if opened.format in ("MPO", "HEIF") else getattr(opened, "n_frames", 1)
    except (OSError, SyntaxError, ValueError):
        return 1


def read_image(image: ImageLike) -> np.ndarray:
    """Bring a picture of any kind to (H, W, 3) uint8 RGB.

    EXIF orientation is applied. Transparent pictures are laid over white, as a viewer shows them. 16-bit values are
    scaled, not clipped. So are floating-point TIFFs, by the first of 1, 255 and 65535 that holds the largest value.
    Colours of another space, such as Adobe RGB or CMYK with a profile, become sRGB.

    Parameters
    ----------
    image
        A file name, a PIL image of any mode, or an array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), RGB
        order; uint8, uint16, bool, or float in [0, 1].

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file; if it is damaged or no picture, or the array has another shape, type or range.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _from_pil(_upright(image))
    opened = open_picture(image)
    try:
        return _from_pil(opened) if isinstance(opened, Image.Image) else _from_array(unit(opened))
    except (OSError, ValueError) as error:
        raise ValueError(f"{image}: {error}") from error


def open_picture(file: str | Path) -> Image.Image | np.ndarray:
    """Decode a picture, upright, in its own mode; an array (H, W, C) if it is a TIFF that Pillow has no mode for.

    Raises as `read_image`, also if there are more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"no picture at {file}")
    suffixes()  # registers HEIF
    try:
        try:
            with Image.open(path) as opened:
                _check_size(*opened.size)
                opened.load()
                return _upright(opened)
        except UnidentifiedImageError:
            if (pixels := _read_tiff(path)) is None:
                raise
            return pixels
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"{(Image.MAX_IMAGE_PIXELS or 0) / 1e6:g} megapixels, see --max-megapixels"
        raise ValueError(f"{file} is larger than {limit} or PIL.Image.MAX_IMAGE_PIXELS: {error}") from error
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        kind = kind_of(path)
        fault = f"is {kind}, which cannot be read as a picture" if kind else "is damaged or no picture"
        raise ValueError(f"{file} {fault}: {error}") from error


def _check_size(width: int, height: int) -> None:
    if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:  # Pillow refuses twice as many
        raise Image.DecompressionBombError(f"{width} x {height}")


def _upright(image: Image.Image) -> Image.Image:
    """`ImageOps.exif_transpose` would also rewrite EXIF, which fails on malformed tags."""
    orientation = _orientation_of(image)
    return image.transpose(Image.Transpose(TURNS[orientation - 2])) if 2 <= orientation <= 8 else image


def _orientation_of(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # malformed EXIF raises many types; the pixels are intact
        return 1


def read_channels(file: Path) -> np.ndarray | None:
    """(H, W, C) uint16, upright, of a PNG or TIFF with 16 bits a channel, of which Pillow may keep 8; else ``None``."""
    with Image.open(file) as opened:
        bits = getattr(opened, "tag_v2", {}).get(258, 8)  # of a TIFF; of a PNG, its decoder's name tells
        if opened.format == "PNG" and ";16" in str(opened.tile):
            pixels = _turn(_decode(file), _orientation_of(opened))
        elif opened.format == "TIFF" and opened.mode != "CMYK" and 16 in np.atleast_1d(bits):
            pixels = _read_tiff(file)
        else:
            return None
    return pixels if pixels is not None and pixels.dtype == np.uint16 else None


def _read_tiff(file: Path) -> np.ndarray | None:
    """(H, W, C), upright, of the first page of a TIFF; ``None`` if it cannot be read."""
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages.first
            _check_size(page.imagewidth, page.imagelength)
            try:
                pixels = page.asarray()
            except ValueError:  # a compression that OpenCV may know, which turns the picture itself
                return _decode(file)
            pixels = np.moveaxis(pixels, 0, -1) if page.axes.startswith("S") else pixels
            return _turn(np.atleast_3d(pixels), int(page.tags.valueof(ORIENTATION, 1)))
    except Image.DecompressionBombError:
        raise
    except Exception:  # damaged files raise half a dozen unrelated types
        return None


def _decode(file: Path) -> np.ndarray:
    """(H, W, C), RGB order, of any depth, through OpenCV."""
    pixels = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 else pixels[..., None]


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if 5 <= orientation <= 8:
        pixels = pixels.swapaxes(0, 1)
    down, right = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
    return pixels[::down, ::right]


def unit(values: np.ndarray) -> np.ndarray:
    """Scale values of any type to [0, 1]; floating-point and 32-bit values by their range."""
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")
    kind, high = values.dtype.kind, values.max(initial=0)
    by_range = 1 if high <= 1 and kind == "f" else 255 if high <= 255 else 65535
    return np.clip(values / np.float64(np.iinfo(values.dtype).max if kind == "u" else by_range), 0, 1)


def _from_array(array: np.ndarray) -> np.ndarray:
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        expected = "(H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
        raise ValueError(f"an image must be {expected} and not empty, got {array.shape}")
    is_float = array.dtype.kind == "f"
    if not (is_float or array.dtype in (np.bool_, np.uint8, np.uint16)):
        raise ValueError(f"an image array must be uint8, uint16, bool or float, got {array.dtype}")
    if is_float and not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"a float image must lie in [0, 1], got [{array.min():g}, {array.max():g}]")
    if array.dtype != np.uint8:
        array = to_bytes(unit(array) if array.dtype == np.uint16 else array)
    if array.shape[2] == 3:
        return np.ascontiguousarray(array)
    return _from_pil(Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array))


def _from_pil(image: Image.Image) -> np.ndarray:
    image = _to_srgb(image)
    if image.mode[0] in "IF":  # 16 and 32 bits
        return _from_array(unit(np.asarray(image)))
    if image.has_transparency_data:
        # Pillow has no direct way from premultiplied grey to colour
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return _from_array(np.asarray(image.convert("RGB")))


def _to_srgb(image: Image.Image) -> Image.Image:
    """Follow an embedded profile, unless it is sRGB's or damaged."""
    with contextlib.suppress(KeyError, ImageCms.PyCMSError, OSError, TypeError, ValueError):
        mode = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}[image.mode]
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        if "srgb" not in ImageCms.getProfileDescription(source).lower():
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode) or image
    return image


def to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) or (H, W) uint8 or float array to a (1, C, H, W) float32 tensor in [0, 1]."""
    array = image[..., None] if image.ndim == 2 else image
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).float().div_(scale)[None]


def read_out(tensor: Tensor) -> np.ndarray:
    """A tensor's values as an array. Nothing else leaves a device, so here alone the processor waits for it."""
    return tensor.detach().cpu().numpy()


def to_array(tensor: Tensor) -> np.ndarray:
    """(1, C, H, W) or (C, H, W) tensor in [0, 1] to (H, W, C) uint8, or (H, W) for one channel."""
    tensor = tensor[0] if tensor.ndim == 4 else tensor
    array = read_out(tensor.float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0))
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
    """Call before the first import of pymatting: its numba would make torch use one thread per core, too."""
    os.environ.setdefault("NUMBA_NUM_THREADS", str(torch.get_num_threads()))
