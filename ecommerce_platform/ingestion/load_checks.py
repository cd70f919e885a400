"""Checks on what the drops of one raw table brought: whether files could be read, have the columns that loads before them
had, and are news. Files are read, and the books that this looks at kept, by `bronze`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.source import RawTable
from ecommerce_platform.ingestion.bronze import BronzeLoad, repeated_files, repeated_records
from ecommerce_platform.ingestion.schema import drift
from ecommerce_platform.warehouse.load_checks import Check, LoadCheck

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: How `bronze.files.problem` begins where something is worth knowing but no fault.
NOTE = "note:"
#: Rows of a table of problems.
_SHOWN = 50

READABLE = Check(
    "readable",
    "Every delivered file could be read in whole and has the columns its mappings need. What could be read is loaded either "
    "way; what could not stands in bronze.rejects.",
)
SCHEMA = Check(
    "schema",
    "The loads bring the same columns, with the same kind of text in them, as the load before each. What becomes of a file "
    "with others, source.yml says: `on_drift` accepts it, leaves it out, or fails the load.",
)
REPEATED_RECORDS = Check(
    "delivered_once",
    "No record stands twice in a file, column for column. Loaded they are both; in silver one counts.",
)
REPEATED_FILES = Check(
    "not_delivered_before",
    "No file holds the records of an earlier one; of full deliveries, none goes back behind the one before.",
)
CHECKS = (READABLE, SCHEMA, REPEATED_RECORDS, REPEATED_FILES)


def load_checks(
    con: DuckDBPyConnection, raw_table: str, raw: RawTable, days: Collection[date], loaded: BronzeLoad
) -> list[LoadCheck]:
    """The outcome of every check after a load.

    Args:
        con: the warehouse.
        raw_table: the raw table.
        raw: what source.yml says of it.
        days: the days that were loaded.
        loaded: what that did.
    """
    return [
        _readable(con, raw_table),
        _schema(con, raw_table, days, loaded),
        _repeated_records(con, raw_table),
        _repeated_files(con, raw_table, raw),
    ]


def _readable(con: DuckDBPyConnection, raw_table: str) -> LoadCheck:
    problems = con.execute(
        "select _load_date, _source_file, problem from bronze.files "
        "where raw_table = ? and problem is not null order by all",
        [raw_table],
    ).fetchall()
    # A note (a header and no records, say) is worth knowing, but nothing is wrong with the file.
    faults = [p for p in problems if not p[2].startswith(NOTE)]
    shown = faults or problems
    return LoadCheck(
        READABLE.name,
        [f"{day}/{file}: {text}" for day, file, text in shown],
        "block" if faults else "warn",
        numbers={"files": len(problems)},
        title="problems",
        columns=("day", "file", "problem"),
        rows=[(str(day), file, text) for day, file, text in shown[:_SHOWN]],
    )


def _schema(con: DuckDBPyConnection, raw_table: str, days: Collection[date], loaded: BronzeLoad) -> LoadCheck:
    drifted = drift(con, raw_table, days, optional=any(f.format in ("json", "jsonl") for f in loaded.files))
    rows = [(str(day), d.what, str(d)) for day, found in sorted(drifted.items(), reverse=True) for d in found]
    return LoadCheck(
        SCHEMA.name,
        [f"{day}: {text}" for day, _, text in rows],
        numbers={"loads_that_differ": len(drifted)},
        title="differences",
        columns=("load", "kind", "difference"),
        rows=rows[:_SHOWN],
    )


def _repeated_records(con: DuckDBPyConnection, raw_table: str) -> LoadCheck:
    repeated = repeated_records(con, raw_table)
    return LoadCheck(
        REPEATED_RECORDS.name,
        [
            f"{day}/{file}: {rows:,} {'record' if rows == 1 else 'records'} a second time"
            for day, file, rows in reversed(repeated)
        ],
        numbers={"rows": sum(rows for *_, rows in repeated)},
        title="files",
        columns=("load", "file", "records a second time"),
        rows=repeated[-_SHOWN:],
    )


def _repeated_files(con: DuckDBPyConnection, raw_table: str, raw: RawTable) -> LoadCheck:
    copies = repeated_files(con, raw_table, raw)
    return LoadCheck(
        REPEATED_FILES.name,
        [f"{day}/{file} holds the records of {earlier}/{name}" for day, file, earlier, name in reversed(copies)],
        numbers={"files": len(copies)},
        title="copies",
        columns=("load", "file", "the same as of", "file"),
        rows=copies[-_SHOWN:],
    )
