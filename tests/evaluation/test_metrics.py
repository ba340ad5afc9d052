"""Metrics against closed forms and torchmetrics; the protocol at the picture's own size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics import MeanAbsoluteError, MeanSquaredError
from torchmetrics.classification import BinaryJaccardIndex

from modnet_lib.evaluation.benchmark import Record, evaluate, mean_errors
from modnet_lib.evaluation.metrics import METRICS, errors_by_region, iou, mad, mse


@pytest.fixture
def mattes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((37, 53)).astype(np.float32), rng.random((37, 53)).astype(np.float32)


def test_metrics_equal_torchmetrics(mattes) -> None:
    ours = {name: metric(*mattes) for name, metric in METRICS.items()}
    first, second = (torch.from_numpy(m) for m in mattes)
    assert ours["mse"] == pytest.approx(float(MeanSquaredError()(first, second)), rel=1e-5)
    assert ours["mad"] == pytest.approx(float(MeanAbsoluteError()(first, second)), rel=1e-5)
    assert ours["iou"] == pytest.approx(float(BinaryJaccardIndex()(first, (second > 0.5).int())), rel=1e-6)


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


def test_the_protocol_measures_every_picture_at_its_own_size() -> None:
    rng = np.random.default_rng(1)
    shapes, seen = [(31, 17), (600, 20)], []
    truths = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    truths.append(rng.random((9, 8)))
    images = [rng.integers(0, 256, (*t.shape, 3), dtype=np.uint8) for t in truths]

    def alpha(image: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return image[..., 0].astype(np.float32) / 255

    records = evaluate(alpha, ((str(i), *pair) for i, pair in enumerate(zip(images, truths, strict=True))))
    assert [r.name for r in records] == ["0", "1", "2"]
    assert seen == [i.shape for i in images]
    for record, image, truth in zip(records, images, truths, strict=True):
        truth = truth / 255 if truth.dtype == np.uint8 else truth
        assert record.errors["mad"] == pytest.approx(np.abs(image[..., 0] / 255 - truth).mean(), rel=1e-5)
        assert set(record.errors) == {"mse", "mad", "iou"}
    # a mean over pictures, not over pixels
    assert mean_errors(records)["mse"] == pytest.approx(sum(r.errors["mse"] for r in records) / 3)


def test_a_matte_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="ground truth"):
        evaluate(
            lambda _image: np.zeros((512, 512)), [("a", np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8)))]
        )


def test_the_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        mean_errors([])
    assert mean_errors([Record("a", {"mse": 1.0, "mad": 2.0, "iou": 0.5})]) == {
        "mse": 1.0,
        "mad": 2.0,
        "iou": 0.5,
    }


def test_regions_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(3)
    alpha, truth = rng.random((20, 30)), rng.random((20, 30))
    trimap = rng.choice([0.0, 0.5, 1.0], (20, 30))
    parts = errors_by_region(alpha, truth, trimap)
    assert sum(parts.values()) == pytest.approx(mad(alpha, truth))
    expected = sum(
        abs(alpha[i, j] - truth[i, j]) for i in range(20) for j in range(30) if trimap[i, j] == 0.5
    )
    assert parts["band"] == pytest.approx(expected / 600)
    assert errors_by_region(truth, truth, trimap) == {"inside": 0, "band": 0, "outside": 0}
