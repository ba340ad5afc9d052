"""Benchmarks by name: what is read from which layout, what is composited, what is drawn."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from PIL import Image

from modnet_lib import paths
from modnet_lib.data import spm
from modnet_lib.data.benchmarks import BACKGROUNDS, BENCHMARKS, benchmark
from modnet_lib.data.sources import sources


def test_every_benchmark_is_in_the_manifest() -> None:
    for chosen in BENCHMARKS.values():
        assert chosen.split in sources()[chosen.source].splits
        assert chosen.split not in ("train", "unlabelled"), "nothing is measured on what is trained on"


def test_pictures_and_mattes_of_ppm100(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for part, shape in (("image", (20, 30, 3)), ("matte", (20, 30))):
        (tmp_path / part).mkdir()
        for name in ("b", "a"):
            flat = np.full(shape, rng.integers(20, 230), np.uint8)  # JPEG keeps it
            Image.fromarray(flat).save(tmp_path / part / f"{name}.jpg", quality=95)
    readers = benchmark("ppm100", tmp_path)
    assert list(readers) == ["a", "b"]
    for name, read in readers.items():
        picture = read()
        np.testing.assert_array_equal(picture.image, np.asarray(Image.open(tmp_path / f"image/{name}.jpg")))
        np.testing.assert_array_equal(picture.alpha, np.asarray(Image.open(tmp_path / f"matte/{name}.jpg")))
    assert list(benchmark("ppm100", tmp_path, count=1)) == ["a"]


def test_foregrounds_are_composited_over_ten_backgrounds_each(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    rng, size = np.random.default_rng(1), (24, 16)
    folder = tmp_path / sources()["amd"].folder
    for name in ("one", "two", "dog"):
        for part, shape in (("fg", (*size, 3)), ("alpha", size)):
            file = folder / "Test_set" / "Adobe-licensed images" / part / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(file)
    (folder / "test_data_list.txt").write_text("one.png\ntwo.png\n")
    scenes = tmp_path / sources()["backgrounds"].folder
    scenes.mkdir()
    for number in range(12):
        Image.fromarray(np.full((*size, 3), number * 20, np.uint8)).save(scenes / f"{number:02d}.png")
    readers = benchmark("amd")
    assert len(readers) == 2 * BACKGROUNDS, "the dog is not in the list of portraits"
    pictures = {name: read() for name, read in readers.items()}
    assert {name.rpartition("_")[0].rpartition("/")[2] for name in pictures} == {"one", "two"}
    for name, picture in pictures.items():
        subject = name.rpartition("_")[0].rpartition("/")[2]
        parts = folder / "Test_set" / "Adobe-licensed images"
        alpha = np.asarray(Image.open(parts / "alpha" / f"{subject}.png"))
        foreground = np.asarray(Image.open(parts / "fg" / f"{subject}.png")).astype(float)
        weight = alpha[..., None] / 255
        expected = weight * foreground + (1 - weight) * int(picture.strata["background"]) * 20
        np.testing.assert_array_equal(picture.alpha, alpha)
        np.testing.assert_allclose(picture.image, expected, atol=0.51)
    used = [picture.strata["background"] for picture in pictures.values()]
    assert len(set(used[:BACKGROUNDS])) == BACKGROUNDS, "ten different ones"


def test_drawn_benchmarks_are_always_there(without_data, monkeypatch) -> None:
    monkeypatch.setattr(paths, "CACHE", without_data / "cache")
    monkeypatch.setitem(spm.WRITERS, "spm100", partial(spm.write_spm100, size=64))
    readers = benchmark("spm100", count=2)
    picture = readers["spm_001"]()
    assert picture.strata["held_object"] == "1"
    _, alpha = spm.photograph(spm.subjects(2)[1], 64)
    np.testing.assert_array_equal(picture.alpha, (alpha * 255).round().astype(np.uint8))


def test_what_is_missing_says_how_to_get_it(without_data) -> None:
    with pytest.raises(FileNotFoundError, match="MODNET_DATA"):
        benchmark("ppm100")
    with pytest.raises(FileNotFoundError, match=r"PPM-100.*repository"):
        benchmark("ppm100", without_data)
    with pytest.raises(ValueError, match="spm_shift"):
        benchmark("imagenet")
    with pytest.raises(ValueError, match="count"):
        benchmark("spm100", count=0)
