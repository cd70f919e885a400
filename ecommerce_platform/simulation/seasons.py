"""When the shop sells: weekly and yearly rhythm, growth, campaigns and the load they put on the warehouse.

Only days live here. Who buys, and what, is decided elsewhere in proportion to these weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from ecommerce_platform.simulation.randomness import Rng, pick

SECONDS = 86_400

#: Monday to Sunday.
_WEEK = (1.08, 1.03, 1.0, 0.98, 0.94, 0.88, 1.09)
#: January to December; the fourth quarter peaks.
_YEAR = (0.90, 0.84, 0.90, 0.92, 0.93, 0.88, 0.90, 0.88, 0.96, 1.08, 1.42, 1.46)
#: Relative number of orders in each hour of the day.
_HOURS = (6, 3, 2, 1, 1, 2, 6, 14, 24, 33, 38, 40, 41, 38, 38, 40, 43, 47, 52, 60, 66, 58, 36, 16)
GROWTH_PER_YEAR = 0.25


@dataclass(frozen=True)
class Campaign:
    """A period with reduced prices; `first` and `last` are days counted from the shop's first day."""

    code: str
    first: int
    last: int
    depth: float
    lift: float


@dataclass(frozen=True)
class Seasons:
    """The days of the simulation, the burn-in before the first delivered day included.

    Arrays over all simulated days start `burn_in` days before `start`; `day` elsewhere counts from `start`.
    """

    start: date
    days: int
    burn_in: int
    #: Demand of each simulated day, mean about 1, without growth.
    demand: np.ndarray
    #: New customers of each simulated day, relative: demand and growth.
    acquisition: np.ndarray
    #: Busyness of the warehouse by day of the shop (with some days beyond the end), 1 in ordinary weeks.
    load: np.ndarray
    campaigns: tuple[Campaign, ...]
    #: Index into `campaigns` by day of the shop, -1 on ordinary days.
    campaign_of_day: np.ndarray
    #: Months since the first month, by day of the shop.
    month_of_day: np.ndarray
    #: Calendar month (0 = January) of each month of the shop.
    calendar_month: np.ndarray
    #: Days on which the whole catalogue is delivered: day one and each first of a month.
    catalogue_days: np.ndarray

    @property
    def weekday_of_start(self) -> int:
        """Weekday of day 0; Monday is 0."""
        return self.start.weekday()

    @property
    def months(self) -> int:
        """Calendar months that the delivered days touch."""
        return len(self.calendar_month)


def make_seasons(rng: Rng, start: date, days: int) -> Seasons:
    """The rhythm of a shop that delivers `days` days from `start` on."""
    burn_in = min(365, 1 + days // 2)
    beyond = 40  # parcels are still on their way after the last day
    all_days = [start + timedelta(days=i) for i in range(-burn_in, days + beyond)]
    demand = np.array([_WEEK[d.weekday()] * _within_year(d) for d in all_days])
    demand *= rng.lognormal(0, 0.05, len(all_days))

    campaigns = _campaigns(start, days)
    campaign_of_day = np.full(days, -1)
    for index, campaign in enumerate(campaigns):
        campaign_of_day[max(campaign.first, 0) : campaign.last + 1] = index
        demand[max(campaign.first + burn_in, 0) : campaign.last + burn_in + 1] *= campaign.lift

    week = np.convolve(np.pad(demand, (6, 0), mode="edge"), np.ones(7) / 7, mode="valid")
    load = np.maximum(week[burn_in:] / np.median(week), 0.8)

    demand = demand[: burn_in + days]
    demand = demand / demand.mean()
    growth = 1 + GROWTH_PER_YEAR * np.arange(-burn_in, days) / 365
    delivered = all_days[burn_in : burn_in + days]
    month_of_day = np.array([(d.year - start.year) * 12 + d.month - start.month for d in delivered])
    first_days = [i for i, d in enumerate(delivered) if i == 0 or d.day == 1]
    return Seasons(
        start=start,
        days=days,
        burn_in=burn_in,
        demand=demand,
        acquisition=demand * growth,
        load=load,
        campaigns=campaigns,
        campaign_of_day=campaign_of_day,
        month_of_day=month_of_day,
        calendar_month=np.array([delivered[i].month - 1 for i in first_days]),
        catalogue_days=np.array(first_days),
    )


def seconds_of_day(rng: Rng, size: int) -> np.ndarray:
    """Seconds after midnight, spread over the day as shoppers are; int64."""
    return pick(rng, _HOURS, size) * 3600 + rng.integers(0, 3600, size)


def _within_year(day: date) -> float:
    """The yearly rhythm, gliding from the middle of one month to the middle of the next."""
    if day.month == 12 and 24 <= day.day <= 26:
        return 0.45
    position = day.month - 1 + (day.day - 15) / 30.5
    smooth = float(np.interp(position, np.arange(-1, 13), (_YEAR[-1], *_YEAR, _YEAR[0])))
    if day.month == 12 and day.day > 20:
        return smooth * 0.7
    return smooth


def _campaigns(start: date, days: int) -> tuple[Campaign, ...]:
    found = []
    for year in range(start.year, (start + timedelta(days=days)).year + 1):
        # The Friday after the fourth Thursday of November.
        november = date(year, 11, 1)
        black_friday = november + timedelta(days=(3 - november.weekday()) % 7 + 22)
        for name, first, length, depth, lift in (
            ("WINTER", date(year, 1, 8), 12, 0.20, 1.20),
            ("SPRING", date(year, 4, 2), 7, 0.12, 1.15),
            ("SUMMER", date(year, 7, 8), 14, 0.20, 1.20),
            ("SCHOOL", date(year, 8, 26), 8, 0.10, 1.10),
            ("BLACKWEEK", black_friday - timedelta(days=4), 8, 0.25, 1.45),
            ("ADVENT", date(year, 12, 8), 6, 0.10, 1.10),
        ):
            begin = (first - start).days
            if begin + length > 0 and begin < days:
                found.append(Campaign(f"{name}-{year}", begin, begin + length - 1, depth, lift))
    return tuple(found)
