"""Intervals hold what they say when errors go on as they were."""

from __future__ import annotations

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting import conformal


def test_ends_are_order_statistics_that_hold_a_new_error() -> None:
    errors = np.arange(1.0, 40.0)[:, None]
    low, high = conformal.quantiles(errors, 0.9)
    # (n + 1) × 0.95 = 38: the 38th from below and from above of 39.
    assert (low[0], high[0]) == (2.0, 38.0)


def test_coverage_of_new_errors_is_what_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        errors = rng.gamma(2, 1, (60, 1))
        low, high = conformal.quantiles(errors, 0.9)
        new = rng.gamma(2, 1, 50)
        held.append(((new >= low[0]) & (new <= high[0])).mean())
    assert np.mean(held) == pytest.approx(0.91, abs=0.015)


def test_days_further_ahead_have_wider_intervals_where_errors_grow() -> None:
    rng = np.random.default_rng(1)
    errors = rng.normal(0, 1, (50, 28)) * np.linspace(1, 3, 28)
    low, high = conformal.quantiles(errors, 0.9)
    width = high - low
    assert width[24:].mean() > 1.8 * width[:4].mean()


def test_few_errors_give_no_interval() -> None:
    low, high = conformal.quantiles(np.zeros((2, 28)), 0.9)
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_intervals_grow_with_the_level_and_do_not_go_below_nothing() -> None:
    forecast = np.array([[10.0, 1000.0, 0.0]])
    scales = conformal.scale(forecast, np.array([100.0]))
    assert scales[0].tolist() == [55.0, 550.0, 0.0]
    low, high = conformal.interval(forecast, scales, (np.full(3, -0.5), np.full(3, 0.5)))
    assert low[0].tolist() == [0.0, 725.0, 0.0]
    assert high[0].tolist() == [37.5, 1275.0, 0.0]


def test_the_level_is_the_mean_of_the_four_weeks_before() -> None:
    values = np.arange(100.0)
    assert conformal.levels(values, np.array([10, 100])).tolist() == [4.5, 85.5]
