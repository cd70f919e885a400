"""Fees reduce profit and never revenue, on the day they were taken, in the shop's currency."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from ecommerce_platform.contracts.metric_sql import Query, compile_query
from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform_tests.models.test_row_fixtures import CATALOG, Claim, build

GIVEN: dict[str, list[dict[str, Any]]] = {
    "silver.orders": [
        {"order_id": "o1", "customer_id": "c", "channel": "web", "currency": "USD"},
        {"order_id": "o2", "channel": "app", "status": "canceled", "is_valid": False},
    ],
    "silver.order_items": [{"order_id": "o1", "unit_price": 10, "unit_cost": 5}, {"order_id": "o2", "unit_cost": 5}],
    "silver.exchange_rates": [{"rate_date": "2024-01-09", "currency": "USD", "rate": "0.9"}],
    "silver.fees": [
        {"fee_id": "f1", "order_id": "o1", "fee_type": "payment", "amount": 1, "charged_at": "2024-01-12 10:00:00"},
        {"fee_id": "f2", "order_id": "o2", "fee_type": "payment", "amount": "0.5"},
        {"fee_id": "f3", "fee_type": "monthly", "amount": 2, "charged_at": "2024-02-12 10:00:00"},
    ],
}
NAMES = ("revenue", "net_profit", "fee_amount", "profit_after_fees")


def answered(query: Query) -> list[tuple[Any, ...]]:
    con, _ = build(Claim(table="gold.fct_fees", name="fees", given=GIVEN, expect=[]))
    for table in ("gold.dim_date", "gold.dim_customer"):
        if not con.execute(f"select count(*) from {table}").fetchall()[0][0]:
            con.execute(f"insert into {table} {CATALOG.tables[table].sql}")
    return con.execute(compile_query(read_metrics(), query)).fetchall()


def test_fees_reduce_profit_and_leave_revenue() -> None:
    total = answered(Query(NAMES))
    assert total == [(Decimal("9.0000"), Decimal("4.5000"), Decimal("3.4000"), Decimal("1.1000"))]


def test_fees_count_by_what_their_order_is_and_those_of_none_as_unknown() -> None:
    found = {row[0]: row[1:] for row in answered(Query(NAMES, by=("channel",)))}
    assert found["web"] == (Decimal("9.0000"), Decimal("4.5000"), Decimal("0.9000"), Decimal("3.6000"))
    assert found["app"][2] == Decimal("0.5000")
    assert found["unknown"][2] == Decimal("2.0000")


def test_fees_count_in_the_period_they_were_taken_in() -> None:
    january = answered(Query(NAMES, since=date(2024, 1, 1), until=date(2024, 1, 31)))
    assert january == [(Decimal("9.0000"), Decimal("4.5000"), Decimal("1.4000"), Decimal("3.1000"))]
