"""Intervals hold nine of ten days of twenty generated shops, growth, seasons and sales included."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting import panel as panels
from ecommerce_platform.ml.forecasting.backtest import HORIZON
from ecommerce_platform.ml.forecasting.panel import Panel
from ecommerce_platform.ml.forecasting.series import Series
from ecommerce_platform.simulation.orders import DELIVERED
from ecommerce_platform.simulation.simulate import Shop, simulate

SEEDS = range(1, 21)
DAYS = 730
START = date(2024, 1, 1)


def shop_days(shop: Shop) -> tuple[np.ndarray, np.ndarray]:
    """Orders and revenue of each day, as the platform counts them."""
    counted = shop.orders.fate == DELIVERED
    day = shop.orders.day
    orders = np.bincount(day[counted], minlength=DAYS)[:DAYS]
    lines = counted[shop.lines.order]
    amount = shop.lines.price * shop.lines.quantity - shop.lines.discount
    revenue = np.bincount(day[shop.lines.order][lines], amount[lines], minlength=DAYS)[:DAYS]
    return orders.astype(float), revenue.astype(float)


@pytest.mark.long
def test_intervals_of_twenty_generated_shops_hold_nine_of_ten_days() -> None:
    inside = left_out = asked = 0
    for seed in SEEDS:
        shop = simulate(orders=10_000, days=DAYS, seed=seed, start=START, progress=lambda *_: None)
        strange = np.array(sorted(shop.seasons.strange_days))
        for measure, values in zip(("orders", "revenue"), shop_days(shop), strict=True):
            tested = panels.backtest_panel(Panel(measure, Series("total", START, values)))
            assert tested.plan is not None
            low, high = panels.intervals(tested, tested.used)
            actual = tested.judged(tested.actual)
            days = tested.plan.judging[:, None] + np.arange(HORIZON)
            ordinary = ~np.isin(days, strange)[None]
            left_out += int((~ordinary).sum())
            asked += int(ordinary.sum())
            inside += int(((actual >= low) & (actual <= high))[ordinary].sum())
    print(f"{inside / asked:.1%} of {asked:,} days ahead lie in their intervals; {left_out} strange ones left out")
    assert 0.87 <= inside / asked <= 0.93
    assert left_out > 0
