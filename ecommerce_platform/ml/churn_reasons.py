"""Why a customer is thought to be lost or kept, in words: what their values do on average to the model's probability.

The effects are partial dependences (Friedman 2001): the mean probability over customers who are given a value. They say
what the model does, not what would happen if the value were changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.ml.churn_model import Calibration, Encoder, Scorer

if TYPE_CHECKING:
    import polars as pl

#: Of how many customers the mean is taken, on how many values of a number, for how many features.
BACKGROUND, GRID, MOST_FEATURES = 200, 8, 12
#: Reasons that a customer is told of, and the least effect that is one.
MOST_REASONS, LEAST_EFFECT = 3, 0.01

#: A value in words. {n} is a number as people write it, {p} a share as per cent, {s} its plural s, {t} a text.
WORDS = {
    "recency_days": "last order {n} day{s} ago",
    "purchase_days": "bought on {n} day{s} so far",
    "orders": "{n} order{s} so far",
    "orders_not_counted": "{n} order{s} canceled or void",
    "units": "{n} unit{s} bought",
    "gross_amount": "bought for {n} before discounts",
    "discount_amount": "{n} of discounts",
    "revenue": "revenue of {n} so far",
    "aov": "{n} per order",
    "largest_order_amount": "largest order {n}",
    "orders_90_days": "{n} order{s} in the last 90 days",
    "revenue_90_days": "revenue of {n} in the last 90 days",
    "revenue_90_days_before": "revenue of {n} in the 90 days before those",
    "age_days": "first order {n} day{s} ago",
    "lifespan_days": "{n} day{s} from first to last order",
    "registration_to_first_order_days": "{n} day{s} from registration to first order",
    "avg_gap_days": "usually {n} day{s} between purchases",
    "gap_deviation_days": "time between purchases varies by {n} day{s}",
    "longest_gap_days": "longest pause {n} day{s}",
    "discount_share": "{p} of the amount was discount",
    "discounted_order_share": "{p} of orders with a discount",
    "campaign_order_share": "{p} of orders through campaigns",
    "weekend_order_share": "{p} of orders at weekends",
    "channels": "bought through {n} channel{s}",
    "categories": "bought from {n} categor{ies}",
    "products": "{n} different product{s}",
    "deliveries": "{n} deliver{ies} received",
    "avg_delivery_days": "{n} day{s} to delivery on average",
    "late_deliveries": "{n} late deliver{ies}",
    "late_delivery_share": "{p} of deliveries late",
    "most_days_late": "at worst {n} day{s} late",
    "returned_orders": "{n} order{s} returned",
    "returned_order_share": "{p} of orders returned",
    "refund_amount": "{n} refunded",
    "reviews": "{n} review{s} written",
    "avg_review_score": "reviews with {n} star{s} on average",
    "lowest_review_score": "a review with {n} star{s}",
    "sessions": "{n} visit{s} seen",
    "product_views": "{n} product{s} looked at",
    "adds_to_cart": "put into the cart {n} time{s}",
    "days_since_visit": "last visit {n} day{s} ago",
    "age_group": "age {t}",
    "customer_segment": "customer segment {t}",
    "region": "lives in {t}",
    "favourite_channel": "mostly buys by {t}",
    "favourite_category": "mostly buys {t}",
}


def in_words(feature: str, value: Any) -> str:
    """A feature's value as a phrase, such as "last order 85 days ago"."""
    if isinstance(value, str):
        return WORDS[feature].format(t=value)
    number = float(value)
    text = f"{number:,.0f}" if abs(number) >= 10 or number == round(number) else f"{number:.1f}"
    one = text == "1"
    return WORDS[feature].format(n=text, p=f"{number:.0%}", s="" if one else "s", ies="y" if one else "ies")


