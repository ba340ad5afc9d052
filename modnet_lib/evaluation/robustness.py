"""How a model reacts to worse cameras and other protocols, and whether its alpha is calibrated."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

from modnet_lib.data.readers import Labelled, Reader
from modnet_lib.evaluation.protocol import PROTOCOLS, Protocol, run_benchmark
from modnet_lib.evaluation.records import mean_errors, unit
from modnet_lib.images import jpeg
from modnet_lib.inference import Matter

# Levels of each kind, mild to strong; the unit is in the function of the same name; of JPEG it is the quality
LEVELS: dict[str, tuple[float, ...]] = {
    "resolution": (0.5, 0.25, 0.125),
    "blur": (2, 4, 8),
    "jpeg": (50, 20, 10),
    "noise": (10, 25, 50),
    "rotation": (15, 45, 90, 180),
}


def resolution(image: np.ndarray, share: float) -> np.ndarray:
    """Shrunk to `share` of each side and enlarged again."""
    height, width = image.shape[:2]
    small = (max(1, round(width * share)), max(1, round(height * share)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred by a Gaussian of `sigma` thousandths of the longer side."""
    return cv2.GaussianBlur(image, (0, 0), sigma * max(image.shape[:2]) / 1000)


def noise(image: np.ndarray, deviation: float) -> np.ndarray:
    """With Gaussian noise of that standard deviation, of 255; the same for the same picture."""
    rng = np.random.default_rng(image.shape)
    return np.clip(image + rng.normal(0, deviation, image.shape), 0, 255).round().astype(np.uint8)


def rotation(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turned counter-clockwise about its middle, borders mirrored; (H, W) or (H, W, 3), the same size."""
    if degrees % 180 == 0 or (degrees % 90 == 0 and image.shape[0] == image.shape[1]):
        return np.ascontiguousarray(np.rot90(image, round(degrees / 90)))
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Every value times `factor`, cut at 255: a wrong exposure."""
    return np.clip(image * factor, 0, 255).round().astype(np.uint8)


KINDS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "resolution": resolution,
    "blur": blur,
    "jpeg": lambda image, quality: jpeg(image, int(quality)),
    "noise": noise,
    "rotation": rotation,
    "brightness": brightness,
}


def degrade(picture: Labelled, kind: str, level: float) -> Labelled:
    """A picture as a worse camera gives it; only rotation changes the matte.

    Parameters
    ----------
    picture
        Image and matte, uint8.
    kind, level
        Key of `KINDS`; the function of that name says what the level means. Of JPEG it is the quality.

    Raises
    ------
    ValueError
        For an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    alpha = rotation(picture.alpha, level) if kind == "rotation" else picture.alpha
    return Labelled(KINDS[kind](picture.image, level), alpha, picture.strata)


def degraded(readers: dict[str, Reader], kind: str, level: float) -> dict[str, Reader]:
    """The readers of a benchmark, each picture degraded when it is read."""
    return {name: partial(lambda read: degrade(read(), kind, level), read) for name, read in readers.items()}


class Calibration(NamedTuple):
    """What alpha means: pixels by predicted alpha.

    Attributes
    ----------
    predicted, true
        (bins,) mean predicted and mean true alpha of the pixels of each bin; NaN where there are none.
    share
        (bins,) share of all pixels.
    """

    predicted: np.ndarray
    true: np.ndarray
    share: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of both, weighted by the pixels."""
        return float(np.nansum(self.share * np.abs(self.predicted - self.true)))


def calibration(mattes: Iterable[tuple[np.ndarray, np.ndarray]], bins: int = 10) -> Calibration:
    """Whether a predicted alpha of 0.3 is 0.3 on average.

    Parameters
    ----------
    mattes
        Predicted and true (H, W) mattes in [0, 1], picture after picture.
    bins
        Equal parts of [0, 1]; the last includes 1.
    """
    sums = np.zeros((3, bins))
    for predicted, true in mattes:
        places = np.minimum((predicted * bins).astype(int), bins - 1).ravel()
        for row, weights in enumerate((None, predicted.ravel(), true.ravel())):
            sums[row] += np.bincount(places, weights, bins)
    with np.errstate(invalid="ignore"):
        return Calibration(sums[1] / sums[0], sums[2] / sums[0], sums[0] / sums[0].sum())


def report(
    matter: Matter, readers: dict[str, Reader], *, few: int = 40, workers: int = 0, show_progress: bool = True
) -> dict[str, Any]:
    """Measure a model under every protocol, and its sensitivity and calibration under the paper's.

    Parameters
    ----------
    matter
        The model.
    readers
        Of a benchmark; see `modnet_lib.data.readers.benchmark`.
    few
        How many pictures, from the first, sensitivity and calibration are measured on.
    workers, show_progress
        See `modnet_lib.evaluation.protocol.run_benchmark`.

    Returns
    -------
    ``protocols``: name to mean errors; ``records``: a dictionary of each picture (``name``, ``errors``,
    ``strata``); ``degraded``: kind to level to mean errors, the untouched pictures as ``none``; ``calibration``:
    ``predicted``, ``true``, ``share`` of ten bins and ``error``; ``milliseconds`` of the model for a picture.
    """
    run = partial(run_benchmark, matter, workers=workers, show_progress=show_progress)
    found = {name: run(readers, protocol=protocol) for name, protocol in PROTOCOLS.items()}
    records, first = found["paper"], dict(list(readers.items())[:few])
    quick = Protocol(metrics=("mse", "mad"))
    worse: dict[str, Any] = {"none": {"0": mean_errors(records[:few])}}
    for kind, levels in LEVELS.items():
        worse[kind] = {
            str(level): mean_errors(run(degraded(first, kind, level), protocol=quick)) for level in levels
        }
    sized = matter.resized(quick.side)
    pictures = (read() for read in first.values())
    honest = calibration((sized.alpha(picture.image), unit(picture.alpha)) for picture in pictures)
    shown = {key: np.nan_to_num(values).tolist() for key, values in honest._asdict().items()}
    return {
        "protocols": {name: mean_errors(some) for name, some in found.items()},
        "records": [{"name": r.name, "errors": r.errors, "strata": r.strata} for r in records],
        "degraded": worse,
        "calibration": shown | {"error": honest.error},
        "milliseconds": 1000 * float(np.median([record.seconds for record in records])),
    }
