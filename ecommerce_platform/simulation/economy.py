"""The economy around the shop: a few monthly series, one of which moves its sales.

Which days a month's mood makes busy is applied in `seasons`; when the figures are published, in the feeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from ecommerce_platform.simulation.randomness import Rng

INDICATORS = ("consumer_confidence", "inflation_rate", "unemployment_rate")
#: Middle, spread and persistence from month to month of each series.
_SERIES = ((97.0, 5.0, 0.55), (2.4, 0.6, 0.85), (5.9, 0.3, 0.92))
#: One point more of consumer confidence makes demand greater by this share.
CONFIDENCE_EFFECT = 0.015
#: By how much the first figure of a month is off, in spreads of its series.
_REVISION = 0.15
#: Months before the shop's first that are known when it opens.
HISTORY_MONTHS = 12


@dataclass(frozen=True)
class Economy:
    """Monthly figures from `HISTORY_MONTHS` before the shop's first month on; arrays are months × indicators."""

    #: First day of each month.
    months: tuple[date, ...]
    #: As first published, and as revised a month later; to one decimal.
    first: np.ndarray
    final: np.ndarray

    def factor(self, day: date) -> float:
        """What the mood of that day's month makes of demand; 1 outside the months known."""
        index = (day.year - self.months[0].year) * 12 + day.month - self.months[0].month
        if not 0 <= index < len(self.months):
            return 1.0
        return float(np.exp(CONFIDENCE_EFFECT * (self.final[index, 0] - _SERIES[0][0])))


def make_economy(rng: Rng, start: date, days: int) -> Economy:
    """The economy before and during a shop that delivers `days` days from `start` on."""
    size = HISTORY_MONTHS + days // 28 + 2
    first = date(start.year - 1, start.month, 1)
    months = tuple(
        date(first.year + (first.month - 1 + i) // 12, (first.month - 1 + i) % 12 + 1, 1) for i in range(size)
    )
    middle, spread, persistence = (np.array(values) for values in zip(*_SERIES, strict=True))
    shocks = rng.normal(0, 1, (size, len(INDICATORS)))
    level = np.empty_like(shocks)
    level[0] = shocks[0]
    for month in range(1, size):
        level[month] = persistence * level[month - 1] + np.sqrt(1 - persistence**2) * shocks[month]
    final = np.round(middle + spread * level, 1)
    noise = _REVISION * spread * rng.normal(0, 1, final.shape)
    return Economy(months, np.round(final + noise, 1), final)
