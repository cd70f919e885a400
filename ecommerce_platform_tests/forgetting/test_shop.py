"""Anna is forgotten in a shop of many formats: nothing of her is found, and nothing else is changed."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.forgetting.ledger import read_tombstones
from ecommerce_platform.forgetting.persons import returned
from ecommerce_platform.ingestion.swap import place
from ecommerce_platform.operations.forget import Forgotten, forget
from ecommerce_platform.publishing.publish import PublishOptions, publish, restore
from ecommerce_platform.reading.snapshots import find_snapshot, open_snapshot, read_manifest, snapshots
from ecommerce_platform_tests.compare import differences
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.forgetting import corner_shop as corner
from ecommerce_platform_tests.forgetting.traces import traces

pytestmark = pytest.mark.shops


@dataclass
class Corner:
    """The shop, built without Dagster's runs."""

    driver: Driver

    @property
    def data(self) -> Path:
        return self.driver.settings.data

    @property
    def raw(self) -> Path:
        return self.data / "raw"

    def build(self) -> None:
        self.driver.build()

    def publish(self, **options: bool) -> None:
        publish(
            self.driver.connect,
            self.driver.project.catalog,
            self.data / "published",
            "corner",
            PublishOptions(force=True, **options),  # type: ignore[arg-type]
        )

    def forget(self, who: str, **options: object) -> Forgotten:
        return forget(self.driver.settings, who, build=self.build, today=date(2024, 2, 1), **options)  # type: ignore[arg-type]

    def query(self, sql: str) -> list[tuple]:
        with self.driver.connect() as con:
            return con.execute(sql).fetchall()

    def file(self, day: date, name: str) -> bytes:
        return (self.raw / day.isoformat() / name).read_bytes()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Corner:
    """Two days taken over, the second delivered twice (so that a copy was put aside), three snapshots."""
    folder = tmp_path_factory.mktemp("corner")
    driver = Driver.of(str(corner.write_source(folder)), folder / "data")
    shop = Corner(driver)
    corner.deliver(shop.raw, corner.FIRST)
    shop.build()
    shop.publish()
    corner.deliver(shop.raw, corner.SECOND)
    incoming = shop.raw / ".incoming-again"
    shutil.copytree(shop.raw / corner.SECOND.isoformat(), incoming)
    (incoming / "reviews.csv").write_bytes(corner.DROPS[corner.SECOND]["reviews.csv"].replace(b"Fine", b"Fine!"))
    assert place(incoming, corner.SECOND, shop.raw)
    shop.build()
    shop.publish()
    shop.publish(even_unchanged=True)
    return shop


def copied(shop: Corner, folder: Path) -> Corner:
    shutil.copytree(shop.data, folder / "data", symlinks=True)
    return Corner(shop.driver.at(folder / "data"))


@pytest.fixture(scope="module")
def forgotten(built: Corner, tmp_path_factory: pytest.TempPathFactory) -> tuple[Corner, Forgotten]:
    shop = copied(built, tmp_path_factory.mktemp("forgotten"))
    # Snapshots share what did not change: copying has made files of their links.
    _, second, third = snapshots(shop.data / "published")
    for entry in read_manifest(third.folder)["tables"].values():
        (third.folder / entry["file"]).unlink()
        os.link(second.folder / entry["file"], third.folder / entry["file"])
    return shop, shop.forget("ANNA.mueller@post.example")


def test_nothing_that_tells_who_she_is_is_left_anywhere(built: Corner, forgotten: tuple[Corner, Forgotten]) -> None:
    before = traces(built.data, corner.ANNAS)
    for where in (
        "raw/2024-01-01/orders.csv.gz", "raw/2024-01-01/items.parquet", "raw/2024-01-01/payments.tsv",
        "raw/2024-01-01/letters.csv", "raw/.replaced", "published", 'warehouse.duckdb: bronze."rejects"',
        'warehouse.duckdb: silver."rejects"', 'warehouse.duckdb: silver."reviews"',
    ):  # fmt: skip
        assert any(found.startswith(where) for found in before), f"{where} is no trace to begin with"
    assert traces(forgotten[0].data, corner.ANNAS) == []


