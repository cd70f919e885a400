"""Raw tables made of the elements of arrays in the records of another raw table, which bronze holds already.

A table with `explode` in source.yml has no files of its own: of each load it holds the elements that the other table's
records of that load have in an array, with their place there and the values of `parent`. So it is a function of what
bronze holds, and its books (`bronze.files`, rejects, columns) are those of the files that the elements came in.
What files hold is read by `loader`, what the values mean begins in silver.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.explode import PARENT_ROW, POSITION, Path, Value
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.delivery import FileLoad, missing_columns, too_many_rejects
from ecommerce_platform.ingestion.pending import book
from ecommerce_platform.ingestion.readers import json_pointer, text
from ecommerce_platform.ingestion.rejects import RAW_CHARACTERS
from ecommerce_platform.ingestion.sniff import unique_names
from ecommerce_platform.ingestion.target import Target
from ecommerce_platform.warehouse.lookup import column_types
from ecommerce_platform.warehouse.write import ensure_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: More different keys than this are data, not columns.
MAX_KEYS = 2_000
#: Elements whose keys are looked at first.
_FIRST = 1_000
_FILE = "_load_date, _source_file"
_ELEMENTS, _SHAPES = "temp._elements", "temp._element_keys"


@dataclass(frozen=True)
class Exploded:
    """What bronze holds of an exploded table after a load: its target, and what there is to say of each file."""

    target: Target
    files: tuple[FileLoad, ...]


def explode(
    con: DuckDBPyConnection,
    source: Source,
    raw_table: str,
    days: Collection[date],
    *,
    expected: Sequence[str],
    required: Mapping[str, str],
) -> Exploded:
    """Makes an exploded table hold for `days` the elements that bronze has of them, within the caller's transaction.

    Args:
        con: the warehouse.
        source: the source that `raw_table` belongs to.
        raw_table: a table with `explode`.
        days: the days; others stay as they are.
        expected: columns that exist in any case.
        required: columns without which a file counts as faulty, and what each is needed for.

    Raises:
        InputError: the elements have so many keys that these must be data.
    """
    return _Explosion(con, source, raw_table, days, expected, required).run()


class _Explosion:
    """One load of an exploded table: names and what is known so far."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        source: Source,
        raw_table: str,
        days: Collection[date],
        expected: Sequence[str],
        required: Mapping[str, str],
    ) -> None:
        raw = source.file.tables[raw_table]
        assert raw.exploded is not None
        self.con, self.source, self.raw_table, self.raw = con, source, raw_table, raw
        self.path: Path = raw.exploded
        self.around = f"bronze.{quote(source.bronze_table(self.path.table))}"
        self.nested = bool(source.file.tables[self.path.table].explode)
        self.days, self.required = sorted(days), required
        #: As the elements' table spells them, the values of `parent` first: what an element calls the same comes after.
        self.parents: dict[str, Value] = raw.parent_values
        self.given = (*self.parents, POSITION, PARENT_ROW)
        ours = {name.lower() for name in self.given}
        self.expected = [column for column in expected if column.lower() not in ours]
        place = {PARENT_ROW: "BIGINT", POSITION: "BIGINT"}
        self.target = Target(
            con, source.bronze_table(raw_table), self.expected, place, source.file.arrays_in(raw_table)
        )

    def run(self) -> Exploded:
        """The whole load."""
        self.target.clear(self.days, [*self.parents, *self.expected])
        for name in ("files", "rejects", "empty_arrays"):
            ensure_table(self.con, book(name))
            self.con.execute(
                f"delete from bronze.{name} where raw_table = $raw and _load_date in (select unnest($days))",
                {"raw": self.raw_table, "days": self.days},
            )
        self._take_elements()
        columns = self._keys()
        self._write(columns)
        self._note_rejects()
        self._note_empty()
        self.con.execute(f"drop table {_ELEMENTS}; drop table {_SHAPES}")
        return Exploded(self.target, self._outcomes(columns))

    # -- SQL of the levels -----------------------------------------------------------------------------------

    def _root(self) -> str:
        """The records around: where they stand, the values of `parent` that they have, and the first array, `_j`."""
        types = {name.lower(): name for name in column_types(self.con, self.around)}
        parents = [
            f"{_column(types, value.keys)} as {quote(name)}" for name, value in self.parents.items() if value.level == 0
        ]
        array = _column(types, self.path.levels[0], "json_extract")
        # A record is one of the file's, also for elements of elements.
        row = f"{PARENT_ROW}, {POSITION} as _p0" if self.nested else f"_source_row as {PARENT_ROW}"
        return (
            f"select {', '.join([_FILE, row, '_source_row as _around', *parents])}, {array} as _j from {self.around} "
            "where _load_date in (select unnest($days))"
        )

    def _enclosing(self, level: int) -> str:
        """The records, or the elements of the array of a level, with the next array as `_j`."""
        if level == 0:
            return self._root()
        outer = f"_p{level}"
        parents = [
            f"{_position_of(level, value) or _member('_e', value.keys)} as {quote(name)}"
            for name, value in self.parents.items()
            if value.level == level
        ]
        array = _member("_e", self.path.levels[level], "json_extract")
        return (
            f"select * exclude (_e){''.join(f', {p}' for p in parents)}, {array} as _j from "
            f"({self._elements(level - 1, outer)}) as x where json_type(_e) = 'OBJECT'"
        )

    def _elements(self, level: int, position: str) -> str:
        """The elements `_e` of the array of a level, each with its place in it."""
        return (
            f"select * exclude (_items), unnest(_items) as _e, generate_subscripts(_items, 1) as {position} from "
            f"(select * exclude (_j), {_items('_j')} as _items from ({self._enclosing(level)}) as r)"
        )

    def _where(self, level: int) -> str:
        """Columns that tell the records around an array of a level apart."""
        return ", ".join([_FILE, PARENT_ROW, "_around", *self._outer(level)])

    def _outer(self, level: int) -> list[str]:
        """Places in the arrays around that of a level, the outermost first."""
        return [f"_p{outer}" for outer in range(0 if self.nested else 1, level + 1)]

    # -- steps -----------------------------------------------------------------------------------------------

    def _take_elements(self) -> None:
        """`_elements`: every element of the last array as text, in the order of the files."""
        last = len(self.path.levels) - 1
        self.con.execute(
            f"create or replace temp table _elements as {self._elements(last, POSITION)}", {"days": self.days}
        )
        # Lists are slow to group: most have the keys of one of the first, and go by its place.
        first = f"select json_keys(_e) as keys from {_ELEMENTS} limit {_FIRST}"
        known = self.con.execute(f"select distinct keys from ({first}) where len(keys) > 0").fetchall()
        lists = ", ".join(f"[{', '.join(text(key) for key in keys)}]" for (keys,) in known)
        forms = f"cast([{lists}] as varchar[][])"
        place = f"list_position({forms}, json_keys(_e))"
        self.con.execute(
            f"create or replace temp table _element_keys as select * exclude (form, keys), coalesce({forms}[form], keys) as keys "
            f"from (select {_FILE}, starts_with(cast(_e as varchar), '{{') as is_object, {place} as form, "
            f"case when {place} is null then json_keys(_e) end as keys, count(*) as n from {_ELEMENTS} group by all)"
        )
        #: Elements that are no records. Mostly there are none, and then nobody looks at each again.
        self.bad = self._one(f"select coalesce(sum(n), 0) from {_SHAPES} where not ({_SOUND})")

    def _keys(self) -> dict[tuple[date, str], list[str]]:
        """The elements' keys by file, in the order in which columns are made of them."""
        rows = self.con.execute(
            f"select {_FILE}, list(key order by place, key) from (select {_FILE}, key, min(place) as place from "
            f"(select {_FILE}, unnest(keys) as key, generate_subscripts(keys, 1) as place from {_SHAPES} where {_SOUND}) "
            "group by all) group by all"
        ).fetchall()
        return {(day, file): keys for day, file, keys in rows}

    def _write(self, columns: Mapping[tuple[date, str], Sequence[str]]) -> None:
        keys = list(dict.fromkeys(key for _, found in sorted(columns.items()) for key in found))
        if len(keys) > MAX_KEYS:
            raise InputError(
                f"the elements of {self.path.text} have {len(keys):,} different keys, so keys are data there",
                where=f"{self.source.file.path}, tables.{self.raw_table}.explode",
                fix="have them delivered as a list of objects with the same keys",
            )
        names = unique_names([*self.given, *keys])[len(self.given) :]
        self.target.ensure([*self.parents, *names])
        starts = self.con.execute(
            f"select {_FILE}, count(*), min(rowid), max(rowid) from {_ELEMENTS} group by all"
        ).fetchall()
        for day, file, count, first, last in starts:
            if last - first + 1 != count:
                raise RuntimeError(f"{self.target.table}: elements of {day}/{file} do not stand together")
        values = f"json_extract_string(_e, [{', '.join(text(json_pointer(key)) for key in keys)}])" if keys else "null"
        spelled = [
            f"_v[{place}] as {quote(self.target.spelling[name.lower()])}" for place, name in enumerate(names, start=1)
        ]
        given = [f"{quote(name)} as {quote(self.target.spelling[name.lower()])}" for name in self.given]
        places = [*self._outer(len(self.path.levels) - 1), POSITION]
        hashed = ", ".join(["_e", *(quote(name) for name in sorted(self.parents)), *places])
        self.con.execute("create or replace temp table _starts (_load_date date, _source_file varchar, start bigint)")
        if starts:
            self.con.executemany(
                "insert into _starts values (?, ?, ?)", [(day, file, first) for day, file, _, first, _ in starts]
            )
        self.con.execute(
            f"insert into {self.target.table} by name select {', '.join([_FILE, '_source_row', '_row_hash', *given, *spelled])} "
            f"from (select *, {values} as _v, hash({hashed}) as _row_hash from "
            f"(select e.*, e.rowid - s.start + 1 as _source_row from {_ELEMENTS} as e inner join _starts as s using ({_FILE}) "
            f"{'where ' + _is_record('e._e') if self.bad else ''}) as numbered) as read"
        )
        self.con.execute("drop table _starts")

    def _note_rejects(self) -> None:
        """What is in an array and no record, and what stands in an array's place and is none."""
        last = len(self.path.levels) - 1
        parts = []
        if self.bad:
            parts.append(
                f"select {self._where(last)}, {POSITION} as _at, {self._named(last)} || '[' || {POSITION} || ']' as _what, "
                f"_e as _found, case when json_type(_e) = 'OBJECT' then 'duplicate_key' else 'not_an_object' end as _code "
                f"from {_ELEMENTS} where not ({_is_record('_e')})"
            )
        for level in range(last + 1):
            parts.append(
                f"select {self._where(level)}, 0 as _at, {self._named(level)} as _what, _j as _found, 'not_an_array' as _code "
                f"from ({self._enclosing(level)}) as r where {_no_array('_j')}"
            )
            if level:
                parts.append(
                    f"select {self._where(level - 1)}, _p{level} as _at, {self._named(level - 1)} || '[' || _p{level} || ']' "
                    f"as _what, _e as _found, 'not_an_object' as _code from ({self._elements(level - 1, f'_p{level}')}) as x "
                    "where json_type(_e) <> 'OBJECT'"
                )
        self.con.execute(
            f"insert into bronze.rejects by name select $raw as raw_table, {_FILE}, "
            f"row_number() over (partition by {_FILE} order by _around, _what, _at) as reject_number, "
            f"{PARENT_ROW} as line, _code as reason_code, "
            f"format('record {{}}, {{}}: ', {PARENT_ROW}, _what) || case _code "
            "when 'duplicate_key' then 'a key occurs once, but there is more than one value for a key of this object' "
            f"when 'not_an_array' then 'this is {_kind('_found')}, where {self.raw_table} expects a list of objects [{{…}}, …]' "
            f"else 'an element is an object {{…}}; this is {_kind('_found')}' end as reason, "
            f"left(cast(_found as varchar), {RAW_CHARACTERS}) as raw_text "
            f"from ({' union all by name '.join(parts)})",
            {"raw": self.raw_table, "days": self.days},
        )

    def _note_empty(self) -> None:
        """Records around an array that holds nothing: they mention what they stand for."""
        last = len(self.path.levels) - 1
        parts = []
        for level in range(last + 1):
            known = [name for name, value in self.parents.items() if value.level <= level]
            values = ", ".join(f"{text(name)}, {quote(name) if name in known else 'null'}" for name in self.parents)
            parent = f"cast(json_object({values}) as varchar)" if values else "'{}'"
            order = [f"_p{outer}" if outer <= level else f"null as _p{outer}" for outer in range(1, last + 1)]
            parts.append(
                f"select {', '.join([_FILE, PARENT_ROW, '_around', *order])}, {parent} as parent from "
                f"({self._enclosing(level)}) as r where {_is_empty('_j')}"
            )
        places = ", ".join(["_around", *(f"_p{outer} nulls first" for outer in range(1, last + 1))])
        self.con.execute(
            f"insert into bronze.empty_arrays by name select $raw as raw_table, {_FILE}, "
            f"row_number() over (partition by {_FILE} order by {places}) as number, {PARENT_ROW} as parent_row, parent "
            f"from ({' union all '.join(parts)})",
            {"raw": self.raw_table, "days": self.days},
        )

    def _named(self, level: int) -> str:
        """The array of a level with its place in those around it, as SQL: `refunds[2].refund_line_items`."""
        found = [text(f"{self.path.table}["), "_p0", text("]")] if self.nested else []
        for outer in range(level + 1):
            name = ".".join(self.path.levels[outer])
            found.append(text(f".{name}" if found else name))
            if outer < level:
                found.append(f"'[' || _p{outer + 1} || ']'")
        return " || ".join(found)

    # -- books -----------------------------------------------------------------------------------------------

    def _outcomes(self, columns: Mapping[tuple[date, str], Sequence[str]]) -> tuple[FileLoad, ...]:
        parameters: dict[str, Any] = {"raw": self.raw_table, "days": self.days}
        where = "raw_table = $raw and _load_date in (select unnest($days))"
        rejects = {
            (day, file): (count, first)
            for day, file, count, first in self.con.execute(
                f"select {_FILE}, count(*), arg_min(reason, reject_number) from bronze.rejects where {where} group by all",
                parameters,
            ).fetchall()
        }
        rows = {
            (day, file): count
            for day, file, count in self.con.execute(
                f"select {_FILE}, count(*) from {self.target.table} where _load_date in (select unnest($days)) group by all",
                {"days": self.days},
            ).fetchall()
        }
        around = self.con.execute(
            f"select {_FILE}, format from bronze.files where {where} order by all",
            {**parameters, "raw": self.path.table},
        ).fetchall()
        return tuple(
            self._outcome(day, file, format, rows.get((day, file), 0), *rejects.get((day, file), (0, "")),
                          columns.get((day, file), ()))
            for day, file, format in around
        )  # fmt: skip

    def _outcome(
        self, day: date, file: str, format: str | None, rows: int, rejected: int, first: str, keys: Sequence[str]
    ) -> FileLoad:
        there = (*self.parents, *unique_names([*self.given, *keys])[len(self.given) :]) if rows else ()
        problems = missing_columns(there, self.required, self.expected) if rows else []
        problems += too_many_rejects(self.raw, rows, rejected, first)
        return FileLoad(
            day=day, name=file, format=format, rows=rows, rejected=rejected, problem="; ".join(problems) or None,
            columns=there,
        )  # fmt: skip

    def _one(self, sql: str) -> int:
        row = self.con.execute(sql).fetchone()
        assert row is not None
        return int(row[0])


