"""Answers from sums and narrow tables are those from every order, whatever is asked."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from ecommerce_platform.contracts.metric_sql import Filter, Query, compile_query
from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform.errors import MetricError
from ecommerce_platform.serving.read.reader import View
from ecommerce_platform.serving.read.summed import LINE_MONTHS, LINES, ORDER_MONTHS, ORDERS, compile_summed
from ecommerce_platform_tests.serving.shop import Served

METRICS = read_metrics()
DIMENSIONS = (
    "channel",
    "device",
    "payment_method",
    "region",
    "customer_region",
    "segment",
    "age_group",
    "category",
    "brand",
    "weekday",
)
FIRST, LAST = date(2023, 12, 20), date(2024, 5, 10)
VALUES = {
    "channel": ["web", "app", "store"], "region": ["North", "South", "unknown"], "customer_region": ["North", "South", "West"],
    "payment_method": ["card", "paypal"], "category": ["Toys", "Books", "Tools", "none such"], "brand": ["Ada", "Bob"],
    "weekday": ["Monday", "Sunday"],
}  # fmt: skip


def asked(dice: random.Random) -> Query:
    """Any question: some metrics, up to two cuts, up to two filters, any days."""
    by = tuple(dice.sample(DIMENSIONS, dice.choice([0, 1, 1, 2])))
    filtered = dice.sample(sorted(VALUES), dice.choice([0, 1, 1, 2]))
    filters = tuple(
        Filter(d, tuple(dice.sample(VALUES[d], dice.choice([1, 1, 2]))), dice.random() < 0.2) for d in filtered
    )
    period = dice.choice([None, None, "day", "week", "month", "quarter", "year"])
    since = until = None
    if (kind := dice.choice(["all", "months", "days"])) == "months":
        since, until = date(2024, dice.choice([1, 2]), 1), dice.choice([date(2024, 2, 29), date(2024, 3, 31), None])
    elif kind == "days":
        since = FIRST + timedelta(dice.randrange(60))
        until = since + timedelta(dice.randrange(80))
    named = [*by, *filtered]
    can = [name for name in METRICS.metrics if _can(name, named, period)]
    return Query(tuple(dice.sample(can, min(len(can), dice.choice([1, 1, 2, 4])))), by, period, filters, since, until)


def _can(name: str, named: list[str], period: str | None) -> bool:
    try:
        METRICS.check_cut(name, named, period)
    except MetricError:
        return False
    return True


def differing(view: View, query: Query, sql: str) -> list[object]:
    """Rows of one answer that the other lacks, or has otherwise; periods and values in which nothing is are no difference."""
    keys = [*(["period"] if query.period else []), *query.by]
    one, other = (
        {tuple(r[k] for k in keys): [r[m] for m in query.metrics] for r in view.select(text).records()}
        for text in (sql, compile_query(METRICS, query))
    )
    nothing: list[object] = [None] * len(query.metrics)
    return [
        (key, one.get(key), other.get(key))
        for key in {*one, *other}
        if _zeros(one.get(key, nothing)) != pytest.approx(_zeros(other.get(key, nothing)))
        or (key in one and key not in other)
    ]


def _zeros(row: list[object]) -> list[object]:
    return [value or 0 for value in row]


@pytest.mark.parametrize("seed", range(8))
def test_any_question_has_the_same_answer_from_sums_as_from_every_order(served: Served, seed: int) -> None:
    dice, taken = random.Random(seed), set()
    with served.reader.view() as view:
        for _ in range(25):
            query = asked(dice)
            if not query.metrics or (sql := compile_summed(METRICS, query, view.tables)) is None:
                continue
            taken |= {table for table in (ORDERS, LINES, ORDER_MONTHS, LINE_MONTHS) if table in sql}
            assert differing(view, query, sql) == [], (query, sql)
    assert len(taken) >= 3


def test_a_filtered_question_is_asked_of_months_and_never_of_the_orders(served: Served) -> None:
    names = ("revenue", "orders", "aov", "net_profit", "on_time_rate", "avg_review_score")
    filters = (Filter("channel", ("web",)),)
    with served.reader.view() as view:
        for by, months in (((), ORDER_MONTHS), (("payment_method",), ORDER_MONTHS), (("category",), LINE_MONTHS)):
            sql = view.compiled(Query(names, by, "month", filters, date(2024, 1, 1), date(2024, 3, 31)))
            assert months in sql
            assert not any(table in sql for table in ("fct_order", ORDERS, LINES))
        distinct = view.compiled(Query(("customers",), (), None, filters, date(2024, 1, 1), date(2024, 3, 31)))
        assert ORDERS in distinct
        assert "fct_" not in distinct


@pytest.mark.parametrize("by", [("weekday", "category"), ("channel", "weekday"), ("category",)])
def test_weekdays_and_categories_over_any_days_are_asked_of_narrow_tables(served: Served, by: tuple[str, ...]) -> None:
    with served.reader.view() as view:
        sql = view.compiled(Query(("revenue", "orders", "aov"), by, "month", (), date(2024, 1, 9)))
    assert (LINES if "category" in by else ORDERS) in sql
    assert "fct_" not in sql
    assert "distinct case" not in sql  # orders are added up, not told apart
