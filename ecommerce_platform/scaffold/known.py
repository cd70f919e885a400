"""The part of a sample that is exports of known shop systems, put together as one source.

Files of one layout are one raw table, whatever they are called. Where several shops are there, each one's keys begin with
its system's name; where a payment provider stands beside a shop, the shop says what an order was paid with, and of the
provider only what the shop does not say is taken. The layouts themselves are in `systems`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from types import MappingProxyType
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.source import RawTable
from ecommerce_platform.scaffold.guess import Draft, DraftColumn, Guesses
from ecommerce_platform.scaffold.joins import Join, reconcile
from ecommerce_platform.scaffold.match import RawTableView
from ecommerce_platform.scaffold.names import next_names
from ecommerce_platform.scaffold.sample import (
    Sample,
    SampleFile,
    SampleTable,
    replace_files,
    take_more,
    tell_apart,
)
from ecommerce_platform.scaffold.systems import Recognised, System, columns_named, recognise
from ecommerce_platform.silver.conversions import as_sql, on_the_clock_of, parsed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Known:
    """What is known of a sample: raw table → layout, the mappings, and the expressions they share, by name."""

    tables: Mapping[str, Recognised] = field(default_factory=dict)
    drafts: tuple[Draft, ...] = ()
    expressions: Mapping[str, str] = field(default_factory=dict)
    #: The currency of most rows, and the raw table and column that say so.
    currency: tuple[str, str] | None = None
    #: How reports of payment providers are joined to a shop.
    joins: tuple[Join, ...] = ()
    #: Raw table of such a report → the SELECT of its payments, which are not added.
    reports: Mapping[str, str] = field(default_factory=dict)

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems, each once."""
        return tuple({found.system.name: found.system for found in self.tables.values()}.values())


def recognise_tables(sample: Sample) -> tuple[Sample, dict[str, Recognised]]:
    """The sample with the files of each known layout as one raw table named after it, and what they are.

    Where documents are pages of records the files are a raw table of their own, and the layout's is made of it; so are the
    tables of arrays.
    """
    found: dict[tuple[str, str, str, str | None, str | None], list[tuple[SampleTable, Recognised]]] = {}
    tables = {}
    for table in sample.tables.values():
        if (of_files := _of_all_files(table)) is None:
            tables[table.name] = table
            continue
        recognised, pages = of_files
        key = (recognised.system.name, recognised.table, table.raw.encoding, pages, table.raw.sheet)
        found.setdefault(key, []).append((table, recognised))
    known: dict[str, Recognised] = {}
    made: dict[str, SampleTable] = {}
    names: dict[str, tuple[str, ...]] = {}
    for (system, layout, _, pages, _), parts in found.items():
        name = _free(f"{system}_{layout}", {**tables, **made})
        whole = reduce(Recognised.and_as, (recognised for _, recognised in parts))
        merged = _merged(name, [table for table, _ in parts])
        if pages is not None:
            merged.name, merged.container = _free(f"{name}_pages", {**tables, **made}), True
            made[name] = _exploded(name, merged, f'{merged.name}."{pages}"', {}, whole.layout.description)
        tables[merged.name] = merged
        if not merged.raw.sheet:
            names[merged.name] = whole.layout.names
        known[name] = whole
        for inner, explode, around in _arrays_of(whole.system, layout, name):
            of = Recognised(whole.system, inner, {})
            made[around] = _exploded(around, merged, explode, of.layout.parent, of.layout.description)
            known[around] = of
    if known:
        tell_apart(list(tables.values()))
        take_more(list(tables.values()), names)
    return Sample(sample.directory, {**tables, **made}, sample.skipped), known


def _arrays_of(system: System, layout: str, raw: str) -> list[tuple[str, str, str]]:
    """The tables of arrays in the records of a layout, at whatever depth: (its name, `explode`, name of its raw table)."""
    found = []
    for name, inner in system.tables.items():
        if inner.around == layout:
            made = raw.replace(f"{system.name}_{layout}", f"{system.name}_{name}", 1)
            found.append((name, f"{raw}.{(inner.explode or '').partition('.')[2]}", made))
            found += _arrays_of(system, name, made)
    return found


