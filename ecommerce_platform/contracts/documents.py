"""Documents that derive from contracts: the data dictionary and the ER diagram.

They are generated (`ecommerce docs`) and committed; a test compares them with the contracts, so that they never
tell an old story.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ecommerce_platform.contracts.catalog import Catalog, Table
from ecommerce_platform.contracts.contract import Column, Contract

_TITLES = {
    "bronze": "bronze: as delivered",
    "silver": "silver: canonical entities",
    "gold": "gold: facts, dimensions and KPIs",
    "ml": "ml: models and their results",
}


def write_documents(catalog: Catalog, folder: Path) -> list[Path]:
    """Writes `data-dictionary.md` and `er-diagram.md` below `folder`; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in (("data-dictionary.md", data_dictionary(catalog)), ("er-diagram.md", er_diagram(catalog))):
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def data_dictionary(catalog: Catalog) -> str:
    """Every table with its meaning, grain, key, columns and rules, as Markdown."""
    lines = [
        "# Data dictionary",
        "",
        "Generated from the contracts by `ecommerce docs`; do not edit. Money is DECIMAL(18,4) in the shop's currency,",
        "times are the shop's local time, rates and shares lie between 0 and 1.",
        "",
        "Besides the tables below, `bronze.<source>__<raw table>` holds each raw table as delivered: its columns as",
        "text, and `_load_date`, `_source_file`, `_source_row`, `_row_hash`.",
        "",
    ]
    for layer, title in _TITLES.items():
        tables = [t for t in catalog.tables.values() if t.contract.layer == layer]
        if not tables:
            continue
        lines += [f"## {title}", ""]
        lines += [f"- [{t.name}](#{_anchor(t.name)}): {_first_sentence(t.contract.description)}" for t in tables]
        lines.append("")
        for table in tables:
            lines += _table(table)
    return "\n".join(lines).rstrip() + "\n"


def _table(table: Table) -> list[str]:
    contract = table.contract
    lines = [
        f"### {table.name}",
        "",
        contract.description,
        "",
        f"Grain: {contract.grain}. Key: {', '.join(contract.key)}.",
    ]
    if contract.entity:
        lines.append("Filled by each source's mappings; carries provenance besides the columns below.")
    if contract.history_of:
        lines.append(
            f"One row per version of silver.{contract.history_of}; carries the provenance of its first delivery."
        )
    lines += ["", "| column | type | unit | meaning | rules |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(name, column, contract) for name, column in contract.columns.items()]
    if contract.checks:
        lines += ["", "Checks:"]
        lines += [f"- {c.name} ({c.severity}s): {c.description}" for c in contract.checks]
    return [*lines, ""]


def _row(name: str, column: Column, contract: Contract) -> str:
    rules = []
    if name in contract.required_columns:
        rules.append("required")
    if column.accepted is not None:
        rules.append("one of " + ", ".join(column.accepted))
    if column.min is not None:
        rules.append(f"≥ {column.min}" if isinstance(column.min, date) else f"≥ {column.min:g}")
    if column.max is not None:
        rules.append(f"≤ {column.max:g}")
    if column.past:
        rules.append("had happened when it was delivered")
    if column.references:
        rules.append(f"→ {column.references}")
    if column.pii:
        rules.append("personal data, published hashed")
    elif column.erase:
        rules.append("blanked when the person is forgotten")
    return f"| {name} | {column.type} | {column.unit or ''} | {column.description} | {'; '.join(rules)} |".replace(
        "  ", " "
    )


def er_diagram(catalog: Catalog) -> str:
    """Silver entities and gold's core with their keys and references, as Mermaid."""
    lines = [
        "# ER diagram",
        "",
        "Generated from the contracts by `ecommerce docs`; do not edit. Only keys and references are drawn; all",
        "columns are in the [data dictionary](data-dictionary.md).",
        "",
    ]
    silver = [
        t.contract
        for t in catalog.tables.values()
        if t.contract.entity or t.contract.history_of or t.name == "silver.customer_identities"
    ]
    core = [t.contract for t in catalog.tables.values() if t.contract.layer == "gold" and t.contract.subject == "core"]
    for title, contracts in (("Silver: canonical entities", silver), ("Gold: star schema", core)):
        lines += [f"## {title}", "", "```mermaid", "erDiagram"]
        names = {c.table: c.name for c in contracts}
        for contract in contracts:
            lines += _relations(contract, names)
        for contract in contracts:
            lines.append(f"    {contract.name} {{")
            for name, column in contract.columns.items():
                if name in contract.key or column.references:
                    mark = ", ".join(
                        m for m, on in (("PK", name in contract.key), ("FK", bool(column.references))) if on
                    )
                    lines.append(f"        {column.type.split('(')[0].lower()} {name} {mark}")
            lines.append("    }")
        lines += ["```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _relations(contract: Contract, names: dict[str, str]) -> list[str]:
    lines = []
    if contract.history_of:
        lines.append(f"    {contract.history_of} |o--o{{ {contract.name} : versions")
    for name, column in contract.columns.items():
        if column.references:
            schema, table, _ = column.references.split(".")
            if parent := names.get(f"{schema}.{table}"):
                lines.append(f"    {parent} |o--o{{ {contract.name} : {name}")
    return lines


def _anchor(name: str) -> str:
    return name.replace(".", "")


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".") + "."
