"""Metrics against closed forms, published fixtures, other libraries, and a slow obvious version of each."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchmetrics import MeanAbsoluteError, MeanSquaredError
from torchmetrics.classification import BinaryJaccardIndex

from modnet_lib.evaluation.metrics import METRICS, conn, dtssd, errors_by_region, grad, iou, mad, mse, sad

STILL = ("mse", "mad", "sad", "grad", "conn")


@pytest.fixture
def mattes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((37, 53)).astype(np.float32), rng.random((37, 53)).astype(np.float32)


def hostile() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs on which implementations fail: constants, specks, ties, holes, stripes, one row."""
    rng = np.random.default_rng(1)
    disc = (np.hypot(*np.mgrid[-20:21, -24:25]) < 15).astype(float)
    holes = disc * (rng.random(disc.shape) > 0.2)
    stripes = np.tile([1.0, 0.0], (30, 12))
    soft = ndimage.gaussian_filter(disc, 3)
    eighths = rng.integers(0, 256, (20, 31)) / 255
    return {
        "black": (np.zeros_like(disc), disc),
        "white": (np.ones_like(disc), disc),
        "holes": (holes, disc),
        "stripes": (stripes, 1 - stripes),
        "soft": (soft, disc),
        "two people": (np.hstack([disc, disc]), np.hstack([disc, soft])),
        "8 bit": (eighths, np.roll(eighths, 1, axis=0)),
        "one row": (rng.random((1, 40)), rng.random((1, 40))),
    }


def test_metrics_equal_torchmetrics(mattes) -> None:
    ours = {name: metric(*mattes) for name, metric in METRICS.items()}
    first, second = (torch.from_numpy(m) for m in mattes)
    assert ours["mse"] == pytest.approx(float(MeanSquaredError()(first, second)), rel=1e-5)
    assert ours["mad"] == pytest.approx(float(MeanAbsoluteError()(first, second)), rel=1e-5)
    assert ours["sad"] == pytest.approx(ours["mad"] * first.numel() / 1000)
    assert ours["iou"] == pytest.approx(float(BinaryJaccardIndex()(first, (second > 0.5).int())), rel=1e-6)


def test_the_fixture_of_mmagic() -> None:
    """Numbers that another library's tests state for these mattes (field convention: pixels / 1000)."""
    prediction, truth, trimap = np.zeros((32, 32)), np.ones((32, 32)), np.zeros((32, 32), np.uint8)
    trimap[:16, :16], trimap[16:, 16:] = 128, 255
    prediction[16:, 16:] = 1
    unknown = trimap == 128
    assert sad(prediction, truth) == pytest.approx(0.768)
    assert mse(prediction, truth, unknown) == 1
    assert grad(prediction, truth, unknown) == pytest.approx(0.0028887, rel=1e-4)
    assert conn(prediction, truth, unknown) == pytest.approx(0.256)


def test_metrics_by_hand() -> None:
    truth = np.array([[1.0, 1.0, 0.0, 0.0]])
    matte = np.array([[1.0, 0.4, 0.6, 0.0]])
    assert mse(matte, truth) == pytest.approx((0.6**2 + 0.6**2) / 4)
    assert mad(matte, truth) == pytest.approx((0.6 + 0.6) / 4)
    assert iou(matte, truth) == pytest.approx(1 / 3)
    nothing = np.zeros((2, 2))
    assert (mse(nothing, nothing), mad(nothing, nothing), iou(nothing, nothing)) == (0, 0, 1)
    assert iou(nothing, nothing + 1) == 0


def test_single_precision_does_not_accumulate_errors() -> None:
    truth = np.zeros((3000, 3000), np.float32)
    assert mad(truth + np.float32(0.1), truth) == pytest.approx(float(np.float32(0.1)), rel=1e-9)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_shapes_must_agree(metric) -> None:
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(5, 4\)"):
        metric(np.zeros((4, 5)), np.zeros((5, 4)))


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("bad", [np.nan, -0.01, 1.01, np.inf])
def test_values_must_be_mattes(metric, bad) -> None:
    fine, broken = np.full((4, 5), 0.5), np.full((4, 5), 0.5)
    broken[2, 2] = bad
    with pytest.raises(ValueError, match="matte must be finite"):
        metric(broken, fine)
    with pytest.raises(ValueError, match="truth must be finite"):
        metric(fine, broken)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_region_must_be_a_mask_with_pixels(metric) -> None:
    matte = np.full((4, 5), 0.5)
    with pytest.raises(ValueError, match="bool"):
        metric(matte, matte, np.ones((4, 5)))
    with pytest.raises(ValueError, match="empty"):
        metric(matte, matte, np.zeros((4, 5), bool))
    with pytest.raises(ValueError, match="region must be"):
        metric(matte, matte, np.ones((5, 4), bool))


@pytest.mark.parametrize("name", STILL)
@pytest.mark.parametrize("case", hostile())
def test_a_sum_over_regions_is_the_whole(name, case) -> None:
    prediction, truth = hostile()[case]
    region = np.random.default_rng(2).random(truth.shape) > 0.4
    parts = [METRICS[name](prediction, truth, mask) for mask in (region, ~region)]
    if name in ("mse", "mad"):
        parts = [part * mask.mean() for part, mask in zip(parts, (region, ~region), strict=True)]
    assert sum(parts) == pytest.approx(METRICS[name](prediction, truth), rel=1e-9)
    assert METRICS[name](truth, truth) == 0


