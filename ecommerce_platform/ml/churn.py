"""Who will stay away? The probability that a customer buys nothing in the next N days, judged beside recency alone.

Which method is taken, how it is judged and what is published live here. The rows are in `churn_rows.py`, single methods
in `churn_model.py`, reasons in `churn_reasons.py`, measures in `classification.py`.

**Folds.** Customers are described as of cut-offs that lie N + gap days apart, so that the outcomes of one are known at
the next. Each method is fitted on the cut-offs before and tried on the next; the quick training tries the last but one
only, `full` every one. The method with the highest mean AUC there is chosen, calibrated on what it said there (Platt), and
the threshold of its yes or no is set there, at the highest F1. Then it is fitted up to the newest cut-off, which nothing
so far has seen, and judged on it, once.

**The gate.** Recency alone (`recency_alone`: monotone bins, isotonic regression) is fitted on the same rows. The method is
published where the 95 % interval of AUC − AUC of recency alone on the newest cut-off lies above 0 (bootstrap by persons).
`ml.evaluations` has every metric for that cut-off, and for all folds together (fold `all`) where there are several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.ml import lifecycle
from ecommerce_platform.ml.churn_card import exhibits
from ecommerce_platform.ml.churn_model import (
    IMPORTS,
    METHODS,
    Calibration,
    Encoder,
    Recency,
    Scorer,
    logit,
    scorer_of,
)
from ecommerce_platform.ml.churn_reasons import Effects, effects_of, in_words, reasons
from ecommerce_platform.ml.churn_rows import FEATURES, LABEL, LABELLED, MOST_PERSONS, NUMBERS, TO_SCORE, refuse_leaks
from ecommerce_platform.ml.classification import Judged, best_threshold, compare, deciles, measures
from ecommerce_platform.ml.columns import TEXT, Rule
from ecommerce_platform.ml.lifecycle import Comparison, Evaluation, select
from ecommerce_platform.ml.monitoring import LIVE

if TYPE_CHECKING:
    import polars as pl

    from ecommerce_platform.ml.lifecycle import Inputs

NAME = "churn"
BASELINE = "recency_alone"
SCORES, DECILES, IMPORTANCE = "ml.churn_scores", "ml.churn_deciles", "ml.churn_importance"
#: Fewer customers, or fewer of either outcome, are no fold to judge on.
LEAST_ROWS, LEAST_OF_EACH = 200, 20
#: Rows that a fit is given at most.
FIT_ROWS = {False: 20_000, True: 100_000}
REPLICATES = {False: 400, True: 1000}
#: Cut-offs that the quick training uses.
QUICK_CUT_OFFS = 3
#: Importance is measured on so many customers at most.
IMPORTANCE_ROWS = {False: 800, True: 5_000}


@dataclass(frozen=True)
class Fitted:
    """What scores: the method with its calibration, or recency alone; and what the evaluation left for tables.

    Attributes:
        method: one of `METHODS`, or `BASELINE`.
        recency: the baseline; None where there was nothing to fit it on.
        threshold: the probability from which a customer counts as at risk.
        encoder: of the method; None for the baseline.
        scorer: the method.
        calibration: of the method.
        effects: what reasons are told from.
        deciles: rows of `ml.churn_deciles`.
        importance: rows of `ml.churn_importance`.
    """

    method: str
    recency: Recency | None
    threshold: float
    encoder: Encoder | None = None
    scorer: Scorer | None = None
    calibration: Calibration | None = None
    effects: Effects | None = None
    deciles: Sequence[Mapping[str, Any]] = ()
    importance: Sequence[Mapping[str, Any]] = ()

    def probability(self, rows: pl.DataFrame) -> np.ndarray:
        """The probability of being lost, for each row."""
        if self.scorer is not None and self.encoder is not None and self.calibration is not None:
            return self.calibration.probability(self.scorer.logits(self.encoder.encode(rows)))
        assert self.recency is not None
        return self.recency.probability(rows["recency_days"].to_numpy())


@dataclass(frozen=True)
class Tried:
    """What the methods said of cut-offs that they had not seen, oldest first.

    Attributes:
        rows: per cut-off its rows.
        logits: per method and cut-off the logits, before calibration.
        recency: per cut-off the probabilities of recency alone.
    """

    rows: tuple[pl.DataFrame, ...]
    logits: Mapping[str, tuple[np.ndarray, ...]]
    recency: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Judgement:
    """What the evaluation hands on to the fit: the choice, and what calibrates it.

    Attributes:
        method: the chosen one.
        logits: what it said of rows that it had not seen, those of the newest cut-off among them.
        outcome: of these rows.
        recency: what recency alone said of them.
        deciles: rows of `ml.churn_deciles`, without who made them.
        importance: rows of `ml.churn_importance`, the most important first.
    """

    method: str
    logits: np.ndarray
    outcome: np.ndarray
    recency: np.ndarray
    deciles: Sequence[Mapping[str, Any]]
    importance: Sequence[Mapping[str, Any]]


def judge(rows: pl.DataFrame, *, seed: int, full: bool, features: Sequence[str] = FEATURES) -> Evaluation:
    """Chooses a method on the earlier cut-offs and judges it on the newest; see the module docstring.

    Args:
        rows: as `churn_rows.labelled_rows` gives them.
        seed: of fits and resampling.
        full: all cut-offs and large fits, rather than the last three and small ones.
        features: what may be learned from.

    Raises:
        InputError: a feature contains the outcome, or a row knows what came later.
    """
    import polars as pl

    folds = folds_of(rows)
    if not folds:
        return Evaluation("none", not_evaluated=_too_short(rows))
    folds = folds if full else folds[-QUICK_CUT_OFFS:]
    refuse_leaks(pl.concat(folds), features)
    if len(folds) < 2:
        return Evaluation("none", not_evaluated="one cut-off only: no later one to judge on")
    earlier, newest = folds[:-1], folds[-1]
    tried = try_methods(earlier, features, seed, full)
    method = choose(tried)
    fit = fit_method(method, earlier, features, seed, full)
    logits = fit.scorer.logits(fit.encoder.encode(newest))
    base = Recency.fit(*_recency_and_outcome(earlier))
    said = _judged(tried, method, newest, logits, base)
    comparisons = _comparisons(said, newest, seed, full)
    calibrated = said[-1].model
    judgement = Judgement(
        method,
        np.concatenate([*tried.logits[method], logits]),
        np.concatenate([fold.outcome for fold in said]),
        np.concatenate([fold.baseline for fold in said]),
        decile_rows(method, newest, calibrated, said[-1].baseline, seed),
        importance_rows(method, fit, newest, seed, full),
    )
    return Evaluation(
        method,
        comparisons,
        metrics=_about(folds, tried),
        carry=judgement,
        exhibits=exhibits(judgement.deciles, judgement.importance, newest, calibrated),
    )


def folds_of(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows by cut-off, oldest first, without those that hold too little to learn from or judge on."""
    import polars as pl

    folds = []
    for day in rows["as_of_date"].unique().sort().to_list():
        fold = rows.filter(pl.col("as_of_date") == day)
        lost = int(fold[LABEL].sum())
        if fold.height >= LEAST_ROWS and min(lost, fold.height - lost) >= LEAST_OF_EACH:
            folds.append(fold)
    return folds


