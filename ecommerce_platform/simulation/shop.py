"""The synthetic shop from arguments to files: simulate, export, count the truth.

This is the only module others need; it decides nothing about the shop's behaviour itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.simulation import truth as truths
from ecommerce_platform.simulation.catalogue import COMPANION_PROBABILITY, make_catalogue
from ecommerce_platform.simulation.drops import Feed, Shop, make_feeds, order_versions, write_feeds
from ecommerce_platform.simulation.orders import (
    DELIVERED,
    LATE_LEAVE_PROBABILITY,
    NEVER,
    days_late,
    make_lines,
    make_orders,
    make_payments,
    make_reviews,
)
from ecommerce_platform.simulation.places import make_places
from ecommerce_platform.simulation.randomness import stream
from ecommerce_platform.simulation.seasons import SECONDS, make_seasons
from ecommerce_platform.simulation.truth import Truth

#: Threads that write files; more would only compete with those that polars starts by itself.
_WRITERS = 2
_LAST_DAY = date(2199, 12, 31)

Progress = Callable[[str, int, int], None]


def generate_shop(
    out_dir: Path,
    *,
    orders: int = 100_000,
    days: int = 730,
    seed: int = 1,
    dirty_share: float = 0.002,
    start: date = date(2024, 1, 1),
    progress: Progress | None = None,
) -> Truth:
    """Writes a synthetic shop's drops to `<out_dir>/raw/<day>/`, the truth to `<out_dir>/truth/shop.json`.

    The same arguments always write the same bytes. The drops appear only when all of them are written.

    Args:
        out_dir: folder to write to; its `raw` must not hold anything yet.
        orders: orders placed, exactly that many.
        days: days from `start` on that deliver drops.
        seed: not negative; another seed is another shop.
        dirty_share: share of the delivered records with one fault each, 0 to 0.2.
        start: first day.
        progress: called with what is being done, how much of it is done, and how much there is.

    Returns:
        What was written and what a correct platform must make of it.

    Raises:
        InputError: an argument out of range, or `out_dir/raw` already holds something.
    """
    _check(orders, days, seed, dirty_share, start)
    raw = out_dir / "raw"
    if raw.exists() and any(p for p in raw.iterdir() if not p.name.startswith(".")):
        raise InputError("there are drops already", where=raw, fix="remove them or generate into another folder")
    tell = progress or (lambda what, done, total: None)

    shop = simulate(orders=orders, days=days, seed=seed, start=start, progress=tell)
    feeds = make_feeds(shop, dirty_share)
    staging = out_dir / "raw.partial"
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)
    write_feeds(staging, start, feeds, _WRITERS, tell)
    raw.mkdir(exist_ok=True)
    for folder in sorted(staging.iterdir()):
        folder.rename(raw / folder.name)
    staging.rmdir()

    truth = _count(shop, {feed.table: feed for feed in feeds}, dirty_share)
    truths.write_truth(out_dir, truth)
    return truth


def simulate(*, orders: int, days: int, seed: int, start: date, progress: Progress) -> Shop:
    """The shop in memory, clean; the arguments are those of `generate_shop`."""
    seasons = make_seasons(stream(seed, "seasons"), start, days)
    places = make_places(stream(seed, "places"))
    catalogue = make_catalogue(stream(seed, "catalogue"), seasons, orders)
    customers, placed = make_orders(seed, seasons, places, orders, progress)
    lines = make_lines(stream(seed, "lines"), seasons, catalogue, customers, placed)
    payments = make_payments(stream(seed, "payments"), placed, lines)
    reviews = make_reviews(stream(seed, "reviews"), seasons, catalogue, placed, lines)
    progress("lines", len(lines.order), len(lines.order))
    return Shop(seed, seasons, places, catalogue, customers, placed, lines, payments, reviews)


def _check(orders: int, days: int, seed: int, dirty_share: float, start: date) -> None:
    if orders < 1:
        raise InputError(f"a shop without orders cannot be generated: {orders}", where="orders", fix="give 1 or more")
    if days < 1 or start + timedelta(days=min(days, 10**5)) > _LAST_DAY:
        raise InputError(f"{days} days from {start} cannot be generated", where="days", fix="give 1 or more, to 2199")
    if seed < 0:
        raise InputError(f"a seed is not negative: {seed}", where="seed", fix="give 0 or more")
    if not 0 <= dirty_share <= 0.2:
        raise InputError(f"not a share from 0 to 0.2: {dirty_share}", where="dirty_share", fix="give 0 for none")


def _count(shop: Shop, feeds: dict[str, Feed], dirty_share: float) -> Truth:
    """The truth of a shop and of what its feeds wrote."""
    newest = {name: truths.newest_usable(name, feed.key, feed.fault, feed.keys) for name, feed in feeds.items()}
    expected = {name: int((positions >= 0).sum()) for name, positions in newest.items()}

    # Valid lines: accepted, of an order whose newest accepted version is neither canceled nor given up.
    order_day = feeds["orders"].day[newest["orders"]]
    ended = shop.orders.ended < (order_day + 1) * SECONDS
    valid_order = (newest["orders"] >= 0) & ~ended
    lines = shop.lines
    valid = np.flatnonzero((newest["order_items"] >= 0) & valid_order[lines.order])
    order, product = lines.order[valid], lines.product[valid]
    quantity, price, discount = lines.quantity[valid], lines.price[valid], lines.discount[valid]

    # Costs are those of the newest catalogue in which the product's row was accepted.
    position = newest["products"][product]
    catalogue_month = np.searchsorted(shop.seasons.catalogue_days, feeds["products"].day)
    cost = np.where(position >= 0, shop.catalogue.cost[catalogue_month[position], product], -1)
    buyer = shop.orders.customer[order]
    person = np.where(buyer >= 0, shop.customers.person[buyer], -1)
    totals = truths.money_totals(
        order=order, quantity=quantity, price=price, discount=discount, unit_cost=cost, person=person
    )
    month = shop.seasons.month_of_day[shop.orders.day[order]]
    return Truth(
        seed=shop.seed,
        start=shop.seasons.start.isoformat(),
        days=shop.seasons.days,
        dirty_share=dirty_share,
        orders=len(shop.orders),
        customer_records=len(shop.customers),
        persons=len(np.unique(shop.customers.person)),
        tables={
            name: truths.table_truth(name, feed.fault, feed.files, expected[name])
            for name, feed in sorted(feeds.items())
        },
        expected_rows=dict(sorted(expected.items())),
        totals=totals,
        by_month=truths.month_totals(month, order, quantity, quantity * price - discount, shop.seasons.start),
        planted=_planted(shop),
    )


def _planted(shop: Shop) -> dict[str, object]:
    """The effects built into the shop, for those who test whether a model finds them."""
    orders, end = shop.orders, shop.seasons.days * SECONDS
    _, second = order_versions(orders, shop.seasons.days)
    arrived = (orders.fate == DELIVERED) & (orders.received < end) & (orders.promised < NEVER)
    late = days_late(orders) > 0
    sold = np.bincount(shop.lines.product, minlength=len(shop.catalogue))
    pairs = np.argsort(-sold, kind="stable")[:5]
    return {
        "late_delivery_share": round(float(late[arrived].mean()), 4) if arrived.any() else None,
        "late_delivery_leave_probability": LATE_LEAVE_PROBABILITY,
        "open_orders": int(((second < 0) & (np.minimum(orders.received, orders.ended) >= end)).sum()),
        "customers_left": int((shop.customers.leaves < shop.seasons.days).sum()),
        "companion_probability": COMPANION_PROBABILITY,
        "companions": [
            [shop.catalogue.sku[p], shop.catalogue.sku[shop.catalogue.companion[p]]] for p in pairs.tolist()
        ],
    }
