"""Raw tables made of the elements of arrays: what `explode` and `parent` of a table in source.yml say.

`explode: orders.refunds[].refund_line_items` names a raw table, then keys; each array on the way opens a level, the last
one gives the records. `parent: {refund_id: refunds.id}` takes values from the records around an element. Only the words
are understood here; `ingestion/explode.py` reads the arrays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: A key, bare or in double quotes, and whether it is an array's.
_PART = re.compile(r'(?:"((?:[^"]|"")+)"|([^\s."\[\]]+))(\[\])?(?:\.|$)')

#: The number of an element within its array, from 1; of the record that an element stands in, within its file.
POSITION, PARENT_ROW = "_position", "_parent_row"


@dataclass(frozen=True)
class Path:
    """The way to the elements: the raw table, and for each array the keys that lead to it from the record around it."""

    table: str
    levels: tuple[tuple[str, ...], ...]

    @property
    def text(self) -> str:
        """The way within a record, as messages name it: `refunds[].refund_line_items`."""
        return "[].".join(".".join(keys) for keys in self.levels)


@dataclass(frozen=True)
class Value:
    """A value of a record around an element: of the record in the raw table (level 0), or of the element of an outer array.

    `keys` lead to it; of the record in the raw table the first is a column, and an element has `_position`, too.
    """

    level: int
    keys: tuple[str, ...]


def parts(text: str) -> list[tuple[str, bool]]:
    """The keys of a path and which of them are arrays'.

    Raises:
        ValueError: it is no path.
    """
    found, position = [], 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise ValueError(
                f"{text!r} is no path: write keys with dots between them, those with signs in double quotes"
            )
        key = match[1].replace('""', '"') if match[1] else match[2]
        found.append((key, bool(match[3])))
        position = match.end()
    if not found or text.endswith("."):
        raise ValueError(f"{text!r} is no path: write keys with dots between them")
    return found


def path(text: str) -> Path:
    """What `explode` says.

    Raises:
        ValueError: it is no raw table with a path behind it.
    """
    (table, is_array), *rest = parts(text)
    if not rest or is_array:
        raise ValueError(f"{text!r}: write <raw table>.<key of the array>, such as orders.line_items")
    levels: list[tuple[str, ...]] = []
    keys: list[str] = []
    for place, (key, opens) in enumerate(rest, start=1):
        keys.append(key)
        if opens or place == len(rest):
            levels.append(tuple(keys))
            keys = []
    return Path(table, tuple(levels))


def value(text: str, around: Path) -> Value:
    """What a path under `parent` means: `id` is the record's, `refunds.id` that of the element of `refunds`.

    Raises:
        ValueError: it is no path, or leads into an array that is not on the way to the elements.
    """
    found = parts(text)
    keys, level = [key for key, _ in found], 0
    for outer in around.levels[:-1]:
        if len(keys) <= len(outer) or tuple(keys[: len(outer)]) != outer:
            break
        keys, level = keys[len(outer) :], level + 1
    arrays = sum(is_array for _, is_array in found)
    if arrays > level:
        raise ValueError(
            f"{text!r} leads into an array that is not on the way to {around.text}: of which element would it be?"
        )
    return Value(level, tuple(keys))


def values(parent: Mapping[str, str], around: Path) -> dict[str, Value]:
    """Column → what it is taken from.

    Raises:
        ValueError: as `value`.
    """
    return {column: value(text, around) for column, text in parent.items()}
