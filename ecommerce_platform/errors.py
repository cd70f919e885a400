"""Errors a user can cause, and nothing else.

Every one of them says what happened, where (file, line, record, variable) and what to do about it.
Programming errors stay ordinary exceptions: they should look like the bugs they are.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path


class PlatformError(Exception):
    """Something the user can put right; printed without a traceback by the command line.

    Args:
        what: what is wrong, in one sentence.
        where: the file, optionally with line, the record or the variable it is about.
        fix: what the user can do.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None) -> None:
        self.what = what
        self.where = str(where) if where is not None else None
        self.fix = fix
        text = f"{self.where}: {what}" if self.where else what
        super().__init__(f"{text}\n  → {fix}" if fix else text)


class DefinitionError(PlatformError):
    """A table's `.sql` or `.yml`, or a `source.yml`, is wrong; `where` is `file:line`."""


class DefinitionErrors(DefinitionError):
    """Several definitions are wrong; `errors` are all of them, so that they can be put right in one go."""

    def __init__(self, errors: Sequence[DefinitionError]) -> None:
        super().__init__(errors[0].what, where=errors[0].where, fix=errors[0].fix)
        self.errors = tuple(errors)
        self.args = ("\n".join(map(str, errors)),)


def raise_all(errors: Sequence[DefinitionError]) -> None:
    """Raises the errors there are: one as it is, several together."""
    if errors:
        raise errors[0] if len(errors) == 1 else DefinitionErrors(errors)


class SettingsError(PlatformError):
    """An environment variable, path or recorded source does not fit."""


class InputError(PlatformError):
    """A delivered file or an argument of a command cannot be used."""


class MetricError(InputError):
    """A metric is asked for in a way that has no meaning, or by a name that there is not."""


class LimitError(InputError):
    """A query takes more time or memory than it may; at a quieter time, or asked for less, it may not."""


class BusyError(PlatformError):
    """Too much is asked at once.

    Args:
        what: as of every error.
        own: it is this user who asks too much; else all together do.
        retry_after: seconds after which it is worth a try again.
    """

    def __init__(self, what: str, *, own: bool, retry_after: int) -> None:
        super().__init__(what, fix=f"try again in {retry_after} s")
        self.own, self.retry_after = own, retry_after


class PassingError(InputError):
    """Something outside stood in the way and may be gone at the next try: a file in the middle of being copied."""


class CheckError(PlatformError):
    """A blocking check failed, so what was being written was rolled back."""


def understood(error: BaseException) -> PlatformError | None:
    """What an error of the machine or of the database file means to the user; None for any other.

    Those that come from the depths of a statement have no place of their own where they could be explained.
    """
    if isinstance(error, PlatformError):
        return error
    text, place = str(error), error.filename if isinstance(error, OSError) else None
    of_duckdb = type(error).__module__.endswith("duckdb")
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or (
        of_duckdb and "No space left on device" in text
    ):
        return PassingError(
            "the disk is full; what was being written is taken back, everything before it stays",
            where=place,
            fix="free some space, or set ECOMMERCE_DATA_DIR to a larger disk; `ecommerce build` then goes on "
            "(docs/runbook.md, The disk is full)",
        )
    if of_duckdb and type(error).__name__ == "OutOfMemoryException":
        return PassingError(
            f"the database needs more memory than it may use: {text.splitlines()[0]}",
            where="ECOMMERCE_MEMORY_LIMIT",
            fix="set it higher, or ECOMMERCE_THREADS lower; nothing was written",
        )
    if of_duckdb and "Corrupt database file" in text:
        return SettingsError(
            f"the warehouse file is damaged: {text.splitlines()[0]}",
            fix="move it away and run `ecommerce build`: the drops under raw/ give every table back "
            "(docs/runbook.md, The warehouse is damaged)",
        )
    return None
