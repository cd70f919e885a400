"""`kill -9` at random moments of loads, upserts and publishing: nothing half-applied, nothing lost, the next run goes on."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest
import sqlglot
from sqlglot import exp

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.reading.snapshots import current_snapshot, open_snapshot, read_manifest, snapshots
from ecommerce_platform.warehouse.changes import seen_versions, table_versions
from ecommerce_platform.warehouse.connection import Warehouse
from ecommerce_platform.warehouse.contract_checks import check_table
from ecommerce_platform_tests.compare import ORDER_TABLES
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.integration.warm import Warm

KILLS = int(os.environ.get("ECOMMERCE_TEST_KILLS", "40"))
PER_SHOP = 20
START = date(2024, 1, 1)
#: Of what a worker writes about itself: how many lines, from where on it does what, and how long a line takes at most.
LINES = {"load": (0, 19), "upsert": (19, 50), "gold": (50, 92), "publish": (0, 46)}
SECONDS = {"load": 0.12, "upsert": 0.12, "gold": 0.12, "publish": 0.02}
#: Columns that say when something was done rather than what.
WHEN = {"loaded_at"}


@dataclass
class Victim:
    """A shop whose workers are killed, with what must hold between two of them."""

    folder: Path
    catalog: Catalog
    #: table → version and content, as last seen.
    known: dict[str, tuple[int, tuple[Any, ...]]] = field(default_factory=dict)

    @property
    def raw(self) -> Path:
        return self.folder / "data" / "raw"

    @property
    def published(self) -> Path:
        return self.folder / "data" / "published"

    def warehouse(self) -> Warehouse:
        return Warehouse(self.folder / "data" / "warehouse.duckdb", "synthetic")

    def land(self, day: date, drop: Path | None) -> None:
        """The day's drop becomes `drop`; without one it is taken away."""
        target = self.raw / day.isoformat()
        shutil.rmtree(target, ignore_errors=True)
        if drop is not None:
            shutil.copytree(drop, target)

    def holds(self) -> None:
        """Everything that must be true of warehouse and snapshots at any moment at which no worker is alive."""
        if not self.warehouse().path.exists():
            return
        with self.warehouse().connect() as con:
            self._changed_as_a_whole(con)
            self._every_row_of_bronze_has_its_file(con)
            self._contracts_hold(con)
        self._published_is_whole()

    def _changed_as_a_whole(self, con: duckdb.DuckDBPyConnection) -> None:
        """Content changes together with the version in the ledger, or neither does."""
        for table, version in table_versions(con).items():
            schema, name = table.split(".")
            try:
                row = con.execute(f'select count(*), bit_xor(hash(t)) from {schema}."{name}" as t').fetchone()
            except duckdb.CatalogException:
                assert schema == "ml", table  # stands for training, which writes no table of its own
                continue
            assert row is not None
            before = self.known.get(table)
            if before and before[0] == version.version:
                assert before[1] == row, f"{table} changed without a new version"
            self.known[table] = (version.version, row)

    def _every_row_of_bronze_has_its_file(self, con: duckdb.DuckDBPyConnection) -> None:
        tables = con.execute(
            "select table_name from duckdb_tables() where schema_name = 'bronze' and table_name like '%\\_\\_%' escape '\\'"
        ).fetchall()
        for (table,) in tables:
            wrong = con.execute(
                f"""select * from (select _load_date, _source_file, count(*) as n from bronze."{table}" group by all) as rows
                full join (select * from bronze.files where raw_table = split_part('{table}', '__', 2)) as files
                using (_load_date, _source_file) where coalesce(n, 0) is distinct from coalesce(rows_loaded, -1)"""
            ).fetchall()
            assert wrong == [], table

    def _contracts_hold(self, con: duckdb.DuckDBPyConnection) -> None:
        """Key, columns and values always; what a contract's own checks say of several tables once these agree."""
        versions, seen = table_versions(con), seen_versions(con)
        behind = {
            table
            for table, inputs in seen.items()
            if any(versions[i].version > version for i, version in inputs.items() if i in versions)
        }
        there = {f"{s}.{n}" for s, n in con.execute("select schema_name, table_name from duckdb_tables()").fetchall()}
        while more := {t for t, inputs in seen.items() if t not in behind and behind & inputs.keys()}:
            behind |= more
        for table in sorted(versions.keys() & there & self.catalog.tables.keys()):
            contract = self.catalog.contract(table)
            if table in behind:
                contract = contract.model_copy(update={"checks": ()})
            else:
                checks = [c for c in contract.checks if not _reads(c.sql) & behind and _reads(c.sql) <= there]
                contract = contract.model_copy(update={"checks": tuple(checks)})
            check_table(con, contract)

    def _published_is_whole(self) -> None:
        if not (self.published / "current").is_symlink():
            return
        folder = current_snapshot(self.published)
        manifest = read_manifest(folder)
        assert [s.id for s in snapshots(self.published) if s.current] == [folder.name]
        with open_snapshot(folder) as con:
            for table, entry in manifest["tables"].items():
                assert con.execute(f"select count(*) from {table}").fetchone() == (entry["rows"],), table
            if not manifest["lagging"]:
                sums = con.execute(
                    "select (select sum(revenue) from gold.kpi_daily), (select sum(revenue) from gold.kpi_summary), "
                    "(select sum(revenue) from gold.fct_days)"
                ).fetchone()
                assert len(set(sums or ())) == 1, sums


