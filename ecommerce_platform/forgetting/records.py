"""Which delivered records are a person's, and which of their values go.

A record is the person's when a mapping makes one of the person's customer or order ids of it, current or not, rejected or
not. Of its columns those stay that fill nothing but non-personal canonical columns, or a key; whatever no mapping names
goes, for nobody has said that it is harmless. Records that name nobody are held against the person's known values.
Works on any database with bronze tables; how files are changed is in `rewrite`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.contract import Column
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.errors import InputError
from ecommerce_platform.forgetting.ledger import PSEUDONYM, Journal
from ecommerce_platform.forgetting.rewrite import MARKER, Edits
from ecommerce_platform.ingestion.rejects import RAW_CHARACTERS
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse.lookup import column_types, table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CUSTOMER, ORDER = "silver.customers.customer_id", "silver.orders.order_id"
_IDS = {CUSTOMER: "_forget_customers", ORDER: "_forget_orders"}
_OURS = ("_load_date", "_source_file", "_source_row", "_row_hash")
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
    `keys`: those of them that ids are made of. `markers`: conditions under which a value is replaced by a word rather than
    by nothing. `personal`: the personal columns of `customers`, as SQL text; empty for a table that fills no customers.
    `objects`: those of the kept columns of which a mapping reads members only, by JSON functions: nobody has said of the
    other members that they are harmless.
    """

    raw_table: str
    bronze: str
    owners: tuple[tuple[str, str], ...] = ()
    orders: str | None = None
    kept: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    id_columns: frozenset[str] = frozenset()
    markers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict)
    objects: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Row:
    """A record of the person: where it stands, its values (lower-case column → text), columns that need the marker.

    `only` limits what goes to some columns: the record belongs to nobody and merely holds a value of the person.
    """

    raw_table: str
    day: date
    file: str
    number: int
    values: Mapping[str, str]
    marked: frozenset[str] = frozenset()
    only: frozenset[str] | None = None


def plan_tables(source: Source, compiled: Mapping[str, Sequence[CompiledMapping]]) -> dict[str, RawPlan]:
    """What is to be known about every raw table of a source."""
    return {
        raw: _plan(
            raw,
            f"bronze.{quote(source.bronze_table(raw))}",
            [m for mappings in compiled.values() for m in mappings if m.raw_table == raw],
        )
        for raw in source.file.tables
    }


def _plan(raw: str, bronze: str, mappings: Sequence[CompiledMapping]) -> RawPlan:
    personal: set[str] = set()
    other: set[str] = set()
    keys: set[str] = set()
    ids: set[str] = set()
    owners: list[tuple[str, str]] = []
    values: dict[str, str] = {}
    orders = None
    sources = [(m, {n: _lower(c) for n, c in m.column_sources().items()}) for m in mappings]
    for mapping, filled in sources:
        for name, columns in filled.items():
            column = mapping.contract.columns[name]
            (personal if is_personal(column) else other).update(columns)
            target = _target(mapping, name)
            if name in mapping.contract.key or column.references:
                keys |= columns
            expression = _of_one_row(mapping.expressions[name])
            if target and expression:
                owners.append((target, expression))
                ids |= columns
                if f"{mapping.contract.table}.{name}" == ORDER:
                    orders = expression
            if mapping.contract.table == "silver.customers" and column.pii and expression:
                values[name] = f"cast({expression} as varchar)"
        _joined(values, "full_name", ("given_name", "family_name"))
        _joined(values, "street", ("street", "house_number"))
        for part in (mapping.where, mapping.qualify, *mapping.group_by):
            other |= _columns(part) if part else set()
    kept = (other - personal) | keys
    return RawPlan(
        raw, bronze, tuple(dict.fromkeys(owners)), orders, frozenset(kept), frozenset(keys), frozenset(ids),
        _markers(sources, kept), values, _objects(mappings) & kept if owners else frozenset(),
    )  # fmt: skip


def refuse_arrays(source: Source) -> None:
    """Sees to it that no file changes of which records are known by their elements.

    Raises:
        InputError: a raw table of the source is made from arrays.
    """
    if found := [name for name, raw in source.file.tables.items() if raw.explode]:
        raise InputError(
            "raw tables are made from arrays, and single values within these cannot be blanked yet",
            where=", ".join(f"raw table {name!r}" for name in found),
            fix="blank the person in the delivered documents by hand and land them again; the next build takes that over",
        )


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
            "mappings read members of an object that stay, so the whole object would stay, whatever else of the person it "
            "holds",
            where=", ".join(f"column {column!r} of raw table {raw!r}" for raw, column in found),
            fix="deliver what is needed of it (the id, say) as a column of its own, or its members in separate columns, and "
            "map these",
        )


