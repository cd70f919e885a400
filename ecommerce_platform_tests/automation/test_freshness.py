"""Which tables must be fresh is data in their contracts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import dagster as dg
import duckdb
import pytest
from dagster._core.scheduler.instigation import InstigatorState

from ecommerce_platform.alerting.alerts import AlertState
from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.orchestration.findings import Watched, look_at_all
from ecommerce_platform.orchestration.freshness import data_to, freshness_policy
from ecommerce_platform.settings import Settings
from ecommerce_platform_tests.automation.harness import open_home


def test_tables_people_look_at_have_a_policy():
    hours = {
        name: t.contract.fresh_within_hours
        for name, t in read_catalog().tables.items()
        if t.contract.fresh_within_hours
    }
    assert {name for name, h in hours.items() if h == 30} >= {"gold.kpi_daily", "gold.kpi_monthly", "gold.kpi_summary"}
    assert hours["gold.rfm"] == 8 * 24


def test_the_policy_warns_before_it_fails():
    contract = read_catalog().contract("gold.kpi_daily")
    assert freshness_policy(contract) == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=30), warn_window=timedelta(hours=24)
    )
    assert freshness_policy(contract.model_copy(update={"fresh_within_hours": None})) is None
    assert freshness_policy(contract.model_copy(update={"fresh_within_hours": 1})) is not None


def test_beside_it_stands_the_day_on_which_the_data_end():
    contract = read_catalog().contract("gold.kpi_daily")
    with duckdb.connect() as con:
        assert data_to(con, contract) == {}
        con.execute("create schema silver")
        con.execute("create table silver.orders (ordered_at timestamp, is_valid boolean)")
        assert data_to(con, contract) == {}, "no order yet"
        con.execute("insert into silver.orders values ('2018-08-29 23:59', true), ('2018-10-17', false)")
        assert data_to(con, contract) == {"data_to": "2018-08-29"}
        assert data_to(con, contract.model_copy(update={"fresh_within_hours": None})) == {}


class _On:
    """An instigator's state, as far as alerts look at it."""

    is_running = True

    def __init__(self, name: str) -> None:
        self.instigator_name = name


def test_what_stands_for_a_state_here_has_what_dagsters_own_has():
    assert {"is_running", "instigator_name"} <= set(dir(InstigatorState))


@pytest.mark.parametrize(
    ("on", "days_later", "told"),
    [
        ([], 3000, False),  # nobody expects data of today from an export of years ago
        (["alerts", "nightly_publish"], 3000, False),
        (["raw_drops"], 7.9, False),
        (["raw_drops"], 8.1, True),  # the day ends, then a week
        (["raw_drops", "daily_load_schedule"], 3000, True),
    ],
)
def test_data_that_end_are_told_of_when_loads_are_on(on: list[str], days_later: float, told: bool, tmp_path: Any):
    contract = read_catalog().contract("gold.kpi_daily")
    table = contract.table
    seen = Watched({table: contract}, [], "EUR", {table: frozenset()}, {table: frozenset()}, frozenset(), {})
    now = (datetime(2018, 8, 29, tzinfo=UTC) + timedelta(days=days_later)).timestamp()
    with open_home(tmp_path / "home") as instance:
        assert list(instance.all_instigator_state()) == []
        made = dg.AssetMaterialization(dg.AssetKey(["gold", "kpi_daily"]), metadata={"data_to": "2018-08-29"})
        instance.report_runless_asset_event(made)
        with patch.object(type(instance), "all_instigator_state", lambda self: [_On(name) for name in on]):
            found = look_at_all(instance, Settings(data_dir=tmp_path), seen, AlertState(), now).found
    found = [finding for finding in found if finding.key == "stale data"]
    assert bool(found) == told
    if told:
        assert found[0].headline == "The data end on 2018-08-29"
        assert " and ".join(sorted(on)) in found[0].what
