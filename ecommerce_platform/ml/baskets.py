"""What is bought together: rules between products, checked on later orders, and what to show beside each product.

Which orders are baskets, how rules become recommendations, and whether they recommend better than best sellers do is here.
Counting, measures and tests are in `association.py`.

**Recommendations** of a product: the consequents of its rules, the surest first; where it has fewer than five, the best
sellers of its category, then those of the shop. The baseline `category_bestsellers` is the same without rules.

**The gate**: rules from the earlier four fifths of the days are tried on the orders of the last fifth. Each order with two or
more products asks for each of its products whether one of the five recommended stands beside it. Rules are used where this
happens more often than for the baseline, with an interval over orders that excludes 0. `ml.basket_rules` holds the rules
whoever recommends: they say what was counted, and `lift_later` how it went on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.ml import evaluation, lifecycle
from ecommerce_platform.ml.association import (
    MAX_PRODUCTS,
    MEMORY_BYTES,
    Baskets,
    Limits,
    Rule,
    count_of,
    count_sets,
    rules,
)
from ecommerce_platform.ml.columns import TEXT
from ecommerce_platform.ml.columns import Rule as ColumnRule
from ecommerce_platform.ml.lifecycle import Comparison, Evaluation, Inputs

if TYPE_CHECKING:
    import polars as pl

METHOD, BASELINE = "association_rules", "category_bestsellers"
RULES, TOGETHER = "ml.basket_rules", "ml.bought_together"
LIMITS = Limits()
#: Recommendations per product.
SHOWN = 5
#: Share of the days whose orders check what the earlier ones say.
LATER_SHARE = 0.2
#: Rules that a card shows.
_SURE = 20
#: Fewer later orders with two products decide nothing.
MIN_LATER = 30


@dataclass(frozen=True)
class Shop:
    """Orders as baskets of product numbers, and the catalogue.

    Attributes:
        baskets: of all orders; numbers are places in `product_ids` and `days`.
        days: day of each basket, ascending, as ordinals.
        product_ids: by product number, ascending.
        category: category number of each product, -1 without one.
        min_baskets: how many orders a pair has to be in (`min_pair_orders` of the source).
    """

    baskets: Baskets
    days: np.ndarray
    product_ids: tuple[str, ...]
    category: np.ndarray
    min_baskets: int

    def between(self, first: int, end: int) -> Shop:
        """The orders of the days from `first` to before `end` (ordinals)."""
        start, stop = np.searchsorted(self.days, (first, end))
        rows = slice(*np.searchsorted(self.baskets.basket, (start, stop)))
        held = Baskets(
            self.baskets.basket[rows] - start, self.baskets.product[rows], int(stop - start), self.baskets.products
        )  # fmt: skip
        return Shop(held, self.days[start:stop], self.product_ids, self.category, self.min_baskets)


def read_shop(lines: pl.DataFrame, products: pl.DataFrame, min_baskets: int) -> Shop:
    """The shop as numbers.

    Args:
        lines: order_id, order_date, product_id: a row per product of an order that counts.
        products: product_id, category (null where there is none); the catalogue, also of what was never sold.
        min_baskets: how many orders a pair has to be in.
    """
    import polars as pl

    catalogue = pl.concat([products.select("product_id"), lines.select("product_id")]).unique().sort("product_id")
    categories = products.select("category").drop_nulls().unique().sort("category").with_row_index("category_number")
    known = (
        catalogue.with_row_index("product")
        .join(products, on="product_id", how="left")
        .join(categories, on="category", how="left")
        .sort("product")
    )
    orders = lines.group_by("order_id").agg(pl.col("order_date").min()).sort("order_date", "order_id")
    # As one number for each: frames of millions of rows with texts in them would take the memory.
    product = lines["product_id"].cast(pl.Enum(known["product_id"])).to_physical().cast(pl.Int64).to_numpy()
    number = lines.select("order_id").join(
        orders.select("order_id").with_row_index("basket"), on="order_id", how="left", maintain_order="left"
    )["basket"].cast(pl.Int64).to_numpy()  # fmt: skip
    basket, product = np.divmod(np.unique(number * max(known.height, 1) + product), max(known.height, 1))
    baskets = Baskets(basket, product, orders.height, known.height)
    return Shop(
        baskets,
        orders["order_date"].to_physical().cast(pl.Int64).to_numpy() + date(1970, 1, 1).toordinal(),
        tuple(known["product_id"]),
        known["category_number"].cast(pl.Int64).fill_null(-1).to_numpy(),
        min_baskets,
    )


# -- recommending ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recommender:
    """What to show beside a product.

    Attributes:
        by_rules: product number → consequents of its rules, the surest first; empty for the baseline.
        of_category: category number → its best sellers, `SHOWN` + 1 at most.
        of_shop: the shop's.
    """

    by_rules: Mapping[int, tuple[int, ...]]
    of_category: Mapping[int, tuple[int, ...]]
    of_shop: tuple[int, ...]

    def beside(self, product: int | None, category: int) -> list[tuple[int, str]]:
        """Up to `SHOWN` products, each with why: rule, category or bestseller.

        Args:
            product: its number; None for one that the catalogue lacks.
            category: of the product, -1 if it has none.
        """
        sources = (
            ("rule", self.by_rules.get(-1 if product is None else product, ())),
            ("category", self.of_category.get(category, ())),
            ("bestseller", self.of_shop),
        )
        found: dict[int, str] = {}
        for basis, others in sources:
            for other in others:
                if other != product and len(found) < SHOWN:
                    found.setdefault(other, basis)
        return list(found.items())


def recommender(shop: Shop, found: Sequence[Rule]) -> Recommender:
    """From the orders of a shop, and rules (none: the baseline)."""
    by_rules: dict[int, list[int]] = {}
    for rule in found:
        if len(rule.antecedent) == 1:
            by_rules.setdefault(rule.antecedent[0], []).append(rule.consequent)
    sold = np.bincount(shop.baskets.product, minlength=shop.baskets.products)
    best = np.argsort(-sold, kind="stable")
    best = best[sold[best] > 0]
    of_category: dict[int, list[int]] = {}
    for product in best:
        of_category.setdefault(int(shop.category[product]), []).append(int(product))
    return Recommender(
        {product: tuple(others[:SHOWN]) for product, others in by_rules.items()},
        {c: tuple(others[: SHOWN + 1]) for c, others in of_category.items() if c >= 0},
        tuple(int(product) for product in best[: SHOWN + 1]),
    )


def hits(recommend: Recommender, shop: Shop) -> tuple[np.ndarray, np.ndarray]:
    """How often a product beside another was among those recommended for it.

    Returns:
        For each order with two or more products: how many of its products had a hit, and how many products it has.
    """
    asked = np.unique(shop.baskets.product)
    shown = np.full((shop.baskets.products, SHOWN), -1)
    for product in asked:
        others = [other for other, _ in recommend.beside(int(product), int(shop.category[product]))]
        shown[product, : len(others)] = others
    basket, product = shop.baskets.basket, shop.baskets.product
    # A pair (basket, product) is there or not: looked up as one number.
    keys = basket * shop.baskets.products + product
    hit = np.zeros(len(keys), dtype=bool)
    for place in range(SHOWN):
        other = shown[product, place]
        wanted = basket * shop.baskets.products + other
        found = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        hit |= (other >= 0) & (keys[found] == wanted) if len(keys) else False
    size = np.bincount(basket, minlength=shop.baskets.baskets)
    number = np.bincount(basket, weights=hit, minlength=shop.baskets.baskets)
    return number[size >= 2], size[size >= 2].astype(np.float64)


# -- judging -----------------------------------------------------------------------------------------------------


def later_from(shop: Shop) -> int | None:
    """The first day (ordinal) of the orders that check; None where the days can't be divided."""
    if not len(shop.days):
        return None
    first, end = int(shop.days[0]), int(shop.days[-1]) + 1
    cut = end - max(1, round((end - first) * LATER_SHARE))
    return cut if cut > first else None


