"""Sheets of workbooks become raw tables: values as they read, dates that are stored as numbers too, and nothing lost."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.ingestion.bronze import BronzeLoad, load_bronze, pending_days
from ecommerce_platform.ingestion.landing import list_drops
from ecommerce_platform.scaffold.sample import read_sample
from ecommerce_platform_tests.ingestion.conftest import DAY, make_source
from ecommerce_platform_tests.ingestion.workbooks import workbook

ORDERS = [
    ["id", "placed", "day", "total", "paid", "note", None],
    ["0012", datetime(2024, 1, 2, 10, 30, 15), date(2024, 1, 2), 12.5, True, 'says "no"\nand; more, '],
    [],
    [3, datetime(2024, 1, 3), None, 1234567.0, False, None, "beside the header"],
]
SHEETS = {"Orders": ORDERS, "Lines": [[None], ["order", "n"], ["0012", 1], ["3", 2.25]], "Notes": []}


class Shop:
    """Two raw tables that are sheets of the same workbooks."""

    def __init__(self, folder: Path) -> None:
        sheet = {"files": ("shop*.xlsx",), "format": "xlsx"}
        self.source = make_source(orders={**sheet, "sheet": "Orders"}, lines={**sheet, "sheet": "Lines"})
        self.folder, self.con = folder, duckdb.connect()
        self.con.execute("create schema bronze")

    def drop(self, content: bytes, name: str = "shop.xlsx") -> None:
        path = self.folder / "raw" / DAY.isoformat() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def load(self) -> dict[str, BronzeLoad]:
        drops, loads = list_drops(self.folder / "raw", self.source), {}
        for name, files in drops.tables.items():
            days = pending_days(self.con, self.source, name, files)
            loads[name] = load_bronze(
                self.con, self.source, name, files, days, expected=(), required={}, scratch=self.folder / "scratch"
            )
        return loads

    def rows(self, raw: str, columns: str) -> list[tuple]:
        return self.con.execute(f"select {columns} from bronze.shop__{raw} order by _source_row").fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_each_sheet_is_a_raw_table_with_its_values_as_text(shop: Shop) -> None:
    shop.drop(workbook(SHEETS))
    loaded = shop.load()
    assert shop.rows("orders", "_source_file, _source_row, id, placed, day, total, paid, note, column_7") == [
        ("shop.xlsx", 1, "0012", "2024-01-02 10:30:15", "2024-01-02", "12.5", "true", 'says "no"\nand; more, ', None),
        ("shop.xlsx", 2, "3", "2024-01-03", None, "1234567", "false", None, "beside the header"),
    ]
    assert shop.rows("lines", '_source_row, "order", n') == [(1, "0012", "1"), (2, "3", "2.25")]
    assert [(f.name, f.format, f.rows, f.rejected, f.problem) for load in loaded.values() for f in load.files] == [
        ("shop.xlsx", "xlsx", 2, 0, None), ("shop.xlsx", "xlsx", 2, 0, None),
    ]  # fmt: skip
    assert [load.rows_inserted for load in shop.load().values()] == [0, 0], "nothing is pending any more"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (workbook(SHEETS)[:700], "the workbook cannot be read"),
        (workbook({"Orders": ORDERS}), "has no sheet 'Lines'; it has 'Orders': write `sheet` for this table"),
        (b"order,n\n1,2\n", "is no Excel workbook (.xlsx), although source.yml says so"),
        (workbook({"Orders": ORDERS, "Lines": []}), "its sheet 'Lines' holds nothing"),
    ],
)
def test_a_workbook_that_cannot_be_read_is_a_finding_and_takes_no_other_down(
    shop: Shop, content: bytes, says: str
) -> None:
    shop.drop(workbook(SHEETS))
    shop.drop(content, "shop_2.xlsx")
    lines = shop.load()["lines"]
    assert lines.rows_inserted == 2
    ((where, what),) = lines.problems
    assert where == f"{DAY}/shop_2.xlsx"
    assert says in what


def test_without_a_sheet_the_only_one_that_holds_something_is_meant(shop: Shop) -> None:
    shop.source = make_source(orders={"files": ("shop*",)})
    shop.drop(workbook({"Info": [], "Data": [["id", "n"], ["a", 1]]}))
    shop.load()
    assert shop.rows("orders", "id, n") == [("a", "1")]
    shop.drop(workbook(SHEETS))
    ((_, what),) = shop.load()["orders"].problems
    assert "has several sheets, and source.yml does not say which is meant" in what


def test_a_draft_has_a_raw_table_per_sheet_that_holds_a_table(tmp_path: Path) -> None:
    (tmp_path / "shop_2024-01.xlsx").write_bytes(workbook(SHEETS))
    (tmp_path / "shop_2024-02.xlsx").write_bytes(workbook(SHEETS))
    found = read_sample(tmp_path, DAY)
    assert {name: (t.raw.sheet, t.raw.files, len(t.files)) for name, t in found.tables.items()} == {
        "orders": ("Orders", ("shop_[0-9]*.xlsx",), 2), "lines": ("Lines", ("shop_[0-9]*.xlsx",), 2),
    }  # fmt: skip
