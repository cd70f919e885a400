"""What the values of a column are: numbers with which mark, dates in which order, words for true and false.

Every guess is tried out with the macros that mappings use (`warehouse/macros.sql`), on the column's own values, so what
is proposed does convert. What a column means is in `guess`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.ingestion.readers import text
from ecommerce_platform.scaffold.words import vocabulary

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Kind = Literal["boolean", "integer", "decimal", "double", "date", "timestamp"]

#: Different values of a column that are looked at: the most frequent ones.
_VALUES = 2_000
#: A conversion is proposed when at least this share of rows converts; the others may be totals or repeated headers.
_ENOUGH = 0.9
_DAYS = {
    "day": ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y", "%d %b %Y", "%d-%b-%Y", "%d %B %Y"),
    "month": ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y", "%b %d, %Y", "%B %d, %Y"),
    "year": ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y-%m-%d"),
    "period": ("%m/%Y", "%m.%Y", "%Y-%m"),
}
_TIMES = ("", " %H:%M:%S", " %H:%M", "T%H:%M:%S", " %I:%M:%S %p", " %I:%M %p", ", %H:%M", " %H:%M:%S.%f")
_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTEGER_LIMIT = 2_147_483_647


@dataclass(frozen=True)
class Form:
    """A way to convert a column: SQL around its name (`{}`), what comes out, and how many rows it converts.

    `order` tells the order of a date's parts, `mark` the decimal mark. `doubt` says what the values leave open.
    """

    sql: str
    kind: Kind
    rows: int = 0
    order: str = ""
    mark: str = ""
    doubt: str = ""

    def of(self, column: str) -> str:
        """The conversion of a column, given as SQL."""
        return self.sql.replace("{}", column)

    @property
    def has_time(self) -> bool:
        """Whether the format of a date says a time of day."""
        return "%H" in self.sql or "%I" in self.sql


@dataclass
class Column:
    """A raw column: how many rows fill it, with how many different values, the most frequent ones and what they are."""

    name: str
    rows: int
    filled: int
    distinct: int
    values: list[tuple[str, int]]
    forms: dict[Kind, Form] = field(default_factory=dict)
    #: Other orders of a date's parts that fit as well, for want of a day after the 12th.
    ambiguous: dict[Kind, list[Form]] = field(default_factory=dict)
    #: Times with an offset, which the platform does not convert.
    offset: bool = False

    @property
    def sql(self) -> str:
        """The column's name as SQL writes it."""
        return sql_name(self.name)

    @property
    def unique(self) -> bool:
        """Whether no value that is there repeats."""
        return self.filled > 0 and self.distinct == self.filled

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        return "decimal" in self.forms or "double" in self.forms

    @property
    def dated(self) -> bool:
        """Whether its values are days or times, and no plain numbers."""
        return "timestamp" in self.forms and not self.numeric

    @cached_property
    def words(self) -> int:
        """Letters to expect: the longest of its values."""
        return max((len(value) for value, _ in self.values), default=0)

    def form(self, kind: str) -> Form | None:
        """The conversion to a contract's type: VARCHAR has none."""
        wanted: dict[str, tuple[Kind, ...]] = {
            "BOOLEAN": ("boolean",),
            "INTEGER": ("integer",),
            "BIGINT": ("integer",),
            "DOUBLE": ("double", "decimal"),
            "DATE": ("date",),
            "TIMESTAMP": ("timestamp",),
        }
        for name in wanted.get(kind, ("decimal",)):
            if name in self.forms:
                return self.forms[name]
        return None

    @property
    def _is_mixed(self) -> bool:
        """Whether some of its values are codes of digits and letters: then all are codes."""
        return any(re.search(r"\d", value) and re.search(r"[^\W\d_]", value) for value, _ in self.values)

    @property
    def described(self) -> str:
        """Its type in words."""
        if not self.filled:
            return "empty"
        if "boolean" in self.forms and not (self.numeric and self.distinct > 2):
            return "yes or no"
        if self.dated:
            form = self.forms["timestamp"]
            how = {"day": ", day first", "month": ", month first"}.get(form.order, "")
            unsure = " (or the other way round: no day after the 12th tells)" if "timestamp" in self.ambiguous else ""
            return ("time" if form.has_time or (not form.order and "date" not in self.forms) else "date") + how + unsure
        if "integer" in self.forms:
            return "codes, most of them whole numbers" if self._is_mixed else "whole number"
        if self.numeric:
            return "number with a decimal comma" if self.forms["decimal"].mark == "," else "number"
        return "time with an offset" if self.offset else "text"


