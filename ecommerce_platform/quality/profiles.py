"""Profiles of loads: what each one brought, column by column, as rows of `gold.table_profiles`.

A profile is a function of one load: of the rows that its mapping accepted, whatever other loads say about the same
keys. So profiles are the same in every order of loads, and a load is profiled again only when its files or its mapping
have changed. All loads that wait are profiled in one pass per mapping. Whether a load differs from those before it is
in `drift.py`; pictures are made in `pictures.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Column, Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import GrowingTable, Written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Kind = str
#: Kinds whose figures are spread over bins.
BINNED = ("number", "time", "text")
#: Kinds of which single values are counted.
VALUED = ("text", "flag")

#: Part of every profile's version: another number profiles all loads again.
_RULES = "2"
#: Rows of a load that are looked at, at most about; of larger loads at least half as many.
_SAMPLE = 400
#: Values that a column may take for each of them to be counted, and how often each occurs at least on average: what
#: hardly repeats is free text, which may be personal and says nothing by its values.
_MOST_VALUES, _REPEATED = 50, 2
_LEVELS = (0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1.0)
_FIGURES = ("minimum", "q01", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q99", "maximum")
_ROW = "_load_date, _source_file, _source_row"
#: Border of the bin that a figure lies in: 0, or the next one towards 0 of twenty per power of ten, to three digits.
_MACROS = """
create or replace temp macro _border(step) as
    round(pow(10, step / 20.0), cast(2 - floor(step / 20.0) as integer));
create or replace temp macro _bin(x) as
    case when abs(x) < 1e-9 then 0.0 else sign(x) * _border(cast(floor(20 * log10(abs(x)) + 1e-9) as integer)) end;
"""


@dataclass(frozen=True)
class _Load:
    """A load that an entity has taken over."""

    day: date
    rows: int
    version: str


def kind_of(name: str, column: Column, contract: Contract) -> Kind:
    """What is told of a column; see the contract of `gold.table_profiles`."""
    if column.pii or column.erase:  # the smallest latitude of a load is somebody's home
        return "personal"
    if column.type == "VARCHAR":
        is_key = name in contract.key or column.references is not None or name.endswith(("_id", "_key"))
        return "key" if is_key else "text"
    if column.type == "BOOLEAN":
        return "flag"
    return "time" if column.type in ("DATE", "TIMESTAMP") else "number"


def refresh_profiles(
    con: DuckDBPyConnection,
    contract: Contract,
    compiled: Mapping[str, Sequence[CompiledMapping]],
    *,
    again: Collection[date] = (),
    full_checks: bool = False,
) -> Written:
    """Profiles the loads that entities have taken over and that have no profile yet, or one of another version.

    Args:
        con: a connection to the warehouse; the entities are loaded before.
        contract: of `gold.table_profiles`.
        compiled: every entity's mappings.
        again: days to profile again though nothing about them has changed.
        full_checks: checks the whole table even if only some rows were written.

    Raises:
        BlockedError: a blocking check failed; everything stays as it was.
    """
    mappings = [m for found in compiled.values() for m in found]
    definition = sha256(f"{contract.text}{_RULES}".encode()).hexdigest()[:16]
    with transaction(con):
        taken = _taken_over(con, definition)
        table = GrowingTable(con, contract, definition)
        con.execute(_MACROS)
        con.execute("create or replace temp table _table_profiles as select * from gold.table_profiles limit 0")
        profiled = _profiled(con)
        wanted = {(m.contract.name, m.raw_table) for m in mappings}
        deleted = sum(_delete(con, pair, None) for pair in profiled.keys() - wanted)
        for mapping in mappings:
            pair = (mapping.contract.name, mapping.raw_table)
            loads, there = taken.get(pair, {}), profiled.get(pair, {})
            pending = [x for day, x in loads.items() if there.get(day) != x.version or day in again]
            stale = {day for day in there if day not in loads} | {x.day for x in pending if x.day in there}
            deleted += _delete(con, pair, stale)
            if pending:
                _profile(con, mapping, pending)
        reads = ("silver.rejects", *(f"silver.{entity}" for entity, found in compiled.items() if found))
        return table.take_in("_table_profiles", deleted, reads, full_checks=full_checks)


def _taken_over(con: DuckDBPyConnection, definition: str) -> dict[tuple[str, str], dict[date, _Load]]:
    """Entity and raw table → the loads that the entity has taken over."""
    found: dict[tuple[str, str], dict[date, _Load]] = defaultdict(dict)
    if table_exists(con, "silver", "loads"):
        for entity, raw, day, rows, version in con.execute(
            "select entity, _raw_table, _load_date, rows_accepted, md5(concat_ws('/', fingerprint, code_version, ?)) "
            "from silver.loads order by all",
            [definition],
        ).fetchall():
            found[entity, raw][day] = _Load(day, rows, version)
    return found


def _profiled(con: DuckDBPyConnection) -> dict[tuple[str, str], dict[date, str]]:
    found: dict[tuple[str, str], dict[date, str]] = defaultdict(dict)
    for entity, raw, day, version in con.execute(
        "select entity, _raw_table, _load_date, any_value(version) from gold.table_profiles group by all"
    ).fetchall():
        found[entity, raw][day] = version
    return found


def _delete(con: DuckDBPyConnection, pair: tuple[str, str], days: Collection[date] | None) -> int:
    """Deletes the profiles of some or all (None) loads of an entity's raw table; how many rows that were."""
    if days is not None and not days:
        return 0
    which = "" if days is None else f" and _load_date in ({_days(days)})"
    row = con.execute(
        f"delete from gold.table_profiles where entity = ? and _raw_table = ?{which}", list(pair)
    ).fetchone()
    return int(row[0]) if row else 0


