"""What runs at fixed times, in the shop's time zone. What waits for something to happen is in `sensors`.

Everything is stopped until somebody switches it on, but for the pruning of old runs: a platform loads, publishes and
checks by itself only when it is told to.
"""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

from zoneinfo import ZoneInfo

import dagster as dg

from ecommerce_platform.automation.extraction import EXTRACT_JOB
from ecommerce_platform.automation.jobs import CUSTOMER_MARTS_JOB, FULL_CHECKS_JOB, PUBLISH_JOB
from ecommerce_platform.automation.partitions import LOAD_JOB, ONLY_PENDING
from ecommerce_platform.automation.retention import PRUNE_JOB
from ecommerce_platform.contracts.source import Source


def schedules(source: Source) -> list[dg.ScheduleDefinition]:
    """All schedules of a shop; the jobs they name must be among the definitions."""
    zone = source.file.time_zone

    def plain(name: str, job: str, cron: str, description: str, running: bool = False) -> dg.ScheduleDefinition:
        status = dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED
        return dg.ScheduleDefinition(
            name=name,
            job_name=job,
            cron_schedule=cron,
            execution_timezone=zone,
            description=description,
            default_status=status,
        )

    return [
        _by_day(
            source,
            "daily_load_schedule",
            LOAD_JOB,
            "0 5 * * *",
            "At 5:00: loads the day's drop, for shops that deliver at night. Drops that come at any time are the "
            "sensor `raw_drops`'s.",
        ),
        _by_day(
            source,
            "weekly_full_checks",
            FULL_CHECKS_JOB,
            "0 4 * * 0",
            "Sundays at 4:00: checks whole tables, where daily loads check what they touched.",
        ),
        plain(
            "weekly_customer_marts",
            CUSTOMER_MARTS_JOB,
            "0 3 * * 1",
            "Mondays at 3:00: tables and models about customers, which look at the whole history.",
        ),
        plain(
            "nightly_publish",
            PUBLISH_JOB,
            "30 2 * * *",
            "At 2:30: publishes a snapshot. The sensor `automation` does it after each load instead.",
        ),
        plain(
            "prune_history",
            PRUNE_JOB,
            "30 3 * * *",
            "At 3:30: deletes old runs that no table's newest state depends on.",
            running=True,
        ),
        *(
            [
                plain(
                    "extract_schedule",
                    EXTRACT_JOB,
                    "30 1 * * *",
                    "At 1:30: reads what is new out of the shop's database and lands it as a drop, which the sensor "
                    "`raw_drops` loads.",
                )
            ]
            if source.file.database
            else []
        ),
    ]


def _by_day(source: Source, name: str, job: str, cron: str, description: str) -> dg.ScheduleDefinition:
    """A schedule of a job with partitions: it asks for the load of the day on which it fires."""
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
        return dg.RunRequest(run_key=day.isoformat(), partition_key=day.isoformat(), tags={ONLY_PENDING: "true"})

    return ask
