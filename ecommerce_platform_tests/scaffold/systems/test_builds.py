"""The six exports with control totals as a user builds them: drafted, checked, landed and built to gold, with no line by hand
but currency and time zone. Then all of it is delivered once more, and twice in one drop: nothing changes."""

from __future__ import annotations

import re
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform_tests.conftest import Shop

#: Folder → currency, (orders, units, gross, discount) that count in gold, (shipping, tax) of all lines, and what was paid back.
TOTALS = {
    "shopify_orders": ("EUR", 47, 140, "1929.80", "27.00", None, "64.80"),
    "woo_rest": ("USD", 2, 5, "47.00", "0.00", ("20.00", "1.35"), "19.00"),
    "overlap": ("EUR", 28, 56, "700.00", "0.00", None, None),
    "amazon_flat": ("EUR", 56, 113, "1449.10", "1.00", None, None),
    "magento": ("EUR", 30, 60, "1500.00", "0.00", None, "300.00"),
}
SUMMARY = "select orders, units, gross_amount, discount_amount, gross_amount - discount_amount - revenue from gold.kpi_summary"
ENTITIES = ("orders", "order_items", "payments", "customers", "products", "returns")


def built(shop: Shop, export: Path, currency: str) -> None:
    """Everything that a user does with an export."""
    shop.ok("new-source", "mine", "--from", str(export))
    path = shop.folder / "mine" / "source.yml"
    text = re.sub(r"(?m)^currency: .*$", f"currency: {currency}", path.read_text(encoding="utf-8"))
    path.write_text(re.sub(r"(?m)^time_zone: .*$", "time_zone: Europe/Berlin", text), encoding="utf-8")
    done = shop.run("check-source", "mine", "--sample", str(export))
    assert "\ninput:" not in done.stdout, done.stdout
    shop.ok("land", str(export), "--date", "2024-05-01")
    shop.ok("build")


def twice(export: Path, folder: Path) -> Path:
    """The same files, each once more under another name."""
    folder.mkdir()
    for path in export.iterdir():
        for name in (path.name, f"{path.stem}_2{path.suffix}"):
            shutil.copy(path, folder / name)
    return folder


def contents(shop: Shop) -> dict[str, list[tuple]]:
    there = {
        name for (name,) in shop.query("select table_name from information_schema.tables where table_schema = 'silver'")
    }
    return {
        entity: shop.query(
            f"select * exclude (_load_date, _source_file, _source_row) from silver.{entity} order by all"
        )
        for entity in ENTITIES
        if entity in there
    }


@pytest.mark.long
@pytest.mark.parametrize("export", sorted(TOTALS))
def test_every_control_total_is_met_in_gold_and_deliveries_that_repeat_change_nothing(
    tmp_path: Path, test_data: Path, export: str
) -> None:
    currency, orders, units, gross, discount, more, refunded = TOTALS[export]
    shop = Shop(tmp_path, str(tmp_path / "mine"))
    built(shop, test_data / "shop_systems" / export, currency)
    assert shop.query(SUMMARY) == [(orders, units, Decimal(gross), Decimal(discount), 0)]
    if more:
        assert shop.query("select sum(shipping_amount), sum(tax_amount) from silver.order_items") == [
            tuple(map(Decimal, more))
        ]
    if refunded:
        assert shop.query("select sum(refund_amount) from silver.returns") == [(Decimal(refunded),)]
    assert shop.query("select count(*) from silver.row_accounting where rows_rejected > 0 or rows_used = 0") == [(0,)]
    before = contents(shop)
    shop.ok("land", str(twice(test_data / "shop_systems" / export, tmp_path / "again")), "--date", "2024-05-02")
    shop.ok("build")
    assert contents(shop) == before
    assert shop.query(SUMMARY) == [(orders, units, Decimal(gross), Decimal(discount), 0)]
