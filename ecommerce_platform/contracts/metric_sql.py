"""One SELECT for metrics × dimensions × filters × period, over the core facts.

What may be asked is decided in `metrics.py`; here it becomes text. Names come from the definitions alone and values are
written as escaped literals, so nothing of what a reader asks for is ever read as SQL. The SELECT is of the portable subset.

Measures are taken per fact (a step each), brought together on the period and the dimensions, and only then divided:
no ratio is ever made of ratios, and distinct counts are counted at the cut that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from ecommerce_platform.contracts.metrics import PERIODS, Metrics
from ecommerce_platform.errors import MetricError

#: What is not known stands under this value, as in gold.kpi_by_dimension.
UNKNOWN = "unknown"
_MONEY = "decimal(18, 4)"
_LENGTH = {"day": "1 day", "week": "7 day", "month": "1 month", "quarter": "3 month", "year": "12 month"}
#: A year before, so that days and weeks meet their own weekday again.
_YEAR = {"day": "364 day", "week": "364 day", "month": "12 month", "quarter": "12 month", "year": "12 month"}


@dataclass(frozen=True)
class Filter:
    """Rows whose dimension has one of these values (or, with `exclude`, none of them)."""

    dimension: str
    values: tuple[str, ...]
    exclude: bool = False


@dataclass(frozen=True)
class Query:
    """What is asked for.

    `by` are dimensions, `period` one of PERIODS or None for everything at once; `since` and `until` are the first and the
    last day. A period that they cut short is not complete.
    """

    metrics: tuple[str, ...]
    by: tuple[str, ...] = ()
    period: str | None = None
    filters: tuple[Filter, ...] = ()
    since: date | None = None
    until: date | None = None


def compile_query(metrics: Metrics, query: Query) -> str:
    """The SELECT that answers a query.

    Its columns are `period` (its first day) and `is_complete` where a period is asked for (`is_complete` not of days), the
    dimensions, then the metrics in the order asked for: money as DECIMAL(18,4), counts as BIGINT, all else as DOUBLE.
    Dimensions are text, `unknown` where nothing is known.

    Raises:
        MetricError: a name is not known, or the metric cut in this way has no meaning; with the reason.
    """
    _check(metrics, query)
    return _Compiler(metrics, query).sql()


def literal(value: str | date) -> str:
    """A value as an SQL literal that no content can leave.

    Raises:
        MetricError: text that a database cannot hold.
    """
    if isinstance(value, date):
        return f"date '{value:%Y-%m-%d}'"
    if not isinstance(value, str) or "\x00" in value:
        raise MetricError(f"{value!r} is no value that a filter can have", fix="give text")
    return "'" + value.replace("'", "''") + "'"


def _check(metrics: Metrics, query: Query) -> None:
    if not query.metrics:
        raise MetricError("no metric is asked for", fix=f"name some of {', '.join(metrics.metrics)}")
    for names in (query.metrics, query.by):
        if twice := [name for name in names if names.count(name) > 1]:
            raise MetricError(f"{twice[0]} is asked for twice")
    if query.period is not None and query.period not in PERIODS:
        raise MetricError(f"there is no period {query.period!r}", fix=f"periods are {', '.join(PERIODS)}")
    if query.since and query.until and query.since > query.until:
        raise MetricError(f"the range begins on {query.since}, after its end on {query.until}")
    for name in query.metrics:
        metrics.check_cut(name, (*query.by, *(f.dimension for f in query.filters)), query.period)
    for found in query.filters:
        if not found.values:
            raise MetricError(f"the filter on {found.dimension} names no value")


@dataclass
class _Compiler:
    """The steps of one SELECT, collected on the way."""

    metrics: Metrics
    query: Query
    steps: dict[str, str] = field(default_factory=dict)
    #: Steps whose rows are part of the result, by the metrics' expressions that use them.
    parts: list[str] = field(default_factory=list)

    @property
    def keys(self) -> tuple[str, ...]:
        return (*(("period",) if self.query.period else ()), *self.query.by)

    @property
    def _cut_by_lines(self) -> bool:
        named = (*self.query.by, *(f.dimension for f in self.query.filters))
        return any(self.metrics.dimension(name).level == "line" for name in named)

    def sql(self) -> str:
        columns = [(name, self._expression(name)) for name in self.query.metrics]
        selected = [f"keys.{name}" for name in self.keys]
        joins = [_left_join(part, "keys", self.keys) for part in self.parts]
        if self.query.period and self.query.period != "day":
            selected.insert(1, f"{self._whole('keys.period')} as is_complete")
            joins.append(self._coverage("coverage", "keys.period"))
        selected += [f"{expression} as {name}" for name, expression in columns]
        self.steps["keys"] = self._keys()
        order = f"\norder by {', '.join(f'keys.{name}' for name in self.keys)}" if self.keys else ""
        steps = ",\n\n".join(f"{name} as (\n{text}\n)" for name, text in self.steps.items())
        return (
            f"with {steps}\n\nselect\n    " + ",\n    ".join(selected) + "\nfrom keys\n" + "\n".join(joins) + order
        ).rstrip()

    def _keys(self) -> str:
        """Every combination of period and values that any part has."""
        if not self.keys:
            return "select 1 as one"
        names = ", ".join(self.keys)
        where = self._asked_periods("period") if self.query.period else ""
        return "\nunion\n".join(f"select {names} from {part}{where}" for part in self.parts)

    def _expression(self, name: str) -> str:
        """A metric's value at a row of keys; adds the steps it needs."""
        metric = self.metrics.metric(name)
        if metric.growth:
            value = f"{self._growth(name)}.{name}"
        elif metric.churn:
            part = self._churn()
            value = f"coalesce({part}.customers_lost, 0) / nullif({part}.customers_before, 0)"
        elif metric.share_of:
            base = self._formula(metric.share_of, to_date=False)
            whole = f"sum({base}) over ({'partition by keys.period' if self.query.period else ''})"
            value = f"cast({base} as double) / nullif({whole}, 0)"
        else:
            value = self._formula(name, metric.to_date)
        kind = {"money": _MONEY, "count": "bigint"}.get(metric.format, "double")
        return f"cast({value} as {kind})"

    def _formula(self, name: str, to_date: bool) -> str:
        metric = self.metrics.metric(name)
        assert metric.formula is not None
        found = {}
        for measure in metric.measures:
            part = self._measured(self._fact(measure), to_date)
            value = f"{part}.{measure}"
            found[measure] = (
                value if self.metrics.measures[measure].without_rows == "unknown" else f"coalesce({value}, 0)"
            )
        return metric.formula.format(**found)

    def _fact(self, measure: str) -> str:
        """The fact a measure is taken over: the coarsest that can be cut as asked."""
        known = self.metrics.measures[measure].aggregate
        if self._cut_by_lines and "lines" in known:
            return "lines"
        return next(iter(known))

    def _measured(self, fact: str, to_date: bool) -> str:
        """The step with a fact's measures by the keys, in the period or up to its end."""
        name = f"{fact}_to_date" if to_date else f"of_{fact}"
        if name in self.steps:
            return name
        since = None if to_date else self.query.since
        if not to_date or not self.query.period:
            self.steps[name] = self._grouped(fact, self._measures_of(fact, to_date), since)
        else:
            measures = self._measures_of(fact, to_date)
            self.steps[f"{fact}_by_period"] = self._grouped(fact, measures, None)
            self._spine()
            self.steps[name] = self._added_up(f"{fact}_by_period", measures)
        self.parts.append(name)
        return name

    def _measures_of(self, fact: str, to_date: bool) -> tuple[str, ...]:
        """All measures that the query takes over a fact, in the period or up to its end; growth has steps of its own."""
        asked = [n for n in self.query.metrics if (m := self.metrics.metric(n)).to_date == to_date and not m.growth]
        needed = dict.fromkeys(m for name in asked for m in self.metrics.needed(name))
        return tuple(m for m in needed if self._fact(m) == fact)

    def _grouped(self, fact: str, measures: Sequence[str], since: date | None) -> str:
        found = self.metrics.facts[fact]
        columns = [f"{_truncated(self.query.period, found.date)} as period"] if self.query.period else []
        columns += [f"{self._value(name, fact)} as {name}" for name in self.query.by]
        columns += [f"{self.metrics.measures[m].aggregate[fact]} as {m}" for m in measures]
        return self._select(fact, columns, since, len(self.keys))

    def _select(self, fact: str, columns: Sequence[str], since: date | None, grouped: int) -> str:
        """A SELECT over a fact, with what its cuts need joined, the filters and the range of days."""
        found = self.metrics.facts[fact]
        conditions = [f"{found.date} is not null"]
        if since:
            conditions.append(f"{found.date} >= {literal(since)}")
        if self.query.until:
            conditions.append(f"{found.date} <= {literal(self.query.until)}")
        conditions += [
            self._condition(f, fact) for f in self.query.filters if not self._through_lines(f.dimension, fact)
        ]
        rows = "\n".join([found.rows, *self._joins(fact)])
        text = "select\n    " + ",\n    ".join(columns) + f"\nfrom {rows}\nwhere " + "\n    and ".join(conditions)
        return text + (f"\ngroup by {', '.join(str(n + 1) for n in range(grouped))}" if grouped else "")

    def _through_lines(self, dimension: str, fact: str) -> bool:
        """Whether a fact of whole orders has the dimension only through the lines that the orders hold."""
        return self.metrics.dimension(dimension).level == "line" and fact != "lines"

    def _joins(self, fact: str) -> list[str]:
        named = dict.fromkeys((*self.query.by, *(f.dimension for f in self.query.filters)))
        person = _person(fact)
        own = [n for n in named if not self._through_lines(n, fact)]
        joins = dict.fromkeys(
            join.format(person=person) for n in own if (join := self.metrics.dimension(n).join) is not None
        )
        if len(own) < len(named):
            joins[self._values_of_lines([n for n in named if n not in own])] = None
        return list(joins)

    def _values_of_lines(self, dimensions: Sequence[str]) -> str:
        """Each order once with each combination of values that its valid lines have."""
        lines = self.metrics.facts["lines"]
        by = [n for n in dimensions if n in self.query.by]
        joins = dict.fromkeys(j for n in dimensions if (j := self.metrics.dimension(n).join))
        filters = [self._condition(f, "lines") for f in self.query.filters if f.dimension in dimensions]
        columns = ", ".join(["orders.order_id", *(f"{self._value(n, 'lines')} as {n}" for n in by)])
        where = f" where {' and '.join(filters)}" if filters else ""
        rows = " ".join([lines.rows, *joins])
        return f"inner join (select distinct {columns} from {rows}{where}) as held on orders.order_id = held.order_id"

    def _value(self, dimension: str, fact: str) -> str:
        if self._through_lines(dimension, fact):
            return f"held.{dimension}"
        return f"coalesce({self.metrics.dimension(dimension).sql}, '{UNKNOWN}')"

    def _condition(self, found: Filter, fact: str) -> str:
        values = ", ".join(map(literal, found.values))
        return f"{self._value(found.dimension, fact)} {'not in' if found.exclude else 'in'} ({values})"

    def _asked_periods(self, column: str) -> str:
        """The condition that leaves out periods before the range, which growth and sums to date had to look at."""
        if not self.query.since:
            return ""
        return f" where {column} >= {_truncated(self.query.period, literal(self.query.since))}"

    def _spine(self) -> None:
        """Every period from the shop's first day on to the last day that shows anything, with its last day."""
        until = f" and calendar_date <= {literal(self.query.until)}" if self.query.until else ""
        self.steps["periods"] = (
            f"select distinct {_truncated(self.query.period, 'calendar_date')} as period\n"
            "from gold.dim_date\n"
            f"where calendar_date <= (select max(order_date) from gold.fct_days){until}"
        )

    def _added_up(self, step: str, measures: Sequence[str]) -> str:
        """The measures of a step from the beginning to each period's end, also where a period has none."""
        by = self.query.by
        names = "".join(f"firsts.{n}, " for n in by)
        partition = f"partition by {', '.join(f'firsts.{n}' for n in by)} " if by else ""
        sums = ",\n    ".join(
            f"sum({step}.{m}) over ({partition}order by periods.period rows unbounded preceding) as {m}"
            for m in measures
        )
        firsts = f"select {''.join(f'{n}, ' for n in by)}min(period) as period from {step}"
        firsts += f" group by {', '.join(by)}" if by else ""
        same = "".join(f" and firsts.{n} = {step}.{n}" for n in by)
        return (
            f"select\n    {names}periods.period,\n    {sums}\nfrom periods\n"
            f"inner join ({firsts}) as firsts on periods.period >= firsts.period\n"
            f"left join {step} on periods.period = {step}.period{same}"
        )

    def _churn(self) -> str:
        """The step with the customers before the window and those of them that did not come back in it.

        As in gold.kpi_monthly: a purchase day counts for its person when no other follows up to E − N.
        """
        if "churn" in self.steps:
            return "churn"
        by = "".join(f"{n}, " for n in self.query.by)
        values = [f"{self._value(n, 'persons')} as {n}" for n in self.query.by]
        columns = [*values, "days.order_date", "days.next_order_date", "count(*) as persons"]
        self.steps["spells"] = self._select("persons", columns, None, len(values) + 2)
        self._spine()
        end = f"cast(periods.period + interval {_LENGTH[self.query.period or '']} - interval 1 day as date)"
        self.steps["period_ends"] = (
            f"select periods.period, {end} as last_day, shop.churn_window_days as window_days\n"
            "from periods\ncross join silver.shop as shop"
        )
        self.steps["churn"] = (
            f"select\n    {by}period_ends.period,\n    sum(spells.persons) as customers_before,\n"
            "    sum(spells.persons) filter (\n"
            "        where spells.next_order_date is null or spells.next_order_date > period_ends.last_day\n"
            "    ) as customers_lost\n"
            "from period_ends\ninner join spells\n    on spells.order_date > period_ends.last_day - 2 * period_ends.window_days\n"
            "    and spells.order_date <= period_ends.last_day - period_ends.window_days\n"
            "where spells.next_order_date is null\n"
            "    or spells.next_order_date > period_ends.last_day - period_ends.window_days\n"
            f"group by {', '.join(str(n + 1) for n in range(len(self.keys)))}"
        )
        self.parts.append("churn")
        return "churn"

    def _growth(self, name: str) -> str:
        """The step with a metric's growth, whose own rows and those of the other period are its keys."""
        growth, period = self.metrics.metric(name).growth, self.query.period
        assert growth is not None
        assert period is not None
        (measure,) = self.metrics.metric(growth.of).measures
        shift = (_LENGTH if growth.against == "previous" else _YEAR)[period]
        base, pairs = f"{name}_base", f"{name}_pairs"
        reach = self.query.since - timedelta(days=800) if self.query.since else None
        self.steps[base] = self._grouped(self._fact(measure), [measure], reach)
        names = "".join(f"{n}, " for n in self.query.by)
        later = f"cast(period + interval {shift} as date)"
        # What sold then and does not now is news, so it has a row; but no rows for periods that have yet to come.
        self.steps[pairs] = (
            f"select {names}period, cast(period - interval {shift} as date) as earlier from {base}\nunion\n"
            f"select {names}{later} as period, period as earlier from {base}\n"
            f"where {later} <= (select max(period) from {base})"
        )
        same = "".join(f" and {pairs}.{n} = {{0}}.{n}" for n in self.query.by)
        whole = f" and {self._whole(f'{pairs}.period')} and {self._whole(f'{pairs}.earlier', 'earlier_coverage')}"
        self.steps[name + "_part"] = (
            f"select\n    {''.join(f'{pairs}.{n}, ' for n in self.query.by)}{pairs}.period,\n"
            f"    case when earlier.{measure} > 0{whole if period != 'day' else ''}\n"
            f"        then cast(coalesce(now.{measure}, 0) as double) / nullif(earlier.{measure}, 0) - 1 end as {name}\n"
            f"from {pairs}\n"
            f"left join {base} as now on {pairs}.period = now.period{same.format('now')}\n"
            f"left join {base} as earlier on {pairs}.earlier = earlier.period{same.format('earlier')}\n"
            + self._both_covered(pairs)
        ).rstrip()
        self.parts.append(name + "_part")
        return name + "_part"

    def _both_covered(self, pairs: str) -> str:
        if self.query.period == "day":
            return ""
        sides = (("coverage", f"{pairs}.period"), ("earlier_coverage", f"{pairs}.earlier"))
        return "\n".join(self._coverage(alias, period) for alias, period in sides)

    def _whole(self, period: str, coverage: str = "coverage") -> str:
        """Whether a period is complete, and the range asked for does not cut it short."""
        parts = [f"coalesce({coverage}.is_complete, false)"]
        if self.query.since:
            parts.append(f"{period} >= {literal(self.query.since)}" if coverage == "coverage" else "true")
        if self.query.until:
            parts.append(
                f"cast({period} + interval {_LENGTH[self.query.period or '']} - interval 1 day as date) "
                f"<= {literal(self.query.until)}"
            )
        return " and ".join(p for p in parts if p != "true")

    def _coverage(self, alias: str, period: str) -> str:
        """The join with which periods are complete; adds the step that says so."""
        self.steps.setdefault("covered", _COVERED[self.query.period or ""])
        return f"left join covered as {alias} on {period} = {alias}.period"


