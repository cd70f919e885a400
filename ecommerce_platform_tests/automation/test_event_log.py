"""The event log stores what Dagster's own would, where Dagster's own finds it; and what makes it differ, works."""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage

from ecommerce_platform.automation import event_log as module
from ecommerce_platform.automation.event_log import EventLog

OURS = "event_log_storage: {module: ecommerce_platform.automation.event_log, class: EventLog, config: {}}\n"
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-08")
KEY = dg.AssetKey(["silver", "orders"])
#: A tag that the event log keeps an index of; of others it does not.
TAG = "dagster/data_version"
RUN = "00000000-0000-4000-8000-000000000001"


# -- what is stored ------------------------------------------------------------------------------------------------


def definitions() -> dg.Definitions:
    """A range of days in one run, with numbers of single days, checks, tags, and a table without partitions."""

    @dg.multi_asset(
        specs=[dg.AssetSpec(KEY, partitions_def=DAYS, code_version="1")],
        check_specs=[dg.AssetCheckSpec("contract", asset=KEY), dg.AssetCheckSpec("whole", asset=KEY)],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def orders(context: dg.AssetExecutionContext) -> Iterator[Any]:
        for number, day in enumerate(context.partition_keys):
            context.add_asset_metadata({"rows": number}, KEY, day)
        context.log.info("half way")
        check = dg.AssetCheckResult(passed=False, check_name="contract", severity=dg.AssetCheckSeverity.WARN)
        yield dg.MaterializeResult(
            asset_key=KEY, metadata={"all": 7}, check_results=[check], data_version=dg.DataVersion("1")
        )

    @dg.asset(deps=[KEY], key=["gold", "days"], code_version="1")
    def days(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        context.log_event(dg.AssetObservation(["gold", "days"], metadata={"seen": 1}))
        return dg.MaterializeResult(metadata={"rows": 3})

    return dg.Definitions(
        assets=[orders, days],
        jobs=[dg.define_asset_job("load", [KEY]), dg.define_asset_job("whole", [days])],
    )


@contextmanager
def opened(home: Path, yaml: str) -> Iterator[dg.DagsterInstance]:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(yaml + "telemetry: {enabled: false}\n")
    with patch.dict(os.environ, {"DAGSTER_HOME": str(home)}):
        instance = dg.DagsterInstance.get()
        try:
            yield instance
        finally:
            instance.dispose()


def run_jobs(instance: dg.DagsterInstance) -> list[str]:
    defs = definitions()
    tags = {"dagster/asset_partition_range_start": "2024-01-02", "dagster/asset_partition_range_end": "2024-01-05"}
    again = dict.fromkeys(tags, "2024-01-04")
    return [
        defs.resolve_job_def("load").execute_in_process(instance=instance, tags=tags).run_id,
        defs.resolve_job_def("whole").execute_in_process(instance=instance).run_id,
        defs.resolve_job_def("load").execute_in_process(instance=instance, tags=again).run_id,
    ]


def told(entry: EventLogEntry) -> tuple:
    """An event without what differs between two runs of the same job."""
    event = entry.dagster_event
    if event is None:
        return (entry.level, entry.user_message)
    metadata: dict = {}
    if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
        metadata = dict(event.materialization.metadata) | dict(event.materialization.tags or {})
    return (event.event_type_value, event.step_key, str(event.asset_key), event.partition, str(metadata))


def remembered(instance: dg.DagsterInstance, runs: list[str]) -> dict[str, Any]:
    """All that the UI and the platform ask the event log for."""
    number = {run_id: n for n, run_id in enumerate(runs)}
    days, checks = dg.AssetKey(["gold", "days"]), [dg.AssetCheckKey(KEY, n) for n in ("contract", "whole")]
    log = instance.event_log_storage
    materialized = instance.fetch_materializations(KEY, limit=100, ascending=True).records
    latest = log.get_latest_asset_check_execution_by_key(checks)
    records = {str(r.asset_entry.asset_key): r.asset_entry for r in instance.get_asset_records([KEY, days])}
    return {
        "events": [[told(r.event_log_entry) for r in instance.get_records_for_run(run).records] for run in runs],
        "partitions": sorted(instance.get_materialized_partitions(KEY)),
        "materialized": [(number[r.run_id], told(r.event_log_entry), r.storage_id) for r in materialized],
        "latest": {
            k: (number[r.last_run_id], r.last_materialization_storage_id, told(r.last_materialization_record.event_log_entry))
            for k, r in records.items()
        },
        "latest_by_partition": log.get_latest_storage_id_by_partition(KEY, DagsterEventType.ASSET_MATERIALIZATION),
        "planned": log.get_latest_storage_id_by_partition(KEY, DagsterEventType.ASSET_MATERIALIZATION_PLANNED),
        "tags": log.get_latest_tags_by_partition(KEY, DagsterEventType.ASSET_MATERIALIZATION, [TAG]),
        "checks": {k.name: (number[r.run_id], r.status.value, told(r.event), r.partition) for k, r in latest.items()},
        "check_history": [
            [(number[r.run_id], r.status.value) for r in log.get_asset_check_execution_history(k, limit=10)] for k in checks
        ],
        "observed": [told(r.event_log_entry) for r in instance.fetch_observations(days, limit=10).records],
        "statuses": [
            (number[r.run_id], r.storage_id)
            for r in instance.fetch_run_status_changes(DagsterEventType.RUN_SUCCESS, limit=10).records
        ],
        "stats": [log.get_stats_for_run(run).materializations for run in runs],
        "asset_keys": sorted(str(key) for key in instance.all_asset_keys()),
    }  # fmt: skip


def tables(home: Path) -> dict[str, int]:
    """Rows of every table of the index and of all runs, read past Dagster."""
    counts: dict[str, int] = {}
    for path in (home / "history" / "runs").glob("*.db"):
        kind = "index" if path.stem == "index" else "run"
        with closing(sqlite3.connect(path)) as con:
            names = [n for (n,) in con.execute("select name from sqlite_master where type = 'table'")]
            for name in names:
                rows = con.execute(f"select count(*) from {name}").fetchone()[0]
                counts[f"{kind}.{name}"] = counts.get(f"{kind}.{name}", 0) + rows
            assert con.execute("pragma journal_mode").fetchone() == ("wal",)
    return counts


@pytest.mark.parametrize("batch", ["0", "3", "1000"])
def test_what_is_stored_is_what_dagsters_own_class_stores(
    tmp_path: Path, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", batch)
    stored = []
    for name, yaml in (("own", ""), ("ours", OURS)):
        with opened(tmp_path / name, yaml) as instance:
            assert isinstance(instance.event_log_storage, EventLog) == bool(yaml)
            stored.append((remembered(instance, run_jobs(instance)), tables(tmp_path / name)))
    assert stored[0] == stored[1]
    assert stored[1][0]["partitions"] == ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]


@pytest.mark.parametrize(("first", "then"), [("", OURS), (OURS, "")], ids=["own, then ours", "ours, then own"])
def test_either_class_goes_on_with_what_the_other_has_written(
    tmp_path: Path, first: str, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    with opened(tmp_path / "home", first) as instance:
        runs = run_jobs(instance)
        before = remembered(instance, runs)
    with opened(tmp_path / "home", then) as instance:
        assert remembered(instance, runs) == before
        more = run_jobs(instance)
        assert len(instance.fetch_materializations(KEY, limit=100).records) == 10
        after = remembered(instance, more + runs)
    with opened(tmp_path / "home", first) as instance:
        assert remembered(instance, more + runs) == after


# -- a storage by itself -------------------------------------------------------------------------------------------


def message(text: str, run_id: str = RUN) -> EventLogEntry:
    return EventLogEntry(
        error_info=None, level=20, user_message=text, run_id=run_id, timestamp=time.time(), step_key=None, job_name="load"
    )  # fmt: skip


def materialization(day: str, run_id: str = RUN, key: dg.AssetKey = KEY) -> EventLogEntry:
    done = dg.AssetMaterialization(key, partition=day, tags={TAG: day})
    event = DagsterEvent("ASSET_MATERIALIZATION", "load", event_specific_data=StepMaterializationData(done, []))
    return EventLogEntry(
        error_info=None, level=10, user_message="", run_id=run_id, timestamp=time.time(), step_key="s", job_name="load",
        dagster_event=event,
    )  # fmt: skip


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with opened(tmp_path / "home", OURS) as found:
        yield found


@pytest.fixture
def log(instance: dg.DagsterInstance) -> EventLog:
    found = instance.event_log_storage
    assert isinstance(found, EventLog)
    return found


def texts(log: SqliteEventLogStorage, run_id: str = RUN) -> list[str]:
    return [r.event_log_entry.user_message for r in log.get_records_for_run(run_id).records]


def test_a_batch_that_fails_leaves_nothing_behind(log: EventLog, instance: dg.DagsterInstance) -> None:
    log.store_event(materialization("2024-01-01"))
    events = [materialization(f"2024-01-0{n}") for n in range(2, 6)]
    for broken in ("store_asset_event_tags", "store_asset_event"):
        with patch.object(log, broken, side_effect=OSError("disk full")), pytest.raises(OSError, match="disk full"):
            log.store_event_batch(events)
        assert len(log.get_records_for_run(RUN).records) == 1
        assert instance.get_materialized_partitions(KEY) == {"2024-01-01"}
    log.store_event_batch(events)
    assert len(log.get_records_for_run(RUN).records) == 5
    assert len(instance.get_materialized_partitions(KEY)) == 5


def test_dagster_stores_the_events_of_a_failed_batch_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    with opened(tmp_path / "fine", OURS) as instance:
        expected = remembered(instance, run_jobs(instance))
    with opened(tmp_path / "fails", OURS) as instance:
        with patch.object(EventLog, "_store_rows", side_effect=OSError("disk full")):
            runs = run_jobs(instance)
        assert remembered(instance, runs) == expected


def test_a_batch_of_events_of_other_kinds_is_stored_as_one(log: EventLog) -> None:
    log.store_event_batch([message("a"), message("b"), materialization("2024-01-01"), message("c")])
    assert texts(log) == ["a", "b", "", "c"]
    broken = patch.object(log, "_store_asset_event", side_effect=OSError("disk full"))
    with broken, pytest.raises(OSError, match="disk full"):
        log.store_event_batch([message("d"), materialization("2024-01-02")])
    assert texts(log) == ["a", "b", "", "c"]


def test_a_batch_over_more_runs_than_stay_open(log: EventLog, instance: dg.DagsterInstance) -> None:
    runs = [f"{RUN[:-2]}{n:02}" for n in range(module._OPEN + 4)]
    log.store_event_batch([materialization(f"2024-01-0{n % 7 + 1}", run) for n in (0, 1) for run in runs])
    assert [len(log.get_records_for_run(run).records) for run in runs] == [2] * len(runs)
    newest = instance.get_asset_records([KEY])[0].asset_entry
    ids = {r.storage_id: r.run_id for r in instance.fetch_materializations(KEY, limit=100).records}
    assert len(ids) == 2 * len(runs)
    assert (newest.last_materialization_storage_id, newest.last_run_id) == (max(ids), ids[max(ids)])


def handles(folder: Path) -> int:
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except FileNotFoundError:
            continue
    return sum(link.startswith(str(folder)) for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts file handles where the system lists them")
def test_many_runs_leave_few_files_open(log: EventLog, tmp_path: Path) -> None:
    runs = [f"{RUN[:-3]}1{number:02}" for number in range(module._OPEN + 4)]
    for run in runs:
        log.store_event(message("x", run))
    # Database, log and shared memory of each.
    assert handles(tmp_path / "home" / "history" / "runs") <= 3 * module._OPEN
    assert [texts(log, run) for run in runs] == [["x"]] * len(runs)
    log.dispose()
    assert handles(tmp_path / "home" / "history" / "runs") == 0
    log.store_event(message("after"))
    assert texts(log) == ["after"]


@pytest.mark.parametrize("shard", [RUN, "index"])
def test_a_database_that_was_deleted_begins_anew(log: EventLog, instance: dg.DagsterInstance, shard: str) -> None:
    log.store_event(materialization("2024-01-01"))
    for path in Path(log.path_for_shard(shard)).parent.glob(f"{shard}.db*"):
        path.unlink()
    assert len(log.get_records_for_run(RUN).records) == (0 if shard == RUN else 1)
    assert len(instance.get_materialized_partitions(KEY)) == (1 if shard == RUN else 0)
    log.store_event_batch([materialization("2024-01-02"), materialization("2024-01-03")])
    assert len(log.get_records_for_run(RUN).records) == (2 if shard == RUN else 3)
    assert instance.get_materialized_partitions(KEY) >= {"2024-01-02", "2024-01-03"}


def test_a_database_that_was_exchanged_is_the_one_that_is_used(log: EventLog, tmp_path: Path) -> None:
    log.store_event(message("before"))
    path = Path(log.path_for_shard(RUN))
    other = SqliteEventLogStorage(str(tmp_path / "other"))
    other.store_event(message("other"))
    for old in path.parent.glob(f"{RUN}.db*"):
        old.unlink()
    shutil.copy(other.path_for_shard(RUN), path)
    log.store_event(message("after"))
    assert texts(log) == ["other", "after"]
    with closing(sqlite3.connect(path)) as con:
        assert con.execute("select count(*) from event_logs").fetchone() == (2,)


def test_deleted_runs_are_gone(log: EventLog, instance: dg.DagsterInstance) -> None:
    log.store_event_batch([materialization("2024-01-01"), materialization("2024-01-02")])
    log.delete_events(RUN)
    assert log.get_records_for_run(RUN).records == []
    assert instance.get_materialized_partitions(KEY) == set()


# -- several processes ---------------------------------------------------------------------------------------------

WRITER = """
import sys, time
from ecommerce_platform.automation.event_log import EventLog
from ecommerce_platform_tests.automation.test_event_log import materialization, message
folder, name, run, count, batch = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
log = EventLog(folder)
for start in range(0, count, batch):
    events = [materialization(f"{name}-{n}", run) for n in range(start, min(count, start + batch))]
    log.store_event_batch(events) if batch > 1 else log.store_event(events[0])
"""


def start(folder: Path, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("same_run", [True, False], ids=["one run", "a run each"])
def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path, same_run: bool) -> None:
    """Both open the folder when it is new, one writes event by event, the other in batches."""
    runs = [RUN, RUN if same_run else RUN[:-1] + "2"]
    writers = [start(tmp_path, name, run, 200, batch) for name, run, batch in zip("ab", runs, (1, 20), strict=True)]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], errors
    assert "locked" not in "".join(errors)
    log = EventLog(str(tmp_path))
    per_run = [len(log.get_records_for_run(run).records) for run in runs]
    assert per_run == ([400, 400] if same_run else [200, 200])
    newest = log.get_latest_storage_id_by_partition(KEY, DagsterEventType.ASSET_MATERIALIZATION)
    assert newest.keys() == {f"{name}-{n}" for name in "ab" for n in range(200)}
    assert len(set(newest.values())) == 400
    with closing(sqlite3.connect(tmp_path / "index.db")) as con:
        tags = dict(con.execute("select event_id, value from asset_event_tags where key = ?", [TAG]).fetchall())
        assert tags == {i: day for day, i in newest.items()}
        entry = con.execute("select last_materialization from asset_keys").fetchone()[0]
    assert json.loads(entry)["storage_id"] == max(newest.values())
    log.dispose()


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_watcher_hears_of_each_event_while_the_writer_keeps_the_database_open(log: EventLog) -> None:
    """The UI's live view of a run: events must not wait until the run's process ends."""
    heard: list[str] = []
    log.store_event(message("0"))
    cursor = log.get_records_for_run(RUN).cursor

    def callback(entry: EventLogEntry, _: str) -> None:
        heard.append(entry.user_message)

    log.watch(RUN, cursor, callback)
    writer = EventLog(log._base_dir)
    for number in range(1, 4):
        writer.store_event(message(str(number)))
        assert wait_until(lambda: len(heard) == number)  # noqa: B023
    log.end_watch(RUN, callback)
    writer.store_event(message("4"))
    time.sleep(0.3)
    assert heard == ["1", "2", "3"]
    writer.dispose()
