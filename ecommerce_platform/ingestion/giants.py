"""Files of JSON with records larger than DuckDB's reader is given room for: cut into pieces that it reads.

DuckDB's reader holds several buffers of twice the largest record for each thread, and takes a value out of a record in
buffers of up to four times its size. So such a record gets a file of its own, its large values a file each, which are read as
one text, and what stands between two of them stays a file of the same layout. Only brackets and quotes are looked at: what is
no JSON, DuckDB finds in the pieces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ecommerce_platform.ingestion.salvage import MAX_LINE

if TYPE_CHECKING:
    import numpy as np

#: Bytes of the largest record that is loaded. What is made of an array of it takes about eight times as much memory.
MAX_RECORD = 256 << 20
#: Bytes of a value that is taken out of a record which is too large.
_LARGE = 1 << 20
_CHUNK = 4 << 20
_BLANKS = b" \t\r\n"
_QUOTE, _BACKSLASH = b'"'[0], b"\\"[0]

Span = tuple[int, int]


@dataclass(frozen=True)
class Piece:
    """A part of a file: records in the file's layout, or a `giant`, one record and nothing else.

    `values`: of a giant, the files of its objects and arrays that were taken out, each with the text that stands in its place.
    """

    path: Path
    giant: bool
    values: tuple[tuple[str, Path], ...] = ()


def cut(path: Path, layout: str, stem: Path, limit: int = MAX_LINE, largest: int = MAX_RECORD) -> list[Piece]:
    """A file in pieces, in its order; none where it has no record that is too large, or where these cannot be told.

    Args:
        path: the file, UTF-8 without a mark.
        layout: of its shape.
        stem: where pieces are written; their names begin with it.
        limit: bytes that a record may have within a piece.
        largest: bytes that a record may have at all.

    Raises:
        OSError: a file cannot be read or the disk is full.
    """
    with path.open("rb") as source:
        size = path.stat().st_size
        spans = _long_lines(source, limit) if layout == "lines" else _long_records(source, layout == "array", limit)
        if not spans or max(stop - start for start, stop in spans) > largest:
            return []
        pieces: list[Piece] = []
        position = 0
        for start, stop in [*spans, (size, size)]:
            between = _between(source, position, start, layout, first=position == 0, last=start == size)
            if between is None:
                return []
            for (begin, end), giant in ((between, False), ((start, stop), True)):
                if end > begin:
                    part = stem.with_name(f"{stem.name}.{len(pieces)}")
                    _copy(source, begin, end, part, b"[]" if layout == "array" and not giant else b"")
                    pieces.append(_hollowed(part) if giant else Piece(part, False))
            position = stop
    return [] if any(p.giant and p.path.stat().st_size > limit for p in pieces) else pieces


def _hollowed(path: Path) -> Piece:
    """A record without its large objects and arrays."""
    husk, position = path.with_name(f"{path.name}.husk"), 0
    values: list[tuple[str, Path]] = []
    with path.open("rb") as source, husk.open("wb") as out:
        for start, stop in [*_long_records(source, True, _LARGE), (path.stat().st_size,) * 2]:
            source.seek(position)
            out.write(source.read(start - position))
            if stop > start:
                value = path.with_name(f"{path.name}.{len(values)}")
                # By what it says, so that the record's hash depends on it.
                token = f"giant-{_copy(source, start, stop, value)}"
                out.write(b'"' + token.encode() + b'"')
                values.append((token, value))
            position = stop
    path.unlink()
    return Piece(husk, True, tuple(values))


def _long_lines(source: BinaryIO, limit: int) -> list[Span]:
    import numpy as np

    spans: list[Span] = []
    begin = offset = 0
    for chunk in _chunks(source):
        ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == b"\n"[0]) + offset
        starts = np.concatenate(([begin], ends[:-1] + 1)) if len(ends) else ends
        spans += [(int(starts[n]), int(ends[n])) for n in np.flatnonzero(ends - starts > limit)]
        begin = int(ends[-1]) + 1 if len(ends) else begin
        offset += len(chunk)
    return [*spans, (begin, offset)] if offset - begin > limit else spans


def _long_records(source: BinaryIO, array: bool, limit: int) -> list[Span]:
    """Objects and arrays in an array, or those that stand in the file itself."""
    import numpy as np

    spans: list[Span] = []
    base, depth, quoted, offset = int(array), 0, False, 0
    begin: int | None = None
    for chunk in _chunks(source):
        places, change, quoted = _brackets(np.frombuffer(chunk, np.uint8), quoted)
        depths = np.cumsum(change) + depth
        if len(depths):
            if int(depths.min()) < 0:
                return []
            depth = int(depths[-1])
        starts = places[(change == 1) & (depths == base + 1)] + offset
        ends = places[(change == -1) & (depths == base)] + 1 + offset
        if begin is not None:
            starts = np.concatenate(([begin], starts))
        begin = int(starts[-1]) if len(starts) > len(ends) else None
        spans += [(int(starts[n]), int(ends[n])) for n in np.flatnonzero(ends - starts[: len(ends)] > limit)]
        offset += len(chunk)
    return [] if depth or quoted else spans


def _brackets(data: np.ndarray[Any, Any], quoted: bool) -> tuple[Any, Any, bool]:
    """Where brackets stand outside of texts, +1 or -1 for each, and whether a text goes on at the end."""
    import numpy as np

    kinds = np.zeros(256, np.int8)
    kinds[[_QUOTE, *b"{[", *b"}]"]] = (2, 1, 1, -1, -1)
    found = kinds[data]
    places = np.flatnonzero(found)
    kind = found[places]
    quotes = kind == 2
    quotes[quotes] = ~_escaped(data, places[quotes])
    inside = (np.cumsum(quotes) + quoted) % 2 == 1
    real = (kind != 2) & ~inside
    return places[real], kind[real].astype(np.int64), bool(inside[-1]) if len(inside) else quoted


def _escaped(data: np.ndarray[Any, Any], quotes: np.ndarray[Any, Any]) -> Any:
    """Which quotes an odd number of backslashes stands before."""
    import numpy as np

    odd = np.zeros(len(quotes), bool)
    running = np.arange(len(quotes))
    back = 1
    while len(running):
        before = quotes[running] - back
        running = running[(before >= 0) & (data[before] == _BACKSLASH)]
        odd[running] = ~odd[running]
        back += 1
    return odd


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """The file from its beginning; none ends in a backslash, which belongs to what follows."""
    source.seek(0)
    rest = b""
    while block := source.read(_CHUNK):
        block = rest + block
        whole = block.rstrip(b"\\")
        rest = block[len(whole) :]
        yield whole
    if rest:
        yield rest


def _between(source: BinaryIO, start: int, stop: int, layout: str, *, first: bool, last: bool) -> Span | None:
    """What stands between two giants, without the array's brackets and the commas beside them; None if these are others."""
    start, stop = _bare(source, start, stop)
    if layout != "array":
        return start, stop
    # What stands here in an array: its bracket at either end of the file, a comma beside a giant.
    begin, end = b"[" if first else b",", b"]" if last else b","
    if stop - start == 1:
        return (start, start) if _at(source, start) == (begin if first else end) else None
    if start == stop or _at(source, start) != begin or _at(source, stop - 1) != end:
        return None
    inner = _bare(source, start + 1, stop - 1)
    # A list of nothing has no comma beside a giant, and one of something ends in no comma.
    if inner[0] == inner[1]:
        return None
    return None if _at(source, inner[0]) == b"," or _at(source, inner[1] - 1) == b"," else inner


def _at(source: BinaryIO, place: int) -> bytes:
    source.seek(place)
    return source.read(1)


def _bare(source: BinaryIO, start: int, stop: int) -> Span:
    """A span without blanks at its ends."""
    while start < stop:
        source.seek(start)
        block = source.read(min(4096, stop - start))
        bare = block.lstrip(_BLANKS)
        start += len(block) - len(bare)
        if bare:
            break
    while stop > start:
        begin = max(start, stop - 4096)
        source.seek(begin)
        block = source.read(stop - begin)
        bare = block.rstrip(_BLANKS)
        stop = begin + len(bare)
        if bare:
            break
    return start, stop


def _copy(source: BinaryIO, start: int, stop: int, target: Path, frame: bytes = b"") -> str:
    """Writes a span into a file, between the two bytes of `frame`; its SHA-256."""
    digest = hashlib.sha256()
    source.seek(start)
    with target.open("wb") as out:
        out.write(frame[:1])
        while start < stop:
            block = source.read(min(_CHUNK, stop - start))
            out.write(block)
            digest.update(block)
            start += len(block)
        out.write(frame[1:])
    return digest.hexdigest()
