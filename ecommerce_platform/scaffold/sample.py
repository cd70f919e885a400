"""From a folder of exported files to raw tables: which files belong together, and how each is to be read.

Files are recognised by `ingestion.sniff` and read by `ingestion.bronze`, into a warehouse in memory; `profile`
and `guess` find out what their columns mean. The folder is only read.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.explode import PARENT_ROW, POSITION
from ecommerce_platform.contracts.source import RawTable, Source, SourceFile
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.bronze import BronzeLoad, load_bronze
from ecommerce_platform.ingestion.gunzip import gunzip
from ecommerce_platform.ingestion.landing import RawFile, explained, read_chunks
from ecommerce_platform.ingestion.sniff import RESERVED, Shape, Unusable, read_head, sniff
from ecommerce_platform.ingestion.workbook import sheet_names, unpack
from ecommerce_platform.scaffold.names import (
    VARYING,
    any_number,
    could_meet,
    dated,
    named,
    next_names,
    stem_of,
    without_gz,
)
from ecommerce_platform.scaffold.words import snake
from ecommerce_platform.warehouse.lookup import column_types

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Encodings tried in this order: the first that a whole file is valid in. latin-1 takes anything, so it is last.
_ENCODINGS = ("ascii", "utf-8", "cp1252", "latin-1")
_DELIMITERS = (",", ";", "\t", "|")
#: Files that are no tables.
_NO_TABLES = (".md", ".pdf", ".html", ".htm", ".sql", ".yml", ".yaml", ".py", ".ini", ".log", ".docx")
#: Files of one name whose columns agree by at least this share are one table; its columns came and went.
_SAME_COLUMNS = 0.5
_ONLY_THESE = (
    "a later delivery's name could be another table's, too, so only these files are taken: name each table's files in a way of "
    "its own, and write that pattern"
)
#: How much of a JSON file, and how many of its records, are looked at for their keys.
_JSON_HEAD, _FEW_RECORDS = 1 << 20, 20
_BEFORE_RECORD = re.compile(r"[\s,]*(?=\{)")
#: How a document begins that holds records: with the name of their array.
_PAGE = re.compile(r'\s*\{\s*"([^"\\]+)"\s*:\s*\[')


@dataclass(frozen=True)
class SampleFile:
    """A file of the sample and how it is read.

    `keys` are those of the first records of JSON; `inside` the array that holds the records, where one document holds
    them all, and their keys.
    """

    file: RawFile
    shape: Shape
    encoding: str
    keys: tuple[str, ...] = ()
    inside: tuple[str, tuple[str, ...]] | None = None
    #: Of a workbook the sheet.
    sheet: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns, as far as its beginning tells."""
        return self.shape.columns or self.keys


@dataclass
class SampleTable:
    """A raw table of the sample.

    `columns` and the counts are those of bronze, after loading. `notes` are for people. Records of a `container` say nothing
    themselves: they are the pages that another table's records come in.
    """

    name: str
    raw: RawTable
    files: tuple[SampleFile, ...]
    columns: tuple[str, ...] = ()
    rows: int = 0
    rejected: int = 0
    notes: list[str] = field(default_factory=list)
    container: bool = False

    @property
    def shape(self) -> Shape:
        """How its first file is read."""
        return self.files[0].shape


@dataclass(frozen=True)
class Sample:
    """A folder of files, as raw tables; `skipped` are files that are none, and why."""

    directory: Path
    tables: dict[str, SampleTable]
    skipped: tuple[tuple[str, str], ...]


def read_sample(directory: Path, today: date) -> Sample:
    """The raw tables that the files of a folder make up; nothing is loaded.

    Args:
        directory: a folder of files, or of drops (folders named YYYY-MM-DD).
        today: the day that files count as delivered on; those of a drop on its day.

    Raises:
        InputError: there is no such folder, or no file in it can be used.
    """
    files, skipped = [], []
    for file in _list(directory, today):
        found = _examine(file)
        if isinstance(found, str):
            skipped.append((file.name, found))
        elif found.shape.format == "xlsx":
            sheets = _sheets(found)
            skipped += [(file.name, sheets)] if isinstance(sheets, str) else []
            files += [] if isinstance(sheets, str) else sheets
        else:
            files.append(found)
    if not files:
        reasons = "; ".join(f"{name}: {why}" for name, why in skipped[:5])
        raise InputError(
            f"holds no file that could be used ({reasons})" if skipped else "holds no files",
            where=directory,
            fix="give a folder with the shop's exports as CSV, JSON, JSON lines or Parquet",
        )
    files = _settle_ascii(files)
    tables: dict[str, SampleTable] = {}
    for group in _groups(files):
        table = _table(group, tables)
        tables[table.name] = table
    tell_apart(list(tables.values()))
    return Sample(directory, tables, tuple(skipped))


