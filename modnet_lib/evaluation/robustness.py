"""How a model reacts to worse cameras and other protocols, and whether its alpha is calibrated."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import cv2
import numpy as np

from modnet_lib.data.readers import Labelled, Reader
from modnet_lib.evaluation.metrics import unit
from modnet_lib.evaluation.protocol import PROTOCOLS, Protocol, run_benchmark
from modnet_lib.evaluation.records import mean_errors
from modnet_lib.images import jpeg
from modnet_lib.inference import Matter

# Levels that `report` measures, mild to strong
LEVELS: dict[str, tuple[float, ...]] = {
    "resolution": (0.5, 0.25, 0.125),
    "blur": (2, 4, 8),
    "jpeg": (50, 20, 10),
    "noise": (10, 25, 50),
    "rotation": (15, 45, 90, 180),
}


def _resolution(image: np.ndarray, share: float) -> np.ndarray:
    small = [max(1, round(side * share)) for side in image.shape[1::-1]]
    return cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), image.shape[1::-1])


def _rotation(image: np.ndarray, degrees: float) -> np.ndarray:
    height, width = image.shape[:2]
    if degrees % 180 == 0 or (degrees % 90 == 0 and height == width):
        return np.ascontiguousarray(np.rot90(image, round(degrees / 90)))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def _noise(image: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(image.shape).normal(0, deviation, image.shape)  # the same for the same picture
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


KINDS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "resolution": _resolution,
    "blur": lambda image, sigma: cv2.GaussianBlur(image, (0, 0), sigma * max(image.shape[:2]) / 1000),
    "jpeg": lambda image, quality: jpeg(image, int(quality)),
    "noise": _noise,
    "rotation": _rotation,
    "brightness": lambda image, factor: np.clip(image * factor, 0, 255).round().astype(np.uint8),
}


def degrade(picture: Labelled, kind: str, level: float) -> Labelled:
    """A picture (uint8) as a worse camera gives it; only rotation changes the matte.

    `kind` and `level`: ``resolution``, shrunk to this share of each side and enlarged again; ``blur``, by a Gaussian of
    this many thousandths of the longer side; ``jpeg`` of this quality; ``noise`` of this standard deviation, of 255;
    ``rotation`` by degrees counter-clockwise about the middle, borders mirrored; ``brightness`` times this factor.
    Raises `ValueError` for any other kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    alpha = _rotation(picture.alpha, level) if kind == "rotation" else picture.alpha
    return Labelled(KINDS[kind](picture.image, level), alpha, picture.strata)


def degraded(readers: dict[str, Reader], kind: str, level: float) -> dict[str, Reader]:
    """The readers of a benchmark, each picture degraded when it is read."""
    return {name: partial(lambda read: degrade(read(), kind, level), read) for name, read in readers.items()}


def calibration(mattes: Iterable[tuple[np.ndarray, np.ndarray]], bins: int = 10) -> dict[str, Any]:
    """Whether a predicted alpha of 0.3 is 0.3 on average, over predicted and true (H, W) mattes in [0, 1].

    Lists by equal parts of [0, 1]: ``predicted`` and ``true``, mean alpha of the pixels with a predicted alpha in this
    part (0 if there are none), and ``share`` of all pixels. ``error`` is the expected calibration error: mean distance
    of both, weighted by the pixels.
    """
    sums = np.zeros((3, bins))
    for found, truth in mattes:
        places = np.minimum((found * bins).astype(int), bins - 1).ravel()
        sums += [np.bincount(places, weights, bins) for weights in (None, found.ravel(), truth.ravel())]
    (predicted, true), share = sums[1:] / np.maximum(sums[0], 1), sums[0] / sums[0].sum()
    lists = {"predicted": predicted.tolist(), "true": true.tolist(), "share": share.tolist()}
    return lists | {"error": float((share * np.abs(predicted - true)).sum())}


def report(
    matter: Matter, readers: dict[str, Reader], *, few: int = 40, workers: int = 0, show_progress: bool = True
) -> dict[str, Any]:
    """Measure a model under every protocol (see `run_benchmark`), and on the first `few` pictures how robust it is.

    ``protocols``: name to mean errors; ``records``: ``name``, ``errors`` and ``strata`` of each picture; ``degraded``:
    kind to level to mean errors, the untouched pictures as ``none``; ``calibration``; ``milliseconds`` a picture.
    """
    run = partial(run_benchmark, matter, workers=workers, show_progress=show_progress)
    found = {name: run(readers, protocol=protocol) for name, protocol in PROTOCOLS.items()}
    records, first, quick = found["paper"], dict(list(readers.items())[:few]), Protocol(metrics=("mse", "mad"))
    worse = {
        kind: {str(v): mean_errors(run(degraded(first, kind, v), protocol=quick)) for v in levels}
        for kind, levels in LEVELS.items()
    }
    alpha, pictures = matter.resized(quick.side).alpha, (read() for read in first.values())
    return {
        "protocols": {name: mean_errors(some) for name, some in found.items()},
        "records": [{"name": r.name, "errors": r.errors, "strata": r.strata} for r in records],
        "degraded": {"none": {"0": mean_errors(records[:few])}} | worse,
        "calibration": calibration((alpha(one.image), unit(one.alpha)) for one in pictures),
        "milliseconds": 1000 * float(np.median([record.seconds for record in records])),
    }
