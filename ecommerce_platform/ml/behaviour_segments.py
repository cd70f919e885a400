"""Which kinds of customers are there by how they came and what they took, rather than by when they were here last?

The second set of figures: days from registration to the first order, days between first and last order, units, revenue.
Who registered only after the first order has no delay to speak of and is a group of their own, beside the clusters. How
clusters are fitted, chosen and compared is in `clusters.py`, how a model lives in `lifecycle.py`.

The baseline `revenue_thirds` cuts persons in three by revenue. The gate is that of the segments by recency, frequency and
value (`segments.py`), among the persons with a delay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.ml import artifacts, clusters, lifecycle
from ecommerce_platform.ml.cards import Exhibit
from ecommerce_platform.ml.clusters import MIN_SHARE, Choice, Clusters, Later
from ecommerce_platform.ml.columns import MONEY, TEXT, Rule
from ecommerce_platform.ml.lifecycle import Evaluation, Inputs
from ecommerce_platform.ml.rfm import split_orders

if TYPE_CHECKING:
    import polars as pl

METHOD, BASELINE = "kmeans_behaviour", "revenue_thirds"
TABLE = "ml.behaviour_segments"
FEATURES = ("delay_days", "lifespan_days", "units", "revenue")
LATE = "Registered after the first order"
_BASELINE_NAMES = ("Top third", "Middle third", "Bottom third")
#: Box-Cox needs positive values: revenue of at least a cent; days are counted from one.
_FLOOR = 0.01
_TRAITS = {
    "revenue": ("low value", "high value"),
    "units": ("few units", "many units"),
    "lifespan_days": ("short-lived", "long with us"),
    "delay_days": ("bought at once", "hesitated"),
}
_FORMAT = 1


@dataclass(frozen=True)
class Fitted:
    """Clusters of the persons with a delay, the cuts of the baseline, and which of them is published.

    Attributes:
        clusters: None where nothing could be fitted.
        cuts: revenue at one and two thirds of the persons.
        typical_delay: the median delay, which stands for one that is not known.
        promoted: whether the clusters are published.
    """

    clusters: Clusters | None
    cuts: tuple[float, float]
    typical_delay: float
    promoted: bool = False

    def thirds(self, values: np.ndarray) -> np.ndarray:
        """The baseline's labels: 0 for the top third by revenue."""
        return 2 - np.searchsorted(np.array(self.cuts), values[:, -1], side="left")


def as_of(orders: pl.DataFrame, registered: pl.DataFrame, day: date) -> pl.DataFrame:
    """The figures of every person with an order before a day, by id.

    Args:
        orders: person_id, order_date, units, revenue of counted orders.
        registered: person_id and registered_date of persons; a registration on or after the day is not known yet.
        day: the first that is not known.

    Returns:
        person_id, registration_to_first_order_days (null: not registered by the first order), registered_late,
        lifespan_days, units, revenue (DOUBLE).
    """
    import polars as pl

    bought = (
        orders.filter(pl.col("order_date") < day)
        .group_by("person_id")
        .agg(
            pl.col("order_date").min().alias("first"),
            pl.col("order_date").max().alias("last"),
            pl.col("units").sum(),
            pl.col("revenue").cast(pl.Decimal(38, 4)).sum().cast(pl.Float64),
        )
        .join(registered.filter(pl.col("registered_date") < day), on="person_id", how="left")
        .sort("person_id")
    )
    delay = (pl.col("first") - pl.col("registered_date")).dt.total_days()
    return bought.select(
        "person_id",
        pl.when(delay >= 0).then(delay).alias("registration_to_first_order_days"),
        (delay < 0).fill_null(False).alias("registered_late"),
        (pl.col("last") - pl.col("first")).dt.total_days().alias("lifespan_days"),
        "units",
        "revenue",
    )


def values_of(persons: pl.DataFrame, typical_delay: float) -> np.ndarray:
    """`FEATURES` as n × 4 doubles above zero: days counted from one, revenue at least a cent, no units as half a unit."""
    import polars as pl

    chosen = persons.select(
        pl.col("registration_to_first_order_days").cast(pl.Float64).fill_null(typical_delay) + 1,
        pl.col("lifespan_days").cast(pl.Float64) + 1,
        pl.max_horizontal(pl.col("units").cast(pl.Float64), pl.lit(0.5)),
        pl.max_horizontal(pl.col("revenue").cast(pl.Float64), pl.lit(_FLOOR)),
    )
    return np.column_stack([column.to_numpy() for column in chosen.iter_columns()])


