"""Zoe is forgotten in shops that were drafted from Shopify's and WooCommerce's documents, no line of the mappings by hand.

The documents are those of the fixtures, hard cases and all: every second order is hers, and she is written into each place
where the vendors' interfaces put what a customer or the staff typed, also into those that no mapping names.
"""

from __future__ import annotations

import copy
import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.operations.forget import Forgotten, forget
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.publishing.publish import PublishOptions, publish
from ecommerce_platform.scaffold.new import new_source
from ecommerce_platform.settings import read_settings
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.forgetting.traces import traces
from ecommerce_platform_tests.scaffold.conftest import TODAY

pytestmark = pytest.mark.long

FIXTURES = Path(__file__).parent.parent / "scaffold" / "systems" / "fixtures"
FIRST, SECOND = date(2024, 5, 1), date(2024, 5, 2)
MAIL = "zoe.quist@post.example"
#: All that tells who Zoe is.
ZOES = (MAIL, "Quist", "+46 70 5550101", "Björkgatan 7", "ring the upper bell", "for Zoe from Olle", "198.51.100.77")
FIGURES = ("gold.kpi_summary", "gold.fct_orders", "gold.fct_order_items", "gold.fct_payments", "gold.fct_returns")
BUILT = (*FIGURES, "silver.customers", "silver.customers_history", "silver.row_accounting")
#: Of the persons themselves, which are counted anew: her key, made of her address, goes with it.
PERSONS = re.compile(r"customer|person|^is_first_|_source_row|^order_number$|previous")


def _person(name: str, family: str, mail: str, street: str, phone: str, words: str) -> dict[str, Any]:
    return {"name": name, "family": family, "mail": mail, "street": street, "phone": phone, "words": words}


ZOE = _person("Zoe", "Quist", MAIL, "Björkgatan 7", "+46 70 5550101", "ring the upper bell")
ADA = _person("Ada", "Berg", "ada@post.example", "Storgatan 1", "+46 70 5550202", "leave it at the door")


def shopify(order: dict[str, Any], who: dict[str, Any]) -> dict[str, Any]:
    """An order of the Admin API with a person in it."""
    named = {"first_name": who["name"], "last_name": who["family"], "phone": who["phone"]}
    address = {**named, "name": f"{who['name']} {who['family']}", "address1": who["street"], "city": "Umeå", "zip": "90320",
               "province_code": None, "country_code": "SE", "latitude": 63.8258471}  # fmt: skip
    number = 700001 if who is ZOE else 700002
    order |= {
        "email": who["mail"], "contact_email": who["mail"], "phone": who["phone"], "note": who["words"],
        "customer": {"id": number, "email": who["mail"], **named, "default_address": address},
        "billing_address": address, "shipping_address": address,
        "client_details": {"browser_ip": "198.51.100.77" if who is ZOE else None},
        "note_attributes": [{"name": "door", "value": who["words"]}],
        "payment_details": {"credit_card_name": f"{who['name']} {who['family']}"},
    }  # fmt: skip
    for line in order["line_items"]:
        line["properties"] = [{"name": "card", "value": f"for {who['name']} from Olle"}]
        line["tax_lines"] = [{**tax, "channel": {"asked_by": who["mail"]}} for tax in line["tax_lines"]]
    for sent in order["shipping_lines"]:
        sent |= {"phone": who["phone"], "delivered_to": who["family"]}
    for refund in order["refunds"]:
        refund["note"] = f"{who['family']} sent it back"
        for paid in refund.get("transactions", []):
            paid["receipt"] = {"payer": {"email": who["mail"]}}
    return order


def woo(order: dict[str, Any], who: dict[str, Any]) -> dict[str, Any]:
    """An order of the REST API with a person in it."""
    address = _woo_address(who)
    order |= {
        "billing": address, "shipping": {**address, "company": who["family"]}, "customer_note": who["words"],
        "customer_ip_address": "198.51.100.77" if who is ZOE else "", "customer_id": 7 if who is ZOE else 0,
        "meta_data": [{"id": 1, "key": "_gift", "value": {"to": who["family"]}}],
    }  # fmt: skip
    for line in [*order["line_items"], *order["fee_lines"]]:
        line["meta_data"] = [{"id": 2, "key": "card", "value": f"for {who['name']} from Olle"}]
    for refund in order["refunds"]:
        refund["reason"] = f"{who['family']} sent it back"
    return order


def _woo_address(who: dict[str, Any]) -> dict[str, Any]:
    return {
        "first_name": who["name"], "last_name": who["family"], "company": "", "address_1": who["street"], "address_2": "",
        "city": "Umeå", "state": "", "postcode": "90320", "country": "SE", "email": who["mail"], "phone": who["phone"],
    }  # fmt: skip


