"""Measures of yes-or-no predictions are scikit-learn's, and intervals cover what they say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from ecommerce_platform.ml.classification import Judged, best_threshold, compare, deciles, measures
from ecommerce_platform.ml.lifecycle import one_thread


@pytest.mark.parametrize("values", [7, 4000])
def test_measures_are_those_of_scikit_learn(values: int) -> None:
    rng = np.random.default_rng(3)
    p = rng.integers(0, values, 900) / values
    y = (rng.random(900) < p).astype(int)
    found = measures(y, p, 0.4)
    called = p >= 0.4
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(y, p), abs=1e-12)
    assert found["pr_auc"] == pytest.approx(metrics.average_precision_score(y, p), abs=1e-12)
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(y, p), abs=1e-12)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, called))
    assert found["precision"] == pytest.approx(metrics.precision_score(y, called))
    assert found["recall"] == pytest.approx(metrics.recall_score(y, called))
    assert found["f1"] == pytest.approx(metrics.f1_score(y, called))


def test_a_small_case_by_hand() -> None:
    # Pairs of a 1 and a 0: (.9 > .8), (.9 > .1), (.5 < .8), (.5 > .1): 3 of 4.
    found = measures(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.5, 0.1]), 0.5)
    assert found["auc"] == 0.75
    assert found["accuracy"] == 0.75
    assert (found["precision"], found["recall"]) == (2 / 3, 1.0)


def test_the_best_threshold_has_the_highest_f1_of_all() -> None:
    rng = np.random.default_rng(5)
    p = np.round(rng.random(300), 2)
    y = (rng.random(300) < p).astype(int)
    best = measures(y, p, best_threshold(y, p))["f1"]
    assert best == max(measures(y, p, t)["f1"] for t in np.unique(p))


def test_deciles_hold_a_tenth_each_whatever_the_ties() -> None:
    tenth = deciles(np.repeat([0.2, 0.9], 100), np.arange(200))
    assert np.bincount(tenth).tolist() == [0, *[20] * 10]
    assert set(tenth[100:]) == {1, 2, 3, 4, 5}


def folds(seed: int, gain: float, count: int = 1) -> list[Judged]:
    """Folds of 400 persons in which the model's score sees `gain` more of the outcome than the baseline's."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        signal = rng.normal(size=400)
        y = (signal + rng.normal(size=400) > 0).astype(float)
        p = 1 / (1 + np.exp(-(gain * signal + rng.normal(size=400))))
        b = 1 / (1 + np.exp(-rng.normal(size=400)))
        made.append(Judged(np.arange(400), y, p, b, 0.5, 0.5))
    return made


def test_points_of_a_comparison_are_the_measures() -> None:
    (fold,) = folds(1, 1.0)
    found = {c.metric: c for c in compare([fold], 1, 50)}
    mine, other = measures(fold.outcome, fold.model, 0.5), measures(fold.outcome, fold.baseline, 0.5)
    for metric, c in found.items():
        assert (c.value, c.baseline_value) == (mine[metric], other[metric])
        assert c.interval_low <= c.value - c.baseline_value <= c.interval_high


def test_an_interval_is_that_of_a_plain_bootstrap_of_persons() -> None:
    (fold,) = folds(2, 1.0)
    rng = np.random.default_rng(9)
    plain = []
    for _ in range(500):
        at = rng.integers(0, 400, 400)
        plain.append(
            metrics.roc_auc_score(fold.outcome[at], fold.model[at])
            - metrics.roc_auc_score(fold.outcome[at], fold.baseline[at])
        )
    auc = next(c for c in compare([fold], 1, 1000) if c.metric == "auc")
    assert (auc.interval_low, auc.interval_high) == pytest.approx(tuple(np.quantile(plain, (0.025, 0.975))), abs=0.015)


def test_an_interval_excludes_zero_for_a_gain_and_seldom_without_one() -> None:
    def excludes(gain: float, seed: int) -> bool:
        with one_thread():
            return next(c.interval_low > 0 for c in compare(folds(seed, gain), seed, 100) if c.metric == "auc")

    assert all(excludes(1.0, seed) for seed in range(5))
    # One in forty by the level; of 40 more than five have a chance below one in a thousand.
    assert sum(excludes(0.0, seed) for seed in range(40)) <= 5


def test_persons_are_drawn_in_all_folds_together() -> None:
    """The same persons with the same outcomes in a second fold add nothing to what is known."""
    (fold,) = folds(4, 0.5)
    one, twice = compare([fold], 1, 300), compare([fold, fold], 1, 300)
    for a, b in zip(one, twice, strict=True):
        assert (a.interval_low, a.interval_high) == pytest.approx((b.interval_low, b.interval_high))