def sql_name(name: str) -> str:
    """A raw column's name as SQL: quoted where it has to be."""
    return name if _SIMPLE.fullmatch(name) and name.lower() not in _reserved() else quote(name)


_RESERVED_WORDS: set[str] = set()


def _reserved() -> set[str]:
    if not _RESERVED_WORDS:
        import duckdb

        with duckdb.connect() as con:
            _RESERVED_WORDS.update(
                word
                for (word,) in con.execute(
                    "select keyword_name from duckdb_keywords() where keyword_category <> 'unreserved'"
                ).fetchall()
            )
    return _RESERVED_WORDS


def profile(con: DuckDBPyConnection, table: str, columns: Sequence[str]) -> dict[str, Column]:
    """What there is to say of each column of a bronze table.

    Args:
        con: a warehouse with the conversion macros.
        table: the table as SQL writes it.
        columns: its raw columns.
    """
    found = {name: _count(con, table, name) for name in columns}
    for column in found.values():
        column.forms, column.ambiguous, column.offset = _forms(con, column)
    settle_marks(found.values())
    settle_orders(found.values())
    return found


def _count(con: DuckDBPyConnection, table: str, name: str) -> Column:
    found = con.execute(
        f"select v, n, count(*) over () as different, sum(n) over () as filled from "
        f"(select as_text({quote(name)}) as v, count(*) as n from {table} group by v) where v is not null "
        f"order by n desc, v limit {_VALUES}"
    ).fetchall()
    rows = con.execute(f"select count(*) from {table}").fetchone()
    assert rows is not None
    different, filled = found[0][2:] if found else (0, 0)
    return Column(name, rows[0], int(filled), different, [(value, count) for value, count, *_ in found])


def settle_marks(columns: Iterable[Column]) -> None:
    """Whole amounts fit with either decimal mark: they get that of their table's other amounts."""
    columns = list(columns)
    marks = {c.forms["decimal"].mark for c in columns if "decimal" in c.forms}
    if "," not in marks or "." in marks:
        return
    for column in columns:
        form = column.forms.get("decimal")
        if form and not form.mark and "as_decimal(" in form.sql:
            column.forms["decimal"] = replace(form, sql=form.sql.replace("as_decimal(", "as_decimal_comma("), doubt="")


def settle_orders(columns: Iterable[Column]) -> None:
    """Dates that fit with day or month first get the order of the other dates, where these tell."""
    columns = list(columns)
    known = {c.forms[k].order for c in columns for k in c.forms if c.forms[k].order and k not in c.ambiguous}
    for column in columns:
        for kind, others in list(column.ambiguous.items()):
            fitting = [f for f in (column.forms[kind], *others) if f.order in known]
            if fitting:
                column.forms[kind] = fitting[0]
                del column.ambiguous[kind]


def best_form(con: DuckDBPyConnection, values: Sequence[tuple[str, int]], kind: str) -> Form | None:
    """The macro that converts most of some values to a contract's type; None when hardly any does.

    Args:
        con: a warehouse with the macros.
        values: texts and how many rows have them.
        kind: the type, as a contract says it.
    """
    rows = sum(count for _, count in values)
    column = Column("x", rows, rows, len(values), list(values))
    column.forms, column.ambiguous, _ = _forms(con, column)
    return column.form(kind)


