"""Runs whose process is gone: found by the process id they recorded, and marked as what they are.

A run that is killed together with the code server that launched it (a reboot, out of memory), or that no code server
launched (`ecommerce build`), stays STARTED in Dagster and holds its place in the queue for ever: the launcher that
runs processes on this machine has no health check, so Dagster's run monitoring sees nothing wrong. The data
need nothing: DuckDB rolled the killed write back.

Process ids mean something on one machine only. A DAGSTER_HOME with SQLite belongs to one machine; runs that a code
server on another host launched are left alone, and so are all runs of launchers with a health check of their own.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

#: A process that was created this many seconds after the run recorded its id is another one with the same number.
_CLOCK_SLACK = 2.0
#: Where the launcher records the host of the code server that runs the process.
_GRPC_INFO = ".dagster/grpc_info"

_log = logging.getLogger(__name__)


def reap_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Marks the runs whose process on this machine is gone: as failed, or as canceled when that was under way.

    Runs that are queued or not begun are never touched, and neither are those that have not recorded a process yet:
    a start that hangs is ended by Dagster's run monitoring. One query when nothing runs.

    Returns:
        The ids of the runs that were marked.
    """
    import dagster as dg

    in_process = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
    records = instance.get_run_records(dg.RunsFilter(statuses=list(in_process)))
    if not records or instance.run_launcher.supports_check_run_worker_health:
        return []
    reaped = []
    for record in records:
        run = record.dagster_run
        if not _launched_here(run):
            continue
        why = _why_dead(instance, run, record.start_time)
        if why is None:
            continue
        # Asked again after the process was found gone: a run that ended in between has said so by now.
        current = instance.get_run_by_id(run.run_id)
        if current is None or current.status not in in_process:
            continue
        if current.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(current, f"Canceled: {why}.")
        else:
            instance.report_run_failed(
                current,
                f"Failed: {why}. It was killed from outside, or the machine stopped or ran out of memory; what it was "
                "writing was rolled back. Launch the run again, unless a retry does it.",
            )
        _log.warning("run %s (%s): %s", run.run_id, run.job_name, why)
        reaped.append(run.run_id)
    return reaped


def _launched_here(run: dg.DagsterRun) -> bool:
    try:
        host = json.loads(run.tags.get(_GRPC_INFO, "{}")).get("host")
    except (ValueError, AttributeError):
        return True
    return host in (None, "", "localhost", "127.0.0.1", "::1", socket.gethostname())


def _why_dead(instance: dg.DagsterInstance, run: dg.DagsterRun, started: float | None) -> str | None:
    """What is known of the end of the run's process; None when it lives or nothing can be said."""
    import dagster as dg

    for entry in reversed(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
        event = entry.dagster_event
        recorded = event.engine_event_data.metadata.get("pid") if event is not None else None
        if recorded is None:
            continue
        try:
            pid = int(str(recorded.value))
        except ValueError:
            continue
        return _why_gone(pid, entry.timestamp)
    patience = instance.run_monitoring_start_timeout_seconds
    if run.status == dg.DagsterRunStatus.STARTED and started is not None and time.time() - started > patience:
        # The process id is recorded right after the start; a kill in between leaves none.
        return f"it recorded no process within {patience} seconds of its start"
    return None


def _why_gone(pid: int, recorded_at: float) -> str | None:
    """Why the process that had this id at that time is no more; None when it is alive."""
    import psutil

    if pid == os.getpid():
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return f"its process {pid} has ended"
        if process.create_time() > recorded_at + _CLOCK_SLACK:
            return f"its process {pid} is gone, and another one has that number now"
    except psutil.NoSuchProcess:
        return f"its process {pid} is gone"
    except psutil.AccessDenied:
        return None  # another user's: alive
    return None
