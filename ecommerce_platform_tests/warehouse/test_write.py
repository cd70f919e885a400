"""Writing a table: one transaction with its checks, and the counts that come back."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.warehouse.changes import table_versions
from ecommerce_platform.warehouse.contract_checks import BlockedError, check_table
from ecommerce_platform.warehouse.write import replace_table, upsert

COLUMNS = {
    "id": {"type": "VARCHAR", "description": "The key."},
    "on_day": {"type": "DATE", "description": "The day.", "required": True},
    "amount": {"type": "INTEGER", "description": "An amount.", "min": 0, "max": 100},
    "kind": {"type": "VARCHAR", "description": "A kind.", "accepted": ["a", "b"]},
    "parent": {"type": "VARCHAR", "description": "A parent.", "references": "gold.parents.id"},
}


def contract(**more: object) -> Contract:
    return Contract.model_validate(
        {
            "name": "things",
            "layer": "gold",
            "path": Path("models/gold/things.yml"),
            "grain": "one row per thing",
            "description": "Things made for a test.",
            "key": ["id"],
            "columns": COLUMNS,
            **more,
        }
    )


def rows(*values: tuple[str, str, int, str, str | None]) -> str:
    return " union all ".join(
        f"select '{i}' as id, date '{d}' as on_day, cast({a} as integer) as amount, '{k}' as kind, "
        + (f"'{p}' as parent" if p else "cast(null as varchar) as parent")
        for i, d, a, k, p in values
    )


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    connection.execute("create schema gold; create table gold.parents as select 'p' as id")
    return connection


def content(con: duckdb.DuckDBPyConnection) -> list[tuple]:
    return con.execute("select id, cast(on_day as varchar), amount from gold.things order by id").fetchall()


def test_replace_leaves_exactly_the_new_rows(con: duckdb.DuckDBPyConnection) -> None:
    first = replace_table(con, contract(), rows(("x", "2024-01-01", 1, "a", None), ("y", "2024-01-02", 2, "b", "p")))
    assert (first.rows, first.inserted, first.updated, first.deleted) == (2, 2, 0, 0)
    second = replace_table(con, contract(), rows(("z", "2024-01-03", 3, "a", None)))
    assert (second.rows, second.inserted, second.updated, second.deleted) == (1, 1, 0, 2)
    assert content(con) == [("z", "2024-01-03", 3)]


def test_replace_counts_what_really_changed_and_gives_no_new_version_to_an_equal_table(
    con: duckdb.DuckDBPyConnection,
) -> None:
    before = [("x", "2024-01-01", 1, "a", None), ("y", "2024-01-02", 2, "b", None)]
    replace_table(con, contract(), rows(*before))
    version = table_versions(con)["gold.things"]
    same = replace_table(con, contract(), rows(*before))
    assert (same.rows, same.inserted, same.updated, same.deleted) == (2, 0, 0, 0)
    assert table_versions(con)["gold.things"] == version
    other = replace_table(con, contract(), rows(("x", "2024-01-01", 5, "a", None), ("z", "2024-01-02", 2, "b", None)))
    assert (other.inserted, other.updated, other.deleted) == (1, 1, 1)
    assert table_versions(con)["gold.things"].version > version.version
    assert content(con) == [("x", "2024-01-01", 5), ("z", "2024-01-02", 2)]


def test_upsert_counts_only_real_changes(con: duckdb.DuckDBPyConnection) -> None:
    replace_table(con, contract(), rows(("x", "2024-01-01", 1, "a", None), ("y", "2024-01-02", 2, "b", None)))
    new = rows(("x", "2024-01-01", 1, "a", None), ("y", "2024-01-02", 7, "b", None), ("z", "2024-01-03", 3, "a", None))
    written = upsert(con, contract(), new)
    assert (written.inserted, written.updated, written.deleted) == (1, 1, 0)
    assert content(con) == [("x", "2024-01-01", 1), ("y", "2024-01-02", 7), ("z", "2024-01-03", 3)]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (("x", "2024-01-01", -1, "a", None), "amount is at least 0"),
        (("x", "2024-01-01", 101, "a", None), "amount is at most 100"),
        (("x", "2024-01-01", 1, "c", None), "kind is one of a, b"),
    ],
)
@pytest.mark.parametrize("mode", ["replace", "upsert"])
def test_a_broken_rule_rolls_the_write_back(con: duckdb.DuckDBPyConnection, bad: tuple, rule: str, mode: str) -> None:
    replace_table(con, contract(), rows(("o", "2024-01-01", 5, "a", None)))
    write = {
        "replace": lambda: replace_table(con, contract(), rows(bad)),
        "upsert": lambda: upsert(con, contract(), rows(bad)),
    }[mode]
    with pytest.raises(BlockedError) as error:
        write()
    assert rule in str(error.value)
    assert "id=x" in str(error.value)
    assert content(con) == [("o", "2024-01-01", 5)]


def test_two_rows_of_one_key_block_and_are_shown(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(BlockedError, match=r"unique key \(id\): 1 rows, e\.g\. \(id=x, rows=2\)"):
        replace_table(con, contract(), rows(("x", "2024-01-01", 1, "a", None), ("x", "2024-01-02", 1, "a", None)))


def test_a_missing_required_value_blocks(con: duckdb.DuckDBPyConnection) -> None:
    select = rows(("x", "2024-01-01", 1, "a", None)).replace("date '2024-01-01'", "cast(null as date)")
    with pytest.raises(BlockedError, match="on_day is required: 1 rows"):
        replace_table(con, contract(), select)


def test_a_reference_without_parent_only_warns(con: duckdb.DuckDBPyConnection) -> None:
    written = replace_table(con, contract(), rows(("x", "2024-01-01", 1, "a", "nobody")))
    found = {check.name: check for check in written.checks}
    assert found["foreign_keys"].severity == "warn"
    assert found["foreign_keys"].failing == 1
    assert "nobody" in found["foreign_keys"].explain()
    assert found["contract"].passed


def test_a_check_of_the_contract_itself_blocks_with_examples(con: duckdb.DuckDBPyConnection) -> None:
    check = {"name": "total_is_ten", "description": "The amounts sum to ten.",
             "sql": "select sum(amount) as total from gold.things having sum(amount) <> 10"}  # fmt: skip
    with pytest.raises(BlockedError, match=r"total_is_ten: 1 rows, e\.g\. \(total=9\)"):
        replace_table(con, contract(checks=[check]), rows(("x", "2024-01-01", 9, "a", None)))
    replace_table(con, contract(checks=[check]), rows(("x", "2024-01-01", 10, "a", None)))


def test_a_select_with_other_types_is_refused_before_anything_is_written(con: duckdb.DuckDBPyConnection) -> None:
    select = rows(("x", "2024-01-01", 1, "a", None)).replace("cast(1 as integer)", "cast(1 as bigint)")
    with pytest.raises(DefinitionError, match="amount is BIGINT, the contract says INTEGER"):
        replace_table(con, contract(), select)
    assert not con.execute("select 1 from information_schema.tables where table_name = 'things'").fetchall()


def test_a_table_changed_behind_the_platforms_back_fails_its_check(con: duckdb.DuckDBPyConnection) -> None:
    replace_table(con, contract(), rows(("x", "2024-01-01", 1, "a", None)))
    con.execute("alter table gold.things drop column kind")
    con.execute("alter table gold.things add column kind integer")
    with pytest.raises(BlockedError, match="kind: INTEGER, expected VARCHAR"):
        check_table(con, contract())


def test_an_error_in_the_middle_leaves_the_previous_version(con: duckdb.DuckDBPyConnection) -> None:
    replace_table(con, contract(), rows(("x", "2024-01-01", 1, "a", None)))

    def interrupted(*_: object) -> list:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_table(con, contract(), rows(("y", "2024-01-01", 1, "a", None)), check=interrupted)
    assert content(con) == [("x", "2024-01-01", 1)]


def test_a_check_against_another_table_waits_while_that_one_is_of_another_state(con: duckdb.DuckDBPyConnection) -> None:
    """As when another run has written `lines` while this one writes what follows from `days`, made from older lines."""

    def table(name: str, other: str | None = None) -> Contract:
        sql = f"select * from gold.{name} where n <> (select sum(n) from gold.{other})"
        checks = [{"name": "agrees", "description": "Agrees with the other.", "sql": sql}] if other else []
        n = {"type": "BIGINT", "description": "A count."}
        return contract(name=name, key=["n"], columns={"n": n}, checks=checks)

    def write(name: str, select: str, reads: tuple[str, ...] = (), other: str | None = None) -> list[str]:
        written = replace_table(con, table(name, other), select, reads=[f"gold.{table}" for table in reads])
        return [check.name for check in written.checks]

    write("lines", "select cast(1 as bigint) as n")
    write("days", "select n from gold.lines", ("lines",))
    total = ("total", "select n from gold.days", ("days",), "lines")
    assert write(*total) == ["contract", "agrees"]
    write("lines", "select cast(2 as bigint) as n")
    assert write(*total) == ["contract"]
    write("days", "select n from gold.lines", ("lines",))
    assert write(*total) == ["contract", "agrees"]
    with pytest.raises(BlockedError, match="agrees"):
        write("total", "select n + 1 as n from gold.days", ("days",), "lines")


@pytest.mark.parametrize("mode", ["replace", "upsert"])
def test_rows_that_equal_each_other_and_the_one_that_is_there_block(con: duckdb.DuckDBPyConnection, mode: str) -> None:
    write = replace_table if mode == "replace" else upsert
    row = ("x", "2024-01-01", 1, "a", None)
    write(con, contract(), rows(row))
    with pytest.raises(BlockedError, match="unique"):
        write(con, contract(), rows(row, row))
    assert content(con) == [("x", "2024-01-01", 1)]
