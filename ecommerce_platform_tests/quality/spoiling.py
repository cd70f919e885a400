"""The drops of a generated shop, to be spoilt: the newest file of each raw table, read, changed and written as it was.

The catalogue (`corruptions.py`) says what is done to them, and what must be found.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from ecommerce_platform_tests.earlier import Records, read_records

#: Raw table → its file in a drop.
FILES = {
    "web_customers": "web_customers.jsonl",
    "crm_customers": "crm_customers.csv",
    "newsletter_subscribers": "newsletter_subscribers.jsonl",
    "orders": "orders.csv",
    "order_items": "order_items.parquet",
    "payments": "payments.csv",
    "products": "products.json",
    "shipments": "shipments.csv.gz",
    "reviews": "reviews.csv",
    "postal_codes": "postal_codes.csv",
    "labels": "labels.csv",
    "returns": "returns.csv",
    "stock_counts": "stock_counts.csv",
    "web_events": "web_events.parquet",
    "campaigns": "campaigns.json",
    "ad_reports": "ad_reports.tsv",
    "experiments": "experiments.jsonl",
    "social": "social.jsonl",
    "economy": "economy.csv",
}

Row = dict[str, Any]
#: Changes drops; how many records it has spoilt.
Spoil = Callable[["Drops"], int]


@dataclass(frozen=True)
class Drops:
    """The drops of one shop, the newest of which are spoilt."""

    raw: Path
    #: A file that is meant instead of the newest of its raw table.
    chosen: Path | None = None

    def file(self, table: str, back: int = 0) -> Path:
        """The newest file of a raw table, or the one `back` deliveries before it."""
        if self.chosen is not None:
            return self.chosen
        return sorted(self.raw.glob(f"????-??-??/{FILES[table]}"))[-1 - back]

    def day(self, table: str) -> date:
        """The day of a raw table's newest drop."""
        return date.fromisoformat(self.file(table).parent.name)

    def bytes(self, table: str) -> bytes:
        """What the newest file holds, unpacked."""
        content = self.file(table).read_bytes()
        return gzip.decompress(content) if FILES[table].endswith(".gz") else content

    def write(self, table: str, content: bytes) -> None:
        """Replaces the newest file, packed as it was."""
        packed = gzip.compress(content, 1, mtime=0) if FILES[table].endswith(".gz") else content
        self.file(table).write_bytes(packed)

    def records(self, table: str) -> tuple[Records, list[Row]]:
        """The newest file's records, also as rows by column name."""
        records = read_records(FILES[table].removesuffix(".gz"), self.bytes(table))
        return records, [dict(zip(records.columns, row, strict=True)) for row in records.rows]

    def all_records(self, table: str) -> list[Row]:
        """The records of all files of a raw table, by day."""
        found: list[Row] = []
        for file in sorted(self.raw.glob(f"????-??-??/{FILES[table]}")):
            records = read_records(FILES[table], file.read_bytes())
            found += [dict(zip(records.columns, row, strict=True)) for row in records.rows]
        return found

    def save(self, table: str, records: Records, rows: Iterable[Row], columns: list[str] | None = None) -> None:
        """Writes rows in the format they came in."""
        names = columns or records.columns
        self.write(table, records.encode(names, [[row.get(name) for name in names] for row in rows]))


def newest_that(drops: Drops, table: str, fits: Callable[[Drops], bool]) -> Drops:
    """The drops with the newest file of a raw table that fits: which records a generated day has is chance."""
    if drops.chosen is not None:
        return drops
    files = sorted(drops.raw.glob(f"????-??-??/{FILES[table]}"), reverse=True)
    found = next((one for file in files if fits(one := Drops(drops.raw, file))), None)
    assert found is not None, f"{table} has no such records"
    return found


def put(table: str, column: str, value: Any, n: int = 3, where: Callable[[Row], Any] = bool) -> Spoil:
    """Puts a value, or what a function makes of the old one, into a column of the first `n` records that fit."""
    return change(table, lambda row, _: {column: value(row[column]) if callable(value) else value}, n, where)


