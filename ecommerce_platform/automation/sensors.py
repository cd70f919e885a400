"""What watches: the landing zone for drops, the runs for dead ones, everything for what to tell. Declarations only.

What is due is decided by `ingestion.watch`, which runs are dead by `automation.reaper`, what is wrong by
`automation.findings`; here is how the answers become runs, or messages. What runs at fixed times is in `schedules`.
"""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg

from ecommerce_platform.automation.partitions import LOAD_JOB, ONLY_PENDING, range_tags
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.errors import SettingsError
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from ecommerce_platform.automation.alerts import AlertState
    from ecommerce_platform.automation.findings import Look, Watched
    from ecommerce_platform.ingestion.watch import Decision, Version, WatchState
    from ecommerce_platform.ingestion.zone import Zone as LandingZone

#: Tag of a load that the drop sensor asked for: the version of each of its days, in order.
VERSIONS_TAG = "ecommerce/drop_versions"
DROP_SENSOR = "raw_drops"
REAPER_SENSOR = "dead_runs"
ALERT_SENSOR = "alerts"
#: As often as Dagster's own daemons look.
_INTERVAL = 30

Zone = Callable[[], "tuple[AbstractFileSystem, str]"]


def drop_sensor(
    settings: Settings, source: Source, *, zone: Zone | None = None, today: Callable[[], date] | None = None
) -> dg.SensorDefinition:
    """The sensor that asks for a load of every day whose drop is complete and new, changed or gone.

    Each version of a day is asked for once. When the run fails, the day is not asked for again before its files
    change: launching the run again, or a run-retry policy, is the way.

    Args:
        settings: where the drops are.
        source: the shop: its first day, its time zone, its files.
        zone: another landing zone than that of the settings: file system and root, as `fsspec.core.url_to_fs` gives them.
        today: the current day in the shop's time zone (tests).
    """
    time_zone = ZoneInfo(source.file.time_zone)
    # Kept between ticks: opening an object store anew each time would ask for a new connection and token.
    own = cache(lambda: _zone(settings))
    open_zone = zone or (lambda: own().file_system())
    current_day = today or (lambda: datetime.now(time_zone).date())

    @dg.sensor(
        name=DROP_SENSOR,
        job_name=LOAD_JOB,
        minimum_interval_seconds=_INTERVAL,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Loads the drops that appear below `raw/`. A day is complete when its folder holds `_SUCCESS` or "
        "looks the same at two ticks; neighbouring days share a run. A drop that is changed or taken away is loaded "
        "again. Each version of a day is asked for once: a run that failed is launched again by hand or by the retry "
        "policy, not by the sensor. To ask for everything again, reset the cursor; what is loaded already is left "
        "alone.",
    )
    def raw_drops(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from ecommerce_platform.ingestion.watch import Limits, decide, list_landing
        from ecommerce_platform.ingestion.zone import MissingZone

        fs, root = open_zone()
        state = _remembered(context)
        try:
            listing = list_landing(fs, root, source)
        except MissingZone:
            if state.days:
                raise
            return dg.SensorResult(skip_reason=f"There are no drops yet: {root} does not exist, or nothing lies in it.")
        decision = decide(
            state,
            listing,
            current_day(),
            Limits(source.file.start_date, str(source.file.path)),
            _in_flight(context.instance),
        )
        for problem in decision.problems:
            context.log.warning(problem)
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=request.key,
                    tags={
                        **range_tags(request.first, request.last),
                        ONLY_PENDING: "true",
                        VERSIONS_TAG: ",".join(str(version) for version in request.versions),
                    },
                )
                for request in decision.requests
            ],
            skip_reason=None if decision.requests else _waits_for(decision),
            cursor=decision.state.to_json(),
        )

    return raw_drops


def reaper_sensor() -> dg.SensorDefinition:
    """The sensor that marks runs as failed whose process is gone; running unless somebody stops it."""

    @dg.sensor(
        name=REAPER_SENSOR,
        minimum_interval_seconds=_INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Marks runs as failed whose process is gone (killed, out of memory, a reboot), so that they free "
        "their place in the queue. Launches nothing.",
    )
    def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from ecommerce_platform.automation.reaper import reap_dead_runs

        reaped = reap_dead_runs(context.instance)
        return dg.SkipReason(f"Marked as failed: {', '.join(reaped)}." if reaped else "All runs in flight are alive.")

    return dead_runs


