"""What runs at fixed times, in the shop's time zone. What waits for something to happen is in `sensors`.

Everything is stopped until somebody switches it on, but for the pruning of old runs: a platform loads, publishes and
checks by itself only when it is told to.
"""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

from collections.abc import Callable
from zoneinfo import ZoneInfo

import dagster as dg

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.orchestration.extraction import EXTRACT_JOB
from ecommerce_platform.orchestration.jobs import CUSTOMER_MARTS_JOB, FULL_CHECKS_JOB, PUBLISH_JOB
from ecommerce_platform.orchestration.partitions import LOAD_JOB, ONLY_PENDING, Days, range_tags
from ecommerce_platform.orchestration.retention import PRUNE_JOB

#: Schedules of whole jobs: name, job, cron, description.
_WHOLE = (
    (
        "weekly_customer_marts",
        CUSTOMER_MARTS_JOB,
        "0 3 * * 1",
        "Mondays at 3:00: tables and models about customers, which look at the whole history.",
    ),
    (
        "nightly_publish",
        PUBLISH_JOB,
        "30 2 * * *",
        "At 2:30: publishes a snapshot. The sensor `automation` does it after each load instead.",
    ),
    (
        "prune_history",
        PRUNE_JOB,
        "30 3 * * *",
        "At 3:30: forgets runs that are older than a month. What is newest of tables, days and checks stays.",
    ),
)
_EXTRACT = (
    "extract_schedule",
    EXTRACT_JOB,
    "30 1 * * *",
    "At 1:30: reads what is new out of the shop's database and lands it as a drop, which the sensor `raw_drops` loads.",
)
#: What nobody has to switch on.
_RUNNING = {"prune_history"}


def schedules(source: Source, days: Callable[[], Days] | None = None) -> list[dg.ScheduleDefinition]:
    """All schedules of a shop; the jobs they name must be among the definitions.

    Args:
        source: the shop.
        days: the days that have a key when a schedule fires; by default all from the source's first day on.
    """
    days = days or (lambda: Days(source.file.start_date))
    whole = (*_WHOLE, _EXTRACT) if source.file.database else _WHOLE
    return [
        _by_day(
            source,
            days,
            "daily_load_schedule",
            LOAD_JOB,
            "0 5 * * *",
            "At 5:00: loads the day's drop, for shops that deliver at night. The sensor `raw_drops` loads drops that come "
            "at any time.",
        ),
        _by_day(
            source,
            days,
            "weekly_full_checks",
            FULL_CHECKS_JOB,
            "0 4 * * 0",
            "Sundays at 4:00: checks whole tables, where daily loads check what they touched.",
            needs_drop=False,
        ),
        *(_of_whole_job(source, *declared) for declared in whole),
    ]


def _of_whole_job(source: Source, name: str, job: str, cron: str, description: str) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=source.file.time_zone,
        description=description,
        default_status=dg.DefaultScheduleStatus.RUNNING if name in _RUNNING else dg.DefaultScheduleStatus.STOPPED,
    )


def _by_day(
    source: Source,
    days: Callable[[], Days],
    name: str,
    job: str,
    cron: str,
    description: str,
    needs_drop: bool = True,
) -> dg.ScheduleDefinition:
    """A schedule of a job with partitions: it asks for the load of the day on which it fires.

    Where drops have ceased to come there is none, so that it asks for nothing (`needs_drop`) or for the newest day.
    """
    time_zone = ZoneInfo(source.file.time_zone)

    @dg.schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=source.file.time_zone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=description,
    )
    def ask(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(time_zone).date()
        if day < source.file.start_date:
            return dg.SkipReason(
                f"{day} is before the source's first day {source.file.start_date}; set start_date in {source.file.path}."
            )
        newest = days().last
        if newest and newest < day and needs_drop:
            return dg.SkipReason(f"There is no drop of {day}: the newest is that of {newest}.")
        load = min(day, newest or day)
        # As a range, like the sensor: a partition key is looked up in definitions that may be older than the drop.
        return dg.RunRequest(run_key=day.isoformat(), tags={**range_tags(load, load), ONLY_PENDING: "true"})

    return ask
