"""What is told of scores afterwards: that they have moved, and how they turned out."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.ml import monitoring
from ecommerce_platform.ml.lifecycle import promote, score, train
from ecommerce_platform.ml.segments import MODEL
from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.write import replace_table
from ecommerce_platform_tests.ml.shelf import CATALOG, place, rows, set_orders
from ecommerce_platform_tests.ml.shop import DAYS, FIRST_DAY, orders_frame, planted_orders

HISTORY, DRIFT, LIVE = "ml.score_history", "ml.score_drift", "ml.live_performance"
A, B = "20250101T000000Z-aaaaaaaaaaaa", "20250201T000000Z-bbbbbbbbbbbb"


def psi(then: np.ndarray, now: np.ndarray) -> float:
    """By the book: over the distinct tenths of the scores then."""
    ordered = np.sort(then)
    edges = np.unique([part.max() for part in np.array_split(ordered, 10)])
    places = [np.minimum(np.searchsorted(edges, scores), len(edges) - 1) for scores in (then, now)]
    one, other = (np.maximum(np.bincount(p, minlength=len(edges)), 0.5) / len(p) for p in places)
    return float(((other - one) * np.log(other / one)).sum())


def made(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """Makes a table from its SELECT; the names of the checks that failed."""
    found = CATALOG.tables[table]
    assert found.sql is not None
    return [check.name for check in replace_table(con, found.contract, found.sql).checks if not check.passed]


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("create schema ml; create schema gold")
    for table in (HISTORY, "ml.evaluations"):
        con.execute(create_table_sql(CATALOG.contract(table)))
    return con


def remember(con: duckdb.DuckDBPyConnection, day: date, version: str, scores: np.ndarray) -> None:
    frame = pl.DataFrame({"id": [f"p{i}" for i in range(len(scores))], "score": scores.astype(float)})
    con.register("given", frame.to_arrow())
    con.execute(f"insert into {HISTORY} select 'm', 'ml.scores', 'score', ?, ?, id, score from given", [day, version])


@pytest.mark.parametrize("kind", ["probabilities", "groups"])
def test_the_index_is_that_of_the_book_against_the_scoring_before_and_the_first(
    con: duckdb.DuckDBPyConnection, kind: str
) -> None:
    rng = np.random.default_rng(0)
    draw = {
        "probabilities": lambda shift: rng.beta(2 + shift, 5, 2_000),
        "groups": lambda shift: rng.choice(3, 2_000, p=[0.5 - shift / 10, 0.3, 0.2 + shift / 10]),
    }[kind]
    first, second, third, other = draw(0), draw(0.1), draw(2), draw(2)
    monday = date(2025, 1, 6)
    for i, (version, scores) in enumerate(((A, first), (A, second), (A, third), (B, other))):
        remember(con, monday + timedelta(weeks=i), version, scores)
    failed = made(con, DRIFT)
    found = {(r[0], r[1]): r[2] for r in con.execute(f"select scored_on, compared_with, psi from {DRIFT}").fetchall()}
    weeks = [monday + timedelta(weeks=i) for i in range(4)]
    assert found == {
        (weeks[1], "scoring before"): pytest.approx(psi(first, second)),
        (weeks[1], "first of the version"): pytest.approx(psi(first, second)),
        (weeks[2], "scoring before"): pytest.approx(psi(second, third)),
        (weeks[2], "first of the version"): pytest.approx(psi(first, third)),
        (weeks[3], "scoring before"): pytest.approx(psi(third, other)),
    }
    assert found[weeks[1], "scoring before"] < 0.1
    assert failed == [], "the newest scoring is as the one before it"
    assert monitoring.has_drifted(con, "m") == (found[weeks[2], "first of the version"] > 0.25)


def test_scores_that_have_moved_fail_the_check_and_let_the_model_be_trained_before_its_week(tmp_path: Path) -> None:
    orders = planted_orders(40)[0]
    there = place(tmp_path, orders)
    train(MODEL, there)
    score(MODEL, there, "ml.segments")
    # Forty more of those who buy seldom and for much: thirds of persons become fifths.
    new = orders.filter(pl.col("person_id").is_in([f"p{3 * i:05d}" for i in range(40)]))
    others = [new.with_columns(pl.col("person_id") + f"-{i}") for i in range(6)]
    later = pl.concat([orders, *others]).with_columns(pl.col("order_date") + timedelta(days=1))
    set_orders(there, later)
    assert not train(MODEL, there, when_due=True).written.changed
    score(MODEL, there, "ml.segments")
    with there.connect() as con:
        assert made(con, DRIFT) == ["scores_are_distributed_as_before"]
    assert train(MODEL, there, when_due=True).written.changed


def test_only_so_many_scores_and_scorings_are_remembered_of_the_same_persons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "REMEMBERED", 50)
    monkeypatch.setattr(monitoring, "SCORINGS", 2)
    orders = planted_orders(40)[0]
    there = place(tmp_path, orders)
    train(MODEL, there)
    for week in range(3):
        set_orders(there, orders.with_columns(pl.col("order_date") + timedelta(weeks=week)))
        score(MODEL, there, "ml.segments")
    found = rows(
        there, f"select scored_on, count(*), md5(string_agg(id, ',' order by id)) from {HISTORY} group by 1 order by 1"
    )
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    newest = max(orders["order_date"].to_list())
    assert newest <= last
    assert [(day, n) for day, n, _ in found] == [(newest + timedelta(weeks=w), 50) for w in (1, 2)]
    assert len({ids for _, _, ids in found}) == 1


def test_past_segments_are_judged_by_the_revenue_of_the_days_after_once_these_are_over(tmp_path: Path) -> None:
    orders = planted_orders(40)[0]
    there = place(tmp_path, orders)
    card = train(MODEL, there).card
    score(MODEL, there, "ml.segments")
    assert card is not None
    then = max(orders["order_date"].to_list())

    def after(days: int) -> pl.DataFrame:
        """The shop `days` later: who was in segment 0 has bought for 100, the others nothing; somebody new on the last day."""
        best = [p for (p,) in rows(there, "select person_id from ml.segments where segment = 0")]
        day = (then - FIRST_DAY).days
        bought = orders_frame(np.zeros(len(best), int), np.full(len(best), day + 5), np.full(len(best), 100.0))
        stranger = orders_frame(np.array([90_000]), np.array([day + days]), np.array([1.0]))
        return pl.concat([orders, bought.with_columns(pl.Series("person_id", best)), stranger])

    set_orders(there, after(89))
    train(MODEL, there)
    assert rows(there, "select count(*) from ml.evaluations where fold like 'live %'") == [(0,)], "not over yet"
    set_orders(there, after(90))
    train(MODEL, there)
    (found,) = rows(
        there,
        "select version, fold, metric, value, baseline_value, interval_low from ml.evaluations where fold like 'live %'",
    )
    assert found[:3] == (card.version, f"live {then}", "later_revenue_eta2")
    assert found[3] == pytest.approx(1.0)
    assert found[4] < 1  # type: ignore[operator]
    with there.connect() as con:
        assert made(con, LIVE) == []
        assert con.execute(f"select scored_on, is_worse_than_baseline from {LIVE}").fetchall() == [(then, False)]


def test_scores_that_turned_out_worse_than_the_baseline_fail_the_check(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "insert into ml.evaluations by name select * from (values "
        "('m', 'v', '2025-01-01', 'auc', 0.8, 'b', 0.7, 0.05, 0.15, true, false), "
        "('m', 'v', 'live 2025-02-01', 'auc', 0.6, 'b', 0.7, -0.15, -0.05, true, false), "
        "('n', 'v', 'live 2025-02-01', 'mae', 6, 'b', 5, 0.5, 1.5, true, true), "
        "('o', 'v', 'live 2025-02-01', 'mae', 6, 'b', 5, -0.5, 2.5, true, true)) "
        "as t(model, version, fold, metric, value, baseline, baseline_value, interval_low, interval_high, decides, lower_is_better)"
    )
    assert made(con, LIVE) == ["models_are_no_worse_than_their_baselines"]
    assert con.execute(f"select model, promised_value, is_worse_than_baseline from {LIVE} order by 1").fetchall() == [
        ("m", 0.8, True),
        ("n", None, True),
        ("o", None, False),
    ]
    record_change(con, LIVE)


def test_the_summary_is_of_the_version_in_force(tmp_path: Path) -> None:
    orders = planted_orders(40)[0]
    there = place(tmp_path, orders)
    first = train(MODEL, there).card
    set_orders(there, orders.with_columns(pl.col("order_date") + timedelta(days=9)))
    second = train(MODEL, there).card
    assert first
    assert second

    def summary() -> set[tuple[object, ...]]:
        with there.connect() as con:
            assert made(con, "ml.model_summary") == []
            found = con.execute(
                "select distinct model_version, is_pinned, published_as, count(*) over (), count(*) filter (where decides) "
                "over () from ml.model_summary"
            ).fetchall()
        return set(found)

    assert summary() == {(second.version, False, "kmeans_rfm", 3, 2)}
    promote(there, MODEL.name, first.version)
    assert summary() == {(first.version, True, "kmeans_rfm", 3, 2)}
    promote(there, MODEL.name, None)
    assert summary() == {(second.version, False, "kmeans_rfm", 3, 2)}
