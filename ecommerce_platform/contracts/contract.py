"""The contract of one table: what its `.yml` may say, as a type.

Everything that is known about a table besides its SELECT is here: meaning, grain, key, columns, rules.
What derives from it (checks, DDL, documents, assets) lives elsewhere and takes a `Contract`.
"""

from __future__ import annotations

import re
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ecommerce_platform.contracts.select import check_condition, tables_read
from ecommerce_platform.contracts.yaml_file import line_of, read_model
from ecommerce_platform.errors import DefinitionError

#: Types a contract may use: the subset that DuckDB, Parquet and Spark agree on.
TYPES = ("VARCHAR", "BOOLEAN", "INTEGER", "BIGINT", "DOUBLE", "DATE", "TIMESTAMP")
_DECIMAL = re.compile(r"^DECIMAL\((\d{1,2}),(\d{1,2})\)$")
_NAME = re.compile(r"^_?[a-z][a-z0-9_]*$")
_PLACEHOLDER = re.compile(r"^(todo|tbd|fixme|n/?a|description|\.+|-+)\b", re.IGNORECASE)


class Strict(BaseModel):
    """A model that refuses fields it does not know, so that a typing slip never goes unnoticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Strict):
    """One column: its type, its meaning and its rules.

    `required`, `accepted`, `min`, `max` and `past` reject a row in silver and block a write in gold and ml;
    `references` only warns, because the parent may arrive tomorrow. `pii` is personal data: published hashed, and blanked
    when its person is forgotten. `erase` is published as it is and blanked all the same: what a person wrote, say.
    """

    type: str
    description: str = Field(min_length=3)
    unit: str | None = None
    required: bool = False
    accepted: tuple[str, ...] | None = None
    #: The smallest value there may be; for dates and times a day.
    min: float | date | None = None
    max: float | None = None
    #: Of an entity: something that had happened when it was delivered, so neither later than the day after (clocks and
    #: time zones differ) nor before 1990, where systems put what they do not know: 1970, 1900, the year 1 or 24.
    past: bool = False
    references: str | None = None
    pii: bool = False
    erase: bool = False

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        value = value.upper().replace(" ", "")
        if value not in TYPES and not _DECIMAL.match(value):
            raise ValueError(f"unknown type {value!r}; use one of {', '.join(TYPES)} or DECIMAL(p,s)")
        return value

    @field_validator("description")
    @classmethod
    def _meaning(cls, value: str) -> str:
        if _PLACEHOLDER.match(value.strip()):
            raise ValueError("a description says what the column means; this is a placeholder")
        return " ".join(value.split())

    @field_validator("references")
    @classmethod
    def _table_and_column(cls, value: str | None) -> str | None:
        if value is not None and value.count(".") != 2:
            raise ValueError("references is written schema.table.column")
        return value


class SqlCheck(Strict):
    """A rule as a SELECT that returns the offending rows; it passes when it returns none."""

    name: str
    description: str = Field(min_length=3)
    sql: str
    severity: Literal["block", "warn"] = "block"
    #: Of an incremental table: holds only for the table as a whole, so it runs in full passes alone. Any other check
    #: is asked, after an incremental write, about the touched rows.
    whole_table: bool = False
    #: For that: tables that the SELECT reads but the table does not follow → condition on their rows, with `touched`.
    keep: dict[str, str] = {}

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise ValueError("a check's name is lower snake_case")
        return value

    @field_validator("sql")
    @classmethod
    def _one_select(cls, value: str) -> str:
        tables_read(value)
        return value

    @field_validator("keep")
    @classmethod
    def _conditions(cls, value: dict[str, str]) -> dict[str, str]:
        for condition in value.values():
            check_condition(condition, ("touched",))
        return value


class Follow(Strict):
    """How an incremental table follows one of the tables it reads: which of its rows a change there reaches.

    `by`: the column there that holds the table's own `recompute_by` key. It says both which keys a changed row
    touches and which rows there matter for touched keys. Where it is not that simple, `touches` is a SELECT of
    `recompute_by` columns from `changed` (the changed rows, as they were and as they are) and any other table, and
    `keep` a condition on the rows there that matter for the keys in `touched`; without it all of them are read.
    `keep` may look at what was kept of the tables named before it: `kept_<table>`.
    """

    by: str | None = None
    touches: str | None = None
    keep: str | None = None

    @field_validator("touches")
    @classmethod
    def _one_select(cls, value: str | None) -> str | None:
        if value is not None:
            tables_read(value, frozenset({"changed"}))
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Follow:
        if (self.by is None) == (self.touches is None):
            raise ValueError("say either `by` (a column) or `touches` (a SELECT from changed)")
        if self.by and self.keep:
            raise ValueError("`by` already says which rows to keep")
        return self


class Contract(Strict):
    """All that is known about one table besides its SELECT."""

    name: str
    layer: Literal["bronze", "silver", "gold", "ml"]
    subject: str | None = None
    path: Path
    description: str = Field(min_length=10)
    grain: str = Field(min_length=3)
    key: tuple[str, ...]
    columns: dict[str, Column] = {}
    write: Literal["replace", "incremental", "upsert"] = "replace"
    #: Of an incremental table: the columns whose values say what is recomputed together.
    recompute_by: tuple[str, ...] = ()
    #: Of an incremental table: how it follows each table that its SELECT reads.
    follows: dict[str, Follow] = {}
    #: Cheap enough to be made anew with every load: a partition per load day, like the incremental tables around it.
    per_load: bool = False
    #: Why Spark cannot run its SELECT, which DuckDB then does there too.
    not_on_spark: str | None = Field(default=None, min_length=10)
    owners: tuple[str, ...] = ("team:data",)
    tags: dict[str, str] = {}
    kinds: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    #: Tables that its SELECT reads as empty with a source that leaves them out, instead of being left out with them.
    reads_if_there: tuple[str, ...] = ()
    checks: tuple[SqlCheck, ...] = ()
    #: For tables people look at: hours after which a table that has not been built again counts as too old.
    fresh_within_hours: int | None = Field(default=None, ge=1)
    #: A silver entity that sources map rows to (as opposed to a table computed from others).
    entity: bool = False
    #: A table that a function fills rather than a SELECT: the name it is registered under (`orchestration.assets.filled`).
    filled_by: str | None = None
    #: A ledger, written while other tables are made: the last of them, after which it is whole. It is no asset.
    written_beside: str | None = None
    #: The entity whose successive versions the table holds; its columns follow from the entity's.
    history_of: str | None = None
    #: Where a row of this table comes from: entity → its key, all of whose columns this table has too, the most telling
    #: first. Follows from the entities' contracts.
    traces: dict[str, tuple[str, ...]] = Field(default={}, exclude=True)
    #: The file's text as it was read. Digests are made of this: a file changed later is not what is in force.
    text: str = Field(default="", exclude=True, repr=False)

    @field_validator("description", "grain")
    @classmethod
    def _meaning(cls, value: str) -> str:
        if _PLACEHOLDER.match(value.strip()):
            raise ValueError("this is a placeholder; say what the table means")
        return " ".join(value.split())

    @field_validator("columns")
    @classmethod
    def _names(cls, value: dict[str, Column]) -> dict[str, Column]:
        for name in value:
            if not _NAME.match(name):
                raise ValueError(f"column {name!r} is not lower snake_case")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Contract:
        if "traces" in self.model_fields_set:
            raise ValueError("`traces` follows from the entities; leave it out")
        if self.history_of is None and not self.columns:
            raise ValueError("columns are missing")
        if self.history_of is not None and "columns" in self.model_fields_set:
            raise ValueError("a history has the columns of its entity; leave out `columns`")
        for name in self.key if self.columns else ():
            if name not in self.columns:
                raise ValueError(f"key column {name!r} is not among the columns")
        if (self.write == "incremental") != bool(self.recompute_by and self.follows):
            raise ValueError("`write: incremental` needs recompute_by and follows, and nothing else has them")
        for name in self.recompute_by:
            if name not in self.columns:
                raise ValueError(f"recompute_by {name!r} is not among the columns")
        for table, follow in self.follows.items():
            if follow.by and len(self.recompute_by) != 1:
                raise ValueError(f"follows {table}: `by` needs a single recompute_by column; use touches and keep")
            if follow.keep:
                check_condition(follow.keep, ("touched", *(f"kept_{t.rpartition('.')[2]}" for t in self.follows)))
        for name, column in self.columns.items():
            dated = column.type in ("DATE", "TIMESTAMP")
            if column.past and not (dated and (self.entity or self.history_of)):
                raise ValueError(f"column {name!r}: `past` is said of dates and times of an entity")
            if isinstance(column.min, date) != dated and column.min is not None:
                raise ValueError(f"column {name!r}: `min` is a day for dates and times, else a number")
        if len({check.name for check in self.checks}) != len(self.checks):
            raise ValueError("two checks have the same name")
        return self

    @property
    def table(self) -> str:
        """`schema.table`, as SQL writes it."""
        return f"{self.layer}.{self.name}"

    @cached_property
    def all_columns(self) -> dict[str, Column]:
        """The declared columns, and the provenance every silver entity and history carries besides."""
        return {**self.columns, **PROVENANCE} if self.entity or self.history_of else dict(self.columns)

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Key columns and the columns marked required, in table order."""
        return tuple(n for n, c in self.columns.items() if c.required or n in self.key)


