"""A worse camera: each setting does what it says, repeats, and leaves the matte alone."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from modnet_lib.data.assemble import GOOD, assemble, camera_settings, collate, through_camera
from modnet_lib.data.dataset import CompositionDataset
from modnet_lib.profiles import DataConfig

AUGMENTED = DataConfig(framing="person", flip=0.5, colour=1.0, empty=0.02, defocus=0.35)


def settings(blur=0.0, noise=0.0, grain=1, quality=0, seed=7) -> torch.Tensor:
    return torch.tensor([[blur, noise, grain, quality, seed]])


@pytest.fixture
def picture() -> torch.Tensor:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random((3, 90, 70)), (0, 4, 4))
    return torch.from_numpy(0.3 + 0.4 * (smooth - smooth.min()) / np.ptp(smooth)).float()[None]


def test_a_good_camera_changes_nothing(picture) -> None:
    two = torch.cat([picture, picture])
    assert torch.equal(through_camera(two, torch.from_numpy(np.stack([GOOD, GOOD]))), two)
    mixed = torch.cat([torch.from_numpy(GOOD)[None], settings(noise=0.1)])
    shot = through_camera(two, mixed)
    assert torch.equal(shot[0], two[0])
    assert not torch.equal(shot[1], two[1])


def test_noise_has_its_deviation_and_its_grain() -> None:
    grey = torch.full((1, 3, 200, 200), 0.5)
    shots = {grain: through_camera(grey, settings(noise=0.05, grain=grain)) - 0.5 for grain in (1, 2)}
    for shot in shots.values():
        assert shot.std() == pytest.approx(0.05, rel=0.01)
        assert abs(shot.mean()) < 0.002
    along = {
        g: torch.corrcoef(torch.stack([s[..., 1:].flatten(), s[..., :-1].flatten()]))[0, 1] for g, s in shots.items()
    }
    assert abs(along[1]) < 0.02, "neighbours are independent"
    assert along[2] > 0.4, "coarse grain: neighbours are alike"
    assert torch.equal(*(through_camera(grey, settings(noise=0.05)) for _ in range(2)))
    assert not torch.equal(*(through_camera(grey, settings(noise=0.05, seed=s)) for s in (1, 2)))


def test_blur_equals_scipy(picture) -> None:
    ours = through_camera(picture, settings(blur=1.5))[0, 1, 8:-8, 8:-8]
    expected = ndimage.gaussian_filter(picture[0, 1].numpy(), 1.5)[8:-8, 8:-8]
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-3)


def test_jpeg_is_as_bad_as_pillows(picture) -> None:
    pixels = (picture[0].permute(1, 2, 0) * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=20)
    expected = np.asarray(Image.open(file)).astype(float) - pixels
    ours = through_camera(picture, settings(quality=20))[0].permute(1, 2, 0).numpy() * 255 - pixels
    assert ours.std() == pytest.approx(expected.std(), rel=0.1)
    assert ours.std() > 0.5


def test_drawn_cameras_stay_within_their_ranges() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([camera_settings(rng, 512) for _ in range(2000)])
    assert 10**-0.5 <= drawn[drawn[:, 0] > 0, 0].min() < drawn[:, 0].max() <= 10**0.7
    assert 10**-2.2 <= drawn[drawn[:, 1] > 0, 1].min() < drawn[:, 1].max() <= 10**-0.8
    assert set(drawn[:, 2]) == {1, 2}
    assert drawn[drawn[:, 3] > 0, 3].min() >= 15
    assert (drawn[:, 1] > 0).mean() == pytest.approx(0.7, abs=0.04)
    rng = np.random.default_rng(0)
    assert np.stack([camera_settings(rng, 256) for _ in range(2000)])[:, 0].max() <= 10**0.7 / 2, "blur is relative"


def test_only_the_picture_changes_in_training(make_sample) -> None:
    people, scenes = [make_sample], [lambda: np.full((64, 64, 3), 90, np.uint8)]
    good, worse = (CompositionDataset(people, scenes, 3, replace(AUGMENTED, camera=share)) for share in (0.0, 1.0))
    first, second = (assemble(collate([data[n, 64] for n in range(6)])) for data in (good, worse))
    for name in ("true_alpha", "trimap", "foreground", "background"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    changed = (first.image - second.image).abs().amax(dim=(1, 2, 3))
    assert (changed > 0).float().mean() > 0.6
    assert second.image.min() >= 0
    assert second.image.max() <= 1
