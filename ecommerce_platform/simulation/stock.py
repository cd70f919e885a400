"""What lies in the two warehouses at the end of each week: bought in when it runs low, sold by the orders.

Sales never wait for stock: what is not there is sent as soon as it is, so that an empty shelf only shows here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecommerce_platform.simulation.catalogue import Catalogue
from ecommerce_platform.simulation.orders import DELIVERED, Lines, Orders
from ecommerce_platform.simulation.randomness import Rng
from ecommerce_platform.simulation.seasons import Seasons

LOCATIONS = ("HH1", "MUC2")
#: Share of the sales that the second warehouse serves, of those products that it stores.
_SECOND_SHARE = 0.35
_WEEK = 7
#: Products whose reorder point is set too low, and those of which far too much was bought at first.
_UNDERSTOCKED_SHARE, _OVERSTOCKED_SHARE = 0.03, 0.04


@dataclass(frozen=True)
class Stock:
    """Closing stock of each count; one entry per day counted, product and location, by day."""

    day: np.ndarray
    product: np.ndarray
    #: Index into `LOCATIONS`.
    location: np.ndarray
    on_hand: np.ndarray
    reorder_point: np.ndarray
    lead_time_days: np.ndarray
    #: Products, by what is wrong with their stock.
    understocked: np.ndarray
    overstocked: np.ndarray


def make_stock(rng: Rng, seasons: Seasons, catalogue: Catalogue, orders: Orders, lines: Lines) -> Stock:
    """Counts on each Sunday, of the products listed by then."""
    size = len(catalogue)
    sundays = np.arange((6 - seasons.weekday_of_start) % _WEEK, seasons.days, _WEEK)
    weeks = len(sundays)
    sold = np.zeros((2, weeks + 1, size))
    arrived = np.flatnonzero(orders.fate[lines.order] == DELIVERED)
    week = np.searchsorted(sundays, orders.day[lines.order[arrived]])
    flat = np.bincount(week * size + lines.product[arrived], lines.quantity[arrived], (weeks + 1) * size)
    second = np.arange(size) % 3 == 0
    share = np.where(second, _SECOND_SHARE, 0.0)
    total = flat.reshape(weeks + 1, size)
    sold[1] = np.floor(total * share)
    sold[0] = total - sold[1]

    understocked, overstocked = (rng.random(size) < s for s in (_UNDERSTOCKED_SHARE, _OVERSTOCKED_SHARE))
    overstocked &= ~understocked
    lead_weeks = rng.integers(1, 5, size)
    weekly = np.maximum(sold.mean(axis=1), 0.05)
    wanted = weekly * (lead_weeks + 1) + 1.6 * np.sqrt(weekly * (lead_weeks + 1))
    reorder_point = np.ceil(np.where(understocked, 0.25, 1.0) * wanted)
    batch = np.ceil(np.maximum(4 * weekly, 5))
    level = np.where(overstocked, 30 * weekly + 40, reorder_point + batch * rng.random((2, size)))
    level = np.round(level)
    coming = np.zeros((6, 2, size))
    on_hand = np.zeros((weeks, 2, size))
    for now in range(weeks):
        level += coming[now % 6] - sold[:, now]
        coming[now % 6] = 0
        # What is on order counts: nobody orders the same goods twice.
        short = np.maximum(reorder_point - level - coming.sum(axis=0), 0)
        order = np.where(short > 0, np.ceil(short / batch) * batch, 0)
        for lead in range(1, 5):
            coming[(now + lead) % 6] += np.where(lead_weeks == lead, order, 0)
        on_hand[now] = np.maximum(level, 0)

    month = seasons.month_of_day[sundays]
    listed = catalogue.first_month[None, :] <= month[:, None]
    there = np.stack([listed, listed & second], axis=1)
    counted, location, product = np.nonzero(there)
    return Stock(
        day=sundays[counted],
        product=product,
        location=location,
        on_hand=on_hand[counted, location, product].astype(np.int64),
        reorder_point=reorder_point[location, product].astype(np.int64),
        lead_time_days=lead_weeks[product] * _WEEK,
        understocked=np.flatnonzero(understocked),
        overstocked=np.flatnonzero(overstocked),
    )
