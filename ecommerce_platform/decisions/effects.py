"""For whom an arm of an experiment does more: learners of effects per person, and curves that say whether to believe them.

Numbers in, numbers out; which experiment and which outcome is asked for is decided in `uplift.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FOLDS, SPLITS, DRAWS, SEED = 5, 2, 200, 1
#: Weight of the ridge penalty, per unit: effects are small beside what persons differ in, so they are shrunk strongly.
PENALTY = 0.05


@dataclass(frozen=True)
class Effects:
    """Effects per person, each estimated by models that have not seen that person, and scores that are unbiased for them.

    `t_learner` and `x_learner` are two estimates (Künzel, Sekhon, Bickel and Yu 2019); `score` is the augmented inverse probability
    weighted effect (Robins, Rotnitzky and Zhao 1994): its mean over any group is an unbiased estimate of the group's effect.
    """

    t_learner: Floats
    x_learner: Floats
    score: Floats


@dataclass(frozen=True)
class Ridge:
    """Linear regression with a penalty on all but the intercept."""

    weights: Floats

    @classmethod
    def fit(cls, features: Floats, outcome: Floats) -> Ridge:
        """Of standardised features without an intercept; at least one row."""
        design = _with_one(features)
        penalty = np.full(design.shape[1], PENALTY * len(outcome))
        penalty[0] = 0.0
        weights: Floats = np.linalg.solve(design.T @ design + np.diag(penalty), design.T @ outcome).astype(np.float64)
        return cls(weights)

    def predict(self, features: Floats) -> Floats:
        """The expected outcome of each row."""
        return _with_one(features) @ self.weights


def _with_one(features: Floats) -> Floats:
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)


@dataclass(frozen=True)
class Learners:
    """All models of one fit: outcomes under both arms, and effects among the treated and among the control."""

    control: Ridge
    treated: Ridge
    among_treated: Ridge
    among_control: Ridge
    share: float

    @classmethod
    def fit(cls, features: Floats, treated: NDArray[np.bool_], outcome: Floats, share: float) -> Learners:
        """From units with both arms; `share` is the planned share of the treated."""
        x0, x1, y0, y1 = features[~treated], features[treated], outcome[~treated], outcome[treated]
        below, above = Ridge.fit(x0, y0), Ridge.fit(x1, y1)
        gained, missed = Ridge.fit(x1, y1 - below.predict(x1)), Ridge.fit(x0, above.predict(x0) - y0)
        return cls(below, above, gained, missed, share)

    def effect(self, features: Floats) -> Floats:
        """The X-learner's effect: each side's estimate, weighted by how little the other side knew."""
        return self.share * self.among_control.predict(features) + (1 - self.share) * self.among_treated.predict(
            features
        )


def cross_fit(features: Floats, treated: NDArray[np.bool_], outcome: Floats, share: float, seed: int = SEED) -> Effects:
    """Effects of every unit by models fitted without its fold, averaged over several splits into folds.

    Args:
        features: standardised, known before the experiment; units × features.
        treated: whether each unit is in the treated arm.
        outcome: of each unit.
        share: planned share of the treated arm among both, 0 to 1 (excluded).
        seed: of the splits.
    """
    random, size = np.random.default_rng(seed), len(outcome)
    sums = np.zeros((3, size))
    for _ in range(SPLITS):
        fold = random.permutation(size) % FOLDS
        for number in range(FOLDS):
            out = fold == number
            models = Learners.fit(features[~out], treated[~out], outcome[~out], share)
            x, t, y = features[out], treated[out], outcome[out]
            below, above = models.control.predict(x), models.treated.predict(x)
            correction = np.where(t, (y - above) / share, -(y - below) / (1 - share))
            sums[:, out] += [above - below, models.effect(x), above - below + correction]
    t_learner, x_learner, score = sums / SPLITS
    return Effects(t_learner, x_learner, score)


@dataclass(frozen=True)
class Qini:
    """How much more than a random choice a ranking reaches: area between its gain curve and the straight line, per person.

    `curve` holds the gain per person of treating the first 10 %, 20 % … 100 %, `low` and `high` its interval.
    """

    value: float
    low: float
    high: float
    error: float
    curve: Floats
    curve_low: Floats
    curve_high: Floats


def qini(
    ranking: Floats, score: Floats, alpha: float = 0.05, draws: int = DRAWS, seed: int = SEED, *, widened: float = 1.0
) -> Qini:
    """The Qini coefficient of a ranking (Radcliffe 2007) from unbiased scores, with an interval by bootstrap over persons.

    Equal values of the ranking share the middle of their ranks.

    Args:
        ranking: highest first treated.
        score: `Effects.score`.
        alpha: one minus the level.
        draws: of the bootstrap.
        seed: of it.
        widened: the interval's ends lie so many times as far from the coefficient: what a bootstrap over persons cannot see.
    """
    order = np.argsort(-ranking, kind="stable")
    sorted_score, sorted_ranking = score[order], ranking[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(sorted_ranking) != 0]))
    random, size = np.random.default_rng(seed), len(score)
    shares = np.arange(0.1, 1.05, 0.1)
    values, curves = np.empty(draws + 1), np.empty((draws + 1, 10))
    # Draw by draw: all at once would be as many copies of the shop as there are draws.
    for draw in range(draws + 1):
        weight = np.bincount(random.integers(0, size, size), minlength=size) if draw else np.ones(size)
        gain, total = np.add.reduceat(weight * sorted_score, starts), np.add.reduceat(weight, starts)
        reached = np.cumsum(total)
        values[draw] = (gain * (0.5 - (reached - total / 2) / size)).sum() / size
        ends = np.concatenate([[0], reached / size]), np.concatenate([[0], np.cumsum(gain) / size])
        curves[draw] = np.interp(shares, *ends)
    low, high = values[0] + widened * (np.quantile(values[1:], [alpha / 2, 1 - alpha / 2]) - values[0])
    curve_low, curve_high = np.quantile(curves[1:], [0.025, 0.975], axis=0)
    return Qini(
        float(values[0]), float(min(low, values[0])), float(max(high, values[0])), widened * float(values[1:].std(ddof=1)),
        curves[0], np.minimum(curve_low, curves[0]), np.maximum(curve_high, curves[0]),
    )  # fmt: skip


def standardise(
    columns: dict[str, Any], like: dict[str, tuple[float, float]] | None = None
) -> tuple[Floats, dict[str, tuple[float, float]]]:
    """Columns as standardised features, by their own mean and deviation or by those of others (`like`); constant ones are 0."""
    scale = like or {n: (float(np.mean(v)), float(np.std(v))) for n, v in columns.items()}
    made = [
        (np.asarray(columns[n], float) - m) / s if s > 0 else np.zeros(len(columns[n])) for n, (m, s) in scale.items()
    ]
    return np.stack(made, axis=1), scale