@dataclass(frozen=True)
class Effects:
    """What values do to the probability: per feature the values that were tried, and the effect of each.

    Attributes:
        numbers: feature → (values ascending, effects); a customer's value has the effect of the nearest.
        texts: feature → text → effect.
    """

    numbers: Mapping[str, tuple[np.ndarray, np.ndarray]]
    texts: Mapping[str, Mapping[str, float]]

    def to_state(self) -> dict[str, Any]:
        """Plain containers and arrays."""
        numbers = {name: [values, effects] for name, (values, effects) in self.numbers.items()}
        return {"numbers": numbers, "texts": {name: dict(found) for name, found in self.texts.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Effects:
        """What `to_state` gave."""
        numbers = {n: (np.asarray(pair[0]), np.asarray(pair[1])) for n, pair in state["numbers"].items()}
        return cls(numbers, {name: dict(found) for name, found in state["texts"].items()})


def effects_of(
    scorer: Scorer, calibration: Calibration, encoder: Encoder, rows: pl.DataFrame, features: Sequence[str], seed: int
) -> Effects:
    """The effects of the values of some features, on a sample of the rows.

    Args:
        scorer: fitted.
        calibration: of it.
        encoder: of the rows.
        rows: customers with the features.
        features: the most important first; the first `MOST_FEATURES` that the encoder knows count.
        seed: of the sample.
    """
    import polars as pl

    at = np.sort(np.random.default_rng(seed).permutation(rows.height)[:BACKGROUND])
    sample = rows[at]
    tried = [name for name in features if name in encoder.numbers or name in encoder.levels][:MOST_FEATURES]
    values = {name: _values(rows[name], encoder.levels.get(name)) for name in tried}
    frames = [sample]
    for name, of_feature in values.items():
        frames += [sample.with_columns(pl.lit(v, dtype=rows.schema[name]).alias(name)) for v in of_feature]
    together = calibration.probability(scorer.logits(encoder.encode(pl.concat(frames))))
    means = together.reshape(len(frames), sample.height).mean(1)
    numbers, texts, place = {}, {}, 1
    for name, of_feature in values.items():
        found = means[place : place + len(of_feature)] - means[0]
        place += len(of_feature)
        if name in encoder.levels:
            texts[name] = {str(v): float(e) for v, e in zip(of_feature, found, strict=True)}
        else:
            numbers[name] = (np.array(of_feature, dtype=np.float64), found)
    return Effects(numbers, texts)


def _values(column: pl.Series, levels: Sequence[str] | None) -> list[Any]:
    if levels is not None:
        return list(levels)
    known = column.drop_nulls().to_numpy()
    return list(np.unique(np.quantile(known, np.linspace(0.02, 0.98, GRID), method="nearest")))


def reasons(effects: Effects, rows: pl.DataFrame) -> list[str | None]:
    """For each row the up to three values of the largest effect, in words; null where none has any.

    "last order 85 days ago (+12); 1 order so far (+6)": percentage points that a value adds to the probability of being
    lost, on average over customers.
    """
    names = [*effects.numbers, *effects.texts]
    if not names or not rows.height:
        return [None] * rows.height
    table = np.zeros((rows.height, len(names)))
    for j, name in enumerate(names):
        if name in effects.numbers:
            values, found = effects.numbers[name]
            column = rows[name].to_numpy().astype(np.float64)
            nearest = np.searchsorted((values[1:] + values[:-1]) / 2, np.nan_to_num(column))
            table[:, j] = np.where(np.isnan(column), 0.0, found[nearest])
        else:
            of_text = effects.texts[name]
            table[:, j] = [of_text.get(text, 0.0) for text in rows[name].to_list()]
    order = np.argsort(-np.abs(table), axis=1, kind="stable")[:, :MOST_REASONS]
    columns = [rows[name].to_list() for name in names]
    return [_told(names, columns, table[i], order[i], i) for i in range(rows.height)]


def _told(
    names: Sequence[str], columns: Sequence[list[Any]], effect: np.ndarray, order: np.ndarray, row: int
) -> str | None:
    said = [
        f"{in_words(names[j], columns[j][row])} ({100 * effect[j]:+.0f})"
        for j in order
        if abs(effect[j]) >= LEAST_EFFECT
    ]
    return "; ".join(said) or None
