"""One clean generated shop, and what the platform finds when its newest drops are delivered again, spoilt.

That a drop comes spoilt at once, or good first and spoilt later, makes no difference: tables are a function of the drops
there are (docs/convergence.md). So the shop is built once, and each case works only on what it has spoilt. The catalogue
of corruptions is `corruptions.py`; here is how one is tried.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from ecommerce_platform.ingestion.bronze import repeated_files, repeated_records
from ecommerce_platform.ingestion.schema import drift
from ecommerce_platform.ingestion.zone import open_zone
from ecommerce_platform.operations import builds
from ecommerce_platform.quality.verdicts import QualityGate
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform.silver.entities import contradicting_loads, loads_set_aside, shrunk_deliveries
from ecommerce_platform.silver.overlaps import overlaps
from ecommerce_platform.simulation import records
from ecommerce_platform.simulation.shop import generate_shop
from ecommerce_platform_tests.driver import Asked, Driver
from ecommerce_platform_tests.quality.corruptions import ALL, COMPARING, Corruption
from ecommerce_platform_tests.quality.spoiling import FILES, Drops

#: 92 days from 1 January 2024: the last is a Monday and the first of a month, so that nearly all raw tables come
#: within the last two days; and no sale begins before the day after.
ORDERS, DAYS, HELD = 5_000, 92, 2
#: Days generated beyond, and taken away: what is not over on its last day, a generated shop delivers as it stands, so that
#: the last days of one have other orders than those before.
BEYOND = 25
#: Without models, which are trained on the tables and are no place where data enters.
TABLES = 'group:"bronze" or group:"silver" or key:"gold/*"'
_RULE = re.compile(r"^\| (?P<rule>.*?) \| (?P<rows>[\d,]+) \|")


@dataclass(frozen=True)
class Failed:
    """A check that failed, with the rules of it that are broken and their rows."""

    table: str
    check: str
    severity: str
    description: str
    rules: dict[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """All that a build found."""

    failed: tuple[Failed, ...]
    #: Steps that failed without a check.
    broken: dict[str, str]
    #: (raw table, reason) → rows, in silver.rejects and in bronze.rejects.
    rejects: dict[tuple[str, str], int]
    unreadable: dict[tuple[str, str], int]

    @property
    def nothing(self) -> bool:
        """Whether nothing was found but by checks that only compare with the days before."""
        failed = [f for f in self.failed if f.check not in COMPARING]
        return not (failed or self.broken or self.rejects or self.unreadable)


@contextmanager
def careful_people() -> Iterator[None]:
    """Generated people mistype no postal code: an unknown one is wrong data, rightly found."""
    before = dict(records.SYSTEMS)
    records.SYSTEMS.update({name: replace(system, postal_typo=0.0) for name, system in before.items()})
    try:
        yield
    finally:
        records.SYSTEMS.update(before)


def make_base(folder: Path, *, seed: int, orders: int = ORDERS, days: int = DAYS, held: int = HELD) -> list[Found]:
    """Generates a clean shop in `folder` and builds it: first without its last days, then each of these as it comes.

    Returns:
        What each of these builds found.
    """
    last = generate(folder, seed=seed, orders=orders, days=days, held=held)
    found = [build(folder)]
    for drop in last:
        deliver(folder, drop)
        found.append(build(folder))
    return found


def generate(folder: Path, *, seed: int, orders: int, days: int, held: int) -> list[str]:
    """Generates a clean shop whose last days wait in `held`; these days."""
    with careful_people():
        made = orders * (days + BEYOND) // days
        generate_shop(folder / "data", orders=made, days=days + BEYOND, seed=seed, dirty_share=0.0)
    raw = folder / "data" / "raw"
    drops = sorted(raw.iterdir())
    for drop in drops[days:]:
        shutil.rmtree(drop)
    last = [drop.name for drop in drops[:days]][-held:] if held else []
    (folder / "held").mkdir()
    for day in last:
        shutil.move(raw / day, folder / "held" / day)
    return last


def deliver(folder: Path, day: str) -> None:
    """Delivers a day that waits."""
    shutil.move(folder / "held" / day, folder / "data" / "raw" / day)


def copy_base(base: Path, folder: Path) -> Drops:
    """A copy of a base shop, as it stands; its drops, to be spoilt."""
    shutil.copytree(base, folder, symlinks=True, dirs_exist_ok=True)
    return Drops(folder / "data" / "raw")


def spoilt_tables(base: Path, folder: Path) -> list[str]:
    """The raw tables whose files in a copy of a base are not those of the base."""

    def files(shop: Path) -> set[tuple[str, int, int]]:
        raw = shop / "data" / "raw"
        found = ((file, file.stat()) for file in raw.glob("*/*"))
        return {(str(file.relative_to(raw)), stat.st_size, stat.st_mtime_ns) for file, stat in found}

    changed = {Path(name).name for name, *_ in files(base) ^ files(folder)}
    return [table for table, name in FILES.items() if any(c.startswith(name.split(".")[0]) for c in changed)]


def settings_of(folder: Path) -> Settings:
    """Settings of a shop in a folder."""
    return read_settings(source="synthetic", data_dir=folder / "data", dagster_home=folder / "home", threads=2)


def build(folder: Path, tables: Collection[str] = ()) -> Found:
    """Takes over what is pending, of all raw tables or of some alone, and tells what was found."""
    settings = settings_of(folder)
    failed: list[Failed] = []
    original = builds._read_events

    def read_events(events: Any, result: builds.BuildResult) -> None:
        events = list(events)
        failed.extend(_failed(events))
        original(events, result)

    builds._read_events = read_events
    try:
        chosen = " or ".join(f'key:"bronze/synthetic__{table}"+' for table in tables)
        result = builds.run_build(settings, f"({TABLES}) and ({chosen})" if chosen else TABLES)
    finally:
        builds._read_events = original
    with duckdb.connect(str(settings.warehouse), read_only=True) as con:
        rejects = _counts(con, "select _raw_table, reason_code, count(*) from silver.rejects group by all")
        unreadable = _counts(con, "select raw_table, reason_code, count(*) from bronze.rejects group by all")
        rules = _broken_rules(con)
    failed = [replace(f, rules=rules.get(f.table, {})) if f.check == "expectations" else f for f in failed]
    named = {f.table for f in failed if f.severity == "ERROR"}
    broken = {table: why for table, why in result.failed.items() if table not in named}
    return Found(tuple(failed), broken, rejects, unreadable)


def _failed(events: list[Any]) -> Iterator[Failed]:
    for event in events:
        if event.event_type_value != "ASSET_CHECK_EVALUATION":
            continue
        check = event.asset_check_evaluation_data
        if not check.passed:
            shown = check.metadata.get("rules")
            lines = (_RULE.match(line) for line in str(shown.value if shown else "").splitlines())
            rules = {m["rule"]: int(m["rows"].replace(",", "")) for m in lines if m and m["rows"] != "0"}
            table = ".".join(check.asset_key.path)
            yield Failed(table, check.check_name, check.severity.value, check.description or "", rules)


def _counts(con: duckdb.DuckDBPyConnection, sql: str) -> dict[tuple[str, str], int]:
    return {(table, reason): count for table, reason, count in con.execute(sql).fetchall()}


def _broken_rules(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int | None]]:
    answers = con.execute("select table_name, verdicts from changes.verdicts").fetchall()
    return {
        table: {v["rule"]: v["found"] for v in json.loads(text) if v["outcome"] != "held"} for table, text in answers
    }


def wrong(corruption: Corruption, spoilt: int, found: Found) -> list[str]:
    """In what a build did not find what it should have; nothing if it did."""
    said = []
    for check in corruption.caught:
        rows = spoilt if check.rows == ALL else check.rows
        those = [f for f in found.failed if (f.table, f.check) == (check.table, check.check)]
        if not those:
            said.append(f"{check.table} {check.check} did not fail")
        elif check.says and not any(check.says.format(spoilt=spoilt) in f.description for f in those):
            said.append(f"{check.table} {check.check} does not say {check.says.format(spoilt=spoilt)!r}")
        elif rows is not None and not any(f.rules.get(check.rule or check.check) == rows for f in those):
            said.append(f"{check.table} {check.check} {check.rule} did not find {rows} rows")
        elif check.rule and not any(check.rule in f.rules for f in those):
            said.append(f"{check.table} {check.check} {check.rule} is not broken")
    for name, expected, there in (
        ("silver.rejects", corruption.rejects, found.rejects),
        ("bronze.rejects", corruption.unreadable, found.unreadable),
    ):
        due = {place: spoilt if n == ALL else n for place, n in expected.items()}
        if due != there:
            said.append(f"{name} has {there}, not {due}")
    said += [f"{table} broke: {why}" for table, why in found.broken.items()]
    return said


def look_quickly(driver: Driver, *, rules: bool) -> list[str]:
    """Takes over what is pending without Dagster, which has nothing to say about data but takes most of the time.

    Checks that only compare with the days before (`COMPARING`) are left out: that a day is unusual is no fault of its data,
    and how often they say so of usual days is measured elsewhere.

    Returns:
        All that the other checks of all tables, and with `rules` the business rules, find wrong. What blocks raises.
    """
    zone = open_zone(driver.settings)
    drops, raised = zone.drops(driver.project.source), []
    with driver.connect() as con:
        asked = Asked(con)
        for table, make in driver.steps.items():
            checks = make(asked).checks
            raised += [f"{table} {c.name}: {c.explain()}" for c in checks if not c.passed and c.name not in COMPARING]
        for name, raw in driver.project.source.file.tables.items():
            days = {file.day for file in drops.tables[name]}
            optional = raw.format in ("json", "jsonl")
            raised += [
                f"{name} schema {day}: {d}"
                for day, found in drift(con, name, days, optional=optional).items()
                for d in found
            ]
            raised += [f"{name} delivered_once: {found}" for found in repeated_records(con, name)]
            raised += [f"{name} not_delivered_before: {found}" for found in repeated_files(con, name, raw)]
        for entity, mappings in driver.project.compiled.items():
            full = [m.raw_table for m in mappings if m.delivery == "full"]
            raised += (
                loads_set_aside(con, entity)
                + contradicting_loads(con, entity)
                + shrunk_deliveries(con, entity, full)
                + overlaps(con, entity, mappings)
            )
        for what in (
            "raw_table, _source_file, problem from bronze.files where problem is not null",
            "raw_table, reason_code, reason from bronze.rejects",
            "_raw_table, reason_code, reason from silver.rejects",
        ):
            raised += [str(row) for row in con.execute(f"select {what}").fetchall()]
    if not rules:
        return raised
    gate = QualityGate(driver.connect, driver.project.catalog, driver.project.suites, driver.settings.data_docs)
    for table, judged in gate.evaluate().items():
        raised += [f"{table} {v.rule}: {v.explain()}" for v in (*judged.errors, *judged.broken)]
    return raised
