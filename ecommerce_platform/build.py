"""The one assembly point: settings in, `Definitions` out. Also the seam for tests.

Which assets exist follows from the files: the catalog under `models/`, the source's folder. Nothing is opened,
listed or read from the environment here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg

from ecommerce_platform.assets.declare import StepListener
from ecommerce_platform.assets.resources import warehouse_resource
from ecommerce_platform.assets.tables import (
    LEDGERS,
    Ground,
    accounting_asset,
    bronze_asset,
    entity_asset,
    history_asset,
    model_asset,
    shop_asset,
)
from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.source import Source, read_source
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse.mapping import compile_source
from ecommerce_platform.warehouse.sql_model import SqlModel, parse_model

if TYPE_CHECKING:
    from pathlib import Path


def read_ground(settings: Settings, models: Path | None = None, listener: StepListener | None = None) -> Ground:
    """Everything assets are declared from: catalog, source and its compiled mappings.

    Raises:
        DefinitionError: a contract, SELECT, mapping or source.yml is wrong; names file and line.
    """
    catalog = read_catalog(models) if models else read_catalog()
    source = read_source(settings.source_folder, catalog.entities)
    contracts = {entity: catalog.contract(f"silver.{entity}") for entity in catalog.entities}
    return Ground(settings, catalog, source, compile_source(source, contracts), listener)


def parse_models(catalog: Catalog, source: Source, filled: Mapping[str, object]) -> dict[str, SqlModel]:
    """Every table that is a SELECT, parsed; without those that would be meaningless with this source.

    Args:
        catalog: all tables.
        source: the shop, for the names of its bronze tables.
        filled: canonical entities → their mappings; an entity without any is empty.

    Raises:
        DefinitionError: a SELECT is wrong, or reads a table that this source leaves out.
    """
    models = {name: parse_model(table, catalog.tables) for name, table in catalog.tables.items() if table.sql}
    left_out: set[str] = set()
    while True:
        more = {
            name
            for name, model in models.items()
            if name not in left_out
            and (any(not filled.get(e) for e in model.contract.requires) or any(r in left_out for r in model.reads))
        }
        if not more:
            return {name: model for name, model in models.items() if name not in left_out}
        left_out |= more


def build_definitions(
    settings: Settings, *, models: Path | None = None, listener: StepListener | None = None
) -> dg.Definitions:
    """All assets, checks and resources for these settings.

    Args:
        settings: paths, source and limits.
        models: another folder of tables than the package's own (tests).
        listener: told when a step starts, ends or fails (the command line's progress bar).

    Raises:
        DefinitionError: with file and line.
    """
    from ecommerce_platform.assets.ml import segment_assets
    from ecommerce_platform.automation.event_log import keep_event_log_fast

    keep_event_log_fast(settings.home)
    ground = read_ground(settings, models, listener)
    parsed = parse_models(ground.catalog, ground.source, ground.compiled)
    assets: list[dg.AssetsDefinition] = [bronze_asset(ground, raw) for raw in ground.source.file.tables]
    for name, table in ground.catalog.tables.items():
        if table.contract.entity:
            assets.append(entity_asset(ground, table.contract))
        elif table.contract.history_of:
            assets.append(history_asset(ground, table.contract))
        elif name in parsed:
            assets.append(model_asset(ground, parsed[name]))
        elif table.contract.filled_by and name not in LEDGERS and table.contract.layer == "silver":
            assets.append({"silver.shop": shop_asset, "silver.row_accounting": accounting_asset}[name](ground))
    if "gold.rfm" in parsed:
        assets.extend(segment_assets(ground))
    _no_cycles(assets)
    return dg.Definitions(
        assets=assets,
        resources={"warehouse": warehouse_resource(settings)},
        jobs=[
            dg.define_asset_job(
                "build", selection=dg.AssetSelection.all(), description="Everything, from drops to models."
            )
        ],
        executor=dg.in_process_executor,
    )


def _no_cycles(assets: list[dg.AssetsDefinition]) -> None:
    """Says which tables read each other in a circle; Dagster's own message names no file."""
    reads = {key: set(a.asset_deps[key]) for a in assets for key in a.keys}
    done: set[dg.AssetKey] = set()
    while ready := {key for key, deps in reads.items() if key not in done and deps & reads.keys() <= done}:
        done |= ready
    if circle := sorted(".".join(key.path) for key in reads.keys() - done):
        raise DefinitionError(
            f"these tables read each other in a circle: {', '.join(circle)}",
            fix="break the circle in one of their SELECTs",
        )
