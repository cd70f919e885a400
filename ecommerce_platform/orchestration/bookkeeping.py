"""What a step leaves in Dagster's history: as little as the pages need, whatever storage it goes to.

A run over a range of days records one materialization as Dagster makes it, with text, lineage and data version: that of
the last day. Each other day gets a lean one, with its own numbers, which makes the day's square green. A check that was
not asked again keeps its verdict: it moves on to the materialization that left the rows as they were.

What is said in a materialization or a check is in `orchestration/assets/declare.py`. Names with an underscore are Dagster's
own; `test_bookkeeping.py` compares what they do here with what Dagster does.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry
    from dagster._core.execution.context.system import StepExecutionContext

#: Stored in one transaction.
_BATCH = 1000
#: Metadata that stays when a materialization is made lean: how many rows the day brought and changed.
_ROWS = "rows_"


def materialize_days(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    days: Sequence[str],
    numbers: Mapping[str, Mapping[str, Any]],
    metadata: Mapping[str, Any],
) -> Iterator[dg.AssetMaterialization | dg.Output[None]]:
    """Records a range of days as made; yield what it yields from the step.

    Args:
        context: of the step.
        key: the asset.
        days: the partition keys that were made, in order.
        numbers: partition key → numbers of that day.
        metadata: what there is to say about the range; it stands with the last day.
    """
    *others, last = days
    step: StepExecutionContext = context.get_step_execution_context()
    storage: Any = context.instance.event_log_storage
    # Where each run has a database of its own, its log need not repeat what is in the index.
    store = getattr(storage, "store_days", storage.store_event_batch)
    now = time.time()
    for batch in _batches(_entry(step, key, day, numbers.get(day, {}), now) for day in others):
        store(batch)
    name = context.assets_def.get_output_name_for_asset_key(key)
    yield _as_dagster_makes_it(step, name, key, last, {**numbers.get(last, {}), **metadata})
    yield _made_already(name)


def lean(materialization: dg.AssetMaterialization) -> dg.AssetMaterialization:
    """A materialization without what is only worth reading while it is the newest: its numbers of rows stay."""
    kept = {name: value for name, value in materialization.metadata.items() if name.startswith(_ROWS)}
    return dg.AssetMaterialization(materialization.asset_key, partition=materialization.partition, metadata=kept)


def _verdicts_of_others(storage: Any, key: dg.AssetKey, run_id: str) -> Sequence[Any]:
    """The last verdict of each check of a table that another run than this one gave."""
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
    from sqlalchemy import func, select

    table = AssetCheckExecutionsTable.c
    newest = (
        select(func.max(table.id))
        .where(table.asset_key == key.to_string(), table.execution_status.in_(["SUCCEEDED", "FAILED"]))
        .group_by(table.check_name)
    )
    query = select(table.id, table.check_name, table.evaluation_event).where(
        table.id.in_(newest), table.run_id != run_id
    )
    with storage.index_connection() as connection:
        return list(connection.execute(query).fetchall())


def verdicts_stand(context: dg.AssetExecutionContext, key: dg.AssetKey, own: Collection[str] | None) -> None:
    """Says of the checks that this step has not asked that their last verdict is about the table as it is now.

    To be called when the step's materialization is recorded. The UI shows no verdict that was given about an earlier
    materialization.

    Args:
        context: of the step.
        key: the table.
        own: the checks whose verdicts stand; None for all, because no row has changed.
    """
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
    from sqlalchemy import select

    storage: Any = context.instance.event_log_storage
    rows = _verdicts_of_others(storage, key, context.run.run_id)
    rows = [row for row in rows if own is None or row.check_name in own]
    if not rows:
        return
    events = SqlEventLogStorageTable.c
    of_asset = (events.asset_key == key.to_string(), events.dagster_event_type == "ASSET_MATERIALIZATION")
    query = select(events.id, events.run_id, events.timestamp).where(*of_asset).order_by(events.id.desc()).limit(1)
    with storage.index_connection() as connection:
        made = connection.execute(query).fetchone()
        for row in rows if made else ():
            at = made.timestamp.replace(tzinfo=UTC).timestamp()
            event = verdict_about(row.evaluation_event, run_id=made.run_id, storage_id=made.id, timestamp=at)
            connection.execute(
                AssetCheckExecutionsTable.update()
                .where(AssetCheckExecutionsTable.c.id == row.id)
                .values(evaluation_event=event, materialization_event_storage_id=made.id)
            )


def verdict_about(text: str, *, run_id: str, storage_id: int, timestamp: float) -> str:
    """The stored event of a verdict, about another materialization than the one it was given for."""
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData,
    )
    from dagster._core.events.log import EventLogEntry
    from dagster._record import copy
    from dagster._serdes import deserialize_value, serialize_value

    entry = deserialize_value(text, EventLogEntry)
    event = entry.get_dagster_event()
    evaluation = copy(
        event.asset_check_evaluation_data,
        target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
            storage_id=storage_id, run_id=run_id, timestamp=timestamp
        ),
    )
    return serialize_value(entry._replace(dagster_event=event._replace(event_specific_data=evaluation)))


def _entry(
    step: StepExecutionContext, key: dg.AssetKey, day: str, numbers: Mapping[str, Any], now: float
) -> EventLogEntry:
    from dagster._core.events import DagsterEvent, StepMaterializationData
    from dagster._core.events.log import EventLogEntry

    made = dg.AssetMaterialization(key, partition=day, metadata=numbers)
    event = DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name=step.job_name,
        step_key=step.step.key,
        event_specific_data=StepMaterializationData(made),
        message="Materialized value.",
    )
    return EventLogEntry(
        error_info=None,
        level=10,
        user_message="",
        run_id=step.run_id,
        timestamp=now,
        step_key=step.step.key,
        job_name=step.job_name,
        dagster_event=event,
    )


def _as_dagster_makes_it(
    step: StepExecutionContext, output: str, key: dg.AssetKey, day: str, metadata: Mapping[str, Any]
) -> dg.AssetMaterialization:
    """The materialization of one day with Dagster's tags: code version, data version, and those of what it was made from."""
    from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
    from dagster._core.execution.plan.execute_step import _get_output_asset_events

    (made,) = _get_output_asset_events(
        asset_key=key,
        asset_partitions=[day],
        output=dg.Output(None, output, metadata=metadata),
        output_def=step.op_def.output_def_named(output),
        io_manager_metadata={},
        step_context=step,
        execution_type=AssetExecutionType.MATERIALIZATION,
    )
    assert isinstance(made, dg.AssetMaterialization)
    return made


def _made_already(output: str) -> dg.Output[None]:
    """The output that lets the next steps begin, without a materialization for each day of the run."""
    from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

    return dg.Output(None, output, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})


def _batches(entries: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
