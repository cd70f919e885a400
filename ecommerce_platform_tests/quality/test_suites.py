"""A suite is a file that people can read and add to; what is wrong in it is said with file and line."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.source import AnomalyRules, DriftRules, RawTable
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.quality.suites import FOLDER, Suite, read_suites
from ecommerce_platform_tests.conftest import ROOT

CATALOG = read_catalog()
GOOD = """description: Orders, as the shop's owner thinks of them.
expectations:
  - name: has_lines
    rule: Every order has at least one line.
    severity: warn
    rows: select order_id from gold.fct_orders where valid_lines = 0
  - name: is_worth_something
    rule: Nearly every order is worth at least five euros.
    severity: block
    expect: expect_column_values_to_be_between
    with: {column: revenue_amount, min_value: 5, mostly: 0.95}
"""


def read(folder: Path, text: str, table: str = "gold.fct_orders", source: Path | None = None) -> dict[str, Suite]:
    folder.mkdir(exist_ok=True)
    (folder / f"{table}.yml").write_text(text)
    return read_suites(CATALOG, CATALOG.tables, CATALOG.entities, source, folder)


def test_a_file_is_a_suite(tmp_path: Path) -> None:
    suite = read(tmp_path / "suites", GOOD)["gold.fct_orders"]
    assert [(rule.name, rule.severity) for rule in suite.rules] == [
        ("has_lines", "warn"),
        ("is_worth_something", "block"),
    ]
    assert suite.rules[1].arguments == {"column": "revenue_amount", "min_value": 5, "mostly": 0.95}
    assert suite.reads == ("gold.fct_orders",)
    assert suite.where("is_worth_something").endswith("gold.fct_orders.yml:7")


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("severity: warn", "severity: stop"), 5, "it should be 'block' or 'warn'"),
        (("    severity: warn\n", ""), 3, "severity is missing"),
        (("name: has_lines", "name: Has lines"), 3, "lower snake_case"),
        (("name: is_worth_something", "name: has_lines"), 7, "two rules named 'has_lines'"),
        (("Every order has at least one line.", "TODO"), 4, "at least 15 characters"),
        (("Every order has at least one line.", "Every order has at least one line"), 4, "with a full stop"),
        (("    rows: select", "    row: select"), 6, "there is no field"),
        (("    rows: select", "    rows: delete from gold.fct_orders; select"), 6, "`rows` is one SELECT"),
        (("from gold.fct_orders where", "from gold.orders where"), 6, "there is no table 'gold.orders'"),
        (("    rows: select order_id from gold.fct_orders where valid_lines = 0\n", ""), 3, "either `rows`"),
        (("expect: expect_column", "expect: column"), 10, "is no expectation"),
        (("to_be_between", "to_match_regex"), 10, "cannot be asked of DuckDB"),
        (("column: revenue_amount", "column: revenue"), 11, "has no column 'revenue'"),
        (("severity: block", "severity: block\n    requires: [bills]"), 10, "'bills' is not a canonical entity"),
        (("expectations:", "leave_out: [something]\nexpectations:"), 2, "has no rule 'something'"),
        (("expectations:", "expectations: ["), 3, "not valid YAML"),
    ],
)
def test_a_mistake_is_answered_with_file_and_line(
    tmp_path: Path, change: tuple[str, str], line: int, says: str
) -> None:
    assert change[0] in GOOD
    with pytest.raises(DefinitionError) as error:
        read(tmp_path / "suites", GOOD.replace(*change, 1))
    assert says in str(error.value)
    assert f"gold.fct_orders.yml:{line}" in (error.value.where or "")


def test_a_file_for_a_table_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"there is no table 'gold.orders'"):
        read(tmp_path / "suites", GOOD, table="gold.orders")


def test_a_shop_adds_rules_of_its_own_and_leaves_out_what_does_not_hold_there(tmp_path: Path) -> None:
    own = tmp_path / "myshop"
    (own / "expectations").mkdir(parents=True)
    (own / "expectations" / "gold.fct_orders.yml").write_text(
        "description: What is different in our shop.\nleave_out: [has_lines]\nexpectations:\n"
        "  - {name: is_small, rule: No order is worth more than a car., severity: warn, "
        "rows: select order_id from gold.fct_orders where revenue_amount > 30000}\n"
    )
    suite = read(tmp_path / "suites", GOOD, source=own)["gold.fct_orders"]
    assert [rule.name for rule in suite.rules] == ["is_worth_something", "is_small"]
    assert suite.description == "Orders, as the shop's owner thinks of them."
    assert suite.where("is_small") == f"{own}/expectations/gold.fct_orders.yml:4"


def test_a_rule_without_its_entity_or_its_table_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "suites"
    read(folder, GOOD.replace("severity: block", "severity: block\n    requires: [payments]"))
    without = read_suites(CATALOG, CATALOG.tables, ["orders"], folder=folder)
    assert [rule.name for rule in without["gold.fct_orders"].rules] == ["has_lines"]
    (folder / "gold.fct_orders.yml").write_text(GOOD.replace("valid_lines = 0", "not exists (select 1 from gold.rfm)"))
    without = read_suites(CATALOG, {"gold.fct_orders"}, CATALOG.entities, folder=folder)
    assert [rule.name for rule in without["gold.fct_orders"].rules] == ["is_worth_something"]
    assert read_suites(CATALOG, {"gold.rfm"}, CATALOG.entities, folder=folder) == {}


def test_another_rule_is_another_version_and_another_comment_is_not(tmp_path: Path) -> None:
    versions = [
        read(tmp_path / "suites", text)["gold.fct_orders"].version
        for text in (GOOD, GOOD + "# a remark\n", GOOD.replace("min_value: 5", "min_value: 6"))
    ]
    assert versions[0] == versions[1] != versions[2]


def test_definitions_load_without_great_expectations() -> None:
    code = (
        "import sys\n"
        "from ecommerce_platform.orchestration.assembly import build_definitions\n"
        "from ecommerce_platform.settings import read_settings\n"
        "build_definitions(read_settings(source='olist')).resolve_asset_graph()\n"
        "print([m for m in ('great_expectations', 'duckdb_engine', 'sqlalchemy.dialects.postgresql') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_the_examples_of_the_docs_are_understood(tmp_path: Path) -> None:
    rules, columns, drift, anomalies = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs" / "quality.md").read_text(), re.DOTALL
    )
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / FOLDER).mkdir()
    (shop / FOLDER / "gold.fct_order_items.yml").write_text(rules)
    suites = read_suites(CATALOG, CATALOG.tables, CATALOG.entities, shop)
    assert {"nobody_buys_a_forest", "prices_are_usual"} <= {r.name for r in suites["gold.fct_order_items"].rules}
    table = RawTable.model_validate(
        {"description": "Orders as exported.", "delivery": "delta", **yaml.safe_load(columns)["tables"]["orders"]}
    )
    assert (table.on_drift.missing, table.columns["placed"]) == ("fail", "timestamp")
    assert DriftRules.model_validate(yaml.safe_load(drift)["drift"]) == DriftRules(), "the document shows the defaults"
    known = AnomalyRules.model_validate(yaml.safe_load(anomalies)["anomalies"])
    assert known.known(date(2025, 11, 28), date(2025, 11, 28)) == "Black Friday"
