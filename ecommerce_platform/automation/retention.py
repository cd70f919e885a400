"""Which runs are forgotten, and when. Ticks of sensors and schedules are purged by Dagster (`dagster.yaml`).

Deleting a run deletes its materializations: a table or a partition whose newest materialization it holds would look
as if it had never been built, and would be built again. So a run goes only when nothing's newest state is in it.
"""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

PRUNE_JOB = "prune_runs"

_PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start")
_PAGE = 500


@dataclass(frozen=True)
class Pruned:
    """What a call did: the runs it deleted, how many old ones had to stay, and whether it stopped before the end."""

    deleted: tuple[str, ...]
    kept: int
    unfinished: bool


def prune_runs(
    instance: dg.DagsterInstance,
    *,
    failed_days: int = 30,
    successful_days: int = 90,
    max_runs: int = 500,
    max_seconds: float = 120,
    now: datetime | None = None,
) -> Pruned:
    """Deletes old runs with their events and logs, oldest first.

    Failed and canceled runs go after `failed_days`, successful runs without partitions after `successful_days`; runs
    of days stay. A run that holds the newest materialization of a table or of a partition, or the newest result of a
    check, stays however old it is.

    Args:
        instance: the Dagster instance.
        failed_days: age of failed and canceled runs that are deleted.
        successful_days: age of successful runs that are deleted.
        max_runs: deletes no more than this; the next call goes on.
        max_seconds: stops after this time; the next call goes on.
        now: the current time (tests).
    """
    now = now or datetime.now(UTC)
    deadline = time.monotonic() + max_seconds
    deleted: list[str] = []
    kept = 0
    for run_id in _old_runs(instance, now, failed_days, successful_days):
        if len(deleted) >= max_runs or time.monotonic() > deadline:
            return Pruned(tuple(deleted), kept, unfinished=True)
        if _holds_newest(instance, run_id):
            kept += 1
            continue
        instance.delete_run(run_id)
        # Captured output lies in a folder per run, which `delete_run` leaves behind.
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        deleted.append(run_id)
    return Pruned(tuple(deleted), kept, unfinished=False)


def prune_job() -> dg.JobDefinition:
    """The job `prune_runs`; its ages are configuration."""

    class Ages(dg.Config):
        """Ages in days after which runs are deleted, and how many at most."""

        failed_days: int = 30
        successful_days: int = 90
        max_runs: int = 500

    @dg.op(name="delete_old_runs")
    def delete_old_runs(context: dg.OpExecutionContext, config: Ages) -> None:
        pruned = prune_runs(
            context.instance,
            failed_days=config.failed_days,
            successful_days=config.successful_days,
            max_runs=config.max_runs,
        )
        rest = "; the next run goes on" if pruned.unfinished else ""
        context.log.info(
            f"{len(pruned.deleted)} old runs deleted, {pruned.kept} kept because something's newest state is in "
            f"them{rest}"
        )

    @dg.job(
        name=PRUNE_JOB,
        executor_def=dg.in_process_executor,
        description="Deletes failed and canceled runs after 30 days and successful runs without partitions after 90, "
        "except those that hold the newest materialization or check result of a table.",
    )
    def prune() -> None:
        delete_old_runs()

    return prune


def _old_runs(instance: dg.DagsterInstance, now: datetime, failed_days: int, successful_days: int) -> Iterator[str]:
    kinds = (
        ([dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED], failed_days),
        ([dg.DagsterRunStatus.SUCCESS], successful_days),
    )
    for statuses, days in kinds:
        condition = dg.RunsFilter(statuses=statuses, updated_before=now - timedelta(days=days))
        # Only names are kept, and all before the first is deleted: the cursor is a run that must still be there.
        found: list[str] = []
        cursor = None
        while page := instance.get_run_records(condition, limit=_PAGE, cursor=cursor, ascending=True):
            cursor = page[-1].dagster_run.run_id
            found += [r.dagster_run.run_id for r in page if not (r.dagster_run.is_success and _of_days(r.dagster_run))]
        yield from found


def _of_days(run: dg.DagsterRun) -> bool:
    return any(tag in run.tags for tag in _PARTITION_TAGS)


def _holds_newest(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a table, a partition or a check would lose its newest state with this run."""
    partitions: dict[dg.AssetKey, set[str | None]] = {}
    checks: set[dg.AssetCheckKey] = set()
    for entry in instance.all_logs(
        run_id, of_type={dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    ):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            checks.add(event.asset_check_evaluation_data.asset_check_key)
        elif event.asset_key is not None:
            partitions.setdefault(event.asset_key, set()).add(event.partition)
    if any(_newest_of_asset(instance, key, wanted, run_id) for key, wanted in partitions.items()):
        return True
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(sorted(checks, key=str))
    return any(found.run_id == run_id for found in latest.values())


def _newest_of_asset(instance: dg.DagsterInstance, key: dg.AssetKey, wanted: set[str | None], run_id: str) -> bool:
    """Whether the newest materialization of one of the wanted partitions is this run's; None is the whole table."""
    newest = instance.fetch_materializations(key, limit=1).records
    if newest and newest[0].run_id == run_id:
        return True
    days = {day for day in wanted if day is not None}
    cursor = None
    while days:
        page = instance.fetch_materializations(
            dg.AssetRecordsFilter(key, asset_partitions=sorted(days)), limit=_PAGE, cursor=cursor
        )
        for record in page.records:  # newest first
            if record.partition_key in days:
                if record.run_id == run_id:
                    return True
                days.discard(record.partition_key)
        if not page.has_more:
            break
        cursor = page.cursor
    return False
