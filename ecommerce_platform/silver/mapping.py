"""Understanding a mapping: from one SELECT over a bronze table to the statements that run it.

A mapping is written as an analyst would; this module finds in it what the loader must know: which raw columns
it names, which conversions can fail, which key a row belongs to. Everything here is text in, text out; `entities.py`
runs the statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.explode import PARENT_ROW, POSITION
from ecommerce_platform.contracts.select import NotAllowedError, tables_read
from ecommerce_platform.contracts.source import Mapping, Source
from ecommerce_platform.contracts.yaml_file import line_of
from ecommerce_platform.errors import DefinitionError, raise_all
from ecommerce_platform.silver.conversions import (
    CONVERSIONS,
    Conversion,
    as_sql,
    conversions,
    each_once,
    needs_several_rows,
    on_the_clock_of,
    parsed,
    row_expression,
    unreported,
)
from ecommerce_platform.silver.expressions import NamedExpressions, named_expressions, unused
from ecommerce_platform.warehouse.contract_checks import column_rules


@dataclass(frozen=True)
class CompiledMapping:
    """A mapping, understood.

    `expressions` maps canonical columns to SQL over the bronze row; `late` names those that need several rows
    (aggregates and windows), so that their rules can only be looked at afterwards.
    """

    mapping: Mapping
    contract: Contract
    bronze: str
    delivery: str
    #: Share of a load's rows that may be rejected before the load is set aside.
    max_rejected_share: float
    expressions: dict[str, str]
    late: frozenset[str]
    where: str | None
    qualify: str | None
    group_by: tuple[str, ...]
    windowed: bool
    conversions: tuple[Conversion, ...]
    raw_columns: tuple[str, ...]
    #: Raw column → the required canonical column that cannot be filled without it.
    required_raw: dict[str, str]
    version_key: tuple[str, ...]
    #: Canonical column → the line of the file on which it is filled.
    lines: dict[str, int]
    #: Columns gathered from all rows that name the key → SQL over the bronze row of what orders them, if anything.
    gathered: dict[str, str | None]
    #: Whether rows are grouped or numbered within a file, so that of several files the last alone counts.
    by_file: bool
    #: Of a raw table made from arrays: the columns that `parent` takes from the records around an element.
    around: tuple[str, ...]
    #: Whether a record delivers its unit whole, as one with an array of the unit's rows does: the last record counts then.
    by_record: bool
    #: What source.yml says of how its records are made of elements; empty for a table of files.
    made_of: str
    #: Why WHERE or QUALIFY leave rows out, as source.yml says; None where it says nothing.
    left_out: str | None
    #: The named expressions of source.yml that it is made of: name → SQL as it stands there.
    named: dict[str, str] = field(default_factory=dict)
    #: The shop's zone, where moments are brought onto its clock; else None.
    time_zone: str | None = None

    @property
    def raw_table(self) -> str:
        """The raw table that is read."""
        return self.mapping.raw_table

    @property
    def shown(self) -> str:
        """The mapping as people read it, with what the names in it stand for."""
        named = "".join(f"-- {name}: {' '.join(sql.split())}\n" for name, sql in self.named.items())
        return f"-- {self.mapping.path.name}\n{named}{self.mapping.sql.strip()}"

    @property
    def combines(self) -> bool:
        """Whether a row of the result depends on several bronze rows."""
        return bool(self.group_by) or self.windowed

    @property
    def filters(self) -> str | None:
        """The clauses that can leave rows out, as a mapping writes them; None without any."""
        there = [name for name, clause in (("WHERE", self.where), ("QUALIFY", self.qualify)) if clause]
        return " and ".join(there) or None

    def rows(self, loads: str, without: str | None = None, *, qualified: bool = True) -> str:
        """The SELECT that maps the bronze rows of `loads` (a condition) to the entity's columns.

        Columns the mapping lacks are null; provenance and `_rows` (bronze rows behind the row) are added, and for each
        gathered column `_by_<column>`, what orders it; `_parent_row` where a record delivers its unit.
        `without` names a table of provenance whose rows are left out before anything is gathered. With `qualified` false
        the rows that QUALIFY drops stand there instead of those that it leaves.
        """
        columns = []
        for name, column in self.contract.columns.items():
            expression = self.expressions.get(name, "null")
            columns.append(f"cast({expression} as {column.type}) as {quote(name)}")
        if self.group_by:
            provenance = [
                "_load_date", f"'{self.raw_table}' as _raw_table", "max(_source_file) as _source_file",
                "max(_source_row) as _source_row", "count(*) as _rows",
            ]  # fmt: skip
        else:
            provenance = [
                "_load_date", f"'{self.raw_table}' as _raw_table", "_source_file", "_source_row",
                "cast(1 as bigint) as _rows",
            ]  # fmt: skip
        if self.by_record:
            provenance.append(f"max({PARENT_ROW}) as {PARENT_ROW}" if self.group_by else PARENT_ROW)
        provenance += [f"{by or 'null'} as {ordering(name)}" for name, by in self.gathered.items()]
        conditions = [loads, *([f"({self.where})"] if self.where else [])]
        if without:
            conditions.append(
                f"(_load_date, _source_file, _source_row) not in "
                f"(select (_load_date, _source_file, _source_row) from {without})"
            )
        sql = f"select {', '.join(columns + provenance)}\nfrom {self.bronze}\nwhere {' and '.join(conditions)}"
        if self.group_by:
            sql += f"\ngroup by {', '.join(self.group_by)}"
        if self.qualify:
            sql += f"\nqualify {self.qualify}" if qualified else f"\nqualify ({self.qualify}) is not true"
        return sql

    def column_sources(self) -> dict[str, tuple[str, ...]]:
        """Canonical column → the raw columns its expression names."""
        import sqlglot
        from sqlglot import exp

        return {
            name: tuple(
                dict.fromkeys(c.name for c in sqlglot.parse_one(expression, dialect="duckdb").find_all(exp.Column))
            )
            for name, expression in self.expressions.items()
        }

    def row_rules(self) -> list[tuple[str, str, str, str]]:
        """Rules that one bronze row decides: (column, reason code, text, condition over the bronze row)."""
        return [
            (name, code, text, condition.replace(quote(name), f"({self.expressions.get(name, 'null')})"))
            for name, code, text, condition in self._rules()
            if name not in self.late
        ]

    def late_rules(self) -> list[tuple[str, str, str, str]]:
        """Rules on gathered columns: (column, reason code, text, condition over the mapped row)."""
        return [rule for rule in self._rules() if rule[0] in self.late]

    def typed_rules(self) -> list[tuple[str, str, str, str]]:
        """All rules as (column, reason code, text, condition over the mapped row)."""
        return self._rules()

    def _rules(self) -> list[tuple[str, str, str, str]]:
        return [
            (name, code, text, condition)
            for name, column in self.contract.columns.items()
            for code, text, condition in column_rules(name, column, required=name in self.contract.required_columns)
        ]


def ordering(column: str) -> str:
    """Name of the column that orders a gathered one, as SQL writes it."""
    return quote(f"_by_{column}")


def compile_mapping(
    mapping: Mapping, contract: Contract, source: Source, named: NamedExpressions | None = None
) -> CompiledMapping:
    """Parses a mapping and holds it to the rules that make loads converge.

    Args:
        mapping: the mapping.
        contract: of the entity that it fills.
        source: the shop's export.
        named: the expressions that source.yml calls by name; worked out when not given.

    Raises:
        DefinitionError: with file and line and what to write instead, for all that is wrong once it can be parsed.
    """
    return _Compilation(mapping, contract, source, named or named_expressions(source)).compiled()


class _Compilation:
    """A mapping while it is being understood: its tree, what its columns are made of, and what is wrong with it."""

    def __init__(self, mapping: Mapping, contract: Contract, source: Source, named: NamedExpressions) -> None:
        self.mapping, self.contract, self.source = mapping, contract, source
        self.raw = source.file.tables[mapping.raw_table]
        self.bronze = source.bronze_table(mapping.raw_table)
        self.unit = source.file.units.get(f"{mapping.entity}.{mapping.raw_table}")
        self.named = named
        self.tree, self.names = named.expand(_parsed(mapping))
        self.on_the_clock = on_the_clock_of(source.file.time_zone, self.tree)
        self.problems: list[DefinitionError] = []
        self.expressions: dict[str, str] = {}
        self.lines: dict[str, int] = {}
        self.late: set[str] = set()
        self.conversions: list[Conversion] = []
        self.required_raw: dict[str, str] = {}

    def compiled(self) -> CompiledMapping:
        """What there is to know of the mapping, held to all rules on the way."""
        from sqlglot import exp

        where, qualify = self._read_clauses()
        group = self.tree.args.get("group")
        group_by = tuple(map(as_sql, group.expressions)) if group else ()
        windows = list(self.tree.find_all(exp.Window))
        self._groups_within_a_load(group, group_by)
        self._numbers_within_a_load(windows)
        gathered = self._read_gathered(alone=not (group or windows or self.unit))
        orders = [by for by in gathered.values() if by is not None]
        compiled = CompiledMapping(
            mapping=self.mapping,
            contract=self.contract,
            bronze=f"bronze.{quote(self.bronze)}",
            delivery=self.raw.delivery,
            max_rejected_share=self.raw.max_rejected_share,
            expressions=self.expressions,
            late=frozenset(self.late),
            where=as_sql(where.this) if where else None,
            qualify=as_sql(qualify.this) if qualify else None,
            group_by=group_by,
            windowed=bool(windows),
            conversions=each_once(self.conversions, self.expressions),
            raw_columns=_raw_columns([self.tree, *orders]),
            required_raw=self.required_raw,
            version_key=self.unit or self.contract.key,
            lines=self.lines,
            gathered={column: as_sql(by) if by is not None else None for column, by in gathered.items()},
            by_file="_source_file" in group_by or (bool(windows) and all(map(_within_a_file, windows))),
            around=tuple(self.raw.parent),
            by_record=bool(self.raw.explode and self.unit),
            made_of=f"{self.raw.explode} {sorted(self.raw.parent.items())}" if self.raw.explode else "",
            left_out=_left_out(self.mapping, self.source, filters=bool(where or qualify)),
            named=self.names,
            time_zone=self.source.file.time_zone if self.on_the_clock else None,
        )
        _only_reads(self.mapping, compiled.rows("true"))
        return compiled

    def _read_clauses(self) -> tuple[Any, Any]:
        """Takes in the columns and the conditions; WHERE and QUALIFY, if there are any."""
        self._reads_one_table()
        self._reports_what_it_cannot_convert()
        for selected in self.tree.expressions:
            self._read_column(selected)
        conditions = self.tree.args.get("where"), self.tree.args.get("qualify")
        for part in filter(None, conditions):
            self._read_conversions(part, part.key)
        self._fills_what_is_required()
        raise_all(self.problems)
        return conditions

    def _wrong(self, what: str, node: Any = None, fix: str | None = None) -> DefinitionError:
        return DefinitionError(what, where=f"{self.mapping.path}:{_line(self.mapping.sql, node)}", fix=fix)

    def _reads_one_table(self) -> None:
        from sqlglot import exp

        tree, bronze = self.tree, f"bronze.{self.bronze}"
        if not isinstance(tree, exp.Select) or tree.args.get("with_") or tree.args.get("with"):
            raise self._wrong(
                "a mapping is one plain SELECT", tree, "move what needs more than one row's table to gold"
            )
        tables = list(tree.find_all(exp.Table))
        if len(tables) != 1 or as_sql(tables[0]).split(" ")[0].replace('"', "") != bronze:
            raise self._wrong(
                f"a mapping reads exactly one table, {bronze}",
                tables[-1] if tables else tree,
                f"the source is called {self.source.name}, by its folder: write {bronze} instead, "
                "in a copied folder in every mapping"
                if len(tables) == 1
                else "what needs a second table is resolved in gold, where everything is known",
            )
        if tree.find(exp.Subquery, exp.Join):
            raise self._wrong("a mapping has no joins and no subqueries", tree.find(exp.Subquery, exp.Join))

    def _reports_what_it_cannot_convert(self) -> None:
        self.problems += [
            self._wrong(
                f"{node.sql(dialect='duckdb')} converts text without reporting what it cannot convert",
                node,
                f"use one of {', '.join(sorted(CONVERSIONS))}",
            )
            for node in unreported(self.tree)
        ]

    def _read_column(self, selected: Any) -> None:
        """Takes in a column of the SELECT: its SQL, its line, what it converts and whether it needs several rows."""
        from sqlglot import exp

        name, known = selected.alias_or_name, self.contract.columns
        if isinstance(selected, exp.Star) or not name:
            fix = "write `expression as column`"
            self.problems.append(self._wrong("every column of a mapping is named", selected, fix))
            return
        if name not in known:
            what, fix = f"{name!r} is not a column of {self.contract.table}", f"use one of {', '.join(known)}"
            self.problems.append(self._wrong(what, selected, fix))
            return
        body = selected.this if isinstance(selected, exp.Alias) else selected
        self.expressions[name] = as_sql(body)
        self.lines[name] = _line(self.mapping.sql, selected)
        if needs_several_rows(body):
            self.late.add(name)
        self._read_conversions(body, name, personal=known[name].pii)
        raw = _raw_column_alone(body)
        if raw and name in self.contract.required_columns:
            self.required_raw[raw] = f"{self.contract.name}.{name}"

    def _read_conversions(self, body: Any, column: str, *, personal: bool = False) -> None:
        found = conversions(body, column, self._wrong, self.problems)
        self.conversions += [replace(conversion, personal=personal) for conversion in found]

    def _read_gathered(self, *, alone: bool) -> dict[str, Any]:
        """Gathered column → the tree of what orders its values, if anything; takes in what that converts."""
        gathered = _Gathered(self.mapping, self.contract, self.source, self.expressions, alone=alone).orders()
        for column, by in gathered.items():
            if by is not None:
                gathered[column], named = self.named.expand(by)
                self.names |= named
                self.on_the_clock |= on_the_clock_of(self.source.file.time_zone, gathered[column])
                self._read_conversions(gathered[column], "gathered")
        return gathered

    def _fills_what_is_required(self) -> None:
        self.problems += [
            self._wrong(
                f"required column {name!r} of {self.contract.table} is not filled", self.tree, f"select … as {name}"
            )
            for name in self.contract.required_columns
            if name not in self.expressions
        ]

    def _groups_within_a_load(self, group: Any, group_by: Sequence[str]) -> None:
        """Holds GROUP BY to rows that come together: of one load, of one key, delivered whole."""
        from sqlglot import exp

        if not group:
            if self.late and any(b.find(exp.AggFunc) and not b.find(exp.Window) for b in self.tree.expressions):
                raise self._wrong("an aggregate needs a GROUP BY", self.tree, "group by _load_date and the key")
            return
        if "_load_date" not in group_by:
            raise self._wrong(
                "GROUP BY leaves out _load_date, so the result would depend on what else is loaded", group,
                "group by _load_date and the key",
            )  # fmt: skip
        if self.raw.extract and self.raw.extract.watermark:
            raise self._wrong(
                f"GROUP BY gathers rows, but extracts of {self.mapping.raw_table} bring only those whose "
                f"{self.raw.extract.watermark} has moved",
                group,
                "leave out the watermark in source.yml and say `delivery: full`",
            )
        key = [self.expressions[name] for name in self.contract.key if name not in self.late]
        if any(part not in group_by and parsed(part).find(exp.Column) for part in key):
            raise self._wrong("GROUP BY leaves out a key column", group, "group by _load_date and the key")

    def _numbers_within_a_load(self, windows: Sequence[Any]) -> None:
        """Holds windows to rows of one load, and of a unit that is delivered whole."""
        for window in windows:
            if "_load_date" not in map(as_sql, window.args.get("partition_by") or []):
                raise self._wrong(
                    "a window leaves out _load_date, so the result would depend on what else is loaded", window,
                    "partition by _load_date and the unit",
                )  # fmt: skip
        if windows and not self.unit:
            raise self._wrong(
                "numbering rows needs a unit that the source delivers whole",
                windows[0],
                f"declare `units: {{{self.mapping.entity}.{self.mapping.raw_table}: [order_id]}}` in source.yml",
            )
        for name in self.unit or ():
            if name not in self.expressions:
                raise self._wrong(f"the unit's column {name!r} is not selected", self.tree)
            own = _raw_columns([parsed(self.expressions[name])]) if self.raw.explode else ()
            if own := tuple(column for column in own if column not in self.raw.parent):
                raise self._wrong(
                    f"the unit's column {name!r} is made of {', '.join(own)}, which an empty array has not",
                    self.tree,
                    f"take it from the records around: `parent: {{{name}: …}}` of {self.mapping.raw_table} in source.yml",
                )


def _parsed(mapping: Mapping) -> Any:
    """The tree of a mapping that reads and does nothing else."""
    import sqlglot

    try:
        tree = parsed(mapping.sql)
    except sqlglot.errors.ParseError as error:
        problem = error.errors[0] if error.errors else {}
        where = f"{mapping.path}:{problem.get('line', 1)}"
        raise DefinitionError(f"not valid SQL: {problem.get('description', error)}", where=where) from None
    except sqlglot.errors.TokenError as error:
        raise DefinitionError(f"not valid SQL: {error}", where=f"{mapping.path}:1") from None
    # The parser that will run it has the last word on what it is.
    _only_reads(mapping, mapping.sql)
    return tree


def _raw_column_alone(body: Any) -> str | None:
    """The raw column of `as_…(column)`."""
    from sqlglot import exp

    converts = isinstance(body, exp.Anonymous) and body.name.lower().startswith("as_") and body.expressions
    return body.expressions[0].name if converts and isinstance(body.expressions[0], exp.Column) else None


def _raw_columns(trees: Sequence[Any]) -> tuple[str, ...]:
    """The raw columns that are named, each once."""
    from sqlglot import exp

    named = dict.fromkeys(column.name for tree in trees for column in tree.find_all(exp.Column))
    return tuple(name for name in named if not name.startswith("_load_date") and name not in _OURS)


def _only_reads(mapping: Mapping, sql: str) -> None:
    """Holds what is written, and what is made of it, to one SELECT from tables."""
    try:
        tables_read(sql)
    except NotAllowedError as error:
        raise DefinitionError(
            str(error), where=f"{mapping.path}:1", fix="a mapping is one plain SELECT from its bronze table"
        ) from None


def _left_out(mapping: Mapping, source: Source, *, filters: bool) -> str | None:
    """Why a mapping leaves rows out, as source.yml says.

    Raises:
        DefinitionError: with the line in source.yml; the mapping leaves none out.
    """
    name = f"{mapping.entity}.{mapping.raw_table}"
    reason, path = source.file.left_out.get(name), source.file.path
    if reason and not filters:
        raise DefinitionError(
            f"left_out: {name}: the mapping has neither WHERE nor QUALIFY, so it leaves nothing out",
            where=f"{path}:{line_of(path, ('left_out', name))}",
            fix="leave this line out",
        )
    return reason


def _within_a_file(window: Any) -> bool:
    return "_source_file" in {p.sql(dialect="duckdb") for p in window.args.get("partition_by") or []}


class _Gathered:
    """What source.yml says of a mapping's gathered columns.

    Args:
        mapping: the mapping.
        contract: of the entity.
        source: the source.
        expressions: canonical column → SQL, of the columns that it fills.
        alone: whether a row of the result is one bronze row and is replaced by itself.
    """

    def __init__(
        self, mapping: Mapping, contract: Contract, source: Source, expressions: dict[str, str], *, alone: bool
    ) -> None:
        self.name, self.path = f"{mapping.entity}.{mapping.raw_table}", source.file.path
        self.said = source.file.gathered.get(self.name, {})
        self.contract, self.expressions, self.alone = contract, expressions, alone

    def orders(self) -> dict[str, Any]:
        """Column → the tree of what orders its values, if anything.

        Raises:
            DefinitionError: with the line in source.yml.
        """
        problems: list[DefinitionError] = []
        found: dict[str, Any] = {}
        if self.said and not self.alone:
            problems.append(
                self._wrong(
                    "the mapping groups or numbers rows, but gathered columns are of rows that stand by themselves",
                    "leave out GROUP BY, aggregates and the unit: a key's rows become one row anyway",
                )
            )
        for column, by in self.said.items():
            if column in self.contract.key or column not in self.expressions:
                problems.append(self._not_gathered(column))
                continue
            found[column] = None
            if by:
                wrong = partial(self._wrong, column=column)
                example = "what orders the values, such as as_timestamp(ordered_at)"
                found[column], against = row_expression(by, example, wrong)
                problems += against
        raise_all(problems)
        return found

    def _not_gathered(self, column: str) -> DefinitionError:
        others = ", ".join(c for c in self.expressions if c not in self.contract.key)
        what = "is the key" if column in self.contract.key else "is not filled by the mapping"
        return self._wrong(f"{column!r} {what}", f"name one of {others}", column)

    def _wrong(self, what: str, fix: str, column: str | None = None) -> DefinitionError:
        line = line_of(self.path, ("gathered", self.name, *([column] if column else [])))
        return DefinitionError(f"gathered: {self.name}: {what}", where=f"{self.path}:{line}", fix=fix)


_OURS = frozenset({"_load_date", "_source_file", "_source_row", "_row_hash", PARENT_ROW, POSITION})


def _line(sql: str, node: Any) -> int:
    """The line a node begins on: sqlglot keeps lines on names only, so the first of those below it decides."""
    lines = [int(part.meta["line"]) for part in node.walk() if part.meta.get("line")] if node is not None else []
    return min(lines, default=1)


def compile_source(source: Source, contracts: dict[str, Contract]) -> dict[str, tuple[CompiledMapping, ...]]:
    """Every mapping of a source, by entity; entities without a mapping have an empty tuple.

    Args:
        source: the shop's export.
        contracts: entity name → its contract.

    Raises:
        DefinitionError: every mapping that breaks a rule, with file and line.
    """
    compiled, problems = examine_mappings(source, contracts)
    raise_all(problems)
    return compiled


def examine_mappings(
    source: Source, contracts: dict[str, Contract]
) -> tuple[dict[str, tuple[CompiledMapping, ...]], list[DefinitionError]]:
    """Every mapping of a source that breaks no rule, by entity, and all that is wrong with the others."""
    compiled: dict[str, tuple[CompiledMapping, ...]] = dict.fromkeys(contracts, ())
    try:
        named = named_expressions(source)
    except DefinitionError as error:
        return compiled, [error]
    problems: list[DefinitionError] = []
    for entity, contract in contracts.items():
        for mapping in source.mappings_of(entity):
            try:
                compiled[entity] += (compile_mapping(mapping, contract, source, named),)
            except DefinitionError as error:
                problems.append(error)
    if not problems:  # else one that could not be read may name them
        problems += unused(source, {name for found in compiled.values() for m in found for name in m.named})
    return compiled, problems
