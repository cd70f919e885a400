"""Which delivered records are a person's, and which of their values go.

A record is the person's when a mapping makes one of the person's customer or order ids of it, current or not, rejected or
not. Of its columns those stay that fill nothing but non-personal canonical columns, or a key; whatever no mapping names
goes, for nobody has said that it is harmless. Records that name nobody are held against the person's known values.
Works on any database with bronze tables; how files are changed is in `rewrite`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.contract import Column
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.explode import PARENT_ROW, POSITION
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.errors import InputError
from ecommerce_platform.forgetting.documents import (
    MARKER,
    Inner,
    Node,
    Pattern,
    Place,
    Rules,
    contradictions,
    paths,
    tree_columns,
)
from ecommerce_platform.forgetting.ledger import PSEUDONYM, Journal
from ecommerce_platform.forgetting.rewrite import Edits
from ecommerce_platform.ingestion.readers import json_pointer
from ecommerce_platform.ingestion.rejects import RAW_CHARACTERS
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse.lookup import column_types, table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CUSTOMER, ORDER = "silver.customers.customer_id", "silver.orders.order_id"
_IDS = {CUSTOMER: "_forget_customers", ORDER: "_forget_orders"}
_OURS = ("_load_date", "_source_file", "_source_row", "_row_hash", PARENT_ROW, POSITION)
#: Canonical columns whose values tell a person apart even where they stand alone.
_TELLING = ("email", "phone", "personal_number")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
#: Shorter keys and values are found in any text by chance.
_SHORTEST_KEY, _SHORTEST_VALUE = 6, 6

Where = tuple[date, str]
#: Raw table → what tells in a line of it that an id of the person is meant: words that must all be there.
Tokens = dict[str, set[tuple[str, ...]]]
#: Gives lines of a file (raw table, day, name) as they stand in it.
Whole = Callable[[tuple[str, date, str], Collection[int]], Mapping[int, str]]


def is_personal(column: Column) -> bool:
    """Whether a canonical column's value goes when its person is forgotten."""
    return column.pii or column.erase


@dataclass(frozen=True)
class RawPlan:
    """What the mappings say about one raw table. Columns are in lower case.

    `owners`: what a record's ids are (CUSTOMER or ORDER) and the SQL that makes them of it. `kept`: columns that stay.
    `keys`: those of them that ids are made of. `markers`: conditions under which a value, told by its way, is replaced by a
    word rather than by nothing. `personal`: the personal columns of `customers`, as SQL text; empty for a table that fills
    no customers. `objects`: columns of which nobody can say what in them stays. `place`: where its records stand in what is
    delivered; `tree`: what stays of the documents there, the same for all raw tables made of them.
    """

    raw_table: str
    bronze: str
    owners: tuple[tuple[str, str], ...] = ()
    orders: str | None = None
    kept: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    id_columns: frozenset[str] = frozenset()
    markers: Mapping[Pattern, tuple[str, ...]] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict)
    objects: frozenset[str] = frozenset()
    place: Place | None = None
    tree: Node = field(default_factory=Node)

    @property
    def root(self) -> str:
        """The raw table whose files hold its records."""
        return self.place.root if self.place else self.raw_table

    @property
    def depth(self) -> int:
        """How many arrays a record stands in; 0 where it is one of a file's."""
        return self.place.depth if self.place else 0


@dataclass(frozen=True)
class Row:
    """A record of the person: where it stands, its values (lower-case column → text), values that need the marker.

    `only` limits what goes to some columns: the record belongs to nobody and merely holds a value of the person. Of a
    table made from arrays `number` is the record's there, `parent` the number of the one in the file and `position` its
    place in the array; `mine` is false for an element of the person's document that names somebody else.
    """

    raw_table: str
    day: date
    file: str
    number: int
    values: Mapping[str, str]
    marked: frozenset[tuple[Pattern, str]] = frozenset()
    only: frozenset[str] | None = None
    parent: int | None = None
    position: int | None = None
    mine: bool = True


def plan_tables(source: Source, compiled: Mapping[str, Sequence[CompiledMapping]]) -> dict[str, RawPlan]:
    """What is to be known about every raw table of a source."""
    families: dict[str, list[str]] = {}
    for raw in source.file.tables:
        families.setdefault(source.file.root(raw), []).append(raw)
    all_mappings = [m for mappings in compiled.values() for m in mappings]
    found: dict[str, RawPlan] = {}
    for members in families.values():
        places = {raw: Place(source, raw) for raw in members}
        found |= _plans(source, places, [m for m in all_mappings if m.raw_table in places])
    return {raw: found[raw] for raw in source.file.tables}


