"""The one place where the dashboard reads: a published snapshot, asked in SQL and in metrics, each question once.

What is asked is in `figures` and in the pages; how snapshots are found and opened is in `reading/`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.metric_sql import Query, compile_query
from ecommerce_platform.contracts.metrics import Metrics, read_metrics
from ecommerce_platform.errors import InputError
from ecommerce_platform.reading.snapshots import current_snapshot, find_snapshot, open_snapshot, read_manifest
from ecommerce_platform.settings import Settings, read_settings

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

#: Answers that are kept of one snapshot, and snapshots that stay open.
_ANSWERS, _OPEN = 400, 3
#: Dimensions whose values gold.kpi_by_dimension lists; of others the values are asked for.
_LISTED = ("category", "brand", "payment_method", "channel", "region", "segment", "age_group")


@dataclass
class Shop:
    """One published snapshot of a shop, open for reading by any number of threads."""

    con: DuckDBPyConnection
    id: str
    published_at: datetime
    #: Rows of each table; tables that the snapshot has not are not in it.
    rows: Mapping[str, int]
    metrics: Metrics
    memory: _Answers = field(default_factory=lambda: _Answers(_ANSWERS))

    def frame(self, sql: str) -> pl.DataFrame:
        """The rows of a SELECT of our own making; money as DECIMAL, as it is in the table."""
        return self.memory.get(sql, lambda: self.con.cursor().sql(sql).pl())

    def metric(self, query: Query) -> pl.DataFrame:
        """The rows of a compiled metric query.

        Raises:
            MetricError: the query has no meaning, with the reason.
        """
        return self.frame(compile_query(self.metrics, query))

    def ask(self, text: str, most: int) -> tuple[pl.DataFrame, bool]:
        """The answer to a SELECT that anybody may have written, and whether it has more than `most` rows.

        Raises:
            InputError: it is no SELECT, does not run, reaches for what is not in the snapshot, or takes too long.
        """
        import polars as pl

        from ecommerce_platform.reading.query import ask

        with ask(self.con.cursor(), text, seconds=read_settings().query_seconds) as answer:
            rows = answer.fetch(most + 1)
            frame = pl.DataFrame(rows[:most], schema=_unlike(answer.columns), orient="row", infer_schema_length=None)
        return frame, len(rows) > most

    def has(self, *tables: str) -> bool:
        """Whether the snapshot has these tables and each holds a row."""
        return all(self.rows.get(table, 0) > 0 for table in tables)

    def one(self, sql: str) -> dict[str, Any]:
        """The first row of a SELECT by its columns; empty without rows."""
        found = self.frame(sql)
        return found.row(0, named=True) if len(found) else {}

    @property
    def currency(self) -> str:
        """Currency of all money."""
        return str(self.one("select currency from silver.shop").get("currency", "EUR"))

    @property
    def name(self) -> str:
        """Name of the source."""
        return str(self.one("select source from silver.shop").get("source", ""))

    @property
    def first_day(self) -> date:
        """The first day with anything to show."""
        found: date = self.one("select min(order_date) as day from gold.kpi_daily")["day"]
        return found

    @property
    def last_day(self) -> date:
        """The last day up to which orders came without a gap.

        Behind the last complete month (gold.month_coverage) a few stray orders make no period that could be compared: the
        days count that follow it one by one.
        """
        found: date = self.one(_LAST_DAY)["day"]
        return found

    def values(self, dimension: str) -> list[str]:
        """The values of a dimension, those with most revenue first; `unknown` last."""
        if dimension in _LISTED:
            sql = f"select value, sum(revenue) as revenue from gold.kpi_by_dimension where dimension = '{dimension}' group by 1"
        else:
            sql = f"select {dimension} as value, revenue from ({compile_query(self.metrics, Query(('revenue',), (dimension,)))})"
        found = self.frame(f"select value from ({sql}) order by value = 'unknown', revenue desc nulls last, value")
        return [str(v) for v in found["value"].to_list()]

    def dimensions(self) -> list[str]:
        """The dimensions that say something of this shop: with a value besides `unknown`."""
        return [name for name in self.metrics.dimensions if name not in self._silent()]

    def _silent(self) -> frozenset[str]:
        """Dimensions without a value; looked up in the tables they are columns of, not worked out."""
        return self.memory.get("silent dimensions", lambda: frozenset(self._find_silent()))

    def _find_silent(self) -> list[str]:
        found = []
        for name, sql in _SPEAKS.items():
            try:
                if not self.one(f"select exists({sql}) as said")["said"]:
                    found.append(name)
            except Exception:  # a table that this shop has not
                found.append(name)
        return found


#: What shows that a dimension has a value; dimensions that are not named here always have.
_SPEAKS = {
    "category": "select 1 from gold.dim_product where category is not null",
    "brand": "select 1 from gold.dim_product where brand is not null",
    "seller": "select 1 from gold.fct_order_items where seller_id is not null",
    "channel": "select 1 from gold.fct_orders where channel is not null",
    "device": "select 1 from gold.fct_orders where device is not null",
    "campaign": "select 1 from gold.fct_orders where campaign_id is not null",
    "payment_method": "select 1 from gold.fct_orders where payment_method is not null",
    "region": "select 1 from gold.fct_orders where region is not null",
    "city": "select 1 from gold.dim_customer where city is not null",
    "hour": "select 1 from gold.fct_orders where ordered_at > cast(order_date as timestamp)",
    "segment": "select 1 from gold.dim_customer where customer_segment is not null",
    "age_group": "select 1 from gold.dim_customer where age_group is not null",
    "customer_region": "select 1 from gold.dim_customer where region is not null",
    "customer_city": "select 1 from gold.dim_customer where city is not null",
}

_LAST_DAY = """
with whole as (select max(month) as month from gold.month_coverage where is_complete),
newest as (select max(order_date) as day from gold.kpi_daily where orders > 0),
days as (
    select kpi.order_date as day, row_number() over (order by kpi.order_date) as place
    from gold.kpi_daily as kpi cross join whole
    where kpi.orders > 0 and kpi.order_date >= whole.month + interval 1 month
),
following as (
    select max(days.day) as day from days cross join whole
    where days.day - cast(whole.month + interval 1 month as date) = days.place - 1
)
select coalesce(
    following.day, cast(whole.month + interval 1 month - interval 1 day as date), newest.day,
    (select max(order_date) from gold.kpi_daily)
) as day
from following cross join whole cross join newest
"""


class _Answers:
    """The last answers, by question; the same question asked by many at once is worked out once."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.found: OrderedDict[str, Any] = OrderedDict()
        self.asking: dict[str, Lock] = {}
        self.lock = Lock()

    def get(self, question: str, ask: Callable[[], Any]) -> Any:
        with self.lock:
            if question in self.found:
                self.found.move_to_end(question)
                return self.found[question]
            mine = self.asking.setdefault(question, Lock())
        with mine:
            with self.lock:
                if question in self.found:
                    return self.found[question]
            answer = ask()
            with self.lock:
                self.found[question] = answer
                self.asking.pop(question, None)
                if len(self.found) > self.keep:
                    self.found.popitem(last=False)
            return answer


