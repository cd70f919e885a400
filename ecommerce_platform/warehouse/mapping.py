"""Understanding a mapping: from one SELECT over a bronze table to the statements that run it.

A mapping is written as an analyst would; this module finds in it what the loader must know: which raw columns
it names, which conversions can fail, which key a row belongs to. Everything here is text in, text out; running
the statements is `silver.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.source import Mapping, Source
from ecommerce_platform.errors import DefinitionError, raise_all
from ecommerce_platform.quality.contract_checks import column_rules

#: Conversion macro → what its result is, for the words "… is not …".
CONVERSIONS = {
    "as_integer": "a whole number",
    "as_bigint": "a whole number",
    "as_decimal": "an amount with a decimal point",
    "as_decimal_comma": "an amount with a decimal comma",
    "as_double": "a number",
    "as_boolean": "true or false",
    "as_date": "a date (YYYY-MM-DD)",
    "as_date_format": "a date in the expected format",
    "as_timestamp": "a date or time (YYYY-MM-DD HH:MM:SS, without offset)",
    "as_timestamp_format": "a time in the expected format",
}
#: Macros whose result is text: they cannot fail.
TEXTS = ("as_text", "as_id")
#: Functions that convert without reporting what they could not convert.
FORBIDDEN = {
    "strptime", "try_strptime", "to_date", "to_timestamp", "date", "timestamp", "str_to_date", "make_date",
    "make_timestamp", "parse_date", "try_cast", "cast",
}  # fmt: skip


@dataclass(frozen=True)
class Conversion:
    """One call of a conversion macro: its text, the raw text it converts and the canonical column it serves."""

    call: str
    argument: str
    column: str
    meaning: str
    #: Whether the column is personal data: reasons are published, so they do not repeat its values.
    personal: bool = False

    @property
    def failed(self) -> str:
        """Condition: there is text, and it does not convert."""
        return f"(as_text({self.argument}) is not null and {self.call} is null)"

    @property
    def reason(self) -> str:
        """SQL text that says which value is at fault, or null."""
        label = "'" + f'{self.column}: {self.argument} "'.replace("'", "''") + "'"
        meaning = self.meaning.replace("'", "''")
        value = "'•••'" if self.personal else f"left({self.argument}, 200)"
        return f"case when {self.failed} then {label} || {value} || '\" is not {meaning}' end"


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

    @property
    def raw_table(self) -> str:
        """The raw table that is read."""
        return self.mapping.raw_table

    @property
    def gathers(self) -> bool:
        """Whether a row of the result depends on several bronze rows."""
        return bool(self.group_by) or self.windowed

    def rows(self, loads: str, without: str | None = None) -> str:
        """The SELECT that maps the bronze rows of `loads` (a condition) to the entity's columns.

        Columns the mapping lacks are null; provenance and `_rows` (bronze rows behind the row) are added.
        `without` names a table of provenance whose rows are left out before anything is gathered.
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
            sql += f"\nqualify {self.qualify}"
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


