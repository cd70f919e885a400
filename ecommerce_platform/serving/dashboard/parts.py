"""Pieces that pages are made of: headings, cards, pictures with their table and download, words where there is nothing.

Here and in `app` and `screens/` Streamlit is called; what is shown is asked in `figures` and drawn in `charts`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from ecommerce_platform.serving.dashboard.charts import Axis
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.figures import (
    Total,
    ahead,
    counts_distinct,
    possible,
    series,
    totals,
)
from ecommerce_platform.serving.dashboard.view import View
from ecommerce_platform.serving.dashboard.wording import change, shown

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl


#: Of a change, by which direction a metric's definition calls good.
COLOUR = {"more": "normal", "less": "inverse", "neither": "off"}
#: Pixels of a table's row, and of each further line of text in it.
_ROW, _LINE = 35, 18


@dataclass(frozen=True)
class Page:
    """One page of the dashboard.

    Args:
        title: what it is called.
        path: its part of the address.
        icon: of Material Symbols.
        section: where it stands in the navigation.
        show: draws it.
        needs: tables of which at least one must hold rows; a shop without is not shown the page.
        filtered: whether it follows the filters and the days at the top.
        permission: what who looks at it must be allowed (`access/roles.py`).
    """

    title: str
    path: str
    icon: str
    section: str
    show: Callable[[Shop, View], None]
    needs: tuple[str, ...] = ()
    filtered: bool = True
    permission: str = "figures"

    def there(self, shop: Shop) -> bool:
        """Whether this shop has what the page shows."""
        return not self.needs or any(shop.has(table) for table in self.needs)


def axis(shop: Shop, metric: str) -> Axis:
    """How a metric's figures read."""
    kind = shop.metrics.metric(metric).format
    return Axis(kind, shop.currency if kind == "money" else "")


def heading(title: str, text: str = "") -> None:
    """A page's title, and a sentence that says what it answers."""
    st.title(title, anchor=False)
    if text:
        st.caption(text)


def section(title: str, text: str = "") -> None:
    """A part's heading, and a sentence for who does not know the term."""
    st.subheader(title, anchor=False)
    if text:
        st.caption(text)


def missing(what: str, how: str) -> None:
    """Words where there is nothing to show: what is missing, and how to get it."""
    st.info(f"**{what}**\n\n{how}", icon=":material/info:")


def cards(shop: Shop, view: View, names: Sequence[str], key: str, *, spark: bool = True) -> dict[str, Total]:
    """A card per metric with its figure, the change, and its way through the days; gives the totals.

    Distinct counts of filtered orders take longest: their cards say so and are filled in when the rest of the page is
    there, and what is given lacks them.
    """
    slow = [n for n in possible(shop, names, view) if counts_distinct(shop, n, view)]
    ahead(shop, view, slow)
    found = totals(shop, view, [n for n in names if n not in slow])
    ways = _ways(shop, view, list(found)) if spark else {}
    known = {name: t for name, t in found.items() if t.now is not None or t.before is not None}
    shown_ = [n for n in names if n in known or n in slow]
    with row_of_cards(key, len(shown_)):
        places = {name: st.empty() for name in shown_}
    for name, total in known.items():
        _card(places[name], shop, name, total, ways.get(name))
    for name in slow:
        places[name].metric(shop.metrics.metric(name).label, "…", help="Being counted: each only once.", border=True)
    if slow:
        later(lambda: _fill(places, shop, view, slow, spark))
    return found


def _fill(places: Mapping[str, Any], shop: Shop, view: View, names: Sequence[str], spark: bool) -> None:
    """Puts the figures in cards that were left open."""
    found = totals(shop, view, names)
    ways = _ways(shop, view, list(found)) if spark else {}
    for name in names:
        _card(places[name], shop, name, found[name], ways.get(name))


def _card(place: Any, shop: Shop, name: str, total: Total, way: list[float] | None) -> None:
    metric = shop.metrics.metric(name)
    differs = change(total.now, total.before, metric.format)
    same = differs is not None and differs[0] not in "+-"
    place.metric(
        metric.label,
        shown(total.now, metric.format, shop.currency, brief=True),
        differs,
        delta_color="off" if same else COLOUR[metric.better],
        delta_arrow="off" if same else "auto",
        help=metric.description,
        border=True,
        chart_data=way,
        chart_type="area",
    )


def later(draw: Callable[[], None]) -> None:
    """Has something drawn when the rest of the page is there; at once, where no frame is around the page."""
    waiting = st.session_state.get("later")
    if waiting is None:
        draw()
    else:
        waiting.append(draw)


