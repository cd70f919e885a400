"""Metrics as DAX: a closed list of templates, SUM and DISTINCTCOUNT (alone or in CALCULATE with fixed filters) and DIVIDE.

A definition that fits none of them is left out with the reason; nothing is translated by guess. Which tables the model has
belongs in `model`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.metrics import Metric, Metrics

#: The fact a measure is taken over, where it is defined over several: lines are reached by every filter of the model.
PREFERRED = ("lines", "orders", "reviews")
#: Fact → table, what every aggregate over it is filtered by, and the columns that stand in for those of tables above it.
FACTS: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "lines": ("fct_order_items", (("fct_order_items", "is_valid", "true"),)),
    "orders": ("fct_orders", ()),
    "reviews": ("reviews", (("fct_orders", "order_id", "known"),)),
}
_ALIASES = {"lines": "fct_order_items", "orders": "fct_orders", "reviews": "reviews"}
_COLUMN = r"(\w+)\.(\w+)"
_SUM = re.compile(rf"sum\((?:cast\()?{_COLUMN}(?: as decimal\(\d+, \d+\)\))?\)")
_COUNT = re.compile(rf"count\({_COLUMN}\)")
_DISTINCT = re.compile(rf"count\(distinct case when {_COLUMN} then {_COLUMN} end\)")
_ROWS = re.compile(rf"count\(\*\)(?: filter \(where {_COLUMN}(?: (=|<=|<|>=|>) (\d+))?\))?")
_RATIO = re.compile(r"(?P<over>.+) / nullif\(\{(?P<under>[a-z_]+)\}, 0\)")
_CAST = re.compile(r"cast\((.+) as double\)")
_TERMS = re.compile(r"(?:\{[a-z_]+\}|[\d\s*+()-])+")


@dataclass(frozen=True)
class Aggregate:
    """SUM or DISTINCTCOUNT of a column, with fixed filters.

    Args:
        function: `SUM` or `DISTINCTCOUNT`.
        table: of the model.
        column: of the table.
        filters: table, column and `true`, `known` or a comparison such as `= 5`.
    """

    function: str
    table: str
    column: str
    filters: tuple[tuple[str, str, str], ...] = ()

    def dax(self) -> str:
        """As a DAX expression."""
        plain = f"{self.function}({self.table}[{self.column}])"
        return f"CALCULATE({', '.join((plain, *map(_filter, self.filters)))})" if self.filters else plain


@dataclass(frozen=True)
class Measure:
    """A measure of the model: an aggregate, or DIVIDE of an expression over `[names]` of other measures."""

    name: str
    description: str
    aggregate: Aggregate | None = None
    #: Numerator and denominator, with `{measure}` for the measures of the definitions.
    ratio: tuple[str, str] | None = None
    format: str = "count"
    #: Its metric; None: only there for others.
    metric: str | None = None


@dataclass
class Translated:
    """What became of the definitions."""

    #: By the measure's name in the definitions, or the metric's.
    measures: dict[str, Measure] = field(default_factory=dict)
    #: Metric → why it is left out.
    left_out: dict[str, str] = field(default_factory=dict)

    def dax(self, measure: Measure) -> str:
        """The DAX expression of one of them."""
        if measure.aggregate:
            return measure.aggregate.dax()
        assert measure.ratio
        return f"DIVIDE({', '.join(map(self._names, measure.ratio))})"

    def shown(self) -> dict[str, Measure]:
        """Those that are metrics, by the metric's name."""
        return {m.metric: m for m in self.measures.values() if m.metric}

    def _names(self, text: str) -> str:
        return re.sub(r"\{([a-z_]+)\}", lambda found: f"[{self.measures[found[1]].name}]", text)


