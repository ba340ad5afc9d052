"""Degraded pictures are what they say, and calibration is that of a hand-made case."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from modnet_lib.data.readers import Labelled
from modnet_lib.evaluation.robustness import LEVELS, calibration, degrade, degraded


@pytest.fixture
def picture() -> Labelled:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.random((300, 400, 3)), (3, 3, 0))
    image = (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)
    alpha = np.zeros((300, 400), np.uint8)
    alpha[50:200, 100:250] = 255
    return Labelled(image, alpha, {"held": "1"})


@pytest.mark.parametrize("kind", LEVELS)
def test_a_stronger_level_is_further_from_the_picture(picture, kind) -> None:
    distances = [np.abs(degrade(picture, kind, v).image.astype(int) - picture.image).mean() for v in LEVELS[kind]]
    assert distances[0] > 0
    if kind != "rotation":
        assert distances == sorted(distances)
    for level in LEVELS[kind]:
        worse = degrade(picture, kind, level)
        assert (worse.image.shape, worse.image.dtype) == (picture.image.shape, np.uint8)
        assert worse.strata == picture.strata
        if kind != "rotation":
            np.testing.assert_array_equal(worse.alpha, picture.alpha)
        again = degrade(picture, kind, level)
        np.testing.assert_array_equal(worse.image, again.image)


def test_jpeg_and_noise_by_hand(picture) -> None:
    file = io.BytesIO()
    Image.fromarray(picture.image).save(file, "JPEG", quality=20)
    np.testing.assert_array_equal(degrade(picture, "jpeg", 20).image, np.asarray(Image.open(file)))
    grey = Labelled(np.full((200, 200, 3), 128, np.uint8), picture.alpha, {})
    assert degrade(grey, "noise", 25).image.std() == pytest.approx(25, rel=0.02)


def test_the_matte_turns_with_the_picture(picture) -> None:
    both = Labelled(np.repeat(picture.alpha[..., None], 3, axis=2), picture.alpha, {})
    for degrees in (15, 45, 90, 180):
        turned = degrade(both, "rotation", degrees)
        np.testing.assert_array_equal(turned.image[..., 0], turned.alpha)
    np.testing.assert_array_equal(degrade(both, "rotation", 180).alpha, picture.alpha[::-1, ::-1])
    square = Labelled(both.image[:300, :300], both.alpha[:300, :300], {})
    np.testing.assert_array_equal(degrade(square, "rotation", 90).alpha, np.rot90(square.alpha))
    # an independent implementation, away from the border
    expected = ndimage.rotate(picture.alpha, 15, reshape=False, order=1)
    difference = np.abs(degrade(both, "rotation", 15).alpha.astype(int) - expected)[60:240, 60:340]
    assert difference.mean() < 2


def test_readers_are_degraded_when_they_are_read(picture) -> None:
    readers = degraded({"a": lambda: picture}, "blur", 8)
    np.testing.assert_array_equal(readers["a"]().image, degrade(picture, "blur", 8).image)
    with pytest.raises(ValueError, match="resolution"):
        degrade(picture, "rain", 1)


def test_calibration_by_hand() -> None:
    predicted = np.array([[0.0, 0.05, 0.3, 0.3], [0.95, 1.0, 1.0, 0.3]])
    true = np.array([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.5, 0.2]])
    found = calibration([(predicted[:1], true[:1]), (predicted[1:], true[1:])], bins=10)
    np.testing.assert_allclose(np.array(found["share"])[[0, 3, 9]], [2 / 8, 3 / 8, 3 / 8])
    np.testing.assert_allclose(np.array(found["predicted"])[[0, 3, 9]], [0.025, 0.3, 2.95 / 3])
    np.testing.assert_allclose(np.array(found["true"])[[0, 3, 9]], [0, 0.4, 2.5 / 3])
    expected = (2 * 0.025 + 3 * 0.1 + 3 * (0.45 / 3)) / 8
    assert found["error"] == pytest.approx(expected)
    rng = np.random.default_rng(1)
    honest = rng.random((200, 200))
    coin = (rng.random((200, 200)) < honest).astype(float)
    assert calibration([(honest, coin)])["error"] < 0.02