def judge(shop: Shop, seed: int, memory_bytes: int = MEMORY_BYTES) -> Evaluation:
    """Tries rules of the earlier orders on the later ones; `carry` is the shop and the earlier rules."""
    cut = later_from(shop)
    if cut is None:
        return Evaluation(METHOD, not_evaluated="no later orders to judge on", carry=(shop, []))
    earlier, later = shop.between(0, cut), shop.between(cut, date.max.toordinal())
    fold = date.fromordinal(cut).isoformat()
    found = rules(count_sets(earlier.baskets, shop.min_baskets, memory_bytes=memory_bytes), LIMITS)
    of_rules, asked = hits(recommender(earlier, found), later)
    of_baseline, _ = hits(recommender(earlier, []), later)
    said = None
    if len(asked) < MIN_LATER:
        said = f"fewer than {MIN_LATER} later orders hold two products"
    elif not found:
        said = "no rule stands out from chance in the earlier orders"
    if said:
        return Evaluation(METHOD, not_evaluated=said, metrics={"evaluated_from": fold}, carry=(shop, found))
    sums = evaluation.block_sums(np.column_stack([of_rules - of_baseline, asked]), seed)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], (0.025, 0.975))
    name, total = f"hit_rate_at_{SHOWN}", asked.sum()
    rate = Comparison(
        name, float(of_rules.sum() / total), float(of_baseline.sum() / total), float(low), float(high), fold, decides=True
    )  # fmt: skip
    lifts = later_lifts(found, later)
    known = lifts[np.isfinite(lifts)]
    metrics = {
        "evaluated_from": fold,
        "rules_earlier": len(found),
        "later_orders_with_two_products": len(asked),
        "median_lift_earlier": float(np.median([rule.lift for rule in found])),
        "median_lift_later": float(np.median(known)) if len(known) else None,
        "share_with_a_lift_above_1_later": float((known > 1).mean()) if len(known) else None,
    }
    return Evaluation(METHOD, [rate], metrics=metrics, exhibits=[_lift_exhibit(found, lifts)], carry=(shop, found))