@dataclass(frozen=True)
class Fit:
    """A method fitted on some rows."""

    encoder: Encoder
    scorer: Scorer


def fit_method(method: str, folds: Sequence[pl.DataFrame], features: Sequence[str], seed: int, full: bool) -> Fit:
    """The method fitted on the customers of some cut-offs; of many, a sample that persons are drawn into by the seed."""
    import polars as pl

    rows = pl.concat(folds)
    if rows.height > FIT_ROWS[full]:
        rows = rows[np.sort(np.random.default_rng(seed).choice(rows.height, FIT_ROWS[full], replace=False))]
    encoder = Encoder.fit(rows, features)
    return Fit(encoder, METHODS[method](encoder.encode(rows), rows[LABEL].to_numpy(), seed, full))


def try_methods(folds: Sequence[pl.DataFrame], features: Sequence[str], seed: int, full: bool) -> Tried:
    """Every method on cut-offs that it has not seen: fitted on those before, or, of a single one, on other persons."""
    pairs = [(list(folds[:i]), folds[i]) for i in range(1, len(folds))]
    pairs = pairs if full else pairs[-1:]
    if not pairs:
        pairs = _halves(folds[0], seed)
    logits: dict[str, list[np.ndarray]] = {method: [] for method in METHODS}
    recency = []
    for before, after in pairs:
        recency.append(Recency.fit(*_recency_and_outcome(before)).probability(after["recency_days"].to_numpy()))
        for method, of_folds in logits.items():
            fit = fit_method(method, before, features, seed, full)
            of_folds.append(fit.scorer.logits(fit.encoder.encode(after)))
    return Tried(tuple(after for _, after in pairs), {m: tuple(of) for m, of in logits.items()}, tuple(recency))


