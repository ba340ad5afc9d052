"""The protocol: short side to 512, matte back to the picture's own size, errors over the whole picture."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch

from modnet_lib.data.trimaps import band_size, trimap_from_alpha
from modnet_lib.evaluation.metrics import METRICS, errors_by_region


class Record(NamedTuple):
    """One picture's errors."""

    name: str
    errors: dict[str, float]


def evaluate(
    alpha: Callable[..., np.ndarray],
    pictures: Iterable[tuple[str, np.ndarray, np.ndarray]],
    *,
    with_trimap: bool = False,
    regions: bool = False,
) -> list[Record]:
    """Measure a matting function on labelled pictures.

    Parameters
    ----------
    alpha
        A picture to its matte at the picture's size, for instance ``matter.alpha``.
    pictures
        Name, image (H, W, 3) uint8, and true alpha (H, W), uint8 or float in [0, 1].
    with_trimap
        `alpha` also takes the trimap of the truth: dilated and eroded by 30 pixels for a person of 512.
    regions
        Also give the mean absolute error inside the person, in the trimap's band, and outside.

    Returns
    -------
    A record for each picture, in order.
    """
    records = []
    for name, image, truth in pictures:
        if truth.dtype == np.uint8:
            truth = truth / 255.0
        trimap = trimap_of(truth) if with_trimap or regions else None
        matte = alpha(image, trimap) if with_trimap else alpha(image)
        errors = {key: metric(matte, truth) for key, metric in METRICS.items()}
        if regions and trimap is not None:
            errors |= errors_by_region(matte, truth, trimap)
        records.append(Record(name, errors))
    return records


def trimap_of(truth: np.ndarray) -> np.ndarray:
    """The trimap that trimap-based methods are given: (H, W) of {0, 0.5, 1} from a matte in [0, 1]."""
    alpha = torch.from_numpy(truth).float()[None, None]
    return trimap_from_alpha(alpha, band_size(alpha))[0, 0].numpy()


def mean_errors(records: list[Record]) -> dict[str, float]:
    """Mean over pictures of every metric; raises `ValueError` if there are no records."""
    if not records:
        raise ValueError("no pictures were evaluated")
    return {key: float(np.mean([record.errors[key] for record in records])) for key in records[0].errors}
