"""Which files the drafted patterns of known systems take: what the system calls its exports, and the sample's names with another
date or number; never one file for two tables."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pytest

from ecommerce_platform.scaffold.known import recognise_tables
from ecommerce_platform.scaffold.names import could_meet, named
from ecommerce_platform.scaffold.sample import SampleTable, read_sample
from ecommerce_platform.scaffold.systems import known_systems
from ecommerce_platform_tests.ingestion.workbooks import workbook
from ecommerce_platform_tests.scaffold.conftest import TODAY

FIXTURES = Path(__file__).parent / "fixtures"


def tables(folder: Path, files: Mapping[str, str | bytes]) -> dict[str, SampleTable]:
    """The raw tables of an export: name of a file → which fixture it is, or its content."""
    folder = folder / "export"
    folder.mkdir()
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            shutil.copy(FIXTURES / content, folder / name)
    sample, _ = recognise_tables(read_sample(folder, TODAY))
    return {name: table for name, table in sample.tables.items() if table.raw.files}


def patterns(folder: Path, files: Mapping[str, str | bytes]) -> dict[str, tuple[str, ...]]:
    return {name: table.raw.files for name, table in tables(folder, files).items()}


@pytest.mark.parametrize(
    ("name", "fixture", "expected"),
    [
        ("orders_export.csv", "shopify/orders.csv", ("orders_export*.csv",)),
        ("orders_export_1.csv", "shopify/orders.csv", ("orders_export*.csv",)),
        ("shop.csv", "shopify/orders.csv", ("shop.csv", "orders_export*.csv", "shop[-_. (][0-9(]*.csv")),
        ("shop 2024-03-01.csv", "shopify/orders.csv", ("shop [0-9]*.csv", "orders_export*.csv")),
        ("unified_payments (3).csv", "stripe/payments.csv", ("unified_payments*.csv",)),
        ("wc-product-export-1-3-2024-1709283600000.csv", "woocommerce-csv/product_csv.csv", ("wc-product-export-*.csv",)),
        ("sales_order.csv", "magento/sales_order.csv", ("sales_order.csv", "sales_order[-_. (][0-9(]*.csv")),
        ("orders.json", "shopify-api/api_orders.json", ("orders.json", "orders[-_. (][0-9(]*.json")),
        ("orders_page_1.json", "shopify-api/api_orders.json", ("orders_page_[0-9]*.json",)),
    ],
)  # fmt: skip
def test_files_are_taken_by_the_systems_own_names_and_by_the_samples(
    tmp_path: Path, name: str, fixture: str, expected: tuple[str, ...]
) -> None:
    (found,) = patterns(tmp_path, {name: fixture}).values()
    assert found == expected
    assert named(name, found)


def test_a_pattern_that_could_name_another_tables_file_is_left_out(tmp_path: Path) -> None:
    found = patterns(
        tmp_path,
        {
            "orders_export.csv": "shopify/orders.csv",
            # Called as the system calls its orders, and something else.
            "orders_export_notes.csv": b"order,note\n1,x\n",
            "sales_order.csv": "magento/sales_order.csv",
            "sales_order_item.csv": "magento/sales_order_item.csv",
        },
    )
    assert found == {
        "shopify_orders": ("orders_export.csv", "orders_export[-_. (][0-9(]*.csv"),
        "orders_export_notes": ("orders_export_notes.csv",),
        "magento_sales_order": ("sales_order.csv", "sales_order[-_. (][0-9(]*.csv"),
        "magento_sales_order_item": ("sales_order_item.csv", "sales_order_item[-_. (][0-9(]*.csv"),
    }


def test_two_tables_of_one_layout_take_no_file_by_the_systems_name(tmp_path: Path) -> None:
    orders = (FIXTURES / "shopify" / "orders.csv").read_text(encoding="utf-8").replace("Ann", "Änn")
    found = patterns(
        tmp_path, {"a.csv": orders.encode("utf-8"), "b.csv": orders.encode("cp1252"), "c.csv": "stripe/payments.csv"}
    )
    assert found == {
        "shopify_orders": ("a.csv", "a[-_. (][0-9(]*.csv"),
        "shopify_orders_2": ("b.csv", "b[-_. (][0-9(]*.csv"),
        "stripe_payments": ("c.csv", "unified_payments*.csv", "c[-_. (][0-9(]*.csv"),
    }


def test_files_whose_names_do_not_tell_them_apart_are_taken_by_name_and_that_is_said(tmp_path: Path) -> None:
    found = tables(tmp_path, {"20240301123.txt": "amazon/orders.txt", "20240302456.txt": "amazon/settlement.txt"})
    assert {name: table.raw.files for name, table in found.items()} == {
        "amazon_orders": ("20240301123.txt",), "amazon_settlement": ("20240302456.txt",)
    }  # fmt: skip
    assert all("only these files are taken" in " ".join(table.notes) for table in found.values())


def test_sheets_of_a_workbook_keep_its_name_and_none_is_lost(tmp_path: Path) -> None:
    with (FIXTURES / "stripe" / "payments.csv").open(newline="", encoding="utf-8") as file:
        payments = list(csv.reader(file))
    sheets = {"Paid 2023": payments, "Paid 2024": payments, "Notes": [["order", "note"], ["#1", "x"]]}
    found = tables(tmp_path, {"shop_1.xlsx": workbook(sheets)})
    assert {name: (table.raw.files, table.raw.sheet) for name, table in found.items()} == {
        "stripe_payments": (("shop_1.xlsx",), "Paid 2023"),
        "stripe_payments_2": (("shop_1.xlsx",), "Paid 2024"),
        "notes": (("shop_1.xlsx",), "Notes"),
    }


def test_no_two_tables_of_all_systems_at_once_could_take_one_file(tmp_path: Path) -> None:
    files = {f"{path.parent.name}-{path.name}": str(path.relative_to(FIXTURES)) for path in FIXTURES.glob("*/*")}
    found = tables(tmp_path, files)
    for name in files:
        assert sum(named(name, table.raw.files) for table in found.values()) == 1, name
    for one, other in combinations(found.values(), 2):
        assert not any(could_meet(p, q) for p in one.raw.files for q in other.raw.files), (one.name, other.name)


def test_the_names_that_systems_give_do_not_meet() -> None:
    names = [
        (system.name, table, pattern)
        for system in known_systems().values()
        for table, layout in system.files.items()
        for pattern in layout.names
    ]
    assert len(names) > 5
    assert [
        pair for pair in combinations(names, 2) if pair[0][:2] != pair[1][:2] and could_meet(pair[0][2], pair[1][2])
    ] == []
