"""The semantic model as TMDL: tables over the published Parquet, relationships, hierarchies and the measures of `dax`.

What is left out of it: personal columns and what a person wrote, tables a shop does not publish, and relationships that would
give a filter two ways (Power BI refuses those).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Column, Contract
from ecommerce_platform.contracts.metrics import Dimension, Metrics
from ecommerce_platform.serving.powerbi.dax import ROW, Measure, Translated

#: The star: dimensions, facts, and the tables that measures are checked against.
TABLES = (
    "gold.dim_date", "gold.dim_product", "gold.dim_seller", "gold.dim_customer", "gold.fct_orders", "gold.fct_order_items",
    "gold.fct_payments", "silver.reviews", "gold.kpi_summary", "gold.kpi_monthly",
)  # fmt: skip
#: The table of measures; Power BI keeps the name Measures for itself.
FIGURES = "Key figures"
ORDERS, DATES, MONTHS = "gold.fct_orders", "gold.dim_date", "gold.kpi_monthly"
_LEVELS = ("year", "quarter", "month", "calendar_date")
_TYPES = {
    "VARCHAR": ("string", "type text"),
    "BOOLEAN": ("boolean", "type logical"),
    "INTEGER": ("int64", "Int64.Type"),
    "BIGINT": ("int64", "Int64.Type"),
    "DOUBLE": ("double", "type number"),
    "DATE": ("dateTime", "type date"),
    "TIMESTAMP": ("dateTime", "type datetime"),
}
_FORMATS = {"money": "#,0.00", "count": "#,0", "share": "0.0 %", "score": "0.00", "days": "0.0"}
#: Columns of kpi tables that are checked are shown as they are; a day without its time.
_DAY = "yyyy-mm-dd"


@dataclass(frozen=True)
class Relationship:
    """Many rows of one table to one of another; filters go from the one to the many."""

    table: str
    column: str
    parent: str
    parent_column: str

    @property
    def name(self) -> str:
        """Stays the same from one generation to the next."""
        return f"{self.table}.{self.column}-{self.parent}.{self.parent_column}"


def tables_there(published: Collection[str] | None) -> list[str]:
    """The model's tables; of a shop that published only some, those."""
    return [table for table in TABLES if published is None or table in published]


def columns_shown(contract: Contract) -> dict[str, Column]:
    """A table's columns without what is personal, what a person wrote and, of silver tables, where a row came from."""
    return {name: column for name, column in contract.columns.items() if not (column.pii or column.erase)}


def relationships(catalog: Catalog, tables: Collection[str]) -> list[Relationship]:
    """From the columns' references. What belongs to an order meets dates and customers through it, and by no second way."""
    found = []
    for table in tables:
        contract = catalog.contract(table)
        shown = columns_shown(contract)
        of_order = table != ORDERS and "order_id" in shown and ORDERS in tables
        if of_order:
            found.append(Relationship(contract.name, "order_id", "fct_orders", "order_id"))
        for name, column in shown.items():
            schema, parent, key = (column.references or "..").split(".")
            parent_table = f"{schema}.{parent}"
            if parent_table not in tables or catalog.contract(parent_table).key != (key,):
                continue
            if not (of_order and parent_table in (DATES, "gold.dim_customer")):
                found.append(Relationship(contract.name, name, parent, key))
    if DATES in tables and MONTHS in tables:
        found.append(Relationship("dim_date", "month", "kpi_monthly", "month"))
    return found


def hierarchies(
    metrics: Metrics, catalog: Catalog, tables: Collection[str]
) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Per table, hierarchies by name: the calendar's, and what dimensions drill down to in the same table."""
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    if DATES in tables:
        found["dim_date"] = [("Calendar", _LEVELS)]
    for dimension in metrics.dimensions.values():
        above = metrics.dimensions.get(dimension.within or "")
        places = [_place(d, catalog, tables) for d in (above, dimension) if d]
        if len(places) == 2 and (upper := places[0]) and (lower := places[1]) and upper[0] == lower[0]:
            assert above
            found.setdefault(upper[0], []).append((f"{above.label} – {dimension.label}", (upper[1], lower[1])))
    return found


def _place(dimension: Dimension, catalog: Catalog, tables: Collection[str]) -> tuple[str, str] | None:
    """Table and column of the model that a dimension is, if it is one."""
    if not (found := re.fullmatch(r"(\w+)\.(\w+)", dimension.sql)):
        return None
    alias, column = found.groups()
    joined = {a: t for t, a in re.findall(r"join (\w+\.\w+) as (\w+)", dimension.join or "")}
    table = joined.get(alias, "gold.fct_order_items" if alias == "lines" else ORDERS)
    if table not in tables or column not in columns_shown(catalog.contract(table)):
        return None
    if reference := catalog.contract(table).columns[column].references:
        parent, _, key = reference.rpartition(".")
        table, column = (parent, key) if parent in tables else (table, column)
    return table.partition(".")[2], column


