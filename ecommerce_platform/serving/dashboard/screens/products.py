"""What sells: products and their trend, prices, discounts, what is bought together, stock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ecommerce_platform.contracts.metric_sql import literal
from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.charts import Axis
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.parts import (
    Page,
    cards,
    heading,
    missing,
    picture,
    recall,
    rows,
    section,
)
from ecommerce_platform.serving.dashboard.view import View
from ecommerce_platform.serving.dashboard.wording import shown

if TYPE_CHECKING:
    import polars as pl

_PAIRS, _MOST = 200, 2000


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading("Products", "What sells and what it brings, at which price, together with what, and what lies in stock.")
    cards(shop, view, ("revenue", "units", "net_profit", "discount_amount", "refund_amount"), "products")
    st.caption(
        "The figures above are of the chosen days; those below are of the whole history, as of the newest order."
    )
    names = {
        "performance": "Products",
        "together": "Bought together",
        "prices": "Prices",
        "discounts": "Discounts",
        "stock": "Stock",
    }
    tables = {
        "performance": "gold.product_performance", "together": "gold.product_affinity", "prices": "gold.price_bands",
        "discounts": "gold.discount_performance", "stock": "gold.inventory_health",
    }  # fmt: skip
    draws = {
        "performance": _performance,
        "together": _together,
        "prices": _prices,
        "discounts": _discounts,
        "stock": _stock,
    }
    there = [name for name in names if shop.has(tables[name]) or name == "together"]
    part = str(
        st.segmented_control(
            "Part",
            there,
            key=recall("part", there, there[0]),
            format_func=names.__getitem__,
            required=True,
            label_visibility="collapsed",
        )
    )
    draws[part](shop)


def _performance(shop: Shop) -> None:
    section("Every product", "A: the products that make the first 80 % of the revenue, B: the next 15 %, C: the rest.")
    classes = shop.frame(
        "select revenue_class as value, count(*) as products, sum(revenue) as now, sum(revenue_share) as share "
        "from gold.product_performance group by 1 order by 1"
    )
    text = " · ".join(
        f"**{r['value']}**: {r['products']:,} products, {shown(float(r['now']), 'money', shop.currency, brief=True)}"
        for r in classes.to_dicts()
    )
    st.markdown(text.replace("$", "\\$"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = st.text_input(
            "Find a product", placeholder="Part of its name, brand, category or number", width=340, key="find_product"
        )
        kind = st.segmented_control(
            "Class", ["all", "A", "B", "C"], key=recall("class", ["all", "A", "B", "C"], "all"), required=True
        )
    where = "true" if kind == "all" else f"revenue_class = {literal(str(kind))}"
    if asked.strip():
        part = literal(asked.strip().lower())
        where += f" and contains(lower(concat_ws(' ', name, brand, category, product_id)), {part})"
    frame = shop.frame(
        "select coalesce(name, product_id) as name, category, brand, revenue_class, revenue, revenue_share, units, orders, net_profit, margin_share, price_paid, "
        "discount_share, revenue_90_days, revenue_90_days_before, return_rate, avg_review_score, reviews, last_sale_date, product_id "
        f"from gold.product_performance where {where} order by rank_by_revenue, product_id limit {_MOST}"
    )
    if not len(frame):
        missing("No product is called that", "Try a part of the name, or another class.")
        return
    rows(frame, "products", _columns(frame, shop.currency), height=460)
    _bubbles(shop, frame)


def _columns(frame: pl.DataFrame, currency: str) -> dict[str, object]:
    number, text = st.column_config.NumberColumn, st.column_config.Column
    money = [
        c
        for c in ("revenue", "net_profit", "price_paid", "revenue_90_days", "revenue_90_days_before")
        if c in frame.columns
    ]
    labels = {
        "revenue": "Revenue", "net_profit": "Net profit", "price_paid": "Price paid", "revenue_90_days": "Last 90 days",
        "revenue_90_days_before": "90 days before",
    }  # fmt: skip
    return {
        "name": text("Product", width="medium", pinned=True), "category": text("Category"), "brand": text("Brand"),
        "revenue_class": text("Class", width="small"), "units": number("Units", format="localized"), "orders": number("Orders", format="localized"),
        "revenue_share": number("Share", format="percent"), "margin_share": number("Margin", format="percent"),
        "discount_share": number("Discount", format="percent"), "return_rate": number("Returned", format="percent"),
        "avg_review_score": number("Score", format="%.2f"), "reviews": number("Reviews", format="localized"),
        "last_sale_date": st.column_config.DateColumn("Last sold"), "product_id": text("Number"),
        **{c: number(f"{labels[c]} ({currency})", format="localized") for c in money},
    }  # fmt: skip


def _bubbles(shop: Shop, frame: pl.DataFrame) -> None:
    """Margin against revenue, where costs are known."""
    import plotly.graph_objects as go
    import polars as pl

    known = frame.filter(pl.col("margin_share").is_not_null()).head(150)
    if len(known) < 5:
        return
    section("Revenue and margin", "Each point is one of the products listed above; larger ones sold more units.")
    units = known["units"].to_list()
    most = max(units) or 1
    texts = [
        f"<b>{n or p}</b><br>{c or ''}"
        for n, p, c in zip(
            known["name"].to_list(), known["product_id"].to_list(), known["category"].to_list(), strict=True
        )
    ]
    trace = go.Scatter(
        x=[float(v) for v in known["revenue"].to_list()], y=known["margin_share"].to_list(), mode="markers", text=texts,
        marker={"size": [8 + 26 * (max(u, 0) / most) ** 0.5 for u in units], "opacity": 0.6, "color": charts.BLUE},
        hovertemplate="%{text}<br>revenue %{x:,.0f}, margin %{y:.1%}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(trace)
    figure.update_layout(height=380, margin={"l": 8, "r": 8, "t": 20, "b": 8})
    figure.update_xaxes(type="log", title=f"Revenue ({shop.currency}, each step ten times as much)", automargin=True)
    figure.update_yaxes(tickformat=".0%", title="Margin", automargin=True)
    picture(figure, known, "margins", "Margin against revenue by product")


def _together(shop: Shop) -> None:
    section(
        "Bought together", "Pairs of products that orders hold more often than chance would have it; the surest first."
    )
    if not shop.has("gold.product_affinity"):
        least = shop.one("select min_pair_orders as orders from silver.shop")["orders"]
        missing(
            "No two products are bought together often enough",
            f"A pair is told from {least} orders that hold both on; most orders of this shop may hold one product.",
        )
        return
    frame = shop.frame(
        "select coalesce(product_name, product_id) as product, coalesce(other_product_name, other_product_id) as bought_with, category, "
        "other_category, orders_together, confidence, confidence_of_other, lift, lift_low "
        f"from gold.product_affinity order by lift_low desc, orders_together desc, 1, 2 limit {_PAIRS}"
    )
    number, text = st.column_config.NumberColumn, st.column_config.Column
    rows(frame, "pairs", {
        "product": text("Who buys", width="medium"), "bought_with": text("also buys", width="medium"), "category": text("Category"), "other_category": text("Its category"),
        "orders_together": number("Orders with both", format="localized"), "confidence": number("Of its buyers", format="percent"),
        "confidence_of_other": number("The other way round", format="percent"), "lift": number("Times as often as by chance", format="%.1f"),
        "lift_low": number("At least", format="%.1f"),
    }, height=460)  # fmt: skip


def _prices(shop: Shop) -> None:
    section(
        "At which prices a category sells",
        "Five bands by unit price, each about a fifth of the lines, from the cheapest to the dearest.",
    )
    categories = shop.frame("select category from gold.price_bands group by 1 order by sum(revenue) desc")[
        "category"
    ].to_list()
    category = str(st.selectbox("Category", categories, key=recall("of", categories, categories[0]), width=300))
    frame = shop.frame(f"select * from gold.price_bands where category = {literal(category)} order by band").drop(
        "category"
    )
    labels = [
        f"{shown(float(low), 'money', shop.currency)} – {shown(float(high), 'money', shop.currency)}"
        for low, high in zip(frame["lowest_price"].to_list(), frame["highest_price"].to_list(), strict=True)
    ]
    import polars as pl

    labelled = frame.with_columns(pl.Series("value", labels))
    figure = charts.standing_bars(labelled, Axis("money", shop.currency), now="revenue")
    picture(figure, frame, "price_bands", f"Revenue of {category} by price band")
    if shop.has("gold.price_elasticity"):
        _elasticity(shop)


def _elasticity(shop: Shop) -> None:
    section(
        "What a higher price does",
        "By how many percent a product's share of its category's orders changes when its price is one percent higher; a bar that crosses the line may be chance.",
    )
    frame = shop.frame("select * from gold.price_elasticity where elasticity is not null order by elasticity")
    if not len(frame):
        missing(
            "Prices never moved apart",
            "It takes products whose prices changed while others of the category kept theirs.",
        )
        return
    figure = charts.intervals(
        frame["category"].to_list(), frame["elasticity"].to_list(), frame["elasticity_low"].to_list(), frame["elasticity_high"].to_list(),
        Axis("score"), 0.0, "percent for one percent of price",
    )  # fmt: skip
    picture(figure, frame, "elasticity", "Price elasticity by category with 95 % intervals")


def _discounts(shop: Shop) -> None:
    section(
        "What discounts did",
        "Units on days of a sale beside days of the same month and part of the week; from 1 on, more was sold.",
    )
    frame = shop.frame("select * from gold.discount_performance order by discount_amount desc, category")
    sure = frame.filter(frame["volume_ratio_adjusted"].is_not_null())
    if len(sure):
        figure = charts.bars(
            sure,
            Axis("score"),
            label="category",
            now="volume_ratio_adjusted",
            before="volume_ratio_naive",
            tick="Over all days",
        )
        figure.add_vline(x=1, line={"color": charts.GREY, "dash": "dot"})
        st.caption("The bar is the fair comparison; the tick is the naive one, over all days.")
        picture(figure, frame, "discounts", "How many times as much was sold on days of a sale, by category")
    else:
        missing(
            "No day of a sale to compare", "It takes days on which at least half of a category's lines are discounted."
        )
    money = [
        c
        for c in frame.columns
        if c
        in (
            "category",
            "discount_amount",
            "discount_depth",
            "revenue",
            "sale_profit",
            "profit_expected",
            "profit_change_low",
            "profit_change_high",
        )
    ]
    rows(frame.select(money), "discount_profit")


def _stock(shop: Shop) -> None:
    section(
        "What lies in stock",
        "As last counted: how long it lasts at the pace of the last 28 days, and what is to be done.",
    )
    states = shop.frame(
        "select state as value, count(*) as now, sum(stock_cost_amount) as cost from gold.inventory_health group by 1 order by 2 desc"
    )
    figure = charts.bars(states, Axis())
    picture(figure, states, "stock_states", "Products by the state of their stock")
    names = states["value"].to_list()
    kept = st.pills("State", names, key=recall("state", names, ()), selection_mode="multi")
    where = f"where state in ({', '.join(literal(str(s)) for s in kept)})" if kept else ""
    frame = shop.frame(
        "select coalesce(name, product_id) as product, category, state, on_hand, units_per_day, days_of_cover, reorder_point, reorder_point_needed, "
        f"lead_time_days, stock_cost_amount, empty_share, lost_units, lost_units_low, snapshot_date from gold.inventory_health {where} "
        f"order by lost_units desc nulls last, 1 limit {_MOST}"
    )
    rows(frame, "stock", height=460)


PAGE = Page("Products", "products", ":material/inventory_2:", "Business", show, needs=("gold.product_performance",))
