"""What became of scores: samples of them are remembered, so that drift and, once outcomes are known, results can be told.

`ml.score_history` holds a sample of every scoring of a table that its model watches. `ml.score_drift`, a SELECT over it,
compares the distributions; how past scores turned out is measured by the models (`Model.realised`) when they are trained,
and stands in `ml.evaluations` under the fold `live <day>`, compared with what was promised in `ml.live_performance`.
Nothing here knows a model.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.write import ensure_table

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.contracts.contract import Contract

HISTORY, DRIFT = "ml.score_history", "ml.score_drift"
#: Rows remembered of a scoring: those whose ids come first by their MD5, so that it is the same persons each time.
REMEMBERED = 20_000
#: Scorings remembered of a table: more than a year of weeks.
SCORINGS = 60
#: Population stability index from which a distribution counts as another one: the usual rule of thumb.
DRIFTED = 0.25
LIVE = "live "


def last_day(con: DuckDBPyConnection) -> date | None:
    """The day of the newest counted order: what scores are as of."""
    if not table_exists(con, "gold", "fct_orders"):
        return None
    found: date | None = con.execute("select max(order_date) from gold.fct_orders where is_counted").fetchall()[0][0]
    return found


def remember(
    con: DuckDBPyConnection,
    contract: Contract,
    model: str,
    table: str,
    column: str,
    who: str,
    version: str,
    scored: str,
) -> None:
    """Adds a sample of a scoring to the history, in the caller's transaction; another one of the day and version is replaced.

    Args:
        con: a connection to the warehouse, inside a transaction.
        contract: of `ml.score_history`.
        model: whose scores they are.
        table: that they were written to.
        column: that is watched, a number or truth value.
        who: the column that says whom or what a row is about.
        version: of the model.
        scored: the relation with the rows.
    """
    day = last_day(con)
    if day is None:
        return
    ensure_table(con, contract)
    of_table = [table, column]
    con.execute(
        f"delete from {HISTORY} where table_name = ? and column_name = ? and scored_on = ? and model_version = ?",
        [*of_table, day, version],
    )
    con.execute(
        f"insert into {HISTORY} (model, table_name, column_name, scored_on, model_version, id, score) "
        f"select ?, ?, ?, ?, ?, cast({who} as varchar), cast({column} as double) from {scored} where {column} is not null "
        f"order by md5(cast({who} as varchar)) limit {REMEMBERED}",
        [model, *of_table, day, version],
    )
    _leave_newest(con, of_table)
    record_change(con, HISTORY)


def _leave_newest(con: DuckDBPyConnection, of_table: list[str]) -> None:
    """Keeps the samples of the newest scorings of a table's column only."""
    con.execute(
        f"delete from {HISTORY} where table_name = ? and column_name = ? and scored_on < (select min(scored_on) from ("
        f"select distinct scored_on from {HISTORY} where table_name = ? and column_name = ? order by scored_on desc "
        f"limit {SCORINGS}) as kept)",
        [*of_table, *of_table],
    )


def past_scores(con: DuckDBPyConnection, model: str) -> pl.DataFrame | None:
    """The remembered scores of a model from before today's data: table_name, scored_on, model_version, id, score."""
    day = last_day(con)
    if day is None or not table_exists(con, *HISTORY.split(".")):
        return None
    return con.sql(
        f"select table_name, scored_on, model_version, id, score from {HISTORY} where model = ? and scored_on < ? order by all",
        params=[model, day],
    ).pl()


def has_drifted(con: DuckDBPyConnection, model: str) -> bool:
    """Whether the newest scores of a model are distributed otherwise than the first ones of their version."""
    if not table_exists(con, *DRIFT.split(".")):
        return False
    rows = con.execute(
        f"select psi from {DRIFT} where model = ? and compared_with = 'first of the version' "
        "order by scored_on desc, model_version desc limit 1",
        [model],
    ).fetchall()
    return bool(rows and rows[0][0] is not None and rows[0][0] > DRIFTED)
