"""Whom an experiment's arm moves most: `ml.uplift_scores`, and `ml.uplift_curves` that say how much to believe of them.

The learners are in `effects.py`, who was in which arm in `trials.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.experiment_plan import ExperimentPlans
from ecommerce_platform.decisions import trials
from ecommerce_platform.decisions.effects import Effects, Learners, Qini, cross_fit, qini, standardise
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of
from ecommerce_platform.decisions.statistics import sample_ratio_p
from ecommerce_platform.warehouse.frames import handed_in

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

READS = (*trials.READS, "gold.dim_customer")
SELECTS = (*trials.SELECTS, "persons_at_moments", "persons_of_last_year")
ROWS = (*trials.ROWS, "gold.dim_customer")
#: Units of an arm from which on effects per person are looked for.
FEWEST = 500
_AGES = 8
#: What folds learn from the same persons goes together, which a bootstrap over persons with their scores fixed does not see: over
#: shops whose experiments do nothing, Qini coefficients scatter 1.47 times as far as it says (47 arms).
WIDENED = 1.5


@dataclass(frozen=True)
class Arm:
    """One treated arm beside its control: persons, what was known of them before, and what they did."""

    experiment: str
    arm: str
    window_days: int
    person: list[str]
    known: pl.DataFrame
    treated: NDArray[np.bool_]
    orders: Floats
    #: Planned share of the treated among both.
    share: float


def read_arms(con: DuckDBPyConnection, plans: ExperimentPlans) -> tuple[list[Arm], list[str]]:
    """Every arm whose experiment is over, drawn as planned and large enough; and what is wrong with the others."""
    known = trials.assigned(con)
    if not known:
        return [], ["the source maps no experiment_assignments (who was put into which arm, and when)"]
    _, last, _ = trials.counted_orders(con)
    if last is None:
        return [], ["there is no counted order"]
    windows = {e: trials.plan_of(e, arms, plans)[0].outcome_window_days for e, arms, _, _ in known}
    units = trials.read_units(con, windows)
    found: list[Arm] = []
    wrong: list[str] = []
    for experiment, arms, _, end in known:
        plan, _ = trials.plan_of(experiment, arms, plans)
        mine = units.filter(units["experiment_id"] == experiment)
        mine = mine.filter(~mine["person_id"].is_duplicated())
        counts = dict(mine.group_by("arm").len().iter_rows())
        planned = [plan.shares.get(arm, 0) if plan.shares else 1.0 for arm in arms]
        sizes = [counts.get(arm, 0) for arm in arms]
        if plan.control not in arms or min(planned) <= 0 or min(sizes) < FEWEST:
            wrong.append(f"{experiment}: fewer than {FEWEST} persons in an arm, or no control")
        elif sample_ratio_p(sizes, planned) < plans.ratio_threshold:
            wrong.append(f"{experiment}: sample ratio mismatch")
        elif (last - end).days + 1 < plan.outcome_window_days:
            wrong.append(f"{experiment}: its outcome window is still open")
        else:
            shares = dict(zip(arms, planned, strict=True))
            known_before = features_at(con, mine.select("person_id", at=mine["assigned_at"]))
            both = mine.sort("person_id")
            found += [
                _arm(both, known_before, experiment, arm, plan.control, shares, plan.outcome_window_days)
                for arm in arms if arm != plan.control
            ]  # fmt: skip
    return found, wrong


def _arm(
    units: pl.DataFrame,
    known: pl.DataFrame,
    experiment: str,
    arm: str,
    control: str,
    shares: dict[str, float],
    days: int,
) -> Arm:
    among = units["arm"].is_in([arm, control])
    mine = units.filter(among)
    return Arm(
        experiment, arm, days, mine["person_id"].to_list(), known.filter(among), (mine["arm"] == arm).to_numpy(),
        mine["orders"].to_numpy().astype(np.float64),
        shares[arm] / (shares[arm] + shares[control]),
    )  # fmt: skip


def features_at(con: DuckDBPyConnection, moments: pl.DataFrame) -> pl.DataFrame:
    """What was known of persons at a moment each (`person_id`, `at`), sorted by person."""
    with handed_in(con, _moments=moments):
        return rows_of(con, "persons_at_moments").pl()


def persons_now(con: DuckDBPyConnection) -> pl.DataFrame:
    """What is known today of everybody who ordered within a year."""
    return features_at(con, rows_of(con, "persons_of_last_year").pl())


def design(known: pl.DataFrame, ages: list[str]) -> dict[str, Floats]:
    """Features of persons: what they did, their age group, and both together, for an arm may move whom it moves in proportion."""
    orders = np.log1p(known["orders"].to_numpy().astype(np.float64))
    columns = {
        "orders": orders,
        "lately": np.log1p(known["orders_90"].to_numpy().astype(np.float64)),
        "revenue": np.log1p(np.maximum(known["revenue"].to_numpy(), 0)),
        "recency": np.log1p(known["recency"].to_numpy()),
        "tenure": np.log1p(np.maximum(known["tenure"].to_numpy(), 0)),
    }
    group = known["age_group"].fill_null("").to_numpy()
    for age in ages:
        columns[f"is_{age}"] = (group == age).astype(np.float64)
        columns[f"orders_{age}"] = (group == age) * orders
    return columns


def age_groups(known: pl.DataFrame) -> list[str]:
    """The largest age groups; none where the source does not say."""
    counts = known["age_group"].drop_nulls().value_counts(sort=True)
    return sorted(counts["age_group"].head(_AGES).to_list()) if counts.height > 1 else []


def decide_uplift(con: DuckDBPyConnection, plans: ExperimentPlans) -> Decided:
    """Scores of everybody for the arms whose ranking is above noise, and curves of all arms that could be looked at."""
    arms, wrong = read_arms(con, plans)
    if not arms:
        return refused(wrong or ["no experiment has a treated arm"])
    now = persons_now(con)
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    said = []
    for arm, effects, ranked, rule in evaluate(arms):
        curves += _curves(arm, ranked, rule, effects)
        sure = ranked.low > 0
        said.append(
            f"{arm.experiment}/{arm.arm}: Qini {ranked.value:.4f} ({ranked.low:.4f} to {ranked.high:.4f}) orders a person, of "
            f"most orders first {rule.value:.4f}; finds {2.8 * ranked.error:.4f} with a chance of 80 %"
        )
        if sure:
            rows += scored(arm, now, arm.orders)
    assumptions = (
        f"what moved people then moves them now; per person over the experiment's window; intervals at {1 - 0.05 / len(arms):.1%}, "
        f"shared by {len(arms)} arms; cross-fitted scores"
    )
    status = "made" if rows else "abstained"
    reason = "; ".join([*said, *wrong])
    return Decided(status, reason, rows, assumptions, made_from=ROWS, beside={"ml.uplift_curves": curves})  # type: ignore[arg-type]


def evaluate(arms: list[Arm]) -> Iterator[tuple[Arm, Effects, Qini, Qini]]:
    """Each arm's cross-fitted effects, the Qini of the X-learner's ranking, and that of most orders first."""
    alpha = 0.05 / len(arms)
    for arm in arms:
        features, _ = standardise(design(arm.known, age_groups(arm.known)))
        effects = cross_fit(features, arm.treated, arm.orders, arm.share)
        rule = qini(arm.known["orders"].to_numpy().astype(np.float64), effects.score, alpha)
        yield arm, effects, qini(effects.x_learner, effects.score, alpha, widened=WIDENED), rule


def scored(arm: Arm, now: pl.DataFrame, outcome: Floats) -> list[dict[str, Any]]:
    """The rows of everybody, by learners fitted to the whole experiment."""
    ages = age_groups(arm.known)
    features, scale = standardise(design(arm.known, ages))
    models = Learners.fit(features, arm.treated, outcome, arm.share)
    today, _ = standardise(design(now, ages), scale)
    effect = models.effect(today)
    t_learner = models.treated.predict(today) - models.control.predict(today)
    rank = np.empty(len(effect), dtype=np.int64)
    rank[np.argsort(-effect, kind="stable")] = np.arange(1, len(effect) + 1)
    return [
        {"person_id": person, "experiment_id": arm.experiment, "arm": arm.arm, "uplift": float(effect[n]),
         "uplift_t": float(t_learner[n]), "priority": int(rank[n]), "window_days": arm.window_days}
        for n, person in enumerate(now["person_id"].to_list())
    ]  # fmt: skip


def _curves(arm: Arm, ranked: Qini, rule: Qini, effects: Effects) -> list[dict[str, Any]]:
    order = np.argsort(-effects.x_learner, kind="stable")
    groups = np.array_split(effects.score[order], 10)
    return [
        {
            "experiment_id": arm.experiment, "arm": arm.arm, "share": round(0.1 * (n + 1), 1), "persons": len(arm.person),
            "gain": float(ranked.curve[n]), "gain_low": float(ranked.curve_low[n]), "gain_high": float(ranked.curve_high[n]),
            "gain_of_rule": float(rule.curve[n]), "gain_at_random": float(ranked.curve[-1] * (n + 1) / 10),
            "uplift_of_group": float(groups[n].mean()), "qini": ranked.value, "qini_low": ranked.low, "qini_high": ranked.high,
            "qini_of_rule": rule.value, "detectable_qini": 2.8 * ranked.error,
        }
        for n in range(10)
    ]  # fmt: skip
