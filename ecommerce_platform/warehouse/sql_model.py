"""Understanding a table's SELECT: what it reads, what it returns, and which column comes from which.

Dependencies and columns are needed while definitions load, so they cost one parse; lineage is worked out when a
table is materialized. Nothing here runs SQL.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import LAYERS, Catalog, Table
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.remembered import remembered
from ecommerce_platform.contracts.select import NotAllowedError, tables_read
from ecommerce_platform.errors import DefinitionError

if TYPE_CHECKING:
    from sqlglot import exp


@dataclass(frozen=True)
class SqlModel:
    """A parsed SELECT with its contract."""

    table: Table
    #: `schema.table` of everything it reads, in order of appearance.
    reads: tuple[str, ...]

    @cached_property
    def tree(self) -> Any:
        """The parsed SELECT."""
        return _one_select(self.table)

    @property
    def contract(self) -> Contract:
        """The table's contract."""
        return self.table.contract

    @property
    def code_version(self) -> str:
        """Hash of SELECT and contract: another one means another table."""
        text = f"{self.table.sql}\0{self.contract.text}"
        return sha256(text.encode()).hexdigest()[:16]


def parse_model(table: Table, known: Mapping[str, Table]) -> SqlModel:
    """Parses a table's SELECT and holds it against its contract and the tables there are.

    Raises:
        DefinitionError: with file and line: not valid SQL, not one SELECT, a table that does not exist, columns
            that differ from the contract's.
    """
    assert table.sql is not None
    what = f"reads and columns sqlglot {_sqlglot()}"
    said = remembered(table.sql, what, __file__, lambda: _reads_and_columns(_one_select(table)))
    _reads_what_is_there(said["reads"], table, known)
    try:
        tables_read(table.sql)
    except NotAllowedError as error:
        raise DefinitionError(str(error), where=f"{table.sql_path}:1", fix="read tables of the warehouse") from None
    _has_the_contracts_columns(said["columns"], table)
    return SqlModel(table, tuple(said["reads"]))


@cache
def _sqlglot() -> str:
    """Its version, without importing it."""
    from importlib.metadata import version

    return version("sqlglot")


def _reads_and_columns(tree: Any) -> dict[str, list[str]]:
    """The tables that a SELECT names, each once, and its columns; its own steps are no tables."""
    from sqlglot import exp

    steps = {cte.alias for cte in tree.find_all(exp.CTE)}
    named = (f"{t.db}.{t.name}" for t in tree.find_all(exp.Table) if t.db or t.name not in steps)
    return {"reads": list(dict.fromkeys(named)), "columns": list(tree.named_selects)}


def _one_select(table: Table) -> Any:
    """The tree of the one SELECT in a table's file."""
    import sqlglot
    from sqlglot import exp

    path = table.sql_path
    try:
        trees = [t for t in sqlglot.parse(table.sql or "", dialect="duckdb") if t is not None]
    except sqlglot.errors.ParseError as error:
        problem = error.errors[0] if error.errors else {}
        raise DefinitionError(
            f"not valid SQL: {problem.get('description', error)} near {problem.get('highlight', '')!r}",
            where=f"{path}:{problem.get('line', 1)}",
        ) from None
    except sqlglot.errors.TokenError as error:
        raise DefinitionError(f"not valid SQL: {error}", where=f"{path}:1") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise DefinitionError(
            "a table's file holds exactly one SELECT", where=f"{path}:1", fix="the warehouse writes, not the file"
        )
    return trees[0]


def _reads_what_is_there(reads: Collection[str], table: Table, known: Mapping[str, Table]) -> None:
    for name in reads:
        if name not in known and not name.startswith("bronze."):
            raise DefinitionError(
                f"there is no table {name.strip('.')!r}",
                where=f"{table.sql_path}:{_line_of(table, name)}",
                fix=f"write schema.table with one of the schemas {', '.join(LAYERS)}, or a step of the query",
            )
    if unread := [name for name in table.contract.reads_if_there if name not in reads]:
        raise DefinitionError(
            f"reads_if_there names {unread[0]}, which the SELECT does not read", where=table.contract.path
        )


def _line_of(table: Table, name: str) -> int:
    from sqlglot import exp

    return next(node_line(t) for t in _one_select(table).find_all(exp.Table) if f"{t.db}.{t.name}" == name)


def _has_the_contracts_columns(columns: list[str], table: Table) -> None:
    contract = table.contract
    if columns == list(contract.columns):
        return
    missing = [c for c in contract.columns if c not in columns]
    extra = [c for c in columns if c not in contract.columns]
    said = [
        *([f"missing in the SELECT: {', '.join(missing)}"] if missing else []),
        *([f"missing in {contract.path.name}: {', '.join(extra)}"] if extra else []),
    ]
    raise DefinitionError(
        f"SELECT and contract have different columns ({'; '.join(said) or 'the order differs'})",
        where=f"{table.sql_path}:{_last_select_line(_one_select(table))}",
        fix=f"make the last SELECT and {contract.path.name} name the same columns in the same order",
    )


