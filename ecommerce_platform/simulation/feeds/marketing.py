"""Feeds about marketing and the world around: campaigns, what they cost, visits, experiments, voices, the economy."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.simulation import formats
from ecommerce_platform.simulation.advertising import MEDIA
from ecommerce_platform.simulation.clickstream import EVENT_TYPES, SOURCES
from ecommerce_platform.simulation.drops import Feed, by_day
from ecommerce_platform.simulation.economy import INDICATORS
from ecommerce_platform.simulation.feeds.common import customer_numbers, faults_of, order_numbers
from ecommerce_platform.simulation.orders import DEVICES
from ecommerce_platform.simulation.people import WEB_SHOP
from ecommerce_platform.simulation.seasons import SECONDS
from ecommerce_platform.simulation.simulate import Shop
from ecommerce_platform.simulation.social import PLATFORMS, TYPES

if TYPE_CHECKING:
    import polars as pl

_SERIES_GERMAN = ("Konsumklima", "Inflationsrate", "Arbeitslosenquote")
#: Day of a month on which the figures of the month before are published.
_PUBLISHED_ON = 12
#: An advertising network's report covers the week and, once more, the last days of the week before.
_REPORTED_AGAIN_DAYS = 3


def campaigns(shop: Shop, dirty_share: float) -> Feed:
    """Sales and flights when they are planned, a week ahead, and flights again when their last bill is in."""
    import polars as pl

    seasons, days = shop.seasons, shop.seasons.days
    spent = np.bincount(shop.ad_days.flight, shop.ad_days.cost, len(seasons.flights))
    # Budgets are round: what it will cost and a little more, but only in the end it is known what it did.
    plan = [int(np.ceil(cost * 1.15 / 5000)) * 5000 for cost in spent]
    sales = [(s.code, s.code.replace("-", " ").title(), "onsite", s.first, s.last, None, None) for s in seasons.sales]
    flights = [
        (f.code, f.name, MEDIA[f.medium].channel, f.first, f.last, plan[i], round(spent[i]))
        for i, f in enumerate(seasons.flights)
    ]
    every = sales + flights
    planned = np.clip([c[3] - 7 for c in every], 0, days - 1).astype(int)
    billed = np.flatnonzero([c[6] is not None and c[4] + 2 < days for c in every])
    ended = np.array([c[4] + 2 for c in every], dtype=int)
    day, place = by_day((planned, np.arange(len(every))), (ended[billed], len(every) + billed))
    key = place % max(len(every), 1)

    def rows(position: np.ndarray) -> pl.DataFrame:
        def text(offset: int) -> str:
            return (seasons.start + timedelta(days=int(offset))).isoformat()

        chosen = [(every[k], p >= len(every)) for k, p in zip(key[position], place[position], strict=True)]
        budgets = [c[6] if done else c[5] for c, done in chosen]
        return pl.DataFrame(
            {
                "id": [c[0] for c, _ in chosen],
                "label": [c[1] for c, _ in chosen],
                "medium": [c[2] for c, _ in chosen],
                "from": [text(c[3]) for c, _ in chosen],
                "until": [text(c[4]) for c, _ in chosen],
                # Python objects, so that a text can stand among the numbers.
                "budget": pl.Series([None if b is None else b / 100 for b in budgets], dtype=pl.Object),
            }
        )

    return Feed(
        table="campaigns",
        entity="campaigns",
        file_name="campaigns.json",
        day=day,
        key=key,
        fault=faults_of(shop, "campaigns", day, dirty_share),
        keys=len(every),
        rows=rows,
        encode=formats.json_array_files(),
    )


def ad_spend(shop: Shop, dirty_share: float) -> Feed:
    """A network's weekly report: UTF-16, tabs, American days; its last days are reported again, with more clicks."""
    import polars as pl

    ads, seasons = shop.ad_days, shop.seasons
    mondays = _weekdays(shop, 0)
    size = len(ads.day)
    report = np.searchsorted(mondays, ads.day, side="right")
    first = np.flatnonzero(report < len(mondays))
    # The last days before a report are in the next one once more.
    fresh = np.zeros(size, dtype=bool)
    fresh[first] = mondays[report[first]] - ads.day[first] <= _REPORTED_AGAIN_DAYS
    again = np.flatnonzero(fresh & (report + 1 < len(mondays)))
    day, place = by_day((mondays[report[first]], first), (mondays[report[again] + 1], size + again))

    def rows(position: np.ndarray) -> pl.DataFrame:
        i = place[position] % max(size, 1)
        early = fresh[i] & (place[position] < size)
        names = pl.Series([f.name for f in seasons.flights], dtype=pl.String)
        codes = pl.Series([f.code for f in seasons.flights], dtype=pl.String)
        return pl.DataFrame(
            {
                "Day": formats.days(ads.day[i], seasons.start, formats.AMERICAN_DAY),
                "Campaign ID": codes.gather(ads.flight[i]),
                "Campaign": names.gather(ads.flight[i]),
                "Impr.": pl.Series(ads.impressions[i]).cast(pl.String),
                "Clicks": pl.Series(np.where(early, ads.first_clicks[i], ads.clicks[i])).cast(pl.String),
                "Cost": formats.money(ads.cost[i]),
            }
        )

    return Feed(
        table="ad_reports",
        entity="ad_spend",
        file_name="ad_reports.tsv",
        day=day,
        key=place % max(size, 1),
        fault=faults_of(shop, "ad_reports", day, dirty_share),
        keys=size,
        rows=rows,
        encode=formats.csv_files(delimiter="\t", encoding="utf-16-le"),
    )


