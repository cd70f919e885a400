"""Bad files as users deliver them: a clear message each, good rows loaded, bad ones kept, exit codes that tell."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from ecommerce_platform_tests.conftest import Shop

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


def lines(first: int, count: int) -> str:
    return "".join(f"{n},2024-01-01 10:00:00,created\n" for n in range(first, first + count))


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
        "orders_bad.csv", (HEADER + lines(1000, 5000)).encode() + garbage(10_000) + lines(6000, 5000).encode(), 3, 10_000, "",
    ),
    "long line": (
        "orders_bad.csv", (HEADER + lines(1000, 50)).encode() + b"x" * 100_000_000 + b"\n" + lines(2000, 50).encode(), 0, 100, "line_too_long",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[] if c in ("garbage", "truncated gzip") else pytest.mark.long) for c in CASES]
)
def test_bad_input_is_named_and_takes_no_good_row_down(mine: Shop, case: str) -> None:
    name, content, code, good, says = CASES[case]
    (mine.data / "raw" / "2024-01-02" / name).write_bytes(content)
    done = mine.run("build", "--select", "group:bronze or group:silver")
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


def test_putting_the_file_right_clears_the_finding(mine: Shop) -> None:
    bad = mine.data / "raw" / "2024-01-02" / "orders_bad.csv"
    bad.write_bytes(b"")
    assert mine.run("build", "--select", "group:bronze or group:silver").returncode == 3
    bad.write_text(HEADER + lines(1000, 5))
    mine.ok("build", "--select", "group:bronze or group:silver")
    assert mine.query("select count(*) from silver.orders") == [(105,)]


def test_a_mistake_in_a_mapping_ends_with_usage_and_file_and_line(mine: Shop) -> None:
    mapping = Path(mine.source) / "orders.orders.sql"
    mapping.write_text(MAPPING.replace("as_timestamp(placed)", "cast(placed as timestamp)"))
    done = mine.run("build")
    assert done.returncode == 2
    assert "orders.orders.sql:4" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


def test_building_without_drops_says_what_to_do(tmp_path: Path) -> None:
    done = Shop(tmp_path).run("build")
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
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    shop = Shop(tmp_path)
    if arguments[0] == "build":
        (shop.data / "raw").mkdir(parents=True)
    done = shop.run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr.replace("\n", " ").replace("  ", " ")
    assert "Traceback" not in done.stderr
