"""How the shop's systems write values and files: dates, money, CSV in several dialects, JSON, Parquet.

Only text and bytes are made here; which records go into which file is decided in `drops`. Many records of many files
are turned into text at once, for most files are small and a call costs more than a record.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
from collections.abc import Callable
from datetime import date
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl

ISO = "%Y-%m-%d %H:%M:%S"
ISO_T = "%Y-%m-%dT%H:%M:%S"
GERMAN = "%d.%m.%Y %H:%M"
GERMAN_DAY = "%d.%m.%Y"
AMERICAN = "%m/%d/%Y %I:%M %p"
AMERICAN_DAY = "%m/%d/%Y"
_DAY = 86_400
_NEWLINE, _QUOTE = ord("\n"), ord('"')

if TYPE_CHECKING:
    #: Makes the files of some records: given their rows, the positions among these of lines that cannot be parsed, and
    #: the positions at which files begin and the last one ends. What is returned is called for the bytes of each file.
    Encoder = Callable[["pl.DataFrame", np.ndarray, np.ndarray], list[Callable[[], bytes]]]


def timestamps(seconds: np.ndarray, known: np.ndarray, start: date, pattern: str) -> pl.Series:
    """Texts of moments given as seconds after `start`; null where not known.

    `pattern` is a day's alone, or a day's, then T or a blank, then a time's.
    """
    import polars as pl

    separator = "T" if "T" in pattern else " "
    day_pattern, _, time_pattern = pattern.partition(separator)
    seconds = np.where(known, seconds, 0)
    if not time_pattern:
        return where(days(seconds // _DAY, start, day_pattern), known)
    moments = pl.concat_str(
        [days(seconds // _DAY, start, day_pattern), pl.lit(separator), _times(time_pattern).gather(seconds % _DAY)]
    )
    return where(pl.select(moments).to_series(), known)


def days(day: np.ndarray, start: date, pattern: str) -> pl.Series:
    """Texts of days counted from `start`."""
    import polars as pl

    if not len(day):
        return pl.Series([], dtype=pl.String)
    # Each day is written once: there are few of them and many records.
    first, last = int(day.min()), int(day.max())
    zero = int(np.datetime64(start, "D").astype(np.int64))
    every = pl.Series(np.arange(zero + first, zero + last + 1), dtype=pl.Int32).cast(pl.Date).dt.strftime(pattern)
    return every.gather(day - first)


@cache
def _times(pattern: str) -> pl.Series:
    """Texts of all seconds of a day."""
    import polars as pl

    moments = pl.Series(np.arange(_DAY) * 1_000_000, dtype=pl.Int64).cast(pl.Datetime("us"))
    return moments.dt.strftime(pattern)


def where(values: pl.Series, known: np.ndarray) -> pl.Series:
    """The values, null where not known."""
    import polars as pl

    if known.all():
        return values
    return pl.select(pl.when(pl.Series(known)).then(values).otherwise(None)).to_series()


def numbered(prefix: str, numbers: np.ndarray) -> pl.Series:
    """Texts such as W20000017."""
    import polars as pl

    return pl.select(pl.concat_str([pl.lit(prefix), pl.Series(numbers)])).to_series()


def chosen(texts: list[str] | tuple[str, ...], index: np.ndarray) -> pl.Series:
    """The texts at `index`; null where it is negative."""
    import polars as pl

    if not len(texts):
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(index))
    return where(pl.Series(texts, dtype=pl.String).gather(np.maximum(index, 0)), index >= 0)


def money(cents: np.ndarray, *, comma: bool = False) -> pl.Series:
    """Amounts from cents that are not negative: 1234.56, or 1.234,56 with `comma`."""
    import polars as pl

    whole = pl.Series(cents // 100)
    rest = pl.Series([f"{i:02d}" for i in range(100)]).gather(cents % 100)
    if not comma:
        return pl.select(pl.concat_str([whole, pl.lit("."), rest])).to_series()
    thousands = pl.concat_str([whole // 1000, pl.lit("."), (whole % 1000).cast(pl.String).str.zfill(3)])
    grouped = pl.when(whole >= 1000).then(thousands).otherwise(whole.cast(pl.String))
    return pl.select(pl.concat_str([grouped, pl.lit(","), rest])).to_series()


def csv_files(*, delimiter: str = ",", encoding: str = "utf-8", compressed: bool = False) -> Encoder:
    """CSV files with header; broken lines have too many or too few fields."""

    def spoil(line: bytes, position: int) -> bytes:
        text = line.decode().rstrip("\n")
        text = text + f"{delimiter}?{delimiter}" if position % 2 else delimiter.join(text.split(delimiter)[:2])
        return f"{text}\n".encode()

    def finish(content: bytes) -> bytes:
        if encoding != "utf-8":
            content = content.decode().encode(encoding)
            content = codecs.BOM_UTF16_LE + content if encoding == "utf-16-le" else content
        # Without a time in the header the same records give the same bytes.
        return gzip.compress(content, compresslevel=1, mtime=0) if compressed else content

    def encode(frame: pl.DataFrame, broken: np.ndarray, bounds: np.ndarray) -> list[Callable[[], bytes]]:
        header, body = io.BytesIO(), io.BytesIO()
        frame.clear().write_csv(header, separator=delimiter)
        frame.write_csv(body, include_header=False, separator=delimiter)
        parts = _cut(body.getvalue(), frame.height, broken, bounds, spoil)
        return [partial(finish, header.getvalue() + part) for part in parts]

    return encode


def json_lines_files() -> Encoder:
    """Files of JSON lines; broken ones are cut off in the middle."""

    def encode(frame: pl.DataFrame, broken: np.ndarray, bounds: np.ndarray) -> list[Callable[[], bytes]]:
        body = io.BytesIO()
        json_lines(frame).to_frame().write_csv(body, include_header=False, quote_style="never")
        parts = _cut(body.getvalue(), frame.height, broken, bounds, lambda line, _: _half(line), quoted=False)
        return [partial(bytes, part) for part in parts]

    return encode


def json_array_files() -> Encoder:
    """Files with one JSON array each, an object per line."""

    def write(rows: list[dict[str, Any]]) -> bytes:
        body = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
        return f"[\n{body}\n]\n".encode()

    def encode(frame: pl.DataFrame, broken: np.ndarray, bounds: np.ndarray) -> list[Callable[[], bytes]]:
        rows = frame.to_dicts()
        return [partial(write, rows[first:last]) for first, last in pairwise(bounds.tolist())]

    return encode


def parquet_files(money: tuple[str, ...] = (), *, few: tuple[str, ...] = ()) -> Encoder:
    """Parquet files with the frame's types.

    Args:
        money: columns that hold cents and become decimals.
        few: columns that hold the same few values over and over.
    """

    def write(part: Any) -> bytes:
        import pyarrow.parquet as pq

        out = io.BytesIO()
        pq.write_table(part, out, compression="snappy", use_dictionary=list(few), write_statistics=False)
        return out.getvalue()

    def encode(frame: pl.DataFrame, broken: np.ndarray, bounds: np.ndarray) -> list[Callable[[], bytes]]:
        import pyarrow as pa

        table = frame.to_arrow()
        columns = [
            decimal_array(frame[name].to_numpy()) if name in money else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        ]
        table = pa.table(dict(zip(table.column_names, columns, strict=True)))
        return [partial(write, table.slice(first, last - first)) for first, last in pairwise(bounds.tolist())]

    return encode


def json_lines(frame: pl.DataFrame) -> pl.Series:
    """Each row as a JSON object on one line, without the fields that are null.

    The last column must never be null. Texts must hold nothing that JSON escapes, which is true of what the
    simulation makes up for them.
    """
    import polars as pl

    *others, last = frame.columns
    pieces = [pl.concat_str([pl.lit(f'"{name}": '), _json_value(frame, name), pl.lit(", ")]) for name in others]
    ending = pl.concat_str([pl.lit(f'"{last}": '), _json_value(frame, last), pl.lit("}")])
    return frame.select(pl.concat_str([pl.lit("{"), *pieces, ending], ignore_nulls=True)).to_series()


def decimal_array(cents: np.ndarray) -> Any:
    """Cents as an Arrow decimal128(12, 2) array."""
    import pyarrow as pa

    words = np.empty((len(cents), 2), dtype="<i8")
    words[:, 0] = cents
    words[:, 1] = np.asarray(cents) >> 63  # the sign fills the upper half
    return pa.Array.from_buffers(pa.decimal128(12, 2), len(cents), [None, pa.py_buffer(words)])


def _half(line: bytes) -> bytes:
    text = line.decode().rstrip("\n")
    return f"{text[: len(text) // 2]}\n".encode()


def _cut(
    body: bytes,
    rows: int,
    broken: np.ndarray,
    bounds: np.ndarray,
    spoil: Callable[[bytes, int], bytes],
    *,
    quoted: bool = True,
) -> list[bytes]:
    """The lines of several files, given all of them in one text; those at the positions `broken` spoilt.

    A line end within quotes ends no record where texts are `quoted`; `bounds` are the positions at which files begin,
    and the number of rows.
    """
    data = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    if quoted:
        quotes = np.flatnonzero(data == _QUOTE)
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    if len(ends) != rows:
        raise AssertionError(f"{rows} records became {len(ends)} lines")
    begins = np.append(0, ends + 1)
    parts = []
    for first, last in pairwise(bounds.tolist()):
        pieces, at = [], int(begins[first])
        inside = broken[np.searchsorted(broken, first) : np.searchsorted(broken, last)]
        for position in inside.tolist():
            line, after = int(begins[position]), int(begins[position + 1])
            pieces += [body[at:line], spoil(body[line:after], position - first)]
            at = after
        parts.append(b"".join([*pieces, body[at : int(begins[last])]]))
    return parts


def _json_value(frame: pl.DataFrame, name: str) -> pl.Expr:
    import polars as pl

    if frame.schema[name] == pl.String:
        return pl.concat_str([pl.lit('"'), pl.col(name), pl.lit('"')])
    return pl.col(name).cast(pl.String)
