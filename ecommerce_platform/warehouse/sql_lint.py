"""Keeps SELECTs in the subset that DuckDB and a distributed engine read the same way.

Every rule is here because the construct, translated by sqlglot, gave another result without a word or failed. A
pure function over text: which files are held to it, the tests say. sqlfluff looks at style.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import exp

#: Columns that hold a day by the naming rules, besides everything that ends in `_date`.
DAY_COLUMNS = frozenset({"date", "week", "month", "quarter", "first_day", "last_day"})
#: Conversion macros whose result is known.
DATE_MACROS = frozenset({"as_date", "as_date_format"})
DOUBLE_MACROS = frozenset({"as_double"})
#: Said of a recursion that another engine refuses, so that a contract may say why it stays.
RECURSION = "a recursion that aggregates fails elsewhere: aggregate what it gives after it, or say `not_on_spark:` in the contract"
#: Parts of a date that engines number differently.
WEEKDAYS = frozenset({"dow", "isodow", "dayofweek", "weekday", "dayofweek_iso"})


def lint_sql(sql: str) -> list[tuple[int, str]]:
    """What in `sql` another engine would read differently, as (line, message) in the order of lines."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect="duckdb") if tree is not None]
        tokens = sqlglot.tokenize(sql, dialect="duckdb")
    except SqlglotError as error:
        problem = (getattr(error, "errors", None) or [{}])[0]
        return [(int(problem.get("line") or 1), f"not valid SQL: {problem.get('description') or error}")]
    found = {(_line(node), message) for tree in trees for node in tree.walk() for message in _messages(node)}
    # The tree no longer tells len from length, so this one rule looks at the text.
    for token, following in pairwise(tokens):
        if token.text.lower() == "len" and following.text == "(":
            found.add((token.line, "len() means other things elsewhere: length() of a text, array_length() of a list"))
    return sorted(found)


def _messages(node: exp.Expr) -> Iterator[str]:
    """What is wrong with this one node of the tree."""
    yield from _differing(node)
    yield from _failing(node)


def _differing(node: exp.Expr) -> Iterator[str]:
    """What runs elsewhere and gives another result."""
    from sqlglot import exp

    if isinstance(node, exp.DateDiff):
        if not (_is_day(node.this) and _is_day(node.expression)):
            yield "date_diff of times counts differently elsewhere: cast both to date first"
    elif isinstance(node, exp.Median):
        if not _is_double(node.this):
            yield "median of a decimal differs elsewhere: cast it to double"
    elif isinstance(node, exp.ArrayAgg):
        if isinstance(node.this, exp.Order) or isinstance(node.parent, exp.WithinGroup):
            yield "list(… order by …) loses its order elsewhere: use string_agg, or sort where it is read"
    elif isinstance(node, (exp.RegexpLike, exp.RegexpExtract, exp.RegexpExtractAll, exp.RegexpFullMatch)):
        given = (node.args.get(name) for name in ("flag", "parameters", "options"))
        if any("i" in flag.name for flag in given if flag is not None):
            yield "the regexp flag 'i' is lost elsewhere: write (?i) in the pattern"
    elif isinstance(node, exp.RegexpReplace):
        flags = node.args["modifiers"].name if node.args.get("modifiers") else ""
        if "g" not in flags:
            yield "regexp_replace without 'g' replaces all elsewhere: add 'g', or match the whole text"
        if "i" in flags:
            yield "the regexp flag 'i' is lost elsewhere: write (?i) in the pattern"
    elif isinstance(node, (exp.DayOfWeek, exp.DayOfWeekIso)) or _is_weekday_part(node):
        yield "engines number weekdays differently: count days from date_trunc('week', …)"
    elif isinstance(node, (exp.Monthname, exp.Dayname)):
        yield "names of days and months differ elsewhere: use strftime"
    elif isinstance(node, exp.WithinGroup) and isinstance(node.this, (exp.PercentileCont, exp.PercentileDisc)):
        yield "percentile … within group differs elsewhere: use median of a double"
    elif isinstance(node, exp.Mode):
        # In order, the first of the most frequent wins; other engines refuse that spelling, so it is never wrong silently.
        if not isinstance(node.this, exp.Order):
            yield "mode breaks ties at random: rank the counts with a full tie-break, or in a mapping mode(x order by x)"
    elif isinstance(node, exp.Sub) and _is_day(node.this) and _is_day(node.expression):
        yield "the difference of two days is an interval elsewhere: use date_diff('day', …)"
    elif isinstance(node, exp.Anonymous) and node.name.lower() == "hash":
        yield "hash() differs by engine and version: use md5"


