"""Rows that churn is learned from: outcomes are those of the days after, and what came later changes not a byte of the rest."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import polars as pl
import pytest
import skops.io
import sqlglot
from sqlglot import exp

from ecommerce_platform.ml.churn import fit_method
from ecommerce_platform.ml.churn_model import METHODS, Recency
from ecommerce_platform.ml.churn_rows import (
    FEATURES,
    LABELLED,
    TO_SCORE,
    Horizon,
    described,
    labelled_rows,
    refuse_leaks,
    rows_to_score,
    shop_horizon,
)
from ecommerce_platform_tests.ml.test_features import change_what_came_later, con, rebuild, warehouse

__all__ = ["con", "warehouse"]

#: The shop of `test_features` is 150 days old: a short window, so that there are cut-offs.
WINDOW = 30


def make(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"update silver.shop set churn_window_days = {WINDOW}")
    for table in LABELLED.reads:
        rebuild(con, table)


def test_outcomes_are_what_the_days_after_the_gap_show(con: duckdb.DuckDBPyConnection) -> None:
    make(con)
    found = shop_horizon(con)
    assert found is not None
    assert len(found.cut_offs) == 3
    rows = labelled_rows(con)
    refuse_leaks(rows, FEATURES)
    bought: dict[str, set[date]] = {}
    for person, day in con.execute("select person_id, order_date from gold.fct_customer_days").fetchall():
        bought.setdefault(person, set()).add(day)
    assert 0 < rows["is_lost"].sum() < rows.height
    for cut in found.cut_offs:
        here = rows.filter(pl.col("as_of_date") == cut)
        customers = {p for p, days in bought.items() if any(cut - timedelta(days=2 * WINDOW) < d <= cut for d in days)}
        assert set(here["person_id"]) == customers
        after = cut + timedelta(days=found.gap)
        for person, lost in here.select("person_id", "is_lost").iter_rows():
            assert lost == (not any(after < d <= after + timedelta(days=WINDOW) for d in bought[person]))
        assert here["outcome_to"][0] == cut + timedelta(days=found.gap + WINDOW) <= found.last
    assert rows_to_score(con)["as_of_date"].unique().to_list() == [found.last]
    assert set(TO_SCORE.reads) == set(LABELLED.reads)


def learned(rows: pl.DataFrame) -> list[bytes]:
    """All that is fitted on the rows, as bytes."""
    fits = [fit_method(method, [rows], FEATURES, 1, False) for method in METHODS]
    base = Recency.fit(rows["recency_days"].to_numpy(), rows["is_lost"].to_numpy())
    return [skops.io.dumps([f.encoder.to_state(), f.scorer.to_state()]) for f in fits] + [
        base.days.tobytes(), base.share.tobytes(),
    ]  # fmt: skip


def test_what_came_later_changes_not_a_byte_of_features_and_parameters(
    con: duckdb.DuckDBPyConnection, warehouse: object
) -> None:
    make(con)
    found = shop_horizon(con)
    assert found is not None
    *earlier, newest = found.cut_offs
    before = (described(con, found, earlier), described(con, found, [newest]).select("person_id", *FEATURES))

    for table in reversed(LABELLED.reads):
        if table.startswith("gold."):
            con.execute(f"drop table if exists {table}")
    for (table,) in con.execute(
        "select 'gold.' || table_name from duckdb_tables() where schema_name = 'gold' and database_name = 'memory'"
    ).fetchall():
        con.execute(f"drop table {table}")
    change_what_came_later(con, newest)
    make(con)
    after = (described(con, found, earlier), described(con, found, [newest]).select("person_id", *FEATURES))

    assert [frame.write_csv() for frame in before] == [frame.write_csv() for frame in after]
    assert learned(before[0]) == learned(after[0])
    assert labelled_rows(con).height != before[0].height, "else nothing came later"


# -- days and delays ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("rows", [labelled_rows, rows_to_score])
def test_a_shop_without_orders_has_no_rows(con: duckdb.DuckDBPyConnection, rows: object) -> None:
    make(con)
    con.execute("delete from gold.fct_customer_days")
    frame = rows(con)  # type: ignore[operator]
    assert frame.height == 0
    assert set(FEATURES) <= set(frame.columns)
