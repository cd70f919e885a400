"""Exports of one load that overlap: lines of a unit that stand, column for column, in more than one of its files.

Who exports by hand lands last week's file beside this week's, and both hold the orders of the days between. A mapping
that numbers a unit's lines within each file takes such a line once; one that counts on across files takes it twice.
Either way somebody should know. Files that are the same as a whole are left aside before (`ingestion/bronze.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.silver.mapping import CompiledMapping

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Loads, files and units that a sentence names.
_LOADS, _FILES, _EXAMPLES = 3, 3, 3


def overlapping_rows(con: DuckDBPyConnection, mapping: CompiledMapping, loads: str) -> dict[date, int]:
    """Load day → lines of units that stand in several files of the load, counted once; without loads that have none.

    Args:
        con: the warehouse.
        mapping: one whose rows belong to units; others have no lines that could be counted twice.
        loads: the condition that picks the loads.
    """
    if mapping.version_key == mapping.contract.key or not (several := _of_several_files(con, mapping, loads)):
        return {}
    return dict(
        con.execute(
            f"select _load_date, count(*) from ({_lines(mapping, several)}) as lines group by _load_date"
        ).fetchall()
    )


def overlaps(con: DuckDBPyConnection, entity: str, mappings: Sequence[CompiledMapping]) -> list[str]:
    """What there is to say of loads whose files overlap, the newest first: files, how much, and examples."""
    said = []
    for mapping in mappings:
        days = [
            day
            for (day,) in con.execute(
                "select _load_date from silver.loads where entity = ? and _raw_table = ? and rows_overlapping > 0 "
                "order by _load_date desc",
                [entity, mapping.raw_table],
            ).fetchall()
        ]
        said += [_sentence(con, mapping, day) for day in days[:_LOADS]]
        if len(days) > _LOADS:
            said.append(f"{mapping.raw_table}: and {len(days) - _LOADS:,} more loads")
    return said


def _sentence(con: DuckDBPyConnection, mapping: CompiledMapping, day: date) -> str:
    lines = _lines(mapping, [day])
    row = con.execute(
        f"select count(*), count(distinct _unit), list_sort(list(distinct _unit))[1:{_EXAMPLES}] from ({lines}) as lines"
    ).fetchone()
    files = con.execute(
        f"select distinct unnest(_files) from ({lines}) as lines order by 1 limit {_FILES + 1}"
    ).fetchall()
    assert row is not None
    count, units, examples = row
    names = [name for (name,) in files]
    named = (
        " and ".join(names) if len(names) <= 2 else ", ".join(names[:_FILES]) + (" …" if len(names) > _FILES else "")
    )
    return (
        f"{mapping.raw_table} of {day}: {count:,} lines of {units:,} {mapping.contract.name} units "
        f"({', '.join(mapping.version_key)}) stand in several files ({named}), e.g. of {', '.join(map(str, examples))}"
    )


def _lines(mapping: CompiledMapping, days: Collection[date]) -> str:
    """A SELECT of the lines that several files have: `_load_date`, `_unit`, `_files`."""
    unit = ", ".join(f"cast({mapping.expressions[name]} as varchar)" for name in mapping.version_key)
    where = f"_load_date in ({', '.join(f'date {chr(39)}{day}{chr(39)}' for day in sorted(days))})"
    if mapping.where:
        where += f" and ({mapping.where})"
    return (
        f"select _load_date, _unit, list(distinct _source_file) as _files from "
        f"(select _load_date, _source_file, _row_hash, concat_ws('/', {unit}) as _unit from {mapping.bronze} where {where}) "
        "as b group by _load_date, _unit, _row_hash having count(distinct _source_file) > 1"
    )


def _of_several_files(con: DuckDBPyConnection, mapping: CompiledMapping, loads: str) -> list[date]:
    """The loads that came in more than one file: only these can overlap, and most loads do not."""
    rows = con.execute(
        "select _load_date from bronze.files where raw_table = ? and rows_loaded > 0 "
        f"and ({loads}) group by _load_date having count(*) > 1 order by _load_date",
        [mapping.raw_table],
    ).fetchall()
    return [day for (day,) in rows]
