"""What is planted can be dug up: plain estimates from the delivered files find the truth within their sampling error.

Nothing here looks into the simulation; an analyst with the files alone could do the same.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from ecommerce_platform.simulation import Truth, generate_shop

ORDERS, DAYS = 200_000, 730
#: Standard errors that an estimate may be off: the seed is fixed, so this holds or does not, but never by chance.
SIGMAS = 3.0


class Files:
    """A shop's delivered files as views, orders in their newest version."""

    def __init__(self, folder: Path) -> None:
        raw = folder / "raw" / "*"
        self.con = duckdb.connect()
        self.con.execute(f"""
            create table orders as
                select order_no, customer_system as system, customer_no, placed::timestamp as placed, state, promo,
                    received::timestamp as received, due::date as due
                from read_csv('{raw}/orders.csv', all_varchar = true, filename = true)
                qualify row_number() over (partition by order_no order by filename desc) = 1;
            create view valid as from orders where state not in ('cancelled', 'not_available');
            create table items as from '{raw}/order_items.parquet';
            create table products as
                select sku, cat, price::double as price, date_trunc('month', split_part(filename, '/', -2)::date) as month
                from read_json('{raw}/products.json', filename = true, columns = {{sku: 'VARCHAR', cat: 'VARCHAR', price: 'DOUBLE'}});
            create table customers as
                select customer_no, arg_min(age_band, filename) as age_band, arg_min(area, filename) as area,
                    min(registered) as registered
                from read_json('{raw}/web_customers.jsonl', filename = true, columns =
                    {{customer_no: 'VARCHAR', age_band: 'VARCHAR', area: 'VARCHAR', registered: 'TIMESTAMP'}})
                group by 1;
            create table events as from '{raw}/web_events.parquet';
        """)
        self.raw = raw

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.con.execute(sql).fetchall()

    def table(self, sql: str) -> dict[str, np.ndarray]:
        return self.con.execute(sql).fetchnumpy()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Truth, Files]:
    folder = tmp_path_factory.mktemp("planted")
    truth = generate_shop(folder, orders=ORDERS, days=DAYS, seed=7, dirty_share=0)
    return truth, Files(folder)


def test_experiments_show_the_uplift_of_each_arm(made: tuple[Truth, Files]) -> None:
    truth, files = made
    files.con.execute(f"""
        create or replace table assigned as from read_json('{files.raw}/experiments.jsonl', columns =
            {{experiment: 'VARCHAR', customer: 'VARCHAR', variant: 'VARCHAR', assigned_at: 'TIMESTAMP'}})""")
    clear = 0
    for experiment in truth.planted["experiments"]:
        last = date.fromisoformat(experiment["last_date"]) + timedelta(days=1)
        found = files.table(f"""
            select variant, coalesce(age_band, '?') as age_band, count(order_no) as orders
            from assigned
            left join orders on orders.system = 'SHOP' and orders.customer_no = assigned.customer
                and placed >= assigned_at and placed < date '{last}'
            left join customers on customers.customer_no = assigned.customer
            where experiment = '{experiment["experiment_id"]}'
            group by assigned.customer, variant, age_band""")
        variant, age_band, orders = found["variant"], found["age_band"], found["orders"]
        control = variant == "control"
        for arm, planted in experiment["uplift"].items():
            if arm == "control":
                continue
            treated = variant == arm
            means = orders[treated].mean(), orders[control].mean()
            errors = orders[treated].std() / treated.sum() ** 0.5, orders[control].std() / control.sum() ** 0.5
            uplift = means[0] / means[1] - 1
            error = (1 + uplift) * np.hypot(errors[0] / means[0], errors[1] / means[1])
            # What is to be expected of this arm: its groups' uplifts, weighted by what they buy without it.
            known = {group: orders[control & (age_band == group)].sum() for group in planted}
            expected = sum(known[group] * planted[group] for group in planted) / sum(known.values())
            assert abs(uplift - expected) < SIGMAS * error, (experiment["experiment_id"], arm, uplift, expected, error)
            clear += uplift > 2 * error
    assert clear >= 2