def row_of_cards(key: str, count: int) -> Any:
    """A container whose cards flow: five stand in a row where there are five."""
    return st.container(horizontal=True, key=f"cards{5 if count == 5 else 4}_{key}")


def _ways(shop: Shop, view: View, names: Sequence[str]) -> dict[str, list[float]]:
    """Each metric's way through the days of the view, where it has more than a point."""
    import polars as pl

    frame = series(shop, view, names, view.grain).filter(pl.col("is_complete"))
    found = {name: [float(v) for v in frame[name].drop_nulls().to_list()] for name in names}
    return {name: way for name, way in found.items() if len(way) > 2}


def picture(
    figure: go.Figure,
    table: pl.DataFrame,
    name: str,
    alt: str,
    *,
    on_select: Callable[[], None] | None = None,
    columns: Mapping[str, Any] | None = None,
) -> None:
    """A figure, and behind a button its table with CSV and Excel to take along.

    Args:
        figure: what is drawn.
        table: the figures in it.
        name: of the figure on its page; also of the files.
        alt: what it shows, in a sentence, for who does not see it.
        on_select: called when something in it was clicked; `chosen` says what.
        columns: how the table's columns read.
    """
    config = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "zoom2d", "pan2d", "autoScale2d"]}
    options: dict[str, Any] = {"on_select": on_select, "selection_mode": "points"} if on_select else {}
    st.plotly_chart(figure, key=f"plot_{name}", config=config, alt=alt, **options)
    data_button(table, name, columns)


def chosen(name: str) -> str | None:
    """What was clicked last in a figure whose marks carry their value; None for nothing."""
    state = st.session_state.get(f"plot_{name}")
    points = state["selection"]["points"] if state else []
    data = points[0].get("customdata") if points else None
    value = data[0] if isinstance(data, list | tuple) and data else data
    return None if value is None else str(value)


def data_button(table: pl.DataFrame, name: str, columns: Mapping[str, Any] | None = None) -> None:
    """A button that opens a table, with CSV and Excel to take along."""

    @st.fragment
    def lazily() -> None:
        opened = st.popover(
            "Table and download", icon=":material/table:", type="tertiary", key=f"data_{name}", on_change="rerun"
        )
        if opened.open:
            with opened:
                rows(table, f"in_{name}", columns)

    lazily()


def rows(
    table: pl.DataFrame, name: str, columns: Mapping[str, Any] | None = None, height: int = 420, *, lines: int = 1
) -> None:
    """A table with CSV and Excel to take along.

    Args:
        table: its rows, which files get as they are; on the page numbers are rounded to cents.
        name: of the table on its page, and of the files.
        columns: how the columns read; by default by their names and types.
        height: pixels that it takes at most.
        lines: that long texts may take in a row.
    """
    import polars as pl

    each = _ROW + _LINE * (lines - 1)
    tall = min(_ROW + each * len(table) + 3, height)
    seen = table.with_columns(
        pl.col(c).round(2) + 0.0 for c, t in table.schema.items() if t.is_float() and not _is_share(c)
    )
    st.dataframe(
        seen,
        hide_index=True,
        column_config=columns or column_words(table),
        key=f"table_{name}",
        height=tall,
        placeholder="–",
        row_height=each,
    )
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "CSV", lambda: table.write_csv(), f"{name}.csv", "text/csv", key=f"csv_{name}", on_click="ignore",
            icon=":material/download:",
        )  # fmt: skip
        st.download_button(
            "Excel", lambda: workbook(table), f"{name}.xlsx", key=f"xlsx_{name}", on_click="ignore",
            mime="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", icon=":material/download:",
        )  # fmt: skip


def workbook(table: pl.DataFrame) -> bytes:
    """A table as an Excel file. Texts stay texts: none becomes a formula or a link."""
    from io import BytesIO

    import xlsxwriter

    file = BytesIO()
    options = {"strings_to_formulas": False, "strings_to_urls": False, "in_memory": True}
    with xlsxwriter.Workbook(file, options) as book:
        table.write_excel(book, worksheet="data", autofit=True)
    return file.getvalue()


