"""What people keep: views of the dashboard by name, and thresholds on metrics. Whether a threshold is passed is asked of a
snapshot by `serving/thresholds.py`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ecommerce_platform.contracts.metric_sql import Filter
from ecommerce_platform.contracts.metrics import PERIODS, Metrics
from ecommerce_platform.errors import InputError
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.roles import Who

_LONGEST_NAME, _LONGEST = 100, 4000
#: Views and thresholds that one user may keep.
_MOST = 200


@dataclass(frozen=True)
class SavedView:
    """A page with its filters, as the part of its address behind the `?`."""

    id: int
    owner: str
    name: str
    page: str
    query: str
    shared: bool


@dataclass(frozen=True)
class Threshold:
    """A bound for a metric of the newest complete period."""

    id: int
    owner: str
    name: str
    metric: str
    period: str
    filters: tuple[Filter, ...]
    below: float | None
    above: float | None


def save_view(accounts: Accounts, who: Who, name: str, page: str, query: str, *, shared: bool = False) -> int:
    """Keeps a view under a name of its owner, in the place of one that is called so; gives its id.

    Raises:
        InputError: no name, too long, or too many.
    """
    _check(name, page, query)
    with accounts.store.write() as con:
        _room(con, "views", who)
        row = con.execute(
            "insert into views (owner, name, page, query, shared, created_at) values (?, ?, ?, ?, ?, ?) "
            "on conflict (owner, name) do update set page = excluded.page, query = excluded.query, shared = excluded.shared "
            "returning id",
            (who.id, name, page, query, shared, accounts.clock()),
        ).fetchone()
    return int(row["id"])


def views_of(accounts: Accounts, who: Who) -> list[SavedView]:
    """Own views and those that others share, by name."""
    rows = accounts.store.read(
        "select id, owner, name, page, query, shared from views where owner = ? or shared order by name", (who.id,)
    )
    return [SavedView(**{**dict(row), "shared": bool(row["shared"])}) for row in rows]


def remove_view(accounts: Accounts, who: Who, id_: int) -> bool:
    """Removes a view of one's own (admins: anybody's); whether there was one."""
    return _remove(accounts, who, "views", id_)


def save_threshold(
    accounts: Accounts,
    who: Who,
    metrics: Metrics,
    name: str,
    metric: str,
    period: str,
    *,
    filters: Sequence[Filter] = (),
    below: float | None = None,
    above: float | None = None,
) -> int:
    """Keeps a bound for a metric, in the place of the owner's that is called so; gives its id.

    Raises:
        InputError: there is no such metric or period, the cut has no meaning, or no bound is given.
    """
    if period not in PERIODS:
        raise InputError(f"there is no period {period!r}", fix=f"periods are {', '.join(PERIODS)}")
    metrics.check_cut(metric, [f.dimension for f in filters], period)
    if below is None and above is None:
        raise InputError("a threshold needs a bound", fix="give below or above")
    told = json.dumps([[f.dimension, list(f.values), f.exclude] for f in filters])
    _check(name, metric, told)
    with accounts.store.write() as con:
        _room(con, "thresholds", who)
        row = con.execute(
            "insert into thresholds (owner, name, metric, period, filters, below, above, created_at) "
            "values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (owner, name) do update set metric = excluded.metric, "
            "period = excluded.period, filters = excluded.filters, below = excluded.below, above = excluded.above "
            "returning id",
            (who.id, name, metric, period, told, below, above, accounts.clock()),
        ).fetchone()
    return int(row["id"])


def thresholds(accounts: Accounts, who: Who | None = None) -> list[Threshold]:
    """The thresholds of one user, or of all."""
    columns = "id, owner, name, metric, period, filters, below, above"
    where, values = (" where owner = ?", (who.id,)) if who else ("", ())
    rows = accounts.store.read(f"select {columns} from thresholds{where} order by owner, name", values)
    return [Threshold(**{**dict(row), "filters": _filters(row["filters"])}) for row in rows]


def remove_threshold(accounts: Accounts, who: Who, id_: int) -> bool:
    """Removes a threshold of one's own (admins: anybody's); whether there was one."""
    return _remove(accounts, who, "thresholds", id_)


def _filters(text: str) -> tuple[Filter, ...]:
    return tuple(Filter(dimension, tuple(values), exclude) for dimension, values, exclude in json.loads(text))


def _remove(accounts: Accounts, who: Who, table: str, id_: int) -> bool:
    with accounts.store.write() as con:
        done = con.execute(f"delete from {table} where id = ? and (owner = ? or ?)", (id_, who.id, who.may("access")))
        return bool(done.rowcount)


def _check(name: str, what: str, told: str) -> None:
    if not name.strip() or len(name) > _LONGEST_NAME:
        raise InputError(f"a name has 1 to {_LONGEST_NAME} characters")
    if len(what) > _LONGEST_NAME or len(told) > _LONGEST:
        raise InputError(f"this is too long to be kept: up to {_LONGEST:,} characters")


def _room(con: Any, table: str, who: Who) -> None:
    (there,) = con.execute(f"select count(*) from {table} where owner = ?", (who.id,)).fetchone()
    if there >= _MOST:
        raise InputError(f"{_MOST} {table} are kept already", fix="remove some")
