"""What joins the report of a payment provider to the orders of a shop in the same folder: found by values, never assumed.

A provider's report names orders in metadata or in a description, as whoever connected the two wrote it there. Every such
column is tried in every form; the one most of whose values are orders of the shop is taken. The shop says what an order was
paid with: the provider's payments are not added, its sums are held against the shop's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from ecommerce_platform.scaffold.profile import sql_name
from ecommerce_platform.scaffold.systems import Recognised

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Of the orders that a column names so many have to be the shop's.
_MOST = Decimal("0.5")
_METADATA = re.compile(r"metadata", re.IGNORECASE)
#: How an order may be written: as it stands, without the sign before its number, as the last word of a text.
_FORMS = (
    "as_text({x})",
    "'#' || as_text({x})",
    "nullif(regexp_extract(as_text({x}), '(\\S+)$', 1), '')",
    "'#' || nullif(regexp_extract(as_text({x}), '(\\S+)$', 1), '')",
)
_EXAMPLES = 3


@dataclass(frozen=True)
class Join:
    """A column of a provider's report whose values are orders of a shop.

    `named` orders are named in it, `found` of them are the shop's. `compared` orders have payments in both, of `off` the
    sums differ (by `difference` in all, the provider's less the shop's).
    """

    report: str
    column: str
    form: str
    shop: str
    named: int
    found: int
    compared: int = 0
    off: int = 0
    difference: Decimal = Decimal(0)
    examples: tuple[tuple[str, Decimal, Decimal], ...] = ()

    @property
    def share(self) -> Decimal:
        """Share of the named orders that the shop has."""
        return Decimal(self.found) / Decimal(max(self.named, 1))

    def order(self, prefix: str | None) -> str:
        """SQL of the order, as the shop's keys are written; `prefix` is what these begin with, where they do."""
        return self.form if prefix is None else f"'{prefix}-' || {self.form}"

    def __str__(self) -> str:
        """What was found, in a sentence or two."""
        said = f"{self.report}.{self.column} names orders of {self.shop}: {self.found:,} of {self.named:,} are there"
        if not self.compared:
            return f"{said}. Its payments are not added"
        said += f". Its payments reconcile and are not added: {self.compared:,} orders compared, {self.off:,} off"
        if not self.off:
            return said
        shown = ", ".join(f"{order} {mine:,.2f} instead of {theirs:,.2f}" for order, mine, theirs in self.examples)
        return f"{said}, {self.difference:+,.2f} in all, e.g. {shown}"


def find_joins(
    con: DuckDBPyConnection, bronze: Mapping[str, str], recognised: Mapping[str, Recognised]
) -> dict[str, Join]:
    """Raw table of a provider → how it is joined to a shop; those that no column joins are left out.

    Args:
        con: the warehouse that the sample is loaded into.
        bronze: raw table → its table there.
        recognised: raw table → its layout.
    """
    shops = {raw: found for raw, found in recognised.items() if found.layout.order and not found.system.beside_a_shop}
    joins = {}
    for raw, found in recognised.items():
        if found.system.beside_a_shop and found.layout.names_orders is not None:
            tried = [join for shop in shops for join in _tried(con, bronze, raw, found, shop, shops[shop])]
            best = max(tried, key=lambda join: join.share, default=None)
            if best is not None and best.share >= _MOST:
                joins[raw] = best
    return joins


def _tried(
    con: DuckDBPyConnection, bronze: Mapping[str, str], raw: str, found: Recognised, shop: str, orders: Recognised
) -> list[Join]:
    """Every column and form of a report held against the orders of a shop."""
    rows = con.execute(f"select column_name from (describe {bronze[raw]})").fetchall()
    known = {name for column in found.layout.names_orders or () for name in found.names.get(column, ())}
    joins = []
    for (column,) in rows:
        if column not in known and not _METADATA.search(column):
            continue
        for form in _FORMS:
            written = form.format(x=sql_name(column))
            counted = con.execute(
                f"select count(*), count(*) filter (where o in (select {_order(orders)} from {bronze[shop]})) "
                f"from (select distinct {written} as o from {bronze[raw]} where as_text({sql_name(column)}) is not null)"
            ).fetchone()
            if counted and counted[0]:
                joins.append(Join(raw, column, written, shop, *counted))
    return joins


def _order(found: Recognised) -> str:
    """The raw column that names a shop's orders, as SQL."""
    (name, *_) = found.names[found.layout.order or ""]
    return f"as_text({sql_name(name)})"


def reconcile(con: DuckDBPyConnection, join: Join, report: Sequence[str], shop: Sequence[str]) -> Join:
    """The join with what the sums of both say of each order.

    Args:
        con: the warehouse that the sample is loaded into.
        join: from `find_joins`.
        report: SELECTs of the provider's payments, with order_id and amount.
        shop: those of the shop's.
    """
    if not report or not shop:
        return join
    found = con.execute(
        f"select order_id, r.amount, s.amount from ({_per_order(report)}) as r inner join ({_per_order(shop)}) as s "
        "using (order_id) order by abs(r.amount - s.amount) desc, order_id"
    ).fetchall()
    off = [row for row in found if row[1] != row[2]]
    difference = sum((mine - theirs for _, mine, theirs in off), Decimal(0))
    return replace(join, compared=len(found), off=len(off), difference=difference, examples=tuple(off[:_EXAMPLES]))


def _per_order(selects: Sequence[str]) -> str:
    return f"select order_id, sum(amount) as amount from ({' union all by name '.join(selects)}) as p group by order_id"
