"""Which days count, and what a series is like."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting.series import Series, closed_weekdays, daily, kind, without_partial_days
from ecommerce_platform_tests.ml.forecasting.shop import FIRST_DAY, busy_days


def series(values: np.ndarray) -> Series:
    return Series("total", FIRST_DAY, np.asarray(values, dtype=float))


def test_days_without_a_row_are_days_without_sales() -> None:
    days = [FIRST_DAY + timedelta(days=2), FIRST_DAY, FIRST_DAY - timedelta(days=1)]
    found = daily("a", days, np.array([3.0, 1.0, 9.0]), FIRST_DAY, FIRST_DAY + timedelta(days=3))
    assert (found.first, found.values.tolist()) == (FIRST_DAY, [1, 0, 3, 0])


def test_a_last_day_that_was_delivered_in_part_is_left_out() -> None:
    values = busy_days(200, 100, seed=1)
    whole = without_partial_days(series(values))
    values[-1] *= 0.2
    cut = without_partial_days(series(values))
    assert (len(whole), whole.left_out) == (200, 0)
    assert (len(cut), cut.left_out, cut.day(199)) == (199, 1, FIRST_DAY + timedelta(days=199))


def test_a_trickle_of_weeks_at_the_end_is_left_out() -> None:
    values = busy_days(300, 100, seed=2)
    values[-45:] = np.where(np.arange(45) % 9 == 0, 1, 0)
    assert without_partial_days(series(values)).left_out == 45


def test_a_slow_week_is_kept() -> None:
    values = busy_days(200, 100, seed=4)
    values[-7:] *= 0.5
    assert without_partial_days(series(values)).left_out == 0


def test_closed_weekdays_at_the_end_are_no_partial_days() -> None:
    values = busy_days(201, 100, seed=5)
    values[4::7] = 0
    assert (200 % 7, without_partial_days(series(values[:201])).left_out) == (4, 0)


def test_a_shop_begins_when_it_really_sells() -> None:
    values = np.concatenate([[5.0], np.zeros(60), busy_days(150, 50, seed=6)])
    found = without_partial_days(series(values))
    assert found.first == FIRST_DAY + timedelta(days=61)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.zeros(300), "empty"),
        (np.zeros(0), "empty"),
        (np.full(111, 3.0), "short"),
        (np.full(300, 3.0), "flat"),
        (np.concatenate([np.arange(200.0), np.zeros(91)]), "dormant"),
        (np.where(np.arange(300) % 3 == 0, 2.0, 0.0), "intermittent"),
        (busy_days(300, 20, seed=0), "ordinary"),
    ],
)
def test_kinds_of_series(values: np.ndarray, expected: str) -> None:
    assert kind(values) == expected


def test_closed_weekdays_do_not_make_a_series_intermittent() -> None:
    values = busy_days(300, 50, seed=7)
    for place in (4, 5, 6):
        values[place::7] = 0
    values[1::14] = 0
    assert kind(values) == "ordinary"
    assert closed_weekdays(values).tolist() == [False, False, False, False, True, True, True]


def test_positions_are_days() -> None:
    assert series(np.zeros(3)).day(366) == date(2025, 1, 1)