def _exploded(name: str, around: SampleTable, explode: str, parent: Mapping[str, str], description: str) -> SampleTable:
    raw = RawTable(explode=explode, parent=dict(parent), description=description)
    return SampleTable(name, raw, around.files)


def _free(name: str, taken: Collection[str]) -> str:
    """The name, with a number where it is taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _of_all_files(table: SampleTable) -> tuple[Recognised, str | None] | None:
    """The layout that all files of a raw table have, and the array that holds its records, if documents are pages of them.

    A page without records, as the last one may be, is of the layout of the others.
    """
    of_files = [(file, _of_file(file)) for file in table.files]
    found = [of for _, of in of_files if of]
    pages = found[0][1] if found else None
    if len({(of[0].system.name, of[0].table, of[1]) for of in found}) != 1:
        return None
    if any(of is None and (pages is None or file.inside or file.keys != (pages,)) for file, of in of_files):
        return None
    return reduce(Recognised.and_as, [of[0] for of in found]), pages


def _of_file(file: SampleFile) -> tuple[Recognised, str | None] | None:
    if itself := recognise(file.columns):
        return itself, None
    if file.inside and (within := recognise(file.inside[1])):
        return within, file.inside[0]
    return None


def _merged(name: str, tables: list[SampleTable]) -> SampleTable:
    names = sorted({file.file.name for table in tables for file in table.files})
    patterns = tuple(dict.fromkeys(next_names(name)[0] for name in names))
    if tables[0].raw.sheet:
        # All sheets of a workbook have its patterns.
        patterns = tuple(dict.fromkeys(pattern for table in tables for pattern in table.raw.files))
    files = tuple(file for table in tables for file in table.files)
    notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    return SampleTable(name, replace_files(tables[0].raw, patterns), files, notes=notes)


def settled(recognised: Mapping[str, Recognised], tables: Mapping[str, SampleTable]) -> dict[str, Recognised]:
    """What is recognised, with the columns that bronze found in JSON: a file's beginning shows the first records only."""
    return {
        raw: found.settled(tables[raw].columns if tables[raw].rows else ())
        if tables[raw].shape.format != "csv"
        else found
        for raw, found in recognised.items()
    }


def compose(
    source: str,
    recognised: Mapping[str, Recognised],
    views: Mapping[str, RawTableView],
    joins: Mapping[str, Join] = MappingProxyType({}),
) -> Known:
    """The mappings of all recognised tables.

    Args:
        source: the source's name, part of the bronze tables' names.
        recognised: raw table → its layout.
        views: the raw tables with the values of their columns.
        joins: raw table of a payment provider → how it is joined to a shop.
    """
    currency = _currency(recognised, views)
    systems = {found.system.name: found.system for found in recognised.values()}
    shops = [system for system in systems.values() if not system.beside_a_shop]
    prefix = len(shops or systems) > 1
    drafts: list[Draft] = []
    expressions: dict[str, str] = {}
    reports: dict[str, str] = {}
    for raw, found in recognised.items():
        if join := joins.get(raw):
            found = replace(found, order=join.order(recognised[join.shop].system.prefix if prefix else None))
        there = {other.table for other in recognised.values() if other.system is found.system}
        render = partial(found.rendered, prefix=prefix, tables=there)
        # An expression is written for the table whose columns it names.
        for name, sql in found.system.expressions.items():
            if name not in expressions or columns_named([sql]) <= found.names.keys():
                expressions[name] = render(sql)
        for entity, template in found.system.templates_of(found.table).items():
            if found.layout.unless.get(entity) in there:
                continue
            sql = re.sub(rf"\bbronze\.{found.table}\b", f"bronze.{source}__{raw}", render(template))
            if not shops or found.system in shops or entity in found.system.beside_a_shop:
                drafts.append(_draft(entity, raw, sql, found, expressions))
            elif entity == "payments":
                reports[raw] = _in_full(sql, expressions)
    return Known(
        recognised,
        tuple(drafts),
        _used(expressions, drafts),
        currency,
        tuple(joins.values()),
        MappingProxyType(reports),
    )


