"""Feeds about sales: orders, their lines, payments, parcels, returns and reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.simulation import formats
from ecommerce_platform.simulation.drops import Feed, by_day
from ecommerce_platform.simulation.feeds.common import customer_numbers, faults_of, order_numbers
from ecommerce_platform.simulation.orders import CANCELED, CARRIERS, DEVICES, METHODS, UNAVAILABLE, Orders
from ecommerce_platform.simulation.people import CHANNELS, NEVER, WEB_SHOP
from ecommerce_platform.simulation.randomness import stream
from ecommerce_platform.simulation.returns import REASONS
from ecommerce_platform.simulation.seasons import SECONDS
from ecommerce_platform.simulation.simulate import Shop
from ecommerce_platform.simulation.words import (
    HEADLINES,
    HEADLINES_PER_MOOD,
    PER_MOOD,
    REVIEW_TEXTS,
)

if TYPE_CHECKING:
    import polars as pl

_STATES = ("new", "in_progress", "sent", "delivered", "cancelled", "not_available")


def order_versions(orders: Orders, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Days of the first and the second export of each order; the second is -1 where there is none.

    The second comes with the end (delivered, canceled, given up), or with the parcel's leaving when the end
    lies beyond the last day.
    """
    first = orders.day
    end = np.minimum(orders.received, orders.ended)
    news = np.where(end < days * SECONDS, end, orders.shipped) // SECONDS
    return first, np.where((news > first) & (news < days), news, -1)


def orders(shop: Shop, dirty_share: float) -> Feed:
    """Orders on the day they are placed and again when they end."""
    import polars as pl

    orders, places, seasons = shop.orders, shop.places, shop.seasons
    promos = [s.code for s in seasons.sales] + [f.code for f in seasons.flights]
    first, second = order_versions(orders, seasons.days)
    newer = np.flatnonzero(second >= 0)
    day, key = by_day((first, np.arange(len(orders))), (second[newer], newer))

    def rows(position: np.ndarray) -> pl.DataFrame:
        i = key[position]
        horizon = (day[position] + 1) * SECONDS

        def moment(name: str) -> pl.Series:
            seconds = getattr(orders, name)[i]
            return formats.timestamps(seconds, seconds < horizon, seasons.start, formats.ISO)

        promised, flight = orders.promised[i], orders.credited_to[i]
        sale = seasons.sale_of_day[orders.placed[i] // SECONDS]
        promo = np.where(flight >= 0, len(seasons.sales) + flight, sale)
        known = orders.person[i] >= 0
        return pl.DataFrame(
            {
                "order_no": order_numbers(i),
                # Numbers of web shop and CRM mean something only together with the system.
                "customer_system": formats.chosen(("SHOP", "CRM"), np.where(known, orders.system[i], -1)),
                "customer_no": customer_numbers(WEB_SHOP, orders.record[i]),
                "placed": moment("placed"),
                "paid": moment("approved"),
                "sent": moment("shipped"),
                "received": moment("received"),
                "due": formats.timestamps(promised, promised < NEVER, seasons.start, "%Y-%m-%d"),
                "state": formats.chosen(_STATES, order_state(orders, i, horizon)),
                "channel": formats.chosen(CHANNELS, orders.channel[i]),
                "device": formats.chosen(DEVICES, orders.device[i]),
                "promo": formats.chosen(promos, promo),
                "ship_zip": formats.chosen(places.postal_code, orders.ship_to[i]),
            }
        )

    return Feed(
        table="orders",
        entity="orders",
        file_name="orders.csv",
        day=day,
        key=key,
        fault=faults_of(shop, "orders", day, dirty_share),
        keys=len(orders),
        rows=rows,
        encode=formats.csv_files(),
    )


def order_state(orders: Orders, index: np.ndarray, horizon: np.ndarray) -> np.ndarray:
    """State (index into `_STATES`) of the orders at `index` as known before `horizon` (seconds)."""
    fate = orders.fate[index]
    state = (orders.approved[index] < horizon).astype(int)
    state = np.where(orders.shipped[index] < horizon, 2, state)
    state = np.where(orders.received[index] < horizon, 3, state)
    ended = orders.ended[index] < horizon
    state = np.where(ended & (fate == CANCELED), 4, state)
    return np.where(ended & (fate == UNAVAILABLE), 5, state)


def order_items(shop: Shop, dirty_share: float) -> Feed:
    """Lines as typed Parquet, with their order."""
    import polars as pl

    lines, skus = shop.lines, pl.Series(shop.catalogue.sku)
    day = shop.orders.day[lines.order]

    def rows(position: np.ndarray) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "order_no": order_numbers(lines.order[position]),
                "pos": lines.number[position].astype(np.int32),
                "sku": skus.gather(lines.product[position]),
                "qty": lines.quantity[position].astype(np.int32),
                # Still cents: they become typed decimals.
                "unit_price": lines.price[position],
                "rebate": lines.discount[position],
                "shipping": lines.shipping[position],
                "vat": lines.tax[position],
            }
        )

    return Feed(
        table="order_items",
        entity="order_items",
        file_name="order_items.parquet",
        day=day,
        key=np.arange(len(day)),
        fault=faults_of(shop, "order_items", day, dirty_share),
        keys=len(day),
        rows=rows,
        encode=formats.parquet_files(money=("unit_price", "rebate", "shipping", "vat"), few=("pos", "qty", "sku")),
    )


