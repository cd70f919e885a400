"""Each optimiser against its closed form and against trying everything on small problems."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from ecommerce_platform.contracts.decision_rules import Investment, Range
from ecommerce_platform.decisions import returns, roi
from ecommerce_platform.decisions.budget import allocate
from ecommerce_platform.decisions.staffing import on_duty, plan_week
from ecommerce_platform.decisions.stock import order_quantity, reorder_point
from ecommerce_platform.errors import InputError

NO_BOUNDS = np.zeros(5), np.full(5, np.inf)


def test_square_root_responses_are_split_as_the_closed_form_says() -> None:
    found = allocate(np.array([120.0, 80, 60, 40, 20]), 0.5, 10_000, *NO_BOUNDS)
    assert found.spend == pytest.approx([5454.55, 2424.24, 1363.64, 606.06, 151.52], abs=0.005)
    assert found.value == pytest.approx(16_248.077, abs=0.0005)
    # x = B c² / Σ c², so the price is √(Σ c² / B) / 2.
    assert found.shadow_price == pytest.approx(np.sqrt(26_400 / 10_000) / 2)


@pytest.mark.parametrize("seed", range(12))
def test_no_split_on_a_grid_beats_the_one_found(seed: int) -> None:
    random = np.random.default_rng(seed)
    scale, exponent, budget = random.uniform(1, 20, 3), float(random.uniform(0.1, 0.95)), 100.0
    low, high = random.uniform(0, 20, 3), random.uniform(40, 90, 3)
    found = allocate(scale, exponent, budget, low, high)
    assert found.spend.sum() == pytest.approx(budget)
    assert (found.spend >= low - 1e-9).all()
    assert (found.spend <= high + 1e-9).all()
    a, b = np.meshgrid(np.linspace(0, 100, 401), np.linspace(0, 100, 401))
    splits = np.stack([a, b, budget - a - b], axis=-1)
    allowed = ((splits >= low) & (splits <= high)).all(axis=-1)
    best = (scale * np.maximum(splits, 0) ** exponent).sum(axis=-1)[allowed].max()
    assert best <= found.value * (1 + 1e-9)
    assert best >= found.value * 0.99


def test_the_shadow_price_is_what_a_larger_budget_brings() -> None:
    scale, low, high = np.array([9.0, 4, 2]), np.array([5.0, 5, 5]), np.array([50.0, 60, 70])
    one, more = (allocate(scale, 0.4, budget, low, high) for budget in (100.0, 100.01))
    assert one.shadow_price == pytest.approx((more.value - one.value) / 0.01, rel=1e-3)


def test_bounds_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(InputError, match="does not lie between"):
        allocate(np.ones(2), 0.5, 100, np.zeros(2), np.full(2, 40.0))


def test_a_week_of_five_days_in_a_row_needs_the_people_it_is_known_to() -> None:
    needed = [17, 13, 15, 19, 14, 16, 11]
    assert plan_week(needed, whole=False)[1] == pytest.approx(22.3333, abs=5e-5)
    starts, people = plan_week(needed)
    assert people == 23
    assert (on_duty(starts, 5) >= needed).all()


@pytest.mark.parametrize("seed", range(6))
def test_no_plan_with_fewer_people_is_enough(seed: int) -> None:
    random = np.random.default_rng(seed)
    needed, days = random.integers(0, 3, 7), int(random.integers(2, 7))
    starts, people = plan_week(needed, days)
    assert (on_duty(starts, days) >= needed).all()
    fewest = min(sum(s) for s in product(range(3), repeat=7) if (on_duty(np.array(s, float), days) >= needed).all())
    assert people == fewest


@pytest.mark.parametrize("seed", range(5))
def test_a_reorder_point_is_the_least_that_is_enough(seed: int) -> None:
    random = np.random.default_rng(seed)
    mean = random.uniform(0.1, 30, 20)
    variance = mean * random.uniform(1, 4, 20)
    weeks, days = np.full(20, 26.0), random.integers(7, 40, 20).astype(float)
    found = reorder_point(mean, variance, weeks, days, 0.95)
    spans = days / 7
    spread = variance * spans * (1 + spans / 26)
    for level, expected, scattered in zip(found, mean * spans, spread, strict=True):
        odds = expected / scattered
        served = stats.nbinom(expected * odds / (1 - odds), odds).cdf
        assert served(level) >= 0.95 > served(level - 1)


def test_demand_that_does_not_scatter_is_poisson_and_none_needs_nothing() -> None:
    found = reorder_point(np.array([7.0, 0.0]), np.array([0.0, 0.0]), np.full(2, 52.0), np.full(2, 7.0), 0.95)
    assert found.tolist() == [stats.poisson(7).ppf(0.95), 0]


def test_no_order_quantity_costs_less_than_harris_s() -> None:
    demand, fixed, holding = 1_200.0, 30.0, 4.0
    found = float(order_quantity(np.array([demand]), fixed, np.array([holding]))[0])
    costs = {q: fixed * demand / q + holding * q / 2 for q in range(1, 600)}
    assert costs[int(found)] <= min(costs.values()) * 1.0005


def test_a_return_is_its_sum_of_discounted_months() -> None:
    found = returns.calculate(1_000, 200, 50, 12, 0.08)
    rate = 1.08 ** (1 / 12)
    assert found.net_present_value == pytest.approx(sum(150 / rate**m for m in range(1, 13)) - 1_000)
    assert (found.net_benefit, found.return_on_investment) == (800, 800 / 1_600)
    assert found.payback_months == pytest.approx(1_000 / 150)
    at_even = returns.calculate(1_000, found.break_even_benefit, 50, 12, 0.08)
    assert at_even.net_present_value == pytest.approx(0, abs=1e-9)


def test_money_that_does_not_come_back_has_no_payback() -> None:
    assert returns.calculate(1_000, 60, 50, 12, 0.0).payback_months is None
    assert returns.calculate(0, 60, 50, 12, 0.0).payback_months == 0


PLAN = Investment(
    upfront_amount=Range(low=900, likely=1_000, high=1_500), monthly_benefit=Range(low=50, likely=200, high=260), months=12,
    monthly_cost=Range(low=40, likely=50, high=60),
)  # fmt: skip


def test_what_moves_the_value_most_comes_first() -> None:
    moved = roi.tornado(PLAN, 0.0)
    assert [name for name, _, _ in moved] == ["monthly_benefit", "upfront_amount", "monthly_cost"]
    assert moved[0][1:] == (0 - 1_000, 210 * 12 - 1_000)


def test_drawn_values_have_the_mean_of_their_triangles_and_the_same_seed_the_same_values() -> None:
    values = roi.simulate(PLAN, 0.0, draws=200_000)
    benefit, cost, upfront = (50 + 200 + 260) / 3, 50, (900 + 1_000 + 1_500) / 3
    assert values.mean() == pytest.approx((benefit - cost) * 12 - upfront, abs=6)
    assert (roi.simulate(PLAN, 0.0) == roi.simulate(PLAN, 0.0)).all()


def test_scenarios_are_in_order_and_say_how_likely_a_loss_is() -> None:
    rows = {row["scenario"]: row for row in roi.roi_rows("x", PLAN, 0.08)}
    worths = [rows[name]["net_present_value"] for name in roi.SCENARIOS]
    assert worths == sorted(worths)
    assert rows["pessimistic"]["upfront_amount"] == 1_500
    assert rows["expected"]["value_low"] < rows["expected"]["value_mean"] < rows["expected"]["value_high"]
    assert rows["expected"]["loss_probability"] == pytest.approx((roi.simulate(PLAN, 0.08) < 0).mean())