def later_lifts(found: Sequence[Rule], later: Shop) -> np.ndarray:
    """The lift of each rule in other orders; NaN where one of its sides does not occur there."""
    if not found:
        return np.empty(0)
    baskets = later.baskets
    single = np.bincount(baskets.product, minlength=baskets.products)
    together = count_of([tuple(sorted((*r.antecedent, r.consequent))) for r in found], baskets)
    sides = [r.antecedent for r in found]
    longer = [side for side in sides if len(side) > 1]
    counted = iter(count_of(longer, baskets)) if longer else iter(())
    left = np.array([single[s[0]] if len(s) == 1 else next(counted) for s in sides], dtype=np.float64)
    right = single[[r.consequent for r in found]].astype(np.float64)
    expected = left * right / max(baskets.baskets, 1)
    return np.divide(together, expected, out=np.full(len(found), np.nan), where=expected > 0)


def _lift_exhibit(found: Sequence[Rule], lifts: np.ndarray) -> lifecycle.Exhibit:
    from ecommerce_platform.ml.plots import Line, Points, plot

    kept = [(rule.lift, later) for rule, later in zip(found, lifts, strict=True) if np.isfinite(later)][:1000]
    largest = max((max(pair) for pair in kept), default=1.0)
    picture = plot(
        Line([1, largest], [1, largest], "as before", dashed=True),
        Points([a for a, _ in kept], [b for _, b in kept], "rules"),
        title="Lift of rules of earlier orders in later ones",
        x="lift in earlier orders",
        y="lift in later orders",
    )
    return lifecycle.Exhibit(
        "Lift in later orders", "The surest rules of the earlier four fifths of the days, at most 1,000.", svg=picture
    )


# -- as the lifecycle knows it -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """Rules of all orders, and what recommends.

    Attributes:
        rules: rows of `ml.basket_rules` without names.
        recommend: by rules, or the baseline.
        product_ids: by product number.
        categories: by category number.
        about: for the card.
    """

    rules: tuple[Mapping[str, Any], ...]
    recommend: Recommender
    product_ids: tuple[str, ...]
    categories: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


def rule_rows(found: Sequence[Rule], shop: Shop, before: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rows of `ml.basket_rules`, without names.

    Args:
        found: rules of all orders.
        shop: all orders.
        before: rules of the earlier orders alone.
    """
    cut = later_from(shop)
    lifts = later_lifts(found, shop.between(cut, date.max.toordinal())) if cut else np.full(len(found), np.nan)
    known_before = {(rule.antecedent, rule.consequent) for rule in before}
    ids = shop.product_ids
    return [
        {
            "antecedent": [ids[product] for product in rule.antecedent],
            "consequent": ids[rule.consequent],
            "orders_together": rule.together,
            "orders_with_antecedent": rule.with_antecedent,
            "orders_with_consequent": rule.with_consequent,
            "orders": rule.baskets,
            "support": rule.support,
            "confidence": rule.confidence,
            "lift": rule.lift,
            "conviction": rule.conviction,
            "p_value": rule.p_value,
            "q_value": rule.q_value,
            "found_before": (rule.antecedent, rule.consequent) in known_before,
            "lift_later": float(later) if np.isfinite(later) else None,
        }
        for rule, later in zip(found, lifts, strict=True)
    ]


