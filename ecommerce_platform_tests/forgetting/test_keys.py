"""What decides about a column: shops whose keys are personal, whose required columns are, and Olist's pseudonyms."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.source import builtin_sources, read_source
from ecommerce_platform.forgetting.ledger import read_tombstones
from ecommerce_platform.forgetting.persons import returned
from ecommerce_platform.forgetting.records import CUSTOMER, ORDER, plan_tables
from ecommerce_platform.operations.forget import forget
from ecommerce_platform.publishing.publish import PublishOptions, publish
from ecommerce_platform.reading.snapshots import open_snapshot, snapshots
from ecommerce_platform.silver.mapping import compile_source
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.forgetting.traces import traces

SOURCE_YML = """
description: A shop that numbers nobody.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  people: {files: ["people*.csv"], description: Customers by their address for mail., delivery: full}
  sales: {files: ["sales*.csv"], description: Lines of orders., delivery: delta}
"""
MAPPINGS = {
    "customers.people": "select lower(as_text(mail)) as customer_id, as_text(mail) as email, as_text(name) as full_name, "
    "as_text(town) as city from bronze.mailshop__people",
    "orders.sales": "select as_text(no) as order_id, max(lower(as_text(buyer))) as customer_id, "
    'min(as_timestamp("at")) as ordered_at, '
    "'delivered' as status, true as is_valid from bronze.mailshop__sales "
    "group by _load_date, as_text(no)",
    "order_items.sales": "select as_text(no) as order_id, as_integer(line) as line_number, as_text(sku) as product_id, "
    "1 as quantity, as_decimal(price) as unit_price from bronze.mailshop__sales",
}  # fmt: skip
PEOPLE = b"mail,name,town\nAnna@post.example,Anna Abel,Ulm\nbob@post.example,Bob,Ulm\n"
SALES = (
    b"no,line,buyer,at,sku,price,note\nO1,1,anna@post.example,2024-01-01 10:00:00,S,3.50,leave it at number 9\n"
    b"O1,2,anna@post.example,2024-01-01 10:00:00,T,1.50,\nO2,1,bob@post.example,2024-01-01 11:00:00,S,3.50,for Bob\n"
)


@pytest.mark.long
def test_a_key_that_is_an_address_gets_a_stand_in(tmp_path: Path) -> None:
    home = tmp_path / "mailshop"
    home.mkdir()
    (home / "source.yml").write_text(SOURCE_YML)
    for name, select in MAPPINGS.items():
        (home / f"{name}.sql").write_text(select + "\n")
    drop = tmp_path / "data" / "raw" / "2024-01-01"
    drop.mkdir(parents=True)
    (drop / "people.csv").write_bytes(PEOPLE)
    (drop / "sales.csv").write_bytes(SALES)
    driver = Driver.of(str(home), tmp_path / "data")
    driver.build()

    def ask(sql: str) -> list[tuple]:
        with driver.connect() as con:
            return con.execute(sql).fetchall()

    published = driver.settings.published
    publish(driver.connect, driver.project.catalog, published, "mailshop", PublishOptions(force=True))
    revenue = ask("select revenue, orders from gold.kpi_summary")
    done = forget(driver.settings, "anna@post.example", build=driver.build, today=date(2024, 2, 1))
    assert done.done
    stand_in = read_tombstones(driver.settings.data).pseudonym("anna@post.example")
    assert (drop / "people.csv").read_text() == f"mail,name,town\n{stand_in},,Ulm\nbob@post.example,Bob,Ulm\n"
    assert (drop / "sales.csv").read_text().splitlines()[1:3] == [
        f"O1,1,{stand_in},2024-01-01 10:00:00,S,3.50,", f"O1,2,{stand_in},2024-01-01 10:00:00,T,1.50,",
    ]  # fmt: skip
    assert ask("select customer_id, orders_placed from gold.dim_customer order by 1") == [
        ("bob@post.example", 1), (stand_in, 1),
    ]  # fmt: skip
    assert ask("select revenue, orders from gold.kpi_summary") == revenue
    assert done.customer_ids == (stand_in,)
    with open_snapshot(snapshots(published)[0].folder) as then:
        assert then.execute("select count(*) from silver.orders where customer_id = ?", [stand_in]).fetchone() == (1,)
        assert then.execute("select revenue, orders from gold.kpi_summary").fetchall() == revenue
    assert traces(driver.settings.data, ["anna@post", "Anna Abel", "number 9"]) == []
    assert forget(driver.settings, stand_in, build=driver.build).nothing

    shutil.copytree(drop, drop.with_name("2024-01-02"))
    (drop.with_name("2024-01-02") / "people.csv").write_bytes(PEOPLE)
    (drop.with_name("2024-01-02") / "sales.csv").write_bytes(SALES)
    driver.build()
    with driver.connect() as con:
        back = returned(con, driver.project.catalog.contract("silver.customers"), read_tombstones(driver.settings.data))
    assert back == [stand_in], "an address is not told"
    again = forget(driver.settings, stand_in, build=driver.build)
    assert again.records == {"people": 1, "sales": 2}
    assert traces(driver.settings.data, ["anna@post", "Anna Abel", "number 9"]) == []


def plans(source: str) -> dict:
    catalog = read_catalog()
    found = read_source(builtin_sources()[source], catalog.entities)
    contracts = {entity: catalog.contract(f"silver.{entity}") for entity in catalog.entities}
    return plan_tables(found, compile_source(found, contracts))


def test_what_goes_of_the_generated_shop() -> None:
    found = plans("synthetic")
    assert found["web_customers"].kept == {
        "customer_no", "account", "registered", "age_band", "segment", "zip", "town", "state", "area", "country",
    }  # fmt: skip
    assert found["web_customers"].id_columns == {"customer_no"}
    assert set(found["web_customers"].markers) == {("born",)}
    assert "text" not in found["reviews"].kept
    assert "headline" not in found["reviews"].kept
    assert {"review_no", "order_no", "stars", "written"} == found["reviews"].kept
    assert found["labels"].owners == ()
    assert {t for t, _ in found["web_events"].owners} == {CUSTOMER, ORDER}


def test_what_goes_of_real_exports() -> None:
    olist, retail, market = plans("olist"), plans("pet_retail"), plans("marketplace")
    assert {t for t, _ in olist["orders"].owners} == {CUSTOMER, ORDER}
    assert "review_comment_message" not in olist["order_reviews"].kept
    assert {"review_id", "order_id", "review_score"} <= olist["order_reviews"].kept
    assert olist["customers"].kept == {
        "customer_id", "customer_unique_id", "customer_zip_code_prefix", "customer_city", "customer_state",
    }  # fmt: skip
    # Coordinates are an address, although the postal code's middle is made of them as well.
    assert {"latitude", "longitude"}.isdisjoint(retail["customer"].kept)
    # What a sale without a number is keyed by stays, or the order would be another.
    assert {"invoice_no", "customer_id", "transaction_date", "description", "sale"} <= retail["sale"].kept
    # An order's customer is gathered from its lines: each line is the customer's.
    assert (CUSTOMER, "AS_TEXT(customer_id)") in [
        (t, e.upper().replace("CUSTOMER_ID", "customer_id")) for t, e in market["order_detail"].owners
    ]
