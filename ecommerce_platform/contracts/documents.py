"""Documents that derive from contracts: the data dictionary with a page per subject, the metrics and the ER diagram.

They are generated (`ecommerce docs`) and committed; a test compares them with the contracts, so that they never
tell an old story.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from ecommerce_platform.contracts.catalog import Catalog, Table
from ecommerce_platform.contracts.contract import Column, Contract
from ecommerce_platform.contracts.metrics import PERIODS, Metric, Metrics, read_metrics

#: Subjects in the order of reading; a further folder of tables comes after them.
_TITLES = {
    "bronze": "bronze: as delivered",
    "silver": "silver: canonical entities",
    "gold_core": "gold: facts and dimensions",
    "gold_kpi": "gold: key figures",
    "gold_customers": "gold: customers",
    "gold_products": "gold: products",
    "gold_delivery": "gold: delivery and reviews",
    "gold_marketing": "gold: marketing",
    "gold_insight": "gold: insight",
    "gold_serving": "gold: what filtered questions are asked of",
    "ml": "ml: models and their results",
}
_GENERATED = "Generated from the contracts by `ecommerce docs`; do not edit."


def documents(catalog: Catalog) -> dict[str, str]:
    """The generated pages, by their path below `docs`: the data dictionary, a page per subject, metrics, the ER diagram."""
    return {
        "data-dictionary.md": data_dictionary(catalog),
        **{f"tables/{subject}.md": subject_page(subject, tables) for subject, tables in _subjects(catalog).items()},
        "metrics.md": metrics_page(read_metrics()),
        "er-diagram.md": er_diagram(catalog),
    }


def write_documents(catalog: Catalog, folder: Path) -> list[Path]:
    """Writes `documents` below `folder`; returns the files. Pages of subjects that there are no more are removed."""
    written = []
    for name, text in documents(catalog).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    for path in set((folder / "tables").glob("*.md")) - set(written):
        path.unlink()
    return written


def data_dictionary(catalog: Catalog) -> str:
    """Every table with its meaning, by subject, as Markdown; columns and rules stand on the subjects' pages."""
    lines = [
        "# Data dictionary",
        "",
        f"{_GENERATED} Money is DECIMAL(18,4), in gold in the shop's currency and in silver in the row's ([money](money.md)),",
        "times are the shop's local time, rates and shares lie between 0 and 1. A table's link leads to its columns and rules.",
        "",
        "Besides the tables below, `bronze.<source>__<raw table>` holds each raw table as delivered: its columns as",
        "text, and `_load_date`, `_source_file`, `_source_row`, `_row_hash`.",
        "",
    ]
    for subject, tables in _subjects(catalog).items():
        lines += [f"## [{_TITLES.get(subject, subject)}](tables/{subject}.md)", ""]
        lines += [
            f"- [{t.name}](tables/{subject}.md#{_anchor(t.name)}): {_first_sentence(t.contract.description)}"
            for t in tables
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def subject_page(subject: str, tables: Sequence[Table]) -> str:
    """The tables of a subject with meaning, grain, key, columns and rules, as Markdown."""
    lines = [
        f"# {_TITLES.get(subject, subject)}",
        "",
        f"{_GENERATED} All subjects: [data dictionary](../data-dictionary.md).",
        "",
    ]
    lines += [f"- [{t.name}](#{_anchor(t.name)}): {_first_sentence(t.contract.description)}" for t in tables]
    lines.append("")
    for table in tables:
        lines += _table(table)
    return "\n".join(lines).rstrip() + "\n"


def _subjects(catalog: Catalog) -> dict[str, list[Table]]:
    """Tables by subject, as they are grouped in the graph, in the order of `_TITLES`."""
    found: dict[str, list[Table]] = {subject: [] for subject in _TITLES}
    for table in catalog.tables.values():
        found.setdefault("_".join(filter(None, (table.contract.layer, table.contract.subject))), []).append(table)
    return {subject: tables for subject, tables in found.items() if tables}


def metrics_page(metrics: Metrics) -> str:
    """Every metric with its meaning, formula and cuts, and what it is made of, as Markdown."""
    lines = [
        "# Metrics",
        "",
        "Generated from `ecommerce_platform/models/metrics` by `ecommerce docs`; do not edit. Each is defined once; the KPI",
        "tables are held equal to it by tests. Asked by day, ISO week, month, quarter, year or over everything at once, a",
        "distinct count is counted anew at that cut and a ratio divided there: neither is ever added up. A period that the",
        "data, or the range asked for, cover only in part is marked as not complete and has no growth.",
        "",
        "| metric | meaning | is | unit | better | cut by | adds up over |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, metric in metrics.metrics.items():
        cuts = "persons" if metrics.is_of_persons(name) else "orders, persons" if _whole(metrics, name) else "anything"
        lines.append(
            f"| {name} | **{metric.label}**: {metric.description} | {_made(metric)} | {metric.unit or ''} | {metric.better} "
            f"| {cuts}{_periods(metric)} | {', '.join(_sums(metrics, metric)) or 'nothing'} |"
        )
    lines += ["", "## Measures", "", "| measure | meaning | taken over | aggregate |", "| --- | --- | --- | --- |"]
    for name, measure in metrics.measures.items():
        ways = "; ".join(f"`{sql}`" for sql in measure.aggregate.values())
        lines.append(f"| {name} | {measure.description} | {', '.join(measure.aggregate)} | {ways} |")
    lines += ["", "## Dimensions", "", "What is not known is the value `unknown`.", ""]
    lines += ["| dimension | meaning | attribute of |", "| --- | --- | --- |"]
    lines += [f"| {n} | {d.description} | {d.level} |" for n, d in metrics.dimensions.items()]
    return "\n".join(lines) + "\n"


def _whole(metrics: Metrics, name: str) -> bool:
    """Whether a metric is of whole orders that must not be split over their lines."""
    found = [metrics.measures[m] for m in metrics.needed(name)]
    return any("lines" not in m.aggregate and m.by_line is None for m in found)


def _made(metric: Metric) -> str:
    if metric.formula:
        return f"`{metric.formula.replace('{', '').replace('}', '')}`{' to date' if metric.to_date else ''}"
    if metric.growth:
        return f"growth of {metric.growth.of} ({metric.growth.against.replace('_', ' ')})"
    return f"share of {metric.share_of}" if metric.share_of else "see there"


def _periods(metric: Metric) -> str:
    return f"; by {', '.join(metric.periods or PERIODS)}" if metric.periods or metric.growth else ""


def _sums(metrics: Metrics, metric: Metric) -> tuple[str, ...]:
    name = metric.formula.strip("{}") if metric.formula and not metric.to_date else ""
    return metrics.measures[name].sums_over if name in metrics.measures else ()


def _table(table: Table) -> list[str]:
    contract = table.contract
    lines = [
        f"## {table.name}",
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
