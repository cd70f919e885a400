"""Making a delivered file plain: UTF-8 text that DuckDB reads in parallel, with its lines counted.

A file that is UTF-8 already stays where it is and is only counted. Gzip and other encodings are written out to
a scratch file in chunks; that is also faster than DuckDB's own gzip reader, which uses one thread per file.

The count is what ingestion proves itself with: DuckDB 2.0 leaves out a line that is longer than its buffer
without an error or a reject, so a file only counts as read when its rows add up to its lines.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ecommerce_platform.ingestion.gunzip import gunzip
from ecommerce_platform.ingestion.sniff import Shape

_CHUNK = 1 << 20
_TAIL = 1 << 12
#: Bytes kept of an unfinished last line: enough for 10,000 characters.
_CUT_BYTES = 40_000


@dataclass(frozen=True)
class Plain:
    """A file as DuckDB gets it.

    `newlines` counts the bytes that end lines, `others` those of the other kind (carriage returns, where lines
    end in a line feed or both); `open_end` says that the last line has no end. `trailing_blanks` are empty
    lines at the end. For a file that ends too early `damage` says how; of line
    formats `cut` is then the last, unfinished line, which `path` no longer holds.
    """

    path: Path
    size: int
    newlines: int = 0
    others: int = 0
    open_end: bool = False
    trailing_blanks: int = 0
    damage: str | None = None
    cut: bytes = b""

    @property
    def lines(self) -> int:
        """Physical lines, blank ones included."""
        return self.newlines + self.open_end


def last_character(path: Path) -> bytes:
    """The last byte of a file that is no blank; none when its last 4 KiB are blank."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return file.read().rstrip()[-1:]


def make_plain(path: Path, shape: Shape, scratch: Path) -> Plain:
    """The file at `path` as plain text (or Parquet), counted.

    Args:
        path: the delivered file; it is only read.
        shape: what `sniff` found.
        scratch: where to write, if it has to be written anew.

    Raises:
        OSError: a file cannot be read or the disk is full.
    """
    if shape.format == "parquet" and not shape.gzip:
        return Plain(path, path.stat().st_size)
    # DuckDB skips a UTF-8 mark in CSV but takes it for an error in JSON.
    marked = shape.bom > 0 and shape.format != "csv"
    if shape.encoding == "utf-8" and not shape.gzip and not marked:
        return _counted(path, _chunks(path), shape)
    damage: list[str] = []
    chunks: Iterator[bytes | memoryview] = gunzip(_chunks(path), damage) if shape.gzip else _chunks(path)
    if shape.format != "parquet":
        if shape.bom:
            chunks = _without_mark(chunks, shape.bom)
        if shape.encoding != "utf-8":
            chunks = _transcode(chunks, shape.encoding)
    with scratch.open("wb") as target:
        plain = _counted(scratch, _written(chunks, target), shape)
    if not damage:
        return plain
    return _without_last_line(replace(plain, damage=damage[0]), shape)


def _counted(path: Path, chunks: Iterator[bytes | memoryview], shape: Shape) -> Plain:
    import numpy as np

    byte, other = (13, 10) if shape.newline == "\r" else (10, 13)
    size, newlines, others, last = 0, 0, 0, byte
    for chunk in chunks:
        if len(chunk):
            size += len(chunk)
            data = np.frombuffer(chunk, np.uint8)
            newlines += int(np.count_nonzero(data == byte))
            others += int(np.count_nonzero(data == other))
            last = chunk[-1]
    blanks = 0
    if newlines and last == byte:
        with path.open("rb") as file:
            file.seek(max(0, size - _TAIL))
            tail = file.read()
        blanks = tail[len(tail.rstrip(b"\r\n")) :].count(byte) - 1
    return Plain(path, size, newlines, others, last != byte, max(0, blanks))


def _chunks(path: Path) -> Iterator[memoryview]:
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            yield view[:size]


def _written(chunks: Iterator[bytes | memoryview], target: BinaryIO) -> Iterator[bytes | memoryview]:
    for chunk in chunks:
        target.write(chunk)
        yield chunk


def _without_mark(chunks: Iterator[bytes | memoryview], size: int) -> Iterator[bytes | memoryview]:
    for chunk in chunks:
        skipped = min(size, len(chunk))
        size -= skipped
        yield chunk[skipped:]


def _transcode(chunks: Iterator[bytes | memoryview], encoding: str) -> Iterator[bytes]:
    """UTF-8 of text in another encoding; what cannot be decoded becomes a byte that no UTF-8 holds.

    So one rule finds bad lines in every encoding: the line is not UTF-8.
    """
    codecs.register_error("ecommerce_platform.mark", _mark)
    decoder = codecs.getincrementaldecoder(encoding)("ecommerce_platform.mark")
    for chunk in chunks:
        yield decoder.decode(bytes(chunk)).encode("utf-8", "surrogateescape")
    yield decoder.decode(b"", True).encode("utf-8", "surrogateescape")


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


def _without_last_line(plain: Plain, shape: Shape) -> Plain:
    """Takes the unfinished last line off a file that ends too early.

    An array or a Parquet file has no lines to cut at: `salvage` finds where it breaks off.
    """
    if shape.format not in ("csv", "jsonl") or not plain.open_end:
        return plain
    end, position = b"", plain.size
    newline = b"\r" if shape.newline == "\r" else b"\n"
    kept = 0
    with plain.path.open("r+b") as file:
        while position > 0:
            start = max(0, position - _CHUNK)
            file.seek(start)
            block = file.read(position - start)
            found = block.rfind(newline)
            end = (block[found + 1 :] + end)[:_CUT_BYTES]
            if found >= 0:
                kept = start + found + 1
                break
            position = start
        file.truncate(kept)
    return replace(plain, size=kept, open_end=False, cut=end)
