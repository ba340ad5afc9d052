"""Injected flicker is where it says, filters do what their definitions say, and the measures have closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from modnet_lib.evaluation import flicker


def disc(frames: int = 7, size: int = 48) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    matte = np.clip(14 - np.hypot(y - size / 2, x - size / 2), 0, 1).astype(np.float32)
    return np.repeat(matte[None], frames, axis=0)


def test_true_flicker_is_wrong_once_and_right_around_it():
    truth = np.zeros((5, 1, 4), np.float32)
    prediction = truth.copy()
    prediction[2, 0, 0] = 0.5  # once
    prediction[2:4, 0, 1] = 0.5  # twice
    prediction[0, 0, 2] = prediction[4, 0, 2] = 0.5  # at the ends
    prediction[1, 0, 3] = 0.05  # hardly
    assert np.argwhere(flicker.true_flicker(prediction, truth)).tolist() == [[2, 0, 0]]


@pytest.mark.parametrize("frames", [1, 2])
def test_injected_flicker_is_seen_and_lasts(frames):
    truth = disc()
    mattes, where = flicker.inject_flicker(truth, 3, frames=frames)
    assert where.any() and not where[0].any() and not where[-1].any()
    assert mattes.min() >= 0 and mattes.max() <= 1
    np.testing.assert_array_equal(where, np.abs(mattes - truth) > flicker.TOLERANCE)
    lonely = where[1:-1] & ~where[:-2] & ~where[2:]
    assert lonely.any() == (frames == 1)
    again, _ = flicker.inject_flicker(truth, 3, frames=frames)
    np.testing.assert_array_equal(mattes, again)


def test_delay_repairs_a_still_clip_completely():
    truth = disc(3)
    mattes, where = flicker.inject_flicker(truth, 1)
    result = flicker.measure(flicker.delayed(mattes), mattes, truth, where)
    assert result["mad"] < 1e-6 and result["dtssd"] < 1e-4
    assert result["recall"] == 1 and result["left"] < 1e-6 and result["harm"] == 0


def test_filters_by_hand():
    pixel = np.array([0, 0.8, 0.1, 0.2, 0.9], np.float32)[:, None, None]
    np.testing.assert_allclose(flicker.FILTERS["median of 3"](pixel)[:, 0, 0], [0, 0.1, 0.2, 0.2, 0.9])
    np.testing.assert_allclose(flicker.smoothed(pixel)[:, 0, 0], [0, 0.4, 0.25, 0.225, 0.5625], rtol=1e-6)
    np.testing.assert_allclose(flicker.delayed(pixel, 0.15)[:, 0, 0], [0, 0.05, 0.1, 0.2, 0.9])
    np.testing.assert_array_equal(flicker.FILTERS["as it is"](pixel), pixel)


def test_measures_by_hand():
    truth = np.zeros((3, 2, 2), np.float32)
    before, filtered = truth.copy(), truth.copy()
    before[1, 0, 0], before[1, 0, 1] = 0.6, 0.4  # flicker: the first is repaired, the second is not
    filtered[1, 0, 1], filtered[1, 1, 1] = 0.4, 0.2  # and a third pixel is spoilt
    result = flicker.measure(filtered, before, truth, before > 0)
    assert result["mad"] == pytest.approx(0.6 / 12)
    assert (result["precision"], result["recall"]) == (0.5, 0.5)
    assert result["left"] == pytest.approx(0.2) and result["harm"] == pytest.approx(1 / 12)
    assert result["dtssd"] == pytest.approx(100 * np.sqrt((0.4**2 + 0.2**2) / 4))
