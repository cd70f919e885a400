"""Changing single values within a delivered file and leaving every other byte as it is.

A file stays what the loader makes of it: as many records, each at its place, and the same lines that cannot be parsed.
Text formats are edited byte by byte between the neighbours of a value; gzip is packed and Parquet written anew. Which
values are changed is in `records`. A file is held in memory as a whole.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.forgetting.documents import Inner
from ecommerce_platform.ingestion.gunzip import gunzip
from ecommerce_platform.ingestion.salvage import CsvRules, rules_of
from ecommerce_platform.ingestion.salvage_json import Values
from ecommerce_platform.ingestion.sniff import Shape, unique_names

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_UTF8_BOM = codecs.BOM_UTF8
_WORD = re.compile(r"[^\W_]")
_JSON_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


@dataclass
class Edits:
    """What is changed in one file.

    `cells`: number of the record among the parsed records (from 1) → lower-case column → its new value, None for none; of a
    document, what becomes of it.
    `was`: the same with the values that are there, as bronze shows them; a file that shows others is not touched.
    `lines`: lines (from 1) that could not be parsed and whose letters and digits are taken out.
    """

    cells: dict[int, dict[str, str | Inner | None]] = field(default_factory=dict)
    was: dict[int, dict[str, str]] = field(default_factory=dict)
    lines: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.cells or self.lines)


@dataclass(frozen=True)
class Unparsable:
    """A line that the loader could not parse (from 1), and how many lines it takes."""

    line: int
    lines: int
    text: str


class Unclear(InputError):
    """The records of a file are not where the loader found them, so that it cannot be changed safely."""

    def __init__(self, why: str, where: str) -> None:
        super().__init__(
            f"its records cannot be told apart as the loader does ({why}), so it was left as it is",
            where=where,
            fix="have it delivered again without the person and land it, or correct it by hand; then run the command again",
        )


def rewrite(
    data: bytes,
    shape: Shape,
    edits: Edits,
    unparsable: Sequence[Unparsable],
    records: int,
    where: str,
    scratch: Path | None = None,
) -> bytes:
    """The content of a file with some of its values changed.

    Args:
        data: the file.
        shape: what `sniff` found.
        edits: what to change.
        unparsable: the lines that the loader rejected.
        records: how many records the loader found.
        where: the file, for messages.
        scratch: a folder for copies of what has no text form; default: the system's.

    Raises:
        Unclear: its records are not those that the loader found, or it cannot be written with all else as it is.
    """
    damage: list[str] = []
    plain = b"".join(gunzip([data], damage)) if shape.gzip else data
    if shape.format == "parquet":
        changed = _parquet(plain, edits, records, where, scratch)
    else:
        text = _Text(plain, shape, where)
        work = _csv if shape.format == "csv" else _json
        changed = text.restore(work(text.body, shape, edits, unparsable, records, where, text.encoding))
    if not shape.gzip:
        return changed
    packed = gzip.compress(changed, compresslevel=6, mtime=0)
    # What had no proper end has none now: the loader is to say so still.
    return packed[:-8] if damage else packed


def whole_lines(
    data: bytes, shape: Shape, unparsable: Sequence[Unparsable], wanted: Collection[int], where: str
) -> dict[int, str]:
    """What stands in lines that cannot be parsed, of which the loader keeps only the beginning.

    Args:
        data: the file.
        shape: what `sniff` found.
        unparsable: the lines that the loader rejected.
        wanted: those that are asked for.
        where: the file, for messages.
    """
    plain = b"".join(gunzip([data], [])) if shape.gzip else data
    try:
        text = _Text(plain, shape, where)
        body, encoding = text.body, text.encoding
    except Unclear:  # it could not be changed, but what stands in it can be read
        body, encoding = plain[shape.bom :].decode(shape.encoding, "replace").encode(), "utf-8"
    found = {}
    if shape.format == "csv" or shape.layout == "lines":
        rules = rules_of(shape) if shape.format == "csv" else None
        newline = rules.newline if rules else b"\n"
        lines, start = {u.line: u.lines for u in unparsable}, 0
        for line in range(1, max(wanted, default=0) + 1):
            end = body.find(newline, start)
            end = len(body) if end < 0 else end
            if line in wanted:
                stop = end
                # One that takes several lines may take more than its beginning shows.
                if rules and lines.get(line, 1) > 1 and (match := rules.record.match(body, start)):
                    stop = max(end, match.end())
                found[line] = body[start:stop]
            start = end + 1
    else:
        for line, start, stop in _json_pieces(body, shape, unparsable):
            if line in wanted:
                found[line] = body[start:stop]
    return {line: piece.decode(encoding, "replace") for line, piece in found.items()}


class _Text:
    """A text file as bytes whose delimiters, quotes and line ends are ASCII, and the way back."""

    def __init__(self, plain: bytes, shape: Shape, where: str) -> None:
        self.bom, body = plain[: shape.bom], plain[shape.bom :]
        if not self.bom and body.startswith(_UTF8_BOM) and shape.encoding == "utf-8":
            self.bom, body = _UTF8_BOM, body[len(_UTF8_BOM) :]
        self.wide = "" if _is_plain(shape.encoding) else shape.encoding
        #: How the bytes of `body` are read.
        self.encoding = "utf-8" if self.wide else shape.encoding
        self.body = body
        if self.wide:
            try:
                self.body = body.decode(self.wide).encode("utf-8")
                exact = self.restore(self.body) == self.bom + body
            except UnicodeError:
                exact = False
            if not exact:
                raise Unclear(f"it is not {self.wide} throughout", where)

    def restore(self, body: bytes) -> bytes:
        return self.bom + (body.decode("utf-8").encode(self.wide) if self.wide else body)


def _is_plain(encoding: str) -> bool:
    """Whether every byte below 128 is the ASCII character, whatever stands before it."""
    if encoding == "utf-8":
        return True
    try:
        return all(bytes([n]).decode(encoding) == chr(n) for n in range(128)) and len("é".encode(encoding)) == 1
    except UnicodeError:
        return False


def masked(text: bytes, encoding: str) -> bytes:
    """A text without its letters and digits: as many values, quotes and brackets, and nothing in them."""
    decoded = text.decode(encoding, "surrogateescape")
    return _WORD.sub("x", decoded).encode(encoding, "surrogateescape")


def _replaced(
    data: bytes,
    pieces: Iterable[tuple[int, int, int]],
    changed: Callable[[bytes, int], bytes],
    edits: Edits,
    records: int,
    where: str,
    encoding: str,
) -> bytes:
    """The file with its edited records and lines, every other byte as it is.

    Args:
        data: the file.
        pieces: (0, start, stop) of each record, (line, start, stop) of each line that cannot be parsed, in its order.
        changed: gives the record of that number as it is to be.
        edits: what changes.
        records: how many records there must be.
        where: the file, for messages.
        encoding: of its text.

    Raises:
        Unclear: there are more or fewer records.
    """
    out: list[bytes] = []
    done = number = 0
    for line, start, stop in pieces:
        if line:
            new = masked(data[start:stop], encoding) if line in edits.lines else None
        else:
            number += 1
            new = changed(data[start:stop], number) if number in edits.cells else None
        if new is not None:
            out += [data[done:start], new]
            done = stop
    if number != records:
        raise Unclear(f"{number:,} records instead of {records:,}", where)
    return b"".join([*out, data[done:]])


# -- CSV ---------------------------------------------------------------------------------------------------------


def _csv(
    data: bytes,
    shape: Shape,
    edits: Edits,
    unparsable: Sequence[Unparsable],
    records: int,
    where: str,
    encoding: str,
) -> bytes:
    rules = rules_of(shape)
    skipped = {u.line: u.lines for u in unparsable}
    places = {name.lower(): n for n, name in enumerate(shape.columns)}
    pieces = _csv_pieces(data, shape, rules, skipped, where)

    def changed(record: bytes, number: int) -> bytes:
        return _csv_record(record, rules, edits, number, places, encoding, where)

    return _replaced(data, pieces, changed, edits, records, where, encoding)


def _csv_pieces(
    data: bytes, shape: Shape, rules: CsvRules, skipped: Mapping[int, int], where: str
) -> Iterator[tuple[int, int, int]]:
    """(0, start, stop) of each record, (line, start, stop) of each line that cannot be parsed, in the file's order."""
    newline, size = rules.newline, len(data)
    position, line = 0, 1
    for _ in range(shape.skip + shape.header_lines):
        end = data.find(newline, position)
        if end < 0:
            return
        position, line = end + 1, line + 1
    while position < size:
        end = data.find(newline, position)
        end = size if end < 0 else end
        if line in skipped:
            first = line
            for _ in range(skipped[line] - 1):
                following = data.find(newline, end + 1)
                end = size if following < 0 else following
            line += skipped[first]
            yield first, position, end
            position = end + 1
            continue
        stop = end - (newline == b"\n" and data[end - 1 : end] == b"\r" and end > position)
        if stop == position and rules.columns > 1:
            position, line = end + 1, line + 1
            continue
        if data.find(b'"', position, stop) >= 0:
            match = rules.record.match(data, position)
            if match is None:
                raise Unclear(f"line {line} is no record", where)
            stop = match.end()
            if newline == b"\n" and data[stop - 1 : stop] == b"\r":
                stop -= 1
            line += data.count(newline, position, stop)
            end = data.find(newline, stop)
            end = size if end < 0 else end
        yield 0, position, stop
        position, line = end + 1, line + 1


