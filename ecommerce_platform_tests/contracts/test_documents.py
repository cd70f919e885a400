"""The generated documents are those of today's contracts."""

from __future__ import annotations

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.documents import data_dictionary, er_diagram
from ecommerce_platform_tests.conftest import ROOT


def test_the_committed_documents_are_up_to_date() -> None:
    catalog = read_catalog()
    for name, text in (("data-dictionary.md", data_dictionary(catalog)), ("er-diagram.md", er_diagram(catalog))):
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"run `ecommerce docs` to renew docs/{name}"


def test_the_dictionary_names_every_table_and_column() -> None:
    catalog = read_catalog()
    text = data_dictionary(catalog)
    for table in catalog.tables.values():
        assert f"### {table.name}\n" in text
        for column in table.contract.columns:
            assert f"| {column} |" in text


def test_every_reference_points_to_a_column_that_exists() -> None:
    catalog = read_catalog()
    for table in catalog.tables.values():
        for name, column in table.contract.columns.items():
            if column.references:
                schema, parent, target = column.references.split(".")
                assert target in catalog.contract(f"{schema}.{parent}").columns, f"{table.name}.{name}"
