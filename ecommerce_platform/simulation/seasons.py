"""When the shop sells: weekly and yearly rhythm, growth, sales, strange days and the load on the warehouse.

Only days live here. Who buys, and what, is decided elsewhere in proportion to these weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from ecommerce_platform.simulation.advertising import Flight, flight_of_day
from ecommerce_platform.simulation.economy import Economy
from ecommerce_platform.simulation.randomness import Rng, pick

SECONDS = 86_400

#: Monday to Sunday.
_WEEK = (1.08, 1.03, 1.0, 0.98, 0.94, 0.88, 1.09)
#: January to December; the fourth quarter peaks.
_YEAR = (0.90, 0.84, 0.90, 0.92, 0.93, 0.88, 0.90, 0.88, 0.96, 1.08, 1.42, 1.46)
#: Relative number of orders in each hour of the day.
_HOURS = (6, 3, 2, 1, 1, 2, 6, 14, 24, 33, 38, 40, 41, 38, 38, 40, 43, 47, 52, 60, 66, 58, 36, 16)
GROWTH_PER_YEAR = 0.25
#: What strange days make of demand, in turn: a mention on television, the shop down for most of the day.
_STRANGE = (2.6, 0.2, 3.0)
_DAYS_PER_STRANGE = 120
#: Shops of fewer days have no drift.
_DRIFT_FROM_DAYS = 120
_DRIFT_AT = 0.6


@dataclass(frozen=True)
class Sale:
    """A period with reduced prices; `first` and `last` are days counted from the shop's first day."""

    code: str
    first: int
    last: int
    depth: float
    lift: float


@dataclass(frozen=True)
class Phases:
    """Stretches of days within which products are bought in the same proportions; arrays are per phase."""

    #: Index of the month, from the shop's first.
    month: np.ndarray
    #: Index of the sale, -1 for none.
    sale: np.ndarray
    drifted: np.ndarray
    of_day: np.ndarray


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
    sales: tuple[Sale, ...]
    #: Index into `sales` by day of the shop, -1 on ordinary days.
    sale_of_day: np.ndarray
    flights: tuple[Flight, ...]
    #: Index into `flights` by day of the shop, -1 where none runs.
    flight_of_day: np.ndarray
    economy: Economy
    #: Day → what it made of demand, for days on which something strange happened.
    strange_days: dict[int, float]
    #: Day from which tastes and the age of new customers are different; `days` if they never are.
    drift_day: int
    phases: Phases
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


def make_seasons(
    rng: Rng, strange: Rng, start: date, days: int, economy: Economy, flights: tuple[Flight, ...]
) -> Seasons:
    """The rhythm of a shop that delivers `days` days from `start` on.

    Args:
        rng: decides how much ordinary days differ.
        strange: decides which days are strange.
        start: first day.
        days: how many days.
        economy: whose mood moves demand.
        flights: advertising; its effect is not part of the rhythm.
    """
    burn_in = min(365, 1 + days // 2)
    beyond = 40  # parcels are still on their way after the last day
    all_days = [start + timedelta(days=i) for i in range(-burn_in, days + beyond)]
    demand = np.array([_WEEK[d.weekday()] * _within_year(d) * economy.factor(d) for d in all_days])
    demand *= rng.lognormal(0, 0.05, len(all_days))

    sales = _sales(start, days)
    sale_of_day = np.full(days, -1)
    for index, sale in enumerate(sales):
        sale_of_day[max(sale.first, 0) : sale.last + 1] = index
        demand[max(sale.first + burn_in, 0) : sale.last + burn_in + 1] *= sale.lift
    strange_days = _strange_days(strange, sale_of_day)
    for day, factor in strange_days.items():
        demand[burn_in + day] *= factor

    week = np.convolve(np.pad(demand, (6, 0), mode="edge"), np.ones(7) / 7, mode="valid")
    load = np.maximum(week[burn_in:] / np.median(week), 0.8)

    demand = demand[: burn_in + days]
    demand = demand / demand.mean()
    growth = 1 + GROWTH_PER_YEAR * np.arange(-burn_in, days) / 365
    delivered = all_days[burn_in : burn_in + days]
    month_of_day = np.array([(d.year - start.year) * 12 + d.month - start.month for d in delivered])
    first_days = [i for i, d in enumerate(delivered) if i == 0 or d.day == 1]
    drift_day = int(days * _DRIFT_AT) if days >= _DRIFT_FROM_DAYS else days
    return Seasons(
        start=start,
        days=days,
        burn_in=burn_in,
        demand=demand,
        acquisition=demand * growth,
        load=load,
        sales=sales,
        sale_of_day=sale_of_day,
        flights=flights,
        flight_of_day=flight_of_day(flights, days),
        economy=economy,
        strange_days=strange_days,
        drift_day=drift_day,
        phases=_phases(month_of_day, sale_of_day, drift_day),
        month_of_day=month_of_day,
        calendar_month=np.array([delivered[i].month - 1 for i in first_days]),
        catalogue_days=np.array(first_days),
    )


def _phases(month_of_day: np.ndarray, sale_of_day: np.ndarray, drift_day: int) -> Phases:
    drifted = np.arange(len(month_of_day)) >= drift_day
    days = np.stack([month_of_day, sale_of_day, drifted])
    phases, of_day = np.unique(days, axis=1, return_inverse=True)
    return Phases(phases[0], phases[1], phases[2].astype(bool), np.ravel(of_day))


def _strange_days(rng: Rng, sale_of_day: np.ndarray) -> dict[int, float]:
    """Days outside sales with their factors, at most one in each stretch of `_DAYS_PER_STRANGE` days."""
    found = {}
    for number in range(len(sale_of_day) // _DAYS_PER_STRANGE):
        stretch = np.arange(number * _DAYS_PER_STRANGE + 20, (number + 1) * _DAYS_PER_STRANGE - 20)
        ordinary = stretch[sale_of_day[stretch] < 0]
        if len(ordinary):
            found[int(rng.choice(ordinary))] = _STRANGE[number % len(_STRANGE)]
    return found


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


def _sales(start: date, days: int) -> tuple[Sale, ...]:
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
                found.append(Sale(f"{name}-{year}", begin, begin + length - 1, depth, lift))
    return tuple(found)
