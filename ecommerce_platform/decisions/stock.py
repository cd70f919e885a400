"""How much to have on the shelves: reorder points and quantities from the demand over lead time and review.

What lies there now is `gold.inventory_health`'s subject; what is bought when is decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.contracts.decision_rules import Stock
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

READS = ("silver.inventory_snapshots", "gold.fct_order_items")
SELECTS = ("stock_counted", "weekly_units", "weeks_out_of_stock")
MISSING = (
    "`decisions: inventory:` in source.yml lacks service_level, holding_cost_rate and order_cost: how often nothing shall run "
    "out, what keeping goods costs a year, and what an order to a supplier costs"
)
_WEEK, _FEWEST_WEEKS = 7, 8
#: Draws of demand for the worth of a reorder point.
_DRAWS, _SEED = 400, 1


def reorder_point(mean: Floats, variance: Floats, weeks: Floats, protection: Floats, service: float) -> Floats:
    """The least stock that demand over the protected days exceeds with a chance of 1 − service at most.

    Demand over `protection` days is negative binomial with the mean and variance that so many weeks foretell (Poisson where
    weeks do not scatter more than that); that the mean itself is only an estimate widens it by 1 + protected weeks / weeks.

    Args:
        mean: units a week, per product; 0 gives 0.
        variance: between weeks.
        weeks: weeks it was estimated from.
        protection: days from one look at the shelf to the arrival of what the next look orders.
        service: share of such periods in which nothing runs out.
    """
    from scipy.stats import nbinom, poisson

    spans = protection / _WEEK
    expected = mean * spans
    spread = variance * spans * (1 + spans / np.maximum(weeks, 1))
    scattered = (spread > expected * (1 + 1e-9)) & (expected > 0)
    odds = np.where(scattered, expected / np.where(scattered, spread, 1), 0.5)
    size = np.where(scattered, expected * odds / (1 - odds), 1.0)
    level = np.where(scattered, nbinom.ppf(service, size, odds), poisson.ppf(service, np.maximum(expected, 1e-12)))
    return np.where(expected > 0, level, 0.0)


def order_quantity(yearly: Floats, order_cost: float, holding_cost: Floats) -> Floats:
    """The economic order quantity of Harris (1913), √(2 · demand · order cost / holding cost), rounded up; 0 without demand."""
    safe = np.maximum(holding_cost, 1e-12)
    return np.where((yearly > 0) & (holding_cost > 0), np.ceil(np.sqrt(2 * yearly * order_cost / safe)), 0.0)


def decide_stock(con: DuckDBPyConnection, rules: Stock | None) -> Decided:
    """Reorder point, and quantity to order now, of every product whose stock, lead time, demand and cost are known."""
    counted = rows_of(con, "stock_counted").pl()
    missing = [MISSING] if rules is None else []
    if counted.is_empty():
        missing.append("the source maps no inventory_snapshots (what lay on the shelves, and lead times)")
    elif counted["lead_time_days"].null_count() == counted.height:
        missing.append("inventory_snapshots name no lead_time_days")
    if missing or rules is None:
        return refused(missing)
    days = rules.days // _WEEK * _WEEK
    sold = rows_of(con, "weekly_units", days=days).pl()
    rows = stock_rows(counted, sold, rows_of(con, "weeks_out_of_stock", days=days).pl(), rules)
    if not rows:
        return refused(["no product has its lead time, its cost and eight weeks of sales without an empty shelf"])
    value = [sum(row[name] for row in rows) for name in ("value", "value_low", "value_high")]
    due = sum(row["order_quantity"] > 0 for row in rows)
    return Decided(
        "made", f"{due:,} of {len(rows):,} products are to be ordered now", rows,
        assumptions=f"demand goes on as in the last {days // _WEEK} weeks; who meets an empty shelf buys nothing; what is on order "
        "already is not delivered by the source; value of the reorder point against the present one over one lead time, "
        "interval 90 % of what one lead time may bring, products taken as going together",
        value=value[0], low=value[1], high=value[2], unit="currency per lead time",
        made_from=("silver.inventory_snapshots", "gold.fct_order_items where is_valid and order_date > "
                   f"(select max(order_date) from gold.fct_order_items where is_valid) - {days}"),
    )  # fmt: skip


def stock_rows(counted: pl.DataFrame, sold: pl.DataFrame, empty: pl.DataFrame, rules: Stock) -> list[dict[str, Any]]:
    """The rows of `ml.inventory_plan`; products that lack something are left out."""
    import polars as pl

    weeks = rules.days // _WEEK
    # What is sold while the shelf is empty at the week's start says little about what is wanted.
    whole = sold.join(empty, on=["product_id", "week"], how="anti")
    blank = empty.filter(pl.col("week").is_between(0, weeks - 1)).group_by("product_id").len("blank")
    known = whole.group_by("product_id").agg(
        pl.col("units").sum(), (pl.col("units") ** 2).sum().alias("squares"), pl.col("unit_cost").max(),
        (pl.col("revenue").sum() / pl.col("units").sum()).alias("price"),
    )  # fmt: skip
    oldest = sold.group_by("product_id").agg((pl.col("week").max() + 1).alias("listed"))
    frame = (
        counted.join(known, on="product_id").join(oldest, on="product_id").join(blank, on="product_id", how="left")
        .with_columns((pl.col("listed") - pl.col("blank").fill_null(0)).alias("weeks"))
        .filter(
            (pl.col("weeks") >= _FEWEST_WEEKS) & (pl.col("units") > 0) & (pl.col("unit_cost") > 0)
            & pl.col("lead_time_days").is_not_null()
        ).sort("product_id")
    )  # fmt: skip
    return _rows(frame, rules) if frame.height else []


def _rows(frame: pl.DataFrame, rules: Stock) -> list[dict[str, Any]]:
    names = ("weeks", "units", "squares", "unit_cost", "price", "lead_time_days", "on_hand")
    weeks, units, squares, cost, price, lead, on_hand = (frame[n].to_numpy().astype(np.float64) for n in names)
    mean = units / weeks
    variance = np.maximum((squares - weeks * mean**2) / (weeks - 1), mean)
    protection = lead + rules.review_days
    level = reorder_point(mean, variance, weeks, protection, rules.service_level)
    batch = order_quantity(mean * 365 / _WEEK, rules.order_cost, cost * rules.holding_cost_rate)
    wanted = np.where(on_hand <= level, np.maximum(batch, level - on_hand), 0.0)
    present = frame["reorder_point"].fill_null(0).to_numpy().astype(np.float64)
    value, low, high = _worth(
        mean, variance, protection, (present, level), price - cost, cost * rules.holding_cost_rate
    )
    return [
        {
            "product_id": product, "on_hand": int(on_hand[n]), "lead_time_days": int(lead[n]),
            "weeks_observed": int(weeks[n]), "units_per_week": float(mean[n]), "units_protected": float(mean[n] * protection[n] / _WEEK),
            "reorder_point_now": None if now is None else int(now), "reorder_point": int(level[n]),
            "order_quantity": int(wanted[n]), "value": float(value[n]), "value_low": float(low[n]), "value_high": float(high[n]),
        }
        for n, (product, now) in enumerate(frame.select("product_id", "reorder_point").iter_rows())
    ]  # fmt: skip


def _worth(
    mean: Floats, variance: Floats, protection: Floats, levels: tuple[Floats, Floats], margin: Floats, holding: Floats
) -> tuple[Floats, Floats, Floats]:
    """What the second level brings over one protected period more than the first: margin of what is sold, less keeping it."""
    random = np.random.default_rng(_SEED)
    expected, spread = mean * protection / _WEEK, np.maximum(variance, mean * 1.0001) * protection / _WEEK
    # A gamma-mixed Poisson is the negative binomial with these moments.
    rate = random.gamma(expected**2 / (spread - expected), (spread - expected) / expected, (_DRAWS, len(mean)))
    demand = random.poisson(rate)
    first, second = (np.minimum(demand, level) for level in levels)
    gain = (second - first) * margin - (levels[1] - levels[0]) * holding * protection / 365
    low, high = np.quantile(gain, [0.05, 0.95], axis=0)
    average = gain.mean(axis=0)
    return average, np.minimum(low, average), np.maximum(high, average)
