"""Which of the thresholds that people keep are passed in a snapshot. How they are kept: `access/saved.py`; who is told: the
alert channels, like of the KPI alerts of a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.metric_sql import Query, compile_query, literal
from ecommerce_platform.contracts.metrics import Metrics
from ecommerce_platform.errors import MetricError
from ecommerce_platform.serving.access.saved import Threshold

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Passed:
    """A threshold that is passed, or cannot be asked."""

    threshold: Threshold
    #: A sentence for whoever keeps it.
    says: str


def passed(
    con: DuckDBPyConnection, metrics: Metrics, thresholds: Sequence[Threshold], newest_load: date | None
) -> list[Passed]:
    """The thresholds that the newest complete period is beyond.

    One that cannot be asked any more is passed and says so: else nobody would notice that it watches nothing.

    Args:
        con: a connection in which published tables are views.
        metrics: their definitions.
        thresholds: what to look at.
        newest_load: the newest day of load; that day itself may not be complete.
    """
    import duckdb

    found = []
    for one in thresholds:
        try:
            says = _says(con, metrics, one, newest_load)
        except (duckdb.Error, MetricError) as error:
            says = f"This threshold cannot be asked: {str(error).splitlines()[0]}"
        if says:
            found.append(Passed(one, says))
    return found


def _says(con: DuckDBPyConnection, metrics: Metrics, one: Threshold, newest_load: date | None) -> str | None:
    sql = compile_query(metrics, Query((one.metric,), (), one.period, one.filters))
    whole = "is_complete" if one.period != "day" else f"period < {literal(newest_load)}" if newest_load else "true"
    row = con.execute(
        f"select period, cast({one.metric} as double) from ({sql}) as asked where {whole} and {one.metric} is not null "
        "order by period desc limit 1"
    ).fetchone()
    if row is None:
        return None
    period, value = row
    metric = metrics.metric(one.metric)
    shown = f"{metric.label} was {value:,.4g} in the {one.period} of {period}"
    if one.below is not None and value < one.below:
        return f"{shown}, below {one.below:,.4g}."
    if one.above is not None and value > one.above:
        return f"{shown}, above {one.above:,.4g}."
    return None
