"""Documents of a known system that come again, changed: what a newer one lacks goes, in whatever order drops come."""

from __future__ import annotations

import json
import re
import shutil
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.scaffold.new import new_source
from ecommerce_platform_tests.scaffold.conftest import TODAY
from ecommerce_platform_tests.warehouse.exploded_shop import ExplodedShop

pytestmark = pytest.mark.long
ORDERS = Path(__file__).parent / "fixtures" / "woocommerce" / "orders.json"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> ExplodedShop:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "export").mkdir()
    shutil.copy(ORDERS, folder / "export")
    new = new_source(str(folder / "tiny"), folder / "export", catalog, TODAY, threads=2)
    text = re.sub(r"(?m)^time_zone: .*$", "time_zone: Europe/Berlin", (new.folder / "source.yml").read_text())
    mappings = {path.stem: path.read_text() for path in new.folder.glob("*.sql")}
    return ExplodedShop(folder, text, mappings)


def versions() -> list[list[dict[str, Any]]]:
    """Orders 101 and 102 as they were delivered on three days: a line more and sorted anew, then lines and refunds gone."""
    first = [order for order in json.loads(ORDERS.read_text()) if order["id"] in (101, 102)]
    second, third = deepcopy(first), deepcopy(first)
    more = {**first[0]["line_items"][0], "id": 19, "name": "Bowl", "product_id": 33, "variation_id": 0}
    second[0]["line_items"] = [more, *first[0]["line_items"]]
    third[0]["line_items"] = [more]
    third[0]["fee_lines"] = []
    third[1]["refunds"] = []
    return [first, second, third]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_lines_fees_and_refunds_that_the_newest_document_lacks_are_gone(
    shop: ExplodedShop, order: tuple[int, ...]
) -> None:
    raw = f"raw{''.join(map(str, order))}"
    with shop.connect() as con:
        for number in order:
            shop.drop(date(2024, 4, 1 + number), {"orders.json": versions()[number]}, raw)
            shop.load(con, raw)
        lines = con.execute(
            "select order_id, line_number, shipping_amount from silver.order_items order by all"
        ).fetchall()
        assert [(o, n, float(s) if s is not None else None) for o, n, s in lines] == [
            ("101", 19, 4.2), ("102", 13, 0.0), ("102", 14, None)
        ]  # fmt: skip
        assert con.execute("select count(*) from silver.returns").fetchone() == (0,)
        assert con.execute("select count(*) from silver.orders").fetchone() == (2,)
