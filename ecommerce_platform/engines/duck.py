"""DuckDB as an engine: the interface over `warehouse/write.py`, which does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.engines.interface import Differing
from ecommerce_platform.warehouse.contract_checks import CheckResult, check_table
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import Written, find_difference, fits, replace_table, upsert

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


class DuckDbEngine:
    """The engine over a connection to the warehouse."""

    def __init__(self, con: DuckDBPyConnection) -> None:
        self.con = con

    def replace(self, contract: Contract, select: str) -> Written:
        """As the interface says."""
        return replace_table(self.con, contract, select)

    def upsert(self, contract: Contract, select: str) -> Written:
        """As the interface says."""
        return upsert(self.con, contract, select)

    def difference(self, contract: Contract, select: str) -> Differing:
        """As the interface says."""
        con = self.con
        with transaction(con):
            fits(con, contract, select)
            con.execute(create_table_sql(contract))
            con.execute(f"create or replace temp view _old as select rowid as _rowid, * from {contract.table}")
            con.execute(f"create or replace temp table _new as {select}")
            found = find_difference(con, contract, "_old", "_new")
            con.execute("drop view _old; drop table _new; drop table _difference")
        return Differing(found.inserted, found.updated, found.deleted)

    def arrow(self, select: str) -> pa.RecordBatchReader:
        """As the interface says."""
        return self.con.cursor().sql(select).to_arrow_reader()

    def checks(self, contract: Contract) -> list[CheckResult]:
        """As the interface says."""
        return check_table(self.con, contract)
