"""Assets of tables that a function fills: `filled_by:` of a contract names what is registered here with `@fills`.

A further such table is a contract and a function, in a module that `assembly` imports. What is computed is in the packages below.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.ml.lifecycle import Place
from ecommerce_platform.orchestration.assets.declare import (
    Outcome,
    Step,
    asset_key,
    bronze_key,
    contract_asset,
    describe,
    preview,
)
from ecommerce_platform.orchestration.project import Project
from ecommerce_platform.persons.links import CUSTOMERS, LINKS, Linking, current_linking, refresh_clusters, refresh_links
from ecommerce_platform.silver.accounting import account_entities, account_rows
from ecommerce_platform.silver.entities import fill_brand_rules, fill_shop
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: From a project and the table's contract to its asset, and what else is made with it; none where the source has not what
#: it is made from.
Declare = Callable[[Project, Contract], list[dg.AssetsDefinition]]
_REGISTERED: dict[str, Declare] = {}


def fills(name: str) -> Callable[[Declare], Declare]:
    """Registers a function under the name that `filled_by:` says."""

    def register(declare: Declare) -> Declare:
        _REGISTERED[name] = declare
        return declare

    return register


def filled_assets(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    """The assets of a table that a function fills.

    Raises:
        DefinitionError: no function is registered under the contract's name.
    """
    name = contract.filled_by or ""
    # `ml.<module>` is filled by whatever fills the tables of models.
    declare = _REGISTERED.get(name) or _REGISTERED.get("".join(name.partition(".")[:2]))
    if declare is None:
        raise DefinitionError(
            f"no function is registered as {name!r}, which fills {contract.table}",
            where=f"{contract.path}:1",
            fix=f"say one of {', '.join(sorted(_REGISTERED))}, or register it with @fills({name!r})",
        )
    return declare(project, contract)


@fills("shop")
def _shop(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    return [_by(project, contract, [], lambda con: fill_shop(con, contract, project.source), project.source.file.path)]


@fills("brand_rules")
def _brand_rules(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    file = project.source.file.path
    return [_by(project, contract, [], lambda con: fill_brand_rules(con, contract, project.source), file)]


@fills("entity_accounting")
def _entity_accounting(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    def fill(con: "DuckDBPyConnection") -> Written:
        return account_entities(con, contract, project.source, project.compiled)

    return [_by(project, contract, _loaded(project), fill)]


@fills("row_accounting")
def _row_accounting(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    def fill(con: "DuckDBPyConnection") -> Written:
        return account_rows(con, contract, project.source, project.compiled)

    return [_by(project, contract, [*_loaded(project), "silver.entity_accounting"], fill)]


@fills("customer_links")
def _links(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    rules = project.source.file.identity

    def work(step: Step) -> Outcome:
        linking: Linking | None = None
        if rules.link:
            place = Place(step.connect, project.settings.models, project.catalog)
            linking = current_linking(place, rules.threshold)
        written = refresh_links(
            step.connect, contract, linking, step.warehouse.connection_config,
            log=project.logs.get(contract.table), full_checks=step.full_checks,
        )  # fmt: skip
        with step.connect() as con:
            shown = preview(con, contract)
        return Outcome(written, {"preview": shown, "parameters": linking.parameters.version if linking else "none"})

    return [filled_asset(project, contract, work, [CUSTOMERS])]


@fills("customer_clusters")
def _clusters(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    def work(step: Step) -> Outcome:
        with step.connect() as con:
            written = refresh_clusters(
                con, contract, link=project.source.file.identity.link,
                log=project.logs.get(contract.table), full_checks=step.full_checks,
            )  # fmt: skip
            return Outcome(written, {"preview": preview(con, contract)})

    return [filled_asset(project, contract, work, [CUSTOMERS, LINKS])]


def _loaded(project: Project) -> list[str]:
    """Every table that a load writes: raw tables, filled entities and their histories.

    Histories, too, write `silver.loads`: an accounting made before them would lag behind it, and a publish would wait.
    """
    filled = [f"silver.{entity}" for entity, mappings in project.compiled.items() if mappings]
    histories = [f"silver.{h}" for h in project.catalog.histories if f"silver.{h.removesuffix('_history')}" in filled]
    return filled + histories + [".".join(bronze_key(project, raw).path) for raw in project.source.file.tables]


def _by(
    project: Project,
    contract: Contract,
    deps: Sequence[str],
    fill: Callable[["DuckDBPyConnection"], Written],
    *files: Any,
) -> dg.AssetsDefinition:
    def work(step: Step) -> Outcome:
        with step.connect() as con:
            return Outcome(fill(con), {"preview": preview(con, contract)})

    return filled_asset(project, contract, work, deps, *files)


def filled_asset(
    project: Project,
    contract: Contract,
    work: Callable[[Step], Outcome],
    deps: Sequence[str],
    *files: Any,
    note: str | None = None,
) -> dg.AssetsDefinition:
    """The asset of a table that Python fills.

    Args:
        project: what everything is declared from.
        contract: of the table.
        work: fills it.
        deps: tables it is made from; assets that are no table by their key written like one.
        files: that say something about it, besides the contract.
        note: what there is to say besides the contract's description.
    """
    return contract_asset(
        project,
        contract,
        work,
        deps=[asset_key(table) for table in deps],
        description=describe(contract, note=note),
        files=files,
    )
