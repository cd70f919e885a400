"""An export becomes the drops it would have come in: which row stands where, in which state, and that none is lost."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecommerce_platform.contracts.source import Source, find_source, read_source
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.replay import Calendar, Every, Replayed, replay
from ecommerce_platform.warehouse.connection import MACROS
from ecommerce_platform_tests.conftest import Shop

pytestmark = pytest.mark.shops

BY = "orders.placed"
TODAY = date(2024, 12, 15)
SOURCE_YML = """
description: An invented shop whose orders have a life.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  orders: {files: ["orders*.csv"], description: Orders., max_unparsable_share: 0.5}
  items: {files: ["items*.csv"], description: Lines of orders.}
  people: {files: ["people*.csv"], description: Customer records.}
  reviews: {files: ["reviews*.csv"], description: Reviews., max_unparsable_share: 0.5}
  visits: {files: ["visits*.csv"], description: Visits have dates of their own.}
  products: {files: ["products*.csv"], description: The catalogue., delivery: full}
replay:
  orders:
    created: placed
    status: state
    events: {placed: created, approved: approved, shipped: shipped, arrived: delivered}
  items: {follows: orders.id, by: order_id}
  people: {follows: orders.person}
  reviews: {follows: orders.id, by: order_id, created: written, comes_with: last_event}
  visits: {created: "on", time_format: "%d.%m.%Y"}
