"""The effects built into a shop, as the truth tells them to those who test whether a model finds them.

Keys are the canonical ids and codes that the delivered data carry. Counts are of what was really drawn, shares and
factors what it was drawn with.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from ecommerce_platform.simulation.advertising import MEDIA
from ecommerce_platform.simulation.catalogue import CATEGORIES, COMPANION_PROBABILITY
from ecommerce_platform.simulation.clickstream import FUNNEL, TRACKED_SHARE
from ecommerce_platform.simulation.economy import CONFIDENCE_EFFECT
from ecommerce_platform.simulation.feeds.sales import order_versions
from ecommerce_platform.simulation.orders import DELIVERED, FAVOURITE_SHARE, LATE_LEAVE_PROBABILITY, days_late
from ecommerce_platform.simulation.people import AGE_BANDS, NEVER
from ecommerce_platform.simulation.places import REGIONS
from ecommerce_platform.simulation.returns import LATE_RETURN_RATE, return_rates
from ecommerce_platform.simulation.seasons import SECONDS
from ecommerce_platform.simulation.simulate import Shop
from ecommerce_platform.simulation.social import LATE_EFFECT, QUALITY_EFFECT
from ecommerce_platform.simulation.truth import decimal_text


def planted_effects(shop: Shop) -> dict[str, Any]:
    """What a shop was made with, by topic."""
    orders, end = shop.orders, shop.seasons.days * SECONDS
    _, second = order_versions(orders, shop.seasons.days)
    arrived = (orders.fate == DELIVERED) & (orders.received < end) & (orders.promised < NEVER)
    late = days_late(orders) > 0
    sku, companion = shop.catalogue.sku, shop.catalogue.companion
    sold = np.bincount(shop.lines.product, minlength=len(shop.catalogue))
    # Those that sell most stand first.
    pairs = [p for p in np.argsort(-sold, kind="stable").tolist() if companion[p] >= 0]
    codes = [c.code for c in CATEGORIES]
    return {
        "late_delivery_share": round(float(late[arrived].mean()), 4) if arrived.any() else None,
        "late_delivery_leave_probability": LATE_LEAVE_PROBABILITY,
        "open_orders": int(((second < 0) & (np.minimum(orders.received, orders.ended) >= end)).sum()),
        "customers_left": int((shop.customers.leaves < shop.seasons.days).sum()),
        "companion_probability": COMPANION_PROBABILITY,
        "companions": [[sku[p], sku[companion[p]]] for p in pairs],
        "companion_pairs": _companion_pairs(shop),
        "price_elasticity": {c.code: c.elasticity for c in CATEGORIES},
        "outside_option": shop.outside,
        "campaigns": _campaigns(shop),
        "sales": {
            s.code: {
                "demand_factor": s.lift,
                "discount_share": s.depth,
                "categories": [
                    code for code, takes_part in zip(codes, shop.catalogue.on_sale[i], strict=True) if takes_part
                ],
            }
            for i, s in enumerate(shop.seasons.sales)
        },
        "experiments": _experiments(shop),
        "strange_days": {_day(shop, day): factor for day, factor in sorted(shop.seasons.strange_days.items())},
        "drift": _drift(shop),
        "consumer_confidence_effect": CONFIDENCE_EFFECT,
        "return_rates": dict(zip(codes, return_rates().tolist(), strict=True)),
        "late_return_rate": LATE_RETURN_RATE,
        "understocked_products": [sku[p] for p in shop.stock.understocked.tolist()],
        "overstocked_products": [sku[p] for p in shop.stock.overstocked.tolist()],
        "lost_sales": {
            "share": shop.lost_share,
            "units": {sku[p]: int(shop.lost_units[p]) for p in np.flatnonzero(shop.lost_units).tolist()},
        },
        "tracked_visitor_share": TRACKED_SHARE,
        "funnel": list(FUNNEL),
        "sentiment_of_quality": QUALITY_EFFECT,
        "sentiment_of_late_delivery": LATE_EFFECT,
    }


def _day(shop: Shop, day: int) -> str:
    return (shop.seasons.start + timedelta(days=int(day))).isoformat()


def _companion_pairs(shop: Shop) -> list[dict[str, Any]]:
    """What is to be found of each pair, in orders that were not canceled: both by chance, or because one goes with the other.

    By chance they meet as often as independent purchases do; people's favourite categories and the seasons, which bring
    products of a category together somewhat more often, are left out.
    """
    lines, companion, size = shop.lines, shop.catalogue.companion, len(shop.catalogue)
    counted = shop.orders.fate == DELIVERED
    baskets = np.unique(lines.order.astype(np.int64) * size + lines.product)
    holding = np.bincount((baskets % size)[counted[baskets // size]], minlength=size).astype(float)
    leads = counted & (np.diff(lines.bounds) > 1)
    leading = np.bincount(lines.product[lines.bounds[:-1]][leads], minlength=size)
    together: dict[tuple[int, int], float] = {}
    for product in np.flatnonzero(companion >= 0).tolist():
        other = int(companion[product])
        pair = (min(product, other), max(product, other))
        together[pair] = together.get(pair, 0.0) + COMPANION_PROBABILITY * float(leading[product])
    found = []
    for (one, other), caused in together.items():
        chance = holding[one] * holding[other] / max(counted.sum(), 1)
        expected = caused + (1 - min(caused / max(min(holding[one], holding[other]), 1), 1)) * chance
        found.append((expected, expected / chance if chance else None, one, other))
    sku = shop.catalogue.sku
    return [
        {
            "products": sorted((sku[one], sku[other])),
            "expected_orders_together": round(expected, 2),
            "expected_lift": lift and round(lift, 3),
        }
        for expected, lift, one, other in sorted(found, key=lambda pair: (-pair[0], pair[2:]))
    ]


def _campaigns(shop: Shop) -> list[dict[str, Any]]:
    """Orders that each flight caused and those it is credited with: some would have come without it."""
    orders, lines, flights = shop.orders, shop.lines, shop.seasons.flights
    delivered = orders.fate == DELIVERED
    caused = np.bincount(orders.caused_by + 1, delivered, len(flights) + 1)[1:].astype(int)
    credited = np.bincount(orders.credited_to + 1, delivered, len(flights) + 1)[1:].astype(int)
    net = np.where(delivered[lines.order], lines.price * lines.quantity - lines.discount, 0)
    revenue = np.bincount(orders.caused_by[lines.order] + 1, net, len(flights) + 1)[1:].astype(np.int64)
    cost = np.bincount(shop.ad_days.flight, shop.ad_days.cost, len(flights)).astype(np.int64)
    return [
        {
            "campaign_id": flight.code,
            "channel": MEDIA[flight.medium].channel,
            "regions": [REGIONS[region] for region in flight.regions],
            "first_date": _day(shop, flight.first),
            "last_date": _day(shop, flight.last),
            "incremental_orders": int(caused[i]),
            "incremental_revenue": decimal_text(int(revenue[i])),
            "credited_orders": int(credited[i]),
            "cost_amount": decimal_text(int(cost[i])),
            "spend_factor": flight.pressure,
            "lift": flight.lift,
        }
        for i, flight in enumerate(flights)
    ]


def _experiments(shop: Shop) -> list[dict[str, Any]]:
    return [
        {
            "experiment_id": trial.experiment.code,
            "first_date": _day(shop, trial.first),
            "last_date": _day(shop, trial.last),
            "uplift": {
                arm: dict(zip(AGE_BANDS, uplift, strict=True))
                for arm, uplift in zip(trial.experiment.arms, trial.experiment.uplift, strict=True)
            },
            "customers": np.bincount(trial.arm, minlength=len(trial.experiment.arms)).tolist(),
        }
        for trial in shop.trials
    ]


def _drift(shop: Shop) -> dict[str, Any] | None:
    """What changed and when; the age of new customers as drawn."""
    seasons, customers = shop.seasons, shop.customers
    if seasons.drift_day >= seasons.days:
        return None
    day = customers.registered // SECONDS

    def ages(who: np.ndarray) -> dict[str, float]:
        counts = np.bincount(customers.age_band[who], minlength=len(AGE_BANDS))
        return dict(zip(AGE_BANDS, np.round(counts / max(counts.sum(), 1), 4).tolist(), strict=True))

    return {
        "from": _day(shop, seasons.drift_day),
        "category_demand_factor": {c.code: c.drift for c in CATEGORIES if c.drift != 1},
        # Lines that follow a customer's favourite category do not drift.
        "category_share_factor": {
            c.code: round((1 - FAVOURITE_SHARE) * c.drift + FAVOURITE_SHARE, 4) for c in CATEGORIES if c.drift != 1
        },
        "age_group_of_new_customers_before": ages((day >= 0) & (day < seasons.drift_day)),
        "age_group_of_new_customers_after": ages(day >= seasons.drift_day),
    }
