"""How much of the exports we know is guessed without help: held against the mappings that were written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.source import builtin_sources
from ecommerce_platform.scaffold.check import check_source
from ecommerce_platform.scaffold.new import NewSource, new_source
from ecommerce_platform.simulation import generate_shop
from ecommerce_platform_tests.scaffold.conftest import TODAY

pytestmark = pytest.mark.shops

Said = dict[tuple[str, str], set[str]]


def said(folder: Path) -> Said:
    """(Entity, canonical column) → the raw columns that fill it, or the constant that does, over all mappings."""
    result: Said = {}
    for path in sorted(folder.glob("*.sql")):
        tree = sqlglot.parse_one(path.read_text(encoding="utf-8"), dialect="duckdb")
        for selected in tree.expressions:
            body = selected.this
            raw = {c.name.lower() for c in body.find_all(exp.Column)} - {"_load_date", "_source_file", "_source_row"}
            text = ", ".join(sorted(raw)) or body.sql(dialect="duckdb").lower()
            result.setdefault((path.name.split(".")[0], selected.alias), set()).add(text)
    return result


def drafted(folder: Path, export: Path, catalog: Catalog) -> NewSource:
    return new_source(str(folder / "drafted"), export, catalog, TODAY, threads=2)


def right(mine: Said, truth: Said) -> set[tuple[str, str]]:
    return {column for column, by_hand in truth.items() if by_hand & mine.get(column, set())}


@pytest.mark.long
def test_of_olist_all_but_what_no_file_says_is_guessed(tmp_path: Path, catalog: Catalog, test_data: Path) -> None:
    new = drafted(tmp_path, test_data / "olist", catalog)
    truth, mine = said(builtin_sources()["olist"]), said(new.folder)
    assert truth.keys() - right(mine, truth) == {("customers", "country"), ("postal_codes", "region")}
    assert mine.keys() <= truth.keys(), "nothing is filled that should not be"
    assert new.open == (("source.yml", "currency"), ("source.yml", "time_zone"))


#: What is said of the two smaller exports: the raw columns of every canonical column that stands for itself.
MARKETPLACE: Said = {
    ("customers", "customer_id"): {"id"}, ("customers", "registered_at"): {"registered_date"},
    ("labels", "code"): {"id"}, ("labels", "label"): {"payment_method"}, ("labels", "domain"): {"'payment_method'"},
    ("order_items", "order_id"): {"id"}, ("order_items", "product_id"): {"sku_id"},
    ("order_items", "quantity"): {"qty_ordered"}, ("order_items", "unit_price"): {"price"},
    ("order_items", "discount_amount"): {"discount_amount"}, ("order_items", "is_valid"): {"is_valid"},
    ("orders", "order_id"): {"id"}, ("orders", "customer_id"): {"customer_id"}, ("orders", "ordered_at"): {"order_date"},
    ("orders", "is_valid"): {"is_valid"},
    ("payments", "order_id"): {"id"}, ("payments", "method"): {"payment_id"},
    ("payments", "amount"): {"discount_amount, price, qty_ordered"},
    ("products", "product_id"): {"id"}, ("products", "name"): {"sku_name"}, ("products", "category"): {"category"},
    ("products", "list_price"): {"base_price"}, ("products", "unit_cost"): {"cogs"},
}  # fmt: skip
RETAILER: Said = {
    ("customers", "customer_id"): {"customer_id"}, ("customers", "postal_code"): {"order_postal"},
    ("customers", "city"): {"order_city"}, ("customers", "state"): {"order_state"},
    ("customers", "latitude"): {"latitude"}, ("customers", "longitude"): {"longitude"},
    ("labels", "domain"): {"'state'"}, ("labels", "code"): {"order_state"}, ("labels", "label"): {"state"},
    ("order_items", "order_id"): {"invoice_no"}, ("order_items", "product_id"): {"stock_code"},
    ("order_items", "quantity"): {"quantity"}, ("order_items", "unit_price"): {"unit_price"},
    ("orders", "order_id"): {"invoice_no"}, ("orders", "customer_id"): {"customer_id"},
    ("orders", "ordered_at"): {"transaction_date"},
    ("products", "product_id"): {"stock_code"}, ("products", "name"): {"description"},
    ("products", "category"): {"category"}, ("products", "unit_cost"): {"landed_cost"}, ("products", "weight"): {"weight"},
}  # fmt: skip


@pytest.mark.parametrize(("export", "truth"), [("marketplace", MARKETPLACE), ("pet_retail", RETAILER)])
def test_of_the_smaller_exports_every_column_that_stands_for_itself_is_guessed(
    tmp_path: Path, catalog: Catalog, test_data: Path, export: str, truth: Said
) -> None:
    new = drafted(tmp_path, test_data / export, catalog)
    assert truth.keys() == right(said(new.folder), truth)
    assert all(file == "source.yml" for file, _ in new.open), "no required column is left open"
    path = new.folder / "source.yml"
    path.write_text(path.read_text().replace('currency: "?"', "currency: USD").replace('zone: "?"', "zone: UTC"))
    report = check_source(new.folder, catalog, test_data / export, TODAY, threads=2)
    assert report.of("definition") == []
    used = {table: (landed, rejected) for table, landed, _, _, rejected in report.accounting}
    assert used == (
        {"customer_detail": (3998, 0), "order_detail": (5884, 0), "sku_detail": (3206, 0), "payment_detail": (16, 0)}
        if export == "marketplace"
        else {"customer": (4372, 0), "product": (20, 0), "sale": (25065, 661), "state": (192, 0)}
    )


def test_of_the_generated_shop_nearly_every_column_is_guessed(tmp_path: Path, catalog: Catalog) -> None:
    generate_shop(tmp_path / "data", orders=800, days=20, seed=3, dirty_share=0.002)
    new = drafted(tmp_path, tmp_path / "data" / "raw", catalog)
    truth, mine = said(builtin_sources()["synthetic"]), said(new.folder)
    truth = {c: by_hand for c, by_hand in truth.items() if c[0] in catalog.entities}
    assert len(right(mine, truth)) >= 0.93 * len(truth), truth.keys() - right(mine, truth)
