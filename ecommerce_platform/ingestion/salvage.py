"""Reading a faulty CSV file line by line, so that only what is wrong is lost.

DuckDB's reader loses good lines around a stray quote. Here a line that stands on its own is good whatever
surrounds it. A quote that stays open may go on over the following lines, but only within bounds and only if it
closes properly; otherwise its first line alone is rejected and reading resumes at the next.

Memory is bounded: blocks of a few MiB, of which only lines with something odd about them (a quote, a wrong
number of delimiters, bytes that are no UTF-8) are looked at one by one. Good lines are written out for DuckDB to
read; what they mean is not looked at here. JSON is salvaged in `salvage_json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ecommerce_platform.ingestion.rejects import RAW_BYTES, Reject, RejectFile
from ecommerce_platform.ingestion.sniff import Shape

if TYPE_CHECKING:
    import numpy as np

#: A longer line is not data any more.
MAX_LINE = 16_000_000
#: How far an open quote may reach in a file that is faulty anyway.
MAX_RECORD_BYTES = 1_000_000
MAX_RECORD_LINES = 1_000

_BLOCK = 4 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Salvaged:
    """Good records, written to a file that DuckDB reads: how many, and the bytes of the longest."""

    path: Path
    rows: int
    longest: int


@dataclass(frozen=True)
class CsvRules:
    """What DuckDB's strict reader takes as a record of `columns` fields.

    A field is quoted when a quote is its first character, or its second after a space; inside, a quote is
    doubled. Any other field may hold quotes: they mean nothing there. Further values at the end of a line do no
    harm while they are empty.
    """

    delimiter: bytes
    columns: int
    newline: bytes = b"\n"

    def _field(self, never: bytes = b"") -> bytes:
        """One field; `never` are characters that it may not hold, quoted or not."""
        d, end = re.escape(self.delimiter), self.newline
        plain = (
            rb"[^%b%b%b]*+" % (d, end, never) if len(self.delimiter) == 1 else rb"(?:(?!%b)[^%b%b])*+" % (d, end, never)
        )
        # Atomic and possessive: a field has one reading, so that a mismatch fails without backtracking.
        return rb'(?> ?"(?:[^"%b]++|"")*+" *|(?! ?")%b)' % (never, plain)

    def _record(self, field: bytes) -> bytes:
        d = re.escape(self.delimiter)
        return rb'(?:%b%b){%d}%b(?:%b(?: ?"" *)?)*+' % (field, d, self.columns - 1, field, d)

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """A whole record up to the end of its last line; quoted fields may span lines."""
        end = rb"(?=\r?(?:\n|\Z))" if self.newline == b"\n" else rb"(?=\r|\Z)"
        return re.compile(self._record(self._field()) + end)

    @cached_property
    def plain_lines(self) -> re.Pattern[bytes]:
        """Any number of lines that each are a record, or blank, and hold no carriage return but at the end."""
        end = rb"\r?\n" if self.newline == b"\n" else rb"\r"
        line = self._record(self._field(rb"\r\n"))
        blank = b"" if self.columns == 1 else b"|"
        return re.compile(rb"(?>(?>%b%b)%b)*+" % (line, blank, end))

    @cached_property
    def fields(self) -> re.Pattern[bytes]:
        """Any number of well-formed fields."""
        field = self._field()
        return re.compile(rb"%b(?:%b%b)*+" % (field, re.escape(self.delimiter), field))

    @cached_property
    def field(self) -> re.Pattern[bytes]:
        """One field."""
        return re.compile(self._field())

    def judge(self, line: bytes, number: int) -> Reject:
        """Why a line (without its end) is no record on its own."""
        raw = line[:RAW_BYTES]
        if (bad := first_bad_byte(line)) is not None:
            return Reject(
                number,
                "bad_encoding",
                f"byte {bad + 1} of the line is not in the declared encoding; set `encoding` for this table in "
                "source.yml (latin-1 and cp1252 are common) or correct the line",
                raw,
            )
        if b'"' in line and self.fields.fullmatch(line) is None:
            return Reject(
                number,
                "bad_quote",
                "a quote is opened and not closed properly; quotes inside a quoted value are doubled",
                raw,
            )
        found = sum(1 for _ in self.split(line))
        hint = "a line break" if found < self.columns else "the delimiter"
        return Reject(
            number,
            "column_count",
            f"{found} value{'s' * (found != 1)} where the header has {self.columns} "
            f"column{'s' * (self.columns != 1)}; a value that holds {hint} has to be quoted",
            raw,
        )

    def split(self, record: bytes) -> Iterator[bytes]:
        """The fields of a well-formed record, quotes and all."""
        position = 0
        while match := self.field.match(record, position):
            yield match[0]
            if match.end() >= len(record):
                return
            position = match.end() + len(self.delimiter)

    def requoted(self, record: bytes) -> bytes:
        """The same record with every field quoted, for values that DuckDB reads only in quotes."""
        fields = []
        for field in islice(self.split(record), self.columns):
            if field.startswith((b'"', b' "')):
                fields.append(field.strip(b" "))
            else:
                fields.append(b'"' + field.replace(b'"', b'""') + b'"' if field else b"")
        return self.delimiter.join(fields)


def rules_of(shape: Shape) -> CsvRules:
    """The rules for the records of a CSV file."""
    newline = b"\r" if shape.newline == "\r" else b"\n"
    return CsvRules(shape.delimiter.encode(), len(shape.columns), newline)


def first_bad_byte(text: bytes) -> int | None:
    """Position (from 0) of the first byte that is not UTF-8."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return None


