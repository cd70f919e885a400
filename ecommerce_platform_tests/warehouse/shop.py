"""A tiny invented shop for warehouse tests: its source folder, and bronze filled without any file.

Drops are plain rows; `Bronze.deliver` makes a day's rows of a raw table exactly those given, as ingestion would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.source import Source, read_source
from ecommerce_platform.silver.accounting import account_entities, account_rows
from ecommerce_platform.silver.mapping import CompiledMapping, compile_source
from ecommerce_platform.warehouse.connection import MACROS
from ecommerce_platform.warehouse.write import Written

SOURCE_YML = """
description: A tiny invented shop with one raw table of every kind of delivery.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
units:
  order_items.lines: [order_id]
tables:
  orders: {files: ["orders*.csv"], description: Orders and their status., delivery: delta}
  lines: {files: ["lines*.csv"], description: Lines without numbers., delivery: delta}
  products: {files: ["products*.csv"], description: The whole catalogue., delivery: full}
  places: {files: ["places*.csv"], description: Measured points per postal code., delivery: full}
  crm: {files: ["crm*.csv"], description: Customers of one system., delivery: delta}
  web: {files: ["web*.csv"], description: Customers of another system., delivery: delta}
"""
MAPPINGS = {
    "orders.orders": """
        select as_text(id) as order_id, as_timestamp(placed) as ordered_at, as_text(state) as status,
            as_text(state) not in ('canceled', 'unavailable') as is_valid
        from bronze.tiny__orders""",
    "order_items.lines": """
        select as_text(order_id) as order_id,
            row_number() over (partition by _load_date, as_text(order_id) order by _source_file, _source_row) as line_number,
            as_text(product) as product_id, as_integer(n) as quantity, as_decimal(price) as unit_price
        from bronze.tiny__lines""",
    "products.products": """
        select as_text(id) as product_id, as_text(name) as name, as_decimal(price) as list_price
        from bronze.tiny__products""",
    "postal_codes.places": """
        select as_text(code) as postal_code, median(as_double(lat)) as latitude, max(as_text(city)) as city
        from bronze.tiny__places
        group by _load_date, as_text(code)""",
    "customers.crm": """
        select 'crm-' || as_text(id) as customer_id, as_text(mail) as email from bronze.tiny__crm""",
    "customers.web": """
        select 'web-' || as_text(id) as customer_id, as_text(mail) as email from bronze.tiny__web""",
}
COLUMNS = {
    "orders": ("id", "placed", "state"),
    "lines": ("order_id", "product", "n", "price"),
    "products": ("id", "name", "price"),
    "places": ("code", "lat", "city"),
    "crm": ("id", "mail"),
    "web": ("id", "mail"),
}
FIRST_DAY = date(2024, 1, 1)


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


def write_source(folder: Path, mappings: Mapping[str, str] = MAPPINGS, source_yml: str = SOURCE_YML) -> Path:
    home = folder / "tiny"
    home.mkdir(parents=True, exist_ok=True)
    (home / "source.yml").write_text(source_yml)
    for name, sql in mappings.items():
        (home / f"{name}.sql").write_text(sql)
    return home


def account(shop: TinyShop, con: duckdb.DuckDBPyConnection) -> Written:
    """Both accounts of the rows, in the order in which a build makes them; what was written of `silver.row_accounting`."""
    for name, fill in (("entity_accounting", account_entities), ("row_accounting", account_rows)):
        written = fill(con, shop.catalog.contract(f"silver.{name}"), shop.source, shop.compiled)
    return written


class TinyShop:
    """The compiled source, and a warehouse in memory."""

    def __init__(
        self,
        folder: Path,
        mappings: Mapping[str, str] = MAPPINGS,
        source_yml: str = SOURCE_YML,
        columns: Mapping[str, Sequence[str]] = COLUMNS,
    ) -> None:
        self.columns = columns
        self.catalog: Catalog = read_catalog()
        self.source: Source = read_source(write_source(folder, mappings, source_yml), self.catalog.entities)
        self.contracts = {e: self.catalog.contract(f"silver.{e}") for e in self.catalog.entities}
        self.compiled: dict[str, tuple[CompiledMapping, ...]] = compile_source(self.source, self.contracts)
        self.filled = [e for e, found in self.compiled.items() if found]

    def connect(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect(":memory:")
        con.execute(MACROS.read_text())
        for schema in ("bronze", "silver", "gold", "ml"):
            con.execute(f"create schema {schema}")
        con.execute(create_table_sql(self.catalog.contract("bronze.files")))
        con.execute(create_table_sql(self.catalog.contract("bronze.rejects")))
        for raw, columns in self.columns.items():
            texts = ", ".join(f"{c} varchar" for c in columns)
            con.execute(
                f"create table bronze.tiny__{raw} ({texts}, _load_date date, _source_file varchar, "
                "_source_row bigint, _row_hash ubigint)"
            )
        return con


def deliver(con: duckdb.DuckDBPyConnection, raw: str, on: date, rows: Sequence[Sequence[Any]] | None) -> None:
    """Makes bronze hold `rows` for that raw table and day, in one file; None removes the drop."""
    deliver_files(con, raw, on, None if rows is None else {"f.csv": rows})


def deliver_files(
    con: duckdb.DuckDBPyConnection, raw: str, on: date, files: Mapping[str, Sequence[Sequence[Any]]] | None
) -> None:
    """The same with the rows of several files."""
    con.execute(f"delete from bronze.tiny__{raw} where _load_date = ?", [on])
    con.execute("delete from bronze.files where raw_table = ? and _load_date = ?", [raw, on])
    for file, rows in (files or {}).items():
        for number, row in enumerate(rows, 1):
            marks = ", ".join("?" for _ in row)
            con.execute(f"insert into bronze.tiny__{raw} values ({marks}, ?, ?, ?, 0)", [*row, on, file, number])
        # Size and time of a real file change with its content; here the content itself stands in for them.
        con.execute(
            "insert into bronze.files (raw_table, _load_date, _source_file, size_bytes, modified_ns, format, rows_loaded, "
            "rows_rejected, problem, loaded_at) values (?, ?, ?, ?, ?, 'csv', ?, 0, null, timestamp '2024-01-01')",
            [raw, on, file, len(str(rows)), abs(hash(str(rows))), len(rows)],
        )
