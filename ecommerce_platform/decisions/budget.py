"""How an advertising budget is split between channels: concave response curves of incremental orders, and the best split.

Orders that came because of a campaign are measured in `gold.campaign_performance` (regions with it against regions without);
orders that are only credited to it are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.decision_rules import Budget
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

READS = ("gold.campaign_performance",)
MISSING = "`decisions: budget:` in source.yml is not there; `budget: {}` takes what is spent now and may be moved by its defaults"
#: Exponents tried: from nearly no answer to more money to one in proportion.
EXPONENTS = np.linspace(0.05, 1.0, 39)
_FEWEST_FLIGHTS = 3
_DRAWS, _SEED = 200, 1
#: Width of the exponent's 95 % interval from which on a marginal return is not known.
WIDEST = 0.75

_FLIGHTS = """
select channel, start_date, cost_amount::double as cost, expected_orders, incremental_orders,
    (incremental_orders_high - incremental_orders_low) / 3.92 as error,
    credited_net_profit::double / nullif(credited_orders, 0) as profit
from gold.campaign_performance
where cost_amount > 0 and expected_orders > 0 and incremental_orders_high > incremental_orders_low and channel is not null
order by channel, start_date
"""


@dataclass(frozen=True)
class Split:
    """A split of a budget: spend and orders per channel, and orders that one more unit of money would bring."""

    spend: Floats
    value: float
    shadow_price: float


def allocate(scale: Floats, exponent: float, budget: float, low: Floats, high: Floats) -> Split:
    """Maximises Σ scale · x^exponent over Σ x = budget and low ≤ x ≤ high, by its Lagrange condition.

    At the optimum every channel between its bounds has the same marginal return, the shadow price; it is found by bisection.

    Args:
        scale: per channel, at least 0; one of them above 0.
        exponent: between 0 and 1, both excluded.
        budget: what is spent in all.
        low: least per channel, and
        high: most; infinity for none.

    Raises:
        InputError: the bounds leave no way to spend the budget.
    """
    if not low.sum() <= budget * (1 + 1e-12) or not high.sum() >= budget * (1 - 1e-12):
        raise InputError(
            f"a budget of {budget:,.2f} does not lie between the bounds' sums, {low.sum():,.2f} and {high.sum():,.2f}",
            where="decisions: budget", fix="change `amount`, `at_least` or `at_most`",
        )  # fmt: skip

    def spend(log_price: float) -> Floats:
        with np.errstate(divide="ignore"):
            free = np.exp((np.log(scale * exponent) - log_price) / (1 - exponent))
        return np.clip(free, low, high)

    # Marginal returns at the smallest and largest spend that matter bracket the price.
    with np.errstate(divide="ignore"):
        marginal = np.log(scale[scale > 0] * exponent)
    below = float(marginal.min()) + (exponent - 1) * np.log(max(budget, 1e-9) * 1e3)
    above = float(marginal.max()) + (exponent - 1) * np.log(max(budget, 1e-9) * 1e-9)
    for _ in range(80):
        middle = (below + above) / 2
        below, above = (middle, above) if spend(middle).sum() > budget else (below, middle)
    found = spend((below + above) / 2)
    return Split(found, float((scale * found**exponent).sum()), float(np.exp((below + above) / 2)))


@dataclass(frozen=True)
class Responses:
    """Curves lift = scale · intensity^exponent of all channels, intensity being spend per order that would have come anyway.

    `scale` has one row per draw (the first is the estimate itself) and one column per channel, `exponent` one per draw.
    """

    channels: tuple[str, ...]
    scale: Floats
    exponent: Floats

    @property
    def exponent_interval(self) -> tuple[float, float]:
        """The exponent's 95 % interval."""
        low, high = np.quantile(self.exponent[1:], [0.025, 0.975])
        return float(low), float(high)


def fit_responses(
    channel: Sequence[str], intensity: Floats, lift: Floats, error: Floats, draws: int = _DRAWS, seed: int = _SEED
) -> Responses:
    """Least squares weighted by the errors, one exponent for all channels, and refits to lifts drawn anew within their errors.

    Args:
        channel: of each flight.
        intensity: spend / orders expected without it, above 0.
        lift: incremental orders / expected ones.
        error: the lift's standard error, above 0.
        draws: refits.
        seed: of the draws.
    """
    channels = tuple(sorted(set(channel)))
    member = np.array([[c == name for name in channels] for c in channel], float)
    random = np.random.default_rng(seed)
    drawn = np.concatenate([lift[None], lift + error * random.standard_normal((draws, len(lift)))])
    weight = 1 / error**2
    losses, scales = [], []
    for exponent in EXPONENTS:
        shape = intensity**exponent
        scale = np.maximum((drawn * weight * shape) @ member / ((weight * shape**2) @ member), 0)
        fitted = (scale @ member.T) * shape
        losses.append((weight * (drawn - fitted) ** 2).sum(axis=1))
        scales.append(scale)
    best = np.argmin(losses, axis=0)
    return Responses(channels, np.array(scales)[best, np.arange(len(drawn))], EXPONENTS[best])


