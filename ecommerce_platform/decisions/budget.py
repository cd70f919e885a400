"""How an advertising budget is split between channels: concave response curves of incremental orders, and the best split.

Orders that came because of a campaign are those beyond what its regions would have had, had they gone as the regions without it;
orders that are only credited to it are not looked at. `gold.campaign_performance` compares with the days before alone; here the
regions' usual shares are taken from all ordinary days around, which scatters less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.decision_rules import Budget
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of
from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

READS = ("gold.fct_orders", "silver.campaigns", "silver.ad_spend")
SELECTS = ("campaign_flights",)
ROWS = (
    "gold.fct_orders where is_counted and region is not null", "silver.campaigns where channel is not null", "silver.ad_spend",
)  # fmt: skip
MISSING = "`decisions: budget:` in source.yml is not there; `budget: {}` takes what is spent now and may be moved by its defaults"
#: Exponents tried: from nearly no answer to more money to nearly one in proportion.
EXPONENTS = np.linspace(0.05, 0.95, 37)
_FEWEST_FLIGHTS = 3
_DRAWS, _SEED = 200, 1
#: What is taken for granted of the exponent before looking: near the square root (twice the money, 41 % more orders).
USUAL, SURE = 0.5, 0.1
#: Deviation of log spend per expected order within channels, below which more money was never tried.
LEAST_SPREAD = 0.3
#: Chance of being better than the present split from which on another one is recommended.
CHANCE = 0.8
#: Days around a campaign from which its regions' usual share of orders is taken.
_AROUND = 180
#: Days around a campaign whose ordinary days foretell what the regions without it have during it.
_NEAR = 35
#: Standard errors from which on campaigns together surely brought orders.
_SURE = 1.96


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

    The exponent is drawn towards `USUAL` as if it had been measured there once with the error `SURE`; so are the refits, each
    towards a value drawn around it.

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
    usual = np.concatenate([[USUAL], random.normal(USUAL, SURE, draws)])
    weight = 1 / error**2
    losses, scales = [], []
    for exponent in EXPONENTS:
        shape = intensity**exponent
        scale = np.maximum((drawn * weight * shape) @ member / ((weight * shape**2) @ member), 0)
        fitted = (scale @ member.T) * shape
        losses.append((weight * (drawn - fitted) ** 2).sum(axis=1) + ((exponent - usual) / SURE) ** 2)
        scales.append(scale)
    best = np.argmin(losses, axis=0)
    return Responses(channels, np.array(scales)[best, np.arange(len(drawn))], EXPONENTS[best])


def measure(counts: pl.DataFrame) -> tuple[dict[str, list[Any]], bool]:
    """Incremental orders of each campaign with their standard errors, as a ratio of counts that scatter as counts do.

    What the regions without a campaign had is drawn towards what ordinary days near it foretell (`_level`). Where all campaigns
    together surely brought orders in the days after them, too, these are counted with them.

    Args:
        counts: as `campaign_flights` gives them.

    Returns:
        channel, cost, expected (orders without it; counted: by the counts alone), incremental, error and profit per campaign;
        whether later orders count.
    """

    def read(part: str) -> Floats:
        return counts[part].fill_null(0).to_numpy().astype(np.float64)

    usual = read("with_ordinarily") / np.maximum(read("without_ordinarily"), 1)
    uncertain = 1 / np.maximum(read("with_ordinarily"), 1) + 1 / np.maximum(read("without_ordinarily"), 1)

    def compare(during: Floats, elsewhere: Floats, days: Floats) -> tuple[Floats, Floats, Floats]:
        level, unsure = _level(elsewhere, days, read("without_nearby"), read("nearby_days"))
        expected = usual * level
        variance = expected + expected**2 * (unsure + uncertain)
        return expected, during - expected, np.sqrt(np.maximum(variance, 1))

    days, after = read("days"), read("days_after")
    _, later, error = compare(read("with_later"), read("without_later"), after)
    lasts = bool(later.sum() > _SURE * np.sqrt((error**2).sum()))
    more = [read("with_later"), read("without_later"), after] if lasts else [0.0, 0.0, 0.0]
    expected, incremental, error = compare(
        read("with_during") + more[0], read("without_during") + more[1], days + more[2]
    )
    counted = usual * (read("without_during") + more[1])
    found = {"counted": counted, "expected": expected, "incremental": incremental, "error": error}
    known = {name: counts[name].to_list() for name in ("channel", "cost", "profit")}
    return {**known, **{name: values.tolist() for name, values in found.items()}}, lasts


def _level(counted: Floats, days: Floats, nearby: Floats, nearby_days: Floats) -> tuple[Floats, Floats]:
    """Orders that regions had on so many days, less chance, and how unsure that is (variance of its logarithm).

    Empirical Bayes (Morris 1983): each count is drawn towards what ordinary days nearby foretell of it, the more the better those
    foretell over all campaigns.
    """
    known = (counted > 0) & (nearby > 0) & (nearby_days > 0)
    counts, others = np.maximum(counted, 1), np.maximum(nearby, 1)
    gap = np.where(known, np.log(counts / (others / np.maximum(nearby_days, 1) * np.maximum(days, 1))), 0)
    between = max(float(np.mean((gap**2 - 1 / counts - 1 / others)[known])), 0) if known.any() else 0.0
    weight = np.where(known, 1 / (between + 1 / others), 0)
    return counted * np.exp(-gap * weight / (counts + weight)), 1 / (counts + weight)


def _who_counts(everybody: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Counts of known customers' orders alone where campaigns surely brought some of theirs, and of others' showed none."""
    if known.height != everybody.height:
        return everybody
    counted = [name for name in everybody.columns if name.startswith(("with_", "without_"))]
    others = everybody.with_columns(everybody[name].fill_null(0) - known[name].fill_null(0) for name in counted)
    return known if _is_sure(known) and not _is_sure(others) else everybody


