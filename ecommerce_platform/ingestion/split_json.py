"""Files of JSON cut into their records, for `replay`: a list, a record per line, records one after the other, or a page: one
object with the records in an array (`{"orders": [ … ]}`).

A column is a key of the records, or a way into their objects (`billing.since`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ecommerce_platform.contracts.source import ReplayTable
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.landing import Given
from ecommerce_platform.ingestion.sniff import Shape
from ecommerce_platform.ingestion.split import Split

_BLANK = " \t\r\n"
_BLANKS = re.compile(rf"[{_BLANK}]*")
# Numbers stay as they are written.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)

Span = tuple[int, int]


@dataclass
class JsonSplit(Split):
    """One JSON file. A byte is a character while it is cut, so that places hold; values are decoded when they are read."""

    #: The keys of all records, each once, in their order.
    keys: dict[str, None] = field(default_factory=dict)
    #: What stands before, between and after records of an array; None where they stand by themselves.
    frame: tuple[bytes, bytes, bytes] | None = None

    def line(self, number: int) -> int:
        """The line of the file, from 1, in which a record begins."""
        return self.data.count(b"\n", 0, self.spans[number][0]) + 1

    def records(self) -> Iterator[tuple[int, Any]]:
        """The values of each record with its number; without what is faulty."""
        for number, (start, stop) in enumerate(self.spans):
            if number not in self.faulty:
                yield number, _Values(_DECODER.decode(self.data[start:stop].decode()))

    def position(self, column: str) -> str:
        """The key as the file has it, or a way that begins with one.

        Raises:
            InputError: no record has it.
        """
        first, dot, rest = column.partition(".")
        if (key := self._key(column)) is not None:
            return key
        if dot and (key := self._key(first)) is not None:
            return f"{key}.{rest}"
        raise InputError(
            f"column {column} is missing, by which {self.given.table} is replayed",
            where=self.given.path,
            fix=f"its records have: {', '.join(self.keys)}; correct it or `replay` in source.yml",
        )

    def _key(self, name: str) -> str | None:
        return name if name in self.keys else next((key for key in self.keys if key.lower() == name.lower()), None)

    def has(self, column: str) -> bool:
        """Whether a column is a key, rather than a way into an object."""
        return self._key(column) is not None

    def text(self, value: Any) -> str:
        """A value as text, without blanks around it; of an object, a list and nothing, none."""
        if isinstance(value, bool):
            return str(value).lower()
        return value.strip() if isinstance(value, str) else ""

    def joined(self, records: Sequence[bytes]) -> bytes:
        """A file of some records in the same layout."""
        if self.frame:
            before, between, after = self.frame
            return before + between.join(records) + after
        return self.data[: self.head] + b"".join(r if r.endswith(b"\n") else r + b"\n" for r in records)

    def stated(self, record: bytes, values: Mapping[str, str]) -> bytes:
        """A record with other values for some keys; what is empty becomes null."""
        new = {self.position(column): value for column, value in values.items()}
        text, parts, done = record.decode("latin-1"), [], 0
        for key, start in _members(text, 0):
            if key in new:
                parts += [text[done:start], json.dumps(new[key]) if new[key] else "null"]
                _, done = _DECODER.raw_decode(text, start)
        return "".join([*parts, text[done:]]).encode("latin-1")


class _Values(dict[str, Any]):
    """The values of a record, also by ways into its objects."""

    def __missing__(self, key: str) -> Any:
        found: Any = dict(self)
        for step in key.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        return found


def split_json(
    given: Given, shape: Shape, data: bytes, dates: ReplayTable, keys: Sequence[str] = ()
) -> tuple[JsonSplit, Callable[[int], str]]:
    """The records, and what tells why one of them is none.

    Args:
        given: the file.
        shape: how it is read.
        data: all its bytes, unzipped.
        dates: how its table is replayed.
        keys: of a page, the keys that lead to the array of its records.

    Raises:
        InputError: a list breaks off or is none; a file of pages is more than one; columns that change through a record's
            life lie within objects.
    """
    split = _cut(given, shape, data, keys)
    whys: dict[int, str] = {}
    for number, (start, stop) in enumerate(split.spans):
        try:
            record = json.loads(data[start:stop].decode())
        except (ValueError, RecursionError) as error:
            whys[number] = "not JSON" if isinstance(error, json.JSONDecodeError) else "cannot be read as JSON in UTF-8"
            continue
        if isinstance(record, dict):
            split.keys.update(dict.fromkeys(record))
        else:
            whys[number] = "a record is an object {…}"
    split.faulty |= set(whys)
    if within := [c for c in (*dates.events, dates.status or "") if "." in c and not split.has(c)]:
        raise InputError(
            f"{', '.join(within)} lies within an object, where the states of a record are not written anew",
            where=given.path,
            fix=f"leave `status` and `events` of {given.table} out of `replay` in source.yml",
        )
    return split, whys.__getitem__


def _cut(given: Given, shape: Shape, data: bytes, keys: Sequence[str]) -> JsonSplit:
    """The file with the places of its records."""
    if keys:
        before, spans, after = _page(given, shape, data, keys)
        return JsonSplit(given, shape, data, before, spans, set(), frame=(data[:before], b",\n", data[after:]))
    if shape.layout == "lines":
        return JsonSplit(given, shape, data, shape.bom, _lines(data, shape.bom), set())
    frame = (b"[", b",\n", b"]\n") if shape.layout == "array" else None
    return JsonSplit(given, shape, data, 0, _values(given, shape, data), set(), frame=frame)


def _page(given: Given, shape: Shape, data: bytes, keys: Sequence[str]) -> tuple[int, list[Span], int]:
    """Where the records of a page begin, each of them, and where their array ends; a page without the array has none.

    Raises:
        InputError: the file is no page, or several.
    """
    text = data.decode("latin-1")
    at = end = len(data)
    spans: list[Span] = []
    try:
        if (found := _array(text, _skip(text, shape.bom), keys)) is not None:
            at = found + 1
            spans, end = _elements(text, at)
        # What stands around the records is one whole object.
        whole = json.loads(data[shape.bom : at] + data[end:])
    except (ValueError, RecursionError):
        whole = None
    if not isinstance(whole, dict):
        raise InputError(
            f"is not one page, an object with the records of {given.table} in {'.'.join(keys)}",
            where=given.path,
            fix="deliver each page as a file of its own, get it again where it breaks off, or take the table out of "
            "`replay` in source.yml",
        )
    return at, spans, end


def _lines(data: bytes, start: int) -> list[Span]:
    """Lines that are not blank, each with its end."""
    spans = []
    while start < len(data):
        stop = data.find(b"\n", start) + 1 or len(data)
        if data[start:stop].strip():
            spans.append((start, stop))
        start = stop
    return spans


def _values(given: Given, shape: Shape, data: bytes) -> list[Span]:
    """The elements of a list, or the values that follow one another.

    Raises:
        InputError: these cannot be told apart.
    """
    text = data.decode("latin-1")
    spans: list[Span] = []
    at = _skip(text, shape.bom)
    try:
        if shape.layout == "array":
            spans, at = _elements(text, at + 1)
            if text[at + 1 :].strip(_BLANK):
                raise _NoList(at, "something stands behind the list")
        while shape.layout != "array" and at < len(text):
            _, stop = _DECODER.raw_decode(text, at)
            spans.append((at, stop))
            at = _skip(text, stop)
    except (ValueError, RecursionError) as error:
        at = error.at if isinstance(error, _NoList) else at
        raise InputError(
            "its records cannot be told apart from here on",
            where=f"{given.path}:{text.count(chr(10), 0, at) + 1}",
            fix="correct the file, or have it delivered again",
        ) from None
    return spans


def _array(text: str, at: int, keys: Sequence[str]) -> int | None:
    """Where the array begins that keys lead to from the value at a place; None where there is none."""
    for key in keys:
        members = _members(text, at) if text[at : at + 1] == "{" else iter(())
        found = next((start for name, start in members if name == key), None)
        if found is None:
            return None
        at = found
    return at if text[at : at + 1] == "[" else None


class _NoList(ValueError):
    """A list cannot be read from a place on."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at


