"""`ecommerce new-source`: a source folder drafted from a sample of files, and what is left to do about it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.source import Source, builtin_sources
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.landing import explained
from ecommerce_platform.scaffold.guess import Draft, Guesser, Guesses
from ecommerce_platform.scaffold.joins import find_joins
from ecommerce_platform.scaffold.known import Known, beside, compose, recognise_tables, reconciled, settled
from ecommerce_platform.scaffold.match import RawTableView
from ecommerce_platform.scaffold.profile import profile, settle_orders
from ecommerce_platform.scaffold.render import ShopGuess, mapping_sql, source_yml
from ecommerce_platform.scaffold.sample import Sample, SampleTable, load_sample, read_sample, sample_source
from ecommerce_platform.scaffold.temporary import temporary_warehouse
from ecommerce_platform.scaffold.words import snake, vocabulary
from ecommerce_platform.silver.conversions import as_sql, on_the_clock_of, parsed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PACKAGE = Path(__file__).resolve().parent.parent
#: Entities that are kept as lists, so that a file may hold all of them each time.
_LISTS = ("customers", "products", "sellers", "labels", "postal_codes")
#: What tells a shop's first day, the best first.
_FIRST_DAYS = (
    ("orders", "ordered_at", "order"), ("payments", "paid_at", "payment"), ("fees", "charged_at", "fee"),
    ("web_events", "occurred_at", "visit"),
)  # fmt: skip


@dataclass(frozen=True)
class NewSource:
    """What was written, and what was found on the way.

    `open` are (file, canonical column or field) that only the user can fill.
    """

    folder: Path
    files: tuple[str, ...]
    sample: Sample
    guesses: Guesses
    open: tuple[tuple[str, str], ...]
    known: Known

    def required(self, draft: Draft, catalog: Catalog) -> tuple[int, int]:
        """How many of a mapping's required columns are filled, and how many there are."""
        names = catalog.contract(f"silver.{draft.entity}").required_columns
        return sum(name in draft.filled for name in names), len(names)


def new_source(
    name: str, directory: Path, catalog: Catalog, today: date, *, memory_limit: str = "2GB", threads: int | None = None
) -> NewSource:
    """Writes a source folder that fits the files of an export as far as can be guessed.

    Args:
        name: the source's name, or the path of its folder, whose last part is the name.
        directory: a folder with a sample of the files (or with drops); it is only read.
        catalog: the tables there are.
        today: the current day.
        memory_limit: what DuckDB may use.
        threads: threads DuckDB may use.

    Raises:
        InputError: the name cannot be a source's, its folder exists, or the files cannot be used.
    """
    folder = _folder(name)
    sample, recognised = recognise_tables(read_sample(directory, today))
    contracts = {entity: catalog.contract(f"silver.{entity}") for entity in catalog.entities}
    with temporary_warehouse(folder.name, memory_limit, threads) as (con, scratch):
        source = sample_source(folder.name, sample, folder)
        load_sample(con, source, sample, scratch)
        bronze = {table: f'bronze."{source.bronze_table(table)}"' for table in sample.tables}
        views = {
            table.name: RawTableView(table.name, table.rows, profile(con, bronze[table.name], table.columns))
            for table in sample.tables.values()
        }
        settle_orders(column for view in views.values() for column in view.columns.values())
        recognised = settled(recognised, sample.tables)
        known = compose(folder.name, recognised, views, find_joins(con, bronze, recognised))
        known = reconciled(con, known)
        others = {n: view for n, view in views.items() if n not in recognised and not sample.tables[n].container}
        guesses = beside(known, Guesser(con, bronze, others, contracts).guess(), sample.tables)
        shop = _shop(con, bronze, views, guesses, today)
        if known.currency:
            shop = replace(shop, currency=known.currency[0], currency_from=known.currency[1])
        full = _full(con, source, sample, guesses)
    texts = {
        "source.yml": source_yml(name, str(directory), shop, sample.tables, views, guesses.drafts, full, known),
    }
    for d in guesses.drafts:
        table, view, contract = sample.tables[d.table], views[d.table], contracts[d.entity]
        drafted = d.text or mapping_sql(folder.name, str(directory), d, table, view, contract)
        texts[f"{d.entity}.{d.table}.sql"] = drafted
    _write(folder, texts)
    return NewSource(folder, tuple(texts), sample, guesses, _left_open(shop, guesses.drafts, contracts), known)


def _left_open(
    shop: ShopGuess, drafts: Sequence[Draft], contracts: Mapping[str, Contract]
) -> tuple[tuple[str, str], ...]:
    """(file, field) of all that has to be filled in by hand."""
    fields = [("source.yml", field) for field in ("currency", "time_zone") if getattr(shop, field) is None]
    columns = [
        (f"{d.entity}.{d.table}.sql", column)
        for d in drafts
        for column in contracts[d.entity].required_columns
        if column not in d.filled
    ]
    return (*fields, *columns)


