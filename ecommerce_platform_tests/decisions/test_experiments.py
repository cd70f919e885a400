"""What is said of an experiment: who counts, when effects are withheld, corrections, guardrails; and of the shop's tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.experiment_plan import ExperimentPlan, ExperimentPlans, read_plans
from ecommerce_platform.decisions.experiments import Reading, Units, analyse
from ecommerce_platform.decisions.trials import READS, decide_experiments
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform_tests.decisions.rests import rests_on_rows

CATALOG = read_catalog()
BEGIN = datetime(2024, 3, 1)


def planned(**said: Any) -> ExperimentPlan:
    return ExperimentPlan(outcome_window_days=30, **said)


def units(sizes: dict[str, int], means: dict[str, float], **more: Any) -> Units:
    """Arms of these sizes, with Poisson orders of these means and revenue of 20 an order or so."""
    random = np.random.default_rng(1)
    arm = np.repeat(list(sizes), list(sizes.values()))
    orders = random.poisson([means[a] for a in arm]).astype(float)
    revenue = orders * random.normal(20, 3, len(arm))
    outcomes = {"orders": orders, "revenue": revenue, "converted": (orders > 0).astype(float)}
    return Units(arm, outcomes, {}, more.pop("assigned", sizes), **more)


def test_effects_are_withheld_where_arms_are_of_other_sizes_than_planned() -> None:
    sizes = {"control": 44_700, "b": 45_489}
    row = analyse(units(sizes, {"control": 1, "b": 2}), Reading(planned(), True))[0]
    assert row["ratio_p_assigned"] == pytest.approx(0.0086, abs=5e-5)
    assert (row["verdict"], row["shares_declared"]) == ("withheld", False)
    assert not {"difference", "lift", "p_value"} & row.keys()
    assert "44,700 (planned 50%)" in row["note"]
    as_planned = planned(shares={"control": 0.495, "b": 0.505})
    assert analyse(units(sizes, {"control": 1, "b": 2}), Reading(as_planned, True))[0]["verdict"] == "better"
    assert (
        analyse(units(sizes, {"control": 1, "b": 2}), Reading(planned(), True, ratio_threshold=0.005))[0]["verdict"]
        == "better"
    )


def test_a_ratio_that_only_those_in_two_arms_break_is_seen() -> None:
    found = analyse(
        units({"control": 1_000, "b": 800}, {"control": 1, "b": 1}, assigned={"control": 1_000, "b": 1_000}, in_two_arms=200),
        Reading(planned(), True),
    )  # fmt: skip
    assert found[0]["ratio_p_assigned"] == 1
    assert found[0]["ratio_p_compared"] < 0.01
    assert found[0]["verdict"] == "withheld"


def test_an_arm_that_was_not_planned_is_a_mismatch() -> None:
    plan = planned(shares={"control": 0.5, "b": 0.5})
    rows = analyse(
        units(dict.fromkeys(("control", "b", "c"), 500), dict.fromkeys("bc", 1.0) | {"control": 1.0}),
        Reading(plan, True),
    )
    assert {row["verdict"] for row in rows} == {"withheld"}


def test_arms_of_the_primary_metric_are_corrected_among_themselves() -> None:
    sizes = dict.fromkeys(("control", "b", "c", "d"), 2_000)
    plan = planned(secondary=("revenue",))
    rows = analyse(units(sizes, {"control": 1.0, "b": 1.0, "c": 1.03, "d": 1.3}), Reading(plan, True, draws=199))
    primary = [row for row in rows if row["role"] == "primary"]
    assert [row["arm"] for row in primary] == ["b", "c", "d"]
    assert primary[2]["verdict"] == "better"
    assert primary[2]["p_adjusted"] == pytest.approx(min(3 * primary[2]["p_value"], 1))
    assert primary[0]["verdict"] == "no_evidence"
    assert {row["method"] for row in rows if row["metric"] == "revenue"} == {"bootstrap_t"}


@pytest.mark.parametrize(("mean", "verdict"), [(1.0, "kept"), (0.9, "not_shown_to_hold"), (0.7, "broken")])
def test_a_guardrail_holds_only_if_the_interval_lies_above_its_margin(mean: float, verdict: str) -> None:
    plan = planned(primary="revenue", guardrails={"orders": 0.1})
    rows = analyse(units({"control": 4_000, "b": 4_000}, {"control": 1.0, "b": mean}), Reading(plan, True, draws=199))
    assert [row["verdict"] for row in rows if row["role"] == "guardrail"] == [verdict]


def test_order_value_is_a_ratio_of_sums() -> None:
    found = units({"control": 3_000, "b": 3_000}, {"control": 1.0, "b": 2.0})
    row = analyse(found, Reading(planned(primary="aov"), True))[0]
    b = found.arm == "b"
    assert row["mean"] == pytest.approx(found.outcomes["revenue"][b].sum() / found.outcomes["orders"][b].sum())
    # Twice the orders, but each as large as before.
    assert (row["method"], row["verdict"]) == ("delta", "no_evidence")


def test_looks_before_the_end_widen_the_interval() -> None:
    made = units({"control": 1_000, "b": 1_000}, {"control": 1.0, "b": 1.1})
    once = analyse(made, Reading(planned(), True))[0]
    often = analyse(made, Reading(planned(sequential={"expected_lift": 0.1}), True))[0]
    assert often["method"] == "confidence_sequence"
    assert often["lift_low"] < once["lift_low"] < once["lift_high"] < often["lift_high"]


def test_few_units_are_not_compared_and_skewed_ones_are_marked() -> None:
    assert (
        analyse(units({"control": 29, "b": 40}, {"control": 1, "b": 1}), Reading(planned(), True))[0]["verdict"]
        == "too_few"
    )
    rare = units({"control": 900, "b": 900}, {"control": 0.01, "b": 0.01})
    assert analyse(rare, Reading(planned(), True))[0]["is_skewed"]
    assert not analyse(units({"control": 900, "b": 900}, {"control": 3, "b": 3}), Reading(planned(), True))[0][
        "is_skewed"
    ]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    for schema in ("silver", "gold"):
        con.execute(f"create schema {schema}")
    for name in READS:
        con.execute(create_table_sql(CATALOG.contract(name)))
    with con:
        yield con


def add(con: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame) -> None:
    con.register("frame", frame)
    con.execute(f"insert into {table} by name select * from frame")


def draw(con: duckdb.DuckDBPyConnection, arms: dict[str, str], persons: dict[str, str] | None = None) -> None:
    """Customers drawn into arms (customer → arm, a name with + into several), and who is behind them if not themselves."""
    rows = [(c, arm) for c, both in arms.items() for arm in both.split("+")]
    add(con, "silver.experiment_assignments", pl.DataFrame(
        {"experiment_id": "X", "customer_id": [c for c, _ in rows], "arm": [a for _, a in rows], "assigned_at": BEGIN}
    ))  # fmt: skip
    add(con, "silver.customer_identities", pl.DataFrame(
        {"customer_id": list(arms), "person_id": [(persons or {}).get(c, c) for c in arms]}
    ))  # fmt: skip


def place(con: duckdb.DuckDBPyConnection, orders: list[tuple[str, float, float]]) -> None:
    """Orders as person, days after the draw, and revenue."""
    add(con, "gold.fct_orders", pl.DataFrame(
        {
            "order_id": [str(n) for n in range(len(orders))], "person_id": [p for p, _, _ in orders], "is_counted": True,
            "ordered_at": [BEGIN + timedelta(days=d) for _, d, _ in orders], "revenue_amount": [r for _, _, r in orders],
            "profit_amount": [r / 4 for _, _, r in orders], "cost_known_lines": 1,
        }
    ))  # fmt: skip


def test_everybody_drawn_counts_with_what_they_ordered_within_the_window(con: duckdb.DuckDBPyConnection) -> None:
    arms = {f"{arm}{n}": name for arm, name in (("a", "control"), ("b", "b")) for n in range(40)}
    draw(con, arms)
    # Before the draw, on its moment, within and after the window.
    place(con, [("b0", -1, 8), ("b0", 0, 10), ("b0", 29.9, 30), ("b0", 30, 500), ("a0", 5, 20), ("a1", -40, 1)])
    plans = ExperimentPlans(experiments={"X": planned(secondary=("revenue", "profit", "converted"))})
    rows = {row["metric"]: row for row in decide_experiments(con, plans).rows}
    assert (rows["orders"]["units"], rows["orders"]["control_units"]) == (40, 40)
    assert rows["orders"]["plain_difference"] == pytest.approx(2 / 40 - 1 / 40)
    assert rows["revenue"]["plain_difference"] == pytest.approx(40 / 40 - 20 / 40)
    assert rows["profit"]["plain_difference"] == pytest.approx(10 / 40 - 5 / 40)
    assert rows["converted"]["plain_difference"] == 0
    # b0's order of the day before foretells theirs after it.
    assert rows["orders"]["variance_explained"] > 0.2
    assert rows["orders"]["is_complete"]


def test_a_person_is_one_unit_and_in_two_arms_none(con: duckdb.DuckDBPyConnection) -> None:
    arms = {f"a{n}": "control" for n in range(60)} | {f"b{n}": "b" for n in range(60)}
    persons = {"a1": "a0", "a2": "p", "b2": "p"}
    draw(con, arms, persons)
    place(con, [("a3", 1, 10)])
    row = decide_experiments(con, ExperimentPlans()).rows[0]
    # a0 and a1 are one, p is in both.
    assert (row["control_units"], row["units"], row["in_two_arms"]) == (58, 59, 1)


def test_without_a_plan_an_experiment_is_exploratory_and_with_one_it_is_not(con: duckdb.DuckDBPyConnection) -> None:
    draw(con, {f"a{n}": "Control" for n in range(40)} | {f"b{n}": "b" for n in range(40)})
    place(con, [("a0", 1, 10), ("b0", 1, 10)])
    found = decide_experiments(con, ExperimentPlans())
    assert {(row["reading"], row["control"], row["window_days"]) for row in found.rows} == {
        ("exploratory", "Control", 90)
    }
    assert not found.rows[0]["is_complete"]
    assert rests_on_rows(con, found, READS)
    other = ExperimentPlans(experiments={"X": planned(control="none")})
    refused = decide_experiments(con, other)
    assert (refused.status, refused.rows) == ("refused", ())
    assert "X has no arm 'none'" in refused.reason


def test_a_shop_without_experiments_is_told_what_is_missing(con: duckdb.DuckDBPyConnection) -> None:
    assert decide_experiments(con, ExperimentPlans()).reason.startswith("the source maps no experiment_assignments")


def test_a_plan_that_contradicts_itself_is_refused_with_its_line(tmp_path: Path) -> None:
    assert read_plans(tmp_path) == ExperimentPlans()
    file = tmp_path / "experiments.yml"
    file.write_text("experiments:\n  X:\n    shares: {control: 0.5, b: 0.6}\n    outcome_window_days: 30\n")
    with pytest.raises(DefinitionError, match=r"experiments.yml:3.*planned shares sum to 1, not 1.1"):
        read_plans(tmp_path)
    file.write_text("experiments:\n  X:\n    guardrails: {orders: 0.1}\n    outcome_window_days: 30\n")
    with pytest.raises(DefinitionError, match="not two of them"):
        read_plans(tmp_path)
