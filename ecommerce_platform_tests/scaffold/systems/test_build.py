"""Exports as a user builds them: drafted, checked, landed and built to gold, with no line by hand but currency and time zone.

The figures are the control totals of the exports' README less what does not count, canceled and unpaid orders, which stays in
silver.
"""

from __future__ import annotations

import csv
import re
import shutil
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform_tests.conftest import Shop

pytestmark = pytest.mark.long
FIXTURES = Path(__file__).parent / "fixtures"
#: What the figures below are read from, and all that it is made of.
READ = ("gold/kpi_summary", "gold/fct_payments", "gold/fct_returns", "gold/fct_fees", "silver/row_accounting")
FIGURES = " or ".join(f'+key:"{key}"' for key in READ)
SUMMARY = "select orders, units, gross_amount, discount_amount, revenue, refund_amount from gold.kpi_summary"
#: Shipping and tax of the lines that count.
BESIDE = "select sum(shipping_amount), sum(tax_amount) from gold.fct_order_items where is_valid"


def drafted(folder: Path, export: Path, currency: str, zone: str) -> Shop:
    """A source of the export, drafted and checked; its files landed."""
    shop = Shop(folder, str(folder / "mine"))
    shop.ok("new-source", "mine", "--from", str(export))
    path = folder / "mine" / "source.yml"
    text = re.sub(r"(?m)^currency: .*$", f"currency: {currency}", path.read_text())
    path.write_text(re.sub(r"(?m)^time_zone: .*$", f"time_zone: {zone}", text))
    shop.ok("check-source", "mine", "--sample", str(export))
    shop.ok("land", str(export), "--date", "2024-05-01")
    return shop


def built(folder: Path, export: Path) -> Shop:
    """The export drafted, landed and built; every row of it is accounted for, and none was rejected."""
    shop = drafted(folder, export, "EUR", "Europe/Berlin")
    build(shop)
    return shop


def build(shop: Shop) -> None:
    shop.ok("build", "--select", FIGURES)
    lost = "rows_landed <> rows_used + rows_superseded + rows_rejected + rows_left_out or rows_rejected > 0"
    assert shop.query(f"select count(*) from silver.row_accounting where {lost}") == [(0,)]


def amounts(shop: Shop, sql: str) -> dict[str, tuple[str, ...]]:
    """Rows by their first column; amounts to the cent."""
    rows = sorted(shop.query(sql), key=str)
    return {str(name): tuple(f"{v:.2f}" if isinstance(v, Decimal) else str(v) for v in row) for name, *row in rows}


def tables(shop: Shop) -> dict[str, list[tuple]]:
    """The rows of all tables of gold that figures are read from, of calendars and histories of loads none."""
    names = ("kpi_summary", "kpi_daily", "fct_orders", "fct_order_items", "fct_payments", "fct_returns", "fct_fees")
    return {name: sorted(shop.query(f"select * from gold.{name}"), key=str) for name in names}


def figures(shop: Shop) -> tuple[str, ...]:
    """Orders, units, gross amount, discounts, revenue and refunds of gold."""
    ((orders, units, *money),) = shop.query(SUMMARY)
    return (str(orders), str(units), *(f"{amount:.2f}" for amount in money))


def test_woocommerce_orders_meet_their_control_totals_in_gold(tmp_path: Path, test_data: Path) -> None:
    shop = drafted(tmp_path, test_data / "shop_systems" / "woo_rest", "USD", "America/Sao_Paulo")
    shop.ok("build")
    assert shop.query("select orders, units, gross_amount, discount_amount, revenue from gold.kpi_summary") == [
        (2, 5, Decimal(47), Decimal(0), Decimal(47))
    ]
    assert shop.query("select sum(shipping_amount), sum(tax_amount) from silver.order_items") == [
        (Decimal(20), Decimal("1.35"))
    ]
    assert shop.query("select sum(refund_amount) from gold.fct_returns") == [(Decimal(19),)]
    assert shop.query("select sum(amount) from silver.payments") == [(Decimal("68.35"),)]
    assert shop.query("select count(*) from silver.row_accounting where rows_landed <> rows_used") == [(0,)]


