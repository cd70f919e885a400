"""What a customer is expected to bring in the next months: who is expected to, by which method, and how sure that is.

Customers as of a day, the methods that predict their revenue of the days after it, their choice and judgement, intervals and
calibration are here. The likelihoods behind BG/NBD and Gamma-Gamma are in `purchase_process.py`.

Methods: `bg_nbd_gamma_gamma` (expected purchases × expected value of one) and `random_forest` (on how recently, often and for
how much somebody bought, learnt from the window before). The baseline `past_average` goes on as before: a customer's revenue
per day so far, times the days ahead, times one factor for all, so that the total of the window before comes out right.

Cut-offs lie a horizon apart: on the days after the last but one a method is chosen (least RMSE), on those after the last it is
judged, once. RMSE decides because what is wanted is a mean: most customers bring nothing, so absolute errors are least for
whoever predicts nothing.

Intervals of a customer are what customers with a like prediction turned out to bring (split conformal by groups of predictions,
Vovk 2005): they hold for any method, and they hold the many zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import evaluation, lifecycle
from ecommerce_platform.ml.columns import COUNT, TEXT, Rule
from ecommerce_platform.ml.lifecycle import Comparison, Evaluation, Inputs
from ecommerce_platform.ml.monitoring import LIVE
from ecommerce_platform.ml.purchase_process import BgNbd, Fit, GammaGamma, fit_bg_nbd, fit_gamma_gamma
from ecommerce_platform.ml.trees import Trees

if TYPE_CHECKING:
    import polars as pl

BASELINE = "past_average"
BG_NBD = "bg_nbd_gamma_gamma"
FOREST = "random_forest"
SCORES, CALIBRATION = "ml.clv_scores", "ml.clv_calibration"

#: Days ahead; a quarter of the history where that is shorter, so that there are three windows and a past before them.
HORIZON_DAYS = 180
#: Shorter windows hold too few purchases to compare anything on.
MIN_HORIZON_DAYS = 28
#: Fewer who came back say nothing about dropping out; fewer customers nothing to a forest.
MIN_REPEATERS, MIN_LABELLED = 30, 200
#: Who bought for nothing counts as having paid this: Gamma-Gamma needs positive amounts.
_LEAST_VALUE = 0.01
COVERAGE = 0.9
_GROUPS, _PER_GROUP, _DECILES = 20, 50, 10

FEATURES = ("purchase_days", "recency_days", "age_days", "revenue", "revenue_90_days", "revenue_90_days_before")
_TREES = {False: 60, True: 300}
_SAMPLE = {False: 4_000, True: 20_000}
_LEAF = 20


def customers_as_of(days: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Customers as they were known at the end of a day; the figures are those of `gold.customer_features`.

    Args:
        days: the days on which persons bought: person_id, order_date (DATE), revenue (money).
        as_of: the last day that is known.

    Returns:
        A row per person who bought by then, by person_id: person_id, purchase_days, recency_days, age_days (BIGINT, days
        since the last and the first purchase), revenue, revenue_90_days, revenue_90_days_before (DECIMAL(18,4)).
    """
    import polars as pl

    ago = (pl.lit(as_of) - pl.col("order_date")).dt.total_days()
    revenue = pl.col("revenue").cast(pl.Decimal(38, 4))

    def money(amount: pl.Expr) -> pl.Expr:
        return amount.sum().cast(pl.Decimal(18, 4))

    return (
        days.filter(pl.col("order_date") <= as_of)
        .group_by("person_id")
        .agg(
            purchase_days=pl.len().cast(pl.Int64),
            recency_days=ago.min(),
            age_days=ago.max(),
            revenue=money(revenue),
            revenue_90_days=money(revenue.filter(ago < 90)),
            revenue_90_days_before=money(revenue.filter((ago >= 90) & (ago < 180))),
        )
        .sort("person_id")
    )


def revenue_after(days: pl.DataFrame, customers: pl.DataFrame, as_of: date, horizon: int) -> np.ndarray:
    """What each of the customers brought in the `horizon` days after `as_of`: n amounts."""
    import polars as pl

    within = (pl.col("order_date") > as_of) & (pl.col("order_date") <= as_of + timedelta(days=horizon))
    later = (
        days.filter(within).group_by("person_id").agg(pl.col("revenue").cast(pl.Decimal(38, 4)).sum().alias("later"))
    )
    joined = customers.select("person_id").join(later, on="person_id", how="left", maintain_order="left")
    return joined["later"].cast(pl.Float64).fill_null(0.0).to_numpy()


