"""Which kinds of customers are there? Three segments of persons by recency, frequency and monetary value.

Training, scoring and the comparison with the baseline live here, as functions of data frames. `orchestration/assets/ml.py`
fetches the frames and says when a model is trained again, `artifacts.py` keeps what was trained.

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

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts, evaluation
from ecommerce_platform.ml.rfm import LaterData

if TYPE_CHECKING:
    import polars as pl

MODEL = "segments"
BASELINE = "rfm_score_terciles"
#: What `ml.segments.model` says, by who won.
PUBLISHED_AS_MODEL = "kmeans_rfm"
PUBLISHED_AS_BASELINE = f"baseline:{BASELINE}"

FEATURES = ("recency_days", "frequency", "monetary")
SEGMENTS = 3
#: Box-Cox needs positive values. Persons whose revenue is zero or negative count as the smallest customers.
MONETARY_FLOOR = 0.01
#: What DECIMAL(18,4) holds.
MONETARY_LIMIT = 1e14
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

    @property
    def published_as(self) -> str:
        """What `ml.segments.model` says."""
        return PUBLISHED_AS_MODEL if self.promoted else PUBLISHED_AS_BASELINE

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


@dataclass(frozen=True)
class Comparison:
    """One metric of model and baseline on the later data; the interval is of value - baseline_value."""

    metric: str
    value: float
    baseline_value: float
    interval_low: float | None = None
    interval_high: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """How a model fitted as of `cutoff` did on the days from then to `end`.

    `model` is that earlier fit (kept for looking at; it is not what gets published).
    """

    cutoff: date
    end: date
    model: SegmentsModel
    comparisons: tuple[Comparison, ...]

    def metric(self, name: str) -> Comparison:
        """The comparison of one metric."""
        return next(c for c in self.comparisons if c.metric == name)

    @property
    def wins(self) -> bool:
        """The promotion rule of the module docstring, as far as the later data decides it."""
        return (
            all((self.metric(m).interval_low or 0.0) > 0 for m in ("silhouette", "later_revenue_eta2"))
            and self.metric("smallest_share").value >= MIN_SHARE
        )


@dataclass(frozen=True)
class TrainedSegments:
    """What one training gives.

    Attributes:
        model: the final model, fitted on all persons given.
        card: for `save_artifact`, which fills in path and hash.
        evaluation: the comparison with the baseline; None when there was not enough data for one.
    """

    model: SegmentsModel
    card: artifacts.Card
    evaluation: Evaluation | None

    @property
    def evaluations(self) -> pl.DataFrame:
        """Rows of `ml.evaluations`, in its contract's columns and types; none without an evaluation."""
        import polars as pl

        schema = {
            **dict.fromkeys(("model", "version", "fold", "metric"), pl.String),
            "value": pl.Float64,
            "baseline": pl.String,
            **dict.fromkeys(("baseline_value", "interval_low", "interval_high"), pl.Float64),
        }
        if self.evaluation is None:
            return pl.DataFrame(schema=schema)
        where = (MODEL, self.card.version, self.evaluation.cutoff.isoformat())
        rows = [
            (*where, c.metric, c.value, BASELINE, c.baseline_value, c.interval_low, c.interval_high)
            for c in self.evaluation.comparisons
        ]
        return pl.DataFrame(rows, schema=schema, orient="row")