def _failing(node: exp.Expr) -> Iterator[str]:
    """What does not run elsewhere."""
    from sqlglot import exp

    if isinstance(node, (exp.PercentileCont, exp.PercentileDisc, exp.Quantile)):
        if not isinstance(node.parent, exp.WithinGroup):
            yield "quantiles have no common spelling: use median of a double, or ntile"
    elif isinstance(node, exp.GenerateSeries):
        if isinstance(node.parent, exp.Table):
            yield "series functions are no tables elsewhere: use gold.dim_date, or cross join digits"
    elif isinstance(node, exp.Pivot):
        yield "pivot and unpivot fail elsewhere: use filter (where …), or union all"
    elif isinstance(node, exp.Join) and node.method.upper() == "ASOF":
        yield "asof joins fail elsewhere: join on a range and keep the newest with qualify"
    elif isinstance(node, exp.Star) and node.args.get("replace"):
        yield "* replace fails elsewhere: name the columns"
    elif isinstance(node, exp.SetOperation) and node.args.get("by_name"):
        yield "union by name fails elsewhere: name the columns in one order"
    elif isinstance(node, exp.DateBin):
        yield "time_bucket fails elsewhere: use date_trunc"
    elif isinstance(node, exp.CTE):
        if _aggregates_itself(node):
            yield RECURSION
    elif isinstance(node, (exp.Div, exp.IntDiv, exp.Mod)) and not _is_never_zero(node.expression):
        yield "division by zero is an error elsewhere: divide by nullif(…, 0)"


def _aggregates_itself(node: Any) -> bool:
    """Whether a step of a recursion aggregates, ranks or sorts what the step before gave."""
    from sqlglot import exp

    steps = [t.find_ancestor(exp.Select) for t in node.this.find_all(exp.Table) if not t.db and t.name == node.alias]
    refused = (exp.AggFunc, exp.Window, exp.Group, exp.Distinct, exp.Order)
    return any(step is not None and step.find(*refused) for step in steps)


def _is_weekday_part(node: Any) -> bool:
    from sqlglot import exp

    if isinstance(node, exp.Extract):
        return node.name.lower() in WEEKDAYS
    if not isinstance(node, exp.Anonymous):
        return False
    name = node.name.lower()
    return name in WEEKDAYS or (
        name in ("date_part", "datepart") and bool(node.expressions) and node.expressions[0].name.lower() in WEEKDAYS
    )


def _is_day(node: Any) -> bool:
    """Whether an expression is a DATE for sure: cast, named like one, or made of such by a function that keeps it."""
    from sqlglot import exp

    if isinstance(node, (exp.Cast, exp.TryCast)):
        return bool(node.to.is_type(exp.DType.DATE))
    if isinstance(node, exp.Column):
        return node.name.lower().endswith("_date") or node.name.lower() in DAY_COLUMNS
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in DATE_MACROS
    if isinstance(node, exp.Coalesce):
        return all(_is_day(part) for part in (node.this, *node.expressions))
    if isinstance(node, (exp.Add, exp.Sub)):
        return _is_day(node.this) and not isinstance(node.expression, exp.Interval)
    keeps = (
        exp.Window, exp.Paren, exp.Filter, exp.IgnoreNulls, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.Min,
        exp.Max, exp.AnyValue, exp.ArgMax, exp.ArgMin,
    )  # fmt: skip
    return isinstance(node, keeps) and _is_day(node.this)


def _is_double(node: Any) -> bool:
    from sqlglot import exp

    if isinstance(node, (exp.Cast, exp.TryCast)):
        return bool(node.to.is_type(exp.DType.DOUBLE))
    return isinstance(node, exp.Anonymous) and node.name.lower() in DOUBLE_MACROS


def _is_never_zero(node: Any) -> bool:
    """Whether a divisor is a constant other than 0, or becomes null where it is 0."""
    from sqlglot import exp

    if isinstance(node, (exp.Paren, exp.Neg, exp.Cast)):
        return _is_never_zero(node.this)
    if isinstance(node, exp.Nullif):
        return node.expression.is_number and float(node.expression.name) == 0
    return isinstance(node, exp.Literal) and not node.is_string and float(node.name) != 0


def _line(node: Any) -> int:
    """The line of a node: sqlglot keeps it on names, so the first name in it, or around it, decides."""
    while node is not None:
        lines = [part.meta["line"] for part in node.walk() if "line" in part.meta]
        if lines:
            return int(min(lines))
        node = node.parent
    return 1
