"""How the shop's systems write values and files: dates, money, CSV in several dialects, JSON, Parquet.

Only text and bytes are made here; which records go into which file is decided in `drops`.
"""

from __future__ import annotations

import gzip
import io
import json
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl

ISO = "%Y-%m-%d %H:%M:%S"
ISO_T = "%Y-%m-%dT%H:%M:%S"
GERMAN = "%d.%m.%Y %H:%M"
GERMAN_DAY = "%d.%m.%Y"


def timestamps(seconds: np.ndarray, known: np.ndarray, start: date, pattern: str) -> pl.Series:
    """Texts of moments given as seconds after `start`; null where not known."""
    import polars as pl

    epoch = int(np.datetime64(start, "s").astype(np.int64))
    moments = pl.Series((np.where(known, seconds, 0) + epoch) * 1_000_000, dtype=pl.Int64).cast(pl.Datetime("us"))
    return where(moments.dt.strftime(pattern), known)


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


def csv_bytes(
    frame: pl.DataFrame,
    broken: np.ndarray,
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
    compressed: bool = False,
) -> bytes:
    """A CSV file with header; lines at the positions `broken` have too many or too few fields."""
    out = io.BytesIO()
    frame.clear().write_csv(out, separator=delimiter)
    begin = 0
    for position in broken.tolist():
        _write_rows(out, frame[begin:position], delimiter)
        line = io.BytesIO()
        _write_rows(line, frame[position : position + 1], delimiter)
        text = line.getvalue().decode().rstrip("\n")
        if position % 2:
            text += f"{delimiter}?{delimiter}"
        else:
            text = delimiter.join(text.split(delimiter)[:2])
        out.write(f"{text}\n".encode())
        begin = position + 1
    _write_rows(out, frame[begin:], delimiter)
    content = out.getvalue()
    if encoding != "utf-8":
        content = content.decode().encode(encoding)
    # Without a time in the header the same records give the same bytes.
    return gzip.compress(content, compresslevel=4, mtime=0) if compressed else content


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


def json_lines_bytes(frame: pl.DataFrame, broken: np.ndarray) -> bytes:
    """A file of JSON lines; those at the positions `broken` are cut off in the middle."""
    lines = json_lines(frame)
    if len(broken):
        texts = lines.to_list()
        for position in broken.tolist():
            texts[position] = texts[position][: len(texts[position]) // 2]
        return ("\n".join(texts) + "\n").encode()
    out = io.BytesIO()
    lines.to_frame().write_csv(out, include_header=False, quote_style="never")
    return out.getvalue()


def json_array_bytes(rows: list[dict[str, Any]]) -> bytes:
    """A file with one JSON array, an object per line."""
    body = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{body}\n]\n".encode()


def decimal_array(cents: np.ndarray) -> Any:
    """Cents as an Arrow decimal128(12, 2) array."""
    import pyarrow as pa

    words = np.empty((len(cents), 2), dtype="<i8")
    words[:, 0] = cents
    words[:, 1] = np.asarray(cents) >> 63  # the sign fills the upper half
    return pa.Array.from_buffers(pa.decimal128(12, 2), len(cents), [None, pa.py_buffer(words)])


def parquet_bytes(table: Any) -> bytes:
    """An Arrow table as a Parquet file."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(table, out, compression="snappy")
    return out.getvalue()


def _write_rows(out: io.BytesIO, frame: pl.DataFrame, delimiter: str) -> None:
    if frame.height:
        frame.write_csv(out, include_header=False, separator=delimiter)


def _json_value(frame: pl.DataFrame, name: str) -> pl.Expr:
    import polars as pl

    if frame.schema[name] == pl.String:
        return pl.concat_str([pl.lit('"'), pl.col(name), pl.lit('"')])
    return pl.col(name).cast(pl.String)
