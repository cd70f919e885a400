"""A table that reads another one if it is there is built without it, too, and reads it as empty."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.warehouse.sql_model import parse_model, parse_models
from ecommerce_platform_tests.models.test_row_fixtures import Claim, build

CATALOG = read_catalog()
TABLE, OPTIONAL = "gold.insights", ("gold.campaign_performance",)
ALL = dict.fromkeys(CATALOG.entities, True)
WITHOUT = ALL | {"inventory_snapshots": False, "campaigns": False}


def test_with_all_there_the_select_is_the_files() -> None:
    model = parse_models(CATALOG, ALL)[TABLE]
    assert model.table.sql == CATALOG.tables[TABLE].sql
    assert set(OPTIONAL) <= set(model.reads)


def test_without_them_the_select_has_no_rows_in_their_place() -> None:
    models = parse_models(CATALOG, WITHOUT)
    assert not set(OPTIONAL) & set(models)
    model, whole = models[TABLE], parse_models(CATALOG, ALL)[TABLE]
    assert set(model.reads) == set(whole.reads) - set(OPTIONAL)
    assert model.code_version != whole.code_version
    given = {"gold.kpi_summary": [{"aov": 10}]}
    campaigns = [{"campaign_id": "c", "incremental_orders": 90, "incremental_orders_high": 95, "credited_orders": 1}]
    con, _ = build(Claim(TABLE, "", given | {"gold.campaign_performance": campaigns}, []))
    assert con.execute(f"select topic from ({whole.table.sql}) as found").fetchall() == [("campaigns",)]
    for table in OPTIONAL:
        con.execute(f"drop table {table}")
    assert con.execute(f"select topic from ({model.table.sql}) as found").fetchall() == []


def test_what_is_not_read_is_not_to_be_named() -> None:
    table = CATALOG.tables[TABLE]
    contract = table.contract.model_copy(update={"reads_if_there": ("gold.attribution",)})
    with pytest.raises(DefinitionError, match=r"reads_if_there names gold\.attribution"):
        parse_model(replace(table, contract=contract), CATALOG.tables)
