"""Clean edges: colours against exact ones; backgrounds by Eq. 1."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pymatting import estimate_foreground_ml

from modnet_lib.devices import resize
from modnet_lib.inference import edges
from modnet_lib.inference.edges import blocks, clean_foreground, compose, read_background, render, sharpen


@pytest.fixture(scope="module")
def person(drawn_samples):
    (sample,) = drawn_samples(1, 192)
    return sample.image, sample.alpha / np.float32(255), sample, sample.background


def test_estimated_colours_are_nearer_to_the_exact_ones(person) -> None:
    image, alpha, portrait, _ = person
    clean = clean_foreground(image, alpha)
    mixed = (alpha > 0.05) & (alpha < 0.95)
    exact = portrait.foreground.astype(float)

    def error(colours: np.ndarray) -> float:
        return float((np.abs(colours - exact).mean(axis=2) * alpha)[mixed].mean())

    assert error(clean) < 0.5 * error(image)
    np.testing.assert_array_equal(clean[alpha == 1], image[alpha == 1])


def test_what_is_rendered_has_no_colours_of_the_old_background(person) -> None:
    image, alpha, portrait, _ = person
    mixed = (alpha > 0.05) & (alpha < 0.95)
    (cutout,) = render(image, alpha, "transparent")
    on_blue, matte, colours = render(image, alpha, "#0000ff", parts=True)
    assert np.array_equal(cutout[..., 3], matte) and np.array_equal(cutout[..., :3], colours)
    exact = compose(portrait.foreground, alpha, "#0000ff").astype(float)
    error, plain = (abs(one - exact)[mixed].mean() for one in (on_blue, compose(image, alpha, "#0000ff")))
    assert error < 0.5 * plain
    np.testing.assert_array_equal(render(image, alpha, "matte")[0], matte)


def test_a_background_is_read_once_and_refused_at_once(tmp_path) -> None:
    Image.new("RGB", (4, 2), "#102030").save(tmp_path / "wall.png")
    read = read_background(str(tmp_path / "wall.png"))
    assert isinstance(read, np.ndarray) and read.shape == (2, 4, 3) and (read == [0x10, 0x20, 0x30]).all()
    names = ["blur", "white", "transparent", "matte"]
    assert [read_background(name) for name in names] == names
    with pytest.raises(ValueError, match="background must be a colour"):
        read_background("no colour")
    with pytest.raises(FileNotFoundError):
        read_background(str(tmp_path / "nothing.png"))


def test_blocks_give_what_the_whole_gives_within_a_hundredth(person, monkeypatch) -> None:
    image, alpha, _, _ = person
    whole = estimate_foreground_ml(image / 255.0, alpha.astype(np.float64))
    monkeypatch.setattr(edges, "BLOCK", 96)
    monkeypatch.setattr(edges, "MARGIN", 48)
    mixed = (alpha > 0.05) & (alpha < 1)
    difference = np.abs(clean_foreground(image, alpha) / 255 - whole).mean(axis=2) * alpha
    assert difference[mixed].mean() < 1e-2


def test_guided_enlargement_is_nearer_to_the_truth(person) -> None:
    image, alpha, _, _ = person
    coarse = resize(resize(torch.from_numpy(alpha)[None, None], 48, 48), 192, 192)[0, 0].numpy()
    sharp = sharpen(coarse, image, 4)
    before, after = (np.abs(matte - alpha).mean() for matte in (coarse, sharp))
    assert after < 0.95 * before
    sure = (coarse <= 0.05) | (coarse >= 0.95)
    np.testing.assert_array_equal(sharp[sure], coarse[sure])
    np.testing.assert_array_equal(sharpen(coarse, image, 1.4), coarse)


def test_guided_enlargement_block_by_block_is_that_of_the_whole(person, monkeypatch) -> None:
    image, alpha, _, _ = person
    coarse = resize(resize(torch.from_numpy(alpha)[None, None], 48, 48), 192, 192)[0, 0].numpy()
    whole = sharpen(coarse, image, 4)
    monkeypatch.setattr(edges, "BLOCK", 96)
    np.testing.assert_allclose(sharpen(coarse, image, 4), whole, atol=1e-4)


def test_blocks_cover_every_mixed_pixel_once(monkeypatch) -> None:
    monkeypatch.setattr(edges, "BLOCK", 16)
    alpha = np.random.default_rng(0).uniform(0.1, 0.9, (50, 35))
    alpha[:20, :20] = np.where(alpha[:20, :20] > 0.5, 1, 0)
    counts = np.zeros_like(alpha)
    for inner, outer, place, mixed in blocks(alpha, 0, 1, 5):
        counts[inner] += mixed
        assert mixed.any()
        np.testing.assert_array_equal(alpha[outer][place], alpha[inner])
        assert max(alpha[outer].shape) <= 16 + 2 * 5
    np.testing.assert_array_equal(counts, (alpha > 0) & (alpha < 1))


def test_certain_pictures_are_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for value in (0.0, 1.0):
        np.testing.assert_array_equal(clean_foreground(image, np.full((20, 30), value, np.float32)), image)
    with pytest.raises(ValueError, match="one size"):
        clean_foreground(image, np.ones((30, 20)))


@pytest.mark.parametrize(
    ("name", "colour"), [("white", 255), ("#102030", (16, 32, 48)), ("Black", 0), ("green", (0, 177, 64))]
)
def test_colours(name, colour) -> None:
    foreground, alpha = np.full((4, 5, 3), 100, np.uint8), np.linspace(0, 1, 20).reshape(4, 5)
    expected = alpha[..., None] * 100 + (1 - alpha[..., None]) * np.asarray(colour)
    result = compose(foreground, alpha, name)
    np.testing.assert_allclose(result, np.broadcast_to(expected, result.shape), atol=0.51)


def test_pictures_cover_without_distortion(tmp_path) -> None:
    stripes = np.zeros((40, 120, 3), np.uint8)
    stripes[:, 40:80] = 200  # the middle third is what a square sees
    Image.fromarray(stripes).save(tmp_path / "b.png")
    result = compose(np.zeros((60, 60, 3), np.uint8), np.zeros((60, 60)), tmp_path / "b.png")
    assert result.shape == (60, 60, 3)
    assert (result[:, 5:55] == 200).all()


def test_the_blurred_background_holds_no_person() -> None:
    image, alpha = np.full((80, 80, 3), 30, np.uint8), np.zeros((80, 80))
    image[20:60, 20:60], alpha[20:60, 20:60] = 250, 1
    behind = compose(image, np.zeros((80, 80)), "blur")  # for comparison: the person smears
    result = compose(image, alpha, "blur", image)
    assert behind[18, 40, 0] > 60
    assert abs(int(result[18, 40, 0]) - 30) <= 2
    assert (result[alpha == 1] == 250).all()


def test_the_blur_takes_detail_away() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    result = compose(noise, np.zeros((96, 96)), "blur")
    assert result.std() < 0.2 * noise.std()
    assert cv2.Laplacian(result, cv2.CV_32F).std() < 2


def test_backgrounds_that_are_none() -> None:
    nothing = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2))
    with pytest.raises(ValueError, match="a colour such as"):
        compose(*nothing, "whiet")
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        compose(*nothing, "gone.jpg")


def test_torch_keeps_its_number_of_threads() -> None:
    """Numba, left alone, gives it one for every core."""
    script = """
import numpy as np, torch
from modnet_lib.inference.edges import clean_foreground
clean_foreground(np.full((8, 8, 3), 9, np.uint8), np.full((8, 8), 0.5, np.float32))
print(torch.get_num_threads())
"""
    one = {name: value for name, value in os.environ.items() if name != "NUMBA_NUM_THREADS"}
    one["OMP_NUM_THREADS"] = "1"
    done = subprocess.run([sys.executable, "-c", script], env=one, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
