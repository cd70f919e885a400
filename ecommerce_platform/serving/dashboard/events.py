"""What happened while a time series ran: campaigns and sales, strange days, days known to be different, loads set aside.

Read from the snapshot; how they are drawn is in `charts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ecommerce_platform.serving.dashboard.data import Shop, kept
from ecommerce_platform.serving.dashboard.view import Days

#: Kinds of events, as people call them, in the order in which they are listed.
KINDS = {
    "sale": "Sales",
    "campaign": "Campaigns",
    "anomaly": "Unusual days",
    "known": "Holidays",
    "load": "Loads set aside",
}
#: Channels on which a campaign is a sale in the shop itself rather than advertising.
_SALES = ("onsite", "sale", "shop")


@dataclass(frozen=True)
class Event:
    """Something that happened on some days."""

    kind: str
    first: date
    last: date
    title: str
    text: str = ""


@kept
def events(shop: Shop, days: Days) -> list[Event]:
    """What happened on these days, by its first day."""
    found = [*_campaigns(shop, days), *_anomalies(shop, days), *_loads(shop, days)]
    return sorted(found, key=lambda e: (e.first, e.kind, e.title))


def _within(first: str, last: str, days: Days) -> str:
    return f"{first} <= date '{days.until}' and {last} >= date '{days.since}'"


def _campaigns(shop: Shop, days: Days) -> list[Event]:
    if not shop.has("silver.campaigns"):
        return []
    rows = shop.frame(
        "select coalesce(name, campaign_id) as title, coalesce(channel, '') as channel, start_date as first, "
        "coalesce(end_date, start_date) as last from silver.campaigns where start_date is not null and "
        + _within("start_date", "coalesce(end_date, start_date)", days)
    )
    return [
        Event("sale" if channel in _SALES else "campaign", first, last, title, channel.replace("_", " "))
        for title, channel, first, last in rows.iter_rows()
    ]


def _anomalies(shop: Shop, days: Days) -> list[Event]:
    if not shop.has("gold.anomalies"):
        return []
    rows = shop.frame(
        "select series, window_start, window_end, direction, severity, known_as, explanation from gold.anomalies where "
        + _within("window_start", "window_end", days)
    )
    found = []
    for series, first, last, direction, severity, known_as, explanation in rows.iter_rows():
        if known_as:
            found.append(Event("known", first, last, known_as[:1].upper() + known_as[1:], explanation))
        elif severity != "info":
            title = f"Unusually {'high' if direction == 'up' else 'low'} {series.replace('_', ' ')}"
            found.append(Event("anomaly", first, last, title, explanation))
    return found


def _loads(shop: Shop, days: Days) -> list[Event]:
    if not shop.has("silver.rejects"):
        return []
    rows = shop.frame(
        "select _load_date, _raw_table, count(*) as rows from silver.rejects where reason_code = 'load_set_aside' and "
        + _within("_load_date", "_load_date", days)
        + " group by 1, 2"
    )
    return [
        Event("load", day, day, f"Load of {table} set aside", f"{count:,} rows wait for a corrected delivery")
        for day, table, count in rows.iter_rows()
    ]
