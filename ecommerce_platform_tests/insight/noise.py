"""A shop in which nothing has to do with anything: who buys, what, when, how late it comes and how it is liked are drawn apart.

`noise_shop` writes its silver tables and builds a gold table from them in memory, as row fixtures do.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl

from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform_tests.models.test_row_fixtures import CATALOG, SHOP, tables_in

FIRST = datetime(2024, 1, 1)
DAYS, ORDERS, CUSTOMERS, PRODUCTS = 500, 6_000, 1_500, 60
REGIONS = ("North", "South", "East", "West")


def noise_shop(seed: int, table: str = "gold.insights") -> duckdb.DuckDBPyConnection:
    """A database with the shop of that seed, and `table` and all it is made of built."""
    con = duckdb.connect()
    for schema in ("bronze", "silver", "gold", "ml"):
        con.execute(f"create schema {schema}")
    for known in CATALOG.tables.values():
        con.execute(create_table_sql(known.contract))
    for name, frame in _silver(np.random.default_rng(seed)).items():
        con.register("frame", frame)
        con.execute(f"insert into silver.{name} by name select * from frame")
    _fill(con, table, {f"silver.{name}" for name in ("customer_identities", "customers_history", "products_history")})
    return con


def _fill(con: duckdb.DuckDBPyConnection, table: str, done: set[str]) -> None:
    sql = CATALOG.tables[table].sql
    if table in done:
        return
    done.add(table)
    if sql:
        for parent in sorted(tables_in(sql)):
            _fill(con, parent, done)
        con.execute(f"insert into {table} {sql}")


def _silver(random: np.random.Generator) -> dict[str, pl.DataFrame]:
    customers, orders = _customers(random), _orders(random)
    items = _items(random, orders)
    spells = range(0, DAYS, 7)
    stock = [
        {"snapshot_date": FIRST.date() + timedelta(days=day), "product_id": f"p{n}", "location_id": "l",
         "on_hand": 0 if random.random() < 0.05 else 20}
        for day in spells for n in range(PRODUCTS)
    ]  # fmt: skip
    bought = orders["order_id"].to_list()
    return {
        "shop": pl.DataFrame([SHOP]).with_columns(pl.col("start_date").str.to_date()),
        "customers": customers,
        "customer_identities": customers.select("customer_id", person_id="customer_id"),
        "products": pl.DataFrame(
            {
                "product_id": [f"p{n}" for n in range(PRODUCTS)],
                "category": [f"c{n % 6}" for n in range(PRODUCTS)],
                "unit_cost": [5.0] * PRODUCTS,
            }
        ),
        "orders": orders,
        "order_items": items,
        "reviews": pl.DataFrame(
            {
                "review_id": bought,
                "order_id": bought,
                "score": random.integers(1, 6, len(bought)),
                "created_at": orders["delivered_at"] + timedelta(days=1),
            }
        ).sample(fraction=0.6, seed=1),
        "inventory_snapshots": pl.DataFrame(stock),
        "campaigns": _campaigns(),
    }


def _customers(random: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "customer_id": [f"k{n}" for n in range(CUSTOMERS)],
            "region": random.choice(REGIONS, CUSTOMERS),
            "customer_segment": random.choice(("a", "b", "c"), CUSTOMERS),
            "age_group": random.choice(("18-34", "35-54", "55+"), CUSTOMERS),
        }
    )


def _orders(random: np.random.Generator) -> pl.DataFrame:
    """Everybody buys as often as everybody else, on any day; every seventh day of delivery is a late one."""
    minutes = np.sort(random.integers(0, DAYS * 24 * 60, ORDERS))
    at = [FIRST + timedelta(minutes=int(m)) for m in minutes]
    took = random.integers(2, 9, ORDERS)
    region = random.choice(REGIONS, ORDERS)
    # Those of a campaign say so; there are no more of them for it.
    number = minutes // (24 * 60) // 28
    runs = (minutes // (24 * 60) % 28 < 14) & np.isin(region, REGIONS[:2]) & (random.random(ORDERS) < 0.4)
    return pl.DataFrame(
        {
            "order_id": [f"o{n}" for n in range(ORDERS)],
            "customer_id": [f"k{n}" for n in random.integers(0, CUSTOMERS, ORDERS)],
            "ordered_at": at,
            "delivered_at": [t + timedelta(days=int(d)) for t, d in zip(at, took, strict=True)],
            "promised_at": [t + timedelta(days=7) for t in at],
            "status": "delivered",
            "is_valid": True,
            "channel": random.choice(("web", "app"), ORDERS),
            "region": region,
            "campaign_id": [f"m{n}" if on else None for n, on in zip(number, runs, strict=True)],
        }
    )


def _items(random: np.random.Generator, orders: pl.DataFrame) -> pl.DataFrame:
    """One to three lines. On days of a sale, drawn for each category, a cent is taken off: too little to matter."""
    lines = random.integers(1, 4, ORDERS)
    at = np.repeat(np.arange(ORDERS), lines)
    product = random.integers(0, PRODUCTS, len(at))
    day = (orders["ordered_at"].dt.date() - FIRST.date()).dt.total_days().to_numpy()[at]
    sale = random.random((DAYS, 6)) < 0.15
    return pl.DataFrame(
        {
            "order_id": [f"o{n}" for n in at],
            "line_number": np.concatenate([np.arange(1, n + 1) for n in lines]),
            "product_id": [f"p{n}" for n in product],
            "quantity": 1,
            "unit_price": np.round(random.lognormal(3, 0.5, len(at)), 2),
            "discount_amount": np.where(sale[day, product % 6], 0.01, 0.0),
        }
    )


def _campaigns() -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {"campaign_id": f"m{n}", "start_date": start, "end_date": start + timedelta(days=13)}
        for n in range(DAYS // 28)
        for start in (FIRST.date() + timedelta(days=28 * n),)
    ]
    return pl.DataFrame(rows)