def _objects(mappings: Iterable[CompiledMapping]) -> frozenset[str]:
    """Columns that JSON functions read."""
    import sqlglot
    from sqlglot import exp

    found: set[str] = set()
    for mapping in mappings:
        for sql in filter(None, (*mapping.expressions.values(), mapping.where, mapping.qualify, *mapping.group_by)):
            for node in sqlglot.parse_one(sql, dialect="duckdb").walk():
                name = node.name if isinstance(node, exp.Anonymous) else type(node).__name__
                if isinstance(node, exp.Func) and "json" in name.lower():
                    found |= _lower(c.name for c in node.find_all(exp.Column))
    return frozenset(found)


def _markers(
    sources: Sequence[tuple[CompiledMapping, Mapping[str, frozenset[str]]]], kept: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Column that goes → when its record would become another one without it."""
    found: dict[str, list[str]] = {}
    for mapping, filled in sources:
        # What does not convert or breaks a rule rejects its record, which is to stay rejected.
        for conversion in mapping.conversions:
            for column in _columns(conversion.argument) - set(kept):
                found.setdefault(column, []).append(conversion.failed)
        for name, code, _, condition in mapping.row_rules():
            for column in filled.get(name, frozenset()) - set(kept):
                found.setdefault(column, []).append("true" if code == "missing_required" else f"({condition}) is true")
    return {column: tuple(dict.fromkeys(conditions)) for column, conditions in found.items()}


def _target(mapping: CompiledMapping, name: str) -> str | None:
    column = f"{mapping.contract.table}.{name}"
    reference = mapping.contract.columns[name].references
    return next((t for t in (CUSTOMER, ORDER) if t in (column, reference)), None)


def _columns(sql: str) -> frozenset[str]:
    import sqlglot
    from sqlglot import exp

    return _lower(c.name for c in sqlglot.parse_one(sql, dialect="duckdb").find_all(exp.Column))


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names) - set(_OURS)


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
        self.files = {raw: set(found) for raw, found in files.items() if found}
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
        for plan in self.plans.values():
            if mine := self._mine(plan, (CUSTOMER, ORDER)):
                found |= self._read(plan, mine)
            if alike := self._alike(plan):
                found |= {k: row for k, row in self._read(plan, alike).items() if k not in found}
            if not plan.owners:
                found |= self._with_values(plan)
        return [found[key] for key in sorted(found)]

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
        saying_whose = {raw for raw, plan in self.plans.items() if self._columns_that_go(plan)}
        found: dict[tuple[str, date, str], set[int]] = {}
        told = {raw: _Told(tokens.get(raw, ())) for raw in saying_whose}
        rows = self.con.execute(
            "select raw_table, _load_date, _source_file, line, raw_text from bronze.rejects "
            "where line is not null and raw_text is not null"
        ).fetchall()
        long: dict[tuple[str, date, str], set[int]] = {}
        for raw, day, file, line, text in rows:
            if (day, file) not in self.files.get(raw, ()):
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
            told = found.setdefault(plan.raw_table, set())
            mine = self._mine(plan, (CUSTOMER, ORDER))
            for target, expression, columns in _ways(plan):
                ids = f"(select id from {_IDS[target]})"
                parts = ", ".join(map(quote, columns))
                rows = self.con.execute(
                    f"select distinct {parts} from {plan.bronze} where {mine} and ({expression}) in {ids}"
                ).fetchall()
                shared = (
                    [self._shared(plan, target, expression, column) for column in columns] if len(columns) > 1 else [()]
                )
                told |= {_words(row, shared) for row in rows}
                if len(columns) == 1:  # of a person whose only record here cannot be parsed
                    rows = self.con.execute(
                        f"select _id from (select id as {parts}, id as _id from {_IDS[target]}) where ({expression}) = _id"
                    ).fetchall()
                    told |= {_words(row, [()]) for row in rows}
            told.discard(())
        return found

    def _shared(self, plan: RawPlan, target: str, expression: str, column: str) -> set[str]:
        """Which of a column's values in the person's ids are in other people's ids, too."""
        mine = f"({expression}) in (select id from {_IDS[target]})"
        rows = self.con.execute(
            f"select distinct {quote(column)} from {plan.bronze} where ({expression}) is not null and not {mine} "
            f"and {quote(column)} in (select {quote(column)} from {plan.bronze} where {mine})"
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

    def _with_values(self, plan: RawPlan) -> dict[tuple[str, date, str, int], Row]:
        """Records of tables that belong to nobody, with an e-mail address of the person in some column."""
        emails = ", ".join(_text(v) for v in sorted(self.journal.values.get("email", ())))
        names = [n for n in column_types(self.con, plan.bronze) if n not in _OURS]
        if not emails or not names:
            return {}
        found = self._read(plan, " or ".join(f"lower(trim({quote(n)})) in ({emails})" for n in names))
        emails_known = self.journal.values.get("email", set())
        return {
            key: Row(
                row.raw_table, row.day, row.file, row.number, row.values,
                only=frozenset(n for n, v in row.values.items() if v.strip().lower() in emails_known),
            )
            for key, row in found.items()
        }  # fmt: skip

    def _read(self, plan: RawPlan, condition: str) -> dict[tuple[str, date, str, int], Row]:
        names = [n for n in column_types(self.con, plan.bronze) if n not in _OURS]
        marked = [(n.lower(), plan.markers[n.lower()]) for n in names if n.lower() in plan.markers]
        flags = "".join(f", ({' or '.join(conditions)}) is true" for _, conditions in marked)
        rows = self.con.execute(
            f"select _load_date, _source_file, _source_row{''.join(f', {quote(n)}' for n in names)}{flags} "
            f"from {plan.bronze} where {condition}"
        ).fetchall()
        found = {}
        for day, file, number, *rest in rows:
            if (day, file) not in self.files[plan.raw_table]:
                continue
            values = {n.lower(): v for n, v in zip(names, rest[: len(names)], strict=True) if v is not None and v != ""}
            needs = frozenset(n for (n, _), flag in zip(marked, rest[len(names) :], strict=True) if flag)
            found[(plan.raw_table, day, file, number)] = Row(plan.raw_table, day, file, number, values, needs)
        return found


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


def _ways(plan: RawPlan) -> list[tuple[str, str, tuple[str, ...]]]:
    """The ways in which ids are made of a record: of what (CUSTOMER or ORDER), by which SQL, of which columns."""
    import sqlglot
    from sqlglot import exp

    found = []
    for target, expression in plan.owners:
        tree = sqlglot.parse_one(expression, dialect="duckdb")
        # `coalesce(number, …)`: a record with a number is known by that alone.
        ways = [tree.this, *tree.expressions] if isinstance(tree, exp.Coalesce) else [tree]
        for way in ways:
            sql = way.sql(dialect="duckdb", normalize_functions=False)
            if columns := tuple(sorted(_columns(sql))):
                found.append((target, sql, columns))
    return found


def edits(
    rows: Iterable[Row], plans: Mapping[str, RawPlan], journal: Journal, pseudonym: Callable[[str], str]
) -> dict[tuple[str, date, str], Edits]:
    """What is to be changed in which file: (raw table, day, file) → edits; without files that stay as they are."""
    telling = {
        v for name in (*_TELLING, "full_name") for v in journal.values.get(name, ()) if len(v) >= _SHORTEST_VALUE
    }
    found: dict[tuple[str, date, str], Edits] = {}
    for row in rows:
        plan = plans[row.raw_table]
        cells: dict[str, str | None] = {}
        for column, value in row.values.items():
            if row.only is not None and column not in row.only:
                continue
            new = _instead(column, value, row, plan, telling, pseudonym)
            if new != value:
                cells[column] = new
        if cells:
            work = found.setdefault((row.raw_table, row.day, row.file), Edits())
            work.cells[row.number] = cells
            work.was[row.number] = {column: row.values[column] for column in cells}
    return found


def _instead(
    column: str, value: str, row: Row, plan: RawPlan, telling: Collection[str], pseudonym: Callable[[str], str]
) -> str | None:
    if value == MARKER or value.startswith(PSEUDONYM):
        return value
    if column in plan.kept and row.only is None:
        bare = value.strip()
        # An address in a key may be somebody else's (a seller's); in the person's own ids it is the person's.
        own = column in plan.id_columns or column not in plan.keys
        if not (bare.lower() in telling or (own and _EMAIL.fullmatch(bare))):
            return value
        if column in plan.keys:
            return pseudonym(value)
    return MARKER if column in row.marked else None


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
