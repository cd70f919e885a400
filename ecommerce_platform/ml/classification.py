"""Yes-or-no predictions judged beside a baseline: measures, intervals by persons, lift by decile.

Arrays in, numbers out; no model and no table. Which rows are compared, and who wins, the models say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

METRICS = ("auc", "pr_auc", "brier", "accuracy", "precision", "recall", "f1")
_INTERVAL = (0.025, 0.975)
#: Persons are resampled in at most this many random blocks, and scores in at most this many bins of equal size: an
#: interval costs the same for any number of rows. Point values know neither.
_BLOCKS = 1000
_BINS = 1000


@dataclass(frozen=True)
class Judged:
    """Two predictions of the same outcomes: those of one fold.

    Attributes:
        person: n ids; a person may stand in several folds, and in one more than once.
        outcome: n times 0 or 1.
        model: n probabilities of 1.
        baseline: n probabilities of 1.
        model_threshold: from which on the model's probability says 1.
        baseline_threshold: the same of the baseline.
    """

    person: np.ndarray
    outcome: np.ndarray
    model: np.ndarray
    baseline: np.ndarray
    model_threshold: float
    baseline_threshold: float


@dataclass(frozen=True)
class Compared:
    """One metric of both, with the 95 % interval of model minus baseline."""

    metric: str
    value: float
    baseline_value: float
    interval_low: float
    interval_high: float


def measures(outcome: np.ndarray, probability: np.ndarray, threshold: float) -> dict[str, float]:
    """`METRICS` of one prediction.

    AUC is the probability that a 1 is ranked above a 0, ties counting half (Hanley and McNeil 1982); PR-AUC the average
    precision, equal scores together; Brier the mean squared error. Precision and F1 are 0 where nobody is called.

    Args:
        outcome: n times 0 or 1, both of them there.
        probability: n probabilities of 1.
        threshold: from which on a probability says 1.
    """
    _, where = np.unique(probability, return_inverse=True)
    shape = int(where.max()) + 1
    yes = np.bincount(where, weights=outcome, minlength=shape)[None]
    no = np.bincount(where, weights=1 - outcome, minlength=shape)[None]
    called = probability >= threshold
    counts = [np.array([float(np.sum(part))]) for part in _called(outcome, called)]
    squared = float(((probability - outcome) ** 2).mean())
    return {k: float(v[0]) for k, v in _metrics(yes, no, np.array([squared]), counts).items()}


def compare(folds: Sequence[Judged], seed: int, replicates: int) -> list[Compared]:
    """`METRICS` of both predictions, the mean over folds, with intervals of the difference.

    Method: percentile bootstrap (Efron 1979) of persons, in random blocks; a person is drawn in all folds together, and
    with the same weight for both sides, so that what they have in common cancels.

    Args:
        folds: at least one, each with both outcomes.
        seed: of blocks and resampling.
        replicates: how many resamples.
    """
    rng = np.random.default_rng(seed)
    persons = np.unique(np.concatenate([fold.person for fold in folds]))
    blocks = min(_BLOCKS, len(persons))
    block_of = rng.permutation(np.arange(len(persons)) % blocks)
    weights = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=replicates).astype(np.float64)
    drawn = {metric: np.zeros(replicates) for metric in METRICS}
    points = {metric: np.zeros(2) for metric in METRICS}
    for fold in folds:
        block = block_of[np.searchsorted(persons, fold.person)]
        for side, (scores, threshold) in enumerate(
            ((fold.model, fold.model_threshold), (fold.baseline, fold.baseline_threshold))
        ):
            for metric, value in measures(fold.outcome, scores, threshold).items():
                points[metric][side] += value / len(folds)
            for metric, values in _resampled(fold.outcome, scores, threshold, block, weights).items():
                drawn[metric] += (values if side == 0 else -values) / len(folds)
    result = []
    for metric in METRICS:
        low, high = np.nanquantile(drawn[metric], _INTERVAL)
        result.append(Compared(metric, float(points[metric][0]), float(points[metric][1]), float(low), float(high)))
    return result


def best_threshold(outcome: np.ndarray, probability: np.ndarray) -> float:
    """The probability from which on calling everybody a 1 gives the highest F1 on these rows; the highest of equals.

    Args:
        outcome: n times 0 or 1.
        probability: n probabilities of 1, n at least 1.
    """
    values, where = np.unique(probability, return_inverse=True)
    yes = np.bincount(where, weights=outcome)
    called = np.cumsum(np.bincount(where)[::-1])[::-1]
    right = np.cumsum(yes[::-1])[::-1]
    f1 = 2 * right / (called + yes.sum())
    return float(values[len(f1) - 1 - int(np.argmax(f1[::-1]))])


def deciles(probability: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """The tenth of each row by probability, 1 the highest; equal probabilities are told apart by `tie`.

    Args:
        probability: n probabilities.
        tie: n values in an order that has nothing to do with the outcome.
    """
    order = np.lexsort((tie, -probability))
    tenth = np.empty(len(order), dtype=np.int64)
    tenth[order] = np.arange(len(order)) * 10 // max(len(order), 1) + 1
    return tenth


def _resampled(
    outcome: np.ndarray, scores: np.ndarray, threshold: float, block: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """`METRICS` in each resample: all are functions of counts, so blocks are counted once and then weighed.

    The products are of whole numbers, which are exact however they are summed, but for the squared errors.
    """
    blocks = weights.shape[1]
    bins = _binned(scores)
    cell = block * (int(bins.max()) + 1) + bins
    size = blocks * (int(bins.max()) + 1)
    yes = weights @ np.bincount(cell, weights=outcome, minlength=size).reshape(blocks, -1)
    no = weights @ np.bincount(cell, weights=1 - outcome, minlength=size).reshape(blocks, -1)
    parts = [np.bincount(block, weights=part, minlength=blocks) for part in _called(outcome, scores >= threshold)]
    squared = np.bincount(block, weights=(scores - outcome) ** 2, minlength=blocks)
    total = weights @ np.bincount(block, minlength=blocks)
    # Element by element: a matrix product of fractions would round differently with the number of threads.
    brier = (weights * squared).sum(1) / np.maximum(total, 1)
    return _metrics(yes, no, brier, [weights @ part for part in parts])


def _binned(scores: np.ndarray) -> np.ndarray:
    """Bin numbers from 0 in the order of the scores: a bin per value, or bins of about equal size where there are many."""
    values, where = np.unique(scores, return_inverse=True)
    if len(values) <= _BINS:
        return where
    edges = np.quantile(scores, np.arange(1, _BINS) / _BINS)
    return np.searchsorted(edges, scores, side="right")


def _called(outcome: np.ndarray, called: np.ndarray) -> list[np.ndarray]:
    """Per row whether it is rightly called, wrongly called, wrongly not called, rightly not called; as 0 and 1."""
    yes, is_called = outcome.astype(np.float64), called.astype(np.float64)
    return [yes * is_called, (1 - yes) * is_called, yes * (1 - is_called), (1 - yes) * (1 - is_called)]


def _metrics(yes: np.ndarray, no: np.ndarray, brier: np.ndarray, counts: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """`METRICS` of r samples from r × bins counts of both outcomes, in the order of the scores."""
    right, wrong, missed, rest = counts
    all_yes, all_no = yes.sum(1), no.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.cumsum(no, axis=1) - no / 2
        auc = (yes * below).sum(1) / (all_yes * all_no)
        caught = np.cumsum(yes[:, ::-1], axis=1)
        asked = caught + np.cumsum(no[:, ::-1], axis=1)
        precision_there = np.where(asked > 0, caught / np.maximum(asked, 1e-300), 0)
        pr_auc = (yes[:, ::-1] * precision_there).sum(1) / all_yes
    return {
        "auc": auc,
        "pr_auc": pr_auc,
        "brier": brier,
        "accuracy": (right + rest) / np.maximum(right + wrong + missed + rest, 1),
        "precision": right / np.maximum(right + wrong, 1),
        "recall": right / np.maximum(right + missed, 1),
        "f1": 2 * right / np.maximum(2 * right + wrong + missed, 1),
    }