def reconciled(con: DuckDBPyConnection, known: Known) -> Known:
    """What is known, with the sums of each joined report held against those of its shop."""
    joins = []
    for join in known.joins:
        system = known.tables[join.shop].system
        shop = [
            d.text for d in known.drafts if d.entity == "payments" and known.tables[d.table].system is system and d.text
        ]
        report = [known.reports[join.report]] if join.report in known.reports else []
        selects = [[_in_utc(_in_full(sql, known.expressions)) for sql in part] for part in (report, shop)]
        joins.append(reconcile(con, join, *selects))
    return replace(known, joins=tuple(joins))


def _in_utc(sql: str) -> str:
    """A mapping as it runs alone: moments stay in UTC."""
    tree = parsed(sql)
    on_the_clock_of("UTC", tree)
    return as_sql(tree)


def _currency(recognised: Mapping[str, Recognised], views: Mapping[str, RawTableView]) -> tuple[str, str] | None:
    """The currency that most rows say theirs is."""
    counted: Counter[tuple[str, str]] = Counter()
    for raw, found in recognised.items():
        for name in found.names.get(found.layout.currency or "", ()):
            for value, rows in views[raw].columns[name].values:
                counted[value.strip().upper(), f"most rows of {raw}.{name}"] += rows
    return counted.most_common(1)[0][0] if counted else None


def _draft(entity: str, raw: str, sql: str, found: Recognised, expressions: Mapping[str, str]) -> Draft:
    """A mapping that is no guess; its columns are told in raw columns."""
    layout, tree = found.layout, parsed(_in_full(sql, expressions))
    columns = {selected.alias_or_name: DraftColumn(as_sql(selected.unalias())) for selected in tree.expressions}
    group = tree.args.get("group")
    said = [
        f"-- {found.system.title}: {layout.description}",
        *(f"-- {page.page} (read {page.date})" for page in found.system.read),
    ]
    return Draft(
        entity,
        raw,
        columns,
        group_by=tuple(map(as_sql, group.expressions)) if group else (),
        unit=layout.units.get(entity, ()),
        gathered=dict(layout.gathered.get(entity, {})),
        left_out=layout.left_out.get(entity),
        text="\n".join([*said, sql]),
    )


def _in_full(sql: str, expressions: Mapping[str, str]) -> str:
    """SQL with what names stand for in their place."""
    if not (named := [name for name in expressions if re.search(rf"\b{name}\b", sql)]):
        return sql
    for name in named:
        sql = re.sub(rf"\b{name}\b", lambda _, name=name: f"({expressions[name]})", sql)  # type: ignore[misc]
    return _in_full(sql, expressions)


def _used(expressions: Mapping[str, str], drafts: Iterable[Draft]) -> dict[str, str]:
    """The expressions that mappings name, and those that these are made of."""
    texts = [text for d in drafts for text in (d.text or "", *filter(None, d.gathered.values()))]
    used: set[str] = set()
    while True:
        named = {
            n for n in expressions if any(re.search(rf"\b{n}\b", t) for t in (*texts, *(expressions[u] for u in used)))
        }
        if named == used:
            return {name: sql for name, sql in expressions.items() if name in used}
        used = named


def beside(known: Known, guesses: Guesses, tables: Mapping[str, SampleTable]) -> Guesses:
    """What is known and, for entities that no known system fills, what was guessed of the other tables."""
    if not known.tables:
        return guesses
    filled = {draft.entity for draft in known.drafts}
    drafts = (*known.drafts, *(draft for draft in guesses.drafts if draft.entity not in filled))
    read = {draft.table for draft in drafts}
    left = tuple(name for name, table in tables.items() if name not in read and not table.container)
    return replace(guesses, drafts=drafts, left=left)
