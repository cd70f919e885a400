"""Files of an export cut into their records, for `replay`: each keeps its bytes, and any of them make a file again.

What a record is, `sniff` and `salvage` know; JSON is cut in `split_json`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.landing import Given
from ecommerce_platform.ingestion.salvage import MAX_RECORD_BYTES, CsvRules, rules_of
from ecommerce_platform.ingestion.sniff import Shape

#: The values of a record, by what `Split.position` gives for a column.
Fields = Any


@dataclass
class Split:
    """One file, cut into records without touching them; this class a CSV file.

    Attributes:
        data: all its bytes, unzipped.
        head: where its records begin; what stands before is part of every drop.
        spans: where each record begins and ends, its line end included.
        faulty: numbers of those that are no records but single lines.
        rows: numbers of the records that a period's drop holds, in the order of the file.
        last: the period with each record's last state.
        life: for records that change, the period of each event; None while it is not known to have happened.
        states: states written so far.
        finals: records written so far in their last state, and their bytes.
    """

    given: Given
    shape: Shape
    data: bytes
    head: int
    spans: list[tuple[int, int]]
    faulty: set[int]
    rules: CsvRules | None = None
    rows: dict[date, list[int]] = field(default_factory=lambda: defaultdict(list))
    last: list[date] = field(default_factory=list)
    life: dict[int, tuple[date | None, ...]] = field(default_factory=dict)
    states: int = 0
    finals: tuple[int, int] = (0, 0)

    def line(self, number: int) -> int:
        """The line of the file, from 1, in which a record begins."""
        return self.data.count(self.shape.newline[-1].encode(), 0, self.spans[number][0]) + 1

    def text(self, value: Any) -> str:
        """A field as text: without quotes, and without blanks around it, as mappings see it."""
        if value.startswith((b'"', b' "')):
            value = value.strip(b" ")[1:-1].replace(b'""', b'"')
        return value.decode(self.shape.encoding, "surrogateescape").strip()

    def records(self) -> Iterator[tuple[int, Fields]]:
        """The fields of each record with its number, quotes and all; without what is faulty."""
        assert self.rules is not None
        for number, (start, stop) in enumerate(self.spans):
            if number not in self.faulty:
                yield number, _fields(_body(self.data[start:stop]), self.rules)

    def joined(self, records: Sequence[bytes]) -> bytes:
        """A file of some records, with all that stands before the first in this one."""
        newline = self.shape.newline.encode()
        # The last line of an export may lack its end.
        return self.data[: self.head] + b"".join(r if r.endswith(newline[-1:]) else r + newline for r in records)

    def stated(self, record: bytes, values: Mapping[str, str]) -> bytes:
        """A record with other values in some columns."""
        assert self.rules is not None
        body = _body(record)
        fields = _fields(body, self.rules)
        for column, value in values.items():
            fields[self.position(column)] = _quoted(value, self.shape)
        return self.rules.delimiter.join(fields) + record[len(body) :]

    def position(self, column: str) -> Any:
        """Where a column stands.

        Raises:
            InputError: the file has no such column.
        """
        position = self._positions.get(column.lower())
        if position is None:
            raise InputError(
                f"column {column} is missing, by which {self.given.table} is replayed",
                where=f"{self.given.path}:{self.shape.skip + 1}",
                fix=f"the file has: {', '.join(self.shape.columns)}; correct it or `replay` in source.yml",
            )
        return position

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name.lower(): position for position, name in enumerate(self.shape.columns)}


def split_csv(given: Given, shape: Shape, data: bytes) -> tuple[Split, Callable[[int], str]]:
    """The records of a CSV file, and what tells why one of them is none."""
    newline = shape.newline[-1].encode()
    start = 0
    for _ in range(shape.skip + shape.header_lines):
        start = data.find(newline, start) + 1 or len(data)
    rules = replace(rules_of(shape), delimiter=shape.delimiter.encode(shape.encoding))
    spans, faulty = _cut(data, start, rules, newline)
    split = Split(given, shape, data, start, spans, faulty, rules)

    def why(number: int) -> str:
        body = _body(data[slice(*spans[number])]).decode(shape.encoding, "replace").encode()
        return rules.judge(body, split.line(number)).reason

    return split, why


def splittable(encoding: str) -> bool:
    """Whether delimiters and line ends can be found without decoding."""
    if encoding == "utf-8":
        return True
    every = bytes(range(256)).decode(encoding, "replace")
    return len(every) == 256 and every[:128] == bytes(range(128)).decode()


def _cut(data: bytes, position: int, rules: CsvRules, newline: bytes) -> tuple[list[tuple[int, int]], set[int]]:
    """The spans of all records from `position` on, and the numbers of those that are single faulty lines."""
    spans: list[tuple[int, int]] = []
    faulty: set[int] = set()
    size, match = len(data), rules.record.match
    blank = (b"", b"\r") if rules.columns > 1 else ()
    hopeless = False
    while position < size:
        # A quote that is never closed would be followed to the end of the file, from every such line again.
        reach = position + MAX_RECORD_BYTES
        found = match(data, position, reach)
        if (found is None or found.end() == reach) and reach < size and not hopeless:
            found = match(data, position)
            hopeless = found is None
        end = data.find(newline, found.end() if found else position) + 1 or size
        if found is None:
            if data[position:end].removesuffix(newline) in blank:
                position = end
                continue
            faulty.add(len(spans))
        spans.append((position, end))
        position = end
    return spans, faulty


def _body(record: bytes) -> bytes:
    """A record without its line end."""
    return record.removesuffix(b"\n").removesuffix(b"\r")


def _fields(body: bytes, rules: CsvRules) -> list[bytes]:
    return list(rules.split(body)) if b'"' in body else body.split(rules.delimiter)


def _quoted(text: str, shape: Shape) -> bytes:
    if any(c in text for c in (shape.delimiter, '"', "\r", "\n")):
        text = '"' + text.replace('"', '""') + '"'
    return text.encode(shape.encoding)
