"""Which kinds of customers are there? Three segments of persons by recency, frequency and monetary value.

Fitting, scoring and the comparison with the baseline live here, as functions of data frames; when and how a model is
trained, gated and kept is in `lifecycle.py`.

The model: Box-Cox, standardising, K-means with three centres. The baseline `rfm_score_terciles`: persons
ranked by the mean of their percentile ranks in R, F and M, cut in three. Both are stored in every artifact as
plain numbers (centres; quantile tables), so scoring never depends on who else is scored.

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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts, evaluation, lifecycle
from ecommerce_platform.ml.columns import COUNT, MONEY, MONEY_LIMIT, TEXT
from ecommerce_platform.ml.lifecycle import Comparison, Evaluation, Inputs
from ecommerce_platform.ml.rfm import LaterData, split_orders

if TYPE_CHECKING:
    import polars as pl

METHOD, BASELINE = "kmeans_rfm", "rfm_score_terciles"
TABLE = "ml.segments"

FEATURES = ("recency_days", "frequency", "monetary")
SEGMENTS = 3
#: Box-Cox needs positive values. Persons whose revenue is zero or negative count as the smallest customers.
MONETARY_FLOOR = 0.01
#: Box and Cox searched this range; beyond it a skewed count such as frequency turns into "one or not" in ever
#: larger units, and its optimum can lie at minus infinity.
LAMBDA_RANGE = (-2.0, 2.0)
#: A feature in which this share of persons has one and the same value is left out: a segment that only it
#: makes would be smaller than MIN_SHARE.
NEAR_CONSTANT_SHARE = 0.99
MIN_SHARE = 0.01
MIN_PERSONS = 30

FIT_SAMPLE = 200_000
N_INIT = 10
SILHOUETTE_SAMPLE = 5_000
_TABLE_SIZE = 1_000
_BATCH = 250_000
_STATE_FORMAT = 1

#: Words for a centre below and above the average person, in the order in which a name says them.
_TRAITS = {
    "monetary": ("low value", "high value"),
    "frequency": ("occasional", "frequent"),
    "recency_days": ("recent", "lapsed"),
}
#: Standard deviations from the average at which a segment is called by a trait; nearer, the word would
#: mislead.
TRAIT_FROM = 0.5
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
        pipeline: scikit-learn Pipeline (Box-Cox, standardising, K-means with centres in label order), which
            takes the columns `features` of the values; None where nothing could be fitted.
        features: the features the pipeline uses: `FEATURES` without those that are constant or nearly so.
        names: the segments' names by label; empty without a pipeline.
        baseline: the baseline.
        promoted: whether the pipeline is published rather than the baseline.
    """

    pipeline: Any
    features: tuple[str, ...]
    names: tuple[str, ...]
    baseline: TercileScore
    promoted: bool

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """The used features after Box-Cox and standardising: n × used features, in standard deviations."""
        columns = [FEATURES.index(name) for name in self.features]
        return self.pipeline[:-1].transform(values[:, columns])

    def nearest(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Label and distance of the nearest centre for each row of values.

        The same as the pipeline's `predict`, but worked out element by element: matrix products round
        differently with a row's place in its batch, and a label must depend on nothing but the person.
        """
        points = self.standardised(values)
        centres = self.pipeline[-1].cluster_centers_
        squared = np.zeros((len(points), len(centres)))
        for j in range(points.shape[1]):
            squared += (points[:, j, None] - centres[None, :, j]) ** 2
        labels = squared.argmin(1)
        return labels, np.sqrt(squared[np.arange(len(points)), labels])

    def to_state(self) -> dict[str, Any]:
        """Everything scoring needs, as scikit-learn objects, arrays and containers (for `save_artifact`)."""
        return {
            "format": _STATE_FORMAT,
            "pipeline": self.pipeline,
            "features": list(self.features),
            "names": list(self.names),
            "baseline": dict(self.baseline.tables),
            "promoted": self.promoted,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SegmentsModel:
        """The model `to_state` stored.

        Raises:
            InputError: the state is of another format of this module.
        """
        if state.get("format") != _STATE_FORMAT:
            raise InputError(
                f"the artifact has format {state.get('format')}, this version reads {_STATE_FORMAT}",
                fix=artifacts.TRAIN_AGAIN,
            )
        return cls(
            pipeline=state["pipeline"],
            features=tuple(state["features"]),
            names=tuple(state["names"]),
            baseline=TercileScore(state["baseline"]),
            promoted=bool(state["promoted"]),
        )


def score_segments(model: SegmentsModel, persons: pl.DataFrame) -> pl.DataFrame:
    """The segment of each person by what is published: the model or, if that did not win, its baseline.

    A person's label depends on the stored numbers and the person's own row only.

    Args:
        model: as fitted or loaded.
        persons: person_id (text), recency_days (≥ 1), frequency (≥ 1), monetary (money; zero and negative count as
            0.01): the columns of `gold.rfm`; scored in batches of 250,000.

    Returns:
        A row per row given, in the same order: person_id VARCHAR, segment INTEGER (0–2), segment_name
        VARCHAR, distance DOUBLE (to the segment's centre in standard deviations; null for the baseline, which
        has none).

    Raises:
        InputError: a column is missing or holds an impossible value.
    """
    import polars as pl

    schema = {"person_id": pl.String, "segment": pl.Int32, "segment_name": pl.String, "distance": pl.Float64}
    names = pl.Series(model.names if model.promoted else _BASELINE_NAMES, dtype=pl.String)
    parts = [pl.DataFrame(schema=schema)]
    _refuse_impossible(persons)
    for batch in persons.iter_slices(_BATCH):
        values = _values(batch)
        if model.promoted:
            labels, distance = model.nearest(values)
        else:
            labels, distance = model.baseline.labels(values), None
        scored = {
            "person_id": batch["person_id"].cast(pl.String),
            "segment": labels.astype(np.int32),
            "segment_name": names.gather(labels),
            "distance": [None] * len(labels) if distance is None else distance,
        }
        parts.append(pl.DataFrame(scored, schema_overrides=schema))
    return pl.concat(parts)


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


def _fit(values: np.ndarray, seed: int) -> tuple[SegmentsModel, str | None]:
    """The model of the persons, unpromoted, and why there is no pipeline in it, if there is none."""
    baseline = TercileScore.fit(values)
    sample = _sample(values, FIT_SAMPLE, seed)
    used = [i for i in range(len(FEATURES)) if not _near_constant(sample[:, i])]
    features = tuple(FEATURES[i] for i in used)
    without = SegmentsModel(None, features, (), baseline, promoted=False)
    if len(values) < MIN_PERSONS:
        return without, f"fewer than {MIN_PERSONS} persons"
    if not used:
        return without, "all persons are (nearly) the same"

    pipeline, distinct = _fit_pipeline(sample[:, used], -1 if features[-1] == "recency_days" else 1, seed)
    if distinct < SEGMENTS:
        return without, f"fewer than {SEGMENTS} different persons"
    return SegmentsModel(pipeline, features, _names(pipeline, features), baseline, promoted=False), None


def _fit_pipeline(values: np.ndarray, goodness: int, seed: int) -> tuple[Any, int]:
    """Box-Cox, standardising and K-means; and how many different points there were.

    The centres are ordered by the last feature in use, money wherever it varies; `goodness` is -1 where less
    of it is better (recency).
    """
    from sklearn.cluster import KMeans
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import PowerTransformer, StandardScaler

    # The exponents are set rather than fitted: scikit-learn searches without bounds, which on a count that is
    # nearly always 1 runs off to minus infinity, with warnings.
    box_cox = PowerTransformer(method="box-cox", standardize=False)
    box_cox.n_features_in_ = values.shape[1]
    box_cox.lambdas_ = np.array([_exponent(values[:, j]) for j in range(values.shape[1])])
    scale = StandardScaler()
    points = scale.fit_transform(box_cox.transform(values))
    distinct = len(np.unique(points, axis=0))
    if distinct < SEGMENTS:
        return None, distinct
    clusters = KMeans(n_clusters=SEGMENTS, n_init=N_INIT, random_state=seed).fit(points)
    # Ordering the centres orders what predict says.
    order = np.argsort(-goodness * clusters.cluster_centers_[:, -1], kind="stable")
    clusters.cluster_centers_ = np.ascontiguousarray(clusters.cluster_centers_[order])
    # Scoring never looks at the sample's own labels, and they would be most of the file.
    clusters.labels_ = np.empty(0, dtype=np.int32)
    return Pipeline([("box_cox", box_cox), ("scale", scale), ("clusters", clusters)]), distinct


def _exponent(values: np.ndarray) -> float:
    """The Box-Cox exponent of highest likelihood within `LAMBDA_RANGE`, to four decimals."""
    from scipy.optimize import minimize_scalar
    from scipy.stats import boxcox_llf

    found = minimize_scalar(lambda power: -boxcox_llf(power, values), bounds=LAMBDA_RANGE, method="bounded")
    return round(float(found.x), 4)


def _names(pipeline: Any, features: tuple[str, ...]) -> tuple[str, ...]:
    names: list[str] = []
    for centre in pipeline[-1].cluster_centers_:
        traits = [
            words[int(centre[features.index(feature)] > 0)]
            for feature, words in _TRAITS.items()
            if feature in features and abs(centre[features.index(feature)]) >= TRAIT_FROM
        ]
        name = (", ".join(traits) or "average").capitalize()
        names.append(name if name not in names else f"{name} ({len(names)})")
    return tuple(names)


def judge(later: LaterData | None, seed: int) -> Evaluation:
    """The comparison with the baseline on later data; `carry` is the earlier fit, for looking at."""
    if later is None:
        return Evaluation(METHOD, not_evaluated="no later days to judge on")
    known, before = _prepared(later.before)
    model, not_fitted = _fit(before, seed)
    if not_fitted:
        return Evaluation(METHOD, not_evaluated=f"as of {later.cutoff}: {not_fitted}")
    _, after = _prepared(later.after)

    fold = later.cutoff.isoformat()
    share = Comparison(
        "smallest_share",
        _smallest_share(model.nearest(after)[0]),
        _smallest_share(model.baseline.labels(after)),
        fold=fold,
        at_least=MIN_SHARE,
    )
    compared = (_silhouette(model, after, fold, seed), _explained(model, known, before, later, seed), share)
    days = {"evaluated_from": fold, "evaluated_to": (later.end - timedelta(days=1)).isoformat()}
    return Evaluation(METHOD, compared, metrics=days, carry=model)


def _silhouette(model: SegmentsModel, after: np.ndarray, fold: str, seed: int) -> Comparison:
    """How well the segments stand apart (Rousseeuw 1987), on persons as they are at the end."""
    sample = _sample(after, SILHOUETTE_SAMPLE, seed)
    points = model.standardised(sample)
    of_model = evaluation.silhouette(points, model.nearest(sample)[0])
    of_baseline = evaluation.silhouette(points, model.baseline.labels(sample))
    return Comparison(
        "silhouette",
        float(of_model.mean()),
        float(of_baseline.mean()),
        *evaluation.mean_interval(of_model - of_baseline, seed),
        fold=fold,
        decides=True,
    )


def _explained(
    model: SegmentsModel, known: pl.DataFrame, before: np.ndarray, later: LaterData, seed: int
) -> Comparison:
    """How much of the log of later revenue the segments explain (eta²)."""
    import polars as pl

    revenue = known.join(
        later.revenue.select("person_id", pl.col("revenue").cast(pl.Float64)),
        on="person_id",
        how="left",
        maintain_order="left",
    )["revenue"]
    outcome = np.log1p(np.maximum(revenue.fill_null(0.0).to_numpy(), 0.0))
    # Segments as of the cutoff: those as of the end would hold the very revenue they are to explain.
    labels, baseline = model.nearest(before)[0], model.baseline.labels(before)
    return Comparison(
        "later_revenue_eta2",
        evaluation.eta_squared(labels, outcome),
        evaluation.eta_squared(baseline, outcome),
        *evaluation.eta_squared_difference(labels, baseline, outcome, seed),
        fold=later.cutoff.isoformat(),
        decides=True,
    )


def _sample(values: np.ndarray, size: int, seed: int) -> np.ndarray:
    if len(values) <= size:
        return values
    chosen = np.random.default_rng(seed).choice(len(values), size, replace=False)
    return values[np.sort(chosen)]


def _near_constant(column: np.ndarray) -> bool:
    if not len(column):
        return True
    most = np.unique(column, return_counts=True)[1].max()
    return bool(most >= NEAR_CONSTANT_SHARE * len(column))


def _smallest_share(labels: np.ndarray) -> float:
    return float(np.bincount(labels, minlength=SEGMENTS).min() / len(labels))


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
    )
    inputs = {
        "persons": lifecycle.select("select person_id, recency_days, frequency, monetary from gold.rfm"),
        "orders": lifecycle.select(
            "select person_id, order_date, revenue_amount as revenue from gold.fct_orders "
            "where is_counted and person_id is not null"
        ),
    }
    trained_on = ("persons", "orders")
    scored_on = {TABLE: ("persons",)}
    columns = {"person_id": TEXT, "recency_days": COUNT, "frequency": COUNT, "monetary": MONEY}
    imports = ("scipy.stats", "sklearn.cluster", "sklearn.metrics", "sklearn.pipeline", "sklearn.preprocessing")
    code = (Path(__file__), Path(__file__).with_name("rfm.py"), Path(__file__).with_name("evaluation.py"))

    def evaluate(self, inputs: Inputs, *, seed: int, full: bool) -> Evaluation:
        """Judges K-means on the days after a cut-off, unless the persons of today do not make three segments."""
        _, not_fitted = _fit(_prepared(inputs["persons"])[1], seed)
        if not_fitted:
            return Evaluation(METHOD, not_evaluated=not_fitted)
        return judge(split_orders(inputs["orders"]), seed)

    def fit(self, inputs: Inputs, method: str, evaluation: Evaluation, *, seed: int, full: bool) -> SegmentsModel:
        """Both on all persons; `method` says which one scores."""
        model, _ = _fit(_prepared(inputs["persons"])[1], seed)
        return replace(model, promoted=method == METHOD)

    def refuse(self, fitted: SegmentsModel, inputs: Inputs) -> str | None:
        """A segment of a handful, in the final fit."""
        smallest = _smallest_share(fitted.nearest(_prepared(inputs["persons"])[1])[0])
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

    def parameters(self, *, full: bool) -> dict[str, Any]:
        """What K-means and its evaluation were told."""
        return {
            "segments": SEGMENTS,
            "n_init": N_INIT,
            "fit_sample": FIT_SAMPLE,
            "silhouette_sample": SILHOUETTE_SAMPLE,
            "monetary_floor": MONETARY_FLOOR,
            "lambda_range": list(LAMBDA_RANGE),
            "near_constant_share": NEAR_CONSTANT_SHARE,
            "min_share": MIN_SHARE,
            "min_persons": MIN_PERSONS,
        }

    def window(self, inputs: Inputs) -> tuple[date | None, date | None]:
        """The days of the first and the last order."""
        days = inputs["orders"]["order_date"]
        return days.min(), days.max()  # type: ignore[return-value]

    def features(self, fitted: SegmentsModel) -> tuple[str, ...]:
        """Those that vary."""
        return fitted.features

    def about(self, fitted: SegmentsModel, inputs: Inputs) -> dict[str, Any]:
        """Exponents, and the share of persons in each segment."""
        if fitted.pipeline is None:
            return {}
        labels = fitted.nearest(_prepared(inputs["persons"])[1])[0]
        shares = np.bincount(labels, minlength=SEGMENTS) / len(labels)
        return {
            "box_cox_exponents": dict(zip(fitted.features, fitted.pipeline[0].lambdas_.tolist(), strict=True)),
            "segments": [
                {"segment": i, "name": name, "share": float(shares[i])} for i, name in enumerate(fitted.names)
            ],
        }


MODEL = Segments()
