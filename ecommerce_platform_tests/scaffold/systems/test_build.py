"""An export of documents as a user builds it: drafted, checked, landed and built to gold, with no line by hand but the time zone."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform_tests.conftest import Shop


@pytest.mark.long
def test_woocommerce_orders_meet_their_control_totals_in_gold(tmp_path: Path, test_data: Path) -> None:
    export, shop = str(test_data / "shop_systems" / "woo_rest"), Shop(tmp_path, str(tmp_path / "mine"))
    shop.ok("new-source", "mine", "--from", export)
    path = tmp_path / "mine" / "source.yml"
    path.write_text(re.sub(r"(?m)^time_zone: .*$", "time_zone: America/Sao_Paulo", path.read_text()))
    shop.ok("check-source", "mine", "--sample", export)
    shop.ok("land", export, "--date", "2024-05-01")
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
