"""SPM-100, SPM-shift and SPM-video: balanced, exact, and the same wherever they are made."""

from __future__ import annotations

import csv
from collections import Counter

import cv2
import numpy as np
import pytest

from drawn_spm import other_camera, photograph, subjects, write_spm100, write_spm_shift, write_spm_video
from modnet_lib.data.items import check
from modnet_lib.images import read_image


def test_the_three_factors_are_balanced() -> None:
    all_of_them = subjects()
    cells = Counter((s.whole_body, s.blurred_background, s.held_object) for s in all_of_them)
    assert len(cells) == 8
    assert set(cells.values()) == {12, 13}
    for start in (0, 8, 40):
        assert len({s[2:5] for s in all_of_them[start : start + 8]}) == 8
    assert len({s.seed for s in all_of_them}) == len({s.id for s in all_of_them}) == 100
    assert {s.held == "none" for s in all_of_them if s.held_object} == {False}
    # no hair kind belongs to one cell only, or a stratum would measure hair
    for factor in range(2, 5):
        for value in (False, True):
            assert len({s.hair for s in all_of_them if s[factor] is value}) >= 9
    for whole, blurred in {(s.whole_body, s.blurred_background) for s in all_of_them}:
        same = [s.held for s in all_of_them if (s[2], s[3]) == (whole, blurred) and s.held_object]
        assert len(set(same)) >= 10  # nor a held thing
    assert subjects(12) == all_of_them[:12]
    with pytest.raises(ValueError, match="asked for 101"):
        subjects(101)


def test_pictures_are_what_their_strata_say() -> None:
    def sharpness(image: np.ndarray, alpha: np.ndarray) -> float:
        background = cv2.erode((alpha == 0).astype(np.uint8), np.ones((5, 5))) > 0
        blurred = cv2.GaussianBlur(image, (0, 0), 1.0)  # grain is not sharpness
        return float(np.abs(cv2.Laplacian(blurred, cv2.CV_32F))[background].mean())

    blurrier = []
    for subject in subjects(16):
        image, alpha = photograph(subject, 192)
        # a whole body stands clear of the lower edge, a half body is cut by it
        assert bool(alpha[-1].max() > 0.5) != subject.whole_body
        other, _ = photograph(subject._replace(blurred_background=not subject.blurred_background), 192)
        pair = sharpness(image, alpha), sharpness(other, alpha)
        blurrier.append(pair[0] < 0.9 * pair[1] if subject.blurred_background else 0.9 * pair[0] > pair[1])
    assert sum(blurrier) >= 12  # a studio wall is smooth either way


def test_a_held_object_changes_only_its_surroundings() -> None:
    subject = next(s for s in subjects() if s.held_object and not s.whole_body)
    held, alpha = photograph(subject, 128)
    without, _ = photograph(subject._replace(held="none"), 128)
    assert not np.array_equal(held, without)
    outside = alpha == 0
    assert outside.any()


def test_shake_moves_the_matte_with_the_person() -> None:
    # a white person on black: after any camera, what is bright is what the matte says, up to its tone curve
    alpha = np.zeros((256, 256), np.float32)
    alpha[80:, 80:176] = 1
    image = np.repeat((alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
    shaken = 0
    for seed in range(6):
        shot, matte = other_camera(image, alpha, np.random.default_rng(seed))
        assert (shot.shape, shot.dtype) == (image.shape, np.uint8)
        assert 0 <= matte.min() <= matte.max() <= 1
        assert matte.sum() == pytest.approx(alpha.sum(), rel=0.03)  # a shake spreads light, it makes none
        half = np.abs(matte - 0.5) < 0.2
        level = shot[matte > 0.99].mean()
        # half of the light is 0.5 ** (1 / 2.2) = 73 % of the stored value
        if half.sum() > 20:
            shaken += 1
            assert shot[half].mean() / level == pytest.approx(0.73, abs=0.15)
    assert shaken >= 3  # the matte has soft edges where the picture has


def test_benchmarks_lie_in_ppm_100s_layout_and_go_on_where_they_were_cut(tmp_path) -> None:
    images = write_spm100(tmp_path / "a", 64, 3)
    assert [f.relative_to(tmp_path).as_posix() for f in images] == [f"a/image/spm_00{i}.jpg" for i in range(3)]
    with (tmp_path / "a" / "strata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f.stem for f in images]
    assert rows[1]["held_object"] == "1"
    for subject, file in zip(subjects(3), images, strict=True):
        image, alpha = photograph(subject, 64)
        matte = read_image(tmp_path / "a" / "matte" / f"{file.stem}.png")[..., 0]
        assert np.abs(matte / 255 - alpha).max() <= 0.5 / 255 + 1e-6
        assert np.abs(read_image(file).astype(int) - image).mean() < 6  # JPEG

    first = images[0].stat().st_mtime_ns
    (tmp_path / "a" / "matte" / "spm_001.png").unlink()
    again = write_spm100(tmp_path / "a", 64, 4)
    assert len(again) == 4
    assert images[0].stat().st_mtime_ns == first
    assert (tmp_path / "a" / "matte" / "spm_001.png").is_file()

    report = check("spm100", tmp_path / "a")
    assert report.fine == 4
    assert [p for p in report.problems if "are published" not in p] == []

    shifted = write_spm_shift(tmp_path / "b", 64, 2)
    assert np.abs(read_image(shifted[0]).astype(int) - read_image(images[0])).mean() > 3


def test_a_clip_has_a_matte_for_every_frame(tmp_path) -> None:
    images = write_spm_video(tmp_path, 64, clips=2, frames=3)
    assert len(images) == 6
    for file in images:
        matte = tmp_path / "matte" / file.relative_to(tmp_path / "image").with_suffix(".png")
        assert read_image(matte).shape == read_image(file).shape
    clips = {file.parent.name for file in images}
    assert len(clips) == 2
    first, second = images[0], images[-1]
    before = first.stat().st_mtime_ns, second.stat().st_mtime_ns
    (tmp_path / "matte" / second.parent.name / "0002.png").unlink()  # cut before its last frame
    assert write_spm_video(tmp_path, 64, clips=2, frames=3) == images
    assert first.stat().st_mtime_ns == before[0]
    assert second.stat().st_mtime_ns != before[1]
