"""A published shop in seconds, invented in SQL: silver rows of every kind, gold tables by their own SELECTs, one snapshot.

For tests of what reads snapshots. No load, no dirt, no Dagster: how tables come about is tested elsewhere. The same every
time: what looks random is a hash of the row's number.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.contracts.select import tables_read
from ecommerce_platform.publishing.publish import PublishOptions, Snapshot, publish

ORDERS, CUSTOMERS, PRODUCTS, DAYS = 3000, 700, 40, 560
SOURCE = "synthetic"
#: Silver tables, by the SELECT that fills them; `r(n, salt)` is a number in [0, 1).
SILVER = {
    "silver.shop": "select 'synthetic' as source, 'EUR' as currency, 'Europe/Berlin' as time_zone, date '2023-01-01' as start_date, "
    "90 as churn_window_days, 5 as min_pair_orders",
    "silver.products": "select 'p' || n as product_id, ['Kettle', 'Lamp', 'Chair', 'Ball'][1 + n % 4] || ' ' || n as name, "
    "['Kitchen', 'Light', 'Furniture', 'Sport'][1 + n % 4] as category, ['Acme', 'Borealis', 'Corvus'][1 + n % 3] as brand, "
    f"10 + n as list_price, 5 + n * 0.5 as unit_cost from range({PRODUCTS}) t(n)",
    "silver.customers": "select 'c' || n as customer_id, 'Person ' || n as full_name, 'p' || n || '@example.org' as email, "
    "['18-24', '25-39', '40-64'][1 + n % 3] as age_group, ['private', 'business'][1 + (r(n, 1) > 0.8)::int] as customer_segment, "
    "lpad((n % 20)::varchar, 5, '0') as postal_code, 'City ' || (n % 20) as city, ['North', 'South', 'East'][1 + n % 3] as region, "
    f"timestamp '2022-12-01' as registered_at from range({CUSTOMERS}) t(n)",
    "silver.customer_identities": f"select 'c' || n as customer_id, 'c' || n as person_id, 'own record' as rule from range({CUSTOMERS}) t(n)",
    "silver.postal_codes": "select lpad(n::varchar, 5, '0') as postal_code, 48 + n * 0.3 as latitude, 8 + (n % 5) * 0.9 as longitude, "
    "'City ' || n as city, ['North', 'South', 'East'][1 + n % 3] as region from range(20) t(n)",
    "silver.orders": "select 'o' || n as order_id, "
    f"'c' || floor({CUSTOMERS} * r(n, 2) * r(n, 3))::int as customer_id, placed as ordered_at, placed + interval 1 day as shipped_at, "
    "placed + interval 1 day * (2 + floor(6 * r(n, 4))::int) as delivered_at, placed + interval 6 day as promised_at, "
    "if(r(n, 5) < 0.04, 'canceled', 'delivered') as status, r(n, 5) >= 0.04 as is_valid, ['web', 'app', 'store'][1 + n % 3] as channel, "
    "['phone', 'desktop'][1 + n % 2] as device, if(n % 9 = 0, 'sale1', null) as campaign_id, "
    "['North', 'South', 'East'][1 + floor(3 * r(n, 6))::int] as region from ("
    f"select n, timestamp '2023-01-01 08:00' + interval 1 minute * floor({DAYS} * 1440 * sqrt((n + 1) / {ORDERS}))::int as placed from range({ORDERS}) t(n))",
    "silver.order_items": "select 'o' || n as order_id, line as line_number, "
    f"'p' || floor({PRODUCTS} * r(n, 10 + line) * r(n, 20 + line))::int as product_id, 1 + floor(2 * r(n, 30 + line))::int as quantity, "
    f"10 + floor({PRODUCTS} * r(n, 40 + line))::int as unit_price, if(r(n, 50 + line) < 0.2, 3, 0) as discount_amount, "
    f"7 + floor(10 * r(n, 60 + line))::int as unit_cost from range({ORDERS}) t(n), range(1, 4) l(line) where line <= 1 + 2 * r(n, 7)",
    "silver.payments": "select 'o' || n as order_id, 1 as payment_number, ['card', 'paypal', 'invoice'][1 + floor(3 * r(n, 8))::int] as method, "
    f"20 as amount from range({ORDERS}) t(n)",
    "silver.reviews": "select 'r' || n as review_id, 'o' || n as order_id, 1 + floor(5 * sqrt(r(n, 9)))::int as score, "
    f"timestamp '2023-02-01' as created_at from range({ORDERS}) t(n) where r(n, 70) < 0.4",
    "silver.shipments": "select 's' || substr(order_id, 2) as shipment_id, order_id, ['Swift', 'Parcel'][1 + (r(rowid, 71) > 0.5)::int] as carrier, "
    "shipped_at, promised_at, delivered_at, 4 as cost_amount, 'delivered' as status from silver.orders where is_valid",
    "silver.returns": "select 't' || n as return_id, 'o' || n as order_id, 1 as line_number, 1 as quantity, 9 as refund_amount, 'size' as reason, "
    f"timestamp '2023-06-01' + interval 1 day * (n % 300) as returned_at from range(0, {ORDERS}, 40) t(n)",
    "silver.inventory_snapshots": "select date '2024-07-01' - (7 * week)::int as snapshot_date, 'p' || n as product_id, 'main' as location_id, "
    f"floor(30 * r(n, 80 + week))::int as on_hand, 8 as reorder_point, 6 as lead_time_days from range({PRODUCTS}) t(n), range(8) w(week)",
    "silver.campaigns": "select 'sale1' as campaign_id, 'Spring sale' as name, 'onsite' as channel, date '2024-03-01' as start_date, "
    "date '2024-03-14' as end_date, 500 as budget_amount union all select 'ads1', 'Search ads', 'paid_search', date '2024-05-01', date '2024-05-21', 900",
    "silver.ad_spend": "select date '2024-05-01' + d::int as spend_date, 'ads1' as campaign_id, 1000 as impressions, 40 as clicks, 20 as cost_amount from range(21) t(d)",
    "silver.web_events": "select 'e' || n || step as event_id, 's' || n as session_id, 'v' || (n % 500) as visitor_id, "
    "timestamp '2024-01-01' + interval 1 hour * n + interval 1 minute * step as occurred_at, "
    "['page_view', 'product_view', 'add_to_cart', 'checkout', 'purchase'][1 + step] as event_type, 'p' || (n % 40) as product_id, "
    "if(step = 4, 'o' || n, null) as order_id, ['search', 'direct', 'newsletter'][1 + n % 3] as channel, 'phone' as device "
    "from range(3000) t(n), range(5) s(step) where step <= 5 * r(n, 90) * r(n, 91) + 1",
    "silver.row_accounting": "select t.name as _raw_table, date '2024-07-01' as _load_date, 1000 as rows_landed, 950 as rows_used, 40 as rows_superseded, "
    "10 as rows_rejected from (values ('orders'), ('customers')) t(name)",
    "silver.rejects": "select 'orders' as entity, 'orders' as _raw_table, date '2024-07-01' as _load_date, 'orders.csv' as _source_file, n as _source_row, "
    "if(n < 5, 'not_convertible', 'load_set_aside') as reason_code, 'total: ''abc'' is no amount' as reason, '{}' as raw_row from range(10) t(n)",
    "silver.sellers": "select 'x' as seller_id where false",
}  # fmt: skip
#: Filled by Python in a build, so invented here.
GOLD = {
    "gold.anomalies": "select 'revenue' as series, date '2024-04-09' as window_start, date '2024-04-10' as window_end, 'down' as direction, "
    "date '2024-04-09' as peak_date, 100.0 as actual, 400.0 as expected, 300.0 as expected_low, 500.0 as expected_high, 5.5 as score, "
    "'warning' as severity, null as known_as, null as drivers, 'Revenue was 75 % below what its past let expect.' as explanation "
    "union all select 'revenue', date '2023-12-20', date '2023-12-31', 'up', date '2023-12-23', 900, 500, 400, 600, 4.0, 'info', "
    "'the days around Christmas', null, 'Revenue was high, as it is around Christmas.'",
}  # fmt: skip


def publish_shop(published: Path, *, leave_out: frozenset[str] = frozenset(), orders: int = ORDERS) -> Snapshot:
    """Publishes the shop.

    Args:
        published: the folder of snapshots.
        leave_out: silver tables that stay empty, as in a shop that has no such thing.
        orders: how many of the orders there are; fewer make an earlier state.
    """
    con = duckdb.connect(config={"threads": 2})
    catalog = read_catalog()
    try:
        _fill(con, leave_out, orders)

        @contextmanager
        def connect() -> Any:
            yield con

        about = {t: _about(catalog.tables[t], n) for n, t in enumerate(sorted(catalog.tables))}
        return publish(connect, catalog, published, SOURCE, PublishOptions(force=True, about=about, hash_key="k"))
    finally:
        con.close()


def _fill(con: duckdb.DuckDBPyConnection, leave_out: frozenset[str], orders: int) -> None:
    catalog = read_catalog()
    con.execute("create macro r(n, salt) as (hash(n::bigint * 1000003 + salt::bigint * 7919) % 1000003) / 1000003.0")
    for schema in ("bronze", "silver", "gold", "ml"):
        con.execute(f"create schema {schema}")
    for table in catalog.tables.values():
        con.execute(create_table_sql(table.contract))
    for table, sql in SILVER.items():
        if table not in leave_out:
            con.execute(f"insert into {table} by name {sql}")
    con.execute(f"delete from silver.orders where substr(order_id, 2)::int >= {orders}")
    for entity in ("customers", "products"):
        _history(con, entity)
    done: set[str] = set()

    def fill(name: str) -> None:
        sql = catalog.tables[name].sql if name in catalog.tables else None
        if not sql or name in done or not name.startswith("gold."):
            return
        done.add(name)
        for parent in sorted(tables_read(sql)):
            fill(parent)
        con.execute(f"insert into {name} {sql}")

    for table, sql in GOLD.items():
        con.execute(f"insert into {table} by name {sql}")
    for name in sorted(catalog.tables):
        fill(name)
    for name, table in catalog.tables.items():
        if any(con.execute(f"select count(*) = 0 from silver.{e}").fetchall()[0][0] for e in table.contract.requires):
            con.execute(f"drop table {name}")


def _history(con: duckdb.DuckDBPyConnection, entity: str) -> None:
    """One version of each row, from the beginning."""
    con.execute(
        f"insert into silver.{entity}_history by name select *, timestamp '2022-01-01' as valid_from, true as is_current from silver.{entity}"
    )


def _about(table: Any, number: int) -> dict[str, Any]:
    """What a build tells of a table; every fortieth has a rule that does not hold."""
    contract = table.contract
    reads = sorted(tables_read(table.sql)) if table.sql else []
    check = {
        "passed": number % 40 != 0, "severity": "WARN", "at": "2024-07-15T06:00:00+00:00", "says": "3 rows", "meaning": "Every row has its parent.",
    }  # fmt: skip
    return {
        "layer": contract.layer, "subject": contract.subject, "description": contract.description, "grain": contract.grain,
        "owners": list(contract.owners), "fresh_within_hours": contract.fresh_within_hours, "built_at": datetime.now(UTC).isoformat(),
        "reads": reads, "checks": {"every_row_has_its_parent": check},
        "columns": {
            n: {"type": c.type, "unit": c.unit, "description": c.description, "personal": c.pii, "reads": [f"{r}.{n}" for r in reads[:1]]}
            for n, c in contract.all_columns.items()
        },
    }  # fmt: skip
