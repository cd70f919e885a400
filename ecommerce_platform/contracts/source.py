"""The description of one shop's export: what `source.yml` may say, and the mappings beside it.

A source is a folder: `source.yml` and one `<entity>.<raw table>.sql` per entity and raw table that fills it.
Reading the delivered files is ingestion's business, running the mappings the warehouse's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from ecommerce_platform.contracts.contract import Strict
from ecommerce_platform.contracts.yaml_file import line_of, read_model
from ecommerce_platform.errors import DefinitionError, SettingsError, raise_all

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


class RawTable(Strict):
    """One table of the export, as it is delivered.

    `files` are glob patterns of file names within a drop; a pattern without an extension for compression also
    finds the gzipped file. Where `format` or `delimiter` is not given it is found from each file.
    """

    files: tuple[str, ...] = Field(min_length=1)
    description: str = Field(min_length=3)
    delivery: Literal["delta", "full"] = "delta"
    format: Literal["csv", "json", "jsonl", "parquet"] | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"
    #: Share of a file's lines that may be unparsable before the file counts as damaged.
    max_unparsable_share: float = Field(default=0.01, ge=0, le=1)

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        if value is not None and len(value) != 1:
            raise ValueError("a delimiter is one character")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError(f"unknown encoding {value!r}; try utf-8, latin-1 or cp1252") from None
        return value


class ReplayTable(Strict):
    """When the rows of one raw table came in, for `ecommerce land --by`, which splits an export into drops.

    A table either has dates of its own (`created`, and `events` when its rows change later) or its rows come with
    those of another table (`follows`).
    """

    #: Column with the time from which a row exists. In a table that follows another its rows come then.
    created: str | None = None
    #: Columns with the times at which a row changes, in the order of its life, with the status each leads to.
    events: dict[str, str] = {}
    #: Column with the status; it takes the values that `events` names until the last of them has happened.
    status: str | None = None
    #: `<raw table>.<column>` that a row belongs to.
    follows: str | None = Field(default=None, pattern=r"^[^.]+\.[^.]+$")
    #: Column with the value that is looked up there; the same name when not given.
    by: str | None = None
    #: Which drop of the followed row a row comes with; where there is `created`, one that lacks it.
    comes_with: Literal["creation", "last_event"] = "creation"
    #: How times are written, if not as ISO 8601: `%d.%m.%Y %H:%M`, say.
    time_format: str | None = None

    @field_validator("time_format")
    @classmethod
    def _gives_a_day(cls, value: str | None) -> str | None:
        if value is not None:
            day = datetime(2017, 11, 28)
            try:
                same = datetime.strptime(day.strftime(value), value).date() == day.date()
            except ValueError:
                same = False
            if not same:
                raise ValueError(f"{value!r} does not give a day; %d.%m.%Y %H:%M would, for instance")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> ReplayTable:
        if self.follows:
            if self.events or self.status:
                raise ValueError("rows that follow others come once: leave out `events` and `status`, or `follows`")
            return self
        if not self.created:
            raise ValueError(
                "say when rows come in: `created`, a column with a time, or `follows`, <raw table>.<column>"
            )
        if self.by or self.comes_with != "creation":
            raise ValueError("`by` and `comes_with` belong to a table that `follows` another")
        if self.status and not self.events:
            raise ValueError("`status` needs `events`, which say when which status is reached")
        if self.events and next(iter(self.events)) != self.created:
            raise ValueError(f"the first of `events` is the row's creation: {self.created}")
        if self.status in self.events:
            raise ValueError("`status` cannot be one of `events`")
        return self

    @property
    def followed(self) -> tuple[str, str]:
        """Raw table and column that rows follow."""
        table, _, column = (self.follows or "").partition(".")
        return table, column


class SourceFile(Strict):
    """What `source.yml` says about a shop."""

    name: str
    path: Path
    description: str = Field(min_length=10)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    time_zone: str
    start_date: date
    churn_window_days: int = Field(default=90, ge=1, le=1000)
    tables: dict[str, RawTable] = Field(min_length=1)
    #: `<entity>.<raw table>` → columns of the unit within which the mapping numbers or groups rows. The source
    #: delivers units whole: the newest load that mentions a unit replaces all rows of it.
    units: dict[str, tuple[str, ...]] = {}
    #: Raw tables that `ecommerce land --by` splits by date; the others are delivered whole, in the first drop.
    replay: dict[str, ReplayTable] = {}

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"unknown time zone {value!r}; use an IANA name such as Europe/Berlin") from None
        return value

    @field_validator("tables")
    @classmethod
    def _names(cls, value: dict[str, RawTable]) -> dict[str, RawTable]:
        for name in value:
            if not _NAME.match(name):
                raise ValueError(f"raw table {name!r} is not lower snake_case")
        return value


@dataclass(frozen=True)
class Mapping:
    """One SELECT that fills a canonical entity from one raw table."""

    entity: str
    raw_table: str
    path: Path
    sql: str


@dataclass(frozen=True)
class Source:
    """A shop's export: its description and its mappings."""

    file: SourceFile
    mappings: tuple[Mapping, ...]

    @property
    def name(self) -> str:
        """The folder's name; part of every bronze table's name."""
        return self.file.name

    def bronze_table(self, raw_table: str) -> str:
        """Name of the bronze table that holds a raw table, without the schema."""
        return f"{self.name}__{raw_table}"

    def mappings_of(self, entity: str) -> tuple[Mapping, ...]:
        """The mappings that fill `entity`, in the order of their raw tables' names."""
        return tuple(m for m in self.mappings if m.entity == entity)


