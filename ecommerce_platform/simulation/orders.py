"""What becomes of each visit: payment, fulfilment, lines, discounts and the review; all vectorised.

Times are seconds after the first day's midnight, `NEVER` for what does not happen; money is whole cents.
How these facts are written into files, and what is wrong with the files, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from ecommerce_platform.simulation.advertising import MEDIA
from ecommerce_platform.simulation.catalogue import (
    CATEGORIES,
    COMPANION_PROBABILITY,
    Catalogue,
    draw_products,
)
from ecommerce_platform.simulation.experiments import Trial, make_trials
from ecommerce_platform.simulation.people import (
    APP,
    CHANNEL_SHARES,
    CRM,
    NEVER,
    PHONE,
    STORE,
    WEB,
    WEB_SHOP,
    Customers,
    Records,
    Visits,
    make_customers,
    make_guest_visits,
    make_more_visits,
    make_records,
    make_visits,
)
from ecommerce_platform.simulation.places import REGIONS, Places
from ecommerce_platform.simulation.randomness import Rng, pick, pick_rows, stream
from ecommerce_platform.simulation.seasons import SECONDS, Seasons

DEVICES = ("desktop", "mobile", "tablet")
CARRIERS = ("Postblitz", "Nordkurier", "Paketfuchs", "Sparversand")
#: Payment methods: code, label, share, seconds until approval from and to.
METHODS = (
    ("CC", "Credit card", 0.31, 20, 900),
    ("EW", "Digital wallet", 0.30, 10, 300),
    ("IV", "Invoice", 0.18, 1800, 6 * 3600),
    ("DD", "Direct debit", 0.10, 900, 4 * 3600),
    ("BT", "Bank transfer", 0.07, 12 * 3600, 3 * SECONDS),
    ("GC", "Gift card", 0.04, 5, 60),
)
CARD, BANK, GIFT = 0, 4, 5
#: Share of each carrier, by channel.
_CARRIER_SHARES = (
    (0.4, 0.25, 0.2, 0.15),
    (0.4, 0.25, 0.2, 0.15),
    (1.0, 0, 0, 0),
    (0.15, 0.2, 0.3, 0.35),
    (0.5, 0.3, 0.2, 0.0),
)

GUEST_SHARE = 0.04
#: A customer whose parcel came late leaves for good with this probability.
LATE_LEAVE_PROBABILITY = 0.20
VAT_PERCENT = 19
#: So many lines of known customers are bought in their favourite category, whatever the fashion.
FAVOURITE_SHARE = 0.30
#: Of those who write a review, so many give it one star for reasons that lie outside the shop.
UNHAPPY_SHARE = 0.12

# Fates of an order.
DELIVERED, CANCELED, UNAVAILABLE = 0, 1, 2


@dataclass(frozen=True)
class Orders:
    """All orders by time of ordering; every array has one entry per order."""

    #: Index of the person, -1 for guests.
    person: np.ndarray
    #: The customer record that placed the order (-1 for guests) and the system it stands in: web shop or CRM.
    record: np.ndarray
    system: np.ndarray
    placed: np.ndarray
    approved: np.ndarray
    shipped: np.ndarray
    received: np.ndarray
    #: Midnight of the promised day.
    promised: np.ndarray
    #: When the order was canceled or given up.
    ended: np.ndarray
    fate: np.ndarray
    channel: np.ndarray
    #: Index into `DEVICES`, -1 in a store.
    device: np.ndarray
    #: Index into `CARRIERS`.
    carrier: np.ndarray
    method: np.ndarray
    #: Postal code (index into the places) the order goes to where it is not the customer's, else -1.
    ship_to: np.ndarray
    #: Region (index into `REGIONS`) the order goes to.
    region: np.ndarray
    #: Flight that caused the order, and flight it is credited to because it came through an advertisement; -1 for none.
    caused_by: np.ndarray
    credited_to: np.ndarray

    def __len__(self) -> int:
        return len(self.placed)

    def take(self, index: np.ndarray) -> Orders:
        """The orders at `index` (positions or a mask)."""
        return Orders(*(getattr(self, f.name)[index] for f in fields(self)))

    @property
    def day(self) -> np.ndarray:
        """Day of ordering."""
        return self.placed // SECONDS


@dataclass(frozen=True)
class Lines:
    """Order lines, in the order of their orders."""

    order: np.ndarray
    number: np.ndarray
    product: np.ndarray
    quantity: np.ndarray
    price: np.ndarray
    discount: np.ndarray
    shipping: np.ndarray
    tax: np.ndarray
    #: First line of each order, and one past the last: one entry more than there are orders.
    bounds: np.ndarray


@dataclass(frozen=True)
class Payments:
    """Payments, in the order of their orders."""

    order: np.ndarray
    number: np.ndarray
    method: np.ndarray
    installments: np.ndarray
    amount: np.ndarray


@dataclass(frozen=True)
class Reviews:
    """Reviews by the time they were written."""

    order: np.ndarray
    score: np.ndarray
    written: np.ndarray
    #: Pseudo-random number per review that chooses its words; -1 without text.
    words: np.ndarray


@dataclass(frozen=True)
class Placed:
    """Everybody who knows the shop, what its systems know of them, and what they ordered."""

    customers: Customers
    records: tuple[Records, ...]
    trials: tuple[Trial, ...]
    orders: Orders


def make_orders(
    seed: int,
    seasons: Seasons,
    places: Places,
    wanted: int,
    progress: Callable[[str, int, int], None],
    *,
    uplift: bool = True,
) -> Placed:
    """Exactly `wanted` orders, and the people behind them.

    How many people that takes is found from a small shop of the same kind; then some too many orders are made and a
    random part of them left out.
    """
    guests = round(wanted * GUEST_SHARE)
    registered = wanted - guests
    customers, trials, orders = _enough_orders(seed, seasons, places, registered, progress, uplift)
    rng = stream(seed, "guests")
    keep = rng.choice(len(orders), registered, replace=False)
    visits = make_guest_visits(rng, seasons, guests)
    guest_orders = _fulfil(rng, seasons, places, customers, visits)
    joined = Orders(
        *(np.concatenate([getattr(orders, f.name)[keep], getattr(guest_orders, f.name)]) for f in fields(Orders))
    )
    joined = joined.take(np.lexsort((joined.person, joined.placed)))
    rng = stream(seed, "records")
    records = make_records(rng, seasons, customers)
    used = [records[system].of(joined.person, joined.placed, rng) for system in (WEB_SHOP, CRM)]
    record = np.where(joined.person < 0, -1, np.where(joined.system == CRM, used[CRM], used[WEB_SHOP]))
    progress("orders", wanted, wanted)
    return Placed(customers, records, trials, replace(joined, record=record.astype(np.int32)))


def days_late(orders: Orders) -> np.ndarray:
    """Days between promise and delivery: positive when late, 0 where nothing was promised or delivered."""
    known = (orders.received < NEVER) & (orders.promised < NEVER)
    return np.where(known, orders.received // SECONDS - orders.promised // SECONDS, 0)


def make_lines(rng: Rng, seasons: Seasons, catalogue: Catalogue, customers: Customers, orders: Orders) -> Lines:
    """What was bought: products by popularity, season and taste, and the first product's companions."""
    business = np.where(orders.person >= 0, customers.segment[orders.person] > 0, False)
    count = 1 + np.minimum(rng.negative_binomial(1.1, np.where(business, 0.46, 0.62)), 11)
    bounds = np.concatenate([[0], np.cumsum(count)])
    order = np.repeat(np.arange(len(orders)), count)
    size = len(order)
    number = np.arange(size) - bounds[order] + 1

    day = orders.day[order]
    month = seasons.month_of_day[day]
    favourite = np.where(orders.person >= 0, customers.favourite[orders.person], -1)[order]
    favourite[rng.random(size) >= FAVOURITE_SHARE] = -1
    product = draw_products(rng, catalogue, seasons.phases.of_day[day], favourite)
    first = product[bounds[order]]
    companion = catalogue.companion[first]
    together = (number == 2) & (rng.random(size) < COMPANION_PROBABILITY) & (companion >= 0)
    product = np.where(together, companion, product)

    several = np.array([c.several for c in CATEGORIES])[catalogue.category[product]]
    quantity = np.where(rng.random(size) < several, 1 + rng.geometric(0.6, size), 1)
    quantity = np.where(business[order] & (rng.random(size) < 0.25), quantity * rng.integers(2, 6, size), quantity)

    price = catalogue.price[month, product]
    gross = price * quantity
    sale = seasons.sale_of_day[day]
    depth = np.zeros(size)
    if seasons.sales:
        depths = np.array([s.depth for s in seasons.sales])
        reduced = (sale >= 0) & catalogue.on_sale[sale, catalogue.category[product]]
        depth = np.where(reduced, depths[sale], 0.0)
    # A coupon now and then, for the whole order.
    coupon = rng.random(len(orders)) < 0.05
    depth = np.maximum(depth, np.where(coupon[order], 0.10, 0.0))
    discount = np.round(gross * depth).astype(np.int64)

    net = gross - discount
    shipping = _shipping(orders, net, order, number, bounds)
    tax = (net * VAT_PERCENT + 50) // 100
    narrow = np.int32
    return Lines(
        order=order.astype(narrow),
        number=number.astype(narrow),
        product=product.astype(narrow),
        quantity=quantity.astype(narrow),
        price=price,
        discount=discount,
        shipping=shipping,
        tax=tax,
        bounds=bounds,
    )


