"""Rows that a mapping's WHERE or QUALIFY drops: how many, which, and whether somebody said that it is meant.

Within an entity a raw table has one mapping, so no other one takes what it drops. That may be right (what is paid back is
no payment) or a loss that nobody sees, since another entity used the row. What is meant is said in `source.yml`, with a
reason (`left_out:`). Counts are kept per load in `silver.loads`; the sums are made in `accounting.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.silver.mapping import CompiledMapping

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Rows that a sentence names.
_EXAMPLES = 3


def left_out_rows(con: DuckDBPyConnection, mapping: CompiledMapping, loads: str, without: str) -> dict[date, int]:
    """Load day → rows that the mapping drops, counted in bronze; without loads of which it drops none.

    Args:
        con: the warehouse.
        mapping: the mapping.
        loads: the condition that picks the loads.
        without: a table of the provenance of rows that failed: QUALIFY does not see them. Of loads that were set aside it
            drops none, because all rows that it would see are rejected.
    """
    counts = []
    if mapping.where:
        counts.append(
            f"select _load_date, count(*) as n from {mapping.bronze} where {loads} and ({mapping.where}) is not true "
            "group by _load_date"
        )
    if mapping.qualify:
        used = (
            f"{loads} and _load_date not in (select _load_date from silver.rejects where entity = '{mapping.contract.name}' "
            f"and _raw_table = '{mapping.raw_table}' and reason_code = 'load_set_aside')"
        )
        dropped = mapping.rows(used, without, qualified=False)
        counts.append(f"select _load_date, sum(_rows) as n from ({dropped}) as dropped group by _load_date")
    if not counts:
        return {}
    both = " union all ".join(counts)
    return dict(
        con.execute(f"select _load_date, cast(sum(n) as bigint) from ({both}) as parts group by _load_date").fetchall()
    )


def left_out(con: DuckDBPyConnection, mapping: CompiledMapping) -> str | None:
    """What there is to say of the rows that a mapping drops: file, count and examples of the newest load that has some.

    None where it drops none. Whether it is meant is `mapping.left_out`.
    """
    if not mapping.filters:
        return None
    row = con.execute(
        "select cast(sum(rows_left_out) as bigint), count(*), max(_load_date), cast(sum(rows_landed) as bigint) from silver.loads "
        "where entity = ? and _raw_table = ? and rows_left_out > 0",
        [mapping.contract.name, mapping.raw_table],
    ).fetchone()
    assert row is not None
    rows, loads, newest, landed = row
    if not rows:
        return None
    where = f"of {newest}" if loads == 1 else f"in {loads:,} loads"
    shown = ", ".join(f"{newest}/{file} record {record}" for file, record in _examples(con, mapping, newest))
    more = ", …" if rows > _EXAMPLES else ""
    return (
        f"{mapping.mapping.path.name}: its {mapping.filters} leaves out {rows:,} of {landed:,} rows {where}, and no other "
        f"mapping of {mapping.contract.name} takes them: {shown}{more}"
    )


def undeclared(con: DuckDBPyConnection, mappings: Sequence[CompiledMapping]) -> list[str]:
    """What there is to say of the mappings that drop rows without a reason in source.yml."""
    return [said for m in mappings if m.left_out is None and (said := left_out(con, m))]


def _examples(con: DuckDBPyConnection, mapping: CompiledMapping, day: date) -> list[tuple[str, int]]:
    loads = f"_load_date = date '{day.isoformat()}'"
    parts = []
    if mapping.where:
        parts.append(
            f"select _source_file, _source_row from {mapping.bronze} where {loads} and ({mapping.where}) is not true"
        )
    if mapping.qualify:
        # Of rejected rows QUALIFY saw nothing.
        rejected = (
            "(select _load_date, _source_file, _source_row from silver.rejects "
            f"where entity = '{mapping.contract.name}' and _raw_table = '{mapping.raw_table}' and {loads})"
        )
        dropped = mapping.rows(loads, f"{rejected} as rejected", qualified=False)
        parts.append(f"select _source_file, _source_row from ({dropped}) as dropped")
    return con.execute(
        f"select * from ({' union all '.join(parts)}) as parts order by all limit {_EXAMPLES}"
    ).fetchall()
