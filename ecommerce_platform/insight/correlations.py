"""Which of the shop's days go with which: daily series held against each other, at lags of up to four weeks.

Two series that both grow, or both rest on Sundays, go together without having to do with each other. So weekday, trend and
season are taken out of both first (least squares on weekdays, a quadratic trend and two harmonics of the year). What is
left still remembers the days before, so how far correlations stray by chance is seen from one of the two put together anew
from blocks of days (the moving blocks of Künsch 1989): intervals are, on Fisher's scale, as wide as the largest of all lags
in 95 % of such draws, the 5 % shared by the pairs tried. Going together is not causing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.warehouse.changes import own_code, unseen
from ecommerce_platform.warehouse.frames import handed_in, typed
from ecommerce_platform.warehouse.write import Written, as_it_was, replace_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Tables that the series are read from.
READS = ("gold.fct_orders", "silver.reviews", "silver.social_interactions")

#: Name → the SELECT of day and value; what happened counts on the day on which it did.
SERIES = {
    "orders": "select order_date as day, count(*) as value from gold.fct_orders where is_counted group by 1",
    "revenue": "select order_date as day, sum(revenue_amount) as value from gold.fct_orders where valid_lines > 0 group by 1",
    "delivery_days": (
        "select cast(delivered_at as date) as day, sum(delivery_days) / count(*) as value from gold.fct_orders "
        "where delivery_days is not null group by 1"
    ),
    "satisfaction": (
        "select day, sum(cast(score as decimal(18, 6))) / count(*) as value from ("
        "select cast(created_at as date) as day, score from silver.reviews where created_at is not null union all "
        "select order_date as day, satisfaction_score as score from gold.fct_orders where satisfaction_score is not null"
        ") as scores group by 1"
    ),
    "social_interactions": (
        "select cast(occurred_at as date) as day, count(*) as value from silver.social_interactions group by 1"
    ),
}
#: Counts and sums: a day without a row has none, and their logarithm is looked at.
ADDITIVE = frozenset({"orders", "revenue", "social_interactions"})
PAIRS = (
    ("orders", "social_interactions"), ("revenue", "social_interactions"), ("delivery_days", "satisfaction"),
    ("delivery_days", "revenue"), ("satisfaction", "revenue"),
)  # fmt: skip

#: Days that one series is shifted against the other, at most, in either direction.
LAGS = 28
#: Days that are needed, and the share of them on which a mean must be known.
_FEWEST, _KNOWN = 150, 0.8
#: Days of a block: longer than a parcel is under way, so that what goes together stays together.
_BLOCK = 28
_DRAWS, _SEED = 2000, 20160101


@dataclass(frozen=True)
class Correlated:
    """Two series at all lags: each array has 2 × LAGS + 1 values, from −LAGS to LAGS."""

    days: int
    correlation: Floats
    low: Floats
    high: Floats


def refresh_correlations(
    con: DuckDBPyConnection, contract: Contract, reads: Sequence[str] = READS, *, full_checks: bool = False
) -> Written:
    """Makes `gold.correlations` anew if one of the tables it is made from, its contract or this code have changed.

    Raises:
        BlockedError: a blocking check failed.
    """
    import polars as pl

    version = sha256((own_code(__file__) + contract.text).encode()).hexdigest()[:16]
    _, behind = unseen(con, contract.table, reads, version)
    if behind is not None and not behind and not full_checks:
        return as_it_was(con, contract)
    types = {"VARCHAR": pl.String, "DATE": pl.Date, "DOUBLE": pl.Float64, "INTEGER": pl.Int64, "BOOLEAN": pl.Boolean}
    schema = {name: types[column.type] for name, column in contract.columns.items()}
    with handed_in(con, _correlations=pl.DataFrame(find_correlations(con), schema=schema, orient="row")):
        return replace_table(con, contract, typed(contract, "_correlations"), code_version=version, reads=reads)


def find_correlations(con: DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of `gold.correlations`, from the tables of the warehouse as they are; a pair that is not known has none."""
    known = {name: _read(con, sql) for name, sql in SERIES.items()}
    rows = []
    for first, second in PAIRS:
        days = _common(known[first], known[second])
        if days is None:
            continue
        x, y = (_cleaned(known[name], *days, additive=name in ADDITIVE) for name in (first, second))
        if x is not None and y is not None:
            rows += _rows(first, second, days, correlate(x, y, len(PAIRS)))
    return rows


