"""Questions in SQL over the published tables: one SELECT, within limits of time and rows, for who wants more than pages show."""

from __future__ import annotations

import streamlit as st

from ecommerce_platform.contracts.metric_sql import literal
from ecommerce_platform.errors import PlatformError
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.parts import Page, heading, recall, rows
from ecommerce_platform.serving.dashboard.view import View

#: Rows of an answer that are shown.
MOST_ROWS = 5_000
_FIRST = "select month, revenue, orders, aov\nfrom gold.kpi_monthly\norder by month"


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading("Ask in SQL", "One SELECT over the published tables. It can read nothing else, and change nothing.")
    left, right = st.columns([2, 1], gap="large")
    with right:
        _tables(shop)
    with left:
        with st.form("question", border=False):
            st.session_state.setdefault("sql", _FIRST)
            text = st.text_area("Your question", key="sql", height=190)
            asked = st.form_submit_button("Ask", type="primary", icon=":material/play_arrow:")
        if asked or text == _FIRST:
            _answer(shop, text)


def _answer(shop: Shop, text: str) -> None:
    try:
        frame, more = shop.ask(text, MOST_ROWS, st.session_state["who"])
    except PlatformError as error:
        st.error(error.what + (f"\n\n{error.fix}" if error.fix else ""), icon=":material/error:")
        return
    st.caption(f"The first {MOST_ROWS:,} rows; there are more." if more else f"{len(frame):,} rows")
    rows(frame, "answer")


def _tables(shop: Shop) -> None:
    st.markdown("**What there is**")
    tables = sorted(shop.rows)
    table = str(st.selectbox("Table", tables, key=recall("table", tables, tables[0])))
    about = shop.one(f"select description, grain from about.tables where table_name = {literal(table)}")
    if about:
        st.caption(f"{about['description']} {str(about['grain'] or '').capitalize()}, {shop.rows[table]:,} rows.")
    frame = shop.frame(
        f"select column_name, type, description from about.columns where table_name = {literal(table)} order by position"
    )
    st.dataframe(
        frame, hide_index=True, height=320, key="table_of_columns",
        column_config={"column_name": "Column", "type": "Type", "description": st.column_config.Column("Meaning", width="large")},
    )  # fmt: skip


PAGE = Page("Ask in SQL", "ask", ":material/terminal:", "Trust", show, filtered=False, permission="sql")
