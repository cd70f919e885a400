"""Which prices to move a little: the margin of a move from the product's own response, its neighbours' and the whole's.

How much a product's share of its category answers to its price is `gold.price_elasticity` (product and month effects, so that
seasons, sales and a product's standing are not taken for the price's doing). How the category as a whole answers is known to no
shop that never tried: without `total_response` in source.yml, a category's average price stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.decision_rules import Prices
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

READS = ("gold.fct_order_items", "gold.dim_product", "gold.price_elasticity", "silver.reviews")
SELECTS = ("product_prices", "price_responses", "product_review_scores")
ROWS = (
    "gold.fct_order_items where is_valid and quantity > 0", "gold.dim_product where category is not null",
    "gold.price_elasticity where elasticity_high < 0", "silver.reviews where score is not null",
)  # fmt: skip
MISSING = "`decisions: prices:` in source.yml is not there; `prices: {}` allows moves of up to 5 % that keep each category's average price"
#: Newest days that units are counted on, and the fewest units that a product needs there.
DAYS, _FEWEST_UNITS, _FEWEST_PRODUCTS = 91, 13, 3
_STEPS, _DRAWS, _SEED = 40, 200, 1


@dataclass(frozen=True)
class Market:
    """The products of a category: units a week, price and cost of each, and how they answer.

    A product's share answers to its price with `share_elasticity` (below 0), the category's units to its average price with
    `total_response` (0: not at all). Own response: e (1 − s) + t s; what a neighbour gains: (t − e) s; the whole: t s, where s is
    the product's share of the units.
    """

    units: Floats
    price: Floats
    cost: Floats
    share_elasticity: float
    total_response: float = 0.0

    @property
    def share(self) -> Floats:
        """Share of the category's units."""
        return self.units / self.units.sum()

    def sold(self, moves: Floats) -> Floats:
        """Units a week after moves of the prices' logarithms."""
        weight = self.units * np.exp(self.share_elasticity * moves)
        total = self.units.sum() * np.exp(self.total_response * (self.share * moves).sum())
        return total * weight / weight.sum()

    def margin(self, moves: Floats) -> float:
        """Margin a week after such moves."""
        return float(((self.price * np.exp(moves) - self.cost) * self.sold(moves)).sum())

    def gradient(self, moves: Floats) -> Floats:
        """Change of the margin by each product's move."""
        sold, price = self.sold(moves), self.price * np.exp(moves)
        earned = (price - self.cost) * sold
        whole = earned.sum()
        lost = self.share_elasticity * (earned - sold / sold.sum() * whole)
        return price * sold + lost + self.total_response * self.share * whole


def best_moves(market: Market, low: Floats, high: Floats, *, keep_average: bool = True) -> Floats:
    """Moves of the prices' logarithms that raise the margin most, each within its bounds (Frank and Wolfe 1956).

    Args:
        market: the category.
        low: least move, at most 0, and
        high: largest, at least 0, per product.
        keep_average: whether the mean of the moves, weighted by units, must be 0.
    """
    moves, share = np.zeros(len(low)), market.share
    for _ in range(_STEPS):
        slope = market.gradient(moves)
        corner = _balanced(slope / share, share, low, high) if keep_average else np.where(slope > 0, high, low)
        steps = np.linspace(0, 1, 21)
        worth = [market.margin(moves + step * (corner - moves)) for step in steps]
        best = int(np.argmax(worth))
        if best == 0:
            break
        moves = moves + steps[best] * (corner - moves)
    return moves


def _balanced(worth: Floats, share: Floats, low: Floats, high: Floats) -> Floats:
    """The corner of the box with Σ share · move = 0 that is worth most: the best go up as far as the worst pay for."""
    order = np.argsort(-worth, kind="stable")
    room, moves = share * (high - low), low.copy()
    left = -float((share * low).sum())  # 0 lies in the box, so this is no less than 0
    for index in order:
        taken = min(room[index], left)
        moves[index] += taken / share[index]
        left -= taken
        if left <= 0:
            break
    return moves


def decide_prices(con: DuckDBPyConnection, rules: Prices | None) -> Decided:
    """Moves of the products of every category whose response is surely below 0 and whose gain is surely above 0."""
    from ecommerce_platform.warehouse.lookup import table_exists

    if rules is None:
        return refused([MISSING])
    products = rows_of(con, "product_prices", days=DAYS, fewest_units=_FEWEST_UNITS).pl()
    known = products.filter(products["cost"].is_not_null())
    if known.is_empty():
        return refused(["no product has its category and its cost (order_items.unit_cost or products.unit_cost)"])
    if not table_exists(con, "gold", "price_elasticity"):
        return refused(["prices never moved apart: gold.price_elasticity is not made"])
    responses = rows_of(con, "price_responses").fetchall()
    if not responses:
        return refused(
            ["in no category does a dearer product surely sell less: prices hardly moved apart, or too few were sold"]
        )
    scores = rows_of(con, "product_review_scores").pl()
    rows = [row for response in responses for row in _category(known, scores, response, rules)]
    return _summed_up(rows, len(responses), rules)