def explain_csv(path: Path, shape: Shape, offsets: Sequence[int]) -> list[Reject] | None:
    """What is wrong with the lines that DuckDB rejected, if that is beyond doubt.

    It is when each is one whole line without quotes: then DuckDB cannot have mistaken where it begins or ends.

    Args:
        path: the file, UTF-8.
        shape: what `sniff` found.
        offsets: where in the file the rejected lines begin, in bytes.

    Returns:
        A reject per line, in the order of the file; None when the file has to be salvaged.
    """
    import numpy as np

    rules = rules_of(shape)
    wanted = np.unique(np.asarray(offsets, dtype=np.int64))
    rejects: list[Reject] = []
    with path.open("rb") as file:
        start = lines = done = 0
        before = rules.newline
        while done < len(wanted) and (block := file.read(_BLOCK)):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == rules.newline[0])
            upto = int(np.searchsorted(wanted, start + len(block)))
            for offset in (wanted[done:upto] - start).tolist():
                if (block[offset - 1 : offset] or before) != rules.newline:
                    return None
                number = int(np.searchsorted(ends, offset))
                line: bytes | None
                if number < len(ends):
                    line = block[offset : int(ends[number])].removesuffix(b"\r")
                else:
                    line = _line_at(file, start + offset, rules.newline)
                if not line or b'"' in line:
                    return None
                if first_bad_byte(line) is None and line.count(rules.delimiter) == rules.columns - 1:
                    return None
                rejects.append(rules.judge(line, lines + number + 1))
            done, lines, start, before = upto, lines + len(ends), start + len(block), block[-1:]
            file.seek(start)
    return rejects if done == len(wanted) else None


def _line_at(file: BinaryIO, offset: int, newline: bytes) -> bytes | None:
    """The line that begins at `offset`, without its end; None when it is too long to be beyond doubt."""
    file.seek(offset)
    line = b""
    while piece := file.read(1 << 16):
        head, found, _ = piece.partition(newline)
        line += head
        if found or len(line) > MAX_RECORD_BYTES:
            break
    return line.removesuffix(b"\r") if len(line) <= MAX_RECORD_BYTES else None


def salvage_csv(path: Path, shape: Shape, target: Path, rejects: RejectFile) -> Salvaged:
    """Splits a CSV file into good records and rejects.

    Args:
        path: the file, UTF-8.
        shape: what `sniff` found.
        target: gets the good records as delivered, without header; lines end in a line feed.
        rejects: gets the others, in the order of the file.

    Raises:
        OSError: the file cannot be read or the disk is full.
    """
    with path.open("rb", buffering=0) as source, target.open("wb") as out:
        work = _CsvSalvage(source, shape, out, rejects)
        work.run()
    return Salvaged(target, work.rows, work.longest)