def _halves(fold: pl.DataFrame, seed: int) -> list[tuple[list[pl.DataFrame], pl.DataFrame]]:
    half = np.random.default_rng(seed).permutation(fold.height) % 2
    one, other = fold.filter(half == 0), fold.filter(half == 1)
    return [([one], other), ([other], one)]


def choose(tried: Tried) -> str:
    """The method with the highest mean AUC; of equals the simplest."""
    outcomes = [fold[LABEL].to_numpy() for fold in tried.rows]
    auc = {m: _mean_auc(outcomes, of_folds) for m, of_folds in tried.logits.items()}
    return max(METHODS, key=lambda method: auc[method])


def _mean_auc(outcomes: Sequence[np.ndarray], logits: Sequence[np.ndarray]) -> float:
    return float(np.mean([measures(y, z, 0.0)["auc"] for y, z in zip(outcomes, logits, strict=True)]))


def _judged(tried: Tried, method: str, newest: pl.DataFrame, logits: np.ndarray, base: Recency) -> list[Judged]:
    """The folds that the method was tried on, and the newest; calibration and thresholds are of the former."""
    outcomes = [fold[LABEL].to_numpy() for fold in tried.rows]
    outcome, before = np.concatenate(outcomes), np.concatenate(tried.logits[method])
    calibration = Calibration.fit(before, outcome)
    threshold = best_threshold(outcome, calibration.probability(before))
    of_base = best_threshold(outcome, np.concatenate(tried.recency))
    folds = [
        Judged(rows["person_id"].to_numpy(), y, calibration.probability(z), base_said, threshold, of_base)
        for rows, y, z, base_said in zip(tried.rows, outcomes, tried.logits[method], tried.recency, strict=True)
    ]
    last = base.probability(newest["recency_days"].to_numpy())
    person, outcome = newest["person_id"].to_numpy(), newest[LABEL].to_numpy()
    return [*folds, Judged(person, outcome, calibration.probability(logits), last, threshold, of_base)]


def _comparisons(said: Sequence[Judged], newest: pl.DataFrame, seed: int, full: bool) -> list[Comparison]:
    cut_off = newest["as_of_date"][0].isoformat()
    named = [(cut_off, said[-1:])]
    if full and len(said) > 1:
        named.append(("all", said))
    return [
        Comparison(
            c.metric, c.value, c.baseline_value, c.interval_low, c.interval_high, fold=fold,
            decides=c.metric == "auc" and fold == cut_off, lower_is_better=c.metric == "brier",
        )
        for fold, folds in named
        for c in compare(folds, seed, REPLICATES[full])
    ]  # fmt: skip