def test_regions_without_advertising_tell_how_many_orders_it_caused(made: tuple[Truth, Files]) -> None:
    truth, files = made
    per_day = files.rows("""
        select area, placed::date, count(*) from valid join customers using (customer_no)
        where system = 'SHOP' and area is not null group by all""")
    counts = {(area, day): n for area, day, n in per_day}
    regions = {area for area, _, _ in per_day}
    caused, variance, planted = 0.0, 0.0, 0
    for flight in truth.planted["campaigns"]:
        first, last = (date.fromisoformat(flight[name]) for name in ("first_date", "last_date"))

        def orders(where: set[str], begin: date, end: date) -> int:
            days = (begin + timedelta(days=n) for n in range((end - begin).days + 1))
            return sum(counts.get((area, day), 0) for day in days for area in where)

        reached = set(flight["regions"])
        quiet = [(first - timedelta(days=7), first - timedelta(days=1)), (last + timedelta(days=1), last + timedelta(days=7))]  # fmt: skip
        there, elsewhere = orders(reached, first, last), orders(regions - reached, first, last)
        before = sum(orders(reached, *span) for span in quiet)
        other = sum(orders(regions - reached, *span) for span in quiet)
        expected = elsewhere * before / other
        caused += there - expected
        variance += there + expected**2 * (1 / elsewhere + 1 / before + 1 / other)
        planted += flight["incremental_orders"]
    error = variance**0.5
    assert abs(caused - planted) < SIGMAS * error
    assert caused > 2 * error > 0


def test_campaigns_are_credited_with_more_than_they_caused(made: tuple[Truth, Files]) -> None:
    truth, files = made
    credited = dict(files.rows("select promo, count(*) from orders where promo like 'AD-%' and state not in ('cancelled', 'not_available') group by 1"))  # fmt: skip
    spent = dict(files.rows(f"""
        select "Campaign ID", sum("Cost") from (
            from read_csv('{files.raw}/ad_reports.tsv', delim = '\t', encoding = 'utf-16', filename = true, header = true,
                columns = {{'Day': 'VARCHAR', 'Campaign ID': 'VARCHAR', 'Campaign': 'VARCHAR', 'Impr.': 'BIGINT', 'Clicks': 'BIGINT', 'Cost': 'DECIMAL(12, 2)'}})
            qualify row_number() over (partition by "Day", "Campaign ID" order by filename desc) = 1)
        group by 1"""))  # fmt: skip
    complete = 0
    for flight in truth.planted["campaigns"]:
        # Orders that end after the last day count as delivered in the truth, for that is what becomes of them.
        assert abs(credited.get(flight["campaign_id"], 0) - flight["credited_orders"]) <= 2
        assert flight["credited_orders"] >= flight["incremental_orders"]
        complete += str(spent.get(flight["campaign_id"])) == flight["cost_amount"]
    # Only the last flight's last days may stand in a report that has not come yet.
    assert complete >= len(truth.planted["campaigns"]) - 1 > 20


def _elasticity(lines: np.ndarray, price: np.ndarray) -> tuple[float, float]:
    """Price elasticity and its standard error: a logit of which product was bought, given the month and the product.

    Both are months × products of one category; `price` is nan where a product was not listed. Lines are Poisson with
    a level per product, a level per month and the elasticity; fitted by Newton's method on the elasticity, the levels
    by iterative proportional fitting in between.
    """
    sold = lines.sum(axis=0) >= 20
    lines, price = lines[:, sold], price[:, sold]
    listed = ~np.isnan(price)
    x = np.where(listed, np.log(np.where(listed, price, 1.0)), 0.0)
    lines = np.where(listed, lines, 0.0)
    beta, information = 0.0, 1.0
    for _ in range(12):
        mean = np.where(listed, np.exp(beta * (x - x.max(axis=0))), 0.0)
        for _ in range(60):
            mean *= lines.sum(axis=0) / np.maximum(mean.sum(axis=0), 1e-12)
            mean *= (lines.sum(axis=1) / np.maximum(mean.sum(axis=1), 1e-12))[:, None]
        # The price beyond what levels of product and month explain, weighted by what is expected to be sold.
        rest = x.copy()
        for _ in range(60):
            rest = rest - (mean * rest).sum(axis=0) / np.maximum(mean.sum(axis=0), 1e-12)
            rest = rest - ((mean * rest).sum(axis=1) / np.maximum(mean.sum(axis=1), 1e-12))[:, None]
        information = float((mean * rest**2).sum())
        beta += float(((lines - mean) * rest).sum()) / information
    return beta, information**-0.5


def test_prices_move_demand_by_the_elasticity_of_the_category(made: tuple[Truth, Files]) -> None:
    truth, files = made
    # First lines only: second ones are often what goes with the first.
    found = files.table("""
        select products.cat, products.sku, products.month, any_value(price) as price, count(items.sku) as lines
        from products
        left join (select sku, date_trunc('month', placed) as month from items join orders using (order_no) where pos = 1)
            as items on items.sku = products.sku and items.month = products.month
        group by all""")
    months = {month: i for i, month in enumerate(np.unique(found["month"]))}
    off, errors = [], []
    for category, planted in truth.planted["price_elasticity"].items():
        here = found["cat"] == category
        products = {sku: i for i, sku in enumerate(np.unique(found["sku"][here]))}
        row = np.array([months[m] for m in found["month"][here]])
        column = np.array([products[s] for s in found["sku"][here]])
        lines, price = np.zeros((len(months), len(products))), np.full((len(months), len(products)), np.nan)
        lines[row, column], price[row, column] = found["lines"][here], found["price"][here]
        elasticity, error = _elasticity(lines, price)
        assert error < 0.6, category
        off.append((elasticity - planted) / error)
        errors.append(error)
    assert np.abs(off).max() < SIGMAS + 0.5, off
    # Over all categories they are as far off as sampling makes them.
    assert 0.3 < np.mean(np.square(off)) < 2.5, off


