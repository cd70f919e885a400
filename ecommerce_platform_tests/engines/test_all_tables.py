"""Every gold SELECT on Spark, on whole shops; the gold layer of a build there.

`ECOMMERCE_TEST_RECORD_SPARK=1` writes what was found into docs/spark.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.engines.spark import SparkEngine, missing_for_spark, session
from ecommerce_platform.engines.store import Store
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.settings import Settings
from ecommerce_platform_tests.compare import differences
from ecommerce_platform_tests.conftest import ROOT, Shop
from ecommerce_platform_tests.engines.parity import EQUAL, NEARLY, SMALL, by_spark, jvms
from ecommerce_platform_tests.leftout import leave_out

CATALOG = read_catalog()
CONTRACTS = {name: table.contract for name, table in CATALOG.tables.items()}
GOLD = [name for name, table in CATALOG.tables.items() if table.contract.layer == "gold" and table.sql]
PAGE = ROOT / "docs" / "spark.md"
SHOPS = ("generated shop", "Olist")
LEFT_OUT, NOT_TRIED = "left out by the shop", "not tried"
_HEAD = "| table | generated shop | Olist |\n| --- | --- | --- |\n"
_ROW = re.compile(r"^\| `(gold\.\w+)` \| (.*?) \| (.*?) \|$", re.MULTILINE)


@pytest.fixture(autouse=True)
def _has_spark() -> Iterator[None]:
    if missing := missing_for_spark():
        leave_out(*missing)
    yield
    assert jvms() == 0


def documented(shop: str) -> dict[str, str]:
    place = SHOPS.index(shop)
    return {row[0]: row[1 + place] for row in _ROW.findall(PAGE.read_text(encoding="utf-8"))}


def record(shop: str, found: dict[str, str]) -> None:
    """Writes one shop's column of the page's table."""
    columns = {name: documented(name) for name in SHOPS} | {shop: found}
    lines = [f"| `{t}` | {' | '.join(columns[s].get(t, NOT_TRIED) for s in SHOPS)} |" for t in sorted(GOLD)]
    text = PAGE.read_text(encoding="utf-8")
    assert _HEAD in text
    PAGE.write_text(re.sub(rf"({re.escape(_HEAD)})(?:\|.*\n)*", rf"\1{chr(10).join(lines)}\n", text), encoding="utf-8")


def parity(shop: Shop, folder: Path) -> dict[str, str]:
    """How each gold SELECT compares: made by Spark of the warehouse's tables, by the shop's own models."""
    found = {}
    settings = Settings(source=shop.source, data_dir=shop.data, dagster_home=shop.folder / "dagster_home")
    models = read_project(settings).models
    with duckdb.connect(str(shop.data / "warehouse.duckdb")) as con, session("local[2]", "1500m", SMALL) as spark:
        engine = SparkEngine(spark, Store(folder), CONTRACTS)
        for name in GOLD:
            contract = CONTRACTS[name]
            if name not in models:
                found[name] = LEFT_OUT
            elif contract.not_on_spark:
                found[name] = f"not on Spark: {contract.not_on_spark}"
            else:
                found[name] = by_spark(con, engine, models[name], CONTRACTS)
    return found


def hold(shop: str, found: dict[str, str]) -> None:
    if os.environ.get("ECOMMERCE_TEST_RECORD_SPARK"):
        record(shop, found)
    said = documented(shop)
    assert {
        name: how for name, how in found.items() if how not in (EQUAL, NEARLY, LEFT_OUT) and how != said[name]
    } == {}
    assert [name for name, how in found.items() if how == LEFT_OUT and said.get(name) in (EQUAL, NEARLY)] == []


def test_the_page_lists_gold_selects_and_how_they_compare() -> None:
    assert documented(SHOPS[0]).keys() <= set(GOLD)
    ways = {how for shop in SHOPS for how in documented(shop).values()}
    assert {how for how in ways if not how.startswith("not on Spark: ")} <= {EQUAL, NEARLY, LEFT_OUT, NOT_TRIED}


def built(shop: Shop) -> Shop:
    shop.ok("generate", "--orders", "2000", "--days", "300", "--dirty", "0.02")
    shop.ok("build")
    return shop


@pytest.mark.long
def test_every_gold_select_of_the_generated_shop_is_equal(shop: Shop, tmp_path: Path) -> None:
    hold("generated shop", parity(built(shop), tmp_path / "spark"))


@pytest.mark.long
def test_every_gold_select_of_olist_is_equal(tmp_path: Path, test_data: Path) -> None:
    shop = Shop(tmp_path, "olist")
    shop.ok("land", str(test_data / "olist"))
    shop.ok("build")
    hold("Olist", parity(shop, tmp_path / "spark"))


ON_SPARK = {"ECOMMERCE_ENGINE": "spark", "ECOMMERCE_SPARK_MASTER": "local[2]", "ECOMMERCE_SPARK_MEMORY": "1000m"}


def twins(tmp_path: Path) -> tuple[Shop, Shop]:
    """Two shops with the same drops; the first is built by DuckDB."""
    import shutil

    ours, theirs = Shop(tmp_path / "duckdb"), Shop(tmp_path / "spark")
    for shop in (ours, theirs):
        shop.folder.mkdir()
    built(ours)
    shutil.copytree(ours.data / "raw", theirs.data / "raw")
    return ours, theirs


def differ(ours: Shop, theirs: Shop) -> list[str]:
    with duckdb.connect(str(ours.data / "warehouse.duckdb")) as con:
        return differences(con, theirs.data / "warehouse.duckdb")


@pytest.mark.long
@pytest.mark.servers
def test_a_build_with_spark_gives_the_same_tables(tmp_path: Path) -> None:
    ours, theirs = twins(tmp_path)
    said = theirs.ok("build", **ON_SPARK)
    assert "ran on Spark (local[2])" in said
    assert differ(ours, theirs) == []
    store = Store(theirs.data / "spark")
    assert store.current("gold.kpi_daily").rows == theirs.query("select count(*) from gold.kpi_daily")[0][0]
    assert store.current("gold.attribution") is None
    versions = {name: store.versions(name) for name in GOLD}
    theirs.ok("build", **ON_SPARK)
    assert {name: store.versions(name) for name in GOLD} == versions  # nothing new: nothing is made again