def web_events(shop: Shop, dirty_share: float) -> Feed:
    """What the web analytics measured, as typed Parquet, day by day."""
    import polars as pl

    clicks, seasons, records = shop.clicks, shop.seasons, shop.records[WEB_SHOP]
    skus = pl.Series(shop.catalogue.sku)
    codes = [f.code for f in seasons.flights]
    day = clicks.at // SECONDS
    epoch = int(np.datetime64(seasons.start, "s").astype(np.int64))

    def rows(position: np.ndarray) -> pl.DataFrame:
        visit, product = clicks.visit[position], clicks.product[position]
        at = clicks.at[position].astype(np.int64)
        order, login = clicks.order[visit], clicks.login[visit]
        bought = clicks.kind[position] == len(EVENT_TYPES) - 1
        # Nobody is logged in before having registered.
        record = np.where(login >= 0, shop.orders.record[login], -1)
        if len(records):
            record = np.where(records.sign_ups.registered[record] <= at, record, -1)
        return pl.DataFrame(
            {
                "event_id": formats.numbered("e", 100_000_000 + position),
                "session": formats.numbered("s", 10_000_000 + visit),
                "visitor": formats.numbered("v", 10_000_000 + clicks.visitor[visit]),
                "login": customer_numbers(WEB_SHOP, record),
                "ts": pl.Series((at + epoch) * 1_000_000, dtype=pl.Int64).cast(pl.Datetime("us")),
                "event": formats.chosen(EVENT_TYPES, clicks.kind[position]),
                "item": formats.where(skus.gather(np.maximum(product, 0)), product >= 0),
                "order_no": order_numbers(np.where(bought, order, -1)),
                "source": formats.chosen(SOURCES, clicks.source[visit]),
                "utm_campaign": formats.chosen(codes, clicks.flight[visit]),
                "device": formats.chosen(DEVICES, clicks.device[visit]),
            }
        )

    return Feed(
        table="web_events",
        entity="web_events",
        file_name="web_events.parquet",
        day=day,
        key=np.arange(len(day)),
        fault=faults_of(shop, "web_events", day, dirty_share),
        keys=len(day),
        rows=rows,
        encode=formats.parquet_files(few=("event", "item", "source", "utm_campaign", "device")),
    )


def experiments(shop: Shop, dirty_share: float) -> Feed:
    """Who was drawn into which arm, on the day of the draw."""
    import polars as pl

    trials, records, start = shop.trials, shop.records[WEB_SHOP], shop.seasons.start
    trial = np.concatenate([np.full(len(t.person), i) for i, t in enumerate(trials)] or [np.zeros(0, int)])
    person, arm, assigned = (
        np.concatenate([getattr(t, name) for t in trials] or [np.zeros(0, int)]).astype(np.int64)
        for name in ("person", "arm", "assigned")
    )
    arms = [name for t in trials for name in t.experiment.arms]
    offset = np.cumsum([0, *(len(t.experiment.arms) for t in trials)])

    def rows(position: np.ndarray) -> pl.DataFrame:
        i = trial[position]
        return pl.DataFrame(
            {
                "experiment": formats.chosen([t.experiment.code for t in trials], i),
                "customer": customer_numbers(WEB_SHOP, records.first[person[position]]),
                "variant": formats.chosen(arms, offset[i] + arm[position]),
                "assigned_at": formats.timestamps(
                    assigned[position], np.ones(len(i), dtype=bool), start, formats.ISO_T
                ),
            }
        )

    day = assigned // SECONDS
    return Feed(
        table="experiments",
        entity="experiment_assignments",
        file_name="experiments.jsonl",
        day=day,
        key=np.arange(len(day)),
        fault=faults_of(shop, "experiments", day, dirty_share),
        keys=len(day),
        rows=rows,
        encode=formats.json_lines_files(),
    )


