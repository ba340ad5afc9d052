"""How certain a difference is: paired, with a bootstrap interval over runs and pictures."""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Difference(NamedTuple):
    """A mean difference and the ends of its interval."""

    mean: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_difference(first: np.ndarray, second: np.ndarray, *, resamples: int = 10_000, seed: int = 0) -> Difference:
    """Mean of ``second - first`` over runs and pictures, with its 95 % percentile bootstrap interval.

    Runs and pictures are drawn with replacement independently of each other (Owen's pigeonhole bootstrap), so
    the interval covers both another seed and other pictures. With three runs it is a rough one.

    Both are (runs, pictures): run i of both shares its seed, picture j is the same picture. Raises `ValueError` if
    their shapes differ.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(f"expected two arrays of (runs, pictures), got {first.shape} and {second.shape}")
    change = second - first

    def mean(runs: np.ndarray, pictures: np.ndarray, axis: int = -1) -> np.ndarray:
        return change[runs[..., None], pictures[..., None, :]].mean(axis=(-2, -1))

    places = [np.arange(max(n, 2)) % n for n in change.shape]  # scipy wants at least two of each
    found = stats.bootstrap(
        places, mean, n_resamples=resamples, batch=1000, method="percentile", rng=np.random.default_rng(seed)
    )
    return Difference(float(change.mean()), *map(float, found.confidence_interval))
