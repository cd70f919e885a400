"""Which customers are offered what so that they stay: `ml.retention_actions`, and `ml.retention_policies` that say what it is worth.

Whom an offer moves is known from `ml.uplift_scores`, which are empty where an experiment shows nothing; allotting a budget and the
value of a policy are in `policy.py`. Who is likely to leave and what they are worth stand beside an offer as its circumstances: offers
go to whom they move, not to whom is likeliest to leave (Ascarza 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.decision_rules import Retention
from ecommerce_platform.contracts.experiment_plan import ExperimentPlans
from ecommerce_platform.decisions import uplift
from ecommerce_platform.decisions.effects import standardise
from ecommerce_platform.decisions.policy import (
    PolicyValue,
    Terms,
    allot,
    choose,
    cross_fitted,
    effect_intervals,
    forecast,
    offer_cost,
    value_of,
)
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

READS = (*uplift.READS, "ml.uplift_scores", "ml.churn_scores", "ml.clv_scores")
SELECTS = (
    *uplift.SELECTS, "uplift_of_experiment", "circumstances", "profit_of_last_year", "persons_before", "usual_pace",
)  # fmt: skip
MISSING = (
    "`decisions: retention:` in source.yml lacks budget, experiment and actions: what offers may cost together, whose arms they "
    "are, and what each costs"
)
#: Effective persons below which a policy's value is not estimated.
FEWEST = 100
_DRAWS = 100


@dataclass(frozen=True)
class Trial:
    """Arms of one experiment side by side, the control first; `names[arm]` is an arm's name."""

    names: list[str]
    person: list[str]
    known: pl.DataFrame
    arm: NDArray[np.int64]
    orders: Floats
    shares: Floats


@dataclass(frozen=True)
class Before:
    """Customers as they were one window of the experiment before the newest order, and what they ordered since.

    `pace` is what the shop sells in a usual window beside what it sold in this one.
    """

    known: pl.DataFrame
    orders: Floats
    pace: float


def decide_retention(con: DuckDBPyConnection, plans: ExperimentPlans, rules: Retention | None) -> Decided:
    """Offers within the budget, if those whom the policy reaches surely bring more than they cost."""
    arms, wrong = uplift.read_arms(con, plans)
    missing = [MISSING] if rules is None else []
    mine = [a for a in arms if rules and a.experiment == rules.experiment and a.arm in rules.actions]
    margin, _ = rows_of(con, "profit_of_last_year").fetchall()[0]
    if margin is None or margin <= 0:
        missing.append("orders of the last year have no profit, or the source maps no unit_cost")
    if not arms:
        missing += wrong or ["no experiment has a treated arm"]
    elif rules and not mine:
        missing.append(
            f"{rules.experiment} has none of the arms {', '.join(rules.actions)} ready to be read; {'; '.join(wrong)}"
        )
    if missing or rules is None:
        return refused(missing)
    scores = rows_of(con, "uplift_of_experiment", experiment_id=rules.experiment).pl()
    mine = [a for a in mine if a.arm in set(scores["arm"])]
    if not mine:
        return Decided("abstained", "no arm's ranking of persons is above noise (ml.uplift_scores has no rows of them)")
    return list_actions(
        side_by_side(mine), uplift.persons_now(con), scores, rows_of(con, "circumstances").pl(), rules, float(margin),
        customers_before(con, mine[0].window_days),
    )  # fmt: skip


def customers_before(con: DuckDBPyConnection, days: int) -> Before | None:
    """Customers as they were so many days ago; None where there were none."""
    persons = rows_of(con, "persons_before", days=days).pl()
    pace = rows_of(con, "usual_pace", days=days).fetchall()[0][0]
    if persons.is_empty() or pace is None:
        return None
    known = uplift.features_at(con, persons.select("person_id", "at"))
    return Before(known, persons["since"].to_numpy().astype(np.float64), float(pace))


def side_by_side(arms: list[uplift.Arm]) -> Trial:
    """Arms of one experiment that share a control as one; shares are those among these arms."""
    import polars as pl

    control = ~arms[0].treated
    ratios = np.array([1.0, *(a.share / (1 - a.share) for a in arms)])
    parts = [(arms[0], control, 0), *((a, a.treated, n + 1) for n, a in enumerate(arms))]
    return Trial(
        ["control", *(a.arm for a in arms)],
        [p for a, among, _ in parts for p, taken in zip(a.person, among, strict=True) if taken],
        pl.concat([a.known.filter(pl.Series(among)) for a, among, _ in parts]),
        np.concatenate([np.full(int(among.sum()), n, dtype=np.int64) for _, among, n in parts]),
        np.concatenate([a.orders[among] for a, among, _ in parts]),
        ratios / ratios.sum(),
    )


