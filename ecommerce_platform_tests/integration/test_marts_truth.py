"""What was planted in the generated shop is found in the marts, within the bounds that they give; on a seed that none was built on."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log, sqrt
from typing import TYPE_CHECKING, Any

import pytest

from ecommerce_platform.simulation import read_truth
from ecommerce_platform.simulation.shop import generate_shop
from ecommerce_platform_tests.driver import Driver

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

pytestmark = pytest.mark.long
#: Of chance alone a figure strays further in one of 370 cases.
SIGMAS = 3


@pytest.fixture(scope="module")
def planted_and_con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], DuckDBPyConnection]]:
    folder = tmp_path_factory.mktemp("truth-")
    generate_shop(folder, orders=60_000, days=400, seed=431, dirty_share=0)
    driver = Driver.of("synthetic", folder)
    driver.build()
    with driver.connect() as con:
        yield read_truth(folder).planted, con


@pytest.fixture
def planted(planted_and_con: tuple[dict[str, Any], DuckDBPyConnection]) -> dict[str, Any]:
    return planted_and_con[0]


@pytest.fixture
def con(planted_and_con: tuple[dict[str, Any], DuckDBPyConnection]) -> DuckDBPyConnection:
    return planted_and_con[1]


def test_incremental_orders_of_all_campaigns_are_those_that_were_planted(planted: Any, con: DuckDBPyConnection) -> None:
    truth = {c["campaign_id"]: c["incremental_orders"] for c in planted["campaigns"]}
    rows = con.execute(
        "select campaign_id, incremental_orders, (incremental_orders_high - incremental_orders) / 1.96 "
        "from gold.campaign_performance where incremental_orders is not null"
    ).fetchall()
    assert {row[0] for row in rows} <= truth.keys(), "a sale that is held everywhere has nothing to be compared with"
    assert len(rows) >= 10
    found, error = sum(row[1] for row in rows), sqrt(sum(row[2] ** 2 for row in rows))
    assert abs(found - sum(truth[row[0]] for row in rows)) < SIGMAS * error
    inside = sum(abs(orders - truth[name]) <= 1.96 * error for name, orders, error in rows)
    assert inside >= 0.8 * len(rows)


def test_late_deliveries_cost_as_many_customers_as_were_planted(planted: Any, con: DuckDBPyConnection) -> None:
    ((ratio, low, high),) = con.execute(
        "select adjusted_ratio, adjusted_ratio_low, adjusted_ratio_high from gold.delivery_experience "
        "where exposure = 'late' and level = 'late'"
    ).fetchall()
    error = (log(high) - log(low)) / 2 / 1.96
    expected = 1 - planted["late_delivery_leave_probability"]
    assert ratio * exp(-SIGMAS * error) < expected < ratio * exp(SIGMAS * error)
    assert high < 1


def test_the_pairs_with_the_surest_lift_are_those_that_were_planted(planted: Any, con: DuckDBPyConnection) -> None:
    pairs = {frozenset(pair) for pair in planted["companions"]}
    surest = con.execute(
        "select product_id, other_product_id from gold.product_affinity order by lift_low desc, product_id, other_product_id limit 100"
    ).fetchall()
    assert sum(frozenset(pair) in pairs for pair in surest) >= 95


def test_visits_go_on_from_step_to_step_as_often_as_was_planted(planted: Any, con: DuckDBPyConnection) -> None:
    ((visits, *steps),) = con.execute(
        "select sum(sessions), sum(sessions_viewed), sum(sessions_carted), sum(sessions_checked_out), sum(sessions_purchased) "
        "from gold.funnel_daily"
    ).fetchall()
    for share, before, after in zip(planted["funnel"], [visits, *steps], steps, strict=False):
        assert abs(after / before - share) < SIGMAS * sqrt(share * (1 - share) / before) + 0.01


def test_findings_are_what_was_planted(planted: Any, con: DuckDBPyConnection) -> None:
    found = con.execute("select topic, item, effect, source_table, source_rows from gold.insights").fetchall()
    items: dict[str, dict[str, float]] = {}
    for topic, item, effect, table, condition in found:
        items.setdefault(topic, {})[item] = effect
        assert con.execute(f"select count(*) from {table} where {condition}").fetchall() > [(0,)], item
    assert {"products", "churn"} <= items.keys()
    assert {frozenset(item.split(" + ")) for item in items["products"]} <= {frozenset(p) for p in planted["companions"]}
    truth = {c["campaign_id"]: c["incremental_orders"] for c in planted["campaigns"]}
    assert all(truth[item] > 0 and effect > 0 for item, effect in items.get("campaigns", {}).items())
    # Late parcels cost customers.
    assert all(effect < 1 for item, effect in items.get("delivery", {}).items() if item.startswith("late"))


def test_sales_are_found_to_lead_what_is_said_on_social_networks(con: DuckDBPyConnection) -> None:
    ((lag, is_sure, low),) = con.execute(
        "select lag_days, is_sure, correlation_low from gold.correlations "
        "where first_series = 'orders' and second_series = 'social_interactions' and is_strongest"
    ).fetchall()
    assert is_sure
    assert low > 0
    assert lag > 0, "posts follow parcels, which follow orders"
