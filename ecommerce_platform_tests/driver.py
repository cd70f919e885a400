"""All tables of bronze, silver and gold built in this process, without Dagster's runs: the same functions, seconds less.

`Driver.build` takes over whatever of the drops folder is pending, in the order in which the assets depend on each
other. Which drops lie there, and in which version, is the caller's business (`schedules.py`); ml is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import date
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.assets.resources import open_warehouse
from ecommerce_platform.assets.tables import Ground
from ecommerce_platform.build import build_definitions, read_ground
from ecommerce_platform.ingestion.bronze import load_pending
from ecommerce_platform.ingestion.landing import Drops
from ecommerce_platform.ingestion.zone import Zone, open_zone
from ecommerce_platform.quality.anomalies import refresh_anomalies
from ecommerce_platform.quality.drift import refresh_drift
from ecommerce_platform.quality.profiles import refresh_profiles
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform.warehouse.accounting import account_rows
from ecommerce_platform.warehouse.history import load_history
from ecommerce_platform.warehouse.identities import (
    CLUSTERS,
    IDENTITIES,
    LINKS,
    Linking,
    current_linking,
    record_identity_changes,
    refresh_clusters,
    refresh_links,
)
from ecommerce_platform.warehouse.incremental import Beside, refresh_table
from ecommerce_platform.warehouse.silver import fill_brand_rules, fill_shop, load_entity

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LAYERS = ("bronze", "silver", "gold")


@dataclass(frozen=True)
class Asked:
    """What one build works on: an open warehouse, the drops there are, and days to take over again."""

    con: DuckDBPyConnection
    zone: Zone
    drops: Drops
    again: Collection[date]
    scratch: Path
    models: Path


Make = Callable[[Asked], Any]


@dataclass(frozen=True)
class Driver:
    """A source's tables in building order, and the data folder to build them in."""

    settings: Settings
    ground: Ground
    steps: dict[str, Make]

    @classmethod
    def of(cls, source: str, folder: Path) -> Driver:
        """The driver for a source whose drops are in `<folder>/raw`."""
        settings = read_settings(source=source, data_dir=folder, threads=2)
        ground = read_ground(settings)
        return cls(settings, ground, _steps(settings, ground))

    def at(self, folder: Path, **settings: Any) -> Driver:
        """The same for another data folder; costs nothing."""
        return replace(self, settings=self.settings.model_copy(update={"data_dir": folder, **settings}))

    def connect(self) -> AbstractContextManager[DuckDBPyConnection]:
        """The warehouse."""
        return open_warehouse(self.settings).connect()

    def build(self, *, again: Collection[date] = (), only_first: int | None = None) -> None:
        """Takes over all days of the drops folder that are new, changed or gone.

        Args:
            again: days to take over though nothing about them has changed.
            only_first: stops after so many tables, as a run does that is killed between two.
        """
        zone = open_zone(self.settings)
        drops = zone.drops(self.ground.source)
        with self.connect() as con:
            asked = Asked(con, zone, drops, again, self.settings.scratch, self.settings.models)
            for make in list(self.steps.values())[:only_first]:
                make(asked)


def _steps(settings: Settings, ground: Ground) -> dict[str, Make]:
    """Table → what makes it, in an order in which every table comes after those it depends on."""
    assets = build_definitions(settings).assets or ()
    graph = {key: asset.asset_deps[key] for asset in assets for key in asset.keys}  # type: ignore[union-attr]
    order = [".".join(key.path) for key in TopologicalSorter(graph).static_order()]
    made = [name for name in order if name.split(".")[0] in LAYERS]
    return {name: _make(ground, name) for name in made}


def _make(ground: Ground, name: str) -> Make:
    """The call that the asset of a table makes."""
    catalog, source, logs = ground.catalog, ground.source, ground.logs
    for raw_table in source.file.tables:
        if name == f"bronze.{source.bronze_table(raw_table)}":
            return _bronze(ground, raw_table)
    contract = catalog.contract(name)
    if name == "silver.shop":
        return lambda on: fill_shop(on.con, contract, source)
    if name == "silver.brand_rules":
        return lambda on: fill_brand_rules(on.con, contract, source)
    if name == "silver.row_accounting":
        return lambda on: account_rows(on.con, contract, source, ground.compiled)
    if contract.entity:
        mappings = ground.compiled[contract.name]
        return lambda on: load_entity(on.con, catalog, contract, mappings, again=on.again, log=logs.get(name))
    if contract.history_of:
        followed = ground.compiled[contract.history_of]
        return lambda on: load_history(on.con, catalog, contract, followed, again=on.again)
    if name == "gold.anomalies":
        return lambda on: refresh_anomalies(on.con, contract, source.file.anomalies)
    if name == "gold.table_profiles":
        return lambda on: refresh_profiles(on.con, contract, ground.compiled, again=on.again)
    if name == "gold.profile_drift":
        return lambda on: refresh_drift(on.con, contract, source.file.drift, source.file.anomalies)
    if name == LINKS:
        return lambda on: refresh_links(
            lambda: nullcontext(on.con), contract, _linking(ground, on), {"memory_limit": "1GB"}, log=logs.get(name)
        )
    if name == CLUSTERS:
        return lambda on: refresh_clusters(on.con, contract, link=source.file.identity.link, log=logs.get(name))
    model, incremental = ground.models[name], ground.incrementals.get(name)
    beside: Beside | None = None
    if name == IDENTITIES:
        trail = catalog.contract("silver.identity_changes")

        def beside(con: DuckDBPyConnection, scope: str | None) -> None:
            record_identity_changes(con, trail, scope)

    return lambda on: refresh_table(on.con, model, incremental, log=logs.get(name), beside=beside)


def _linking(ground: Ground, on: Asked) -> Linking | None:
    rules, registry = ground.source.file.identity, ground.catalog.contract("ml.models")
    return current_linking(on.con, registry, on.models, rules.threshold) if rules.link else None


def _bronze(ground: Ground, raw_table: str) -> Make:
    mappings = [m for found in ground.compiled.values() for m in found if m.raw_table == raw_table]
    expected = list(dict.fromkeys(c for m in mappings for c in m.raw_columns))
    required = {c: target for m in mappings for c, target in m.required_raw.items()}

    def make(on: Asked) -> None:
        load_pending(
            lambda: nullcontext(on.con), on.zone, on.drops, ground.source, raw_table, None, on.again,
            expected=expected, required=required, scratch=on.scratch,
        )  # fmt: skip

    return make