def list_actions(
    trial: Trial,
    now: pl.DataFrame,
    scores: pl.DataFrame,
    circumstances: pl.DataFrame,
    rules: Retention,
    margin: float,
    before: Before | None = None,
) -> Decided:
    """The list of today's customers and what its policy would have brought in the experiment.

    Args:
        trial: the experiment's arms that have scores.
        now: today's customers, as `uplift.persons_now` gives them.
        scores: `person_id`, `arm`, `uplift`, `window_days` of today's customers.
        circumstances: `person_id`, `churn_probability`, `is_at_risk`, `expected_revenue`, `horizon_days`, where known.
        rules: budget and costs.
        margin: profit of an order, on average.
        before: customers of one window ago, to tell how much less such people order than the experiment's did; None takes them to
            order as much.
    """
    offers = [rules.actions[name] for name in trial.names[1:]]
    terms = Terms(
        margin, np.array([0.0, *(o.contact_cost for o in offers)]), np.array([0.0, *(o.voucher_cost for o in offers)])
    )
    ages = uplift.age_groups(trial.known)
    features, scale = standardise(uplift.design(trial.known, ages))
    today, _ = standardise(uplift.design(now, ages), scale)
    slower = 1.0
    if before is not None:
        then, _ = standardise(uplift.design(before.known, ages), scale)
        slower = _slower(trial, features, terms, then, before)
    # Who orders half as often is moved half as often: an extra order of the experiment is so many of today.
    margin, terms = margin * slower, replace(terms, margin=margin * slower)
    effect, cost = _today(trial, features, terms, now, today, scores)
    worth = effect * margin - cost
    given, price = allot(worth, cost, rules.budget)
    values = judged(trial, features, terms, price)
    beside = {"ml.retention_policies": _policies(rules.experiment, values)}
    found, days, offered = values["list"], int(scores["window_days"][0]), int((given > 0).sum())
    if not offered:
        return Decided("abstained", "no offer is expected to bring what it costs", beside=beside)
    said = _said(values, offered, now.height)
    if found.effective_size < FEWEST:
        few = (
            f"effective sample size below {FEWEST}: too few of the experiment are like those whom the list would reach"
        )
        return Decided("refused", f"{few}; {said}", beside=beside)
    if found.low <= 0:
        return Decided("abstained", f"not surely more than offering nothing: {said}", beside=beside)
    spread = _intervals(trial, features, today, given)
    rows = _rows(trial.names, now["person_id"].to_list(), given, (effect, worth, cost), spread, margin, circumstances)
    whole = offered / found.share_offered
    return Decided(
        "made", f"{said}; one more unit of budget brings {price:.2f}",
        [row | {"experiment_id": rules.experiment, "window_days": days} for row in rows],
        assumptions=_assumed(rules.experiment, margin, slower, days),
        value=found.doubly_robust * whole, low=found.low * whole, high=found.high * whole, unit=f"currency in {days} days",
        made_from=_made_from(rules.experiment), beside=beside,
    )  # fmt: skip


def _assumed(experiment: str, margin: float, slower: float, days: int) -> str:
    return (
        f"what moved people in {experiment} moves them now, in proportion to what they order: {slower:.2f} times as much as those of "
        f"the experiment did; an extra order of the experiment then brings {margin:.2f}, with an offer as without; over {days} days; a "
        "voucher is redeemed once by everybody who orders, also who would have anyway; value: doubly robust, of the experiment's persons "
        "whom the same rule reaches, times those reached now; intervals at 90 %"
    )


def _made_from(experiment: str) -> list[str]:
    mine = "where experiment_id = '" + experiment.replace("'", "''") + "'"
    whole = ("ml.churn_scores", "ml.clv_scores")
    return [f"{uplift.ROWS[0]} {mine}", *uplift.ROWS[1:], f"ml.uplift_scores {mine}", *whole]


def _said(values: Mapping[str, PolicyValue], offered: int, customers: int) -> str:
    found = values["list"]
    return (
        f"{offered:,} of {customers:,} customers; in the experiment the rule brings {found.doubly_robust:.3f} a person "
        f"({found.low:.3f} to {found.high:.3f}; by inverse propensity {found.ips:.3f}), everybody "
        f"{values['treat_all'].doubly_robust:.3f}, longest away first {values['longest_away'].doubly_robust:.3f}; "
        f"effective sample size {found.effective_size:.0f}"
    )


def _today(
    trial: Trial, features: Floats, terms: Terms, now: pl.DataFrame, today: Floats, scores: pl.DataFrame
) -> tuple[Floats, Floats]:
    """Extra orders and cost of every arm for today's customers; persons × arms each."""
    effect, cost = np.zeros((now.height, len(trial.names))), np.zeros((now.height, len(trial.names)))
    for n, name in enumerate(trial.names[1:], start=1):
        by_person = dict(scores.filter(scores["arm"] == name).select("person_id", "uplift").iter_rows())
        # Who has no score since the scores were made is not offered anything.
        effect[:, n] = [by_person.get(person, -np.inf) for person in now["person_id"].to_list()]
        cost[:, n] = offer_cost(features, trial.arm, trial.orders, terms, n, today)
    return effect, cost


