"""What is wrong with the shop's exports: which delivered records get which single fault.

Only the choice lives here. `drops` writes the faults into the files, `truth` counts what they must lead to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ecommerce_platform.simulation.randomness import Rng

#: Records a file must have for each line that cannot be parsed, so that no file counts as damaged.
RECORDS_PER_UNPARSABLE = 20


@dataclass(frozen=True)
class Fault:
    """One way for a record to be wrong.

    `rejected` faults put `value` into `column`; their `reason` is the reason_code due in silver.rejects.
    """

    kind: Literal["rejected", "unparsable", "duplicate"]
    reason: str | None = None
    column: str | None = None
    value: Any = None


def _rejected(reason: str, column: str, value: Any = None) -> Fault:
    return Fault("rejected", reason, column, value)


UNPARSABLE = Fault("unparsable")
DUPLICATE = Fault("duplicate")

#: The faults of each raw table; the first must be one that rejects.
#: Products keep their number (a full delivery that loses a number loses the product) and labels stay clean
#: (gold would show codes instead of names).
FAULTS: dict[str, tuple[Fault, ...]] = {
    "web_customers": (
        _rejected("not_convertible", "born", "1985-02-30"),
        _rejected("missing_required", "customer_no"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "crm_customers": (
        _rejected("not_convertible", "Geburtsdatum", "31.11.1970"),
        _rejected("missing_required", "Kundennummer"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "newsletter_subscribers": (
        _rejected("not_convertible", "opt_in_at", "last summer"),
        _rejected("missing_required", "subscriber_id"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "orders": (
        _rejected("not_convertible", "placed", "2024-13-45 10:00:00"),
        _rejected("missing_required", "order_no"),
        _rejected("missing_required", "placed"),
        _rejected("not_accepted", "state", "archived"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "order_items": (
        _rejected("out_of_range", "unit_price", -999),
        _rejected("missing_required", "sku"),
        DUPLICATE,
    ),
    "payments": (
        _rejected("not_convertible", "amount", "12,5O"),
        _rejected("missing_required", "method"),
        _rejected("out_of_range", "instalments", "-1"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "products": (
        _rejected("not_convertible", "price", "on request"),
        _rejected("out_of_range", "price", -9.99),
        DUPLICATE,
    ),
    "shipments": (
        _rejected("not_convertible", "handed_over", "31.02.2024 08:15"),
        _rejected("missing_required", "order_no"),
        _rejected("out_of_range", "freight_cost", "-4.90"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "reviews": (
        _rejected("not_convertible", "stars", "five"),
        _rejected("missing_required", "stars"),
        _rejected("out_of_range", "stars", "9"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "postal_codes": (
        _rejected("not_convertible", "lat", "n/a"),
        _rejected("missing_required", "zip"),
        _rejected("out_of_range", "lng", "-999.0"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "labels": (),
    "stock_counts": (
        _rejected("not_convertible", "BESTAND", "ca. 40"),
        _rejected("missing_required", "ARTNR"),
        _rejected("out_of_range", "MELDEBESTAND", "-5"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "returns": (
        _rejected("not_convertible", "Erstattung", "12.50 EUR"),
        _rejected("missing_required", "Bestellung"),
        _rejected("out_of_range", "Menge", "-1"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "campaigns": (
        _rejected("not_convertible", "budget", "to be agreed"),
        _rejected("out_of_range", "budget", -1.0),
        DUPLICATE,
    ),
    "ad_reports": (
        _rejected("not_convertible", "Cost", "--"),
        _rejected("missing_required", "Cost"),
        _rejected("out_of_range", "Clicks", "-7"),
        UNPARSABLE,
        DUPLICATE,
    ),
    "web_events": (
        _rejected("not_accepted", "event", "hover"),
        _rejected("missing_required", "session"),
        DUPLICATE,
    ),
    "experiments": (
        _rejected("not_convertible", "assigned_at", "2024-02-30T10:00:00"),
        UNPARSABLE,
        DUPLICATE,
    ),
    # Fields that are missing would be missing fields, so nothing required is left out here.
    "social": (
        _rejected("not_convertible", "posted", "13/45/2024 10:00 AM"),
        _rejected("out_of_range", "tone", 7.5),
        UNPARSABLE,
        DUPLICATE,
    ),
    "economy": (
        _rejected("not_convertible", "Wert", "k. A."),
        _rejected("missing_required", "Reihe"),
        UNPARSABLE,
        DUPLICATE,
    ),
}

#: Code of a record without fault; others are positions in the table's faults, from 1.
CLEAN = 0


def choose_faults(rng: Rng, table: str, day: np.ndarray, share: float) -> np.ndarray:
    """A fault code for each record of a table, `CLEAN` for all but about `share` of them.

    Args:
        rng: the stream to draw from.
        table: raw table.
        day: day of delivery of each record, ascending; records of one day make one file.
        share: probability of a fault per record.

    Returns:
        uint8, one per record.
    """
    kinds = FAULTS[table]
    codes = np.zeros(len(day), dtype=np.uint8)
    if not kinds or share <= 0:
        return codes
    faulty = np.flatnonzero(rng.random(len(day)) < share)
    codes[faulty] = 1 + rng.integers(0, len(kinds), len(faulty))
    if UNPARSABLE in kinds:
        broken = np.flatnonzero(codes == kinds.index(UNPARSABLE) + 1)
        first, last = np.searchsorted(day, day[broken]), np.searchsorted(day, day[broken], side="right")
        rank = np.arange(len(broken)) - np.searchsorted(day[broken], day[broken]) + 1
        too_many = (rank * RECORDS_PER_UNPARSABLE > last - first) | (broken == first)
        codes[broken[too_many]] = 1
    return codes


def is_kind(table: str, codes: np.ndarray, kind: str) -> np.ndarray:
    """Which records have a fault of that kind; one boolean per code."""
    lookup = np.array([False, *(fault.kind == kind for fault in FAULTS[table])])
    return lookup[codes]


def is_usable(table: str, codes: np.ndarray) -> np.ndarray:
    """Which records must become silver rows: those that are clean or merely delivered twice."""
    return ~is_kind(table, codes, "rejected") & ~is_kind(table, codes, "unparsable")
