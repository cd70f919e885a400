"""Which columns a column's values come from, for every table of a source: worked out once per definition.

Lineage costs a tenth of a second and more for a long SELECT, and every build and publish tells it: it is `remembered`.
How it is found in a query is in `sql_model.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.remembered import remembered
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse import sql_model
from ecommerce_platform.warehouse.sql_model import SqlModel, column_lineage

#: Column → the (schema.table, column) pairs its values come from.
Origins = Mapping[str, Sequence[tuple[str, str]]]


class Lineage:
    """The origins of every table's columns: of mappings, histories and SELECTs; none for what Python fills.

    Args:
        catalog: all tables.
        source: the shop.
        compiled: entity → its mappings.
        models: every table that is a SELECT.
    """

    def __init__(
        self,
        catalog: Catalog,
        source: Source,
        compiled: Mapping[str, Sequence[CompiledMapping]],
        models: Mapping[str, SqlModel],
    ) -> None:
        self._catalog, self._source, self._compiled, self._models = catalog, source, compiled, models

    def of(self, table: str) -> Origins:
        """Origins of the columns of `schema.table`; empty where they are not known."""
        contract = self._catalog.contract(table)
        if table in self._models:
            return self._of_model(self._models[table])
        return self._of_mappings(contract.history_of or contract.name) if contract.layer == "silver" else {}

    def _of_mappings(self, entity: str) -> Origins:
        found: dict[str, list[tuple[str, str]]] = {}
        for mapping in self._compiled.get(entity, ()):
            bronze = f"bronze.{self._source.bronze_table(mapping.raw_table)}"
            for name, columns in mapping.column_sources().items():
                found.setdefault(name, []).extend((bronze, column) for column in columns)
        return found

    def _of_model(self, model: SqlModel) -> Origins:
        """Worked out once per SELECT and the columns it returns, and those of all that it reads."""
        tables = self._catalog.tables
        columns = [list(tables[t].contract.all_columns) for t in (model.contract.table, *model.reads) if t in tables]
        text = json.dumps([model.table.sql, columns])

        def work_out() -> dict[str, list[list[str]]]:
            found = column_lineage(model, tables)
            return {column: [list(pair) for pair in pairs] for column, pairs in found.items()}

        kept = remembered(text, "lineage", sql_model.__file__, work_out)
        return {column: [(table, name) for table, name in origins] for column, origins in kept.items()}
