"""Eq. 1, colour maps, framing and crops against slow references."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from modnet_lib.data.compositing import (
    Box,
    apply_colour,
    background_crop,
    colour_jitter,
    composite,
    composite_crop,
    crop,
    frame_person,
    hang_textile,
    natural_crop,
    wear_cap,
)
from modnet_lib.data.pseudo_mattes import MattingSample


def test_composite_is_eq_1_pixel_by_pixel() -> None:
    foreground, background, alpha = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5), torch.rand(2, 1, 4, 5)
    image = composite(foreground, background, alpha)
    for n, c, y, x in np.ndindex(2, 3, 4, 5):
        a = float(alpha[n, 0, y, x])
        expected = a * float(foreground[n, c, y, x]) + (1 - a) * float(background[n, c, y, x])
        assert float(image[n, c, y, x]) == pytest.approx(expected, abs=1e-6)


def test_colour_maps_commute_with_eq_1() -> None:
    # colours near mid-grey, so that nothing is clamped
    foreground, background = (0.45 + 0.1 * torch.rand(6, 3, 8, 8) for _ in range(2))
    alpha = torch.rand(6, 1, 8, 8)
    maps = torch.from_numpy(np.stack([colour_jitter(np.random.default_rng(i)) for i in range(6)]))
    before = apply_colour(composite(foreground, background, alpha), maps)
    after = composite(apply_colour(foreground, maps), apply_colour(background, maps), alpha)
    assert before.min() > 0
    assert before.max() < 1
    torch.testing.assert_close(before, after, rtol=0, atol=1e-6)


def test_colour_maps_are_applied_as_matrix_and_offset() -> None:
    rng = np.random.default_rng(0)
    images = rng.random((2, 3, 3, 4)).astype(np.float32)
    maps = rng.normal(size=(2, 3, 4)).astype(np.float32)
    got = apply_colour(torch.from_numpy(images), torch.from_numpy(maps)).numpy()
    for n, y, x in np.ndindex(2, 3, 4):
        expected = np.clip(maps[n, :, :3] @ images[n, :, y, x] + maps[n, :, 3], 0, 1)
        np.testing.assert_allclose(got[n, :, y, x], expected, atol=1e-5)


def test_colour_jitter_without_strength_is_the_identity() -> None:
    for seed in range(20):
        matrix = colour_jitter(np.random.default_rng(seed), 0.0)
        np.testing.assert_allclose(matrix, np.eye(3, 4), atol=1e-6)


def test_colour_jitter_is_sometimes_grey_and_keeps_greys_grey_up_to_its_tint() -> None:
    ranks = []
    for seed in range(200):
        matrix = colour_jitter(np.random.default_rng(seed))[:, :3]
        ranks.append(np.linalg.matrix_rank(matrix, tol=1e-3))
        # saturation and hue leave the grey axis alone: what remains of a grey is contrast times tint
        response = matrix @ np.ones(3)
        assert 0 < response.max() / response.min() < 1.12 / 0.88 + 1e-4
    assert ranks.count(1) > 0
    assert ranks.count(3) > 150


def slow_crop(picture: np.ndarray, box: Box, mode: str) -> np.ndarray:
    """At a scale of one: pixel after pixel, with the three ways to continue outside."""
    height, width = picture.shape[:2]

    def inside(i: int, size: int) -> int:
        if mode == "replicate":
            return min(max(i, 0), size - 1)
        while not 0 <= i < size:
            i = -i if i < 0 else 2 * size - 2 - i
        return i

    out = np.zeros((box.side, box.side, *picture.shape[2:]), picture.dtype)
    for y, x in np.ndindex(box.side, box.side):
        v, u = box.top + y, box.left + x
        if mode == "zero" and not (0 <= v < height and 0 <= u < width):
            continue
        out[y, x] = picture[inside(v, height), inside(u, width)]
    return out


@pytest.mark.parametrize(
    "box", [Box(3, 5, 12), Box(-4, -6, 20), Box(10, 18, 16), Box(-5, -3, 44), Box(0, -8, 20)]
)
@pytest.mark.parametrize(
    ("mode", "border"),
    [("replicate", cv2.BORDER_REPLICATE), ("reflect", cv2.BORDER_REFLECT_101), ("zero", cv2.BORDER_CONSTANT)],
)
def test_crops_equal_a_loop_over_pixels(box: Box, mode: str, border: int) -> None:
    picture = np.random.default_rng(0).integers(1, 256, (24, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop(picture, box, box.side, border), slow_crop(picture, box, mode))
    grey = np.ascontiguousarray(picture[..., 0])
    np.testing.assert_array_equal(crop(grey, box, box.side, border), slow_crop(grey, box, mode))


@pytest.mark.parametrize("box", [Box(2, 4, 20), Box(-10, -4, 40), Box(4, 12, 20)])
def test_shrinking_crops_are_means_over_areas(box: Box) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (24, 30), dtype=np.uint8)
    got = crop(picture, box, box.side // 2, cv2.BORDER_CONSTANT)
    full = slow_crop(picture, box, "zero").astype(np.float64)
    expected = full.reshape(box.side // 2, 2, box.side // 2, 2).mean(axis=(1, 3))
    assert np.abs(got - expected).max() <= 0.5


def test_every_size_and_place_gives_a_full_square() -> None:
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 256, (50, 37, 3), dtype=np.uint8)
    for _ in range(300):
        side = int(rng.integers(8, 90))
        box = Box(int(rng.integers(-side + 2, 48)), int(rng.integers(-side + 2, 35)), side)
        size = int(rng.integers(8, 64))
        assert crop(picture, box, size, cv2.BORDER_REFLECT_101).shape == (size, size, 3)


def person(height: int, width: int, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    alpha = np.zeros((height, width), np.uint8)
    alpha[slice(*rows), slice(*columns)] = 255
    return alpha


@pytest.mark.parametrize(
    "alpha",
    [
        person(800, 600, (100, 700), (220, 380)),  # whole body
        person(800, 600, (300, 800), (150, 450)),  # half body, cut by the frame
        person(400, 700, (0, 400), (300, 420)),
        person(64, 64, (10, 50), (20, 40)),
    ],
)
def test_frames_show_the_person(alpha: np.ndarray) -> None:
    height = alpha.shape[0]
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    tall = rows[-1] + 1 - rows[0]
    shares, sides = [], []
    for seed in range(150):
        box = frame_person(alpha, np.random.default_rng(seed))
        assert box == frame_person(alpha, np.random.default_rng(seed))
        assert 32 <= box.side <= max(32, 1.1 * tall * 1.45 + 1)
        shown = alpha[max(0, box.top) : box.top + box.side, max(0, box.left) : max(0, box.left + box.side)]
        shares.append((shown > 0).sum() / box.side**2)
        sides.append(box.side)
        if rows[-1] == height - 1 and height >= box.side:  # a cut person stays cut
            assert box.top + box.side <= height
    assert min(shares) > 0
    assert np.median(shares) > 0.1
    if (
        tall > 1.7 * (columns[-1] + 1 - columns[0]) and tall > 200
    ):  # whole bodies, and heads that fill the frame
        assert min(sides) < 0.4 * tall
        assert max(sides) > tall


def test_a_picture_without_a_person_is_cropped_anywhere_inside() -> None:
    boxes = [frame_person(np.zeros((90, 60), np.uint8), np.random.default_rng(i)) for i in range(100)]
    for box in boxes:
        assert 0 <= box.top <= 90 - box.side
        assert 0 <= box.left <= 60 - box.side
        assert 30 <= box.side <= 60
    assert len(set(boxes)) > 50


@pytest.mark.parametrize("shape", [(96, 96), (140, 80), (60, 130)])
def test_natural_crops_still_obey_eq_1(make_sample, shape) -> None:
    sample = make_sample(1, *shape)
    for seed in range(30):
        part = natural_crop(sample, 64, np.random.default_rng(seed))
        assert part.image.shape == part.foreground.shape == part.background.shape == (64, 64, 3)
        assert part.alpha.shape == (64, 64)
        alpha = part.alpha[..., None] / 255
        composed = alpha * part.foreground + (1 - alpha) * part.background
        # resampling and Eq. 1 commute up to rounding where colours are smooth
        assert np.abs(composed - part.image).mean() < 1
        again = natural_crop(sample, 64, np.random.default_rng(seed))
        assert all(np.array_equal(a, b) for a, b in zip(part, again, strict=True))


def test_composite_crops_take_the_person_and_another_scene(make_sample) -> None:
    sample, scene = make_sample(2), np.full((70, 120, 3), (10, 200, 30), np.uint8)
    for seed in range(20):
        part = composite_crop(sample, scene, 64, np.random.default_rng(seed))
        assert (part.background == (10, 200, 30)).all()
        assert not part.image.any()
        rng = np.random.default_rng(seed)
        rng.random()  # whether there is a cap is drawn first
        box = frame_person(sample.alpha, rng)
        np.testing.assert_array_equal(part.alpha, crop(sample.alpha, box, 64, cv2.BORDER_CONSTANT))
        np.testing.assert_array_equal(part.foreground, crop(sample.foreground, box, 64, cv2.BORDER_REPLICATE))


@pytest.mark.parametrize("shape", [(40, 90, 3), (200, 16, 3), (8, 8, 3), (64, 64, 3)])
def test_background_crops_come_from_inside(shape) -> None:
    background = np.random.default_rng(0).integers(60, 120, shape, dtype=np.uint8)
    for seed in range(30):
        scene = background_crop(background, 48, np.random.default_rng(seed))
        assert scene.shape == (48, 48, 3)
        assert scene.dtype == np.uint8
        assert scene.min() >= 60
        assert scene.max() <= 119


def test_textiles_hang_in_front_of_the_scene_only() -> None:
    scene = np.full((96, 96, 3), 128, np.uint8)
    shares = []
    for seed in range(20):
        hung = hang_textile(scene, np.random.default_rng(seed))
        assert (hung.shape, hung.dtype) == (scene.shape, np.uint8)
        np.testing.assert_array_equal(hung, hang_textile(scene, np.random.default_rng(seed)))
        shares.append((hung != scene).any(axis=2).mean())
    assert (scene == 128).all()
    assert min(shares) > 0.03
    assert np.median(shares) < 0.7  # most of them leave some of the scene to be seen


def test_textiles_never_cover_the_person(make_sample) -> None:
    sample, scene = make_sample(2), np.full((70, 120, 3), (10, 200, 30), np.uint8)
    plain = composite_crop(sample, scene, 64, np.random.default_rng(1))
    hung = composite_crop(sample, scene, 64, np.random.default_rng(1), textiles=1.0)
    np.testing.assert_array_equal(hung.alpha, plain.alpha)
    np.testing.assert_array_equal(hung.foreground, plain.foreground)
    assert (hung.background != plain.background).any()


def test_a_cap_sits_on_the_head_of_a_standing_person() -> None:
    height, width = 330, 160
    alpha = np.zeros((height, width), np.uint8)
    cv2.rectangle(alpha, (50, 70), (110, 319), 255, -1)
    cv2.ellipse(alpha, (80, 60), (14, 20), 0, 0, 360, 255, -1)
    grey = np.full((height, width, 3), 90, np.uint8)
    sample = MattingSample(grey, alpha, grey, grey)
    for seed in range(12):
        capped = wear_cap(sample, np.random.default_rng(seed))
        new = (capped.alpha > alpha) | (capped.foreground != sample.foreground).any(axis=2)
        rows, columns = np.nonzero(new)
        assert len(rows) > 100
        assert rows.max() < 90  # nothing below the head
        assert abs(columns.mean() - 80) < 3
        assert (capped.alpha >= alpha).all()
        np.testing.assert_array_equal(capped.background, sample.background)
    assert not (alpha[:38] > 0).any()
    assert (sample.foreground == 90).all()


def test_pictures_without_a_whole_body_get_no_cap(make_sample) -> None:
    sample = make_sample(2)
    wide = sample._replace(alpha=np.full_like(sample.alpha, 255))
    for picture in (wide, sample._replace(alpha=np.zeros_like(sample.alpha))):
        assert wear_cap(picture, np.random.default_rng(0)) is picture