def _profile(con: DuckDBPyConnection, mapping: CompiledMapping, loads: Sequence[_Load]) -> None:
    """Adds the profiles of these loads to `_table_profiles`."""
    contract, entity, raw = mapping.contract, mapping.contract.name, mapping.raw_table
    con.execute("create or replace temp table _loads (_load_date date, rows_accepted bigint, version varchar)")
    con.execute(
        "insert into _loads select unnest(?::date[]), unnest(?::bigint[]), unnest(?::varchar[])",
        [[x.day for x in loads], [x.rows for x in loads], [x.version for x in loads]],
    )
    con.execute(
        f"create or replace temp table _rejected as select {_ROW} from silver.rejects "
        "where entity = ? and _raw_table = ? and _load_date in (select _load_date from _loads)",
        [entity, raw],
    )
    days = f"_load_date in ({_days([x.day for x in loads])})"
    sampled = _sampled(loads)
    if mapping.combines:
        # Only whole groups have values, so they are made of all rows first.
        con.execute(f"create or replace temp table _mapped as {mapping.rows(days, without='_rejected')}")
        con.execute(f"create or replace temp table _sample as select * from _mapped where {sampled}")
        con.execute(
            "create or replace temp table _counted as "
            "select _load_date, count(*) as rows_count from _mapped group by _load_date"
        )
        con.execute("drop table _mapped")
    else:
        rows = mapping.rows(f"{days} and ({sampled})", without="_rejected")
        con.execute(f"create or replace temp table _sample as {rows}")
        con.execute(
            "create or replace temp table _counted as select _load_date, rows_accepted as rows_count from _loads"
        )
    columns = {n: kind_of(n, contract.columns[n], contract) for n in contract.columns if n in mapping.expressions}
    cells = " union all ".join(_cells(number, name, kind) for number, (name, kind) in enumerate(columns.items()))
    names = ", ".join(f"({n}, '{name}', '{kind}')" for n, (name, kind) in enumerate(columns.items()))
    con.execute(_PROFILE.format(entity=entity, raw=raw, cells=cells, columns=names))
    con.execute("drop table _loads; drop table _rejected; drop table _sample; drop table _counted")