def _csv_record(
    record: bytes, rules: CsvRules, edits: Edits, number: int, places: Mapping[str, int], encoding: str, where: str
) -> bytes:
    fields = list(rules.split(record))
    if len(fields) < rules.columns:
        raise Unclear(f"record {number:,} has {len(fields)} values", where)
    for column, value in edits.cells[number].items():
        place = places[column]
        if _csv_value(fields[place], encoding) != edits.was[number][column]:
            raise Unclear(f"record {number:,} has another {column}", where)
        fields[place] = _csv_text(value, edits.was[number][column], rules).encode(encoding)
        if rules.columns == 1 and not value:
            fields[place] = b'""'
    return rules.delimiter.join(fields)


def _csv_text(value: str | Inner | None, was: str, rules: CsvRules) -> str:
    if not isinstance(value, Inner):
        return value or ""
    new = value.changed(was)
    return (
        '"' + new.replace('"', '""') + '"'
        if any(c in new for c in ('"', "\r", "\n", rules.delimiter.decode()))
        else new
    )


def _csv_value(text: bytes, encoding: str) -> str:
    if text.startswith((b'"', b' "')):
        text = text.strip(b" ")[1:-1].replace(b'""', b'"')
    return text.decode(encoding, "replace")


# -- JSON --------------------------------------------------------------------------------------------------------