def _rows(first: str, second: str, days: tuple[date, date], found: Correlated) -> list[dict[str, Any]]:
    strongest = int(np.argmax(np.abs(found.correlation)))
    return [
        {
            "first_series": first, "second_series": second, "lag_days": n - LAGS, "first_date": days[0],
            "last_date": days[1], "days": found.days, "correlation": round(float(found.correlation[n]), 6),
            "correlation_low": round(float(found.low[n]), 6), "correlation_high": round(float(found.high[n]), 6),
            "is_sure": bool(found.low[n] > 0 or found.high[n] < 0), "is_strongest": n == strongest,
        }
        for n in range(2 * LAGS + 1)
    ]  # fmt: skip


def _read(con: DuckDBPyConnection, sql: str) -> dict[date, float]:
    rows = con.execute(f"select * from ({sql}) as series where value is not null order by day").fetchall()
    return {day: float(value) for day, value in rows}


def _common(x: dict[date, float], y: dict[date, float]) -> tuple[date, date] | None:
    """The days on which both are under way; None where these are too few."""
    if not x or not y:
        return None
    first, last = max(min(x), min(y)), min(max(x), max(y))
    return (first, last) if (last - first).days + 1 >= _FEWEST else None


def _cleaned(series: dict[date, float], first: date, last: date, *, additive: bool) -> Floats | None:
    """What is left of a series without weekday, trend and season, a value a day; None where too little is known."""
    days = np.arange((last - first).days + 1)
    values = np.full(len(days), 0.0 if additive else np.nan)
    for day, value in series.items():
        if first <= day <= last:
            values[(day - first).days] = value
    if additive:
        values = np.log1p(np.maximum(values, 0.0))
    known = ~np.isnan(values)
    if known.mean() < _KNOWN:
        return None
    t = days / len(days)
    weekday = (days + first.weekday()) % 7
    year = 2 * np.pi * days / 365.25
    columns = [(weekday == n).astype(float) for n in range(7)]
    columns += [t, t**2, *(wave(k * year) for k in (1, 2) for wave in (np.sin, np.cos))]
    design = np.column_stack(columns)
    weights, *_ = np.linalg.lstsq(design[known], values[known], rcond=None)
    # A day that is not known says nothing: it lies where it is expected.
    left: Floats = np.where(known, values - design @ weights, 0.0)
    return left if left.std() > 1e-9 else None


def correlate(x: Floats, y: Floats, pairs: int = 1) -> Correlated:
    """The correlation of x on a day with y `lag` days later, for all lags, with 95 % intervals that hold together.

    Args:
        x: cleaned values, one a day.
        y: the same days of the other series.
        pairs: of how many pairs of series this is one; they share the 5 %.
    """
    middle = np.arange(LAGS, len(x) - LAGS)
    base = x[middle]
    shifted = _standardised(np.column_stack([y[middle + lag] for lag in range(-LAGS, LAGS + 1)]))
    observed = _standardised(base[:, None])[:, 0] @ shifted / len(middle)
    # In blocks put elsewhere, x remembers its own days and has nothing to do with those of y.
    by_chance = _standardised(base[_drawn(len(middle))].T).T @ shifted / len(middle)
    margin = np.quantile(np.abs(np.arctanh(by_chance)).max(axis=1), 1 - 0.05 / pairs)
    middle_of = np.arctanh(np.clip(observed, -0.999999, 0.999999))
    return Correlated(len(middle), observed, np.tanh(middle_of - margin), np.tanh(middle_of + margin))


def _drawn(days: int) -> NDArray[np.int64]:
    """The days of each draw (rows), in blocks; a block that reaches the end goes on at the beginning."""
    random = np.random.default_rng(_SEED)
    starts = random.integers(0, days, (_DRAWS, -(-days // _BLOCK)))
    at: NDArray[np.int64] = (starts[:, :, None] + np.arange(_BLOCK)) % days
    return at.reshape(_DRAWS, -1)[:, :days]


def _standardised(columns: Floats) -> Floats:
    """Columns with mean 0 and deviation 1; of one that never changes zeros."""
    centred = columns - columns.mean(axis=0)
    deviation = centred.std(axis=0)
    found: Floats = np.where(deviation > 0, centred / np.where(deviation > 0, deviation, 1.0), 0.0)
    return found