def sample_source(name: str, sample: Sample, folder: Path) -> Source:
    """A source of these raw tables without mappings; what else it says is made up."""
    file = SourceFile(
        name=name,
        path=folder / "source.yml",
        description="A sample of files.",
        currency="XXX",
        time_zone="UTC",
        start_date=date(2000, 1, 1),
        tables={table.name: table.raw for table in sample.tables.values()},
    )
    return Source(file, ())


def load_sample(con: DuckDBPyConnection, source: Source, sample: Sample, scratch: Path) -> None:
    """Loads every file into bronze and notes in the tables what came of it.

    Args:
        con: a warehouse in memory.
        source: what `sample_source` returned.
        sample: its tables are completed.
        scratch: a folder for temporary files.
    """
    for table in sample.tables.values():
        files = [f.file for f in table.files]
        loaded = load_bronze(
            con, source, table.name, files, {f.day for f in files}, expected=(), required={}, scratch=scratch
        )
        table.columns = tuple(
            c
            for c in column_types(con, f'bronze."{source.bronze_table(table.name)}"')
            if c not in (*RESERVED, PARENT_ROW, POSITION)
        )
        table.rows, table.rejected = loaded.rows_inserted, loaded.rows_rejected
        table.notes += _said(loaded)


def _said(loaded: BronzeLoad) -> list[str]:
    said = [f"{name.partition('/')[2]}: {problem}" for name, problem in (*loaded.problems, *loaded.notes)]
    if loaded.rows_rejected and not loaded.problems:
        said.append(f"{loaded.rows_rejected:,} lines cannot be parsed (`check-source` shows them)")
    return said


def _list(directory: Path, today: date) -> list[RawFile]:
    if not directory.is_dir():
        raise InputError("there is no such folder", where=directory, fix="give the folder that holds the export")
    with explained(directory, 0):
        found = [(today, p) for p in sorted(directory.iterdir()) if p.is_file() and not p.name.startswith(".")]
        files = [(day, path, path.stat()) for day, path in found or files_of_drops(directory)]
    return [RawFile(day, path.name, path, stat.st_size, stat.st_mtime_ns) for day, path, stat in files]


def files_of_drops(directory: Path) -> list[tuple[date, Path]]:
    """The files in the folders of a folder of drops, with their day; hidden ones and marks are none."""
    return [(day, path) for day, path in entries_of_drops(directory) if path.is_file()]


def entries_of_drops(directory: Path) -> list[tuple[date, Path]]:
    """Whatever lies in the folders of a folder of drops, with its day; without hidden entries and marks."""
    found = []
    for folder in sorted(directory.iterdir()):
        if folder.is_dir() and re.fullmatch(r"\d{4}-\d{2}-\d{2}", folder.name):
            day = date.fromisoformat(folder.name)
            found += [(day, path) for path in sorted(folder.iterdir()) if not path.name.startswith((".", "_"))]
    return found


def _examine(file: RawFile) -> SampleFile | str:
    """How a file is read, or why it is not."""
    if file.path.suffix.lower() in _NO_TABLES:
        return "is no table"
    any_table = RawTable(files=(file.name,), description="A file of the sample.")
    try:
        head = read_head(file.path)
        encoding = "utf-8"
        found = sniff(head, any_table)
        if isinstance(found, Unusable) and "utf-16-le" in found.text:
            encoding = "utf-16-le"
            found = sniff(head, any_table.model_copy(update={"encoding": encoding}))
        elif (isinstance(found, Unusable) and "encoding" in found.text) or (
            isinstance(found, Shape) and found.format == "csv" and not found.bom
        ):
            encoding = _encoding(file.path, head.gzip)
            found = sniff(head, any_table.model_copy(update={"encoding": encoding}))
    except OSError as error:
        return f"cannot be read ({error.strerror}); check its rights"
    if isinstance(found, Unusable):
        return found.text
    if found.format == "csv" and len(found.columns) < 2:
        return "has a single column: no table, or separated by something else than comma, semicolon, tab or |"
    keys, inside = _keys(file.path, found) if found.format in ("json", "jsonl") else ((), None)
    return SampleFile(file, found, encoding, keys, inside)