def model_verdicts(shop: Shop, names: Sequence[str], title: str, text: str) -> None:
    """Which models are in force, what they publish and why, and every figure beside the baseline's; nothing without them.

    Args:
        shop: asked.
        names: of models; none for all.
        title: of the part.
        text: below it.
    """
    from ecommerce_platform.contracts.metric_sql import literal

    if not shop.has("ml.model_summary"):
        return
    where = f"where model in ({', '.join(map(literal, names))})" if names else ""
    models = shop.frame(
        "select model, published_as, promoted, verdict, trained_at, data_from, data_to, rows_trained, is_pinned, model_version "
        f"from ml.model_summary {where} group by all order by model"
    )
    if not len(models):
        return
    section(title, text)
    wide = st.column_config.Column
    rows(
        models,
        "models",
        column_words(models) | {"verdict": wide("Why", width="large"), "promoted": wide("Beat the baseline")},
    )
    _figures_beside_baselines(shop, where)


def _figures_beside_baselines(shop: Shop, where: str) -> None:
    figures = shop.frame(
        "select model, fold as judged_from, metric, value as figure, baseline, baseline_value, interval_low as difference_low, "
        f"interval_high as difference_high, decides from ml.model_summary {where} order by decides desc, model, fold desc, metric"
    )
    figures = figures.filter(figures["figure"].is_not_null())
    if len(figures):
        with st.expander(f"All {len(figures)} figures beside the baseline's", icon=":material/rule:"):
            number = {
                name: st.column_config.NumberColumn(words, format="%.4g")
                for name, words in (
                    ("figure", "Figure"), ("baseline_value", "Baseline"), ("difference_low", "Difference at least"),
                    ("difference_high", "At most"),
                )
            }  # fmt: skip
            rows(figures, "model_figures", column_words(figures) | number)


def column_words(table: pl.DataFrame, currency: str = "") -> dict[str, Any]:
    """Headings in words, and numbers as they read best, for a table's columns by their names and types."""
    import polars as pl

    from ecommerce_platform.serving.dashboard.wording import words

    found: dict[str, Any] = {}
    for name, kind in table.schema.items():
        label = words(name)
        if kind.is_numeric() and _is_share(name):
            found[name] = st.column_config.NumberColumn(label, format="percent")
        elif kind.is_float() or kind.is_decimal():
            found[name] = st.column_config.NumberColumn(label, format="localized")
        elif kind.is_integer():
            plain = name in ("year",)
            found[name] = st.column_config.NumberColumn(label, format="plain" if plain else "localized")
        elif kind == pl.Date:
            found[name] = st.column_config.DateColumn(label, format="YYYY-MM-DD")
        else:
            found[name] = st.column_config.Column(label)
    return found


def _is_share(name: str) -> bool:
    """Whether a column is one of shares, by its name."""
    return name.endswith(("share", "_rate", "confidence", "confidence_of_other", "_depth"))


def hold(dimension: str, name: str) -> Callable[[], None]:
    """What a click in the figure `name` does: the page is held to the clicked value of a dimension, or freed of it."""

    def clicked() -> None:
        value = chosen(name)
        if value != "all others":
            st.session_state[f"filter_{dimension}"] = [] if value is None else [value]

    return clicked


def short_key(text: str) -> str:
    """A short name of any text, for keys."""
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def recall(name: str, allowed: Sequence[str], otherwise: str | Sequence[str]) -> str:
    """Gives a field's key, whose value is what the address asked for, else what it was, else `otherwise`.

    What is kept so stands in the address, too, as long as the page shows the field (see `own`).

    Args:
        name: of the field, as the address has it.
        allowed: the values that it may have.
        otherwise: its first value; several for a field that takes several.
    """
    state, key = st.session_state, f"own_{name}"
    several = not isinstance(otherwise, str)
    asked = [v for v in state.get("asked", {}).pop(name, []) if v in allowed]
    kept = f"kept_{name}"
    if asked:
        state[key] = asked if several else asked[-1]
    elif key not in state:
        state[key] = state.get(kept, list(otherwise) if several else otherwise)
    if several:
        state[key] = [v for v in state[key] or [] if v in allowed]
    elif state[key] not in allowed:
        state[key] = otherwise
    state[kept] = state[key]
    state.setdefault("remembered", {}).setdefault(state.get("page", ""), {})[name] = otherwise
    return key


def own(path: str) -> dict[str, list[str]]:
    """What the fields of a page add to its address: those that are not as they are at first."""
    found = {}
    for name, otherwise in st.session_state.get("remembered", {}).get(path, {}).items():
        value = st.session_state.get(f"own_{name}")
        first = otherwise if isinstance(otherwise, str) else list(otherwise)
        if value is not None and value != first:
            found[name] = [value] if isinstance(value, str) else list(value)
    return found
