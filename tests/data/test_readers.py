"""Benchmarks by name: what is read from which layout, what is composited, what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from modnet_lib.data.manifest import sources, training_items
from modnet_lib.data.readers import BACKGROUNDS, BENCHMARKS, benchmark, find_benchmark, reader_files


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
    for number in range(200):
        Image.fromarray(np.full((*size, 3), number, np.uint8)).save(scenes / f"{number:03d}.png")
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
        expected = weight * foreground + (1 - weight) * int(picture.strata["background"])
        np.testing.assert_array_equal(picture.alpha, alpha)
        np.testing.assert_allclose(picture.image, expected, atol=0.51)
    used = [picture.strata["background"] for picture in pictures.values()]
    assert len(set(used[:BACKGROUNDS])) == BACKGROUNDS, "ten different ones"
    trained = {item.id for item in training_items("backgrounds")[2]}
    assert not trained & set(used), "training never saw them"
    assert 150 < len(trained) < 190


def test_24_drawn_pictures_ship(without_data) -> None:
    readers = benchmark("samples")
    assert list(readers) == [f"spm_{number:03d}" for number in range(24)]
    assert list(benchmark("samples", count=2)) == ["spm_000", "spm_001"]
    picture = readers["spm_001"]()
    assert picture.image.shape == (512, 512, 3)
    assert picture.strata["held_object"] == "1"
    assert 0.05 < (picture.alpha == 255).mean() < 0.9


@pytest.mark.parametrize("name", ["spm100", "spm_shift", "spm_video"])
def test_a_drawn_benchmark_that_is_missing_names_its_command(name, without_data, monkeypatch) -> None:
    command = rf"python data/drawn_people {name} \$MODNET_DATA/SPM-"
    with pytest.raises(FileNotFoundError, match=f"set MODNET_DATA.*{command}"):
        benchmark(name)
    monkeypatch.setenv("MODNET_DATA", str(without_data))
    with pytest.raises(FileNotFoundError, match=command):
        benchmark(name)


def test_what_is_missing_says_how_to_get_it(without_data) -> None:
    with pytest.raises(FileNotFoundError, match="MODNET_DATA"):
        benchmark("ppm100")
    with pytest.raises(FileNotFoundError, match=r"PPM-100.*repository"):
        benchmark("ppm100", without_data)
    with pytest.raises(ValueError, match="spm_shift"):
        benchmark("imagenet")
    with pytest.raises(ValueError, match="count"):
        benchmark("spm100", count=0)


def pair(folder, photographs: str, mattes: str) -> np.ndarray:
    """A photograph and its matte at the given places."""
    alpha = np.tile(np.linspace(0, 255, 20).round().astype(np.uint8), (12, 1))
    for name, values in ((photographs, np.full((12, 20, 3), 90, np.uint8)), (mattes, alpha)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(folder / name)
    return alpha


def test_any_set_of_the_manifest_with_mattes_and_any_folder_of_pairs(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    expected = pair(tmp_path / "pairs", "image/me.jpg", "alpha/me.png")
    train, test = tmp_path / "P3M-10k" / "train", tmp_path / "P3M-10k" / "validation" / "P3M-500-NP"
    pair(train, "blurred_image/p_1.jpg", "mask/p_1.png")
    pair(test, "original_image/p_2.jpg", "mask/p_2.png")
    pair(tmp_path / "mine", "image/sub/a.Jpg", "alpha/sub/a.Png")
    for name, key in (
        ("pairs", "me"),
        ("p3m10k:train", "p_1"),
        ("p3m10k:validation-np", "p_2"),
        ("p3m500np", "p_2"),
        (str(tmp_path / "mine"), "sub/a"),
    ):
        (found,) = benchmark(name).items()
        assert found[0] == key
        np.testing.assert_array_equal(found[1]().alpha, expected)
        assert len(reader_files(found[1])) == 2
    assert find_benchmark(str(tmp_path / "mine")).title == "mine"
    cutout = Image.open(tmp_path / "pairs/image/me.jpg").convert("RGBA")
    cutout.putalpha(Image.fromarray(expected))
    root = tmp_path / "matting_human_half"
    pair(root, "clip_img/1803/clip_00/x.jpg", "unused.png")
    (root / "matting/1803/matting_00").mkdir(parents=True)
    cutout.save(root / "matting/1803/matting_00/x.png")
    np.testing.assert_array_equal(next(iter(benchmark("aisegment").values()))().alpha, expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cutouts", "cutouts has none"),
        ("bg20k", "photographs and mattes; bg20k has none"),
        ("p3m10k", "p3m10k:train, p3m10k:validation-p, p3m10k:validation-np"),
        ("p3m10k:test", "p3m10k:train"),
        ("crgnn_r:frames", "crgnn_r has crgnn_r:test"),
        ("no/such/folder", "folder with image/ and alpha/"),
    ],
)
def test_sets_without_mattes_are_refused(name, message) -> None:
    with pytest.raises(ValueError, match=message):
        benchmark(name)


def test_a_folder_without_pairs_says_what_it_needs(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"put photographs into image/ and mattes into alpha/"):
        benchmark(str(tmp_path))


def test_strata_are_read_from_the_current_file(tmp_path) -> None:
    pair(tmp_path, "image/a.jpg", "matte/a.png")
    for value in ("0", "1"):
        (tmp_path / "strata.csv").write_text(f"id,seed,held_object\na,7,{value}\n")
        assert benchmark("spm100", tmp_path)["a"]().strata == {"held_object": value}
