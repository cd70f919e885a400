"""Excel workbooks (.xlsx): one sheet becomes plain CSV, which is read as any other.

Values become text as they read on the screen in plain form: whole numbers without a point, dates and times in ISO form,
also where Excel stored a number and shows a date. A format that only decorates (a currency sign, thousands, percent) is not part of
the value. The first row that is not blank is the header; blank rows are left out. Nothing is changed in the workbook.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ecommerce_platform.contracts.source import RawTable
from ecommerce_platform.ingestion.sniff import Shape, Unusable, unique_names


def sheet_names(path: Path) -> list[str] | Unusable:
    """The visible sheets of a workbook that hold something."""
    opened = _open(path)
    if isinstance(opened, Unusable):
        return opened
    return [
        sheet.name
        for sheet in opened.sheets_metadata
        if str(sheet.visible).endswith("Visible") and str(sheet.typ).endswith("WorkSheet") and _rows(opened, sheet.name)
    ]


def unpack(path: Path, raw: RawTable, target: Path) -> Shape | Unusable:
    """Writes the sheet of a raw table as CSV to `target`.

    Args:
        path: the workbook.
        raw: names the sheet; without `sheet` there must be a single one that holds something.
        target: the file to write.

    Returns:
        The shape of what was written, or why the workbook cannot be used.
    """
    opened = _open(path)
    if isinstance(opened, Unusable):
        return opened
    names = sheet_names(path)
    assert not isinstance(names, Unusable)
    sheet = raw.sheet or (names[0] if len(names) == 1 else None)
    if sheet is None or sheet not in opened.sheet_names:
        there = ", ".join(map(repr, opened.sheet_names))
        what = f"has no sheet {sheet!r}" if sheet else "has several sheets, and source.yml does not say which is meant"
        what = what if names or raw.sheet else "holds nothing"
        return Unusable(
            "unreadable" if names or raw.sheet else "empty", f"{what}; it has {there}: write `sheet` for this table"
        )
    rows = _rows(opened, sheet)
    if isinstance(rows, Unusable):
        return rows
    if not rows:
        return Unusable("empty", f"its sheet {sheet!r} holds nothing")
    width = max(len(row) for row in rows)
    lines: list[list[str | None]] = [[*row, *[None] * (width - len(row))] for row in rows]
    header = [value or "" for value in lines[0]]
    lines[0] = [*header]
    with target.open("w", encoding="utf-8", newline="") as out:
        for line in lines:
            out.write(",".join(_quoted(value) for value in line) + "\n")
    return Shape("csv", columns=unique_names(header), header_lines=1 + sum(name.count("\n") for name in header))


def _open(path: Path) -> Any:
    import python_calamine as calamine

    try:
        return calamine.CalamineWorkbook.from_path(str(path))
    except OSError:
        raise
    except Exception as error:  # what the reader raises has no type in common
        if "password" in str(error).lower():
            return Unusable(
                "unreadable", "the workbook is protected by a password; save it without one, or as CSV (UTF-8)"
            )
        return Unusable(
            "unreadable", f"the workbook cannot be read ({str(error)[:200]}); save it anew, or as CSV (UTF-8)"
        )


def _rows(opened: Any, sheet: str) -> list[list[str | None]] | Unusable:
    """The rows of a sheet that are not blank, as text."""
    try:
        read = opened.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    except Exception as error:  # as above
        return Unusable(
            "unreadable", f"its sheet {sheet!r} cannot be read ({str(error)[:200]}); save it as CSV (UTF-8)"
        )
    return list(_filled([_text(value) for value in row] for row in read))


def _filled(rows: Iterator[list[str | None]]) -> Iterator[list[str | None]]:
    for row in rows:
        while row and row[-1] is None:
            row.pop()
        if row:
            yield row


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return str(value)


def _quoted(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'