def slow_grad(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Pixel by pixel, from the formula; scipy stretches nothing, so this does."""
    offsets = range(-4, 5)
    kernel = np.array([[-j * math.exp(-(i * i + j * j) / (2 * 1.4**2)) for j in offsets] for i in offsets])
    kernel /= math.sqrt((kernel**2).sum())

    def magnitude(matte: np.ndarray) -> np.ndarray:
        spread = matte.max() - matte.min()
        matte = (matte - matte.min()) / spread if spread else matte * 0
        parts = [ndimage.correlate(matte, k, mode="nearest") for k in (kernel, kernel.T)]
        return np.sqrt(parts[0] ** 2 + parts[1] ** 2)

    return float(((magnitude(prediction) - magnitude(truth)) ** 2).sum() / 1000)


def largest_by_flooding(mask: np.ndarray) -> set[tuple[int, int]]:
    left, best = {(int(y), int(x)) for y, x in np.argwhere(mask)}, set()
    for start in sorted(left):
        if start not in left:
            continue
        left.discard(start)
        component, queue = {start}, deque([start])
        while queue:
            y, x = queue.popleft()
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.discard(near)
                    component.add(near)
                    queue.append(near)
        best = component if len(component) > len(best) else best
    return best


def slow_conn(prediction: np.ndarray, truth: np.ndarray) -> float:
    """The definition, one pixel at a time: the last threshold at which it belongs to the source."""
    thresholds = [step * 0.1 for step in range(11)]
    sources = [largest_by_flooding((prediction >= t) & (truth >= t)) for t in thresholds[1:]]
    total = 0.0
    for pixel in np.ndindex(*truth.shape):
        level = 0
        while level < 10 and pixel in sources[level]:
            level += 1
        degrees = []
        for matte in (prediction, truth):
            distance = matte[pixel] - (1.0 if level == 10 else thresholds[level])
            degrees.append(1 - distance if distance >= 0.15 else 1.0)
        total += abs(degrees[0] - degrees[1])
    return total / 1000


@pytest.mark.parametrize("case", hostile())
def test_grad_and_conn_equal_their_slow_versions(case) -> None:
    prediction, truth = hostile()[case]
    assert grad(prediction, truth) == pytest.approx(slow_grad(prediction, truth), rel=1e-9, abs=1e-12)
    assert conn(prediction, truth) == pytest.approx(slow_conn(prediction, truth), rel=1e-9, abs=1e-12)


def test_a_black_matte_is_as_wrong_as_the_person_is_large() -> None:
    black, disc = hostile()["black"]
    assert conn(black, disc) == pytest.approx(disc.sum() / 1000)


def test_a_cut_off_piece_costs_connectivity_and_not_more_than_its_pixels() -> None:
    truth = np.zeros((20, 30))
    truth[5:15, 3:27] = 1
    cut = truth.copy()
    cut[:, 20] = 0  # one column is missing: what lies behind it is no longer connected
    assert sad(cut, truth) == pytest.approx(10 / 1000)
    # behind the cut both mattes are equally disconnected; only the column itself differs
    assert conn(cut, truth) == pytest.approx(10 / 1000)
    faint = np.where(cut > 0, cut, truth * 0.5)  # half of alpha in the cut: connected up to 0.5
    assert conn(faint, truth) < conn(cut, truth)


def test_grad_does_not_see_a_constant_shift() -> None:
    rng = np.random.default_rng(4)
    truth = rng.random((20, 20)) * 0.5
    assert grad(truth + 0.3, truth) == pytest.approx(0, abs=1e-12)
    assert mad(truth + 0.3, truth) == pytest.approx(0.3)


def test_dtssd_by_hand() -> None:
    truth = np.zeros((3, 2, 2))
    flicker = truth.copy()
    flicker[1, 0, 0] = 0.6  # on and off again: 0.6 in one pixel of four, twice
    assert dtssd(flicker, truth) == pytest.approx(100 * math.sqrt(0.6**2 / 4))
    assert dtssd(truth + 0.4, truth) == 0, "a constant error does not flicker"
    still = np.zeros((2, 2), bool)
    still[1, 1] = True
    assert dtssd(flicker, truth, still) == 0
    growing = np.stack([np.full((2, 2), v) for v in (0.0, 0.2, 0.6)])
    assert dtssd(growing, truth) == pytest.approx(100 * (0.2 + 0.4) / 2)
    with pytest.raises(ValueError, match="neighbouring"):
        dtssd(truth[:1], truth[:1])
    with pytest.raises(ValueError, match="3 dimensions"):
        dtssd(truth[0], truth[0])


def test_regions_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(3)
    alpha, truth = rng.random((20, 30)), rng.random((20, 30))
    trimap = rng.choice([0.0, 0.5, 1.0], (20, 30))
    parts = errors_by_region(alpha, truth, trimap)
    assert sum(parts.values()) == pytest.approx(mad(alpha, truth))
    expected = sum(abs(alpha[i, j] - truth[i, j]) for i in range(20) for j in range(30) if trimap[i, j] == 0.5)
    assert parts["band"] == pytest.approx(expected / 600)
    assert errors_by_region(truth, truth, trimap) == {"inside": 0, "band": 0, "outside": 0}
