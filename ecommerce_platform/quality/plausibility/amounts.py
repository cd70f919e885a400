"""Money and units of an order against each other: lines, the order's own totals, payments, and lines among themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import product

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.quality.plausibility.finding import (
    EXAMPLES,
    Compared,
    Implausible,
    Plausibility,
    Rows,
    as_amount,
    bronze,
    of_one_row,
    place,
)
from ecommerce_platform.silver.mapping import CompiledMapping

#: Share of the orders that must fit for a formula to be the right one; fewer orders than _FEWEST say nothing.
_FITS, _FEWEST = 0.98, 10
#: One cent a line may be lost to rounding.
_CENT = "0.0100001"
_TOTAL = re.compile(
    r"(?i)(^|[_\W])(sub|grand|order|sum|item)?_?(total|subtotal|summe|gesamt\w*|zwischensumme|montant|importe|amount)($|[_\W])"
)
#: Amounts of which a column named so is no total.
_OTHER = re.compile(
    r"(?i)tax|vat|mwst|steuer|ship|freight|versand|discount|rabatt|refund|erstatt|paid|fee|qty|quant|due|tip"
)
_SHIPPING = re.compile(r"(?i)shipping|freight|versand|porto|envio|envío|livraison|frete")
_NOT_CHARGED = re.compile(r"(?i)tax|vat|mwst|steuer|discount|rabatt|refund|method|address|name|phone|zip|date|weight")
#: What lines come to, by what is added or taken off; each part is a column of `_orders`.
_PARTS = (("- discount", "- d"), ("+ tax", "+ t"), ("+ shipping", "+ s"))


def look_at_amounts(rows: Rows, found: Plausibility) -> None:
    """Adds to `found` what orders, their lines and their payments say about each other."""
    if not rows.mappings("order_items"):
        found.not_compared.append("lines, for no mapping fills order_items")
        return
    _sum_lines(rows)
    totals = _totals(rows)
    if not totals:
        found.not_compared.append("lines with their orders' totals, for no raw column looks like an order's total")
    for mapping, column in totals:
        _against_total(rows, found, mapping, column)
    _payments(rows, found)
    found.doubts += [*_grows(rows), *_repeated(rows), *_children(rows), *_negative(rows)]


def _sum_lines(rows: Rows) -> None:
    """`_orders`: what the lines of each order come to (l, d, t, s: lines, discount, tax, shipping; u: prices of one)."""
    rows.con.execute(
        "create or replace temp table _orders as select order_id, count(*) as n, sum(quantity * unit_price) as l, "
        "sum(unit_price) as u, sum(coalesce(discount_amount, 0)) as d, sum(coalesce(tax_amount, 0)) as t, "
        "sum(coalesce(shipping_amount, 0)) as s from silver.order_items group by order_id"
    )


def _formulas(rows: Rows) -> dict[str, str]:
    """What lines may come to: name → SQL over `_orders`."""
    filled = ("discount_amount", "tax_amount", "shipping_amount")
    parts = [p for p, column in zip(_PARTS, filled, strict=True) if rows.filled("order_items", column)]
    return {
        " ".join(["lines", *(p[0] for p, on in zip(parts, chosen, strict=True) if on)]): " ".join(
            ["l", *(p[1] for p, on in zip(parts, chosen, strict=True) if on)]
        )
        for chosen in product((False, True), repeat=len(parts))
    }


def _totals(rows: Rows) -> list[tuple[CompiledMapping, str]]:
    """Raw columns that look like an order's total: by their names, and one value per order."""
    result, seen = [], set()
    for mapping in rows.mappings("orders", "order_items"):
        key = of_one_row(mapping, "order_id")
        used = {c for m in rows.mappings("payments") for c in m.column_sources().get("amount", ())}
        for column in rows.columns(mapping):
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column)
            if key is None or not _TOTAL.search(name) or _OTHER.search(name) or (mapping.bronze, column) in seen:
                continue
            seen.add((mapping.bronze, column))
            one, every, several = rows.ask(
                f"select count(*) filter (where low = high), count(*), count(*) filter (where n > 1 and low = high) from "
                f"(select {key} as k, min({as_amount(column)}) as low, max({as_amount(column)}) as high, count(*) as n "
                f"from {bronze(mapping)} where {as_amount(column)} is not null group by k) as o where k is not null"
            )[0]
            if every >= _FEWEST and one >= _FITS * every and column not in used | _of_lines(rows, mapping, several):
                result.append((mapping, column))
    return result


def _of_lines(rows: Rows, mapping: CompiledMapping, several: int) -> set[str]:
    """Raw columns that lines are made of, where no order has several of them: they say nothing of the order."""
    if several:
        return set()
    lines = [m for m in rows.mappings("order_items") if m.bronze == mapping.bronze]
    return {c for m in lines for columns in m.column_sources().values() for c in columns}


