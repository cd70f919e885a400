"""Days and months that changed places: dates such as 2021-03-08 that were meant to be the 3rd of August.

Exports go through programs that read day and month in the other order wherever both readings are possible, that is
where the day is at most 12; what comes out are valid dates, scattered over the year. They betray themselves only
together: the days of a shop's records leave gaps that close when day and month change back. Nothing is put right
here (that is for the mapping), and single dates cannot be judged at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.warehouse.lookup import table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Share of the gaps that must close, and distinct days that change when day and month do; fewer are too few to tell.
_CLOSED, _FEWEST = 0.9, 30
#: A first or last day that lies farther from the next one is a placeholder (1900-01-01), not the end of the data.
_APART = timedelta(days=366)

Verdict = Literal["swapped", "in place", "too few to tell"]


@dataclass(frozen=True)
class DaysAndMonths:
    """What the days of one column say.

    `days` are distinct days, `ambiguous` those of them that would be others with day and month swapped; `gaps` are days
    without a record between the first and the last, `gaps_swapped` the same after swapping.
    """

    verdict: Verdict
    days: int
    ambiguous: int
    first: date | None
    last: date | None
    gaps: int
    first_swapped: date | None
    last_swapped: date | None
    gaps_swapped: int

    def __str__(self) -> str:
        return (
            f"{self.days:,} days from {self.first} to {self.last} leave {self.gaps:,} days out; with day and month swapped "
            f"where the day is at most 12 they go from {self.first_swapped} to {self.last_swapped} and leave out "
            f"{self.gaps_swapped:,}"
        )


def judge_days(days: Collection[date]) -> DaysAndMonths:
    """Whether the days of a column close their gaps when day and month are swapped wherever both are at most 12.

    Args:
        days: days that have records; how often each occurs does not matter.

    Returns:
        "swapped" when swapping closes at least 90 % of the gaps, "in place" when it does not; "too few to tell" when
        fewer than 30 distinct days would change.
    """
    there = set(days)
    swapped = {_swap(day) for day in there}
    ambiguous = sum(_swap(day) != day for day in there)
    first, last, gaps = _span(there)
    first_swapped, last_swapped, gaps_swapped = _span(swapped)
    closes = gaps > 0 and gaps - gaps_swapped >= _CLOSED * gaps
    verdict: Verdict = "too few to tell" if ambiguous < _FEWEST else "swapped" if closes else "in place"
    return DaysAndMonths(
        verdict, len(there), ambiguous, first, last, gaps, first_swapped, last_swapped, gaps_swapped
    )  # fmt: skip


def judge_column(con: DuckDBPyConnection, relation: str, expression: str) -> DaysAndMonths:
    """`judge_days` of a date or time in a table.

    Args:
        con: a connection.
        relation: SQL of what is read, a table or a SELECT in brackets, with a condition behind it if need be.
        expression: SQL of the date or time.
    """
    rows = con.execute(f"select distinct cast({expression} as date) as day from {relation}").fetchall()
    return judge_days([day for (day,) in rows if isinstance(day, date)])


def judge_entity(
    con: DuckDBPyConnection, contract: Contract, filled: Mapping[str, Collection[str]]
) -> dict[tuple[str, str], DaysAndMonths]:
    """Every date and time of an entity, apart for each raw table that fills it: each system writes in its own way.

    Args:
        con: a connection to the warehouse.
        contract: of the entity.
        filled: raw table → the columns that its mapping fills.

    Returns:
        (column, raw table) → what its days say; nothing while there is no such table.
    """
    if not table_exists(con, "silver", contract.name):
        return {}
    dates = [name for name, column in contract.columns.items() if column.type in ("DATE", "TIMESTAMP")]
    return {
        (name, raw): judge_column(con, f"silver.{quote(contract.name)} where _raw_table = '{raw}'", quote(name))
        for raw, columns in filled.items()
        for name in dates
        if name in columns
    }


def _swap(day: date) -> date:
    return day.replace(month=day.day, day=day.month) if day.day <= 12 else day


def _span(days: Collection[date]) -> tuple[date | None, date | None, int]:
    """First and last day and the days between them that are missing, without placeholders at the ends."""
    order = sorted(days)
    if len(order) > 1 and order[1] - order[0] > _APART:
        order = order[1:]
    if len(order) > 1 and order[-1] - order[-2] > _APART:
        order = order[:-1]
    if not order:
        return None, None, 0
    return order[0], order[-1], (order[-1] - order[0]).days + 1 - len(order)
