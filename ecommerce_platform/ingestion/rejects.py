"""What is said about a line or a file that cannot be parsed, and the file such findings wait in.

Deciding that something cannot be parsed is the readers' business; writing `bronze.rejects` is `bronze`'s.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

#: Characters of a rejected line that are kept; the file itself stays untouched.
RAW_CHARACTERS = 10_000
#: Bytes that hold as many characters in any case.
RAW_BYTES = 4 * RAW_CHARACTERS


@dataclass(frozen=True)
class Reject:
    """One line (from 1), or with `line` None the whole file, and what is wrong with it."""

    line: int | None
    code: str
    reason: str
    raw: bytes = b""

    @property
    def raw_text(self) -> str | None:
        """The first 10,000 characters of the raw text; what is no text shows as the replacement character."""
        if self.line is None:
            return None
        text = self.raw[: RAW_BYTES + 4].decode("utf-8", "replace")[:RAW_CHARACTERS]
        return text.replace("\x00", "\ufffd")


@dataclass
class RejectFile:
    """Rejects of one delivered file on their way to `bronze.rejects`, as JSON lines on disk.

    A file can be wrong in every one of its lines, so they do not wait in memory.
    """

    path: Path
    count: int = 0
    lines: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    first: Reject | None = None

    def __enter__(self) -> RejectFile:
        self._file = self.path.open("w", encoding="ascii")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, reject: Reject) -> None:
        """Appends one; their order is their number."""
        self.count += 1
        self.codes[reject.code] += 1
        if reject.line is not None:
            self.lines += 1
            self.first = self.first or reject
        row = {
            "reject_number": self.count,
            "line": reject.line,
            "reason_code": reject.code,
            "reason": reject.reason,
            "raw_text": reject.raw_text,
        }
        self._file.write(json.dumps(row) + "\n")

    def extend(self, rejects: Iterator[Reject] | list[Reject]) -> None:
        """Appends several."""
        for reject in rejects:
            self.add(reject)