"""
HEADER = "id,person,state,placed,approved,shipped,arrived,promised\n"


class Export:
    """An export folder, the drops it becomes, and looks at both."""

    def __init__(self, folder: Path, source_yml: str = SOURCE_YML) -> None:
        self.folder, self.raw = folder / "export", folder / "data" / "raw"
        self.folder.mkdir(parents=True)
        home = folder / "shop"
        home.mkdir()
        (home / "source.yml").write_text(source_yml)
        self.source: Source = read_source(home, [])

    def write(self, table: str, content: str | bytes, name: str | None = None) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        (self.folder / (name or f"{table}.csv")).write_bytes(data)

    def orders(self, *lines: str) -> None:
        self.write("orders", HEADER + "".join(f"{line}\n" for line in lines))

    def replay(self, every: Every = "day", by: str = BY, today: date = TODAY) -> Replayed:
        return replay(self.folder, self.source, self.raw, by, every, today)

    def drops(self, name: str = "orders.csv") -> dict[str, bytes]:
        """The content of a file by day."""
        return {p.parent.name: p.read_bytes() for p in sorted(self.raw.glob(f"*/{name}"))}

    def lines(self, name: str = "orders.csv") -> dict[str, list[str]]:
        """The same as lines, without header."""
        return {day: content.decode().splitlines()[1:] for day, content in self.drops(name).items()}


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


@pytest.fixture(scope="module")
def macros() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(MACROS.read_text())
    return con


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


# -- the life of an order ----------------------------------------------------------------------------------------


def test_an_order_comes_as_it_was_created_and_again_with_each_event(export: Export):
    export.orders("1,p,delivered,2024-01-05 10:00:00,2024-01-06 01:00:00,2024-01-08,2024-02-01 09:00,2024-02-20")
    done = export.replay()
    assert export.lines() == {
        "2024-01-05": ["1,p,created,2024-01-05 10:00:00,,,,2024-02-20"],
        "2024-01-06": ["1,p,approved,2024-01-05 10:00:00,2024-01-06 01:00:00,,,2024-02-20"],
        "2024-01-08": ["1,p,shipped,2024-01-05 10:00:00,2024-01-06 01:00:00,2024-01-08,,2024-02-20"],
        "2024-02-01": ["1,p,delivered,2024-01-05 10:00:00,2024-01-06 01:00:00,2024-01-08,2024-02-01 09:00,2024-02-20"],
    }
    assert [(t.name, t.rows, t.states) for t in done.tables] == [("orders", 1, 4)]
    assert done.notes == ()


def test_months_gather_events_and_are_named_by_their_last_day(export: Export):
    export.orders(
        "1,p,delivered,2024-01-05,2024-01-06,2024-02-29,2024-04-01,2024-02-20",
        "2,q,shipped,2024-02-05,2024-02-06,2024-02-07,,2024-02-20",
    )
    assert export.replay("month").days == (date(2024, 1, 31), date(2024, 2, 29), date(2024, 4, 30))
    assert export.lines() == {
        "2024-01-31": ["1,p,approved,2024-01-05,2024-01-06,,,2024-02-20"],
        "2024-02-29": [
            "1,p,shipped,2024-01-05,2024-01-06,2024-02-29,,2024-02-20",
            "2,q,shipped,2024-02-05,2024-02-06,2024-02-07,,2024-02-20",
        ],
        "2024-04-30": ["1,p,delivered,2024-01-05,2024-01-06,2024-02-29,2024-04-01,2024-02-20"],
    }


@pytest.mark.parametrize("status", ["canceled", "unavailable", "invoiced", "processing", "delivered"])
def test_a_status_without_a_time_comes_with_the_last_known_event(export: Export, status: str):
    # `delivered` without the time of delivery, too.
    export.orders(f"1,p,{status},2024-01-05,2024-01-06,,,", f"2,q,{status},2024-01-05,,,,")
    export.replay()
    assert export.lines() == {
        "2024-01-05": ["1,p,created,2024-01-05,,,,", f"2,q,{status},2024-01-05,,,,"],
        "2024-01-06": [f"1,p,{status},2024-01-05,2024-01-06,,,"],
    }


def test_an_order_that_arrives_before_it_is_shipped_is_delivered_from_then_on(export: Export):
    export.orders("1,p,delivered,2024-01-05,2024-01-05,2024-01-09,2024-01-07,")
    export.replay()
    assert export.lines() == {
        "2024-01-05": ["1,p,approved,2024-01-05,2024-01-05,,,"],
        "2024-01-07": ["1,p,delivered,2024-01-05,2024-01-05,,2024-01-07,"],
        "2024-01-09": ["1,p,delivered,2024-01-05,2024-01-05,2024-01-09,2024-01-07,"],
    }


def test_what_happened_before_the_creation_comes_with_it(export: Export):
    export.orders("1,p,shipped,2024-01-05,2024-01-03,2024-01-06,,")
    export.replay()
    assert export.lines() == {
        "2024-01-05": ["1,p,approved,2024-01-05,2024-01-03,,,"],
        "2024-01-06": ["1,p,shipped,2024-01-05,2024-01-03,2024-01-06,,"],
    }


def test_rows_keep_the_order_of_the_export(export: Export):
    export.orders("3,a,canceled,,,,,", "2,b,created,2024-01-05,,,,", "9,c,created,,,,,", "1,d,created,2024-01-05,,,,")
    export.replay()
    assert [line[0] for line in export.lines()["2024-01-05"]] == ["3", "2", "9", "1"]


def test_a_month_that_is_not_over_has_its_drop_on_the_last_day_that_is_known(export: Export):
    export.orders("1,p,approved,2024-11-05,2024-12-03,,,", "2,p,created,2024-12-11,,,,")
    assert export.replay("month", today=date(2024, 12, 12)).days == (date(2024, 11, 30), date(2024, 12, 11))
    assert export.replay("month", today=date(2024, 12, 14)).already == 2


# -- what comes with an order ------------------------------------------------------------------------------------


def test_lines_and_customers_come_with_the_creation_of_their_order(export: Export):
    export.orders("2,q,delivered,2024-01-05,2024-01-06,,2024-01-20,", "1,p,created,2024-01-07,,,,")
    export.write("items", "n,order_id\n1,1\n1,2\n2,2\n")
    export.write("people", "name,person\nPaul,p\nQuinn,q\n")
    export.replay()
    assert export.lines("items.csv") == {"2024-01-05": ["1,2", "2,2"], "2024-01-07": ["1,1"]}
    assert export.lines("people.csv") == {"2024-01-05": ["Quinn,q"], "2024-01-07": ["Paul,p"]}


def test_a_customer_of_several_orders_comes_with_the_first(export: Export):
    export.orders("2,p,created,2024-01-08,,,,", "1,p,created,2024-01-05,,,,", "3,p,created,2024-01-09,,,,")
    export.write("people", "person\np\n")
    export.replay()
    assert export.lines("people.csv") == {"2024-01-05": ["p"]}


def test_reviews_come_on_their_day_but_never_before_their_order(export: Export):
    export.orders("1,p,delivered,2024-01-05,,,2024-01-20,", "2,p,created,2024-01-09,,,,")
    export.write("reviews", "text,order_id,written\na,1,2024-03-01\nb,2,2024-01-06\nc,1,\nd,1,soon\ne,2,\n")
    done = export.replay()
    assert export.lines("reviews.csv") == {
        "2024-01-09": ["b,2,2024-01-06", "e,2,"],
        "2024-01-20": ["c,1,", "d,1,soon"],
        "2024-03-01": ["a,1,2024-03-01"],
    }
    then = "they come with the last event of their row of orders"
    assert done.notes == (
        f"reviews.csv: 1 of 5 values of written are no usable time (the first in line 5: 'soon'); {then}",
        f"reviews.csv: 2 rows have no written (the first in line 4); {then}",
    )


def test_rows_of_an_unknown_order_stand_in_the_first_drop(export: Export):
    export.orders("1,p,created,2024-01-05,,,,", "2,,created,2024-01-07,,,,")
    export.write("items", "order_id\n2\n7\n\n")
    export.write("people", 'person,x\n"",1\n')
    export.write("reviews", "order_id,written\n7,2024-03-01\n")
    done = export.replay()
    assert export.lines("items.csv") == {"2024-01-05": ["7", ""], "2024-01-07": ["2"]}
    assert export.lines("people.csv") == {"2024-01-05": ['"",1']}
    assert export.lines("reviews.csv") == {"2024-01-05": ["7,2024-03-01"]}
    assert (
        "items.csv: 2 rows belong to no row of orders (the first in line 3); they stand in the first drop" in done.notes
    )


def test_keys_are_the_same_quoted_or_not(export: Export):
    export.orders('" 1 ",p,created,2024-01-05,,,,', '"2""x",p,created,2024-01-06,,,,')
    export.write("items", 'order_id,x\n1,y\n"2""x","y"\n')
    export.replay()
    assert export.lines("items.csv") == {"2024-01-05": ["1,y"], "2024-01-06": ['"2""x","y"']}


def test_another_table_may_have_dates_of_its_own_written_in_another_way(export: Export):
    export.orders("1,p,created,2024-01-05,,,,")
    export.write("visits", "on;who\n05.01.2024;a\n03.01.2024;b\n")
    export.replay()
    assert export.lines("visits.csv") == {"2024-01-03": ["03.01.2024;b"], "2024-01-05": ["05.01.2024;a"]}
    assert list(export.lines()) == ["2024-01-05"]


def test_tables_without_dates_come_whole_and_as_they_are_in_the_first_drop(export: Export):
    export.orders("1,p,created,2024-01-05,,,,", "2,p,created,2024-01-06,,,,")
    products = b'\xef\xbb\xbfid,name\r\n1,"a\r\nb"\r\n'
    export.write("products", products)
    export.write("visits", "on,who\n")  # nothing to split
    export.write("other", "x")
    done = export.replay()
    assert export.drops("products.csv") == {"2024-01-05": products}
    assert export.drops("visits.csv") == {"2024-01-05": b"on,who\n"}
    assert (done.whole, done.left) == (("products.csv", "visits.csv"), ("other.csv",))


# -- as delivered ------------------------------------------------------------------------------------------------


def test_bytes_stay_as_delivered(export: Export):
    first = '\ufeff"id",person,state,placed,approved,shipped,arrived,promised\r\n'
    one = '"0001",  p ,"delivered","2024-01-05 10:00:00",,"",2024-01-06,"a ""b"",\r\n\r\nc"\r\n'
    two = "0002,ö,created,2024-01-05,,,,"  # the last line has no end
    export.write("orders", first + one + two)
    export.replay()
    assert export.drops() == {
        "2024-01-05": (first + one.replace('"delivered"', "created").replace("2024-01-06", "") .replace('""', "", 1)
                       + two + "\r\n").encode(),
        "2024-01-06": (first + one).encode(),
    }  # fmt: skip


def test_other_encodings_delimiters_and_gzip(tmp_path: Path):
    export = Export(tmp_path, SOURCE_YML.replace("description: Orders.", "encoding: cp1252, description: Orders."))
    header = HEADER.replace(",", ";")
    lines = ["1;Jörg €;approved;2024-01-05;2024-01-06;;;\n", "2;ß;created;2024-01-06;;;;\n"]
    content = "".join([header, *lines]).encode("cp1252")
    export.write("orders", gzip.compress(content, mtime=0), "orders_a.csv.gz")
    export.replay()
    found = {day: gzip.decompress(drop) for day, drop in export.drops("orders_a.csv.gz").items()}
    assert found["2024-01-05"] == (header + "1;Jörg €;created;2024-01-05;;;;\n").encode("cp1252")
    assert found["2024-01-06"] == content
    assert export.replay().already == 2


def test_several_files_of_a_table_stay_files(export: Export):
    export.write("orders", HEADER + "1,p,created,2024-01-05,,,,\n", "orders_1.csv")
    export.write("orders", HEADER + "2,p,created,2024-01-05,,,,\n3,p,created,2024-01-06,,,,\n", "orders_2.csv")
    export.write("items", "order_id\n3\n1\n")
    done = export.replay()
    assert export.lines("orders_1.csv") == {"2024-01-05": ["1,p,created,2024-01-05,,,,"]}
    assert [len(lines) for lines in export.lines("orders_2.csv").values()] == [1, 1]
    assert export.lines("items.csv") == {"2024-01-05": ["1"], "2024-01-06": ["3"]}
    assert [(t.name, t.rows) for t in done.tables] == [("orders", 3), ("items", 2)]


# -- drops -------------------------------------------------------------------------------------------------------


def test_the_same_replay_does_nothing(export: Export):
    export.orders("1,p,approved,2024-01-05,2024-02-05,,,")
    export.write("products", "id\n1\n")
    assert export.replay().already == 0
    before = snapshot(export.raw)
    again = export.replay()
    assert (again.already, len(again.days), again.replaced) == (2, 2, ())
    assert snapshot(export.raw) == before


def test_a_drop_that_differs_is_replaced_and_kept(export: Export):
    export.orders("1,p,approved,2024-01-05,2024-02-05,,,")
    export.replay()
    before = export.drops()
    export.orders("1,p,canceled,2024-01-05,2024-02-05,,,", "2,p,created,2024-03-01,,,,")
    again = export.replay()
    assert (again.already, len(again.days), len(again.replaced)) == (1, 3, 1)
    assert (again.replaced[0] / "orders.csv").read_bytes() == before["2024-02-05"]
    assert export.lines()["2024-02-05"] == ["1,p,canceled,2024-01-05,2024-02-05,,,"]
    assert sorted(os.listdir(export.raw)) == [".lock", ".replaced", "2024-01-05", "2024-02-05", "2024-03-01"]


def test_an_interrupted_replay_goes_on_where_it_was(export: Export, monkeypatch: pytest.MonkeyPatch):
    export.orders("1,p,approved,2024-01-05,2024-02-05,,,")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target.name == "2024-02-05":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(KeyboardInterrupt):
            export.replay()
    assert sorted(os.listdir(export.raw)) == [".lock", "2024-01-05"]
    assert export.replay().already == 1
    assert sorted(os.listdir(export.raw)) == [".lock", "2024-01-05", "2024-02-05"]


def test_drops_of_other_days_are_counted_and_stay(export: Export):
    export.orders("1,p,approved,2024-01-05,2024-02-05,,,")
    export.replay("month")
    assert export.replay("day").others == 2


def test_progress_tells_reading_and_writing(export: Export):
    export.orders("1,p,approved,2024-01-05,2024-02-05,,,")
    seen: list[tuple[str, int, int]] = []
    replay(export.folder, export.source, export.raw, BY, "day", TODAY, progress=lambda *step: seen.append(step))
    size = (export.folder / "orders.csv").stat().st_size
    assert seen == [("reading orders.csv", size, size), ("writing drops", 1, 2), ("writing drops", 2, 2)]


# -- bad exports -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "placed", ["", "soon", "2024-13-01", "1999-01-01", "2924-01-01", "2024-01-09Z", "0001-01-01T00:00:00Z"]
)
def test_an_order_without_a_usable_creation_stands_as_it_is_in_the_first_drop(export: Export, placed: str):
    export.orders("1,p,created,2024-01-05,,,,", f"2,q,shipped,{placed},2024-01-08,2024-01-09,,")
    export.write("items", "order_id\n2\n")
    done = export.replay()
    assert export.lines() == {
        "2024-01-05": ["1,p,created,2024-01-05,,,,", f"2,q,shipped,{placed},2024-01-08,2024-01-09,,"]
    }
    assert export.lines("items.csv") == {"2024-01-05": ["2"]}
    assert "line 3" in done.notes[0]
    assert done.notes[0].endswith("they stand in the first drop")


@pytest.mark.parametrize(
    ("placed", "day"),
    [
        ("2024-01-09T10:00:00Z", "2024-01-09"),
        ("2024-01-09T23:30:00Z", "2024-01-10"),
        ("2024-01-09 23:30 UTC", "2024-01-10"),
        ("2024-03-01T23:30:00-05:00", "2024-03-02"),
        ("2024-03-02 00:30:00 +0900", "2024-03-01"),
        ("2024-03-31T22:30:00.123456+00", "2024-04-01"),
        ("2024-03-30T22:30:00gmt", "2024-03-30"),
    ],
)
def test_a_time_with_an_offset_is_of_the_shops_own_day(export: Export, placed: str, day: str):
    export.orders(f"1,p,created,{placed},,,,", "2,p,created,2024-01-05,,,,")
    assert export.replay().notes == ()
    assert list(export.drops()) == ["2024-01-05", day]
    assert export.lines()[day] == [f"1,p,created,{placed},,,,"]


def test_events_with_offsets_happen_on_the_shops_days_too(tmp_path: Path):
    export = Export(
        tmp_path, SOURCE_YML.replace("Europe/Berlin", "Asia/Tokyo").replace("%d.%m.%Y", "%d.%m.%Y %H:%M %z")
    )
    export.orders("1,p,approved,2024-01-05T20:00:00Z,2024-01-06T15:00:00Z,,,")
    export.write("visits", "on,who\n05.01.2024 16:00 +0000,a\n")
    export.replay()
    assert export.lines() == {
        "2024-01-06": ["1,p,created,2024-01-05T20:00:00Z,,,,"],
        "2024-01-07": ["1,p,approved,2024-01-05T20:00:00Z,2024-01-06T15:00:00Z,,,"],
    }
    assert list(export.lines("visits.csv")) == ["2024-01-06"]


@settings(max_examples=200, deadline=None)
@given(
    moment=st.datetimes(datetime(2024, 1, 2), datetime(2024, 12, 10)).map(lambda t: t.replace(microsecond=0)),
    mark=st.sampled_from(["T", " ", "t", "  "]),
    offset=st.sampled_from(["Z", " UTC", "gmt", "+02:00", " -0530", "+14", "-11:00", "+25:00", " CET", "+2"]),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "UTC"]),
)
def test_the_day_of_a_moment_is_the_one_that_mappings_see(
    macros: duckdb.DuckDBPyConnection, moment: datetime, mark: str, offset: str, zone: str
):
    text = f"{moment:%Y-%m-%d}{mark}{moment:%H:%M:%S}{offset}"
    sql = f"select cast(as_local_timestamp(?, '{zone}') as date)"
    (seen,) = macros.execute(sql, [text]).fetchone()  # type: ignore[misc]
    assert Calendar("day", date(2024, 1, 1), TODAY, zone).period(text) == seen


def test_a_later_time_that_is_none_comes_with_the_last_state(export: Export):
    export.orders("1,p,delivered,2024-01-05,soon,2024-01-08,2924-01-01,", "2,p,created,2024-01-05,,,,")
    done = export.replay()
    assert export.lines() == {
        "2024-01-05": ["1,p,created,2024-01-05,,,,", "2,p,created,2024-01-05,,,,"],
        "2024-01-08": ["1,p,delivered,2024-01-05,soon,2024-01-08,2924-01-01,"],
    }
    assert [note.split("values of ")[1].split(" ")[0] for note in done.notes] == ["approved", "arrived"]


def test_too_many_values_that_are_no_times_are_refused(export: Export):
    export.orders("1,p,created,2024-01-05,,,,", "2,p,created,5.1.2024,,,,", "3,p,created,6.1.2024,,,,")
    with pytest.raises(InputError, match=r"orders\.csv:3: 2 of 3 values of placed .* '5\.1\.2024'(?s:.)*time_format"):
        export.replay()
    assert not export.raw.exists()


def test_an_export_without_any_time_is_refused(export: Export):
    export.orders("1,p,created,,,,,")
    with pytest.raises(InputError, match="no row has a time"):
        export.replay()


def test_lines_that_are_no_records_stand_in_the_first_drop(export: Export):
    export.orders("1,p,created,2024-01-05,,,,", "short", "", '2,"p,created,2024-01-06,,,,', "3,p,created,2024-01-06,,,,",
                  "4,p,created,2024-01-07,,,,")  # fmt: skip
    done = export.replay()
    assert export.lines() == {
        "2024-01-05": ["1,p,created,2024-01-05,,,,", "short", '2,"p,created,2024-01-06,,,,'],
        "2024-01-06": ["3,p,created,2024-01-06,,,,"],
        "2024-01-07": ["4,p,created,2024-01-07,,,,"],
    }
    assert done.notes == (
        "orders.csv: 2 lines are no records (the first in line 3); they stand in the first drop",
    )  # fmt: skip


def test_too_many_lines_that_are_no_records_are_refused(export: Export):
    export.orders("1,p,created,2024-01-05,,,,")
    export.write("items", "order_id,n\n1,1\n1\n")
    with pytest.raises(InputError, match=r"items\.csv:3: 1 of 2 lines .* 1 value where the header has 2 columns"):
        export.replay()


@pytest.mark.parametrize(
    ("table", "content", "says"),
    [
        ("orders", "id,person,state,placed,shipped,arrived\n1,p,x,2024-01-05,,\n", "orders.csv:1: column approved is"),
        ("orders", "id,person,placed,approved,shipped,arrived\n1,p,2024-01-05,,,\n", "orders.csv:1: column state is"),
        ("orders", "person,state,placed,approved,shipped,arrived\np,x,2024-01-05,,,\n", "column id is missing"),
        ("items", "n\n1\n", "items.csv:1: column order_id is missing"),
        ("items", b"PAR1 and more PAR1", "items.csv: is parquet, which cannot be split"),
        ("items", '[{"order_id": 1}, {"order_id": 2}', "items.csv:1: its records cannot be told apart"),
        ("items", '[{"order_id": 1},\n]', "items.csv:1: its records cannot be told apart"),
        ("items", '[{"order_id": 1}\n{"order_id": 2}]', "items.csv:2: its records cannot be told apart"),
        ("items", '{"id": 1}\n', "items.csv: column order_id is missing"),
        ("items", '{"order_id": 1}\n{"order_id": \n', "items.csv:2: 1 of 2 lines are no records: not JSON"),
        ("items", b"PK\x03\x04", "looks like a zip archive"),
        ("items", gzip.compress(b"order_id\n1\n", mtime=0)[:-3], "items.csv: the gzip data ends too early"),
        ("items", "order_id\n1\n".encode("utf-16"), "is utf-16-le, which cannot be split"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_split_is_named(export: Export, table: str, content: str | bytes, says: str):
    export.orders("1,p,created,2024-01-05,,,,")
    export.write(table, content)
    with pytest.raises(InputError) as error:
        export.replay()
    assert says in str(error.value)
    assert not export.raw.exists()


@pytest.mark.parametrize(
    ("by", "says"),
    [
        ("orders", "not written <raw table>.<column>"),
        ("ordres.placed", "no raw table 'ordres'"),
        ("items.order_id", "'items' has no dates of its own"),
        ("products.id", "'products' has no dates of its own"),
        ("orders.approved", "created by placed, not 'approved'"),
    ],
)
def test_by_has_to_fit_the_source(export: Export, by: str, says: str):
    export.orders("1,p,created,2024-01-05,,,,")
    with pytest.raises(InputError) as error:
        export.replay(by=by)
    assert says in str(error.value)
    assert "use one of orders.placed, visits.on" in str(error.value)


def test_a_source_that_does_not_say_how_and_an_export_without_the_table(tmp_path: Path):
    plain = Export(tmp_path / "plain", SOURCE_YML.partition("replay:")[0])
    with pytest.raises(InputError, match="does not say how it is replayed"):
        plain.replay()
    export = Export(tmp_path / "other")
    export.write("items", "order_id\n1\n")
    with pytest.raises(InputError, match="no file of the raw table orders"):
        export.replay()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "orders.order_purchase_timestamp", "--date", "2024-01-01"), "leave out --date, or --by"),
        (("--every", "day"), "add --by"),
        (("--by", "orders.order_purchase_timestamp", "--every", "week"), "'week' is neither day nor month"),
        (("--by", "orders.order_status"), "created by order_purchase_timestamp"),
    ],
)
def test_wrong_usage_is_answered_with_what_to_do(tmp_path: Path, arguments: tuple[str, ...], says: str):
    shop = Shop(tmp_path)
    (shop.folder / "export").mkdir()
    done = shop.run("land", "export", "--source", "olist", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert not shop.data.exists()


# -- properties --------------------------------------------------------------------------------------------------

EVENTS = ["placed", "approved", "shipped", "arrived"]
STATES = ["created", "approved", "shipped", "delivered"]
TIMES = st.one_of(
    st.just(""),
    st.just("?"),
    st.integers(0, 80 * 24).map(lambda hours: f"{datetime(2024, 1, 1) + timedelta(hours=hours)}"),
)
TEXTS = st.text(st.sampled_from('ab,";\n\r \u00fc0'), max_size=6)


def record(values: Sequence[str], quoted: bool) -> str:
    return (
        ",".join(
            '"' + value.replace('"', '""') + '"' if quoted or set(value) & set(',"\r\n') else value for value in values
        )
        + "\n"
    )


def parse(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))[1:]


ORDERS = st.lists(st.tuples(TEXTS, st.sampled_from([*STATES, "canceled"]), st.tuples(*[TIMES] * 4), st.booleans()),
                  min_size=1, max_size=12)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(orders=ORDERS, reviews=st.lists(st.tuples(st.integers(0, 13), TIMES, TEXTS, st.booleans()), max_size=10),
       every=st.sampled_from(["day", "month"]))  # fmt: skip
def test_each_event_has_its_drop_the_last_state_is_the_exports_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, orders: list, reviews: list, every: Every
):
    export = Export(tmp_path_factory.mktemp("replay"), SOURCE_YML.replace("0.5", "1"))
    given_orders = [[str(n), text, state, *times, text] for n, (text, state, times, _) in enumerate(orders)]
    given_orders.append(["last", "p", "created", "2024-01-15", "", "", "", ""])
    lines = [record(row, quoted) for row, (*_, quoted) in zip(given_orders, [*orders, (False,)], strict=True)]
    export.write("orders", HEADER + "".join(lines))
    given_reviews = [[str(n), str(order), written, text] for n, (order, written, text, _) in enumerate(reviews)]
    export.write("reviews", "n,order_id,written,text\n" + "".join(
        record(row, quoted) for row, (*_, quoted) in zip(given_reviews, reviews, strict=True)))  # fmt: skip
    done = export.replay(every)

    def period(text: str) -> str | None:
        if text in ("", "?"):
            return None
        day = date.fromisoformat(text[:10])
        if every == "day":
            return str(day)
        return str((day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1))

    first = str(done.days[0])
    states: dict[str, list[tuple[str, list[str]]]] = {}
    for day, content in export.drops().items():
        rows = parse(content)
        assert [r[0] for r in rows] == sorted({r[0] for r in rows}, key=[r[0] for r in given_orders].index)
        for row in rows:
            states.setdefault(row[0], []).append((day, row))
    assert len(states) == len(given_orders)
    for row in given_orders:
        placed = period(row[3])
        days = [day for day, _ in states[row[0]]]
        events = [placed and max(p, placed) if (p := period(time)) else None for time in row[3:7]]
        assert days == (sorted({e for e in events if e}) if placed else [first])
        assert states[row[0]][-1][1] == row
        for day, state in states[row[0]][:-1]:
            reached = [n for n, e in enumerate(events) if e and e <= day]
            assert state[2] == STATES[reached[-1]]
            assert state[3:7] == [row[3 + n] if n in reached else "" for n in range(4)]
            assert (state[1], state[7]) == (row[1], row[7])
    # The bytes of last states, too.
    everything = b"".join(export.drops().values()).decode()
    assert all(line in everything for line in lines)

    found = {r[0]: (day, r) for day, content in export.drops("reviews.csv").items() for r in parse(content)}
    assert sum(len(parse(content)) for content in export.drops("reviews.csv").values()) == len(given_reviews)
    for row in given_reviews:
        day, delivered = found[row[0]]
        assert delivered == row
        life = [d for d, _ in states.get(row[1], [])]
        if not life:
            assert day == first
        elif own := period(row[2]):
            assert day == (max(own, life[0]) if period(given_orders[int(row[1])][3]) else own)
        else:
            assert day == life[-1]


# -- the real export ---------------------------------------------------------------------------------------------

OLIST = {
    "orders": "olist_orders_dataset.csv",
    "order_items": "olist_order_items_dataset.csv",
    "order_payments": "olist_order_payments_dataset.csv",
    "order_reviews": "olist_order_reviews_dataset.csv",
    "customers": "olist_customers_dataset.csv",
}
WHOLE = {
    "olist_products_dataset.csv",
    "olist_sellers_dataset.csv",
    "olist_geolocation_dataset.csv",
    "product_category_name_translation.csv",
}


@pytest.mark.parametrize(("every", "drops"), [("month", 26), pytest.param("day", 710, marks=pytest.mark.long)])
def test_olist_is_replayed_without_loss(test_data: Path, tmp_path: Path, every: Every, drops: int):
    entities = {path.name.split(".")[0] for path in find_source("olist").glob("*.sql")}
    olist = read_source(find_source("olist"), sorted(entities))
    today = date(2020, 1, 1)
    folder, raw = test_data / "olist", tmp_path / "raw"
    done = replay(folder, olist, raw, "orders.order_purchase_timestamp", every, today)
    assert len(done.days) == drops
    assert sorted(os.listdir(raw)) == [".lock", *(str(day) for day in done.days)]
    if every == "month":
        assert all((day + timedelta(days=1)).day == 1 for day in done.days)
        assert (done.days[0], done.days[-1]) == (date(2016, 9, 30), date(2018, 10, 31))
    rows = {"orders": 99_441, "order_items": 112_650, "order_payments": 103_886, "order_reviews": 99_224}
    assert {t.name: t.rows for t in done.tables} == {**rows, "customers": 99_441}
    assert len(done.notes) == 1
    assert "14 rows have no review_creation_date" in done.notes[0]

    delivered = {table: {d: (raw / str(d) / name) for d in done.days} for table, name in OLIST.items()}
    text = {table: {d: p.read_bytes() for d, p in paths.items() if p.is_file()} for table, paths in delivered.items()}
    for name in WHOLE:
        assert [p.parent.name for p in raw.glob(f"*/{name}")] == [str(done.days[0])]
        assert (raw / str(done.days[0]) / name).read_bytes() == (folder / name).read_bytes()

    # Tables whose rows come once: the same rows, none twice.
    for table in ("order_items", "order_payments", "order_reviews", "customers"):
        export = sorted(parse((folder / OLIST[table]).read_bytes()))
        assert sorted(row for content in text[table].values() for row in parse(content)) == export

    states: dict[str, list[tuple[date, list[str]]]] = {}
    for day, content in text["orders"].items():
        for row in parse(content):
            states.setdefault(row[0], []).append((day, row))
    export = parse((folder / OLIST["orders"]).read_bytes())
    assert len(states) == len(export)
    assert sum(map(len, states.values())) == {t.name: t.states for t in done.tables}["orders"]
    for row in export:
        assert states[row[0]][-1][1] == row
        day, born = states[row[0]][0]
        later = [t for t in row[4:7] if t]
        if later and all(t[:10] > str(day) for t in later):
            assert (born[2], born[4:7]) == ("created", ["", "", ""])
    last = [line for content in text["orders"].values() for line in content.splitlines()[1:]]
    assert set((folder / OLIST["orders"]).read_bytes().splitlines()[1:]) <= set(last), "the same bytes, quotes and all"

    before = snapshot(raw)
    again = replay(folder, olist, raw, "orders.order_purchase_timestamp", every, today)
    assert again.already == drops
    assert snapshot(raw) == before