def elsewhere(rng: Rng, catalogue: Catalogue, lines: Lines, outside: float) -> np.ndarray:
    """Whether each line is bought in another shop, because it is dearer than the product was in its cheapest month.

    What stays falls by `outside` percent with each percent of price; 0 knows no other shop.
    """
    if outside <= 0:
        return np.zeros(len(lines.order), dtype=bool)
    paid = lines.price - lines.discount / lines.quantity
    stays = np.minimum((paid / catalogue.price.min(axis=0)[lines.product]) ** -outside, 1)
    return rng.random(len(stays)) >= stays


def leave_out(orders: Orders, lines: Lines, lost: np.ndarray) -> tuple[Orders, Lines]:
    """Orders and lines without those lines that nobody could buy (a mask); nobody places an order without a line."""
    stays = np.flatnonzero(~lost)
    placed = np.zeros(len(orders), dtype=bool)
    placed[lines.order[stays]] = True
    kept = replace(lines, **{f.name: getattr(lines, f.name)[stays] for f in fields(Lines) if f.name != "bounds"})
    orders = orders.take(placed)
    order = (np.cumsum(placed) - 1)[kept.order]
    bounds = np.append(np.searchsorted(order, np.arange(len(orders))), len(order))
    number = np.arange(len(order)) - bounds[order] + 1
    net = kept.price * kept.quantity - kept.discount
    shipping = _shipping(orders, net, order, number, bounds)
    narrow = np.int32
    return orders, replace(
        kept, order=order.astype(narrow), number=number.astype(narrow), shipping=shipping, bounds=bounds
    )


