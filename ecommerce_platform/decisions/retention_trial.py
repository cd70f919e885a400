"""Whether a discount for customers at risk would pay, before it is tried: `ml.retention_simulation`.

Worked out on the shop's own churn and value scores. What is not known until it is tried, whom the discount keeps, is an assumption of
source.yml, or what an experiment with a like offer has measured. Who is offered what after one is decided in `retention.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.decision_rules import RetentionTrial
from ecommerce_platform.contracts.experiment_plan import ExperimentPlans
from ecommerce_platform.decisions import uplift
from ecommerce_platform.decisions.power import units_per_arm
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

READS = (*uplift.READS, "ml.churn_scores", "ml.clv_scores", "silver.shop")
SELECTS = (*uplift.SELECTS, "churn_and_value", "profit_of_last_year")
ROWS = ("ml.churn_scores", "ml.clv_scores", "gold.fct_orders where is_counted and profit_amount is not null")
MISSING = (
    "`decisions: retention_trial:` in source.yml lacks customers, discount, and response or experiment and arm: how many get a "
    "discount, how much it is, and which share of those who would have left it keeps"
)
DRAWS, _SEED, _Z90 = 10_000, 1, 1.6449
#: How far the figures that are not given as a range are moved, as a share of themselves.
MOVED = 0.2


@dataclass(frozen=True)
class Response:
    """Share of those who would have left that is kept; `ends` are those of a range that is assumed or measured (90 %)."""

    source: str
    likely: float
    ends: tuple[float, float]

    def drawn(self, random: np.random.Generator) -> Floats:
        """What it may be: triangular between assumed ends, log-normal in the share that still leaves where it was measured."""
        low, high = self.ends
        if low == high:
            return np.full(DRAWS, self.likely)
        if self.source == "assumed":
            return random.triangular(low, self.likely, high, DRAWS)
        error = (np.log1p(-low) - np.log1p(-high)) / (2 * _Z90)
        return 1 - np.exp(random.normal(np.log1p(-self.likely), error, DRAWS))


@dataclass(frozen=True)
class Group:
    """Customers who get the discount: how many, how many of them are expected to leave, and the profit of one who does not."""

    who: str
    customers: int
    leave: float
    profit_of_one: float


@dataclass(frozen=True)
class Outcome:
    """What a discount comes to; money in the shop's currency, `net` = `gain` less the three costs."""

    kept: float
    gain: float
    discount_to_kept: float
    discount_to_stayers: float
    contact: float

    @property
    def net(self) -> float:
        """Gain less all that it costs."""
        return self.gain - self.discount_to_kept - self.discount_to_stayers - self.contact


def outcome(group: Group, response: float, discount: float, contact: float) -> Outcome:
    """What a discount comes to if it keeps a share of those who would have left; everybody who orders takes it once."""
    kept = response * group.leave
    return Outcome(
        kept, kept * group.profit_of_one, kept * discount, (group.customers - group.leave) * discount, contact * group.customers
    )  # fmt: skip


def pays_from(group: Group, discount: float, contact: float) -> float | None:
    """The response at which the net is 0; None where even keeping all does not pay."""
    costs = (group.customers - group.leave) * discount + contact * group.customers
    each = group.leave * (group.profit_of_one - discount)
    return costs / each if each > 0 and costs <= each else None


def measured_response(arm: uplift.Arm) -> Response | None:
    """One less the ratio of those who ordered nothing, treated to control, with its 90 % interval (Katz et al. 1978).

    None where nobody, or everybody, of an arm orders.
    """
    shares, sizes = [], []
    for among in (~arm.treated, arm.treated):
        shares.append(float((arm.orders[among] == 0).mean()))
        sizes.append(int(among.sum()))
    if not all(0 < share < 1 for share in shares):
        return None
    error = float(np.sqrt(sum((1 - q) / (q * n) for q, n in zip(shares, sizes, strict=True))))
    ratio = shares[1] / shares[0]
    ends = 1 - ratio * np.exp(_Z90 * error), 1 - ratio * np.exp(-_Z90 * error)
    return Response("measured", 1 - ratio, (float(ends[0]), float(ends[1])))


def decide_retention_trial(con: DuckDBPyConnection, plans: ExperimentPlans, rules: RetentionTrial | None) -> Decided:
    """What the discount is expected to come to, for whom, and how many customers an experiment needs to see it."""
    scores = rows_of(con, "churn_and_value").pl()
    _, margin = rows_of(con, "profit_of_last_year").fetchall()[0]
    missing = [MISSING] if rules is None else []
    if scores.is_empty():
        missing.append("no customer has both a churn and a value score (ml.churn_scores, ml.clv_scores)")
    if margin is None or margin <= 0:
        missing.append("orders of the last year have no profit, or the source maps no unit_cost")
    response, why = _response(con, plans, rules) if rules else (None, "")
    if rules and response is None:
        missing.append(f"{why}, and `retention_trial:` says no response")
    if missing or rules is None or response is None:
        return refused(missing)
    risk, revenue = scores["churn_probability"].to_numpy(), scores["revenue"].to_numpy()
    at_risk = scores["is_at_risk"].to_numpy()
    wanted = {
        "at_risk": np.flatnonzero(at_risk)[: rules.customers],
        "everybody": np.arange(len(risk)),
    }  # fmt: skip
    groups = [
        Group(who, len(n), float(risk[n].sum()), float(margin * revenue[n].sum() / max((1 - risk[n]).sum(), 1e-9)))
        for who, n in wanted.items() if len(n) and (1 - risk[n]).sum() > 0
    ]  # fmt: skip
    days = int(con.execute("select churn_window_days from silver.shop").fetchall()[0][0])
    rows = [row | {"days": days} for group in groups for row in simulate(group, response, rules)]
    return _summed_up(rows, response, why)