@dataclass(frozen=True)
class Fold:
    """Customers as of the end of a day, and what they brought in the days after it.

    Attributes:
        as_of: the last day that was known.
        customers: as `customers_as_of` gives them.
        outcome: their revenue in the horizon after it; empty where it is not over.
    """

    as_of: date
    customers: pl.DataFrame
    outcome: np.ndarray

    @property
    def name(self) -> str:
        """The first day that was not known, as evaluations name a fold."""
        return (self.as_of + timedelta(days=1)).isoformat()


def horizon_of(days: pl.DataFrame) -> int:
    """How many days ahead this history lets predict; see `HORIZON_DAYS`."""
    if days.is_empty():
        return MIN_HORIZON_DAYS
    first, last = _span(days)
    return max(min(HORIZON_DAYS, ((last - first).days + 1) // 4), MIN_HORIZON_DAYS)


def _span(days: pl.DataFrame) -> tuple[date, date]:
    return days["order_date"].min(), days["order_date"].max()  # type: ignore[return-value]


def fold_at(days: pl.DataFrame, as_of: date, horizon: int) -> Fold:
    """The fold of a day."""
    customers = customers_as_of(days, as_of)
    return Fold(as_of, customers, revenue_after(days, customers, as_of, horizon))


# -- methods -----------------------------------------------------------------------------------------------------


class Predictor(Protocol):
    """What predicts the revenue of customers in the horizon it was fitted for."""

    def expected(self, customers: pl.DataFrame) -> np.ndarray:
        """n amounts."""
        ...


@dataclass(frozen=True)
class PastAverage:
    """The baseline: a customer goes on as before.

    Attributes:
        horizon: days ahead.
        factor: what the past has to be multiplied with, the same for everyone.
    """

    horizon: int
    factor: float

    @classmethod
    def fit(cls, past: Fold, horizon: int) -> PastAverage:
        """With the factor that gives the total of the past fold's outcome; 1 where there is none to learn from."""
        raw = cls(horizon, 1.0).expected(past.customers).sum()
        return cls(horizon, float(past.outcome.sum() / raw) if raw > 0 and len(past.outcome) else 1.0)

    def expected(self, customers: pl.DataFrame) -> np.ndarray:
        """Revenue per day × days ahead × factor. A day's newcomer is not taken to buy every day: at least a horizon counts."""
        age = np.maximum(_column(customers, "age_days") + 1, self.horizon)
        return self.factor * np.maximum(_column(customers, "revenue"), 0) * self.horizon / age


@dataclass(frozen=True)
class ProcessModel:
    """BG/NBD for how often, Gamma-Gamma for how much. All purchases of a customer tell what one is worth, the first too."""

    horizon: int
    buying: BgNbd
    value: GammaGamma
    fits: tuple[Fit, Fit] | None = None

    @classmethod
    def fit(cls, customers: pl.DataFrame, horizon: int, *, intervals: bool = False) -> ProcessModel | None:
        """Fitted to customers as of the cut-off; None where too few came back or amounts have no mean."""
        repeats, last, age = _history(customers)
        paid = customers.filter(customers["revenue"] > 0)
        if (repeats > 0).sum() < MIN_REPEATERS or paid["revenue"].n_unique() < MIN_REPEATERS:
            return None
        buying, of_buying = fit_bg_nbd(repeats, last, age, intervals=intervals)
        value, of_value = fit_gamma_gamma(*_amounts(paid), intervals=intervals)
        return cls(horizon, buying, value, (of_buying, of_value)) if value.p + value.q > 1 else None

    def purchases(self, customers: pl.DataFrame) -> np.ndarray:
        """Purchases that are expected in the horizon."""
        return self.buying.expected_purchases(*_history(customers), self.horizon)

    def purchase_value(self, customers: pl.DataFrame) -> np.ndarray:
        """What one of them is expected to be worth."""
        return self.value.expected_value(*_amounts(customers))

    def alive(self, customers: pl.DataFrame) -> np.ndarray:
        """The probability of being a customer still; NaN for those who bought once, where it says nothing (always 1)."""
        repeats, last, age = _history(customers)
        return np.where(repeats > 0, self.buying.probability_alive(repeats, last, age), np.nan)

    def expected(self, customers: pl.DataFrame) -> np.ndarray:
        """Purchases × value."""
        return self.purchases(customers) * self.purchase_value(customers)


@dataclass(frozen=True)
class ForestModel:
    """A random forest (Breiman 2001) on `FEATURES`, learnt from what customers of the fold before brought."""

    trees: Trees

    @classmethod
    def fit(cls, past: Fold, seed: int, *, full: bool) -> ForestModel | None:
        """None where there are too few customers to learn from."""
        from sklearn.ensemble import RandomForestRegressor

        if len(past.outcome) < MIN_LABELLED or not past.outcome.any():
            return None
        forest = RandomForestRegressor(
            _TREES[full],
            min_samples_leaf=_LEAF,
            max_features=1 / 3,
            max_samples=min(_SAMPLE[full], len(past.outcome)),
            random_state=seed,
        )
        return cls(Trees.of(forest.fit(_features(past.customers), past.outcome).estimators_))

    def expected(self, customers: pl.DataFrame) -> np.ndarray:
        """The mean of the trees."""
        return self.trees.means(_features(customers)) if customers.height else np.empty(0)


def _column(customers: pl.DataFrame, name: str) -> np.ndarray:
    import polars as pl

    return customers[name].cast(pl.Float64).to_numpy()


def _features(customers: pl.DataFrame) -> np.ndarray:
    return np.column_stack([_column(customers, name) for name in FEATURES])


def _history(customers: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Repeat purchases, days from the first to the last, days since the first."""
    age = _column(customers, "age_days")
    return _column(customers, "purchase_days") - 1, age - _column(customers, "recency_days"), age


def _amounts(customers: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    purchases = _column(customers, "purchase_days")
    return purchases, np.maximum(_column(customers, "revenue") / purchases, _LEAST_VALUE)


# -- choice and judgement ----------------------------------------------------------------------------------------


def fit_methods(
    days: pl.DataFrame, past: Fold, now: date, horizon: int, *, seed: int, full: bool, only: str | None = None
) -> dict[str, Predictor]:
    """The methods as they would have been fitted at the end of a day; those that the data allow, and the baseline.

    Args:
        days: the whole history; what lies after `now` is not looked at.
        past: the fold whose outcome ends at `now`.
        now: the last day that is known.
        horizon: days ahead.
        seed: of the forest.
        full: more trees on more customers.
        only: the one method that is wanted, besides the baseline.
    """
    wanted: dict[str, Callable[[], Predictor | None]] = {
        BG_NBD: lambda: ProcessModel.fit(customers_as_of(days, now), horizon),
        FOREST: lambda: ForestModel.fit(past, seed, full=full),
    }
    found: dict[str, Predictor] = {BASELINE: PastAverage.fit(past, horizon)}
    for name, fit in wanted.items():
        if only in (None, name) and (method := fit()) is not None:
            found[name] = method
    return found


@dataclass(frozen=True)
class Spread:
    """What customers turned out to bring, by groups of like predictions: intervals for others.

    Attributes:
        edges: predictions at which the next group begins.
        low: lower end by group.
        high: upper end by group.
    """

    edges: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, expected: np.ndarray, outcome: np.ndarray) -> Spread:
        """From predictions of customers and what they brought; both n, n at least 1."""
        edges = group_edges(expected, max(1, min(_GROUPS, len(expected) // _PER_GROUP)))
        group = np.searchsorted(edges, expected, "right")
        tails = ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
        ends = [np.quantile(outcome[group == g], tails, method="inverted_cdf") for g in range(len(edges) + 1)]
        # More is never expected with less: what a group's chance says otherwise is levelled.
        low, high = np.maximum.accumulate(np.array(ends), axis=0).T
        return cls(edges, low, high)

    def interval(self, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends for predictions."""
        group = np.searchsorted(self.edges, expected, "right")
        return self.low[group], self.high[group]


def group_edges(values: np.ndarray, groups: int) -> np.ndarray:
    """Where the second and every further group of like size begins; equal values stay together, so there may be fewer."""
    edges = np.unique(np.quantile(values, np.arange(1, groups) / groups, method="higher"))
    return edges[edges > values.min()]


def compare(expected: np.ndarray, baseline: np.ndarray, outcome: np.ndarray, fold: str, seed: int) -> list[Comparison]:
    """How well a method and the baseline predicted: RMSE (which decides), MAE, R², normalised Gini, total.

    Intervals are of the differences, from persons drawn anew (`evaluation.block_sums`); Gini and total have none.
    """
    errors = [expected - outcome, baseline - outcome]
    columns = [np.ones(len(outcome)), outcome - outcome.mean(), (outcome - outcome.mean()) ** 2]
    sums = evaluation.block_sums(np.column_stack([*columns, *(e**2 for e in errors), *map(np.abs, errors)]), seed)
    n, centred, squares = sums[:, 0], sums[:, 1], sums[:, 2]
    around_mean = np.maximum(squares - centred**2 / n, 1e-12)
    drawn = {
        "rmse": [np.sqrt(sums[:, 3 + i] / n) for i in (0, 1)],
        "mae": [sums[:, 5 + i] / n for i in (0, 1)],
        "r2": [1 - sums[:, 3 + i] / around_mean for i in (0, 1)],
    }
    measured = [_measures(p, outcome) for p in (expected, baseline)]
    found = []
    for metric in measured[0]:
        low = high = None
        if metric in drawn:
            low, high = map(float, np.quantile(drawn[metric][0] - drawn[metric][1], (0.025, 0.975)))
        found.append(
            Comparison(
                metric, measured[0][metric], measured[1][metric], low, high, fold,
                decides=metric == "rmse", lower_is_better=metric in ("rmse", "mae"),
            )
        )  # fmt: skip
    return found


def _measures(expected: np.ndarray, outcome: np.ndarray) -> dict[str, float]:
    error = expected - outcome
    variance = float(((outcome - outcome.mean()) ** 2).mean())
    total = float(outcome.sum())
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "r2": 1 - float((error**2).mean()) / variance if variance > 0 else 0.0,
        "gini": normalised_gini(expected, outcome),
        "total_ratio": float(expected.sum()) / total if total else 0.0,
    }


def normalised_gini(expected: np.ndarray, outcome: np.ndarray) -> float:
    """How well predictions order customers by what they brought: 1 as their own order does, 0 as chance does.

    Formula: Gini of the outcomes in the order of the predictions over that in their own order. Customers with equal
    predictions each count with the mean of theirs.
    """

    def gini(order_by: np.ndarray) -> float:
        _, group, size = np.unique(order_by, return_inverse=True, return_counts=True)
        mean = np.bincount(group, weights=outcome) / size
        cumulated = np.cumsum(np.repeat(mean, size))
        return float(0.5 - (cumulated.sum() / cumulated[-1] - 0.5) / len(outcome))

    if not len(outcome) or outcome.sum() <= 0 or np.ptp(outcome) == 0:
        return 0.0
    return gini(expected) / gini(outcome)


def calibration_rows(name: str, expected: np.ndarray, outcome: np.ndarray, fold: str) -> list[dict[str, Any]]:
    """Predicted and actual revenue of a method by tenth of its predictions, the largest first: rows of `ml.clv_calibration`."""
    edges = group_edges(expected, _DECILES)
    group = len(edges) - np.searchsorted(edges, expected, "right")
    rows = []
    for g in range(len(edges) + 1):
        of = group == g
        rows.append(
            {
                "method": name,
                "fold": fold,
                "decile": g + 1,
                "persons": int(of.sum()),
                "expected_revenue": float(expected[of].sum()),
                "actual_revenue": float(outcome[of].sum()),
                "mean_expected": float(expected[of].mean()),
                "mean_actual": float(outcome[of].mean()),
            }
        )
    return rows


@dataclass(frozen=True)
class Judged:
    """What the final fit takes over from the evaluation.

    Attributes:
        folds: the last folds, oldest first; the last one's outcome ends with the history.
        horizon: days ahead.
        spreads: of each judged method on the newest window.
        calibration: rows of `ml.clv_calibration`.
    """

    folds: tuple[Fold, ...]
    horizon: int
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    calibration: tuple[Mapping[str, Any], ...] = ()


def judge(days: pl.DataFrame, *, seed: int, full: bool) -> Evaluation:
    """Chooses a method on the last but one window and judges it on the last."""
    horizon = horizon_of(days)
    if days.is_empty():
        return Evaluation(BG_NBD, not_evaluated="nobody has bought", carry=Judged((), horizon))
    first, end = _span(days)
    if (end - first).days + 1 < 4 * MIN_HORIZON_DAYS:
        said = f"{(end - first).days + 1} days of history are fewer than {4 * MIN_HORIZON_DAYS}"
        return Evaluation(BG_NBD, not_evaluated=said, carry=Judged((), horizon))
    folds = tuple(fold_at(days, end - timedelta(days=k * horizon), horizon) for k in (3, 2, 1))
    learnt, choice, newest = folds
    tried = fit_methods(days, learnt, choice.as_of, horizon, seed=seed, full=full)
    predicted = {name: method.expected(choice.customers) for name, method in tried.items()}
    errors = {name: float(np.sqrt(((p - choice.outcome) ** 2).mean())) for name, p in predicted.items()}
    candidates = [name for name in errors if name != BASELINE]
    if not candidates:
        said = f"as of {choice.as_of} too few customers had come back or brought anything"
        return Evaluation(BG_NBD, not_evaluated=said, carry=Judged(folds, horizon))
    chosen = min(candidates, key=lambda name: (errors[name], name))
    fitted = fit_methods(days, choice, newest.as_of, horizon, seed=seed, full=full, only=chosen)
    if chosen not in fitted:
        return Evaluation(
            chosen, not_evaluated=f"it could not be fitted as of {newest.as_of}", carry=Judged(folds, horizon)
        )
    last = {name: method.expected(newest.customers) for name, method in fitted.items()}
    compared = [
        *compare(last[chosen], last[BASELINE], newest.outcome, newest.name, seed),
        _covered(predicted, choice, last, newest, chosen),
        *(c for c in _undecided(compare(predicted[chosen], predicted[BASELINE], choice.outcome, choice.name, seed))),
    ]
    calibration = [row for name, p in last.items() for row in calibration_rows(name, p, newest.outcome, newest.name)]
    spreads = {name: Spread.of(p, newest.outcome) for name, p in last.items()}
    return Evaluation(
        chosen,
        compared,
        metrics={"horizon_days": horizon, "chosen_by_rmse": errors, "chosen_on": choice.name},
        exhibits=[_calibration_exhibit(calibration, chosen, horizon)],
        carry=Judged(folds, horizon, spreads, tuple(calibration)),
    )


def _undecided(comparisons: Sequence[Comparison]) -> list[Comparison]:
    from dataclasses import replace

    return [replace(c, decides=False) for c in comparisons]


def _covered(
    predicted: Mapping[str, np.ndarray], choice: Fold, last: Mapping[str, np.ndarray], newest: Fold, chosen: str
) -> Comparison:
    """How often intervals made on the window before held what came."""
    shares = []
    for name in (chosen, BASELINE):
        low, high = Spread.of(predicted[name], choice.outcome).interval(last[name])
        shares.append(float(((low <= newest.outcome) & (newest.outcome <= high)).mean()))
    return Comparison("interval_coverage_90", shares[0], shares[1], fold=newest.name)


def _calibration_exhibit(rows: Sequence[Mapping[str, Any]], chosen: str, horizon: int) -> lifecycle.Exhibit:
    from ecommerce_platform.ml.plots import Line, Points, plot

    def mean(method: str, what: str) -> list[float]:
        return [row[what] for row in rows if row["method"] == method]

    largest = max(max(row["mean_expected"], row["mean_actual"]) for row in rows)
    picture = plot(
        Line([0, largest], [0, largest], "as predicted", dashed=True),
        Points(mean(chosen, "mean_expected"), mean(chosen, "mean_actual"), chosen),
        Points(mean(BASELINE, "mean_expected"), mean(BASELINE, "mean_actual"), BASELINE),
        title=f"Revenue per customer in {horizon} days, by tenth of the predictions",
        x="predicted, currency",
        y="actual, currency",
    )
    header = ("method", "decile", "persons", "mean predicted", "mean actual")
    table = [(r["method"], r["decile"], r["persons"], r["mean_expected"], r["mean_actual"]) for r in rows]
    return lifecycle.Exhibit(
        "Actual against predicted",
        "On the newest window, before the last fit. Decile 1 holds the largest predictions; equal ones stay together.",
        header,
        table,
        picture,
    )


# -- as the lifecycle knows it -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """What scores: the method in force, and what its predictions turned out to be worth.

    Attributes:
        method: its name.
        predictor: it.
        horizon: days ahead.
        spread: for intervals; None where nothing could be judged.
        calibration: rows of `ml.clv_calibration`.
        about: parameters with intervals and such, for the card.
    """

    method: str
    predictor: Predictor
    horizon: int
    spread: Spread | None
    calibration: tuple[Mapping[str, Any], ...]
    about: Mapping[str, Any] = field(default_factory=dict)


def score_customers(fitted: Fitted, customers: pl.DataFrame) -> pl.DataFrame:
    """What each customer is expected to bring in the horizon after the day they are described at.

    Args:
        fitted: what scores.
        customers: with person_id and `FEATURES`, as `customers_as_of` and `gold.customer_features` have them.

    Returns:
        A row per row, in its order: person_id, horizon_days, expected_revenue, revenue_low, revenue_high (of 90 %; null where
        nothing could be judged), expected_purchases, expected_purchase_value, probability_alive (null but for BG/NBD, the last
        also for whoever bought once).

    Raises:
        InputError: days that can't be.
    """
    import polars as pl

    _refuse_impossible(customers)
    process = fitted.predictor if isinstance(fitted.predictor, ProcessModel) else None
    expected = fitted.predictor.expected(customers)
    low, high = fitted.spread.interval(expected) if fitted.spread else (None, None)
    none = pl.lit(None, dtype=pl.Float64)

    def known(values: np.ndarray | None) -> Any:
        return none if values is None else pl.Series(values, dtype=pl.Float64).fill_nan(None)

    return customers.select(
        "person_id",
        horizon_days=pl.lit(fitted.horizon, dtype=pl.Int32),
        expected_revenue=pl.Series(expected, dtype=pl.Float64),
        revenue_low=known(low),
        revenue_high=known(high),
        expected_purchases=known(process.purchases(customers) if process else None),
        expected_purchase_value=known(process.purchase_value(customers) if process else None),
        probability_alive=known(process.alive(customers) if process else None),
    )


def _refuse_impossible(customers: pl.DataFrame) -> None:
    import polars as pl

    rules = {
        "recency_days": (pl.col("recency_days") <= pl.col("age_days"), "at most age_days"),
        "age_days": (
            (pl.col("purchase_days") > 1) | (pl.col("recency_days") == pl.col("age_days")),
            "recency_days, as it has to be for who bought on one day",
        ),
        "purchase_days": (
            pl.col("purchase_days") <= pl.col("age_days") - pl.col("recency_days") + 1,
            "at most the days from the first to the last purchase",
        ),
    }
    for name, (rule, meaning) in rules.items():
        wrong = customers.select(wrong=~rule)["wrong"].arg_true()
        if len(wrong):
            i = int(wrong[0])
            raise InputError(
                f"{customers[name][i]!r} is not {meaning}",
                where=f"row {i + 1}, column {name}",
                fix="count days since the first and since the last purchase up to the same day",
            )


class LifetimeValue(lifecycle.Model):
    """Lifetime value as the lifecycle knows it."""

    name, baseline = "lifetime_value", BASELINE
    title = "Customer lifetime value"
    purpose = (
        "How much revenue each customer is expected to bring in the coming months, with an interval: whom to keep at what "
        "cost. It orders and sums customers; of a single one it says little, as the intervals show."
    )
    limits = (
        "BG/NBD's probability of being alive is 1 for everyone who bought once, however long ago: it is no churn score, and "
        "for them it is left empty. Who is about to leave is in ml.churn_scores.",
        "Revenue, not profit, without discounting, of the horizon only; what customers bring who have not bought yet is not in it.",
        "Seasons, campaigns and prices are as in the window before: no method here knows of them.",
        "Gamma-Gamma takes how much a customer pays to be independent of how often; the card has their correlation.",
    )
    inputs = {
        "days": lifecycle.select("select person_id, order_date, revenue_amount as revenue from gold.fct_customer_days"),
    }
    trained_on = ("days",)
    scored_on = {SCORES: ("days",), CALIBRATION: ()}
    columns = {
        "person_id": TEXT,
        "purchase_days": COUNT,
        "recency_days": Rule("whole", at_least=0),
        "age_days": Rule("whole", at_least=0),
        "revenue": Rule("money"),
        "revenue_90_days": Rule("money"),
        "revenue_90_days_before": Rule("money"),
    }
    imports = ("scipy.optimize", "scipy.special", "scipy.linalg", "sklearn.ensemble")
    code = tuple(
        Path(__file__).with_name(f"{n}.py") for n in ("lifetime_value", "purchase_process", "evaluation", "trees")
    )
    watched = {SCORES: ("expected_revenue", "person_id")}

    def evaluate(self, inputs: Inputs, *, seed: int, full: bool) -> Evaluation:
        """Three windows: learnt from, chosen on, judged on."""
        return judge(inputs["days"], seed=seed, full=full)

    def fit(self, inputs: Inputs, method: str, evaluation: Evaluation, *, seed: int, full: bool) -> Fitted:
        """On everything: the process on all purchases, the forest and the factor on the newest window."""
        days, known = inputs["days"], evaluation.carry
        if not known.folds:
            return Fitted(self.baseline, PastAverage(known.horizon, 1.0), known.horizon, None, ())
        past, now, about = known.folds[-1], _span(days)[1], {}
        if method == BG_NBD:
            process = ProcessModel.fit(customers_as_of(days, now), known.horizon, intervals=True)
            predictor: Predictor | None = process
            if process and process.fits:
                about = dict(zip(("bg_nbd", "gamma_gamma"), (f.as_json() for f in process.fits), strict=True))
        else:
            predictor = fit_methods(days, past, now, known.horizon, seed=seed, full=full, only=method).get(method)
        assert predictor is not None, f"{method} was fitted to less than this before"
        return Fitted(method, predictor, known.horizon, known.spreads.get(method), known.calibration, about)

    def to_state(self, fitted: Fitted) -> dict[str, Any]:
        """Numbers and arrays."""
        from dataclasses import asdict

        spread, predictor = fitted.spread, fitted.predictor
        if isinstance(predictor, ForestModel):
            numbers: Any = predictor.trees.to_state()
        elif isinstance(predictor, ProcessModel):
            numbers = {"buying": asdict(predictor.buying), "value": asdict(predictor.value)}
        else:
            assert isinstance(predictor, PastAverage)
            numbers = {"factor": predictor.factor}
        return {
            "method": fitted.method,
            "horizon": fitted.horizon,
            "predictor": numbers,
            "spread": None if spread is None else {"edges": spread.edges, "low": spread.low, "high": spread.high},
            "calibration": [dict(row) for row in fitted.calibration],
            "about": dict(fitted.about),
        }

    def from_state(self, state: Mapping[str, Any]) -> Fitted:
        """What `to_state` stored."""
        horizon, numbers = int(state["horizon"]), state["predictor"]
        if state["method"] == FOREST:
            predictor: Predictor = ForestModel(Trees.from_state(numbers, len(FEATURES)))
        elif state["method"] == BG_NBD:
            predictor = ProcessModel(horizon, BgNbd(**numbers["buying"]), GammaGamma(**numbers["value"]))
        else:
            predictor = PastAverage(horizon, float(numbers["factor"]))
        spread = None if state["spread"] is None else Spread(**state["spread"])
        return Fitted(state["method"], predictor, horizon, spread, tuple(state["calibration"]), state["about"])

    def score(self, fitted: Fitted, inputs: Inputs, table: str) -> pl.DataFrame:
        """Everyone as of the newest day with a purchase; or how predictions turned out."""
        import polars as pl

        if table == CALIBRATION:
            schema = {"method": pl.String, "fold": pl.String, "decile": pl.Int32, "persons": pl.Int64}
            amounts = ("expected_revenue", "actual_revenue", "mean_expected", "mean_actual")
            return pl.DataFrame(list(fitted.calibration), schema={**schema, **dict.fromkeys(amounts, pl.Float64)})
        days = inputs["days"]
        as_of = date.min if days.is_empty() else _span(days)[1]
        scored = score_customers(fitted, customers_as_of(days, as_of)).with_columns(as_of_date=pl.lit(as_of))
        rank = pl.col("expected_revenue").rank("max", descending=False) / pl.len()
        tenth = (pl.lit(_DECILES + 1) - (rank * _DECILES).ceil().clip(1, _DECILES)).cast(pl.Int32)
        return scored.with_columns(value_decile=tenth)

    def predict(self, fitted: Fitted, rows: pl.DataFrame) -> pl.DataFrame:
        """The same for rows of a file."""
        return score_customers(fitted, rows)

    def parameters(self, *, full: bool) -> dict[str, Any]:
        """What the methods were told."""
        return {
            "horizon_days_at_most": HORIZON_DAYS,
            "trees": _TREES[full],
            "forest_sample": _SAMPLE[full],
            "min_samples_leaf": _LEAF,
            "coverage": COVERAGE,
        }

    def window(self, inputs: Inputs) -> tuple[date | None, date | None]:
        """Of the purchases."""
        return (None, None) if inputs["days"].is_empty() else _span(inputs["days"])

    def features(self, fitted: Fitted) -> tuple[str, ...]:
        """By method."""
        used = {FOREST: FEATURES, BG_NBD: FEATURES[:4]}
        return used.get(fitted.method, ("age_days", "revenue"))

    def about(self, fitted: Fitted, inputs: Inputs) -> dict[str, Any]:
        """Parameters with their intervals, and what Gamma-Gamma takes for granted."""
        days = inputs["days"]
        if days.is_empty():
            return dict(fitted.about)
        customers = customers_as_of(days, _span(days)[1])
        repeated = customers.filter(customers["purchase_days"] > 1)
        purchases, mean = _amounts(repeated)
        varies = len(mean) > 1 and np.ptp(purchases) > 0 and np.ptp(mean) > 0
        related = float(np.corrcoef(purchases, mean)[0, 1]) if varies else None
        return {**fitted.about, "frequency_value_correlation": related}

    def exhibits(
        self, fitted: Fitted, inputs: Inputs, evaluation: Evaluation, *, seed: int
    ) -> Sequence[lifecycle.Exhibit]:
        """Parameters with their intervals, where the method has any."""
        rows = [
            (model, name, value, *of["intervals_90"][name])
            for model, of in fitted.about.items()
            if isinstance(of, Mapping)
            for name, value in of["values"].items()
        ]
        said = (
            "At the maximum of the likelihood, with 90 % profile-likelihood intervals; an empty end is one that the data do not "
            "set. α is in days, v in the shop's currency. Of a and b each alone is weakly identified where few come back."
        )
        header = ("model", "parameter", "estimate", "from", "to")
        return [lifecycle.Exhibit("Parameters of the final fit", said, header, rows)] if rows else []

    def realised(self, past: pl.DataFrame, inputs: Inputs) -> dict[str, list[Comparison]]:
        """Past scores whose horizon is over, beside what the past average would have said on the day they were made."""
        import polars as pl

        days = inputs["days"]
        found: dict[str, list[Comparison]] = {}
        for (day, version), rows in past.group_by("scored_on", "model_version", maintain_order=True):
            horizon = horizon_of(days.filter(pl.col("order_date") <= day))
            if days.is_empty() or day + timedelta(days=horizon) > _span(days)[1]:
                continue
            fold, before = fold_at(days, day, horizon), fold_at(days, day - timedelta(days=horizon), horizon)
            baseline = pl.DataFrame({"id": fold.customers["person_id"], "outcome": fold.outcome}).with_columns(
                baseline=PastAverage.fit(before, horizon).expected(fold.customers)
            )
            # Who is another person by now, since records were linked anew, is left out.
            known = rows.join(baseline, on="id", maintain_order="left")
            if known.height:
                of = {name: known[name].cast(pl.Float64).to_numpy() for name in ("score", "baseline", "outcome")}
                compared = compare(of["score"], of["baseline"], of["outcome"], f"{LIVE}{day}", lifecycle.SEED)
                found.setdefault(version, []).extend(_undecided(compared))
        return found


MODEL = LifetimeValue()