def _shipping(orders: Orders, net: np.ndarray, order: np.ndarray, number: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """What sending costs, on each order's first line: nothing in a store, nor for large orders."""
    charged = (np.add.reduceat(net, bounds[:-1]) < 4900) & (orders.channel != STORE)
    return np.where(number == 1, np.where(charged, 490, 0)[order], 0)


def make_payments(rng: Rng, orders: Orders, lines: Lines) -> Payments:
    """How it was paid: mostly at once, now and then partly by gift card, dear orders in instalments."""
    due = lines.price * lines.quantity - lines.discount + lines.shipping + lines.tax
    total = np.add.reduceat(due, lines.bounds[:-1])
    split = (rng.random(len(orders)) < 0.05) & (orders.method != GIFT) & (total > 500)
    order = np.repeat(np.arange(len(orders)), 1 + split)
    starts = np.cumsum(1 + split) - 1 - split
    number = np.arange(len(order)) - starts[order] + 1
    part = np.where(split, (total * (0.1 + 0.5 * rng.random(len(orders)))).astype(np.int64), 0)
    by_card = split[order] & (number == 1)
    amount = np.where(by_card, part[order], total[order] - part[order])
    method = np.where(by_card, GIFT, orders.method[order])
    instalments = np.array([1, 3, 6, 12])[pick(rng, (0.72, 0.14, 0.09, 0.05), len(order))]
    instalments = np.where((method == CARD) & (amount >= 15_000), instalments, 1)
    narrow = np.int32
    return Payments(
        order=order.astype(narrow),
        number=number.astype(narrow),
        method=method.astype(narrow),
        installments=instalments.astype(narrow),
        amount=amount,
    )


def make_reviews(rng: Rng, seasons: Seasons, catalogue: Catalogue, orders: Orders, lines: Lines) -> Reviews:
    """Reviews written within the delivered days; lateness costs stars and makes people write."""
    late = days_late(orders)
    size = len(orders)
    chance = np.where(late > 0, 0.55, 0.40)
    lag = (0.3 * SECONDS + rng.exponential(2.5 * SECONDS, size)).astype(np.int64)
    written = np.where(orders.received < NEVER, orders.received + lag, NEVER)
    wanted = (rng.random(size) < chance) & (written < seasons.days * SECONDS)
    latent = 4.75 + catalogue.quality[lines.product[lines.bounds[:-1]]] + rng.normal(0, 0.85, size)
    latent -= np.where(late > 0, 0.9 + 0.18 * np.minimum(late, 10), 0.0)
    # Some are unhappy whatever the shop does: one review in nine has one star, as in real shops (Olist: 11.5 %).
    latent -= np.where(rng.random(size) < UNHAPPY_SHARE, 4.5, 0.0)
    score = np.clip(np.round(latent), 1, 5).astype(np.int64)
    words = np.where(rng.random(size) < 0.55, rng.integers(0, 1 << 30, size), -1)
    chosen = np.flatnonzero(wanted)
    chosen = chosen[np.argsort(written[chosen], kind="stable")]
    return Reviews(chosen, score[chosen], written[chosen], words[chosen])


def _enough_orders(
    seed: int,
    seasons: Seasons,
    places: Places,
    registered: int,
    progress: Callable[[str, int, int], None],
    uplift: bool,
) -> tuple[Customers, tuple[Trial, ...], Orders]:
    """So many customers that they place `registered` orders or more."""
    pilot = 5_000
    few = make_customers(seed, "pilot", seasons, places, pilot)
    per_person = len(_customer_orders(seed, seasons, places, few, uplift)[1]) / pilot
    surplus = 1.05
    while True:
        size = max(5, int(registered / max(per_person, 0.01) * surplus))
        customers = make_customers(seed, "customers", seasons, places, size)
        progress("customers", size, size)
        trials, orders = _customer_orders(seed, seasons, places, customers, uplift)
        if len(orders) >= registered:
            return customers, trials, orders
        surplus *= 1.2


def _customer_orders(
    seed: int, seasons: Seasons, places: Places, customers: Customers, uplift: bool
) -> tuple[tuple[Trial, ...], Orders]:
    """Orders of all visits, without those of customers whom a late delivery drove away."""
    parts = [make_visits(stream(seed, "visits"), seasons, customers)]
    trials = make_trials(
        stream(seed, "experiments"), seasons.days, customers.joined[WEB_SHOP], customers.leaves, uplift=uplift
    )
    rng = stream(seed, "uplift")
    for trial in trials:
        lift = trial.lift(customers.age_band)
        parts.append(make_more_visits(rng, seasons, customers, lift, trial.first, trial.last))
    rng = stream(seed, "advertising")
    for index, flight in enumerate(seasons.flights):
        at = np.full(len(customers), flight.first * SECONDS)
        region = places.region[customers.place(np.arange(len(customers)), at)]
        reached = np.isin(region, flight.regions) & (customers.joined[WEB_SHOP] < flight.first * SECONDS)
        lift = reached * flight.lift
        parts.append(make_more_visits(rng, seasons, customers, lift, flight.first, flight.last, index))
    visits = Visits(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Visits)))
    rng = stream(seed, "fulfilment")
    orders = _fulfil(rng, seasons, places, customers, visits)
    gone = (days_late(orders) > 0) & (rng.random(len(orders)) < LATE_LEAVE_PROBABILITY)
    # Visits that were added drive nobody away: else those who get more of them would leave sooner, and an uplift come
    # out smaller than it is planted.
    gone &= ~visits.added
    left_at = np.full(len(customers), NEVER)
    np.minimum.at(left_at, orders.person[gone], orders.received[gone])
    return trials, orders.take(orders.placed <= left_at[orders.person])


