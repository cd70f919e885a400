"""From rows of tables to series: which days count, which categories are told apart, which weeks of a product are known.

Only polars in and arrays out; what is forecast with them is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.ml.forecasting.backtest import LONGEST
from ecommerce_platform.ml.forecasting.panel import TOTAL, Panel
from ecommerce_platform.ml.forecasting.products import Demand
from ecommerce_platform.ml.forecasting.series import WEEK, Series, daily, without_partial_days

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import polars as pl

#: Categories that are told apart, by sales of the last year; the rest is one series.
MOST_CATEGORIES = 20
OTHERS = "(all others)"
#: Products that are forecast each, by units of the last year, and of how many weeks with a sale they must have.
MOST_PRODUCTS, FEWEST_WEEKS_SOLD = 2_000, 3


@dataclass(frozen=True)
class Window:
    """The days that count: `first` to `last`, and how many at the end were taken for partial."""

    first: date
    last: date
    left_out: int

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1


def window(days: pl.DataFrame, first: date | None = None) -> Window | None:
    """The days of a shop without partial ones, three years at most; None where there is none.

    Args:
        days: `order_date` and `orders`, a row per day.
        first: the first day, where a kept fit says so.
    """
    if days.is_empty():
        return None
    days = days.sort("order_date")
    dates = days["order_date"].to_list()
    whole = without_partial_days(daily(TOTAL, dates, days["orders"].to_numpy(), dates[0], dates[-1]))
    if not len(whole):
        return None
    cut = max(len(whole) - LONGEST, 0) // WEEK * WEEK
    begin = whole.day(cut) if first is None or first > whole.day(len(whole) - 1) else first
    return Window(begin, whole.day(len(whole) - 1), whole.left_out)


def panel(
    measure: str,
    days: pl.DataFrame,
    within: Window,
    categories: pl.DataFrame | None = None,
    names: Collection[str] | None = None,
) -> Panel:
    """A measure of the whole shop, and of its categories.

    With categories the total is their sum. Amounts below 0 (corrections) count as 0.

    Args:
        measure: column of `days`, and of `categories`.
        days: `order_date` and the measure.
        within: the days that count.
        categories: `order_date`, `category` and the measure; none: the total stands alone.
        names: categories that are told apart; by default the largest of the last year.
    """
    total = _series(TOTAL, days.select("order_date", measure), within)
    if categories is None:
        return Panel(measure, total)
    named = _named(categories, measure, within, names)
    parts = tuple(_series(name, frame.drop("category"), within) for (name,), frame in named)
    if not parts:
        return Panel(measure, total)
    return Panel(measure, replace(total, values=np.sum([part.values for part in parts], axis=0)), parts)


def _named(
    categories: pl.DataFrame, measure: str, within: Window, names: Collection[str] | None
) -> list[tuple[tuple[str], pl.DataFrame]]:
    import polars as pl

    inside = categories.filter(pl.col("order_date").is_between(within.first, within.last))
    if names is None:
        year = inside.filter(pl.col("order_date") > within.last - timedelta(days=364))
        sold = (
            year.group_by("category").agg(pl.col(measure).sum()).sort([measure, "category"], descending=[True, False])
        )
        names = sold["category"].to_list()[:MOST_CATEGORIES]
    kept = pl.when(pl.col("category").is_in(list(names))).then("category").otherwise(pl.lit(OTHERS))
    grouped = (
        inside.with_columns(kept.alias("category"))
        .group_by("category", "order_date")
        .agg(pl.col(measure).sum())
        .sort("category", "order_date")
    )
    return [((str(key[0]),), frame) for key, frame in grouped.partition_by("category", as_dict=True).items()]


def _series(name: str, frame: pl.DataFrame, within: Window) -> Series:
    values = np.maximum(frame.to_series(1).cast(float).to_numpy(), 0.0)
    series = daily(name, frame["order_date"].to_list(), values, within.first, within.last)
    return replace(series, left_out=within.left_out)


@dataclass(frozen=True)
class Weeks:
    """Weekly demand of products and the days its weeks begin on.

    Attributes:
        demand: the demand.
        starts: first day of each week; the last week ends on the last day that counts.
        categories: name of each group number.
    """

    demand: Demand
    starts: tuple[date, ...]
    categories: tuple[str, ...]


def weeks(sales: pl.DataFrame, empty: pl.DataFrame, within: Window, names: Sequence[str] | None = None) -> Weeks:
    """Units per product and week; weeks before a product's first sale, and in which its shelf was empty, are not known.

    Args:
        sales: `order_date`, `product_id`, `category` and `units`.
        empty: `product_id`, `first_date` and `last_date` (null: to this day) of days with nothing in stock.
        within: the days that count; weeks are counted back from the last.
        names: products, where a kept fit says so; by default those with sales in three weeks or more of the last year,
            2,000 at most.
    """
    import polars as pl

    number = within.days // WEEK
    begin = within.last - timedelta(days=number * WEEK - 1)
    place = ((pl.col("order_date") - pl.lit(begin)).dt.total_days() // WEEK).cast(pl.Int64)
    inside = sales.filter(pl.col("order_date").is_between(begin, within.last)).with_columns(place.alias("week"))
    sold = inside.group_by("product_id", "week").agg(pl.col("units").sum(), pl.col("category").first())
    if names is None:
        names = _forecast_each(sold, number)
    chosen = pl.DataFrame({"product_id": list(names)}, schema={"product_id": pl.String}).with_row_index("row")
    rows = sold.join(chosen, on="product_id")
    units = np.zeros((len(names), number))
    units[rows["row"].to_numpy(), rows["week"].to_numpy()] = np.maximum(rows["units"].to_numpy(), 0.0)
    ever = units > 0
    units[np.arange(number)[None, :] < np.where(ever.any(axis=1), ever.argmax(axis=1), number)[:, None]] = np.nan
    _without_empty(units, empty.join(chosen, on="product_id"), begin)
    groups, categories = _groups(rows, len(names))
    starts = tuple(begin + timedelta(days=WEEK * week) for week in range(number))
    return Weeks(Demand(tuple(names), groups, units), starts, categories)


def _forecast_each(sold: pl.DataFrame, number: int) -> list[str]:
    import polars as pl

    year = sold.filter((pl.col("week") >= number - 52) & (pl.col("units") > 0))
    by_product = year.group_by("product_id").agg(pl.len().alias("weeks"), pl.col("units").sum())
    enough = by_product.filter(pl.col("weeks") >= FEWEST_WEEKS_SOLD)
    largest = enough.sort(["units", "product_id"], descending=[True, False]).head(MOST_PRODUCTS)
    return sorted(largest["product_id"].to_list())


def _without_empty(units: np.ndarray, spells: pl.DataFrame, begin: date) -> None:
    """Marks weeks that an empty spell reaches into as not known."""
    number = units.shape[1]
    for row, first, last in spells.select("row", "first_date", "last_date").iter_rows():
        start = max((first - begin).days // WEEK, 0)
        stop = number - 1 if last is None else min((last - begin).days // WEEK, number - 1)
        if start <= stop:
            units[row, start : stop + 1] = np.nan


def _groups(rows: pl.DataFrame, products: int) -> tuple[np.ndarray, tuple[str, ...]]:
    import polars as pl

    of_product = rows.group_by("row").agg(pl.col("category").min())
    categories = tuple(sorted(of_product["category"].unique().to_list())) or ("unknown",)
    numbers = {name: number for number, name in enumerate(categories)}
    groups = np.zeros(products, dtype=np.int64)
    for row, category in of_product.iter_rows():
        groups[row] = numbers[category]
    return groups, categories
