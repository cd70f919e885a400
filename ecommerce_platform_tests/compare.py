"""Two warehouses held against each other, row for row.

`differences` says, table by table, what is in one and not in the other; an empty list means that they are equal.
Doubles may differ in their last digits, because the order in which they are added up is not fixed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform_tests.driver import LAYERS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Says when it was loaded or lay there, not what: (table, column).
CLOCKS = {("bronze.files", "loaded_at"), ("bronze.files", "modified_ns"), ("bronze.files", "seen_ns")}
#: Which delivery a row is from: a shop exported once and one delivered by the day cannot agree on it.
PROVENANCE_COLUMNS = ("_load_date", "_source_file", "_source_row", "_row_hash")
PROVENANCE_TABLES = (
    "silver.loads",
    "silver.entity_accounting",
    "silver.row_accounting",
    "gold.table_profiles",
    "gold.profile_drift",
    # Customers as they were known on a day: made of the histories, which say on which day something was delivered.
    "gold.customer_features_as_of",
    "gold.customer_features",
    "gold.churn_factors",
)
#: Tells in which order things happened; nothing is made from it.
ORDER_TABLES = ("silver.identity_changes",)
_TOLERANCE = 1e-9
#: Differing rows shown per table.
_SHOWN = 3


def differences(con: DuckDBPyConnection, other: Path) -> list[str]:
    """What differs between the warehouse of `con` and the one in the file `other`, in all tables."""
    return _differences(con, other, lambda name: True, ())


def differences_but_provenance(con: DuckDBPyConnection, other: Path) -> list[str]:
    """The same without what depends on how the shop's records were delivered: provenance, history and rejects."""
    return _differences(con, other, _says_more_than_provenance, PROVENANCE_COLUMNS)


def _says_more_than_provenance(table: str) -> bool:
    is_ledger = table in PROVENANCE_TABLES or table.startswith("bronze.")
    return not (is_ledger or table.endswith((".rejects", "_history")))


def _differences(
    con: DuckDBPyConnection, other: Path, compared: Callable[[str], bool], without: Collection[str]
) -> list[str]:
    con.execute(f"attach '{other}' as other (read_only)")
    try:
        row = con.execute("select current_database()").fetchone()
        assert row is not None
        mine, theirs = _columns(con, row[0]), _columns(con, "other")
        found: list[str] = []
        for table in sorted(mine.keys() | theirs.keys()):
            if not compared(table) or table in ORDER_TABLES:
                continue
            if table not in mine or table not in theirs:
                found.append(f"{table}: is only in {'this' if table in mine else 'the other'} warehouse")
                continue
            names = sorted(c for c in mine[table].keys() | theirs[table].keys() if c not in without)
            columns = [(c, mine[table].get(c), theirs[table].get(c)) for c in names if (table, c) not in CLOCKS]
            if not table.startswith("bronze."):
                found += [f"{table}: column {c[0]} differs in type or existence" for c in columns if c[1] != c[2]]
            found += _rows_that_differ(con, table, columns)
        return found
    finally:
        con.execute("detach other")


_Column = tuple[str, tuple[str, str] | None, tuple[str, str] | None]


def _columns(con: DuckDBPyConnection, database: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Table → lower case of a column's name → its name and type. Bronze columns keep the spelling they came with."""
    found: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for schema, table, column, kind in con.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns() "
        "where database_name = ? and schema_name in (select unnest(?::varchar[])) and not internal",
        [database, list(LAYERS)],
    ).fetchall():
        found[f"{schema}.{table}"][column.lower()] = (column, kind)
    return found


def _rows_that_differ(con: DuckDBPyConnection, table: str, columns: Sequence[_Column]) -> list[str]:
    # A bronze column that only deliveries had which are gone stays, empty; the other table may lack it.
    mine = ", ".join(f"{quote(c[1][0]) if c[1] else 'null'} as {quote(c[0])}" for c in columns)
    theirs = ", ".join(f"{quote(c[2][0]) if c[2] else 'null'} as {quote(c[0])}" for c in columns)
    here, there = f"select {mine} from {table}", f"select {theirs} from other.{table}"
    more = con.execute(f"({here}) except all ({there})").fetchall()
    less = con.execute(f"({there}) except all ({here})").fetchall()
    if not more and not less:
        return []
    more, less = _not_nearly_equal(more, less)
    if not more and not less:
        return []
    names = [c[0] for c in columns]
    lines = [f"{table}: {len(more)} rows are only here, {len(less)} only in the other ({', '.join(names)})"]
    lines += [f"  + {row}" for row in more[:_SHOWN]] + [f"  - {row}" for row in less[:_SHOWN]]
    return lines


def _not_nearly_equal(more: list[tuple[Any, ...]], less: list[tuple[Any, ...]]) -> tuple[list[Any], list[Any]]:
    """What is left of two lists of rows when each row has found one in the other that differs only in last digits."""
    waiting: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for row in less:
        waiting[_without_doubles(row)].append(row)
    alone = []
    for row in more:
        candidates = waiting[_without_doubles(row)]
        match = next((c for c in candidates if _near(row, c)), None)
        if match is None:
            alone.append(row)
        else:
            candidates.remove(match)
    return _sorted(alone), _sorted([row for rows in waiting.values() for row in rows])


def _without_doubles(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("double" if isinstance(value, float) else value for value in row)


def _near(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    pairs = ((a, b) for a, b in zip(one, other, strict=True) if isinstance(a, float))
    return all(math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) or (a != a and b != b) for a, b in pairs)


def _sorted(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)
