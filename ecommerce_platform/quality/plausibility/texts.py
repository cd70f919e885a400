"""Texts that are not what they are taken for: currencies, times, ids, status words and names of products."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.quality.plausibility.finding import (
    EXAMPLES,
    Implausible,
    Plausibility,
    Rows,
    bronze,
    of_one_row,
    place,
)
from ecommerce_platform.silver.conversions import as_sql, needs_several_rows, parsed
from ecommerce_platform.silver.mapping import CompiledMapping

#: Currencies that shops are paid in; other words of three letters are none.
_CURRENCIES = (
    "'AED','ARS','AUD','BDT','BGN','BRL','CAD','CHF','CLP','CNY','COP','CZK','DKK','EGP','EUR','GBP','HKD','HUF','IDR',"
    "'ILS','INR','ISK','JPY','KES','KRW','KZT','MAD','MXN','MYR','NGN','NOK','NZD','PEN','PHP','PKR','PLN','QAR','RON',"
    "'RSD','SAR','SEK','SGD','THB','TRY','TWD','UAH','USD','UYU','VND','ZAR'"
)
_MONEY = ("orders", "order_items", "payments")
#: What stands at the end of a time that says how far from UTC it is.
_OFFSET = r"(?i)^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(z|utc|gmt|[+-]\d\d:?(\d\d)?)\)?$"
_UTC = ("utc", "etc/utc", "gmt", "etc/gmt", "zulu", "etc/zulu", "uct", "etc/uct", "greenwich")
#: Words of which a name that says nothing else is a note about goods, not what they are called.
_NOTES = (
    "damaged|damages|damage|broken|faulty|lost|missing|found|wrong|wrongly|incorrect|incorrectly|check|checked|adjust|"
    "adjustment|adjusted|unsaleable|unsellable|thrown|deleted|void|returned|mixed|"
    "smashed|crushed|mouldy|rusty|defekt|beschädigt|verloren|kaputt|bruch|falsch|fehlt|muster|storniert|perdu|cassé|dañado"
)
_FILLERS = (
    "and|or|in|by|as|on|at|to|of|the|away|up|stock|item|goods|order|manual|please|do|not|use|artikel|ware|nicht|und"
)


def look_at_texts(rows: Rows, found: Plausibility) -> None:
    """Adds to `found` what the texts of bronze and silver give away."""
    looks: tuple[Callable[[Rows], Iterator[Implausible]], ...] = (
        _currencies, _offsets, _ids, _alike, _statuses, _unmapped_column, _notes, _many_names,
    )  # fmt: skip
    for look in looks:
        found.doubts += look(rows)


def _shown(values: list[tuple[Any, ...]]) -> tuple[str, ...]:
    return tuple(f"{value!r} ({n:,} rows)" for value, n, *_ in values[:EXAMPLES])


def _currencies(rows: Rows) -> Iterator[Implausible]:
    """Raw columns of money tables that hold codes of other currencies than the shop's."""
    seen = set()
    for mapping in rows.mappings(*_MONEY):
        if "currency" in mapping.contract.columns and rows.filled("orders", "currency"):
            return
        if "currency" in mapping.expressions:
            continue
        for column in rows.columns(mapping):
            if (mapping.bronze, column) in seen:
                continue
            seen.add((mapping.bronze, column))
            code = f"upper(as_text({quote(column)}))"
            values = rows.ask(
                f"select {code} as v, count(*) as n, bool_and(v in ({_CURRENCIES})) from {bronze(mapping)} "
                f"where {code} is not null and length({code}) = 3 group by v order by n desc, v limit 50"
            )
            texts = rows.ask(f"select count({code}) from {bronze(mapping)}")[0][0]
            known = [value for value in values if value[2]]
            if not known or sum(n for _, n, _ in known) < 0.9 * texts:
                continue
            other = [value for value in known if value[0] != rows.currency.upper()]
            if other:
                count = sum(n for _, n, _ in other)
                yield Implausible(
                    "several_currencies", str(mapping.mapping.path),
                    f"{count:,} of {texts:,} rows of {mapping.raw_table} are not in {rows.currency}, says {column}; their "
                    "amounts are counted as if they were",
                    "keep them apart by the currency, or leave them out with a reason", count, _shown(other),
                )  # fmt: skip


