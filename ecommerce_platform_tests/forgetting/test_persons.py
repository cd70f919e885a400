"""Who is meant, also when the shop's systems have deleted some or all of the person's records already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.forgetting.ledger import Tombstones
from ecommerce_platform.forgetting.persons import find_person

NOBODY = Tombstones("salt", {})


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Anna (key P1) has a record in the web shop; those in the CRM and of a market are gone. Eve and Zoe are all gone."""
    with duckdb.connect() as con:
        con.execute(
            """
            create schema silver;
            create table silver.customers as
            select * from (values ('web-1', 'P1', 'anna@post.example'), ('web-2', 'P2', null)) as t (customer_id, person_key, email);
            create table silver.customer_identities as select customer_id, customer_id as person_id from silver.customers;
            create table silver.customers_history as
            select * from (values
                ('web-1', 'P1', 'anna@post.example', date '2024-01-01'), ('web-2', 'P1', null, date '2024-01-01'),
                ('web-2', 'P2', null, date '2024-01-02'), ('crm-1', 'P1', 'anna@post.example', date '2024-01-01'),
                ('market-1', 'P2', null, date '2024-01-01'), ('market-1', 'P1', 'a@market.example', date '2024-01-02'),
                ('crm-3', 'P3', 'eve@post.example', date '2024-01-01'), ('web-3', 'P3', null, date '2024-01-01'),
                ('crm-4', null, 'zoe@post.example', date '2024-01-01')
            ) as t (customer_id, person_key, email, valid_from);
            """
        )
        yield con


@pytest.mark.parametrize("who", ["web-1", "crm-1", "market-1", "Anna@post.example", "a@market.example"])
def test_records_that_are_gone_are_the_persons_who_has_their_key(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, who: str
) -> None:
    found = find_person(con, who, tmp_path, NOBODY)
    assert found.customer_ids == {"web-1", "crm-1", "market-1"}
    assert found.person_ids == {"web-1"}


@pytest.mark.parametrize(
    ("who", "ids"),
    [
        ("crm-3", {"crm-3", "web-3"}), ("eve@post.example", {"crm-3", "web-3"}), ("crm-4", {"crm-4"}),
        ("zoe@post.example", {"crm-4"}), ("web-2", {"web-2"}),
    ],
)  # fmt: skip
def test_who_is_gone_altogether_is_known_by_what_was_delivered(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, who: str, ids: set[str]
) -> None:
    assert find_person(con, who, tmp_path, NOBODY).customer_ids == ids


def test_records_that_were_linked_before_they_were_deleted_are_one_person(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    folder = tmp_path / "snapshots" / "20240101T000000000000Z" / "silver"
    folder.mkdir(parents=True)
    con.execute(
        "copy (select unnest(['crm-4', 'crm-9', 'web-2']) as customer_id, 'crm-4' as person_id) "
        f"to '{folder}/customer_identities.parquet'"
    )
    # Who is current is whose person the current tables say.
    assert find_person(con, "crm-4", tmp_path, NOBODY).customer_ids == {"crm-4", "crm-9"}


def test_a_stand_in_means_who_has_the_address_again(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    stand_in = NOBODY.pseudonym("anna@post.example")
    con.execute("insert into silver.customers_history values ($id, null, null, date '2024-01-01')", {"id": stand_in})
    assert find_person(con, stand_in, tmp_path, NOBODY).customer_ids == {stand_in}
    con.execute("insert into silver.customer_identities values ('anna@post.example', 'anna@post.example')")
    assert find_person(con, stand_in, tmp_path, NOBODY).customer_ids == {"anna@post.example"}


def test_a_key_that_nobody_has_is_nobodys(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no person or customer record"):
        find_person(con, "crm-99", tmp_path, NOBODY)