def social(shop: Shop, dirty_share: float) -> Feed:
    """What was said in the week, each Sunday; what has no text has no tone."""
    import polars as pl

    voices, skus, start = shop.social, pl.Series(shop.catalogue.sku), shop.seasons.start
    sundays = _weekdays(shop, 6)
    week = np.searchsorted(sundays, voices.at // SECONDS)
    heard = np.flatnonzero(week < len(sundays))
    day = sundays[week[heard]] if len(heard) else np.zeros(0, dtype=int)

    def rows(position: np.ndarray) -> pl.DataFrame:
        i = heard[position]
        product = voices.product[i]
        return pl.DataFrame(
            {
                "id": formats.numbered("so", 40_000_000 + i),
                "network": formats.chosen(PLATFORMS, voices.platform[i]),
                "kind": formats.chosen(TYPES, voices.kind[i]),
                "sku": formats.where(skus.gather(np.maximum(product, 0)), product >= 0),
                "tone": formats.where(pl.Series(voices.tone[i] / 1000), voices.kind[i] < 2),
                "posted": formats.timestamps(voices.at[i], np.ones(len(i), dtype=bool), start, formats.AMERICAN),
            }
        )

    return Feed(
        table="social",
        entity="social_interactions",
        file_name="social.jsonl",
        day=day,
        key=heard,
        fault=faults_of(shop, "social", day, dirty_share),
        keys=len(voices.at),
        rows=rows,
        encode=formats.json_lines_files(),
    )


def economy(shop: Shop, dirty_share: float) -> Feed:
    """Each month's figures in the middle of the next, and the month before that once more, revised."""
    import polars as pl

    figures, start, days = shop.seasons.economy, shop.seasons.start, shop.seasons.days
    months = len(figures.months)
    # Day on which each month's first figures are published; what was known before is in the first drop, revised.
    published = np.array([(_after(month).replace(day=_PUBLISHED_ON) - start).days for month in figures.months])
    revised = np.append(published[1:], days)
    known = published < 0
    early = np.flatnonzero(known | (published < days))
    late = np.flatnonzero(~known & (revised < days))
    day, place = by_day((np.maximum(published[early], 0), early), (revised[late], months + late))
    month, is_final = place % months, (place >= months) | known[place % months]
    series = len(INDICATORS)
    record = np.repeat(np.arange(len(month)), series)
    which = np.tile(np.arange(series), len(month))

    def rows(position: np.ndarray) -> pl.DataFrame:
        r, w = record[position], which[position]
        values = np.where(is_final[r], figures.final[month[r], w], figures.first[month[r], w])
        return pl.DataFrame(
            {
                "Reihe": formats.chosen(_SERIES_GERMAN, w),
                "Monat": [figures.months[m].strftime("%m/%Y") for m in month[r]],
                "Wert": [f"{value:.1f}".replace(".", ",") for value in values.tolist()],
                "Stand": formats.chosen(("vorläufig", "endgültig"), is_final[r].astype(int)),
            },
            schema=dict.fromkeys(("Reihe", "Monat", "Wert", "Stand"), pl.String),
        )

    day = day[record]
    return Feed(
        table="economy",
        entity="economic_indicators",
        file_name="economy.csv",
        day=day,
        key=month[record] * series + which,
        fault=faults_of(shop, "economy", day, dirty_share),
        keys=months * series,
        rows=rows,
        encode=formats.csv_files(delimiter=";", encoding="latin-1"),
    )


def _weekdays(shop: Shop, weekday: int) -> np.ndarray:
    """Days of the shop that fall on a weekday (Monday is 0)."""
    return np.arange((weekday - shop.seasons.weekday_of_start) % 7, shop.seasons.days, 7)


def _after(month: date) -> date:
    """First day of the next month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
