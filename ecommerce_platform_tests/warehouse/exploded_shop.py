"""A shop whose orders hold their lines and refunds as arrays: its source, and a warehouse in memory that drops are read into."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.source import Source, read_source
from ecommerce_platform.ingestion.bronze import BronzeLoad, load_bronze, pending_days
from ecommerce_platform.ingestion.landing import list_drops
from ecommerce_platform.silver.entities import load_entity
from ecommerce_platform.silver.mapping import CompiledMapping, compile_source
from ecommerce_platform.warehouse.connection import MACROS

SOURCE_YML = """
description: A tiny shop whose orders are delivered as documents.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
units:
  order_items.lines: [order_id]
  returns.refunds: [order_id]
  shipments.parcels: [order_id]
tables:
  parcels:
    explode: refunds.parcels
    parent: {order_id: order_id, refund_id: id, place: _position}
    description: Parcels of a refund, an array of an array, declared before the table around it.
  orders: {files: ["orders*.json*"], description: One document per order.}
  lines:
    explode: orders.cart.lines
    parent: {order_id: id, placed: placed}
    description: Lines of an order.
  refunds:
    explode: orders.refunds
    parent: {order_id: id}
    description: Refunds of an order.
  refund_lines:
    explode: orders.refunds[].lines
    parent: {order_id: id, refund_id: refunds.id, refund: refunds._position}
    description: Lines of a refund.
"""
MAPPINGS = {
    "orders.orders": """
        select as_text(id) as order_id, as_timestamp(placed) as ordered_at, 'delivered' as status, true as is_valid
        from bronze.tiny__orders""",
    "order_items.lines": """
        select as_text(order_id) as order_id, _position as line_number, as_text(product) as product_id,
            as_integer(n) as quantity, as_decimal(price) as unit_price
        from bronze.tiny__lines""",
    "returns.refunds": """
        select as_text(id) as return_id, as_text(order_id) as order_id, as_decimal(total) as refund_amount
        from bronze.tiny__refunds""",
    "shipments.parcels": """
        select as_text(number) as shipment_id, as_text(order_id) as order_id from bronze.tiny__parcels""",
}


_catalog = cache(read_catalog)


@cache
def _compiled(
    source_yml: str, mappings: tuple[tuple[str, str], ...]
) -> tuple[Source, dict[str, tuple[CompiledMapping, ...]]]:
    """The same source is read once."""
    contracts = {e: _catalog().contract(f"silver.{e}") for e in _catalog().entities}
    with TemporaryDirectory() as folder:
        home = Path(folder) / "tiny"
        home.mkdir()
        (home / "source.yml").write_text(source_yml)
        for name, sql in mappings:
            (home / f"{name}.sql").write_text(sql)
        source = read_source(home, _catalog().entities)
        return source, compile_source(source, contracts)


class ExplodedShop:
    """The compiled source, and drops in a folder."""

    def __init__(self, folder: Path, source_yml: str = SOURCE_YML, mappings: Mapping[str, str] = MAPPINGS) -> None:
        self.folder, self.catalog = folder, _catalog()
        self.contracts = {e: self.catalog.contract(f"silver.{e}") for e in self.catalog.entities}
        self.source, self.compiled = _compiled(source_yml, tuple(mappings.items()))
        self.filled = [e for e, found in self.compiled.items() if found]

    def connect(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect(":memory:")
        con.execute(MACROS.read_text())
        for schema in ("bronze", "silver", "gold"):
            con.execute(f"create schema {schema}")
        for name in ("files", "rejects"):
            con.execute(create_table_sql(self.catalog.contract(f"bronze.{name}")))
        return con

    def drop(self, day: date, files: Mapping[str, Sequence[Any] | str], raw: str = "raw") -> None:
        """Makes `files` the drop of a day: documents become an array, or lines in a file named so; text stands as it is."""
        folder = self.folder / raw / day.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, content in files.items():
            if not isinstance(content, str):
                lines = name.endswith(".jsonl")
                content = "\n".join(map(json.dumps, content)) if lines else json.dumps(content)
            (folder / name).write_text(content)

    def load(
        self, con: duckdb.DuckDBPyConnection, raw: str = "raw", again: Sequence[date] = ()
    ) -> dict[str, BronzeLoad]:
        """Takes over into bronze and silver whatever of the drops is pending; what was loaded of each raw table."""
        drops, loads = list_drops(self.folder / raw, self.source), {}
        for name, files in drops.tables.items():
            mine = [m for found in self.compiled.values() for m in found if m.raw_table == name]
            days = pending_days(con, self.source, name, files) | set(again)
            loads[name] = load_bronze(
                con, self.source, name, files, days,
                expected=list(dict.fromkeys(c for m in mine for c in m.raw_columns)),
                required={c: target for m in mine for c, target in m.required_raw.items()},
                scratch=self.folder / "scratch",
            )  # fmt: skip
        for entity in self.filled:
            load_entity(con, self.catalog, self.contracts[entity], self.compiled[entity], again=again)
        return loads
