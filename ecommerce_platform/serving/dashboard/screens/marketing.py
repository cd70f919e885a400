"""What brings customers: the way to a purchase, which channels are credited, what campaigns cost and brought."""

from __future__ import annotations

import streamlit as st

from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.charts import Axis
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.parts import (
    Page,
    column_words,
    heading,
    missing,
    picture,
    recall,
    rows,
    section,
)
from ecommerce_platform.serving.dashboard.view import View

_MOST_EFFECTS = 30
RULES = {
    "first": "First visit", "last": "Last visit", "linear": "Equal parts", "position": "First and last most", "time_decay": "Later visits more",
    "markov": "What would be lost without",
}  # fmt: skip
_STEPS = (
    ("sessions", "Visits"), ("sessions_viewed", "Saw a product"), ("sessions_carted", "Put it into the cart"),
    ("sessions_checked_out", "Began the checkout"), ("sessions_purchased", "Bought"),
)  # fmt: skip


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading("Marketing", "What brings customers, what it costs, and what would not have come anyway.")
    if view.filters:
        st.caption(
            "Visits and campaigns are those of the whole shop: the filters at the top do not apply here, the days do."
        )
    _funnel(shop, view)
    _attribution(shop)
    _campaigns(shop)
    if shop.has("ml.experiment_results"):
        experiments(shop)


def _funnel(shop: Shop, view: View) -> None:
    if not shop.has("gold.funnel_daily"):
        missing(
            "Visits are not measured",
            "Deliver what the web analytics measured as `web_events`: it shows where visitors turn away.",
        )
        return
    section("The way to a purchase", "Visits that came as far as each step, of the chosen days.")
    sums = ", ".join(f"sum({name}) as {name}" for name, _ in _STEPS)
    where = f"where session_date between date '{view.days.since}' and date '{view.days.until}'"
    found = shop.one(f"select {sums} from gold.funnel_daily {where}")
    if not found["sessions"]:
        missing("No visits were measured on these days", "Choose other days at the top.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        figure = charts.funnel([(label, float(found[name])) for name, label in _STEPS])
        table = shop.frame(
            f"select session_date, {', '.join(n for n, _ in _STEPS)}, conversion_rate from gold.funnel_daily {where} order by 1"
        )
        picture(
            figure,
            table,
            "funnel",
            "Visits by how far they came: " + ", ".join(f"{label} {found[n]:,}" for n, label in _STEPS),
        )
    with right:
        grain = view.grain
        frame = shop.frame(
            f"select cast(date_trunc('{grain}', session_date) as date) as period, sum(sessions) as visits, "
            f"period >= date '{view.days.since}' and period + interval 6 day <= date '{view.days.until}' as is_complete "
            f"from gold.funnel_daily {where} group by 1 order by 1"
        )
        frame = charts.whole_weeks(frame, grain).drop("is_complete")
        figure = charts.lines(frame, {"visits": "Visits"}, Axis(), grain, height=320)
        st.caption(f"Visits by {grain}")
        picture(figure, frame, "visits", f"Visits by {grain}")


def _attribution(shop: Shop) -> None:
    if not shop.has("gold.attribution"):
        return
    section(
        "Which channels orders are credited to",
        "Six ways of sharing the credit out, over the whole history: where they differ much, a channel opens or closes sales.",
    )
    frame = shop.frame(
        "select rule, channel, orders, revenue, revenue_share from gold.attribution where is_measured order by rule, revenue desc"
    )
    if not len(frame):
        missing("No order follows a measured visit", "Visits and orders must share a customer or an order number.")
        return
    rules = [r for r in RULES if (frame["rule"] == r).any()]
    rule = st.pills(
        "Rule",
        rules,
        key=recall("rule", rules, "linear"),
        format_func=RULES.__getitem__,
        required=True,
        label_visibility="collapsed",
    )
    part = frame.filter(frame["rule"] == rule).sort("revenue_share", descending=True)
    last = frame.filter(frame["rule"] == "last").select(
        "channel", frame.filter(frame["rule"] == "last")["revenue_share"].alias("by_last_visit")
    )
    compared = part.join(last, on="channel", how="left")
    figure = charts.bars(
        compared,
        Axis("share"),
        label="channel",
        now="revenue_share",
        before="by_last_visit" if rule != "last" else None,
        tick="By the last visit",
    )
    picture(figure, frame, "attribution", f"Share of measured revenue by channel, {RULES[str(rule)].lower()}")


def _campaigns(shop: Shop) -> None:
    if not shop.has("gold.campaign_performance"):
        return
    section(
        "Campaigns",
        "Credited: orders that came through it, many of which would have come anyway. Incremental: those beyond what regions without it had.",
    )
    frame = shop.frame(
        "select coalesce(name, campaign_id) as campaign, channel, start_date, end_date, budget_amount, cost_amount, clicks, sessions, credited_orders, credited_revenue, "
        "credited_roas, cost_per_new_customer, incremental_orders, incremental_orders_low, incremental_orders_high, incremental_roas "
        "from gold.campaign_performance order by start_date desc, 1"
    )
    sure = frame.filter(frame["incremental_orders"].is_not_null()).head(14)
    if len(sure):
        figure = charts.intervals(
            sure["campaign"].to_list(), sure["incremental_orders"].to_list(), sure["incremental_orders_low"].to_list(), sure["incremental_orders_high"].to_list(),
            Axis(), 0.0, "orders that would not have come anyway",
        )  # fmt: skip
        picture(figure, sure, "incremental", "Incremental orders by campaign with 95 % intervals")
    rows(frame, "campaigns", column_words(frame), height=420)


def experiments(shop: Shop) -> None:
    """What experiments showed: the lift of each arm and metric over the control, and what is concluded."""
    section(
        "Experiments",
        "What was tried on some customers beside others: how much more each arm has than the control, with 95 % intervals.",
    )
    frame = shop.frame("select * from ml.experiment_results order by experiment_id, role = 'primary' desc, arm, metric")
    sure = frame.filter(frame["lift"].is_not_null()).head(_MOST_EFFECTS)
    if len(sure):
        names = [
            f"{r['experiment_id']} · {r['arm']}: {r['metric']} ({r['verdict']})".replace("_", " ")
            for r in sure.to_dicts()
        ]
        figure = charts.intervals(
            names, sure["lift"].to_list(), sure["lift_low"].to_list(), sure["lift_high"].to_list(), Axis("share"), 0.0, "lift over the control",
        )  # fmt: skip
        figure.update_xaxes(tickformat=".0%")
        picture(figure, sure, "lifts", "Lift over the control by experiment, arm and metric with 95 % intervals")
    rows(frame, "experiments")


PAGE = Page(
    "Marketing", "marketing", ":material/campaign:", "Business", show,
    needs=("gold.funnel_daily", "gold.campaign_performance", "gold.attribution"),
)  # fmt: skip