def _reads(sql: str) -> set[str]:
    return {f"{t.db}.{t.name}" for t in sqlglot.parse_one(sql, dialect="duckdb").find_all(exp.Table) if t.db}


@pytest.fixture(scope="module")
def drops(tmp_path_factory: pytest.TempPathFactory) -> list[list[Path]]:
    """Thirty days of two shops: the second one's are what the first delivers when it corrects itself."""
    found = []
    for seed in ("1", "2"):
        shop = Shop(tmp_path_factory.mktemp(f"drops{seed}"))
        shop.ok("generate", "--orders", "1500", "--days", "30", "--seed", seed, "--dirty", "0.02")
        found.append(sorted((shop.data / "raw").iterdir()))
    assert [len(days) for days in found] == [30, 30]
    return found


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warm, Warm]]:
    """One whose workers are killed, and one that builds meanwhile what they should have built."""
    processes = tuple(Warm(Shop(tmp_path_factory.mktemp("warm")).environment) for _ in range(2))
    yield processes
    for process in processes:
        process.close()


@pytest.mark.long
@pytest.mark.servers
def test_killed_at_any_moment_nothing_is_half_applied_and_the_next_run_goes_on(
    tmp_path: Path, drops: list[list[Path]], warm: tuple[Warm, Warm]
) -> None:
    catalog, rng = read_catalog(), random.Random(os.environ.get("ECOMMERCE_TEST_SEED", "1"))
    hit: Counter[str] = Counter()
    began = time.monotonic()
    while hit.total() < KILLS:
        victim = Victim(tmp_path / f"shop{hit.total()}", catalog)
        next_day = 3
        for number in range(next_day):
            victim.land(START + timedelta(number), drops[0][number])
        killed = 0
        while killed < PER_SHOP and hit.total() < KILLS:
            aim = rng.choice(["load", "upsert", "gold", *(["publish"] * 2 if killed > 5 else [])])
            phase = _kill_once(warm[0], aim, victim.folder, rng)
            victim.holds()
            if phase is None or killed > 3:  # the first load is killed several times before there is more to do
                next_day = _deliver_more(victim, drops, next_day, rng)
            if phase is None:
                continue
            hit[phase] += 1
            killed += 1
            if killed % 10 == 0:
                _converges(warm, victim, tmp_path / "reference")
        _no_run_is_left(victim.folder)
        shutil.rmtree(victim.folder)
    print(f"\n{hit.total()} kills in {time.monotonic() - began:.0f} s: {dict(sorted(hit.items()))}")
    kinds = Counter({kind: sum(n for phase, n in hit.items() if phase.startswith(kind)) for kind in ("load", "upsert", "gold", "publish")})  # fmt: skip
    assert all(kinds[kind] >= KILLS / 20 for kind in kinds), kinds


def _kill_once(warm: Warm, aim: str, folder: Path, rng: random.Random) -> str | None:
    """Kills a worker at a random moment of what is aimed at; what was hit, or None when it was done before.

    The moment is a random place in its work and a little time more, so that a busy machine moves no kill to the start.
    """
    folder.mkdir(exist_ok=True)
    phases = folder / "phases"
    phases.write_text("")
    what = "publish" if aim == "publish" else "build"
    place, more = rng.randrange(*LINES[aim]), rng.random() * SECONDS[aim]
    pid = warm.start(what, folder, phases)
    until = time.monotonic() + 120
    while len(lines := phases.read_text().splitlines()) < place and not _ended(lines):
        assert time.monotonic() < until
        if not psutil.pid_exists(pid):
            break  # it has failed; why is asked below
        time.sleep(0.005)
    time.sleep(more)
    if not _ended(phases.read_text().splitlines()):
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(pid, signal.SIGKILL)
    code = warm.wait()
    lines = phases.read_text().splitlines()
    if code == -signal.SIGKILL and not _ended(lines):
        return _phase(what, lines)
    said = phases.with_suffix(".log").read_text()
    # Killed before its first gold table, a shop has nothing to publish.
    assert code in (0, -signal.SIGKILL) or "there is nothing to publish yet" in said, said
    return None


