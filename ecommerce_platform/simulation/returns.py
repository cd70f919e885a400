"""What customers send back, and why: by category, and more often when the parcel came late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecommerce_platform.simulation.catalogue import CATEGORIES, Catalogue
from ecommerce_platform.simulation.orders import DELIVERED, Lines, Orders, days_late
from ecommerce_platform.simulation.randomness import Rng, pick_rows
from ecommerce_platform.simulation.seasons import SECONDS, Seasons

#: Share of a category's delivered lines that come back; other categories have `_USUAL_RATE`.
RETURN_RATES = {"FSH": 0.24, "SHO": 0.28, "ELC": 0.09, "CMP": 0.08, "GRO": 0.005, "BOK": 0.02}
_USUAL_RATE = 0.045
#: What lateness adds to the rate.
LATE_RETURN_RATE = 0.08
REASONS = ("Größe passt nicht", "Gefällt nicht", "Defekt", "Falscher Artikel", "Zu spät geliefert")
_WEIGHTS = np.array([[0.05, 0.55, 0.28, 0.12, 0.0], [0.60, 0.28, 0.07, 0.05, 0.0], [0.05, 0.25, 0.1, 0.05, 0.55]])


@dataclass(frozen=True)
class Returns:
    """Returns by the time they came back."""

    #: Index of the order line.
    line: np.ndarray
    quantity: np.ndarray
    #: Cents paid back, net as the line's prices are.
    refund: np.ndarray
    #: Index into `REASONS`.
    reason: np.ndarray
    returned: np.ndarray


def return_rates() -> np.ndarray:
    """Share of lines that come back when the parcel is in time, per category."""
    return np.array([RETURN_RATES.get(c.code, _USUAL_RATE) for c in CATEGORIES])


def make_returns(rng: Rng, seasons: Seasons, catalogue: Catalogue, orders: Orders, lines: Lines) -> Returns:
    """Returns that come back within the delivered days."""
    size = len(lines.order)
    category = catalogue.category[lines.product]
    late = days_late(orders)[lines.order] > 0
    rate = return_rates()[category] + np.where(late, LATE_RETURN_RATE, 0.0)
    lag = ((2 + rng.gamma(2.5, 2.4, size)) * SECONDS).astype(np.int64)
    arrived = orders.fate[lines.order] == DELIVERED
    returned = np.where(arrived, orders.received[lines.order], 0) + lag
    # Parcels are opened during the day.
    returned = returned // SECONDS * SECONDS + 8 * 3600 + returned % SECONDS * 9 // 24
    wanted = arrived & (rng.random(size) < rate) & (returned < seasons.days * SECONDS)
    line = np.flatnonzero(wanted)
    line = line[np.argsort(returned[line], kind="stable")]

    bought = lines.quantity[line]
    whole = rng.random(len(line)) < 0.75
    quantity = np.where(whole, bought, 1 + (rng.random(len(line)) * bought).astype(np.int64))
    net = lines.price[line] * bought - lines.discount[line]
    clothes = np.isin(category[line], [i for i, c in enumerate(CATEGORIES) if c.code in ("FSH", "SHO")])
    reason = pick_rows(rng, _WEIGHTS, np.where(late[line], 2, clothes.astype(int)))
    return Returns(line, quantity, net * quantity // bought, reason, returned[line])
