"""Series that go together are found at their lag, those that only share weekdays, trend and memory are not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import duckdb
import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.insight.correlations import LAGS, correlate, find_correlations

CATALOG = read_catalog()
FIRST = date(2024, 1, 1)


def remembering(random: np.random.Generator, days: int, memory: float = 0.5) -> np.ndarray:
    """A series that keeps so much of the day before."""
    values = random.normal(size=days)
    for n in range(1, days):
        values[n] += memory * values[n - 1]
    return values


def test_the_lag_at_which_one_follows_the_other_is_found() -> None:
    random = np.random.default_rng(11)
    x = remembering(random, 500)
    y = 0.6 * np.roll(x, 6) + remembering(random, 500)
    for one, other, lag in ((x, y, 6), (y, x, -6)):
        found = correlate(one, other)
        strongest = int(np.argmax(np.abs(found.correlation)))
        assert strongest - LAGS == lag
        assert found.low[strongest] > 0
    assert found.correlation[strongest] == pytest.approx(0.6 / np.sqrt(1 + 0.6**2), abs=0.12)


def test_series_that_have_nothing_to_do_with_each_other_seldom_seem_to() -> None:
    surely = 0
    for seed in range(500, 540):
        random = np.random.default_rng(seed)
        found = correlate(remembering(random, 400), remembering(random, 400))
        surely += bool(((found.low > 0) | (found.high < 0)).any())
    # 5 % of 40 are two; six or more come about in one of seventy cases.
    assert surely <= 5


def test_the_interval_grows_with_the_pairs_that_were_tried() -> None:
    random = np.random.default_rng(3)
    x, y = remembering(random, 400), remembering(random, 400)
    one, of_five = correlate(x, y), correlate(x, y, 5)
    assert (of_five.correlation == one.correlation).all()
    assert (of_five.low < one.low).all()
    assert (of_five.high > one.high).all()


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    for schema in ("silver", "gold"):
        con.execute(f"create schema {schema}")
    for name in ("gold.fct_orders", "silver.reviews", "silver.social_interactions"):
        con.execute(create_table_sql(CATALOG.contract(name)))
    with con:
        yield con


def fill(con: duckdb.DuckDBPyConnection, orders: np.ndarray, posts: np.ndarray) -> None:
    """So many orders and interactions on each day from FIRST on."""
    days = [FIRST + timedelta(days=n) for n in range(len(orders))]
    number = [day for day, n in zip(days, orders, strict=True) for _ in range(n)]
    sold = pl.DataFrame({"order_date": number}).with_columns(
        order_id=pl.int_range(pl.len()).cast(pl.String), is_counted=True, valid_lines=1, revenue_amount=10
    )
    said = pl.DataFrame({"occurred_at": [day for day, n in zip(days, posts, strict=True) for _ in range(n)]})
    said = said.with_columns(interaction_id=pl.int_range(pl.len()).cast(pl.String))
    for table, frame in (("gold.fct_orders", sold), ("silver.social_interactions", said)):
        con.register("frame", frame)
        con.execute(f"insert into {table} by name select * from frame")


def test_what_only_shares_weekdays_and_growth_does_not_go_together(con: duckdb.DuckDBPyConnection) -> None:
    random, days = np.random.default_rng(7), np.arange(400)
    usual = (40 + 0.2 * days) * np.where(days % 7 < 5, 1.0, 0.4)
    orders, posts = random.poisson(usual), random.poisson(usual)
    assert np.corrcoef(orders, posts)[0, 1] > 0.9
    fill(con, orders, posts)
    rows = find_correlations(con)
    assert {(row["first_series"], row["second_series"]) for row in rows} == {
        ("orders", "social_interactions"), ("revenue", "social_interactions"),
    }  # fmt: skip
    assert not any(row["is_sure"] for row in rows)
    assert len(rows) == 2 * (2 * LAGS + 1)
    assert {row["days"] for row in rows} == {400 - 2 * LAGS}


def test_what_is_said_days_after_the_sale_is_led_by_it(con: duckdb.DuckDBPyConnection) -> None:
    random = np.random.default_rng(8)
    orders = random.poisson(50 * np.exp(0.3 * remembering(random, 400)))
    fill(con, orders, random.poisson(np.roll(orders, 4) * 0.8))
    (strongest,) = [r for r in find_correlations(con) if r["is_strongest"] and r["first_series"] == "orders"]
    assert (strongest["lag_days"], strongest["is_sure"]) == (4, True)
    assert strongest["correlation"] > 0.5


def test_too_few_days_say_nothing(con: duckdb.DuckDBPyConnection) -> None:
    random = np.random.default_rng(9)
    fill(con, random.poisson(50, 140), random.poisson(50, 140))
    assert find_correlations(con) == []