def complete_traces(contract: Contract, entities: dict[str, tuple[str, ...]]) -> Contract:
    """The contract with what leads from its rows back to delivered records.

    Args:
        contract: of any table.
        entities: every entity and its key.
    """
    found = {name: key for name, key in entities.items() if contract.columns.keys() >= set(key)}
    ordered = sorted(found, key=lambda name: (-len(found[name]), not set(contract.key) >= set(found[name]), name))
    return contract.model_copy(update={"traces": {name: found[name] for name in ordered}})


#: Carried by every silver entity: which delivery a row is from.
PROVENANCE: dict[str, Column] = {
    "_load_date": Column(type="DATE", description="Day of the drop that delivered this version of the row."),
    "_raw_table": Column(type="VARCHAR", description="Raw table of the source that the row was mapped from."),
    "_source_file": Column(type="VARCHAR", description="File within the drop that the row stood in."),
    "_source_row": Column(
        type="BIGINT", description="Number of the record among the parsed records of its file, from 1."
    ),
}

#: What a history says about each version, besides the entity's columns.
VALIDITY: dict[str, Column] = {
    "version": Column(type="INTEGER", required=True, min=1, description="Number of the version, from 1 for the first."),
    "valid_from": Column(
        type="DATE",
        required=True,
        description="Day of the first drop that delivered these values; they hold from it on.",
    ),
    "valid_to": Column(
        type="DATE",
        description="First day on which they hold no more: the next version's day, or that of the full delivery that "
        "lacks the record; null while they hold.",
    ),
    "is_current": Column(type="BOOLEAN", required=True, description="Whether this is the version of the newest drop."),
}


