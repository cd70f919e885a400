"""Reading results of checks and reasons of failures back from Dagster's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg


def evaluation_of(record: Any) -> dg.AssetCheckEvaluation | None:
    """The result that a record of a check holds; None where the check was only planned."""
    import dagster as dg

    event = record.event.dagster_event if record is not None and record.event else None
    if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    evaluation: dg.AssetCheckEvaluation = event.asset_check_evaluation_data
    return evaluation


def last_evaluated(instance: dg.DagsterInstance, key: dg.AssetCheckKey, latest: Any) -> Any:
    """The record with the result that still holds: runs since then planned the check, but no row that it is about had
    changed. None where there is none.
    """
    if evaluation_of(latest) is not None:
        return latest
    cursor = None
    while records := instance.event_log_storage.get_asset_check_execution_history(key, limit=50, cursor=cursor):
        if found := next((record for record in records if evaluation_of(record) is not None), None):
            return found
        cursor = records[-1].id
    return None


def failure_text(data: Any) -> str:
    """Why a step failed, from the data of its failure event: what the platform said, else the exception."""
    failure = data.user_failure_data
    if failure is not None and failure.description:
        return str(failure.description)
    error = data.error
    return str((error.cause or error).message).strip() if error is not None else "It failed."