def fit(persons: pl.DataFrame, seed: int, *, k: int = clusters.DEFAULT_K) -> tuple[Fitted, str]:
    """Clusters and baseline of the persons who are not late; and why there are no clusters, if there are none.

    Args:
        persons: as `as_of` gives them, by id.
        seed: of sample and starts.
        k: how many clusters.
    """
    import polars as pl

    known = persons.filter(~pl.col("registered_late"))
    typical = typical_delay(known)
    values = values_of(known, typical)
    cuts = np.quantile(values[:, -1], [1 / 3, 2 / 3]) if len(values) else np.zeros(2)
    found, why = clusters.fit_clusters(values, FEATURES, _TRAITS, seed, k=k)
    return Fitted(found, (float(cuts[0]), float(cuts[1])), typical), why


def typical_delay(persons: pl.DataFrame) -> float:
    """The median of the known days from registration to the first order; 0 where none is known."""
    import polars as pl

    found = persons["registration_to_first_order_days"].cast(pl.Float64).median()
    return float(found) if isinstance(found, float) else 0.0


def label(fitted: Fitted, persons: pl.DataFrame) -> pl.DataFrame:
    """The group of each person, in the order given: person_id, segment, segment_name, registered_late, distance.

    Whoever registered late stands in a group after the others, and has no distance.
    """
    import polars as pl

    values, late = values_of(persons, fitted.typical_delay), persons["registered_late"].to_numpy()
    if fitted.promoted and fitted.clusters:
        labels, distance = fitted.clusters.nearest(values)
        names = fitted.clusters.names
    else:
        labels, distance, names = fitted.thirds(values), np.full(len(values), np.nan), _BASELINE_NAMES
    labels = np.where(late, len(names), labels).astype(np.int32)
    return pl.DataFrame(
        {
            "person_id": persons["person_id"],
            "segment": labels,
            "segment_name": pl.Series([*names, LATE], dtype=pl.String).gather(labels),
            "registered_late": persons["registered_late"],
            "distance": pl.Series(np.where(late, np.nan, distance), dtype=pl.Float64).fill_nan(None),
        }
    )


@dataclass(frozen=True)
class Judged:
    """What the evaluation hands on: how many segments it chose, from what, and today's persons in three."""

    k: int
    seen: tuple[Choice, ...]
    today: Fitted