def compile_mapping(mapping: Mapping, contract: Contract, source: Source) -> CompiledMapping:
    """Parses a mapping and holds it to the rules that make loads converge.

    Raises:
        DefinitionError: with file and line and what to write instead, for all that is wrong once it can be parsed.
    """
    import sqlglot
    from sqlglot import exp

    def wrong(what: str, node: exp.Expr | None = None, fix: str | None = None) -> DefinitionError:
        return DefinitionError(what, where=f"{mapping.path}:{_line(mapping.sql, node)}", fix=fix)

    try:
        tree = sqlglot.parse_one(mapping.sql, dialect="duckdb")
    except sqlglot.errors.ParseError as error:
        problem = error.errors[0] if error.errors else {}
        where = f"{mapping.path}:{problem.get('line', 1)}"
        raise DefinitionError(f"not valid SQL: {problem.get('description', error)}", where=where) from None
    except sqlglot.errors.TokenError as error:
        raise DefinitionError(f"not valid SQL: {error}", where=f"{mapping.path}:1") from None
    bronze = source.bronze_table(mapping.raw_table)
    if not isinstance(tree, exp.Select) or tree.args.get("with_") or tree.args.get("with"):
        raise wrong("a mapping is one plain SELECT", tree, "move what needs more than one row's table to gold")
    tables = list(tree.find_all(exp.Table))
    if (
        len(tables) != 1
        or tables[0].sql(dialect="duckdb", normalize_functions=False).split(" ")[0].replace('"', "")
        != f"bronze.{bronze}"
    ):
        raise wrong(
            f"a mapping reads exactly one table, bronze.{bronze}",
            tables[-1] if tables else tree,
            "what needs a second table is resolved in gold, where everything is known",
        )
    if tree.find(exp.Subquery, exp.Join):
        raise wrong("a mapping has no joins and no subqueries", tree.find(exp.Subquery, exp.Join))
    problems: list[DefinitionError] = []
    for node in tree.find_all(exp.Cast, exp.TryCast, exp.StrToTime, exp.StrToDate, exp.Anonymous, exp.Func):
        name = node.name.lower() if isinstance(node, exp.Anonymous) else node.sql_name().lower()
        if name in FORBIDDEN or isinstance(node, (exp.StrToTime, exp.StrToDate, exp.TsOrDsToDate)):
            problems.append(
                wrong(
                    f"{node.sql(dialect='duckdb')} converts text without reporting what it cannot convert",
                    node,
                    f"use one of {', '.join(sorted(CONVERSIONS))}",
                )
            )

    expressions: dict[str, str] = {}
    lines: dict[str, int] = {}
    late: set[str] = set()
    conversions: list[Conversion] = []
    required_raw: dict[str, str] = {}
    for selected in tree.expressions:
        name = selected.alias_or_name
        if isinstance(selected, exp.Star) or not name:
            problems.append(wrong("every column of a mapping is named", selected, "write `expression as column`"))
            continue
        if name not in contract.columns:
            known = ", ".join(contract.columns)
            problems.append(wrong(f"{name!r} is not a column of {contract.table}", selected, f"use one of {known}"))
            continue
        body = selected.this if isinstance(selected, exp.Alias) else selected
        expressions[name] = body.sql(dialect="duckdb", normalize_functions=False)
        lines[name] = _line(mapping.sql, selected)
        if body.find(exp.AggFunc, exp.Window) or any(
            f.name.lower() in ("arg_max", "arg_min", "median") for f in body.find_all(exp.Anonymous)
        ):
            late.add(name)
        personal = name in contract.columns and contract.columns[name].pii
        conversions.extend(replace(c, personal=personal) for c in _conversions(body, name, wrong, problems))
        if (
            name in contract.required_columns
            and isinstance(body, exp.Anonymous)
            and body.name.lower().startswith("as_")
            and body.expressions
        ):
            argument = body.expressions[0]
            if isinstance(argument, exp.Column):
                required_raw[argument.name] = f"{contract.name}.{name}"
    for part in (tree.args.get("where"), tree.args.get("qualify")):
        if part is not None:
            conversions.extend(_conversions(part, part.key, wrong, problems))
    for name in contract.required_columns:
        if name not in expressions:
            problems.append(
                wrong(f"required column {name!r} of {contract.table} is not filled", tree, f"select … as {name}")
            )
    raise_all(problems)

    group = tree.args.get("group")
    group_by = tuple(g.sql(dialect="duckdb", normalize_functions=False) for g in group.expressions) if group else ()
    if late and not group and any(body.find(exp.AggFunc) and not body.find(exp.Window) for body in tree.expressions):
        raise wrong("an aggregate needs a GROUP BY", tree, "group by _load_date and the key")
    if group and "_load_date" not in group_by:
        raise wrong(
            "GROUP BY leaves out _load_date, so the result would depend on what else is loaded", group,
            "group by _load_date and the key",
        )  # fmt: skip
    windows = list(tree.find_all(exp.Window))
    for window in windows:
        if "_load_date" not in {
            p.sql(dialect="duckdb", normalize_functions=False) for p in window.args.get("partition_by") or []
        }:
            raise wrong(
                "a window leaves out _load_date, so the result would depend on what else is loaded", window,
                "partition by _load_date and the unit",
            )  # fmt: skip
    unit = source.file.units.get(f"{mapping.entity}.{mapping.raw_table}")
    if windows and not unit:
        raise wrong(
            "numbering rows needs a unit that the source delivers whole",
            windows[0],
            f"declare `units: {{{mapping.entity}.{mapping.raw_table}: [order_id]}}` in source.yml",
        )
    for name in unit or ():
        if name not in expressions:
            raise wrong(f"the unit's column {name!r} is not selected", tree)
    extract = source.file.tables[mapping.raw_table].extract
    if group and extract and extract.watermark:
        raise wrong(
            f"GROUP BY gathers rows, but extracts of {mapping.raw_table} bring only those whose "
            f"{extract.watermark} has moved",
            group,
            "leave out the watermark in source.yml and say `delivery: full`",
        )
    if group:
        outside = [expressions[k] for k in contract.key if k not in late and expressions[k] not in group_by]
        constant = [e for e in outside if not sqlglot.parse_one(e, dialect="duckdb").find(exp.Column)]
        if len(outside) > len(constant):
            raise wrong("GROUP BY leaves out a key column", group, "group by _load_date and the key")
    where_part, qualify = tree.args.get("where"), tree.args.get("qualify")
    raw = dict.fromkeys(
        c.name for c in tree.find_all(exp.Column) if not c.name.startswith("_load_date") and c.name not in _OURS
    )
    return CompiledMapping(
        mapping=mapping,
        contract=contract,
        bronze=f"bronze.{quote(bronze)}",
        delivery=source.file.tables[mapping.raw_table].delivery,
        max_rejected_share=source.file.tables[mapping.raw_table].max_rejected_share,
        expressions=expressions,
        late=frozenset(late),
        where=where_part.this.sql(dialect="duckdb", normalize_functions=False) if where_part else None,
        qualify=qualify.this.sql(dialect="duckdb", normalize_functions=False) if qualify else None,
        group_by=group_by,
        windowed=bool(windows),
        conversions=_each_once(conversions, expressions),
        raw_columns=tuple(raw),
        required_raw=required_raw,
        version_key=unit or contract.key,
        lines=lines,
    )


