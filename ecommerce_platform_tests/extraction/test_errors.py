"""What can go wrong on the way from a database is answered with what to do, and never with a password."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from ecommerce_platform.errors import InputError, PassingError, PlatformError, SettingsError
from ecommerce_platform.ingestion.extraction import extract as module
from ecommerce_platform.ingestion.extraction.extract import extract
from ecommerce_platform.ingestion.extraction.staging import StagedFile
from ecommerce_platform_tests.extraction.conftest import DAY, VARIABLE, Place
from ecommerce_platform_tests.ingestion.conftest import make_source

pytestmark = pytest.mark.shops

SECRET = "s3cr3t-p@ss"
WRITTEN = "s3cr3t-p%40ss"


def refused(place: Place, kind: type[PlatformError] = InputError, **options: object) -> str:
    with pytest.raises(kind) as error:
        place.extract(**options)
    text = str(error.value)
    assert type(error.value) is kind or isinstance(error.value, kind)
    assert "→" in text
    for part in (SECRET, WRITTEN):
        assert part not in text
        assert part not in repr(error.getrepr(chain=True)) + str(error.getrepr(chain=True))
    assert not place.raw.exists() or not [n for n in os.listdir(place.raw) if n not in (".lock", ".extract.lock")]
    return text


@pytest.fixture(params=["pg", "my"])
def server(request: pytest.FixtureRequest) -> Place:
    place: Place = request.getfixturevalue(request.param)
    place.run("create table orders (id integer primary key, v varchar(10), n integer, updated_at timestamp)")
    place.declare("orders")
    return place


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is not set"),
        (f"me:{WRITTEN}@host/db", "is not the URL of a"),
        (f"oracle://me:{WRITTEN}@host/db", "is not the URL of a"),
        (f"KIND://me:{WRITTEN}@host:port/db", "is not a connection URL"),
        (f"KIND://me:{WRITTEN}@host/", "names no database"),
        (f"KIND://me:{WRITTEN}#x@host/db", ""),
        (f"KIND://me:{WRITTEN}%zz@host/db", "a # or % that stands for itself"),
    ],
)
def test_a_variable_that_does_not_say_where_the_database_is(
    lite: Place, monkeypatch: pytest.MonkeyPatch, value: str, says: str
):
    lite.declare("orders")
    for kind in ("postgresql", "mysql"):
        lite.kind = kind
        monkeypatch.setenv(VARIABLE, value.replace("KIND", kind))
        text = refused(lite, SettingsError)
        assert text.startswith(VARIABLE)
        assert says in text


def test_a_wrong_password(server: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    assert server.server is not None
    host = "" if server.kind == "postgresql" else "@'%'"
    word = "password" if server.kind == "postgresql" else "identified by"
    server.run(f"create user locked{host} {word} 'right'")
    try:
        url = server.server.url_of(server.database, user="locked", password=WRITTEN)
        monkeypatch.setenv(VARIABLE, url)
        text = refused(server)
        assert "correct user and password in the URL" in text
        assert SECRET not in caplog.text
        assert WRITTEN not in caplog.text
        # With the right one what is missing is the right to read; with that, it works.
        monkeypatch.setenv(VARIABLE, server.server.url_of(server.database, user="locked", password="right"))
        text = refused(server)
        assert "SELECT" in text or "grant" in text
        if server.kind == "postgresql":
            server.run("grant select on orders to locked")
        else:
            server.run(f"grant select on {server.database}.orders to locked@'%'")
        assert server.one().file is None
    finally:
        server.run(*(["drop owned by locked"] if server.kind == "postgresql" else []), f"drop user locked{host}")


def test_a_database_that_is_not_there(server: Place, monkeypatch: pytest.MonkeyPatch):
    assert server.server is not None
    monkeypatch.setenv(VARIABLE, server.server.url_of("nowhere"))
    assert "nowhere" in refused(server)


def test_a_server_that_is_not_there(server: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    assert server.server is not None
    url = server.server.url_of(server.database, port=1, user="me", password=WRITTEN)
    monkeypatch.setenv(VARIABLE, url)
    text = refused(server, PassingError)
    assert "check that the server runs" in text
    assert SECRET not in caplog.text
    assert WRITTEN not in caplog.text


def test_an_unknown_table_names_those_that_come_near(place: Place):
    place.run("create table orders (id integer)", "create table customers (id integer)")
    place.declare("ordres")
    text = refused(place)
    assert "there is no table 'ordres'" in text
    assert "orders" in text


def test_a_watermark_that_is_not_there_or_no_time(place: Place):
    place.run("create table orders (id integer, n integer, updated_at date)")
    place.declare("orders", watermark="updated_at")
    assert "has a watermark but no primary key" in refused(place)
    place.declare("orders", watermark="changed", id="id")
    assert "has no column 'changed'" in refused(place)
    place.declare("orders", watermark="updated_at", id="number")
    assert "has no column 'number'" in refused(place)
    if place.kind != "sqlite":  # there, anything may be in any column
        place.declare("orders", watermark="n", id="id")
        assert "which is no time" in refused(place)


def test_an_sqlite_file_that_is_not_there_or_none(lite: Place):
    lite.declare("orders")
    assert "there is no such file" in refused(lite)
    (lite.folder / "shop.db").write_bytes(b"x" * 5000)
    assert "SQLite database that is whole" in refused(lite)


def test_a_missing_driver_names_what_to_install(server: Place, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pymysql" if server.kind == "mysql" else "adbc_driver_postgresql", None)
        assert "pip install 'ecommerce_platform[sources]'" in refused(server, SettingsError)


def test_a_source_without_database_and_an_unknown_table_are_said(lite: Place):
    lite.declare("orders")
    assert "use orders" in refused(lite, tables=["ordres"])
    with pytest.raises(SettingsError, match="has no database"):
        extract(make_source(t={}), lite.raw)


def test_a_lost_connection_is_tried_again_with_growing_pauses(
    server: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    assert server.server is not None
    right = os.environ[VARIABLE]
    server.run("insert into orders (id) values (1)")
    monkeypatch.setenv(VARIABLE, server.server.url_of(server.database, port=1, user="me", password=WRITTEN))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:  # now it is back
            monkeypatch.setenv(VARIABLE, right)

    monkeypatch.setattr(module.time, "sleep", sleep)
    caplog.set_level(logging.INFO)
    done = extract(server.source, server.raw, today=DAY)
    assert (done.tries, slept) == (3, list(module.PAUSES[:2]))
    assert server.rows("orders", "id") == [("1",)]
    assert caplog.text.count("trying again") == 2
    assert SECRET not in caplog.text
    assert WRITTEN not in caplog.text


def test_a_full_disk_leaves_nothing_behind(lite: Place, monkeypatch: pytest.MonkeyPatch):
    lite.run("create table orders (id integer)", "insert into orders values (1)")
    lite.declare("orders")

    def full(self: StagedFile, batch: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(StagedFile, "write", full)
    assert "the disk is full" in refused(lite)


def test_one_extract_waits_for_another(lite: Place, caplog: pytest.LogCaptureFixture):
    lite.run("create table orders (id integer)", "insert into orders values (1)")
    lite.declare("orders")
    source = lite.source
    inside, go = threading.Event(), threading.Event()

    def progress(*_: object) -> None:
        inside.set()
        go.wait(20)

    first = threading.Thread(target=extract, args=(source, lite.raw), kwargs={"today": DAY, "progress": progress})
    first.start()
    assert inside.wait(20)
    second = threading.Thread(target=extract, args=(source, lite.raw), kwargs={"today": DAY})
    caplog.set_level(logging.INFO)
    second.start()
    until = time.monotonic() + 20
    while "waiting for another extract" not in caplog.text and time.monotonic() < until:
        time.sleep(0.02)
    assert f"(process {os.getpid()})" in caplog.text
    go.set()
    first.join()
    second.join()
    assert len(lite.files("orders")) == 1


def test_text_that_is_none_is_said(lite: Place, tmp_path: Path):
    lite.run("create table orders (v text)", "insert into orders values (cast(x'ff41' as text))")
    lite.declare("orders")
    assert "text in SQLite is UTF-8" in refused(lite)
