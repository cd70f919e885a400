"""The part of a sample that is exports of known shop systems, put together as one source.

Files of one layout are one raw table, whatever they are called. Where several shops are there, each one's keys begin with
its system's name; where a payment provider stands beside a shop, the shop says what an order was paid with, and of the
provider only what the shop does not say is taken. The layouts themselves are in `systems`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce

from ecommerce_platform.scaffold.guess import Draft, DraftColumn, Guesses
from ecommerce_platform.scaffold.match import RawTableView
from ecommerce_platform.scaffold.sample import Sample, SampleTable, any_number, replace_files, tell_apart
from ecommerce_platform.scaffold.systems import Recognised, System, columns_named, recognise
from ecommerce_platform.silver.conversions import as_sql, parsed


@dataclass(frozen=True)
class Known:
    """What is known of a sample: raw table → layout, the mappings, and the expressions they share, by name."""

    tables: Mapping[str, Recognised] = field(default_factory=dict)
    drafts: tuple[Draft, ...] = ()
    expressions: Mapping[str, str] = field(default_factory=dict)
    #: The currency of most rows, and the raw table and column that say so.
    currency: tuple[str, str] | None = None

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems, each once."""
        return tuple({found.system.name: found.system for found in self.tables.values()}.values())


def recognise_tables(sample: Sample) -> tuple[Sample, dict[str, Recognised]]:
    """The sample with the files of each known layout as one raw table named after it, and what they are."""
    found: dict[tuple[str, str, str], list[tuple[SampleTable, Recognised]]] = {}
    tables = {}
    for table in sample.tables.values():
        if (recognised := _of_all_files(table)) is None:
            tables[table.name] = table
            continue
        key = (recognised.system.name, recognised.table, table.raw.encoding)
        found.setdefault(key, []).append((table, recognised))
    known: dict[str, Recognised] = {}
    for (system, layout, _), parts in found.items():
        name, number = f"{system}_{layout}", 1
        while name in tables:
            number += 1
            name = f"{system}_{layout}_{number}"
        tables[name] = _merged(name, [table for table, _ in parts])
        known[name] = reduce(Recognised.and_as, (recognised for _, recognised in parts))
    if known:
        tell_apart(list(tables.values()))
    return Sample(sample.directory, tables, sample.skipped), known


def _of_all_files(table: SampleTable) -> Recognised | None:
    """The layout that all files of a raw table have."""
    found = [recognise(file.shape.columns) for file in table.files]
    layouts = {(f.system.name, f.table) if f else None for f in found}
    if None in layouts or len(layouts) > 1:
        return None
    return reduce(Recognised.and_as, [f for f in found if f])


def _merged(name: str, tables: list[SampleTable]) -> SampleTable:
    names = sorted({file.file.name for table in tables for file in table.files})
    patterns = tuple(dict.fromkeys(map(any_number, names)))
    files = tuple(file for table in tables for file in table.files)
    notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    return SampleTable(name, replace_files(tables[0].raw, patterns), files, notes=notes)


def compose(source: str, recognised: Mapping[str, Recognised], views: Mapping[str, RawTableView]) -> Known:
    """The mappings of all recognised tables.

    Args:
        source: the source's name, part of the bronze tables' names.
        recognised: raw table → its layout.
        views: the raw tables with the values of their columns.
    """
    currency = _currency(recognised, views)
    systems = {found.system.name: found.system for found in recognised.values()}
    shops = [system for system in systems.values() if not system.beside_a_shop]
    prefix = len(shops or systems) > 1
    drafts: list[Draft] = []
    expressions: dict[str, str] = {}
    for raw, found in recognised.items():
        there = {other.table for other in recognised.values() if other.system is found.system}
        render = partial(found.rendered, prefix=prefix, tables=there, currency=currency[0] if currency else "")
        # An expression is written for the table whose columns it names.
        for name, sql in found.system.expressions.items():
            if name not in expressions or columns_named([sql]) <= found.names.keys():
                expressions[name] = render(sql)
        for (entity, table), template in found.system.templates.items():
            beside_a_shop = bool(shops) and found.system not in shops
            if (
                table == found.table
                and found.layout.unless.get(entity) not in there
                and (not beside_a_shop or entity in found.system.beside_a_shop)
            ):
                sql = render(template)
                sql = re.sub(rf"\bbronze\.{table}\b", f"bronze.{source}__{raw}", sql)
                drafts.append(_draft(entity, raw, sql, found, expressions))
    return Known(recognised, tuple(drafts), _used(expressions, drafts), currency)


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
    left = tuple(name for name in tables if not any(draft.table == name for draft in drafts))
    return replace(guesses, drafts=drafts, left=left)
