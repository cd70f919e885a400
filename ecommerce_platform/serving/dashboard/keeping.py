"""What people keep from a page: views under a name, and bounds for a figure that shall be told when it leaves them.

Both are kept in `access/saved.py`; whether a bound is passed is asked at each publish, by the alert channels there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

import streamlit as st

from ecommerce_platform.contracts.metrics import PERIODS
from ecommerce_platform.errors import PlatformError
from ecommerce_platform.serving.access import saved
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.roles import Who
from ecommerce_platform.serving.dashboard import data
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.view import View
from ecommerce_platform.serving.dashboard.wording import shown


def views(who: Who, path: str, address: Mapping[str, list[str]], entries: Mapping[str, Any]) -> None:
    """The views that somebody kept, and a field to keep this one.

    Args:
        who: looks.
        path: of the page.
        address: its parameters.
        entries: Streamlit's page by path.
    """
    accounts = data.accounts
    if accounts is None:
        return
    kept = [v for v in saved.views_of(accounts, who) if v.page in entries]
    with st.popover(
        f"Saved views ({len(kept)})" if kept else "Saved views", icon=":material/bookmark:", width="stretch"
    ):
        for view in kept:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.page_link(
                    entries[view.page],
                    label=view.name,
                    query_params=_pairs(parse_qs(view.query)),
                    icon=":material/bookmark:",
                )
                if view.owner == who.id:
                    st.button(
                        "Remove", key=f"drop_view_{view.id}", type="tertiary", icon=":material/delete:",
                        on_click=_drop, args=(saved.remove_view, accounts, who, view.id),
                    )  # fmt: skip
        if not kept:
            st.caption("Keep a page with its period and filters under a name, for yourself or for all who sign in.")
        _keep_view(accounts, who, path, address)


def _keep_view(accounts: Accounts, who: Who, path: str, address: Mapping[str, list[str]]) -> None:
    with st.form("keep_view", clear_on_submit=True, border=False):
        name = st.text_input("Name of this view")
        shared = st.checkbox("Show it to everybody")
        if st.form_submit_button("Save this view") and name.strip():
            try:
                saved.save_view(accounts, who, name.strip(), path, urlencode(address, doseq=True), shared=shared)
            except PlatformError as error:
                st.error(error.what)
            else:
                st.rerun()


def _drop(remove: Callable[[Accounts, Who, int], bool], accounts: Accounts, who: Who, id_: int) -> None:
    remove(accounts, who, id_)


def _pairs(query: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, values in query.items() for value in values]


def thresholds(shop: Shop, who: Who, metric: str, grain: str, view: View) -> None:
    """The bounds that somebody set, and fields to set one for a metric under the filters of the page."""
    accounts = data.accounts
    if accounts is None:
        return
    own = saved.thresholds(accounts, who)
    label = shop.metrics.metric(metric).label
    with st.popover(f"Alerts ({len(own)})" if own else "Alerts", icon=":material/notifications:"):
        for bound in own:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{bound.name}**: {_told(shop, bound)}".replace("$", "\\$"))
                st.button(
                    "Remove", key=f"drop_bound_{bound.id}", type="tertiary", icon=":material/delete:",
                    on_click=_drop, args=(saved.remove_threshold, accounts, who, bound.id),
                )  # fmt: skip
        st.caption(
            f"Tell me when {label.lower()} of the newest full period leaves a bound, under the filters at the top."
        )
        _set_threshold(accounts, shop, who, metric, grain, view)


def _set_threshold(accounts: Accounts, shop: Shop, who: Who, metric: str, grain: str, view: View) -> None:
    known = shop.metrics.metric(metric)
    with st.form("set_bound", clear_on_submit=True, border=False):
        name = st.text_input("Name of the alert", value=known.label)
        periods = list(known.periods or PERIODS)
        period = st.selectbox("Full", periods, index=periods.index(grain) if grain in periods else len(periods) - 1)
        of_share = known.format == "share"
        below = st.number_input(
            "Below" + (" (as a share: 0.9 is 90 %)" if of_share else ""), value=None, key="bound_below"
        )
        above = st.number_input("Above", value=None, key="bound_above")
        if st.form_submit_button("Set the alert"):
            try:
                saved.save_threshold(
                    accounts, who, shop.metrics, name.strip(), metric, str(period), filters=view.filters,
                    below=below, above=above,
                )  # fmt: skip
            except PlatformError as error:
                st.error(error.what + (f": {error.fix}" if error.fix else ""))
            else:
                st.rerun()


def _told(shop: Shop, bound: saved.Threshold) -> str:
    known = shop.metrics.metric(bound.metric)
    parts = [
        f"{word} {shown(value, known.format, shop.currency)}"
        for word, value in (("below", bound.below), ("above", bound.above))
        if value is not None
    ]
    where = "".join(f", {f.dimension} {' or '.join(f.values)}" for f in bound.filters)
    return f"{known.label} of a {bound.period} {' or '.join(parts)}{where}"