def alert_sensor(
    settings: Settings,
    source: Source,
    watched: "Callable[[], Watched]",
    *,
    now: Callable[[], float] = time.time,
) -> dg.SensorDefinition:
    """The sensor that tells people what is wrong; running when there is somebody to tell.

    A tick never fails: trouble with looking or with sending is logged and said as the reason why nothing was launched.
    What could not be sent waits in the cursor.

    Args:
        settings: who is told, and what.
        source: the shop: its time zone.
        watched: what there is to look at; asked at each tick.
        now: the current time (tests).
    """
    running = settings.alert_urls is not None

    @dg.sensor(
        name=ALERT_SENSOR,
        minimum_interval_seconds=_INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Tells the targets in `ECOMMERCE_ALERT_URLS` of failed and killed runs, failing checks, tables that "
        "are too old, KPIs out of bounds and anomalies: once for each cause, and once when it is over. What cannot be "
        "delivered is tried again for a day. With another cursor than its own it starts anew, with one message about "
        "everything that is wrong. Launches nothing.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if not running:
            return dg.SensorResult(skip_reason="Nobody is to be told: set ECOMMERCE_ALERT_URLS and start again.")
        from ecommerce_platform.automation.alerts import update
        from ecommerce_platform.automation.findings import look, rules
        from ecommerce_platform.automation.notify import Targets, deliver, queued

        try:
            targets = Targets(settings)
        except SettingsError as error:
            context.log.error(str(error))
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        for problem in targets.unusable:
            context.log.error(problem)
        if not targets.names:
            # Nothing is looked at: what would be told to nobody counts as not seen.
            return dg.SensorResult(skip_reason="\n".join(targets.unusable), cursor=context.cursor)
        state, at = _told(context), now()
        before = state.model_copy(deep=True)
        try:
            seen = watched()
            found, first = look(context.instance, settings, seen, state, at)
            told = rules(settings, seen, source.file.time_zone)
            messages = update(state, found.found, found.over, found.once, told, at, first=first)
            state.outbox += queued(messages, targets, at)
            said = _looked(found, len(messages), state)
        except Exception as error:
            # Whatever stands in the way of looking, what waits is sent all the same.
            state = before
            said = targets.scrub(f"Could not look: {type(error).__name__}: {error}")
            context.log.error(targets.scrub(traceback.format_exc(), limit=4000))
        state.outbox = deliver(targets, state.outbox, at, clock=time.monotonic, log=context.log)
        waiting = [f"Waiting to be delivered: {len(state.outbox)}."] if state.outbox else []
        reason = "\n".join([said, *waiting, *targets.unusable])
        return dg.SensorResult(skip_reason=reason, cursor=state.model_dump_json())

    return alerts


def _told(context: dg.SensorEvaluationContext) -> "AlertState":
    """What was told, from the cursor."""
    from ecommerce_platform.automation.alerts import AlertState

    if context.cursor:
        try:
            return AlertState.model_validate_json(context.cursor)
        except ValueError:
            context.log.warning("The cursor cannot be read; starting anew, with one message about all that is wrong.")
    return AlertState()


def _looked(found: "Look", messages: int, state: "AlertState") -> str:
    wrong = sum(not entry.over for entry in state.firing.values())
    return f"Runs looked at: {found.runs}. Wrong: {wrong}. New messages: {messages}."


def _zone(settings: Settings) -> "LandingZone":
    from ecommerce_platform.ingestion.zone import open_zone

    return open_zone(settings)


def _remembered(context: dg.SensorEvaluationContext) -> "WatchState":
    """The state in the cursor. Without one it starts anew, with an epoch that makes its run keys differ from all
    earlier ones: else Dagster would take what is asked for again for what it has run already.
    """
    from ecommerce_platform.ingestion.watch import WatchState

    if context.cursor:
        try:
            return WatchState.from_json(context.cursor)
        except ValueError as error:
            context.log.warning(
                f"The cursor cannot be read ({error}); starting anew. Days are asked for again; what is loaded "
                "already is left alone."
            )
    # The same when a tick that died is evaluated again, another one after any tick that ended.
    return WatchState(epoch=f"{context.last_tick_completion_time or 0:.3f}")


def _in_flight(instance: dg.DagsterInstance) -> "Mapping[date, Version]":
    """The newest version of each day that a queued or running load covers."""
    from ecommerce_platform.ingestion.watch import Version

    records = instance.get_run_records(
        dg.RunsFilter(
            job_name=LOAD_JOB,
            statuses=[
                dg.DagsterRunStatus.NOT_STARTED,
                dg.DagsterRunStatus.QUEUED,
                dg.DagsterRunStatus.STARTING,
                dg.DagsterRunStatus.STARTED,
            ],
        )
    )
    versions: dict[date, Version] = {}
    for record in reversed(records):  # oldest first, so that the newest version wins
        tags = record.dagster_run.tags
        try:
            day = date.fromisoformat(tags["dagster/asset_partition_range_start"])
            for packed in tags[VERSIONS_TAG].split(","):
                fingerprint, _, number = packed.partition("#")
                versions[day] = Version(fingerprint, int(number))
                day += timedelta(days=1)
        except (KeyError, ValueError):
            continue  # launched by somebody else: it says nothing about versions
    return versions


def _waits_for(decision: "Decision") -> str:
    said: list[str] = []
    if decision.incomplete:
        said.append(f"Waiting until {_named(decision.incomplete)} look the same at two ticks, or hold _SUCCESS.")
    if decision.in_flight:
        said.append(f"A run in flight covers {_named(decision.in_flight)}.")
    said.extend(decision.problems)
    return "\n".join(said) or "No new, changed or removed drops."


def _named(days: Sequence[Any]) -> str:
    shown = ", ".join(str(day) for day in days[:10])
    return shown if len(days) <= 10 else f"{shown} and {len(days) - 10} more days"
