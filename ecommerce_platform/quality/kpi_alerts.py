"""What published figures say that somebody should hear of: KPIs out of bounds, and anomalies.

Takes a connection to a published snapshot, never to the warehouse: asking must not get in the way of a load. Bounds
are configuration (`alerts:` in source.yml); anomalies are found by `quality.anomalies` and read here from their table. `alerting.alerts` says who is told, and how often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.kpi_alert import KpiAlert, period_column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ANOMALIES = "gold.anomalies"
#: The check that says the same as the table's newest rows.
ANOMALY_CHECK = "no_strange_days_lately"
#: Rows that a message shows.
EXAMPLES = 5
#: Anomalies that are looked at: the newest.
_MOST = 500


@dataclass(frozen=True)
class Breach:
    """A KPI out of its bounds, or rows that an alert's SELECT returned."""

    title: str
    #: `schema.table` of the KPI; empty for a SELECT.
    table: str
    what: str
    severity: Literal["warning", "error"]
    rows: int = 1
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Anomaly:
    """A window in which a series was not what was expected of it."""

    series: str
    start: date
    end: date
    what: str
    severity: Literal["warning", "error"]


def breaches(
    con: DuckDBPyConnection,
    alerts: Sequence[KpiAlert],
    contracts: Mapping[str, Contract],
    *,
    newest_load: date | None,
    currency: str,
) -> list[Breach]:
    """The alerts whose bounds are broken in a snapshot.

    An alert that cannot be asked (its table is not published, its SELECT does not run) is a breach that says so: else
    nobody would notice that it watches nothing.

    Args:
        con: a connection in which published tables are views.
        alerts: what is to be asked.
        contracts: the contract of each table.
        newest_load: the newest day of load in the snapshot. The day before it is complete; its own may not be.
        currency: what amounts are given in.
    """
    import duckdb

    found = []
    for alert in alerts:
        try:
            if alert.sql is not None:
                breach = _select(con, alert, alert.sql.strip().rstrip(";"))
            else:
                breach = _bound(con, alert, contracts[alert.table], newest_load, currency)
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            breach = Breach(alert.title, alert.table, f"This alert cannot be asked: {said}", "warning")
        if breach is not None:
            found.append(breach)
    return found


def _select(con: DuckDBPyConnection, alert: KpiAlert, sql: str) -> Breach | None:
    counted = con.execute(f"select count(*) from ({sql}) as found").fetchone()
    rows = int(counted[0]) if counted else 0
    if not rows:
        return None
    shown = con.execute(f"select * from ({sql}) as found limit {EXAMPLES}")
    names = [column[0] for column in shown.description or ()]
    return Breach(
        alert.title, "", f"{alert.description} ({_rows(rows)})", alert.severity, rows,
        tuple(_row(names, row) for row in shown.fetchall()),
    )  # fmt: skip


def _bound(
    con: DuckDBPyConnection, alert: KpiAlert, contract: Contract, newest_load: date | None, currency: str
) -> Breach | None:
    column = contract.columns[alert.column]
    unit = "" if column.unit is None else f" {currency if column.unit == 'currency' else column.unit}"
    table, figure = f"{contract.layer}.{quote(contract.name)}", quote(alert.column)
    about = f" {alert.description}" if alert.description else ""
    period = period_column(contract)
    if period is None:
        outside = [
            f"{figure} {sign} {bound!r}"
            for sign, bound in (("<", alert.below), (">", alert.above))
            if bound is not None
        ]
        key = ", ".join(quote(name) for name in contract.key)
        select = f"from {table} where {' or '.join(outside)}"
        counted = con.execute(f"select count(*) {select}").fetchone()
        rows = int(counted[0]) if counted else 0
        if not rows:
            return None
        worst = con.execute(f"select {key}, {figure} {select} order by {figure}, {key} limit {EXAMPLES}").fetchall()
        names = [*contract.key, alert.column]
        examples = tuple(_row(names, row) for row in worst)
        text = f"{alert.column} is {_outside(alert, None)} in {_rows(rows)}.{about}"
        return Breach(alert.title, alert.table, text, alert.severity, rows, examples)
    day, value = _of_period(con, alert, contract, table, period, newest_load)
    if day is None or value is None:
        return None
    low = alert.below is not None and value < alert.below
    if not low and not (alert.above is not None and value > alert.above):
        return None
    when = f"{day:%Y-%m}" if "is_complete" in contract.columns else f"{day}"
    text = f"{alert.column} of {when} is {number(value)}{unit}, {_outside(alert, low)}{unit}.{about}"
    return Breach(alert.title, alert.table, text, alert.severity)


def _of_period(
    con: DuckDBPyConnection, alert: KpiAlert, contract: Contract, table: str, period: str, newest_load: date | None
) -> tuple[date | None, Any]:
    """Day and figure of the row that is meant.

    A day without anything to show has no row in daily tables. For a figure that is always there this means zero, and
    a shop that sold nothing is what one wants to hear of.
    """
    complete_rows = "is_complete" in contract.columns
    if alert.period == "newest" or complete_rows or newest_load is None:
        condition = "where is_complete" if complete_rows and alert.period != "newest" else ""
        row = con.execute(
            f"select {quote(period)}, {quote(alert.column)} from {table} {condition} order by 1 desc limit 1"
        ).fetchone()
        return (row[0], row[1]) if row else (None, None)
    day = newest_load - timedelta(days=1)
    row = con.execute(f"select {quote(alert.column)} from {table} where {quote(period)} = ?", [day]).fetchone()
    if row is None:
        return day, 0 if contract.columns[alert.column].required else None
    return day, row[0]


def _outside(alert: KpiAlert, low: bool | None) -> str:
    words = [
        f"{word} {number(bound)}"
        for word, bound, this in (("below", alert.below, low is not False), ("above", alert.above, low is not True))
        if bound is not None and this
    ]
    return " or ".join(words)


def anomalies(con: DuckDBPyConnection) -> list[Anomaly]:
    """The newest anomalies, oldest first, without those that the source knows of; none where the table is not published."""
    import duckdb

    try:
        found = con.execute(
            f"select series, window_start, window_end, severity, expected_low, expected_high, explanation "
            f"from {ANOMALIES} where severity <> 'info' order by window_start desc, series limit {_MOST}"
        )
    except duckdb.CatalogException:
        return []
    return [
        Anomaly(series, start, end, f"{said} Ordinary is {number(low)} to {number(high)}.",
                "warning" if severity == "warning" else "error")
        for series, start, end, severity, low, high, said in reversed(found.fetchall())
    ]  # fmt: skip


def number(value: Any) -> str:
    """A figure for a reader: thousands apart, no more than four decimals, no zeros at the end."""
    if isinstance(value, (float, Decimal)):
        text = f"{value:,.4f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _row(names: Sequence[str], row: Sequence[Any]) -> str:
    return "(" + ", ".join(f"{name}={number(value)}" for name, value in zip(names, row, strict=True)) + ")"
