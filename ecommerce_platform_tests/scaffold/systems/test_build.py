"""Exports as a user builds them: drafted, checked, landed and built to gold, with no line by hand but currency and time zone.

The figures are the control totals of the exports' README less what does not count: voided, canceled and unpaid orders, and
those in a currency without a rate, all of which stay in silver.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform_tests.conftest import Shop

pytestmark = pytest.mark.long
#: What the figures below are read from, and all that it is made of.
FIGURES = " or ".join(f'+key:"{key}"' for key in ("gold/kpi_summary", "gold/fct_returns", "silver/row_accounting"))
SUMMARY = "select orders, units, gross_amount, discount_amount, revenue, refund_amount from gold.kpi_summary"


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


def built(folder: Path, test_data: Path, export: str, currency: str = "EUR", zone: str = "Europe/Berlin") -> Shop:
    shop = drafted(folder, test_data / "shop_systems" / export, currency, zone)
    shop.ok("build", "--select", FIGURES)
    lost = "rows_landed <> rows_used + rows_superseded + rows_rejected + rows_left_out or rows_rejected > 0"
    assert shop.query(f"select count(*) from silver.row_accounting where {lost}") == [(0,)]
    return shop


def figures(shop: Shop) -> tuple[str, ...]:
    """Orders, units, gross amount, discounts, revenue and refunds of gold."""
    ((orders, units, *money),) = shop.query(SUMMARY)
    return (str(orders), str(units), *(f"{amount:.2f}" for amount in money))


def test_woocommerce_orders_meet_their_control_totals_in_gold(tmp_path: Path, test_data: Path) -> None:
    shop = built(tmp_path, test_data, "woo_rest", "USD", "America/Sao_Paulo")
    assert figures(shop) == ("2", "5", "47.00", "0.00", "47.00", "19.00")
    assert shop.query("select sum(shipping_amount), sum(tax_amount) from silver.order_items") == [
        (Decimal(20), Decimal("1.35"))
    ]
    assert shop.query("select sum(refund_amount) from gold.fct_returns") == [(Decimal(19),)]
    assert shop.query("select sum(amount) from silver.payments") == [(Decimal("68.35"),)]


def test_shopify_orders_count_without_the_voided_one_and_dollars(tmp_path: Path, test_data: Path) -> None:
    shop = built(tmp_path, test_data, "shopify_orders")
    assert figures(shop) == ("47", "142", "1944.80", "27.00", "1917.80", "64.80")
    assert shop.query("select count(*), sum(quantity * unit_price) from silver.order_items") == [
        (96, Decimal("1959.80") + Decimal("17.00"))
    ]
    dollars = "select original_revenue_amount, exchange_rate from gold.fct_orders where currency = 'USD'"
    assert shop.query(dollars) == [(Decimal("17.00"), None)]


def test_overlapping_exports_and_files_that_come_again_change_nothing(tmp_path: Path, test_data: Path) -> None:
    shop = built(tmp_path, test_data, "overlap")
    once = ("28", "56", "700.00", "0.00", "700.00", "0.00")
    assert figures(shop) == once
    again = tmp_path / "again"
    again.mkdir()
    for number, file in enumerate(sorted((test_data / "shop_systems" / "overlap").iterdir())):
        (again / f"orders_export_{number + 7}.csv").write_bytes(file.read_bytes())
    shop.ok("land", str(again), "--date", "2024-05-02")
    shop.ok("build", "--select", FIGURES)
    assert figures(shop) == once


def test_amazon_orders_count_with_the_price_they_have(tmp_path: Path, test_data: Path) -> None:
    shop = built(tmp_path, test_data, "amazon_flat")
    assert figures(shop) == ("56", "114", "1449.10", "1.00", "1448.10", "0.00"), "less the unit that has no price yet"
    pounds = "select original_revenue_amount, exchange_rate from gold.fct_orders where currency = 'GBP'"
    assert shop.query(pounds) == [(Decimal("17.50"), None)]


def test_magento_orders_count_but_for_those_canceled_or_unpaid(tmp_path: Path, test_data: Path) -> None:
    shop = built(tmp_path, test_data, "magento")
    assert figures(shop) == ("30", "59", "1475.00", "0.00", "1475.00", "300.00")
    assert shop.query("select count(*), sum(quantity), sum(quantity * unit_price) from silver.order_items") == [
        (40, 80, Decimal(2000))
    ]
