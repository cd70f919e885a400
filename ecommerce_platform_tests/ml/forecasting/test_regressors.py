"""Regressors: what is known at an origin and nothing later, and that a planted effect is found and used."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting import regressors
from ecommerce_platform.ml.forecasting.backtest import compare, judge, make_plan
from ecommerce_platform.ml.forecasting.methods import FOR_TOTALS, METHODS, forecasts, quiet
from ecommerce_platform_tests.ml.forecasting.shop import FIRST_DAY, busy_days


def days(count: int, first: date = FIRST_DAY) -> list[date]:
    return [first + timedelta(days=i) for i in range(count)]


@pytest.mark.parametrize(
    ("year", "sunday"),
    [
        (1954, date(1954, 4, 18)),
        (2000, date(2000, 4, 23)),
        (2024, date(2024, 3, 31)),
        (2025, date(2025, 4, 20)),
        (2038, date(2038, 4, 25)),
    ],
)
def test_easter(year: int, sunday: date) -> None:
    assert regressors.easter(year) == sunday


@pytest.mark.parametrize(
    ("year", "friday"), [(2018, date(2018, 11, 23)), (2024, date(2024, 11, 29)), (2025, date(2025, 11, 28))]
)
def test_black_friday(year: int, friday: date) -> None:
    assert regressors.black_friday(year) == friday


def test_holidays_of_a_year() -> None:
    found = regressors.holidays(days(366))
    assert found.values.sum(axis=0).tolist() == [3, 6, 4, 2, 4, 2, 8]
    assert not found.held.any()


def test_an_indicator_is_known_from_its_publication_on_and_goes_on() -> None:
    published = [
        ("mood", FIRST_DAY + timedelta(days=5), date(2023, 12, 1), 90.0),
        ("mood", FIRST_DAY + timedelta(days=8), date(2024, 1, 1), 95.0),
        # A late revision of an older month is not the newest figure.
        ("mood", FIRST_DAY + timedelta(days=9), date(2023, 11, 1), 50.0),
    ]
    found = regressors.indicators(days(20), published)
    assert found.values[:, 0].tolist() == [90.0] * 8 + [95.0] * 12
    assert found.ahead(7, 5)[:, 0].tolist() == [90.0] * 5


def test_a_year_ago_is_the_same_weekday() -> None:
    daily = np.arange(400.0)
    found = regressors.a_year_ago(daily, 28).values[:, 0]
    assert found[:364].tolist() == [0.0] * 364
    assert found[364:428].tolist() == daily[:64].tolist()


def planted(seed: int = 1) -> tuple[np.ndarray, regressors.Regressors]:
    """Days of promotion, known ahead, on which twice as much is sold."""
    rng = np.random.default_rng(seed)
    special = (rng.random(528) < 0.1).astype(float)
    values = busy_days(500, 100, seed=seed) * (1 + special[:500])
    return values, regressors.Regressors(special[:, None], np.zeros(1, dtype=bool))


def test_a_planted_effect_is_estimated_and_used() -> None:
    values, beside = planted()
    method = regressors.with_regressors("planted", beside)
    plan = make_plan(500)
    assert plan is not None
    names = ("seasonal_naive", "ets", "sarima", method.name)
    tried = compare(values, plan, names, refit=True, methods={**METHODS, method.name: method})
    found = judge(tried, "ordinary")
    assert found.used == "sarima+planted"
    assert tried.parameters[method.name]["effects"][0] == pytest.approx(np.log(2), abs=0.05)
    assert found.losses[method.name] < 0.8 * found.losses["sarima"]


def test_regressors_without_an_effect_are_not_used() -> None:
    values, _ = planted(2)
    useless = regressors.Regressors((np.random.default_rng(9).random((528, 1)) < 0.1) * 1.0, np.zeros(1, dtype=bool))
    method = regressors.with_regressors("useless", useless)
    plan = make_plan(500)
    assert plan is not None
    tried = compare(values, plan, (*FOR_TOTALS, method.name), methods={**METHODS, method.name: method})
    assert judge(tried, "ordinary").used != method.name


def test_later_values_and_later_publications_change_nothing() -> None:
    values, beside = planted(3)
    held = regressors.Regressors(np.cumsum(np.ones((528, 1)), axis=0) % 30, np.ones(1, dtype=bool))
    later = held.values.copy()
    later[300:] = 999
    for one, other in ((held, regressors.Regressors(later, held.held)), (beside, beside)):
        changed = values.copy()
        changed[300:] = 0
        both = []
        for mine, data in ((one, values), (other, changed)):
            method = regressors.with_regressors("x", mine)
            with quiet():
                parameters = method.fit(data[:200])
            both.append(forecasts(method, json.loads(json.dumps(parameters)), data, np.array([250, 300]), 28))
        assert both[0].tobytes() == both[1].tobytes()


def test_a_regressor_that_has_not_varied_yet_has_no_effect() -> None:
    values = busy_days(300, 50, seed=1)
    both = []
    for width in (2, 0):
        beside = regressors.Regressors(np.zeros((328, width)), np.zeros(width, dtype=bool))
        method = regressors.with_regressors("none", beside)
        parameters = method.fit(values)
        assert parameters["effects"] == []
        both.append(forecasts(method, parameters, values, np.array([300]), 28))
    assert both[0].tolist() == both[1].tolist()


def test_the_quick_tournament_has_none_of_them() -> None:
    groups = {"holidays": regressors.holidays(days(400))}
    assert regressors.all_methods(FIRST_DAY, groups, full=False) == {}
    assert "sarima+holidays" in regressors.all_methods(FIRST_DAY, groups, full=True)