def _is_sure(counts: pl.DataFrame) -> bool:
    """Whether campaigns together surely brought orders."""
    found, _ = measure(counts)
    return bool(np.sum(found["incremental"]) > _SURE * np.sqrt(np.sum(np.square(found["error"]))))


def decide_budget(con: DuckDBPyConnection, rules: Budget | None) -> Decided:
    """The split of what flights of all channels cost together, by the response of orders to spend."""
    after = (rules or Budget()).carry_over_days
    counts, known = (
        rows_of(con, "campaign_flights", after=after, around=_AROUND, closest=_NEAR, known=who).pl()
        for who in (False, True)
    )
    missing = [MISSING] if rules is None else []
    if counts.is_empty():
        missing.append(
            "no campaign has its channel, its cost and regions without it to compare with (campaigns, ad_spend and the campaign and "
            "region of orders are needed)"
        )
    if missing or rules is None:
        return refused(missing)
    return split_budget(_who_counts(counts, known), rules, counts)


def split_budget(counts: pl.DataFrame, rules: Budget, everybody: pl.DataFrame | None = None) -> Decided:
    """The same from what `campaign_flights` counts of each campaign; `everybody`: of all orders, where `counts` are of some."""
    flights, _ = measure(_enough(counts))
    if len(set(flights["channel"])) < 2:
        return refused([f"fewer than two channels have {_FEWEST_FLIGHTS} campaigns whose incremental orders are known"])
    cost, expected, incremental, error = (np.array(flights[n]) for n in ("cost", "expected", "incremental", "error"))
    # By counts as they are: drawn towards other days, they would follow demand less, and spend that does would seem to vary.
    plain, _ = measure(_enough(counts if everybody is None else everybody))
    spread = _spread(plain["channel"], np.array(plain["cost"]) / np.maximum(plain["counted"], 1))
    if spread < LEAST_SPREAD:
        return refused(
            [
                f"spend varied too little, or followed the orders there were, to tell what more of it brings: per expected order it "
                f"scatters by {spread:.0%} within channels; vary what flights cost, whatever the demand"
            ]
        )
    responses = fit_responses(flights["channel"], cost / expected, incremental / expected, error / expected)
    return recommend(responses, flights, rules)


def _enough(counts: pl.DataFrame) -> pl.DataFrame:
    """The campaigns of channels that have enough of them."""
    import polars as pl

    return counts.filter(pl.len().over("channel") >= _FEWEST_FLIGHTS)


def _spread(channel: list[str], intensity: Floats) -> float:
    """Deviation of log intensity within channels."""
    logs, name = np.log(intensity), np.array(channel)
    within = np.concatenate([logs[name == c] - logs[name == c].mean() for c in set(channel)])
    return float(np.sqrt((within**2).sum() / (len(within) - len(set(channel)))))


def recommend(responses: Responses, flights: dict[str, list[Any]], rules: Budget) -> Decided:
    """The best split and what it brings beyond the present one; abstains where that is not above 0 for sure.

    Args:
        responses: fitted curves.
        flights: as `measure` gives them.
        rules: the budget and its bounds.
    """
    channel, cost = np.array(flights["channel"]), np.array(flights["cost"], float)
    base = float(np.mean(flights["expected"]))
    now = np.array([cost[channel == name].mean() for name in responses.channels])
    # Nothing beyond what was tried, at the size of a usual flight.
    tried = np.array(flights["cost"], float) / np.array(flights["expected"], float) * base
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
    worth = float(np.mean(profit)) if profit else None
    return _judged(rows, gains, best.shadow_price, regret, worth)


def _judged(rows: list[dict[str, Any]], gains: Floats, price: float, regret: float, profit: float | None) -> Decided:
    worth = "" if profit is None else f", {price * profit:.2f} of profit before it is paid"
    chance = float((gains[1:] > 0).mean())
    said = (
        f"better than the present split with a chance of {chance:.0%}; one more unit of money brings {price:.4f} orders{worth}; being "
        f"wrong about the curves costs {regret:,.1f} orders a round of flights on average"
    )
    assumptions = (
        "orders of the days after a flight, and of customers who had not ordered before, count where flights together surely brought any; channels do not help each other; one exponent for all, taken to "
        f"be {USUAL} ± {SURE} before looking; the next flights meet the demand of the past ones; 95 % interval over refits"
    )
    gain = float(gains[0])
    low, high = (float(x) for x in np.quantile(gains[1:], [0.025, 0.975]))
    made = chance >= CHANCE and gain > 0
    return Decided(
        "made" if made else "abstained", said, rows if made else (), assumptions, gain, min(low, gain), max(high, gain),
        "orders a round of flights", made_from=ROWS,
    )  # fmt: skip
