"""What is said about the shop's products on social networks: better of good ones, worse after late parcels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecommerce_platform.simulation.catalogue import Catalogue
from ecommerce_platform.simulation.orders import DELIVERED, Lines, Orders, days_late
from ecommerce_platform.simulation.randomness import Rng, pick
from ecommerce_platform.simulation.seasons import SECONDS, Seasons, seconds_of_day

PLATFORMS = ("pixelgram", "chatter", "vidtube", "lookbook")
TYPES = ("mention", "comment", "share", "like")
_SHARE_OF_ORDERS = 0.25
#: Tone of what is said about an average product, what a product's quality adds to it, and a late parcel takes away.
_TONE, QUALITY_EFFECT, LATE_EFFECT = 0.25, 0.60, -0.45
_SPREAD = 0.30


@dataclass(frozen=True)
class Social:
    """Interactions by time."""

    at: np.ndarray
    platform: np.ndarray
    kind: np.ndarray
    #: -1 where no product was recognised.
    product: np.ndarray
    #: Thousandths, -1000 to 1000; that of likes and shares is not known, for they have no text.
    tone: np.ndarray


def make_social(rng: Rng, seasons: Seasons, catalogue: Catalogue, orders: Orders, lines: Lines) -> Social:
    """Interactions within the delivered days, most of them by people who have bought something lately."""
    size = round(len(orders) * _SHARE_OF_ORDERS)
    order = rng.integers(0, len(orders), size)
    moment = np.where(orders.fate[order] == DELIVERED, orders.received[order], orders.placed[order])
    day = moment // SECONDS + 1 + rng.geometric(0.3, size)
    order, day = order[day < seasons.days], day[day < seasons.days]
    at = day * SECONDS + seconds_of_day(rng, len(day))
    by_time = np.argsort(at, kind="stable")
    order, at = order[by_time], at[by_time]
    size = len(at)

    product = lines.product[lines.bounds[order]]
    late = days_late(orders)[order] > 0
    tone = _TONE + QUALITY_EFFECT * catalogue.quality[product] + np.where(late, LATE_EFFECT, 0.0)
    tone = np.clip(tone + rng.normal(0, _SPREAD, size), -1, 1)
    return Social(
        at=at,
        platform=pick(rng, (0.45, 0.25, 0.18, 0.12), size),
        kind=pick(rng, (0.30, 0.35, 0.10, 0.25), size),
        product=np.where(rng.random(size) < 0.15, -1, product),
        tone=np.round(tone * 1000).astype(np.int64),
    )
