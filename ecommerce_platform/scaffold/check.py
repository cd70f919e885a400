"""`ecommerce check-source`: what a source would do with its files, without a warehouse.

Files are loaded into a warehouse in memory by the same functions that build the real one; here they are only asked what
came of it. Nothing is written but to a temporary folder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.ddl import create_table_sql, quote
from ecommerce_platform.contracts.source import Source, examine_source
from ecommerce_platform.contracts.yaml_file import line_of
from ecommerce_platform.errors import DefinitionError, DefinitionErrors, InputError
from ecommerce_platform.ingestion.bronze import FileLoad, load_bronze
from ecommerce_platform.ingestion.entries import Bounds, look_at
from ecommerce_platform.ingestion.landing import RawFile, choose, file_matcher, with_exploded
from ecommerce_platform.ingestion.readers import text
from ecommerce_platform.ingestion.sniff import RESERVED
from ecommerce_platform.quality.plausibility.finding import Plausibility
from ecommerce_platform.quality.plausibility.look import look as look_at_plausibility
from ecommerce_platform.quality.swapped_dates import Verdict, judge_entity
from ecommerce_platform.scaffold.profile import best_form, sql_name
from ecommerce_platform.scaffold.render import OPEN
from ecommerce_platform.scaffold.sample import entries_of_drops
from ecommerce_platform.scaffold.temporary import temporary_warehouse
from ecommerce_platform.scaffold.words import vocabulary
from ecommerce_platform.silver.accounting import account_entities, account_rows
from ecommerce_platform.silver.cannot_run import is_of_sql, what_it_says
from ecommerce_platform.silver.conversions import Conversion
from ecommerce_platform.silver.entities import load_entity, loads_set_aside
from ecommerce_platform.silver.expressions import line_of_expression
from ecommerce_platform.silver.left_out import left_out
from ecommerce_platform.silver.mapping import CompiledMapping, examine_mappings
from ecommerce_platform.silver.overlaps import overlaps
from ecommerce_platform.warehouse.contract_checks import BlockedError
from ecommerce_platform.warehouse.lookup import column_types
from ecommerce_platform.warehouse.sql_model import parse_models, without_left_out

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.ingestion.zone import Zone

#: Examples per finding.
_SHOWN = 5
#: Of so many rows that do not find their parent, ids are probably written in another way there.
_MANY = 0.5

#: What it means that an entity is not filled, where it is not that tables stay empty.
_WITHOUT = {"labels": "codes of categories, payment methods and states are shown as they are"}
#: How the line begins that adds up the others.
_TOTAL = r"(?i)\W*(sub|grand )?(total|totals|totales|totaux|totais|summe|gesamt|gesamtsumme|suma|soma|somme|sum)\b.*"

_ROW = "_load_date, _source_file, _source_row"

#: What a look is about: an entity, or a mapping.
Asked = TypeVar("Asked", str, CompiledMapping)

Level = Literal["definition", "data", "doubt", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing: what, where, and what to do.

    `definition`: source.yml or a mapping has to be corrected. `data`: part of the input would not be used as it is.
    `doubt`: the input is used, and its figures are not plausible. `note`: nothing is lost, but it may not be meant.
    """

    level: Level
    where: str
    what: str
    fix: str | None = None


@dataclass
class Report:
    """What a check found.

    `tables` are (raw table, files, rows, lines that cannot be parsed), `entities` (entity, raw table, rows landed,
    accepted, rejected), `accounting` (raw table, landed, used, superseded, rejected); `unfilled` are entities and what
    stays empty without them, `empty` (entity, canonical columns without values).
    """

    source: str
    findings: list[Finding] = field(default_factory=list)
    tables: list[tuple[str, int, int, int]] = field(default_factory=list)
    entities: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    accounting: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    unfilled: list[tuple[str, str]] = field(default_factory=list)
    empty: list[tuple[str, str]] = field(default_factory=list)
    #: (entity, column, raw table) → whether its days and months stand where they belong.
    days_and_months: dict[tuple[str, str, str], Verdict] = field(default_factory=dict)
    #: Which figures were held against each other, and which could not be.
    plausibility: Plausibility = field(default_factory=Plausibility)
    #: Files that no raw table names.
    left: tuple[str, ...] = ()
    #: Whether files were looked at, or definitions only.
    looked_at: bool = False

    def of(self, level: Level) -> list[Finding]:
        """The findings of one level."""
        return [finding for finding in self.findings if finding.level == level]


