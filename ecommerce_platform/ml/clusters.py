"""K-means on Box-Cox transformed, standardised figures of persons: what the two segmentations have in common.

Fitting, how many clusters, names, labels, the map, and the comparison with a baseline on later data. Which figures, which
baseline and which table is in the models' modules (`segments.py`, `behaviour_segments.py`).

**How many.** Three, as long as three are stable: clusters fitted on random four fifths of the persons must agree with those
fitted on all (adjusted Rand index, Hubert and Arabie 1985; resampling after Ben-Hur, Elisseeff and Guyon 2002) to
`STABLE`, and none may hold less than 1 % of the persons. Else it is the stablest of 2 to 8 that keeps the second rule. The
silhouette is shown beside it and decides nothing: it prefers whatever number separates a few far-off persons.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.ml import artifacts, evaluation, plots
from ecommerce_platform.ml.cards import Exhibit
from ecommerce_platform.ml.fairness import by_group
from ecommerce_platform.ml.lifecycle import Comparison

if TYPE_CHECKING:
    import polars as pl

#: Modules that fitting and scoring use.
IMPORTS = (
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.decomposition",
    "sklearn.metrics",
    "sklearn.pipeline",
    "sklearn.preprocessing",
)
DEFAULT_K, CANDIDATES = 3, range(2, 9)
#: Agreement over resamples from which clusters count as stable.
STABLE = 0.8
RESAMPLES, RESAMPLED_SHARE, RESAMPLE_SAMPLE, RESAMPLE_STARTS = 10, 0.8, 10_000, 3
MIN_SHARE = 0.01
MIN_PERSONS = 30
#: Box and Cox searched this range; beyond it a skewed count such as frequency turns into "one or not" in ever
#: larger units, and its optimum can lie at minus infinity.
LAMBDA_RANGE = (-2.0, 2.0)
#: A feature in which this share of persons has one and the same value is left out: a segment that only it
#: makes would be smaller than MIN_SHARE.
NEAR_CONSTANT_SHARE = 0.99
FIT_SAMPLE = 200_000
N_INIT = 10
SILHOUETTE_SAMPLE = 3_000
MAP_SAMPLE = 800
#: Standard deviations from the average at which a segment is called by a trait; nearer, the word would
#: mislead.
TRAIT_FROM = 0.5
_FORMAT = 1

#: Feature → the words for a centre below and above the average person; in the order in which a name says them.
Traits = Mapping[str, tuple[str, str]]


def kmeans(points: np.ndarray, k: int, seed: int, *, starts: int = N_INIT) -> Any:
    """K-means (Lloyd 1982, k-means++ starts): scikit-learn's fitted estimator, the best of `starts`.

    Args:
        points: n × d, in comparable units.
        k: how many clusters; at most n.
        seed: of the starts.
        starts: how many.
    """
    from sklearn.cluster import KMeans

    return KMeans(n_clusters=k, n_init=starts, random_state=seed).fit(points)


@dataclass(frozen=True)
class Clusters:
    """Fitted clusters.

    Attributes:
        pipeline: scikit-learn Pipeline (Box-Cox, standardising, K-means with centres in label order).
        columns: names of the columns of values, in order.
        features: those of them that the pipeline takes: the ones that vary.
        names: the clusters' names by label.
        axes: 2 × features: the first two principal components of the standardised persons, for the map.
    """

    pipeline: Any
    columns: tuple[str, ...]
    features: tuple[str, ...]
    names: tuple[str, ...]
    axes: np.ndarray

    @property
    def k(self) -> int:
        """How many there are."""
        return len(self.names)

    @property
    def lambdas(self) -> dict[str, float]:
        """The Box-Cox exponent of each feature."""
        return dict(zip(self.features, self.pipeline[0].lambdas_.tolist(), strict=True))

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """The used features after Box-Cox and standardising: n × used features, in standard deviations."""
        chosen = [self.columns.index(name) for name in self.features]
        return self.pipeline[:-1].transform(values[:, chosen])

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

    def on_map(self, values: np.ndarray) -> np.ndarray:
        """Where each row of values lies on the map: n × 2, in standard deviations along the principal components."""
        points = self.standardised(values)
        places = np.zeros((len(points), 2))
        for j in range(points.shape[1]):
            places += points[:, j, None] * self.axes[None, :, j]
        return places

    def shares(self, values: np.ndarray) -> np.ndarray:
        """The share of rows in each cluster."""
        return np.bincount(self.nearest(values)[0], minlength=self.k) / max(len(values), 1)

    def to_state(self) -> dict[str, Any]:
        """As scikit-learn objects, arrays and containers."""
        return {
            "format": _FORMAT,
            "pipeline": self.pipeline,
            "columns": list(self.columns),
            "features": list(self.features),
            "names": list(self.names),
            "axes": self.axes,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Clusters:
        """The clusters `to_state` stored.

        Raises:
            InputError: the state is of another format of this module.
        """
        artifacts.check_format(state, _FORMAT)
        columns, features, names = (tuple(state[name]) for name in ("columns", "features", "names"))
        return cls(state["pipeline"], columns, features, names, state["axes"])

    def as_json(self) -> bytes:
        """All numbers that a label depends on, for whoever wants to score without this code."""
        said = {
            "features": list(self.features),
            "box_cox_lambdas": self.lambdas,
            "mean": self.pipeline[1].mean_.tolist(),
            "scale": self.pipeline[1].scale_.tolist(),
            "centres": self.pipeline[-1].cluster_centers_.tolist(),
            "names": list(self.names),
        }
        return (json.dumps(said, indent=1) + "\n").encode()


def fit_clusters(
    values: np.ndarray, columns: tuple[str, ...], traits: Traits, seed: int, *, k: int = DEFAULT_K
) -> tuple[Clusters | None, str]:
    """Clusters of persons; or None and why there are none.

    Args:
        values: n × columns, all above zero; at most `FIT_SAMPLE` rows of them, drawn with the seed, are fitted.
        columns: their names. Clusters are ordered by the last one that varies.
        traits: words for the names. A feature whose second word is the worse one counts the other way round.
        seed: of the draw and the starts.
        k: how many.
    """
    drawn = sample(values, FIT_SAMPLE, seed)
    used = [i for i in range(len(columns)) if not _near_constant(drawn[:, i])]
    if len(values) < MIN_PERSONS:
        return None, f"fewer than {MIN_PERSONS} persons"
    if not used:
        return None, "all persons are (nearly) the same"
    features = tuple(columns[i] for i in used)
    prepared, points = _prepare(drawn[:, used])
    if len(np.unique(points, axis=0)) < k:
        return None, f"fewer than {k} different persons"
    found = kmeans(points, k, seed)
    # Ordering the centres orders what predict says: the most of the last feature first, of recency the least.
    goodness = -1 if features[-1] == "recency_days" else 1
    order = np.argsort(-goodness * found.cluster_centers_[:, -1], kind="stable")
    found.cluster_centers_ = np.ascontiguousarray(found.cluster_centers_[order])
    # Scoring never looks at the sample's own labels, and they would be most of the file.
    found.labels_ = np.empty(0, dtype=np.int32)
    pipeline = _pipeline(*prepared, found)
    names = _names(found.cluster_centers_, features, traits)
    return Clusters(pipeline, columns, features, names, _axes(points)), ""


def _prepare(values: np.ndarray) -> tuple[tuple[Any, Any], np.ndarray]:
    """Box-Cox and standardising, fitted, and what they give."""
    from sklearn.preprocessing import PowerTransformer, StandardScaler

    # The exponents are set rather than fitted: scikit-learn searches without bounds, which on a count that is
    # nearly always 1 runs off to minus infinity, with warnings.
    box_cox = PowerTransformer(method="box-cox", standardize=False)
    box_cox.n_features_in_ = values.shape[1]
    box_cox.lambdas_ = np.array([exponent(values[:, j]) for j in range(values.shape[1])])
    scale = StandardScaler()
    return (box_cox, scale), scale.fit_transform(box_cox.transform(values))


def _pipeline(box_cox: Any, scale: Any, clusters: Any) -> Any:
    from sklearn.pipeline import Pipeline

    return Pipeline([("box_cox", box_cox), ("scale", scale), ("clusters", clusters)])


def exponent(values: np.ndarray) -> float:
    """The Box-Cox exponent of highest likelihood (Box and Cox 1964) within `LAMBDA_RANGE`, to four decimals.

    Args:
        values: all above zero, not all the same.
    """
    from scipy.optimize import minimize_scalar
    from scipy.stats import boxcox_llf

    found = minimize_scalar(lambda power: -boxcox_llf(power, values), bounds=LAMBDA_RANGE, method="bounded")
    return round(float(found.x), 4)


def _axes(points: np.ndarray) -> np.ndarray:
    """2 × d: the first two principal components, each with its largest loading positive; zeros for one that is not there."""
    from sklearn.decomposition import PCA

    axes = np.zeros((2, points.shape[1]))
    found = PCA(n_components=min(2, points.shape[1]), svd_solver="full").fit(points).components_
    for i, component in enumerate(found):
        axes[i] = component * np.sign(component[np.abs(component).argmax()])
    return axes


def _names(centres: np.ndarray, features: tuple[str, ...], traits: Traits) -> tuple[str, ...]:
    names: list[str] = []
    for centre in centres:
        said = [
            words[int(centre[features.index(feature)] > 0)]
            for feature, words in traits.items()
            if feature in features and abs(centre[features.index(feature)]) >= TRAIT_FROM
        ]
        name = (", ".join(said) or "average").capitalize()
        names.append(name if name not in names else f"{name} ({len(names)})")
    return tuple(names)


# -- how many ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """What was seen of one number of clusters: agreement over resamples, smallest share, silhouette."""

    k: int
    stability: float
    lowest: float
    smallest_share: float
    silhouette: float


def choose_k(values: np.ndarray, columns: tuple[str, ...], seed: int, *, full: bool) -> tuple[int, list[Choice]]:
    """How many clusters, by the rule of the module docstring, and what was seen of each number that was looked at.

    Args:
        values: as for `fit_clusters`; persons as the fit that is judged knows them.
        columns: their names.
        seed: of everything random.
        full: looks at all numbers although three are stable.
    """
    drawn = sample(values, RESAMPLE_SAMPLE, seed)
    used = [i for i in range(len(columns)) if not _near_constant(drawn[:, i])]
    if len(drawn) < MIN_PERSONS or not used:
        return DEFAULT_K, []
    points = _prepare(drawn[:, used])[1]
    most = min(CANDIDATES.stop - 1, len(np.unique(points, axis=0)))
    if most < DEFAULT_K:
        return DEFAULT_K, []
    seen = {DEFAULT_K: look_at(points, DEFAULT_K, seed)}
    default = seen[DEFAULT_K]
    holds = default.stability >= STABLE and default.smallest_share >= MIN_SHARE
    if full or not holds:
        seen.update((k, look_at(points, k, seed)) for k in CANDIDATES if k <= most and k not in seen)
    large = [choice for choice in seen.values() if choice.smallest_share >= MIN_SHARE]
    best = max(large, key=lambda choice: (choice.stability, -choice.k), default=default)
    return DEFAULT_K if holds else best.k, sorted(seen.values(), key=lambda choice: choice.k)


def look_at(points: np.ndarray, k: int, seed: int) -> Choice:
    """What is seen of k clusters of the points (n × d)."""
    reference = kmeans(points, k, seed, starts=RESAMPLE_STARTS)
    agreed = stability(points, k, seed, reference.labels_)
    few = sample(np.column_stack([points, reference.labels_]), SILHOUETTE_SAMPLE // 3, seed)
    shown = float(evaluation.silhouette(few[:, :-1], few[:, -1].astype(int)).mean())
    smallest = float(np.bincount(reference.labels_, minlength=k).min() / len(points))
    return Choice(k, float(agreed.mean()), float(agreed.min()), smallest, shown)


def stability(points: np.ndarray, k: int, seed: int, labels: np.ndarray) -> np.ndarray:
    """How far clusters of random four fifths of the points agree with `labels` on all points: an index per resample."""
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(seed)
    found = []
    for i in range(RESAMPLES):
        part = np.sort(rng.choice(len(points), max(k, int(RESAMPLED_SHARE * len(points))), replace=False))
        again = kmeans(points[part], k, seed + 1 + i, starts=RESAMPLE_STARTS)
        found.append(adjusted_rand_score(labels, again.predict(points)))
    return np.array(found)


# -- the comparison ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Later:
    """What clusters fitted as of a day are judged on: ids and values as of the day, values as of the end, revenue between."""

    fold: str
    ids: pl.DataFrame
    before: np.ndarray
    after: np.ndarray
    revenue: pl.DataFrame


def compare(
    model: Clusters, baseline: Callable[[np.ndarray], np.ndarray], later: Later, seed: int
) -> tuple[Comparison, ...]:
    """Silhouette, explained later revenue and smallest share of the clusters and of a baseline's labels."""
    smallest = Comparison(
        "smallest_share",
        float(model.shares(later.after).min()),
        smallest_share(baseline(later.after), 3),
        fold=later.fold,
        at_least=MIN_SHARE,
    )
    labels, others = model.nearest(later.before)[0], baseline(later.before)
    later_revenue = explained(labels, others, later.ids, later.revenue, later.fold, seed)
    return (_silhouette(model, baseline, later, seed), later_revenue, smallest)


