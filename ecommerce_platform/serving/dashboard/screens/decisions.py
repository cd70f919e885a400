"""What is recommended: every decision with its worth and what it lacks, the plans themselves, and a calculator of returns.

Nothing is decided here: tables are shown, and the calculator asks the function that made the table of scenarios.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from ecommerce_platform.contracts.metric_sql import literal
from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.charts import Axis
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.parts import (
    Page,
    heading,
    missing,
    picture,
    recall,
    row_of_cards,
    rows,
    section,
)
from ecommerce_platform.serving.dashboard.screens.marketing import experiments
from ecommerce_platform.serving.dashboard.view import View
from ecommerce_platform.serving.dashboard.wording import shown, words

STATES = {"made": "Recommended", "abstained": "Nothing is surer than chance", "refused": "Something is missing"}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FIGURES = {
    "upfront_amount": "What it costs once", "monthly_benefit": "What it brings a month", "monthly_cost": "What it costs a month",
}  # fmt: skip
_MOST = 1000


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading("Decisions", "What is recommended, what that is worth, and what is missing where nothing is.")
    _ledger(shop)
    for table, part in (
        ("ml.budget_allocation", _budget), ("ml.price_recommendations", _prices), ("ml.staffing_plan", _staffing),
        ("ml.inventory_plan", _stock), ("ml.retention_actions", _to_keep), ("ml.retention_simulation", _discounts),
        ("ml.cross_sell", _offers), ("ml.delivery_plan", _lanes), ("ml.experiment_results", experiments),
        ("ml.roi_scenarios", _returns),
    ):  # fmt: skip
        if shop.has(table):
            part(shop)


def _ledger(shop: Shop) -> None:
    frame = shop.frame(
        "select decision, status, reason, expected_value, value_low, value_high, value_unit, rows, assumptions, made_from from ml.decisions "
        "order by case status when 'made' then 1 when 'abstained' then 2 else 3 end, decision"
    )
    import polars as pl

    counts = frame["status"].to_list()
    with row_of_cards("decisions", len(STATES)):
        for state, label in STATES.items():
            st.metric(label, f"{counts.count(state):,}", border=True)
    text = st.column_config.Column
    worth, least, most = (
        st.column_config.NumberColumn(name, format="localized", width=95) for name in ("Worth", "At least", "At most")
    )
    told = frame.with_columns(
        pl.Series("decision", [words(name) for name in frame["decision"]], pl.String),
        pl.Series("status", [STATES[state] for state in counts], pl.String),
    )
    rows(told, "decisions", {
        "decision": text("Decision"), "status": text("State", width="medium"), "reason": text("Why", width=560),
        "expected_value": worth, "value_low": least, "value_high": most, "value_unit": text("In"),
        "rows": st.column_config.NumberColumn("Lines", format="localized"),
        "assumptions": text("Taken for granted", width="large"), "made_from": text("Made from", width="medium"),
    }, height=900, lines=3)  # fmt: skip


def _budget(shop: Shop) -> None:
    section("Advertising budget", "The same money split so that it brings most orders; the tick is what is spent now.")
    frame = shop.frame("select * from ml.budget_allocation order by spend desc, channel")
    figure = charts.bars(
        frame, Axis("money", shop.currency), label="channel", now="spend", before="spend_now", tick="Now"
    )
    picture(figure, frame, "budget", "Recommended spend by channel beside that of now")
    sums = shop.one("select sum(orders_now) as now, sum(orders) as planned from ml.budget_allocation")
    st.caption(f"Incremental orders: {shown(sums['now'], 'score')} now, {shown(sums['planned'], 'score')} so split.")


def _prices(shop: Shop) -> None:
    section(
        "Prices", "Small moves within prices asked before: what those of a category bring a week, with 95 % intervals."
    )
    worth = shop.frame(
        "select category, max(category_value) as worth, max(category_value_low) as low, max(category_value_high) as high "
        "from ml.price_recommendations group by 1 order by 2 desc"
    )
    figure = charts.intervals(
        worth["category"].to_list(), worth["worth"].to_list(), worth["low"].to_list(), worth["high"].to_list(),
        Axis("money", shop.currency), 0.0, f"{shop.currency} a week",
    )  # fmt: skip
    picture(figure, worth, "price_worth", "What the price moves of each category bring a week")
    frame = shop.frame(
        "select coalesce(products.name, found.product_id) as product, found.category, price, recommended_price, move as move_share, "
        "lowest_price, highest_price, found.unit_cost, units_per_week, units_expected, own_response, found.review_score "
        "from ml.price_recommendations as found left join gold.dim_product as products using (product_id) "
        f"order by abs(move) desc, 1 limit {_MOST}"
    )
    rows(frame, "prices", height=360)


def _staffing(shop: Shop) -> None:
    section(
        "Staffing", "People who pack orders by weekday; the tick is how many are needed, the bar how many are on duty."
    )
    frame = shop.frame("select * from ml.staffing_plan order by weekday")
    import polars as pl

    labelled = frame.with_columns(pl.Series("value", [_WEEKDAYS[d - 1] for d in frame["weekday"].to_list()]))
    figure = charts.bars(labelled, Axis(), now="people_on_duty", before="people_needed", tick="Needed")
    picture(figure, frame, "staffing", "People on duty and needed by weekday")
    sums = shop.one("select sum(cost_amount) as cost, sum(people_starting) as people from ml.staffing_plan")
    st.markdown(
        f"**{sums['people']:,}** people, **{shown(sums['cost'], 'money', shop.currency)}** a week.".replace("$", "\\$")
    )


def _stock(shop: Shop) -> None:
    section("Inventory", "What to order now, and at which stock to order again; most to be ordered first.")
    frame = shop.frame(
        "select coalesce(products.name, found.product_id) as product, order_quantity, on_hand, reorder_point_now, reorder_point, "
        "lead_time_days, units_per_week, units_protected, value, value_low, value_high "
        "from ml.inventory_plan as found left join gold.dim_product as products using (product_id) "
        f"order by order_quantity desc, value desc, 1 limit {_MOST}"
    )
    due = shop.one(
        "select count(*) filter (where order_quantity > 0) as due, count(*) as products from ml.inventory_plan"
    )
    st.markdown(f"**{due['due']:,}** of {due['products']:,} products are to be ordered now.")
    rows(frame, "inventory_plan", height=360)


def _to_keep(shop: Shop) -> None:
    section("Whom to keep", "Customers for whom an action brings more than it costs, within the budget, most first.")
    sums = shop.one(
        "select count(*) as customers, sum(cost) as cost, sum(expected_value) as worth from ml.retention_actions"
    )
    st.markdown(
        f"**{sums['customers']:,}** customers, **{shown(sums['worth'], 'money', shop.currency)}** expected for "
        f"**{shown(sums['cost'], 'money', shop.currency)}**.".replace("$", "\\$")
    )
    if st.session_state["who"].may("customers"):
        rows(
            shop.frame(
                "select priority, person_id, action, reason, expected_value, value_low, value_high, cost, roi as roi_share, "
                f"churn_probability from ml.retention_actions order by priority limit {_MOST}"
            ),
            "retention_actions",
            height=360,
        )


def _discounts(shop: Shop) -> None:
    section(
        "Would discounts keep customers?",
        "What a discount to so many customers would bring beside what it costs; what goes to those who would have stayed is lost.",
    )
    frame = shop.frame(
        "select who, customers, days, response as response_share, response_from, discount, expected_to_leave, kept, gain, "
        "discount_to_kept, discount_to_stayers, contact_cost, net, net_low, net_high, pays_from_response as pays_from_share, "
        "needed_per_arm from ml.retention_simulation where varied = 'nothing' order by net desc, 1"
    )
    net, low, high = (frame[name].to_list() for name in ("net", "net_low", "net_high"))
    labels = [words(who) for who in frame["who"]]
    figure = charts.intervals(labels, net, low, high, Axis("money", shop.currency), 0.0, f"{shop.currency}, net")
    picture(figure, frame, "discounts", "Net result of discounts to groups of customers")


def _offers(shop: Shop) -> None:
    section(
        "What to offer beside", "Products to be offered with another, by kind of customer; worth of a round of offers."
    )
    rows(
        shop.frame(
            "select segment_name as segment, coalesce(one.name, found.product_id) as beside, "
            "coalesce(other.name, found.other_product_id) as offer, baskets, share as bought_beside_share, profit, "
            "expected_value, value_low, value_high from ml.cross_sell as found "
            "left join gold.dim_product as one on found.product_id = one.product_id "
            "left join gold.dim_product as other on found.other_product_id = other.product_id "
            f"order by expected_value desc, 1, 2, 3 limit {_MOST}"
        ),
        "cross_sell",
        height=360,
    )


def _lanes(shop: Shop) -> None:
    section(
        "Delivery", "Regions and carriers where another carrier is surely less often late, and what changing costs."
    )
    rows(
        shop.frame(
            "select region, carrier, parcels, late_share, alternative, alternative_late_share, fewer_late, fewer_late_low, "
            "fewer_late_high, days_more, cost_more, cost_per_late_avoided from ml.delivery_plan "
            "where alternative is not null order by fewer_late desc, 1, 2"
        ),
        "delivery_plan",
        height=360,
    )


def _returns(shop: Shop) -> None:
    section("Does an investment come back?", "Three scenarios of each investment that the shop's settings name.")
    frame = shop.frame(
        "select * from ml.roi_scenarios order by investment, "
        "case scenario when 'pessimistic' then 1 when 'expected' then 2 else 3 end"
    )
    rows(frame, "scenarios", height=300)
    names = frame["investment"].unique(maintain_order=True).to_list()
    if "discount_rate" not in frame.columns:
        missing("The calculator needs the discount rate", "The next `ecommerce build` writes it beside the scenarios.")
        return
    name = str(st.selectbox("Calculate with", names, key=recall("investment", names, names[0]), width=300))
    _calculator(shop, name)


def _calculator(shop: Shop, name: str) -> None:
    """Sliders that start at the expected scenario, and what `calculate` makes of them."""
    from ecommerce_platform.decisions.returns import calculate

    plan = shop.one(f"select * from ml.roi_scenarios where investment = {literal(name)} and scenario = 'expected'")
    left, right = st.columns(2, gap="large")
    with left:
        figures = {column: _slider(shop, name, column, label) for column, label in _FIGURES.items()}
        months = st.slider("Months", 1, max(60, 2 * plan["months"]), plan["months"], key=f"roi_months_{name}")
        rate = st.slider(
            "Later money counts less, a year", 0.0, max(50.0, 200 * plan["discount_rate"]), 100 * plan["discount_rate"], 0.5,
            format="%.1f %%", key=f"roi_rate_{name}",
        )  # fmt: skip
    found = calculate(
        figures["upfront_amount"], figures["monthly_benefit"], figures["monthly_cost"], months, rate / 100
    )
    with right, row_of_cards("returns", 4):
        for label, value, kind, help_ in (
            ("Net present value", found.net_present_value, "money", "All it brings less all it costs, later money counting less."),
            ("Net benefit", found.net_benefit, "money", "The same with all money counting alike."),
            ("Return on investment", found.return_on_investment, "share", "Net benefit by all costs."),
            ("Months until it is back", found.payback_months, "score", "Undiscounted; – where it does not come back."),
            ("Breaks even at a month", found.break_even_benefit, "money", "Monthly benefit at which the net present value is 0."),
        ):  # fmt: skip
            st.metric(label, shown(value, kind, shop.currency), border=True, help=help_)


def _slider(shop: Shop, name: str, column: str, label: str) -> float:
    """From nothing to twice the most that a scenario has, starting where the expected one stands."""
    ends = shop.one(
        f"select max(abs({column})) as most, max({column}) filter (where scenario = 'expected') as likely from ml.roi_scenarios "
        f"where investment = {literal(name)}"
    )
    likely, most = float(ends["likely"]), 2 * float(ends["most"]) or 1.0
    found: Any = st.slider(
        f"{label} ({shop.currency})",
        min(0.0, likely),
        most,
        likely,
        most / 200,
        format="localized",
        key=f"roi_{column}_{name}",
    )
    return float(found)


PAGE = Page("Decisions", "decisions", ":material/checklist:", "Business", show, needs=("ml.decisions",), filtered=False)
