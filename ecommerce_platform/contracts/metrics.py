"""What the shop's metrics are: the types and the reader of `models/metrics/*.yml`.

A measure is an aggregate over the rows of a fact, a metric a formula of measures, a dimension something that rows can be
cut by. Which cuts have a meaning follows from these and is decided here; `metric_sql.py` makes a SELECT of it. KPI tables
are written out by hand and held equal to this by tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ecommerce_platform.contracts.catalog import MODELS
from ecommerce_platform.contracts.contract import Strict
from ecommerce_platform.contracts.yaml_file import read_model
from ecommerce_platform.errors import DefinitionError, MetricError

METRICS = MODELS / "metrics"
Level = Literal["line", "order", "person"]
#: What a period may be; weeks are those of ISO 8601, from Monday.
PERIODS = ("day", "week", "month", "quarter", "year")
_MEASURE = re.compile(r"\{([a-z_]+)\}")
#: Columns that a result has besides metrics and dimensions.
RESERVED = frozenset({"period", "is_complete"})


class Fact(Strict):
    """Rows that measures are taken over."""

    description: str = Field(min_length=3)
    #: What a row is an attribute of, at the finest.
    level: Level
    rows: str
    date: str


class Dimension(Strict):
    """Something that rows can be cut by."""

    label: str
    description: str = Field(min_length=3)
    level: Level
    sql: str
    #: Added behind the facts' rows; `{person}` is the fact's column of the person.
    join: str | None = None
    #: The order of its values, where that is not the alphabet's.
    values: tuple[str, ...] = ()
    #: The dimension that one drills down from to this one.
    within: str | None = None


class Measure(Strict):
    """An aggregate, by the fact it is taken over; with several facts they agree, and one is cheaper or finer."""

    description: str = Field(min_length=3)
    aggregate: dict[str, str]
    #: Over the values of what it may be added up: of lines', orders' or persons' attributes, of periods.
    sums_over: tuple[Literal["line", "order", "person", "time"], ...] = ()
    #: What it is where there are no rows: nothing (0), or not known (null).
    without_rows: Literal["nothing", "unknown"] = "nothing"
    #: Of measures of whole orders, cut by what lines have: the order counts in each of the values it holds.
    by_line: Literal["each"] | None = None


class Growth(Strict):
    """The growth of a metric against another period."""

    of: str
    against: Literal["previous", "year_before"]


class Metric(Strict):
    """One figure that people ask for; made of measures in exactly one way."""

    label: str
    description: str = Field(min_length=3)
    format: Literal["money", "count", "share", "score", "days"]
    better: Literal["more", "less", "neither"]
    unit: str | None = None
    formula: str | None = None
    #: The formula's measures are taken from the beginning up to the period's end.
    to_date: bool = False
    share_of: str | None = None
    growth: Growth | None = None
    churn: bool = False
    #: The periods it can be asked for; without: each of them, and all at once.
    periods: tuple[Literal["day", "week", "month", "quarter", "year"], ...] = ()

    @field_validator("description")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return " ".join(value.split())

    @model_validator(mode="after")
    def _one_way(self) -> Metric:
        if sum([self.formula is not None, self.share_of is not None, self.growth is not None, self.churn]) != 1:
            raise ValueError("a metric has exactly one of formula, share_of, growth, churn")
        return self

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures its formula names, in order."""
        return tuple(dict.fromkeys(_MEASURE.findall(self.formula or "")))


class _File(Strict):
    facts: dict[str, Fact] = {}
    dimensions: dict[str, Dimension] = {}
    measures: dict[str, Measure] = {}
    metrics: dict[str, Metric] = {}


