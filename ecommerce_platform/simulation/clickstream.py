"""Visits to web shop and app as the web analytics saw them: a sample of the visitors, event by event.

A visit goes through page view, product view, cart, checkout and purchase and stops somewhere. Visits that end in a
purchase belong to the orders there are; the others are as many as the rates of `FUNNEL` ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ecommerce_platform.simulation.advertising import MEDIA
from ecommerce_platform.simulation.catalogue import Catalogue, draw_products
from ecommerce_platform.simulation.orders import Lines, Orders
from ecommerce_platform.simulation.people import APP
from ecommerce_platform.simulation.places import REGIONS
from ecommerce_platform.simulation.randomness import Rng, pick
from ecommerce_platform.simulation.seasons import SECONDS, Seasons, seconds_of_day

EVENT_TYPES = ("page_view", "product_view", "add_to_cart", "checkout", "purchase")
#: Share of visits that go on from each step to the next.
FUNNEL = (0.70, 0.38, 0.62, 0.74)
SOURCES = ("direct", "organic_search", "referral", "email", *(m.channel for m in MEDIA))
_SOURCE_SHARES = (0.38, 0.40, 0.10, 0.12)
#: Share of the visitors who let themselves be measured.
TRACKED_SHARE = 0.18
#: Visits without purchase made by somebody who buys within days; the others are made by people nobody knows.
_KNOWN_SHARE = 0.25


@dataclass(frozen=True)
class Clicks:
    """Events by time, except that those of one visit may lie between those of another."""

    at: np.ndarray
    #: Index into `EVENT_TYPES`.
    kind: np.ndarray
    #: Index of the visit; the arrays from `visitor` on are per visit.
    visit: np.ndarray
    #: Product that is looked at, -1 for none; per event.
    product: np.ndarray
    visitor: np.ndarray
    #: Order that the visit led to, -1 for none.
    order: np.ndarray
    #: Order whose customer the visitor logged in as, -1 for nobody.
    login: np.ndarray
    #: Index into `SOURCES`.
    source: np.ndarray
    #: Index of the flight that brought the visit, -1 for none.
    flight: np.ndarray
    device: np.ndarray


class _Visits(NamedTuple):
    """What is known of each visit: when it starts, its last step, its views of products, and as `Clicks` says."""

    start: np.ndarray
    last_step: np.ndarray
    views: np.ndarray
    visitor: np.ndarray
    order: np.ndarray
    login: np.ndarray
    source: np.ndarray
    flight: np.ndarray
    device: np.ndarray


def make_clicks(rng: Rng, seasons: Seasons, catalogue: Catalogue, orders: Orders, lines: Lines) -> Clicks:
    """The measured visits within the delivered days."""
    persons, guest = int(orders.person.max(initial=0)) + 1, orders.person < 0
    bought = _measured_orders(rng, orders, persons)
    purchases = len(bought)
    # How many visits end at each step, so that the shares of FUNNEL come out.
    reached = purchases / np.cumprod(FUNNEL[::-1])[::-1]
    at_least = np.append(reached, purchases)
    ending = np.round(at_least[:-1] - at_least[1:]).astype(int)
    more = int(ending.sum())

    # Visits that come to nothing: before an order of somebody measured, or of strangers at any time.
    known = (rng.random(more) < _KNOWN_SHARE) & (purchases > 0)
    template = bought[(rng.random(more) * purchases).astype(np.int64)] if purchases else np.full(more, -1)
    before = orders.placed[template] - (rng.exponential(3.0, more) * SECONDS).astype(np.int64) - 3600
    day = pick(rng, seasons.demand[seasons.burn_in :], more)
    begin = np.where(known & (before >= 0), before, day * SECONDS + seconds_of_day(rng, more))
    steps = np.repeat(np.arange(len(ending)), ending)

    order = np.concatenate([bought, np.full(more, -1)])
    duration = rng.integers(240, 1500, purchases)
    start = np.concatenate(
        [np.maximum(orders.placed[bought] - duration, orders.placed[bought] // SECONDS * SECONDS), begin]
    )
    last_step = np.concatenate([np.full(purchases, len(EVENT_TYPES) - 1), steps])
    who = np.concatenate([bought, np.where(known, template, -1)])
    size = len(order)
    stranger = persons + len(orders) + np.arange(size)
    visitor = np.where(who < 0, stranger, np.where(guest[who], persons + who, orders.person[who]))
    logged_in = (who >= 0) & ~guest[who] & ((order >= 0) | (rng.random(size) < 0.4))
    device = np.where(who >= 0, orders.device[who], pick(rng, (0.40, 0.52, 0.08), size))

    flight = _flights(rng, seasons, orders, bought, start, who)
    medium = np.array([f.medium for f in seasons.flights] or [0])[flight]
    source = np.where(flight >= 0, 4 + medium, pick(rng, _SOURCE_SHARES, size))

    views = rng.geometric(0.6, size)
    visits = _Visits(start, last_step, views, visitor, order, np.where(logged_in, who, -1), source, flight, device)
    by_start = np.argsort(start, kind="stable")
    return _events(rng, seasons, catalogue, orders, lines, _Visits(*(column[by_start] for column in visits)))


def _measured_orders(rng: Rng, orders: Orders, persons: int) -> np.ndarray:
    """Measured are persons, not visits: all online orders of some, none of others. Guests come once."""
    agrees = rng.random(persons) < TRACKED_SHARE
    measured = np.where(orders.person < 0, rng.random(len(orders)) < TRACKED_SHARE, agrees[orders.person])
    return np.flatnonzero(measured & (orders.channel <= APP))


def _flights(
    rng: Rng, seasons: Seasons, orders: Orders, bought: np.ndarray, start: np.ndarray, who: np.ndarray
) -> np.ndarray:
    """The flight each visit came from (-1: none): through its advertisement came orders credited to it, and others now and then."""
    purchases, size = len(bought), len(start)
    running = np.full(size, -1)
    if seasons.flights:
        running = seasons.flight_of_day[start // SECONDS]
        conversion = np.array([m.conversion for m in MEDIA])[[f.medium for f in seasons.flights]][running]
        # Clicks that did not sell, in proportion to those that did.
        flights_orders = np.bincount(orders.credited_to[bought] + 1, minlength=len(seasons.flights) + 1)[1:]
        free = np.bincount(running[purchases:][running[purchases:] >= 0], minlength=len(seasons.flights))
        share = np.minimum(flights_orders[running] / conversion / np.maximum(free[running], 1), 0.5)
        aimed = np.array([[r in f.regions for r in range(len(REGIONS))] for f in seasons.flights])
        seen = (running >= 0) & ((who < 0) | aimed[running, orders.region[who]])
        running = np.where(seen & (rng.random(size) < share), running, -1)
    return np.concatenate([orders.credited_to[bought], running[purchases:]])


def _events(
    rng: Rng,
    seasons: Seasons,
    catalogue: Catalogue,
    orders: Orders,
    lines: Lines,
    visits: _Visits,
) -> Clicks:
    """The events of each visit: its steps, with as many product views as it has."""
    start, last_step, views, visitor, order, login, source, flight, device = visits
    start = start.astype(np.int32)
    count = 1 + last_step + np.where(last_step >= 1, np.minimum(views, 3) - 1, 0)
    visit = np.repeat(np.arange(len(start), dtype=np.int32), count)
    begins = (np.cumsum(count) - count).astype(np.int32)
    number = np.arange(len(visit), dtype=np.int32) - begins[visit]
    extra = (count - 1 - last_step).astype(np.int8)[visit]
    kind = np.where(number == 0, 0, np.where(number <= 1 + extra, 1, number - extra)).astype(np.int8)
    at = start[visit] + number * 45 + (visit % 977 * 7919 + number * 104_729) % 40
    # Within the visit's day: a visit does not go on past midnight, nor past its purchase.
    end = np.where(order >= 0, orders.placed[order], start // SECONDS * SECONDS + SECONDS - 1).astype(np.int32)[visit]
    at = np.where(kind == len(EVENT_TYPES) - 1, end, np.minimum(at, end)).astype(np.int32)

    looked_at, other = _looked_at(rng, catalogue, seasons.phases.of_day[start // SECONDS], order, lines)
    product = np.where((kind == 1) & (number <= extra), other[visit], looked_at[visit])
    product[(kind != 1) & (kind != 2)] = -1
    by_time = np.argsort(at, kind="stable")
    return Clicks(
        at=at[by_time],
        kind=kind[by_time],
        visit=visit[by_time],
        product=product[by_time],
        visitor=visitor,
        order=order,
        login=login,
        source=source,
        flight=flight,
        device=device,
    )


def _looked_at(
    rng: Rng, catalogue: Catalogue, phase: np.ndarray, order: np.ndarray, lines: Lines
) -> tuple[np.ndarray, np.ndarray]:
    """The product that each visit is about, the one it buys if it buys, and something else that is viewed before."""
    nobody = np.full(len(phase), -1)
    product = draw_products(rng, catalogue, phase, nobody).astype(np.int32)
    bought = order >= 0
    product[bought] = lines.product[lines.bounds[order[bought]]]
    return product, draw_products(rng, catalogue, phase, nobody).astype(np.int32)