def payments(shop: Shop, dirty_share: float) -> Feed:
    """Payments with their order; semicolons and decimal commas."""
    import polars as pl

    payments, orders, start = shop.payments, shop.orders, shop.seasons.start
    day = orders.day[payments.order]

    def rows(position: np.ndarray) -> pl.DataFrame:
        i = payments.order[position]
        approved = orders.approved[i]
        return pl.DataFrame(
            {
                "order_no": order_numbers(i),
                "seq": pl.Series(payments.number[position]).cast(pl.String),
                "method": formats.chosen([m[0] for m in METHODS], payments.method[position]),
                "instalments": pl.Series(payments.installments[position]).cast(pl.String),
                "amount": formats.money(payments.amount[position], comma=True),
                # Payments are exported once, with their order: later approvals are not seen here.
                "paid_on": formats.timestamps(approved, approved < (day[position] + 1) * SECONDS, start, formats.ISO),
            }
        )

    return Feed(
        table="payments",
        entity="payments",
        file_name="payments.csv",
        day=day,
        key=np.arange(len(day)),
        fault=faults_of(shop, "payments", day, dirty_share),
        keys=len(day),
        rows=rows,
        encode=formats.csv_files(delimiter=";"),
    )


def shipments(shop: Shop, dirty_share: float) -> Feed:
    """Parcels when they leave and when they arrive; German dates, gzipped."""
    import polars as pl

    orders, seasons = shop.orders, shop.seasons
    end = seasons.days * SECONDS
    parcels = np.flatnonzero(orders.shipped < end)
    left, arrived = orders.shipped[parcels] // SECONDS, orders.received[parcels] // SECONDS
    # By the time they left, so that the first export of parcels is in order within a day, too.
    sequence = np.argsort(orders.shipped[parcels], kind="stable")
    parcels, left, arrived = parcels[sequence], left[sequence], arrived[sequence]
    later = np.flatnonzero((arrived > left) & (arrived < seasons.days))
    day, key = by_day((left, np.arange(len(parcels))), (arrived[later], later))
    rng = stream(shop.seed, "parcel costs")
    base = np.array([390, 345, 310, 265])[orders.carrier[parcels]]
    cost = base + rng.integers(0, 180, len(parcels))

    def rows(position: np.ndarray) -> pl.DataFrame:
        parcel = key[position]
        i = parcels[parcel]
        horizon = (day[position] + 1) * SECONDS
        received = orders.received[i]
        known = np.ones(len(i), dtype=bool)
        return pl.DataFrame(
            {
                "parcel_no": formats.numbered("0034", 70_000_000 + parcel),
                "order_no": order_numbers(i),
                "carrier": formats.chosen(CARRIERS, orders.carrier[i]),
                "handed_over": formats.timestamps(orders.shipped[i], known, seasons.start, formats.GERMAN),
                "due": formats.timestamps(orders.promised[i], known, seasons.start, formats.GERMAN_DAY),
                "arrived": formats.timestamps(received, received < horizon, seasons.start, formats.GERMAN),
                "freight_cost": formats.money(cost[parcel]),
                "state": formats.chosen(("in transit", "delivered"), (received < horizon).astype(int)),
            }
        )

    return Feed(
        table="shipments",
        entity="shipments",
        file_name="shipments.csv.gz",
        day=day,
        key=key,
        fault=faults_of(shop, "shipments", day, dirty_share),
        keys=len(parcels),
        rows=rows,
        encode=formats.csv_files(compressed=True),
    )


