"""SQL over one raw row: which conversions it makes, and what is wrong with them.

What a column of a mapping is made of, what `gathered` orders values by and what `expressions` calls by name are all of
this kind. Everything here is text in, text out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ecommerce_platform.errors import DefinitionError

#: Conversion macro → what its result is, for the words "… is not …".
CONVERSIONS = {
    "as_integer": "a whole number",
    "as_bigint": "a whole number",
    "as_decimal": "an amount with a decimal point",
    "as_rate": "an exchange rate with a decimal point",
    "as_decimal_comma": "an amount with a decimal comma",
    "as_decimal_sum": "JSON whose amounts have a decimal point",
    "as_double": "a number",
    "as_boolean": "true or false",
    "as_date": "a date (YYYY-MM-DD)",
    "as_date_format": "a date in the expected format",
    "as_timestamp": "a date or time (YYYY-MM-DD HH:MM:SS, without offset)",
    "as_timestamp_format": "a time in the expected format",
    "as_local_timestamp": "a time with its offset (YYYY-MM-DD HH:MM:SS+02:00, … Z or … UTC)",
    "as_local_timestamp_format": "a time in the expected format",
    "as_local_timestamp_epoch": "a number of seconds since 1970",
}
#: Macros that bring moments onto the shop's clock → which argument is the zone that times without an offset are in, and how
#: many arguments a mapping may write.
LOCAL = {
    "as_local_timestamp": (1, (1, 2)),
    "as_local_timestamp_format": (2, (3,)),
    "as_local_timestamp_epoch": (None, (1, 2)),
}
#: Mark of a call whose last argument is the shop's zone, which no mapping writes.
_PLACED = "placed"
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


def parsed(sql: str) -> Any:
    """The tree of an expression or a SELECT, as DuckDB reads it."""
    import sqlglot

    return sqlglot.parse_one(sql, dialect="duckdb")


def as_sql(tree: Any) -> str:
    """SQL of a tree."""
    return tree.sql(dialect="duckdb", normalize_functions=False)


def needs_several_rows(body: Any) -> bool:
    """Whether it looks at other rows than its own: aggregates and windows."""
    from sqlglot import exp

    named = {call.name.lower() for call in body.find_all(exp.Anonymous)}
    return bool(body.find(exp.AggFunc, exp.Window) or named & {"arg_max", "arg_min", "median"})


def unreported(tree: Any) -> list[Any]:
    """Calls that convert text without reporting what they could not convert."""
    from sqlglot import exp

    found = []
    for node in tree.find_all(exp.Cast, exp.TryCast, exp.StrToTime, exp.StrToDate, exp.Anonymous, exp.Func):
        name = node.name.lower() if isinstance(node, exp.Anonymous) else node.sql_name().lower()
        if name in FORBIDDEN or isinstance(node, (exp.StrToTime, exp.StrToDate, exp.TsOrDsToDate)):
            found.append(node)
    return found


def row_expression(
    sql: str, example: str, wrong: Callable[[str, str], DefinitionError]
) -> tuple[Any, list[DefinitionError]]:
    """The tree of an expression over one raw row, and what is wrong with it; without a tree it is none.

    Args:
        sql: what source.yml says.
        example: what it could be, for the advice.
        wrong: makes an error of what is wrong and how to put it right.
    """
    import sqlglot
    from sqlglot import exp

    try:
        tree = parsed(sql)
    except (sqlglot.errors.ParseError, sqlglot.errors.TokenError):
        tree = None
    if tree is None or tree.find(exp.Select, exp.Alias) or needs_several_rows(tree):
        return None, [wrong(f"{sql!r} is not an expression over one raw row", f"write {example}")]
    problems = [
        wrong(
            f"{node.sql(dialect='duckdb')} converts text without reporting what it cannot convert",
            f"use one of {', '.join(sorted(CONVERSIONS))}",
        )
        for node in unreported(tree)
    ]
    conversions(tree, "", lambda what, _, fix: wrong(what, fix), problems)
    return tree, problems


def conversions(
    body: Any, column: str, wrong: Callable[..., DefinitionError], problems: list[DefinitionError]
) -> list[Conversion]:
    """The conversions in an expression; `problems` is told of those that are none.

    Args:
        body: the expression's tree.
        column: the canonical column it serves.
        wrong: makes an error of what is wrong, the node at fault and how to put it right.
        problems: grows.
    """
    from sqlglot import exp

    found = []
    for call in body.find_all(exp.Anonymous):
        macro = call.name.lower()
        if not macro.startswith("as_") or macro in TEXTS:
            continue
        if against := _against(call, macro):
            problems.append(wrong(against[0], call, against[1]))
        else:
            found.append(Conversion(as_sql(call), as_sql(call.expressions[0]), column, CONVERSIONS[macro]))
    return found


def _against(call: Any, macro: str) -> tuple[str, str] | None:
    """What is wrong with the call of a conversion macro, and how to put it right."""
    from sqlglot import exp

    if macro not in CONVERSIONS:
        return f"there is no macro {macro!r}", f"use one of {', '.join((*TEXTS, *sorted(CONVERSIONS)))}"
    if not call.expressions:
        return f"{macro} converts nothing", f"name the raw column: {macro}(x)"
    if call.expressions[0].find(exp.AggFunc, exp.Window):
        return f"{macro} is applied to a result of several rows", "convert first, then aggregate: max(as_date(x))"
    return _against_zone(call, macro) if macro in LOCAL else None


def _against_zone(call: Any, macro: str) -> tuple[str, str] | None:
    """What is wrong with the arguments of a macro that brings moments onto the shop's clock."""
    from zoneinfo import available_timezones

    from sqlglot import exp

    position, counts = LOCAL[macro]
    given = call.expressions[:-1] if call.meta.get(_PLACED) else call.expressions
    if len(given) not in counts:
        fix = "as_local_timestamp_format(x, '%d.%m.%Y %H:%M', 'UTC')" if position == 2 else f"{macro}(x)"
        return f"{macro} has {len(given)} arguments", f"write {fix}: the shop's zone is that of source.yml"
    if position is None:
        parts = given[1:2]
        if parts and not (isinstance(parts[0], exp.Literal) and parts[0].name in ("1", "1000", "1000000")):
            return (
                f"{as_sql(parts[0])} is no part of a second",
                f"write {macro}(x), {macro}(x, 1000) or {macro}(x, 1000000)",
            )
        return None
    zones = given[position : position + 1]
    if zones and not (isinstance(zones[0], exp.Literal) and zones[0].name in available_timezones()):
        return f"{as_sql(zones[0])} is no time zone", "write an IANA name such as 'UTC' or 'America/New_York'"
    return None


def on_the_clock_of(zone: str, tree: Any) -> bool:
    """Adds the shop's zone to every call in a tree that brings a moment onto its clock; whether there is one.

    Args:
        zone: IANA name.
        tree: of a mapping or an expression, as it is written; changed in place, and to be given once.
    """
    from sqlglot import exp

    calls = [call for call in tree.find_all(exp.Anonymous) if call.name.lower() in LOCAL]
    for call in calls:
        call.append("expressions", exp.Literal.string(zone))
        call.meta[_PLACED] = True
    return bool(calls)


def each_once(conversions: Sequence[Conversion], expressions: dict[str, str]) -> tuple[Conversion, ...]:
    """One conversion per call: one that several columns make (a key made of the row's values, say) is at fault once.
    It is named for the column that it fills, if there is one."""
    found: dict[str, Conversion] = {}
    for conversion in conversions:
        if conversion.call not in found or expressions.get(conversion.column) == conversion.call:
            found[conversion.call] = conversion
    personal = {c.call for c in conversions if c.personal}
    return tuple(replace(c, personal=c.call in personal) for c in found.values())