def _ended(lines: list[str]) -> bool:
    return bool(lines) and lines[-1].endswith(" end")


def _phase(what: str, lines: list[str]) -> str:
    if not lines:
        return f"{what}: starting" if what == "build" else "publish: starting"
    place, *how = lines[-1].split()[1:]
    if what == "publish":
        return {"switch": "publish: switching", "publish": "publish: tables"}[place] if how != ["start"] or place == "switch" else "publish: reading"  # fmt: skip
    layer = {"bronze": "load", "silver": "upsert", "gold": "gold"}[place.split(".")[0]]
    return f"{layer}: in a table" if how == ["start"] else f"{layer}: between tables"


def _deliver_more(victim: Victim, drops: list[list[Path]], next_day: int, rng: random.Random) -> int:
    """The next day or days; now and then an earlier day again, other than it was, or not at all."""
    for _ in range(rng.choice([1, 1, 2])):
        if next_day < len(drops[0]):
            victim.land(START + timedelta(next_day), drops[0][next_day])
            next_day += 1
    if rng.random() < 0.5:
        number = rng.randrange(1, next_day)
        victim.land(START + timedelta(number), rng.choice([drops[0][number], drops[1][number], drops[1][number], None]))
    return next_day


def _converges(warm: tuple[Warm, Warm], victim: Victim, reference: Path) -> None:
    """A run that is left alone ends in the tables of a build of the same drops that was never killed."""
    shutil.rmtree(reference, ignore_errors=True)
    shutil.copytree(victim.raw, reference / "data" / "raw")
    warm[1].start("build", reference, reference / "phases")
    warm[0].run("build", victim.folder, victim.folder / "phases")
    victim.holds()
    assert warm[1].wait() == 0, (reference / "phases.log").read_text()
    mine, theirs = _tables(victim.folder, victim.catalog), _tables(reference, victim.catalog)
    assert mine.keys() == theirs.keys()
    for table, rows in theirs.items():
        assert len(mine[table]) == len(rows), table
        for one, other in zip(mine[table], rows, strict=True):
            assert [c for c in other if not _equal(one[c], other[c])] == [], (table, one, other)
    assert sum(len(rows) for rows in theirs.values()) > 1000
    # What is published next is that state, whatever killed publishes have left.
    warm[0].run("publish", victim.folder, victim.folder / "phases")
    victim.holds()
    left = [p.name for p in (victim.published / "snapshots").iterdir() if p.name.startswith(".")]
    assert left == []
    assert read_manifest(current_snapshot(victim.published))["lagging"] == {}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)


def _tables(folder: Path, catalog: Catalog) -> dict[str, list[dict[str, Any]]]:
    found = {}
    with duckdb.connect(str(folder / "data" / "warehouse.duckdb"), read_only=True) as con:
        names = con.execute(
            "select schema_name, table_name from duckdb_tables() where schema_name in ('bronze', 'silver', 'gold')"
        ).fetchall()
        for schema, name in names:
            table = f"{schema}.{name}"
            if table in ORDER_TABLES:
                continue
            contract: Contract | None = catalog.tables[table].contract if table in catalog.tables else None
            order = ", ".join(f'"{c}"' for c in contract.key) if contract else "all"
            rows = con.execute(f'select * from {schema}."{name}" order by {order}')
            columns = [c[0] for c in rows.description or ()]
            found[table] = [
                {c: v for c, v in zip(columns, row, strict=True) if c not in WHEN} for row in rows.fetchall()
            ]
    return found


def _no_run_is_left(folder: Path) -> None:
    """The next start marked what was killed; the runs that ended are as many as ended."""
    import dagster as dg

    from ecommerce_platform.orchestration.instance import open_instance
    from ecommerce_platform.settings import read_settings

    before = os.environ.get("DAGSTER_HOME")
    try:
        settings = read_settings(data_dir=folder / "data", DAGSTER_HOME=folder / "dagster_home")
        with open_instance(settings) as instance:
            runs = Counter(record.dagster_run.status.value for record in instance.get_run_records())
    finally:
        if before is None:
            os.environ.pop("DAGSTER_HOME", None)
        else:
            os.environ["DAGSTER_HOME"] = before
    assert runs[dg.DagsterRunStatus.STARTED.value] == 0, runs
    assert runs[dg.DagsterRunStatus.SUCCESS.value] > 0
