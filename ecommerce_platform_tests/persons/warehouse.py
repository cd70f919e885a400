"""A database whose customers change at will, and the tables of persons made of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import duckdb

from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.source import IdentityRules
from ecommerce_platform.persons import identity
from ecommerce_platform.persons.links import (
    CHANGES,
    CLUSTERS,
    CUSTOMERS,
    IDENTITIES,
    LINKS,
    Linking,
    add_logs,
    record_identity_changes,
    refresh_clusters,
    refresh_links,
)
from ecommerce_platform.warehouse.changes import record_change, table_versions
from ecommerce_platform.warehouse.incremental import refresh_table
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import Written, apply_difference, find_difference
from ecommerce_platform_tests.properties.changing import CONTRACTS, DECLARED, MODELS

THRESHOLD = IdentityRules().threshold
LOGS = add_logs(DECLARED.logs)
DEFAULT = identity.default_identity()
LINKING = Linking(DEFAULT.parameters, THRESHOLD)
TABLES = (LINKS, CLUSTERS, IDENTITIES)


class Persons:
    """silver.customers with given rows (columns that are not given are null), and what follows from them."""

    def __init__(self, linking: Linking | None = LINKING) -> None:
        self.linking = linking
        self.con = duckdb.connect(":memory:", config={"threads": 1, "python_enable_replacements": False})
        self.con.execute("create schema silver; create schema ml")

    def hold(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Makes silver.customers hold these rows, by customer_id, in one transaction."""
        contract, con = CONTRACTS[CUSTOMERS], self.con
        with transaction(con):
            new = CUSTOMERS not in table_versions(con)
            if new:
                con.execute(create_table_sql(contract))
                record_change(con, CUSTOMERS, log=LOGS[CUSTOMERS])
            con.execute(f"create or replace temp table _stage as from {CUSTOMERS} where false")
            columns = list(contract.all_columns)
            values = [[{"customer_id": key, **row}.get(c) for c in columns] for key, row in rows.items()]
            if values:
                con.executemany(f"insert into _stage values ({', '.join('?' for _ in columns)})", values)
            con.execute(f"create or replace temp table _was as select rowid as _rowid, * from {CUSTOMERS}")
            difference = find_difference(con, contract, "_was", "_stage")
            apply_difference(con, contract, difference, "", LOGS[CUSTOMERS])

    def refresh(self, table: str) -> Written:
        """Brings one table up to date."""
        contract, log = CONTRACTS[table], LOGS.get(table)
        if table == LINKS:
            return refresh_links(lambda: nullcontext(self.con), contract, self.linking, {"threads": 1}, log=log)
        if table == CLUSTERS:
            return refresh_clusters(self.con, contract, link=self.linking is not None, log=log)

        def also_write(con: duckdb.DuckDBPyConnection, scope: str | None) -> None:
            record_identity_changes(con, CONTRACTS[CHANGES], scope)

        return refresh_table(self.con, MODELS[table], DECLARED.incrementals.get(table), log=log, also_write=also_write)

    def build(self) -> None:
        """Brings everything up to date."""
        for table in TABLES:
            self.refresh(table)

    def content(self, table: str) -> list[tuple[Any, ...]]:
        """All rows in order."""
        return self.con.execute(f"select * from {table} order by all").fetchall()

    def persons(self) -> dict[str, str]:
        """customer_id → person_id."""
        return dict(self.con.execute(f"select customer_id, person_id from {IDENTITIES}").fetchall())

    def trail(self) -> list[tuple[str, str | None, str | None, str]]:
        """The audit trail without times, in the order of writes."""
        return self.con.execute(
            f"select customer_id, old_person_id, new_person_id, reason from {CHANGES} order by version, customer_id"
        ).fetchall()
