"""The methods that churn is predicted by: customers as numbers, three classifiers and recency alone, as plain arrays.

Fitting and scoring of a single method live here. Which days are learned from, and which method wins, is in `churn.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.trees import Trees

if TYPE_CHECKING:
    import polars as pl

#: A text that fewer rows have than this share is one of the others.
RARE = 0.02
MOST_LEVELS = 10
#: Probabilities never say never: beyond this a logit is one of rounding.
_EDGE = 1e-6
IMPORTS = ("sklearn.ensemble", "sklearn.isotonic", "sklearn.linear_model")


@dataclass(frozen=True)
class Encoder:
    """Customers as rows of numbers, by what the training rows were like.

    Attributes:
        numbers: features that are numbers, without those that never vary.
        medians: of each, in place of what is not known.
        missing: those of which it is a column of its own whether they are known.
        levels: text feature → the texts that have a column.
    """

    numbers: tuple[str, ...]
    medians: tuple[float, ...]
    missing: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]

    @classmethod
    def fit(cls, rows: pl.DataFrame, features: Sequence[str]) -> Encoder:
        """The encoder of some rows. Numbers are taken by their logarithm, with their sign: amounts spread over decades."""
        import polars as pl

        numbers, medians, missing, levels = [], [], [], {}
        for name in features:
            known = rows[name].drop_nulls()
            if rows.schema[name].is_numeric():
                if known.n_unique() > 1:
                    numbers.append(name)
                    medians.append(float(known.median()))  # type: ignore[arg-type]
                    if known.len() < rows.height:
                        missing.append(name)
                continue
            counts = known.value_counts().filter(pl.col("count") >= RARE * rows.height)
            top = counts.sort("count", name, descending=[True, False]).head(MOST_LEVELS)[name].sort().to_list()
            if len(top) > 1:
                levels[name] = tuple(top)
        return cls(tuple(numbers), tuple(medians), tuple(missing), levels)

    @property
    def groups(self) -> dict[str, list[int]]:
        """Feature → its columns."""
        groups = {name: [at] for at, name in enumerate(self.numbers)}
        at = len(self.numbers)
        for name in self.missing:
            groups[name].append(at)
            at += 1
        for name, texts in self.levels.items():
            groups[name] = list(range(at, at + len(texts)))
            at += len(texts)
        return groups

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.numbers) + len(self.missing) + sum(map(len, self.levels.values()))

    def encode(self, rows: pl.DataFrame) -> np.ndarray:
        """The rows as n × width numbers (float32, as trees compare them), none of them missing."""
        columns = []
        for name, median in zip(self.numbers, self.medians, strict=True):
            values = rows[name].fill_null(median).to_numpy().astype(np.float64)
            columns.append(np.sign(values) * np.log1p(np.abs(values)))
        columns += [rows[name].is_null().to_numpy() for name in self.missing]
        for name, texts in self.levels.items():
            columns += [(rows[name] == text).fill_null(False).to_numpy() for text in texts]
        if not columns:
            return np.zeros((rows.height, 0), dtype=np.float32)
        return np.column_stack([np.asarray(column, dtype=np.float32) for column in columns])

    def to_state(self) -> dict[str, Any]:
        """Plain containers."""
        levels = {name: list(texts) for name, texts in self.levels.items()}
        return {
            "numbers": list(self.numbers), "medians": list(self.medians), "missing": list(self.missing), "levels": levels
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Encoder:
        """What `to_state` gave."""
        levels = {name: tuple(texts) for name, texts in state["levels"].items()}
        return cls(tuple(state["numbers"]), tuple(state["medians"]), tuple(state["missing"]), levels)


class Scorer(Protocol):
    """A fitted method: the logit of being lost, before calibration."""

    def logits(self, values: np.ndarray) -> np.ndarray:
        """The logit of each row of n × width numbers."""

    def to_state(self) -> dict[str, Any]:
        """Arrays and numbers."""


def logit(probability: np.ndarray) -> np.ndarray:
    """log(p / (1 − p)), p kept off 0 and 1."""
    p = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.log(p / (1 - p))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−x), to six decimals: the rest is rounding that differs with a row's place in its batch."""
    return np.round(1 / (1 + np.exp(-np.clip(logits, -30, 30))), 6)


@dataclass(frozen=True)
class Linear:
    """Logistic regression on standardised columns."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: float

    def logits(self, values: np.ndarray) -> np.ndarray:
        """As `Scorer`; column by column, so that a row's sum does not depend on the others."""
        total = np.full(len(values), self.intercept)
        for j in range(values.shape[1]):
            # What is far outside the training rows says no more than their edge.
            total += self.weights[j] * np.clip((values[:, j] - self.mean[j]) / self.scale[j], -5, 5)
        return total

    def to_state(self) -> dict[str, Any]:
        """As `Scorer`."""
        return {"mean": self.mean, "scale": self.scale, "weights": self.weights, "intercept": self.intercept}


@dataclass(frozen=True)
class Forest:
    """Random forest: the mean share of the lost in the leaves."""

    trees: Trees

    def logits(self, values: np.ndarray) -> np.ndarray:
        """As `Scorer`."""
        return logit(self.trees.means(values))

    def to_state(self) -> dict[str, Any]:
        """As `Scorer`."""
        return {"trees": self.trees.to_state()}


@dataclass(frozen=True)
class Boosted:
    """Gradient boosting: the prior's logit and a step per tree."""

    trees: Trees
    start: float
    step: float

    def logits(self, values: np.ndarray) -> np.ndarray:
        """As `Scorer`."""
        return self.start + self.step * self.trees.sums(values)

    def to_state(self) -> dict[str, Any]:
        """As `Scorer`."""
        return {"trees": self.trees.to_state(), "start": self.start, "step": self.step}