def change(table: str, to: Callable[[Row, date], Row], n: int | None = 3, where: Callable[[Row], Any] = bool) -> Spoil:
    """Changes the first `n` records that fit (all, if None) by what a function says of the record and the drop's day, in
    the newest file that has so many."""

    def spoil(drops: Drops) -> int:
        drops = newest_that(drops, table, lambda one: sum(map(bool, map(where, one.records(table)[1]))) >= (n or 1))
        records, rows = drops.records(table)
        chosen = [row for row in rows if where(row)][:n]
        assert len(chosen) >= (n or 1), f"{table} has only {len(chosen)} such records"
        for row in chosen:
            row.update(to(row, drops.day(table)))
        drops.save(table, records, rows)
        return len(chosen)

    return spoil


def lately(spoil: Callable[[Drops], int], table: str, days: int) -> Spoil:
    """Does to the newest so many files of a raw table what is said of one."""

    def spoil_all(drops: Drops) -> int:
        files = [drops.file(table, back) for back in range(days)]
        spoilt = 0
        for file in files:
            spoilt += spoil(Drops(drops.raw, file))
        return spoilt

    return spoil_all


def rows(table: str, to: Callable[[list[Row]], list[Row]]) -> Spoil:
    """Replaces the records of a file; the number of records is how many there are more, or fewer."""

    def spoil(drops: Drops) -> int:
        records, before = drops.records(table)
        after = to(before)
        drops.save(table, records, after)
        return abs(len(after) - len(before)) or len(after)

    return spoil


def columns(table: str, to: Callable[[list[str]], list[str]], rename: dict[str, str] | None = None) -> Spoil:
    """Writes a file with other columns, renamed ones keeping their values."""

    def spoil(drops: Drops) -> int:
        records, found = drops.records(table)
        new = {old: name for name, old in (rename or {}).items()}
        changed = [{(rename or {}).get(c, c): v for c, v in row.items()} for row in found]
        names = [(rename or {}).get(c, c) for c in to(records.columns)]
        assert not new or set(new) & set(names)
        drops.save(table, records, changed, names)
        return len(found)

    return spoil


def text(table: str, to: Callable[[bytes], bytes], lines: Callable[[bytes], bool] = bool) -> Spoil:
    """Changes the bytes of the newest file, unpacked, that this changes; spoilt are those of its lines, without the
    header, that fit."""

    def spoil(drops: Drops) -> int:
        drops = newest_that(drops, table, lambda one: to(one.bytes(table)) != one.bytes(table))
        before = drops.bytes(table)
        drops.write(table, to(before))
        return sum(lines(line) for line in before.splitlines()[1:])

    return spoil


def packed(table: str, to: Callable[[bytes], bytes]) -> Spoil:
    """Changes the bytes of a file as it is on disk."""

    def spoil(drops: Drops) -> int:
        file = drops.file(table)
        file.write_bytes(to(file.read_bytes()))
        return 1

    return spoil


def instead(table: str, other: str, back: int = 0) -> Spoil:
    """Delivers another file under the name: that of another raw table, or of an earlier day."""

    def spoil(drops: Drops) -> int:
        content = drops.file(other, back).read_bytes()
        drops.file(table).write_bytes(content)
        return content.count(b"\n") - 1

    return spoil


def gone(*tables: str) -> Spoil:
    """Does not deliver the newest files of these raw tables."""

    def spoil(drops: Drops) -> int:
        for file in [drops.file(table) for table in tables]:
            file.unlink()
        return len(tables)

    return spoil


def every(*spoils: Spoil) -> Spoil:
    """Does several things; their number is that of the first."""

    def spoil(drops: Drops) -> int:
        return next(one(drops) for one in spoils)

    return spoil


def moved(moment: str, days: int) -> str:
    """An ISO moment so many days later."""
    return (date.fromisoformat(moment[:10]) + timedelta(days=days)).isoformat() + moment[10:]