@dataclass
class _Uses:
    """Ways into the documents of a delivered table, by what is made of the values there."""

    personal: set[Pattern] = field(default_factory=set)
    other: set[Pattern] = field(default_factory=set)
    shapes: set[Pattern] = field(default_factory=set)
    arrays: set[Pattern] = field(default_factory=set)
    opaque: set[Pattern] = field(default_factory=set)
    keys: set[Pattern] = field(default_factory=set)
    ids: set[Pattern] = field(default_factory=set)

    @property
    def kept(self) -> set[Pattern]:
        return (self.other - self.personal) | self.keys

    def tree(self, places: Iterable[Place]) -> Node:
        """What stays of the documents."""
        tree, kept = Node(), self.kept
        for way in self.personal | self.other | self.keys:
            tree.at(way).kept = way in kept
        for way in self.keys | self.ids:
            node = tree.at(way)
            node.key, node.own = way in self.keys, way in self.ids
        for place in places:
            place.mark(tree)
        for way in self.shapes - kept - self.personal:
            tree.at(way).shape = True
        for way in self.arrays:
            tree.at(way).array = True
        return tree


def _plans(source: Source, places: Mapping[str, Place], mappings: Sequence[CompiledMapping]) -> dict[str, RawPlan]:
    """The plans of a raw table of files and of those made from arrays in it."""
    uses = _Uses()
    for mapping in mappings:
        _use(uses, mapping, places[mapping.raw_table])
    tree = uses.tree(places.values())
    owned = any(_owners(m) for m in mappings)
    objects = frozenset(contradictions(tree, uses.opaque)) if owned else frozenset()
    return {
        raw: _plan(f"bronze.{quote(source.bronze_table(raw))}", place, [m for m in mappings if m.raw_table == raw], uses, tree,
                   objects if not place.depth else frozenset())
        for raw, place in places.items()
    }  # fmt: skip


def _use(uses: _Uses, mapping: CompiledMapping, place: Place) -> None:
    """Takes in what a mapping reads."""

    def read(sql: str, *into: set[Pattern]) -> None:
        for path, use in paths(sql, _OURS).items():
            if way := place.way(path):
                if use in ("shape", "array"):
                    (uses.shapes if use == "shape" else uses.arrays).add(way)
                    continue
                if use == "opaque":
                    uses.opaque.add(way)
                for ways in into:
                    ways.add(way)

    for name, expression in mapping.expressions.items():
        column = mapping.contract.columns[name]
        into = [uses.personal if is_personal(column) else uses.other]
        if name in mapping.contract.key or column.references:
            into.append(uses.keys)
        if _target(mapping, name) and _of_one_row(expression):
            into.append(uses.ids)
        read(expression, *into)
    for part in (mapping.where, mapping.qualify, *mapping.group_by, *mapping.gathered.values()):
        if part:
            read(part, uses.other)


def _owners(mapping: CompiledMapping) -> dict[str, tuple[str, str]]:
    """Canonical columns that are ids → of what, and the SQL that makes them of one record."""
    return {
        name: (target, single)
        for name, expression in mapping.expressions.items()
        if (target := _target(mapping, name)) and (single := _of_one_row(expression))
    }


def _plan(
    bronze: str, place: Place, mappings: Sequence[CompiledMapping], uses: _Uses, tree: Node, objects: frozenset[str]
) -> RawPlan:
    owners: list[tuple[str, str]] = []
    values: dict[str, str] = {}
    orders = None
    for mapping in mappings:
        for name, (target, single) in _owners(mapping).items():
            owners.append((target, single))
            if f"{mapping.contract.table}.{name}" == ORDER:
                orders = single
        if mapping.contract.table == "silver.customers":
            for name, expression in mapping.expressions.items():
                if mapping.contract.columns[name].pii and (one := _of_one_row(expression)):
                    values[name] = f"cast({one} as varchar)"
        _joined(values, "full_name", ("given_name", "family_name"))
        _joined(values, "street", ("street", "house_number"))
    columns = {c.lower() for m in mappings for c in m.raw_columns}

    def named(ways: Collection[Pattern]) -> frozenset[str]:
        if not place.depth:  # also what only tables made of its arrays read, as a value of `parent`
            return frozenset(str(way[0]) for way in ways if len(way) == 1)
        return frozenset(c for c in columns if place.way((c,)) in ways)

    return RawPlan(
        place.raw_table, bronze, tuple(dict.fromkeys(owners)), orders, named(uses.kept | (uses.shapes - uses.personal)),
        named(uses.keys),
        named(uses.ids), _markers(mappings, place, uses.kept), values, objects, place, tree,
    )  # fmt: skip