def _silhouette(model: Clusters, baseline: Callable[[np.ndarray], np.ndarray], later: Later, seed: int) -> Comparison:
    """How well the clusters stand apart (Rousseeuw 1987), on persons as they are at the end."""
    drawn = sample(later.after, SILHOUETTE_SAMPLE, seed)
    points = model.standardised(drawn)
    of_model = evaluation.silhouette(points, model.nearest(drawn)[0])
    of_baseline = evaluation.silhouette(points, baseline(drawn))
    return Comparison(
        "silhouette",
        float(of_model.mean()),
        float(of_baseline.mean()),
        *evaluation.mean_interval(of_model - of_baseline, seed),
        fold=later.fold,
        decides=True,
    )


def explained(
    labels: np.ndarray, others: np.ndarray, ids: pl.DataFrame, revenue: pl.DataFrame, fold: str, seed: int
) -> Comparison:
    """How much of the log of later revenue labels explain (eta²), beside other labels of the same persons.

    Labels are those from before the revenue: later ones would hold the very revenue they are to explain.
    """
    import polars as pl

    bought = revenue.select("person_id", pl.col("revenue").cast(pl.Float64))
    joined = ids.join(bought, on="person_id", how="left", maintain_order="left")["revenue"]
    outcome = np.log1p(np.maximum(joined.fill_null(0.0).to_numpy(), 0.0))
    return Comparison(
        "later_revenue_eta2",
        evaluation.eta_squared(labels, outcome),
        evaluation.eta_squared(others, outcome),
        *evaluation.eta_squared_difference(labels, others, outcome, seed),
        fold=fold,
        decides=True,
    )