def train_segments(
    persons: pl.DataFrame,
    *,
    later: LaterData | None,
    seed: int,
    code_version: str,
    data_from: date | None = None,
    data_to: date | None = None,
    trained_at: datetime | None = None,
) -> TrainedSegments:
    """Fits the segments on all persons, judges the method on later data and decides what is published.

    Method: Box-Cox (Box and Cox 1964) per feature, standardising, K-means (Lloyd, k-means++ starts) with k = 3, fitted on
    at most 200,000 persons drawn with the seed. Row order and number of threads change nothing.

    Labels: 0 has the highest monetary centre, 2 the lowest (where money does not vary: by frequency, then recency). Names
    say in what a centre is at least half a standard deviation from the average: "High value, frequent", "Lapsed".

    Args:
        persons: person_id (text, unique), recency_days (≥ 1), frequency (≥ 1), monetary (money; zero and
            negative count as 0.01): the columns of `gold.rfm`. An empty frame is allowed.
        later: the history that is evaluated on, from `rfm.split_orders`; None when there are no later days.
        seed: of sampling, K-means and bootstrap.
        code_version: names the code; `source_version()` unless the caller has a better one.
        data_from: first day with data; default: that of `later`.
        data_to: last day with data; default: that of `later`.
        trained_at: moment of training, with zone; now when not given.

    Raises:
        InputError: a column is missing or holds an impossible value, or a person occurs twice.
    """
    persons, values = _prepared(persons)
    model, not_fitted = _fit(values, seed)
    judged, not_evaluated = (None, not_fitted) if not_fitted else _evaluate(later, seed)
    shares = np.zeros(0)
    if model.pipeline is not None:
        shares = np.bincount(model.nearest(values)[0], minlength=SEGMENTS) / len(values)
    promoted = judged is not None and judged.wins and bool(shares.min() >= MIN_SHARE)
    model = SegmentsModel(model.pipeline, model.features, model.names, model.baseline, promoted)

    trained_at = (trained_at or datetime.now(UTC)).astimezone(UTC)
    card = artifacts.Card(
        model=MODEL,
        version=artifacts.make_version(trained_at, _digest(persons, values, later, seed, code_version)),
        trained_at=trained_at,
        data_from=data_from or (later.data_from if later else None),
        data_to=data_to or (date.fromordinal(later.end.toordinal() - 1) if later else None),
        rows_trained=len(values),
        seed=seed,
        code_version=code_version,
        feature_names=model.features,
        parameters=_parameters(seed, later),
        metrics=_metrics(model, shares, judged, not_evaluated),
        baseline=BASELINE,
        promoted=promoted,
        libraries=artifacts.libraries(),
    )
    return TrainedSegments(model, card, judged)


def _digest(persons: pl.DataFrame, values: np.ndarray, later: LaterData | None, seed: int, code_version: str) -> str:
    """Hash of all that a training depends on."""
    said = [MODEL, _parameters(seed, later), code_version, artifacts.libraries()]
    return artifacts.content_hash(
        [
            json.dumps(said, sort_keys=True).encode(),
            *_frame_bytes(persons, values),
            *(_later_bytes(later) if later is not None else ()),
        ]
    )