def _joined(values: dict[str, str], whole: str, parts: Sequence[str]) -> None:
    """Makes the parts of a name or an address one value: a namesake agrees in one thing, not in three."""
    given = [values.pop(part) for part in parts if part in values]
    if given and whole not in values:
        values[whole] = f"nullif(concat_ws(' ', {', '.join(given)}), '')"


def refuse_objects(plans: Iterable[RawPlan]) -> None:
    """Sees to it that no column stays of which nobody knows what else is in it.

    Raises:
        InputError: a raw table of customers or orders has such a column.
    """
    if found := sorted((plan.raw_table, column) for plan in plans for column in plan.objects):
        raise InputError(
            "mappings read an object as a whole, or not by plain paths, so the whole object would stay, whatever else of the "
            "person it holds",
            where=", ".join(f"column {column!r} of raw table {raw!r}" for raw, column in found),
            fix="read what is needed of it by path (`column->>'$.id'`), keys and numbers only",
        )


def _markers(
    mappings: Sequence[CompiledMapping], place: Place, kept: Collection[Pattern]
) -> dict[Pattern, tuple[str, ...]]:
    """Way to a value that goes, from its record → when the record would become another one without it."""
    found: dict[Pattern, list[str]] = {}

    def going(sql: str) -> Iterator[Pattern]:
        for path in paths(sql, _OURS):
            way = place.way(path)
            if way and way not in kept and all(isinstance(step, str) for step in path):
                yield path

    for mapping in mappings:
        # What does not convert or breaks a rule rejects its record, which is to stay rejected.
        for conversion in mapping.conversions:
            for path in going(conversion.argument):
                found.setdefault(path, []).append(conversion.failed)
        for name, code, _, condition in mapping.row_rules():
            for path in going(mapping.expressions[name]) if name in mapping.expressions else ():
                found.setdefault(path, []).append("true" if code == "missing_required" else f"({condition}) is true")
    return {path: tuple(dict.fromkeys(conditions)) for path, conditions in found.items()}


def _target(mapping: CompiledMapping, name: str) -> str | None:
    column = f"{mapping.contract.table}.{name}"
    reference = mapping.contract.columns[name].references
    return next((t for t in (CUSTOMER, ORDER) if t in (column, reference)), None)


def _of_one_row(expression: str) -> str | None:
    """What an expression is for a single record: gathered values are that record's. None where that has no meaning."""
    import sqlglot
    from sqlglot import exp

    def single(node: Any) -> Any:
        return (
            node.this if isinstance(node, (exp.Max, exp.Min, exp.AnyValue, exp.First, exp.ArgMax, exp.ArgMin)) else node
        )

    tree = sqlglot.parse_one(expression, dialect="duckdb").transform(single)
    if tree.find(exp.AggFunc, exp.Window):
        return None
    return tree.sql(dialect="duckdb", normalize_functions=False)


# -- finding -----------------------------------------------------------------------------------------------------


