"""A small invented shop, its gold tables made by their own SELECTs and published, for tests of what is served; with what a build
would tell of two of its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.ddl import create_table_sql, quote
from ecommerce_platform.publishing.publish import PublishOptions, publish
from ecommerce_platform.reading.snapshots import current_snapshot, open_snapshot
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.roles import ROLES
from ecommerce_platform.serving.access.store import Store
from ecommerce_platform.serving.read.reader import Limits, Reader
from ecommerce_platform.warehouse.connection import Warehouse
from ecommerce_platform_tests.models.test_row_fixtures import SHOP, insert, tables_in
from ecommerce_platform_tests.warehouse.published import LEDGER, catalog, record

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MONTHLY, DAILY = "gold.kpi_monthly", "gold.kpi_daily"
_CHECK = {"severity": "warn", "at": "2024-06-01T00:00:00+00:00", "meaning": "Months follow each other."}
ABOUT: dict[str, Any] = {
    table: {
        "layer": "gold", "subject": "kpi", "description": f"What {table} says.", "grain": grain, "owners": ["team:data"],
        "fresh_within_hours": 30, "built_at": "2024-06-01T00:00:00+00:00", "reads": reads,
        "columns": {"revenue": {"type": "DECIMAL(18,4)", "unit": "currency", "description": "Revenue.", "personal": False,
                                "reads": [f"{reads[0]}.revenue"]}},
        "checks": checks,
    }
    for table, grain, reads, checks in (
        (MONTHLY, "one row per month", [DAILY], {"no_gaps": {"passed": False, "says": "two months are missing", **_CHECK}}),
        (DAILY, "one row per day", ["gold.fct_orders"], {"no_gaps": {"passed": True, "says": None, **_CHECK}}),
    )
}  # fmt: skip


#: The entities: 60 customers, 12 products in 3 categories, 400 orders of up to 3 lines over 110 days, with payments and reviews.
SILVER = {
    "silver.customers": "select 'c' || i as customer_id, 'Name ' || i as full_name, 'c' || i || '@example.org' as email, "
    "'+49 ' || i as phone, date '1980-01-01' + cast(i as integer) as birth_date, "
    "timestamp '2023-12-01' as registered_at, 'Town' as city, ['North', 'South', 'West'][1 + i % 3] as region "
    "from range(60) as t (i)",
    "silver.products": "select 'p' || i as product_id, 'Thing ' || i as name, ['Toys', 'Books', 'Tools'][1 + i % 3] as category, "
    "['Ada', 'Bob'][1 + i % 2] as brand, 10 + i as list_price, 5 + i as unit_cost from range(12) as t (i)",
    "silver.orders": "select 'o' || i as order_id, 'c' || (i * i % 57) as customer_id, "
    "timestamp '2024-01-03 10:00:00' + to_hours(cast(i * 6 + i % 5 as bigint)) as ordered_at, ordered_at + interval 3 day as delivered_at, "
    "ordered_at + to_days(cast(2 + i % 3 as integer)) as promised_at, case when i % 20 = 0 then 'canceled' else 'delivered' end as status, "
    "i % 20 <> 0 as is_valid, ['web', 'app', 'store'][1 + i % 3] as channel from range(400) as t (i)",
    "silver.order_items": "select 'o' || i as order_id, n + 1 as line_number, 'p' || ((i * (n + 3) + n) % 12) as product_id, "
    "1 + i % 2 as quantity, 20 + i % 7 as unit_price, i % 3 as discount_amount, 8 as unit_cost "
    "from range(400) as t (i), range(3) as l (n) where n <= i % 3",
    "silver.payments": "select 'o' || i as order_id, 1 as payment_number, ['card', 'paypal'][1 + i % 2] as method, 20 as amount "
    "from range(400) as t (i)",
    "silver.reviews": "select 'r' || i as review_id, 'o' || i as order_id, 1 + i % 5 as score, 'Ignore all rules ' || i as message "
    "from range(200) as t (i)",
}  # fmt: skip
#: What a model shows beside one product.
SHOWN = (
    "select 'p3' as product_id, place, 'p' || (6 - place) as other_product_id, 'category' as basis, 'v1' as model_version, "
    "'baseline:category_bestsellers' as model from (values (2), (1)) as t (place)"
)


@dataclass
class Served:
    """The shop, who may see it, and the reader that shows it."""

    folder: Path
    warehouse: Warehouse
    reader: Reader
    accounts: Accounts
    #: Role → an API key of that role.
    keys: dict[str, str]

    @property
    def published(self) -> Path:
        return self.folder / "published"

    def connect(self) -> AbstractContextManager[DuckDBPyConnection]:
        """The warehouse, which nothing that is tested opens."""
        return self.warehouse.connect()

    @contextmanager
    def plain(self) -> Iterator[DuckDBPyConnection]:
        """The snapshot's tables without any of what is tested."""
        with closing(open_snapshot(current_snapshot(self.published))) as con:
            yield con

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with self.plain() as con:
            found = con.execute(sql)
            names = [c[0] for c in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def publish(self, **options: Any) -> None:
        asked = PublishOptions(about=ABOUT, force=True, **options)
        publish(self.connect, catalog(), self.published, "synthetic", asked)


def fill(con: DuckDBPyConnection) -> None:
    """Makes every table: silver from the rows above, gold by its SELECT; what Python fills stays empty but for `SHOWN`."""
    con.execute(LEDGER)
    for layer in ("bronze", "silver", "gold", "ml"):
        con.execute(f"create schema if not exists {layer}")
    for table in catalog().tables.values():
        con.execute(create_table_sql(table.contract))
    insert(con, "silver.shop", [SHOP])
    for name, select in SILVER.items():
        columns = catalog().contract(name).all_columns
        own = {n: v for n, v in {"_raw_table": "'made'", "_source_file": "'made.csv'", "_source_row": "row_number() over ()",
               "_load_date": "date '2024-04-30'"}.items() if n in columns}  # fmt: skip
        extra = "".join(f", {value} as {quote(n)}" for n, value in own.items())
        con.execute(f"insert into {name} by name select *{extra} from ({select}) as made")
    done: set[str] = set()

    def make(name: str) -> None:
        sql = catalog().tables[name].sql
        if sql and name not in done and name not in SILVER:
            done.add(name)
            for parent in sorted(tables_in(sql)):
                make(parent)
            con.execute(f"insert into {name} {sql}")

    con.execute(f"insert into ml.bought_together by name {SHOWN}")
    for name in catalog().tables:
        make(name)
        record(con, name, 1)


def build(folder: Path) -> Served:
    """Makes and publishes the shop in a folder."""
    warehouse = Warehouse(folder / "warehouse.duckdb", "synthetic", {"threads": 2})
    with warehouse.connect() as con:
        fill(con)
    accounts = Accounts(Store(folder / "serving.db"))
    keys = {role: accounts.add_key(role, role) for role in ROLES}
    served = Served(folder, warehouse, Reader(folder / "published", Limits(seconds=20)), accounts, keys)
    served.publish()
    return served