def test_her_name_is_left_to_her_namesake_alone(forgotten: tuple[Corner, Forgotten]) -> None:
    shop, _ = forgotten
    assert shop.query("select customer_id, full_name from silver.customers where full_name is not null order by 1") == [
        ("crm-C200002", "Eve Groß"), ("crm-C200003", corner.NAME), ("web-W100002", "Bob Öztürk"),
    ]  # fmt: skip
    assert b"Anna" not in shop.file(corner.SECOND, "web.jsonl")


def test_files_keep_all_that_is_not_hers(forgotten: tuple[Corner, Forgotten]) -> None:
    shop, _ = forgotten
    name = "raw/.replaced"
    crm = corner.DROPS[corner.SECOND]["crm.csv"].decode("cp1252")
    assert shop.file(corner.SECOND, "crm.csv").decode("cp1252") == crm.replace(
        corner._CRM_ANNA, "C200001;P1;;;;;;50667;\n"
    )
    orders = gzip.decompress(corner.DROPS[corner.FIRST]["orders.csv.gz"]).decode()
    assert gzip.decompress(shop.file(corner.FIRST, "orders.csv.gz")).decode() == orders.replace(
        "created,Anna Müller,Lindenweg 17", "created,,"
    )
    payments = corner.DROPS[corner.FIRST]["payments.tsv"].decode("utf-16")
    assert shop.file(corner.FIRST, "payments.tsv").decode("utf-16") == payments.replace("DE44500105175407324931", "")
    assert shop.file(corner.FIRST, "products.json") == corner.DROPS[corner.FIRST]["products.json"]
    assert shop.file(corner.FIRST, "letters.csv") == corner.DROPS[corner.FIRST]["letters.csv"].replace(
        b"anna.mueller@post.example", b""
    )
    reviews = corner.DROPS[corner.SECOND]["reviews.csv"].decode().replace("Fine", "Fine!")
    assert shop.file(corner.SECOND, "reviews.csv").decode() == reviews.replace(
        '"Good, says my neighbour Eva","She ""loves"" it\nand so do I"', ","
    ).replace("many,my neighbour Eva,again", "many,,")
    (aside,) = (shop.raw / ".replaced").iterdir()
    assert (aside / "reviews.csv").read_bytes() == shop.file(corner.SECOND, "reviews.csv").replace(b"Fine!", b"Fine"), (
        name
    )
    web = [json.loads(line) for line in shop.file(corner.FIRST, "web.jsonl").decode().splitlines()]
    blank = dict.fromkeys(("name", "mail", "tel", "born", "street", "lat", "lon"))
    anna = {**corner._ANNA, **blank}
    assert web == [
        anna, corner._BOB, {**anna, "no": None, "person": None},
        {**anna, "born": "forgotten"},  # it did not convert, so its record was rejected, and is still
    ]  # fmt: skip


def test_everything_else_is_as_it_was(built: Corner, forgotten: tuple[Corner, Forgotten]) -> None:
    shop, _ = forgotten
    with shop.driver.connect() as now, built.driver.connect() as then:
        _everything_else_is_as_it_was(now, then)


def _ask(con: duckdb.DuckDBPyConnection, sql: str) -> list[tuple]:
    return con.execute(sql).fetchall()


def _everything_else_is_as_it_was(now: duckdb.DuckDBPyConnection, then: duckdb.DuckDBPyConnection) -> None:
    anna = f"('{corner.ANNA_IDS[0]}', '{corner.ANNA_IDS[1]}', 'P1')"
    tables = _ask(
        then,
        "select schema_name || '.' || table_name from duckdb_tables() where schema_name in ('bronze', 'silver', 'gold') "
        "and table_name not in ('files', 'identity_changes', 'loads', 'profile_drift') order by 1",
    )
    assert len(tables) > 40
    for (table,) in tables:
        count = f"select count(*) from {table}"
        assert _ask(now, count) == _ask(then, count), table
    others = f"select * exclude (_load_date, _source_file, _source_row) from silver.customers where customer_id not in {anna} order by 1"
    assert _ask(now, others) == _ask(then, others)
    person = f"select * from gold.dim_customer where person_id not in {anna} order by 1"
    assert _ask(now, person) == _ask(then, person)
    for money in (
        "gold.kpi_summary", "gold.kpi_daily", "gold.kpi_monthly", "gold.kpi_by_dimension", "gold.fct_orders",
        "gold.fct_order_items", "gold.fct_payments", "silver.orders", "silver.order_items", "silver.payments", "gold.rfm",
    ):  # fmt: skip
        assert _ask(now, f"select * from {money} order by all") == _ask(then, f"select * from {money} order by all"), (
            money
        )
    assert _ask(now, "select sum(unit_price * quantity) from silver.order_items") > [(0,)]
    reasons = "select entity, _raw_table, _load_date, _source_row, reason_code from silver.rejects order by all"
    assert _ask(now, reasons) == _ask(then, reasons)
    parsing = "select raw_table, _load_date, reject_number, reason_code from bronze.rejects order by all"
    assert _ask(now, parsing) == _ask(then, parsing)
    # What she is in figures stays: keys, places, times, amounts.
    assert _ask(now,
        "select customer_id, person_key, registered_at, postal_code, city, full_name, email, phone, birth_date, latitude "
        f"from silver.customers where customer_id in {anna} order by 1"
    ) == [
        ("crm-C200001", "P1", None, "50667", None, None, None, None, None, None),
        ("web-W100001", "P1", _ask(then, "select min(registered_at) from silver.customers")[0][0], "53111", "Bonn",
         None, None, None, None, None),
    ]  # fmt: skip