def _sampled(loads: Sequence[_Load]) -> str:
    """Condition on bronze rows: those that are looked at. Every row of small loads; of larger ones every second, fourth
    and so on in the order of the multiples of the golden ratio (Knuth, The Art of Computer Programming, 6.4), which
    spreads them evenly over the file whatever period its rows have."""
    steps: dict[int, list[date]] = defaultdict(list)
    for load in loads:
        step = 1
        while load.rows > _SAMPLE * step:
            step *= 2
        steps[step].append(load.day)
    if set(steps) == {1}:
        return "true"
    return " or ".join(
        f"_load_date in ({_days(days)})"
        + (f" and (_source_row * 2654435761) % 4294967296 < {2**32 // step}" if step > 1 else "")
        for step, days in sorted(steps.items())
    )


def _cells(number: int, name: str, kind: Kind) -> str:
    """SELECT of one column of `_sample` with a row per row: the column's number, its figure, its value as far as single
    values are counted, and a hash that tells values apart."""
    value = quote(name)
    figure = {
        "number": f"cast({value} as double)",
        "time": f"cast(date_diff('day', cast({value} as date), _load_date) as double)",
        "text": f"cast(length({value}) as double)",
        "key": f"cast(length({value}) as double)",
    }.get(kind, "cast(null as double)")
    shown = f"cast({value} as varchar)" if kind in VALUED else "cast(null as varchar)"
    return (
        f"select _load_date, {number} as place, {figure} as figure, {shown} as shown, "
        f"case when {value} is not null then hash({value}) end as told_apart from _sample"
    )


#: Profiles of the cells of a sample. Loads without a row have one, too.
_PROFILE = f"""
insert into _table_profiles by name
with cells as ({{cells}}),
figures as (
    select
        _load_date, place, count(*) as rows_profiled, count(told_apart) as filled,
        count(distinct told_apart) as distinct_values,
        quantile_disc(figure, [{", ".join(map(str, _LEVELS))}]) as levels,
        avg(figure order by figure) as mean, stddev_samp(figure order by figure) as deviation,
        histogram(_bin(figure)) as bins, histogram(shown) as shown
    from cells
    group by _load_date, place
)
select
    '{{entity}}' as entity, '{{raw}}' as _raw_table, l._load_date, c.column_name, c.kind,
    coalesce(n.rows_count, 0) as rows_count, coalesce(f.rows_profiled, 0) as rows_profiled,
    coalesce(f.rows_profiled - f.filled, 0) as nulls, coalesce(f.distinct_values, 0) as distinct_values,
    {", ".join(f"f.levels[{n}] as {name}" for n, name in enumerate(_FIGURES, start=1))},
    f.mean, f.deviation,
    case
        when f.distinct_values <= {_MOST_VALUES} and f.distinct_values * {_REPEATED} <= f.filled
            and c.kind in ({", ".join(f"'{kind}'" for kind in VALUED)})
            then '{{{{' || array_to_string(
                list_transform(
                    list_sort(
                        list_transform(
                            map_entries(f.shown), lambda e: {{{{'n': -cast(e.value as bigint), 'k': e.key}}}}
                        )
                    ),
                    lambda e: cast(to_json(e.k) as varchar) || ':' || -e.n
                ), ','
            ) || '}}}}'
    end as top_values,
    case
        when f.filled > 0 and c.kind in ({", ".join(f"'{kind}'" for kind in BINNED)})
            then cast(to_json(f.bins) as varchar)
    end as histogram,
    l.version
from _loads as l
cross join (values {{columns}}) as c (place, column_name, kind)
left join _counted as n on l._load_date = n._load_date
left join figures as f on l._load_date = f._load_date and c.place = f.place
"""


def _days(days: Collection[date]) -> str:
    return ", ".join(f"date '{day.isoformat()}'" for day in sorted(days))
