"""What to offer beside what lies in the basket, per customer segment: `ml.cross_sell`.

Which products are bought together is known from `ml.bought_together`; here it is counted how often each segment had the one without
the other, and what that is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.decision_rules import CrossSell
from ecommerce_platform.decisions.recommendation import Decided, refused
from ecommerce_platform.decisions.selects import rows_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READS = ("ml.bought_together", "ml.segments", "gold.fct_orders", "gold.fct_order_items")
SELECTS = ("segment_baskets",)
MISSING = (
    "`decisions: cross_sell:` in source.yml lacks taken: how much more often, as a share of how often it is bought beside the other "
    "anyway, a product is bought when it is offered"
)
#: Baskets of a segment from which on an offer is made.
FEWEST = 30


def decide_cross_sell(con: DuckDBPyConnection, rules: CrossSell | None) -> Decided:
    """The offers of each segment that bring most."""
    shown, ruled = con.execute(
        "select count(*), count(*) filter (where basis = 'rule') from ml.bought_together"
    ).fetchall()[0]
    missing = [MISSING] if rules is None else []
    if not con.execute("select count(*) from ml.segments").fetchall()[0][0]:
        missing.append("no customer has a segment (ml.segments)")
    if missing or rules is None:
        return refused(missing)
    if not ruled:
        return Decided("abstained", f"none of the {shown:,} recommendations of ml.bought_together rests on a rule")
    baskets = list(rows_of(con, "segment_baskets", days=rules.days).pl().iter_rows(named=True))
    if baskets and all(row["profit"] is None for row in baskets):
        return refused(["no product that could be offered has a profit: the source maps no unit_cost"])
    rows = offers(baskets, rules)
    if not rows:
        return Decided(
            "abstained", f"no segment has {FEWEST} baskets of the newest {rules.days} days with a rule's product"
        )
    sums = [sum(row[name] for row in rows) for name in ("expected_value", "value_low", "value_high")]
    return Decided(
        "made", f"{len(rows):,} offers to {len({row['segment_name'] for row in rows}):,} segments", rows,
        assumptions=f"an offer is taken by {rules.taken.likely:.0%} ({rules.taken.low:.0%} to {rules.taken.high:.0%}) of how often it is "
        f"bought beside the other anyway, as source.yml says; baskets of the newest {rules.days} days come again; offers in one basket "
        "do not take from each other; ends of intervals (90 % of the share, and of what is taken the whole range) added up",
        value=sums[0], low=sums[1], high=sums[2], unit=f"currency in {rules.days} days",
        made_from=("ml.bought_together where basis = 'rule'", "ml.segments", "gold.fct_order_items where is_valid",
                   "gold.fct_orders where is_counted and person_id is not null and order_date > "
                   f"(select max(order_date) from gold.fct_orders where is_counted) - {rules.days}"),
    )  # fmt: skip


def offers(baskets: Sequence[dict[str, Any]], rules: CrossSell) -> list[dict[str, Any]]:
    """The rows of `ml.cross_sell`: per segment the offers with the highest value, the best first.

    Value = baskets without the other × share of baskets with it × what an offer adds to that × its profit in a basket. The share's
    interval is Jeffreys' (Brown, Cai and DasGupta 2001).

    Args:
        baskets: `segment_name`, `product_id`, `other_product_id`, `baskets`, `with_both`, `profit` of the other in a basket.
        rules: what an offer adds, and how many of them a segment gets.
    """
    from scipy.special import betaincinv

    found = []
    for row in baskets:
        size, both, profit = row["baskets"], row["with_both"], row["profit"]
        if size < FEWEST or both == 0 or profit is None or profit <= 0:
            continue
        low, high = (float(betaincinv(both + 0.5, size - both + 0.5, end)) for end in (0.05, 0.95))
        each = (size - both) * profit
        found.append(row | {
            "share": both / size, "expected_value": each * both / size * rules.taken.likely,
            "value_low": each * low * rules.taken.low, "value_high": each * high * rules.taken.high,
        })  # fmt: skip
    made: list[dict[str, Any]] = []
    for segment in sorted({row["segment_name"] for row in found}):
        mine = sorted(
            (row for row in found if row["segment_name"] == segment),
            key=lambda row: (-row["expected_value"], row["product_id"], row["other_product_id"]),
        )
        made += [row | {"place": n} for n, row in enumerate(mine[: rules.offers], start=1)]
    return made
