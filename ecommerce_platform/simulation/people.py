"""Who buys: people with very different rates who join over time and leave for good, and their visits.

A visit is the moment somebody orders; what becomes of it is decided in `orders`. Seasonality enters through a
warped clock: customers live in days of equal demand, so a busy calendar day is simply longer for all of them.
Names, addresses and what the shop's systems know of them come from `records`; which systems know whom, and since
when, is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecommerce_platform.simulation.catalogue import CATEGORIES
from ecommerce_platform.simulation.places import Places
from ecommerce_platform.simulation.randomness import Rng, pick, stream
from ecommerce_platform.simulation.records import Persons, SignUps, make_persons
from ecommerce_platform.simulation.seasons import SECONDS, Seasons, seconds_of_day

#: Later than anything that happens; compares as "not yet known" on every day.
NEVER = np.int64(2**60)

SEGMENTS = ("Consumer", "Small business", "Corporate")
CHANNELS = ("web", "app", "store", "marketplace", "phone")
WEB, APP, STORE, MARKETPLACE, PHONE = range(len(CHANNELS))
CHANNEL_SHARES = (0.45, 0.30, 0.10, 0.12, 0.03)
AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
_AGE_LIMITS = np.array((25, 35, 45, 55, 65))

#: The systems that know customers, and the prefix that keeps their numbers apart in the canonical entities.
WEB_SHOP, CRM, NEWSLETTER = range(3)
SYSTEM_NAMES = ("web_shop", "crm", "newsletter")
SYSTEM_PREFIXES = ("web-", "crm-", "nl-")
#: Records of a system that are a person's second one there; half of those in the web shop are under the same account.
SECOND_RECORD_SHARE = 0.03

_ONE_TIME_SHARE = 0.45
#: Persons who only ever subscribe to the newsletter.
_PROSPECT_SHARE = 0.05
_SUBSCRIBER_SHARE = 0.30
#: Customers who also join the other of web shop and CRM, and how many days after the first on average.
_BOTH_SHARE, _BOTH_AFTER_DAYS = 0.30, 60
#: Of the old who would join after the drift, the share that changes places with young who joined before it.
_DRIFT_SHARE = 0.5


@dataclass(frozen=True)
class Customers:
    """All persons in the order in which the shop gets to know them; arrays are per person."""

    persons: Persons
    #: Seconds after the first day's midnight; negative for those known before.
    registered: np.ndarray
    #: Moment from which web shop and CRM know the person, `NEVER` where they do not; 2 × persons.
    joined: np.ndarray
    #: Moment of subscribing to the newsletter, `NEVER` for those who do not.
    subscribed: np.ndarray
    segment: np.ndarray
    #: Index into `AGE_BANDS`, as of the shop's first day.
    age_band: np.ndarray
    channel: np.ndarray
    favourite: np.ndarray
    #: Orders per average day while active.
    rate: np.ndarray
    #: Day after which the customer does not come any more (may lie beyond the last day).
    leaves: np.ndarray

    def __len__(self) -> int:
        return len(self.registered)

    def place(self, person: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Where the persons live at that moment: index into the places."""
        persons = self.persons
        return np.where(at >= persons.moved[person], persons.new_place[person], persons.place[person])


@dataclass(frozen=True)
class Visits:
    """Moments of ordering; arrays are per visit."""

    #: -1 for guests.
    person: np.ndarray
    #: Seconds after the first day's midnight.
    placed: np.ndarray
    #: Flight that caused the visit, -1 for none.
    flight: np.ndarray
    #: Whether advertising or an experiment added the visit to those that would have come anyway.
    added: np.ndarray


@dataclass(frozen=True)
class Records:
    """The customer records of one system, in the order of registration."""

    sign_ups: SignUps
    #: The person's first and second record here, -1 where there is none; per person.
    first: np.ndarray
    second: np.ndarray
    #: Number of the account that the record belongs to, -1 where the system knows of none; per record.
    account: np.ndarray

    def __len__(self) -> int:
        return len(self.sign_ups.person)

    def of(self, person: np.ndarray, at: np.ndarray, rng: Rng) -> np.ndarray:
        """The record that the persons use at that moment: once there is a second, either of the two."""
        if not len(self):
            return np.full(len(person), -1)
        first, second = self.first[person], self.second[person]
        there = (second >= 0) & (self.sign_ups.registered[second] <= at)
        return np.where(there & (rng.random(len(person)) < 0.6), second, first)


