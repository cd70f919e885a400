"""What is wrong now, read from Dagster's instance and from the published snapshot. Nothing is written or told here.

Two ways of looking: `look_at_all` at how everything stands (the first time, after a long pause, `ecommerce alerts`),
`look_at_news` at the runs that have ended since; the cost of the latter does not grow with the log. A run is looked at
when it has ended, so that a failing check and the failure that it leads to are one cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import quote as quote_url

from ecommerce_platform.alerting.alerts import AlertState, Days, Finding, Rules, mark_of, presentable
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.kpi_alert import KpiAlert
from ecommerce_platform.errors import InputError
from ecommerce_platform.orchestration.evaluations import evaluation_of, failure_text, last_evaluated
from ecommerce_platform.quality.kpi_alerts import ANOMALIES, ANOMALY_CHECK, Anomaly, Breach, anomalies, breaches
from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse.contract_checks import BLOCKS, SHOWN

if TYPE_CHECKING:
    import dagster as dg
    from duckdb import DuckDBPyConnection

#: Runs that are looked at in one tick, of each way to end; the others are looked at in the next.
_RUNS = 50
#: After so many seconds without a look, how things stand counts, not what happened in between.
_PAUSE = 3600.0
#: Failed runs older than this are forgotten, as `prune_runs` forgets them.
_FORGET = 30 * 86_400.0
#: Days that how everything stands is read from failed runs.
_RECENT = 7 * 86_400.0
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_DAY = "dagster/partition"
#: What takes over new drops by itself when it is switched on.
_LOADS = ("raw_drops", "daily_load_schedule")


@dataclass(frozen=True)
class Watched:
    """What there is to look at."""

    contracts: Mapping[str, Contract]
    alerts: Sequence[KpiAlert]
    currency: str
    #: Table → tables that it is made from.
    reads: Mapping[str, frozenset[str]]
    #: Table → tables that it is made from, directly or not.
    upstream: Mapping[str, frozenset[str]]
    #: Tables that are filled by day.
    daily: frozenset[str]
    #: (table, check) → what the check says.
    checks: Mapping[tuple[str, str], str]

    def personal(self, table: str) -> bool:
        """Whether values of this table may be personal data."""
        contract = self.contracts.get(table)
        if contract is None:  # of a raw table: what is made of it says so
            return any(self.personal(made) for made, read in self.reads.items() if table in read and made != table)
        return any(column.pii for column in contract.columns.values())


@dataclass
class Look:
    """What was seen; see `alerts.update`."""

    found: list[Finding] = field(default_factory=list)
    over: set[str] = field(default_factory=set)
    once: list[Finding] = field(default_factory=list)
    #: Runs that were looked at.
    runs: int = 0


def watched(
    assets: Iterable[dg.AssetsDefinition],
    contracts: Mapping[str, Contract],
    alerts: Sequence[KpiAlert] = (),
    currency: str = "",
) -> Watched:
    """What there is to look at, from the definitions."""
    deps: dict[str, set[str]] = {}
    daily: set[str] = set()
    checks: dict[tuple[str, str], str] = {}
    for asset in assets:
        for key in asset.keys:
            deps[table_of(key)] = {table_of(dep) for dep in asset.asset_deps[key]}
            if asset.get_asset_spec(key).partitions_def is not None:
                daily.add(table_of(key))
        for spec in asset.check_specs:
            checks[table_of(spec.asset_key), spec.name] = spec.description or ""
    upstream: dict[str, frozenset[str]] = {}

    def above(table: str) -> frozenset[str]:
        if table not in upstream:
            upstream[table] = frozenset()  # a table never reads itself, but what is half done must not be asked for
            direct = deps.get(table, set())
            upstream[table] = frozenset(direct).union(*(above(dep) for dep in direct))
        return upstream[table]

    for table in deps:
        above(table)
    reads = {table: frozenset(above) for table, above in deps.items()}
    return Watched(contracts, alerts, currency, reads, upstream, frozenset(daily), checks)


def rules(settings: Settings, seen: Watched, time_zone: str) -> Rules:
    """What is told, from the settings."""
    return Rules(
        source=settings.source_name,
        time_zone=time_zone,
        ui_url=settings.ui_url,
        severity=settings.alert_severity,
        quiet_seconds=settings.alert_quiet_minutes * 60.0,
        upstream=seen.upstream,
    )


def look(
    instance: dg.DagsterInstance, settings: Settings, seen: Watched, state: AlertState, now: float
) -> tuple[Look, bool]:
    """What has changed since the last look, and whether it was the first one; notes in `state` what it has seen."""
    first = not state.looked_at
    if first or now - state.looked_at > _PAUSE:
        # Before looking: what ends meanwhile is seen twice rather than never.
        state.ends = _newest_ends(instance)
        found = look_at_all(instance, settings, seen, state, now)
    else:
        found = look_at_news(instance, settings, seen, state, now)
    state.looked_at = now
    return found, first


def look_at_all(instance: dg.DagsterInstance, settings: Settings, seen: Watched, state: AlertState, now: float) -> Look:
    """How everything stands."""
    import dagster as dg

    result = Look()
    failed = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_timestamp=now - _RECENT), limit=_RUNS
    )
    for record in reversed(failed.records):
        findings, _ = _of_run(instance, seen, record.event_log_entry)
        result.found += [finding for finding in findings if finding.kind == "run"]
        result.runs += 1
    result.found = [finding for finding in _merged(result.found) if _still(instance, seen, finding, now)]
    checks = _failing_checks(instance, seen)
    result.found += checks
    failing = {finding.key for finding in checks}
    result.over |= {key for key, entry in state.firing.items() if entry.finding.kind == "check" and key not in failing}
    _look_at_rest(instance, settings, seen, state, now, result)
    return result


def look_at_news(
    instance: dg.DagsterInstance, settings: Settings, seen: Watched, state: AlertState, now: float
) -> Look:
    """What runs that have ended since the last look say, and what is said by time passing or by a new snapshot."""
    result = Look()
    checks: dict[str, Finding | None] = {}
    for entry in _ended(instance, state):
        result.runs += 1
        findings, passed = _of_run(instance, seen, entry)
        for finding in findings:
            if finding.kind == "check":
                if not _evaluated_since(instance, finding.key, finding.at):
                    checks[finding.key] = finding
            elif _still(instance, seen, finding, now):
                result.found.append(finding)
            else:
                text = f"{finding.what} A later run has made up for it."
                result.once.append(finding.model_copy(update={"what": text, "severity": "warning", "fix": ""}))
        for key, at in passed.items():
            # What is not known to be wrong needs no closer look.
            if key in checks or (key in state.firing and not _evaluated_since(instance, key, at)):
                checks[key] = None
    result.found = _merged(result.found)
    result.found += [finding for finding in checks.values() if finding is not None]
    result.over |= {key for key, finding in checks.items() if finding is None}
    _look_at_rest(instance, settings, seen, state, now, result)
    return result


def _look_at_rest(
    instance: dg.DagsterInstance, settings: Settings, seen: Watched, state: AlertState, now: float, result: Look
) -> None:
    """What was wrong and may be over, tables that are too old, published figures."""
    renewed = {finding.key for finding in result.found}
    newest = newest_builds(
        instance, [*_with_limit(seen), *(t for e in state.firing.values() for t in e.finding.tables)]
    )
    for key, entry in state.firing.items():
        finding = entry.finding
        if finding.kind == "run" and key not in renewed:
            # A table that was not built since needs no closer look.
            if finding.tables and not any(newest.get(table, 0) > finding.at for table in finding.tables):
                if now - finding.at > _FORGET:
                    result.over.add(key)
            elif not _still(instance, seen, finding, now):
                result.over.add(key)
        elif finding.kind == "check" and (finding.where, key.rpartition(" ")[2]) not in seen.checks:
            result.over.add(key)  # the check is no more
    stale = [*_stale(seen, newest, now), *_data_behind(instance, seen, now)]
    result.found += stale
    old = {finding.key for finding in stale}
    result.over |= {key for key, entry in state.firing.items() if entry.finding.kind == "stale" and key not in old}
    _look_at_figures(settings, seen, state, now, result)


# -- runs --------------------------------------------------------------------------------------------------------


def _newest_ends(instance: dg.DagsterInstance) -> dict[str, int]:
    import dagster as dg

    newest = {}
    for kind in _ways_to_end():
        records = instance.fetch_run_status_changes(dg.RunStatusChangeRecordsFilter(kind), limit=1).records
        newest[kind.value] = records[0].storage_id if records else 0
    return newest


def _ways_to_end() -> Any:
    import dagster as dg

    return (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_CANCELED)


def _ended(instance: dg.DagsterInstance, state: AlertState) -> list[dg.EventLogEntry]:
    """The events with which runs ended since the last look, in order; notes the newest."""
    import dagster as dg

    entries = []
    for kind in _ways_to_end():
        after = state.ends.get(kind.value, 0)
        records = instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(kind, after_storage_id=after), limit=_RUNS, ascending=True
        ).records
        if records:
            state.ends[kind.value] = records[-1].storage_id
        entries += [record.event_log_entry for record in records]
    return sorted(entries, key=lambda entry: entry.timestamp)


def _of_run(
    instance: dg.DagsterInstance, seen: Watched, ended: dg.EventLogEntry
) -> tuple[list[Finding], dict[str, float]]:
    """What a run that has ended says: findings, and the checks that passed in it with when they did."""
    import dagster as dg

    run = instance.get_run_by_id(ended.run_id)
    if run is None:  # deleted meanwhile
        return [], {}
    kind = dg.DagsterEventType
    wanted = {kind.ASSET_CHECK_EVALUATION}
    failed = ended.dagster_event is not None and ended.dagster_event.event_type == kind.RUN_FAILURE
    if failed:
        wanted |= {kind.STEP_FAILURE, kind.STEP_START, kind.STEP_SUCCESS}
    checks: dict[str, Finding | float] = {}
    failures: dict[str, str] = {}
    running: dict[str, None] = {}
    name = _name_of(run)
    for entry in instance.all_logs(run.run_id, of_type=wanted):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type == kind.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            finding = _of_check(seen, evaluation, entry.timestamp, run.run_id, name)
            checks[_check_key(evaluation.asset_check_key)] = finding or entry.timestamp
        elif event.step_key is None:
            continue
        elif event.event_type == kind.STEP_FAILURE:
            failures[event.step_key] = failure_text(event.step_failure_data)
            running.pop(event.step_key, None)
        elif event.event_type == kind.STEP_START:
            running[event.step_key] = None
        else:
            running.pop(event.step_key, None)
    findings = [finding for finding in checks.values() if isinstance(finding, Finding)]
    if failed:
        stopped = {f.where: f for f in findings if f.severity == "error"}
        findings += _of_failure(seen, run, name, ended, failures, list(running), stopped)
    return findings, {key: at for key, at in checks.items() if isinstance(at, float)}


def _of_failure(
    seen: Watched,
    run: dg.DagsterRun,
    name: str,
    ended: dg.EventLogEntry,
    failures: Mapping[str, str],
    running: Sequence[str],
    stopped: Mapping[str, Finding],
) -> list[Finding]:
    """A finding for each step that failed; one for the run when none did: it was killed, or never began."""
    common: dict[str, Any] = {
        "kind": "run", "severity": "error", "cause": f"run {run.run_id}", "at": ended.timestamp, "run_id": run.run_id,
        "run": f"{name}, run {run.run_id[:8]}", "page": f"/runs/{run.run_id}",
    }  # fmt: skip
    found = [
        _of_step(seen, run, name, ended, table, text, stopped.get(table), common)
        if table in seen.upstream
        else _of_job(run, f"{name} failed", ended, presentable(text), common)
        for table, text in ((step.replace("__", ".", 1), text) for step, text in failures.items())
    ]
    if found:
        return found
    tables = [step.replace("__", ".", 1) for step in running]
    what = presentable(
        (ended.dagster_event.message if ended.dagster_event else None) or "It ended without a failed step."
    )
    if tables:
        what += f" It was at work on {', '.join(tables)}."
    return [_of_job(run, f"{name} ended without a result", ended, what, common)]


def _of_job(
    run: dg.DagsterRun, headline: str, ended: dg.EventLogEntry, what: str, common: Mapping[str, Any]
) -> Finding:
    return Finding(
        key=f"job {run.job_name}",
        headline=headline,
        where=run.job_name,
        what=what,
        mark=mark_of(what),
        job=run.job_name,
        days=_days(run, ended.timestamp),
        **common,
    )


def _of_step(
    seen: Watched,
    run: dg.DagsterRun,
    name: str,
    ended: dg.EventLogEntry,
    table: str,
    text: str,
    stopped: Finding | None,
    common: Mapping[str, Any],
) -> Finding:
    """The finding for a table that could not be made; `stopped` is the check that kept it from being written."""
    what, _, fix = text.partition("\n  → ")
    examples: tuple[str, ...] = ()
    if stopped:
        what, examples = f"Nothing was written: {stopped.what}", stopped.examples
    said = presentable(what, personal=seen.personal(table))
    below = sum(table in above for above in seen.upstream.values())
    if below:
        said += f" {below} tables are made from it." if below > 1 else " 1 table is made from it."
    return Finding(
        key=f"table {table}",
        headline=f"{name} failed at {table}",
        where=table,
        what=said,
        examples=examples,
        mark=mark_of(said),
        fix=presentable(fix),
        tables=(table,),
        # Gold takes over what has changed, whatever days that concerns: any later write makes up for it.
        days=_days(run, ended.timestamp) if table in seen.daily and not table.startswith("gold.") else (),
        **common,
    )


def _name_of(run: dg.DagsterRun) -> str:
    """`daily_load of 2024-03-01`."""
    job = "a materialization" if run.job_name.startswith("__") else run.job_name
    days = _range(run)
    if days is None:
        return job
    return f"{job} of {days[0]}" if days[0] == days[1] else f"{job} of {days[0]} to {days[1]}"


def _range(run: dg.DagsterRun) -> tuple[str, str] | None:
    day = run.tags.get(_DAY)
    if day:
        return day, day
    first, last = (run.tags.get(tag) for tag in _RANGE)
    return (first, last) if first and last else None


def _days(run: dg.DagsterRun, at: float) -> tuple[Days, ...]:
    days = _range(run)
    return (Days(first=days[0], last=days[1], at=at),) if days else ()


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """The newest finding of each key, with the days of all of them."""
    newest: dict[str, Finding] = {}
    for finding in findings:
        earlier = newest.get(finding.key)
        if earlier is not None:
            renewed = {(days.first, days.last) for days in finding.days}
            kept = [days for days in earlier.days if (days.first, days.last) not in renewed]
            finding = finding.model_copy(update={"days": (*kept, *finding.days)})
        newest[finding.key] = finding
    return list(newest.values())


def _still(instance: dg.DagsterInstance, seen: Watched, finding: Finding, now: float) -> bool:
    """Whether what a failed run left undone is still undone."""
    if now - finding.at > _FORGET:
        return False
    if finding.tables:
        return any(table in seen.upstream and not _made_up(instance, table, finding) for table in finding.tables)
    return not _succeeded(instance, finding)


def _made_up(instance: dg.DagsterInstance, table: str, finding: Finding) -> bool:
    """Whether a table has been written since, for the loads that were missed.

    A run covers a range of days as one step, so the ends of the range stand for it.
    """
    import dagster as dg

    key = dg.AssetKey(table.split("."))
    if not finding.days:
        newest = instance.fetch_materializations(
            dg.AssetRecordsFilter(key, after_timestamp=finding.at), limit=1
        ).records
        return bool(newest)
    for days in finding.days:
        for day in {days.first, days.last}:
            condition = dg.AssetRecordsFilter(key, asset_partitions=[day], after_timestamp=days.at)
            if not instance.fetch_materializations(condition, limit=1).records:
                return False
    return True


def _succeeded(instance: dg.DagsterInstance, finding: Finding) -> bool:
    """Whether the job has succeeded since, for the loads that were missed."""
    from datetime import UTC, datetime

    import dagster as dg

    records = instance.get_run_records(
        dg.RunsFilter(
            job_name=finding.job, statuses=[dg.DagsterRunStatus.SUCCESS],
            updated_after=datetime.fromtimestamp(finding.at, UTC),
        ),
        limit=_RUNS,
    )  # fmt: skip
    succeeded = [_range(r.dagster_run) for r in records if (r.end_time or 0) > finding.at]
    if not finding.days:
        return bool(succeeded)
    return all(any(s and s[0] <= days.first and days.last <= s[1] for s in succeeded) for days in finding.days)


def newest_builds(instance: dg.DagsterInstance, tables: Iterable[str]) -> dict[str, float]:
    """Table → when it was last written."""
    import dagster as dg

    keys = [dg.AssetKey(table.split(".")) for table in dict.fromkeys(tables)]
    if not keys:
        return {}
    newest = {}
    for record in instance.get_asset_records(keys):
        entry = record.asset_entry
        if entry.last_materialization is not None:
            newest[table_of(entry.asset_key)] = entry.last_materialization.timestamp
    return newest


# -- checks ------------------------------------------------------------------------------------------------------


def _failing_checks(instance: dg.DagsterInstance, seen: Watched) -> list[Finding]:
    """Checks whose last evaluation failed, however long ago it was."""
    import dagster as dg

    keys = [dg.AssetCheckKey(dg.AssetKey(table.split(".")), name) for table, name in seen.checks]
    found = []
    for key, latest in instance.event_log_storage.get_latest_asset_check_execution_by_key(keys).items():
        record = last_evaluated(instance, key, latest)
        evaluation = evaluation_of(record)
        if evaluation is None or evaluation.passed:
            continue
        run = instance.get_run_by_id(record.run_id)
        finding = _of_check(seen, evaluation, record.event.timestamp, record.run_id, _name_of(run) if run else "")
        if finding is not None:
            found.append(finding)
    return found


def _of_check(seen: Watched, evaluation: dg.AssetCheckEvaluation, at: float, run_id: str, run: str) -> Finding | None:
    """The finding of a check that failed; None when it passed or is not among the definitions."""
    import dagster as dg

    key = evaluation.asset_check_key
    table = table_of(key.asset_key)
    if evaluation.passed or (table, key.name) not in seen.checks:
        return None
    if (table, key.name) == (ANOMALIES, ANOMALY_CHECK):
        return None  # the same is told from the rows themselves, with what explains them
    personal = seen.personal(table)
    rows = evaluation.metadata.get("failing_rows")
    size = rows.value if rows is not None and isinstance(rows.value, int) else 0
    said, examples = without_examples(evaluation)
    meaning = seen.checks[table, key.name].partition("\n")[0].removesuffix(BLOCKS)
    # Of a check with one rule, named like it, the meaning says more than the name once more.
    counted = said.removeprefix(f"{key.name}: ")
    what = f"Check {key.name}: " + (f"{meaning} ({counted})" if counted != said else said or meaning or "failed")
    return Finding(
        key=_check_key(key),
        kind="check",
        severity="error" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warning",
        headline=f"{table} fails its check {key.name}",
        where=table,
        what=presentable(what, personal=personal),
        examples=() if personal else tuple(presentable(example) for example in examples),
        mark=mark_of(what),
        run=f"{run}, run {run_id[:8]}" if run else "",
        run_id=run_id,
        page=f"/assets/{'/'.join(map(quote_url, key.asset_key.path))}?view=checks&checkDetail={quote_url(key.name)}",
        at=at,
        cause=f"run {run_id}",
        size=size,
    )


def without_examples(evaluation: dg.AssetCheckEvaluation) -> tuple[str, list[str]]:
    """What a check says is wrong, and the values that show it, which its metadata names: they may look like anything."""
    said = evaluation.description or ""
    kept = evaluation.metadata.get(SHOWN)
    examples = [str(example) for example in kept.value] if kept is not None and isinstance(kept.value, list) else []
    for example in examples:
        said = said.replace(f", e.g. {example}", "", 1)
    # Of a result that was written before its metadata named them, what comes before the first.
    return said.partition(", e.g. ")[0], examples


def _check_key(key: dg.AssetCheckKey) -> str:
    return f"check {table_of(key.asset_key)} {key.name}"


def _evaluated_since(instance: dg.DagsterInstance, key: str, at: float) -> bool:
    """Whether a check was evaluated after `at`: runs overlap, and the one that ends last need not be the one that
    looked last."""
    import dagster as dg

    _, table, name = key.split(" ")
    check = dg.AssetCheckKey(dg.AssetKey(table.split(".")), name)
    newest = instance.event_log_storage.get_asset_check_execution_history(check, limit=_RUNS)
    return any(
        evaluation_of(record) is not None and record.event is not None and record.event.timestamp > at
        for record in newest
    )


# -- time and figures --------------------------------------------------------------------------------------------


def _with_limit(seen: Watched) -> list[str]:
    return [table for table, c in seen.contracts.items() if c.fresh_within_hours and table in seen.upstream]


def _stale(seen: Watched, newest: Mapping[str, float], now: float) -> list[Finding]:
    """Tables that were built longer ago than their contract allows. One that never was is not built yet, not old."""
    found = []
    for table in _with_limit(seen):
        hours = seen.contracts[table].fresh_within_hours or 0
        built = newest.get(table)
        if built is None or now <= built + hours * 3600:
            continue
        found.append(
            Finding(
                key=f"stale {table}",
                kind="stale",
                severity="error",
                headline=f"{table} is too old",
                where=table,
                what=f"It was last built more than {hours} hours ago, as long as its contract allows.",
                fix="See in the UI whether loads run at all: the sensor raw_drops or a schedule may be stopped.",
                page=f"/assets/{table.replace('.', '/')}",
                at=built + hours * 3600,
                cause="stale",
            )
        )
    return found


def _data_behind(instance: dg.DagsterInstance, seen: Watched, now: float) -> list[Finding]:
    """Data that end long ago although loads are switched on. Where they are not, nothing is expected to come."""
    import dagster as dg

    from ecommerce_platform.orchestration.freshness import DATA_TO, behind_since

    if instance.schedule_storage is None:  # an instance in memory: nothing can be switched on
        return []
    on = sorted(
        s.instigator_name for s in instance.all_instigator_state() if s.is_running and s.instigator_name in _LOADS
    )
    if not on:
        return []
    for table in sorted(_with_limit(seen), key=lambda t: (seen.contracts[t].fresh_within_hours or 0, t)):
        event = instance.get_latest_materialization_event(dg.AssetKey(table.split(".")))
        made = event.asset_materialization if event else None
        said = made.metadata.get(DATA_TO) if made else None
        if said is None:
            continue
        since = behind_since(date.fromisoformat(str(said.value)), seen.contracts[table].fresh_within_hours or 0)
        if now <= since:
            return []
        return [
            Finding(
                key="stale data",
                kind="stale",
                severity="warning",
                headline=f"The data end on {said.value}",
                where=table,
                what=f"No valid order of a later day has come, although {' and '.join(on)} {'is' if len(on) == 1 else 'are'} on.",
                fix="See whether drops still arrive and whether `ecommerce status` names rejects; else switch it off.",
                page=f"/assets/{table.replace('.', '/')}",
                at=since,
                cause="stale",
            )
        ]
    return []


def _look_at_figures(settings: Settings, seen: Watched, state: AlertState, now: float, result: Look) -> None:
    """KPIs out of bounds and new anomalies, when there is a snapshot that was not looked at yet."""
    from ecommerce_platform.reading.snapshots import current_snapshot, open_snapshot, read_manifest

    try:
        folder = current_snapshot(settings.published)
        if folder.name == state.snapshot:
            return
        manifest = read_manifest(folder)
        con = open_snapshot(folder)
    except InputError:  # nothing is published yet, or it was replaced this moment: the next tick looks again
        return
    try:
        newest = max((load["newest"] for load in manifest.get("loads", {}).values()), default=None)
        broken = breaches(
            con, seen.alerts, seen.contracts,
            newest_load=date.fromisoformat(newest) if newest else None, currency=seen.currency,
        )  # fmt: skip
        broken += passed_thresholds(settings, con, date.fromisoformat(newest) if newest else None)
        unusual = anomalies(con)
    finally:
        con.close()
    common: dict[str, Any] = {"at": now, "cause": f"snapshot {folder.name}"}
    result.found += [_kpi_finding(breach, seen, common) for breach in broken]
    outside = {f"kpi {breach.title}" for breach in broken}
    result.over |= {key for key, entry in state.firing.items() if entry.finding.kind == "kpi" and key not in outside}
    new = _new_anomalies(unusual, state)
    if state.snapshot:  # what the first look finds has been there before
        result.once += [_anomaly_finding(anomaly, common) for anomaly in new]
    state.snapshot = folder.name


def passed_thresholds(settings: Settings, con: DuckDBPyConnection, newest_load: date | None) -> list[Breach]:
    """What people asked to be told of in the dashboard."""
    from ecommerce_platform.contracts.metrics import read_metrics
    from ecommerce_platform.serving.access.accounts import Accounts
    from ecommerce_platform.serving.access.saved import thresholds
    from ecommerce_platform.serving.access.store import NAME
    from ecommerce_platform.serving.thresholds import passed

    if not (settings.data / NAME).is_file():
        return []
    kept = thresholds(Accounts.of(settings.data))
    return [
        Breach(f"{p.threshold.name} ({p.threshold.owner.removeprefix('user:')})", "", p.says, "warning")
        for p in passed(con, read_metrics(), kept, newest_load)
    ]


def _kpi_finding(breach: Breach, seen: Watched, common: Mapping[str, Any]) -> Finding:
    personal = bool(breach.table) and seen.personal(breach.table)
    return Finding(
        key=f"kpi {breach.title}",
        kind="kpi",
        severity=breach.severity,
        headline=f"{breach.title}",
        where=breach.table or breach.title,
        what=presentable(breach.what, personal=personal),
        examples=() if personal else tuple(presentable(example) for example in breach.examples),
        page=f"/assets/{breach.table.replace('.', '/')}" if breach.table else "",
        size=breach.rows,
        **common,
    )


def _new_anomalies(unusual: Sequence[Anomaly], state: AlertState) -> list[Anomaly]:
    """Those that were not seen before; `state` remembers them."""
    # What is not among those that are looked at any more will not be seen again.
    oldest = min((anomaly.start.isoformat() for anomaly in unusual), default="")
    state.anomalies = {
        series: left for series, told in state.anomalies.items() if (left := [w for w in told if w[1] >= oldest])
    }
    new = []
    for anomaly in unusual:
        windows = state.anomalies.setdefault(anomaly.series, [])
        start, end = anomaly.start.isoformat(), anomaly.end.isoformat()
        # A window that has grown since, or has moved a little, is the same anomaly.
        if not any(first <= end and start <= last for first, last in windows):
            windows.append((start, end))
            new.append(anomaly)
    return new


def _anomaly_finding(anomaly: Anomaly, common: Mapping[str, Any]) -> Finding:
    return Finding(
        key=f"anomaly {anomaly.series} {anomaly.start.isoformat()}",
        kind="anomaly",
        severity=anomaly.severity,
        headline=f"{anomaly.series} is not as expected",
        where=anomaly.series,
        what=presentable(anomaly.what),
        page="/assets/gold/anomalies",
        **common,
    )


def table_of(key: dg.AssetKey) -> str:
    """An asset's key → `schema.table`."""
    return ".".join(key.path)
