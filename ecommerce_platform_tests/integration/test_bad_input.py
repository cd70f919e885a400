"""Bad files as users deliver them: a clear message each, good rows loaded, bad ones kept, exit codes that tell."""

from __future__ import annotations

import gzip
import logging
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ecommerce_platform import cli
from ecommerce_platform.operations.builds import pending_ranges, run_build
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.settings import read_settings
from ecommerce_platform_tests.conftest import Shop

pytestmark = pytest.mark.shops

SOURCE = """
description: A shop of one table for bad files.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  orders: {files: ["orders*.csv"], description: Orders and their status., delivery: delta}
"""
MAPPING = """
select
    as_text(id) as order_id,
    as_timestamp(placed) as ordered_at,
    as_text(state) as status,
    as_text(state) not in ('canceled', 'unavailable') as is_valid
from bronze.mine__orders
"""
HEADER = "id,placed,state\n"
#: The tables that the files fill: all others would only cost time.
ORDERS = 'key:"bronze/mine__orders" or key:"silver/orders"'


def lines(first: int, count: int) -> str:
    return "".join(f"{n},2024-01-01 10:00:00,created\n" for n in range(first, first + count))


@dataclass
class Done:
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str


Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Calls the installed command's function in this process: what it prints and how it exits, without its start."""
    mask, log = os.umask(0o022), logging.getLogger("ecommerce_platform")
    os.umask(mask)
    handlers, level, propagate = list(log.handlers), log.level, log.propagate

    def run(shop: Shop, *arguments: str) -> Done:
        for name in [n for n in os.environ if n.startswith(("ECOMMERCE_", "DAGSTER_"))]:
            monkeypatch.delenv(name)
        for name, value in shop.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(shop.folder)
        monkeypatch.setattr(sys, "argv", ["ecommerce", *arguments])
        capsys.readouterr()
        code: object = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        assert isinstance(code, int)
        return Done(code, *capsys.readouterr())

    yield run
    os.umask(mask)
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)


@pytest.fixture
def mine(tmp_path: Path) -> Shop:
    home = tmp_path / "sources" / "mine"
    home.mkdir(parents=True)
    (home / "source.yml").write_text(SOURCE)
    (home / "orders.orders.sql").write_text(MAPPING)
    shop = Shop(tmp_path, str(home))
    drop = shop.data / "raw" / "2024-01-02"
    drop.mkdir(parents=True)
    (drop / "orders_good.csv").write_text(HEADER + lines(0, 100))
    return shop


def garbage(count: int) -> bytes:
    rng = random.Random(1)
    alphabet = [c for c in range(1, 256) if c not in (10, 13)]
    return b"".join(bytes(rng.choices(alphabet, k=rng.randint(1, 80))) + b"\n" for _ in range(count))


def truncated_gzip() -> bytes:
    return gzip.compress((HEADER + lines(1000, 20_000)).encode())[:-3000]


CASES = {
    "empty": ("orders_bad.csv", b"", 3, 0, "empty"),
    "header only": ("orders_bad.csv", HEADER.encode(), 0, 0, "a header and no records"),
    "truncated gzip": ("orders_bad.csv.gz", truncated_gzip(), 3, None, "truncated"),
    "binary": ("orders_bad.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 200, 3, 0, "binary"),
    "missing column": ("orders_bad.csv", b"id,state\n" + b"7000,created\n" * 3, 3, 0, "placed is missing"),
    "garbage": (
        "orders_bad.csv", (HEADER + lines(1000, 5000)).encode() + garbage(10_000) + lines(6000, 5000).encode(), 3, 10_000, "records cannot be parsed",
    ),
    "long line": (
        "orders_bad.csv", (HEADER + lines(1000, 50)).encode() + b"x" * 100_000_000 + b"\n" + lines(2000, 50).encode(), 0, 100, "line_too_long",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[] if c in ("garbage", "truncated gzip") else pytest.mark.long) for c in CASES]
)
def test_bad_input_is_named_and_takes_no_good_row_down(mine: Shop, call: Call, case: str) -> None:
    name, content, code, good, says = CASES[case]
    (mine.data / "raw" / "2024-01-02" / name).write_bytes(content)
    done = call(mine, "build", "--select", ORDERS)
    assert done.returncode == code, done.stdout + done.stderr
    shown = done.stdout.replace("\n", " ")
    assert name in shown
    assert says in shown
    ((loaded,),) = mine.query("select count(*) from silver.orders")
    if good is None:
        assert 100 + 10_000 < loaded < 100 + 20_000
    else:
        assert loaded == 100 + good
    if case in ("garbage", "long line", "truncated gzip", "binary"):
        ((kept,),) = mine.query("select count(*) from bronze.rejects")
        assert kept >= (9_900 if case == "garbage" else 1)
    if case == "missing column":
        assert mine.query("select count(*), min(reason_code) from silver.rejects") == [(3, "missing_required")]