# -- what a card shows -------------------------------------------------------------------------------------------


def exhibits(model: Clusters, values: np.ndarray, seen: Sequence[Choice], seed: int) -> list[Exhibit]:
    """The number of clusters, their profiles, and the map."""
    labels = model.nearest(values)[0]
    profiles = [
        (
            i,
            name,
            int((labels == i).sum()),
            float((labels == i).mean()),
            *np.median(values[labels == i], axis=0).tolist(),
        )
        for i, name in enumerate(model.names)
        if (labels == i).any()
    ]
    shown = [Exhibit(
        "Segments",
        "Medians of the persons in each, as of today.",
        ("segment", "name", "persons", "share", *model.columns),
        profiles,
    )]  # fmt: skip
    if seen:
        shown.append(Exhibit(
            "How many segments",
            f"{DEFAULT_K}, unless they are unstable (agreement below {STABLE:g}) or one is smaller than {MIN_SHARE:.0%}. "
            "Agreement is the adjusted Rand index between all persons and resamples of four fifths.",
            ("segments", "agreement", "lowest", "smallest share", "silhouette"),
            [(c.k, c.stability, c.lowest, c.smallest_share, c.silhouette) for c in seen],
        ))  # fmt: skip
    return [*shown, _map(model, values, seed)]


def shares_by_group(model: Clusters, ids: pl.DataFrame, values: np.ndarray, groups: pl.DataFrame) -> list[Exhibit]:
    """The share of each cluster by region and age group, where they are known.

    Args:
        model: the clusters.
        ids: person_id of the rows of values.
        values: of the persons.
        groups: person_id, region, age_group.
    """
    labels = model.nearest(values)[0]
    measures = {name: lambda places, i=i: float((labels[places] == i).mean()) for i, name in enumerate(model.names)}
    known = ids.join(groups.unique("person_id"), on="person_id", how="left", maintain_order="left")
    return by_group(known.select("region", "age_group"), measures)


