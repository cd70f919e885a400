"""Carriers: the one that is less often late, what it changes, and nothing where that may be chance."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.decisions.delivery import READS, decide_delivery, plan_lanes
from ecommerce_platform_tests.decisions.rests import rests_on_rows


def lane(
    carrier: str, parcels: int, late: int, region: str = "north", days: float = 2, cost: float | None = 4
) -> dict[str, Any]:
    return {"region": region, "carrier": carrier, "parcels": parcels, "late": late, "days": days, "cost": cost}


def test_the_other_carrier_s_gain_time_and_cost_are_those_of_the_lane_s_parcels() -> None:
    slow, quick = plan_lanes([lane("slow", 400, 80, days=4, cost=4), lane("quick", 200, 10, days=3, cost=5)])
    assert (slow["alternative"], slow["fewer_late"]) == ("quick", pytest.approx(400 * (0.2 - 0.05)))
    assert (slow["days_more"], slow["cost_more"]) == (-1, 400)
    assert slow["cost_per_late_avoided"] == pytest.approx(400 / 60)
    # Agresti and Caffo: one late and one in time added to both.
    p, q = 81 / 402, 11 / 202
    half = 1.96 * np.sqrt(p * (1 - p) / 402 + q * (1 - q) / 202)
    assert slow["fewer_late_low"] == pytest.approx(400 * (p - q - half))
    assert slow["fewer_late_high"] == pytest.approx(400 * (p - q + half))
    assert "alternative" not in quick
    assert quick["p_value"] == slow["p_value"]


def test_regions_carriers_with_few_parcels_and_unknown_costs_stay_apart() -> None:
    rows = plan_lanes([
        lane("a", 400, 80), lane("b", 49, 0), lane("b", 400, 4, region="south"), lane("c", 400, 80, region="south", cost=None),
    ])  # fmt: skip
    assert [(r["region"], r["carrier"], r.get("alternative")) for r in rows] == [
        ("north", "a", None), ("south", "b", None), ("south", "c", "b"),
    ]  # fmt: skip
    assert rows[0]["p_value"] is None
    assert rows[2]["cost_more"] is None


def test_carriers_that_do_not_differ_are_told_apart_in_few_shops() -> None:
    random = np.random.default_rng(1)
    found = 0
    for _ in range(400):
        lanes = [lane(c, 300, int(random.binomial(300, 0.1)), region=r) for r in ("n", "s", "e") for c in ("a", "b")]
        found += any(row.get("alternative") for row in plan_lanes(lanes))
    assert found <= 400 * 0.05 + 2 * np.sqrt(400 * 0.05 * 0.95)


def shop() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    for name in ("silver.shipments", "gold.fct_orders"):
        con.execute(f"create schema {name.partition('.')[0]}")
        con.execute(create_table_sql(read_catalog().contract(name)))
    return con


def test_parcels_count_by_the_promised_day_and_what_is_missing_is_named() -> None:
    """60 parcels a carrier, promised for day 4: a brings them on day 3, b on day 5 or, two of them, not at all."""
    with shop() as con:
        assert "maps no shipments" in decide_delivery(con).reason
        first, ids = datetime(2024, 1, 1, 12), [f"o{n}" for n in range(121)]
        orders = pl.DataFrame({"order_id": ids, "is_counted": True, "region": "north"})
        came = (
            [first + timedelta(days=3)] * 60
            + [first + timedelta(days=5)] * 58
            + [None] * 2
            + [first + timedelta(days=9)]
        )
        parcels = pl.DataFrame({
            "shipment_id": ids, "order_id": ids, "carrier": ["a"] * 60 + ["b"] * 61, "shipped_at": first + timedelta(days=1),
            "promised_at": [first + timedelta(days=4)] * 120 + [first + timedelta(days=9)], "delivered_at": came, "cost_amount": 3.0,
        })  # fmt: skip
        for table, rows in (("gold.fct_orders", orders), ("silver.shipments", parcels)):
            con.register("rows", rows)
            con.execute(f"insert into {table} by name select * from rows")
        found = decide_delivery(con)
        assert rests_on_rows(con, found, READS)
        a, b = found.rows
        # The parcel of the newest day is not yet known to be late or not.
        assert (found.status, a["late_share"], b["late_share"], b["parcels"]) == ("made", 0, 1, 60)
        assert (b["alternative"], b["days_more"], b["cost_more"]) == ("a", -2, 0)
        assert (found.value, found.unit) == (60, "late parcels in 182 days")
        con.execute("update silver.shipments set carrier = null, promised_at = null")
        assert (
            decide_delivery(con).reason
            == "shipments have no carrier; shipments have no promised_at, nor have their orders"
        )
