"""Trend, season and unit roots: our own functions give the published reference values."""

from __future__ import annotations

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting.diagnostics import adf_test, decompose, diagnose, kpss_test
from ecommerce_platform.ml.forecasting.methods import fit_sarima
from ecommerce_platform_tests.ml.forecasting.airline import PASSENGERS


def test_adf_of_the_airline_passengers_is_the_reference() -> None:
    statistic, p, lags = adf_test(PASSENGERS)
    assert (statistic, p, lags) == (pytest.approx(0.815369, abs=1e-6), pytest.approx(0.991880, abs=1e-6), 13)


def test_kpss_of_the_airline_passengers_is_the_reference() -> None:
    statistic, p = kpss_test(PASSENGERS)
    assert (statistic, p) == (pytest.approx(1.651312, abs=1e-6), 0.01)


def test_the_airline_model_has_the_reference_coefficients() -> None:
    found = fit_sarima(np.log(PASSENGERS), (0, 1, 1), (0, 1, 1, 12))
    assert found.params[:2] == pytest.approx([-0.4018, -0.5569], abs=1e-4)
    # Two places of the reference are those of a rounded log likelihood.
    assert found.aic == pytest.approx(-483.40, abs=0.01)


def test_a_line_and_a_week_are_taken_apart() -> None:
    days = np.arange(210)
    week = np.array([3.0, 1, 0, -1, -2, -3, 2])[days % 7]
    noise = np.random.default_rng(0).normal(0, 0.1, 210)
    trend, season, rest = decompose(100 + 0.5 * days + week + noise)
    assert season == pytest.approx(week, abs=0.4)
    assert trend == pytest.approx(100 + 0.5 * days, abs=0.4)
    assert np.corrcoef(rest, noise)[0, 1] > 0.5


def test_a_growing_series_is_diagnosed_as_one() -> None:
    days = np.arange(364)
    values = 100 + 0.5 * days + 10.0 * (days % 7 == 0) + np.random.default_rng(0).normal(0, 1, 364)
    found = diagnose(values)
    assert found.trend_per_day == pytest.approx(0.5, abs=0.01)
    assert found.trend_share_per_year == pytest.approx(0.5 * 365 / values.mean(), rel=0.02)
    assert found.trend_strength is not None
    assert found.trend_strength > 0.99
    assert found.season_strength is not None
    assert found.season_strength > 0.8
    assert found.kpss is not None
    assert found.kpss[1] == 0.01


@pytest.mark.parametrize("values", [np.full(100, 5.0), np.zeros(100), np.arange(10.0), np.zeros(0)])
def test_what_does_not_vary_or_is_short_has_no_tests(values: np.ndarray) -> None:
    found = diagnose(values)
    assert (found.adf, found.kpss, found.season_strength) == (None, None, None)
