"""Pictures and mattes in and out: any file, PIL image or array, upright; and a filter that all parts share."""

import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, UnidentifiedImageError
from torch import Tensor

ImageLike = str | Path | Image.Image | np.ndarray
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
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
        return _from_array(_unit(opened) if opened.dtype.kind == "f" else opened)
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
    turn = TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
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
                pixels = _rgb_first(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
    except Exception:  # damaged files raise half a dozen unrelated types
        return None
    return _turn(np.atleast_3d(pixels), int(tag.value) if tag else 1)


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation to an array."""
    if 5 <= orientation <= 8:
        pixels = pixels.swapaxes(0, 1)
    if 1 <= orientation <= 8:
        down, right = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
        pixels = pixels[::down, ::right]
    return pixels


def _unit(values: np.ndarray) -> np.ndarray:
    """Scale values of any type to [0, 1]; floating-point and 32-bit values by their range."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")
    if values.dtype.kind == "u":
        top = np.iinfo(values.dtype).max
    else:
        high = values.max()
        top = 1 if high <= 1 and values.dtype.kind == "f" else 255 if high <= 255 else 65535
    return np.clip(values / np.float64(top), 0, 1)


def _from_pil(image: Image.Image) -> np.ndarray:
    if 0 in image.size:
        raise ValueError(f"the image has no pixels: {image.size}")
    image = _to_srgb(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        grey = (_unit(np.asarray(image)) * 255).round().astype(np.uint8)
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
    pixels, profile = _deep(file)
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


def _deep(file: Path) -> tuple[np.ndarray | None, bytes]:
    """The file's own channels in uint16, (H, W), (H, W, 3) or (H, W, 4), upright, and its profile."""
    if not has_16_bits(file):
        return None, b""
    content = file.read_bytes()
    with Image.open(file) as opened:
        orientation = _orientation(opened)
        profile = opened.info["icc_profile"] if _profile(opened) else b""
        known = opened.mode in ("RGB", "RGBA", "LA") or opened.mode.startswith("I")
        if opened.format == "TIFF" and orientation != 1:
            content = _not_turned(content)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if known else None
    if pixels is None or pixels.dtype != np.uint16:
        return None, b""
    return _turn(_rgb_first(pixels), orientation), profile


def _rgb_first(pixels: Any) -> np.ndarray:
    """OpenCV's BGR or BGRA as RGB or RGBA; grey stays."""
    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


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
        pixels, _ = _deep(file)  # Pillow keeps 8 bits of each
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
    """`_unit` in float32; integers up to 1 are a label."""
    low, high = values.min(), values.max()
    if high > 65535 or (low < 0 and values.dtype.kind == "i"):
        raise ValueError(f"expected values in [0, 255] or [0, 65535], got [{low:g}, {high:g}]")
    if values.dtype.kind in "iu" and high <= 1:
        return np.clip(values, 0, 1).astype(np.float32)
    if values.dtype.kind == "f" and 1 < high < 2:
        raise ValueError(f"expected values in [0, 1] or [0, 255], got [{low:g}, {high:g}]")
    return _unit(values).astype(np.float32)


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


def to_bytes(matte: np.ndarray) -> np.ndarray:
    """A matte in [0, 1] as uint8, rounded."""
    return (matte * 255).round().astype(np.uint8)


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
