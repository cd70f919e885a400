"""Strange days in series of KPIs: what was expected from the past alone, and the windows that were not like it.

A day is judged by days before it only, so what is said of it does not change when more days come. Strange days
teach nothing to the days after them, unless they go on for so long that they are the new normal, day after day or on the
same weekday week after week (a shop that begins to close on Fridays). The table's
contract says what it looks like, `source.yml` which series are watched; why revenue moved is looked up here,
in the warehouse, but not what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.source import AnomalyRules
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.warehouse.changes import own_code, unseen
from ecommerce_platform.warehouse.frames import handed_in, typed
from ecommerce_platform.warehouse.write import Written, as_it_was, replace_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Columns of `gold.kpi_daily` that count or sum, so that a day without a row is a day with nothing.
ADDITIVE = ("orders", "customers", "new_customers", "units", "gross_amount", "discount_amount", "revenue", "reviews")
#: Ratios and means: a day without one says nothing.
RATES = (
    "aov", "cost_known_share", "avg_review_score", "nps_proxy", "avg_satisfaction_score", "on_time_rate",
    "avg_delivery_days", "net_profit", "refund_amount",
)  # fmt: skip

#: Tables that strange days are found in and explained from.
READS = ("gold.kpi_daily", "gold.fct_orders", "gold.fct_order_items", "gold.dim_product")

#: Days before the first that is detection.
_WARM_UP = 28
#: Days that a day is compared with, and after how many days one counts half.
_WINDOW, _HALF_LIFE = 70, 20
#: How strongly a trend within the window (per month) and effects of weekdays are held back.
_TREND_PENALTY, _WEEKDAY_PENALTY = 0.1, 0.005
#: Judged days whose errors say how far off a forecast usually is; fewer leave it to the fit's own residuals.
_ERRORS, _FEWEST_ERRORS = 84, 14
#: The smallest usual error: nothing is known more exactly than to so much (4 % for amounts).
_FLOOR = 0.04
#: Counts and amounts below it are what is left of none by the regression: such an expectation is 0, and nothing is a
#: percentage of it.
_NOTHING = 1e-6
#: Days of the same kind in a row after which they are no longer strange.
_LONGEST = 10
#: Weeks in a row in which a weekday is off in the same direction after which it is no longer strange, and teaches.
_WEEKS = 3
#: Days of a weekday from which its own level is known, and how far it lies from the others' to be used (e-fold).
_FEWEST_OF_A_WEEKDAY, _FAR = 3, 1.0
#: From a median absolute deviation to a standard deviation.
_MAD = 1.4826


@dataclass(frozen=True)
class Detection:
    """What was found of a series, day by day.

    Arrays have one entry per day: `expected` and the limits in the unit of the series (nan before anything is
    judged), `score` in usual errors, `strange` -1, 0 or 1.
    """

    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray
    score: np.ndarray
    strange: np.ndarray


@dataclass(frozen=True)
class Window:
    """Strange days in a row; `first` and `last` are positions in the series."""

    first: int
    last: int
    direction: int
    score: float


def detect(values: np.ndarray, threshold: float, *, additive: bool) -> Detection:
    """What each day was expected to be, from the days before it, and whether it was.

    A weighted regression on level, trend and weekday over the past days, robust by Huber-like weights (iteratively
    reweighted least squares: Holland and Welsch, 1977, with weights that fall faster beyond two deviations). The usual
    error is the median absolute error of earlier one-day forecasts.

    Args:
        values: one per calendar day, in order; nan where the day says nothing.
        threshold: how many usual errors a day may be off.
        additive: counts and sums, judged by ratio (log); else by difference.
    """
    n = len(values)
    y = np.log1p(np.maximum(values, 0.0)) if additive else np.asarray(values, dtype=float)
    floor = _FLOOR if additive else _FLOOR * _spread(y)
    expected, error, score = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    strange, direction = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
    usable = np.isfinite(y)
    errors: list[float] = []
    run = 0
    for t in range(_WARM_UP, n):
        past = np.arange(max(0, t - _WINDOW), t)
        known = past[usable[past]]
        if len(known) < _WARM_UP * 0.75:
            # Hardly anything ordinary lately: all that was there has to do.
            known = past[np.isfinite(y[past])]
            if len(known) < _WARM_UP * 0.75:
                continue
        expected[t], own = _forecast(y, known, t)
        usual = _MAD * float(np.median(np.abs(errors[-_ERRORS:]))) if len(errors) >= _FEWEST_ERRORS else own
        error[t] = max(floor, usual, 0.7 * own)
        if not np.isfinite(y[t]):
            continue
        off = y[t] - expected[t]
        score[t] = off / error[t]
        if abs(score[t]) <= threshold:
            run = 0
            errors.append(off)
            continue
        direction[t] = int(np.sign(off))
        if _has_become_usual(direction, t):
            # This weekday is what it has been in the last weeks, and no longer what it was before.
            run = 0
            usable[t % 7 : t : 7] = False
            usable[t - 7 * _WEEKS : t : 7] = True
            continue
        strange[t] = direction[t]
        usable[t] = False
        run = run + 1 if strange[t] == strange[t - 1] else 1
        if run > _LONGEST:
            strange[t] = run = 0
            usable[t - _LONGEST : t + 1] = True
    back = (lambda x: np.where(np.expm1(x) < _NOTHING, 0.0, np.expm1(x))) if additive else (lambda x: x)
    return Detection(
        back(expected), back(expected - threshold * error), back(expected + threshold * error), score, strange
    )


def _has_become_usual(direction: np.ndarray, t: int) -> bool:
    """Whether the weekday of day t was off as it is now in each of the last weeks."""
    before = direction[max(0, t - 7 * _WEEKS) : t : 7] if t >= 7 * _WEEKS else direction[:0]
    return len(before) == _WEEKS and bool((before == direction[t]).all())


def windows(detection: Detection) -> list[Window]:
    """Strange days of one direction in a row, each run as one window, in order."""
    found: list[Window] = []
    for t in np.flatnonzero(detection.strange).tolist():
        direction, score = int(detection.strange[t]), float(detection.score[t])
        if found and found[-1].last == t - 1 and found[-1].direction == direction:
            last = found.pop()
            score = max(last.score, score, key=abs)
            found.append(Window(last.first, t, direction, score))
        else:
            found.append(Window(t, t, direction, score))
    return found


def refresh_anomalies(
    con: DuckDBPyConnection,
    contract: Contract,
    rules: AnomalyRules,
    reads: Sequence[str] = READS,
    *,
    full_checks: bool = False,
) -> Written:
    """Makes `gold.anomalies` anew if one of the tables it is made from, its contract, the rules or this code have changed.

    Args:
        con: a connection to the warehouse.
        contract: of `gold.anomalies`.
        rules: of the source.
        reads: the tables it is made from.
        full_checks: checks the table even if nothing has changed.

    Raises:
        DefinitionError: a series is no column of `gold.kpi_daily`.
        BlockedError: a blocking check failed.
    """
    import polars as pl

    code = own_code(__file__) + contract.text
    version = sha256(f"{code}{rules.model_dump_json()}".encode()).hexdigest()[:16]
    _, behind = unseen(con, contract.table, reads, version)
    if behind is not None and not behind and not full_checks:
        return as_it_was(con, contract)
    types = {"VARCHAR": pl.String, "DATE": pl.Date, "DOUBLE": pl.Float64}
    schema = {name: types[column.type] for name, column in contract.columns.items()}
    with handed_in(con, _anomalies=pl.DataFrame(find_anomalies(con, rules), schema=schema, orient="row")):
        return replace_table(con, contract, typed(contract, "_anomalies"), code_version=version, reads=reads)


def find_anomalies(con: DuckDBPyConnection, rules: AnomalyRules) -> list[dict[str, Any]]:
    """The rows of `gold.anomalies`, from the tables of the warehouse as they are.

    Args:
        con: a connection; `gold.kpi_daily`, `gold.fct_orders`, `gold.fct_order_items` and `gold.dim_product` are read.
        rules: which series are watched, how strictly, and which days are known to be different.

    Raises:
        DefinitionError: a series is no column of `gold.kpi_daily`.
    """
    columns = {name for name, *_ in con.execute("describe gold.kpi_daily").fetchall()}
    if unknown := sorted(set(rules.series) - columns):
        raise DefinitionError(
            f"anomalies: {', '.join(unknown)} is no column of gold.kpi_daily",
            where="source.yml",
            fix=f"use some of {', '.join((*ADDITIVE, *RATES))}",
        )
    names = list(rules.series)
    rows = con.execute(f"select order_date, {', '.join(names)} from gold.kpi_daily order by order_date").fetchall()
    if not rows:
        return []
    first, last = rows[0][0], rows[-1][0]
    days = (last - first).days + 1
    found: list[dict[str, Any]] = []
    for position, name in enumerate(names, start=1):
        additive = name in ADDITIVE
        values = np.full(days, 0.0 if additive else np.nan)
        for row in rows:
            if row[position] is not None:
                values[(row[0] - first).days] = float(row[position])
        detection = detect(values, rules.threshold, additive=additive)
        for window in windows(detection):
            found.append(_row(con, name, additive, first, values, detection, window, rules))
    return sorted(found, key=lambda row: (row["window_start"], row["series"]))


def _row(
    con: DuckDBPyConnection,
    name: str,
    additive: bool,
    first: date,
    values: np.ndarray,
    detection: Detection,
    window: Window,
    rules: AnomalyRules,
) -> dict[str, Any]:
    inside = slice(window.first, window.last + 1)
    # Sums of counts and amounts, means of rates: what the window as a whole was and should have been.
    total = np.nansum if additive else np.nanmean
    start, end = first + timedelta(days=window.first), first + timedelta(days=window.last)
    peak = window.first + int(np.argmax(np.abs(detection.score[inside])))
    known = rules.known(start, end)
    drivers = _drivers(con, start, end) if additive else []
    shown = [str(driver) for driver in drivers]
    actual, expected = float(total(values[inside])), float(total(detection.expected[inside]))
    severity = "info" if known else "critical" if abs(window.score) >= rules.critical else "warning"
    return {
        "series": name,
        "window_start": start,
        "window_end": end,
        "direction": "up" if window.direction > 0 else "down",
        "peak_date": first + timedelta(days=peak),
        "actual": actual,
        "expected": expected,
        "expected_low": float(total(detection.low[inside])),
        "expected_high": float(total(detection.high[inside])),
        "score": abs(window.score),
        "severity": severity,
        "known_as": known,
        "drivers": "; ".join(shown) or None,
        "explanation": _sentence(name, start, end, actual, expected, known, drivers),
    }


def _sentence(
    name: str, start: date, end: date, actual: float, expected: float, known: str | None, drivers: Sequence[Driver]
) -> str:
    when = f"on {start}" if start == end else f"from {start} to {end}"
    change = f" ({actual / expected - 1:+.0%})" if expected > 0 else ""
    text = f"{name} was {actual:,.4g} {when}, where {expected:,.4g} was expected{change}"
    if known:
        text += f"; these days are known as {known}"
    if drivers and drivers[0].part > _MOST and not drivers[0].is_size:
        text += f"; most of it in {drivers[0]}"
    elif drivers:
        text += f"; no single value makes up most of it: {', '.join(map(str, drivers))}"
    return text


#: Dimensions that may explain a window: name → expression over the joined lines.
_DIMENSIONS = {
    "channel": "o.channel",
    "device": "o.device",
    "region": "o.region",
    "payment_method": "o.payment_method",
    "category": "p.category",
    "brand": "p.brand",
}
#: Days before a window whose shares are what is usual.
_BEFORE = 28
#: Part of the change that is most of it, and the least that is told; how much more than its usual part of everything a
#: value must have of the change; how many values are told.
_MOST, _LEAST, _MORE, _TOLD = 0.5, 0.1, 1.2, 3


@dataclass(frozen=True)
class Driver:
    """What a part of a change in revenue came from: a dimension's value, or more or larger orders (`is_size`)."""

    what: str
    part: float
    is_size: bool = False

    def __str__(self) -> str:
        return f"{self.what} ({min(self.part, 1.0):.0%} of the change)"