def _keys(path: Path, shape: Shape) -> tuple[tuple[str, ...], tuple[str, tuple[str, ...]] | None]:
    """The keys of the first records of a JSON file; and where the first is cut off or alone, of those in its first array."""
    text = read_head(path, _JSON_HEAD).data[shape.bom :].decode(shape.encoding, "replace")
    records = _records(text, text.find("[") + 1 if shape.layout == "array" else 0)
    page = _PAGE.match(text)
    inside = _records(text, page.end()) if page and len(records) < 2 else []
    named = (page[1], _all_keys(inside)) if page and inside else None
    return _all_keys(records) or ((page[1],) if page else ()), named


def _records(text: str, start: int) -> list[dict[str, object]]:
    """The objects that follow one another from there on, as far as they are whole, at most twenty."""
    decoder = json.JSONDecoder()
    found: list[dict[str, object]] = []
    while len(found) < _FEW_RECORDS and (begin := _BEFORE_RECORD.match(text, start)):
        try:
            record, start = decoder.raw_decode(text, begin.end())
        except (ValueError, RecursionError):
            break
        if not isinstance(record, dict):
            break
        found.append(record)
    return found


def _all_keys(records: Iterable[dict[str, object]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for record in records for key in record))


def _sheets(workbook: SampleFile) -> list[SampleFile] | str:
    """The sheets of a workbook that hold a table, each as a file of its own; or why there are none."""
    names = sheet_names(workbook.file.path)
    if isinstance(names, Unusable):
        return names.text
    found = []
    with TemporaryDirectory() as folder:
        for name in names:
            raw = RawTable(files=(workbook.file.name,), description="A sheet of the sample.", sheet=name)
            shape = unpack(workbook.file.path, raw, Path(folder) / "sheet.csv")
            if isinstance(shape, Shape) and len(shape.columns) > 1:
                found.append(replace(workbook, shape=replace(workbook.shape, columns=shape.columns), sheet=name))
    return found or "none of its sheets holds a table"


def _encoding(path: Path, gzip: bool) -> str:
    """The first of the encodings in which the whole file is valid."""
    for name in _ENCODINGS[:-1]:
        decoder = codecs.getincrementaldecoder(name)("strict")
        chunks: Iterable[bytes] = read_chunks(path)
        try:
            for chunk in gunzip(chunks, []) if gzip else chunks:
                decoder.decode(chunk)
        except UnicodeDecodeError:
            continue
        return name
    return _ENCODINGS[-1]


def _settle_ascii(files: Sequence[SampleFile]) -> list[SampleFile]:
    """Files of plain letters are valid in every encoding: they get that of the others, whose next delivery may differ."""
    others = Counter(f.encoding for f in files if f.encoding != "ascii" and f.shape.format == "csv" and not f.shape.bom)
    usual = others.most_common(1)[0][0] if others else "utf-8"
    usual = usual if usual in _ENCODINGS else "utf-8"
    return [replace(f, encoding=usual) if f.encoding == "ascii" else f for f in files]


def _groups(files: Sequence[SampleFile]) -> list[list[SampleFile]]:
    """Files that are deliveries of one table: the same name but for a date or number, and much the same columns."""
    groups: list[list[SampleFile]] = []
    for file in files:
        for group in groups:
            first = group[-1]
            if (
                _fixed(first.file.name) == _fixed(file.file.name)
                and (first.shape.format, first.sheet) == (file.shape.format, file.sheet)
                and (first.encoding == file.encoding or first.shape.bom or file.shape.bom)
                and _overlap(first.columns, file.columns) >= _SAME_COLUMNS
            ):
                group.append(file)
                break
        else:
            groups.append([file])
    return groups


def _overlap(some: Sequence[str], others: Sequence[str]) -> float:
    a, b = {c.lower() for c in some}, {c.lower() for c in others}
    return len(a & b) / len(a | b) if a | b else 1.0


def _fixed(name: str) -> str:
    stem, ending = stem_of(name)
    return VARYING.sub("*", stem).lower() + ending.lower()


