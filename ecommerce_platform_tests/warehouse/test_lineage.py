"""Column lineage of every SELECT, held against sqlglot's own (slower) answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlglot import exp
from sqlglot.lineage import lineage

from ecommerce_platform.contracts.catalog import Table, read_catalog
from ecommerce_platform.contracts.source import find_source, read_source
from ecommerce_platform.silver.lineage import Lineage
from ecommerce_platform.silver.mapping import compile_source
from ecommerce_platform.warehouse.sql_model import SqlModel, column_lineage, parse_model

CATALOG = read_catalog()
MODELS = sorted(name for name, table in CATALOG.tables.items() if table.sql)
SCHEMA: dict[str, dict[str, dict[str, str]]] = {}
for _name, _table in CATALOG.tables.items():
    _layer, _short = _name.split(".")
    SCHEMA.setdefault(_layer, {})[_short] = {c: k.type for c, k in _table.contract.all_columns.items()}


def by_sqlglot(sql: str, column: str) -> set[tuple[str, str]]:
    found = set()
    for node in lineage(column, sql, schema=SCHEMA, dialect="duckdb").walk():
        if not node.downstream and isinstance(node.source, exp.Table):
            found.add((f"{node.source.db}.{node.source.name}", node.name.split(".")[-1].strip('"')))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_lineage_is_what_sqlglot_finds(name: str) -> None:
    model = parse_model(CATALOG.tables[name], CATALOG.tables)
    ours = column_lineage(model, CATALOG.tables)
    assert list(ours) == list(model.contract.columns)
    for column, sources in ours.items():
        expected = {s for s in by_sqlglot(CATALOG.tables[name].sql or "", column) if s[1] != "*"}
        assert expected <= set(sources), column
        assert all(s[1] in CATALOG.tables[s[0]].contract.all_columns for s in sources), column


def test_a_column_is_followed_through_steps_joins_and_unions(tmp_path) -> None:
    from ecommerce_platform_tests.contracts.test_definition_errors import GOOD_YML, models

    sql = """
with a as (select order_id, quantity * unit_price as worth from silver.orders_items_x),
b as (select order_id, worth from a union all select order_id, 0 as worth from silver.orders)
select o.order_id, cast(sum(b.worth) as decimal(18, 4)) as amount
from silver.orders as o left join b on b.order_id = o.order_id group by o.order_id
""".replace("silver.orders_items_x", "(select order_id, 1 as quantity, 2 as unit_price from silver.orders) as i")
    catalog = models(tmp_path, yml=GOOD_YML, sql=sql)
    model = parse_model(catalog.tables["gold.worth"], catalog.tables)
    assert column_lineage(model, catalog.tables) == {"order_id": (("silver.orders", "order_id"),), "amount": ()}
    assert model.reads == ("silver.orders",)


def lineage_of(sql: str | None = None) -> Lineage:
    source = read_source(find_source("olist"), CATALOG.entities)
    compiled = compile_source(source, {e: CATALOG.contract(f"silver.{e}") for e in CATALOG.entities})
    table = CATALOG.tables["gold.rfm"]
    model = parse_model(replace(table, sql=sql or table.sql), CATALOG.tables)
    return Lineage(CATALOG, source, compiled, {"gold.rfm": model})


def test_lineage_is_worked_out_once_per_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(model: SqlModel, known: Mapping[str, Table]) -> Any:
        asked.append(model.contract.table)
        return column_lineage(model, known)

    monkeypatch.setattr("ecommerce_platform.silver.lineage.column_lineage", counted)
    monkeypatch.setattr("ecommerce_platform.contracts.remembered._known", {})
    first = lineage_of().of("gold.rfm")
    assert first["monetary"]
    assert lineage_of().of("gold.rfm") == first
    assert asked == ["gold.rfm"]

    edited = (CATALOG.tables["gold.rfm"].sql or "") + "-- another text"
    assert lineage_of(edited).of("gold.rfm") == first
    assert asked == ["gold.rfm"] * 2


def test_lineage_leads_back_to_raw_columns() -> None:
    lineage = lineage_of()
    assert lineage.of("gold.rfm")["person_id"]
    assert lineage.of("silver.customers")["city"] == [("bronze.olist__customers", "customer_city")]
    assert lineage.of("silver.customers_history") == lineage.of("silver.customers")
    assert lineage.of("silver.shop") == {}
