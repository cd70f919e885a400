"""What a delivered file is, judged by its first 64 KiB: format, encoding, delimiter, columns.

Only recognition lives here. It never reads a whole file and never decides whether a line further down is
good: the reader does and, where a file turns out to be faulty, `salvage`.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ecommerce_platform.contracts.source import RawTable
from ecommerce_platform.ingestion.gunzip import MAGIC, gunzip

Format = Literal["csv", "json", "jsonl", "parquet", "xlsx"]

#: How much of a file is looked at.
HEAD_BYTES = 64 * 1024
#: Names that bronze and silver add to every row; a delivered column of that name gets a suffix.
RESERVED = ("_load_date", "_source_file", "_source_row", "_row_hash", "_raw_table")

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_RECORDS = 50
#: A line before the header with which Excel is told the delimiter.
_EXCEL_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[\r\n]', re.IGNORECASE)
#: `[id],[name]` is a CSV header that some databases write.
_JSON_START = re.compile(r'\{\s*("|\}|$)|\[\s*([\[{\]]|$)')
_PARQUET = b"PAR1"
#: A workbook is a zip archive of parts, of which these come first; a document of Word's has others.
_ZIP, _WORKBOOK = b"PK\x03\x04", re.compile(rb"\[Content_Types\]\.xml|xl/workbook\.xml")
#: First bytes of what people rename to .csv, with what to call it.
_MAGIC = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook (.xlsx)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"%PDF-", "a PDF"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!\x1a", "a RAR archive"),
    (b"BZh91AY&SY", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"Obj\x01", "Avro"),
    (b"ARROW1\x00", "Arrow"),
    (b"\x7fELF", "a program"),
)
_BOMS = (
    # UTF-32 first: its mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Head:
    """The beginning of a file, decompressed."""

    data: bytes
    #: Whether `data` is the whole file.
    complete: bool
    gzip: bool


@dataclass(frozen=True)
class Shape:
    """How a file has to be read.

    `layout` tells the ways JSON comes in: one array, one object per line, or objects one after the other.
    `xlsx` is a workbook of which `workbook` makes CSV. `skip` and `header_lines` are the lines before the header and of the header itself. `columns` is
    empty for JSON and Parquet, whose columns only the reader knows.
    """

    format: Format
    gzip: bool = False
    encoding: str = "utf-8"
    bom: int = 0
    layout: Literal["array", "lines", "objects"] = "lines"
    delimiter: str = ","
    newline: Literal["\n", "\r\n", "\r"] = "\n"
    skip: int = 0
    header_lines: int = 0
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unusable:
    """A file that holds nothing to load; `text` says why, for people."""

    kind: Literal["empty", "unreadable", "truncated", "drifted", "copy"]
    text: str


def read_head(path: Path, limit: int = HEAD_BYTES) -> Head:
    """The first `limit` bytes of a file's content, gunzipped where its first bytes say gzip.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        data = file.read(limit + 1)
    if not data.startswith(MAGIC):
        return Head(data[:limit], len(data) <= limit, False)
    damage: list[str] = []
    plain = bytearray()
    for piece in gunzip([data], damage):
        plain += piece
        if len(plain) > limit:
            return Head(bytes(plain[:limit]), False, True)
    return Head(bytes(plain), not damage, True)


