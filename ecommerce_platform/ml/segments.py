"""Which kinds of customers are there? Segments of persons by recency, frequency and monetary value.

Fitting, scoring and the comparison with the baseline are functions of data frames here and in `clusters.py`; when and how
a model is trained, gated and kept is in `lifecycle.py`.

The model: Box-Cox, standardising, K-means with three centres (unless three are unstable, see `clusters.py`). The baseline
`rfm_score_terciles`: persons ranked by the mean of their percentile ranks in R, F and M, cut in three. Both are stored in
every artifact as plain numbers (centres; quantile tables), so scoring never depends on who else is scored.

**Who wins.** Both are fitted on what was known at an earlier day and judged on the days after it
(`rfm.LaterData`):

- `silhouette` of the persons as of the end, in the model's standardised space. That space is the model's home
  ground: K-means beats the baseline there even on noise, always and clearly. So winning it is required, but
  proves little.
- `later_revenue_eta2`: the share of the variance of log(1 + revenue of the later days) that a person's
  segment as of the earlier day explains. This is the even ground: neither side was made for it, and noise
  does not win it (beyond the 2.5 % of the interval's error).
- `smallest_share`: the smallest segment's share of persons, so that no handful of outliers counts as a
  segment.

The model is promoted when the 95 % intervals of both differences are above 0 and the smallest segment holds
at least 1 % of persons, at the end and in the final fit. Otherwise the baseline is what is published, under
the name `baseline:rfm_score_terciles`. Without enough data to judge (fewer than 30 persons, no later days,
fewer than three different persons) nothing is promoted either; the card's metrics then say why in
`not_evaluated`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts, clusters, lifecycle
from ecommerce_platform.ml.cards import Exhibit
from ecommerce_platform.ml.clusters import MIN_SHARE, Clusters, Later
from ecommerce_platform.ml.columns import COUNT, MONEY, MONEY_LIMIT, TEXT
from ecommerce_platform.ml.lifecycle import Evaluation, Inputs
from ecommerce_platform.ml.monitoring import LIVE
from ecommerce_platform.ml.rfm import HORIZON_DAYS, LaterData, revenue_by_person, rfm_as_of, split_orders

if TYPE_CHECKING:
    import polars as pl

METHOD, BASELINE = "kmeans_rfm", "rfm_score_terciles"
TABLE = "ml.segments"

FEATURES = ("recency_days", "frequency", "monetary")
#: Box-Cox needs positive values. Persons whose revenue is zero or negative count as the smallest customers.
MONETARY_FLOOR = 0.01
_TABLE_SIZE = 1_000
_BATCH = 250_000
_STATE_FORMAT = 2

#: Words for a centre below and above the average person, in the order in which a name says them.
_TRAITS = {
    "monetary": ("low value", "high value"),
    "frequency": ("occasional", "frequent"),
    "recency_days": ("recent", "lapsed"),
}
_BASELINE_NAMES = ("Top third", "Middle third", "Bottom third")


@dataclass(frozen=True)
class TercileScore:
    """The baseline, as stored quantile tables: persons by mean percentile rank, cut in three.

    A percentile rank is looked up in up to 1,000 evenly spaced quantiles of the persons it was made from;
    equal values share the middle of their ranks (so the 97 % of persons who bought once all get about 0.5,
    and a tie never splits a person from their equals). Recency counts from recent = 1. With many ties the
    thirds are unequal.

    Attributes:
        tables: sorted quantiles of each of `FEATURES`, and of the score itself as `score`.
    """

    tables: Mapping[str, np.ndarray]

    @classmethod
    def fit(cls, values: np.ndarray) -> TercileScore:
        """The tables of the given persons: n × 3 values in the order of `FEATURES`, n may be 0."""
        tables = {name: _quantile_table(values[:, i]) for i, name in enumerate(FEATURES)}
        score = cls(tables).score(values)
        return cls({**tables, "score": _quantile_table(score)})

    def score(self, values: np.ndarray) -> np.ndarray:
        """The mean of the three percentile ranks, 0 to 1, high for good customers."""
        recency, frequency, monetary = (_rank(self.tables[n], values[:, i]) for i, n in enumerate(FEATURES))
        return ((1 - recency) + frequency + monetary) / 3

    def labels(self, values: np.ndarray) -> np.ndarray:
        """0 for the top third by score, 1 for the middle, 2 for the bottom."""
        rank = _rank(self.tables["score"], self.score(values))
        return np.where(rank > 2 / 3, 0, np.where(rank > 1 / 3, 1, 2))


@dataclass(frozen=True)
class SegmentsModel:
    """A fitted model with its baseline and the verdict which of them is published.

    Attributes:
        clusters: the clusters of `FEATURES`; None where nothing could be fitted.
        baseline: the baseline.
        promoted: whether the clusters are published rather than the baseline.
    """

    clusters: Clusters | None
    baseline: TercileScore
    promoted: bool

    def to_state(self) -> dict[str, Any]:
        """Everything scoring needs, as scikit-learn objects, arrays and containers (for `save_artifact`)."""
        return {
            "format": _STATE_FORMAT,
            "clusters": self.clusters.to_state() if self.clusters else None,
            "baseline": dict(self.baseline.tables),
            "promoted": self.promoted,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SegmentsModel:
        """The model `to_state` stored.

        Raises:
            InputError: the state is of another format of this module.
        """
        artifacts.check_format(state, _STATE_FORMAT)
        found = Clusters.from_state(state["clusters"]) if state["clusters"] else None
        return cls(found, TercileScore(state["baseline"]), bool(state["promoted"]))


def score_segments(model: SegmentsModel, persons: pl.DataFrame) -> pl.DataFrame:
    """The segment of each person by what is published: the model or, if that did not win, its baseline.

    A person's label depends on the stored numbers and the person's own row only.

    Args:
        model: as fitted or loaded.
        persons: person_id (text), recency_days (≥ 1), frequency (≥ 1), monetary (money; zero and negative count as
            0.01): the columns of `gold.rfm`; scored in batches of 250,000.

    Returns:
        A row per row given, in the same order: person_id VARCHAR, segment INTEGER (from 0), segment_name VARCHAR,
        distance DOUBLE (to the segment's centre in standard deviations; null for the baseline, which has none),
        map_x and map_y DOUBLE (the place on the map; null where there are no clusters).

    Raises:
        InputError: a column is missing or holds an impossible value.
    """
    import polars as pl

    numbers = dict.fromkeys(("distance", "map_x", "map_y"), pl.Float64)
    schema = {"person_id": pl.String, "segment": pl.Int32, "segment_name": pl.String, **numbers}
    _refuse_impossible(persons)
    scored = (pl.DataFrame(_scores(model, b), schema_overrides=schema) for b in persons.iter_slices(_BATCH))
    return pl.concat([pl.DataFrame(schema=schema), *scored])


def _scores(model: SegmentsModel, batch: pl.DataFrame) -> dict[str, Any]:
    import polars as pl

    values = _values(batch)
    nothing: Any = [None] * batch.height
    if model.promoted and model.clusters:
        labels, distance = model.clusters.nearest(values)
        names = pl.Series(model.clusters.names, dtype=pl.String)
    else:
        labels, distance = model.baseline.labels(values), nothing
        names = pl.Series(_BASELINE_NAMES, dtype=pl.String)
    places = model.clusters.on_map(values) if model.clusters else None
    return {
        "person_id": batch["person_id"].cast(pl.String),
        "segment": labels.astype(np.int32),
        "segment_name": names.gather(labels),
        "distance": distance,
        "map_x": nothing if places is None else places[:, 0],
        "map_y": nothing if places is None else places[:, 1],
    }


def _refuse_impossible(persons: pl.DataFrame) -> None:
    import polars as pl

    missing = [name for name in ("person_id", *FEATURES) if name not in persons.columns]
    if missing:
        raise InputError(
            f"the columns {', '.join(missing)} are missing",
            fix=f"give person_id, {', '.join(FEATURES)} (the columns of gold.rfm)",
        )
    for name in FEATURES:
        if not persons.schema[name].is_numeric():
            raise InputError(f"the column {name} is {persons.schema[name]}", fix="give it as numbers")
    amount = pl.col("monetary").cast(pl.Float64)
    rules = {
        "person_id": (pl.col("person_id").is_not_null(), "a person's id"),
        "recency_days": (pl.col("recency_days") >= 1, "days since the last order, at least 1"),
        "frequency": (pl.col("frequency") >= 1, "a number of purchase days, at least 1"),
        "monetary": (amount.is_finite() & (amount.abs() < MONEY_LIMIT), "an amount of money"),
    }
    wrong = persons.select(
        (~rule).fill_null(True).arg_true().first().alias(name) for name, (rule, _) in rules.items()
    ).row(0)
    for (name, (_, meaning)), index in zip(rules.items(), wrong, strict=True):
        if index is not None:
            raise InputError(
                f"{persons[name][index]!r} is not {meaning}",
                where=f"row {index + 1}, column {name}",
                fix="correct the row or leave it out",
            )


def _values(persons: pl.DataFrame) -> np.ndarray:
    """The features as n × 3 doubles in the order of `FEATURES`, money at least `MONETARY_FLOOR`.

    Money goes through DECIMAL(18,4) first, whatever type it comes in, so that the same amount is the same
    number.
    """
    import polars as pl

    exact = pl.col("monetary").cast(pl.Decimal(18, 4)).cast(pl.Float64)
    chosen = persons.select(
        pl.col("recency_days").cast(pl.Float64),
        pl.col("frequency").cast(pl.Float64),
        pl.max_horizontal(exact, pl.lit(MONETARY_FLOOR)).alias("monetary"),
    )
    return np.column_stack([chosen[name].to_numpy() for name in FEATURES])


def _prepared(persons: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    """Ids and values in the order of the ids: what is drawn must not depend on the order of the rows."""
    _refuse_impossible(persons)
    values = _values(persons)
    ids = persons.select("person_id")
    order = ids["person_id"].arg_sort().to_numpy()
    ids, values = ids[order], values[order]
    twice = ids["person_id"].is_first_distinct()
    if not twice.all():
        raise InputError(
            f"the person {ids['person_id'].filter(~twice)[0]!r} occurs twice", fix="give one row per person"
        )
    return ids, values


def fit_segments(values: np.ndarray, seed: int, *, k: int = clusters.DEFAULT_K) -> tuple[SegmentsModel, str | None]:
    """The model of the persons, unpromoted, and why there are no clusters in it, if there are none.

    Args:
        values: n × 3 in the order of `FEATURES`, as `_values` gives them.
        seed: of sample and starts.
        k: how many segments.
    """
    found, why = clusters.fit_clusters(values, FEATURES, _TRAITS, seed, k=k)
    return SegmentsModel(found, TercileScore.fit(values), promoted=False), None if found else why


def judge(later: LaterData | None, seed: int, *, full: bool = False) -> Evaluation:
    """The comparison with the baseline on later data; `carry` is the earlier fit and what was seen of other numbers.

    How many segments there are is chosen on the earlier persons; the later days, which neither choice nor fit has seen,
    judge that choice alone.
    """
    if later is None:
        return Evaluation(METHOD, not_evaluated="no later days to judge on")
    known, before = _prepared(later.before)
    k, seen = clusters.choose_k(before, FEATURES, seed, full=full)
    model, not_fitted = fit_segments(before, seed, k=k)
    if model.clusters is None:
        return Evaluation(METHOD, not_evaluated=f"as of {later.cutoff}: {not_fitted}")
    _, after = _prepared(later.after)
    fold = later.cutoff.isoformat()
    compared = clusters.compare(
        model.clusters, model.baseline.labels, Later(fold, known, before, after, later.revenue), seed
    )
    days = {"evaluated_from": fold, "evaluated_to": (later.end - timedelta(days=1)).isoformat()}
    return Evaluation(METHOD, compared, metrics=days, carry=Judged(model, k, tuple(seen)))


@dataclass(frozen=True)
class Judged:
    """What the evaluation hands on.

    Attributes:
        model: the earlier fit, kept for looking at.
        k: how many segments it chose.
        seen: from what.
        today: today's persons in three segments, which need not be fitted again.
    """

    model: SegmentsModel
    k: int
    seen: tuple[clusters.Choice, ...]
    today: SegmentsModel | None = None


def _quantile_table(column: np.ndarray) -> np.ndarray:
    """Evenly spaced values of the sorted column: all of them up to 1,000."""
    size = min(len(column), _TABLE_SIZE)
    if not size:
        return np.empty(0)
    places = [math.floor((i + 0.5) * len(column) / size) for i in range(size)]
    return np.sort(column)[places]


def _rank(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The share of the table below each value, equals counting half; 0.5 where the table is empty."""
    if not len(table):
        return np.full(len(values), 0.5)
    below = np.searchsorted(table, values, "left")
    return (below + np.searchsorted(table, values, "right")) / (2 * len(table))


class Segments(lifecycle.Model):
    """The segments as the lifecycle knows them."""

    name, baseline = "segments", BASELINE
    title = "Customer segments"
    purpose = "Which kinds of customers there are, by how recently, how often and for how much they bought."
    limits = (
        "Segments describe what was bought; they predict nothing about a single person.",
        "Numbers and names are comparable within a version only.",
        "Where most persons bought once, frequency says little, and segments are mostly of recency and value.",
    )
    inputs = {
        "persons": lifecycle.select("select person_id, recency_days, frequency, monetary from gold.rfm"),
        "orders": lifecycle.select(
            "select person_id, order_date, revenue_amount as revenue from gold.fct_orders "
            "where is_counted and person_id is not null"
        ),
        "groups": lifecycle.select("select person_id, region, age_group from gold.customer_features"),
    }
    trained_on = ("persons", "orders", "groups")
    scored_on = {TABLE: ("persons",)}
    watched = {TABLE: ("segment", "person_id")}
    columns = {"person_id": TEXT, "recency_days": COUNT, "frequency": COUNT, "monetary": MONEY}
    imports = clusters.IMPORTS
    code = tuple(Path(__file__).with_name(f"{name}.py") for name in ("segments", "clusters", "rfm", "evaluation"))

    def evaluate(self, inputs: Inputs, *, seed: int, full: bool) -> Evaluation:
        """Judges K-means on the days after a cut-off, unless the persons of today do not make three segments."""
        today, not_fitted = fit_segments(_prepared(inputs["persons"])[1], seed)
        if not_fitted:
            return Evaluation(METHOD, not_evaluated=not_fitted)
        found = judge(split_orders(inputs["orders"]), seed, full=full)
        return replace(found, carry=replace(found.carry, today=today)) if found.carry else found

    def fit(self, inputs: Inputs, method: str, evaluation: Evaluation, *, seed: int, full: bool) -> SegmentsModel:
        """Both on all persons; `method` says which one scores."""
        judged: Judged | None = evaluation.carry
        if judged and judged.today and judged.k == clusters.DEFAULT_K:
            model = judged.today
        else:
            k = judged.k if judged else clusters.DEFAULT_K
            model, _ = fit_segments(_prepared(inputs["persons"])[1], seed, k=k)
        return replace(model, promoted=method == METHOD)

    def refuse(self, fitted: SegmentsModel, inputs: Inputs) -> str | None:
        """A segment of a handful, in the final fit."""
        if fitted.clusters is None:
            return "today's persons make no segments"
        smallest = fitted.clusters.shares(_prepared(inputs["persons"])[1]).min()
        return None if smallest >= MIN_SHARE else f"the smallest segment holds {smallest:.2%} of persons"

    def to_state(self, fitted: SegmentsModel) -> dict[str, Any]:
        """As scikit-learn objects, arrays and containers."""
        return fitted.to_state()

    def from_state(self, state: Mapping[str, Any]) -> SegmentsModel:
        """The fitted model again."""
        return SegmentsModel.from_state(state)

    def score(self, fitted: SegmentsModel, inputs: Inputs, table: str) -> pl.DataFrame:
        """The segment of every person."""
        return score_segments(fitted, inputs["persons"])

    def predict(self, fitted: SegmentsModel, rows: pl.DataFrame) -> pl.DataFrame:
        """The segment of each row."""
        return score_segments(fitted, rows)

    def realised(self, past: pl.DataFrame, inputs: Inputs) -> Mapping[str, Sequence[lifecycle.Comparison]]:
        """How much of the revenue of the 90 days after a scoring its segments explained, beside thirds by score then."""
        import polars as pl

        newest: Any = inputs["orders"]["order_date"].max()
        found: dict[str, list[lifecycle.Comparison]] = {}
        day: Any
        for (version, day), rows in past.group_by("model_version", "scored_on", maintain_order=True):
            end = day + timedelta(days=HORIZON_DAYS)
            if newest is None or end > newest:
                continue
            then = rfm_as_of(inputs["orders"], day + timedelta(days=1))
            known = then.join(rows.select(pl.col("id").alias("person_id"), "score"), on="person_id").sort("person_id")
            bought = inputs["orders"].filter(pl.col("order_date").is_between(day, end, closed="right"))
            if known.is_empty():
                continue
            thirds = TercileScore.fit(_values(then)).labels(_values(known))
            labels = known["score"].cast(pl.Int64).to_numpy()
            fold = f"{LIVE}{day}"
            compared = clusters.explained(labels, thirds, known, revenue_by_person(bought), fold, lifecycle.SEED)
            found.setdefault(str(version), []).append(compared)
        return found

    def parameters(self, *, full: bool) -> dict[str, Any]:
        """What K-means and its evaluation were told."""
        return {**clusters.parameters(), "monetary_floor": MONETARY_FLOOR}

    def window(self, inputs: Inputs) -> tuple[date | None, date | None]:
        """The days of the first and the last order."""
        days = inputs["orders"]["order_date"]
        return days.min(), days.max()  # type: ignore[return-value]

    def features(self, fitted: SegmentsModel) -> tuple[str, ...]:
        """Those that vary."""
        return fitted.clusters.features if fitted.clusters else ()

    def about(self, fitted: SegmentsModel, inputs: Inputs) -> dict[str, Any]:
        """Exponents, and the share of persons in each segment."""
        if fitted.clusters is None:
            return {}
        shares = fitted.clusters.shares(_prepared(inputs["persons"])[1])
        return {
            "box_cox_exponents": fitted.clusters.lambdas,
            "segments": [
                {"segment": i, "name": name, "share": float(shares[i])} for i, name in enumerate(fitted.clusters.names)
            ],
        }

    def exhibits(
        self, fitted: SegmentsModel, inputs: Inputs, evaluation: Evaluation, *, seed: int
    ) -> Sequence[Exhibit]:
        """Profiles, the choice of their number, and the map."""
        if fitted.clusters is None:
            return ()
        seen = evaluation.carry.seen if evaluation.carry else ()
        ids, values = _prepared(inputs["persons"])
        shown = clusters.exhibits(fitted.clusters, values, seen, seed)
        return [*shown, *clusters.shares_by_group(fitted.clusters, ids, values, inputs["groups"])]

    def attachments(self, fitted: SegmentsModel) -> Mapping[str, bytes]:
        """All numbers a label depends on, as JSON."""
        return {"clusters.json": fitted.clusters.as_json()} if fitted.clusters else {}


MODEL = Segments()