def _slower(trial: Trial, features: Floats, terms: Terms, then: Floats, before: Before) -> float:
    """How many orders those whom the list reaches place now for each that the experiment's placed without an offer.

    Of people like today's customers, one window ago, whom the same rule would have reached, at the shop's usual pace.
    """
    reached = choose(*forecast(features, trial.arm, trial.orders, trial.shares, terms, then), 0.0) > 0
    worth, cost, _ = cross_fitted(features, trial.arm, trial.orders, trial.shares, terms)
    control = (choose(worth, cost, 0.0) > 0) & (trial.arm == 0)
    if min(reached.sum(), control.sum()) < FEWEST or not trial.orders[control].any():
        return 1.0
    return float(before.orders[reached].mean() * before.pace / trial.orders[control].mean())


def judged(trial: Trial, features: Floats, terms: Terms, price: float) -> dict[str, PolicyValue]:
    """The list's rule beside offering everybody the arm that is best for all, nobody anything, and as many of the longest away.

    Scores are cross-fitted: no person's own outcome decides what the rule gives them.
    """
    worth, cost, expected = cross_fitted(features, trial.arm, trial.orders, trial.shares, terms)
    ours = choose(worth, cost, price)
    best = np.int64(1 + np.argmax(worth[:, 1:].mean(axis=0)))
    away = np.zeros(len(ours), dtype=np.int64)
    longest = np.argsort(-trial.known["recency"].to_numpy(), kind="stable")
    away[longest[: int((ours > 0).sum())]] = best
    reward = terms.reward(trial.arm, trial.orders)
    policies = {
        "list": ours, "treat_all": np.full(len(ours), best), "treat_none": np.zeros(len(ours), dtype=np.int64), "longest_away": away,
    }  # fmt: skip
    return {name: value_of(policy, trial.arm, reward, trial.shares, expected) for name, policy in policies.items()}


def _policies(experiment: str, values: Mapping[str, PolicyValue]) -> list[dict[str, Any]]:
    return [
        {
            "experiment_id": experiment, "policy": name, "share_offered": v.share_offered, "gain_ips": v.ips, "gain": v.doubly_robust,
            "gain_low": v.low, "gain_high": v.high, "effective_sample_size": v.effective_size,
        }
        for name, v in values.items()
    ]  # fmt: skip


def _intervals(trial: Trial, features: Floats, today: Floats, given: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Ends of the interval of the extra orders of everybody's own offer; 0 without one."""
    low, high = np.zeros(len(given)), np.zeros(len(given))
    for n in range(1, len(trial.names)):
        mine = given == n
        if mine.any():
            low[mine], high[mine] = effect_intervals(
                features, trial.arm, trial.orders, trial.shares, today[mine], n, _DRAWS
            )
    return low, high


def _rows(
    names: list[str],
    persons: list[str],
    given: NDArray[np.int64],
    expected: tuple[Floats, Floats, Floats],
    spread: tuple[Floats, Floats],
    margin: float,
    circumstances: pl.DataFrame,
) -> list[dict[str, Any]]:
    effect, worth, cost = (table[np.arange(len(given)), given] for table in expected)
    known = {row["person_id"]: row for row in circumstances.iter_rows(named=True)}
    chosen = np.flatnonzero(given)
    rows = []
    # What brings most per unit of cost comes first: whoever spends less than the budget cuts the list from below.
    for place, n in enumerate(
        chosen[np.argsort(-(worth / np.where(cost > 0, cost, 1))[chosen], kind="stable")], start=1
    ):
        about = known.get(persons[n], {})
        low, high = (margin * side[n] - cost[n] for side in spread)
        rows.append(
            {
                "person_id": persons[n], "priority": place, "action": names[given[n]],
                "reason": _reason(float(effect[n]), about), "uplift": float(effect[n]), "cost": float(cost[n]),
                "expected_value": float(worth[n]), "value_low": min(float(low), float(worth[n])),
                "value_high": max(float(high), float(worth[n])), "roi": float(worth[n] / cost[n]),
                "churn_probability": about.get("churn_probability"), "expected_revenue": about.get("expected_revenue"),
            }
        )  # fmt: skip
    return rows


def _reason(effect: float, about: Mapping[str, Any]) -> str:
    parts = [f"orders {effect:.2f} times more with it"]
    if (risk := about.get("churn_probability")) is not None:
        parts.append(f"leaves with a chance of {risk:.0%}{', at risk' if about.get('is_at_risk') else ''}")
    if (revenue := about.get("expected_revenue")) is not None:
        parts.append(f"expected to bring {revenue:.0f} of revenue in {about['horizon_days']} days without it")
    return "; ".join(parts)
