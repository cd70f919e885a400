"""The one place where the dashboard reads: a published snapshot, asked in SQL and in metrics through `serving/read`.

What is asked is in `figures` and in the pages.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import ExitStack, suppress
from datetime import date, datetime
from functools import cache, cached_property, wraps
from threading import Lock
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ecommerce_platform.contracts.metric_sql import Query, compile_query
from ecommerce_platform.errors import BusyError, InputError, LimitError
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.roles import LOCAL, Who
from ecommerce_platform.serving.read.reader import Reader, View
from ecommerce_platform.settings import read_settings

if TYPE_CHECKING:
    import polars as pl

#: Tables and pictures that a snapshot keeps for who looks at the same next, and the longest table among them, in rows.
_KEPT, _LONGEST = 3000, 2000
#: Questions a worker may have under way before no more are asked ahead: the queue is for those that somebody waits for.
_AHEAD = 6
#: Snapshots that stay open besides those that somebody looks at.
_OPEN = 3
#: Dimensions whose values gold.kpi_by_dimension lists; of others the values are asked for.
_LISTED = ("category", "brand", "payment_method", "channel", "region", "segment", "age_group")


P = ParamSpec("P")
T = TypeVar("T")


class Shop:
    """One published snapshot of a shop, shared by all who look at it; open as long as anybody holds it.

    Args:
        reader: of this process.
        as_of: which snapshot, as `Reader.view` takes it.

    Raises:
        InputError: nothing is published, there is no such snapshot, or it holds no orders.
    """

    def __init__(self, reader: Reader, as_of: str | None = None) -> None:
        held = ExitStack()
        self.reader = reader
        self.view: View = held.enter_context(reader.view(as_of=as_of))
        weakref.finalize(self, held.close)
        self.id: str = self.view.id
        self.published_at: datetime = self.view.published_at
        self.metrics = reader.metrics
        #: Rows of each table; tables that the snapshot has not are not in it.
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = Lock()
        self.rows: dict[str, int] = {table: entry["rows"] for table, entry in self.view.tables.items()}
        if not self.has("gold.kpi_daily"):
            raise InputError("there are no orders to show yet", fix="load a shop's orders, then run `ecommerce build`")

    def frame(self, sql: str) -> pl.DataFrame:
        """The rows of a SELECT of our own making; money as floats.

        Raises:
            LimitError: there are more rows than one answer may have.
        """
        return self.keep(("frame", sql), lambda: self._frame(sql))

    def _frame(self, sql: str) -> pl.DataFrame:
        import polars as pl

        answer = self.view.select(sql)
        if answer.truncated:
            raise LimitError("this has too many rows to be shown", fix="choose fewer days, or a coarser cut")
        found = answer.frame()
        wide = [name for name, kind in found.schema.items() if kind == pl.Int128]
        return found.with_columns(pl.col(wide).cast(pl.Int64)) if wide else found

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, or what it gave when last asked for by this key; nobody changes it.

        What is made twice at once is kept once; tables of many rows are not kept.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                found: T = self._kept[key]
                return found
        made = make()
        if not hasattr(made, "height") or made.height <= _LONGEST:
            with self._lock:
                self._kept[key] = made
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return made

    def metric(self, query: Query) -> pl.DataFrame:
        """The rows of a compiled metric query, from sums where there are such.

        Raises:
            MetricError: the query has no meaning, with the reason.
        """
        return self.frame(self.compiled(query))

    def compiled(self, query: Query) -> str:
        """The SELECT of a metric query."""
        return self.keep(query, lambda: self.view.compiled(query))

    def ahead(self, query: Query) -> None:
        """Has a metric query worked out in the background, for who asks it in a moment; where many wait already, then."""
        if self.reader.jobs.under_way >= _AHEAD * self.reader.limits.workers:
            return
        with suppress(BusyError):
            ticket = self.view.start(self.compiled(query))
            ticket.future.add_done_callback(lambda _: ticket.leave())

    def ask(self, text: str, most: int, who: Who) -> tuple[pl.DataFrame, bool]:
        """The answer to a SELECT that anybody may have written, and whether it has more than `most` rows.

        Raises:
            InputError: it is no SELECT, does not run, reaches for what is not in the snapshot, or takes too long.
        """
        import polars as pl

        with self.reader.view(as_of=self.id, user=who.id) as view:
            answer = view.sql(text, limit=most)
        columns = [[row[n] for row in answer.rows] for n in range(len(answer.columns))]
        names = _unlike(answer.columns)
        frame = pl.DataFrame([pl.Series(n, _plain(c), strict=False) for n, c in zip(names, columns, strict=True)])
        return frame, answer.truncated

    def has(self, *tables: str) -> bool:
        """Whether the snapshot has these tables and each holds a row."""
        return all(self.rows.get(table, 0) > 0 for table in tables)

    def one(self, sql: str) -> dict[str, Any]:
        """The first row of a SELECT by its columns; empty without rows."""
        found = self.frame(sql)
        return found.row(0, named=True) if len(found) else {}

    @cached_property
    def currency(self) -> str:
        """Currency of all money."""
        return str(self.one("select currency from silver.shop").get("currency", "EUR"))

    @cached_property
    def name(self) -> str:
        """Name of the source."""
        return str(self.one("select source from silver.shop").get("source", ""))

    @cached_property
    def first_day(self) -> date:
        """The first day with anything to show."""
        found: date = self.one("select min(order_date) as day from gold.kpi_daily")["day"]
        return found

    @cached_property
    def end(self) -> date:
        """The last day that may be chosen: also the stray ones behind the last whole period."""
        found: date = self.one("select max(order_date) as day from gold.kpi_daily")["day"]
        return found

    @cached_property
    def last_day(self) -> date:
        """The last day up to which orders came without a gap.

        Behind the last complete month (gold.month_coverage) a few stray orders make no period that could be compared: the
        days count that follow it one by one.
        """
        found: date = self.one(_LAST_DAY)["day"]
        return found

    def values(self, dimension: str) -> list[str]:
        """The values of a dimension, those with most revenue first; `unknown` last."""
        return self.keep(("values", dimension), lambda: self._values(dimension))

    def _values(self, dimension: str) -> list[str]:
        if dimension in _LISTED:
            sql = f"select value, sum(revenue) as revenue from gold.kpi_by_dimension where dimension = '{dimension}' group by 1"
        else:
            sql = f"select {dimension} as value, revenue from ({compile_query(self.metrics, Query(('revenue',), (dimension,)))})"
        found = self.frame(f"select value from ({sql}) order by value = 'unknown', revenue desc nulls last, value")
        return [str(v) for v in found["value"].to_list()]

    def dimensions(self) -> list[str]:
        """The dimensions that say something of this shop: with a value besides `unknown`."""
        return [name for name in self.metrics.dimensions if name not in self._silent]

    @cached_property
    def _silent(self) -> frozenset[str]:
        """Dimensions without a value; looked up in the tables they are columns of, not worked out."""
        found = set()
        for name, sql in _SPEAKS.items():
            table = sql.split(" from ")[1].split(" ")[0]
            if not self.has(table) or not self.one(f"select exists({sql}) as said")["said"]:
                found.add(name)
        return frozenset(found)


def kept(function: Callable[Concatenate[Shop, P], T]) -> Callable[Concatenate[Shop, P], T]:
    """Has a function of a shop and of plain values answer once for all who ask the same of one snapshot."""

    @wraps(function)
    def asked(shop: Shop, *args: P.args, **words: P.kwargs) -> T:
        key = (function.__module__, function.__name__, _plain_key(args), _plain_key(tuple(sorted(words.items()))))
        return shop.keep(key, lambda: function(shop, *args, **words))

    return asked


def _plain_key(values: Any) -> Hashable:
    return tuple(map(_plain_key, values)) if isinstance(values, list | tuple) else values


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


class Shelf:
    """The snapshots that are open in this process, each once for all who look at it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.open: OrderedDict[str, Shop] = OrderedDict()
        self.lock = Lock()

    def shop(self, as_of: str | None = None) -> Shop:
        """The current snapshot, or the one that `as_of` means (see `Reader.view`).

        Raises:
            InputError: nothing is published, or there is no such snapshot.
        """
        with self.reader.view(as_of=as_of) as view:
            known, name = view.version, view.id
        with self.lock:
            if known not in self.open:
                shop = Shop(self.reader, name if as_of else None)
                known = shop.view.version  # by now another one may be current
                for earlier in [v for v, s in self.open.items() if s.id == shop.id]:  # a person was forgotten since
                    del self.open[earlier]
                self.open[known] = shop
                while len(self.open) > _OPEN:  # who still looks at it keeps it open
                    self.open.popitem(last=False)
            self.open.move_to_end(known)
            return self.open[known]

    def snapshots(self) -> list[tuple[str, datetime]]:
        """Ids and times of all published snapshots, newest first."""
        from ecommerce_platform.reading.snapshots import snapshot_folders, snapshot_time

        folders = snapshot_folders(self.reader.published)
        return [(f.name, moment) for f in reversed(folders) if (moment := snapshot_time(f.name))]


@cache
def shelf() -> Shelf:
    """This process's open snapshots, by the settings of its environment."""
    return Shelf(Reader.of(read_settings()))


#: Who there is, where browsers sign in; set by the server. Without a server in front (tests), whoever runs it looks.
accounts: Accounts | None = None


def who(token: str | None) -> Who | None:
    """Whose session a cookie's token is; None for one that is over."""
    return accounts.session(token) if accounts else LOCAL


def _plain(values: list[Any]) -> list[Any]:
    """Values that a table can show: decimals as floats, nested ones as text."""
    from decimal import Decimal

    kinds = (list, dict, tuple, set, bytes)
    return [float(v) if isinstance(v, Decimal) else str(v) if isinstance(v, kinds) else v for v in values]


def _unlike(names: tuple[str, ...]) -> list[str]:
    """Names of columns, none of them twice."""
    found: list[str] = []
    for name in names:
        number = 2
        unlike = name
        while unlike in found:
            unlike, number = f"{name} {number}", number + 1
        found.append(unlike)
    return found