def _drivers(con: DuckDBPyConnection, start: date, end: date) -> list[Driver]:
    """What the change of revenue in a window came from, against the four weeks before it.

    First the dimension values that have a larger part of the change than of revenue before, the largest surplus first:
    those with most of the change, else a few with a tenth or more. Then, so that a change that is spread over everything
    (a sale, a closed day) has an explanation as well, whether it was the number of orders or the value of an order. The
    two parts add up to the change: (n₁ − n₀)(v₀ + v₁)/2 + (v₁ − v₀)(n₀ + n₁)/2 = n₁v₁ − n₀v₀. What is not known
    (`unknown`) explains nothing and is never named.
    """
    days = (end - start).days + 1
    window = {"start": start, "end": end, "from": start - timedelta(days=_BEFORE)}
    rows = con.execute(_by_value(), window).fetchall()
    found = []
    for dimension in _DIMENSIONS:
        mine = [
            (value, float(inside), float(before) * days / _BEFORE)
            for d, value, inside, before in rows
            if d == dimension
        ]
        # Exact sums: in whatever order the rows come, equal parts stay equal.
        change = fsum(inside - usual for _, inside, usual in mine)
        usual_total = fsum(usual for _, _, usual in mine)
        if len(mine) < 2 or not change or usual_total <= 0:
            continue
        for value, inside, usual in mine:
            share, part = usual / usual_total, round((inside - usual) / change, 6)
            if value != "unknown" and part >= _LEAST and part > _MORE * share:
                found.append((part > _MOST and part > 1.5 * share, part - share, Driver(f"{dimension} {value}", part)))
    found.sort(key=lambda one: (-one[0], -one[2].part if one[0] else -one[1], one[2].what))
    most = [driver for is_most, _, driver in found if is_most]
    values = most or [driver for _, _, driver in found]
    return [*values[:_TOLD], *_size(con, window, days)]


