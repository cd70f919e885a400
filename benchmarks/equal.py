"""Whether two warehouses hold the same: rows, filled values, sums and, for what is no number, the values themselves.

Not row by row: at millions of orders that takes longer than building them. Columns are compared one by one, whatever
the order of the rows, so two values that have changed places within a column go unseen; `ecommerce_platform_tests/compare.py` sees them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

_TOLERANCE = 1e-9
_WHOLE = ("INTEGER", "BIGINT", "DECIMAL")


def differences(ours: Path, theirs: Path, tables: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What differs, column by column.

    Args:
        ours: a warehouse.
        theirs: another one.
        tables: table → column → its type.
    """
    found = []
    with duckdb.connect(str(ours), read_only=True) as a, duckdb.connect(str(theirs), read_only=True) as b:
        for table, columns in tables.items():
            asked = _select(table, columns)
            one, other = a.execute(asked).fetchone(), b.execute(asked).fetchone()
            assert one
            assert other
            found += [
                f"{table}: {name}: {x} and {y}"
                for name, x, y in zip(_names(columns), one, other, strict=True)
                if not _same(x, y)
            ]
    return found


def _select(table: str, columns: Mapping[str, str]) -> str:
    values = ["count(*)"]
    for name, kind in columns.items():
        if kind == "DOUBLE":
            value = f'sum("{name}")'
        elif kind.startswith(_WHOLE):
            value = f'sum(cast("{name}" as decimal(38, 4)))'
        else:
            value = f'sum(cast(hash("{name}") as hugeint))'
        values += [f'count("{name}")', value]
    return f"select {', '.join(values)} from {table}"


def _names(columns: Mapping[str, str]) -> Sequence[str]:
    return ["rows", *(f"{what} {name}" for name in columns for what in ("filled", "sum of"))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(one == other)
