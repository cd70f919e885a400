"""Lifetime value: who is expected to bring what, against shops whose truth is known."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import skops.io

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import lifecycle
from ecommerce_platform.ml.lifetime_value import (
    BASELINE,
    BG_NBD,
    CALIBRATION,
    FEATURES,
    FOREST,
    MIN_HORIZON_DAYS,
    MODEL,
    SCORES,
    Fitted,
    ForestModel,
    PastAverage,
    ProcessModel,
    Spread,
    calibration_rows,
    compare,
    customers_as_of,
    fit_methods,
    fold_at,
    group_edges,
    horizon_of,
    judge,
    normalised_gini,
    revenue_after,
    score_customers,
)
from ecommerce_platform_tests.ml.shop import FIRST_DAY, noise_orders, orders_frame, returning_customers


@pytest.fixture(scope="module")
def days() -> pl.DataFrame:
    return returning_customers()


@pytest.fixture(scope="module")
def trained(days: pl.DataFrame) -> lifecycle.Trained:
    return lifecycle.train_frames(MODEL, {"days": days})


def purchase_days(orders: pl.DataFrame) -> pl.DataFrame:
    return orders.group_by("person_id", "order_date").agg(pl.col("revenue").sum()).sort("person_id", "order_date")


def test_customers_are_described_by_what_was_known_on_the_day() -> None:
    bought = orders_frame(np.array([0, 0, 0, 1, 2]), np.array([0, 100, 150, 200, 201]), np.array([10, 20, 30, 5, 9.0]))
    found = customers_as_of(bought, FIRST_DAY + timedelta(days=200))
    assert found.rows() == [
        ("p00000", 3, 50, 200, 60, 30, 20),
        ("p00001", 1, 0, 0, 5, 5, 0),
    ]
    assert revenue_after(bought, found, FIRST_DAY + timedelta(days=99), 51).tolist() == [50, 0]
    assert revenue_after(bought, found, FIRST_DAY + timedelta(days=100), 49).tolist() == [0, 0]


@pytest.mark.parametrize("method", [BG_NBD, FOREST, BASELINE])
def test_what_came_later_changes_no_feature_and_no_parameter(days: pl.DataFrame, method: str) -> None:
    now = FIRST_DAY + timedelta(days=540)
    later = pl.col("order_date") > now
    others = days.with_columns(revenue=pl.when(later).then(999).otherwise("revenue"))
    new = pl.DataFrame(
        {"person_id": ["new"], "order_date": [now + timedelta(days=1)], "revenue": [5]}, schema=days.schema
    )
    states = []
    for history in (days, days.filter(~later), others, pl.concat([days, new])):
        past = fold_at(history, now - timedelta(days=180), 180)
        fitted = fit_methods(history, past, now, 180, seed=1, full=False)[method]
        customers = customers_as_of(history, now)
        state = MODEL.to_state(Fitted(method, fitted, 180, None, ()))
        states.append((customers.write_csv(), state_bytes(state), fitted.expected(customers).tobytes()))
    assert len(set(states)) == 1


def state_bytes(state: Any) -> bytes:
    """Everything that is stored, to the last byte."""
    return json.dumps(state, default=lambda array: array.tobytes().hex()).encode()


def test_a_shop_whose_customers_differ_is_predicted_better_than_by_the_past_average(
    trained: lifecycle.Trained, days: pl.DataFrame
) -> None:
    assert trained.card.promoted
    found = {c.metric: c for c in trained.evaluation.comparisons if c.fold == trained.evaluation.carry.folds[-1].name}
    assert found["rmse"].interval_high is not None
    assert found["rmse"].value < found["rmse"].baseline_value
    assert found["rmse"].interval_high < 0
    assert found["mae"].value < found["mae"].baseline_value
    assert found["gini"].value > 0.5
    assert 0.7 < found["total_ratio"].value < 1.4
    assert 0.84 < found["interval_coverage_90"].value < 0.97
    newest = trained.evaluation.carry.folds[-1]
    assert newest.as_of == days["order_date"].max() - timedelta(days=180), (
        "judged on the days that end with the history"
    )


def test_the_judged_figures_are_those_of_the_definitions(days: pl.DataFrame) -> None:
    rng = np.random.default_rng(0)
    outcome, one, other = rng.gamma(1, 50, 400), rng.gamma(1, 50, 400), np.full(400, 50.0)
    found = {c.metric: c for c in compare(one, other, outcome, "2024-01-01", 1)}
    assert found["rmse"].value == pytest.approx(np.sqrt(((one - outcome) ** 2).mean()))
    assert found["mae"].baseline_value == pytest.approx(np.abs(50 - outcome).mean())
    assert found["r2"].value == pytest.approx(
        1 - ((one - outcome) ** 2).sum() / ((outcome - outcome.mean()) ** 2).sum()
    )
    assert found["total_ratio"].baseline_value == pytest.approx(50 / outcome.mean())
    assert found["rmse"].decides
    assert found["rmse"].lower_is_better
    assert not found["rmse"].holds, "noise is no better than the mean"
    difference = found["rmse"].value - found["rmse"].baseline_value
    assert found["rmse"].interval_low < difference < found["rmse"].interval_high


def test_where_nobody_differs_the_baseline_ships_or_the_gain_is_real() -> None:
    """Everyone buys at random, so the best there is predicts the same for all: what wins has to win honestly."""
    noise = purchase_days(noise_orders())
    judged = judge(noise, seed=1, full=False)
    rmse = next(c for c in judged.comparisons if c.metric == "rmse")
    gini = next(c for c in judged.comparisons if c.metric == "gini")
    assert gini.value < 0.2, "there is nothing to order by"
    assert judged.wins == (rmse.interval_high is not None and rmse.interval_high < 0)


def test_gini_is_one_for_the_own_order_and_nothing_for_one_prediction() -> None:
    outcome = np.random.default_rng(1).gamma(0.3, 10, 500)
    assert normalised_gini(3 * outcome + 1, outcome) == pytest.approx(1)
    assert normalised_gini(np.full(500, 7.0), outcome) == pytest.approx(0, abs=1e-12)
    assert normalised_gini(-outcome, outcome) == pytest.approx(-1)
    # By hand: outcomes 1 and 3, rightly ordered: half the area that lies above the curve.
    assert normalised_gini(np.array([1.0, 2.0]), np.array([1.0, 3.0])) == 1


def test_the_past_average_gives_the_total_of_the_window_before(days: pl.DataFrame) -> None:
    past = fold_at(days, FIRST_DAY + timedelta(days=500), 180)
    fitted = PastAverage.fit(past, 180)
    assert fitted.expected(past.customers).sum() == pytest.approx(past.outcome.sum())
    newcomer = pl.DataFrame({"age_days": [0, 359], "revenue": [100, 100]})
    assert PastAverage(180, 1.0).expected(newcomer).tolist() == [100, 50], "a newcomer does not buy every day"


def test_equal_predictions_stay_in_one_group() -> None:
    assert group_edges(np.array([0.0] * 90 + [5] * 10), 10).tolist() == [5]
    assert group_edges(np.full(9, 2.0), 3).tolist() == []
    assert group_edges(np.arange(100.0), 4).tolist() == [25, 50, 75]


def test_intervals_hold_at_least_nine_of_ten_of_others_alike() -> None:
    rng = np.random.default_rng(2)
    expected = rng.gamma(2, 50, 40_000)
    outcome = rng.gamma(1, expected) * (rng.random(40_000) < 0.6)
    low, high = Spread.of(expected[:20_000], outcome[:20_000]).interval(expected[20_000:])
    held = (low <= outcome[20_000:]) & (outcome[20_000:] <= high)
    assert held.mean() == pytest.approx(0.95, abs=0.01), "nobody lies below zero, so only the upper twentieth is missed"
    assert (np.diff(high[np.argsort(expected[20_000:])]) >= 0).all()


def test_calibration_adds_up_and_begins_with_the_largest() -> None:
    rng = np.random.default_rng(3)
    expected, outcome = rng.gamma(1, 50, 1000), rng.gamma(1, 50, 1000)
    rows = calibration_rows("random_forest", expected, outcome, "2024-01-01")
    assert [row["decile"] for row in rows] == list(range(1, 11))
    assert sum(row["persons"] for row in rows) == 1000
    assert sum(row["actual_revenue"] for row in rows) == pytest.approx(outcome.sum())
    assert rows[0]["mean_expected"] == pytest.approx(np.sort(expected)[-100:].mean())
    assert [row["mean_expected"] for row in rows] == sorted((row["mean_expected"] for row in rows), reverse=True)


def test_scores_are_one_row_a_person_and_say_nothing_of_life_after_one_purchase(
    trained: lifecycle.Trained, days: pl.DataFrame
) -> None:
    now = days["order_date"].max()
    process = ProcessModel.fit(customers_as_of(days, now), 180)
    assert process is not None
    fitted = Fitted(BG_NBD, process, 180, None, ())
    scored = MODEL.score(fitted, {"days": days}, SCORES)
    once = customers_as_of(days, now)["purchase_days"] == 1
    assert scored["person_id"].to_list() == sorted(set(days["person_id"]))
    assert scored.filter(once)["probability_alive"].null_count() == once.sum() > 0
    assert scored.filter(~once)["probability_alive"].is_between(0, 1).all()
    product = scored["expected_purchases"] * scored["expected_purchase_value"]
    assert scored["expected_revenue"].to_list() == pytest.approx(product.to_list())
    assert scored["value_decile"].min() == 1
    assert scored["value_decile"].max() == 10
    best, worst = (scored.filter(pl.col("value_decile") == d)["expected_revenue"] for d in (1, 10))
    assert best.min() > worst.max()
    of_trained = MODEL.score(trained.fitted, {"days": days}, SCORES)
    assert (of_trained["revenue_low"] <= of_trained["revenue_high"]).all()
    assert MODEL.score(trained.fitted, {"days": days}, CALIBRATION)["method"].n_unique() == 2


@pytest.mark.parametrize("method", [BG_NBD, FOREST, BASELINE])
def test_every_method_is_stored_and_scores_the_same_again(days: pl.DataFrame, method: str) -> None:
    evaluation = judge(days, seed=1, full=False)
    fitted = MODEL.fit({"days": days}, method, evaluation, seed=1, full=False)
    stored = skops.io.dumps(MODEL.to_state(fitted))
    assert not skops.io.get_untrusted_types(data=stored)
    again = MODEL.from_state(skops.io.loads(stored))
    customers = customers_as_of(days, days["order_date"].max())
    assert again.method == method
    assert score_customers(again, customers).equals(score_customers(fitted, customers))
    rows = customers.select(*MODEL.columns)
    assert MODEL.predict(again, rows).equals(score_customers(fitted, customers)), "a file is scored as the table is"


def test_the_card_has_parameters_with_their_intervals(days: pl.DataFrame) -> None:
    evaluation = judge(days, seed=1, full=False)
    inputs = {"days": days}
    fitted = MODEL.fit(inputs, BG_NBD, evaluation, seed=1, full=False)
    about = MODEL.about(fitted, inputs)
    (shown,) = MODEL.exhibits(fitted, inputs, evaluation, seed=1)
    assert [row[1] for row in shown.rows] == ["r", "alpha", "a", "b", "p", "q", "v"]
    assert set(about["bg_nbd"]["values"]) == {"r", "alpha", "a", "b"}
    for name, (low, high) in about["bg_nbd"]["intervals_90"].items():
        assert low <= about["bg_nbd"]["values"][name]
        assert high is None or about["bg_nbd"]["values"][name] <= high
    assert -1 <= about["frequency_value_correlation"] <= 1


def test_training_twice_gives_the_same_model(trained: lifecycle.Trained, days: pl.DataFrame) -> None:
    shuffled = days.sample(fraction=1, shuffle=True, seed=5).sort("person_id", "order_date")
    again = lifecycle.train_frames(MODEL, {"days": shuffled})
    assert again.card.version.partition("-")[2] == trained.card.version.partition("-")[2]
    assert state_bytes(MODEL.to_state(again.fitted)) == state_bytes(MODEL.to_state(trained.fitted))


@pytest.mark.parametrize(
    ("length", "said"),
    [(0, "nobody has bought"), (60, "60 days of history are fewer than 112"), (130, "too few customers")],
)
def test_a_young_shop_gets_the_past_average_and_the_reason(length: int, said: str) -> None:
    bought = orders_frame(np.arange(length) % 20, np.arange(length), np.full(length, 8.0))
    done = lifecycle.train_frames(MODEL, {"days": bought})
    assert not done.card.promoted
    assert said in done.card.metrics["not_evaluated"]
    scored = MODEL.score(done.fitted, {"days": bought}, SCORES)
    assert scored.height == min(length, 20)
    assert scored["revenue_low"].null_count() == scored.height
    assert (scored["expected_revenue"] > 0).all()
    assert MODEL.score(done.fitted, {"days": bought}, CALIBRATION).is_empty()


def test_the_horizon_is_a_quarter_of_a_short_history() -> None:
    def of(length: int) -> int:
        return horizon_of(orders_frame(np.array([0, 1]), np.array([0, length - 1]), np.array([1.0, 1])))

    assert (of(400), of(720), of(2000), of(30)) == (100, 180, 180, MIN_HORIZON_DAYS)


def test_days_that_cannot_be_are_refused_with_their_row(trained: lifecycle.Trained) -> None:
    good = {"person_id": "a", "purchase_days": 2, "recency_days": 5, "age_days": 30, **dict.fromkeys(FEATURES[3:], 10)}
    for wrong, said in (
        ({"recency_days": 31}, "row 2, column recency_days"),
        ({"purchase_days": 1}, "row 2, column age_days"),
        ({"purchase_days": 40}, "row 2, column purchase_days"),
    ):
        with pytest.raises(InputError) as refused:
            score_customers(trained.fitted, pl.DataFrame([good, {**good, **wrong}]))
        assert said in str(refused.value)
    assert score_customers(trained.fitted, pl.DataFrame([good])).height == 1


def test_past_scores_are_judged_once_their_horizon_is_over(days: pl.DataFrame) -> None:
    last = days["order_date"].max()
    over, open_ = last - timedelta(days=180), last - timedelta(days=90)
    past = pl.DataFrame(
        [
            {"table_name": SCORES, "scored_on": day, "model_version": "v", "id": person, "score": 10.0}
            for day in (over, open_)
            for person in customers_as_of(days, day)["person_id"]
        ]
    )
    found = MODEL.realised(past, {"days": days})["v"]
    assert {c.fold for c in found} == {f"live {over}"}
    rmse = next(c for c in found if c.metric == "rmse")
    horizon = horizon_of(days.filter(pl.col("order_date") <= over))
    outcome = revenue_after(days, customers_as_of(days, over), over, horizon)
    assert rmse.value == pytest.approx(np.sqrt(((outcome - 10) ** 2).mean()))
    assert rmse.baseline_value < rmse.value
    assert not rmse.decides


def test_too_few_who_came_back_leave_bg_nbd_out() -> None:
    once = orders_frame(np.arange(300), np.arange(300), np.linspace(5, 50, 300))
    customers = customers_as_of(once, date(2025, 1, 1))
    assert ProcessModel.fit(customers, 90) is None
    assert ForestModel.fit(fold_at(once, date(2025, 6, 1), 90), 1, full=False) is None, "nobody brought anything"