def test_it_is_what_the_changed_drops_give(forgotten: tuple[Corner, Forgotten], tmp_path: Path) -> None:
    shop, _ = forgotten
    shutil.copytree(shop.raw, tmp_path / "data" / "raw", copy_function=shutil.copy2)
    again = Corner(shop.driver.at(tmp_path / "data"))
    again.build()
    with shop.driver.connect() as con:
        assert differences(con, again.data / "warehouse.duckdb") == []


def test_it_says_what_it_did_and_never_a_value(forgotten: tuple[Corner, Forgotten]) -> None:
    _, done = forgotten
    assert done.done
    assert done.customer_ids == (*corner.ANNA_IDS,)
    # crm: 2 full deliveries and the copy put aside; web: 3 + 1 records and the copy's.
    assert done.records == {"crm": 3, "items": 1, "letters": 1, "orders": 5, "payments": 1, "reviews": 4, "web": 5}
    assert done.files == {"crm": 3, "items": 1, "letters": 1, "orders": 3, "payments": 1, "reviews": 2, "web": 3}
    assert done.lines == 3
    assert done.tables == {
        "gold.dim_customer": 1, "silver.customers": 2, "silver.customers_history": 3, "silver.reviews": 1,
    }  # fmt: skip
    assert done.snapshots.rows["silver.customers"] == 4
    assert done.before > 0
    assert done.after > 0
    assert not any(value.lower() in repr(done).lower() for value in corner.ANNAS)


def test_snapshots_are_whole_and_show_the_figures_of_their_time(
    built: Corner, forgotten: tuple[Corner, Forgotten]
) -> None:
    shop, _ = forgotten
    published = shop.data / "published"
    found = snapshots(published)
    assert len(found) == 3
    for old, new in zip(snapshots(built.data / "published"), found, strict=True):
        for entry in read_manifest(new.folder)["tables"].values():
            assert (new.folder / entry["file"]).stat().st_size == entry["bytes"]
        with open_snapshot(old.folder) as was, open_snapshot(new.folder) as now:
            for table, rows in old.tables.items():
                if table in (
                    "silver.customers",
                    "silver.customers_history",
                    "gold.dim_customer",
                    "silver.reviews",
                    "silver.rejects",
                ):
                    assert now.execute(f"select count(*) from {table}").fetchone() == (rows,)
                else:
                    assert (
                        now.execute(f"from {table} order by all").fetchall()
                        == was.execute(f"from {table} order by all").fetchall()
                    )
            hers = "customer_id in ('crm-C200001', 'web-W100001')"
            assert now.execute(
                "select count(*), count(full_name), count(email), count(phone), count(birth_date), count(latitude), "
                f"count(postal_code) from silver.customers where {hers}"
            ).fetchone() == (2, 0, 0, 0, 0, 0, 2)  # fmt: skip
            others = f"select * from silver.customers where not ({hers}) order by 1"
            assert now.execute(others).fetchall() == was.execute(others).fetchall()
    for entry in read_manifest(found[2].folder)["tables"].values():
        assert (found[1].folder / entry["file"]).samefile(found[2].folder / entry["file"]), (
            "shared before, shared still"
        )
    assert find_snapshot(published, found[0].id).id == found[0].id
    assert restore(published, found[0].id).id == found[0].id


