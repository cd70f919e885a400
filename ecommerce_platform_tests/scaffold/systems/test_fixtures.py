"""Invented rows in each vendor's layout, with its hard cases: what becomes of them, cell by cell of docs/shop-systems.md."""

from __future__ import annotations

import csv
import shutil
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.scaffold.systems import known_systems
from ecommerce_platform_tests.scaffold.systems.loading import Drafted, draft, silver

pytestmark = pytest.mark.shops

FIXTURES = Path(__file__).parent / "fixtures"


class Shops(dict[str, Drafted]):
    """Fixture folder → what is drafted from it, once it is asked for."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self.folder, self.catalog = folder, catalog

    def __missing__(self, name: str) -> Drafted:
        (self.folder / name).mkdir()
        self[name] = draft(self.folder / name, FIXTURES / name, self.catalog)
        return self[name]


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> Shops:
    return Shops(tmp_path_factory.mktemp("shops"), catalog)


@pytest.mark.parametrize("name", sorted(known_systems()))
def test_every_cell_of_the_table_is_filled_and_no_row_is_rejected(name: str, shops: Shops) -> None:
    system, filled = known_systems()[name], set()
    for path in FIXTURES.iterdir():
        if path.name.partition("-")[0] == name:
            shop = shops[path.name]
            assert shop.report.of("definition") == []
            assert all(rejected == 0 for *_, rejected in shop.report.accounting)
            said = (shop.new.folder / "source.yml").read_text(encoding="utf-8")
            told = any(found.layout.currency for found in shop.new.known.tables.values())
            left = {*system.left_to_the_user, *([] if told else ["currency"])}
            assert {what.replace("_", " ") for _, what in shop.new.open} <= left
            assert all(text in said for text in (system.asks.currency, system.asks.time_zone, system.asks.tax))
            filled |= {(e, row["_raw_table"].removeprefix(f"{name}_")) for e in shop.tables for row in shop.rows(e)}
    instead = {(entity, table) for table, layout in system.tables.items() for entity in layout.unless}
    assert set(system.templates) - filled <= instead


def test_shopify_lines_come_to_the_subtotal_whatever_the_discount_was_on(shops: Shops) -> None:
    shop, revenue = shops["shopify"], {}
    for row in shop.rows("order_items"):
        amount = row["quantity"] * row["unit_price"] - row["discount_amount"]
        revenue[row["order_id"]] = revenue.get(row["order_id"], Decimal(0)) + amount
    assert {k: f"{v:.2f}" for k, v in revenue.items()} == {
        "#1": "27.00", "#2": "20.00", "#3": "10.00", "#4": "25.00", "#5": "7.50"
    }  # fmt: skip
    assert shop.total("order_items", "tax_amount") == Decimal("11.71")


@pytest.mark.parametrize(
    ("name", "included"),
    [
        ("shopify", {True: {"#1", "#3", "#5"}, False: {"#2"}, None: {"#4"}}),
        ("shopify-api", {True: {"#1001", "#1003", "#1004", "#1005", "#1006", "#1007"}, False: {"#1002"}}),
        ("woocommerce", {False: {"101", "102", "103", "104", "105", "106"}}),
        ("magento", {False: {"1", "2", "3", "4"}}),
        ("prestashop", {False: {"1", "2", "3", "4", "5"}}),
        ("amazon", {None: {"028-1", "028-2", "028-3"}}),
        ("woocommerce-rows", {False: {"101", "102", "103", "104", "105"}}),
        ("prestashop-tables", {False: {"1", "2", "3", "4", "5"}}),
        ("opencart", {False: {"1", "2", "3", "4", "5", "6"}}),
    ],
)
def test_whether_prices_include_tax_is_worked_out_or_left_open(
    shops: Shops, name: str, included: dict[bool | None, set[str]]
) -> None:
    said: dict[bool | None, set[str]] = {}
    for row in shops[name].rows("orders"):
        said.setdefault(row["tax_included"], set()).add(row["order_id"])
    assert said == included


def test_shopify_refunds_cancellations_and_persons(shops: Shops) -> None:
    shop = shops["shopify"]
    assert {r["order_id"]: r["refund_amount"] for r in shop.rows("returns")} == {"#1": 10, "#3": 10}
    assert {r["order_id"]: r["is_valid"] for r in shop.rows("orders")} == {
        "#1": True, "#2": True, "#3": False, "#4": True, "#5": True
    }  # fmt: skip
    assert shop.total("payments", "amount") == Decimal("90.80"), "nothing of #5, which is pending"
    codes = {r["order_id"]: r["discount_code"] for r in shop.rows("orders") if r["discount_code"]}
    assert codes == {"#1": "SPRING", "#2": "FREESHIP"}
    assert {r["product_id"]: r["name"] for r in shop.rows("products")} == {
        "MUG-B": "Mug - Blue", "MUG-R": "Mug - Red", "Gift card": "Gift card"
    }  # fmt: skip
    ann = [r for r in shop.rows("customers") if r["email"].lower() == "ann@example.org"]
    assert {r["customer_id"] for r in ann} > {"700001"}
    assert len({r["person_key"] for r in ann}) == 1, "the account and the orders are one person's"


def test_amazon_prices_are_the_lines_and_days_the_shops(shops: Shops) -> None:
    shop = shops["amazon"]
    assert {
        r["product_id"]: f"{r['quantity'] * r['unit_price'] - r['discount_amount']:.4f}"
        for r in shop.rows("order_items", is_valid=True)
    } == {"C1": "9.0000", "W1": "3.5000"}, "three for 10.00 less 1.00; one for 2.00, wrapped for 1.50"
    assert shop.total("order_items", "tax_amount") == Decimal("2.80")
    assert shop.total("order_items", "shipping_amount") == 0, "the discount on it makes it less"
    assert {r["order_id"]: (r["status"], r["is_valid"]) for r in shop.rows("orders")} == {
        "028-1": ("shipped", True), "028-2": ("created", False), "028-3": ("canceled", False)
    }  # fmt: skip
    assert shop.rows("orders", order_id="028-1")[0]["ordered_at"] == datetime(2024, 3, 31, 0, 30)


def test_stripe_counts_what_was_captured_each_payment_once(shops: Shops) -> None:
    shop = shops["stripe"]
    paid = {order: shop.total("payments", "amount", order_id=order) for order in ("1", "2")}
    assert paid == {"1": 35, "2": 8}
    fees = {r["order_id"]: f"{shop.total('fees', 'amount', order_id=r['order_id']):.2f}" for r in shop.rows("fees")}
    assert fees == {"1": "1.40", "2": "0.40"}
    assert {r["currency"] for entity in ("payments", "returns", "fees") for r in shop.rows(entity)} == {"EUR"}
    assert shop.total("returns", "refund_amount") == Decimal("20.50")
    assert {r["returned_at"] for r in shop.rows("returns")} == {
        datetime(2024, 4, 3, 0, 30), datetime(2024, 4, 3, 12, 0)
    }  # fmt: skip


def test_amazon_settlements_are_payments_refunds_and_fees_to_the_cent(shops: Shops) -> None:
    shop = shops["amazon"]
    assert [(r["order_id"], f"{r['amount']:.2f}") for r in shop.rows("payments")] == [("028-1", "12.50")]
    assert [(r["order_id"], f"{r['refund_amount']:.2f}") for r in shop.rows("returns")] == [("028-1", "3.00")]
    assert shop.rows("returns")[0]["returned_at"] == datetime(2024, 4, 5, 12, 0)
    fees: dict[str, Decimal] = {}
    for row in shop.rows("fees"):
        fees[row["fee_type"]] = fees.get(row["fee_type"], Decimal(0)) + row["amount"]
    assert {k: f"{v:.2f}" for k, v in fees.items()} == {
        "Commission": "1.20", "FBAPerUnitFulfillmentFee": "2.10", "RefundCommission": "0.09", "Subscription Fee": "39.00",
        "Cost of Advertising": "5.00", "settlement": "0.00",
    }, "commission is given back with a refund"  # fmt: skip
    assert {r["currency"] for r in shop.rows("fees")} == {"EUR"}, "which the settlement's first row says alone"
    settled = shop.total("payments", "amount") - shop.total("returns", "refund_amount") - shop.total("fees", "amount")
    assert settled + Decimal("85.78") - 50 == Decimal("-2.11"), "the total, with what was held back before and now"


def test_stripe_balance_comes_to_its_net_sum(shops: Shops) -> None:
    shop = shops["stripe-balance"]
    paid = {order: shop.total("payments", "amount", order_id=order) for order in ("1", "2", "3")}
    assert paid == {"1": 30, "2": 15, "3": 0}, "less what was not captured, and not what failed later"
    assert {r["order_id"]: f"{r['refund_amount']:.2f}" for r in shop.rows("returns")} == {"1": "12.50"}
    fees: dict[str, Decimal] = {}
    for row in shop.rows("fees"):
        fees[row["fee_type"]] = fees.get(row["fee_type"], Decimal(0)) + row["amount"]
    assert {k: f"{v:.2f}" for k, v in fees.items()} == {
        "payment": "2.00", "dispute": "30.00", "dispute_reversal": "-15.00", "fee": "2.00"
    }  # fmt: skip
    kept = shop.total("payments", "amount") - shop.total("returns", "refund_amount") - shop.total("fees", "amount")
    assert kept - 10 == Decimal("3.50"), "less a transfer"
    assert min(r["paid_at"] for r in shop.rows("payments")) == datetime(2024, 3, 31, 0, 30)


def test_stripe_fees_of_both_reports_are_taken_once(tmp_path: Path, catalog: Catalog) -> None:
    export = shutil.copytree(FIXTURES / "stripe", tmp_path / "export")
    shutil.copy(FIXTURES / "stripe-balance" / "balance.csv", export)
    shop = draft(tmp_path, export, catalog)
    assert {r["_raw_table"] for r in shop.rows("fees")} == {"stripe_balance"}
    assert {r["_raw_table"] for entity in ("payments", "returns") for r in shop.rows(entity)} == {"stripe_payments"}


def test_google_analytics_events_are_steps_of_visits_to_the_shops_orders(tmp_path: Path, catalog: Catalog) -> None:
    export = shutil.copytree(FIXTURES / "ga4", tmp_path / "export")
    shutil.copy(FIXTURES / "shopify-api" / "api_orders.json", export)
    shop = draft(tmp_path, export, catalog)
    assert shop.report.of("definition") == shop.report.of("data") == []
    visits: dict[str, list[str]] = {}
    for row in sorted(shop.rows("web_events"), key=lambda row: row["occurred_at"]):
        visits.setdefault(row["session_id"], []).append(row["event_type"])
    assert visits == {
        "111.222-1711838000": ["page_view", "product_view", "add_to_cart", "checkout", "purchase"],
        "333.444-1711841407": ["page_view"],
    }, "neither other kinds of events nor a visitor without cookies"
    (bought,) = shop.rows("web_events", event_type="purchase")
    assert bought["order_id"] in {row["order_id"] for row in shop.rows("orders")}
    assert bought["customer_id"] in {row["customer_id"] for row in shop.rows("customers")}
    assert bought["occurred_at"] == datetime(2024, 3, 31, 0, 31)
    assert {row["product_id"] for row in shop.rows("web_events") if row["product_id"]} == {"MUG-B"}


def test_prestashop_lines_discounts_shipping_and_taxes_come_to_what_was_paid(shops: Shops) -> None:
    shop = shops["prestashop"]
    due: dict[str, Decimal] = {}
    for row in shop.rows("order_items"):
        amount = row["quantity"] * row["unit_price"] - row["discount_amount"] + row["tax_amount"]
        due[row["order_id"]] = due.get(row["order_id"], Decimal(0)) + amount + (row["shipping_amount"] or 0)
    assert {k: f"{v:.2f}" for k, v in due.items()} == {
        "1": "49.98", "2": "23.80", "3": "11.90", "4": "11.90", "5": "11.90"
    }  # fmt: skip
    assert {r["order_id"]: f"{r['amount']:.2f}" for r in shop.rows("payments")} == {
        "1": "49.98", "3": "11.90", "4": "11.90"
    }  # fmt: skip
    assert {r["order_id"]: f"{r['refund_amount']:.2f}" for r in shop.rows("returns")} == {"3": "11.90", "4": "11.90"}
    assert {r["order_id"]: (r["status"], r["is_valid"]) for r in shop.rows("orders")} == {
        "1": ("delivered", True), "2": ("created", True), "3": ("canceled", False), "4": ("returned", True),
        "5": ("created", False),
    }, "a module's own state counts where the shop says that the order is valid"  # fmt: skip
    assert {r["product_id"]: r["name"] for r in shop.rows("products")} == {"31-7": "Mug", "31": "Mug", "32": "Bowl"}


def test_magento_counts_no_parts_and_takes_the_base_currency(shops: Shops) -> None:
    shop = shops["magento"]
    assert shop.total("order_items", "quantity", "unit_price", order_id="1") == 50
    assert shop.total("payments", "amount") == Decimal("74.02")
    assert shop.total("returns", "refund_amount") == Decimal("23.80")
    assert {r["order_id"] for r in shop.rows("orders", is_valid=False)} == {"2", "4"}
    assert {r["currency"] for r in shop.rows("orders")} == {"EUR"}
    assert {r["order_id"]: r["discount_code"] for r in shop.rows("orders") if r["discount_code"]} == {"1": "WINTER"}
    assert {r["_raw_table"] for r in shop.rows("customers", customer_id="9")} == {"magento_customer_entity"}
    assert len(shop.rows("customers")) == 2, "the account, and the guest by the e-mail address"


def test_shopify_api_orders_come_in_pages_and_their_lines_to_the_subtotal(shops: Shops) -> None:
    shop = shops["shopify-api"]
    assert ("shopify_api_orders", 7, 7, 0, 0) in shop.report.accounting
    revenue = {r["order_id"]: Decimal(0) for r in shop.rows("orders")}
    for row in shop.rows("order_items"):
        revenue[row["order_id"]] += row["quantity"] * row["unit_price"] - row["discount_amount"]
    assert {k: f"{v:.2f}" for k, v in revenue.items()} == {
        "#1001": "27.00", "#1002": "20.00", "#1003": "15.00", "#1004": "12.00", "#1005": "7.00", "#1006": "99.00",
        "#1007": "25.00",
    }  # fmt: skip
    assert shop.total("order_items", "shipping_amount") == 4, "free shipping is none"
    assert shop.total("order_items", "tax_amount", order_id="#1002") == Decimal("4.56"), "with that of shipping"


def test_shopify_api_refunds_are_what_was_paid_back_or_taken_off(shops: Shops) -> None:
    shop = shops["shopify-api"]
    back = {r["order_id"]: (r["quantity"], f"{r['refund_amount']:.2f}") for r in shop.rows("returns")}
    assert back == {
        "#1001": (1, "9.00"), "#1002": (1, "13.90"), "#1003": (1, "5.00"), "#1004": (1, "12.00"), "#1005": (1, "0.00")
    }, "neither the failed payment back nor what was voided"  # fmt: skip
    lines = {(r["order_id"], r["line_number"]) for r in shop.rows("order_items")}
    assert {(r["order_id"], r["line_number"]) for r in shop.rows("returns")} <= lines
    paid = {r["order_id"]: f"{r['amount']:.2f}" for r in shop.rows("payments")}
    assert paid == {"#1001": "27.00", "#1002": "28.56", "#1003": "10.00", "#1004": "12.00", "#1006": "99.00"}
    valid = {r["order_id"] for r in shop.rows("orders", is_valid=True)}
    assert valid == {"#1001", "#1002", "#1003", "#1006", "#1007"}, "not what was cancelled or voided"


def test_shopify_api_tests_codes_currency_and_gift_cards_are_told(shops: Shops) -> None:
    shop = shops["shopify-api"]
    assert {r["order_id"] for r in shop.rows("orders", is_test=True)} == {"#1006"}
    assert {r["order_id"]: r["discount_code"] for r in shop.rows("orders") if r["discount_code"]} == {"#1001": "SPRING"}
    assert {r["currency"] for r in shop.rows("orders")} == {"EUR"}
    sold = {(r["order_id"], r["unit_price"]) for r in shop.rows("order_items", is_valid=False)}
    assert sold == {("#1007", 25)}, "a gift card that was sold is no revenue"
    assert {r["order_id"] for r in shop.rows("payments", method="gift_card")} == {"#1003"}


def test_woocommerce_lines_fees_and_shipping_come_to_the_totals(shops: Shops) -> None:
    shop, total = shops["woocommerce"], {}
    for row in shop.rows("order_items"):
        amount = row["quantity"] * row["unit_price"] - row["discount_amount"] + row["tax_amount"]
        total[row["order_id"]] = total.get(row["order_id"], Decimal(0)) + amount + (row["shipping_amount"] or 0)
    assert {k: f"{v:.4f}" for k, v in total.items()} == {
        "101": "18.0900", "102": "17.8500", "103": "11.9000", "104": "11.9000", "105": "5.9500", "106": "8.0000"
    }  # fmt: skip
    assert shop.total("payments", "amount") == Decimal("61.79"), "not what is pending"
    assert {r["order_id"]: r["currency"] for r in shop.rows("orders") if r["currency"] != "EUR"} == {"106": "USD"}
    assert {r["order_id"]: r["discount_code"] for r in shop.rows("orders") if r["discount_code"]} == {"101": "spring"}
    assert {r["order_id"]: (r["status"], r["is_valid"]) for r in shop.rows("orders")} == {
        "101": ("processing", True), "102": ("shipped", True), "103": ("canceled", False), "104": ("created", False),
        "105": ("returned", True), "106": ("shipped", True),
    }  # fmt: skip
    assert shop.rows("orders", order_id="101")[0]["ordered_at"] == datetime(2024, 3, 31, 0, 30)


@pytest.mark.parametrize("name", ["woocommerce-csv", "woocommerce-de", "woocommerce-fr"])
def test_woocommerce_products_as_csv_are_read_in_the_shops_language(shops: Shops, name: str) -> None:
    assert {r["product_id"]: (r["name"], r["category"], r["list_price"]) for r in shops[name].rows("products")} == {
        "31": ("Mug", "Tableware", None), "32": ("Mug - Red", None, Decimal("12.5")), "33": ("Bowl", "Tableware", 10)
    }  # fmt: skip


def test_woocommerce_products_of_a_catalogue_are_not_those_of_orders_once_more(
    tmp_path: Path, catalog: Catalog
) -> None:
    export = tmp_path / "export"
    export.mkdir()
    shutil.copy(FIXTURES / "woocommerce" / "orders.json", export)
    shutil.copy(FIXTURES / "woocommerce-de" / "product_csv.csv", export)
    shop = draft(tmp_path, export, catalog)
    assert shop.report.of("definition") == shop.report.of("data") == []
    assert {r["product_id"]: r["_raw_table"].removeprefix("woocommerce_") for r in shop.rows("products")} == {
        "31": "product_csv", "32": "product_csv", "33": "product_csv", "name-Vase": "order_lines",
        "fee-Gift wrap": "order_fees", "fee-Loyalty": "order_fees",
    }  # fmt: skip


def test_woocommerce_refunds_products_and_guests(shops: Shops) -> None:
    shop = shops["woocommerce"]
    assert {r["order_id"]: f"{r['refund_amount']:.2f}" for r in shop.rows("returns")} == {
        "102": "10.00", "103": "11.90", "105": "5.95"
    }  # fmt: skip
    assert shop.rows("returns", order_id="102")[0]["returned_at"] == datetime(2024, 4, 6, 0, 30)
    assert {r["product_id"]: r["category"] for r in shop.rows("products")} == {
        "31": "Tableware", "32": None, "33": "Tableware", "name-Vase": None, "fee-Gift wrap": None, "fee-Loyalty": None
    }  # fmt: skip
    persons = {r["customer_id"][:6]: r["full_name"] for r in shop.rows("customers")}
    assert persons == {"7": "Ann Ash", "guest-": "Ben Birch"}


def due(shop: Drafted) -> dict[str, str]:
    """What each order comes to: lines less discounts, with shipping and tax."""
    total: dict[str, Decimal] = {}
    for row in shop.rows("order_items"):
        amount = row["quantity"] * row["unit_price"] - (row["discount_amount"] or 0) + (row["tax_amount"] or 0)
        total[row["order_id"]] = total.get(row["order_id"], Decimal(0)) + amount + (row["shipping_amount"] or 0)
    return {order: f"{amount:.2f}" for order, amount in total.items()}


def test_woocommerce_exports_with_a_row_per_item_come_to_the_orders_totals(shops: Shops) -> None:
    shop = shops["woocommerce-rows"]
    assert due(shop) == {"101": "34.75", "102": "10.71", "103": "11.90", "104": "11.90", "105": "8.00"}
    assert {(r["order_id"], r["line_number"]): r["quantity"] for r in shop.rows("order_items")} == {
        ("101", 11): 2, ("101", 12): 1, ("102", 13): 3, ("103", 14): 1, ("104", 15): 1, ("105", 16): 1
    }  # fmt: skip
    assert shop.total("order_items", "shipping_amount") == Decimal("6.20"), "fees stand with the shipping"
    assert {r["order_id"]: f"{r['amount']:.2f}" for r in shop.rows("payments")} == {
        "101": "34.75", "102": "10.71", "105": "8.00"
    }  # fmt: skip
    assert {r["order_id"]: f"{r['refund_amount']:.2f}" for r in shop.rows("returns")} == {"101": "10.00"}
    assert {r["order_id"]: (r["status"], r["is_valid"], r["currency"]) for r in shop.rows("orders")} == {
        "101": ("processing", True, "EUR"), "102": ("shipped", True, "EUR"), "103": ("canceled", False, "EUR"),
        "104": ("created", False, "EUR"), "105": ("shipped", True, "USD"),
    }  # fmt: skip
    (first,) = shop.rows("orders", order_id="101")
    assert (first["ordered_at"], first["postal_code"]) == (datetime(2024, 3, 31, 0, 30), "04229")
    assert {r["product_id"]: r["name"] for r in shop.rows("products")} == {
        "31": "Mug", "32": "Plate, small", "33": "Bowl", "name-Vase": "Vase"
    }  # fmt: skip
    assert {r["customer_id"][:6]: (r["full_name"], r["postal_code"]) for r in shop.rows("customers")} == {
        "7": ("Ann Ash", "04109"), "guest-": ("Ben Birch", "10115")
    }  # fmt: skip


def test_woocommerce_rows_without_ids_are_numbered_and_what_was_paid_is_a_payment(shops: Shops) -> None:
    shop = shops["woocommerce-webtoffee"]
    assert due(shop) == {"201": "20.23", "202": "11.90"}
    lines = {(r["order_id"], r["line_number"]): f"{r['discount_amount']:.2f}" for r in shop.rows("order_items")}
    assert lines == {("201", 1): "1.00", ("201", 2): "0.00", ("202", 1): "0.00"}
    assert [(r["order_id"], f"{r['amount']:.2f}") for r in shop.rows("payments")] == [("201", "20.23")], "paid on hold"
    assert shop.rows("returns") == []


def test_woocommerce_documents_and_rows_of_the_same_orders_are_taken_once(tmp_path: Path, catalog: Catalog) -> None:
    export = tmp_path / "export"
    export.mkdir()
    shutil.copy(FIXTURES / "woocommerce" / "orders.json", export)
    shutil.copy(FIXTURES / "woocommerce-rows" / "item_rows.csv", export)
    shop = draft(tmp_path, export, catalog)
    assert {r["_raw_table"] for entity in shop.tables for r in shop.rows(entity)} <= {
        "woocommerce_orders", "woocommerce_order_lines", "woocommerce_order_fees", "woocommerce_order_refunds"
    }  # fmt: skip
    assert due(shop)["101"] == "18.09"


def test_prestashop_tables_come_to_what_was_paid_with_a_line_for_the_order_as_a_whole(shops: Shops) -> None:
    shop = shops["prestashop-tables"]
    assert shop.report.of("doubt") == []
    assert due(shop) == {"1": "47.60", "2": "11.90", "3": "11.90", "4": "11.90", "5": "11.90"}
    whole = {
        r["order_id"]: (r["quantity"], f"{r['discount_amount']:.2f}", f"{r['shipping_amount']:.2f}", r["tax_amount"])
        for r in shop.rows("order_items", product_id="order")
    }
    nothing = (0, "0.00", "0.00", 0)
    assert whole == {
        "1": (0, "5.00", "5.00", 0), "2": nothing, "3": nothing, "4": (0, "11.90", "0.00", 0), "5": nothing
    }, "tax taken off is a discount"  # fmt: skip
    assert shop.total("order_items", "quantity") == 7
    assert {r["order_id"]: f"{r['amount']:.2f}" for r in shop.rows("payments")} == {
        "1": "47.60", "3": "11.90", "4": "11.90"
    }  # fmt: skip
    assert {r["order_id"]: f"{r['refund_amount']:.2f}" for r in shop.rows("returns")} == {"3": "11.90", "1": "16.66"}
    assert {r["order_id"]: (r["status"], r["is_valid"]) for r in shop.rows("orders")} == {
        "1": ("delivered", True), "2": ("created", True), "3": ("canceled", False), "4": ("delivered", True),
        "5": ("created", False),
    }  # fmt: skip
    assert {r["product_id"]: r["name"] for r in shop.rows("products") if r["product_id"] != "order"} == {
        "31-7": "Mug - Red, large", "31": "Mug", "32": "Bowl"
    }  # fmt: skip
    assert {r["customer_id"]: (r["full_name"], r["birth_date"]) for r in shop.rows("customers")} == {
        "7": ("Ann Ash", date(1990, 2, 3)), "8": ("Ben Birch", None)
    }  # fmt: skip


def test_prestashop_tables_that_come_again_bring_orders_whole(tmp_path: Path, catalog: Catalog) -> None:
    shop = draft(tmp_path, FIXTURES / "prestashop-tables", catalog)
    first, second = tmp_path / "drops" / "2024-04-10", tmp_path / "drops" / "2024-04-11"
    shutil.copytree(FIXTURES / "prestashop-tables", first)
    second.mkdir()
    none = {f"total_{of}_tax_{tax}": "0" for of in ("discounts", "shipping", "wrapping") for tax in ("incl", "excl")}
    for name, changed in (("orders_table.csv", none), ("order_detail.csv", {"id_order_detail": "9"})):
        with (first / name).open(newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file)) | changed
        with (second / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(row), list(row.values())])
    lines = {
        (r["order_id"], r["line_number"]): r["shipping_amount"]
        for r in silver(shop.new.folder, tmp_path / "drops", catalog)["order_items"]
    }
    assert {number for order, number in lines if order == "1"} == {0, 9}, "a row that was taken off goes"
    assert lines["1", 0] == 0, "so does the shipping"
    assert ("4", 5) in lines


def test_opencart_products_and_totals_come_to_what_is_due_in_the_shops_currency(shops: Shops) -> None:
    shop = shops["opencart"]
    assert due(shop) == {"1": "46.41", "2": "11.90", "3": "11.90", "4": "11.90", "5": "17.85", "6": "11.90"}
    whole = {
        r["order_id"]: (
            r["quantity"],
            f"{r['unit_price']:.2f}",
            f"{r['discount_amount']:.2f}",
            f"{r['tax_amount']:.2f}",
        )
        for r in shop.rows("order_items", product_id="order")
    }
    assert whole["1"] == (0, "0.00", "5.00", "7.41")
    assert whole["5"] == (1, "5.00", "0.00", "2.85"), "a fee is paid for, and both taxes"
    assert whole["6"] == (0, "0.00", "0.00", "1.90"), "a gift voucher is no discount"
    assert shop.total("order_items", "shipping_amount") == 4
    assert {r["order_id"]: (r["status"], r["is_valid"]) for r in shop.rows("orders")} == {
        "1": ("shipped", True), "2": ("created", False), "3": ("returned", True), "4": ("canceled", False),
        "5": ("processing", True), "6": ("processing", True),
    }, "a state of the shop's own counts"  # fmt: skip
    assert {r["order_id"]: f"{r['amount']:.2f}" for r in shop.rows("payments")} == {
        "1": "46.41", "3": "11.90", "5": "17.85"
    }  # fmt: skip
    assert {r["order_id"]: f"{r['refund_amount']:.2f}" for r in shop.rows("returns")} == {"3": "11.90"}
    assert {r["currency"] for r in shop.rows("orders")} == {None}, "whatever they were shown in"
    assert shop.report.of("doubt") == []
    assert {r["customer_id"][:6] for r in shop.rows("customers")} == {"7", "guest-"}


def test_opencart_products_without_totals_say_their_own_tax(tmp_path: Path, catalog: Catalog) -> None:
    export = tmp_path / "export"
    export.mkdir()
    for name in ("orders.csv", "order_product.csv"):
        shutil.copy(FIXTURES / "opencart" / name, export)
    shop = draft(tmp_path, export, catalog)
    assert shop.total("order_items", "tax_amount", order_id="1") == Decimal("7.60")