def test_products_that_belong_together_are_bought_together(made: tuple[Truth, Files]) -> None:
    truth, files = made
    planted = truth.planted["companions"]
    assert len(planted) == len({first for first, _ in planted}) > 100, "a product has one companion"
    # Of products that sell less there are too few pairs to tell one by one.
    for first, second in planted[:5]:
        ((pairs, together),) = files.rows(f"""
            select count(*), count(*) filter (where b.sku = '{second}')
            from items as a join items as b on a.order_no = b.order_no and b.pos = 2
            where a.pos = 1 and a.sku = '{first}'""")
        share = together / pairs
        error = (0.3 * 0.7 / pairs) ** 0.5
        # The companion also comes by chance, as every product does.
        assert -SIGMAS * error < share - truth.planted["companion_probability"] < SIGMAS * error + 0.05


def test_strange_days_stand_out_by_their_factor(made: tuple[Truth, Files]) -> None:
    truth, files = made
    per_day = dict(files.rows("select placed::date, count(*) from orders group by 1"))
    assert len(truth.planted["strange_days"]) >= 5
    for text, factor in truth.planted["strange_days"].items():
        day = date.fromisoformat(text)
        around = [per_day[day + timedelta(days=n)] for n in (-14, -7, 7, 14) if day + timedelta(days=n) in per_day]
        assert 0.7 * factor < per_day[day] / np.mean(around) < 1.4 * factor


def test_tastes_and_new_customers_are_different_after_the_drift(made: tuple[Truth, Files]) -> None:
    truth, files = made
    drift = truth.planted["drift"]
    moved = date.fromisoformat(drift["from"])
    # The same months of the year before the drift and after it.
    span = date(2025, 12, 31) - moved
    spans = [(moved.replace(year=2024), moved.replace(year=2024) + span), (moved, moved + span)]
    shares = [
        dict(files.rows(f"""
            select split_part(sku, '-', 1), count(*) / sum(count(*)) over () from items join orders using (order_no)
            where placed >= date '{begin}' and placed < date '{end}' group by 1"""))
        for begin, end in spans
    ]  # fmt: skip
    growth = {c: shares[1][c] / shares[0][c] for c in shares[0]}
    rest = np.median([g for c, g in growth.items() if c not in drift["category_demand_factor"]])
    assert drift["category_share_factor"].keys() == drift["category_demand_factor"].keys() != set()
    for category, expected in drift["category_share_factor"].items():
        # Prices and the range move as well, and with them what is bought.
        assert expected * 0.75 < growth[category] / rest < expected * 1.33, category
    ages = [
        dict(files.rows(f"""
            select age_band, count(*) / sum(count(*)) over () from customers
            where age_band is not null and registered >= date '{begin}' and registered < date '{end}' group by 1"""))
        for begin, end in ((date(2024, 1, 1), moved), (moved, date(2026, 1, 1)))
    ]  # fmt: skip
    for found, name in zip(ages, ("before", "after"), strict=True):
        for band, share in drift[f"age_group_of_new_customers_{name}"].items():
            assert abs(found[band] - share) < 0.02, (name, band)
    assert ages[1]["18-24"] > 1.2 * ages[0]["18-24"]


def test_customers_whose_parcel_came_late_order_less_often_again(made: tuple[Truth, Files]) -> None:
    """Counted are orders placed after the parcel had arrived: before, nobody knew that it would be late."""
    truth, files = made
    rows = dict(
        files.rows("""
            with mine as (
                select *, max(cast(placed as timestamp)) over (partition by system, customer_no) as last_placed
                from orders where customer_no is not null
            )
            select cast(received as date) > cast(due as date), avg(cast(last_placed > cast(received as timestamp) as integer))
            from mine
            where received is not null and due is not null and cast(received as date) < date '2025-07-01'
            group by 1""")
    )
    lost = 1 - rows[True] / rows[False]
    assert abs(lost - truth.planted["late_delivery_leave_probability"]) < 0.08, rows