def check_source(
    folder: Path,
    catalog: Catalog,
    files: Path | Zone | None,
    today: date,
    *,
    memory_limit: str = "2GB",
    threads: int | None = None,
) -> Report:
    """Everything that is wrong with a source, and what it would make of the files.

    Args:
        folder: the source's folder.
        catalog: the tables there are.
        files: a folder of exported files or of drops, or a landing zone; without it only definitions are looked at.
        today: the day that files count as delivered on.
        memory_limit: what DuckDB may use.
        threads: threads DuckDB may use.

    Raises:
        InputError: there is no such source; the folder of files holds none of the source's.
    """
    if not (folder / "source.yml").is_file():
        raise InputError(
            "holds no source.yml",
            where=folder,
            fix="give the folder of a source; `ecommerce new-source NAME --from FILES` drafts one",
        )
    report = Report(folder.resolve().name)
    source, problems = examine_source(folder, catalog.entities)
    compiled: dict[str, tuple[CompiledMapping, ...]] = dict.fromkeys(catalog.entities, ())
    if source is not None:
        contracts = {entity: catalog.contract(f"silver.{entity}") for entity in catalog.entities}
        compiled, wrong = examine_mappings(source, contracts)
        problems += wrong
        problems += [*_unread(source), *_of_one_load(source, compiled)]
    report.findings += _definitions(problems)
    if source is None:
        return report
    report.findings += _without_units(source, compiled)
    _say_unfilled(report, catalog, source, compiled)
    if files is None:
        return report
    report.looked_at = True
    zone = None if isinstance(files, Path) else files
    if isinstance(files, Path):
        drops, report.left = _files(files, source, today)
    else:
        drops = files.drops(source).tables
    with temporary_warehouse(source.name, memory_limit, threads) as (con, scratch):
        _Look(con, scratch, catalog, source, compiled, report, zone).at(drops)
    return report


def _definitions(problems: Sequence[DefinitionError]) -> list[Finding]:
    findings = []
    for problem in problems:
        for error in problem.errors if isinstance(problem, DefinitionErrors) else (problem,):
            what, fix = error.what, error.fix
            if error.where and _is_open(error.where):
                name = what.split(":")[0]
                what, fix = f"{name} is left open", f"write what stands behind it in place of {OPEN}"
            findings.append(Finding("definition", error.where or "", what, fix))
    return findings


def _is_open(where: str) -> bool:
    """Whether the line named holds the mark for what could not be guessed."""
    path, _, line = where.rpartition(":")
    if not path.endswith(".yml") or not line.isdigit():
        return False
    return f'"{OPEN}"' in Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1]


def _unread(source: Source) -> list[DefinitionError]:
    """Raw tables that no mapping reads: their rows would be unaccounted for, which stops every build."""
    read = {mapping.raw_table for mapping in source.mappings}
    return [
        DefinitionError(
            f"no mapping reads the raw table {name}, so its rows would be unaccounted for",
            where=f"{source.file.path}:{line_of(source.file.path, ('tables', name))}",
            fix=f"write <entity>.{name}.sql, or take the table out",
        )
        for name in source.file.tables
        if name not in read and not read & set(source.file.made_from(name))
    ]


def _of_one_load(source: Source, compiled: dict[str, tuple[CompiledMapping, ...]]) -> list[DefinitionError]:
    """Mappings that aggregate the rows of a key load by load, though nothing says that a load has all of them: what comes
    of it would depend on how the days are cut into drops."""
    problems = []
    for mapping in (m for found in compiled.values() for m in found):
        name = f"{mapping.contract.name}.{mapping.raw_table}"
        if not mapping.group_by or not mapping.late or mapping.delivery == "full" or name in source.file.units:
            continue
        columns = sorted(mapping.late, key=list(mapping.contract.columns).index)
        key = mapping.contract.key[0]
        gather = (
            "leave out GROUP BY and the aggregates, and say in source.yml which value counts: "
            f"gathered: {{{name}: {{{columns[0]}: as_timestamp(…)}}}}"
        )
        whole = f"say so in source.yml: units: {{{name}: [{key}]}}"
        problems.append(
            DefinitionError(
                f"{', '.join(columns)} {'are' if len(columns) > 1 else 'is'} worked out from the rows of one load: of "
                f"{mapping.contract.name} that several loads name, only the newest load's rows count",
                where=f"{mapping.mapping.path}:{mapping.lines.get(columns[0], 1)}",
                fix=f"if one load always brings all rows of an order, {whole}"
                if key == "order_id"
                else f"{gather}; if one load always brings all rows of a {key}, {whole}",
            )
        )
    return problems


def _without_units(source: Source, compiled: dict[str, tuple[CompiledMapping, ...]]) -> list[Finding]:
    """Mappings of elements of arrays for which nothing says that a document brings all of them."""
    return [
        Finding(
            "note",
            str(mapping.mapping.path),
            f"source.yml names no unit for {mapping.contract.name}.{mapping.raw_table}, so elements that a newer document "
            "lacks stay",
            f"if a document always brings all of them, say so in source.yml: units: {{{mapping.contract.name}."
            f"{mapping.raw_table}: [{mapping.contract.key[0]}]}}",
        )
        for mapping in (m for found in compiled.values() for m in found)
        if source.file.tables[mapping.raw_table].explode
        and f"{mapping.contract.name}.{mapping.raw_table}" not in source.file.units
    ]


