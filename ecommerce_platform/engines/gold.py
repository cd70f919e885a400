"""The gold layer's SELECTs worked out by Spark, while bronze, silver and what Python fills stay with DuckDB.

The warehouse's ledger of versions stays the one truth. What a SELECT reads is copied to the store when its version there is not
the ledger's; Spark writes the result as Parquet; the warehouse takes it over from those files in one transaction with the
contract's checks; only then the store gets its manifest. A kill at any moment leaves the store behind the ledger, never the
other way round, and what is behind is copied anew. Nothing here knows Dagster.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.engines.spark import SparkEngine, session
from ecommerce_platform.engines.store import Manifest, Part, Store, bucket_sql, buckets_for
from ecommerce_platform.warehouse.changes import Log, table_versions, unseen
from ecommerce_platform.warehouse.incremental import refresh_table
from ecommerce_platform.warehouse.sql_model import SqlModel
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import Written, replace_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Connect = Callable[[], AbstractContextManager["DuckDBPyConnection"]]


class Cluster:
    """Spark for as long as it is needed: the session begins with the first SELECT that has to run.

    Args:
        root: folder of the tables.
        master: as `session` takes it.
        memory: of the driver.
        contracts: of every table.
    """

    def __init__(self, root: Path, master: str, memory: str, contracts: Mapping[str, Contract]) -> None:
        self.store, self.contracts = Store(root), contracts
        self.master, self.memory = master, memory
        self._open = ExitStack()
        self._engine: SparkEngine | None = None

    @property
    def engine(self) -> SparkEngine:
        """The engine; starts it."""
        if self._engine is None:
            spark = self._open.enter_context(session(self.master, self.memory))
            for table in self.store.tables():  # what killed runs have left goes, of tables that nothing writes too
                self.store.expire(table)
            self._engine = SparkEngine(spark, self.store, self.contracts)
            atexit.register(self.close)
        return self._engine

    def close(self) -> None:
        """Ends the session and its JVM, if there is one."""
        self._engine = None
        self._open.close()
        atexit.unregister(self.close)


def refresh_on_spark(
    connect: Connect,
    cluster: Cluster,
    model: SqlModel,
    *,
    log: Log | None = None,
    full_checks: bool = False,
) -> Written:
    """Brings a table that is a SELECT up to date, as `refresh_table` does, with Spark doing the SELECT.

    The warehouse is held while its tables are copied and while the result is taken over, not while Spark works. The
    SELECT always gives all rows; what is written is the difference, so that followers see what really changed.

    Raises:
        DefinitionError: the SELECT does not fit the contract.
        BlockedError: a blocking check failed; the previous version stays.
        PassingError: another run has written the table in the store meanwhile.
    """
    contract, store = model.contract, cluster.store
    assert model.table.sql is not None
    with connect() as con:
        now, behind = unseen(con, contract.table, model.reads, model.code_version)
        if behind is not None and not behind:
            return refresh_table(con, model, None, log=log, full_checks=full_checks)
        for table in model.reads:
            mirror(con, store, cluster.contracts[table])
    base = store.current(contract.table)
    staged = cluster.engine.stage(contract, model.table.sql, base)
    with connect() as con:
        written = replace_table(
            con, contract, taken_over(contract, store.files(staged)), code_version=model.code_version, log=log,
            reads=model.reads, seen=now,
        )  # fmt: skip
        state = str(table_versions(con)[contract.table].version)
    store.commit(base, replace(staged, state=state))
    store.expire(contract.table)
    return written


def mirror(con: DuckDBPyConnection, store: Store, contract: Contract) -> Manifest:
    """Sees to it that the store holds a table of the warehouse as it is; only buckets that differ are written."""
    with transaction(con):
        versions = table_versions(con)
        state = str(versions[contract.table].version) if contract.table in versions else ""
        base = store.current(contract.table)
        if base and state and base.state == state:
            return base
        found = con.execute(f"select count(*) from {contract.table}").fetchall()
        columns = {name: column.type for name, column in contract.all_columns.items()}
        same = base is not None and base.columns == columns and buckets_for(found[0][0]) <= base.buckets
        buckets = base.buckets if base and same else buckets_for(found[0][0])
        known = base.parts if base and same else {}
        parts = _copied(con, store, contract, buckets, known)
    new = store.commit(base, Manifest(contract.table, 0, columns, buckets, parts, state))
    store.expire(contract.table)
    return new


def _copied(
    con: DuckDBPyConnection, store: Store, contract: Contract, buckets: int, known: Mapping[int, Part]
) -> dict[int, Part]:
    """The table's buckets: those whose rows are `known` as they are, the others written."""
    names = ", ".join(map(quote, contract.all_columns))
    bucket = bucket_sql(contract, buckets)
    digest = f"bit_xor(hash({names})), sum(cast(hash({names}) >> 8 as bigint))"  # equal rows cancel out in the first
    found = {
        number: Part((), rows, f"{either:x}-{total:x}")
        for number, rows, either, total in con.execute(
            f"select {bucket} as _bucket, count(*), {digest} from {contract.table} group by _bucket"
        ).fetchall()
    }
    kept = {
        n: known[n] for n, p in found.items() if n in known and (known[n].rows, known[n].digest) == (p.rows, p.digest)
    }
    if changed := sorted(found.keys() - kept.keys()):
        folder = store.stage(contract.table)
        con.execute(
            f"copy (select {names}, {bucket} as _bucket from {contract.table} where {bucket} in "
            f"({', '.join(map(str, changed))})) to '{folder}' (format parquet, partition_by (_bucket))"
        )
        for number, files in store.staged(contract.table, folder).items():
            kept[number] = Part(files, found[number].rows, found[number].digest)
    return kept


def taken_over(contract: Contract, files: list[str]) -> str:
    """The SELECT that reads Spark's files in DuckDB."""
    columns = ", ".join(f"cast({quote(n)} as {c.type}) as {quote(n)}" for n, c in contract.all_columns.items())
    if not files:
        empty = ", ".join(f"cast(null as {c.type}) as {quote(n)}" for n, c in contract.all_columns.items())
        return f"select {empty} where false"
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
    return f"select {columns} from read_parquet([{listed}], hive_partitioning = false)"
