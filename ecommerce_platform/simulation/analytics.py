"""The small analytics shop: one SQLite file with transactions and customers, as people keep them for analysis.

It has nothing to do with the large generated shop but the random streams: a trend, a season of the year and of the week,
and customers who go after what they lived through. After each purchase a customer leaves for good with a probability that
grows with the days that delivery took and falls with satisfaction, which itself suffers from slow deliveries. The columns
are those that `sources/analytics_shop` maps.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from ecommerce_platform.simulation.randomness import Rng, pick, pick_rows, stream

CUSTOMERS, TRANSACTIONS, DAYS = 2_000, 15_000, 730
START = date(2023, 1, 1)
CATEGORIES = ("Electronics", "Home & Garden", "Fashion", "Toys", "Sports", "Books")
CHANNELS = ("web", "app", "store")
METHODS = ("card", "paypal", "bank transfer")
SEGMENTS = ("premium", "regular", "occasional")
REGIONS = ("North", "South", "East", "West")
AGES = ("18-24", "25-34", "35-54", "55+")

#: Of each segment: share, purchases per unit of time beside the others', mean logarithm of a revenue.
_SEGMENT_SHARE, _PACE, _AMOUNT = (0.2, 0.5, 0.3), np.array([1.6, 1.0, 0.6]), np.array([4.5, 3.9, 3.6])
#: Mean days of delivery by region.
_DELIVERY = np.array([3.0, 4.0, 5.0, 7.0])
#: By category, of each age group.
_TASTE = np.array([[4, 1, 3, 2, 3, 1], [3, 2, 3, 3, 2, 1], [2, 4, 2, 2, 2, 2], [1, 4, 1, 2, 1, 4]])
#: Logit of leaving after a purchase with 3 stars and 4 days of delivery; what a star less and a day more add.
_LEAVE, _STAR, _DAY = -2.6, 0.8, 0.12
_NO_STARS, _NO_DELIVERY = 0.15, 0.05

_TABLES = """
create table customers (
    customer_id integer primary key, acquisition_date text, last_purchase_date text, segment text, region text,
    age_group text, lifetime_value real
);
create table transactions (
    transaction_id text primary key, customer_id integer, date text not null, revenue real, category text, channel text,
    payment_method text, delivery_days integer, satisfaction_score real, segment text, region text, age_group text
);
"""


@dataclass(frozen=True)
class _People:
    """Customers: codes of segment, region and age group; day of acquisition; purchases per unit of season time."""

    segment: np.ndarray
    region: np.ndarray
    age: np.ndarray
    acquired: np.ndarray
    pace: np.ndarray


@dataclass(frozen=True)
class _Purchases:
    """Purchases by customer and day, with what came of each; satisfaction and delivery whether recorded or not."""

    customer: np.ndarray
    day: np.ndarray
    delivery: np.ndarray
    stars: np.ndarray


def generate_analytics_shop(
    path: Path, *, transactions: int = TRANSACTIONS, customers: int = CUSTOMERS, days: int = DAYS, seed: int = 1
) -> Path:
    """Writes the SQLite file; the same arguments always give the same rows.

    Args:
        path: the file; one that is there is replaced.
        transactions: exactly so many.
        customers: exactly so many; nearly all of them buy.
        days: from `START` on.
        seed: of everything random.
    """
    people = _people(stream(seed, "people"), customers, days)
    purchases = _enough(people, transactions, days, seed)
    rows = _transaction_rows(people, purchases, stream(seed, "transactions"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as con:
        con.executescript(_TABLES)
        con.executemany(f"insert into customers values ({', '.join('?' * 7)})", _customer_rows(people, purchases, rows))
        con.executemany(f"insert into transactions values ({', '.join('?' * 12)})", rows)
        con.commit()
    return path


def _season_time(days: int) -> np.ndarray:
    """How much the shop sells by the end of each day beside a flat one: a trend, a year with a peak, a week."""
    day = np.arange(days)
    year = 1 + 0.3 * np.cos(2 * np.pi * (day - 340) / 365.25)
    week = np.array([0.95, 0.85, 0.9, 0.95, 1.1, 1.3, 0.95])[(day + START.weekday()) % 7]
    return np.cumsum((1 + 0.5 * day / days) * year * week)


def _people(rng: Rng, size: int, days: int) -> _People:
    segment = pick(rng, _SEGMENT_SHARE, size)
    acquired = np.sort((days * 0.95 * rng.random(size) ** 1.3).astype(np.int64))
    pace = _PACE[segment] * rng.gamma(4.0, 0.25, size)
    return _People(segment, pick(rng, (3, 3, 2, 2), size), pick(rng, (2, 4, 5, 3), size), acquired, pace)


def _enough(people: _People, wanted: int, days: int, seed: int) -> _Purchases:
    """Exactly so many purchases: the pace is raised until there are enough, and a few are taken away at random."""
    scale = 0.01
    while True:
        found = _live(people, scale, days, stream(seed, "lives"))
        if len(found.day) >= wanted:
            break
        scale *= 1.02 if len(found.day) > 0.9 * wanted else 1.1
    kept = np.sort(stream(seed, "kept").permutation(len(found.day))[:wanted])
    return _Purchases(found.customer[kept], found.day[kept], found.delivery[kept], found.stars[kept])


def _live(people: _People, scale: float, days: int, rng: Rng) -> _Purchases:
    """Every customer's purchases, the first of all, then the second …, until they leave or the time is over."""
    clock = _season_time(days)
    there = np.arange(len(people.pace))
    # Most first purchases come within a few days of the acquisition.
    now = np.concatenate([[0.0], clock])[people.acquired] + rng.exponential(2.0, len(there))
    parts: list[tuple[np.ndarray, ...]] = []
    while True:
        inside = now < clock[-1]
        there, now = there[inside], now[inside]
        if not len(there):
            break
        day = np.searchsorted(clock, now, side="right")
        delivery = 1 + rng.poisson(_DELIVERY[people.region[there]] - 1)
        stars = np.clip(np.rint(4.4 - 0.22 * (delivery - 3) + rng.normal(0, 0.9, len(there))), 1, 5)
        parts.append((there, day, delivery, stars))
        leaves = 1 / (1 + np.exp(-(_LEAVE + _STAR * (3 - stars) + _DAY * (delivery - 4))))
        stays = rng.random(len(there)) >= leaves
        there, now = there[stays], now[stays]
        now = now + rng.exponential(1.0, len(there)) / (scale * people.pace[there])
    customer, days_, delivery, stars = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((customer, days_))
    return _Purchases(customer[order], days_[order], delivery[order], stars[order])