def test_a_rejected_row_is_3_while_the_mapping_is_checked_and_0_in_a_build_until_its_load_is_set_aside(
    mine: Shop, call: Call
) -> None:
    """README says so; a file that cannot be used is 3 in both (builds: see above)."""
    rejected = mine.data / "raw" / "2024-01-02" / "orders_more.csv"
    for count, built, says in ((1, 0, "1 rows stand in silver.rejects"), (200, 3, "Input that could not be used")):
        rejected.write_text(HEADER + lines(1000, count).replace("created", "lost"))
        assert call(mine, "check-source", mine.source).returncode == 3
        done = call(mine, "build", "--select", ORDERS)
        assert done.returncode == built, done.stdout
        assert says in done.stdout
        why = "the load is set aside: 200 of its 300 rows were rejected, more than the"
        assert (why in " ".join(done.stdout.split())) == (count == 200)
    rejected.write_bytes(b"")
    assert call(mine, "check-source", mine.source).returncode == 3


def test_files_that_check_source_did_not_look_at_are_told(mine: Shop, call: Call) -> None:
    drops = mine.data / "raw"
    (Path(mine.source) / "source.yml").write_text(SOURCE.replace("tables:", "tabels:"))
    done = call(mine, "check-source", mine.source, "--sample", str(drops / "2024-01-02"))
    said = f"the files in {drops / '2024-01-02'} were not looked at: source.yml has to be readable first"
    assert (done.returncode, said in " ".join(done.stdout.split())) == (2, True), done.stdout
    only = "only definitions were looked at: --sample DIR tries them on files"
    (Path(mine.source) / "source.yml").write_text(SOURCE)
    assert only not in call(mine, "check-source", mine.source).stdout
    shutil.rmtree(drops)
    done = call(mine, "check-source", mine.source)
    assert (done.returncode, only in " ".join(done.stdout.split())) == (0, True), done.stdout
    assert "every row" not in done.stdout


def test_putting_the_file_right_clears_the_finding(mine: Shop, call: Call) -> None:
    bad = mine.data / "raw" / "2024-01-02" / "orders_bad.csv"
    bad.write_bytes(b"")
    assert call(mine, "build", "--select", ORDERS).returncode == 3
    bad.write_text(HEADER + lines(1000, 5))
    assert call(mine, "build", "--select", ORDERS).returncode == 0
    assert mine.query("select count(*) from silver.orders") == [(105,)]


@pytest.mark.parametrize("installed", [True, False])
def test_a_mistake_in_a_mapping_ends_with_usage_and_file_and_line(mine: Shop, installed: bool) -> None:
    """By the command that users call, and by the fork of it that other tests call."""
    mine.installed = installed
    mapping = Path(mine.source) / "orders.orders.sql"
    mapping.write_text(MAPPING.replace("as_timestamp(placed)", "cast(placed as timestamp)"))
    done = mine.run("build")
    assert done.returncode == 2
    assert "orders.orders.sql:4" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