def _by_value() -> str:
    """SELECT of dimension, value, revenue inside the window and before it: the lines are joined once for all dimensions."""
    names = ", ".join(_DIMENSIONS)
    values = ", ".join(f"coalesce({expression}, 'unknown') as {name}" for name, expression in _DIMENSIONS.items())
    dimension = " ".join(f"when grouping({name}) = 0 then '{name}'" for name in _DIMENSIONS)
    return (
        f"with lines as (select i.order_date, i.revenue_amount, {values} "
        "from gold.fct_order_items as i left join gold.fct_orders as o on o.order_id = i.order_id "
        "left join gold.dim_product as p on p.product_id = i.product_id "
        "where i.is_valid and i.order_date between $from and $end) "
        f"select case {dimension} end as dimension, coalesce({names}) as value, "
        "coalesce(sum(revenue_amount) filter (where order_date between $start and $end), 0) as inside, "
        "coalesce(sum(revenue_amount) filter (where order_date < $start), 0) as before "
        f"from lines group by grouping sets ({', '.join(f'({name})' for name in _DIMENSIONS)})"
    )


def _size(con: DuckDBPyConnection, window: dict[str, date], days: int) -> list[Driver]:
    """Number and value of orders, as far as each makes up a tenth of the change or more; the larger first."""
    (row,) = con.execute(
        "select count(distinct order_id) filter (where order_date >= $start), "
        "coalesce(sum(revenue_amount) filter (where order_date >= $start), 0), "
        "count(distinct order_id) filter (where order_date < $start), "
        "coalesce(sum(revenue_amount) filter (where order_date < $start), 0) "
        "from gold.fct_order_items where is_valid and order_date between $from and $end",
        window,
    ).fetchall()
    orders, revenue = row[0], float(row[1])
    orders_before, revenue_before = row[2] * days / _BEFORE, float(row[3]) * days / _BEFORE
    change = revenue - revenue_before
    if not change:
        return []
    value_before = revenue_before / orders_before if orders_before else None
    value = revenue / orders if orders else value_before
    by_number = 1.0
    if value is not None and value_before is not None:
        by_number = round((orders - orders_before) * (value + value_before) / 2 / change, 6)
    parts = [Driver("number of orders", by_number, True), Driver("value of an order", 1 - by_number, True)]
    return sorted((part for part in parts if part.part >= _LEAST), key=lambda part: -part.part)


