"""Invented rows in each vendor's layout, with its hard cases: what becomes of them, cell by cell of docs/shop-systems.md."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.scaffold.systems import known_systems
from ecommerce_platform_tests.scaffold.systems.loading import Drafted, draft

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> dict[str, Drafted]:
    return {name: draft(tmp_path_factory.mktemp(name), FIXTURES / name, catalog) for name in known_systems()}


@pytest.mark.parametrize("name", sorted(known_systems()))
def test_every_cell_of_the_table_is_filled_and_no_row_is_rejected(name: str, shops: dict[str, Drafted]) -> None:
    shop, system = shops[name], known_systems()[name]
    assert shop.report.of("definition") == []
    assert all(rejected == 0 for *_, rejected in shop.report.accounting)
    instead = {(entity, table) for table, layout in system.tables.items() for entity in layout.unless}
    for entity, table in system.templates:
        filled = [row for row in shop.rows(entity) if row["_raw_table"] == f"{name}_{table}"]
        assert filled or (entity, table) in instead, f"{entity} from {table}"


def test_shopify_lines_come_to_the_subtotal_whatever_the_discount_was_on(shops: dict[str, Drafted]) -> None:
    shop, revenue = shops["shopify"], {}
    for row in shop.rows("order_items"):
        amount = row["quantity"] * row["unit_price"] - row["discount_amount"]
        revenue[row["order_id"]] = revenue.get(row["order_id"], Decimal(0)) + amount
    assert {k: f"{v:.2f}" for k, v in revenue.items()} == {
        "#1": "27.00", "#2": "20.00", "#3": "10.00", "#4": "25.00", "#5": "7.50"
    }  # fmt: skip
    assert shop.total("order_items", "tax_amount") == Decimal("11.71")


def test_shopify_refunds_cancellations_and_persons(shops: dict[str, Drafted]) -> None:
    shop = shops["shopify"]
    assert {r["order_id"]: r["refund_amount"] for r in shop.rows("returns")} == {"#1": 10, "#3": 10}
    assert {r["order_id"]: r["is_valid"] for r in shop.rows("orders")} == {
        "#1": True, "#2": True, "#3": False, "#4": True, "#5": True
    }  # fmt: skip
    assert shop.total("payments", "amount") == Decimal("90.80"), "nothing of #5, which is pending"
    assert {r["product_id"]: r["name"] for r in shop.rows("products")} == {
        "MUG-B": "Mug - Blue", "MUG-R": "Mug - Red", "Gift card": "Gift card"
    }  # fmt: skip
    ann = [r for r in shop.rows("customers") if r["email"].lower() == "ann@example.org"]
    assert {r["customer_id"] for r in ann} > {"700001"}
    assert len({r["person_key"] for r in ann}) == 1, "the account and the orders are one person's"


def test_amazon_prices_are_the_lines_and_days_the_shops(shops: dict[str, Drafted]) -> None:
    shop = shops["amazon"]
    assert shop.total("order_items", "quantity", "unit_price") == Decimal("12.00")
    assert shop.total("order_items", "shipping_amount") == 0, "the discount on it makes it less"
    assert {r["order_id"]: (r["status"], r["is_valid"]) for r in shop.rows("orders")} == {
        "028-1": ("shipped", True), "028-2": ("created", False), "028-3": ("canceled", False)
    }  # fmt: skip
    assert shop.rows("orders", order_id="028-1")[0]["ordered_at"] == datetime(2024, 3, 31, 0, 30)


def test_stripe_counts_what_was_captured_each_payment_once(shops: dict[str, Drafted]) -> None:
    shop = shops["stripe"]
    paid = {order: shop.total("payments", "amount", order_id=order) for order in ("1", "2")}
    assert paid == {"1": 35, "2": 8}
    assert shop.total("returns", "refund_amount") == Decimal("20.50")
    assert {r["returned_at"] for r in shop.rows("returns")} == {
        datetime(2024, 4, 3, 0, 30), datetime(2024, 4, 3, 12, 0)
    }  # fmt: skip


def test_magento_counts_no_parts_and_takes_the_base_currency(shops: dict[str, Drafted]) -> None:
    shop = shops["magento"]
    assert shop.total("order_items", "quantity", "unit_price", order_id="1") == 50
    assert shop.total("payments", "amount") == Decimal("74.02")
    assert shop.total("returns", "refund_amount") == Decimal("23.80")
    assert {r["order_id"] for r in shop.rows("orders", is_valid=False)} == {"2", "4"}
    assert {r["_raw_table"] for r in shop.rows("customers", customer_id="9")} == {"magento_customer_entity"}
    assert len(shop.rows("customers")) == 2, "the account, and the guest by the e-mail address"
