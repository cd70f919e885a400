"""Row accounting: for every landed row, where it went. Counted from bronze, silver and the rejects, never assumed.

`silver.row_accounting` is the proof that nothing is lost, `silver.entity_accounting` says the same entity by entity: a
money line that one mapping drops may be used by another. The ledger they start from is written by `entities.py`. Runs
work side by side, so bronze may hold loads that another run is about to take over: they are accounted for by that run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.silver.entities import delivered_days, taken_over
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse.write import Written, replace_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROW = "_load_date, _source_file, _source_row"


def account_entities(
    con: DuckDBPyConnection, contract: Contract, source: Source, compiled: Mapping[str, Sequence[CompiledMapping]]
) -> Written:
    """Rebuilds `silver.entity_accounting`: for each entity where the rows of its raw tables are, the same loads as in
    `account_rows`.

    What a load brought, and what its mapping left out, was counted when it was taken over; only what is used is counted
    anew. A row that vanishes on the way makes the sum fail.

    Raises:
        BlockedError: some row is unaccounted for.
    """
    selects = []
    for raw_table in source.file.tables:
        mappings = _mappings_of(raw_table, compiled)
        landed = _landed(_bronze(con, source, raw_table, mappings))
        selects += [_one_mapping(mapping, landed) for mapping in mappings]
    empty = ", ".join(f"cast(null as {c.type}) as {quote(name)}" for name, c in contract.columns.items())
    sql = "\nunion all\n".join(selects) or f"select {empty} where false"
    return replace_table(con, contract, sql, reads=_reads(source, compiled))


def account_rows(
    con: DuckDBPyConnection, contract: Contract, source: Source, compiled: Mapping[str, Sequence[CompiledMapping]]
) -> Written:
    """Rebuilds `silver.row_accounting`, without loads that some entity has not taken over as they now lie in bronze.

    A raw table with one mapping is accounted for as its entity (`account_entities` comes first). One with several is
    looked at row by row, because a row that one entity rejects may be used by another. `rows_superseded` is counted
    from the rows the mappings accepted, so a row that vanishes on the way makes the sum fail, and so does one that every
    mapping's WHERE drops, unless source.yml says of each of them why.

    Raises:
        BlockedError: some row is unaccounted for.
    """
    selects = []
    for raw_table in source.file.tables:
        mappings = _mappings_of(raw_table, compiled)
        if len(mappings) == 1:
            left_out = "rows_left_out" if mappings[0].left_out else "cast(0 as bigint) as rows_left_out"
            selects.append(
                f"select _raw_table, _load_date, rows_landed, rows_used, rows_superseded, rows_rejected, {left_out} "
                f"from silver.entity_accounting where _raw_table = '{raw_table}'"
            )
        else:
            bronze = _bronze(con, source, raw_table, mappings)
            selects.append(
                _several_mappings(raw_table, mappings, bronze) if mappings else _unmapped(source, raw_table, bronze)
            )
    reads = _reads(source, compiled) | {"silver.entity_accounting"}
    return replace_table(con, contract, "\nunion all\n".join(selects), reads=reads)


def _mappings_of(raw_table: str, compiled: Mapping[str, Sequence[CompiledMapping]]) -> list[CompiledMapping]:
    return [m for found in compiled.values() for m in found if m.raw_table == raw_table]


def _reads(source: Source, compiled: Mapping[str, Sequence[CompiledMapping]]) -> set[str]:
    entities = {f"silver.{entity}" for entity, mappings in compiled.items() if mappings}
    bronze = {f"bronze.{source.bronze_table(raw_table)}" for raw_table in source.file.tables}
    return entities | bronze | {"silver.loads", "silver.rejects"}


def _bronze(con: DuckDBPyConnection, source: Source, raw_table: str, mappings: Sequence[CompiledMapping]) -> str:
    """The bronze rows that are accounted for."""
    bronze = f"bronze.{quote(source.bronze_table(raw_table))}"
    if waiting := _not_taken_over(con, raw_table, mappings):
        days = ", ".join(f"date '{day.isoformat()}'" for day in sorted(waiting))
        bronze = f"(select * from {bronze} where _load_date not in ({days}))"
    return bronze


def _landed(bronze: str) -> str:
    return f"select _load_date, count(*) as landed from {bronze} as b group by _load_date"


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
    if mapping.group_by or mapping.gathered:
        used = _used_together(mapping, count=True)
    else:
        used = (
            f"select _load_date, count(*) as used from silver.{quote(entity)} where _raw_table = '{raw}' "
            "group by _load_date"
        )
    mine = f"entity = '{entity}' and _raw_table = '{raw}'"
    return f"""
