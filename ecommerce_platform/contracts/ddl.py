"""SQL that derives from a contract: the empty table it describes.

Only columns and types are taken over. Keys, not-null and ranges are checks (`quality/`), because a constraint
in DuckDB costs an index and fails without saying which rows are at fault.
"""

from __future__ import annotations

from ecommerce_platform.contracts.contract import Contract


def quote(name: str) -> str:
    """An identifier as SQL text, whatever characters it holds."""
    return '"' + name.replace('"', '""') + '"'


def create_table_sql(contract: Contract, *, or_replace: bool = False, name: str | None = None) -> str:
    """The statement that creates the contract's table, empty.

    Args:
        contract: an entity's provenance columns are part of its table.
        or_replace: replaces an existing table; otherwise one that exists is left as it is.
        name: `schema.table` to create instead of the contract's own (a staging table, say).
    """
    create = "create or replace table" if or_replace else "create table if not exists"
    table = ".".join(quote(part) for part in (name or contract.table).split(".", 1))
    columns = ",\n".join(f"  {quote(n)} {c.type}" for n, c in contract.all_columns.items())
    return f"{create} {table} (\n{columns}\n)"
