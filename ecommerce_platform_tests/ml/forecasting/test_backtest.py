"""Stretches do not reach into each other, a method is used only where it earned it, and series that are odd are answered."""

from __future__ import annotations

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting.backtest import HORIZON, compare, estimate, judge, make_plan, unjudged
from ecommerce_platform.ml.forecasting.methods import BASELINE, FOR_TOTALS, METHODS
from ecommerce_platform_tests.ml.forecasting.shop import WEEKDAYS, busy_days


@pytest.mark.parametrize("days", [112, 113, 150, 366, 409, 730, 1096])
def test_stretches_follow_one_another(days: int) -> None:
    plan = make_plan(days)
    assert plan is not None
    assert plan.first >= 56
    assert plan.choosing[-1] + HORIZON <= plan.judging[0]
    assert plan.judging[-1] + HORIZON == days
    assert (np.diff(plan.choosing) == 7).all()
    assert (np.diff(plan.judging) == 7).all()


def test_a_short_history_has_no_origins() -> None:
    assert make_plan(111) is None


def test_two_years_are_judged_on_half_a_year() -> None:
    plan = make_plan(730)
    assert plan is not None
    assert (len(plan.choosing), len(plan.judging)) == (39, 26)


def test_later_days_change_no_parameter_and_no_earlier_window() -> None:
    values = busy_days(400, 60, seed=1)
    other = values.copy()
    other[-HORIZON:] *= 3
    plan = make_plan(400)
    assert plan is not None
    one, two = compare(values, plan, FOR_TOTALS), compare(other, plan, FOR_TOTALS)
    assert one.parameters == two.parameters
    for name in FOR_TOTALS:
        assert one.found[name].tobytes() == two.found[name].tobytes()
    fewer = values[: plan.first].copy()
    assert estimate(METHODS["ets"], fewer) == one.parameters["ets"]


def test_a_level_that_wanders_is_won_by_a_method_that_averages() -> None:
    values = busy_days(500, 40, seed=2)
    plan = make_plan(500)
    assert plan is not None
    found = judge(compare(values, plan, FOR_TOTALS), "ordinary")
    assert found.used != BASELINE
    assert found.interval[1] < 0
    assert found.losses[found.used] < 0.9 * found.losses[BASELINE]


def test_where_each_week_is_the_last_one_again_nothing_beats_the_naive_forecast() -> None:
    rng = np.random.default_rng(3)
    used = []
    for seed in range(6):
        # Every weekday walks at random by itself: last week is the best forecast there is.
        walks = 100 + np.cumsum(np.random.default_rng(seed).normal(0, 5, (60, 7)), axis=0)
        values = np.maximum(walks.ravel(), 1) + rng.normal(0, 0.1, 420)
        plan = make_plan(420)
        assert plan is not None
        used.append(judge(compare(values, plan, FOR_TOTALS[:4]), "ordinary").used)
    assert used.count(BASELINE) >= 5


def test_a_method_that_cannot_be_estimated_is_left_out_and_named() -> None:
    values = np.zeros(300)
    values[-30:] = busy_days(30, 50, seed=4)
    plan = make_plan(300)
    assert plan is not None
    tried = compare(values, plan, FOR_TOTALS)
    assert BASELINE in tried.found
    assert set(tried.found) | set(tried.failed) == set(FOR_TOTALS)
    assert all(np.isfinite(path).all() for path in tried.found.values())


@pytest.mark.parametrize(
    ("values", "kind", "why"),
    [
        (np.zeros(300), "empty", "nothing was ever sold"),
        (np.full(300, 2.0), "flat", "the same value on all days"),
        (np.arange(60.0), "short", "fewer than 112 days"),
        (np.append(np.arange(200.0), np.zeros(100)), "dormant", "nothing in the last 13 weeks"),
    ],
)
def test_odd_series_get_the_naive_forecast_and_a_reason(values: np.ndarray, kind: str, why: str) -> None:
    found = unjudged(values)
    assert (found.kind, found.used, found.why) == (kind, BASELINE, why)


def test_refitting_estimates_anew_and_only_from_the_past() -> None:
    values = np.concatenate([busy_days(250, 30, seed=5), 3 * 30 * WEEKDAYS[np.arange(250, 400) % 7]])
    plan = make_plan(400)
    assert plan is not None
    once, anew = compare(values, plan, ["ets"]), compare(values, plan, ["ets"], refit=True)
    assert once.found["ets"][0].tolist() == anew.found["ets"][0].tolist()
    assert once.found["ets"][-1].tolist() != anew.found["ets"][-1].tolist()
    cut = compare(values[:-HORIZON], make_plan(400 - HORIZON) or plan, ["ets"], refit=True)
    assert np.isfinite(cut.found["ets"]).all()
