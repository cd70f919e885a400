"""Daily series as models take them: no gaps, no partial days at either end, closed weekdays known.

What a series is like (short, flat, intermittent …) is decided here, once; what is done about it, in `backtest`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

WEEK = 7
#: Weeks of the same weekday that say what is usual for it.
_USUAL_WEEKS = 8
#: A last day below this share of what is usual for its weekday is taken for not yet delivered in full.
PARTIAL_BELOW = 0.3
#: At most so many days at the end are taken for not delivered; a shop that sells little for longer sells little.
_MOST_LEFT_OUT = 60
#: From here on a series has too many days without anything for methods that follow a level.
INTERMITTENT_FROM = 0.5
#: Fewer days than these are answered by the seasonal naive forecast, without a backtest.
SHORT_BELOW = 112


@dataclass(frozen=True)
class Series:
    """One value per calendar day from `first` on.

    Attributes:
        name: what it is, such as `total` or a category.
        first: day of the first value.
        values: n finite values; days without sales are 0.
        left_out: days at the end that were taken for partial.
    """

    name: str
    first: date
    values: np.ndarray
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def day(self, position: int) -> date:
        """The calendar day at a position; positions beyond the end lie in the future."""
        return self.first + timedelta(days=position)


def daily(name: str, days: list[date], values: np.ndarray, first: date, last: date) -> Series:
    """A series over all days from `first` to `last`; days that are not mentioned are 0, days outside left out.

    Args:
        name: its name.
        days: distinct days, in any order.
        values: one per day.
        first: first day of the series.
        last: last day of it.
    """
    filled = np.zeros(max((last - first).days + 1, 0))
    for day, value in zip(days, np.asarray(values, dtype=float), strict=True):
        position = (day - first).days
        if 0 <= position < len(filled):
            filled[position] = value
    return Series(name, first, filled)


def without_partial_days(series: Series) -> Series:
    """The series without the days at its end that were delivered in part, and before the shop had really begun.

    A last day is partial when it has less than 30 % of the median of its weekday over the eight weeks before; so are
    the days before it as long as that holds, up to 60. It begins with the first day from which on half of the next 28
    days have something. Closed weekdays (median 0) are never partial by themselves.

    Args:
        series: daily counts or amounts of the whole shop: of a single category a quiet day is a quiet day.
    """
    values = series.values
    selling = values > 0
    begin = next((t for t in np.flatnonzero(selling).tolist() if selling[t : t + 28].mean() >= 0.5), 0)
    end = len(values)
    for t in range(len(values) - 1, max(begin + WEEK * _USUAL_WEEKS, len(values) - _MOST_LEFT_OUT) - 1, -1):
        usual = _usual(values, t, len(values) - t)
        if usual > 0:
            if values[t] >= PARTIAL_BELOW * usual:
                break
            end = t
    return replace(series, first=series.day(begin), values=values[begin:end], left_out=len(values) - end)


def _usual(values: np.ndarray, t: int, behind: int) -> float:
    """Median of the weekday of day t in the weeks before; those among the `behind` last days may be partial, too."""
    earlier = values[t % WEEK : t : WEEK]
    # A tail of weeks would make itself usual: the weeks before it count.
    weeks = behind // WEEK
    kept = earlier[max(len(earlier) - weeks - _USUAL_WEEKS, 0) : max(len(earlier) - weeks, 0)]
    return float(np.median(kept)) if len(kept) else 0.0


def listed(values: np.ndarray) -> int:
    """Position of the first day with anything: before it a category or product was not there rather than unsold."""
    found = np.flatnonzero(values)
    return int(found[0]) if len(found) else len(values)


def kind(values: np.ndarray) -> str:
    """What a series is like: empty, flat, short, dormant, intermittent or ordinary.

    empty: nothing ever; flat: one value throughout; short: under 112 days; dormant: nothing in the last 13 weeks;
    intermittent: half of the days or more without anything, closed weekdays not counted.

    Args:
        values: daily, from the first day on which it was listed.
    """
    if not len(values) or not values.any():
        return "empty"
    if len(values) < SHORT_BELOW:
        return "short"
    if np.ptp(values) == 0:
        return "flat"
    if not values[-13 * WEEK :].any():
        return "dormant"
    recent = values[-52 * WEEK :]
    open_days = ~np.resize(closed_weekdays(recent), len(recent))
    if not open_days.any() or (recent[open_days] == 0).mean() >= INTERMITTENT_FROM:
        return "intermittent"
    return "ordinary"


def closed_weekdays(values: np.ndarray) -> np.ndarray:
    """Which places in the week had nothing in each of the last eight weeks, while other days had something.

    Args:
        values: daily, at least four weeks; with fewer nothing is taken for closed.

    Returns:
        7 booleans, by position modulo 7 in `values`.
    """
    closed = np.zeros(WEEK, dtype=bool)
    if len(values) < 4 * WEEK:
        return closed
    for place in range(WEEK):
        closed[place] = not values[place::WEEK][-_USUAL_WEEKS:].any()
    return closed if not closed.all() and closed.sum() <= 3 else np.zeros(WEEK, dtype=bool)
