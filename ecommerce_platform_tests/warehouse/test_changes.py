"""The ledger of versions and the logs of changed rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.warehouse import changes
from ecommerce_platform.warehouse.changes import (
    Log,
    changed_rows,
    log_rows,
    own_code,
    record_change,
    record_seen,
    seen_versions,
    table_versions,
    unseen,
    upstream_in_step,
)
from ecommerce_platform_tests.warehouse.tiny_models import ITEMS, Tiny

LOG = Log(("k",), frozenset({"k", "v"}), ("gold.one", "gold.two"))


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema silver; create table silver.t (k varchar, v integer)")
    return connection


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)


def logged(con: duckdb.DuckDBPyConnection, since: int = 0) -> list[str]:
    return sorted(k for (k,) in con.execute(changed_rows("silver.t", since)).fetchall())


def change(con: duckdb.DuckDBPyConnection, key: str, log: Log = LOG) -> int:
    version = record_change(con, "silver.t", "c", whole=False, log=log)
    log_rows(con, "silver.t", version, f"select '{key}' as k")
    return version


def test_a_warehouse_without_a_ledger_has_no_versions(con: duckdb.DuckDBPyConnection) -> None:
    assert table_versions(con) == {}
    assert seen_versions(con) == {}
    assert unseen(con, "gold.one", ["silver.t"], "c") == ({}, None)


def test_versions_grow_and_never_repeat(con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [record_change(con, "silver.t") for _ in range(200)]
    assert found == sorted(set(found))
    # Not in a warehouse built anew either, unless the clock was set back; in the same one not even then.
    other = duckdb.connect()
    assert record_change(other, "silver.t") > found[-1]
    monkeypatch.setattr(changes.time, "time_ns", lambda: 1)
    assert record_change(con, "silver.t") == found[-1] + 1
    assert table_versions(con)["silver.t"].version == found[-1] + 1


def test_a_follower_reads_what_it_has_not_seen(con: duckdb.DuckDBPyConnection) -> None:
    first = record_change(con, "silver.t", "c", log=LOG)
    con.execute("create schema gold; create table gold.one (id varchar)")
    record_change(con, "gold.one", "mine")
    record_seen(con, "gold.one", {"silver.t": first})
    assert unseen(con, "gold.one", ["silver.t"], "mine") == ({"silver.t": first}, {})
    second, third = change(con, "a"), change(con, "b")
    assert unseen(con, "gold.one", ["silver.t"], "mine") == ({"silver.t": third}, {"silver.t": first})
    assert logged(con, first) == ["a", "b"]
    assert logged(con, second) == ["b"]
    record_seen(con, "gold.one", {"silver.t": second})
    assert unseen(con, "gold.one", ["silver.t"], "mine") == ({"silver.t": third}, {"silver.t": second})


def test_what_must_be_built_whole(con: duckdb.DuckDBPyConnection) -> None:
    first = record_change(con, "silver.t", "c", log=LOG)
    assert unseen(con, "gold.one", ["silver.t"], "mine")[1] is None, "never built"
    record_change(con, "gold.one", "mine")
    assert unseen(con, "gold.one", ["silver.t"], "mine")[1] is None, "never seen anything"
    record_seen(con, "gold.one", {"silver.t": first})
    assert unseen(con, "gold.one", ["silver.t"], "mine")[1] is None, "the table is gone"
    con.execute("create schema gold; create table gold.one (id varchar)")
    assert unseen(con, "gold.one", ["silver.t"], "mine")[1] == {}
    assert unseen(con, "gold.one", ["silver.t"], "other")[1] is None, "another definition"
    assert unseen(con, "gold.one", ["silver.t", "silver.u"], "mine")[1] is None, "reads what has no version"
    record_change(con, "silver.u")
    assert unseen(con, "gold.one", ["silver.t", "silver.u"], "mine")[1] is None, "reads more than before"
    assert unseen(con, "gold.one", ["silver.u"], "mine")[1] is None, "reads something else"
    change(con, "a")
    assert unseen(con, "gold.one", ["silver.t"], "mine")[1] == {"silver.t": first}
    record_change(con, "silver.t", "c", log=LOG)
    assert unseen(con, "gold.one", ["silver.t"], "mine")[1] is None, "replaced whole"
    assert logged(con) == []


def test_a_log_keeps_what_any_of_its_followers_has_not_seen(con: duckdb.DuckDBPyConnection) -> None:
    first = record_change(con, "silver.t", "c", log=LOG)
    for follower in LOG.followers:
        record_seen(con, follower, {"silver.t": first})
    second = change(con, "a")
    record_seen(con, "gold.one", {"silver.t": second})
    third = change(con, "b")
    assert logged(con) == ["a", "b"]
    record_seen(con, "gold.two", {"silver.t": second})
    change(con, "c")
    assert logged(con) == ["b", "c"]
    for follower in LOG.followers:
        record_seen(con, follower, {"silver.t": third + 10**6})
    change(con, "d")
    assert logged(con) == ["d"]


def test_a_follower_that_was_never_built_holds_no_log_up(con: duckdb.DuckDBPyConnection) -> None:
    record_change(con, "silver.t", "c", log=LOG)
    change(con, "a")
    change(con, "b")
    assert logged(con) == ["b"]
    record_seen(con, "gold.other", {"silver.t": 0})
    change(con, "c")
    assert logged(con) == ["c"], "one that does not follow by rows does not count"


def test_a_log_with_other_columns_is_given_up(con: duckdb.DuckDBPyConnection) -> None:
    first = record_change(con, "silver.t", "c", log=LOG)
    change(con, "a")
    assert table_versions(con)["silver.t"].whole_version == first
    more = Log(("k", "v"), LOG.watched, LOG.followers)
    second = record_change(con, "silver.t", "c", whole=False, log=more)
    assert table_versions(con)["silver.t"].whole_version == second
    assert con.execute('describe changes."silver.t"').fetchall()[2][0] == "v"
    assert logged(con) == []


def test_a_log_that_has_grown_too_long_is_given_up(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record_change(con, "silver.t", "c", log=LOG)
    record_seen(con, "gold.one", {"silver.t": first})
    monkeypatch.setattr(changes, "LONGEST_LOG", 2)
    for key in "ab":
        change(con, key)
        assert table_versions(con)["silver.t"].whole_version == first
    third = change(con, "c")
    assert table_versions(con)["silver.t"].whole_version == third


def test_the_log_has_a_changed_row_as_it_was_and_as_it_is(tiny: Tiny) -> None:
    tiny.items([("i1", "o9", "2024-01-01", "a"), *ITEMS[1:3], ("i5", "o5", "2024-01-01", "c")])
    rows = tiny.con.execute('select order_id from changes."silver.items" order by all').fetchall()
    assert rows == [("o1",), ("o3",), ("o5",), ("o9",)]
    assert tiny.logs["silver.items"].columns == ("order_id",)
    assert tiny.logs["silver.items"].watched == {"item_id", "order_id", "day", "product"}
    assert tiny.logs["gold.lines"] == Log(("day",), frozenset({"day", "price"}), ("gold.totals",))


def test_a_log_is_emptied_once_all_have_seen_it(tiny: Tiny) -> None:
    for number in range(5):
        tiny.items([("i1", "o1", f"2024-02-0{number + 1}", "a"), *ITEMS[1:]])
        tiny.refresh_all()
    rows = tiny.con.execute('select count(*) from changes."silver.items"').fetchall()
    assert rows == [(1,)], "what came last goes with the next change"


@pytest.mark.parametrize("gone", ["log", "long", "never built"])
def test_who_cannot_catch_up_by_keys_is_built_whole(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    before = table_versions(tiny.con)["gold.lines"]
    if gone == "log":
        tiny.con.execute('drop table changes."silver.items"')
    if gone == "long":
        monkeypatch.setattr(changes, "LONGEST_LOG", 0)
    if gone == "never built":
        tiny.con.execute("drop table gold.lines; delete from changes.versions where table_name = 'gold.lines'")
    tiny.items([("i1", "o1", "2024-02-01", "a"), *ITEMS[1:]])
    assert tiny.refresh_all() == [True, True]
    assert table_versions(tiny.con)["gold.lines"].whole_version > before.whole_version
    assert tiny.content("gold.totals") == [
        (5, "2024-01-02"),
        (5, "2024-02-01"),
        (7, "2024-01-01"),
        (7, "2024-01-03"),
    ]


def test_a_write_that_is_rolled_back_leaves_the_ledger_as_it_was(tiny: Tiny) -> None:
    versions, seen = table_versions(tiny.con), seen_versions(tiny.con)
    tiny.con.execute("begin")
    record_change(tiny.con, "silver.items", whole=False, log=tiny.logs["silver.items"])
    record_seen(tiny.con, "gold.lines", {})
    tiny.con.execute("rollback")
    assert (table_versions(tiny.con), seen_versions(tiny.con)) == (versions, seen)


def test_when_a_table_has_changed_is_kept_in_utc(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("set timezone = 'America/New_York'")
    record_change(con, "gold.t")
    told = table_versions(con)["gold.t"].changed_at
    assert abs((datetime.now(UTC).replace(tzinfo=None) - told).total_seconds()) < 60


def test_a_table_is_in_step_only_if_all_that_it_was_made_from_is(con: duckdb.DuckDBPyConnection) -> None:
    far = record_change(con, "silver.far")
    near = record_change(con, "gold.near")
    record_seen(con, "gold.near", {"silver.far": far})
    record_change(con, "gold.table")
    record_seen(con, "gold.table", {"gold.near": near})
    assert upstream_in_step(con, ["gold.table"])
    # The table itself has seen all of what it reads; what that was made from has moved on.
    record_change(con, "silver.far")
    assert not upstream_in_step(con, ["gold.table"])
    assert upstream_in_step(con, ["silver.far"])


def test_a_module_changed_while_a_run_goes_on_is_the_one_that_the_run_read_first(tmp_path: Path) -> None:
    file = tmp_path / "rules.sql"
    file.write_text("first")
    assert own_code(str(file)) == "first"
    file.write_text("second")
    assert own_code(str(file)) == "first"


def _codes(folder: Path, texts: Sequence[str]) -> list[str]:
    """What `own_code` says of a module with each of the texts."""
    files = [folder / f"{number}.py" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return [own_code(str(file)) for file in files]


def test_another_comment_or_docstring_is_no_other_code_and_another_figure_is(tmp_path: Path) -> None:
    texts = (
        'def f(x):\n    """Twice."""\n    return 2 * x\n',
        '"""Rules."""\n\ndef f(x):\n    """Doubles it."""\n    return 2 * x  # so be it\n',
        'def f(x):\n    """Twice."""\n    return 3 * x\n',
    )
    said = _codes(tmp_path, texts)
    assert said[0] == said[1] != said[2]


def test_an_own_module_that_moved_is_no_other_code_and_another_library_is(tmp_path: Path) -> None:
    texts = (
        "from numpy import sum\nfrom ecommerce_platform.quality.drift import a\n\nb = sum(a)\n",
        "from ecommerce_platform.drift import a\nfrom numpy import sum\n\nb = sum(a)\n",
        "from ecommerce_platform.drift import a\nfrom polars import sum\n\nb = sum(a)\n",
        "from numpy import sum\n\ndef f():\n    from ecommerce_platform.quality.drift import a\n    return sum(a)\n",
        "from numpy import sum\n\ndef f():\n    from ecommerce_platform.drift import a\n    return sum(a)\n",
    )
    said = _codes(tmp_path, texts)
    assert said[0] == said[1] != said[2]
    assert said[3] == said[4] != said[0]


@pytest.mark.parametrize("module", ["anomalies", "drift"])
def test_digests_of_rules_in_code_are_of_the_text_read_first(module: str) -> None:
    text = (Path(changes.__file__).parents[1] / "quality" / f"{module}.py").read_text(encoding="utf-8")
    assert "own_code(__file__) + contract.text" in text
    assert "read_text" not in text