def make_customers(seed: int, topic: str, seasons: Seasons, places: Places, size: int) -> Customers:
    """`size` persons who come to know the shop during burn-in and delivered days."""
    rng = stream(seed, topic)
    day = np.sort(pick(rng, seasons.acquisition, size)) - seasons.burn_in
    registered = day * SECONDS + np.minimum(seconds_of_day(rng, size), SECONDS - 3600)
    order = np.argsort(registered, kind="stable")
    registered, day = registered[order], day[order]
    # From the drift on younger people come: some of the old then and some of the young before change places.
    end = seasons.days * SECONDS
    persons = make_persons(seed, places, size, start=seasons.start, first=-seasons.burn_in * SECONDS, last=end)
    first_day = np.datetime64(seasons.start, "D").astype(np.int64)
    age_band = np.searchsorted(_AGE_LIMITS, (first_day - persons.birth_date) / 365.25, side="right")
    old = np.flatnonzero((age_band >= 3) & (day >= seasons.drift_day) & (rng.random(size) < _DRIFT_SHARE))
    young = np.flatnonzero((age_band < 2) & (day >= 0) & (day < seasons.drift_day))
    young = rng.permutation(young)[: len(old)]
    old = old[: len(young)]
    turn = np.arange(size)
    turn[old], turn[young] = young, old
    registered, day = registered[turn], day[turn]

    segment = pick(rng, (0.86, 0.10, 0.04), size)
    rate = np.exp(rng.normal(np.log(1 / 80), 1.15, size)) * np.array([1.0, 1.6, 2.4])[segment]
    lifetime = rng.exponential(1.0, size) * rng.gamma(2.0, 130.0, size)
    lifetime[rng.random(size) < _ONE_TIME_SHARE] = 0.0
    clock = np.concatenate([[0.0], np.cumsum(seasons.demand)])
    left_at = clock[day + seasons.burn_in + 1] + lifetime
    leaves = np.searchsorted(clock, left_at, side="right") - 1 - seasons.burn_in

    channel = pick(rng, CHANNEL_SHARES, size)
    prospect = rng.random(size) < _PROSPECT_SHARE
    prospect[: min(size, 20)] = False
    subscriber = prospect | (rng.random(size) < _SUBSCRIBER_SHARE)
    offline = (channel == STORE) | (channel == PHONE)
    both = rng.random(size) < _BOTH_SHARE
    later = registered + (rng.exponential(_BOTH_AFTER_DAYS, size) * SECONDS).astype(np.int64)
    other = np.where(both & (later < end), later, NEVER)
    joined = np.where(
        prospect, NEVER, np.stack([np.where(offline, other, registered), np.where(offline, registered, other)])
    )
    subscribed = registered + np.where(prospect, 0, rng.exponential(30, size) * SECONDS).astype(np.int64)
    return Customers(
        persons=persons,
        registered=registered,
        joined=joined,
        subscribed=np.where(subscriber & (subscribed < end), subscribed, NEVER),
        segment=segment,
        age_band=age_band,
        channel=channel,
        favourite=pick(rng, [c.share for c in CATEGORIES], size),
        rate=np.where(prospect, 0.0, np.minimum(rate, 0.5)),
        leaves=leaves,
    )


