"""Segments: what training, scoring and the comparison with the baseline promise."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score

from ecommerce_platform.contracts.contract import read_contract
from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts
from ecommerce_platform.ml.lifecycle import Comparison, Evaluation, Trained, signed, train_frames
from ecommerce_platform.ml.rfm import LaterData, rfm_as_of, split_orders
from ecommerce_platform.ml.segments import MODEL, SegmentsModel, judge, score_segments
from ecommerce_platform_tests.ml.shop import NO_GROUPS, noise_orders, orders_frame, persons_frame, planted_orders

ML = Path(artifacts.__file__).parent
CONTRACTS = ML.parent / "models" / "ml"
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
DUCKDB_TYPES = {
    pl.String: "VARCHAR",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.Float64: "DOUBLE",
    pl.Boolean: "BOOLEAN",
    pl.Date: "DATE",
    pl.Datetime: "TIMESTAMP",
}


def later_of(orders: pl.DataFrame) -> LaterData:
    later = split_orders(orders)
    assert later is not None
    return later


def train(persons: pl.DataFrame, orders: pl.DataFrame, *, seed: int = 3, trained_at: datetime = NOON) -> Trained:
    inputs = {"persons": persons, "orders": orders, "groups": NO_GROUPS}
    return train_frames(MODEL, inputs, seed=seed, trained_at=trained_at)


def metric(judged: Evaluation, name: str) -> Comparison:
    return next(c for c in judged.comparisons if c.metric == name)


def rows_of(trained: Trained, persons: pl.DataFrame) -> pl.DataFrame:
    return signed(score_segments(trained.fitted, persons), trained.card)


#: No later days to judge on.
NONE = planted_orders(1)[0].clear()


@pytest.fixture(scope="module")
def planted() -> LaterData:
    return later_of(planted_orders()[0])


@pytest.fixture(scope="module")
def winner(planted: LaterData) -> Trained:
    return train(planted.after, planted_orders()[0])


@pytest.fixture(scope="module")
def noise() -> LaterData:
    return later_of(noise_orders())


@pytest.fixture(scope="module")
def loser(noise: LaterData) -> Trained:
    return train(noise.after, noise_orders())


# --- the model ---------------------------------------------------------------------------------------------


def test_planted_groups_are_found(planted: LaterData, winner: Trained) -> None:
    truth = planted_orders()[1]
    scored = score_segments(winner.fitted, planted.after)
    assert adjusted_rand_score([truth[p] for p in scored["person_id"]], scored["segment"]) > 0.98


def test_segment_0_has_the_highest_money_and_predict_itself_says_so(planted: LaterData, winner: Trained) -> None:
    scored = score_segments(winner.fitted, planted.after)
    money = scored.join(planted.after, on="person_id").group_by("segment").agg(pl.col("monetary").mean())
    assert money.sort("monetary", descending=True)["segment"].to_list() == [0, 1, 2]
    values = planted.after.select("recency_days", "frequency", pl.col("monetary").cast(pl.Float64)).to_numpy()
    predicted = winner.fitted.clusters.pipeline.predict(values.astype(float))
    assert predicted.tolist() == scored["segment"].to_list()


def test_names_say_what_sets_a_segment_apart_and_differ(winner: Trained) -> None:
    assert winner.fitted.clusters.names == ("High value, occasional", "Lapsed", "Low value, frequent, recent")


@pytest.mark.parametrize("which", ["winner", "loser"])
def test_the_order_of_rows_changes_nothing(which: str, request: pytest.FixtureRequest) -> None:
    # The lifecycle sorts what it hands over; the model does not rely on it.
    later = request.getfixturevalue({"winner": "planted", "loser": "noise"}[which])
    orders = planted_orders()[0] if which == "winner" else noise_orders()
    first = request.getfixturevalue(which)
    mixed = [frame.sample(fraction=1, shuffle=True, seed=5) for frame in (later.after, orders)]
    again = train(*mixed)
    assert again.card.metrics == first.card.metrics
    assert again.evaluations.drop("version").equals(first.evaluations.drop("version"))
    assert score_segments(again.fitted, later.after).equals(score_segments(first.fitted, later.after))


def test_the_number_of_threads_changes_nothing() -> None:
    # In processes of their own: a library takes its number of threads when it is loaded. Enough persons that
    # sums over two threads do round differently.
    script = """
