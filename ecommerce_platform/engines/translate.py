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

    tree = sqlglot.parse_one(sql, dialect="duckdb")
    for node in reversed(list(tree.walk(bfs=True))):  # what stands inside first: it may be said twice afterwards
        new = _written_out(node)
        if new is not node:
            node.replace(new)
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
    if isinstance(node, exp.CTE):  # Spark decides itself what it works out once
        node.set("materialized", None)
    elif isinstance(node, exp.Cast) and not _has_no_fraction(node.this):
        return _cast(node)
    return node


def _has_no_fraction(value: Any) -> bool:
    """Whether nothing can be rounded of a value, as its text shows."""
    from sqlglot import exp

    if isinstance(value, exp.Cast):
        return not value.to.is_type(exp.DType.DOUBLE, exp.DType.FLOAT, exp.DType.DECIMAL)
    return isinstance(value, (exp.Literal, exp.Null, exp.Count))


def _cast(node: exp.Cast) -> exp.Expr:
    """A cast to a number, rounding as DuckDB does. Only Spark knows the type of what is cast: it settles the CASE, which is
    about types alone, before anything runs.
    """
    from sqlglot import exp

    kind, value = node.to, node.this
    ways: dict[str, exp.Expr]
    if kind.is_type(exp.DType.DECIMAL):
        # Of a double, its binary value is rounded, not the decimal text it is shown as: 94.41975 is a little less.
        power = f"1e{kind.expressions[1].name if len(kind.expressions) > 1 else 3}"
        ways = {"= 'double'": exp.Div(this=exp.Anonymous(this="round", expressions=[_times(value, power)]),
                                      expression=_number(power), typed=False, safe=False)}  # fmt: skip
    elif kind.is_type(*exp.DataType.INTEGER_TYPES):
        # Spark cuts off what stands behind the point.
        ways = {
            "= 'double'": exp.Anonymous(this="rint", expressions=[value.copy()]),
            "like 'decimal%'": exp.Anonymous(this="round", expressions=[value.copy()]),
        }
    else:
        return node
    case = exp.Case(default=node.copy())
    for condition, rounded in ways.items():
        test = exp.condition(f"typeof(x) {condition}", dialect="spark")
        test.find(exp.Column).replace(value.copy())  # type: ignore[union-attr]
        case.append("ifs", exp.If(this=test, true=type(node)(this=rounded, to=kind.copy())))
    return case


def _times(value: Any, power: str) -> exp.Mul:
    from sqlglot import exp

    return exp.Mul(this=_double(value.copy()), expression=_number(power))


def _number(power: str) -> exp.Cast:
    """A power of ten as a double: a bare 1e4 is a decimal to some readers."""
    from sqlglot import exp

    return _double(exp.Literal.number(power))


def _table(node: exp.Table) -> exp.Table:
    from sqlglot import exp

    rest = {name: value for name, value in node.args.items() if name not in ("this", "db", "alias")}
    alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(node.name))
    return exp.Table(this=exp.to_identifier(view_of(f"{node.db}.{node.name}")), alias=alias, **rest)


def _double(node: Any) -> exp.Cast:
    from sqlglot import exp

    return exp.Cast(this=node, to=exp.DataType.build("double"))
