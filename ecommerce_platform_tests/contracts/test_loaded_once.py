"""What is in force is what was loaded: a file changed afterwards neither changes a version nor is read again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.contracts.source import read_source
from ecommerce_platform.orchestration.assembly import declare
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.settings import read_settings
from ecommerce_platform.silver.entities import code_version
from ecommerce_platform.silver.history import history_code_version
from ecommerce_platform.silver.mapping import compile_source
from ecommerce_platform.warehouse import connection
from ecommerce_platform.warehouse.sql_model import parse_models
from ecommerce_platform_tests.contracts.test_definition_errors import models
from ecommerce_platform_tests.warehouse.shop import write_source


def test_a_contract_or_select_changed_during_a_run_does_not_count_as_applied(tmp_path: Path) -> None:
    def version() -> Any:
        return parse_models(catalog, {"orders": [1]})["gold.worth"].code_version

    catalog = models(tmp_path)
    before, contract = version(), catalog.contract("gold.worth")
    contract.path.write_text(contract.text.replace("min: 0", "min: 5"))
    sql = catalog.tables["gold.worth"].sql_path
    assert sql is not None
    sql.write_text(sql.read_text() + "where order_id <> 'x'\n")
    assert version() == before
    catalog = models(tmp_path, yml=contract.path.read_text(), sql=sql.read_text())
    assert version() != before


def test_an_entity_and_its_history_have_the_version_of_what_was_loaded(tmp_path: Path) -> None:
    from ecommerce_platform.contracts.catalog import read_catalog

    catalog = read_catalog()
    folder = write_source(tmp_path)
    source = read_source(folder, catalog.entities)
    entity, history = catalog.contract("silver.products"), catalog.contract("silver.products_history")
    mappings = compile_source(source, {"products": entity})["products"]
    before = code_version(entity, mappings), history_code_version(history, entity, mappings)
    for path in folder.glob("products.*.sql"):
        path.write_text(path.read_text() + "-- changed while a run is under way\n")
    assert (code_version(entity, mappings), history_code_version(history, entity, mappings)) == before
    again = compile_source(read_source(folder, catalog.entities), {"products": entity})["products"]
    assert code_version(entity, again) != before[0]
    assert history_code_version(history, entity, again) != before[1]


def test_macros_in_force_are_those_of_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = connection.macros()
    other = tmp_path / "macros.sql"
    other.write_text("create or replace macro as_text(x) as 'changed';")
    monkeypatch.setattr(connection, "MACROS", other)
    assert connection.macros() == before


def test_every_definition_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Counter[Path] = Counter()
    read = Path.read_text

    def counted(path: Path, *arguments: Any, **more: Any) -> str:
        if path.suffix in (".sql", ".yml") and "ecommerce_platform" in path.parts:
            found[path] += 1
        return read(path, *arguments, **more)

    connection.macros()
    monkeypatch.setattr(Path, "read_text", counted)
    project = read_project(read_settings(source="synthetic", data_dir=tmp_path))
    declare(project).resolve_asset_graph()
    assert len(found) > 100
    assert found.most_common(1)[0][1] == 1, found.most_common(3)
