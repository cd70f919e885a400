"""The description of one shop's export: what `source.yml` may say, and the mappings beside it.

A source is a folder: `source.yml` and one `<entity>.<raw table>.sql` per entity and raw table that fills it.
`ingestion` reads the delivered files, `silver` runs the mappings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from ecommerce_platform.contracts import explode as exploding
from ecommerce_platform.contracts.contract import Contract, Strict
from ecommerce_platform.contracts.decision_rules import DecisionRules
from ecommerce_platform.contracts.kpi_alert import KpiAlert
from ecommerce_platform.contracts.yaml_file import line_of, read_model
from ecommerce_platform.errors import DefinitionError, SettingsError, raise_all

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_VARIABLE = re.compile(r"^[A-Z][A-Z0-9_]*$")


class Database(Strict):
    """Where the tables come from that say `extract`.

    `url` names the environment variable that holds the connection URL: a source.yml is shared, a password is not. An
    SQLite file is named by its `path` (from the source's folder), or its path is in such a variable.
    """

    kind: Literal["postgresql", "mysql", "sqlite"]
    url: str | None = None
    path: Path | None = None

    @field_validator("url")
    @classmethod
    def _names_a_variable(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE.match(value):
            raise ValueError(
                "name the environment variable that holds the connection URL (SHOP_DATABASE, say), never the URL itself"
            )
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Database:
        if self.kind != "sqlite" and (self.path or not self.url):
            raise ValueError(f"{self.kind} needs `url`, the name of the environment variable with the connection URL")
        if self.kind == "sqlite" and bool(self.path) == bool(self.url):
            raise ValueError(
                "sqlite needs `path`, the file, or `url`, the name of an environment variable with its path"
            )
        return self


class Extract(Strict):
    """How a raw table is read out of the source's database by `ecommerce extract`.

    Without `watermark` each extract is the whole table, delivered when it has changed. With it, an extract delivers the
    rows whose watermark has moved since, and never sees a row that was deleted.
    """

    #: The table or view, with its schema where it needs one: `orders`, `public.orders`.
    table: str = Field(pattern=r"^[^.]+(\.[^.]+)?$")
    #: Column with the time at which a row was written last.
    watermark: str | None = None
    #: Column that tells rows apart; the primary key when not given.
    id: str | None = None
    #: How long a transaction may take: so far back each extract looks again, for rows that came late.
    lag_minutes: float | None = Field(default=None, ge=0, le=60 * 24 * 31)

    @model_validator(mode="after")
    def _consistent(self) -> Extract:
        if not self.watermark and (self.id or self.lag_minutes is not None):
            raise ValueError("`id` and `lag_minutes` belong to a `watermark`; without it the whole table is read")
        return self


Policy = Literal["accept", "reject", "fail"]
#: Kinds of text that a column may be agreed to hold.
KINDS = ("integer", "decimal", "decimal_comma", "date", "timestamp", "other_date", "boolean", "text")


class OnDrift(Strict):
    """What happens to a file whose columns are not those agreed on.

    `accept` loads it, `reject` leaves the file out and notes it in bronze.rejects, `fail` fails the load. A renamed
    column is one that is missing and one that is new.
    """

    new: Policy = "accept"
    missing: Policy = "accept"
    retyped: Policy = "accept"

    @property
    def decides(self) -> bool:
        """Whether any difference keeps a file out."""
        return {self.new, self.missing, self.retyped} != {"accept"}


class RawTable(Strict):
    """One table of the export, as it is delivered.

    `files` are glob patterns of file names within a drop; a pattern without an extension for compression also
    finds the gzipped file. Where `format` or `delimiter` is not given it is found from each file. A table with `explode`
    has no files: its records are the elements of arrays in another raw table's.
    """

    files: tuple[str, ...] = ()
    description: str = Field(min_length=3)
    delivery: Literal["delta", "full"] = "delta"
    format: Literal["csv", "json", "jsonl", "parquet", "xlsx"] | None = None
    #: Of a workbook: the sheet that the table is. Tables of several sheets have the same `files`.
    sheet: str | None = Field(default=None, min_length=1)
    delimiter: str | None = None
    encoding: str = "utf-8"
    #: Share of a file's lines that may be unparsable before the file counts as damaged.
    max_unparsable_share: float = Field(default=0.01, ge=0, le=1)
    #: Share of a load's rows that may be rejected before an entity takes over none of them.
    max_rejected_share: float = Field(default=0.5, gt=0, le=1)
    #: Where the table is read from by `ecommerce extract`; files can be delivered all the same.
    extract: Extract | None = None
    #: The columns agreed on, with the kind of text in them where that matters; only `on_drift` looks at them.
    columns: dict[str, str | None] = {}
    on_drift: OnDrift = OnDrift()
    #: `<raw table>.<path of an array>`: `orders.line_items`, `orders.refunds[].refund_line_items`.
    explode: str | None = None
    #: Column → path of the value in the records around an element: `{order_id: id, refund_id: refunds.id}`.
    parent: dict[str, str] = {}

    @property
    def exploded(self) -> exploding.Path | None:
        """The way to the elements that are its records; None for a table of files."""
        return exploding.path(self.explode) if self.explode else None

    @property
    def parent_values(self) -> dict[str, exploding.Value]:
        """What is taken from the records around an element: column → where it stands."""
        return exploding.values(self.parent, self.exploded) if self.exploded else {}

    @model_validator(mode="after")
    def _from_files_or_elements(self) -> RawTable:
        if not self.explode:
            if not self.files:
                raise ValueError(
                    "files is missing: patterns of the names of its files, or `explode`, the array that it is made from"
                )
            if self.parent:
                raise ValueError("`parent` belongs to a table with `explode`")
            return self
        own = {"files", "delivery", "format", "sheet", "delimiter", "encoding", "extract", "columns", "on_drift"}
        if said := sorted(own & self.model_fields_set):
            raise ValueError(f"a table with `explode` is delivered with another: leave {', '.join(said)} out")
        for name in self.parent:
            if not _NAME.match(name):
                raise ValueError(f"`parent`: column {name!r} is not lower snake_case")
        exploding.values(self.parent, exploding.path(self.explode))
        return self

    @model_validator(mode="after")
    def _sheet_of_a_workbook(self) -> RawTable:
        if self.sheet and self.format not in (None, "xlsx"):
            raise ValueError(f"`sheet` is a workbook's, and `format` says {self.format}")
        return self

    @field_validator("columns", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return dict.fromkeys(value) if isinstance(value, list) else value

    @field_validator("columns")
    @classmethod
    def _known_kinds(cls, value: dict[str, str | None]) -> dict[str, str | None]:
        for name, kind in value.items():
            if kind is not None and kind not in KINDS:
                raise ValueError(f"column {name!r}: unknown kind {kind!r}; use one of {', '.join(KINDS)}")
        return value

    @model_validator(mode="after")
    def _agreed(self) -> RawTable:
        if self.on_drift.decides and not self.columns:
            raise ValueError(
                "`on_drift` needs `columns`, those agreed on: compared with the load before, which file is left out "
                "would depend on the order of loads"
            )
        if self.on_drift.retyped != "accept" and not any(self.columns.values()):
            raise ValueError(
                f"`retyped` needs the kinds of columns, e.g. `columns: {{amount: decimal}}` ({', '.join(KINDS)})"
            )
        return self

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


class KnownDays(Strict):
    """Days of every year on which the shop is known to be different: they are told, but alarm nobody."""

    name: str = Field(min_length=3)
    #: MM-DD; `last` may lie in the next year. A day that a year lacks counts as the one before.
    first: str = Field(pattern=r"^\d{2}-\d{2}$")
    last: str = Field(pattern=r"^\d{2}-\d{2}$")

    @field_validator("first", "last")
    @classmethod
    def _a_day(cls, value: str) -> str:
        try:
            date.fromisoformat(f"2024-{value}")
        except ValueError:
            raise ValueError(f"{value!r} is not a day of the year; write MM-DD") from None
        return value

    def holds(self, day: date) -> bool:
        """Whether a day is one of them."""
        place = day.isoformat()[5:]
        if self.first <= self.last:
            return self.first <= place <= self.last
        return place >= self.first or place <= self.last


class AnomalyRules(Strict):
    """Which series of `gold.kpi_daily` are watched for strange days, and how strictly."""

    series: tuple[str, ...] = Field(default=("orders", "revenue"), min_length=1)
    #: How many usual errors a day may be off before it is strange, and from how many on it is critical.
    threshold: float = Field(default=3.6, ge=2, le=20)
    critical: float = Field(default=8.0, ge=2, le=100)
    known_days: tuple[KnownDays, ...] = ()

    def known(self, first: date, last: date) -> str | None:
        """What the days from `first` to `last` are known as, if all of them are known to be different."""
        names: dict[str, None] = {}
        day = first
        while day <= last:
            name = next((k.name for k in self.known_days if k.holds(day)), None)
            if name is None:
                return None
            names[name] = None
            day += timedelta(days=1)
        return ", ".join(names)


class DriftRules(Strict):
    """From which differences on a load is unlike the loads before it: the least that counts, however sure it is.

    What chance explains, and what loads usually differ by, is found out from the loads themselves.
    """

    #: Share of the expected rows that may be missing (or, the other way round, too many: 0.3 is 30 % fewer or 43 % more).
    rows: float = Field(default=0.3, gt=0, lt=1)
    #: Difference between shares of nulls.
    nulls: float = Field(default=0.05, gt=0, lt=1)
    #: Population stability index of a column's values; 0.1 is a moderate, 0.25 a large shift by convention.
    psi: float = Field(default=0.1, gt=0)
    #: Kolmogorov-Smirnov distance.
    ks: float = Field(default=0.1, gt=0, lt=1)
    #: Days before a raw table's newest load within which a load that drifted keeps the checks failing.
    lately_days: int = Field(default=7, ge=1, le=366)
    #: Columns, as <entity>.<column>, whose changes are no news.
    ignore: tuple[str, ...] = ()


class ReplayTable(Strict):
    """When the rows of one raw table came in, for `ecommerce land --by`, which splits an export into drops.

    A table either has dates of its own (`created`, and `events` when its rows change later) or its rows come with
    those of another table (`follows`). Of a table made of the array in pages (`{"orders": [ … ]}`) the pages are split.
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
            day = datetime(2017, 11, 28, tzinfo=UTC)
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


class BrandRule(Strict):
    """How a brand is recognised in the names of products that state none.

    A name shows the brand if one of the `words` (a word or several in a row; without any, the brand itself) stands in
    it on its own, in whatever case and with whatever signs around it; a word that ends in `*` may also begin a longer
    one, so that `iPhone*` stands in `iPhone7Plus`. Of several brands that a name shows, the rule that stands first
    decides.
    """

    brand: str = Field(min_length=1)
    words: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _readable(self) -> BrandRule:
        for word in self.names:
            if not any(character.isalnum() for character in word):
                raise ValueError(f"{word!r} has neither a letter nor a digit that could stand in a name")
            if "*" in word[:-1]:
                raise ValueError(f"{word!r}: * stands at the end of a word, for whatever it goes on with")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """What is looked for in the names."""
        return self.words or (self.brand,)


class IdentityRules(Strict):
    """How records of one person are found in this source, beyond the shop's own keys (docs/persons.md)."""

    #: Whether records are linked by what they say: names, birth dates, addresses, telephone numbers.
    link: bool = False
    #: Probability from which two records count as one person's; lower ones put strangers together.
    threshold: float = Field(default=0.9, ge=0.5, lt=1)


class SourceFile(Strict):
    """What `source.yml` says about a shop."""

    #: Where people read about the fields.
    PAGE: ClassVar[str] = "docs/your-own-shop.md, source.yml in full"

    name: str
    path: Path
    description: str = Field(min_length=10)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    time_zone: str
    start_date: date
    churn_window_days: int = Field(default=90, ge=1, le=1000)
    #: Pairs of products that fewer counted orders hold are left out of gold.product_affinity.
    min_pair_orders: int = Field(default=5, ge=1)
    anomalies: AnomalyRules = AnomalyRules()
    #: How different a load may be from those before it.
    drift: DriftRules = DriftRules()
    tables: dict[str, RawTable] = Field(min_length=1)
    #: `<entity>.<raw table>` → columns of the unit within which the mapping numbers or groups rows. The source
    #: delivers units whole: the newest load that mentions a unit replaces all rows of it.
    units: dict[str, tuple[str, ...]] = {}
    #: `<entity>.<raw table>` → columns whose value is gathered from all rows that name the key: the newest that is
    #: there by the SQL expression behind the column, of equally new ones (and without an expression) the greatest.
    gathered: dict[str, dict[str, str | None]] = {}
    #: Name → SQL over one raw row that mappings (and `gathered`) use by that name: what several of them share.
    expressions: dict[str, str] = {}
    #: `<entity>.<raw table>` → why the mapping's WHERE (or QUALIFY) leaves rows out on purpose; where it does so without a
    #: reason given here, it is warned of.
    left_out: dict[str, str] = {}
    database: Database | None = None
    #: For catalogues without brands: how they are recognised in the products' names, the first that fits first.
    brand_rules: tuple[BrandRule, ...] = ()
    #: Raw tables that `ecommerce land --by` splits by date; the others are delivered whole, in the first drop.
    replay: dict[str, ReplayTable] = {}
    #: How the persons behind customer records are found.
    identity: IdentityRules = IdentityRules()
    #: Bounds of KPIs that are worth a message when they are broken.
    alerts: tuple[KpiAlert, ...] = ()
    #: Figures that decisions need; without them they are refused.
    decisions: DecisionRules = DecisionRules()

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
        return _parents_first(value)

    @field_validator("expressions")
    @classmethod
    def _callable(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _NAME.match(name):
                raise ValueError(f"expression {name!r} is not lower snake_case")
        return value

    @field_validator("left_out")
    @classmethod
    def _reasons(cls, value: dict[str, str]) -> dict[str, str]:
        for name, reason in value.items():
            if len(reason.strip()) < 10:
                raise ValueError(f"{name}: say which rows are left out, and why")
        return value

    def root(self, raw_table: str) -> str:
        """The raw table whose files a raw table is made from: itself, or the one that its elements are delivered in."""
        while (path := self.tables[raw_table].exploded) is not None:
            raw_table = path.table
        return raw_table

    @property
    def replayed(self) -> dict[str, str]:
        """Raw table of files → the table of `replay` by whose records they are split: itself, or that of an array in pages."""
        named = {name: self.tables[name].exploded for name in self.replay if name in self.tables}
        return {path.table if path else name: name for name, path in named.items()}

    def first_sheet(self, raw_table: str) -> str:
        """Of raw tables that are sheets of the same files the first, which these are listed under; else the table itself."""
        raw = self.tables[raw_table]
        return next(
            (name for name, other in self.tables.items() if raw.sheet and other.sheet and other.files == raw.files),
            raw_table,
        )

    def made_from(self, raw_table: str) -> list[str]:
        """The raw tables that are made from elements of a raw table's records, at whatever depth."""
        return [name for name in self.tables if name != raw_table and raw_table in _line(self.tables, name)]

    def arrays_in(self, raw_table: str) -> set[str]:
        """The columns of a raw table that hold the arrays which others are made from."""
        paths = [table.exploded for table in self.tables.values()]
        return {path.levels[0][0] for path in paths if path and path.table == raw_table}

    @property
    def extracts(self) -> dict[str, Extract]:
        """The raw tables that are read from the database."""
        return {name: table.extract for name, table in self.tables.items() if table.extract}

    @property
    def database_file(self) -> Path | None:
        """The SQLite file that `database` names by its path."""
        return self.path.parent / self.database.path if self.database and self.database.path else None


def _line(tables: MappingOf[str, RawTable], raw_table: str) -> list[str]:
    """A raw table, the one that its elements stand in, that one's, and so on, as far as they are there."""
    found = []
    while raw_table in tables and raw_table not in found:
        found.append(raw_table)
        path = tables[raw_table].exploded
        raw_table = path.table if path else ""
    return found


def _parents_first(tables: dict[str, RawTable]) -> dict[str, RawTable]:
    """The tables, each behind the one that its elements stand in and delivered as that one is."""
    found: dict[str, RawTable] = {}
    for name in tables:
        for table in reversed(_line(tables, name)):
            raw = tables[table]
            root = _line(tables, table)[-1]
            found.setdefault(table, raw.model_copy(update={"delivery": tables[root].delivery}) if raw.explode else raw)
    return found


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


def check_ignored(file: SourceFile, contracts: MappingOf[str, Contract]) -> None:
    """Holds the columns that `drift: ignore` names against the entities.

    Args:
        file: what `source.yml` says.
        contracts: entity → its contract.

    Raises:
        DefinitionError: with file and line; a name is no column of an entity.
    """
    for name in file.drift.ignore:
        entity, _, column = name.partition(".")
        if entity not in contracts or column not in contracts[entity].columns:
            known = contracts[entity].columns if entity in contracts else contracts
            raise DefinitionError(
                f"drift: ignore: {name!r} is no column of an entity",
                where=f"{file.path}:{line_of(file.path, ('drift', 'ignore'))}",
                fix=f"write <entity>.<column>; {'columns' if entity in contracts else 'entities'}: {', '.join(known)}",
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
    if problems := _check_exploded(file):
        return None, problems
    for check in (_check_replay, _check_extracts):
        try:
            check(file)
        except DefinitionError as error:
            problems.append(error)
    mappings = []
    for sql in sorted(folder.glob("*.sql")):
        found = _mapping(sql, file, entities)
        if isinstance(found, Mapping):
            mappings.append(found)
        else:
            problems.append(found)
    problems += _unmapped(file, mappings)
    return Source(file, tuple(mappings)), problems


def _mapping(sql: Path, file: SourceFile, entities: Sequence[str]) -> Mapping | DefinitionError:
    """The mapping in a file, if its name says which it is."""
    entity, _, raw_table = sql.stem.partition(".")
    named = "name the file <entity>.<raw table>.sql with one of"
    if entity not in entities:
        fix = f"{named} {', '.join(sorted(entities))}"
        return DefinitionError(f"{entity!r} is not a canonical entity", where=f"{sql}:1", fix=fix)
    if raw_table not in file.tables:
        fix = f"{named} {', '.join(file.tables)}"
        return DefinitionError(f"raw table {raw_table!r} is not in source.yml", where=f"{sql}:1", fix=fix)
    return Mapping(entity, raw_table, sql, sql.read_text(encoding="utf-8"))


def _unmapped(file: SourceFile, mappings: Sequence[Mapping]) -> list[DefinitionError]:
    """What is said of mappings that are not there."""
    there = {f"{m.entity}.{m.raw_table}" for m in mappings}
    return [
        DefinitionError(
            f"{field}: there is no mapping {name}.sql",
            where=f"{file.path}:{line_of(file.path, (field, name))}",
            fix=f"name one of {', '.join(sorted(there)) or 'the mappings beside it, <entity>.<raw table>'}",
        )
        for field, names in (("units", file.units), ("gathered", file.gathered), ("left_out", file.left_out))
        for name in names
        if name not in there
    ]


def _check_exploded(file: SourceFile) -> list[DefinitionError]:
    """That what `explode` names is there, and does not lead back to itself."""
    problems = []
    for name, raw in file.tables.items():
        if raw.exploded is None:
            continue
        here, parent = ("tables", name, "explode"), raw.exploded.table
        others = [t for t in file.tables if name not in _line(file.tables, t)]
        if parent not in file.tables:
            fix = f"begin with one of {', '.join(others)}" if others else "declare the table that the array stands in"
            problems.append(_wrong(file, f"there is no raw table {parent!r}", fix, *here))
        elif file.tables[_line(file.tables, name)[-1]].explode and all(t in file.tables for t in _parents(file, name)):
            around = " → ".join([*_line(file.tables, name), name])
            fix = "let it begin with a table that has `files`"
            problems.append(_wrong(file, f"the tables are made from one another: {around}", fix, *here))
    return problems


def _parents(file: SourceFile, raw_table: str) -> list[str]:
    """What the tables that a raw table is made from name in turn."""
    return [path.table for t in _line(file.tables, raw_table) if (path := file.tables[t].exploded)]


def extract_name(raw_table: str, at: datetime) -> str:
    """Name of the file that an extract of a raw table at `at` (UTC) writes; a later one comes after it in order."""
    return f"{raw_table}_{at:%Y%m%dT%H%M%S%f}Z.parquet"


def _check_extracts(file: SourceFile) -> None:
    """That `database` and `extract` fit together and with the raw tables."""
    if file.database and not file.extracts:
        raise _wrong(
            file, "no table is read from it", "add `extract: {table: …}` to a table, or leave it out", "database"
        )
    for name, extract in file.extracts.items():
        if not file.database:
            raise _wrong(
                file,
                "the source has no database",
                "add `database: {kind: …, url: …}` to the source, or leave `extract` out",
                *("tables", name, "extract"),
            )
        _check_delivery(file, name, extract)
        _check_files(file, name)


def _wrong(file: SourceFile, what: str, fix: str, *location: str) -> DefinitionError:
    line = line_of(file.path, location)
    return DefinitionError(f"{'.'.join(location)}: {what}", where=f"{file.path}:{line}", fix=fix)


def _check_delivery(file: SourceFile, name: str, extract: Extract) -> None:
    """That an extract brings what the raw table says is delivered: all of it, or what has changed."""
    delivery, here = file.tables[name].delivery, ("tables", name, "extract")
    if extract.watermark and delivery == "full":
        raise _wrong(
            file,
            "an extract with a watermark is a part of the table, but the table is delivered in full",
            "say `delivery: delta`, or leave out the watermark",
            *(*here, "watermark"),
        )
    if not extract.watermark and delivery == "delta":
        raise _wrong(
            file,
            "an extract without a watermark is the whole table, but the table is delivered as a delta",
            "say `delivery: full`, or add a `watermark`",
            *here,
        )
    unit = next((u for u in file.units if u.partition(".")[2] == name), None)
    if extract.watermark and unit:
        raise _wrong(
            file,
            f"{unit} is a unit that has to be delivered whole, but a watermark brings only the rows that changed",
            "leave out the watermark and say `delivery: full`",
            *(*here, "watermark"),
        )


def _check_files(file: SourceFile, name: str) -> None:
    """That the files an extract writes are files of the raw table, and of no other."""
    raw = file.tables[name]
    if raw.format not in (None, "parquet"):
        raise _wrong(
            file,
            f"an extract is a Parquet file, but the table's format is {raw.format}",
            "leave `format` out: it is found from each file",
            *("tables", name, "format"),
        )
    written = extract_name(name, datetime(2024, 1, 31))
    named = [t for t, other in file.tables.items() if any(fnmatchcase(written, f) for f in other.files)]
    if named != [name]:
        raise _wrong(
            file,
            f"extracts are named like {written}, which is in the files of {' and '.join(named) if named else 'no table'}",
            f"add {name}_*.parquet to the files of {name} and make the patterns of others tell it apart",
            *("tables", name, "files"),
        )


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
        around = raw.exploded.table if raw.exploded else name
        files = file.tables[around]
        if raw.exploded and (files.explode or len(raw.exploded.levels) > 1):
            raise refuse(
                f"its records stand in those of {file.root(name)!r}", "leave it out: they come with these", name
            )
        if other := next((n for n in file.replay if n != name and file.replayed.get(around) == n), None):
            raise refuse(f"files of {around!r} are split by {other!r} already", "leave one of the two out", name)
        if files.delivery == "full":
            raise refuse(
                "each delivery of this table is the whole table, so it cannot be split",
                "leave it out: it is then delivered in the first drop",
                name,
            )
        if files.format in ("parquet", "xlsx"):
            raise refuse(
                f"only CSV and JSON can be split, not {files.format}", "leave it out or deliver it as CSV", name
            )
        if table.follows and table.followed[0] not in dated:
            raise refuse(
                f"{table.followed[0]!r} is no table with dates of its own",
                f"follow one of {', '.join(dated) or 'the tables with `created` (there is none yet)'}",
                name,
                "follows",
            )
