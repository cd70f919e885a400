"""How orders reach customers and what they say of it: delivery times, promises, scores, and whether they come back."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.charts import Axis
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.figures import breakdown, compared_series, possible
from ecommerce_platform.serving.dashboard.parts import (
    Page,
    axis,
    cards,
    heading,
    hold,
    missing,
    picture,
    recall,
    rows,
    section,
)
from ecommerce_platform.serving.dashboard.view import OFFERED, View

KEY_FIGURES = (
    "avg_delivery_days",
    "on_time_rate",
    "avg_review_score",
    "avg_satisfaction_score",
    "nps_proxy",
    "reviews",
)
_PLACES = 1500


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading(
        "Delivery and reviews",
        "How long orders take, whether promises are kept, what customers say, and whether they come back.",
    )
    found = cards(shop, view, KEY_FIGURES, "delivery")
    known = [name for name, total in found.items() if total.now is not None and name != "reviews"]
    if not known:
        missing("Nothing was delivered or reviewed here", "Choose other days, or clear a filter.")
        return
    _over_time(shop, view, known)
    _by_dimension(shop, view, known)
    _times(shop)
    _experience(shop)
    _map(shop)
    _sellers(shop)


def _over_time(shop: Shop, view: View, known: list[str]) -> None:
    section("Over time", "Grey bands are periods that the data cover in part; recent orders may still be on their way.")
    for place, name in zip(st.columns(min(2, len(known)), gap="large"), known[:2], strict=False):
        with place:
            metric = shop.metrics.metric(name)
            now, before = compared_series(shop, view, [name], view.grain)
            figure = charts.lines(now, {name: metric.label}, axis(shop, name), view.grain, before=before, height=270)
            picture(figure, now, f"{name}_over_time", f"{metric.label} by {view.grain}")


def _by_dimension(shop: Shop, view: View, known: list[str]) -> None:
    names = [d for d in shop.dimensions() if d in (*OFFERED, "customer_region", "seller", "weekday")]
    names = [d for d in names if possible(shop, known[:1], view, [d])]
    if not names:
        return
    section("Where it differs")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        key = recall("figure", known, known[0])
        metric = str(
            st.selectbox("Figure", known, key=key, format_func=lambda n: shop.metrics.metric(n).label, width=230)
        )
        key = recall("by", names, "region" if "region" in names else names[0])
        by = str(st.selectbox("By", names, key=key, format_func=lambda n: shop.metrics.dimension(n).label, width=200))
    frame = breakdown(shop, view, metric, by).head(20)
    name = "delivery_by"
    figure = charts.bars(frame, axis(shop, metric), chosen=view.values_of(by))
    alt = f"{shop.metrics.metric(metric).label} by {shop.metrics.dimension(by).label.lower()}"
    picture(figure, frame, name, alt, on_select=hold(by, name) if by in OFFERED else None)


def _times(shop: Shop) -> None:
    if not shop.has("gold.delivery_times"):
        return
    section(
        "Carriers and regions",
        "Over the whole history: how long parcels take, and how many came no later than promised.",
    )
    frame = shop.frame(
        "select carrier, region, parcels, avg_delivery_days, median_delivery_days, longest_delivery_days, avg_transit_days, on_time_rate, avg_days_late, "
        "cost_per_parcel from gold.delivery_times order by parcels desc, 1, 2"
    )
    rows(frame, "delivery_times", height=380)


def _experience(shop: Shop) -> None:
    if not shop.has("gold.delivery_experience"):
        return
    section(
        "Do they come back?",
        "How many times as often customers ordered again within 90 days, beside customers alike in month, region, category and basket.",
    )
    frame = shop.frame("select * from gold.delivery_experience order by exposure, level")
    shown = frame.filter(frame["adjusted_ratio"].is_not_null())
    if not len(shown):
        missing("Too few customers were followed for 90 days", "It takes some months of deliveries or reviews.")
        return
    words = {"late": "Late", "lateness": "By days late", "review_score": "Review score"}
    names = [
        f"{words.get(e, e)}: {level} beside {r}"
        for e, level, r in shown.select("exposure", "level", "reference").iter_rows()
    ]
    figure = charts.intervals(
        names, shown["adjusted_ratio"].to_list(), shown["adjusted_ratio_low"].to_list(), shown["adjusted_ratio_high"].to_list(),
        Axis("score"), 1.0, "times as often as the reference",
    )  # fmt: skip
    picture(
        figure,
        frame,
        "experience",
        "How often customers come back after late deliveries and bad reviews, with 95 % intervals",
    )


def _map(shop: Shop) -> None:
    """Where orders go, by the middle of the customers' postal codes."""
    if not shop.has("gold.dim_geography"):
        return
    frame = shop.frame(
        "with places as (select coalesce(orders.postal_code, customers.postal_code) as postal_code, orders.delivery_days "
        "from gold.fct_orders as orders left join gold.dim_customer as customers on orders.person_id = customers.person_id "
        "where orders.is_counted) "
        "select round(geography.latitude, 1) as latitude, round(geography.longitude, 1) as longitude, min(geography.city) as city, count(*) as orders, "
        "avg(places.delivery_days) as delivery_days from places inner join gold.dim_geography as geography "
        "on places.postal_code = geography.postal_code where geography.latitude is not null and geography.longitude is not null "
        f"group by 1, 2 order by orders desc limit {_PLACES}"
    )
    if len(frame) < 5:
        return
    section(
        "Where orders go", "Each point is a place: larger ones have more orders, lighter ones wait longer. North is up."
    )
    texts = [
        f"<b>{r['city'] or 'unknown place'}</b><br>{r['orders']:,} orders"
        + (f"<br>{r['delivery_days']:.1f} days to delivery" if r["delivery_days"] is not None else "")
        for r in frame.to_dicts()
    ]
    figure: Any = charts.points_on_a_map(
        frame["latitude"].to_list(), frame["longitude"].to_list(), frame["orders"].to_list(), frame["delivery_days"].to_list(), texts,
        "Days to delivery", Axis("days"),
    )  # fmt: skip
    picture(figure, frame, "map", "Places of the orders by their coordinates, with days to delivery")


def _sellers(shop: Shop) -> None:
    if not shop.has("gold.seller_scorecard"):
        return
    section("Sellers", "Sales, cancellations, delivery and reviews of each seller, over the whole history.")
    frame = shop.frame(
        "select seller_id, revenue, revenue_share, orders, cancellation_rate, avg_delivery_days, on_time_rate, reviews, avg_review_score, "
        "avg_review_score_low, bad_review_share, returned_units from gold.seller_scorecard order by rank_by_revenue, 1 limit 2000"
    )
    rows(frame, "sellers", height=420)


PAGE = Page(
    "Delivery and reviews", "delivery", ":material/local_shipping:", "Business", show,
    needs=("gold.delivery_times", "gold.delivery_experience", "silver.reviews", "silver.shipments"),
)  # fmt: skip
