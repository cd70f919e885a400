"""Who buys: kinds of customers, how recently and often, whether they come back and what they are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ecommerce_platform.contracts.metric_sql import literal
from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.charts import Axis
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.figures import compared_series, reason, series
from ecommerce_platform.serving.dashboard.parts import (
    Page,
    cards,
    column_words,
    heading,
    missing,
    picture,
    recall,
    rows,
    section,
)
from ecommerce_platform.serving.dashboard.view import View
from ecommerce_platform.serving.dashboard.wording import shown, words

if TYPE_CHECKING:
    import polars as pl

KEY_FIGURES = ("customers", "new_customers", "repeat_purchase_rate", "historic_clv")
_COHORTS = 24
_PERSONS = 1000
#: Customers of a cohort that says something by its colour.
_SMALL_COHORT = 30
#: What makes customers likelier to leave, each with … for its figure; what speaks against is left out.
_REASONS_TOLD = r"""
select replace(regexp_replace(regexp_replace(reason, ' \([+-]?\d+\)$', ''), '\d[\d.,]*', '…', 'g'), '… day ', '… days ') as reason, count(*) as customers
from (
    select trim(unnest(string_split(reasons, ';'))) as reason from ml.churn_scores where is_at_risk and reasons is not null
) as told
where not contains(reason, '(-') group by 1 order by 2 desc, 1 limit 12
"""


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading("Customers", "Who buys, who comes back, who stays away, and what they are worth.")
    cards(shop, view, KEY_FIGURES, "customers")
    _new_and_churn(shop, view)
    _segments(shop)
    _field(shop)
    _cohorts(shop)
    _worth(shop)
    _risk(shop)
    _leaving(shop)
    _expected(shop)


def _new_and_churn(shop: Shop, view: View) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        section("New customers", "People whose first order this is.")
        if why := reason(shop, "new_customers", view, (), view.grain):
            missing("Not under this filter", f"{why[:1].upper()}{why[1:]}.")
        else:
            now, before = compared_series(shop, view, ["new_customers"], view.grain)
            figure = charts.lines(
                now, {"new_customers": "New customers"}, Axis(), view.grain, before=before, height=280
            )
            picture(figure, now, "new_customers", f"New customers by {view.grain}")
    with right:
        days = shop.one("select churn_window_days as days from silver.shop")["days"]
        section(
            "Customers who stay away",
            f"Of those who had bought in the {days} days before, the share who did not in the {days} days after.",
        )
        grain = "week" if view.grain == "day" else view.grain
        if why := reason(shop, "churn_rate", view, (), grain):
            missing("Not under this filter", f"{why[:1].upper()}{why[1:]}.")
        else:
            frame = series(shop, view, ["churn_rate"], grain)
            figure = charts.lines(frame, {"churn_rate": "Churn rate"}, Axis("share"), grain, height=280)
            picture(figure, frame, "churn_rate", f"Churn rate by {grain}")


def _segments(shop: Shop) -> None:
    if not shop.has("gold.revenue_by_segment"):
        return
    section(
        "Which kinds of customers bring the revenue",
        "Over the whole history; a bar is their share of revenue, the tick their share of customers.",
    )
    frame = shop.frame("select * from gold.revenue_by_segment")
    names = {
        "rfm_segment": "By recency and value",
        "segment": "Segments of the shop",
        "age_group": "Age group",
        "customer_region": "Region",
    }
    known = frame.filter(frame["value"] != "unknown")
    kinds = [kind for kind in names if (known["dimension"] == kind).any()]
    if not kinds:
        return
    kind = st.pills(
        "Kind",
        kinds,
        key=recall("kind", kinds, kinds[0]),
        format_func=names.__getitem__,
        required=True,
        label_visibility="collapsed",
    )
    part = frame.filter(frame["dimension"] == kind).sort("revenue", descending=True)
    figure = charts.bars(
        part.head(15), Axis("share"), now="revenue_share", before="customer_share", tick="Share of customers"
    )
    columns = column_words(part)
    picture(
        figure,
        part.drop("dimension"),
        f"revenue_by_{kind}",
        f"Share of revenue and of customers, {names[str(kind)].lower()}",
        columns=columns,
    )


def _field(shop: Shop) -> None:
    if not shop.has("gold.rfm"):
        return
    section(
        "How recently, how much",
        "Customers by two scores from 1 (worst) to 5 (best): how recently they bought, and how often and for how much.",
    )
    frame = shop.frame(
        "select recency_score, value_score, count(*) as customers, sum(monetary) as revenue, min(segment) as segment "
        "from gold.rfm group by 1, 2 order by 1, 2"
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        what = st.segmented_control(
            "Show",
            ["customers", "revenue"],
            key=recall("field", ["customers", "revenue"], "customers"),
            format_func=words,
            required=True,
        )
        cells = {(r["recency_score"], r["value_score"]): r for r in frame.to_dicts()}
        figures = [
            [float(cells[r, v][str(what)]) if (r, v) in cells else None for v in range(1, 6)] for r in range(5, 0, -1)
        ]
        of = Axis("money", shop.currency) if what == "revenue" else Axis()
        figure = charts.heat(
            [str(r) for r in range(5, 0, -1)],
            [str(v) for v in range(1, 6)],
            figures,
            of,
            height=380,
            names=("Recency", "Value"),
        )
        picture(figure, frame, "rfm", f"{words(str(what))} by recency and value score")
    with right:
        table = shop.frame(
            "select segment, count(*) as customers, sum(monetary) as revenue, avg(recency_days) as days_since_last_order, "
            "avg(orders) as orders_each from gold.rfm group by 1 order by revenue desc"
        )
        rows(table, "rfm_segments", height=380)


def _cohorts(shop: Shop) -> None:
    if not shop.has("gold.cohort_retention"):
        return
    section(
        "Do they come back?",
        "Customers by the month of their first order, and the share of them who bought again in each later month.",
    )
    frame = shop.frame(
        "select cohort_month, months_since_first, customers, active_customers, retention_rate, revenue_to_date_per_customer "
        f"from gold.cohort_retention where months_since_first between 0 and {_COHORTS} order by 1, 2"
    )
    names = {"retention_rate": "Share who bought again", "revenue_to_date_per_customer": "Revenue so far per customer"}
    what = str(
        st.segmented_control(
            "Show",
            list(names),
            key=recall("cohort", list(names), "retention_rate"),
            format_func=names.__getitem__,
            required=True,
            label_visibility="collapsed",
        )
    )
    months = sorted(set(frame["cohort_month"].to_list()))[-_COHORTS:]
    cells = {(r["cohort_month"], r["months_since_first"]): r[what] for r in frame.to_dicts()}
    columns = list(range(1 if what == "retention_rate" else 0, min(_COHORTS, len(months)) + 1))
    figures = [[None if (v := cells.get((m, c))) is None else float(v) for c in columns] for m in months]
    of = Axis("share") if what == "retention_rate" else Axis("money", shop.currency)
    figure = charts.heat(
        [f"{m:%b %Y}" for m in months],
        [str(c) for c in columns],
        figures,
        of,
        height=26 * len(months) + 110,
        most=_most(frame, what),
        names=("", "Months since the first order"),
    )
    picture(figure, frame, "cohorts", f"{names[what]} by month of the first order")


def _most(frame: pl.DataFrame, what: str) -> float | None:
    """The figure that has the darkest colour: the largest of cohorts that are not so small that one customer makes it."""
    months = frame.filter(frame["months_since_first"] > 0)
    large = months.filter(months["customers"] >= _SMALL_COHORT)
    most = (large if len(large) else months)[what].max()
    return None if most is None else float(str(most)) or None


def _worth(shop: Shop) -> None:
    if not shop.has("gold.customer_lifetime_value"):
        return
    section(
        "What customers are worth",
        "Revenue of each customer so far, in tenths of all customers from the most to the least valuable.",
    )
    frame = shop.frame(
        "select cast(ceil(10 * place / everybody) as integer) as tenth, count(*) as customers, sum(revenue) as revenue, "
        "avg(orders) as orders_each from (select revenue, orders, cast(row_number() over (order by revenue desc, person_id) as double) as place, "
        "count(*) over () as everybody from gold.customer_lifetime_value) group by 1 order by 1"
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        labelled = frame.with_columns(frame["tenth"].cast(str).alias("value"))
        figure = charts.standing_bars(labelled, Axis("money", shop.currency), now="revenue")
        figure.update_xaxes(title="Tenth of the customers, the most valuable first")
        picture(figure, frame, "worth", "Revenue so far by tenths of the customers")
    with right:
        whole = float(frame["revenue"].sum())
        if whole:
            first = float(frame["revenue"].to_list()[0]) / whole
            st.markdown(f"The best tenth of all customers brought **{shown(first, 'share')}** of the revenue.")
        windows = shop.one(
            "select avg(revenue_30_days) as d30, avg(revenue_90_days) as d90, avg(revenue_180_days) as d180, avg(revenue_365_days) as d365 from gold.customer_lifetime_value"
        )
        for name, label in (("d30", "30 days"), ("d90", "90 days"), ("d180", "180 days"), ("d365", "365 days")):
            if windows[name] is not None:
                st.markdown(
                    f"- after **{label}**: {shown(float(windows[name]), 'money', shop.currency)} a customer".replace(
                        "$", "\\$"
                    )
                )


def _risk(shop: Shop) -> None:
    if not shop.has("gold.churn_factors"):
        return
    section(
        "What announces that a customer leaves",
        "How many times as often those with the mark leave as those without; bars that cross the line may be chance.",
    )
    frame = shop.frame(
        "select * from gold.churn_factors where lift is not null order by is_lift_sure desc, abs(ln(nullif(lift, 0))) desc nulls last"
    ).head(14)
    if not len(frame):
        missing(
            "Nothing can be said yet", "It takes two windows of orders: the share who leave is measured in the second."
        )
        return
    names = [
        f"{words(f)}" + (f" ≥ {t:.4g}" if t is not None else "")
        for f, t in zip(frame["factor"].to_list(), frame["threshold"].to_list(), strict=True)
    ]
    figure = charts.intervals(
        names,
        frame["lift"].to_list(),
        frame["lift_low"].to_list(),
        frame["lift_high"].to_list(),
        Axis("score"),
        1.0,
        "times as often",
    )
    picture(figure, frame, "churn_factors", "Marks that go with leaving, with 95 % intervals")


def _leaving(shop: Shop) -> None:
    if not shop.has("ml.churn_scores"):
        return
    sums = shop.one(
        "select count(*) as customers, count(*) filter (where is_at_risk) as at_risk, sum(churn_probability) as lost, max(as_of_date) as day from ml.churn_scores"
    )
    section(
        "Who is likely to leave",
        f"As of {sums['day']:%d %b %Y}: customers of the last two windows by how likely they are to buy nothing in the next one.",
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        frame = shop.frame(
            "select least(cast(floor(churn_probability * 10) as integer), 9) as tenth, count(*) as customers, "
            "count(*) filter (where is_at_risk) as at_risk from ml.churn_scores group by 1 order by 1"
        )
        labels = [f"{10 * t}–{10 * t + 10} %" for t in frame["tenth"].to_list()]
        labelled = frame.with_columns(frame["tenth"].replace_strict(frame["tenth"].to_list(), labels).alias("value"))
        figure = charts.standing_bars(labelled, Axis(), now="customers")
        picture(figure, frame, "churn_scores", "Customers by their probability to leave")
    with right:
        st.markdown(
            f"**{sums['at_risk']:,}** of {sums['customers']:,} are at risk; **{shown(sums['lost'], 'count')}** are expected to leave."
        )
        st.markdown("**Reasons of those at risk**, how many have each")
        reasons = shop.frame(_REASONS_TOLD)
        rows(reasons, "churn_reasons", height=260)
    if st.session_state["who"].may("customers"):
        _at_risk(shop)


def _at_risk(shop: Shop) -> None:
    """Single customers, for whoever may see such: the likeliest to leave, those worth most first where that is predicted."""
    worth = shop.has("ml.clv_scores")
    frame = shop.frame(
        "select risk.person_id, risk.churn_probability, risk.recency_days, risk.reasons"
        + (", worth.expected_revenue" if worth else "")
        + " from ml.churn_scores as risk"
        + (" left join ml.clv_scores as worth using (person_id)" if worth else "")
        + " where risk.is_at_risk order by "
        + ("worth.expected_revenue desc nulls last, " if worth else "")
        + f"risk.churn_probability desc, 1 limit {_PERSONS}"
    )
    first = "those expected to bring most first" if worth else "the likeliest first"
    with st.expander(f"The {len(frame):,} customers at risk, {first}", icon=":material/person_alert:"):
        rows(frame, "at_risk", column_words(frame) | {
            "churn_probability": st.column_config.NumberColumn("Probability to leave", format="%.2f"),
            "reasons": st.column_config.Column("Why", width="large"),
        })  # fmt: skip


def _expected(shop: Shop) -> None:
    if not shop.has("ml.clv_scores"):
        return
    sums = shop.one(
        "select sum(expected_revenue) as revenue, count(*) as customers, max(horizon_days) as days, max(as_of_date) as day, "
        "any_value(model) as model from ml.clv_scores"
    )
    section(
        "What customers will bring",
        f"Revenue expected of today's customers in the {sums['days']} days after {sums['day']:%d %b %Y}, and how right such predictions were.",
    )
    st.markdown(
        f"**{shown(sums['revenue'], 'money', shop.currency)}** from {sums['customers']:,} customers, by {words(sums['model'].removeprefix('baseline:'))}.".replace(
            "$", "\\$"
        )
    )
    left, right = st.columns(2, gap="large")
    with left:
        frame = shop.frame(
            "select value_decile, count(*) as customers, sum(expected_revenue) as expected_revenue from ml.clv_scores group by 1 order by 1"
        )
        labelled = frame.with_columns(frame["value_decile"].cast(str).alias("value"))
        figure = charts.standing_bars(labelled, Axis("money", shop.currency), now="expected_revenue")
        figure.update_xaxes(title="Tenth of the customers, the most promising first")
        picture(figure, frame, "clv_scores", "Expected revenue by tenths of the customers")
    with right:
        _calibration(shop)


def _calibration(shop: Shop) -> None:
    if not shop.has("ml.clv_calibration"):
        missing(
            "Predictions were not judged yet", "It takes a window of orders later than what the prediction may know."
        )
        return
    methods = shop.frame(
        "select method from ml.clv_calibration group by 1 order by max(model in (method, 'baseline:' || method)) desc, 1"
    )
    names = methods["method"].to_list()
    method = str(
        st.pills(
            "Predicted by", names, key=recall("predicted_by", names, names[0]), format_func=words, required=True,
        )
    )  # fmt: skip
    frame = shop.frame(
        "select decile, fold, persons, expected_revenue, actual_revenue, mean_expected, mean_actual from ml.clv_calibration "
        f"where method = {literal(method)} order by decile"
    )
    labelled = frame.with_columns(("Tenth " + frame["decile"].cast(str)).alias("value"))
    figure = charts.bars(
        labelled, Axis("money", shop.currency), now="mean_actual", before="mean_expected", tick="Predicted"
    )
    st.caption(
        f"From {frame['fold'][0]} on: the bar is what a customer of each tenth brought, the tick what was predicted."
    )
    picture(
        figure, frame, "clv_calibration", "Actual beside predicted revenue per customer by tenths of the predictions"
    )


PAGE = Page("Customers", "customers", ":material/group:", "Business", show, needs=("gold.rfm", "gold.cohort_retention"))
