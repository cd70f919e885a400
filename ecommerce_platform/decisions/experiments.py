"""What an experiment shows: from one row per unit and arm to one row per treated arm and metric.

Units that were drawn into an arm count whatever they did afterwards. How two arms are compared is in `statistics.py`, which orders
belong to a unit in `trials.py`, and what was planned in `experiments.yml` (`contracts.experiment_plan`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.experiment_plan import ExperimentPlan
from ecommerce_platform.decisions import power
from ecommerce_platform.decisions.statistics import (
    SKEWNESS_RULE,
    Estimate,
    always_valid,
    bootstrap_t,
    cuped,
    holm,
    ratio_of_sums,
    sample_ratio_p,
    skewness,
    welch,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Metrics whose values are skewed as a rule, so that quantiles come from the bootstrap; of others where the arms show it.
MONEY = frozenset({"revenue", "profit"})
#: A ratio of sums → what is summed above and below the line.
RATIOS = {"aov": ("revenue", "orders")}
DRAWS = 999
#: Units of an arm from which on a comparison is made at all.
FEWEST = 30


@dataclass(frozen=True)
class Units:
    """The units of an experiment, one entry each; a unit in two arms is not among them."""

    arm: NDArray[Any]
    #: Name → outcome within the window; of a ratio both parts are here.
    outcomes: Mapping[str, Floats]
    #: The same from before the assignment; empty where nothing is known of it.
    before: Mapping[str, Floats]
    #: Arm → units that were drawn into it, those in two arms in each.
    assigned: Mapping[str, int]
    in_two_arms: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Arm → units that are compared."""
        arms, counts = np.unique(self.arm, return_counts=True)
        return dict(zip(map(str, arms), counts.tolist(), strict=True))


@dataclass(frozen=True)
class Reading:
    """How an experiment is read: what was planned, and whether it was."""

    plan: ExperimentPlan
    planned: bool
    alpha: float = 0.05
    ratio_threshold: float = 0.01
    draws: int = DRAWS
    seed: int = 1


def analyse(units: Units, reading: Reading) -> list[dict[str, Any]]:
    """One row per treated arm and metric: sizes, ratio check, effect with interval, correction and verdict.

    Args:
        units: those of one experiment.
        reading: how it is read. A metric that `units` lacks is left out; one of them at least must be there.

    Returns:
        Rows with the columns of `ml.experiment_results` besides those of the experiment itself; none without a control or
        another arm.
    """
    plan, counts = reading.plan, units.counts
    arms = sorted({*units.assigned, *plan.shares})
    treated = [arm for arm in arms if arm != plan.control]
    if plan.control not in arms or not treated:
        return []
    shares = [plan.shares.get(arm, 0.0) if plan.shares else 1 / len(arms) for arm in arms]
    checks = _ratio_checks(units, arms, shares)
    unplanned = any(share <= 0 for share in shares)
    mismatch = unplanned or any(p < reading.ratio_threshold for p in checks.values())
    rows = []
    for metric, role in _roles(plan, units):
        for arm in treated:
            row: dict[str, Any] = {
                "arm": arm, "metric": metric, "role": role, "control": plan.control,
                "units": counts.get(arm, 0), "control_units": counts.get(plan.control, 0),
                "in_two_arms": units.in_two_arms, "planned_share": shares[arms.index(arm)],
                "shares_declared": bool(plan.shares), **checks,
            }  # fmt: skip
            if mismatch:
                row |= {"verdict": "withheld", "note": _mismatch(units, arms, shares)}
            elif min(row["units"], row["control_units"]) < FEWEST:
                row |= {"verdict": "too_few", "note": f"fewer than {FEWEST} units in an arm"}
            else:
                row |= _compare(units, plan.control, arm, metric, reading)
            rows.append(row)
    _correct(rows, reading)
    return rows


def _ratio_checks(units: Units, arms: Sequence[str], shares: Sequence[float]) -> dict[str, float]:
    """p-values of the ratio of arms as drawn and as compared (units in two arms left out)."""
    counts = units.counts
    planned = [max(share, 1e-12) for share in shares]
    return {
        "ratio_p_assigned": sample_ratio_p([units.assigned.get(arm, 0) for arm in arms], planned),
        "ratio_p_compared": sample_ratio_p([counts.get(arm, 0) for arm in arms], planned),
    }


def _mismatch(units: Units, arms: Sequence[str], shares: Sequence[float]) -> str:
    found = ", ".join(
        f"{arm} {units.assigned.get(arm, 0):,} (planned {share:.0%})" for arm, share in zip(arms, shares, strict=True)
    )
    return f"sample ratio mismatch: {found}; find out why before anything is read from it"


