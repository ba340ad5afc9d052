"""The protocol: short side to 512, matte back to the picture's own size, errors over the whole picture."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from modnet_lib.evaluation.metrics import METRICS
from modnet_lib.images import ImageLike


class Record(NamedTuple):
    """One picture's errors."""

    name: str
    errors: dict[str, float]


def evaluate(
    alpha: Callable[[ImageLike], np.ndarray], pictures: Iterable[tuple[str, np.ndarray, np.ndarray]]
) -> list[Record]:
    """Measure a matting function on labelled pictures.

    Parameters
    ----------
    alpha
        A picture to its matte at the picture's size, for instance ``matter.alpha``.
    pictures
        Name, image (H, W, 3) uint8, and true alpha (H, W), uint8 or float in [0, 1].

    Returns
    -------
    A record for each picture, in order.
    """
    records = []
    for name, image, truth in pictures:
        matte = alpha(image)
        if truth.dtype == np.uint8:
            truth = truth / 255.0
        records.append(Record(name, {key: metric(matte, truth) for key, metric in METRICS.items()}))
    return records


def mean_errors(records: list[Record]) -> dict[str, float]:
    """Mean over pictures of every metric; raises `ValueError` if there are no records."""
    if not records:
        raise ValueError("no pictures were evaluated")
    return {key: float(np.mean([record.errors[key] for record in records])) for key in METRICS}
