"""Where a mapping's SQL fails: the column and its line, and the first record that it fails on, with its values.

DuckDB says what it could not do, not for which row. Once a mapping has failed, its expressions are asked one by one, and
the rows are halved until one is left. Nothing is written but a temporary table. What text does not convert is no such
failure: the `as_…` macros give null for it, and the row is rejected (`entities`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.silver.conversions import parsed
from ecommerce_platform.silver.mapping import CompiledMapping

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: What DuckDB raises for SQL that does not fit its input, by name: importing it here would load it with the definitions.
_KINDS = (
    "BinderException", "CatalogException", "ParserException", "SyntaxException", "ConversionException",
    "InvalidInputException", "InvalidTypeException", "OutOfRangeException", "NotImplementedException",
    "TypeMismatchException", "ParameterNotAllowedException",
)  # fmt: skip
#: Characters of a value that a sentence shows.
_SHOWN = 60


def is_of_sql(error: BaseException) -> bool:
    """Whether an error says that a SELECT does not fit its rows (and not that the disk is full, say)."""
    return type(error).__module__.endswith("duckdb") and type(error).__name__ in _KINDS


def what_it_says(error: BaseException) -> str:
    """DuckDB's message on one line, without the statement that it repeats."""
    return " ".join(re.split(r"\n\s*LINE \d|\n\s*Candidate", str(error))[0].split())


def why_it_fails(
    con: DuckDBPyConnection, mappings: Sequence[CompiledMapping], error: BaseException
) -> DefinitionError | None:
    """The definition error behind what DuckDB raised for one of an entity's mappings.

    Args:
        con: the warehouse, outside a transaction: an error has ended the one it was raised in.
        mappings: those that ran.
        error: what was raised.

    Returns:
        None where no part of a mapping fails on its own: then the error is about something else.
    """
    if not is_of_sql(error):
        return None
    for mapping in mappings:
        for name, line, sql in _parts(mapping):
            if found := _fails(con, mapping, name, sql):
                return _said(con, mapping, name, line, sql, found)
    return None


def _parts(mapping: CompiledMapping) -> Iterator[tuple[str, int, str]]:
    """What can fail: (column or clause, line, SQL)."""
    if mapping.where:
        yield "WHERE", _line_of(mapping, "where"), mapping.where
    for name, by in mapping.gathered.items():
        if by:
            yield f"what orders {name}", mapping.lines.get(name, 1), by
    for name, sql in mapping.expressions.items():
        yield name, mapping.lines.get(name, 1), f"cast({sql} as {mapping.contract.columns[name].type})"
    if mapping.qualify:
        yield "QUALIFY", _line_of(mapping, "qualify"), mapping.qualify


def _line_of(mapping: CompiledMapping, clause: str) -> int:
    lines = enumerate(mapping.mapping.sql.splitlines(), 1)
    return next((n for n, text in lines if re.search(rf"(?i)\b{clause}\b", text.split("--")[0])), 1)


def _fails(con: DuckDBPyConnection, mapping: CompiledMapping, name: str, sql: str) -> BaseException | None:
    import duckdb

    where = f" where {mapping.where}" if mapping.where and name != "WHERE" else ""
    group = f" group by {', '.join(mapping.group_by)}" if mapping.group_by and name in mapping.late else ""
    try:
        con.execute(
            f"select count(*) from (select hash({sql}) as h from {mapping.bronze}{where}{group}) as t where h = 0"
        ).fetchall()
    except duckdb.Error as error:
        return error if is_of_sql(error) else None
    return None


def _said(
    con: DuckDBPyConnection, mapping: CompiledMapping, name: str, line: int, sql: str, error: BaseException
) -> DefinitionError:
    record = None
    if type(error).__name__ not in _KINDS[:4] and name not in mapping.late and name != "QUALIFY":
        record = _first_record(con, mapping, name, sql)
    return DefinitionError(
        f"DuckDB cannot run it: {name}: {what_it_says(error)}{f'; first {record}' if record else ''}",
        where=f"{mapping.mapping.path}:{line}",
        fix="correct it so that it runs for this value as well: case when … end around it leaves others out"
        if record
        else "correct the SELECT",
    )


def _first_record(con: DuckDBPyConnection, mapping: CompiledMapping, name: str, sql: str) -> str | None:
    """File and record of the first row that the expression fails on, with the raw values it is made of."""
    import duckdb
    from sqlglot import exp

    columns = list(dict.fromkeys(c.name for c in parsed(sql).find_all(exp.Column)))
    where = f" where {mapping.where}" if mapping.where and name != "WHERE" else ""
    con.execute(
        "create or replace temp table _cannot_run as select row_number() over (order by _load_date, _source_file, "
        f"_source_row) as _n, * from {mapping.bronze}{where}"
    )

    def fails(first: int, last: int) -> bool:
        try:
            con.execute(
                f"with part as materialized (select * from _cannot_run where _n between {first} and {last}) "
                f"select max(hash({sql})) from part"
            ).fetchall()
        except duckdb.Error:
            return True
        return False

    first, last = 1, con.execute("select count(*) from _cannot_run").fetchall()[0][0]
    while first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if fails(first, middle) else (middle + 1, last)
    row = con.execute(
        f"select _load_date, _source_file, _source_row{''.join(f', {quote(c)}' for c in columns)} from _cannot_run "
        f"where _n = {first}"
    ).fetchall()
    con.execute("drop table _cannot_run")
    if not row:
        return None
    day, file, number, *values = row[0]
    personal = name in mapping.contract.columns and mapping.contract.columns[name].pii
    shown = ", ".join(
        f"{c} is {'•••' if personal else repr(v if v is None else str(v)[:_SHOWN])}"
        for c, v in zip(columns, values, strict=True)
    )
    return f"{day}/{file} record {number}" + (f", where {shown}" if shown else "")