def _json(
    data: bytes,
    shape: Shape,
    edits: Edits,
    unparsable: Sequence[Unparsable],
    records: int,
    where: str,
    encoding: str,
) -> bytes:
    # Other encodings than UTF-8 are rare for JSON; a byte is a character then, so offsets hold.
    keys = _json_names(data, shape, unparsable, encoding)
    names = dict(zip((n.lower() for n in unique_names(keys)), keys, strict=True))
    pieces = _json_pieces(data, shape, unparsable)

    def changed(record: bytes, number: int) -> bytes:
        return _json_record(record, edits, number, names, encoding, where)

    return _replaced(data, pieces, changed, edits, records, where, encoding)


def _json_names(data: bytes, shape: Shape, unparsable: Sequence[Unparsable], encoding: str) -> list[str]:
    """All keys of a file, in the order in which the loader makes columns of them."""
    first: dict[str, int] = {}
    for line, start, stop in _json_pieces(data, shape, unparsable):
        if not line:
            for place, (key, _, _) in enumerate(_json_values(data[start:stop].decode(encoding)), start=1):
                first[key] = min(place, first.get(key, place))
    return sorted(first, key=lambda key: (first[key], key.encode()))


def _json_pieces(data: bytes, shape: Shape, unparsable: Sequence[Unparsable]) -> Iterator[tuple[int, int, int]]:
    """As `_csv_pieces`."""
    rejected = {u.line for u in unparsable}
    if shape.layout == "lines":
        position = 0
        for line, text in enumerate(data.split(b"\n"), start=1):
            start, position = position, position + len(text) + 1
            bare = text.strip(b" \t\r\n")
            if bare:
                start += text.index(bare)
                yield (line if line in rejected else 0), start, start + len(bare)
        return
    flat, position = data.replace(b"\r", b" ").replace(b"\n", b" "), 0
    for piece in Values(io.BytesIO(data), shape.layout == "array"):
        text = piece[1] if isinstance(piece, tuple) else piece.raw.replace(b"\r", b" ").replace(b"\n", b" ")
        number = piece[0] if isinstance(piece, tuple) else piece.line
        start = flat.find(text, position) if text else -1
        if start < 0:
            continue
        position = start + len(text)
        good = isinstance(piece, tuple) and _is_record(text)
        yield (0 if good else number or 0), start, position


