"""What a first load's figures say, as the check of a build: said once, in figures, and never in the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.quality.plausibility.load_checks import load_checks
from ecommerce_platform.scaffold.check import check_source
from ecommerce_platform.warehouse.incremental import refresh_table
from ecommerce_platform.warehouse.load_checks import LoadCheck
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.quality.plausibility.shops import Model, good, tidy, write
from ecommerce_platform_tests.quality.plausibility.test_planted import TODAY, lines_missing


def _landed(folder: Path, model: Model) -> tuple[Driver, Path]:
    source, export = write(folder, tidy, model)
    (folder / "data" / "raw").mkdir(parents=True)
    shutil.copytree(export, folder / "data" / "raw" / TODAY.isoformat())
    return Driver.of(str(source), folder / "data"), source


def _said(driver: Driver, table: str = "gold.fct_orders") -> list[LoadCheck]:
    """What is said after a build of the table, as its asset asks for it."""
    driver.build(of=driver.needs[table])
    project = driver.project
    with driver.connect() as con:
        written = refresh_table(
            con, project.models[table], project.incrementals.get(table), log=project.logs.get(table)
        )
        found = load_checks(con, project.contracts[table], written, project.compiled, project.source.file)
        left = con.execute("select table_name from duckdb_tables() where temporary and starts_with(table_name, '_')")
        assert left.fetchall() == []
    return found


def test_a_first_load_says_its_figures_and_so_does_one_of_changed_mappings_but_no_other(tmp_path: Path) -> None:
    model = good()
    hit = lines_missing(model)
    driver, source = _landed(tmp_path, model)
    (found,) = _said(driver)
    assert not found.passed
    assert found.severity == "warn"
    assert any("60 orders compared, 10 off" in said and "order_items.lines.sql" in said for said in found.problems)
    assert found.numbers == {"doubts": len(found.problems), "orders_compared": 60, "orders_off": 10}
    assert len(hit) == 10
    assert _said(driver) == []
    mapping = source / "order_items.lines.sql"
    mapping.write_text(mapping.read_text().replace("as_decimal(price)", "as_decimal(price) * 2"))
    (again,) = _said(Driver.of(str(source), tmp_path / "data"))
    assert again.numbers["orders_off"] == 60


def test_a_table_without_the_check_is_not_looked_at(tmp_path: Path) -> None:
    driver, _ = _landed(tmp_path, good())
    assert _said(driver, "gold.fct_order_items") == []


@pytest.mark.parametrize("good_one", [True, False])
def test_lines_fit_a_total_whose_shipping_stands_on_the_order_alone(tmp_path: Path, good_one: bool) -> None:
    model = good()
    for order in model.orders:
        order["postage"] = sum(line["shipping"] for line in model.of(order))
        for line in model.of(order):
            line["shipping"] = ""
    if not good_one:
        lines_missing(model)

    def of_orders(model: Model) -> tuple[dict[str, str], dict[str, str]]:
        files, sql = tidy(model)
        head, *rows = files["orders"].splitlines()
        files["orders"] = "\n".join(
            [f"{head};shipping_costs", *(f"{row};{o['postage']}" for row, o in zip(rows, model.orders, strict=True))]
        )
        sql["order_items__lines"] = sql["order_items__lines"].replace(
            ",\n            as_decimal(postage) as shipping_amount", ""
        )
        return files, sql

    source, export = write(tmp_path, of_orders, model)
    report = check_source(source, read_catalog(), export, TODAY, threads=1)
    assert report.of("definition") == []
    assert "lines - discount + orders.shipping_costs = orders.grand_total" in [
        c.what for c in report.plausibility.compared
    ]
    found = [doubt for doubt in report.plausibility.doubts if doubt.name == "lines_against_total"]
    assert [doubt.count for doubt in found] == ([] if good_one else [10])