def _table(group: list[SampleFile], others: dict[str, SampleTable]) -> SampleTable:
    names = sorted({f.file.name for f in group})
    stem, ending = stem_of(names[0])
    pattern = any_number(names[0]) if dated(names) else escape(stem) + ending
    base = snake(VARYING.sub(" ", stem) if dated(names) else stem) or "table"
    sheet = group[0].sheet
    base = (snake(sheet) or base) if sheet else base
    name, number = base, 1
    while name in others:
        number += 1
        name = f"{base}_{number}"
    encodings = Counter(f.encoding for f in group if not f.shape.bom)
    encoding = encodings.most_common(1)[0][0] if encodings else "utf-8"
    raw = RawTable(files=(pattern,), description="A table of the sample.", encoding=encoding, sheet=sheet)
    table = SampleTable(name, raw, tuple(group))
    delimiters = {f.shape.delimiter for f in group if f.shape.format == "csv"}
    if rivals := [d for d in _DELIMITERS if group[0].shape.format == "csv" and _could_be(group[0], d)]:
        table.notes.append(
            f"its header could be separated by {' or '.join(map(repr, rivals))} as well: are these its columns? If not, "
            "write the delimiter"
        )
    if len(delimiters) > 1:
        table.notes.append(f"its files are separated by {' and '.join(map(repr, sorted(delimiters)))}, each by one")
    return table


def _could_be(file: SampleFile, delimiter: str) -> bool:
    """Whether another delimiter than the one found gives as many columns."""
    if delimiter == file.shape.delimiter:
        return False
    table = RawTable(files=("x",), description="A file of the sample.", encoding=file.encoding, delimiter=delimiter)
    found = sniff(read_head(file.file.path), table)
    return isinstance(found, Shape) and 2 <= len(file.shape.columns) <= len(found.columns)


def tell_apart(tables: list[SampleTable]) -> None:
    """Makes every pattern name its own table's files only, those of later deliveries, too: digit by digit where need be, else
    file by file."""
    for table in tables:
        foreign = {f.file.name for other in tables for f in other.files} - {f.file.name for f in table.files}
        found = (way for way in _narrower(table) if not any(named(n, way) for n in foreign))
        table.raw = replace_files(table.raw, next(found, table.raw.files))
    for table in tables:
        others = [pattern for other in _besides(table, tables) for pattern in other.raw.files]
        ways = _narrower(table)
        files = next((way for way in ways if not any(could_meet(p, q) for p in way for q in others)), ways[-1])
        # Sheets of one workbook have the same files.
        sheets = [t for t in tables if t.raw.sheet and table.raw.sheet and t.raw.files == table.raw.files]
        for sheet in sheets or [table]:
            sheet.raw = replace_files(sheet.raw, files)
    for table in tables:
        table.notes = [note for note in table.notes if note != _ONLY_THESE]
        if table.raw.files == _narrower(table)[-1] and dated([f.file.name for f in table.files]):
            table.notes.append(_ONLY_THESE)


def _narrower(table: SampleTable) -> tuple[tuple[str, ...], ...]:
    """The patterns a table has, and narrower ones for its files: with so many digits, and the names themselves."""
    names = {without_gz(f.file.name) for f in table.files}
    exact = tuple(sorted({re.sub(r"\d", "[0-9]", escape(name)) for name in names}))
    return table.raw.files, exact, tuple(sorted(map(escape, names)))


def _besides(table: SampleTable, tables: Iterable[SampleTable]) -> list[SampleTable]:
    """The other tables, but for further sheets of the same workbooks."""
    mine = {f.file.name for f in table.files}
    return [t for t in tables if t is not table and not mine & {f.file.name for f in t.files}]


def take_more(tables: list[SampleTable], known: Mapping[str, Sequence[str]]) -> None:
    """Adds patterns by which later deliveries are taken: the names that a system gives its files, and for other files of its
    tables what they may be called next. None that could name a file of another table is added.

    Args:
        tables: all of the sample; their patterns tell them apart.
        known: raw table of a known system → patterns of the names that it gives.
    """
    wanted = {
        table.name: [*known[table.name], *(p for f in table.files for p in next_names(f.file.name)[1:])]
        for table in tables
        if table.name in known
    }
    for table in [table for table in tables if table.name in known]:
        others = [p for other in _besides(table, tables) for p in (*other.raw.files, *wanted.get(other.name, ()))]
        free = [p for p in wanted[table.name] if not any(could_meet(p, other) for other in others)]
        added = [p for p in free if p in known[table.name]]
        left = [f.file.name for f in table.files if not named(f.file.name, added)]
        kept = [p for p in table.raw.files if p not in added and any(named(n, [p]) for n in left)]
        numbered = [p for name in left for p in next_names(name)[1:] if p in free]
        table.raw = replace_files(table.raw, tuple(dict.fromkeys((*kept, *added, *numbered))))


def replace_files(raw: RawTable, files: tuple[str, ...]) -> RawTable:
    """The same raw table with other patterns."""
    return raw.model_copy(update={"files": files})
