"""Exports of known shop systems, drafted, checked and loaded into silver in this process, with nothing written by hand
but currency and time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.source import read_source
from ecommerce_platform.ingestion.bronze import load_bronze
from ecommerce_platform.ingestion.landing import with_exploded
from ecommerce_platform.scaffold.check import Report, check_source
from ecommerce_platform.scaffold.new import NewSource, new_source
from ecommerce_platform.scaffold.sample import read_sample
from ecommerce_platform.scaffold.temporary import temporary_warehouse
from ecommerce_platform.silver.entities import load_entity
from ecommerce_platform.silver.mapping import examine_mappings
from ecommerce_platform_tests.scaffold.conftest import TODAY


@dataclass(frozen=True)
class Drafted:
    """A drafted source: what was written, what the check says, and its silver tables by `ask`."""

    new: NewSource
    report: Report
    tables: dict[str, list[dict[str, Any]]]

    def rows(self, entity: str, **where: Any) -> list[dict[str, Any]]:
        """Rows of an entity that have these values."""
        return [row for row in self.tables[entity] if all(row[name] == value for name, value in where.items())]

    def total(self, entity: str, *columns: str, **where: Any) -> Decimal:
        """The sum over the rows of the product of columns, to the cent; null is nothing."""
        total = Decimal(0)
        for row in self.rows(entity, **where):
            part = Decimal(1)
            for column in columns:
                part *= Decimal(row[column] or 0)
            total += part
        return total.quantize(Decimal("0.01"))


def draft(folder: Path, export: Path, catalog: Catalog, currency: str = "EUR", zone: str = "Europe/Berlin") -> Drafted:
    """Drafts a source, fills in currency and time zone, checks it and loads its files into silver."""
    new = new_source(str(folder / "drafted"), export, catalog, TODAY, threads=2)
    path = new.folder / "source.yml"
    text = re.sub(r"(?m)^currency: .*$", f"currency: {currency}", path.read_text(encoding="utf-8"))
    path.write_text(re.sub(r"(?m)^time_zone: .*$", f"time_zone: {zone}", text), encoding="utf-8")
    report = check_source(new.folder, catalog, export, TODAY, threads=2)
    return Drafted(new, report, silver(new.folder, export, catalog))


def silver(folder: Path, export: Path, catalog: Catalog) -> dict[str, list[dict[str, Any]]]:
    """The silver tables of a source that an export, or a folder of drops, fills."""
    source = read_source(folder, catalog.entities)
    contracts = {entity: catalog.contract(f"silver.{entity}") for entity in catalog.entities}
    compiled, problems = examine_mappings(source, contracts)
    assert problems == [], problems
    tables = {}
    with temporary_warehouse(source.name, threads=2) as (con, scratch):
        for name in ("bronze.files", "bronze.rejects", "silver.loads", "silver.rejects", "silver.empty_units"):
            con.execute(create_table_sql(catalog.contract(name)))
        files = [f.file for table in read_sample(export, TODAY).tables.values() for f in table.files]
        of_files = {
            raw: [f for f in files if any(Path(f.name).match(p) for p in table.files)]
            for raw, table in source.file.tables.items()
        }
        for raw, mine in with_exploded(of_files, source).items():
            mappings = [m for found in compiled.values() for m in found if m.raw_table == raw]
            expected = list(dict.fromkeys(c for m in mappings for c in m.raw_columns))
            load_bronze(
                con, source, raw, mine, {f.day for f in mine}, expected=expected, required={}, scratch=scratch
            )  # fmt: skip
        for entity, mappings in compiled.items():
            if mappings:
                load_entity(con, catalog, contracts[entity], mappings)
                found = con.execute(f"select * from silver.{entity}")
                names = [column[0] for column in found.description]
                tables[entity] = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return tables
