"""DuckDB's SQL, in the portable subset, as Spark's: sqlglot, and what it leaves to be written out.

Pure functions over text. What the portable subset is, `warehouse/sql_lint.py` holds; that both engines give the same rows,
the parity tests do.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import exp


def view_of(table: str) -> str:
    """The name under which Spark reads `schema.table`: a view of the session, which has no schema."""
    return table.replace(".", "__")


@cache
def to_spark(sql: str) -> str:
    """A SELECT of DuckDB's as one of Spark's; its tables are read by the names that `view_of` gives them."""
    import sqlglot

    tree = sqlglot.parse_one(sql, dialect="duckdb").transform(_written_out)
    return tree.sql(dialect="spark", pretty=True)


def expression_to_spark(sql: str) -> str:
    """The same for an expression: a condition, a column."""
    return to_spark(f"select {sql}").removeprefix("SELECT").strip()


def _written_out(node: exp.Expr) -> exp.Expr:
    """One node, with what DuckDB does by itself and Spark does otherwise said in so many words."""
    from sqlglot import exp

    if isinstance(node, exp.Table) and node.db:
        return _table(node)
    if isinstance(node, exp.Div):  # of whole numbers and decimals too, a quotient is a double in DuckDB
        return exp.Div(this=_double(node.this), expression=_double(node.expression), typed=False, safe=False)
    if isinstance(node, exp.Avg):
        return exp.Avg(this=_double(node.this))
    return node


def _table(node: exp.Table) -> exp.Table:
    from sqlglot import exp

    rest = {name: value for name, value in node.args.items() if name not in ("this", "db", "alias")}
    alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(node.name))
    return exp.Table(this=exp.to_identifier(view_of(f"{node.db}.{node.name}")), alias=alias, **rest)


def _double(node: Any) -> exp.Cast:
    from sqlglot import exp

    return exp.Cast(this=node, to=exp.DataType.build("double"))