class BehaviourSegments(lifecycle.Model):
    """The second segmentation as the lifecycle knows it."""

    name, baseline = "behaviour_segments", BASELINE
    title = "Customer segments by behaviour"
    purpose = (
        "Which kinds of customers there are, by how soon they bought, how long they stayed and how much they took."
    )
    limits = (
        "Numbers and names are comparable within a version only.",
        "A delay that is not known counts as the typical one; where none is known, delays say nothing.",
        "Whoever registered after the first order (guests who made an account later) is a group of their own.",
    )
    inputs = {
        "persons": lifecycle.select(
            "select person_id, registered_date, registration_to_first_order_days, "
            "coalesce(registered_date > first_order_date, false) as registered_late, lifespan_days, units, revenue "
            "from gold.customer_features"
        ),
        "orders": lifecycle.select(
            "select person_id, order_date, units, revenue_amount as revenue from gold.fct_orders "
            "where is_counted and person_id is not null"
        ),
        "groups": lifecycle.select("select person_id, region, age_group from gold.customer_features"),
    }
    trained_on = ("persons", "orders", "groups")
    scored_on = {TABLE: ("persons",)}
    watched = {TABLE: ("segment", "person_id")}
    columns = {
        "person_id": TEXT,
        "registration_to_first_order_days": Rule("whole", optional=True),
        "lifespan_days": Rule("whole", at_least=0),
        "units": Rule("whole", at_least=0),
        "revenue": MONEY,
    }
    imports = clusters.IMPORTS
    code = tuple(
        Path(__file__).with_name(f"{name}.py") for name in ("behaviour_segments", "clusters", "rfm", "evaluation")
    )

    def evaluate(self, inputs: Inputs, *, seed: int, full: bool) -> Evaluation:
        """Judges the clusters on the days after a cut-off, among persons with a delay."""
        import polars as pl

        today, why = fit(inputs["persons"].sort("person_id"), seed)
        later = split_orders(inputs["orders"])
        if today.clusters is None or later is None:
            return Evaluation(METHOD, not_evaluated=why or "no later days to judge on")
        registered = inputs["persons"].select("person_id", "registered_date").drop_nulls()
        before, after = (
            as_of(inputs["orders"], registered, day).filter(~pl.col("registered_late"))
            for day in (later.cutoff, later.end)
        )
        typical = typical_delay(before)
        k, seen = clusters.choose_k(values_of(before, typical), FEATURES, seed, full=full)
        earlier, why = fit(before, seed, k=k)
        if earlier.clusters is None:
            return Evaluation(METHOD, not_evaluated=f"as of {later.cutoff}: {why}")
        known, now = (values_of(part, typical) for part in (before, after))
        judged = Later(later.cutoff.isoformat(), before.select("person_id"), known, now, later.revenue)
        compared = clusters.compare(earlier.clusters, earlier.thirds, judged, seed)
        days = {"evaluated_from": judged.fold, "evaluated_to": (later.end - timedelta(days=1)).isoformat()}
        return Evaluation(METHOD, compared, metrics=days, carry=Judged(k, tuple(seen), today))

    def fit(self, inputs: Inputs, method: str, evaluation: Evaluation, *, seed: int, full: bool) -> Fitted:
        """Both on all persons; `method` says which one scores."""
        judged: Judged | None = evaluation.carry
        if judged and judged.k == clusters.DEFAULT_K:
            found = judged.today
        else:
            found, _ = fit(inputs["persons"].sort("person_id"), seed, k=judged.k if judged else clusters.DEFAULT_K)
        return replace(found, promoted=method == METHOD)

    def refuse(self, fitted: Fitted, inputs: Inputs) -> str | None:
        """A segment of a handful, in the final fit."""
        if fitted.clusters is None:
            return "today's persons make no segments"
        smallest = fitted.clusters.shares(self._values(fitted, inputs)).min()
        return None if smallest >= MIN_SHARE else f"the smallest segment holds {smallest:.2%} of persons"

    def to_state(self, fitted: Fitted) -> dict[str, Any]:
        """As scikit-learn objects, arrays and containers."""
        found = fitted.clusters.to_state() if fitted.clusters else None
        delay, cuts = fitted.typical_delay, list(fitted.cuts)
        return {"format": _FORMAT, "clusters": found, "cuts": cuts, "delay": delay, "promoted": fitted.promoted}

    def from_state(self, state: Mapping[str, Any]) -> Fitted:
        """The fitted model again."""
        artifacts.check_format(state, _FORMAT)
        found = Clusters.from_state(state["clusters"]) if state["clusters"] else None
        low, high = state["cuts"]
        return Fitted(found, (low, high), state["delay"], state["promoted"])

    def score(self, fitted: Fitted, inputs: Inputs, table: str) -> pl.DataFrame:
        """The group of every person."""
        return label(fitted, inputs["persons"])

    def predict(self, fitted: Fitted, rows: pl.DataFrame) -> pl.DataFrame:
        """The group of each row; a negative delay is a registration after the first order."""
        import polars as pl

        delay = pl.col("registration_to_first_order_days")
        late = (delay < 0).fill_null(False).alias("registered_late")
        return label(fitted, rows.with_columns(late, pl.when(delay >= 0).then(delay)))

    def parameters(self, *, full: bool) -> dict[str, Any]:
        """What K-means and its evaluation were told."""
        return clusters.parameters()

    def window(self, inputs: Inputs) -> tuple[date | None, date | None]:
        """The days of the first and the last order."""
        days = inputs["orders"]["order_date"]
        return days.min(), days.max()  # type: ignore[return-value]

    def features(self, fitted: Fitted) -> tuple[str, ...]:
        """Those that vary."""
        return fitted.clusters.features if fitted.clusters else ()

    def about(self, fitted: Fitted, inputs: Inputs) -> dict[str, Any]:
        """Exponents, and how many registered late."""
        late = int(inputs["persons"]["registered_late"].sum())
        return {"registered_late": late, "box_cox_exponents": fitted.clusters.lambdas if fitted.clusters else {}}

    def exhibits(self, fitted: Fitted, inputs: Inputs, evaluation: Evaluation, *, seed: int) -> Sequence[Exhibit]:
        """Profiles, the choice of their number, and the map."""
        if fitted.clusters is None:
            return ()
        seen = evaluation.carry.seen if evaluation.carry else ()
        values = self._values(fitted, inputs)
        shown = clusters.exhibits(fitted.clusters, values, seen, seed)
        ids = self._timely(inputs).select("person_id")
        return [*shown, *clusters.shares_by_group(fitted.clusters, ids, values, inputs["groups"])]

    def attachments(self, fitted: Fitted) -> Mapping[str, bytes]:
        """All numbers a label depends on, as JSON."""
        return {"clusters.json": fitted.clusters.as_json()} if fitted.clusters else {}

    def _values(self, fitted: Fitted, inputs: Inputs) -> np.ndarray:
        return values_of(self._timely(inputs), fitted.typical_delay)

    def _timely(self, inputs: Inputs) -> pl.DataFrame:
        """The persons who did not register late."""
        import polars as pl

        return inputs["persons"].filter(~pl.col("registered_late"))


MODEL = BehaviourSegments()