def _summed_up(rows: list[dict[str, Any]], categories: int, rules: Prices) -> Decided:
    known = rules.total_response is not None
    assumptions = (
        "products without a known cost and those that sold less than one a week keep their price; other categories, competitors and "
        f"cost stay as they are; moves of up to {rules.largest_move:.0%} within prices asked before; "
        + ("the total response is that of source.yml" if known else "each category's average price stays")
        + "; 95 % interval over the response's own; what is worse rated than its category is not made dearer"
    )
    if not rows:
        return Decided("abstained", f"in none of {categories} categories is a gain above 0 for sure", (), assumptions)
    kept = {row["category"]: row for row in rows}.values()
    value, low, high = (sum(row[f"category_{name}"] for row in kept) for name in ("value", "value_low", "value_high"))
    return Decided(
        "made", f"{sum(row['move'] != 0 for row in rows):,} prices of {len(kept)} categories", rows, assumptions,
        value, low, high, "currency a week", ROWS,
    )  # fmt: skip


def _category(
    products: pl.DataFrame, scores: pl.DataFrame, response: tuple[str, float, float, float], rules: Prices
) -> list[dict[str, Any]]:
    category, elasticity, lowest, highest = response
    mine = (
        products.filter(products["category"] == category).join(scores, on="product_id", how="left").sort("product_id")
    )
    if mine.height < _FEWEST_PRODUCTS:
        return []
    units, price, cost, least, most = (mine[n].to_numpy() for n in ("units", "price", "cost", "lowest", "highest"))
    total = rules.total_response
    market = Market(units, price, cost, elasticity, total.likely if total else 0.0)
    reach = np.log1p(rules.largest_move)
    low, high = np.maximum(np.log(least / price), -reach), np.minimum(np.log(most / price), reach)
    mean = float(
        (mine["score"].fill_null(0) * units).sum() / (units * mine["score"].is_not_null().to_numpy()).sum() or 0
    )
    worse = (mine["score"] + 2 * mine["error"] < mean).fill_null(False).to_numpy()
    high = np.where(worse, 0.0, high)
    moves = best_moves(market, np.minimum(low, 0), np.maximum(high, 0), keep_average=total is None)
    gains = _gains(market, moves, (lowest, highest), rules)
    if np.quantile(gains[1:], 0.025) <= 0:
        return []
    return _rows(mine, market, moves, gains)


def _gains(market: Market, moves: Floats, interval: tuple[float, float], rules: Prices) -> Floats:
    """What the moves bring a week: by the estimate, and by responses drawn within their intervals."""
    random = np.random.default_rng(_SEED)
    drawn = np.minimum(random.normal(market.share_elasticity, (interval[1] - interval[0]) / 3.92, _DRAWS), 0)
    total = rules.total_response
    totals = np.zeros(_DRAWS)
    if total and total.low < total.high:
        totals = random.triangular(total.low, total.likely, total.high, _DRAWS)
    elif total:
        totals = np.full(_DRAWS, total.likely)
    tried = [(market.share_elasticity, market.total_response), *zip(drawn, totals, strict=True)]
    still = np.zeros(len(moves))
    markets = [Market(market.units, market.price, market.cost, float(e), float(t)) for e, t in tried]
    return np.array([m.margin(moves) - m.margin(still) for m in markets])


def _rows(mine: pl.DataFrame, market: Market, moves: Floats, gains: Floats) -> list[dict[str, Any]]:
    share, e, t = market.share, market.share_elasticity, market.total_response
    before, after = market.sold(np.zeros(len(moves))), market.sold(moves)
    low, high = np.quantile(gains[1:], [0.025, 0.975])
    return [
        {
            "category": row["category"], "product_id": row["product_id"], "price": row["price"],
            "recommended_price": row["price"] * float(np.exp(moves[n])), "move": float(np.expm1(moves[n])),
            "lowest_price": row["lowest"], "highest_price": row["highest"], "unit_cost": row["cost"],
            "units_per_week": float(before[n]), "units_expected": float(after[n]),
            "own_response": float(e * (1 - share[n]) + t * share[n]), "neighbours_response": float((t - e) * share[n]),
            "total_response": t, "review_score": row["score"], "category_value": float(gains[0]),
            "category_value_low": float(min(low, gains[0])), "category_value_high": float(max(high, gains[0])),
        }
        for n, row in enumerate(mine.iter_rows(named=True))
    ]  # fmt: skip
