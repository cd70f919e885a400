"""What an extract delivers when something has been extracted before."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ecommerce_platform.ingestion.extraction import extract as module
from ecommerce_platform.ingestion.extraction.ledger import read_entry
from ecommerce_platform.ingestion.extraction.postgresql import PostgreSQL
from ecommerce_platform.ingestion.landing import list_drops
from ecommerce_platform_tests.extraction.conftest import DAY, Place

pytestmark = pytest.mark.shops

NEXT = DAY + timedelta(days=1)
TIMES = {"postgresql": "timestamp", "mysql": "datetime(6)", "sqlite": "text"}


def at(minutes: float) -> str:
    """A time on the first of April 2024, so many minutes after noon."""
    return (datetime(2024, 4, 1, 12) + timedelta(minutes=minutes)).isoformat(sep=" ")


def orders(place: Place, **extract: object) -> None:
    """A table with a watermark."""
    place.run(f"create table orders (id integer primary key, v varchar(50), updated_at {TIMES[place.kind]})")
    place.declare("orders", watermark="updated_at", **extract)


def put(place: Place, number: int, value: str, minutes: float | None) -> None:
    time = "null" if minutes is None else f"'{at(minutes)}'"
    place.run(f"delete from orders where id = {number}", f"insert into orders values ({number}, '{value}', {time})")


def delivered(place: Place) -> list[tuple[str, str]]:
    return [(number, value) for number, value, _ in place.rows("orders")]


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


# ------------------------------------------------------------------------------------------------------ watermarks


def test_an_extract_brings_what_changed_since_the_last(place: Place):
    orders(place)
    put(place, 1, "a", 0)
    put(place, 2, "b", 1)
    first = place.one()
    assert (first.rows, first.since) == (2, None)
    put(place, 2, "b2", 60)
    put(place, 3, "c", 61)
    second = place.one(NEXT)
    assert second.rows == 2
    assert second.since is not None
    assert delivered(place) == [("1", "a"), ("2", "b"), ("2", "b2"), ("3", "c")]
    assert [f.day for f in place.files("orders")] == [DAY, NEXT]


def test_rows_that_were_committed_late_are_brought_and_the_others_of_that_time_are_not_brought_again(place: Place):
    orders(place, lag_minutes=60)
    for number in range(5):
        put(place, number, "x", number)
    put(place, 9, "newest", 100)
    place.one()
    # Written before the newest row, but committed after it was read.
    put(place, 10, "late", 99)
    put(place, 11, "equal", 100)
    second = place.one(NEXT)
    assert second.rows == 2
    assert delivered(place)[-2:] == [("10", "late"), ("11", "equal")]


def test_no_file_and_no_drop_when_nothing_is_new(place: Place):
    orders(place)
    put(place, 1, "a", 0)
    place.one()
    before = snapshot(place.raw)
    found = place.extract(NEXT)
    assert (found.folder, found.tables[0].file, found.tables[0].rows) == (None, None, 0)
    assert snapshot(place.raw) == before
    assert sorted(os.listdir(place.raw)) == [".extract.lock", ".lock", "2024-05-01"]


def test_rows_without_a_watermark_are_said_and_come_again_only_when_one_changes(place: Place):
    orders(place)
    put(place, 1, "a", 0)
    put(place, 2, "none", None)
    first = place.one()
    assert first.rows == 2
    assert "1 rows have no updated_at" in first.notes[0]
    put(place, 3, "b", 60)
    second = place.one(NEXT)
    assert (second.rows, second.notes[:-1]) == (1, ())
    put(place, 4, "another", None)
    third = place.one(NEXT)
    assert third.rows == 2
    assert delivered(place) == [("1", "a"), ("2", "none"), ("3", "b"), ("2", "none"), ("4", "another")]


def test_a_row_that_lies_in_the_future_does_not_hide_those_that_come_before_it(place: Place):
    orders(place)
    put(place, 1, "a", 0)
    place.run("insert into orders values (2, 'planned', '2999-01-01 00:00:00')")
    assert place.one().rows == 2
    put(place, 3, "b", 60)
    assert place.one(NEXT).rows == 1
    assert delivered(place) == [("1", "a"), ("2", "planned"), ("3", "b")]
    place.run("update orders set v = 'changed' where id = 2")
    assert place.one(NEXT).rows == 1


def test_full_reads_from_the_beginning(place: Place):
    orders(place)
    put(place, 1, "a", 0)
    place.one()
    assert place.one(NEXT, full=True).rows == 1
    put(place, 1, "b", 1)
    assert place.one(NEXT).rows == 1


def test_a_new_column_brings_every_row_again(place: Place):
    orders(place)
    put(place, 1, "a", 0)
    place.one()
    place.run("alter table orders add column w varchar(10) default 'new'")
    found = place.one(NEXT)
    assert found.rows == 1
    assert "new columns: w" in found.notes[0]
    assert place.one(NEXT).rows == 0


@pytest.mark.parametrize("change", [{"watermark": "created_at"}, {"table": "copies"}])
def test_another_watermark_or_table_is_read_from_the_beginning(lite: Place, change: dict[str, str]):
    orders(lite)
    lite.run("alter table orders add column created_at text")
    put_all = "insert into orders values (1, 'a', '2024-04-01', '2024-03-01')"
    lite.run(put_all, "create table copies as select * from orders")
    lite.one()
    lite.declare("orders", **{"watermark": "updated_at", "id": "id", **change})
    found = lite.one(NEXT)
    assert found.rows == 1
    assert "read from the beginning" in found.notes[0]


def test_an_earlier_extract_that_is_taken_away_is_read_again(lite: Place):
    orders(lite)
    for number, day in enumerate([DAY, NEXT, NEXT + timedelta(days=1)]):
        put(lite, number, "x", number * 10_000)
        assert lite.one(day).rows == 1
    (lite.raw / NEXT.isoformat()).rename(lite.folder / "taken")
    found = lite.one(NEXT + timedelta(days=2))
    assert found.rows == 3
    assert "no longer among the drops" in found.notes[0]


def test_the_hour_that_an_autumn_night_repeats_is_looked_at_again(pg: Place, monkeypatch: pytest.MonkeyPatch):
    orders(pg, lag_minutes=0)
    monkeypatch.setattr(module, "datetime", Clock)
    Clock.utc = datetime(2024, 10, 27, 0, 50)
    monkeypatch.setattr(module.Database, "local", Clock.local)
    monkeypatch.setattr("ecommerce_platform.ingestion.extraction.postgresql.PostgreSQL.utc_now", lambda self: Clock.utc)
    pg.run("insert into orders values (1, 'summer time', '2024-10-27 02:49')")
    assert pg.one(date(2024, 10, 27)).rows == 1
    Clock.utc = datetime(2024, 10, 27, 2, 30)
    pg.run("insert into orders values (2, 'winter time, before it by the clock', '2024-10-27 02:10')")
    assert pg.one(date(2024, 10, 27)).rows == 1


class Clock(datetime):
    utc = datetime(2024, 1, 1)

    @classmethod
    def now(cls, tz=None):
        return cls.utc.replace(tzinfo=tz)

    @staticmethod
    def local(database, utc):
        from datetime import UTC

        return utc.replace(tzinfo=UTC).astimezone(database.zone).replace(tzinfo=None)


@pytest.mark.parametrize("kind", ["timestamptz", "date"])
def test_instants_and_days_are_watermarks_too(pg: Place, kind: str):
    pg.run(f"create table orders (id integer primary key, v text, updated_at {kind})")
    pg.declare("orders", watermark="updated_at", lag_minutes=0)
    pg.run("insert into orders values (1, 'a', '2024-03-31 00:30:00+00'), (2, 'b', '2024-03-31 01:30:00+00')")
    assert pg.one().rows == 2
    assert pg.one(NEXT).rows == 0
    pg.run("insert into orders values (3, 'c', '2024-03-31 01:30:00+00')")
    assert pg.one(NEXT).rows == 1
    assert delivered(pg) == [("1", "a"), ("2", "b"), ("3", "c")]


def test_mysql_timestamps_are_watermarks_too(my: Place):
    my.run("create table orders (id integer primary key, v text, updated_at timestamp(6) null)")
    my.declare("orders", watermark="updated_at", lag_minutes=0)
    con = my.server.connect(my.database)
    with con.cursor() as cursor:
        cursor.execute("set time_zone = '+00:00'")
        cursor.execute("insert into orders values (1, 'a', '2024-10-27 00:30:00'), (2, 'b', '2024-10-27 01:30:00')")
        assert my.one().rows == 2
        assert my.one(NEXT).rows == 0
        cursor.execute("insert into orders values (3, 'c', '2024-10-27 01:30:00')")
    con.close()
    assert my.one(NEXT).rows == 1
    assert delivered(my) == [("1", "a"), ("2", "b"), ("3", "c")]


# ------------------------------------------------------------------------------------------------------ whole tables


def products(place: Place) -> None:
    place.run("create table products (id integer primary key, v varchar(50), w varchar(50))")
    place.run("insert into products values (1, 'a', 'x'), (2, 'b', 'y')")
    place.declare("products")


def test_a_whole_table_comes_again_when_anything_changed(place: Place):
    products(place)
    assert place.one().rows == 2
    assert place.one(NEXT).file is None
    changes = [
        "update products set v = 'c' where id = 2", "insert into products values (3, 'c', 'z')",
        "update products set v = null where id = 1", "update products set v = case id when 1 then 'c' else null end where id < 3",
        "delete from products where id = 1", "alter table products add column z integer",
    ]  # fmt: skip
    for change in changes:
        place.run(change)
        assert place.one(NEXT).file is not None, change
        assert place.rows("products", newest_only=True) == [
            tuple(None if v is None else str(v) for v in row) for row in place.run("select * from products order by id")
        ]
        assert place.one(NEXT).file is None, change


def test_a_table_that_never_had_a_row_is_not_delivered_and_one_that_lost_them_is(place: Place):
    place.run("create table products (id integer primary key, v varchar(50))")
    place.declare("products")
    assert place.one().file is None
    place.run("insert into products values (1, 'a')")
    assert place.one().rows == 1
    place.run("delete from products")
    emptied = place.one(NEXT)
    assert (emptied.rows, emptied.file is not None) == (0, True)
    assert place.one(NEXT).file is None


def test_a_table_that_was_landed_by_hand_since_is_delivered_again(lite: Place):
    products(lite)
    lite.one()
    folder = lite.raw / NEXT.isoformat()
    folder.mkdir()
    (folder / "products.csv").write_text("id,v,w\n1,old,x\n")
    assert lite.one(NEXT + timedelta(days=1)).file is not None


# ------------------------------------------------------------------------------------------------------ the drop


def test_a_later_extract_of_the_day_adds_to_the_drop_and_takes_the_place_of_whole_tables(lite: Place):
    orders(lite)
    products(lite)
    put(lite, 1, "a", 0)
    lite.extract()
    (lite.raw / "2024-05-01" / "notes.txt").write_text("x")
    (lite.raw / "2024-05-01" / "_SUCCESS").touch()
    before = {f.name: f for f in lite.files("orders")}
    put(lite, 2, "b", 60)
    lite.run("update products set v = 'c' where id = 1")
    found = lite.extract()
    assert {t.raw: t.rows for t in found.tables} == {"orders": 1, "products": 2}
    assert delivered(lite) == [("1", "a"), ("2", "b")]
    assert len(lite.files("products")) == 1
    assert lite.rows("products") == [("1", "c", "x"), ("2", "b", "y")]
    (kept,) = [f for f in lite.files("orders") if f.name in before]
    assert kept == before[kept.name]  # the same size and time: bronze does not take it for changed
    assert {p.name for p in (lite.raw / "2024-05-01").iterdir()} >= {"notes.txt", "_SUCCESS"}
    # Only what the new drop does not hold stays aside.
    (aside,) = (lite.raw / ".replaced").iterdir()
    assert found.replaced == aside
    assert [p.name.startswith("products_") for p in aside.iterdir()] == [True]


def test_replaced_snapshots_do_not_pile_up(lite: Place):
    products(lite)
    orders(lite)
    for number in range(8):
        put(lite, number, "x", number * 100)
        lite.run(f"update products set v = 'v{number}'")
        lite.extract()
    aside = sorted(p for p in (lite.raw / ".replaced").rglob("*") if p.is_file())
    assert [pq.read_table(p)["v"][0].as_py() for p in aside] == ["v4", "v5", "v6"]
    assert len(lite.files("orders")) == 8
    assert len(list((lite.raw / ".replaced").iterdir())) == 3


def test_landed_files_that_a_snapshot_takes_the_place_of_are_kept(lite: Place):
    products(lite)
    (lite.raw / "2024-05-01").mkdir(parents=True)
    (lite.raw / "2024-05-01" / "products.csv").write_text("id,v,w\n7,landed,x\n")
    for number in range(6):
        lite.run(f"update products set v = 'v{number}'")
        lite.extract()
    assert len(lite.files("products")) == 1
    assert [p.read_text() for p in (lite.raw / ".replaced").rglob("*.csv")] == ["id,v,w\n7,landed,x\n"]


def test_a_landed_file_whose_rows_would_win_is_named(lite: Place):
    orders(lite)
    put(lite, 1, "a", 0)
    lite.tables["orders"]["files"] = ["orders*"]
    (lite.raw / "2024-05-01").mkdir(parents=True)
    (lite.raw / "2024-05-01" / "orders_z.csv").write_text("id,v,updated_at\n7,landed,\n")
    assert "orders_z.csv of 2024-05-01 come after the extract" in lite.one().notes[-1]


def test_a_clock_that_went_back_does_not_make_new_rows_look_old(lite: Place):
    orders(lite)
    put(lite, 1, "a", 0)
    lite.one(NEXT)
    put(lite, 1, "b", 60)
    assert lite.extract(DAY).day == NEXT
    first, second = lite.files("orders")
    assert first.name < second.name


def test_all_tables_of_an_extract_are_from_one_moment(pg: Place):
    """Rows are written to both tables in one transaction while they are read: they are in both or in neither."""
    pg.run("create table a (id int primary key)", "create table b (id int primary key)")
    pg.run("insert into a select generate_series(1, 1000)", "insert into b select generate_series(1, 1000)")
    pg.declare("a")
    pg.declare("b")
    write = "with x as (insert into a values (0) returning id) insert into b select id from x"
    written = []

    def progress(raw: str, rows: int, total: int | None) -> None:
        if raw == "a" and not written:
            written.append(pg.run(write))

    pg.extract(progress=progress)
    assert written
    assert (len(pg.rows("a")), len(pg.rows("b"))) == (1000, 1000)
    pg.extract(NEXT)
    assert (len(pg.rows("a", newest_only=True)), len(pg.rows("b", newest_only=True))) == (1001, 1001)


def test_a_row_written_between_the_begin_and_the_first_look_lies_within_the_mark(
    pg: Place, monkeypatch: pytest.MonkeyPatch
):
    """Beyond it, it came a second time once its file was out of the window that the next extracts look back on."""
    orders(pg)
    ask = PostgreSQL._ask

    def slow(self: PostgreSQL, sql: str) -> list[tuple[str | None, ...]]:
        found = ask(self, sql)
        if sql.startswith("begin"):
            pg.run("insert into orders values (1, 'in between', clock_timestamp() at time zone 'UTC')")
        return found

    monkeypatch.setattr(PostgreSQL, "_ask", slow)
    pg.time_zone = "UTC"
    assert pg.one().rows == 1
    (file,) = pg.files("orders")
    known = read_entry(file.path)
    assert known
    ((_, _, written),) = pg.rows("orders")
    assert known[0].read_to == datetime.fromisoformat(written)


def test_staged_files_of_a_killed_extract_are_removed(lite: Place):
    orders(lite)
    put(lite, 1, "a", 0)
    (lite.raw / ".incoming-extract-x").mkdir(parents=True)
    (lite.raw / ".incoming-extract-x" / "orders_20240501T000000000000Z.parquet").write_bytes(b"half")
    lite.one()
    assert sorted(os.listdir(lite.raw)) == [".extract.lock", ".lock", "2024-05-01"]
    assert list_drops(lite.raw, lite.source).days == (DAY,)
