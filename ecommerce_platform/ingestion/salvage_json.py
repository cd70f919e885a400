"""Reading a faulty JSON file record by record, so that only what is wrong is lost.

Lines of JSON stand on their own. In an array, or in objects that follow one another, reading resumes after a
fault at the next object that begins like the records before it. Good records are written out as JSON lines;
whether a text is JSON is judged by DuckDB, so that it reads what was judged good. CSV is salvaged in `salvage`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ecommerce_platform.ingestion.rejects import RAW_BYTES, Reject, RejectFile
from ecommerce_platform.ingestion.salvage import MAX_LINE, Salvaged, first_bad_byte
from ecommerce_platform.ingestion.sniff import Shape

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BLOCK = 1 << 20
_BATCH_RECORDS = 5_000
_BATCH_BYTES = 4 << 20
_BLANKS = re.compile(r"[ \t\r\n]*")
_COMMAS = re.compile(r"[ \t\r\n,]*")
_NEXT_OBJECT = re.compile(r"\}[ \t\r\n]*,?[ \t\r\n]*(?=\{)|\[[ \t\r\n]*(?=\{)|,[ \t\r\n]*(?=\{)")
# Numbers stay text: they are not looked at, and some are longer than Python converts.
_DECODER = JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)

_KINDS = {"ARRAY": "a list", "VARCHAR": "a text", "BOOLEAN": "true or false", "NULL": "null"}

_JUDGE = """
select
  json_valid(t),
  case when json_valid(t) then json_type(t) end,
  case when json_valid(t) then list_filter(list_distinct(k), lambda x: list_count(list_filter(k, lambda y: y = x)) > 1)
  end