_SOUND = "is_object and len(list_distinct(keys)) = len(keys)"


def _is_record(e: str) -> str:
    return f"json_type({e}) = 'OBJECT' and len(list_distinct(json_keys({e}))) = len(json_keys({e}))"


def _column(types: Mapping[str, str], keys: Sequence[str], function: str = "json_extract_string") -> str:
    """A value of a record in bronze: a column, or what its JSON holds below it. Null where there is no such column."""
    column = types.get(keys[0].lower())
    if column is None:
        return "cast(null as varchar)"
    whole = f"cast({quote(column)} as varchar)"
    return _member(whole, keys[1:], function, sure=False) if len(keys) > 1 else whole


def _member(e: str, keys: Sequence[str], function: str = "json_extract_string", *, sure: bool = True) -> str:
    """A value below a JSON text; unless it is `sure` to be one, null where it is none."""
    found = f"{function}({e}, {text(''.join(json_pointer(key) for key in keys))})"
    return found if sure else f"try({found})"


def _position_of(level: int, value: Value) -> str | None:
    return f"cast(_p{level} as varchar)" if value.keys == (POSITION,) else None


def _items(j: str) -> str:
    """The elements of an array as a list, none for all else. What begins like an array and is none is one element, a text."""
    return f"case when {_first(j)} = '[' then coalesce(try(json_extract({j}, '$[*]')), [to_json(cast({j} as varchar))]) end"


def _is_empty(j: str) -> str:
    begin = f"coalesce(left(cast({j} as varchar), 64), '')"
    return f"({_looked_at(j)} and (trim({begin}) in ('', 'null') or regexp_full_match(cast({j} as varchar), '\\s*\\[\\s*\\]\\s*')))"


def _no_array(j: str) -> str:
    return f"{_looked_at(j)} and {_first(j)} <> '[' and not {_is_empty(j)}"


def _looked_at(j: str) -> str:
    """Whether an array may be empty or none; most are told by how they begin."""
    return f"coalesce(not starts_with(cast({j} as varchar), '[{{'), true)"


def _first(j: str) -> str:
    """The first character that is no blank."""
    return f"left(ltrim(coalesce(left(cast({j} as varchar), 64), '')), 1)"


def _kind(found: str) -> str:
    """What stands there instead, in words."""
    return (
        f"' || case when not json_valid({found}) then 'a text' else case json_type({found}) when 'ARRAY' then 'a list' "
        "when 'OBJECT' then 'an object' when 'VARCHAR' then 'a text' when 'BOOLEAN' then 'true or false' when 'NULL' then 'null' "
        "else 'a number' end end || '"
    )
