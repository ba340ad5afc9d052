"""What users' files do: every situation draws its own input. `pytest tests/inference/test_field.py -v` is the table."""

from __future__ import annotations

import os
import unicodedata
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile
from typer.testing import CliRunner

from modnet_lib.cli import app
from modnet_lib.data import items
from modnet_lib.data.manifest import find_items
from modnet_lib.images import read_image, suffixes
from modnet_lib.inference import bulk
from modnet_lib.inference.media import Clip, to_rgb
from modnet_lib.inference.tone_mapping import HLG, PQ
from modnet_lib.inference.video import matte_video
from modnet_lib.network import load_checkpoint, save_checkpoint
from modnet_lib.notebook.inspector import MatteInspector

RED = (200, 40, 40)


def person(size: int = 96, colour: tuple[int, int, int] = RED) -> Image.Image:
    picture = Image.new("RGB", (size, size), (20, 60, 120))
    picture.paste(colour, (size // 4, size // 4, 3 * size // 4, size))
    return picture


def matted(matter, folder: Path, target: str | Path) -> dict[str, bulk.Result]:
    jobs = bulk.plan([folder], target)
    return {result.job.source.name: result for result in bulk.run(matter, jobs, "matte")}


# --- pictures


@pytest.mark.parametrize("suffix", [".heic", ".heif", ".avif", ".jp2", ".mpo", ".jpe", ".tga", ".ppm", ".dib", ".pcx"])
def test_c2_every_format_that_pillow_reads_is_taken_from_a_folder(red_matter, tmp_path, suffix):
    (tmp_path / "in").mkdir()
    options = {"save_all": True, "append_images": [person()]} if suffix == ".mpo" else {}
    assert suffix in suffixes()
    person().save(tmp_path / "in" / f"a{suffix}", **options)
    (result,) = matted(red_matter, tmp_path / "in", tmp_path / "out").values()
    assert not result.error and not result.note
    found = np.asarray(Image.open(result.job.target))
    assert abs(int(found[90, 48]) - RED[0]) < 12


def test_e_a_tiff_that_pillow_does_not_know_is_taken(red_matter, tmp_path):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", np.asarray(person(), np.float32) / 255, photometric="rgb")
    (result,) = matted(red_matter, tmp_path / "in", tmp_path / "out").values()
    assert not result.error
    assert abs(int(np.asarray(Image.open(result.job.target))[90, 48]) - RED[0]) < 2


def test_c2_what_a_folder_run_passes_over_is_named(red_matter, tmp_path):
    person().save(tmp_path / "a.png")
    for name in ("notes.txt", "b.jxl", ".hidden"):
        (tmp_path / name).write_bytes(b"\xff\x0a")
    assert [file.name for file in bulk.passed_over([tmp_path], tmp_path / "out")] == ["b.jxl", "notes.txt"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\0\0\0\x18ftypmp42" + bytes(20), "a clip"),
    ],
)
def test_c3_a_format_that_cannot_be_read_is_named(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.png is {words}.*, which cannot be read as a picture"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(("name", "count"), [("a.gif", 3), ("a.webp", 3), ("a.png", 3), ("a.tif", 3)])
def test_a5_matte_says_when_it_took_the_first_frame_or_page_only(red_matter, tmp_path, name, count):
    (tmp_path / "in").mkdir()
    frames = [person(colour=(200 - 60 * n, 40, 40)) for n in range(count)]
    frames[0].save(tmp_path / "in" / name, save_all=True, append_images=frames[1:], duration=80)
    (result,) = matted(red_matter, tmp_path / "in", tmp_path / "out").values()
    assert not result.error and f"the first of {count}" in result.note


def test_b1_whatever_one_picture_raises_the_others_are_written(red_matter, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in "abc":
        person().save(tmp_path / "in" / f"{name}.png")
    real = bulk.read_image

    def read(file):
        if file.stem == "b":
            raise KeyError("a type that nobody expects")
        return real(file)

    monkeypatch.setattr(bulk, "read_image", read)
    results = matted(red_matter, tmp_path / "in", tmp_path / "out")
    assert [name for name, result in results.items() if result.error] == ["b.png"]
    assert "KeyError" in results["b.png"].error
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_a_pattern_that_no_shell_expanded_names_its_files(tmp_path):
    names = ["1.png", "a.png", "b.png", "c.jpg", "[1].png"]
    for name in names:
        person().save(tmp_path / name)
    assert bulk.expand(f"{tmp_path}/?.png") == [tmp_path / f"{name}.png" for name in "1ab"]
    assert bulk.expand(f"{tmp_path}/[1].png") == [tmp_path / "[1].png"], "a name is a name first"
    with pytest.raises(FileNotFoundError, match=r"there is no .*\*\.gif"):
        bulk.plan(bulk.expand(f"{tmp_path}/*.gif"), tmp_path / "out")


@pytest.mark.parametrize("name", ["人" * 83 + "ab.png", "[2024] shoot.png", "a*b?.png", "Grüße.png", "a.b.c.png"])
def test_c4_unusual_names_are_taken(red_matter, tmp_path, name):
    folder = tmp_path / "[2024] shoot"
    folder.mkdir()
    person().save(folder / name)
    assert len(os.fsencode(name)) <= 255
    (result,) = matted(red_matter, folder, tmp_path / "out 12.05.2024").values()
    assert not result.error and result.job.target.is_file()
    (job,) = bulk.plan([folder / name], f"{tmp_path}/cut 12.05.2024/")
    assert job.target.parent.name == "cut 12.05.2024" and job.target.suffix == ".png"


def test_c4_suffixes_and_unicode_forms_do_not_part_pairs(tmp_path):
    for folder in ("image", "alpha"):
        (tmp_path / folder).mkdir()
    person().save(tmp_path / "image" / "Mixed.Jpg", format="JPEG")
    Image.new("L", (96, 96), 255).save(tmp_path / "alpha" / "Mixed.PNG")
    person().save(tmp_path / "image" / f"{unicodedata.normalize('NFD', 'Grüße')}.png")
    Image.new("L", (96, 96), 255).save(tmp_path / "alpha" / f"{unicodedata.normalize('NFC', 'Grüße')}.png")
    found = find_items("pairs", tmp_path)
    assert [item.id for item in found] == [unicodedata.normalize("NFC", "Grüße"), "Mixed"]
    assert all(file.is_file() for item in found for file in item.files.values())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_c6_a_pipe_is_refused_in_words(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a pipe; send one picture to `modnet matte - "):
        bulk.plan([tmp_path / "pipe"], tmp_path / "out.png")


# --- clips


def frame_of(pixels: np.ndarray, transfer: int, colorspace: int, size: int = 64) -> av.VideoFrame:
    """A decoded frame of one colour, (3,) uint16, in 16-bit YUV."""
    image = np.broadcast_to(pixels.astype(np.uint16), (size, size, 3))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb48le")
    names = {1: "ITU709", 9: "BT2020"}
    frame = frame.reformat(format="yuv444p16le", dst_colorspace=names[colorspace])
    frame.color_trc, frame.colorspace = transfer, colorspace
    return frame


def to_2020(light: np.ndarray) -> np.ndarray:
    """ITU-R BT.2087, linear."""
    matrix = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    return matrix @ light


def hlg_of(colour: np.ndarray) -> np.ndarray:
    """BT.709 values to HLG as BT.2408 maps scene light: BT.709's white is the signal 0.75."""
    scene = np.where(colour < 0.081, colour / 4.5, ((colour + 0.099) / 1.099) ** (1 / 0.45))
    e = to_2020(scene) * (np.exp((0.75 - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(
        e <= 1 / 12, np.sqrt(3 * e), 0.17883277 * np.log(12 * np.maximum(e, 1 / 12) - 0.28466892) + 0.55991073
    )


def pq_of(colour: np.ndarray) -> np.ndarray:
    """BT.709 values to PQ as shown on a display of BT.1886 whose white has 203 cd/m2."""
    y = (to_2020(colour**2.4) * 203 / 10_000) ** (1305 / 8192)
    return ((107 / 128 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


@pytest.mark.parametrize("colour", [(103, 103, 103), (160, 46, 47), (40, 120, 190), (5, 5, 5)])
@pytest.mark.parametrize(("transfer", "encode"), [(HLG, hlg_of), (PQ, pq_of)], ids=["HLG", "PQ"])
def test_a4_hdr_colours_below_white_stay_themselves(transfer, encode, colour):
    code = encode(np.array(colour) / 255)
    found = to_rgb(frame_of(np.round(65535 * code), transfer, 9))[32, 32]
    np.testing.assert_allclose(found, colour, atol=3)


@pytest.mark.parametrize("transfer", [HLG, PQ], ids=["HLG", "PQ"])
def test_a4_highlights_are_compressed_in_order(transfer):
    codes = np.linspace(0.4, 1 if transfer == HLG else 0.75, 12)
    found = [int(to_rgb(frame_of(np.full(3, 65535 * code), transfer, 9))[32, 32, 1]) for code in codes]
    assert found == sorted(found) and len(set(found)) > 9
    assert found[-1] >= 254, "the peak becomes white"


def test_a4_untagged_hd_is_bt_709_and_small_untagged_clips_bt_601():
    for size, matrix in (((1280, 720), "ITU709"), ((320, 240), "ITU601")):
        picture = np.broadcast_to(np.array(RED, np.uint8), (*size[::-1], 3))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        frame = frame.reformat(format="yuv444p", dst_colorspace=matrix)
        frame.colorspace = 2
        np.testing.assert_allclose(to_rgb(frame)[100, 100], RED, atol=2)


def test_a4_transparent_clips_go_over_white(tmp_path):
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("prores_ks", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuva444p10le"
        picture = np.zeros((64, 64, 4), np.uint8)
        picture[:, :32] = (200, 40, 40, 255)
        picture[:, 32:] = (40, 200, 40, 0)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgba")))
        container.mux(stream.encode(None))
    frame = next(iter(Clip(tmp_path / "a.mov"))).image
    np.testing.assert_allclose(frame[32, 8], RED, atol=8)
    np.testing.assert_allclose(frame[32, 56], 255, atol=3)


def test_a4_our_own_transparent_clip_is_read_with_its_transparency(red_matter, make_clip, tmp_path):
    left = np.zeros((48, 64, 3), np.uint8)
    left[:, :32] = 255
    matte_video(red_matter, make_clip("a.mkv", [left] * 4), tmp_path / "cut.webm", background="transparent")
    frame = next(iter(Clip(tmp_path / "cut.webm"))).image
    assert frame[24, 56].min() > 245, "black where nobody is would be the hidden colour"


def damaged(path: Path) -> Path:
    """A clip with one packet in the middle overwritten."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        middle = packets[len(packets) // 2]
        place, size = middle.pos, middle.size
    content = bytearray(path.read_bytes())
    content[place : place + size] = np.random.default_rng(0).bytes(size)
    path.write_bytes(content)
    return path


def test_b2_one_damaged_packet_costs_its_frames_only(red_matter, make_clip, tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    source = damaged(make_clip("a.mkv", frames))
    repaired, damage = matte_video(red_matter, source, tmp_path / "out.mp4")
    assert 20 < len(repaired) <= 40 and len(list(Clip(tmp_path / "out.mp4"))) == len(repaired)
    if damage:
        assert all(" s" in one for one in damage)
    left = {file.name for file in tmp_path.iterdir()} - {"a.mkv", "out.mp4"}
    assert not left


def test_b3_one_frame_a_second_is_not_cut_short(tmp_path):
    with av.open(str(tmp_path / "slow.flv"), "w") as container:
        stream = container.add_stream("flv", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(person(64)), "rgb24")))
        container.mux(stream.encode(None))
    clip = Clip(tmp_path / "slow.flv")
    assert len(list(clip)) == 4 and not clip.damage


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_a5_video_reads_animations_frame_by_frame(red_matter, tmp_path, name):
    frames = [person(colour=(200 - 50 * n, 40, 40)) for n in range(4)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=80)
    clip = list(Clip(tmp_path / name))
    assert [frame.time for frame in clip] == [Fraction(8 * n, 100) for n in range(4)]
    np.testing.assert_allclose([frame.image[90, 48, 0] for frame in clip], [200, 150, 100, 50], atol=6)
    repaired, damage = matte_video(red_matter, tmp_path / name, tmp_path / "out.webm")
    assert len(repaired) == 4 and not damage


def test_c6_a_folder_of_frames_is_a_clip_with_its_own_times(red_matter, make_clip, tmp_path):
    colours = [np.full((48, 64, 3), 60 * n, np.uint8) for n in range(4)]
    source = make_clip("a.mkv", colours, times=[0, 100, 130, 400])
    matte_video(red_matter, source, tmp_path / "frames", background="matte")
    (tmp_path / "frames" / "000002.png").write_bytes(b"damaged")
    clip = Clip(tmp_path / "frames")
    assert [float(frame.time) for frame in clip] == [0, 0.1, 0.4]
    assert len(clip.damage) == 1 and "000002.png" in clip.damage[0]


# --- weights, messages and options


@pytest.mark.parametrize("wrap", ["model", "state_dict", "module.", "_orig_mod.", "plain"])
def test_e_wrapped_weights_are_read(tmp_path, wrap):
    import torch

    from modnet_lib.network import MODNet

    network = MODNet()
    state = network.state_dict()
    if wrap.endswith("."):
        state = {f"{wrap}{key}": value for key, value in state.items()}
    torch.save({wrap: state, "epoch": 3} if wrap in ("model", "state_dict") else state, tmp_path / "a.ckpt")
    read = load_checkpoint(tmp_path / "a.ckpt").state_dict()
    assert all(torch.equal(value, read[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"<html>", "a web page"),
        (b"\x08\x08\x12\x07pytorch", "but ONNX"),
        (b"\x08" + bytes(20), "but damaged"),
    ],
)
def test_e_what_is_no_checkpoint_is_named_without_unsafe_advice(tmp_path, content, words):
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        load_checkpoint(tmp_path / "a.ckpt")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("command", ["matte", "video", "export"])
def test_e_an_output_below_a_file_is_one_line(tmp_path, command, tiny_network, make_clip):
    checkpoint = tmp_path / "n.safetensors"
    save_checkpoint(tiny_network, checkpoint)
    person().save(tmp_path / "a.png")
    source = [make_clip("a.mkv", [np.asarray(person(64))] * 3)] if command == "video" else [tmp_path / "a.png"]
    arguments = [*(source if command != "export" else []), tmp_path / "a.png" / "b" / "out.mp4"]
    if command != "video":
        arguments[-1] = arguments[-1].with_suffix(".png" if command == "matte" else ".onnx")
    result = CliRunner().invoke(app, [command, "--model", str(checkpoint), *map(str, arguments)])
    assert result.exit_code in (1, 3) and isinstance(result.exception, SystemExit)


def test_specks_below_a_share_of_the_picture_are_cleared():
    from modnet_lib.inference.edges import drop_specks

    alpha = np.zeros((100, 100), np.float32)
    alpha[20:80, 20:60] = 0.9
    alpha[5:8, 90:93] = 0.8  # nine pixels
    alpha[50, 70] = 0.02  # haze
    cleared = drop_specks(alpha, 0.001)
    assert cleared[6, 91] == 0 and cleared[50, 40] == np.float32(0.9) and cleared[50, 70] == np.float32(0.02)
    np.testing.assert_array_equal(drop_specks(alpha, 0.0008), alpha)


def test_parts_of_pictures_and_clips_are_written_in_one_pass(red_matter, make_clip, tmp_path):
    (tmp_path / "in").mkdir()
    person().save(tmp_path / "in" / "a.png")
    (job,) = bulk.plan([tmp_path / "in"], tmp_path / "out")
    (result,) = bulk.run(red_matter, [job], "white", parts=True)
    assert not result.error
    matte = np.asarray(Image.open(tmp_path / "out" / "a_matte.png")) / 255
    colours, composed = (
        np.asarray(Image.open(tmp_path / "out" / name), float) for name in ("a_foreground.png", "a.png")
    )
    np.testing.assert_allclose(composed, matte[..., None] * colours + 255 * (1 - matte[..., None]), atol=1.5)
    seen = red_matter.seen
    source = make_clip("a.mkv", [np.asarray(person(64))] * 3)
    matte_video(red_matter, source, tmp_path / "clip.mp4", parts=True, background="white")
    assert red_matter.seen == seen + 3
    names = ["clip.mp4", "clip_foreground.mp4", "clip_matte.mp4"]
    assert sorted(file.name for file in tmp_path.glob("clip*")) == names
    assert all(len(list(Clip(tmp_path / name))) == 3 for name in names)


def test_parts_never_overwrite_another_picture(red_matter, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a", "a_matte"):
        person().save(tmp_path / "in" / f"{name}.png")
    jobs = bulk.plan([tmp_path / "in"], tmp_path / "out")
    with pytest.raises(ValueError, match=r"a_matte\.png would be a picture's own result and a part of another's"):
        next(bulk.run(red_matter, jobs, parts=True))
    assert not (tmp_path / "out").exists()


# --- mutated files


def mutations(content: bytes, rng: np.random.Generator) -> bytes:
    """Truncate, flip bits, overwrite a stretch, swap the header, or repeat a part."""
    data, kind = bytearray(content), rng.integers(5)
    at = int(rng.integers(len(data)))
    if kind == 0:
        return bytes(data[: max(1, at)])
    if kind == 1:
        for place in rng.integers(len(data), size=int(rng.integers(1, 30))):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        stretch = rng.bytes(int(rng.integers(1, 200)))
        data[at : at + len(stretch)] = stretch
    elif kind == 3:
        data[:16] = rng.bytes(16)
    else:
        data[at:at] = data[: int(rng.integers(len(data)))]
    return bytes(data)


@pytest.mark.slow
def test_150_mutated_pictures_end_in_a_matte_or_a_message(red_matter, tmp_path):
    rng, source = np.random.default_rng(22), tmp_path / "in"
    source.mkdir()
    kinds = [".png", ".jpg", ".webp", ".tif", ".gif", ".bmp", ".avif", ".heic", ".jp2", ".tga"]
    assert suffixes() >= set(kinds)  # the first call also registers HEIF, to write and to read
    whole = {}
    for suffix in kinds:
        person(64).save(tmp_path / f"whole{suffix}")
        whole[suffix] = (tmp_path / f"whole{suffix}").read_bytes()
    for number in range(150):
        suffix = kinds[number % len(kinds)]
        (source / f"{number:03d}{suffix}").write_bytes(mutations(whole[suffix], rng))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    results = list(bulk.run(red_matter, bulk.plan([source], tmp_path / "out")))
    assert len(results) == 150 and 20 < sum(bool(result.error) for result in results) < 140
    for result in results:
        assert result.job.target.is_file() != bool(result.error)
        if not result.error:
            Image.open(result.job.target).load()
    (tmp_path / "alpha").mkdir()
    (source).rename(tmp_path / "image")
    for file in (tmp_path / "image").iterdir():
        Image.new("L", (64, 64), 128).save(tmp_path / "alpha" / f"{file.stem}.png")
    report = items.check("pairs", tmp_path)
    assert report.fine + len({one.split()[0] for one in report.problems}) >= 150 and report.problems
    inspector = MatteInspector(red_matter, {"whole": np.asarray(person(64))})
    unread = {result.job.source.name for result in results if result.error}
    for file in sorted((tmp_path / "image").iterdir()):
        content = memoryview(file.read_bytes())
        about = {"name": file.name, "type": "", "size": len(content), "last_modified": datetime(2026, 1, 1, tzinfo=UTC)}
        inspector.upload.value = (about | {"content": content},)
        said = f"<b>{file.name}</b> cannot be read" in inspector.status.value
        assert said == (file.name in unread) == (file.name not in inspector.picture.options)
        assert said or inspector.picture.value == file.name


@pytest.mark.slow
def test_150_mutated_clips_end_in_a_clip_or_a_message(red_matter, make_clip, tmp_path):
    rng = np.random.default_rng(23)
    frames = [np.asarray(person(64, (200 - 5 * n, 40, 40))) for n in range(12)]
    whole = {name: make_clip(name, frames, audio="aac").read_bytes() for name in ("a.mp4", "a.mkv", "a.mov")}
    done = 0
    for number in range(150):
        name = list(whole)[number % 3]
        source = tmp_path / f"{number:03d}{Path(name).suffix}"
        source.write_bytes(mutations(whole[name], rng))
        target = tmp_path / f"{number:03d}_out.mp4"
        before = set(tmp_path.iterdir())
        reason = None
        try:
            matte_video(red_matter, source, target)
        except ValueError as error:
            reason = str(error)
        done += reason is None
        assert reason is None or source.name in reason
        assert set(tmp_path.iterdir()) == (before | {target} if reason is None else before)
        assert reason or len(list(Clip(target))) > 0
    assert 20 < done < 150
