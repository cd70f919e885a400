"""The rows of a person in any table, and what in them is personal: the same question for warehouse and snapshots.

Which columns are personal the contracts say; whose a row is, the ids in it. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.forgetting.documents import MARKER
from ecommerce_platform.forgetting.ledger import PSEUDONYM, Journal
from ecommerce_platform.forgetting.records import is_personal
from ecommerce_platform.warehouse.lookup import column_types, table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Column by which a row names somebody → the temporary table of the ids that are the person's.
_IDS = {"customer_id": "_forgotten_persons", "person_id": "_forgotten_persons", "order_id": "_forgotten_orders"}
_RECORD = ("_raw_table", "_load_date", "_source_file", "_source_row")


def tell_ids(con: DuckDBPyConnection, journal: Journal) -> None:
    """Makes the person's ids known to a database, for `whose`."""
    persons = sorted(journal.customer_ids | journal.person_ids)
    con.execute(
        "create or replace temp table _forgotten_persons as select unnest($ids::varchar[]) as id", {"ids": persons}
    )
    orders = sorted(journal.order_ids)
    con.execute(
        "create or replace temp table _forgotten_orders as select unnest($ids::varchar[]) as id", {"ids": orders}
    )
    records = sorted(journal.records)
    con.execute(
        "create or replace temp table _forgotten_records as select unnest($raw::varchar[]) as _raw_table, "
        "unnest($day::varchar[])::date as _load_date, unnest($file::varchar[]) as _source_file, "
        "unnest($number::bigint[]) as _source_row",
        {name: [r[n] for r in records] for n, name in enumerate(("raw", "day", "file", "number"))},
    )


def whose(columns: Collection[str], contract: Contract | None) -> str:
    """The condition for a row to be the person's; empty where the table's rows are nobody's.

    A table that no contract describes (any more) has whatever ids stand in it.
    """
    if contract and set(_RECORD) <= set(columns) and not contract.entity and not contract.history_of:  # rejects
        names = ", ".join(_RECORD)
        return f"({names}) in (select ({names}) from _forgotten_records)"
    named = [name for name in ("customer_id", "person_id") if name in columns]
    if named:
        return "(" + " or ".join(f"{n} in (select id from {_IDS[n]})" for n in named) + ")"
    return f"order_id in (select id from {_IDS['order_id']})" if "order_id" in columns else ""


def personal_columns(
    contract: Contract | None, columns: Collection[str], hashed: Collection[str] = frozenset()
) -> list[str]:
    """Those of a table's columns that hold personal data.

    Args:
        contract: of the table, as it is today; None when there is none.
        columns: that the table has.
        hashed: what was published hashed, so was personal then whatever the contract says today.
    """
    said = {n for n, c in contract.all_columns.items() if is_personal(c)} if contract else set()
    return [n for n in columns if n in said or n in hashed]


def telling_columns(
    contract: Contract | None, columns: Collection[str], hashed: Collection[str] = frozenset()
) -> list[str]:
    """Those of them that are empty once the person is forgotten.

    In gold that is what is published hashed: a place on the map, say, is there the postal code's when it is not the person's.
    """
    return [
        n
        for n in personal_columns(contract, columns, hashed)
        if n in hashed or (contract and (contract.layer == "silver" or contract.all_columns[n].pii))
    ]


def holding(con: DuckDBPyConnection, catalog: Catalog, journal: Journal) -> dict[str, int]:
    """Table of the warehouse → rows of the person that hold something personal; without tables that have none."""
    tell_ids(con, journal)
    found: dict[str, int] = {}
    for name, table in catalog.tables.items():
        contract = table.contract
        if contract.layer == "bronze" or not table_exists(con, contract.layer, contract.name):
            continue
        columns = column_types(con, f"{contract.layer}.{quote(contract.name)}")
        personal, mine = telling_columns(contract, columns), whose(columns, contract)
        # A rejected row is kept for its reason; what it quotes is looked at in the row as delivered.
        if not personal or not mine or name == "silver.rejects":
            continue
        row = con.execute(
            f"select count(*) from {contract.layer}.{quote(contract.name)} where {mine} and ({filled(personal, columns)})"
        ).fetchone()
        if row and row[0]:
            found[name] = int(row[0])
    return found


def replace_ids(con: DuckDBPyConnection, stand_ins: Mapping[str, str]) -> None:
    """Puts stand-ins for ids into the audit trail of persons, which no load makes anew."""
    if stand_ins and table_exists(con, "silver", "identity_changes"):
        names = ("customer_id", "old_person_id", "new_person_id")
        con.execute(f"update silver.identity_changes set {', '.join(f'{n} = {instead(n, stand_ins)}' for n in names)}")


def instead(column: str, stand_ins: Mapping[str, str]) -> str:
    """SQL: the column with stand-ins for ids."""
    cases = " ".join(f"when {_text(old)} then {_text(new)}" for old, new in sorted(stand_ins.items()))
    return f"case {quote(column)} {cases} else {quote(column)} end"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def filled(personal: Collection[str], columns: Mapping[str, str]) -> str:
    """The condition for one of these columns to hold something."""
    return " or ".join(
        f"({quote(n)} is not null and {quote(n)} <> '{MARKER}' and not starts_with({quote(n)}, '{PSEUDONYM}'))"
        if columns[n] == "VARCHAR"
        else f"{quote(n)} is not null"
        for n in personal
    )
