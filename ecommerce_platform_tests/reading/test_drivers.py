"""A change in revenue is split exactly, whatever the periods, and a part is the factor's Shapley value over all 120 orders."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise, permutations
from math import prod

import duckdb
import numpy as np
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.first_step import with_first_step
from ecommerce_platform.reading.drivers import Periods, drivers_sql, revenue_drivers

PARTS = ("customers", "orders_per_customer", "units_per_order", "price", "discount")
START = date(2024, 1, 1)
DAYS = 90


def shop(seed: int, orders: int) -> duckdb.DuckDBPyConnection:
    """Orders of a small shop on some of its days, also of nobody, free of charge, and not counted."""
    con = duckdb.connect()
    con.execute("create schema gold")
    for table in ("gold.fct_orders", "gold.dim_date", "gold.month_coverage"):
        con.execute(create_table_sql(read_catalog().contract(table)))
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(orders):
        units = int(rng.integers(1, 6))
        gross = Decimal(int(rng.integers(0, 20_000)) * units) / 100 if rng.random() > 0.1 else Decimal(0)
        discount = (gross * int(rng.integers(0, 101)) / 100).quantize(Decimal("0.0001"))
        person = None if rng.random() < 0.2 else f"p{rng.integers(0, 8)}"
        day = START + timedelta(days=int(rng.integers(0, DAYS)))
        rows.append((str(n), person, day, bool(rng.random() < 0.9), 1, units, gross, discount, gross - discount))
    if rows:
        con.executemany(
            "insert into gold.fct_orders (order_id, person_id, order_date, is_counted, valid_lines, units, gross_amount, "
            "discount_amount, revenue_amount) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    return con


def random_pairs(seed: int, count: int) -> list[Periods]:
    rng = np.random.default_rng(seed)

    def period() -> tuple[date, date]:
        first = START + timedelta(days=int(rng.integers(-5, DAYS)))
        return first, first + timedelta(days=int(rng.choice([0, 1, 6, 29, 60])))

    return [Periods(*period(), *period()) for _ in range(count)]


@pytest.fixture(params=range(6))
def case(request: pytest.FixtureRequest) -> Iterator[tuple[duckdb.DuckDBPyConnection, list[Periods]]]:
    with shop(request.param, [0, 5, 30, 80, 200, 400][request.param]) as con:
        yield con, random_pairs(request.param, 40)


def exact(con: duckdb.DuckDBPyConnection, first: date, last: date) -> tuple[list[Fraction] | None, Decimal]:
    """The five factors of a period as fractions, None where they are not defined; and its whole revenue."""
    named = "is_counted and person_id is not null"
    ((people, orders, units, gross, revenue, whole),) = con.execute(
        f"select count(distinct person_id) filter (where {named}), count(*) filter (where {named}), "
        f"coalesce(sum(units) filter (where {named}), 0), coalesce(sum(gross_amount) filter (where {named}), 0), "
        f"coalesce(sum(revenue_amount) filter (where {named}), 0), coalesce(sum(revenue_amount), 0) "
        "from gold.fct_orders where order_date between ? and ?",
        [first, last],
    ).fetchall()
    if not (people and units and gross):
        return None, whole
    steps = [Fraction(1), Fraction(people), Fraction(orders), Fraction(units), Fraction(gross), Fraction(revenue)]
    return [b / a for a, b in pairwise(steps)], whole


def shapley(before: list[Fraction], after: list[Fraction]) -> list[Fraction]:
    """Each factor's mean contribution over all orders in which the five may change."""
    found = [Fraction(0)] * 5
    orders = list(permutations(range(5)))
    for order in orders:
        now = list(before)
        for factor in order:
            was = prod(now)
            now[factor] = after[factor]
            found[factor] += prod(now) - was
    return [value / len(orders) for value in found]


def test_parts_of_any_two_periods_add_up_to_the_last_cent_and_are_shapley_values(
    case: tuple[duckdb.DuckDBPyConnection, list[Periods]],
) -> None:
    con, pairs = case
    rows = revenue_drivers(con, pairs).to_dicts()
    assert len(rows) == 7 * len(pairs)
    split = 0
    for number, pair in enumerate(pairs):
        parts = {row["part"]: row["amount"] for row in rows if row["comparison"] == str(number)}
        before, revenue_before = exact(con, pair.before_first, pair.before_last)
        after, revenue = exact(con, pair.first, pair.last)
        assert sum(amount for amount in parts.values() if amount is not None) == revenue - revenue_before
        if before is None or after is None:
            assert [parts[name] for name in PARTS] == [None] * 5
            continue
        split += 1
        assert parts["not_split"] == 0
        for name, value in zip(PARTS, shapley(before, after), strict=True):
            assert abs(Fraction(parts[name]) - value) < Fraction(5, 10_000), (pair, name)
    assert split or con.execute("select count(*) from gold.fct_orders").fetchall()[0][0] < 10


def test_nothing_changes_between_a_period_and_itself() -> None:
    with shop(3, 80) as con:
        same = Periods(START, START + timedelta(days=40), START, START + timedelta(days=40))
        assert set(revenue_drivers(con, [same])["amount"].to_list()) == {Decimal(0)}


def test_periods_that_end_before_they_begin_and_no_periods_are_refused() -> None:
    with pytest.raises(ValueError, match="no earlier"):
        Periods(START, START, START, START - timedelta(days=1))
    with pytest.raises(ValueError, match="at least one"):
        drivers_sql([])


def test_only_the_first_step_of_a_select_is_put_in_another_way() -> None:
    sql = "with a as (\n\n    select 1 as x\n\n),\n\nb as (\n\n    select x from a\n\n),\n\nselect x from b"
    assert with_first_step(sql, "a", "select 2 as x") == sql.replace("    select 1 as x", "select 2 as x")
    with pytest.raises(AssertionError, match="step b"):
        with_first_step(sql, "b", "select 3 as x")
