"""Offers beside the basket: worth what a segment leaves out, and only where a rule, a segment, a profit and a figure are there."""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.decision_rules import CrossSell, Range
from ecommerce_platform.decisions.cross_sell import MISSING, READS, decide_cross_sell, offers
from ecommerce_platform_tests.decisions.rests import rests_on_rows

RULES = CrossSell(taken=Range(low=0.1, likely=0.2, high=0.4), offers=2)


def counted(segment: str, other: str, baskets: int, both: int, profit: float | None = 5.0) -> dict[str, Any]:
    return {
        "segment_name": segment,
        "product_id": "a",
        "other_product_id": other,
        "baskets": baskets,
        "with_both": both,
        "profit": profit,
    }


def test_an_offer_is_worth_what_it_adds_to_the_baskets_without_it() -> None:
    (row,) = offers([counted("s", "b", 100, 20)], RULES)
    assert row["expected_value"] == pytest.approx(80 * 0.2 * 0.2 * 5)
    # Jeffreys' interval (90 %) of 20 of 100: 0.1414 to 0.2718.
    assert row["value_low"] == pytest.approx(80 * 0.1414 * 0.1 * 5, rel=0.01)
    assert row["value_high"] == pytest.approx(80 * 0.2718 * 0.4 * 5, rel=0.01)


def test_each_segment_gets_its_best_offers_and_none_that_earns_nothing() -> None:
    rows = offers(
        [counted("s", "b", 100, 20), counted("s", "c", 100, 40), counted("s", "d", 100, 30), counted("s", "e", 900, 300, -1),
         counted("t", "b", 100, 5), counted("t", "c", 29, 20), counted("t", "d", 90, 9, None), counted("t", "e", 90, 0)], RULES
    )  # fmt: skip
    assert [(r["segment_name"], r["place"], r["other_product_id"]) for r in rows] == [
        ("s", 1, "c"),
        ("s", 2, "d"),
        ("t", 1, "b"),
    ]


def add(con: duckdb.DuckDBPyConnection, table: str, columns: dict[str, Any]) -> None:
    con.register("rows", pl.DataFrame(columns))
    con.execute(f"insert into {table} by name select * from rows")


def test_baskets_count_by_segment_and_what_is_missing_is_named() -> None:
    """40 orders of one segment hold `a`, 10 of them `b` with a profit of 6; another segment's and an old order do not count."""
    with duckdb.connect() as con:
        for table in READS:
            con.execute(f"create schema if not exists {table.partition('.')[0]}")
            con.execute(create_table_sql(read_catalog().contract(table)))
        assert decide_cross_sell(con, None).reason == f"{MISSING}; no customer has a segment (ml.segments)"
        add(con, "ml.segments", {"person_id": ["p", "q"], "segment_name": ["s", "t"]})
        assert decide_cross_sell(con, RULES).status == "abstained"
        add(
            con,
            "ml.bought_together",
            {"product_id": "a", "place": [1, 2], "other_product_id": ["b", "c"], "basis": ["rule", "bestseller"]},
        )
        ids = [f"o{n}" for n in range(42)]
        days = [date(2024, 6, 1)] * 41 + [date(2023, 6, 1)]
        add(
            con,
            "gold.fct_orders",
            {"order_id": ids, "person_id": ["p"] * 40 + ["q", "p"], "order_date": days, "is_counted": True},
        )
        lines = [(o, 1, "a") for o in ids] + [(o, 2, "b") for o in ids[:10]]
        add(con, "gold.fct_order_items", {
            "order_id": [o for o, _, _ in lines], "line_number": [n for _, n, _ in lines], "product_id": [p for _, _, p in lines],
            "is_valid": True, "quantity": 1, "profit_amount": 6.0,
        })  # fmt: skip
        found = decide_cross_sell(con, RULES)
        assert rests_on_rows(con, found, READS)
        (row,) = found.rows
        assert (row["segment_name"], row["other_product_id"], row["baskets"], row["with_both"]) == ("s", "b", 40, 10)
        assert found.value == row["expected_value"] == pytest.approx(30 * 0.25 * 0.2 * 6)
        con.execute("update gold.fct_order_items set profit_amount = null")
        assert "maps no unit_cost" in decide_cross_sell(con, RULES).reason
