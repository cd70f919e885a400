"""Our event log holds what Dagster's own would hold, and every process that opens it hands over events in batches."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from ecommerce_platform.automation.event_log import EventLog
from ecommerce_platform.automation.partitions import range_tags
from ecommerce_platform_tests.automation.harness import Shop, make_source, open_home

DAYS = [f"2024-03-{number:02}" for number in range(1, 8)]


def what_is_stored(instance: dg.DagsterInstance) -> dict[str, Any]:
    """After a load of a week and of one of its days again."""
    from datetime import date

    definitions = Shop(make_source()).definitions()
    job = definitions.resolve_job_def("daily_load")
    for first, last in ((DAYS[0], DAYS[-1]), (DAYS[2], DAYS[2])):
        tags = range_tags(date.fromisoformat(first), date.fromisoformat(last))
        assert job.execute_in_process(instance=instance, tags=tags).success
    runs = {run.run_id: str(number) for number, run in enumerate(instance.get_runs())}
    key = dg.AssetKey(["gold", "kpi_daily"])
    return {
        "events": [Counter(e.dagster_event_type for e in instance.all_logs(run)) for run in runs],
        "partitions": instance.get_materialized_partitions(key),
        "newest": [
            (record.partition_key, runs[record.run_id])
            for record in instance.fetch_materializations(key, limit=100).records
        ],
        "assets": sorted(
            (r.asset_entry.asset_key, runs[r.asset_entry.last_materialization.run_id], runs[r.asset_entry.last_run_id])
            for r in instance.get_asset_records()
        ),
        "planned": [
            runs[info.run_id]
            for k in (key, dg.AssetKey(["gold", "kpi_summary"]))
            if (info := instance.event_log_storage.get_latest_planned_materialization_info(k))
        ],
    }


def test_it_holds_what_dagsters_own_holds(tmp_path: Path) -> None:
    with open_home(tmp_path / "ours") as instance:
        assert isinstance(instance.event_log_storage, EventLog)
        ours = what_is_stored(instance)
    (tmp_path / "theirs").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "theirs")) as instance:
        assert isinstance(instance.event_log_storage, SqliteEventLogStorage)
        assert not isinstance(instance.event_log_storage, EventLog)
        theirs = what_is_stored(instance)
    assert len(ours["partitions"]) == len(DAYS)
    assert ours == theirs


def test_who_opens_it_writes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Webserver and daemon import nothing of ours but this class; they plan the runs that are launched."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "")
    del os.environ["DAGSTER_EVENT_BATCH_SIZE"]
    with open_home(tmp_path / "home") as instance:
        instance.get_runs(limit=1)
        assert int(os.environ["DAGSTER_EVENT_BATCH_SIZE"]) > 100
