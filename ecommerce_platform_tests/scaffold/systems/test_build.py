"""Exports as a user builds them: drafted, checked, landed and built to gold, with no line by hand but currency and time zone.

The figures are the control totals of the exports' README less what does not count, canceled and unpaid orders, which stays in
silver.
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


def built(folder: Path, test_data: Path, export: str) -> Shop:
    shop = drafted(folder, test_data / "shop_systems" / export, "EUR", "Europe/Berlin")
    shop.ok("build", "--select", FIGURES)
    lost = "rows_landed <> rows_used + rows_superseded + rows_rejected + rows_left_out or rows_rejected > 0"
    assert shop.query(f"select count(*) from silver.row_accounting where {lost}") == [(0,)]
    return shop


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
    shop = built(tmp_path, test_data, "overlap")
    assert figures(shop) == ("28", "56", "700.00", "0.00", "700.00", "0.00")


def test_magento_orders_count_but_for_those_canceled_or_unpaid(tmp_path: Path, test_data: Path) -> None:
    shop = built(tmp_path, test_data, "magento")
    assert figures(shop) == ("30", "59", "1475.00", "0.00", "1475.00", "300.00")
    assert shop.query("select count(*), sum(quantity), sum(quantity * unit_price) from silver.order_items") == [
        (40, 80, Decimal(2000))
    ]
