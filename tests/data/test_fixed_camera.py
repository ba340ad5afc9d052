"""The camera stands still: what changes is the person and, for a third of the time, the car."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from drawn_camera import clean_plate, draw_car, passing_car, write_passing_car
from drawn_files import through_jpeg

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


def test_clips_are_written_with_plate_and_mattes(tmp_path):
    write_passing_car(tmp_path, SIZE, FRAMES, seeds=[5])
    assert len(list((tmp_path / "image" / "car_5").glob("*.jpg"))) == FRAMES
    shot = list(passing_car(5, SIZE, FRAMES))[3]
    stored = np.asarray(Image.open(tmp_path / "matte" / "car_5" / "0003.png"))
    np.testing.assert_array_equal(stored, (shot.alpha * 255).round())
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "car" / "car_5" / "0003.png")), shot.car)
    plate = np.asarray(Image.open(tmp_path / "plate" / "car_5.jpg"))
    np.testing.assert_array_equal(plate, through_jpeg(clean_plate(5, SIZE), 95))