def decide_budget(con: DuckDBPyConnection, rules: Budget | None) -> Decided:
    """The split of what flights of all channels cost together, by the response of orders to spend."""
    missing = [MISSING] if rules is None else []
    flights = con.sql(_FLIGHTS).pl() if _there(con) else None
    if flights is None or flights.is_empty():
        missing.append(
            "no campaign has its cost and regions without it to compare with (campaigns, ad_spend, web_events and the regions of "
            "orders are needed)"
        )
    if missing or rules is None or flights is None:
        return refused(missing)
    counts = dict(flights.group_by("channel").len().iter_rows())
    kept = flights.filter(flights["channel"].is_in([c for c, n in counts.items() if n >= _FEWEST_FLIGHTS]))
    if kept["channel"].n_unique() < 2:
        return refused([f"fewer than two channels have {_FEWEST_FLIGHTS} campaigns whose incremental orders are known"])
    arrays = {n: kept[n].to_numpy() for n in ("cost", "expected_orders", "incremental_orders", "error")}
    expected = arrays["expected_orders"]
    responses = fit_responses(
        kept["channel"].to_list(),
        arrays["cost"] / expected,
        arrays["incremental_orders"] / expected,
        arrays["error"] / expected,
    )
    low, high = responses.exponent_interval
    if high - low > WIDEST or high >= 1:
        return refused([
            f"spend varied too little, or followed the orders it brought, to tell what more of it brings: the response's exponent lies between {low:.2f} and "
            f"{high:.2f}; vary what flights cost, whatever the demand"
        ])  # fmt: skip
    return recommend(responses, kept.to_dict(as_series=False), rules)


def _there(con: DuckDBPyConnection) -> bool:
    from ecommerce_platform.warehouse.lookup import table_exists

    return table_exists(con, "gold", "campaign_performance")


def recommend(responses: Responses, flights: dict[str, list[Any]], rules: Budget) -> Decided:
    """The best split and what it brings beyond the present one; abstains where that is not above 0 for sure.

    Args:
        responses: fitted curves.
        flights: channel, cost, expected_orders and profit (of an order) per flight.
        rules: the budget and its bounds.
    """
    channel, cost = np.array(flights["channel"]), np.array(flights["cost"], float)
    base = float(np.mean(flights["expected_orders"]))
    now = np.array([cost[channel == name].mean() for name in responses.channels])
    # Nothing beyond what was tried, at the size of a usual flight.
    tried = np.array(flights["cost"], float) / np.array(flights["expected_orders"], float) * base
    most = np.array([tried[channel == name].max() for name in responses.channels])
    low, high = now * rules.at_least, np.maximum(np.minimum(now * rules.at_most, most), now)
    budget = rules.amount or float(now.sum())
    scale = responses.scale * base ** (1 - responses.exponent[:, None])
    best = allocate(scale[0], float(responses.exponent[0]), budget, low, high)
    present = now * budget / now.sum()
    # Per draw: what the split brings beyond the present one, and what the draw's own optimum would have brought.
    power = responses.exponent[:, None]
    gains = (scale * (best.spend**power - present**power)).sum(axis=1)
    optima = [allocate(s, float(e), budget, low, high) for s, e in zip(scale[1:], responses.exponent[1:], strict=True)]
    regret = float(np.mean([o.value for o in optima] - (scale[1:] * best.spend ** power[1:]).sum(axis=1)))
    interval = np.quantile(gains[1:], [0.025, 0.975])
    ranges = np.quantile([o.spend for o in optima], [0.025, 0.975], axis=0)
    orders = scale[0] * best.spend ** responses.exponent[0]
    rows = [
        {
            "channel": name, "flights": int((channel == name).sum()), "spend_now": float(present[n]), "spend": float(best.spend[n]),
            "spend_low": float(min(ranges[0, n], best.spend[n])), "spend_high": float(max(ranges[1, n], best.spend[n])),
            "lower_bound": float(low[n]), "upper_bound": float(high[n]),
            "orders_now": float(scale[0, n] * present[n] ** responses.exponent[0]), "orders": float(orders[n]),
            "marginal_orders": float(orders[n] * responses.exponent[0] / best.spend[n]) if best.spend[n] > 0 else None,
            "response_scale": float(scale[0, n]), "response_exponent": float(responses.exponent[0]),
        }
        for n, name in enumerate(responses.channels)
    ]  # fmt: skip
    profit = [p for p in flights.get("profit", []) if p is not None]
    return _judged(rows, gains[0], interval, best.shadow_price, regret, float(np.mean(profit)) if profit else None)


def _judged(
    rows: list[dict[str, Any]], gain: float, interval: Floats, price: float, regret: float, profit: float | None
) -> Decided:
    worth = "" if profit is None else f", {price * profit:.2f} of profit before it is paid"
    said = (
        f"one more unit of money brings {price:.4f} orders{worth}; being wrong about the curves costs {regret:,.1f} orders a "
        "round of flights on average"
    )
    assumptions = (
        "orders that come after a flight's last day are not counted; channels do not help each other; one exponent for all; "
        "the next flights meet the demand of the past ones; 95 % interval over refits"
    )
    low, high = float(min(interval[0], gain)), float(max(interval[1], gain))
    if low <= 0:
        return Decided("abstained", f"no split is better than the present one for sure; {said}", (), assumptions,
                       gain, low, high, "orders a round of flights")  # fmt: skip
    return Decided("made", said, rows, assumptions, gain, low, high, "orders a round of flights")
