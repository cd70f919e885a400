"""What watches: the landing zone for drops, the runs for dead ones, everything for what to tell. Declarations only.

What is due is decided by `ingestion.watch`, which runs are dead by `reaper`, what is wrong by
`findings`; here is how the answers become runs, or messages. What runs at fixed times is in `schedules`.
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

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.errors import PassingError, SettingsError
from ecommerce_platform.orchestration.partitions import LOAD_JOB, ONLY_PENDING, Days, range_tags
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from ecommerce_platform.alerting.alerts import AlertState, Message
    from ecommerce_platform.ingestion.watch import Decision, Looked, Request, Version, WatchState
    from ecommerce_platform.ingestion.zone import Zone as LandingZone
    from ecommerce_platform.orchestration.findings import Watched

#: Tag of a load that the drop sensor asked for: the version of each of its days, in order.
VERSIONS_TAG = "ecommerce/drop_versions"
DROP_SENSOR = "raw_drops"
REAPER_SENSOR = "dead_runs"
ALERT_SENSOR = "alerts"
REPORT_SENSOR = "reports"
#: As often as Dagster's own daemons look.
_INTERVAL = 30
#: How often it is looked whether a report is due.
_REPORTS_INTERVAL = 3600
#: How long a tick looks into files that were touched (Dagster ends it after a minute), so many days at a time, and how
#: long it waits for the warehouse.
_LOOK_SECONDS, _LOOK_DAYS, _LOOK_PATIENCE = 20, 7, 3

Zone = Callable[[], "tuple[AbstractFileSystem, str]"]


def drop_sensor(
    settings: Settings,
    source: Source,
    *,
    shown: Days | None = None,
    zone: Zone | None = None,
    today: Callable[[], date] | None = None,
) -> dg.SensorDefinition:
    """The sensor that asks for a load of every day whose drop is complete and new, changed or gone.

    Each version of a day is asked for once. When the run fails, the day is not asked for again before its files
    change: launching the run again, or a run-retry policy, is the way.

    Args:
        settings: where the drops are.
        source: the shop: its first day, its time zone, its files.
        shown: the days that have a key in the definitions that the sensor is part of; None for all.
        zone: another landing zone than that of the settings: file system and root, as `fsspec.core.url_to_fs` gives them.
        today: the current day in the shop's time zone (tests).
    """
    watch = _DropWatch(settings, source, shown, zone, today)

    @dg.sensor(
        name=DROP_SENSOR,
        job_name=LOAD_JOB,
        minimum_interval_seconds=_INTERVAL,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Loads the drops that appear below `raw/`. A day is complete when its folder holds `_SUCCESS` or "
        "looks the same at two ticks; neighbouring days share a run. A drop that is changed or taken away is loaded "
        "again, unless it holds the very bytes that were loaded. Each version of a day is asked for once: a run that failed is launched again by hand or by the retry "
        "policy, not by the sensor. To ask for everything again, reset the cursor; what is loaded already is left "
        "alone.",
    )
    def raw_drops(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return watch.tick(context)

    return raw_drops


class _DropWatch:
    """What the drop sensor looks at, and what it asks for."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        shown: Days | None,
        zone: Zone | None,
        today: Callable[[], date] | None,
    ) -> None:
        self.settings, self.source, self.shown = settings, source, shown
        # Kept between ticks: opening an object store anew each time would ask for a new connection and token.
        own = cache(lambda: _zone(settings))
        self.open_zone = zone or (lambda: own().file_system())
        time_zone = ZoneInfo(source.file.time_zone)
        self.today = today or (lambda: datetime.now(time_zone).date())
        self.look = {"look": _look_into(settings, source)} if zone is None else {}

    def tick(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """What one tick of the sensor gives."""
        from ecommerce_platform.ingestion.watch import Limits, decide, list_landing
        from ecommerce_platform.ingestion.zone import MissingZone

        fs, root = self.open_zone()
        state = _remembered(context)
        try:
            listing = list_landing(fs, root, self.source, self.settings.follow_links)
        except MissingZone:
            if state.days:
                raise
            return dg.SensorResult(skip_reason=f"There are no drops yet: {root} does not exist, or nothing lies in it.")
        limits = Limits(self.source.file.start_date, str(self.source.file.path))
        decision = decide(state, listing, self.today(), limits, _in_flight(context.instance), **self.look)
        for problem in (*decision.problems, *self._without_square(decision)):
            context.log.warning(problem)
        return dg.SensorResult(
            run_requests=[_run_request(request) for request in decision.requests],
            skip_reason=None if decision.requests else _waits_for(decision),
            cursor=decision.state.to_json(),
        )

    def _without_square(self, decision: "Decision") -> list[str]:
        days = [day for request in decision.requests for day in request.days if self.shown and day not in self.shown]
        if not days:
            return []
        return [
            f"{_named(days)}: the definitions were loaded before this drop came, so the UI shows its load, but no "
            "square for the day\n  → reload the definitions (Deployment, Reload)"
        ]


def _run_request(request: "Request") -> dg.RunRequest:
    return dg.RunRequest(
        run_key=request.key,
        tags={
            **range_tags(request.first, request.last),
            ONLY_PENDING: "true",
            VERSIONS_TAG: ",".join(str(version) for version in request.versions),
        },
    )


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
        from ecommerce_platform.orchestration.reaper import reap_dead_runs

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
        return _tell(context, settings, source.file.time_zone, watched, now)

    return alerts


def report_sensor(
    settings: Settings, source: Source, *, today: Callable[[], date] | None = None
) -> dg.SensorDefinition:
    """The sensor that sends reports by e-mail; running when somebody is to get them.

    Args:
        settings: who gets which reports.
        source: the shop: its time zone.
        today: the current day in the shop's time zone (tests).
    """
    time_zone = ZoneInfo(source.file.time_zone)
    day = today or (lambda: datetime.now(time_zone).date())

    @dg.sensor(
        name=REPORT_SENSOR,
        minimum_interval_seconds=_REPORTS_INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.report_to else dg.DefaultSensorStatus.STOPPED,
        description="Sends the report of each full month (`ECOMMERCE_REPORT_EVERY`) to `ECOMMERCE_REPORT_TO`, once "
        "the published snapshot has all of it. What was sent stands in serving.db; what could not be delivered is tried "
        "again an hour later. Launches nothing.",
    )
    def reports(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from ecommerce_platform.errors import PlatformError
        from ecommerce_platform.orchestration.reports import send_due

        if not settings.report_to:
            return dg.SkipReason("Nobody is to get reports: set ECOMMERCE_REPORT_TO and start again.")
        try:
            return dg.SkipReason(send_due(settings, day(), context.log).says)
        except PlatformError as error:
            context.log.error(str(error))
            return dg.SkipReason(str(error))

    return reports


def _tell(
    context: dg.SensorEvaluationContext,
    settings: Settings,
    time_zone: str,
    watched: "Callable[[], Watched]",
    now: Callable[[], float],
) -> dg.SensorResult:
    """One tick of the alert sensor: looks, and sends what is new and what still waits."""
    from ecommerce_platform.alerting.notify import Targets, deliver, queued

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
        messages, said = _new_messages(context.instance, settings, time_zone, watched(), state, at)
        state.outbox += queued(messages, targets, at)
    except Exception as error:
        # Whatever stands in the way of looking, what waits is sent all the same.
        state = before
        said = targets.scrub(f"Could not look: {type(error).__name__}: {error}")
        context.log.error(targets.scrub(traceback.format_exc(), limit=4000))
    state.outbox = deliver(targets, state.outbox, at, clock=time.monotonic, log=context.log)
    waiting = [f"Waiting to be delivered: {len(state.outbox)}."] if state.outbox else []
    reason = "\n".join([said, *waiting, *targets.unusable])
    return dg.SensorResult(skip_reason=reason, cursor=state.model_dump_json())


def _new_messages(
    instance: dg.DagsterInstance, settings: Settings, time_zone: str, seen: "Watched", state: "AlertState", at: float
) -> "tuple[list[Message], str]":
    """What is to be told since the last tick, and a sentence on what was looked at."""
    from ecommerce_platform.alerting.alerts import update
    from ecommerce_platform.orchestration.findings import look, rules

    found, first = look(instance, settings, seen, state, at)
    messages = update(state, found.found, found.over, found.once, rules(settings, seen, time_zone), at, first=first)
    wrong = sum(not entry.over for entry in state.firing.values())
    return messages, f"Runs looked at: {found.runs}. Wrong: {wrong}. New messages: {len(messages)}."


def _told(context: dg.SensorEvaluationContext) -> "AlertState":
    """What was told, from the cursor."""
    from ecommerce_platform.alerting.alerts import AlertState

    if context.cursor:
        try:
            return AlertState.model_validate_json(context.cursor)
        except ValueError:
            context.log.warning("The cursor cannot be read; starting anew, with one message about all that is wrong.")
    return AlertState()


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


def _look_into(settings: Settings, source: Source) -> "Callable[[Sequence[date]], Looked]":
    """A function that looks into the files of days, as far as a tick's time goes.

    While a run holds the warehouse it cannot tell, and the days are asked for: what is loaded already is left alone.
    """

    def look(days: Sequence[date]) -> "Looked":
        from ecommerce_platform.ingestion.pending import pending_days
        from ecommerce_platform.ingestion.watch import Looked
        from ecommerce_platform.ingestion.zone import LocalZone
        from ecommerce_platform.orchestration.resources import open_warehouse
        from ecommerce_platform.silver.entities import lagging_days

        zone, until = _zone(settings), time.monotonic() + _LOOK_SECONDS
        if not isinstance(zone, LocalZone) or not settings.warehouse.is_file():
            return Looked()
        tables, same, left = zone.drops(source).tables, set[date](), list(days)
        try:
            with open_warehouse(settings).connect(patience=_LOOK_PATIENCE) as con:
                while left and time.monotonic() < until:
                    now, left = left[:_LOOK_DAYS], left[_LOOK_DAYS:]
                    changed = {day for raw in tables for day in pending_days(con, source, raw, tables[raw], now)}
                    same |= set(now) - changed
                same -= lagging_days(con)
        except PassingError:
            return Looked(frozenset(same))
        return Looked(frozenset(same), frozenset(left))

    return look


def _waits_for(decision: "Decision") -> str:
    said: list[str] = []
    if decision.incomplete:
        said.append(f"Waiting until {_named(decision.incomplete)} look the same at two ticks, or hold _SUCCESS.")
    if decision.in_flight:
        said.append(f"A run in flight covers {_named(decision.in_flight)}.")
    if decision.same:
        said.append(f"{_named(decision.same)} look different and hold the bytes that were loaded.")
    if decision.waiting:
        said.append(f"To be looked into at the next tick: {_named(decision.waiting)}.")
    said.extend(decision.problems)
    return "\n".join(said) or "No new, changed or removed drops."


def _named(days: Sequence[Any]) -> str:
    shown = ", ".join(str(day) for day in days[:10])
    return shown if len(days) <= 10 else f"{shown} and {len(days) - 10} more days"
