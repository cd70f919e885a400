"""A generated shop as gold tables, in seconds: what a build without a fault makes of it, for marts that are to find what was planted.

The simulation's arrays become core tables at once: no file, no dirt, every record linked to its person. How well the
platform does the rest is what the integration tests say; here twenty shops are to be looked at in a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.simulation.advertising import MEDIA
from ecommerce_platform.simulation.catalogue import CATEGORIES
from ecommerce_platform.simulation.orders import DELIVERED
from ecommerce_platform.simulation.people import AGE_BANDS, NEVER
from ecommerce_platform.simulation.places import REGIONS
from ecommerce_platform.simulation.planted import planted_effects
from ecommerce_platform.simulation.seasons import SECONDS
from ecommerce_platform.simulation.simulate import Shop, simulate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CATALOG = read_catalog()
START = date(2024, 1, 1)


@dataclass(frozen=True)
class Planted:
    """A shop's core tables, and what was planted in it."""

    shop: Shop
    con: DuckDBPyConnection
    truth: dict[str, Any]

    @classmethod
    def of(cls, *, orders: int, days: int, seed: int, **settings: Any) -> Planted:
        """Simulates a shop; `settings` are those of `simulate`."""
        shop = simulate(orders=orders, days=days, seed=seed, start=START, progress=lambda *_: None, **settings)
        con = duckdb.connect()
        con.execute("set threads = 2")
        for schema in ("bronze", "silver", "gold", "ml"):
            con.execute(f"create schema {schema}")
        for table in CATALOG.tables.values():
            con.execute(create_table_sql(table.contract))
        for table, rows in _tables(shop).items():
            con.register("arrays", rows)
            con.execute(f"insert into {table} by name select * from arrays")
            con.unregister("arrays")
        con.execute("insert into silver.shop by name select 'planted' as source, 'EUR' as currency, 'Europe/Berlin' as time_zone, "
                    f"date '{START}' as start_date, 90 as churn_window_days, 5 as min_pair_orders")  # fmt: skip
        return cls(shop, con, planted_effects(shop))

    def make(self, *tables: str) -> None:
        """Builds gold tables by their own SELECTs, in this order."""
        for table in tables:
            self.con.execute(f"insert into {table} {CATALOG.tables[table].sql}")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.con.execute(sql).fetchall()


def _tables(shop: Shop) -> dict[str, Any]:
    return {
        "gold.fct_orders": _orders(shop),
        "gold.fct_order_items": _items(shop),
        "gold.dim_product": _products(shop),
        "silver.reviews": _reviews(shop),
        "silver.inventory_snapshots": _stock(shop),
        "silver.campaigns": _campaigns(shop),
        "silver.ad_spend": _spend(shop),
        "gold.dim_customer": _customers(shop),
        "silver.experiment_assignments": _assignments(shop),
    }


def _frame(**columns: Any) -> Any:
    import polars as pl

    return pl.DataFrame(columns)


def _moments(seconds: np.ndarray, end: int) -> Any:
    """Moments; what happens at `end` or after it is not known."""
    import polars as pl

    known = np.where(seconds < end, seconds, 0) * 1_000_000
    moments = np.datetime64(START, "us") + known.astype("timedelta64[us]")
    return pl.Series(moments).set(pl.Series(seconds >= end), None)


def _days(days: np.ndarray) -> Any:
    import polars as pl

    return _moments(np.asarray(days, dtype=np.int64) * SECONDS, NEVER).cast(pl.Date)


def _numbered(prefix: str, numbers: np.ndarray) -> Any:
    import polars as pl

    return pl.Series([f"{prefix}{n}" if n >= 0 else None for n in numbers.tolist()], dtype=pl.String)


def _names(names: list[str] | tuple[str, ...], index: np.ndarray) -> Any:
    import polars as pl

    return pl.Series([names[i] if i >= 0 else None for i in index.tolist()], dtype=pl.String)


