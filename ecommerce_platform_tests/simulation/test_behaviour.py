"""How the shop behaves: the patterns that KPIs and models are meant to find are really there."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.simulation import generate_shop
from ecommerce_platform.simulation.orders import DELIVERED, days_late
from ecommerce_platform.simulation.people import CRM, NEVER, PHONE, STORE, WEB_SHOP
from ecommerce_platform.simulation.seasons import SECONDS
from ecommerce_platform.simulation.simulate import Shop, simulate

START = date(2024, 1, 1)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return simulate(orders=40_000, days=730, seed=2, start=START, progress=lambda what, done, total: None)


def _orders_per_day(shop: Shop) -> np.ndarray:
    return np.bincount(shop.orders.day, minlength=730)


def _month(day: int) -> int:
    return (START + timedelta(days=int(day))).month


def test_a_tenth_of_the_buyers_places_a_third_of_the_orders_or_more(shop: Shop) -> None:
    buyers = shop.orders.person[shop.orders.person >= 0]
    counts = np.sort(np.bincount(buyers))[::-1]
    counts = counts[counts > 0]
    assert counts[: len(counts) // 10].sum() / counts.sum() > 1 / 3
    assert counts.max() > 20 * np.median(counts)


def test_customers_leave_and_do_not_come_back(shop: Shop) -> None:
    customer, day = shop.orders.person, shop.orders.day
    known = customer >= 0
    assert (day[known] <= shop.customers.leaves[customer[known]]).all()
    early = np.unique(customer[known & (day < 180)])
    active_late = np.unique(customer[known & (day >= 365)])
    assert np.isin(early, active_late).mean() < 0.5
    # Yet a good part of them comes again before leaving.
    assert (np.bincount(customer[known])[early] > 1).mean() > 0.3


def test_a_late_parcel_drives_customers_away(shop: Shop) -> None:
    orders, late = shop.orders, days_late(shop.orders) > 0
    window = (orders.person >= 0) & (orders.received < 365 * SECONDS)
    last = np.zeros(len(shop.customers), dtype=np.int64)
    np.maximum.at(last, np.maximum(orders.person, 0), orders.placed)
    again = last[orders.person] > orders.received
    assert again[window & late].mean() < again[window & ~late].mean() - 0.05


def test_late_deliveries_lower_scores(shop: Shop) -> None:
    late = days_late(shop.orders)[shop.reviews.order] > 0
    scores = shop.reviews.score
    assert scores[late].mean() < scores[~late].mean() - 0.7
    assert set(np.unique(scores)) == {1, 2, 3, 4, 5}


def test_one_review_in_ten_has_one_star_as_in_real_shops(shop: Shop) -> None:
    assert 0.09 < (shop.reviews.score == 1).mean() < 0.14


def test_prices_end_in_nine_five_and_zero(shop: Shop) -> None:
    """Six of ten products in 9, two each in 5 and 0, the same all the time unless the price is the least there is."""
    price = shop.catalogue.price
    ending = (price % 10)[:, (price > 99).all(axis=0)]
    assert (ending == ending[0]).all()
    share = np.bincount(ending[0], minlength=10) / ending.shape[1]
    assert set(np.flatnonzero(share)) == {0, 5, 9}
    assert np.abs(share[[9, 5, 0]] - [0.6, 0.2, 0.2]).max() < 0.01


def test_carriers_differ_and_peaks_make_parcels_late(shop: Shop) -> None:
    orders = shop.orders
    sent = (orders.fate == DELIVERED) & (orders.promised < NEVER)
    late = days_late(orders) > 0
    by_carrier = [(orders.received - orders.shipped)[sent & (orders.carrier == c)].mean() for c in range(4)]
    assert max(by_carrier) > 1.5 * min(by_carrier)
    peak = np.array([_month(d) in (11, 12) for d in orders.day])
    assert late[sent & peak].mean() > 2 * late[sent & ~peak].mean()
    assert 0.03 < late[sent].mean() < 0.2


def test_the_fourth_quarter_peaks_and_the_shop_grows(shop: Shop) -> None:
    per_day = _orders_per_day(shop)
    quarter = np.array([(_month(d) - 1) // 3 for d in range(730)])
    for year in (slice(0, 366), slice(366, 730)):
        means = [per_day[year][quarter[year] == q].mean() for q in range(4)]
        assert means[3] > 1.25 * max(means[:3])
    assert per_day[366:].sum() > 1.1 * per_day[:366].sum()


def test_weekdays_differ(shop: Shop) -> None:
    weekday = np.arange(730) % 7  # 2024 starts on a Monday
    means = np.bincount(weekday, _orders_per_day(shop)) / np.bincount(weekday)
    assert means[0] > 1.1 * means[5]
    received = shop.orders.received[(shop.orders.received < NEVER) & (shop.orders.channel != STORE)]
    assert (received // SECONDS % 7 != 6).all(), "nobody delivers on Sundays"


def test_few_products_make_most_of_the_sales(shop: Shop) -> None:
    sold = np.sort(np.bincount(shop.lines.product, minlength=len(shop.catalogue)))[::-1]
    assert sold[: len(sold) // 5].sum() / sold.sum() > 0.5


def test_a_product_is_sold_only_after_a_catalogue_has_named_it(shop: Shop) -> None:
    month = shop.seasons.month_of_day[shop.orders.day[shop.lines.order]]
    assert (month >= shop.catalogue.first_month[shop.lines.product]).all()
    assert (shop.catalogue.first_month > 0).any()
    price = shop.catalogue.price[month, shop.lines.product]
    assert (shop.lines.price == price).all()


def test_companions_are_bought_together(shop: Shop) -> None:
    second = np.flatnonzero(shop.lines.number == 2)
    companion = shop.catalogue.companion[shop.lines.product[second - 1]]
    together = (shop.lines.product[second] == companion)[companion >= 0]
    assert len(together) > 500
    assert 0.25 < together.mean() < 0.40


def test_discounts_belong_to_sales_and_coupons(shop: Shop) -> None:
    reduced = shop.lines.discount > 0
    sale = shop.seasons.sale_of_day[shop.orders.day[shop.lines.order]] >= 0
    assert reduced[sale].mean() > 0.4
    assert reduced[~sale].mean() < 0.1
    assert (shop.lines.discount < shop.lines.price * shop.lines.quantity).all()


def test_some_orders_are_of_guests_some_paid_in_parts_and_some_never_arrive(shop: Shop) -> None:
    assert 0.03 < (shop.orders.person < 0).mean() < 0.05
    assert 0.03 < (shop.payments.number == 2).mean() < 0.06
    assert (shop.payments.installments > 1).any()
    assert 0.01 < (shop.orders.fate != DELIVERED).mean() < 0.03
    assert (shop.catalogue.cost == -1).any()


def test_an_order_is_of_a_record_that_its_system_had_by_then(shop: Shop) -> None:
    orders = shop.orders
    offline = np.isin(orders.channel, (STORE, PHONE))
    known = orders.person >= 0
    assert (orders.system[known] == np.where(offline, CRM, WEB_SHOP)[known]).all()
    for system in (WEB_SHOP, CRM):
        sign_ups = shop.records[system].sign_ups
        here = known & (orders.system == system)
        record = orders.record[here]
        assert (sign_ups.person[record] == orders.person[here]).all()
        assert (sign_ups.registered[record] <= orders.placed[here]).all()
    # Some use both of their records, and some both systems.
    person, records = orders.person[known], orders.system[known].astype(int) * 10**6 + orders.record[known]
    used = np.unique(np.stack([person, records]), axis=1)
    assert (np.bincount(used[0]) > 1).sum() > 0.04 * len(np.unique(person))


def test_visits_end_in_the_orders_there_are(shop: Shop) -> None:
    clicks, orders = shop.clicks, shop.orders
    assert (np.diff(clicks.at) >= 0).all()
    bought = clicks.kind == 4
    order = clicks.order[clicks.visit[bought]]
    assert (order >= 0).all()
    assert len(np.unique(order)) == len(order)
    assert (clicks.at[bought] == orders.placed[order]).all()
    assert (clicks.flight[clicks.visit[bought]] == orders.credited_to[order]).all()
    # No visit goes backwards, nor over midnight.
    by_visit = np.lexsort((np.arange(len(clicks.at)), clicks.visit))
    same = np.diff(clicks.visit[by_visit]) == 0
    assert (np.diff(clicks.kind[by_visit].astype(int))[same] >= 0).all()
    assert (np.diff(clicks.at[by_visit] // SECONDS)[same] == 0).all()


def test_stock_runs_out_where_too_little_is_ordered_and_piles_up_where_too_much_was(shop: Shop) -> None:
    stock = shop.stock
    short = np.isin(stock.product, stock.understocked)
    much = np.isin(stock.product, stock.overstocked)
    empty = stock.on_hand == 0
    assert empty[short].mean() > 3 * empty[~short & ~much].mean()
    assert np.median(stock.on_hand[much]) > 2 * np.median(stock.on_hand[~short & ~much])


def test_a_shop_that_loses_sales_sells_nothing_off_an_empty_shelf() -> None:
    shop = simulate(orders=8_000, days=200, seed=6, start=START, progress=lambda *_: None, lost_share=1.0)
    stock, lines, orders = shop.stock, shop.lines, shop.orders
    on_hand: dict[tuple[int, int], int] = {}
    for day, product, units in zip(stock.day.tolist(), stock.product.tolist(), stock.on_hand.tolist(), strict=True):
        on_hand[product, day] = on_hand.get((product, day), 0) + units
    empty = {place for place, units in on_hand.items() if units == 0}
    assert empty
    # Counts are of Sunday evenings.
    sunday = orders.day[lines.order] // 7 * 7 - 1
    sold = set(zip(lines.product.tolist(), sunday.tolist(), strict=True))
    assert not sold & empty
    assert shop.lost_units.sum() > 0
    assert len(orders) < 8_000
    assert (lines.number[lines.bounds[:-1]] == 1).all()
    assert lines.bounds[-1] == len(lines.order)
    assert (np.unique(lines.order) == np.arange(len(orders))).all()


def test_some_wait_where_not_all_sales_are_lost() -> None:
    lost = [
        simulate(
            orders=4_000, days=200, seed=6, start=START, progress=lambda *_: None, lost_share=share
        ).lost_units.sum()
        for share in (0.0, 0.3, 0.9)
    ]
    assert 0 == lost[0] < lost[1] < lost[2]


def test_varied_advertising_costs_over_a_factor_of_eight_and_lifts_by_its_root() -> None:
    shop, plain = (
        simulate(orders=8_000, days=730, seed=6, start=START, progress=lambda *_: None, vary_ads=varied) for varied in (True, False)
    )  # fmt: skip
    factor = np.array([f.pressure for f in shop.seasons.flights])
    assert 4 < factor.max() / factor.min() <= 8
    assert [f.lift for f in shop.seasons.flights] == pytest.approx(
        [f.lift * np.sqrt(p) for f, p in zip(plain.seasons.flights, factor, strict=True)]
    )
    cost = np.bincount(shop.ad_days.flight, shop.ad_days.cost)
    medium = np.array([f.medium for f in shop.seasons.flights])
    for m in range(4):
        mine = medium == m
        assert np.corrcoef(np.log(cost[mine]), np.log(factor[mine]))[0, 1] > 0.8


def test_an_experiment_without_uplift_draws_the_same_people_and_adds_nothing() -> None:
    shop, plain = (
        simulate(orders=2_000, days=200, seed=6, start=START, progress=lambda *_: None, uplift=uplift) for uplift in (False, True)
    )  # fmt: skip
    assert [len(t.experiment.arms) for t in shop.trials] == [len(t.experiment.arms) for t in plain.trials]
    assert not any(t.lift(shop.customers.age_band).any() for t in shop.trials)
    assert any(t.lift(plain.customers.age_band).any() for t in plain.trials)


def test_where_there_are_other_shops_dearer_products_lose_lines() -> None:
    shop, plain = (
        simulate(orders=8_000, days=400, seed=6, start=START, progress=lambda *_: None, outside=outside) for outside in (2.0, 0.0)
    )  # fmt: skip

    def dearness(s: Shop) -> float:
        lowest = s.catalogue.price.min(axis=0)
        return float(np.log(s.lines.price / lowest[s.lines.product]).mean())

    assert len(shop.lines.order) < 0.97 * len(plain.lines.order)
    assert dearness(shop) < dearness(plain)
    with pytest.raises(InputError, match="not from 0 to 10"):
        generate_shop(Path("nowhere"), orders=10, days=2, outside=11)
