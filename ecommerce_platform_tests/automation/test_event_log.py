"""The event log stores what Dagster's own would, where Dagster's own finds it; and what makes it differ, works."""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.plan.objects import StepFailureData, StepSuccessData
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.sql import stamp_alembic_rev

from ecommerce_platform.orchestration import event_log as module
from ecommerce_platform.orchestration.compaction import COMPACT
from ecommerce_platform.orchestration.event_log import EventLog

OURS = "event_log_storage: {module: ecommerce_platform.orchestration.event_log, class: EventLog, config: {}}\n"
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
            context.add_asset_metadata({"rows_landed": number}, KEY, day)
        context.log.info("half way")
        check = dg.AssetCheckResult(passed=False, check_name="contract", severity=dg.AssetCheckSeverity.WARN)
        yield dg.MaterializeResult(
            asset_key=KEY, metadata={"all": 7}, check_results=[check], data_version=dg.DataVersion("1")
        )

    @dg.asset(deps=[KEY], key=["gold", "days"], code_version="1")
    def days(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        context.log.info("a line")
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


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, int]]:
    """What Dagster's own class stores of the same runs; planned are days together, as ours does."""
    home = tmp_path_factory.mktemp("own") / "home"
    together = patch.object(
        SqliteEventLogStorage, "supports_partition_subset_in_asset_materialization_planned_events", True
    )
    with together, opened(home, "") as instance:
        assert not isinstance(instance.event_log_storage, EventLog)
        return remembered(instance, run_jobs(instance)), tables(home)


@pytest.mark.parametrize("batch", ["0", "3", "1000"])
def test_what_is_stored_is_what_dagsters_own_class_stores(
    own: tuple[dict[str, Any], dict[str, int]], tmp_path: Path, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", batch)
    with opened(tmp_path / "ours", OURS) as instance:
        assert isinstance(instance.event_log_storage, EventLog)
        stored = remembered(instance, run_jobs(instance)), tables(tmp_path / "ours")
    assert stored == own
    assert stored[0]["partitions"] == ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]


