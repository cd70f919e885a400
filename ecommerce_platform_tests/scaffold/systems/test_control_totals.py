"""The six exports of shop systems with control totals: drafted with no line by hand but currency and time zone, every
figure to the cent. The totals are those of the exports' README."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform_tests.scaffold.systems.loading import Drafted, draft

pytestmark = pytest.mark.shops


def drafted(folder: Path, test_data: Path, catalog: Catalog, export: str, currency: str = "EUR") -> Drafted:
    found = draft(folder, test_data / "shop_systems" / export, catalog, currency)
    assert {file for file, _ in found.new.open} <= {"source.yml"}
    assert {what for _, what in found.new.open} <= {"currency", "time_zone"}
    assert found.report.of("definition") == []
    assert found.report.of("data") == []
    assert all(rejected == 0 for *_, rejected in found.report.accounting), "every row is used"
    return found


def test_shopify_orders(tmp_path: Path, catalog: Catalog, test_data: Path) -> None:
    shop = drafted(tmp_path, test_data, catalog, "shopify_orders")
    assert len(shop.rows("orders")) == 49
    assert len(shop.rows("order_items")) == 96
    other = [row for row in shop.rows("order_items") if row["order_id"] in _foreign(test_data)]
    assert sum(row["quantity"] * row["unit_price"] for row in other) == Decimal("17.00")
    own = Decimal(0)
    for row in shop.rows("order_items"):
        if row["order_id"] not in _foreign(test_data):
            own += row["quantity"] * row["unit_price"]
    assert own == Decimal("1959.80")
    assert shop.total("order_items", "discount_amount") == Decimal("27.00")
    assert shop.total("order_items", "shipping_amount") == Decimal("235.20") + Decimal("4.90")
    assert shop.total("returns", "refund_amount") == Decimal("64.80")
    assert [row["status"] for row in shop.rows("orders", order_id="#1004")] == ["canceled"]
    assert [row["is_valid"] for row in shop.rows("orders", order_id="#1004")] == [False]
    assert [row["status"] for row in shop.rows("orders", order_id="#1005")] == ["created"]
    assert {row["order_id"] for row in shop.rows("orders", currency="USD", is_valid=True)} == _foreign(test_data)
    assert len(shop.rows("orders", currency="EUR")) == 48
    assert {row["discount_code"] for row in shop.rows("orders")} == {None, "HERBST"}
    assert shop.rows("payments", order_id="#1004") == shop.rows("payments", order_id="#1005") == []
    assert {row["postal_code"][0] for row in shop.rows("customers") if row["postal_code"]} <= set("0123456789")


def _foreign(test_data: Path) -> set[str]:
    import csv

    path = test_data / "shop_systems" / "shopify_orders" / "orders_export_1.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return {row["Name"] for row in csv.DictReader(file) if row["Currency"] == "USD"}


def test_overlapping_exports_double_nothing(tmp_path: Path, catalog: Catalog, test_data: Path) -> None:
    shop = drafted(tmp_path, test_data, catalog, "overlap")
    assert len(shop.rows("orders")) == 28
    assert len(shop.rows("order_items")) == 56
    assert shop.total("order_items", "quantity", "unit_price") == Decimal("700.00")
    assert shop.total("payments", "amount") == Decimal("700.00")


def test_amazon_all_orders(tmp_path: Path, catalog: Catalog, test_data: Path) -> None:
    shop = drafted(tmp_path, test_data, catalog, "amazon_flat")
    assert len(shop.rows("order_items")) == 60
    assert shop.total("order_items", "quantity", "unit_price") == Decimal("1449.10") + Decimal("17.50")
    assert shop.total("order_items", "quantity") == 115 + 1
    assert shop.total("order_items", "discount_amount") == Decimal("1.00")
    assert [r["ordered_at"] for r in shop.rows("orders", order_id="028-0000001-0000001")] == [
        datetime(2023, 10, 29, 0, 30)
    ]
    assert {r["order_id"] for r in shop.rows("orders", is_valid=False)} == {
        "028-0000002-0000002", "028-0000004-0000004",
    }  # fmt: skip
    assert {r["order_id"]: r["currency"] for r in shop.rows("orders") if r["currency"] != "EUR"} == {
        "028-0000002-0000002": None, "202-0000003-0000003": "GBP",
    }  # fmt: skip


def test_stripe_payments(tmp_path: Path, catalog: Catalog, test_data: Path) -> None:
    shop = drafted(tmp_path, test_data, catalog, "stripe")
    assert len(shop.rows("payments")) == 36, "not the failed ones"
    assert [row["amount"] for row in shop.rows("payments", currency="JPY")] == [1500]
    assert shop.total("returns", "refund_amount", currency="EUR") == Decimal("114.00")
    assert len(shop.rows("returns")) == 4
    failed = sum(Decimal(10 + n) for n in range(40) if n in (4, 13, 22, 31))
    assert shop.total("payments", "amount", currency="EUR") == Decimal("1163.00") - failed
    assert "several_currencies" not in {doubt.name for doubt in shop.report.plausibility.doubts}
    assert min(row["paid_at"] for row in shop.rows("payments")) == datetime(2023, 10, 2, 1, 0)


def test_magento_orders_and_items(tmp_path: Path, catalog: Catalog, test_data: Path) -> None:
    shop = drafted(tmp_path, test_data, catalog, "magento")
    assert len(shop.rows("orders")) == 40
    assert len(shop.rows("order_items")) == 40
    assert shop.total("order_items", "quantity") == 80
    assert shop.total("order_items", "quantity", "unit_price") == Decimal("2000.00")
    assert shop.total("returns", "refund_amount") == Decimal("300.00")
    assert {row["name"] for row in shop.rows("products")} == {"Shirt"}


def test_woocommerce_orders_as_documents(tmp_path: Path, catalog: Catalog, test_data: Path) -> None:
    shop = drafted(tmp_path, test_data, catalog, "woo_rest", "USD")
    assert len(shop.rows("orders", is_valid=True)) == 2
    assert len(shop.rows("order_items")) == 4
    assert shop.total("order_items", "quantity") == 5
    assert shop.total("order_items", "quantity", "unit_price", order_id="727") == Decimal("18.00")
    assert shop.total("order_items", "quantity", "unit_price", order_id="723") == Decimal("29.00")
    assert shop.total("order_items", "discount_amount") == 0
    assert shop.total("order_items", "shipping_amount") == Decimal("20.00")
    assert shop.total("order_items", "tax_amount") == Decimal("1.35")
    assert shop.total("returns", "refund_amount") == Decimal("19.00")
    assert shop.total("payments", "amount") == Decimal("29.35") + Decimal("39.00")