class Search:
    """Looking for a person in the bronze tables of one database.

    Args:
        con: the database, with the mappings' macros.
        plans: of all raw tables.
        journal: whom to look for; what is found out about the person is added to it.
        files: raw table → the files that are meant, as (day, name).
    """

    def __init__(
        self,
        con: DuckDBPyConnection,
        plans: Mapping[str, RawPlan],
        journal: Journal,
        files: Mapping[str, Collection[Where]],
    ) -> None:
        self.con, self.journal = con, journal
        self.files = {raw: set(files[plan.root]) for raw, plan in plans.items() if files.get(plan.root)}
        self.plans = {raw: plans[raw] for raw in self.files if self._there(plans[raw])}

    def _there(self, plan: RawPlan) -> bool:
        return table_exists(self.con, "bronze", plan.bronze.removeprefix("bronze.").strip('"'))

    def learn(self, taken: Callable[[set[str]], set[str]]) -> None:
        """Adds the person's orders and personal values to the journal.

        Args:
            taken: tells which of some order ids are another person's by now.
        """
        self._tell_ids()
        orders: set[str] = set()
        for plan in self.plans.values():
            mine = self._mine(plan, (CUSTOMER,))
            if mine and plan.orders:
                rows = self.con.execute(f"select distinct {plan.orders} from {plan.bronze} where {mine}").fetchall()
                orders |= {order for (order,) in rows if order is not None}
            if mine and plan.personal:
                for name, expression in plan.personal.items():
                    rows = self.con.execute(f"select distinct {expression} from {plan.bronze} where {mine}").fetchall()
                    self._know(name, (value for (value,) in rows))
        orders -= self.journal.order_ids
        self.journal.order_ids |= orders - taken(orders)

    def _know(self, name: str, values: Iterable[Any]) -> None:
        known = {str(v).strip().lower() for v in values if v is not None and str(v).strip()} - {MARKER}
        known = {value for value in known if not value.startswith(PSEUDONYM)}
        if known:
            self.journal.values.setdefault(name, set()).update(known)

    def rows(self) -> list[Row]:
        """The person's records, and those of nobody that hold the person's values."""
        self._tell_ids()
        found: dict[tuple[str, date, str, int], Row] = {}
        owned = {plan.root for plan in self.plans.values() if plan.owners}
        for plan in sorted(self.plans.values(), key=lambda plan: plan.depth):
            if plan.depth:
                found |= self._elements(plan, found)
                continue
            if mine := self._mine(plan, (CUSTOMER, ORDER)):
                found |= self._read(plan, mine)
            if alike := self._alike(plan):
                found |= {k: row for k, row in self._read(plan, alike).items() if k not in found}
            if not plan.owners:
                found |= self._with_values(plan, nobodys=plan.root not in owned)
        return [found[key] for key in sorted(found)]

    def _elements(
        self, plan: RawPlan, found: Mapping[tuple[str, date, str, int], Row]
    ) -> dict[tuple[str, date, str, int], Row]:
        """Elements of arrays that are the person's, or stand in a record of the person."""
        records = sorted(
            {(r.day, r.file, r.number) for r in found.values() if r.raw_table == plan.root and r.only is None}
        )
        self.con.execute(
            "create or replace temp table _forget_around as select unnest($days::date[]) as day, "
            "unnest($files::varchar[]) as file, unnest($numbers::bigint[]) as number",
            {name: [r[n] for r in records] for n, name in enumerate(("days", "files", "numbers"))},
        )
        inside = f"(_load_date, _source_file, {PARENT_ROW}) in (select (day, file, number) from _forget_around)"
        own = " or ".join(filter(None, (self._mine(plan, (CUSTOMER, ORDER)), self._alike(plan)))) or "false"
        named = [f"({e})" for t, e in plan.owners if t == CUSTOMER]
        others = f"coalesce({', '.join(named)}) is not null and not ({own})" if named else "false"
        elements = self._read(plan, f"{inside} or {own}", f"({others}) is true")
        if plan.depth > 1:
            self._place_is_known(plan, elements.values(), found.values())
        return elements

    def _place_is_known(self, plan: RawPlan, rows: Iterable[Row], found: Iterable[Row]) -> None:
        """Sees to it that something around each element, whose place in the document is known, is the person's.

        Raises:
            InputError: an element of the person stands in somebody else's, or in nobody's.
        """
        outer = [other for raw, other in self.plans.items() if plan.place and plan.place.within(raw)]
        named = {other.raw_table for other in outer}
        around = {
            (r.day, r.file, r.parent or r.number) for r in found if r.raw_table in named and r.only is None and r.mine
        }
        lacking = [row for row in rows if (row.day, row.file, row.parent) not in around]
        for other in outer if lacking else ():
            # Whose key is an address, and was forgotten before, is named by its stand-in.
            row_number = PARENT_ROW if other.depth else "_source_row"
            for expression in [e for t, e in other.owners if t == CUSTOMER]:
                around |= set(
                    self.con.execute(
                        f"select distinct _load_date, _source_file, {row_number} from {other.bronze} "
                        f"where starts_with({expression}, '{PSEUDONYM}')"
                    ).fetchall()
                )
        if row := next((row for row in lacking if (row.day, row.file, row.parent) not in around), None):
            raise InputError(
                f"an element of the person stands in an array of arrays ({plan.raw_table}) of a record that is not the "
                "person's, and nothing tells in which of them",
                where=f"{row.day}/{row.file}, record {row.parent}",
                fix="declare the outer array as a raw table, too, and map an order or a customer of its elements",
            )

    def lines(self, ambiguous: Collection[str], tokens: Tokens, whole: Whole) -> dict[tuple[str, date, str], set[int]]:
        """Lines that could not be parsed and speak of the person: (raw table, day, file) → lines.

        Args:
            ambiguous: names that other people have, too.
            tokens: what `tokens` found, here and in other databases.
            whole: reads lines of a file from the file, for the loader keeps the beginning of long ones only.
        """
        if not table_exists(self.con, "bronze", "rejects"):
            return {}
        # An id alone says nothing of a person; beside columns that go it says whose they are.
        saying_whose = {raw for raw, plan in self.plans.items() if not plan.depth and self._columns_that_go(plan)}
        found: dict[tuple[str, date, str], set[int]] = {}
        told = {raw: _Told(tokens.get(raw, ())) for raw in saying_whose}
        rows = self.con.execute(
            "select raw_table, _load_date, _source_file, line, raw_text from bronze.rejects "
            "where line is not null and raw_text is not null"
        ).fetchall()
        long: dict[tuple[str, date, str], set[int]] = {}
        for raw, day, file, line, text in rows:
            if (day, file) not in self.files.get(raw, ()) or self.plans[raw].depth:
                continue
            if self._speaks(text, told.get(raw), ambiguous):
                found.setdefault((raw, day, file), set()).add(line)
            elif len(text) >= RAW_CHARACTERS:
                long.setdefault((raw, day, file), set()).add(line)
        for key, numbers in sorted(long.items()):
            for line, text in whole(key, numbers).items():
                if self._speaks(text, told.get(key[0]), ambiguous):
                    found.setdefault(key, set()).add(line)
        return found

    def broken_elements(self, ambiguous: Collection[str], tokens: Tokens) -> set[tuple[str, date, str, int]]:
        """Records (raw table, day, file, number) with an element that is no record and speaks of the person."""
        told = {raw: _Told(tokens.get(plan.root, ())) for raw, plan in self.plans.items() if plan.depth}
        if not told or not table_exists(self.con, "bronze", "rejects"):
            return set()
        rows = self.con.execute(
            "select raw_table, _load_date, _source_file, line, raw_text from bronze.rejects "
            "where raw_table in (select unnest($raw::varchar[])) and raw_text is not null",
            {"raw": sorted(told)},
        ).fetchall()
        return {
            (self.plans[raw].root, day, file, line)
            for raw, day, file, line, text in rows
            if (day, file) in self.files[raw] and self._speaks(text, told[raw], ambiguous)
        }

    def _columns_that_go(self, plan: RawPlan) -> bool:
        return bool({n.lower() for n in column_types(self.con, plan.bronze)} - plan.kept - set(_OURS))

    def _speaks(self, text: str, told: _Told | None, ambiguous: Collection[str]) -> bool:
        values, text = self.journal.values, text.lower()
        if any(len(v) >= _SHORTEST_VALUE and v in text for name in _TELLING for v in values.get(name, ())):
            return True
        if told is not None and told.by(text):
            return True
        return any(v in text and v not in ambiguous for v in values.get("full_name", ()) if len(v) >= _SHORTEST_VALUE)

    def tokens(self) -> Tokens:
        """The person's ids as delivered, where they are long enough not to be found by chance.

        A column tells whose a line is where an id is made of it alone; of several columns one can be the same for
        everybody (the system that a number is from), so that only all of them together tell.
        """
        self._tell_ids()
        found: Tokens = {}
        for plan in self.plans.values():
            told = found.setdefault(plan.root, set())
            mine = self._mine(plan, (CUSTOMER, ORDER))
            for target, expression, ways in _ways(plan):
                ids = f"(select id from {_IDS[target]})"
                parts = [_value_sql(str(way[0]), way) for way in ways]
                rows = self.con.execute(
                    f"select distinct {', '.join(parts)} from {plan.bronze} where {mine} and ({expression}) in {ids}"
                ).fetchall()
                shared = [self._shared(plan, target, expression, part) for part in parts] if len(parts) > 1 else [()]
                told |= {_words(row, shared) for row in rows}
                if [len(way) for way in ways] == [1]:  # of a person whose only record here cannot be parsed
                    rows = self.con.execute(
                        f"select _id from (select id as {parts[0]}, id as _id from {_IDS[target]}) where ({expression}) = _id"
                    ).fetchall()
                    told |= {_words(row, [()]) for row in rows}
            told.discard(())
        return found

    def _shared(self, plan: RawPlan, target: str, expression: str, part: str) -> set[str]:
        """Which of a part's values in the person's ids are in other people's ids, too."""
        mine = f"({expression}) in (select id from {_IDS[target]})"
        rows = self.con.execute(
            f"select distinct {part} from {plan.bronze} where ({expression}) is not null and not {mine} "
            f"and {part} in (select {part} from {plan.bronze} where {mine})"
        ).fetchall()
        return {value for (value,) in rows}

    def _tell_ids(self) -> None:
        for name, ids in (("customers", self.journal.customer_ids), ("orders", self.journal.order_ids)):
            self.con.execute(
                f"create or replace temp table _forget_{name} as select unnest($ids::varchar[]) as id",
                {"ids": sorted(ids)},
            )

    def _mine(self, plan: RawPlan, targets: Collection[str]) -> str:
        named = [f"({e})" for t, e in plan.owners if t == CUSTOMER]
        conditions = []
        for target, expression in plan.owners:
            if target in targets:
                condition = f"({expression}) in (select id from {_IDS[target]})"
                # Where a customer is named, that is whose record it is, whatever order it belongs to.
                if target == ORDER and named:
                    condition = f"(coalesce({', '.join(named)}) is null and {condition})"
                conditions.append(condition)
        return f"({' or '.join(conditions)})" if conditions else ""

    def _alike(self, plan: RawPlan) -> str:
        """Records of customers whose id is missing or unreadable, and that agree with the person more than not."""
        if not plan.personal:
            return ""
        owner = " and ".join(f"({expression}) is null" for _, expression in plan.owners)
        agree, differ = [], []
        for name, expression in plan.personal.items():
            known = ", ".join(_text(v) for v in sorted(self.journal.values.get(name, ())))
            if known:
                value = f"lower(trim({expression}))"
                agree.append(f"coalesce(cast({value} in ({known}) as integer), 0)")
                differ.append(f"coalesce(cast({value} not in ({known}) as integer), 0)")
        return f"({owner} and ({' + '.join(agree)}) > ({' + '.join(differ)}))" if agree else ""

    def _with_values(self, plan: RawPlan, *, nobodys: bool) -> dict[tuple[str, date, str, int], Row]:
        """Records of tables that belong to nobody, with an e-mail address of the person in some column.

        Args:
            plan: of the table.
            nobodys: whether the elements of its arrays are nobody's either: then what stands in them is looked at, too.
        """
        known = self.journal.values.get("email", set())
        emails = ", ".join(_text(v) for v in sorted(known))
        names = [n for n in column_types(self.con, plan.bronze) if n not in _OURS]
        if not emails or not names:
            return {}
        told = [f"lower(trim({quote(n)})) in ({emails})" for n in names]
        if nobodys:
            within = " or ".join(f"contains(lower({{0}}), {_text(v)})" for v in sorted(known))
            told += [f"(left(ltrim({quote(n)}), 1) in ('{{', '[') and ({within.format(quote(n))}))" for n in names]
        found = self._read(plan, " or ".join(told))
        return {
            key: replace(
                row,
                only=frozenset(
                    n for n, v in row.values.items() if v.strip().lower() in known or (nobodys and _is_document(v))
                ),
            )
            for key, row in found.items()
        }

    def around(self, raw: str, records: Collection[tuple[date, str, int]]) -> list[Row]:
        """Records of a raw table by day, file and number."""
        told = ", ".join(f"(date '{day}', {_text(file)}, {number})" for day, file, number in sorted(records))
        return list(self._read(self.plans[raw], f"(_load_date, _source_file, _source_row) in ({told})").values())

    def _read(self, plan: RawPlan, condition: str, others: str | None = None) -> dict[tuple[str, date, str, int], Row]:
        """Records that meet a condition; of elements not their values, and `others` tells which are not the person's."""
        there = {n.lower(): n for n in column_types(self.con, plan.bronze) if n not in _OURS}
        names = [] if plan.depth else list(there.values())
        marked = [
            (plan.place.way(path) if plan.place else path, _value_sql(there[str(path[0])], path), conditions)
            for path, conditions in plan.markers.items()
            if str(path[0]) in there
        ]
        flags = "".join(f", case when ({' or '.join(c)}) is true then {value} end" for _, value, c in marked)
        place = f"{PARENT_ROW}, {POSITION}, {others or 'false'}" if plan.depth else "null, null, false"
        rows = self.con.execute(
            f"select _load_date, _source_file, _source_row, {place}{''.join(f', {quote(n)}' for n in names)}{flags} "
            f"from {plan.bronze} where {condition}"
        ).fetchall()
        found = {}
        for day, file, number, parent, position, not_mine, *rest in rows:
            if (day, file) not in self.files[plan.raw_table]:
                continue
            values = {n.lower(): v for n, v in zip(names, rest[: len(names)], strict=True) if v is not None and v != ""}
            needs = frozenset(
                (way, value)
                for (way, *_), value in zip(marked, rest[len(names) :], strict=True)
                if value is not None and way
            )
            found[(plan.raw_table, day, file, number)] = Row(
                plan.raw_table, day, file, number, values, needs, None, parent, position, not not_mine
            )
        return found


