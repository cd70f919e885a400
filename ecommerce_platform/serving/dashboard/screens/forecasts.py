"""What the next weeks will bring: forecasts with their ranges, what earlier ones were worth, and which method won."""

from __future__ import annotations

import streamlit as st

from ecommerce_platform.contracts.metric_sql import literal
from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.charts import Axis
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.parts import (
    Page,
    heading,
    model_verdicts,
    picture,
    recall,
    row_of_cards,
    rows,
    section,
)
from ecommerce_platform.serving.dashboard.view import View
from ecommerce_platform.serving.dashboard.wording import change, shown, words

REVENUE, DEMAND, QUANTILES = "ml.revenue_forecast", "ml.demand_forecast", "ml.demand_quantiles"
#: Measure → its table; each is a column of gold.kpi_daily, too.
MEASURES = {"revenue": REVENUE, "orders": REVENUE, "units": DEMAND}
_WHOLE = "total"
_MOST = 1000


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading("Forecasts", "What the next weeks will bring, how sure that is, and how right earlier forecasts were.")
    measures = [m for m, table in MEASURES.items() if shop.has(table)]
    _cards(shop, measures)
    measure = str(
        st.pills(
            "What", measures, key=recall("measure", measures, measures[0]), format_func=words, required=True,
            label_visibility="collapsed",
        )
    )  # fmt: skip
    _days(shop, measure)
    _winners(shop, measure)
    if shop.has(DEMAND):
        _products(shop)
    if shop.has(QUANTILES):
        _lead_times(shop)
    model_verdicts(
        shop, ("revenue_forecast", "demand_forecast"), "What won",
        "A method is published only where it beat the seasonal naive forecast, last week's days again, on days that it did not know.",
    )  # fmt: skip


def _axis(shop: Shop, measure: str) -> Axis:
    return Axis("money", shop.currency) if measure == "revenue" else Axis()


def _cards(shop: Shop, measures: list[str]) -> None:
    """The sum of the days ahead beside as many days before them. Ranges of days cannot be added up, so sums have none."""
    with row_of_cards("forecasts", len(measures)):
        for measure in measures:
            found = shop.one(
                f"select sum(forecast) as ahead, count(*) as days, min(origin_date) as origin from {MEASURES[measure]} "
                f"where measure = '{measure}' and level = '{_WHOLE}' and not is_backtest"
            )
            if found["ahead"] is None:
                continue
            before = shop.one(
                f"select sum({measure}) as figure from gold.kpi_daily where order_date > date '{found['origin']}' - {found['days']} "
                f"and order_date <= date '{found['origin']}'"
            )["figure"]
            axis = _axis(shop, measure)
            st.metric(
                f"{words(measure)}, next {found['days']} days",
                axis.text(found["ahead"]),
                change(found["ahead"], before, axis.kind),
                delta_color="off",
                border=True,
                help=f"Expected from {found['origin']:%d %b %Y} on; beside it the change from the {found['days']} days up to then.",
            )


def _days(shop: Shop, measure: str) -> None:
    table = MEASURES[measure]
    section(
        "Day by day",
        "The band holds nine of ten days, by how far off earlier forecasts were. Before today: what was expected then, and what came.",
    )
    of = f"from {table} where measure = '{measure}' and level in ('{_WHOLE}', 'category')"
    names = shop.frame(f"select series {of} group by 1 order by min(level) = 'category', sum(forecast) desc")["series"]
    series = str(st.selectbox("Of", names.to_list(), key=recall("series", names.to_list(), names[0]), width=300))
    of += f" and series = {literal(series)}"
    frame = shop.frame(
        "select forecast_date as period, forecast, low_90, high_90, actual, is_backtest, origin_date, horizon, method, model "
        f"{of} qualify row_number() over (partition by forecast_date order by origin_date desc) = 1 order by 1"
    )
    axis = _axis(shop, measure)
    picture(charts.forecast(frame, axis), frame, "forecast", f"{words(measure)} expected and come, {series}")
    judged = shop.frame(
        "select origin_date as forecast_made_on, count(*) as days, sum(forecast) as expected, sum(actual) as came, "
        "sum(forecast) / nullif(sum(actual), 0) - 1 as difference_share, "
        "avg(case when actual between low_90 and high_90 then 1.0 when low_90 is not null then 0.0 end) as days_within_range_share "
        f"{of} and is_backtest and actual is not null group by 1 order by 1 desc"
    )
    if len(judged):
        st.markdown("**How right earlier forecasts were**, each beside what came")
        rows(judged, "judged", height=300)


def _winners(shop: Shop, measure: str) -> None:
    frame = shop.frame(
        "select series, any_value(method) as method, any_value(model) as published_as, sum(forecast) as expected, count(*) as days "
        f"from {MEASURES[measure]} where measure = '{measure}' and level in ('{_WHOLE}', 'category') and not is_backtest "
        "group by level, series order by level = 'category', 4 desc"
    )
    with st.expander(f"The method of each series ({len(frame)})", icon=":material/rule:"):
        rows(frame, "methods")


def _products(shop: Shop) -> None:
    frame = shop.frame(
        "select coalesce(products.name, ahead.series) as product, products.category, sum(ahead.forecast) as expected_units, "
        "count(*) as weeks, max(ahead.forecast) filter (where horizon = 1) as next_week, "
        "max(ahead.low_90) filter (where horizon = 1) as next_week_low, max(ahead.high_90) filter (where horizon = 1) as next_week_high, "
        f"any_value(ahead.method) as method from {DEMAND} as ahead left join gold.dim_product as products on ahead.series = products.product_id "
        f"where ahead.level = 'product' and not ahead.is_backtest group by ahead.series, 1, 2 order by 3 desc, 1 limit {_MOST}"
    )
    if len(frame):
        section("Products", "Units expected in the coming weeks, and the range of the first of them.")
        rows(frame, "products_ahead", height=360)


def _lead_times(shop: Shop) -> None:
    section(
        "Until the goods arrive",
        "How many units suffice from an order to the supplier to its arrival: in half of the cases, in 80 %, and so on.",
    )
    frame = shop.frame(
        "select coalesce(products.name, found.product_id) as product, found.lead_time_days, found.weeks, found.expected_units, "
        "found.units_p50, found.units_p80, found.units_p90, found.units_p95, found.units_p99, found.known_week_share, found.method "
        f"from {QUANTILES} as found left join gold.dim_product as products using (product_id) order by 4 desc, 1 limit {_MOST}"
    )
    best = frame.row(0, named=True)
    if best["units_p95"] is not None:
        st.markdown(
            f"**{best['product']}**: {shown(best['expected_units'], 'score')} units are expected in {best['weeks']} weeks; "
            f"{shown(best['units_p95'], 'score')} suffice in 95 % of the cases."
        )
    rows(frame, "lead_times", height=360)


PAGE = Page(
    "Forecasts", "forecasts", ":material/trending_up:", "Business", show, needs=(REVENUE, DEMAND), filtered=False
)
