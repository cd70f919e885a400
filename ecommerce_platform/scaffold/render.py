"""The text of a source folder: `source.yml` and mappings, with what was found and what was assumed as comments.

Values of the sample stand there as examples only where they are nobody's: names, addresses and free texts are masked.
Which column fills what is in `guess`; nothing is written to disk here.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.scaffold.guess import Draft
from ecommerce_platform.scaffold.known import Known
from ecommerce_platform.scaffold.match import RawTableView
from ecommerce_platform.scaffold.personal import EMAIL, looks_personal, mask
from ecommerce_platform.scaffold.profile import Column
from ecommerce_platform.scaffold.sample import SampleTable
from ecommerce_platform.scaffold.systems import Layout

#: What `source.yml` says where nothing could be guessed; `check-source` asks for it.
OPEN = "?"
_WIDTH = 118
_EXAMPLES = 3
#: A text of more letters is prose, and prose may name people.
_PROSE = 40
_GRAINS = {
    "orders": "orders",
    "order_items": "lines of orders",
    "payments": "payments of orders",
    "customers": "customers",
    "products": "the catalogue",
    "sellers": "sellers",
    "reviews": "reviews",
    "shipments": "parcels",
    "returns": "goods sent back",
    "postal_codes": "places by postal code",
    "labels": "what codes mean",
}


@dataclass(frozen=True)
class ShopGuess:
    """What is said about the shop as a whole, with where it comes from; None where nothing tells."""

    currency: str | None
    currency_from: str
    time_zone: str | None
    time_zone_from: str
    start_date: date
    start_date_from: str


def source_yml(
    name: str,
    directory: str,
    shop: ShopGuess,
    tables: Mapping[str, SampleTable],
    views: Mapping[str, RawTableView],
    drafts: Sequence[Draft],
    full: Iterable[str],
    known: Known,
) -> str:
    """The text of `source.yml`.

    Args:
        name: the source's name.
        directory: the folder that was looked at, as the user wrote it.
        shop: what is said about the shop.
        tables: the raw tables.
        views: the same with their columns.
        drafts: the mappings; raw tables without any are commented out.
        full: raw tables each of whose files seems to hold all of it.
        known: the raw tables that are exports of known shop systems.
    """
    lines = [
        f"# Drafted by `ecommerce new-source` from the files in {_plain(directory)}. {_said_of(known, tables)}",
        f"# then ask `ecommerce check-source {name} --sample {_plain(directory)}`. All fields: docs/your-own-shop.md.",
        *_asks(known),
        f"description: {_quoted(f'The shop {name}.')}  # whose data this is, in a sentence",
        _shop_line(
            "currency", shop.currency, shop.currency_from, "ISO code of the currency of all amounts, such as EUR"
        ),
        _shop_line(
            "time_zone", shop.time_zone, shop.time_zone_from, "IANA name of the shop's zone, such as Europe/Berlin"
        ),
        f"start_date: {shop.start_date}  # {shop.start_date_from}",
        "# churn_window_days: 90  # a customer who buys nothing for so long counts as lost",
        "# min_pair_orders: 5  # products that fewer orders hold together are no pair",
    ]
    lines += _expressions_block(known)
    lines += [*_units_block(drafts), *_gathered_block(drafts), *_left_out_block(drafts)]
    lines += [
        "# delivery: delta (the default): files bring what is new or changed; a row replaces the one with the same key.",
        "#           full: each delivery is the whole table, and what the newest one lacks is gone.",
        "tables:",
    ]
    mapped = {d.table for d in drafts} or set(tables)
    mapped |= {name for name, table in tables.items() if table.container}
    for table in tables.values():
        entity = next((d.entity for d in drafts if d.table == table.name), None)
        layout = known.tables[table.name].layout if table.name in known.tables else None
        block = _table_block(table, entity, table.name in set(full), layout)
        lines += block if table.name in mapped else _left_open(table, views[table.name], block)
    return "\n".join(lines) + "\n"


def _said_of(known: Known, tables: Mapping[str, SampleTable]) -> str:
    """How sure what follows is."""
    if not known.tables:
        return "Everything here is a guess: put right what is wrong,"
    sure = "All of it is known" if len(known.tables) == len(tables) else "What is no guess is known"
    titles = " and ".join(system.title for system in known.systems)
    return f"{sure} from {titles}: fill in what is left open,"


def _asks(known: Known) -> list[str]:
    """What only the user can say about each system."""
    lines = []
    for system in known.systems:
        lines.append(f"# {system.title}: currency: {system.asks.currency}; time zone: {system.asks.time_zone};")
        lines.append(f"#   tax: {system.asks.tax}.")
    return lines + [f"# {_plain(str(join))}." for join in known.joins]


def _expressions_block(known: Known) -> list[str]:
    if not known.expressions:
        return []
    said = [f"  {name}: {_scalar(sql)}" for name, sql in known.expressions.items()]
    return ["# What several mappings share, by the name that they call it by.", "expressions:", *said]


def _scalar(sql: str) -> str:
    """SQL as YAML in single quotes."""
    return "'" + " ".join(sql.split()).replace("'", "''") + "'"


def _left_out_block(drafts: Sequence[Draft]) -> list[str]:
    filtered = [d for d in drafts if d.where or d.left_out]
    if not filtered:
        return []
    said = ", ".join(
        f"{d.entity}.{d.table}: {_quoted(d.left_out) if d.left_out else f'the other rows say nothing of {d.entity}'}"
        for d in filtered
    )
    return [
        "# Rows that a mapping's WHERE leaves to the other mappings, and why. Rows that one drops without a reason are warned of.",
        f"left_out: {{{said}}}",
    ]


def _left_open(table: SampleTable, view: RawTableView, block: Sequence[str]) -> list[str]:
    """What is said of a raw table that seems to fill no entity: its block, to be taken in, and its columns."""
    return [
        f"  # {table.name} seems to fill no entity. To use it, take it in here and write <entity>.{table.name}.sql; its columns:",
        *(f"  # {line}" for line in _columns(view, {}, frozenset())),
        *("  # " + line[2:] for line in block),
    ]


def _units_block(drafts: Sequence[Draft]) -> list[str]:
    units = [(f"{d.entity}.{d.table}", ", ".join(d.unit)) for d in drafts if d.unit]
    if not units:
        return []
    return [
        "# These mappings group or number rows within an order, so a delivery that mentions an order has to bring all its rows.",
        "units: {" + ", ".join(f"{mapping}: [{columns}]" for mapping, columns in units) + "}",
    ]


def _gathered_block(drafts: Sequence[Draft]) -> list[str]:
    gathered = [d for d in drafts if d.gathered]
    if not gathered:
        return []
    lines = [
        "# These columns come with every row: of all rows with one key the newest value that is there counts, by the column",
        "# behind its name; of equally new ones, and where nothing is behind it, the last in the alphabet.",
        "gathered:",
    ]
    for draft in gathered:
        lines.append(f"  {draft.entity}.{draft.table}:")
        lines += [f"    {name}: {_plain_scalar(by)}".rstrip() for name, by in draft.gathered.items()]
    return lines


def _plain_scalar(sql: str | None) -> str:
    """An SQL expression as YAML."""
    if sql is None:
        return ""
    if not re.search(r"[:#{}\[\],&*?|>%@`\"']", sql):
        return sql
    return "'" + sql.replace("'", "''") + "'" if '"' in sql else _quoted(sql)


def _shop_line(field: str, value: str | None, source: str, asks: str) -> str:
    if value is None:
        return f'{field}: "{OPEN}"  # left open: {asks}'
    return f"{field}: {value}  # guess: {source}"


def _table_block(table: SampleTable, entity: str | None, full: bool, layout: Layout | None = None) -> list[str]:
    if table.raw.explode:
        said = [f"  {table.name}:", f"    explode: {_plain_scalar(table.raw.explode)}"]
        if table.raw.parent:
            said.append(
                "    parent: {" + ", ".join(f"{k}: {_plain_scalar(v)}" for k, v in table.raw.parent.items()) + "}"
            )
        return [
            *said,
            f"    description: {_quoted(table.raw.description)}",
            *(f"    # note: {_plain(n)}" for n in table.notes),
        ]
    names = [f.file.name for f in table.files]
    found = f"{names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    described = f"One file or more a delivery with {_GRAINS.get(entity, entity)}." if entity else "Say what a row is."
    if table.container:
        described = "Documents that hold records; what these say is in the table made of them."
    lines = [
        f"  {table.name}:",
        f"    files: [{', '.join(_quoted(f) for f in table.raw.files)}]  # found: {_plain(found)}",
        f"    description: {_quoted(layout.description) if layout else described}",
        f"    delivery: {layout.delivery}" if layout else _delivery(entity, full),
    ]
    if table.raw.encoding != "utf-8":
        lines.append(f"    encoding: {table.raw.encoding}")
    shape = table.shape
    if shape.format == "csv":
        lines.append(
            f"    # format: csv, delimiter: {_quoted(shape.delimiter)} (found from each file; to fix it, write it here)"
        )
    else:
        lines.append(f"    # format: {shape.format} (found from each file; to fix it, write it here)")
    return lines + [f"    # note: {_plain(note)}" for note in table.notes]


def _delivery(entity: str | None, full: bool) -> str:
    if full and entity == "postal_codes":
        return "    delivery: full  # guess: a list of places is delivered whole"
    return "    delivery: full  # guess: each file holds all of the one before" if full else "    # delivery: full"


def mapping_sql(
    source: str,
    directory: str,
    draft: Draft,
    table: SampleTable,
    view: RawTableView,
    contract: Contract,
) -> str:
    """The text of one mapping: the raw columns and their values, the filled columns, what is left open, and the rest."""
    pii = frozenset(n for n, c in contract.columns.items() if c.pii)
    lines = [
        f"-- {draft.entity} ({contract.grain}) from the raw table {draft.table}: {len(table.files)} "
        f"file{'s' if len(table.files) > 1 else ''}, {table.rows:,} rows.",
        "-- Drafted by `ecommerce new-source`: every line is a guess, in brackets stands what had to be assumed. Ask",
        f"-- `ecommerce check-source {source} --sample {_plain(directory)}` whether it fits.",
        "--",
        *(f"-- {line}" for line in _columns(view, _fills(draft, view), pii)),
    ]
    if draft.group_by:
        lines.append(f"-- Several rows make one of {draft.entity}: they are grouped by its key.")
    if draft.gathered:
        lines.append(f"-- Several rows name one of {draft.entity}: source.yml says which value counts (gathered).")
    for note in draft.notes:
        lines += ["--", *textwrap.wrap(_plain(note), _WIDTH, initial_indent="-- ", subsequent_indent="-- ")]
    lines.append("select")
    lines += [*_filled_lines(draft, contract), *_open_lines(draft, contract)]
    lines.append(f"from bronze.{source}__{draft.table}")
    if draft.where:
        lines.append(f"where {draft.where}")
    if draft.group_by:
        lines.append(f"group by {', '.join(draft.group_by)}")
    return "\n".join(lines) + "\n"


def _fills(draft: Draft, view: RawTableView) -> dict[str, list[str]]:
    """Raw column → the columns that it fills."""
    fills: dict[str, list[str]] = {}
    for name, sql in draft.filled.items():
        sql = re.sub(r"'[^']*'", "", sql)
        for raw in view.columns.values():
            if re.search(rf"(?<![\w\"]){re.escape(raw.sql)}(?![\w\"])", sql):
                fills.setdefault(raw.name, []).append(name)
    return fills


def _filled_lines(draft: Draft, contract: Contract) -> list[str]:
    lines: list[str] = []
    filled = [(name, column) for name, column in draft.columns.items() if column.sql]
    # What the entity cannot do without comes first.
    filled.sort(key=lambda item: item[0] not in contract.required_columns)
    for place, (name, column) in enumerate(filled):
        comma = "," if place < len(filled) - 1 else ""
        assumed = f"  -- guess ({_plain(column.why)})" if column.why else "  -- guess"
        lines += _select(f"{column.sql} as {name}{comma}", assumed)
    return lines


def _open_lines(draft: Draft, contract: Contract) -> list[str]:
    lines: list[str] = []
    open_ = [(n, c) for n, c in draft.columns.items() if not c.sql]
    required = [(n, c) for n, c in open_ if n in contract.required_columns]
    if required:
        lines.append("    -- Required, and not found: say what fills it and take it in.")
        lines += [_suggest(n, c.why, contract) for n, c in required]
    optional = [(n, c) for n, c in open_ if n not in contract.required_columns]
    if optional:
        lines.append("    -- Not found. Leave it out, or say what fills it and take it in.")
        lines += [_suggest(n, c.why, contract) for n, c in optional]
    return lines


def _select(sql: str, comment: str) -> list[str]:
    """A selected column and what is said of it, on as few lines as fit."""
    lines = [f"    {sql}"]
    if len(lines[0]) > _WIDTH and " when '" in sql:
        head, *cases = re.split(r" (?=when '|else |end(?: as)? )", sql)
        lines = [f"    {head}"]
        for case in cases:
            if len(lines[-1]) + len(case) + 1 > _WIDTH:
                lines.append(f"        {case}")
            else:
                lines[-1] += f" {case}"
    if len(lines[-1]) + len(comment) > _WIDTH:
        return [f"    {comment.strip()}", *lines]
    return [*lines[:-1], lines[-1] + comment]


def _suggest(name: str, why: str, contract: Contract) -> str:
    column = contract.columns[name]
    macro = {
        "VARCHAR": "as_text", "BOOLEAN": "as_boolean", "INTEGER": "as_integer", "BIGINT": "as_bigint", "DOUBLE": "as_double",
        "DATE": "as_date", "TIMESTAMP": "as_timestamp",
    }.get(column.type, "as_decimal")  # fmt: skip
    accepted = f" One of {', '.join(column.accepted)}." if column.accepted else ""
    return f"    -- , {macro}({OPEN}) as {name}  -- {_plain(why + '. ' if why else '')}{column.description}{accepted}"


# -- raw columns and their values --------------------------------------------------------------------------------


def _columns(view: RawTableView, fills: Mapping[str, Sequence[str]], pii: frozenset[str]) -> list[str]:
    """A table of a raw table's columns: type, how many different values, some of them, and what they fill."""
    rows = [("raw column", "type", "different", "fills", "for example")]
    for column in view.columns.values():
        filled = fills.get(column.name, ())
        rows.append(
            (_plain(column.name), column.described, f"{column.distinct:,}", ", ".join(filled) or "-",
             examples(column, view, personal=bool(pii & set(filled))))
        )  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [
        ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + "  " + row[4]).rstrip()
        for row in rows
    ]


def examples(column: Column, view: RawTableView, *, personal: bool = False) -> str:
    """Some values of a column, masked where they may be a person's."""
    values = [value for value, _ in column.values[:_EXAMPLES]]
    if column.words > _PROSE and not column.numeric and not column.dated:
        return "(texts are not shown)" if values else ""
    hide = personal or looks_personal(column, view)
    shown = [mask(v) if hide or EMAIL.search(v) else v for v in values]
    return ", ".join(_plain(v) for v in dict.fromkeys(shown))


def _plain(text: str) -> str:
    """A text that fits into a comment: on one line."""
    return " ".join(text.split())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