def _offsets(rows: Rows) -> Iterator[Implausible]:
    """Times that say how far from UTC they are and did not become the shop's local time."""
    from sqlglot import exp

    if rows.zone.lower() in _UTC:
        return
    seen = set()
    for mapping in (m for found in rows.compiled.values() for m in found):
        for call in mapping.conversions:
            kind = mapping.contract.columns[call.column].type if call.column in mapping.contract.columns else ""
            raw = {c.name for c in parsed(call.call).find_all(exp.Column)}
            if kind != "TIMESTAMP" or len(raw) != 1 or (mapping.bronze, call.call) in seen:
                continue
            seen.add((mapping.bronze, call.call))
            column = next(iter(raw))
            t = f"as_text({quote(column)})"
            utc = bool(re.search(r"(?i)(^|[_\W])(utc|gmt)($|[_\W])", column))
            instant = (
                f"try_cast(regexp_replace(trim({t}, '()'), '(?i) *\\(?(utc|gmt|z)\\)?$', '') || '+00' as timestamptz)"
            )
            instant = f"case when regexp_matches({t}, '(?i)(utc|gmt|z)\\)?$') then {instant} else try_cast({t} as timestamptz) end"
            if utc:
                instant = f"try_cast({t} || '+00' as timestamptz)"
            local = f"({instant} at time zone '{rows.zone}')"
            which = "true" if utc else f"regexp_full_match({t}, '{_OFFSET}')"
            wrong = rows.ask(
                f"select {t} as v, count(*) as n, min({call.call}), min({local}), sum(n) over () from {bronze(mapping)} "
                f"where {which} and {call.call} <> {local} group by v order by v limit {EXAMPLES}"
            )
            if wrong:
                yield Implausible(
                    "times_elsewhere", place(mapping, call.column),
                    f"{wrong[0][4]:,} times in {column} are not in {rows.zone} and are taken as if they were",
                    f"turn them into the time in {rows.zone}", wrong[0][4],
                    tuple(f"{v!r} became {mine}, in {rows.zone} it is {right}" for v, _, mine, right, _ in wrong),
                )  # fmt: skip


def _ids(rows: Rows) -> Iterator[Implausible]:
    """Keys and references that a spreadsheet has spoilt, or that hold a document."""
    kinds = {
        "scientific_ids": (r"regexp_full_match({}, '\d([.,]\d+)?[eE]\+\d+')", "are in scientific notation: digits are gone",
                           "export the column as text again; what was rounded cannot be put right"),
        "json_as_key": (r"(regexp_matches({0}, '^\s*[\[{{]') and json_valid({0}))", "hold JSON, not an id",
                        "read the element's own id out of the document"),
    }  # fmt: skip
    for entity, found in rows.compiled.items():
        for mapping in found:
            for column, about in mapping.contract.columns.items():
                key = column in mapping.contract.key or about.references
                if not key or about.type != "VARCHAR" or column not in mapping.expressions:
                    continue
                for name, (condition, what, fix) in kinds.items():
                    values = rows.ask(
                        f"select {quote(column)}, count(*) as n, sum(n) over () from silver.{quote(entity)} where _raw_table = "
                        f"'{mapping.raw_table}' and {condition.format(quote(column))} group by 1 order by 1 limit {EXAMPLES}"
                    )
                    if values:
                        count = int(values[0][2])
                        yield Implausible(
                            name, place(mapping, column), f"{count:,} values of {entity}.{column} {what}", fix, count,
                            tuple(f"{str(value)[:60]!r}" for value, *_ in values),
                        )  # fmt: skip


def _alike(rows: Rows) -> Iterator[Implausible]:
    """Ids that are one but for case, blanks or the form of Unicode: in an entity and in what refers to it."""
    for entity in ("orders", "products", "customers", "sellers"):
        mappings = rows.mappings(entity)
        if not mappings:
            continue
        key = mappings[0].contract.key[0]
        tables = [(entity, key)] + [
            (other, column)
            for other, found in rows.compiled.items()
            for column, about in (found[0].contract.columns if found else {}).items()
            if about.references == f"silver.{entity}.{key}" and any(column in m.expressions for m in found)
        ]
        every = " union ".join(f"select {quote(c)} as v from silver.{quote(t)}" for t, c in tables)
        same = "lower(regexp_replace(nfc_normalize(v), '[\\s\\x{00A0}\\x{200B}\\x{FEFF}]', '', 'g'))"
        found = rows.ask(
            f"select list_sort(list(v)) as vs, count(*) over () from ({every}) as ids where v is not null group by {same} "
            f"having count(*) > 1 order by vs limit {EXAMPLES}"
        )
        if found:
            yield Implausible(
                "ids_alike", place(mappings[0], key),
                f"{found[0][1]:,} ids of {entity} are written in several ways that differ in case, blanks or form only",
                f"write them in one way wherever they stand: upper(nfc_normalize({mappings[0].expressions[key]}))", found[0][1],
                tuple(" and ".join(map(repr, values)) for values, _ in found),
            )  # fmt: skip