def _map(model: Clusters, values: np.ndarray, seed: int) -> Exhibit:
    drawn = sample(values, MAP_SAMPLE, seed)
    places, labels = model.on_map(drawn).round(3), model.nearest(drawn)[0]
    layers = [
        plots.Points(places[labels == i, 0].tolist(), places[labels == i, 1].tolist(), name)
        for i, name in enumerate(model.names)
    ]
    loadings = [(name, *model.axes[:, j].tolist()) for j, name in enumerate(model.features)]
    said = f"{len(drawn):,} persons along the first two principal components of the standardised features."
    picture = plots.plot(*layers, title="Segment map", x="first component", y="second component")
    return Exhibit("Segment map", said, ("feature", "first component", "second component"), loadings, picture)


# -- shared ------------------------------------------------------------------------------------------------------


def sample(values: np.ndarray, size: int, seed: int) -> np.ndarray:
    """At most `size` rows, drawn with the seed, in their order."""
    if len(values) <= size:
        return values
    chosen = np.random.default_rng(seed).choice(len(values), size, replace=False)
    return values[np.sort(chosen)]


def smallest_share(labels: np.ndarray, groups: int) -> float:
    """The share of the smallest of the groups 0 to groups − 1."""
    return float(np.bincount(labels, minlength=groups).min() / len(labels))


def _near_constant(column: np.ndarray) -> bool:
    if not len(column):
        return True
    most = np.unique(column, return_counts=True)[1].max()
    return bool(most >= NEAR_CONSTANT_SHARE * len(column))


def parameters() -> dict[str, Any]:
    """What fitting, choosing and judging were told."""
    return {
        "segments": DEFAULT_K,
        "candidates": [CANDIDATES.start, CANDIDATES.stop - 1],
        "stable": STABLE,
        "resamples": RESAMPLES,
        "n_init": N_INIT,
        "fit_sample": FIT_SAMPLE,
        "silhouette_sample": SILHOUETTE_SAMPLE,
        "lambda_range": list(LAMBDA_RANGE),
        "near_constant_share": NEAR_CONSTANT_SHARE,
        "min_share": MIN_SHARE,
        "min_persons": MIN_PERSONS,
    }