def _is_record(text: bytes) -> bool:
    try:
        pairs = json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs))
    except (ValueError, RecursionError):
        return False
    if not isinstance(pairs, tuple):
        return False
    keys = [key for key, _ in pairs[1]]
    return len(set(keys)) == len(keys)


def _json_values(text: str) -> Iterator[tuple[str, int, int]]:
    """(key, start, stop) of every value of an object."""
    position = _skip(text, 1)
    while text[position : position + 1] == '"':
        key, position = json.decoder.scanstring(text, position + 1)  # type: ignore[attr-defined]
        position = _skip(text, _skip(text, position) + 1)
        _, stop = _DECODER.raw_decode(text, position)
        yield key, position, stop
        position = _skip(text, stop)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    match = _JSON_BLANKS.match(text, position)
    assert match is not None
    return match.end()


def _json_record(
    record: bytes, edits: Edits, number: int, names: Mapping[str, str], encoding: str, where: str
) -> bytes:
    text = record.decode(encoding)
    cells = {names[column]: (column, value) for column, value in edits.cells[number].items()}
    parts, done = [], 0
    for key, start, stop in _json_values(text):
        if key not in cells:
            continue
        column, value = cells.pop(key)
        now, was = json.loads(text[start:stop]), edits.was[number][column]
        if (isinstance(now, str) and now != was) or (isinstance(value, Inner) and now not in (was, json.loads(was))):
            raise Unclear(f"record {number:,} has another {column}", where)
        if isinstance(value, Inner):
            new = json.dumps(value.changed(now)) if isinstance(now, str) else value.changed(text[start:stop])
        else:
            new = "null" if value is None else json.dumps(value)
        parts += [text[done:start], new]
        done = stop
    if cells:
        raise Unclear(f"record {number:,} lacks {', '.join(cells)}", where)
    return "".join([*parts, text[done:]]).encode(encoding)


# -- Parquet -----------------------------------------------------------------------------------------------------


def _parquet(data: bytes, edits: Edits, records: int, where: str, scratch: Path | None) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Nanoseconds reach from 1677 to 2262: Spark's 9999-12-31, for "for ever", would become a day of 1816.
        file = pq.ParquetFile(io.BytesIO(data), coerce_int96_timestamp_unit="us")
        table = file.read()
        if table.num_rows != records:
            raise Unclear(f"{table.num_rows:,} records instead of {records:,}", where)
        new = _written(file, table, edits, pa, pq)
    except pa.ArrowException as error:  # a type that Arrow does not know
        raise Unclear(f"its values cannot be written again: {type(error).__name__}", where) from None
    _compare(data, new, edits, where, scratch)
    return new