def _forms(con: DuckDBPyConnection, column: Column) -> tuple[dict[Kind, Form], dict[Kind, list[Form]], bool]:
    """The conversions that fit a column, by kind; others that fit as well; whether its times have an offset."""
    values = [(v, n) for v, n in column.values if v not in vocabulary().nothing]
    if not values:
        return {}, {}, False
    counted = sum(n for _, n in values)
    nothing = [v for v, _ in column.values if v in vocabulary().nothing]
    candidates = _candidates([v for v, _ in values])
    rows = _try(con, values, candidates)
    forms: dict[Kind, Form] = {}
    ambiguous: dict[Kind, list[Form]] = {}
    for kind in ("boolean", "integer", "decimal", "double", "timestamp", "date"):
        fitting = [replace(f, rows=n) for f, n in zip(candidates, rows, strict=True) if f.kind == kind]
        if kind in ("timestamp", "date"):
            fitting = _mixed(con, values, fitting)
        best = max(fitting, key=lambda f: f.rows, default=None)
        if best is None or best.rows < _ENOUGH * counted:
            continue
        forms[kind] = best
        others = [f for f in fitting if f.rows == best.rows and f.order and best.order and f.order != best.order]
        if others:
            ambiguous[kind] = others
    for marker in nothing:
        emptied = f"nullif({{}}, {text(marker)})"
        forms = {kind: replace(form, sql=form.sql.replace("{}", emptied)) for kind, form in forms.items()}
    offset = sum(n for v, n in values if re.search(r"\d{2}:\d{2}.*(Z|[+-]\d{2}:?\d{2})$", v)) > 0.5 * counted
    return forms, ambiguous, offset


def _try(con: DuckDBPyConnection, values: Sequence[tuple[str, int]], candidates: Sequence[Form]) -> list[int]:
    if not candidates:
        return []
    tested = ", ".join(f"coalesce(sum(n) filter (where {_converts(f)}), 0)" for f in candidates)
    row = con.execute(
        f"select {tested} from (select unnest($values::varchar[]) as v, unnest($counts::bigint[]) as n)",
        {"values": [v for v, _ in values], "counts": [n for _, n in values]},
    ).fetchone()
    assert row is not None
    return [int(n) for n in row]


def _converts(form: Form) -> str:
    sql = form.of("v")
    # %Y takes a two-digit year for the first century.
    return f"year({sql}) between 1900 and 2100" if form.kind in ("date", "timestamp") else f"({sql}) is not null"


def _candidates(values: Sequence[str]) -> list[Form]:
    """Conversions worth trying, in the order in which they are preferred."""
    found: list[Form] = []
    words = {v.lower() for v in values}
    if len(words) <= 3:
        found += _boolean(words)
    if any(c.isdigit() for v in values[:100] for c in v):
        found += _numbers(values)
        found += _dates(values)
    return found


def _boolean(words: set[str]) -> list[Form]:
    plain = Form("as_boolean({})", "boolean")
    foreign = {w: vocabulary().booleans[w] for w in sorted(words) if w in vocabulary().booleans}
    if not foreign:
        return [plain]
    # What is neither reaches as_boolean as it is and is named by it.
    cases = " ".join(f"when {text(word)} then '{value}'" for word, value in foreign.items())
    return [plain, Form(f"as_boolean(case lower(trim({{}})) {cases} else {{}} end)", "boolean")]


def _signs(sample: Sequence[str]) -> list[str]:
    """What stands before or behind most numbers: a currency, a percent sign, a unit. P-17 and H17 are no numbers."""
    counts: Counter[str] = Counter()
    for value in sample:
        if found := re.fullmatch(r"([^\d\s.,+\-']*)\s*[+-]?[\d.,\s']+?(\s*)([^\d\s.,+\-']*)", value):
            before, gap, behind = found.groups()
            for sign, apart in ((before, False), (behind, bool(gap))):
                word = any(c.isalpha() for c in sign)
                if sign and sign != "#" and (not word or apart or sign in vocabulary().currencies):
                    counts[sign] += 1
    return sorted(sign for sign, count in counts.items() if 2 * count > len(sample) and len(sign) <= 5)


