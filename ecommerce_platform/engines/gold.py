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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.engines.spark import SparkEngine, session
from ecommerce_platform.engines.store import Manifest, Part, Store, bucket_sql, buckets_for
from ecommerce_platform.errors import PassingError
from ecommerce_platform.warehouse.changes import Log, record_seen, table_versions, unseen
from ecommerce_platform.warehouse.incremental import Incremental, recompute, refresh_table, touch
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
    incremental: Incremental | None = None,
    *,
    log: Log | None = None,
    full_checks: bool = False,
) -> Written:
    """Brings a table that is a SELECT up to date, as `refresh_table` does, with Spark doing the SELECT.

    The warehouse is held while its tables are copied and while the result is taken over, not while Spark works. What
    is written there is the difference, so that followers see what really changed.

    Args:
        connect: opens the warehouse.
        cluster: Spark, and the store.
        model: the table.
        incremental: how it is updated by keys, if it is; otherwise all of its rows are worked out.
        log: what is logged about its own changed rows.
        full_checks: checks the whole table rather than the touched rows.

    Raises:
        DefinitionError: the SELECT does not fit the contract.
        BlockedError: a blocking check failed; the previous version stays.
        PassingError: another run has written the table meanwhile.
    """
    contract, store = model.contract, cluster.store
    with connect() as con:
        now, behind = unseen(con, contract.table, model.reads, model.code_version)
        keys = _touched(con, store, incremental, behind) if incremental and behind else None
        if behind is not None and (not behind or (keys and not keys.count)):
            return refresh_table(con, model, incremental, log=log, full_checks=full_checks)
        for table in model.reads:
            mirror(con, store, cluster.contracts[table])
        base = mirror(con, store, contract) if keys else store.current(contract.table)
    if incremental and keys and base and base.buckets >= buckets_for(base.rows):
        written = _refresh_keys(connect, cluster, incremental, keys, base, now, log, full_checks=full_checks)
    else:
        written = _refresh_whole(connect, cluster, model, base, now, log)
    if keys:
        store.discard(keys.file.parent)
    store.expire(contract.table)
    return written


@dataclass(frozen=True)
class _Keys:
    """The keys that changes have reached: how many, and the file that holds them if there are any."""

    count: int
    file: Path


def _touched(con: DuckDBPyConnection, store: Store, table: Incremental, behind: Mapping[str, int]) -> _Keys | None:
    """The keys to work out again; None if the table is better built whole."""
    contract = table.contract
    file = store.stage(contract.table) / "touched.parquet"
    with transaction(con):
        count = touch(con, table, behind)
        if count:
            file.parent.mkdir()
            typed = (f"cast({quote(n)} as {contract.all_columns[n].type}) as {quote(n)}" for n in contract.recompute_by)
            con.execute(f"copy (select {', '.join(typed)} from touched) to {_text(file)} (format parquet)")
    return None if count is None else _Keys(count, file)


def _refresh_whole(
    connect: Connect, cluster: Cluster, model: SqlModel, base: Manifest | None, now: Mapping[str, int], log: Log | None
) -> Written:
    contract, store = model.contract, cluster.store
    assert model.table.sql is not None
    staged = cluster.engine.stage(contract, model.table.sql, base)
    with connect() as con:
        written = replace_table(
            con, contract, taken_over(contract, store.files(staged)), code_version=model.code_version, log=log,
            reads=model.reads, seen=now,
        )  # fmt: skip
        state = str(table_versions(con)[contract.table].version)
    store.commit(base, replace(staged, state=state))
    return written


def _refresh_keys(
    connect: Connect, cluster: Cluster, table: Incremental, keys: _Keys, base: Manifest, now: Mapping[str, int],
    log: Log | None, *, full_checks: bool,
) -> Written:  # fmt: skip
    """`base` is the table as the warehouse had it when the keys were found."""
    contract, store = table.contract, cluster.store
    staged, parts = cluster.engine.stage_touched(table, base, keys.file)
    rows = taken_over(contract, store.files(replace(staged, parts=parts)))
    with connect() as con:
        with transaction(con):
            if base.state != str(table_versions(con)[contract.table].version):
                raise PassingError(
                    f"another run has written {contract.table} in the meantime",
                    fix="nothing was changed by this one; run it again",
                )
            con.execute(f"create or replace temp table touched as from read_parquet({_text(keys.file)})")
            written = recompute(con, table, log, full_checks=full_checks, rows=rows)
            record_seen(con, contract.table, now)
        state = str(table_versions(con)[contract.table].version)
    if written.changed:
        store.commit(base, replace(staged, state=state))
    else:
        for folder in {Path(name).parts[1] for part in parts.values() for name in part.files}:
            store.discard(store.folder(contract.table) / "parts" / folder)
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
    listed = ", ".join(map(_text, files))
    return f"select {columns} from read_parquet([{listed}], hive_partitioning = false)"


def _text(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"
