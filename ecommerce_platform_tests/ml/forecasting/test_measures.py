"""Measures of accuracy, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting.measures import accuracy, coverage, naive_scale, paired_interval, quantile_loss


def test_all_measures_of_a_small_case() -> None:
    scale = naive_scale(np.array([1.0, 3.0, 2.0, 6.0]), season=1)
    assert scale == (pytest.approx(7 / 3), pytest.approx(np.sqrt(7)))
    found = accuracy(np.array([10.0, 0.0, 20.0]), np.array([12.0, 1.0, 17.0]), scale)
    assert found == {
        "mase": pytest.approx(2 / (7 / 3)),
        "rmsse": pytest.approx(np.sqrt(14 / 3 / 7)),
        "wape": pytest.approx(6 / 30),
        "rmse": pytest.approx(np.sqrt(14 / 3)),
        "mae": pytest.approx(2),
    }


def test_what_cannot_be_divided_is_not_known() -> None:
    assert np.isnan(naive_scale(np.full(20, 3.0))).all()
    assert np.isnan(naive_scale(np.arange(5.0))).all()
    assert np.isnan(accuracy(np.zeros(3), np.ones(3), (1.0, 1.0))["wape"])


def test_the_quantile_loss_is_smallest_at_the_quantile() -> None:
    values = np.random.default_rng(0).gamma(2, 3, 20_000)
    losses = [quantile_loss(values, np.full_like(values, x), 0.9) for x in np.quantile(values, [0.8, 0.9, 0.97])]
    assert losses[1] == min(losses)
    assert quantile_loss(np.array([4.0, 0.0]), np.array([2.0, 1.0]), 0.9) == pytest.approx((0.9 * 2 + 0.1 * 1) / 2)


def test_coverage_counts_ends_in_and_leaves_out_what_is_not_known() -> None:
    actual = np.array([1.0, 2.0, 3.0, np.nan, 5.0])
    low, high = np.array([1.0, 0, 4, 0, np.nan]), np.array([2.0, 2, 9, 9, 9])
    assert coverage(actual, low, high) == pytest.approx(2 / 3)
    assert np.isnan(coverage(actual, np.full(5, np.nan), high))


def test_without_overlap_the_paired_interval_is_that_of_student() -> None:
    from scipy.stats import t

    values = np.random.default_rng(1).normal(0.3, 1, 40)
    half = t.ppf(0.975, 39) * values.std(ddof=1) / np.sqrt(40)
    assert paired_interval(values, 1) == (pytest.approx(values.mean() - half), pytest.approx(values.mean() + half))


def test_overlapping_windows_make_the_paired_interval_honest() -> None:
    rng = np.random.default_rng(2)
    held = wide = 0
    for _ in range(400):
        shocks = rng.normal(0, 1, 29)
        differences = np.convolve(shocks, np.ones(4) / 4, mode="valid")
        low, high = paired_interval(differences, 4)
        naive_low, naive_high = paired_interval(differences, 1)
        held += low <= 0 <= high
        wide += naive_low <= 0 <= naive_high
    # Of 95 % asked for: windows that overlap by three quarters leave little to estimate from.
    assert held / 400 > 0.85
    assert wide / 400 < 0.75


def test_with_hardly_any_origins_nothing_is_decided() -> None:
    assert paired_interval(np.array([-1.0, -1.0]), 1) == (-np.inf, np.inf)
    assert paired_interval(np.zeros(0), 1) == (-np.inf, np.inf)
