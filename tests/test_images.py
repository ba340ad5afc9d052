"""Pictures of every kind become 8-bit RGB, upright; what is no picture is named."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from modnet_lib.data.items import read_matte, refuse_cutout
from modnet_lib.images import open_picture, read_channels, read_image, to_array, to_tensor

ORIENTATION = 0x0112


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_path_picture_and_array_are_the_same(pixels, tmp_path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    for source in (path, str(path), Image.open(path), Image.fromarray(pixels), pixels):
        np.testing.assert_array_equal(read_image(source), pixels)


def test_files_that_cannot_be_read_are_named(pixels, tmp_path) -> None:
    Image.fromarray(np.repeat(np.repeat(pixels, 20, 0), 20, 1)).save(tmp_path / "whole.jpg")
    Image.fromarray(np.repeat(np.repeat(pixels, 20, 0), 20, 1)).save(tmp_path / "whole.png")
    for suffix in (".jpg", ".png"):
        content = (tmp_path / f"whole{suffix}").read_bytes()
        (tmp_path / f"truncated{suffix}").write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=rf"truncated\{suffix} is damaged"):
            read_image(tmp_path / f"truncated{suffix}")
    (tmp_path / "text.jpg").write_text("this is no picture")
    with pytest.raises(ValueError, match=r"text\.jpg is damaged or no picture"):
        read_image(tmp_path / "text.jpg")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"empty\.png is damaged or no picture"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(FileNotFoundError, match="no picture at"):
        read_image(tmp_path)  # a folder


@pytest.mark.parametrize("values", [(0, 257, 32768, 65535), (0, 1, 100, 200)])
@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_16_bit_grey_is_scaled_whatever_its_content(values, mode, tmp_path) -> None:
    array = np.array([values], dtype=np.uint16)
    picture = Image.frombytes(mode, (4, 1), array.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    expected = np.round(array / 65535 * 255).astype(np.uint8)
    np.testing.assert_array_equal(read_image(picture)[..., 0], expected)
    np.testing.assert_array_equal(read_image(array)[..., 2], expected)
    if mode == "I;16":
        picture.save(tmp_path / "deep.png")
        assert Image.open(tmp_path / "deep.png").mode == "I;16"
        np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[..., 1], expected)


def test_16_bit_colour_is_scaled(tmp_path) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (5, 4, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    got = read_image(tmp_path / "deep.png").astype(int)
    assert np.abs(got - deep / 257).max() <= 1


def test_transparent_pictures_lie_on_white(pixels, tmp_path) -> None:
    alpha = np.random.default_rng(2).integers(0, 256, (6, 9), dtype=np.uint8)
    rgba = np.dstack((pixels, alpha))
    weight = alpha[..., None] / 255
    over_white = pixels * weight + 255 * (1 - weight)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    for source in (tmp_path / "rgba.png", Image.fromarray(rgba), rgba, rgba / 255):
        assert np.abs(read_image(source) - over_white).max() <= 1.01
    grey = Image.fromarray(pixels[..., 0])
    la = Image.merge("LA", (grey, Image.fromarray(alpha)))
    assert np.abs(read_image(la)[..., 1] - (pixels[..., 0] * weight[..., 0] + 255 * (1 - weight[..., 0]))).max() <= 1.01
    premultiplied = Image.fromarray(rgba).convert("RGBa")
    assert np.abs(read_image(premultiplied) - over_white).max() <= 2.01
    assert np.abs(read_image(la.convert("La"))[..., 0] - read_image(la)[..., 0].astype(int)).max() <= 2


def test_palette_with_a_transparent_entry(tmp_path) -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2])
    picture.save(tmp_path / "p.png", transparency=1)
    assert Image.open(tmp_path / "p.png").mode == "P"
    assert read_image(tmp_path / "p.png").tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    picture.save(tmp_path / "opaque.gif")
    assert read_image(tmp_path / "opaque.gif").tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]


def test_grey_and_rgb_with_a_transparent_colour(tmp_path) -> None:
    Image.fromarray(np.array([[10, 20]], np.uint8)).save(tmp_path / "l.png", transparency=20)
    assert read_image(tmp_path / "l.png")[0].tolist() == [[10] * 3, [255] * 3]
    rgb = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png", transparency=(4, 5, 6))
    assert read_image(tmp_path / "rgb.png")[0].tolist() == [[1, 2, 3], [255] * 3]


def test_cmyk_jpeg(tmp_path) -> None:
    colour = np.full((16, 16, 3), (200, 60, 120), np.uint8)
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert Image.open(tmp_path / "cmyk.jpg").mode == "CMYK"
    assert np.abs(read_image(tmp_path / "cmyk.jpg").astype(int) - colour).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "LA", "RGBX"])
def test_every_mode_gives_rgb(mode, pixels) -> None:
    picture = Image.fromarray(pixels).convert(mode)
    got = read_image(picture)
    assert got.shape == (6, 9, 3)
    assert got.dtype == np.uint8
    expected = np.asarray(picture.convert("RGB"))
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_one_bit(tmp_path) -> None:
    bits = np.array([[True, False, True]])
    Image.fromarray(bits).save(tmp_path / "bits.png")
    expected = [[[255] * 3, [0] * 3, [255] * 3]]
    assert read_image(tmp_path / "bits.png").tolist() == expected
    assert read_image(bits).tolist() == expected


def test_smallest_and_widest(tmp_path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "one.png")
    assert read_image(tmp_path / "one.png").tolist() == [[[1, 2, 3]]]
    Image.new("RGB", (12_000, 40), (9, 8, 7)).save(tmp_path / "wide.png")
    assert read_image(tmp_path / "wide.png").shape == (40, 12_000, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "I;16"])
def test_pictures_without_pixels_are_refused(mode) -> None:
    with pytest.raises(ValueError, match="not empty"):
        read_image(Image.new(mode, (0, 5)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, tmp_path) -> None:
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = (250, 0, 0)
    upright[:8, 16:] = (0, 250, 0)
    upright[8:, :8] = (0, 0, 250)
    stored = {  # how a camera held this way stores the upright picture
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),  # the viewer turns it clockwise
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = Image.fromarray(np.ascontiguousarray(stored[orientation]))
    picture.save(tmp_path / "photo.jpg", exif=exif, quality=98, subsampling=0)
    picture.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.png"), upright)
    np.testing.assert_array_equal(read_image(Image.open(tmp_path / "photo.png")), upright)
    jpeg = read_image(tmp_path / "photo.jpg")
    assert jpeg.shape == upright.shape
    assert np.abs(jpeg.astype(int) - upright).max() < 20


def test_arrays(pixels) -> None:
    np.testing.assert_array_equal(read_image(pixels / 255), pixels)
    np.testing.assert_array_equal(read_image((pixels / 255).astype(np.float32)), pixels)
    np.testing.assert_array_equal(read_image(pixels.astype(np.uint16) * 257), pixels)
    for grey in (pixels[..., 0], pixels[..., :1]):
        np.testing.assert_array_equal(read_image(grey), np.repeat(pixels[..., :1], 3, 2))
    view = pixels[::-1, ::-2]
    got = read_image(view)
    np.testing.assert_array_equal(got, view)
    assert got.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 2, 3), 1.5), r"\[0, 1\], got \[1.5, 1.5\]"),
        (np.full((2, 2), -0.1), r"\[0, 1\]"),
        (np.full((2, 2), np.nan), r"\[0, 1\]"),
        (np.full((2, 2), np.inf), r"\[0, 1\]"),
        (np.zeros((2, 2), np.int64), "int64"),
        (np.zeros((2, 2), np.int16), "int16"),
        (np.zeros((2, 2), complex), "complex"),
        (np.zeros((2, 2, 2), np.uint8), r"\(2, 2, 2\)"),
        (np.zeros((2, 2, 5), np.uint8), r"\(2, 2, 5\)"),
        (np.zeros((1, 3, 8, 8), np.uint8), r"\(1, 3, 8, 8\)"),
        (np.zeros(7, np.uint8), r"\(7,\)"),
        (np.zeros((0, 4, 3), np.uint8), "not empty"),
        (np.zeros((4, 0), np.float32), "not empty"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_image(array)


@pytest.mark.parametrize("thing", [None, 7, b"bytes", [[0, 1]], torch.zeros(3, 4, 4)])
def test_other_things_are_a_type_error(thing) -> None:
    with pytest.raises(TypeError, match=type(thing).__name__):
        read_image(thing)


def test_tensors_and_back(pixels) -> None:
    tensor = to_tensor(pixels)
    assert tensor.shape == (1, 3, 6, 9)
    assert tensor.dtype == torch.float32
    assert float(tensor[0, 1, 2, 3]) == pytest.approx(pixels[2, 3, 1] / 255)
    np.testing.assert_array_equal(to_array(tensor), pixels)
    np.testing.assert_array_equal(to_array(tensor[0]), pixels)
    alpha = np.random.default_rng(3).random((5, 4)).astype(np.float32)
    np.testing.assert_array_equal(to_tensor(alpha)[0, 0].numpy(), alpha)
    np.testing.assert_array_equal(to_array(to_tensor(alpha)), np.round(alpha * 255).astype(np.uint8))
    assert to_array(torch.tensor([[[[-1.0, 2.0]]]])).tolist() == [[0, 255]]


def test_colours_with_a_profile_become_srgb(tmp_path, linear_profile) -> None:
    # a profile whose red and blue are swapped would be seen at once; XYZ and Lab profiles come with Pillow
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    colours = np.array([[[200, 60, 40], [20, 90, 180]]], np.uint8)
    profile = ImageCms.ImageCmsProfile(srgb).tobytes()
    Image.fromarray(colours).save(tmp_path / "srgb.png", icc_profile=profile)
    np.testing.assert_array_equal(read_image(tmp_path / "srgb.png"), colours)
    # cannot describe RGB values, like a damaged one: the picture is read as it is
    for bad in (ImageCms.ImageCmsProfile(lab).tobytes(), b"no profile"):
        Image.fromarray(colours).save(tmp_path / "bad.png", icc_profile=bad)
        np.testing.assert_array_equal(read_image(tmp_path / "bad.png"), colours)
    # 128 of 255 with linear values is 188 in sRGB
    Image.fromarray(np.full((2, 2, 3), 128, np.uint8)).save(tmp_path / "linear.png", icc_profile=linear_profile)
    assert abs(int(read_image(tmp_path / "linear.png")[0, 0, 0]) - 188) <= 1


# --- floating-point TIFFs ---------------------------------------------------------------------------


@pytest.mark.parametrize("values", ["float16", "float32", "float64"])
@pytest.mark.parametrize("how", ["grey", "colour", "planes", "zlib"])
def test_floating_point_tiffs_are_pictures(values, how, pixels, tmp_path) -> None:
    file, expected = tmp_path / "x.tif", pixels if how != "grey" else np.dstack([pixels[..., 0]] * 3)
    written = (pixels[..., 0] if how == "grey" else pixels) / 255
    options = {"photometric": "minisblack" if how == "grey" else "rgb"}
    options |= {"compression": "zlib"} if how == "zlib" else {}
    if how == "planes":
        written, options = written.transpose(2, 0, 1), options | {"planarconfig": "separate"}
    tifffile.imwrite(file, written.astype(values), **options)
    np.testing.assert_array_equal(read_image(file), expected)


def test_floating_point_tiffs_in_other_compressions_and_ranges(pixels, tmp_path) -> None:
    file = tmp_path / "x.tif"
    cv2.imwrite(str(file), (pixels[..., ::-1] / 255).astype(np.float32), [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    with tifffile.TiffFile(file) as tiff:
        assert tiff.pages.first.compression == tifffile.COMPRESSION.LZW
    np.testing.assert_array_equal(read_image(file), pixels)
    for top in (255, 65535):  # the largest value tells
        grey = np.array([[0, 0.2, 1]], np.float32) * top
        Image.fromarray(grey).save(file)
        assert read_image(file)[0, :, 0].tolist() == [0, 51, 255]
    tifffile.imwrite(file, np.array([[0, np.nan]], np.float32))
    with pytest.raises(ValueError, match=r"x\.tif.*not finite"):
        read_image(file)


def test_damaged_tiffs_are_named(pixels, tmp_path) -> None:
    file = tmp_path / "cut.tif"
    tifffile.imwrite(file, pixels.repeat(20, 0) / np.float32(255), photometric="rgb")
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(ValueError, match=r"cut\.tif is damaged or no picture"):
        read_image(file)


def test_malformed_exif_leaves_the_pixels(pixels, tmp_path) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02"  # two tags: the orientation, and a rational with a wrong length
    exif += b"\x01\x12\0\x03\0\0\0\x01\0\x03\0\0" + b"\x01\x1a\0\x05\0\0\0\x02\xff\xff\xff\xff" + bytes(4)
    for name, tags in (("bad", exif), ("none", exif[:9])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.jpg", exif=tags, quality=98, subsampling=0)
    turned, plain = read_image(tmp_path / "bad.jpg"), read_image(tmp_path / "none.jpg")
    np.testing.assert_array_equal(turned, plain[::-1, ::-1])


def test_large_pictures_are_read_by_threads_without_touching_warnings(tmp_path) -> None:
    assert Image.MAX_IMAGE_PIXELS is not None and Image.MAX_IMAGE_PIXELS >= 200_000_000
    files = [tmp_path / f"{n}.png" for n in range(8)]
    for file in files:
        Image.new("L", (64, 64), 7).save(file)
    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert all(picture.max() == 7 for picture in pool.map(read_image, files * 20))
    assert warnings.filters == filters, "filters belong to all threads"


def test_pictures_above_our_own_limit_are_refused_until_it_is_raised(tmp_path, monkeypatch) -> None:
    Image.new("L", (64, 64), 7).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    with pytest.raises(ValueError, match=r"a\.png is larger than .* megapixels, see --max-megapixels"):
        read_image(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((64, 64, 3), np.float32), photometric="rgb")  # Pillow reads no such
    with pytest.raises(ValueError, match=r"b\.tif is larger than .* megapixels, see --max-megapixels"):
        read_image(tmp_path / "b.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64)
    assert read_image(tmp_path / "a.png").shape == read_image(tmp_path / "b.tif").shape == (64, 64, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600_000_000)  # more than Pillow allows by itself
    Image.new("1", (20_000, 20_000)).save(tmp_path / "large.png")
    assert open_picture(tmp_path / "large.png").size == (20_000, 20_000)


# --- mattes -----------------------------------------------------------------------------------------

MATTE = np.zeros((24, 30), np.uint8)
MATTE[4:20, 6:24] = 255
MATTE[4, 6:24] = np.linspace(10, 240, 18)
MATTE[19, 6:24] = 128
LABEL = (MATTE > 127).astype(np.uint8)
PHOTO = np.random.default_rng(7).integers(20, 236, (*MATTE.shape, 3), dtype=np.uint8)
WHITE, BLACK = np.full_like(MATTE, 255), np.zeros_like(MATTE)
GREY_PHOTO = PHOTO[..., 1]


def palette(values: np.ndarray, colours: list[int]) -> Image.Image:
    picture = Image.fromarray(values, "L")
    picture.putpalette(colours)
    return picture


@pytest.mark.parametrize(
    ("mode", "channels"),
    [
        ("L", MATTE),
        ("RGB", np.dstack([MATTE] * 3)),
        ("RGBA in white", np.dstack([WHITE, WHITE, WHITE, MATTE])),
        ("RGBA in black", np.dstack([BLACK, BLACK, BLACK, MATTE])),
        ("RGBA in colour", np.dstack([WHITE, BLACK, BLACK, MATTE])),
        ("RGBA cut-out", np.dstack([PHOTO, MATTE])),
        ("RGBA cut-out, hidden black", np.dstack([PHOTO * (MATTE > 0)[..., None], MATTE])),
        ("RGBA twice", np.dstack([MATTE] * 4)),
        ("RGBA white before hidden black", np.dstack([(MATTE > 0) * WHITE] * 3 + [MATTE])),
        ("RGBA opaque", np.dstack([MATTE, MATTE, MATTE, WHITE])),
        ("RGBA as transparent as can be", np.dstack([MATTE, MATTE, MATTE, BLACK])),
        ("RGBA evenly transparent", np.dstack([MATTE, MATTE, MATTE, WHITE // 2])),
        ("LA in black", np.dstack([BLACK, MATTE])),
        ("LA in white", np.dstack([WHITE, MATTE])),
        ("LA opaque", np.dstack([MATTE, WHITE])),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_a_matte_is_transparency_or_grey(mode, channels, suffix, tmp_path) -> None:
    file = tmp_path / f"m{suffix}"
    Image.fromarray(channels).save(file, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    matte = read_matte(file)
    assert matte.dtype == np.float32
    np.testing.assert_array_equal(matte, MATTE / np.float32(255))


def test_a_matte_in_a_palettes_transparency(tmp_path) -> None:
    steps = MATTE // 64
    picture = palette(steps, [0, 0, 0] * 4)
    picture.save(tmp_path / "p.png", transparency=bytes([0, 80, 160, 255]))
    np.testing.assert_allclose(read_matte(tmp_path / "p.png"), np.array([0, 80, 160, 255])[steps] / 255, atol=1e-6)
    palette(LABEL, [0, 0, 0, 255, 255, 255]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_matte(tmp_path / "grey.png"), LABEL)


@pytest.mark.parametrize(
    ("suffix", "values"),
    [(".png", kind) for kind in (np.uint8, np.uint16, bool)]
    + [(".tif", kind) for kind in (np.uint8, np.uint16, np.int32, np.float32, np.float64, bool)],
)
def test_labels_of_0_and_1(values, suffix, tmp_path) -> None:
    file = tmp_path / f"m{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(file, LABEL.astype(values), photometric="minisblack")
    else:
        Image.fromarray(LABEL.astype(values)).save(file)
    np.testing.assert_array_equal(read_matte(file), LABEL)


def test_labels_in_transparency_or_three_channels_or_of_one_value(tmp_path) -> None:
    file = tmp_path / "m.png"
    for channels, expected in (
        (np.dstack([LABEL] * 3), LABEL),
        (np.dstack([BLACK, BLACK, BLACK, LABEL]), LABEL),
        (np.dstack([LABEL, LABEL, LABEL, WHITE]), LABEL),
        (np.ones_like(LABEL), 1),
        (BLACK, 0),
        (WHITE, 1),
        (np.dstack([WHITE, WHITE, WHITE, BLACK]), 0),  # nothing shows
        (np.dstack([PHOTO, BLACK]), 0),
    ):
        Image.fromarray(channels).save(file)
        np.testing.assert_array_equal(read_matte(file), np.broadcast_to(expected, LABEL.shape))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_mattes_keep_their_16_bits(channels, suffix, tmp_path) -> None:
    deep = np.random.default_rng(8).integers(0, 65536, (6, 9), dtype=np.uint16)
    full = np.full_like(deep, 65535)
    file = tmp_path / f"m{suffix}"
    parts = {1: [deep], 3: [deep] * 3, 4: [full] * 3 + [deep]}[channels]
    cv2.imwrite(str(file), np.dstack(parts))
    np.testing.assert_array_equal(read_matte(file), (deep / 65535).astype(np.float32))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_turned_like_8(orientation, suffix, tmp_path) -> None:
    deep, file = np.random.default_rng(4).integers(0, 65536, (5, 7, 3), dtype=np.uint16), tmp_path / f"x{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(file, deep, photometric="rgb", extratags=[(ORIENTATION, "H", 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        kinds, content = [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(exif.tobytes()[6:], np.uint8)]
        file.write_bytes(cv2.imencodeWithMetadata(".png", deep[..., ::-1], kinds, content)[1])
    read = read_channels(file)
    assert read is not None
    np.testing.assert_array_equal(read >> 8, read_image(file))
    assert sorted(read.flat) == sorted(deep.flat)


def test_16_bits_in_planes_or_not_there(tmp_path) -> None:
    deep, file = np.random.default_rng(5).integers(0, 65536, (5, 7, 3), dtype=np.uint16), tmp_path / "x.tif"
    tifffile.imwrite(file, np.moveaxis(deep, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_channels(file), deep)
    for name in ("x.tif", "x.png"):
        Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / name)
        assert read_channels(tmp_path / name) is None


def test_floating_point_mattes(tmp_path) -> None:
    file, soft = tmp_path / "m.tif", np.random.default_rng(9).random((6, 9)).astype(np.float32)
    for values in (soft, soft.astype(np.float64), np.dstack([soft] * 3), np.dstack([soft * 0, soft])):
        kind = "rgb" if values.shape[2:] == (3,) else "minisblack"
        tifffile.imwrite(file, values, photometric=kind, planarconfig="contig" if values.ndim == 3 else None)
        np.testing.assert_array_equal(read_matte(file), soft)
    for top in (255, 65535):
        tifffile.imwrite(file, soft / soft.max() * top)
        np.testing.assert_allclose(read_matte(file), soft / soft.max(), atol=1e-6)
    tifffile.imwrite(file, soft * 1.5 / soft.max())
    with pytest.raises(ValueError, match=r"m\.tif.*expected values in \[0, 1\], \[0, 255\] or.*1\.5"):
        read_matte(file)
    tifffile.imwrite(file, soft * np.nan)
    with pytest.raises(ValueError, match=r"m\.tif.*not finite"):
        read_matte(file)
    tifffile.imwrite(file, (soft.astype(np.float64) * (2**32 - 1)).astype(np.uint32))
    with pytest.raises(ValueError, match=r"m\.tif.*expected values in .*\[0, 255\] or \[0, 65535\]"):
        read_matte(file)


@pytest.mark.parametrize("ground", [0, 255])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("small", [False, True])
def test_colour_cut_outs_and_photographs_are_not_mattes(ground, suffix, small, tmp_path) -> None:
    file, person = tmp_path / f"m{suffix}", np.zeros((120, 120), bool)
    person[20 : 44 if small else 90, 20 : 44 if small else 90] = True
    colours = np.where(person[..., None], np.array([210, 160, 130], np.uint8), np.uint8(ground))
    Image.fromarray(colours).save(file, quality=95)
    with pytest.raises(ValueError, match=rf"m\{suffix}.*looks like a colour cut-out, not a matte; save its trans"):
        read_matte(file)
    Image.fromarray(PHOTO // 2 + np.array([60, 0, 0], np.uint8)).save(file, quality=95)
    with pytest.raises(ValueError, match=rf"m\{suffix} is coloured.*expected grey values or a transparency"):
        read_matte(file)


def test_two_different_mattes_in_a_file_are_refused(tmp_path) -> None:
    Image.fromarray(np.dstack([GREY_PHOTO, GREY_PHOTO, GREY_PHOTO, MATTE])).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match=r"m\.png holds two mattes.*save only one of them"):
        read_matte(tmp_path / "m.png")
    Image.fromarray(np.dstack([MATTE, MATTE[::-1]])).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match="two mattes"):
        read_matte(tmp_path / "m.png")


def test_grey_cut_outs_are_recognised_by_their_photograph() -> None:
    brightness = PHOTO @ np.array([0.299, 0.587, 0.114]) / 255
    for ground in (0, 1):
        with pytest.raises(ValueError, match=r"m\.png looks like a grey cut-out"):
            refuse_cutout(np.where(LABEL, brightness, ground), PHOTO, "m.png")
    for matte in (MATTE / 255, LABEL * 1.0, BLACK, np.full(MATTE.shape, 0.5)):
        refuse_cutout(matte, PHOTO, "m.png")
