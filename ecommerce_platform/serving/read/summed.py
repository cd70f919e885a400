"""Metrics from sums that are there already: the same definitions, taken over small tables instead of every order.

`metric_sql` compiles a metric over facts. Here a question is given other facts that hold the same measures summed up, or by
row without ids and joins, where that cannot change its answer; every other question is left as it is. What a metric is stays
in `models/metrics` alone.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.metric_sql import Query, compile_query, literal
from ecommerce_platform.contracts.metrics import Dimension, Fact, Metrics
from ecommerce_platform.errors import MetricError

if TYPE_CHECKING:
    from collections.abc import Iterable

DAILY, PARTS, PERSONS = "gold.kpi_daily", "gold.kpi_by_dimension", "gold.fct_customer_days"
ORDERS, LINES = "gold.narrow_orders", "gold.narrow_lines"
ORDER_MONTHS, LINE_MONTHS = "gold.agg_orders_monthly", "gold.agg_lines_monthly"
#: Measures by what they are of: each is a column of the tables above that hold it, by its name.
_OF_LINES = (
    "valid_lines", "cost_known_lines", "units", "gross_amount", "discount_amount", "revenue", "cost_amount", "net_profit",
)  # fmt: skip
_OF_ORDERS = (
    "orders", *_OF_LINES, "rated_orders", "satisfaction_total", "delivered_orders", "delivery_days_total", "promised_deliveries",
    "on_time_deliveries",
)  # fmt: skip
_OF_REVIEWS = ("reviews", "review_score_total", "promoters", "detractors")
_OF_PERSONS = ("new_customers", "new_repeat_customers")
_BY_VALUE = ("orders", "units", "gross_amount", "discount_amount", "revenue", "cost_amount", "net_profit")
#: Dimensions of gold.kpi_by_dimension; columns of the narrow tables, and of their months.
_DIMENSIONS = frozenset(
    [
        "category",
        "brand",
        "payment_method",
        "channel",
        "region",
        "customer_region",
        "segment",
        "seller",
        "age_group",
        "weekday",
        "hour",
    ]
)
_ON_LINES = frozenset({"category", "brand"})
_ON_ORDERS = frozenset({"channel", "device", "payment_method", "region", "customer_region", "segment", "age_group"})
#: Follows from the day; months don't have it.
_BY_DAY = {"weekday": "dayname(cut.order_date)"}
_ON_LINE_MONTHS = frozenset({"channel", "payment_method", "region", "segment"})

#: Measure → the name of the fact it is taken over, and its aggregate there.
_Sums = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class _Over:
    """What a question is taken over: facts by name, and measures."""

    facts: dict[str, Fact]
    sums: _Sums


def compile_summed(metrics: Metrics, query: Query, tables: Container[str]) -> str | None:
    """The SELECT that answers a question from sums, with the columns of `compile_query`; None where it takes the orders.

    Taken are: what nothing cuts, from gold.kpi_daily; one dimension over whole months, from gold.kpi_by_dimension; customers
    by what is fixed for them, each counted on the last of its days in the period; any cut by what gold.narrow_orders and
    gold.narrow_lines have as columns, over whole months from their months, else and for distinct counts from themselves.

    Args:
        metrics: the definitions.
        query: a question that `compile_query` takes.
        tables: those of the snapshot.
    """
    named = frozenset([*query.by, *(f.dimension for f in query.filters)])
    found: Metrics | None = None
    if not named:
        found = _uncut(metrics, query) if DAILY in tables and PERSONS in tables else None
    else:
        if len(named) == 1 and named <= _DIMENSIONS and PARTS in tables and _whole_months(query):
            found = _by_value(metrics, query, next(iter(named)))
        if not found and all(t in tables for t in (ORDERS, LINES, ORDER_MONTHS, LINE_MONTHS)):
            found = _narrow(metrics, query, named)
        if (
            not found
            and named <= set(metrics.person_dimensions)
            and set(query.metrics) == {"customers"}
            and PERSONS in tables
        ):
            found = _with(metrics, {"customers": ("persons", _last_days(query, "days"))}, {})
    try:
        return compile_query(found, query) if found else None
    except MetricError:
        return None


def _uncut(metrics: Metrics, query: Query) -> Metrics:
    facts: dict[str, Fact] = {}
    sums: _Sums = {}
    for fact, (names, where) in {
        "days_summed": (_OF_ORDERS, None),
        "days_reviewed": (_OF_REVIEWS, "reviews > 0"),
        "days_bought": (_OF_PERSONS, "customers > 0"),
        "days_refunded": (("refund_amount",), "refund_amount <> 0"),
    }.items():
        rows = f"(select * from {DAILY} where {where})" if where else DAILY
        facts[fact] = Fact(description="Days.", level="order", rows=f"{rows} as kpi", date="kpi.order_date")
        sums |= {name: (fact, f"sum(kpi.{name})") for name in names}
    return _with(metrics, {**sums, "customers": ("persons", _last_days(query, "days"))}, facts)


def _by_value(metrics: Metrics, query: Query, dimension: str) -> Metrics | None:
    """One dimension's months; None where a measure is not among them, or an order would count in several chosen values."""
    known = {*_BY_VALUE, *(("customers",) if query.period == "month" else ())}
    if not _needed(metrics, query.metrics) <= known or any(metrics.metric(n).to_date for n in query.metrics):
        return None
    if any(metrics.metric(n).growth for n in query.metrics) or _several(query, dimension):
        return None
    rows = f"(select * from {PARTS} where dimension = {literal(dimension)}) as kpi"
    fact = Fact(description="Months by value.", level="order", rows=rows, date="kpi.month")
    sums = {name: ("months_summed", f"sum(kpi.{name})") for name in known}
    return _with(metrics, sums, {"months_summed": fact}, {dimension: "kpi.value"})


