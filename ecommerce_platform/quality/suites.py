"""The business rules of a table as a file people can read: what such a file may say, as a type.

A suite is `expectations/<schema>.<table>.yml`: a sentence per rule, how severe a broken one is, and how it is asked:
as a Great Expectations expectation, or as a SELECT of the rows that break it. Rules that follow from a column's meaning
(types, keys, ranges, accepted values) belong into the table's contract, which is checked with every write. Asking is
in `gx.py`; nothing here imports Great Expectations or opens a warehouse.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Strict
from ecommerce_platform.contracts.select import NotAllowedError, tables_read
from ecommerce_platform.contracts.yaml_file import line_of, read_model
from ecommerce_platform.errors import DefinitionError

#: The suites that come with the platform.
SUITES = Path(__file__).with_name("expectations")
#: Folder of a source that holds its own.
FOLDER = "expectations"

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_EXPECTATION = re.compile(r"^expect_[a-z0-9_]+$")
#: Expectations that Great Expectations does not know how to ask DuckDB: they would always be errors.
_NOT_ON_DUCKDB = re.compile(r"regex|_of_type|_in_type_list|column_type|like_pattern|strftime|json|dateutil")

Severity = Literal["block", "warn"]


class Rule(Strict):
    """One business rule. Either `rows`, or `expect` and `with`.

    A broken rule that says `block` keeps the state it was found in from being published; one that says `warn` is
    reported.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str
    #: The rule in words, for people who decide with the table.
    rule: str = Field(min_length=15)
    severity: Severity
    #: A SELECT of the rows that break the rule; it holds when there are none.
    rows: str | None = None
    #: Name of a Great Expectations expectation, such as `expect_column_values_to_be_between`.
    expect: str | None = None
    #: Its arguments.
    arguments: dict[str, Any] = Field(default={}, alias="with")
    #: Entities that a source must fill: without them the rule is meaningless and left out.
    requires: tuple[str, ...] = ()
    #: Rows that the table must have: in a handful, one cancellation is a fifth of all orders.
    min_rows: int = Field(default=1, ge=1)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise ValueError("a rule's name is lower snake_case")
        return value

    @field_validator("rule")
    @classmethod
    def _sentence(cls, value: str) -> str:
        text = " ".join(value.split())
        if " " not in text or not text.endswith("."):
            raise ValueError("a rule is a sentence in plain words, with a full stop")
        return text

    @field_validator("rows")
    @classmethod
    def _one_select(cls, value: str | None) -> str | None:
        if value is None:
            return None
        text = value.strip().rstrip(";").strip()
        try:
            tables_read(text)
        except NotAllowedError as error:
            raise ValueError(f"`rows` is one SELECT of the rows that break the rule: {error}") from None
        return text

    @field_validator("expect")
    @classmethod
    def _usable(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _EXPECTATION.match(value):
            raise ValueError(
                f"{value!r} is no expectation; write its name as expect_column_values_to_be_between is written"
            )
        if _NOT_ON_DUCKDB.search(value):
            raise ValueError(f"{value} cannot be asked of DuckDB; use `rows`, or the contract for types")
        if "query" in value:
            raise ValueError(f"{value} takes SQL of its own; write the SELECT as `rows`, where it is looked at")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Rule:
        if (self.rows is None) == (self.expect is None):
            raise ValueError("say how the rule is asked: either `rows` (a SELECT) or `expect` (an expectation)")
        if self.rows is not None and self.arguments:
            raise ValueError("`with` holds arguments of `expect`; a SELECT has none")
        return self

    @cached_property
    def reads(self) -> frozenset[str]:
        """Tables that the rule's SELECT names, as `schema.table`."""
        return tables_read(self.rows) if self.rows else frozenset()


class SuiteFile(Strict):
    """What one file says about its table."""

    table: str
    path: Path
    #: What the rules are for, in a sentence.
    description: str = Field(min_length=15)
    #: Of a source's own file: rules of the platform that do not hold in this shop.
    leave_out: tuple[str, ...] = ()
    expectations: tuple[Rule, ...] = ()

    @field_validator("description")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return " ".join(value.split())


@dataclass(frozen=True)
class Suite:
    """The rules of one table: the platform's and, after them, the shop's own."""

    table: str
    description: str
    rules: tuple[Rule, ...]
    #: Rule → its file and its number there.
    places: Mapping[str, tuple[Path, int]]

    def where(self, rule: str) -> str:
        """File and line of a rule, for errors."""
        path, number = self.places[rule]
        return f"{path}:{line_of(path, ('expectations', number))}"

    @property
    def reads(self) -> tuple[str, ...]:
        """The table itself and all others that its rules look at."""
        others = frozenset().union(*(rule.reads for rule in self.rules)) - {self.table}
        return (self.table, *sorted(others))

    @property
    def version(self) -> str:
        """Hash of what the rules ask: with another one, earlier answers say nothing."""
        asked = "\0".join(rule.model_dump_json() for rule in self.rules)
        return sha256(f"{self.table}\0{asked}".encode()).hexdigest()[:16]


def read_suites(
    catalog: Catalog,
    tables: Collection[str],
    filled: Collection[str],
    source: Path | None = None,
    folder: Path = SUITES,
) -> dict[str, Suite]:
    """Every suite by table, with the rules that can be asked of this source.

    Args:
        catalog: all tables; a rule that names another one is an error.
        tables: those that this source has; a rule that reads another one is left out.
        filled: entities that the source fills.
        source: the source's folder, which may hold suites of its own.
        folder: the platform's suites.

    Raises:
        DefinitionError: naming file and line of every problem.
    """
    suites: dict[str, Suite] = {}
    for place in (folder, *([source / FOLDER] if source else [])):
        for path in sorted(place.glob("*.yml")):
            file = read_model(path, SuiteFile, table=path.stem, path=path)
            _check(file, catalog, suites.get(file.table))
            suites[file.table] = _join(suites.get(file.table), file)
    there, known = set(tables), set(filled)
    usable = {}
    for table, suite in suites.items():
        rules = tuple(r for r in suite.rules if r.reads <= there and known.issuperset(r.requires))
        if table in there and rules:
            usable[table] = Suite(table, suite.description, rules, suite.places)
    return usable


def _join(before: Suite | None, file: SuiteFile) -> Suite:
    kept = tuple(r for r in before.rules if r.name not in file.leave_out) if before else ()
    places = {rule.name: (file.path, number) for number, rule in enumerate(file.expectations)}
    return Suite(
        file.table,
        before.description if before else file.description,
        (*kept, *file.expectations),
        {**(before.places if before else {}), **places},
    )


def _check(file: SuiteFile, catalog: Catalog, before: Suite | None) -> None:
    """That the file fits the tables there are and the rules that came before it."""

    def refuse(what: str, fix: str, *location: str | int) -> DefinitionError:
        return DefinitionError(what, where=f"{file.path}:{line_of(file.path, location)}", fix=fix)

    if file.table not in catalog.tables:
        raise refuse(
            f"there is no table {file.table!r}", "name the file <schema>.<table>.yml, e.g. gold.fct_orders.yml"
        )
    names = {rule.name for rule in before.rules} if before else set()
    for name in file.leave_out:
        if name not in names:
            raise refuse(f"leave_out: {file.table} has no rule {name!r}", "correct the name", "leave_out")
    seen = names - set(file.leave_out)
    for number, rule in enumerate(file.expectations):
        if rule.name in seen:
            raise refuse(
                f"{file.table} has two rules named {rule.name!r}", "give it another name", "expectations", number
            )
        seen.add(rule.name)
        for table in sorted(rule.reads - catalog.tables.keys()):
            raise refuse(
                f"{rule.name}: there is no table {table!r}", "correct the name", "expectations", number, "rows"
            )
        for entity in rule.requires:
            if entity not in catalog.entities:
                raise refuse(
                    f"{rule.name}: {entity!r} is not a canonical entity",
                    f"use one of {', '.join(sorted(catalog.entities))}",
                    "expectations", number, "requires",
                )  # fmt: skip
        column = rule.arguments.get("column")
        if column is not None and column not in catalog.contract(file.table).all_columns:
            raise refuse(
                f"{rule.name}: {file.table} has no column {column!r}", "correct the name",
                "expectations", number, "with", "column",
            )  # fmt: skip