def test_a_second_time_there_is_nothing_to_do(forgotten: tuple[Corner, Forgotten]) -> None:
    shop, _ = forgotten
    files = {
        p: (p.stat().st_ino, p.stat().st_mtime_ns)
        for p in shop.data.rglob("*")
        if p.is_file() and not p.name.endswith(".lock")
    }
    again = shop.forget("web-W100001")
    assert again.nothing
    assert again.done
    kept = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in files if p.exists()}
    different = {p.name for p in files if files[p] != kept.get(p)}
    assert different <= {"warehouse.duckdb", "forgotten.json"}, different
    with pytest.raises(InputError, match="nobody has this e-mail address") as error:
        shop.forget("anna.mueller@post.example")
    assert "anna" not in str(error.value)


@pytest.mark.long
def test_who_comes_back_is_noticed_and_forgotten_again(built: Corner, tmp_path: Path) -> None:
    shop = copied(built, tmp_path)
    shop.forget("web-W100001")
    contract = shop.driver.project.catalog.contract("silver.customers")

    def back() -> list[str]:
        with shop.driver.connect() as con:
            return returned(con, contract, read_tombstones(shop.data))

    assert back() == []
    third = shop.raw / corner.THIRD.isoformat()
    third.mkdir()
    (third / "web.jsonl").write_bytes(corner.DROPS[corner.FIRST]["web.jsonl"])
    shop.build()
    assert back() == ["web-W100001"]
    shop.data.joinpath("warehouse.duckdb").unlink()  # a tombstone outlives the warehouse
    shop.build()
    assert back() == ["web-W100001"]
    assert shop.forget("web-W100001").records == {"web": 3}
    assert back() == []
    assert traces(shop.data, corner.ANNAS) == []


