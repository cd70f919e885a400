"""Which tables must be fresh is data in their contracts."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from ecommerce_platform.automation.freshness import freshness_policy
from ecommerce_platform.contracts.catalog import read_catalog


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
