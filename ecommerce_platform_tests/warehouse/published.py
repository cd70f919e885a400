"""A warehouse of three tables with a ledger, for publishing tests; what one writes is always one consistent state."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from ecommerce_platform.contracts.catalog import Catalog, Table, read_catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.publishing.publish import PublishOptions, Snapshot, publish
from ecommerce_platform.reading.snapshots import open_snapshot
from ecommerce_platform.warehouse.connection import Warehouse
from ecommerce_platform.warehouse.transaction import transaction

CUSTOMERS, LABELS, SUMMARY = TABLES = ("silver.customers", "silver.labels", "gold.kpi_summary")
LEDGER = """
create schema if not exists changes;
create table if not exists changes.versions (
    table_name varchar primary key, version bigint, whole_version bigint, code_version varchar, changed_at timestamp);
create table if not exists changes.seen (
    follower varchar, table_name varchar, version bigint, primary key (follower, table_name));
"""


@cache
def catalog() -> Catalog:
    return read_catalog()


def catalog_with(table: str, **changes: Any) -> Catalog:
    """The catalog with another contract for one table."""
    contract = Contract.model_validate({**catalog().contract(table).model_dump(), **changes})
    return Catalog({**catalog().tables, table: Table(contract, None, None)})


def record(con: duckdb.DuckDBPyConnection, table: str, version: int) -> None:
    """Notes a table's version, as whatever writes it does."""
    con.execute(
        "insert or replace into changes.versions values (?, ?, ?, 'c1', timestamp '2024-01-01' + to_hours(?))",
        [table, version, version, version],
    )


def see(con: duckdb.DuckDBPyConnection, follower: str, table: str, version: int) -> None:
    """Notes which version of `table` the `follower` was made from."""
    con.execute("insert or replace into changes.seen values (?, ?, ?)", [follower, table, version])


@dataclass
class PublishingShop:
    """A warehouse file and its published folder. The invariant: gold.kpi_summary.customers counts silver.customers."""

    folder: Path
    source: str = "tiny"
    tables: tuple[str, ...] = TABLES
    version: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.warehouse = Warehouse(self.folder / "warehouse.duckdb", self.source, {"threads": 1})
        self.published = self.folder / "published"
        with self.warehouse.connect() as con:
            con.execute(LEDGER)
            for table in (*self.tables, "bronze.files"):
                con.execute(create_table_sql(catalog().contract(table)))
            row = con.execute("select coalesce(max(version), 0) from changes.versions").fetchone()
            self.version = row[0] if row else 0
            if not self.version:
                con.execute("insert into silver.labels (domain, code, label) values ('status', 'a', 'A')")
                record(con, LABELS, 1)
        if not self.version:
            self.write(3)

    def write(self, customers: int) -> int:
        """Makes the shop one of that many customers; labels stay as they are."""
        self.version += 1
        with self.warehouse.connect() as con, transaction(con):
            con.execute("delete from silver.customers")
            con.execute(
                "insert into silver.customers (customer_id, email) select i, 'c' || i || '@example.org' from range(?) t (i)",
                [customers],
            )
            con.execute("delete from gold.kpi_summary")
            con.execute("insert into gold.kpi_summary (source, customers) values (?, ?)", [self.source, customers])
            for table in (CUSTOMERS, SUMMARY):
                record(con, table, self.version)
            see(con, SUMMARY, CUSTOMERS, self.version)
        return self.version

    def publish(self, **options: Any) -> Snapshot:
        """Publishes into the shop's folder; `options` are `PublishOptions`, or another catalog, source or folder."""
        where = {"catalog": catalog(), "source": self.source, "published": self.published}
        where |= {name: options.pop(name) for name in where.keys() & options.keys()}
        return publish(self.warehouse.connect, **where, options=PublishOptions(**options))

    def file(self, snapshot: Snapshot, table: str) -> Path:
        schema, name = table.split(".")
        return snapshot.folder / schema / f"{name}.parquet"


def customers_of(folder: Path) -> int:
    """How many customers a snapshot says there are; fails unless both tables say the same."""
    with open_snapshot(folder) as con:
        counted = con.execute("select count(*) from silver.customers").fetchall()
        told = con.execute("select customers from gold.kpi_summary").fetchall()
    assert counted == told
    return int(counted[0][0])
