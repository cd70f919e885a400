"""Which columns a column's values come from, for every table of a source: worked out once per definition.

Parsing is cheap, lineage is not (a tenth of a second and more for a long SELECT), and every build and publish tells
it. So it is kept in a small file beside the warehouse, by a digest of all that decides it; a file that is missing or
unreadable costs only time. How lineage is found in a query is in `sql_model.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse.sql_model import SqlModel, column_lineage

#: Changed whenever lineage is found in another way.
_RULES = "1"

#: Column → the (schema.table, column) pairs its values come from.
Origins = Mapping[str, Sequence[tuple[str, str]]]


class Lineage:
    """The origins of every table's columns: of mappings, histories and SELECTs; none for what Python fills.

    Args:
        catalog: all tables.
        source: the shop.
        compiled: entity → its mappings.
        models: every table that is a SELECT.
        file: where what was worked out is kept.
    """

    def __init__(
        self,
        catalog: Catalog,
        source: Source,
        compiled: Mapping[str, Sequence[CompiledMapping]],
        models: Mapping[str, SqlModel],
        file: Path,
    ) -> None:
        self._catalog, self._source, self._compiled, self._models = catalog, source, compiled, models
        self._file = file

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
        name, digest = model.contract.table, self._digest(model)
        kept = self._kept.get(name)
        if kept is None or kept["definition"] != digest:
            found = column_lineage(model, self._catalog.tables)
            kept = self._kept[name] = {"definition": digest, "columns": found}
            self._keep()
        return {column: [(table, name) for table, name in origins] for column, origins in kept["columns"].items()}

    def _digest(self, model: SqlModel) -> str:
        """Of the SELECT and the columns it returns, and of the columns of all that it reads."""
        tables = self._catalog.tables
        columns = [list(tables[t].contract.all_columns) for t in (model.contract.table, *model.reads) if t in tables]
        return sha256(json.dumps([_RULES, model.table.sql, columns]).encode()).hexdigest()[:16]

    @cached_property
    def _kept(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _keep(self) -> None:
        text = json.dumps({name: of for name, of in self._kept.items() if name in self._models})
        new = self._file.with_name(f".{self._file.name}-{os.getpid()}")
        with suppress(OSError):  # a folder that is not there yet, or may not be written to: it is worked out again
            new.write_text(text, encoding="utf-8")
            new.replace(self._file)
