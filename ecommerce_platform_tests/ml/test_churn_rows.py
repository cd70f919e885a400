"""Which days churn is learned from, and how late what happened on them is known."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import sqlglot
from sqlglot import exp

from ecommerce_platform.ml.churn_rows import LABELLED, Horizon, shop_horizon


def shop(con: duckdb.DuckDBPyConnection, orders: list[tuple[date, date | None, date]]) -> Horizon:
    """The horizon of a shop with these orders: placed, delivered, loaded."""
    con.execute("create schema silver; create schema gold")
    con.execute("create table silver.shop as select 90 as churn_window_days")
    con.execute(
        "create table silver.orders (ordered_at timestamp, approved_at timestamp, shipped_at timestamp, "
        "delivered_at timestamp, _load_date date)"
    )
    con.executemany("insert into silver.orders values ($1, null, null, $2, $3)", orders)
    con.execute(
        "create table gold.fct_customer_days as select 'p' as person_id, cast(ordered_at as date) as order_date, "
        "count(*) as orders from silver.orders group by 2"
    )
    found = shop_horizon(con)
    assert found is not None
    return found


def test_the_gap_is_how_late_what_happened_is_reported() -> None:
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(200)]
    # Delivered after four days; reported the day after, but every tenth order six days late.
    orders = [(d, d + timedelta(days=4), d + timedelta(days=10 if k % 10 == 0 else 5)) for k, d in enumerate(days)]
    with duckdb.connect() as con:
        assert shop(con, orders).gap == 6
    with duckdb.connect() as con:
        assert shop(con, [(d, None, d + timedelta(days=1)) for d in days]).gap == 1


def test_an_export_in_one_piece_says_nothing_about_delays() -> None:
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(200)]
    with duckdb.connect() as con:
        assert shop(con, [(d, None, date(2026, 1, 1)) for d in days]).gap == 1


def test_what_is_read_is_declared() -> None:
    from ecommerce_platform.ml.features import features_sql

    asked = sqlglot.parse_one(features_sql([date(2024, 1, 1)]), dialect="duckdb")
    tables = {f"{t.db}.{t.name}" for t in asked.find_all(exp.Table) if t.db}
    assert tables | {"gold.fct_customer_days", "silver.shop", "silver.orders"} == set(LABELLED.reads)