def fit_logistic(values: np.ndarray, outcome: np.ndarray, seed: int, full: bool) -> Scorer:
    """Logistic regression with an L2 penalty (scikit-learn's, C = 0.1)."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    scale = np.where(scale > 0, scale, 1.0)
    standard = np.clip((values - mean) / scale, -5, 5)
    found = LogisticRegression(C=0.1, max_iter=300, random_state=seed).fit(standard, outcome)
    return Linear(mean, scale, np.ascontiguousarray(found.coef_[0]), float(found.intercept_[0]))


def fit_forest(values: np.ndarray, outcome: np.ndarray, seed: int, full: bool) -> Scorer:
    """Random forest (Breiman 2001; scikit-learn's)."""
    from sklearn.ensemble import RandomForestClassifier

    drawn = min(len(values), 20_000 if full else 4_000)
    forest = RandomForestClassifier(
        n_estimators=150 if full else 60, max_depth=10 if full else 8, min_samples_leaf=10,
        max_samples=drawn, random_state=seed,
    ).fit(values, outcome)  # fmt: skip
    return Forest(Trees.of(forest.estimators_, of_class=1))


def fit_boosting(values: np.ndarray, outcome: np.ndarray, seed: int, full: bool) -> Scorer:
    """Stochastic gradient boosting (Friedman 2002; scikit-learn's), trees of depth 3."""
    from sklearn.ensemble import GradientBoostingClassifier

    step = 0.05 if full else 0.1
    boosting = GradientBoostingClassifier(
        n_estimators=150 if full else 50, learning_rate=step, max_depth=3, min_samples_leaf=20, max_features="sqrt",
        subsample=min(1.0, (20_000 if full else 4_000) / len(values)), random_state=seed,
    ).fit(values, outcome)  # fmt: skip
    start = float(logit(np.array([outcome.mean()]))[0])
    return Boosted(Trees.of([row[0] for row in boosting.estimators_]), start, step)


Fit = Callable[[np.ndarray, np.ndarray, int, bool], Scorer]
#: The simplest first: of equals it is chosen.
METHODS: dict[str, Fit] = {
    "logistic_regression": fit_logistic,
    "gradient_boosting": fit_boosting,
    "random_forest": fit_forest,
}


def scorer_of(method: str, state: Mapping[str, Any], columns: int) -> Scorer:
    """What a scorer's `to_state` gave, by its method.

    Raises:
        InputError: the state is not that of the method over so many columns.
    """
    if method == "logistic_regression":
        mean, scale, weights = (np.asarray(state[name], dtype=np.float64) for name in ("mean", "scale", "weights"))
        if any(a.shape != (columns,) for a in (mean, scale, weights)):
            raise InputError("the stored weights are not those of the features", fix="train the model again")
        return Linear(mean, scale, weights, float(state["intercept"]))
    trees = Trees.from_state(state["trees"], columns)
    if method == "random_forest":
        return Forest(trees)
    return Boosted(trees, float(state["start"]), float(state["step"]))


@dataclass(frozen=True)
class Recency:
    """The baseline: the share of the lost by days since the last order, in monotone bins.

    Attributes:
        days: ascending.
        share: at each of `days`, never falling; between them on the line.
    """

    days: np.ndarray
    share: np.ndarray

    @classmethod
    def fit(cls, recency: np.ndarray, outcome: np.ndarray) -> Recency:
        """Isotonic regression (pool adjacent violators; scikit-learn's) of the outcome on n days of recency."""
        from sklearn.isotonic import IsotonicRegression

        found = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(recency, outcome)
        return cls(np.asarray(found.X_thresholds_, dtype=np.float64), np.asarray(found.y_thresholds_, dtype=np.float64))

    def probability(self, recency: np.ndarray) -> np.ndarray:
        """The probability of being lost, to six decimals."""
        return np.round(np.interp(recency, self.days, self.share), 6)


@dataclass(frozen=True)
class Calibration:
    """Platt's scaling: probability = sigmoid(a · logit + b)."""

    a: float
    b: float

    @classmethod
    def fit(cls, logits: np.ndarray, outcome: np.ndarray) -> Calibration:
        """By maximum likelihood (Platt 1999, with his targets) on rows that the scorer was not fitted on.

        A slope of at most 0 would turn the ranking round; then all get the share of the lost.
        """
        yes, no = float(outcome.sum()), float(len(outcome) - outcome.sum())
        target = np.where(outcome == 1, (yes + 1) / (yes + 2), 1 / (no + 2))
        a, b = 1.0, 0.0
        # Newton's method on two parameters: ten steps are more than it takes.
        for _ in range(25):
            p = 1 / (1 + np.exp(-np.clip(a * logits + b, -30, 30)))
            weight = np.maximum(p * (1 - p), 1e-9)
            gradient = np.array([np.sum((p - target) * logits), np.sum(p - target)])
            off = float(np.sum(weight * logits))
            curve = np.array([[float(np.sum(weight * logits**2)) + 1e-6, off], [off, float(np.sum(weight)) + 1e-6]])
            step = np.linalg.solve(curve, gradient)
            size = max(1.0, float(np.abs(step).max()) / 2)
            a, b = a - float(step[0]) / size, b - float(step[1]) / size
            if np.abs(step).max() < 1e-10:
                break
        return cls(a, b) if a > 0 else cls(0.0, float(logit(np.array([(yes + 1) / (yes + no + 2)]))[0]))

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """The calibrated probability of each logit."""
        return sigmoid(self.a * logits + self.b)
