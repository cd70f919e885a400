"""Units that a load mentions and of which it delivers nothing: an order whose list of lines is empty.

Bronze notes such records of arrays (`bronze.empty_arrays`); here the mapping makes units of them, and they count as
versions like those that have rows. `silver.empty_units` holds what the entities have taken over. Which version wins is
decided in `entities`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse.lookup import table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LEDGER = "silver.empty_units"
#: Units that the loads at work mention without rows, now or when they were taken over before.
MENTIONED = "_mentioned"


def renew_empty_units(con: DuckDBPyConnection, mapping: CompiledMapping, loads: str) -> None:
    """Makes the ledger hold the empty units of `loads` (a condition) as bronze has them; fills `_mentioned`."""
    mine = f"entity = '{mapping.contract.name}' and _raw_table = '{mapping.raw_table}' and {loads}"
    con.execute(f"create or replace temp table {MENTIONED} as select distinct unit from {LEDGER} where {mine}")
    con.execute(f"delete from {LEDGER} where {mine}")
    if not table_exists(con, "bronze", "empty_arrays"):
        return
    con.execute(f"insert into {LEDGER} by name {_empty_units(mapping, loads)}")
    con.execute(f"insert into {MENTIONED} select distinct unit from {LEDGER} where {mine}")


def unit_of(mapping: CompiledMapping, row: str = "") -> str:
    """SQL text: the unit of a mapped row as the ledger writes it."""
    prefix = f"{row}." if row else ""
    values = ", ".join(f"cast({prefix}{quote(c)} as varchar)" for c in mapping.version_key)
    return f"cast(to_json([{values}]) as varchar)"


def mentioned_later(mapping: CompiledMapping, row: str, *, within: str = "true") -> str:
    """Condition: a later record than that of a staged row mentions its unit without rows.

    Args:
        mapping: the mapping.
        row: a staged row; one of the entity, which knows no record, is told apart by its load alone.
        within: the loads whose records count.
    """
    if within == "true":
        later = f"row(m._load_date, m._source_file, m.parent_row) > row({row}._load_date, {row}._source_file, {row}._parent_row)"
    else:
        later = f"m._load_date > {row}._load_date"
    return (
        f"exists (select 1 from (select _load_date, _source_file, parent_row, unit from {LEDGER} where "
        f"entity = '{mapping.contract.name}' and _raw_table = '{mapping.raw_table}' and {within}) as m "
        f"where m.unit = {unit_of(mapping, row)} and {later})"
    )


def _empty_units(mapping: CompiledMapping, loads: str) -> str:
    values = ", ".join(f"json_extract_string(parent, '/{name}') as {quote(name)}" for name in mapping.around)
    units = [
        f"cast({mapping.expressions[c]} as {mapping.contract.columns[c].type}) as {quote(c)}"
        for c in mapping.version_key
    ]
    there = " and ".join(f"u.{quote(c)} is not null" for c in mapping.version_key)
    return (
        f"select '{mapping.contract.name}' as entity, '{mapping.raw_table}' as _raw_table, _load_date, _source_file, "
        f"parent_row, {unit_of(mapping, 'u')} as unit from (select _load_date, _source_file, parent_row, {', '.join(units)} "
        f"from (select _load_date, _source_file, parent_row, {values} from bronze.empty_arrays "
        f"where raw_table = '{mapping.raw_table}' and {loads}) as around) as u where {there} group by all"
    )