def translate(metrics: Metrics, catalog: Catalog, tables: Collection[str]) -> Translated:
    """Makes measures of the metrics.

    Args:
        metrics: the definitions.
        catalog: for the keys of facts, since rows are counted by them.
        tables: the model's tables, by `schema.table`.
    """
    names = {table.partition(".")[2] for table in tables}
    result = Translated()
    single = {m.measures[0]: name for name, m in metrics.metrics.items() if m.formula == f"{{{name}}}"}
    for name, metric in metrics.metrics.items():
        if reason := _unfit(metric):
            result.left_out[name] = reason
            continue
        found = {m: aggregate_of(metrics.measures[m].aggregate, catalog, names) for m in metric.measures}
        if lost := [f"{m}: {a}" for m, a in found.items() if isinstance(a, str)]:
            result.left_out[name] = "; ".join(lost)
            continue
        ratio = _ratio(metric)
        if metric.measures != (name,) and ratio is None:
            result.left_out[name] = f"no template for {metric.formula}"
            continue
        for m, aggregate in found.items():
            if m not in single and not isinstance(aggregate, str):
                text = metrics.measures[m].description
                result.measures.setdefault(m, Measure(f"_{m}", text, aggregate))
        only = None if ratio else found[name]
        assert not isinstance(only, str)
        result.measures[name] = Measure(metric.label, metric.description, only, ratio, metric.format, name)
    return result


def aggregate_of(by_fact: dict[str, str], catalog: Catalog, tables: Collection[str]) -> Aggregate | str:
    """The aggregate of a measure, over the first fact the model has; else why there is none.

    Args:
        by_fact: fact → SQL aggregate, as measures define it.
        catalog: for the key of a table whose rows are counted.
        tables: names of the model's tables.
    """
    known = [fact for fact in PREFERRED if fact in by_fact and FACTS[fact][0] in tables]
    if not known:
        return f"the model has no {' or '.join(by_fact)} to take it over"
    fact = known[0]
    table, always = FACTS[fact]
    sql = by_fact[fact]
    if found := _SUM.fullmatch(sql):
        return Aggregate("SUM", _own(found[1], table), found[2], always)
    if found := _DISTINCT.fullmatch(sql):
        # What lines repeat of their order is counted on the lines, where filters of products arrive.
        counted = (table, found[4])
        return Aggregate(
            "DISTINCTCOUNT", *counted, (*always, (_own(found[1], table), found[2], "true"), (*counted, "known"))
        )
    key = _row_key(fact, catalog)
    if key and (found := _COUNT.fullmatch(sql)):
        return Aggregate("DISTINCTCOUNT", table, key, (*always, (_own(found[1], table), found[2], "known")))
    if key and (found := _ROWS.fullmatch(sql)):
        if found[1] is None:
            return Aggregate("DISTINCTCOUNT", table, key, always)
        value = f"{found[3]} {found[4]}" if found[3] else "true"
        return Aggregate("DISTINCTCOUNT", table, key, (*always, (_own(found[1], table), found[2], value)))
    return f"no template for {sql}" if key else f"rows of {table} have no key of one column to be counted by"


def _own(alias: str, table: str) -> str:
    return _ALIASES.get(alias, table)


def _row_key(fact: str, catalog: Catalog) -> str | None:
    """The one column that tells rows of a fact apart: the model adds one to tables whose key has several."""
    table = FACTS[fact][0]
    contract = next(t.contract for t in catalog.tables.values() if t.contract.name == table)
    return contract.key[0] if len(contract.key) == 1 else ROW


#: The column that Power Query adds to a table whose key has several columns: what is unique in it.
ROW = "row_key"


def _ratio(metric: Metric) -> tuple[str, str] | None:
    """Numerator and denominator, where a formula is a sum of measures over a measure."""
    if not (found := _RATIO.fullmatch(metric.formula or "")):
        return None
    over = found["over"]
    if cast := _CAST.fullmatch(over):
        over = cast[1]
    return (over, f"{{{found['under']}}}") if _TERMS.fullmatch(over) else None


def _unfit(metric: Metric) -> str | None:
    if metric.growth:
        return "growth compares with another period, complete ones only"
    if metric.share_of:
        return "a share of what the cut leaves out takes a filter away"
    if metric.churn:
        return "churn moves windows over each person's days"
    if metric.to_date:
        return "it is taken from the beginning up to the period's end"
    return None


def _filter(condition: tuple[str, str, str]) -> str:
    table, column, test = condition
    where = f"{table}[{column}]"
    if test == "true":
        return f"{where} = TRUE()"
    if test == "known":
        return f"NOT ISBLANK({where})"
    # In DAX a blank is less than any positive number.
    return f"NOT ISBLANK({where}) && {where} {test}" if test.startswith("<") else f"{where} {test}"
