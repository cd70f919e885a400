"""Which rows an incremental table works out again, what is checked of them, and what its declarations must say."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.warehouse import incremental
from ecommerce_platform.warehouse.changes import seen_versions, table_versions
from ecommerce_platform.warehouse.contract_checks import BlockedError
from ecommerce_platform.warehouse.incremental import exchange
from ecommerce_platform_tests.warehouse.tiny_models import ITEMS, LINES, Tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)


# -- the narrowed SELECT -------------------------------------------------------------------------------------------

NARROW = "(select * from silver.items where x in (1))"
KEEP = {"silver.items": NARROW}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select a from silver.items", f"select a from {NARROW} as \"items\""),
        ("select i.a from silver.items as i", f"select i.a from {NARROW} as i"),
        ("select i.a from silver.items i", f"select i.a from {NARROW} i"),
        ("SELECT items.a\nFROM silver.items\n", f"SELECT items.a\nFROM {NARROW} as \"items\"\n"),
        ('select a from "silver"."items"', f"select a from {NARROW} as \"items\""),
        ('select a from silver . "items" as "I"', f"select a from {NARROW} as \"I\""),
        (
            "select a from silver.items union all select b from silver.items as b",
            f"select a from {NARROW} as \"items\" union all select b from {NARROW} as b",
        ),
        (
            "with items as (select a from silver.items) select a from items",
            f"with items as (select a from {NARROW} as \"items\") select a from items",
        ),
        (
            "select 1 from gold.things where x in (select x from silver.items)",
            f"select 1 from gold.things where x in (select x from {NARROW} as \"items\")",
        ),
        (
            "select 'silver.items' as a -- from silver.items\nfrom silver.items /* silver.items */ where b = 'silver.items'",
            f"select 'silver.items' as a -- from silver.items\nfrom {NARROW} as \"items\" /* silver.items */ "
            "where b = 'silver.items'",
        ),
        ("select 'größer' as ü from silver.items", f"select 'größer' as ü from {NARROW} as \"items\""),
        ("select items.a from gold.items", "select items.a from gold.items"),
        ("select a from items", "select a from items"),
        ("select a from silver.items_history", "select a from silver.items_history"),
    ],
)  # fmt: skip
def test_narrowing_exchanges_the_names_of_tables_and_nothing_else(sql: str, expected: str) -> None:
    assert exchange(sql, KEEP) == expected


def test_narrowing_several_tables_at_once() -> None:
    sql = "select a from silver.items join gold.lines using (a)"
    both = exchange(sql, {**KEEP, "gold.lines": "kept_lines"})
    assert both == f'select a from {NARROW} as "items" join kept_lines as "lines" using (a)'


# -- what is worked out again --------------------------------------------------------------------------------------


def test_only_what_a_change_reaches_is_worked_out_again(tiny: Tiny) -> None:
    tiny.con.execute("update gold.lines set price = -1; update gold.totals set total = -1")
    tiny.items([ITEMS[0], ("i2", "o2", "2024-01-02", "b"), *ITEMS[2:]])
    lines, totals = tiny.refresh("gold.lines"), tiny.refresh("gold.totals")
    # i2 moved from o1 to o2: both orders are worked out again, o3 keeps what was put there behind our back.
    assert tiny.content("gold.lines") == [
        ("i1", "o1", 5, "2024-01-01"),
        ("i2", "o2", 7, "2024-01-02"),
        ("i3", "o2", 5, "2024-01-02"),
        ("i4", "o3", -1, "2024-01-03"),
    ]
    assert tiny.content("gold.totals") == [(-1, "2024-01-03"), (5, "2024-01-01"), (12, "2024-01-02")]
    assert (lines.rows, lines.inserted, lines.updated, lines.deleted) == (4, 0, 3, 0)
    assert (totals.rows, totals.inserted, totals.updated, totals.deleted) == (3, 0, 2, 0)


def test_unchanged_inputs_write_nothing(tiny: Tiny) -> None:
    before = table_versions(tiny.con)
    written = tiny.refresh("gold.lines")
    assert (written.changed, written.rows, written.inserted, written.checks) == (False, 4, 0, ())
    assert table_versions(tiny.con) == before


def test_full_checks_are_run_even_when_nothing_has_changed(tiny: Tiny) -> None:
    written = tiny.refresh("gold.lines", full_checks=True)
    assert not written.changed
    assert [check.name for check in written.checks] == ["contract", "as_many_as_items", "at_most_nine"]


def test_a_change_that_makes_no_difference_is_not_passed_on(tiny: Tiny) -> None:
    before = table_versions(tiny.con)["gold.lines"]
    tiny.prices({"a": 5, "b": 7, "c": 9})
    assert tiny.refresh_all() == [False, False]
    assert table_versions(tiny.con)["gold.lines"] == before
    # The price of a and b exchanged for equal ones: their orders are looked at, no row differs.
    tiny.items([(i, o, d, p.upper()) for i, o, d, p in ITEMS])
    tiny.prices({"A": 5, "B": 7})
    assert tiny.refresh_all() == [False, False]


def test_a_change_of_provenance_alone_is_a_version_without_changed_rows(tiny: Tiny) -> None:
    before = table_versions(tiny.con)["silver.items"]
    tiny.items(ITEMS, file="another")
    after = table_versions(tiny.con)["silver.items"]
    assert after.version > before.version
    assert after.whole_version == before.whole_version
    assert tiny.con.execute('select count(*) from changes."silver.items"').fetchall() == [(0,)]
    assert tiny.refresh_all() == [False, False]


def test_a_change_in_a_column_that_nobody_reads_touches_nobody(tiny: Tiny) -> None:
    tiny.items(ITEMS, note="another")
    assert tiny.con.execute('select count(*) from changes."silver.items"').fetchall() == [(0,)]
    assert tiny.refresh_all() == [False, False]
    # A new row is one for everybody.
    tiny.items([*ITEMS, ("i5", "o1", "2024-01-01", "c")], note="another")
    assert tiny.refresh_all() == [True, False]


@pytest.mark.parametrize("join", ["left join silver.prices using (product)", "natural left join prices"])
def test_a_column_that_only_joins_is_read_too(tiny: Tiny, join: str) -> None:
    prices = "with prices as (select product, price from silver.prices)"
    tiny.write("gold/lines.sql", f"{prices} select item_id, order_id, day, price from silver.items {join}\n")
    tiny.read()
    tiny.refresh_all()
    tiny.items([("i1", "o1", "2024-01-01", "b"), *ITEMS[1:]])
    assert tiny.refresh_all() == [True, True]
    assert tiny.content("gold.lines")[0] == ("i1", "o1", 7, "2024-01-01")


def test_a_follower_that_lags_behind_catches_up_with_all_it_has_missed(tiny: Tiny) -> None:
    tiny.items([("i1", "o1", "2024-01-05", "a"), *ITEMS[1:]])
    tiny.refresh("gold.lines")
    tiny.items([("i1", "o1", "2024-01-06", "a"), *ITEMS[1:3]])
    tiny.refresh("gold.lines")
    tiny.refresh("gold.totals")
    assert tiny.content("gold.totals") == [(5, "2024-01-02"), (5, "2024-01-06"), (7, "2024-01-01")]


# -- when all is built anew ----------------------------------------------------------------------------------------


def whole(tiny: Tiny, table: str) -> int:
    return table_versions(tiny.con)[table].whole_version


def test_a_changed_definition_is_built_whole_and_so_is_what_follows_it(tiny: Tiny) -> None:
    before = table_versions(tiny.con)
    tiny.write("gold/lines.sql", LINES.replace("prices.price\n", "prices.price + 1 as price\n"))
    tiny.read()
    assert tiny.refresh_all() == [True, True]
    assert tiny.content("gold.totals") == [(6, "2024-01-02"), (8, "2024-01-03"), (14, "2024-01-01")]
    assert whole(tiny, "gold.lines") > before["gold.lines"].version
    assert whole(tiny, "gold.totals") > before["gold.totals"].version
    assert tiny.refresh_all() == [False, False]


def test_a_definition_that_gives_the_same_rows_is_looked_at_once(tiny: Tiny) -> None:
    tiny.change("gold/totals", write="replace", recompute_by=[], follows={})
    before = table_versions(tiny.con)["gold.totals"]
    assert [tiny.refresh("gold.totals").changed for _ in range(2)] == [True, False]
    tiny.change("gold/totals", description="The same table in other words.")
    assert [tiny.refresh("gold.totals").changed for _ in range(2)] == [True, False]
    after = table_versions(tiny.con)["gold.totals"]
    assert (after.version, after.whole_version) == (before.version, before.whole_version)
    assert after.code_version == tiny.models["gold.totals"].code_version


def test_more_touched_keys_than_are_worth_it_are_built_whole(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [(f"i{n}", f"o{n}", "2024-01-01", "c") for n in range(1500)]
    tiny.change("gold/lines", checks=[])
    tiny.items(items)
    tiny.refresh_all()
    before = table_versions(tiny.con)["gold.lines"]
    tiny.items([(i, o, d, "a" if n < 1000 else p) for n, (i, o, d, p) in enumerate(items)])
    tiny.refresh("gold.lines")
    assert whole(tiny, "gold.lines") == before.whole_version
    tiny.items([(i, o, d, "b" if n < 1001 else p) for n, (i, o, d, p) in enumerate(items)])
    tiny.refresh("gold.lines")
    assert whole(tiny, "gold.lines") > before.version
    # Of many keys a share decides, not the thousand.
    monkeypatch.setattr(incremental, "WHOLE_ABOVE", 1)
    middle = table_versions(tiny.con)["gold.lines"]
    tiny.items([(i, o, d, "a" if n < 1001 else p) for n, (i, o, d, p) in enumerate(items)])
    tiny.refresh("gold.lines")
    assert whole(tiny, "gold.lines") == middle.whole_version
    assert tiny.content("gold.lines")[0] == ("i0", "o0", 5, "2024-01-01")


def test_a_table_that_is_replaced_whole_makes_its_followers_build_whole(tiny: Tiny) -> None:
    from ecommerce_platform.warehouse.changes import record_change

    before = whole(tiny, "gold.lines")
    tiny.con.execute("update silver.prices set price = 1")
    record_change(tiny.con, "silver.prices", log=tiny.logs["silver.prices"])
    assert tiny.refresh_all() == [True, True]
    assert whole(tiny, "gold.lines") > before
    assert tiny.content("gold.totals") == [(1, "2024-01-02"), (1, "2024-01-03"), (2, "2024-01-01")]


def test_a_table_that_reads_another_table_than_before_is_built_whole(tiny: Tiny) -> None:
    tiny.con.execute("delete from changes.seen where follower = 'gold.totals'")
    before = whole(tiny, "gold.totals")
    tiny.refresh("gold.totals")
    assert whole(tiny, "gold.totals") > before
    assert seen_versions(tiny.con)["gold.totals"] == {"gold.lines": table_versions(tiny.con)["gold.lines"].version}


# -- checks of what was written ------------------------------------------------------------------------------------


def test_a_broken_rule_in_a_touched_row_takes_the_write_back(tiny: Tiny) -> None:
    content, versions, seen = tiny.content("gold.lines"), table_versions(tiny.con), seen_versions(tiny.con)
    tiny.prices({"a": 101, "b": 7})
    with pytest.raises(
        BlockedError, match=r"price is at most 100: 2 rows, e\.g\. \(item_id=i1\) items from .*, \(item_id=i3\)"
    ):
        tiny.refresh("gold.lines")
    assert tiny.content("gold.lines") == content
    assert table_versions(tiny.con)["gold.lines"] == versions["gold.lines"]
    assert seen_versions(tiny.con) == seen
    tiny.prices({"a": 100, "b": 7})
    assert tiny.refresh_all() == [True, True]
    assert tiny.content("gold.totals")[1:] == [(100, "2024-01-02"), (107, "2024-01-01")]


def test_a_broken_rule_in_another_row_is_found_by_full_checks_alone(tiny: Tiny) -> None:
    tiny.con.execute(
        "update gold.lines set price = 101 where item_id = 'i4'; insert into silver.items (item_id) values ('x')"
    )
    tiny.prices({"a": 6, "b": 7})
    tiny.items([*ITEMS[:3], ("i4", "o3", "2024-01-03", "c")])
    tiny.con.execute('delete from changes."silver.items"')
    written = tiny.refresh("gold.lines")
    assert written.changed
    assert all(check.passed for check in written.checks)
    with pytest.raises(BlockedError, match="price is at most 100: 1 rows"):
        tiny.refresh("gold.lines", full_checks=True)


def test_a_check_of_the_contract_looks_at_touched_keys_in_all_tables(tiny: Tiny) -> None:
    # Doubled by a price list with two rows of one product: noticed for the orders that are written.
    tiny.con.execute("insert into silver.prices select * from silver.prices where product = 'a'")
    tiny.items([*ITEMS[:3], ("i4", "o3", "2024-01-03", "a")])
    with pytest.raises(
        BlockedError, match=r"as_many_as_items failed: as_many_as_items: 1 rows, e\.g\. \(rows=2, known=1\)"
    ):
        tiny.refresh("gold.lines")


def test_a_check_of_the_whole_table_runs_in_full_passes(tiny: Tiny) -> None:
    tiny.items([(f"i{n}", "o1", "2024-01-01", "a") for n in range(10)])
    assert "at_most_nine" not in [check.name for check in tiny.refresh("gold.lines").checks]
    with pytest.raises(BlockedError, match=r"at_most_nine: 1 rows, e\.g\. \(rows=10\)"):
        tiny.refresh("gold.lines", full_checks=True)


# -- declarations --------------------------------------------------------------------------------------------------

BY = {"by": "order_id"}


@pytest.mark.parametrize(
    ("follows", "message", "fix"),
    [
        ({"silver.items": BY}, "gold.lines does not follow exactly what it reads; reads but does not follow silver.prices", "add `by: <column>`, or `touches:` and `keep:`"),
        (
            {"silver.items": BY, "silver.prices": {"touches": "select changed.product from changed"}, "gold.totals": BY},
            "follows but does not read gold.totals",
            "add `by: <column>`",
        ),
        ({"silver.items": {"by": "ordr"}, "silver.prices": BY}, "follows silver.items: touches names ordr, which silver.items does not have", "changed.<column>"),
        (
            {"silver.items": BY, "silver.prices": {"touches": "select changed.code from changed"}},
            "follows silver.prices: touches names code, which silver.prices does not have",
            "changed.<column>",
        ),
        (
            {"silver.items": BY, "silver.prices": {"touches": "select product from changed"}},
            "follows silver.prices: touches uses no column of changed",
            "write the columns of the changed rows as changed.<column>",
        ),
        ({"silver.items": BY, "silver.prices": {"touches": "select from where"}}, "follows.silver.prices.touches: not valid SQL", ""),
        ({"silver.items": BY, "silver.prices": {}}, "say either `by` (a column) or `touches` (a SELECT from changed)", ""),
        ({"silver.items": BY, "silver.prices": {"by": "product", "keep": "true"}}, "`by` already says which rows to keep", ""),
        ({}, "`write: incremental` needs recompute_by and follows", ""),
    ],
)  # fmt: skip
def test_a_mistake_in_follows_is_named_with_its_file(tiny: Tiny, follows: dict, message: str, fix: str) -> None:
    with pytest.raises(DefinitionError) as error:
        tiny.change("gold/lines", follows=follows)
    assert message in str(error.value)
    assert "lines.yml" in str(error.value)
    assert fix in str(error.value)


def test_recompute_by_names_a_column(tiny: Tiny) -> None:
    with pytest.raises(DefinitionError, match="recompute_by 'ordr' is not among the columns"):
        tiny.change("gold/lines", recompute_by=["ordr"])
    with pytest.raises(DefinitionError, match="`by` needs a single recompute_by column"):
        tiny.change("gold/lines", recompute_by=["order_id", "item_id"])
