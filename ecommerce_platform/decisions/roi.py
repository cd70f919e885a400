"""Whether money spent now comes back: net benefit, payback, net present value and what they hang on.

One pure function, `returns.calculate`, behind the table `ml.roi_scenarios` and whatever page shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.decision_rules import DecisionRules, Investment, Range
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.returns import annuity, calculate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

READS = ("silver.shop",)
#: Scenario → which of a range's figures it takes: benefits on one side, costs on the other.
SCENARIOS = {"pessimistic": ("low", "high"), "expected": ("likely", "likely"), "optimistic": ("high", "low")}
DRAWS = 10_000
_SEED = 1
#: The figures that are drawn, and that are moved one at a time.
FIGURES = ("monthly_benefit", "monthly_cost", "upfront_amount")


def tornado(plan: Investment, yearly_rate: float) -> list[tuple[str, float, float]]:
    """Figure → net present value at its low and high end, the others likeliest; the one that moves it most comes first."""
    found = []
    for name in FIGURES:
        ends = []
        for end in ("low", "high"):
            figures = {n: getattr(plan, n).likely for n in FIGURES} | {name: getattr(getattr(plan, name), end)}
            ends.append(_value(figures, plan.months, yearly_rate))
        found.append((name, ends[0], ends[1]))
    return sorted(found, key=lambda entry: -abs(entry[2] - entry[1]))


def _value(figures: dict[str, float], months: int, rate: float) -> float:
    return calculate(
        figures["upfront_amount"], figures["monthly_benefit"], figures["monthly_cost"], months, rate
    ).net_present_value


def simulate(plan: Investment, yearly_rate: float, draws: int = DRAWS, seed: int = _SEED) -> Floats:
    """Net present values with each figure drawn on its own from a triangle over its range."""
    random = np.random.default_rng(seed)

    def drawn(figure: Range) -> Floats:
        if figure.low == figure.high:
            return np.full(draws, figure.likely)
        return random.triangular(figure.low, figure.likely, figure.high, draws)

    benefit, cost, upfront = (drawn(getattr(plan, name)) for name in FIGURES)
    return (benefit - cost) * annuity(plan.months, yearly_rate) - upfront


def decide_roi(con: DuckDBPyConnection, rules: DecisionRules) -> Decided:
    """Three scenarios of each investment that source.yml names."""
    missing = []
    if not rules.investments:
        missing.append(
            "`decisions: investments:` in source.yml names none: what it costs, brings and for how many months"
        )
    if rules.discount_rate is None:
        missing.append("`decisions: discount_rate:` in source.yml: how much less money counts a year later")
    if missing or rules.discount_rate is None:
        return refused(missing)
    rows = [row for name, plan in rules.investments.items() for row in roi_rows(name, plan, rules.discount_rate)]
    pays = [row["investment"] for row in rows if row["scenario"] == "expected" and row["net_present_value"] > 0]
    return Decided(
        "made", f"worth it in the expected scenario: {', '.join(pays) or 'none'}", rows,
        assumptions=f"the ranges of source.yml; figures vary independently, triangularly; {DRAWS:,} draws, intervals 90 %; later "
        f"money counts {rules.discount_rate:.1%} a year less",
    )  # fmt: skip


def roi_rows(name: str, plan: Investment, rate: float) -> list[dict[str, Any]]:
    """The rows of one investment: a scenario each, with what moves its value most and how it may turn out."""
    values = simulate(plan, rate)
    low, high = np.quantile(values, [0.05, 0.95])
    moved = tornado(plan, rate)
    rows = []
    for scenario, (gains, costs) in SCENARIOS.items():
        benefit = getattr(plan.monthly_benefit, gains)
        found = calculate(
            getattr(plan.upfront_amount, costs), benefit, getattr(plan.monthly_cost, costs), plan.months, rate
        )
        rows.append(
            {
                "investment": name, "scenario": scenario, "months": plan.months, "discount_rate": rate, "monthly_benefit": benefit,
                "upfront_amount": getattr(plan.upfront_amount, costs), "monthly_cost": getattr(plan.monthly_cost, costs),
                "net_benefit": found.net_benefit, "net_present_value": found.net_present_value,
                "return_on_investment": found.return_on_investment, "payback_months": found.payback_months,
                "break_even_benefit": found.break_even_benefit, "value_mean": float(values.mean()),
                "value_low": float(low), "value_high": float(high), "loss_probability": float((values < 0).mean()),
                "sensitivity": "; ".join(f"{figure}: {a:,.0f} to {b:,.0f}" for figure, a, b in moved),
            }
        )  # fmt: skip
    return rows