def _value_sql(column: str, path: Pattern) -> str:
    if len(path) == 1:
        return quote(column)
    pointer = "".join(json_pointer(str(step)) for step in path[1:])
    return f"try(json_extract_string({quote(column)}, {_text(pointer)}))"


def _is_document(value: str) -> bool:
    return value.lstrip()[:1] in ("{", "[")


class _Told:
    """Whether a text holds all words of one of the person's ids. Texts and words are in lower case."""

    def __init__(self, tokens: Collection[tuple[str, ...]]) -> None:
        single = sorted(token[0] for token in tokens if len(token) == 1)
        self.single = _as_words(single) if single else None
        self.composite = [token for token in tokens if len(token) > 1]

    def by(self, text: str) -> bool:
        if self.single and self.single.search(text):
            return True
        return any(
            all(word in text for word in token) and all(_as_words([word]).search(text) for word in token)
            for token in self.composite
        )


def _as_words(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)")


def _words(row: Sequence[str | None], shared: Sequence[Collection[str]]) -> tuple[str, ...]:
    """The delivered parts of an id as a token; none where one is missing or all could be found by chance.

    A part that other people's ids have, too (`shared`), and a short one that is found in any date tell nothing together.
    """
    words = tuple((value or "").strip().lower() for value in row)
    long = [value not in others for value, others in zip(row, shared, strict=True) if len(value or "") >= _SHORTEST_KEY]
    return words if all(words) and (any(long) or len(long) > 1) else ()


