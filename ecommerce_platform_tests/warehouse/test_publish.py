"""Publishing: one consistent snapshot, switched in one step, unchanged tables linked, personal data hashed."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.errors import InputError, SettingsError
from ecommerce_platform.publishing import publish as publishing
from ecommerce_platform.publishing.publish import lagging, superseded
from ecommerce_platform.reading.snapshots import Verified, current_snapshot, open_snapshot, snapshot_id, verify
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.warehouse.published import (
    CUSTOMERS,
    LABELS,
    SUMMARY,
    PublishingShop,
    catalog,
    catalog_with,
    customers_of,
    record,
    see,
)

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def tiny(tmp_path: Path) -> PublishingShop:
    return PublishingShop(tmp_path)


def python(script: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """Another process with the package of this checkout."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, **options
    )  # type: ignore[call-overload,no-any-return]


def tell(process: subprocess.Popen[str]) -> None:
    """Lets a process go on that waits for a line."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@dataclass
class Listener:
    """A log that does something with what it is told."""

    hear: Callable[[str], None]

    def info(self, line: str) -> None:
        self.hear(line)


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def leftovers(published: Path) -> list[str]:
    names = [p.name for p in published.iterdir()] + [p.name for p in (published / "snapshots").iterdir()]
    return [n for n in names if n.startswith((".building-", ".removing-", ".current-")) or n.endswith(".new")]


# -- what is published -------------------------------------------------------------------------------------------


def test_personal_data_is_hashed_and_equal_values_stay_equal(tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        con.execute("update silver.customers set email = 'ann@example.org' where customer_id in ('0', '1')")
        con.execute("update silver.customers set email = null where customer_id = '2'")
    tiny.publish()
    read = open_snapshot(current_snapshot(tiny.published))
    (first, second, third) = read.execute("select email from silver.customers order by customer_id").fetchall()
    assert first == second
    assert len(first[0]) == 64
    assert third == (None,)
    files = b"".join(p.read_bytes() for p in tiny.published.rglob("*.parquet"))
    assert b"ann@example.org" not in files


def test_the_hash_key_is_the_owners_alone_and_differs_between_installations(tiny: PublishingShop) -> None:
    hashes = []
    for name in ("a", "b"):
        folder = tiny.folder / name
        tiny.publish(published=folder)
        assert stat.S_IMODE((folder / ".hash_key").stat().st_mode) == 0o600
        read = open_snapshot(current_snapshot(folder))
        hashes.append(read.execute("select max(email) from silver.customers").fetchone())
    assert hashes[0] != hashes[1]


def test_the_manifest_says_what_is_in_the_snapshot(tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        for raw, day, file in (("a", "2024-01-01", "x"), ("a", "2024-01-03", "x"), ("a", "2024-01-03", "y")):
            con.execute(
                "insert into bronze.files (raw_table, _load_date, _source_file) values (?, ?, ?)", [raw, day, file]
            )
    snapshot = tiny.publish(run_id="run-1", now=JANUARY)
    found = manifest(snapshot.folder)
    assert {k: found[k] for k in ("format", "snapshot", "source", "published_at", "run_id", "previous", "lagging")} == {
        "format": 1,
        "snapshot": "20240101T000000000000Z",
        "source": "tiny",
        "published_at": "2024-01-01T00:00:00+00:00",
        "run_id": "run-1",
        "previous": None,
        "lagging": {},
    }
    assert found["loads"] == {"a": {"days": 2, "first": "2024-01-01", "newest": "2024-01-03", "files": 3}}
    entry = found["tables"][CUSTOMERS]
    assert {k: v for k, v in entry.items() if k != "columns"} == {
        "rows": 3,
        "file": "silver/customers.parquet",
        "bytes": tiny.file(snapshot, CUSTOMERS).stat().st_size,
        "sha256": sha256(tiny.file(snapshot, CUSTOMERS).read_bytes()).hexdigest(),
        "linked": False,
        "version": 1,
        "changed_at": "2024-01-01T01:00:00",
        "description": catalog().contract(CUSTOMERS).description,
        "key": ["customer_id"],
        "hashed": [
            *("full_name", "given_name", "family_name", "email", "phone", "birth_date", "personal_number"),
            *("street", "house_number"),
        ],
    }
    assert found["run_id"] == "run-1"
    assert found["changed"] == sorted(found["tables"]) == sorted([CUSTOMERS, LABELS, SUMMARY])


def test_the_manifests_types_are_those_of_the_files(tiny: PublishingShop) -> None:
    snapshot = tiny.publish()
    read = open_snapshot(snapshot.folder)
    for table, entry in manifest(snapshot.folder)["tables"].items():
        found = {name: type_ for name, type_, *_ in read.execute(f"describe {table}").fetchall()}
        assert found == entry["columns"], table


def test_nothing_to_publish_and_another_source_are_refused(tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        con.execute("drop schema gold cascade; create schema gold")
    with pytest.raises(InputError, match="nothing to publish yet"):
        tiny.publish()
    with pytest.raises(SettingsError, match="belongs to the source 'tiny'"):
        tiny.publish(source="other")
    with pytest.raises(InputError, match="nothing is published yet"):
        current_snapshot(tiny.published)


def test_a_table_built_with_an_older_contract_is_named(tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        con.execute("alter table gold.kpi_summary drop column orders")
    with pytest.raises(InputError, match=r"gold.kpi_summary does not have the columns(.|\n)*ecommerce build"):
        tiny.publish()
    assert leftovers(tiny.published) == []


# -- what is linked ----------------------------------------------------------------------------------------------


def test_unchanged_tables_are_hard_links_and_changed_ones_are_not(tiny: PublishingShop) -> None:
    first = tiny.publish()
    tiny.write(5)
    second = tiny.publish()
    assert second.linked == (LABELS,)
    inodes = [{t: tiny.file(s, t).stat().st_ino for t in s.tables} for s in (first, second)]
    assert {t for t in inodes[0] if inodes[0][t] == inodes[1][t]} == {LABELS}
    found = manifest(second.folder)
    assert found["changed"] == [SUMMARY, CUSTOMERS]
    assert found["previous"] == first.id
    assert {t: e["linked"] for t, e in found["tables"].items()} == {SUMMARY: False, CUSTOMERS: False, LABELS: True}
    assert {t: e["rows"] for t, e in found["tables"].items()} == {SUMMARY: 1, CUSTOMERS: 5, LABELS: 1}
    assert (customers_of(first.folder), customers_of(second.folder)) == (3, 5)


def test_nothing_changed_makes_no_snapshot_unless_asked_for(tiny: PublishingShop) -> None:
    first = tiny.publish()
    again = tiny.publish()
    assert again.unchanged
    assert (again.id, again.folder, again.tables) == (first.id, first.folder, first.tables)
    assert [p.name for p in (tiny.published / "snapshots").iterdir()] == [first.id]
    asked = tiny.publish(even_unchanged=True)
    assert not asked.unchanged
    assert set(asked.linked) == set(asked.tables)
    written = [p for p in asked.folder.rglob("*") if p.is_file() and p.stat().st_nlink == 1]
    assert [p.name for p in written] == ["manifest.json"]


def test_a_table_without_a_version_is_always_written(tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        con.execute("delete from changes.versions where table_name = ?", [LABELS])
    first, second = tiny.publish(), tiny.publish()
    assert set(second.linked) == {CUSTOMERS, SUMMARY}
    assert tiny.file(first, LABELS).stat().st_ino != tiny.file(second, LABELS).stat().st_ino


def test_a_warehouse_without_a_ledger_is_published_whole_each_time(tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        con.execute("drop schema changes cascade")
    tiny.publish()
    second = tiny.publish()
    assert (second.unchanged, second.linked) == (False, ())


def test_a_table_that_readers_would_lose_keeps_the_snapshot_unless_forced(tiny: PublishingShop) -> None:
    first = tiny.publish()
    with tiny.warehouse.connect() as con:
        con.execute("drop table silver.labels")
    with pytest.raises(InputError, match=r"the warehouse has no silver.labels, which readers have now") as stopped:
        tiny.publish()
    assert "ecommerce build" in str(stopped.value.fix)
    assert current_snapshot(tiny.published) == first.folder
    second = tiny.publish(force=True)
    assert not second.unchanged
    assert set(second.tables) == set(second.linked) == {CUSTOMERS, SUMMARY}


def test_a_table_that_the_platform_no_longer_has_may_go(tiny: PublishingShop) -> None:
    tiny.publish()
    less = Catalog({name: table for name, table in catalog().tables.items() if name != LABELS})
    assert set(tiny.publish(catalog=less).tables) == {CUSTOMERS, SUMMARY}


def test_another_hash_key_writes_what_is_hashed_anew(tiny: PublishingShop) -> None:
    tiny.publish(hash_key="one")
    read = [open_snapshot(current_snapshot(tiny.published))]
    second = tiny.publish(hash_key="two")
    read.append(open_snapshot(second.folder))
    assert set(second.linked) == {LABELS, SUMMARY}
    emails = [con.execute("select max(email) from silver.customers").fetchone() for con in read]
    assert emails[0] != emails[1]
    assert "two" not in (second.folder / "manifest.json").read_text()


@pytest.mark.parametrize("change", ["pii", "column"])
def test_a_changed_contract_writes_its_table_anew(tiny: PublishingShop, change: str) -> None:
    tiny.publish()
    columns = catalog().contract(LABELS).model_dump()["columns"]
    if change == "pii":
        columns["label"]["pii"] = True
    else:
        del columns["label"]
    second = tiny.publish(catalog=catalog_with(LABELS, columns=columns))
    assert set(second.linked) == {CUSTOMERS, SUMMARY}
    read = open_snapshot(second.folder).execute("select * from silver.labels")
    assert ("label" in [column[0] for column in read.description]) == (change == "pii")
    assert "A" not in read.fetchall()[0]


def test_a_changed_description_is_published_with_all_tables_linked(tiny: PublishingShop) -> None:
    tiny.publish()
    second = tiny.publish(catalog=catalog_with(LABELS, description="What codes of the source mean to people."))
    assert not second.unchanged
    assert set(second.linked) == set(second.tables)
    assert manifest(second.folder)["tables"][LABELS]["description"] == "What codes of the source mean to people."


@pytest.mark.parametrize("damage", ["gone", "short", "flipped", "no hash", "manifest", "older format"])
def test_what_is_damaged_is_written_anew(tiny: PublishingShop, damage: str) -> None:
    first = tiny.publish()
    file, about = tiny.file(first, LABELS), first.folder / "manifest.json"
    if damage == "gone":
        file.unlink()
    elif damage == "short":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "flipped":
        flip(file)
    elif damage == "no hash":  # as the version before published it
        old = manifest(first.folder)
        del old["tables"][LABELS]["sha256"]
        about.write_text(json.dumps(old))
    elif damage == "manifest":
        about.write_text(about.read_text()[:-10])
    else:
        about.write_text(json.dumps({k: v for k, v in manifest(first.folder).items() if k in ("snapshot", "tables")}))
    second = tiny.publish()
    alone = damage in ("gone", "short", "flipped", "no hash")
    assert set(second.linked) == ({CUSTOMERS, SUMMARY} if alone else set())
    assert verify(second.folder) == Verified({}, ())
    assert open_snapshot(second.folder).execute("select label from silver.labels").fetchall() == [("A",)]


def flip(file: Path, count: int = 200) -> None:
    """Flips bytes somewhere in a file, as a failing disk does; its size and time stay."""
    was, content = file.stat(), bytearray(file.read_bytes())
    for place in random.Random(1).sample(range(len(content)), min(count, len(content))):
        content[place] ^= 0xFF
    file.write_bytes(content)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


@pytest.mark.parametrize("table", [CUSTOMERS, LABELS, SUMMARY])
def test_flipped_bytes_are_noticed_by_verifying_and_repaired_by_the_next_publish(
    tiny: PublishingShop, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = tiny.publish()
    second = tiny.publish(even_unchanged=True)  # shares all files
    values = sorted(open_snapshot(first.folder).execute(f"select * from {table}").fetchall())
    flip(tiny.file(second, table))
    assert verify(first.folder).damaged.keys() == verify(second.folder).damaged.keys() == {table}
    with caplog.at_level(logging.WARNING):
        third = tiny.publish()
    assert not third.unchanged
    assert set(third.linked) == {CUSTOMERS, LABELS, SUMMARY} - {table}
    assert f"{table} in the snapshot {second.id} is damaged and written anew" in caplog.text
    for folder in (first.folder, second.folder, third.folder):
        assert verify(folder) == Verified({}, ())
        assert sorted(open_snapshot(folder).execute(f"select * from {table}").fetchall()) == values
    assert tiny.publish().unchanged


def test_a_damaged_file_whose_table_has_changed_since_stays_named_in_the_old_snapshot(tiny: PublishingShop) -> None:
    first = tiny.publish()
    flip(tiny.file(first, CUSTOMERS))
    tiny.write(4)
    second = tiny.publish()
    assert verify(second.folder) == Verified({}, ())
    assert verify(first.folder).damaged == {CUSTOMERS: "its content is not what was published"}


def test_a_damaged_snapshot_is_not_made_current_again(tiny: PublishingShop) -> None:
    first = tiny.publish()
    tiny.write(4)
    second = tiny.publish()
    flip(tiny.file(first, CUSTOMERS))
    with pytest.raises(InputError, match=r"silver.customers: its content is not what was published"):
        publishing.restore(tiny.published, first.id)
    assert current_snapshot(tiny.published) == second.folder


def test_the_manifest_has_the_hash_of_every_file(tiny: PublishingShop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    first = tiny.publish()
    tiny.write(4)
    second = tiny.publish()
    monkeypatch.setattr(publishing.os, "link", refuse)
    tiny.write(5)
    for snapshot in (first, second, tiny.publish()):
        for entry in manifest(snapshot.folder)["tables"].values():
            assert entry["sha256"] == sha256((snapshot.folder / entry["file"]).read_bytes()).hexdigest()


def test_readers_of_the_group_may_read_all_but_the_key(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        tiny = PublishingShop(tmp_path)
        first = tiny.publish()
        tiny.publish(even_unchanged=True)
        flip(tiny.file(first, LABELS))  # what is repaired may be read, too
        tiny.publish()
    finally:
        os.umask(before)
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in tiny.published.rglob("*") if not p.is_symlink()}
    assert modes[tiny.published / ".hash_key"] == 0o600
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o750}
    assert {mode for path, mode in modes.items() if path.is_file() and path.parent != tiny.published} == {0o640}
    assert stat.S_IMODE(tiny.published.stat().st_mode) == 0o750


def test_where_linking_is_not_possible_files_are_copied(tiny: PublishingShop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    first = tiny.publish()
    tiny.write(4)
    monkeypatch.setattr(publishing.os, "link", refuse)
    second = tiny.publish()
    assert second.linked == ()
    assert manifest(second.folder)["changed"] == [SUMMARY, CUSTOMERS]
    assert tiny.file(first, LABELS).read_bytes() == tiny.file(second, LABELS).read_bytes()
    assert tiny.file(first, LABELS).stat().st_ino != tiny.file(second, LABELS).stat().st_ino


# -- waiting for a build -----------------------------------------------------------------------------------------


def lag(tiny: PublishingShop) -> None:
    """Customers change and the summary does not, as in the middle of a run."""
    with tiny.warehouse.connect() as con:
        record(con, CUSTOMERS, tiny.version + 1)


def test_lagging_names_tables_with_what_they_are_behind(tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        assert lagging(con, catalog()) == {}
        record(con, CUSTOMERS, 7)
        record(con, LABELS, 7)
        see(con, SUMMARY, LABELS, 6)
        see(con, CUSTOMERS, "bronze.never_written", 1)
        see(con, "gold.unknown_to_the_catalog", CUSTOMERS, 1)
        see(con, "gold.rfm", CUSTOMERS, 1)  # of the catalog, and not in this warehouse
        assert lagging(con, catalog()) == {SUMMARY: [CUSTOMERS, LABELS]}
        weekly = catalog_with(SUMMARY, tags={"cadence": "weekly"})
        assert lagging(con, weekly) == {}


def test_without_a_ledger_nothing_lags(tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        con.execute("drop schema changes cascade")
        assert lagging(con, catalog()) == {}


def test_tables_that_lag_are_not_published_and_the_error_says_what_to_do(tiny: PublishingShop) -> None:
    first = tiny.publish()
    lag(tiny)
    with pytest.raises(InputError) as error:
        tiny.publish(wait_seconds=0.2)
    assert f"{SUMMARY} lags behind {CUSTOMERS} (after waiting" in str(error.value)
    assert "the current snapshot stays" in str(error.value)
    assert "ecommerce build" in str(error.value)
    assert "--force" in str(error.value)
    assert current_snapshot(tiny.published) == first.folder.resolve()
    assert leftovers(tiny.published) == []


def test_force_publishes_what_lags_and_the_manifest_says_so(tiny: PublishingShop) -> None:
    lag(tiny)
    forced = tiny.publish(force=True)
    assert forced.lagging == manifest(forced.folder)["lagging"] == {SUMMARY: [CUSTOMERS]}
    with tiny.warehouse.connect() as con:
        see(con, SUMMARY, CUSTOMERS, tiny.version + 1)
    caught_up = tiny.publish()
    assert not caught_up.unchanged, "the next snapshot no longer says that the table lags"
    assert (caught_up.lagging, set(caught_up.linked)) == ({}, set(caught_up.tables))


BUILD = """
import sys
from pathlib import Path
from ecommerce_platform_tests.warehouse.published import PublishingShop
shop = PublishingShop(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
shop.write(9)
print("written", flush=True)
"""


def test_waiting_leaves_the_warehouse_to_others(tiny: PublishingShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_FIRST_PAUSE", 0.1)
    lag(tiny)
    other = python(BUILD, str(tiny.folder), stdin=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"

    def build(line: str) -> None:
        assert f"{SUMMARY} lags behind {CUSTOMERS}" in line
        tell(other)

    used = time.process_time()
    snapshot = tiny.publish(wait_seconds=60, log=Listener(build))
    assert time.process_time() - used < 5, "waiting must not spin"
    assert other.stdout.readline() == "written\n"
    assert other.wait() == 0
    assert customers_of(snapshot.folder) == 9


# -- switching, dying, and several at once -----------------------------------------------------------------------


def test_a_reader_keeps_its_snapshot_while_a_new_one_is_published(tiny: PublishingShop) -> None:
    tiny.publish(now=JANUARY)
    reader = open_snapshot(tiny.published / "current")
    tiny.write(0)
    second = tiny.publish(now=JANUARY + timedelta(days=1))
    assert reader.execute("select count(*) from silver.customers").fetchone() == (3,)
    assert customers_of(current_snapshot(tiny.published)) == 0
    assert current_snapshot(tiny.published) == second.folder.resolve()


def test_a_publish_that_is_interrupted_leaves_the_current_snapshot(tiny: PublishingShop) -> None:
    first = tiny.publish()
    tiny.write(4)

    def interrupt(table: str, number: int, total: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.publish(progress=interrupt)
    assert current_snapshot(tiny.published) == first.folder.resolve()
    assert [p.name for p in (tiny.published / "snapshots").iterdir()] == [first.id]


PUBLISH_FOR_EVER = """
import sys
from datetime import timedelta
from pathlib import Path
from ecommerce_platform.publishing import publish
from ecommerce_platform_tests.warehouse.published import PublishingShop
publish.READERS_TIME = timedelta(seconds=0.2)
shop = PublishingShop(Path(sys.argv[1]))
shop.publish()
print("ready", flush=True)
for number in range(10_000):
    shop.write(number)
    shop.publish(keep=2)
"""


def test_killed_at_any_moment_the_current_snapshot_is_whole_and_the_next_publish_cleans_up(tmp_path: Path) -> None:
    rng = random.Random(1)
    for _ in range(10):
        process = python(PUBLISH_FOR_EVER, str(tmp_path))
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        customers_of(current_snapshot(tmp_path / "published"))
    tiny = PublishingShop(tmp_path)
    (tiny.published / "snapshots" / f".building-{process.pid}").mkdir(exist_ok=True)
    (tiny.published / "snapshots" / f".removing-{snapshot_id(JANUARY)}").mkdir(exist_ok=True)
    (tiny.published / ".current-0").symlink_to("nowhere")
    tiny.write(77)
    assert customers_of(tiny.publish().folder) == 77
    assert leftovers(tiny.published) == []


def test_the_building_folder_of_a_live_process_is_never_removed(tiny: PublishingShop) -> None:
    alive = python("input()", stdin=subprocess.PIPE)
    folder = tiny.published / "snapshots" / f".building-{alive.pid}"
    folder.mkdir(parents=True)
    own = tiny.published / "snapshots" / f".building-{os.getpid()}"
    own.mkdir()  # an earlier process of our number: ours cannot be building, the lock is ours
    tiny.publish()
    assert folder.is_dir()
    assert not own.exists()
    alive.kill()
    alive.wait()
    tiny.publish()
    assert not folder.exists()


PUBLISH_WHEN_TOLD = """
import logging, sys
from pathlib import Path
from ecommerce_platform_tests.warehouse.published import PublishingShop
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")

def stop(table, number, total):
    if number == 2:
        print("publishing", flush=True)
        sys.stdin.readline()

shop = PublishingShop(Path(sys.argv[1]))
print("published", shop.publish(even_unchanged=True, progress=stop).id, flush=True)
"""


PUBLISH_TOO = """
import logging, sys
from pathlib import Path
from ecommerce_platform.warehouse.connection import Warehouse
from ecommerce_platform.publishing.publish import PublishOptions, publish
from ecommerce_platform_tests.warehouse.published import catalog
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
folder = Path(sys.argv[1])
connect = Warehouse(folder / "warehouse.duckdb", "tiny", {"threads": 1}).connect
options = PublishOptions(even_unchanged=True)
print("published", publish(connect, catalog(), folder / "published", "tiny", options).id, flush=True)
"""


def test_two_that_publish_at_once_both_succeed_one_after_the_other(tiny: PublishingShop) -> None:
    second = python("import sys\nsys.stdin.readline()\n" + PUBLISH_TOO, str(tiny.folder), stdin=subprocess.PIPE)
    first = python(PUBLISH_WHEN_TOLD, str(tiny.folder), stdin=subprocess.PIPE)
    assert first.stdout is not None
    assert second.stdout is not None
    assert first.stdout.readline() == "publishing\n"
    tell(second)
    assert f"process {first.pid} " in (line := second.stdout.readline())
    assert "is publishing" in line
    tell(first)
    ids = [process.communicate(timeout=60)[0].split()[-1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert [p.name for p in sorted((tiny.published / "snapshots").iterdir())] == ids
    assert current_snapshot(tiny.published).name == ids[1]
    assert customers_of(current_snapshot(tiny.published)) == 3


HOLD_LOCK = """
import fcntl, os, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, flush=True)
print("held", flush=True)
sys.stdin.readline()
"""


def test_the_lock_of_a_process_that_dies_is_free(tiny: PublishingShop) -> None:
    tiny.published.mkdir()
    holder = python(HOLD_LOCK, str(tiny.published / ".lock"), stdin=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    heard: list[str] = []

    def kill(line: str) -> None:
        heard.append(line)
        holder.kill()

    tiny.publish(log=Listener(kill))
    assert [f"process {holder.pid} " in line for line in heard] == [True]
    holder.wait()


def test_every_read_sees_one_state_while_snapshots_come_and_go(
    tiny: PublishingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "READERS_TIME", timedelta(seconds=2.5))
    tiny.publish()
    done, seen, problems = threading.Event(), [], []

    def read() -> None:
        while not done.is_set():
            try:
                seen.append(customers_of(current_snapshot(tiny.published)))
            except BaseException as error:
                problems.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    removed = 0
    for number in range(30):
        tiny.write(10 + number)
        removed += len(tiny.publish(keep=2).removed)
        time.sleep(0.05)
    done.set()
    reader.join()
    assert problems == []
    assert seen == sorted(seen), "an older state after a newer one"
    assert len(set(seen)) > 3
    assert removed > 0
    assert leftovers(tiny.published) == []


def test_a_writer_in_the_same_process_does_not_show_in_the_middle_of_a_snapshot(tiny: PublishingShop) -> None:
    def write(table: str, number: int, total: int) -> None:
        if number == 2:
            tiny.write(50)

    assert customers_of(tiny.publish(progress=write).folder) == 3
    assert customers_of(tiny.publish().folder) == 50


# -- what is kept ------------------------------------------------------------------------------------------------


def days(*numbers: float) -> list[str]:
    return [snapshot_id(JANUARY + timedelta(days=n)) for n in numbers]


@pytest.mark.parametrize(
    ("ages", "current", "keep", "gone"),
    [
        ((0, 1, 2, 3, 4), 4, 2, (0, 1, 2)),
        ((0, 1, 2, 3, 4), 4, 5, ()),
        ((0, 1, 2, 3, 4), 0, 2, (1, 2)),
        ((0, 1, 2, 4.96, 4.97, 4.98, 4.99, 5), 5, 2, (0, 1)),  # 2 was current until 58 minutes ago
        ((0, 1, 2, 5), 5, 1, (0, 1)),  # 2 was current until a moment ago
        ((4,), 4, 1, ()),
        ((), 4, 3, ()),
    ],
)
def test_the_newest_the_current_and_those_still_read_are_kept(
    ages: tuple[float, ...], current: float, keep: int, gone: tuple[float, ...]
) -> None:
    now = JANUARY + timedelta(days=5)
    assert superseded(days(*ages), days(current)[0], keep, now) == days(*gone)


@pytest.mark.parametrize(
    ("ago", "gone"), [(timedelta(hours=1), [0]), (timedelta(hours=1) - timedelta(microseconds=1), [])]
)
def test_a_snapshot_goes_an_hour_after_it_was_replaced_and_not_before(ago: timedelta, gone: list[int]) -> None:
    replaced = JANUARY + timedelta(days=1)
    names = [snapshot_id(JANUARY), snapshot_id(replaced)]
    assert superseded(names, names[1], 1, replaced + ago) == [names[i] for i in gone]


def test_of_the_kept_ones_at_least_one_stays() -> None:
    names = days(0, 1, 2)
    assert superseded(names, None, 0, JANUARY + timedelta(days=9)) == names[:2]


def test_a_wait_that_has_run_out_ends_at_once(tiny: PublishingShop, monkeypatch: pytest.MonkeyPatch) -> None:
    lag(tiny)
    slept: list[float] = []
    monkeypatch.setattr(publishing.time, "sleep", slept.append)
    with pytest.raises(InputError, match="lags behind"):
        tiny.publish(wait_seconds=0.0)
    assert slept == []


def test_old_snapshots_go_and_linked_files_stay_with_those_that_are_left(tiny: PublishingShop) -> None:
    published = []
    for day in range(5):
        tiny.write(day)
        published.append(tiny.publish(now=JANUARY + timedelta(days=day), keep=2))
    assert [p.name for p in sorted((tiny.published / "snapshots").iterdir())] == days(3, 4)
    assert [s.removed for s in published] == [(), (), tuple(days(0)), tuple(days(1)), tuple(days(2))]
    assert [customers_of(s.folder) for s in published[3:]] == [3, 4]
    assert open_snapshot(published[4].folder).execute("select label from silver.labels").fetchall() == [("A",)]


def test_what_cannot_be_removed_does_not_fail_the_publish(
    tiny: PublishingShop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.publish(now=JANUARY)
    tiny.publish(now=JANUARY + timedelta(days=1), even_unchanged=True)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError("not allowed")

    with monkeypatch.context() as patch:
        patch.setattr(publishing.shutil, "rmtree", lambda p, ignore_errors=False: None if ignore_errors else refuse(p))
        third = tiny.publish(now=JANUARY + timedelta(days=2), even_unchanged=True, keep=1)
    assert current_snapshot(tiny.published).name == third.id
    assert "could not be removed: not allowed" in caplog.text
    tiny.publish()
    assert leftovers(tiny.published) == []


def test_two_snapshots_of_the_same_moment_get_different_names(tiny: PublishingShop) -> None:
    first, second = tiny.publish(now=JANUARY), tiny.publish(now=JANUARY, even_unchanged=True)
    assert first.id < second.id
    assert manifest(second.folder)["published_at"] == "2024-01-01T00:00:00.000001+00:00"


def test_a_changing_shop_is_not_held_by_the_published_folder(tiny: PublishingShop) -> None:
    tiny.publish()
    with duckdb.connect(str(tiny.warehouse.path)) as con:
        assert con.execute("select count(*) from silver.customers").fetchall() == [(3,)]