@pytest.mark.long
def test_a_dry_run_changes_nothing(built: Corner, tmp_path: Path) -> None:
    shop = copied(built, tmp_path)
    before = {p: p.read_bytes() for p in shop.raw.rglob("*") if p.is_file()}
    plan = shop.forget("web-W100001", dry_run=True)
    assert not plan.done
    assert plan.records["web"] == 5
    assert {p: p.read_bytes() for p in shop.raw.rglob("*") if p.is_file()} == before
    assert not (shop.data / "forgotten.json").exists()
    refused = shop.forget("web-W100001", agreed=lambda plan: False)
    assert not refused.done
    assert {p: p.read_bytes() for p in shop.raw.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("who", ["web-W1", "nobody@post.example", "another.anna@else.example "])
def test_who_is_meant(built: Corner, tmp_path: Path, who: str) -> None:
    if who.startswith("another"):
        plan = built.forget(who, dry_run=True)
        assert plan.customer_ids == ("crm-C200003",)
        return
    with pytest.raises(InputError) as error:
        built.forget(who, dry_run=True)
    assert "silver.customer_identities" in str(error.value)
    assert "nobody@post" not in str(error.value)


def stop_at(number: int) -> Callable[..., None]:
    """A stand-in for progress that dies before the n-th file."""

    def step(_: str, at: int, __: int) -> None:
        if at == number:
            raise KeyboardInterrupt

    return step


#: Tables with what follows from the times of files, and the lines that show how they differ.
_OF_FILES = ("  ", "bronze.files", "silver.loads", "gold.table_profiles", "gold.profile_drift")


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 4])
def test_what_was_interrupted_is_finished(
    built: Corner, forgotten: tuple[Corner, Forgotten], tmp_path: Path, number: int
) -> None:
    shop = copied(built, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        shop.forget("web-W100001", progress=stop_at(number))
    assert (shop.data / ".forgetting.json").stat().st_mode & 0o077 == 0
    with pytest.raises(InputError, match="interrupted and is not finished"):
        shop.forget("web-W100001", dry_run=True)
    shop.build()  # somebody builds in between
    done = shop.forget("crm-C200001")
    assert done.resumed
    assert done.done
    assert traces(shop.data, corner.ANNAS) == []
    with shop.driver.connect() as con:
        other = forgotten[0].data / "warehouse.duckdb"
        assert [d for d in differences(con, other) if not d.startswith(_OF_FILES)] == []
    assert not (shop.data / ".forgetting.json").exists()


@pytest.mark.long
@pytest.mark.parametrize("tables", [12, 25, 45])
def test_a_build_that_dies_between_two_tables_is_finished(built: Corner, tmp_path: Path, tables: int) -> None:
    shop = copied(built, tmp_path)

    def dying() -> None:
        shop.driver.build(only_first=tables)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forget(shop.driver.settings, "web-W100001", build=dying)
    assert shop.forget("web-W100001").done
    assert traces(shop.data, corner.ANNAS) == []


@pytest.mark.long
def test_somebody_else_is_forgotten_after_what_was_interrupted(built: Corner, tmp_path: Path) -> None:
    shop = copied(built, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        shop.forget("web-W100001", progress=stop_at(2))
    shop.forget("crm-C200002")
    assert traces(shop.data, [*corner.ANNAS, "eve@post.example", "Eve Groß", "Am Dom 5"]) == []


@pytest.mark.long
def test_whose_drops_were_taken_away_is_taken_out_of_what_is_left(built: Corner, tmp_path: Path) -> None:
    shop = copied(built, tmp_path)
    for day in (corner.FIRST, corner.SECOND):
        (shop.raw / day.isoformat() / "web.jsonl").unlink()
        (shop.raw / day.isoformat() / "crm.csv").unlink()
        for orders in (shop.raw / day.isoformat()).glob("orders*"):
            orders.unlink()
    shop.build()
    assert shop.query("select count(*) from silver.customers") == [(0,)]
    done = shop.forget("web-W100001")
    assert done.snapshots.rows["silver.customers"] == 6
    assert done.records["web"] == 1
    # Nothing tells any more whose some lines of orders are, and which delivered record a reject in a snapshot was.
    left = {Path(place.partition(":")[0]).name for place in traces(shop.data, corner.ANNAS)}
    assert left <= {"items.parquet", "payments.tsv", "rejects.parquet", "order_items.parquet", "warehouse.duckdb"}, left


@pytest.mark.long
def test_a_file_that_nobody_can_read_is_named(built: Corner, tmp_path: Path) -> None:
    shop = copied(built, tmp_path)
    (shop.raw / "2024-01-02" / "letters.csv").write_bytes(b"PK\x03\x04" + bytes(100))
    (shop.raw / "2024-01-02" / "notes.txt").write_text("call anna.mueller@post.example back")
    done = shop.forget("web-W100001")
    assert {Path(place).name for place, _ in done.untouched} == {"letters.csv", "notes.txt"}


@pytest.mark.long
def test_a_file_that_is_there_twice_loses_what_is_hers_in_both(built: Corner, tmp_path: Path) -> None:
    """Of two files with the same bytes the warehouse has read one; the other holds her all the same."""
    shop = copied(built, tmp_path)
    first = shop.raw / corner.FIRST.isoformat()
    for name in ("letters.csv", "orders.csv.gz"):
        shutil.copy(first / name, first / name.replace(".csv", "_copy.csv"))
    shop.build()
    assert shop.query("select count(*) from bronze.files where problem like '%the same bytes%'") == [(2,)]
    assert shop.forget("web-W100001").done
    assert traces(shop.data, corner.ANNAS) == []


@pytest.mark.long
def test_drops_that_are_links(built: Corner, tmp_path: Path) -> None:
    """Two days that are one file lose what is hers once; what lies elsewhere is named."""
    copy = copied(built, tmp_path)
    shop = Corner(copy.driver.at(copy.data, follow_links=True))
    first, second = (shop.raw / day.isoformat() for day in (corner.FIRST, corner.SECOND))
    shutil.move(first / "letters.csv", tmp_path / "letters.csv")
    (first / "letters.csv").symlink_to(tmp_path / "letters.csv")
    (second / "payments.tsv").symlink_to(first / "payments.tsv")
    assert shop.forget("web-W100001", dry_run=True).untouched[0][0] == str(tmp_path / "letters.csv")
    done = shop.forget("web-W100001")
    assert done.done
    assert [place for place, _ in done.untouched] == [str(tmp_path / "letters.csv")]
    assert (second / "payments.tsv").is_symlink()
    assert traces(shop.data, corner.ANNAS) == []
    assert b"anna.mueller" in (tmp_path / "letters.csv").read_bytes()