def _transaction_rows(people: _People, found: _Purchases, rng: Rng) -> list[tuple[object, ...]]:
    n = len(found.day)
    segment, region, age = people.segment[found.customer], people.region[found.customer], people.age[found.customer]
    revenue = np.round(rng.lognormal(_AMOUNT[segment], 0.6), 2)
    category, channel = pick_rows(rng, _TASTE, age), pick(rng, (5, 4, 2), n)
    method = pick(rng, (6, 3, 1), n)
    no_stars, no_delivery = rng.random(n) < _NO_STARS, rng.random(n) < _NO_DELIVERY
    return [
        (
            f"T{i + 1:06}", int(found.customer[i]) + 1, (START + timedelta(days=int(found.day[i]))).isoformat(),
            float(revenue[i]), CATEGORIES[category[i]], CHANNELS[channel[i]], METHODS[method[i]],
            None if no_delivery[i] else int(found.delivery[i]), None if no_stars[i] else float(found.stars[i]),
            SEGMENTS[segment[i]], REGIONS[region[i]], AGES[age[i]],
        )
        for i in range(n)
    ]  # fmt: skip


def _customer_rows(people: _People, found: _Purchases, rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    last = np.full(len(people.pace), -1)
    np.maximum.at(last, found.customer, found.day)
    value = np.bincount(found.customer, weights=np.array([row[3] for row in rows], dtype=float), minlength=len(last))
    return [
        (
            i + 1, (START + timedelta(days=int(people.acquired[i]))).isoformat(),
            (START + timedelta(days=int(last[i]))).isoformat() if last[i] >= 0 else None,
            SEGMENTS[people.segment[i]], REGIONS[people.region[i]], AGES[people.age[i]], round(float(value[i]), 2),
        )
        for i in range(len(last))
    ]  # fmt: skip
