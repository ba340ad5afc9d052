"""Eq. 1, colour maps, framing and crops against slow references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.data.compositing import (
    Box,
    Foreground,
    apply_colour,
    background_crop,
    background_versions,
    chain,
    colour_jitter,
    composite,
    crop,
    frame_person,
    harmony,
    outline,
    paste,
    portrait_crop,
    resize,
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


def test_chained_colour_maps_are_one_after_the_other() -> None:
    images = 0.45 + 0.1 * torch.rand(4, 3, 6, 6)
    first, second = (
        torch.from_numpy(np.stack([colour_jitter(np.random.default_rng(i + j), 0.5) for i in range(4)])) for j in (0, 9)
    )
    expected = apply_colour(apply_colour(images, first), second)
    assert 0 < expected.min() < expected.max() < 1
    torch.testing.assert_close(apply_colour(images, chain(second, first)), expected, rtol=0, atol=1e-5)


def test_full_harmony_gives_the_scenes_mean_and_spread() -> None:
    torch.manual_seed(0)
    foreground = 0.3 + 0.2 * torch.rand(3, 3, 128, 128)
    background = 0.45 + 0.25 * torch.rand(3, 3, 128, 128) * torch.tensor([1.0, 0.8, 1.2])[:, None, None]
    alpha = torch.zeros(3, 1, 128, 128)
    alpha[:, :, 32:, 16:100] = 1
    maps = harmony(foreground, background, alpha, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(maps[0], torch.eye(3, 4), rtol=0, atol=1e-6)
    moved = apply_colour(foreground, maps)[:, :, 32:, 16:100].flatten(2)
    was, goal = foreground[:, :, 32:, 16:100].flatten(2).mean(2), background.flatten(2).mean(2)
    for i, share in enumerate((0.0, 0.5, 1.0)):
        expected = was[i] + share * (goal[i] - was[i])
        torch.testing.assert_close(moved[i].mean(1), expected, rtol=0, atol=0.01)
    spreads = [part.flatten(1).std(1) + 0.05 for part in (foreground[2, :, 32:, 16:100], background[2])]
    gain = maps[2][:, :3].diagonal()
    torch.testing.assert_close(gain, spreads[1] / spreads[0], rtol=0.05, atol=0)


def test_nobody_is_not_harmonised_to_nonsense() -> None:
    scene = torch.rand(1, 3, 64, 64)
    maps = harmony(scene, scene, torch.zeros(1, 1, 64, 64), torch.ones(1))
    assert torch.isfinite(maps).all()


def slow_crop(picture: np.ndarray, box: Box, mode: str) -> np.ndarray:
    """At a scale of one: pixel after pixel, with the three ways to continue outside."""
    height, width = picture.shape[:2]

    def inside(i: int, size: int) -> int:
        if mode != "reflect":
            return min(max(i, 0), size - 1)
        while not 0 <= i < size:
            i = -i if i < 0 else 2 * size - 2 - i
        return i

    out = np.zeros((box.side, box.side, picture.shape[2]), picture.dtype)
    for y, x in np.ndindex(box.side, box.side):
        v, u = box.top + y, box.left + x
        out[y, x] = picture[inside(v, height), inside(u, width)]
        if mode == "transparent" and not (0 <= v < height and 0 <= u < width):
            out[y, x, -1] = 0
    return out


@pytest.mark.parametrize(
    "box", [Box(3, 5, 12), Box(-4, -6, 20), Box(10, 18, 16), Box(-5, -3, 44), Box(0, -8, 20), Box(-60, -70, 150)]
)
@pytest.mark.parametrize(("mode", "channels"), [("edge", 3), ("reflect", 4), ("transparent", 4)])
def test_crops_equal_a_loop_over_pixels(box: Box, mode: str, channels: int) -> None:
    picture = np.random.default_rng(0).integers(1, 256, (24, 30, channels), dtype=np.uint8)
    before = picture.copy()
    got = crop(torch.from_numpy(picture), box, box.side, mode == "reflect")
    np.testing.assert_array_equal(got, slow_crop(picture, box, mode))
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("size", [7, 12, 20, 33])
def test_resizing_equals_pillows(size: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    expected = Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR)
    got = resize(torch.from_numpy(picture), size).numpy()
    assert np.abs(got.astype(int) - np.asarray(expected)).max() <= 1


def test_every_size_and_place_gives_a_full_square() -> None:
    rng = np.random.default_rng(2)
    picture = torch.from_numpy(rng.integers(0, 256, (50, 37, 3), dtype=np.uint8))
    for _ in range(300):
        side = int(rng.integers(8, 90))
        box = Box(int(rng.integers(-side + 2, 48)), int(rng.integers(-side + 2, 35)), side)
        size = int(rng.integers(8, 64))
        got = crop(picture, box, size, reflect=True)
        assert got.shape == (size, size, 3)
        assert got.dtype == torch.uint8


def test_an_outline_sums_up_a_matte() -> None:
    alpha = np.random.default_rng(3).integers(0, 256, (40, 30), dtype=np.uint8)
    alpha[:7], alpha[:, :4], alpha[33:], alpha[:, 25:] = 100, 100, 90, 0
    alpha[7, 10], alpha[32, 11], alpha[20, 4], alpha[21, 24] = 255, 255, 255, 255
    person = outline(alpha)
    assert person[:3] == ((40, 30), (7, 33), (4, 25))
    for y in range(40):
        assert person.mass[y] == alpha[y].astype(int).sum()
        assert person.moment[y] == sum(x * int(a) for x, a in enumerate(alpha[y]))
    assert outline(np.full((5, 6), 127, np.uint8))[1:3] == ((0, 0), (0, 0))


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
        box = frame_person(outline(alpha), np.random.default_rng(seed))
        assert box == frame_person(outline(alpha), np.random.default_rng(seed))
        assert 32 <= box.side <= max(32, 3 * tall)
        shown = alpha[max(0, box.top) : box.top + box.side, max(0, box.left) : max(0, box.left + box.side)]
        shares.append((shown > 0).sum() / box.side**2)
        sides.append(box.side)
        if rows[-1] == height - 1 and height >= box.side:  # a cut person stays cut
            assert box.top + box.side <= height
    assert min(shares) > 0
    assert np.median(shares) > 0.1
    if tall > 1.7 * (columns[-1] + 1 - columns[0]) and tall > 200:  # whole bodies, and heads that fill the frame
        assert min(sides) < 0.4 * tall
        assert 0.05 < np.mean(np.array(sides) > 1.6 * tall) < 0.2, "some of them far away"


def test_a_picture_without_a_person_is_cropped_anywhere_inside() -> None:
    boxes = [frame_person(outline(np.zeros((90, 60), np.uint8)), np.random.default_rng(i)) for i in range(100)]
    for box in boxes:
        assert 0 <= box.top <= 90 - box.side
        assert 0 <= box.left <= 60 - box.side
        assert 30 <= box.side <= 60
    assert len(set(boxes)) > 50


def natural(foreground: Foreground, seed: int) -> list[torch.Tensor]:
    return portrait_crop(foreground, 64, np.random.default_rng(seed), natural=True)[0]


@pytest.mark.parametrize("shape", [(96, 96), (140, 80), (60, 130)])
def test_natural_crops_still_obey_eq_1(make_sample, shape) -> None:
    foreground = Foreground.of(make_sample(1, *shape))
    for seed in range(30):
        image, cutout, background = parts = natural(foreground, seed)
        assert image.shape == background.shape == (64, 64, 3)
        assert cutout.shape == (64, 64, 4)
        alpha = cutout[..., 3:] / 255
        composed = alpha * cutout[..., :3] + (1 - alpha) * background
        # resampling and Eq. 1 commute up to rounding where colours are smooth
        assert (composed - image).abs().mean() < 1
        assert all(torch.equal(a, b) for a, b in zip(parts, natural(foreground, seed), strict=True))


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (64, 64)])
def test_natural_crops_never_show_the_person_twice(shape) -> None:
    height, width = shape
    # a person who touches the left, right and lower border, in an otherwise empty picture
    alpha = np.zeros(shape, np.uint8)
    alpha[height // 4 :, :] = 255
    columns = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (*shape, 3)).copy()
    foreground = Foreground.of(MattingSample(columns, alpha, columns, columns))
    for seed in range(60):
        row = natural(foreground, seed)[0][-1, :, 0].int()
        steps = row.diff()
        assert (steps >= 0).all() or (steps <= 0).all(), "columns come back in a reflection"
    # where only background is reflected, a crop may be larger than the picture
    slim = np.zeros((90, 60), np.uint8)
    slim[2:88, 28:32] = 255
    picture = np.dstack([slim] * 3)
    foreground = Foreground.of(MattingSample(picture, slim, picture, picture))
    whole = [natural(foreground, seed)[1] for seed in range(60)]
    assert any((cutout[..., 3] > 127).any(1).sum() > 54 for cutout in whole), "whole bodies stay whole"


def test_crops_for_composites_show_the_framed_person(make_sample) -> None:
    sample = make_sample(2)
    cutout = torch.from_numpy(np.dstack((sample.foreground, sample.alpha)))
    for seed in range(20):
        (part,), extent = portrait_crop(Foreground.of(sample), 64, np.random.default_rng(seed))
        box = frame_person(outline(sample.alpha), np.random.default_rng(seed))
        assert torch.equal(part, crop(cutout, box, 64))
        rows = np.flatnonzero(part[..., 3].numpy().max(axis=1) > 127)
        assert abs(extent - (rows[-1] + 1 - rows[0] if len(rows) else 0)) <= 2


@pytest.mark.parametrize("scene_shape", [(40, 90), (90, 40), (96, 72)])
def test_pasting_is_eq_1_over_a_scene_that_covers(make_sample, scene_shape) -> None:
    sample = make_sample(3, 96, 72)
    scene = np.random.default_rng(0).integers(0, 256, (*scene_shape, 3), dtype=np.uint8)
    got = paste(sample, scene)
    assert (got.shape, got.dtype) == ((96, 72, 3), np.uint8)
    solid, empty = sample.alpha == 255, sample.alpha == 0
    np.testing.assert_array_equal(got[solid], sample.foreground[solid])
    if scene_shape == (96, 72):
        np.testing.assert_array_equal(got[empty], scene[empty])
        alpha = sample.alpha[..., None] / 255
        assert np.abs(alpha * sample.foreground + (1 - alpha) * scene - got).max() <= 0.5 + 1e-4
    grey = paste(sample, np.full((*scene_shape, 3), 77, np.uint8))
    assert (grey[empty] == 77).all()  # no border of another colour


def test_versions_of_a_portrait_differ_in_the_background_only(make_sample) -> None:
    sample = make_sample(3, 96, 72)
    scenes = [np.random.default_rng(i).integers(0, 256, (96, 72, 3), dtype=np.uint8) for i in (0, 1)]
    ways = background_versions(sample, scenes)
    assert [len(images) for images in ways.values()] == [1, 1, 2, 1, 2]
    assert ways["natural"][0] is sample.image
    solid, empty = sample.alpha == 255, sample.alpha == 0
    for way in list(ways)[1:]:
        for image in ways[way]:
            np.testing.assert_array_equal(image[solid], sample.foreground[solid])
    np.testing.assert_array_equal(ways["own scene"][0][empty], sample.background[empty])
    for image, soft, scene in zip(ways["other scenes"], ways["other scenes blurred"], scenes, strict=True):
        np.testing.assert_array_equal(image[empty], scene[empty])
        assert soft[empty].std() < 0.2 * image[empty].std()


@pytest.mark.parametrize("shape", [(40, 90, 3), (200, 16, 3), (8, 8, 3), (64, 64, 3)])
def test_background_crops_come_from_inside(shape) -> None:
    background = torch.from_numpy(np.random.default_rng(0).integers(60, 120, shape, dtype=np.uint8))
    for seed in range(30):
        scene = background_crop(background, 48, np.random.default_rng(seed))
        assert scene.shape == (48, 48, 3)
        assert scene.dtype == torch.uint8
        assert scene.min() >= 60
        assert scene.max() <= 119


def test_defocus_blurs_about_as_much_as_a_gaussian_of_its_width() -> None:
    # a sharp edge becomes an S-curve whose slope tells the standard deviation: peak of its derivative / area
    scene = torch.zeros(256, 256, 3, dtype=torch.uint8)
    scene[:, 128:] = 255
    slopes = []
    for seed in range(40):
        part = background_crop(scene, 256, np.random.default_rng(seed), defocus=1.0)
        profile = part[:, :, 0].float().mean(0).numpy()
        step = np.diff(profile)
        if step.sum() < 250:
            continue
        centre = (step * np.arange(255)).sum() / step.sum()
        slopes.append(np.sqrt((step * (np.arange(255) - centre) ** 2).sum() / step.sum()))
    # sigma is uniform in [0.5, 6] * 256 / 512, plus what enlarging the crop itself adds
    assert 0.5 < np.median(slopes) < 3.2
    assert max(slopes) > 2.2
    sharp = background_crop(scene, 256, np.random.default_rng(1), defocus=0.0)[:, :, 0].float().mean(0)
    assert sharp.diff().max() > 100