def _forecast(y: np.ndarray, known: np.ndarray, t: int) -> tuple[float, float]:
    """Expected value of day t, and the usual size of the fit's residuals."""
    x = np.zeros((len(known), 8))
    x[:, 0], x[:, 1] = 1.0, (known - t) / 30.0
    weekday = (known - t) % 7
    for k in range(1, 7):
        x[weekday == k, 1 + k] = 1.0
    x[:, 2:] -= 1 / 7  # relative to the mean of the week, so that holding effects back favours no weekday
    weight = 0.5 ** ((t - known) / _HALF_LIFE)
    penalty = np.diag([0.0, _TREND_PENALTY, *[_WEEKDAY_PENALTY] * 6]) * weight.sum()
    # A weekday that is always closed (in logarithms, 0 orders are many deviations below the others) would be taken for
    # outliers and never be learnt, so the effects of such weekdays are sought around where they usually are.
    usual = _of_weekdays(y[known], weekday)
    values, robust = y[known] - usual[weekday], np.ones(len(known))
    for _ in range(4):
        w = weight * robust
        coefficients = np.linalg.solve(x.T @ (x * w[:, None]) + penalty, x.T @ (w * values))
        residual = values - x @ coefficients
        deviation = _MAD * np.median(np.abs(residual)) + 1e-9
        robust = 1 / np.maximum(1.0, (np.abs(residual) / (2 * deviation)) ** 2)
    of_day_t = np.array([1.0, 0.0, *[-1 / 7] * 6])
    return float(usual[0] + of_day_t @ coefficients), 1.25 * float(deviation)


def _of_weekdays(values: np.ndarray, weekday: np.ndarray) -> np.ndarray:
    """How far the median of each of seven weekdays lies from that of the others, where that is far; else 0."""
    medians = np.full(7, np.nan)
    for k in range(7):
        mine = values[weekday == k]
        if len(mine) >= _FEWEST_OF_A_WEEKDAY:
            medians[k] = np.median(mine)
    if not np.isfinite(medians).any():
        return np.zeros(7)
    off = np.where(np.isfinite(medians), medians - np.nanmedian(medians), 0.0)
    return np.where(np.abs(off) > _FAR, off, 0.0)


def _spread(y: np.ndarray) -> float:
    known = y[np.isfinite(y)]
    return float(np.median(np.abs(known - np.median(known)))) if len(known) else 1.0