def sniff(head: Head, table: RawTable, expected: Sequence[str] = ()) -> Shape | Unusable:
    """The shape of a file from its beginning.

    Args:
        head: what `read_head` returned.
        table: what `source.yml` says; a format, delimiter or encoding given there is not guessed.
        expected: columns that the source's mappings name; they decide between possible delimiters.
    """
    data = head.data
    if not data:
        if head.gzip and not head.complete:
            return Unusable(
                "unreadable",
                "begins like gzip, but nothing of it can be decompressed: it is cut off or damaged",
            )
        return Unusable("empty", "the file is empty")
    if table.format == "parquet" or data.startswith(_PARQUET):
        return _parquet(data, table, head.gzip)
    if data.startswith(_ZIP) and _WORKBOOK.search(data) and not head.gzip and table.format in (None, "xlsx"):
        return Shape("xlsx")
    if table.format == "xlsx":
        return Unusable("unreadable", "is no Excel workbook (.xlsx), although source.yml says so; save it as one")
    for magic, what in _MAGIC:
        if data.startswith(magic):
            return Unusable("unreadable", f"is binary, not {_wanted(table)}: looks like {what}{_advice(what)}")

    encoding, bom = _encoding(data, table)
    if encoding in ("utf-16", "utf-32"):
        return Unusable(
            "unreadable", f"does not begin as {encoding} does; correct `encoding` for this table in source.yml"
        )
    text = _text(data[bom:], encoding)
    if isinstance(text, Unusable):
        return text
    start = text.lstrip()
    if not start:
        return Unusable("empty", "the file holds nothing but blanks")
    if start[:9].lower() == "<!doctype" or start[:5].lower() in ("<html", "<?xml"):
        return Unusable("unreadable", f"is a web page or XML, not {_wanted(table)}: was it saved from a log-in page?")

    shape = Shape("csv", gzip=head.gzip, encoding=encoding, bom=bom)
    if table.format in ("json", "jsonl") or (table.format is None and _JSON_START.match(start)):
        return _json(start, shape, table, head.complete)
    return _csv(text, shape, table, expected, head.complete)


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Column names as a table can hold them: trimmed, none empty, none equal but for case, none reserved.

    An empty name becomes `column_<position>`; a repeated or reserved one gets `_2`, `_3` and so on.
    """
    trimmed = [name.strip().strip("\ufeff").strip() for name in names]
    taken = set(RESERVED)
    # A name that is delivered as it stands keeps it, whatever suffix another would want.
    own = {name.lower() for name in trimmed}
    result = []
    for position, name in enumerate(trimmed, start=1):
        base = name or f"column_{position}"
        unique, number = base, 1
        while unique.lower() in taken or (number > 1 and unique.lower() in own):
            number += 1
            unique = f"{base}_{number}"
        taken.add(unique.lower())
        result.append(unique)
    return tuple(result)


def _wanted(table: RawTable) -> str:
    return {"csv": "CSV", "json": "JSON", "jsonl": "JSON lines", "parquet": "Parquet", None: "CSV"}[table.format]


def _advice(what: str) -> str:
    if "Excel" in what:
        return "; export it as CSV (UTF-8)"
    if what in ("bzip2", "xz", "zstd") or "archive" in what:
        return "; unpack it, or deliver it gzipped"
    return ""


def _parquet(data: bytes, table: RawTable, gzip: bool) -> Shape | Unusable:
    if not data.startswith(_PARQUET):
        return Unusable("unreadable", "is not Parquet (it does not begin with PAR1), although source.yml says so")
    if table.format not in (None, "parquet"):
        return Unusable("unreadable", f"is Parquet, although source.yml says {table.format}; correct `format` there")
    return Shape("parquet", gzip=gzip)


def _text(data: bytes, encoding: str) -> str | Unusable:
    """The head as text. Its first line has to be text; what follows may be damaged and is not judged here."""
    if encoding.startswith(("utf-16", "utf-32")):
        text = codecs.getincrementaldecoder(encoding)("replace").decode(data)
        first = text.lstrip("\r\n").partition("\n")[0]
        if "\ufffd" in first or "\x00" in first:
            return Unusable("unreadable", f"is not {encoding}; correct `encoding` for this table in source.yml")
        return text
    stripped = data.lstrip(b"\r\n")
    line = re.match(rb"[^\r\n]*", stripped)[0]  # type: ignore[index]
    if not data.strip(b"\x00"):
        return Unusable("unreadable", "holds nothing but zero bytes, so its content is lost; have it delivered again")
    if b"\x00" in line:
        # Of UTF-16 text in a Latin script every other byte is zero, and the bytes between are not.
        few, many = sorted((line[0::2].count(0), line[1::2].count(0)))
        half = many > len(line) // 4 and few <= len(line) // 16
        return Unusable(
            "unreadable",
            "is UTF-16 without a mark; set `encoding: utf-16-le` for this table in source.yml"
            if half
            else "is binary, not text: its first line holds zero bytes",
        )
    binary = Unusable("unreadable", "is binary, not text: its first line holds control characters")
    try:
        # The head may end in the middle of a character, its first line may not.
        first = codecs.getincrementaldecoder(encoding)("strict").decode(line, len(line) < len(stripped))
    except UnicodeDecodeError as error:
        if _controls(line.decode("latin-1")):
            return binary
        return Unusable(
            "unreadable",
            f"its first line is not {encoding} (byte {error.start + 1}); set `encoding` for this table in "
            "source.yml, for instance latin-1 or cp1252",
        )
    if _controls(first):
        return binary
    return codecs.getincrementaldecoder(encoding)("replace").decode(data)


def _controls(text: str) -> bool:
    return any(c < " " and c not in "\t\v\f\r\n" for c in text)


def _json(start: str, shape: Shape, table: RawTable, complete: bool) -> Shape | Unusable:
    """Array, objects line by line, or objects anyhow. `start` begins with the first character that counts."""
    lines = start.splitlines()
    if not complete and len(lines) > 1:
        lines.pop()
    first, more = lines[0].strip(), any(line.strip() for line in lines[1:])
    if start[0] == "[" and not (_is_json(first) and more):
        return _of(shape, "json", "array")
    if start[0] == "{":
        objects = sum(line.strip().startswith("{") and line.strip().endswith("}") for line in lines)
        filled = sum(bool(line.strip()) for line in lines)
        if not _is_json(first) and 2 * objects < filled and not (len(lines) == 1 and not complete):
            return _of(shape, "json", "objects")
    elif table.format == "json" and start[0] != "[":
        return Unusable("unreadable", f"is not JSON: it begins with {start[:20]!r}")
    return _of(shape, "jsonl", "lines")


def _of(shape: Shape, format: Format, layout: Literal["array", "lines", "objects"]) -> Shape:
    return Shape(format, shape.gzip, shape.encoding, shape.bom, layout)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _encoding(data: bytes, table: RawTable) -> tuple[str, int]:
    """The encoding that the first bytes name, else the one in source.yml, and how many bytes that takes."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name, len(mark)
    encoding = codecs.lookup(table.encoding).name
    return "utf-8" if encoding == "utf-8-sig" else encoding, 0


