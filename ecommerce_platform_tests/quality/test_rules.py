"""Every business rule of the platform holds in a good shop, and is broken, alone, by what it is about."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.source import find_source
from ecommerce_platform.quality.gx import ask
from ecommerce_platform.quality.suites import Suite
from ecommerce_platform_tests.quality.good_shop import ROWS, fill, read_all_suites

CATALOG, SUITES = read_all_suites(find_source("olist"))

#: (table, rule) → what goes wrong in the shop, and how many rows the rule then finds (None: it is no rule about rows).
FAULTS: dict[tuple[str, str], tuple[str, int | None]] = {
    ("gold.fct_orders", "approved_after_it_was_placed"): (
        "update gold.fct_orders set approved_at = ordered_at - interval 1 minute where order_id in ('O1', 'O2')", 2
    ),
    ("gold.fct_orders", "shipped_after_it_was_placed"): (
        "update gold.fct_orders set shipped_at = ordered_at - interval 1 minute where order_id = 'O1'", 1
    ),
    ("gold.fct_orders", "delivered_after_it_was_shipped"): (
        "update gold.fct_orders set delivered_at = shipped_at - interval 1 minute where order_id = 'O1'", 1
    ),
    ("gold.fct_orders", "delivered_after_it_was_placed"): (
        "update gold.fct_orders set shipped_at = null, delivered_at = ordered_at - interval 1 day where order_id = 'O1'", 1
    ),
    ("gold.fct_orders", "promised_after_it_was_placed"): (
        "update gold.fct_orders set promised_at = ordered_at - interval 1 day where order_id = 'O1'", 1
    ),
    ("gold.fct_orders", "delivered_orders_have_a_date"): (
        "update gold.fct_orders set delivered_at = null where order_id in ('O1', 'O2', 'O3')", 3
    ),
    ("gold.fct_orders", "called_off_orders_are_not_delivered"): (
        "update gold.fct_orders set status = 'canceled' where order_id = 'O1'", 1
    ),
    ("gold.fct_orders", "brings_money"): (
        "update gold.fct_orders set revenue_amount = -5 where order_id = 'O1'", 1
    ),
    ("gold.fct_orders", "worth_is_plausible"): (
        "update gold.fct_orders set revenue_amount = 1000 * 30 where order_id = 'O1'", 1
    ),
    ("gold.fct_orders", "most_orders_count"): (
        "update gold.fct_orders set is_valid = false where hash(order_id) % 4 = 0", None
    ),
    ("gold.fct_orders", "delivered_within_two_months"): (
        "update gold.fct_orders set delivery_days = 61 where right(order_id, 1) = '4'", 40
    ),
    ("gold.fct_orders", "orders_have_lines"): ("delete from gold.fct_order_items where order_id in ('O1', 'O2')", 2),
    ("gold.fct_orders", "days_are_paid"): (
        "delete from gold.fct_payments where order_id in (select 'O' || i from range(400) as t (i) where i % 28 = 3 and i < 200)", 1
    ),
    ("gold.fct_orders", "nothing_happens_in_the_future"): (
        "update silver.orders set delivered_at = timestamp '2031-01-01' where order_id = 'O1'", 1
    ),
    ("gold.fct_order_items", "lines_sell_something"): (
        "update gold.fct_order_items set quantity = 0 where order_id = 'O1'", 1
    ),
    ("gold.fct_order_items", "taxes_are_usual"): (
        "update gold.fct_order_items set tax_amount = 20 where order_date = '2024-01-04'", 1
    ),
    ("gold.fct_payments", "not_overpaid"): (
        "update gold.fct_payments set amount = 100 * amount where order_id in ('O1', 'O2'); "
        "update gold.fct_orders set status = 'shipped' where order_id in ('O1', 'O2')", 2
    ),
    ("gold.fct_payments", "means_of_payment_is_listed"): (
        "update silver.payments set method = 'cc' where order_id = 'O1'", 1
    ),
    ("gold.dim_product", "category_is_listed"): (
        "update gold.dim_product set category_code = 'toy' where product_id = 'SKU1'", 1
    ),
    ("gold.dim_product", "names_are_readable"): (
        "update gold.dim_product set name = case product_id when 'SKU1' then 'TÃ¶pfe' else repeat('x', 501) end "
        "where product_id in ('SKU1', 'SKU2')", 2
    ),
    ("silver.returns", "belongs_to_an_order"): ("update silver.returns set order_id = 'gone' where return_id = 'B1'", 1),
    ("silver.returns", "belongs_to_a_line"): ("update silver.returns set line_number = 7 where return_id = 'B1'", 1),
    ("silver.returns", "returned_after_the_order"): (
        "update silver.returns set returned_at = timestamp '2023-12-31 23:00:00' where return_id = 'B1'", 1
    ),
    ("silver.returns", "returned_within_the_line"): ("update silver.returns set quantity = 2 where return_id = 'B1'", 1),
    ("silver.returns", "refunded_within_the_order"): (
        "update silver.returns set refund_amount = 2000 where return_id = 'B1'", 1
    ),
    ("silver.shipments", "belongs_to_an_order"): (
        "update silver.shipments set order_id = 'gone' where shipment_id = 'S1'", 1
    ),
    ("silver.shipments", "sent_after_the_order"): (
        "update silver.shipments set shipped_at = timestamp '2023-12-31 23:00:00' where shipment_id = 'S1'", 1
    ),
    ("silver.shipments", "arrives_after_it_was_sent"): (
        "update silver.shipments set delivered_at = shipped_at - interval 1 minute where shipment_id = 'S1'", 1
    ),
    ("silver.shipments", "parcels_differ"): (
        "insert into silver.shipments by name select * replace ('0' || shipment_id as shipment_id) "
        "from silver.shipments where shipment_id in ('S1', 'S2')", 2
    ),
    ("silver.shipments", "freight_is_plausible"): (
        "update silver.shipments set cost_amount = 490 where shipment_id = 'S1'", 1
    ),
    ("silver.web_events", "logged_in_customers_are_known"): (
        "update silver.web_events set customer_id = 'nobody' where event_id = 'E1'", 1
    ),
    ("silver.web_events", "looks_at_known_products"): (
        "update silver.web_events set product_id = 'none' where event_id = 'E1'", 1
    ),
    ("silver.web_events", "purchases_belong_to_orders"): (
        "update silver.web_events set order_id = 'gone' where event_id = 'E1'", 1
    ),
    ("silver.inventory_snapshots", "counts_known_products"): (
        "update silver.inventory_snapshots set product_id = 'none' where product_id = 'SKU1'", 1
    ),
    ("silver.ad_spend", "belongs_to_a_campaign"): (
        "update silver.ad_spend set campaign_id = 'K9' where spend_date = '2024-01-01'", 1
    ),
    ("silver.ad_spend", "clicked_no_more_than_seen"): (
        "update silver.ad_spend set (clicks, impressions) = (500, 20) where spend_date = '2024-01-01'", 1
    ),
    ("silver.ad_spend", "within_the_budget"): (
        "update silver.ad_spend set cost_amount = 10000 where spend_date = '2024-01-01'", 1
    ),
    ("silver.products", "prices_move_little"): (
        "update silver.products_history set list_price = 25 * list_price where is_current and product_id in ('SKU1', 'SKU2')", 2
    ),
    ("silver.products", "weights_move_little"): (
        "update silver.products_history set weight = 0.3 where is_current and product_id = 'SKU1'", 1
    ),
    ("silver.products", "most_cost_less_than_their_price"): (
        "update silver.products set (list_price, unit_cost) = (unit_cost, list_price)", 1
    ),
    ("silver.social_interactions", "is_about_known_products"): (
        "update silver.social_interactions set product_id = 'none' where interaction_id = 'T1'", 1
    ),
    ("silver.experiment_assignments", "takes_known_customers"): (
        "update silver.experiment_assignments set customer_id = 'nobody' where customer_id = 'C1'", 1
    ),
    ("silver.postal_codes", "lies_near_its_state"): (
        "update silver.postal_codes set (latitude, longitude) = (longitude, latitude) where postal_code = '10001'", 1
    ),
    ("silver.economic_indicators", "moves_little"): (
        "update silver.economic_indicators set value = 100 * value where period_date = '2023-01-01'", 1
    ),
    ("silver.customers", "names_are_readable"): (
        "update silver.customers set full_name = case customer_id when 'C1' then 'J\ufffdrgen' when 'C2' then 'MÃœLLER' "
        "else 'A' || chr(7) end where customer_id in ('C1', 'C2', 'C3')", 3
    ),
    ("gold.fct_order_items", "discount_within_the_price"): (
        "update gold.fct_order_items set discount_amount = gross_amount + 1 where order_id = 'O1'", 1
    ),
    ("gold.fct_order_items", "price_fits_the_product"): (
        "update gold.fct_order_items set unit_price = 100 * unit_price where order_id in ('O1', 'O22')", 2
    ),
    ("gold.fct_order_items", "few_lines_are_free"): (
        "update gold.fct_order_items set unit_price = 0 where right(order_id, 1) = '4'", 40
    ),
    ("gold.fct_order_items", "few_lines_are_taken_back"): (
        "update gold.fct_order_items set quantity = -1 where right(order_id, 1) = '4'", 40
    ),
    ("gold.fct_order_items", "few_lines_lose_money"): (
        "update gold.fct_order_items set profit_amount = -1 where right(order_id, 1) in ('4', '5')", 80
    ),
    ("gold.fct_order_items", "lines_are_numbered_without_gaps"): (
        "update gold.fct_order_items set line_number = 2 where order_id = 'O1'", 1
    ),
    ("gold.fct_payments", "paid_is_what_was_sold"): (
        "update gold.fct_order_items set revenue_amount = 1.06 * revenue_amount, discount_amount = -0.06 * gross_amount", 1
    ),
    ("gold.fct_payments", "paid_is_what_was_ordered"): (
        "update gold.fct_payments set amount = amount + 1 where order_id in ('O1', 'O2')", 2
    ),
    ("gold.fct_payments", "delivered_orders_are_paid"): ("delete from gold.fct_payments where order_id = 'O1'", 1),
    ("gold.fct_payments", "something_is_paid"): (
        "insert into gold.fct_payments by name select 'O1' as order_id, 2 as payment_number, date '2024-01-02' as order_date, "
        "'Voucher' as payment_method, 1 as installments, 0 as amount", 1
    ),
    ("gold.fct_payments", "instalments_are_usual"): (
        "update gold.fct_payments set installments = 0 where order_id = 'O1'", 1
    ),
    ("gold.fct_payments", "means_of_payment_is_known"): (
        "update gold.fct_payments set payment_method = 'not_defined' where order_id = 'O1'", 1
    ),
    ("gold.fct_payments", "paid_after_it_was_placed"): (
        "update gold.fct_payments set paid_at = paid_at - interval 1 day where order_id = 'O1'", 1
    ),
    ("silver.customers", "ages_are_plausible"): (
        "update silver.customers set birth_date = case customer_id when 'C1' then date '2015-01-01' else date '1890-01-01' end "
        "where customer_id in ('C1', 'C2')", 2
    ),
    ("silver.customers", "registered_by_the_first_order"): (
        "update silver.customers set registered_at = timestamp '2024-01-03', _load_date = date '2024-01-03' "
        "where customer_id = 'C1'", 1
    ),
    ("silver.customers", "not_registered_in_the_future"): (
        "update silver.customers set registered_at = timestamp '2023-06-05' where customer_id = 'C1'", 1
    ),
    ("silver.customers", "email_can_be_written_to"): (
        "update silver.customers set email = 'nobody@' where customer_id = 'C1'", 1
    ),
    ("silver.customers", "email_belongs_to_few"): (
        "update silver.customers set email = 'None@shop.example' where right(customer_id, 1) = '4'", 1
    ),
    ("silver.customers", "place_is_known"): (
        "update silver.customers set postal_code = null where right(customer_id, 1) = '4'", 1
    ),
    ("silver.reviews", "written_after_the_order"): (
        "update silver.reviews set created_at = timestamp '2023-12-31 23:00:00' where review_id = 'R1'", 1
    ),
    ("silver.reviews", "answered_after_it_was_written"): (
        "update silver.reviews set answered_at = created_at - interval 1 minute where review_id = 'R1'", 1
    ),
    ("silver.reviews", "belongs_to_an_order"): ("update silver.reviews set order_id = 'gone' where review_id = 'R1'", 1),
    ("silver.reviews", "written_on_a_known_day"): (
        "update silver.reviews set created_at = null where right(review_id, 1) = '4'", 30
    ),
    ("silver.reviews", "opinions_differ"): ("update silver.reviews set score = 5 where review_id <> 'R1'", 1),
    ("gold.kpi_daily", "no_day_is_a_copy"): (
        "update gold.kpi_daily set (orders, units, gross_amount, revenue) = (250, 999, 5000, 5000) "
        "where order_date in ('2024-02-10', '2024-02-17')", 1
    ),
    ("gold.kpi_daily", "revenue_is_not_negative"): (
        "update gold.kpi_daily set revenue = -1 where order_date = '2024-02-10'", 1
    ),
    ("gold.kpi_daily", "no_day_is_lost"): ("delete from gold.kpi_daily where order_date = '2024-02-10'", 1),
    ("gold.kpi_daily", "no_day_is_nearly_empty"): (
        "update gold.kpi_daily set orders = 12, revenue = 240 where order_date = '2024-02-10'", 1
    ),
    ("gold.kpi_daily", "revenue_is_plausible"): (
        "update gold.kpi_daily set revenue = 26 * revenue where order_date = '2024-02-10'", 1
    ),
    ("gold.kpi_daily", "order_value_is_plausible"): (
        "update gold.kpi_daily set aov = 100 * aov where order_date = '2024-02-10'", 1
    ),
    ("gold.rfm", "customers_are_known"): ("update gold.rfm set person_id = 'nobody' where person_id = 'P1'", 1),
    ("gold.rfm", "nobody_buys_more_often_than_daily"): (
        "update gold.rfm set frequency = 20 where person_id = 'P1'", 1
    ),
    ("gold.rfm", "no_customer_is_the_shop"): ("update gold.rfm set monetary = 30000 where person_id = 'P1'", 1),
    ("gold.rfm", "customers_bring_money"): ("update gold.rfm set monetary = 0 where right(person_id, 1) in ('4', '5')", 40),
    ("gold.rfm", "segments_tell_customers_apart"): ("update gold.rfm set segment = 'Lost' where person_id <> 'P1'", 1),
}  # fmt: skip

#: Faults that cannot but break a second rule.
ALSO = {
    "paid_is_what_was_sold": {"paid_is_what_was_ordered"},
}


@pytest.fixture(scope="module")
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        fill(con, CATALOG)
        yield con


def answers(con: duckdb.DuckDBPyConnection, suite: Suite, catalog: Catalog = CATALOG) -> dict[str, tuple]:
    (asked,) = ask(con, [suite], catalog)
    return {v.rule: (v.outcome, v.found, v.examples) for v in asked.verdicts}


def test_every_rule_has_a_fault_here() -> None:
    rules = {(suite.table, rule.name) for suite in SUITES.values() for rule in suite.rules}
    assert FAULTS.keys() == rules


def test_every_rule_holds_in_a_good_shop(shop: duckdb.DuckDBPyConnection) -> None:
    asked = ask(shop, list(SUITES.values()), CATALOG)
    verdicts = [v for a in asked for v in a.verdicts]
    assert {v.rule: v.outcome for v in verdicts if v.outcome != "held"} == {}
    assert len(verdicts) == len(FAULTS)


@pytest.mark.parametrize(("table", "rule"), FAULTS, ids=lambda value: str(value))
def test_a_rule_is_broken_by_what_it_is_about_and_by_nothing_else(
    shop: duckdb.DuckDBPyConnection, table: str, rule: str
) -> None:
    fault, found = FAULTS[table, rule]
    try:
        shop.execute(fault)
        given = answers(shop, SUITES[table])
    finally:
        fill(shop, CATALOG, [name for name in ROWS if name in fault])
    assert {name for name, (outcome, *_) in given.items() if outcome == "broken"} == {rule} | ALSO.get(rule, set())
    assert {name for name, (outcome, *_) in given.items() if outcome == "error"} == set()
    assert found is None or given[rule][1] == found
    assert given[rule][2], "no example is shown"


def test_tax_that_prices_include_is_not_due_once_more(shop: duckdb.DuckDBPyConnection) -> None:
    try:
        shop.execute("update gold.fct_orders set tax_included = true")
        assert answers(shop, SUITES["gold.fct_payments"])["paid_is_what_was_ordered"][0] == "broken", (
            "tax was paid on top"
        )
        shop.execute("update gold.fct_payments set amount = amount - 1")
        given = answers(shop, SUITES["gold.fct_payments"])
        shop.execute("update silver.orders set tax_included = true")
        shop.execute("update silver.returns set refund_amount = 22.5 where order_id = 'O0'")
        back = answers(shop, SUITES["silver.returns"])
    finally:
        fill(shop, CATALOG, ["gold.fct_orders", "gold.fct_payments", "silver.orders", "silver.returns"])
    assert {name for name, (outcome, *_) in given.items() if outcome != "held"} == set()
    assert back["refunded_within_the_order"][:2] == ("broken", 1), "price and shipping are 22.00"


def test_a_handful_of_rows_is_not_judged_by_shares(shop: duckdb.DuckDBPyConnection) -> None:
    shop.execute("delete from gold.fct_orders where order_id not in ('O1', 'O2')")
    shop.execute("update gold.fct_orders set is_valid = false")
    try:
        given = answers(shop, SUITES["gold.fct_orders"])
    finally:
        fill(shop, CATALOG, ["gold.fct_orders"])
    assert given["most_orders_count"][0] == "no data"
    assert given["approved_after_it_was_placed"][0] == "held"


def test_an_empty_table_and_one_that_is_not_built_break_nothing(shop: duckdb.DuckDBPyConnection) -> None:
    shop.execute("delete from gold.rfm")
    empty = answers(shop, SUITES["gold.rfm"])
    shop.execute("drop table gold.rfm")
    missing = answers(shop, SUITES["gold.rfm"])
    fill(shop, CATALOG, ["gold.rfm"])
    assert {outcome for outcome, *_ in (*empty.values(), *missing.values())} == {"no data"}