def model_files(
    catalog: Catalog, metrics: Metrics, measures: Translated, tables: list[str], folder: str
) -> dict[str, str]:
    """The files of the model's `definition` folder, by their path in it.

    Args:
        catalog: contracts.
        metrics: for what can be drilled down.
        measures: of `dax.translate`.
        tables: the model's, by `schema.table`.
        folder: what the folder parameter is at first.
    """
    links = relationships(catalog, tables)
    ladders = hierarchies(metrics, catalog, tables)
    files = {
        "database.tmdl": "database\n\tcompatibilityLevel: 1601\n",
        "model.tmdl": _model([*(t.partition(".")[2] for t in tables), FIGURES]),
        "expressions.tmdl": _folder(folder),
        "relationships.tmdl": "\n".join(map(_relationship, links)),
        f"tables/{FIGURES}.tmdl": _figures(measures, checks(catalog, measures, tables)),
    }
    hidden = {(r.table, r.column) for r in links} | {
        (r.parent, r.parent_column) for r in links if r.parent != "dim_date"
    }
    for table in tables:
        contract = catalog.contract(table)
        files[f"tables/{contract.name}.tmdl"] = _table(contract, ladders.get(contract.name, []), hidden)
    return files


def checks(catalog: Catalog, measures: Translated, tables: Iterable[str]) -> dict[str, dict[str, str]]:
    """Per KPI table of the model, metric → DAX of what stands there; for the metrics that stand there under their name."""
    return {
        table.partition(".")[2]: {
            metric: f"SUM({table.partition('.')[2]}[{metric}])"
            for metric in measures.shown()
            if metric in catalog.contract(table).columns
        }
        for table in tables
        if table in ("gold.kpi_summary", MONTHS)
    }


def check_name(measure: Measure, table: str) -> str:
    """What the measure beside another on the page of checks is called."""
    return f"{measure.name} ({table})"


def tag(*parts: str) -> str:
    """An id that is the same whenever the same is generated."""
    return str(uuid5(NAMESPACE_URL, "ecommerce_platform/powerbi/" + "/".join(parts)))


def quoted(name: str) -> str:
    """A name as TMDL writes it."""
    return name if re.fullmatch(r"\w+", name) else "'" + name.replace("'", "''") + "'"


def _described(text: str, indent: str = "") -> str:
    return f"{indent}/// {' '.join(text.split())}\n"


def _model(tables: Iterable[str]) -> str:
    refs = "".join(f"ref table {quoted(table)}\n" for table in tables)
    return (
        "model Model\n\tculture: en-US\n\tdefaultPowerBIDataSourceVersion: powerBI_V3\n\tdiscourageImplicitMeasures\n"
        "\tsourceQueryCulture: en-US\n\nannotation __PBI_TimeIntelligenceEnabled = 0\n\n" + refs
    )


def _folder(folder: str) -> str:
    value = folder.replace('"', '""')
    return (
        _described("Folder of the published snapshot, with gold and silver in it; no separator at its end.")
        + f'expression Folder = "{value}" meta [IsParameterQuery=true, Type="Text", IsParameterQueryRequired=true]\n'
        f"\tlineageTag: {tag('Folder')}\n\n\tannotation PBI_ResultType = Text\n"
    )


def _relationship(link: Relationship) -> str:
    return (
        f"relationship {tag(link.name)}\n\tfromColumn: {link.table}.{link.column}\n"
        f"\ttoColumn: {link.parent}.{link.parent_column}\n"
    )


