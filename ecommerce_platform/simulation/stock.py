"""What lies in the two warehouses at the end of each week: bought in when it runs low, sold by the orders.

Sales do not wait for stock: what is not there is sent as soon as it is, so that an empty shelf only shows here. In a shop
that loses sales, what was to be bought while nothing lay there after a count is not bought at all.
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
    #: Whether each of the lines wanted was lost, for nothing lay there.
    lost: np.ndarray


@dataclass(frozen=True)
class _Restocking:
    """When goods are ordered, and how many; by place and product."""

    #: What lies there at first.
    level: np.ndarray
    #: Below that much, whole batches are ordered until it is reached.
    point: np.ndarray
    batch: np.ndarray
    #: Until they come; per product.
    weeks: np.ndarray


def make_stock(
    rng: Rng, seasons: Seasons, catalogue: Catalogue, orders: Orders, lines: Lines, impatient: np.ndarray
) -> Stock:
    """Counts on each Sunday, of the products listed by then.

    Args:
        rng: the stream to draw from.
        seasons: the shop's days.
        catalogue: the products.
        orders: all orders, and
        lines: what is wanted on them.
        impatient: whether a line is lost if it meets an empty shelf; per line.
    """
    size = len(catalogue)
    sundays = np.arange((6 - seasons.weekday_of_start) % _WEEK, seasons.days, _WEEK)
    week = np.searchsorted(sundays, orders.day[lines.order])
    second = np.arange(size) % 3 == 0
    delivered = orders.fate[lines.order] == DELIVERED
    sold = _by_week(lines, week, delivered, second, len(sundays))
    patient = _by_week(lines, week, delivered & ~impatient, second, len(sundays)) if impatient.any() else sold

    understocked, overstocked = (rng.random(size) < s for s in (_UNDERSTOCKED_SHARE, _OVERSTOCKED_SHARE))
    overstocked &= ~understocked
    restocking = _restocking(rng, np.maximum(sold.mean(axis=1), 0.05), understocked, overstocked)
    on_hand, empty = _count(restocking, sold, patient, second)

    month = seasons.month_of_day[sundays]
    listed = catalogue.first_month[None, :] <= month[:, None]
    there = np.stack([listed, listed & second], axis=1)
    counted, location, product = np.nonzero(there)
    return Stock(
        day=sundays[counted],
        product=product,
        location=location,
        on_hand=on_hand[counted, location, product].astype(np.int64),
        reorder_point=restocking.point[location, product].astype(np.int64),
        lead_time_days=restocking.weeks[product] * _WEEK,
        understocked=np.flatnonzero(understocked),
        overstocked=np.flatnonzero(overstocked),
        lost=impatient & empty[week, lines.product],
    )


def _by_week(lines: Lines, week: np.ndarray, some: np.ndarray, second: np.ndarray, weeks: int) -> np.ndarray:
    """Units of some lines by place, week and product; part of every product in `second` leaves the second place."""
    size, some = len(second), np.flatnonzero(some)
    flat = np.bincount(week[some] * size + lines.product[some], lines.quantity[some], (weeks + 1) * size)
    total = flat.reshape(weeks + 1, size)
    elsewhere = np.floor(total * np.where(second, _SECOND_SHARE, 0.0))
    return np.stack([total - elsewhere, elsewhere])


def _restocking(rng: Rng, weekly: np.ndarray, understocked: np.ndarray, overstocked: np.ndarray) -> _Restocking:
    """How goods are ordered of which so many are sold a week."""
    weeks: np.ndarray = rng.integers(1, 5, weekly.shape[1:])
    wanted = weekly * (weeks + 1) + 1.6 * np.sqrt(weekly * (weeks + 1))
    point = np.ceil(np.where(understocked, 0.25, 1.0) * wanted)
    batch = np.ceil(np.maximum(4 * weekly, 5))
    level = np.where(overstocked, 30 * weekly + 40, point + batch * rng.random(weekly.shape))
    return _Restocking(np.round(level), point, batch, weeks)


def _count(
    restocking: _Restocking, sold: np.ndarray, patient: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What lies there at each week's count; and whether the shelf is empty from the count before a week on."""
    level, (_, weeks, size) = restocking.level.copy(), sold.shape
    weeks -= 1
    coming = np.zeros((6, 2, size))
    on_hand = np.zeros((weeks, 2, size))
    empty = np.zeros((weeks + 1, size), dtype=bool)
    for now in range(weeks):
        level += coming[now % 6] - np.where(empty[now], patient[:, now], sold[:, now])
        coming[now % 6] = 0
        # What is on order counts: nobody orders the same goods twice.
        short = np.maximum(restocking.point - level - coming.sum(axis=0), 0)
        order = np.where(short > 0, np.ceil(short / restocking.batch) * restocking.batch, 0)
        for lead in range(1, 5):
            coming[(now + lead) % 6] += np.where(restocking.weeks == lead, order, 0)
        on_hand[now] = np.maximum(level, 0)
        # What arrives, arrives before the next count: until then nothing lies there.
        empty[now + 1] = np.where(second, on_hand[now].sum(axis=0), on_hand[now, 0]) == 0
    return on_hand, empty
