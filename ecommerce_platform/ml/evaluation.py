"""Measures for comparing a model with its baseline, and intervals for the difference.

Only statistics on arrays: each model says what is compared, on which data, and who wins.
"""

from __future__ import annotations

import numpy as np

_REPLICATES = 1000
_INTERVAL = (0.025, 0.975)
#: Persons are bootstrapped in at most this many random blocks, which bounds time and memory for any number of
#: them.
_BLOCKS = 1000


def silhouette(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How much closer each point is to its own group than to the nearest other one, from -1 to 1.

    Method: Rousseeuw (1987), Euclidean distance; scikit-learn's `silhouette_samples`. Points of a single
    group get 0, as Rousseeuw gives a group of one point: no structure was shown.

    Args:
        points: n × d, in comparable units.
        labels: n group numbers.

    Returns:
        n values. Time grows with n²; memory stays at about 64 MB.
    """
    from sklearn import config_context
    from sklearn.metrics import silhouette_samples

    if not 1 < len(np.unique(labels)) < len(labels):
        return np.zeros(len(labels))
    with config_context(working_memory=64):
        return silhouette_samples(points, labels)


def mean_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean.

    Method: percentile bootstrap (Efron 1979), 1,000 replicates, seeded. For silhouettes the values of the
    points
    are resampled, not their distances: the interval is conditional on the sample drawn.

    Args:
        values: n values, n at least 1.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=_REPLICATES)
    low, high = np.quantile(counts @ values / len(values), _INTERVAL)
    return float(low), float(high)


def eta_squared(labels: np.ndarray, outcome: np.ndarray) -> float:
    """The share of an outcome's variance that group membership explains, from 0 to 1.

    Method: Fisher's correlation ratio, between-group over total sum of squares; 0 where the outcome is
    constant.

    Args:
        labels: n group numbers from 0.
        outcome: n values.
    """
    return float(_eta_squared(*_sums(labels, outcome - outcome.mean(), np.zeros(len(labels), dtype=np.int64)))[0])


def eta_squared_difference(
    labels: np.ndarray, baseline: np.ndarray, outcome: np.ndarray, seed: int
) -> tuple[float, float]:
    """The 95 % bootstrap interval of eta²(labels) - eta²(baseline) on the same persons.

    Method: percentile bootstrap over random blocks of persons (each a person of its own up to 1,000 persons),
    both groupings from the same resample, so what they have in common cancels.

    Args:
        labels: n group numbers from 0.
        baseline: n group numbers from 0.
        outcome: n values.
        seed: of blocks and resampling.
    """
    rng = np.random.default_rng(seed)
    blocks = min(_BLOCKS, len(outcome))
    block = rng.permutation(np.arange(len(outcome)) % blocks)
    centred = outcome - outcome.mean()  # sums of squares of large values would cancel
    weights = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=_REPLICATES).astype(np.float64)
    values = []
    for groups in (labels, baseline):
        count, total, squares = _sums(groups, centred, block)
        values.append(_eta_squared(*(np.tensordot(weights, part, 1) for part in (count, total, squares))))
    low, high = np.quantile(values[0] - values[1], _INTERVAL)
    return float(low), float(high)


def block_sums(values: np.ndarray, seed: int) -> np.ndarray:
    """Column sums of 1,000 bootstrap resamples of rows: what intervals of differences of means, RMSE or R² are made from.

    Method: as in `eta_squared_difference`, over random blocks of rows, all columns from the same resample.

    Args:
        values: n × k, n at least 1.
        seed: of blocks and resampling.

    Returns:
        1,000 × k sums.
    """
    rng = np.random.default_rng(seed)
    blocks = min(_BLOCKS, len(values))
    block = rng.permutation(np.arange(len(values)) % blocks)
    weights = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=_REPLICATES).astype(np.float64)
    sums = [np.bincount(block, weights=column, minlength=blocks) for column in values.T]
    return weights @ np.column_stack(sums)


def _sums(labels: np.ndarray, outcome: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per block and group: count, sum and sum of squares; each blocks × groups."""
    groups = int(labels.max()) + 1
    cell = block * groups + labels
    shape = (int(block.max()) + 1, groups)
    size = shape[0] * shape[1]
    return (
        np.bincount(cell, minlength=size).reshape(shape).astype(np.float64),
        np.bincount(cell, weights=outcome, minlength=size).reshape(shape),
        np.bincount(cell, weights=outcome * outcome, minlength=size).reshape(shape),
    )


def _eta_squared(count: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """eta² of each row, from its groups' counts, sums and sums of squares."""
    mean_part = total.sum(1) ** 2 / count.sum(1)
    between = np.divide(total**2, count, out=np.zeros_like(total), where=count > 0).sum(1) - mean_part
    around_mean = squares.sum(1) - mean_part
    # A constant outcome leaves rounding errors here, not zero.
    varies = around_mean > 1e-12 * count.sum(1)
    return np.divide(between, around_mean, out=np.zeros_like(between), where=varies)


def pair_scores(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Precision and recall of a clustering over pairs of records: pairs put together rightly, pairs put together.

    Args:
        found: n cluster numbers from 0.
        true: n true cluster numbers from 0.

    Returns:
        Precision and recall, 1 where there are no pairs to be found or to be right about.
    """
    both, one, other = (_pairs(c) for c in _overlap(found, true))
    return both / one if one else 1.0, both / other if other else 1.0


def b_cubed(found: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """B³ precision, recall and F of a clustering (Bagga and Baldwin 1998): the mean over records.

    For each record, precision is the share of its cluster that truly belongs to it, recall the share of its true
    cluster that stands in its cluster; F is the harmonic mean of the two means.

    Args:
        found: n cluster numbers from 0, n at least 1.
        true: n true cluster numbers from 0.
    """
    joint = _joint(found, true)
    _, where, counts = np.unique(joint, return_inverse=True, return_counts=True)
    shared = counts[where]
    precision = float((shared / np.bincount(found)[found]).mean())
    recall = float((shared / np.bincount(true)[true]).mean())
    return precision, recall, 2 * precision * recall / (precision + recall)


def _joint(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    return found.astype(np.int64) * (int(true.max()) + 1) + true


def _overlap(found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.unique(_joint(found, true), return_counts=True)[1], np.bincount(found), np.bincount(true)


def _pairs(counts: np.ndarray) -> int:
    return int((counts.astype(np.int64) * (counts - 1) // 2).sum())
