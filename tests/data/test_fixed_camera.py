"""The camera stands still: what changes is the person and, for a third of the time, the car."""

from __future__ import annotations

import numpy as np
import pytest

from modnet_lib.data.fixed_camera import background_difference, clean_plate, draw_car, passing_car

SIZE, FRAMES = 96, 6


@pytest.fixture(scope="module")
def clip():
    return list(passing_car(5, SIZE, FRAMES))


def test_only_the_car_and_grain_differ_from_the_plate_outside_the_person(clip):
    plate = clean_plate(5, SIZE).astype(float)
    for frame in clip:
        away = (frame.alpha == 0) & ~frame.car
        assert np.abs(frame.image - plate)[away].max() < 15
        if frame.car.any():
            assert np.abs(frame.image - plate)[frame.car & (frame.alpha == 0)].mean() > 20


def test_the_car_is_there_for_the_middle_third(clip):
    assert [bool(frame.car.any()) for frame in clip] == [False, False, True, True, False, False]
    assert all((frame.alpha[frame.car] < 1).all() for frame in clip)


def test_a_car_moves_by_what_it_is_told(clip):
    street = np.zeros((SIZE, SIZE, 3), np.uint8)
    first, second = draw_car(street, 0.1), draw_car(street, 0.1 + 8 / SIZE)
    np.testing.assert_array_equal(first[:, :-8], second[:, 8:])
    np.testing.assert_array_equal(draw_car(street, -2), street)


def test_difference_is_zero_at_home_and_one_far_away():
    plate = np.full((9, 9, 3), 100, np.uint8)
    image = plate.copy()
    image[3:, :, 1] = 126  # half way from 12 to 40
    image[6:, :, 2] = 200
    alpha = background_difference(image, plate)
    np.testing.assert_allclose(alpha[[0, 4, 8]].mean(axis=1), [0, 0.5, 1])