class BasketModel(lifecycle.Model):
    """Basket analysis as the lifecycle knows it."""

    name, baseline = "baskets", BASELINE
    title = "Bought together"
    purpose = "Which products to show, place or bundle beside which."
    limits = (
        "A rule says that products are bought together, not that showing one sells the other: an experiment says that.",
        "Orders of one customer count as independent, and large baskets hold more of everything: both make p-values smaller "
        "than they should be. lift_later is the check that does not depend on it.",
        "Pairs that fewer orders hold than min_pair_orders (source.yml) are no rules, however strong.",
    )
    inputs = {
        "lines": lifecycle.select("basket_lines"),
        "products": lifecycle.select("select product_id, category from gold.dim_product"),
        "shop": lifecycle.select("select min_pair_orders from silver.shop"),
        "names": lifecycle.select("select product_id, name, category from gold.dim_product"),
    }
    trained_on = ("lines", "products", "shop")
    scored_on = {RULES: ("names",), TOGETHER: ("names",)}
    columns = {"product_id": TEXT, "category": ColumnRule("text", optional=True)}
    imports = ("scipy.stats", "mlxtend.frequent_patterns")
    libraries = ("numpy", "scipy", "mlxtend", "duckdb")
    code = tuple(Path(__file__).with_name(f"{name}.py") for name in ("baskets", "association", "evaluation"))
    stored_as = "json"

    def evaluate(self, inputs: Inputs, *, seed: int, full: bool) -> Evaluation:
        """Rules of the earlier orders on the later ones."""
        return judge(_shop(inputs), seed)

    def fit(self, inputs: Inputs, method: str, evaluation: Evaluation, *, seed: int, full: bool) -> Fitted:
        """Rules of all orders; `method` says whether they recommend."""
        shop, before = evaluation.carry
        counts = count_sets(shop.baskets, shop.min_baskets)
        found = rules(counts, LIMITS)
        categories = tuple(inputs["products"]["category"].drop_nulls().unique().sort())
        about = {
            "orders": counts.baskets,
            "pairs_counted": len(counts.pairs),
            "longer_sets_counted": len(counts.longer),
            "min_orders_of_a_pair": counts.min_baskets,
            "min_orders_of_a_longer_set": counts.min_longer,
            "min_support": counts.min_baskets / max(counts.baskets, 1),
            "min_support_of_a_longer_set": counts.min_longer / max(counts.baskets, 1),
            "memory_budget_raised_it": counts.min_longer > counts.min_baskets,
            "rules": len(found),
            "rules_with_more_than_two_products": sum(len(rule.antecedent) > 1 for rule in found),
        }
        rows = rule_rows(found, shop, before)
        return Fitted(
            tuple(rows), recommender(shop, found if method == METHOD else []), shop.product_ids, categories, about
        )

    def to_state(self, fitted: Fitted) -> dict[str, Any]:
        """As plain values."""
        recommend = fitted.recommend
        return {
            "rules": [dict(row) for row in fitted.rules],
            "by_rules": sorted([product, list(others)] for product, others in recommend.by_rules.items()),
            "of_category": sorted([category, list(others)] for category, others in recommend.of_category.items()),
            "of_shop": list(recommend.of_shop),
            "product_ids": list(fitted.product_ids),
            "categories": list(fitted.categories),
            "about": dict(fitted.about),
        }

    def from_state(self, state: Mapping[str, Any]) -> Fitted:
        """What `to_state` stored."""
        recommend = Recommender(
            {product: tuple(others) for product, others in state["by_rules"]},
            {category: tuple(others) for category, others in state["of_category"]},
            tuple(state["of_shop"]),
        )
        return Fitted(
            tuple(state["rules"]), recommend, tuple(state["product_ids"]), tuple(state["categories"]), state["about"]
        )  # fmt: skip

    def score(self, fitted: Fitted, inputs: Inputs, table: str) -> pl.DataFrame:
        """The rules with names; or what stands beside each product of the catalogue."""
        if table == RULES:
            return _named_rules(fitted, inputs["names"])
        return recommendations(fitted, inputs["names"])

    def predict(self, fitted: Fitted, rows: pl.DataFrame) -> pl.DataFrame:
        """What to show beside the product of each row: `SHOWN` columns, and why the first is shown."""
        import polars as pl

        number, category = _numbers(fitted)
        found = []
        for product, of in rows.select("product_id", "category").iter_rows():
            others = fitted.recommend.beside(number.get(product), category.get(of, -1))
            ids = [fitted.product_ids[other] for other, _ in others]
            found.append([*ids, *[None] * (SHOWN - len(ids)), others[0][1] if others else None])
        names = [*(f"beside_{i + 1}" for i in range(SHOWN)), "basis"]
        shown = pl.DataFrame(found, schema=dict.fromkeys(names, pl.String), orient="row")
        return pl.concat([rows.select("product_id"), shown], how="horizontal")

    def parameters(self, *, full: bool) -> dict[str, Any]:
        """Thresholds."""
        return {
            "min_confidence": float(LIMITS.min_confidence),
            "min_lift": float(LIMITS.min_lift),
            "max_q": LIMITS.max_q,
            "max_products": MAX_PRODUCTS,
            "memory_bytes": MEMORY_BYTES,
            "shown": SHOWN,
            "later_share": LATER_SHARE,
        }

    def window(self, inputs: Inputs) -> tuple[date | None, date | None]:
        """Of the orders."""
        days = inputs["lines"]["order_date"]
        return days.min(), days.max()  # type: ignore[return-value]

    def features(self, fitted: Fitted) -> tuple[str, ...]:
        """Products of an order, and their categories."""
        return ("product_id", "category")

    def exhibits(
        self, fitted: Fitted, inputs: Inputs, evaluation: Evaluation, *, seed: int
    ) -> Sequence[lifecycle.Exhibit]:
        """The surest rules of all orders."""
        shown = ("orders_together", "confidence", "lift", "lift_later", "q_value")
        rows = [
            (" + ".join(rule["antecedent"]), rule["consequent"], *(rule[name] for name in shown))
            for rule in fitted.rules[:_SURE]
        ]
        said = (
            f"{len(fitted.rules):,} rules of {fitted.about['orders']:,} orders; a pair is in at least "
            f"{fitted.about['min_orders_of_a_pair']} of them, a longer set in {fitted.about['min_orders_of_a_longer_set']}."
        )
        return [lifecycle.Exhibit("The surest rules", said, ("who buys", "also buys", *shown), rows)]

    def about(self, fitted: Fitted, inputs: Inputs) -> dict[str, Any]:
        """What was counted, and with which minimum."""
        return dict(fitted.about)


