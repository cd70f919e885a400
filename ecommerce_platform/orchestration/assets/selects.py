"""Assets of tables that are SELECTs: declarations; running one and following its inputs is `warehouse`."""

import dagster as dg

from ecommerce_platform.engines.gold import refresh_on_spark
from ecommerce_platform.ml.models import EVERY_SCORING, EVERY_TRAINING
from ecommerce_platform.orchestration.assets.declare import (
    Outcome,
    Step,
    asset_key,
    contract_asset,
    describe,
    lineage,
    load_check_result,
    load_check_specs,
    on_spark,
    preview,
)
from ecommerce_platform.orchestration.freshness import data_to
from ecommerce_platform.orchestration.project import Project
from ecommerce_platform.persons.links import also_written
from ecommerce_platform.quality.plausibility import load_checks
from ecommerce_platform.warehouse.incremental import refresh_table
from ecommerce_platform.warehouse.sql_model import SqlModel


def model_asset(project: Project, model: SqlModel) -> dg.AssetsDefinition:
    """The asset of a table that is a SELECT."""
    contract, table = model.contract, model.table
    assert table.sql is not None
    assert table.sql_path is not None
    key, checks = asset_key(contract.table), load_checks.declared_checks(contract)
    also_write = also_written(project.catalog).get(contract.table)

    def work(step: Step) -> Outcome:
        log, incremental = project.logs.get(contract.table), project.incrementals.get(contract.table)
        if on_spark(project, contract):
            written = refresh_on_spark(
                step.connect, project.cluster, model, incremental, log=log, full_checks=step.full_checks
            )
        with step.connect() as con:
            if not on_spark(project, contract):
                written = refresh_table(
                    con, model, incremental,
                    log=log, full_checks=step.full_checks, also_write=also_write,
                )  # fmt: skip
            shown = {"preview": preview(con, contract), **data_to(con, contract)}
            found = load_checks.load_checks(con, contract, written, project.compiled, project.source.file)
        return Outcome(
            written,
            {**shown, **lineage(project, contract)},
            checks=[load_check_result(check, key) for check in found],
        )

    return contract_asset(
        project,
        contract,
        work,
        deps=_deps(model, project),
        description=describe(contract, table.sql),
        files=[table.sql_path],
        checks=load_check_specs(checks, key),
        code_version=model.code_version,
    )


def _after(table: str, project: Project) -> list[str]:
    """What has to be made before a table can be read: itself, or, of a ledger, what it is written beside."""
    beside = project.contracts[table].written_beside if table in project.contracts else None
    if beside == EVERY_TRAINING:
        return sorted(model.key for model in project.trained.values())
    if beside == EVERY_SCORING:
        return sorted(table for model in project.trained.values() for table in model.watched)
    return [beside or table]


def _deps(model: SqlModel, project: Project) -> list[dg.AssetKey]:
    """What a SELECT reads, as assets; whoever reads a ledger waits for the last of the tables it is written beside."""
    keys = {asset_key(key): None for name in model.reads for key in _after(name, project)}
    if model.contract.layer != "silver":
        # The foreign-key check reads the parents while the table is written, so they come first.
        parents = (c.references.rpartition(".")[0] for c in model.contract.columns.values() if c.references)
        keys.update({asset_key(parent): None for parent in parents if parent != model.contract.table})
    return list(keys)
