"""Moves of prices: the three responses, the best moves against trying many, what keeps a price where it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.decision_rules import Prices
from ecommerce_platform.decisions.prices import READS, Market, best_moves, decide_prices
from ecommerce_platform_tests.decisions.rests import rests_on_rows

CATALOG = read_catalog()


def market(seed: int, size: int = 3, total: float = 0.0) -> Market:
    random = np.random.default_rng(seed)
    price = random.uniform(10, 40, size)
    return Market(
        random.uniform(5, 50, size), price, price * random.uniform(0.2, 0.9, size), random.uniform(-3, -0.5), total
    )


def test_the_three_responses_are_what_a_small_move_does() -> None:
    for total in (0.0, -0.7):
        shop = market(1, total=total)
        step = np.array([1e-6, 0, 0])
        change = np.log(shop.sold(step) / shop.sold(np.zeros(3))) / 1e-6
        share, e = shop.share[0], shop.share_elasticity
        assert change[0] == pytest.approx(e * (1 - share) + total * share, rel=1e-4)
        assert change[1:] == pytest.approx((total - e) * share, rel=1e-4)
        whole = np.log(shop.sold(step).sum() / shop.units.sum()) / 1e-6
        assert whole == pytest.approx(total * share, abs=1e-6)


def test_the_gradient_is_the_margin_s() -> None:
    shop, at = market(2, total=-1.1), np.array([0.02, -0.01, 0.03])
    for n in range(3):
        step = np.zeros(3)
        step[n] = 1e-6
        assert shop.gradient(at)[n] == pytest.approx((shop.margin(at + step) - shop.margin(at - step)) / 2e-6, rel=1e-4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("keep", [True, False])
def test_no_moves_on_a_grid_beat_the_ones_found(seed: int, keep: bool) -> None:
    shop = market(seed, total=0.0 if keep else -1.5)
    random = np.random.default_rng(seed)
    low, high = -random.uniform(0, 0.05, 3), random.uniform(0, 0.05, 3)
    found = best_moves(shop, low, high, keep_average=keep)
    assert (found >= low - 1e-12).all()
    assert (found <= high + 1e-12).all()
    a, b = (np.linspace(low[n], high[n], 41) for n in (0, 1))
    if keep:
        assert (shop.share * found).sum() == pytest.approx(0, abs=1e-12)
        tried = [np.array([x, y, -(shop.share[0] * x + shop.share[1] * y) / shop.share[2]]) for x in a for y in b]
        tried = [t for t in tried if low[2] <= t[2] <= high[2]]
    else:
        tried = [np.array([x, y, z]) for x in a[::4] for y in b[::4] for z in np.linspace(low[2], high[2], 11)]
    best = max(map(shop.margin, tried))
    gain = best - shop.margin(np.zeros(3))
    assert shop.margin(found) >= best - 0.01 * max(gain, 0) - 1e-9


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    for schema in ("silver", "gold"):
        con.execute(f"create schema {schema}")
    for name in READS:
        con.execute(create_table_sql(CATALOG.contract(name)))
    with con:
        yield con


def add(con: duckdb.DuckDBPyConnection, table: str, columns: dict[str, Any]) -> None:
    con.register("rows", pl.DataFrame(columns))
    con.execute(f"insert into {table} by name select * from rows")


#: Product → price of two months each, cost and units a month: one earns little and has a high cost, one earns much.
PRODUCTS = {"dear": ((22.0, 20.0), 18.0, 200), "fine": ((19.0, 20.0), 6.0, 200), "still": ((20.0, 20.0), 12.0, 200)}


def sell(
    con: duckdb.DuckDBPyConnection, elasticity: tuple[float, float, float], scores: dict[str, int] | None = None
) -> None:
    rows = [
        {"order_id": f"{name}{month}{n}", "line_number": 1, "product_id": name, "order_date": date(2024, 5 + month, 1) + timedelta(n % 28),
         "is_valid": True, "quantity": 1, "gross_amount": price, "unit_price": price, "unit_cost": cost}
        for name, (prices, cost, units) in PRODUCTS.items() for month, price in enumerate(prices) for n in range(units)
    ]  # fmt: skip
    add(con, "gold.fct_order_items", {key: [row[key] for row in rows] for key in rows[0]})
    add(con, "gold.dim_product", {"product_id": list(PRODUCTS), "category": "things"})
    add(con, "gold.price_elasticity", {"category": ["things"], "elasticity": [elasticity[0]], "elasticity_low": [elasticity[1]],
                                       "elasticity_high": [elasticity[2]]})  # fmt: skip
    said = [(row["order_id"], (scores or {}).get(row["product_id"], 4)) for row in rows]
    add(con, "silver.reviews", {"review_id": [o for o, _ in said], "order_id": [o for o, _ in said],
                                "score": [s + (n % 2) for n, (_, s) in enumerate(said)]})  # fmt: skip


def test_what_earns_little_gets_dearer_and_the_average_stays(con: duckdb.DuckDBPyConnection) -> None:
    sell(con, (-2.0, -2.4, -1.6))
    found = decide_prices(con, Prices())
    rows = {row["product_id"]: row for row in found.rows}
    assert found.status == "made"
    assert rests_on_rows(con, found, READS)
    assert rows["dear"]["move"] > 0 > rows["fine"]["move"]
    # A price that was never another one stays.
    assert rows["still"]["recommended_price"] == pytest.approx(20)
    assert sum(row["units_per_week"] * np.log1p(row["move"]) for row in rows.values()) == pytest.approx(0, abs=1e-9)
    assert all(
        row["lowest_price"] <= row["recommended_price"] + 1e-9 <= row["highest_price"] + 2e-9 for row in rows.values()
    )
    assert found.low is not None
    assert found.low > 0


def test_what_is_rated_worse_than_its_category_is_not_made_dearer(con: duckdb.DuckDBPyConnection) -> None:
    sell(con, (-2.0, -2.4, -1.6), scores={"dear": 1})
    found = decide_prices(con, Prices())
    assert all(row["move"] <= 1e-12 for row in found.rows if row["product_id"] == "dear")


def test_a_known_response_of_the_whole_lets_the_average_move(con: duckdb.DuckDBPyConnection) -> None:
    sell(con, (-2.0, -2.4, -1.6))
    rules = Prices.model_validate({"total_response": {"low": -0.3, "likely": -0.2, "high": -0.1}})
    rows = decide_prices(con, rules).rows
    assert sum(row["units_per_week"] * np.log1p(row["move"]) for row in rows) > 0.1
    assert {row["total_response"] for row in rows} == {-0.2}


def test_what_is_missing_is_named(con: duckdb.DuckDBPyConnection) -> None:
    assert decide_prices(con, None).reason.startswith("`decisions: prices:`")
    assert "no product has its category and its cost" in decide_prices(con, Prices()).reason
    sell(con, (-0.2, -0.6, 0.2))
    assert "in no category does a dearer product surely sell less" in decide_prices(con, Prices()).reason
