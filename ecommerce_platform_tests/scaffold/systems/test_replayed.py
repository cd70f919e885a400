"""An export landed day by day gives the tables that it gives at once: documents in pages, with times in another zone than the shop's."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.source import read_source
from ecommerce_platform.ingestion.replay import replay
from ecommerce_platform_tests.scaffold.systems.loading import draft, silver

pytestmark = pytest.mark.shops
PAGE = Path(__file__).parent / "fixtures" / "shopify-api" / "api_orders.json"


def rows(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """The rows of each table, without where they came from."""
    return {
        name: sorted(str({k: v for k, v in row.items() if k[0] != "_"}) for row in table)
        for name, table in tables.items()
    }


def test_shopify_pages_landed_day_by_day_give_the_tables_of_landing_them_at_once(
    tmp_path: Path, catalog: Catalog
) -> None:
    orders = json.loads(PAGE.read_text(encoding="utf-8"))["orders"]
    for order in orders:
        # A document says all that happened until it was last changed.
        happened = [order["created_at"], *(refund["created_at"] for refund in order["refunds"] or [])]
        order["updated_at"] = max(happened)
    # Half past midnight in Berlin, where the shop is, and past five there.
    orders[1]["updated_at"] = "2024-03-31T18:30:00-04:00"
    orders[5]["created_at"] = orders[5]["processed_at"] = orders[5]["updated_at"] = "2024-03-06T23:30:00Z"
    orders[6]["created_at"] = orders[6]["processed_at"] = orders[6]["updated_at"] = "2024-03-07T23:30:00-05:00"
    export = tmp_path / "export"
    export.mkdir()
    for number, some in enumerate((orders[:4], orders[4:], []), start=1):
        text = json.dumps({"orders": some}, indent=1)
        (export / f"orders_page_{number}.json").write_text(text, encoding="utf-8")
    at_once = draft(tmp_path, export, catalog)
    path = at_once.new.folder / "source.yml"
    path.write_text(path.read_text(encoding="utf-8") + "\nreplay:\n  shopify_api_orders: {created: updated_at}\n")
    source = read_source(at_once.new.folder, catalog.entities)
    raw = tmp_path / "raw"
    replay(export, source, raw, "shopify_api_orders.updated_at", "day", date(2024, 12, 15))
    names = {
        day.name: sorted(o["name"] for file in day.glob("*.json") for o in json.loads(file.read_text())["orders"])
        for day in raw.iterdir()
        if day.name[0] != "."
    }
    assert names == {
        "2024-03-07": ["#1006"], "2024-03-08": ["#1007"], "2024-04-01": ["#1001", "#1002", "#1003", "#1004", "#1005"]
    }  # fmt: skip
    assert rows(silver(at_once.new.folder, raw, catalog)) == rows(at_once.tables)
    assert {name: len(table) for name, table in at_once.tables.items() if table} == {
        "customers": 1, "order_items": 9, "orders": 7, "payments": 5, "products": 4, "returns": 5
    }  # fmt: skip