def _fulfil(rng: Rng, seasons: Seasons, places: Places, customers: Customers, visits: Visits) -> Orders:
    """Channel, payment and the way of the parcel for each visit."""
    size = len(visits.placed)
    placed = visits.placed.astype(np.int64)
    channel = _channels(rng, customers, visits, placed)
    offline, store = (channel == STORE) | (channel == PHONE), channel == STORE
    device_by_channel = np.array(
        [[0.55, 0.36, 0.09], [0.0, 0.90, 0.10], [1.0, 0.0, 0.0], [0.45, 0.48, 0.07], [1.0, 0.0, 0.0]]
    )
    device = np.where(offline, -1, pick_rows(rng, device_by_channel, channel))

    place = pick(rng, places.weight, size)
    gift = (rng.random(size) < 0.02) & ~store
    ship_to = np.where((visits.person < 0) | gift, place, -1)
    region = places.region[np.where(ship_to >= 0, ship_to, customers.place(visits.person, placed))]

    paid = _payments(rng, placed, store)
    sent = _parcels(rng, seasons, placed, paid, channel, region)
    small, number = np.int8, np.int32
    return Orders(
        person=visits.person.astype(number),
        record=np.full(size, -1, dtype=number),
        system=np.where(offline, CRM, WEB_SHOP).astype(small),
        placed=placed,
        approved=paid.approved,
        shipped=sent.shipped,
        received=sent.received,
        promised=sent.promised,
        ended=paid.ended,
        fate=paid.fate.astype(small),
        channel=channel.astype(small),
        device=device.astype(small),
        carrier=sent.carrier.astype(small),
        method=paid.method.astype(small),
        ship_to=ship_to.astype(number),
        region=region.astype(small),
        caused_by=visits.flight.astype(number),
        credited_to=_credited(rng, seasons, visits, placed, channel, region).astype(number),
    )