def _say_unfilled(
    report: Report, catalog: Catalog, source: Source, compiled: dict[str, tuple[CompiledMapping, ...]]
) -> None:
    """Entities without a mapping, and columns that no mapping fills, with the tables that miss them."""
    named = {mapping.entity for mapping in source.mappings}
    every = parse_models(catalog, dict.fromkeys(catalog.entities, True))
    kept = without_left_out(every, {entity: entity in named for entity in catalog.entities})
    for entity in catalog.entities:
        if entity not in named:
            if entity in _WITHOUT:
                report.unfilled.append((entity, _WITHOUT[entity]))
                continue
            readers = [name for name, model in every.items() if f"silver.{entity}" in model.reads and name in kept]
            gone = [name for name in every if name not in kept and entity in every[name].contract.requires]
            said = [f"what comes of it in {', '.join(readers)} stays empty"] if readers else []
            said += [f"without it there is no {', '.join(gone)}"] if gone else []
            report.unfilled.append((entity, "; ".join(said)))
        elif mappings := compiled[entity]:
            columns = catalog.contract(f"silver.{entity}").columns
            without = [name for name in columns if not any(name in m.expressions for m in mappings)]
            if without:
                report.empty.append((entity, ", ".join(without)))


def _files(directory: Path, source: Source, today: date) -> tuple[dict[str, list[RawFile]], tuple[str, ...]]:
    """The files of each raw table in a folder of files or of drops, and the names of others."""
    if directory.is_dir() and not any(p.is_file() and not p.name.startswith(".") for p in directory.iterdir()):
        return _drops(directory, source)
    given, left = choose(directory, source)
    tables: dict[str, list[RawFile]] = {name: [] for name in source.file.tables}
    for file in given:
        stat = file.path.stat()
        tables[file.table].append(RawFile(today, file.name, file.path, stat.st_size, stat.st_mtime_ns))
    return with_exploded(tables, source), left


def _drops(directory: Path, source: Source) -> tuple[dict[str, list[RawFile]], tuple[str, ...]]:
    """The same in a folder of drops, which is only read: `list_drops` would lock it."""
    tables: dict[str, list[RawFile]] = {name: [] for name in source.file.tables}
    match, left, bounds = file_matcher(source), [], Bounds(directory)
    for day, path in entries_of_drops(directory):
        table = match(path.name, path.parent)
        if table:
            there = look_at(path, bounds)
            tables[table].append(RawFile(day, path.name, path, there.size, there.mtime_ns, fault=there.fault))
        else:
            left.append(f"{path.parent.name}/{path.name}")
    if not any(tables.values()):
        raise InputError("holds no file of this source", where=directory, fix="give a folder with its files")
    return with_exploded(tables, source), tuple(left)


