"""Whether the figures can be trusted: freshness, checks, rows that were left out, strange days, and where a figure comes from."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from ecommerce_platform.contracts.metric_sql import literal
from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.parts import (
    Page,
    chosen,
    heading,
    missing,
    model_verdicts,
    picture,
    recall,
    row_of_cards,
    rows,
    section,
)
from ecommerce_platform.serving.dashboard.view import View
from ecommerce_platform.serving.dashboard.wording import number, shown

if TYPE_CHECKING:
    import polars as pl

#: Columns of neighbours on either side of the chosen table in the graph.
_FAR = 2
_MOST = 12
_LAYERS = {"bronze": charts.ORANGE, "silver": charts.GREY, "gold": charts.BLUE, "ml": charts.PURPLE}


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading(
        "Can the figures be trusted?",
        "How fresh they are, what was checked, what was left out, and where each comes from.",
    )
    if not len(shop.frame("select 1 from about.tables limit 1")):
        missing(
            "This state tells nothing about its tables",
            "It was published by an earlier version; the next `ecommerce publish` tells it.",
        )
    else:
        _verdict(shop)
        _checks(shop)
        _freshness(shop)
    _accounting(shop)
    _anomalies(shop)
    model_verdicts(
        shop, (), "Which models can be trusted",
        "Each was judged on data later than what it knew; where it did not beat a simple rule, the rule is published.",
    )  # fmt: skip
    _lineage(shop)


def _accounted(shop: Shop) -> tuple[date | None, float | None]:
    """Day of the newest delivery, and the share of all rows that were rejected; None where there is none."""
    if not shop.has("silver.row_accounting"):
        return None, None
    found = shop.one(
        "select max(_load_date) as day, sum(rows_landed) as landed, sum(rows_rejected) as rejected from silver.row_accounting"
    )
    return found["day"], (found["rejected"] or 0) / found["landed"] if found["landed"] else None


def _verdict(shop: Shop) -> None:
    counts = shop.one(
        "select count(*) as checks, count(*) filter (where not passed) as failed, count(*) filter (where not passed and lower(severity) = 'error') as errors from about.checks"
    )
    late = shop.one(f"select count(*) filter (where fresh_until < {_now()}) as late from about.tables")["late"]
    newest, share = _accounted(shop)
    with row_of_cards("trust", 3 + bool(newest) + (share is not None)):
        st.metric(
            "Checks passed",
            f"{counts['checks'] - counts['failed']:,} of {counts['checks']:,}",
            border=True,
            help="Checks of columns, keys, ranges and sums, each run whenever its table is made.",
        )
        st.metric(
            "Published",
            _ago(shop.published_at),
            border=True,
            help=f"{shop.published_at.astimezone():%d %b %Y, %H:%M}: the state all figures are from.",
        )
        if newest:
            st.metric(
                "Newest delivery", f"{newest:%d %b %Y}", border=True, help="The newest day of which files were loaded."
            )
        st.metric("Overdue tables", number(late), border=True, help="Tables older than their owners promise.")
        if share is not None:
            st.metric(
                "Rows set aside",
                shown(share, "share"),
                border=True,
                help="Of all delivered rows, those that could not be used; each is kept with its reason.",
            )
    _say_whether_all_hold(counts)


def _say_whether_all_hold(counts: dict[str, Any]) -> None:
    if counts["errors"]:
        st.error(
            f"{counts['errors']} checks that must hold do not: figures of these tables may be wrong.",
            icon=":material/error:",
        )
    elif counts["failed"]:
        st.warning(f"All checks that must hold do; {counts['failed']} others warn.", icon=":material/warning:")
    else:
        st.success("All checks hold.", icon=":material/check_circle:")


def _now() -> str:
    return f"timestamp '{datetime.now(UTC):%Y-%m-%d %H:%M:%S}'"


def _ago(moment: datetime) -> str:
    minutes = int((datetime.now(UTC) - moment).total_seconds() // 60)
    if minutes < 60:
        return f"{max(minutes, 0)} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def _checks(shop: Shop) -> None:
    failed = shop.frame(
        'select table_name as "table", check_name as "check", severity, says, meaning, checked_at from about.checks '
        "where not passed order by lower(severity), table_name, check_name"
    )
    if len(failed):
        section("What the checks say", "Each line is a rule that does not hold, and what that means.")
        rows(failed, "failed_checks", {
            "table": st.column_config.Column("Table"), "check": st.column_config.Column("Rule"),
            "severity": st.column_config.Column("Severity", width="small"),
            "says": st.column_config.Column("What was found", width="large"),
            "meaning": st.column_config.Column("What the rule means", width="large"),
            "checked_at": st.column_config.DatetimeColumn("Checked (UTC)", format="YYYY-MM-DD HH:mm"),
        }, lines=2)  # fmt: skip


def _freshness(shop: Shop) -> None:
    frame = shop.frame(
        'select table_name as "table", rows, built_at, changed_at, fresh_within_hours, '
        f"case when fresh_within_hours is null then 'no promise' when fresh_until < {_now()} then 'overdue' else 'fresh' end as state, "
        "failed_checks, description from about.tables where layer in ('gold', 'ml') order by state = 'overdue' desc, table_name"
    )
    with st.expander(f"All {len(frame)} tables: rows, age, checks", icon=":material/table_view:"):
        rows(frame, "tables", {
            "table": st.column_config.Column("Table"), "rows": st.column_config.NumberColumn("Rows", format="localized"),
            "built_at": st.column_config.DatetimeColumn("Made (UTC)", format="YYYY-MM-DD HH:mm"),
            "changed_at": st.column_config.DatetimeColumn("Changed (UTC)", format="YYYY-MM-DD HH:mm"),
            "fresh_within_hours": st.column_config.NumberColumn("Promised within (h)"),
            "state": st.column_config.Column("State"), "failed_checks": st.column_config.NumberColumn("Rules broken"),
            "description": st.column_config.Column("What it holds", width="large"),
        })  # fmt: skip


def _accounting(shop: Shop) -> None:
    if not shop.has("silver.row_accounting"):
        return
    section(
        "Where every delivered row went",
        "Used, replaced by a newer version, left out as source.yml says, or set aside with a reason: nothing is lost.",
    )
    left, right = st.columns([1, 1], gap="large")
    with left:
        frame = shop.frame(
            "select _raw_table as value, sum(rows_landed) as now, sum(rows_used) as used, sum(rows_superseded) as replaced, "
            "sum(rows_left_out) as left_out, sum(rows_rejected) as set_aside from silver.row_accounting group by 1 order by 2 desc"
        )
        figure = _stack(frame)
        picture(figure, frame, "rows_by_table", "Delivered rows by table: used, replaced, left out, set aside")
    with right:
        if not shop.has("silver.rejects"):
            st.success("No row was set aside.", icon=":material/check_circle:")
            return
        frame = shop.frame(
            "select entity, reason_code, count(*) as rows, min(reason) as example, max(_load_date) as newest_delivery "
            "from silver.rejects group by 1, 2 order by 3 desc, 1, 2"
        )
        st.markdown("**Why rows were set aside**")
        rows(frame, "rejects", {
            "entity": st.column_config.Column("What"), "reason_code": st.column_config.Column("Reason"),
            "rows": st.column_config.NumberColumn("Rows", format="localized"), "example": st.column_config.Column("For example", width="large"),
            "newest_delivery": st.column_config.DateColumn("Last seen"),
        }, height=390)  # fmt: skip


def _stack(frame: pl.DataFrame) -> Any:
    import plotly.graph_objects as go

    parts = {
        "used": ("Used", charts.BLUE),
        "replaced": ("Replaced by newer", charts.GREY),
        "left_out": ("Left out on purpose", charts.PURPLE),
        "set_aside": ("Set aside", charts.RED),
    }
    values = frame["value"].to_list()
    traces = [
        go.Bar(
            y=values, x=[float(v or 0) / float(n or 1) for v, n in zip(frame[name].to_list(), frame["now"].to_list(), strict=True)],
            orientation="h", name=label, marker={"color": colour}, customdata=frame[name].to_list(),
            hovertemplate="<b>%{y}</b><br>%{customdata:,.0f} rows, %{x:.2%}<extra>" + label + "</extra>",
        )
        for name, (label, colour) in parts.items()
    ]  # fmt: skip
    figure = go.Figure(traces)
    figure.update_layout(
        barmode="stack", height=24 * len(values) + 90, margin={"l": 8, "r": 8, "t": 28, "b": 8}, bargap=0.25,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False)
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    return figure


def _anomalies(shop: Shop) -> None:
    if not shop.has("gold.anomalies"):
        return
    section("Unusual days", "Days on which a figure was not what its own past let expect, the latest first.")
    frame = shop.frame(
        "select window_start, window_end, series, direction, severity, actual, expected, explanation, known_as "
        "from gold.anomalies order by window_start desc, series"
    )
    rows(frame, "anomalies", {
        "window_start": st.column_config.DateColumn("From"), "window_end": st.column_config.DateColumn("To"),
        "series": st.column_config.Column("Figure"), "direction": st.column_config.Column("Way", width="small"),
        "severity": st.column_config.Column("Severity", width="small"),
        "actual": st.column_config.NumberColumn("Was", format="localized"),
        "expected": st.column_config.NumberColumn("Expected", format="localized"),
        "explanation": st.column_config.Column("In words", width="large"), "known_as": st.column_config.Column("Known as"),
    }, height=330, lines=2)  # fmt: skip


# -- lineage --------------------------------------------------------------------------------------------------------


def _lineage(shop: Shop) -> None:
    frame = shop.frame("select table_name, from_table from about.lineage")
    if not len(frame):
        return
    section(
        "Where a figure comes from",
        "A table between those it is made from (left) and those made from it (right). Click one to go on.",
    )
    edges = [(str(a), str(b)) for b, a in frame.iter_rows()]
    tables = sorted({name for edge in edges for name in edge})
    name = "lineage"
    key = recall("table", tables, "gold.kpi_daily" if "gold.kpi_daily" in tables else tables[0])
    table = str(st.selectbox("Table", tables, key=key, width=360))
    about = shop.one(f"select description, grain, owners from about.tables where table_name = {literal(table)}")
    if about:
        st.markdown(f"**{table}**, {about['grain'] or 'no grain told'}: {about['description'] or ''}")
    nodes = _around(table, edges)
    kept = {n for n, *_ in nodes}
    figure = charts.network(nodes, [e for e in edges if e[0] in kept and e[1] in kept], table)

    def clicked() -> None:
        if value := chosen(name):
            st.session_state["own_table"] = value

    near = frame.filter((frame["table_name"] == table) | (frame["from_table"] == table))
    picture(figure, near, name, f"{table}, what it is made from and what is made from it", on_select=clicked)
    _columns(shop, table)


def _around(table: str, edges: list[tuple[str, str]]) -> list[tuple[str, int, float, str]]:
    """The table and its neighbours up to two steps away, with their places."""
    columns: dict[str, int] = {table: 0}
    for way in (-1, 1):
        edge = [table]
        for far in range(1, _FAR + 1):
            found = sorted({(a if way < 0 else b) for a, b in edges if (b if way < 0 else a) in edge} - columns.keys())
            edge = found[:_MOST]
            columns |= dict.fromkeys(edge, way * far)
    nodes = []
    for column in sorted(set(columns.values())):
        names = sorted(n for n, c in columns.items() if c == column)
        for place, name in enumerate(names):
            row = (len(names) - 1) / 2 - place
            nodes.append((name, column, row, _LAYERS.get(name.partition(".")[0], charts.GREY)))
    return nodes


def _columns(shop: Shop, table: str) -> None:
    frame = shop.frame(
        "select columns.column_name, columns.type, columns.unit, columns.description, columns.personal, "
        "string_agg(lineage.from_table || '.' || lineage.from_column, ', ' order by lineage.from_table, lineage.from_column) as comes_from "
        "from about.columns as columns left join about.column_lineage as lineage "
        "on columns.table_name = lineage.table_name and columns.column_name = lineage.column_name "
        f"where columns.table_name = {literal(table)} group by all order by min(columns.position)"
    )
    if not len(frame):
        return
    with st.expander(f"The {len(frame)} columns of {table} and where each comes from", icon=":material/account_tree:"):
        rows(frame, "columns", {
            "column_name": st.column_config.Column("Column"), "type": st.column_config.Column("Type"), "unit": st.column_config.Column("Unit"),
            "description": st.column_config.Column("Meaning", width="large"), "personal": st.column_config.CheckboxColumn("Personal"),
            "comes_from": st.column_config.Column("Comes from", width="large"),
        })  # fmt: skip


PAGE = Page("Data trust", "trust", ":material/verified:", "Trust", show, filtered=False)