@pytest.mark.parametrize(("first", "then"), [("", OURS), (OURS, "")], ids=["own, then ours", "ours, then own"])
def test_either_class_goes_on_with_what_the_other_has_written(
    tmp_path: Path, first: str, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    with opened(tmp_path / "home", first) as instance:
        runs = run_jobs(instance)
        before = remembered(instance, runs)
    with closing(sqlite3.connect(tmp_path / "home/history/runs/index.db")) as con:
        con.execute(f"pragma user_version = {COMPACT}")  # else ours would make it small first: test_compaction.py
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


def write(folder: Path, name: str, run: str, count: int, batch: int) -> None:
    log = EventLog(str(folder))
    for start in range(0, count, batch):
        events = [materialization(f"{name}-{n}", run) for n in range(start, min(count, start + batch))]
        log.store_event_batch(events) if batch > 1 else log.store_event(events[0])


@pytest.mark.parametrize("same_run", [True, False], ids=["one run", "a run each"])
def test_processes_that_write_at_the_same_time_lose_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], same_run: bool
) -> None:
    """Both open the folder when it is new, one writes event by event, the other in batches."""
    runs = [RUN, RUN if same_run else RUN[:-1] + "2"]
    start = get_context("fork").Process
    writers = [
        start(target=write, args=(tmp_path, name, run, 200, batch))
        for name, run, batch in zip("ab", runs, (1, 20), strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=120)
    errors = capfd.readouterr().err
    assert [writer.exitcode for writer in writers] == [0, 0], errors
    assert "locked" not in errors
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


def test_who_opens_a_folder_while_another_creates_its_tables_waits(tmp_path: Path) -> None:
    """Dagster's own class takes an index without a revision for an old one: stamped twice, it never opens again."""
    stamped, second_came = [], threading.Event()

    def stamp(config: Any, connection: Any, rev: str) -> None:
        stamped.append(rev)
        second_came.wait(0.5)
        stamp_alembic_rev(config, connection, rev)

    def second() -> None:
        EventLog(str(tmp_path)).store_event(materialization("2024-01-02"))
        second_came.set()

    with patch.object(sqlite_event_log, "stamp_alembic_rev", stamp):
        opener = threading.Thread(target=EventLog, args=[str(tmp_path)])
        opener.start()
        assert wait_until(lambda: bool(stamped))
        second()
        opener.join()
    assert stamped == ["head", "head"]  # of the index, then of the run


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


# -- what a step says goes together --------------------------------------------------------------------------------

STEP = "silver__orders"


def said(kind: str, run_id: str = RUN, data: Any = None) -> EventLogEntry:
    usual = {
        "STEP_SUCCESS": StepSuccessData(duration_ms=1.0),
        "STEP_FAILURE": StepFailureData(error=None, user_failure_data=None),
        "STEP_OUTPUT": StepOutputData(StepOutputHandle(STEP, "result")),
        "ENGINE_EVENT": EngineEventData(),
    }
    data = data or usual.get(kind)
    event = DagsterEvent(kind, "load", step_key=STEP, event_specific_data=data)
    return EventLogEntry(
        error_info=None, level=10, user_message="", run_id=run_id, timestamp=time.time(), step_key=STEP, job_name="load",
        dagster_event=event,
    )  # fmt: skip


def line(text: str) -> EventLogEntry:
    return message(text)._replace(step_key=STEP)


def verdict(name: str, passed: bool = True) -> EventLogEntry:
    data = AssetCheckEvaluation(asset_key=KEY, check_name=name, passed=passed, metadata={}, target_materialization_data=None, severity=dg.AssetCheckSeverity.WARN)  # fmt: skip
    return said("ASSET_CHECK_EVALUATION", data=data)


def written(log: EventLog, run_id: str = RUN) -> list[str]:
    """What another process finds, read past the storage: kind, or line of the log."""
    path = Path(log.path_for_shard(run_id))
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as con:
        if not con.execute("select 1 from sqlite_master where name = 'event_logs'").fetchone():
            return []
        rows = con.execute("select dagster_event_type, event from event_logs order by id").fetchall()
    return [kind or json.loads(event)["user_message"] for kind, event in rows]


@pytest.fixture
def held(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> EventLog:
    """A storage that holds as long as nobody asks."""
    monkeypatch.setattr(module, "_SHOWN_AFTER", 3600)
    return log


def test_a_step_is_stored_when_its_table_is_made_and_when_it_ends(held: EventLog) -> None:
    for event in (said("STEP_START"), line("a"), line("b"), said("STEP_OUTPUT")):
        held.store_event(event)
    assert written(held) == []
    held.store_event(materialization("2024-01-01")._replace(step_key=STEP))
    so_far = ["STEP_START", "a", "b", "STEP_OUTPUT", "ASSET_MATERIALIZATION"]
    assert written(held) == so_far
    held.store_event(verdict("contract"))
    assert written(held) == so_far
    held.store_event(said("STEP_SUCCESS"))
    assert written(held) == [*so_far, "ASSET_CHECK_EVALUATION", "STEP_SUCCESS"]
    held.store_event(line("after the step"))
    assert written(held)[-1] == "after the step"


@pytest.mark.parametrize("kind", ["STEP_FAILURE", "STEP_UP_FOR_RETRY", "ENGINE_EVENT", "PIPELINE_CANCELING"])
def test_what_others_wait_for_is_stored_at_once_and_after_what_was_said_before(held: EventLog, kind: str) -> None:
    held.store_event(said("STEP_START"))
    held.store_event(line("a"))
    held.store_event(said(kind))
    assert written(held) == ["STEP_START", "a", kind]


def test_what_no_running_step_says_is_stored_at_once(held: EventLog) -> None:
    held.store_event(line("of a step in another process"))
    held.store_event(message("of no step"))
    assert written(held) == ["of a step in another process", "of no step"]


def test_who_asks_in_the_same_process_is_told_everything(held: EventLog) -> None:
    held.store_event(said("STEP_START"))
    held.store_event(verdict("contract", passed=False))
    check = dg.AssetCheckKey(KEY, "contract")
    assert held.get_latest_asset_check_execution_by_key([check])[check].status.value == "FAILED"
    held.store_event(line("a"))
    assert texts(held) == ["", "", "a"]


def test_a_verdict_given_twice_in_one_step_is_one_row_as_with_dagsters_own(held: EventLog, tmp_path: Path) -> None:
    own = SqliteEventLogStorage(str(tmp_path / "own"))
    found = []
    for storage in (held, own):
        for event in (said("STEP_START"), verdict("a"), verdict("b"), verdict("a", passed=False), said("STEP_SUCCESS")):
            storage.store_event(event)
        storage.store_event(verdict("b", passed=False))
        rows = [storage.get_asset_check_execution_history(dg.AssetCheckKey(KEY, name), limit=9) for name in "ab"]
        found.append([[(r.id, r.status.value, r.event and r.event.timestamp > 0) for r in of_one] for of_one in rows])
    assert found[0] == found[1]
    assert [len(of_one) for of_one in found[0]] == [1, 1]


def test_what_is_held_is_shown_soon_though_the_step_goes_on_silently(log: EventLog) -> None:
    log.store_event(said("STEP_START"))
    log.store_event(line("now a long piece of work"))
    assert wait_until(lambda: written(log) == ["STEP_START", "now a long piece of work"])


def test_the_thread_that_looks_after_it_ends_and_begins_again(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LINGERS", 0.05)
    log.store_event(said("STEP_START"))
    assert wait_until(lambda: log._keeper is None)
    log.store_event(line("a"))
    assert wait_until(lambda: written(log) == ["STEP_START", "a"])


def test_a_step_that_says_very_much_is_not_held_in_memory(held: EventLog) -> None:
    held.store_event(said("STEP_START"))
    for number in range(module._HOLDS):
        held.store_event(line(str(number)))
    assert len(written(held)) == module._HOLDS
    held.dispose()
    assert len(written(held)) == module._HOLDS + 1


def test_what_cannot_be_stored_together_is_stored_one_by_one_or_told_to_the_step(held: EventLog) -> None:
    held.store_event(said("STEP_START"))
    held.store_event(line("a"))
    with patch.object(held, "_store_rows", side_effect=OSError("disk full")):
        held.store_event(said("STEP_SUCCESS"))
    assert written(held) == ["STEP_START", "a", "STEP_SUCCESS"]
    held.store_event(said("STEP_START"))
    with (
        patch.object(held, "_open", side_effect=OSError("disk full")),
        pytest.raises(OSError, match="disk full"),
    ):
        held.store_event(said("STEP_SUCCESS"))


def test_a_disk_that_was_full_for_a_while_loses_nothing_that_waits(log: EventLog) -> None:
    with patch.object(log, "_store_rows", side_effect=OSError("disk full")) as tried:
        log.store_event(said("STEP_START"))
        assert wait_until(lambda: tried.call_count > 1)
    assert wait_until(lambda: written(log) == ["STEP_START"])


KILLED = """
import os, signal, sys, time
from ecommerce_platform.orchestration import event_log as module
from ecommerce_platform_tests.automation.test_event_log import line, materialization, said, verdict, STEP
module._SHOWN_AFTER = 3600
log = module.EventLog(sys.argv[1])
for event in (said("STEP_START"), line("a"), materialization("2024-01-01")._replace(step_key=STEP), verdict("a"), line("b")):
    log.store_event(event)
if sys.argv[2] == "fork":
    if os.fork() == 0:
        log.store_event(line("of the child"))
        sys.exit()
    os.wait()
elif sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["exit", "kill", "fork"])
def test_a_killed_process_loses_the_last_words_of_its_step_and_one_that_ends_loses_nothing(
    tmp_path: Path, how: str
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), how], capture_output=True, text=True)
    assert done.returncode == (-9 if how == "kill" else 0), done.stderr
    log = EventLog(str(tmp_path))
    stored, end = ["STEP_START", "a", "ASSET_MATERIALIZATION"], ["ASSET_CHECK_EVALUATION", "b"]
    assert [text for text in written(log) if text != "of the child"] == (stored if how == "kill" else stored + end)
    assert log.get_latest_storage_id_by_partition(KEY, DagsterEventType.ASSET_MATERIALIZATION) == {"2024-01-01": 1}
    check = dg.AssetCheckKey(KEY, "a")
    assert len(log.get_asset_check_execution_history(check, limit=9)) == (0 if how == "kill" else 1)
    assert log.get_records_for_run(RUN).records[-1].storage_id == len(written(log))
    log.dispose()


@pytest.mark.parametrize("wiped", [False, True])
def test_tags_of_days_and_records_of_tables_are_those_that_dagsters_own_finds(
    log: EventLog, instance: dg.DagsterInstance, wiped: bool
) -> None:
    for day in ("2024-01-01", "2024-01-02", "2024-01-01"):
        log.store_event(materialization(day))
    if wiped:
        log.wipe_asset(KEY)
        log.store_event(materialization("2024-01-03"))
    asked = (KEY, DagsterEventType.ASSET_MATERIALIZATION, [TAG], ["2024-01-01", "2024-01-03", "2024-01-05"])
    tags, records = log.get_latest_tags_by_partition(*asked), log.get_asset_records([KEY])
    assert tags == SqliteEventLogStorage.get_latest_tags_by_partition(log, *asked)
    assert tags == ({"2024-01-03": {TAG: "2024-01-03"}} if wiped else {"2024-01-01": {TAG: "2024-01-01"}})
    own = SqliteEventLogStorage(log._base_dir)
    assert records == own.get_asset_records([KEY])


def test_an_event_of_no_run_is_stored_once(log: EventLog, instance: dg.DagsterInstance) -> None:
    """What the button “Report materialization events” does."""
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition="2024-01-01"))
    assert len(instance.fetch_materializations(KEY, limit=9).records) == 1


def test_a_step_needs_few_transactions(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table, its verdicts and its end; Dagster's own takes one or two for each event."""
    monkeypatch.setattr(module, "_SHOWN_AFTER", 3600)
    stored = []
    real = EventLog._store_rows
    monkeypatch.setattr(EventLog, "_store_rows", lambda self, held: (stored.append(len(held)), real(self, held)))
    job = definitions().resolve_job_def("load")
    day = dict.fromkeys(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), "2024-01-02")
    run = job.execute_in_process(instance=instance, tags=day).run_id
    events = [r.event_log_entry.dagster_event for r in instance.get_records_for_run(run).records]
    assert len(events) == sum(stored)
    assert len([n for n in stored if n > 1]) <= 3
    assert len(stored) <= 12