def _table(contract: Contract, ladders: list[tuple[str, tuple[str, ...]]], hidden: set[tuple[str, str]]) -> str:
    name, shown = contract.name, columns_shown(contract)
    lines = [_described(contract.description), f"table {name}\n\tlineageTag: {tag(name)}\n"]
    if contract.table == DATES:  # with isKey on its day, this marks it as the model's date table
        lines.append("\tdataCategory: Time\n")
    for column, about in shown.items():
        lines.append("\n" + _column(contract, column, about, (name, column) in hidden))
    if len(contract.key) > 1:
        lines.append(
            f"\n{_described('Tells the rows apart.', chr(9))}\tcolumn {ROW}\n\t\tdataType: string\n\t\tisHidden\n"
            f"\t\tlineageTag: {tag(name, ROW)}\n\t\tsummarizeBy: none\n\t\tsourceColumn: {ROW}\n"
        )
    for title, levels in ladders:
        lines.append(f"\n\thierarchy {quoted(title)}\n\t\tlineageTag: {tag(name, 'hierarchy', title)}\n")
        for level in levels:
            lines.append(f"\n\t\tlevel {level}\n\t\t\tlineageTag: {tag(name, title, level)}\n\t\t\tcolumn: {level}\n")
    lines.append("\n" + _partition(contract, shown))
    return "".join(lines)


def _column(contract: Contract, name: str, about: Column, hidden: bool) -> str:
    type_ = "decimal" if about.type.startswith("DECIMAL") else _TYPES[about.type][0]
    lines = [_described(about.description, "\t"), f"\tcolumn {name}\n\t\tdataType: {type_}\n"]
    if contract.table == DATES and contract.key == (name,):
        lines.append("\t\tisKey\n")
    if hidden and contract.table not in (DATES, MONTHS):
        lines.append("\t\tisHidden\n")
    if about.type == "DATE":
        lines.append(f"\t\tformatString: {_DAY}\n")
    if contract.table == DATES and name in ("month_name", "day_name"):
        by = {"month_name": "month_number", "day_name": "day_of_week"}[name]
        lines.append(f"\t\tsortByColumn: {by}\n")
    lines.append(f"\t\tlineageTag: {tag(contract.name, name)}\n\t\tsummarizeBy: none\n\t\tsourceColumn: {name}\n")
    return "".join(lines)


def _partition(contract: Contract, shown: dict[str, Column]) -> str:
    names = ", ".join(f'"{name}"' for name in shown)
    types = ", ".join(
        f'{{"{name}", {"Currency.Type" if column.type.startswith("DECIMAL") else _TYPES[column.type][1]}}}'
        for name, column in shown.items()
    )
    steps = [
        f'File = Parquet.Document(File.Contents(Folder & "\\{contract.layer}\\{contract.name}.parquet"))',
        f"Columns = Table.SelectColumns(File, {{{names}}})",
        f"Typed = Table.TransformColumnTypes(Columns, {{{types}}})",
    ]
    if len(contract.key) > 1:
        parts = ' & "|" & '.join(f"Text.From([{name}])" for name in contract.key)
        steps.append(f'Keyed = Table.AddColumn(Typed, "{ROW}", each {parts}, type text)')
    body = ",\n".join(f"\t\t\t\t\t{step}" for step in steps)
    last = steps[-1].split(" ", 1)[0]
    return f"\tpartition {contract.name} = m\n\t\tmode: import\n\t\tsource =\n\t\t\t\tlet\n{body}\n\t\t\t\tin\n\t\t\t\t\t{last}\n"


def _figures(measures: Translated, beside: dict[str, dict[str, str]]) -> str:
    lines = [_described("The metrics, as they are defined once for all that show them."), f"table {quoted(FIGURES)}\n"]
    lines.append(f"\tlineageTag: {tag(FIGURES)}\n")
    for measure in measures.measures.values():
        lines.append("\n" + _measure(measure, measure.name, measures.dax(measure), hidden=measure.metric is None))
    for table, found in beside.items():
        for metric, dax in found.items():
            measure = measures.measures[metric]
            text = _measure(measure, check_name(measure, table), dax, hidden=False, folder="Check")
            lines.append("\n" + text)
    lines.append(
        f"\n\tcolumn empty\n\t\tdataType: string\n\t\tisHidden\n\t\tlineageTag: {tag(FIGURES, 'empty')}\n"
        "\t\tsummarizeBy: none\n\t\tsourceColumn: empty\n"
        f"\n\tpartition {quoted(FIGURES)} = m\n\t\tmode: import\n\t\tsource = #table(type table [empty = text], {{}})\n"
    )
    return "".join(lines)


def _measure(measure: Measure, name: str, dax: str, *, hidden: bool, folder: str | None = None) -> str:
    lines = [_described(measure.description, "\t"), f"\tmeasure {quoted(name)} = {dax}\n"]
    lines.append(f"\t\tformatString: {_FORMATS[measure.format]}\n")
    if hidden:
        lines.append("\t\tisHidden\n")
    if folder:
        lines.append(f"\t\tdisplayFolder: {folder}\n")
    return "".join(lines) + f"\t\tlineageTag: {tag(FIGURES, name)}\n"