def _folder(name: str) -> Path:
    """The folder to write, once it is sure that it can be a source's and that nothing is there."""
    folder = Path(name).expanduser()
    last = folder.resolve().name
    if snake(last) != last or not last:
        raise InputError(
            f"{last!r} cannot be a source's name: it becomes part of table names",
            where=name,
            fix=f"use lower snake_case, such as {snake(last) or 'my_shop'}",
        )
    if last in builtin_sources():
        raise InputError(
            f"{last!r} is the name of a built-in source, whose data it would share",
            where=name,
            fix=f"take another one, such as my_{last}",
        )
    resolved = folder.resolve()
    if resolved.is_relative_to(_PACKAGE):
        raise InputError(
            "this is inside the package", where=resolved, fix="give a path outside; a source may lie anywhere"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            "there is something already, and nothing is overwritten",
            where=folder,
            fix="give another name, or move it away",
        )
    return folder


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Makes the folder appear with all its files, or not at all."""
    with explained(folder, 0):
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for name, text in texts.items():
                (draft / name).write_text(text, encoding="utf-8")
            draft.chmod(0o755)
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


# -- the shop as a whole -----------------------------------------------------------------------------------------


def _shop(
    con: DuckDBPyConnection,
    bronze: Mapping[str, str],
    views: Mapping[str, RawTableView],
    guesses: Guesses,
    today: date,
) -> ShopGuess:
    columns = [column for view in views.values() for column in view.columns.values()]
    language = vocabulary().language([*views, *(column.name for column in columns)])
    suggested = vocabulary().languages.get(language or "", {})
    spoken = {"de": "German", "es": "Spanish", "fr": "French", "pt": "Portuguese"}.get(language or "", "")
    currency, currency_from = suggested.get("currency"), f"{spoken} column names"
    for view in views.values():
        for column in view.columns.values():
            said = {c for token in vocabulary().read(column.name) for c in token.concepts}
            if "currency" in said and column.distinct == 1 and (code := column.values[0][0].upper()) and len(code) == 3:
                currency, currency_from = code, f"{view.name}.{column.name}"
            elif column.numeric:
                signs = {
                    code
                    for value, _ in column.values[:20]
                    for sign, code in vocabulary().currencies.items()
                    if sign in value
                }
                if len(signs) == 1:
                    currency, currency_from = signs.pop(), f"the amounts in {view.name}.{column.name}"
    zone = suggested.get("time_zone")
    start, start_from = _start(con, bronze, guesses.drafts, zone or "UTC") or (
        today, "no dates of orders were found: the first day from which orders are known"
    )  # fmt: skip
    return ShopGuess(currency, currency_from, zone, f"{spoken} column names", start, start_from)


def _start(
    con: DuckDBPyConnection, bronze: Mapping[str, str], drafts: Sequence[Draft], zone: str
) -> tuple[date, str] | None:
    """The day of the earliest order, or where there are none that of the earliest payment, fee or visit."""
    for entity, column, what in _FIRST_DAYS:
        days = []
        for draft in drafts:
            if draft.entity != entity or not (sql := draft.filled.get(column)):
                continue
            group = f" group by {', '.join(draft.group_by)}" if draft.group_by else ""
            tree = parsed(sql)
            on_the_clock_of(zone, tree)
            row = con.execute(
                f"select min(t) from (select {as_sql(tree)} as t from {bronze[draft.table]}{group}) "
                "where year(t) between 1900 and 2100"
            ).fetchone()
            days += [row[0].date()] if row and row[0] else []
        if days:
            return min(days), f"the earliest {what} in the sample"
    return None


def _full(con: DuckDBPyConnection, source: Source, sample: Sample, guesses: Guesses) -> set[str]:
    """Lists of which each file holds all keys of the one before, and there are several; and lists of points by postal
    code, whose middle only a whole list gives."""
    found = {d.table for d in guesses.drafts if d.entity == "postal_codes" and d.group_by}
    for draft in guesses.drafts:
        table = sample.tables[draft.table]
        if draft.entity not in _LISTS or len(table.files) < 2 or guesses.primary.get(table.name) != draft.entity:
            continue
        key = next(sql for sql in draft.filled.values() if sql)
        if draft.group_by:
            key = draft.group_by[-1]
        if _each_holds_the_last(con, f'bronze."{source.bronze_table(table.name)}"', key, table):
            found.add(table.name)
    return found


def _each_holds_the_last(con: DuckDBPyConnection, bronze: str, key: str, table: SampleTable) -> bool:
    before: set[str] = set()
    for file in sorted(table.files, key=lambda f: f.file):
        keys = {
            k
            for (k,) in con.execute(
                f"select distinct {key} from {bronze} where _load_date = ? and _source_file = ?",
                [file.file.day, file.file.name],
            ).fetchall()
        }
        if not before <= keys:
            return False
        before = keys
    return bool(before)