def _recency_and_outcome(folds: Sequence[pl.DataFrame]) -> tuple[np.ndarray, np.ndarray]:
    import polars as pl

    rows = pl.concat(folds)
    return rows["recency_days"].to_numpy(), rows[LABEL].to_numpy()


def decile_rows(
    method: str, newest: pl.DataFrame, model: np.ndarray, base: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """Lift by decile on the newest cut-off, of the method and of recency alone: `ml.churn_deciles`."""
    outcome = newest[LABEL].to_numpy()
    tie = np.random.default_rng(seed).permutation(len(outcome))
    share = float(outcome.mean())
    rows = []
    of_base = deciles(base, tie)
    of_model = deciles(model, tie)
    for decile in range(1, 11):
        mine, other = of_model == decile, of_base == decile
        rows.append(
            {
                "method": method,
                "as_of_date": newest["as_of_date"][0],
                "decile": decile,
                "customers": int(mine.sum()),
                "mean_probability": float(model[mine].mean()),
                "churned": int(outcome[mine].sum()),
                "churn_rate": float(outcome[mine].mean()),
                "lift": float(outcome[mine].mean() / share),
                "baseline_churn_rate": float(outcome[other].mean()),
                "baseline_lift": float(outcome[other].mean() / share),
            }
        )
    return rows


def importance_rows(method: str, fit: Fit, newest: pl.DataFrame, seed: int, full: bool) -> list[dict[str, Any]]:
    """Permutation importance (Breiman 2001) on the newest cut-off: the loss of AUC when a feature's values are shuffled.

    Features that the method does not use are not among them; the most important comes first.
    """
    rng = np.random.default_rng(seed)
    at = np.sort(rng.permutation(newest.height)[: IMPORTANCE_ROWS[full]])
    rows = newest[at]
    values, outcome = fit.encoder.encode(rows), rows[LABEL].to_numpy()
    shuffled = []
    groups = fit.encoder.groups
    for columns in groups.values():
        changed = values.copy()
        changed[:, columns] = values[rng.permutation(len(values))][:, columns]
        shuffled.append(changed)
    # One call for all: what a call costs is counted once.
    said = fit.scorer.logits(np.concatenate([values, *shuffled])).reshape(len(groups) + 1, -1)
    auc = [measures(outcome, z, 0.0)["auc"] for z in said]
    found = [
        {
            "method": method,
            "as_of_date": newest["as_of_date"][0],
            "feature": name,
            "auc_loss": float(auc[0] - of_feature),
        }
        for name, of_feature in zip(groups, auc[1:], strict=True)
    ]
    ordered = sorted(found, key=lambda row: (-row["auc_loss"], row["feature"]))
    return [{**row, "rank": rank} for rank, row in enumerate(ordered, 1)]


def fit_final(rows: pl.DataFrame, method: str, judgement: Judgement | None, *, seed: int, full: bool) -> Fitted:
    """The method (or recency alone) fitted on every cut-off; calibrated on what it said of those that it had not seen."""
    folds = folds_of(rows)
    folds = folds if full else folds[-QUICK_CUT_OFFS:]
    if not folds:
        return Fitted(BASELINE, None, 0.5)
    recency = Recency.fit(*_recency_and_outcome(folds))
    if judgement is None or method == BASELINE:
        outcome = judgement.outcome if judgement else folds[-1][LABEL].to_numpy()
        said = judgement.recency if judgement else recency.probability(folds[-1]["recency_days"].to_numpy())
        kept = (judgement.deciles, judgement.importance) if judgement else ((), ())
        return Fitted(BASELINE, recency, best_threshold(outcome, said), deciles=kept[0], importance=kept[1])
    fit = fit_method(method, folds, FEATURES, seed, full)
    calibration = Calibration.fit(judgement.logits, judgement.outcome)
    threshold = best_threshold(judgement.outcome, calibration.probability(judgement.logits))
    important = [row["feature"] for row in judgement.importance]
    effects = effects_of(fit.scorer, calibration, fit.encoder, folds[-1], important, seed)
    return Fitted(
        method,
        recency,
        threshold,
        fit.encoder,
        fit.scorer,
        calibration,
        effects,
        judgement.deciles,
        judgement.importance,
    )


def score_rows(fitted: Fitted, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of `ml.churn_scores` without who made them, in the order given; none where nothing could be fitted."""
    import polars as pl

    if fitted.recency is None or not rows.height:
        rows, probability, tenth = rows.clear(), np.zeros(0), np.zeros(0, dtype=np.int64)
    else:
        probability = fitted.probability(rows)
        tenth = deciles(probability, np.random.default_rng(0).permutation(rows.height))
    return rows.select("person_id", "as_of_date", pl.col("recency_days").cast(pl.Int64)).with_columns(
        pl.Series("churn_probability", probability, dtype=pl.Float64),
        pl.Series("is_at_risk", probability >= fitted.threshold, dtype=pl.Boolean),
        pl.Series("risk_decile", tenth, dtype=pl.Int64),
        pl.Series("reasons", _reasons(fitted, rows), dtype=pl.String),
    )


def _reasons(fitted: Fitted, rows: pl.DataFrame) -> list[str | None]:
    if fitted.effects is not None:
        return list(reasons(fitted.effects, rows))
    return [in_words("recency_days", days) for days in rows["recency_days"].to_list()]


def _too_short(rows: pl.DataFrame) -> str:
    return (
        f"no cut-off with {LEAST_ROWS} customers and {LEAST_OF_EACH} of either outcome "
        f"({rows['as_of_date'].n_unique()} cut-offs, {rows.height} rows)"
    )


def _about(folds: Sequence[pl.DataFrame], tried: Tried) -> dict[str, Any]:
    """What else the card says of the evaluation."""
    outcomes = [fold[LABEL].to_numpy() for fold in tried.rows]
    return {
        "cut_offs": [
            {
                "as_of": fold["as_of_date"][0].isoformat(),
                "outcome_from": fold["outcome_from"][0].isoformat(),
                "outcome_to": fold["outcome_to"][0].isoformat(),
                "customers": fold.height,
                "churn_rate": float(fold[LABEL].mean()),  # type: ignore[arg-type]
            }
            for fold in folds
        ],
        "auc_on_earlier_cut_offs": {
            **{m: _mean_auc(outcomes, of_folds) for m, of_folds in tried.logits.items()},
            BASELINE: _mean_auc(outcomes, [logit(p) for p in tried.recency]),
        },
    }


_DECILES = {
    "method": str, "as_of_date": date, "decile": int, "customers": int, "mean_probability": float, "churned": int,
    "churn_rate": float, "lift": float, "baseline_churn_rate": float, "baseline_lift": float,
}  # fmt: skip
_IMPORTANCE = {"method": str, "as_of_date": date, "feature": str, "auc_loss": float, "rank": int}


def _frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, type]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame([dict(row) for row in rows], schema=dict(types), orient="row")


def to_state(fitted: Fitted) -> dict[str, Any]:
    """A fitted model as arrays, numbers and texts in plain containers."""
    recency = fitted.recency
    found: dict[str, Any] = {
        "method": fitted.method,
        "threshold": fitted.threshold,
        "recency": None if recency is None else {"days": recency.days, "share": recency.share},
        "deciles": [{**row, "as_of_date": row["as_of_date"].isoformat()} for row in fitted.deciles],
        "importance": [{**row, "as_of_date": row["as_of_date"].isoformat()} for row in fitted.importance],
        "scorer": None,
    }
    if fitted.scorer and fitted.encoder and fitted.calibration and fitted.effects:
        found |= {
            "scorer": fitted.scorer.to_state(),
            "encoder": fitted.encoder.to_state(),
            "calibration": [fitted.calibration.a, fitted.calibration.b],
            "effects": fitted.effects.to_state(),
        }
    return found


def from_state(state: Mapping[str, Any]) -> Fitted:
    """What `to_state` stored.

    Raises:
        InputError: the state is no model of this module.
    """
    recency, method = state["recency"], str(state["method"])
    deciles, importance = (
        tuple({**row, "as_of_date": date.fromisoformat(row["as_of_date"])} for row in state[name])
        for name in ("deciles", "importance")
    )
    base = None if recency is None else Recency(np.asarray(recency["days"]), np.asarray(recency["share"]))
    fitted = Fitted(method, base, float(state["threshold"]), deciles=deciles, importance=importance)
    if state["scorer"] is None:
        return fitted
    encoder = Encoder.from_state(state["encoder"])
    return replace(
        fitted,
        encoder=encoder,
        scorer=scorer_of(method, state["scorer"], encoder.width),
        calibration=Calibration(*map(float, state["calibration"])),
        effects=Effects.from_state(state["effects"]),
    )


def _rules() -> dict[str, Rule]:
    return {"person_id": TEXT, **{name: _rule(name) for name in FEATURES}}


def _rule(name: str) -> Rule:
    """What a file may say of a feature; only the days since the last order must be there."""
    if name not in NUMBERS:
        return Rule("text", optional=True)
    if name == "recency_days":
        return Rule("whole", at_least=0)
    if name.endswith("_share"):
        return Rule("number", at_least=0, at_most=1, optional=True)
    if name.endswith("_review_score"):
        return Rule("number", at_least=1, at_most=5, optional=True)
    # Amounts may be paid back, and a delivery may come early.
    may_be_negative = name == "most_days_late" or name.endswith("amount") or "revenue" in name or name == "aov"
    return Rule("number", at_least=None if may_be_negative else 0, optional=True)


def realised(past: pl.DataFrame, labelled: pl.DataFrame, purchases: pl.DataFrame) -> dict[str, list[Comparison]]:
    """How past scores ranked those who stayed away, beside recency alone, by the version that scored.

    Args:
        past: scored_on, model_version, id and score.
        labelled: rows of a training, which know gap and window.
        purchases: person_id and order_date of every day of purchase.
    """
    import polars as pl

    found: dict[str, list[Comparison]] = {}
    if not labelled.height or not purchases.height:
        return found
    gap = labelled["outcome_from"][0] - labelled["as_of_date"][0]
    window, newest = labelled["outcome_to"][0] - labelled["as_of_date"][0], purchases["order_date"].max()
    day: Any
    for (version, day), rows in past.group_by("model_version", "scored_on", maintain_order=True):
        if day + window > newest:
            continue
        days = purchases.group_by("person_id").agg(
            pl.col("order_date").filter(pl.col("order_date") <= day).max().alias("last"),
            pl.col("order_date").is_between(day + gap, day + window).any().not_().cast(pl.Int64).alias(LABEL),
        )
        known = rows.join(days, left_on="id", right_on="person_id").filter(pl.col("last").is_not_null()).sort("id")
        lost = known[LABEL].to_numpy()
        if min(lost.sum(), len(lost) - lost.sum()) < LEAST_OF_EACH:
            continue
        recency = (pl.lit(day) - pl.col("last")).dt.total_days().alias("recency")
        base = known.select(recency)["recency"].to_numpy().astype(np.float64)
        judged = Judged(known["id"].to_numpy(), lost, known["score"].to_numpy(), base, 0.5, 0.5)
        auc = next(c for c in compare([judged], lifecycle.SEED, REPLICATES[False]) if c.metric == "auc")
        told = Comparison("auc", auc.value, auc.baseline_value, auc.interval_low, auc.interval_high, f"{LIVE}{day}")
        found.setdefault(str(version), []).append(told)
    return found


class Churn(lifecycle.Model):
    """The churn model as the lifecycle knows it."""

    name, baseline = NAME, BASELINE
    title = "Churn"
    purpose = "Which customers of the last two churn windows are likely to buy nothing in the next one, and why."
    limits = (
        "The probability is that of buying nothing for one churn window; some of those come back later.",
        "Reasons say what the model looks at, not what would keep the customer: that is for an experiment to show.",
        "Where next to nobody comes back, as in a marketplace of single purchases, no figure here is of use.",
    )
    inputs = {
        "labelled": LABELLED,
        "purchases": select("select person_id, order_date from gold.fct_customer_days"),
        "customers": TO_SCORE,
    }
    trained_on = ("labelled", "purchases")
    scored_on = {SCORES: ("customers",), DECILES: (), IMPORTANCE: ()}
    columns = _rules()
    code = tuple(
        Path(__file__).with_name(f"{name}.py")
        for name in (
            "churn", "churn_model", "churn_rows", "churn_reasons", "churn_card", "classification", "trees", "features",
        )
    )  # fmt: skip
    imports = IMPORTS
    watched = {SCORES: ("churn_probability", "person_id")}

    def evaluate(self, inputs: Inputs, *, seed: int, full: bool) -> Evaluation:
        """As `judge`."""
        return judge(inputs["labelled"], seed=seed, full=full)

    def fit(self, inputs: Inputs, method: str, evaluation: Evaluation, *, seed: int, full: bool) -> Fitted:
        """As `fit_final`."""
        return fit_final(inputs["labelled"], method, evaluation.carry, seed=seed, full=full)

    def to_state(self, fitted: Fitted) -> dict[str, Any]:
        """Arrays, numbers and texts."""
        return to_state(fitted)

    def from_state(self, state: Mapping[str, Any]) -> Fitted:
        """What `to_state` gave."""
        return from_state(state)

    def score(self, fitted: Fitted, inputs: Inputs, table: str) -> pl.DataFrame:
        """As `score_rows`; the other tables hold what the evaluation found of the method, published or not."""
        if table == SCORES:
            return score_rows(fitted, inputs["customers"])
        return _frame(fitted.deciles, _DECILES) if table == DECILES else _frame(fitted.importance, _IMPORTANCE)

    def predict(self, fitted: Fitted, rows: pl.DataFrame) -> pl.DataFrame:
        """As `score_rows`, for rows of a file."""
        import polars as pl

        known = rows.with_columns(pl.lit(None, dtype=pl.Date).alias("as_of_date"))
        known = known.with_columns(pl.col(name).cast(pl.Float64) for name in NUMBERS)
        return score_rows(fitted, known).drop("as_of_date", "risk_decile")

    def realised(self, past: pl.DataFrame, inputs: Inputs) -> Mapping[str, Sequence[Comparison]]:
        """As the function `realised`."""
        return realised(past, inputs["labelled"], inputs["purchases"])

    def parameters(self, *, full: bool) -> dict[str, Any]:
        """What the training was told."""
        return {
            "methods": list(METHODS), "fit_rows": FIT_ROWS[full], "replicates": REPLICATES[full],
            "cut_offs": None if full else QUICK_CUT_OFFS, "most_persons_per_cut_off": MOST_PERSONS,
        }  # fmt: skip

    def window(self, inputs: Inputs) -> tuple[date | None, date | None]:
        """First order of the customers learned from, and last day of an outcome."""
        rows = inputs["labelled"]
        ends = (rows["as_of_date"].min(), rows["outcome_to"].max())
        return tuple(end if isinstance(end, date) else None for end in ends)  # type: ignore[return-value]

    def features(self, fitted: Fitted) -> tuple[str, ...]:
        """Features of what is published."""
        return tuple(fitted.encoder.groups) if fitted.encoder else ("recency_days",)


MODEL = Churn()
