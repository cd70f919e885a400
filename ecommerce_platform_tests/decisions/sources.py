"""Which decision each built-in source has the data for; `python -m ecommerce_platform_tests.decisions.sources` writes it into the docs."""

from __future__ import annotations

from pathlib import Path

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.source import builtin_sources, read_source
from ecommerce_platform.decisions.needs import table_of_sources
from ecommerce_platform.silver.mapping import compile_source

PAGE = Path(__file__).parents[2] / "docs" / "recommendations.md"
_BEGIN, _END = "<!-- sources: written by ecommerce_platform_tests.decisions.sources -->", "<!-- end of sources -->"


def mapped_columns() -> dict[str, dict[str, set[str]]]:
    """Source → entity → columns that a mapping fills with something."""
    catalog = read_catalog()
    contracts = {entity: catalog.contract(f"silver.{entity}") for entity in catalog.entities}
    found = {}
    for name, folder in builtin_sources().items():
        compiled = compile_source(read_source(folder, catalog.entities), contracts)
        found[name] = {
            entity: {c for m in mappings for c, sql in m.expressions.items() if sql.strip().lower() != "null"}
            for entity, mappings in compiled.items()
        }
    return found


def written(page: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table_of_sources(mapped_columns())}\n{_END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
