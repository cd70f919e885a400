"""Zoe is forgotten in shops that deliver documents: nothing of her is found, and nothing else is changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.forgetting.documents import Inner, Node, Rules, paths
from ecommerce_platform.operations.forget import Forgotten, forget
from ecommerce_platform.publishing.publish import PublishOptions, publish
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.forgetting import document_shops as shops
from ecommerce_platform_tests.forgetting.traces import traces
from ecommerce_platform_tests.ingestion.workbooks import workbook

ENTITIES = ("customers", "orders", "order_items", "returns", "products")
#: What a build makes here; all else is made of these and holds nothing of a person that they do not.
BUILT = [
    *(f"silver.{e}" for e in ENTITIES),
    "silver.customer_identities",
    "silver.customers_history",
    "gold.dim_product",
]


@dataclass
class Shop:
    driver: Driver
    forgotten: Forgotten
    before: dict[str, list[tuple]]
    files: dict[str, str]
    traces: list[str]

    def query(self, sql: str) -> list[tuple]:
        with self.driver.connect() as con:
            return con.execute(sql).fetchall()

    def file(self, day: date, name: str) -> Any:
        text = (self.driver.settings.data / "raw" / day.isoformat() / name).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


def tables(driver: Driver) -> dict[str, list[tuple]]:
    with driver.connect() as con:
        found = {e: con.execute(f"select * from silver.{e} order by all").fetchall() for e in ENTITIES}
        rejects = "select _raw_table, _load_date, _source_row, reason_code from silver.rejects order by all"
        return {**found, "rejects": con.execute(rejects).fetchall()}


def forgotten_in(folder: Path, name: str) -> Shop:
    yml, mappings, drops = {
        "woo": (shops.WOO_YML, shops.WOO, shops.WOO_DROPS),
        "shopify": (shops.SHOPIFY_YML, shops.SHOPIFY, shops.SHOPIFY_DROPS),
    }[name]
    driver = Driver.of(str(shops.write_source(folder, name, yml, mappings)), folder / "data")
    data = driver.settings.data
    shops.deliver(data / "raw", drops)
    driver.build(of=BUILT)
    publish(driver.connect, driver.project.catalog, data / "published", name, PublishOptions(force=True))
    before = tables(driver)
    files = {f"{day}/{file}": text for day, found in drops.items() for file, text in found.items()}
    found = traces(data, shops.ZOES)
    done = forget(
        driver.settings, "Zoe.Quist@post.example", build=lambda: driver.build(of=BUILT), today=date(2024, 2, 1)
    )
    return Shop(driver, done, before, files, found)


@pytest.fixture(scope="module")
def woo(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return forgotten_in(tmp_path_factory.mktemp("woo"), "woo")


@pytest.fixture(scope="module")
def shopify(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return forgotten_in(tmp_path_factory.mktemp("shopify"), "shopify")


@pytest.mark.parametrize("name", ["woo", "shopify"])
def test_nothing_that_tells_who_she_is_is_left_anywhere(name: str, request: pytest.FixtureRequest) -> None:
    shop: Shop = request.getfixturevalue(name)
    assert any(found.startswith("raw/") for found in shop.traces)
    assert any("silver." in found for found in shop.traces)
    assert traces(shop.driver.settings.data, shops.ZOES) == []
    assert shop.forgotten.untouched == []
    snapshot = next((shop.driver.settings.data / "published").glob("*/silver/customers.parquet"))
    named = f"from read_parquet('{snapshot}') where email is not null or family_name is not null"
    assert shop.query(f"select count(*) {named}") == [(1,)]


@pytest.mark.parametrize("name", ["woo", "shopify"])
def test_a_second_time_there_is_nothing_to_do_and_a_new_warehouse_is_the_same(
    name: str, request: pytest.FixtureRequest
) -> None:
    shop: Shop = request.getfixturevalue(name)
    (customer,) = shop.forgotten.customer_ids
    again = forget(shop.driver.settings, customer, build=lambda: shop.driver.build(of=BUILT), today=date(2024, 2, 1))
    assert again.nothing
    assert again.values == 0
    now = tables(shop.driver)
    shop.driver.settings.warehouse.unlink()
    shop.driver.build(of=BUILT)
    assert tables(shop.driver) == now


def test_amounts_keys_and_everyone_else_stay_as_they_were(woo: Shop) -> None:
    now = tables(woo.driver)
    for entity in ("orders", "order_items", "returns", "products", "rejects"):
        assert now[entity] == woo.before[entity]
    assert ("customers", shops.FIRST, 3) in [row[:3] for row in now["rejects"]], "a birth date that is none"
    assert {entity: len(now[entity]) for entity in ENTITIES} == {
        "customers": 2, "orders": 4, "order_items": 3, "returns": 1, "products": 2
    }  # fmt: skip
    assert woo.query("select customer_id, given_name, family_name, email, phone, street, birth_date, city from silver.customers order by 1") == [
        ("7100001", None, None, None, None, None, None, "Umeå"),
        ("7100002", "Ada", "Berg", "ada@post.example", "+46 70 5550202", "Storgatan 1", date(1985, 1, 1), "Lund"),
    ]  # fmt: skip


def test_documents_keep_their_places_and_all_that_a_mapping_reads_for_what_is_harmless(woo: Shop) -> None:
    orders = woo.file(shops.FIRST, "orders.json")
    first, adas, broken = orders
    assert {key for key, value in first.items() if value is not None} == {
        "id", "status", "date_created", "customer_id", "shipping", "line_items", "refunds"
    }  # fmt: skip
    assert {k: v for k, v in first["shipping"].items() if v is not None} == {"city": "Umeå"}
    assert first["line_items"] == [
        {"id": 80010, "name": None, "product_id": 5, "quantity": 2, "price": 7.75, "meta_data": None},
        {"id": 80011, "name": None, "product_id": 6, "quantity": "two", "price": 1, "note": None},
        "forgotten", None, [], "forgotten",
    ]  # fmt: skip
    assert first["refunds"] == [{"id": 91, "reason": None, "total": "-7.75"}]
    assert (broken["line_items"], broken["refunds"]) == ({}, "forgotten")
    was = json.loads(woo.files["2024-01-01/orders.json"])
    assert adas == was[1]
    # The bytes of whoever else is in the file, and its layout, are the same.
    text = (woo.driver.settings.data / "raw/2024-01-01/orders.json").read_text(encoding="utf-8")
    between = woo.files["2024-01-01/orders.json"].partition('"id": 8002,')[2].partition('"id": 8003,')[0]
    assert between in text


def test_elements_that_were_rejected_stay_rejected_under_the_same_code(woo: Shop) -> None:
    found = woo.query("select raw_table, _load_date, line, reason_code from bronze.rejects order by all")
    assert found == [
        ("lines", shops.FIRST, 1, "not_an_object"), ("lines", shops.FIRST, 1, "not_an_object"),
        ("lines", shops.FIRST, 1, "not_an_object"), ("lines", shops.FIRST, 1, "not_an_object"),
        ("lines", shops.FIRST, 3, "not_an_array"), ("refunds", shops.FIRST, 3, "not_an_array"),
    ]  # fmt: skip


def test_her_address_goes_out_of_documents_of_nobody(woo: Shop) -> None:
    tea, cup = woo.file(shops.FIRST, "products.json")
    assert tea == {"id": 5, "name": "Tea", "meta": {"contact": [None, "shop@post.example"]}}
    assert cup == {"id": 6, "name": "Cup", "meta": None}


def test_of_a_page_only_her_orders_change_and_a_key_that_is_her_address_becomes_a_stand_in(shopify: Shop) -> None:
    pages = shopify.file(shops.FIRST, "orders_1.jsonl")
    was = [json.loads(line) for line in shopify.files["2024-01-01/orders_1.jsonl"].splitlines()]
    assert pages[1] == was[1]
    assert (pages[0]["page"], pages[0]["orders"][0]) == (1, was[0]["orders"][0])
    hers = pages[0]["orders"][1]
    mail = hers["customer"].pop("email")
    assert mail.startswith("forgotten-")
    assert hers["customer"] == {
        "id": None, "first_name": None, "last_name": None, "phone": None,
        "default_address": {"name": None, "address1": None, "city": "Umeå", "phone": None},
    }  # fmt: skip
    assert hers["refunds"] == [
        {"id": None, "created_at": "2024-01-01T12:00:00", "note": None, "refund_line_items": [
            {"id": 900007, "quantity": 1, "subtotal": 7.75, "line_item": None}]}
    ]  # fmt: skip
    assert hers["line_items"][1] == {"id": 90000101, "sku": "C6", "quantity": 1, "price": "3", "properties": None}
    now = tables(shopify.driver)
    assert now["order_items"] == shopify.before["order_items"]
    assert now["returns"] == shopify.before["returns"]
    assert {row[0] for row in shopify.query("select customer_id from silver.orders where order_id = '900001'")} == {
        mail
    }


def test_elements_in_arrays_of_nobodys_records_are_refused_where_nothing_tells_their_place(tmp_path: Path) -> None:
    yml = shops.SHOPIFY_YML.partition("  lines:")[0].replace(
        "  orders: {explode: pages.orders", '  orders: {explode: "pages.shops[].orders"'
    )
    yml = yml.partition("units:")[0] + "tables:" + yml.partition("tables:")[2]
    mappings = {k: v for k, v in shops.SHOPIFY.items() if k.endswith(".orders")}
    driver = Driver.of(str(shops.write_source(tmp_path, "shopify", yml, mappings)), tmp_path / "data")
    order = json.dumps({"shops": [{"orders": [shops._ZOES_ORDER]}]})
    shops.deliver(driver.settings.data / "raw", {shops.FIRST: {"orders_1.jsonl": order + "\n"}})
    driver.build(of=BUILT)
    with pytest.raises(InputError, match="array of arrays") as refused:
        forget(driver.settings, "zoe.quist@post.example", build=lambda: None)
    assert "record 1" in str(refused.value)
    assert (driver.settings.data / "raw/2024-01-01/orders_1.jsonl").read_text() == order + "\n"


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("as_text(c->>'$.a.b')", {("c", "a", "b"): "value"}),
        ("c->'a'->>'b'", {("c", "a", "b"): "value"}),
        ("json_extract_string(C, '/a/b~1c')", {("c", "a", "b/c"): "value"}),
        ("c->>'$.a[0].b'", {("c", "a", 0, "b"): "value"}),
        ("c->'$[*].price'", {("c", None, "price"): "value"}),
        ("cast(c as json)->>'$.\"a b\"'", {("c", "a b"): "value"}),
        ("json_array_length(c)", {("c",): "shape"}),
        ("c is not null", {("c",): "shape"}),
        ("c is not null and c = 'x'", {("c",): "value"}),
        ("json_transform(c, '{}')", {("c",): "opaque"}),
        ("c->>k", {("c",): "opaque", ("k",): "value"}),
        ("c->>'$.a[#-1]'", {("c",): "opaque"}),
        ("_load_date || x", {("x",): "value"}),
        ("as_decimal_sum(c, '$[*]', '$.a.b')", {("c",): "array", ("c", None, "a", "b"): "value"}),
        (
            "as_decimal_sum(c->>'$.x', '$[*].y[*]', '$.a', '{\"kind\": \"refund\", \"by\": {\"z\": 1}}')",
            {
                ("c", "x"): "array",
                ("c", "x", None, "y"): "array",
                ("c", "x", None, "y", None, "a"): "value",
                ("c", "x", None, "y", None, "kind"): "value",
                ("c", "x", None, "y", None, "by", "z"): "value",
            },
        ),
        ("as_decimal_sum(c, '$.a[#-1]', '$.a')", {("c",): "opaque"}),
        ("as_decimal_sum(c, way, '$.a')", {("c",): "opaque", ("way",): "value"}),
    ],
)
def test_the_ways_on_which_an_expression_reads_documents(sql: str, found: dict) -> None:
    assert paths(sql, ("_load_date",)) == found


def _changed(text: str, *kept: tuple, shape: tuple = (), **rules: Any) -> str:
    tree = Node()
    for way in kept:
        tree.at(way).kept = True
    if shape:
        tree.at(shape).shape = True
    return Inner(tree.at(("c",)), "c", Rules(True, lambda node, value: value, **rules)).changed(text)


@pytest.mark.parametrize(
    ("text", "kept", "becomes"),
    [
        ('{"a": 1, "b" : "x" }', [("c", "a")], '{"a": 1, "b" : null }'),
        ('{"a":{"b":[1,{"d":2}]}, "e":[]}', [("c", "a", "b")], '{"a":{"b":[1,{"d":2}]}, "e":null}'),
        ('[{"a": "1", "b": 2}, {"a": null}, "x"]', [("c", None, "a")], '[{"a": "1", "b": null}, {"a": null}, null]'),
        ('[{"a": 1}, {"a": 2}]', [("c", 0, "a")], '[{"a": 1}, null]'),
        ('{"a": {"b": 1}}', [("c", "a", "b", "d")], '{"a": {"b": null}}'),
        ('{"A": 1, "a": 2, "\\u0061b": 3}', [("c", "a"), ("c", "ab")], '{"A": null, "a": 2, "\\u0061b": 3}'),
        ('{"a": 1, "a": "x"}', [("c", "b")], '{"a": null, "a": null}'),
    ],
)
def test_of_a_document_only_what_is_named_stays(text: str, kept: list[tuple], becomes: str) -> None:
    assert _changed(text, *kept) == becomes
    assert _changed(becomes, *kept) == becomes


def test_what_is_only_counted_keeps_its_shape_and_what_did_not_convert_becomes_the_marker() -> None:
    assert _changed('[{"a": 1}, "x"]', shape=("c",)) == "[null, null]"
    assert _changed(
        '{"a": "1990-02-31", "b": "1990-02-31", "d": 1}', ("c", "d"), marked={(("c", "a"), "1990-02-31")}
    ) == ('{"a": "forgotten", "b": null, "d": 1}')
    with pytest.raises(ValueError, match="more than one"):
        _changed('{"a": 1} {"b": 2}', ("c", "a"))


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ('[{"p": "1.00", "q": "x"}, "x", null]', '[{"p": "1.00", "q": null}, null, null]'),
        ('{"p": "1.00"}', "{}"),
        ('"see Quist"', "[]"),
        ("[]", "[]"),
        ("null", "null"),
    ],
)
def test_of_an_array_that_is_added_up_only_the_amounts_stay_and_it_stays_one(text: str, becomes: str) -> None:
    tree = Node()
    tree.at(("c",)).array = True
    tree.at(("c", None, "p")).kept = True
    inner = Inner(tree.at(("c",)), "c", Rules(True, lambda node, value: value))
    assert inner.changed(text) == becomes
    assert inner.changed(becomes) == becomes


def test_a_person_in_a_workbook_is_refused_by_name_before_anything_changes(tmp_path: Path) -> None:
    yml = shops.WOO_YML.partition("units:")[0] + (
        "tables:\n  customers: {files: ['shop*.xlsx'], format: xlsx, sheet: People, description: Accounts.}\n"
    )
    select = "select as_text(id) as customer_id, as_text(mail) as email"
    driver = Driver.of(
        str(shops.write_source(tmp_path, "books", yml, {"customers.customers": select})), tmp_path / "data"
    )
    file = driver.settings.data / "raw" / shops.FIRST.isoformat() / "shop.xlsx"
    file.parent.mkdir(parents=True)
    content = workbook({"People": [["id", "mail"], ["c-100001", "zoe@work.example"], ["c-100002", "ada@post.example"]]})
    file.write_bytes(content)
    driver.build(of=["silver.customers", "silver.customer_identities"])
    with pytest.raises(InputError, match="stand in a workbook") as refused:
        forget(driver.settings, "zoe@work.example", build=lambda: None)
    assert "2024-01-01/shop.xlsx" in str(refused.value)
    assert file.read_bytes() == content