def read_contract(path: Path, layer: str, subject: str | None = None) -> Contract:
    """The contract in `path`; its table is named after the file.

    Raises:
        DefinitionError: naming file and line of every problem.
    """
    read = read_model(path, Contract, text_field="text", name=path.stem, layer=layer, subject=subject, path=path)
    # Which function fills a table says nothing about what is in it.
    text = "".join(line for line in read.text.splitlines(keepends=True) if not line.startswith("filled_by:"))
    return read.model_copy(update={"text": text})


def complete_history(contract: Contract, entity: Contract | None) -> Contract:
    """The contract of a history with the columns and checks that follow from its entity's contract.

    Args:
        contract: as read, with `history_of` and without columns.
        entity: the contract of the entity it names; None if there is none.

    Raises:
        DefinitionError: there is no such entity, the name or the key is not that of its history, or a column of the
            entity has a name that the history needs.
    """
    name, path = contract.history_of, contract.path
    if entity is None or not entity.entity:
        raise DefinitionError(
            f"{name!r} is not a canonical entity",
            where=f"{path}:{line_of(path, ('history_of',))}",
            fix="name one of the silver tables that say `entity: true`",
        )
    if (contract.layer, contract.name) != ("silver", f"{name}_history"):
        raise DefinitionError(
            f"the history of {name} is silver.{name}_history, not {contract.table}",
            where=f"{path}:1",
            fix=f"call the file models/silver/{name}_history.yml",
        )
    key = (*entity.key, "valid_from")
    if contract.key != key:
        raise DefinitionError(
            f"the key of a history is its entity's and the day: [{', '.join(key)}]",
            where=f"{path}:{line_of(path, ('key',))}",
        )
    if taken := sorted(VALIDITY.keys() & entity.columns.keys()):
        raise DefinitionError(
            f"{entity.table} has columns that its history needs for itself: {', '.join(taken)}",
            where=entity.path,
            fix="rename them in the entity",
        )
    checks = (*_history_checks(contract.table, entity.key), *contract.checks)
    return contract.model_copy(update={"columns": {**entity.columns, **VALIDITY}, "checks": checks})


def _history_checks(table: str, key: tuple[str, ...]) -> tuple[SqlCheck, ...]:
    # A record may vanish from a full delivery and come back, so a gap between two versions is no fault.
    names = ", ".join(f'"{k}"' for k in key)
    same = " and ".join(f'former."{k}" = later."{k}"' for k in key)
    later = ", ".join(f'later."{k}"' for k in key)
    return (
        SqlCheck(
            name="versions_last_at_least_a_day",
            description="A version ends after it began, and is current exactly while it has no end.",
            sql=f"select {names}, valid_from, valid_to from {table} "
            "where valid_to <= valid_from or is_current <> (valid_to is null)",
        ),
        SqlCheck(
            name="one_current_version",
            description="No record has two current versions.",
            sql=f"select {names}, count(*) as versions from {table} where is_current group by {names} having count(*) > 1",
        ),
        SqlCheck(
            name="versions_follow_one_another",
            description="Versions are numbered without a gap, and each has ended when the next begins.",
            sql=f"select {later}, later.version, later.valid_from, former.valid_to "
            f"from (select {names}, version, valid_from from {table} where version > 1) as later "
            f"left join {table} as former on {same} and former.version = later.version - 1 "
            "where former.version is null or former.valid_to is null or former.valid_to > later.valid_from",
        ),
    )
