"""Categories and their total add up, today and when carried forward; intervals hold; odd categories are answered."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting import panel as panels
from ecommerce_platform.ml.forecasting.backtest import HORIZON
from ecommerce_platform.ml.forecasting.panel import Backtested, Panel
from ecommerce_platform.ml.forecasting.rows import exhibits
from ecommerce_platform.ml.forecasting.series import Series
from ecommerce_platform_tests.ml.forecasting.shop import FIRST_DAY, busy_days

ODD = {
    "never": np.zeros(400),
    "flat": np.full(400, 3.0),
    "late": np.concatenate([np.zeros(360), busy_days(40, 5, seed=8)]),
    "seldom": np.random.default_rng(9).poisson(0.1, 400).astype(float),
}


def make(*parts: tuple[str, np.ndarray]) -> Panel:
    series = tuple(Series(name, FIRST_DAY, values) for name, values in parts)
    return Panel("units", Series("total", FIRST_DAY, np.sum([s.values for s in series], axis=0)), series)


@pytest.fixture(scope="module")
def tested() -> Backtested:
    ordinary = [(f"c{i}", busy_days(400, 20 + 30 * i, seed=20 + i)) for i in range(3)]
    return panels.backtest_panel(make(*ordinary, *ODD.items()))


@pytest.fixture(scope="module")
def state(tested: Backtested) -> dict:
    return json.loads(json.dumps(panels.fit_panel(tested, baseline=False), allow_nan=False))


def test_categories_add_up_to_the_total_at_every_origin(tested: Backtested) -> None:
    assert tested.reconciliation in panels.RECONCILIATIONS
    for path in (tested.used, tested.naive):
        assert path[0] == pytest.approx(path[1:].sum(axis=0), rel=1e-9)
        assert path.min() >= 0


@pytest.mark.parametrize("how", panels.RECONCILIATIONS)
def test_every_way_of_reconciling_adds_up(tested: Backtested, how: str) -> None:
    found = panels.reconcile(
        tested.naive * np.linspace(0.5, 1.5, len(tested.members))[:, None, None], how, np.arange(8.0)
    )
    assert found[0] == pytest.approx(found[1:].sum(axis=0), rel=1e-9)


def test_odd_categories_are_named_and_answered(tested: Backtested, state: dict) -> None:
    kinds = {m.series.name: m.verdict.kind for m in tested.members}
    assert (kinds["never"], kinds["flat"], kinds["late"], kinds["seldom"]) == ("empty", "flat", "short", "intermittent")
    found = panels.carry_forward(state, tested.panel)
    place = {s.name: number for number, s in enumerate(tested.panel.members)}
    assert found["forecast"][place["never"]].tolist() == [0.0] * HORIZON
    assert found["forecast"][place["late"]].mean() == pytest.approx(5, abs=2)
    assert found["forecast"][place["seldom"]].mean() == pytest.approx(0.1, abs=0.1)


def test_what_is_kept_forecasts_later_days_from_later_values(tested: Backtested, state: dict) -> None:
    grown = [(s.name, np.concatenate([s.values, 1.5 * s.values[-28:]])) for s in tested.panel.parts]
    now, later = panels.carry_forward(state, tested.panel), panels.carry_forward(state, make(*grown))
    assert later["forecast"][0] == pytest.approx(later["forecast"][1:].sum(axis=0))
    assert later["forecast"][0].mean() > 1.2 * now["forecast"][0].mean()
    assert (later["high"][0] - later["low"][0]).mean() > 1.2 * (now["high"][0] - now["low"][0]).mean()


def test_a_category_that_the_fit_does_not_know_is_forecast_too(tested: Backtested, state: dict) -> None:
    more = make(*((s.name, s.values) for s in tested.panel.parts), ("new", busy_days(400, 10, seed=5)))
    found = panels.carry_forward(state, more)
    assert found["forecast"][-1].mean() == pytest.approx(10, rel=0.6)
    assert np.isnan(found["low"][-1]).all()
    assert found["forecast"][0] == pytest.approx(found["forecast"][1:].sum(axis=0))


@pytest.mark.parametrize("days", [0, 3, 20, 111])
def test_short_histories_are_forecast_without_intervals(days: int) -> None:
    panel = make(("a", busy_days(days, 10, seed=1)), ("b", busy_days(days, 20, seed=2)))
    tested = panels.backtest_panel(panel)
    state = panels.fit_panel(tested, baseline=True)
    found = panels.carry_forward(json.loads(json.dumps(state, allow_nan=False)), panel)
    assert tested.plan is None
    assert np.isnan(found["low"]).all()
    assert found["forecast"][0].mean() == pytest.approx(30 if days else 0, rel=0.5)


def test_the_baseline_is_coherent_and_has_intervals(tested: Backtested) -> None:
    found = panels.carry_forward(panels.fit_panel(tested, baseline=True), tested.panel)
    assert found["forecast"][0] == pytest.approx(found["forecast"][1:].sum(axis=0))
    assert (found["low"][0] < found["forecast"][0]).all()


def test_shown_windows_do_not_overlap_and_end_with_the_history(tested: Backtested) -> None:
    rows = panels.shown_backtests(tested, baseline=False)
    firsts = sorted({row["first"] for row in rows})
    assert firsts[-1] == tested.panel.total.day(400 - HORIZON).isoformat()
    assert len(firsts) == 3
    total = next(row for row in rows if row["series"] == "total" and row["first"] == firsts[-1])
    assert total["actual"] == tested.panel.total.values[-HORIZON:].tolist()


def test_coverage_of_steady_shops_is_what_intervals_promise() -> None:
    inside = []
    for seed in range(4):
        tested = panels.backtest_panel(make(("a", busy_days(420, 50, seed=40 + seed))))
        low, high = panels.intervals(tested, tested.used)
        actual = tested.judged(tested.actual)
        inside.append(((actual >= low) & (actual <= high)).mean())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.06)


def test_the_interval_of_coverage_resamples_origins_not_days() -> None:
    all_or_nothing = np.repeat(np.array([[1.0]] * 10 + [[0.0]] * 10), 28, axis=1)
    low, high = panels.coverage_interval(all_or_nothing, seed=0)
    assert low < 0.5 < high
    assert panels.coverage_interval(np.ones((10, 28)), seed=0) == (1.0, 1.0)


def test_the_card_warns_where_intervals_surely_hold_too_little() -> None:
    held = {
        "orders": {"coverage_90": 0.91, "interval": [0.85, 0.95], "below": False},
        "revenue": {"coverage_90": 0.8, "interval": [0.7, 0.89], "below": True},
    }
    shown = exhibits([], held)[-1]
    assert [(row[0], row[-1]) for row in shown.rows] == [("orders", ""), ("revenue", "too narrow")]
