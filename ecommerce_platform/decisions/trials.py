"""The shop's experiments as its tables know them: persons, their arms and their orders; the rows of `ml.experiment_results`.

How arms are compared is in `experiments.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.experiment_plan import METRICS, ExperimentPlan, ExperimentPlans
from ecommerce_platform.decisions.experiments import Reading, Units, analyse
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of
from ecommerce_platform.warehouse.frames import handed_in

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

READS = ("silver.experiment_assignments", "silver.customer_identities", "gold.fct_orders")
SELECTS = ("experiment_arms", "experiment_units", "counted_orders")
#: The rows of `READS` that count.
ROWS = (*READS[:2], "gold.fct_orders where is_counted and person_id is not null")
#: Days in which outcomes of experiments without a plan count.
DEFAULT_WINDOW = 90
CONTROLS = ("control", "a", "baseline", "placebo")


def decide_experiments(con: DuckDBPyConnection, plans: ExperimentPlans) -> Decided:
    """Every experiment of the shop, read as planned or, without a plan, with defaults that are labelled exploratory."""
    known = assigned(con)
    if not known:
        return refused(["the source maps no experiment_assignments (who was put into which arm, and when)"])
    first, last, costs = counted_orders(con)
    if first is None or last is None:
        return refused(["there is no counted order after any assignment"])
    units = read_units(con, {e: plan_of(e, arms, plans)[0].outcome_window_days for e, arms, _, _ in known})
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    for experiment, arms, begin, end in known:
        plan, planned = plan_of(experiment, arms, plans)
        if plan.control not in arms:
            skipped.append(f"{experiment} has no arm {plan.control!r}; say `control:` in experiments.yml")
            continue
        frame = units.filter(units["experiment_id"] == experiment)
        reading = Reading(plan, planned, plans.alpha, plans.ratio_threshold)
        # Without as much history as the window is long, what is known of the time before differs in length, not in kind.
        found = analyse(units_of(frame, arms, costs=costs, before=first < begin), reading)
        shared = {
            "experiment_id": experiment, "reading": "planned" if planned else "exploratory", "assigned_from": begin,
            "assigned_until": end, "window_days": plan.outcome_window_days,
            "is_complete": (last - end).days + 1 >= plan.outcome_window_days, "correction": "holm",
        }  # fmt: skip
        rows += [shared | row for row in found]
    return _summed_up(rows, skipped)


def assigned(con: DuckDBPyConnection) -> list[tuple[str, list[str], datetime, datetime]]:
    """Every experiment, its arms in order, and its first and last assignment."""
    found: dict[tuple[str, datetime, datetime], list[str]] = {}
    for experiment, arm, first, last in rows_of(con, "experiment_arms").fetchall():
        found.setdefault((experiment, first, last), []).append(arm)
    return [(experiment, arms, first, last) for (experiment, first, last), arms in found.items()]


def counted_orders(con: DuckDBPyConnection) -> tuple[datetime | None, datetime | None, bool]:
    """First and last counted order (None without any), and whether it is known what orders cost."""
    first, last, costs = rows_of(con, "counted_orders").fetchall()[0]
    return first, last, costs


def _summed_up(rows: list[dict[str, Any]], skipped: list[str]) -> Decided:
    if not rows:
        return refused(skipped or ["no experiment has a control and another arm"])
    primary = [row for row in rows if row["role"] == "primary"]
    found = [f"{r['experiment_id']}/{r['arm']} {r['verdict']}" for r in primary]
    return Decided(
        "made",
        "; ".join([*found, *skipped]),
        rows,
        assumptions="arms were drawn at random; what one unit gets does not change what others do; intervals at 95 % unless "
        "experiments.yml says otherwise, of each comparison by itself; verdicts after Holm",
        made_from=ROWS,
    )


def plan_of(experiment: str, arms: list[str], plans: ExperimentPlans) -> tuple[ExperimentPlan, bool]:
    """The experiment's plan, or one of defaults: equal shares, orders first, and whether it was planned."""
    if experiment in plans.experiments:
        return plans.experiments[experiment], True
    control = next((arm for arm in arms if arm.lower() in CONTROLS), arms[0])
    others = tuple(m for m in METRICS if m != "orders")
    return ExperimentPlan(control=control, secondary=others, outcome_window_days=DEFAULT_WINDOW), False


def read_units(con: DuckDBPyConnection, windows: dict[str, int]) -> pl.DataFrame:
    """One row per experiment, person and arm with what the person ordered in the window after and before the assignment."""
    import polars as pl

    days = pl.DataFrame({"experiment_id": list(windows), "days": list(windows.values())})
    with handed_in(con, _windows=days):
        return rows_of(con, "experiment_units").pl()


def units_of(frame: pl.DataFrame, arms: list[str], *, costs: bool, before: bool) -> Units:
    """Persons in one arm, as arrays; those in several are counted and left out."""
    import polars as pl

    drawn = dict(frame.group_by("arm").len().iter_rows())
    once = frame.filter(pl.len().over("person_id") == 1)
    crossed = frame["person_id"].n_unique() - once.height
    names = [n for n in ("orders", "revenue", "profit") if costs or n != "profit"]
    outcomes = {n: once[n].to_numpy().astype(np.float64) for n in names}
    covariates = {n: once[f"{n}_before"].to_numpy().astype(np.float64) for n in names} if before else {}
    outcomes["converted"] = (outcomes["orders"] > 0).astype(np.float64)
    if before:
        covariates["converted"] = (covariates["orders"] > 0).astype(np.float64)
    return Units(once["arm"].to_numpy(), outcomes, covariates, {a: drawn.get(a, 0) for a in arms}, crossed)
