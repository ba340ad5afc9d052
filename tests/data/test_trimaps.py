"""Trimaps against scipy's grey morphology, and the band along hair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from modnet_lib.data.trimaps import band_size, trimap_from_alpha, trimap_from_mask
from modnet_lib.regions import dilate, transition_region


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 10, 31])
def test_morphology_equals_scipys(size: int) -> None:
    x = np.random.default_rng(size).random((2, 23, 17)).astype(np.float32)
    ours = dilate(torch.from_numpy(x)[:, None], size)[:, 0].numpy()
    shrunk = -dilate(-torch.from_numpy(x)[:, None], size)[:, 0].numpy()
    for picture, large, small in zip(x, ours, shrunk, strict=True):
        # Our window of an even side reaches further up and left, for either operation. So does scipy's
        # erosion; its dilation reflects the square first, and origin -1 undoes that. What lies outside
        # does not count: the smallest value for a maximum, the largest for a minimum.
        origin = -1 if size % 2 == 0 else 0
        expected = ndimage.grey_dilation(picture, size=(size, size), mode="constant", cval=-np.inf, origin=origin)
        np.testing.assert_array_equal(large, expected)
        expected = ndimage.grey_erosion(picture, size=(size, size), mode="constant", cval=np.inf)
        np.testing.assert_array_equal(small, expected)


@pytest.mark.parametrize("size", [1, 5, 6])
def test_trimap_follows_the_authors_recipe(size: int) -> None:
    alpha = torch.from_numpy(
        np.clip(ndimage.gaussian_filter(np.pad(np.ones((30, 20)), ((18, 0), (20, 20))), 3) * 1.2 - 0.1, 0, 1)
    )[None, None]
    trimap = trimap_from_alpha(alpha, size)
    picture = alpha[0, 0].numpy()
    grown = dilate((alpha > 0).double(), size)[0, 0].numpy() > 0
    kept = dilate((alpha < 0.9).double(), size)[0, 0].numpy() == 0
    expected = np.where(kept, 1.0, np.where(grown, 0.5, 0.0))
    np.testing.assert_array_equal(trimap[0, 0].numpy(), expected)
    assert set(trimap.unique().tolist()) == {0, 0.5, 1}
    # every pixel that is partly transparent is unknown
    assert (expected[(picture > 0) & (picture < 0.9)] == 0.5).all()
    assert trimap[0, 0, -1, 30] == 1  # a person cut by the frame does not get a border there
    torch.testing.assert_close(transition_region(alpha, size), (trimap == 0.5).double())


def test_each_picture_of_a_batch_may_have_its_own_size() -> None:
    alpha = torch.from_numpy(np.random.default_rng(0).random((5, 1, 40, 30)) ** 9).float()
    sizes = [3, 4, 9, 1, 4]
    expected = [trimap_from_alpha(one, size) for one, size in zip(alpha.split(1), sizes, strict=True)]
    assert torch.equal(trimap_from_alpha(alpha, sizes), torch.cat(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nine_tenths_are_foreground_and_anything_above_zero_is_unknown(dtype) -> None:
    alpha = torch.tensor([[0.0, 1e-6, 0.899, 0.9, 1.0]], dtype=dtype)[None, None]
    assert trimap_from_alpha(alpha, 1).flatten().tolist() == [0, 0.5, 0.5, 1, 1]


@pytest.mark.parametrize("size", [0, -1, [3, 0]])
def test_sizes_below_one_pixel_are_refused(size) -> None:
    with pytest.raises(ValueError, match="at least 1 pixel"):
        trimap_from_alpha(torch.zeros(2, 1, 8, 8), size)


def test_empty_and_full_mattes_have_no_unknown_pixels() -> None:
    assert not trimap_from_alpha(torch.zeros(1, 1, 16, 16), 9).any()
    assert (trimap_from_alpha(torch.ones(1, 1, 16, 16), 9) == 1).all()


def test_band_is_in_proportion_to_the_person() -> None:
    def square(extent: int, size: int) -> torch.Tensor:
        alpha = torch.zeros(1, 1, size, size)
        alpha[..., 10 : 10 + extent, 20:30] = 1
        return alpha

    assert band_size(torch.ones(1, 1, 512, 512)) == 30
    assert band_size(square(256, 512)) == 15
    assert band_size(square(256, 1024)) == 15  # the size of the picture does not matter, the person's does
    assert band_size(square(8, 512)) == 3  # never thinner than three pixels
    assert band_size(torch.zeros(1, 1, 256, 512)) == 15  # nobody: the picture's short side
    assert band_size(torch.cat((square(64, 512), square(256, 512)))) == 15


@pytest.fixture
def head() -> tuple[np.ndarray, np.ndarray]:
    """A disc of radius 60, its upper half hair."""
    y, x = np.mgrid[:200, :200]
    mask = np.hypot(y - 100, x - 100) <= 60
    return mask, mask & (y < 100)


def test_trimap_of_a_mask_is_a_band_of_the_given_radius(head) -> None:
    mask, _ = head
    trimap = trimap_from_mask(mask, band=6)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    assert set(np.unique(trimap)) == {0, 0.5, 1}
    # a drawn disc is round only to the pixel
    assert (trimap[(inside > 7) | (outside > 7)] == mask[(inside > 7) | (outside > 7)]).all()
    assert (trimap[((inside > 0) & (inside < 5)) | ((outside > 0) & (outside < 5))] == 0.5).all()


def test_hair_widens_the_band_along_hair_only(head) -> None:
    mask, hair = head
    narrow, wide = trimap_from_mask(mask, band=4), trimap_from_mask(mask, hair, band=4, hair_band=16)
    outside = ndimage.distance_transform_edt(~mask)
    y = np.mgrid[:200, :200][0]
    above, below = (y < 90) & (outside > 6) & (outside < 14), y > 125
    assert (wide[above] == 0.5).all()
    assert (narrow[above] == 0).all()
    np.testing.assert_array_equal(wide[below], narrow[below])
    # nothing that was unknown becomes known, and no skin becomes unknown beyond the narrow band
    assert (wide[narrow == 0.5] == 0.5).all()
    assert (wide[mask & ~hair] == narrow[mask & ~hair]).all()
    # inside, hair further than half the wide band from the border stays certain
    assert (wide[ndimage.distance_transform_edt(mask) > 9] == 1).all()


def test_hair_inside_the_person_widens_nothing(head) -> None:
    mask, _ = head
    y, x = np.mgrid[:200, :200]
    fringe = np.hypot(y - 100, x - 100) < 20
    np.testing.assert_array_equal(trimap_from_mask(mask, fringe), trimap_from_mask(mask))
    np.testing.assert_array_equal(trimap_from_mask(mask, np.zeros_like(mask)), trimap_from_mask(mask))


def test_masks_and_radii_that_do_not_fit_are_refused(head) -> None:
    mask, hair = head
    with pytest.raises(ValueError, match=r"\(200,200\) \(100,200\)"):
        trimap_from_mask(mask, hair[:100])
