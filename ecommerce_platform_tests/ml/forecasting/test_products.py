"""Weekly demand of products: methods by hand, empty shelves, who is used, and units that suffice over a lead time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting import products
from ecommerce_platform.ml.forecasting.boosting import fit_counts, predict_counts
from ecommerce_platform.ml.forecasting.products import Demand


def poisson(products_: int = 200, weeks: int = 80, seed: int = 0) -> Demand:
    rng = np.random.default_rng(seed)
    rate = rng.lognormal(0, 1, products_)
    units = rng.poisson(rate[:, None], (products_, weeks)).astype(float)
    return Demand(tuple(f"p{i}" for i in range(products_)), np.arange(products_) % 4, units)


@pytest.fixture(scope="module")
def demand() -> Demand:
    return poisson()


@pytest.fixture(scope="module")
def judged(demand: Demand) -> products.Judged:
    plan = products.weekly_plan(80)
    assert plan is not None
    return products.judge(demand, plan, seed=1, iterations=20)


def test_croston_of_a_few_weeks_is_what_one_computes_by_hand() -> None:
    units = np.array([[np.nan, 0.0, 4.0, 0.0, np.nan, 2.0, 0.0]])
    # First sale in the 2nd known week: 4 units every 2 weeks; the next one 2 known weeks later.
    first = 0.95 * 4 / 2
    second = 0.95 * (4 + 0.1 * (2 - 4)) / (2 + 0.1 * (2 - 2))
    assert products.croston(units, 0.1)[0] == pytest.approx([0, 0, first, first, first, second, second])


def test_trees_walked_by_hand_are_those_of_the_library() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(0)
    rows = rng.random((2000, 4))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    target = rng.poisson(np.exp(2 * np.nan_to_num(rows[:, 0])))
    state = json.loads(json.dumps(fit_counts(rows, target, 30, 0), allow_nan=False))
    model = HistGradientBoostingRegressor(
        loss="poisson", max_iter=30, max_leaf_nodes=15, min_samples_leaf=100, early_stopping=False, random_state=0
    ).fit(rows, target)
    assert predict_counts(state, rows) == pytest.approx(model.predict(rows), rel=1e-12)


@pytest.mark.parametrize("name", products.METHODS)
def test_weeks_from_the_origin_on_change_nothing(name: str, demand: Demand) -> None:
    other = Demand(demand.products, demand.groups, demand.units.copy())
    other.units[:, 60:] = 99
    both = [products.rates(name, d, np.array([52, 60]), products.estimate(d, 52, 0, 10)) for d in (demand, other)]
    assert both[0].tobytes() == both[1].tobytes()
    cut = Demand(demand.products, demand.groups, demand.units[:, :60])
    assert (
        products.rates(name, cut, np.array([60]), products.estimate(cut, 52, 0, 10)).tobytes()
        == both[0][:, 1:].tobytes()
    )


def test_steady_demand_is_best_forecast_by_something_that_averages(judged: products.Judged) -> None:
    assert set(judged.used.values()) <= {"croston_sba", "tsb", "gradient_boosting"}
    for losses in judged.losses.values():
        assert min(losses, key=lambda name: losses[name]) != "seasonal_naive"


def test_an_empty_shelf_is_not_taken_for_no_demand() -> None:
    whole = poisson(60, 80, seed=5)
    gaps = np.random.default_rng(6).random(whole.units.shape) < 0.5
    censored = Demand(whole.products, whole.groups, np.where(gaps, np.nan, whole.units))
    as_zero = Demand(whole.products, whole.groups, np.where(gaps, 0.0, whole.units))
    true = whole.units.mean()
    for name in ("croston_sba", "tsb"):
        found = [products.rates(name, d, np.array([80]), {}).mean() for d in (censored, as_zero)]
        assert found[0] == pytest.approx(true, rel=0.1)
        assert found[1] < 0.65 * true


def test_products_that_sell_seldom_are_told_by_their_past() -> None:
    units = np.array([[1.0, 1, 1, 1, 1], [0, 0, 1, 0, 9], [np.nan, np.nan, 1, 2, 1]])
    assert Demand(("a", "b", "c"), np.zeros(3, dtype=int), units).seldom(4).tolist() == [False, True, False]


def test_quantiles_of_lead_time_demand_suffice_as_often_as_they_say(demand: Demand, judged: products.Judged) -> None:
    expected = products.used_rates(judged, demand)
    fresh = poisson(200, 80, seed=0)
    later = np.random.default_rng(77).poisson(fresh.units.mean(axis=1)[:, None], (200, 40)).astype(float)
    for weeks in (1, 4):
        table = products.quantile_tables(demand, judged.plan.origins, expected, weeks)
        needed = products.demand_quantiles(expected[:, -1], weeks, table)
        sums = later[:, : 40 // weeks * weeks].reshape(200, -1, weeks).sum(axis=2)
        held = (sums[:, :, None] <= needed[:, None, :]).mean(axis=1)
        # Whole units suffice rather more often than asked for, all the more the fewer there are.
        assert (held.mean(axis=0) >= np.array(products.QUANTILES) - 0.05).all()
        many = fresh.units.mean(axis=1) * weeks > 4
        assert held[many].mean(axis=0)[1:] == pytest.approx(products.QUANTILES[1:], abs=0.08)
        assert (np.diff(needed, axis=1) >= 0).all()


def test_demand_over_weeks_is_not_four_times_the_quantile_of_one(demand: Demand, judged: products.Judged) -> None:
    expected = products.used_rates(judged, demand)
    one, four = (
        products.demand_quantiles(
            expected[:, -1], weeks, products.quantile_tables(demand, judged.plan.origins, expected, weeks)
        )
        for weeks in (1, 4)
    )
    assert four[:, 3].sum() < 0.75 * 4 * one[:, 3].sum()


def test_windows_with_an_empty_shelf_are_not_judged() -> None:
    units = np.full((1, 40), 2.0)
    units[0, 30:] = np.nan
    table = products.quantile_tables(
        Demand(("a",), np.zeros(1, dtype=int), units), np.array([31, 33]), np.full((1, 2), 2.0), 2
    )
    assert np.isnan(table).all()


@pytest.mark.parametrize("weeks", [21, 30, 60, 104])
def test_weekly_stretches_follow_one_another(weeks: int) -> None:
    plan = products.weekly_plan(weeks)
    assert plan is not None
    assert plan.first >= 13
    assert plan.choosing[-1] + 4 <= plan.judging[0]
    assert plan.judging[-1] + 4 == weeks
    assert products.weekly_plan(20) is None