def _csv(text: str, shape: Shape, table: RawTable, expected: Sequence[str], complete: bool) -> Shape | Unusable:
    lines = list(io.StringIO(text, newline=""))
    candidates = (table.delimiter,) if table.delimiter else _DELIMITERS
    skip = 0
    while not lines[skip].strip("\r\n"):
        skip += 1
    if (named := _EXCEL_LINE.match(lines[skip])) and len(lines) > skip + 1:
        skip += 1
        candidates = (table.delimiter or named[1],)
    lines = lines[skip:]

    read = _delimiter(lines, candidates, expected, complete)
    if read is None:
        return Unusable(
            "unreadable",
            "its header line does not end within 64 KiB: a quote in it is never closed, or it is no CSV",
        )
    delimiter, header, used = read
    end = lines[used - 1]
    newline: Literal["\n", "\r\n", "\r"] = "\n"
    if end.endswith("\r\n"):
        newline = "\r\n"
    elif end.endswith("\r"):
        newline = "\r"
    elif not end.endswith("\n") and not complete:
        if len(text) < HEAD_BYTES // 4:
            return Unusable("truncated", "the file ends within its header line")
        return Unusable("unreadable", "its first line is longer than 64 KiB: this is no header, so no CSV")
    return Shape(
        "csv",
        shape.gzip,
        shape.encoding,
        shape.bom,
        delimiter=delimiter,
        newline=newline,
        skip=skip,
        header_lines=max(1, "".join(lines[:used]).count(newline[-1])),
        columns=unique_names(header),
    )


def _delimiter(
    lines: list[str], candidates: Sequence[str], expected: Sequence[str], complete: bool
) -> tuple[str, list[str], int] | None:
    """The delimiter by which the header has most of the expected columns, that header and its lines; None without one."""
    wanted = {name.lower() for name in expected}
    headers = {}
    for delimiter in candidates:
        header, used = _header(lines, delimiter)
        if header is not None:
            found = sum(name.strip().lower() in wanted for name in header)
            headers[delimiter] = (found, header, used)
    if not headers:
        return None
    best = max(found for found, _, _ in headers.values())
    rivals = [d for d, (found, _, _) in headers.items() if found == best]
    if len(rivals) > 1:
        # The header's own evidence is a draw: which delimiter do the records agree with?
        sample = lines if complete else lines[:-1]
        rivals.sort(key=lambda d: _agreement(sample, d, headers[d]), reverse=True)
    _, header, used = headers[rivals[0]]
    return rivals[0], header, used


def _header(lines: list[str], delimiter: str) -> tuple[list[str] | None, int]:
    """The header's fields and how many lines it takes; None when a quote in it is not closed."""
    reader = csv.reader(iter(lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        return next(reader), reader.line_num
    except (csv.Error, StopIteration):
        # Strict fails on text after a closing quote; as a header that is still better read than refused.
        reader = csv.reader(iter(lines[:1]), delimiter=delimiter, skipinitialspace=True, quoting=csv.QUOTE_NONE)
        fields = next(reader)
        return ([f.strip('"') for f in fields], 1) if len(fields) > 1 or '"' not in lines[0] else (None, 0)


def _agreement(lines: list[str], delimiter: str, header: tuple[int, list[str], int]) -> float:
    """What speaks for a delimiter: the columns it gives, times the share of first records with as many."""
    _, fields, used = header
    reader = csv.reader(iter(lines[used:]), delimiter=delimiter, skipinitialspace=True)
    counts: list[bool] = []
    try:
        for record in reader:
            if record:
                counts.append(len(record) == len(fields))
            if len(counts) == _SAMPLE_RECORDS:
                break
    except csv.Error:
        pass
    return (len(fields) - 1) * (sum(counts) / len(counts) if counts else 1.0)