class _CsvSalvage:
    """Reading one file: where we are, and the block in hand with what is known of its lines."""

    def __init__(self, source: BinaryIO, shape: Shape, out: BinaryIO, rejects: RejectFile) -> None:
        self.source, self.out, self.rejects = source, out, rejects
        self.rules = rules_of(shape)
        self.skip = shape.skip + shape.header_lines
        self.line = 1
        self.rows = 0
        self.longest = 0

    def run(self) -> None:
        rest, more, newline = self.source.read(len(_BOM)), True, self.rules.newline
        if rest == _BOM:
            rest = b""
        while more or rest:
            read = self.source.read(_BLOCK) if more else b""
            more = bool(read)
            block = rest + read
            while self.skip and (end := block.find(newline)) >= 0:
                block = block[end + 1 :]
                self.line, self.skip = self.line + 1, self.skip - 1
            if self.skip:
                # `sniff` has seen the header's end, so this is not much.
                rest = block if more else b""
                continue
            rest = block[self._block(block, last=not more) :]
            if more and len(rest) > MAX_LINE and newline not in rest:
                rest, more = self._too_long(rest)

    def _too_long(self, start: bytes) -> tuple[bytes, bool]:
        """Skips the rest of an endless line; what follows it, and whether there may be more."""
        size, rest, more = len(start), b"", True
        while more and not rest:
            read = self.source.read(_BLOCK)
            more = bool(read)
            head, found, rest = read.partition(self.rules.newline)
            size += len(head)
            if found:
                break
        self._reject_length(start, size)
        self.line += 1
        return rest, more

    def _reject_length(self, line: bytes, size: int, after: int = 0) -> None:
        self.rejects.add(
            Reject(
                self.line + after,
                "line_too_long",
                f"the line has {size:,} bytes, more than the {MAX_LINE:,} a line may have",
                line[:RAW_BYTES],
            )
        )

    def _block(self, block: bytes, last: bool) -> int:
        """Deals with the whole lines of `block`; returns how many bytes are done."""
        done = self._look_at(block, last)
        if not done:
            return 0
        (odd,) = (~(self.good | self.blank)).nonzero()
        next_line = 0
        while (k := int(odd.searchsorted(next_line))) < len(odd):
            i = int(odd[k])
            self._run(next_line, i)
            next_line = self._quoted_run(i)
            if next_line > i:
                continue
            used = self._odd(i)
            if not used:
                self.line += i
                return int(self.starts[i])
            next_line = i + used
        self._run(next_line, len(self.ends))
        self.line += len(self.ends)
        return done

    def _look_at(self, block: bytes, last: bool) -> int:
        """Takes a block in hand: its lines, and which of them are good at first sight. How many bytes whole lines take."""
        import numpy as np

        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == self.rules.newline[0])
        done = int(ends[-1]) + 1 if len(ends) else 0
        if last and done < len(block):
            ends, done = np.append(ends, len(block)), len(block)
        if not len(ends):
            return 0
        starts = np.concatenate(([0], ends[:-1] + 1))
        stops, odd_returns = self._returns(data, starts, ends)
        sizes = stops - starts
        delimiters = _positions(block, data, self.rules.delimiter)
        simple = (_per_line(delimiters, ends) == self.rules.columns - 1) & ~odd_returns & (sizes <= MAX_LINE)
        if b'"' in block:
            simple &= _per_line(np.flatnonzero(data == 34), ends) == 0
        undecodable = np.zeros(0, np.int64)
        if first_bad_byte(block[:done]) is not None:
            high = np.flatnonzero(_per_line(np.flatnonzero(data >= 128), ends))
            bad = [k for k in high.tolist() if first_bad_byte(block[starts[k] : stops[k]]) is not None]
            undecodable = np.asarray(bad, np.int64)
            simple[undecodable] = False
        # DuckDB passes over blank lines, unless a table of one column makes them records.
        blank = (sizes == 0) & (self.rules.columns > 1)
        simple &= (sizes > 0) | blank
        simple |= blank

        self.block, self.last, self.starts, self.ends, self.stops = block, last, starts, ends, stops
        self.good, self.blank, self.undecodable = simple & ~blank, blank, undecodable
        return done

    def _returns(self, data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where lines stop, without the return before a line feed; and which have an end of another kind of line in them."""
        import numpy as np

        other = b"\r" if self.rules.newline == b"\n" else b"\n"
        per_line = _per_line(np.flatnonzero(data == other[0]), ends)
        returned = (ends > starts) & (data[ends - 1] == 13) & (other == b"\r")
        return ends - returned, per_line > returned

    def _run(self, start: int, stop: int) -> None:
        """Writes lines that need no second look."""
        if start >= stop:
            return
        text = self.block[self.starts[start] : self.ends[stop - 1]]
        if self.rules.newline == b"\r":
            text = text.replace(b"\r", b"\n")
        elif b"\r" in text:
            text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
        self.out.write(text + b"\n")
        self.rows += int(self.good[start:stop].sum())
        self.longest = max(self.longest, int((self.stops - self.starts)[start:stop].max()))

    def _quoted_run(self, i: int) -> int:
        """Deals with lines from `i` on that are records, quotes and all; returns the first that is none."""
        k = int(self.undecodable.searchsorted(i))
        limit = int(self.starts[self.undecodable[k]]) if k < len(self.undecodable) else len(self.block)
        start = int(self.starts[i])
        match = self.rules.plain_lines.match(self.block, start, limit)
        if match is None or match.end() == start:
            return i
        stop = int(self.ends.searchsorted(match.end()))
        if int((self.stops - self.starts)[i:stop].max()) > MAX_LINE:
            return i
        self.good[i:stop] = ~self.blank[i:stop]
        self._run(i, stop)
        return stop

    def _odd(self, i: int) -> int:
        """Deals with the record that begins in line `i`; returns its lines, 0 when the block ends too early."""
        start, stop = int(self.starts[i]), int(self.stops[i])
        line = self.block[start:stop]
        if len(line) > MAX_LINE:
            self._reject_length(line, len(line), after=i)
            return 1
        if not line:
            self._write(b'""')
            return 1
        match = self.rules.record.match(self.block, start, stop)
        if match is None and b'"' in line:
            limit = min(i + MAX_RECORD_LINES, len(self.ends)) - 1
            reach = max(i, int(self.ends.searchsorted(start + MAX_RECORD_BYTES, "right")) - 1)
            window = min(limit, reach)
            match = self.rules.record.match(self.block, start, int(self.ends[window]))
            short = len(self.block) - start <= MAX_RECORD_BYTES and len(self.ends) - i < MAX_RECORD_LINES
            if match is None and short and not self.last:
                return 0
        if match is None:
            self.rejects.add(self.rules.judge(line, self.line + i))
            return 1
        record = match[0].removesuffix(b"\r") if self.rules.newline == b"\n" else match[0]
        used = record.count(self.rules.newline) + 1
        if used > 1 and self._swallows_records(i + 1, i + used - 1):
            self.rejects.add(self.rules.judge(line, self.line + i))
            return 1
        if first_bad_byte(record) is not None:
            self.rejects.add(self.rules.judge(record, self.line + i))
            return used
        other = b"\r" if self.rules.newline == b"\n" else b"\n"
        self._write(self.rules.requoted(record) if other in record else record)
        return used

    def _swallows_records(self, start: int, stop: int) -> bool:
        """Whether the lines inside a quoted value look like records that a stray quote ran over.

        A text can hold a line with as many delimiters as a record by chance: the fewer it takes, the more such
        lines are needed before it is held for an accident.
        """
        columns = self.rules.columns
        if columns == 1:
            return False
        suspicious = int(self.good[start:stop].sum())
        enough = 1 if columns > 5 else 2 if columns > 2 else 3
        return suspicious >= enough and 2 * suspicious >= stop - start

    def _write(self, record: bytes) -> None:
        self.out.write(record + b"\n")
        self.rows += 1
        self.longest = max(self.longest, len(record))


def _positions(block: bytes, data: np.ndarray, needle: bytes) -> np.ndarray:
    """Where a delimiter stands in the block, in bytes."""
    import numpy as np

    if len(needle) == 1:
        return np.flatnonzero(data == needle[0])
    return np.fromiter((m.start() for m in re.finditer(re.escape(needle), block)), np.int64)


def _per_line(positions: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many of `positions` fall into each line, lines being given by their ends."""
    import numpy as np

    return np.diff(np.searchsorted(positions, ends), prepend=0)
