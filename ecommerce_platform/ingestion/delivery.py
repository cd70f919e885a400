"""One file on its way into bronze: what is known of it so far, and what will be said of it in the end.

Nothing is read or written here; `loader` does that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ecommerce_platform.contracts.source import RawTable
from ecommerce_platform.ingestion.landing import RawFile
from ecommerce_platform.ingestion.plain import Plain
from ecommerce_platform.ingestion.rejects import RejectFile
from ecommerce_platform.ingestion.sniff import Shape, Unusable

#: Kinds of files that cannot be used and hold nothing that would be lost.
WITHOUT_REJECT = ("empty", "copy")


@dataclass(frozen=True)
class FileLoad:
    """What became of one file.

    `rows` are records in bronze, `rejected` entries in `bronze.rejects`. `problem` says what makes the file as a
    whole suspect; with `note` set that is worth knowing but no fault (a header without records, say).
    """

    day: date
    name: str
    format: str | None
    rows: int
    rejected: int
    problem: str | None
    note: bool = False
    #: As the file names them; none where it could not be read.
    columns: tuple[str, ...] = ()


@dataclass(eq=False)
class Delivery:
    """One file and where its loading stands.

    `id` (from 1) tells its rows from those of other files while they are being written. `suspect` is set once
    DuckDB has given up on the file. `plain` is there only while the file's batch is at work.
    """

    id: int
    file: RawFile
    shape: Shape | None
    unusable: Unusable | None
    rejects: RejectFile
    #: Of its bytes; None for what is not to be opened.
    sha256: str | None
    suspect: bool = False
    #: Whether DuckDB gave up on it while it was read by the keys of its first records.
    unlike: bool = False
    plain: Plain | None = None
    #: What stands in its place for the reader: the CSV made of a workbook's sheet.
    made: Path | None = None
    columns: tuple[str, ...] = ()
    rows: int = 0

    def start_again(self) -> None:
        """Forgets an attempt that was rolled back, but not whom it found suspect."""
        self.rejects.clear()
        self.columns, self.rows = (), 0

    @property
    def is_copy(self) -> bool:
        """Whether another file of the load has the same bytes, so that this one is not read."""
        return self.unusable is not None and self.unusable.kind == "copy"

    @property
    def needs_scratch(self) -> bool:
        """Whether the file has to be written out plain before DuckDB can read it."""
        shape = self.shape
        return shape is not None and (
            shape.gzip or shape.encoding != "utf-8" or (shape.bom > 0 and shape.format != "csv")
        )

    @property
    def content_lines(self) -> int:
        """Lines that have to be rows, parts of rows or rejects: neither header nor blank lines at the end."""
        assert self.shape is not None
        assert self.plain is not None
        # In a CSV file of one column a blank line is a record.
        blanks = 0 if len(self.shape.columns) == 1 else self.plain.trailing_blanks
        return max(0, self.plain.lines - self.shape.skip - self.shape.header_lines - blanks)

    def outcome(self, table: RawTable, required: Mapping[str, str], expected: Collection[str]) -> FileLoad:
        """What there is to say once the file has been loaded."""
        problems = list(self.rejects.whole)
        if self.unusable and self.unusable.kind in WITHOUT_REJECT:
            problems.append(self.unusable.text)
        if self.unusable is None and (self.columns or self.rows):
            problems += missing_columns(self.columns, required, expected)
        first = self.rejects.first
        said = f"line {first.line}: {first.reason}" if first else ""
        problems += too_many_rejects(table, self.rows, self.rejects.lines, said)
        empty = not problems and not self.rows and not self.rejects.count
        if empty:
            problems = ["note: a header and no records" if self.columns else "note: no records"]
        return FileLoad(
            day=self.file.day,
            name=self.file.name,
            format=None if self.unusable or self.shape is None else "xlsx" if self.made else self.shape.format,
            rows=self.rows,
            rejected=self.rejects.count,
            problem="; ".join(problems) or None,
            note=empty or self.is_copy,
            columns=self.columns,
        )


def missing_columns(columns: Collection[str], required: Mapping[str, str], expected: Collection[str]) -> list[str]:
    """What there is to say of the columns that a file lacks.

    Args:
        columns: those it has.
        required: those it has to have, and what each is needed for.
        expected: those that are read.
    """
    there = {column.lower() for column in columns}
    if required and not any(name.lower() in there for name in (*required, *expected)):
        # Without a header the first record stands in its place: whose it is is not said.
        needed = ", ".join(f"{name} (for {needed})" for name, needed in required.items())
        return [f"none of the columns that are read is there, not even {needed}; is the header missing?"]
    return [
        f"column {name} is missing (needed for {needed}); the file has: {', '.join(columns)}"
        for name, needed in required.items()
        if name.lower() not in there
    ]


def too_many_rejects(table: RawTable, rows: int, rejected: int, first: str) -> list[str]:
    """What there is to say of a file of whose records too many cannot be parsed.

    Args:
        table: the raw table, which says how many are tolerated.
        rows: records that could be parsed.
        rejected: such as could not.
        first: where the first of these stands, and what is wrong with it.
    """
    share = rejected / max(1, rejected + rows)
    if not rejected or share <= table.max_unparsable_share:
        return []
    return [
        f"{rejected:,} of {rejected + rows:,} records cannot be parsed ({share:.1%}, more than the "
        f"{table.max_unparsable_share:.1%} that are tolerated); the first is {first}"
    ]
