"""The columns that a raw table is delivered with: what they are, and in what a load differs from the one before.

A load's columns and the kind of text in them are noted in `bronze.columns` with the load. Two things look at them:
`drift` compares a load with the one before, for people; `objection` compares a file with what `source.yml` says was
agreed on, and decides whether it may be loaded. The first depends on what else was delivered, so it only tells; the
second depends on the file alone, so that the order of loads makes no difference. The mappings say what a value *means*,
and whether it converts.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher
from functools import cache
from typing import TYPE_CHECKING, Literal

from ecommerce_platform.contracts.catalog import MODELS
from ecommerce_platform.contracts.contract import Contract, read_contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.source import RawTable
from ecommerce_platform.warehouse.lookup import column_types, table_exists
from ecommerce_platform.warehouse.write import ensure_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Records of a file whose values are looked at: enough to tell a number from a date, cheap for years of days.
SAMPLE = 25
#: Share of the values that must be of a kind for the column to be.
_SHARE = 0.9
#: Characters of a value that are looked at.
_LONGEST = 1_000
#: Fewer values say nothing about a kind.
_FEWEST = 5
#: A column of JSON records that may be left out where it is empty is missed only in loads of so many records.
_FEWEST_RECORDS = 20
#: How alike two names must be for one to be the other, renamed.
_ALIKE = 0.6

#: Kinds of text, the first that fits; each is a condition over `v`.
_KINDS = {
    "integer": "try_cast(v as bigint) is not null and strpos(v, '.') = 0",
    "decimal": "try_cast(v as double) is not null",
    "timestamp": "v < ':' and try_cast(v as timestamp) is not null and length(v) > 10",
    "date": "v < ':' and try_cast(v as date) is not null",
    "decimal_comma": "strpos(v, ',') > 0 and try_cast(replace(replace(v, '.', ''), ',', '.') as double) is not null",
    "boolean": "lower(v) in ('true', 'false', 'yes', 'no')",
    "other_date": r"regexp_full_match(v, '\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([ T]\d{1,2}:\d{2}.*)?')",
}


@dataclass(frozen=True)
class Difference:
    """One difference between the columns of two loads.

    `before` and `after` are names, or kinds where a column was retyped. `all` is about every column.
    """

    what: Literal["new", "missing", "renamed", "retyped", "all"]
    column: str
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        if self.what == "all":
            return "none of the columns there were before is left; is the header missing?"
        if self.what == "renamed":
            return f"column {self.before} seems to be called {self.after} now"
        if self.what == "retyped":
            return f"column {self.column} holds {_words(self.after)} instead of {_words(self.before)}"
        return f"column {self.column} is {'new' if self.what == 'new' else 'missing'}"


#: Without a header the first record stands in its place: whose it is is not said.
_NONE_LEFT = Difference("all", "")


def note_columns(
    con: DuckDBPyConnection,
    raw_table: str,
    table: str,
    days: Collection[date],
    delivered: Mapping[tuple[date, str], Sequence[str]],
) -> None:
    """Makes `bronze.columns` say of these days what their files deliver; within the load's transaction.

    Args:
        con: the warehouse.
        raw_table: the raw table.
        table: its bronze table, as SQL writes it; the rows of the days are in it.
        days: the days of the load; one without files ends up without columns.
        delivered: (day, file) → the file's columns, in order.
    """
    ensure_table(con, _contract())
    con.execute(
        "delete from bronze.columns where raw_table = $raw and _load_date in (select unnest($days))",
        {"raw": raw_table, "days": sorted(days)},
    )
    names: dict[date, dict[str, str]] = {}
    for (day, _), columns in delivered.items():
        for column in columns:
            names.setdefault(day, {}).setdefault(column.lower(), column)
    if not names:
        return
    kinds = _kinds(con, table, sorted(names), sorted({c for columns in names.values() for c in columns}))
    rows = [
        (raw_table, day, column, position, *kinds.get((day, lower), (0, 0, None)))
        for day, columns in names.items()
        for position, (lower, column) in enumerate(columns.items(), start=1)
    ]
    con.execute(
        "insert into bronze.columns (raw_table, _load_date, column_name, position, records, filled, kind) "
        f"select {', '.join(f'unnest(?::{t}[])' for t in ('varchar', 'date', 'varchar', 'bigint', 'bigint', 'bigint', 'varchar'))}",
        [list(values) for values in zip(*rows, strict=True)],
    )


def drift(
    con: DuckDBPyConnection, raw_table: str, days: Collection[date], *, optional: bool
) -> dict[date, list[Difference]]:
    """In what each of these loads differs from the load before it; loads without columns are passed over.

    Args:
        con: the warehouse.
        raw_table: the raw table.
        days: the loads that are asked about.
        optional: whether records may leave out what is empty, as JSON does.
    """
    if not days or not table_exists(con, "bronze", "columns"):
        return {}
    loads: dict[date, dict[str, tuple[str, int, int, str | None]]] = {}
    for day, name, records, filled, kind in con.execute(
        "select _load_date, column_name, records, filled, kind from bronze.columns where raw_table = ? "
        "order by _load_date, position",
        [raw_table],
    ).fetchall():
        loads.setdefault(day, {})[name.lower()] = (name, records, filled, kind)
    wanted, found = set(days), {}
    known: set[str] = set()
    texts: set[str] = set()
    seen = 0
    for before, after in itertools.pairwise(sorted(loads)):
        known |= loads[before].keys()
        texts |= {name for name, (*_, kind) in loads[before].items() if kind == "text"}
        seen += max((records for _, records, _, _ in loads[before].values()), default=0)
        if after in wanted:
            differences = _compare(loads[before], loads[after], known, seen, optional)
            # Codes look like numbers in one load and not in the next: once they were seen to be text, that is no news.
            if told := [d for d in differences if not (d.column.lower() in texts and _numbers_to_text(d))]:
                found[after] = told
    return found


def _retyped(
    con: DuckDBPyConnection, table: str, raw: RawTable, day: date, file: str, there: Mapping[str, str]
) -> list[Difference]:
    """Columns of a file, by their lower-case name, that hold text of another kind than agreed."""
    wanted = {c.lower(): kind for c, kind in raw.columns.items() if kind and c.lower() in there}
    kinds = _kinds(con, table, [day], sorted(wanted), file)
    return [
        Difference("retyped", there[lower], kind, actual)
        for lower, kind in wanted.items()
        if (actual := kinds.get((day, lower), (0, 0, None))[2]) and not _fits(kind, actual)
    ]


def objection(
    con: DuckDBPyConnection, table: str, raw: RawTable, day: date, file: str, columns: Sequence[str]
) -> tuple[str, str] | None:
    """What the agreed columns of a raw table have against a file that stands in bronze: the policy and the reason.

    Args:
        con: the warehouse, in the load's transaction.
        table: the bronze table, as SQL writes it.
        raw: what source.yml says.
        day: the day of the file.
        file: its name.
        columns: its columns; none if it could not be read.

    Returns:
        `reject` or `fail`, and why; None when there is nothing against it.
    """
    if not raw.columns or not columns or not raw.on_drift.decides:
        return None
    agreed, there = {c.lower(): c for c in raw.columns}, {c.lower(): c for c in columns}
    found: dict[str, list[Difference]] = {"accept": [], "reject": [], "fail": []}
    headless = not agreed.keys() & there.keys()
    if headless:
        found[raw.on_drift.missing].append(_NONE_LEFT)
        found[raw.on_drift.new].append(_NONE_LEFT)
    for lower, name in there.items():
        if lower not in agreed and not headless:
            found[raw.on_drift.new].append(Difference("new", name))
    for lower, name in agreed.items():
        if lower not in there:
            found[raw.on_drift.missing].append(Difference("missing", name))
    if raw.on_drift.retyped != "accept":
        found[raw.on_drift.retyped] += _retyped(con, table, raw, day, file, there)
    for policy in ("fail", "reject"):
        if found[policy]:
            return policy, "; ".join(str(d) for d in found[policy])
    return None


def _compare(
    before: Mapping[str, tuple[str, int, int, str | None]],
    after: Mapping[str, tuple[str, int, int, str | None]],
    known: Collection[str],
    seen: int,
    optional: bool,
) -> list[Difference]:
    """The differences between two loads, given the columns and the number of records of all loads before the second."""
    new = [name for name in after if name not in before]
    missing = [name for name in before if name not in after]
    if optional:
        # What was left out in one load and comes in the next is not new.
        new = [name for name in new if name not in known and seen >= _FEWEST_RECORDS]
        # A record that leaves out what it lacks says nothing about the columns there are.
        enough = min(max(r for _, r, _, _ in load.values()) for load in (before, after)) >= _FEWEST_RECORDS
        missing = [n for n in missing if enough and before[n][2] == before[n][1]]
    if before and after and not any(_alike(old, name) >= _ALIKE for old in before for name in after):
        return [_NONE_LEFT]
    differences = []
    for old, name in _renamed(before, after, missing, new):
        missing.remove(old)
        new.remove(name)
        differences.append(Difference("renamed", after[name][0], before[old][0], after[name][0]))
    differences += [Difference("missing", before[name][0]) for name in missing]
    differences += [Difference("new", after[name][0]) for name in new]
    for name in before.keys() & after.keys():
        was, now = before[name][3], after[name][3]
        # Text may look like numbers for a day; numbers that become text are worth telling.
        if was and now and not (_fits(was, now) or (now != "text" and _fits(now, was))):
            differences.append(Difference("retyped", after[name][0], was, now))
    return sorted(differences, key=lambda d: (d.what, d.column))


def _numbers_to_text(difference: Difference) -> bool:
    return (difference.what, difference.before, difference.after) == ("retyped", "integer", "text")


def _alike(old: str, name: str) -> float:
    return SequenceMatcher(None, old, name).ratio()


def _renamed(
    before: Mapping[str, tuple[str, int, int, str | None]],
    after: Mapping[str, tuple[str, int, int, str | None]],
    missing: Sequence[str],
    new: Sequence[str],
) -> list[tuple[str, str]]:
    """Pairs of a missing and a new column that are one: of the same kind, in the same place or alike by name."""
    places = {name: place for load in (before, after) for place, name in enumerate(load)}
    candidates = []
    for old in missing:
        for name in new:
            alike = _alike(old, name)
            same_place = places[old] == places[name]
            if before[old][3] == after[name][3] and (alike >= _ALIKE or same_place):
                candidates.append((alike + same_place, old, name))
    pairs: list[tuple[str, str]] = []
    used: set[str] = set()
    for _, old, name in sorted(candidates, reverse=True):
        if not {old, name} & used:
            used |= {old, name}
            pairs.append((old, name))
    return pairs


def _kinds(
    con: DuckDBPyConnection, table: str, days: Sequence[date], columns: Sequence[str], file: str | None = None
) -> dict[tuple[date, str], tuple[int, int, str | None]]:
    """(day, column in lower case) → records looked at, values among them, and the kind that these have."""
    if not columns:
        return {}
    # DuckDB folds case in its own way: names are written as the table has them.
    spelling = {name.lower(): quote(name) for name in column_types(con, table)}
    # A document may be long, and what has a kind is short.
    begins = ", ".join(f"left({spelling[c]}, {_LONGEST}) as {spelling[c]}" for c in columns)
    sampled = (
        f"select _load_date, {begins} from {table} where _source_row <= {SAMPLE} "
        "and _load_date in (select unnest($days))" + (" and _source_file = $file" if file else "")
    )
    kind = " ".join(f"when {condition} then '{name}'" for name, condition in _KINDS.items())
    values = " union all ".join(
        f"select _load_date, {number} as c, nullif(trim({spelling[c]}), '') as v from sampled"
        for number, c in enumerate(columns)
    )
    rows = con.execute(
        f"with sampled as materialized ({sampled}) select _load_date, c, kind, count(*) from (select _load_date, c, "
        f"case when v is null then null {kind} else 'text' end as kind from ({values})) group by all",
        {"days": list(days), **({"file": file} if file else {})},
    ).fetchall()
    counts: dict[tuple[date, str], dict[str | None, int]] = {}
    for day, number, name, count in rows:
        counts.setdefault((day, columns[number]), {})[name] = count
    return {place: _judge(found) for place, found in counts.items()}


def _judge(counts: Mapping[str | None, int]) -> tuple[int, int, str | None]:
    records, filled = sum(counts.values()), sum(n for kind, n in counts.items() if kind)
    if filled < _FEWEST:
        return records, filled, None
    merged = {kind: n for kind, n in counts.items() if kind}
    # Whole numbers among decimals, and days among times, are of the wider kind.
    for narrow, wide in (("integer", "decimal"), ("integer", "decimal_comma"), ("date", "timestamp")):
        if wide in merged and narrow in merged:
            merged[wide] += merged.pop(narrow)
    best = max(merged, key=lambda kind: (merged[kind], kind))
    return records, filled, best if merged[best] >= _SHARE * filled else "text"


def _fits(expected: str, actual: str) -> bool:
    """Whether values of one kind are fine where another is expected."""
    narrower = {"decimal": {"integer"}, "decimal_comma": {"integer"}, "timestamp": {"date"}}
    return expected in ("text", actual) or actual in narrower.get(expected, set())


def _words(kind: str | None) -> str:
    return {
        "integer": "whole numbers", "decimal": "numbers with a decimal point", "timestamp": "ISO times",
        "date": "ISO dates", "decimal_comma": "numbers with a decimal comma", "boolean": "truth values",
        "other_date": "dates in another form", "text": "text",
    }.get(kind or "", "nothing")  # fmt: skip


@cache
def _contract() -> Contract:
    return read_contract(MODELS / "bronze" / "columns.yml", "bronze")
