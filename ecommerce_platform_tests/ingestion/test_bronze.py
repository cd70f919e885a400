"""Loading is a function of the files: any order, any repeats, and all or nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.errors import InputError, PassingError, SettingsError
from ecommerce_platform.ingestion.bronze import repeated_files
from ecommerce_platform.ingestion.loader import Loader
from ecommerce_platform.ingestion.salvage import Salvaged
from ecommerce_platform.ingestion.target import Target
from ecommerce_platform_tests.ingestion.conftest import DAY, Bench

NEXT = DAY + timedelta(1)


def test_a_redelivered_drop_replaces_its_rows_and_no_others(bench: Bench):
    bench.drop("id,v\n1,a\n2,b\nbad\n")
    bench.drop("id,v\n3,c\n", day=NEXT)
    first = bench.load()
    assert (first.rows_inserted, first.rows_deleted, first.rows_rejected) == (3, 0, 1)
    assert first.rows_per_day == {DAY: (2, 1), NEXT: (1, 0)}
    bench.drop("id,v\n9,z\n")
    assert bench.pending == {DAY}
    second = bench.load()
    assert (second.rows_inserted, second.rows_deleted, second.columns_added) == (1, 2, ())
    assert bench.rows("id, _load_date") == [("9", DAY), ("3", NEXT)]
    assert bench.rejects() == []
    assert bench.pending == set()


def test_a_removed_drop_empties_its_day(bench: Bench):
    bench.drop("id\n1\nx,y\n")
    bench.drop("id\n2\n", day=NEXT)
    bench.load()
    shutil.rmtree(bench.raw / DAY.isoformat())
    assert bench.pending == {DAY}
    load = bench.load()
    assert (load.rows_inserted, load.rows_deleted, load.files) == (0, 1, ())
    assert bench.rows("id") == [("2",)]
    assert bench.rejects() == []
    assert bench.con.execute("select _load_date from bronze.files").fetchall() == [(NEXT,)]
    shutil.rmtree(bench.raw / NEXT.isoformat())
    bench.load(expected=["id"])
    assert bench.rows("id") == []
    assert bench.pending == set()


def test_pending_are_new_changed_and_removed_days(bench: Bench):
    assert bench.pending == set()
    bench.drop("id\n1\n")
    assert bench.pending == {DAY}
    bench.load()
    assert bench.pending == set()
    bench.drop("id\n2\n")
    assert bench.pending == {DAY}
    bench.load()
    bench.drop("id\n3\n", "t2.csv")
    assert bench.pending == {DAY}


def test_a_table_that_was_dropped_is_loaded_again(bench: Bench):
    bench.drop("id\n1\n")
    bench.load()
    bench.con.execute("drop table bronze.shop__t")
    assert bench.pending == {DAY}
    assert bench.load().rows_inserted == 1


def test_loading_nothing_still_makes_the_tables_and_the_expected_columns(bench: Bench):
    load = bench.load([], expected=["id", "Order"])
    assert (load.rows_inserted, load.columns_added) == (0, ("id", "Order"))
    assert bench.rows('id, "Order"') == []
    bench.drop("id\n1\n")
    bench.load()
    assert bench.load([], expected=["id", "more"]).columns_added == ("more",)
    assert bench.rows("id, more") == [("1", None)]


def deliver_anything(bench: Bench) -> list[date]:
    """A week of drops with everything in them."""
    random.seed(7)
    days = [DAY + timedelta(i) for i in range(7)]
    for number, day in enumerate(days):
        rows = "".join(f"{number}{i},v{i},{i}\n" for i in range(50))
        bench.drop("id,name,amount\n" + rows, "t1.csv", day)
        bench.drop("amount;id\n" + "".join(f"{i};{i}\n" for i in range(20)), "t2.csv", day)
        if number % 2:
            bench.drop('{"id":1,"extra":[1]}\n{"id":\n{"id":2}\n', "t3.jsonl", day)
            bench.drop("id,name,amount\n1,a,1\nbad\n" + rows, "t4.csv", day)
        if number % 3 == 0:
            bench.drop('id,name,amount\n1,"x,2\n2,"a\nb",3\n', "t5.csv", day)
            bench.drop(b"PK\x03\x04", "t6.csv", day)
            bench.drop(b'[{"ID":5},{"Name":"n"', "t7.json", day)
    return days


def test_any_order_and_grouping_of_loads_gives_the_same(bench: Bench, tmp_path: Path):
    days = deliver_anything(bench)
    options = {"expected": ["id", "name"], "required": {"id": "orders.order_id"}}
    bench.load(days, **options)
    expected = bench.state()
    for seed in range(3):
        random.seed(seed)
        with duckdb.connect(str(tmp_path / f"{seed}.duckdb")) as con:
            other = Bench(bench.folder, con)
            todo = random.choices(days, k=4) + random.sample(days, k=len(days))
            while todo:
                size = random.randint(1, 4)
                other.load(todo[:size], **options)
                todo = todo[size:]
            assert other.state() == expected
            other.load(days, **options)
            assert other.state() == expected


def test_every_line_is_a_row_or_a_reject(bench: Bench):
    deliver_anything(bench)
    load = bench.load()
    counted = bench.con.execute(
        """
        select _load_date, _source_file, rows_loaded, rows_rejected,
          (select count(*) from bronze.shop__t as t where (t._load_date, t._source_file) = (f._load_date, f._source_file)),
          (select count(*) from bronze.rejects as r where (r._load_date, r._source_file) = (f._load_date, f._source_file))
        from bronze.files as f
        """
    ).fetchall()
    assert len(counted) == len(load.files)
    assert all((loaded, rejected) == (rows, rejects) for _, _, loaded, rejected, rows, rejects in counted)
    for file in load.files:
        if file.name in ("t1.csv", "t2.csv", "t4.csv"):
            lines = (bench.raw / file.day.isoformat() / file.name).read_text().count("\n") - 1
            assert file.rows + file.rejected == lines


@pytest.mark.parametrize("moment", [(Target, "arrive"), (Target, "settle"), (Loader, "load")])
def test_an_exception_leaves_everything_as_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch, moment: tuple):
    deliver_anything(bench)
    bench.load()
    before = bench.state()
    bench.drop("id,new column\n7,8\n", "t1.csv")
    owner, name = moment
    original = getattr(owner, name)

    def fail(*args: object, **options: object) -> None:
        original(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(KeyboardInterrupt):
        bench.load()
    assert bench.state() == before
    assert list((bench.folder / "scratch").iterdir()) == []
    monkeypatch.undo()
    assert bench.pending == {DAY}
    assert bench.load().columns_added == ("new column",)


def killed(bench: Bench, database: Path, moment: str) -> None:
    """Loads what is pending in a process of its own, which is killed before the commit or right after it."""
    script = f"""
        import os, signal, duckdb
        from pathlib import Path
        from ecommerce_platform.ingestion import bronze
        from ecommerce_platform_tests.ingestion.conftest import Bench
        keep = bronze._keep_books
        def die(*args):
            keep(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        if {moment!r} == "before":
            bronze._keep_books = die
        Bench(Path({str(bench.folder)!r}), duckdb.connect({str(database)!r})).load()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr


@pytest.mark.parametrize("rows", [10, 300_000])
def test_a_load_killed_before_its_commit_never_was_and_after_it_is_there(tmp_path: Path, rows: int):
    database = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(database)) as con:
        bench = Bench(tmp_path, con)
        bench.drop("id\n1\n")
        bench.load()
        before = bench.state()
        bench.drop("id\n" + "".join(f"{i}\n" for i in range(rows)) + "one,too many\n")
        bench.drop("id,more\n1,2\n", day=NEXT)
    killed(bench, database, "before")
    with duckdb.connect(str(database)) as con:
        assert Bench(tmp_path, con).state() == before
    killed(bench, database, "after")
    with duckdb.connect(str(database)) as con:
        bench = Bench(tmp_path, con)
        assert bench.pending == set()
        numbers = con.execute(
            "select count(*), count(*) filter (id::int + 1 <> _source_row) from bronze.shop__t where _load_date = $1",
            [DAY],
        )
        assert numbers.fetchall() == [(rows, 0)]
        after = bench.state()
        bench.load([DAY, NEXT])
        assert bench.state() == after


