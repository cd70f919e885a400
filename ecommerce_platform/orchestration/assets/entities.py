"""Assets of entities and of their versions: declarations; mapping and loading are `silver`."""

from datetime import date

import dagster as dg

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.forgetting import load_checks as forgotten
from ecommerce_platform.orchestration.assets.declare import (
    Outcome,
    Step,
    asset_key,
    bronze_key,
    contract_asset,
    describe,
    lineage,
    load_check_result,
    load_check_specs,
    preview,
)
from ecommerce_platform.orchestration.project import Project
from ecommerce_platform.silver import load_checks
from ecommerce_platform.silver.entities import EntityLoad, code_version, load_entity, loads_set_aside
from ecommerce_platform.silver.history import check_mappings, history_code_version, load_history
from ecommerce_platform.warehouse.write import Written


def entity_asset(project: Project, contract: Contract) -> dg.AssetsDefinition:
    """The asset that fills a canonical entity from the bronze tables mapped to it."""
    mappings, key = project.compiled[contract.name], asset_key(contract.table)
    sql = "\n\n".join(m.shown for m in mappings)
    checks = [*load_checks.declared_checks(contract, mappings), *forgotten.declared_checks(contract)]
    return contract_asset(
        project,
        contract,
        lambda step: _load(project, contract, step),
        deps=[bronze_key(project, m.raw_table) for m in mappings],
        description=describe(contract, sql or None, project.note_of(contract)),
        files=[m.mapping.path for m in mappings],
        checks=load_check_specs(checks, key),
        code_version=code_version(contract, mappings),
    )


def _load(project: Project, contract: Contract, step: Step) -> Outcome:
    mappings, key = project.compiled[contract.name], asset_key(contract.table)
    with step.connect() as con:
        loaded = load_entity(
            con, project.catalog, contract, mappings,
            again=step.again, log=project.logs.get(contract.table), full_checks=step.full_checks,
        )  # fmt: skip
        shown = preview(con, contract)
        aside = loads_set_aside(con, contract.name)
        found = [
            *load_checks.load_checks(con, contract, mappings, loaded),
            *forgotten.load_checks(con, contract, project.settings.data),
        ]
    for problem in (*loaded.problems, *aside):
        step.log.error(problem)
    return Outcome(
        _written(loaded),
        {
            "loads": len(loaded.loads),
            "rejected_in_run": loaded.rejected,
            "preview": shown,
            **lineage(project, contract),
        },
        _per_day(loaded),
        [load_check_result(check, key) for check in found],
    )


def _written(loaded: EntityLoad) -> Written:
    return Written(
        loaded.rows, loaded.inserted, loaded.updated, loaded.deleted, loaded.checks,
        changed=bool(loaded.inserted or loaded.updated or loaded.deleted),
    )  # fmt: skip


def _per_day(loaded: EntityLoad) -> dict[date, dict[str, int]]:
    """Counts by load day, summed over the raw tables of an entity."""
    days: dict[date, dict[str, int]] = {}
    for (_, day), count in loaded.loads.items():
        numbers = days.setdefault(
            day, dict.fromkeys(("rows_landed", "rows_loaded", "rows_rejected", "rows_changed"), 0)
        )
        numbers["rows_landed"] += count.landed
        numbers["rows_loaded"] += count.accepted
        numbers["rows_rejected"] += count.rejected
        numbers["rows_changed"] += count.changed
    return days


def history_asset(project: Project, contract: Contract) -> dg.AssetsDefinition:
    """The asset that keeps an entity's versions; it follows the entity and reads the same bronze tables.

    Raises:
        DefinitionError: one of the entity's mappings gives rows that have no versions.
    """
    entity = project.catalog.contract(f"silver.{contract.history_of}")
    mappings = project.compiled[entity.name]
    check_mappings(contract, mappings)

    def work(step: Step) -> Outcome:
        with step.connect() as con:
            loaded = load_history(
                con, project.catalog, contract, mappings, again=step.again, full_checks=step.full_checks
            )
            shown = preview(con, contract)
        return Outcome(
            _written(loaded),
            {"loads": len(loaded.loads), "preview": shown, **lineage(project, contract)},
        )

    return contract_asset(
        project,
        contract,
        work,
        deps=[asset_key(entity.table), *dict.fromkeys(bronze_key(project, m.raw_table) for m in mappings)],
        description=describe(contract, None, project.note_of(contract)),
        files=[m.mapping.path for m in mappings],
        code_version=history_code_version(contract, entity, mappings),
    )
