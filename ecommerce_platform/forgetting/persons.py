"""Who is meant: a person, by any of the names under which the platform knows one.

The current persons are looked at (`silver.customer_identities`) and records that the newest full delivery lacks, for
whoever asks to be forgotten is deleted in the shop's systems first; what belongs to them is in `records`. Also who
has come back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.errors import InputError
from ecommerce_platform.forgetting.ledger import PSEUDONYM, Tombstones
from ecommerce_platform.forgetting.tables import filled
from ecommerce_platform.reading.snapshots import snapshot_folders
from ecommerce_platform.warehouse.lookup import column_types, table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Persons that a message lists.
_LISTED = 10


@dataclass(frozen=True)
class Person:
    """All customer records of a person, and the ids under which tables know the person."""

    customer_ids: frozenset[str]
    person_ids: frozenset[str]


def find_person(con: DuckDBPyConnection, who: str, published: Path, tombstones: Tombstones) -> Person:
    """The person with this id, customer id or e-mail address.

    Args:
        con: the warehouse.
        who: as it was typed; an id is taken as it is, the case of an e-mail address does not matter. The stand-in for an
            id that is an address will do, too.
        published: the folder of snapshots: somebody whose drops were taken away may stand there still.
        tombstones: make the stand-ins.

    Raises:
        InputError: nobody is called so, or several persons have the e-mail address.
    """
    if not table_exists(con, "silver", "customer_identities"):
        raise InputError("there are no customers yet", where="silver.customer_identities", fix="run `ecommerce build`")
    _tell_known(con)
    who = who.strip()
    # Whoever is delivered again has an address once more; the record with the stand-in for it may be known besides.
    persons = _by_stand_in(con, who, tombstones) if who.startswith(PSEUDONYM) else set()
    persons = persons or _by_id(con, who) or (_by_email(con, who) if "@" in who else set())
    if not persons and (before := _published(published, [who])):
        return before
    _is_one(persons, who)
    rows = con.execute(
        "select customer_id, is_gone from _forget_known where person_id in (select unnest($persons))",
        {"persons": sorted(persons)},
    ).fetchall()
    customers = {customer for customer, _ in rows} | persons
    if gone := sorted(customer for customer, is_gone in rows if is_gone):
        # What linked such a record to others that are gone, too, is in silver no more.
        before = _published(published, gone)
        customers |= _not_current(con, before.customer_ids) if before else set()
    return Person(frozenset(customers), frozenset(persons))


def _is_one(persons: Collection[str], who: str) -> None:
    if not persons:
        # An id is a pseudonym; an address is not repeated.
        raise InputError(
            "nobody has this e-mail address" if "@" in who else f"there is no person or customer record {who!r}",
            where="silver.customer_identities",
            fix="`ecommerce sql \"select customer_id, person_id from silver.customer_identities where customer_id like '%…%'\"` "
            "looks ids up; an e-mail address finds its person by itself",
        )
    if len(persons) > 1:
        shown = ", ".join(sorted(persons)[:_LISTED])
        raise InputError(
            f"{len(persons)} persons have this e-mail address",
            where="silver.customers",
            fix=f"give the person_id of the one that is meant: {shown}",
        )


def _tell_known(con: DuckDBPyConnection) -> None:
    """Makes `_forget_known`: customer record → its person, also of records that have no current version.

    Such a record (`is_gone`) is the person's who has its `person_key`; if nobody has, it makes a person as the current
    ones do, of all that are gone and share the key.
    """
    con.execute(
        "create or replace temp table _forget_known as "
        "select customer_id, person_id, false as is_gone from silver.customer_identities"
    )
    if not all(table_exists(con, "silver", name) for name in ("customers", "customers_history")):
        return
    con.execute(
        """
        insert into _forget_known
        with gone as (
            select customer_id, arg_max(person_key, valid_from) as person_key
            from silver.customers_history
            where customer_id not in (select customer_id from silver.customer_identities)
            group by customer_id
        ),
        keyed as (
            select c.person_key, min(i.person_id) as person_id
            from silver.customers as c
            inner join silver.customer_identities as i on c.customer_id = i.customer_id
            where c.person_key is not null
            group by c.person_key
        )
        select
            g.customer_id,
            case
                when g.person_key is null then g.customer_id
                else coalesce(k.person_id, min(g.customer_id) over (partition by g.person_key))
            end,
            true
        from gone as g
        left join keyed as k on g.person_key = k.person_key
        """
    )


def _not_current(con: DuckDBPyConnection, customers: Iterable[str]) -> set[str]:
    rows = con.execute(
        "select id from (select unnest($ids::varchar[]) as id) "
        "where id not in (select customer_id from silver.customer_identities)",
        {"ids": sorted(customers)},
    ).fetchall()
    return {customer for (customer,) in rows}


def _by_id(con: DuckDBPyConnection, who: str) -> set[str]:
    rows = con.execute(
        "select distinct person_id from _forget_known where person_id = $who or customer_id = $who",
        {"who": who},
    ).fetchall()
    if not rows and table_exists(con, "silver", "orders"):
        # A record that only orders name is a person, too.
        rows = con.execute(
            "select distinct customer_id from silver.orders where customer_id = $who", {"who": who}
        ).fetchall()
    return {person for (person,) in rows}


def _by_email(con: DuckDBPyConnection, who: str) -> set[str]:
    found: set[str] = set()
    for table in ("customers", "customers_history"):
        if table_exists(con, "silver", table):
            rows = con.execute(
                f"select distinct coalesce(i.person_id, c.customer_id) from silver.{table} as c "
                "left join _forget_known as i on i.customer_id = c.customer_id "
                "where lower(trim(c.email)) = lower($who)",
                {"who": who},
            ).fetchall()
            found |= {person for (person,) in rows}
    return found


def _by_stand_in(con: DuckDBPyConnection, who: str, tombstones: Tombstones) -> set[str]:
    rows = con.execute("select customer_id, person_id from _forget_known where contains(customer_id, '@')").fetchall()
    return {person for customer, person in rows if tombstones.pseudonym(customer) == who}


def _published(published: Path, ids: Sequence[str]) -> Person | None:
    """The person with one of these ids in the newest snapshot that knows it."""
    import duckdb

    for folder in reversed(snapshot_folders(published)):
        path = folder / "silver" / "customer_identities.parquet"
        if not path.is_file():
            continue
        with duckdb.connect(":memory:") as con:
            rows = con.execute(
                "select customer_id, person_id from read_parquet($path) where person_id in "
                "(select person_id from read_parquet($path) where person_id in (select unnest($ids::varchar[])) "
                "or customer_id in (select unnest($ids::varchar[])))",
                {"path": str(path), "ids": list(ids)},
            ).fetchall()
        if rows:
            persons = {person for _, person in rows}
            return Person(frozenset({customer for customer, _ in rows} | persons), frozenset(persons))
    return None


def returned(con: DuckDBPyConnection, contract: Contract, tombstones: Tombstones) -> list[str]:
    """Customer ids of forgotten persons whose personal data the shop's systems have delivered again, in order; in place of
    an id that is an e-mail address, its stand-in.

    Args:
        con: the warehouse.
        contract: of `silver.customers`.
        tombstones: who was forgotten.
    """
    columns = column_types(con, contract.table)
    personal = [n for n, c in contract.columns.items() if c.pii and n in columns]
    if not tombstones.hashes or not personal:
        return []
    rows = con.execute(
        f"select customer_id from {contract.table} where ({filled(personal, columns)}) "
        "and sha256($salt || customer_id) in (select unnest($hashes::varchar[])) order by 1",
        {"salt": tombstones.salt, "hashes": list(tombstones.hashes)},
    ).fetchall()
    return [tombstones.pseudonym(customer) if "@" in customer else customer for (customer,) in rows]