def _numbers(values: Sequence[str]) -> list[Form]:
    sample = values[:500]
    inner = "{}"
    for sign in _signs(sample):
        inner = f"replace({inner}, {text(sign)}, '')"
    for space in ("\u00a0", "\u202f", " ", "'", "\u2019"):
        if any(re.search(rf"\d{space}\d{{3}}|\d{space}\D|\D{space}\d", v) for v in sample) and (
            space != " " or any(re.search(r"\d \d{3}", v) for v in sample)
        ):
            written = f"chr({ord(space)})" if ord(space) > 127 else text(space)
            inner = f"replace({inner}, {written}, '')"
    commas, dots = [v for v in sample if "," in v], [v for v in sample if "." in v]
    # 1,234 and 1.234 alone may be thousands; what is written 0,125 is none.
    comma_groups = bool(commas) and all(re.search(r"(?<!\d)[1-9]\d{0,2}(,\d{3})+(?!\d)", v) for v in commas)
    comma = bool(commas)
    dot = bool(dots) and not all(re.search(r"(?<![\d,])[1-9]\d{0,2}(\.\d{3})+(?![\d.])", v) for v in dots)
    found = [Form(f"as_integer({inner})", "integer")]
    if comma_groups and not dot:
        found.append(Form(f"as_integer(replace({inner}, ',', ''))", "integer"))
    if comma and all(re.fullmatch(r"\D*\d+(,0+)?\D*", v) for v in sample if "," in v):
        found.append(Form(f"as_integer(replace({inner}, ',', '.'))", "integer"))
    doubt = "1.234 may be a thousand: then it is as_decimal_comma" if dots and not dot and not comma else ""
    point = Form(f"as_decimal({inner})", "decimal", mark="." if dot else "", doubt=doubt)
    decimal_comma = Form(f"as_decimal_comma({inner})", "decimal", mark="," if comma else "")
    thousands = Form(f"as_decimal(replace({inner}, ',', ''))", "decimal", mark=".")
    if (
        comma
        and dots
        and all(v.rfind(",") < v.rfind(".") for v in commas if "." in v)
        and any("." in v for v in commas)
    ):
        found += [point, thousands]
    elif comma_groups and not dots:
        found += [thousands, decimal_comma]
    elif comma and dots:
        found += [decimal_comma, thousands]
    else:
        found += [point, decimal_comma]
    found.append(Form(f"as_double({inner})", "double", mark="." if dot else ""))
    if comma:
        found.append(Form(f"as_double(replace({inner}, ',', '.'))", "double", mark=","))
    return found


def _dates(values: Sequence[str]) -> list[Form]:
    found = [Form("as_timestamp({})", "timestamp"), Form("as_date({})", "date")]
    sample = values[:200]
    if not any(re.search(r"\d[-./ ,]|^\d{8}", v) for v in sample):
        return found
    signs, letters = set("".join(sample)), any(c.isalpha() and c not in "TtAaPpMm" for v in sample for c in v)
    for order, formats in _DAYS.items():
        for day in formats:
            for time in _TIMES:
                form = day + time
                # Only what the values can be: with these signs between the parts, with a time or month names or without.
                if not set(re.sub(r"%.", "", form)) <= signs or ("%b" in form.lower() and not letters):
                    continue
                found.append(Form(f"as_timestamp_format({{}}, '{form}')", "timestamp", order=order))
                found.append(Form(f"as_date_format({{}}, '{form}')", "date", order=order))
    return found


def _mixed(con: DuckDBPyConnection, values: Sequence[tuple[str, int]], forms: list[Form]) -> list[Form]:
    """Adds conversions with a list of formats, where values are written in several: with a time and without, say."""
    counted = sum(n for _, n in values)
    if not forms or max(f.rows for f in forms) == counted:
        return forms
    combined = []
    for order in ("day", "month", "year"):
        some = [f for f in forms if f.order == order and f.rows > 0]
        if len(some) < 2:
            continue
        some.sort(key=lambda f: -f.rows)
        formats = [re.search(r"'(.*)'", f.sql)[1] for f in some[:4]]  # type: ignore[index]
        # The longest first: strptime wants the whole text, so none hides another.
        listed = ", ".join(f"'{f}'" for f in sorted(formats, key=len, reverse=True))
        combined.append(Form(f"{some[0].sql.split('(')[0]}({{}}, [{listed}])", some[0].kind, 0, order))
    counts = _try(con, values, combined)
    best = max(f.rows for f in forms)
    return forms + [Form(f.sql, f.kind, n, f.order) for f, n in zip(combined, counts, strict=True) if n > best]
