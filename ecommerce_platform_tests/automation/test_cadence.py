"""Models have a cadence of their own: a build that does not ask for them leaves them alone until they are due."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.orchestration.assembly import build_definitions
from ecommerce_platform.orchestration.jobs import BUILD_JOB
from ecommerce_platform.orchestration.partitions import WHEN_DUE
from ecommerce_platform.orchestration.resources import open_warehouse
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform.warehouse.changes import record_change

MODEL, SEGMENTS = dg.AssetKey(["ml", "segments_model"]), dg.AssetKey(["ml", "segments"])
PERSONS = """insert into gold.rfm by name select 'p' || i as person_id, 1 + i % 97 as recency_days, 1 + i % 5 as frequency,
    20 + (i * 37) % 400 as monetary, 3 as recency_score, 3 as frequency_score, 3 as monetary_score, 3 as value_score,
    'Loyal' as segment, 1 as orders, date '2024-01-01' as first_order_date, date '2024-03-01' as last_order_date
    from range(?, ?) as r(i)"""
ORDERS = """insert into gold.fct_orders by name select 'o' || i as order_id, 'p' || i % 120 as person_id,
    date '2024-01-01' + cast(i % 180 as integer) as order_date, 20 + (i * 37) % 400 as revenue_amount, true as is_counted
    from range(1500) as r(i)"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = read_settings(data_dir=tmp_path, dagster_home=tmp_path / "home", source="synthetic")
    catalog = read_catalog()
    with open_warehouse(settings).connect() as con:
        for table in (
            "gold.rfm",
            "gold.fct_orders",
            "gold.customer_features",
            "ml.models",
            "ml.evaluations",
            "ml.segments",
        ):
            con.execute(create_table_sql(catalog.contract(table)).replace(" not null", ""))
        con.execute(PERSONS, [0, 120])
        con.execute(ORDERS)
        for table in ("gold.rfm", "gold.fct_orders", "gold.customer_features"):
            record_change(con, table)
    return settings


def built(settings: Settings, *keys: dg.AssetKey, **tags: str) -> dict[str, bool]:
    """Which of the tables changed."""
    job = (
        build_definitions(settings)
        .resolve_job_def(BUILD_JOB)
        .get_subset(asset_selection=set(keys or (MODEL, SEGMENTS)))
    )
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance, tags=tags)
        return {e.asset_key.path[-1]: changed(e) for e in done.all_events if e.is_step_materialization}


def changed(event: Any) -> bool:
    return bool(event.materialization.metadata["changed"].value)


def count(settings: Settings, table: str) -> int:
    with open_warehouse(settings).connect() as con:
        return int(con.execute(f"select count(*) from {table}").fetchall()[0][0])


def test_a_build_leaves_a_model_alone_for_a_week_and_whoever_asks_for_it_gets_it(settings: Settings) -> None:
    due = {WHEN_DUE: "true"}
    assert built(settings, **due) == {"segments_model": True, "segments": True}
    assert count(settings, "ml.segments") == 120

    with open_warehouse(settings).connect() as con:
        con.execute(PERSONS, [120, 150])
        record_change(con, "gold.rfm")
    assert built(settings, **due) == {"segments_model": False, "segments": False}
    assert count(settings, "ml.segments") == 120
    assert count(settings, "ml.models") == 1

    # Scores follow a model that somebody has trained, whatever their own age.
    assert built(settings, MODEL) == {"segments_model": True}
    assert built(settings, **due) == {"segments_model": False, "segments": True}
    assert count(settings, "ml.segments") == 150
    assert count(settings, "ml.models") == 2
    assert built(settings) == {"segments_model": False, "segments": False}

    with open_warehouse(settings).connect() as con:
        con.execute(PERSONS, [150, 160])
        record_change(con, "gold.rfm")
        con.execute("update changes.versions set changed_at = changed_at - interval 7 day where table_name like 'ml.%'")
    assert built(settings, **due) == {"segments_model": True, "segments": True}
    assert count(settings, "ml.segments") == 160
