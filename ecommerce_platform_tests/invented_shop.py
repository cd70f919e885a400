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
    "silver.row_accounting": "select t.name as _raw_table, date '2024-07-01' as _load_date, 1000 as rows_landed, 945 as rows_used, 40 as rows_superseded, "
    "10 as rows_rejected, 5 as rows_left_out from (values ('orders'), ('customers')) t(name)",
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

_AHEAD = (
    "o.origin < date '2024-07-13' as is_backtest, o.origin as origin_date, o.origin + h::int as forecast_date, h as horizon, "
    "size * (100 + h) as forecast, forecast * 0.8 as low_90, forecast * 1.3 as high_90, if(is_backtest, forecast * if(h = 5, 2, 1.1), null) as actual, "
    "'ets' as method, 'best_per_series' as model, 'v1' as model_version"
)
_ORIGINS = "(values (date '2024-05-18'), (date '2024-06-15'), (date '2024-07-13')) o(origin)"
#: What models and decisions leave behind, invented too: how it comes about is tested with them.
ML = {
    "ml.revenue_forecast": f"select measure, level, series, {_AHEAD} from (values ('revenue', 'total', 'total', 4), ('orders', 'total', 'total', 0.1), "
    f"('revenue', 'category', 'Kitchen', 3), ('revenue', 'category', 'Light', 1)) s(measure, level, series, size), {_ORIGINS}, range(1, 29) t(h)",
    "ml.demand_forecast": f"select 'units' as measure, level, series, period, {_AHEAD} from (values ('total', 'total', 'day', 1), "
    f"('category', 'Kitchen', 'day', 1), ('product', 'p4', 'week', 0.2), ('product', 'p5', 'week', 0.1)) s(level, series, period, size), {_ORIGINS}, range(1, 29) t(h) "
    "where period = 'day' or h <= 4",
    "ml.demand_quantiles": "select product_id, 6 as lead_time_days, 1 as weeks, units as expected_units, units as units_p50, units + 2 as units_p80, units + 3 as units_p90, "
    "units + 5 as units_p95, units + 9 as units_p99, 1 as known_week_share, 'croston' as method, 'best_per_series' as model, 'v1' as model_version "
    "from (values ('p4', 20), ('p5', 10)) s(product_id, units)",
    "ml.model_summary": "select model, '2024-06-01' as fold, metric, 'v1' as model_version, false as is_pinned, timestamp '2024-07-14' as trained_at, "
    "date '2023-01-01' as data_from, date '2024-07-13' as data_to, 560 as rows_trained, promoted, published_as, verdict, value, baseline, baseline_value, "
    "value - baseline_value - 0.1 as interval_low, value - baseline_value + 0.1 as interval_high, true as decides from (values "
    "('revenue_forecast', 'mase', true, 'best_per_series', 'beat the seasonal naive forecast', 0.7, 'seasonal_naive', 1.0), "
    "('churn', 'auc', false, 'baseline:recency_alone', 'did not beat recency alone', 0.71, 'recency_alone', 0.72)) "
    "s(model, metric, promoted, published_as, verdict, value, baseline, baseline_value)",
    "ml.churn_scores": "select 'c' || n as person_id, date '2024-07-13' as as_of_date, n as recency_days, n / 100 as churn_probability, n >= 60 as is_at_risk, "
    "10 - n // 10 as risk_decile, 'last order ' || n || ' days ago (+12); 2 returns (-3)' as reasons, 'logistic_regression' as model, 'v1' as model_version from range(100) t(n)",
    "ml.clv_scores": "select 'c' || n as person_id, date '2024-07-13' as as_of_date, 180 as horizon_days, 100 - n as expected_revenue, 0 as revenue_low, 300 as revenue_high, "
    "1 + n // 10 as value_decile, 'random_forest' as model, 'v1' as model_version from range(100) t(n)",
    "ml.clv_calibration": "select method, decile, '2024-01-15' as fold, 10 as persons, 10 * (90 - 8 * decile) as expected_revenue, 10 * (95 - 9 * decile) as actual_revenue, "
    "90 - 8 * decile as mean_expected, 95 - 9 * decile as mean_actual, 'random_forest' as model, 'v1' as model_version "
    "from (values ('random_forest'), ('past_average')) m(method), range(1, 11) t(decile)",
    "ml.decisions": "select decision, status, 'because' as reason, 3 as rows, expected_value, expected_value - 10 as value_low, expected_value + 10 as value_high, "
    "'EUR a week' as value_unit, 'gold.fct_orders' as made_from from (values ('staffing_plan', 'made', null), ('price_recommendations', 'made', 42.0), "
    "('budget_allocation', 'abstained', null), ('inventory_plan', 'refused', null)) s(decision, status, expected_value)",
    "ml.budget_allocation": "select channel, 3 as flights, spend_now, spend, spend - 10 as spend_low, spend + 10 as spend_high, 10 as lower_bound, 900 as upper_bound, "
    "5 as orders_now, 7 as orders, 0.1 as marginal_orders, 2 as response_scale, 0.5 as response_exponent "
    "from (values ('search', 100, 160), ('social', 200, 140)) s(channel, spend_now, spend)",
    "ml.price_recommendations": "select 'Light' as category, product_id, 20 as price, 20 * (1 + move) as recommended_price, move, 18 as lowest_price, 22 as highest_price, "
    "9 as unit_cost, 10 as units_per_week, 9.5 as units_expected, -1.2 as own_response, 0.1 as neighbours_response, 0 as total_response, 4 as review_score, "
    "42 as category_value, 32 as category_value_low, 52 as category_value_high from (values ('p1', 0.05), ('p5', -0.05)) s(product_id, move)",
    "ml.staffing_plan": "select d as weekday, 40 + d as orders_mean, 50 + d as orders_quantile, 2 as people_needed, 2 as people_needed_low, 3 as people_needed_high, "
    "if(d < 5, 1, 0) as people_starting, 2 + d % 2 as people_on_duty, 0.5 as orders_left_over, 0.95 as days_packed_share, 100 * people_on_duty as cost_amount, "
    "13 as weeks from range(1, 8) t(d)",
    "ml.inventory_plan": "select product_id, 5 as on_hand, 6 as lead_time_days, 20 as weeks_observed, 4 as units_per_week, 8 as units_protected, 8 as reorder_point_now, "
    "9 as reorder_point, quantity as order_quantity, 12 as value, 2 as value_low, 30 as value_high from (values ('p4', 17), ('p5', 0)) s(product_id, quantity)",
    "ml.retention_actions": "select 'c' || n as person_id, n as priority, 'voucher' as action, 'exp1' as experiment_id, 'likely to leave' as reason, "
    "0.1 as uplift, 2 as cost, 9 - n as expected_value, 1 as value_low, 12 as value_high, (9 - n) / 2 - 1 as roi, 0.7 as churn_probability, "
    "60 as expected_revenue, 90 as window_days from range(1, 4) t(n)",
    "ml.retention_simulation": "select who, varied, 'expected' as bound, customers, 90 as days, 0.1 as response, 'assumed' as response_from, 3 as discount, "
    "40 as expected_to_leave, 4 as kept, 30 as profit_of_one, 120 as gain, 12 as discount_to_kept, 20 as discount_to_stayers, 5 as contact_cost, "
    "net, net - 30 as net_low, net + 40 as net_high, 0.03 as pays_from_response, 250 as needed_per_arm "
    "from (values ('at_risk', 'nothing', 50, 83), ('everybody', 'nothing', 100, -20), ('at_risk', 'response', 50, 10)) s(who, varied, customers, net)",
    "ml.cross_sell": "select 'Loyal' as segment_name, 1 as place, 'p1' as product_id, 'p4' as other_product_id, 40 as baskets, 8 as with_both, 0.2 as share, "
    "5 as profit, 11 as expected_value, 2 as value_low, 30 as value_high",
    "ml.delivery_plan": "select 'Nord' as region, carrier, 100 as parcels, late_share, 3 as days, 4 as cost, 0.001 as p_value, alternative, "
    "if(alternative is null, null, 0.05) as alternative_late_share, if(alternative is null, null, 120) as alternative_parcels, "
    "if(alternative is null, null, 15) as fewer_late, if(alternative is null, null, 8) as fewer_late_low, if(alternative is null, null, 22) as fewer_late_high, "
    "if(alternative is null, null, -0.5) as days_more, if(alternative is null, null, 60) as cost_more, if(alternative is null, null, 4) as cost_per_late_avoided "
    "from (values ('slow', 0.2, 'quick'), ('quick', 0.05, null)) s(carrier, late_share, alternative)",
    "ml.experiment_results": "select 'exp1' as experiment_id, 'new' as arm, metric, role, 'planned' as reading, 'old' as control, verdict, 100 as units, 100 as control_units, "
    "0 as in_two_arms, 0.5 as planned_share, true as shares_declared, timestamp '2024-03-01' as assigned_from, timestamp '2024-03-02' as assigned_until, 28 as window_days, "
    "true as is_complete, 'holm' as correction, lift, lift - 0.05 as lift_low, lift + 0.05 as lift_high "
    "from (values ('orders', 'primary', 'better', 0.08), ('revenue', 'secondary', 'no_evidence', 0.01)) s(metric, role, verdict, lift)",
}  # fmt: skip
#: Of an investment that costs 1,000 once and brings 200 for 50 a month.
_RETURNS = """
select 'chat' as investment, scenario, 12 as months, 0.08 as discount_rate, benefit as monthly_benefit, 1000 as upfront_amount, 50 as monthly_cost,
    net as net_benefit, value as net_present_value, net / 1600 as return_on_investment, 1000 / (benefit - 50) as payback_months, even as break_even_benefit,
    400 as value_mean, 100 as value_low, 900 as value_high, 0.05 as loss_probability, 'monthly_benefit: 0 to 900' as sensitivity
from (values {rows}) s(scenario, benefit, net, value, even)
"""


