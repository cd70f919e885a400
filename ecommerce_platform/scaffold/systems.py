"""Shop systems whose exports are known: their layouts, by which columns each is recognised, and the mappings as they are
written for the columns of a given export.

What a vendor's export means stands in `systems/<system>/`: `system.yml` and one SELECT per entity and raw table, as in a
source folder. Nothing about a vendor is said here. Putting several into one source is in `known`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from ecommerce_platform.contracts.contract import Strict
from ecommerce_platform.contracts.yaml_file import read_model
from ecommerce_platform.scaffold.profile import sql_name

SYSTEMS = Path(__file__).resolve().parent.parent / "systems"
#: A raw column in a template: what stands in double quotes, and in no comment and no text.
_COLUMN = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"([^\"]+)\"")
_WITH = re.compile(r"\{with:(\w+)\}")


class Page(Strict):
    """What was read about a layout: the page, the day, and what it told."""

    page: str = Field(pattern=r"^https://")
    date: date
    says: str = Field(min_length=10)


class Asks(Strict):
    """What only the user can say, in their words; `nothing; …` where the export tells."""

    currency: str
    time_zone: str
    tax: str


class Layout(Strict):
    """One table of an export.

    `required` columns tell it from all others; `optional` ones are read where they are there. The other fields are those
    of source.yml, by entity. An entity under `unless` is left to another table of the system where that is there, too.
    A table with `explode` is made of arrays in the records of another one, and is there where that is.
    """

    description: str = Field(min_length=10)
    #: What the system calls its files, as patterns.
    names: tuple[str, ...] = ()
    delivery: Literal["delta", "full"] = "delta"
    required: tuple[str, ...] = Field(min_length=1)
    optional: tuple[str, ...] = ()
    explode: str | None = None
    parent: dict[str, str] = {}
    #: The column that says each row's currency.
    currency: str | None = None
    #: Of a shop's orders: the column that its orders are known by.
    order: str | None = None
    #: Of a payment provider's report: columns that may name the shop's orders, besides those of metadata.
    names_orders: tuple[str, ...] | None = None
    #: Column → other headers of it: of older exports, or in other languages.
    other_names: dict[str, tuple[str, ...]] = {}
    units: dict[str, tuple[str, ...]] = {}
    gathered: dict[str, dict[str, str | None]] = {}
    left_out: dict[str, str] = {}
    unless: dict[str, str] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that a mapping may read."""
        return (*self.required, *self.optional, *self.parent)

    @property
    def around(self) -> str | None:
        """The table whose records hold it."""
        return self.explode.partition(".")[0] if self.explode else None

    def read_as(self, header: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
        """Column of the layout → how this header writes it; None where a required one is not there."""
        there = {_plain(name): name for name in reversed(header)}
        found = {}
        for column in self.columns:
            names = dict.fromkeys(map(_plain, (column, *self.other_names.get(column, ()))))
            if written := tuple(there[name] for name in names if name in there):
                found[column] = written
        return found if self.explode or all(column in found for column in self.required) else None


class System(Strict):
    """What `system.yml` says of a shop system."""

    path: Path
    title: str
    #: What its keys begin with where a source has several systems.
    prefix: str = Field(pattern=r"^[a-z][a-z0-9]*$")
    asks: Asks
    read: tuple[Page, ...] = Field(min_length=1)
    #: What of the layout could not be read, and is therefore left out.
    not_read: tuple[str, ...] = ()
    #: Where a shop is there, too, only these entities are taken from it: what the shop says itself is not added twice.
    beside_a_shop: tuple[str, ...] = ()
    expressions: dict[str, str] = {}
    tables: dict[str, Layout] = Field(min_length=1)

    @property
    def files(self) -> dict[str, Layout]:
        """The tables that come as files: all but those made of arrays."""
        return {name: layout for name, layout in self.tables.items() if not layout.explode}

    @property
    def left_to_the_user(self) -> tuple[str, ...]:
        """What no export of it says: the shop's zone always, the currency and whether prices include tax where that is so."""
        told = any(layout.currency for layout in self.tables.values()) or self.asks.currency.startswith("nothing")
        tax = not self.asks.tax.startswith("nothing")
        return ("time zone", *([] if told else ["currency"]), *(["tax"] if tax else []))

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.parent.name

    @property
    def templates(self) -> dict[tuple[str, str], str]:
        """(entity, table) → the SELECT that fills the entity from the table."""
        found = {}
        for path in sorted(self.path.parent.glob("*.sql")):
            entity, _, table = path.stem.partition(".")
            found[entity, table] = path.read_text(encoding="utf-8")
        return found

    def templates_of(self, table: str) -> dict[str, str]:
        """Entity → the SELECT that fills it from a table."""
        return {entity: sql for (entity, of), sql in self.templates.items() if of == table}


@dataclass(frozen=True)
class Recognised:
    """A table of a known system: which, and how its columns are written in the export (absent ones are not in `names`)."""

    system: System
    table: str
    names: Mapping[str, tuple[str, ...]]
    #: Of a report that is joined to a shop: SQL of the order, as the shop's keys are written.
    order: str | None = None

    @property
    def layout(self) -> Layout:
        """The layout of the table."""
        return self.system.tables[self.table]

    def rendered(self, sql: str, *, prefix: bool, tables: Collection[str]) -> str:
        """SQL of a template for this export: its columns as they are written there, `null` for those that are not.

        Args:
            sql: with columns in double quotes, `{prefix}` before keys, `{with:<table>}`: whether that is there, too, and
                `{order}`: the order of a shop that a report is joined to.
            prefix: whether keys begin with the system's name.
            tables: the tables of the system that are there.
        """
        sql = sql.replace("{prefix}", f"'{self.system.prefix}-' || " if prefix else "")
        sql = _WITH.sub(lambda found: str(found[1] in tables).lower(), sql)
        sql = _COLUMN.sub(lambda found: self._written(found[1]) if found[1] else found[0], sql)
        return sql.replace("{order}", self.order or "null")

    def _written(self, column: str) -> str:
        written = [sql_name(name) for name in self.names.get(column, ())]
        return f"coalesce({', '.join(written)})" if len(written) > 1 else "".join(written) or "null"

    def settled(self, columns: Sequence[str]) -> Recognised:
        """The same with the columns that all records of the sample have; those of arrays that were always empty as documented."""
        found = self.layout.read_as(columns) or self.names
        return replace(self, names=found or {column: (column,) for column in self.layout.columns})

    def and_as(self, other: Recognised) -> Recognised:
        """The same table, whose files write some columns in several ways."""
        names = {
            column: tuple(
                {name.casefold(): name for name in (*other.names.get(column, ()), *self.names.get(column, ()))}.values()
            )
            for column in {**self.names, **other.names}
        }
        return replace(self, names=names)


@cache
def known_systems() -> dict[str, System]:
    """All systems by name.

    Raises:
        DefinitionError: with file and line; a system.yml does not say what it has to.
    """
    found = (read_model(path, System, path=path) for path in sorted(SYSTEMS.glob("*/system.yml")))
    return {system.name: system for system in found}


def recognise(header: Sequence[str]) -> Recognised | None:
    """The table of a system that has this header, whatever the order of columns and whatever else there is.

    Of several that fit, the one with most required columns is meant.
    """
    fits = [
        Recognised(system, table, names)
        for system in known_systems().values()
        for table, layout in system.files.items()
        if (names := layout.read_as(header)) is not None
    ]
    return max(fits, key=lambda found: (len(found.layout.required), len(found.names)), default=None)


def columns_named(sql: Iterable[str]) -> set[str]:
    """The raw columns that templates name."""
    return {name for text in sql for name in _COLUMN.findall(text) if name}


def _plain(header: str) -> str:
    """A header as it is compared: without case, marks of byte order and blanks around it."""
    return header.strip().lstrip("\ufeff").strip('"').casefold()


# -- the page about them -----------------------------------------------------------------------------------------

_ENTITIES = ("orders", "order_items", "payments", "customers", "products", "returns", "fees", "web_events")
_INTRODUCTION = """# Shop systems that are known

Written by `ecommerce docs` from `ecommerce_platform/systems`; `ecommerce_platform_tests/scaffold/systems` holds every cell.

`ecommerce new-source NAME --from DIR` recognises these exports by their columns, whatever the files are called, in whatever order and with
whatever further columns. It writes complete mappings instead of guesses; what is left is what stands under “you say”. Files of one
layout are one raw table, which later files are taken into that the system itself names so, or that are named as those of the sample with
another date or number; never could two tables take one file. Exports of several shops in one folder become one source, whose keys begin with the system's name; of a
payment provider beside a shop only what the shop does not say itself is taken, and never its payments once more.

A cell names the tables of the export that fill it. Money counts as [What counts as money](money.md) says. Rows keep their currency:
those of another one than the shop's count by the rates you deliver (`exchange_rates`), and in no figure of money without.
"""


_UNREAD = """
## Not known

Looked for on 2026-11-30, and left out, because no page of the vendor's that lists the columns could be read; `new-source` drafts
these as it drafts any file, and what it drafts is a guess:

- Etsy: sold orders and sold order items (CSV). Only other people's code names their columns.
- eBay: the orders report of the Seller Hub (CSV). Of the order report of the Merchant Integration Platform the first columns alone could be
  read, up to the buyer's address, and nothing about its items.
- Square: transactions and items (CSV). The glossary of the reports' words could be read, not the columns of the files.
- Google Ads and Meta: campaign exports (CSV), whose columns are chosen for each report.
"""


def systems_page() -> str:
    """The page that lists the systems: what of each export is taken, what the user says, what was read and what was not."""
    systems = known_systems().values()
    lines = [
        _INTRODUCTION,
        "| system | recognised | orders | lines | payments | customers | products | refunds | fees | visits | you say |",
    ]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for system in systems:
        filled = [", ".join(table for e, table in system.templates if e == entity) or "–" for entity in _ENTITIES]
        cells = [system.title, ", ".join(system.files), *filled, ", ".join(system.left_to_the_user)]
        lines.append(f"| {' | '.join(cells)} |")
    for system in systems:
        lines += ["", f"## {system.title}", ""]
        lines += [f"- `{name}`: {layout.description}{_called(layout)}" for name, layout in system.files.items()]
        asks = system.asks
        lines += ["", f"You say: currency: {asks.currency}. Time zone: {asks.time_zone}. Tax: {asks.tax}.", ""]
        lines += [f"Read on {page.date}: <{page.page}>: {page.says}." for page in system.read]
        lines += [f"\nNot read, and left out: {what}." for what in system.not_read]
    return "\n".join(lines) + "\n" + _UNREAD


def _called(layout: Layout) -> str:
    """What the system calls files of a layout."""
    return f" Files: {', '.join(f'`{name}`' for name in layout.names)}." if layout.names else ""