def test_a_file_that_is_gone_or_changes_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    path = bench.drop("id\n1\n")
    files = bench.files
    monkeypatch.setattr(Bench, "files", files)
    arrive = Target.arrive

    def grow(*args: object) -> object:
        path.write_text("id\n1\n2\n")
        return arrive(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Target, "arrive", grow)
    with pytest.raises(InputError, match=r"t\.csv.*changes while it is loaded"):
        bench.load()
    path.unlink()
    with pytest.raises(InputError, match=r"t\.csv.*is gone"):
        bench.load()


def test_a_file_whose_time_alone_changes_while_it_is_loaded_is_not_trusted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    path = bench.drop("id\n1\n")
    arrive = Target.arrive

    def touch(*args: object) -> object:
        found = arrive(*args)  # type: ignore[arg-type]
        path.write_text("id\n2\n")  # as long as before
        os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr(Target, "arrive", touch)
    with pytest.raises(PassingError, match=r"t\.csv.*changes while it is loaded"):
        bench.load()
    monkeypatch.undo()
    assert bench.pending == {DAY}
    bench.load()
    assert bench.rows("id") == [("2",)]


def test_a_setting_that_loses_the_order_of_rows_is_refused(bench: Bench):
    bench.drop("id\n1\n")
    bench.con.execute("set preserve_insertion_order = false")
    with pytest.raises(SettingsError, match="preserve_insertion_order"):
        bench.load()