def _narrow(metrics: Metrics, query: Query, named: frozenset[str]) -> Metrics | None:
    """A cut by columns of the narrow tables, each measure from the smallest that has it; None where one has none."""
    if not named <= _ON_ORDERS | _ON_LINES | _BY_DAY.keys():
        return None
    over = _lines(query, named) if named & _ON_LINES else _orders(metrics, query, named)
    if not _needed(metrics, query.metrics) <= over.sums.keys():
        return None
    return _with(metrics, over.sums, over.facts, {name: _BY_DAY.get(name, f"cut.{name}") for name in named})


def _orders(metrics: Metrics, query: Query, named: frozenset[str]) -> _Over:
    """By what an order, or its person, has one value of."""
    months = _whole_months(query) and not named & _BY_DAY.keys()
    table, day = (ORDER_MONTHS, "cut.month") if months else (ORDERS, "cut.order_date")
    facts = {
        "narrow": _fact(table, day),
        # A period or value in which nobody reviewed, or bought, is no row of an answer about that alone.
        "narrow_reviews": _fact(f"(select * from {table} where reviews > 0)", day),
        "narrow_persons": _fact(f"(select * from {table} where person_days > 0)", day),
        "narrow_days": _fact(f"(select * from {ORDERS} where person_days > 0)", "cut.order_date"),
        "narrow_each": _fact(ORDERS, "cut.order_date"),
    }
    groups = {"narrow": _OF_ORDERS, "narrow_reviews": _OF_REVIEWS, "narrow_persons": _OF_PERSONS}
    sums: _Sums = {name: (fact, f"sum(cut.{name})") for fact, names in groups.items() for name in names}
    if named <= set(metrics.person_dimensions):
        sums["customers"] = ("narrow_days", _last_days(query, "cut"))
    else:
        sums["customers"] = ("narrow_each", "count(distinct case when cut.orders = 1 then cut.person_number end)")
    return _Over(facts, sums)


def _lines(query: Query, named: frozenset[str]) -> _Over:
    """By category or brand, and more: orders and customers are distinct ones."""
    facts = {"narrow": _fact(LINES, "cut.order_date")}
    sums: _Sums = {name: ("narrow", f"sum(cut.{name})") for name in _OF_LINES}
    sums["orders"] = ("narrow", "count(distinct case when cut.counted = 1 then cut.order_number end)")
    sums["customers"] = ("narrow", "count(distinct case when cut.counted = 1 then cut.person_number end)")
    of_line = named & _ON_LINES
    if of_line == {"category"} and ("category" in query.by or not _several(query, "category")):
        sums["orders"] = ("narrow", "sum(cut.counted_in_category)")
    if len(of_line) > 1 or not named <= _ON_LINE_MONTHS | _ON_LINES or not _whole_months(query):
        return _Over(facts, sums)
    (dimension,) = of_line
    # The other tables have a column of the dimension's name, and so must this one.
    rows = f"(select *, value as {dimension} from {LINE_MONTHS} where dimension = {literal(dimension)}{{}})"
    facts |= {
        "line_months": _fact(rows.format(""), "cut.month"),
        "line_reviews": _fact(rows.format(" and reviews > 0"), "cut.month"),
    }
    sums |= {name: ("line_months", f"sum(cut.{name})") for name in _OF_LINES}
    if dimension in query.by or not _several(query, dimension):  # an order of two chosen categories counts once
        sums |= {name: ("line_months", f"sum(cut.{name})") for name in _OF_ORDERS}
        sums |= {name: ("line_reviews", f"sum(cut.{name})") for name in _OF_REVIEWS}
    return _Over(facts, sums)


def _fact(rows: str, day: str) -> Fact:
    return Fact(description="Of the narrow tables.", level="order", rows=f"{rows} as cut", date=day)


def _several(query: Query, dimension: str) -> bool:
    """Whether a filter lets several values of it pass, so that a distinct count is no sum over them."""
    return any(len(set(f.values)) > 1 or f.exclude for f in query.filters if f.dimension == dimension)


def _needed(metrics: Metrics, names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        if metrics.metric(name).churn:
            return {name}  # no measure by that name: it compares days with days
        found |= set(metrics.needed(name))
    return found


def _whole_months(query: Query) -> bool:
    """Whether the days asked for are whole months, and the periods hold such."""
    begins = query.since is None or query.since.day == 1
    ends = query.until is None or (query.until + timedelta(days=1)).day == 1
    return begins and ends and query.period in (None, "month", "quarter", "year")


def _last_days(query: Query, days: str) -> str:
    """Persons, each counted on the last of its days within the period and the range: none is compared with another."""
    later = [f"{days}.next_order_date > {literal(query.until)}"] if query.until else []
    if query.period:
        day = f"date_trunc('{query.period}', {days}.{{0}})"
        later.append(f"{day.format('next_order_date')} > {day.format('order_date')}")
    return f"count(*) filter (where {' or '.join([f'{days}.next_order_date is null', *later])})"


def _with(
    metrics: Metrics, measures: _Sums, facts: dict[str, Fact], columns: Mapping[str, str] | None = None
) -> Metrics:
    """The definitions with some measures taken over other facts, and columns of these in place of dimensions."""
    changed = {
        name: metrics.measures[name].model_copy(update={"aggregate": {fact: text}})
        for name, (fact, text) in measures.items()
        if name in metrics.measures
    }
    cut: dict[str, Dimension] = {
        name: metrics.dimension(name).model_copy(update={"sql": sql, "join": None, "level": "order"})
        for name, sql in (columns or {}).items()
    }
    return replace(
        metrics,
        facts={**metrics.facts, **facts},
        measures={**metrics.measures, **changed},
        dimensions={**metrics.dimensions, **cut},
    )
