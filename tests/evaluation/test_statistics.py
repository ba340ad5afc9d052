"""Paired bootstrap intervals against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from modnet_lib.evaluation.statistics import paired_difference


def test_one_run_is_the_ordinary_paired_bootstrap() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.gamma(2, 1, 80), rng.gamma(2, 1.2, 80)
    ours = paired_difference(first[None], second[None])
    theirs = stats.bootstrap(
        (second - first,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx(second.mean() - first.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_runs_count_as_well_as_pictures() -> None:
    """With an effect of the run only, pictures add nothing: the interval is that of the runs' means."""
    effects = np.array([0.1, -0.2, 0.4, 0.3, -0.1])
    difference = paired_difference(np.zeros((5, 200)), np.repeat(effects[:, None], 200, axis=1))
    draws = np.random.default_rng(3).choice(effects, size=(100_000, 5)).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    assert (difference.low, difference.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_both_sources_add_up() -> None:
    """Bootstrap variance of a two-way mean: that of run means plus that of picture means (plus a small rest)."""
    rng = np.random.default_rng(4)
    change = rng.normal(0, 1, (6, 1)) + rng.normal(0, 2, (1, 50)) + rng.normal(0, 0.1, (6, 50))
    difference = paired_difference(np.zeros_like(change), change)
    spread = np.sqrt(change.mean(1).var() / 6 + change.mean(0).var() / 50)
    assert difference.high - difference.low == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(5), 0
    for trial in range(200):
        change = 0.3 + rng.normal(0, 0.2, (8, 1)) + rng.normal(0, 1, (1, 60)) + rng.normal(0, 1, (8, 60))
        found = paired_difference(np.zeros_like(change), change, resamples=400, seed=trial)
        hits += found.low <= 0.3 <= found.high
    assert 0.86 < hits / 200 < 0.99


def test_a_clear_difference_and_none() -> None:
    errors = np.random.default_rng(6).random((3, 40))
    assert paired_difference(errors, errors).is_clear is False
    better = paired_difference(errors, errors - 0.01)
    assert better.is_clear
    assert better == pytest.approx((-0.01,) * 3)


@pytest.mark.parametrize("shape", [(3, 5), (4,)])
def test_shapes_must_agree(shape) -> None:
    with pytest.raises(ValueError, match=r"\(runs, pictures\)"):
        paired_difference(np.zeros((3, 4)), np.zeros(shape))
