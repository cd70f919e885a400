"""Who buys: customers with very different rates who join over time and leave for good, and their visits.

A visit is the moment somebody orders; what becomes of it is decided in `orders`. Seasonality enters through a
warped clock: customers live in days of equal demand, so a busy calendar day is simply longer for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecommerce_platform.simulation.catalogue import CATEGORIES
from ecommerce_platform.simulation.places import Places
from ecommerce_platform.simulation.randomness import Rng, pick
from ecommerce_platform.simulation.seasons import SECONDS, Seasons, seconds_of_day

SEGMENTS = ("Consumer", "Small business", "Corporate")
CHANNELS = ("web", "app", "store", "marketplace")
AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
_AGE_LIMITS = (18, 25, 35, 45, 55, 65, 88)
SECOND_RECORD_SHARE = 0.03
_ONE_TIME_SHARE = 0.45
_MOVES_PER_YEAR = 0.06


@dataclass(frozen=True)
class Customers:
    """Customer records in the order of their registration; arrays are per record."""

    #: Seconds after the first day's midnight; negative for those who registered before.
    registered: np.ndarray
    #: Index of the person's first record; the record itself for all but second registrations.
    person: np.ndarray
    #: Whether the export shows the person's key.
    has_key: np.ndarray
    segment: np.ndarray
    #: Index into `AGE_BANDS`.
    age_band: np.ndarray
    #: Year of birth.
    birth_year: np.ndarray
    #: Days within the year of birth.
    birth_day: np.ndarray
    #: Index into the places, before and after moving.
    place: np.ndarray
    new_place: np.ndarray
    #: Day on which the new address becomes known; negative for those who stay.
    moved: np.ndarray
    channel: np.ndarray
    favourite: np.ndarray
    #: Orders per average day while active.
    rate: np.ndarray
    #: Day after which the customer does not come any more (may lie beyond the last day).
    leaves: np.ndarray

    def __len__(self) -> int:
        return len(self.registered)


@dataclass(frozen=True)
class Visits:
    """Moments of ordering: customer index (-1 for guests) and seconds after the first day's midnight."""

    customer: np.ndarray
    placed: np.ndarray


def make_customers(rng: Rng, seasons: Seasons, places: Places, size: int) -> Customers:
    """`size` customer records that registered during burn-in and delivered days."""
    day = np.sort(pick(rng, seasons.acquisition, size)) - seasons.burn_in
    registered = day * SECONDS + np.minimum(seconds_of_day(rng, size), SECONDS - 3600)
    order = np.argsort(registered, kind="stable")
    registered, day = registered[order], day[order]

    segment = pick(rng, (0.86, 0.10, 0.04), size)
    rate = np.exp(rng.normal(np.log(1 / 80), 1.15, size)) * np.array([1.0, 1.6, 2.4])[segment]
    lifetime = rng.exponential(1.0, size) * rng.gamma(2.0, 130.0, size)
    lifetime[rng.random(size) < _ONE_TIME_SHARE] = 0.0

    clock = np.concatenate([[0.0], np.cumsum(seasons.demand)])
    left_at = clock[day + seasons.burn_in + 1] + lifetime
    leaves = np.searchsorted(clock, left_at, side="right") - 1 - seasons.burn_in

    age_band = pick(rng, (0.11, 0.25, 0.23, 0.18, 0.14, 0.09), size)
    limits = np.array(_AGE_LIMITS)
    age = (limits[age_band] + rng.random(size) * (limits[age_band + 1] - limits[age_band])).astype(int)
    place, new_place = pick(rng, places.weight, size), pick(rng, places.weight, size)
    move_after = 1 + (rng.exponential(365 / _MOVES_PER_YEAR, size)).astype(int)
    moved = np.maximum(day, 0) + move_after
    moved = np.where((moved < seasons.days) & (place != new_place), moved, -1)

    # Second registrations: the same person once more, under a later record.
    person = np.arange(size)
    second = rng.random(size) < SECOND_RECORD_SHARE
    second[: min(size, 20)] = False
    firsts = np.flatnonzero(~second)
    known = np.searchsorted(firsts, np.flatnonzero(second))
    person[second] = firsts[(rng.random(len(known)) * known).astype(int)]
    has_key = rng.random(size) < 0.9
    has_key[second] = True
    has_key[person[second]] = True

    return Customers(
        registered=registered,
        person=person,
        has_key=has_key,
        segment=segment[person],
        age_band=age_band[person],
        # Age is meant at the shop's first day; one more year keeps the youngest of age.
        birth_year=(seasons.start.year - 1 - age)[person],
        birth_day=rng.integers(0, 365, size)[person],
        place=place,
        new_place=new_place,
        moved=moved,
        channel=pick(rng, (0.46, 0.30, 0.10, 0.14), size),
        favourite=pick(rng, [c.share for c in CATEGORIES], size),
        rate=np.minimum(rate, 0.5),
        leaves=leaves,
    )


def make_visits(rng: Rng, seasons: Seasons, customers: Customers) -> Visits:
    """All visits within the delivered days: those on the day of registration, then Poisson until leaving."""
    clock = np.concatenate([[0.0], np.cumsum(seasons.demand)])
    day = customers.registered // SECONDS
    first = np.flatnonzero((rng.random(len(customers)) < 0.88) & (day >= 0))
    first_placed = customers.registered[first] + rng.integers(60, 2400, len(first))

    begin = clock[day + seasons.burn_in + 1]
    left = np.clip(customers.leaves + seasons.burn_in, 0, len(clock) - 1)
    end = np.maximum(clock[left], begin)
    # Only what happens from the first delivered day on matters.
    begin = np.maximum(begin, clock[seasons.burn_in])
    end = np.maximum(end, begin)
    count = rng.poisson(customers.rate * (end - begin))
    customer = np.repeat(np.arange(len(customers)), count)
    at = begin[customer] + rng.random(len(customer)) * (end - begin)[customer]
    visit_day = np.clip(np.searchsorted(clock, at, side="right") - 1 - seasons.burn_in, 0, seasons.days - 1)
    placed = visit_day * SECONDS + seconds_of_day(rng, len(customer))
    return Visits(np.concatenate([first, customer]), np.concatenate([first_placed, placed]))


def make_guest_visits(rng: Rng, seasons: Seasons, size: int) -> Visits:
    """`size` orders of people without a customer record."""
    day = pick(rng, seasons.acquisition[seasons.burn_in :], size)
    return Visits(np.full(size, -1), day * SECONDS + seconds_of_day(rng, size))
