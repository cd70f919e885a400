"""Decisions from the tables of a shop: what they recommend, and what they say is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.decision_rules import Budget, DecisionRules, Staffing, Stock
from ecommerce_platform.decisions.budget import _level, _who_counts, decide_budget, fit_responses, measure, split_budget
from ecommerce_platform.decisions.recommendation import Decided, frame, refresh_decision, refused
from ecommerce_platform.decisions.roi import decide_roi
from ecommerce_platform.decisions.selects import rows_of
from ecommerce_platform.decisions.staffing import decide_staffing, whole_weeks
from ecommerce_platform.decisions.stock import READS, decide_stock
from ecommerce_platform_tests.decisions.rests import rests_on_rows

CATALOG = read_catalog()
MONDAY = date(2024, 1, 1)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    for schema in ("silver", "gold", "ml"):
        con.execute(f"create schema {schema}")
    for name in (
        "gold.fct_orders", "gold.fct_order_items", "silver.campaigns", "silver.ad_spend", "silver.inventory_snapshots", "ml.decisions"
    ):  # fmt: skip
        con.execute(create_table_sql(CATALOG.contract(name)))
    with con:
        yield con


def add(con: duckdb.DuckDBPyConnection, table: str, columns: dict[str, Any]) -> None:
    con.register("rows", pl.DataFrame(columns))
    con.execute(f"insert into {table} by name select * from rows")


def orders_on(con: duckdb.DuckDBPyConnection, by_day: list[int]) -> None:
    days = [MONDAY + timedelta(days=n) for n, count in enumerate(by_day) for _ in range(count)]
    add(con, "gold.fct_orders", {"order_id": list(map(str, range(len(days)))), "order_date": days, "is_counted": True})


STAFF = Staffing(orders_per_person_day=10, cost_per_person_day=100, service_level=0.75, weeks=4)


def test_people_follow_the_quantile_of_each_weekday(con: duckdb.DuckDBPyConnection) -> None:
    # Mondays of 40, 10, 20 and 30 orders: three of four do not exceed 30.
    orders_on(
        con, [*[40, 5, 5, 5, 5, 5, 5], *[10, 5, 5, 5, 5, 5, 5], *[20, 5, 5, 5, 5, 5, 5], *[30, 5, 5, 5, 5, 5, 5], 99]
    )
    found = decide_staffing(con, STAFF)
    assert rests_on_rows(con, found, ("gold.fct_orders",))
    monday, tuesday = found.rows[0], found.rows[1]
    assert (monday["orders_mean"], monday["orders_quantile"], monday["people_needed"]) == (25, 30, 3)
    assert tuesday["people_needed"] == 1
    assert all(row["people_on_duty"] >= row["people_needed"] for row in found.rows)
    assert monday["orders_left_over"] == pytest.approx(max(40 - 10 * monday["people_on_duty"], 0) / 4)
    assert found.low is not None and found.value is not None and found.high is not None  # noqa: PT018
    assert 0 <= found.low <= found.value <= found.high


def test_only_whole_weeks_count_and_days_without_orders_are_0() -> None:
    counted = {MONDAY + timedelta(days=n): 1 for n in (2, 7, 13, 15, 21)}
    assert whole_weeks(counted, 10).tolist() == [[1, 0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0]]
    assert whole_weeks(counted, 1).tolist() == [[0, 1, 0, 0, 0, 0, 0]]
    assert len(whole_weeks({}, 3)) == 0


def test_too_short_a_history_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    orders_on(con, [5] * 21)
    assert decide_staffing(con, STAFF).reason == "3 whole weeks of orders; `staffing: weeks:` asks for 4"


def shelves(
    con: duckdb.DuckDBPyConnection, weekly: np.ndarray, on_hand: int, reorder: int | None, price: float = 10
) -> None:
    """A product that sold so much in each week (the newest last), counted on each Sunday."""
    days = [MONDAY + timedelta(days=7 * n + 3) for n in range(len(weekly))]
    last = [MONDAY + timedelta(days=7 * len(weekly) - 1)]
    add(con, "gold.fct_order_items", {
        "order_id": list(map(str, range(len(days) + 1))), "line_number": 1, "product_id": ["a"] * len(days) + ["other"],
        "order_date": days + last, "is_valid": True, "quantity": [*weekly.tolist(), 1], "unit_cost": 4.0,
        "revenue_amount": [*(weekly * price).tolist(), price],
    })  # fmt: skip
    counts = [MONDAY + timedelta(days=7 * n + 6) for n in range(len(weekly))]
    add(con, "silver.inventory_snapshots", {
        "snapshot_date": counts, "product_id": "a", "location_id": "main", "on_hand": [20] * (len(weekly) - 1) + [on_hand],
        "reorder_point": pl.Series([reorder] * len(weekly), dtype=pl.Int32), "lead_time_days": 14,
    })  # fmt: skip


SHELF = Stock(service_level=0.95, holding_cost_rate=0.2, order_cost=5, days=182)


def test_a_product_that_runs_out_is_to_be_ordered_earlier(con: duckdb.DuckDBPyConnection) -> None:
    weekly = np.random.default_rng(1).poisson(6, 26)
    shelves(con, weekly, on_hand=9, reorder=5)
    found = decide_stock(con, SHELF)
    assert rests_on_rows(con, found, READS)
    (row,) = [row for row in found.rows if row["product_id"] == "a"]
    assert row["weeks_observed"] == 26
    assert row["units_per_week"] == pytest.approx(weekly.mean())
    # Three weeks to be covered, about 18 units wanted.
    assert 23 <= row["reorder_point"] <= 34
    assert row["order_quantity"] >= row["reorder_point"] - 9
    assert row["value"] > 0
    assert row["value_low"] <= row["value"] <= row["value_high"]


def test_enough_on_the_shelf_needs_no_order_and_an_empty_one_is_no_demand(con: duckdb.DuckDBPyConnection) -> None:
    weekly = np.random.default_rng(2).poisson(6, 26)
    weekly[10:14] = 0
    shelves(con, weekly, on_hand=500, reorder=5)
    con.execute(f"update silver.inventory_snapshots set on_hand = 0 where snapshot_date between '{MONDAY + timedelta(days=69)}' "
                f"and '{MONDAY + timedelta(days=90)}'")  # fmt: skip
    (row,) = [row for row in decide_stock(con, SHELF).rows if row["product_id"] == "a"]
    assert (row["order_quantity"], row["weeks_observed"]) == (0, 22)
    assert row["units_per_week"] == pytest.approx(weekly.sum() / 22)


def test_shelves_that_nobody_counts_are_named(con: duckdb.DuckDBPyConnection) -> None:
    assert "inventory_snapshots" in decide_stock(con, SHELF).reason
    assert decide_stock(con, None).reason.startswith("`decisions: inventory:` in source.yml lacks service_level")


def flights(
    spread: float, seed: int = 1, per_channel: int = 8, later: float = 0.0
) -> tuple[pl.DataFrame, dict[str, float]]:
    """Counts of campaigns of three channels whose orders answer to the root of what they cost; channel → what one unit brings."""
    random = np.random.default_rng(seed)
    worth = {"search": 18.0, "social": 8.0, "display": 3.0}
    channel = np.repeat(list(worth), per_channel)
    cost = 400 * spread ** random.uniform(-0.5, 0.5, len(channel))
    brought = np.array([worth[c] for c in channel]) * np.sqrt(cost)
    usual = np.full(len(channel), 2_000.0)
    return pl.DataFrame(
        {
            "channel": channel, "start_date": MONDAY, "cost": cost, "profit": 9.0,
            "with_during": random.poisson(usual + brought), "without_during": random.poisson(usual),
            "with_later": random.poisson(1_000 + later * brought), "without_later": random.poisson(usual / 2),
            "with_ordinarily": random.poisson(5 * usual), "without_ordinarily": random.poisson(5 * usual),
            "without_nearby": random.poisson(usual), "nearby_days": 14, "days": 14, "days_after": 7,
        }
    ), worth  # fmt: skip


def test_more_is_spent_where_more_orders_come_of_it() -> None:
    counts, worth = flights(spread=8)
    found = split_budget(counts, Budget())
    rows = {row["channel"]: row for row in found.rows}
    assert found.status == "made"
    assert rows["search"]["spend"] > rows["search"]["spend_now"]
    assert rows["display"]["spend"] < rows["display"]["spend_now"]
    assert sum(r["spend"] for r in rows.values()) == pytest.approx(sum(r["spend_now"] for r in rows.values()))
    gained = sum(worth[c] * (np.sqrt(r["spend"]) - np.sqrt(r["spend_now"])) for c, r in rows.items())
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < gained < found.high


def test_orders_after_the_last_day_count_where_there_surely_are_any() -> None:
    none, lasts = measure(flights(spread=8)[0])
    assert not lasts
    more, lasts = measure(flights(spread=8, later=0.5)[0])
    assert lasts
    assert sum(more["incremental"]) > 1.3 * sum(none["incremental"])


def test_what_regions_without_it_have_is_drawn_towards_what_days_nearby_foretell() -> None:
    counted, days = np.array([100.0, 100, 100, 100]), np.full(4, 14.0)
    # Days nearby that foretell as well as counts can, and far worse.
    near, unsure = _level(counted, days, np.array([110.0, 90, 110, 90]), days)
    far, alone = _level(counted, days, np.array([300.0, 30, 300, 30]), days)
    assert near == pytest.approx([104.9, 94.9, 104.9, 94.9], abs=0.6)
    assert np.abs(far - counted).max() < 2
    assert unsure.max() < 0.0055
    assert alone == pytest.approx(0.01, rel=0.03)
    # Where nothing is known of days nearby, the count stands.
    assert _level(counted, days, np.zeros(4), days)[0].tolist() == counted.tolist()


def test_orders_of_new_customers_count_where_campaigns_surely_brought_any() -> None:
    known, _ = flights(spread=8)
    others, _ = flights(spread=8, seed=2)
    parts = [name for name in known.columns if name.startswith(("with_", "without_"))]
    both = known.with_columns(known[name] + others[name] for name in parts)
    assert _who_counts(both, known) is both
    flat = known.with_columns(known[name] + 500 for name in parts)
    assert _who_counts(flat, known) is known
    # Where nobody is known, everybody counts.
    assert _who_counts(known, known.with_columns(pl.lit(0).alias(name) for name in parts)) is known


def test_a_budget_of_another_size_is_split_within_the_bounds() -> None:
    counts, _ = flights(spread=8)
    rows = split_budget(counts, Budget(amount=1_500, at_least=0.5, at_most=2)).rows
    assert sum(row["spend"] for row in rows) == pytest.approx(1_500)
    assert all(row["lower_bound"] <= row["spend"] <= row["upper_bound"] for row in rows)


def test_spend_that_hardly_varied_tells_nothing() -> None:
    found = split_budget(flights(spread=1.1)[0], Budget())
    assert (found.status, found.rows) == ("refused", ())
    assert "varied too little" in found.reason
    # Whether it did is told by all orders, whichever the curves are fitted to.
    assert split_budget(flights(spread=8)[0], Budget(), flights(spread=1.1)[0]).reason == found.reason


def test_a_channel_with_two_campaigns_has_no_curve() -> None:
    assert "fewer than two channels have 3 campaigns" in split_budget(flights(8, per_channel=2)[0], Budget()).reason


def test_campaigns_are_counted_by_region_and_day(con: duckdb.DuckDBPyConnection) -> None:
    """One campaign on days 10 and 11 in the north; days 12 and 13 come after it, all others are ordinary."""
    add(con, "silver.campaigns", {"campaign_id": ["c"], "channel": ["search"], "start_date": [MONDAY + timedelta(10)],
                                  "end_date": [MONDAY + timedelta(11)]})  # fmt: skip
    add(
        con,
        "silver.ad_spend",
        {"campaign_id": "c", "spend_date": [MONDAY + timedelta(n) for n in (10, 11)], "cost_amount": 7.5},
    )
    number = {("north", 10): 9, ("north", 11): 8, ("north", 12): 7, ("south", 13): 4}
    placed = [
        (r, d)
        for r in ("north", "south")
        for d in range(30)
        for _ in range(number.get((r, d), 2 if r == "north" else 3))
    ]
    add(con, "gold.fct_orders", {
        "order_id": list(map(str, range(len(placed)))), "region": [r for r, _ in placed], "is_counted": True, "profit_amount": 4.0,
        "order_date": [MONDAY + timedelta(d) for _, d in placed], "campaign_id": ["c" if p == ("north", 10) else None for p in placed],
    })  # fmt: skip
    given = {"after": 2, "around": 15, "closest": 4}
    (row,) = rows_of(con, "campaign_flights", **given, known=False).pl().iter_rows(named=True)
    assert (row["cost"], row["profit"]) == (15, 4)
    assert (row["with_during"], row["without_during"]) == (17, 6)
    assert (row["with_later"], row["without_later"]) == (7 + 2, 3 + 4)
    # Days 0 to 9 and 14 to 26.
    assert (row["with_ordinarily"], row["without_ordinarily"]) == (2 * 23, 3 * 23)
    # Days 6 to 9, 14 and 15.
    assert (row["without_nearby"], row["nearby_days"], row["days"], row["days_after"]) == (3 * 6, 6, 2, 2)
    # One person orders on every day in the south; the first of these orders is nobody's who had ordered before.
    con.execute("update gold.fct_orders set person_id = 'p' where region = 'south'")
    (row,) = rows_of(con, "campaign_flights", **given, known=True).pl().iter_rows(named=True)
    assert (row["with_during"], row["without_during"], row["without_ordinarily"]) == (0, 6, 3 * 22)


def test_campaigns_nobody_knows_and_figures_nobody_gave_are_named(con: duckdb.DuckDBPyConnection) -> None:
    assert "regions without it" in decide_budget(con, Budget()).reason
    assert "`decisions: budget:`" in decide_budget(con, None).reason
    assert "discount_rate" in decide_roi(con, DecisionRules()).reason


def test_the_exponent_of_a_response_is_found() -> None:
    random = np.random.default_rng(3)
    for exponent in (0.3, 0.5, 0.8):
        intensity = 8 ** random.uniform(-0.5, 0.5, 60)
        lift = 0.3 * intensity**exponent
        found = fit_responses(["a"] * 60, intensity, lift + random.normal(0, 0.01, 60), np.full(60, 0.01))
        low, high = found.exponent_interval
        assert low - 0.026 <= exponent <= high + 0.026
        assert high - low < 0.2


CONTRACT, LEDGER = CATALOG.contract("ml.staffing_plan"), CATALOG.contract("ml.decisions")


def refresh(con: duckdb.DuckDBPyConnection, found: Decided, rules: object = None, **how: bool) -> bool:
    reads = ["gold.fct_orders"]
    code = [CONTRACT.path.as_posix()]
    return refresh_decision(con, CONTRACT, LEDGER, lambda _: found, reads, code, rules, **how).changed


def seen(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return con.execute("select decision, status, rows, reason from ml.decisions").fetchall()


def test_a_refusal_empties_the_table_and_says_why(con: duckdb.DuckDBPyConnection) -> None:
    from ecommerce_platform.warehouse.changes import record_change

    record_change(con, "gold.fct_orders", "1")
    orders_on(con, [7] * 28)
    made = decide_staffing(con, STAFF)
    assert refresh(con, made, STAFF)
    assert seen(con) == [("staffing_plan", "made", 7, made.reason)]
    # Nothing changed; then the figures are gone.
    assert not refresh(con, made, STAFF)
    assert refresh(con, refused(["a", "b"]), None)
    assert seen(con) == [("staffing_plan", "refused", 0, "a; b")]
    assert con.execute("select count(*) from ml.staffing_plan").fetchall() == [(0,)]
    assert refresh(con, made, None, full_checks=True)


def test_what_is_written_beside_a_table_is_whole_and_has_a_version_also_when_it_is_empty(
    con: duckdb.DuckDBPyConnection,
) -> None:
    from ecommerce_platform.warehouse.changes import record_change, table_versions

    record_change(con, "gold.fct_orders", "1")
    con.execute(create_table_sql(CATALOG.contract("gold.dim_customer")))
    scores, curves = CATALOG.contract("ml.uplift_scores"), CATALOG.contract("ml.uplift_curves")
    shown = dict.fromkeys((n for n, c in curves.columns.items() if c.type == "DOUBLE"), 0.5)

    def curve(arm: str) -> dict[str, Any]:
        return {**shown, "experiment_id": "X", "arm": arm, "persons": 9}

    versions = []
    for arms in ([], ["a", "b"], ["b"], []):
        found = Decided("abstained", "why", beside={"ml.uplift_curves": [curve(arm) for arm in arms]})
        refresh_decision(
            con, scores, LEDGER, lambda _, found=found: found, ["gold.fct_orders"], [], arms, beside=[curves]
        )  # fmt: skip
        assert con.execute("select arm from ml.uplift_curves order by 1").fetchall() == [(arm,) for arm in arms]
        versions.append(table_versions(con)[curves.table].version)
    assert versions == sorted(set(versions))
    assert seen(con) == [("uplift_scores", "abstained", 0, "why")]


def test_figures_that_are_none_are_null_and_columns_nobody_knows_an_error() -> None:
    made = frame(LEDGER, [{"decision": "x", "expected_value": float("nan"), "rows": 3}])
    assert made["expected_value"].to_list() == [None]
    with pytest.raises(ValueError, match="no columns y"):
        frame(LEDGER, [{"y": 1}])