def _shop(inputs: Inputs) -> Shop:
    least = int(inputs["shop"]["min_pair_orders"][0])
    return read_shop(inputs["lines"], inputs["products"], least)


def _numbers(fitted: Fitted) -> tuple[dict[str, int], dict[str | None, int]]:
    return (
        {product: i for i, product in enumerate(fitted.product_ids)},
        {category: i for i, category in enumerate(fitted.categories)},
    )


def _named_rules(fitted: Fitted, names: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    name = dict(names.select("product_id", "name").iter_rows())
    rows = [
        {
            **row,
            "antecedent": json.dumps(row["antecedent"], ensure_ascii=False),
            "antecedent_products": len(row["antecedent"]),
            "antecedent_names": " + ".join(str(name.get(product) or product) for product in row["antecedent"]),
            "consequent_name": name.get(row["consequent"]),
            # Rules are there whoever recommends.
            "model": METHOD,
        }
        for row in fitted.rules
    ]
    texts = ("antecedent", "consequent", "antecedent_names", "consequent_name", "model")
    whole = ("orders_together", "orders_with_antecedent", "orders_with_consequent", "orders", "antecedent_products")
    rates = ("support", "confidence", "lift", "conviction", "p_value", "q_value", "lift_later")
    schema = {
        **dict.fromkeys(texts, pl.String),
        **dict.fromkeys(whole, pl.Int64),
        **dict.fromkeys(rates, pl.Float64),
        "found_before": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema)


def recommendations(fitted: Fitted, products: pl.DataFrame) -> pl.DataFrame:
    """Rows of `ml.bought_together`.

    Args:
        fitted: what recommends.
        products: product_id, name, category of the catalogue.
    """
    import polars as pl

    number, category = _numbers(fitted)
    of_rule = {(tuple(r["antecedent"]), r["consequent"]): r for r in fitted.rules if len(r["antecedent"]) == 1}
    rows = []
    for product, of in products.select("product_id", "category").iter_rows():
        for place, (other, basis) in enumerate(fitted.recommend.beside(number.get(product), category.get(of, -1))):
            other_id = fitted.product_ids[other]
            rule = of_rule.get(((product,), other_id), {}) if basis == "rule" else {}
            said = (rule.get("orders_together"), rule.get("confidence"), rule.get("lift"), rule.get("lift_later"))
            rows.append((product, place + 1, other_id, basis, *said))
    schema = {
        "product_id": pl.String,
        "place": pl.Int32,
        "other_product_id": pl.String,
        "basis": pl.String,
        "orders_together": pl.Int64,
        "confidence": pl.Float64,
        "lift": pl.Float64,
        "lift_later": pl.Float64,
    }
    shown = pl.DataFrame(rows, schema=schema, orient="row")
    names = products.select(pl.col("product_id").alias("other_product_id"), pl.col("name").alias("other_product_name"))
    return shown.join(names, on="other_product_id", how="left", maintain_order="left")


MODEL = BasketModel()