def _orders(shop: Shop) -> Any:
    orders, lines, end = shop.orders, shop.lines, shop.seasons.days * SECONDS
    net = np.add.reduceat(lines.price * lines.quantity - lines.discount, lines.bounds[:-1])
    received = np.where(orders.fate == DELIVERED, orders.received, NEVER)
    known = (received < end) & (orders.promised < NEVER)
    late = np.where(known, received // SECONDS - orders.promised // SECONDS, 0)
    import polars as pl

    return _frame(
        order_id=_numbered("o", np.arange(len(orders))),
        person_id=_numbered("p", orders.person),
        ordered_at=_moments(orders.placed, NEVER),
        order_date=_days(orders.day),
        delivered_at=_moments(received, end),
        days_late=pl.Series(np.where(known, late, 0)).set(pl.Series(~known), None),
        region=_names(REGIONS, orders.region),
        revenue_amount=net / 100,
        profit_amount=net / 300,
        cost_known_lines=np.diff(lines.bounds),
        campaign_id=_names([f.code for f in shop.seasons.flights], orders.credited_to),
        is_counted=(orders.fate == DELIVERED) | (orders.ended >= end),
    )


def _items(shop: Shop) -> Any:
    orders, lines, end = shop.orders, shop.lines, shop.seasons.days * SECONDS
    gross = lines.price * lines.quantity
    valid = (orders.fate == DELIVERED) | (orders.ended >= end)
    cost = shop.catalogue.cost[-1]
    import polars as pl

    return _frame(
        order_id=_numbered("o", lines.order),
        line_number=lines.number,
        product_id=_names(shop.catalogue.sku, lines.product),
        order_date=_days(orders.day[lines.order]),
        quantity=lines.quantity,
        unit_price=lines.price / 100,
        gross_amount=gross / 100,
        discount_amount=lines.discount / 100,
        revenue_amount=(gross - lines.discount) / 100,
        unit_cost=pl.Series(cost[lines.product] / 100).set(pl.Series(cost[lines.product] < 0), None),
        is_valid=valid[lines.order],
    )


def _products(shop: Shop) -> Any:
    codes = [c.code for c in CATEGORIES]
    return _frame(
        product_id=shop.catalogue.sku, name=shop.catalogue.title, category=_names(codes, shop.catalogue.category)
    )


def _reviews(shop: Shop) -> Any:
    reviews = shop.reviews
    return _frame(
        review_id=_numbered("r", np.arange(len(reviews.order))),
        order_id=_numbered("o", reviews.order),
        score=reviews.score,
        created_at=_moments(reviews.written, NEVER),
    )


def _stock(shop: Shop) -> Any:
    stock = shop.stock
    return _frame(
        snapshot_date=_days(stock.day),
        product_id=_names(shop.catalogue.sku, stock.product),
        location_id=_numbered("l", stock.location),
        on_hand=stock.on_hand,
        reorder_point=stock.reorder_point,
        lead_time_days=stock.lead_time_days,
    )


def _campaigns(shop: Shop) -> Any:
    flights = shop.seasons.flights
    first, last = (np.array([getattr(f, side) for f in flights], dtype=np.int64) for side in ("first", "last"))
    return _frame(
        campaign_id=[f.code for f in flights],
        name=[f.name for f in flights],
        channel=[MEDIA[f.medium].channel for f in flights],
        start_date=_days(first),
        end_date=_days(last),
    )


def _spend(shop: Shop) -> Any:
    days, flights = shop.ad_days, shop.seasons.flights
    return _frame(
        spend_date=_days(days.day),
        campaign_id=_names([f.code for f in flights], days.flight),
        impressions=days.impressions,
        clicks=days.clicks,
        cost_amount=days.cost / 100,
    )


def _assignments(shop: Shop) -> Any:
    """Every person is one customer record here."""
    import polars as pl

    empty = {"experiment_id": pl.String, "customer_id": pl.String, "arm": pl.String, "assigned_at": pl.Datetime("us")}
    parts = [
        _frame(
            experiment_id=[trial.experiment.code] * len(trial.person),
            customer_id=_numbered("p", trial.person),
            arm=_names(trial.experiment.arms, trial.arm),
            assigned_at=_moments(trial.assigned, NEVER),
        )
        for trial in shop.trials
    ]
    return pl.concat([pl.DataFrame(schema=empty), *parts])


def _customers(shop: Shop) -> Any:
    return _frame(
        person_id=_numbered("p", np.arange(len(shop.customers))), age_group=_names(AGE_BANDS, shop.customers.age_band)
    )