def builtin_sources() -> dict[str, Path]:
    """The source folders inside the package, by name."""
    root = Path(__file__).resolve().parent.parent / "sources"
    return {p.parent.name: p.parent for p in sorted(root.glob("*/source.yml"))}


def find_source(name_or_folder: str) -> Path:
    """The folder of a source given by name or by path.

    Raises:
        SettingsError: no such source; lists those there are.
    """
    builtin = builtin_sources()
    if name_or_folder in builtin:
        return builtin[name_or_folder]
    folder = Path(name_or_folder).expanduser()
    if (folder / "source.yml").is_file():
        return folder.resolve()
    raise SettingsError(
        f"there is no source {name_or_folder!r}",
        where="ECOMMERCE_SOURCE",
        fix=f"use one of {', '.join(builtin)} or the path of a folder that holds a source.yml",
    )


def read_source(folder: Path, entities: Sequence[str]) -> Source:
    """The source in `folder`; `entities` are the canonical entities its mappings may fill.

    Raises:
        DefinitionError: with file and line, for `source.yml` and for misnamed mappings.
    """
    source, problems = examine_source(folder, entities)
    raise_all(problems)
    assert source is not None
    return source


def examine_source(folder: Path, entities: Sequence[str]) -> tuple[Source | None, list[DefinitionError]]:
    """The source in `folder` as far as it can be read, and everything that is wrong with it.

    Without a readable `source.yml` there is no source. Misnamed mappings are left out.
    """
    name = folder.resolve().name
    path = folder / "source.yml"
    problems: list[DefinitionError] = []
    if not _NAME.match(name):
        problems.append(
            DefinitionError(
                f"the folder's name {name!r} becomes part of table names", where=path, fix="use lower snake_case"
            )
        )
        return None, problems
    try:
        file = read_model(path, SourceFile, name=name, path=path)
    except DefinitionError as error:
        return None, [error]
    try:
        _check_replay(file)
    except DefinitionError as error:
        problems.append(error)
    mappings = []
    for sql in sorted(folder.glob("*.sql")):
        entity, _, raw_table = sql.stem.partition(".")
        if entity not in entities:
            problems.append(
                DefinitionError(
                    f"{entity!r} is not a canonical entity",
                    where=f"{sql}:1",
                    fix=f"name the file <entity>.<raw table>.sql with one of {', '.join(sorted(entities))}",
                )
            )
        elif raw_table not in file.tables:
            problems.append(
                DefinitionError(
                    f"raw table {raw_table!r} is not in source.yml",
                    where=f"{sql}:1",
                    fix=f"name the file <entity>.<raw table>.sql with one of {', '.join(file.tables)}",
                )
            )
        else:
            mappings.append(Mapping(entity, raw_table, sql, sql.read_text(encoding="utf-8")))
    return Source(file, tuple(mappings)), problems


def _check_replay(file: SourceFile) -> None:
    """That `replay` fits the raw tables; what a table says of itself the model has checked."""

    def refuse(what: str, fix: str, *location: str) -> DefinitionError:
        line = line_of(file.path, ("replay", *location))
        return DefinitionError(f"replay.{'.'.join(location)}: {what}", where=f"{file.path}:{line}", fix=fix)

    dated = [name for name, table in file.replay.items() if not table.follows]
    for name, table in file.replay.items():
        raw = file.tables.get(name)
        if raw is None:
            raise refuse(f"there is no raw table {name!r}", f"use one of {', '.join(file.tables)}", name)
        if raw.delivery == "full":
            raise refuse(
                "each delivery of this table is the whole table, so it cannot be split",
                "leave it out: it is then delivered in the first drop",
                name,
            )
        if raw.format not in (None, "csv"):
            raise refuse(f"only CSV can be split, not {raw.format}", "leave it out or deliver it as CSV", name)
        if table.follows and table.followed[0] not in dated:
            raise refuse(
                f"{table.followed[0]!r} is no table with dates of its own",
                f"follow one of {', '.join(dated) or 'the tables with `created` (there is none yet)'}",
                name,
                "follows",
            )
