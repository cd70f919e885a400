"""The shop's experiments as its tables know them: persons, their arms and their orders; the rows of `ml.experiment_results`.

How arms are compared is in `experiments.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.experiment_plan import METRICS, ExperimentPlan, ExperimentPlans
from ecommerce_platform.decisions.experiments import Reading, Units, analyse
from ecommerce_platform.decisions.recommendation import Decided, refused

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

READS = ("silver.experiment_assignments", "silver.customer_identities", "gold.fct_orders")
#: Days in which outcomes of experiments without a plan count.
DEFAULT_WINDOW = 90
CONTROLS = ("control", "a", "baseline", "placebo")

#: One row per experiment, person and arm; a person's records in one arm are one unit, from the first assignment on.
_UNITS = """
with assigned as (
    select a.experiment_id, coalesce(i.person_id, a.customer_id) as person_id, a.arm, min(a.assigned_at) as assigned_at
    from silver.experiment_assignments as a
    left join silver.customer_identities as i on a.customer_id = i.customer_id
    group by 1, 2, 3
), placed as (
    select person_id, ordered_at, revenue_amount, profit_amount from gold.fct_orders
    where is_counted and person_id in (select person_id from assigned)
)
select
    u.experiment_id, u.person_id, u.arm, u.assigned_at,
    count(*) filter (where o.ordered_at >= u.assigned_at) as orders,
    coalesce(sum(o.revenue_amount) filter (where o.ordered_at >= u.assigned_at), 0)::double as revenue,
    coalesce(sum(o.profit_amount) filter (where o.ordered_at >= u.assigned_at), 0)::double as profit,
    count(*) filter (where o.ordered_at < u.assigned_at) as orders_before,
    coalesce(sum(o.revenue_amount) filter (where o.ordered_at < u.assigned_at), 0)::double as revenue_before,
    coalesce(sum(o.profit_amount) filter (where o.ordered_at < u.assigned_at), 0)::double as profit_before
from assigned as u
inner join _windows as w on u.experiment_id = w.experiment_id
left join placed as o on u.person_id = o.person_id
    and o.ordered_at >= u.assigned_at - to_days(w.days) and o.ordered_at < u.assigned_at + to_days(w.days)
group by 1, 2, 3, 4
order by 1, 2, 3
"""
ARMS = """
select experiment_id, list(distinct arm order by arm) as arms, min(assigned_at) as first_at, max(assigned_at) as last_at
from silver.experiment_assignments group by 1 order by 1
"""
ORDERS = """
select min(ordered_at), max(ordered_at), coalesce(sum(cost_known_lines), 0) > 0 from gold.fct_orders where is_counted
"""


def decide_experiments(con: DuckDBPyConnection, plans: ExperimentPlans) -> Decided:
    """Every experiment of the shop, read as planned or, without a plan, with defaults that are labelled exploratory."""
    known = con.execute(ARMS).fetchall()
    if not known:
        return refused(["the source maps no experiment_assignments (who was put into which arm, and when)"])
    first, last, costs = con.execute(ORDERS).fetchall()[0]
    if last is None:
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

    con.register("_windows", pl.DataFrame({"experiment_id": list(windows), "days": list(windows.values())}).to_arrow())
    try:
        return con.sql(_UNITS).pl()
    finally:
        con.unregister("_windows")


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