class _Look:
    """One look at the files: what each step of a build makes of them."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        scratch: Path,
        catalog: Catalog,
        source: Source,
        compiled: dict[str, tuple[CompiledMapping, ...]],
        report: Report,
        zone: Zone | None,
    ) -> None:
        self.con, self.scratch, self.catalog, self.source = con, scratch, catalog, source
        self.compiled, self.report, self.zone = compiled, report, zone
        self.several = False

    def at(self, drops: dict[str, list[RawFile]]) -> None:
        for name in ("bronze.files", "bronze.rejects", "silver.loads", "silver.rejects", "silver.empty_units"):
            self.con.execute(create_table_sql(self.catalog.contract(name)))
        self.several = len({file.day for files in drops.values() for file in files}) > 1
        for raw_table, files in drops.items():
            fetch = self.zone is not None and not self.source.file.tables[raw_table].explode
            with self.zone.fetched(files, self.scratch) if self.zone and fetch else nullcontext(files) as here:
                self._load(raw_table, here)
        self.con.execute(
            "create temp table _no_data (raw_table varchar, _load_date date, _source_file varchar, _source_row bigint)"
        )
        for raw_table in drops:
            self._set_aside(raw_table)
        loaded = {entity for entity in self.catalog.entities if self._fill(entity)}
        for entity in sorted(loaded):
            self._ask(self._overlaps, entity)
        for entity in sorted(loaded, key=list(self.catalog.entities).index):
            for mapping in self.compiled[entity]:
                for look in (self._conversions, self._taken_all_the_same, self._rules, self._key, self._left_out):
                    self._ask(look, mapping)
            for question in (self._orphans, self._always_empty, self._days_and_months):
                self._ask(question, entity)
        self._account(loaded)
        self._plausible(loaded)

    def _plausible(self, loaded: Collection[str]) -> None:
        """What the figures say about each other. Doubts are notes: nothing of the input is lost to them."""
        import duckdb

        kept = {entity: self.compiled[entity] for entity in self.catalog.entities if entity in loaded}
        file = self.source.file
        try:
            found = self.report.plausibility = look_at_plausibility(self.con, kept, file.currency, file.time_zone)
        except duckdb.Error as error:
            if not is_of_sql(error):
                raise
            self.report.plausibility.not_compared.append(f"figures: {what_it_says(error)}")
            return
        for doubt in found.doubts:
            self._say("doubt", doubt.where, str(doubt), doubt.fix)

    def _ask(self, look: Callable[[Asked], None], what: Asked) -> None:
        """One look at an entity or a mapping; SQL of the source that does not run in it is a finding like any other."""
        import duckdb

        try:
            look(what)
        except duckdb.Error as error:
            if not is_of_sql(error):
                raise
            where = f"silver.{what}" if isinstance(what, str) else str(what.mapping.path)
            self._say("note", where, f"could not be looked at in every respect: {what_it_says(error)}")

    def _say(self, level: Level, where: str, what: str, fix: str | None = None) -> None:
        self.report.findings.append(Finding(level, where, what, fix))

    def _file(self, day: date, name: str) -> str:
        """A file as messages name it: with its day, where there are several."""
        return f"{day}/{name}" if self.several else name

    def _short(self, name: str) -> str:
        """`<day>/<name>` likewise."""
        return name if self.several else name.partition("/")[2]

    def _mappings(self, raw_table: str) -> list[CompiledMapping]:
        return [m for found in self.compiled.values() for m in found if m.raw_table == raw_table]

    # -- files into bronze -------------------------------------------------------------------------------------

    def _load(self, raw_table: str, files: Sequence[RawFile]) -> None:
        mappings = self._mappings(raw_table)
        expected = list(dict.fromkeys(column for m in mappings for column in m.raw_columns))
        loaded = load_bronze(
            self.con, self.source, raw_table, files, {f.day for f in files},
            expected=expected, required={}, scratch=self.scratch,
        )  # fmt: skip
        self.report.tables.append((raw_table, len(files), loaded.rows_inserted, loaded.rows_rejected))
        where = f"{self.source.file.path}:{line_of(self.source.file.path, ('tables', raw_table))}"
        if not files:
            patterns = ", ".join(self.source.file.tables[raw_table].files)
            self._say("note", where, f"no file of the raw table {raw_table} is there ({patterns})")
        for name, problem in loaded.problems:
            self._say("data", self._short(name), problem)
        for name, problem in loaded.notes:
            self._say("note", self._short(name), problem.removeprefix("note: "))
        if loaded.rows_rejected:
            self._unparsable(raw_table, {name for name, _ in loaded.problems})
        for mapping in mappings:
            self._missing(mapping, [file for file in loaded.files if file.columns])

    def _unparsable(self, raw_table: str, said: Collection[str]) -> None:
        rows = self.con.execute(
            "select _load_date, _source_file, count(*), arg_min(line, reject_number), arg_min(reason, reject_number) "
            "from bronze.rejects where raw_table = ? group by all order by all",
            [raw_table],
        ).fetchall()
        for day, name, count, line, reason in rows:
            if f"{day}/{name}" not in said:
                self._say(
                    "data", f"{self._file(day, name)}:{line or 1}", f"{count:,} lines cannot be parsed; the first: {reason}",
                    "they would stand in bronze.rejects; correct them where the file is made",
                )  # fmt: skip

    def _missing(self, mapping: CompiledMapping, files: Sequence[FileLoad]) -> None:
        """Raw columns that the mapping names and files lack."""
        for column in mapping.raw_columns:
            lacking = [f for f in files if column.lower() not in {c.lower() for c in f.columns}]
            if not lacking:
                continue
            there = list(dict.fromkeys(c for f in lacking for c in f.columns))
            fills = [n for n, raw in mapping.column_sources().items() if column in raw]
            required = [n for n in fills if n in mapping.contract.required_columns]
            names = [*there, *self.source.file.expressions]
            similar = get_close_matches(column.lower(), [c.lower() for c in names], 1, 0.6)
            meant = next((c for c in names if similar and c.lower() == similar[0]), None)
            some = f"{len(lacking)} of {len(files)} files lack" if len(lacking) < len(files) else "no file has"
            serves = (
                f"; required for {', '.join(required)}"
                if required
                else f"; it fills {', '.join(fills)}"
                if fills
                else ""
            )
            self._say(
                "data" if required or len(lacking) == len(files) else "note",
                _place_of(self.source, mapping, column),
                f"{some} the raw column {column!r}{serves} (e.g. {self._file(lacking[0].day, lacking[0].name)})",
                f"did you mean {sql_name(meant)}?" if meant else f"the file has: {', '.join(map(sql_name, there))}",
            )

    # -- bronze into entities ----------------------------------------------------------------------------------

    def _fill(self, entity: str) -> bool:
        """Fills an entity; whether there is something to ask it."""
        contract, mappings = self.catalog.contract(f"silver.{entity}"), self.compiled[entity]
        try:
            loaded = load_entity(self.con, self.catalog, contract, mappings)
        except DefinitionError as error:
            self.report.findings += _definitions([error])
        except BlockedError as error:
            where = ", ".join(str(m.mapping.path) for m in mappings)
            fix = (
                "give the keys of each system a prefix of its own, e.g. 'crm-' || as_text(id)"
                if len(mappings) > 1
                else None
            )
            self._say("data", where, error.what, fix)
        else:
            for mapping in mappings:
                counts = [count for (raw, _), count in loaded.loads.items() if raw == mapping.raw_table]
                self.report.entities.append(
                    (entity, mapping.raw_table, sum(c.landed for c in counts), sum(c.accepted for c in counts),
                     sum(c.rejected for c in counts))
                )  # fmt: skip
            for problem in loaded.problems:
                self._say("data", str(self.source.file.path), problem)
            for problem in loads_set_aside(self.con, entity):
                fix = "correct what is said below; where so many rejects are usual, raise max_rejected_share"
                self._say("data", str(self.source.file.path), f"{entity} from {problem}", fix)
            return bool(mappings)
        self.con.execute(create_table_sql(contract))
        return False

    def _set_aside(self, raw_table: str) -> None:
        """Notes rows that are no data: a header in the middle of a file, a line of totals. They are to be rejected."""
        bronze = f"bronze.{quote(self.source.bronze_table(raw_table))}"
        columns = [c for c, kind in column_types(self.con, bronze).items() if kind == "VARCHAR" and c not in RESERVED]
        if not columns:
            return
        filled = " + ".join(f"(as_text({quote(c)}) is not null)::int" for c in columns)
        named = " + ".join(f"(as_text({quote(c)}) is not distinct from {text(c)})::int" for c in columns)
        total = " or ".join(f"regexp_full_match(as_text({quote(c)}), {text(_TOTAL)})" for c in columns)
        kinds = {
            "repeat the header": f"2 * ({named}) > {len(columns)}",
            "add up other rows": f"2 * ({filled}) <= {len(columns)} and ({total})",
        }
        for what, condition in kinds.items():
            found = self.con.execute(
                f"insert into _no_data select {text(raw_table)}, {_ROW} from {bronze} where {condition} "
                "returning _load_date, _source_file, _source_row"
            ).fetchall()
            if found:
                day, name, row = min(found)
                self._say(
                    "note",
                    f"{self._file(day, name)} record {row}",
                    f"{len(found):,} rows of {raw_table} {what} and will be rejected, which is right",
                )

    def _taken_all_the_same(self, mapping: CompiledMapping) -> None:
        """Rows that are no data and yet pass for one of the entity."""
        row = self.con.execute(
            f"select count(*), min((b._load_date, b._source_file, b._source_row)) from {mapping.bronze} as b where ({mapping.where or 'true'}) "
            f"and ({_ROW}) in (select ({_ROW}) from _no_data where raw_table = {text(mapping.raw_table)}) "
            f"and ({_ROW}) not in (select ({_ROW}) from silver.rejects where entity = {text(mapping.contract.name)} "
            f"and _raw_table = {text(mapping.raw_table)})"
        ).fetchone()
        if row and row[0]:
            day, name, record = row[1]
            self._say(
                "data", str(mapping.mapping.path),
                f"{row[0]:,} rows that are headers or totals would become {mapping.contract.name}, first {self._file(day, name)} record {record}",
                "leave them out: where as_text(x) <> 'the word that stands there'; the other mappings reject them by name",
            )  # fmt: skip

    def _conversions(self, mapping: CompiledMapping) -> None:
        # One call may serve several columns.
        for conversion in {c.call: c for c in reversed(mapping.conversions)}.values():
            self._conversion(mapping, conversion)

    def _conversion(self, mapping: CompiledMapping, conversion: Conversion) -> None:
        """Values that a macro does not convert, and which macro would."""
        rows = (
            f"from {mapping.bronze} where ({mapping.where or 'true'}) and ({_ROW}) not in "
            f"(select ({_ROW}) from _no_data where raw_table = {text(mapping.raw_table)})"
        )
        found = self.con.execute(
            f"select value, count(*) as n, min((_load_date, _source_file, _source_row)) as first from "
            f"(select as_text({conversion.argument}) as value, _load_date, _source_file, _source_row {rows} "
            f"and {conversion.failed}) group by value order by n desc, first"
        ).fetchall()
        if not found:
            return
        count = sum(n for _, n, _ in found)
        day, name, row = min(first for _, _, first in found)
        values = ", ".join(f"{value!r} ({n:,} rows)" if n > 1 else repr(value) for value, n, _ in found[:_SHOWN])
        more = ", …" if len(found) > _SHOWN else ""
        self._say(
            "data", f"{mapping.mapping.path}:{mapping.lines.get(conversion.column, 1)}",
            f"{conversion.call} does not convert {count:,} rows, first {self._file(day, name)} record {row}: {values}{more}",
            self._better(mapping, conversion, {value for value, _, _ in found}, rows),
        )  # fmt: skip

    def _better(self, mapping: CompiledMapping, conversion: Conversion, failing: set[str], rows: str) -> str:
        """What to write instead, tried out on all values."""
        if conversion.column in mapping.contract.columns:
            values = self.con.execute(
                f"select as_text({conversion.argument}) as v, count(*) as n {rows} and as_text({conversion.argument}) "
                "is not null group by v order by n desc, v limit 5000"
            ).fetchall()
            form = best_form(self.con, values, mapping.contract.columns[conversion.column].type)
            if form and form.of(conversion.argument) != conversion.call:
                converted = sum(n for v, n in values if v in failing) and form.rows
                total = sum(n for _, n in values)
                doubt = f" (as far as it goes: {form.rows:,} of {total:,} rows)" if converted < total else ""
                return f"write {form.of(conversion.argument)}{doubt}"
        return "these rows would stand in silver.rejects; correct them where the file is made, or leave them there"

    def _rules(self, mapping: CompiledMapping) -> None:
        """Rules of the contract that rows break."""
        for name, code, rule, _ in mapping.typed_rules():
            label = "; " + rule
            found = self.con.execute(
                "select value, count(*) as n, min((_load_date, _source_file, _source_row)) as first from "
                "(select split_part(split_part('; ' || reason, $label || ', but is \"', 2), '\"', 1) as value, "
                "_load_date, _source_file, _source_row from silver.rejects where entity = $entity and _raw_table = $raw "
                "and contains('; ' || reason, $label) and (_load_date, _source_file, _source_row) not in "
                "(select (_load_date, _source_file, _source_row) from _no_data where raw_table = $raw)) group by value order by n desc, first",
                {"label": label, "entity": mapping.contract.name, "raw": mapping.raw_table},
            ).fetchall()
            if not found:
                continue
            count = sum(n for _, n, _ in found)
            day, file, row = min(first for _, _, first in found)
            values = [value for value, _, _ in found if value]
            shown = "".join(
                f"{', ' if place else ': '}{value!r} ({n:,} rows)"
                for place, (value, n, _) in enumerate(found[:_SHOWN])
                if value
            )
            self._say(
                "data", f"{mapping.mapping.path}:{mapping.lines.get(name, 1)}",
                f"{count:,} rows are rejected because {rule}, first {self._file(day, file)} record {row}{shown}",
                self._for_rule(mapping, name, code, values),
            )  # fmt: skip

    def _for_rule(self, mapping: CompiledMapping, name: str, code: str, values: Sequence[str]) -> str:
        expression = mapping.expressions.get(name, "")
        if code == "not_accepted":
            accepted = mapping.contract.columns[name].accepted or ()
            means = {value: vocabulary().status(value) for value in values[:_SHOWN]}
            cases = " ".join(f"when {text(v)} then '{m if m in accepted else '…'}'" for v, m in means.items())
            if "case" in expression.lower():
                return f"say in its CASE what they mean: {cases}"
            return f"say what they mean: case {expression} {cases} else {expression} end"
        if code == "missing_required" and name == mapping.contract.key[0]:
            also = ", in GROUP BY and PARTITION BY as well" if mapping.combines else ""
            said = ", ".join(map(sql_name, [c for c in mapping.raw_columns if c not in _raw(mapping, name)][:4]))
            return (
                f"if each such row stands for one of its own, key it by what it says: coalesce({expression}, 'row-' || "
                f"md5(concat_ws('/', {said}))){also}; else leave them in silver.rejects"
            )
        if code == "missing_required":
            return f"say what it is then: coalesce({expression}, …); or leave these rows in silver.rejects"
        return "correct them where the file is made, or put them right in the mapping"

    def _key(self, mapping: CompiledMapping) -> None:
        """Rows of one delivery that share a key: only the last of them would be kept."""
        contract = mapping.contract
        columns = ", ".join(quote(c) for c in contract.columns if c not in (*contract.key, *mapping.gathered))
        if mapping.group_by or (mapping.gathered and set(mapping.expressions) <= {*contract.key, *mapping.gathered}):
            return
        key = ", ".join(quote(k) for k in contract.key)
        self.con.execute(
            f"create or replace temp table _rejected as select _load_date, _source_file, _source_row from silver.rejects "
            f"where entity = {text(contract.name)} and _raw_table = {text(mapping.raw_table)}"
        )
        self.con.execute(
            f"create or replace temp table _shared as select {key}, _load_date, _source_file, count(*) as n, "
            f"count(distinct hash({columns})) as versions, min(_source_row) as first, max(_source_row) as last "
            f"from ({mapping.rows('true', without='_rejected')}) group by all having count(*) > 1"
        )
        where = f"{mapping.mapping.path}:{mapping.lines.get(contract.key[-1], 1)}"
        for versions, condition in (("differ", "versions > 1"), ("same", "versions = 1")):
            row = self.con.execute(f"select count(*), sum(n - 1) from _shared where {condition}").fetchone()
            if not row or not row[0]:
                continue
            example = self.con.execute(
                f"select _source_file, first, last, _load_date, {key} from _shared where {condition} order by n desc, first limit 1"
            ).fetchone()
            assert example is not None
            values = ", ".join(f"{k}={v}" for k, v in zip(contract.key, example[4:], strict=True))
            shared = f"{row[0]:,} keys ({', '.join(contract.key)}) stand in several rows of a file, e.g. {values} in records {example[1]} and {example[2]} of {self._file(example[3], example[0])}"
            if versions == "same":
                self._say("note", where, f"{shared}; these rows say the same, so one of each is kept")
            else:
                self._say(
                    "data",
                    where,
                    f"{shared}: only the last would be kept, {row[1]:,} rows would be lost to it",
                    _for_key(mapping),
                )

    def _overlaps(self, entity: str) -> None:
        fix = "number its lines within a file (partition by … _source_file), so that one that comes twice counts once"
        for mapping in self.compiled[entity]:
            for said in overlaps(self.con, entity, [mapping]):
                if mapping.by_file:
                    self._say("note", f"silver.{entity}", f"{said}; the mapping goes by files, so each counts once")
                else:
                    self._say("data", f"silver.{entity}", said, fix)

    def _left_out(self, mapping: CompiledMapping) -> None:
        """Rows that a mapping drops: a part of the input that is not used, unless source.yml says why."""
        if not (said := left_out(self.con, mapping)):
            return
        name = f"{mapping.contract.name}.{mapping.raw_table}"
        if mapping.left_out:
            self._say("note", str(mapping.mapping.path), f"{said}. source.yml says why: {mapping.left_out}")
            return
        self._say(
            "data", str(mapping.mapping.path), said,
            f"if that is meant, say in source.yml which rows and why: left_out: {{{name}: …}}; else let them be rejected "
            "instead (a missing key rejects its row), or map them",
        )  # fmt: skip

    def _orphans(self, entity: str) -> None:
        """References without a parent; the parent may come later, so that is no fault."""
        contract = self.catalog.contract(f"silver.{entity}")
        for name, column in contract.columns.items():
            if not column.references or not any(name in m.expressions for m in self.compiled[entity]):
                continue
            _, parent, parent_key = column.references.split(".")
            if not self.compiled.get(parent):
                continue
            row = self.con.execute(
                f"select count(*), count(*) filter (where p.{quote(parent_key)} is null), "
                f"min(c.{quote(name)}) filter (where p.{quote(parent_key)} is null) from silver.{quote(entity)} as c "
                f"left join (select distinct {quote(parent_key)} from silver.{quote(parent)}) as p "
                f"on p.{quote(parent_key)} = c.{quote(name)} where c.{quote(name)} is not null"
            ).fetchone()
            assert row is not None
            total, orphans, example = row
            if not orphans:
                continue
            there = self.con.execute(f"select min({quote(parent_key)}) from silver.{quote(parent)}").fetchone()
            fix = "kept all the same: the parent may come with another delivery"
            if orphans > _MANY * total and there and there[0]:
                fix = f"are they written in the same way? {entity} has {example!r}, {parent} {there[0]!r}"
            mapping = next(m for m in self.compiled[entity] if name in m.expressions)
            self._say(
                "note", f"{mapping.mapping.path}:{mapping.lines.get(name, 1)}",
                f"{orphans:,} of {total:,} {entity}.{name} are not in {parent}, e.g. {example!r}", fix,
            )  # fmt: skip

    def _always_empty(self, entity: str) -> None:
        names = {n for m in self.compiled[entity] for n in m.expressions}
        counts = self.con.execute(
            f"select count(*), {', '.join(f'count({quote(n)})' for n in names)} from silver.{quote(entity)}"
        ).fetchone()
        assert counts is not None
        empty = sorted(n for n, count in zip(names, counts[1:], strict=True) if counts[0] and not count)
        if empty:
            self._say(
                "note", f"silver.{entity}", f"no row has a value for {', '.join(empty)}, though the mapping fills it"
            )

    def _days_and_months(self, entity: str) -> None:
        """Dates whose gaps close when day and month change places."""
        contract, mappings = self.catalog.contract(f"silver.{entity}"), {m.raw_table: m for m in self.compiled[entity]}
        for (column, raw), found in judge_entity(
            self.con, contract, {raw: m.expressions.keys() for raw, m in mappings.items()}
        ).items():
            self.report.days_and_months[entity, column, raw] = found.verdict
            if found.verdict == "swapped":
                mapping = mappings[raw]
                text = next(iter(_raw(mapping, column)), "x")
                self._say(
                    "data", f"{mapping.mapping.path}:{mapping.lines.get(column, 1)}",
                    f"day and month of {column} seem to have changed places where both readings are possible: {found}",
                    "have it put right where the file is made, or change them back: as_timestamp(regexp_replace("
                    f"{sql_name(text)}, '^(\\d{{4}})-(\\d{{2}})-(0\\d|1[0-2])', '\\1-\\3-\\2', 'g'))",
                )  # fmt: skip

    # -- where the rows went -----------------------------------------------------------------------------------

    def _account(self, loaded: Collection[str]) -> None:
        """The row accounting of a build, over the raw tables all of whose mappings ran."""
        tables = {
            name: table
            for name, table in self.source.file.tables.items()
            if (found := [m.entity for m in self.source.mappings if m.raw_table == name]) and set(found) <= set(loaded)
            and len(found) == len(self._mappings(name))
        }  # fmt: skip
        if not tables:
            return
        source = replace(self.source, file=self.source.file.model_copy(update={"tables": tables}))
        kept = {e: tuple(m for m in found if m.raw_table in tables) for e, found in self.compiled.items()}
        try:
            account_entities(self.con, self.catalog.contract("silver.entity_accounting"), source, kept)
            account_rows(self.con, self.catalog.contract("silver.row_accounting"), source, kept)
        except BlockedError:
            for name in tables:
                conditions = [m for m in self._mappings(name) if m.filters]
                for mapping in conditions if len(conditions) == len(self._mappings(name)) else ():
                    self._say(
                        "data", str(mapping.mapping.path),
                        f"its {mapping.filters} drops rows that no other mapping takes: they are unaccounted for, which stops the build",
                        "let them be rejected instead (a missing key rejects its row), map them, or say under left_out in source.yml "
                    "which rows they are and why",
                    )  # fmt: skip
            return
        self.report.accounting = self.con.execute(
            "select _raw_table, sum(rows_landed)::bigint, sum(rows_used)::bigint, sum(rows_superseded)::bigint, "
            "sum(rows_rejected)::bigint from silver.row_accounting group by _raw_table order by _raw_table"
        ).fetchall()


def _for_key(mapping: CompiledMapping) -> str:
    """What makes rows with one key several, or one."""
    entity, key = mapping.contract.name, mapping.contract.key
    unit = key[0]
    if len(key) == 2 and key[1] in ("line_number", "payment_number"):
        return (
            f"number them: row_number() over (partition by _load_date, _source_file, {mapping.expressions[unit]} order by "
            f"_source_row) as {key[1]}, and in source.yml units: {{{entity}.{mapping.raw_table}: [{unit}]}}"
        )
    if unit == "order_id":
        return (
            f"if they are one of {entity}, group them: group by _load_date, _source_file, {mapping.expressions[unit]}, with "
            f"max(…) around the other columns, and in source.yml units: {{{entity}.{mapping.raw_table}: [{unit}]}}; else add "
            f"what tells them apart to {unit}"
        )
    others = ", ".join(f"{name}: as_timestamp(…)" for name in mapping.expressions if name not in key)
    return (
        f"if they are one of {entity}, say in source.yml by which column the newest value is found: gathered: "
        f"{{{entity}.{mapping.raw_table}: {{{others}}}}}; else add what tells them apart to {unit}"
    )


def _raw(mapping: CompiledMapping, column: str) -> tuple[str, ...]:
    """The raw columns that fill a canonical one."""
    return mapping.column_sources().get(column, ())


def _place_of(source: Source, mapping: CompiledMapping, column: str) -> str:
    """File and line where a raw column is named: in the mapping, or in an expression of source.yml that it uses."""
    code = [line.split("--")[0].lower() for line in mapping.mapping.sql.splitlines()]
    if line := next((n for n, text in enumerate(code, 1) if column.lower() in text), None):
        return f"{mapping.mapping.path}:{line}"
    for name, sql in mapping.named.items():
        if column.lower() in sql.lower():
            return f"{source.file.path}:{line_of_expression(source.file, name)}"
    return f"{mapping.mapping.path}:1"