def _against_total(rows: Rows, found: Plausibility, mapping: CompiledMapping, column: str) -> None:
    key = of_one_row(mapping, "order_id")
    shipping = None if rows.filled("order_items", "shipping_amount") else _shipping(rows, mapping)
    of_order = f"coalesce(max({as_amount(shipping)}), 0)" if shipping else "0"
    rows.con.execute(
        f"create or replace temp table _total as select {key} as order_id, max({as_amount(column)}) as c, {of_order} as os "
        f"from {bronze(mapping)} where {as_amount(column)} is not null group by 1"
    )
    formulas = _formulas(rows)
    if shipping:
        formulas |= {f"{name} + {mapping.raw_table}.{shipping}": f"{sql} + os" for name, sql in formulas.items()}
    compared = _best(rows, "_total", f"{mapping.raw_table}.{column}", formulas)
    if compared is None:
        found.not_compared.append(f"lines with {mapping.raw_table}.{column}, for fewer than {_FEWEST} orders have both")
        return
    found.compared.append(compared)
    if compared.orders - compared.off < _FITS * compared.orders:
        lines = rows.mappings("order_items")[0]
        why = _why(rows)
        found.doubts.append(
            Implausible(
                "lines_against_total", place(lines, "unit_price"), str(compared),
                why or "look at what unit_price, quantity and discount_amount are made of, and whether lines are missing",
                compared.off,
            )
        )  # fmt: skip


def _shipping(rows: Rows, mapping: CompiledMapping) -> str | None:
    """A raw column that looks like what an order as a whole was charged for shipping."""
    named = [c for c in rows.columns(mapping) if _SHIPPING.search(c) and not _NOT_CHARGED.search(c)]
    filled = [c for c in named if rows.ask(f"select count(*) from {bronze(mapping)} where {as_amount(c)} > 0")[0][0]]
    return filled[0] if len(filled) == 1 else None


def _best(rows: Rows, other: str, name: str, formulas: dict[str, str]) -> Compared | None:
    """The formula that most orders fit, against the column c of a table."""
    best: tuple[int, str, int] | None = None
    for formula, sql in formulas.items():
        orders, fit = rows.ask(
            f"select count(*), count(*) filter (where abs({sql} - c) <= {_CENT} * n) from _orders join {other} using (order_id)"
        )[0]
        if best is None or fit > best[0]:
            best = fit, formula, orders
    if best is None or best[2] < _FEWEST:
        return None
    fit, formula, orders = best
    sql = formulas[formula]
    off = rows.ask(
        f"select order_id, {sql}, c, sum(abs({sql} - c)) over () from _orders join {other} using (order_id) "
        f"where abs({sql} - c) > {_CENT} * n order by abs({sql} - c) desc, order_id limit {EXAMPLES}"
    )
    examples = tuple(f"{order}: {mine:,.2f} and {theirs:,.2f}" for order, mine, theirs, _ in off)
    return Compared(f"{formula} = {name}", orders, orders - fit, off[0][3] if off else Decimal(0), examples)


def _why(rows: Rows) -> str | None:
    """What would make the lines fit `_total`."""
    for sql, fix in (
        ("u", "unit_price seems to be the line's total: divide it by the quantity"),
        ("l / 2", "lines seem to be counted twice: exports that overlap, or parent and child lines"),
    ):
        orders, fit = rows.ask(
            f"select count(*), count(*) filter (where abs({sql} - c) <= {_CENT} * n) from _orders join _total using (order_id)"
        )[0]
        if fit >= _FITS * orders:
            return fix
    return None


def _payments(rows: Rows, found: Plausibility) -> None:
    if not rows.mappings("payments"):
        found.not_compared.append("payments with orders, for no mapping fills payments")
        return
    rows.con.execute(
        "create or replace temp table _paid as select order_id, sum(amount) as c from silver.payments group by order_id"
    )
    compared = _best(rows, "_paid", "payments", _formulas(rows))
    if compared is None:
        found.not_compared.append(f"payments with orders, for fewer than {_FEWEST} orders have both")
        return
    found.compared.append(compared)
    if compared.orders - compared.off < _FITS * compared.orders:
        found.doubts.append(
            Implausible(
                "payments_against_orders", place(rows.mappings("payments")[0], "amount"), str(compared),
                "look at whether amount is the payment's own, once per payment, and whether failed ones are left out",
                compared.off,
            )
        )  # fmt: skip


