"""The project: settings, catalog, source and everything parsed from them, read once per command or code location and handed
down. Assets are declared from it; nothing below reads a definition a second time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.experiment_plan import ExperimentPlans, read_plans
from ecommerce_platform.contracts.kpi_alert import check_kpi_alerts
from ecommerce_platform.contracts.source import Source, check_ignored, read_source
from ecommerce_platform.engines.gold import Cluster
from ecommerce_platform.ingestion.landing import Drops
from ecommerce_platform.ml.lifecycle import Model
from ecommerce_platform.ml.models import makeable
from ecommerce_platform.orchestration.partitions import PENDING, Days, current_days, daily_partitions
from ecommerce_platform.persons.links import add_logs
from ecommerce_platform.quality.suites import Suite, read_suites
from ecommerce_platform.settings import Settings
from ecommerce_platform.silver.lineage import Lineage
from ecommerce_platform.silver.mapping import CompiledMapping, compile_source
from ecommerce_platform.warehouse.changes import Log
from ecommerce_platform.warehouse.incremental import Incremental, compile_incremental, logs
from ecommerce_platform.warehouse.sql_model import SqlModel, parse_models

if TYPE_CHECKING:
    import dagster as dg

    from ecommerce_platform.ingestion.zone import Zone


#: Told of a step's asset and of "start", "done" or "failed".
StepListener = Callable[["dg.AssetKey", str], None]


@dataclass(frozen=True)
class Project:
    """What all assets are declared from."""

    settings: Settings
    catalog: Catalog
    source: Source
    compiled: Mapping[str, Sequence[CompiledMapping]]
    listener: StepListener | None = None
    #: The drops as the newest run found them: all bronze assets of a run work from one listing.
    listing: dict[str, Drops] = field(default_factory=dict)

    @cached_property
    def models(self) -> dict[str, SqlModel]:
        """Every table that is a SELECT, parsed, without those that would be meaningless with this source."""
        return parse_models(self.catalog, self.compiled)

    @cached_property
    def experiments(self) -> ExperimentPlans:
        """What was planned of the shop's experiments, read once."""
        return read_plans(self.source.file.path.parent)

    @cached_property
    def cluster(self) -> Cluster:
        """Spark, which begins with the first table that it has to work out."""
        settings = self.settings
        return Cluster(settings.spark_tables, settings.spark_master, settings.spark_memory, self.contracts)

    @cached_property
    def trained(self) -> dict[str, Model]:
        """The models that can be trained with this source, by name."""
        return makeable(self.catalog, self.models)

    @cached_property
    def contracts(self) -> dict[str, Contract]:
        """Every table's contract."""
        return {name: table.contract for name, table in self.catalog.tables.items()}

    @cached_property
    def incrementals(self) -> dict[str, Incremental]:
        """The SELECTs that work out again only what a load has touched."""
        return {
            name: compile_incremental(model, self.contracts)
            for name, model in self.models.items()
            if model.contract.write == "incremental"
        }

    @cached_property
    def logs(self) -> dict[str, Log]:
        """What is logged about the changed rows of each table that others follow."""
        return add_logs(logs(self.incrementals.values()))

    @cached_property
    def lineage(self) -> Lineage:
        """Which columns the columns of every table come from."""
        return Lineage(self.catalog, self.source, self.compiled, self.models)

    @cached_property
    def suites(self) -> dict[str, Suite]:
        """The business rules that can be asked of this source, by table."""
        tables = {name for name, table in self.catalog.tables.items() if table.sql is None or name in self.models}
        filled = [entity for entity, mappings in self.compiled.items() if mappings]
        return read_suites(self.catalog, tables, filled, self.settings.source_folder)

    @cached_property
    def partitions(self) -> "dg.DailyPartitionsDefinition":
        """A partition is a day's load."""
        return daily_partitions(self.source, self.days)

    @cached_property
    def days(self) -> Days:
        """The days that have a partition, as the landing zone stood when somebody first asked."""
        return current_days(self.settings, self.source)

    def partitions_of(self, contract: Contract) -> "dg.DailyPartitionsDefinition | None":
        """The partitions of a table's asset; None for one that is made anew on a cadence of its own."""
        entity = contract.name if contract.entity else contract.history_of
        by_load = bool(entity) or contract.write == "incremental" or contract.per_load
        # What the source does not fill stays empty: no load ever reaches it.
        return self.partitions if by_load and contract.table not in self.empty else None

    @cached_property
    def empty(self) -> frozenset[str]:
        """Tables that stay empty with this source: entities it does not fill, and their versions. A SELECT that means
        nothing without them is left out of the graph (`requires` in its contract).
        """
        return frozenset(
            name
            for name, contract in self.contracts.items()
            if (entity := contract.name if contract.entity else contract.history_of) and not self.compiled.get(entity)
        )

    def note_of(self, contract: Contract) -> str | None:
        """What there is to say of a table that stays empty."""
        return "**Empty:** this source does not fill it." if contract.table in self.empty else None

    @cached_property
    def zone(self) -> "Zone":
        """The landing zone."""
        from ecommerce_platform.ingestion.zone import open_zone

        return open_zone(self.settings)

    def drops(self, listing: str) -> Drops:
        """The drops there are, listed once per run (and try): with years of days that takes some tenths of a second. The
        run that follows on a listing of what is `PENDING`, in the same process, works from that one.
        """
        if listing not in self.listing:
            pending = self.listing.pop(PENDING, None)
            self.listing.clear()
            self.listing[listing] = pending or self.zone.drops(self.source)
        return self.listing[listing]


def read_project(settings: Settings, models: Path | None = None, listener: StepListener | None = None) -> Project:
    """Everything assets are declared from: catalog, source and its compiled mappings.

    Raises:
        DefinitionError: a contract, SELECT, mapping or source.yml is wrong; names file and line.
    """
    catalog = read_catalog(models) if models else read_catalog()
    source = read_source(settings.source_folder, catalog.entities)
    check_kpi_alerts(source.file.path, source.file.alerts, {name: t.contract for name, t in catalog.tables.items()})
    contracts = {entity: catalog.contract(f"silver.{entity}") for entity in catalog.entities}
    check_ignored(source.file, contracts)
    return Project(settings, catalog, source, compile_source(source, contracts), listener)