def test_consumer_confidence_moves_orders(made: tuple[Truth, Files]) -> None:
    truth, files = made
    confidence = dict(
        files.rows(f"""
            select strptime(Monat, '%m/%Y')::date, replace(arg_max(Wert, filename), ',', '.')::double
            from read_csv('{files.raw}/economy.csv', delim = ';', encoding = 'latin-1', all_varchar = true, filename = true)
            where Reihe = 'Konsumklima' group by 1""")
    )
    strange = ", ".join(f"date '{day}'" for day in truth.planted["strange_days"])
    months = files.rows(f"""
        select date_trunc('month', placed)::date as month, count(*) / count(distinct placed::date)
        from orders where placed::date not in ({strange}) group by 1 order by 1""")
    # A month against the same month a year before: the season is the same; growth is a constant and a slope.
    level = {month: np.log(n) for month, n in months}
    pairs = [(m, m.replace(year=m.year + 1)) for m in level if m.replace(year=m.year + 1) in level]
    pairs = [(a, b) for a, b in pairs if a in confidence and b in confidence]
    growth = np.array([level[b] - level[a] for a, b in pairs])
    design = np.array([[1.0, i, confidence[b] - confidence[a]] for i, (a, b) in enumerate(pairs)])
    solution, residual, _, _ = np.linalg.lstsq(design, growth, rcond=None)
    variance = residual[0] / (len(pairs) - 3) * np.linalg.inv(design.T @ design)
    error = variance[2, 2] ** 0.5
    assert abs(solution[2] - truth.planted["consumer_confidence_effect"]) < SIGMAS * error
    assert solution[2] > 2 * error


def test_goods_come_back_as_often_as_their_category_says(made: tuple[Truth, Files]) -> None:
    truth, files = made
    ended = date(2024, 1, 1) + timedelta(days=DAYS - 60)
    rates = files.rows(f"""
        with back as (
            select "Bestellung" as order_no, "Position"::integer as pos
            from read_csv('{files.raw}/returns.csv', delim = ';', encoding = 'latin-1', all_varchar = true)
            where "Position" is not null)
        select split_part(sku, '-', 1), received::date > due, count(*), count(back.pos)
        from items join orders using (order_no) left join back using (order_no, pos)
        where state = 'delivered' and received < date '{ended}' and due is not null group by 1, 2""")
    # One return in seventeen does not say which line it was.
    named = 16 / 17
    off = []
    for category, late, lines, returned in rates:
        planted = (truth.planted["return_rates"][category] + truth.planted["late_return_rate"] * late) * named
        off.append((returned / lines - planted) / (planted * (1 - planted) / lines) ** 0.5)
    assert len(off) == 30
    assert np.abs(off).max() < 4.5, off
    assert 0.4 < np.mean(np.square(off)) < 2, off


def test_visits_go_through_the_funnel(made: tuple[Truth, Files]) -> None:
    truth, files = made
    steps = ("page_view", "product_view", "add_to_cart", "checkout", "purchase")
    reached = [files.rows(f"select count(distinct session) from events where event = '{step}'")[0][0] for step in steps]
    for here, there, planted in zip(reached, reached[1:], truth.planted["funnel"], strict=False):
        assert abs(there / here - planted) < 0.01
    ((online,),) = files.rows("select count(*) from orders where system = 'SHOP' and order_no in (select order_no from events)")  # fmt: skip
    ((all_online,),) = files.rows("select count(*) from orders where system is null or system = 'SHOP'")
    # Marketplace orders are placed elsewhere and never measured.
    assert 0.6 < online / all_online / truth.planted["tracked_visitor_share"] < 1.0


def test_good_products_are_spoken_of_well(made: tuple[Truth, Files]) -> None:
    _, files = made
    found = files.table(f"""
        with voices as (
            select sku, avg(tone) as tone, count(tone) as n
            from read_json('{files.raw}/social.jsonl', columns = {{sku: 'VARCHAR', tone: 'DOUBLE'}})
            where sku is not null group by 1
        ), stars as (
            select sku, avg(stars::integer) as stars
            from read_csv('{files.raw}/reviews.csv', all_varchar = true) join items using (order_no)
            where pos = 1 group by 1)
        select tone, stars from voices join stars using (sku) where n >= 15""")
    assert np.corrcoef(found["tone"], found["stars"])[0, 1] > 0.6


def test_products_with_too_low_a_reorder_point_run_out(made: tuple[Truth, Files]) -> None:
    truth, files = made
    empty = dict(files.rows(f"""
        select ARTNR, avg((BESTAND = '0')::integer)
        from read_csv('{files.raw}/stock_counts.csv', delim = ';', all_varchar = true) group by 1"""))  # fmt: skip
    short = [share for sku, share in empty.items() if sku in truth.planted["understocked_products"]]
    others = [share for sku, share in empty.items() if sku not in truth.planted["understocked_products"]]
    assert np.mean(short) > 3 * np.mean(others)
    assert len(short) > 10
