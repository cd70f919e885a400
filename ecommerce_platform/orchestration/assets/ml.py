"""Assets of the models: they fetch rows, call the pure code in `ml/`, and write what it returns.

How a model is trained, judged and stored is in `ml/`; how rows become a table is in `warehouse/write.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.orchestration.assets.declare import (
    Outcome,
    Step,
    asset_key,
    check_specs,
    column_schema,
    markdown_table,
    preview,
    table_asset,
)
from ecommerce_platform.orchestration.assets.filled import filled_asset, fills
from ecommerce_platform.orchestration.project import Project
from ecommerce_platform.warehouse.changes import (
    made_within,
    record_change,
    record_seen,
    seen_versions,
    table_versions,
    unseen,
)
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import Written, count_rows, replace_table, upsert_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.ml.segments import TrainedSegments

SEED = 1
#: How long a model and its scores are left alone by builds that do not ask for them.
CADENCE = timedelta(days=7)
_TRAINING, _TRAINED_ON = "ml.segments_model", ("gold.rfm", "gold.fct_orders")
_PERSONS = "select person_id, recency_days, frequency, monetary from gold.rfm"
_PURCHASES = (
    "select person_id, order_date, revenue_amount as revenue from gold.fct_orders "
    "where is_counted and person_id is not null"
)


@fills("segments")
def segment_assets(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    """Training of the customer segments, and the segment of every person by the version that training made."""
    if "gold.rfm" not in project.models:
        return []
    return [_segment_model(project), _segments(project, contract)]


def _segment_model(project: Project) -> dg.AssetsDefinition:
    registry = project.catalog.contract("ml.models")
    key = dg.AssetKey(["ml", "segments_model"])

    def work(step: Step) -> Outcome:
        from ecommerce_platform.ml import rfm, segments

        version = segments.source_version()
        with step.connect() as con:
            if _leave(step, con, _TRAINING, _TRAINED_ON, version, kept_in=registry.table):
                return Outcome(Written(count_rows(con, registry), 0, 0, 0, (), changed=False))
            now, _ = unseen(con, _TRAINING, _TRAINED_ON, version)
            persons, purchases = con.sql(_PERSONS).pl(), con.sql(_PURCHASES).pl()
        # The warehouse is free while the model is trained.
        trained = segments.train_segments(persons, later=rfm.split_orders(purchases), seed=SEED, code_version=version)
        return _keep(project, step, trained, version, now)

    return table_asset(
        key,
        work,
        checks=check_specs(registry, key),
        listener=project.listener,
        deps=[asset_key(table) for table in _TRAINED_ON],
        group_name="ml",
        owners=list(registry.owners),
        kinds={"scikitlearn", "python"},
        tags={"model": "segments", "cadence": "weekly"},
        description="Trains the customer segments: Box-Cox, standardised, K-means with three segments on recency, "
        "frequency and monetary value. Judged on later data than it was trained on against score terciles; if it "
        "does not win, the baseline is what `ml.segments` holds. Writes a row of `ml.models`, the rows of "
        "`ml.evaluations`, and the artifact under `models/`. Trains again only if what it is trained on has changed; a build "
        "that does not ask for it leaves it alone for a week.",
        metadata={"dagster/column_schema": column_schema(registry.columns), "dagster/table_name": "ml.models"},
    )


def _keep(
    project: Project, step: Step, trained: "TrainedSegments", version: str, made_from: Mapping[str, int]
) -> Outcome:
    """Keeps a trained model: its artifact, its row of the registry and its evaluations."""
    from ecommerce_platform.ml import artifacts

    registry, evaluations = project.catalog.contract("ml.models"), project.catalog.contract("ml.evaluations")
    card = artifacts.save_artifact(project.settings.models, trained.model.to_state(), trained.card)
    with step.connect() as con:
        con.register("_evaluations", trained.evaluations.to_arrow())
        con.register("_card", artifacts.registry_frame(card).to_arrow())
        # All or nothing: a version whose evaluations are missing, or that is trained again, would be a puzzle.
        with transaction(con):
            upsert_rows(con, evaluations, _columns(evaluations.columns, "_evaluations"))
            written = upsert_rows(con, registry, _columns(registry.columns, "_card"))
            record_change(con, _TRAINING, version)
            record_seen(con, _TRAINING, made_from)
    compared = [
        (c.metric, f"{c.value:.4f}", f"{c.baseline_value:.4f}", c.interval_low, c.interval_high)
        for c in (trained.evaluation.comparisons if trained.evaluation else ())
    ]
    evaluation = markdown_table(["metric", "model", "baseline", "difference from", "to"], compared)
    return Outcome(
        written,
        {
            "version": card.version,
            "promoted": card.promoted,
            "baseline": card.baseline,
            "evaluation": dg.MetadataValue.md(evaluation),
        },
    )


def _segments(project: Project, contract: Contract) -> dg.AssetsDefinition:
    reads = ("gold.rfm", _TRAINING)

    def work(step: Step) -> Outcome:
        from ecommerce_platform.ml import segments
        from ecommerce_platform.warehouse.registry import current_version

        code = segments.source_version()
        with step.connect() as con:
            settled = _leave(step, con, contract.table, reads, code) and not _behind(con, contract.table, _TRAINING)
            if settled and not step.full_checks:
                return Outcome(Written(count_rows(con, contract), 0, 0, 0, (), changed=False))
            now, _ = unseen(con, contract.table, reads, code)
            row = current_version(con, "segments")
            persons = con.sql(_PERSONS).pl()
        model = segments.load_segments(project.settings.models, row["version"], sha256=row["sha256"])
        scored = segments.segment_rows(model, row["version"], persons)
        with step.connect() as con:
            con.register("_scored", scored.to_arrow())
            written = replace_table(
                con, contract, _columns(contract.columns, "_scored"), code_version=code, reads=reads, seen=now
            )
            return Outcome(written, {"model_version": row["version"], "preview": preview(con, contract)})

    return filled_asset(project, contract, work, list(reads))


def _leave(
    step: Step,
    con: "DuckDBPyConnection",
    table: str,
    reads: Sequence[str],
    code_version: str,
    kept_in: str | None = None,
) -> bool:
    """Whether nothing it is made from has changed or, unless somebody asks for it, whether it is not due yet."""
    if not table_exists(con, *(kept_in or table).split(".", 1)):
        return False
    _, behind = unseen(con, table, reads, code_version, kept_in=kept_in)
    return behind == {} or (step.when_due and made_within(con, table, code_version, CADENCE))


def _behind(con: "DuckDBPyConnection", table: str, read: str) -> bool:
    """Whether `table` was made from an older version of `read` than there is."""
    versions = table_versions(con)
    return read in versions and seen_versions(con).get(table, {}).get(read) != versions[read].version


def _columns(columns: Any, relation: str) -> str:
    """A SELECT that gives a registered frame the contract's types."""
    return f"select {', '.join(f'cast({n} as {c.type}) as {n}' for n, c in columns.items())} from {relation}"