@dataclass(frozen=True)
class Metrics:
    """All metrics, and what they are made of and cut by; each by its name."""

    facts: dict[str, Fact]
    dimensions: dict[str, Dimension]
    measures: dict[str, Measure]
    metrics: dict[str, Metric]

    def metric(self, name: str) -> Metric:
        """Raises MetricError where there is none of that name."""
        return _found(self.metrics, name, "metric")

    def dimension(self, name: str) -> Dimension:
        """Raises MetricError where there is none of that name."""
        return _found(self.dimensions, name, "dimension")

    @cached_property
    def person_dimensions(self) -> tuple[str, ...]:
        """What is fixed for a person."""
        return tuple(name for name, d in self.dimensions.items() if d.level == "person")

    def needed(self, name: str) -> tuple[str, ...]:
        """The measures that a metric is made of, those of churn left out."""
        metric = self.metric(name)
        base = metric.share_of or (metric.growth.of if metric.growth else None)
        return self.needed(base) if base else metric.measures

    def is_of_persons(self, name: str) -> bool:
        """Whether it says something of persons over their history, so that only what is fixed for them cuts it."""
        return self.metric(name).churn or any(
            set(self.measures[m].aggregate) == {"persons"} for m in self.needed(name)
        )  # fmt: skip

    def check_cut(self, name: str, dimensions: Iterable[str], period: str | None) -> None:
        """Refuses what has no meaning.

        Args:
            name: a metric.
            dimensions: what it is cut or filtered by.
            period: one of PERIODS; None for all at once.

        Raises:
            MetricError: with the reason.
        """
        metric = self.metric(name)
        for dimension in dimensions:
            if reason := self._reason(name, dimension):
                raise MetricError(f"{name} cannot be cut by {dimension}: {reason}")
        allowed = metric.periods or (PERIODS if metric.growth else (*PERIODS, None))
        if period not in allowed:
            asked = f"by {period}" if period else "over everything at once"
            raise MetricError(
                f"{name} cannot be asked for {asked}: it is worked out at the end of a period, against an earlier one",
                fix=f"ask for it by {', '.join(p for p in allowed if p)}",
            )

    def check_sum(self, name: str, over: str) -> None:
        """Refuses to add a metric up where the sum would say nothing.

        Args:
            name: a metric.
            over: a dimension whose values, or `time`, whose periods would be added up.

        Raises:
            MetricError: with the reason.
        """
        metric = self.metric(name)
        level = "time" if over == "time" else self.dimension(over).level
        what = "periods" if over == "time" else f"values of {over}"
        single = metric.formula is not None and _MEASURE.fullmatch(metric.formula) and not metric.to_date
        if not single:
            reason = "it is no sum but a ratio; ask for it at the coarser cut instead"
        elif level not in self.measures[metric.measures[0]].sums_over:
            each = {"customers": "the same customer", "new_customers": "the same customer"}.get(
                name, f"one of the {name}"
            )
            reason = f"{each} may stand in several {what}; ask for the distinct number at the coarser cut instead"
        else:
            return
        raise MetricError(f"{name} cannot be added up over {what}: {reason}")

    def _reason(self, name: str, dimension: str) -> str | None:
        level = self.dimension(dimension).level
        if self.is_of_persons(name) and level != "person":
            return (
                f"it is about persons and their history, and a person has several values of {dimension}; "
                f"what is fixed for a person is {', '.join(self.person_dimensions)}"
            )
        for measure in self.needed(name):
            found = self.measures[measure]
            if level == "line" and "lines" not in found.aggregate and found.by_line is None:
                return f"{measure} is known of whole orders only, and an order may hold several values of {dimension}"
        return None


def read_metrics(root: Path = METRICS) -> Metrics:
    """Reads every file below `root`.

    Raises:
        DefinitionError: with the file; something is defined twice or names what there is not.
    """
    parts: dict[str, dict[str, Any]] = {"facts": {}, "dimensions": {}, "measures": {}, "metrics": {}}
    places: dict[tuple[str, str], Path] = {}
    for path in sorted(root.glob("*.yml")):
        read = read_model(path, _File)
        for part, known in parts.items():
            for name, found in getattr(read, part).items():
                if (part, name) in places:
                    raise DefinitionError(f"{name} is defined twice, also in {places[part, name]}", where=path)
                known[name] = found
                places[part, name] = path
    metrics = Metrics(**parts)
    for (part, name), path in places.items():
        for problem in _problems(metrics, part, name):
            raise DefinitionError(f"{name}: {problem}", where=path)
    return metrics


def _problems(all_: Metrics, part: str, name: str) -> Iterable[str]:
    """What one definition says that does not fit the others."""
    if part == "measures":
        for fact in all_.measures[name].aggregate:
            if fact not in all_.facts:
                yield f"there is no fact {fact!r}"
    elif part == "dimensions":
        if name in RESERVED or name in all_.metrics:
            yield "this name is taken"
        if (within := all_.dimensions[name].within) and within not in all_.dimensions:
            yield f"there is no dimension {within!r}"
    elif part == "metrics":
        metric = all_.metrics[name]
        if name in RESERVED:
            yield "this name is taken"
        for measure in metric.measures:
            if measure not in all_.measures:
                yield f"there is no measure {measure!r}"
        if base := metric.share_of or (metric.growth and metric.growth.of):
            formula = all_.metrics[base].formula if base in all_.metrics else None
            if formula is None or not _MEASURE.fullmatch(formula):
                yield f"{base!r} is no metric of a single measure"


def _found(known: dict[str, Any], name: str, what: str) -> Any:
    if name in known:
        return known[name]
    close = get_close_matches(name, known, 1, 0.5)
    raise MetricError(
        f"there is no {what} {name!r}",
        fix=f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}",
    )
