"""How many people start their days in a row on which weekday, so that orders are packed on the day they come.

An integer programme over the week, solved by scipy's HiGHS; demand is a quantile of what the newest weeks brought per weekday.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.decision_rules import Staffing
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of
from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

READS = ("gold.fct_orders",)
SELECTS = ("orders_by_day",)
WEEK = 7
MISSING = (
    "`decisions: staffing:` in source.yml lacks orders_per_person_day, cost_per_person_day and service_level: how many orders "
    "a person packs in a day, what that day costs, and how often all shall be packed"
)
#: Draws of weeks for intervals.
_DRAWS, _SEED = 100, 1


def plan_week(needed: Sequence[float], days_in_a_row: int = 5, *, whole: bool = True) -> tuple[Floats, float]:
    """The fewest people who, each working so many days in a row and then off, are enough on every weekday.

    Args:
        needed: people needed on each of seven weekdays.
        days_in_a_row: 1 to 7.
        whole: only whole people; else the relaxed programme, a lower bound.

    Returns:
        How many start their days on each weekday, and how many that are in all.

    Raises:
        InputError: the solver found no plan (it always does for finite needs).
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    on_duty = np.zeros((WEEK, WEEK))
    for first in range(WEEK):
        on_duty[[(first + n) % WEEK for n in range(days_in_a_row)], first] = 1
    found = milp(
        np.ones(WEEK),
        constraints=LinearConstraint(on_duty, lb=np.asarray(needed, float)),
        integrality=np.full(WEEK, int(whole)),
        bounds=Bounds(0, np.inf),
    )
    if found.status != 0:
        raise InputError(f"no staffing plan was found: {found.message}", where="staffing", fix="look at the demand")
    starts = np.round(found.x) if whole else found.x
    return starts, float(starts.sum())


def on_duty(starts: Floats, days_in_a_row: int) -> Floats:
    """People at work on each weekday, from how many start on each."""
    return np.array([sum(starts[(day - n) % WEEK] for n in range(days_in_a_row)) for day in range(WEEK)])


def decide_staffing(con: DuckDBPyConnection, rules: Staffing | None) -> Decided:
    """The plan of a week: people starting and on duty per weekday, from the demand of the newest weeks."""
    if rules is None:
        return refused([MISSING])
    counted = dict(rows_of(con, "orders_by_day").fetchall())
    weeks = whole_weeks(counted, rules.weeks)
    if len(weeks) < rules.weeks:
        return refused([f"{len(weeks)} whole weeks of orders; `staffing: weeks:` asks for {rules.weeks}"])
    rows, saved = staffing_rows(weeks, rules)
    low, high = np.quantile(saved[1:], [0.025, 0.975])
    people = sum(row["people_starting"] for row in rows)
    return Decided(
        "made",
        f"{people:,} people a week, by weekday",
        rows,
        assumptions=f"demand goes on as in the last {rules.weeks} weeks; a person packs {rules.orders_per_person_day:g} orders a "
        f"day and works {rules.days_in_a_row} days in a row; value against as many people every day as the busiest weekday "
        "needs; 95 % interval over weeks drawn again",
        value=float(saved[0]), low=min(float(low), float(saved[0])), high=max(float(high), float(saved[0])),
        unit="currency a week",
        made_from=("gold.fct_orders where is_counted and order_date is not null",),
    )  # fmt: skip


def whole_weeks(counted: dict[date, int], wanted: int) -> NDArray[np.int64]:
    """Orders by week (Monday to Sunday) and weekday, of the newest whole weeks, at most `wanted`; days without are 0."""
    if not counted:
        return np.zeros((0, WEEK), np.int64)
    first, last = min(counted), max(counted)
    end = last - timedelta(days=(last.weekday() + 1) % WEEK)  # a Sunday
    begin = first + timedelta(days=-first.weekday() % WEEK)
    weeks = min(max(((end - begin).days + 1) // WEEK, 0), wanted)
    start = end - timedelta(days=weeks * WEEK - 1)
    days = [counted.get(start + timedelta(days=n), 0) for n in range(weeks * WEEK)]
    return np.array(days, np.int64).reshape(weeks, WEEK)


def staffing_rows(weeks: NDArray[np.int64], rules: Staffing) -> tuple[list[dict[str, Any]], Floats]:
    """The plan's rows, and what it saves a week against the busiest weekday's people on all days.

    The first saving is that of the weeks as they were, the others those of weeks drawn again with replacement.
    """
    random = np.random.default_rng(_SEED)
    drawn = random.integers(0, len(weeks), (_DRAWS, len(weeks)))
    samples = np.concatenate([weeks[None], weeks[drawn]])
    quantiles = np.quantile(samples, rules.service_level, axis=1, method="inverted_cdf")
    needed = np.ceil(quantiles / rules.orders_per_person_day)
    starts, _ = plan_week(needed[0], rules.days_in_a_row)
    at_work = on_duty(starts, rules.days_in_a_row)
    plain = np.ceil(WEEK * needed.max(axis=1) / rules.days_in_a_row) * rules.days_in_a_row
    cost = rules.cost_per_person_day
    best = [plan_week(need, rules.days_in_a_row)[1] * rules.days_in_a_row for need in _distinct(needed)]
    known = dict(zip(map(tuple, _distinct(needed)), best, strict=True))
    saved = np.array([(p - known[tuple(n)]) * cost for p, n in zip(plain, needed, strict=True)])
    low, high = np.quantile(needed[1:], [0.025, 0.975], axis=0)
    capacity = at_work * rules.orders_per_person_day
    late = np.maximum(weeks - capacity, 0).mean(axis=0)
    rows = [
        {
            "weekday": day + 1, "orders_mean": float(weeks[:, day].mean()), "orders_quantile": float(quantiles[0, day]),
            "people_needed": int(needed[0, day]), "people_needed_low": int(min(low[day], needed[0, day])),
            "people_needed_high": ceil(max(high[day], needed[0, day])), "people_starting": int(starts[day]),
            "people_on_duty": int(at_work[day]), "orders_left_over": float(late[day]),
            "days_packed_share": float((weeks[:, day] <= capacity[day]).mean()), "cost_amount": float(at_work[day] * cost),
            "weeks": len(weeks),
        }
        for day in range(WEEK)
    ]  # fmt: skip
    return rows, saved


def _distinct(needed: Floats) -> Floats:
    return np.unique(needed, axis=0)
