"""A query's answer for people at a terminal: figures rounded, wide tables turned on their side.

For reading only: exact values are what `--csv` is for. Text is shown as it is, so nothing in it is taken for markup, an
emoji or a command to the terminal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Text columns may be folded down to this width before a table is turned, and are never wider when it is.
_NARROW, _TURNED = 16, 40
#: Numbers in these columns name something, so their digits are not put in groups.
_NAMES = re.compile(r"(^|_)(id|key|year|code|number|version|hash|port|zip|postal_code)$|^year", re.IGNORECASE)
_CONTROL = {c: f"\\x{c:02x}" for c in (*range(0x20), *range(0x7F, 0xA0))} | {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}


def as_read(name: str, values: Sequence[Any]) -> tuple[list[str], bool]:
    """The values of a column as text, and whether they are figures (which stand on the right).

    Figures of a column get the same number of decimals: two from a hundred on, else enough for four digits.
    """
    there = [v for v in values if v is not None]
    if there and all(isinstance(v, (int, float, Decimal)) and not isinstance(v, bool) for v in there):
        whole = all(isinstance(v, int) for v in there)
        places = 0 if whole else _places([float(v) for v in there])
        groups = "" if _NAMES.search(name) and all(float(v).is_integer() for v in there) else ","
        return ["" if v is None else _figure(v, places, groups) for v in values], True
    return ["" if v is None else plain(v) for v in values], False


def plain(value: Any) -> str:
    """A value as text; characters that would steer the terminal are spelt out."""
    return str(value).translate(_CONTROL)


def _places(values: list[float]) -> int:
    finite = [abs(v) for v in values if math.isfinite(v)]
    most = max(finite, default=0.0)
    if most >= 100:
        places = 2
    else:
        # By the largest: a column of rates gets 0.0386, one of tiny figures as many places as these need.
        places = 3 - math.floor(math.log10(most)) if most else 0
        places = max(2, min(places, 8))
    return 0 if all(float(v).is_integer() for v in finite) else places


def _figure(value: Any, places: int, groups: str) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return f"{value:{groups}.{places}f}" if places or not isinstance(value, int) else f"{value:{groups}d}"


def print_rows(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints rows as a table; turned on its side, in as many parts as needed, where it is too wide for the console."""
    shown = [as_read(name, [row[i] for row in rows]) for i, name in enumerate(columns)]
    names = [plain(name) for name in columns]
    for table in _tables(names, shown, console.width, len(rows)):
        console.print(table)


def _tables(names: list[str], shown: list[tuple[list[str], bool]], width: int, rows: int) -> Iterator[Table]:
    from rich.cells import cell_len

    wide = [max([cell_len(v) for v in values], default=0) for values, _ in shown]
    # The narrowest that stays readable: figures whole, names broken at their underscores, text folded.
    least = [
        max(cell_len(max(_pieces(name), key=cell_len)), w if figures else min(w, _NARROW))
        for name, w, (_, figures) in zip(names, wide, shown, strict=True)
    ]
    if sum(least) + 3 * len(names) + 1 <= width or not rows:
        best = [max(w, cell_len(name)) for name, w in zip(names, wide, strict=True)]
        broken = sum(best) + 3 * len(names) + 1 > width
        yield _upright(names, shown, least, broken, rows)
        return
    yield from _turned(names, shown, width, rows)


def _upright(names: list[str], shown: list[tuple[list[str], bool]], least: list[int], broken: bool, rows: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name, (_, figures), width in zip(names, shown, least, strict=True):
        heading = "\n".join(_pieces(name)) if broken else name
        table.add_column(
            Text(heading), justify="right" if figures else "left", overflow="fold", min_width=width, vertical="bottom"
        )
    for number in range(rows):
        table.add_row(*(Text(values[number]) for values, _ in shown))
    return table


def _turned(names: list[str], shown: list[tuple[list[str], bool]], width: int, rows: int) -> Iterator[Table]:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    left = width - max(map(cell_len, names)) - 4
    first = 0
    while first < rows:
        last, used = first, 0
        while last < rows:
            more = min(max(cell_len(values[last]) for values, _ in shown), _TURNED, max(left - 3, 1)) + 3
            if last > first and used + more > left:
                break
            used, last = used + more, last + 1
        table = Table(show_header=False, highlight=False)
        table.add_column(style="bold", no_wrap=True)
        for _ in range(first, last):
            table.add_column(overflow="fold", max_width=min(_TURNED, max(left - 3, 1)), justify="right")
        for name, (values, _) in zip(names, shown, strict=True):
            table.add_row(Text(name), *(Text(v) for v in values[first:last]))
        yield table
        first = last


def _pieces(name: str) -> list[str]:
    """A name in the pieces it may be broken into: after underscores, short ones together."""
    pieces: list[str] = []
    for part in re.findall(r"[^_]*_+|[^_]+$", name) or [name]:
        if pieces and len(pieces[-1]) + len(part) <= 10:
            pieces[-1] += part
        else:
            pieces.append(part)
    return pieces
