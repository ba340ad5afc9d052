"""How sure a difference is: paired, with a bootstrap interval over runs and pictures."""

from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """A mean difference and the ends of its interval."""

    mean: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    first: np.ndarray, second: np.ndarray, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """Mean of ``second - first`` over runs and pictures, with a percentile bootstrap interval.

    Runs and pictures are drawn with replacement independently of each other (Owen's pigeonhole bootstrap), so
    the interval covers both another seed and other pictures. With three runs it is a rough one.

    Parameters
    ----------
    first, second
        (runs, pictures) errors; run i of both shares its seed, picture j is the same picture.
    level
        Share of the resampled means inside the interval.
    resamples, seed
        Of the bootstrap.

    Raises
    ------
    ValueError
        If the shapes differ or are not two-dimensional.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(f"expected two arrays of (runs, pictures), got {first.shape} and {second.shape}")
    change = second - first
    rng = np.random.default_rng(seed)
    runs, pictures = (rng.multinomial(n, np.full(n, 1 / n), resamples) / n for n in change.shape)
    means = np.einsum("br,rp,bp->b", runs, change, pictures, optimize=True)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return Difference(float(change.mean()), float(low), float(high))
