"""What a first load's figures say, as the check of a build: said once, in figures, and never in the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.quality.plausibility.load_checks import declared_checks, is_new, load_checks
from ecommerce_platform.scaffold.check import check_source
from ecommerce_platform.warehouse.sql_model import parse_models
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.quality.plausibility.shops import Model, good, tidy, write
from ecommerce_platform_tests.quality.plausibility.test_planted import TODAY, lines_missing

TABLE = "gold.fct_orders"


def _landed(folder: Path, model: Model) -> tuple[Driver, Path]:
    source, export = write(folder, tidy, model)
    (folder / "data" / "raw").mkdir(parents=True)
    shutil.copytree(export, folder / "data" / "raw" / TODAY.isoformat())
    return Driver.of(str(source), folder / "data"), source


def test_a_first_load_says_its_figures_and_so_does_one_of_changed_mappings_but_no_other(tmp_path: Path) -> None:
    model = good()
    hit = lines_missing(model)
    driver, source = _landed(tmp_path, model)
    catalog = driver.project.catalog
    fct = parse_models(catalog, dict.fromkeys(catalog.entities, True))[TABLE]
    assert [check.name for check in declared_checks(fct.contract)] == ["figures_are_plausible"]
    with driver.connect() as con:
        assert is_new(con, fct)
    driver.build(of=[TABLE])
    with driver.connect() as con:
        assert not is_new(con, fct)
        (found,) = load_checks(con, driver.project.compiled, "EUR", "Europe/Berlin")
        assert con.execute(
            "select count(*) from duckdb_tables() where temporary and starts_with(table_name, '_')"
        ).fetchall() == [(0,)]
    assert not found.passed
    assert found.severity == "warn"
    assert any("60 orders compared, 10 off" in said and "order_items.lines.sql" in said for said in found.problems)
    assert found.numbers == {"doubts": len(found.problems), "orders_compared": 60, "orders_off": 10}
    assert len(hit) == 10
    mapping = source / "order_items.lines.sql"
    mapping.write_text(mapping.read_text().replace("as_decimal(price)", "as_decimal(price) * 2"))
    changed = Driver.of(str(source), tmp_path / "data")
    changed.build(of=["gold.fct_order_items"])
    with changed.connect() as con:
        assert is_new(con, fct)


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