def test_overlapping_exports_double_nothing_in_gold(tmp_path: Path, test_data: Path) -> None:
    shop = built(tmp_path, test_data / "shop_systems" / "overlap")
    assert figures(shop) == ("28", "56", "700.00", "0.00", "700.00", "0.00")
    before = tables(shop)
    older = tmp_path / "older"
    older.mkdir()
    shutil.copy(test_data / "shop_systems" / "overlap" / "orders_export_1.csv", older)
    shop.ok("land", str(older), "--date", "2024-05-02")
    build(shop)
    assert tables(shop) == before, "one of them again, by itself, changes nothing"


def test_magento_orders_count_but_for_those_canceled_or_unpaid(tmp_path: Path, test_data: Path) -> None:
    shop = built(tmp_path, test_data / "shop_systems" / "magento")
    assert figures(shop) == ("30", "59", "1475.00", "0.00", "1475.00", "300.00")
    assert shop.query("select count(*), sum(quantity), sum(quantity * unit_price) from silver.order_items") == [
        (40, 80, Decimal(2000))
    ]


def test_shopify_orders_count_but_for_one_voided_and_one_whose_currency_has_no_rate(
    tmp_path: Path, test_data: Path
) -> None:
    shop = built(tmp_path, test_data / "shop_systems" / "shopify_orders")
    assert figures(shop) == ("47", "142", "1944.80", "27.00", "1917.80", "64.80")
    assert shop.query(BESIDE) == [(Decimal("230.30"), Decimal("342.87"))]
    left = "select order_id, currency, status, is_valid, exchange_rate from gold.fct_orders where not is_counted order by 1"
    assert shop.query(left) == [
        ("#1004", "EUR", "canceled", False, Decimal(1)),
        ("#1006", "USD", "shipped", True, None),
    ]
    lines = (
        "select coalesce(nullif(order_id, '#1004'), 'voided'), count(*), sum(quantity * unit_price) - sum(discount_amount), "
        "sum(shipping_amount), sum(tax_amount) from silver.order_items where order_id in ('#1004', '#1006') group by all"
    )
    assert amounts(shop, lines) == {
        "voided": ("1", "15.00", "4.90", "3.18"), "#1006": ("1", "17.00", "4.90", "3.50")
    }, "with these all comes to the export: 1,932.80, 235.20 and 346.05 in EUR, 17.00, 4.90 and 3.50 in USD"  # fmt: skip
    paid = "select currency, count(*), sum(original_amount), sum(amount) from gold.fct_payments group by 1"
    assert amounts(shop, paid) == {"EUR": ("46", "2088.20", "2088.20"), "USD": ("1", "21.90", "None")}, (
        "2,168.00 but for 19.90 voided and 59.90 pending"
    )
    export = shutil.copytree(test_data / "shop_systems" / "shopify_orders", tmp_path / "again")
    shutil.copy(export / "orders_export_1.csv", export / "orders_export_1 (1).csv")
    before = tables(shop)
    shop.ok("land", str(export), "--date", "2024-05-02")
    build(shop)
    assert tables(shop) == before, "the same export again, twice in one drop, changes nothing"


def test_shopify_documents_count_but_for_tests_what_was_called_off_and_gift_cards(tmp_path: Path) -> None:
    shop = built(tmp_path, FIXTURES / "shopify-api")
    assert figures(shop) == ("3", "7", "65.00", "3.00", "62.00", "39.90")
    assert shop.query(BESIDE) == [(Decimal(4), Decimal("11.27"))]
    paid = "select order_id, payment_method_code, sum(amount), sum(original_amount) from gold.fct_payments group by all"
    assert amounts(shop, paid) == {
        "#1001": ("paypal", "27.00", "27.00"), "#1002": ("paypal", "28.56", "28.56"),
        "#1003": ("gift_card", "10.00", "10.00"), "#1004": ("paypal", "12.00", "12.00"),
    }  # fmt: skip
    before = tables(shop)
    shop.ok("land", str(FIXTURES / "shopify-api"), "--date", "2024-05-02")
    build(shop)
    assert tables(shop) == before, "the same documents again change nothing"


