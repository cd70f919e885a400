"""Advertising: flights with a known effect, what they cost, and the orders the shop credits to them.

A flight runs in some regions only, so that the others tell what would have happened without it. How many orders it
causes is decided by `lift`; how many it is credited with is more, for some click who would have come anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ecommerce_platform.simulation.places import REGIONS
from ecommerce_platform.simulation.randomness import Rng


@dataclass(frozen=True)
class Medium:
    """Where advertisements run.

    `lift` is the share of orders that a flight adds to those of the customers it reaches; `clicked` the share of their
    other orders that came through an advertisement; `conversion` orders per click.
    """

    channel: str
    label: str
    lift: float
    clicked: float
    conversion: float
    cents_per_click: float
    clicks_per_view: float


MEDIA = (
    Medium("paid_search", "Search", 0.30, 0.10, 0.040, 42, 0.050),
    Medium("social", "Social", 0.16, 0.05, 0.016, 28, 0.012),
    Medium("display", "Display", 0.05, 0.06, 0.008, 18, 0.003),
    Medium("affiliate", "Affiliate", 0.22, 0.08, 0.050, 55, 0.030),
)
_EVERY_DAYS, _LENGTH_DAYS, _FIRST_DAY = 28, 14, 7
#: Of varied spend: the exponent of the response, and the ratio of the most to the least that a flight costs.
RESPONSE, SPREAD = 0.5, 8.0


@dataclass(frozen=True)
class Flight:
    """One run of advertisements; `first` and `last` are days counted from the shop's first day."""

    code: str
    name: str
    #: Index into `MEDIA`.
    medium: int
    #: Indices into `places.REGIONS`.
    regions: tuple[int, ...]
    first: int
    last: int
    #: How hard it is pushed: what is spent, as a multiple of the medium's usual. None: spend follows the orders it brings.
    pressure: float | None = None

    @property
    def lift(self) -> float:
        """Share of orders it adds to those of the customers it reaches: a concave response to what is spent."""
        return MEDIA[self.medium].lift * (1.0 if self.pressure is None else self.pressure**RESPONSE)


@dataclass(frozen=True)
class AdDays:
    """What each day of each flight cost; arrays have one entry per flight and day, by day."""

    flight: np.ndarray
    day: np.ndarray
    impressions: np.ndarray
    clicks: np.ndarray
    #: Cents.
    cost: np.ndarray
    #: Clicks as first reported, before the network has counted all of them.
    first_clicks: np.ndarray


def make_flights(rng: Rng, days: int) -> tuple[Flight, ...]:
    """Two weeks of advertising every four weeks, in half of the regions, one medium after the other."""
    found: list[Flight] = []
    for number, first in enumerate(range(_FIRST_DAY, days, _EVERY_DAYS)):
        medium = number % len(MEDIA)
        regions = tuple(sorted(rng.choice(len(REGIONS), len(REGIONS) // 2, replace=False).tolist()))
        where = "+".join(REGIONS[region] for region in regions)
        name = f"{MEDIA[medium].label} {where} #{number + 1}"
        last = min(first + _LENGTH_DAYS, days) - 1
        found.append(Flight(f"AD-{1001 + number}", name, medium, regions, first, last))
    return tuple(found)


def vary_spend(rng: Rng, flights: tuple[Flight, ...]) -> tuple[Flight, ...]:
    """The same flights, each with a spend of its own that has nothing to do with demand: log-uniform over `SPREAD`."""
    return tuple(
        replace(f, pressure=float(p))
        for f, p in zip(flights, SPREAD ** rng.uniform(-0.5, 0.5, len(flights)), strict=True)
    )


def usual_cost(medium: int) -> float:
    """Cents that a flight of the usual pressure costs per order that its regions would have had anyway."""
    m = MEDIA[medium]
    return m.cents_per_click / m.conversion * (m.lift + m.clicked)


def flight_of_day(flights: tuple[Flight, ...], days: int) -> np.ndarray:
    """Index of the flight that runs on each day, -1 where none does."""
    running = np.full(days, -1)
    for index, flight in enumerate(flights):
        running[flight.first : flight.last + 1] = index
    return running


def make_ad_days(
    rng: Rng, flights: tuple[Flight, ...], order_flight: np.ndarray, order_day: np.ndarray, usual: np.ndarray
) -> AdDays:
    """Clicks, contacts and costs that go with the orders credited to the flights.

    Args:
        rng: the stream to draw from.
        flights: all flights.
        order_flight: flight that each order is credited to, -1 for none.
        order_day: day of each order.
        usual: orders a day that the regions of each flight have without advertising, over the whole time.
    """
    flight = np.concatenate([np.full(f.last - f.first + 1, i) for i, f in enumerate(flights)] or [np.zeros(0, int)])
    day = np.concatenate([np.arange(f.first, f.last + 1) for f in flights] or [np.zeros(0, int)])
    # Flights do not overlap, so a day stands for its flight.
    credited = np.bincount(order_day[order_flight >= 0], minlength=int(day.max(initial=0)) + 1)[day]
    media = np.array([[MEDIA[f.medium].conversion, MEDIA[f.medium].cents_per_click, MEDIA[f.medium].clicks_per_view]
                      for f in flights]).reshape(-1, 3)  # fmt: skip
    conversion, price, per_view = media[flight].T
    pressed = np.array([f.pressure is not None for f in flights], dtype=bool)[flight]
    spend = np.array([(f.pressure or 0) * usual_cost(f.medium) * usual[i] for i, f in enumerate(flights)])[flight]
    expected = np.where(pressed, np.maximum(spend / price - credited, 0), (credited + 0.5) / conversion)
    clicks = rng.poisson(expected) + credited
    impressions = clicks + rng.poisson(clicks * (1 / per_view - 1))
    cost = np.round(clicks * price * rng.lognormal(0, 0.06, len(day))).astype(np.int64)
    first_clicks = clicks - rng.binomial(clicks, 0.02)
    return AdDays(flight, day, impressions, clicks, cost, first_clicks)
