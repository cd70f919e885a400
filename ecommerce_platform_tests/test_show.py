"""How a query's answer looks at a terminal: rounded, aligned, turned where it is wide, and never taken for markup."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from ecommerce_platform.show import as_read, print_rows


def printed(columns: list[str], rows: list[tuple[Any, ...]], width: int = 100) -> str:
    out = io.StringIO()
    print_rows(Console(file=out, width=width, emoji=False), columns, rows)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("revenue", [Decimal("102877.9300"), None, Decimal("564.7654")], ["102,877.93", "", "564.77"]),
        ("rate", [0.0386412, 0.5], ["0.0386", "0.5000"]),
        ("small", [0.000124, None], ["0.0001240", ""]),
        ("score", [4.30512], ["4.305"]),
        ("amount", [Decimal("12.0000"), Decimal("7.0000")], ["12", "7"]),
        ("orders", [1080, 889], ["1,080", "889"]),
        ("year", [2024], ["2024"]),
        ("order_id", [1234567], ["1234567"]),
        ("zero", [0.0], ["0"]),
        ("odd", [float("nan"), 1.5], ["nan", "1.500"]),
        ("is_complete", [True, None], ["True", ""]),
        ("month", [date(2024, 1, 1)], ["2024-01-01"]),
        ("text", ["a:x:0 [bold]b[/] :smile:"], ["a:x:0 [bold]b[/] :smile:"]),
        ("text", ["one\ntwo\x1b[31m"], ["one\\ntwo\\x1b[31m"]),
    ],
)
def test_values_are_rounded_for_reading_and_text_is_left_alone(name: str, values: list[Any], text: list[str]) -> None:
    assert as_read(name, values)[0] == text


def test_a_table_that_fits_stands_upright() -> None:
    lines = printed(
        ["month", "revenue"], [(date(2024, 1, 1), Decimal("94892.9400")), (date(2024, 2, 1), Decimal("1.5"))]
    )
    assert "│ 2024-01-01 │ 94,892.94 │" in lines
    assert "│ 2024-02-01 │      1.50 │" in lines


def test_headings_are_broken_before_a_table_is_turned() -> None:
    columns = [f"rather_long_name_{i}" for i in range(6)]
    lines = printed(columns, [tuple(range(6))], width=90)
    assert max(map(len, lines.splitlines())) <= 90
    assert "┃" in lines
    assert "rather_" in lines


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_wide_table_is_turned_on_its_side_and_shows_every_value(width: int) -> None:
    columns = [f"column_{i}" for i in range(40)]
    rows = [tuple(1000 * r + c for c in range(40)) for r in range(1, 25)]
    lines = printed(columns, rows, width)
    assert max(map(len, lines.splitlines())) <= width
    for row in rows:
        for value in row:
            assert f"{value:,}" in lines
    # A line per column and part, not a word per line.
    assert sum("column_7 " in line for line in lines.splitlines()) <= 24


def test_values_are_no_markup_and_no_emoji() -> None:
    lines = printed(["v"], [("a:x:0 [red]:smile:[/]",)])
    assert "a:x:0 [red]:smile:[/]" in lines


def test_an_empty_answer_shows_its_columns() -> None:
    assert "revenue" in printed(["month", "revenue"], [])