def _channels(rng: Rng, customers: Customers, visits: Visits, placed: np.ndarray) -> np.ndarray:
    """Where each visit orders: mostly where the customer usually does, and only where the customer is known."""
    size, known = len(placed), visits.person >= 0
    channel = pick(rng, CHANNEL_SHARES, size)
    usual = known & (rng.random(size) < 0.75)
    channel = np.where(usual, customers.channel[visits.person], channel)
    # Who is in both systems also uses both.
    in_web, in_crm = customers.joined[WEB_SHOP][visits.person] <= placed, customers.joined[CRM][visits.person] <= placed
    offline = (channel == STORE) | (channel == PHONE)
    changes = known & in_web & in_crm & (rng.random(size) < 0.25)
    channel = np.where(changes, np.where(offline, WEB, STORE), channel)
    # What an advertisement causes is ordered where it leads to.
    channel = np.where((visits.flight >= 0) & (channel != APP), WEB, channel)
    # Store and telephone know those in the CRM, the rest know those in the web shop; guests are not in a store.
    offline = (channel == STORE) | (channel == PHONE)
    channel = np.where(~known & offline, WEB, channel)
    channel = np.where(known & offline & ~in_crm, WEB, channel)
    return np.where(known & ~offline & ~in_web, STORE, channel)


@dataclass(frozen=True)
class _Paid:
    """How orders are paid, and whether anything comes of them."""

    method: np.ndarray
    approved: np.ndarray
    fate: np.ndarray
    ended: np.ndarray