select '{entity}' as entity, '{raw}' as _raw_table, l._load_date as _load_date,
    cast(l.landed as bigint) as rows_landed,
    cast(coalesce(u.used, 0) as bigint) as rows_used,
    cast(coalesce(g.rows_accepted, 0) - coalesce(u.used, 0) as bigint) as rows_superseded,
    cast(coalesce(r.rejected, 0) as bigint) as rows_rejected,
    cast(coalesce(g.rows_left_out, 0) as bigint) as rows_left_out
from ({landed}) as l
left join ({used}) as u on u._load_date = l._load_date
left join (select _load_date, rows_accepted, rows_left_out from silver.loads where {mine}) as g
    on g._load_date = l._load_date
left join (select _load_date, count(*) as rejected from silver.rejects
    where {mine} group by _load_date) as r on r._load_date = l._load_date"""


def _unmapped(source: Source, raw: str, bronze: str) -> str:
    """Nothing is accounted for without a mapping; but documents that other tables are made of are used by these, element by
    element."""
    used = "landed" if source.file.made_from(raw) else "0"
    return (
        f"select '{raw}' as _raw_table, _load_date, cast(landed as bigint) as rows_landed, cast({used} as bigint) as "
        f"rows_used, cast(0 as bigint) as rows_superseded, cast(0 as bigint) as rows_rejected, "
        f"cast(0 as bigint) as rows_left_out from ({_landed(bronze)}) as l"
    )


def _several_mappings(raw: str, mappings: Sequence[CompiledMapping], bronze: str) -> str:
    """Row by row: a row is used if any entity's current version comes from it, else rejected if any mapping rejected
    it, else superseded if some mapping accepted it, else left out if every mapping has a reason."""
    uses = " union ".join(
        _used_together(m, count=False)
        if m.group_by or m.gathered
        else f"select {_ROW} from silver.{quote(m.contract.name)} where _raw_table = '{raw}'"
        for m in mappings
    )
    accepting = " or ".join(_accepts(m) for m in mappings) if all(m.filters for m in mappings) else "true"
    left_out = f"not ({accepting})" if all(m.left_out for m in mappings) else "false"
    return f"""
select '{raw}' as _raw_table, b._load_date as _load_date, count(*) as rows_landed,
    count(u._source_row) as rows_used,
    count(*) filter (where u._source_row is null and r._source_row is null and ({accepting})) as rows_superseded,
    count(*) filter (where u._source_row is null and r._source_row is not null) as rows_rejected,
    count(*) filter (where u._source_row is null and r._source_row is null and {left_out}) as rows_left_out
from {bronze} as b
left join (select distinct {_ROW} from ({uses}) as any_use) as u using ({_ROW})
left join (select distinct {_ROW} from silver.rejects where _raw_table = '{raw}') as r using ({_ROW})
group by b._load_date"""


def _accepts(mapping: CompiledMapping) -> str:
    """Condition on a bronze row `b`: neither WHERE nor QUALIFY drops it. Of groups QUALIFY says nothing about rows."""
    conditions = [f"({mapping.where}) is true"] if mapping.where else []
    if mapping.qualify and not mapping.group_by:
        rejected = (
            f"(select {_ROW} from silver.rejects where entity = '{mapping.contract.name}' "
            f"and _raw_table = '{mapping.raw_table}') as rejected"
        )
        conditions.append(
            f"(b._load_date, b._source_file, b._source_row) in (select ({_ROW}) from ({mapping.rows('true', rejected)}) as kept)"
        )
    return f"({' and '.join(conditions) or 'true'})"


def _used_together(mapping: CompiledMapping, *, count: bool) -> str:
    """The bronze rows behind rows that several are behind: those of the same load and key that were not rejected. Gathered
    columns of deltas are made of all loads."""
    entity, raw = mapping.contract.name, mapping.raw_table
    key = [k for k in mapping.contract.key if mapping.gathered or mapping.expressions[k] in mapping.group_by]
    provenance = [] if mapping.gathered and mapping.delivery == "delta" else ["_load_date"]
    provenance += ["_source_file"] if mapping.by_file else []
    same = " and ".join([f"s.{c} = b.{c}" for c in provenance] + [f"s.{quote(k)} = b.{quote(k)}" for k in key])
    keys = ", ".join(f"{mapping.expressions[k]} as {quote(k)}" for k in key)
    where = f"where ({mapping.where})" if mapping.where else ""
    columns = "b._load_date as _load_date, count(*) as used" if count else "b._load_date, b._source_file, b._source_row"
    return f"""select {columns}
from (select {_ROW}, {keys} from {mapping.bronze} {where}) as b
join silver.{quote(entity)} as s on s._raw_table = '{raw}' and {same}
where (b._load_date, b._source_file, b._source_row) not in (select ({_ROW}) from silver.rejects
    where entity = '{entity}' and _raw_table = '{raw}')
{"group by b._load_date" if count else ""}"""
