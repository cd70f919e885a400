"""Metrics from sums that are there already: the same definitions, taken over small tables instead of every order.

`metric_sql` compiles a metric over facts. Here a question is given other facts that hold the same measures summed up, where that
cannot change its answer; every other question is left as it is. What a metric is stays in `models/metrics` alone.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.metric_sql import Query, compile_query, literal
from ecommerce_platform.contracts.metrics import Fact, Metrics
from ecommerce_platform.errors import MetricError

if TYPE_CHECKING:
    from collections.abc import Iterable

DAILY, PARTS, PERSONS = "gold.kpi_daily", "gold.kpi_by_dimension", "gold.fct_customer_days"
#: Measures that the tables have a column of, by its name.
_BY_DAY = (
    "orders", "new_customers", "new_repeat_customers", "valid_lines", "cost_known_lines", "units", "gross_amount", "discount_amount",
    "revenue", "cost_amount", "net_profit", "refund_amount", "reviews", "review_score_total", "promoters", "detractors",
    "rated_orders", "satisfaction_total", "delivered_orders", "delivery_days_total", "promised_deliveries", "on_time_deliveries",
)  # fmt: skip
_BY_VALUE = ("orders", "units", "gross_amount", "discount_amount", "revenue", "cost_amount", "net_profit")
#: Dimensions of gold.kpi_by_dimension.
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


def compile_summed(metrics: Metrics, query: Query, tables: Container[str]) -> str | None:
    """The SELECT that answers a question from sums, with the columns of `compile_query`; None where it takes the orders.

    Taken are: what nothing cuts, from gold.kpi_daily; one dimension over whole months, from gold.kpi_by_dimension; and customers
    by what is fixed for them, each counted on the last of its days in the period (gold.fct_customer_days).

    Args:
        metrics: the definitions.
        query: a question that `compile_query` takes.
        tables: those of the snapshot.
    """
    named = {*query.by, *(f.dimension for f in query.filters)}
    over: Metrics | None = None
    if not named and DAILY in tables and PERSONS in tables:
        over = _uncut(metrics, query)
    elif named <= set(metrics.person_dimensions) and set(query.metrics) == {"customers"} and PERSONS in tables:
        over = _over(metrics, {"customers": ("persons", _last_days(query))}, {})
    elif len(named) == 1 and named <= _DIMENSIONS and PARTS in tables and _whole_months(query):
        over = _by_value(metrics, query, next(iter(named)))
    try:
        return compile_query(over, query) if over else None
    except MetricError:
        return None


def _uncut(metrics: Metrics, query: Query) -> Metrics:
    sums = {name: ("days_summed", f"sum(kpi.{name})") for name in _BY_DAY}
    fact = Fact(description="Days.", level="order", rows=f"{DAILY} as kpi", date="kpi.order_date")
    return _over(metrics, {**sums, "customers": ("persons", _last_days(query))}, {"days_summed": fact})


def _by_value(metrics: Metrics, query: Query, dimension: str) -> Metrics | None:
    """One dimension's months; None where a measure is not among them, or an order would count in several chosen values."""
    known = {*_BY_VALUE, *(("customers",) if query.period == "month" else ())}
    if not _needed(metrics, query.metrics) <= known or any(metrics.metric(n).to_date for n in query.metrics):
        return None
    if any(len(f.values) > 1 or f.exclude for f in query.filters):
        return None
    rows = f"(select * from {PARTS} where dimension = {literal(dimension)}) as kpi"
    fact = Fact(description="Months by value.", level="order", rows=rows, date="kpi.month")
    sums = {name: ("months_summed", f"sum(kpi.{name})") for name in known}
    value = metrics.dimension(dimension).model_copy(update={"sql": "kpi.value", "join": None, "level": "order"})
    return replace(_over(metrics, sums, {"months_summed": fact}), dimensions={**metrics.dimensions, dimension: value})


def _needed(metrics: Metrics, names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        metric = metrics.metric(name)
        if metric.churn or metric.growth:
            return {name}  # no measure by that name: not to be had from months
        found |= set(metrics.needed(name))
    return found


def _whole_months(query: Query) -> bool:
    """Whether the days asked for are whole months, and the periods hold such."""
    begins = query.since is None or query.since.day == 1
    ends = query.until is None or (query.until + timedelta(days=1)).day == 1
    return begins and ends and query.period in (None, "month", "quarter", "year")


def _last_days(query: Query) -> str:
    """Persons, each counted on the last of its days within the period and the range: none is compared with another."""
    later = [f"days.next_order_date > {literal(query.until)}"] if query.until else []
    if query.period:
        day = "date_trunc('{0}', days.{1})"
        later.append(f"{day.format(query.period, 'next_order_date')} > {day.format(query.period, 'order_date')}")
    return f"count(*) filter (where {' or '.join(['days.next_order_date is null', *later])})"


def _over(metrics: Metrics, measures: dict[str, tuple[str, str]], facts: dict[str, Fact]) -> Metrics:
    """The definitions with some measures taken over other facts."""
    changed = {
        name: metrics.measures[name].model_copy(update={"aggregate": {fact: text}})
        for name, (fact, text) in measures.items()
        if name in metrics.measures
    }
    return replace(metrics, facts={**metrics.facts, **facts}, measures={**metrics.measures, **changed})
