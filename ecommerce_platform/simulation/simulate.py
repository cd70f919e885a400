"""The shop in memory, from arguments to everything that happens in it; how it is exported is decided in `feeds`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np

from ecommerce_platform.simulation.advertising import AdDays, Flight, make_ad_days, make_flights, vary_spend
from ecommerce_platform.simulation.catalogue import Catalogue, make_catalogue
from ecommerce_platform.simulation.clickstream import Clicks, make_clicks
from ecommerce_platform.simulation.economy import make_economy
from ecommerce_platform.simulation.experiments import Trial
from ecommerce_platform.simulation.orders import (
    DELIVERED,
    Lines,
    Orders,
    Payments,
    Reviews,
    elsewhere,
    leave_out,
    make_lines,
    make_orders,
    make_payments,
    make_reviews,
)
from ecommerce_platform.simulation.people import Customers, Records
from ecommerce_platform.simulation.places import Places, make_places
from ecommerce_platform.simulation.randomness import Rng, stream
from ecommerce_platform.simulation.returns import Returns, make_returns
from ecommerce_platform.simulation.seasons import Seasons, make_seasons
from ecommerce_platform.simulation.social import Social, make_social
from ecommerce_platform.simulation.stock import Stock, make_stock

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Shop:
    """Everything simulated, before it is exported."""

    seed: int
    seasons: Seasons
    places: Places
    catalogue: Catalogue
    customers: Customers
    #: Of web shop, CRM and newsletter.
    records: tuple[Records, ...]
    trials: tuple[Trial, ...]
    orders: Orders
    lines: Lines
    #: Share of what is wanted of a product whose shelf is empty that is lost, and the units that were, per product.
    lost_share: float
    lost_units: np.ndarray
    #: Percent of a product's lines that go to other shops with each percent that it is dearer.
    outside: float
    payments: Payments
    reviews: Reviews
    returns: Returns
    stock: Stock
    ad_days: AdDays
    social: Social
    clicks: Clicks


def simulate(
    *,
    orders: int,
    days: int,
    seed: int,
    start: date,
    progress: Progress,
    lost_share: float = 0.0,
    vary_ads: bool = False,
    uplift: bool = True,
    outside: float = 0.0,
) -> Shop:
    """The shop in memory, clean; the arguments are those of `generate_shop`."""
    economy = make_economy(stream(seed, "economy"), start, days)
    flights = make_flights(stream(seed, "flights"), days)
    if vary_ads:
        flights = vary_spend(stream(seed, "ad spend"), flights)
    seasons = make_seasons(stream(seed, "seasons"), stream(seed, "strange days"), start, days, economy, flights)
    places = make_places(stream(seed, "places"))
    catalogue = make_catalogue(stream(seed, "catalogue"), seasons, orders)
    placed = make_orders(seed, seasons, places, orders, progress, uplift=uplift)
    wanted = make_lines(stream(seed, "lines"), seasons, catalogue, placed.customers, placed.orders)
    impatient = stream(seed, "lost sales").random(len(wanted.order)) < lost_share
    stock = make_stock(stream(seed, "stock"), seasons, catalogue, placed.orders, wanted, impatient)
    counted = np.where(placed.orders.fate[wanted.order] == DELIVERED, wanted.quantity, 0)
    orders_placed, lines = placed.orders, wanted
    gone = stock.lost | elsewhere(stream(seed, "outside option"), catalogue, wanted, outside)
    if gone.any():
        orders_placed, lines = leave_out(placed.orders, wanted, gone)
    progress("lines", len(lines.order), len(lines.order))
    sold = (catalogue, orders_placed, lines)
    shop = Shop(
        seed=seed,
        seasons=seasons,
        places=places,
        catalogue=catalogue,
        customers=placed.customers,
        records=placed.records,
        trials=placed.trials,
        orders=orders_placed,
        lines=lines,
        lost_share=lost_share,
        outside=outside,
        lost_units=np.bincount(wanted.product[stock.lost], counted[stock.lost], len(catalogue)).astype(np.int64),
        payments=make_payments(stream(seed, "payments"), orders_placed, lines),
        reviews=make_reviews(stream(seed, "reviews"), seasons, *sold),
        returns=make_returns(stream(seed, "returns"), seasons, *sold),
        stock=stock,
        ad_days=_advertised(stream(seed, "ad days"), flights, orders_placed, days),
        social=make_social(stream(seed, "social"), seasons, *sold),
        clicks=make_clicks(stream(seed, "clicks"), seasons, *sold),
    )
    progress("visits", len(shop.clicks.visitor), len(shop.clicks.visitor))
    return shop


def _advertised(rng: Rng, flights: tuple[Flight, ...], orders: Orders, days: int) -> AdDays:
    """What advertising cost and brought; beside it stand the orders a day that its regions place by themselves."""
    by_themselves = orders.region[orders.caused_by < 0]
    usual = np.array([np.isin(by_themselves, flight.regions).sum() / days for flight in flights])
    return make_ad_days(rng, flights, orders.credited_to, orders.day, usual)