def _written(file: Any, table: Any, edits: Edits, pa: Any, pq: Any) -> bytes:
    """A Parquet file as bytes, with its edits."""
    places = {name.lower(): n for n, name in enumerate(unique_names(table.column_names))}
    changes: dict[int, dict[int, str | None]] = {}
    for number, cells in edits.cells.items():
        for column, value in cells.items():
            new = value.changed(edits.was[number][column]) if isinstance(value, Inner) else value
            changes.setdefault(places[column], {})[number - 1] = new
    for place, rows in changes.items():
        schema_field, column = table.schema.field(place), table.column(place)
        table = table.set_column(
            place, schema_field.with_nullable(True), _with_values(column, schema_field.type, rows, pa)
        )
    meta = file.metadata
    packed = meta.row_group(0).column(0).compression if meta.num_row_groups and meta.num_columns else "SNAPPY"
    size = max((meta.row_group(n).num_rows for n in range(meta.num_row_groups)), default=0)
    out = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(file.schema_arrow.metadata),
        out,
        compression={"UNCOMPRESSED": "none"}.get(packed, packed.lower()),
        row_group_size=size or None,
    )
    return out.getvalue()


def _compare(old: bytes, new: bytes, edits: Edits, where: str, scratch: Path | None) -> None:
    """Whether the loader reads two Parquet files alike, edited cells aside.

    Arrow, which writes them, and DuckDB, which reads them, do not agree on every type, and what is not edited is
    somebody else's.

    Raises:
        Unclear: they differ in anything else, or an edited value was another one.
    """
    import duckdb

    if scratch:
        scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="forget-", dir=scratch) as folder, duckdb.connect(":memory:") as con:
        con.execute(f"set temp_directory = {_sql_text(f'{folder}/spill')}")
        try:
            before, after = (_view(con, name, content, folder) for name, content in (("old", old), ("new", new)))
            for (column, kind), now in zip(before, after, strict=True):
                if (column, kind) != now:
                    raise Unclear(f"its column {column} would be written as {now[1]} instead of {kind}", where)
            names = unique_names(column for column, _ in before)
            for place, name in enumerate(names):
                mine = {n: cells for n, cells in edits.cells.items() if name.lower() in cells}
                rows = con.execute(
                    f"select number + 1, old.v{place} from old full join new using (number) "
                    f"where number + 1 in (select unnest($edited::bigint[])) or old.v{place} is distinct from new.v{place}",
                    {"edited": sorted(mine)},
                ).fetchall()
                for number, value in rows:
                    if number not in mine:
                        raise Unclear(f"values of its column {name} would be written as others", where)
                    if value != edits.was[number][name.lower()]:
                        raise Unclear(f"record {number:,} has another {name}", where)
        except duckdb.Error as error:
            raise Unclear(f"it cannot be compared with what it would become: {type(error).__name__}", where) from None


def _view(con: DuckDBPyConnection, name: str, content: bytes, folder: str) -> list[tuple[str, str]]:
    """Makes a view of a Parquet file: `number` of the row from 0, `v0`, `v1` … as the loader shows values; its columns."""
    path = Path(folder) / f"{name}.parquet"
    path.write_bytes(content)
    file = f"read_parquet({_sql_text(str(path))}, hive_partitioning = false"
    columns = [(column, kind) for column, kind, *_ in con.execute(f"describe select * from {file})").fetchall()]
    # By place, for delivered names can be anything.
    names = [f"v{n}" for n in range(len(columns))]
    con.execute(
        f"create view {name} as select number{''.join(f', cast({n} as varchar) as {n}' for n in names)} "
        f"from {file}, file_row_number = true) as f ({', '.join([*names, 'number'])})"
    )
    return columns


def _sql_text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _with_values(column: Any, kind: Any, rows: Mapping[int, str | None], pa: Any) -> Any:
    """The column with these rows changed; a value that its type cannot hold becomes none."""
    texts = [value for value in dict.fromkeys(rows.values()) if value is not None]
    if pa.types.is_dictionary(kind):
        column, text_kind = column.cast(kind.value_type), kind.value_type
    else:
        text_kind = kind
    is_text = pa.types.is_string(text_kind) or pa.types.is_large_string(text_kind) or pa.types.is_string_view(text_kind)
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    taken: list[int | None] = list(range(len(whole)))
    if is_text and texts:
        whole = pa.concat_arrays([whole, pa.array(texts, text_kind)])
    for row, value in rows.items():
        taken[row] = len(taken) + texts.index(value) if is_text and value is not None else None
    result = whole.take(pa.array(taken, pa.int64()))
    return result.cast(kind) if text_kind is not kind and pa.types.is_dictionary(kind) else result