def test_a_day_that_is_asked_for_is_loaded_again_whatever_it_looks_like(mine: Shop) -> None:
    """README: `--partitions` loads these days again. Here a file has other bytes and the size and time of before."""
    settings = read_settings(source=mine.source, data_dir=mine.data, dagster_home=mine.folder / "dagster_home")
    file, day = mine.data / "raw" / "2024-01-02" / "orders_good.csv", date(2024, 1, 2)
    before = file.stat()
    assert not run_build(settings, ORDERS).failed
    file.write_text(file.read_text().replace("created", "shipped"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert not run_build(settings, ORDERS).failed
    assert mine.query("select distinct status from silver.orders") == [("created",)]
    assert not run_build(settings, ORDERS, days=(day, day)).failed
    assert mine.query("select distinct status from silver.orders") == [("shipped",)]
    # And again though nothing at all has changed.
    loaded = mine.query("select loaded_at from bronze.files")
    assert not run_build(settings, ORDERS, days=(day, day)).failed
    assert mine.query("select loaded_at from bronze.files") > loaded


def test_a_build_warns_of_days_and_months_that_changed_places_until_they_are_put_right(mine: Shop) -> None:
    settings = read_settings(source=mine.source, data_dir=mine.data, dagster_home=mine.folder / "dagster_home")
    days = [date(2023, 2, 10) + timedelta(days=n) for n in range(200)]
    swapped = [day.replace(month=day.day, day=day.month) if day.day <= 12 else day for day in days]
    file = mine.data / "raw" / "2024-01-02" / "orders_good.csv"
    for delivered, warned in ((swapped, 1), (days, 0)):
        file.write_text(HEADER + "".join(f"{n},{day} 10:00:00,created\n" for n, day in enumerate(delivered)))
        built = run_build(settings, ORDERS)
        assert not built.failed
        assert mine.query("select count(*) from silver.orders") == [(200,)]
        said = [what for table, check, what in built.warnings if (table, check) == ("silver.orders", "day_and_month")]
        assert len(said) == warned
        if warned:
            assert said[0].startswith("ordered_at of orders: 200 days from 2023-01-03 to 2023-12-08 leave")
            assert said[0].endswith("from 2023-02-10 to 2023-08-28 and leave out 0")


def test_what_waits_or_belongs_to_no_table_is_named_while_the_other_drops_are_due(
    mine: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    settings = read_settings(source=mine.source, data_dir=mine.data, dagster_home=mine.folder / "dagster_home")
    today = datetime.now(ZoneInfo("Europe/Berlin")).date()
    future = today + timedelta(days=3)
    (mine.data / "raw" / str(future)).mkdir()
    (mine.data / "raw" / str(future) / "orders.csv").write_text(HEADER + lines(500, 5))
    (mine.data / "raw" / "2024-01-02" / "more orders.xlsx").write_bytes(b"PK")
    assert pending_ranges(read_project(settings)) == [(date(2024, 1, 2), date(2024, 1, 2))]
    assert f"the drop of {future} lies after today ({today}" in caplog.text
    assert "rename the folder" in caplog.text
    assert "2024-01-02/more orders.xlsx" in caplog.text
    assert "a workbook's with its `sheet`" in caplog.text
    shutil.rmtree(mine.data / "raw" / "2024-01-02")
    assert pending_ranges(read_project(settings)) == []  # nothing to do, and no reason to stop


def test_building_without_drops_says_what_to_do(tmp_path: Path, call: Call) -> None:
    done = call(Shop(tmp_path), "build")
    assert done.returncode == 2
    assert "ecommerce generate" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("build", "--select", "key:"), "--select"),
        (("land", "nowhere", "--source", "olist"), "nowhere"),
        (("land", ".", "--source", "ebay"), "there is no source 'ebay'"),
        (("land", ".", "--source", "olist", "--date", "yesterday"), "is not a date"),
        (("sql", "select 1"), "nothing is published yet"),
        (("predict", "segments", "--input", "x.csv"), "no model is trained yet"),
        (("publish",), "there is no warehouse yet"),
    ],
)
def test_a_wrong_call_is_answered_with_what_and_how_to_fix(
    tmp_path: Path, call: Call, arguments: tuple[str, ...], says: str
) -> None:
    shop = Shop(tmp_path)
    if arguments[0] == "build":
        (shop.data / "raw").mkdir(parents=True)
    done = call(shop, *arguments)
    assert done.returncode == 2
    assert says in done.stderr.replace("\n", " ").replace("  ", " ")
    assert "Traceback" not in done.stderr