def _payments(rng: Rng, placed: np.ndarray, store: np.ndarray) -> _Paid:
    """Method and approval; some orders are canceled or given up, none of those that are taken along from a store."""
    size = len(placed)
    method = pick(rng, [m[2] for m in METHODS], size)
    # Cash has no place in this list: stores take cards and gift cards only.
    method = np.where(store & (method != GIFT), CARD, method)
    fastest, slowest = np.array([m[3] for m in METHODS]), np.array([m[4] for m in METHODS])
    wait = fastest[method] + (rng.random(size) * (slowest - fastest)[method]).astype(np.int64)
    approved = np.where(store, placed, placed + wait)

    chance = rng.random(size)
    canceled_share = np.where(method == BANK, 0.035, 0.011)
    fate = np.where(
        chance < canceled_share, CANCELED, np.where(chance < canceled_share + 0.005, UNAVAILABLE, DELIVERED)
    )
    fate = np.where(store, DELIVERED, fate)
    ended = placed + ((0.05 + 2.5 * rng.random(size)) * SECONDS).astype(np.int64)
    ended = np.where(fate == DELIVERED, NEVER, ended)
    return _Paid(method, np.where(approved > ended, NEVER, approved), fate, ended)


@dataclass(frozen=True)
class _Sent:
    """The way of parcels."""

    carrier: np.ndarray
    shipped: np.ndarray
    received: np.ndarray
    promised: np.ndarray


def _parcels(
    rng: Rng, seasons: Seasons, placed: np.ndarray, paid: _Paid, channel: np.ndarray, region: np.ndarray
) -> _Sent:
    """Who brings each order, and when; what is bought in a store is taken along."""
    size, day, store = len(placed), placed // SECONDS, channel == STORE
    load = seasons.load[np.minimum(day, len(seasons.load) - 1)]
    handling = np.exp(rng.normal(np.log(0.55), 0.5, size)) * load**1.6
    ready = np.minimum(paid.approved, placed + 10 * SECONDS) + (handling * SECONDS).astype(np.int64)
    shipped = _within_hours(ready, paid.approved, 8, 10, seasons.weekday_of_start)

    carrier = pick_rows(rng, np.array(_CARRIER_SHARES), channel)
    pace = np.array([1.1, 1.5, 1.9, 2.6])[carrier] * np.array([1.1, 1.25, 1.0, 0.95])[region]
    transit = np.exp(rng.normal(0, 0.42, size)) * pace * load**0.8
    received = _within_hours(shipped + (transit * SECONDS).astype(np.int64), shipped, 9, 11, seasons.weekday_of_start)
    promised_days = 4 + (region == 1) + (carrier >= 2) + (load > 1.25) + (paid.method == BANK)

    sent = paid.fate == DELIVERED
    return _Sent(
        carrier,
        shipped=np.where(store | ~sent, NEVER, shipped),
        received=np.where(store, placed, np.where(sent, received, NEVER)),
        promised=np.where(store, NEVER, (day + promised_days) * SECONDS),
    )


def _credited(
    rng: Rng, seasons: Seasons, visits: Visits, placed: np.ndarray, channel: np.ndarray, region: np.ndarray
) -> np.ndarray:
    """The flight that each order is credited to (-1: none)."""
    if not seasons.flights:
        return visits.flight
    # Whoever lives where a flight runs and orders online may have come through it, caused by it or not.
    running = seasons.flight_of_day[placed // SECONDS]
    clicked = np.array([MEDIA[f.medium].clicked for f in seasons.flights])[running]
    aimed = np.array([[r in f.regions for r in range(len(REGIONS))] for f in seasons.flights])[running, region]
    clicks = (running >= 0) & aimed & (channel <= APP) & (rng.random(len(placed)) < clicked)
    return np.where((visits.flight < 0) & clicks, running, visits.flight)


def _within_hours(moment: np.ndarray, after: np.ndarray, opens: int, hours: int, weekday_of_start: int) -> np.ndarray:
    """`moment` within the working hours of its day, an hour or more after `after`, never on a Sunday."""
    day, second = moment // SECONDS, moment % SECONDS
    within = opens * 3600 + second * hours // 24
    day = np.where(day * SECONDS + within < after + 3600, day + 1, day)
    sunday = (day + weekday_of_start) % 7 == 6
    return (day + sunday) * SECONDS + within