def _ways(plan: RawPlan) -> list[tuple[str, str, tuple[Pattern, ...]]]:
    """The ways in which ids are made of a record: of what (CUSTOMER or ORDER), by which SQL, of which values."""
    import sqlglot
    from sqlglot import exp

    found = []
    for target, expression in plan.owners:
        tree = sqlglot.parse_one(expression, dialect="duckdb")
        # `coalesce(number, …)`: a record with a number is known by that alone.
        for way in [tree.this, *tree.expressions] if isinstance(tree, exp.Coalesce) else [tree]:
            sql = way.sql(dialect="duckdb", normalize_functions=False)
            parts = tuple(sorted(path for path in paths(sql, _OURS) if all(isinstance(step, str) for step in path)))
            if parts:
                found.append((target, sql, parts))
    return found


@dataclass
class _Record:
    """A record of a file, and what of it is the person's: all of it (`row`), or elements of its arrays."""

    row: Row | None = None
    elements: list[Row] = field(default_factory=list)


def edits(
    rows: Iterable[Row],
    plans: Mapping[str, RawPlan],
    journal: Journal,
    pseudonym: Callable[[str], str],
    around: Callable[[str, Collection[tuple[date, str, int]]], Iterable[Row]] = lambda raw, records: (),
) -> dict[tuple[str, date, str], Edits]:
    """What is to be changed in which file: (raw table, day, file) → edits; without files that stay as they are.

    Args:
        rows: of the person.
        plans: of all raw tables.
        journal: whom it is about.
        pseudonym: gives the stand-in for a key that is personal.
        around: reads records (day, file, number) of a raw table that are nobody's and hold elements of the person.
    """
    telling = {
        v for name in (*_TELLING, "full_name") for v in journal.values.get(name, ()) if len(v) >= _SHORTEST_VALUE
    }
    found: dict[tuple[str, date, str], Edits] = {}
    for (raw, day, file, number), record in sorted(_records(rows, plans, around).items()):
        if record.row is None:
            continue
        change = _Change(record, plans, telling, journal.values.get("email", set()), pseudonym)
        cells: dict[str, str | Inner | None] = {}
        for column, value in record.row.values.items():
            new = change.instead(column, value)
            if new is not None and not isinstance(new, str):
                if new.changed(value) != value:
                    cells[column] = new
            elif new != value:
                cells[column] = new
        if cells:
            work = found.setdefault((raw, day, file), Edits())
            work.cells[number] = cells
            work.was[number] = {column: record.row.values[column] for column in cells}
    return found