def make_records(rng: Rng, seasons: Seasons, customers: Customers) -> tuple[Records, ...]:
    """Who is in which of the three systems, some of them twice."""
    found = []
    moments = (*customers.joined, customers.subscribed)
    for system, name in enumerate(SYSTEM_NAMES):
        person = np.flatnonzero(moments[system] < seasons.days * SECONDS)
        again = person[rng.random(len(person)) < SECOND_RECORD_SHARE]
        known = moments[system][again]
        later = (
            known + 60 + (rng.random(len(again)) * np.maximum(seasons.days * SECONDS - known - 60, 0)).astype(np.int64)
        )
        again, later = again[later < seasons.days * SECONDS], later[later < seasons.days * SECONDS]
        who, when = np.concatenate([person, again]), np.concatenate([moments[system][person], later])
        is_second = np.arange(len(who)) >= len(person)
        order = np.argsort(when, kind="stable")
        who, when, is_second = who[order], when[order], is_second[order]
        first, second = np.full(len(customers), -1), np.full(len(customers), -1)
        first[who[~is_second]] = np.flatnonzero(~is_second)
        second[who[is_second]] = np.flatnonzero(is_second)
        account = np.full(len(who), -1)
        if system == WEB_SHOP:
            # A tenth never made an account. A second record is made under the first one's account or without one.
            account = np.where(rng.random(len(who)) < 0.9, np.arange(len(who)), -1)
            account = np.where(is_second, -1, account)
            same = np.flatnonzero(is_second & (rng.random(len(who)) < 0.5))
            account[first[who[same]]] = first[who[same]]
            account[same] = first[who[same]]
        found.append(Records(SignUps(name, who, when), first, second, account))
    return tuple(found)


def make_visits(rng: Rng, seasons: Seasons, customers: Customers) -> Visits:
    """All visits within the delivered days: those on the day of registration, then Poisson until leaving."""
    day = customers.registered // SECONDS
    buys = (rng.random(len(customers)) < 0.88) & (day >= 0) & (customers.rate > 0)
    first = np.flatnonzero(buys)
    first_placed = customers.registered[first] + rng.integers(60, 2400, len(first))
    person, placed = _poisson_visits(rng, seasons, customers, np.ones(len(customers)), 0, seasons.days - 1)
    person, placed = np.concatenate([first, person]), np.concatenate([first_placed, placed])
    return Visits(person, placed, np.full(len(person), -1), np.zeros(len(person), dtype=bool))


def make_more_visits(
    rng: Rng, seasons: Seasons, customers: Customers, lift: np.ndarray, first: int, last: int, flight: int = -1
) -> Visits:
    """The visits that something adds to those of customers who are there anyway.

    Args:
        rng: the stream to draw from.
        seasons: the shop's rhythm.
        customers: all persons.
        lift: how many visits are added per visit, for each person.
        first: first day on which it does.
        last: last day.
        flight: the flight that causes them, if one does.
    """
    person, placed = _poisson_visits(rng, seasons, customers, lift, first, last)
    return Visits(person, placed, np.full(len(person), flight), np.ones(len(person), dtype=bool))


def _poisson_visits(
    rng: Rng, seasons: Seasons, customers: Customers, scale: np.ndarray, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Persons and moments of visits between two days at `scale` times the persons' rates, until they leave."""
    clock = np.concatenate([[0.0], np.cumsum(seasons.demand)])
    some = np.flatnonzero((scale > 0) & (customers.rate > 0))
    begin = clock[customers.registered[some] // SECONDS + seasons.burn_in + 1]
    left = np.clip(customers.leaves[some] + seasons.burn_in, 0, len(clock) - 1)
    end = np.minimum(clock[left], clock[last + 1 + seasons.burn_in])
    begin = np.maximum(begin, clock[first + seasons.burn_in])
    span = np.maximum(end - begin, 0)
    count = rng.poisson(scale[some] * customers.rate[some] * span)
    visitor = np.repeat(np.arange(len(some)), count)
    at = begin[visitor] + rng.random(len(visitor)) * span[visitor]
    day = np.clip(np.searchsorted(clock, at, side="right") - 1 - seasons.burn_in, first, last)
    return some[visitor], day * SECONDS + seconds_of_day(rng, len(visitor))


def make_guest_visits(rng: Rng, seasons: Seasons, size: int) -> Visits:
    """`size` orders of people without a customer record."""
    day = pick(rng, seasons.acquisition[seasons.burn_in :], size)
    nobody = np.full(size, -1)
    return Visits(nobody, day * SECONDS + seconds_of_day(rng, size), nobody, np.zeros(size, dtype=bool))