def test_amazon_items_count_but_for_one_pending_one_canceled_and_one_whose_currency_has_no_rate(
    tmp_path: Path, test_data: Path
) -> None:
    export = test_data / "shop_systems" / "amazon_flat"
    shop = built(tmp_path, export)
    assert figures(shop) == ("56", "114", "1449.10", "1.00", "1448.10", "0.00")
    with (export / "allorders.txt").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["currency"] == "EUR" and row["item-price"]]
    taxes = sum(Decimal(row[name] or 0) for row in rows for name in ("item-tax", "shipping-tax", "gift-wrap-tax"))
    assert shop.query(BESIDE) == [(sum(Decimal(row["shipping-price"] or 0) for row in rows), taxes)]
    left = (
        "select orders.status, orders.currency, sum(quantity), sum(quantity * unit_price) from silver.order_items as items "
        "inner join silver.orders using (order_id) where not orders.is_valid or orders.currency <> 'EUR' group by all"
    )
    assert amounts(shop, left) == {
        "created": ("EUR", "1", "0.00"), "canceled": ("None", "0", "0.00"), "shipped": ("GBP", "1", "17.50")
    }  # fmt: skip
    assert shop.query("select min(order_date) from gold.fct_orders") == [(date(2023, 10, 29),)]


def test_stripe_payments_alone_are_what_was_captured_and_their_refunds_and_fees(
    tmp_path: Path, test_data: Path
) -> None:
    shop = built(tmp_path, test_data / "shop_systems" / "stripe")
    paid = "select currency, count(*), sum(original_amount), sum(amount) from gold.fct_payments group by 1"
    assert amounts(shop, paid) == {"EUR": ("35", "1053.00", "1053.00"), "JPY": ("1", "1500.00", "None")}, (
        "1,163.00 but for the 110.00 of four that failed; yen have no rate"
    )
    back = "select currency, count(*), sum(refund_amount) from gold.fct_returns group by 1"
    assert amounts(shop, back) == {"EUR": ("4", "114.00")}
    assert amounts(shop, "select currency, count(*), sum(amount) from gold.fct_fees group by 1") == {
        "EUR": ("40", "20.00")
    }
    assert figures(shop)[:5] == ("0", "0", "0.00", "0.00", "0.00"), "payments alone are no orders"
    assert shop.query("select min(paid_at) from gold.fct_payments") == [(datetime(2023, 10, 2, 1),)]


def test_amazon_settlements_reach_gold_and_one_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    shop = built(tmp_path, FIXTURES / "amazon")
    assert figures(shop) == ("1", "4", "13.50", "1.00", "12.50", "3.00")
    assert amounts(shop, "select order_id, sum(amount) from gold.fct_payments group by 1") == {"028-1": ("12.50",)}
    fees = "select coalesce(order_id, 'none'), count(*), sum(amount) from gold.fct_fees where amount <> 0 group by 1"
    assert amounts(shop, fees) == {"028-1": ("5", "3.39"), "none": ("2", "44.00")}
    before = tables(shop)
    shop.ok("land", str(FIXTURES / "amazon"), "--date", "2024-05-02")
    build(shop)
    assert tables(shop) == before


@pytest.mark.parametrize(
    ("export", "expected", "paid"),
    [
        ("prestashop-tables", ("3", "5", "70.00", "16.90", "53.10", "28.56"), "71.40"),
        ("opencart", ("4", "7", "75.00", "5.00", "70.00", "11.90"), "76.16"),
        ("woocommerce-rows", ("2", "6", "35.00", "3.19", "31.81", "10.00"), "45.46"),
    ],
)
def test_tables_of_databases_and_rows_of_items_reach_gold_with_what_was_paid(
    tmp_path: Path, export: str, expected: tuple[str, ...], paid: str
) -> None:
    shop = built(tmp_path, FIXTURES / export)
    assert figures(shop) == expected
    ((amount,),) = shop.query("select sum(amount) from gold.fct_payments")
    assert f"{amount:.2f}" == paid
