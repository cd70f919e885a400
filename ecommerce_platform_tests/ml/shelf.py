"""A warehouse with what segments are made from and nothing else, and where its models lie: for tests of the lifecycle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.ml.lifecycle import Place
from ecommerce_platform.ml.rfm import rfm_as_of
from ecommerce_platform.warehouse.changes import record_change

CATALOG = read_catalog()


def open_place(folder: Path) -> Place:
    """A folder's warehouse file and models."""

    @contextmanager
    def connect() -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(folder / "warehouse.duckdb") as con:
            yield con

    return Place(connect, folder / "models", CATALOG)


def place(folder: Path, orders: pl.DataFrame) -> Place:
    """A new warehouse in a folder that holds these orders (`shop.orders_frame`)."""
    there = open_place(folder)
    with there.connect() as con:
        for schema in ("gold", "ml"):
            con.execute(f"create schema {schema}")
    set_orders(there, orders)
    return there


def set_orders(there: Place, orders: pl.DataFrame) -> None:
    """Makes these the orders of the warehouse, and its persons those who bought."""
    persons = rfm_as_of(orders, max(orders["order_date"].to_list()) + timedelta(days=1))
    with there.connect() as con:
        for table in ("gold.rfm", "gold.fct_orders", "gold.customer_features"):
            con.execute(create_table_sql(CATALOG.contract(table), or_replace=True).replace(" not null", ""))
            record_change(con, table)
        con.register("bought", orders.to_arrow())
        con.register("persons", persons.to_arrow())
        con.execute(
            "insert into gold.fct_orders by name select 'o' || row_number() over () as order_id, person_id, order_date, "
            "revenue as revenue_amount, true as is_counted from bought"
        )
        con.execute("insert into gold.rfm by name select * from persons")
        con.execute(
            "insert into gold.customer_features by name select person_id, 'north' as region, '18-29' as age_group from persons"
        )


def rows(there: Place, sql: str) -> list[tuple[object, ...]]:
    """What a query gives."""
    with there.connect() as con:
        return con.execute(sql).fetchall()