def publish_shop(published: Path, *, leave_out: frozenset[str] = frozenset(), orders: int = ORDERS) -> Snapshot:
    """Publishes the shop.

    Args:
        published: the folder of snapshots.
        leave_out: silver and ml tables that stay empty, as in a shop that has no such thing.
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

    for table, sql in {**GOLD, **ML, "ml.roi_scenarios": _returns()}.items():
        if table not in leave_out:
            con.execute(f"insert into {table} by name {sql}")
    for name in sorted(catalog.tables):
        fill(name)
    for name, table in catalog.tables.items():
        if any(con.execute(f"select count(*) = 0 from silver.{e}").fetchall()[0][0] for e in table.contract.requires):
            con.execute(f"drop table {name}")


def _returns() -> str:
    """The scenarios, worked out as a build does."""
    from ecommerce_platform.decisions.returns import calculate

    found = {scenario: (benefit, calculate(1000, benefit, 50, 12, 0.08)) for scenario, benefit in
             (("pessimistic", 150), ("expected", 200), ("optimistic", 250))}  # fmt: skip
    lines = [
        f"('{scenario}', {benefit}, {r.net_benefit!r}::double, {r.net_present_value!r}::double, {r.break_even_benefit!r}::double)"
        for scenario, (benefit, r) in found.items()
    ]
    return _RETURNS.format(rows=", ".join(lines))


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
