"""The second segmentation: its figures, and the group that registered late."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.ml.behaviour_segments import LATE, MODEL, as_of, fit, label
from ecommerce_platform.ml.lifecycle import keep, load, predict_rows, train_frames
from ecommerce_platform.ml.predict import read_rows
from ecommerce_platform_tests.ml.shop import DAYS, FIRST_DAY, NO_GROUPS, planted_orders

END = FIRST_DAY + timedelta(days=DAYS)


def shop() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Orders with units, and registrations: every tenth person's is later than the first order, every seventh's unknown."""
    orders = planted_orders(60)[0].with_columns(units=pl.col("revenue").cast(pl.Int64) // 40 + 1)
    first = orders.group_by("person_id").agg(pl.col("order_date").min()).sort("person_id")
    days = [
        None if i % 7 == 0 else day + timedelta(days=3) if i % 10 == 0 else day - timedelta(days=i % 5)
        for i, (_, day) in enumerate(first.rows())
    ]
    return orders, pl.DataFrame({"person_id": first["person_id"], "registered_date": days}).drop_nulls()


@pytest.fixture(scope="module")
def inputs() -> dict[str, pl.DataFrame]:
    orders, registered = shop()
    persons = as_of(orders, registered, END).join(registered, on="person_id", how="left")
    return {"persons": persons, "orders": orders, "groups": NO_GROUPS}


def test_figures_are_as_of_a_day_and_know_no_later_registration() -> None:
    def day(n: int) -> date:
        return date(2025, 1, n)

    orders = pl.DataFrame(
        {
            "person_id": ["a", "a", "b", "c", "a"],
            "order_date": [day(5), day(9), day(5), day(6), day(20)],
            "units": [1, 2, 3, 4, 100],
            "revenue": pl.Series(["1.5", "2.5", "3", "4", "100"]).cast(pl.Decimal(18, 4)),
        }
    )
    registered = pl.DataFrame({"person_id": ["a", "b", "c"], "registered_date": [day(2), day(7), day(12)]})
    assert as_of(orders, registered, day(10)).rows() == [
        ("a", 3, False, 4, 3, 4.0),
        ("b", None, True, 0, 3, 3.0),
        ("c", None, False, 0, 4, 4.0),  # registers on the 12th, which nobody knows on the 10th
    ]
    assert as_of(orders, registered, day(13)).row(2)[:3] == ("c", None, True)


def test_late_registrants_are_a_group_of_their_own_whoever_wins(inputs: dict[str, pl.DataFrame]) -> None:
    late = set(inputs["persons"].filter("registered_late")["person_id"])
    assert len(late) == 15
    fitted, _ = fit(inputs["persons"], seed=1)
    from dataclasses import replace

    for promoted in (True, False):
        scored = label(replace(fitted, promoted=promoted), inputs["persons"])
        assert set(scored.filter(pl.col("segment_name") == LATE)["person_id"]) == late
        assert set(scored.filter(pl.col("segment") == 3)["person_id"]) == late
        assert scored.filter("registered_late")["distance"].null_count() == len(late)
        assert set(scored["segment"]) == {0, 1, 2, 3}


def test_what_late_registrants_bought_moves_no_centre(inputs: dict[str, pl.DataFrame]) -> None:
    richer = inputs["persons"].with_columns(
        pl.when("registered_late").then(pl.col("revenue") * 1000).otherwise("revenue").alias("revenue")
    )
    one, other = (fit(persons, seed=1)[0] for persons in (inputs["persons"], richer))
    assert one.clusters is not None
    assert other.clusters is not None
    np.testing.assert_array_equal(
        one.clusters.pipeline[-1].cluster_centers_, other.clusters.pipeline[-1].cluster_centers_
    )
    assert one.cuts == other.cuts


def test_it_lives_on_the_lifecycle_and_predicts_as_it_scored(inputs: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    trained = train_frames(MODEL, inputs)
    card = keep(tmp_path, trained)
    assert {c.metric for c in trained.evaluation.comparisons} == {"silhouette", "later_revenue_eta2", "smallest_share"}
    assert card.metrics["registered_late"] == 15
    assert "![Segment map](segment-map.svg)" in (tmp_path / card.artifact_path / "card.md").read_text()
    fitted, _ = load(tmp_path, MODEL, card.version, sha256=card.sha256)
    scored = MODEL.score(fitted, inputs, "ml.behaviour_segments")
    contract = read_catalog().contract("ml.behaviour_segments")
    assert [*scored.columns, "model", "model_version"] == list(contract.columns)
    late = pl.col("registered_late")
    file = inputs["persons"].with_columns(
        pl.when(late).then(-3).otherwise("registration_to_first_order_days").alias("registration_to_first_order_days")
    )
    file.write_csv(tmp_path / "persons.csv")
    rows = read_rows(tmp_path / "persons.csv", MODEL.columns)
    assert predict_rows(tmp_path, MODEL, card.version, rows).select(scored.columns).equals(scored)