def parse_models(catalog: Catalog, filled: Mapping[str, object]) -> dict[str, SqlModel]:
    """Every table that is a SELECT, parsed; without those that would be meaningless with this source.

    Args:
        catalog: all tables.
        filled: canonical entities → their mappings; an entity without any is empty.

    Raises:
        DefinitionError: a SELECT is wrong, or reads a table that this source leaves out.
    """
    models = {name: parse_model(table, catalog.tables) for name, table in catalog.tables.items() if table.sql}
    return without_left_out(models, filled)


def without_left_out(models: Mapping[str, SqlModel], filled: Mapping[str, object]) -> dict[str, SqlModel]:
    """Those of the models that mean something with this source; `filled` as in `parse_models`."""
    left_out: set[str] = set()
    while True:
        more = {
            name
            for name, model in models.items()
            if name not in left_out
            and (
                any(not filled.get(e) for e in model.contract.requires)
                or any(r in left_out and r not in model.contract.reads_if_there for r in model.reads)
            )
        }
        if not more:
            return {n: _with_empty(m, left_out, models) for n, m in models.items() if n not in left_out}
        left_out |= more


def _with_empty(model: SqlModel, left_out: Collection[str], models: Mapping[str, SqlModel]) -> SqlModel:
    """The model with a SELECT without rows in place of each table that is left out."""
    gone = [name for name in model.reads if name in left_out]
    if not gone:
        return model
    sql = model.table.sql or ""
    for name in gone:
        sql = _emptied(sql, name, models[name].contract)
    reads = tuple(name for name in model.reads if name not in left_out)
    return SqlModel(replace(model.table, sql=sql), reads)


def _emptied(sql: str, name: str, contract: Contract) -> str:
    columns = ", ".join(
        f"cast(null as {column.type}) as {column_name}" for column_name, column in contract.columns.items()
    )
    alias = f" as {contract.name}"
    return re.sub(
        rf"\b{re.escape(name)}\b( as \w+)?", lambda found: f"(select {columns} where false){found[1] or alias}", sql
    )


def node_line(node: exp.Expr) -> int:
    """The line a node stands on; sqlglot keeps it on identifiers."""
    for part in node.walk():
        if line := part.meta.get("line"):
            return int(line)
    return 1


def _last_select_line(tree: exp.Expr) -> int:
    return node_line(tree.expressions[0]) if tree.expressions else 1


def column_lineage(model: SqlModel, known: Mapping[str, Table]) -> dict[str, tuple[tuple[str, str], ...]]:
    """For each column of the table's SELECT the (schema.table, column) pairs its values come from."""
    result = query_lineage(model.tree, model.reads, known)
    return dict(zip(model.contract.columns, result.values(), strict=True))


def query_lineage(
    query: exp.Query, reads: Iterable[str], known: Mapping[str, Table]
) -> dict[str, tuple[tuple[str, str], ...]]:
    """For each column of a query the (schema.table, column) pairs its values come from.

    Works from the innermost step outwards and remembers each step's columns, so it costs one pass over the query
    (sqlglot's own `lineage` walks the query again for every column; a test compares the two).
    """
    from sqlglot import exp
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import Scope, traverse_scope

    schema: dict[str, Any] = {}
    for name in reads:
        if name in known:
            layer, table = name.split(".")
            columns = known[name].contract.all_columns
            schema.setdefault(layer, {})[table] = {c: column.type for c, column in columns.items()}
    tree = qualify(query.copy(), dialect="duckdb", schema=schema, validate_qualify_columns=False)
    steps: dict[int, list[dict[tuple[str, str], None]]] = {}
    result: list[dict[tuple[str, str], None]] = []
    for scope in traverse_scope(tree):
        result = _scope_columns(scope, steps, exp, Scope)
        steps[id(scope)] = result
    return {name: tuple(found) for name, found in zip(tree.named_selects, result, strict=True)}


def _scope_columns(scope: Any, steps: dict[int, Any], exp: Any, scope_type: Any) -> list[dict[tuple[str, str], None]]:
    if scope.set_operation_scopes:
        left, right = (steps[id(s)] for s in scope.set_operation_scopes)
        return [{**a, **b} for a, b in zip(left, right, strict=True)]
    result = []
    for selected in scope.expression.selects:
        found: dict[tuple[str, str], None] = {}
        for column in selected.find_all(exp.Column):
            source = scope.sources.get(column.table)
            if isinstance(source, exp.Table):
                found[(f"{source.db}.{source.name}", column.name)] = None
            elif isinstance(source, scope_type):
                names = source.expression.named_selects
                if column.name in names and id(source) in steps:
                    found.update(steps[id(source)][names.index(column.name)])
        result.append(found)
    return result