def _elements(text: str, at: int) -> tuple[list[Span], int]:
    """The elements of a list from behind its bracket on, and the place of the one that ends it.

    Raises:
        _NoList: it breaks off, or is none.
    """
    spans: list[Span] = []
    try:
        while text[(at := _skip(text, at)) : at + 1] != "]":
            _, stop = _DECODER.raw_decode(text, at)
            spans.append((at, stop))
            at = _skip(text, stop)
            if text[at : at + 1] != "]":
                at = text.index(",", at, at + 1) + 1
                after = _skip(text, at)
                if text[after : after + 1] == "]":
                    raise ValueError("a comma without a record after it")
    except (ValueError, RecursionError) as error:
        raise _NoList(at, str(error)) from None
    return spans, at


def _members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """(key, start) of every value of the object at a place; a value is passed once the next is asked for.

    Raises:
        ValueError: it breaks off.
    """
    at = _skip(text, _skip(text, at) + 1)
    while text[at : at + 1] == '"':
        key, at = json.decoder.scanstring(text, at + 1)  # type: ignore[attr-defined]
        at = _skip(text, _skip(text, at) + 1)
        yield _utf8(key), at
        _, stop = _DECODER.raw_decode(text, at)
        at = _skip(text, stop)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)


def _utf8(key: str) -> str:
    """A key that was read byte by byte; escapes in it may be characters already."""
    try:
        return key.encode("latin-1").decode()
    except UnicodeError:
        return key


def _skip(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    assert match is not None
    return match.end()