def _statuses(rows: Rows) -> Iterator[Implausible]:
    """Words that no WHEN of the status names: ELSE makes one of them all."""
    from sqlglot import exp

    for mapping in rows.mappings("orders"):
        tree = parsed(mapping.expressions.get("status", "null"))
        for case in tree.find_all(exp.Case):
            default = case.args.get("default")
            raw = list(dict.fromkeys(c.name for c in case.find_all(exp.Column)))
            words = [when.find(exp.EQ, exp.In) or case.this for when in case.args["ifs"]]
            if not isinstance(default, exp.Literal) or len(raw) != 1 or needs_several_rows(case) or not all(words):
                continue
            marked = case.copy()
            marked.set("default", exp.Literal.string("\0"))
            yield from _fall_through(rows, mapping, raw[0], as_sql(marked), default.this)


def _fall_through(rows: Rows, mapping: CompiledMapping, raw: str, case: str, default: str) -> Iterator[Implausible]:
    t = f"as_text({quote(raw)})"
    values = rows.ask(
        f"select {t} as v, count(*) as n from {bronze(mapping)} where {case} = '\0' and lower({t}) <> lower('{default}') "
        f"and regexp_matches({t}, '\\pL') group by v order by n desc, v limit 50"
    )
    if values:
        yield Implausible(
            "status_never_mapped", place(mapping, "status"),
            f"{len(values):,} words of {raw} have no WHEN of their own and become {default!r}",
            "say of each what it means, and let ELSE pass on what is new, so that it is rejected by name",
            sum(n for _, n in values), _shown(values),
        )  # fmt: skip


def _unmapped_column(rows: Rows) -> Iterator[Implausible]:
    """A column of states beside a status that is the same for every order."""
    from sqlglot import exp

    for mapping in rows.mappings("orders"):
        if parsed(mapping.expressions.get("status", "null")).find(exp.Column):
            continue
        for column in rows.columns(mapping):
            if not re.search(r"(?i)status|state$|zustand", column) or column in mapping.raw_columns:
                continue
            t = f"as_text({quote(column)})"
            values = rows.ask(
                f"select {t} as v, count(*) as n from {bronze(mapping)} where {t} is not null group by 1 order by 2 desc, 1"
            )
            if 1 < len(values) <= 15 and re.search(
                r"(?i)cancel|void|refund|deliver|ship|paid|stor|annul|open|pending", str(values)
            ):
                yield Implausible(
                    "status_never_mapped", place(mapping, "status"),
                    f"every order has the same status, though {column} has {len(values):,} words",
                    f"say what each means: case as_text({column}) when … end", sum(n for _, n in values), _shown(values),
                )  # fmt: skip


def _notes(rows: Rows) -> Iterator[Implausible]:
    """Products whose name is a note of the warehouse."""
    if not rows.filled("products", "name"):
        return
    note = rf"(?i)[\W\d_]*(({_NOTES}|{_FILLERS})[\W\d_]*)*({_NOTES})[\W\d_]*(({_NOTES}|{_FILLERS})[\W\d_]*)*|[?\W]+"
    found = rows.ask(
        f"select name, product_id, count(*) over () from silver.products where regexp_full_match(name, '{note}') "
        f"order by product_id limit {EXAMPLES}"
    )
    if found:
        mapping = next(m for m in rows.mappings("products") if "name" in m.expressions)
        yield Implausible(
            "names_are_notes", place(mapping, "name"),
            f"{found[0][2]:,} products are called by a note, not a name",
            "leave such rows out where the name is taken from, so that one with a name counts", found[0][2],
            tuple(f"{product}: {name!r}" for name, product, _ in found),
        )  # fmt: skip


def _many_names(rows: Rows) -> Iterator[Implausible]:
    """Products that go by three names or more in what was delivered."""
    for mapping in rows.mappings("products"):
        key, name = of_one_row(mapping, "product_id"), _row_level(mapping, "name")
        if key is None or name is None:
            continue
        found = rows.ask(
            f"select {key} as k, list_sort(list(distinct lower({name}))) as names, count(*) over () from {bronze(mapping)} "
            f"where {name} is not null group by k having count(distinct lower({name})) > 2 order by len(names) desc, k limit {EXAMPLES}"
        )
        if found:
            yield Implausible(
                "many_names", place(mapping, "product_id"),
                f"{found[0][2]:,} products have three names or more; one of them is shown",
                "look whether the key is the product's; else say which name counts (gathered: in source.yml)", found[0][2],
                tuple(f"{k}: {', '.join(map(repr, names[:EXAMPLES]))}" for k, names, _ in found),
            )  # fmt: skip


def _row_level(mapping: CompiledMapping, column: str) -> str | None:
    """SQL over one bronze row of a column, also of one that is aggregated: then of what is aggregated."""
    from sqlglot import exp

    if (sql := of_one_row(mapping, column)) or column not in mapping.expressions:
        return sql
    inner = parsed(mapping.expressions[column]).find(exp.AggFunc)
    return as_sql(inner.this) if inner is not None and not needs_several_rows(inner.this) else None