def _records(
    rows: Iterable[Row],
    plans: Mapping[str, RawPlan],
    around: Callable[[str, Collection[tuple[date, str, int]]], Iterable[Row]],
) -> dict[tuple[str, date, str, int], _Record]:
    found: dict[tuple[str, date, str, int], _Record] = {}
    for row in rows:
        root = plans[row.raw_table].root
        if row.parent is None:
            found.setdefault((root, row.day, row.file, row.number), _Record()).row = row
        else:
            found.setdefault((root, row.day, row.file, row.parent), _Record()).elements.append(row)
    for raw in plans:
        if lacking := {key[1:] for key, record in found.items() if key[0] == raw and record.row is None}:
            for row in around(raw, lacking):
                found[(raw, row.day, row.file, row.number)].row = replace(row, only=frozenset())
    return found


class _Change:
    """What becomes of the values of one record."""

    def __init__(
        self,
        record: _Record,
        plans: Mapping[str, RawPlan],
        telling: Collection[str],
        emails: Collection[str],
        pseudonym: Callable[[str], str],
    ) -> None:
        assert record.row is not None
        self.row, self.plan = record.row, plans[record.row.raw_table]
        self.telling, self.pseudonym = telling, pseudonym
        self.trees = tree_columns(self.plan.tree)
        self.rules = self._rules(record, plans, emails)

    def _rules(self, record: _Record, plans: Mapping[str, RawPlan], emails: Collection[str]) -> Rules:
        # An element of a record of the person is named where it is not the person's; else where it is.
        mine = self.row.only is None
        elements: dict[str, set[int]] = {}
        for row in record.elements:
            if row.mine != mine and row.position is not None and plans[row.raw_table].depth == 1:
                elements.setdefault(row.raw_table, set()).add(row.position)
        marked = {pair for row in (self.row, *record.elements) for pair in row.marked}
        owned = {raw for raw, plan in plans.items() if plan.owners}
        return Rules(mine, self._stays, elements, marked, () if mine or not self.row.only else emails, owned)

    def instead(self, column: str, value: str) -> str | Inner | None:
        """What is to stand in place of a column's value: the same, another text, none, or what `Inner` makes of it."""
        only, node = self.row.only, self.trees.get(column)
        if only is not None:
            if column in only and not _is_document(value):
                return self._stays(Node(), value)
            return (
                Inner(node or Node(), column, self.rules) if _is_document(value) and (node or column in only) else value
            )
        if node and _is_document(value) and _is_json(value):
            return Inner(node, column, self.rules)
        plain = node or Node()
        if column in self.plan.kept:
            plain = Node(kept=True, key=column in self.plan.keys, own=column in self.plan.id_columns)
        if plain.table and value.strip() not in ("", "null"):  # what stands in an array's place stays rejected
            return MARKER
        new = self._stays(plain if plain.kept or plain.shape else None, value)
        if new is None and ((column,), value) in self.rules.marked:
            return MARKER
        return "[]" if new is None and plain.array else new

    def _stays(self, node: Node | None, value: str) -> str | None:
        if value == MARKER or value.startswith(PSEUDONYM):
            return value
        if node is None or not (node.kept or node.shape):
            return None
        bare = value.strip()
        # An address in a key may be somebody else's (a seller's); in the person's own ids it is the person's.
        if not (bare.lower() in self.telling or ((node.own or not node.key) and _EMAIL.fullmatch(bare))):
            return value
        return self.pseudonym(value) if node.key else None


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
