"""Two systems in one folder: what joins a payment provider's report to a shop is found by values, and no payment counts twice."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform_tests.scaffold.systems.loading import Drafted, draft

pytestmark = pytest.mark.long
FIXTURES = Path(__file__).parent / "fixtures"
HEADER = (
    "id,Created (UTC),Amount,Amount Refunded,Currency,Captured,Fee,Description,Status,Card Brand,shop_ref (metadata)\n"
)
#: Of #1 all is there, of #2 a euro less, #4 in two parts, and a payment that no order of the shop is of.
PAYMENTS = [
    ("ch_1", "32.00", "Order 1", "1"), ("ch_2", "22.80", "Order 2", "2"), ("ch_3", "20.00", "Order 4", "4"),
    ("ch_4", "5.00", "Order 4", "4"), ("ch_5", "9.00", "Donation", ""),
]  # fmt: skip


def export(folder: Path, reference: bool) -> Path:
    folder.mkdir()
    shutil.copy(FIXTURES / "shopify" / "orders.csv", folder / "orders_export.csv")
    rows = [
        f"{id},2024-03-01 10:00:00,{amount},0.00,eur,true,0.30,{what},Paid,Visa,{ref if reference else ''}\n"
        for id, amount, what, ref in PAYMENTS
    ]
    (folder / "unified_payments.csv").write_text(HEADER + "".join(rows))
    return folder


@pytest.fixture(scope="module", params=[True, False], ids=["metadata", "description"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> Drafted:
    folder = tmp_path_factory.mktemp("both")
    return draft(folder, export(folder / "export", request.param), catalog)


def test_the_column_most_of_whose_values_are_orders_joins_the_report_and_sums_are_compared(both: Drafted) -> None:
    (join,) = both.new.known.joins
    assert (join.report, join.shop, join.found) == ("stripe_payments", "shopify_orders", 3)
    assert join.named == (3 if join.column == "shop_ref (metadata)" else 4), "a donation is no order"
    assert (join.compared, join.off, join.difference) == (3, 1, Decimal("-1.00"))
    assert join.examples == (("#2", Decimal("22.80"), Decimal("23.80")),)
    said = (both.new.folder / "source.yml").read_text(encoding="utf-8")
    assert "reconcile and are not added: 3 orders compared, 1 off, -1.00 in all, e.g. #2 22.80 instead of 23.80" in said


def test_payments_that_both_report_are_the_orders_payments_once(both: Drafted) -> None:
    assert both.total("payments", "amount") == Decimal("90.80"), "as the shop says"
    assert {r["_raw_table"] for r in both.rows("payments")} == {"shopify_orders"}
    assert {r["order_id"] for r in both.rows("orders")} == {"#1", "#2", "#3", "#4", "#5"}, "one shop needs no prefix"
