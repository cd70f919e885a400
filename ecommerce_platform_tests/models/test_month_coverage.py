"""When a month is complete: by the days that orders cover, at the edges of the data and in gaps between."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import duckdb
import numpy as np
import pytest

from ecommerce_platform.contracts.catalog import read_catalog

SQL = read_catalog().tables["gold.month_coverage"].sql


def complete(days: Iterable[date], start: date = date(2022, 1, 1), orders: int = 3) -> dict[str, bool]:
    """Month → is_complete, of a shop with so many orders on each of these days."""
    with duckdb.connect() as con:
        con.execute("create schema silver; create schema gold")
        con.execute("create table silver.shop as select ?::date as start_date", [start])
        con.execute(
            "create table gold.fct_orders as select unnest(?::date[]) as order_date",
            [[d for d in days for _ in range(orders)]],
        )
        assert SQL is not None
        rows = con.execute(f"select strftime(month, '%Y-%m'), is_complete from ({SQL}) order by 1").fetchall()
    return dict(rows)


def span(first: str, last: str) -> list[date]:
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    return [begin + timedelta(days=n) for n in range((end - begin).days + 1)]


def test_months_between_the_first_and_the_last_day_are_complete_and_one_that_is_running_is_not() -> None:
    assert complete(span("2022-01-01", "2022-03-31")) == {"2022-01": True, "2022-02": True, "2022-03": True}
    assert complete(span("2022-01-01", "2022-03-30"))["2022-03"] is False


def test_a_month_that_began_before_the_source_did_is_not_complete() -> None:
    assert complete(span("2022-01-02", "2022-03-31"), start=date(2022, 1, 2))["2022-01"] is False
    assert complete(span("2022-01-02", "2022-03-31"), start=date(2022, 1, 1))["2022-01"] is True


def test_stray_orders_before_and_behind_make_no_complete_months() -> None:
    """Olist: 324 orders in October 2016, one in December, sixteen in September 2018."""
    strays = [date(2016, 10, 3), date(2016, 10, 4), date(2016, 12, 23), date(2018, 9, 3), date(2018, 10, 17)]
    found = complete([*strays, *span("2017-01-01", "2018-08-31")], start=date(2016, 9, 4))
    assert {month for month, whole in found.items() if not whole} == {"2016-10", "2016-12", "2018-09", "2018-10"}


@pytest.mark.parametrize("strays", [1, 12, 60])
def test_however_many_months_of_strays_there_are_they_do_not_become_what_is_usual(strays: int) -> None:
    before = [date(2010 + n // 12, n % 12 + 1, 15) for n in range(strays)]
    found = complete([], start=before[0]) | complete(
        [*[d for d in before for _ in range(1)], *(d for d in span("2022-01-01", "2022-06-30") for _ in range(40))],
        start=before[0], orders=1,
    )  # fmt: skip
    assert sum(found.values()) == 6


def test_a_tenth_of_the_days_may_lack_and_no_more() -> None:
    days = span("2022-01-01", "2022-12-31")
    assert complete([d for d in days if not "2022-06-10" <= str(d) <= "2022-06-11"])["2022-06"] is True
    assert complete([d for d in days if not "2022-06-10" <= str(d) <= "2022-06-15"])["2022-06"] is False


@pytest.mark.parametrize("closed", range(7))
def test_a_weekday_that_is_always_closed_lacks_nowhere_nor_at_the_ends(closed: int) -> None:
    days = [d for d in span("2022-01-01", "2022-12-31") if d.weekday() != closed]
    assert set(complete(days).values()) == {True}
    # Also where the closed day is the month's last: 2022-12-31 is a Saturday.
    assert complete([d for d in days if d <= date(2022, 12, 30)])["2022-12"] is (closed == 5)


def test_a_shop_with_an_order_every_few_days_has_complete_months() -> None:
    rng = np.random.default_rng(11)
    days = [d for d in span("2022-01-01", "2023-12-31") if rng.random() < 0.3]
    inner = list(complete(days, orders=1).values())[:-1]
    assert sum(inner) >= len(inner) - 1