def _response(con: DuckDBPyConnection, plans: ExperimentPlans, rules: RetentionTrial) -> tuple[Response | None, str]:
    """What was measured, else what is assumed, else nothing; and why it was not measured."""
    said = rules.response
    assumed = Response("assumed", said.likely, (said.low, said.high)) if said else None
    if rules.experiment is None:
        return assumed, "no experiment is named"
    arms, wrong = uplift.read_arms(con, plans)
    mine = [a for a in arms if (a.experiment, a.arm) == (rules.experiment, rules.arm)]
    found = measured_response(mine[0]) if mine else None
    if found:
        return found, f"{rules.experiment}/{rules.arm}, {len(mine[0].person):,} persons"
    return assumed, f"{rules.experiment} has no arm {rules.arm} ready to be read ({'; '.join(wrong) or 'not there'})"


def simulate(group: Group, response: Response, rules: RetentionTrial) -> list[dict[str, Any]]:
    """The rows of one group: as expected, and with one figure moved at a time.

    The interval (90 %) is by Monte Carlo over the response, who would leave and whom the discount keeps (binomial).
    """
    discount, contact = rules.discount, rules.contact_cost
    likely = response.likely
    risk = group.leave / group.customers
    # Standard deviation of ordering at all, between the two arms.
    rates = 1 - risk, 1 - risk + likely * risk
    spread = np.sqrt(sum(max(r * (1 - r), 0) for r in rates) / 2)
    needed = units_per_arm(likely * risk / spread)[0] if likely > 0 and spread > 0 else None
    low, high = _interval(group, response, rules)
    cases: list[tuple[str, str, Group, float, float]] = [("nothing", "expected", group, likely, discount)]
    for n, end in enumerate(("low", "high")):
        factor = 1 + (2 * n - 1) * MOVED
        cases += [
            ("response", end, group, response.ends[n], discount),
            ("discount", end, group, likely, discount * factor),
            ("profit_of_one", end, replace(group, profit_of_one=group.profit_of_one * factor), likely, discount),
            ("leave", end, replace(group, leave=min(group.leave * factor, group.customers)), likely, discount),
        ]
    rows: list[dict[str, Any]] = []
    for varied, end, who, share, off in cases:
        found = outcome(who, share, off, contact)
        rows.append({
            "who": group.who, "varied": varied, "bound": end, "customers": group.customers, "response": share,
            "response_from": response.source, "discount": off, "expected_to_leave": who.leave, "kept": found.kept,
            "profit_of_one": who.profit_of_one, "gain": found.gain, "discount_to_kept": found.discount_to_kept,
            "discount_to_stayers": found.discount_to_stayers, "contact_cost": found.contact, "net": found.net,
            "pays_from_response": pays_from(who, off, contact),
        })  # fmt: skip
    expected = rows[0]
    expected |= {"net_low": min(low, expected["net"]), "net_high": max(high, expected["net"]), "needed_per_arm": needed}
    return rows


def _interval(group: Group, response: Response, rules: RetentionTrial) -> tuple[float, float]:
    random = np.random.default_rng(_SEED)
    share = response.drawn(random)
    leave = random.binomial(group.customers, min(group.leave / group.customers, 1), DRAWS)
    # A measured response may be below 0: then so many more leave.
    kept = np.sign(share) * random.binomial(leave, np.minimum(np.abs(share), 1))
    costs = (group.customers - leave + kept) * rules.discount + rules.contact_cost * group.customers
    low, high = np.quantile(kept * group.profit_of_one - costs, [0.05, 0.95])
    return float(low), float(high)


def _summed_up(rows: list[dict[str, Any]], response: Response, why: str) -> Decided:
    expected = [row for row in rows if row["varied"] == "nothing"]
    if not expected:
        return Decided("abstained", "nobody is at risk, or everybody is sure to leave")
    told = [
        f"{row['who']}: {row['customers']:,} customers, {row['kept']:.0f} of {row['expected_to_leave']:.0f} kept, net "
        f"{row['net']:.0f} ({row['net_low']:.0f} to {row['net_high']:.0f}), of the cost {row['discount_to_stayers']:.0f} goes to those "
        "who would have stayed" for row in expected
    ]  # fmt: skip
    first = expected[0]
    return Decided(
        "made", "; ".join([*told, f"response {response.source}: {why}"]), rows,
        assumptions=f"response {response.likely:.3f} ({response.ends[0]:.3f} to {response.ends[1]:.3f}) {response.source}; everybody "
        "who orders takes the discount once; who is kept brings what one who stays brings; nobody orders more, or earlier, for it; "
        f"what is not a range is moved by {MOVED:.0%}; interval 90 % by {DRAWS:,} draws; value of the group {first['who']}",
        value=first["net"], low=first["net_low"], high=first["net_high"], unit=f"currency in {first['days']} days",
        made_from=(*ROWS, *(uplift.ROWS if response.source == "measured" else ())),
    )  # fmt: skip
