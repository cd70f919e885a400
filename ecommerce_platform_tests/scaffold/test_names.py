"""Patterns of files' names: what the next delivery may be called, and which patterns could name one file."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecommerce_platform.scaffold.names import could_meet, named, next_names


@pytest.mark.parametrize(
    ("name", "taken", "left"),
    [
        (
            "orders.csv",
            ["orders.csv", "orders.csv.gz", "orders_2024-03-01.csv", "orders-1.csv", "orders (1).csv", "orders(2).csv"],
            ["orders_items.csv", "orders_items_2.csv", "orders.json", "myorders.csv", "orders2.csv"],
        ),
        ("orders_2024-03.csv", ["orders_2024-04.csv", "orders_20240401.csv"], ["orders.csv", "orders_old.csv"]),
        ("Bestellungen März.csv", ["Bestellungen Mai.csv"], ["Bestellungen.csv"]),
        ("orders [x].csv", ["orders [x].csv", "orders [x] (1).csv"], ["orders x.csv"]),
    ],
)
def test_the_next_delivery_is_taken_and_no_other_file(name: str, taken: list[str], left: list[str]) -> None:
    patterns = next_names(name)
    assert [n for n in taken if not named(n, patterns)] == []
    assert [n for n in left if named(n, patterns)] == []


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("orders_[0-9]*.csv", "orders_items_[0-9]*.csv", False),
        ("sales_[0-9]*.csv", "sales_[0-9]*_items.csv", True),
        ("sales_[0-9][0-9][0-9][0-9].csv", "sales_[0-9]*_items.csv", False),
        ("orders_export*.csv", "orders_export.csv", True),
        ("orders_export*.csv", "customers_export*.csv", False),
        ("orders[-_. (][0-9(]*.csv", "orders_items*.csv", False),
        ("orders*", "orders.csv", True),
        ("orders.csv*", "orders.csv.gz", True),
        ("orders.csv", "orders.csv.gz", True),
        ("*", "x", True),
    ],
)
def test_two_patterns_meet_where_one_file_could_have_both_names(one: str, other: str, meet: bool) -> None:
    assert could_meet(one, other) is could_meet(other, one) is meet


PARTS = st.lists(st.sampled_from(["a", "b", "*", "[ab]", "[a]"]), max_size=4).map("".join)


@settings(max_examples=300, deadline=None)
@given(one=PARTS, other=PARTS)
def test_they_meet_if_and_only_if_there_is_such_a_name(one: str, other: str) -> None:
    names = ["".join(signs) for size in range(7) for signs in product("ab", repeat=size)]
    assert could_meet(one, other) == any(fnmatchcase(n, one) and fnmatchcase(n, other) for n in names)
