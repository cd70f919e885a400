"""A small shop in a warehouse of its own, in which every business rule of the platform holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.quality.suites import Suite, read_suites
from ecommerce_platform.warehouse.changes import record_change

ORDERS, PERSONS, DAYS = 400, 200, 80

#: Table → SELECT of its rows; columns that are not named are null. `i` counts from 0.
ROWS = {
    "silver.customers": f"""
        select 'C' || i as customer_id, 'person' || i || '@shop.example' as email, 'Name ' || i as full_name,
            date '1980-01-01' + cast(i as int) as birth_date, timestamp '2023-06-01 10:00:00' as registered_at,
            '1000' || i % 9 as postal_code, date '2023-06-02' as _load_date
        from range({PERSONS}) as t (i)""",
    "silver.customer_identities": f"select 'C' || i as customer_id, 'P' || i as person_id from range({PERSONS}) as t (i)",
    "gold.dim_customer": f"select 'P' || i as person_id, 'C' || i as customer_id from range({PERSONS}) as t (i)",
    "silver.orders": f"""
        select 'O' || i as order_id, 'C' || i % {PERSONS} as customer_id,
            timestamp '2024-01-01 09:00:00' + interval (i % 28) day as ordered_at, 'delivered' as status,
            true as is_valid, cast(date '2024-01-01' + cast(i % 28 as int) as date) as _load_date
        from range({ORDERS}) as t (i)""",
    "gold.fct_orders": f"""
        select 'O' || i as order_id, 'P' || i % {PERSONS} as person_id, date '2024-01-01' + cast(i % 28 as int) as order_date,
            timestamp '2024-01-01 09:00:00' + interval (i % 28) day as ordered_at, ordered_at + interval 1 hour as approved_at,
            ordered_at + interval 1 day as shipped_at, ordered_at + interval 3 day as delivered_at,
            ordered_at + interval 5 day as promised_at, 3 as delivery_days, 'delivered' as status, true as is_valid,
            true as is_counted, 20 + i % 7 as revenue_amount
        from range({ORDERS}) as t (i)""",
    "gold.fct_order_items": f"""
        select 'O' || i as order_id, 1 as line_number, 'SKU' || i % 10 as product_id, 1 as quantity, true as is_valid,
            date '2024-01-01' + cast(i % 28 as int) as order_date, 20 + i % 7 as unit_price, unit_price as gross_amount, 0 as discount_amount, unit_price as revenue_amount,
            5 as profit_amount, 2 as shipping_amount, 1 as tax_amount
        from range({ORDERS}) as t (i)""",
    "gold.fct_payments": f"""
        select 'O' || i as order_id, 1 as payment_number, date '2024-01-01' + cast(i % 28 as int) as order_date,
            'Credit card' as payment_method, 1 as installments, 23 + i % 7 as amount, cast(order_date as timestamp) as paid_at
        from range({ORDERS}) as t (i)""",
    "silver.order_items": f"""
        select 'O' || i as order_id, 1 as line_number, 'SKU' || i % 10 as product_id, 1 as quantity,
            20 + i % 7 as unit_price, 2 as shipping_amount, 1 as tax_amount
        from range({ORDERS}) as t (i)""",
    "silver.payments": f"""
        select 'O' || i as order_id, 1 as payment_number, 'CC' as method, 23 + i % 7 as amount
        from range({ORDERS}) as t (i)""",
    "silver.returns": """
        select 'B' || i as return_id, 'O' || i as order_id, 1 as line_number, 1 as quantity, 20 as refund_amount,
            timestamp '2024-02-05 10:00:00' as returned_at
        from range(20) as t (i)""",
    "silver.shipments": f"""
        select 'S' || i as shipment_id, 'O' || i as order_id, 'Post' as carrier, 4 + i % 2 as cost_amount,
            timestamp '2024-01-02 09:00:00' + interval (i % 28) day as shipped_at, shipped_at + interval 2 day as delivered_at
        from range({ORDERS}) as t (i)""",
    "silver.labels": """
        select * from (values ('category', 'TOY', 'Toys'), ('payment_method', 'CC', 'Credit card')) as t (domain, code, label)""",
    "silver.products": """
        select 'SKU' || i as product_id, 20 + i as list_price, 10 as unit_cost, 'TOY' as category
        from range(30) as t (i)""",
    "silver.products_history": """
        select 'SKU' || i as product_id, v as version, v = 2 as is_current, 20 + i + v as list_price, 300 as weight
        from range(30) as t (i), range(1, 3) as u (v)""",
    "gold.dim_product": """
        select 'SKU' || i as product_id, 'Töpfe & Häute, São Paulo – 3 €' as name, 'TOY' as category_code
        from range(30) as t (i)""",
    "silver.web_events": f"""
        select 'E' || i as event_id, 'C' || i % {PERSONS} as customer_id, 'SKU' || i % 10 as product_id, 'O' || i as order_id
        from range(100) as t (i)""",
    "silver.inventory_snapshots": """
        select date '2024-01-07' as snapshot_date, 'SKU' || i as product_id, 'main' as location_id from range(30) as t (i)""",
    "silver.campaigns": "select 'K1' as campaign_id, 1000 as budget_amount",
    "silver.ad_spend": """
        select date '2024-01-01' + cast(i as int) as spend_date, 'K1' as campaign_id, 500 as impressions, 20 as clicks,
            100 as cost_amount
        from range(10) as t (i)""",
    "silver.social_interactions": "select 'T' || i as interaction_id, 'SKU' || i as product_id from range(9) as t (i)",
    "silver.experiment_assignments": "select 'X' as experiment_id, 'C' || i as customer_id from range(50) as t (i)",
    "silver.postal_codes": """
        select '1000' || i as postal_code, 'BE' as state, 52.5 as latitude, 13.4 as longitude from range(9) as t (i)""",
    "silver.economic_indicators": """
        select 'mood' as indicator, date '2023-01-01' + cast(31 * i as int) as period_date, 100 + i as value
        from range(9) as t (i)""",
    "silver.reviews": """
        select 'R' || i as review_id, 'O' || i as order_id, 1 + i % 5 as score,
            timestamp '2024-01-05 12:00:00' + interval (i % 28) day as created_at, created_at + interval 1 day as answered_at
        from range(300) as t (i)""",
    "gold.dim_date": f"select date '2024-01-01' + cast(i as int) as calendar_date from range({DAYS}) as t (i)",
    "gold.kpi_daily": f"""
        select date '2024-01-01' + cast(i as int) as order_date, 250 + i % 11 as orders, 300 + i as units,
            20 * orders + i as gross_amount, 0 as discount_amount, gross_amount as revenue, 20 as aov
        from range({DAYS}) as t (i)""",
    "gold.rfm": f"""
        select 'P' || i as person_id, 100 + i % 9 as monetary, 2 as frequency, 2 as orders, date '2024-01-02' as first_order_date,
            date '2024-01-20' as last_order_date, ['Champions', 'Loyal', 'New', 'Lost'][1 + i % 4] as segment
        from range({PERSONS}) as t (i)""",
}


def read_all_suites(source: Path | None = None) -> tuple[Catalog, dict[str, Suite]]:
    """The catalog, and every suite as a source asks it that fills all entities."""
    catalog = read_catalog()
    return catalog, read_suites(catalog, catalog.tables, catalog.entities, source)


def fill(con: duckdb.DuckDBPyConnection, catalog: Catalog, tables: Sequence[str] = tuple(ROWS)) -> None:
    """Makes the tables what they are in the good shop."""
    for table in tables:
        con.execute(f"create schema if not exists {table.split('.')[0]}")
        con.execute(create_table_sql(catalog.contract(table), or_replace=True))
        con.execute(f"insert into {table} by name {ROWS[table]}")
        record_change(con, table)
