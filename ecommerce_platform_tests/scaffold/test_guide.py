"""docs/your-own-shop.md, followed to the letter: its commands, edits and figures, on the export it is about."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.source import read_source
from ecommerce_platform.silver.conversions import as_sql, on_the_clock_of, parsed
from ecommerce_platform.warehouse.connection import MACROS
from ecommerce_platform_tests.conftest import ROOT, Shop
from ecommerce_platform_tests.examples.herbolario_export import Truth, write_export
from ecommerce_platform_tests.scaffold.guide import Guide, without_comments

GUIDE = Guide(ROOT / "docs" / "your-own-shop.md")
TIMES = Guide(ROOT / "docs" / "times.md")
EXAMPLE = ROOT / "ecommerce_platform_tests" / "examples" / "herbolario"
MOST_LINES = 62


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The folder in which all of the guide was done."""
    shop = Shop(tmp_path_factory.mktemp("guide"), "herbolario")
    bin_folder = Path(sys.executable).parent
    environment = {
        **shop.environment,
        "ECOMMERCE_DATA_DIR": str(shop.folder / "data" / "herbolario"),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{bin_folder}:{shop.environment['PATH']}",
    }
    del environment["ECOMMERCE_SOURCE"]
    GUIDE.follow(shop.folder, environment)
    return shop


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return write_export(tmp_path_factory.mktemp("truth"))


def query(shop: Shop, sql: str) -> list[tuple]:
    with duckdb.connect(str(shop.folder / "data" / "herbolario" / "warehouse.duckdb"), read_only=True) as con:
        return con.execute(sql).fetchall()


@pytest.mark.long
def test_the_guide_alone_makes_a_working_shop_with_the_figures_of_the_export(followed: Shop, truth: Truth) -> None:
    assert query(
        followed, "select orders, customers, units, gross_amount, discount_amount, revenue from gold.kpi_summary"
    ) == [
        (truth.orders, len(truth.customers), truth.units, truth.gross, truth.gross - truth.revenue, truth.revenue)
    ]  # fmt: skip


@pytest.mark.long
def test_every_month_category_and_payment_method_has_its_revenue(followed: Shop, truth: Truth) -> None:
    assert dict(query(followed, "select strftime(month, '%Y-%m'), revenue from gold.kpi_monthly")) == dict(
        truth.revenue_by_month
    )
    for dimension, expected in (
        ("category", truth.revenue_by_category),
        ("payment_method", truth.revenue_by_method),
    ):
        found = query(
            followed,
            f"select value, sum(revenue) from gold.kpi_by_dimension where dimension = '{dimension}' "
            "group by value having sum(revenue) > 0",
        )
        assert dict(found) == dict(expected), dimension


@pytest.mark.long
def test_every_line_of_the_export_is_used_and_only_headers_and_totals_are_rejected(
    followed: Shop, truth: Truth
) -> None:
    assert query(
        followed, "select rows_landed, rows_used, rows_rejected from silver.row_accounting where _raw_table = 'pedidos'"
    ) == [(truth.lines + truth.others, truth.lines, truth.others)]


@pytest.mark.long
def test_what_the_user_has_in_the_end_is_the_finished_example_in_at_most_62_lines(followed: Shop) -> None:
    mine, example = without_comments(followed.folder / "herbolario"), without_comments(EXAMPLE)
    assert mine == example
    lines = sum(map(len, mine.values()))
    assert lines <= MOST_LINES
    (said,) = re.findall(
        r"it is (\d+) lines of YAML and SQL", GUIDE.path.read_text(encoding="utf-8").replace("\n", " ")
    )
    assert int(said) == lines


@pytest.mark.long
def test_the_lines_that_the_guide_shows_stand_in_the_export(followed: Shop) -> None:
    export = (followed.folder / "export" / "pedidos_2024-01.csv").read_bytes().decode("cp1252")
    for content in GUIDE.of("text"):
        for line in content.splitlines():
            assert line in export
    drafted = (followed.folder / "herbolario" / "orders.pedidos.sql").read_text(encoding="utf-8")
    for content in GUIDE.of("sql"):
        for line in content.splitlines():
            assert line in drafted


def test_the_source_yml_that_shows_all_fields_is_one(tmp_path: Path) -> None:
    content, *_ = GUIDE.of("yaml")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "source.yml").write_text(content)
    entities = ("order_items", "products", "payments")
    for entity in entities:
        (tmp_path / "mine" / f"{entity}.orders.sql").write_text("select")
    assert read_source(tmp_path / "mine", entities).file.tables["orders"].delimiter == ";"


RECIPES = [row for guide in (GUIDE, TIMES) for row in guide.tables() if len(row) == 3 and "x" in row[1]]


@pytest.mark.parametrize("row", RECIPES, ids=[row[0] for row in RECIPES])
def test_a_recipe_gives_what_it_says(row: list[str]) -> None:
    value, recipe = (re.match(r"`([^`]+)`", cell)[1] for cell in row[:2])  # type: ignore[index]
    with duckdb.connect() as con:
        con.execute(MACROS.read_text(encoding="utf-8"))
        ((found,),) = con.execute(
            f"select {on_the_shops_clock(recipe)} from (select ?::varchar as x)", [value]
        ).fetchall()
    assert str(found) == row[2]
    assert isinstance(found, (Decimal, int, str, bool, datetime, type(None)))


def on_the_shops_clock(recipe: str) -> str:
    """A recipe as a mapping of a shop in Berlin runs it."""
    tree = parsed(recipe)
    return as_sql(tree) if on_the_clock_of("Europe/Berlin", tree) else recipe


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 10
