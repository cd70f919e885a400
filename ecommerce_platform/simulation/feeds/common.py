"""What all feeds need: their faults, and the numbers by which the shop's systems call things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.simulation.faults import choose_faults
from ecommerce_platform.simulation.formats import numbered, where
from ecommerce_platform.simulation.people import NEWSLETTER
from ecommerce_platform.simulation.randomness import stream
from ecommerce_platform.simulation.simulate import Shop

if TYPE_CHECKING:
    import polars as pl


def faults_of(shop: Shop, table: str, day: np.ndarray, dirty_share: float) -> np.ndarray:
    """Fault codes of a raw table's records, given their days of delivery."""
    return choose_faults(stream(shop.seed, f"faults {table}"), table, day, dirty_share)


def customer_numbers(system: int, record: np.ndarray) -> pl.Series:
    """The numbers of customer records as their system writes them; null for record -1.

    Web shop and CRM give the same numbers to different people: only with the system they say who is meant.
    """
    letter = "S" if system == NEWSLETTER else ""
    return where(numbered(letter, 1_000_000 + record), record >= 0)


def order_numbers(order: np.ndarray) -> pl.Series:
    """The numbers of orders; null for order -1."""
    return where(numbered("W", 20_000_000 + order), order >= 0)