import numpy as np, pathlib, tempfile
from ecommerce_platform.ml import lifecycle
from ecommerce_platform.ml.segments import MODEL
from ecommerce_platform_tests.ml.shop import NO_GROUPS, persons_frame, planted_orders
rng = np.random.default_rng(0)
n = 20_000
frame = persons_frame(rng.integers(1, 365, n), rng.geometric(0.5, n), rng.lognormal(4, 1, n))
trained = lifecycle.train_frames(MODEL, {"persons": frame, "orders": planted_orders(40)[0], "groups": NO_GROUPS})
print(trained.card.promoted, lifecycle.keep(pathlib.Path(tempfile.mkdtemp()), trained).sha256)
"""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            cwd=ML.parents[1],
            env={**os.environ, **dict.fromkeys(threads, number)},
        ).stdout
        for number in ("1", "3")
    }
    assert len(printed) == 1


def test_a_person_is_scored_alone_as_in_a_crowd(planted: LaterData, winner: Trained) -> None:
    crowd = score_segments(winner.fitted, planted.after)
    for i in (0, 1, 2, 77):
        assert score_segments(winner.fitted, planted.after[i]).equals(crowd[i])


def test_scoring_in_batches_gives_the_same_labels_in_the_same_order(
    planted: LaterData, winner: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = score_segments(winner.fitted, planted.after)
    monkeypatch.setattr("ecommerce_platform.ml.segments._BATCH", 7)
    assert score_segments(winner.fitted, planted.after).equals(whole)


def test_only_a_seeded_sample_is_fitted_and_everyone_is_scored(
    planted: LaterData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecommerce_platform.ml.clusters.FIT_SAMPLE", 90)
    one, two = (train(planted.after, planted_orders()[0]) for _ in range(2))
    assert score_segments(one.fitted, planted.after).equals(score_segments(two.fitted, planted.after))
    assert one.card.rows_trained == len(planted.after) == 450
    truth = planted_orders()[1]
    scored = score_segments(one.fitted, planted.after)
    assert adjusted_rand_score([truth[p] for p in scored["person_id"]], scored["segment"]) > 0.95


def test_versions_sort_by_time_and_share_their_hash_when_nothing_changed(planted: LaterData, winner: Trained) -> None:
    later_on = train(planted.after, planted_orders()[0], trained_at=NOON + timedelta(days=30))
    assert later_on.card.trained_at > winner.card.trained_at
    assert later_on.card.version.partition("-")[2] == winner.card.version.partition("-")[2]
    assert score_segments(later_on.fitted, planted.after).equals(score_segments(winner.fitted, planted.after))


@pytest.mark.parametrize("change", ["seed", "code", "data", "later data"])
def test_a_version_s_hash_changes_with_what_it_was_made_from(
    change: str, planted: LaterData, winner: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, orders = pl.col("person_id") == "p00000", planted_orders()[0]

    def cheaper(frame: pl.DataFrame, column: str) -> pl.DataFrame:
        cent = pl.lit("1.25").cast(pl.Decimal(18, 4))
        return frame.with_columns(pl.when(first).then(cent).otherwise(column).alias(column))

    if change == "code":
        monkeypatch.setattr("ecommerce_platform.ml.artifacts.source_hash", lambda *_: "other")
    again = {
        "seed": lambda: train(planted.after, orders, seed=4),
        "code": lambda: train(planted.after, orders),
        "data": lambda: train(cheaper(planted.after, "monetary"), orders),
        "later data": lambda: train(planted.after, cheaper(orders, "revenue")),
    }[change]()
    assert again.card.version != winner.card.version


# --- awkward data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frequency", "monetary", "used"),
    [
        ("ones", "varied", ("recency_days", "monetary")),
        ("nearly ones", "varied", ("recency_days", "monetary")),
        ("mostly ones", "varied", ("recency_days", "frequency", "monetary")),
        ("ones", "equal", ("recency_days",)),
    ],
)
def test_constant_features_are_left_out_without_a_warning(frequency: str, monetary: str, used: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    n = 400
    frequencies = {
        "ones": np.ones(n),
        "nearly ones": np.where(np.arange(n) < 3, 2, 1),
        "mostly ones": np.where(np.arange(n) < 12, 2, 1),  # 97 %, as in Olist
    }[frequency]
    amounts = rng.lognormal(4, 1, n) if monetary == "varied" else np.full(n, 50.0)
    frame = persons_frame(rng.integers(1, 365, n), frequencies, amounts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained = train(frame, NONE)
        model = replace(trained.fitted, promoted=True)
        scored = score_segments(model, frame)
    assert trained.card.feature_names == used
    assert scored["segment"].n_unique() == 3
    assert np.isfinite(scored["distance"].to_numpy()).all()
    if used == ("recency_days",):  # nothing but recency to order by: 0 are those who came last
        recency = scored.join(frame, on="person_id").group_by("segment").agg(pl.col("recency_days").mean())
        assert recency.sort("recency_days")["segment"].to_list() == [0, 1, 2]


def test_zero_and_negative_money_counts_as_one_cent(winner: Trained) -> None:
    frame = persons_frame([5, 5, 5], [3, 3, 3], [0.01, 0, -20])
    assert len(score_segments(winner.fitted, frame).drop("person_id").unique()) == 1


@pytest.mark.parametrize(
    ("persons", "reason"),
    [
        (0, "fewer than 30 persons"),
        (29, "fewer than 30 persons"),
        (40, "no later days to judge on"),
    ],
)
def test_with_too_little_data_the_baseline_is_published_and_says_why(persons: int, reason: str) -> None:
    frame = persons_frame(np.arange(persons) % 90 + 1, np.arange(persons) % 5 + 1, (np.arange(persons) % 17 + 1) * 10)
    trained = train(frame, NONE)
    assert not trained.card.promoted
    assert trained.card.metrics["not_evaluated"] == reason
    assert trained.evaluations.is_empty()
    rows = rows_of(trained, frame)
    assert len(rows) == persons
    assert set(rows["model"]) <= {"baseline:rfm_score_terciles"}


def test_equal_persons_all_stand_in_the_middle() -> None:
    frame = persons_frame([10] * 50, [1] * 50, [20] * 50)
    trained = train(frame, NONE)
    assert trained.card.metrics["not_evaluated"] == "all persons are (nearly) the same"
    assert set(score_segments(trained.fitted, frame)["segment_name"]) == {"Middle third"}


def test_two_kinds_of_persons_do_not_make_three_segments() -> None:
    frame = persons_frame([10, 90] * 25, [1, 4] * 25, [20, 300] * 25)
    assert train(frame, NONE).card.metrics["not_evaluated"] == "fewer than 3 different persons"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("recency_days", 0, "row 2, column recency_days"),
        ("frequency", None, "row 2, column frequency"),
        ("monetary", None, "row 2, column monetary"),
        ("person_id", None, "row 2, column person_id"),
        ("person_id", "p00000", "occurs twice"),
    ],
)
def test_an_impossible_row_is_named(column: str, value: object, said: str) -> None:
    frame = persons_frame([5, 5], [1, 2], [10, 20])
    wrong = pl.Series(column, [frame[column][0], value], dtype=frame.schema[column])
    frame = frame.with_columns(wrong)
    with pytest.raises(InputError, match=said):
        train(frame, NONE)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match="frequency"):
        train(persons_frame([5], [1], [10]).drop("frequency"), NONE)


# --- the comparison ----------------------------------------------------------------------------------------


def test_a_model_that_wins_is_published(planted: LaterData, winner: Trained) -> None:
    assert winner.card.promoted
    for name in ("silhouette", "later_revenue_eta2"):
        compared = metric(winner.evaluation, name)
        assert compared.interval_low is not None
        assert compared.interval_high is not None
        difference = compared.value - compared.baseline_value
        assert 0 < compared.interval_low < difference < compared.interval_high
    rows = rows_of(winner, planted.after)
    assert set(rows["model"]) == {"kmeans_rfm"}
    assert set(rows["model_version"]) == {winner.card.version}


def test_on_noise_the_baseline_is_published_although_the_silhouette_is_better(noise: LaterData, loser: Trained) -> None:
    # K-means is better in its own space even here: why the silhouette alone does not decide.
    assert (metric(loser.evaluation, "silhouette").interval_low or 0) > 0
    assert not loser.card.promoted
    rows = rows_of(loser, noise.after)
    assert set(rows["model"]) == {"baseline:rfm_score_terciles"}
    assert rows["distance"].null_count() == len(rows)
    assert rows.group_by("segment_name").len()["len"].to_list() == pytest.approx([200] * 3, abs=2)


def test_a_segment_of_a_handful_is_not_published(planted: LaterData, winner: Trained) -> None:
    tiny = tuple(replace(c, value=0.009) if c.metric == "smallest_share" else c for c in winner.evaluation.comparisons)
    assert winner.evaluation.wins
    assert not replace(winner.evaluation, comparisons=tiny).wins


def test_what_happens_after_the_cutoff_does_not_reach_the_evaluated_model() -> None:
    orders = noise_orders()
    later = later_of(orders)
    known = pl.col("order_date") < later.cutoff
    newest = pl.col("order_date") == later.end - timedelta(days=1)  # kept: it places the cutoff
    rest = ~known & ~newest
    changed = pl.concat(
        [
            orders.filter(known | newest),
            orders.filter(rest).with_columns(
                pl.col("person_id").reverse(), (pl.col("revenue") * 7).cast(pl.Decimal(18, 4))
            )[::3],
        ]
    )
    one, two = (judge(part, seed=3) for part in (later, later_of(changed)))
    assert [c.fold for c in one.comparisons] == [c.fold for c in two.comparisons] == [later.cutoff.isoformat()] * 3
    first, second = (judged.carry.model.to_state() for judged in (one, two))
    np.testing.assert_array_equal(
        first["clusters"]["pipeline"][-1].cluster_centers_, second["clusters"]["pipeline"][-1].cluster_centers_
    )
    np.testing.assert_array_equal(first["clusters"]["pipeline"][0].lambdas_, second["clusters"]["pipeline"][0].lambdas_)
    np.testing.assert_array_equal(first["clusters"]["pipeline"][1].mean_, second["clusters"]["pipeline"][1].mean_)
    for name, table in first["baseline"].items():
        np.testing.assert_array_equal(table, second["baseline"][name])
    # ... while what is measured does change.
    assert one.comparisons != two.comparisons


def test_segments_that_explain_later_revenue_are_those_known_at_the_cutoff(planted: LaterData) -> None:
    # A person who first buys after the cutoff has no segment then, so changes nothing in that metric.
    newcomer = pl.DataFrame({"person_id": ["new"], "revenue": [99999]}, schema_overrides={"revenue": pl.Decimal(18, 4)})
    more = replace(planted, revenue=pl.concat([planted.revenue, newcomer]))
    one, two = (judge(part, seed=3) for part in (planted, more))
    assert metric(one, "later_revenue_eta2") == metric(two, "later_revenue_eta2")


def test_the_baseline_scores_by_stored_tables_not_by_who_else_is_scored(noise: LaterData, loser: Trained) -> None:
    everyone = score_segments(loser.fitted, noise.after)
    the_best = noise.after.join(everyone.filter(pl.col("segment") == 0), on="person_id").select(noise.after.columns)
    assert set(score_segments(loser.fitted, the_best)["segment"]) == {0}


# --- purchase histories ------------------------------------------------------------------------------------


def test_rfm_as_of_a_day_counts_what_was_before_it() -> None:
    orders = orders_frame(np.array([1, 1, 1, 2, 3]), np.array([0, 0, 10, 5, 20]), np.array([10.5, 1.25, 100, 7, 9]))
    rows = rfm_as_of(orders, date(2024, 1, 21)).rows()  # day 20 is not before it
    assert [(p, r, f, str(m)) for p, r, f, m in rows] == [
        ("p00001", 10, 2, "111.7500"),
        ("p00002", 15, 1, "7.0000"),
    ]


def test_orders_without_a_person_are_left_out() -> None:
    orders = orders_frame(np.array([1, 2]), np.array([0, 1]), np.array([1, 2]))
    orders[1, "person_id"] = None
    assert rfm_as_of(orders, date(2025, 1, 1))["person_id"].to_list() == ["p00001"]


@pytest.mark.parametrize(("days", "horizon"), [(400, 90), (200, 50), (28, 7), (27, None), (0, None)])
def test_the_later_window_is_a_quarter_of_a_short_history(days: int, horizon: int | None) -> None:
    orders = orders_frame(np.arange(days), np.arange(days), np.ones(days))
    later = split_orders(orders) if days else split_orders(noise_orders().clear())
    if horizon is None:
        assert later is None
    else:
        assert later is not None
        assert (later.end - later.cutoff).days == horizon == len(later.revenue)
        assert len(later.before) == days - horizon
        assert later.end == date(2024, 1, 1) + timedelta(days=days)


# --- the tables --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["models", "segments", "evaluations"])
def test_frames_are_what_the_contracts_say(table: str, planted: LaterData, winner: Trained, loser: Trained) -> None:
    contract = read_contract(CONTRACTS / f"{table}.yml", "ml")
    for trained in (winner, loser):
        frame = {
            "models": lambda t: artifacts.registry_frame(t.card),
            "segments": lambda t: rows_of(t, planted.after),
            "evaluations": lambda t: t.evaluations,
        }[table](trained)
        assert {n: DUCKDB_TYPES[d.base_type()] for n, d in frame.schema.items()} == {
            n: c.type for n, c in contract.columns.items()
        }
        assert frame.select(contract.required_columns).null_count().sum_horizontal()[0] == 0
        assert frame.select(contract.key).is_unique().all()
        for name, column in contract.columns.items():
            assert column.accepted is None or set(frame[name]) <= set(column.accepted)


def test_an_evaluation_that_did_not_happen_has_the_columns_all_the_same(winner: Trained) -> None:
    assert train(persons_frame([5], [1], [10]), NONE).evaluations.schema == winner.evaluations.schema


def test_segment_profiles_add_up() -> None:
    contract = read_contract(CONTRACTS / "segment_profiles.yml", "ml")
    with duckdb.connect() as con:
        con.execute("create schema ml; create schema gold")
        con.execute(
            "create table ml.segments as from (values ('a', 0, 'High', 'kmeans_rfm', 'v'), ('b', 2, 'Low',"
            " 'kmeans_rfm', 'v'), ('c', 2, 'Low', 'kmeans_rfm', 'v'), ('gone', 2, 'Low', 'kmeans_rfm', 'v'))"
            " as t(person_id, segment, segment_name, model, model_version)"
        )
        con.execute(
            "create table gold.rfm (person_id varchar, recency_days bigint, frequency bigint, monetary decimal(18, 4))"
        )
        con.execute("insert into gold.rfm values ('a', 10, 3, 75.5), ('b', 20, 1, 20), ('c', 40, 2, 4.5)")
        result = con.sql((CONTRACTS / "segment_profiles.sql").read_text())
        types = dict(zip(result.columns, map(str, result.types), strict=True))
        rows = result.order("segment").fetchall()
    assert types == {name: column.type for name, column in contract.columns.items()}
    made_by = ("kmeans_rfm", "v")
    keep = "Keep: early access and service rather than discounts; they come and pay anyway."
    rest = "Let rest: only what costs nothing; each letter costs more than they bring."
    recency, frequency = 70 / 3, 6 / 3
    assert [row[:12] + row[15:] for row in rows] == [
        (0, "High", 1, 1 / 3, 10, 10, 3, 3, 75.5, 75.5, Decimal("75.5"), 0.755, keep, *made_by),
        (2, "Low", 2, 2 / 3, 30, 30, 1.5, 1.5, 12.25, 12.25, Decimal("24.5"), 0.245, rest, *made_by),
    ]
    assert [row[12:15] for row in rows] == [
        pytest.approx((75.5 * 3 / 100, 10 / recency, 3 / frequency)),
        pytest.approx((12.25 * 3 / 100, 30 / recency, 1.5 / frequency)),
    ]


# --- the house's rules -------------------------------------------------------------------------------------


def test_a_state_of_another_format_is_refused(winner: Trained) -> None:
    state = {**winner.fitted.to_state(), "format": 99}
    with pytest.raises(InputError, match="format 99"):
        SegmentsModel.from_state(state)


def test_models_import_neither_dagster_nor_heavy_libraries_and_nothing_pickles() -> None:
    modules = [f"ecommerce_platform.ml.{path.stem}" for path in ML.glob("*.py") if path.stem != "__init__"]
    script = f"""
import sys
import {", ".join(modules)}
found = {{"dagster", "sklearn", "scipy", "polars", "skops", "joblib"}} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ML.parents[1], env=os.environ)
    for path in ML.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word in ("import pickle", "import joblib", "import dill", "import dagster", "from dagster"):
            assert word not in text, (path.name, word)
