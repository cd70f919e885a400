"""What a report says of a period: asked of a shop, as plain values. How it looks is in `render`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from ecommerce_platform.errors import InputError
from ecommerce_platform.reading.drivers import Periods, drivers_sql
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.figures import breakdown, compared_series, totals
from ecommerce_platform.serving.dashboard.view import Days, View, months_back
from ecommerce_platform.serving.dashboard.wording import change, period_text, shown

#: The figures of the first table, as far as the shop knows them.
FIGURES = (
    "revenue", "gross_amount", "discount_amount", "orders", "customers", "new_customers", "aov", "units", "net_profit", "refund_amount",
    "repeat_purchase_rate", "on_time_rate", "avg_delivery_days", "avg_review_score", "avg_satisfaction_score",
)  # fmt: skip
DRIVERS = {
    "customers": "the number of customers", "orders_per_customer": "orders per customer", "units_per_order": "units per order",
    "price": "the price per unit", "discount": "discounts", "without_customer": "orders without a customer", "not_split": "other changes",
}  # fmt: skip
_DIMENSIONS = ("category", "region", "channel", "brand")
_PERIOD = re.compile(r"(\d{4})(?:-(?:(0[1-9]|1[0-2])|Q([1-4])))?")
_ROWS, _ACTIONS = 8, 3


@dataclass(frozen=True)
class Line:
    """A figure of the first table, as text."""

    label: str
    now: str
    before: str
    change: str
    year: str
    year_change: str
    #: Whether the change against the period before is for the better; None where that cannot be said.
    good: bool | None


@dataclass(frozen=True)
class Cut:
    """The revenue by the values of a dimension: value, figure, and the change against the period before."""

    label: str
    rows: Sequence[tuple[str, float, float | None]]


@dataclass(frozen=True)
class Report:
    """All that a report says."""

    shop: str
    currency: str
    days: Days
    title: str
    snapshot: str
    published: str
    lines: Sequence[Line]
    summary: Sequence[str]
    series: tuple[Sequence[str], Sequence[float | None], Sequence[float | None]]
    drivers: Sequence[tuple[str, float]]
    cuts: Sequence[Cut]
    insights: Sequence[str]
    unusual: Sequence[str]
    actions: Sequence[str]
    trust: Sequence[str] = field(default=())


def days_of(period: str) -> Days:
    """The days of a period as one writes it: 2018-08, 2018-Q3 or 2018.

    Raises:
        InputError: it is none of these.
    """
    found = _PERIOD.fullmatch(period.strip().upper())
    if not found or not int(found[1]):
        raise InputError(f"{period!r} is no period", where="--period", fix="write 2018-08, 2018-Q3 or 2018")
    year, month, quarter = int(found[1]), found[2], found[3]
    first = date(year, int(month) if month else (int(quarter) * 3 - 2 if quarter else 1), 1)
    months = 1 if month else 3 if quarter else 12
    return Days(first, months_back(first, -months) - timedelta(days=1))


def make_report(shop: Shop, days: Days) -> Report:
    """The report of these days.

    Raises:
        InputError: the shop has no orders in them.
    """
    view = View(days, "days", "previous", (), shop.first_day)
    lines = _lines(shop, view)
    now = totals(shop, view, ["revenue", "orders"])
    if not now["orders"].now:
        raise InputError(
            f"there are no orders in {days.text}", where="--period",
            fix=f"the data reach from {shop.first_day} to {shop.last_day}",
        )  # fmt: skip
    drivers = _drivers(shop, view)
    return Report(
        shop=shop.name.replace("_", " ").capitalize(), currency=shop.currency, days=days, title=_title(days), snapshot=shop.id,
        published=f"{shop.published_at:%d %b %Y, %H:%M} UTC", lines=lines, summary=_summary(shop, view, drivers), series=_series(shop, view),
        drivers=drivers, cuts=_cuts(shop, view), insights=_insights(shop), unusual=_unusual(shop, days), actions=_actions(shop, view), trust=_trust(shop),
    )  # fmt: skip


def _title(days: Days) -> str:
    months = (days.until.year - days.since.year) * 12 + days.until.month - days.since.month + 1
    if months == 12:
        return f"{days.since.year}"
    return period_text(days.since, "quarter") if months == 3 else f"{days.since:%B %Y}"


def _lines(shop: Shop, view: View) -> list[Line]:
    previous = totals(shop, view, FIGURES)
    year = totals(shop, View(view.days, "days", "year", (), shop.first_day), FIGURES)
    found = []
    for name, total in previous.items():
        metric = shop.metrics.metric(name)
        if total.now is None:
            continue
        earlier = year[name].before
        more = None if total.before is None or total.now == total.before else total.now > total.before
        good = None if more is None or metric.better == "neither" else more == (metric.better == "more")
        found.append(
            Line(
                metric.label, shown(total.now, metric.format, shop.currency), shown(total.before, metric.format, shop.currency),
                change(total.now, total.before, metric.format) or "", shown(earlier, metric.format, shop.currency),
                change(total.now, earlier, metric.format) or "", good,
            )
        )  # fmt: skip
    return found


def _summary(shop: Shop, view: View, drivers: Sequence[tuple[str, float]]) -> list[str]:
    found = totals(shop, view, ["revenue", "orders", "customers", "aov"])
    year = totals(shop, View(view.days, "days", "year", (), shop.first_day), ["revenue"])["revenue"]
    revenue = found["revenue"]
    text = (
        f"Revenue was {shown(revenue.now, 'money', shop.currency)} from {shown(found['orders'].now, 'count')} orders of "
        f"{shown(found['customers'].now, 'count')} customers, {shown(found['aov'].now, 'money', shop.currency)} an order."
    )
    against = [
        f"{differs} against {what}"
        for total, what in ((revenue, "the period before"), (year, "a year earlier"))
        if (differs := change(total.now, total.before, "money"))
    ]
    sentences = [text + (f" That is {' and '.join(against)}." if against else "")]
    if drivers and revenue.before is not None and revenue.now is not None:
        name, amount = max(drivers, key=lambda d: abs(d[1]))
        way = "added" if amount > 0 else "took away"
        sentences.append(f"What mattered most was {name}: it {way} {shown(abs(amount), 'money', shop.currency)}.")
    return sentences


def _series(shop: Shop, view: View) -> tuple[list[str], list[float | None], list[float | None]]:
    grain = "day" if view.days.length < 100 else "month"
    now, before = compared_series(shop, view, ["revenue"], grain)
    labels = [period_text(p, grain) for p in now["period"].to_list()]
    return labels, now["revenue"].to_list(), [] if before is None else before["revenue"].to_list()


def _drivers(shop: Shop, view: View) -> list[tuple[str, float]]:
    if view.before is None:
        return []
    pair = Periods(view.before.since, view.before.until, view.days.since, view.days.until)
    frame = shop.frame(f"select part, amount from ({drivers_sql([pair])})")
    amounts = dict(frame.iter_rows())
    return [(label, float(amounts[part])) for part, label in DRIVERS.items() if amounts.get(part)]


def _cuts(shop: Shop, view: View) -> list[Cut]:
    found = []
    for name in _DIMENSIONS:
        if name not in shop.dimensions():
            continue
        frame = breakdown(shop, view, "revenue", name).head(_ROWS)
        changes = frame["change"].to_list() if view.before else [None] * len(frame)
        rows = [
            (str(v), float(n or 0), c)
            for v, n, c in zip(frame["value"].to_list(), frame["now"].to_list(), changes, strict=True)
        ]
        found.append(Cut(shop.metrics.dimension(name).label, rows))
    return found


def _insights(shop: Shop) -> list[str]:
    if not shop.has("gold.insights"):
        return []
    return [
        str(s)
        for s in shop.frame(f"select sentence from gold.insights order by rank limit {_ROWS}")["sentence"].to_list()
    ]


def _unusual(shop: Shop, days: Days) -> list[str]:
    if not shop.has("gold.anomalies"):
        return []
    frame = shop.frame(
        "select explanation from gold.anomalies where severity <> 'info' and "
        f"window_start <= date '{days.until}' and window_end >= date '{days.since}' order by window_start, series"
    )
    return [str(s) for s in frame["explanation"].to_list()]


def _actions(shop: Shop, view: View) -> list[str]:
    """What the tables say is to be done, each with why."""
    found = []
    if shop.has("gold.inventory_health"):
        frame = shop.frame(
            "select coalesce(name, product_id) as name, state, on_hand, reorder_point_needed from gold.inventory_health "
            f"where state in ('out of stock', 'to be ordered') and units_per_day > 0 order by units_per_day desc, product_id limit {_ACTIONS}"
        )
        found += [
            f"Order {r['name']}: {r['on_hand']:,} units are left"
            + (
                f", {r['reorder_point_needed']:,} are needed until a delivery arrives."
                if r["reorder_point_needed"] is not None
                else "."
            )
            for r in frame.to_dicts()
        ]
    if view.before and "category" in shop.dimensions():
        frame = breakdown(shop, view, "revenue", "category")
        falling = frame.filter(frame["change"] < 0).sort("change").head(1)
        found += [
            f"Look into {r['value']}: its revenue fell by {shown(-r['change'], 'money', shop.currency)} against the period before."
            for r in falling.to_dicts()
        ]
    if shop.has("gold.campaign_performance"):
        frame = shop.frame(
            "select coalesce(name, campaign_id) as name, cost_amount from gold.campaign_performance where incremental_orders_high < 1 "
            f"and cost_amount > 0 order by cost_amount desc limit {_ACTIONS}"
        )
        found += [
            f"Stop or change {r['name']}: it cost {shown(r['cost_amount'], 'money', shop.currency)} and surely brought no orders that would not have come anyway."
            for r in frame.to_dicts()
        ]
    return found


def _trust(shop: Shop) -> list[str]:
    counts = shop.one(
        "select count(*) as checks, count(*) filter (where not passed) as failed, "
        "count(*) filter (where not passed and lower(severity) = 'error') as errors from about.checks"
    )
    if not counts["checks"]:
        return []
    text = f"{counts['checks'] - counts['failed']:,} of {counts['checks']:,} checks of the tables hold"
    return [text + (f"; {counts['errors']} that must hold do not: figures may be wrong." if counts["errors"] else ".")]