def _roles(plan: ExperimentPlan, units: Units) -> list[tuple[str, str]]:
    wanted = [(plan.primary, "primary"), *((m, "secondary") for m in plan.secondary)]
    wanted += [(m, "guardrail") for m in plan.guardrails]
    return [(m, role) for m, role in wanted if all(part in units.outcomes for part in RATIOS.get(m, (m,)))]


def _compare(units: Units, control: str, arm: str, metric: str, reading: Reading) -> dict[str, Any]:
    """The effect of one arm on one metric, adjusted for the time before where that is known."""
    at, to = units.arm == control, units.arm == arm
    if metric in RATIOS:
        top, bottom = (units.outcomes[part] for part in RATIOS[metric])
        if min(bottom[at].sum(), bottom[to].sum()) <= 0:
            return {"verdict": "too_few", "note": "an arm without a single order has no order value"}
        plain = ratio_of_sums(top[at], top[to], bottom[at], bottom[to], reading.alpha)
        return _sized(plain, plain, 0.0, top[at], top[to], reading, metric)
    y0, y1 = units.outcomes[metric][at], units.outcomes[metric][to]
    plain = _means(y0, y1, metric, reading)
    adjusted, explained = plain, 0.0
    if metric in units.before:
        x = units.before[metric]
        a0, a1, explained = cuped(y0, y1, x[at], x[to])
        if explained > 0:
            adjusted = _means(a0, a1, metric, reading)
    return _sized(plain, adjusted, explained, y0, y1, reading, metric)


def _needed(y0: Floats, y1: Floats) -> float:
    """Units an arm from which on a mean's normal interval is to be trusted."""
    return max(SKEWNESS_RULE * skewness(y) ** 2 for y in (y0, y1))


def _means(y0: Floats, y1: Floats, metric: str, reading: Reading) -> Estimate:
    skewed = metric in MONEY or min(len(y0), len(y1)) < _needed(y0, y1)
    if reading.plan.sequential is None and skewed:
        return bootstrap_t(y0, y1, reading.alpha, reading.draws, reading.seed)
    return welch(y0, y1, reading.alpha)


def _sized(
    plain: Estimate, adjusted: Estimate, explained: float, y0: Floats, y1: Floats, reading: Reading, metric: str
) -> dict[str, Any]:
    """The row of a comparison, with the lift it would have found and what is to be said of its distribution."""
    sequential = reading.plan.sequential
    if sequential and plain.control > 0:
        expected = sequential.expected_lift * abs(plain.control)
        plain, adjusted = (always_valid(e, expected, reading.alpha) for e in (plain, adjusted))
    # A ratio's effective spread is that of its standard error.
    spread = adjusted.error / np.sqrt(1 / len(y0) + 1 / len(y1))
    found = power.detectable(len(y0), len(y1), 0.8, reading.alpha) * spread
    notes = []
    if metric not in RATIOS:
        needed = _needed(y0, y1)
        if min(len(y0), len(y1)) < needed:
            notes.append(f"skewed: a mean's interval is to be trusted from {needed:,.0f} units an arm on")
    return {
        "verdict": "open", "method": adjusted.method, "mean": adjusted.treated, "control_mean": adjusted.control,
        "difference": adjusted.difference, "difference_low": adjusted.low, "difference_high": adjusted.high,
        "lift": adjusted.lift, "lift_low": adjusted.lift_low, "lift_high": adjusted.lift_high,
        "p_value": adjusted.p_value, "variance_explained": explained,
        "plain_difference": plain.difference, "plain_low": plain.low, "plain_high": plain.high,
        "plain_lift": plain.lift, "plain_lift_low": plain.lift_low, "plain_lift_high": plain.lift_high,
        "detectable_lift": found / abs(plain.control) if plain.control else None,
        "is_skewed": bool(notes), "note": "; ".join(notes) or None,
    }  # fmt: skip


def _correct(rows: list[dict[str, Any]], reading: Reading) -> None:
    """Adjusts p-values by Holm, within the arms of the primary metric and within all other comparisons, and judges."""
    for family in ("primary", "secondary"):
        members = [row for row in rows if row["role"] == family and "p_value" in row]
        for row, p_value in zip(members, holm([row["p_value"] for row in members]), strict=True):
            sure = p_value < reading.alpha
            row["p_adjusted"] = p_value
            row["verdict"] = ("better" if row["difference"] > 0 else "worse") if sure else "no_evidence"
    for row in rows:
        if row["role"] == "guardrail" and "p_value" in row:
            margin = reading.plan.guardrails[row["metric"]]
            low, high = row["lift_low"], row["lift_high"]
            row["verdict"] = "kept" if low > -margin else "broken" if high < -margin else "not_shown_to_hold"
