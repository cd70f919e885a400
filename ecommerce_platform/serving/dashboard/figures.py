"""What pages show, asked of a shop: totals, series, breakdowns of metrics, beside what they are compared with.

Nothing is worked out here that a metric definition says: a comparison puts two answers of the same question side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.metric_sql import UNKNOWN, Query
from ecommerce_platform.errors import MetricError
from ecommerce_platform.serving.dashboard.data import Shop, kept
from ecommerce_platform.serving.dashboard.view import Days, View

if TYPE_CHECKING:
    import polars as pl

#: What the values beyond the largest are put together as; only of metrics that may be added up.
OTHERS = "all others"


@dataclass(frozen=True)
class Total:
    """A metric over the days of a view and over those it is compared with; None where not known."""

    metric: str
    now: float | None
    before: float | None


def possible(
    shop: Shop, names: Iterable[str], view: View, by: Sequence[str] = (), period: str | None = None
) -> list[str]:
    """Those of the metrics that can be cut and filtered in this way; `reason` says why another can not."""
    return [name for name in names if reason(shop, name, view, by, period) is None]


@kept
def reason(shop: Shop, name: str, view: View, by: Sequence[str] = (), period: str | None = None) -> str | None:
    """Why a metric has no meaning in this cut; None where it has one."""
    try:
        shop.metrics.check_cut(name, (*by, *(f.dimension for f in view.filters)), period)
    except MetricError as error:
        return error.what
    return None


@kept
def totals(shop: Shop, view: View, names: Sequence[str]) -> dict[str, Total]:
    """Each metric over the days of the view, and over those it is compared with; those without meaning are left out."""
    can = possible(shop, names, view)
    now = _totals(shop, view, view.days, can)
    before = _totals(shop, view, view.before, can) if view.before else {}
    return {name: Total(name, _float(now.get(name)), _float(before.get(name))) for name in can}


def ahead(shop: Shop, view: View, names: Sequence[str], by: Sequence[str] = (), grain: str | None = None) -> None:
    """Has what `totals`, `series` (with a grain) and `breakdown` (with a dimension) ask worked out meanwhile.

    Args:
        shop: asked.
        view: its days, and those before.
        names: metrics; those without meaning in this cut are left out.
        by: dimensions.
        grain: of a series.
    """
    if can := possible(shop, names, view, by, grain):
        for days in (view.days, *([view.before] if view.before else [])):
            shop.ahead(Query(tuple(can), tuple(by), grain, view.filters, days.since, days.until))


def counts_distinct(shop: Shop, name: str, view: View) -> bool:
    """Whether a metric counts something once over all its days, by what changes from day to day: no sum, so it takes longest."""
    changes = {f.dimension for f in view.filters} - set(shop.metrics.person_dimensions)
    return bool(changes) and any("time" not in shop.metrics.measures[m].sums_over for m in shop.metrics.needed(name))


def _total(view: View, days: Days, names: Sequence[str]) -> Query:
    return Query(tuple(names), filters=view.filters, since=days.since, until=days.until)


def _totals(shop: Shop, view: View, days: Days, names: Sequence[str]) -> dict[str, Any]:
    return shop.metric(_total(view, days, names)).row(0, named=True) if names else {}


@kept
def series(
    shop: Shop, view: View, names: Sequence[str], grain: str, by: Sequence[str] = (), days: Days | None = None
) -> pl.DataFrame:
    """Metrics by period (and dimensions): `period`, `is_complete`, the dimensions, the metrics.

    Args:
        shop: asked.
        view: its filters, and its days unless others are given.
        names: metrics that can be cut so.
        grain: day, week, month, quarter or year.
        by: dimensions.
        days: others than those of the view.
    """
    import polars as pl

    span = days or view.days
    query = Query(tuple(names), tuple(by), grain, view.filters, span.since, span.until)
    found = shop.metric(query)
    if "is_complete" not in found.columns:
        found = found.with_columns(pl.lit(True).alias("is_complete"))
    return found


@kept
def compared_series(
    shop: Shop, view: View, names: Sequence[str], grain: str
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """A series, and that of the days before it, whose periods are laid over those of the first by their order."""
    import polars as pl

    now = series(shop, view, names, grain)
    if view.before is None:
        return now, None
    before = series(shop, view, names, grain, days=view.before)
    shown = now["period"].to_list()
    laid = before.head(len(shown)).with_columns(
        pl.col("period").alias("own_period"), pl.Series("period", shown[: len(before)], dtype=pl.Date)
    )
    return now, laid


@kept
def breakdown(shop: Shop, view: View, name: str, by: str, *, compare: bool = True) -> pl.DataFrame:
    """A metric by the values of a dimension, the largest first: `value`, `now`, `before`, `change` (both 0 and more: none).

    `before` is null for values that were not there, and everywhere when nothing is compared.
    """
    import polars as pl

    now = _by_value(shop, view, view.days, name, by).rename({"figure": "now"})
    if compare and view.before:
        before = _by_value(shop, view, view.before, name, by).rename({"figure": "before"})
        found = now.join(before, on="value", how="full", coalesce=True)
    else:
        found = now.with_columns(pl.lit(None, pl.Float64).alias("before"))
    if shop.metrics.metric(name).format in ("money", "count"):
        sure = pl.col("now").fill_null(0) - pl.col("before").fill_null(0)
    else:
        sure = pl.col("now") - pl.col("before")
    return found.with_columns(sure.alias("change")).sort("now", "value", descending=[True, False], nulls_last=True)


def _by_value(shop: Shop, view: View, days: Days, name: str, by: str) -> pl.DataFrame:
    import polars as pl

    query = Query((name,), (by,), filters=view.filters, since=days.since, until=days.until)
    found = shop.metric(query).select(pl.col(by).alias("value"), pl.col(name).cast(pl.Float64).alias("figure"))
    return found.filter(pl.col("figure").is_not_null())


def adds_up(shop: Shop, name: str, over: str) -> bool:
    """Whether a metric may be added up over the values of a dimension, or over `time`."""
    try:
        shop.metrics.check_sum(name, over)
    except MetricError:
        return False
    return True


def largest(shop: Shop, frame: pl.DataFrame, name: str, by: str, keep: int) -> pl.DataFrame:
    """A series by one dimension with the `keep` values that hold most; the rest is put together where that has a meaning.

    Args:
        shop: whose definitions say what may be added up.
        frame: of `series` by this dimension.
        name: the metric.
        by: the dimension.
        keep: how many values stand for themselves.
    """
    import polars as pl

    order = (
        frame.group_by(by)
        .agg(pl.col(name).cast(pl.Float64).sum().alias("whole"))
        .sort("whole", by, descending=[True, False])
    )
    names = [v for v in order[by].to_list() if v != UNKNOWN][:keep]
    if len(names) + (UNKNOWN in order[by]) >= len(order):
        return frame
    if not adds_up(shop, name, by):
        return frame.filter(pl.col(by).is_in(names))
    kept = pl.when(pl.col(by).is_in(names)).then(pl.col(by)).otherwise(pl.lit(OTHERS)).alias(by)
    return (
        frame.with_columns(kept)
        .group_by("period", by, maintain_order=True)
        .agg(pl.col(name).sum(), pl.col("is_complete").first())
        .sort("period", by)
    )


def last_complete(frame: pl.DataFrame) -> date | None:
    """The last period of a series that data cover whole."""
    import polars as pl

    found = frame.filter(pl.col("is_complete"))["period"].max()
    assert found is None or isinstance(found, date)
    return found


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