def _grows(rows: Rows) -> Iterator[Implausible]:
    """A unit price that is as many times the product's usual one as there are units: it is the line's total."""
    for mapping in rows.mappings("order_items"):
        of = f"silver.order_items where _raw_table = '{mapping.raw_table}' and quantity > 0 and unit_price > 0"
        grown, same, shown = rows.ask(
            f"with base as (select product_id, min(quantity) as q, arg_min(unit_price, quantity) as p from {of} group by 1) "
            ", more as (select i.order_id, i.unit_price / b.p as ratio, i.quantity / b.q as times from "
            f"(select * from {of}) as i join base as b using (product_id) where i.quantity > b.q) select "
            "count(*) filter (where abs(ratio / times - 1) < 0.02), count(*) filter (where abs(ratio - 1) < 0.02), "
            f"list_sort(list(distinct order_id) filter (where abs(ratio / times - 1) < 0.02))[1:{EXAMPLES}] from more"
        )[0]
        if grown >= _FEWEST and grown >= 0.8 * (grown + same):
            yield Implausible(
                "line_total_as_unit_price", place(mapping, "unit_price"),
                f"unit_price grows with the quantity in {grown:,} lines: it seems to be the line's total",
                "divide it: … / nullif(as_integer(quantity), 0)", grown, tuple(shown or ()),
            )  # fmt: skip


def _repeated(rows: Rows) -> Iterator[Implausible]:
    """An amount that is the same on all lines of an order, other from order to order: it is the order's."""
    for mapping in rows.mappings("order_items"):
        for column in ("shipping_amount", "tax_amount", "discount_amount", "unit_price"):
            if column not in mapping.expressions:
                continue
            every, equal, kinds, shown = rows.ask(
                "select count(*), count(*) filter (where low = high), count(distinct high) filter (where low = high), "
                f"list_sort(list(order_id) filter (where low = high))[1:{EXAMPLES}] from (select order_id, "
                f"min({column}) as low, max({column}) as high from silver.order_items where _raw_table = "
                f"'{mapping.raw_table}' group by order_id having count(distinct product_id) > 1 and max({column}) > 0) as o"
            )[0]
            if every >= _FEWEST and equal >= 0.9 * every and kinds > 2:
                yield Implausible(
                    "order_amount_on_lines", place(mapping, column),
                    f"{column} is the same on all lines in {equal:,} of {every:,} orders of several products: it seems "
                    "to be the order's amount, and is added up once per line",
                    "give it to the first line only: case when row_number() over (…) = 1 then … else 0 end", equal,
                    tuple(shown or ()),
                )  # fmt: skip


def _children(rows: Rows) -> Iterator[Implausible]:
    """Lines that name another line of the same table as their parent and are counted as well."""
    for mapping in rows.mappings("order_items"):
        for parent in [c for c in rows.columns(mapping) if re.search(r"(?i)parent|bundle_id|eltern", c)]:
            p = f"as_text({quote(parent)})"
            for own in [
                c for c in rows.columns(mapping) if c != parent and re.search(r"(?i)(^|_|\W)(id|no|nr)$|id$", c)
            ]:
                o = f"as_text({quote(own)})"
                shown = rows.ask(
                    f"select distinct i.order_id from silver.order_items as i join {mapping.bronze} as b using "
                    f"(_load_date, _source_file, _source_row) where i._raw_table = '{mapping.raw_table}' and i.quantity <> 0 "
                    f"and b.{quote(parent)} <> b.{quote(own)} and {p} in (select {o} from {mapping.bronze}) order by 1"
                )
                unique = rows.ask(f"select count({o}) = count(distinct {o}) from {bronze(mapping)}")[0][0]
                if unique and shown:
                    yield Implausible(
                        "parent_and_child_lines", place(mapping, "quantity"),
                        f"lines that name a parent in {parent} are counted beside it, in {len(shown):,} orders",
                        f"leave the children out: where as_text({parent}) is null, and say why under left_out",
                        len(shown), tuple(str(order) for (order,) in shown[:EXAMPLES]),
                    )  # fmt: skip
                    break


def _negative(rows: Rows) -> Iterator[Implausible]:
    """Goods taken back that count as sales."""
    valid = "coalesce(i.is_valid, o.is_valid, true)"
    shown = rows.ask(
        "select i.order_id, sum(i.quantity * i.unit_price) from silver.order_items as i left join silver.orders as o "
        f"using (order_id) where i.quantity < 0 and {valid} group by 1 order by 1"
    )
    if shown:
        yield Implausible(
            "negative_quantities", place(rows.mappings("order_items")[0], "quantity"),
            f"lines with a negative quantity count as sales in {len(shown):,} orders ({sum(m for _, m in shown):,.2f} in all): "
            "credit notes, or goods taken back",
            "make them returns (returns.<raw table>.sql), and is_valid false for the line", len(shown),
            tuple(str(order) for order, _ in shown[:EXAMPLES]),
        )  # fmt: skip
