"""The generated documents are those of today's contracts."""

from __future__ import annotations

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.documents import documents, metrics_page
from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform_tests.conftest import ROOT


def test_the_committed_documents_are_up_to_date() -> None:
    found = documents(read_catalog())
    for name, text in found.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"run `ecommerce docs` to renew docs/{name}"
    pages = {f"tables/{page.name}" for page in (ROOT / "docs" / "tables").glob("*.md")}
    assert pages == {name for name in found if name.startswith("tables/")}


def test_the_dictionary_links_to_every_table_and_column() -> None:
    catalog = read_catalog()
    pages = documents(catalog)
    for table in catalog.tables.values():
        subject = "_".join(filter(None, (table.contract.layer, table.contract.subject)))
        page = pages[f"tables/{subject}.md"]
        assert f"- [{table.name}](tables/{subject}.md#{table.name.replace('.', '')})" in pages["data-dictionary.md"]
        described = page.partition(f"## {table.name}\n")[2].partition("\n## ")[0]
        for column in table.contract.columns:
            assert f"| {column} |" in described


def test_the_page_of_metrics_says_of_each_what_it_is_and_what_it_adds_up_over() -> None:
    page = metrics_page(read_metrics()).partition("## Measures")[0]
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if "|" in line}
    assert rows["revenue"].endswith("| anything | line, order, person, time |")
    assert rows["customers"].endswith("| anything | person |")
    assert rows["churn_rate"].endswith("| persons; by week, month, quarter, year | nothing |")
    assert "`revenue / nullif(orders, 0)`" in rows["aov"]
    assert rows["refund_amount"].endswith("| orders, persons | order, person, time |")


def test_every_reference_points_to_a_column_that_exists() -> None:
    catalog = read_catalog()
    for table in catalog.tables.values():
        for name, column in table.contract.columns.items():
            if column.references:
                schema, parent, target = column.references.split(".")
                assert target in catalog.contract(f"{schema}.{parent}").columns, f"{table.name}.{name}"