def test_rows_that_do_not_add_up_are_an_error_not_a_loss(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    from ecommerce_platform.ingestion import loader

    salvage = loader.salvage_csv

    def one_more(*args: object) -> Salvaged:
        found = salvage(*args)  # type: ignore[arg-type]
        return Salvaged(found.path, found.rows + 1, found.longest)

    monkeypatch.setattr(loader, "salvage_csv", one_more)
    bench.drop('id,v\n1,"x\n2,y\n')
    with pytest.raises(RuntimeError, match="2 records were found but 1 were read"):
        bench.load()


@pytest.mark.parametrize(
    ("delivery", "repeats"),
    [
        # What came last time, or twice on one day, may well be the whole table still; what came before that may not.
        ("full", [(DAY + timedelta(4), "t.csv", NEXT, "t.csv")]),
        (
            "delta",
            [
                (DAY, "t2.csv", DAY, "t.csv"),
                (NEXT, "t.csv", DAY, "t2.csv"),
                (DAY + timedelta(4), "t.csv", NEXT, "t.csv"),
            ],
        ),
    ],
)
def test_records_that_came_before_are_found_unless_a_full_delivery_may_repeat_them(
    bench: Bench, delivery: str, repeats: list
):
    bench.fields = {"delivery": delivery}
    table = "".join(f"{n}\n" for n in range(5))
    bench.drop("id\n" + table)
    bench.drop("id\n" + table[::-1].strip() + "\n", "t2.csv")  # the same records, other bytes
    bench.drop("id\n" + table, day=NEXT)
    bench.drop("id\n" + table + "5\n", day=DAY + timedelta(2))
    bench.drop("id\n" + table, day=DAY + timedelta(4))
    bench.load()
    assert repeated_files(bench.con, "t", bench.source.file.tables["t"]) == repeats


def test_few_records_may_be_the_same_by_chance(bench: Bench):
    for day in (DAY, NEXT):
        bench.drop("id\n" + "".join(f"{n}\n" for n in range(4)), day=day)
    bench.load()
    assert repeated_files(bench.con, "t", bench.source.file.tables["t"]) == []


def test_many_small_files_load_in_one_go(bench: Bench):
    for number in range(600):
        bench.drop(f"id\n{number}\n{number}\n", f"t{number:05}.csv", DAY + timedelta(number // 20))
    bench.con.execute("call enable_logging('QueryLog')")
    load = bench.load()
    ((asked,),) = bench.con.execute("select count(*) from duckdb_logs where type = 'QueryLog'").fetchall()
    assert asked < 100
    assert load.rows_inserted == 1_200
    assert bench.con.execute(
        "select count(*) from bronze.shop__t where id::int <> _source_file[2:6]::int"
    ).fetchone() == (0,)
