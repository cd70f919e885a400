"""Histories on hand-made drops: which versions there are, and from when to when each held."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.errors import DefinitionError, InputError
from ecommerce_platform.silver.entities import EntityLoad, load_entity
from ecommerce_platform.silver.history import load_history
from ecommerce_platform.warehouse.contract_checks import BlockedError, check_table
from ecommerce_platform.warehouse.sql_lint import lint_sql
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.warehouse.shop import MAPPINGS, SOURCE_YML, TinyShop, account, day, deliver, deliver_files


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return TinyShop(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def con(shop: TinyShop) -> duckdb.DuckDBPyConnection:
    return shop.connect()


def load(shop: TinyShop, con: duckdb.DuckDBPyConnection, entity: str, **options) -> EntityLoad:
    load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity], **options)
    return load_history(con, shop.catalog, history(shop, entity), shop.compiled[entity], **options)


def history(shop: TinyShop, entity: str) -> Contract:
    return shop.catalog.contract(f"silver.{entity}_history")


def products(con: duckdb.DuckDBPyConnection) -> list[tuple]:
    """(product, name, version, first day, end, current), days as numbers."""
    return _shown(con, "product_id, name", "products")


def customers(con: duckdb.DuckDBPyConnection) -> list[tuple]:
    return _shown(con, "customer_id, email", "customers")


def _shown(con: duckdb.DuckDBPyConnection, columns: str, entity: str) -> list[tuple]:
    return con.execute(
        f"select {columns}, version, valid_from - date '2024-01-01', valid_to - date '2024-01-01', is_current "
        f"from silver.{entity}_history order by 1, version"
    ).fetchall()


def test_of_two_files_of_one_load_the_last_by_name_says_the_version(shop, con) -> None:
    for number, files in enumerate((("b", "a"), ("a", "b"))):
        deliver_files(con, "products", day(number), {f"{f}.csv": [("1", f"{f}{number}", "1")] for f in files})
        load(shop, con, "products")
    assert products(con) == [("1", "b0", 1, 0, 1, False), ("1", "b1", 2, 1, None, True)]


THREE = {0: "a@x", 1: "b@x", 3: "a@x"}
THREE_VERSIONS = [
    ("crm-1", "a@x", 1, 0, 1, False),
    ("crm-1", "b@x", 2, 1, 3, False),
    ("crm-1", "a@x", 3, 3, None, True),
]


def test_a_change_closes_a_version_and_opens_the_next_and_changing_back_is_a_version_too(shop, con) -> None:
    for number, mail in THREE.items():
        deliver(con, "crm", day(number), [("1", mail)])
        load(shop, con, "customers")
    assert customers(con) == THREE_VERSIONS


@pytest.mark.parametrize("order", [(3, 1, 0), (1, 3, 0), (0, 3, 1), (3, 0, 1)])
def test_late_loads_in_the_middle_or_before_all_give_the_same_versions(shop, con, order) -> None:
    for number in order:
        deliver(con, "crm", day(number), [("1", THREE[number])])
        load(shop, con, "customers")
    assert customers(con) == THREE_VERSIONS


def test_equal_values_on_later_days_are_the_same_version_with_the_provenance_of_the_first(shop, con) -> None:
    for number in (0, 1, 2):
        deliver(con, "crm", day(number), [("9", "z@x"), ("1", "a@x")][-1 - number % 2 :])
        load(shop, con, "customers")
    assert customers(con)[0] == ("crm-1", "a@x", 1, 0, None, True)
    found = con.execute(
        "select _load_date, _raw_table, _source_row from silver.customers_history where customer_id = 'crm-1'"
    ).fetchall()
    assert found == [(day(0), "crm", 1)]


def test_a_repeated_load_changes_nothing(shop, con) -> None:
    for number, mail in THREE.items():
        deliver(con, "crm", day(number), [("1", mail)])
    load(shop, con, "customers")
    for options in ({}, {"again": [day(1)]}, {"again": [day(3)]}):
        loaded = load(shop, con, "customers", **options)
        assert (loaded.inserted, loaded.updated, loaded.deleted) == (0, 0, 0)
    assert customers(con) == THREE_VERSIONS


def test_a_new_day_only_closes_and_opens(shop, con) -> None:
    deliver(con, "crm", day(0), [("1", "a@x"), ("2", "a@x"), ("3", "a@x")])
    load(shop, con, "customers")
    deliver(con, "crm", day(1), [("1", "b@x"), ("2", "a@x"), ("4", "a@x")])
    loaded = load(shop, con, "customers")
    assert (loaded.rows, loaded.inserted, loaded.updated, loaded.deleted) == (5, 2, 1, 0)
    assert loaded.loads[("crm", day(1))].accepted == 3


def test_within_a_load_the_last_row_is_the_version(shop, con) -> None:
    deliver(con, "crm", day(0), [("1", "a@x"), ("1", "b@x")])
    load(shop, con, "customers")
    assert customers(con) == [("crm-1", "b@x", 1, 0, None, True)]


def test_a_corrected_load_rewrites_the_versions_it_touches(shop, con) -> None:
    for number, mail in THREE.items():
        deliver(con, "crm", day(number), [("1", mail), ("2", "same@x")])
    load(shop, con, "customers")
    deliver(con, "crm", day(1), [("1", "a@x")])
    loaded = load(shop, con, "customers")
    assert customers(con) == [("crm-1", "a@x", 1, 0, None, True), ("crm-2", "same@x", 1, 0, None, True)]
    assert (loaded.inserted, loaded.updated, loaded.deleted) == (0, 1, 2)


def test_a_removed_load_takes_its_versions_away(shop, con) -> None:
    for number, mail in THREE.items():
        deliver(con, "crm", day(number), [("1", mail)])
    load(shop, con, "customers")
    deliver(con, "crm", day(3), None)
    load(shop, con, "customers")
    assert customers(con) == [("crm-1", "a@x", 1, 0, 1, False), ("crm-1", "b@x", 2, 1, None, True)]
    deliver(con, "crm", day(0), None)
    deliver(con, "crm", day(1), None)
    load(shop, con, "customers")
    assert customers(con) == []


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_key_that_a_full_delivery_lacks_ends_and_may_come_back_as_a_new_version(shop, con, order, at_once) -> None:
    catalogues = {0: [("a", "n", "1"), ("b", "n", "1")], 1: [("b", "n", "1")], 2: [("b", "n", "1")],
                  3: [("a", "n", "1"), ("b", "m", "1")]}  # fmt: skip
    for number in order:
        deliver(con, "products", day(number), catalogues[number])
        if not at_once:
            load(shop, con, "products")
    load(shop, con, "products")
    assert products(con) == [
        ("a", "n", 1, 0, 1, False), ("a", "n", 2, 3, None, True),
        ("b", "n", 1, 0, 3, False), ("b", "m", 2, 3, None, True),
    ]  # fmt: skip


def test_a_late_full_delivery_ends_what_it_lacks(shop, con) -> None:
    for number in (0, 4):
        deliver(con, "products", day(number), [("a", "n", "1"), ("b", "n", "1")])
    load(shop, con, "products")
    deliver(con, "products", day(2), [("b", "n", "1")])
    load(shop, con, "products")
    assert products(con) == [
        ("a", "n", 1, 0, 2, False), ("a", "n", 2, 4, None, True), ("b", "n", 1, 0, None, True),
    ]  # fmt: skip
    deliver(con, "products", day(2), None)
    load(shop, con, "products")
    assert products(con) == [("a", "n", 1, 0, None, True), ("b", "n", 1, 0, None, True)]


def test_a_key_whose_row_was_rejected_is_not_lacking(shop, con) -> None:
    for number, price in enumerate(("1", "cheap", "2")):
        deliver(con, "products", day(number), [("a", "n", price), ("b", "n", "1")])
        load(shop, con, "products")
    assert products(con)[:2] == [("a", "n", 1, 0, 2, False), ("a", "n", 2, 2, None, True)]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_rejected_row_of_a_key_that_had_ended_brings_its_last_values_back_as_in_silver(shop, con, at_once) -> None:
    for number, rows in enumerate(([("a", "n", "1")], [("b", "n", "1")], [("a", "m", "cheap"), ("b", "n", "1")])):
        deliver(con, "products", day(number), rows)
        if not at_once:
            load(shop, con, "products")
    load(shop, con, "products")
    assert products(con)[:2] == [("a", "n", 1, 0, 1, False), ("a", "n", 2, 2, None, True)]
    assert con.execute("select name from silver.products where product_id = 'a'").fetchall() == [("n",)]


def test_a_full_delivery_without_usable_row_says_nothing(shop, con) -> None:
    deliver(con, "products", day(0), [("a", "n", "1")])
    load(shop, con, "products")
    for rows in ([("a", "n", "cheap")], []):
        deliver(con, "products", day(1), rows)
        load(shop, con, "products")
        assert products(con) == [("a", "n", 1, 0, None, True)]


def test_a_rejected_row_of_a_delta_is_no_version(shop, con) -> None:
    deliver(con, "crm", day(0), [("1", "a@x"), (None, "b@x")])
    load(shop, con, "customers")
    assert customers(con) == [("crm-1", "a@x", 1, 0, None, True)]


def test_two_systems_keep_to_their_own_keys(shop, con) -> None:
    deliver(con, "crm", day(0), [("1", "a@x")])
    deliver(con, "web", day(0), [("1", "a@x")])
    load(shop, con, "customers")
    deliver(con, "web", day(1), [("1", "b@x")])
    load(shop, con, "customers")
    deliver(con, "crm", day(0), None)
    load(shop, con, "customers")
    assert customers(con) == [("web-1", "a@x", 1, 0, 1, False), ("web-1", "b@x", 2, 1, None, True)]


def test_what_the_entity_has_not_taken_over_is_not_there_yet(shop, con) -> None:
    deliver(con, "crm", day(0), [("1", "a@x")])
    load(shop, con, "customers")
    deliver(con, "crm", day(1), [("1", "b@x")])
    load_history(con, shop.catalog, history(shop, "customers"), shop.compiled["customers"])
    assert customers(con) == [("crm-1", "a@x", 1, 0, None, True)]
    load(shop, con, "customers")
    assert len(customers(con)) == 2


def test_a_changed_mapping_asks_for_the_entity_first_and_then_rebuilds(tmp_path: Path, shop, con) -> None:
    deliver(con, "crm", day(0), [("1", "a@x")])
    load(shop, con, "customers")
    changed = TinyShop(
        tmp_path, {**MAPPINGS, "customers.crm": MAPPINGS["customers.crm"].replace("as_text(mail)", "upper(as_text(mail))")}
    )  # fmt: skip
    with pytest.raises(InputError, match=r"build silver\.customers first"):
        load_history(con, changed.catalog, history(changed, "customers"), changed.compiled["customers"])
    load(changed, con, "customers")
    assert customers(con) == [("crm-1", "A@X", 1, 0, None, True)]


def test_an_entity_without_mappings_has_an_empty_history(shop, con) -> None:
    loaded = load_history(con, shop.catalog, history(shop, "customers"), [])
    assert (loaded.rows, [c.passed for c in loaded.checks]) == (0, [True] * 4)


def test_a_mapping_that_replaces_units_is_refused(tmp_path: Path) -> None:
    shop = TinyShop(
        tmp_path, source_yml=SOURCE_YML.replace("units:\n", "units:\n  products.products: [name]\n")
    )  # fmt: skip
    with pytest.raises(DefinitionError, match="replaced unit by unit"):
        load_history(shop.connect(), shop.catalog, history(shop, "products"), shop.compiled["products"])


def test_the_row_accounting_counts_the_entity_alone(shop, con) -> None:
    for number in (0, 1):
        deliver(con, "products", day(number), [("a", "n", "1"), ("b", str(number), "1")])
    for entity in shop.filled:
        load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity])
    load(shop, con, "products")
    account(shop, con)
    found = con.execute(
        "select _load_date, rows_used, rows_superseded from silver.row_accounting order by 1"
    ).fetchall()
    assert found == [(day(0), 0, 2), (day(1), 2, 0)]


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("update silver.customers_history set valid_to = valid_from where version = 1", "versions_last_at_least_a_day"),
        ("update silver.customers_history set is_current = true", "one_current_version"),
        ("update silver.customers_history set version = 5 where version = 2", "versions_follow_one_another"),
        ("update silver.customers_history set valid_to = date '2024-01-03' where version = 1", "versions_follow"),
        ("insert into silver.customers_history from silver.customers_history", "unique key"),
    ],
)
def test_the_checks_find_damaged_histories(shop, con, damage: str, check: str) -> None:
    for number, mail in THREE.items():
        deliver(con, "crm", day(number), [("1", mail)])
    load(shop, con, "customers")
    con.execute(damage)
    with pytest.raises(BlockedError, match=check):
        check_table(con, history(shop, "customers"))


# -- the documented query ----------------------------------------------------------------------------------------


def test_the_documented_query_joins_the_version_valid_at_the_time(tmp_path: Path) -> None:
    (query,) = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "history.md").read_text(encoding="utf-8"), re.DOTALL)
    assert lint_sql(query) == []
    shop = TinyShop(
        tmp_path,
        {
            **MAPPINGS,
            "products.products": "select as_text(id) as product_id, as_text(name) as category, "
            "as_decimal(price) as list_price from bronze.tiny__products",
            "customers.crm": "select as_text(id) as customer_id, as_text(mail) as city from bronze.tiny__crm",
        },
    )
    con = shop.connect()
    deliver(con, "products", day(10), [("p", "toys", "10"), ("q", "toys", "5")])
    deliver(con, "products", day(20), [("p", "games", "12")])
    deliver(con, "crm", day(5), [("c", "Berlin")])
    deliver(con, "crm", day(15), [("c", "Hamburg")])
    for entity in ("products", "customers"):
        load(shop, con, entity)
    con.execute(create_table_sql(shop.catalog.contract("gold.fct_order_items")))
    sold: list[tuple[int, str, str, date | None]] = [
        (1, "p", "c", day(0)),  # before anything is known: the first versions
        (2, "p", "c", day(14)),
        (3, "p", "c", day(15)),  # on the day of a change: the new version
        (4, "q", "c", day(25)),  # after the product left the catalogue: its last version
        (5, "r", "d", day(25)),  # unknown product and customer: the line stays
        (6, "p", "c", None),  # its order has not arrived: no day, no version
    ]
    con.executemany(
        "insert into gold.fct_order_items by name select 'o' as order_id, ? as line_number, ? as product_id, "
        "? as customer_id, ? as order_date",
        sold,
    )
    columns = "line_number, list_price_then, category_then, city_then"
    found = con.execute(f"select {columns} from ({query}) as q order by line_number").fetchall()
    assert found == [
        (1, Decimal(10), "toys", "Berlin"),
        (2, Decimal(10), "toys", "Berlin"),
        (3, Decimal(10), "toys", "Hamburg"),
        (4, Decimal(5), "toys", "Hamburg"),
        (5, None, None, None),
        (6, None, None, None),
    ]
