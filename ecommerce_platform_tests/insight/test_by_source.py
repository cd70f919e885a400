"""The page of models and decisions by source has a place for each, and is what the shops' tables say today."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.cli.documents import SHOPS, by_source
from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.decisions.needs import DATA
from ecommerce_platform.insight.by_source import by_source_page
from ecommerce_platform.ml.models import all_models
from ecommerce_platform_tests.conftest import ROOT

PAGE = ROOT / "docs" / "by-source.md"


def rows(page: str) -> list[list[str]]:
    """The cells of every row of the page's tables."""
    return [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]


@pytest.mark.long
def test_the_committed_page_is_that_of_the_shops(tmp_path: Path, test_data: Path) -> None:
    by_source(test_data, tmp_path)
    made = (tmp_path / PAGE.name).read_text(encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made, "run `ecommerce by-source FOLDER` to renew docs/by-source.md"


def test_the_committed_page_has_every_model_and_decision_for_every_shop() -> None:
    cells = rows(PAGE.read_text(encoding="utf-8"))
    shown = {(row[0], row[1]) for row in cells}
    models = all_models(read_catalog())
    assert {(f"`{model}`", shop) for model in models for shop in SHOPS} <= shown
    decided = {row[0]: row[1:] for row in cells if row[0].startswith("[`")}
    assert list(decided) == [f"[`{name}`](#{name})" for name in DATA]
    assert all(len(said) == len(SHOPS) for said in decided.values())
    assert {word for said in decided.values() for word in said} <= {"made", "abstained", "refused"}


@pytest.fixture
def shop() -> duckdb.DuckDBPyConnection:
    catalog = read_catalog()
    con = duckdb.connect()
    con.execute("create schema gold; create schema ml")
    for table in ("ml.model_summary", "ml.decisions"):
        con.execute(create_table_sql(catalog.contract(table)))
    con.execute("create table gold.fct_orders as select range as order_id from range(1234)")
    con.execute(
        "insert into ml.decisions by name select 'prices' as decision, 'made' as status, 'It pays' as reason, 12.3456 as "
        "expected_value, 1.0 as value_low, 2000.4 as value_high, 'EUR a week' as value_unit"
    )
    return con


def judge(con: duckdb.DuckDBPyConnection, metric: str, decides: bool, value: float | None) -> None:
    con.execute(
        "insert into ml.model_summary by name select 'churn' as model, ? as metric, '2024' as fold, 'forest' as published_as, "
        "'auc is better' as verdict, ? as value, 'recency' as baseline, 0.5 as baseline_value, 0.0123456 as interval_low, "
        "? as decides",
        [metric, value, decides],
    )


def test_what_decides_stands_beside_its_baseline_and_other_metrics_do_not(shop: duckdb.DuckDBPyConnection) -> None:
    judge(shop, "auc", True, 0.71234)
    judge(shop, "brier", False, 0.2)
    page = by_source_page({"mine": shop}, {"mine": "My shop"}, {"churn": ["gold.fct_orders"]}, ["prices"])
    assert "- `mine`: My shop, 1,234 orders\n" in page
    assert "| `churn` | mine | `forest` | auc | 0.712 | `recency` | 0.5 | 0.0123 |  |" in page
    assert "brier" not in page
    assert "- `mine`: **made**, worth 12.3 (1 to 2,000) EUR a week. It pays" in page


def test_why_a_model_was_not_judged_or_not_trained_is_said(shop: duckdb.DuckDBPyConnection) -> None:
    judge(shop, "", False, None)
    models = {"churn": ["gold.fct_orders"], "baskets": ["gold.fct_orders", "gold.dim_product"]}
    page = by_source_page({"mine": shop}, {"mine": "My shop"}, models, ["prices"])
    assert "| `churn` | mine | `forest` | not judged: auc is better |" in page
    assert "| `baskets` | mine | none | not trained: the source has no `gold.dim_product` |" in page
