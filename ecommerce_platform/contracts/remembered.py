"""What parsing a text has shown, remembered from one process to the next: for texts that are read at every start.

Kept beside Python's own compiled code, and trusted like it: who can write there can change the program. Never in a source's
folder, which somebody may have been given. What is remembered follows from the text, the code that looked at it and the
libraries' versions alone; an error is never remembered, so it is found and told anew. What cannot be read or written is
worked out again.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

#: So many texts are kept, those added last; all of the package's own are about 500.
_MOST = 5000

_known: dict[str, Any] | None = None
_new: dict[str, Any] = {}


def remembered(text: str, what: str, code: str, work_out: Callable[[], Any]) -> Any:
    """What `work_out` says of a text, worked out once per text and code.

    Args:
        text: all that the result depends on.
        what: what is asked of the text, and the versions of libraries that have a say in it.
        code: the module's file that works it out, whose content counts as well.
        work_out: gives lists, dicts, texts and numbers; None is not remembered, and what it raises is passed on.
    """
    global _known
    key = sha256(f"{what}\0{_digest(code)}\0{text}".encode()).hexdigest()
    if _known is None:
        _known = _read()
    if key in _known:
        return _known[key]
    if (found := work_out()) is not None:
        if not _new:
            atexit.register(_keep)
        _known[key] = _new[key] = found
    return found


def file() -> Path:
    """Where it is kept."""
    return Path(cache_from_source(__file__)).with_suffix(".json")


@lru_cache
def _digest(code: str) -> str:
    return sha256(Path(code).read_bytes()).hexdigest()


def _read() -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(file().read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _keep() -> None:
    """Adds what is new to what others may have kept meanwhile; the file is whole at any time."""
    if sys.dont_write_bytecode:
        return
    mine = file().with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        kept = {**_read(), **_new}
        mine.write_text(json.dumps(dict(list(kept.items())[-_MOST:])), encoding="utf-8")
        os.replace(mine, file())
