"""Row accounting: for every landed row, where it went. Counted from bronze, silver and the rejects, never assumed.

`silver.row_accounting` is the proof that nothing is lost; the ledger it starts from is written by `silver.py`. Runs
work side by side, so bronze may hold loads that another run is about to take over: they are accounted for by that run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.warehouse.mapping import CompiledMapping
from ecommerce_platform.warehouse.silver import delivered_days, taken_over
from ecommerce_platform.warehouse.write import Written, replace_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROW = "_load_date, _source_file, _source_row"


def account_rows(
    con: DuckDBPyConnection, contract: Contract, source: Source, compiled: Mapping[str, Sequence[CompiledMapping]]
) -> Written:
    """Rebuilds `silver.row_accounting`, without loads that some entity has not taken over as they now lie in bronze.

    A raw table with one mapping needs counts only. One with several is looked at row by row, because a row that
    one entity rejects may be used by another. `rows_superseded` is counted from the rows the mappings accepted, so
    a row that a mapping's WHERE drops, or that vanishes on the way, makes the sum fail.

    Raises:
        BlockedError: some row is unaccounted for.
    """
    selects = []
    for raw_table in source.file.tables:
        mappings = [m for found in compiled.values() for m in found if m.raw_table == raw_table]
        bronze = f"bronze.{quote(source.bronze_table(raw_table))}"
        if waiting := _not_taken_over(con, raw_table, mappings):
            days = ", ".join(f"date '{day.isoformat()}'" for day in sorted(waiting))
            bronze = f"(select * from {bronze} where _load_date not in ({days}))"
        landed = f"select _load_date, count(*) as landed from {bronze} as b group by _load_date"
        if len(mappings) == 1:
            selects.append(_one_mapping(mappings[0], landed))
        else:
            selects.append(_several_mappings(raw_table, mappings, bronze, landed))
    reads = {f"silver.{entity}" for entity, mappings in compiled.items() if mappings} | {
        "silver.loads",
        "silver.rejects",
    }
    reads |= {f"bronze.{source.bronze_table(raw_table)}" for raw_table in source.file.tables}
    return replace_table(con, contract, "\nunion all\n".join(selects), reads=reads)


def _not_taken_over(con: DuckDBPyConnection, raw_table: str, mappings: Sequence[CompiledMapping]) -> set[date]:
    """Loads of a raw table that bronze holds in another state than one of its entities."""
    delivered = delivered_days(con, raw_table)
    waiting: set[date] = set()
    for entity in {m.contract.name for m in mappings}:
        taken = taken_over(con, entity)
        waiting |= {d for d, files in delivered.items() if taken.get((raw_table, d), ("", ""))[0] != files}
    return waiting


def _one_mapping(mapping: CompiledMapping, landed: str) -> str:
    entity, raw = mapping.contract.name, mapping.raw_table
    if mapping.group_by:
        used = _used_by_groups(mapping, count=True)
    else:
        used = (
            f"select _load_date, count(*) as used from silver.{quote(entity)} where _raw_table = '{raw}' "
            "group by _load_date"
        )
    return f"""
select '{raw}' as _raw_table, l._load_date as _load_date, cast(l.landed as bigint) as rows_landed,
    cast(coalesce(u.used, 0) as bigint) as rows_used,
    cast(coalesce(g.rows_accepted, 0) - coalesce(u.used, 0) as bigint) as rows_superseded,
    cast(coalesce(r.rejected, 0) as bigint) as rows_rejected
from ({landed}) as l
left join ({used}) as u on u._load_date = l._load_date
left join (select _load_date, rows_accepted from silver.loads where entity = '{entity}' and _raw_table = '{raw}') as g
    on g._load_date = l._load_date
left join (select _load_date, count(*) as rejected from silver.rejects
    where entity = '{entity}' and _raw_table = '{raw}' group by _load_date) as r on r._load_date = l._load_date"""


def _several_mappings(raw: str, mappings: Sequence[CompiledMapping], bronze: str, landed: str) -> str:
    """Row by row: a row is used if any entity's current version comes from it, else rejected if any mapping rejected
    it, else superseded if some mapping accepted it. With no mapping at all, nothing is accounted for."""
    if not mappings:
        return (
            f"select '{raw}' as _raw_table, _load_date, cast(landed as bigint) as rows_landed, cast(0 as bigint) "
            f"as rows_used, cast(0 as bigint) as rows_superseded, cast(0 as bigint) as rows_rejected from ({landed}) as l"
        )
    uses = " union ".join(
        _used_by_groups(m, count=False)
        if m.group_by
        else f"select {_ROW} from silver.{quote(m.contract.name)} where _raw_table = '{raw}'"
        for m in mappings
    )
    accepting = " or ".join(f"({m.where}) is true" if m.where else "true" for m in mappings)
    return f"""
select '{raw}' as _raw_table, b._load_date as _load_date, count(*) as rows_landed,
    count(u._source_row) as rows_used,
    count(*) filter (where u._source_row is null and r._source_row is null and ({accepting})) as rows_superseded,
    count(*) filter (where u._source_row is null and r._source_row is not null) as rows_rejected
from {bronze} as b
left join (select distinct {_ROW} from ({uses}) as any_use) as u using ({_ROW})
left join (select distinct {_ROW} from silver.rejects where _raw_table = '{raw}') as r using ({_ROW})
group by b._load_date"""


def _used_by_groups(mapping: CompiledMapping, *, count: bool) -> str:
    """The bronze rows behind the groups that are current: those of the same load and key that were not rejected."""
    entity, raw = mapping.contract.name, mapping.raw_table
    key = [k for k in mapping.contract.key if mapping.expressions[k] in mapping.group_by]
    same = " and ".join(["s._load_date = b._load_date", *(f"s.{quote(k)} = b.{quote(k)}" for k in key)])
    keys = ", ".join(f"{mapping.expressions[k]} as {quote(k)}" for k in key)
    where = f"where ({mapping.where})" if mapping.where else ""
    columns = "b._load_date as _load_date, count(*) as used" if count else "b._load_date, b._source_file, b._source_row"
    return f"""select {columns}
from (select {_ROW}, {keys} from {mapping.bronze} {where}) as b
join silver.{quote(entity)} as s on s._raw_table = '{raw}' and {same}
where (b._load_date, b._source_file, b._source_row) not in (select ({_ROW}) from silver.rejects
    where entity = '{entity}' and _raw_table = '{raw}')
{"group by b._load_date" if count else ""}"""
