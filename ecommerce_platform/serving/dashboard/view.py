"""What a page looks at: days, comparison, filters. Pure values, and how an address says them; what they show is in `figures`."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from ecommerce_platform.contracts.metric_sql import Filter

#: Spans one can choose: what an address calls them, and people.
SPANS = {
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "3m": "Last 3 full months",
    "6m": "Last 6 full months",
    "12m": "Last 12 full months",
    "ytd": "This year",
    "lastyear": "Last year",
    "all": "All time",
    "days": "Choose days",
}
#: Spans of whole months.
MONTHS = {"3m": 3, "6m": 6, "12m": 12}
COMPARISONS = {"previous": "Previous period", "year": "A year earlier", "none": "Nothing"}
#: Dimensions that the filters at the top offer, in this order; of these, those that the shop knows.
OFFERED = ("region", "segment", "category", "channel", "brand", "payment_method", "device", "age_group")
#: Longest spans, in days, that are shown by day, week and month.
_BY_DAY, _BY_WEEK, _BY_MONTH = 62, 150, 1500
_OWN = frozenset({"period", "since", "until", "compare", "as_of"})


@dataclass(frozen=True)
class Days:
    """First and last day of a span."""

    since: date
    until: date

    def __post_init__(self) -> None:
        if self.since > self.until:
            raise ValueError("a span ends no earlier than it begins")

    @property
    def length(self) -> int:
        """How many days it has."""
        return (self.until - self.since).days + 1

    @property
    def text(self) -> str:
        """As people read it, such as `1 Jan – 31 Mar 2024`."""
        first, last = self.since, self.until
        if (first.year, first.month, first.day) == (last.year, last.month, last.day):
            return f"{first.day} {first:%b %Y}"
        if (first.year, first.month) == (last.year, last.month):
            return f"{first.day} – {last.day} {last:%b %Y}"
        if first.year == last.year:
            return f"{first.day} {first:%b} – {last.day} {last:%b %Y}"
        return f"{first.day} {first:%b %Y} – {last.day} {last:%b %Y}"


@dataclass(frozen=True)
class View:
    """Days, what they are compared with, and which orders count."""

    days: Days
    span: str = "12m"
    compare: str = "previous"
    filters: tuple[Filter, ...] = ()
    #: The first day with data: nothing is compared with what lies before.
    first_day: date | None = field(default=None, compare=False)

    @property
    def before(self) -> Days | None:
        """The days that are compared with; None where nothing is, or data do not reach back to their beginning."""
        if self.compare == "none":
            return None
        found = _year_before(self.days) if self.compare == "year" else _before(self.days)
        return None if self.first_day and found.since < self.first_day else found

    @property
    def grain(self) -> str:
        """The period that a time series of these days reads best by."""
        length = self.days.length
        return (
            "day"
            if length <= _BY_DAY
            else "week"
            if length <= _BY_WEEK
            else "month"
            if length <= _BY_MONTH
            else "quarter"
        )

    def values_of(self, dimension: str) -> tuple[str, ...]:
        """The values that a dimension is held to; none where it is free."""
        return next((f.values for f in self.filters if f.dimension == dimension), ())

    def held_to(self, dimension: str, values: Sequence[str]) -> View:
        """The same view with a dimension held to these values, or free of them where there are none."""
        others = tuple(f for f in self.filters if f.dimension != dimension)
        return replace(self, filters=(*others, Filter(dimension, tuple(values))) if values else others)

    def compared(self, with_: str) -> View:
        """The same view beside other days, see `COMPARISONS`."""
        return replace(self, compare=with_)

    def of(self, days: Days) -> View:
        """The same view of other days."""
        return replace(self, days=days)


def span_days(span: str, first: date, last: date, given: Days | None = None) -> Days:
    """The days that a span means in a shop whose data reach from `first` to `last`; never outside of them.

    `3m`, `6m` and `12m` are the last whole months: one that is under way would look like a fall.
    """
    if span == "days" and given:
        since, until = max(given.since, first), min(given.until, last)
        return Days(since, until) if since <= until else Days(first, last)
    after = last + timedelta(days=1)
    whole = last if after.day == 1 else last.replace(day=1) - timedelta(days=1)
    if span in MONTHS and whole < first:  # a shop in its first month
        span = "all"
    since = {
        "30d": last - timedelta(days=29),
        "90d": last - timedelta(days=89),
        "ytd": date(last.year, 1, 1),
        "lastyear": date(last.year - 1, 1, 1),
        **{name: months_back(whole + timedelta(days=1), months) for name, months in MONTHS.items()},
    }.get(span, first)
    until = {"lastyear": date(last.year - 1, 12, 31), **dict.fromkeys(MONTHS, whole)}.get(span, last)
    if until < first:  # a shop in its first year has no last one
        return Days(first, last)
    return Days(max(since, first), until)


def usual_span(first: date, last: date) -> str:
    """The longest span of whole months that has as many before it to be compared with; everything in a young shop."""
    for span in reversed(MONTHS):
        days = span_days(span, first, last)
        if (before := View(days, span, "previous", (), first).before) and before.length >= days.length - 3:
            return span
    return "all"


def months_back(day: date, months: int) -> date:
    """The same day of an earlier month; the last of the month where that is shorter."""
    total = day.year * 12 + day.month - 1 - months
    year, month = divmod(total, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _whole_months(days: Days) -> int:
    """How many whole months the days are; 0 where they are not."""
    after = days.until + timedelta(days=1)
    if days.since.day != 1 or after.day != 1:
        return 0
    return (after.year - days.since.year) * 12 + after.month - days.since.month


def _before(days: Days) -> Days:
    """As many days just before; of whole months, as many whole months."""
    months = _whole_months(days)
    since = months_back(days.since, months) if months else days.since - timedelta(days=days.length)
    return Days(since, days.since - timedelta(days=1))


def _year_before(days: Days) -> Days:
    if months := _whole_months(days):
        since = months_back(days.since, 12)
        return Days(since, months_back(days.since, 12 - months) - timedelta(days=1))
    return Days(months_back(days.since, 12), months_back(days.until, 12))


def read_address(parameters: Mapping[str, Sequence[str]], dimensions: Iterable[str], first: date, last: date) -> View:
    """The view that an address asks for; what it does not say, or says wrongly, is as usual.

    Args:
        parameters: of the address, each with its values.
        dimensions: those that may be filtered by.
        first: the shop's first day with data.
        last: its last.
    """

    def one(name: str) -> str:
        return (list(parameters.get(name, ())) or [""])[-1]

    usual = usual_span(first, last)
    span = one("period") if one("period") in SPANS else usual
    given = None
    try:
        given = Days(date.fromisoformat(one("since")), date.fromisoformat(one("until")))
        span = "days"
    except ValueError:
        span = usual if span == "days" else span
    compare = one("compare") if one("compare") in COMPARISONS else "previous"
    filters = tuple(
        Filter(name, values)
        for name in dimensions
        if name not in _OWN
        and (values := tuple(dict.fromkeys(v for v in parameters.get(name, ()) if v and "\x00" not in v)))
    )
    return View(span_days(span, first, last, given), span, compare, filters, first)


def address_of(view: View, as_of: str | None = None) -> dict[str, list[str]]:
    """The parameters of an address that `read_address` reads as this view."""
    found: dict[str, list[str]] = {}
    if view.span == "days":
        found |= {"since": [view.days.since.isoformat()], "until": [view.days.until.isoformat()]}
    else:
        found["period"] = [view.span]
    if view.compare != "previous":
        found["compare"] = [view.compare]
    if as_of:
        found["as_of"] = [as_of]
    return found | {f.dimension: list(f.values) for f in view.filters}
