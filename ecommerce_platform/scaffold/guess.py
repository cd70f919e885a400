"""Drafts of mappings: for each raw table the entities it seems to fill, and the SQL that would fill each column.

What is drafted compiles and converts the sample's values; whether it means what the shop means, only its owner knows.
Everything that had to be assumed is said. Writing the drafts down is in `render`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.ingestion.readers import text
from ecommerce_platform.scaffold.match import Match, RawTableView, assign, primary_entity
from ecommerce_platform.scaffold.personal import names_persons
from ecommerce_platform.scaffold.profile import Column, best_form
from ecommerce_platform.scaffold.words import vocabulary

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Texts that mean "nothing" even where letters are expected; NA or - may be a value there.
_NO_TEXT = ("NULL", "null", "\\N", "(null)")
#: States in which an order does not count.
_NOT_COUNTED = ("canceled", "unavailable")
#: So many products sold in several quantities tell whether a price is one unit's.
_PRODUCTS = 3
#: A group's column may differ within so many groups before it counts as the lines' own.
_FEW = 0.005
#: Entities whose attributes come along with every line of orders.
_COMES_ALONG = ("customers", "products")


@dataclass
class DraftColumn:
    """A canonical column, filled with `sql`; `why` says what had to be assumed. Without `sql` it is left open."""

    sql: str | None
    why: str = ""


@dataclass
class Draft:
    """A mapping in the making."""

    entity: str
    table: str
    columns: dict[str, DraftColumn]
    where: str | None = None
    group_by: tuple[str, ...] = ()
    #: Columns within which the mapping groups or numbers rows.
    unit: tuple[str, ...] = ()
    #: Columns that come with every row of something else → what orders their values, if anything.
    gathered: dict[str, str | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    #: Why the WHERE leaves rows out, where more is known than that they say nothing of the entity.
    left_out: str | None = None
    #: The mapping as it is written, where it is no guess.
    text: str | None = None

    @property
    def filled(self) -> dict[str, str]:
        """Canonical column → SQL, of those that are filled."""
        return {name: column.sql for name, column in self.columns.items() if column.sql}


@dataclass(frozen=True)
class Guesses:
    """All drafts; raw tables that seem to be no entity; entities that nothing fills."""

    drafts: tuple[Draft, ...]
    left: tuple[str, ...]
    #: Raw table → its primary entity.
    primary: dict[str, str]


class Guesser:
    """Guesses for the tables of one sample."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        bronze: Mapping[str, str],
        tables: Mapping[str, RawTableView],
        contracts: Mapping[str, Contract],
    ) -> None:
        """Takes a warehouse, raw table → its bronze table as SQL writes it, the raw tables and the entities."""
        self.con, self.bronze, self.tables, self.contracts = con, bronze, tables, contracts
        self.primary: dict[str, tuple[str, dict[str, Match]]] = {}
        self.drafts: list[Draft] = []

    def guess(self) -> Guesses:
        """Every mapping that the sample suggests."""
        for name, table in self.tables.items():
            if primary := primary_entity(table, self.contracts):
                self.primary[name] = primary
        for name, (entity, found) in self.primary.items():
            self.drafts.append(self._draft(self.tables[name], entity, found))
        for name in list(self.primary):
            self._others(self.tables[name])
        for draft in self.drafts:
            others = [d.table for d in self.drafts if d.entity == draft.entity and d.table != draft.table]
            if others:
                draft.notes.append(
                    f"{' and '.join(others)} seem to be {draft.entity} as well. Where their keys are not the same persons or "
                    "things, give each a prefix of its own, here and where they are referred to; where they are, leave one out."
                )
        left = tuple(name for name in self.tables if not any(d.table == name for d in self.drafts))
        return Guesses(tuple(self.drafts), left, {name: entity for name, (entity, _) in self.primary.items()})

    # -- which further entities a table fills ------------------------------------------------------------------

    def _filled(self, entity: str) -> bool:
        return any(d.entity == entity for d in self.drafts)

    def _others(self, table: RawTableView) -> None:
        """What a table of orders or lines says besides: the orders, what they were paid with, who bought what."""
        entity, found = self.primary[table.name]
        if entity not in ("orders", "order_items"):
            return
        order = found["order_id"]
        if entity == "order_items" and not self._filled("orders"):
            orders = assign(table, "orders", self.contracts["orders"])
            orders["order_id"] = order
            if "ordered_at" in orders:
                self._add(self._draft(table, "orders", orders, by=order), order.column)
        if not self._filled("payments"):
            payments = assign(
                table, "payments", self.contracts["payments"], secondary=True, without=("payment_number",)
            )
            if "method" in payments:
                payments["order_id"] = order
                alone = entity == "orders" and order.column.unique
                draft = self._draft(table, "payments", payments, by=None if alone else order)
                self._add(draft, payments["method"].column)
        if not self._filled("customers"):
            customers = assign(
                table, "customers", self.contracts["customers"], secondary=True, without=("registered_at",)
            )
            if "customer_id" not in customers and "email" in customers:
                customers["customer_id"] = customers["email"]
            own = [n for n in customers if n not in ("customer_id", "customer_segment")]
            if "customer_id" in customers and own:
                self._add(self._draft(table, "customers", customers, by=customers["customer_id"]), None)
        if entity == "order_items" and not self._filled("products"):
            # A line's price is what was paid then, not what the product costs, and its date the order's.
            products = assign(
                table, "products", self.contracts["products"], secondary=True,
                without=("list_price", "unit_cost", "launched_at"),
            )  # fmt: skip
            products["product_id"] = found["product_id"]
            if len(products) == 1 and not _is_code(found["product_id"].column):
                products["name"] = found["product_id"]
            if len(products) > 1:
                self._add(self._draft(table, "products", products, by=products["product_id"]), None)
        if entity == "orders" and not self._filled("order_items"):
            self._one_line_each(table, order)
        dated = [n for n in ("shipped_at", "promised_at", "delivered_at") if n in self._columns("orders", table.name)]
        if entity == "orders" and len(dated) > 1 and not self._filled("shipments"):
            shipments = assign(table, "shipments", self.contracts["shipments"])
            shipments.update({"order_id": order, "shipment_id": order})
            shipments.update({name: found[name] for name in dated})
            shipments.pop("cost_amount", None)
            draft = self._draft(table, "shipments", shipments)
            draft.columns["shipment_id"].why = "one parcel per order"
            self.drafts.append(draft)

    def _one_line_each(self, table: RawTableView, order: Match) -> None:
        """Where no table has lines, an order is one: its amount, of one product per category."""
        lines = assign(table, "order_items", self.contracts["order_items"], secondary=True, without=("line_number",))
        if "_line_total" not in lines and "unit_price" not in lines:
            return
        category = assign(table, "products", self.contracts["products"], secondary=True).get("category")
        lines["order_id"] = order
        draft = self._draft(table, "order_items", lines)
        if order.column.unique:
            draft.columns["line_number"], draft.unit = DraftColumn("1", "no table has lines: an order is one"), ()
        if "product_id" not in lines:
            sql = f"as_text({category.column.sql})" if category else "'all'"
            draft.columns["product_id"] = DraftColumn(
                sql, "no products: one for each category" if category else "no products: all are one"
            )
        self.drafts.append(draft)
        if category and "product_id" not in lines and not self._filled("products"):
            products = self._draft(table, "products", {"product_id": category})
            products.columns["category"] = DraftColumn(f"as_text({category.column.sql})")
            products.gathered["category"] = None
            self._add(products, category.column)

    def _columns(self, entity: str, table: str) -> dict[str, str]:
        return next((d.filled for d in self.drafts if (d.entity, d.table) == (entity, table)), {})

    def _add(self, draft: Draft, needed: Column | None) -> None:
        """Adds a draft that groups lines; those that say nothing of it are left to the other mappings."""
        key = next(iter(draft.columns.values())).sql
        column = needed or self._key_column(draft)
        if key and column is not None and draft.entity != "orders":
            conditions = [f"as_text({column.sql}) is not null"] if column.filled < column.rows else []
            if self._repeats_header(draft.table, column):
                # Where nothing is converted, a header in the middle of a file would pass for a value.
                conditions.append(f"as_text({column.sql}) <> {text(column.name.strip())}")
            draft.where = " and ".join(conditions) or None
        self.drafts.append(draft)

    def _repeats_header(self, table: str, column: Column) -> bool:
        row = self.con.execute(
            f"select exists (from {self.bronze[table]} where as_text({column.sql}) = {text(column.name.strip())})"
        ).fetchone()
        return bool(row and row[0])

    def _key_column(self, draft: Draft) -> Column | None:
        columns = self.tables[draft.table].columns.values()
        key = next(iter(draft.columns.values())).sql or ""
        return next((c for c in columns if f"({c.sql})" in key), None)

    # -- one draft ---------------------------------------------------------------------------------------------

    def _draft(self, table: RawTableView, entity: str, found: dict[str, Match], by: Match | None = None) -> Draft:
        """The mapping of a table to an entity.

        Args:
            table: the raw table.
            entity: the entity.
            found: canonical column → raw column.
            by: the column whose rows are gathered into one, where the table repeats the entity.
        """
        contract = self.contracts[entity]
        draft = Draft(entity, table.name, {name: DraftColumn(None) for name in contract.columns})
        for name, matched in found.items():
            if name in contract.columns:
                draft.columns[name] = self._convert(name, contract, matched)
        fill = getattr(self, f"_fill_{entity}", None)
        if fill:
            fill(draft, table, found)
        if entity == "postal_codes" and not found["postal_code"].column.unique:
            by = found["postal_code"]
        if by is not None and entity in _COMES_ALONG:
            self._gather(draft, table, by)
        elif by is not None:
            self._group(draft, table, contract, by)
        return draft

    def _convert(self, name: str, contract: Contract, matched: Match) -> DraftColumn:
        column, kind = matched.column, contract.columns[name].type
        why = [] if matched.score >= 0.85 else ["by a similar name"]
        if kind == "VARCHAR":
            inner = column.sql
            for marker in (m for m in _NO_TEXT if any(m == value for value, _ in column.values)):
                inner = f"nullif({inner}, {text(marker)})"
            sql = f"as_text({inner})"
            if (name.endswith("_id") or name in contract.key) and _float_ids(column):
                sql = f"as_id({inner})"
                why.append("without the .0 behind the number")
            if name == "customer_id" and names_persons(column):
                sql = f"md5(lower({sql}))"
                why.append("no customer number: the name or address stands for it, hashed")
            return DraftColumn(sql, ", ".join(why))
        if column.offset and not column.dated:
            said = "brought to the clock of the zone in source.yml"
            return DraftColumn(f"as_local_timestamp({column.sql})", ", ".join([*why, said]))
        form = column.form(kind)
        if form is None:
            return DraftColumn(None)
        if form.order in ("day", "month"):
            why.append(f"{form.order} first" + (", but no day after the 12th tells" if column.ambiguous else ""))
        elif form.mark == ",":
            why.append("decimal comma")
        if form.doubt:
            why.append(form.doubt)
        converted = sum(count for value, count in column.values if value not in vocabulary().nothing)
        if form.rows < converted:
            why.append(f"{converted - form.rows:,} of {converted:,} values do not fit")
        return DraftColumn(form.of(column.sql), ", ".join(why))

    def _gather(self, draft: Draft, table: RawTableView, by: Match) -> None:
        """Has the columns of what every line brings along gathered: the newest value by the line's own date."""
        dated = self._ordered_at(table)
        key = next(column.sql for column in draft.columns.values() if by.column.sql in (column.sql or ""))
        for name, column in draft.columns.items():
            if not column.sql or column.sql == key or not any(c.sql in column.sql for c in table.columns.values()):
                continue
            draft.gathered[name] = dated
            if differ := self._differ(table, key or "", column.sql):
                column.why = ", ".join(filter(None, [column.why, f"differs within {differ:,} of them"]))
        if draft.gathered and not dated:
            draft.notes.append(
                "No date tells which of several values is the newest: the last in the alphabet is taken."
            )

    def _ordered_at(self, table: RawTableView) -> str | None:
        """SQL of the date and time of a row's order, if the row says it."""
        found = assign(table, "orders", self.contracts["orders"])
        if "ordered_at" not in found:
            return None
        when = self._convert("ordered_at", self.contracts["orders"], found["ordered_at"])
        draft = Draft("orders", table.name, {"ordered_at": when})
        self._add_hour(draft, found)
        return draft.columns["ordered_at"].sql

    def _within(self, table: RawTableView, key: str) -> tuple[str, ...]:
        """What rows are grouped and numbered within besides their key: the file, unless files seem to be parts that were
        cut in the middle of an order. A file that repeats what is in another then doubles nothing."""
        # Totals and repeated headers have no date: they are in every file, and no orders.
        dated = self._ordered_at(table) or key
        row = self.con.execute(
            "select count(*), count(*) filter (where again) from (select k, bool_and(in_last) as again from ("
            "select k, h, bool_or(f = last) as in_last, max(files) as files from (select *, max(f) over (partition by k) as last, "
            "min(f) over (partition by k) <> max(f) over (partition by k) as files "
            f"from (select {key} as k, _source_file as f, _row_hash as h from {self.bronze[table.name]} where {dated} is not null)) group by k, h) "
            "where files group by k)"
        ).fetchone()
        assert row is not None
        return ("_load_date",) if row[1] < 0.5 * row[0] else ("_load_date", "_source_file")

    def _number(self, table: RawTableView, key: str) -> str:
        """SQL that counts rows within their order."""
        within = self._within(table, key)
        order = "_source_row" if "_source_file" in within else "_source_file, _source_row"
        return f"row_number() over (partition by {', '.join([*within, key])} order by {order})"

    def _group(self, draft: Draft, table: RawTableView, contract: Contract, by: Match) -> None:
        """Turns a draft over lines into one over groups of lines: aggregates where a column is not the key's."""
        key = next(name for name in contract.key if (draft.columns[name].sql or "").count(by.column.sql))
        grouped = draft.columns[key].sql or ""
        if draft.entity == "postal_codes":
            draft.group_by = ("_load_date", grouped)
        else:
            draft.group_by, draft.unit = (*self._within(table, grouped), grouped), (key,)
        for name, column in draft.columns.items():
            if column.sql is None or name == key or not any(c.sql in column.sql for c in table.columns.values()):
                continue
            kind = contract.columns[name].type
            if kind == "BOOLEAN":
                column.sql = f"bool_or({column.sql})"
            elif name == "amount":
                column.sql = f"sum({column.sql})"
            elif name in ("ordered_at", "registered_at", "created_at"):
                column.sql = f"min({column.sql})"
            elif name in ("latitude", "longitude"):
                column.sql = f"median({column.sql})"
            else:
                differ = self._differ(table, grouped, column.sql)
                if differ:
                    column.why = ", ".join(filter(None, [column.why, f"differs within {differ:,} of them"]))
                # A place comes on many lines, of which a few are wrong: the most frequent counts, of several the first by name.
                most = draft.entity == "postal_codes"
                column.sql = f"mode({column.sql} order by {column.sql})" if most else f"max({column.sql})"

    def _differ(self, table: RawTableView, key: str, value: str) -> int:
        """Groups within which a value is not the same."""
        row = self.con.execute(
            f"select count(*) from (select 1 from {self.bronze[table.name]} where {key} is not null "
            f"group by {key} having count(distinct {value}) > 1)"
        ).fetchone()
        return int(row[0]) if row else 0

    # -- what entities need besides ----------------------------------------------------------------------------

    def _fill_orders(self, draft: Draft, table: RawTableView, found: dict[str, Match]) -> None:
        self._add_hour(draft, found)
        email = assign(table, "customers", self.contracts["customers"], secondary=True).get("email")
        if draft.columns["customer_id"].sql is None and email:
            draft.columns["customer_id"] = self._convert("customer_id", self.contracts["orders"], email)
        status = found.get("status")
        flag = found.get("is_valid")
        if status:
            self._fill_status(draft, status.column)
        else:
            draft.columns["status"] = DraftColumn("'delivered'", "no such column: every order counts as delivered")
        canceled = found.get("_canceled")
        if canceled and not status and not flag:
            off, said = canceled.column.forms["boolean"].of(canceled.column.sql), f"from {canceled.column.name}"
            draft.columns["status"] = DraftColumn(f"case when {off} then 'canceled' else 'delivered' end", said)
            draft.columns["is_valid"] = DraftColumn(f"not {off}", said)
        elif not flag:
            counted = self._counted(status.column) if status else "true"
            why = "whatever is not canceled counts" if status else "no such column: every order counts"
            draft.columns["is_valid"] = DraftColumn(counted, why)

    def _add_hour(self, draft: Draft, found: dict[str, Match]) -> None:
        """A time of day in a column of its own is put behind the date."""
        day, hour = found.get("ordered_at"), found.get("_hour")
        if not day or not hour or (form := day.column.form("TIMESTAMP")) is None or form.has_time:
            return
        both = f"{day.column.sql} || ' ' || {hour.column.sql}"
        values = self.con.execute(
            f"select as_text({both}) as v, count(*) from {self.bronze[draft.table]} where as_text({both}) is not null "
            "group by v order by count(*) desc, v limit 2000"
        ).fetchall()
        together = best_form(self.con, values, "TIMESTAMP")
        if together:
            draft.columns["ordered_at"] = DraftColumn(together.of(both), "date and time of day put together")

    def _fill_status(self, draft: Draft, column: Column) -> None:
        means = {value: vocabulary().status(value) for value, _ in column.values if value != column.name.strip()}
        unknown = [value for value, meaning in means.items() if meaning is None]
        if not unknown and all(value == meaning for value, meaning in means.items()):
            return
        # States are told apart without regard to case.
        said = {value.lower(): meaning for value, meaning in means.items() if meaning and value.lower() != meaning}
        lower = f"lower(as_text({column.sql}))"
        cases = " ".join(f"when {text(value)} then '{meaning}'" for value, meaning in sorted(said.items()))
        sql = f"case {lower} {cases} else {lower} end" if cases else lower
        why = "states by their words"
        if unknown:
            draft.notes.append(
                "These states are not understood; say which canonical status each is: "
                + ", ".join(map(repr, unknown[:10]))
            )
            why = "see above"
        draft.columns["status"] = DraftColumn(sql, why)

    def _counted(self, column: Column) -> str:
        # The canonical words as well: later deliveries may hold what the sample lacks.
        out = {value.lower() for value, _ in column.values if vocabulary().status(value) in _NOT_COUNTED}
        return f"lower(as_text({column.sql})) not in ({', '.join(map(text, sorted(out | set(_NOT_COUNTED))))})"

    def _fill_order_items(self, draft: Draft, table: RawTableView, found: dict[str, Match]) -> None:
        order, columns = found["order_id"], draft.columns
        line = found.get("line_number")
        if line is None or not self._unique(table, order.column, line.column):
            key = columns["order_id"].sql
            columns["line_number"] = DraftColumn(
                self._number(table, key or ""),
                "no line numbers: lines are counted within their order",
            )
            draft.unit = ("order_id",)
        quantity = columns["quantity"]
        if quantity.sql is None:
            columns["quantity"] = DraftColumn("1", "no such column: a line is one unit")
        self._fill_price(draft, table, found)
        self._fill_discount(draft, table, found)
        for name in ("shipping_amount", "tax_amount"):
            matched = found.get(name)
            if matched and self._repeated(table, order.column, matched.column):
                columns[name] = DraftColumn(
                    None, f"{matched.column.name} seems to be the whole order's, repeated on each of its lines"
                )
        status = assign(table, "orders", self.contracts["orders"]).get("status")
        if (
            columns["is_valid"].sql is None
            and status
            and self._differ(table, columns["order_id"].sql or "", status.column.sql)
        ):
            columns["is_valid"] = DraftColumn(self._counted(status.column), "each line has a state of its own")

    def _fill_price(self, draft: Draft, table: RawTableView, found: dict[str, Match]) -> None:
        """The price of one unit, whatever the column with money is called: a line's amount grows with the quantity."""
        columns, quantity = draft.columns, draft.columns["quantity"].sql or "1"
        price, total = found.get("unit_price"), found.get("_line_total")
        money = price or total
        if money is None or (form := money.column.form("DECIMAL")) is None:
            return
        amount, name = form.of(money.column.sql), money.column.name
        per = self._price_per(table, columns["product_id"].sql or "", quantity, amount)
        if price is None and per == "unit":
            found["unit_price"] = found.pop("_line_total")
            columns["unit_price"] = DraftColumn(amount, f"{name} does not grow with the quantity: it is one unit's")
        elif price is None or (per == "line" and total is None):
            why = (
                f"{name} grows with the quantity: it is the line's"
                if per == "line"
                else f"{name} is taken for the line's"
            )
            sql = amount if quantity == "1" else f"{amount} / nullif({quantity}, 0)"
            columns["unit_price"] = DraftColumn(sql, f"{why} amount before discount")

    def _price_per(self, table: RawTableView, product: str, quantity: str, amount: str) -> str | None:
        """Whether an amount is one unit's or the line's, by products that were sold in several quantities; None when
        there are not enough of them."""
        if not product:
            return None
        row = self.con.execute(
            "select count(*), count(*) filter (where amounts = 1), count(*) filter (where shares = 1) from ("
            f"select count(distinct a) as amounts, count(distinct round(a / q, 2)) as shares from (select {product} as p, "
            f"{quantity} as q, {amount} as a from {self.bronze[table.name]}) where q > 0 and a > 0 group by p "
            "having count(distinct q) > 1)"
        ).fetchone()
        assert row is not None
        several, same, growing = row
        if several < _PRODUCTS or max(same, growing) < 0.5 * several or same == growing:
            return None
        return "unit" if same > growing else "line"

    def _fill_discount(self, draft: Draft, table: RawTableView, found: dict[str, Match]) -> None:
        """The discount where no column says it: what is missing from quantity × price to the line's amount, or by the
        percentage."""
        columns = draft.columns
        total, percent = found.get("_line_total"), found.get("_discount_percent")
        quantity, price = columns["quantity"].sql, columns["unit_price"].sql
        discount = found.get("discount_amount")
        if discount and self._is_share(table, columns["discount_amount"].sql or ""):
            said = f"{discount.column.name} seems to be a share of the price, not an amount"
            amount = f"{quantity} * {price} * {columns['discount_amount'].sql}" if "unit_price" in found else None
            columns["discount_amount"] = DraftColumn(amount, said)
            return
        if columns["discount_amount"].sql or "unit_price" not in found or not (quantity and price):
            return
        if total and (form := total.column.form("DECIMAL")):
            amount = form.of(total.column.sql)
            row = self.con.execute(
                f"select count(*), count(*) filter (where missing > 0.01), count(*) filter (where missing < -0.01) "
                f"from (select {quantity} * {price} - {amount} as missing from {self.bronze[table.name]}) "
                "where missing is not null"
            ).fetchone()
            assert row is not None
            rows, less, more = row
            if less and more <= _FEW * rows:
                columns["discount_amount"] = DraftColumn(
                    f"{quantity} * {price} - {amount}", f"what {total.column.name} is less than quantity × price"
                )
                return
            if not less:
                return
        if percent and (form := percent.column.form("DECIMAL")):
            columns["discount_amount"] = DraftColumn(
                f"{quantity} * {price} * {form.of(percent.column.sql)} * 0.01", "worked out from the percentage"
            )

    def _is_share(self, table: RawTableView, discount: str) -> bool:
        """Whether no discount is above 1, and some are between."""
        row = self.con.execute(
            f"select max({discount}), count(*) filter (where {discount} > 0 and {discount} < 1) "
            f"from {self.bronze[table.name]}"
        ).fetchone()
        assert row is not None
        return row[0] is not None and row[0] <= 1 and row[1] > 0

    def _unique(self, table: RawTableView, *columns: Column) -> bool:
        """Whether these columns together tell a table's rows apart."""
        key = ", ".join(quote(c.name) for c in columns)
        row = self.con.execute(f"select count(*), count(distinct ({key})) from {self.bronze[table.name]}").fetchone()
        assert row is not None
        return row[1] >= (1 - _FEW) * row[0]

    def _repeated(self, table: RawTableView, key: Column, column: Column) -> bool:
        """Whether a figure is the same on all lines of an order, for orders with several lines and other figures."""
        k, c = quote(key.name), quote(column.name)
        row = self.con.execute(
            f"select count(*), count(*) filter (where n = 1) from (select count(distinct {c}) as n "
            f"from {self.bronze[table.name]} where {k} is not null group by {k} having count(*) > 1)"
        ).fetchone()
        assert row is not None
        return row[0] > 10 and row[1] >= 0.98 * row[0] and column.distinct > 1

    def _fill_payments(self, draft: Draft, table: RawTableView, found: dict[str, Match]) -> None:
        number = found.get("payment_number")
        order = found["order_id"].column
        if number and self._unique(table, order, number.column):
            return
        entity, lines = self.primary[table.name]
        if entity == "payments" and not order.unique:
            draft.columns["payment_number"] = DraftColumn(
                self._number(table, draft.columns["order_id"].sql or ""),
                "no numbers: payments are counted within their order",
            )
            draft.unit = ("order_id",)
            return
        draft.columns["payment_number"] = DraftColumn("1", "one payment per order")
        if entity == "order_items":
            self._amount_of_lines(draft, table, lines)

    def _amount_of_lines(self, draft: Draft, table: RawTableView, lines: dict[str, Match]) -> None:
        """What an order's lines come to: their own amount where there is one, else quantity × price."""
        items = self._draft(table, "order_items", lines).columns
        total = lines.get("_line_total")
        form = total.column.form("DECIMAL") if total else None
        if total and form and not self._repeated(table, lines["order_id"].column, total.column):
            draft.columns["amount"] = DraftColumn(form.of(total.column.sql), f"the lines' {total.column.name}")
            return
        if not (price := items["unit_price"].sql) or not (quantity := items["quantity"].sql):
            return
        discount = items["discount_amount"].sql
        amount = f"{quantity} * {price}" + (f" - coalesce({discount}, 0)" if discount else "")
        draft.columns["amount"] = DraftColumn(
            amount, "quantity × price, less the discount" if discount else "quantity × price"
        )

    def _fill_customers(self, draft: Draft, table: RawTableView, found: dict[str, Match]) -> None:
        first = found.get("given_name") or found.get("full_name")
        last = found.get("family_name")
        if first and last:
            both = f"as_text({first.column.sql}), as_text({last.column.sql})"
            draft.columns["given_name"] = DraftColumn(f"as_text({first.column.sql})", "guess")
            draft.columns["full_name"] = DraftColumn(f"concat_ws(' ', {both})", "first and last name")

    def _fill_labels(self, draft: Draft, table: RawTableView, found: dict[str, Match]) -> None:
        if "domain" in found:
            draft.notes.append("domain: gold resolves category, payment_method and state; turn other words into these.")
            return
        names = [*vocabulary().read(found["label"].column.name), *vocabulary().read(found["code"].column.name)]
        concepts = {c for token in (*names, *table.tokens) for c in token.concepts}
        for concept, domain in (("payment", "payment_method"), ("category", "category"), ("state", "state")):
            if concept in concepts:
                draft.columns["domain"] = DraftColumn(f"'{domain}'", "what these are codes of")
                return
        draft.columns["domain"] = DraftColumn(None, "what these are codes of: 'category', 'payment_method' or 'state'")


def _float_ids(column: Column) -> bool:
    return bool(column.values) and all(re.fullmatch(r"\d+\.0", value) for value, _ in column.values)


def _is_code(column: Column) -> bool:
    """Whether a column's values are numbers or codes rather than names."""
    values = [value for value, _ in column.values[:100]]
    return not any(" " in value.strip() for value in values)
