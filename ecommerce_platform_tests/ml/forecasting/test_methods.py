"""Carrying parameters forward gives what statsmodels itself forecasts, and nothing from the origin on is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.statespace.sarimax import SARIMAX

from ecommerce_platform.ml.forecasting.methods import METHODS, forecasts, quiet, tsb_levels
from ecommerce_platform_tests.ml.forecasting.shop import busy_days

VALUES = busy_days(300, 80, seed=3)
TRAINED = 203
ALL = sorted(METHODS)


def at(name: str, values: np.ndarray, *origins: int, trained: int = TRAINED) -> np.ndarray:
    """Forecasts from some origins with parameters of the first days."""
    method = METHODS[name]
    with quiet():
        parameters = method.fit(values[:trained])
    return forecasts(method, parameters, values, np.array(origins), 28)


@pytest.mark.parametrize("name", ALL)
def test_days_from_the_origin_on_change_nothing(name: str) -> None:
    other = VALUES.copy()
    other[250:] = 7 * other[250:] + 100
    assert at(name, VALUES, 210, 250).tobytes() == at(name, other, 210, 250).tobytes()
    assert at(name, VALUES[:250], 210, 250).tobytes() == at(name, VALUES, 210, 250).tobytes()


@pytest.mark.parametrize("name", ALL)
def test_forecasts_of_one_origin_do_not_depend_on_the_others(name: str) -> None:
    assert at(name, VALUES, 210, 250, 300)[1] == pytest.approx(at(name, VALUES, 250)[0], rel=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_plain_json(name: str) -> None:
    import json

    with quiet():
        parameters = METHODS[name].fit(VALUES)
    again = json.loads(json.dumps(parameters, allow_nan=False))
    origin = np.array([300])
    assert forecasts(METHODS[name], again, VALUES, origin, 28).tobytes() == at(name, VALUES, 300, trained=300).tobytes()


@pytest.mark.parametrize("kind", ["add", "mul"])
def test_ets_is_carried_forward_as_statsmodels_does(kind: str) -> None:
    form = {"error": kind, "trend": "add", "damped_trend": True, "seasonal": kind, "seasonal_periods": 7}
    fitted = ETSModel(VALUES[:TRAINED], initialization_method="heuristic", **form).fit(disp=0)
    parameters = {
        "form": kind, "smoothing": list(fitted.params), "level": fitted.initial_level,
        "trend": fitted.initial_trend, "season": list(fitted.initial_seasonal),
    }  # fmt: skip
    found = forecasts(METHODS["ets"], parameters, VALUES, np.array([TRAINED]), 28)
    assert found[0] == pytest.approx(fitted.forecast(28), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "order", "seasonal"), [("sarima", (0, 1, 1), (0, 1, 1, 7)), ("arima_5_1_2", (5, 1, 2), (0, 0, 0, 0))]
)
def test_arima_is_carried_forward_as_statsmodels_does(name: str, order: tuple, seasonal: tuple) -> None:
    with quiet():
        parameters = METHODS[name].fit(VALUES[:TRAINED])
    model = SARIMAX(VALUES / parameters["scale"], order=order, seasonal_order=seasonal)
    expected = model.filter(parameters["coefficients"]).forecast(28) * parameters["scale"]
    assert forecasts(METHODS[name], parameters, VALUES, np.array([300]), 28)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, -1.0])
def test_theta_is_carried_forward_as_statsmodels_does(shift: float) -> None:
    # With a value of 0 statsmodels takes seasons as additive.
    values = VALUES[:TRAINED].copy()
    values[5] *= 1 + shift
    expected = ThetaModel(values, period=7).fit().forecast(28).to_numpy()
    assert at("theta", values, TRAINED)[0] == pytest.approx(expected, rel=1e-6)


def test_the_seasonal_naive_is_last_week_again() -> None:
    found = at("seasonal_naive", VALUES, 250)[0]
    assert found.tolist() == [*VALUES[243:250]] * 4


def test_the_weekday_mean_is_that_of_eight_weeks_or_fewer() -> None:
    assert at("weekday_mean", VALUES, 250)[0][0] == VALUES[194:250:7].mean()
    assert at("weekday_mean", VALUES, 15)[0][0] == VALUES[1:15:7].mean()


def test_a_weekday_on_which_the_shop_is_closed_is_forecast_as_nothing() -> None:
    values = VALUES.copy()
    values[4::7] = 0
    for name in ALL:
        found = at(name, values, 252)[0]
        assert (found[4::7] == 0).all()
        assert (found[5::7] > 0).all()


def test_every_method_finds_a_clean_week_again() -> None:
    week = np.array([30.0, 20, 10, 20, 30, 40, 50])
    values = np.tile(week, 43) + np.random.default_rng(0).normal(0, 0.1, 301)
    for name in set(ALL) - {"tsb", "arima_5_1_2"}:
        assert at(name, values, 301)[0] == pytest.approx(np.tile(week, 4), abs=1), name


def test_tsb_of_a_few_weeks_is_what_one_computes_by_hand() -> None:
    values = np.array([[0.0, 2, 0, 0, 4, np.nan]])
    rate, size, expected = 0.25, 2.0, []
    for value in values[0, :5]:
        rate += 0.1 * ((value > 0) - rate)
        size += 0.2 * (value - size) if value > 0 else 0
        expected.append(rate * size)
    expected.append(expected[-1])
    assert tsb_levels(values, 0.1, 0.2)[0] == pytest.approx(expected)


def test_a_day_without_sales_after_the_fit_is_survived_by_every_method() -> None:
    values = VALUES.copy()
    values[220] = 0
    for name in ALL:
        found = at(name, values, 221, 300)
        assert np.isfinite(found).all(), name
        assert found[1].mean() == pytest.approx(VALUES[280:].mean(), rel=0.3), name