def reviews(shop: Shop, dirty_share: float) -> Feed:
    """Reviews on the day they are written; texts span lines."""
    import polars as pl

    reviews, start = shop.reviews, shop.seasons.start
    day = reviews.written // SECONDS

    def rows(position: np.ndarray) -> pl.DataFrame:
        score, words = reviews.score[position], reviews.words[position]
        mood = (score >= 3).astype(int) + (score >= 4)
        text = np.where(words >= 0, mood * PER_MOOD + words % PER_MOOD, -1)
        headline = np.where(words % 4 > 0, mood * HEADLINES_PER_MOOD + words // 7 % HEADLINES_PER_MOOD, -1)
        return pl.DataFrame(
            {
                "review_no": formats.numbered("R", 3_000_000 + position),
                "order_no": order_numbers(reviews.order[position]),
                "stars": pl.Series(score).cast(pl.String),
                "headline": formats.chosen(HEADLINES, np.where(words >= 0, headline, -1)),
                "text": formats.chosen(REVIEW_TEXTS, text),
                "written": formats.timestamps(
                    reviews.written[position], np.ones(len(position), dtype=bool), start, formats.ISO_T
                ),
            }
        )

    return Feed(
        table="reviews",
        entity="reviews",
        file_name="reviews.csv",
        day=day,
        key=np.arange(len(day)),
        fault=faults_of(shop, "reviews", day, dirty_share),
        keys=len(day),
        rows=rows,
        encode=formats.csv_files(),
    )


def returns(shop: Shop, dirty_share: float) -> Feed:
    """Returns on the day they come back, as the returns desk writes them: German, Windows' encoding, decimal commas."""
    import polars as pl

    returns, lines, start = shop.returns, shop.lines, shop.seasons.start
    day = returns.returned // SECONDS

    def rows(position: np.ndarray) -> pl.DataFrame:
        line = returns.line[position]
        # Now and then nobody wrote down which line of the order it was, or why.
        numbered, why = position % 17 != 0, position % 11 != 0
        return pl.DataFrame(
            {
                "Retourennr": formats.numbered("RT", 600_000 + position),
                "Bestellung": order_numbers(lines.order[line]),
                "Position": formats.where(pl.Series(lines.number[line]).cast(pl.String), numbered),
                "Menge": pl.Series(returns.quantity[position]).cast(pl.String),
                "Erstattung": formats.money(returns.refund[position], comma=True),
                "Rückgabegrund": formats.where(formats.chosen(REASONS, returns.reason[position]), why),
                "Eingang": formats.timestamps(
                    returns.returned[position], np.ones(len(position), dtype=bool), start, formats.GERMAN
                ),
            }
        )

    return Feed(
        table="returns",
        entity="returns",
        file_name="returns.csv",
        day=day,
        key=np.arange(len(day)),
        fault=faults_of(shop, "returns", day, dirty_share),
        keys=len(day),
        rows=rows,
        encode=formats.csv_files(delimiter=";", encoding="cp1252"),
    )
