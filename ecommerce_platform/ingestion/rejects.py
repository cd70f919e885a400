"""What is said about a line or a file that cannot be parsed, and the file such findings wait in.

Readers decide that something cannot be parsed; `bronze` writes `bronze.rejects`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

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

    A file can be wrong in every one of its lines, so they do not wait in memory. `count` is all of them, `lines`
    those that mean a line, `first` the first of these, `whole` the reasons that mean the file.
    """

    path: Path
    count: int = 0
    lines: int = 0
    first: Reject | None = None
    whole: list[str] = field(default_factory=list)
    _file: TextIO | None = None

    def add(self, reject: Reject) -> None:
        """Appends one; their order is their number."""
        if self._file is None:
            self._file = self.path.open("a" if self.count else "w", encoding="ascii")
        self.count += 1
        if reject.line is None:
            self.whole.append(reject.reason)
        else:
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

    def close(self) -> None:
        """Writes out what is still in memory; more can be added later."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def clear(self) -> None:
        """Forgets everything."""
        self.close()
        self.count, self.lines, self.first, self.whole = 0, 0, None, []