from (select t, case when json_valid(t) then json_keys(t) end as k from (select unnest($texts) as t))
"""


def salvage_json(con: DuckDBPyConnection, path: Path, shape: Shape, target: Path, rejects: RejectFile) -> Salvaged:
    """Splits a JSON file into good objects, one per line, and rejects.

    Args:
        con: judges what is JSON; nothing is written.
        path: the file, UTF-8 without a mark.
        shape: what `sniff` found.
        target: gets the good objects.
        rejects: gets the others, in the order of the file, and what is wrong with the file's frame.

    Raises:
        OSError: a file cannot be read or the disk is full.
    """
    with path.open("rb") as source, target.open("wb") as out:
        judge = _Judge(con, out, rejects)
        records = _lines(source) if shape.layout == "lines" else Values(source, shape.layout == "array")
        for record in records:
            judge.add(record)
        judge.flush()
    return Salvaged(target, judge.rows, judge.longest)


Record = tuple[int, bytes] | Reject


class _Judge:
    """Sorts records into good ones and rejects, a batch at a time and in their order."""

    def __init__(self, con: DuckDBPyConnection, out: BinaryIO, rejects: RejectFile) -> None:
        self.con, self.out, self.rejects = con, out, rejects
        self.batch: list[Record] = []
        self.size = 0
        self.rows = 0
        self.longest = 0

    def add(self, record: Record) -> None:
        self.batch.append(record)
        if not isinstance(record, Reject):
            self.size += len(record[1])
        if len(self.batch) >= _BATCH_RECORDS or self.size >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        texts = [record[1].decode() for record in self.batch if not isinstance(record, Reject)]
        verdicts = iter(self.con.execute(_JUDGE, {"texts": texts}).fetchall() if texts else [])
        for record in self.batch:
            if isinstance(record, Reject):
                self.rejects.add(record)
                continue
            line, text = record
            valid, kind, repeated = next(verdicts)
            raw = text[:RAW_BYTES]
            if not valid:
                self.rejects.add(Reject(line, "not_json", f"not JSON: {_why(text)}", raw))
            elif kind != "OBJECT":
                self.rejects.add(
                    Reject(
                        line,
                        "not_an_object",
                        f"a record is an object {{…}}; this is {_KINDS.get(kind, 'a number')}",
                        raw,
                    )
                )
            elif repeated:
                keys = ", ".join(sorted(repeated))
                self.rejects.add(
                    Reject(line, "duplicate_key", f"more than one value for {keys}; a key occurs once", raw)
                )
            else:
                self.out.write(text + b"\n")
                self.rows += 1
                self.longest = max(self.longest, len(text))
        self.batch, self.size = [], 0


def _why(text: bytes) -> str:
    try:
        _DECODER.decode(text.decode())
    except JSONDecodeError as error:
        return f"{error.msg.lower().removesuffix(' at')} at character {error.pos + 1}"
    except RecursionError:
        return "nested too deeply"
    return "DuckDB does not accept it"


def _lines(source: BinaryIO) -> Iterator[Record]:
    """The lines of a file that are not blank, without their ends."""
    number, size, start = 0, 0, b""
    while piece := source.readline(MAX_LINE + 1):
        if not size:
            number += 1
        if size or (len(piece) > MAX_LINE and not piece.endswith(b"\n")):
            start, size = start or piece[:RAW_BYTES], size + len(piece)
            if piece.endswith(b"\n"):
                yield _too_long(number, size - 1, start)
                size, start = 0, b""
            continue
        line = piece.strip(b" \t\r\n")
        if not line:
            continue
        yield _checked(number, line)
    if size:
        yield _too_long(number, size, start)


def _too_long(line: int, size: int, raw: bytes) -> Reject:
    reason = f"the record has {size:,} bytes, more than the {MAX_LINE:,} a record may have"
    return Reject(line, "line_too_long", reason, raw)


def _checked(line: int, text: bytes) -> Record:
    bad = first_bad_byte(text)
    if bad is None:
        return line, text
    return Reject(
        line,
        "bad_encoding",
        f"byte {bad + 1} of the record is not in the declared encoding; set `encoding` for this table in "
        "source.yml (latin-1 and cp1252 are common) or correct the record",
        text[:RAW_BYTES],
    )


class Values:
    """The values of an array, or of values one after the other, however they are broken into lines."""

    def __init__(self, source: BinaryIO, array: bool) -> None:
        self.source, self.array = source, array
        # Bytes that are no UTF-8 become lone surrogates here and are found when a record is encoded again.
        self.decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text = ""
        self.position = 0
        self.done = 0
        self.line = 1
        self.first_key: str | None = None

    def __iter__(self) -> Iterator[Record]:
        self._pass(_BLANKS)
        if self.array and self._peek() == "[":
            self._advance(self.position + 1)
        while True:
            self._pass(_COMMAS)
            character = self._peek()
            if not character:
                if self.array:
                    yield Reject(None, "truncated_file", "the file ends before its array is closed: it is not complete")
                return
            if self.array and character == "]":
                self._advance(self.position + 1)
                self._pass(_BLANKS)
                if self._peek():
                    yield self._reject("not_json", "text after the end of the array")
                    while self._fill():
                        self._advance(len(self.text))
                return
            yield from self._value()

    def _value(self) -> Iterator[Record]:
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.position)
            except JSONDecodeError as error:
                size, offset = len(self.text) - self.position, error.pos - self.position
                left = self.text[error.pos : error.pos + 64]
                cut = len(left) < 64 or error.msg.startswith("Unterminated string")
                if cut and size > MAX_LINE:
                    what = f"the record has more than the {MAX_LINE:,} bytes a record may have"
                    yield from self._fault("line_too_long", what)
                elif cut and self._fill():
                    continue
                elif cut and "}" not in left and "]" not in left:
                    yield self._reject("truncated_file", "the file ends in the middle of this record")
                else:
                    what = f"not JSON: {error.msg.lower().removesuffix(' at')}"
                    yield from self._fault("not_json", what, offset)
                return
            except RecursionError:
                yield from self._fault("not_json", "not JSON: nested too deeply")
                return
            # A number at the end of what has been read may go on.
            if end == len(self.text) and self._fill():
                continue
            break
        if isinstance(value, dict) and value:
            self.first_key = self.first_key or next(iter(value))
        text = self.text[self.position : end].encode("utf-8", "surrogateescape")
        # Strict JSON has line breaks only between its parts.
        record = _checked(self.line, text.replace(b"\r", b" ").replace(b"\n", b" "))
        if len(text) > MAX_LINE:
            record = _too_long(self.line, len(text), text[:RAW_BYTES])
        yield record
        self._advance(end)

    def _fault(self, code: str, what: str, offset: int = 0) -> Iterator[Record]:
        """Rejects what begins here, up to the next object that looks like a record."""
        first, start, raw = self.line, self.done, self.text[self.position : self.position + RAW_BYTES]
        line = first + self.text.count("\n", self.position, self.position + offset)
        self._to_next_record()
        skipped = raw[: self.done - start].rstrip(" \t\r\n,")
        where = f" (line {line})" if line != first else ""
        yield Reject(first, code, what + where, skipped.encode("utf-8", "surrogateescape"))

    def _to_next_record(self) -> None:
        search = self.position + 1
        while True:
            match = _NEXT_OBJECT.search(self.text, search)
            if match and self._begins_like_a_record(match.end()):
                self._advance(match.end())
                return
            if match:
                search = match.end()
                continue
            # Nothing so far: what has been searched is done, but for what may belong to a separator.
            self._advance(max(self.position, len(self.text) - 1_000))
            if not self._fill():
                self._advance(len(self.text))
                return
            search = self.position

    def _begins_like_a_record(self, position: int) -> bool:
        if self.first_key is None:
            return True
        while len(self.text) - position < len(self.first_key) * 6 + 64 and self._fill(keep=True):
            pass
        start = _BLANKS.match(self.text, position + 1)
        assert start is not None
        try:
            key, _ = json.decoder.scanstring(self.text, start.end() + 1)  # type: ignore[attr-defined]
        except (JSONDecodeError, IndexError):
            return False
        return bool(self.text[start.end() : start.end() + 1] == '"' and key == self.first_key)

    def _reject(self, code: str, reason: str) -> Reject:
        """Rejects all that is left of what has been read."""
        raw = self.text[self.position : self.position + RAW_BYTES].encode("utf-8", "surrogateescape")
        reject = Reject(self.line, code, reason, raw)
        self._advance(len(self.text))
        return reject

    def _fill(self, keep: bool = False) -> bool:
        """Reads on; whether there was more. Forgets what is done unless positions have to stay."""
        block = self.source.read(_BLOCK)
        if not keep:
            self.text, self.position = self.text[self.position :], 0
        self.text += self.decoder.decode(block, not block)
        return bool(block)

    def _advance(self, position: int) -> None:
        self.done += position - self.position
        self.line += self.text.count("\n", self.position, position)
        self.position = position

    def _pass(self, pattern: re.Pattern[str]) -> None:
        while True:
            match = pattern.match(self.text, self.position)
            assert match is not None
            self._advance(match.end())
            if self.position < len(self.text) or not self._fill():
                return

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]