def _shared_out(orders: list[dict[str, Any]], made: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    return [made(copy.deepcopy(order), (ZOE, ADA)[place % 2]) for place, order in enumerate(orders)]


def shopify_drops() -> dict[date, dict[str, str | bytes]]:
    orders = json.loads((FIXTURES / "shopify-api" / "api_orders.json").read_text(encoding="utf-8"))["orders"]
    made = _shared_out(orders, shopify)
    return {
        FIRST: {"api_orders.json": json.dumps({"orders": made}, indent=1, ensure_ascii=False)},
        SECOND: {"api_orders.json": json.dumps({"orders": made[1:3][::-1]}, ensure_ascii=False)},
    }


def woo_drops() -> dict[date, dict[str, str | bytes]]:
    folder = FIXTURES / "woocommerce"
    orders = _shared_out(json.loads((folder / "orders.json").read_text(encoding="utf-8")), woo)
    (account,) = json.loads((folder / "customers.json").read_text(encoding="utf-8"))
    account |= {"email": MAIL, "first_name": "Zoe", "last_name": "Quist", "username": "zoequist",
                "billing": _woo_address(ZOE), "avatar_url": f"https://pictures.example/{MAIL}"}  # fmt: skip
    refunds = json.loads((folder / "refunds.json").read_text(encoding="utf-8"))
    hers = {order["id"] for order in orders if order["customer_id"] == 7}
    for refund in refunds:
        refund["reason"] = f"{'Quist' if refund['parent_id'] in hers else 'Berg'} sent it back"
    first: dict[str, str | bytes] = {
        "orders.json": json.dumps(orders, indent=1, ensure_ascii=False),
        "customers.json": json.dumps([account], ensure_ascii=False),
        "refunds.json": json.dumps(refunds),
        "products.json": (folder / "products.json").read_text(encoding="utf-8"),
    }
    packed = gzip.compress(json.dumps(orders[1:4][::-1], ensure_ascii=False).encode(), mtime=0)
    return {FIRST: first, SECOND: {"orders.json.gz": packed}}


@dataclass
class Shop:
    driver: Driver
    forgotten: Forgotten
    before: dict[str, list[tuple]]
    drops: dict[date, dict[str, str | bytes]]
    traces: list[str]


def drafted(folder: Path, drops: dict[date, dict[str, str | bytes]]) -> Driver:
    """A source drafted from the first drop, and the drops landed."""
    data = folder / "data"
    for day, files in drops.items():
        (data / "raw" / day.isoformat()).mkdir(parents=True)
        for name, content in files.items():
            content = content.encode() if isinstance(content, str) else content
            (data / "raw" / day.isoformat() / name).write_bytes(content)
    catalog = read_project(read_settings(source="synthetic", data_dir=folder / "none")).catalog
    new = new_source(str(folder / "mine"), data / "raw" / FIRST.isoformat(), catalog, TODAY, threads=2)
    path = new.folder / "source.yml"
    text = re.sub(r"(?m)^currency: .*$", "currency: EUR", path.read_text(encoding="utf-8"))
    path.write_text(re.sub(r"(?m)^time_zone: .*$", "time_zone: Europe/Berlin", text), encoding="utf-8")
    return Driver.of(str(new.folder), data)


def tables(driver: Driver, *, persons: bool) -> dict[str, list[tuple]]:
    """All rows of what is built; without what counts persons, if they are not meant."""
    found = {}
    with driver.connect() as con:
        for table in BUILT:
            columns = [c for c, *_ in con.execute(f"describe {table}").fetchall() if persons or not PERSONS.search(c)]
            if persons or table in (*FIGURES, "silver.row_accounting"):
                names = ", ".join(f'"{c}"' for c in columns)
                found[table] = con.execute(f"select {names} from {table} order by all").fetchall()
    return found


@pytest.fixture(scope="module", params=[shopify_drops, woo_drops], ids=["shopify", "woocommerce"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    drops = request.param()
    driver = drafted(tmp_path_factory.mktemp("drafted"), drops)
    driver.build(of=BUILT)
    data = driver.settings.data
    publish(driver.connect, driver.project.catalog, data / "published", "mine", PublishOptions(force=True))
    before, found = tables(driver, persons=False), traces(data, ZOES)
    done = forget(driver.settings, MAIL, build=lambda: driver.build(of=BUILT), today=date(2024, 6, 1))
    return Shop(driver, done, before, drops, found)


def test_no_byte_of_her_is_left_anywhere(shop: Shop) -> None:
    for place in ("raw/", "bronze.", "silver."):
        assert any(place in found for found in shop.traces), place
    assert traces(shop.driver.settings.data, ZOES) == []
    assert shop.forgotten.untouched == []


def test_every_figure_is_the_same_to_the_cent(shop: Shop) -> None:
    assert all(shop.before[table] for table in FIGURES)
    assert tables(shop.driver, persons=False) == shop.before


def test_everyone_else_is_as_before_to_the_byte(shop: Shop) -> None:
    with shop.driver.connect() as con:
        known = con.execute("select email, family_name, phone, street from silver.customers order by email").fetchall()
    assert known == [("ada@post.example", "Berg", "+46 70 5550202", "Storgatan 1"), (None, None, None, None)]
    for day, files in shop.drops.items():
        for name, was in files.items():
            now = (shop.driver.settings.data / "raw" / day.isoformat() / name).read_bytes()
            was = was.encode() if isinstance(was, str) else was
            if name.endswith(".gz"):
                now, was = gzip.decompress(now), gzip.decompress(was)
            for mine, theirs in zip(_orders(now), _orders(was), strict=True):
                assert (mine == theirs) is ("Quist" not in theirs)


def _orders(data: bytes) -> list[str]:
    """The records of a file as text, in its order."""
    document = json.loads(data)
    records = document["orders"] if isinstance(document, dict) else document
    return [json.dumps(record, ensure_ascii=False) for record in records]


def test_what_is_built_anew_from_the_drops_is_the_same(shop: Shop) -> None:
    now = tables(shop.driver, persons=True)
    again = shop.driver.at(shop.driver.settings.data)
    shop.driver.settings.warehouse.unlink()
    again.build(of=BUILT)
    assert tables(again, persons=True) == now
