"""What Streamlit runs at every look at the dashboard: the frame of a page. What is on the pages is in `screens/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import streamlit as st

from ecommerce_platform.errors import PlatformError
from ecommerce_platform.serving.access.web import COOKIE
from ecommerce_platform.serving.dashboard import data
from ecommerce_platform.serving.dashboard.data import Shop, shelf, who
from ecommerce_platform.serving.dashboard.keeping import views
from ecommerce_platform.serving.dashboard.parts import Page, missing, own
from ecommerce_platform.serving.dashboard.screens import PAGES
from ecommerce_platform.serving.dashboard.view import (
    COMPARISONS,
    OFFERED,
    SPANS,
    Days,
    View,
    address_of,
    read_address,
    span_days,
)

_MOST_VALUES = 1000


def main() -> None:
    """One run of the script."""
    st.set_page_config("Shop dashboard", "🛒", layout="wide", initial_sidebar_state="auto")
    st.html(Path(__file__).with_name("style.css"))
    as_of = st.query_params.get("as_of") if "as_of" not in st.session_state else st.session_state["as_of"]
    looking = who(st.context.cookies.get(COOKIE))
    if looking is None:
        st.info("You are signed out. [Sign in](/-/sign-in) to go on.")
        return
    try:
        shop = shelf().shop(as_of or None)
        offered = [name for name in OFFERED if name in shop.dimensions()]
        _read_address(shop, offered)
    except PlatformError as error:
        _nothing_to_show(error)
        return
    st.session_state["who"] = looking
    pages = [page for page in PAGES if page.there(shop) and looking.may(page.permission)]
    seen: list[View] = []
    entries: dict[str, Any] = {}
    chosen = _navigation(pages, shop, seen, entries)
    page = next(p for p in pages if p.path == chosen.url_path or (not chosen.url_path and p is pages[0]))
    st.session_state["page"] = page.path
    waiting = st.session_state["later"] = []
    try:
        _sidebar(shop)
        seen.append(_bar(shop, offered) if page.filtered else _view(shop, offered))
        chosen.run()
        for draw in waiting:
            draw()
    except PlatformError as error:
        missing(f"{error.what[:1].upper()}{error.what[1:]}", error.fix or "Choose other days or filters.")
    if not seen:
        return
    address = _write_address(seen[0], page)
    with st.sidebar:
        views(looking, page.path, address, entries)
        if data.accounts:
            st.caption(f"{looking.name or looking.id} · [sign out](/-/sign-out)")


def _nothing_to_show(error: PlatformError) -> None:
    st.title("Nothing to show yet", anchor=False)
    st.info(f"{error.what[:1].upper()}{error.what[1:]}." + (f"\n\n**What helps:** {error.fix}" if error.fix else ""))
    st.markdown(
        "A new installation is filled by `make run`: it makes a sample shop, builds its tables and publishes them."
    )


def _navigation(pages: Sequence[Page], shop: Shop, seen: Sequence[View], entries: dict[str, Any]) -> Any:
    """The pages this shop has; a page is drawn with the view that `seen` holds by then.

    `entries` gets Streamlit's page by path. No sections: Streamlit draws them as lists that screen readers cannot read.
    """
    for page in pages:
        shown = _shown(page, shop, seen)
        entries[page.path] = st.Page(
            shown, title=page.title, icon=page.icon, url_path=page.path, default=page is pages[0]
        )
    return st.navigation(list(entries.values()), expanded=True)


def _shown(page: Page, shop: Shop, seen: Sequence[View]) -> Any:
    def show() -> None:
        page.show(shop, seen[0])

    show.__name__ = f"show_{page.path}"  # what Streamlit tells pages apart by
    return show


def _sidebar(shop: Shop) -> None:
    with st.sidebar:
        known = shelf().snapshots()
        names = {name: f"{moment.astimezone():%d %b %Y, %H:%M}" for name, moment in known}
        options = ["", *names]
        if st.session_state.get("as_of") not in options:
            st.session_state["as_of"] = shop.id if st.session_state.get("as_of") else ""
        newest = names[known[0][0]] if known else ""
        st.selectbox(
            "State of the data",
            options,
            key="as_of",
            format_func=lambda name: names[name] if name else f"Newest ({newest})",
            help="Figures as they were published at a time: each publish keeps a state of its own.",
        )
        st.caption(f"{shop.name.replace('_', ' ').capitalize()} · orders up to {shop.last_day:%d %b %Y}")


def _read_address(shop: Shop, offered: Sequence[str]) -> None:
    """Takes over what the address asks for, when it is not what this page wrote there: a link, or the way back."""
    asked = {name: st.query_params.get_all(name) for name in st.query_params}
    state = st.session_state
    if "span" in state and (not asked or asked == state.get("written")):
        return
    view = read_address(asked, offered, shop.first_day, shop.last_day)
    state["span"], state["compare"] = view.span, view.compare
    state["days"] = (view.days.since, view.days.until)
    if "as_of" in asked:
        state["as_of"] = asked["as_of"][-1]
    for name in offered:
        known = set(shop.values(name)) if view.values_of(name) else set()
        state[f"filter_{name}"] = [v for v in view.values_of(name) if v in known]
    state["asked"] = dict(asked)
    for name in [key for key in state if str(key).startswith("own_")]:
        del state[name]


def _view(shop: Shop, offered: Sequence[str]) -> View:
    """The view that the fields at the top ask for."""
    from ecommerce_platform.contracts.metric_sql import Filter

    state = st.session_state
    chosen: tuple[date, ...] = tuple(state.get("days") or ())
    given = Days(chosen[0], chosen[1]) if len(chosen) == 2 else None
    days = span_days(state["span"], shop.first_day, shop.last_day, given)
    filters = tuple(Filter(name, tuple(values)) for name in offered if (values := state.get(f"filter_{name}")))
    return View(days, state["span"], state["compare"], filters, shop.first_day)


def _bar(shop: Shop, offered: Sequence[str]) -> View:
    """The fields at the top, and the view they ask for."""
    state = st.session_state
    with st.container(key="bar_view"):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            st.selectbox("Period", list(SPANS), key="span", format_func=SPANS.__getitem__, width=170)
            if state["span"] == "days":
                state["days"] = tuple(min(max(d, shop.first_day), shop.end) for d in state.get("days") or ())
                st.date_input(
                    "First and last day", min_value=shop.first_day, max_value=shop.end, key="days", width=240,
                    format="YYYY-MM-DD",
                )  # fmt: skip
            st.selectbox(
                "Compared with", list(COMPARISONS), key="compare", format_func=COMPARISONS.__getitem__, width=170
            )
            _filters(shop, offered)
        view = _view(shop, offered)
        _say(view, shop)
    return view


def _filters(shop: Shop, offered: Sequence[str]) -> None:
    active = sum(len(st.session_state.get(f"filter_{name}") or []) for name in offered)
    label = f"Filters ({active})" if active else "Filters"
    with st.popover(label, icon=":material/filter_list:", type="primary" if active else "secondary"):
        for name in offered:
            dimension = shop.metrics.dimension(name)
            values = shop.values(name)[:_MOST_VALUES]
            key = f"filter_{name}"
            st.session_state[key] = [v for v in st.session_state.get(key) or [] if v in values]
            st.multiselect(dimension.label, values, key=key, placeholder="All", help=dimension.description)
    if active:
        st.button("Clear filters", on_click=_clear, args=(offered,), type="tertiary", icon=":material/close:")


def _clear(offered: Sequence[str]) -> None:
    for name in offered:
        st.session_state[f"filter_{name}"] = []


def _say(view: View, shop: Shop) -> None:
    """Which days are shown, what they are compared with and which orders count, in a line."""
    text = f"**{view.days.text}**"
    if view.before:
        text += f" compared with {view.before.text}"
    elif view.compare != "none":
        text += f" · nothing to compare with: the data begin on {shop.first_day:%d %b %Y}"
    for found in view.filters:
        text += f" · {shop.metrics.dimension(found.dimension).label}: {', '.join(found.values)}"
    st.caption(text)


def _write_address(view: View, page: Page) -> Mapping[str, list[str]]:
    """Says in the address what is looked at, so that it can be shared; with what the page itself remembers."""
    state = st.session_state
    address: Mapping[str, list[str]] = address_of(view, state.get("as_of") or None) | own(page.path)
    state["written"] = dict(address)
    if {name: st.query_params.get_all(name) for name in st.query_params} != address:
        st.query_params.from_dict(address)
    return address


main()
