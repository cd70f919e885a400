"""The shops that are kept in databases: out of a real server come the same tables as out of their CSV files."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_platform_tests.analytics_shop import export_shop, write_shop
from ecommerce_platform_tests.compare import differences_but_provenance
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.databases import Server, serve

pytestmark = [pytest.mark.long, pytest.mark.servers]

MARKETPLACE = {
    "customer_detail": "id varchar(20) primary key, registered_date date",
    "order_detail": "id varchar(30), customer_id varchar(20), order_date date, sku_id varchar(20), price decimal(14, 2), "
    "qty_ordered int, before_discount decimal(16, 4), discount_amount decimal(20, 8), after_discount decimal(20, 8), "
    "is_gross tinyint(1), is_valid tinyint(1), is_net tinyint(1), payment_id int, primary key (id, sku_id)",
    "sku_detail": "id varchar(20) primary key, sku_name text, base_price double, cogs double, category varchar(100)",
    "payment_detail": "id int primary key, payment_method varchar(50)",
}
PET_RETAIL = {
    "sale": "transaction_date text, customer_id double precision, description text, stock_code text, invoice_no text, "
    "quantity integer, sale numeric, unit_price numeric",
    "customer": "customer_id bigint, order_city text, order_postal text, order_state text, latitude double precision, "
    "longitude double precision",
    "product": "stock_code text primary key, weight double precision, landed_cost double precision, "
    "shipping_cost_1000_mile double precision, description text, category text",
    "state": "order_state text, state_abbreviation text, region text, state text",
}


def fill(server: Server, database: str, folder: Path, tables: dict[str, str]) -> None:
    """Makes the tables and puts the rows of the CSV files into them; an empty field is null."""
    place = "%s" if server.kind == "mysql" else "${}"
    for table, columns in tables.items():
        with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        values: list[list[Any]] = [[None if value == "" else value for value in row] for row in rows]
        server.run(f"create table {table} ({columns})", database=database)
        types = [c.strip().partition(" ")[2] for c in columns.split(", ")][: len(header)]
        marks = [
            place if server.kind == "mysql" else f"cast(${n} as {types[n - 1].replace(' primary key', '')})"
            for n in range(1, len(header) + 1)
        ]
        connection = server.connect(database, autocommit=False)
        with connection.cursor() as cursor:
            cursor.executemany(f"insert into {table} ({', '.join(header)}) values ({', '.join(marks)})", values)
        connection.commit()
        connection.close()


def same_tables(tmp_path: Path, source: str, export: Path, **environment: str) -> tuple[Shop, Shop]:
    """Builds the source from its database and from its files, and holds the two against each other."""
    extracted, landed = Shop(tmp_path / "extracted", source), Shop(tmp_path / "landed", source)
    for shop in (extracted, landed):
        shop.folder.mkdir()
    said = extracted.ok("extract", **environment)
    assert "into the drop of" in said
    assert "nothing has changed" in extracted.ok("extract", **environment)
    extracted.ok("build")  # without the database
    landed.ok("land", str(export), "--source", source)
    landed.ok("build")
    with duckdb.connect(str(extracted.data / "warehouse.duckdb")) as con:
        assert differences_but_provenance(con, landed.data / "warehouse.duckdb") == []
    accounting = "select _raw_table, sum(rows_landed), sum(rows_used), sum(rows_rejected) from silver.row_accounting group by 1 order by 1"
    assert extracted.query(accounting) == landed.query(accounting)
    return extracted, landed


def test_the_marketplace_out_of_mysql_is_that_of_its_files(tmp_path: Path, test_data: Path) -> None:
    with serve("mysql") as server, server.database() as name:
        fill(server, name, test_data / "marketplace", MARKETPLACE)
        url = server.url_of(name)
        shop, _ = same_tables(tmp_path, "marketplace", test_data / "marketplace", ECOMMERCE_MARKETPLACE_URL=url)
    assert shop.query("select revenue, units, orders from gold.kpi_summary") == [
        (Decimal("3667575325.72"), 8_307, 3_955)
    ]


def test_the_pet_retailer_out_of_postgresql_is_that_of_its_files(tmp_path: Path, test_data: Path) -> None:
    with serve("postgresql") as server, server.database() as name:
        fill(server, name, test_data / "pet_retail", PET_RETAIL)
        url = server.url_of(name)
        shop, _ = same_tables(tmp_path, "pet_retail", test_data / "pet_retail", ECOMMERCE_PET_RETAIL_URL=url)
    assert shop.query("select count(*) from silver.order_items") == [(25_065,)]
    assert shop.query("select count(*) from silver.customers where customer_id like '%.0'") == [(0,)]


def test_the_analytics_shop_out_of_sqlite_is_that_of_its_files(tmp_path: Path) -> None:
    database = write_shop(tmp_path / "shop.sqlite")
    export = export_shop(database, tmp_path / "export")
    same_tables(tmp_path, "analytics_shop", export, ECOMMERCE_ANALYTICS_SHOP_FILE=str(database))
