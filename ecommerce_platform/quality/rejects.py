"""What was rejected and why, for people who want to put it right: groups with counts and examples, and single rows.

Rejecting is done where rows are read (`ingestion`) and mapped (`silver/entities.py`); nothing is written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.warehouse.lookup import table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: What rejected something in which form: lines and files that could not be parsed, and rows that could not become
#: part of an entity. A reason begins with the column that it is about, where it is about one.
_ALL = {
    "bronze": """
        select 'bronze.rejects' as stage, raw_table as target, raw_table, reason_code, cast(null as varchar) as about,
            _load_date, _source_file, line as place, 'line' as kind, reason, raw_text as raw
        from bronze.rejects""",
    "silver": """
        select 'silver.rejects' as stage, entity as target, _raw_table as raw_table, reason_code,
            nullif(case when reason_code <> 'load_set_aside' then regexp_extract(reason, '^[a-z_0-9]+') end, '') as about,
            _load_date, _source_file, _source_row as place, 'record' as kind, reason, raw_row as raw
        from silver.rejects""",
}


@dataclass(frozen=True)
class RejectGroup:
    """Rejects of one kind: the same table, reason code and column.

    `stage` is the table they stand in. `target` is the entity, or for what could not be parsed the raw table.
    `examples` are pairs of origin (`<day>/<file> record 12`) and reason, the newest load first.
    """

    stage: str
    target: str
    raw_table: str
    reason_code: str
    column: str | None
    rows: int
    first_load: date
    last_load: date
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RejectedRow:
    """One rejected row or line: where it came from, why, and what it said."""

    target: str
    origin: str
    reason_code: str
    reason: str
    raw: str | None


def reject_groups(
    con: DuckDBPyConnection,
    *,
    target: str | None = None,
    reason_code: str | None = None,
    load: date | None = None,
    examples: int = 3,
) -> list[RejectGroup]:
    """Everything that stands in `bronze.rejects` and `silver.rejects`, by reason, the largest group first.

    Args:
        con: a connection to the warehouse; the tables may be missing.
        target: only this entity or raw table.
        reason_code: only this kind of reason.
        load: only this load day.
        examples: how many per group.
    """
    rejects, parameters = _chosen(con, target, reason_code, load)
    if not rejects:
        return []
    rows = con.execute(
        f"""
        select stage, target, raw_table, reason_code, about, count(*), min(_load_date), max(_load_date),
            list([{_ORIGIN}, reason] order by _load_date desc, _source_file, place)[:$examples]
        from ({rejects})
        group by all
        order by count(*) desc, stage, target, reason_code, about
        """,
        {**parameters, "examples": examples},
    ).fetchall()
    return [
        RejectGroup(s, t, raw, code, column, n, first, last, tuple((origin, reason) for origin, reason in found))
        for s, t, raw, code, column, n, first, last, found in rows
    ]


def rejected_rows(
    con: DuckDBPyConnection,
    *,
    target: str | None = None,
    reason_code: str | None = None,
    load: date | None = None,
    limit: int | None = None,
) -> list[RejectedRow]:
    """Single rejects with what was delivered, by load, file and place; the arguments are those of `reject_groups`."""
    rejects, parameters = _chosen(con, target, reason_code, load)
    if not rejects:
        return []
    rows = con.execute(
        f"select target, {_ORIGIN}, reason_code, reason, raw from ({rejects}) "
        f"order by _load_date, _source_file, place, target{f' limit {int(limit)}' if limit else ''}",
        parameters,
    ).fetchall()
    return [RejectedRow(*row) for row in rows]


_ORIGIN = "concat(_load_date, '/', _source_file, coalesce(' ' || kind || ' ' || place, ''))"


def _chosen(
    con: DuckDBPyConnection, target: str | None, reason_code: str | None, load: date | None
) -> tuple[str, dict[str, object]]:
    """The rejects that are asked for as a SELECT with its parameters; empty when there is no table of rejects yet."""
    there = [sql for schema, sql in _ALL.items() if table_exists(con, schema, "rejects")]
    wanted: dict[str, object] = {"target": target, "reason_code": reason_code, "_load_date": load}
    parameters = {name.lstrip("_"): value for name, value in wanted.items() if value is not None}
    where = " and ".join(f"{name} = ${name.lstrip('_')}" for name, value in wanted.items() if value is not None)
    both = " union all ".join(there)
    return (f"select * from ({both}) where {where}" if there and where else both), parameters
