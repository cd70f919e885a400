"""Churn: the gate decides by what later days show, leaks are refused, and nothing of later gets in."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import skops.io
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import churn, lifecycle
from ecommerce_platform.ml.churn_model import Calibration, Encoder, Recency, fit_logistic
from ecommerce_platform.ml.churn_reasons import in_words
from ecommerce_platform.ml.churn_rows import FEATURES, NUMBERS, horizon, last_full_day, refuse_leaks
from ecommerce_platform.ml.classification import measures
from ecommerce_platform_tests.ml.churn_shop import FIRST, GAP, WINDOW, exactly, inputs, labelled


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return labelled()


@pytest.fixture(scope="module")
def trained(rows: pl.DataFrame) -> lifecycle.Trained:
    return lifecycle.train_frames(churn.MODEL, inputs(rows))


def of_newest(trained: lifecycle.Trained, metric: str) -> lifecycle.Comparison:
    return next(c for c in trained.evaluation.comparisons if c.metric == metric)


# -- days --------------------------------------------------------------------------------------------------------


def test_outcomes_of_a_cut_off_are_known_at_the_next() -> None:
    found = horizon(date(2023, 1, 1), date(2024, 12, 31), 90, 3)
    assert len(found.cut_offs) == 6
    for day, following in zip(found.cut_offs, [*found.cut_offs[1:], found.last], strict=True):
        assert day + timedelta(days=90 + 3) == following


def test_a_cut_off_has_a_window_of_history_before_it() -> None:
    assert horizon(date(2024, 1, 1), date(2024, 12, 31), 90, 1).cut_offs == (
        date(2024, 4, 2), date(2024, 7, 2), date(2024, 10, 1),
    )  # fmt: skip
    assert horizon(date(2024, 1, 5), date(2024, 12, 31), 90, 1).cut_offs[0] == date(2024, 7, 2)
    assert horizon(date(2024, 12, 1), date(2024, 12, 31), 90, 1).cut_offs == ()


def test_a_tail_of_next_to_nothing_is_not_delivered_in_full() -> None:
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(100)]
    tail = [days[-1] + timedelta(days=k) for k in (10, 20, 30)]
    assert last_full_day([*days, *tail], [50] * 100 + [1] * 3, 180) <= days[-1] + timedelta(days=10)
    assert last_full_day(days, [50] * 100, 180) == days[-1]
    # A shop that sells on some days only is complete all the same.
    assert last_full_day(days[::5], [3] * 20, 180) == days[95]
    assert last_full_day([], [], 180) is None


# -- the gate ----------------------------------------------------------------------------------------------------


def test_a_method_that_sees_more_than_recency_is_published(trained: lifecycle.Trained) -> None:
    auc = of_newest(trained, "auc")
    assert auc.fold == (FIRST + timedelta(days=2 * (GAP + WINDOW))).isoformat()
    assert auc.interval_low is not None
    assert auc.interval_low > 0
    assert trained.card.promoted
    assert trained.published_as in churn.METHODS
    assert of_newest(trained, "brier").value < of_newest(trained, "brier").baseline_value
    assert {c.metric for c in trained.evaluation.comparisons} == {
        "auc", "pr_auc", "brier", "accuracy", "precision", "recall", "f1",
    }  # fmt: skip


def test_where_recency_is_all_there_is_it_is_what_is_published() -> None:
    found = lifecycle.train_frames(churn.MODEL, inputs(labelled(stars=0.0, seed=3)))
    assert not found.card.promoted
    assert found.published_as == "baseline:recency_alone"
    scored = churn.score_rows(found.fitted, labelled(50, seed=4, cut_offs=1))
    days, p = scored["recency_days"].to_numpy(), scored["churn_probability"].to_numpy()
    assert (np.diff(p[np.argsort(days, kind="stable")]) >= 0).all(), "the longer ago, the likelier lost"
    assert scored["reasons"][0] == f"last order {days[0]} days ago"


def test_the_newest_cut_off_changes_neither_choice_nor_fit(rows: pl.DataFrame, trained: lifecycle.Trained) -> None:
    newest = pl.col("as_of_date") == rows["as_of_date"].max()
    flipped = rows.with_columns(
        pl.when(newest).then(1 - pl.col("is_lost")).otherwise(pl.col("is_lost")).alias("is_lost")
    )
    one, other = trained.evaluation, churn.judge(flipped, seed=lifecycle.SEED, full=False)
    assert one.method == other.method
    earlier = len(rows.filter(~newest)) // 2
    assert one.carry.logits[:earlier].tobytes() == other.carry.logits[:earlier].tobytes()
    # What the fit says of the newest customers is the same; only whether that was right is not.
    assert one.carry.logits.tobytes() == other.carry.logits.tobytes()
    assert next(c.value for c in other.comparisons if c.metric == "auc") == pytest.approx(
        1 - of_newest(trained, "auc").value
    )


def test_all_folds_together_are_judged_by_a_full_training() -> None:
    found = churn.judge(labelled(300, cut_offs=4), seed=1, full=False)
    assert {c.fold for c in found.comparisons} == {(FIRST + timedelta(days=3 * (GAP + WINDOW))).isoformat()}
    assert [c["customers"] for c in found.metrics["cut_offs"]] == [300] * 3


@pytest.mark.long
def test_a_full_training_tries_every_cut_off() -> None:
    found = churn.judge(labelled(400, cut_offs=4), seed=1, full=True)
    assert {c.fold for c in found.comparisons} == {(FIRST + timedelta(days=3 * (GAP + WINDOW))).isoformat(), "all"}
    assert [c.fold for c in found.comparisons if c.decides] == [
        (FIRST + timedelta(days=3 * (GAP + WINDOW))).isoformat()
    ]
    assert len(found.carry.outcome) == 3 * 400


@pytest.mark.parametrize("cut_offs", [0, 1])
def test_too_short_a_history_publishes_recency_or_nothing(rows: pl.DataFrame, cut_offs: int) -> None:
    few = rows.filter(pl.col("as_of_date") < FIRST + timedelta(days=cut_offs))
    found = lifecycle.train_frames(churn.MODEL, inputs(few))
    assert not found.card.promoted
    assert found.card.metrics["not_evaluated"]
    assert churn.score_rows(found.fitted, rows.head(10)).height == 10 * cut_offs


# -- leaks -------------------------------------------------------------------------------------------------------


def test_the_label_among_the_features_is_refused(rows: pl.DataFrame) -> None:
    with pytest.raises(InputError, match="is_lost is no feature"):
        churn.judge(rows, seed=1, full=False, features=[*FEATURES, "is_lost"])


def test_the_label_under_another_name_is_refused(rows: pl.DataFrame) -> None:
    days = pl.when(pl.col("is_lost") == 1).then(None).otherwise(pl.col("recency_days") + 7)
    with pytest.raises(InputError, match="days_to_next_order tells the outcome"):
        churn.judge(
            rows.with_columns(days.alias("days_to_next_order")), seed=1, full=False,
            features=[*FEATURES, "days_to_next_order"],
        )  # fmt: skip


def test_a_row_that_knows_a_later_purchase_is_refused(rows: pl.DataFrame) -> None:
    later = pl.when(pl.col("person_id") == "p00007").then(pl.col("recency_days") - 3).otherwise(pl.col("recency_days"))
    with pytest.raises(InputError, match="other purchases than there were") as refused:
        churn.judge(rows.with_columns(later.alias("recency_days")), seed=1, full=False)
    assert "person p00007" in str(refused.value)
    counted = pl.col("purchase_days") + (pl.col("person_id") == "p00009")
    with pytest.raises(InputError, match="p00009"):
        refuse_leaks(rows.with_columns(counted.alias("purchase_days")), FEATURES)


def test_honest_features_pass(rows: pl.DataFrame) -> None:
    refuse_leaks(rows, FEATURES)


# -- parts -------------------------------------------------------------------------------------------------------


def test_recency_alone_is_isotonic_regression() -> None:
    rng = np.random.default_rng(1)
    days = rng.integers(0, 180, 500)
    lost = (rng.random(500) < days / 180).astype(int)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(days, lost)
    asked = np.arange(-5, 300)
    assert Recency.fit(days, lost).probability(asked) == pytest.approx(theirs.predict(asked), abs=1e-6)


def test_calibration_is_a_logistic_regression_on_the_logit() -> None:
    rng = np.random.default_rng(2)
    z = rng.normal(size=4000)
    y = (rng.random(4000) < 1 / (1 + np.exp(-(0.5 * z - 1)))).astype(int)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(z[:, None], y)
    mine = Calibration.fit(z, y)
    # Platt's targets pull a little towards the middle.
    assert (mine.a, mine.b) == pytest.approx((theirs.coef_[0, 0], theirs.intercept_[0]), abs=0.01)


def test_calibration_never_turns_a_ranking_round() -> None:
    z = np.linspace(-1, 1, 100)
    found = Calibration.fit(z, (z < 0).astype(int))
    assert found.probability(z) == pytest.approx(np.full(100, 0.5))


def test_logistic_regression_is_scikit_learns(rows: pl.DataFrame) -> None:
    encoder = Encoder.fit(rows, FEATURES)
    values, y = encoder.encode(rows), rows["is_lost"].to_numpy()
    standard = np.clip((values - values.mean(0, dtype=float)) / values.std(0, dtype=float), -5, 5)
    theirs = LogisticRegression(C=0.1, max_iter=300).fit(standard, y)
    assert fit_logistic(values, y, 1, False).logits(values) == pytest.approx(theirs.decision_function(standard))


def test_what_is_not_known_is_a_column_of_its_own(rows: pl.DataFrame) -> None:
    encoder = Encoder.fit(rows, FEATURES)
    assert encoder.missing == ("sessions",)
    values = encoder.encode(rows)
    assert not np.isnan(values).any()
    number, flag = encoder.groups["sessions"]
    unknown = rows["sessions"].is_null().to_numpy()
    assert (values[:, flag] == unknown).all()
    assert len(np.unique(values[unknown, number])) == 1


def test_deciles_add_up_and_lift_falls(rows: pl.DataFrame, trained: lifecycle.Trained) -> None:
    found = trained.fitted.deciles
    newest = rows.filter(pl.col("as_of_date") == rows["as_of_date"].max())
    assert sum(r["customers"] for r in found) == newest.height
    assert sum(r["churned"] for r in found) == newest["is_lost"].sum()
    assert found[0]["lift"] > 1 > found[-1]["lift"]
    assert found[0]["lift"] > found[0]["baseline_lift"]


def test_importance_finds_what_decides(trained: lifecycle.Trained) -> None:
    assert {r["feature"] for r in trained.fitted.importance[:2]} == {"avg_review_score", "recency_days"}
    assert [r["rank"] for r in trained.fitted.importance] == list(range(1, len(trained.fitted.importance) + 1))


def test_reasons_are_in_words_and_of_the_right_sign(trained: lifecycle.Trained) -> None:
    some = labelled(3, cut_offs=1).with_columns(recency_days=pl.Series([170.0, 1.0, 90.0]))
    told = churn.score_rows(trained.fitted, some)["reasons"].to_list()
    assert "last order 170 days ago (+" in told[0]
    assert "last order 1 day ago (-" in told[1]
    assert all(len(text.split("; ")) <= 3 for text in told if text)


def test_every_feature_has_words() -> None:
    for name in NUMBERS:
        assert in_words(name, 1.0) != in_words(name, 12.0)
    for name in set(FEATURES) - set(NUMBERS):
        assert in_words(name, "north").endswith("north")


def test_a_card_shows_lift_calibration_importance_and_groups(trained: lifecycle.Trained) -> None:
    shown = {e.title: e for e in trained.exhibits}
    assert {"Lift by decile", "Calibration", "What it looks at", "By region", "By age group"} <= set(shown)
    assert "<svg" in shown["Lift by decile"].svg
    assert "<svg" in shown["Calibration"].svg
    for title in ("By region", "By age group"):
        assert [row[0] for row in shown[title].rows] == ["a", "b", "c"]
        assert sum(row[1] for row in shown[title].rows) == 600
        assert all(row[-1] > 0.5 for row in shown[title].rows)


def test_past_scores_are_judged_once_their_outcomes_are_known(rows: pl.DataFrame) -> None:
    newest = rows.filter(pl.col("as_of_date") == FIRST)
    back = newest.filter(pl.col("is_lost") == 0)
    purchases = pl.concat(
        [
            newest.select("person_id", pl.col("newest_order_date").alias("order_date")),
            # In the gap a purchase does not count, on the last day of the window it does.
            newest.select("person_id", pl.lit(FIRST + timedelta(days=GAP)).alias("order_date")),
            back.select("person_id", pl.lit(FIRST + timedelta(days=GAP + WINDOW)).alias("order_date")),
        ]
    )
    past = newest.select(
        pl.lit("ml.churn_scores").alias("table_name"),
        pl.lit(FIRST).alias("scored_on"),
        pl.lit("v").alias("model_version"),
        pl.col("person_id").alias("id"),
        (pl.col("is_lost") * 0.5 + 0.25).alias("score"),
    )
    ((version, (found,)),) = churn.realised(past, rows, purchases).items()
    assert (version, found.metric, found.fold, found.value) == ("v", "auc", f"live {FIRST}", 1.0)
    days, lost = newest["recency_days"].to_numpy(), newest["is_lost"].to_numpy()
    assert found.baseline_value == pytest.approx(measures(lost, days, 0.0)["auc"])
    early = purchases.filter(pl.col("order_date") < FIRST + timedelta(days=GAP + WINDOW))
    assert churn.realised(past, rows, early) == {}


# -- the same again ----------------------------------------------------------------------------------------------


def test_the_same_rows_in_another_order_give_the_same_model(rows: pl.DataFrame, trained: lifecycle.Trained) -> None:
    sorted_ = rows.sample(fraction=1, shuffle=True, seed=1).sort("as_of_date", "person_id")
    again = lifecycle.train_frames(churn.MODEL, inputs(sorted_))
    assert exactly(churn.to_state(again.fitted)) == exactly(churn.to_state(trained.fitted))


def test_a_stored_model_scores_the_same(rows: pl.DataFrame, trained: lifecycle.Trained) -> None:
    state = skops.io.loads(skops.io.dumps(churn.to_state(trained.fitted)), trusted=[])
    assert churn.score_rows(churn.from_state(state), rows).equals(churn.score_rows(trained.fitted, rows))


def test_a_customer_is_scored_the_same_alone(rows: pl.DataFrame, trained: lifecycle.Trained) -> None:
    together = churn.score_rows(trained.fitted, rows.head(40))
    for at in (0, 17, 39):
        alone = churn.score_rows(trained.fitted, rows[at : at + 1])
        assert alone.drop("risk_decile").equals(together[at : at + 1].drop("risk_decile"))


_DIGEST = """
import sys
from pathlib import Path
from ecommerce_platform.ml import churn, lifecycle
from ecommerce_platform_tests.ml.churn_shop import inputs, labelled
found = lifecycle.train_frames(churn.MODEL, inputs(labelled(300)))
print(lifecycle.keep(Path(sys.argv[1]), found).sha256)
"""


@pytest.mark.long
def test_the_number_of_threads_changes_not_the_hash_of_the_artifact(tmp_path: Path) -> None:
    def digest(threads: str) -> str:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
        env = {**os.environ, **dict.fromkeys(names, threads)}
        return subprocess.run(
            [sys.executable, "-c", _DIGEST, str(tmp_path / threads)],
            env=env,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert digest("1") == digest("2")


def test_files_need_recency_only_and_say_what_is_impossible() -> None:
    rules: Any = churn.MODEL.columns
    assert [name for name, rule in rules.items() if not rule.optional] == ["person_id", "recency_days"]
    assert set(FEATURES) <= set(rules)
    asked = pl.DataFrame({"late_delivery_share": ["0.5", "1.5"], "refund_amount": ["-3", "4"], "orders": ["-1", "2"]})
    told = asked.select(rules[name].convert(name) for name in asked.columns)
    assert told.rows() == [(0.5, -3.0, None), (None, 4.0, 2.0)]
