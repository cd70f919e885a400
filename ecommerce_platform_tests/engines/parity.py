"""A table as Spark gives it held against DuckDB's, row for row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.engines.gold import mirror, taken_over
from ecommerce_platform.engines.spark import SparkEngine
from ecommerce_platform.warehouse.changes import table_versions
from ecommerce_platform.warehouse.sql_model import SqlModel

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EQUAL, NEARLY = "equal", "equal within 1e-9"
_TOLERANCE = 1e-9
#: What Spark needs on a machine of two cores and few rows: no task, and no compiled class, that is not worth it.
SMALL = {
    "spark.sql.shuffle.partitions": "1",
    "spark.default.parallelism": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
#: A JVM that lives for a minute: compiled quickly rather than well.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=128m"


def by_spark(con: DuckDBPyConnection, engine: SparkEngine, model: SqlModel, contracts: Mapping[str, Contract]) -> str:
    """Works a table out from those of the warehouse, and says how it compares with the one that is there."""
    from ecommerce_platform.warehouse.changes import record_change

    for table in model.reads:
        if table not in table_versions(con):
            record_change(con, table)
        mirror(con, engine.store, contracts[table])
    staged = engine.stage(model.contract, model.table.sql or "", None)
    return compare(con, model.contract, engine.store.files(staged))


def compare(con: DuckDBPyConnection, contract: Contract, files: list[str]) -> str:
    """`equal`, `equal within 1e-9` (of the larger number, doubles only), or the first rows that differ."""
    names = ", ".join(f'"{n}"' for n in contract.all_columns)
    theirs, ours = f"select {names} from ({taken_over(contract, files)})", f"select {names} from {contract.table}"
    more = con.execute(f"({theirs}) except all ({ours})").fetchall()
    less = con.execute(f"({ours}) except all ({theirs})").fetchall()
    if not more and not less:
        return EQUAL
    doubles = [column.type == "DOUBLE" for column in contract.all_columns.values()]
    waiting: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for row in less:
        waiting[_exact(row, doubles)].append(row)
    for row in more:
        near = next((o for o in waiting[_exact(row, doubles)] if _near(row, o, doubles)), None)
        if near is None or len(more) != len(less):
            return f"{len(more)} rows only on Spark, {len(less)} only in DuckDB: {row}, {less[:1]}"
        waiting[_exact(row, doubles)].remove(near)
    return NEARLY


def _exact(row: tuple[Any, ...], doubles: list[bool]) -> tuple[Any, ...]:
    return tuple(value for value, double in zip(row, doubles, strict=True) if not double)


def _near(row: tuple[Any, ...], other: tuple[Any, ...], doubles: list[bool]) -> bool:
    return all(
        a == b or (a is not None and b is not None and abs(a - b) <= _TOLERANCE * max(abs(a), abs(b)))
        for a, b, double in zip(row, other, doubles, strict=True)
        if double
    )


def jvms() -> int:
    """Java processes that this process has started and that live."""
    import psutil

    return sum(child.name() == "java" for child in psutil.Process().children(recursive=True))