def score_segments(model: SegmentsModel, persons: pl.DataFrame) -> pl.DataFrame:
    """The segment of each person by what is published: the model or, if that did not win, its baseline.

    A person's label depends on the stored numbers and the person's own row only.

    Args:
        model: as trained, or as `load_segments` gives it.
        persons: as for `train_segments`; scored in batches of 250,000.

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


def segment_rows(model: SegmentsModel, version: str, persons: pl.DataFrame) -> pl.DataFrame:
    """Rows of `ml.segments`: `score_segments` with `model` (who made the label) and `model_version`."""
    import polars as pl

    return score_segments(model, persons).with_columns(model=pl.lit(model.published_as), model_version=pl.lit(version))


def load_segments(models_dir: Path, version: str, *, sha256: str | None = None) -> SegmentsModel:
    """The stored model of a version; `sha256` as in `artifacts.load_artifact`, whose errors it raises."""
    state, _ = artifacts.load_artifact(models_dir, MODEL, version, sha256=sha256)
    return SegmentsModel.from_state(state)


def source_version() -> str:
    """A `code_version` that changes with the code that training runs."""
    here = Path(__file__)
    return artifacts.source_hash(here, here.with_name("rfm.py"), here.with_name("evaluation.py"))


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
        "monetary": (amount.is_finite() & (amount.abs() < MONETARY_LIMIT), "an amount of money"),
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

    with _one_thread():
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


def _evaluate(later: LaterData | None, seed: int) -> tuple[Evaluation | None, str | None]:
    """The comparison on later data, and why there is none, if there is none."""
    if later is None:
        return None, "no later days to judge on"
    known, before = _prepared(later.before)
    model, not_fitted = _fit(before, seed)
    if not_fitted:
        return None, f"as of {later.cutoff}: {not_fitted}"
    _, after = _prepared(later.after)

    share = Comparison(
        "smallest_share",
        _smallest_share(model.nearest(after)[0]),
        _smallest_share(model.baseline.labels(after)),
    )
    compared = (_silhouette(model, after, seed), _explained(model, known, before, later, seed), share)
    return Evaluation(later.cutoff, later.end, model, compared), None


def _silhouette(model: SegmentsModel, after: np.ndarray, seed: int) -> Comparison:
    """How well the segments stand apart (Rousseeuw 1987), on persons as they are at the end."""
    sample = _sample(after, SILHOUETTE_SAMPLE, seed)
    with _one_thread():
        points = model.standardised(sample)
        of_model = evaluation.silhouette(points, model.nearest(sample)[0])
        of_baseline = evaluation.silhouette(points, model.baseline.labels(sample))
    return Comparison(
        "silhouette",
        float(of_model.mean()),
        float(of_baseline.mean()),
        *evaluation.mean_interval(of_model - of_baseline, seed),
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
    )


def _metrics(
    model: SegmentsModel, shares: np.ndarray, judged: Evaluation | None, not_evaluated: str | None
) -> dict[str, Any]:
    metrics: dict[str, Any] = {"not_evaluated": not_evaluated}
    if judged is not None:
        metrics["evaluated_from"] = judged.cutoff.isoformat()
        metrics["evaluated_to"] = date.fromordinal(judged.end.toordinal() - 1).isoformat()
        for c in judged.comparisons:
            metrics[c.metric] = {"value": c.value, "baseline": c.baseline_value}
            if c.interval_low is not None:
                metrics[c.metric]["difference_interval"] = [c.interval_low, c.interval_high]
    if model.pipeline is not None:
        metrics["box_cox_exponents"] = dict(zip(model.features, model.pipeline[0].lambdas_.tolist(), strict=True))
        metrics["segments"] = [
            {"segment": i, "name": name, "share": float(shares[i])} for i, name in enumerate(model.names)
        ]
    return metrics


def _parameters(seed: int, later: LaterData | None) -> dict[str, Any]:
    return {
        "segments": SEGMENTS,
        "seed": seed,
        "n_init": N_INIT,
        "fit_sample": FIT_SAMPLE,
        "silhouette_sample": SILHOUETTE_SAMPLE,
        "monetary_floor": MONETARY_FLOOR,
        "lambda_range": list(LAMBDA_RANGE),
        "near_constant_share": NEAR_CONSTANT_SHARE,
        "min_share": MIN_SHARE,
        "min_persons": MIN_PERSONS,
        "horizon_days": (later.end - later.cutoff).days if later else None,
    }


def _frame_bytes(persons: pl.DataFrame, values: np.ndarray) -> Iterator[bytes]:
    for batch in persons["person_id"].to_frame().iter_slices(_BATCH):
        yield "\0".join(batch["person_id"].to_list()).encode()
    yield np.ascontiguousarray(values).tobytes()


def _later_bytes(later: LaterData) -> Iterator[bytes]:
    import polars as pl

    yield f"{later.cutoff} {later.end}".encode()
    for frame in (later.before, later.after):
        yield from _frame_bytes(*_prepared(frame))
    revenue = later.revenue.sort("person_id")
    yield from _frame_bytes(revenue, revenue["revenue"].cast(pl.Float64).to_numpy())


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


def load() -> None:
    """Imports what training needs, which takes seconds."""
    from importlib import import_module

    for name in (
        "scipy.stats",
        "sklearn.cluster",
        "sklearn.metrics",
        "sklearn.pipeline",
        "sklearn.preprocessing",
        "skops.io",
    ):
        import_module(name)


def _one_thread() -> AbstractContextManager[Any]:
    """Sums split over threads round differently: with one, the fit is the same on every number of cores."""
    import sklearn.cluster  # noqa: F401  (limits reach only libraries that are loaded when they are set)
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1)