_OURS = frozenset({"_load_date", "_source_file", "_source_row", "_row_hash"})


def _each_once(conversions: Sequence[Conversion], expressions: dict[str, str]) -> tuple[Conversion, ...]:
    """One conversion per call: one that several columns make (a key made of the row's values, say) is at fault once.
    It is named for the column that it fills, if there is one."""
    found: dict[str, Conversion] = {}
    for conversion in conversions:
        if conversion.call not in found or expressions.get(conversion.column) == conversion.call:
            found[conversion.call] = conversion
    personal = {c.call for c in conversions if c.personal}
    return tuple(replace(c, personal=c.call in personal) for c in found.values())


def _conversions(
    body: Any, column: str, wrong: Callable[..., DefinitionError], problems: list[DefinitionError]
) -> list[Conversion]:
    from sqlglot import exp

    found = []
    for call in body.find_all(exp.Anonymous):
        macro = call.name.lower()
        if not macro.startswith("as_") or macro in TEXTS:
            continue
        if macro not in CONVERSIONS:
            known = ", ".join((*TEXTS, *sorted(CONVERSIONS)))
            problems.append(wrong(f"there is no macro {macro!r}", call, f"use one of {known}"))
            continue
        if not call.expressions:
            problems.append(wrong(f"{macro} converts nothing", call, f"name the raw column: {macro}(x)"))
            continue
        argument = call.expressions[0]
        if argument.find(exp.AggFunc, exp.Window):
            problems.append(
                wrong(
                    f"{macro} is applied to a result of several rows",
                    call,
                    "convert first, then aggregate: max(as_date(x))",
                )
            )
            continue
        found.append(
            Conversion(
                call.sql(dialect="duckdb", normalize_functions=False),
                argument.sql(dialect="duckdb", normalize_functions=False),
                column,
                CONVERSIONS[macro],
            )
        )
    return found


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
    compiled: dict[str, tuple[CompiledMapping, ...]] = {}
    problems: list[DefinitionError] = []
    for entity, contract in contracts.items():
        found = []
        for mapping in source.mappings_of(entity):
            try:
                found.append(compile_mapping(mapping, contract, source))
            except DefinitionError as error:
                problems.append(error)
        compiled[entity] = tuple(found)
    raise_all(problems)
    return compiled