class Shelf:
    """The snapshots that are open in this process: the newest few, each opened once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.open: OrderedDict[Path, Shop] = OrderedDict()
        self.lock = Lock()

    def shop(self, as_of: str | None = None) -> Shop:
        """The current snapshot, or the one that `as_of` means (see `find_snapshot`).

        Raises:
            InputError: nothing is published, or there is no such snapshot.
        """
        published = self.settings.published
        folder = find_snapshot(published, as_of).folder if as_of else current_snapshot(published)
        folder = folder.resolve()
        with self.lock:
            if folder not in self.open:
                self.open[folder] = self._opened(folder)
                # Those who still read one keep it; it is closed with its last reader.
                while len(self.open) > _OPEN:
                    self.open.popitem(last=False)
            self.open.move_to_end(folder)
            return self.open[folder]

    def _opened(self, folder: Path) -> Shop:
        manifest = read_manifest(folder)
        limits = {"memory_limit": self.settings.memory_limit, "threads": self.settings.threads}
        rows = {table: entry["rows"] for table, entry in manifest["tables"].items()}
        if "gold.kpi_daily" not in rows or not rows["gold.kpi_daily"]:
            raise InputError(
                "the snapshot has no orders to show", where=folder, fix="load a shop's orders, then `ecommerce build`"
            )
        published = datetime.fromisoformat(manifest["published_at"])
        return Shop(open_snapshot(folder, limits), folder.name, published, rows, _metrics())

    def snapshots(self) -> list[tuple[str, datetime]]:
        """Ids and times of all published snapshots, newest first."""
        from ecommerce_platform.reading.snapshots import snapshot_folders, snapshot_time

        folders = snapshot_folders(self.settings.published)
        return [(f.name, moment) for f in reversed(folders) if (moment := snapshot_time(f.name))]


@cache
def shelf() -> Shelf:
    """This process's open snapshots, by the settings of its environment."""
    return Shelf(read_settings())


@cache
def _metrics() -> Metrics:
    return read_metrics()


def joined(values: Sequence[str]) -> str:
    """Values as SQL literals, for IN."""
    from ecommerce_platform.contracts.metric_sql import literal

    return ", ".join(literal(v) for v in values)


def days_between(first: date, last: date) -> int:
    """How many days two days and those between are."""
    return (last - first + timedelta(days=1)).days


def _unlike(names: Sequence[str]) -> list[str]:
    """Names of columns, none of them twice."""
    found: list[str] = []
    for name in names:
        number = 2
        unlike = name
        while unlike in found:
            unlike, number = f"{name} {number}", number + 1
        found.append(unlike)
    return found
