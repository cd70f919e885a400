"""All tables of the platform: the pairs of `.sql` and `.yml` under `models/`, found by walking the folders.

The folder decides the layer (and so schema, group and key prefix); nothing is listed by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ecommerce_platform.contracts.contract import Contract, complete_history, complete_traces, read_contract
from ecommerce_platform.errors import DefinitionError

MODELS = Path(__file__).resolve().parent.parent / "models"
LAYERS = ("bronze", "silver", "gold", "ml")


@dataclass(frozen=True)
class Table:
    """One table: its contract and, unless mappings or Python fill it, its SELECT."""

    contract: Contract
    sql: str | None
    sql_path: Path | None

    @property
    def name(self) -> str:
        """`schema.table`."""
        return self.contract.table


@dataclass(frozen=True)
class Catalog:
    """Every table below `models/`, by `schema.table`."""

    tables: dict[str, Table]

    @cached_property
    def entities(self) -> tuple[str, ...]:
        """Names of the canonical silver entities that sources map to."""
        return tuple(t.contract.name for t in self.tables.values() if t.contract.entity)

    @cached_property
    def histories(self) -> tuple[str, ...]:
        """Names of the silver tables that hold an entity's successive versions."""
        return tuple(t.contract.name for t in self.tables.values() if t.contract.history_of)

    def contract(self, table: str) -> Contract:
        """The contract of `schema.table`."""
        return self.tables[table].contract


def _filled_in_one_way(contract: Contract, sql: str | None) -> None:
    ways = (sql, contract.entity, contract.filled_by, contract.history_of, contract.written_beside)
    if sum(map(bool, ways)) != 1:
        raise DefinitionError(
            "a table is filled in exactly one way",
            where=f"{contract.path}:1",
            fix=f"add {contract.path.stem}.sql beside it, or say `entity: true` (sources map to it), "
            "`history_of:` (the entity whose versions it holds), `filled_by:` (the function that fills it) or "
            "`written_beside:` (the table it is a ledger of)",
        )


def read_catalog(root: Path = MODELS) -> Catalog:
    """Reads every contract and SELECT below `root`.

    Raises:
        DefinitionError: with file and line; a `.sql` without `.yml`, a table that says neither what fills it
            nor how, or two files for one table.
    """
    tables: dict[str, Table] = {}
    for layer in LAYERS:
        for path in sorted((root / layer).rglob("*.yml")):
            folder = path.relative_to(root / layer).parent
            contract = read_contract(path, layer, None if folder == Path(".") else folder.parts[0])
            sql_path = path.with_suffix(".sql")
            sql = sql_path.read_text(encoding="utf-8") if sql_path.is_file() else None
            if contract.table in tables:
                other = tables[contract.table].contract.path
                raise DefinitionError(f"{contract.table} is defined twice, also in {other}", where=f"{path}:1")
            _filled_in_one_way(contract, sql)
            tables[contract.table] = Table(contract, sql, sql_path if sql else None)
        for sql_path in sorted((root / layer).rglob("*.sql")):
            if not sql_path.with_suffix(".yml").is_file():
                raise DefinitionError(
                    "a SELECT without a contract",
                    where=f"{sql_path}:1",
                    fix=f"add {sql_path.with_suffix('.yml').name} beside it; `CONTRIBUTING.md` shows one",
                )
    for name, table in tables.items():
        if entity := table.contract.history_of:
            parent = tables.get(f"silver.{entity}")
            tables[name] = replace(
                table, contract=complete_history(table.contract, parent.contract if parent else None)
            )
    keys = {t.contract.name: t.contract.key for t in tables.values() if t.contract.entity}
    return Catalog(
        {name: replace(table, contract=complete_traces(table.contract, keys)) for name, table in tables.items()}
    )
