"""Assets of the models: they fetch rows, call the pure code in `ml/`, and write what it returns.

How a model is trained, judged and stored is in `ml/`; how rows become a table is in `warehouse/write.py`.
"""

from typing import Any

import dagster as dg

from ecommerce_platform.assets.declare import (
    Outcome,
    Step,
    asset_key,
    check_specs,
    column_schema,
    markdown_table,
    preview,
    table_asset,
)
from ecommerce_platform.assets.tables import Ground, filled_asset
from ecommerce_platform.warehouse.changes import record_change, record_seen, unseen
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import Written, count_rows, replace_table, upsert

SEED = 1
_TRAINING, _TRAINED_ON = "ml.segments_model", ("gold.rfm", "gold.fct_orders")
_PERSONS = "select person_id, recency_days, frequency, monetary from gold.rfm"
_PURCHASES = (
    "select person_id, order_date, revenue_amount as revenue from gold.fct_orders "
    "where is_counted and person_id is not null"
)


def segment_assets(ground: Ground) -> list[dg.AssetsDefinition]:
    """Training of the customer segments, and the segment of every person by the version that training made."""
    return [_segment_model(ground), _segments(ground)]


def _segment_model(ground: Ground) -> dg.AssetsDefinition:
    registry, evaluations = ground.catalog.contract("ml.models"), ground.catalog.contract("ml.evaluations")
    key = dg.AssetKey(["ml", "segments_model"])

    def work(step: Step) -> Outcome:
        from ecommerce_platform.ml import artifacts, rfm, segments

        version = segments.source_version()
        with step.connect() as con:
            now, behind = unseen(con, _TRAINING, _TRAINED_ON, version)
            if behind is not None and not behind:
                return Outcome(Written(count_rows(con, registry), 0, 0, 0, (), changed=False))
            persons, purchases = con.sql(_PERSONS).pl(), con.sql(_PURCHASES).pl()
        # The warehouse is free while the model is trained.
        trained = segments.train_segments(persons, later=rfm.split_orders(purchases), seed=SEED, code_version=version)
        card = artifacts.save_artifact(ground.settings.models, trained.model.to_state(), trained.card)
        with step.connect() as con:
            con.register("_evaluations", trained.evaluations.to_arrow())
            con.register("_card", artifacts.registry_frame(card).to_arrow())
            upsert(con, evaluations, _columns(evaluations.columns, "_evaluations"))
            written = upsert(con, registry, _columns(registry.columns, "_card"))
            with transaction(con):
                record_change(con, _TRAINING, version)
                record_seen(con, _TRAINING, now)
        compared = [
            (c.metric, f"{c.value:.4f}", f"{c.baseline_value:.4f}", c.interval_low, c.interval_high)
            for c in (trained.evaluation.comparisons if trained.evaluation else ())
        ]
        return Outcome(
            written,
            {
                "version": card.version,
                "promoted": card.promoted,
                "baseline": card.baseline,
                "evaluation": dg.MetadataValue.md(
                    markdown_table(["metric", "model", "baseline", "difference from", "to"], compared)
                ),
            },
        )

    return table_asset(
        key,
        work,
        checks=check_specs(registry, key),
        listener=ground.listener,
        deps=[asset_key(table) for table in _TRAINED_ON],
        group_name="ml",
        owners=list(registry.owners),
        kinds={"scikitlearn", "python"},
        tags={"model": "segments", "cadence": "weekly"},
        description="Trains the customer segments: Box-Cox, standardised, K-means with three segments on recency, "
        "frequency and monetary value. Judged on later data than it was trained on against score terciles; if it "
        "does not win, the baseline is what `ml.segments` holds. Writes a row of `ml.models`, the rows of "
        "`ml.evaluations`, and the artifact under `models/`. Trains again only if what it is trained on has changed.",
        metadata={"dagster/column_schema": column_schema(registry.columns), "dagster/table_name": "ml.models"},
    )


def _segments(ground: Ground) -> dg.AssetsDefinition:
    contract = ground.catalog.contract("ml.segments")

    def work(step: Step) -> Outcome:
        from ecommerce_platform.ml import segments
        from ecommerce_platform.ml.registry import current_version

        with step.connect() as con:
            row = current_version(con, "segments")
            persons = con.sql(_PERSONS).pl()
        model = segments.load_segments(ground.settings.models, row["version"], sha256=row["sha256"])
        scored = segments.segment_rows(model, row["version"], persons)
        with step.connect() as con:
            con.register("_scored", scored.to_arrow())
            written = replace_table(con, contract, _columns(contract.columns, "_scored"))
            return Outcome(written, {"model_version": row["version"], "preview": preview(con, contract)})

    return filled_asset(ground, contract, work, ["gold.rfm", "ml.segments_model"])


def _columns(columns: Any, relation: str) -> str:
    """A SELECT that gives a registered frame the contract's types."""
    return f"select {', '.join(f'cast({n} as {c.type}) as {n}' for n, c in columns.items())} from {relation}"
