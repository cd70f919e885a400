"""Which runs are forgotten, and when. Ticks of sensors and schedules are purged by Dagster (`dagster.yaml`).

Dagster's own deletion of a run takes its materializations along: a table or a day would look as if it had never been
built, and would be built again. `compaction.py` keeps what is newest, so every run goes when it is old.
"""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

PRUNE_JOB = "prune_runs"

_PAGE = 500


@dataclass(frozen=True)
class Pruned:
    """What a call did: the runs it deleted, and whether it stopped before the end."""

    deleted: tuple[str, ...]
    unfinished: bool


def prune_runs(
    instance: dg.DagsterInstance,
    *,
    failed_days: int = 30,
    successful_days: int = 30,
    max_runs: int = 500,
    max_seconds: float = 120,
    now: datetime | None = None,
) -> Pruned:
    """Deletes old runs with their events and logs, oldest first, and gives the space back.

    Of every day of a table one lean materialization stays, of a table without days the newest, of every check the last
    verdict.

    Args:
        instance: the Dagster instance.
        failed_days: age of failed and canceled runs that are deleted.
        successful_days: age of successful runs that are deleted.
        max_runs: deletes no more than this; the next call goes on.
        max_seconds: stops after this time; the next call goes on.
        now: the current time (tests).
    """
    from ecommerce_platform.orchestration.compaction import forget_run, give_back_space

    now = now or datetime.now(UTC)
    deadline = time.monotonic() + max_seconds
    deleted: list[str] = []
    unfinished = False
    for run_id in _old_runs(instance, now, failed_days, successful_days):
        if len(deleted) >= max_runs or time.monotonic() > deadline:
            unfinished = True
            break
        forget_run(instance, run_id)
        deleted.append(run_id)
    if deleted and instance.event_log_storage.is_run_sharded:
        give_back_space(Path(instance.root_directory))
    return Pruned(tuple(deleted), unfinished)


def prune_job() -> dg.JobDefinition:
    """The job `prune_runs`; its ages are configuration."""

    class Ages(dg.Config):
        """Ages in days after which runs are deleted, and how many at most."""

        failed_days: int = 30
        successful_days: int = 30
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
        context.log.info(f"{len(pruned.deleted)} old runs deleted{rest}")

    @dg.job(
        name=PRUNE_JOB,
        executor_def=dg.in_process_executor,
        description="Deletes runs with their logs after 30 days. What is newest of tables, days and checks stays.",
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
            found += [record.dagster_run.run_id for record in page]
        yield from found