def _person(fact: str) -> str:
    return "days.person_id" if fact == "persons" else "orders.person_id"


def _truncated(period: str | None, day: str) -> str:
    return f"cast({day} as date)" if period == "day" else f"cast(date_trunc('{period}', {day}) as date)"


def _left_join(part: str, to: str, keys: Sequence[str]) -> str:
    if not keys:
        return f"cross join {part}"
    return f"left join {part} on " + " and ".join(f"{to}.{n} = {part}.{n}" for n in keys)


def _months_together(period: str, months: int) -> str:
    return (
        f"select cast(date_trunc('{period}', month) as date) as period, count(*) filter (where is_complete) = {months} "
        "as is_complete\nfrom gold.month_coverage\ngroup by 1"
    )


#: A quarter and a year are complete with all their months. A week is when its months are, or, behind the last complete
#: month, when each of its days has an order.
_COVERED = {
    "month": "select month as period, is_complete\nfrom gold.month_coverage",
    "quarter": _months_together("quarter", 3),
    "year": _months_together("year", 12),
    "week": (
        "select\n    days.week as period,\n"
        "    count(*) = 7 and min(case when coverage.is_complete then 1 else 0 end) = 1\n"
        "    or coalesce(count(sold.order_date) = 7 and min(days.calendar_date) > max(last_complete.month), false) as is_complete\n"
        "from gold.dim_date as days\n"
        "left join gold.month_coverage as coverage on days.month = coverage.month\n"
        "left join (select distinct order_date from gold.fct_orders) as sold on days.calendar_date = sold.order_date\n"
        "cross join (select max(month) as month from gold.month_coverage where is_complete) as last_complete\n"
        "group by 1"
    ),
}
