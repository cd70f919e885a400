"""Lines that stand in several files of a load: found, counted and named with files and examples."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ecommerce_platform.silver.entities import load_entity
from ecommerce_platform.silver.overlaps import overlaps
from ecommerce_platform_tests.warehouse.shop import TinyShop, day

LINE = ("1", "p", "2", "3.00")


@pytest.fixture
def tiny(tmp_path: Path) -> TinyShop:
    return TinyShop(tmp_path)


def load(tiny: TinyShop, files: dict[tuple[date, str], list[tuple[str, ...]]]) -> tuple[list[str], list[tuple]]:
    """What is said of lines in these files, and the ledger's counts."""
    with tiny.connect() as con:
        for (on, name), rows in files.items():
            con.execute(
                "insert into bronze.files (raw_table, _load_date, _source_file, size_bytes, modified_ns, rows_loaded, "
                "rows_rejected, loaded_at) values ('lines', ?, ?, 1, 1, ?, 0, timestamp '2024-01-01')",
                [on, name, len(rows)],
            )
            for number, row in enumerate(rows, 1):
                con.execute(
                    "insert into bronze.tiny__lines values (?, ?, ?, ?, ?, ?, ?, hash(?))",
                    [*row, on, name, number, str(row)],
                )
        contract, mappings = tiny.contracts["order_items"], tiny.compiled["order_items"]
        load_entity(con, tiny.catalog, contract, mappings)
        counts = con.execute("select _load_date, rows_overlapping from silver.loads order by all").fetchall()
        return overlaps(con, "order_items", mappings), counts


def test_lines_of_a_unit_that_several_files_of_a_load_hold_are_named(tiny: TinyShop):
    said, counts = load(
        tiny,
        {
            (day(0), "lines_a.csv"): [LINE, ("2", "q", "1", "5.00"), ("3", "q", "1", "5.00")],
            (day(0), "lines_b.csv"): [("3", "q", "1", "5.00"), LINE, ("1", "q", "1", "5.00")],
            (day(0), "lines_c.csv"): [("4", "q", "1", "5.00")],
        },
    )
    assert counts == [(day(0), 2)]
    assert said == [
        "lines of 2024-01-01: 2 lines of 2 order_items units (order_id) stand in several files "
        "(lines_a.csv and lines_b.csv), e.g. of 1, 3"
    ]


def test_three_units_are_named(tiny: TinyShop):
    lines = [(str(n), "q", "1", "5.00") for n in range(1, 5)]
    said, _ = load(tiny, {(day(0), "lines_a.csv"): lines, (day(0), "lines_b.csv"): lines})
    assert said[0].startswith("lines of 2024-01-01: 4 lines of 4 ")
    assert said[0].endswith(", e.g. of 1, 2, 3")


def test_the_same_line_twice_in_a_file_or_in_two_loads_or_in_two_orders_is_none(tiny: TinyShop):
    said, counts = load(
        tiny,
        {
            (day(0), "lines_a.csv"): [LINE, LINE],
            (day(0), "lines_b.csv"): [("2", *LINE[1:])],
            (day(1), "lines_a.csv"): [LINE],
        },
    )
    assert (said, counts) == ([], [(day(0), 0), (day(1), 0)])


def test_many_loads_and_files_are_counted_not_listed(tiny: TinyShop):
    files = {(day(n), f"lines_{m}.csv"): [LINE] for n in range(5) for m in range(5)}
    said, _ = load(tiny, files)
    assert [sentence.partition(":")[0] for sentence in said] == [
        "lines of 2024-01-05", "lines of 2024-01-04", "lines of 2024-01-03", "lines"
    ]  # fmt: skip
    assert "lines_0.csv, lines_1.csv, lines_2.csv …" in said[0]
    assert said[-1] == "lines: and 2 more loads"


def test_of_two_files_with_one_line_of_a_key_the_last_by_name_wins(tmp_path: Path):
    """Which of two files of a load wins: `_source_file desc`, then the record."""
    tiny = TinyShop(tmp_path)
    with tiny.connect() as con:
        rows = [("orders_b.csv", 1, "shipped"), ("orders_a.csv", 9, "created"), ("orders_b.csv", 2, "delivered")]
        for name, number, state in rows:
            con.execute(
                "insert into bronze.tiny__orders values ('1', '2024-01-01 10:00:00', ?, ?, ?, ?, 0)",
                [state, day(0), name, number],
            )
        con.execute(
            "insert into bronze.files (raw_table, _load_date, _source_file, size_bytes, modified_ns, rows_loaded, rows_rejected, "
            "loaded_at) select 'orders', date '2024-01-01', unnest(['orders_a.csv', 'orders_b.csv']), 1, 1, 1, 0, timestamp '2024-01-01'"
        )
        load_entity(con, tiny.catalog, tiny.contracts["orders"], tiny.compiled["orders"])
        assert con.execute("select status, _source_file, _source_row from silver.orders").fetchall() == [
            ("delivered", "orders_b.csv", 2)
        ]
