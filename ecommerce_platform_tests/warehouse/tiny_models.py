"""Two incremental tables, one below the other, as a folder of models: small enough to follow by hand.

gold.lines (by order) ← silver.items, silver.prices; gold.totals (by day) ← gold.lines
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import yaml

from ecommerce_platform.contracts.catalog import Table, read_catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.warehouse.changes import Log
from ecommerce_platform.warehouse.incremental import Incremental, compile_incremental, logs, refresh_table
from ecommerce_platform.warehouse.sql_model import SqlModel, parse_model
from ecommerce_platform.warehouse.write import Written, apply_difference, find_difference

FILES = {
    "silver/items": """
        description: What was sold, for a test.
        grain: one row per item
        key: [item_id]
        entity: true
        columns:
          item_id: {type: VARCHAR, description: The key.}
          order_id: {type: VARCHAR, description: The order.}
          day: {type: DATE, description: The day.}
          product: {type: VARCHAR, description: The product.}
          note: {type: VARCHAR, description: What nobody reads.}
        """,
    "silver/prices": """
        description: What products cost, for a test.
        grain: one row per product
        key: [product]
        entity: true
        columns:
          product: {type: VARCHAR, description: The key.}
          price: {type: INTEGER, description: The price.}
        """,
    "gold/lines": """
        description: What each item brought, for a test.
        grain: one row per item
        key: [item_id]
        write: incremental
        recompute_by: [order_id]
        follows:
          silver.items: {by: order_id}
          silver.prices:
            touches: select items.order_id from changed inner join silver.items as items on changed.product = items.product
        columns:
          item_id: {type: VARCHAR, description: The key.}
          order_id: {type: VARCHAR, description: The order.}
          day: {type: DATE, description: The day.}
          price: {type: INTEGER, description: The price., max: 100}
        checks:
          - name: as_many_as_items
            description: No item is lost or doubled.
            sql: >-
              select * from (select count(*) as rows from gold.lines) as l
              cross join (select count(*) as known from silver.items) as i where rows <> known
          - name: at_most_nine
            description: There are at most nine rows.
            whole_table: true
            sql: select count(*) as rows from gold.lines having count(*) > 9
        """,
    "gold/totals": """
        description: What each day brought, for a test.
        grain: one row per day
        key: [day]
        write: incremental
        recompute_by: [day]
        follows:
          gold.lines: {by: day}
        columns:
          day: {type: DATE, description: The day.}
          total: {type: BIGINT, description: The sum of the prices.}
        """,
}
LINES = """select items.item_id, items.order_id, items.day, prices.price
from (select item_id, order_id, day, product from silver.items) as items
left join (select product, price from silver.prices) as prices on items.product = prices.product
"""
TOTALS = (
    "select day, cast(coalesce(sum(price), 0) as bigint) as total from gold.lines where day is not null group by day\n"
)

Item = tuple[str, str, str, str]
ITEMS: list[Item] = [
    ("i1", "o1", "2024-01-01", "a"),
    ("i2", "o1", "2024-01-01", "b"),
    ("i3", "o2", "2024-01-02", "a"),
    ("i4", "o3", "2024-01-03", "b"),
]


class Tiny:
    """The models read from their folder, and a database in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            self.write(f"{name}.yml", "\n".join(line[8:] for line in text.strip("\n").splitlines()) + "\n")
        self.write("gold/lines.sql", LINES)
        self.write("gold/totals.sql", TOTALS)
        self.read()
        self.con = duckdb.connect()
        self.con.execute("create schema silver; create schema gold")
        self.items(ITEMS)
        self.prices({"a": 5, "b": 7})
        self.refresh_all()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def change(self, name: str, **parts: object) -> None:
        """Changes parts of a contract; its table is read again."""
        path = self.folder / f"{name}.yml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **parts}, sort_keys=False))
        self.read()

    def read(self) -> None:
        self.tables: dict[str, Table] = read_catalog(self.folder).tables
        self.contracts: dict[str, Contract] = {name: table.contract for name, table in self.tables.items()}
        self.models: dict[str, SqlModel] = {
            name: parse_model(table, self.tables) for name, table in self.tables.items() if table.sql
        }
        self.incrementals: dict[str, Incremental] = {
            name: compile_incremental(model, self.contracts)
            for name, model in self.models.items()
            if model.contract.write == "incremental"
        }
        self.logs: dict[str, Log] = logs(list(self.incrementals.values()))

    def items(self, items: list[Item], note: str = "n", file: str = "f") -> None:
        """Makes silver.items hold these rows."""
        rows = [
            f"('{i}', '{o}', date '{d}', '{p}', '{note}', date '2024-01-01', 'r', '{file}', 1)" for i, o, d, p in items
        ]
        self._hold("silver.items", rows)

    def prices(self, prices: dict[str, int]) -> None:
        self._hold("silver.prices", [f"('{p}', {n}, date '2024-01-01', 'r', 'f', 1)" for p, n in prices.items()])

    def _hold(self, table: str, rows: list[str]) -> None:
        con, contract = self.con, self.contracts[table]
        con.execute(create_table_sql(contract))
        con.execute("begin")
        con.execute(f"create or replace temp table _new as from {table} where false")
        if rows:
            con.execute(f"insert into _new values {', '.join(rows)}")
        con.execute(f"create or replace temp view _old as select rowid as _rowid, * from {table}")
        apply_difference(con, contract, find_difference(con, contract, "_old", "_new"), "", self.logs.get(table))
        con.execute("drop view _old; drop table _new")
        con.execute("commit")

    def refresh(self, table: str, *, full_checks: bool = False) -> Written:
        return refresh_table(
            self.con,
            self.models[table],
            self.incrementals.get(table),
            log=self.logs.get(table),
            full_checks=full_checks,
        )

    def refresh_all(self) -> list[bool]:
        """Whether each table was written."""
        return [self.refresh(name).changed for name in ("gold.lines", "gold.totals")]

    def content(self, table: str) -> list[tuple]:
        return self.con.execute(f"select * exclude (day), cast(day as varchar) from {table} order by all").fetchall()
