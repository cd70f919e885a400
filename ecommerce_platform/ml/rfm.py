"""Purchase histories as models see them: recency, frequency and monetary value as of a day.

The table `gold.rfm` is a SELECT; here is the same definition for any earlier day, which evaluating on
later data needs, and the split of a history into what was known and what came after. No models.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    import polars as pl

ORDER_COLUMNS = ("person_id", "order_date", "revenue")
#: Shorter windows hold too few purchases to compare anything on.
MIN_HORIZON_DAYS = 7
HORIZON_DAYS = 90


@dataclass(frozen=True)
class LaterData:
    """A purchase history cut in two: what was known at `cutoff`, and what happened up to `end`.

    Attributes:
        cutoff: first day after what an evaluated model may know.
        end: the day after the newest order.
        data_from: day of the oldest order.
        before: RFM as of `cutoff`, a row per person.
        after: RFM as of `end`, a row per person.
        revenue: person_id and revenue in [cutoff, end), for persons who bought then.
    """

    cutoff: date
    end: date
    data_from: date
    before: pl.DataFrame
    after: pl.DataFrame
    revenue: pl.DataFrame


def rfm_as_of(orders: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Recency, frequency and monetary value of each person, from the orders before a day.

    Source of the definition: MODEL.md, "rfm" (frequency = distinct purchase days; with `as_of` the day after
    the newest order this is `gold.rfm`).

    Args:
        orders: valid orders: person_id (VARCHAR; rows without one are left out), order_date (DATE), revenue
            (money, in the shop's currency).
        as_of: first day that is not known.

    Returns:
        A row per person with an order before `as_of`, sorted by person_id: person_id, recency_days (BIGINT,
        days from the last order to `as_of`, at least 1), frequency (BIGINT), monetary (DECIMAL(18,4)).

    Raises:
        InputError: a column is missing.
    """
    import polars as pl

    missing = [name for name in ORDER_COLUMNS if name not in orders.columns]
    if missing:
        raise InputError(f"the orders lack {', '.join(missing)}", fix=f"give the columns {', '.join(ORDER_COLUMNS)}")
    known = orders.filter(pl.col("person_id").is_not_null() & (pl.col("order_date") < as_of))
    # By day first: it makes frequency a plain count, and sums of decimals are exact in any order.
    days = known.group_by("person_id", "order_date").agg(pl.col("revenue").cast(pl.Decimal(38, 4)).sum())
    return (
        days.group_by("person_id")
        .agg(
            recency_days=(pl.lit(as_of) - pl.col("order_date").max()).dt.total_days(),
            frequency=pl.len().cast(pl.Int64),
            monetary=pl.col("revenue").sum().cast(pl.Decimal(18, 4)),
        )
        .sort("person_id")
    )


def split_orders(orders: pl.DataFrame, *, horizon_days: int = HORIZON_DAYS) -> LaterData | None:
    """Cuts a purchase history so that its last days can judge what was fitted on the days before.

    The window of later days is `horizon_days` long, or a quarter of the history when that is shorter.

    Args:
        orders: as for `rfm_as_of`.
        horizon_days: days to judge on.

    Returns:
        The two parts, or None when a quarter of the history is shorter than `MIN_HORIZON_DAYS` (nothing to
        judge on yet).
    """
    import polars as pl

    persons = orders.filter(pl.col("person_id").is_not_null())
    if persons.is_empty():
        return None
    first, last = persons.select(pl.col("order_date").min(), pl.col("order_date").max().alias("last")).row(0)
    end = last + timedelta(days=1)
    horizon = min(horizon_days, (end - first).days // 4)
    if horizon < MIN_HORIZON_DAYS:
        return None
    cutoff = end - timedelta(days=horizon)
    revenue = revenue_by_person(persons.filter(pl.col("order_date") >= cutoff))
    return LaterData(cutoff, end, first, rfm_as_of(persons, cutoff), rfm_as_of(persons, end), revenue)


def revenue_by_person(orders: pl.DataFrame) -> pl.DataFrame:
    """Revenue of each person with an order: person_id and revenue (DECIMAL(18,4)), sorted by person_id."""
    import polars as pl

    total = pl.col("revenue").cast(pl.Decimal(38, 4)).sum().cast(pl.Decimal(18, 4))
    return orders.group_by("person_id").agg(total).sort("person_id")
